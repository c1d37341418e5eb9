// What the colours and patterns of the map mean, with how many there are; and a value lit by itself.
import { useEffect, useRef } from 'react';
import { useDrawnTheme } from '../../lib/theme';
import { fieldName, number } from '../../lib/text';
import type { Look } from './cells';
import { drawSome, patternOf, pixel, type Scene } from './raster';

const MOST = 40;

export function Legend({
  by,
  looks,
  counts,
  lit,
  onLight,
}: {
  by: string;
  looks: Look[];
  counts: number[];
  lit: string | undefined;
  onLight: (value: string) => void;
}) {
  const order = looks.map((_, at) => at).filter((at) => (counts[at] ?? 0) > 0);
  order.sort((a, b) => (counts[b] ?? 0) - (counts[a] ?? 0));
  return (
    <aside className="legend" aria-label="Legend">
      <h2>{fieldName(by)}</h2>
      <ul>
        {order.slice(0, MOST).map((at) => {
          const look = looks[at];
          if (!look) return null;
          return (
            <li key={look.value}>
              <button
                type="button"
                className="legend-value"
                aria-pressed={lit === look.value}
                onClick={() => onLight(look.value)}
              >
                <Swatch look={look} />
                <span className="cut grow">{look.value === '' ? <i>none</i> : look.value}</span>
                <span className="faint count">{number(counts[at] ?? 0)}</span>
              </button>
            </li>
          );
        })}
      </ul>
      {order.length > MOST && <p className="faint small">and {order.length - MOST} more values</p>}
      <p className="faint small legend-help">
        Wheel to zoom, drag to move. Choose, then draw around servers; or arrows, <kbd>x</kbd> and Enter.
      </p>
    </aside>
  );
}

const SWATCH = { width: 18, height: 12 };

/** Drawn by the same code as the cells. */
function Swatch({ look }: { look: Look }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const theme = useDrawnTheme();
  useEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!context) return;
    const styles = getComputedStyle(document.documentElement);
    const ground = pixel(styles.getPropertyValue('--surface'));
    const image = context.createImageData(SWATCH.width, SWATCH.height);
    const pixels = new Uint32Array(image.data.buffer);
    pixels.fill(ground);
    const scene: Scene = {
      values: new Uint8Array(1),
      flags: new Uint8Array(1),
      paint: {
        colours: new Uint32Array([pixel(styles.getPropertyValue(look.colour))]),
        patterns: new Uint8Array([patternOf(look.tone)]),
      },
      ground,
      chosen: ground,
    };
    const spot = (at: number) => new Int32Array([at]);
    const whole = { left: spot(0), top: spot(3), right: spot(SWATCH.width), bottom: spot(SWATCH.height - 3) };
    drawSome({ pixels, ...SWATCH }, whole, scene, [0]);
    context.putImageData(image, 0, 0);
  }, [look, theme]);
  return <canvas ref={canvas} {...SWATCH} aria-hidden="true" />;
}
