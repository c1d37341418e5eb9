// Where entries lie on a calendar of some days: lanes in which none covers another. Pure.

export interface Entry {
  id: string;
  start: string;
  end?: string | null;
}

export interface Laid<T> {
  entry: T;
  lane: number;
  /** Fractions of the whole width. */
  left: number;
  width: number;
  /** It began before what is shown, or goes on after it. */
  before: boolean;
  after: boolean;
}

/** A moment is drawn so wide, as a fraction. */
const LEAST = 0.006;
/** So much is kept free behind the beginning of each, for its title. */
const TITLE = 0.15;

export function lay<T extends Entry>(
  entries: T[],
  from: number,
  to: number,
): { laid: Laid<T>[]; lanes: number } {
  const whole = to - from;
  const free: number[] = [];
  const laid: Laid<T>[] = [];
  const sorted = [...entries].sort(
    (a, b) => Date.parse(a.start) - Date.parse(b.start) || a.id.localeCompare(b.id),
  );
  for (const entry of sorted) {
    const start = Date.parse(entry.start);
    const end = entry.end ? Date.parse(entry.end) : start;
    if (Number.isNaN(start) || end < from || start >= to) continue;
    const left = Math.max(0, (start - from) / whole);
    const width = Math.max(LEAST, Math.min(1, (end - from) / whole) - left);
    let lane = free.findIndex((until) => until <= left);
    if (lane < 0) lane = free.length;
    free[lane] = left + Math.max(width, TITLE) + 0.003;
    laid.push({ entry, lane, left, width: Math.min(width, 1 - left), before: start < from, after: end > to });
  }
  return { laid, lanes: free.length };
}

/** Midnight, where the reader is, of a day such as `2026-12-01`. */
export function midnight(day: string | undefined, now: number): number {
  const date = day ? new Date(`${day}T00:00:00`) : new Date(now);
  date.setHours(0, 0, 0, 0);
  return date.getTime();
}

export function dayText(time: number): string {
  const date = new Date(time);
  const two = (value: number) => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

export function plusDays(time: number, days: number): number {
  const date = new Date(time);
  date.setDate(date.getDate() + days);
  return date.getTime();
}
