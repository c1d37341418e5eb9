// A run: what it waits for and whom to ask, its steps over time, and what each was given and gave back.
import { useNavigate, useSearch } from '@tanstack/react-router';
import { RunPageDocument, type RunPageQuery } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { useLiveQuery } from '../../api/live';
import { Badge, Glyph, Status, toneOf } from '../../design/glyphs';
import { Empty, ErrorNotice, Lasting, Loading, Notice, Panel, When } from '../../design/parts';
import { useNow } from '../../lib/now';
import { asText } from './parameters';
import { FullLink, ObjectLink } from '../../shell/links';
import type { OverviewProps } from '../object/ObjectPage';
import { Fact } from '../object/Overview';
import { axis, bar, type Axis } from './gantt';
import { Decide } from './RunActions';

export type RunView = NonNullable<RunPageQuery['run']>;
type Step = RunView['steps'][number];

const ENDED = new Set(['Succeeded', 'Failed', 'Cancelled']);

export function RunOverview({ info, object }: OverviewProps) {
  const namespace = object.namespace ?? '';
  const found = useLiveQuery(
    {
      queryKey: ['run', namespace, object.name],
      queryFn: ({ signal }) => query(RunPageDocument, { namespace, name: object.name }, signal),
    },
    [
      { kind: 'Run', namespace, name: object.name },
      { kind: 'Permit', namespace },
    ],
  );
  const run = found.data?.run;
  if (found.isError && !found.data)
    return <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />;
  if (!run) return <Loading lines={8} label="Reading the run" />;
  const subject = { info, namespace, name: object.name };
  return (
    <div className="stack wide-gap">
      <Waits run={run} subject={subject} />
      <div className="run-columns">
        <Gantt run={run} />
        <Facts run={run} />
      </div>
    </div>
  );
}

function Waits({ run, subject }: { run: RunView; subject: Parameters<typeof Decide>[0]['subject'] }) {
  const asking = run.steps.filter((step) => step.phase === 'Waiting' && step.does === 'approve');
  const blocked = run.permits.filter((permit) => permit.phase === 'Waiting');
  const wantsApproval = blocked.some((permit) => /approv/i.test(permit.message ?? ''));
  const ended = ENDED.has(run.phase);
  return (
    <>
      {run.dryRun && (
        <Notice tone="special">This is a rehearsal: nothing is done, and the steps say what would be.</Notice>
      )}
      {asking.map((step) => (
        <Decide
          key={step.name}
          subject={subject}
          step={step.name}
          message={step.message ?? `Step ${step.name} asks.`}
        />
      ))}
      {blocked.map((permit) => (
        <Notice key={permit.reference.name} tone="wait">
          <strong>
            It waits for leave to disrupt{' '}
            {permit.target ? `${permit.target.kind} ${permit.target.name}` : 'its target'}.
          </strong>{' '}
          {permit.message}{' '}
          <span className="aside">
            It asked <When time={permit.asked} />, and goes on by itself when that gives way; the run ends{' '}
            <When time={run.deadline} /> otherwise.
          </span>
        </Notice>
      ))}
      {wantsApproval && !ended && (
        <Decide subject={subject} step={null} message="An approval of the disruption as a whole is wanted." />
      )}
      {blocked.length === 0 && asking.length === 0 && run.message && !ended && (
        <Notice tone={run.suspended ? 'wait' : 'busy'}>
          {run.message}{' '}
          {run.queuedBehind && (
            <span className="aside">
              It stands behind <ObjectLink target={run.queuedBehind} full />.
            </span>
          )}
        </Notice>
      )}
      {run.suspended && !ended && (
        <Notice tone="wait">
          It is paused: what is under way goes on to its end, and nothing further begins. Deadlines go on.
        </Notice>
      )}
      {ended && run.phase !== 'Succeeded' && run.message && (
        <Notice tone={run.phase === 'Failed' ? 'fail' : 'idle'}>{run.message}</Notice>
      )}
    </>
  );
}

function Gantt({ run }: { run: RunView }) {
  const now = useNow();
  const on = axis(run.steps, now, ENDED.has(run.phase));
  return (
    <Panel
      title="Steps"
      count={run.progress}
      aside={
        run.startTime && (
          <span className="faint small">
            <Lasting from={run.startTime} to={run.completionTime} />
          </span>
        )
      }
      flush
    >
      {run.steps.length === 0 || !on ? (
        <Empty title="No step has begun yet.">{run.message ?? 'It begins as soon as it is looked at.'}</Empty>
      ) : (
        <div className="gantt" role="table" aria-label="Steps over time">
          <div role="row" className="gantt-row gantt-head">
            <span role="columnheader">Step</span>
            <span role="columnheader" className="gantt-axis">
              <span className="unseen">Over time</span>
              {on.ticks.map((tick) => (
                <span key={tick.at} className="tick" style={{ left: `${tick.at * 100}%` }}>
                  {tick.label}
                </span>
              ))}
            </span>
            <span role="columnheader" className="number">
              Took
            </span>
          </div>
          {run.steps.map((step) => (
            <StepRow key={step.name} step={step} on={on} />
          ))}
        </div>
      )}
    </Panel>
  );
}

function StepRow({ step, on }: { step: Step; on: Axis }) {
  const { step: opened } = useSearch({ from: '/o/$plural/$namespace/$name' });
  const navigate = useNavigate({ from: '/o/$plural/$namespace/$name' });
  const open = opened === step.name;
  const at = bar(step, on);
  const tone = toneOf(step.phase);
  const short = step.name.split('/').pop() ?? step.name;
  return (
    <>
      <div role="row" className={open ? 'gantt-row open' : 'gantt-row'}>
        <span role="cell" className="gantt-name" style={{ paddingLeft: 12 + step.depth * 16 }}>
          <button
            type="button"
            aria-expanded={open}
            onClick={() =>
              void navigate({
                search: (old: object) => ({ ...old, step: open ? undefined : step.name }),
                replace: true,
              } as never)
            }
          >
            <Glyph tone={tone} label={step.phase} />
            <span className="cut">{short}</span>
            <span className="faint cut">{step.does}</span>
          </button>
        </span>
        <span role="cell" className="gantt-axis">
          {on.ticks.map((tick) => (
            <i key={tick.at} className="tick-line" style={{ left: `${tick.at * 100}%` }} />
          ))}
          {at && (
            <span
              className={`gantt-bar tone-${tone} ${step.critical ? 'critical' : ''} ${step.endTime ? '' : 'open-ended'}`}
              style={{ left: `${at.left * 100}%`, width: `max(3px, ${at.width * 100}%)` }}
            />
          )}
        </span>
        <span role="cell" className="number small">
          {step.attempts > 1 && <span className="faint">{step.attempts}× </span>}
          <Lasting from={step.startTime} to={step.endTime} />
        </span>
      </div>
      {step.message && !open && ['Waiting', 'Failed'].includes(step.phase) && (
        <div role="row" className="gantt-said">
          <span role="cell" style={{ paddingLeft: 34 + step.depth * 16 }}>
            {step.message}
          </span>
        </div>
      )}
      {open && <StepDetail step={step} />}
    </>
  );
}

function StepDetail({ step }: { step: Step }) {
  return (
    <div role="row" className="gantt-detail">
      <div role="cell">
        <dl className="facts">
          <Fact name="Path">
            <span className="mono">{step.name}</span>
          </Fact>
          <Fact name="Phase">
            <span className="row">
              <Status phase={step.phase} />{' '}
              {step.critical && <Badge tone="special">on the longest chain</Badge>}
            </span>
          </Fact>
          {step.reason && <Fact name="Reason">{step.reason}</Fact>}
          {step.message && <Fact name="Message">{step.message}</Fact>}
          <Fact name="Began">
            <When time={step.startTime} />
          </Fact>
          {step.endTime ? (
            <Fact name="Ended">
              <When time={step.endTime} />
            </Fact>
          ) : (
            <Fact name="Time is up">
              <When time={step.deadline} />
            </Fact>
          )}
          {step.retryTime && (
            <Fact name="Tried again">
              <When time={step.retryTime} />
            </Fact>
          )}
          <Fact name="Attempts">{step.attempts}</Fact>
          {step.input !== null && step.input !== undefined && (
            <Fact name="Given">
              <code>{asText(step.input)}</code>
            </Fact>
          )}
          {step.output !== null && step.output !== undefined && (
            <Fact name="Gave back">
              <code>{asText(step.output)}</code>
            </Fact>
          )}
        </dl>
      </div>
    </div>
  );
}

function Facts({ run }: { run: RunView }) {
  const params = Object.entries((run.params ?? {}) as Record<string, unknown>);
  return (
    <Panel title="Summary">
      <dl className="facts">
        <Fact name="Runbook">
          <ObjectLink target={{ kind: 'Runbook', name: run.runbook }} />
        </Fact>
        {run.target && (
          <Fact name="Target">
            <FullLink target={run.target} phase={run.target.object?.phase} /> {run.targetPart}
          </Fact>
        )}
        <Fact name="Asked by">{run.requestedBy ?? '–'}</Fact>
        {run.campaign && (
          <Fact name="Campaign">
            <ObjectLink target={run.campaign} full />
          </Fact>
        )}
        {params.map(([name, value]) => (
          <Fact key={name} name={name}>
            <code>{asText(value)}</code>
          </Fact>
        ))}
        <Fact name="Began">
          <When time={run.startTime} />
        </Fact>
        {run.completionTime ? (
          <Fact name="Ended">
            <When time={run.completionTime} />
          </Fact>
        ) : (
          <Fact name="Time is up">
            <When time={run.deadline} />
          </Fact>
        )}
        {run.permits.map((permit) => (
          <Fact key={permit.reference.name} name="Permit">
            <Status phase={permit.phase} />
            <div className="muted small">
              {permit.servers} servers, {permit.instances} instances
              {permit.services.length > 0 && `: ${permit.services.map((each) => each.service).join(', ')}`}
            </div>
            {permit.approvedBy.length > 0 && (
              <div className="muted small">approved by {permit.approvedBy.join(', ')}</div>
            )}
          </Fact>
        ))}
        {run.approvals.map((approval) => (
          <Fact key={`${approval.by}${approval.time}`} name={approval.decision}>
            {approval.by} <When time={approval.time} />{' '}
            {approval.note && <span className="muted">“{approval.note}”</span>}
          </Fact>
        ))}
        {Object.keys(run.outputs ?? {}).length > 0 && (
          <Fact name="Outputs">
            <code>{asText(run.outputs)}</code>
          </Fact>
        )}
      </dl>
    </Panel>
  );
}
