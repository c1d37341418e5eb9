// Views that were saved: one's own, and those that are shared with a namespace. Each is an object of the plane, so it can
// be listed, reviewed and deleted by whoever may; what it holds is an address of this page.
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useLocation, useRouter } from '@tanstack/react-router';
import { useState, type ReactNode } from 'react';
import { createPortal } from 'react-dom';
import { SavedViewsDocument } from '../api/generated/graphql';
import { query } from '../api/graphql';
import { useKinds, type KindInfo } from '../api/kinds';
import { create, kubectl, type Manifest } from '../api/kube';
import { useMe } from '../api/session';
import { Dialog } from '../design/dialog';
import { Icon } from '../design/glyphs';
import { Popover } from '../design/menu';
import { Button, Command, ErrorNotice, Field } from '../design/parts';
import { tell } from '../design/toasts';
import { shown } from '../lib/text';
import { ActDialog } from '../screens/object/act';
import { NamespaceField, useRunNamespace } from '../screens/run/StartRun';

const KIND = 'SavedView';
const STALE_MS = 15_000;

export interface SavedView {
  namespace: string;
  name: string;
  uid: string;
  title: string;
  path: string;
  owner: string;
}

/** Those that I may see and that are meant for me, by their titles. */
export function useSavedViews(): SavedView[] {
  const me = useMe();
  const there = useKinds().kind(KIND) !== undefined;
  const found = useQuery({
    queryKey: ['saved-views', me?.name],
    queryFn: ({ signal }) => query(SavedViewsDocument, { me: me?.name ?? '' }, signal),
    enabled: there && me !== undefined,
    staleTime: STALE_MS,
  });
  return [found.data?.mine, found.data?.shared]
    .flatMap((some) => some?.edges ?? [])
    .map(({ node }) => {
      const [title = '', path = '', owner = ''] = node.fields.map(shown);
      return { namespace: node.namespace ?? '', name: node.name, uid: node.uid, title, path, owner };
    })
    .sort((a, b) => a.title.localeCompare(b.title));
}

/** Goes to an address of this page, with all that is chosen in it. */
export function useGoTo(): (path: string) => void {
  const { history } = useRouter();
  return (path) => history.push(path);
}

function ViewLink({ path, children }: { path: string; children: ReactNode }) {
  const go = useGoTo();
  return (
    <a
      href={path}
      className="place grow"
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        go(path);
      }}
    >
      {children}
    </a>
  );
}

export function Views() {
  const info = useKinds().kind(KIND);
  const views = useSavedViews();
  const [saving, setSaving] = useState(false);
  const [deleting, setDeleting] = useState<SavedView>();
  const client = useQueryClient();
  const here = useLocation({ select: (location) => location.href });
  if (!info) return null;
  const groups = [
    { title: 'My own', list: views.filter((view) => view.owner !== '') },
    { title: 'Shared', list: views.filter((view) => view.owner === '') },
  ];
  return (
    <>
      <Popover
        key={here}
        label="Saved views"
        trigger={
          <Button look="plain" icon="bookmark">
            Views
          </Button>
        }
      >
        <div className="stack views">
          {views.length === 0 && (
            <p className="muted">
              None yet. A saved view is this page with its filters, order and columns: for yourself, or for
              all who see a namespace.
            </p>
          )}
          {groups
            .filter(({ list }) => list.length > 0)
            .map(({ title, list }) => (
              <section key={title} aria-label={title}>
                <h2>{title}</h2>
                <ul>
                  {list.map((view) => (
                    <li key={view.uid} className="row">
                      <ViewLink path={view.path}>
                        <Icon name="bookmark" />
                        <span className="cut grow">{view.title}</span>
                        <span className="faint small">{view.namespace}</span>
                      </ViewLink>
                      <Button
                        look="plain"
                        size="square"
                        icon="close"
                        aria-label={`Delete the view ${view.title}`}
                        onClick={() => setDeleting(view)}
                      />
                    </li>
                  ))}
                </ul>
              </section>
            ))}
          <Button icon="plus" onClick={() => setSaving(true)}>
            Save this view
          </Button>
        </div>
      </Popover>
      {createPortal(
        <>
          {saving && <Save info={info} onClose={() => setSaving(false)} />}
          {deleting && (
            <ActDialog
              title={`Delete the view ${deleting.title}?`}
              subject={{ info, namespace: deleting.namespace, name: deleting.name, uid: deleting.uid }}
              wanted="delete"
              verb="Delete"
              danger
              onClose={() => {
                setDeleting(undefined);
                void client.invalidateQueries({ queryKey: ['saved-views'] });
              }}
            >
              <p>
                {deleting.owner === ''
                  ? `It is gone for all who see ${deleting.namespace}. What it shows stays.`
                  : 'What it shows stays.'}
              </p>
            </ActDialog>
          )}
        </>,
        // Within the page's landmark, as menus are: the bar is another.
        document.getElementById('main') ?? document.body,
      )}
    </>
  );
}

/** `Quarantined in ams1` as `quarantined-in-ams1-`, for the plane to finish. */
export function nameOf(title: string): string {
  const words = title
    .normalize('NFD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, 40);
  return words === '' ? 'view-' : `${words.replace(/-+$/, '')}-`;
}

function Save({ info, onClose }: { info: KindInfo; onClose: () => void }) {
  const me = useMe();
  const path = useLocation({ select: (location) => location.href });
  const client = useQueryClient();
  const [title, setTitle] = useState('');
  const [shared, setShared] = useState(false);
  const [namespace, setNamespace] = useRunNamespace();
  const manifest: Manifest = {
    apiVersion: info.group ? `${info.group}/${info.version}` : info.version,
    kind: KIND,
    metadata: { generateName: nameOf(title), namespace },
    spec: { title: title.trim(), path, ...(shared ? {} : { owner: me?.name ?? '' }) },
  };
  const save = useMutation({
    mutationFn: () => create(info, manifest),
    onSuccess: () => {
      tell('ok', `The view ${title.trim()} is saved.`, kubectl.create(manifest));
      void client.invalidateQueries({ queryKey: ['saved-views'] });
      onClose();
    },
  });
  const barred =
    (title.trim() === '' && 'Give it a title first.') ||
    (!info.verbs.includes('create') && 'You may not save views.') ||
    (save.isPending && 'It is being saved.');
  return (
    <Dialog
      title="Save this view"
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Leave it</Button>
          <Button look="primary" barred={barred} onClick={() => save.mutate()}>
            Save
          </Button>
        </>
      }
    >
      <form
        className="stack wide-gap"
        onSubmit={(event) => {
          event.preventDefault();
          if (!barred) save.mutate();
        }}
      >
        <Field label="Title" hint="As it stands in the menu.">
          {(ids) => (
            <input
              {...ids}
              className="input"
              maxLength={80}
              value={title}
              onChange={(event) => setTitle(event.target.value)}
            />
          )}
        </Field>
        <NamespaceField
          value={namespace}
          hint="Who may write there may change it; who sees it there may open it, when it is shared."
          onChange={setNamespace}
        />
        <label className="row">
          <input type="checkbox" checked={shared} onChange={() => setShared(!shared)} />
          Share it with all who see the namespace
        </label>
      </form>
      {save.isError && <ErrorNotice error={save.error} />}
      <details>
        <summary>The same in a shell</summary>
        <Command line={kubectl.create(manifest)} />
      </details>
    </Dialog>
  );
}
