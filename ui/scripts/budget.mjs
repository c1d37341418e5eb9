// Refuses a build whose first load has grown past its budget: what a browser fetches, compressed, before it can show
// anything - the page, its scripts and styles, and the fonts these name. What is loaded lazily is listed, and free.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** Bytes, gzip: shared/UI's limit for a first look over a slow line. */
const BUDGET = 300 * 1024;
const dist = join(import.meta.dirname, '..', 'dist');
const html = readFileSync(join(dist, 'index.html'), 'utf8');
const assets = readdirSync(join(dist, 'assets'));

const named = (text) => assets.filter((asset) => text.includes(asset));
const first = new Set();
const queue = named(html);
while (queue.length > 0) {
  const asset = queue.pop();
  if (first.has(asset)) continue;
  first.add(asset);
  const text = readFileSync(join(dist, 'assets', asset), 'utf8');
  if (asset.endsWith('.css')) queue.push(...named(text).filter((other) => /-latin-wght/.test(other)));
  // Static imports only: a dynamic one is `import("./x.js")`.
  if (asset.endsWith('.js')) {
    const imports = [...text.matchAll(/(?:from|import)\s*["']\.\/([^"']+)["']/g)].map((match) => match[1]);
    queue.push(...imports.filter((other) => assets.includes(other)));
  }
}

const size = (asset) => {
  const bytes = readFileSync(join(dist, 'assets', asset));
  return asset.endsWith('.woff2') ? bytes.length : gzipSync(bytes, { level: 9 }).length;
};
const kib = (bytes) => `${(bytes / 1024).toFixed(1)} KiB`.padStart(10);
let total = gzipSync(html).length;
console.log('first load, gzip:');
for (const asset of [...first].sort()) {
  total += size(asset);
  console.log(kib(size(asset)), ' ', asset);
}
console.log(kib(total), '  in all, of', kib(BUDGET).trim());
console.log('loaded when needed:');
for (const asset of assets.filter((asset) => !first.has(asset) && !/\.(br|gz)$/.test(asset)).sort()) {
  console.log(kib(size(asset)), ' ', asset);
}
if (total > BUDGET) {
  console.error(
    `The first load is ${kib(total).trim()}, and may be ${kib(BUDGET).trim()}: load something lazily.`,
  );
  process.exit(1);
}
