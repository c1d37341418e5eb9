// The terminal itself: xterm.js over a command's WebSocket. Loaded when a command is run.
import { FitAddon } from '@xterm/addon-fit';
import { Terminal, type ITheme } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import { useEffect, useRef } from 'react';
import { exec, type Ended, type Exec } from '../../api/exec';
import { useDrawnTheme } from '../../lib/theme';
import { number } from '../../lib/text';
import { giveRows, styledByScript } from './styled';

export type State = { is: 'opening' } | { is: 'open' } | { is: 'ended'; how: Ended };

/** Lines that can be scrolled back to. */
const SCROLLBACK = 5_000;
/** Bytes that wait to be drawn. A WebSocket cannot be told to wait: what comes faster than that is not shown. */
const WAITING_BYTES_MAX = 4 << 20;

const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The colours of the page. What is bright is bold, not of another colour. */
function theme(): ITheme {
  const [ink, ground, accent] = [colour('--ink'), colour('--sunken'), colour('--accent')];
  const [red, green, yellow] = [colour('--fail'), colour('--ok'), colour('--wait')];
  const [blue, magenta, grey] = [colour('--busy'), colour('--special'), colour('--ink-3')];
  return {
    foreground: ink,
    background: ground,
    cursor: accent,
    cursorAccent: ground,
    selectionBackground: colour('--selected'),
    ...{ black: grey, red, green, yellow, blue, magenta, cyan: accent, white: ink },
    ...{ brightBlack: grey, brightRed: red, brightGreen: green, brightYellow: yellow },
    ...{ brightBlue: blue, brightMagenta: magenta, brightCyan: accent, brightWhite: ink },
  };
}

const leaves = (event: KeyboardEvent) =>
  event.ctrlKey && !event.altKey && (event.key === ']' || event.code === 'BracketRight');

export function Screen({
  path,
  label,
  hint,
  onState,
  onLeave,
}: {
  /** Where the command is run; nowhere any more, when it is empty. */
  path: string;
  label: string;
  /** Identifier of what says how it is left. */
  hint: string;
  onState: (state: State) => void;
  onLeave: () => void;
}) {
  const place = useRef<HTMLDivElement>(null);
  const terminal = useRef<Terminal>(null);
  const session = useRef<Exec>(null);
  const told = useRef({ onState, onLeave });
  const drawn = useDrawnTheme();
  useEffect(() => {
    told.current = { onState, onLeave };
  });

  useEffect(() => {
    const host = place.current;
    if (!host) return;
    const own = styledByScript(document);
    const made = new Terminal({
      theme: theme(),
      fontFamily: colour('--mono'),
      fontSize: 13,
      scrollback: SCROLLBACK,
      // Without it, who hears the page would hear nothing of it.
      screenReaderMode: true,
      minimumContrastRatio: 4.5,
      documentOverride: own,
    });
    const fit = new FitAddon();
    made.loadAddon(fit);
    made.open(host);
    giveRows(made, own);
    made.textarea?.setAttribute('aria-label', label);
    made.textarea?.setAttribute('aria-describedby', hint);
    made.attachCustomKeyEventHandler((event) => {
      // Once it has ended nobody else wants the key that goes on through the page.
      if (!leaves(event)) return !(event.key === 'Tab' && made.options.disableStdin);
      if (event.type === 'keydown') told.current.onLeave();
      event.preventDefault();
      return false;
    });
    made.onData((text) => session.current?.say(text));
    made.onResize(({ cols, rows }) => session.current?.resize(cols, rows));
    const observer = new ResizeObserver(() => fit.fit());
    observer.observe(host);
    terminal.current = made;
    made.focus();
    return () => {
      observer.disconnect();
      made.dispose();
      terminal.current = null;
    };
  }, [label, hint]);

  useEffect(() => {
    const screen = terminal.current;
    if (!screen) return;
    screen.options.disableStdin = path === '';
    if (path === '') return;
    let waiting = 0;
    let lost = 0;
    const output = (bytes: Uint8Array) => {
      if (waiting > WAITING_BYTES_MAX) {
        lost += bytes.length;
        return;
      }
      if (lost > 0) screen.write(`\r\n[${number(lost)} bytes came too fast, and are not shown]\r\n`);
      lost = 0;
      waiting += bytes.length;
      screen.write(bytes, () => (waiting -= bytes.length));
    };
    const begun = exec(path, {
      begun: () => {
        begun.resize(screen.cols, screen.rows);
        told.current.onState({ is: 'open' });
      },
      output,
      ended: (how) => {
        screen.options.disableStdin = true;
        told.current.onState({ is: 'ended', how });
      },
    });
    session.current = begun;
    return () => {
      begun.hangUp();
      session.current = null;
    };
  }, [path]);

  useEffect(() => {
    if (terminal.current) terminal.current.options.theme = theme();
  }, [drawn]);

  return <div ref={place} className="terminal-screen" />;
}
