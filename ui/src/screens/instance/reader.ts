// Reads one log for as long as somebody looks at it: goes on by itself when the plane was away, and says how it stands.
// Tells who listens at most four times a second.
import { useEffect, useMemo, useSyncExternalStore } from 'react';
import { logPath, type LogOptions } from '../../api/core';
import { Refused, worthRetrying } from '../../api/errors';
import { chunks } from '../../api/http';
import type { Named } from '../../api/kube';
import { Lines, type Line } from './lines';

const PAINT_MS = 250;
const BACKOFF_MS = [500, 1000, 2000, 4000] as const;

export type Stand =
  | { is: 'asking' }
  | { is: 'open' }
  /** What is shown is as of then; it is tried again. */
  | { is: 'stale'; since: number; why: string }
  | { is: 'ended'; why: string | undefined }
  | { is: 'refused'; error: unknown };

export interface Log {
  lines: readonly Line[];
  dropped: number;
  stand: Stand;
}

const wait = (milliseconds: number, signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });

export class Reader {
  private readonly pod: Named;
  private readonly options: LogOptions;
  private readonly lines = new Lines();
  private readonly listeners = new Set<() => void>();
  private stand: Stand = { is: 'asking' };
  private log: Log = { lines: [], dropped: 0, stand: { is: 'asking' } };
  private timer: ReturnType<typeof setTimeout> | undefined;
  private abort = new AbortController();

  constructor(pod: Named, options: LogOptions) {
    this.pod = pod;
    this.options = options;
  }

  /** Reads until it is stopped; once more from where it was left, when it has ended. */
  start(): void {
    this.abort.abort();
    this.abort = new AbortController();
    void this.read(this.abort.signal);
  }

  stop(): void {
    this.abort.abort();
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private async read(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; failures += 1) {
      this.lines.again();
      const since = this.lines.last ? { since: `${this.lines.last.slice(0, 19)}Z` } : {};
      const decoder = new TextDecoder();
      try {
        const path = logPath(this.pod, { ...this.options, ...since, timestamps: true });
        const begun = () => {
          failures = 0;
          this.become({ is: 'open' });
        };
        for await (const bytes of chunks(path, signal, '*/*', begun)) {
          if (signal.aborted) return;
          this.lines.take(decoder.decode(bytes, { stream: true }));
          this.become({ is: 'open' });
        }
        const why = this.lines.end();
        this.become({ is: 'ended', why });
        return;
      } catch (error) {
        if (signal.aborted) return;
        const passes = !(error instanceof Refused) || (this.lines.last !== '' && worthRetrying(0, error));
        if (!passes) {
          this.become({ is: 'refused', error });
          return;
        }
        const since = this.stand.is === 'stale' ? this.stand.since : Date.now();
        this.become({ is: 'stale', since, why: error instanceof Error ? error.message : String(error) });
      }
      await wait(BACKOFF_MS[Math.min(failures, BACKOFF_MS.length - 1)] ?? 4000, signal);
    }
  }

  private become(stand: Stand): void {
    this.stand = stand;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.log = { lines: [...this.lines.all], dropped: this.lines.dropped, stand: this.stand };
      for (const listener of this.listeners) listener();
    }, PAINT_MS);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  readonly current = (): Log => this.log;
}

/** The log of a container, while it is looked at. */
export function useLog(pod: Named, options: LogOptions): Log & { again: () => void } {
  const asked = JSON.stringify([pod.namespace, pod.name, { ...options, timestamps: true }]);
  const reader = useMemo(() => {
    const [namespace, name, wanted] = JSON.parse(asked) as [string, string, LogOptions];
    return new Reader({ namespace, name }, wanted);
  }, [asked]);
  useEffect(() => {
    reader.start();
    return () => reader.stop();
  }, [reader]);
  const log = useSyncExternalStore(reader.subscribe, reader.current);
  return { ...log, again: () => reader.start() };
}
