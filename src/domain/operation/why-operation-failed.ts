/** Where the history of an operation says that it is undone from here. */
const turnsBack = 'Starting operation rollback';
/** What every history says there, whatever happened. */
const saysNothing = ['operation execution failed', 'context canceled'];

const isCancellation = (event: string): boolean => /^cancel/.test(event);
const concludesAttempts = (event: string): boolean => /^all \d+ .*attempts failed/.test(event);
const isAttempt = (event: string): boolean => /^attempt \d+ of \d+: /.test(event);

/**
 * Why an operation failed, or who canceled it, of the lines of its history, oldest first: the last one before it was undone; where
 * that only counts attempts, with what became of the last of them. Empty without a history.
 */
export function whyOperationFailed(history: readonly string[], status: 'canceled' | 'error'): string {
  const end = history.lastIndexOf(turnsBack);
  const events = (end < 0 ? history : history.slice(0, end)).filter((event) => !saysNothing.includes(event));
  const last = events.at(-1) ?? '';
  if (status === 'canceled') return events.findLast(isCancellation) ?? last;
  const attempt = concludesAttempts(last) ? events.findLast(isAttempt) : undefined;
  return attempt === undefined ? last : `${last}; ${attempt}`;
}
