import { messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import type { HeldOperation, OperationStore } from '../../ports/operation-store';
import { isLeaseLost } from './interruptions';

export interface LeaseToKeep {
  operations: OperationStore;
  held: HeldOperation;
  leaseTtlMs: number;
  /** At most a third of the TTL. Milliseconds. */
  renewAfterMs: number;
  /** When it was asked for (`performance.now()`): the database counts from then at the earliest. */
  askedAt: number;
  logger: Logger;
  onLost(): void;
  /** May be called again with each renewal. */
  onCancelRequested(): void;
}

/**
 * Renews again and again, until the answer is called. When no renewal got through for a whole TTL, counted from when it
 * was asked, another worker may have taken over: it is lost at that moment, not at the next tick.
 */
export function keepLease(lease: LeaseToKeep): () => void {
  const { operations, held, leaseTtlMs, renewAfterMs, logger } = lease;
  let stopped = false;
  let isLost = false;
  let renewing = false;
  let expiry: NodeJS.Timeout | undefined;
  const lose = (): void => {
    if (stopped || isLost) return;
    isLost = true;
    clearInterval(renewal);
    lease.onLost();
  };
  const heldSince = (renewedAt: number): void => {
    clearTimeout(expiry);
    if (!stopped) expiry = setTimeout(lose, Math.max(0, renewedAt + leaseTtlMs - performance.now()));
  };
  const renew = async (): Promise<void> => {
    const asked = performance.now();
    try {
      const { cancelRequested } = await operations.renewLease(held, leaseTtlMs);
      heldSince(asked);
      if (cancelRequested && !stopped) lease.onCancelRequested();
    } catch (error) {
      if (isLeaseLost(error)) lose();
      else logger.warn({ err: messageOf(error) }, 'the lease could not be renewed');
    }
  };
  heldSince(lease.askedAt);
  const renewal = setInterval(() => {
    if (renewing) return;
    renewing = true;
    void renew().finally(() => (renewing = false));
  }, renewAfterMs);
  return () => {
    stopped = true;
    clearInterval(renewal);
    clearTimeout(expiry);
  };
}
