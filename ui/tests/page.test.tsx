// The page as people use it, over a plane in memory: what is asked must be of the schema, what is written must be what
// kubectl would write.
import { screen, waitFor, within } from '@testing-library/react';
import { describe, expect, test } from 'vitest';
import { server, show } from './page';

const RUN = {
  apiVersion: 'workflows.quarterdeck.dev/v1alpha1',
  kind: 'Run',
  metadata: { name: 'repair-1', namespace: 'shop' },
  spec: { runbook: 'repair-server', target: { kind: 'Server', name: 'ams1-a01-01-u01' } },
  status: {
    phase: 'Running',
    progress: '1/3',
    startTime: '2026-11-30T12:00:00Z',
    deadline: '2026-12-30T12:00:00Z',
    steps: [
      {
        name: 'begin',
        does: 'server.phase',
        phase: 'Succeeded',
        startTime: '2026-11-30T12:00:00Z',
        endTime: '2026-11-30T12:00:02Z',
      },
      {
        name: 'mended',
        does: 'approve',
        phase: 'Waiting',
        startTime: '2026-11-30T12:00:02Z',
        message: 'Approve when it is mended.',
      },
    ],
  },
};

const CAMPAIGN = {
  apiVersion: 'workflows.quarterdeck.dev/v1alpha1',
  kind: 'Campaign',
  metadata: { name: 'restart', namespace: 'shop' },
  spec: {
    runbook: 'power-cycle-server',
    targets: { kind: 'Server', selector: { matchLabels: { site: 'ams1' } } },
    paused: true,
    concurrency: 4,
  },
  status: { phase: 'Planned', targets: 40, left: 40, domains: 2, message: '40 targets in 2 racks' },
};

const RUNBOOK = {
  apiVersion: 'workflows.quarterdeck.dev/v1alpha1',
  kind: 'Runbook',
  metadata: { name: 'power-off-server' },
  spec: {
    summary: 'Powers a server off.',
    target: { kind: 'Server' },
    parameters: [
      { name: 'grace', type: 'string', default: '60s', description: 'How long it gets.' },
      { name: 'reason', type: 'string', required: true },
    ],
  },
};

describe('logging in', () => {
  test('a token that is not good is refused in words; a good one opens the page', async () => {
    const { user } = show('/', (plane) => {
      plane.anonymous = true;
    });
    const field = await screen.findByLabelText('Token');
    await user.type(field, 'bad');
    await user.click(screen.getByRole('button', { name: 'Log in' }));
    expect((await screen.findByRole('alert')).textContent).toContain('the token is not good');
    await user.clear(field);
    await user.type(field, 'good{Enter}');
    await screen.findByRole('navigation', { name: 'Main' });
  });

  test('a plane that is away is told, and looked for again', async () => {
    const { plane, user } = show('/', (away) => {
      away.away = true;
    });
    expect((await screen.findByRole('alert')).textContent).toContain('cannot be reached');
    plane.away = false;
    await user.click(screen.getByRole('button', { name: 'Try again' }));
    await screen.findByRole('navigation', { name: 'Main' });
  });
});

describe('a table', () => {
  const many = (plane: Parameters<NonNullable<Parameters<typeof show>[1]>>[0]) => {
    for (let at = 1; at <= 12; at += 1) plane.add(server(at, at === 3 ? 'Quarantined' : 'Ready'));
  };

  test('is filtered by a facet, which stands in the URL, and read from it', async () => {
    const { user, address } = show('/inventory/servers', many);
    const filters = await screen.findByRole('complementary', { name: 'Filters' });
    await user.click(await within(filters).findByRole('checkbox', { name: /Quarantined/ }));
    await waitFor(() => expect(screen.getByRole('grid').getAttribute('aria-rowcount')).toBe('2'));
    expect(address()).toContain('"status.phase":["Quarantined"]');
    expect(await screen.findByRole('link', { name: 'ams1-a01-01-u03' })).toBeTruthy();
  });

  test('finds a serial', async () => {
    const { user, address } = show('/inventory/servers', many);
    await user.type(await screen.findByLabelText('Name, serial or label has'), 'ser1007{Enter}');
    await waitFor(() => expect(screen.getByRole('grid').getAttribute('aria-rowcount')).toBe('2'));
    expect(address()).toContain('text=ser1007');
  });

  test('is walked and opened by keys', async () => {
    const { user, address } = show('/inventory/servers', many);
    await screen.findByRole('link', { name: 'ams1-a01-01-u01' });
    await user.keyboard('jjx');
    expect((await screen.findByRole('region', { name: 'Chosen' })).textContent).toContain('1 chosen');
    await user.keyboard('{Enter}');
    await waitFor(() => expect(address()).toBe('/o/servers/-/ams1-a01-01-u03'));
  });

  test('says what to do when it is empty', async () => {
    show('/inventory/servers');
    expect(await screen.findByText(/There are no servers yet/)).toBeTruthy();
    expect(screen.getByText('kubectl explain server.spec')).toBeTruthy();
  });

  test('many are acted on only when their number is typed', async () => {
    const { user, plane } = show('/inventory/servers', (made) => {
      many(made);
      made.add(RUNBOOK);
    });
    await screen.findByRole('link', { name: 'ams1-a01-01-u01' });
    await user.keyboard('x');
    await user.click(await screen.findByRole('button', { name: 'Choose all 12' }));
    await screen.findByText('12 chosen');
    await user.click(screen.getByRole('button', { name: 'Label' }));
    const dialog = await screen.findByRole('dialog');
    await user.type(within(dialog).getByLabelText('Labels'), 'ring=2');
    const act = within(dialog).getByRole('button', { name: 'Label 12 servers' });
    expect(act.getAttribute('aria-disabled')).toBe('true');
    await user.click(act);
    expect(plane.calls).toEqual([]);
    await user.type(within(dialog).getByLabelText('Type 12 to go on'), '12');
    await user.click(act);
    await within(dialog).findByText(/12 of 12 done/);
    expect(plane.calls).toHaveLength(12);
    expect(plane.calls[0]?.body).toEqual({ metadata: { labels: { ring: '2' } } });
  });
});

describe('the command palette', () => {
  test('opens an object by a few letters of it', async () => {
    const { user, address } = show('/', (plane) => {
      plane.add(server(7));
    });
    await screen.findByRole('navigation', { name: 'Main' });
    await user.keyboard('{Control>}k{/Control}');
    await user.type(await screen.findByRole('combobox', { name: 'Search everything' }), 'SER1007');
    await screen.findByRole('option', { name: /ams1-a01-01-u07/ });
    await user.keyboard('{Enter}');
    await waitFor(() => expect(address()).toBe('/o/servers/-/ams1-a01-01-u07'));
  });
});

describe('a run', () => {
  test('shows what it waits for, and is approved in the words of who approves', async () => {
    const { user, plane } = show('/o/runs/shop/repair-1', (made) => {
      made.add(RUN);
    });
    const approval = await screen.findByRole('region', { name: 'Approval' });
    expect(approval.textContent).toContain('Approve when it is mended.');
    await user.type(within(approval).getByLabelText('Why'), 'fan changed');
    await user.click(within(approval).getByRole('button', { name: 'Approve' }));
    await waitFor(() => expect(plane.calls).toHaveLength(1));
    expect(plane.calls[0]).toMatchObject({
      method: 'PATCH',
      body: { spec: { approvals: [{ step: 'mended', decision: 'Approved', note: 'fan changed' }] } },
    });
    expect(plane.calls[0]?.path).toMatch(
      /^\/apis\/workflows.quarterdeck.dev\/v1alpha1\/namespaces\/shop\/runs\/repair-1\?/,
    );
    expect(await screen.findByText(/kubectl patch runs repair-1 -n shop --type merge/)).toBeTruthy();
  });

  test('is started with the parameters of its runbook, those that are missing named', async () => {
    const { user, plane, address } = show('/o/servers/-/ams1-a01-01-u01', (made) => {
      made.add(server(1));
      made.add(RUNBOOK);
    });
    await user.click(await screen.findByRole('button', { name: 'Actions' }));
    await user.click(await screen.findByRole('menuitem', { name: /power-off-server/ }));
    const dialog = await screen.findByRole('dialog');
    await within(dialog).findByLabelText('grace');
    await user.click(within(dialog).getByRole('button', { name: 'Start the run' }));
    await within(dialog).findByText('It must be given.');
    await user.type(within(dialog).getByLabelText('reason (required)'), 'too loud');
    await user.click(within(dialog).getByRole('button', { name: 'Start the run' }));
    await waitFor(() => expect(plane.calls).toHaveLength(1));
    expect(plane.calls[0]?.body).toMatchObject({
      kind: 'Run',
      metadata: { namespace: 'shop' },
      spec: {
        runbook: 'power-off-server',
        target: { kind: 'Server', name: 'ams1-a01-01-u01' },
        params: { reason: 'too loud' },
      },
    });
    await waitFor(() => expect(address()).toContain('/o/runs/shop/'));
  });
});

describe('a campaign', () => {
  test('that is planned is started, and paused again', async () => {
    const { user, plane } = show('/o/campaigns/shop/restart', (made) => {
      made.add(CAMPAIGN);
    });
    expect(await screen.findByText(/This is its plan/)).toBeTruthy();
    await user.click(screen.getByRole('button', { name: 'Start' }));
    await waitFor(() => expect(plane.calls[0]?.body).toMatchObject({ spec: { paused: false } }));
    await user.click(await screen.findByRole('button', { name: 'Pause' }));
    await waitFor(() => expect(plane.calls[1]?.body).toMatchObject({ spec: { paused: true } }));
  });

  test('is planned from a form: paused, with the targets that its labels find', async () => {
    const { user, plane, address } = show('/new/campaigns?selector=site%3Dams1', (made) => {
      for (let at = 1; at <= 4; at += 1) made.add(server(at));
      made.add(RUNBOOK);
    });
    await user.type(await screen.findByLabelText('Name'), 'restart-ams1');
    expect(await screen.findByText('2 Servers')).toBeTruthy();
    await user.click(screen.getByRole('button', { name: 'Plan it' }));
    expect(await screen.findByText('Choose what is done.')).toBeTruthy();
    await user.selectOptions(screen.getByLabelText('Runbook'), 'power-off-server');
    await user.type(await screen.findByLabelText('reason (required)'), 'noise');
    await user.click(screen.getByRole('button', { name: 'Plan it' }));
    await waitFor(() => expect(plane.calls).toHaveLength(1));
    expect(plane.calls[0]?.body).toMatchObject({
      metadata: { name: 'restart-ams1' },
      spec: {
        paused: true,
        runbook: 'power-off-server',
        params: { reason: 'noise' },
        targets: { kind: 'Server', selector: { matchLabels: { site: 'ams1' } } },
      },
    });
    await waitFor(() => expect(address()).toBe('/o/campaigns/shop/restart-ams1'));
  });
});

test('what waits for me is counted in the bar, and leads there', async () => {
  const { user } = show('/', (plane) => {
    plane.add(RUN);
    plane.waiting.push({
      subject: { kind: 'Run', namespace: 'shop', name: 'repair-1' },
      step: 'mended',
      message: 'Approve when it is mended.',
    });
  });
  await user.click(await screen.findByRole('button', { name: '1 wait for you' }));
  const list = await screen.findByRole('dialog', { name: 'What waits for you' });
  expect(within(list).getByRole('link', { name: 'shop/repair-1' }).getAttribute('href')).toBe(
    '/o/runs/shop/repair-1',
  );
});

test('deleting asks for the name', async () => {
  const { user, plane } = show('/o/servers/-/ams1-a01-01-u01', (made) => {
    made.add(server(1));
  });
  await user.click(await screen.findByRole('button', { name: 'More' }));
  await user.click(await screen.findByRole('menuitem', { name: 'Delete' }));
  const dialog = await screen.findByRole('dialog');
  await user.click(within(dialog).getByRole('button', { name: 'Delete' }));
  expect(plane.calls).toEqual([]);
  await user.type(within(dialog).getByLabelText('Type ams1-a01-01-u01 to go on'), 'ams1-a01-01-u01');
  await user.click(within(dialog).getByRole('button', { name: 'Delete' }));
  await waitFor(() => expect(plane.calls[0]).toMatchObject({ method: 'DELETE' }));
});

test('the help names the keys of the screen', async () => {
  const { user } = show('/inventory/servers', (plane) => {
    plane.add(server(1));
  });
  await screen.findByRole('link', { name: 'ams1-a01-01-u01' });
  await user.keyboard('?');
  const dialog = await screen.findByRole('dialog', { name: 'Keys' });
  expect(dialog.textContent).toContain('Choose the row');
  expect(dialog.textContent).toContain('Go to servers');
});
