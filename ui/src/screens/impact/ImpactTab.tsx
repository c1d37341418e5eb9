// What breaks if this object goes, and the way to ask about more at once.
import { Link } from '@tanstack/react-router';
import { ImpactOf } from './Impact';
import { textOf } from './targets';

export function ImpactTab({
  kind,
  namespace,
  name,
}: {
  kind: string;
  namespace: string | null;
  name: string;
}) {
  const target = { kind, name, ...(namespace ? { namespace } : {}) };
  return (
    <div className="stack wide-gap">
      <p className="muted">
        What becomes of services if {kind.toLowerCase()} {name} goes, as of now. Nothing is done to it.{' '}
        <Link to="/impact" search={{ on: [textOf(target)] }} className="link in-text">
          Ask about more at once{kind === 'Site' && ', or about a part of it'}
        </Link>
      </p>
      <ImpactOf targets={[target]} />
    </div>
  );
}
