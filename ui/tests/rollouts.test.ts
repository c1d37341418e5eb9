// What the screens of workloads and of impact decide, without a screen.
import { describe, expect, test } from 'vitest';
import { mergePatch } from '../src/lib/mergepatch';
import { impactCommand, sayTarget, targetOf, textOf } from '../src/screens/impact/targets';
import { stepsOf, waitsForPerson, type Workload } from '../src/screens/workload/rollout';

describe('a merge patch', () => {
  const cases: [unknown, unknown, unknown][] = [
    [{ a: 1, b: 2 }, { a: 1, b: 3 }, { b: 3 }],
    [{ a: 1, b: { c: 1, d: 2 } }, { b: { d: 2 } }, { a: null, b: { c: null } }],
    [{ a: [1, { b: 1 }] }, { a: [1, { b: 1 }] }, {}],
    [{ a: [1, 2] }, { a: [2] }, { a: [2] }],
    [{ a: 'text' }, { a: { b: 1 } }, { a: { b: 1 } }],
    [undefined, { a: 1 }, { a: 1 }],
  ];
  test.each(cases)('of %j and %j', (from, to, patch) => {
    expect(mergePatch(from, to)).toEqual(patch);
  });
});

describe('what goes, in a URL', () => {
  test.each([
    'Rack/ams1-a01-01',
    'Machine/shop/web-1',
    'Site/ams1?powerFeed=feed+A',
    'Site/ams1?hall=north&row=3',
  ])('%s is read as it is written', (text) => {
    const target = targetOf(text);
    expect(target && textOf(target)).toBe(text);
  });
  test.each(['', 'Rack', 'Rack/', 'Rack/a/b', 'Machine/web-1', 'Service/shop/web', 'Run/a'])(
    '%j makes no sense',
    (text) => {
      expect(targetOf(text)).toBeUndefined();
    },
  );
  test('parts are those of a site', () => {
    expect(targetOf('Rack/a?hall=north')).toEqual({ kind: 'Rack', name: 'a' });
    expect(sayTarget({ kind: 'Site', name: 'ams1', hall: 'north', row: '3' })).toBe(
      'row 3 of hall north of site ams1',
    );
  });
  test('has its line for a shell, where there is one', () => {
    const site = (powerFeed: string) => ({ kind: 'Site', name: 'ams1', powerFeed });
    expect(impactCommand([{ kind: 'Rack', name: 'a' }, site('A')])).toBe(
      'quarterdeck impact rack/a site/ams1 --power-feed A',
    );
    expect(impactCommand([{ kind: 'Machine', namespace: 'shop', name: 'web-1' }])).toBe(
      'quarterdeck impact machine/shop/web-1',
    );
    expect(impactCommand([site('A'), site('B')])).toBeUndefined();
  });
});

describe('the steps of a rollout', () => {
  const ready = { name: 'ready', ready: {} };
  const page = { name: 'page', http: { url: 'http://web/health' } };
  const canary = (status: object, more: object = {}) =>
    ({
      spec: {
        service: 'web',
        strategy: {
          type: 'Canary',
          canary: {
            steps: [
              { instances: 1, checks: [ready], pause: {} },
              { instances: '50%', checks: [page] },
            ],
          },
        },
        ...more,
      },
      status,
    }) as unknown as Workload;
  const tones = (workload: Workload) => stepsOf(workload).map((step) => `${step.title}: ${step.state}`);

  test('are a plan before one begins', () => {
    expect(tones(canary({}))).toEqual([
      '1 instance: no rollout is under way',
      '50% of the instances: no rollout is under way',
      'all others: no rollout is under way',
    ]);
  });

  test('are told with what their checks saw, in the step that is under way', () => {
    const checks = [{ name: 'page', passed: 2, failed: 1, message: 'answered 500' }];
    const workload = canary({ rollout: { revision: 2, step: 1, available: 1, checks } });
    expect(tones(workload)).toEqual([
      '1 instance: done',
      '50% of the instances: under way',
      'all others: not begun',
    ]);
    expect(stepsOf(workload)[1]?.checks).toEqual([
      { name: 'page', asks: 'GET http://web/health', tone: 'fail', said: 'failed once: answered 500' },
    ]);
  });

  test('wait for a person, or for who paused them', () => {
    const rollout = { revision: 2, step: 0, available: 1 };
    const conditions = [{ type: 'Progressing', status: 'Unknown', reason: 'WaitsForPerson' }];
    const workload = canary({ rollout, conditions });
    expect(waitsForPerson(workload)).toBe(true);
    expect(tones(workload)[0]).toBe('1 instance: waits');
    expect(tones(canary({ rollout }, { paused: true }))[0]).toBe('1 instance: waits');
  });

  test('show where it returned', () => {
    const workload = canary({ rollout: { revision: 2, step: 1, available: 1, failed: 'check page' } });
    expect(tones(workload)).toEqual([
      '1 instance: done',
      '50% of the instances: failed',
      'all others: not begun',
    ]);
    expect(waitsForPerson(workload)).toBe(false);
  });

  test('are none of a rolling update, and two of blue and green', () => {
    const of = (strategy: object, status: object = {}) =>
      stepsOf({ spec: { strategy }, status } as unknown as Workload);
    expect(of({ type: 'RollingUpdate' })).toEqual([]);
    const rollout = { revision: 2, step: 0, available: 3, switched: '2026-11-30T12:00:00Z' };
    expect(of({ type: 'BlueGreen', blueGreen: {} }, { rollout }).map((step) => step.state)).toEqual([
      'done',
      'under way',
    ]);
  });
});
