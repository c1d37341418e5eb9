// A command in a container, over the WebSocket that kubectl uses. Each message begins with the number of its channel.
// Source: Kubernetes, KEP-4006 (`v5.channel.k8s.io`).
import { Lost, Refused } from './errors';
import { ask } from './http';

const PROTOCOL = 'v5.channel.k8s.io';
const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const END = 3;
const RESIZE = 4;

/** How it ended: with a code, or why without one. */
export type Ended = { code: number } | { why: string };

export interface Listener {
  /** The command runs. */
  begun: () => void;
  output: (bytes: Uint8Array) => void;
  /** Called once, whatever ends it; not when it was hung up on from here. */
  ended: (how: Ended) => void;
}

export interface Exec {
  say: (text: string) => void;
  resize: (columns: number, rows: number) => void;
  /** The command is told that nobody listens any more. */
  hangUp: () => void;
}

interface Status {
  status?: string;
  reason?: string;
  message?: string;
  details?: { causes?: { reason?: string; message?: string }[] };
}

/** What the last message says. */
export function endedBy(text: string): Ended {
  let status: Status;
  try {
    status = JSON.parse(text) as Status;
  } catch {
    return { why: 'The plane ended it, and said nothing that can be read.' };
  }
  if (status.status === 'Success') return { code: 0 };
  const code = status.details?.causes?.find((cause) => cause.reason === 'ExitCode')?.message;
  if (status.reason === 'NonZeroExitCode' && code && /^-?\d+$/.test(code)) return { code: Number(code) };
  return { why: status.message ?? 'The plane ended it without saying why.' };
}

/** A browser does not tell why a WebSocket was refused, so the plane is asked for the same without one. */
async function whyRefused(path: string): Promise<string> {
  try {
    await ask(path);
  } catch (error) {
    // This is what is wrong with the question and not with what was asked for.
    if (error instanceof Refused && /Upgrade: websocket/.test(error.message))
      return 'The plane would let you, but the connection for it was not made. Is there something in between that takes no WebSockets?';
    if (error instanceof Refused || error instanceof Lost) return error.message;
  }
  return 'The connection was refused.';
}

export function exec(path: string, listener: Listener): Exec {
  const socket = new WebSocket(`wss://${location.host}${path}`, PROTOCOL);
  socket.binaryType = 'arraybuffer';
  let over = false;
  let begun = false;
  const end = (how: Ended) => {
    if (over) return;
    over = true;
    listener.ended(how);
  };
  const send = (channel: number, text: string) => {
    if (socket.readyState !== WebSocket.OPEN) return;
    const bytes = new TextEncoder().encode(text);
    const message = new Uint8Array(bytes.length + 1);
    message[0] = channel;
    message.set(bytes, 1);
    socket.send(message);
  };
  socket.onmessage = (event: MessageEvent<unknown>) => {
    if (over || !(event.data instanceof ArrayBuffer)) return;
    const [channel] = new Uint8Array(event.data, 0, Math.min(1, event.data.byteLength));
    if (channel === undefined) return;
    const rest = new Uint8Array(event.data, 1);
    if (channel === END) {
      end(endedBy(new TextDecoder().decode(rest)));
    } else if (channel === STDOUT || channel === STDERR) {
      if (!begun) {
        begun = true;
        listener.begun();
      }
      if (rest.length > 0) listener.output(rest);
    }
  };
  socket.onclose = () => {
    if (over) return;
    if (begun) end({ why: 'The connection to the plane was lost. The command is hung up on.' });
    else void whyRefused(path).then((why) => end({ why }));
  };
  return {
    say: (text) => send(STDIN, text),
    resize: (columns, rows) => send(RESIZE, JSON.stringify({ Width: columns, Height: rows })),
    hangUp: () => {
      over = true;
      socket.close();
    },
  };
}
