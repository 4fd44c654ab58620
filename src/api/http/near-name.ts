/** More than that is another word. */
const maxWrongLetters = 2;

/**
 * The one of the known names that someone meant who wrote `name`: at most two letters differ, and no more than half of them, so that
 * `max` is not taken for `min`. camelCase, snake_case and capitals make no difference.
 */
export function nearName(name: string, known: readonly string[]): string | undefined {
  const written = letters(name);
  let nearest: string | undefined;
  let fewest = maxWrongLetters + 1;
  for (const candidate of known) {
    const meant = letters(candidate);
    if (Math.abs(meant.length - written.length) >= fewest) continue;
    const wrong = wrongLetters(written, meant);
    if (wrong >= fewest || wrong * 2 > meant.length) continue;
    nearest = candidate;
    fewest = wrong;
  }
  return nearest;
}

function letters(name: string): string {
  return name.replace(/[_-]/g, '').toLowerCase();
}

/** How many letters must be added, removed or replaced to come from one to the other (Levenshtein's distance). */
function wrongLetters(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let line = 1; line <= from.length; line++) {
    const next = [line];
    for (let column = 1; column <= to.length; column++) {
      const replaced = row[column - 1]! + (from[line - 1] === to[column - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[column]! + 1, next[column - 1]! + 1));
    }
    row = next;
  }
  return row[to.length]!;
}
