// Doing something to many: the resolved list, what would be lost, and above a limit their number typed by hand.
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { create, merge, remove } from '../../api/kube';
import { useKinds, type KindInfo } from '../../api/kinds';
import { Dialog } from '../../design/dialog';
import { Glyph, Status } from '../../design/glyphs';
import { Button, Command, ErrorNotice, Field, Notice, PartsBar } from '../../design/parts';
import { at, number, plural, shown } from '../../lib/text';
import { ObjectLink } from '../../shell/links';
import { labelsOf } from '../create/CampaignForm';
import type { Row } from '../inventory/useRows';
import { ParameterFields } from '../run/ParameterFields';
import { read, type Parameter, type Typed } from '../run/parameters';
import { NamespaceField, runOf, useRunbook, useRunNamespace } from '../run/StartRun';
import { blast, each } from './resolve';

export type Deed = { does: 'run'; runbook: string } | { does: 'label' } | { does: 'delete' };

/** As many may be done without typing how many they are. */
const TYPED_ABOVE = 10;
/** Writes at once: enough to be quick, few enough that others are not held up. */
const AT_ONCE = 6;

const TITLES = { run: 'Run on', label: 'Label', delete: 'Delete' } as const;

export function BulkDialog({
  info,
  rows,
  deed,
  onClose,
  onDone,
}: {
  info: KindInfo;
  rows: Row[];
  deed: Deed;
  onClose: () => void;
  onDone: () => void;
}) {
  const [typed, setTyped] = useState('');
  const [label, setLabel] = useState('');
  const [params, setParams] = useState<Typed>({});
  const [namespace, setNamespace] = useRunNamespace();
  const [outcome, setOutcome] = useState<{
    done: number;
    failed: { row: Row; error: unknown }[];
    over: boolean;
  }>();
  const runbook = useRunbook(deed.does === 'run' ? deed.runbook : '');
  const runs = useKinds().kind('Run');
  const parameters = (at(runbook.data, 'spec.parameters') as Parameter[] | undefined) ?? [];
  const given = read(parameters, params);
  const lost = useQuery({
    queryKey: ['blast', rows.map((row) => row.uid)],
    queryFn: () => blast(rows),
    enabled: deed.does !== 'label',
  });
  const labels = labelsOf(label);

  const act = async (row: Row): Promise<void> => {
    if (deed.does === 'delete') await remove(info, row);
    else if (deed.does === 'label') await merge(info, row, { metadata: { labels } });
    else if (runs) await create(runs, runOf(deed.runbook, row, row.namespace ?? namespace, given.params));
  };
  const go = async () => {
    const failed: { row: Row; error: unknown }[] = [];
    let done = 0;
    const tell = (over: boolean) => setOutcome({ done, failed: [...failed], over });
    tell(false);
    await each(rows, AT_ONCE, act, (row, error) => {
      if (error) failed.push({ row, error });
      else done += 1;
      tell(false);
    });
    tell(true);
  };
  const barred =
    (outcome && !outcome.over && 'It is being done.') ||
    (rows.length > TYPED_ABOVE && typed !== String(rows.length) && `Type ${rows.length} first.`) ||
    (deed.does === 'label' && !labels && 'Write a label as name=value.') ||
    (deed.does === 'run' &&
      Object.keys(given.wrong).length > 0 &&
      `${Object.keys(given.wrong)[0]} must be given.`);
  const verb = { run: 'Start', label: 'Label', delete: 'Delete' }[deed.does];
  const what = `${verb} ${deed.does === 'run' ? plural(rows.length, 'run') : plural(rows.length, info.singular, info.plural)}`;
  return (
    <Dialog
      wide
      title={`${TITLES[deed.does]} ${plural(rows.length, info.singular, info.plural)}${deed.does === 'run' ? `: ${deed.runbook}` : ''}`}
      onClose={onClose}
      footer={
        outcome?.over ? (
          <Button
            look="primary"
            onClick={() => {
              onClose();
              if (outcome.failed.length === 0) onDone();
            }}
          >
            Close
          </Button>
        ) : (
          <>
            <Button onClick={onClose}>Leave it</Button>
            <Button
              look={deed.does === 'delete' ? 'danger' : 'primary'}
              barred={barred}
              onClick={() => void go()}
            >
              {what}
            </Button>
          </>
        )
      }
    >
      {outcome ? (
        <Outcome outcome={outcome} total={rows.length} />
      ) : (
        <div className="bulk-columns">
          <div className="stack wide-gap">
            {deed.does === 'run' && (
              <>
                <p className="muted">{shown(at(runbook.data, 'spec.summary'))}</p>
                <ParameterFields parameters={parameters} typed={params} wrong={{}} onChange={setParams} />
                <NamespaceField value={namespace} fixed={info.namespaced} onChange={setNamespace} />
              </>
            )}
            {deed.does === 'label' && (
              <Field label="Labels" hint="Such as role=web,ring=2. A label that is there gets the new value.">
                {(ids) => (
                  <input
                    {...ids}
                    className="input mono"
                    autoFocus
                    value={label}
                    onChange={(event) => setLabel(event.target.value)}
                  />
                )}
              </Field>
            )}
            {lost.data && (
              <Notice tone={lost.data.instances > 0 ? 'wait' : 'ok'}>
                {lost.data.instances === 0
                  ? 'No instance of a service is on them.'
                  : `${plural(lost.data.instances, 'instance')} of ${plural(lost.data.services.length, 'service')} ${lost.data.instances === 1 ? 'is' : 'are'} on them: ${lost.data.services
                      .slice(0, 6)
                      .map(({ value, count }) => `${value} (${count})`)
                      .join(', ')}.`}{' '}
                <span className="aside">
                  Each disruptive step asks the ledger, and waits as long as a budget would not hold.
                </span>
              </Notice>
            )}
            {lost.isError && <ErrorNotice error={lost.error} />}
            {lost.data === null && deed.does === 'run' && (
              <Notice tone="idle">
                Each disruptive step asks the ledger, and waits as long as a budget would not hold.
              </Notice>
            )}
            {rows.length > TYPED_ABOVE && (
              <Field label={`Type ${rows.length} to go on`} hint="That many is not done by a slip.">
                {(ids) => (
                  <input
                    {...ids}
                    className="input"
                    inputMode="numeric"
                    value={typed}
                    onChange={(event) => setTyped(event.target.value)}
                  />
                )}
              </Field>
            )}
            <Command line={lineOf(info, deed, rows, label, namespace)} />
          </div>
          <section aria-label="All that are meant">
            <h2>All that are meant</h2>
            <ul className="resolved" tabIndex={0} aria-label="All that are meant">
              {rows.map((row) => (
                <li key={row.uid} className="row">
                  <Status phase={row.phase} kind={row.kind} />
                  <span className="cut">{row.namespace ? `${row.namespace}/${row.name}` : row.name}</span>
                </li>
              ))}
            </ul>
          </section>
        </div>
      )}
    </Dialog>
  );
}

/** One line for all, as a shell would do it. */
function lineOf(info: KindInfo, deed: Deed, rows: Row[], label: string, namespace: string): string {
  const names = rows.slice(0, 3).map((row) => row.name);
  const dots = rows.length > 3 ? ' …' : '';
  const own = rows[0]?.namespace ? ` -n ${rows[0].namespace}` : '';
  if (deed.does === 'delete') return `kubectl delete ${info.plural} ${names.join(' ')}${dots}${own}`;
  if (deed.does === 'label')
    return `kubectl label ${info.plural} ${names.join(' ')}${dots}${own} ${label.replaceAll(',', ' ')} --overwrite`;
  return `for name in ${names.join(' ')}${dots}; do quarterdeck run start ${deed.runbook} ${info.singular}/$name -n ${rows[0]?.namespace ?? namespace} --no-follow; done`;
}

function Outcome({
  outcome,
  total,
}: {
  outcome: { done: number; failed: { row: Row; error: unknown }[]; over: boolean };
  total: number;
}) {
  return (
    <div className="stack wide-gap">
      <p role="status">
        {number(outcome.done)} of {number(total)} done
        {outcome.failed.length > 0 && `, ${number(outcome.failed.length)} refused`}
        {outcome.over ? '.' : ' so far.'}
      </p>
      <PartsBar
        tall
        whole={total}
        parts={[
          { name: 'done', tone: 'ok', count: outcome.done },
          { name: 'refused', tone: 'fail', count: outcome.failed.length },
        ]}
      />
      <ul className="stack">
        {outcome.failed.slice(0, 20).map(({ row, error }) => (
          <li key={row.uid} className="row">
            <Glyph tone="fail" />
            <ObjectLink target={row} full />
            <span className="muted">{error instanceof Error ? error.message : String(error)}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
