// One object of any kind: what it is now, what it is linked with, what happened to it, and all it says. What a kind has
// of its own stands in its overview.
import { Link, useParams, useSearch } from '@tanstack/react-router';
import { lazy, Suspense, type ComponentType } from 'react';
import { ObjectPageDocument, type ObjectPageQuery } from '../../api/generated/graphql';
import { query } from '../../api/graphql';
import { useKinds, type KindInfo } from '../../api/kinds';
import { kubectl, type Manifest } from '../../api/kube';
import { useLiveQuery } from '../../api/live';
import { Icon, iconOf, Status } from '../../design/glyphs';
import { Command, Empty, ErrorNotice, Loading, Notice } from '../../design/parts';
import { type Tab } from '../../router';
import { titleOf } from '../../shell/Nav';
import { NOWHERE } from '../../shell/links';
import { canGo } from '../impact/targets';
import { Actions } from './Actions';
import { Overview } from './Overview';

export type ObjectView = NonNullable<ObjectPageQuery['object']>;

export interface OverviewProps {
  info: KindInfo;
  object: ObjectView;
  manifest: Manifest;
}

// What a kind shows instead of the common overview, loaded when one is looked at.
const OWN: Record<string, ComponentType<OverviewProps>> = {
  Run: lazy(() => import('../run/RunOverview').then((module) => ({ default: module.RunOverview }))),
  Campaign: lazy(() =>
    import('../campaign/CampaignOverview').then((module) => ({ default: module.CampaignOverview })),
  ),
  Service: lazy(() =>
    import('../service/ServiceOverview').then((module) => ({ default: module.ServiceOverview })),
  ),
  Workload: lazy(() =>
    import('../workload/WorkloadOverview').then((module) => ({ default: module.WorkloadOverview })),
  ),
  Rack: lazy(() => import('../rack/RackOverview').then((module) => ({ default: module.RackOverview }))),
  Machine: lazy(() =>
    import('../machine/MachineOverview').then((module) => ({ default: module.MachineOverview })),
  ),
  Instance: lazy(() =>
    import('../instance/InstanceOverview').then((module) => ({ default: module.InstanceOverview })),
  ),
};
const Timeline = lazy(() => import('./Timeline').then((module) => ({ default: module.Timeline })));
const Yaml = lazy(() => import('./Yaml').then((module) => ({ default: module.Yaml })));
const ImpactTab = lazy(() => import('../impact/ImpactTab').then((module) => ({ default: module.ImpactTab })));
const LogsTab = lazy(() => import('../instance/LogsTab').then((module) => ({ default: module.LogsTab })));
const TerminalTab = lazy(() =>
  import('../instance/TerminalTab').then((module) => ({ default: module.TerminalTab })),
);
const GraphTab = lazy(() => import('../service/GraphTab').then((module) => ({ default: module.GraphTab })));

const TAB_NAMES: [Tab, string][] = [
  ['overview', 'Overview'],
  ['logs', 'Logs'],
  ['terminal', 'Terminal'],
  ['impact', 'Impact'],
  ['timeline', 'Timeline'],
  ['graph', 'Graph'],
  ['yaml', 'YAML'],
];

/** Whether a kind has a tab: all have those that are not named here. */
function has(kind: string, tab: Tab): boolean {
  if (tab === 'impact') return canGo(kind);
  return kind === 'Instance' || (tab !== 'logs' && tab !== 'terminal');
}

export function ObjectPage() {
  const { plural, namespace, name } = useParams({ from: '/o/$plural/$namespace/$name' });
  const info = useKinds().plural(plural);
  if (!info) {
    return (
      <div className="screen">
        <Empty page title={`The plane has no kind called ${plural}.`} command="kubectl api-resources" />
      </div>
    );
  }
  return (
    <One
      key={`${plural}/${namespace}/${name}`}
      info={info}
      namespace={namespace === NOWHERE ? null : namespace}
      name={name}
    />
  );
}

function One({ info, namespace, name }: { info: KindInfo; namespace: string | null; name: string }) {
  const { tab: asked = 'overview' } = useSearch({ from: '/o/$plural/$namespace/$name' });
  const tab = has(info.kind, asked) ? asked : 'overview';
  const found = useLiveQuery(
    {
      queryKey: ['object', info.kind, namespace, name],
      queryFn: ({ signal }) => query(ObjectPageDocument, { kind: info.kind, namespace, name }, signal),
    },
    [{ kind: info.kind, namespace, name }],
  );
  const object = found.data?.object;
  if (found.isError && !found.data) {
    return (
      <div className="screen">
        <ErrorNotice error={found.error} onRetry={() => void found.refetch()} />
      </div>
    );
  }
  if (found.isPending) {
    return (
      <div className="screen">
        <Loading lines={8} label={`Reading ${info.singular} ${name}`} />
      </div>
    );
  }
  if (!object) {
    return (
      <div className="screen">
        <Empty
          page
          title={`There is no ${info.singular} ${name}.`}
          command={kubectl.get(info.plural, { namespace, name })}
        >
          It may have been deleted, or you may not see it.
        </Empty>
      </div>
    );
  }
  const manifest = object.json as Manifest;
  const Own = OWN[info.kind] ?? Overview;
  return (
    <div className="object">
      <header className="screen-head">
        <div className="object-title">
          <nav aria-label="Where this is" className="crumbs">
            <Link to="/inventory/$plural" params={{ plural: info.plural }}>
              {titleOf(info)}
            </Link>
            {namespace && (
              <>
                <span aria-hidden="true">/</span>
                <Link to="/inventory/$plural" params={{ plural: info.plural }} search={{ ns: namespace }}>
                  {namespace}
                </Link>
              </>
            )}
          </nav>
          <h1 className="row">
            <Icon name={iconOf(info.kind)} />
            <span className="cut">{name}</span>
            {object.phase && <Status phase={object.phase} kind={info.kind} />}
          </h1>
        </div>
        <span className="grow" />
        <Actions info={info} object={object} manifest={manifest} />
      </header>
      <nav className="tabs" aria-label="Parts of this screen">
        {TAB_NAMES.filter(([each]) => has(info.kind, each)).map(([each, label]) => (
          <Link
            key={each}
            to="/o/$plural/$namespace/$name"
            params={{ plural: info.plural, namespace: namespace ?? NOWHERE, name }}
            search={(old: object) => ({ ...old, tab: each === 'overview' ? undefined : each })}
            className={tab === each ? 'tab here' : 'tab'}
            activeProps={{}}
            aria-current={tab === each ? 'page' : undefined}
          >
            {label}
          </Link>
        ))}
      </nav>
      <div className="object-body">
        {object.deleting && (
          <Notice tone="busy">
            It is being deleted since{' '}
            {manifest.metadata.creationTimestamp ? 'its deletion was asked for' : 'now'}; what its finalizers
            name is done first.
          </Notice>
        )}
        <Suspense fallback={<Loading lines={6} />}>
          {tab === 'overview' && <Own info={info} object={object} manifest={manifest} />}
          {tab === 'logs' && <LogsTab info={info} object={object} manifest={manifest} />}
          {tab === 'terminal' && <TerminalTab info={info} object={object} manifest={manifest} />}
          {tab === 'impact' && <ImpactTab kind={info.kind} namespace={namespace} name={name} />}
          {tab === 'timeline' && <Timeline info={info} namespace={namespace} name={name} />}
          {tab === 'graph' && <GraphTab info={info} namespace={namespace} name={name} />}
          {tab === 'yaml' && <Yaml info={info} manifest={manifest} />}
        </Suspense>
        {tab === 'overview' && (
          <details className="shell-lines">
            <summary>The same in a shell</summary>
            <Command line={kubectl.get(info.plural, { namespace, name })} />
            <Command line={kubectl.watch(info.plural, { namespace, name })} />
            {['Run', 'Campaign', 'Server', 'Machine', 'Service', 'Workload'].includes(info.kind) && (
              <Command
                line={`quarterdeck why ${info.singular}/${name}${namespace ? ` -n ${namespace}` : ''}`}
              />
            )}
          </details>
        )}
      </div>
    </div>
  );
}
