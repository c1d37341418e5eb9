// The folder of all that a run of the flows makes: made before the first, removed after the last, by the process that
// outlives those that run them.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'quarterdeck-flows-'));
  process.env['FLOWS_FOLDER'] = folder;
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
}
