// Flows in a real browser against the real binary, one after the other in one process: the machine has two cores, and all
// share one plane. A large fleet takes minutes to make, and is looked at when SERVERS says how large.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    environment: 'node',
    include: [process.env['SERVERS'] ? 'e2e/large.test.ts' : 'e2e/{flows,screens}.test.ts'],
    globalSetup: 'e2e/folder.ts',
    pool: 'forks',
    isolate: false,
    fileParallelism: false,
    maxWorkers: 1,
    // Longer than all waits inside together: those say what they waited for.
    testTimeout: 420_000,
    hookTimeout: 300_000,
  },
});
