// A table of any kind: filters, order and columns in the URL, rows from the plane as they are scrolled to.
import { useNavigate, useParams, useSearch } from '@tanstack/react-router';
import { useCallback, useMemo, useState } from 'react';
import { useKinds, type KindInfo } from '../../api/kinds';
import { Button, Command, Empty, ErrorNotice, Loading } from '../../design/parts';
import { Grid } from '../../design/grid';
import { Icon } from '../../design/glyphs';
import { Popover } from '../../design/menu';
import { useKeys } from '../../lib/keys';
import { number, plural as counted } from '../../lib/text';
import { titleOf } from '../../shell/Nav';
import { useOpen } from '../../shell/links';
import { BulkBar } from '../bulk/BulkBar';
import { columnsOf, HeadCell, RowCell, type Column } from './columns';
import { Facets } from './Facets';
import { facetFields, kubectlOf, resorted, toggled, variables, type InventorySearch } from './search';
import { useRows, type Row } from './useRows';

const ROW = 28;

export function Inventory() {
  const { plural } = useParams({ from: '/inventory/$plural' });
  const info = useKinds().plural(plural);
  if (!info) {
    return (
      <div className="screen">
        <Empty
          page
          title={`The plane has no kind called ${plural}, or you may not see it.`}
          command="kubectl api-resources"
        />
      </div>
    );
  }
  return <Table key={plural} info={info} />;
}

function Table({ info }: { info: KindInfo }) {
  const search = useSearch({ from: '/inventory/$plural' });
  const navigate = useNavigate({ from: '/inventory/$plural' });
  const ns = info.namespaced ? search.ns : undefined;
  const change = useCallback(
    (next: InventorySearch, replace = false) =>
      void navigate({ search: { ...next, ...(search.ns ? { ns: search.ns } : {}) }, replace }),
    [navigate, search.ns],
  );
  const [labels, setLabels] = useState<string[]>([]);
  const [hovered, setHovered] = useState(false);
  const facets = useMemo(() => facetFields(info.fields, labels), [info.fields, labels]);
  const rows = useRows(
    variables(info.kind, ns, search),
    facets,
    { kind: info.kind, namespace: ns ?? null },
    !hovered,
  );
  useLabelNames(rows.at(0), labels, setLabels);
  const columns = columnsOf(info, search.cols);
  const [active, setActive] = useState(0);
  const [selected, setSelected] = useState<ReadonlyMap<string, Row>>(new Map());
  const open = useOpen();
  const openRow = (index: number) => {
    const row = rows.at(index);
    if (row) open(row);
  };
  const toggle = (row: Row | undefined) => {
    if (!row) return;
    const next = new Map(selected);
    if (!next.delete(row.uid)) next.set(row.uid, row);
    setSelected(next);
  };
  const move = (by: number) => setActive((old) => Math.max(0, Math.min(rows.total - 1, old + by)));
  useKeys([
    { keys: 'j', does: 'Next row', act: () => move(1) },
    { keys: 'k', does: 'Row before', act: () => move(-1) },
    { keys: 'x', does: 'Choose the row', act: () => toggle(rows.at(active)) },
    {
      keys: 'b',
      does: 'Go to what can be done with the chosen rows',
      act: () => document.querySelector<HTMLElement>('.bulk-bar button')?.focus(),
    },
    { keys: 'Enter', does: 'Open the row', act: () => openRow(active) },
    { keys: 'f', does: 'Filter by text', act: () => document.getElementById('filter-text')?.focus() },
  ]);
  const filtered = Boolean(search.text) || Object.keys(search.f ?? {}).length > 0;
  return (
    <div className="inventory">
      <header className="screen-head">
        <h1>
          {titleOf(info)} <span className="faint count">{rows.loading ? '' : number(rows.total)}</span>
        </h1>
        <FilterText key={search.text ?? ''} search={search} onChange={change} />
        {filtered && (
          <Button look="plain" icon="close" onClick={() => change(search.cols ? { cols: search.cols } : {})}>
            Clear filters
          </Button>
        )}
        <span className="grow" />
        {rows.pending > 0 && (
          <Button onClick={rows.thaw}>
            <span role="status">{counted(rows.pending, 'row')} changed places</span> · show
          </Button>
        )}
        <ColumnChoice info={info} shown={columns} onChange={(cols) => change({ ...search, cols })} />
        <Popover
          label="The same in a shell"
          trigger={<Button look="plain" size="square" icon="copy" aria-label="The same in a shell" />}
        >
          <Command line={kubectlOf(info.plural, ns, info.namespaced, search)} />
        </Popover>
        {info.verbs.includes('create') && (
          <Button
            look="primary"
            onClick={() => void navigate({ to: '/new/$plural', params: { plural: info.plural } } as never)}
          >
            New {info.singular}
          </Button>
        )}
      </header>
      <div className="inventory-body">
        <Facets
          facets={rows.facets}
          chosen={search.f ?? {}}
          kind={info.kind}
          onToggle={(field, value) => change(toggled(search, field, value))}
        />
        <div
          className="inventory-rows"
          onMouseEnter={() => setHovered(true)}
          onMouseLeave={() => setHovered(false)}
        >
          {rows.error && <ErrorNotice error={rows.error} onRetry={rows.retry} />}
          {rows.loading ? (
            <div className="pad">
              <Loading lines={9} label={`Looking for ${info.plural}`} />
            </div>
          ) : (
            <Grid
              label={titleOf(info)}
              count={rows.total}
              row={ROW}
              columns={`34px ${columns.map((column) => column.width).join(' ')}`}
              active={active}
              onActive={setActive}
              onWindow={rows.onWindow}
              onOpen={openRow}
              rowProps={(index) => ({ 'aria-selected': selected.has(rows.at(index)?.uid ?? '') })}
              head={
                <>
                  <span role="columnheader">
                    <span className="unseen">Chosen</span>
                  </span>
                  {columns.map((column) => (
                    <HeadCell
                      key={column.name}
                      column={column}
                      sort={search.sort}
                      onSort={(field) => {
                        const { sort: _, ...rest } = search;
                        const sort = resorted(search.sort, field);
                        change(sort ? { ...rest, sort } : rest);
                      }}
                    />
                  ))}
                </>
              }
              renderRow={(index) => {
                const row = rows.at(index);
                if (!row) return <span role="gridcell" className="skeleton" />;
                return (
                  <>
                    <span role="gridcell" className="check">
                      <input
                        type="checkbox"
                        tabIndex={-1}
                        aria-label={`Choose ${row.name}`}
                        checked={selected.has(row.uid)}
                        onChange={() => toggle(row)}
                      />
                    </span>
                    {columns.map((column) => (
                      <RowCell key={column.name} column={column} row={row} />
                    ))}
                  </>
                );
              }}
              empty={<Nothing info={info} ns={ns} filtered={filtered} />}
            />
          )}
        </div>
      </div>
      {selected.size > 0 && (
        <BulkBar
          info={info}
          rows={[...selected.values()]}
          total={rows.total}
          search={variables(info.kind, ns, search)}
          onAll={(all) => setSelected(new Map(all.map((row) => [row.uid, row])))}
          onClear={() => setSelected(new Map())}
        />
      )}
    </div>
  );
}

/** Labels of what is found become facets: those of the first row, kept once seen. */
function useLabelNames(row: Row | undefined, known: string[], keep: (names: string[]) => void) {
  const names = row?.labels.map((label) => label.name) ?? [];
  const fresh = names.filter((name) => !known.includes(name) && !name.includes('campaign-target'));
  if (fresh.length > 0 && known.length < 6) keep([...known, ...fresh].slice(0, 6));
}

function FilterText({
  search,
  onChange,
}: {
  search: InventorySearch;
  onChange: (next: InventorySearch, replace?: boolean) => void;
}) {
  const [text, setText] = useState(search.text ?? '');
  return (
    <form
      className="filter-text"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        const { text: _, ...rest } = search;
        onChange(text.trim() ? { ...rest, text: text.trim() } : rest);
      }}
    >
      <Icon name="filter" />
      <input
        id="filter-text"
        className="input"
        aria-label="Name, serial or label has"
        placeholder="Name, serial or label, then Enter"
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === 'Escape') event.currentTarget.blur();
        }}
      />
    </form>
  );
}

function ColumnChoice({
  info,
  shown,
  onChange,
}: {
  info: KindInfo;
  shown: Column[];
  onChange: (cols: string[]) => void;
}) {
  const names = shown.map((column) => column.name);
  return (
    <Popover
      label="Columns"
      trigger={<Button look="plain" size="square" icon="columns" aria-label="Columns" />}
    >
      <h3>Columns</h3>
      <div className="stack choice-list">
        {info.columns.map((column) => (
          <label key={column.name} className="facet-value" title={column.description}>
            <input
              type="checkbox"
              checked={names.includes(column.name)}
              onChange={() =>
                onChange(
                  names.includes(column.name)
                    ? names.filter((name) => name !== column.name)
                    : info.columns
                        .map((each) => each.name)
                        .filter((name) => names.includes(name) || name === column.name),
                )
              }
            />
            {column.name}
          </label>
        ))}
      </div>
    </Popover>
  );
}

function Nothing({ info, ns, filtered }: { info: KindInfo; ns: string | undefined; filtered: boolean }) {
  if (filtered) {
    return (
      <Empty title={`No ${info.plural} match.`}>
        Take a filter away, or look for a part of a name, a serial or a label.
      </Empty>
    );
  }
  const where = info.namespaced ? (ns ? ` in ${ns}` : '') : '';
  return (
    <Empty
      title={`There are no ${info.plural}${where} yet.`}
      command={`kubectl explain ${info.singular}.spec`}
    >
      {info.description} Make one with New, or from a file; this tells its fields:
    </Empty>
  );
}
