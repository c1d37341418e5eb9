// YAML as text. Loaded with the screens that show it.
import { parseDocument, stringify } from 'yaml';

export const print = (value: unknown): string =>
  stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });

/** Deep and wide enough for any manifest; a document of aliases cannot blow up. */
const ALIASES = 20;

export function parse(text: string): { value: Record<string, unknown> } | { wrong: string } {
  const document = parseDocument(text, { prettyErrors: true });
  const [error] = document.errors;
  if (error) return { wrong: error.message };
  try {
    const value: unknown = document.toJS({ maxAliasCount: ALIASES });
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return { wrong: 'This describes no object: it begins with apiVersion, kind and metadata.' };
    }
    return { value: value as Record<string, unknown> };
  } catch (error) {
    return { wrong: error instanceof Error ? error.message : 'This is no YAML.' };
  }
}
