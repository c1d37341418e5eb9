// Dark or light: as the system has it, until somebody chooses. The choice stays in this browser.
import { useSyncExternalStore } from 'react';

export type Theme = 'system' | 'dark' | 'light';
const KEY = 'quarterdeck.theme';
const dark = window.matchMedia('(prefers-color-scheme: dark)');
const listeners = new Set<() => void>();

function chosen(): Theme {
  const kept = localStorage.getItem(KEY);
  return kept === 'dark' || kept === 'light' ? kept : 'system';
}

export function applyTheme(): void {
  const theme = chosen();
  document.documentElement.dataset['theme'] = theme === 'system' ? (dark.matches ? 'dark' : 'light') : theme;
  for (const listener of listeners) listener();
}

export function chooseTheme(theme: Theme): void {
  if (theme === 'system') localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, theme);
  applyTheme();
}

dark.addEventListener('change', applyTheme);

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useTheme = () => useSyncExternalStore(subscribe, chosen);

/** What is drawn now: for a canvas, which has no variables of styles. */
export const useDrawnTheme = () =>
  useSyncExternalStore(subscribe, () => document.documentElement.dataset['theme'] ?? 'dark');
