// Debian's Chromium, logged in, with an eye on what must never happen: errors on the console, and what the content
// security policy refuses.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import type { RealPlane } from './plane';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];

export const launch = (): Promise<Browser> =>
  chromium.launch({ executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium', args: FLAGS });

/**
 * With PAGE_FROM_DISK set, the page is the one of ui/dist, under the policies of the one in the binary: so it can be
 * worked on without building the binary again.
 */
async function fromDisk(context: BrowserContext): Promise<void> {
  const dist = join(import.meta.dirname, '..', 'dist');
  await context.route(
    (url) => url.pathname.startsWith('/assets/'),
    async (route) => {
      const path = join(dist, new URL(route.request().url()).pathname);
      await (existsSync(path) ? route.fulfill({ path }) : route.fallback());
    },
  );
  await context.route('**/*', async (route) => {
    if (route.request().resourceType() !== 'document') return route.fallback();
    const response = await route.fetch();
    await route.fulfill({ response, path: join(dist, 'index.html') });
  });
}

export interface Visit {
  page: Page;
  context: BrowserContext;
  /** What went wrong so far, by the browser's own words. */
  complaints: string[];
}

/** Lines that a browser writes about an outage that a test makes. */
const OUTAGE = /ERR_CONNECTION|ERR_EMPTY|ERR_HTTP2|ERR_SOCKET|Failed to load resource/;

export async function visit(
  browser: Browser,
  plane: RealPlane,
  options: { theme?: 'dark' | 'light'; loggedIn?: boolean; width?: number; height?: number } = {},
): Promise<Visit> {
  const context = await browser.newContext({
    baseURL: plane.url,
    ignoreHTTPSErrors: true,
    colorScheme: options.theme ?? 'dark',
    reducedMotion: 'reduce',
    viewport: { width: options.width ?? 1440, height: options.height ?? 900 },
    permissions: [
      'clipboard-read',
      'clipboard-write',
      // A document that a test hands out is from nowhere, and would not be let to the plane by a WebSocket.
      ...(process.env['PAGE_FROM_DISK'] ? ['local-network-access'] : []),
    ],
  });
  if (options.loggedIn !== false) {
    const answer = await context.request.post('/session', {
      headers: { Authorization: `Bearer ${plane.token}`, 'X-Quarterdeck-CSRF': '1' },
    });
    if (!answer.ok()) throw new Error(`POST /session: ${answer.status()} ${await answer.text()}`);
  }
  if (process.env['PAGE_FROM_DISK']) await fromDisk(context);
  const page = await context.newPage();
  page.setDefaultTimeout(40_000);
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' && !OUTAGE.test(message.text())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  return { page, context, complaints };
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface Violation {
  id: string;
  help: string;
  nodes: { html: string; failureSummary?: string }[];
}

/** What axe finds against WCAG 2.2 AA, in words. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { axe: here } = window as unknown as {
      axe: { run: (on: Document, how: object) => Promise<{ violations: unknown }> };
    };
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    return (await here.run(document, { runOnly: { type: 'tag', values: tags } })).violations;
  });
  return (found as Violation[]).map(
    ({ id, help, nodes }) =>
      `${id}: ${help}: ${nodes
        .slice(0, 3)
        .map((node) => node.html.slice(0, 160))
        .join(' | ')}`,
  );
}
