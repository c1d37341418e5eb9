// What a workload's rollout is doing, read from its object: its steps, which of them is under way, and what can be done.
// Pure.
import type { components } from '../../api/generated/services';
import type { Manifest } from '../../api/kube';
import type { Tone } from '../../design/glyphs';
import { plural, shown } from '../../lib/text';

export type Workload = components['schemas']['dev.quarterdeck.services.v1alpha1.Workload'];
type Strategy = NonNullable<Workload['spec']['strategy']>;
type Check = NonNullable<NonNullable<Strategy['blueGreen']>['checks']>[number];
type Rollout = NonNullable<NonNullable<Workload['status']>['rollout']>;

/** Annotation that lets a rollout go on past the step that it waits in. */
export const RESUME = 'quarterdeck.dev/resume-rollout';
/** Annotation of a template that makes it another one: all instances are made anew. */
export const RESTARTED = 'quarterdeck.dev/restarted-at';

export const workloadOf = (manifest: Manifest) => manifest as unknown as Workload;

export interface Checked {
  name: string;
  asks: string;
  tone: Tone;
  said: string;
}

export interface Step {
  title: string;
  then: string;
  tone: Tone;
  /** What its glyph says. */
  state: string;
  checks: Checked[];
}

/** A count, or a share such as `50%`: as the API takes either. */
const share = (value: unknown) =>
  typeof value === 'number' ? plural(value, 'instance') : `${shown(value) || 'all'} of the instances`;

function asks(check: Check): string {
  if (check.http) return `GET ${check.http.url}`;
  if (check.prometheus) {
    const { query, min, max } = check.prometheus;
    const bounds = [
      typeof min === 'number' && `at least ${min}`,
      typeof max === 'number' && `at most ${max}`,
    ].filter(Boolean);
    return `${query}: ${bounds.join(', ') || 'a number'}`;
  }
  const least = check.ready?.atLeast;
  return least === undefined || least === null ? 'all new instances are ready' : `${share(least)} are ready`;
}

function checked(check: Check, rollout: Rollout | undefined): Checked {
  const seen = rollout?.checks?.find((each) => each.name === check.name);
  const held = seen?.passed ?? 0;
  const failed = seen?.failed ?? 0;
  const tone: Tone = !seen ? 'idle' : failed > 0 ? 'fail' : held > 0 ? 'ok' : 'busy';
  const counts = seen
    ? failed > 0
      ? `failed ${failed === 1 ? 'once' : `${failed} times in sequence`}`
      : `held ${held === 1 ? 'once' : `${held} times`}`
    : 'not looked at yet';
  return {
    name: check.name,
    asks: asks(check),
    tone,
    said: [counts, seen?.message].filter(Boolean).join(': '),
  };
}

const afterwards = (pause: { duration?: string | null } | null | undefined) =>
  !pause ? '' : pause.duration ? `then ${pause.duration} of pause` : 'then until somebody lets it go on';

/** Where a rollout is: what is true, in one word of the plane. */
export function reasonOf(workload: Workload): string {
  const conditions = workload.status?.conditions ?? [];
  return conditions.find((each) => each.type === 'Progressing')?.reason ?? '';
}

/** Whether a rollout is under way: neither ended nor returned. */
export function rollsOut(workload: Workload): boolean {
  const rollout = workload.status?.rollout;
  return Boolean(rollout && !rollout.failed);
}

export const waitsForPerson = (workload: Workload) =>
  rollsOut(workload) && reasonOf(workload) === 'WaitsForPerson';

/** The steps of the strategy, with how far the rollout is in them. A rolling update has none. */
export function stepsOf(workload: Workload): Step[] {
  const { strategy } = workload.spec;
  const rollout = workload.status?.rollout ?? undefined;
  const planned: { title: string; then: string; checks: Check[] }[] =
    strategy?.type === 'Canary'
      ? [
          ...(strategy.canary?.steps ?? []).map((step) => ({
            title: share(step.instances),
            then: afterwards(step.pause),
            checks: step.checks ?? [],
          })),
          { title: 'all others', then: '', checks: [] },
        ]
      : strategy?.type === 'BlueGreen'
        ? [
            {
              title: 'all new instances beside the others',
              then: afterwards(strategy.blueGreen?.pause),
              checks: strategy.blueGreen?.checks ?? [],
            },
            {
              title: 'the switch to them',
              then: `the others go after ${strategy.blueGreen?.scaleDownDelay ?? '30s'}`,
              checks: [],
            },
          ]
        : [];
  const here = strategy?.type === 'BlueGreen' ? (rollout?.switched ? 1 : 0) : (rollout?.step ?? 0);
  const waits = workload.spec.paused || waitsForPerson(workload);
  return planned.map((step, at): Step => {
    const [tone, state]: [Tone, string] = !rollout
      ? ['idle', 'no rollout is under way']
      : at < here
        ? ['ok', 'done']
        : at > here
          ? ['idle', 'not begun']
          : rollout.failed
            ? ['fail', 'failed']
            : waits
              ? ['wait', 'waits']
              : ['busy', 'under way'];
    const seen = at === here ? rollout : undefined;
    return { ...step, tone, state, checks: step.checks.map((check) => checked(check, seen)) };
  });
}

/** The images of a template, as one says what a revision is. */
export function imagesOf(template: unknown): string[] {
  const spec = (template as Workload['spec']['template'] | undefined)?.spec;
  return (spec?.containers ?? []).map((container) => container.image);
}
