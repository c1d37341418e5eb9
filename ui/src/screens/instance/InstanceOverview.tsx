// An instance: what each kind has, and what its containers take while an agent tells.
import { lazy, Suspense } from 'react';
import { podUsagePath, shell } from '../../api/core';
import { Loading } from '../../design/parts';
import { quantity } from '../../lib/quantity';
import type { OverviewProps } from '../object/ObjectPage';
import { Overview } from '../object/Overview';
import { instanceOf, reachOf } from './containers';

const Usage = lazy(() => import('../usage/Usage').then((module) => ({ default: module.Usage })));

/** What all its containers may take together; nothing, where one of them has no limit. */
function limitsOf(manifest: OverviewProps['manifest']): { cpu?: number; memory?: number } {
  const containers = instanceOf(manifest).spec.template?.containers ?? [];
  const sum = (resource: 'cpu' | 'memory') => {
    const all = containers.map((container) => quantity(container.resources?.limits?.[resource] ?? ''));
    return all.every((each) => each !== undefined) ? all.reduce((one, other) => one + other, 0) : undefined;
  };
  const [cpu, memory] = [sum('cpu'), sum('memory')];
  return { ...(cpu ? { cpu } : {}), ...(memory ? { memory } : {}) };
}

export function InstanceOverview(props: OverviewProps) {
  const { object, manifest } = props;
  const pod = { namespace: object.namespace ?? '', name: object.name };
  return (
    <div className="stack wide-gap">
      <Overview {...props} />
      {reachOf(manifest).by === 'agent' && (
        <Suspense fallback={<Loading lines={4} />}>
          <Usage
            path={podUsagePath(pod)}
            command={shell.topPod(pod)}
            limits={limitsOf(manifest)}
            limitName="at most"
          />
        </Suspense>
      )}
    </div>
  );
}
