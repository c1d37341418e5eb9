// INTERIM: from the table of servers.
import { ask } from '../../api/http';
import type { Cells } from './cells';
import type { RackRun } from './layout';

export interface Source {
  close: () => void;
}

interface Table {
  columnDefinitions: { name: string }[];
  rows: { cells: unknown[]; object?: { metadata?: { labels?: Record<string, string> } } }[];
  metadata: { continue?: string };
}

export function openFleet(
  by: string,
  onCells: (cells: Cells) => void,
  onError: (error: unknown) => void,
): Source {
  let closed = false;
  const load = async () => {
    const racks = await ask<{
      items: { metadata: { name: string }; spec: { site?: string; hall?: string; row?: string } }[];
    }>('/apis/inventory.quarterdeck.dev/v1alpha1/racks');
    const places = new Map(racks.items.map((rack) => [rack.metadata.name, rack.spec]));
    const rows: { name: string; rack: string; value: string }[] = [];
    let next = '';
    do {
      const table = await ask<Table>(
        `/apis/inventory.quarterdeck.dev/v1alpha1/servers?limit=5000${next ? `&continue=${encodeURIComponent(next)}` : ''}`,
        { accept: 'application/json;as=Table;g=meta.k8s.io;v=v1' },
      );
      const column = (name: string) => table.columnDefinitions.findIndex((each) => each.name === name);
      const [nameAt, rackAt] = [column('Name'), column('Rack')];
      const wanted = {
        'status.phase': 'Phase',
        'status.powerState': 'Power',
        'status.inventory.model': 'Model',
      }[by];
      const label = /^metadata\.labels\.(.*)$/.exec(by)?.[1];
      for (const row of table.rows) {
        const value = label ? row.object?.metadata?.labels?.[label] : row.cells[column(wanted ?? '')];
        rows.push({
          name: String(row.cells[nameAt]),
          rack: String(row.cells[rackAt] ?? ''),
          value: value ? String(value) : '',
        });
      }
      next = table.metadata.continue ?? '';
    } while (next && !closed);
    const place = (rack: string) => {
      const at = places.get(rack);
      return { site: at?.site ?? '', hall: at?.hall ?? '', row: at?.row ?? '', rack };
    };
    const keyed = rows.map((row) => ({ ...row, place: place(row.rack) }));
    keyed.sort((a, b) => {
      const [p, q] = [a.place, b.place];
      return (
        p.site.localeCompare(q.site) ||
        p.hall.localeCompare(q.hall) ||
        p.row.localeCompare(q.row, 'en', { numeric: true }) ||
        p.rack.localeCompare(q.rack) ||
        a.name.localeCompare(b.name)
      );
    });
    const runs: RackRun[] = [];
    const dictionary: string[] = [];
    const values = new Uint8Array(keyed.length);
    keyed.forEach((row, at) => {
      const last = runs[runs.length - 1];
      if (last && last.rack === row.place.rack && last.site === row.place.site) last.count += 1;
      else runs.push({ ...row.place, first: at, count: 1 });
      let value = dictionary.indexOf(row.value);
      if (value < 0) value = dictionary.push(row.value) - 1;
      values[at] = value;
    });
    if (!closed) onCells({ runs, names: keyed.map((row) => row.name), values, dictionary });
  };
  load().catch(onError);
  return {
    close: () => {
      closed = true;
    },
  };
}
