// What something takes, over the last minutes: measured now and then, kept in the page, and never more than that. Pure.
import { quantity } from '../../lib/quantity';
import { millis } from '../../lib/time';

/** As `metrics.k8s.io` says it, of a Node or of a Pod. */
export interface Metrics {
  timestamp?: string;
  usage?: Usage;
  containers?: { name: string; usage?: Usage }[];
}
interface Usage {
  cpu?: string;
  memory?: string;
}

export interface Sample {
  /** Milliseconds since 1970. */
  at: number;
  /** Processors. */
  cpu: number;
  /** Bytes. */
  memory: number;
}

/** How far back is shown. */
export const WINDOW_MS = 15 * 60_000;

/** What it takes in all; nothing, when that cannot be read. */
export function sampleOf(metrics: Metrics): Sample | undefined {
  const at = millis(metrics.timestamp);
  const all = metrics.usage ? [metrics.usage] : (metrics.containers ?? []).map((each) => each.usage ?? {});
  const sum = (of: 'cpu' | 'memory') =>
    all.reduce<number | undefined>((so, each) => {
      const more = quantity(each[of] ?? '');
      return so === undefined || more === undefined ? undefined : so + more;
    }, 0);
  const [cpu, memory] = [sum('cpu'), sum('memory')];
  if (at === null || all.length === 0 || cpu === undefined || memory === undefined) return undefined;
  return { at, cpu, memory };
}

/** With one more, unless it is the one that came last, and without those that are too old. */
export function grown(samples: readonly Sample[], next: Sample | undefined): Sample[] {
  if (!next) return [...samples];
  const last = samples[samples.length - 1];
  const all = last && last.at >= next.at ? [...samples] : [...samples, next];
  return all.filter((each) => each.at > next.at - WINDOW_MS);
}

/** Processors in words: small shares in thousandths, as Kubernetes has them. */
export const cores = (count: number) =>
  count < 1 ? `${Math.round(count * 1000)}m` : String(Number(count.toFixed(2)));
