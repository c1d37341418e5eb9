// What the stream of changes says, and whom it concerns. Pure.

/** Objects of a kind: all, those of a namespace, or one. */
export interface Interest {
  kind: string;
  namespace?: string | null;
  name?: string;
}

export interface Line {
  revision: string;
  changes?: {
    kind: string;
    /** Namespace, empty where there is none, and name. */
    objects?: [string, string][];
    /** Further objects, which are not named. */
    more?: number;
    /** It is no longer known which. */
    all?: boolean;
  }[];
}

/** Where to listen for all of these; nowhere, when there are none. */
export function streamOf(interests: Interest[]): string {
  if (interests.length === 0) return '';
  const kinds = [...new Set(interests.map((interest) => interest.kind))].sort();
  return `/stream/changes?${kinds.map((kind) => `kind=${encodeURIComponent(kind)}`).join('&')}`;
}

export function concerns(line: Line, interest: Interest): boolean {
  return (line.changes ?? []).some((change) => {
    if (change.kind !== interest.kind) return false;
    if (change.all || change.more) return true;
    return (change.objects ?? []).some(
      ([namespace, name]) =>
        (!interest.namespace || interest.namespace === namespace) &&
        (interest.name === undefined || interest.name === name),
    );
  });
}
