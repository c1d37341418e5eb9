// A campaign as it moves: how far, how fast, who stands in its way, what failed and why, and place by place its targets.
import { CampaignPageDocument, type CampaignPageQuery } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { useLiveQuery } from '../../api/live';
import { Glyph, toneOf, type Tone } from '../../design/glyphs';
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
import { number, percent, plural } from '../../lib/text';
import { ObjectLink, useOpen } from '../../shell/links';
import type { OverviewProps } from '../object/ObjectPage';
import { Fact } from '../object/Overview';
import { asText } from '../run/parameters';
import { Decide } from '../run/RunActions';

type View = NonNullable<CampaignPageQuery['campaign']>;
type Lane = View['lanes'][number];

/** A campaign moves many runs a second; nobody reads it faster than this. */
const EVERY_MS = 500;

export function CampaignOverview({ info, object }: OverviewProps) {
  const namespace = object.namespace ?? '';
  const found = useLiveQuery(
    {
      queryKey: ['campaign', namespace, object.name],
      queryFn: ({ signal }) => query(CampaignPageDocument, { namespace, name: object.name }, signal),
    },
    [
      { kind: 'Campaign', namespace, name: object.name },
      { kind: 'Run', namespace },
    ],
    EVERY_MS,
  );
  const campaign = found.data?.campaign;
  if (found.isError && !found.data)
    return <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />;
  if (!campaign) return <Loading lines={8} label="Reading the campaign" />;
  const wantsApproval = campaign.blockers.some((blocker) => /approv/i.test(blocker.reason));
  return (
    <div className="stack wide-gap">
      {campaign.phase === 'Planned' && (
        <Notice tone="wait">
          This is its plan: nothing has begun. <span className="aside">{campaign.message}</span>
        </Notice>
      )}
      {campaign.phase !== 'Planned' && campaign.message && (
        <Notice tone={toneOf(campaign.phase)}>{campaign.message}</Notice>
      )}
      {wantsApproval && (
        <Decide
          subject={{ info, namespace, name: object.name }}
          step={null}
          message="Runs of it wait for an approval."
        />
      )}
      <Progress campaign={campaign} />
      <div className="run-columns">
        <div className="stack wide-gap">
          <Groups campaign={campaign} namespace={namespace} />
          <Lanes campaign={campaign} namespace={namespace} />
        </div>
        <Facts campaign={campaign} name={object.name} namespace={namespace} />
      </div>
    </div>
  );
}

const PARTS: [keyof Pick<View, 'succeeded' | 'running' | 'waiting' | 'failed' | 'left'>, string, Tone][] = [
  ['succeeded', 'done', 'ok'],
  ['running', 'running', 'busy'],
  ['waiting', 'waiting', 'wait'],
  ['failed', 'failed', 'fail'],
  ['left', 'left', 'idle'],
];

/** Runs that wait are among those in work: told apart here, so that the parts add up. */
function counts(campaign: View): Record<string, number> {
  return { ...campaign, running: Math.max(0, campaign.running - campaign.waiting) } as unknown as Record<
    string,
    number
  >;
}

function Progress({ campaign }: { campaign: View }) {
  const of = counts(campaign);
  return (
    <section className="panel progress" aria-label="Progress">
      <div className="figures">
        {PARTS.map(([field, name, tone]) => (
          <div key={field} className="figure">
            <span className="figure-number">{number(of[field] ?? 0)}</span>
            <span className="row muted">
              <Glyph tone={tone} /> {name}
            </span>
          </div>
        ))}
        <div className="figure last">
          <span className="figure-number">{percent(campaign.succeeded, campaign.targets)}</span>
          <span className="muted">
            {campaign.completionTime ? (
              <>
                took <Lasting from={campaign.startTime} to={campaign.completionTime} />
              </>
            ) : campaign.expectedEnd ? (
              <>
                ends about <When time={campaign.expectedEnd} />
              </>
            ) : (
              `of ${plural(campaign.targets, 'target')}`
            )}
          </span>
        </div>
      </div>
      <PartsBar
        tall
        whole={campaign.targets}
        parts={PARTS.filter(([field]) => field !== 'left').map(([field, name, tone]) => ({
          name,
          tone,
          count: of[field] ?? 0,
        }))}
      />
    </section>
  );
}

function Groups({ campaign, namespace }: { campaign: View; namespace: string }) {
  const groups = [
    { title: 'What stands in its way', tone: 'wait' as const, list: campaign.blockers },
    { title: 'Why targets failed', tone: 'fail' as const, list: campaign.failures },
  ].filter(({ list }) => list.length > 0);
  return groups.map(({ title, tone, list }) => (
    <Panel key={title} title={title} count={list.length} flush>
      <ul className="lines">
        {list.map((group) => (
          <li key={group.reason}>
            <Glyph tone={tone} />
            <div className="grow">
              <p>{group.reason}</p>
              <p className="muted small">
                {plural(group.targets, 'target')}, such as{' '}
                <ObjectLink target={{ kind: 'Run', namespace, name: group.example }} />
              </p>
            </div>
          </li>
        ))}
      </ul>
    </Panel>
  ));
}

function Lanes({ campaign, namespace }: { campaign: View; namespace: string }) {
  return (
    <Panel title="Place by place" count={campaign.lanes.length} flush>
      {campaign.lanes.length === 0 ? (
        <Empty title="No run has begun." command={`quarterdeck campaign plan ${campaign.runbook}`}>
          {campaign.canaries.length > 0
            ? `First ${campaign.canaries.slice(0, 4).join(', ')}; then ${plural(campaign.domains, 'failure domain')} in order.`
            : campaign.message}
        </Empty>
      ) : (
        <ol className="lanes">
          {campaign.lanes.map((lane) => (
            <LaneRow key={lane.name} lane={lane} namespace={namespace} kind={campaign.targetKind} />
          ))}
        </ol>
      )}
    </Panel>
  );
}

function LaneRow({ lane, namespace }: { lane: Lane; namespace: string; kind: string }) {
  const open = useOpen();
  const done = lane.succeeded + lane.failed;
  return (
    <li className="lane">
      <span className="lane-name cut">
        {lane.canary ? <b>canary</b> : lane.name}
        <span className="faint">
          {' '}
          {done}/{lane.targets}
        </span>
      </span>
      <span className="lane-runs">
        {lane.runs.map((run) => (
          <button
            key={run.run}
            type="button"
            title={`${run.target}: ${run.phase}`}
            aria-label={`${run.target}: ${run.phase}`}
            onClick={() => open({ kind: 'Run', namespace, name: run.run })}
          >
            <Glyph tone={toneOf(run.phase)} />
          </button>
        ))}
        {lane.targets > lane.runs.length && (
          <span className="faint">+{number(lane.targets - lane.runs.length)}</span>
        )}
      </span>
      <span className="faint small nowrap">
        <Lasting from={lane.startTime} to={lane.endTime} />
      </span>
    </li>
  );
}

function Facts({ campaign, name, namespace }: { campaign: View; name: string; namespace: string }) {
  const params = Object.entries((campaign.params ?? {}) as Record<string, unknown>);
  return (
    <Panel title="Summary">
      <dl className="facts">
        <Fact name="Runbook">
          <ObjectLink target={{ kind: 'Runbook', name: campaign.runbook }} />
        </Fact>
        <Fact name="Targets">
          {plural(campaign.targets, campaign.targetKind)} in{' '}
          {plural(campaign.domains, campaign.failureDomain)}
        </Fact>
        <Fact name="Asked by">{campaign.requestedBy ?? '–'}</Fact>
        {params.map(([key, value]) => (
          <Fact key={key} name={key}>
            <code>{asText(value)}</code>
          </Fact>
        ))}
        <Fact name="At once">
          {number(campaign.concurrency)} runs, in {plural(campaign.domainsAtOnce, campaign.failureDomain)}
        </Fact>
        <Fact name="Canaries">
          {campaign.canaries.slice(0, 6).map((target) => (
            <div key={target}>
              <ObjectLink
                target={{
                  kind: campaign.targetKind,
                  namespace: campaign.targetKind === 'Server' ? null : namespace,
                  name: target,
                }}
              />
            </div>
          ))}
          {campaign.canaries.length === 0 && '–'}
        </Fact>
        <Fact name="Began">
          <When time={campaign.startTime} />
        </Fact>
        {campaign.approvals.map((approval) => (
          <Fact key={`${approval.by}${approval.time}`} name={approval.decision}>
            {approval.by} <When time={approval.time} /> {approval.note}
          </Fact>
        ))}
      </dl>
      <div className="stack top-gap">
        <Command line={`quarterdeck campaign follow ${name} -n ${namespace}`} />
      </div>
    </Panel>
  );
}
