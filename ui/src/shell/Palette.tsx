// The command palette: every object, page and action by a few letters. A combobox as WAI-ARIA describes it.
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useDeferredValue, useEffect, useId, useRef, useState } from 'react';
import { SearchDocument } from '../api/generated/graphql';
import { query } from '../api/graphql';
import { useKinds } from '../api/kinds';
import { Icon, iconOf, Status, type IconName } from '../design/glyphs';
import { chooseTheme } from '../lib/theme';
import { titleOf } from './Nav';
import { useOpen } from './links';
import { useGoTo, useSavedViews } from './Views';

interface Choice {
  id: string;
  group: 'Objects' | 'Views' | 'Pages' | 'Actions';
  icon: IconName;
  label: string;
  aside?: string;
  phase?: string | null | undefined;
  kind?: string;
  act: () => void;
}

const OBJECTS = 12;

function useObjects(text: string): Choice[] {
  const open = useOpen();
  const found = useQuery({
    queryKey: ['palette', text],
    queryFn: ({ signal }) => query(SearchDocument, { text, first: OBJECTS, facets: [] }, signal),
    enabled: text.length > 0,
    placeholderData: keepPreviousData,
  });
  if (text === '') return [];
  return (found.data?.search.edges ?? []).map(({ node }) => ({
    id: node.uid,
    group: 'Objects' as const,
    icon: iconOf(node.kind),
    label: node.namespace ? `${node.namespace}/${node.name}` : node.name,
    aside: node.kind,
    phase: node.phase,
    kind: node.kind,
    act: () => open(node),
  }));
}

function useViews(): Choice[] {
  const go = useGoTo();
  return useSavedViews().map((view) => ({
    id: view.uid,
    group: 'Views' as const,
    icon: 'bookmark' as const,
    label: view.title,
    act: () => go(view.path),
  }));
}

function usePages(): Choice[] {
  const navigate = useNavigate();
  const kinds = useKinds();
  const page = (label: string, icon: IconName, to: '/' | '/map' | '/impact' | '/calendar'): Choice => ({
    id: to,
    group: 'Pages',
    icon,
    label,
    act: () => void navigate({ to }),
  });
  return [
    page('Home', 'home', '/'),
    page('Fleet map', 'map', '/map'),
    page('What breaks if something goes', 'impact', '/impact'),
    page('Change calendar', 'calendar', '/calendar'),
    ...kinds.all
      .filter((info) => info.verbs.includes('list'))
      .map((info) => ({
        id: info.plural + info.group,
        group: 'Pages' as const,
        icon: iconOf(info.kind),
        label: titleOf(info),
        aside: info.shortNames.join(', '),
        act: () => void navigate({ to: '/inventory/$plural', params: { plural: info.plural } }),
      })),
  ];
}

function useActions(): Choice[] {
  const navigate = useNavigate();
  const kinds = useKinds();
  const create = kinds.all.filter((info) =>
    ['Campaign', 'Run', 'Machine', 'Service', 'Freeze'].includes(info.kind),
  );
  return [
    ...create.map((info) => ({
      id: `new-${info.plural}`,
      group: 'Actions' as const,
      icon: iconOf(info.kind),
      label: `New ${info.singular}`,
      act: () => void navigate({ to: '/new/$plural', params: { plural: info.plural } }),
    })),
    ...(['dark', 'light', 'system'] as const).map((theme) => ({
      id: `theme-${theme}`,
      group: 'Actions' as const,
      icon: 'list' as const,
      label:
        theme === 'system'
          ? 'Colours as the system has them'
          : `${theme === 'dark' ? 'Dark' : 'Light'} colours`,
      act: () => chooseTheme(theme),
    })),
  ];
}

/** Letters of `text` in their order, words first. */
function matches(label: string, aside: string, text: string): boolean {
  const wanted = text.toLowerCase();
  return label.toLowerCase().includes(wanted) || aside.toLowerCase().split(', ').includes(wanted);
}

export function Palette({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState('');
  const [active, setActive] = useState(0);
  const list = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  const wanted = useDeferredValue(text.trim());
  const objects = useObjects(wanted);
  const rest = [...useViews(), ...usePages(), ...useActions()].filter((choice) =>
    matches(choice.label, choice.aside ?? '', wanted),
  );
  // A page that is named exactly comes before what merely has the word in it.
  const exact = rest.filter(
    (choice) =>
      wanted !== '' &&
      [choice.label.toLowerCase(), ...(choice.aside ?? '').split(', ')].includes(wanted.toLowerCase()),
  );
  const choices = [...exact, ...objects, ...rest.filter((choice) => !exact.includes(choice)).slice(0, 24)];
  const at = Math.min(active, choices.length - 1);
  useEffect(() => {
    const element = dialog.current;
    if (element && !element.open) element.showModal();
    return () => element?.close();
  }, []);
  useEffect(() => {
    document.getElementById(`${list}-${at}`)?.scrollIntoView({ block: 'nearest' });
  }, [at, list]);
  const take = (choice: Choice | undefined) => {
    if (!choice) return;
    onClose();
    choice.act();
  };
  const press = (event: React.KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step) setActive(Math.max(0, Math.min(choices.length - 1, at + step)));
    else if (event.key === 'Enter') take(choices[at]);
    else return;
    event.preventDefault();
  };
  return (
    <dialog
      ref={dialog}
      className="dialog palette"
      aria-label="Search everything"
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      <div className="palette-input">
        <Icon name="search" />
        <input
          autoFocus
          role="combobox"
          aria-expanded="true"
          aria-controls={list}
          aria-activedescendant={choices.length > 0 ? `${list}-${at}` : undefined}
          aria-label="Search everything"
          placeholder="Name, serial, label, page or action"
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setActive(0);
          }}
          onKeyDown={press}
        />
        <kbd>Esc</kbd>
      </div>
      <ul id={list} role="listbox" aria-label="What was found" className="palette-list">
        {choices.map((choice, index) => (
          <li
            key={choice.id}
            id={`${list}-${index}`}
            role="option"
            aria-selected={index === at}
            className="item"
            onMouseMove={() => setActive(index)}
            onClick={() => take(choice)}
          >
            <Icon name={choice.icon} />
            <span className="cut grow">{choice.label}</span>
            {choice.phase && <Status phase={choice.phase} {...(choice.kind ? { kind: choice.kind } : {})} />}
            <span className="faint palette-aside">{choice.aside ?? choice.group.slice(0, -1)}</span>
          </li>
        ))}
      </ul>
      {choices.length === 0 && <p className="empty">Nothing has “{text}” in its name, serial or labels.</p>}
    </dialog>
  );
}
