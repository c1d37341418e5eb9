// Which lines went and which came, between two texts. Pure.

export interface Line {
  sign: ' ' | '+' | '-';
  text: string;
}

/** Longer than this in the middle, all of it is told as changed: the table grows with the square of it. */
const MOST = 1500;

export function diffLines(before: string, after: string): Line[] {
  const a = before.split('\n');
  const b = after.split('\n');
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end])
    end += 1;
  const common = (text: string): Line => ({ sign: ' ', text });
  return [
    ...a.slice(0, start).map(common),
    ...middle(a.slice(start, a.length - end), b.slice(start, b.length - end)),
    ...a.slice(a.length - end).map(common),
  ];
}

function middle(a: string[], b: string[]): Line[] {
  const gone = (text: string): Line => ({ sign: '-', text });
  const come = (text: string): Line => ({ sign: '+', text });
  if (a.length > MOST || b.length > MOST) return [...a.map(gone), ...b.map(come)];
  // Lengths of the longest common subsequences of what is left of both.
  const width = b.length + 1;
  const longest = new Uint16Array((a.length + 1) * width);
  const at = (i: number, j: number) => longest[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const lines: Line[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const [left, right] = [a[i], b[j]];
    if (left !== undefined && left === right) {
      lines.push({ sign: ' ', text: left });
      i += 1;
      j += 1;
    } else if (left !== undefined && (right === undefined || at(i + 1, j) >= at(i, j + 1))) {
      lines.push(gone(left));
      i += 1;
    } else if (right !== undefined) {
      lines.push(come(right));
      j += 1;
    }
  }
  return lines;
}

/** Only what changed, with a few lines around it; `null` stands for lines left out. */
export function hunks(lines: Line[], around = 3): (Line | null)[] {
  const near = lines.map(() => false);
  lines.forEach((line, at) => {
    if (line.sign === ' ') return;
    for (let i = Math.max(0, at - around); i <= Math.min(lines.length - 1, at + around); i += 1)
      near[i] = true;
  });
  const shown: (Line | null)[] = [];
  lines.forEach((line, at) => {
    if (near[at]) shown.push(line);
    else if (shown[shown.length - 1] !== null) shown.push(null);
  });
  return shown.length === 1 && shown[0] === null ? [] : shown;
}
