// What can be done with a machine besides what its runbooks do: cordon, uncordon, drain.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState, type ReactNode } from 'react';
import { cordon, shell } from '../../api/core';
import { Refused } from '../../api/errors';
import { kubectl, merge, type Manifest } from '../../api/kube';
import { MenuHeading, MenuItem, MenuLine } from '../../design/menu';
import { tell } from '../../design/toasts';
import { at } from '../../lib/text';
import type { Subject } from '../object/act';
import { Drain } from './Drain';

/**
 * As kubectl does it, on the Node that the machine is, which also takes back that instances were asked to go. Who may write
 * the machine and no nodes does the same to the machine. Answers the line that did it.
 */
async function write(machine: Subject, unschedulable: boolean): Promise<string> {
  try {
    await cordon(machine, unschedulable);
    return shell.cordon(machine, unschedulable);
  } catch (error) {
    if (!(error instanceof Refused) || error.code !== 403) throw error;
    const patch = { spec: { unschedulable } };
    await merge(machine.info, machine, patch);
    return kubectl.merge(machine.info.plural, machine, patch);
  }
}

/** Items of its menu, and the dialog that one of them has opened; nothing for another kind. */
export function useMachineActions(subject: Subject, manifest: Manifest): [ReactNode, ReactNode] {
  const [draining, setDraining] = useState(false);
  const client = useQueryClient();
  const cordoned = at(manifest, 'spec.unschedulable') === true;
  const act = useMutation({
    mutationFn: (unschedulable: boolean) => write(subject, unschedulable),
    onSuccess: (line, unschedulable) => {
      tell(
        'ok',
        unschedulable ? 'Nothing new is placed on it.' : 'It takes more again, and nothing of it has to go.',
        line,
      );
      void client.invalidateQueries({ queryKey: ['object'] });
    },
    onError: (error) => tell('fail', error.message),
  });
  if (subject.info.kind !== 'Machine') return [null, null];
  const busy = act.isPending ? 'It is being done.' : undefined;
  return [
    <>
      <MenuHeading>What is on it</MenuHeading>
      <MenuItem barred={busy} onSelect={() => act.mutate(!cordoned)}>
        <span>
          {cordoned ? 'Uncordon' : 'Cordon'}
          <span className="faint small block">
            {cordoned
              ? 'It takes more again, and nothing of it has to go.'
              : 'Nothing new is placed on it; what is there stays.'}
          </span>
        </span>
      </MenuItem>
      <MenuItem onSelect={() => setDraining(true)}>
        <span>
          Drain
          <span className="faint small block">What is on it goes elsewhere, as the ledger lets it.</span>
        </span>
      </MenuItem>
      <MenuLine />
    </>,
    draining && <Drain machine={subject} onClose={() => setDraining(false)} />,
  ];
}
