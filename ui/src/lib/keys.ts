// Keys that work anywhere on a screen. They are told in one table, so that the help cannot forget one; a key that goes
// to a field, a menu or a dialog is left alone.
import { useEffect, useRef } from 'react';

export interface Key {
  /** As the help shows it: `j`, `g s`, `?`. */
  keys: string;
  does: string;
  act: () => void;
}

/** How long the second key of two may take. */
const PAIR_MS = 1200;

const bound = new Map<symbol, Key[]>();

/** All keys that work now, for the help. */
export function boundKeys(): Key[] {
  return [...bound.values()].flat();
}

function busyElsewhere(event: KeyboardEvent): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return true;
  const target = event.target as HTMLElement | null;
  if (document.querySelector('dialog[open], [role="menu"]')) return true;
  return Boolean(target?.closest('input, textarea, select, [contenteditable="true"], .editor'));
}

export function useKeys(keys: Key[]): void {
  const latest = useRef(keys);
  const id = useRef(Symbol('keys'));
  useEffect(() => {
    latest.current = keys;
    bound.set(id.current, keys);
  });
  useEffect(() => {
    const mine = id.current;
    let first = '';
    let since = 0;
    const press = (event: KeyboardEvent) => {
      if (busyElsewhere(event) || event.key.length > 9) return;
      const pair = Date.now() - since < PAIR_MS ? `${first} ${event.key}` : '';
      const hit =
        latest.current.find((key) => key.keys === pair) ??
        latest.current.find((key) => key.keys === event.key);
      first = event.key;
      since = Date.now();
      if (!hit || (hit.keys === 'Enter' && (event.target as HTMLElement).closest('a, button'))) return;
      event.preventDefault();
      first = '';
      hit.act();
    };
    window.addEventListener('keydown', press);
    return () => {
      window.removeEventListener('keydown', press);
      bound.delete(mine);
    };
  }, []);
}
