// The bar on top: search, namespace, whether the page is live, what waits on me, and who I am.
import { useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useLiveness } from '../api/live';
import { logout, useMe } from '../api/session';
import { Glyph, Icon } from '../design/glyphs';
import { Menu, MenuHeading, MenuItem, MenuLine } from '../design/menu';
import { Button } from '../design/parts';
import { useNow } from '../lib/now';
import { chooseTheme, useTheme, type Theme } from '../lib/theme';
import { clock, span } from '../lib/time';
import { Notifications } from './Notifications';
import { Views } from './Views';

export function TopBar({ onSearch, onHelp }: { onSearch: () => void; onHelp: () => void }) {
  return (
    <header className="top-bar">
      <button type="button" className="search-button" onClick={onSearch}>
        <Icon name="search" />
        <span className="grow">Search servers, services, runs, actions</span>
        <kbd>Ctrl</kbd>
        <kbd>K</kbd>
      </button>
      <Namespace />
      <Views />
      <span className="grow" />
      <Live />
      <Notifications />
      <Button look="plain" size="square" icon="help" aria-label="Keys" onClick={onHelp} />
      <Person />
    </header>
  );
}

function Namespace() {
  const me = useMe();
  const { ns } = useSearch({ from: '__root__' });
  const navigate = useNavigate();
  const choose = (value: string) =>
    void navigate({
      to: '.',
      search: (old: object) => ({ ...old, ns: value === '' ? undefined : value }),
    } as never);
  return (
    <label className="row">
      <span className="unseen">Namespace</span>
      <select className="select" value={ns ?? ''} onChange={(event) => choose(event.target.value)}>
        <option value="">All namespaces</option>
        {me && me.teams.length > 0 && (
          <optgroup label="My teams">
            {me.teams.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </optgroup>
        )}
        {me?.namespaces
          .filter((name) => !me.teams.includes(name))
          .map((name) => (
            <option key={name}>{name}</option>
          ))}
      </select>
    </label>
  );
}

/** Nothing while all is well; since when not, otherwise. */
function Live() {
  const liveness = useLiveness();
  if (liveness.state === 'live') {
    return (
      <span className="live" title="Changes are shown as they happen.">
        <i /> Live
      </span>
    );
  }
  return <Stale since={liveness.since} />;
}

function Stale({ since }: { since: number }) {
  const now = useNow();
  return (
    <span className="badge tone-wait" role="status">
      <Glyph tone="wait" /> Stale: as of {clock(since)}, {span(now - since)} ago. Reconnecting.
    </span>
  );
}

const THEMES: [Theme, string][] = [
  ['system', 'As the system'],
  ['dark', 'Dark'],
  ['light', 'Light'],
];

function Person() {
  const me = useMe();
  const theme = useTheme();
  const client = useQueryClient();
  const leave = async () => {
    await logout().catch(() => undefined);
    client.clear();
    window.location.assign('/');
  };
  return (
    <Menu
      trigger={
        <Button look="plain" icon="person" aria-label={`You are ${me?.name ?? 'unknown'}`}>
          <span className="cut person-name">{me?.name}</span>
        </Button>
      }
    >
      <MenuHeading>{me?.name}</MenuHeading>
      <div className="menu-text faint small">{me?.groups.join(', ')}</div>
      <MenuLine />
      {THEMES.map(([each, label]) => (
        <MenuItem key={each} onSelect={() => chooseTheme(each)} aside={theme === each ? '✓' : ''}>
          {label}
        </MenuItem>
      ))}
      <MenuLine />
      <MenuItem onSelect={() => void leave()}>Log out</MenuItem>
    </Menu>
  );
}
