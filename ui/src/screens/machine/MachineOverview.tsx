// A machine as its team sees it: what is on it and what of that goes, whether it takes more, and what it takes of itself.
import { lazy, Suspense } from 'react';
import { nodeUsagePath, shell } from '../../api/core';
import { Badge, Status } from '../../design/glyphs';
import { Command, Empty, ErrorNotice, Loading, Notice, Panel, When } from '../../design/parts';
import { at, number, plural } from '../../lib/text';
import { ObjectLink } from '../../shell/links';
import type { OverviewProps } from '../object/ObjectPage';
import { Overview } from '../object/Overview';
import { goesWhen, onMachine, type On } from './leaving';
import { useMachine } from './useMachine';

const Usage = lazy(() => import('../usage/Usage').then((module) => ({ default: module.Usage })));

export function MachineOverview(props: OverviewProps) {
  const { object, manifest } = props;
  const machine = { namespace: object.namespace ?? '', name: object.name };
  const found = useMachine(machine.namespace, machine.name);
  const all = found.data ? onMachine(found.data) : [];
  const drains = found.data?.drains.edges ?? [];
  const left = all.filter((each) => each.asked).length;
  const cordoned = at(manifest, 'spec.unschedulable') === true;
  const [cores, memory] = [at(manifest, 'status.allocatable.cpu'), at(manifest, 'status.allocatable.memory')];
  return (
    <div className="stack wide-gap">
      {drains.map(({ node }) => (
        <Notice key={node.uid} tone="busy">
          It is being drained by{' '}
          <ObjectLink target={{ kind: 'Run', namespace: node.namespace ?? null, name: node.name }} />:{' '}
          {left === 0 ? 'nothing that was asked to go is left' : `${plural(left, 'instance')} still to go`}.
        </Notice>
      ))}
      {cordoned && drains.length === 0 && (
        <Notice tone="special">
          It is cordoned: nothing new is placed on it.
          {left > 0 &&
            ` ${plural(left, 'instance')} of it still to go elsewhere; uncordon it, and they stay.`}
        </Notice>
      )}
      <Panel title="On it" count={found.data && number(found.data.instances.total)} flush>
        {found.isPending && (
          <div className="pad">
            <Loading lines={3} label="Reading what is on it" />
          </div>
        )}
        {found.isError && !found.data && (
          <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />
        )}
        {found.data && <Instances all={all} total={found.data.instances.total} machine={machine} />}
      </Panel>
      <Suspense fallback={<Loading lines={4} />}>
        <Usage
          path={nodeUsagePath(machine)}
          command={shell.topNode(machine)}
          limits={{
            ...(typeof cores === 'number' ? { cpu: cores / 1000 } : {}),
            ...(typeof memory === 'number' ? { memory } : {}),
          }}
          limitName="to give"
        />
      </Suspense>
      <Overview {...props} />
    </div>
  );
}

function Instances({
  all,
  total,
  machine,
}: {
  all: On[];
  total: number;
  machine: { namespace: string; name: string };
}) {
  const line = `kubectl get pods -n ${machine.namespace} --field-selector spec.nodeName=${machine.name}.${machine.namespace}`;
  if (all.length === 0) {
    return <Empty title="No instance is on it." command={line} />;
  }
  return (
    <>
      <div className="scroll-x" tabIndex={0} role="region" aria-label="Instances on the machine">
        <table className="plain-table">
          <thead>
            <tr>
              <th>Instance</th>
              <th>Phase</th>
              <th>Service</th>
              <th>Workload</th>
              <th>Says</th>
              <th>Age</th>
            </tr>
          </thead>
          <tbody>
            {all.map((each) => (
              <tr key={each.uid}>
                <td className="nowrap">
                  <ObjectLink target={{ kind: 'Instance', namespace: each.namespace, name: each.name }} />
                </td>
                <td>
                  <Status phase={each.phase} kind="Instance" />
                </td>
                <td className="nowrap">
                  <ObjectLink target={{ kind: 'Service', namespace: each.namespace, name: each.service }} />
                </td>
                <td className="nowrap">
                  {each.workload ? (
                    <ObjectLink
                      target={{ kind: 'Workload', namespace: each.namespace, name: each.workload }}
                    />
                  ) : (
                    <span className="faint">none</span>
                  )}
                </td>
                <td className="muted">
                  {each.asked && <Badge tone={each.waits ? 'wait' : 'busy'}>To go</Badge>}{' '}
                  {goesWhen(each) || each.message}
                </td>
                <td>
                  <When time={each.created} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {total > all.length && (
        <div className="pad stack">
          <p className="muted">The first {number(all.length)} by name.</p>
          <Command line={line} />
        </div>
      )}
    </>
  );
}
