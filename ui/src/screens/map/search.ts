// What the fleet map shows, as its URL says it. Pure.

export interface MapSearch {
  /** Field that cells are coloured by. */
  by?: string;
  /** Only this site. */
  site?: string;
  /** Only cells of this value are lit. */
  lit?: string;
  view?: 'table';
}

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' && value.length <= 200 ? value : undefined;

export function mapSearch(search: Record<string, unknown>): MapSearch {
  const [by, site] = [text(search['by']), text(search['site'])];
  const lit = typeof search['lit'] === 'number' ? String(search['lit']) : text(search['lit']);
  return {
    ...(by && by !== 'status.phase' ? { by } : {}),
    ...(site ? { site } : {}),
    ...(lit ? { lit } : {}),
    ...(search['view'] === 'table' ? { view: 'table' as const } : {}),
  };
}
