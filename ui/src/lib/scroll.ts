// Rows in a scrolled box, when there are more of them than a browser can scroll over: Firefox ends at 17.9 million
// pixels, and a million rows of 28 are 28 million. The scrollbar is then a scale model, and wheel and keys move by
// true pixels. Pure.

/** Tallest that the scrolled content is made; each browser can do this. */
export const TALLEST = 8_000_000;

export interface Extent {
  count: number;
  row: number;
  view: number;
}

const all = ({ count, row }: Extent) => count * row;
/** How far can be scrolled, in true pixels. */
export const reach = (extent: Extent) => Math.max(0, all(extent) - extent.view);
/** How tall the content is said to be. */
export const tall = (extent: Extent) => Math.min(all(extent), TALLEST);
export const scaled = (extent: Extent) => all(extent) > TALLEST;

/** Where the scrollbar stands, for a true offset. */
export function toBar(extent: Extent, offset: number): number {
  if (!scaled(extent)) return offset;
  return (offset / reach(extent)) * (TALLEST - extent.view);
}

/** The true offset, for where the scrollbar stands. */
export function fromBar(extent: Extent, bar: number): number {
  if (!scaled(extent)) return bar;
  return Math.round((bar / (TALLEST - extent.view)) * reach(extent));
}

/** First and last row to draw, a few more than can be seen. */
export function window_(extent: Extent, offset: number, spare = 8): { first: number; last: number } {
  const first = Math.max(0, Math.floor(offset / extent.row) - spare);
  const last = Math.min(extent.count - 1, Math.ceil((offset + extent.view) / extent.row) + spare);
  return { first, last };
}

/** The offset nearest to this one at which a row is in view. */
export function reveal(extent: Extent, offset: number, index: number): number {
  const top = index * extent.row;
  if (top < offset) return top;
  if (top + extent.row > offset + extent.view) return Math.min(reach(extent), top + extent.row - extent.view);
  return offset;
}
