// An instance that no agent runs: who runs it, and how it is asked.
import { Empty } from '../../design/parts';
import { ObjectLink } from '../../shell/links';
import type { ObjectView } from '../object/ObjectPage';
import type { Reach } from './containers';

export function Elsewhere({
  reach,
  what,
  object,
}: {
  reach: Exclude<Reach, { by: 'agent' }>;
  what: 'logs' | 'exec';
  object: ObjectView;
}) {
  const namespace = object.namespace ?? '';
  if (reach.by === 'cluster') {
    const pod = reach.pod ?? object.name;
    const line =
      what === 'logs'
        ? `kubectl --context ${reach.cluster} logs -f ${pod} -n ${namespace}`
        : `kubectl --context ${reach.cluster} exec -it ${pod} -n ${namespace} -- sh`;
    return (
      <Empty title={`It runs in the cluster ${reach.cluster}, which is asked itself.`} command={line}>
        The plane lets nobody in there: whoever may do this has a kubeconfig of{' '}
        <ObjectLink target={{ kind: 'Cluster', namespace, name: reach.cluster }} />.
      </Empty>
    );
  }
  return (
    <Empty title="No agent runs it, so nothing of its containers is known here.">
      Something else runs it on{' '}
      <ObjectLink
        target={{
          kind: reach.kind,
          namespace: reach.kind === 'Machine' ? namespace : null,
          name: reach.host,
        }}
      />
      , and says in its status how it is.
    </Empty>
  );
}
