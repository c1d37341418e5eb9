// What the schema's fields give, from the objects of a `Plane`. As the real server answers in outline; what only it can
// know (histories, cursors that stay valid) is empty here.
import type { Manifest } from '../../src/api/kube';
import { shown } from '../../src/lib/text';
import type { KindRow, Plane } from './plane';

type Row = Record<string, unknown>;
interface Filter {
  field: string;
  op: string;
  values: string[];
}

/** A dotted path, with `[type=Ready]` for a condition and label names that have dots. */
export function value(object: unknown, path: string): unknown {
  const label = /^\.?metadata\.labels\.(.+)$/.exec(path);
  if (label) return (object as Manifest).metadata.labels?.[label[1] ?? ''];
  let here: unknown = object;
  for (const part of path.replace(/^\./, '').split(/\.(?![^[]*\])/)) {
    const pick = /^(\w+)\[\??\(?@?\.?type=+"?(\w+)"?\)?\]$/.exec(part);
    if (typeof here !== 'object' || here === null) return undefined;
    here = (here as Row)[pick?.[1] ?? part];
    if (pick)
      here = Array.isArray(here) ? (here as Row[]).find((each) => each['type'] === pick[2]) : undefined;
  }
  return here;
}

const text = shown;

function counted(objects: Manifest[], field: string): { value: string; count: number }[] {
  const counts = new Map<string, number>();
  for (const object of objects) {
    const key = text(value(object, field));
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([each, count]) => ({ value: each, count })).sort((a, b) => b.count - a.count);
}

function passes(object: Manifest, { field, op, values }: Filter): boolean {
  const has = text(field === 'kind' ? object.kind : value(object, field));
  if (op === 'NOT_IN') return !values.includes(has);
  if (op === 'EXISTS') return has !== '';
  if (op === 'ABSENT') return has === '';
  if (op === 'PREFIX') return values.some((each) => has.startsWith(each));
  if (op === 'CONTAINS') return values.some((each) => has.toLowerCase().includes(each.toLowerCase()));
  return values.includes(has);
}

export function resolvers(plane: Plane): Row {
  const rows = new Map(plane.kinds.map((row) => [row.kind, row]));
  const reference = (kind: string, namespace: string | null, name: string) => ({
    kind,
    namespace,
    name,
    object: () => {
      const found = plane.find(kind, namespace, name);
      return found ? view(found) : null;
    },
  });

  function view(object: Manifest): Row {
    const row = rows.get(object.kind);
    const conditions = () =>
      ((value(object, 'status.conditions') as Row[] | undefined) ?? []).map((each) => ({ ...each }));
    return {
      kind: object.kind,
      apiVersion: object.apiVersion,
      plural: row?.plural ?? '',
      namespace: object.metadata.namespace ?? null,
      name: object.metadata.name,
      uid: object.metadata.uid,
      resourceVersion: object.metadata.resourceVersion,
      phase: value(object, 'status.phase') ?? null,
      created: object.metadata.creationTimestamp ?? null,
      deleting: Boolean((object.metadata as Row)['deletionTimestamp']),
      labels: Object.entries(object.metadata.labels ?? {}).map(([name, each]) => ({ name, value: each })),
      columns: (row?.columns ?? []).map((column) => ({
        name: column.name,
        value: value(object, column.path) ?? null,
      })),
      fields: ({ paths }: { paths: string[] }) => paths.map((path) => value(object, path) ?? null),
      json: object,
      conditions,
      ready: () => conditions().find((each) => each['type'] === 'Ready') ?? null,
      owners: [],
      links: () => links(object),
      graph: ({ hops }: { hops: number }) => graph(object, hops),
      timeline: { entries: [], endCursor: null, complete: true },
      events: [],
    };
  }

  /** The few links that tests and pictures need: of servers, machines, instances, runs, services. */
  function related(object: Manifest): { relation: string; direction: 'IN' | 'OUT'; to: Manifest[] }[] {
    const one = (kind: string, namespace: unknown, name: unknown) => {
      const found = name ? plane.find(kind, text(namespace) || null, text(name)) : undefined;
      return found ? [found] : [];
    };
    const ns = object.metadata.namespace ?? null;
    const name = object.metadata.name;
    const all = (kind: string, test: (each: Manifest) => boolean) =>
      plane.objects.filter((each) => each.kind === kind && test(each));
    const out = (relation: string, to: Manifest[]) => ({ relation, direction: 'OUT' as const, to });
    const into = (relation: string, to: Manifest[]) => ({ relation, direction: 'IN' as const, to });
    switch (object.kind) {
      case 'Server':
        return [
          out('rack', one('Rack', null, value(object, 'spec.location.rack'))),
          out(
            'machine',
            one(
              'Machine',
              value(object, 'status.machineRef.namespace'),
              value(object, 'status.machineRef.name'),
            ),
          ),
        ];
      case 'Machine':
        return [
          out('server', one('Server', null, value(object, 'status.server'))),
          into(
            'instances',
            all(
              'Instance',
              (each) => each.metadata.namespace === ns && value(each, 'spec.host.name') === name,
            ),
          ),
        ];
      case 'Instance':
        return [
          out('service', one('Service', ns, value(object, 'spec.service'))),
          out('machine', one('Machine', ns, value(object, 'spec.host.name'))),
        ];
      case 'Service':
        return [
          into(
            'instances',
            all('Instance', (each) => each.metadata.namespace === ns && value(each, 'spec.service') === name),
          ),
        ];
      case 'Rack':
        return [
          out('site', one('Site', null, value(object, 'spec.site'))),
          into(
            'servers',
            all('Server', (each) => value(each, 'spec.location.rack') === name),
          ),
        ];
      default:
        return [];
    }
  }

  function links(object: Manifest): Row[] {
    return related(object).map(({ relation, direction, to }) => ({
      relation,
      direction,
      kind: to[0]?.kind ?? null,
      total: to.length,
      nodes: to.slice(0, 12).map(view),
      missing: [],
    }));
  }

  const id = (object: Manifest) =>
    `${object.kind}/${object.metadata.namespace ?? ''}/${object.metadata.name}`;

  function graph(from: Manifest, hops: number): Row {
    const distance = new Map([[id(from), 0]]);
    const seen = [from];
    const edges: Row[] = [];
    for (const object of seen) {
      const here = distance.get(id(object)) ?? 0;
      if (here >= hops) continue;
      for (const { relation, direction, to } of related(object)) {
        for (const other of to.slice(0, 24)) {
          if (!distance.has(id(other))) {
            distance.set(id(other), here + 1);
            seen.push(other);
          }
          const [a, b] = direction === 'OUT' ? [object, other] : [other, object];
          if (!edges.some((edge) => edge['from'] === id(a) && edge['to'] === id(b)))
            edges.push({ from: id(a), to: id(b), relation });
        }
      }
    }
    const nodes = seen.slice(0, 300).map((object) => ({
      id: id(object),
      kind: object.kind,
      namespace: object.metadata.namespace ?? null,
      name: object.metadata.name,
      phase: value(object, 'status.phase') ?? null,
      owner: value(object, 'spec.owner') ?? null,
      distance: distance.get(id(object)),
      hidden: 0,
      missing: false,
    }));
    return { nodes, edges, truncated: false };
  }

  function search(asked: {
    kinds?: string[] | null;
    namespaces?: string[] | null;
    text?: string | null;
    filters?: Filter[] | null;
    labels?: string | null;
    sort?: { field: string; descending: boolean } | null;
    facets?: string[] | null;
    first: number;
    skip?: number | null;
  }): Row {
    const wanted = asked.text?.toLowerCase();
    const labels = (asked.labels ?? '').split(',').filter(Boolean);
    const found = plane.objects.filter((object) => {
      if (asked.kinds && !asked.kinds.includes(object.kind)) return false;
      if (asked.namespaces && !asked.namespaces.includes(object.metadata.namespace ?? '')) return false;
      if (!(asked.filters ?? []).every((filter) => passes(object, filter))) return false;
      if (!labels.every((each) => object.metadata.labels?.[each.split('=')[0] ?? ''] === each.split('=')[1]))
        return false;
      if (!wanted) return true;
      const serial = text(value(object, 'spec.serial'));
      const all = [
        object.metadata.name,
        object.metadata.namespace,
        serial,
        ...Object.values(object.metadata.labels ?? {}),
      ];
      return all.some((each) => text(each).toLowerCase().includes(wanted));
    });
    const field = asked.sort?.field ?? 'metadata.name';
    found.sort((a, b) => text(value(a, field)).localeCompare(text(value(b, field)), 'en', { numeric: true }));
    if (asked.sort?.descending) found.reverse();
    const page = found.slice(asked.skip ?? 0, (asked.skip ?? 0) + asked.first);
    return {
      total: found.length,
      revision: '1',
      facets: (asked.facets ?? []).map((each) => ({
        field: each,
        values: counted(found, each).slice(0, 100),
        other: 0,
      })),
      edges: page.map((object) => ({ cursor: object.metadata.uid, node: view(object) })),
      pageInfo: { hasNextPage: false, endCursor: null },
    };
  }

  const info = (row: KindRow): Row => ({
    ...row,
    apiVersion: row.group ? `${row.group}/${row.version}` : row.version,
    singular: row.kind.toLowerCase(),
    shortNames: row.shortNames ?? [],
    description: `A ${row.kind}.`,
    columns: (row.columns ?? []).map((column) => ({
      type: 'string',
      wide: false,
      description: '',
      ...column,
    })),
    fields: row.fields ?? [],
    relations: [],
    count: plane.objects.filter((object) => object.kind === row.kind).length,
    verbs: ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete'],
  });

  const busy = new Set([
    'Pending',
    'Queued',
    'Running',
    'Suspended',
    'Compensating',
    'Canary',
    'Paused',
    'Planned',
  ]);
  const underWay = (kind: string) =>
    plane.objects.filter((object) => object.kind === kind && busy.has(text(value(object, 'status.phase'))));

  function fleet({ by }: { by?: string[] | null }): Row {
    const servers = plane.objects.filter((object) => object.kind === 'Server');
    const counts = (of: Manifest[]) => (by ?? []).map((field) => ({ field, values: counted(of, field) }));
    const site = (object: Manifest) => {
      const rack = plane.find('Rack', null, text(value(object, 'spec.location.rack')));
      return text(rack && value(rack, 'spec.site'));
    };
    const sites = [...new Set(servers.map(site))].sort();
    return {
      total: servers.length,
      counts: counts(servers),
      revision: '1',
      places: sites.map((each) => {
        const within = servers.filter((object) => site(object) === each);
        return {
          place: { site: each, hall: null, row: null, rack: null },
          servers: within.length,
          counts: counts(within),
        };
      }),
    };
  }

  function permits(test: (permit: Manifest) => boolean): Row[] {
    return plane.objects
      .filter((object) => object.kind === 'Permit' && test(object))
      .map((object) => ({
        reference: reference('Permit', object.metadata.namespace ?? null, object.metadata.name ?? ''),
        phase: value(object, 'status.phase') ?? 'Asked',
        message: value(object, 'status.message') ?? null,
        asked: value(object, 'spec.asked') ?? null,
        granted: value(object, 'status.granted') ?? null,
        target: reference(
          text(value(object, 'spec.target.kind')),
          null,
          text(value(object, 'spec.target.name')),
        ),
        servers: value(object, 'status.servers') ?? 0,
        instances: value(object, 'status.instances') ?? 0,
        services: value(object, 'status.services') ?? [],
        approvedBy: value(object, 'status.approvedBy') ?? [],
      }));
  }

  function run({ namespace, name }: { namespace: string; name: string }): Row | null {
    const object = plane.find('Run', namespace, name);
    if (!object) return null;
    const target = value(object, 'spec.target') as Row | undefined;
    const campaign = object.metadata.labels?.['quarterdeck.dev/campaign'];
    return {
      object: view(object),
      runbook: value(object, 'spec.runbook'),
      target: target ? reference(text(target['kind']), null, text(target['name'])) : null,
      params: value(object, 'spec.params') ?? {},
      phase: value(object, 'status.phase') ?? 'Pending',
      step: value(object, 'status.step') ?? null,
      progress: value(object, 'status.progress') ?? null,
      message: value(object, 'status.message') ?? null,
      requestedBy: value(object, 'spec.requestedBy') ?? null,
      dryRun: value(object, 'spec.dryRun') ?? false,
      suspended: value(object, 'spec.suspend') ?? false,
      cancelling: value(object, 'spec.cancel') ?? false,
      campaign: campaign ? reference('Campaign', namespace, campaign) : null,
      startTime: value(object, 'status.startTime') ?? null,
      completionTime: value(object, 'status.completionTime') ?? null,
      deadline: value(object, 'status.deadline') ?? null,
      steps: ((value(object, 'status.steps') as Row[] | undefined) ?? []).map((step) => {
        const path = text(step['name']).split('/');
        return {
          attempts: 1,
          ...step,
          parent: path.slice(0, -1).join('/') || null,
          depth: path.length - 1,
          critical: false,
        };
      }),
      permits: permits((permit) => permit.metadata.name === name && permit.metadata.namespace === namespace),
      approvals: value(object, 'spec.approvals') ?? [],
      outputs: value(object, 'status.outputs') ?? {},
    };
  }

  function campaign({ namespace, name }: { namespace: string; name: string }): Row | null {
    const object = plane.find('Campaign', namespace, name);
    if (!object) return null;
    const spec = (object.spec ?? {}) as Row;
    const status = (object.status ?? {}) as Row;
    const runs = plane.objects.filter(
      (each) => each.kind === 'Run' && each.metadata.labels?.['quarterdeck.dev/campaign'] === name,
    );
    const rackOf = (each: Manifest) => {
      const server = plane.find('Server', null, text(value(each, 'spec.target.name')));
      return text(server && value(server, 'spec.location.rack'));
    };
    const phase = (each: Manifest) => text(value(each, 'status.phase') ?? 'Pending');
    const count = (of: Manifest[], wanted: string) => of.filter((each) => phase(each) === wanted).length;
    const names = [...new Set(runs.map(rackOf))].sort();
    return {
      object: view(object),
      targetKind: value(object, 'spec.targets.kind') ?? 'Server',
      params: {},
      paused: false,
      cancelling: spec['cancel'] ?? false,
      concurrency: 1,
      domainsAtOnce: 1,
      failureDomain: 'Rack',
      ...spec,
      ...Object.fromEntries(
        ['targets', 'left', 'running', 'waiting', 'succeeded', 'failed', 'domains'].map((key) => [
          key,
          status[key] ?? 0,
        ]),
      ),
      phase: status['phase'] ?? 'Pending',
      message: status['message'] ?? null,
      canaries: status['canaries'] ?? [],
      startTime: status['startTime'] ?? null,
      expectedEnd: status['expectedEnd'] ?? null,
      completionTime: status['completionTime'] ?? null,
      blockers: status['waitsFor'] ?? [],
      failures: status['failures'] ?? [],
      approvals: spec['approvals'] ?? [],
      lanes: names.map((lane) => {
        const of = runs.filter((each) => rackOf(each) === lane);
        return {
          name: lane,
          canary: false,
          targets: of.length,
          running: count(of, 'Running'),
          waiting: count(of, 'Queued'),
          succeeded: count(of, 'Succeeded'),
          failed: count(of, 'Failed'),
          startTime:
            of
              .map((each) => text(value(each, 'status.startTime')))
              .filter(Boolean)
              .sort()[0] ?? null,
          endTime: null,
          runs: of.map((each) => ({
            target: value(each, 'spec.target.name'),
            run: each.metadata.name,
            phase: phase(each),
          })),
        };
      }),
      runs: () => search({ kinds: ['Run'], first: 50 }),
    };
  }

  function uses(service: Manifest): { namespace: string; name: string; type: string }[] {
    const named = (value(service, 'spec.dependsOn') as Row[] | undefined) ?? [];
    return named.map((each) => ({
      namespace: text(each['namespace']) || (service.metadata.namespace ?? ''),
      name: text(each['name']),
      type: each['type'] === 'Soft' ? 'SOFT' : 'HARD',
    }));
  }

  function service({ namespace, name }: { namespace: string; name: string }): Row | null {
    const object = plane.find('Service', namespace, name);
    if (!object) return null;
    const instances = plane.objects.filter(
      (each) =>
        each.kind === 'Instance' &&
        each.metadata.namespace === namespace &&
        value(each, 'spec.service') === name,
    );
    return {
      object: view(object),
      owner: value(object, 'spec.owner') ?? null,
      tier: value(object, 'spec.tier') ?? null,
      contacts: value(object, 'spec.contacts') ?? [],
      phase: value(object, 'status.phase') ?? null,
      instances: value(object, 'status.instances') ?? 0,
      down: value(object, 'status.down') ?? 0,
      budget:
        Number(value(object, 'status.down') ?? 0) + Number(value(object, 'status.disruptionsAllowed') ?? 0),
      disruptionsAllowed: value(object, 'status.disruptionsAllowed') ?? 0,
      closedUntil: null,
      phases: counted(instances, 'status.phase'),
      sites: [],
      racks: [],
      dependsOn: uses(object).map(({ namespace: ns, name: other, type }) => ({
        type,
        service: reference('Service', ns, other),
      })),
      usedBy: plane.objects
        .filter((each) => each.kind === 'Service')
        .flatMap((each) =>
          uses(each)
            .filter((used) => used.namespace === namespace && used.name === name)
            .map(({ type }) => ({
              type,
              service: reference('Service', each.metadata.namespace ?? '', each.metadata.name ?? ''),
            })),
        ),
      permits: permits((permit) =>
        ((value(permit, 'status.services') as Row[] | undefined) ?? []).some(
          (each) => each['service'] === `${namespace}/${name}`,
        ),
      ),
    };
  }

  function rack({ name }: { name: string }): Row | null {
    const object = plane.find('Rack', null, name);
    if (!object) return null;
    const servers = plane.objects.filter(
      (each) => each.kind === 'Server' && value(each, 'spec.location.rack') === name,
    );
    servers.sort((a, b) => Number(value(a, 'spec.location.unit')) - Number(value(b, 'spec.location.unit')));
    const machine = (server: Manifest) =>
      plane.find(
        'Machine',
        text(value(server, 'status.machineRef.namespace')),
        text(value(server, 'status.machineRef.name')),
      );
    const services = (server: Manifest) => {
      const on = machine(server);
      const instances = plane.objects.filter(
        (each) => each.kind === 'Instance' && on && value(each, 'spec.host.name') === on.metadata.name,
      );
      return counted(instances, 'spec.service').map((each) => ({
        ...each,
        value: `${on?.metadata.namespace}/${each.value}`,
      }));
    };
    const sum = new Map<string, number>();
    for (const each of servers.flatMap(services))
      sum.set(each.value, (sum.get(each.value) ?? 0) + each.count);
    return {
      object: view(object),
      place: {
        site: value(object, 'spec.site') ?? '',
        hall: value(object, 'spec.hall'),
        row: value(object, 'spec.row'),
        rack: name,
      },
      units: value(object, 'spec.units') ?? 42,
      powerFeeds: value(object, 'spec.powerFeeds') ?? [],
      slots: servers.map((server) => {
        const on = machine(server);
        return {
          unit: value(server, 'spec.location.unit') ?? null,
          height: value(server, 'spec.location.height') ?? 1,
          server: view(server),
          machine: on ? view(on) : null,
          power: value(server, 'status.powerState') ?? null,
          services: services(server),
        };
      }),
      services: [...sum].map(([each, count]) => ({ value: each, count })).sort((a, b) => b.count - a.count),
    };
  }

  return {
    search,
    object: ({ kind, namespace, name }: { kind: string; namespace?: string | null; name: string }) => {
      const found = plane.find(kind, namespace, name);
      return found ? view(found) : null;
    },
    kinds: () => plane.kinds.map(info),
    me: { ...plane.me, may: () => true },
    fleet,
    home: () => ({
      mine: plane.me.teams.length > 0,
      teams: plane.me.teams,
      services: plane.objects
        .filter((object) => object.kind === 'Service')
        .slice(0, 50)
        .map(view),
      servicesTotal: plane.objects.filter((object) => object.kind === 'Service').length,
      runs: underWay('Run').slice(0, 20).map(view),
      runsTotal: underWay('Run').length,
      campaigns: underWay('Campaign').map(view),
      campaignsTotal: underWay('Campaign').length,
      next: permits((permit) => value(permit, 'status.phase') === 'Waiting')
        .slice(0, 20)
        .map((permit) => ({
          kind: 'PERMIT',
          at: permit['asked'],
          title: `disrupt ${(permit['target'] as Row)['name'] as string}`,
          message: permit['message'],
          subject: permit['reference'],
          services: [],
        })),
      waiting: plane.waiting.map((each) => ({
        ...each,
        subject: reference(each.subject.kind, each.subject.namespace, each.subject.name),
        since: '2026-11-30T12:00:00Z',
        deadline: null,
      })),
    }),
    run,
    campaign,
    service,
    impact: ({ targets }: { targets: { kind: string; name: string }[] }) => plane.impact(targets),
    rack,
    calendar: () =>
      plane.objects
        .filter((object) => ['Freeze', 'Campaign', 'Schedule'].includes(object.kind))
        .map((object) => ({
          id: id(object),
          kind: object.kind.toUpperCase(),
          title: object.metadata.name,
          start:
            value(object, 'spec.start') ??
            value(object, 'status.startTime') ??
            value(object, 'status.nextScheduleTime') ??
            object.metadata.creationTimestamp,
          end: value(object, 'spec.end') ?? value(object, 'status.expectedEnd') ?? null,
          subject: reference(object.kind, object.metadata.namespace ?? null, object.metadata.name ?? ''),
          collides: [],
        })),
  };
}
