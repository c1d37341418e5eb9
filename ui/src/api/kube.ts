// Writes, as kubectl makes them: create, patch, apply, delete of the Kubernetes API, each with the line that does the
// same. Knows no kind in particular.
import type { KindInfo } from './kinds';
import { ask } from './http';
import { quoted } from '../lib/text';

export interface Metadata {
  name?: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  managedFields?: unknown;
}

export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: Metadata;
  spec?: Record<string, unknown>;
  status?: Record<string, unknown>;
}

export interface Named {
  namespace?: string | null;
  name: string;
}

/** As whom the page's fields are managed. */
export const MANAGER = 'quarterdeck-page';

type Info = Pick<KindInfo, 'group' | 'version' | 'plural' | 'namespaced'>;

export function path(info: Info, object: { namespace?: string | null; name?: string }): string {
  const base = info.group ? `/apis/${info.group}/${info.version}` : `/api/${info.version}`;
  const within =
    info.namespaced && object.namespace ? `/namespaces/${encodeURIComponent(object.namespace)}` : '';
  const last = object.name ? `/${encodeURIComponent(object.name)}` : '';
  return `${base}${within}/${info.plural}${last}`;
}

const search = (dryRun: boolean, more: Record<string, string> = {}) => {
  const all = new URLSearchParams({ fieldManager: MANAGER, fieldValidation: 'Strict', ...more });
  if (dryRun) all.set('dryRun', 'All');
  return `?${all.toString()}`;
};

export const get = (info: Info, object: Named, signal?: AbortSignal) =>
  ask<Manifest>(path(info, object), signal ? { signal } : {});

export const create = (info: Info, object: Manifest, dryRun = false) =>
  ask<Manifest>(`${path(info, { namespace: object.metadata.namespace ?? null })}${search(dryRun)}`, {
    method: 'POST',
    body: object,
  });

export const merge = (info: Info, object: Named, patch: unknown, dryRun = false) =>
  ask<Manifest>(`${path(info, object)}${search(dryRun)}`, {
    method: 'PATCH',
    body: patch,
    contentType: 'application/merge-patch+json',
  });

/** The whole object as edited: refused when it has changed since `metadata.resourceVersion`. */
export const replace = (info: Info, object: Named, body: Manifest, dryRun = false) =>
  ask<Manifest>(`${path(info, object)}${search(dryRun)}`, { method: 'PUT', body });

export const remove = (info: Info, object: Named & { uid?: string }, dryRun = false) =>
  ask<unknown>(`${path(info, object)}${search(dryRun)}`, {
    method: 'DELETE',
    body: {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      propagationPolicy: 'Background',
      ...(object.uid ? { preconditions: { uid: object.uid } } : {}),
    },
  });

const inNamespace = (object: { namespace?: string | null }) =>
  object.namespace ? ` -n ${object.namespace}` : '';

/** The lines that do the same in a shell. */
export const kubectl = {
  get: (plural: string, object: Named) =>
    `kubectl get ${plural} ${object.name}${inNamespace(object)} -o yaml`,
  watch: (plural: string, object: Named) => `kubectl get ${plural} ${object.name}${inNamespace(object)} -w`,
  merge: (plural: string, object: Named, patch: unknown) =>
    `kubectl patch ${plural} ${object.name}${inNamespace(object)} --type merge -p ${quoted(JSON.stringify(patch))}`,
  remove: (plural: string, object: Named) => `kubectl delete ${plural} ${object.name}${inNamespace(object)}`,
  create: (object: Manifest) => `kubectl create -f - <<'EOF'\n${JSON.stringify(object, null, 2)}\nEOF`,
  edit: (plural: string, object: Named) => `kubectl edit ${plural} ${object.name}${inNamespace(object)}`,
};
