// The whole page over a plane in memory, for component tests.
import { QueryClientProvider } from '@tanstack/react-query';
import { createMemoryHistory, createRouter, RouterProvider } from '@tanstack/react-router';
import { render } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { vi } from 'vitest';
import { client, router as real } from '../src/router';
import { Plane, type KindRow } from './plane/plane';

const WORK = 'workflows.quarterdeck.dev';
const row = (
  kind: string,
  group: string,
  plural: string,
  namespaced: boolean,
  more: Partial<KindRow> = {},
): KindRow => ({
  kind,
  group,
  version: group === '' ? 'v1' : 'v1alpha1',
  plural,
  namespaced,
  columns: [{ name: 'Phase', path: 'status.phase' }],
  fields: ['metadata.name', 'metadata.namespace', 'status.phase'],
  ...more,
});

export const KINDS: KindRow[] = [
  row('Server', 'inventory.quarterdeck.dev', 'servers', false, {
    shortNames: ['srv'],
    columns: [
      { name: 'Phase', path: 'status.phase' },
      { name: 'Rack', path: 'spec.location.rack' },
      { name: 'Machine', path: 'status.machineRef.name' },
      { name: 'Serial', path: 'spec.serial' },
      { name: 'Model', path: 'status.inventory.model', wide: true },
    ],
    fields: ['metadata.name', 'status.phase', 'spec.location.rack', 'spec.serial'],
  }),
  row('Rack', 'inventory.quarterdeck.dev', 'racks', false),
  row('Site', 'inventory.quarterdeck.dev', 'sites', false),
  row('Machine', 'compute.quarterdeck.dev', 'machines', true),
  row('Service', 'services.quarterdeck.dev', 'services', true),
  row('Instance', 'services.quarterdeck.dev', 'instances', true, {
    fields: ['spec.service', 'spec.host.name', 'status.phase'],
  }),
  row('Workload', 'services.quarterdeck.dev', 'workloads', true),
  row('WorkloadRevision', 'services.quarterdeck.dev', 'workloadrevisions', true),
  row('SavedView', 'page.quarterdeck.dev', 'savedviews', true),
  row('Run', WORK, 'runs', true, {
    columns: [
      { name: 'Runbook', path: 'spec.runbook' },
      { name: 'Phase', path: 'status.phase' },
    ],
    fields: ['metadata.name', 'metadata.namespace', 'status.phase', 'spec.runbook'],
  }),
  row('Campaign', WORK, 'campaigns', true),
  row('Permit', WORK, 'permits', true),
  row('Freeze', WORK, 'freezes', false),
  row('Schedule', WORK, 'schedules', true),
  row('Runbook', WORK, 'runbooks', false, {
    columns: [{ name: 'Summary', path: 'spec.summary' }],
    fields: ['metadata.name', 'spec.target.kind'],
  }),
];

export function server(at: number, phase = 'Ready') {
  const name = `ams1-a01-01-u${String(at).padStart(2, '0')}`;
  return {
    apiVersion: 'inventory.quarterdeck.dev/v1alpha1',
    kind: 'Server',
    metadata: { name, labels: { site: at % 2 ? 'ams1' : 'iad1' } },
    spec: { serial: `SER${1000 + at}`, location: { rack: 'ams1-a01-01', unit: at } },
    status: { phase, powerState: 'On' },
  };
}

export function show(url: string, prepare: (plane: Plane) => void = () => undefined) {
  const plane = new Plane(KINDS);
  prepare(plane);
  vi.stubGlobal('fetch', plane.fetch);
  client.clear();
  client.setDefaultOptions({ queries: { ...client.getDefaultOptions().queries, retry: false } });
  const history = createMemoryHistory({ initialEntries: [url] });
  const router = createRouter({ ...real.options, history });
  const user = userEvent.setup();
  const page = render(
    <QueryClientProvider client={client}>
      <RouterProvider router={router as never} />
    </QueryClientProvider>,
  );
  const address = () => decodeURIComponent(history.location.href);
  return { plane, user, page, address, history };
}
