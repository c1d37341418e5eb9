// Which objects a choice means, and what would be lost with them: both asked before anything is done.
import { SearchDocument } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { shown } from '../../lib/text';
import type { Variables } from '../inventory/search';
import type { Row } from '../inventory/useRows';

/** More than these are done by a campaign, which the ledger paces. */
export const MOST = 2000;
const PAGE = 500;
/** Hosts that one question may name. */
const HOSTS = 500;

export async function resolve(search: Variables): Promise<Row[]> {
  const rows: Row[] = [];
  let after: string | undefined;
  while (rows.length < MOST) {
    const answer = await query(SearchDocument, {
      ...search,
      facets: [],
      first: PAGE,
      ...(after ? { after } : {}),
    });
    const { edges } = answer.search;
    rows.push(...edges.map((edge) => edge.node));
    after = edges[edges.length - 1]?.cursor;
    if (edges.length < PAGE || !after) break;
  }
  return rows;
}

export interface Blast {
  instances: number;
  services: { value: string; count: number }[];
}

/** Instances on these servers or machines, by service. Null when they are of another kind, or too many for one question. */
export async function blast(rows: Row[]): Promise<Blast | null> {
  const hosts = rows.flatMap((row) => {
    if (row.kind === 'Machine') return [row.name];
    if (row.kind !== 'Server') return [];
    const machine = shown(row.columns.find((cell) => cell.name === 'Machine')?.value);
    return machine === '' ? [row.name] : [row.name, machine];
  });
  if (hosts.length === 0 || hosts.length > HOSTS) return null;
  const answer = await query(SearchDocument, {
    kinds: ['Instance'],
    filters: [{ field: 'spec.host.name', op: 'IN', values: hosts }],
    facets: ['spec.service'],
    first: 1,
  });
  return { instances: answer.search.total, services: answer.search.facets[0]?.values ?? [] };
}

/** Does something for each, a few at a time, and tells what became of each. */
export async function each<T>(
  items: T[],
  atOnce: number,
  act: (item: T) => Promise<void>,
  told: (item: T, error: unknown) => void,
): Promise<void> {
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      try {
        await act(item);
        told(item, null);
      } catch (error) {
        told(item, error);
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
