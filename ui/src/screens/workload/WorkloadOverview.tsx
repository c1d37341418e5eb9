// A workload as it is rolled out: how far, step by step with its checks, what it waits for; its instances and revisions.
import { WorkloadPageDocument, type WorkloadPageQuery } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { useLiveQuery } from '../../api/live';
import { Glyph, Status, toneOf, type Tone } from '../../design/glyphs';
import {
  Command,
  Empty,
  ErrorNotice,
  Lasting,
  Loading,
  Notice,
  Panel,
  PartsBar,
  When,
} from '../../design/parts';
import { number, shown } from '../../lib/text';
import { ObjectLink } from '../../shell/links';
import type { OverviewProps } from '../object/ObjectPage';
import { Conditions, Fact, Links } from '../object/Overview';
import { imagesOf, rollsOut, stepsOf, workloadOf, type Step, type Workload } from './rollout';
import { revisionsOf } from './WorkloadActions';

/** Instances come and go a few a second; nobody reads it faster than this. */
const EVERY_MS = 500;

export function WorkloadOverview({ object, manifest }: OverviewProps) {
  const namespace = object.namespace ?? '';
  const workload = workloadOf(manifest);
  const found = useLiveQuery(
    {
      queryKey: ['workload', namespace, object.name],
      queryFn: ({ signal }) =>
        query(
          WorkloadPageDocument,
          { namespace, of: [{ field: 'spec.workload', op: 'IN', values: [object.name] }] },
          signal,
        ),
    },
    [
      { kind: 'Instance', namespace },
      { kind: 'WorkloadRevision', namespace },
    ],
    EVERY_MS,
  );
  const said = workload.status?.conditions?.find((each) => each.type === 'Progressing')?.message;
  return (
    <div className="stack wide-gap">
      {said && workload.status?.phase !== 'Stable' && (
        <Notice tone={toneOf(workload.status?.phase, 'Workload')}>{said}</Notice>
      )}
      <Counts workload={workload} />
      <div className="run-columns">
        <div className="stack wide-gap">
          <Rollout workload={workload} />
          {found.isError && !found.data && (
            <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />
          )}
          {found.isPending && <Loading lines={6} label="Reading its instances" />}
          {found.data && <Instances found={found.data.instances} workload={workload} />}
        </div>
        <div className="stack wide-gap">
          <Summary workload={workload} namespace={namespace} name={object.name} />
          {found.data && <History found={found.data.revisions} workload={workload} />}
          <Conditions object={object} />
          <Links object={object} />
        </div>
      </div>
    </div>
  );
}

function Counts({ workload }: { workload: Workload }) {
  const { status, spec } = workload;
  const wanted = spec.replicas ?? 1;
  const available = status?.availableReplicas ?? 0;
  const updated = status?.updatedReplicas ?? 0;
  const unplaced = status?.unplacedReplicas ?? 0;
  const figures: [string, number, Tone?][] = [
    ['wanted', wanted],
    ['of the new revision', updated, 'busy'],
    ['available', available, 'ok'],
    ['without a machine', unplaced, 'fail'],
  ];
  // What is of the new revision may not be available yet: told apart, so that the parts add up.
  const rest = Math.max(0, (status?.replicas ?? 0) - available);
  return (
    <section className="panel progress" aria-label="Instances in all">
      <div className="figures">
        {figures.map(([name, count, tone]) => (
          <div key={name} className="figure">
            <span className="figure-number">{number(count)}</span>
            <span className="row muted">
              {tone && <Glyph tone={count === 0 && tone === 'fail' ? 'idle' : tone} />} {name}
            </span>
          </div>
        ))}
        <div className="figure last">
          <span className="figure-number">{status?.revision ?? '–'}</span>
          <span className="muted">
            revision{' '}
            {typeof status?.stableRevision === 'number' && status.stableRevision !== status.revision
              ? `wanted; ${status.stableRevision} served last`
              : 'wanted'}
          </span>
        </div>
      </div>
      <PartsBar
        tall
        whole={Math.max(wanted, available + rest + unplaced)}
        parts={[
          { name: 'available', tone: 'ok', count: available },
          { name: 'not available yet', tone: 'busy', count: rest },
          { name: 'without a machine', tone: 'fail', count: unplaced },
        ]}
      />
    </section>
  );
}

function Rollout({ workload }: { workload: Workload }) {
  const steps = stepsOf(workload);
  const rollout = workload.status?.rollout;
  const strategy = workload.spec.strategy;
  const update = strategy?.rollingUpdate;
  return (
    <Panel
      title="Rollout"
      count={strategy?.type ?? 'RollingUpdate'}
      aside={
        rollout?.started && (
          <span className="muted small">
            {rollsOut(workload) ? (
              <>
                for <Lasting from={rollout.started} />
              </>
            ) : (
              <>
                began <When time={rollout.started} />
              </>
            )}
          </span>
        )
      }
      flush
    >
      {rollout?.failed && (
        <p className="pad row">
          <Glyph tone="fail" />{' '}
          <span>
            Revision {rollout.revision} returned: {rollout.failed}
          </span>
        </p>
      )}
      {steps.length === 0 ? (
        <p className="pad muted">
          {rollout ? 'A few at a time: ' : 'When its template changes, a few at a time: '}
          {shown(update?.maxSurge ?? 1)} more than wanted, and {shown(update?.maxUnavailable ?? 0)} fewer
          available.
        </p>
      ) : (
        <ol className="lines" aria-label="Steps of the rollout">
          {steps.map((step, at) => (
            <StepRow key={at} step={step} at={at + 1} />
          ))}
        </ol>
      )}
    </Panel>
  );
}

function StepRow({ step, at }: { step: Step; at: number }) {
  return (
    <li {...(step.tone === 'busy' || step.tone === 'wait' ? { 'aria-current': 'step' as const } : {})}>
      <Glyph tone={step.tone} label={step.state} />
      <div className="grow">
        <div className="row wrap">
          <strong>
            {at}. {step.title}
          </strong>
          <span className="muted">{step.then}</span>
          <span className="grow" />
          <span className="muted small">{step.state}</span>
        </div>
        <ul className="stack tight">
          {step.checks.map((check) => (
            <li key={check.name} className="row wrap check-line">
              <Glyph tone={check.tone} />
              <span>{check.name}</span>
              <code className="muted">{check.asks}</code>
              <span className="muted">{check.said}</span>
            </li>
          ))}
        </ul>
      </div>
    </li>
  );
}

function Instances({ found, workload }: { found: WorkloadPageQuery['instances']; workload: Workload }) {
  const wanted = workload.status?.revision;
  if (found.total === 0) {
    return (
      <Panel title="Instances" count={0} flush>
        <Empty title="It has no instance.">
          {(workload.status?.unplacedReplicas ?? 0) > 0
            ? 'No machine would take one: the condition Placed says why.'
            : 'They appear here as the plane makes them.'}
        </Empty>
      </Panel>
    );
  }
  return (
    <Panel title="Instances" count={number(found.total)} flush>
      <div className="scroll-x" tabIndex={0} role="region" aria-label="Instances of the workload">
        <table className="plain-table">
          <thead>
            <tr>
              <th>Instance</th>
              <th>Phase</th>
              <th className="number">Revision</th>
              <th>On</th>
              <th>Says</th>
              <th>Age</th>
            </tr>
          </thead>
          <tbody>
            {found.edges.map(({ node }) => {
              const [revision, hostKind, host, message] = node.fields.map(shown);
              return (
                <tr key={node.uid}>
                  <td className="nowrap">
                    <ObjectLink
                      target={{ kind: 'Instance', namespace: node.namespace ?? null, name: node.name }}
                    />
                  </td>
                  <td>
                    <Status phase={node.deleting ? 'Deleting' : node.phase} kind="Instance" />
                  </td>
                  <td className="number">
                    {revision} {String(wanted) === revision ? '' : <span className="faint">old</span>}
                  </td>
                  <td className="nowrap">
                    <ObjectLink
                      target={{
                        kind: hostKind || 'Server',
                        namespace: hostKind === 'Machine' ? (node.namespace ?? null) : null,
                        name: host ?? '',
                      }}
                    />
                  </td>
                  <td className="muted">{message}</td>
                  <td>
                    <When time={node.created} />
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {found.total > found.edges.length && (
        <p className="pad muted">
          The first {number(found.edges.length)} by name. The table of instances has all.
        </p>
      )}
    </Panel>
  );
}

function Summary({ workload, namespace, name }: { workload: Workload; namespace: string; name: string }) {
  const { spec } = workload;
  return (
    <Panel title="Summary">
      <dl className="facts">
        <Fact name="Service">
          <ObjectLink target={{ kind: 'Service', namespace, name: spec.service }} />
        </Fact>
        <Fact name="Images">
          {imagesOf(spec.template).map((image, at) => (
            <div key={at} className="mono">
              {image}
            </div>
          ))}
        </Fact>
        <Fact name="Priority">{spec.priority ?? 0}</Fact>
        <Fact name="Returns after">{spec.progressDeadlineSeconds ?? 600} s without progress</Fact>
      </dl>
      <div className="stack top-gap">
        <Command line={`quarterdeck workload status ${name} -n ${namespace} --watch`} />
      </div>
    </Panel>
  );
}

function History({ found, workload }: { found: WorkloadPageQuery['revisions']; workload: Workload }) {
  const { status } = workload;
  const what = (revision: number): [Tone, string] => {
    const wanted = revision === status?.revision;
    const stable = revision === status?.stableRevision;
    const failed = status?.rollout?.failed && revision === status.rollout.revision;
    if (failed) return ['fail', 'returned from'];
    if (wanted && stable) return ['ok', 'serves'];
    if (wanted) return ['busy', 'wanted'];
    return stable ? ['ok', 'served last'] : ['idle', ''];
  };
  const all = revisionsOf(found.edges);
  return (
    <Panel title="Revisions" count={all.length} flush>
      {all.length === 0 ? (
        <Empty title="It has none yet." />
      ) : (
        <ul className="lines">
          {all.map((revision) => {
            const [tone, said] = what(revision.number);
            return (
              <li key={revision.number}>
                <Glyph tone={tone} {...(said ? { label: said } : {})} />
                <div className="grow">
                  <div className="row">
                    <strong>
                      <ObjectLink
                        target={{
                          kind: 'WorkloadRevision',
                          namespace: workload.metadata.namespace ?? null,
                          name: revision.name,
                        }}
                      >
                        {revision.number}
                      </ObjectLink>
                    </strong>
                    <span className="muted grow">{said}</span>
                    <span className="faint small">
                      <When time={revision.created} />
                    </span>
                  </div>
                  <p className="muted mono small">{imagesOf(revision.template).join(', ')}</p>
                </div>
              </li>
            );
          })}
        </ul>
      )}
    </Panel>
  );
}
