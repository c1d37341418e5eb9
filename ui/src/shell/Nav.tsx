// The rail: the places one goes to every day, by name. All other kinds are one click further.
import { Link, useMatchRoute } from '@tanstack/react-router';
import { useKinds } from '../api/kinds';
import { Icon, iconOf, type IconName } from '../design/glyphs';
import { number } from '../lib/text';

const GROUPS: { title: string; kinds: string[] }[] = [
  { title: 'Fleet', kinds: ['Server', 'Machine', 'MachinePool', 'Rack', 'Site'] },
  { title: 'Services', kinds: ['Service', 'Workload', 'Instance'] },
  { title: 'Work', kinds: ['Run', 'Campaign', 'Permit', 'Schedule', 'Freeze', 'Runbook', 'Remedy'] },
];

function Place({
  to,
  icon,
  label,
}: {
  to: '/' | '/map' | '/impact' | '/calendar';
  icon: IconName;
  label: string;
}) {
  return (
    <li>
      <Link to={to} className="place" activeOptions={{ exact: to === '/', includeSearch: false }}>
        <Icon name={icon} />
        <span className="grow">{label}</span>
      </Link>
    </li>
  );
}

/** `MachinePool` as `Machine pools`. */
export function titleOf(info: { kind: string; plural: string }): string {
  const words = info.kind.replace(/([a-z])([A-Z])/g, '$1 $2').split(' ');
  const last = words.length > 1 ? (words[words.length - 1] ?? '').toLowerCase() : info.kind;
  const ending = info.plural.slice(info.kind.length);
  const stem = info.plural.startsWith(info.kind.toLowerCase()) ? last + ending : last.replace(/y$/, 'ies');
  return [...words.slice(0, -1), words.length > 1 ? stem : stem].join(' ');
}

export function Nav() {
  const kinds = useKinds();
  const match = useMatchRoute();
  const shown = new Set(GROUPS.flatMap((group) => group.kinds));
  const others = kinds.all.filter((info) => !shown.has(info.kind) && info.verbs.includes('list'));
  const item = (kind: string) => {
    const info = kinds.kind(kind);
    if (!info) return null;
    const here = match({ to: '/o/$plural/$namespace/$name', params: { plural: info.plural }, fuzzy: true });
    return (
      <li key={kind}>
        <Link
          to="/inventory/$plural"
          params={{ plural: info.plural }}
          className={here ? 'place active' : 'place'}
          activeOptions={{ includeSearch: false }}
        >
          <Icon name={iconOf(kind)} />
          <span className="grow">{titleOf(info)}</span>
          <span className="faint">{number(info.count)}</span>
        </Link>
      </li>
    );
  };
  return (
    <nav className="rail" aria-label="Main">
      <Link to="/" className="brand">
        <img src="/favicon.svg" alt="" width="20" height="20" />
        Quarterdeck
      </Link>
      <ul>
        <Place to="/" icon="home" label="Home" />
        <Place to="/map" icon="map" label="Fleet map" />
        <Place to="/impact" icon="impact" label="Impact" />
        <Place to="/calendar" icon="calendar" label="Calendar" />
      </ul>
      {GROUPS.map((group) => (
        <section key={group.title}>
          <h3>{group.title}</h3>
          <ul>{group.kinds.map(item)}</ul>
        </section>
      ))}
      <details>
        <summary>All other kinds</summary>
        <ul>{others.map((info) => item(info.kind))}</ul>
      </details>
    </nav>
  );
}
