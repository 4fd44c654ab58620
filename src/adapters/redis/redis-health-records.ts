import type { Cluster, Redis } from 'ioredis';
import { DomainError } from '../../domain/errors';
import { HealthRecords, mostHealthRecordBytes, type HealthRecord } from '../../ports/health-records';
import type { Logger } from '../../ports/logger';
import { composeHealthRecordText, readHealthRecordText } from './health-record-text';
import { reachRedis } from './redis-rooms';
import { schedulerKeys } from './room-keys';

/** A scheduler is looked at every minute or so: what is older than this is of none that is looked at. Seconds. */
const keptSeconds = 86_400;

/** While two releases run side by side, each finds records of the other all the time. Milliseconds. */
const warnedAgainAfterMs = 60_000;

/**
 * One key for each scheduler, which goes with its rooms (`RoomStore.deleteScheduler`); a look that was late then leaves one for a
 * day at most.
 *
 * @throws DomainError `room_store.unavailable` (unavailable) while Redis cannot be reached or serve.
 */
export class RedisHealthRecords extends HealthRecords {
  private warnedAtMs = -Infinity;

  constructor(
    private readonly redis: Redis | Cluster,
    private readonly logger: Logger,
  ) {
    super();
  }

  override async write(scheduler: string, record: HealthRecord): Promise<void> {
    const bytes = Buffer.byteLength(JSON.stringify(record));
    if (bytes > mostHealthRecordBytes) {
      throw new DomainError(
        'internal',
        'health_record.too_large',
        `the record of a look at scheduler ${scheduler} has ${bytes} bytes, and may have ${mostHealthRecordBytes}`,
      );
    }
    const text = composeHealthRecordText(record);
    await reachRedis(() => this.redis.set(schedulerKeys(scheduler).healthRecord, text, 'EX', keptSeconds));
  }

  override async read(scheduler: string): Promise<HealthRecord | null> {
    const text = await reachRedis(() => this.redis.get(schedulerKeys(scheduler).healthRecord));
    if (text === null) return null;
    const record = readHealthRecordText(text);
    if (record === null) this.warn(scheduler);
    return record;
  }

  private warn(scheduler: string): void {
    const nowMs = performance.now();
    if (nowMs - this.warnedAtMs < warnedAgainAfterMs) return;
    this.warnedAtMs = nowMs;
    this.logger.warn(
      { scheduler_name: scheduler },
      'the record of the last look is none that this release can read: it is taken for none',
    );
  }
}
