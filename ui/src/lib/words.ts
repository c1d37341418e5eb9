// A line as the words that a shell would make of it, without any shell: nothing is replaced in it. Pure.

/** The words; what is wrong, if a quote is left open. */
export function wordsOf(line: string): string[] | { wrong: string } {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < line.length; at += 1) {
    const letter = line[at] ?? '';
    if (quote) {
      if (letter === quote) quote = '';
      else if (letter === '\\' && quote === '"' && /["\\$`]/.test(line[at + 1] ?? ''))
        word = (word ?? '') + (line[++at] ?? '');
      else word = (word ?? '') + letter;
    } else if (letter === '"' || letter === "'") {
      quote = letter;
      word ??= '';
    } else if (/\s/.test(letter)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + (letter === '\\' && at + 1 < line.length ? (line[++at] ?? '') : letter);
    }
  }
  if (quote) return { wrong: `The ${quote} is not closed.` };
  if (word !== undefined) words.push(word);
  return words;
}
