import { Injectable } from '@nestjs/common';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { RoomAllocationStore } from '../../ports/room-allocation-store';
import { repeatUntilAborted } from '../repeat-until-aborted';
import { HealthRings } from './health-rings';
import { UnheardAllocations } from './unheard-allocations';

export class AllocationExpiryOptions {
  readonly intervalMs!: number;
}

/** Allocations that end in one step of the store. */
const batchSize = 500;

/**
 * Gives back what nobody heard of, and ends allocations whose time is over, so that their slots are free again though their rooms say nothing new. Any number of
 * processes may do it side by side: each allocation ends once.
 */
@Injectable()
export class AllocationExpiry {
  constructor(
    private readonly store: RoomAllocationStore,
    private readonly unheard: UnheardAllocations,
    private readonly healthRings: HealthRings,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: AllocationExpiryOptions,
  ) {}

  run(signal: AbortSignal): Promise<void> {
    const { metrics, logger } = this;
    const { intervalMs } = this.options;
    return repeatUntilAborted({ name: 'allocation_expiry', intervalMs, metrics, logger }, signal, async () => {
      await this.unheard.giveBack();
      for (let isMore = true; isMore && !signal.aborted;) {
        const { ended, endedOf, handled } = await this.store.expire(batchSize);
        if (ended > 0) metrics.allocationsChanged('expired', ended);
        for (const scheduler of endedOf) this.healthRings.useChanged(scheduler);
        isMore = handled >= batchSize;
      }
    });
  }
}
