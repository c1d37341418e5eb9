// Where the nodes of a graph are drawn: columns by distance from the middle, what is named to the right and what names
// to the left, rows so that lines cross little. Pure, and the same for the same graph.

export interface Node {
  id: string;
  distance: number;
}
export interface Edge {
  from: string;
  to: string;
}
export interface Placed {
  id: string;
  x: number;
  y: number;
}
export interface Drawing {
  places: Map<string, Placed>;
  width: number;
  height: number;
}

export const NODE = { width: 184, height: 34, gapX: 72, gapY: 10 };
const SWEEPS = 4;

/** The side of each node: that of the first edge on its shortest way from the middle. */
function sides(nodes: Node[], edges: Edge[]): Map<string, number> {
  const side = new Map<string, number>();
  const distance = new Map(nodes.map((node) => [node.id, node.distance]));
  const ordered = [...nodes].sort((a, b) => a.distance - b.distance);
  for (const node of ordered) {
    if (node.distance === 0) {
      side.set(node.id, 0);
      continue;
    }
    for (const { from, to } of edges) {
      const [other, sign] = from === node.id ? [to, -1] : to === node.id ? [from, 1] : [undefined, 0];
      if (other === undefined || distance.get(other) !== node.distance - 1) continue;
      const before = side.get(other) ?? 0;
      side.set(node.id, before === 0 ? sign : before);
      break;
    }
    if (!side.has(node.id)) side.set(node.id, 1);
  }
  return side;
}

export function layout(nodes: Node[], edges: Edge[]): Drawing {
  const side = sides(nodes, edges);
  const columns = new Map<number, string[]>();
  for (const node of nodes) {
    const column = (side.get(node.id) ?? 1) * node.distance;
    columns.set(column, [...(columns.get(column) ?? []), node.id]);
  }
  const near = new Map<string, string[]>();
  for (const { from, to } of edges) {
    near.set(from, [...(near.get(from) ?? []), to]);
    near.set(to, [...(near.get(to) ?? []), from]);
  }
  const keys = [...columns.keys()].sort((a, b) => Math.abs(a) - Math.abs(b) || a - b);
  const rank = new Map<string, number>();
  const number = (ids: string[]) => ids.forEach((id, at) => rank.set(id, at - (ids.length - 1) / 2));
  for (const key of keys) number(columns.get(key) ?? []);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    for (const key of keys) {
      const ids = columns.get(key) ?? [];
      const middle = new Map(
        ids.map((id) => {
          const around = (near.get(id) ?? []).map((other) => rank.get(other) ?? 0);
          return [id, around.reduce((sum, each) => sum + each, 0) / Math.max(1, around.length)];
        }),
      );
      ids.sort((a, b) => (middle.get(a) ?? 0) - (middle.get(b) ?? 0) || a.localeCompare(b));
      number(ids);
    }
  }
  const tallest = Math.max(1, ...[...columns.values()].map((ids) => ids.length));
  const height = tallest * (NODE.height + NODE.gapY);
  const order = [...columns.keys()].sort((a, b) => a - b);
  const places = new Map<string, Placed>();
  order.forEach((key, column) => {
    const ids = columns.get(key) ?? [];
    ids.forEach((id, at) => {
      const y = height / 2 + (at - ids.length / 2) * (NODE.height + NODE.gapY) + NODE.gapY / 2;
      places.set(id, { id, x: column * (NODE.width + NODE.gapX), y });
    });
  });
  return { places, width: order.length * (NODE.width + NODE.gapX) - NODE.gapX, height };
}
