// Who uses the page. A session is a cookie that scripts cannot read; this only asks for one, and gives it up.
import { useQuery } from '@tanstack/react-query';
import { MeDocument } from './generated/graphql';
import { query } from './graphql';
import { ask } from './http';

interface Session {
  /** Null for who has shown nothing that is good. */
  user: { name: string; groups: string[] } | null;
  expires: string | null;
}

/** By a token; without one, by the certificate that the browser shows. */
export const login = (token?: string) =>
  ask<Session>('/session', { method: 'POST', ...(token ? { token } : {}) });

export const logout = () => ask<Session>('/session', { method: 'DELETE' });

export const sessionQuery = {
  queryKey: ['session'],
  queryFn: ({ signal }: { signal: AbortSignal }) => ask<Session>('/session', { signal }),
  staleTime: Infinity,
} as const;

/** Groups and namespaces change when somebody binds a role: soon enough seen. */
const STALE_MS = 60_000;

export const meQuery = {
  queryKey: ['me'],
  queryFn: ({ signal }: { signal: AbortSignal }) => query(MeDocument, {}, signal),
  staleTime: STALE_MS,
} as const;

export function useMe() {
  return useQuery(meQuery).data?.me;
}
