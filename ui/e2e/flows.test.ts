// What people come for, from the first press to the end: each with a pointer, and by keyboard alone.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { launch, visit, type Visit } from './browser';
import { keyboard, pointer, type Hands } from './hands';
import { container, Host, sharedHost } from './host';
import { COMPUTE, INVENTORY, sharedPlane, SERVICES, until, WORK, type Item, type RealPlane } from './plane';

let plane: RealPlane;
let browser: Browser;
let here: Visit;
let page: Page;
let servers: Item[];

/** Servers that the flows take, one after the other. */
const TAKEN = 28;

beforeAll(async () => {
  [plane, browser] = await Promise.all([sharedPlane(), launch()]);
  // The company's machines take their servers in the first moments, and are being installed for a while: a server is
  // chosen once every machine has its own. The company's own campaign leaves these alone.
  const free = `${INVENTORY}/servers?fieldSelector=status.phase%3DReady&labelSelector=hardware%21%3Dcompute-gen4`;
  const list = (path: string) => plane.ok<{ items: Item[] }>('GET', path).then(({ items }) => items);
  const ready = async () => {
    const machines = await list(`${COMPUTE}/machines`);
    // Some of them have a server that fails, and are installed for long.
    const settled = machines.length > 0 && machines.every(({ status }) => status?.['server']);
    if (!settled) throw new Error(`${machines.length} machines, not all of them with a server`);
    const items = (await list(free)).filter(({ status }) => !status?.['machineRef']);
    if (items.length < TAKEN) throw new Error(`${items.length} servers are free`);
    return items;
  };
  servers = await until('servers are free', ready, 180_000);
});
afterAll(async () => {
  await browser?.close();
});
afterEach(async () => {
  const complaints = here?.complaints ?? [];
  await here?.context.close();
  expect(complaints).toEqual([]);
});

let next = 0;
/** A server that no other test has used. */
function server(): Item {
  const item = servers[next++];
  if (!item) throw new Error('there is no server left');
  return item;
}

async function open(path: string, options: Parameters<typeof visit>[2] = {}): Promise<void> {
  here = await visit(browser, plane, options);
  page = here.page;
  await page.goto(path);
}

const button = (name: string | RegExp, within: Page | Locator = page) =>
  within.getByRole('button', { name, exact: typeof name === 'string' });
const item = (name: string | RegExp) => page.getByRole('menuitem', { name });
const phase = async (path: string) => (await plane.ok<Item>('GET', path)).status?.['phase'];
const says = (phase: string, timeout = 50_000) =>
  page.getByRole('heading', { level: 1 }).getByText(phase).waitFor({ timeout });
const runPath = () =>
  `${WORK}/namespaces/default/runs/${decodeURIComponent(new URL(page.url()).pathname.split('/').pop() ?? '')}`;
const label = (object: Item, labels: Record<string, string>) =>
  plane.ok(
    'PATCH',
    `${INVENTORY}/servers/${object.metadata.name}`,
    { metadata: { labels } },
    'application/merge-patch+json',
  );

async function start(
  hands: Hands,
  runbook: string,
  on: Item,
  fill?: (dialog: Locator) => Promise<void>,
): Promise<void> {
  await page.goto(`/o/servers/-/${on.metadata.name}`);
  await hands.press(button('Actions'));
  await hands.press(item(new RegExp(`^${runbook}`)));
  const dialog = page.getByRole('dialog');
  await fill?.(dialog);
  await hands.select(dialog.getByLabel('Namespace'), 'default');
  await hands.press(button('Start the run', dialog));
  await page.waitForURL(/\/o\/runs\/default\//);
}

describe.each([pointer, keyboard])('$name', (hands) => {
  /** What is made for one of the two must not be in the way of the other. */
  const own = (name: string) => `${name}-${hands === pointer ? 'p' : 'k'}`;

  test('log in with a token, find a server by its serial, and log out', async () => {
    const wanted = server();
    await open('/', { loggedIn: false });
    await hands.fill(page.getByLabel('Token'), 'nonsense');
    await hands.press(button('Log in'));
    await page.getByRole('alert').waitFor();
    await hands.fill(page.getByLabel('Token'), plane.token);
    await hands.press(button('Log in'));
    await page.getByRole('navigation', { name: 'Main' }).waitFor();
    await page.keyboard.press('Control+k');
    await page.keyboard.type(String(wanted.spec['serial']));
    await page.getByRole('option', { name: wanted.metadata.name }).waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: wanted.metadata.name }).waitFor();
    await hands.press(button(/^You are/));
    await hands.press(item('Log out'));
    await page.getByLabel('Token').waitFor();
    // A refused login is an error to the browser, and not to us.
    here.complaints.length = 0;
  });

  test('power-cycle a server and watch the run to its end', async () => {
    await open('/');
    await start(hands, 'power-cycle-server', server());
    const steps = page.getByRole('table', { name: 'Steps over time' });
    await steps.getByText('power-off', { exact: true }).first().waitFor();
    await says('Succeeded');
    expect(await phase(runPath())).toBe('Succeeded');
    await hands.press(button(/power-on/).first());
    await page.getByText('Attempts').waitFor();
    expect(page.url()).toContain('step=');
    await hands.press(page.getByRole('link', { name: 'Timeline' }));
    await page.getByText('created it').waitFor();
  });

  test('see why a run waits and whom to ask, and see it go on', async () => {
    const freezes = `${WORK}/freezes`;
    const name = own('black-friday');
    await plane.ok('POST', freezes, {
      apiVersion: 'workflows.quarterdeck.dev/v1alpha1',
      kind: 'Freeze',
      metadata: { name },
      spec: { reason: 'peak season, ask #shop-on-call', end: '2099-01-01T00:00:00Z' },
    });
    try {
      await open('/');
      await start(hands, 'power-cycle-server', server());
      const said = new RegExp(`freeze ${name} holds until .*peak season, ask #shop-on-call`);
      await page.getByText(said).first().waitFor();
      await page.getByText(/It waits for leave to disrupt Server/).waitFor();
    } finally {
      await plane.ok('DELETE', `${freezes}/${name}`);
    }
    await says('Succeeded');
  });

  test('approve a step in one’s own name', async () => {
    await open('/');
    await start(hands, 'repair-server', server(), (dialog) =>
      hands.fill(dialog.getByLabel('message (required)'), 'fan 3 is loud'),
    );
    const approval = page.getByRole('region', { name: 'Approval' });
    await button(/wait for you/).waitFor({ timeout: 30_000 });
    await hands.fill(approval.getByLabel('Why'), 'fan changed');
    await hands.press(button('Approve', approval));
    await page.getByText(/kubectl patch runs/).waitFor();
    await says('Succeeded');
    const run = await plane.ok<Item>('GET', runPath());
    expect(run.spec['approvals']).toMatchObject([
      { step: 'mended', decision: 'Approved', note: 'fan changed', by: 'system:serviceaccount:default:ann' },
    ]);
  });

  test('cancel a run that waits, and retry it', async () => {
    await open('/');
    await start(hands, 'repair-server', server(), (dialog) =>
      hands.fill(dialog.getByLabel('message (required)'), 'it is slow'),
    );
    await page.getByRole('region', { name: 'Approval' }).waitFor();
    await hands.press(button('Pause'));
    await page.getByText('It is paused').waitFor();
    await hands.press(button('Resume'));
    await hands.press(button('Cancel'));
    await hands.press(button('Cancel the run', page.getByRole('dialog')));
    await says('Cancelled');
    await hands.press(button('Retry'));
    const dialog = page.getByRole('dialog');
    await hands.select(dialog.getByLabel('From which step'), 'mended');
    await hands.press(button('Retry', dialog));
    await page.getByRole('region', { name: 'Approval' }).waitFor({ timeout: 30_000 });
  });

  test('plan a campaign, start, pause and resume it', async () => {
    const ring = own('canary');
    const name = own('restart-canary');
    for (let count = 0; count < 6; count += 1) await label(server(), { ring });
    await open(`/new/campaigns?selector=ring%3D${ring}`);
    await hands.fill(page.getByLabel('Name', { exact: true }), name);
    await hands.select(page.getByLabel('Namespace', { exact: true }).last(), 'default');
    await hands.select(page.getByLabel('Runbook'), 'power-cycle-server');
    await hands.fill(page.getByLabel('Runs at once'), '1');
    await page.getByText('6 Servers').waitFor();
    await hands.press(button('Plan it'));
    await page.getByText('This is its plan').waitFor();
    await hands.press(button('Start'));
    const path = `${WORK}/namespaces/default/campaigns/${name}`;
    await until(
      'a run of it has begun',
      async () => Number((await plane.ok<Item>('GET', path)).status?.['running'] ?? 0) > 0,
    );
    await hands.press(button('Pause'));
    await button('Resume').waitFor();
    await until('it is paused', async () => (await phase(path)) === 'Paused');
    await hands.press(button('Change'));
    await hands.press(item('Limits'));
    const dialog = page.getByRole('dialog');
    await hands.fill(dialog.getByLabel('Runs in work at once'), '6');
    await hands.press(button('Change', dialog));
    await hands.press(button('Resume'));
    await until(
      'it has succeeded',
      async () => {
        const { status } = await plane.ok<Item>('GET', path);
        if (status?.['phase'] !== 'Succeeded') throw new Error(JSON.stringify(status));
        return true;
      },
      120_000,
    );
    await says('Succeeded');
    await page.getByRole('region', { name: 'Progress' }).getByText('100%').waitFor();
    expect((await plane.ok<Item>('GET', path)).spec['concurrency']).toBe(6);
  });

  test('see what breaks if a rack goes, and if another goes as well', async () => {
    // What is on it is found as the plane says it, so that any fleet will do.
    const report = async (...names: string[]) => {
      const targets = names.map((name) => ({ kind: 'Rack', name }));
      const asked = {
        apiVersion: 'services.quarterdeck.dev/v1alpha1',
        kind: 'ImpactReport',
        spec: { targets },
      };
      const answer = await plane.ok<Item>('POST', `${SERVICES}/impactreports`, asked);
      return answer.status as {
        servers: number;
        services: { service: string; why: string; owner: string }[];
      };
    };
    const [one, other] = ['ams1-a01-01', 'ams1-a01-02'];
    const hit = await until('a service is hit', async () => (await report(one)).services[0]);
    await open(`/o/racks/-/${one}`);
    await hands.press(page.getByRole('link', { name: 'Why, and whom to tell' }));
    const services = page.getByRole('region', { name: 'Services that are hit', exact: true }).last();
    await services.getByRole('link', { name: hit.service, exact: true }).first().waitFor();
    await services.getByText(hit.owner, { exact: true }).first().waitFor();
    await hands.press(page.getByRole('link', { name: /^Ask about more at once/ }));
    await page.getByRole('heading', { name: 'What breaks if these go' }).waitFor();
    await hands.fill(page.getByLabel('Name', { exact: true }), other);
    await hands.press(button('Add'));
    const { servers: both } = await report(one, other);
    const sums = page.getByRole('region', { name: 'In all' });
    await sums
      .locator('.figure', { hasText: 'servers go' })
      .getByText(String(both), { exact: true })
      .waitFor();
    expect(decodeURIComponent(page.url())).toContain(`["Rack/${one}","Rack/${other}"]`);
  });

  test('save a view, and come back to it', async () => {
    await open('/inventory/servers?sort=-metadata.name');
    await page.getByRole('row').nth(2).waitFor();
    await hands.press(button('Views'));
    await hands.press(button('Save this view'));
    const dialog = page.getByRole('dialog', { name: 'Save this view' });
    await hands.fill(dialog.getByLabel('Title'), own('Last first'));
    await hands.select(dialog.getByLabel('Namespace', { exact: true }), 'default');
    await hands.press(button('Save', dialog));
    await page.getByText(/kubectl create -f -/).waitFor();
    await page.goto('/');
    await hands.press(button('Views'));
    await hands.press(page.getByRole('link', { name: own('Last first') }));
    await page.waitForURL(/sort=-metadata.name/);
  });

  test('edit YAML while somebody else does, and bring both together', async () => {
    const target = server();
    const path = `${INVENTORY}/servers/${target.metadata.name}`;
    await open(`/o/servers/-/${target.metadata.name}?tab=yaml`);
    await hands.press(button('Edit'));
    const editor = page.getByLabel('YAML, edited');
    await hands.press(editor);
    const text = await editor.innerText();
    const mine = text
      .replace(/( +)serial: \S+/, '$1serial: MINE-1')
      .replace(/( +)labels:\n/, '$1labels:\n$1  ring: mine\n');
    await page.keyboard.press('Control+a');
    // Pasted: what is typed in one go is styled by the browser itself, against the policy.
    await page.evaluate((text) => navigator.clipboard.writeText(text), mine);
    await page.keyboard.press('Control+v');
    await plane.ok(
      'PATCH',
      path,
      { spec: { serial: 'THEIRS-1' }, metadata: { labels: { owner: 'theirs' } } },
      'application/merge-patch+json',
    );
    await hands.press(button('Check'));
    const together = page.getByRole('region', { name: 'Two changes at once' });
    await together.getByText('spec.serial').waitFor();
    await hands.press(together.getByRole('radio').first());
    await hands.press(button('Go on with both', together));
    await hands.press(button('Check'));
    await page
      .getByRole('region', { name: 'What would change' })
      .getByText(/^\+ +serial: MINE-1/)
      .waitFor();
    await hands.press(button('Apply'));
    await page.getByText(`Server ${target.metadata.name} is changed.`).waitFor();
    const now = await plane.ok<{ spec: { serial: string }; metadata: { labels: Record<string, string> } }>(
      'GET',
      path,
    );
    expect(now.spec.serial).toBe('MINE-1');
    expect(now.metadata.labels).toMatchObject({ ring: 'mine', owner: 'theirs' });
    // The refusal by which the conflict shows is an error to the browser.
    here.complaints.length = 0;
  });
});

describe('a new version', () => {
  const IMAGES = ['quarterdeck.local/web:1', 'quarterdeck.local/web:2'];
  let host: Host;
  let health: Server;
  let healthy = true;

  beforeAll(async () => {
    host = await Host.start(plane, 'web-1', IMAGES);
    health = createServer((_, answer) => answer.writeHead(healthy ? 200 : 500).end());
    // Not on loopback, which the plane asks nobody on.
    await new Promise<void>((resolve) => health.listen(0, host.address, resolve));
    await plane.ok('POST', `${SERVICES}/namespaces/default/services`, {
      apiVersion: 'services.quarterdeck.dev/v1alpha1',
      kind: 'Service',
      metadata: { name: 'web' },
      spec: { owner: 'shop', tier: 1, disruptionBudget: { maxUnavailable: 1 } },
    });
  });
  afterAll(async () => {
    health?.close();
    await host?.stop();
  });

  test.each([pointer, keyboard])('is deployed, and its canary returns: $name', async (hands) => {
    const name = hands === pointer ? 'front' : 'back';
    const path = `${SERVICES}/namespaces/default/workloads/${name}`;
    const url = `http://${host.address}:${(health.address() as AddressInfo).port}/health`;
    const check = { name: 'page', http: { url }, interval: '1s' };
    const container = {
      name: 'web',
      image: IMAGES[0],
      imagePullPolicy: 'IfNotPresent',
      command: ['sh', '-c', 'trap "exit 0" TERM; sleep 86400 & wait'],
    };
    healthy = true;
    await plane.ok('POST', `${SERVICES}/namespaces/default/workloads`, {
      apiVersion: 'services.quarterdeck.dev/v1alpha1',
      kind: 'Workload',
      metadata: { name },
      spec: {
        service: 'web',
        replicas: 2,
        template: { spec: { containers: [container] } },
        strategy: { type: 'Canary', canary: { steps: [{ instances: 1, checks: [check], pause: {} }] } },
      },
    });
    const is = (wanted: string) =>
      until(`${name} is ${wanted}`, async () => (await phase(path)) === wanted, 60_000);
    await is('Stable');
    await open(`/o/workloads/default/${name}`);
    await hands.press(button('New version'));
    const dialog = page.getByRole('dialog');
    await hands.fill(dialog.getByLabel('Image of web'), IMAGES[1] ?? '');
    await hands.press(button('Roll it out', dialog));
    const steps = page.getByRole('list', { name: 'Steps of the rollout' });
    await steps.getByText(/held \w+/).waitFor({ timeout: 30_000 });
    await button('Let it go on').waitFor({ timeout: 30_000 });
    healthy = false;
    await says('RolledBack');
    await page.getByText(/Revision 2 returned:.*page/).waitFor();
    await page
      .getByRole('region', { name: /^Revisions/ })
      .getByText('returned from')
      .waitFor();
    const instances = async () => {
      const of = `${SERVICES}/namespaces/default/instances?fieldSelector=spec.workload%3D${name}`;
      return (await plane.ok<{ items: Item[] }>('GET', of)).items;
    };
    await until('all are of revision 1 again', async () => {
      const all = await instances();
      return all.length === 2 && all.every((each) => each.spec['revision'] === 1);
    });
    // And on with the version that was: the template is the first again.
    await hands.press(button('Change'));
    await hands.press(item('Return to a revision'));
    await hands.press(button('Return to it', page.getByRole('dialog')));
    await is('Stable');
    await says('Stable');
  });
});

describe.each([pointer, keyboard])('what agents run, $name', (hands) => {
  const own = (name: string) => `${name}-${hands === pointer ? 'p' : 'k'}`;
  const tab = (name: string) => page.getByRole('link', { name, exact: true });
  const MACHINES = `${COMPUTE}/namespaces/default/machines`;
  const INSTANCES = `${SERVICES}/namespaces/default/instances`;

  beforeAll(async () => {
    await sharedHost();
  });

  test('read a log, stop where it gets interesting, and go on to its end', async () => {
    await open('/o/instances/default/talks');
    await hands.press(tab('Logs'));
    const log = page.getByRole('log');
    // Its end is shown first, and goes on by itself.
    const newest = async () => Number(/line (\d+) of the log\D*$/.exec(await log.innerText())?.[1]);
    await until('lines of its end', async () => (await newest()) >= 300);
    const before = await newest();
    await until('it is followed', async () => (await newest()) > before);
    await page.getByText('kubectl logs talks -n default -c main --tail=500 -f').waitFor();
    await hands.fill(page.getByRole('searchbox'), 'line 7 of');
    await page.getByText('line 1 of 1').waitFor();
    await log.locator('mark', { hasText: 'line 7 of' }).waitFor();
    // It stands still there, and says what came since.
    const end = button(/^(\d+ new lines?: t|T)o the end$/);
    await page.getByText(/^[1-9]\d* new lines?: to the end$/).waitFor();
    expect(await log.getByText('line 7 of the log').isVisible()).toBe(true);
    await hands.press(end);
    await until('it is at the end again', async () => (await newest()) > before);
    await end.waitFor({ state: 'detached' });
    expect(page.url()).toContain('find=line+7+of');
  });

  test('run a shell in a container, leave it and come back, and see what it ended with', async () => {
    await open('/o/instances/default/talks?tab=terminal');
    await hands.press(button('Run it'));
    await page.getByText('Runs sh in main.').waitFor();
    const screen = page.locator('.terminal-screen');
    const says = (text: string) =>
      until(`${text} is shown`, async () => (await screen.innerText()).includes(text));
    await page.keyboard.type('echo sum-$((40+2))\n');
    await says('sum-42');
    // It knows how large it is.
    await page.keyboard.type(
      'until busybox stty size | busybox grep -v "^0 0"; do sleep 1; done; echo sized\n',
    );
    await says('\nsized');
    await page.keyboard.press('Control+]');
    await until('the focus is out of the terminal', () =>
      button('Hang up').evaluate((element) => document.activeElement === element),
    );
    if (hands === pointer) await screen.click();
    else await hands.press(page.getByRole('textbox', { name: /^Terminal/ }));
    await page.keyboard.type('exit 7\n');
    await page.getByText('It exited with 7.').waitFor();
    await page.getByText('kubectl exec -it talks -n default -c main -- sh').waitFor();
    await hands.press(button('Run it again'));
    await page.getByText('Runs sh in main.').waitFor();
    await page.keyboard.press('Control+]');
    await hands.press(button('Hang up'));
    await page.getByText('You hung up.').waitFor();
  });

  test('cordon a machine, and let it take more again', async () => {
    const unschedulable = async () =>
      (await plane.ok<Item>('GET', `${MACHINES}/tools-1`)).spec['unschedulable'] === true;
    await open('/o/machines/default/tools-1');
    await hands.press(button('Actions'));
    await hands.press(item(/^Cordon/));
    await page.getByText('kubectl cordon tools-1.default').waitFor();
    await page.getByText(/^It is cordoned/).waitFor();
    expect(await unschedulable()).toBe(true);
    await hands.press(button('Actions'));
    await hands.press(item(/^Uncordon/));
    await page.getByText('kubectl uncordon tools-1.default').waitFor();
    await page.getByText(/^It is cordoned/).waitFor({ state: 'detached' });
    expect(await unschedulable()).toBe(false);
  });

  test('drain a machine: see what would go, who blocks it, and see it go', async () => {
    const workload = own('walks');
    const [freezes, freeze] = [`${WORK}/freezes`, own('no-walks')];
    await plane.ok('POST', `${SERVICES}/namespaces/default/workloads`, {
      metadata: { name: workload },
      spec: {
        service: 'tools',
        replicas: 1,
        template: {
          spec: {
            terminationGracePeriodSeconds: 1,
            containers: [container('trap "exit 0" TERM; sleep 86400 & wait')],
          },
        },
        placement: { machines: { matchLabels: { pool: 'tools' } } },
      },
    });
    const instances = async () => {
      const of = `${INSTANCES}?fieldSelector=spec.workload%3D${workload}`;
      return (await plane.ok<{ items: Item[] }>('GET', of)).items;
    };
    const machineOf = (instance: Item) => (instance.spec['host'] as { name: string }).name;
    const ready = await until('an instance is ready', async () => {
      const [one] = await instances();
      return one?.status?.['phase'] === 'Ready' && one;
    });
    const machine = machineOf(ready);
    await plane.ok('POST', freezes, {
      apiVersion: 'workflows.quarterdeck.dev/v1alpha1',
      kind: 'Freeze',
      metadata: { name: freeze },
      spec: { reason: 'ask #shop-on-call', end: '2099-01-01T00:00:00Z' },
    });
    try {
      await open(`/o/machines/default/${machine}`);
      await hands.press(button('Actions'));
      await hands.press(item(/^Drain/));
      const dialog = page.getByRole('dialog');
      const moves = dialog.getByRole('region', { name: 'What would go' });
      await moves.getByRole('link', { name: ready.metadata.name }).waitFor();
      await dialog.getByText(/ask #shop-on-call/).waitFor();
      await dialog.getByText(`kubectl drain ${machine}.default`).waitFor();
      await hands.press(button('Have 1 instance go', dialog));
      await page.getByText(/It is being drained by/).waitFor();
      await page.getByText(new RegExp(`freeze ${freeze} holds until .*ask #shop-on-call`)).waitFor();
    } finally {
      await plane.ok('DELETE', `${freezes}/${freeze}`);
    }
    await until(
      'it has gone to the other machine',
      async () => {
        const all = await instances();
        if (
          all.length === 1 &&
          all[0] &&
          machineOf(all[0]) !== machine &&
          all[0].status?.['phase'] === 'Ready'
        )
          return true;
        throw new Error(JSON.stringify(all.map(({ status }) => status)));
      },
      120_000,
    );
    await page
      .getByRole('region', { name: 'Instances on the machine' })
      .getByText(workload)
      .first()
      .waitFor({ state: 'detached' });
    await page.getByText(/^It is cordoned/).waitFor();
    await hands.press(button('Actions'));
    await hands.press(item(/^Uncordon/));
    await page.getByText(/^It is cordoned/).waitFor({ state: 'detached' });
    await plane.ok('DELETE', `${SERVICES}/namespaces/default/workloads/${workload}`);
  });

  test('see what a machine and an instance take', async () => {
    for (const [path, command] of [
      ['/o/machines/default/tools-1', 'kubectl top node tools-1.default'],
      ['/o/instances/default/talks', 'kubectl top pod talks -n default'],
    ] as const) {
      await open(path);
      const usage = page.getByRole('region', { name: 'Usage', exact: true });
      await usage.getByRole('img', { name: /^Processors/ }).waitFor();
      await hands.press(usage.getByText('The same as a table'));
      await usage
        .getByRole('region', { name: 'Usage over time' })
        .getByText(/ [KMG]iB$/)
        .first()
        .waitFor();
      await usage.getByText(command).waitFor();
    }
  });
});

test('a page of another site can open no terminal, whoever is logged in', async () => {
  await sharedHost();
  await open('/');
  const path = '/api/v1/namespaces/default/pods/talks/exec?container=main&command=id&stdout=true';
  const comes = (from: Page) =>
    from.evaluate(
      ([url]) =>
        new Promise<string>((resolve) => {
          const socket = new WebSocket(url ?? '', 'v5.channel.k8s.io');
          socket.onopen = () => resolve('open');
          socket.onerror = () => resolve('refused');
        }),
      [`${plane.url.replace('https', 'wss')}${path}`],
    );
  await until('one of the own page is opened', async () => (await comes(page)) === 'open');
  const other = createServer((_, answer) => answer.end('<title>other</title>'));
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  try {
    const elsewhere = await here.context.newPage();
    await elsewhere.goto(`http://127.0.0.1:${(other.address() as AddressInfo).port}/`);
    expect(await comes(elsewhere)).toBe('refused');
  } finally {
    other.close();
  }
  // With the page from disk, a browser lets the first one go before it knows that it may.
  here.complaints.length = 0;
});

test('a plane that dies is told as stale, and goes on when it is back', async () => {
  const target = server();
  await open(`/o/servers/-/${target.metadata.name}`);
  await page.getByText('Hardware found').waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  await plane.kill();
  await page.getByText(/Stale: as of/).waitFor({ timeout: 30_000 });
  expect(await page.getByRole('heading', { name: target.metadata.name }).isVisible()).toBe(true);
  await plane.run();
  await page.getByText('Live', { exact: true }).waitFor({ timeout: 40_000 });
  await label(target, { seen: 'again' });
  await page.getByText('seen=again').waitFor();
  here.complaints.length = 0;
});

describe('without a button', () => {
  test('walk a table by keys, choose rows, label them', async () => {
    await open('/inventory/servers?sort=metadata.name');
    // Rows are there before what they show is.
    await page.locator('[aria-rowindex="3"]').getByRole('link').first().waitFor();
    await page.keyboard.press('x');
    await page.getByText('1 chosen').waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('x');
    await page.getByText('2 chosen').waitFor();
    await page.keyboard.press('b');
    await keyboard.press(button('Label'));
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Labels').waitFor();
    await page.keyboard.type('walked=yes');
    await keyboard.press(button('Label 2 servers', dialog));
    await dialog.getByText('2 of 2 done').waitFor();
    const list = await plane.ok<{ items: Item[] }>('GET', `${INVENTORY}/servers?labelSelector=walked%3Dyes`);
    expect(list.items).toHaveLength(2);
  });

  test('walk the map by arrows and open a server', async () => {
    await open('/map');
    const map = page.getByRole('application', { name: /^Fleet map/ });
    await map.waitFor();
    await map.focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowUp');
    const said = await page.locator('#map-said').innerText();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: said.split(':')[0] ?? '' }).waitFor();
  });
});
