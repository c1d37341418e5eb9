// Which containers of an instance a person can read and talk to, read from its object. Pure.
import type { components } from '../../api/generated/services';
import type { Manifest } from '../../api/kube';

type Instance = components['schemas']['dev.quarterdeck.services.v1alpha1.Instance'];

export type Reach =
  /** An agent runs these. */
  | { by: 'agent'; machine: string; containers: string[] }
  /** A cluster runs it: its own API has what it writes. */
  | { by: 'cluster'; cluster: string; pod: string | undefined }
  /** Something runs it that only says how it is. */
  | { by: 'other'; kind: string; host: string };

export const instanceOf = (manifest: Manifest) => manifest as unknown as Instance;

export function reachOf(manifest: Manifest): Reach {
  const { spec, status } = instanceOf(manifest);
  const { kind = 'Server', name } = spec.host;
  if (kind === 'Cluster') return { by: 'cluster', cluster: name, pod: status?.pod ?? undefined };
  const containers = (spec.template?.containers ?? []).map((container) => container.name);
  if (containers.length === 0) return { by: 'other', kind, host: name };
  return { by: 'agent', machine: name, containers };
}
