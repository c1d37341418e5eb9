// Draining a machine: first what would go, what stays, and what the ledger says of it; then a run does it, and the machine's
// screen shows how far it is.
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { shell } from '../../api/core';
import { DrainPlanDocument } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { useKinds } from '../../api/kinds';
import { create } from '../../api/kube';
import { Dialog } from '../../design/dialog';
import { Glyph } from '../../design/glyphs';
import { Button, Command, Empty, ErrorNotice, Loading, Notice, When } from '../../design/parts';
import { tell } from '../../design/toasts';
import { useNow } from '../../lib/now';
import { plural } from '../../lib/text';
import { ObjectLink } from '../../shell/links';
import type { Subject } from '../object/act';
import { runOf } from '../run/StartRun';
import { becomes, budgets, DRAIN, frozen, onMachine, type Budget, type Frozen, type On } from './leaving';
import { useMachine } from './useMachine';

function usePlan(namespace: string, services: string[]) {
  return useQuery({
    queryKey: ['drain-plan', namespace, ...services],
    queryFn: ({ signal }) =>
      query(
        DrainPlanDocument,
        { namespace, services: [{ field: 'metadata.name', op: 'IN', values: services }] },
        signal,
      ),
    enabled: services.length > 0,
  });
}

export function Drain({ machine, onClose }: { machine: Subject; onClose: () => void }) {
  const namespace = machine.namespace ?? '';
  const runs = useKinds().kind('Run');
  const client = useQueryClient();
  const now = useNow();
  const found = useMachine(namespace, machine.name);
  const all = found.data ? onMachine(found.data) : [];
  const leaving = all.filter((each) => each.workload !== '');
  const plan = usePlan(namespace, [...new Set(leaving.map((each) => each.service))].sort());
  const start = useMutation({
    mutationFn: () => {
      if (!runs) throw new Error('The plane has no runs.');
      return create(runs, runOf(DRAIN, { kind: 'Machine', namespace, name: machine.name }, namespace, {}));
    },
    onSuccess: (run) => {
      tell('ok', `Run ${run.metadata.name ?? ''} drains it.`, shell.drain(machine));
      void client.invalidateQueries({ queryKey: ['machine'] });
      onClose();
    },
  });
  const mayRun = runs?.verbs.includes('create') ?? false;
  const under = found.data?.drains.edges[0]?.node;
  const count = leaving.length;
  return (
    <Dialog
      title={`Drain ${machine.name}`}
      wide
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Leave it</Button>
          <Button
            look="primary"
            barred={
              (!found.data && 'It is being read what is on it.') ||
              (!mayRun && 'You may not create runs.') ||
              (under && `Run ${under.name} drains it already.`) ||
              (start.isPending && 'It is being started.')
            }
            onClick={() => start.mutate()}
          >
            {count === 0 ? 'Drain it' : `Have ${plural(count, 'instance')} go`}
          </Button>
        </>
      }
    >
      <p>
        Nothing new is placed on it until it is uncordoned. Each instance goes once another one serves in its
        place, and with leave of the ledger. What is blocked waits, and its line on this machine says who
        blocks it.
      </p>
      {found.isError && <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />}
      {found.isPending && <Loading lines={4} label="Reading what is on it" />}
      {found.data && <Moves all={all} />}
      {plan.isError && <ErrorNotice error={plan.error} onRetry={() => void plan.refetch()} />}
      {plan.data && count > 0 && (
        <Ledger
          namespace={namespace}
          services={budgets(plan.data, leaving)}
          freezes={frozen(plan.data, now)}
        />
      )}
      {start.isError && <ErrorNotice error={start.error} />}
      <Command line={shell.drain(machine)} />
      <Command line={`quarterdeck run start ${DRAIN} machine/${machine.name} -n ${namespace}`} />
    </Dialog>
  );
}

function Moves({ all }: { all: On[] }) {
  if (all.length === 0) return <Empty title="No instance is on it: it is only cordoned." />;
  return (
    <div className="scroll-x" tabIndex={0} role="region" aria-label="What would go">
      <table className="plain-table">
        <thead>
          <tr>
            <th>Instance</th>
            <th>Service</th>
            <th>What becomes of it</th>
          </tr>
        </thead>
        <tbody>
          {all.map((each) => (
            <tr key={each.uid}>
              <td className="nowrap">
                <ObjectLink target={{ kind: 'Instance', namespace: each.namespace, name: each.name }} />
              </td>
              <td className="nowrap">{each.service}</td>
              <td>
                <span className="status">
                  <Glyph tone={each.workload ? 'busy' : 'idle'} />
                  <span>{becomes(each)}</span>
                </span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Ledger({
  namespace,
  services,
  freezes,
}: {
  namespace: string;
  services: Budget[];
  freezes: Frozen[];
}) {
  return (
    <section className="stack" aria-label="What the ledger says">
      <h2>What the ledger says now</h2>
      {freezes.map((freeze) => (
        <Notice key={freeze.name} tone="special">
          Freeze <ObjectLink target={{ kind: 'Freeze', name: freeze.name }} /> ends <When time={freeze.end} />
          : {freeze.reason}. It holds {freeze.where ? `in ${freeze.where}` : 'everywhere'}.
        </Notice>
      ))}
      <div className="scroll-x" tabIndex={0} role="region" aria-label="What each service may lose">
        <table className="plain-table">
          <thead>
            <tr>
              <th>Service</th>
              <th>Owner</th>
              <th className="number">On this machine</th>
              <th className="number">May be down now</th>
              <th>Says</th>
            </tr>
          </thead>
          <tbody>
            {services.map((each) => (
              <tr key={each.service}>
                <td className="nowrap">
                  <ObjectLink target={{ kind: 'Service', namespace, name: each.service }} />
                </td>
                <td>{each.owner || <span className="faint">nobody is named</span>}</td>
                <td className="number">{each.here}</td>
                <td className="number nowrap">
                  <span className="status">
                    <Glyph tone={each.allowed === 0 ? 'wait' : 'ok'} />
                    <span>{each.allowed ?? '–'} more</span>
                  </span>
                </td>
                <td className="muted">{each.said}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
