// Which part of an object people edit, and what is sent for it. Pure.
import type { Manifest } from '../../api/kube';

/** What people say of an object; the rest is the plane's. */
const METADATA = [
  'name',
  'generateName',
  'namespace',
  'labels',
  'annotations',
  'finalizers',
  'ownerReferences',
];

export function editable(manifest: Manifest): Record<string, unknown> {
  const { status: _, metadata, apiVersion, kind, ...rest } = manifest;
  const all = metadata as Record<string, unknown>;
  const kept = Object.fromEntries(
    METADATA.filter((key) => all[key] !== undefined).map((key) => [key, all[key]]),
  );
  return { apiVersion, kind, metadata: kept, ...rest };
}

/** What is sent to replace `base`: refused when that has changed meanwhile. */
export function whole(draft: Record<string, unknown>, base: Manifest): Manifest {
  const metadata = (draft['metadata'] ?? {}) as Record<string, unknown>;
  return {
    ...draft,
    metadata: { ...metadata, uid: base.metadata.uid, resourceVersion: base.metadata.resourceVersion },
  } as Manifest;
}

export function withoutManagers(manifest: Manifest): Manifest {
  const { managedFields: _, ...metadata } = manifest.metadata;
  return { ...manifest, metadata };
}
