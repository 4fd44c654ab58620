import { Injectable } from '@nestjs/common';
import { RoomAllocationStore } from '../../ports/room-allocation-store';
import { HealthRings } from './health-rings';

interface Unheard {
  scheduler: string;
  id: string;
  /** When the store first answered since (by `performance.now()`); null while it has not. */
  answeredAtMs: number | null;
}

/** A call that the store had taken before it stalled may still be carried out after it answers others again. Milliseconds. */
const lateMs = 15_000;
/** More than this are left to their time to live. */
const mostRemembered = 10_000;

/**
 * Allocations whose callers were told that there is none, because the store did not answer in time, though it may carry the call
 * out later. They go back, or else retrying callers would use up a whole fleet while Redis stalls.
 */
@Injectable()
export class UnheardAllocations {
  private readonly unheard = new Set<Unheard>();

  constructor(
    private readonly store: RoomAllocationStore,
    private readonly healthRings: HealthRings,
  ) {}

  note(scheduler: string, id: string): void {
    if (this.unheard.size < mostRemembered) this.unheard.add({ scheduler, id, answeredAtMs: null });
  }

  /** One try for each; what the store refuses now is tried again by the next call. @throws DomainError while the store is away. */
  async giveBack(): Promise<void> {
    for (const each of this.unheard) {
      const answer = await this.store.release(each.scheduler, each.id);
      each.answeredAtMs ??= performance.now();
      if (typeof answer !== 'string' && !answer.isRepeated) this.healthRings.useChanged(each.scheduler);
      if (answer !== 'not_found' || performance.now() - each.answeredAtMs > lateMs) this.unheard.delete(each);
    }
  }
}
