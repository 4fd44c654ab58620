/**
 * A JSON value as Go's `fmt.Sprint` prints it: backends of Maestro v10 read metadata in this form (`rooms.md` 8.2).
 * The rules are those of Go's packages fmt and strconv, and the table beside this file was compared with them.
 */
export function printAttribute(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return printNumber(value);
  if (typeof value === 'boolean') return String(value);
  if (typeof value !== 'object' || value === null) return '<nil>';
  if (Array.isArray(value)) return `[${value.map(printAttribute).join(' ')}]`;
  const entries = Object.entries(value).sort(([one], [other]) => compareCodePoints(one, other));
  return `map[${entries.map(([key, each]) => `${key}:${printAttribute(each)}`).join(' ')}]`;
}

/** The fewest digits that read back as the same number; with an exponent from 1e6 on and below 1e-4. */
function printNumber(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  const [digits, exponentText] = value.toExponential().split('e') as [string, string];
  const exponent = Number(exponentText);
  // -0 is the one number whose sign `toExponential` and `String` lose.
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  if (exponent >= -4 && exponent < 6) return String(value);
  return `${digits}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
}

/** Go sorts texts by their UTF-8 bytes, which is the order of code points; JavaScript's own is that of UTF-16 units. */
function compareCodePoints(one: string, other: string): number {
  const [left, right] = [[...one], [...other]];
  for (const [index, character] of left.entries()) {
    const difference = character.codePointAt(0)! - (right[index]?.codePointAt(0) ?? -1);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
