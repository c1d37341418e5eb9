// A plane in memory for component tests: the objects that a test puts in, seen through the published schema (which
// graphql-js checks each question against) and through the few paths of the Kubernetes API that the page writes to. It
// stands at the network's edge, in place of `fetch`; the flows in e2e/ run against the real binary.
import { buildSchema, execute, parse, validate, type GraphQLSchema } from 'graphql';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest } from '../../src/api/kube';
import { resolvers } from './resolvers';

export interface KindRow {
  kind: string;
  group: string;
  version: string;
  plural: string;
  namespaced: boolean;
  shortNames?: string[];
  columns?: { name: string; path: string; type?: string; wide?: boolean }[];
  fields?: string[];
}

const schema: GraphQLSchema = buildSchema(
  readFileSync(join(import.meta.dirname, '../../schema.graphql'), 'utf8'),
);

export interface Call {
  method: string;
  path: string;
  body: unknown;
}

export class Plane {
  kinds: KindRow[];
  objects: Manifest[] = [];
  me = { name: 'ann', groups: ['system:authenticated'], teams: ['shop'], namespaces: ['default', 'shop'] };
  /** What was written, in order. */
  calls: Call[] = [];
  /** Set, every request fails as if the plane were away. */
  away = false;
  /** Set, nobody is logged in. */
  anonymous = false;
  waiting: {
    subject: { kind: string; namespace: string; name: string };
    step: string | null;
    message: string;
  }[] = [];
  /** What is answered at paths of Pods, Nodes and what they take. */
  answers: Record<string, (url: URL) => Response> = {};
  /** What is answered when it is asked what breaks. */
  impact: (targets: { kind: string; name: string }[]) => unknown = () => ({
    servers: 0,
    instances: 0,
    verdict: null,
    servicesHit: 0,
    services: [],
  });
  private revision = 100;
  private uid = 1;

  constructor(kinds: KindRow[]) {
    this.kinds = kinds;
  }

  add(object: Manifest): Manifest {
    this.revision += 1;
    const metadata = {
      uid: `uid-${this.uid++}`,
      creationTimestamp: '2026-11-30T12:00:00Z',
      ...object.metadata,
      resourceVersion: String(this.revision),
    };
    const made = { ...object, metadata };
    this.objects.push(made);
    return made;
  }

  find(kind: string, namespace: string | null | undefined, name: string): Manifest | undefined {
    return this.objects.find(
      (each) =>
        each.kind === kind &&
        each.metadata.name === name &&
        (each.metadata.namespace ?? null) === (namespace ?? null),
    );
  }

  change(object: Manifest, next: Manifest): Manifest {
    this.revision += 1;
    const made = {
      ...next,
      metadata: { ...next.metadata, uid: object.metadata.uid, resourceVersion: String(this.revision) },
    };
    this.objects = this.objects.map((each) => (each === object ? (made as Manifest) : each));
    return made;
  }

  async graphql(query: string, variables: Record<string, unknown>): Promise<unknown> {
    const document = parse(query);
    const wrong = validate(schema, document);
    if (wrong.length > 0) return { errors: wrong.map((error) => ({ message: error.message })) };
    const result = await execute({ schema, document, rootValue: resolvers(this), variableValues: variables });
    if (result.errors) return { errors: result.errors.map((error) => ({ message: error.message })) };
    return { data: result.data };
  }

  /** In place of the browser's. */
  readonly fetch = async (input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(
      typeof input === 'string' ? input : input instanceof URL ? input.href : input.url,
      'https://plane',
    );
    if (this.away) throw new TypeError('Failed to fetch');
    if (this.anonymous && url.pathname !== '/session') return status(401, 'Unauthorized', 'Say who you are.');
    const method = init.method ?? 'GET';
    const body: unknown = typeof init.body === 'string' ? JSON.parse(init.body) : undefined;
    if (url.pathname === '/graphql') {
      const { query, variables } = body as { query: string; variables: Record<string, unknown> };
      return json(await this.graphql(query, variables));
    }
    if (method !== 'GET') this.calls.push({ method, path: url.pathname + url.search, body });
    if (url.pathname === '/session') {
      const token = new Headers(init.headers).get('Authorization');
      if (method === 'POST' && token !== 'Bearer good')
        return status(401, 'Unauthorized', 'the token is not good');
      if (method !== 'GET') this.anonymous = method === 'DELETE';
      return json({
        user: this.anonymous ? null : { name: this.me.name, groups: this.me.groups },
        expires: null,
      });
    }
    const answer = this.answers[url.pathname];
    if (answer) return answer(url);
    if (url.pathname.startsWith('/stream/')) return new Response(new ReadableStream(), { status: 200 });
    return this.rest(method, url, body);
  };

  private rest(method: string, url: URL, body: unknown): Response {
    const match = /^\/(?:api|apis\/([^/]+))\/[^/]+(?:\/namespaces\/([^/]+))?\/([^/]+)(?:\/([^/]+))?$/.exec(
      url.pathname,
    );
    const row = this.kinds.find((each) => each.plural === match?.[3] && each.group === (match[1] ?? ''));
    if (!match || !row) return status(404, 'NotFound', `${url.pathname} is not there.`);
    const [, , namespace, , name] = match;
    const dryRun = url.searchParams.get('dryRun') === 'All';
    if (!name && method === 'GET')
      return json({ metadata: { resourceVersion: String(this.revision) }, items: [] });
    if (!name && method === 'POST') {
      const object = body as Manifest;
      const made = object.metadata.name ?? `${object.metadata.generateName ?? ''}x1y2z`;
      const full = {
        ...object,
        metadata: { ...object.metadata, name: made, ...(namespace ? { namespace } : {}) },
      };
      return json(dryRun ? full : this.add(full), 201);
    }
    const old = this.find(row.kind, namespace, name ?? '');
    if (!old) return status(404, 'NotFound', `${row.plural} "${name}" not found`);
    if (method === 'GET') return json(old);
    if (method === 'DELETE') {
      this.objects = this.objects.filter((each) => each !== old);
      return json({});
    }
    const sent = body as Manifest;
    const version = sent.metadata?.resourceVersion;
    if (version && version !== old.metadata.resourceVersion) {
      return status(
        409,
        'Conflict',
        'the object has been modified; please apply your changes to the latest version and try again',
      );
    }
    const next =
      method === 'PUT'
        ? { ...sent, ...(old.status ? { status: old.status } : {}) }
        : (merge(old, sent) as Manifest);
    return json(dryRun ? next : this.change(old, next));
  }
}

function merge(old: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result = { ...(typeof old === 'object' && !Array.isArray(old) ? old : {}) } as Record<
    string,
    unknown
  >;
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merge(result[key], value);
  }
  return result;
}

export const json = (body: unknown, code = 200) =>
  new Response(JSON.stringify(body), { status: code, headers: { 'Content-Type': 'application/json' } });

export const status = (code: number, reason: string, message: string) =>
  json({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message }, code);
