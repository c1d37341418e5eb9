// The table and the map over a large fleet: 2,000 servers here, and as many as SERVERS says, such as 110000.
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launch, visit } from './browser';
import { RealPlane } from './plane';

const SERVERS = Number(process.env['SERVERS'] ?? 2000);
/** Of script, for all cells in other colours. Only told when not set: a loaded machine takes longer. */
const RECOLOUR_MS = Number(process.env['RECOLOUR_MS'] ?? Infinity);

let plane: RealPlane;
let browser: Browser;

beforeAll(async () => {
  [plane, browser] = await Promise.all([RealPlane.start('--servers', String(SERVERS), '--idle'), launch()]);
}, 900_000);
afterAll(async () => {
  await browser?.close();
  await plane?.stop();
});

test('the last row of the table is reached, and few rows are drawn', async () => {
  const { page, context, complaints } = await visit(browser, plane);
  try {
    await page.goto('/inventory/servers?sort=metadata.name');
    const grid = page.getByRole('grid');
    await page.getByRole('row').nth(3).waitFor();
    expect(Number(await grid.getAttribute('aria-rowcount'))).toBeGreaterThanOrEqual(SERVERS);
    await grid.focus();
    await page.keyboard.press('End');
    const last = page.locator(`[aria-rowindex="${await grid.getAttribute('aria-rowcount')}"]`);
    await last.getByRole('link').waitFor();
    expect(await page.getByRole('row').count()).toBeLessThan(80);
    const longest = await page.evaluate(async () => {
      const grid = document.querySelector('[role=grid]');
      let longest = 0;
      for (let turn = 0; turn < 30; turn += 1) {
        const from = performance.now();
        if (grid) grid.scrollTop = (grid.scrollHeight * turn) / 30;
        await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
        longest = Math.max(longest, performance.now() - from);
      }
      return longest;
    });
    console.log(`longest frame while scrolling ${SERVERS} rows: ${longest.toFixed(0)} ms`);
    expect(complaints).toEqual([]);
  } finally {
    await context.close();
  }
});

test('the map draws each server, and recolours them within a part of a frame', async () => {
  const { page, context, complaints } = await visit(browser, plane);
  try {
    await page.goto('/map');
    await page
      .getByRole('complementary', { name: 'Legend' })
      .getByRole('button')
      .first()
      .waitFor({ timeout: 60_000 });
    const light = page.getByRole('complementary', { name: 'Legend' }).getByRole('button').first();
    for (let press = 0; press < 8; press += 1) await light.click();
    const times = await page.evaluate(() =>
      performance.getEntriesByName('fleetmap.recolour').map((entry) => entry.duration),
    );
    times.sort((a, b) => a - b);
    const median = times[Math.floor(times.length / 2)] ?? Infinity;
    console.log(`recolour of ${SERVERS} cells: median ${median.toFixed(1)} ms of script, of ${times.length}`);
    expect(times.length).toBeGreaterThan(0);
    expect(median).toBeLessThanOrEqual(RECOLOUR_MS);
    expect(complaints).toEqual([]);
  } finally {
    await context.close();
  }
});
