// Planning a campaign: a runbook, the targets as they are found now, and how fast. It is created paused, so that its
// plan is seen before anything begins.
import { keepPreviousData, useMutation, useQuery } from '@tanstack/react-query';
import { useSearch } from '@tanstack/react-router';
import { useDeferredValue, useState } from 'react';
import { SearchDocument } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { create, kubectl, type Manifest } from '../../api/kube';
import { useKinds, type KindInfo } from '../../api/kinds';
import { Button, Command, ErrorNotice, Field, Panel } from '../../design/parts';
import { Status } from '../../design/glyphs';
import { tell } from '../../design/toasts';
import { at, plural, shown } from '../../lib/text';
import { ObjectLink, useOpen } from '../../shell/links';
import { countOrShare } from '../campaign/CampaignActions';
import { ParameterFields } from '../run/ParameterFields';
import { read, type Parameter, type Typed } from '../run/parameters';
import { NamespaceField, RUN_VERSION, useRunbook, useRunNamespace } from '../run/StartRun';

/** `a=b,c=d` as labels; null when it is not that. */
export function labelsOf(text: string): Record<string, string> | null {
  const labels: Record<string, string> = {};
  for (const part of text.split(',').map((each) => each.trim())) {
    const match = /^([\w./-]+)=([\w.-]*)$/.exec(part);
    if (!match?.[1]) return null;
    labels[match[1]] = match[2] ?? '';
  }
  return labels;
}

const DOMAINS = ['Rack', 'Row', 'Hall', 'Site', 'PowerFeed', 'None'];

function useAllRunbooks() {
  const found = useQuery({
    queryKey: ['runbooks', 'all'],
    queryFn: ({ signal }) =>
      query(
        SearchDocument,
        {
          kinds: ['Runbook'],
          filters: [{ field: 'spec.target.kind', op: 'EXISTS', values: [] }],
          sort: { field: 'metadata.name', descending: false },
          facets: [],
          first: 200,
        },
        signal,
      ),
    staleTime: 60_000,
  });
  return (found.data?.search.edges ?? []).map((edge) => edge.node.name);
}

export function CampaignForm({ info }: { info: KindInfo }) {
  const search = useSearch({ from: '/new/$plural' });
  const [namespace, setNamespace] = useRunNamespace();
  const [name, setName] = useState('');
  const [runbook, setRunbook] = useState('');
  const [selector, setSelector] = useState(search.selector ?? '');
  const [typed, setTyped] = useState<Typed>({});
  const [limits, setLimits] = useState({
    canary: '1',
    concurrency: '20',
    domainsAtOnce: '2',
    failureLimit: '2%',
  });
  const [domain, setDomain] = useState('Rack');
  const [tried, setTried] = useState(false);
  const runbooks = useAllRunbooks();
  const found = useRunbook(runbook);
  const parameters = (at(found.data, 'spec.parameters') as Parameter[] | undefined) ?? [];
  const kind = (at(found.data, 'spec.target.kind') as string | undefined) ?? 'Server';
  const labels = labelsOf(selector);
  const { params, wrong } = read(parameters, typed);
  const open = useOpen();
  const manifest: Manifest = {
    apiVersion: RUN_VERSION,
    kind: 'Campaign',
    metadata: { name: name.trim(), namespace },
    spec: {
      runbook,
      ...(Object.keys(params).length > 0 ? { params } : {}),
      targets: { kind, selector: { matchLabels: labels ?? {} } },
      canary: countOrShare(limits.canary),
      failureDomain: domain,
      domainsAtOnce: Number(limits.domainsAtOnce),
      concurrency: Number(limits.concurrency),
      failureLimit: countOrShare(limits.failureLimit),
      paused: true,
    },
  };
  const plan = useMutation({
    mutationFn: () => create(info, manifest),
    onSuccess: (made) => {
      tell('ok', 'The campaign is planned. Nothing begins until you start it.', kubectl.create(manifest));
      open({ kind: 'Campaign', namespace: made.metadata.namespace ?? null, name: made.metadata.name ?? '' });
    },
  });
  const missing = {
    name: name.trim() === '' ? 'Give it a name.' : undefined,
    runbook: runbook === '' ? 'Choose what is done.' : undefined,
    selector: labels === null ? 'Write labels as hardware=compute-gen4,site=ams1.' : undefined,
  };
  const submit = () => {
    setTried(true);
    if (!Object.values(missing).some(Boolean) && Object.keys(wrong).length === 0) plan.mutate();
  };
  const wrongly = (text: string | undefined) => (tried ? text : undefined);
  const text = (field: keyof typeof limits, label: string, hint: string) => (
    <Field label={label} hint={hint}>
      {(ids) => (
        <input
          {...ids}
          className="input"
          value={limits[field]}
          onChange={(event) => setLimits({ ...limits, [field]: event.target.value })}
        />
      )}
    </Field>
  );
  return (
    <div className="screen">
      <form
        className="campaign-form"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <div className="stack wide-gap">
          <h1>New campaign</h1>
          {plan.isError && <ErrorNotice error={plan.error} />}
          <Panel title="What and on what">
            <div className="stack wide-gap">
              <Field label="Name" wrong={wrongly(missing.name)}>
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
              <NamespaceField value={namespace} onChange={setNamespace} />
              <Field
                label="Runbook"
                hint={shown(at(found.data, 'spec.summary'))}
                wrong={wrongly(missing.runbook)}
              >
                {(ids) => (
                  <select
                    {...ids}
                    className="select"
                    value={runbook}
                    onChange={(event) => setRunbook(event.target.value)}
                  >
                    <option value="">Choose</option>
                    {runbooks.map((each) => (
                      <option key={each}>{each}</option>
                    ))}
                  </select>
                )}
              </Field>
              <ParameterFields
                parameters={parameters}
                typed={typed}
                wrong={tried ? wrong : {}}
                onChange={setTyped}
              />
              <Field
                label="Labels of the targets"
                hint="Such as hardware=compute-gen4,site=ams1. Those that have all of them."
                wrong={wrongly(missing.selector)}
              >
                {(ids) => (
                  <input
                    {...ids}
                    className="input mono"
                    value={selector}
                    onChange={(event) => setSelector(event.target.value)}
                  />
                )}
              </Field>
            </div>
          </Panel>
          <Panel title="How fast">
            <div className="field-grid">
              {text('canary', 'Canaries', 'Done before all others: a count, or 1%.')}
              <Field label="Failure domain" hint="The place that is done as one.">
                {(ids) => (
                  <select
                    {...ids}
                    className="select"
                    value={domain}
                    onChange={(event) => setDomain(event.target.value)}
                  >
                    {DOMAINS.map((each) => (
                      <option key={each}>{each}</option>
                    ))}
                  </select>
                )}
              </Field>
              {text('domainsAtOnce', 'Domains at once', 'In how many targets are in work.')}
              {text('concurrency', 'Runs at once', 'Those that wait for the ledger among them.')}
              {text('failureLimit', 'Failure limit', 'It pauses itself past that: a count, or 2%.')}
            </div>
          </Panel>
          <div className="row">
            <Button look="primary" size="big" type="submit" barred={plan.isPending && 'It is being planned.'}>
              Plan it
            </Button>
            <span className="muted">It is created paused: nothing begins before you have seen the plan.</span>
          </div>
          <Command line={kubectl.create(manifest)} />
        </div>
        <Targets kind={kind} labels={labels ? selector : ''} />
      </form>
    </div>
  );
}

function Targets({ kind, labels }: { kind: string; labels: string }) {
  const wanted = useDeferredValue(labels);
  const known = useKinds().kind(kind);
  const found = useQuery({
    queryKey: ['targets', kind, wanted],
    queryFn: ({ signal }) =>
      query(SearchDocument, { kinds: [kind], labels: wanted, facets: ['status.phase'], first: 40 }, signal),
    enabled: wanted !== '' && Boolean(known),
    placeholderData: keepPreviousData,
  });
  const result = wanted === '' ? undefined : found.data?.search;
  return (
    <Panel title="Targets now" count={result ? plural(result.total, kind) : undefined} flush>
      {found.isError && <ErrorNotice error={found.error} />}
      {!result ? (
        <p className="pad muted">They are listed here as soon as the labels say which.</p>
      ) : (
        <>
          <p className="pad row wrap">
            {result.facets[0]?.values.map(({ value, count }) => (
              <span key={value} className="row">
                <Status phase={value || 'Unknown'} kind={kind} /> <span className="faint">{count}</span>
              </span>
            ))}
          </p>
          <ul className="pad target-list">
            {result.edges.map(({ node }) => (
              <li key={node.uid} className="cut">
                <ObjectLink target={node} full />
              </li>
            ))}
            {result.total > result.edges.length && (
              <li className="faint">and {result.total - result.edges.length} more</li>
            )}
          </ul>
        </>
      )}
    </Panel>
  );
}
