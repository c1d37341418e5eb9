// Status as a shape first and a colour second: each tone has a glyph of its own outline, so that nobody needs to tell
// red from green. What a phase of the plane means is said here, and nowhere else.

export type Tone = 'ok' | 'busy' | 'wait' | 'fail' | 'idle' | 'special';

const TONES: Record<string, Tone> = {
  // Healthy, done
  Ready: 'ok',
  InUse: 'ok',
  Running: 'busy',
  Succeeded: 'ok',
  Active: 'ok',
  Healthy: 'ok',
  Available: 'ok',
  Granted: 'ok',
  WouldBeGranted: 'ok',
  Approved: 'ok',
  OK: 'ok',
  True: 'ok',
  On: 'ok',
  Bound: 'ok',
  Valid: 'ok',
  Stable: 'ok',
  // Moving
  Inspecting: 'busy',
  Provisioning: 'busy',
  Cleaning: 'busy',
  Updating: 'busy',
  Draining: 'busy',
  Deleting: 'busy',
  Canary: 'busy',
  Starting: 'busy',
  Stopping: 'busy',
  Progressing: 'busy',
  Scaling: 'busy',
  RollingOut: 'busy',
  // Waiting for somebody or something
  Waiting: 'wait',
  Queued: 'wait',
  Asked: 'wait',
  Pending: 'wait',
  Suspended: 'wait',
  Paused: 'wait',
  Planned: 'wait',
  Degraded: 'wait',
  OverBudget: 'wait',
  Warning: 'wait',
  // Broken
  Failed: 'fail',
  Critical: 'fail',
  Quarantined: 'fail',
  Unreachable: 'fail',
  Rejected: 'fail',
  Unavailable: 'fail',
  Down: 'fail',
  NotReady: 'fail',
  RolledBack: 'fail',
  False: 'fail',
  // Neither
  Registered: 'idle',
  Cancelled: 'idle',
  Skipped: 'idle',
  Retired: 'idle',
  Empty: 'idle',
  Off: 'idle',
  Unknown: 'idle',
  Ended: 'idle',
  // Under hands, or under a rule
  Repairing: 'special',
  Compensating: 'special',
  Frozen: 'special',
};

/** Machines and instances run when they are well; runs and campaigns run while they are busy. */
const WELL_WHEN_RUNNING = new Set(['Machine', 'Instance', 'MachinePool', 'Workload', 'Cluster']);

export function toneOf(phase: string | null | undefined, kind?: string): Tone {
  if (!phase) return 'idle';
  if (phase === 'Running' && kind && WELL_WHEN_RUNNING.has(kind)) return 'ok';
  return TONES[phase] ?? 'idle';
}

/** The outline of each tone, in a box of 14: solid disc with a tick, half disc, dashed ring, cross, ring, diamond. */
const SHAPES: Record<Tone, React.ReactNode> = {
  ok: (
    <>
      <circle cx="7" cy="7" r="6" fill="currentColor" />
      <path d="m4.2 7.2 2 2 3.7-4.2" fill="none" stroke="var(--surface)" strokeWidth="1.6" />
    </>
  ),
  busy: (
    <>
      <circle cx="7" cy="7" r="5.2" fill="none" stroke="currentColor" strokeWidth="1.6" />
      <path d="M7 1.800a5.2 5.2 0 0 1 0 10.400z" fill="currentColor" />
    </>
  ),
  wait: (
    <circle
      cx="7"
      cy="7"
      r="5.2"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.8"
      strokeDasharray="2.5 2.180"
    />
  ),
  fail: (
    <>
      <rect x="1" y="1" width="12" height="12" rx="2" fill="currentColor" />
      <path d="m4.5 4.5 5 5m0-5-5 5" stroke="var(--surface)" strokeWidth="1.6" />
    </>
  ),
  idle: <circle cx="7" cy="7" r="5.2" fill="none" stroke="currentColor" strokeWidth="1.6" />,
  special: <path d="m7 .8 6.2 6.2-6.2 6.2-6.2-6.200z" fill="none" stroke="currentColor" strokeWidth="1.8" />,
};

export function Glyph({ tone, label }: { tone: Tone; label?: string }) {
  return (
    <svg
      className={`glyph tone-${tone}`}
      viewBox="0 0 14 14"
      {...(label ? { role: 'img', 'aria-label': label } : { 'aria-hidden': true })}
    >
      {SHAPES[tone]}
    </svg>
  );
}

/** A phase in words, behind its glyph. */
export function Status({ phase, kind }: { phase: string | null | undefined; kind?: string }) {
  if (!phase) return <span className="faint">–</span>;
  return (
    <span className="status">
      <Glyph tone={toneOf(phase, kind)} />
      <span>{phase}</span>
    </span>
  );
}

export function Badge({ tone, children }: { tone: Tone; children: React.ReactNode }) {
  return (
    <span className={`badge tone-${tone}`}>
      <Glyph tone={tone} />
      {children}
    </span>
  );
}

const ICONS = {
  home: 'M2 7.5 8 2.500l6 5M3.5 6.500v7h9v-7',
  map: 'M2 2h5v5H2zM9 2h5v5H9zM2 9h5v5H2zM9 9h5v5H9z',
  server: 'M2 3h12v4H2zM2 9h12v4H2zM4.5 5h.01M4.5 11h.01',
  machine: 'M2 3h12v8H2zM6 14h4M8 11v3',
  rack: 'M4 1.500h8v13H4zM4 5h8M4 8h8M4 11h8',
  site: 'M8 14.500s5-4.5 5-8a5 5 0 0 0-10 0c0 3.5 5 8 5 8zM8 8a1.7 1.7 0 1 0 0-3.400A1.7 1.7 0 0 0 8 8z',
  service: 'M8 1.5 14 5v6l-6 3.500L2 11V5zM2 5l6 3.500L14 5M8 8.500v6',
  run: 'M4 2.500v11l9-5.500z',
  campaign: 'M2 4h7M2 8h12M2 12h4',
  permit: 'M8 1.5 13 4v4c0 3-2 5.2-5 6.500C5 13.2 3 11 3 8V4zM5.8 8l1.6 1.7 3-3.4',
  runbook: 'M3 2h9.500v12H3zM5.5 5h4.500M5.5 8h4.500M5.5 11h2.5',
  calendar: 'M2 3.500h12v10.500H2zM2 7h12M5 1.500v3.500M11 1.500v3.5',
  freeze: 'M8 1.500v13M2.4 4.700l11.2 6.600M13.6 4.7 2.4 11.3',
  bell: 'M8 2a4 4 0 0 0-4 4v3l-1.5 2.500h11L12 9V6a4 4 0 0 0-4-4zM6.5 13.500h3',
  search: 'M7 11.500a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.5 10.500l4 4',
  close: 'm4 4 8 8m0-8-8 8',
  copy: 'M5.5 5.500h8v8h-8zM10.5 5.500v-3h-8v8h3',
  down: 'm4 6 4 4 4-4',
  right: 'm6 4 4 4-4 4',
  more: 'M3.5 8h.01M8 8h.01M12.5 8h.01',
  person: 'M8 8a2.8 2.8 0 1 0 0-5.600A2.8 2.8 0 0 0 8 8zM2.5 14c.5-3 2.7-4.5 5.5-4.500s5 1.5 5.5 4.5',
  list: 'M2 4h12M2 8h12M2 12h12',
  columns: 'M2 3h12v10H2zM6 3v10M10 3v10',
  filter: 'M2 3h12L9.5 8.500V13l-3 1.500v-6z',
  bookmark: 'M4 2h8v12l-4-3.500L4 14z',
  plus: 'M8 3v10M3 8h10',
  impact: 'M9 1.500 3.5 9H8l-1 5.500L12.5 7H8z',
  help: 'M5.8 6a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .800-1 1.700M8 12.300h.01',
} as const;

export type IconName = keyof typeof ICONS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="glyph icon" viewBox="0 0 16 16" aria-hidden="true">
      <path
        d={ICONS[name]}
        fill="none"
        stroke="currentColor"
        strokeWidth={name === 'more' ? 2.2 : 1.4}
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}

/** The icon of a kind, where it has one of its own. */
export function iconOf(kind: string): IconName {
  const icons: Record<string, IconName> = {
    Server: 'server',
    Machine: 'machine',
    MachinePool: 'machine',
    Rack: 'rack',
    Site: 'site',
    Service: 'service',
    Instance: 'service',
    Workload: 'service',
    Run: 'run',
    Campaign: 'campaign',
    Permit: 'permit',
    Runbook: 'runbook',
    Schedule: 'calendar',
    Freeze: 'freeze',
  };
  return icons[kind] ?? 'list';
}
