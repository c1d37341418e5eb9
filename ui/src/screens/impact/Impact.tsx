// What breaks if these go: which services, how badly, why, and whom to tell. The plane answers; here it is only shown.
import { useQuery } from '@tanstack/react-query';
import { ImpactOfDocument, type ImpactOfQuery, type ImpactTarget } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { kubectl } from '../../api/kube';
import { useLive } from '../../api/live';
import { Glyph, type Tone } from '../../design/glyphs';
import { Command, Empty, ErrorNotice, Loading, Panel } from '../../design/parts';
import { number, plural } from '../../lib/text';
import { ObjectLink } from '../../shell/links';
import { impactCommand, reportOf, textOf } from './targets';

type Answer = ImpactOfQuery['impact'];
type Hit = Answer['services'][number];
export type Verdict = Hit['verdict'];

/** The whole fleet stands behind an answer: it is not asked for oftener than somebody decides by it. */
const EVERY_MS = 5000;

const VERDICTS: Record<Verdict, { said: string; tone: Tone; meaning: string }> = {
  DOWN: {
    said: 'Down',
    tone: 'fail',
    meaning: 'no instance is left, or something is down that it cannot be without',
  },
  UNDER_BUDGET: { said: 'Under budget', tone: 'wait', meaning: 'fewer are left than its budget asks for' },
  DEGRADED: { said: 'Degraded', tone: 'special', meaning: 'something that it uses is hit, and it does less' },
  WITHIN_BUDGET: { said: 'Within budget', tone: 'ok', meaning: 'it loses something, and has enough' },
};
const ORDER = Object.keys(VERDICTS) as Verdict[];

export function useImpact(targets: ImpactTarget[]) {
  const names = targets.map(textOf);
  const answer = useQuery({
    queryKey: ['impact', ...names],
    queryFn: ({ signal }) => query(ImpactOfDocument, { targets }, signal),
    enabled: targets.length > 0,
  });
  useLive(
    [{ kind: 'Service' }, { kind: 'Instance' }, { kind: 'Permit' }],
    () => {
      if (!answer.isFetching && targets.length > 0) void answer.refetch();
    },
    EVERY_MS,
  );
  return answer;
}

export function VerdictGlyph({ verdict }: { verdict: Verdict }) {
  const { said, tone, meaning } = VERDICTS[verdict];
  return (
    <span className="status" title={meaning}>
      <Glyph tone={tone} />
      <span>{said}</span>
    </span>
  );
}

/** How many services come to what, the worst first. */
function Sums({ answer }: { answer: Answer }) {
  return (
    <div className="figures">
      <div className="figure">
        <span className="figure-number">{number(answer.servers)}</span>
        <span className="muted">servers go</span>
      </div>
      <div className="figure">
        <span className="figure-number">{number(answer.instances)}</span>
        <span className="muted">instances with them</span>
      </div>
      {ORDER.map((verdict) => (
        <div key={verdict} className="figure" title={VERDICTS[verdict].meaning}>
          <span className="figure-number">
            {number(answer.services.filter((hit) => hit.verdict === verdict).length)}
          </span>
          <span className="row muted">
            <Glyph tone={VERDICTS[verdict].tone} /> {VERDICTS[verdict].said.toLowerCase()}
          </span>
        </div>
      ))}
    </div>
  );
}

function Owner({ hit }: { hit: Hit }) {
  return (
    <>
      {hit.owner ? <span>{hit.owner}</span> : <span className="faint">nobody is named</span>}
      {hit.contacts.length > 0 && <div className="muted small">{hit.contacts.join(', ')}</div>}
    </>
  );
}

function Services({ hits }: { hits: Hit[] }) {
  return (
    <div className="scroll-x" tabIndex={0} role="region" aria-label="Services that are hit">
      <table className="plain-table">
        <thead>
          <tr>
            <th>What becomes of it</th>
            <th>Service</th>
            <th className="number">Tier</th>
            <th className="number">Lost</th>
            <th className="number">Left</th>
            <th className="number">Needed</th>
            <th>Owner, and how to reach them</th>
            <th>Why</th>
          </tr>
        </thead>
        <tbody>
          {hits.map((hit) => (
            <tr key={`${hit.service.namespace}/${hit.service.name}`}>
              <td>
                <VerdictGlyph verdict={hit.verdict} />
              </td>
              <td className="nowrap">
                <ObjectLink target={hit.service} full />
              </td>
              <td className="number">{hit.tier ?? '–'}</td>
              <td className="number nowrap">
                {number(hit.lost)} of {number(hit.instances)}
              </td>
              <td className="number">{number(hit.left)}</td>
              <td className="number">{number(hit.needed)}</td>
              <td>
                <Owner hit={hit} />
              </td>
              <td className="why">
                {hit.why}
                {hit.through && (
                  <span className="muted">
                    {' '}
                    (by way of <ObjectLink target={hit.through} full />)
                  </span>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The whole answer, with the lines that ask the same. */
export function ImpactOf({ targets }: { targets: ImpactTarget[] }) {
  const found = useImpact(targets);
  const answer = found.data?.impact;
  const command = impactCommand(targets);
  if (found.isError && !answer)
    return <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />;
  if (!answer) return <Loading lines={8} label="Reckoning what breaks" />;
  return (
    <div className="stack wide-gap">
      <section className="panel" aria-label="In all">
        <div className="body">
          <Sums answer={answer} />
        </div>
      </section>
      <Panel title="Services that are hit" count={number(answer.servicesHit)} flush>
        {answer.services.length === 0 ? (
          <Empty title="No service loses anything.">
            {answer.instances === 0
              ? 'Nothing that a service runs is on it, as far as the plane knows.'
              : `${plural(answer.instances, 'instance')} of no service with a budget would go.`}
          </Empty>
        ) : (
          <Services hits={answer.services} />
        )}
        {answer.servicesHit > answer.services.length && (
          <p className="pad muted">
            Shown are the worst {number(answer.services.length)} of {number(answer.servicesHit)}.
          </p>
        )}
      </Panel>
      <details className="shell-lines">
        <summary>The same in a shell</summary>
        {command && <Command line={command} />}
        <Command line={kubectl.create(reportOf(targets)).replace('create -f -', 'create -o yaml -f -')} />
      </details>
    </div>
  );
}

/** The services alone, for a panel of something else. */
export function ImpactLines({ target, most }: { target: ImpactTarget; most: number }) {
  const found = useImpact([target]);
  const answer = found.data?.impact;
  if (found.isError && !answer)
    return <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />;
  if (!answer) return <Loading lines={4} label="Reckoning what breaks" />;
  if (answer.services.length === 0) return <Empty title="No service loses an instance." />;
  return (
    <ul className="lines">
      {answer.services.slice(0, most).map((hit) => (
        <li key={`${hit.service.namespace}/${hit.service.name}`}>
          <span className="impact-verdict">
            <VerdictGlyph verdict={hit.verdict} />
          </span>
          <span className="grow cut">
            <ObjectLink target={hit.service} full />
          </span>
          <span className="muted nowrap">
            {hit.lost > 0 ? `loses ${number(hit.lost)} of ${number(hit.instances)}` : 'by what it uses'}
          </span>
        </li>
      ))}
      {answer.servicesHit > most && <li className="muted">and {number(answer.servicesHit - most)} more</li>}
    </ul>
  );
}
