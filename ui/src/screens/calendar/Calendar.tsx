// What happens when, and what may not: freezes, campaigns, schedules and windows on one axis, with what collides lit.
import { keepPreviousData } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo } from 'react';
import { CalendarPageDocument, type CalendarPageQuery } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { useLiveQuery } from '../../api/live';
import { Glyph, Icon, type IconName } from '../../design/glyphs';
import { Button, Empty, ErrorNotice, Loading, Panel } from '../../design/parts';
import { useKeys } from '../../lib/keys';
import { useNow } from '../../lib/now';
import { day, full } from '../../lib/time';
import { ObjectLink } from '../../shell/links';
import { dayText, lay, midnight, plusDays } from './place';

type Entry = CalendarPageQuery['calendar'][number];

const KINDS: { kind: Entry['kind']; title: string; icon: IconName; tone: string }[] = [
  { kind: 'FREEZE', title: 'Freezes', icon: 'freeze', tone: 'special' },
  { kind: 'CAMPAIGN', title: 'Campaigns', icon: 'campaign', tone: 'busy' },
  { kind: 'SCHEDULE', title: 'Schedules', icon: 'calendar', tone: 'idle' },
  { kind: 'WINDOW', title: 'Windows of my teams', icon: 'service', tone: 'ok' },
];
const SPANS = [1, 7, 14, 28];
const EVERY_MS = 5000;

export function Calendar() {
  const search = useSearch({ from: '/calendar' });
  const navigate = useNavigate({ from: '/calendar' });
  const now = useNow();
  const days = search.days ?? 7;
  const from = midnight(search.from, now);
  const to = plusDays(from, days);
  const go = (next: { from?: string; days?: number }) =>
    void navigate({ search: { ...(search.ns ? { ns: search.ns } : {}), ...next } });
  const shift = (by: number) =>
    go({ from: dayText(plusDays(from, by * Math.max(1, Math.round(days / 2)))), days });
  useKeys([
    { keys: 'ArrowLeft', does: 'Earlier', act: () => shift(-1) },
    { keys: 'ArrowRight', does: 'Later', act: () => shift(1) },
    { keys: 't', does: 'Today', act: () => go({ days }) },
  ]);
  const found = useLiveQuery(
    {
      queryKey: ['calendar', from, to],
      queryFn: ({ signal }) =>
        query(
          CalendarPageDocument,
          { from: new Date(from).toISOString(), to: new Date(to).toISOString() },
          signal,
        ),
      placeholderData: keepPreviousData,
    },
    [{ kind: 'Freeze' }, { kind: 'Campaign' }, { kind: 'Schedule' }],
    EVERY_MS,
  );
  const entries = found.data?.calendar;
  return (
    <div className="screen stack wide-gap">
      <header className="screen-head flat">
        <h1>Change calendar</h1>
        <span className="muted">
          {day(from)} to {day(plusDays(to, -1))}
        </span>
        <span className="grow" />
        <Button onClick={() => shift(-1)}>Earlier</Button>
        <Button onClick={() => go({ days })}>Today</Button>
        <Button onClick={() => shift(1)}>Later</Button>
        <label>
          <span className="unseen">Days shown</span>
          <select
            className="select"
            value={days}
            onChange={(event) =>
              go({ days: Number(event.target.value), ...(search.from ? { from: search.from } : {}) })
            }
          >
            {SPANS.map((span) => (
              <option key={span} value={span}>
                {span === 1 ? '1 day' : `${span} days`}
              </option>
            ))}
          </select>
        </label>
      </header>
      {found.isError && !entries && <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />}
      {!entries ? (
        <Loading lines={8} label="Reading the calendar" />
      ) : (
        <Lanes entries={entries} from={from} to={to} days={days} now={now} />
      )}
      {entries && <List entries={entries} />}
    </div>
  );
}

function Lanes({
  entries,
  from,
  to,
  days,
  now,
}: {
  entries: Entry[];
  from: number;
  to: number;
  days: number;
  now: number;
}) {
  const groups = useMemo(
    () =>
      KINDS.map((group) => ({
        ...group,
        ...lay(
          entries.filter((entry) => entry.kind === group.kind),
          from,
          to,
        ),
      })),
    [entries, from, to],
  );
  const at = (now - from) / (to - from);
  const marks = Array.from({ length: days === 1 ? 8 : days }, (_, index) => index / (days === 1 ? 8 : days));
  return (
    <section className="panel calendar" aria-label="Calendar; the list below says the same">
      <div className="calendar-days" aria-hidden="true">
        {marks.map((mark, index) => (
          <span key={mark} style={{ left: `${mark * 100}%` }}>
            {days === 1 ? `${index * 3}:00` : days > 14 && index % 2 ? '' : day(plusDays(from, index))}
          </span>
        ))}
      </div>
      {groups.map((group) => (
        <div key={group.kind} className="calendar-group">
          <h2 className="row">
            <Icon name={group.icon} /> {group.title} <span className="faint">{group.laid.length}</span>
          </h2>
          <div className="calendar-lanes" style={{ height: Math.max(1, group.lanes) * 26 + 6 }}>
            {marks.map((mark) => (
              <i key={mark} className="tick-line" style={{ left: `${mark * 100}%` }} />
            ))}
            {at >= 0 && at <= 1 && <i className="now-line" style={{ left: `${at * 100}%` }} />}
            {group.laid.map(({ entry, lane, left, width, before, after }) => (
              <span
                key={entry.id}
                className={`calendar-entry tone-${entry.collides.length > 0 ? 'fail' : group.tone} ${before ? 'before' : ''} ${after ? 'after' : ''}`}
                style={{ left: `${left * 100}%`, width: `${width * 100}%`, top: lane * 26 + 4 }}
                title={`${entry.title}: ${full(Date.parse(entry.start))}${entry.end ? ` to ${full(Date.parse(entry.end))}` : ''}`}
              >
                {entry.collides.length > 0 && <Glyph tone="fail" />}
                <span className="cut">
                  <ObjectLink target={entry.subject}>{entry.title}</ObjectLink>
                </span>
              </span>
            ))}
          </div>
        </div>
      ))}
    </section>
  );
}

function List({ entries }: { entries: Entry[] }) {
  const titles = new Map(entries.map((entry) => [entry.id, entry.title]));
  if (entries.length === 0) {
    return (
      <Empty title="Nothing happens in these days." command="kubectl explain freeze.spec">
        Freezes, campaigns, schedules and maintenance windows stand here. A freeze keeps disruption away for a
        time:
      </Empty>
    );
  }
  return (
    <Panel title="The same as a list" count={entries.length} flush>
      <div className="scroll-x">
        <table className="plain-table">
          <thead>
            <tr>
              <th>What</th>
              <th>Kind</th>
              <th>From</th>
              <th>Until</th>
              <th>Stands against it</th>
            </tr>
          </thead>
          <tbody>
            {entries.slice(0, 200).map((entry) => (
              <tr key={entry.id}>
                <td>
                  <ObjectLink target={entry.subject}>{entry.title}</ObjectLink>
                </td>
                <td className="muted">{entry.kind.toLowerCase()}</td>
                <td className="nowrap">{full(Date.parse(entry.start))}</td>
                <td className="nowrap">
                  {entry.end ? full(Date.parse(entry.end)) : <span className="faint">–</span>}
                </td>
                <td>
                  {entry.collides.length > 0 && (
                    <span className="row">
                      <Glyph tone="fail" /> {entry.collides.map((id) => titles.get(id) ?? id).join(', ')}
                    </span>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
