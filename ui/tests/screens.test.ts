// What screens decide, without a screen.
import { describe, expect, test } from 'vitest';
import { lay } from '../src/screens/calendar/place';
import { Frozen } from '../src/screens/inventory/frozen';
import {
  facetFields,
  filtersOf,
  inventorySearch,
  kubectlOf,
  resorted,
  toggled,
  variables,
} from '../src/screens/inventory/search';
import { counts, looks, narrow, pick } from '../src/screens/map/cells';
import { Frames } from '../src/screens/map/frames';
import { CELL, cellAt, layout as mapLayout, step, within, type RackRun } from '../src/screens/map/layout';
import { CHOSEN, DIM, drawAll, drawSome, mix, pixel, spots, type Scene } from '../src/screens/map/raster';
import { editable, whole } from '../src/screens/object/manifest';
import { axis, bar } from '../src/screens/run/gantt';
import { read, type Parameter } from '../src/screens/run/parameters';
import { layout as graphLayout, NODE } from '../src/screens/service/layout';
import { labelsOf } from '../src/screens/create/CampaignForm';
import { parse, print } from '../src/screens/object/yaml';

describe('the URL of a table', () => {
  test('is read, and what makes no sense in it is not', () => {
    expect(
      inventorySearch({
        text: 42,
        sort: '-a',
        f: { 'status.phase': ['Ready', 7], x: 'no', y: [] },
        cols: ['Phase'],
      }),
    ).toEqual({
      text: '42',
      sort: '-a',
      f: { 'status.phase': ['Ready'] },
      cols: ['Phase'],
    });
    expect(inventorySearch({ text: ['a'], f: [1], sort: 1, cols: 'x' })).toEqual({});
  });

  test('becomes what is asked', () => {
    const search = {
      text: 'x',
      sort: '-status.phase',
      f: { 'status.phase': ['Ready'], 'spec.profile': [''] },
    };
    expect(variables('Server', 'shop', search)).toEqual({
      kinds: ['Server'],
      namespaces: ['shop'],
      text: 'x',
      filters: [
        { field: 'status.phase', op: 'IN', values: ['Ready'] },
        { field: 'spec.profile', op: 'ABSENT', values: [] },
      ],
      sort: { field: 'status.phase', descending: true },
    });
    expect(filtersOf({})).toEqual([]);
  });

  test('a value is chosen and taken back', () => {
    const once = toggled({}, 'status.phase', 'Ready');
    expect(once).toEqual({ f: { 'status.phase': ['Ready'] } });
    expect(toggled(toggled(once, 'status.phase', 'InUse'), 'status.phase', 'Ready')).toEqual({
      f: { 'status.phase': ['InUse'] },
    });
    expect(toggled(once, 'status.phase', 'Ready')).toEqual({});
  });

  test('a column sorts up, down, and not', () => {
    expect([undefined, 'a', '-a'].map((sort) => resorted(sort, 'a'))).toEqual(['a', '-a', undefined]);
  });

  test('only fields that many share are counted', () => {
    const fields = [
      'spec.serial',
      'status.phase',
      'spec.location.unit',
      'spec.profile',
      'status.machineRef.uid',
      'status.machineRef.namespace',
    ];
    expect(facetFields(fields, ['site'])).toEqual([
      'status.phase',
      'metadata.labels.site',
      'spec.profile',
      'status.machineRef.namespace',
    ]);
  });

  test('has a line for a shell', () => {
    const search = {
      f: { 'status.phase': ['Ready'], 'metadata.labels.site': ['ams1', 'iad1'] },
      text: 'u01',
    };
    expect(kubectlOf('servers', undefined, false, search)).toBe(
      "kubectl get servers --field-selector 'status.phase=Ready' -l 'site in (ams1,iad1)' | grep -i 'u01'",
    );
    expect(kubectlOf('runs', 'ops', true, {})).toBe('kubectl get runs -n ops');
  });
});

describe('rows under the cursor', () => {
  const row = (uid: string, phase = 'Ready') => ({ uid, phase });

  test('take new values, and stay where they are', () => {
    const frozen = new Frozen<ReturnType<typeof row>>();
    frozen.take(0, [row('a'), row('b'), row('c')]);
    frozen.take(0, [row('c'), row('a', 'Failed'), row('b'), row('d')]);
    expect([0, 1, 2].map((at) => frozen.row(at, 100))).toEqual([row('a', 'Failed'), row('b'), row('c')]);
    expect(frozen.pending()).toBe(4);
    frozen.thaw();
    expect(frozen.pending()).toBe(0);
    expect(frozen.row(0, 100)).toEqual(row('c'));
  });

  test('say nothing when only values changed', () => {
    const frozen = new Frozen<ReturnType<typeof row>>();
    frozen.take(1, [row('a'), row('b')]);
    frozen.take(1, [row('a', 'Failed'), row('b')]);
    expect(frozen.pending()).toBe(0);
    expect(frozen.row(100, 100)?.phase).toBe('Failed');
  });

  test('one that is gone is told, and stays in sight', () => {
    const frozen = new Frozen<ReturnType<typeof row>>();
    frozen.take(0, [row('a'), row('b')]);
    frozen.take(0, [row('a')]);
    expect(frozen.pending()).toBe(1);
    expect(frozen.row(1, 100)).toEqual(row('b'));
  });
});

describe('parameters of a runbook', () => {
  const parameters: Parameter[] = [
    { name: 'image', type: 'string', required: true },
    { name: 'count', type: 'integer', default: 3 },
    { name: 'wiped', type: 'boolean' },
    { name: 'racks', type: 'array' },
    { name: 'more', type: 'object' },
    { name: 'share', type: 'number' },
  ];

  test('are given by their types, defaults left out', () => {
    const typed = {
      image: 'debian',
      count: '3',
      wiped: 'true',
      racks: '["a"]',
      more: '{"a":1}',
      share: '0.5',
    };
    expect(read(parameters, typed)).toEqual({
      params: { image: 'debian', wiped: true, racks: ['a'], more: { a: 1 }, share: 0.5 },
      wrong: {},
    });
  });

  test('that are wrong are named, each with how to write it', () => {
    const { params, wrong } = read(parameters, {
      count: '1.5',
      wiped: 'yes',
      racks: '{}',
      more: 'x',
      share: 'much',
    });
    expect(params).toEqual({});
    expect(Object.keys(wrong).sort()).toEqual(['count', 'image', 'more', 'racks', 'share', 'wiped']);
    expect(wrong['image']).toBe('It must be given.');
  });
});

describe('bars of steps', () => {
  const at = (second: number) => new Date(1_000_000_000_000 + second * 1000).toISOString();

  test('lie on one axis, those in work to its end', () => {
    const steps = [{ startTime: at(0), endTime: at(10) }, { startTime: at(10) }];
    const on = axis(steps, 1_000_000_020_000, false);
    expect(on && [bar(steps[0] ?? {}, on), bar(steps[1] ?? {}, on)]).toEqual([
      { left: 0, width: 0.5 },
      { left: 0.5, width: 0.5 },
    ]);
    expect(on?.ticks.map((tick) => tick.label)).toEqual(['0', '5s', '10s', '15s']);
  });

  test('none has begun: there is no axis', () => {
    expect(axis([{}], 0, false)).toBeNull();
  });
});

test('a calendar keeps entries of one time apart, and drops what is not in it', () => {
  const entry = (id: string, start: number, end?: number) => ({
    id,
    start: new Date(start).toISOString(),
    end: end === undefined ? null : new Date(end).toISOString(),
  });
  const { laid, lanes } = lay(
    [entry('a', 0, 500), entry('b', 100, 300), entry('c', 800, 2000), entry('d', 5000)],
    50,
    1050,
  );
  expect(laid.map((each) => [each.entry.id, each.lane, each.before, each.after])).toEqual([
    ['a', 0, true, false],
    ['b', 1, false, false],
    ['c', 0, false, true],
  ]);
  expect(lanes).toBe(2);
});

test('a graph puts what names to the left and what is named to the right', () => {
  const nodes = [
    { id: 'service', distance: 0 },
    { id: 'instance', distance: 1 },
    { id: 'machine', distance: 2 },
    { id: 'database', distance: 1 },
  ];
  const edges = [
    { from: 'instance', to: 'service' },
    { from: 'instance', to: 'machine' },
    { from: 'service', to: 'database' },
  ];
  const { places, width } = graphLayout(nodes, edges);
  const x = (id: string) => places.get(id)?.x ?? -1;
  expect(x('machine')).toBeLessThan(x('instance'));
  expect(x('instance')).toBeLessThan(x('service'));
  expect(x('service')).toBeLessThan(x('database'));
  expect(width).toBe(4 * NODE.width + 3 * NODE.gapX);
});

describe('an object as it is edited', () => {
  const manifest = {
    apiVersion: 'v1',
    kind: 'X',
    metadata: { name: 'a', uid: 'u', resourceVersion: '7', labels: { x: '1' }, managedFields: [] },
    spec: { n: 1 },
    status: { phase: 'Ready' },
  };
  test('has what people say, and is sent against its revision', () => {
    expect(editable(manifest)).toEqual({
      apiVersion: 'v1',
      kind: 'X',
      metadata: { name: 'a', labels: { x: '1' } },
      spec: { n: 1 },
    });
    expect(whole(editable(manifest), manifest).metadata).toEqual({
      name: 'a',
      labels: { x: '1' },
      uid: 'u',
      resourceVersion: '7',
    });
  });
  test('as YAML and back is the same', () => {
    expect(parse(print(manifest))).toEqual({ value: manifest });
    expect(parse('a: [')).toHaveProperty('wrong');
    expect(parse('- a')).toHaveProperty('wrong');
  });
});

test('labels of targets are read as kubectl writes them', () => {
  expect(labelsOf('a=b, example.com/c=d')).toEqual({ a: 'b', 'example.com/c': 'd' });
  expect(labelsOf('a')).toBeNull();
  expect(labelsOf('')).toBeNull();
});

describe('the fleet map', () => {
  const runs: RackRun[] = [
    { site: 'a', hall: 'h', row: '1', rack: 'a1', first: 0, count: 3 },
    { site: 'a', hall: 'h', row: '1', rack: 'a2', first: 3, count: 2 },
    { site: 'b', hall: '', row: '', rack: 'b1', first: 5, count: 2 },
  ];
  const drawing = mapLayout(runs, 7, 1.6);
  const cells = {
    runs,
    names: ['s0', 's1', 's2', 's3', 's4', 's5', 's6'],
    values: new Uint8Array([0, 0, 1, 0, 1, 1, 0]),
    dictionary: ['InUse', 'Quarantined'],
  };

  test('has a place for each cell, none on another', () => {
    const places = new Set(cells.names.map((_, at) => `${drawing.x[at]},${drawing.y[at]}`));
    expect(places.size).toBe(7);
    for (let at = 0; at < 7; at += 1) {
      expect(cellAt(drawing, (drawing.x[at] ?? 0) + 1, (drawing.y[at] ?? 0) + 1)).toBe(at);
    }
    expect(cellAt(drawing, -5, -5)).toBe(-1);
  });

  test('is walked by arrows, within and between racks', () => {
    expect(step(drawing, 0, 'ArrowUp')).toBe(1);
    expect(step(drawing, 2, 'ArrowUp')).toBe(2);
    expect(step(drawing, 2, 'ArrowRight')).toBe(4);
    expect(step(drawing, 3, 'ArrowLeft')).toBe(0);
    expect(step(drawing, 0, 'ArrowLeft')).toBe(0);
  });

  test('a line around cells chooses them', () => {
    const rack = drawing.racks[0];
    if (!rack) throw new Error('no rack');
    const box = [
      { x: rack.x - 1, y: rack.y - 1 },
      { x: rack.x + rack.width + 1, y: rack.y - 1 },
      { x: rack.x + rack.width + 1, y: rack.y + rack.height + 1 },
      { x: rack.x - 1, y: rack.y + rack.height + 1 },
    ];
    expect(within(drawing, box)).toEqual([0, 1, 2]);
    expect(within(drawing, box.slice(0, 2))).toEqual([]);
  });

  test('counts, tells states by tone, and narrows to a site', () => {
    expect(counts(cells)).toEqual([4, 3]);
    expect(looks(cells.dictionary, 'status.phase').map((look) => look.tone)).toEqual(['ok', 'fail']);
    expect(new Set(looks(['x', 'y', 'z'], 'spec.profile').map((look) => look.colour)).size).toBe(3);
    const narrowed = pick(cells, narrow(runs, 'b'));
    expect(narrowed.names).toEqual(['s5', 's6']);
    expect(narrowed.runs).toEqual([{ ...runs[2], first: 0 }]);
  });

  test('is read from frames, however the bytes are cut', () => {
    const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
    const frame = (kind: number, body: Uint8Array) => {
      const made = new Uint8Array(5 + body.length);
      made[0] = kind;
      new DataView(made.buffer).setUint32(1, body.length, true);
      made.set(body, 5);
      return made;
    };
    const places = [{ site: 'a', hall: '', row: '', rack: 'r1', first: 0, count: 3 }];
    const names = new Uint8Array([0, 0, 0, 0, 3, 0, 0, 0, 0, 3, 115, 45, 49, 2, 1, 50, 2, 2, 49, 48]);
    const changes = new Uint8Array([9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2]);
    const stream = [
      frame(1, json({ version: 1, cells: 3, values: ['', 'InUse'], places })),
      frame(3, new Uint8Array([1, 1, 0])),
      frame(9, new Uint8Array([1, 2])),
      frame(2, names),
      frame(5, json({ first: 2, values: ['Failed'] })),
      frame(4, changes),
    ];
    const bytes = Uint8Array.from(stream.flatMap((each) => [...each]));
    for (const size of [1, 7, bytes.length]) {
      const frames = new Frames();
      for (let at = 0; at < bytes.length; at += size) frames.take(bytes.slice(at, at + size));
      const made = frames.cells();
      expect(made?.names).toEqual(['s-1', 's-2', 's-10']);
      expect([...(made?.values ?? [])].map((value) => made?.dictionary[value])).toEqual([
        'InUse',
        'InUse',
        'Failed',
      ]);
      expect(made?.runs).toEqual(places);
    }
    expect(new Frames().cells()).toBeUndefined();
    expect(() => new Frames().take(frame(1, json({ version: 2, cells: 0, values: [], places: [] })))).toThrow(
      /reload/,
    );
  });

  const scene = (values: Uint8Array): Scene => ({
    values,
    flags: new Uint8Array(7),
    paint: {
      colours: new Uint32Array([pixel('#00ff00'), pixel('rgb(255 0 0)')]),
      patterns: new Uint8Array([0, 3]),
    },
    ground: pixel('#000000'),
    chosen: pixel('#ffffff'),
  });
  const screen = () => ({ pixels: new Uint32Array(200 * 200), width: 200, height: 200 });
  const view = spots(drawing, { scale: 1, x: 10, y: 10 });

  test('what changed drawn anew is as all drawn anew', () => {
    const first = screen();
    drawAll(first, view, scene(cells.values));
    const changed = cells.values.slice();
    changed[1] = 1;
    changed[5] = 0;
    drawSome(first, view, scene(changed), [1, 5]);
    const second = screen();
    drawAll(second, view, scene(changed));
    expect(first.pixels).toEqual(second.pixels);
  });

  test('a choice has an edge, what is not lit is dim, and a cell outside is not drawn', () => {
    const chosen = scene(cells.values);
    chosen.flags[0] = CHOSEN;
    chosen.flags[1] = DIM;
    const drawn = screen();
    drawAll(drawn, view, chosen);
    const at = (cell: number, dx: number) =>
      drawn.pixels[((drawing.y[cell] ?? 0) + 10) * 200 + (drawing.x[cell] ?? 0) + 10 + dx];
    expect(at(0, 0)).toBe(pixel('#ffffff'));
    expect(at(1, 4)).toBe(mix(pixel('#00ff00'), pixel('#000000'), 0.86));
    const away = screen();
    drawAll(away, spots(drawing, { scale: 1, x: -5000, y: 0 }), chosen);
    expect(away.pixels.every((each) => each === pixel('#000000'))).toBe(true);
  });

  test('a pattern tells a tone without its colour', () => {
    const drawn = screen();
    drawAll(drawn, spots(drawing, { scale: 2, x: 0, y: 0 }), scene(cells.values));
    const colours = (cell: number) => {
      const found = new Set<number>();
      for (let y = 0; y < CELL.height * 2; y += 1) {
        for (let x = 0; x < CELL.width * 2; x += 1) {
          found.add(
            drawn.pixels[((drawing.y[cell] ?? 0) * 2 + y) * 200 + (drawing.x[cell] ?? 0) * 2 + x] ?? 0,
          );
        }
      }
      return found.size;
    };
    expect(colours(0)).toBe(1);
    expect(colours(2)).toBe(2);
  });

  test('recolours 110,000 cells in a few milliseconds', () => {
    const racks: RackRun[] = Array.from({ length: 3056 }, (_, at) => ({
      site: `s${Math.floor(at / 600)}`,
      hall: `h${Math.floor(at / 150) % 4}`,
      row: `${Math.floor(at / 20)}`,
      rack: `r${at}`,
      first: at * 36,
      count: 36,
    }));
    const big = mapLayout(racks, 110_016, 1.6);
    const scale = Math.min(1200 / big.width, 800 / big.height);
    const all = { ...scene(new Uint8Array(110_016)), flags: new Uint8Array(110_016) };
    const at = spots(big, { scale, x: 0, y: 0 });
    const target = { pixels: new Uint32Array(1200 * 800), width: 1200, height: 800 };
    const times = Array.from({ length: 15 }, () => {
      const from = performance.now();
      drawAll(target, at, all);
      return performance.now() - from;
    }).sort((a, b) => a - b);
    // The figure itself is taken in the browser; this only guards against a slip of another order.
    expect(times[7]).toBeLessThan(60);
    console.log(`recolour 110,016 cells: median ${times[7]?.toFixed(2)} ms`);
  });
});
