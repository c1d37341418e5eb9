// Where `g` and a letter go.
import { useNavigate } from '@tanstack/react-router';
import { useKeys } from '../lib/keys';

export function useGoKeys(): void {
  const navigate = useNavigate();
  const list = (keys: string, does: string, plural: string) => ({
    keys,
    does,
    act: () => void navigate({ to: '/inventory/$plural', params: { plural } }),
  });
  useKeys([
    { keys: 'g h', does: 'Go to the first page', act: () => void navigate({ to: '/' }) },
    { keys: 'g m', does: 'Go to the fleet map', act: () => void navigate({ to: '/map' }) },
    { keys: 'g i', does: 'Go to what breaks if something goes', act: () => void navigate({ to: '/impact' }) },
    list('g s', 'Go to servers', 'servers'),
    list('g a', 'Go to machines', 'machines'),
    list('g v', 'Go to services', 'services'),
    list('g r', 'Go to runs', 'runs'),
    list('g c', 'Go to campaigns', 'campaigns'),
    { keys: 'g k', does: 'Go to the calendar', act: () => void navigate({ to: '/calendar' }) },
  ]);
}
