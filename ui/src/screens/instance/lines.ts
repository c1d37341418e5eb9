// What a log has said, as lines, of which so many are kept: older ones go first. Pure, but for what it holds.

export interface Line {
  /** When it was written, as the engine has it; empty where that is not known. */
  at: string;
  text: string;
}

/** Lines that are kept: more than anybody reads, and few enough to be searched at each stroke. */
export const LINES_MAX = 10_000;
/** Letters of one line; the rest of it is counted. */
export const LETTERS_MAX = 8_192;
/** Letters of all of them: what a page may hold of one log. */
export const ALL_LETTERS_MAX = 8_000_000;

const STAMPED = /^(\d{4}-\d\d-\d\dT[\d:]{8}(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) (.*)$/s;
/** What colours text and moves the cursor of a terminal. Source: ECMA-48, "CSI" and "OSC". */
const CONTROL =
  /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])|[\u0000-\u0008\u000b-\u001f\u007f]/g;
const CUT = /^quarterdeck: the log was cut here: (.*)$/;

/** A moment as text that sorts: engines write as many digits of a second as they like. */
export function sortable(at: string): string {
  const [, second = at, fraction = ''] = /^([^.Z+]+)(?:\.(\d+))?/.exec(at) ?? [];
  return `${second}.${fraction.padEnd(9, '0')}`;
}

export class Lines {
  private kept: Line[] = [];
  private letters = 0;
  /** Lines that are no longer kept. */
  dropped = 0;
  private rest = '';
  /** Letters of the line that is being read which were not kept. */
  private lost = 0;
  /** Lines up to this moment are known already. */
  private until = '';

  get all(): readonly Line[] {
    return this.kept;
  }

  /** When the last of them was written. */
  get last(): string {
    return this.kept[this.kept.length - 1]?.at ?? '';
  }

  /** The log is read again from about where it was left: what is known of it is not taken twice. */
  again(): void {
    this.until = this.last ? sortable(this.last) : '';
    this.rest = '';
    this.lost = 0;
  }

  take(text: string): void {
    const parts = (this.rest + text).split('\n');
    const rest = parts.pop() ?? '';
    for (const part of parts) {
      this.add(part, this.lost);
      this.lost = 0;
    }
    this.rest = rest.slice(0, LETTERS_MAX);
    this.lost += rest.length - this.rest.length;
    this.bound();
  }

  /** It has ended. Says why, where the plane cut it: its last line, which alone has no time. */
  end(): string | undefined {
    if (this.rest) this.add(this.rest, this.lost);
    this.rest = '';
    this.lost = 0;
    const last = this.kept[this.kept.length - 1];
    const why = last?.at === '' ? CUT.exec(last.text)?.[1] : undefined;
    if (why !== undefined) this.kept.pop();
    return why;
  }

  private add(whole: string, lost: number): void {
    const [, at = '', said = whole] = STAMPED.exec(whole) ?? [];
    if (this.until && at && sortable(at) <= this.until) return;
    const more = lost + Math.max(0, said.length - LETTERS_MAX);
    const text = said.slice(0, LETTERS_MAX).replace(CONTROL, '');
    this.kept.push({ at, text: more > 0 ? `${text} … and ${more} letters more` : text });
    this.letters += text.length;
  }

  private bound(): void {
    let surplus = Math.max(0, this.kept.length - LINES_MAX);
    for (let at = 0; at < surplus; at += 1) this.letters -= this.kept[at]?.text.length ?? 0;
    while (this.letters > ALL_LETTERS_MAX && surplus < this.kept.length) {
      this.letters -= this.kept[surplus]?.text.length ?? 0;
      surplus += 1;
    }
    if (surplus === 0) return;
    this.kept = this.kept.slice(surplus);
    this.dropped += surplus;
  }
}

/** Numbers of the lines that have this text, whatever its case. */
export function found(lines: readonly Line[], text: string): number[] {
  if (text === '') return [];
  const wanted = text.toLowerCase();
  const hits: number[] = [];
  lines.forEach((line, at) => {
    if (line.text.toLowerCase().includes(wanted)) hits.push(at);
  });
  return hits;
}

/** A line in parts: what was looked for, and what lies between. */
export function parts(line: string, text: string): { text: string; hit: boolean }[] {
  if (text === '') return [{ text: line, hit: false }];
  const [low, wanted] = [line.toLowerCase(), text.toLowerCase()];
  // Some letters are longer in lower case, and places in it are then others.
  if (low.length !== line.length) return [{ text: line, hit: low.includes(wanted) }];
  const all: { text: string; hit: boolean }[] = [];
  let from = 0;
  for (let at = low.indexOf(wanted); at >= 0; at = low.indexOf(wanted, from)) {
    if (at > from) all.push({ text: line.slice(from, at), hit: false });
    all.push({ text: line.slice(at, at + text.length), hit: true });
    from = at + text.length;
  }
  if (from < line.length) all.push({ text: line.slice(from), hit: false });
  return all;
}
