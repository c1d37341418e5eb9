// Where the map's cells come from: the table of servers, as kubectl gets it, a few thousand rows a request, and the racks
// that say where these stand. Fields are those that the table prints, and labels.
import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query';
import { useRef } from 'react';
import { ask } from '../../api/http';
import { useKinds, type KindInfo } from '../../api/kinds';
import { path } from '../../api/kube';
import { useLive } from '../../api/live';
import { shown } from '../../lib/text';
import { MOST_VALUES, type Cells } from './cells';
import type { Place, RackRun } from './layout';

/** Rows of one answer: about half a megabyte. */
const PAGE = 5000;
/** How long the map is left as it is, and longer for more servers: all of them are read anew. */
const EVERY_MS = 3000;
const A_SERVER_MS = 0.3;
const AS_TABLE = 'application/json;as=Table;g=meta.k8s.io;v=v1';

interface Table {
  columnDefinitions: { name: string }[];
  rows: { cells: unknown[]; object?: { metadata?: { labels?: Record<string, string> } } }[] | null;
  metadata: { continue?: string };
}

interface RackList {
  items: { metadata: { name: string }; spec: { site?: string; hall?: string; row?: string } }[];
}

export interface Standing {
  name: string;
  value: string;
  place: Place;
}

const byText = new Intl.Collator('en', { numeric: true }).compare;

/** Cells in the order of their places; the racks that there were, where none has changed. Pure. */
export function arrange(servers: Standing[], old?: Cells): Cells {
  const sorted = [...servers].sort(
    (a, b) =>
      byText(a.place.site, b.place.site) ||
      byText(a.place.hall, b.place.hall) ||
      byText(a.place.row, b.place.row) ||
      byText(a.place.rack, b.place.rack) ||
      byText(a.name, b.name),
  );
  const runs: RackRun[] = [];
  const numbers = new Map<string, number>();
  const values = new Uint8Array(sorted.length);
  sorted.forEach(({ value, place }, at) => {
    const last = runs[runs.length - 1];
    if (last?.rack === place.rack && last.site === place.site) last.count += 1;
    else runs.push({ ...place, first: at, count: 1 });
    const number = numbers.get(value) ?? Math.min(numbers.size, MOST_VALUES);
    numbers.set(value, number);
    values[at] = number;
  });
  const same = (run: RackRun, at: number) => {
    const other = old?.runs[at];
    return (
      other?.rack === run.rack &&
      other.site === run.site &&
      other.hall === run.hall &&
      other.row === run.row &&
      other.count === run.count
    );
  };
  const still = old?.runs.length === runs.length && runs.every(same);
  const dictionary: string[] = [];
  for (const [value, number] of numbers) dictionary[number] ??= value;
  return { runs: still && old ? old.runs : runs, names: sorted.map((each) => each.name), values, dictionary };
}

async function read(info: KindInfo, racks: KindInfo, by: string, signal: AbortSignal): Promise<Standing[]> {
  const known = await ask<RackList>(path(racks, {}), { signal });
  const places = new Map(known.items.map((rack) => [rack.metadata.name, rack.spec]));
  const label = /^metadata\.labels\.(.+)$/.exec(by)?.[1];
  const wanted = info.columns.find((column) => column.path.replace(/^\./, '') === by)?.name;
  const servers: Standing[] = [];
  let next = '';
  do {
    const search = new URLSearchParams({ limit: String(PAGE), includeObject: label ? 'Metadata' : 'None' });
    if (next) search.set('continue', next);
    const table = await ask<Table>(`${path(info, {})}?${search.toString()}`, { accept: AS_TABLE, signal });
    const column = (name: string | undefined) =>
      table.columnDefinitions.findIndex((each) => each.name === name);
    const [nameAt, rackAt, valueAt] = [column('Name'), column('Rack'), column(wanted)];
    for (const row of table.rows ?? []) {
      const rack = shown(row.cells[rackAt]);
      const at = places.get(rack);
      servers.push({
        name: shown(row.cells[nameAt]),
        value: label ? (row.object?.metadata?.labels?.[label] ?? '') : shown(row.cells[valueAt]),
        place: { site: at?.site ?? '', hall: at?.hall ?? '', row: at?.row ?? '', rack },
      });
    }
    next = table.metadata.continue ?? '';
  } while (next !== '');
  return servers;
}

/** Fields that the map can be coloured by. */
export function fieldsOf(info: KindInfo): string[] {
  const printed = info.columns.map((column) => column.path.replace(/^\./, ''));
  return info.fields.filter((field) => printed.includes(field));
}

export function useCells(by: string): { cells: Cells | undefined; error: Error | null; retry: () => void } {
  const kinds = useKinds();
  const [info, racks] = [kinds.kind('Server'), kinds.kind('Rack')];
  const last = useRef<Cells>(undefined);
  const client = useQueryClient();
  const queryKey = ['fleet-cells', by];
  const found = useQuery({
    queryKey,
    queryFn: async ({ signal }) => {
      if (!info || !racks) throw new Error('The plane has no servers.');
      last.current = arrange(await read(info, racks, by, signal), last.current);
      return last.current;
    },
    placeholderData: keepPreviousData,
    structuralSharing: false,
  });
  const every = EVERY_MS + (last.current?.names.length ?? 0) * A_SERVER_MS;
  useLive(
    [{ kind: 'Server' }],
    () => void client.refetchQueries({ queryKey }, { cancelRefetch: false }),
    every,
  );
  return { cells: found.data, error: found.error, retry: () => void found.refetch() };
}
