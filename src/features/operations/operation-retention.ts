import { Injectable } from '@nestjs/common';
import { messageOf } from '../../domain/errors';
import { Logger } from '../../ports/logger';
import { LoopLeases } from '../../ports/loop-leases';
import { Metrics } from '../../ports/metrics';
import { OperationStore, type RetentionRules } from '../../ports/operation-store';
import { holdLoopLease } from '../hold-loop-lease';
import { pause, repeatUntilAborted } from '../repeat-until-aborted';

export class OperationRetentionOptions {
  readonly owner!: string;
  readonly leaseTtlMs!: number;
  /** Milliseconds; v10 10,800,000 for what this replaces. */
  readonly intervalMs!: number;
  readonly rules!: RetentionRules;
  /** Operations that one transaction deletes at most of each kind. */
  readonly batchSize!: number;
}

/**
 * Deletes the ended operations that nobody keeps, from the one process that holds the loop. It is never in a hurry: whatever
 * there is to delete, the database has at least half of the time for everybody else.
 */
@Injectable()
export class OperationRetention {
  constructor(
    private readonly operations: OperationStore,
    private readonly leases: LoopLeases,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: OperationRetentionOptions,
  ) {}

  async run(signal: AbortSignal): Promise<void> {
    const { owner, leaseTtlMs: ttlMs, intervalMs } = this.options;
    const { metrics, logger } = this;
    const loop = { name: 'operation_retention', intervalMs, metrics, logger };
    await holdLoopLease(this.leases, { name: 'operation-retention', owner, ttlMs }, logger, signal, (held) =>
      repeatUntilAborted(loop, held, () => this.deleteOld(held)),
    );
  }

  private async deleteOld(signal: AbortSignal): Promise<void> {
    const { rules, batchSize } = this.options;
    const deleted = { no_action: 0, healing: 0, change: 0 };
    const count = (kind: keyof typeof deleted, rows: number): void => {
      if (rows === 0) return;
      deleted[kind] += rows;
      this.metrics.operationsDeleted(kind, rows);
    };
    try {
      await inBatches(signal, async () => {
        const hidden = await this.operations.deleteHidden(rules.healingAgeMs, batchSize);
        count('no_action', hidden);
        return hidden === batchSize;
      });
      await this.eachOutdated(signal, async (scheduler) => {
        const { healing, changes, more } = await this.operations.deleteOutdated(scheduler, rules, batchSize);
        count('healing', healing);
        count('change', changes);
        return more;
      });
    } finally {
      if (Object.values(deleted).some((rows) => rows > 0)) this.logger.info(deleted, 'old operations were deleted');
    }
  }

  /** One scheduler whose operations cannot be deleted keeps no other's; the round fails in the end. */
  private async eachOutdated(signal: AbortSignal, deleteBatch: (scheduler: string) => Promise<boolean>): Promise<void> {
    const outdated = await this.operations.findOutdated(this.options.rules);
    let failed = 0;
    for (const scheduler of outdated) {
      try {
        await inBatches(signal, () => deleteBatch(scheduler));
      } catch (error) {
        signal.throwIfAborted();
        failed++;
        this.logger.warn(
          { scheduler_name: scheduler, err: messageOf(error) },
          'old operations of a scheduler could not be deleted',
        );
      }
    }
    if (failed > 0)
      throw new Error(`of ${failed} of ${outdated.length} schedulers old operations could not be deleted`);
  }
}

/** Until a batch says that there is no more, with a pause after each that is as long as the batch took. */
async function inBatches(signal: AbortSignal, deleteBatch: () => Promise<boolean>): Promise<void> {
  for (let more = true; more;) {
    signal.throwIfAborted();
    const startedAt = performance.now();
    more = await deleteBatch();
    await pause(performance.now() - startedAt, signal);
  }
}
