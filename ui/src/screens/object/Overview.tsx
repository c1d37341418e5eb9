// What every kind has: what it says of itself in a few words, conditions, links and labels.
import { Glyph, Status, type Tone } from '../../design/glyphs';
import { Labels, Panel, When } from '../../design/parts';
import { at, bytes, shown } from '../../lib/text';
import { ObjectLink } from '../../shell/links';
import type { ObjectView, OverviewProps } from './ObjectPage';

export function Overview({ object, manifest }: OverviewProps) {
  return (
    <div className="two-columns">
      <div className="stack wide-gap">
        <Panel title="Summary">
          <dl className="facts">
            {object.columns
              .filter((cell) => cell.name !== 'Age' && cell.name !== 'Name' && shown(cell.value) !== '')
              .map((cell) => (
                <Fact key={cell.name} name={cell.name}>
                  {cell.name === 'Phase' ? (
                    <Status phase={shown(cell.value)} kind={object.kind} />
                  ) : (
                    shown(cell.value)
                  )}
                </Fact>
              ))}
            {Boolean(at(manifest, 'status.message')) && (
              <Fact name="Message">{shown(at(manifest, 'status.message'))}</Fact>
            )}
            <Fact name="Created">
              <When time={object.created} />
            </Fact>
            <Fact name="Labels">
              <Labels labels={object.labels} />
            </Fact>
          </dl>
        </Panel>
        {object.kind === 'Server' && <Hardware manifest={manifest} />}
      </div>
      <div className="stack wide-gap">
        <Conditions object={object} />
        <Links object={object} />
      </div>
    </div>
  );
}

export function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

/** Whether a condition is as it should be: some are good when they are false. */
const GOOD_WHEN_FALSE = /^(Overdue|Degraded|Unreachable|Failing|Paused|Stalled|DiskPressure|MemoryPressure)$/;

function toneOfCondition(type: string, status: string): Tone {
  if (status === 'Unknown') return 'idle';
  return (status === 'True') !== GOOD_WHEN_FALSE.test(type) ? 'ok' : 'wait';
}

export function Conditions({ object }: { object: ObjectView }) {
  if (object.conditions.length === 0) return null;
  return (
    <Panel title="Conditions" flush>
      <ul className="lines">
        {object.conditions.map((condition) => (
          <li key={condition.type}>
            <Glyph tone={toneOfCondition(condition.type, condition.status)} label={condition.status} />
            <div className="grow">
              <div className="row">
                <strong>{condition.type}</strong>
                <span className="muted grow">{condition.reason}</span>
                <span className="faint small">
                  <When time={condition.lastTransitionTime} />
                </span>
              </div>
              {condition.message && <p className="muted">{condition.message}</p>}
            </div>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

const relationName = (relation: string) => {
  const words = relation.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
};

export function Links({ object }: { object: ObjectView }) {
  const groups = object.links.filter((group) => group.total > 0 || group.missing.length > 0);
  if (groups.length === 0 && object.owners.length === 0) return null;
  return (
    <Panel title="Linked with" flush>
      <ul className="lines">
        {object.owners.map((owner) => (
          <li key={`${owner.kind}/${owner.name}`}>
            <span className="link-name">Owner</span>
            <span className="row grow">
              <span className="faint">{owner.kind}</span> <ObjectLink target={owner} full />
            </span>
          </li>
        ))}
        {groups.map((group) => (
          <li key={group.relation + group.direction}>
            <span className="link-name">
              {relationName(group.relation)} {group.total > 1 && <span className="faint">{group.total}</span>}
            </span>
            <ul className="grow link-list">
              {group.nodes.map((node) => (
                <li key={node.uid} className="row">
                  <Status phase={node.phase} kind={node.kind} />
                  <span className="cut">
                    <ObjectLink target={node} full />
                  </span>
                </li>
              ))}
              {group.missing.map((missing) => (
                <li key={`${missing.kind}/${missing.namespace}/${missing.name}`} className="row">
                  <Glyph tone="fail" />
                  <span>
                    {missing.kind} {missing.namespace ? `${missing.namespace}/` : ''}
                    {missing.name} <span className="faint">is not there, or not for you to see</span>
                  </span>
                </li>
              ))}
              {group.total > group.nodes.length && (
                <li className="faint">and {group.total - group.nodes.length} more: see the graph</li>
              )}
            </ul>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

interface Inventory {
  cpus?: number;
  memoryBytes?: number;
  model?: string;
  manufacturer?: string;
  health?: string;
  biosVersion?: string;
  drives?: { id: string; bytes?: number; media?: string; model?: string; serialNumber?: string }[];
  networkInterfaces?: { id: string; macAddress?: string; linkStatus?: string; speedMbps?: number }[];
  firmware?: { name: string; version?: string }[];
}

function Hardware({ manifest }: { manifest: OverviewProps['manifest'] }) {
  const found = at(manifest, 'status.inventory') as Inventory | undefined;
  if (!found) return null;
  return (
    <Panel title="Hardware found">
      <dl className="facts">
        <Fact name="Health">
          <Status phase={found.health} />
        </Fact>
        <Fact name="Model">{[found.manufacturer, found.model].filter(Boolean).join(' ')}</Fact>
        <Fact name="CPUs">{found.cpus}</Fact>
        <Fact name="Memory">{found.memoryBytes !== undefined && bytes(found.memoryBytes)}</Fact>
        <Fact name="Drives">
          {found.drives?.map((drive) => (
            <div key={drive.id}>
              {drive.id}: {drive.model} <span className="faint mono">{drive.serialNumber}</span>
            </div>
          ))}
        </Fact>
        <Fact name="Network">
          {found.networkInterfaces?.map((port) => (
            <div key={port.id}>
              {port.id}: <span className="mono">{port.macAddress}</span>{' '}
              <span className="faint">
                {port.linkStatus} {port.speedMbps ? `${port.speedMbps / 1000} Gbit/s` : ''}
              </span>
            </div>
          ))}
        </Fact>
        <Fact name="Firmware">
          {found.firmware?.map((each) => (
            <div key={each.name}>
              {each.name} <span className="mono">{each.version}</span>
            </div>
          ))}
        </Fact>
      </dl>
    </Panel>
  );
}
