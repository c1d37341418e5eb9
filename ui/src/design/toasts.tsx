// What was just done, with the line that does the same in a shell. Gone after a while, unless one is looking at it.
import { useEffect, useSyncExternalStore } from 'react';
import { Glyph, type Tone } from './glyphs';
import { Button, Command } from './parts';

interface Toast {
  id: number;
  tone: Tone;
  message: string;
  command?: string;
}

const STAYS_MS = 8000;
const MOST = 3;
let toasts: readonly Toast[] = [];
let last = 0;
const listeners = new Set<() => void>();

function become(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

export function tell(tone: Tone, message: string, command?: string): void {
  last += 1;
  become([...toasts, { id: last, tone, message, ...(command ? { command } : {}) }].slice(-MOST));
}

const dismiss = (id: number) => become(toasts.filter((toast) => toast.id !== id));

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function Toasts() {
  const all = useSyncExternalStore(subscribe, () => toasts);
  return (
    <div className="toasts" role="status" aria-live="polite">
      {all.map((toast) => (
        <One key={toast.id} toast={toast} />
      ))}
    </div>
  );
}

function One({ toast }: { toast: Toast }) {
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.querySelector('.toasts:hover, .toasts:focus-within')) dismiss(toast.id);
    }, STAYS_MS);
    return () => clearInterval(timer);
  }, [toast.id]);
  return (
    <div className="toast">
      <div className="row">
        <Glyph tone={toast.tone} />
        <span className="grow">{toast.message}</span>
        <Button
          look="plain"
          size="square"
          icon="close"
          aria-label="Dismiss"
          onClick={() => dismiss(toast.id)}
        />
      </div>
      {toast.command && <Command line={toast.command} />}
    </div>
  );
}
