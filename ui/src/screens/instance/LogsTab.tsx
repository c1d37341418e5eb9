// What a container has written, and writes. Everything that is chosen is in the URL.
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { shell } from '../../api/core';
import { useLiveness } from '../../api/live';
import { Glyph, type Tone } from '../../design/glyphs';
import { Button, Command, Empty, ErrorNotice, Loading } from '../../design/parts';
import { number, plural } from '../../lib/text';
import { clock } from '../../lib/time';
import { tell } from '../../design/toasts';
import type { OverviewProps } from '../object/ObjectPage';
import { reachOf } from './containers';
import { Elsewhere } from './Elsewhere';
import { ContainerField, useContainer } from './ContainerField';
import { found } from './lines';
import { LogView } from './LogView';
import { useLog, type Log } from './reader';
import './instance.css';

const TAILS = [100, 500, 2_000, 10_000];
const TAIL = 500;

export function LogsTab({ object, manifest }: OverviewProps) {
  const reach = reachOf(manifest);
  if (reach.by !== 'agent') return <Elsewhere reach={reach} what="logs" object={object} />;
  return <Logs namespace={object.namespace ?? ''} name={object.name} containers={reach.containers} />;
}

function Logs({ namespace, name, containers }: { namespace: string; name: string; containers: string[] }) {
  const search = useSearch({ from: '/o/$plural/$namespace/$name' });
  const navigate = useNavigate({ from: '/o/$plural/$namespace/$name' });
  const container = useContainer(containers);
  const { tail = TAIL, previous = false, times = false, find = '' } = search;
  const follow = search.follow !== false && !previous;
  const options = { container, tail, follow, previous, timestamps: times };
  const pod = { namespace, name };
  const log = useLog(pod, options);
  const [held, setHeld] = useState<{ at: number }>();
  const [chosen, setChosen] = useState(0);
  const [end, setEnd] = useState(0);
  const hits = useMemo(() => found(log.lines, find), [log.lines, find]);
  const hit = hits.length === 0 ? undefined : (chosen + hits.length) % hits.length;
  const choose = (change: Partial<typeof search>) =>
    void navigate({ search: (old) => ({ ...old, ...change }), replace: true, resetScroll: false });
  const total = log.dropped + log.lines.length;
  const copy = async () => {
    const text = log.lines.map((line) => (times ? `${line.at} ${line.text}` : line.text)).join('\n');
    await navigator.clipboard.writeText(text);
    tell('ok', `${plural(log.lines.length, 'line')} copied.`);
  };
  return (
    <div className="logs">
      <div className="row wrap">
        <ContainerField containers={containers} value={container} />
        <label className="row">
          Last lines
          <select
            className="select"
            value={tail}
            onChange={(event) => {
              const lines = Number(event.target.value);
              choose({ tail: lines === TAIL ? undefined : lines });
            }}
          >
            {[...new Set([...TAILS, tail])]
              .sort((a, b) => a - b)
              .map((lines) => (
                <option key={lines} value={lines}>
                  {number(lines)}
                </option>
              ))}
          </select>
        </label>
        <label className="row">
          <input
            type="checkbox"
            checked={follow}
            disabled={previous}
            onChange={() => choose({ follow: follow ? false : undefined })}
          />
          Follow
        </label>
        <label className="row">
          <input
            type="checkbox"
            checked={times}
            onChange={() => choose({ times: times ? undefined : true })}
          />
          Times
        </label>
        <label className="row">
          <input
            type="checkbox"
            checked={previous}
            onChange={() => choose({ previous: previous ? undefined : true })}
          />
          Before its last restart
        </label>
        <span className="grow" />
        <Button
          icon="copy"
          barred={log.lines.length === 0 && 'Nothing is shown.'}
          onClick={() => void copy()}
        >
          Copy
        </Button>
      </div>
      <div className="row wrap">
        <State log={log} follow={follow} again={log.again} />
        <span className="grow" />
        {held && (
          <Button icon="down" onClick={() => setEnd(end + 1)}>
            {total > held.at ? `${plural(total - held.at, 'new line')}: to the end` : 'To the end'}
          </Button>
        )}
        <form
          role="search"
          className="row"
          onSubmit={(event) => {
            event.preventDefault();
            setChosen((hit ?? -1) + 1);
          }}
        >
          <input
            className="input"
            type="search"
            aria-label="Find in what is shown"
            placeholder="Find in what is shown"
            value={find}
            onChange={(event) => {
              setChosen(0);
              choose({ find: event.target.value || undefined });
            }}
            onKeyDown={(event) => {
              if (event.key !== 'Enter' || !event.shiftKey) return;
              event.preventDefault();
              setChosen((hit ?? 1) - 1);
            }}
          />
          <span className="muted nowrap" role="status">
            {find && (hit === undefined ? 'nowhere' : `line ${number(hit + 1)} of ${number(hits.length)}`)}
          </span>
          <Button barred={hits.length < 2 && 'There is no other.'} onClick={() => setChosen((hit ?? 1) - 1)}>
            Before
          </Button>
          <Button type="submit" barred={hits.length < 2 && 'There is no other.'}>
            Next
          </Button>
        </form>
      </div>
      {log.dropped > 0 && (
        <p className="muted small">
          {plural(log.dropped, 'older line')} are no longer kept here. The command below has all that its host
          has.
        </p>
      )}
      {log.stand.is === 'refused' && <ErrorNotice error={log.stand.error} onRetry={log.again} />}
      {log.lines.length > 0 ? (
        <LogView
          key={container}
          label={`Log of ${container}`}
          lines={log.lines}
          dropped={log.dropped}
          times={times}
          find={find}
          current={hit === undefined ? undefined : log.dropped + (hits[hit] ?? 0)}
          end={end}
          onHeld={(still) => setHeld(still ? { at: total } : undefined)}
        />
      ) : (
        <Nothing log={log} />
      )}
      <Command line={shell.logs(pod, options)} />
    </div>
  );
}

function Nothing({ log }: { log: Log }) {
  if (log.stand.is === 'refused') return null;
  if (log.stand.is === 'asking') return <Loading lines={10} label="Reading the log" />;
  return <Empty title="It has written nothing yet." />;
}

/** Whether what is shown is all there is, and as it is now. */
function State({ log: { stand }, follow, again }: { log: Log; follow: boolean; again: () => void }) {
  const away = useLiveness();
  const [tone, said, more]: [Tone, string, boolean] =
    stand.is === 'stale' || (stand.is === 'open' && away.state === 'stale')
      ? [
          'wait',
          `Stale: as of ${clock(stand.is === 'stale' ? stand.since : away.state === 'stale' ? away.since : 0)}. ${
            stand.is === 'stale' ? stand.why : 'The plane cannot be reached.'
          } It is tried again.`,
          false,
        ]
      : stand.is === 'ended'
        ? stand.why
          ? ['wait', `It was cut: ${stand.why}`, true]
          : follow
            ? ['idle', 'It has ended: the container does not run any more.', true]
            : ['idle', 'As it was when it was read.', true]
        : stand.is === 'open'
          ? ['ok', 'It is followed as it is written.', false]
          : stand.is === 'refused'
            ? ['fail', 'It cannot be read.', false]
            : ['busy', 'It is asked for.', false];
  return (
    <span className="row wrap" role="status">
      <Glyph tone={tone} />
      <span>{said}</span>
      {more && <Button onClick={again}>{follow ? 'Follow again' : 'Read what came since'}</Button>}
    </span>
  );
}
