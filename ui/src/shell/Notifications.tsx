// What waits for me: approvals that I may give. Few, and never more than a look: one asks, one goes there.
import { useLiveQuery } from '../api/live';
import { WaitingOnMeDocument } from '../api/generated/graphql';
import { query } from '../api/graphql';
import { Glyph } from '../design/glyphs';
import { Popover } from '../design/menu';
import { Button, When } from '../design/parts';
import { ObjectLink } from './links';

/** Approvals are for people, who do not look more often; the answer costs a look at all runs. */
const EVERY_MS = 10_000;

export function Notifications() {
  const waiting =
    useLiveQuery(
      {
        queryKey: ['waiting'],
        queryFn: ({ signal }) => query(WaitingOnMeDocument, {}, signal),
        staleTime: EVERY_MS,
      },
      [{ kind: 'Permit' }, { kind: 'Run' }],
      EVERY_MS,
    ).data?.home.waiting ?? [];
  const label = waiting.length === 0 ? 'Nothing waits for you' : `${waiting.length} wait for you`;
  return (
    <Popover
      label="What waits for you"
      trigger={
        <Button look="plain" icon="bell" aria-label={label}>
          {waiting.length > 0 && <b className="bell-count">{waiting.length}</b>}
        </Button>
      }
    >
      <h2>What waits for you</h2>
      {waiting.length === 0 && (
        <p className="muted">Nothing. Runs that ask for an approval of yours stand here.</p>
      )}
      <ul className="notes">
        {waiting.map((each) => (
          <li key={`${each.subject.namespace}/${each.subject.name}/${each.step}`}>
            <Glyph tone="wait" />
            <div>
              <ObjectLink target={each.subject} full />
              <p className="muted">{each.message}</p>
              <p className="faint small">
                since <When time={each.since} />
              </p>
            </div>
          </li>
        ))}
      </ul>
    </Popover>
  );
}
