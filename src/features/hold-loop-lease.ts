import { messageOf } from '../domain/errors';
import type { Logger } from '../ports/logger';
import type { LoopLeases } from '../ports/loop-leases';
import { pause } from './repeat-until-aborted';

export interface LoopLeaseOptions {
  name: string;
  owner: string;
  ttlMs: number;
}

/**
 * Runs `work` in one process of all: waits for the lease, runs with a signal that aborts when the lease is lost or `signal`
 * aborts, and starts over until `signal` aborts. Renewed at a third of the TTL; unheard for a whole TTL means lost, at that
 * moment, also while a renewal hangs.
 */
export async function holdLoopLease(
  leases: LoopLeases,
  { name, owner, ttlMs }: LoopLeaseOptions,
  logger: Logger,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    const askedAt = performance.now();
    if (!(await tryAcquire(leases, name, owner, ttlMs, logger))) {
      await pause(ttlMs / 3, signal);
      continue;
    }
    logger.info({ loop: name }, 'this process runs the loop now');
    const lost = new AbortController();
    const whole = AbortSignal.any([signal, lost.signal]);
    const renewal = renewUntilLost(leases, { name, owner, ttlMs }, askedAt, logger, whole).then(() => lost.abort());
    try {
      await work(whole);
    } catch (error) {
      logger.warn({ loop: name, err: messageOf(error) }, 'the loop failed; it starts again');
    } finally {
      lost.abort();
      await renewal;
      await leases.release(name, owner).catch(() => undefined);
    }
    // A loop that fails at once must not spin.
    await pause(ttlMs / 3, signal);
  }
}

async function tryAcquire(
  leases: LoopLeases,
  name: string,
  owner: string,
  ttlMs: number,
  logger: Logger,
): Promise<boolean> {
  try {
    return (await leases.acquire(name, owner, ttlMs)) !== null;
  } catch (error) {
    logger.warn({ loop: name, err: messageOf(error) }, 'the lease of a loop could not be taken');
    return false;
  }
}

/** Resolves when the lease is lost or `signal` aborts. */
async function renewUntilLost(
  leases: LoopLeases,
  { name, owner, ttlMs }: LoopLeaseOptions,
  acquiredAt: number,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  let renewedAt = acquiredAt;
  for (;;) {
    const expiresAt = renewedAt + ttlMs;
    await pause(Math.min(ttlMs / 3, expiresAt - performance.now()), signal);
    if (signal.aborted) return;
    const asked = performance.now();
    const renewal = leases.acquire(name, owner, ttlMs).then(
      (lease) => (lease === null ? 'taken' : 'renewed'),
      (error: unknown) => {
        logger.warn({ loop: name, err: messageOf(error) }, 'the lease of a loop could not be renewed');
        return 'failed';
      },
    );
    const outcome = await within(renewal, expiresAt - asked, signal);
    if (outcome === 'taken') logger.warn({ loop: name }, 'another process took the loop over');
    if (outcome === 'renewed') renewedAt = asked;
    else if (outcome !== 'failed' || performance.now() >= expiresAt) return;
  }
}

/** What `work` answers, or null when it takes longer than `timeoutMs` or `signal` aborts. */
async function within<T>(work: Promise<T>, timeoutMs: number, signal: AbortSignal): Promise<T | null> {
  const answered = new AbortController();
  try {
    return await Promise.race([work, pause(timeoutMs, signal, answered.signal).then(() => null)]);
  } finally {
    answered.abort();
  }
}
