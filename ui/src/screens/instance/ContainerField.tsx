// Which container of an instance is meant: the one in the URL, or the first.
import { useNavigate, useSearch } from '@tanstack/react-router';

export function useContainer(containers: string[]): string {
  const { container } = useSearch({ from: '/o/$plural/$namespace/$name' });
  return container && containers.includes(container) ? container : (containers[0] ?? '');
}

export function ContainerField({
  containers,
  value,
  barred,
}: {
  containers: string[];
  value: string;
  barred?: boolean;
}) {
  const navigate = useNavigate({ from: '/o/$plural/$namespace/$name' });
  return (
    <label className="row">
      Container
      <select
        className="select"
        value={value}
        disabled={barred}
        onChange={(event) =>
          void navigate({
            search: (old) => ({ ...old, container: event.target.value }),
            replace: true,
            resetScroll: false,
          })
        }
      >
        {containers.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </label>
  );
}
