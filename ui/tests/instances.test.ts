// What the logs, the terminal and the curves decide, without a screen.
import { describe, expect, test } from 'vitest';
import { execPath, logPath, shell } from '../src/api/core';
import { endedBy } from '../src/api/exec';
import { quantity } from '../src/lib/quantity';
import { wordsOf } from '../src/lib/words';
import { reachOf } from '../src/screens/instance/containers';
import {
  ALL_LETTERS_MAX,
  found,
  LETTERS_MAX,
  Lines,
  LINES_MAX,
  parts,
  sortable,
} from '../src/screens/instance/lines';
import { instanceSearch } from '../src/screens/instance/search';
import { cores, grown, sampleOf, WINDOW_MS } from '../src/screens/usage/samples';

const POD = { namespace: 'shop', name: 'web-1' };

describe('what is asked of a container', () => {
  const options = { container: 'a', tail: 100, follow: true, previous: false, timestamps: true };

  test('is asked as kubectl asks it', () => {
    expect(logPath(POD, options)).toBe(
      '/api/v1/namespaces/shop/pods/web-1/log?container=a&follow=true&timestamps=true&tailLines=100',
    );
    expect(logPath(POD, { ...options, since: '2026-01-01T00:00:00Z' })).not.toContain('tailLines');
    expect(execPath(POD, 'a', ['sh', '-c', 'a b'])).toBe(
      '/api/v1/namespaces/shop/pods/web-1/exec?container=a&stdin=true&stdout=true&tty=true&command=sh&command=-c&command=a+b',
    );
    expect(shell.logs(POD, options)).toBe('kubectl logs web-1 -n shop -c a --tail=100 -f --timestamps');
    expect(shell.exec(POD, 'a', ['sh', '-c', 'a b'])).toBe(
      "kubectl exec -it web-1 -n shop -c a -- sh -c 'a b'",
    );
    expect(shell.cordon(POD, true)).toBe('kubectl cordon web-1.shop');
  });

  test.each([
    ['sh', ['sh']],
    ['  sh -c \'echo "a  b"; exit 3\' ', ['sh', '-c', 'echo "a  b"; exit 3']],
    ['a "b \\"c\\" \\d" e\\ f', ['a', 'b "c" \\d', 'e f']],
    ["a '' b", ['a', '', 'b']],
    ['', []],
  ])('%j is the words %j', (line, words) => expect(wordsOf(line)).toEqual(words));

  test.each(["a 'b", 'a "b'])('%j is not closed', (line) => {
    expect(wordsOf(line)).toMatchObject({ wrong: expect.stringContaining('not closed') as string });
  });

  test.each([
    ['{"status":"Success"}', { code: 0 }],
    [
      '{"status":"Failure","reason":"NonZeroExitCode","message":"x","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}',
      { code: 7 },
    ],
    [
      '{"status":"Failure","reason":"InternalError","message":"its host is gone"}',
      { why: 'its host is gone' },
    ],
    ['{"status":"Failure"}', { why: 'The plane ended it without saying why.' }],
    ['nonsense', { why: 'The plane ended it, and said nothing that can be read.' }],
  ])('a command that ends with %s', (said, how) => expect(endedBy(said)).toEqual(how));

  test('is asked of who runs it', () => {
    const instance = (spec: object, status: object = {}) =>
      reachOf({
        apiVersion: '',
        kind: '',
        metadata: {},
        spec: spec as Record<string, unknown>,
        status: status as Record<string, unknown>,
      });
    const template = {
      containers: [
        { name: 'a', image: 'a' },
        { name: 'b', image: 'b' },
      ],
    };
    expect(instance({ host: { kind: 'Machine', name: 'm' }, template })).toEqual({
      by: 'agent',
      machine: 'm',
      containers: ['a', 'b'],
    });
    expect(instance({ host: { kind: 'Cluster', name: 'eu1' } }, { pod: 'web-x' })).toEqual({
      by: 'cluster',
      cluster: 'eu1',
      pod: 'web-x',
    });
    expect(instance({ host: { name: 's' } })).toEqual({ by: 'other', kind: 'Server', host: 's' });
  });

  test('stands in the URL, and what makes no sense there is not read', () => {
    const good = {
      container: 'a',
      tail: 100,
      follow: false,
      previous: true,
      times: true,
      find: 'x',
      command: 'sh',
    };
    expect(instanceSearch(good)).toEqual(good);
    expect(instanceSearch({ find: 7 })).toEqual({ find: '7' });
    expect(
      instanceSearch({ tail: -1, follow: true, previous: 'yes', times: 1, find: ['a'], command: '' }),
    ).toEqual({});
  });
});

describe('lines of a log', () => {
  const stamp = (second: number, text: string) =>
    `2026-11-30T12:00:${String(second).padStart(2, '0')}.5Z ${text}\n`;
  const texts = (lines: Lines) => lines.all.map((line) => line.text);

  test('are lines wherever they were cut on the way', () => {
    const lines = new Lines();
    const all = stamp(1, 'one') + stamp(2, '\u001b[31mred\u001b[0m\r') + stamp(3, 'a\tb');
    for (const letter of all) lines.take(letter);
    expect(texts(lines)).toEqual(['one', 'red', 'a\tb']);
    expect(lines.all[0]?.at).toBe('2026-11-30T12:00:01.5Z');
    lines.take('2026-11-30T12:00:04Z no end');
    expect(lines.end()).toBeUndefined();
    expect(texts(lines)).toContain('no end');
  });

  test('are not taken twice when the log is read again', () => {
    const lines = new Lines();
    lines.take(stamp(1, 'one') + stamp(2, 'two') + '2026-11-30T12:00:03.5Z half');
    lines.again();
    lines.take('2026-11-30T12:00:02.500000000Z two\n' + stamp(3, 'half of three') + stamp(4, 'four'));
    expect(texts(lines)).toEqual(['one', 'two', 'half of three', 'four']);
  });

  test('say why they end, where the plane cut them; what a container says is none of it', () => {
    const cut = 'quarterdeck: the log was cut here: its agent is gone\n';
    const lines = new Lines();
    lines.take(stamp(1, 'one') + cut);
    expect(lines.end()).toBe('its agent is gone');
    expect(texts(lines)).toEqual(['one']);
    const said = new Lines();
    said.take(`2026-11-30T12:00:01Z ${cut}`);
    expect(said.end()).toBeUndefined();
  });

  test('are bounded: as a line, in number and in all', () => {
    const lines = new Lines();
    lines.take(`${'x'.repeat(LETTERS_MAX)}`);
    lines.take('y'.repeat(1000));
    lines.take('z\n');
    expect(lines.all[0]?.text).toBe(`${'x'.repeat(LETTERS_MAX)} … and 1001 letters more`);
    for (let at = 0; at < LINES_MAX + 5; at += 1) lines.take(`${at}\n`);
    expect([lines.all.length, lines.dropped, lines.all[0]?.text]).toEqual([LINES_MAX, 6, '5']);
    const long = `${'l'.repeat(LETTERS_MAX)}\n`;
    for (let at = 0; at < 2_000; at += 1) lines.take(long);
    expect(lines.all.reduce((sum, line) => sum + line.text.length, 0)).toBeLessThanOrEqual(ALL_LETTERS_MAX);
  });

  test('are found by a part, whatever its case', () => {
    const lines = ['one', 'An Error', 'error, error'].map((text) => ({ at: '', text }));
    expect(found(lines, 'ERROR')).toEqual([1, 2]);
    expect(found(lines, '')).toEqual([]);
    expect(parts('error, Error!', 'error')).toEqual([
      { text: 'error', hit: true },
      { text: ', ', hit: false },
      { text: 'Error', hit: true },
      { text: '!', hit: false },
    ]);
    expect(
      parts('İİ error', 'error')
        .map((part) => part.text)
        .join(''),
    ).toBe('İİ error');
  });

  test('moments sort, however many digits they have', () => {
    const moments = [
      '2026-01-01T00:00:00Z',
      '2026-01-01T00:00:00.5Z',
      '2026-01-01T00:00:00.512Z',
      '2026-01-01T00:00:01Z',
    ];
    expect([...moments].reverse().sort((a, b) => (sortable(a) < sortable(b) ? -1 : 1))).toEqual(moments);
    expect(sortable('2026-01-01T00:00:00.5Z')).toBe(sortable('2026-01-01T00:00:00.500000000Z'));
  });
});

describe('what is taken', () => {
  test.each([
    ['250m', 0.25],
    ['2', 2],
    ['64Mi', 67_108_864],
    ['1.5Gi', 1_610_612_736],
    [3, 3],
    ['many', undefined],
    ['', undefined],
    ['5x', undefined],
  ])('%j is %s', (text, count) => expect(quantity(text)).toBe(count));

  const metrics = (minute: number, more: object) => ({
    timestamp: `2026-11-30T12:${String(minute).padStart(2, '0')}:00Z`,
    ...more,
  });

  test('is that of a host, or of all containers together', () => {
    expect(sampleOf(metrics(0, { usage: { cpu: '1500m', memory: '1Ki' } }))).toMatchObject({
      cpu: 1.5,
      memory: 1024,
    });
    const containers = [1, 2].map((each) => ({ name: `${each}`, usage: { cpu: '100m', memory: '1Mi' } }));
    expect(sampleOf(metrics(0, { containers }))).toMatchObject({ cpu: 0.2, memory: 2_097_152 });
    expect(sampleOf(metrics(0, { containers: [] }))).toBeUndefined();
    expect(sampleOf(metrics(0, { usage: { cpu: '?' } }))).toBeUndefined();
    expect(cores(0.25)).toBe('250m');
    expect(cores(1.5)).toBe('1.5');
  });

  test('is kept for a while, each moment once', () => {
    const at = (minute: number) => ({ at: minute * 60_000, cpu: minute, memory: 0 });
    let all = grown([], at(0));
    all = grown(all, at(0));
    all = grown(all, undefined);
    expect(all).toHaveLength(1);
    for (let minute = 1; minute <= 40; minute += 1) all = grown(all, at(minute));
    expect(all).toHaveLength(WINDOW_MS / 60_000);
    expect(all[0]?.cpu).toBe(26);
  });
});
