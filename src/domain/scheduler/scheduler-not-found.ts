import { DomainError } from '../errors';

/** v10's words. `context` is what they follow, with its colon: `error fetching scheduler from storage: `. */
export function schedulerNotFound(name: string, context = ''): DomainError {
  return new DomainError('not_found', 'scheduler.not_found', `${context}scheduler ${name} not found`);
}
