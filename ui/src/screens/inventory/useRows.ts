// The rows of a table, fetched in pages as they are scrolled to, and live.
import { keepPreviousData, useQueries, useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useReducer, useState } from 'react';
import { SearchDocument, type SearchQuery } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { useLive, useLiveQuery, type Interest } from '../../api/live';
import { Frozen } from './frozen';
import type { Variables } from './search';

export type Row = SearchQuery['search']['edges'][number]['node'];

export const PAGE = 100;
/** A table is read, not watched: it is looked at again once a second at most. */
const EVERY_MS = 1000;

export interface Rows {
  total: number;
  at: (index: number) => Row | undefined;
  facets: SearchQuery['search']['facets'];
  /** Rows that would move if the order were that of now. */
  pending: number;
  thaw: () => void;
  onWindow: (first: number, last: number) => void;
  error: Error | null;
  loading: boolean;
  retry: () => void;
}

export function useRows(vars: Variables, facets: string[], interest: Interest, calm: boolean): Rows {
  const client = useQueryClient();
  const [pages, setPages] = useState<number[]>([0]);
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const key = JSON.stringify(vars);
  const frozen = useMemo(() => new Frozen<Row>(), [key]); // eslint-disable-line react-hooks/exhaustive-deps
  useEffect(() => setPages([0]), [key]);

  const head = useLiveQuery(
    {
      queryKey: ['search', key, 'facets', facets],
      queryFn: ({ signal }) => query(SearchDocument, { ...vars, facets, first: 1 }, signal),
      placeholderData: keepPreviousData,
    },
    [interest],
    EVERY_MS,
  );
  const answers = useQueries({
    queries: pages.map((page) => ({
      queryKey: ['search', key, page],
      queryFn: ({ signal }: { signal: AbortSignal }) =>
        query(SearchDocument, { ...vars, facets: [], first: PAGE, skip: page * PAGE }, signal),
    })),
  });
  useLive(
    [interest],
    () => {
      for (const page of pages) {
        void client.refetchQueries(
          { queryKey: ['search', key, page], exact: true },
          { cancelRefetch: false },
        );
      }
    },
    EVERY_MS,
  );

  const edges = answers.map((answer) => answer.data?.search.edges);
  pages.forEach((page, index) => {
    const found = edges[index];
    if (found) frozen.take(page, nodes(found));
  });
  // Nobody looks, or nobody would notice: what has moved may move.
  const pending = frozen.pending();
  if (calm && pending > 0) frozen.thaw();

  const onWindow = useCallback((first: number, last: number) => {
    const wanted: number[] = [];
    for (let page = Math.floor(first / PAGE); page <= Math.floor(last / PAGE); page += 1) wanted.push(page);
    setPages((old) => (old.join() === wanted.join() ? old : wanted));
  }, []);
  const thaw = useCallback(() => {
    frozen.thaw();
    redraw();
  }, [frozen]);
  const failed = answers.find((answer) => answer.isError && !answer.data);
  const error = failed?.error ?? (head.isError && !head.data ? head.error : null);
  return {
    total: answers[0]?.data?.search.total ?? head.data?.search.total ?? 0,
    at: (index) => frozen.row(index, PAGE),
    facets: head.data?.search.facets ?? [],
    pending: calm ? 0 : pending,
    thaw,
    onWindow,
    error,
    loading: !head.data && !answers[0]?.data && !error,
    retry: () => void client.refetchQueries({ queryKey: ['search', key] }),
  };
}

/** The same array for the same answer, so that a page is taken in once. */
const kept = new WeakMap<object, Row[]>();
function nodes(edges: SearchQuery['search']['edges']): Row[] {
  const old = kept.get(edges);
  if (old) return old;
  const made = edges.map((edge) => edge.node);
  kept.set(edges, made);
  return made;
}
