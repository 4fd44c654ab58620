import type { Queue } from 'bullmq';
import { messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import { WakeUps, type WakeUpKind } from '../../ports/wake-ups';
import { ringOptions, type Ring } from './wake-up-queues';

/** A ring that takes longer is given up: whoever rings (an API call, a watch) must not wait for Redis. */
const ringDeadlineMs = 2_000;
/** BullMQ itself waits for Redis as long as it takes, and the end of the process would wait with it. */
const scheduleDeadlineMs = 10_000;
const schedulersPageSize = 500;

export class BullmqWakeUps extends WakeUps {
  constructor(
    private readonly queues: Record<WakeUpKind, Queue<Ring>>,
    private readonly logger: Logger,
  ) {
    super();
  }

  override async ring(kind: WakeUpKind, scheduler: string, options: { delayMs?: number } = {}): Promise<void> {
    const { delayMs = 0 } = options;
    // A delayed ring must not swallow a prompter one: rings are merged when their delays are of the same power of two.
    const id = delayMs > 0 ? `${scheduler}/${2 ** Math.ceil(Math.log2(delayMs))}` : scheduler;
    const added = this.queues[kind].add(
      scheduler,
      { scheduler },
      { ...ringOptions, delay: delayMs, deduplication: { id, keepLastIfActive: true } },
    );
    try {
      await withDeadline(added, ringDeadlineMs);
    } catch (error) {
      this.logger.warn(
        { scheduler_name: scheduler, wake_up: kind, err: messageOf(error) },
        'the bell could not be rung; the sweep will find the work',
      );
    }
  }

  override async schedulePeriodicHealth(schedulers: string[], intervalMs: number): Promise<void> {
    const existing = new Map<string, number>();
    for (let start = 0; ; start += schedulersPageSize) {
      const page = await withDeadline(
        this.queues.health.getJobSchedulers(start, start + schedulersPageSize - 1),
        scheduleDeadlineMs,
      );
      for (const each of page) existing.set(each.key, Number(each.every ?? 0));
      if (page.length < schedulersPageSize) break;
    }
    const wanted = new Set(schedulers);
    const missing = schedulers.filter((name) => existing.get(name) !== intervalMs);
    const extra = [...existing.keys()].filter((name) => !wanted.has(name));
    const changes = Promise.all([
      ...missing.map((name) =>
        this.queues.health.upsertJobScheduler(
          name,
          { every: intervalMs, offset: spread(name, intervalMs) },
          { name, data: { scheduler: name }, opts: ringOptions },
        ),
      ),
      ...extra.map((name) => this.queues.health.removeJobScheduler(name)),
    ]);
    await withDeadline(changes, scheduleDeadlineMs);
  }
}

/**
 * A fixed share of the interval per name, so that a thousand schedulers do not ring in the same millisecond. FNV-1a with
 * Murmur's finalizer: names that differ in their last digits only must lie far apart.
 */
function spread(name: string, intervalMs: number): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) % intervalMs;
}

async function withDeadline<T>(work: Promise<T>, deadlineMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${deadlineMs} ms`)), deadlineMs);
  });
  // The late failure of what was given up is expected.
  work.catch(() => undefined);
  try {
    return await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
