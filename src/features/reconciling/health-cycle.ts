import { Injectable } from '@nestjs/common';
import { asClause, counted } from '../../domain/phrases';
import type { OperationDefinition, OperationInputs } from '../../domain/operation/operation';
import {
  classifyRoom,
  isOverdueToGo,
  limitsOfScheduler,
  type ExpiryReason,
  type RoomLimits,
} from '../../domain/room/classify-room';
import { describeLateStart } from '../../domain/room/describe-late-start';
import { isEmptyPlan, planHealthCycle, type HealthBlock, type HealthPlan } from '../../domain/room/plan-health-cycle';
import { hasMatch } from '../../domain/room/room';
import { describeEarlyEnds, nextStartAtMs } from '../../domain/room/start-back-off';
import type { Scheduler } from '../../domain/scheduler/scheduler';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { OperationStore } from '../../ports/operation-store';
import { RoomStore, type FleetSnapshot } from '../../ports/room-store';
import { SchedulerStore } from '../../ports/scheduler-store';
import { WakeUps } from '../../ports/wake-ups';
import { OperationsService } from '../operations/operations.service';
import { ToldBlocks } from './told-blocks';

export class HealthCycleOptions {
  readonly limits!: RoomLimits;
  readonly addLimit!: number;
  readonly removeLimit!: number;
}

/** What a plan was made from, where its history tells of it. */
interface LookFacts extends Pick<FleetSnapshot, 'nowMs' | 'earlyEnds'> {
  /** What the runtime says of the last room that did not come up in time; empty when it says nothing, or there is none. */
  expiredBecause: string;
}

export interface ExpiredRooms {
  /** Expired in spite of their match, by the planner's second signal. */
  silent: { ids: ReadonlySet<string>; sinceMs: number };
  /** Why each did not come up. */
  late: ReadonlyMap<string, string>;
}

const cameNotUp: ReadonlySet<ExpiryReason> = new Set(['initialization_timeout', 'error_timeout']);

const actor = 'health_controller';

/** While other work is open, a look is put off by this. Milliseconds. */
const busyDelayMs = 1_000;

/** What someone should know of, or act on; the other blocks are part of a normal day. */
const blockLevels = { mass_silence: 'error', start_back_off: 'warn' } as const satisfies Partial<
  Record<HealthBlock['code'], 'error' | 'warn'>
>;
type ToldBlock = keyof typeof blockLevels;
const toldBlocks = Object.keys(blockLevels) as ToldBlock[];

/**
 * For how long a fleet that backs off is taken to do so still when this worker does not look again: twice the time after which
 * somebody does, who may be another worker. Milliseconds.
 */
const backOffKnownForMs = 120_000;

/**
 * Brings a scheduler's rooms to what they should be: gathers the facts, asks the planner once, orders the work.
 * Looking costs reads only; only a plan with something to do becomes an operation (`architecture.md` 4).
 */
@Injectable()
export class HealthCycle {
  private readonly told = new ToldBlocks();

  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly rooms: RoomStore,
    private readonly operationStore: OperationStore,
    private readonly operations: OperationsService,
    private readonly wakeUps: WakeUps,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: HealthCycleOptions,
  ) {}

  /**
   * Orders a `health_controller` operation if there is something to do. Not while other work of this scheduler is pending or
   * runs: that work changes the facts, and ends with a look of its own. What only waits (a version change, whose scheduler
   * shows `creating`) does not keep the fleet from being healed.
   */
  async look(name: string): Promise<void> {
    const scheduler = await this.schedulers.getScheduler(name);
    if (scheduler === null) return this.told.forget(name);
    if (!(await this.hasPlace(scheduler))) return;
    if (await this.operationStore.isBusy(name)) {
      // Its end does not always look again, and what rang must not wait for the periodic look.
      await this.wakeUps.ring('health', name, { delayMs: busyDelayMs });
      return;
    }
    const plan = await this.plan(scheduler);
    if (plan.nextLookAtMs !== null) {
      const delayMs = Math.max(1, plan.nextLookAtMs - plan.nowMs);
      await this.wakeUps.ring('health', name, { delayMs });
    }
    if (isEmptyPlan(plan)) return;
    await this.operations.enqueue({
      scheduler: name,
      definition: 'health_controller',
      input: {},
      actor,
      reason: purposeOf(plan),
    });
  }

  /**
   * Plans anew. Answers what orders the rooms' operations, which run next, and tells of them: to be called in the transaction
   * that ends the operation that asked, so that one which was canceled, ran out of time or lost its worker ordered nothing.
   * Null when there is nothing to order.
   */
  async act(scheduler: Scheduler): Promise<(() => Promise<string[]>) | null> {
    const { name } = scheduler;
    if (!(await this.hasPlace(scheduler))) return null;
    const plan = await this.plan(scheduler);
    if (isEmptyPlan(plan)) return null;
    // Ordered between the look and its operation, and put off: what is planned now would be done twice.
    if ((await this.operationStore.findOpen(name, ['add_rooms', 'remove_rooms'])) !== null) {
      await this.wakeUps.ring('health', name, { delayMs: busyDelayMs });
      return null;
    }
    return () => this.order(name, plan);
  }

  /** Of the rooms that have expired as things are now: those whose match is given up, and those that did not come up in time. */
  async judgeExpired(scheduler: string): Promise<ExpiredRooms> {
    const fleet = await this.rooms.readFleet(scheduler);
    const facts = { nowMs: fleet.nowMs, hearingSinceMs: fleet.hearingSinceMs, limits: this.options.limits };
    const silent = new Set<string>();
    const late = new Map<string, string>();
    for (const room of fleet.rooms) {
      const verdict = classifyRoom(room, facts);
      if (verdict.class !== 'expired') continue;
      if (hasMatch(room)) silent.add(room.id);
      else if (cameNotUp.has(verdict.reason)) {
        late.set(room.id, describeLateStart(room, facts.limits.initializationTimeoutMs));
      }
    }
    return { silent: { ids: silent, sinceMs: fleet.nowMs }, late };
  }

  private async order(name: string, plan: HealthPlan & LookFacts): Promise<string[]> {
    const { expired, drainedIds, removeIds, add, earlyEnds } = plan;
    const lines: string[] = [];
    const order = async <D extends OperationDefinition>(
      definition: D,
      input: OperationInputs[D],
      purpose: string,
      reason: string,
    ): Promise<void> => {
      const operation = await this.operationStore.insert({ scheduler: name, definition, input, actor, reason });
      if (operation !== null) lines.push(`created operation (id: ${operation.id}) to ${purpose}`);
    };
    if (expired.length > 0) {
      const roomIds = expired.map((room) => room.id);
      await order(
        'remove_rooms',
        { amount: roomIds.length, roomIds, reason: 'expired_room' },
        `remove expired ${counted(roomIds.length, 'room')}.`,
        expiryOf(plan),
      );
      if (plan.expiredBecause !== '') {
        lines.push(`rooms did not come up in time, the runtime said of the last one: ${asClause(plan.expiredBecause)}`);
      }
    }
    if (drainedIds.length > 0) {
      await order(
        'remove_rooms',
        { amount: drainedIds.length, roomIds: drainedIds, reason: 'drained' },
        `remove ${counted(drainedIds.length, 'drained room')}.`,
        drainOf(plan),
      );
    }
    if (removeIds.length > 0) {
      await order(
        'remove_rooms',
        { amount: removeIds.length, roomIds: removeIds, reason: 'scale_down' },
        `remove ${counted(removeIds.length, 'room')}.`,
        numbersOf(plan),
      );
      await this.schedulers.setLastDownscale(name, new Date());
    }
    if (add > 0) {
      if (nextStartAtMs(earlyEnds, plan.desired ?? 0) !== null) lines.push(describeEarlyEnds(earlyEnds));
      await order('add_rooms', { amount: add }, `add ${counted(add, 'room')}.`, numbersOf(plan));
    }
    return lines;
  }

  /**
   * Whether rooms can be there. A scheduler has no place in the runtime before `create_scheduler` made one, and shows
   * `creating` as it does during a version change; `on-error` is one whose creation failed and could not be undone.
   */
  private async hasPlace({ name, state }: Scheduler): Promise<boolean> {
    if (state === 'terminating' || state === 'on-error') return false;
    return state !== 'creating' || (await this.operationStore.findOpen(name, ['create_scheduler'])) === null;
  }

  private async plan(scheduler: Scheduler): Promise<HealthPlan & LookFacts> {
    const fleet = await this.rooms.readFleet(scheduler.name);
    const limits = limitsOfScheduler(this.options.limits, scheduler.definition);
    const plan = planHealthCycle({
      rooms: fleet.rooms,
      nowMs: fleet.nowMs,
      hearingSinceMs: fleet.hearingSinceMs,
      rebuilding: fleet.rebuilding,
      earlyEnds: fleet.earlyEnds,
      scheduler: { ...scheduler.definition, version: scheduler.version },
      lastDownscaleAtMs: scheduler.lastDownscaleAt?.getTime() ?? null,
      limits,
      addLimit: this.options.addLimit,
      removeLimit: this.options.removeLimit,
    });
    this.report(scheduler, plan, fleet, limits);
    const late = new Set(plan.expired.flatMap(({ id, reason }) => (cameNotUp.has(reason) ? [id] : [])));
    const said = fleet.rooms.flatMap(({ id, instance }) => (late.has(id) ? [instance.description] : []));
    const expiredBecause = said.findLast((description) => description !== '') ?? '';
    return { ...plan, nowMs: fleet.nowMs, earlyEnds: fleet.earlyEnds, expiredBecause };
  }

  private report(scheduler: Scheduler, plan: HealthPlan, fleet: FleetSnapshot, limits: RoomLimits): void {
    const { rooms, nowMs } = fleet;
    if (plan.desired !== null && plan.available !== null) {
      // Not those of the plan: most of what hangs waits until it is asked again.
      const going = rooms.filter(({ validation }) => !validation);
      this.metrics.healthPlanned(scheduler.name, scheduler.definition.game, {
        desired: plan.desired,
        available: plan.available,
        terminationTimeouts: going.filter((room) => isOverdueToGo(room, nowMs, limits)).length,
        properlyTerminated: going.filter(({ status }) => status === 'terminated').length,
        backsOffForMs: plan.backsOff ? Math.max(backOffKnownForMs, (plan.startsHeldUntilMs ?? 0) - nowMs) : 0,
      });
    }
    this.tell(scheduler, plan, fleet.earlyEnds.lastReason);
  }

  private tell({ name }: Scheduler, { blockedBy, backsOff, desired }: HealthPlan, lastReason: string): void {
    for (const { code, detail } of blockedBy) {
      const reason = code === 'start_back_off' ? lastReason : '';
      const level = isTold(code) && this.told.isNews(name, code, reason) ? blockLevels[code] : 'debug';
      this.logger[level]({ scheduler_name: name, blocked_by: code }, detail);
    }
    // While the store is rebuilt nobody knows.
    if (desired === null) return;
    for (const code of toldBlocks) {
      const goesOn = blockedBy.some((block) => block.code === code) || (code === 'start_back_off' && backsOff);
      if (goesOn || !this.told.isOver(name, code)) continue;
      this.logger.info({ scheduler_name: name, blocked_by: code }, 'this is not in the way of its rooms any more');
    }
  }
}

function isTold(code: HealthBlock['code']): code is ToldBlock {
  return code in blockLevels;
}

function purposeOf(plan: HealthPlan & LookFacts): string {
  const { expired, drainedIds, removeIds, add } = plan;
  return [
    ...(expired.length > 0 ? [expiryOf(plan)] : []),
    ...(drainedIds.length > 0 ? [drainOf(plan)] : []),
    ...(removeIds.length > 0 || add > 0 ? [numbersOf(plan)] : []),
  ].join('; ');
}

/** `2 rooms expired: ping_timeout, initialization_timeout (Unschedulable: no node has enough free resources: ...)`. */
function expiryOf({ expired, expiredBecause }: HealthPlan & LookFacts): string {
  const reasons = [...new Set(expired.map(({ reason }) => reason))];
  const because = expiredBecause === '' ? '' : ` (${asClause(expiredBecause)})`;
  return `${counted(expired.length, 'room')} expired: ${reasons.join(', ')}${because}`;
}

/** `2 rooms were drained, and are empty`. */
function drainOf({ drainedIds }: HealthPlan): string {
  const [were, are] = drainedIds.length === 1 ? ['was', 'is'] : ['were', 'are'];
  return `${counted(drainedIds.length, 'room')} ${were} drained, and ${are} empty`;
}

/** `2 rooms are available, 5 are wanted: roomsReplicas = 5`. */
function numbersOf({ available, desired, formula }: HealthPlan): string {
  const [have, want] = [available ?? 0, desired ?? 0];
  return `${counted(have, 'room')} ${have === 1 ? 'is' : 'are'} available, ${want} ${want === 1 ? 'is' : 'are'} wanted: ${formula}`;
}
