// What can be done with a workload: another version, pause, go on, back to what was, more or fewer, all anew.
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { WorkloadPageDocument } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import type { Manifest } from '../../api/kube';
import { Menu, MenuItem } from '../../design/menu';
import { Button, Command, ErrorNotice, Field, Loading } from '../../design/parts';
import { mergePatch } from '../../lib/mergepatch';
import { quoted } from '../../lib/text';
import { ActDialog, useChange, type Subject } from '../object/act';
import { imagesOf, RESTARTED, RESUME, rollsOut, waitsForPerson, workloadOf } from './rollout';

type Doing = 'version' | 'undo' | 'scale' | 'restart';

export function WorkloadActions({ subject, manifest }: { subject: Subject; manifest: Manifest }) {
  const [doing, setDoing] = useState<Doing>();
  const change = useChange(subject);
  const workload = workloadOf(manifest);
  const busy = change.isPending && 'It is being done.';
  const underWay = rollsOut(workload);
  const rollout = workload.status?.rollout;
  const step = `${rollout?.revision ?? 0}/${rollout?.step ?? 0}`;
  const close = () => setDoing(undefined);
  return (
    <>
      {workload.spec.paused && (
        <Button
          look="primary"
          size="big"
          icon="run"
          barred={busy}
          onClick={() =>
            change.mutate({ said: 'Rollouts go on.', patch: () => ({ spec: { paused: false } }) })
          }
        >
          Resume
        </Button>
      )}
      {!workload.spec.paused && waitsForPerson(workload) && (
        <Button
          look="primary"
          size="big"
          icon="run"
          barred={busy}
          onClick={() =>
            change.mutate({
              said: 'The rollout goes on past this step.',
              patch: () => ({ metadata: { annotations: { [RESUME]: step } } }),
            })
          }
        >
          Let it go on
        </Button>
      )}
      {!workload.spec.paused && (
        <Button
          {...(underWay ? { look: 'danger', size: 'big' } : {})}
          barred={busy}
          onClick={() =>
            change.mutate({
              said: 'No rollout goes on. What is lost is still replaced.',
              patch: () => ({ spec: { paused: true } }),
            })
          }
        >
          Pause
        </Button>
      )}
      <Button onClick={() => setDoing('version')}>New version</Button>
      <Menu trigger={<Button>Change</Button>}>
        <MenuItem onSelect={() => setDoing('undo')}>Return to a revision</MenuItem>
        <MenuItem onSelect={() => setDoing('scale')}>Scale</MenuItem>
        <MenuItem onSelect={() => setDoing('restart')}>Make all instances anew</MenuItem>
      </Menu>
      {doing === 'version' && <NewVersion subject={subject} manifest={manifest} onClose={close} />}
      {doing === 'undo' && <Undo subject={subject} manifest={manifest} onClose={close} />}
      {doing === 'scale' && <ScaleIt subject={subject} manifest={manifest} onClose={close} />}
      {doing === 'restart' && <Restart subject={subject} onClose={close} />}
    </>
  );
}

interface Asked {
  subject: Subject;
  manifest: Manifest;
  onClose: () => void;
}

interface Container {
  name: string;
  image: string;
}

/** Another image for each of its containers. All else is changed as YAML. */
function NewVersion({ subject, manifest, onClose }: Asked) {
  const containers = workloadOf(manifest).spec.template.spec?.containers ?? [];
  const [images, setImages] = useState<Record<string, string>>({});
  const wanted = (container: Container) => images[container.name]?.trim() || container.image;
  const changed = containers.some((container) => wanted(container) !== container.image);
  return (
    <ActDialog
      title={`New version of ${subject.name}`}
      subject={subject}
      manifest={manifest}
      wanted={{
        said: 'The new version is being rolled out.',
        patch: (now) => {
          // A list is replaced as a whole: what else its containers say stays.
          const all = workloadOf(now).spec.template.spec?.containers ?? [];
          const next = all.map((container) => ({ ...container, image: wanted(container) }));
          return { spec: { template: { spec: { containers: next } } } };
        },
      }}
      verb="Roll it out"
      barred={!changed && 'No image is another one yet.'}
      onClose={onClose}
    >
      {containers.map((container) => (
        <Field key={container.name} label={`Image of ${container.name}`} hint={`Now ${container.image}`}>
          {(ids) => (
            <input
              {...ids}
              className="input mono"
              value={images[container.name] ?? container.image}
              onChange={(event) => setImages({ ...images, [container.name]: event.target.value })}
            />
          )}
        </Field>
      ))}
      <p className="muted">
        It is rolled out as its strategy says, and returns by itself when a check fails. The service’s budget
        and freezes hold for it.
      </p>
    </ActDialog>
  );
}

export function useRevisions(namespace: string, name: string) {
  return useQuery({
    queryKey: ['workload', namespace, name],
    queryFn: ({ signal }) =>
      query(
        WorkloadPageDocument,
        { namespace, of: [{ field: 'spec.workload', op: 'IN', values: [name] }] },
        signal,
      ),
  });
}

export interface Revision {
  number: number;
  name: string;
  created: string | null;
  template: unknown;
}

/** The revisions that are kept, the latest first. */
export function revisionsOf(
  edges: { node: { name: string; created?: string | null; fields: unknown[] } }[],
): Revision[] {
  return edges
    .map(({ node }) => ({
      number: Number(node.fields[0] ?? 0),
      name: node.name,
      created: node.created ?? null,
      template: node.fields[1],
    }))
    .sort((a, b) => b.number - a.number);
}

function Undo({ subject, manifest, onClose }: Asked) {
  const namespace = subject.namespace ?? '';
  const found = useRevisions(namespace, subject.name);
  const status = workloadOf(manifest).status;
  const all = revisionsOf(found.data?.revisions.edges ?? []).filter(
    (revision) => revision.number !== status?.revision,
  );
  const [chosen, setChosen] = useState<number>();
  const stable = status?.stableRevision === status?.revision ? undefined : status?.stableRevision;
  const number = chosen ?? stable ?? all[0]?.number;
  const revision = all.find((each) => each.number === number);
  const verb = `quarterdeck workload undo ${quoted(subject.name)} -n ${quoted(namespace)} --to ${number ?? '…'}`;
  return (
    <ActDialog
      title={`Return ${subject.name} to a revision`}
      subject={subject}
      manifest={manifest}
      wanted={{
        said: `It returns to revision ${number ?? ''}.`,
        patch: (now) => ({
          // What the wanted template does not say must not stay.
          spec: { template: mergePatch(workloadOf(now).spec.template, revision?.template) },
        }),
      }}
      verb="Return to it"
      barred={!revision && 'There is no other revision.'}
      onClose={onClose}
    >
      {found.isPending && <Loading lines={2} />}
      {found.isError && <ErrorNotice error={found.error} />}
      {all.length > 0 && (
        <Field label="Revision" hint="It is rolled out as any other template, as a new revision.">
          {(ids) => (
            <select
              {...ids}
              className="select"
              value={number}
              onChange={(event) => setChosen(Number(event.target.value))}
            >
              {all.map((each) => (
                <option key={each.number} value={each.number}>
                  {each.number}: {imagesOf(each.template).join(', ')}
                  {each.number === stable ? ' (all were of it last)' : ''}
                </option>
              ))}
            </select>
          )}
        </Field>
      )}
      <Command line={verb} />
    </ActDialog>
  );
}

function ScaleIt({ subject, manifest, onClose }: Asked) {
  const now = workloadOf(manifest).spec.replicas ?? 1;
  const [text, setText] = useState(String(now));
  const wanted = /^\d+$/.test(text.trim()) ? Number(text) : undefined;
  return (
    <ActDialog
      title={`Scale ${subject.name}`}
      subject={subject}
      wanted={{ said: `It is to have ${text} instances.`, patch: () => ({ spec: { replicas: wanted } }) }}
      verb="Scale"
      barred={wanted === undefined && 'Write a number.'}
      onClose={onClose}
    >
      <Field label="Instances" hint={`Now ${now}.`} wrong={wanted === undefined ? 'A number.' : undefined}>
        {(ids) => (
          <input
            {...ids}
            className="input"
            inputMode="numeric"
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
        )}
      </Field>
    </ActDialog>
  );
}

function Restart({ subject, onClose }: { subject: Subject; onClose: () => void }) {
  const [at] = useState(() => new Date().toISOString().replace(/\.\d+Z$/, 'Z'));
  return (
    <ActDialog
      title={`Make all instances of ${subject.name} anew?`}
      subject={subject}
      wanted={{
        said: 'All instances are made anew, as a rollout.',
        patch: () => ({ spec: { template: { metadata: { annotations: { [RESTARTED]: at } } } } }),
      }}
      verb="Make them anew"
      onClose={onClose}
    >
      <p>It is a rollout of the same template: as its strategy says, within the service’s budget.</p>
    </ActDialog>
  );
}
