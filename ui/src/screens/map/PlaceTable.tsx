// The map's twin: each rack a line, with how many servers there are of each value.
import { useMemo, useState } from 'react';
import { Button } from '../../design/parts';
import { number } from '../../lib/text';
import { ObjectLink } from '../../shell/links';
import type { Cells, Look } from './cells';

const FIRST = 200;

export function PlaceTable({ cells, looks }: { cells: Cells; looks: Look[] }) {
  const [shown, setShown] = useState(FIRST);
  const rows = useMemo(
    () =>
      cells.runs.map((run) => {
        const sums = new Map<number, number>();
        for (let at = run.first; at < run.first + run.count; at += 1) {
          const value = cells.values[at] ?? 0;
          sums.set(value, (sums.get(value) ?? 0) + 1);
        }
        return { run, sums: [...sums].sort((a, b) => b[1] - a[1]) };
      }),
    [cells],
  );
  return (
    <div className="place-table" tabIndex={0} role="region" aria-label="Racks as a table">
      <table className="plain-table">
        <thead>
          <tr>
            <th>Site</th>
            <th>Hall</th>
            <th>Row</th>
            <th>Rack</th>
            <th className="number">Servers</th>
            <th>Of which</th>
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, shown).map(({ run, sums }) => (
            <tr key={`${run.site}/${run.rack}`}>
              <td>{run.site || '–'}</td>
              <td>{run.hall || '–'}</td>
              <td>{run.row || '–'}</td>
              <td>{run.rack ? <ObjectLink target={{ kind: 'Rack', name: run.rack }} /> : 'no rack'}</td>
              <td className="number">{run.count}</td>
              <td>{sums.map(([value, count]) => `${count} ${looks[value]?.value || 'none'}`).join(', ')}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > shown && (
        <div className="pad">
          <Button onClick={() => setShown(shown + 1000)}>{number(rows.length - shown)} more racks</Button>
        </div>
      )}
    </div>
  );
}
