// The parameters of a runbook as fields of a form, and what was typed as values of their types. Pure.

export interface Parameter {
  name: string;
  type: 'string' | 'integer' | 'number' | 'boolean' | 'array' | 'object';
  description?: string;
  required?: boolean;
  default?: unknown;
  enum?: unknown[];
}

/** What stands in a field: a text, whatever the type; empty is "not said". */
export type Typed = Record<string, string>;

export const asText = (value: unknown): string =>
  value === undefined || value === null ? '' : typeof value === 'string' ? value : JSON.stringify(value);

function parsed(parameter: Parameter, text: string): { value: unknown } | { wrong: string } {
  switch (parameter.type) {
    case 'string':
      return { value: text };
    case 'boolean':
      return text === 'true' || text === 'false'
        ? { value: text === 'true' }
        : { wrong: 'Say true or false.' };
    case 'integer':
      return /^-?\d{1,15}$/.test(text) ? { value: Number(text) } : { wrong: 'This is no whole number.' };
    case 'number': {
      const value = Number(text);
      return Number.isFinite(value) ? { value } : { wrong: 'This is no number.' };
    }
    default:
      return json(parameter.type, text);
  }
}

function json(type: 'array' | 'object', text: string): { value: unknown } | { wrong: string } {
  try {
    const value: unknown = JSON.parse(text);
    const isList = Array.isArray(value);
    if (type === 'array' && !isList) return { wrong: 'This is no list. Write one as ["a", "b"].' };
    if (type === 'object' && (isList || typeof value !== 'object' || value === null)) {
      return { wrong: 'This is no object. Write one as {"a": 1}.' };
    }
    return { value };
  } catch {
    return { wrong: type === 'array' ? 'Write a list as ["a", "b"].' : 'Write an object as {"a": 1}.' };
  }
}

export interface Read {
  params: Record<string, unknown>;
  wrong: Record<string, string>;
}

/** The values to give: those that were said, and are not the default anyway. */
export function read(parameters: Parameter[], typed: Typed): Read {
  const params: Record<string, unknown> = {};
  const wrong: Record<string, string> = {};
  for (const parameter of parameters) {
    const text = (typed[parameter.name] ?? '').trim();
    if (text === '') {
      if (parameter.required && parameter.default === undefined) wrong[parameter.name] = 'It must be given.';
      continue;
    }
    const result = parsed(parameter, text);
    if ('wrong' in result) wrong[parameter.name] = result.wrong;
    else if (asText(result.value) !== asText(parameter.default)) params[parameter.name] = result.value;
  }
  return { params, wrong };
}
