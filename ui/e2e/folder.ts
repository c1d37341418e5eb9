// The folder of all that a run of the flows makes: made before the first, removed after the last, by the process that
// outlives those that run them. What lies elsewhere is noted in it, and goes with it.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BRIDGE = 'bridge-';
const MEMORY = 'memory-';

/** Notes a bridge that is to go with the run, whatever becomes of who made it. */
export function noteBridge(name: string): void {
  note(BRIDGE + name);
}

/** Notes a folder in memory in the same way; answers where it is. */
export function folderInMemory(name: string): string {
  note(MEMORY + name);
  return join('/dev/shm', name);
}

function note(what: string): void {
  const folder = process.env['FLOWS_FOLDER'];
  if (folder) writeFileSync(join(folder, what), '');
}

export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'quarterdeck-flows-'));
  process.env['FLOWS_FOLDER'] = folder;
  const remove = (path: string) =>
    rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  return () => {
    for (const name of readdirSync(folder)) {
      if (name.startsWith(BRIDGE)) spawnSync('ip', ['link', 'delete', name.slice(BRIDGE.length)]);
      if (name.startsWith(MEMORY)) remove(join('/dev/shm', name.slice(MEMORY.length)));
    }
    remove(folder);
  };
}
