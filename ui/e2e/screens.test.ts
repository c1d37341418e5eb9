// Each screen as it is: in both themes, without a violation of WCAG 2.2 AA, without a word of the browser's policies, and
// a picture of it in e2e/output.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launch, violations, visit } from './browser';
import { sharedHost } from './host';
import { SERVICES, sharedPlane, until, WORK, type Item, type RealPlane } from './plane';

const output = join(import.meta.dirname, 'output');
/** Pictures of the README, which are taken anew when PICTURES is set: each in one theme. */
const README: Record<string, 'dark' | 'light'> = {
  campaign: 'dark',
  rack: 'light',
  impact: 'light',
  map: 'dark',
};
const images = join(import.meta.dirname, '..', '..', 'docs', 'images');
/** As wide as half a laptop's screen. */
const NARROW = 760;
let plane: RealPlane;
let browser: Browser;
let run: Item;

const newest = async () => {
  const list = await plane.ok<{ items: Item[] }>('GET', `${WORK}/namespaces/platform/runs?limit=200`);
  return list.items.find((item) => item.status?.['phase'] === 'Succeeded');
};

beforeAll(async () => {
  mkdirSync(output, { recursive: true });
  [plane, browser] = await Promise.all([sharedPlane(), launch()]);
  // Nothing of it finds a machine: its screen says why.
  const services = `${SERVICES}/namespaces/default`;
  await plane.ok('POST', `${services}/services`, {
    metadata: { name: 'shown' },
    spec: {
      owner: 'shop',
      dependsOn: [
        { name: 'api', namespace: 'payments' },
        { name: 'gone', type: 'Soft' },
      ],
    },
  });
  const container = { name: 'shown', image: 'example.com/shown:1' };
  const checks = [{ name: 'page', http: { url: 'http://127.0.0.1:9/health' } }];
  await plane.ok('POST', `${services}/workloads`, {
    metadata: { name: 'shown' },
    spec: {
      service: 'shown',
      replicas: 3,
      template: { spec: { containers: [container] } },
      strategy: { type: 'Canary', canary: { steps: [{ instances: 1, checks, pause: {} }] } },
    },
  });
  run = await until('a run of the campaign has ended', newest, 90_000);
  await plane.ok('POST', `${services}/instances`, {
    metadata: { name: 'other' },
    spec: { service: 'shown', host: { kind: 'Server', name: 'ams1-a01-01-u01' } },
  });
  await sharedHost();
});
afterAll(async () => {
  await browser?.close();
});

interface Shown {
  name: string;
  path: () => string;
  /** Text that is there once the screen is. */
  ready: string | RegExp;
  /** What is done then, before it is looked at. */
  then?: (page: Page) => Promise<void>;
}

/** Pressed, and waited for what comes of it. */
const press = (name: string | RegExp, comes: string | RegExp) => async (page: Page) => {
  await page.getByRole('button', { name }).click();
  await page.getByText(comes).first().waitFor();
};

const SCREENS: Shown[] = [
  { name: 'home', path: () => '/', ready: 'Touches me next' },
  { name: 'servers', path: () => '/inventory/servers', ready: 'ams1-a01-01-u01' },
  { name: 'server', path: () => '/o/servers/-/ams1-a01-01-u01', ready: 'Hardware found' },
  { name: 'timeline', path: () => '/o/servers/-/ams1-a01-01-u01?tab=timeline', ready: 'created it' },
  { name: 'yaml', path: () => '/o/servers/-/ams1-a01-01-u01?tab=yaml', ready: 'Who manages which field' },
  { name: 'run', path: () => `/o/runs/platform/${run.metadata.name}`, ready: 'power-off' },
  { name: 'campaign', path: () => '/o/campaigns/platform/restart-compute-gen4', ready: 'Place by place' },
  { name: 'new-campaign', path: () => '/new/campaigns?selector=hardware%3Dgpu-gen2', ready: /\d+ Servers?$/ },
  { name: 'new-freeze', path: () => '/new/freezes', ready: 'New freeze' },
  { name: 'service', path: () => '/o/services/payments/api', ready: 'Disruption budget' },
  { name: 'graph', path: () => '/o/services/payments/api?tab=graph', ready: 'The same as a list' },
  { name: 'workload', path: () => '/o/workloads/default/shown', ready: 'all others' },
  { name: 'machine', path: () => '/o/machines/default/tools-1', ready: 'Processors' },
  { name: 'instance', path: () => '/o/instances/default/talks', ready: 'Processors' },
  {
    name: 'drain',
    path: () => '/o/machines/default/tools-1',
    ready: 'talks',
    then: async (page) => {
      await page.getByRole('button', { name: 'Actions', exact: true }).click();
      await page.getByRole('menuitem', { name: /^Drain/ }).click();
      await page.getByText('What becomes of it').waitFor();
    },
  },
  {
    name: 'logs',
    path: () => '/o/instances/default/talks?tab=logs&find=9+of&times=true',
    ready: /^line 1 of \d+$/,
  },
  { name: 'logs-elsewhere', path: () => '/o/instances/default/other?tab=logs', ready: 'No agent runs it' },
  { name: 'terminal', path: () => '/o/instances/default/talks?tab=terminal', ready: 'Run it' },
  {
    name: 'terminal-open',
    path: () => '/o/instances/default/talks?tab=terminal',
    ready: 'Run it',
    then: async (page) => {
      await press('Run it', 'Runs sh in main.')(page);
      await page.keyboard.type(
        "busybox printf '\\033[1;31mred \\033[32mgreen \\033[38;2;200;90;20mtrue\\033[0m done\\n'\n",
      );
      await page
        .locator('.terminal-screen')
        .getByText(/^red green true done/)
        .first()
        .waitFor();
    },
  },
  { name: 'depends', path: () => '/o/services/default/shown', ready: 'cannot be without' },
  { name: 'rack', path: () => '/o/racks/-/ams1-a01-01', ready: 'If this rack goes' },
  { name: 'impact', path: () => '/o/racks/-/ams1-a01-01?tab=impact', ready: 'Needed' },
  { name: 'impact-many', path: () => '/impact?on=%5B%22Site%2Fams1%22%5D', ready: 'Needed' },
  { name: 'impact-empty', path: () => '/impact', ready: 'Nothing goes yet' },
  { name: 'calendar', path: () => '/calendar?days=28', ready: 'The same as a list' },
  { name: 'map', path: () => '/map', ready: 'InUse' },
  { name: 'map-table', path: () => '/map?view=table', ready: 'Of which' },
  { name: 'empty', path: () => '/inventory/schedules', ready: 'There are no schedules' },
  { name: 'missing', path: () => '/o/servers/-/nobody', ready: 'There is no server nobody' },
];

describe.each(['dark', 'light'] as const)('in the %s theme', (theme) => {
  test.each(SCREENS)('$name', async ({ name, path, ready, then }) => {
    const { page, context, complaints } = await visit(browser, plane, { theme });
    try {
      await page.goto(path());
      await page.getByText(ready).first().waitFor();
      await then?.(page);
      await page.waitForLoadState('load');
      await page.waitForLoadState('networkidle', { timeout: 1500 }).catch(() => undefined);
      expect(await page.getByRole('alert').allInnerTexts()).toEqual([]);
      expect(await violations(page)).toEqual([]);
      expect(complaints).toEqual([]);
      await page.screenshot({ path: join(output, `${name}-${theme}.png`) });
      if (process.env['PICTURES'] && README[name] === theme)
        await page.screenshot({ path: join(images, `${name}.png`) });
      if (theme === 'light') return;
      await page.setViewportSize({ width: NARROW, height: 900 });
      await page.screenshot({ path: join(output, `${name}-narrow.png`) });
      const wider = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
      expect(await page.evaluate(wider)).toBe(0);
    } finally {
      await context.close();
    }
  });

  test('login', async () => {
    const { page, context } = await visit(browser, plane, { theme, loggedIn: false });
    try {
      await page.goto('/');
      await page.getByLabel('Token').waitFor();
      expect(await violations(page)).toEqual([]);
      const higher = () => document.documentElement.scrollHeight - document.documentElement.clientHeight;
      expect(await page.evaluate(higher)).toBe(0);
      await page.screenshot({ path: join(output, `login-${theme}.png`) });
    } finally {
      await context.close();
    }
  });

  test('what lies over the page: palette, keys, menu, dialog, chosen rows', async () => {
    const { page, context, complaints } = await visit(browser, plane, { theme });
    try {
      await page.goto('/inventory/servers');
      await page.getByRole('row').nth(3).waitFor();
      await page.keyboard.press('Control+k');
      await page.keyboard.type('api-00');
      await page
        .getByRole('option', { name: /payments\/api-00/ })
        .first()
        .waitFor();
      expect(await violations(page)).toEqual([]);
      await page.screenshot({ path: join(output, `palette-${theme}.png`) });
      await page.keyboard.press('Escape');
      await page.keyboard.press('?');
      await page.getByRole('dialog', { name: 'Keys' }).waitFor();
      expect(await violations(page)).toEqual([]);
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Views' }).click();
      await page.getByRole('dialog', { name: 'Saved views' }).waitFor();
      expect(await violations(page)).toEqual([]);
      await page.getByRole('button', { name: 'Save this view' }).click();
      await page.getByRole('dialog', { name: 'Save this view' }).waitFor();
      expect(await violations(page)).toEqual([]);
      await page.screenshot({ path: join(output, `views-${theme}.png`) });
      await page.keyboard.press('Escape');
      await page.keyboard.press('x');
      await page.getByRole('button', { name: 'Run on them' }).click();
      await page.getByRole('menu').waitFor();
      expect(await violations(page)).toEqual([]);
      await page.getByRole('menuitem', { name: /^power-cycle-server/ }).click();
      await page.getByText('All that are meant').first().waitFor();
      expect(await violations(page)).toEqual([]);
      await page.screenshot({ path: join(output, `bulk-${theme}.png`) });
      expect(complaints).toEqual([]);
    } finally {
      await context.close();
    }
  });
});
