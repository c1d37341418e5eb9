// Who uses the page. A session is a cookie that scripts cannot read; this only asks for one, and gives it up.
import { useQuery } from '@tanstack/react-query';
import { MeDocument } from './generated/graphql';
import { query } from './graphql';
import { ask } from './http';

export const login = (token: string) =>
  ask<unknown>('/session', { method: 'POST', body: { token } });

/** By the certificate that the browser shows. */
export const loginByCertificate = () => ask<unknown>('/session', { method: 'POST', body: {} });

export const logout = () => ask<unknown>('/session', { method: 'DELETE' });

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
