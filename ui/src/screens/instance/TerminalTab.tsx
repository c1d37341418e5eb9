// A command in a container, with a terminal. Nothing is run because somebody opened an address: that takes a press, with the
// command in sight.
import { useNavigate, useSearch } from '@tanstack/react-router';
import { lazy, Suspense, useId, useRef, useState } from 'react';
import { execPath, shell } from '../../api/core';
import type { Ended } from '../../api/exec';
import { Glyph, type Tone } from '../../design/glyphs';
import { Button, Command, Loading, Notice } from '../../design/parts';
import { wordsOf } from '../../lib/words';
import type { OverviewProps } from '../object/ObjectPage';
import { ContainerField, useContainer } from './ContainerField';
import { reachOf } from './containers';
import { Elsewhere } from './Elsewhere';
import type { State } from './Screen';
import './instance.css';

const Screen = lazy(() => import('./Screen').then((module) => ({ default: module.Screen })));
const COMMAND = 'sh';

export function TerminalTab({ object, manifest }: OverviewProps) {
  const reach = reachOf(manifest);
  if (reach.by !== 'agent') return <Elsewhere reach={reach} what="exec" object={object} />;
  return (
    <Terminal
      namespace={object.namespace ?? ''}
      name={object.name}
      containers={reach.containers}
      lost={object.phase === 'Unreachable'}
    />
  );
}

function Terminal({
  namespace,
  name,
  containers,
  lost,
}: {
  namespace: string;
  name: string;
  containers: string[];
  lost: boolean;
}) {
  const search = useSearch({ from: '/o/$plural/$namespace/$name' });
  const [command, setCommand] = useState(search.command ?? COMMAND);
  const navigate = useNavigate({ from: '/o/$plural/$namespace/$name' });
  const container = useContainer(containers);
  const pod = { namespace, name };
  const words = wordsOf(command);
  const wrong = 'wrong' in words ? words.wrong : words.length === 0 && 'Say which command.';
  const line = 'wrong' in words ? [] : words;
  const [run, setRun] = useState<{ count: number; path: string; said: string }>();
  const [state, setState] = useState<State>({ is: 'opening' });
  const leave = useRef<HTMLButtonElement>(null);
  const hint = useId();
  const open = run !== undefined && state.is !== 'ended';
  const begin = () => {
    setState({ is: 'opening' });
    setRun({
      count: (run?.count ?? 0) + 1,
      path: execPath(pod, container, line),
      said: `${command} in ${container}`,
    });
  };
  return (
    <div className="terminal">
      <form
        className="row wrap"
        onSubmit={(event) => {
          event.preventDefault();
          if (!open && !wrong) begin();
        }}
      >
        <ContainerField containers={containers} value={container} barred={open} />
        <label className="row grow">
          Command
          <input
            className="input mono grow"
            spellCheck={false}
            value={command}
            readOnly={open}
            onChange={(event) => {
              setCommand(event.target.value);
              void navigate({
                search: (old) => ({ ...old, command: event.target.value || undefined }),
                replace: true,
                resetScroll: false,
              });
            }}
          />
        </label>
        {open ? (
          <Button
            // Another button than the one below: a press must not become one of what comes in its place.
            key="end"
            ref={leave}
            look="danger"
            onClick={() => {
              setState({ is: 'ended', how: { why: 'You hung up.' } });
              setRun(run && { ...run, path: '' });
              requestAnimationFrame(() => leave.current?.focus());
            }}
          >
            Hang up
          </Button>
        ) : (
          <Button key="run" ref={leave} look="primary" type="submit" barred={wrong}>
            {run ? 'Run it again' : 'Run it'}
          </Button>
        )}
      </form>
      {lost && !open && (
        <Notice tone="wait">Its machine has not been heard of for a while: it may not be reached.</Notice>
      )}
      {run ? (
        <>
          <p className="row wrap">
            <Said state={state} what={run.said} />
            <span className="grow" />
            <span id={hint} className="muted">
              All keys go to the command. <kbd>Ctrl</kbd> <kbd>]</kbd> leaves the terminal.
            </span>
          </p>
          <Suspense fallback={<Loading lines={8} label="Loading the terminal" />}>
            <Screen
              key={run.count}
              path={run.path}
              label={`Terminal: ${run.said}`}
              hint={hint}
              onState={setState}
              onLeave={() => leave.current?.focus()}
            />
          </Suspense>
        </>
      ) : (
        <p className="muted">
          It runs as whatever user the container has, for as long as this page shows it; the audit log has a
          line for it, with the command. Do not put passwords into that.
        </p>
      )}
      <Command line={shell.exec(pod, container, line)} />
    </div>
  );
}

/** How it ended, in words. */
export function endedAs(how: Ended): [Tone, string] {
  if ('why' in how) return ['wait', how.why];
  return how.code === 0 ? ['ok', 'It exited with 0.'] : ['fail', `It exited with ${how.code}.`];
}

function Said({ state, what }: { state: State; what: string }) {
  const [tone, said]: [Tone, string] =
    state.is === 'opening'
      ? ['busy', `Begins ${what}.`]
      : state.is === 'open'
        ? ['ok', `Runs ${what}.`]
        : endedAs(state.how);
  return (
    <span className="row" role="status">
      <Glyph tone={tone} />
      <span>{said}</span>
    </span>
  );
}
