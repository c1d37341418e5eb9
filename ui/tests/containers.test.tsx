// Logs and terminals of instances, and machines that are cordoned and drained: as people use them, over a plane in memory.
import { screen, waitFor, within } from '@testing-library/react';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { show } from './page';
import { json, status, type Plane } from './plane/plane';
import { Socket } from './socket';

const V = 'services.quarterdeck.dev/v1alpha1';
const POD = '/api/v1/namespaces/shop/pods/web-a';
const LOGS = '/o/instances/shop/web-a?tab=logs';
const TERMINAL = '/o/instances/shop/web-a?tab=terminal';

const instance = (name: string, spec: object = {}, state: object = {}) => ({
  apiVersion: V,
  kind: 'Instance',
  metadata: { name, namespace: 'shop' },
  spec: {
    service: 'web',
    host: { kind: 'Machine', name: 'm-1' },
    template: {
      containers: [
        { name: 'main', image: 'web:1', resources: { limits: { cpu: '1', memory: '256Mi' } } },
        { name: 'side', image: 'side:1', resources: { limits: { cpu: '1', memory: '256Mi' } } },
      ],
    },
    ...spec,
  },
  status: { phase: 'Ready', ...state },
});

const machine = (spec: Record<string, unknown> = {}) => ({
  apiVersion: 'compute.quarterdeck.dev/v1alpha1',
  kind: 'Machine',
  metadata: { name: 'm-1', namespace: 'shop' },
  spec,
  status: { phase: 'Running', allocatable: { cpu: 4000, memory: 8 * 1024 ** 3 } },
});

const stamp = (second: number, text: string) =>
  `2026-11-30T12:00:${String(second).padStart(2, '0')}.5Z ${text}\n`;

/** A log that goes on: what is put in comes out, until it is closed or breaks. */
function stream() {
  let out: ReadableStreamDefaultController<Uint8Array> | undefined;
  const body = new ReadableStream<Uint8Array>({ start: (controller) => void (out = controller) });
  return {
    answer: () => new Response(body),
    write: (text: string) => out?.enqueue(new TextEncoder().encode(text)),
    close: () => out?.close(),
    break: () => out?.error(new TypeError('network error')),
  };
}

const log = () => screen.findByRole('log');

describe('the logs of an instance', () => {
  test('are read as they are written, searched, and said to have ended', async () => {
    const written = stream();
    const asked: URL[] = [];
    const { user, address } = show(LOGS, (plane) => {
      plane.add(instance('web-a'));
      plane.answers[`${POD}/log`] = (url) => {
        asked.push(url);
        return written.answer();
      };
    });
    await waitFor(() => expect(asked).toHaveLength(1));
    expect(Object.fromEntries(asked[0]?.searchParams ?? [])).toEqual({
      container: 'main',
      follow: 'true',
      timestamps: 'true',
      tailLines: '500',
    });
    written.write(stamp(1, 'GET /one') + stamp(2, 'an ERROR came') + stamp(3, 'error again'));
    expect((await log()).textContent).toContain('an ERROR came');
    expect((await log()).textContent).not.toContain('2026-11-30');
    screen.getByText('It is followed as it is written.');
    screen.getByText('kubectl logs web-a -n shop -c main --tail=500 -f');
    await user.click(screen.getByRole('checkbox', { name: 'Times' }));
    await waitFor(async () => expect((await log()).textContent).toContain('2026-11-30T12:00:01.5Z GET /one'));
    expect(asked).toHaveLength(1);
    await user.type(screen.getByRole('searchbox'), 'error');
    await screen.findByText('line 1 of 2');
    expect((await log()).querySelectorAll('mark')).toHaveLength(2);
    await user.keyboard('{Enter}');
    await screen.findByText('line 2 of 2');
    expect((await log()).querySelector('.here')?.textContent).toContain('error again');
    expect(address()).toContain('find=error');
    written.write(stamp(4, 'one ERROR more'));
    await screen.findByText('line 2 of 3');
    written.close();
    await screen.findByText('It has ended: the container does not run any more.');
  });

  test('go on where they were when the plane was away, and say so meanwhile', async () => {
    const [first, second] = [stream(), stream()];
    const asked: URL[] = [];
    let away = true;
    show(LOGS, (plane) => {
      plane.add(instance('web-a'));
      plane.answers[`${POD}/log`] = (url) => {
        asked.push(url);
        if (asked.length === 1) return first.answer();
        if (away) throw new TypeError('Failed to fetch');
        return second.answer();
      };
    });
    await waitFor(() => expect(asked).toHaveLength(1));
    first.write(stamp(1, 'one') + stamp(2, 'two'));
    expect((await log()).textContent).toContain('two');
    first.break();
    await screen.findByText(/^Stale: as of .* It is tried again\.$/);
    expect((await log()).textContent).toContain('two');
    away = false;
    second.write(stamp(2, 'two') + stamp(3, 'three'));
    await waitFor(async () => expect((await log()).textContent).toBe('onetwothree'));
    const again = asked[asked.length - 1]?.searchParams;
    expect([again?.get('sinceTime'), again?.get('tailLines')]).toEqual(['2026-11-30T12:00:02Z', null]);
  });

  test('say in the plane’s words why they were cut, and why they cannot be read', async () => {
    const { user } = show(LOGS, (plane) => {
      plane.add(instance('web-a'));
      let count = 0;
      plane.answers[`${POD}/log`] = () => {
        count += 1;
        return count === 1
          ? new Response(`${stamp(1, 'one')}quarterdeck: the log was cut here: its agent is gone\n`)
          : status(503, 'ServiceUnavailable', 'the agent of machine shop/m-1 is not connected');
      };
    });
    await screen.findByText('It was cut: its agent is gone');
    await user.click(screen.getByRole('button', { name: 'Follow again' }));
    await screen.findByText(/Stale: .*the agent of machine shop\/m-1 is not connected/);
  });

  test('that may not be read are refused in the plane’s words', async () => {
    show(LOGS, (plane) => {
      plane.add(instance('web-a'));
      plane.answers[`${POD}/log`] = () => status(403, 'Forbidden', 'ann may not get pods/log in shop');
    });
    expect((await screen.findByRole('alert')).textContent).toContain('ann may not get pods/log in shop');
  });

  test('of another container and another life are in the URL', async () => {
    const asked: URL[] = [];
    const { user, address } = show(LOGS, (plane) => {
      plane.add(instance('web-a'));
      plane.answers[`${POD}/log`] = (url) => {
        asked.push(url);
        return new Response('');
      };
    });
    await user.selectOptions(await screen.findByLabelText('Container'), 'side');
    await user.click(screen.getByRole('checkbox', { name: 'Before its last restart' }));
    await waitFor(() => expect(asked[asked.length - 1]?.searchParams.get('previous')).toBe('true'));
    expect(asked[asked.length - 1]?.searchParams.get('follow')).toBeNull();
    expect(address()).toContain('container=side');
    await screen.findByText('It has written nothing yet.');
    screen.getByText('kubectl logs web-a -n shop -c side --tail=500 --previous');
  });

  test('of what a cluster runs are asked of the cluster', async () => {
    show(LOGS, (plane) => {
      plane.add(
        instance('web-a', { host: { kind: 'Cluster', name: 'eu1' }, template: undefined }, { pod: 'web-x' }),
      );
    });
    await screen.findByText('kubectl --context eu1 logs -f web-x -n shop');
  });
});

describe('the terminal of an instance', () => {
  beforeEach(() => {
    Socket.all = [];
    vi.stubGlobal('WebSocket', Socket);
  });
  const only = () => {
    const [socket] = Socket.all;
    if (!socket) throw new Error('no command was run');
    return socket;
  };

  test('runs nothing because an address was opened; then a command, to its end', async () => {
    const { user } = show(`${TERMINAL}&command=sh%20-c%20'id;%20exit%207'&container=side`, (plane) => {
      plane.add(instance('web-a'));
    });
    const go = await screen.findByRole('button', { name: 'Run it' });
    screen.getByText("kubectl exec -it web-a -n shop -c side -- sh -c 'id; exit 7'");
    expect(Socket.all).toEqual([]);
    await user.click(go);
    await waitFor(() => expect(Socket.all).toHaveLength(1));
    expect(only().protocol).toBe('v5.channel.k8s.io');
    expect(only().url).toBe(
      `wss://${location.host}${POD}/exec?container=side&stdin=true&stdout=true&tty=true&command=sh&command=-c&command=id;+exit+7`,
    );
    only().say(1, '');
    await screen.findByText(/^Runs sh/);
    expect(only().said[0]?.[0]).toBe(4);
    expect(JSON.parse(only().said[0]?.[1] ?? '')).toMatchObject({ Width: 80, Height: 24 });
    const terminal = await screen.findByRole('textbox', { name: /^Terminal: sh/ });
    expect(document.activeElement).toBe(terminal);
    await user.keyboard('a');
    await waitFor(() => expect(only().said).toContainEqual([0, 'a']));
    only().say(
      3,
      '{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}',
    );
    await screen.findByText('It exited with 7.');
    await user.click(screen.getByRole('button', { name: 'Run it again' }));
    await waitFor(() => expect(Socket.all).toHaveLength(2));
  });

  test('is left by a key that it names, and hung up on', async () => {
    const { user } = show(TERMINAL, (plane) => {
      plane.add(instance('web-a'));
    });
    await user.click(await screen.findByRole('button', { name: 'Run it' }));
    await waitFor(() => expect(Socket.all).toHaveLength(1));
    only().say(1, '');
    const terminal = await screen.findByRole('textbox', { name: /^Terminal: sh/ });
    await screen.findByText(/leaves the terminal/);
    terminal.focus();
    await user.keyboard('{Control>}]{/Control}');
    const end = screen.getByRole('button', { name: 'Hang up' });
    expect(document.activeElement).toBe(end);
    expect(only().said.filter(([channel]) => channel === 0)).toEqual([]);
    await user.keyboard('{Enter}');
    await screen.findByText('You hung up.');
    expect(only().readyState).toBe(3);
    expect(Socket.all).toHaveLength(1);
    await waitFor(() =>
      expect(document.activeElement).toBe(screen.getByRole('button', { name: 'Run it again' })),
    );
  });

  test('that is refused is told in the plane’s words', async () => {
    const { user } = show(TERMINAL, (plane) => {
      plane.add(instance('web-a'));
      plane.answers[`${POD}/exec`] = () => status(403, 'Forbidden', 'ann may not create pods/exec in shop');
    });
    await user.click(await screen.findByRole('button', { name: 'Run it' }));
    await waitFor(() => expect(Socket.all).toHaveLength(1));
    only().end();
    await screen.findByText('ann may not create pods/exec in shop');
  });

  test('says that the connection was lost', async () => {
    const { user } = show(TERMINAL, (plane) => {
      plane.add(instance('web-a'));
    });
    await user.click(await screen.findByRole('button', { name: 'Run it' }));
    await waitFor(() => expect(Socket.all).toHaveLength(1));
    only().say(1, '');
    await screen.findByText(/^Runs sh/);
    only().end();
    await screen.findByText(/connection to the plane was lost/);
  });

  test('wants a command that can be read', async () => {
    const { user } = show(TERMINAL, (plane) => {
      plane.add(instance('web-a'));
    });
    const field = await screen.findByLabelText('Command');
    await user.clear(field);
    await user.type(field, "sh 'a");
    expect(screen.getByRole('button', { name: 'Run it' }).getAttribute('title')).toContain('not closed');
    await user.keyboard('{Enter}');
    expect(Socket.all).toEqual([]);
  });
});

describe('a machine', () => {
  const PATH = '/o/machines/shop/m-1';
  const NODE = '/api/v1/nodes/m-1.shop';
  const full = (plane: Plane) => {
    plane.add({
      apiVersion: V,
      kind: 'Service',
      metadata: { name: 'web', namespace: 'shop' },
      spec: { owner: 'shop' },
      status: { phase: 'Healthy', instances: 4, down: 1, disruptionsAllowed: 0 },
    });
    plane.add(instance('web-a', { workload: 'web' }));
    plane.add(instance('alone'));
    plane.add(instance('elsewhere', { workload: 'web', host: { kind: 'Machine', name: 'm-2' } }));
    plane.add({
      apiVersion: 'workflows.quarterdeck.dev/v1alpha1',
      kind: 'Freeze',
      metadata: { name: 'sale' },
      spec: { reason: 'ask #shop', end: '2099-01-01T00:00:00Z' },
    });
    plane.add({
      apiVersion: 'workflows.quarterdeck.dev/v1alpha1',
      kind: 'Freeze',
      metadata: { name: 'over' },
      spec: { reason: 'it is over', end: '2020-01-01T00:00:00Z' },
    });
  };
  const choose = async (user: ReturnType<typeof show>['user'], name: RegExp) => {
    await user.click(await screen.findByRole('button', { name: 'Actions' }));
    await user.click(await screen.findByRole('menuitem', { name }));
  };

  test('is cordoned and uncordoned as kubectl does it', async () => {
    const { user, plane } = show(PATH, (made) => {
      made.add(machine());
      made.answers[NODE] = () => json({});
    });
    await choose(user, /^Cordon/);
    await screen.findByText('kubectl cordon m-1.shop');
    expect(plane.calls[0]).toMatchObject({ method: 'PATCH', body: { spec: { unschedulable: true } } });
    expect(plane.calls[0]?.path).toContain(NODE);
  });

  test('is cordoned by who may write it, and no nodes', async () => {
    const { user, plane } = show(PATH, (made) => {
      made.add(machine({ unschedulable: true }));
      made.answers[NODE] = () => status(403, 'Forbidden', 'ann may not patch nodes');
    });
    await screen.findByText(/It is cordoned/);
    await choose(user, /^Uncordon/);
    await screen.findByText(/kubectl patch machines m-1 -n shop --type merge/);
    expect(plane.find('Machine', 'shop', 'm-1')?.spec).toEqual({ unschedulable: false });
  });

  test('shows what would go and what the ledger says, before it is drained', async () => {
    const { user, plane } = show(PATH, (made) => {
      made.add(machine());
      full(made);
    });
    await choose(user, /^Drain/);
    const dialog = await screen.findByRole('dialog', { name: 'Drain m-1' });
    const moves = await within(dialog).findByRole('region', { name: 'What would go' });
    const line = (name: string) => within(moves).getByRole('link', { name }).closest('tr')?.textContent;
    expect(line('web-a')).toContain('goes once another one serves in its place');
    expect(line('alone')).toContain('stays: no Workload');
    expect(moves.textContent).not.toContain('elsewhere');
    const says = await within(dialog).findByRole('region', { name: 'What the ledger says' });
    expect(says.textContent).toContain('0 more');
    expect(says.textContent).toContain('1 of 4 instances down');
    expect(says.textContent).toContain('ask #shop');
    expect(says.textContent).not.toContain('it is over');
    within(dialog).getByText('kubectl drain m-1.shop');
    await user.click(within(dialog).getByRole('button', { name: 'Have 1 instance go' }));
    await waitFor(() => expect(plane.calls).toHaveLength(1));
    expect(plane.calls[0]?.body).toMatchObject({
      kind: 'Run',
      metadata: { namespace: 'shop' },
      spec: { runbook: 'drain-machine', target: { kind: 'Machine', name: 'm-1' } },
    });
  });

  test('shows who is left while it is drained, and who blocks', async () => {
    show(PATH, (made) => {
      made.add(machine({ unschedulable: true }));
      full(made);
      const asked = made.find('Instance', 'shop', 'web-a');
      if (asked) asked.metadata.annotations = { 'quarterdeck.dev/evict': 'its machine is drained' };
      made.add({
        apiVersion: 'workflows.quarterdeck.dev/v1alpha1',
        kind: 'Permit',
        metadata: { name: 'instance.web-a', namespace: 'shop' },
        spec: { target: { kind: 'Instance', name: 'web-a' } },
        status: { phase: 'Waiting', message: 'freeze sale holds until then' },
      });
      made.add({
        apiVersion: 'workflows.quarterdeck.dev/v1alpha1',
        kind: 'Run',
        metadata: { name: 'drain-1', namespace: 'shop' },
        spec: { runbook: 'drain-machine', target: { kind: 'Machine', name: 'm-1' } },
        status: { phase: 'Running' },
      });
    });
    const link = await screen.findByRole('link', { name: 'drain-1' });
    expect(link.closest('[role=status]')?.textContent).toContain('1 instance still to go');
    const on = await screen.findByRole('region', { name: 'Instances on the machine' });
    const row = within(on).getByRole('link', { name: 'web-a' }).closest('tr');
    expect(row?.textContent).toContain('To go freeze sale holds until then');
  });

  test('shows what it takes, also as a table', async () => {
    const { user } = show(PATH, (made) => {
      made.add(machine());
      made.answers['/apis/metrics.k8s.io/v1beta1/nodes/m-1.shop'] = () =>
        json({ timestamp: '2026-11-30T12:00:00Z', usage: { cpu: '1000m', memory: '2Gi' } });
    });
    const usage = await screen.findByRole('region', { name: 'Usage' });
    await within(usage).findByText('25% of 4 to give');
    await user.click(within(usage).getByText('The same as a table'));
    const table = within(usage).getByRole('region', { name: 'Usage over time' });
    expect(within(table).getAllByRole('row')).toHaveLength(2);
    expect(table.textContent).toContain('2 GiB');
    within(usage).getByText('kubectl top node m-1.shop');
  });

  test('of which nothing is known says why', async () => {
    show(PATH, (made) => {
      made.add(machine());
      made.answers['/apis/metrics.k8s.io/v1beta1/nodes/m-1.shop'] = () =>
        status(404, 'NotFound', 'nodes.metrics.k8s.io "m-1.shop" not found');
    });
    await screen.findByText('Nothing is known of what it takes.');
  });
});

test('an instance shows what its containers take, of their limits together', async () => {
  show('/o/instances/shop/web-a', (plane) => {
    plane.add(instance('web-a'));
    plane.answers['/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods/web-a'] = () =>
      json({
        timestamp: '2026-11-30T12:00:00Z',
        containers: [
          { name: 'main', usage: { cpu: '250m', memory: '64Mi' } },
          { name: 'side', usage: { cpu: '250m', memory: '64Mi' } },
        ],
      });
  });
  const usage = await screen.findByRole('region', { name: 'Usage' });
  await within(usage).findByText('25% of 2 at most');
  within(usage).getByText('25% of 512 MiB at most');
});
