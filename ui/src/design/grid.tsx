// A grid of rows that may be a million: only what is seen is drawn. Knows nothing of what the rows are.
import { useCallback, useEffect, useLayoutEffect, useRef, useState, type ReactNode } from 'react';
import { fromBar, reach, reveal, scaled, tall, toBar, window_, type Extent } from '../lib/scroll';

export interface GridProps {
  label: string;
  count: number;
  row: number;
  /** `grid-template-columns` of the head and each row. */
  columns: string;
  head: ReactNode;
  active: number;
  onActive: (index: number) => void;
  /** Which rows are drawn, to fetch them. */
  onWindow: (first: number, last: number) => void;
  renderRow: (index: number) => ReactNode;
  rowProps?: (index: number) => { 'aria-selected'?: boolean; className?: string };
  onOpen?: (index: number) => void;
  empty?: ReactNode;
}

export function Grid(props: GridProps) {
  const { count, row, active, onActive, onWindow } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState(600);
  const [offset, setOffset] = useState(0);
  // Where the bar was put by this code: the event that follows says nothing new.
  const put = useRef(-1);
  const extent: Extent = { count, row, view };
  const latest = useRef(extent);
  useLayoutEffect(() => {
    latest.current = extent;
  });

  const moveTo = useCallback((to: number) => {
    const here = latest.current;
    const bounded = Math.max(0, Math.min(reach(here), to));
    setOffset(bounded);
    if (!box.current) return;
    put.current = Math.round(toBar(here, bounded));
    box.current.scrollTop = put.current;
  }, []);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setView(Math.max(row, element.clientHeight - row - 2)));
    observer.observe(element);
    return () => observer.disconnect();
  }, [row]);

  // A scaled bar would jump hundreds of rows with each notch of a wheel.
  const offsetNow = useRef(0);
  useEffect(() => {
    offsetNow.current = offset;
  });
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const wheel = (event: WheelEvent) => {
      if (!scaled(latest.current) || event.ctrlKey || event.deltaY === 0) return;
      event.preventDefault();
      moveTo(offsetNow.current + event.deltaY * (event.deltaMode === 1 ? latest.current.row : 1));
    };
    element.addEventListener('wheel', wheel, { passive: false });
    return () => element.removeEventListener('wheel', wheel);
  }, [moveTo]);

  const shownActive = useRef(active);
  useEffect(() => {
    if (shownActive.current === active) return;
    shownActive.current = active;
    const to = reveal(latest.current, offsetNow.current, active);
    if (to !== offsetNow.current) moveTo(to);
  }, [active, moveTo]);

  const { first, last } = window_(extent, offset);
  useEffect(() => {
    if (last >= first) onWindow(first, last);
  }, [first, last, onWindow]);

  const press = (event: React.KeyboardEvent) => {
    if (event.target !== event.currentTarget) return;
    const page = Math.max(1, Math.floor(view / row) - 1);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -count, End: count }[
      event.key
    ];
    if (step) onActive(Math.max(0, Math.min(count - 1, active + step)));
    else if (event.key === 'Enter' && active >= 0) props.onOpen?.(active);
    else return;
    event.preventDefault();
  };

  const rows: ReactNode[] = [];
  for (let index = first; index <= last; index += 1) {
    const extra = props.rowProps?.(index) ?? {};
    rows.push(
      <div
        key={index}
        id={`row-${index}`}
        role="row"
        aria-rowindex={index + 2}
        {...extra}
        className={`grid-row ${index === active ? 'active' : ''} ${extra.className ?? ''}`}
        style={{ gridTemplateColumns: props.columns, top: index * row - offset, height: row }}
        onClick={() => onActive(index)}
      >
        {props.renderRow(index)}
      </div>,
    );
  }
  if (count === 0) return props.empty;
  return (
    <div
      ref={box}
      className="grid-box"
      role="grid"
      aria-label={props.label}
      aria-rowcount={count + 1}
      aria-multiselectable="true"
      aria-activedescendant={active >= first && active <= last && count > 0 ? `row-${active}` : undefined}
      tabIndex={0}
      onKeyDown={press}
      onScroll={(event) => {
        const bar = event.currentTarget.scrollTop;
        if (Math.abs(bar - put.current) <= 1) return;
        put.current = -1;
        setOffset(fromBar(extent, bar));
      }}
    >
      <div role="rowgroup" className="grid-head">
        <div
          role="row"
          aria-rowindex={1}
          className="grid-row"
          style={{ gridTemplateColumns: props.columns, height: row + 2 }}
        >
          {props.head}
        </div>
      </div>
      <div role="rowgroup" className="grid-scrolled" style={{ height: tall(extent) }}>
        <div role="presentation" className="grid-window" style={{ top: row + 2, height: view }}>
          {rows}
        </div>
      </div>
    </div>
  );
}
