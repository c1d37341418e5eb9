// Machines that run containers: real agents, of the real binary, and a Docker Engine of their own under a temporary
// folder. All end with the test, also when that is killed.
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { folderInMemory, noteBridge } from './folder';
import { binary, COMPUTE, SERVICES, sharedPlane, until, type Item, type RealPlane } from './plane';

const DOCKER = '/usr/bin/docker';
const MACHINES = `${COMPUTE}/namespaces/default/machines`;
/** Letters of what the engine and the agent say that a failure tells. */
const SAID_MAX = 4000;
/** Bridges at a time: the third number of their networks' addresses. */
const BRIDGES_MAX = 200;

/** A bridge of its own, with a network that no other has: who makes it has it. */
function bridge(): { name: string; address: string } {
  const ip = (...words: string[]) => spawnSync('ip', words).status === 0;
  for (let step = 0; step < BRIDGES_MAX; step += 1) {
    const number = (process.pid + step) % BRIDGES_MAX;
    const name = `qdp${number}`;
    const address = `172.28.${number}.1`;
    if (!ip('link', 'add', 'name', name, 'type', 'bridge')) continue;
    noteBridge(name);
    if (ip('address', 'add', `${address}/24`, 'dev', name) && ip('link', 'set', name, 'up'))
      return { name, address };
    throw new Error(`${name} does not come up`);
  }
  throw new Error('no bridge can be made: is iproute2 installed, and is this root?');
}

export class Host {
  private readonly folder = mkdtempSync(join(process.env['FLOWS_FOLDER'] ?? tmpdir(), 'host-'));
  private readonly children: ChildProcess[] = [];
  /** In memory: agents keep Secrets nowhere else. */
  private readonly secrets: string[] = [];
  private bridge: { name: string; address: string } | undefined;
  private said = '';

  /** A machine of that name, connected, with the images in its engine; each is busybox. */
  static async start(
    plane: RealPlane,
    name: string,
    images: string[],
    labels: Record<string, string> = {},
  ): Promise<Host> {
    const host = new Host();
    try {
      await host.engine(images);
      await host.join(plane, name, labels);
      return host;
    } catch (error) {
      await host.stop();
      throw error;
    }
  }

  /** Its own, on the network of its containers. */
  get address(): string {
    return this.bridge?.address ?? '';
  }

  private get socket(): string {
    return join(this.folder, 'docker.sock');
  }

  private begin(command: string, ...words: string[]): void {
    // With a shell that ends it when this process is gone, however it went.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (text: Buffer) => (this.said = (this.said + text.toString()).slice(-SAID_MAX)));
    this.children.push(child);
  }

  private async engine(images: string[]): Promise<void> {
    this.bridge = bridge();
    const at = this.folder;
    const own = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const paths = ['--data-root', `${at}/data`, '--exec-root', `${at}/exec`, '--pidfile', `${at}/pid`];
    // Nothing of the host's firewall is touched.
    const network = [
      '--bridge',
      this.bridge.name,
      '--iptables=false',
      '--ip6tables=false',
      '--ip-masq=false',
    ];
    const limits = ['--storage-driver', 'overlay2', '--default-ulimit', 'nofile=1024:1024'];
    const engine = ['/usr/sbin/dockerd', '--host', `unix://${this.socket}`, ...paths, ...network, ...limits];
    this.begin('unshare', ...own, ...engine);
    await until(
      'the engine answers',
      async () =>
        Promise.resolve(spawnSync(DOCKER, ['--host', `unix://${this.socket}`, 'info']).status === 0),
      60_000,
    );
    const tree = join(at, 'busybox');
    mkdirSync(join(tree, 'bin'), { recursive: true });
    mkdirSync(join(tree, 'tmp'));
    const copy = `cp /bin/busybox ${tree}/bin/ && for it in sh sleep; do ln -sf busybox ${tree}/bin/$it; done`;
    execFileSync('sh', ['-c', copy]);
    for (const image of images) {
      const load = `tar -C ${tree} -c . | ${DOCKER} --host unix://${this.socket} import -c 'ENV PATH=/bin' - ${image}`;
      execFileSync('sh', ['-c', load], { stdio: 'ignore' });
    }
  }

  /** One more machine, whose agent has the same engine. */
  async join(plane: RealPlane, name: string, labels: Record<string, string> = {}): Promise<void> {
    await plane.ok('POST', MACHINES, {
      apiVersion: 'compute.quarterdeck.dev/v1alpha1',
      kind: 'Machine',
      metadata: { name, labels },
      spec: { preinstalled: true },
    });
    const secrets = folderInMemory(`quarterdeck-host-${process.pid}-${Date.now()}-${name}`);
    this.secrets.push(secrets);
    const token = execFileSync(binary, ['machine', 'join-token', name, '-n', 'default'], {
      env: { ...process.env, KUBECONFIG: join(plane.folder, 'kubeconfig') },
    });
    const file = join(this.folder, `token-${name}`);
    writeFileSync(file, token);
    const where = ['--server', plane.url, '--ca-file', join(plane.folder, 'pki/ca.crt')];
    const own = ['--data-dir', join(this.folder, `agent-${name}`), '--secrets-dir', secrets];
    this.begin(binary, 'agent', '--join-token-file', file, ...where, ...own, '--engine-socket', this.socket);
    await until(
      `the agent of ${name} is connected`,
      async () => {
        const machine = await plane.ok<Item>('GET', `${MACHINES}/${name}`);
        const conditions = (machine.status?.['conditions'] ?? []) as { type: string; status: string }[];
        if (conditions.some((each) => each.type === 'AgentConnected' && each.status === 'True')) return true;
        throw new Error(this.said);
      },
      60_000,
    );
  }

  async stop(): Promise<void> {
    for (const child of this.children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    }
    if (this.bridge) spawnSync('ip', ['link', 'delete', this.bridge.name]);
    await until('its folder is gone', () => {
      for (const folder of [this.folder, ...this.secrets]) rmSync(folder, { recursive: true, force: true });
      return Promise.resolve(true);
    });
  }
}

/** The image of what runs on the shared machines. */
export const TOOLS = 'quarterdeck.local/tools:1';
/** It has much to say at once, and then a line a second. */
const TALKS = 'i=0; while :; do echo "line $i of the log"; i=$((i+1)); test $i -lt 300 || sleep 1; done';

let shared: Promise<Host> | undefined;

/**
 * Two machines for all that only looks at them and talks to them, `tools-1` and `tools-2`, of the shared plane; and on the first
 * of them the instance `talks`, of the service `tools`. They end with the plane.
 */
export function sharedHost(): Promise<Host> {
  shared ??= startShared();
  return shared;
}

async function startShared(): Promise<Host> {
  const plane = await sharedPlane();
  const labels = { pool: 'tools' };
  const host = await Host.start(plane, 'tools-1', [TOOLS], labels);
  await host.join(plane, 'tools-2', labels);
  const of = `${SERVICES}/namespaces/default`;
  await plane.ok('POST', `${of}/services`, {
    metadata: { name: 'tools' },
    spec: { owner: 'shop', disruptionBudget: { maxUnavailable: 1 } },
  });
  await plane.ok('POST', `${of}/instances`, {
    metadata: { name: 'talks' },
    spec: {
      service: 'tools',
      host: { kind: 'Machine', name: 'tools-1' },
      template: { terminationGracePeriodSeconds: 1, containers: [container(TALKS)] },
    },
  });
  await until('talks is ready', async () => {
    const { status } = await plane.ok<Item>('GET', `${of}/instances/talks`);
    if (status?.['phase'] !== 'Ready') throw new Error(JSON.stringify(status));
    return true;
  });
  return host;
}

/** A container that runs a script. */
export const container = (script: string) => ({
  name: 'main',
  image: TOOLS,
  imagePullPolicy: 'IfNotPresent',
  command: ['sh', '-c', script],
});
