// What is chosen in a table, and what can be done with all of it at once.
import { useState } from 'react';
import { useMutation } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import type { KindInfo } from '../../api/kinds';
import { Menu, MenuHeading, MenuItem } from '../../design/menu';
import { Button } from '../../design/parts';
import { tell } from '../../design/toasts';
import { number } from '../../lib/text';
import { filtersOf, type Variables } from '../inventory/search';
import type { Row } from '../inventory/useRows';
import { canGo, TARGETS_MAX, textOf } from '../impact/targets';
import { useRunbooks } from '../object/Actions';
import { BulkDialog, type Deed } from './BulkDialog';
import { MOST, resolve } from './resolve';

export function BulkBar({
  info,
  rows,
  total,
  search,
  onAll,
  onClear,
}: {
  info: KindInfo;
  rows: Row[];
  total: number;
  search?: Variables;
  onAll?: (rows: Row[]) => void;
  onClear: () => void;
}) {
  const [deed, setDeed] = useState<Deed>();
  const runbooks = useRunbooks(info.kind);
  const navigate = useNavigate();
  const all = useMutation({
    mutationFn: () => (search ? resolve(search) : Promise.resolve(rows)),
    onSuccess: (found) => {
      onAll?.(found);
      if (found.length < total)
        tell('wait', `The first ${number(found.length)} are chosen; a campaign does more.`);
    },
    onError: (error) => tell('fail', error.message),
  });
  const selector = (search?.filters as ReturnType<typeof filtersOf> | undefined)
    ?.filter((filter) => filter.field.startsWith('metadata.labels.') && filter.values?.length === 1)
    .map((filter) => `${filter.field.slice('metadata.labels.'.length)}=${filter.values?.[0] ?? ''}`)
    .join(',');
  return (
    <div className="bulk-bar" role="region" aria-label="Chosen">
      <strong role="status">{number(rows.length)} chosen</strong>
      {onAll && rows.length < total && (
        <Button look="plain" barred={all.isPending && 'They are being found.'} onClick={() => all.mutate()}>
          Choose all {number(Math.min(total, MOST))}
        </Button>
      )}
      <Button look="plain" onClick={onClear}>
        None
      </Button>
      <span className="grow" />
      {runbooks.length > 0 && (
        <Menu trigger={<Button icon="run">Run on them</Button>}>
          <MenuHeading>Runbook</MenuHeading>
          {runbooks.map((runbook) => (
            <MenuItem key={runbook.name} onSelect={() => setDeed({ does: 'run', runbook: runbook.name })}>
              <span>
                {runbook.name}
                <span className="faint small block">{runbook.summary}</span>
              </span>
            </MenuItem>
          ))}
        </Menu>
      )}
      {runbooks.length > 0 && selector && (
        <Button
          onClick={() =>
            void navigate({
              to: '/new/$plural',
              params: { plural: 'campaigns' },
              search: { selector, kind: info.kind },
            })
          }
        >
          Plan a campaign
        </Button>
      )}
      {canGo(info.kind) && (
        <Button
          barred={
            rows.length > TARGETS_MAX && `The plane is asked about ${TARGETS_MAX} at once, at the most.`
          }
          onClick={() =>
            void navigate({
              to: '/impact',
              search: { on: rows.map((row) => textOf({ ...row, kind: info.kind })) },
            })
          }
        >
          What breaks
        </Button>
      )}
      <Button onClick={() => setDeed({ does: 'label' })}>Label</Button>
      <Button look="danger" onClick={() => setDeed({ does: 'delete' })}>
        Delete
      </Button>
      {deed && (
        <BulkDialog info={info} rows={rows} deed={deed} onClose={() => setDeed(undefined)} onDone={onClear} />
      )}
    </div>
  );
}
