// What tells the page that something has changed. A view says what it shows (`useLive`), and is told at most four times
// a second to look again; it never gets data this way, so that what it shows is always one answer of one moment.
// Knows whether the plane is there, and since when it is not.
import { useEffect, useRef, useSyncExternalStore } from 'react';
import { useQuery, useQueryClient, type QueryKey, type UseQueryOptions } from '@tanstack/react-query';
import { Lost, Refused } from './errors';
import { ask, lines } from './http';
import { type Kinds, useKinds } from './kinds';
import { path } from './kube';

/** Objects of a kind: all, those of a namespace, or one. */
export interface Interest {
  kind: string;
  namespace?: string | null;
  name?: string;
}

/** People see no more than four paints a second as different, and the plane is asked no oftener. */
const PAINT_MS = 250;
const BACKOFF_MS = [500, 1000, 2000, 4000] as const;
const METADATA_ONLY = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
const METADATA_LIST = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';

/** Whether what is shown is as it is now. */
export type Liveness = { state: 'live' } | { state: 'stale'; since: number };

type Listener = () => void;

/** One watch, shared by all views that want the same. */
class Feed {
  private readonly listeners = new Set<Listener>();
  private readonly abort = new AbortController();
  private readonly url: string;
  private readonly owner: Feeds;
  constructor(url: string, owner: Feeds) {
    this.url = url;
    this.owner = owner;
    void this.follow();
  }

  add(listener: Listener): void {
    this.listeners.add(listener);
  }

  /** Whether nobody is left. */
  drop(listener: Listener): boolean {
    this.listeners.delete(listener);
    if (this.listeners.size > 0) return false;
    this.abort.abort();
    this.owner.heard(this);
    return true;
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }

  private async follow(): Promise<void> {
    const signal = this.abort.signal;
    let failures = 0;
    while (!signal.aborted) {
      try {
        const revision = await this.revision(signal);
        this.owner.heard(this);
        // What changed before this revision, and after what is shown was read, is not told again.
        this.tell();
        failures = 0;
        await this.watch(revision, signal);
      } catch (error) {
        if (signal.aborted) return;
        // Not allowed to watch, or no such kind: it is shown as it was, and that is no outage.
        if (error instanceof Refused && [401, 403, 404].includes(error.code)) return;
        if (error instanceof Lost) this.owner.lost(this);
        const pause = BACKOFF_MS[Math.min(failures, BACKOFF_MS.length - 1)] ?? 4000;
        failures += 1;
        await new Promise((resolve) => setTimeout(resolve, pause * (0.75 + Math.random() / 2)));
      }
    }
  }

  private async revision(signal: AbortSignal): Promise<string> {
    const separator = this.url.includes('?') ? '&' : '?';
    const list = await ask<{ metadata: { resourceVersion: string } }>(`${this.url}${separator}limit=1`, {
      accept: METADATA_LIST,
      signal,
    });
    return list.metadata.resourceVersion;
  }

  private async watch(revision: string, signal: AbortSignal): Promise<void> {
    const separator = this.url.includes('?') ? '&' : '?';
    const url = `${this.url}${separator}watch=true&resourceVersion=${revision}`;
    for await (const line of lines(url, signal, METADATA_ONLY)) {
      if (line.includes('"type":"ERROR"')) return;
      if (line !== '') this.tell();
    }
  }
}

class Feeds {
  private readonly feeds = new Map<string, Feed>();
  private readonly away = new Set<Feed>();
  private readonly watchers = new Set<Listener>();
  private liveness: Liveness = { state: 'live' };

  subscribe(url: string, listener: Listener): () => void {
    const feed = this.feeds.get(url) ?? new Feed(url, this);
    this.feeds.set(url, feed);
    feed.add(listener);
    return () => {
      if (feed.drop(listener)) this.feeds.delete(url);
    };
  }

  heard(feed: Feed): void {
    this.away.delete(feed);
    if (this.away.size === 0 && this.liveness.state === 'stale') this.become({ state: 'live' });
  }

  lost(feed: Feed): void {
    this.away.add(feed);
    if (this.liveness.state === 'live') this.become({ state: 'stale', since: Date.now() });
  }

  private become(liveness: Liveness): void {
    this.liveness = liveness;
    for (const watcher of this.watchers) watcher();
  }

  readonly watch = (watcher: Listener): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };
  readonly current = (): Liveness => this.liveness;
}

const feeds = new Feeds();

export function useLiveness(): Liveness {
  return useSyncExternalStore(feeds.watch, feeds.current);
}

function url(kinds: Kinds, interest: Interest): string | undefined {
  const info = kinds.kind(interest.kind);
  if (!info?.verbs.includes('watch') && info?.verbs.length !== 0) return undefined;
  if (!info) return undefined;
  const base = path(info, { namespace: interest.namespace ?? null });
  return interest.name ? `${base}?fieldSelector=metadata.name%3D${encodeURIComponent(interest.name)}` : base;
}

/** Calls `onChange` when something of it may have changed: coalesced, and not while the page is hidden. */
export function useLive(interests: Interest[], onChange: () => void, everyMs = PAINT_MS): void {
  const kinds = useKinds();
  const latest = useRef(onChange);
  useEffect(() => {
    latest.current = onChange;
  });
  const urls = interests
    .map((interest) => url(kinds, interest))
    .filter((each) => each !== undefined)
    .join('\n');
  useEffect(() => {
    if (urls === '') return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tell = () => {
      timer = undefined;
      if (document.hidden) document.addEventListener('visibilitychange', changed, { once: true });
      else latest.current();
    };
    const changed = () => {
      timer ??= setTimeout(tell, everyMs);
    };
    const ends = urls.split('\n').map((each) => feeds.subscribe(each, changed));
    return () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', changed);
      for (const end of ends) end();
    };
  }, [urls, everyMs]);
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
