// What a table shows, as its URL says it. Pure.
import type { Filter, FilterOp, SearchQueryVariables } from '../../api/generated/graphql';
import { number } from '../../lib/text';

export interface InventorySearch {
  text?: string;
  /** Field to the values it may have; an empty text is "none". */
  f?: Record<string, string[]>;
  /** A field, with `-` before it when the greatest come first. */
  sort?: string;
  /** Names of the columns shown, when not those of the kind. */
  cols?: string[];
}

const LONGEST = 400;
const MOST = 60;

const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= LONGEST;
const texts = (value: unknown): string[] => (Array.isArray(value) ? value.filter(isText).slice(0, MOST) : []);

export function inventorySearch(search: Record<string, unknown>): InventorySearch {
  const filters: Record<string, string[]> = {};
  const f = search['f'];
  if (typeof f === 'object' && f !== null && !Array.isArray(f)) {
    for (const [field, values] of Object.entries(f).slice(0, 20)) {
      const kept = texts(values);
      if (kept.length > 0) filters[field] = kept;
    }
  }
  // A text such as `42` is read from a URL as a number.
  const text = typeof search['text'] === 'number' ? String(search['text']) : search['text'];
  const cols = texts(search['cols']);
  return {
    ...(isText(text) && text !== '' ? { text } : {}),
    ...(Object.keys(filters).length > 0 ? { f: filters } : {}),
    ...(isText(search['sort']) && search['sort'] !== '' ? { sort: search['sort'] } : {}),
    ...(cols.length > 0 ? { cols } : {}),
  };
}

export function filtersOf(search: InventorySearch): Filter[] {
  const op = (name: FilterOp) => name;
  return Object.entries(search.f ?? {}).map(([field, values]) =>
    values.length === 1 && values[0] === ''
      ? { field, op: op('ABSENT'), values: [] }
      : { field, op: op('IN'), values },
  );
}

export type Variables = Omit<SearchQueryVariables, 'first' | 'skip' | 'after' | 'facets'>;

export function variables(kind: string, ns: string | undefined, search: InventorySearch): Variables {
  const sort = search.sort;
  return {
    kinds: [kind],
    ...(ns ? { namespaces: [ns] } : {}),
    ...(search.text ? { text: search.text } : {}),
    filters: filtersOf(search),
    ...(sort ? { sort: { field: sort.replace(/^-/, ''), descending: sort.startsWith('-') } } : {}),
  };
}

/** With or without one value of one field. */
export function toggled(search: InventorySearch, field: string, value: string): InventorySearch {
  const old = search.f?.[field] ?? [];
  const values = old.includes(value) ? old.filter((each) => each !== value) : [...old, value];
  const f = { ...search.f, [field]: values };
  if (values.length === 0) delete f[field];
  const { f: _, ...rest } = search;
  return Object.keys(f).length > 0 ? { ...rest, f } : rest;
}

/** Unsorted, then up, then down, then unsorted again. */
export function resorted(sort: string | undefined, field: string): string | undefined {
  if (sort === field) return `-${field}`;
  return sort === `-${field}` ? undefined : field;
}

/** Fields whose values are worth counting: few, and shared by many. */
const IDENTITIES =
  /uid|serial|uuid|address|secretref|metadata\.name$|(ref|host|target|transferto|transferfrom)\.name$|\.unit$|\.height$|retry|revision|status\.server$|transfer|creationtimestamp/i;

export function facetFields(fields: string[], labels: string[]): string[] {
  const own = fields.filter((field) => !IDENTITIES.test(field)).slice(0, 8);
  const phase = own.filter((field) => field === 'status.phase');
  const rest = own.filter((field) => field !== 'status.phase');
  return [...phase, ...labels.slice(0, 5).map((name) => `metadata.labels.${name}`), ...rest];
}

/** The same in a shell, as near as field and label selectors come. */
export function kubectlOf(
  plural: string,
  ns: string | undefined,
  namespaced: boolean,
  search: InventorySearch,
): string {
  const fields: string[] = [];
  const labels: string[] = [];
  for (const [field, values] of Object.entries(search.f ?? {})) {
    const label = /^metadata\.labels\.(.+)$/.exec(field)?.[1];
    if (label)
      labels.push(values.length === 1 ? `${label}=${values[0]}` : `${label} in (${values.join(',')})`);
    else if (values.length === 1) fields.push(`${field}=${values[0]}`);
  }
  const where = namespaced ? (ns ? ` -n ${ns}` : ' -A') : '';
  const selected = fields.length > 0 ? ` --field-selector '${fields.join(',')}'` : '';
  const labelled = labels.length > 0 ? ` -l '${labels.join(',')}'` : '';
  const text = search.text ? ` | grep -i '${search.text.replaceAll("'", '')}'` : '';
  return `kubectl get ${plural}${where}${selected}${labelled}${text}`;
}

export function summary(total: number, shown: string): string {
  return `${number(total)} ${shown}`;
}
