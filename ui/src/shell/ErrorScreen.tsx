// What is shown in place of a screen that could not be.
import { Link, type ErrorComponentProps } from '@tanstack/react-router';
import { Empty, ErrorNotice } from '../design/parts';

export function ErrorScreen({ error, reset }: ErrorComponentProps) {
  return (
    <div className="screen">
      <ErrorNotice error={error} onRetry={reset} />
    </div>
  );
}

export function MissingScreen() {
  return (
    <div className="screen">
      <Empty page title="There is no such page.">
        <Link to="/" className="link">
          Go to the first page
        </Link>
        , or search with Ctrl K.
      </Empty>
    </div>
  );
}
