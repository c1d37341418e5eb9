// Two people changed one object: what each changed against what both began with, and one object that has both where
// they do not contradict each other. Lists are taken as a whole, as the order of their items may mean something. Pure.

type Value = unknown;

export interface Clash {
  path: string[];
  base: Value;
  mine: Value;
  theirs: Value;
}

export interface Merged {
  value: Value;
  clashes: Clash[];
}

const isObject = (value: Value): value is Record<string, Value> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export function same(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((each, at) => same(each, b[at]));
  if (!isObject(a) || !isObject(b)) return false;
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((key) => same(a[key], b[key]));
}

/** `undefined` stands for a field that is not there. Where both changed a field, mine is taken and told. */
export function merge3(base: Value, mine: Value, theirs: Value, path: string[] = []): Merged {
  if (same(mine, theirs) || same(base, theirs)) return { value: mine, clashes: [] };
  if (same(base, mine)) return { value: theirs, clashes: [] };
  if (!isObject(mine) || !isObject(theirs)) {
    return { value: mine, clashes: [{ path, base, mine, theirs }] };
  }
  const from = isObject(base) ? base : {};
  const value: Record<string, Value> = {};
  const clashes: Clash[] = [];
  for (const key of new Set([...Object.keys(theirs), ...Object.keys(mine)])) {
    const merged = merge3(from[key], mine[key], theirs[key], [...path, key]);
    if (merged.value !== undefined) value[key] = merged.value;
    clashes.push(...merged.clashes);
  }
  return { value, clashes };
}

/** The object with another value at a path; `undefined` takes the field away. */
export function put(object: Value, [key, ...rest]: string[], value: Value): Value {
  if (key === undefined) return value;
  const old = isObject(object) ? object : {};
  const made = { ...old };
  const inner = put(old[key], rest, value);
  if (inner === undefined) delete made[key];
  else made[key] = inner;
  return made;
}

/** Dotted paths at which two objects differ. */
export function changedPaths(before: Value, after: Value, path = ''): string[] {
  if (same(before, after)) return [];
  if (!isObject(before) || !isObject(after)) return [path];
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].flatMap((key) =>
    changedPaths(before[key], after[key], path === '' ? key : `${path}.${key}`),
  );
}
