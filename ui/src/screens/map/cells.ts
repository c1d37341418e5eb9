// The fleet as the map knows it: cells in the order of their places, a byte of value each. Pure.
import { toneOf, type Tone } from '../../design/glyphs';
import type { RackRun } from './layout';

export interface Cells {
  runs: RackRun[];
  names: string[];
  /** By cell, which of `dictionary` it has. */
  values: Uint8Array;
  dictionary: string[];
}

/** More values than a byte, or than an eye, tells apart are one. */
export const MOST_VALUES = 255;

export function counts(cells: Cells): number[] {
  const sums = new Array<number>(cells.dictionary.length).fill(0);
  for (const value of cells.values) sums[value] = (sums[value] ?? 0) + 1;
  return sums;
}

/** Colours for what has no tone of its own, as names of variables: they differ in lightness, too. */
export const HUES = [
  '--busy',
  '--wait',
  '--ok',
  '--special',
  '--accent',
  '--fail',
  '--ink-2',
  '--idle',
] as const;
const CYCLE: Tone[] = ['ok', 'busy', 'wait', 'idle', 'special', 'fail'];

export interface Look {
  value: string;
  /** Variable of styles that has its colour. */
  colour: string;
  /** Whose pattern it is drawn in. */
  tone: Tone;
}

const STATES = /phase|power|health|ready/i;

/** How each value is drawn: states by their tone, everything else in order, so that neighbours differ. */
export function looks(dictionary: string[], by: string): Look[] {
  const order = dictionary
    .map((_, at) => at)
    .sort((a, b) => (dictionary[a] ?? '').localeCompare(dictionary[b] ?? ''));
  return dictionary.map((value, at) => {
    if (STATES.test(by)) {
      const tone = value === '' ? 'idle' : toneOf(value, 'Server');
      // Two states of one tone are told apart by lightness.
      const quieter = value === 'Ready' && /phase/i.test(by);
      return { value, tone, colour: quieter ? '--ok-quiet' : `--${tone}` };
    }
    const rank = order.indexOf(at);
    return {
      value,
      tone: CYCLE[Math.floor(rank / HUES.length) % CYCLE.length] ?? 'ok',
      colour: value === '' ? '--line-strong' : (HUES[rank % HUES.length] ?? '--busy'),
    };
  });
}

/** Racks of one site, or all, with where each of their cells was. */
export interface Narrowed {
  runs: RackRun[];
  from: Int32Array;
}

export function narrow(runs: RackRun[], site: string | undefined): Narrowed {
  const kept = site === undefined ? runs : runs.filter((run) => run.site === site);
  const from = new Int32Array(kept.reduce((sum, run) => sum + run.count, 0));
  let next = 0;
  const moved = kept.map((run) => {
    const first = next;
    for (let at = 0; at < run.count; at += 1) from[next++] = run.first + at;
    return { ...run, first };
  });
  return { runs: moved, from };
}

export function pick(cells: Cells, { runs, from }: Narrowed): Cells {
  const names: string[] = new Array<string>(from.length);
  const values = new Uint8Array(from.length);
  from.forEach((cell, at) => {
    names[at] = cells.names[cell] ?? '';
    values[at] = cells.values[cell] ?? 0;
  });
  return { runs, names, values, dictionary: cells.dictionary };
}
