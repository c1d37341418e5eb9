// Where the bars of a run's steps lie on a common axis of time. Pure.

export interface Timed {
  startTime?: string | null;
  endTime?: string | null;
}

export interface Axis {
  from: number;
  to: number;
  /** Where to write times: fractions of the axis, with what is written. */
  ticks: { at: number; label: string }[];
}

const STEPS_S = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400, 604_800,
];

function label(seconds: number): string {
  if (seconds === 0) return '0';
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600)
    return seconds % 60 === 0 ? `${seconds / 60}m` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  if (hours < 48) return minutes === 0 ? `${hours}h` : `${hours}h${minutes}m`;
  return `${Math.floor(hours / 24)}d`;
}

/** From the first start to the last end, or to now while anything is in work. */
export function axis(steps: Timed[], now: number, ended: boolean, most = 7): Axis | null {
  const starts = steps.map((step) => Date.parse(step.startTime ?? '')).filter((time) => !Number.isNaN(time));
  if (starts.length === 0) return null;
  const ends = steps.map((step) => Date.parse(step.endTime ?? '')).filter((time) => !Number.isNaN(time));
  const from = Math.min(...starts);
  const last = Math.max(...starts, ...ends);
  const to = Math.max(ended ? last : Math.max(now, last), from + 1000);
  const seconds = (to - from) / 1000;
  const step = STEPS_S.find((each) => seconds / each <= most) ?? Math.ceil(seconds / most);
  const ticks = [];
  for (let second = 0; second <= seconds * 0.96; second += step) {
    ticks.push({ at: second / seconds, label: label(second) });
  }
  return { from, to, ticks };
}

/** A bar's left edge and width, as fractions. One that has not ended goes on to the end of the axis. */
export function bar(step: Timed, on: Axis): { left: number; width: number } | null {
  const start = Date.parse(step.startTime ?? '');
  if (Number.isNaN(start)) return null;
  const end = Date.parse(step.endTime ?? '');
  const whole = on.to - on.from;
  const left = Math.max(0, Math.min(1, (start - on.from) / whole));
  const right = Number.isNaN(end) ? 1 : Math.max(left, Math.min(1, (end - on.from) / whole));
  return { left, width: right - left };
}
