// The map itself: draws cells into a canvas, and turns pointer, wheel and keys into looking around and choosing.
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { useDrawnTheme } from '../../lib/theme';
import { useOpen } from '../../shell/links';
import type { Cells, Look } from './cells';
import { CELL, cellAt, layout, step, within, type Drawing, type Labelled } from './layout';
import { CHOSEN, DIM, drawAll, drawSome, patternOf, pixel, spots, type Scene, type View } from './raster';

interface Props {
  cells: Cells;
  looks: Look[];
  lit: string | undefined;
  chosen: ReadonlySet<string>;
  choosing: boolean;
  onChoose: (names: ReadonlySet<string>) => void;
}

interface Point {
  x: number;
  y: number;
}

const MARGIN = 24;
const CLOSEST = 6;
/** Further than this, in pixels, a press is a drag. */
const SLACK = 4;

const fit = (drawing: Drawing, width: number, height: number): View => {
  const scale = Math.min((width - 2 * MARGIN) / drawing.width, (height - 2 * MARGIN) / drawing.height, 2.5);
  return { scale, x: (width - drawing.width * scale) / 2, y: MARGIN };
};

export function MapCanvas({ cells, looks, lit, chosen, choosing, onChoose }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  const [view, setView] = useState<View>();
  const [lasso, setLasso] = useState<Point[]>();
  const [hover, setHover] = useState<{ cell: number; at: Point }>();
  const [focus, setFocus] = useState(-1);
  const theme = useDrawnTheme();
  const open = useOpen();
  const aspect = size.width > 0 ? size.width / Math.max(1, size.height) : 1.6;
  const wide = Math.round(aspect * 4) / 4;
  // Values change all the time, places seldom: the layout is made anew only for other racks.
  const { runs } = cells;
  const drawing = useMemo(
    () =>
      layout(
        runs,
        runs.reduce((sum, run) => sum + run.count, 0),
        wide,
      ),
    [runs, wide],
  );

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() =>
      setSize({ width: element.clientWidth, height: element.clientHeight }),
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (size.width > 0) setView(fit(drawing, size.width, size.height));
  }, [drawing, size.width, size.height]);

  const paint = useMemo(() => {
    const styles = getComputedStyle(document.documentElement);
    const variable = (name: string) => pixel(styles.getPropertyValue(name));
    return {
      ground: variable('--canvas'),
      chosen: variable('--ink'),
      paint: {
        colours: new Uint32Array(looks.map((look) => variable(look.colour))),
        patterns: new Uint8Array(looks.map((look) => patternOf(look.tone))),
      },
    };
    // The variables are those of the theme.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [looks, theme]);

  const flags = useMemo(() => {
    const all = new Uint8Array(cells.names.length);
    const only = lit === undefined ? -1 : cells.dictionary.indexOf(lit);
    cells.names.forEach((name, at) => {
      all[at] = (chosen.has(name) ? CHOSEN : 0) | (only >= 0 && cells.values[at] !== only ? DIM : 0);
    });
    return all;
  }, [cells, lit, chosen]);

  const ratio = window.devicePixelRatio || 1;
  const at = useMemo(
    () => view && spots(drawing, { scale: view.scale * ratio, x: view.x * ratio, y: view.y * ratio }),
    [drawing, view, ratio],
  );
  const image = useRef<ImageData>(undefined);
  const drawn = useRef<{ at: unknown; paint: unknown; values: Uint8Array; flags: Uint8Array }>(undefined);
  useLayoutEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!context || !at || size.width === 0) return;
    const start = performance.now();
    const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
    const fresh = image.current?.width !== width || image.current.height !== height;
    const target = fresh ? context.createImageData(width, height) : image.current;
    if (!target) return;
    image.current = target;
    const screen = { pixels: new Uint32Array(target.data.buffer), width, height };
    const scene: Scene = { values: cells.values, flags, ...paint };
    const last = drawn.current;
    const still = !fresh && last?.at === at && last.values.length === cells.values.length;
    if (still) {
      const changed = new Uint32Array(cells.values.length);
      let count = 0;
      const all = last.paint !== paint;
      for (let cell = 0; cell < changed.length; cell += 1) {
        if (all || cells.values[cell] !== last.values[cell] || flags[cell] !== last.flags[cell])
          changed[count++] = cell;
      }
      drawSome(screen, at, scene, changed, count);
    } else {
      drawAll(screen, at, scene);
    }
    context.putImageData(target, 0, 0);
    drawn.current = { at, paint, values: cells.values, flags };
    performance.measure(still ? 'fleetmap.recolour' : 'fleetmap.draw', { start, end: performance.now() });
  }, [cells, flags, paint, at, size, ratio]);

  const toDrawing = useCallback(
    (point: Point): Point =>
      view ? { x: (point.x - view.x) / view.scale, y: (point.y - view.y) / view.scale } : point,
    [view],
  );
  const zoom = useCallback((by: number, at: Point) => {
    setView((old) => {
      if (!old) return old;
      const scale = Math.max(0.05, Math.min(CLOSEST, old.scale * by));
      const part = scale / old.scale;
      return { scale, x: at.x - (at.x - old.x) * part, y: at.y - (at.y - old.y) * part };
    });
  }, []);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      const bounds = element.getBoundingClientRect();
      zoom(Math.exp(-event.deltaY * 0.0016), {
        x: event.clientX - bounds.left,
        y: event.clientY - bounds.top,
      });
    };
    element.addEventListener('wheel', wheel, { passive: false });
    return () => element.removeEventListener('wheel', wheel);
  }, [zoom]);

  const drag = useRef<{ from: Point; view: View; moved: boolean }>(undefined);
  const place = (event: React.PointerEvent): Point => {
    const bounds = event.currentTarget.getBoundingClientRect();
    return { x: event.clientX - bounds.left, y: event.clientY - bounds.top };
  };
  const choose = (found: number[], more: boolean) => {
    const names = new Set(more ? chosen : []);
    for (const cell of found) names.add(cells.names[cell] ?? '');
    onChoose(names);
  };
  const toggle = (cell: number) => {
    const name = cells.names[cell];
    if (!name) return;
    const names = new Set(chosen);
    if (!names.delete(name)) names.add(name);
    onChoose(names);
  };
  const down = (event: React.PointerEvent) => {
    if (event.button !== 0 || !view) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    drag.current = { from: place(event), view, moved: false };
    if (choosing || event.shiftKey) setLasso([place(event)]);
  };
  const move = (event: React.PointerEvent) => {
    const at = place(event);
    const held = drag.current;
    if (held) {
      held.moved ||= Math.hypot(at.x - held.from.x, at.y - held.from.y) > SLACK;
      if (lasso) setLasso([...lasso, at]);
      else if (held.moved)
        setView({ ...held.view, x: held.view.x + at.x - held.from.x, y: held.view.y + at.y - held.from.y });
      setHover(undefined);
      return;
    }
    const point = toDrawing(at);
    const cell = cellAt(drawing, point.x, point.y);
    setHover(cell < 0 ? undefined : { cell, at });
  };
  const up = (event: React.PointerEvent) => {
    const held = drag.current;
    drag.current = undefined;
    const point = toDrawing(place(event));
    if (lasso) {
      if (held?.moved) choose(within(drawing, lasso.map(toDrawing)), event.shiftKey && choosing);
      else toggle(cellAt(drawing, point.x, point.y));
      setLasso(undefined);
    } else if (held && !held.moved) {
      const cell = cellAt(drawing, point.x, point.y);
      if (cell >= 0) open({ kind: 'Server', name: cells.names[cell] ?? '' });
    }
  };
  const press = (event: React.KeyboardEvent) => {
    const at = Math.max(0, focus);
    if (event.key.startsWith('Arrow')) setFocus(focus < 0 ? 0 : step(drawing, focus, event.key));
    else if (event.key === 'Enter') open({ kind: 'Server', name: cells.names[at] ?? '' });
    else if (event.key === 'x') toggle(at);
    else if (event.key === '+' || event.key === '=') zoom(1.3, { x: size.width / 2, y: size.height / 2 });
    else if (event.key === '-') zoom(1 / 1.3, { x: size.width / 2, y: size.height / 2 });
    else if (event.key === '0') setView(fit(drawing, size.width, size.height));
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const saying = (cell: number) =>
    `${cells.names[cell] ?? ''}: ${looks[cells.values[cell] ?? 0]?.value || 'none'}${chosen.has(cells.names[cell] ?? '') ? ', chosen' : ''}`;
  return (
    <div
      ref={box}
      className={choosing ? 'map-canvas choosing' : 'map-canvas'}
      role="application"
      tabIndex={0}
      aria-label="Fleet map: arrows move between servers, x chooses, Enter opens, plus and minus zoom. The table says the same."
      aria-describedby="map-said"
      onKeyDown={press}
      onPointerDown={down}
      onPointerMove={move}
      onPointerUp={up}
      onPointerLeave={() => setHover(undefined)}
    >
      <canvas
        ref={canvas}
        width={Math.round(size.width * ratio)}
        height={Math.round(size.height * ratio)}
        aria-hidden="true"
      />
      {view && <Labels drawing={drawing} view={view} />}
      {view && focus >= 0 && <Ring drawing={drawing} view={view} cell={focus} />}
      {lasso && (
        <svg className="lasso" aria-hidden="true">
          <polygon points={lasso.map((point) => `${point.x},${point.y}`).join(' ')} />
        </svg>
      )}
      {hover && (
        <div className="map-tip" style={{ left: hover.at.x + 14, top: hover.at.y + 14 }}>
          {saying(hover.cell)}
        </div>
      )}
      <p id="map-said" className="unseen" role="status">
        {focus >= 0 ? saying(focus) : ''}
      </p>
      {focus >= 0 && (
        <div className="map-focus" aria-hidden="true">
          {saying(focus)}
        </div>
      )}
    </div>
  );
}

function Ring({ drawing, view, cell }: { drawing: Drawing; view: View; cell: number }) {
  const style = {
    left: (drawing.x[cell] ?? 0) * view.scale + view.x - 3,
    top: (drawing.y[cell] ?? 0) * view.scale + view.y - 3,
    width: CELL.width * view.scale + 6,
    height: CELL.height * view.scale + 6,
  };
  return <div className="map-ring" style={style} aria-hidden="true" />;
}

/** Names of places, as far as there is room for them. */
function Labels({ drawing, view }: { drawing: Drawing; view: View }) {
  const label = (each: Labelled, className: string, lift: number) => (
    <span
      key={`${className}${each.x},${each.y}`}
      className={`map-label ${className}`}
      style={{
        left: each.x * view.scale + view.x,
        top: each.y * view.scale + view.y - lift,
        maxWidth: Math.max(40, each.width * view.scale),
      }}
    >
      {each.label}
    </span>
  );
  return (
    <div className="map-labels" aria-hidden="true">
      {drawing.sites.map((site) => label(site, 'site', 4))}
      {view.scale > 0.7 && drawing.halls.map((hall) => label(hall, 'hall', 2))}
      {view.scale > 2.4 &&
        drawing.racks.map((rack) => label({ ...rack, label: rack.rack.slice(-2) }, 'rack', 15))}
    </div>
  );
}
