// Links to objects: the one place that knows where a screen for an object is.
import { Link, useNavigate } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { useKinds } from '../api/kinds';
import { Status } from '../design/glyphs';

export interface Target {
  kind: string;
  namespace?: string | null;
  name: string;
}

/** What stands in a URL for the namespace of what is in none. */
export const NOWHERE = '-';

export const parameters = (plural: string, target: { namespace?: string | null; name: string }) => ({
  plural,
  namespace: target.namespace ?? NOWHERE,
  name: target.name,
});

export function ObjectLink({
  target,
  children,
  full,
}: {
  target: Target;
  children?: ReactNode;
  full?: boolean;
}) {
  const plural = useKinds().kind(target.kind)?.plural;
  const label = children ?? (full && target.namespace ? `${target.namespace}/${target.name}` : target.name);
  if (!plural) return <span>{label}</span>;
  return (
    <Link to="/o/$plural/$namespace/$name" params={parameters(plural, target)}>
      {label}
    </Link>
  );
}

export function useOpen(): (target: Target) => void {
  const navigate = useNavigate();
  const kinds = useKinds();
  return (target) => {
    const plural = kinds.kind(target.kind)?.plural;
    if (plural) void navigate({ to: '/o/$plural/$namespace/$name', params: parameters(plural, target) });
  };
}

/** A link with what kind it is, and its phase. */
export function FullLink({ target, phase }: { target: Target; phase?: string | null | undefined }) {
  return (
    <span className="row wrap">
      <span className="faint">{target.kind}</span>
      <ObjectLink target={target} full />
      {phase && <Status phase={phase} kind={target.kind} />}
    </span>
  );
}
