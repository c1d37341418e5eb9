// Saved views: objects of the plane that hold an address of the page.
import { screen, waitFor, within } from '@testing-library/react';
import { describe, expect, test } from 'vitest';
import { nameOf } from '../src/shell/Views';
import { server, show } from './page';

const view = (name: string, title: string, path: string, owner?: string) => ({
  apiVersion: 'page.quarterdeck.dev/v1alpha1',
  kind: 'SavedView',
  metadata: { name, namespace: 'shop' },
  spec: { title, path, ...(owner ? { owner } : {}) },
});

test.each([
  ['Quarantined in ams1', 'quarantined-in-ams1-'],
  ['  Überlast!  ', 'u-berlast-'],
  ['—', 'view-'],
  ['x'.repeat(80), `${'x'.repeat(40)}-`],
])('%j is called %s…', (title, name) => {
  expect(nameOf(title)).toBe(name);
});

describe('views', () => {
  const path = '/inventory/servers?f=%7B%22status.phase%22%3A%5B%22Quarantined%22%5D%7D';

  test('of my own and of all are in the menu and in the palette; those of others are not', async () => {
    const { user, address } = show('/', (plane) => {
      plane.add(server(3, 'Quarantined'));
      plane.add(view('a', 'Broken ones', path));
      plane.add(view('b', 'Mine', '/map', 'ann'));
      plane.add(view('c', 'Of somebody else', '/map', 'bob'));
    });
    await user.click(await screen.findByRole('button', { name: 'Views' }));
    const menu = await screen.findByRole('dialog', { name: 'Saved views' });
    await within(menu).findByRole('link', { name: /^Mine/ });
    expect(within(menu).queryByRole('link', { name: /somebody else/ })).toBeNull();
    await user.click(within(menu).getByRole('link', { name: /^Broken ones/ }));
    await waitFor(() => expect(address()).toContain('"status.phase":["Quarantined"]'));
    await waitFor(() => expect(screen.queryByRole('dialog', { name: 'Saved views' })).toBeNull());
    await user.keyboard('{Control>}k{/Control}');
    await user.type(await screen.findByRole('combobox', { name: 'Search everything' }), 'mine{Enter}');
    await waitFor(() => expect(address()).toBe('/map'));
  });

  test('are saved with all that is chosen, as one’s own unless they are shared', async () => {
    const { user, plane } = show(path, (made) => {
      made.add(server(3, 'Quarantined'));
    });
    await user.click(await screen.findByRole('button', { name: 'Views' }));
    await user.click(await screen.findByRole('button', { name: 'Save this view' }));
    const dialog = await screen.findByRole('dialog', { name: 'Save this view' });
    await user.type(within(dialog).getByLabelText('Title'), 'Broken ones{Enter}');
    await waitFor(() => expect(plane.calls).toHaveLength(1));
    expect(plane.calls[0]?.path).toContain('/namespaces/shop/savedviews?');
    const spec = (plane.calls[0]?.body as { spec: { path: string } }).spec;
    expect(spec).toMatchObject({ title: 'Broken ones', owner: 'ann' });
    expect(decodeURIComponent(spec.path)).toBe(decodeURIComponent(path));
    expect(await screen.findByText(/kubectl create -f -/)).toBeTruthy();
  });
});
