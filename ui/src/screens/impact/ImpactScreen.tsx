// What breaks if several things go at once: two racks, both feeds of a site, what is chosen in a table. What is asked
// about stands in the URL.
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import type { ImpactTarget } from '../../api/generated/graphql';
import { useMe } from '../../api/session';
import { Button, Empty, Field, Panel } from '../../design/parts';
import { ImpactOf } from './Impact';
import { IMPACT_KINDS, isNamespaced, sayTarget, targetOf, TARGETS_MAX, textOf } from './targets';

export function ImpactScreen() {
  const { on = [] } = useSearch({ from: '/impact' });
  const navigate = useNavigate({ from: '/impact' });
  const targets = on.map(targetOf).filter((target) => target !== undefined);
  const go = (next: ImpactTarget[]) => {
    const names = [...new Set(next.map(textOf))].slice(0, TARGETS_MAX);
    void navigate({ search: (old) => ({ ...old, on: names.length > 0 ? names : undefined }) });
  };
  return (
    <div className="screen stack wide-gap">
      <header className="screen-head flat">
        <h1>What breaks if these go</h1>
      </header>
      <Panel title="What goes, all at once" count={targets.length}>
        <div className="stack wide-gap">
          {targets.length > 0 && (
            <ul className="row wrap">
              {targets.map((target) => (
                <li key={textOf(target)} className="chip">
                  {sayTarget(target)}
                  <Button
                    look="plain"
                    size="square"
                    icon="close"
                    aria-label={`Leave ${sayTarget(target)} out`}
                    onClick={() => go(targets.filter((other) => other !== target))}
                  />
                </li>
              ))}
            </ul>
          )}
          <Add onAdd={(target) => go([...targets, target])} />
        </div>
      </Panel>
      {targets.length === 0 ? (
        <Empty title="Nothing goes yet." command="quarterdeck impact rack/r-17">
          Name a site or a part of one, a rack, a server, a machine or an instance; or choose some in a table.
          Nothing is done to them.
        </Empty>
      ) : (
        <ImpactOf targets={targets} />
      )}
    </div>
  );
}

function Add({ onAdd }: { onAdd: (target: ImpactTarget) => void }) {
  const me = useMe();
  const [kind, setKind] = useState<string>('Rack');
  const [namespace, setNamespace] = useState(me?.teams[0] ?? me?.namespaces[0] ?? 'default');
  const [name, setName] = useState('');
  const [parts, setParts] = useState({ hall: '', row: '', powerFeed: '' });
  const given = Object.fromEntries(
    Object.entries(parts).filter(([, value]) => kind === 'Site' && value.trim() !== ''),
  );
  const add = () => {
    if (name.trim() === '') return;
    onAdd({ kind, name: name.trim(), ...(isNamespaced(kind) ? { namespace } : {}), ...given });
    setName('');
  };
  const text = (label: string, value: string, change: (value: string) => void) => (
    <Field label={label}>
      {(ids) => (
        <input {...ids} className="input" value={value} onChange={(event) => change(event.target.value)} />
      )}
    </Field>
  );
  return (
    <form
      className="add-row"
      onSubmit={(event) => {
        event.preventDefault();
        add();
      }}
    >
      <Field label="Kind">
        {(ids) => (
          <select {...ids} className="select" value={kind} onChange={(event) => setKind(event.target.value)}>
            {IMPACT_KINDS.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        )}
      </Field>
      {isNamespaced(kind) && (
        <Field label="In namespace">
          {(ids) => (
            <select
              {...ids}
              className="select"
              value={namespace}
              onChange={(event) => setNamespace(event.target.value)}
            >
              {[...new Set([namespace, ...(me?.namespaces ?? [])])].map((each) => (
                <option key={each}>{each}</option>
              ))}
            </select>
          )}
        </Field>
      )}
      {text('Name', name, setName)}
      {kind === 'Site' && (
        <>
          {text('Only hall', parts.hall, (hall) => setParts({ ...parts, hall }))}
          {text('Only row', parts.row, (row) => setParts({ ...parts, row }))}
          {text('Only power feed', parts.powerFeed, (powerFeed) => setParts({ ...parts, powerFeed }))}
        </>
      )}
      <Button type="submit" icon="plus">
        Add
      </Button>
    </form>
  );
}
