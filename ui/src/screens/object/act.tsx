// Doing something to an object: by one press, or after a dialog that says what, on what, and the line for a shell.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState, type ReactNode } from 'react';
import { isConflict } from '../../api/errors';
import { get, kubectl, merge, remove, type Manifest, type Named } from '../../api/kube';
import type { KindInfo } from '../../api/kinds';
import { Dialog } from '../../design/dialog';
import { Button, Command, ErrorNotice, Field } from '../../design/parts';
import { tell } from '../../design/toasts';

export interface Subject extends Named {
  info: KindInfo;
  uid?: string;
}

/** A change by merge patch. One that depends on what is there is made anew when that has changed meanwhile. */
export interface Change {
  said: string;
  patch: (now: Manifest) => Record<string, unknown>;
}

/** What moves changes several times a second, as a campaign does: each of that is a conflict. */
const ATTEMPTS = 12;

async function change(subject: Subject, { patch }: Change): Promise<Record<string, unknown>> {
  for (let attempt = 1; ; attempt += 1) {
    const now = await get(subject.info, subject);
    const made = patch(now);
    const precise = { metadata: { resourceVersion: now.metadata.resourceVersion }, ...made };
    try {
      await merge(subject.info, subject, precise);
      return made;
    } catch (error) {
      if (!isConflict(error) || attempt === ATTEMPTS) throw error;
    }
  }
}

export function useChange(subject: Subject) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (wanted: Change) => change(subject, wanted),
    onSuccess: (patch, wanted) => {
      tell('ok', wanted.said, kubectl.merge(subject.info.plural, subject, patch));
      void client.invalidateQueries({ queryKey: ['object'] });
    },
    onError: (error) => tell('fail', error.message),
  });
}

/** Asks before something is done that is not undone as easily. */
export function ActDialog({
  title,
  subject,
  wanted,
  verb,
  danger,
  typed,
  manifest,
  barred,
  children,
  onClose,
}: {
  title: string;
  subject: Subject;
  wanted: Change | 'delete';
  verb: string;
  danger?: boolean;
  /** What must be typed before. */
  typed?: string;
  /** The object as it is shown, where the line for a shell depends on it. */
  manifest?: Manifest;
  /** Why it cannot be done yet. */
  barred?: string | false;
  children: ReactNode;
  onClose: () => void;
}) {
  const [text, setText] = useState('');
  const client = useQueryClient();
  const act = useMutation({
    mutationFn: async () => {
      if (wanted === 'delete') {
        await remove(subject.info, subject);
        return kubectl.remove(subject.info.plural, subject);
      }
      return kubectl.merge(subject.info.plural, subject, await change(subject, wanted));
    },
    onSuccess: (command) => {
      tell(
        'ok',
        wanted === 'delete' ? `${subject.info.kind} ${subject.name} is being deleted.` : wanted.said,
        command,
      );
      void client.invalidateQueries({ queryKey: ['object'] });
      onClose();
    },
  });
  const line =
    wanted === 'delete'
      ? kubectl.remove(subject.info.plural, subject)
      : kubectl.merge(
          subject.info.plural,
          subject,
          wanted.patch(manifest ?? { apiVersion: '', kind: '', metadata: {} }),
        );
  return (
    <Dialog
      title={title}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Leave it</Button>
          <Button
            look={danger ? 'danger' : 'primary'}
            barred={
              (typed !== undefined && text !== typed && `Type ${typed} first.`) ||
              barred ||
              (act.isPending && 'It is being done.')
            }
            onClick={() => act.mutate()}
          >
            {verb}
          </Button>
        </>
      }
    >
      {children}
      {typed !== undefined && (
        <Field label={`Type ${typed} to go on`}>
          {(ids) => (
            <input
              {...ids}
              className="input"
              autoFocus
              value={text}
              onChange={(event) => setText(event.target.value)}
            />
          )}
        </Field>
      )}
      {act.isError && <ErrorNotice error={act.error} />}
      <Command line={line} />
    </Dialog>
  );
}
