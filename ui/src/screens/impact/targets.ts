// What goes, as a URL and a shell name it: `Rack/ams1-a01-01`, `Machine/shop/web-1`, `Site/ams1?powerFeed=A`. Pure.
import type { ImpactTarget } from '../../api/generated/graphql';
import { quoted } from '../../lib/text';

/** Kinds that can go, the largest first; the last two are in a namespace. */
export const IMPACT_KINDS = ['Site', 'Rack', 'Server', 'Machine', 'Instance'] as const;
export const PARTS = ['hall', 'row', 'powerFeed'] as const;
/** As many as the plane answers at once. */
export const TARGETS_MAX = 100;

const NAMESPACED = new Set(['Machine', 'Instance']);

export const isNamespaced = (kind: string) => NAMESPACED.has(kind);
export const canGo = (kind: string) => (IMPACT_KINDS as readonly string[]).includes(kind);

export function textOf(target: ImpactTarget): string {
  const name = target.namespace ? `${target.namespace}/${target.name}` : target.name;
  const parts = new URLSearchParams();
  for (const part of PARTS) {
    const value = target[part];
    if (value) parts.set(part, value);
  }
  const of = parts.toString();
  return `${target.kind}/${name}${of ? `?${of}` : ''}`;
}

/** What a text of a URL names; nothing when it makes no sense. */
export function targetOf(text: string): ImpactTarget | undefined {
  const [path = '', search = ''] = text.split('?', 2);
  const [kind = '', ...names] = path.split('/');
  const wanted = isNamespaced(kind) ? 2 : 1;
  if (!canGo(kind) || names.length !== wanted || names.some((name) => name === '')) return undefined;
  const [namespace, name] = wanted === 2 ? names : [undefined, names[0]];
  const target: ImpactTarget = { kind, name: name ?? '', ...(namespace ? { namespace } : {}) };
  const parts = new URLSearchParams(search);
  for (const part of PARTS) {
    const value = parts.get(part);
    if (value && kind === 'Site') target[part] = value;
  }
  return target;
}

/** How it is called in a sentence. */
export function sayTarget(target: ImpactTarget): string {
  const whole = `${target.kind.toLowerCase()} ${target.namespace ? `${target.namespace}/` : ''}${target.name}`;
  const parts = [
    target.powerFeed && `power feed ${target.powerFeed}`,
    target.row && `row ${target.row}`,
    target.hall && `hall ${target.hall}`,
  ].filter(Boolean);
  return parts.length > 0 ? `${parts.join(' of ')} of ${whole}` : whole;
}

/** The line for a shell; nothing where flags, which hold for all sites that it names, cannot say it. */
export function impactCommand(targets: ImpactTarget[]): string | undefined {
  const sites = targets.filter((target) => target.kind === 'Site');
  const flags = (target: ImpactTarget | undefined) =>
    [
      target?.hall && `--hall ${quoted(target.hall)}`,
      target?.row && `--row ${quoted(target.row)}`,
      target?.powerFeed && `--power-feed ${quoted(target.powerFeed)}`,
    ].filter(Boolean);
  const said = flags(sites[0]);
  if (sites.some((site) => flags(site).join() !== said.join())) return undefined;
  const names = targets.map((target) => {
    const name = target.namespace ? `${target.namespace}/${target.name}` : target.name;
    return quoted(`${target.kind.toLowerCase()}/${name}`);
  });
  return ['quarterdeck impact', ...names, ...said].join(' ');
}

export function reportOf(targets: ImpactTarget[]) {
  return {
    apiVersion: 'services.quarterdeck.dev/v1alpha1',
    kind: 'ImpactReport',
    metadata: {},
    spec: { targets },
  };
}
