import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { DomainError, messageOf } from '../../domain/errors';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { RoomAllocationStore, type Allocation, type AllocationOrder } from '../../ports/room-allocation-store';
import { NoticeBoard, type Unsubscribe } from './notice-board';
import { UnheardAllocations } from './unheard-allocations';

export class AllocationWaitsOptions {
  /** Callers of this process that may wait at the same time. */
  readonly maxCallers!: number;
  /**
   * How often a caller looks by itself, in case its notice was lost; this keeps its place, too. Up to a fifth more or less each
   * time, so that callers who came together do not look together. Milliseconds.
   */
  readonly pollIntervalMs!: number;
  /** How long the place of a caller is kept that does not look (its process died). Milliseconds. */
  readonly aliveMs!: number;
}

/** Whoever waits for an answer; see `RpcContext`. */
export interface Caller {
  readonly signal: AbortSignal;
}

export interface AwaitedRoom {
  /** The order as it is to be now, asked for before each look but the first; else why there is none any more. */
  nextOrder: (id: string) => Promise<AllocationOrder | OrderEnd>;
  waitMs: number;
  caller: Caller;
  /** Called with each look that finds no room. */
  onNoRoom: () => void;
}

/** `no_room`: its scheduler is being deleted, and gives out nothing. */
export type OrderEnd = 'unknown_scheduler' | 'no_room';

export type WaitOutcome =
  /** `isRepeated`: it was given for the same key before. */
  | { outcome: 'allocated'; allocation: Allocation; isRepeated: boolean }
  | { outcome: 'unknown_scheduler' }
  | { outcome: 'no_room' }
  | { outcome: 'key_reused' | 'too_many_waiting' | 'canceled' | 'stopping' }
  /** The time is over: no room came free, the state is not whole again, or the store cannot be reached. */
  | { outcome: 'timed_out' | 'rebuilding' }
  | { outcome: 'store_error'; cause: unknown };

const timedOut = { outcome: 'timed_out' } as const;

/**
 * Callers who wait for a room. Their order is the store's; here each waits until it is told that it was served, or looks by
 * itself. A store that is away for a while ends no wait.
 */
@Injectable()
export class AllocationWaits {
  /** With the scheduler that each waits for. */
  private readonly sleepers = new Map<Sleeper, string>();
  private isStopping = false;

  constructor(
    private readonly store: RoomAllocationStore,
    private readonly board: NoticeBoard,
    private readonly unheard: UnheardAllocations,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: AllocationWaitsOptions,
  ) {}

  /** Ends every wait at once, and each that comes after this: the process stops. */
  stop(): void {
    this.isStopping = true;
    for (const sleeper of this.sleepers.keys()) sleeper.wake();
  }

  /** Those who wait for it go on at once, with the order as it is to be now. */
  lookAgain(scheduler: string): void {
    for (const [sleeper, awaited] of this.sleepers) if (awaited === scheduler) sleeper.wake();
  }

  /** `first` is the order to begin with. Takes no longer than `waitMs`, and the steps of the store that are under way then. */
  async wait(first: AllocationOrder, awaited: AwaitedRoom): Promise<WaitOutcome> {
    if (this.isStopping) return { outcome: 'stopping' };
    if (this.sleepers.size >= this.options.maxCallers) return this.askOnce(first, awaited);
    const { signal } = awaited.caller;
    const sleeper = new Sleeper();
    const wake = (): void => sleeper.wake();
    signal.addEventListener('abort', wake);
    this.sleepers.set(sleeper, first.scheduler);
    this.metrics.allocationCallersWaiting(this.sleepers.size);
    try {
      return await this.waitForTurn(first, awaited, sleeper);
    } finally {
      this.sleepers.delete(sleeper);
      this.metrics.allocationCallersWaiting(this.sleepers.size);
      signal.removeEventListener('abort', wake);
    }
  }

  private async waitForTurn(first: AllocationOrder, awaited: AwaitedRoom, sleeper: Sleeper): Promise<WaitOutcome> {
    const { caller, waitMs, nextOrder, onNoRoom } = awaited;
    const deadlineMs = performance.now() + waitMs;
    const subscribe = (id: string): Unsubscribe => this.board.subscribeAllocation(id, () => sleeper.wake());
    let order = first;
    // Before the first look: it may be served right after it.
    let unsubscribe = subscribe(order.id);
    try {
      for (;;) {
        const look = await this.look(order);
        if (caller.signal.aborted) return await this.giveUp(order);
        if (look.outcome === 'allocated' || look.outcome === 'key_reused') return look;
        if (look.outcome === 'timed_out') onNoRoom();
        if (this.isStopping) return await this.leave(order, { outcome: 'stopping' });
        await sleeper.sleep(Math.min(this.untilNextLookMs(), deadlineMs - performance.now()));
        if (caller.signal.aborted) return await this.giveUp(order);
        if (performance.now() >= deadlineMs) return await this.leave(order, look.outcome === 'lost' ? timedOut : look);
        let { id } = order;
        if (look.outcome === 'lost') {
          unsubscribe();
          unsubscribe = subscribe((id = randomUUID()));
        }
        // While what the order follows from cannot be read, the former one is the best there is.
        const next = await nextOrder(id).catch(() => ({ ...order, id }));
        if (typeof next === 'string') return await this.leave(order, { outcome: next });
        order = next;
      }
    } finally {
      unsubscribe();
    }
  }

  private untilNextLookMs(): number {
    return Math.round(this.options.pollIntervalMs * (0.8 + 0.4 * Math.random()));
  }

  /**
   * What the caller is told if its time is over now. `lost`: it was served, and the room ended before it heard of it. Nobody is
   * served twice, so it goes on under another id.
   */
  private async look(order: AllocationOrder): Promise<WaitOutcome | { outcome: 'lost' }> {
    const waiting = { listener: this.board.address, aliveMs: this.options.aliveMs };
    try {
      const answer = await this.store.allocate(order, waiting);
      if (answer.outcome === 'no_room') return { outcome: 'lost' };
      if (answer.outcome === 'waiting') return timedOut;
      // The store also calls it repeated when a caller that was served hears of it by looking.
      return answer.outcome === 'allocated' ? { ...answer, isRepeated: answer.allocation.id !== order.id } : answer;
    } catch (error) {
      if (error instanceof DomainError && error.kind === 'unavailable') return { outcome: 'store_error', cause: error };
      throw error;
    }
  }

  /** One more who waits would be one too many: a room that is free is for this caller all the same. */
  private async askOnce(order: AllocationOrder, { onNoRoom }: AwaitedRoom): Promise<WaitOutcome> {
    try {
      const answer = await this.store.allocate(order);
      if (answer.outcome !== 'no_room' && answer.outcome !== 'waiting') return answer;
      onNoRoom();
      return { outcome: 'too_many_waiting' };
    } catch (error) {
      return { outcome: 'store_error', cause: error };
    }
  }

  /**
   * Nobody hears the answer any more: what was given meanwhile goes back. With a key it stays what the key is answered: another
   * request with it may have heard of it already.
   */
  private async giveUp({ scheduler, id, idempotencyKey }: AllocationOrder): Promise<WaitOutcome> {
    try {
      await this.store.stopWaiting(scheduler, id, { keep: idempotencyKey !== null });
    } catch (error) {
      if (idempotencyKey === null) this.unheard.note(scheduler, id);
      this.logger.warn(
        { scheduler_name: scheduler, allocation_id: id, err: messageOf(error) },
        'the place of a caller that went away is kept until it is forgotten; a room that it was given goes back later',
      );
    }
    return { outcome: 'canceled' };
  }

  /** The caller still listens: what was given meanwhile is its answer. */
  private async leave(
    { scheduler, id, idempotencyKey }: AllocationOrder,
    otherwise: WaitOutcome,
  ): Promise<WaitOutcome> {
    try {
      const allocation = await this.store.stopWaiting(scheduler, id, { keep: true });
      return allocation === null ? otherwise : { outcome: 'allocated', allocation, isRepeated: false };
    } catch (error) {
      if (idempotencyKey === null) this.unheard.note(scheduler, id);
      return otherwise.outcome === 'timed_out' ? { outcome: 'store_error', cause: error } : otherwise;
    }
  }
}

/** Sleeps until it is woken; one that was woken before does not fall asleep. */
class Sleeper {
  private isAwake = false;
  private resume: (() => void) | null = null;

  wake(): void {
    this.isAwake = true;
    this.resume?.();
  }

  async sleep(ms: number): Promise<void> {
    if (!this.isAwake && ms > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.resume = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.resume = null;
    }
    this.isAwake = false;
  }
}
