// Times as people say them. Pure: what time it is, is passed in.

const UNITS: [number, string][] = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'm'],
  [1, 's'],
];

/** A span in at most two units, as kubectl has it: `3d4h`, `12m`, `8s`. Milliseconds in. */
export function span(milliseconds: number): string {
  let seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const first = UNITS.findIndex(([size]) => seconds >= size);
  if (first < 0) return '0s';
  const parts: string[] = [];
  for (const [size, letter] of UNITS.slice(first, first + 2)) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count > 0) parts.push(`${count}${letter}`);
    // Whoever reads of weeks does not want hours.
    if (size === 86_400 && count >= 10) break;
  }
  return parts.join('');
}

export function millis(time: string | null | undefined): number | null {
  if (!time) return null;
  const at = Date.parse(time);
  return Number.isNaN(at) ? null : at;
}

/** `3m ago`, `in 2h`, `now`. */
export function relative(time: number, now: number): string {
  const distance = Math.abs(now - time);
  if (distance < 1000) return 'now';
  return time <= now ? `${span(distance)} ago` : `in ${span(distance)}`;
}

const clockFormat = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long' });
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'short', day: 'numeric', month: 'short' });

export const clock = (time: number) => clockFormat.format(time);
export const full = (time: number) => fullFormat.format(time);
export const day = (time: number) => dayFormat.format(time);

/** Go durations, as runbooks write them (`1h30m`, `45s`), in milliseconds. Null for what is none. */
export function goDuration(text: string): number | null {
  const sizes: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return null;
  let sum = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    sum += Number(count) * (sizes[unit ?? ''] ?? 0);
  }
  return sum;
}
