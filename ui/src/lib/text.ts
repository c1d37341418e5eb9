// Values as text.

const counts = new Intl.NumberFormat('en');

export const number = (count: number) => counts.format(count);

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${number(count)} ${count === 1 ? one : many}`;
}

export function percent(part: number, whole: number): string {
  if (whole === 0) return '–';
  const share = (part / whole) * 100;
  return `${share > 0 && share < 1 ? '<1' : Math.round(share)}%`;
}

const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < BYTES.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : Number(value.toFixed(1))} ${BYTES[unit] ?? ''}`;
}

/** What a cell of a table shows of a value of any type. */
export function shown(value: unknown): string {
  if (value === null || value === undefined || value === '') return '';
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return String(value);
  return JSON.stringify(value);
}

/** `status.phase` as `phase`; `metadata.labels.hardware` as `hardware`. */
export function fieldName(field: string): string {
  const label = /^metadata\.labels\.(.+)$/.exec(field);
  if (label?.[1]) return label[1];
  const parts = field.split('.');
  return parts[parts.length - 1] ?? field;
}

/** In single quotes for a shell, where it needs any. */
export function quoted(text: string): string {
  return /^[\w./:=,@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

export function at(value: unknown, path: string): unknown {
  let here: unknown = value;
  for (const part of path.split('.')) {
    if (typeof here !== 'object' || here === null) return undefined;
    here = (here as Record<string, unknown>)[part];
  }
  return here;
}
