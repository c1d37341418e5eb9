// Columns of a table: those that the kind prints, and how each of their values looks.
import type { KindInfo } from '../../api/kinds';
import { Status } from '../../design/glyphs';
import { Lasting, When } from '../../design/parts';
import { shown } from '../../lib/text';
import { ObjectLink } from '../../shell/links';
import type { Row } from './useRows';

export interface Column {
  name: string;
  type: string;
  /** The field it can be sorted by. */
  field: string | undefined;
  width: string;
  look: 'name' | 'namespace' | 'phase' | 'truth' | 'time' | 'number' | 'text' | 'age';
}

const TRUTHS = new Set(['Ready', 'Power']);

function look(column: KindInfo['columns'][number]): Column['look'] {
  if (column.name === 'Age') return 'age';
  if (column.name === 'Name') return 'name';
  if (TRUTHS.has(column.name) && column.type === 'string') return 'truth';
  if (column.name === 'Phase') return 'phase';
  if (column.type === 'date') return 'time';
  return column.type === 'integer' || column.type === 'number' ? 'number' : 'text';
}

const WIDTHS: Record<Column['look'], string> = {
  name: 'minmax(160px, 1.6fr)',
  namespace: 'minmax(90px, 0.7fr)',
  phase: 'minmax(112px, 0.6fr)',
  truth: '72px',
  time: 'minmax(84px, 0.6fr)',
  age: '64px',
  number: 'minmax(70px, 0.4fr)',
  text: 'minmax(96px, 1fr)',
};

const field = (path: string) => path.replace(/^\./, '');

export function columnsOf(info: KindInfo, chosen: string[] | undefined): Column[] {
  const own = info.columns
    .filter((column) => (chosen ? chosen.includes(column.name) : !column.wide) && column.name !== 'Name')
    .map((column): Column => {
      const kind = look(column);
      const path = field(column.path);
      const sortable = info.fields.includes(path);
      return {
        name: column.name,
        type: column.type,
        field: sortable ? path : undefined,
        look: kind,
        width: WIDTHS[kind],
      };
    });
  const name: Column = {
    name: 'Name',
    type: 'string',
    field: 'metadata.name',
    look: 'name',
    width: WIDTHS.name,
  };
  const namespace: Column = {
    ...name,
    name: 'Namespace',
    field: 'metadata.namespace',
    look: 'namespace',
    width: WIDTHS.namespace,
  };
  return info.namespaced ? [name, namespace, ...own] : [name, ...own];
}

export function HeadCell({
  column,
  sort,
  onSort,
}: {
  column: Column;
  sort: string | undefined;
  onSort: (field: string) => void;
}) {
  const field = column.field;
  const direction =
    field && sort === field ? 'ascending' : field && sort === `-${field}` ? 'descending' : 'none';
  const className = column.look === 'number' ? 'number cut' : 'cut';
  if (!field) {
    return (
      <span role="columnheader" className={className}>
        {column.name}
      </span>
    );
  }
  return (
    <span role="columnheader" aria-sort={direction} className={className}>
      <button type="button" className="sort" onClick={() => onSort(field)}>
        {column.name}
        <span aria-hidden="true">
          {direction === 'ascending' ? ' ↑' : direction === 'descending' ? ' ↓' : ''}
        </span>
      </button>
    </span>
  );
}

export function RowCell({ column, row }: { column: Column; row: Row }) {
  const value = row.columns.find((cell) => cell.name === column.name)?.value;
  return (
    <span role="gridcell" className={column.look === 'number' ? 'number cut' : 'cut'}>
      <Value column={column} row={row} value={value} />
    </span>
  );
}

function Value({ column, row, value }: { column: Column; row: Row; value: unknown }) {
  const text = shown(value);
  switch (column.look) {
    case 'name':
      return (
        <>
          <ObjectLink target={row} />
          {row.deleting && <span className="faint"> being deleted</span>}
        </>
      );
    case 'namespace':
      return <span className="muted">{row.namespace}</span>;
    case 'phase':
    case 'truth':
      return <Status phase={text} kind={row.kind} />;
    case 'age':
      return <Lasting from={row.created} />;
    case 'time':
      return <When time={text} />;
    default:
      return text === '' ? (
        <span className="faint">–</span>
      ) : (
        <span title={text.length > 24 ? text : undefined}>{text}</span>
      );
  }
}
