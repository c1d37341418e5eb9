// A rack from the front: unit by unit what stands there, how it is, and whose services run on it.
import { Link } from '@tanstack/react-router';
import { RackPageDocument, type RackPageQuery } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { useLiveQuery } from '../../api/live';
import { Glyph, Status, toneOf } from '../../design/glyphs';
import { ErrorNotice, Loading, Panel } from '../../design/parts';
import { shown } from '../../lib/text';
import { NOWHERE, ObjectLink } from '../../shell/links';
import { ImpactLines } from '../impact/Impact';
import type { OverviewProps } from '../object/ObjectPage';
import { Conditions, Fact, Links } from '../object/Overview';

type View = NonNullable<RackPageQuery['rack']>;
type Slot = View['slots'][number];

const EVERY_MS = 2000;

export function RackOverview({ object }: OverviewProps) {
  const found = useLiveQuery(
    {
      queryKey: ['rack', object.name],
      queryFn: ({ signal }) => query(RackPageDocument, { name: object.name }, signal),
    },
    [{ kind: 'Server' }, { kind: 'Rack', name: object.name }],
    EVERY_MS,
  );
  const rack = found.data?.rack;
  if (found.isError && !found.data)
    return <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />;
  if (!rack) return <Loading lines={12} label="Reading the rack" />;
  return (
    <div className="rack-columns">
      <Elevation rack={rack} />
      <div className="stack wide-gap">
        <Panel
          title="If this rack goes"
          aside={
            <Link
              to="/o/$plural/$namespace/$name"
              params={{ plural: 'racks', namespace: NOWHERE, name: object.name }}
              search={{ tab: 'impact' }}
              className="link small"
            >
              Why, and whom to tell
            </Link>
          }
          flush
        >
          <ImpactLines target={{ kind: 'Rack', name: object.name }} most={24} />
        </Panel>
        <Panel title="Summary">
          <dl className="facts">
            <Fact name="Site">
              <ObjectLink target={{ kind: 'Site', name: rack.place.site }} />
            </Fact>
            {rack.place.hall && <Fact name="Hall">{rack.place.hall}</Fact>}
            {rack.place.row && <Fact name="Row">{rack.place.row}</Fact>}
            <Fact name="Units">{rack.units}</Fact>
            <Fact name="Power feeds">{rack.powerFeeds.join(', ') || '–'}</Fact>
            <Fact name="Servers">{rack.slots.length}</Fact>
          </dl>
        </Panel>
        <Conditions object={object} />
        <Links object={object} />
      </div>
    </div>
  );
}

/** Units from the top down, as one stands before it; an empty unit is a line. */
function Elevation({ rack }: { rack: View }) {
  const byTop = new Map<number, Slot>();
  const covered = new Set<number>();
  for (const slot of rack.slots) {
    if (slot.unit === null || slot.unit === undefined) continue;
    const top = slot.unit + slot.height - 1;
    byTop.set(top, slot);
    for (let unit = slot.unit; unit < top; unit += 1) covered.add(unit);
  }
  const loose = rack.slots.filter((slot) => slot.unit === null || slot.unit === undefined);
  const units = Math.max(rack.units, ...byTop.keys());
  const rows = [];
  for (let unit = units; unit >= 1; unit -= 1) {
    const slot = byTop.get(unit);
    if (!slot && covered.has(unit)) continue;
    rows.push(<Unit key={unit} unit={unit} slot={slot} />);
  }
  return (
    <Panel title="Elevation" count={`${rack.units} units`} flush>
      <ol className="elevation" aria-label="Units from the top">
        {rows}
        {loose.map((slot) => (
          <Unit key={slot.server.uid} unit={null} slot={slot} />
        ))}
      </ol>
    </Panel>
  );
}

function Unit({ unit, slot }: { unit: number | null; slot: Slot | undefined }) {
  if (!slot) {
    return (
      <li className="unit empty-unit">
        <span className="unit-number">{unit}</span>
        <span className="unit-body faint">
          <span className="unseen">empty</span>
        </span>
      </li>
    );
  }
  const [serial, health] = slot.server.fields;
  return (
    <li className="unit" style={{ minHeight: slot.height * 24 }}>
      <span className="unit-number">{unit ?? '?'}</span>
      <span className="unit-body">
        <Glyph tone={toneOf(slot.server.phase, 'Server')} label={slot.server.phase ?? 'no phase'} />
        <span className="cut unit-name">
          <ObjectLink target={{ kind: 'Server', name: slot.server.name }} />
        </span>
        <span className="faint mono cut unit-serial">{shown(serial)}</span>
        <span className="cut unit-machine">
          {slot.machine && <ObjectLink target={{ kind: 'Machine', ...slot.machine }} full />}
        </span>
        <span className="faint cut grow">{slot.services.map((service) => service.value).join(', ')}</span>
        {shown(health) !== '' && shown(health) !== 'OK' && <Status phase={shown(health)} />}
        <span className={slot.power === 'On' ? 'power on' : 'power'}>{slot.power ?? '–'}</span>
      </span>
    </li>
  );
}
