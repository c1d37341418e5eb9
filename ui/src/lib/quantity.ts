// Quantities as Kubernetes writes them: `250m`, `1.5`, `64Mi`. Pure.
// Source: Kubernetes, "Quantity" of apimachinery.

const SIZES: Record<string, number> = {
  '': 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
  Pi: 1024 ** 5,
};

/** As a number; undefined for what is none. */
export function quantity(text: unknown): number | undefined {
  if (typeof text === 'number') return text;
  const [, count, unit] = /^([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)([A-Za-z]*)$/.exec(String(text)) ?? [];
  const size = SIZES[unit ?? ''];
  return count === undefined || size === undefined ? undefined : Number(count) * size;
}
