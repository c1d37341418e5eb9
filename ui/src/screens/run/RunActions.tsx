// What can be done with a run: approve, pause, go on, cancel, try again.
import { useState } from 'react';
import { kubectl, type Manifest } from '../../api/kube';
import { Button, Command, ErrorNotice, Field } from '../../design/parts';
import { Dialog } from '../../design/dialog';
import { at } from '../../lib/text';
import { ActDialog, useChange, type Change, type Subject } from '../object/act';

const ENDED = new Set(['Succeeded', 'Failed', 'Cancelled']);

/** One more decision behind those that there are: the plane fills in who said it, and when. */
export function decision(
  step: string | null,
  decided: 'Approved' | 'Rejected',
  note: string,
): Change['patch'] {
  return (now) => ({
    spec: {
      approvals: [
        ...((at(now, 'spec.approvals') as unknown[] | undefined) ?? []),
        { ...(step ? { step } : {}), decision: decided, ...(note.trim() ? { note: note.trim() } : {}) },
      ],
    },
  });
}

export function RunActions({ subject, manifest }: { subject: Subject; manifest: Manifest }) {
  const [dialog, setDialog] = useState<'cancel' | 'retry'>();
  const change = useChange(subject);
  const phase = at(manifest, 'status.phase') as string | undefined;
  const suspended = at(manifest, 'spec.suspend') === true;
  const ended = ENDED.has(phase ?? '');
  const retriable = phase === 'Failed' || phase === 'Cancelled';
  const steps = (at(manifest, 'status.steps') as { name: string; phase: string }[] | undefined) ?? [];
  return (
    <>
      {!ended && (
        <Button
          barred={change.isPending && 'It is being done.'}
          onClick={() =>
            change.mutate({
              said: suspended ? 'The run goes on.' : 'The run starts no further step until it is resumed.',
              patch: () => ({ spec: { suspend: !suspended } }),
            })
          }
        >
          {suspended ? 'Resume' : 'Pause'}
        </Button>
      )}
      {!ended && at(manifest, 'spec.cancel') !== true && (
        <Button look="danger" onClick={() => setDialog('cancel')}>
          Cancel
        </Button>
      )}
      {retriable && (
        <Button look="primary" onClick={() => setDialog('retry')}>
          Retry
        </Button>
      )}
      {dialog === 'cancel' && (
        <ActDialog
          title={`Cancel run ${subject.name}?`}
          subject={subject}
          wanted={{ said: 'The run is being cancelled.', patch: () => ({ spec: { cancel: true } }) }}
          verb="Cancel the run"
          danger
          onClose={() => setDialog(undefined)}
        >
          <p>
            What is under way is stopped. Each step that was done and says how it is undone is undone, last
            done first.
          </p>
        </ActDialog>
      )}
      {dialog === 'retry' && <Retry subject={subject} steps={steps} onClose={() => setDialog(undefined)} />}
    </>
  );
}

function Retry({
  subject,
  steps,
  onClose,
}: {
  subject: Subject;
  steps: { name: string; phase: string }[];
  onClose: () => void;
}) {
  const change = useChange(subject);
  const failed = steps.filter((step) => step.phase === 'Failed' || step.phase === 'Cancelled');
  const [from, setFrom] = useState(failed[failed.length - 1]?.name ?? steps[0]?.name ?? '');
  const patch = (now: Manifest) => {
    const before = [at(now, 'spec.retry.number'), at(now, 'status.retries')].map((value) =>
      Number(value ?? 0),
    );
    // A run that was cancelled is not retried while it is asked to end.
    const cancel = at(now, 'spec.cancel') === true ? { cancel: false } : {};
    return { spec: { ...cancel, retry: { from, number: Math.max(...before) + 1 } } };
  };
  return (
    <Dialog
      title={`Retry run ${subject.name}`}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Leave it</Button>
          <Button
            look="primary"
            barred={from === '' ? 'It has no step to go on from.' : change.isPending && 'It is being done.'}
            onClick={() =>
              change.mutate({ said: `The run goes on from ${from}.`, patch }, { onSuccess: () => onClose() })
            }
          >
            Retry
          </Button>
        </>
      }
    >
      <Field
        label="From which step"
        hint="What came before is kept. A step that was undone stays undone, unless it comes after."
      >
        {(ids) => (
          <select {...ids} className="select" value={from} onChange={(event) => setFrom(event.target.value)}>
            {steps.map((step) => (
              <option key={step.name} value={step.name}>
                {step.name} ({step.phase})
              </option>
            ))}
          </select>
        )}
      </Field>
      {change.isError && <ErrorNotice error={change.error} />}
      <Command line={kubectl.merge(subject.info.plural, subject, { spec: { retry: { from, number: 1 } } })} />
    </Dialog>
  );
}

/** Approve or reject, where a run or a campaign asks for it. */
export function Decide({
  subject,
  step,
  message,
}: {
  subject: Subject;
  step: string | null;
  message: string;
}) {
  const [note, setNote] = useState('');
  const change = useChange(subject);
  const decide = (decided: 'Approved' | 'Rejected') =>
    change.mutate({
      said: decided === 'Approved' ? 'Approved, in your name.' : 'Rejected, in your name.',
      patch: decision(step, decided, note),
    });
  const barred = change.isPending && 'It is being said.';
  return (
    <section className="decide" aria-label="Approval">
      <p>
        <strong>{message}</strong>
      </p>
      <div className="row">
        <input
          className="input grow"
          aria-label="Why"
          placeholder="Why, for those who read it later"
          value={note}
          onChange={(event) => setNote(event.target.value)}
        />
        <Button look="danger" barred={barred} onClick={() => decide('Rejected')}>
          Reject
        </Button>
        <Button look="primary" barred={barred} onClick={() => decide('Approved')}>
          Approve
        </Button>
      </div>
    </section>
  );
}
