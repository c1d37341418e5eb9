import { describe, expect, test } from 'vitest';
import { concerns, streamOf } from '../src/api/changes';
import { diffLines, hunks } from '../src/lib/diff';
import { changedPaths, merge3, put } from '../src/lib/merge3';
import { fromBar, reach, reveal, tall, TALLEST, toBar, window_ } from '../src/lib/scroll';
import { bytes, fieldName, percent, quoted } from '../src/lib/text';
import { goDuration, relative, span } from '../src/lib/time';

describe('spans of time', () => {
  test.each([
    [0, '0s'],
    [999, '0s'],
    [8_000, '8s'],
    [60_000, '1m'],
    [754_000, '12m34s'],
    [3_600_000, '1h'],
    [273_600_000, '3d4h'],
    [86_400_000 * 40 + 3_600_000, '40d'],
    [-5, '0s'],
  ])('%d ms is %s', (milliseconds, text) => expect(span(milliseconds)).toBe(text));

  test('are told from now', () => {
    expect(relative(1_000_000, 1_000_400)).toBe('now');
    expect(relative(1_000_000, 1_065_000)).toBe('1m5s ago');
    expect(relative(1_065_000, 1_000_000)).toBe('in 1m5s');
  });

  test.each([
    ['1h30m', 5_400_000],
    ['250ms', 250],
    ['1.5s', 1500],
    ['soon', null],
    ['5', null],
    ['', null],
  ])('%s as Go writes it is %s', (text, milliseconds) => expect(goDuration(text)).toBe(milliseconds));
});

test('values are told as people write them', () => {
  expect(bytes(824_633_720_832)).toBe('768 GiB');
  expect(bytes(1500)).toBe('1.5 KiB');
  expect(percent(1, 1000)).toBe('<1%');
  expect(percent(0, 0)).toBe('–');
  expect(fieldName('metadata.labels.example.com/ring')).toBe('example.com/ring');
  expect(fieldName('status.phase')).toBe('phase');
  expect(quoted("it's")).toBe(`'it'\\''s'`);
  expect(quoted('plain-1')).toBe('plain-1');
});

describe('a million rows', () => {
  const extent = { count: 1_000_000, row: 28, view: 600 };

  test('fit under the tallest a browser scrolls', () => {
    expect(tall(extent)).toBe(TALLEST);
    expect(tall({ ...extent, count: 100 })).toBe(2800);
  });

  test('are all reached by the bar: its ends are the ends of the table', () => {
    expect(fromBar(extent, 0)).toBe(0);
    expect(fromBar(extent, TALLEST - extent.view)).toBe(reach(extent));
    expect(window_(extent, reach(extent)).last).toBe(999_999);
  });

  test('the bar stands where the offset is, to the pixel of the bar', () => {
    for (const offset of [0, 28, 12_345, 14_000_000, reach(extent)]) {
      const again = fromBar(extent, toBar(extent, offset));
      expect(Math.abs(again - offset)).toBeLessThanOrEqual(1);
    }
  });

  test('a row comes into view by as little as needed', () => {
    expect(reveal(extent, 0, 3)).toBe(0);
    expect(reveal(extent, 0, 100)).toBe(101 * 28 - 600);
    expect(reveal(extent, 28_000, 10)).toBe(280);
  });
});

describe('two changes of one object', () => {
  const base = { spec: { a: 1, b: 2, list: [1] }, metadata: { labels: { x: '1' } } };

  test('of different fields go together', () => {
    const mine = { ...base, spec: { ...base.spec, a: 9 } };
    const theirs = { spec: { ...base.spec, list: [1, 2] }, metadata: { labels: { x: '1', y: '2' } } };
    expect(merge3(base, mine, theirs)).toEqual({
      value: { spec: { a: 9, b: 2, list: [1, 2] }, metadata: { labels: { x: '1', y: '2' } } },
      clashes: [],
    });
  });

  test('of one field clash, mine first; the same change does not', () => {
    const mine = { ...base, spec: { ...base.spec, a: 9, b: 5 } };
    const theirs = { ...base, spec: { ...base.spec, a: 8, b: 5 } };
    const { value, clashes } = merge3(base, mine, theirs);
    expect(clashes).toEqual([{ path: ['spec', 'a'], base: 1, mine: 9, theirs: 8 }]);
    expect(put(value, ['spec', 'a'], 8)).toEqual(theirs);
  });

  test('one takes a field away that the other leaves: it goes; that the other changes: they clash', () => {
    const { list: _, ...rest } = base.spec;
    const mine = { ...base, spec: rest };
    expect(merge3(base, mine, { ...base, spec: { ...base.spec, a: 3 } }).value).toEqual({
      ...base,
      spec: { a: 3, b: 2 },
    });
    expect(merge3(base, mine, { ...base, spec: { ...base.spec, list: [2] } }).clashes).toHaveLength(1);
  });

  test('what changed is named', () => {
    expect(changedPaths(base, { ...base, spec: { a: 1, b: 3, list: [1], c: 1 } })).toEqual([
      'spec.b',
      'spec.c',
    ]);
  });
});

describe('lines that changed', () => {
  test('are told by sign, the rest left out', () => {
    const before = 'a\nb\nc\nd\ne\nf\ng\nh\ni';
    const after = 'a\nb\nc\nd\nE\nf\ng\nh\ni';
    const shown = hunks(diffLines(before, after), 1);
    expect(shown.map((line) => (line ? line.sign + line.text : '…'))).toEqual([
      '…',
      ' d',
      '-e',
      '+E',
      ' f',
      '…',
    ]);
  });

  test('put together again give both texts', () => {
    const words = (seed: number) =>
      Array.from({ length: 40 }, (_, at) => `line ${(at * seed) % 7}`).join('\n');
    for (const [a, b] of [
      [1, 2],
      [3, 5],
      [6, 4],
    ]) {
      const [before, after] = [words(a ?? 1), words(b ?? 1)];
      const lines = diffLines(before, after);
      const without = (sign: string) =>
        lines
          .filter((line) => line.sign !== sign)
          .map((line) => line.text)
          .join('\n');
      expect(without('+')).toBe(before);
      expect(without('-')).toBe(after);
    }
  });

  test('the same text has none', () => expect(hunks(diffLines('a\nb', 'a\nb'))).toEqual([]));
});

test('a change concerns the views that show it, and no others', () => {
  const line = {
    revision: '7',
    changes: [
      { kind: 'Run', objects: [['ops', 'a']] as [string, string][] },
      { kind: 'Server', objects: [['', 's1']] as [string, string][], more: 3 },
      { kind: 'Instance', all: true },
    ],
  };
  const cases: [Parameters<typeof concerns>[1], boolean][] = [
    [{ kind: 'Run' }, true],
    [{ kind: 'Run', namespace: null }, true],
    [{ kind: 'Run', namespace: 'ops', name: 'a' }, true],
    [{ kind: 'Run', namespace: 'ops', name: 'b' }, false],
    [{ kind: 'Run', namespace: 'shop' }, false],
    [{ kind: 'Server', name: 's2' }, true],
    [{ kind: 'Instance', namespace: 'x', name: 'y' }, true],
    [{ kind: 'Rack' }, false],
  ];
  for (const [interest, told] of cases)
    expect([interest, concerns(line, interest)]).toEqual([interest, told]);
  expect(concerns({ revision: '8' }, { kind: 'Run' })).toBe(false);
  expect(streamOf([{ kind: 'Run' }, { kind: 'Permit' }, { kind: 'Run', name: 'a' }])).toBe(
    '/stream/changes?kind=Permit&kind=Run',
  );
  expect(streamOf([])).toBe('');
});
