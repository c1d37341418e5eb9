// Where each server of the fleet is drawn: sites hold halls, halls hold rows, rows hold racks side by side, a rack is a
// column of cells from its lowest unit up. In units of the drawing, which is scaled to the screen. Pure.

export interface Place {
  site: string;
  hall: string;
  row: string;
  rack: string;
}

/** Cells are in the order of their places; a rack is a run of them. */
export interface RackRun extends Place {
  first: number;
  count: number;
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Labelled extends Box {
  label: string;
}

export interface Drawing {
  width: number;
  height: number;
  /** By rack: where its column begins, and its cells. */
  racks: (RackRun & Box)[];
  sites: Labelled[];
  halls: Labelled[];
  rows: Labelled[];
  /** By cell: its left upper corner. */
  x: Float32Array;
  y: Float32Array;
}

export const CELL = { width: 12, height: 4, gap: 1 };
const RACK_GAP = 3;
const ROW_GAP = 10;
const HALL_GAP = 26;
const SITE_GAP = 46;
const TITLE = 22;

function groups<T>(items: T[], key: (item: T) => string): [string, T[]][] {
  const found = new Map<string, T[]>();
  for (const item of items) {
    const name = key(item);
    const group = found.get(name);
    if (group) group.push(item);
    else found.set(name, [item]);
  }
  return [...found];
}

interface Block extends Box {
  parts: (dx: number, dy: number) => void;
}

/** Puts blocks in shelves of about this width, tallest first within their order. */
function shelves(blocks: Block[], width: number, gap: number): { width: number; height: number } {
  let [x, y, tallest, widest] = [0, 0, 0, 0];
  for (const block of blocks) {
    if (x > 0 && x + block.width > width) {
      x = 0;
      y += tallest + gap;
      tallest = 0;
    }
    block.x = x;
    block.y = y;
    x += block.width + gap;
    tallest = Math.max(tallest, block.height);
    widest = Math.max(widest, x - gap);
  }
  return { width: widest, height: y + tallest };
}

export function layout(runs: RackRun[], cells: number, aspect: number): Drawing {
  const drawing: Drawing = {
    width: 0,
    height: 0,
    racks: [],
    sites: [],
    halls: [],
    rows: [],
    x: new Float32Array(cells),
    y: new Float32Array(cells),
  };
  const sites = groups(runs, (run) => run.site).map(([site, inSite]) => siteBlock(site, inSite, drawing));
  const area = sites.reduce((sum, block) => sum + (block.width + SITE_GAP) * (block.height + SITE_GAP), 0);
  const widest = Math.max(0, ...sites.map((block) => block.width));
  const size = shelves(sites, Math.max(widest, Math.sqrt(area * aspect)), SITE_GAP);
  for (const block of sites) block.parts(block.x, block.y);
  drawing.width = size.width;
  drawing.height = size.height;
  return drawing;
}

function siteBlock(site: string, runs: RackRun[], drawing: Drawing): Block {
  const halls = groups(runs, (run) => run.hall).map(([hall, inHall]) => hallBlock(hall, inHall, drawing));
  const total = halls.reduce((sum, block) => sum + block.width + HALL_GAP, 0);
  const tallest = Math.max(...halls.map((block) => block.height));
  const width = Math.max(...halls.map((block) => block.width), Math.sqrt(total * (tallest + HALL_GAP) * 1.4));
  const size = shelves(halls, width, HALL_GAP);
  const block: Block = {
    x: 0,
    y: 0,
    width: size.width,
    height: size.height + TITLE,
    parts: (dx, dy) => {
      drawing.sites.push({ x: dx, y: dy, width: size.width, height: block.height, label: site || 'no site' });
      for (const each of halls) each.parts(dx + each.x, dy + TITLE + each.y);
    },
  };
  return block;
}

function hallBlock(hall: string, runs: RackRun[], drawing: Drawing): Block {
  const rows = groups(runs, (run) => run.row);
  const step = CELL.height + CELL.gap;
  const column = CELL.width + RACK_GAP;
  const heights = rows.map(([, racks]) => Math.max(...racks.map((rack) => rack.count)) * step);
  const width = Math.max(...rows.map(([, racks]) => racks.length * column - RACK_GAP));
  const height = heights.reduce((sum, each) => sum + each + ROW_GAP, 0) - ROW_GAP;
  const title = hall === '' ? 0 : TITLE - 6;
  return {
    x: 0,
    y: 0,
    width,
    height: height + title,
    parts: (dx, dy) => {
      if (hall !== '') drawing.halls.push({ x: dx, y: dy, width, height: height + title, label: hall });
      let top = dy + title;
      rows.forEach(([row, racks], at) => {
        const tall = heights[at] ?? 0;
        drawing.rows.push({ x: dx, y: top, width: racks.length * column, height: tall, label: row });
        racks.forEach((rack, index) => {
          const x = dx + index * column;
          drawing.racks.push({ ...rack, x, y: top, width: CELL.width, height: tall });
          for (let cell = 0; cell < rack.count; cell += 1) {
            drawing.x[rack.first + cell] = x;
            drawing.y[rack.first + cell] = top + tall - (cell + 1) * step + CELL.gap;
          }
        });
        top += tall + ROW_GAP;
      });
    },
  };
}

/** The cell at a point of the drawing, or -1. */
export function cellAt(drawing: Drawing, x: number, y: number): number {
  const step = CELL.height + CELL.gap;
  for (const rack of drawing.racks) {
    if (x < rack.x || x >= rack.x + rack.width || y < rack.y || y >= rack.y + rack.height) continue;
    const up = Math.floor((rack.y + rack.height - y) / step);
    return up >= 0 && up < rack.count ? rack.first + up : -1;
  }
  return -1;
}

/** Cells whose middle is within a closed line of points. */
export function within(drawing: Drawing, line: { x: number; y: number }[]): number[] {
  if (line.length < 3) return [];
  const xs = line.map((point) => point.x);
  const ys = line.map((point) => point.y);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
  const found: number[] = [];
  for (const rack of drawing.racks) {
    if (rack.x > right || rack.x + rack.width < left || rack.y > bottom || rack.y + rack.height < top)
      continue;
    for (let cell = rack.first; cell < rack.first + rack.count; cell += 1) {
      const x = (drawing.x[cell] ?? 0) + CELL.width / 2;
      const y = (drawing.y[cell] ?? 0) + CELL.height / 2;
      if (inside(line, x, y)) found.push(cell);
    }
  }
  return found;
}

function inside(line: { x: number; y: number }[], x: number, y: number): boolean {
  let odd = false;
  let last = line[line.length - 1];
  for (const point of line) {
    if (last && point.y > y !== last.y > y) {
      const cross = ((last.x - point.x) * (y - point.y)) / (last.y - point.y) + point.x;
      if (x < cross) odd = !odd;
    }
    last = point;
  }
  return odd;
}

/** From a cell one step: within its rack, or to the nearest of the rack beside it. */
export function step(drawing: Drawing, cell: number, key: string): number {
  const at = drawing.racks.findIndex((rack) => cell >= rack.first && cell < rack.first + rack.count);
  const rack = drawing.racks[at];
  if (!rack) return cell;
  const up = cell - rack.first;
  if (key === 'ArrowUp') return rack.first + Math.min(rack.count - 1, up + 1);
  if (key === 'ArrowDown') return rack.first + Math.max(0, up - 1);
  const other = drawing.racks[key === 'ArrowLeft' ? at - 1 : at + 1];
  return other ? other.first + Math.min(other.count - 1, up) : cell;
}
