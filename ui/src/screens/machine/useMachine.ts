// What is on a machine now, and which run drains it.
import { MachinePageDocument } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { useLiveQuery } from '../../api/live';
import { DRAIN } from './leaving';

/** Instances come and go a few a second; nobody reads it faster than this. */
const EVERY_MS = 500;

export function useMachine(namespace: string, name: string) {
  return useLiveQuery(
    {
      queryKey: ['machine', namespace, name],
      queryFn: ({ signal }) =>
        query(
          MachinePageDocument,
          {
            namespace,
            on: [
              { field: 'spec.host.kind', op: 'IN', values: ['Machine'] },
              { field: 'spec.host.name', op: 'IN', values: [name] },
            ],
            waits: [
              { field: 'spec.target.kind', op: 'IN', values: ['Instance'] },
              { field: 'status.phase', op: 'IN', values: ['Waiting'] },
            ],
            drains: [
              { field: 'spec.runbook', op: 'IN', values: [DRAIN] },
              { field: 'spec.target.name', op: 'IN', values: [name] },
              { field: 'status.phase', op: 'NOT_IN', values: ['Succeeded', 'Failed', 'Cancelled'] },
            ],
          },
          signal,
        ),
    },
    [
      { kind: 'Instance', namespace },
      { kind: 'Permit', namespace },
      { kind: 'Run', namespace },
    ],
    EVERY_MS,
  );
}
