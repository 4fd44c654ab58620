import { DomainError, messageOf } from '../../domain/errors';
import type { Operation } from '../../domain/operation/operation';
import type { Logger } from '../../ports/logger';
import type { HeldOperation, OperationStore } from '../../ports/operation-store';
import { pause } from '../repeat-until-aborted';

export interface Leaving {
  operations: OperationStore;
  held: HeldOperation;
  /** How soon a database that does not answer is asked again. Milliseconds. */
  askAgainMs: number;
  /** Aborts when the process stops: then nobody waits for an answer. */
  stopping: AbortSignal;
  logger: Logger;
  /** The one transaction after which the operation is not held any more. */
  write(): Promise<void>;
  /** Whether the operation is as `write` leaves it. */
  isAsWritten(left: Operation): boolean;
}

/**
 * The last write of an attempt. A connection that dies in the commit, or a fail-over, may lose the answer to a write that came
 * through: who took that for a failure would take the operation for lost to another worker, and forget what follows its end. So
 * the database is asked, for as long as it takes to answer: nothing of this operation could be written before either.
 * @throws what `write` throws, if it did not come through.
 */
export async function leaveOperation(leaving: Leaving): Promise<void> {
  try {
    await leaving.write();
  } catch (error) {
    if (!isAway(error)) throw error;
    const left = await findLeft(leaving, error);
    if (left === null || !leaving.isAsWritten(left)) throw error;
    leaving.logger.info({ err: messageOf(error) }, 'the write was confirmed after its answer had been lost');
  }
}

async function findLeft(
  { operations, held, askAgainMs, stopping }: Leaving,
  cause: unknown,
): Promise<Operation | null> {
  for (;;) {
    try {
      return await operations.findLeft(held);
    } catch (error) {
      if (!isAway(error)) throw error;
    }
    if (stopping.aborted) throw cause;
    await pause(askAgainMs, stopping);
  }
}

function isAway(error: unknown): boolean {
  return error instanceof DomainError && error.kind === 'unavailable';
}
