// The first screen: my services, what changes now, what touches me next, what waits for me; the fleet in a strip on top.
import { Link } from '@tanstack/react-router';
import { FleetStripDocument, HomePageDocument, type HomePageQuery } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { useLiveQuery } from '../../api/live';
import { useMe } from '../../api/session';
import { Glyph, Status, toneOf, type Tone } from '../../design/glyphs';
import { Empty, ErrorNotice, Loading, Panel, PartsBar, When, type Part } from '../../design/parts';
import { number, percent, plural, shown } from '../../lib/text';
import { ObjectLink } from '../../shell/links';

type HomeView = HomePageQuery['home'];

/** What a person can take in; the answer looks at all that is under way. */
const EVERY_MS = 2000;
const FLEET_EVERY_MS = 5000;

export function Home() {
  const me = useMe();
  const found = useLiveQuery(
    { queryKey: ['home'], queryFn: ({ signal }) => query(HomePageDocument, {}, signal) },
    [{ kind: 'Run' }, { kind: 'Campaign' }, { kind: 'Service' }, { kind: 'Permit' }],
    EVERY_MS,
  );
  const home = found.data?.home;
  return (
    <div className="home">
      <h1 className="unseen">Home of {me?.name}</h1>
      <FleetStrip />
      {found.isError && !home && <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />}
      {found.isPending && <Loading lines={10} label="Reading what concerns you" />}
      {home && (
        <div className="home-columns">
          <div className="stack wide-gap">
            <Services home={home} />
          </div>
          <div className="stack wide-gap">
            <WaitsForMe home={home} />
            <Changing home={home} />
          </div>
          <div className="stack wide-gap">
            <Next home={home} />
          </div>
        </div>
      )}
    </div>
  );
}

const TONES: Tone[] = ['ok', 'busy', 'special', 'wait', 'fail', 'idle'];

/** Phases with their glyphs, well ones first. */
export function phaseParts(values: { value: string; count: number }[], kind: string): Part[] {
  return values
    .map(({ value, count }) => ({ name: value === '' ? 'unknown' : value, count, tone: toneOf(value, kind) }))
    .sort((a, b) => TONES.indexOf(a.tone) - TONES.indexOf(b.tone) || b.count - a.count);
}

function FleetStrip() {
  const found = useLiveQuery(
    { queryKey: ['fleet-strip'], queryFn: ({ signal }) => query(FleetStripDocument, {}, signal) },
    [{ kind: 'Server' }],
    FLEET_EVERY_MS,
  );
  const fleet = found.data?.fleet;
  if (!fleet)
    return found.isError ? (
      <ErrorNotice error={found.error} />
    ) : (
      <Loading lines={2} label="Counting the fleet" />
    );
  if (fleet.total === 0) {
    return (
      <section className="panel" aria-label="Fleet">
        <Empty title="There is no server yet." command="quarterdeck server enrol -f servers.csv">
          Enrol some from a file, with the addresses of their BMCs:
        </Empty>
      </section>
    );
  }
  const phases = fleet.counts.find((each) => each.field === 'status.phase')?.values ?? [];
  const parts = phaseParts(phases, 'Server');
  return (
    <section className="panel strip" aria-label="Fleet">
      <div className="strip-total">
        <Link to="/map" className="figure-number">
          {number(fleet.total)}
        </Link>
        <span className="muted">servers</span>
      </div>
      <div className="grow stack">
        <PartsBar parts={parts} whole={fleet.total} tall />
        <ul className="row wrap strip-legend">
          {parts.map((part) => (
            <li key={part.name}>
              <Link
                to="/inventory/$plural"
                params={{ plural: 'servers' }}
                search={{ f: { 'status.phase': [part.name] } }}
                className="row"
              >
                <Glyph tone={part.tone} />
                {part.name} <span className="faint">{number(part.count)}</span>
              </Link>
            </li>
          ))}
        </ul>
      </div>
      <ul className="strip-sites">
        {fleet.places.slice(0, 6).map((place) => {
          const values = place.counts.find((each) => each.field === 'status.phase')?.values ?? [];
          return (
            <li key={place.place.site}>
              <Link to="/map" search={{ site: place.place.site }} className="row">
                <b className="grow">{place.place.site || 'no site'}</b>
                <span className="faint">{number(place.servers)}</span>
              </Link>
              <PartsBar parts={phaseParts(values, 'Server')} whole={place.servers} />
            </li>
          );
        })}
      </ul>
    </section>
  );
}

function cell(node: { columns: { name: string; value?: unknown }[] }, name: string): string {
  return shown(node.columns.find((each) => each.name === name)?.value);
}

function Services({ home }: { home: HomeView }) {
  return (
    <Panel
      title={home.mine ? 'My services' : 'Services'}
      count={number(home.servicesTotal)}
      aside={
        <Link to="/inventory/$plural" params={{ plural: 'services' }} className="link small">
          All
        </Link>
      }
      flush
    >
      {home.services.length === 0 ? (
        <Empty title="No service has been told." command="kubectl explain service.spec">
          Tell who owns what runs, and how much of it may be down at once:
        </Empty>
      ) : (
        <table className="plain-table">
          <thead>
            <tr>
              <th>Service</th>
              <th>Health</th>
              <th className="number">Down</th>
              <th className="number">May go</th>
            </tr>
          </thead>
          <tbody>
            {home.services.slice(0, 24).map((node) => (
              <tr key={node.uid}>
                <td>
                  <ObjectLink target={node} full />
                </td>
                <td>
                  <Status phase={node.phase} kind="Service" />
                </td>
                <td className="number">
                  {cell(node, 'Down')} <span className="faint">of {cell(node, 'Instances')}</span>
                </td>
                <td className="number">{cell(node, 'Allowed')}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  );
}

function WaitsForMe({ home }: { home: HomeView }) {
  return (
    <Panel title="Waits for me" count={home.waiting.length} flush>
      {home.waiting.length === 0 ? (
        <Empty title="Nothing waits for you.">Runs that ask for an approval you may give stand here.</Empty>
      ) : (
        <ul className="lines">
          {home.waiting.map((each) => (
            <li key={`${each.subject.namespace}/${each.subject.name}/${each.step}`}>
              <Glyph tone="wait" />
              <div className="grow">
                <div className="row">
                  <span className="grow cut">
                    <ObjectLink target={each.subject} full />
                  </span>
                  <span className="faint small">
                    <When time={each.since} />
                  </span>
                </div>
                <p className="muted">{each.message}</p>
              </div>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Changing({ home }: { home: HomeView }) {
  const nothing = home.campaigns.length === 0 && home.runs.length === 0;
  return (
    <Panel title="Changes now" count={number(home.campaignsTotal + home.runsTotal)} flush>
      {nothing && (
        <Empty title="Nothing changes now." command="quarterdeck run start power-cycle-server server/NAME">
          Start something from a server’s Actions, or so:
        </Empty>
      )}
      <ul className="lines">
        {home.campaigns.map((node) => {
          const [targets = 0, succeeded = 0, failed = 0, running = 0, waiting = 0] = node.fields.map(
            (value) => Number(value ?? 0),
          );
          return (
            <li key={node.uid}>
              <Glyph tone={toneOf(node.phase)} label={node.phase ?? ''} />
              <div className="grow stack tight">
                <div className="row">
                  <span className="grow cut">
                    <ObjectLink target={node} full />
                  </span>
                  <span className="muted">
                    {number(succeeded)} of {number(targets)} · {percent(succeeded, targets)}
                  </span>
                </div>
                <PartsBar
                  whole={targets}
                  parts={[
                    { name: 'done', tone: 'ok', count: succeeded },
                    { name: 'running', tone: 'busy', count: Math.max(0, running - waiting) },
                    { name: 'waiting', tone: 'wait', count: waiting },
                    { name: 'failed', tone: 'fail', count: failed },
                  ]}
                />
                <p className="faint small">{shown(node.fields[5])}</p>
              </div>
            </li>
          );
        })}
        {home.runs.slice(0, 12).map((node) => (
          <li key={node.uid}>
            <Glyph tone={toneOf(node.phase)} label={node.phase ?? ''} />
            <div className="grow">
              <div className="row">
                <span className="cut">
                  <ObjectLink target={node}>{shown(node.fields[0])}</ObjectLink>
                </span>
                <span className="muted cut grow">{shown(node.fields[2])}</span>
                <span className="faint small">
                  <When time={shown(node.fields[4]) || node.created || null} />
                </span>
              </div>
              {shown(node.fields[3]) && <p className="faint small two-lines">{shown(node.fields[3])}</p>}
            </div>
          </li>
        ))}
      </ul>
      {home.runsTotal > 12 && (
        <p className="pad">
          <Link
            to="/inventory/$plural"
            params={{ plural: 'runs' }}
            search={{ f: { 'status.phase': ['Running', 'Queued', 'Pending', 'Suspended', 'Compensating'] } }}
            className="link"
          >
            {plural(home.runsTotal, 'run')} under way
          </Link>
        </p>
      )}
    </Panel>
  );
}

function Next({ home }: { home: HomeView }) {
  return (
    <Panel
      title="Touches me next"
      count={home.next.length}
      aside={
        <Link to="/calendar" className="link small">
          Calendar
        </Link>
      }
      flush
    >
      {home.next.length === 0 ? (
        <Empty title="Nothing is planned." command="kubectl get permits,campaigns,freezes,schedules -A">
          Permits asked for your services, campaigns planned, freezes and schedules stand here.
        </Empty>
      ) : (
        <ul className="lines">
          {home.next.map((each) => (
            <li key={each.kind + each.title + each.subject.name}>
              <Glyph
                tone={each.kind === 'FREEZE' ? 'special' : each.kind === 'PERMIT' ? 'wait' : 'idle'}
                label={each.kind}
              />
              <div className="grow">
                <div className="row">
                  <span className="grow cut">
                    <ObjectLink target={each.subject}>{each.title}</ObjectLink>
                  </span>
                  <span className="faint small">
                    <When time={each.at} />
                  </span>
                </div>
                {each.message && <p className="muted two-lines">{each.message}</p>}
                {each.services.length > 0 && <p className="faint small cut">{each.services.join(', ')}</p>}
              </div>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
