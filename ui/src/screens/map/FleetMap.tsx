// Every server a cell, where it stands, coloured by any field; and the same as a table for whoever cannot see or point.
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useKinds } from '../../api/kinds';
import { Button, Empty, ErrorNotice, Loading } from '../../design/parts';
import { fieldName, number } from '../../lib/text';
import { useKeys } from '../../lib/keys';
import { BulkBar } from '../bulk/BulkBar';
import { facetFields } from '../inventory/search';
import type { Row } from '../inventory/useRows';
import type { Cells } from './cells';
import { counts, looks, narrow, pick } from './cells';
import { Legend } from './Legend';
import { MapCanvas } from './MapCanvas';
import { PlaceTable } from './PlaceTable';
import type { MapSearch } from './search';
import { useCells } from './source';

/** Labels that fleets are told apart by, where they are used. */
const LABELS = ['hardware', 'role'];

export function FleetMap() {
  const search = useSearch({ from: '/map' });
  const navigate = useNavigate({ from: '/map' });
  const by = search.by ?? 'status.phase';
  const info = useKinds().kind('Server');
  const { cells: all, error, retry } = useCells(by);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [choosing, setChoosing] = useState(false);
  const racks = all?.runs;
  const narrowed = useMemo(() => (racks ? narrow(racks, search.site) : undefined), [racks, search.site]);
  const shown = useMemo(() => (all && narrowed ? pick(all, narrowed) : undefined), [all, narrowed]);
  const look = useMemo(() => (shown ? looks(shown.dictionary, by) : []), [shown, by]);
  const sums = useMemo(() => (shown ? counts(shown) : []), [shown]);
  const change = (next: Partial<Record<keyof MapSearch, string | undefined>>) =>
    void navigate({ search: (old: object) => ({ ...old, ...next }), replace: true } as never);
  useKeys([
    { keys: 's', does: 'Choose with the pointer, or move', act: () => setChoosing((old) => !old) },
    {
      keys: 'v',
      does: 'Map or table',
      act: () => change({ view: search.view === 'table' ? undefined : 'table' }),
    },
  ]);
  const fields = [
    ...(info
      ? facetFields(info.fields, []).filter((field) => !field.startsWith('metadata.'))
      : ['status.phase']),
    ...LABELS.map((name) => `metadata.labels.${name}`),
  ];
  const sites = [...new Set(all?.runs.map((run) => run.site) ?? [])];
  const rows = useMemo((): Row[] => [...chosen].map((name) => rowOf(name, shown)), [chosen, shown]);
  return (
    <div className="map">
      <header className="screen-head">
        <h1>
          Fleet map <span className="faint count">{shown ? number(shown.names.length) : ''}</span>
        </h1>
        <label className="row">
          <span className="muted">Colour by</span>
          <select
            className="select"
            value={by}
            onChange={(event) =>
              change({
                by: event.target.value === 'status.phase' ? undefined : event.target.value,
                lit: undefined,
              })
            }
          >
            {[...new Set([by, ...fields])].map((field) => (
              <option key={field} value={field}>
                {fieldName(field)}
              </option>
            ))}
          </select>
        </label>
        <label className="row">
          <span className="muted">Site</span>
          <select
            className="select"
            value={search.site ?? ''}
            onChange={(event) => change({ site: event.target.value || undefined })}
          >
            <option value="">All</option>
            {sites.map((site) => (
              <option key={site} value={site}>
                {site || 'no site'}
              </option>
            ))}
          </select>
        </label>
        <span className="grow" />
        {search.view !== 'table' && (
          <Button aria-pressed={choosing} onClick={() => setChoosing(!choosing)}>
            Choose
          </Button>
        )}
        <Button
          aria-pressed={search.view === 'table'}
          onClick={() => change({ view: search.view === 'table' ? undefined : 'table' })}
        >
          Table
        </Button>
      </header>
      {error && !all && (
        <div className="pad">
          <ErrorNotice error={error} onRetry={retry} />
        </div>
      )}
      {!shown && !error && (
        <div className="screen">
          <Loading lines={8} label="Reading the fleet" />
        </div>
      )}
      {shown && shown.names.length === 0 && (
        <Empty title="There is no server here." command="quarterdeck server enrol -f servers.csv">
          Enrol some from a file, with the racks they are in:
        </Empty>
      )}
      {shown && shown.names.length > 0 && (
        <div className="map-body">
          {search.view === 'table' ? (
            <PlaceTable cells={shown} looks={look} />
          ) : (
            <MapCanvas
              cells={shown}
              looks={look}
              lit={search.lit}
              chosen={chosen}
              choosing={choosing}
              onChoose={setChosen}
            />
          )}
          <Legend
            by={by}
            looks={look}
            counts={sums}
            lit={search.lit}
            onLight={(value) => change({ lit: value === search.lit ? undefined : value })}
          />
        </div>
      )}
      {chosen.size > 0 && info && (
        <BulkBar info={info} rows={rows} total={chosen.size} onClear={() => setChosen(new Set())} />
      )}
    </div>
  );
}

/** A server as the bulk actions want one: what is not on the map is not asked for. */
function rowOf(name: string, cells: Cells | undefined): Row {
  const at = cells?.names.indexOf(name) ?? -1;
  const value = cells?.dictionary[cells.values[at] ?? 0];
  return {
    kind: 'Server',
    plural: 'servers',
    namespace: null,
    name,
    uid: name,
    resourceVersion: '',
    phase: value ?? null,
    created: null,
    deleting: false,
    labels: [],
    columns: [],
  };
}
