// All keys that work on this screen, as they are bound.
import { Dialog } from '../design/dialog';
import { boundKeys } from '../lib/keys';

export function Help({ onClose }: { onClose: () => void }) {
  const always = [
    { keys: 'Ctrl K', does: 'Search everything: objects, pages, actions' },
    { keys: 'Escape', does: 'Close what is open' },
  ];
  return (
    <Dialog title="Keys" onClose={onClose}>
      <dl className="keys">
        {[...always, ...boundKeys()].map(({ keys, does }) => (
          <div key={keys + does}>
            <dt>
              {keys.split(' ').map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <p className="faint small">
        On a Mac, ⌘ stands for Ctrl. In a menu or a table, arrows move and Enter opens.
      </p>
    </Dialog>
  );
}
