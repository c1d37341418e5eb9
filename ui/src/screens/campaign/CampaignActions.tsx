// What can be done with a campaign: begin, one big Pause, go on, change how fast it goes, try again, end it.
import { useState } from 'react';
import type { Manifest } from '../../api/kube';
import { Menu, MenuItem } from '../../design/menu';
import { Button, Field } from '../../design/parts';
import { at, shown } from '../../lib/text';
import { ActDialog, useChange, type Subject } from '../object/act';

const ENDED = new Set(['Succeeded', 'Failed', 'Cancelled']);

export function CampaignActions({ subject, manifest }: { subject: Subject; manifest: Manifest }) {
  const [dialog, setDialog] = useState<'cancel' | 'limits' | 'accept'>();
  const change = useChange(subject);
  const phase = (at(manifest, 'status.phase') as string | undefined) ?? 'Pending';
  const asked = at(manifest, 'spec.paused') === true;
  const failed = Number(at(manifest, 'status.failed') ?? 0);
  const ended = ENDED.has(phase);
  const busy = change.isPending && 'It is being done.';
  // Past its failure limit it pauses itself: `paused` is not what holds it then.
  const heldByFailures = phase === 'Paused' && !asked;
  const pause = (paused: boolean, said: string) =>
    change.mutate({ said, patch: () => ({ spec: { paused } }) });
  return (
    <>
      {!ended && asked && (
        <Button
          look="primary"
          size="big"
          icon="run"
          barred={busy}
          onClick={() => pause(false, 'The campaign goes on.')}
        >
          {phase === 'Planned' || phase === 'Pending' ? 'Start' : 'Resume'}
        </Button>
      )}
      {heldByFailures && (
        <Button look="primary" size="big" onClick={() => setDialog('accept')}>
          Go on in spite of {failed} failures
        </Button>
      )}
      {!ended && !asked && !heldByFailures && (
        <Button
          look="danger"
          size="big"
          barred={busy}
          onClick={() => pause(true, 'The campaign starts no further run. What runs goes on to its end.')}
        >
          Pause
        </Button>
      )}
      {!ended && (
        <Menu trigger={<Button>Change</Button>}>
          <MenuItem onSelect={() => setDialog('limits')}>Limits</MenuItem>
          <MenuItem
            barred={failed === 0 ? 'None has failed.' : undefined}
            onSelect={() =>
              change.mutate({
                said: 'Those that failed are tried again.',
                patch: (now) => ({ spec: { retries: Number(at(now, 'spec.retries') ?? 0) + 1 } }),
              })
            }
          >
            Try the failed again
          </MenuItem>
          <MenuItem danger onSelect={() => setDialog('cancel')}>
            End it
          </MenuItem>
        </Menu>
      )}
      {dialog === 'cancel' && (
        <ActDialog
          title={`End campaign ${subject.name}?`}
          subject={subject}
          wanted={{
            said: 'The campaign ends; its runs are being cancelled.',
            patch: () => ({ spec: { cancel: true } }),
          }}
          verb="End the campaign"
          danger
          onClose={() => setDialog(undefined)}
        >
          <p>
            Runs in work are cancelled, and undo what their runbook says. Targets not begun stay as they are.
          </p>
        </ActDialog>
      )}
      {dialog === 'accept' && (
        <ActDialog
          title={`Go on with ${failed} failures?`}
          subject={subject}
          wanted={{
            said: `It goes on; ${failed} failures are accepted.`,
            patch: () => ({ spec: { acceptedFailures: failed } }),
          }}
          verb="Go on"
          onClose={() => setDialog(undefined)}
        >
          <p>
            It has paused itself, as more targets failed than its limit allows. It pauses again with the next
            failure beyond.
          </p>
        </ActDialog>
      )}
      {dialog === 'limits' && (
        <Limits subject={subject} manifest={manifest} onClose={() => setDialog(undefined)} />
      )}
    </>
  );
}

/** A count, or a share such as `2%`: as the API takes either. */
export const countOrShare = (text: string): number | string => (/^\d+$/.test(text) ? Number(text) : text);

function Limits({
  subject,
  manifest,
  onClose,
}: {
  subject: Subject;
  manifest: Manifest;
  onClose: () => void;
}) {
  const was = (field: string) => shown(at(manifest, `spec.${field}`));
  const [concurrency, setConcurrency] = useState(was('concurrency'));
  const [domains, setDomains] = useState(was('domainsAtOnce'));
  const [failures, setFailures] = useState(was('failureLimit'));
  const spec: Record<string, unknown> = {};
  if (concurrency !== was('concurrency')) spec['concurrency'] = Number(concurrency);
  if (domains !== was('domainsAtOnce')) spec['domainsAtOnce'] = Number(domains);
  if (failures !== was('failureLimit')) spec['failureLimit'] = countOrShare(failures);
  return (
    <ActDialog
      title="How fast it goes"
      subject={subject}
      wanted={{ said: 'The limits are changed.', patch: () => ({ spec }) }}
      verb="Change"
      onClose={onClose}
    >
      <Field label="Runs in work at once" hint="Those that wait for the ledger among them.">
        {(ids) => (
          <input
            {...ids}
            className="input"
            inputMode="numeric"
            value={concurrency}
            onChange={(event) => setConcurrency(event.target.value)}
          />
        )}
      </Field>
      <Field label="Failure domains at once">
        {(ids) => (
          <input
            {...ids}
            className="input"
            inputMode="numeric"
            value={domains}
            onChange={(event) => setDomains(event.target.value)}
          />
        )}
      </Field>
      <Field label="Failure limit" hint="A count, or a share such as 2%: it pauses itself past that.">
        {(ids) => (
          <input
            {...ids}
            className="input"
            value={failures}
            onChange={(event) => setFailures(event.target.value)}
          />
        )}
      </Field>
    </ActDialog>
  );
}
