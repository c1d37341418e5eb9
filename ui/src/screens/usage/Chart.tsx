// One curve over time, and its limit where there is one. uPlot draws; nothing of it is decoration. Loaded when looked at.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { useEffect, useRef } from 'react';
import { useDrawnTheme } from '../../lib/theme';
import { clock } from '../../lib/time';

const HEIGHT = 132;
/** Values that are seen for what they are; fewer stand at a time on a narrow screen. */
const TICK_PX = 34;
/** So much is seen of time at least: a curve that has just begun does not fill the box. */
const SPAN_SECONDS_MIN = 180;

const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function Chart({
  label,
  times,
  values,
  limit,
  say,
  onPoint,
}: {
  label: string;
  /** Milliseconds since 1970. */
  times: number[];
  values: number[];
  limit?: number;
  say: (value: number) => string;
  /** Which value is pointed at. */
  onPoint: (at: number | undefined) => void;
}) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>(null);
  const drawn = useDrawnTheme();
  const told = useRef({ say, onPoint, limit });
  const data: uPlot.AlignedData = [times.map((each) => each / 1000), values];
  const latest = useRef(data);
  useEffect(() => {
    told.current = { say, onPoint, limit };
    latest.current = data;
    chart.current?.setData(data);
  });

  useEffect(() => {
    const host = place.current;
    // Where nothing can be drawn, the table says it.
    if (!host || !document.createElement('canvas').getContext('2d')) return;
    const axis = {
      stroke: colour('--ink-2'),
      font: `11px ${colour('--font')}`,
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
    };
    const made = new uPlot(
      {
        width: Math.max(120, host.clientWidth),
        height: HEIGHT,
        padding: [8, 8, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false } },
        scales: {
          x: { range: () => span(latest.current[0]) },
          // From nothing on, or small moves would look large. A limit far away would leave no curve to see.
          y: { range: (_, __, most) => [0, top(most, told.current.limit)] },
        },
        series: [
          {},
          {
            stroke: colour('--accent'),
            width: 1.5,
            points: { show: values.length < 2 },
          },
        ],
        axes: [
          { ...axis, space: 90, size: 30, values: (_, all) => all.map((each) => clock(each * 1000)) },
          {
            ...axis,
            space: TICK_PX,
            size: 64,
            values: (_, all) => all.map((each) => told.current.say(each)),
          },
        ],
        hooks: {
          setCursor: [(it) => told.current.onPoint(it.cursor.idx ?? undefined)],
          draw: [(it) => drawLimit(it, told.current.limit)],
        },
      },
      latest.current,
      host,
    );
    chart.current = made;
    const observer = new ResizeObserver(() =>
      made.setSize({ width: Math.max(120, host.clientWidth), height: HEIGHT }),
    );
    observer.observe(host);
    return () => {
      observer.disconnect();
      made.destroy();
      chart.current = null;
    };
    // A curve of one value has a point, which is no longer needed with the next.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [drawn, values.length < 2]);

  return <div ref={place} className="usage-chart" role="img" aria-label={label} />;
}

/** From when to when is seen; what uPlot makes of a single moment is a day. */
function span(times: ArrayLike<number>): [number, number] {
  const last = times[times.length - 1] ?? 0;
  return [Math.min(times[0] ?? 0, last - SPAN_SECONDS_MIN), last];
}

/** How high the box reaches: to the limit, where that is near enough. */
function top(most: number, limit: number | undefined): number {
  const room = (most || 0) * 1.2 || 1;
  return limit !== undefined && limit < most * 4 ? Math.max(room, limit * 1.05) : room;
}

function drawLimit(it: uPlot, limit: number | undefined): void {
  const most = it.scales['y']?.max;
  if (limit === undefined || typeof most !== 'number' || limit > most) return;
  const { ctx, bbox } = it;
  const y = Math.round(it.valToPos(limit, 'y', true)) + 0.5;
  ctx.save();
  ctx.strokeStyle = colour('--wait');
  ctx.lineWidth = Math.max(1, devicePixelRatio);
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}
