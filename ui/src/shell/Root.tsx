// The frame of every screen: where one is, where one can go, what waits, and whether what is shown is as it is now.
import { useQuery } from '@tanstack/react-query';
import { Outlet } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { isUnknownCaller } from '../api/errors';
import { kindsQuery } from '../api/kinds';
import { meQuery, sessionQuery } from '../api/session';
import { ErrorNotice, Loading } from '../design/parts';
import { useKeys } from '../lib/keys';
import { Toasts } from '../design/toasts';
import { Help } from './Help';
import { Login } from './Login';
import { Nav } from './Nav';
import { Palette } from './Palette';
import { TopBar } from './TopBar';
import { useGoKeys } from './go';

export function Root() {
  const session = useQuery({ ...sessionQuery, retry: false });
  const known = Boolean(session.data?.user);
  const me = useQuery({ ...meQuery, enabled: known, retry: false });
  const kinds = useQuery({ ...kindsQuery, enabled: known });
  const ended = [session, me, kinds].some((each) => each.isError && isUnknownCaller(each.error));
  if (ended || session.data?.user === null) return <Login />;
  for (const each of [session, me, kinds]) {
    if (each.isError && !each.data) return <Away error={each.error} retry={() => void each.refetch()} />;
  }
  if (!me.data || !kinds.data) {
    return (
      <div className="login">
        <Loading label="Asking the plane who you are" />
      </div>
    );
  }
  return <Frame />;
}

function Away({ error, retry }: { error: unknown; retry: () => void }) {
  // The plane comes back by itself, so the page does.
  useEffect(() => {
    const timer = setInterval(retry, 3000);
    return () => clearInterval(timer);
  }, [retry]);
  return (
    <main className="login">
      <h1>Quarterdeck</h1>
      <ErrorNotice error={error} onRetry={retry} />
    </main>
  );
}

function Frame() {
  const [palette, setPalette] = useState(false);
  const [help, setHelp] = useState(false);
  useGoKeys();
  useKeys([
    { keys: '?', does: 'Show all keys', act: () => setHelp(true) },
    { keys: '/', does: 'Search everything', act: () => setPalette(true) },
  ]);
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
        event.preventDefault();
        setPalette((open) => !open);
      }
    };
    window.addEventListener('keydown', press);
    return () => window.removeEventListener('keydown', press);
  }, []);
  return (
    <div className="frame">
      <a className="skip button" href="#main">
        Skip to the content
      </a>
      <Nav />
      <TopBar onSearch={() => setPalette(true)} onHelp={() => setHelp(true)} />
      <main id="main" tabIndex={-1}>
        <Outlet />
      </main>
      <Toasts />
      {palette && <Palette onClose={() => setPalette(false)} />}
      {help && <Help onClose={() => setHelp(false)} />}
    </div>
  );
}
