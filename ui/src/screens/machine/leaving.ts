// What is on a machine, and what becomes of it when the machine is drained, read from what the plane answers. Pure.
import type { DrainPlanQuery, MachinePageQuery } from '../../api/generated/graphql';
import { at, plural, shown } from '../../lib/text';
import { millis } from '../../lib/time';

/** Annotation of an instance that was asked to go elsewhere. */
const EVICT = 'quarterdeck.dev/evict';

export const DRAIN = 'drain-machine';

export interface On {
  name: string;
  namespace: string | null;
  uid: string;
  phase: string;
  created: string | null;
  service: string;
  /** Empty, when nobody would make another in its place. */
  workload: string;
  message: string;
  /** It was asked to go. */
  asked: boolean;
  /** Who blocks, in the ledger's words. */
  waits: string;
}

export function onMachine(found: MachinePageQuery): On[] {
  const waits = new Map(found.permits.edges.map(({ node }) => node.fields.map(shown) as [string, string]));
  return found.instances.edges.map(({ node }) => {
    const [service = '', workload = '', message = ''] = node.fields.map(shown);
    const annotations = (node.fields[3] ?? {}) as Record<string, unknown>;
    return {
      name: node.name,
      namespace: node.namespace ?? null,
      uid: node.uid,
      phase: node.deleting ? 'Deleting' : (node.phase ?? ''),
      created: node.created ?? null,
      service,
      workload,
      message,
      asked: EVICT in annotations,
      waits: waits.get(node.name) ?? '',
    };
  });
}

/** What becomes of an instance when its machine is drained. */
export const becomes = (instance: On) =>
  instance.workload === ''
    ? 'stays: no Workload would make another in its place'
    : 'goes once another one serves in its place';

/** What an instance that was asked to go waits for. */
export function goesWhen(instance: On): string {
  if (instance.phase === 'Deleting' || instance.phase === 'Stopping') return 'it goes';
  if (instance.waits) return instance.waits;
  return instance.asked ? 'another one is to serve in its place first' : '';
}

export interface Budget {
  service: string;
  owner: string;
  /** How many of it are on the machine and would go. */
  here: number;
  allowed: number | undefined;
  said: string;
}

/** What the ledger lets each service lose now, of those that have something to go. */
export function budgets(plan: DrainPlanQuery, leaving: On[]): Budget[] {
  return plan.services.edges.map(({ node }) => {
    const [owner, instances, down, allowed] = node.fields;
    const may = typeof allowed === 'number' ? allowed : undefined;
    const counts = `${shown(down) || 0} of ${plural(Number(instances ?? 0), 'instance')} down`;
    const why = node.ready?.status === 'False' ? (node.ready.message ?? '') : '';
    return {
      service: node.name,
      owner: shown(owner),
      here: leaving.filter((each) => each.service === node.name).length,
      allowed: may,
      said: [counts, why].filter(Boolean).join(': '),
    };
  });
}

export interface Frozen {
  name: string;
  reason: string;
  end: string;
  /** Where it holds; empty, where it holds everywhere. */
  where: string;
}

/** Freezes that hold at this moment, somewhere. */
export function frozen(plan: DrainPlanQuery, now: number): Frozen[] {
  return plan.freezes.edges.flatMap(({ node }) => {
    const [reason, start, end, sites, racks, siteParts] = node.fields;
    const from = millis(shown(start)) ?? -Infinity;
    const to = millis(shown(end)) ?? Infinity;
    if (now < from || now >= to) return [];
    const names = (list: unknown, what: string) =>
      Array.isArray(list) && list.length > 0 ? [`${what} ${list.map(partName).join(', ')}`] : [];
    const where = [...names(sites, 'sites'), ...names(racks, 'racks'), ...names(siteParts, 'parts of sites')];
    return [{ name: node.name, reason: shown(reason), end: shown(end), where: where.join('; ') }];
  });
}

const partName = (part: unknown) => (typeof part === 'string' ? part : shown(at(part, 'site')));
