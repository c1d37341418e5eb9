// A service as its owner wants to see it: how many are well, how many may go, where they are, and who waits for them.
import { ServicePageDocument, type ServicePageQuery } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { useLiveQuery } from '../../api/live';
import { Glyph, Status } from '../../design/glyphs';
import { Empty, ErrorNotice, Loading, Notice, Panel, PartsBar, When } from '../../design/parts';
import { number, plural } from '../../lib/text';
import { ObjectLink } from '../../shell/links';
import { phaseParts } from '../home/Home';
import type { OverviewProps } from '../object/ObjectPage';
import { Conditions, Fact, Links } from '../object/Overview';

type View = NonNullable<ServicePageQuery['service']>;

const EVERY_MS = 1000;

const DEPENDENCY = {
  HARD: 'A hard dependency: when the other is down, so is this one.',
  SOFT: 'A soft dependency: when the other is down, this one does less.',
};

export function ServiceOverview({ object }: OverviewProps) {
  const namespace = object.namespace ?? '';
  const found = useLiveQuery(
    {
      queryKey: ['service', namespace, object.name],
      queryFn: ({ signal }) => query(ServicePageDocument, { namespace, name: object.name }, signal),
    },
    [{ kind: 'Instance', namespace }, { kind: 'Permit' }, { kind: 'Service' }],
    EVERY_MS,
  );
  const service = found.data?.service;
  if (found.isError && !found.data)
    return <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />;
  if (!service) return <Loading lines={8} label="Reading the service" />;
  return (
    <div className="two-columns">
      <div className="stack wide-gap">
        <Budget service={service} />
        <Dependencies service={service} />
        <Permits service={service} />
        <Links object={object} />
      </div>
      <div className="stack wide-gap">
        <Panel title="Summary">
          <dl className="facts">
            <Fact name="Owner">{service.owner ?? '–'}</Fact>
            <Fact name="Tier">{service.tier ?? '–'}</Fact>
            <Fact name="Whom to ask">
              {service.contacts.length > 0 ? service.contacts.join(', ') : 'nobody is named'}
            </Fact>
          </dl>
        </Panel>
        <Where service={service} />
        <Conditions object={object} />
      </div>
    </div>
  );
}

/** How much of the budget is used: what is down, and what may still go. */
function Budget({ service }: { service: View }) {
  const used = Math.min(service.down, service.budget);
  const cells = Math.min(service.budget, 40);
  const filled = service.budget === 0 ? 0 : Math.round((used / service.budget) * cells);
  const over = service.down > service.budget;
  return (
    <Panel title="Disruption budget" aside={<Status phase={service.phase} kind="Service" />}>
      <div className="stack">
        <div className="figures">
          <div className="figure">
            <span className="figure-number">{number(service.instances)}</span>
            <span className="muted">instances</span>
          </div>
          <div className="figure">
            <span className="figure-number">{number(service.down)}</span>
            <span className="muted">down or under a permit</span>
          </div>
          <div className="figure">
            <span className="figure-number">{number(service.budget)}</span>
            <span className="muted">may be down at most</span>
          </div>
          <div className="figure">
            <span className="figure-number">{number(service.disruptionsAllowed)}</span>
            <span className="muted">more may go now</span>
          </div>
        </div>
        <div
          className="gauge"
          role="meter"
          aria-label="Budget used"
          aria-valuemin={0}
          aria-valuemax={service.budget}
          aria-valuenow={used}
          aria-valuetext={`${service.down} down of ${service.budget} that may be`}
        >
          {Array.from({ length: cells }, (_, at) => (
            <i key={at} className={at < filled ? (over ? 'used tone-fail' : 'used tone-wait') : ''} />
          ))}
          {cells === 0 && <span className="muted">None may go.</span>}
        </div>
        {service.closedUntil && (
          <Notice tone="special">
            Its maintenance windows are closed until <When time={service.closedUntil} />: nothing of it is
            disturbed before.
          </Notice>
        )}
        <PartsBar parts={phaseParts(service.phases, 'Instance')} whole={service.instances} />
        <ul className="row wrap">
          {phaseParts(service.phases, 'Instance').map((part) => (
            <li key={part.name} className="row">
              <Glyph tone={part.tone} /> {part.name} <span className="faint">{number(part.count)}</span>
            </li>
          ))}
        </ul>
      </div>
    </Panel>
  );
}

/** What it uses, and what uses it: one that is not well is seen from the other. */
function Dependencies({ service }: { service: View }) {
  const sides = [
    { title: 'Uses', list: service.dependsOn, none: 'no other, as far as it says.' },
    { title: 'Used by', list: service.usedBy, none: 'none that says so.' },
  ];
  return (
    <Panel
      title="Depends on, and is depended on"
      count={service.dependsOn.length + service.usedBy.length}
      flush
    >
      <ul className="lines">
        {sides.map(({ title, list, none }) => (
          <li key={title}>
            <span className="link-name">
              {title} {list.length > 1 && <span className="faint">{list.length}</span>}
            </span>
            <ul className="grow link-list">
              {list.length === 0 && <li className="muted">{none}</li>}
              {list.slice(0, 20).map(({ service: other, type }) => (
                <li key={`${other.namespace}/${other.name}`} className="row">
                  {other.object ? (
                    <>
                      <Status phase={other.object.phase} kind="Service" />
                      <span className="cut">
                        <ObjectLink target={other} full />
                      </span>
                    </>
                  ) : (
                    <>
                      <Glyph tone="fail" />
                      <span>
                        {other.namespace}/{other.name}{' '}
                        <span className="faint">is not there, or not for you to see</span>
                      </span>
                    </>
                  )}
                  <span className="grow" />
                  <span className="muted small" title={DEPENDENCY[type]}>
                    {type === 'HARD' ? 'cannot be without' : 'does less without'}
                  </span>
                </li>
              ))}
              {list.length > 20 && <li className="faint">and {list.length - 20} more: see the graph</li>}
            </ul>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Permits({ service }: { service: View }) {
  return (
    <Panel title="Who disrupts it, or waits to" count={service.permits.length} flush>
      {service.permits.length === 0 ? (
        <Empty title="Nobody." command="kubectl get permits -A -o wide">
          What is about to take instances of it asks for a permit, and stands here.
        </Empty>
      ) : (
        <ul className="lines">
          {service.permits.slice(0, 30).map((permit) => (
            <li key={`${permit.reference.namespace}/${permit.reference.name}`}>
              <Status phase={permit.phase} />
              <div className="grow">
                <div className="row">
                  <span className="cut grow">
                    <ObjectLink
                      target={{
                        kind: 'Run',
                        namespace: permit.reference.namespace ?? null,
                        name: permit.reference.name,
                      }}
                      full
                    />
                  </span>
                  <span className="faint small">
                    <When time={permit.granted ?? permit.asked} />
                  </span>
                </div>
                <p className="muted">
                  {permit.message ??
                    `takes ${plural(permit.instances, 'instance')} on ${plural(permit.servers, 'server')}`}
                </p>
              </div>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Where({ service }: { service: View }) {
  const most = Math.max(1, ...service.racks.map((rack) => rack.count));
  return (
    <Panel title="Where it runs">
      <div className="stack">
        <dl className="facts">
          {service.sites.map((site) => (
            <Fact key={site.value} name={site.value || 'no site'}>
              {plural(site.count, 'instance')}
            </Fact>
          ))}
        </dl>
        {service.racks.length > 0 && <h3>By rack</h3>}
        <ul className="stack tight">
          {service.racks.slice(0, 16).map((rack) => (
            <li key={rack.value} className="row">
              <span className="rack-name cut">
                {rack.value ? <ObjectLink target={{ kind: 'Rack', name: rack.value }} /> : 'no rack'}
              </span>
              <span className="grow">
                <PartsBar whole={most} parts={[{ name: 'instances', tone: 'busy', count: rack.count }]} />
              </span>
              <span className="faint">{rack.count}</span>
            </li>
          ))}
        </ul>
        {service.instances === 0 && (
          <p className="muted">
            It has no instance. One is an object of kind Instance that names the service and its machine.
          </p>
        )}
      </div>
    </Panel>
  );
}
