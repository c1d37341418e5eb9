// The stream of the fleet map, version 1, as docs/fleetmap.md has it: frames of bytes, and what they make of the cells.
// Pure: bytes in, cells out.
import type { Cells } from './cells';
import type { RackRun } from './layout';

interface Header {
  version: number;
  cells: number;
  values: string[];
  places: RackRun[];
}

const HEAD = 5;
const [HEADER, NAMES, CELLS, CHANGES, VALUES] = [1, 2, 3, 4, 5];
/** Cells of more than two million servers, or the header of as many places: nothing honest is longer. */
const LONGEST = 64 * 1024 * 1024;
const VERSION = 1;

/** Values that are not among the first 255. */
const OTHER = 255;

export class Frames {
  private rest = new Uint8Array(0);
  private header: Header | undefined;
  private values: Uint8Array | undefined;
  private names: string[] = [];
  private named = 0;
  private fresh = false;

  /** Takes what came in, and says whether there is something new to show. */
  take(bytes: Uint8Array): boolean {
    const all = new Uint8Array(this.rest.length + bytes.length);
    all.set(this.rest);
    all.set(bytes, this.rest.length);
    let at = 0;
    while (all.length - at >= HEAD) {
      const length = new DataView(all.buffer, at + 1, 4).getUint32(0, true);
      if (length > LONGEST)
        throw new Error('The stream of the fleet map is not what this page knows: reload it.');
      if (all.length - at - HEAD < length) break;
      this.frame(all[at] ?? 0, all.subarray(at + HEAD, at + HEAD + length));
      at += HEAD + length;
    }
    this.rest = all.slice(at);
    const changed = this.fresh && this.whole();
    if (changed) this.fresh = false;
    return changed;
  }

  private whole(): boolean {
    return Boolean(this.header && this.values && this.named >= this.header.cells);
  }

  /** What is to be shown; none before all has come. */
  cells(): Cells | undefined {
    if (!this.header || !this.values || !this.whole()) return undefined;
    const dictionary = [...this.header.values];
    dictionary[OTHER] ??= 'other';
    return {
      runs: this.header.places,
      names: this.names,
      values: this.values.slice(),
      dictionary: Array.from(dictionary, (value) => value ?? ''),
    };
  }

  private frame(kind: number, body: Uint8Array): void {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    if (kind === HEADER) this.begin(JSON.parse(text(body)) as Header);
    else if (kind === NAMES) this.name(view, body);
    else if (kind === CELLS) this.values = body.slice();
    else if (kind === CHANGES) this.change(view, body);
    else if (kind === VALUES && this.header) {
      const { first, values } = JSON.parse(text(body)) as { first: number; values: string[] };
      values.forEach((value, index) => {
        if (this.header) this.header.values[first + index] = value;
      });
    } else return;
    this.fresh = true;
  }

  private begin(header: Header): void {
    if (header.version !== VERSION)
      throw new Error('The plane speaks of the fleet map in another way: reload the page.');
    this.header = header;
    this.values = undefined;
    this.names = [];
    this.named = 0;
  }

  private name(view: DataView, body: Uint8Array): void {
    const first = view.getUint32(0, true);
    const count = view.getUint32(4, true);
    let at = 8;
    let before = new Uint8Array(0);
    for (let index = 0; index < count; index += 1) {
      const shared = body[at] ?? 0;
      const more = body[at + 1] ?? 0;
      const name = new Uint8Array(shared + more);
      name.set(before.subarray(0, shared));
      name.set(body.subarray(at + 2, at + 2 + more), shared);
      this.names[first + index] = text(name);
      before = name;
      at += 2 + more;
    }
    this.named += count;
  }

  private change(view: DataView, body: Uint8Array): void {
    if (!this.values) return;
    const count = view.getUint32(8, true);
    for (let index = 0; index < count; index += 1) {
      const cell = view.getUint32(12 + 4 * index, true);
      if (cell < this.values.length) this.values[cell] = body[12 + 4 * count + index] ?? 0;
    }
  }
}

const decoder = new TextDecoder();
const text = (bytes: Uint8Array) => decoder.decode(bytes);
