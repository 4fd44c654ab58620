/** `1 room`, `2 rooms`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** What somebody else said as a sentence, to go on within one of ours: without its full stop. */
export function asClause(text: string): string {
  return text.trim().replace(/\.+$/, '');
}
