// Services and their workloads, and what breaks: as people use them, over a plane in memory.
import { screen, waitFor, within } from '@testing-library/react';
import { describe, expect, test } from 'vitest';
import { show } from './page';

const V = 'services.quarterdeck.dev/v1alpha1';
const container = (image: string) => ({ name: 'web', image, args: ['--all'] });

const workload = (status: object, more: object = {}) => ({
  apiVersion: V,
  kind: 'Workload',
  metadata: { name: 'web', namespace: 'shop' },
  spec: {
    service: 'web',
    replicas: 4,
    template: {
      metadata: { labels: { tier: 'front' } },
      spec: { containers: [container('web:2'), { name: 'log', image: 'log:1' }] },
    },
    strategy: { type: 'Canary', canary: { steps: [{ instances: 1, pause: {} }] } },
    ...more,
  },
  status: { replicas: 4, availableReplicas: 4, revision: 2, stableRevision: 1, ...status },
});

const revision = (number: number, image: string) => ({
  apiVersion: V,
  kind: 'WorkloadRevision',
  metadata: { name: `web-${number}`, namespace: 'shop' },
  spec: { workload: 'web', revision: number, template: { spec: { containers: [container(image)] } } },
});

const instance = (name: string, of: number) => ({
  apiVersion: V,
  kind: 'Instance',
  metadata: { name, namespace: 'shop' },
  spec: { service: 'web', workload: 'web', revision: of, host: { kind: 'Machine', name: 'web-1' } },
  status: { phase: 'Ready' },
});

const WAITS = {
  phase: 'Paused',
  rollout: { revision: 2, step: 0, available: 1, started: '2026-11-30T12:00:00Z' },
  conditions: [
    { type: 'Progressing', status: 'Unknown', reason: 'WaitsForPerson', message: 'It waits for a person.' },
  ],
};

describe('a workload', () => {
  test('that waits for a person is let go on past its step', async () => {
    const { user, plane } = show('/o/workloads/shop/web', (made) => {
      made.add(workload(WAITS));
      made.add(instance('web-a', 2));
      made.add(instance('web-b', 1));
      made.add(revision(1, 'web:1'));
      made.add(revision(2, 'web:2'));
    });
    const steps = await screen.findByRole('list', { name: 'Steps of the rollout' });
    expect(steps.textContent).toContain('then until somebody lets it go on');
    expect(steps.querySelector('[aria-current=step]')?.textContent).toContain('1 instance');
    const instances = await screen.findByRole('region', { name: 'Instances of the workload' });
    expect(within(instances).getByRole('link', { name: 'web-b' }).closest('tr')?.textContent).toContain(
      'old',
    );
    await user.click(screen.getByRole('button', { name: 'Let it go on' }));
    await waitFor(() => expect(plane.calls).toHaveLength(1));
    expect(plane.calls[0]?.body).toMatchObject({
      metadata: { annotations: { 'quarterdeck.dev/resume-rollout': '2/0' } },
    });
    expect(await screen.findByText(/kubectl patch workloads web -n shop --type merge/)).toBeTruthy();
  });

  test('is paused, and goes on', async () => {
    const { user, plane } = show('/o/workloads/shop/web', (made) => {
      made.add(workload({ phase: 'RollingOut', rollout: { revision: 2, step: 0, available: 0 } }));
    });
    await user.click(await screen.findByRole('button', { name: 'Pause' }));
    await waitFor(() => expect(plane.calls[0]?.body).toMatchObject({ spec: { paused: true } }));
    await user.click(await screen.findByRole('button', { name: 'Resume' }));
    await waitFor(() => expect(plane.calls[1]?.body).toMatchObject({ spec: { paused: false } }));
  });

  test('gets a new version, and keeps what else its containers say', async () => {
    const { user, plane } = show('/o/workloads/shop/web', (made) => {
      made.add(workload({ phase: 'Stable', stableRevision: 2 }));
    });
    await user.click(await screen.findByRole('button', { name: 'New version' }));
    const dialog = await screen.findByRole('dialog');
    const go = within(dialog).getByRole('button', { name: 'Roll it out' });
    expect(go.getAttribute('title')).toBe('No image is another one yet.');
    const image = within(dialog).getByLabelText('Image of web');
    await user.clear(image);
    await user.type(image, 'web:3');
    expect(dialog.textContent).toContain('"image":"web:3"');
    await user.click(go);
    await waitFor(() => expect(plane.calls).toHaveLength(1));
    expect(plane.calls[0]?.body).toMatchObject({
      spec: { template: { spec: { containers: [container('web:3'), { name: 'log', image: 'log:1' }] } } },
    });
  });

  test('returns to what it was: what that did not say does not stay', async () => {
    const { user, plane } = show('/o/workloads/shop/web', (made) => {
      made.add(workload(WAITS));
      made.add(revision(1, 'web:1'));
      made.add(revision(2, 'web:2'));
    });
    await user.click(await screen.findByRole('button', { name: 'Change' }));
    await user.click(await screen.findByRole('menuitem', { name: 'Return to a revision' }));
    const dialog = await screen.findByRole('dialog');
    await within(dialog).findByText('quarterdeck workload undo web -n shop --to 1');
    await user.click(within(dialog).getByRole('button', { name: 'Return to it' }));
    await waitFor(() => expect(plane.calls).toHaveLength(1));
    expect(plane.find('Workload', 'shop', 'web')?.spec?.['template']).toEqual(
      revision(1, 'web:1').spec.template,
    );
  });
});

test('a service shows what it cannot be without, and who cannot be without it', async () => {
  const service = (name: string, dependsOn: object[] = []) => ({
    apiVersion: V,
    kind: 'Service',
    metadata: { name, namespace: 'shop' },
    spec: { owner: 'shop', dependsOn },
    status: { phase: 'Healthy' },
  });
  show('/o/services/shop/web', (made) => {
    made.add(service('web', [{ name: 'db' }, { name: 'gone', type: 'Soft' }]));
    made.add(service('db'));
    made.add(service('edge', [{ name: 'web' }]));
  });
  const panel = await screen.findByRole('region', { name: /^Depends on/ });
  const line = (name: RegExp) => within(panel).getByText(name).closest('li')?.textContent ?? '';
  expect(line(/shop\/db/)).toContain('cannot be without');
  expect(line(/shop\/gone/)).toContain('is not there');
  expect(line(/shop\/gone/)).toContain('does less without');
  expect(line(/shop\/edge/)).toContain('cannot be without');
});

describe('what breaks', () => {
  const hit = (name: string, verdict: string, more: object = {}) => ({
    service: { kind: 'Service', namespace: 'shop', name },
    verdict,
    why: `shop/${name} loses 2 of 2 instances`,
    instances: 2,
    lost: 2,
    left: 0,
    needed: 1,
    through: null,
    owner: 'shop',
    contacts: ['#shop-on-call'],
    tier: 1,
    ...more,
  });
  const answer = {
    servers: 40,
    instances: 312,
    verdict: 'DOWN',
    servicesHit: 1,
    services: [hit('db', 'DOWN')],
  };

  test('is told of a rack on its own page, with whom to tell', async () => {
    show('/o/racks/-/r-17?tab=impact', (made) => {
      made.add({
        apiVersion: 'inventory.quarterdeck.dev/v1alpha1',
        kind: 'Rack',
        metadata: { name: 'r-17' },
        spec: { site: 'ams1' },
      });
      made.impact = (targets) => {
        expect(targets).toMatchObject([{ kind: 'Rack', name: 'r-17' }]);
        return answer;
      };
    });
    const hits = await screen.findByRole('region', { name: 'Services that are hit' });
    expect(hits.textContent).toContain('shop/db loses 2 of 2 instances');
    expect(hits.textContent).toContain('#shop-on-call');
    expect(screen.getByText('quarterdeck impact rack/r-17')).toBeTruthy();
  });

  test('is asked of several at once, which stand in the URL', async () => {
    const asked: string[][] = [];
    const { user, address } = show('/impact', (made) => {
      made.impact = (targets) => {
        asked.push(targets.map((each) => each.name));
        return answer;
      };
    });
    await screen.findByText('Nothing goes yet.');
    await user.type(screen.getByLabelText('Name'), 'r-17{Enter}');
    await user.type(screen.getByLabelText('Name'), 'r-18{Enter}');
    await waitFor(() => expect(asked.at(-1)).toEqual(['r-17', 'r-18']));
    expect(address()).toContain('["Rack/r-17","Rack/r-18"]');
    await user.click(screen.getByRole('button', { name: 'Leave rack r-17 out' }));
    await waitFor(() => expect(address()).toContain('["Rack/r-18"]'));
  });
});
