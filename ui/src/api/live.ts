// What tells the page that something has changed. A view says what it shows (`useLive`), and is told at most four times
// a second to look again; it never gets data this way, so that what it shows is always one answer of one moment.
// One stream for the whole page (docs/fleetmap.md, "Changes"), whatever it shows. Knows whether the plane is there.
import { useEffect, useRef, useSyncExternalStore } from 'react';
import { useQuery, useQueryClient, type QueryKey, type UseQueryOptions } from '@tanstack/react-query';
import { Refused } from './errors';
import { lines } from './http';
import { concerns, streamOf, type Interest, type Line } from './changes';

export type { Interest } from './changes';

/** People see no more than four paints a second as different, and the plane is asked no oftener. */
const PAINT_MS = 250;
const BACKOFF_MS = [500, 1000, 2000, 4000] as const;
/** Views come and go together when a screen changes: the stream is opened once for all of them. */
const SETTLE_MS = 30;
/** The plane says every ten seconds that nothing happens: longer silence is no silence. */
const SILENCE_MS = 25_000;

/** Whether what is shown is as it is now. */
export type Liveness = { state: 'live' } | { state: 'stale'; since: number };

type Listener = () => void;

class Feed {
  private readonly listeners = new Map<symbol, { interests: Interest[]; tell: Listener }>();
  private readonly watchers = new Set<Listener>();
  private liveness: Liveness = { state: 'live' };
  private abort: AbortController | undefined;
  private settle: ReturnType<typeof setTimeout> | undefined;
  private url = '';
  private revision: string | undefined;

  subscribe(interests: Interest[], tell: Listener): () => void {
    const id = Symbol('view');
    this.listeners.set(id, { interests, tell });
    this.reopen();
    return () => {
      this.listeners.delete(id);
      this.reopen();
    };
  }

  private reopen(): void {
    clearTimeout(this.settle);
    this.settle = setTimeout(() => {
      const url = streamOf([...this.listeners.values()].flatMap((each) => each.interests));
      if (url === this.url && this.abort && !this.abort.signal.aborted) return;
      this.url = url;
      this.abort?.abort();
      this.abort = new AbortController();
      if (url !== '') void this.follow(url, this.abort.signal);
    }, SETTLE_MS);
  }

  private async follow(url: string, page: AbortSignal): Promise<void> {
    let failures = 0;
    while (!page.aborted) {
      try {
        await this.listen(url, page, () => (failures = 0));
      } catch (error) {
        if (page.aborted) return;
        if (error instanceof Refused && error.code === 401) return;
        // What the plane no longer knows of cannot be gone on from.
        if (error instanceof Refused) this.revision = undefined;
        this.become({ state: 'stale', since: Date.now() });
      }
      const pause = BACKOFF_MS[Math.min(failures, BACKOFF_MS.length - 1)] ?? 4000;
      failures += 1;
      await new Promise((resolve) => setTimeout(resolve, pause * (0.75 + Math.random() / 2)));
    }
  }

  private async listen(url: string, page: AbortSignal, heard: () => void): Promise<void> {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    const from = this.revision;
    let first = true;
    try {
      const since = from === undefined ? '' : `&since=${from}`;
      for await (const text of lines(url + since, AbortSignal.any([page, silence.signal]))) {
        if (text === '') continue;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        heard();
        const line = JSON.parse(text) as Line;
        this.revision = line.revision;
        this.become({ state: 'live' });
        // What changed after a view was read and before this revision is not told again.
        const all = first && from === undefined;
        first = false;
        for (const { interests, tell } of this.listeners.values()) {
          if (all || interests.some((interest) => concerns(line, interest))) tell();
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  private become(liveness: Liveness): void {
    if (liveness.state === this.liveness.state) return;
    this.liveness = liveness;
    for (const watcher of this.watchers) watcher();
  }

  readonly watch = (watcher: Listener): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };
  readonly current = (): Liveness => this.liveness;
}

const feed = new Feed();

export function useLiveness(): Liveness {
  return useSyncExternalStore(feed.watch, feed.current);
}

/** Calls `onChange` when something of it may have changed: coalesced, and not while the page is hidden. */
export function useLive(interests: Interest[], onChange: () => void, everyMs = PAINT_MS): void {
  const latest = useRef(onChange);
  useEffect(() => {
    latest.current = onChange;
  });
  const wanted = JSON.stringify(interests);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tell = () => {
      timer = undefined;
      if (document.hidden) document.addEventListener('visibilitychange', changed, { once: true });
      else latest.current();
    };
    const changed = () => {
      timer ??= setTimeout(tell, everyMs);
    };
    const end = feed.subscribe(JSON.parse(wanted) as Interest[], changed);
    return () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', changed);
      end();
    };
  }, [wanted, everyMs]);
}

/** A query that is asked again when what it shows may have changed, never twice at once. */
export function useLiveQuery<T, S = T>(
  options: UseQueryOptions<T, Error, S> & { queryKey: QueryKey },
  interests: Interest[],
  everyMs = PAINT_MS,
) {
  const client = useQueryClient();
  const answer = useQuery(options);
  const again = useRef(false);
  const { queryKey } = options;
  useLive(
    interests,
    () => {
      if (client.getQueryState(queryKey)?.fetchStatus === 'fetching') again.current = true;
      else void client.refetchQueries({ queryKey, exact: true }, { cancelRefetch: false });
    },
    everyMs,
  );
  const fetching = answer.isFetching;
  useEffect(() => {
    if (fetching || !again.current) return;
    again.current = false;
    const timer = setTimeout(() => {
      void client.refetchQueries({ queryKey, exact: true }, { cancelRefetch: false });
    }, everyMs);
    return () => clearTimeout(timer);
    // The key is as good as its text: a new array of the same says nothing new.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [fetching, client, everyMs]);
  return answer;
}
