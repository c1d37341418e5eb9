// The kinds that the plane has. They are read once and then known: routes, menus and commands are made from them.
import { useQuery } from '@tanstack/react-query';
import { KindsDocument, type KindsQuery } from './generated/graphql';
import { query } from './graphql';

export type KindInfo = KindsQuery['kinds'][number];

export class Kinds {
  readonly all: KindInfo[];
  private readonly byKind: Map<string, KindInfo>;
  private readonly byPlural: Map<string, KindInfo>;
  constructor(all: KindInfo[]) {
    this.all = all;
    this.byKind = new Map(all.map((info) => [info.kind, info]));
    this.byPlural = new Map(all.map((info) => [info.plural, info]));
  }
  kind(kind: string): KindInfo | undefined {
    return this.byKind.get(kind);
  }
  plural(plural: string): KindInfo | undefined {
    return this.byPlural.get(plural);
  }
}

/** What the kinds are may change only with the binary; what they count changes always. */
const COUNTS_STALE_MS = 30_000;

export const kindsQuery = {
  queryKey: ['kinds'],
  queryFn: ({ signal }: { signal: AbortSignal }) => query(KindsDocument, {}, signal),
  select: (data: KindsQuery) => new Kinds(data.kinds),
  staleTime: COUNTS_STALE_MS,
} as const;

/** The kinds; none while they are being read. */
export function useKinds(): Kinds {
  return useQuery(kindsQuery).data ?? NONE;
}
const NONE = new Kinds([]);
