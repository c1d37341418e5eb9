// Instances as Pods and Machines as Nodes, which is how kubectl knows them: their logs, commands in their containers, what
// they take, and whether a machine takes more. Paths and lines for a shell; knows no screen.
import { ask } from './http';
import type { Named } from './kube';
import { quoted } from '../lib/text';

const CORE = '/api/v1';
const METRICS = '/apis/metrics.k8s.io/v1beta1';

const part = encodeURIComponent;
const within = (pod: Named) => `namespaces/${part(pod.namespace ?? '')}/pods/${part(pod.name)}`;

export interface LogOptions {
  container: string;
  tail: number;
  follow: boolean;
  previous: boolean;
  timestamps: boolean;
  /** From this moment on, in whole seconds; then `tail` does not count. */
  since?: string;
}

export function logPath(pod: Named, options: LogOptions): string {
  const asked = new URLSearchParams({ container: options.container });
  for (const name of ['follow', 'previous', 'timestamps'] as const) {
    if (options[name]) asked.set(name, 'true');
  }
  if (options.since) asked.set('sinceTime', options.since);
  else asked.set('tailLines', String(options.tail));
  return `${CORE}/${within(pod)}/log?${asked.toString()}`;
}

export function execPath(pod: Named, container: string, command: string[]): string {
  const asked = new URLSearchParams({ container, stdin: 'true', stdout: 'true', tty: 'true' });
  for (const word of command) asked.append('command', word);
  return `${CORE}/${within(pod)}/exec?${asked.toString()}`;
}

/** The Node that a Machine is. */
export const nodeOf = (machine: Named) => `${machine.name}.${machine.namespace ?? ''}`;

export const podUsagePath = (pod: Named) => `${METRICS}/${within(pod)}`;
export const nodeUsagePath = (machine: Named) => `${METRICS}/nodes/${part(nodeOf(machine))}`;

/** Nothing new is placed on it; or it takes more again, and what was asked to go may stay. */
export const cordon = (machine: Named, unschedulable: boolean) =>
  ask<unknown>(`${CORE}/nodes/${part(nodeOf(machine))}?fieldManager=quarterdeck-page`, {
    method: 'PATCH',
    body: { spec: { unschedulable } },
    contentType: 'application/merge-patch+json',
  });

const of = (pod: Named) => `${pod.name}${pod.namespace ? ` -n ${pod.namespace}` : ''}`;

/** The lines that do the same in a shell. */
export const shell = {
  logs: (pod: Named, { container, tail, follow, previous, timestamps }: LogOptions) =>
    [
      `kubectl logs ${of(pod)} -c ${container} --tail=${tail}`,
      follow && '-f',
      previous && '--previous',
      timestamps && '--timestamps',
    ]
      .filter(Boolean)
      .join(' '),
  exec: (pod: Named, container: string, command: string[]) =>
    `kubectl exec -it ${of(pod)} -c ${container} -- ${command.map(quoted).join(' ')}`,
  topPod: (pod: Named) => `kubectl top pod ${of(pod)}`,
  topNode: (machine: Named) => `kubectl top node ${nodeOf(machine)}`,
  cordon: (machine: Named, unschedulable: boolean) =>
    `kubectl ${unschedulable ? 'cordon' : 'uncordon'} ${nodeOf(machine)}`,
  drain: (machine: Named) => `kubectl drain ${nodeOf(machine)}`,
};
