import { messageOf } from '../domain/errors';
import type { Logger } from '../ports/logger';
import type { Metrics } from '../ports/metrics';

/**
 * Runs `round` again and again, `intervalMs` after the end of the one before (jittered by a tenth, so that replicas spread
 * out), until `signal` aborts. A round that fails is logged and the next one comes: one bad round never ends a loop.
 */
export async function repeatUntilAborted(
  loop: { name: string; intervalMs: number; logger: Logger; metrics: Metrics },
  signal: AbortSignal,
  round: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await round(signal);
      loop.metrics.loopFinished(loop.name);
    } catch (error) {
      if (!signal.aborted) loop.logger.warn({ loop: loop.name, err: messageOf(error) }, 'a round of a loop failed');
    }
    await pause(loop.intervalMs * (0.95 + Math.random() / 10), signal);
  }
}

/** Resolves after `delayMs`, or at once when one of the signals aborts; leaves nothing on them, however long they live. */
export function pause(delayMs: number, ...signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    if (signals.some(({ aborted }) => aborted)) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, delayMs);
    for (const signal of signals) signal.addEventListener('abort', done);
  });
}
