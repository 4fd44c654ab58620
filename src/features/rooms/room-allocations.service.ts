import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { DomainError, messageOf } from '../../domain/errors';
import {
  parseAllocationRequest,
  type AllocationRequest,
  type AllocationWish,
} from '../../domain/room/parse-allocation-request';
import type { RoomAddress } from '../../domain/room/room';
import { schedulerNotFound } from '../../domain/scheduler/scheduler-not-found';
import { Logger } from '../../ports/logger';
import { Metrics, type AllocationAnswer } from '../../ports/metrics';
import {
  RoomAllocationStore,
  type Allocation,
  type AllocationOrder,
  type AllocationOutcome,
} from '../../ports/room-allocation-store';
import type { SchedulerSettings } from '../../ports/scheduler-store';
import { WakeUps } from '../../ports/wake-ups';
import { RepeatedWarnings } from '../repeated-warnings';
import { SchedulerSettingsCache } from '../schedulers/scheduler-settings';
import { SchedulerVersionsCache } from '../schedulers/scheduler-versions';
import { AllocationWaits, type Caller, type OrderEnd, type WaitOutcome } from './allocation-waits';
import { HealthRings } from './health-rings';
import { UnheardAllocations } from './unheard-allocations';

export class RoomAllocationsOptions {
  /** How long an allocation holds that nobody confirms, and whose match the room does not report. Milliseconds. */
  readonly ttlMs!: number;
  /** A room that has said nothing for longer is not given out. Milliseconds. */
  readonly pingTimeoutMs!: number;
  /** How long a room that was found without a record is not given out (`AllocationOrder`). Milliseconds. */
  readonly adoptionHoldMs!: number;
}

type Answer =
  | { outcome: 'allocated' | 'repeated'; allocation: Allocation }
  | { outcome: Exclude<AllocationAnswer, 'allocated' | 'repeated'>; cause?: unknown };
type Refusal = Exclude<Answer, { allocation: Allocation }>;

/** What v10's rpc asks for: any room, now. */
const anyRoom = {
  idempotencyKey: null,
  waitMs: 0,
  strategy: 'packed',
  selector: { version: '', labels: {}, metadata: {} },
  fingerprint: '',
} as const;

/** Capacity may be short where nothing is free: the health of a scheduler is looked at, but not for each caller. */
const healthRingIntervalMs = 1_000;
/** Schedulers whose last ring is remembered. */
const rememberedRings = 10_000;

/** Gives slots of rooms to matchmakers, each to one caller. A scheduler that is being deleted gives out nothing: its rooms go. */
@Injectable()
export class RoomAllocationsService {
  private readonly rungAtMs = new Map<string, number>();
  private readonly warnings: RepeatedWarnings;

  constructor(
    private readonly settings: SchedulerSettingsCache,
    private readonly versions: SchedulerVersionsCache,
    private readonly store: RoomAllocationStore,
    private readonly waits: AllocationWaits,
    private readonly unheard: UnheardAllocations,
    private readonly wakeUps: WakeUps,
    private readonly healthRings: HealthRings,
    private readonly metrics: Metrics,
    logger: Logger,
    private readonly options: RoomAllocationsOptions,
  ) {
    this.warnings = new RepeatedWarnings(logger);
    // From then on nobody is to be served, nor to wait for it.
    settings.onEnd((scheduler) => waits.lookAgain(scheduler));
  }

  /**
   * One round trip to the store, unless the caller waits. The caller's signal is asked for only then.
   * @throws DomainError `allocation.invalid_request`, `allocation.key_reused` (invalid_argument); `scheduler.not_found`;
   *         `allocation.no_room`, `allocation.too_many_waiting` (resource_exhausted); `allocation.rebuilding`,
   *         `allocation.store_error`, `allocation.stopping` (unavailable); `allocation.canceled`. What a `store_error` may have
   *         given out unheard goes back, unless there is a key by which the caller can ask again.
   */
  async allocate(wish: AllocationWish, caller: Caller): Promise<Allocation> {
    const request = parseAllocationRequest(wish);
    const answer = await this.answer(request, caller);
    if ('allocation' in answer) return answer.allocation;
    throw refusal(request, answer);
  }

  /**
   * v10's rpc. Every failure is of the kind that v10 answers, `unknown`.
   * @throws DomainError `allocation.no_ready_room`, also for a scheduler that does not exist; `allocation.rebuilding`;
   *         `allocation.store_error`.
   */
  async allocateRoom(scheduler: string): Promise<{ room: string; address: RoomAddress }> {
    const answer = await this.answer({ scheduler, ...anyRoom }, null);
    if ('allocation' in answer) return answer.allocation;
    throw refusalOfV10(scheduler, answer);
  }

  /** @throws DomainError `allocation.not_found`; `room_store.unavailable`. */
  async getAllocation(scheduler: string, id: string): Promise<Allocation> {
    return (await this.store.getAllocation(scheduler, id)) ?? notFound(scheduler, id);
  }

  /** Idempotent. @throws DomainError `allocation.not_found`; `allocation.released` (failed_precondition). */
  async confirm(scheduler: string, id: string): Promise<Allocation> {
    const answer = await this.store.confirm(scheduler, id);
    if (answer === 'not_found') return notFound(scheduler, id);
    if (answer === 'released') {
      const message = `cannot confirm allocation ${id} of scheduler ${scheduler}: it was released, allocate anew`;
      throw new DomainError('failed_precondition', 'allocation.released', message);
    }
    if (!answer.isRepeated) this.metrics.allocationsChanged('confirmed', 1);
    return answer.allocation;
  }

  /** Idempotent. @throws DomainError `allocation.not_found`; `allocation.in_use` (failed_precondition). */
  async release(scheduler: string, id: string): Promise<Allocation> {
    const answer = await this.store.release(scheduler, id);
    if (answer === 'not_found') return notFound(scheduler, id);
    if (answer === 'in_use') {
      const message = `cannot release allocation ${id} of scheduler ${scheduler}: the room has reported its match, which is the room's to end`;
      throw new DomainError('failed_precondition', 'allocation.in_use', message);
    }
    if (!answer.isRepeated) {
      this.metrics.allocationsChanged('released', 1);
      this.healthRings.useChanged(scheduler);
    }
    return answer.allocation;
  }

  /** `caller` null: it does not wait. */
  private async answer(request: AllocationRequest, caller: Caller | null): Promise<Answer> {
    const { scheduler } = request;
    const began = performance.now();
    const { isKnown, answer } = await this.ask(request, caller);
    this.metrics.allocationAnswered(isKnown ? scheduler : null, answer.outcome, performance.now() - began);
    if (answer.outcome === 'allocated') this.healthRings.useChanged(scheduler);
    if (answer.outcome === 'store_error') {
      const kind = answer.cause instanceof DomainError ? answer.cause.code : '';
      this.warnings.warn(
        { scheduler_name: scheduler, err: messageOf(answer.cause) },
        'no room could be allocated',
        kind,
      );
    }
    return answer;
  }

  private async ask(
    request: AllocationRequest,
    caller: Caller | null,
  ): Promise<{
    /** For the count: a name that came from outside must not become a label. */ isKnown: boolean;
    answer: Answer;
  }> {
    let isKnown = false;
    try {
      const settings = await this.settings.find(request.scheduler);
      if (settings === null) return { isKnown, answer: { outcome: 'unknown_scheduler' } };
      isKnown = true;
      if (settings.isTerminating) return { isKnown, answer: { outcome: 'no_ready_room' } };
      const order = await this.composeOrder(request, settings, randomUUID());
      return { isKnown, answer: answerOf(await this.askStore(request, order, caller)) };
    } catch (error) {
      return { isKnown, answer: { outcome: 'store_error', cause: error } };
    }
  }

  private async askStore(
    request: AllocationRequest,
    order: AllocationOrder,
    caller: Caller | null,
  ): Promise<WaitOutcome | { outcome: 'no_room' }> {
    const { scheduler, waitMs } = request;
    const onNoRoom = (): void => this.ringForHealth(scheduler);
    if (caller !== null && waitMs > 0) {
      const nextOrder = async (id: string): Promise<AllocationOrder | OrderEnd> => {
        const settings = await this.settings.find(scheduler);
        if (settings === null) return 'unknown_scheduler';
        return settings.isTerminating ? 'no_room' : this.composeOrder(request, settings, id);
      };
      return this.waits.wait(order, { nextOrder, waitMs, caller, onNoRoom });
    }
    const answer = await this.allocateOnce(order);
    if (answer.outcome !== 'no_room' && answer.outcome !== 'waiting') return answer;
    onNoRoom();
    return { outcome: 'no_room' };
  }

  /** With a key the caller that tries again is answered what it did not hear; without one, nobody ever will be. */
  private async allocateOnce(order: AllocationOrder): Promise<AllocationOutcome> {
    try {
      return await this.store.allocate(order);
    } catch (error) {
      if (order.idempotencyKey === null) this.unheard.note(order.scheduler, order.id);
      throw error;
    }
  }

  private async composeOrder(
    { scheduler, idempotencyKey, fingerprint, selector, strategy }: AllocationRequest,
    { maxMatches, activeVersion }: SchedulerSettings,
    id: string,
  ): Promise<AllocationOrder> {
    return {
      scheduler,
      id,
      idempotencyKey,
      fingerprint,
      maxMatches,
      activeVersion,
      versions: await this.versions.find(scheduler, selector),
      metadata: selector.metadata,
      strategy,
      ttlMs: this.options.ttlMs,
      pingTimeoutMs: this.options.pingTimeoutMs,
      adoptionHoldMs: this.options.adoptionHoldMs,
    };
  }

  /** Not awaited: the answer does not wait for the bell, and the bell does not fail. */
  private ringForHealth(scheduler: string): void {
    const now = performance.now();
    if (now - (this.rungAtMs.get(scheduler) ?? -Infinity) < healthRingIntervalMs) return;
    // Forgetting costs a ring more, no harm.
    if (this.rungAtMs.size >= rememberedRings) this.rungAtMs.clear();
    this.rungAtMs.set(scheduler, now);
    void this.wakeUps.ring('health', scheduler);
  }
}

function answerOf(answer: WaitOutcome | { outcome: 'no_room' }): Answer {
  if (answer.outcome === 'no_room') return { outcome: 'no_ready_room' };
  if (answer.outcome !== 'allocated') return answer;
  return { outcome: answer.isRepeated ? 'repeated' : 'allocated', allocation: answer.allocation };
}

function refusal({ scheduler, waitMs }: AllocationRequest, { outcome, cause }: Refusal): Error {
  const because = cause === undefined ? {} : { cause };
  switch (outcome) {
    case 'unknown_scheduler':
      return schedulerNotFound(scheduler);
    case 'no_ready_room': {
      const message = `no room of scheduler ${scheduler} that fits is free; try again, or wait with waitSeconds`;
      return new DomainError('resource_exhausted', 'allocation.no_room', message);
    }
    case 'timed_out': {
      const message = `no room of scheduler ${scheduler} that fits came free within ${waitMs / 1_000} s; try again`;
      return new DomainError('resource_exhausted', 'allocation.no_room', message);
    }
    case 'too_many_waiting': {
      const message = `no room of scheduler ${scheduler} that fits is free, and too many callers wait already; try again later`;
      return new DomainError('resource_exhausted', 'allocation.too_many_waiting', message);
    }
    case 'key_reused': {
      const message = `idempotencyKey was used for another request to scheduler ${scheduler}: a key is for one selector and strategy`;
      return new DomainError('invalid_argument', 'allocation.key_reused', message);
    }
    case 'canceled':
      return new DomainError('canceled', 'allocation.canceled', 'the caller went away while it waited');
    case 'stopping':
      return new DomainError('unavailable', 'allocation.stopping', 'this process stops; call again');
    case 'rebuilding':
      return new DomainError('unavailable', 'allocation.rebuilding', rebuilding(scheduler));
    case 'store_error':
      // What nobody expected is told as such, with an id of the log.
      if (!(cause instanceof DomainError)) return cause instanceof Error ? cause : new Error(messageOf(cause));
      return new DomainError('unavailable', 'allocation.store_error', storeError(scheduler), because);
  }
}

/** v10 has one kind for all of it. */
function refusalOfV10(scheduler: string, { outcome, cause }: Refusal): DomainError {
  if (outcome === 'rebuilding') return new DomainError('unknown', 'allocation.rebuilding', rebuilding(scheduler));
  if (outcome === 'store_error') {
    return new DomainError('unknown', 'allocation.store_error', storeError(scheduler), { cause });
  }
  const message = `no ready rooms available for scheduler ${scheduler}`;
  return new DomainError('unknown', 'allocation.no_ready_room', message);
}

function rebuilding(scheduler: string): string {
  return `the rooms of scheduler ${scheduler} are being found again after their state was lost; try again`;
}

function storeError(scheduler: string): string {
  return `no room of scheduler ${scheduler} could be allocated; try again`;
}

function notFound(scheduler: string, id: string): never {
  const message = `allocation ${id} not found in scheduler ${scheduler}: it was never made, has expired, its room has ended, or reported its match long ago`;
  throw new DomainError('not_found', 'allocation.not_found', message);
}
