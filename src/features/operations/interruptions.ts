import { DomainError } from '../../domain/errors';
import type { Operation } from '../../domain/operation/operation';

/** Why the signal of a running operation aborts: these are its reasons, and executors may throw them on. */

export function leaseLost(): DomainError {
  return new DomainError('aborted', 'operation.lease_lost', 'the lease was lost: another worker may have taken over');
}

export function workerStops(): DomainError {
  return new DomainError('aborted', 'operation.worker_stops', 'the worker stops');
}

/** In v10's words, as the history shows it. */
export function canceled(): DomainError {
  return new DomainError('aborted', 'operation.canceled', 'context canceled');
}

export function deadlineExceeded({ definition }: Operation, deadlineMs: number): DomainError {
  return new DomainError(
    'deadline_exceeded',
    'operation.deadline_exceeded',
    `${definition} did not end within its deadline of ${deadlineMs / 1_000} s`,
  );
}

export function rollbackDeadlineExceeded({ definition }: Operation, deadlineMs: number): DomainError {
  return new DomainError(
    'deadline_exceeded',
    'operation.rollback_deadline_exceeded',
    `the rollback of ${definition} did not end within its deadline of ${deadlineMs / 1_000} s`,
  );
}

/** Also what the store throws when a token is not current. */
export function isLeaseLost(error: unknown): boolean {
  return isOfCode(error, 'operation.lease_lost');
}

export function isCanceled(error: unknown): boolean {
  return isOfCode(error, 'operation.canceled');
}

function isOfCode(error: unknown, code: string): boolean {
  return error instanceof DomainError && error.code === code;
}
