// Draws cells into pixels, in plain arrays: 110,000 in a few milliseconds on one core, with no graphics card and the same
// everywhere. Each tone has a pattern besides its colour, which shows as soon as a cell is large enough for one. Pure.
import type { Tone } from '../../design/glyphs';
import { CELL, type Drawing } from './layout';

export interface View {
  /** Pixels a unit of the drawing. */
  scale: number;
  /** Where the drawing's corner is, in pixels. */
  x: number;
  y: number;
}

export interface Paint {
  /** Colours as pixels have them: alpha, blue, green, red. */
  colours: Uint32Array;
  patterns: Uint8Array;
}

export interface Screen {
  pixels: Uint32Array;
  width: number;
  height: number;
}

/** Flags of a cell. */
export const CHOSEN = 1;
export const DIM = 2;

const PATTERNS: Record<Tone, number> = { ok: 0, busy: 1, wait: 2, fail: 3, idle: 4, special: 5 };
export const patternOf = (tone: Tone): number => PATTERNS[tone];

/** Smaller than this, in pixels, a pattern would be noise. */
const LEAST_WIDTH = 6;
const LEAST_HEIGHT = 4;

/** Whether a pattern has ink at a pixel of a cell: solid, left half, stripes, cross, outline, diamond. */
export function inked(pattern: number, x: number, y: number, width: number, height: number): boolean {
  const [u, v] = [(x + 0.5) / width, (y + 0.5) / height];
  switch (pattern) {
    case 1:
      return u < 0.5 || y === 0 || y === height - 1 || x === width - 1;
    case 2:
      return x % 3 !== 2;
    case 3:
      return Math.abs(u - v) > 0.13 && Math.abs(u + v - 1) > 0.13;
    case 4:
      return x === 0 || y === 0 || x === width - 1 || y === height - 1;
    case 5:
      return Math.abs(u - 0.5) + Math.abs(v - 0.5) < 0.5;
    default:
      return true;
  }
}

/** A colour between two, by channel; `part` of the second. */
export function mix(a: number, b: number, part: number): number {
  let made = 0;
  for (let shift = 0; shift < 32; shift += 8) {
    const [from, to] = [(a >>> shift) & 255, (b >>> shift) & 255];
    made |= Math.round(from + (to - from) * part) << shift;
  }
  return made >>> 0;
}

export interface Scene {
  values: Uint8Array;
  flags: Uint8Array;
  paint: Paint;
  ground: number;
  chosen: number;
}

/** Where each cell is in pixels: reckoned once for a view, so that a recolour only writes. */
export interface Spots {
  left: Int32Array;
  top: Int32Array;
  right: Int32Array;
  bottom: Int32Array;
}

export function spots(drawing: Drawing, view: View): Spots {
  const count = drawing.x.length;
  const made = {
    left: new Int32Array(count),
    top: new Int32Array(count),
    right: new Int32Array(count),
    bottom: new Int32Array(count),
  };
  for (let cell = 0; cell < count; cell += 1) {
    const x = drawing.x[cell] ?? 0;
    const y = drawing.y[cell] ?? 0;
    const left = Math.round(x * view.scale + view.x);
    const top = Math.round(y * view.scale + view.y);
    made.left[cell] = left;
    made.top[cell] = top;
    made.right[cell] = Math.max(left + 1, Math.round((x + CELL.width) * view.scale + view.x));
    made.bottom[cell] = Math.max(top + 1, Math.round((y + CELL.height) * view.scale + view.y));
  }
  return made;
}

/** Draws all cells on an empty ground. */
export function drawAll(screen: Screen, at: Spots, scene: Scene): void {
  screen.pixels.fill(scene.ground);
  for (let cell = 0; cell < scene.values.length; cell += 1) drawCell(screen, at, scene, cell);
}

/** Draws some cells anew, over what is there. */
export function drawSome(
  screen: Screen,
  at: Spots,
  scene: Scene,
  cells: ArrayLike<number>,
  count = cells.length,
): void {
  for (let index = 0; index < count; index += 1) drawCell(screen, at, scene, cells[index] ?? 0);
}

// The innermost loops write pixels one by one: a call of `fill` costs more than the few pixels of a line of a cell.
function drawCell(screen: Screen, at: Spots, scene: Scene, cell: number): void {
  const { pixels } = screen;
  const left = at.left[cell] ?? 0;
  const top = at.top[cell] ?? 0;
  const right = at.right[cell] ?? 0;
  const bottom = at.bottom[cell] ?? 0;
  if (left >= screen.width || top >= screen.height || right <= 0 || bottom <= 0) return;
  const { paint, ground } = scene;
  const flags = scene.flags[cell] ?? 0;
  const value = scene.values[cell] ?? 0;
  let colour = paint.colours[value] ?? ground;
  if (flags & DIM) colour = mix(colour, ground, 0.86);
  const width = right - left;
  const height = bottom - top;
  const x0 = left < 0 ? 0 : left;
  const x1 = right > screen.width ? screen.width : right;
  const y0 = top < 0 ? 0 : top;
  const y1 = bottom > screen.height ? screen.height : bottom;
  const pattern = width >= LEAST_WIDTH && height >= LEAST_HEIGHT ? (paint.patterns[value] ?? 0) : 0;
  const chosen = (flags & CHOSEN) !== 0;
  if (pattern === 0 && !chosen) {
    for (let y = y0; y < y1; y += 1) {
      const end = y * screen.width + x1;
      for (let pixel = y * screen.width + x0; pixel < end; pixel += 1) pixels[pixel] = colour;
    }
    return;
  }
  const faint = pattern === 0 ? colour : mix(colour, ground, 0.74);
  for (let y = y0; y < y1; y += 1) {
    for (let x = x0; x < x1; x += 1) {
      const edge = chosen && (x === left || y === top || x === right - 1 || y === bottom - 1 || width < 4);
      const ink = inked(pattern, x - left, y - top, width, height);
      pixels[y * screen.width + x] = edge ? scene.chosen : ink ? colour : faint;
    }
  }
}

/** `#5fb98a` or `rgb(95 185 138)` as a pixel. */
export function pixel(css: string): number {
  const hex = /^#([0-9a-f]{6})$/i.exec(css.trim())?.[1];
  const parts = hex
    ? [hex.slice(0, 2), hex.slice(2, 4), hex.slice(4, 6)].map((each) => parseInt(each, 16))
    : (css.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
  const [red = 0, green = 0, blue = 0] = parts;
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}
