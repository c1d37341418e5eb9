// Menus and popovers: Radix for what is hard (focus, arrows, placing), styles of our own.
import * as Dropdown from '@radix-ui/react-dropdown-menu';
import * as Pop from '@radix-ui/react-popover';
import type { ReactNode } from 'react';

// Not modal: what Radix does to hold the page still would be an inline style sheet, which the policy refuses.

// Within the page's landmark, where readers of a screen look for it.
const place = () => document.getElementById('main') ?? document.body;

export function Menu({
  trigger,
  children,
  align = 'end',
}: {
  trigger: ReactNode;
  children: ReactNode;
  align?: 'start' | 'end';
}) {
  return (
    <Dropdown.Root modal={false}>
      <Dropdown.Trigger asChild>{trigger}</Dropdown.Trigger>
      <Dropdown.Portal container={place()}>
        <Dropdown.Content className="menu" align={align} sideOffset={5} collisionPadding={8}>
          {children}
        </Dropdown.Content>
      </Dropdown.Portal>
    </Dropdown.Root>
  );
}

export function MenuItem({
  children,
  aside,
  danger,
  barred,
  onSelect,
}: {
  children: ReactNode;
  aside?: ReactNode;
  danger?: boolean;
  barred?: string | undefined;
  onSelect: () => void;
}) {
  return (
    <Dropdown.Item
      className={danger ? 'item danger' : 'item'}
      onSelect={onSelect}
      {...(barred ? { disabled: true, title: barred } : {})}
    >
      {children}
      {aside && <span className="aside">{aside}</span>}
    </Dropdown.Item>
  );
}

export const MenuHeading = ({ children }: { children: ReactNode }) => (
  <Dropdown.Label className="heading">{children}</Dropdown.Label>
);
export const MenuLine = () => (
  <Dropdown.Separator asChild>
    <hr />
  </Dropdown.Separator>
);

export function Popover({
  trigger,
  label,
  children,
  align = 'end',
}: {
  trigger: ReactNode;
  label: string;
  children: ReactNode;
  align?: 'start' | 'end';
}) {
  return (
    <Pop.Root>
      <Pop.Trigger asChild>{trigger}</Pop.Trigger>
      <Pop.Portal container={place()}>
        <Pop.Content
          className="menu popover"
          aria-label={label}
          align={align}
          sideOffset={5}
          collisionPadding={8}
        >
          {children}
        </Pop.Content>
      </Pop.Portal>
    </Pop.Root>
  );
}
