// What changes between two texts, line by line: by sign first, and by colour.
import { diffLines, hunks } from '../../lib/diff';

const SIGNS = { ' ': 'same', '+': 'come', '-': 'gone' } as const;

export function Diff({ before, after, label }: { before: string; after: string; label: string }) {
  const lines = hunks(diffLines(before, after));
  if (lines.length === 0) return <p className="muted">Nothing would change.</p>;
  return (
    <pre className="diff" aria-label={label} tabIndex={0}>
      {lines.map((line, at) =>
        line === null ? (
          <span key={at} className="diff-skip">
            {'⋯\n'}
          </span>
        ) : (
          <span key={at} className={`diff-${SIGNS[line.sign]}`}>
            {`${line.sign} ${line.text}\n`}
          </span>
        ),
      )}
    </pre>
  );
}
