// An object as YAML: read, edited, and compared with what the plane would make of it before anything is written. When
// somebody else was faster, both changes are brought together.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { isConflict } from '../../api/errors';
import { get, kubectl, MANAGER, replace, type Manifest } from '../../api/kube';
import type { KindInfo } from '../../api/kinds';
import { Button, Command, ErrorNotice, Notice } from '../../design/parts';
import { tell } from '../../design/toasts';
import { changedPaths, merge3, put, type Clash } from '../../lib/merge3';
import { shown } from '../../lib/text';
import { Diff } from './Diff';
import Editor from './Editor';
import { editable, whole, withoutManagers } from './manifest';
import { parse, print } from './yaml';

export function Yaml({ info, manifest }: { info: KindInfo; manifest: Manifest }) {
  const [base, setBase] = useState<Manifest>();
  const [managers, setManagers] = useState(false);
  const begin = useMutation({
    // What is shown may be without what a Secret holds; what is edited is all.
    mutationFn: () => get(info, named(manifest)),
    onSuccess: setBase,
  });
  const mayWrite = info.verbs.includes('update') || info.verbs.length === 0;
  if (base) return <Edit info={info} first={base} live={manifest} onEnd={() => setBase(undefined)} />;
  return (
    <div className="yaml">
      <div className="row">
        <Button look="primary" barred={!mayWrite && 'You may not change it.'} onClick={() => begin.mutate()}>
          Edit
        </Button>
        <label className="row">
          <input type="checkbox" checked={managers} onChange={() => setManagers(!managers)} />
          Who manages which field
        </label>
        <span className="grow" />
        <div className="yaml-command">
          <Command line={kubectl.get(info.plural, named(manifest))} />
        </div>
      </div>
      {begin.isError && <ErrorNotice error={begin.error} />}
      <Editor
        text={print(managers ? manifest : withoutManagers(manifest))}
        label={`YAML of ${manifest.metadata.name ?? ''}`}
      />
    </div>
  );
}

/** How often a write is tried anew when only what the plane sees of the object has changed. */
const ATTEMPTS = 5;

const named = (manifest: Manifest) => ({
  name: manifest.metadata.name ?? '',
  namespace: manifest.metadata.namespace ?? null,
});

function Edit({
  info,
  first,
  live,
  onEnd,
}: {
  info: KindInfo;
  first: Manifest;
  live: Manifest;
  onEnd: () => void;
}) {
  const [base, setBase] = useState(first);
  const [text, setText] = useState(() => print(editable(first)));
  const [checked, setChecked] = useState<{ text: string; result: Manifest }>();
  const [clash, setClash] = useState<{ theirs: Manifest; merged: unknown; clashes: Clash[] }>();
  const client = useQueryClient();
  const draft = () => {
    const read = parse(text);
    if ('wrong' in read) throw new Error(read.wrong);
    return read.value;
  };
  const bringTogether = async () => {
    const theirs = await get(info, named(base));
    const { value, clashes } = merge3(editable(base), draft(), editable(theirs));
    setClash({ theirs, merged: value, clashes });
  };
  const send = useMutation({
    mutationFn: async (dryRun: boolean) => {
      let against = base;
      for (let attempt = 1; ; attempt += 1) {
        try {
          return { dryRun, result: await replace(info, named(base), whole(draft(), against), dryRun) };
        } catch (error) {
          if (!isConflict(error) || attempt === ATTEMPTS) throw error;
          // What is seen of it changes all the time, and contradicts nobody: only what people say of it does.
          against = await get(info, named(base));
          if (changedPaths(editable(base), editable(against)).length > 0) throw error;
          setBase(against);
        }
      }
    },
    onSuccess: ({ dryRun, result }) => {
      if (dryRun) {
        setChecked({ text, result });
        return;
      }
      tell(
        'ok',
        `${info.kind} ${base.metadata.name ?? ''} is changed.`,
        kubectl.edit(info.plural, named(base)),
      );
      void client.invalidateQueries({ queryKey: ['object'] });
      onEnd();
    },
    onError: (error) => {
      if (isConflict(error)) void bringTogether();
    },
  });
  const take = (merged: unknown, theirs: Manifest) => {
    setBase(theirs);
    setText(print(merged));
    setChecked(undefined);
    setClash(undefined);
    send.reset();
  };
  const current = checked?.text === text ? checked.result : undefined;
  const meanwhile = changedPaths(editable(base), editable(live));
  const isNewer = Number(live.metadata.resourceVersion) > Number(base.metadata.resourceVersion);
  return (
    <div className="yaml">
      <div className="row">
        <Button onClick={() => send.mutate(true)} barred={send.isPending && 'It is being checked.'}>
          Check
        </Button>
        <Button
          look="primary"
          barred={!current && 'Check it first: what would change is shown before it does.'}
          onClick={() => send.mutate(false)}
        >
          Apply
        </Button>
        <Button look="plain" onClick={onEnd}>
          Leave it
        </Button>
        <span className="muted">
          Written as {MANAGER}, against revision {base.metadata.resourceVersion}.
        </span>
      </div>
      {isNewer && meanwhile.length > 0 && !clash && (
        <Notice tone="wait" aside={<Button onClick={() => void bringTogether()}>Bring both together</Button>}>
          Somebody changed it meanwhile: {meanwhile.slice(0, 4).join(', ')}.
        </Notice>
      )}
      {clash && <Together {...clash} onTake={take} />}
      {send.isError && !isConflict(send.error) && <ErrorNotice error={send.error} />}
      <div className={current ? 'yaml-split' : 'yaml-one'}>
        <Editor text={text} onChange={setText} label="YAML, edited" />
        {current && (
          <section aria-label="What would change">
            <h2>What would change</h2>
            <Diff label="What would change" before={print(editable(base))} after={print(editable(current))} />
          </section>
        )}
      </div>
    </div>
  );
}

/** Theirs and mine: what goes together by itself, and what somebody has to choose. */
function Together({
  theirs,
  merged,
  clashes,
  onTake,
}: {
  theirs: Manifest;
  merged: unknown;
  clashes: Clash[];
  onTake: (merged: unknown, theirs: Manifest) => void;
}) {
  const [choices, setChoices] = useState<Record<string, 'mine' | 'theirs'>>({});
  const open = clashes.filter((each) => !choices[each.path.join('.')]);
  const result = clashes.reduce(
    (value, each) => (choices[each.path.join('.')] === 'theirs' ? put(value, each.path, each.theirs) : value),
    merged,
  );
  return (
    <section className="panel together" aria-label="Two changes at once">
      <header>
        <h2 className="grow">Somebody else changed it while you did</h2>
      </header>
      <div className="body stack">
        {clashes.length === 0 ? (
          <p>You changed different fields: both changes go together.</p>
        ) : (
          <table className="plain-table">
            <thead>
              <tr>
                <th>Field both changed</th>
                <th>Yours</th>
                <th>Theirs</th>
              </tr>
            </thead>
            <tbody>
              {clashes.map((each) => {
                const path = each.path.join('.');
                const option = (choice: 'mine' | 'theirs', value: unknown) => (
                  <label className="row">
                    <input
                      type="radio"
                      name={path}
                      checked={choices[path] === choice}
                      onChange={() => setChoices({ ...choices, [path]: choice })}
                    />
                    <code>{shown(value) || 'taken away'}</code>
                  </label>
                );
                return (
                  <tr key={path}>
                    <th scope="row" className="mono">
                      {path}
                    </th>
                    <td>{option('mine', each.mine)}</td>
                    <td>{option('theirs', each.theirs)}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        )}
        <div className="row">
          <Button
            look="primary"
            barred={open.length > 0 && 'Choose for each field first.'}
            onClick={() => onTake(result, theirs)}
          >
            Go on with both
          </Button>
        </div>
      </div>
    </section>
  );
}
