// The map's cells as the plane streams them: all of them once, then what changes.
import { useEffect, useReducer, useState } from 'react';
import { Lost, Refused } from '../../api/errors';
import { chunks } from '../../api/http';
import type { Cells } from './cells';
import { Frames } from './frames';

const AGAIN_MS = 2000;

async function follow(by: string, signal: AbortSignal, onCells: (cells: Cells) => void): Promise<void> {
  const frames = new Frames();
  for await (const bytes of chunks(`/stream/fleetmap?by=${encodeURIComponent(by)}`, signal)) {
    const cells = frames.take(bytes) ? frames.cells() : undefined;
    if (cells) onCells(cells);
  }
}

export function useCells(by: string): { cells: Cells | undefined; error: Error | null; retry: () => void } {
  const [cells, setCells] = useState<Cells>();
  const [error, setError] = useState<Error | null>(null);
  const [attempt, retry] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const abort = new AbortController();
    const { signal } = abort;
    const live = async () => {
      while (!signal.aborted) {
        try {
          await follow(by, signal, (next) => {
            setCells(next);
            setError(null);
          });
        } catch (problem) {
          if (signal.aborted) return;
          setError(problem instanceof Error ? problem : new Error('The map could not be read.'));
          // A field it has not, or a stream it does not know, does not pass by itself.
          if (
            problem instanceof Refused
              ? problem.code < 500 && problem.code !== 429
              : !(problem instanceof Lost)
          )
            return;
        }
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    };
    void live();
    return () => abort.abort();
  }, [by, attempt]);
  return { cells, error, retry };
}
