import { Injectable } from '@nestjs/common';
import { messageOf } from '../../domain/errors';
import type { OperationDefinition, OperationInputs } from '../../domain/operation/operation';
import { asClause, counted } from '../../domain/phrases';
import { classifyRoom, isOverdueToGo, lateStarts } from '../../domain/room/classify-room';
import { describeLateStart } from '../../domain/room/describe-late-start';
import { isEmptyPlan, type HealthBlock, type HealthFacts, type HealthPlan } from '../../domain/room/health-plan';
import { planHealthCycle } from '../../domain/room/plan-health-cycle';
import { hasMatch } from '../../domain/room/room';
import { describeEarlyEnds, nextStartAtMs } from '../../domain/room/start-back-off';
import type { Scheduler } from '../../domain/scheduler/scheduler';
import { HealthRecords, type HealthRecord } from '../../ports/health-records';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { OperationStore } from '../../ports/operation-store';
import { RoomStore } from '../../ports/room-store';
import { SchedulerStore } from '../../ports/scheduler-store';
import { WakeUps } from '../../ports/wake-ups';
import { OperationsService } from '../operations/operations.service';
import { RepeatedWarnings } from '../repeated-warnings';
import { composeHealthRecord } from './compose-health-record';
import {
  actionsOf,
  byReason,
  describeDrain,
  describeDrained,
  describeExpiry,
  describeNumbers,
  describePurpose,
  describeRelease,
  expiredBecause,
  nameDrained,
} from './describe-health-plan';
import { HealthCycleOptions, HealthFactsReader } from './health-facts-reader';
import { ToldBlocks } from './told-blocks';

/** What one look at a fleet came to. */
export interface HealthWork {
  scheduler: Scheduler;
  facts: HealthFacts;
  plan: HealthPlan;
  earlier: HealthRecord | null;
  /** What the runtime says of the last room that did not come up in time; empty when it says nothing, or there is none. */
  expiredBecause: string;
}

export interface ExpiredRooms {
  /** Expired in spite of their match, by the planner's second signal. */
  silent: { ids: ReadonlySet<string>; sinceMs: number };
  /** Why each did not come up. */
  late: ReadonlyMap<string, string>;
}

const actor = 'health_controller';

/** While other work is open, a look is put off by this. Milliseconds. */
const busyDelayMs = 1_000;

/** The look that ordered the operation asked the webhooks a moment ago: their answers are good for it too. Milliseconds. */
const answersReusedForMs = 5_000;

/** What someone should know of, or act on; the other blocks are part of a normal day. */
const blockLevels = {
  mass_silence: 'error',
  policy: 'error',
  breaker: 'warn',
  ports: 'warn',
} as const satisfies Partial<Record<HealthBlock['code'], 'error' | 'warn'>>;
type ToldBlock = keyof typeof blockLevels;
const toldBlocks = Object.keys(blockLevels) as ToldBlock[];

/**
 * For how long a fleet that backs off is taken to do so still when this worker does not look again: twice the time after which
 * somebody does, who may be another worker. Milliseconds.
 */
const backOffKnownForMs = 120_000;

/**
 * Brings a scheduler's rooms to what they should be: gathers the facts, asks the planner once, marks rooms and orders the work.
 * Looking costs reads and one record; only a plan with something to do becomes an operation (`architecture.md` 4).
 */
@Injectable()
export class HealthCycle {
  private readonly told = new ToldBlocks();
  private readonly warnings: RepeatedWarnings;

  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly rooms: RoomStore,
    private readonly operationStore: OperationStore,
    private readonly operations: OperationsService,
    private readonly reader: HealthFactsReader,
    private readonly records: HealthRecords,
    private readonly wakeUps: WakeUps,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: HealthCycleOptions,
  ) {
    this.warnings = new RepeatedWarnings(logger);
  }

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
    const work = await this.plan(scheduler, { reuseAnswersForMs: 0 });
    const { plan, facts } = work;
    await this.remember(work, plan);
    if (plan.nextLookAtMs !== null) {
      const delayMs = Math.max(1, plan.nextLookAtMs - facts.nowMs);
      await this.wakeUps.ring('health', name, { delayMs });
    }
    if (isEmptyPlan(plan)) return;
    await this.operations.enqueue({
      scheduler: name,
      definition: 'health_controller',
      input: {},
      actor,
      reason: describePurpose(plan, work.expiredBecause),
    });
  }

  /** Plans anew, for who holds the scheduler's slot. Null when there is nothing to do, or nothing can be done now. */
  async prepare(scheduler: Scheduler, signal?: AbortSignal): Promise<HealthWork | null> {
    const { name } = scheduler;
    if (!(await this.hasPlace(scheduler))) return null;
    const work = await this.plan(scheduler, { reuseAnswersForMs: answersReusedForMs, signal });
    if (isEmptyPlan(work.plan)) {
      await this.remember(work, work.plan);
      return null;
    }
    // Ordered between the look and its operation, and put off: what is planned now would be done twice.
    if ((await this.operationStore.findOpen(name, ['add_rooms', 'remove_rooms'])) !== null) {
      await this.wakeUps.ring('health', name, { delayMs: busyDelayMs });
      return null;
    }
    return work;
  }

  /**
   * Marks rooms as the plan says, which each of them may refuse by now: a match began there, or it is going. Safe to repeat: what
   * is marked stays so, and a plan that is made afterwards does not name it again. Answers what came of it, and leaves that as the
   * record of this look.
   */
  async mark(work: HealthWork): Promise<HealthPlan> {
    const { scheduler, plan } = work;
    const { name } = scheduler;
    const released: HealthPlan['released'] = [];
    for (const { reason, ids } of byReason(plan.released)) {
      released.push(...(await this.rooms.releaseRooms(name, ids, reason)).map((id) => ({ id, reason })));
    }
    const drain = async (ids: string[], reason: 'rollout' | 'scale_down'): Promise<string[]> => {
      if (ids.length === 0) return [];
      const outcomes = await this.rooms.drainRooms(name, ids, reason);
      return ids.filter((id) => outcomes.get(id) === 'draining');
    };
    const drainIds = await drain(plan.drainIds, 'rollout');
    const claimIds = await drain(plan.claimIds, 'scale_down');
    const done = { ...plan, released, drainIds, claimIds };
    await this.remember(work, done);
    return done;
  }

  /** For who marked rooms and cannot say so any more: what became of it is for the next look to find. */
  lookAgain(name: string): Promise<void> {
    return this.wakeUps.ring('health', name);
  }

  /** What was marked, for the history. */
  describeMarks({ released, drainIds, claimIds }: HealthPlan): string[] {
    const listed = (text: string, ids: readonly string[]): string => `${text}: [${ids.join(' ')}]`;
    return [
      ...byReason(released).map((group) => listed(describeRelease(group), group.ids)),
      ...(drainIds.length > 0 ? [listed(describeDrain(drainIds), drainIds)] : []),
      ...(claimIds.length > 0 ? [listed(claimOf(claimIds), claimIds)] : []),
    ];
  }

  /**
   * Orders the rooms' operations, which run next, and tells of them: to be called in the transaction that ends the operation that
   * asked, so that one which was canceled, ran out of time or lost its worker ordered nothing.
   */
  async order({ scheduler, facts, plan, expiredBecause: because }: HealthWork): Promise<string[]> {
    const { name } = scheduler;
    const { expired, drained, rollback, add } = plan;
    const { earlyEnds } = facts;
    const lines: string[] = [];
    const order = async <D extends OperationDefinition>(
      definition: D,
      input: OperationInputs[D],
      purpose: string,
      reason: string,
    ): Promise<boolean> => {
      const operation = await this.operationStore.insert({ scheduler: name, definition, input, actor, reason });
      if (operation !== null) lines.push(`created operation (id: ${operation.id}) to ${purpose}`);
      return operation !== null;
    };
    if (rollback !== null) {
      const { toVersion } = rollback;
      lines.push(rollback.because);
      const isOrdered = await order(
        'switch_active_version',
        { newActiveVersion: toVersion },
        `go back to version ${toVersion}.`,
        `version ${scheduler.version} is rolled back: ${rollback.because}`,
      );
      // The one gate that every version change takes: somebody was first.
      if (!isOrdered) lines.push(`no rollback to version ${toVersion}: another version change is open`);
      else {
        this.logger.warn(
          { scheduler_name: name, version: scheduler.version, to_version: toVersion, reason: rollback.because },
          'rooms of a new version keep failing: it is rolled back',
        );
      }
    }
    if (expired.length > 0) {
      const roomIds = expired.map((room) => room.id);
      await order(
        'remove_rooms',
        { amount: roomIds.length, roomIds, reason: 'expired_room' },
        `remove expired ${counted(roomIds.length, 'room')}.`,
        describeExpiry(plan, because),
      );
      if (because !== '') {
        lines.push(`rooms did not come up in time, the runtime said of the last one: ${asClause(because)}`);
      }
    }
    for (const group of byReason(drained)) {
      await order(
        'remove_rooms',
        { amount: group.ids.length, roomIds: group.ids, reason: group.reason },
        `remove ${nameDrained(group)}.`,
        describeDrained(group),
      );
    }
    if (add > 0) {
      if (nextStartAtMs(earlyEnds, plan.desired ?? 0) !== null) lines.push(describeEarlyEnds(earlyEnds));
      await order('add_rooms', { amount: add }, `add ${counted(add, 'room')}.`, describeNumbers(plan));
    }
    return lines;
  }

  /** Whether the plan orders operations; marks are no orders. */
  hasOrders({ expired, drained, rollback, add }: HealthPlan): boolean {
    return rollback !== null || add > 0 || expired.length > 0 || drained.length > 0;
  }

  /** Counts what was done, and ordered. */
  count({ scheduler, plan, expiredBecause: because }: HealthWork): void {
    const { name, definition } = scheduler;
    for (const { action, amount } of actionsOf(plan, because)) {
      this.metrics.healthActed(name, definition.game, action, amount);
    }
  }

  /** Of the rooms that have expired as things are now: those whose match is given up, and those that did not come up in time. */
  async judgeExpired(scheduler: string): Promise<ExpiredRooms> {
    const { rooms, nowMs, hearingSinceMs } = await this.rooms.readFleet(scheduler);
    const facts = { nowMs, hearingSinceMs, limits: { ...this.options.limits, drainDeadlineMs: null } };
    const silent = new Set<string>();
    const late = new Map<string, string>();
    for (const room of rooms) {
      const verdict = classifyRoom(room, facts);
      if (verdict.class !== 'expired') continue;
      if (hasMatch(room)) silent.add(room.id);
      else if (lateStarts.has(verdict.reason)) {
        late.set(room.id, describeLateStart(room, facts.limits.initializationTimeoutMs));
      }
    }
    return { silent: { ids: silent, sinceMs: nowMs }, late };
  }

  /**
   * Whether rooms can be there. A scheduler has no place in the runtime before `create_scheduler` made one, and shows
   * `creating` as it does during a version change; `on-error` is one whose creation failed and could not be undone.
   */
  private async hasPlace({ name, state }: Scheduler): Promise<boolean> {
    if (state === 'terminating' || state === 'on-error') return false;
    return state !== 'creating' || (await this.operationStore.findOpen(name, ['create_scheduler'])) === null;
  }

  private async plan(scheduler: Scheduler, options: Parameters<HealthFactsReader['gather']>[1]): Promise<HealthWork> {
    const { facts, earlier } = await this.reader.gather(scheduler, options);
    const plan = planHealthCycle(facts);
    this.report(scheduler, plan, facts);
    return { scheduler, facts, plan, earlier, expiredBecause: expiredBecause(facts, plan) };
  }

  /** For those who ask why, and for the next look. It may be lost, so what keeps it from being written is told and no more. */
  private async remember(
    { scheduler, facts, earlier, expiredBecause: because }: HealthWork,
    plan: HealthPlan,
  ): Promise<void> {
    try {
      const record = composeHealthRecord({ scheduler, facts, plan, actions: actionsOf(plan, because), earlier });
      await this.records.write(scheduler.name, record);
    } catch (error) {
      this.warnings.warn(
        { scheduler_name: scheduler.name, err: messageOf(error) },
        'the record of a look could not be written',
      );
    }
  }

  private report(scheduler: Scheduler, plan: HealthPlan, facts: HealthFacts): void {
    const { rooms, nowMs, limits } = facts;
    if (plan.desired !== null && plan.available !== null) {
      // Not those of the plan: most of what hangs waits until it is asked again.
      const going = rooms.filter(({ validation }) => !validation);
      this.metrics.healthPlanned(scheduler.name, scheduler.definition.game, {
        desired: plan.desired,
        available: plan.available,
        terminationTimeouts: going.filter((room) => isOverdueToGo(room, nowMs, limits)).length,
        properlyTerminated: going.filter(({ status }) => status === 'terminated').length,
        toReplace: plan.rollout === null ? 0 : plan.rollout.outdated + plan.rollout.leaving,
        paused: facts.paused === null ? 0 : 1,
        backsOffForMs: plan.backsOff ? Math.max(backOffKnownForMs, (plan.startsHeldUntilMs ?? 0) - nowMs) : 0,
      });
    }
    this.tell(scheduler, plan, facts.earlyEnds.lastReason);
  }

  private tell({ name }: Scheduler, { blockedBy, backsOff, desired }: HealthPlan, lastReason: string): void {
    for (const { code, detail } of blockedBy) {
      const reason = isBackOff(code) ? lastReason : '';
      const level = isTold(code) && this.told.isNews(name, code, reason) ? blockLevels[code] : 'debug';
      this.logger[level]({ scheduler_name: name, blocked_by: code }, detail);
    }
    // While the store is rebuilt nobody knows.
    if (desired === null) return;
    for (const code of toldBlocks) {
      const goesOn = blockedBy.some((block) => block.code === code) || (isBackOff(code) && backsOff);
      if (goesOn || !this.told.isOver(name, code)) continue;
      this.logger.info({ scheduler_name: name, blocked_by: code }, 'this is not in the way of its rooms any more');
    }
  }
}

function isBackOff(code: HealthBlock['code']): boolean {
  return code === 'breaker' || code === 'ports';
}

function isTold(code: HealthBlock['code']): code is ToldBlock {
  return code in blockLevels;
}

function claimOf(ids: readonly string[]): string {
  const they = ids.length === 1 ? 'it goes if it is' : 'they go if they are';
  return `${counted(ids.length, 'room')} too many, ${they} still empty one ping interval later`;
}
