// Starting a run: the runbook's typed parameters as fields, a rehearsal that does nothing, and the line for a shell.
import { useMutation, useQuery } from '@tanstack/react-query';
import { useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { useKinds } from '../../api/kinds';
import { create, get, kubectl, type Manifest } from '../../api/kube';
import { useMe } from '../../api/session';
import { Dialog } from '../../design/dialog';
import { Button, Command, ErrorNotice, Field, Loading } from '../../design/parts';
import { tell } from '../../design/toasts';
import { at, shown } from '../../lib/text';
import { useOpen, type Target } from '../../shell/links';
import { ParameterFields } from './ParameterFields';
import { read, type Parameter, type Typed } from './parameters';

export const RUN_VERSION = 'workflows.quarterdeck.dev/v1alpha1';

export function runOf(
  runbook: string,
  target: Target | undefined,
  namespace: string,
  params: Record<string, unknown>,
  more: Record<string, unknown> = {},
): Manifest {
  return {
    apiVersion: RUN_VERSION,
    kind: 'Run',
    metadata: { generateName: `${runbook.slice(0, 50)}-`, namespace },
    spec: {
      runbook,
      ...(target ? { target: { kind: target.kind, name: target.name } } : {}),
      ...(Object.keys(params).length > 0 ? { params } : {}),
      ...more,
    },
  };
}

/** Where a run is created when nobody says: that of the target, the chosen one, or one of mine. */
export function useRunNamespace(target?: Target): [string, (namespace: string) => void] {
  const me = useMe();
  const { ns } = useSearch({ from: '__root__' });
  const [chosen, choose] = useState<string>();
  const first =
    me?.teams[0] ?? (me?.namespaces.includes('default') ? 'default' : me?.namespaces[0]) ?? 'default';
  return [chosen ?? target?.namespace ?? ns ?? first, choose];
}

export function NamespaceField({
  value,
  fixed,
  hint = 'Whose run it is: its team sees it, and its rights count.',
  onChange,
}: {
  value: string;
  fixed?: boolean;
  hint?: string;
  onChange: (namespace: string) => void;
}) {
  const me = useMe();
  if (fixed) return null;
  return (
    <Field label="Namespace" hint={hint}>
      {(ids) => (
        <select {...ids} className="select" value={value} onChange={(event) => onChange(event.target.value)}>
          {[...new Set([value, ...(me?.namespaces ?? [])])].map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      )}
    </Field>
  );
}

export function useRunbook(name: string) {
  const info = useKinds().kind('Runbook');
  return useQuery({
    queryKey: ['runbook', name],
    queryFn: ({ signal }) =>
      info ? get(info, { name }, signal) : Promise.reject(new Error('The plane has no runbooks.')),
    enabled: Boolean(info) && name !== '',
    staleTime: 30_000,
  });
}

export function StartRun({
  runbook,
  target,
  onClose,
}: {
  runbook: string;
  target: Target | undefined;
  onClose: () => void;
}) {
  const found = useRunbook(runbook);
  const runs = useKinds().kind('Run');
  const open = useOpen();
  const [typed, setTyped] = useState<Typed>({});
  const [tried, setTried] = useState(false);
  const [force, setForce] = useState(false);
  const [namespace, setNamespace] = useRunNamespace(target);
  const [name, setName] = useState('');
  const parameters = (at(found.data, 'spec.parameters') as Parameter[] | undefined) ?? [];
  const kind = at(found.data, 'spec.target.kind') as string | undefined;
  const aim = target ?? (kind && name.trim() ? { kind, name: name.trim() } : undefined);
  const { params, wrong } = read(parameters, typed);
  const manifest = (dryRun: boolean) =>
    runOf(runbook, aim, namespace, params, { ...(force ? { force } : {}), ...(dryRun ? { dryRun } : {}) });
  const start = useMutation({
    mutationFn: async (dryRun: boolean) => {
      if (!runs) throw new Error('The plane has no runs.');
      return create(runs, manifest(dryRun));
    },
    onSuccess: (run, dryRun) => {
      tell(
        'ok',
        dryRun
          ? 'Rehearsed: nothing is done, and the run says what would be.'
          : `Run ${run.metadata.name ?? ''} begins.`,
        kubectl.create(manifest(dryRun)),
      );
      onClose();
      open({ kind: 'Run', namespace: run.metadata.namespace ?? null, name: run.metadata.name ?? '' });
    },
  });
  const go = (dryRun: boolean) => {
    setTried(true);
    if (Object.keys(wrong).length === 0) start.mutate(dryRun);
  };
  const missing = kind && !aim ? `Name the ${kind} first.` : start.isPending && 'It is being started.';
  return (
    <Dialog
      title={target ? `${runbook} on ${target.name}` : `Start ${runbook}`}
      onClose={onClose}
      footer={
        <>
          <Button barred={missing} onClick={() => go(true)}>
            Rehearse
          </Button>
          <Button look="primary" barred={missing} onClick={() => go(false)}>
            Start the run
          </Button>
        </>
      }
    >
      {found.isPending && <Loading lines={3} />}
      {found.isError && <ErrorNotice error={found.error} />}
      {found.data && <p>{shown(at(found.data, 'spec.summary'))}</p>}
      {!target && kind && (
        <Field label={`${kind} to run it on`}>
          {(ids) => (
            <input
              {...ids}
              className="input"
              autoFocus
              value={name}
              onChange={(event) => setName(event.target.value)}
            />
          )}
        </Field>
      )}
      <ParameterFields parameters={parameters} typed={typed} wrong={tried ? wrong : {}} onChange={setTyped} />
      <NamespaceField value={namespace} fixed={Boolean(target?.namespace)} onChange={setNamespace} />
      <label className="row">
        <input type="checkbox" checked={force} onChange={() => setForce(!force)} />
        Cancel what holds the target, instead of waiting behind it
      </label>
      {start.isError && <ErrorNotice error={start.error} />}
      <details>
        <summary>The same in a shell</summary>
        <Command line={kubectl.create(manifest(false))} />
      </details>
    </Dialog>
  );
}
