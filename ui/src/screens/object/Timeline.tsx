// Who changed which field, when and through which run; and what was said about it meanwhile.
import { useInfiniteQuery } from '@tanstack/react-query';
import { ObjectTimelineDocument, type ObjectTimelineQuery } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import type { KindInfo } from '../../api/kinds';
import { useLive } from '../../api/live';
import { Glyph } from '../../design/glyphs';
import { Button, Empty, ErrorNotice, Loading, Panel, When } from '../../design/parts';
import { shown } from '../../lib/text';
import { ObjectLink } from '../../shell/links';

type Entry = NonNullable<ObjectTimelineQuery['object']>['timeline']['entries'][number];

export function Timeline({
  info,
  namespace,
  name,
}: {
  info: KindInfo;
  namespace: string | null;
  name: string;
}) {
  const found = useInfiniteQuery({
    queryKey: ['timeline', info.kind, namespace, name],
    queryFn: ({ signal, pageParam }) =>
      query(ObjectTimelineDocument, { kind: info.kind, namespace, name, after: pageParam }, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.object?.timeline.endCursor ?? undefined,
  });
  useLive([{ kind: info.kind, namespace, name }], () => void found.refetch({ cancelRefetch: false }));
  if (found.isError && !found.data)
    return <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />;
  if (!found.data) return <Loading lines={8} label="Reading what happened" />;
  const pages = found.data.pages;
  const entries = pages.flatMap((page) => page.object?.timeline.entries ?? []);
  const events = pages[0]?.object?.events ?? [];
  const complete = pages[pages.length - 1]?.object?.timeline.complete ?? true;
  return (
    <div className="two-columns timeline">
      <Panel title="Changes" count={entries.length} flush>
        {entries.length === 0 && (
          <Empty
            title="No change is kept any more."
            command={`quarterdeck timeline ${info.singular}/${name}`}
          >
            The store keeps changes for a while only.
          </Empty>
        )}
        <ol className="lines">
          {entries.map((entry) => (
            <Change key={entry.revision} entry={entry} />
          ))}
        </ol>
        {found.hasNextPage ? (
          <div className="pad">
            <Button onClick={() => void found.fetchNextPage()}>Older changes</Button>
          </div>
        ) : (
          !complete && <p className="pad faint">Older changes are no longer kept.</p>
        )}
      </Panel>
      <Panel title="Events" count={events.length} flush>
        {events.length === 0 && <Empty title="Nothing was said about it lately." />}
        <ol className="lines">
          {events.map((event) => (
            <li key={`${event.reason}${event.last}${event.message}`}>
              <Glyph tone={event.type === 'Warning' ? 'wait' : 'idle'} label={event.type} />
              <div className="grow">
                <div className="row">
                  <strong>{event.reason}</strong>
                  {event.count > 1 && <span className="faint">{event.count} times</span>}
                  <span className="grow" />
                  <span className="faint small">
                    <When time={event.last ?? event.first} />
                  </span>
                </div>
                <p className="muted">{event.message}</p>
              </div>
            </li>
          ))}
        </ol>
      </Panel>
    </div>
  );
}

const VERBS = { CREATED: 'created it', CHANGED: 'changed', DELETED: 'deleted it' } as const;

function Change({ entry }: { entry: Entry }) {
  return (
    <li>
      <Glyph tone={entry.verb === 'DELETED' ? 'fail' : entry.verb === 'CREATED' ? 'ok' : 'idle'} />
      <div className="grow">
        <div className="row">
          <strong>{entry.who}</strong>
          <span className="muted">{VERBS[entry.verb]}</span>
          {entry.through && (
            <span className="muted">
              through <ObjectLink target={entry.through} full />
            </span>
          )}
          <span className="grow" />
          <span className="faint small mono">{entry.revision}</span>
          <span className="faint small">
            <When time={entry.at} />
          </span>
        </div>
        {entry.verb === 'CHANGED' && (
          <table className="change-table">
            <tbody>
              {entry.changes.map((each) => (
                <tr key={each.path}>
                  <th scope="row" className="mono">
                    {each.path}
                  </th>
                  <td>
                    <del>{shown(each.before) || '–'}</del> <span aria-hidden="true">→</span>{' '}
                    <ins>{shown(each.after) || '–'}</ins>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
        {entry.more > 0 && <p className="faint">and {entry.more} more fields</p>}
      </div>
    </li>
  );
}
