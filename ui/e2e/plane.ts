// A plane of the real binary over a simulated fleet, on a free port and in a folder of its own; stopped and removed
// whatever becomes of the test.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kubeconfig, type Connection } from '../scripts/kubeconfig';

const root = join(import.meta.dirname, '..', '..');
export const binary =
  process.env['QUARTERDECK_BINARY'] ??
  join(process.env['CARGO_TARGET_DIR'] ?? join(root, 'target'), 'debug', 'quarterdeck');
const READY_MS = 90_000;
/** How long the plane may say nothing to a request. */
const ANSWER_MS = 20_000;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== 'object' || !address) throw new Error('no free port');
  return address.port;
}

/** Waits until something is true, with a deadline. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  within = 60_000,
): Promise<T> {
  const end = Date.now() + within;
  let last: unknown;
  for (;;) {
    try {
      const found = await look();
      if (found) return found;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${within / 1000}s`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export class RealPlane {
  readonly url: string;
  readonly folder: string;
  private readonly arguments: string[];
  private child: ChildProcess | undefined;
  private said = '';
  token = '';

  private constructor(port: number, more: string[]) {
    this.folder = mkdtempSync(join(process.env['FLOWS_FOLDER'] ?? tmpdir(), 'plane-'));
    this.url = `https://127.0.0.1:${port}`;
    this.arguments = ['demo', '--data-dir', this.folder, '--listen', `127.0.0.1:${port}`, ...more];
  }

  static async start(...more: string[]): Promise<RealPlane> {
    if (!existsSync(binary)) throw new Error(`${binary} is not there: cargo build --package quarterdeck`);
    const plane = new RealPlane(await freePort(), more);
    try {
      await plane.run();
      plane.token = await plane.makeToken();
    } catch (error) {
      await plane.stop();
      throw error;
    }
    return plane;
  }

  /** Starts it, again with the same data and port. */
  async run(): Promise<void> {
    // It ends with this process, however that ends.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', binary, ...this.arguments], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child = child;
    const hear = (text: Buffer) => (this.said += text.toString());
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    await until(
      'the plane is ready',
      async () => {
        if (child.exitCode !== null) throw new Error(`the plane ended: ${this.said}`);
        return (
          existsSync(join(this.folder, 'kubeconfig')) && (await this.api('GET', '/readyz')).status === 200
        );
      },
      READY_MS,
    );
  }

  /** As a crash ends it. */
  async kill(): Promise<void> {
    const child = this.child;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10 });
  }

  private get connection(): Connection {
    return kubeconfig(join(this.folder, 'kubeconfig'));
  }

  /** As the administrator. */
  api(
    method: string,
    path: string,
    body?: unknown,
    type = 'application/json',
  ): Promise<{ status: number; body: unknown }> {
    const { ca, cert, key } = this.connection;
    return new Promise((resolve, reject) => {
      const asked = request(
        `${this.url}${path}`,
        { method, ca, cert, key, headers: { 'Content-Type': type }, timeout: ANSWER_MS },
        (answer) => {
          const parts: Buffer[] = [];
          answer.on('data', (part: Buffer) => parts.push(part));
          answer.on('end', () => {
            const text = Buffer.concat(parts).toString('utf8');
            let parsed: unknown = text;
            try {
              parsed = JSON.parse(text);
            } catch {
              // Some answers are words.
            }
            resolve({ status: answer.statusCode ?? 0, body: parsed });
          });
        },
      );
      asked.on('timeout', () => asked.destroy(new Error(`${method} ${path}: no answer`)));
      asked.on('error', reject);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async ok<T>(method: string, path: string, body?: unknown, type?: string): Promise<T> {
    const answer = await this.api(method, path, body, type);
    if (answer.status >= 300)
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body as T;
  }

  private async makeToken(): Promise<string> {
    const rbac = 'rbac.authorization.k8s.io';
    await this.ok('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'ann' } });
    await this.ok('POST', `/apis/${rbac}/v1/clusterrolebindings`, {
      metadata: { name: 'ann' },
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'ServiceAccount', name: 'ann', namespace: 'default' }],
    });
    const made = await this.ok<{ status: { token: string } }>(
      'POST',
      '/api/v1/namespaces/default/serviceaccounts/ann/token',
      { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 7200 } },
    );
    return made.status.token;
  }
}

let shared: Promise<RealPlane> | undefined;

/**
 * The plane of all flows: a company's fleet, moving as in the demo. Files run one after the other in one process, so it
 * is started once, and ends with that.
 */
export function sharedPlane(): Promise<RealPlane> {
  shared ??= RealPlane.start('--servers', '240', '--speed', '50');
  return shared;
}

export interface Item {
  metadata: { name: string; namespace?: string; resourceVersion: string };
  spec: Record<string, unknown>;
  status?: Record<string, unknown>;
}

export const COMPUTE = '/apis/compute.quarterdeck.dev/v1alpha1';
export const INVENTORY = '/apis/inventory.quarterdeck.dev/v1alpha1';
export const SERVICES = '/apis/services.quarterdeck.dev/v1alpha1';
export const WORK = '/apis/workflows.quarterdeck.dev/v1alpha1';
