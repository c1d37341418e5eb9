// A dialog of the browser's own: it holds the focus, closes by Escape, and gives the focus back. No script puts styles
// into the page for it, which the content security policy would refuse.
import { useEffect, useId, useRef, type ReactNode } from 'react';
import { Button } from './parts';

export function Dialog({
  title,
  wide,
  footer,
  onClose,
  children,
}: {
  title: string;
  wide?: boolean;
  footer?: ReactNode;
  onClose: () => void;
  children: ReactNode;
}) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    if (dialog && !dialog.open) {
      dialog.showModal();
      // The browser would begin at the close button; people begin at the first field.
      const first = dialog.querySelector<HTMLElement>('.body :is(input, select, textarea)');
      first?.focus();
    }
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={ref}
      className={wide ? 'dialog wide' : 'dialog'}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === ref.current) onClose();
      }}
    >
      <header>
        <h1 id={id} className="grow">
          {title}
        </h1>
        <Button look="plain" size="square" icon="close" aria-label="Close" onClick={onClose} />
      </header>
      <div className="body">{children}</div>
      {footer && <footer>{footer}</footer>}
    </dialog>
  );
}
