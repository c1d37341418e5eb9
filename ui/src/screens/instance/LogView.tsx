// Lines of a log in a scrolled box, of which only what is seen is drawn. It stays at the end while one is there, and
// stands still when one has scrolled up. Knows nothing of where the lines come from.
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';
import { tall, window_, type Extent } from '../../lib/scroll';
import { parts, type Line } from './lines';

/** Pixels of a line; the style sheet has the same. */
const ROW = 18;

export function LogView({
  label,
  lines,
  dropped,
  times,
  find,
  current,
  end,
  onHeld,
}: {
  label: string;
  lines: readonly Line[];
  /** Lines before these that are no longer kept. */
  dropped: number;
  times: boolean;
  find: string;
  /** The line that is to be seen, counted with those that are no longer kept. */
  current: number | undefined;
  /** Each time this is another number, it goes to the end. */
  end: number;
  /** Whether it stands still, away from the end. */
  onHeld: (held: boolean) => void;
}) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState(400);
  const [offset, setOffset] = useState(0);
  const atEnd = useRef(true);
  const before = useRef(dropped);
  const extent: Extent = { count: lines.length, row: ROW, view };

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setView(Math.max(ROW, element.clientHeight)));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  // What is read stays where it is while older lines go.
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const gone = dropped - before.current;
    before.current = dropped;
    if (atEnd.current) element.scrollTop = element.scrollHeight;
    else if (gone > 0) element.scrollTop = Math.max(0, element.scrollTop - gone * ROW);
  }, [lines, dropped, view]);

  const told = useRef(onHeld);
  useEffect(() => {
    told.current = onHeld;
  });
  const hold = useCallback((element: HTMLElement) => {
    const isAtEnd = element.scrollHeight - element.clientHeight - element.scrollTop <= ROW;
    setOffset(element.scrollTop);
    if (isAtEnd === atEnd.current) return;
    atEnd.current = isAtEnd;
    told.current(!isAtEnd);
  }, []);

  useLayoutEffect(() => {
    const element = box.current;
    if (element) element.scrollTop = element.scrollHeight;
  }, [end]);

  useEffect(() => {
    const element = box.current;
    if (!element || current === undefined) return;
    const top = (current - before.current) * ROW;
    if (top < element.scrollTop || top + ROW > element.scrollTop + element.clientHeight) {
      element.scrollTop = Math.max(0, top - element.clientHeight / 2);
      hold(element);
    }
  }, [current, hold]);

  const { first, last } = window_(extent, offset, 20);
  const rows = [];
  for (let at = first; at <= last; at += 1) {
    const line = lines[at];
    if (!line) continue;
    rows.push(
      <div
        key={dropped + at}
        className={dropped + at === current ? 'log-line here' : 'log-line'}
        style={{ top: at * ROW }}
      >
        {times && <span className="faint">{line.at} </span>}
        {parts(line.text, find).map((part, index) =>
          part.hit ? <mark key={index}>{part.text}</mark> : <span key={index}>{part.text}</span>,
        )}
      </div>,
    );
  }
  return (
    <div
      ref={box}
      className="log-box"
      role="log"
      // Whoever hears a page would hear nothing else.
      aria-live="off"
      aria-label={label}
      tabIndex={0}
      onScroll={(event) => hold(event.currentTarget)}
    >
      <div className="log-lines" style={{ height: tall(extent) }}>
        {rows}
      </div>
    </div>
  );
}
