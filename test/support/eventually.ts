import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits until `check` holds (does not throw) and answers what it answers; after `timeoutMs` (default 5 s) it throws what the
 * last try threw. For what happens in its own time: a test waits for the condition, never for a length of time.
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  { timeoutMs = 5_000, everyMs = 10 }: { timeoutMs?: number; everyMs?: number } = {},
): Promise<T> {
  const deadlineMs = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() >= deadlineMs) throw error;
    }
    await sleep(everyMs);
  }
}
