// The small parts that every screen is made of. No part knows a kind, or asks the plane anything.
import { useId, useState, type ComponentProps, type ReactNode } from 'react';
import { remedy } from '../api/errors';
import { useNow } from '../lib/now';
import { full, millis, relative, span } from '../lib/time';
import { Glyph, Icon, type IconName, type Tone } from './glyphs';

interface ButtonProps extends Omit<ComponentProps<'button'>, 'disabled'> {
  look?: 'primary' | 'danger' | 'plain';
  icon?: IconName;
  size?: 'square' | 'big';
  /** Why it cannot be pressed. It stays in the order of tabs, so that everybody can find out. */
  barred?: string | false | null | undefined;
}

export function Button({ look, icon, size, barred, children, className, onClick, ...rest }: ButtonProps) {
  const classes = ['button', look, size, className].filter(Boolean).join(' ');
  return (
    <button
      type="button"
      {...rest}
      className={classes}
      {...(barred ? { 'aria-disabled': true, title: barred } : {})}
      onClick={(event) => (barred ? event.preventDefault() : onClick?.(event))}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

export function Panel({
  title,
  count,
  aside,
  flush,
  children,
}: {
  title: ReactNode;
  count?: ReactNode;
  aside?: ReactNode;
  /** The body goes to the edge, as a table does. */
  flush?: boolean;
  children: ReactNode;
}) {
  const id = useId();
  return (
    <section className="panel" aria-labelledby={id}>
      <header>
        <h2 id={id} className="grow cut">
          {title} {count !== undefined && <span className="count">{count}</span>}
        </h2>
        {aside}
      </header>
      {flush ? children : <div className="body">{children}</div>}
    </section>
  );
}

/** What failed, why, and what to do. */
export function ErrorNotice({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const message = error instanceof Error ? error.message : String(error);
  return (
    <div className="notice tone-fail" role="alert">
      <Glyph tone="fail" />
      <div className="grow">
        {message} <span className="aside">{remedy(error)}</span>
      </div>
      {onRetry && <Button onClick={onRetry}>Try again</Button>}
    </div>
  );
}

export function Notice({ tone, children, aside }: { tone: Tone; children: ReactNode; aside?: ReactNode }) {
  return (
    <div className={`notice tone-${tone}`} role="status">
      <Glyph tone={tone} />
      <div className="grow">{children}</div>
      {aside}
    </div>
  );
}

/** Nothing is there: says so, and teaches the command that changes it. With `page`, it is all that a screen shows. */
export function Empty({
  title,
  children,
  command,
  page,
}: {
  title: string;
  children?: ReactNode;
  command?: string;
  page?: boolean;
}) {
  return (
    <div className="empty">
      {page ? <h1>{title}</h1> : <strong>{title}</strong>}
      {children && <p>{children}</p>}
      {command && <Command line={command} />}
    </div>
  );
}

/** A line for a shell, to be copied. */
export function Command({ line, label = 'Copy the command' }: { line: string; label?: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(line);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <div className="command">
      <code>{line}</code>
      <Button look="plain" icon="copy" aria-label={label} onClick={() => void copy().catch(() => undefined)}>
        {copied && <span role="status">Copied</span>}
      </Button>
    </div>
  );
}

/** How long ago or until when, with the exact moment behind it. */
export function When({ time }: { time: string | null | undefined }) {
  const now = useNow();
  const at = millis(time);
  if (at === null) return <span className="faint">–</span>;
  return (
    <time dateTime={time ?? ''} title={full(at)} className="nowrap">
      {relative(at, now)}
    </time>
  );
}

/** How long it has taken or takes. */
export function Lasting({ from, to }: { from: string | null | undefined; to?: string | null | undefined }) {
  const now = useNow();
  const start = millis(from);
  if (start === null) return <span className="faint">–</span>;
  return <span className="nowrap">{span((millis(to) ?? now) - start)}</span>;
}

/** Lines where text will be. */
export function Loading({ lines = 4, label = 'Loading' }: { lines?: number; label?: string }) {
  return (
    <div className="stack" role="status" aria-label={label}>
      {Array.from({ length: lines }, (_, index) => (
        <span key={index} className="skeleton" style={{ width: `${92 - ((index * 17) % 45)}%` }} />
      ))}
    </div>
  );
}

export interface Part {
  tone: Tone;
  count: number;
  name: string;
}

/** Parts of a whole, to be seen at a glance; the words are beside it. */
export function PartsBar({ parts, whole, tall }: { parts: Part[]; whole: number; tall?: boolean }) {
  const label = parts.map((part) => `${part.count} ${part.name}`).join(', ');
  return (
    <div className={tall ? 'parts-bar tall' : 'parts-bar'} role="img" aria-label={`${label} of ${whole}`}>
      {parts
        .filter((part) => part.count > 0)
        .map((part) => (
          <span
            key={part.name}
            className={`tone-${part.tone}`}
            style={{ width: `${(part.count / Math.max(whole, 1)) * 100}%` }}
          />
        ))}
    </div>
  );
}

export function Field({
  label,
  hint,
  wrong,
  children,
}: {
  label: string;
  hint?: ReactNode;
  wrong?: string | undefined;
  children: (ids: { id: string; 'aria-describedby': string; 'aria-invalid': boolean }) => ReactNode;
}) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, 'aria-describedby': `${id}-hint`, 'aria-invalid': Boolean(wrong) })}
      <span id={`${id}-hint`} className={wrong ? 'wrong' : 'hint'}>
        {wrong ?? hint}
      </span>
    </div>
  );
}

export function Labels({ labels }: { labels: { name: string; value: string }[] }) {
  if (labels.length === 0) return <span className="faint">none</span>;
  return (
    <ul className="row wrap">
      {labels.map((label) => (
        <li key={label.name} className="label-chip">
          <span className="cut">
            {label.name}={label.value}
          </span>
        </li>
      ))}
    </ul>
  );
}
