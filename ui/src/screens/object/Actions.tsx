// What can be done with an object: its kind's own verbs, the runbooks for its kind, and deleting it.
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { SearchDocument } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { useKinds, type KindInfo } from '../../api/kinds';
import type { Manifest } from '../../api/kube';
import { Menu, MenuHeading, MenuItem, MenuLine } from '../../design/menu';
import { Button } from '../../design/parts';
import { shown } from '../../lib/text';
import { useMachineActions } from '../machine/useMachineActions';
import { CampaignActions } from '../campaign/CampaignActions';
import { RunActions } from '../run/RunActions';
import { StartRun } from '../run/StartRun';
import { WorkloadActions } from '../workload/WorkloadActions';
import { ActDialog } from './act';
import type { ObjectView } from './ObjectPage';

interface Props {
  info: KindInfo;
  object: ObjectView;
  manifest: Manifest;
}

/** Names of the runbooks for a kind, with what each is for. */
export function useRunbooks(kind: string) {
  const found = useQuery({
    queryKey: ['runbooks', kind],
    queryFn: ({ signal }) =>
      query(
        SearchDocument,
        {
          kinds: ['Runbook'],
          filters: [{ field: 'spec.target.kind', op: 'IN', values: [kind] }],
          sort: { field: 'metadata.name', descending: false },
          facets: [],
          first: 100,
        },
        signal,
      ),
    staleTime: 60_000,
  });
  return (found.data?.search.edges ?? []).map(({ node }) => ({
    name: node.name,
    summary: shown(node.columns.find((cell) => cell.name === 'Summary')?.value),
  }));
}

export function Actions({ info, object, manifest }: Props) {
  const subject = { info, namespace: object.namespace ?? null, name: object.name, uid: object.uid };
  return (
    <div className="row">
      {info.kind === 'Run' && <RunActions subject={subject} manifest={manifest} />}
      {info.kind === 'Campaign' && <CampaignActions subject={subject} manifest={manifest} />}
      {info.kind === 'Workload' && <WorkloadActions subject={subject} manifest={manifest} />}
      <More {...{ info, object, manifest }} />
    </div>
  );
}

function More({ info, object, manifest }: Props) {
  const [runbook, setRunbook] = useState<string>();
  const [deleting, setDeleting] = useState(false);
  const runbooks = useRunbooks(info.kind);
  const runs = useKinds().kind('Run');
  const mayRun = runs?.verbs.includes('create') ?? false;
  const isRunbook = info.kind === 'Runbook';
  const subject = { info, namespace: object.namespace ?? null, name: object.name, uid: object.uid };
  const [own, dialog] = useMachineActions(subject, manifest);
  return (
    <>
      <Menu trigger={<Button icon="more">{runbooks.length > 0 || own ? 'Actions' : 'More'}</Button>}>
        {own}
        {runbooks.length > 0 && <MenuHeading>Run on it</MenuHeading>}
        {runbooks.map((each) => (
          <MenuItem
            key={each.name}
            barred={mayRun ? undefined : 'You may not create runs.'}
            onSelect={() => setRunbook(each.name)}
          >
            <span>
              {each.name}
              <span className="faint small block">{each.summary}</span>
            </span>
          </MenuItem>
        ))}
        {isRunbook && <MenuItem onSelect={() => setRunbook(object.name)}>Start a run</MenuItem>}
        {(runbooks.length > 0 || isRunbook) && <MenuLine />}
        <MenuItem danger onSelect={() => setDeleting(true)}>
          Delete
        </MenuItem>
      </Menu>
      {dialog}
      {runbook && (
        <StartRun
          runbook={runbook}
          target={
            isRunbook
              ? undefined
              : { kind: info.kind, namespace: object.namespace ?? null, name: object.name }
          }
          onClose={() => setRunbook(undefined)}
        />
      )}
      {deleting && (
        <ActDialog
          title={`Delete ${info.singular} ${object.name}?`}
          subject={subject}
          wanted="delete"
          verb="Delete"
          danger
          typed={object.name}
          onClose={() => setDeleting(false)}
        >
          <p>
            The object goes, and what it owns with it, once its finalizers are done. This is not undone; the
            timeline keeps what it was.
          </p>
        </ActDialog>
      )}
    </>
  );
}
