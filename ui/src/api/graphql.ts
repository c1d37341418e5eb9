// Reads that join, count, search or facet. The documents are in `queries/`, their types are generated.
import { Refused } from './errors';
import type { TypedDocumentString } from './generated/graphql';
import { ask } from './http';

interface Answer<T> {
  data?: T | null;
  errors?: { message: string; extensions?: { code?: string } }[];
}

const CODES: Record<string, number> = { UNAUTHENTICATED: 401, FORBIDDEN: 403, NOT_FOUND: 404 };

export async function query<T, V>(
  document: TypedDocumentString<T, V>,
  variables: V,
  signal?: AbortSignal,
): Promise<T> {
  const body = { query: document.toString(), variables };
  const answer = await ask<Answer<T>>('/graphql', { method: 'POST', body, ...(signal ? { signal } : {}) });
  const [error] = answer.errors ?? [];
  if (error) {
    const code = CODES[error.extensions?.code ?? ''] ?? 400;
    throw new Refused(code, error.extensions?.code ?? 'BadRequest', error.message);
  }
  if (!answer.data) throw new Refused(500, 'InternalError', 'The plane answered without data.');
  return answer.data;
}
