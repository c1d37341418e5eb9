// The one place that talks to the plane: same origin, with the session's cookie, and with the header that says a write
// comes from this page and not from another that the browser has open.
import { Lost, refusal } from './errors';

/** A browser sends this only for scripts of the page's own origin; the plane wants it of writes made by cookie. */
const CSRF_HEADER = 'X-Quarterdeck-CSRF';
/** Longer than the plane takes for the largest answer; a dead connection is noticed by then. */
const TIMEOUT_MS = 30_000;

export interface Asked {
  method?: string;
  body?: unknown;
  contentType?: string;
  accept?: string;
  /** Shown once, to begin a session. */
  token?: string;
  signal?: AbortSignal;
}

function headers(asked: Asked): Headers {
  const all = new Headers({ Accept: asked.accept ?? 'application/json', [CSRF_HEADER]: '1' });
  if (asked.body !== undefined) all.set('Content-Type', asked.contentType ?? 'application/json');
  if (asked.token) all.set('Authorization', `Bearer ${asked.token}`);
  return all;
}

async function send(path: string, asked: Asked, signal: AbortSignal | undefined): Promise<Response> {
  try {
    const text = typeof asked.body === 'string' ? asked.body : JSON.stringify(asked.body);
    return await fetch(path, {
      method: asked.method ?? 'GET',
      headers: headers(asked),
      credentials: 'same-origin',
      cache: 'no-store',
      redirect: 'error',
      ...(asked.body === undefined ? {} : { body: text }),
      ...(signal ? { signal } : {}),
    });
  } catch (error) {
    if (asked.signal?.aborted) throw error;
    throw new Lost('The plane cannot be reached.');
  }
}

/** Asks, and gives back what was answered as JSON. Throws `Refused` or `Lost`. */
export async function ask<T>(path: string, asked: Asked = {}): Promise<T> {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  const signal = asked.signal ? AbortSignal.any([asked.signal, limit]) : limit;
  const answer = await send(path, asked, signal);
  let text: string;
  try {
    text = await answer.text();
  } catch (error) {
    if (asked.signal?.aborted) throw error;
    throw new Lost('The plane went away in the middle of its answer.');
  }
  if (!answer.ok) {
    // What stands in front of a plane that is away says so in these.
    if (answer.status === 502 || answer.status === 504) throw new Lost('The plane cannot be reached.');
    throw refusal(answer.status, text);
  }
  if (text === '') return undefined as T;
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new Lost(`What answered at ${path} is not the plane.`);
  }
}

/** An answer that does not end, as it comes in. Returns when the plane closes it; throws `Refused` or `Lost`. */
export async function* chunks(
  path: string,
  signal: AbortSignal,
  accept = '*/*',
  /** It is answered, though nothing of it may have come yet. */
  begun?: () => void,
): AsyncGenerator<Uint8Array> {
  const answer = await send(path, { accept, signal }, signal);
  if (answer.status === 502 || answer.status === 504) throw new Lost('The plane cannot be reached.');
  if (!answer.ok || !answer.body) throw refusal(answer.status, await answer.text());
  begun?.();
  const reader = answer.body.getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Lost('The plane went away.');
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** The same, line by line. */
export async function* lines(path: string, signal: AbortSignal, accept?: string): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of chunks(path, signal, accept)) {
    const parts = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) yield part;
  }
}
