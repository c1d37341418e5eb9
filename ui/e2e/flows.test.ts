// What people come for, from the first press to the end.
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { launch, visit, type Visit } from './browser';
import { INVENTORY, RealPlane, until, WORK, type Item } from './plane';

let plane: RealPlane;
let browser: Browser;
let here: Visit;
let page: Page;
let servers: Item[];

beforeAll(async () => {
  [plane, browser] = await Promise.all([
    RealPlane.start('--servers', '60', '--idle', '--speed', '50'),
    launch(),
  ]);
  const ready = async () => {
    const list = await plane.ok<{ items: Item[] }>(
      'GET',
      `${INVENTORY}/servers?fieldSelector=status.phase%3DReady`,
    );
    return list.items.length >= 20 && list.items;
  };
  servers = await until('servers are inspected', ready, 90_000);
});
afterAll(async () => {
  await browser?.close();
  await plane?.stop();
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

const phase = async (path: string) => (await plane.ok<Item>('GET', path)).status?.['phase'];
const runPath = () =>
  `${WORK}/namespaces/default/runs/${decodeURIComponent(new URL(page.url()).pathname.split('/').pop() ?? '')}`;

async function start(
  runbook: string,
  on: Item,
  fill?: (dialog: ReturnType<Page['getByRole']>) => Promise<void>,
) {
  await page.goto(`/o/servers/-/${on.metadata.name}`);
  await page.getByRole('button', { name: 'Actions', exact: true }).click();
  await page.getByRole('menuitem', { name: new RegExp(`^${runbook}`) }).click();
  const dialog = page.getByRole('dialog');
  await fill?.(dialog);
  await dialog.getByLabel('Namespace').selectOption('default');
  await dialog.getByRole('button', { name: 'Start the run' }).click();
  await page.waitForURL(/\/o\/runs\/default\//);
}

test('log in with a token, find a server by its serial, and log out', async () => {
  const wanted = server();
  await open('/', { loggedIn: false });
  await page.getByLabel('Token').fill('nonsense');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('alert').waitFor();
  await page.getByLabel('Token').fill(plane.token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('navigation', { name: 'Main' }).waitFor();
  await page.keyboard.press('Control+k');
  await page.keyboard.type(String(wanted.spec['serial']));
  await page.getByRole('option', { name: wanted.metadata.name }).waitFor();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: wanted.metadata.name }).waitFor();
  await page.getByRole('button', { name: /^You are/ }).click();
  await page.getByRole('menuitem', { name: 'Log out' }).click();
  await page.getByLabel('Token').waitFor();
  // A refused login is an error to the browser, and not to us.
  here.complaints.length = 0;
});

test('power-cycle a server and watch the run to its end', async () => {
  await open('/');
  await start('power-cycle-server', server());
  await page
    .getByRole('table', { name: 'Steps over time' })
    .getByText('power-off', { exact: true })
    .first()
    .waitFor();
  await page.getByRole('heading', { level: 1 }).getByText('Succeeded').waitFor({ timeout: 40_000 });
  expect(await phase(runPath())).toBe('Succeeded');
  await page
    .getByRole('button', { name: /power-on/ })
    .first()
    .click();
  await page.getByText('Attempts').waitFor();
  expect(page.url()).toContain('step=');
  await page.getByRole('link', { name: 'Timeline' }).click();
  await page.getByText('created it').waitFor();
});

test('see why a run waits and whom to ask, and see it go on', async () => {
  const freeze = `${INVENTORY.replace('inventory', 'workflows')}/freezes`;
  await plane.ok('POST', freeze, {
    apiVersion: 'workflows.quarterdeck.dev/v1alpha1',
    kind: 'Freeze',
    metadata: { name: 'black-friday' },
    spec: { reason: 'peak season, ask #shop-on-call', end: '2099-01-01T00:00:00Z' },
  });
  try {
    await open('/');
    await start('power-cycle-server', server());
    const said = page.getByText(/freeze black-friday holds until .*peak season, ask #shop-on-call/).first();
    await said.waitFor();
    await page.getByText(/It waits for leave to disrupt Server/).waitFor();
  } finally {
    await plane.ok('DELETE', `${freeze}/black-friday`);
  }
  await page.getByRole('heading', { level: 1 }).getByText('Succeeded').waitFor({ timeout: 50_000 });
});

test('approve a step in one’s own name', async () => {
  await open('/');
  await start('repair-server', server(), async (dialog) => {
    await dialog.getByLabel('message (required)').fill('fan 3 is loud');
  });
  const approval = page.getByRole('region', { name: 'Approval' });
  await approval.getByLabel('Why').fill('fan changed');
  await page.getByRole('button', { name: /wait for you/ }).waitFor({ timeout: 30_000 });
  await approval.getByRole('button', { name: 'Approve' }).click();
  await page.getByText(/kubectl patch runs/).waitFor();
  await page.getByRole('heading', { level: 1 }).getByText('Succeeded').waitFor({ timeout: 40_000 });
  const run = await plane.ok<Item>('GET', runPath());
  expect(run.spec['approvals']).toMatchObject([
    { step: 'mended', decision: 'Approved', note: 'fan changed', by: 'system:serviceaccount:default:ann' },
  ]);
});

test('cancel a run that waits, and retry it', async () => {
  await open('/');
  await start('repair-server', server(), async (dialog) => {
    await dialog.getByLabel('message (required)').fill('it is slow');
  });
  await page.getByRole('region', { name: 'Approval' }).waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByText('It is paused').waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel the run' }).click();
  await page.getByRole('heading', { level: 1 }).getByText('Cancelled').waitFor({ timeout: 40_000 });
  await page.getByRole('button', { name: 'Retry' }).click();
  await page.getByRole('dialog').getByLabel('From which step').selectOption('mended');
  await page.getByRole('dialog').getByRole('button', { name: 'Retry' }).click();
  await page.getByRole('region', { name: 'Approval' }).waitFor({ timeout: 30_000 });
});

test('plan a campaign, start, pause and resume it', async () => {
  const chosen = [server(), server(), server(), server(), server(), server()];
  for (const each of chosen) {
    await plane.ok(
      'PATCH',
      `${INVENTORY}/servers/${each.metadata.name}`,
      { metadata: { labels: { ring: 'canary' } } },
      'application/merge-patch+json',
    );
  }
  await open('/new/campaigns?selector=ring%3Dcanary');
  await page.getByLabel('Name', { exact: true }).fill('restart-canary');
  await page.getByLabel('Namespace', { exact: true }).last().selectOption('default');
  await page.getByLabel('Runbook').selectOption('power-cycle-server');
  await page.getByLabel('Runs at once').fill('1');
  await page.getByText('6 Servers').waitFor();
  await page.getByRole('button', { name: 'Plan it' }).click();
  await page.getByText('This is its plan').waitFor();
  await page.getByRole('button', { name: 'Start', exact: true }).click();
  const path = `${WORK}/namespaces/default/campaigns/restart-canary`;
  await until(
    'a run of it has begun',
    async () => Number((await plane.ok<Item>('GET', path)).status?.['running'] ?? 0) > 0,
  );
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Resume' }).waitFor();
  await until('it is paused', async () => (await phase(path)) === 'Paused');
  await page.getByRole('button', { name: 'Change', exact: true }).click();
  await page.getByRole('menuitem', { name: 'Limits' }).click();
  await page.getByRole('dialog').getByLabel('Runs in work at once').fill('6');
  await page.getByRole('dialog').getByRole('button', { name: 'Change' }).click();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('heading', { level: 1 }).getByText('Succeeded').waitFor({ timeout: 50_000 });
  await page.getByRole('region', { name: 'Progress' }).getByText('100%').waitFor();
  expect((await plane.ok<Item>('GET', path)).spec['concurrency']).toBe(6);
});

test('edit YAML while somebody else does, and bring both together', async () => {
  const target = server();
  const path = `${INVENTORY}/servers/${target.metadata.name}`;
  await open(`/o/servers/-/${target.metadata.name}?tab=yaml`);
  await page.getByRole('button', { name: 'Edit' }).click();
  const editor = page.getByLabel('YAML, edited');
  await editor.click();
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
  await page.getByRole('button', { name: 'Check' }).click();
  const together = page.getByRole('region', { name: 'Two changes at once' });
  await together.getByText('spec.serial').waitFor();
  await together.getByRole('radio').first().check();
  await together.getByRole('button', { name: 'Go on with both' }).click();
  await page.getByRole('button', { name: 'Check' }).click();
  await page
    .getByRole('region', { name: 'What would change' })
    .getByText(/^\+ +serial: MINE-1/)
    .waitFor();
  await page.getByRole('button', { name: 'Apply' }).click();
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
  await plane.ok(
    'PATCH',
    `${INVENTORY}/servers/${target.metadata.name}`,
    { metadata: { labels: { seen: 'again' } } },
    'application/merge-patch+json',
  );
  await page.getByText('seen=again').waitFor();
  here.complaints.length = 0;
});

describe('by keyboard alone', () => {
  test('find a server, power-cycle it, and pause and go on', async () => {
    const target = server();
    await open('/');
    await page.getByRole('navigation', { name: 'Main' }).waitFor();
    await page.keyboard.press('Control+k');
    await page.keyboard.type(target.metadata.name);
    await page.getByRole('option', { name: target.metadata.name }).first().waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: target.metadata.name }).waitFor();
    await tabTo('Actions');
    await page.keyboard.press('Enter');
    await page.getByRole('menu').waitFor();
    await page.keyboard.type('power-cycle');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await tabTo('Start the run');
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/o\/runs\//);
    await page.getByRole('heading', { level: 1 }).getByText('Succeeded').waitFor({ timeout: 40_000 });
  });

  test('walk a table, choose rows, label them', async () => {
    await open('/inventory/servers?sort=metadata.name');
    await page.getByRole('row').nth(3).waitFor();
    await page.keyboard.press('x');
    await page.keyboard.press('j');
    await page.keyboard.press('x');
    await page.getByText('2 chosen').waitFor();
    await tabTo('Label');
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Labels').waitFor();
    await page.keyboard.type('walked=yes');
    await tabTo('Label 2 servers');
    await page.keyboard.press('Enter');
    await dialog.getByText('2 of 2 done').waitFor();
    const list = await plane.ok<{ items: Item[] }>('GET', `${INVENTORY}/servers?labelSelector=walked%3Dyes`);
    expect(list.items).toHaveLength(2);
  });

  test('walk the map and open a server', async () => {
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

  /** Presses Tab until something of this name has the focus. */
  async function tabTo(name: string): Promise<void> {
    for (let pressed = 0; pressed < 120; pressed += 1) {
      await page.keyboard.press('Tab');
      const focused = await page.evaluate(() => {
        const element = document.activeElement;
        return element?.getAttribute('aria-label') ?? element?.textContent?.trim() ?? '';
      });
      if (focused === name) return;
    }
    throw new Error(`Tab does not come to ${name}`);
  }
});
