import { Injectable } from '@nestjs/common';
import { DomainError, messageOf } from '../../domain/errors';
import { protectMatches, type ProtectionPlan } from '../../domain/room/protect-matches';
import { Logger } from '../../ports/logger';
import { LoopLeases } from '../../ports/loop-leases';
import { Metrics, type ProtectionChange } from '../../ports/metrics';
import { RoomChanges } from '../../ports/room-changes';
import { RoomStore } from '../../ports/room-store';
import { Runtime, type RuntimeInstance } from '../../ports/runtime';
import { holdLoopLease } from '../hold-loop-lease';
import { pause } from '../repeat-until-aborted';
import { RepeatedWarnings } from '../repeated-warnings';
import { SchedulerSettingsCache } from '../schedulers/scheduler-settings';
import { CallPace } from './call-pace';
import { SchedulerProtection } from './scheduler-protection';

export class MatchProtectionOptions {
  readonly owner!: string;
  readonly leaseTtlMs!: number;
  /** How many calls a second may tell the runtime what to protect. */
  readonly callsPerSecond!: number;
  /** How long a room stays protected after its match: the next one may come soon. Milliseconds. */
  readonly releaseDelayMs!: number;
  /** How often the budget of a scheduler is lowered at most. Milliseconds. */
  readonly budgetIntervalMs!: number;
  /** How often the budget of a scheduler with matches is set again, in case somebody removed it: at least so far apart. Milliseconds. */
  readonly budgetRefreshMs!: number;
  /** How often all rooms are compared with all instances. Milliseconds. */
  readonly compareIntervalMs!: number;
  /** How soon what failed is looked at again, and how far apart whole lists are at least, whatever asks for them. Milliseconds. */
  readonly compareRetryMs!: number;
  /** So long after it was found again, a room may have players on their way of whom nobody knows. Milliseconds. */
  readonly adoptionHoldMs!: number;
}

/** Schedulers that are worked on side by side, and rooms of one of them: a scheduler whose calls hang leaves room for others. */
const schedulersAtOnce = 4;
const roomsAtOnce = 8;
/** Fleets that a comparison reads side by side. */
const fleetsAtOnce = 8;
/** How much of all calls may only make sure of budgets. */
const shareOfRefreshes = 1 / 4;
/** How often it is looked whether something is due, where nothing rings. Milliseconds. */
const lookIntervalMs = 500;

/**
 * Tells a runtime that moves instances which of them may not be moved: those with a match. Level-triggered: news of a room only says
 * where to look, and what is told follows from how the room is then; a comparison of everything, at start, after a gap in the
 * news and every few minutes, finds what was missed. It lists a whole cluster, so it is made only when the room state is there to
 * compare with, and schedulers that could not be compared are looked at again one by one. One process of all does it.
 */
@Injectable()
export class MatchProtection {
  constructor(
    private readonly runtime: Runtime,
    private readonly rooms: RoomStore,
    private readonly changes: RoomChanges,
    private readonly settings: SchedulerSettingsCache,
    private readonly leases: LoopLeases,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: MatchProtectionOptions,
  ) {}

  async run(signal: AbortSignal): Promise<void> {
    if (!this.runtime.movesInstances) return;
    const { owner, leaseTtlMs: ttlMs } = this.options;
    await holdLoopLease(this.leases, { name: 'match-protection', owner, ttlMs }, this.logger, signal, (held) =>
      new ProtectionSession(this.runtime, this.rooms, this.settings, this.metrics, this.logger, this.options, held).run(
        this.changes,
      ),
    );
  }
}

/** As long as this process holds the loop. */
class ProtectionSession {
  private readonly schedulers = new Map<string, SchedulerProtection>();
  private readonly pace: CallPace;
  private readonly warnings: RepeatedWarnings;
  private readonly atWork = new Set<Promise<void>>();
  private compareDueMs = 0;
  /** Everything was listed last. */
  private listedAtMs = -Infinity;
  /** Schedulers that the last comparison could not compare, and when they are looked at again. */
  private readonly left = new Set<string>();
  private leftDueMs = Infinity;
  private bell = new AbortController();

  constructor(
    private readonly runtime: Runtime,
    private readonly rooms: RoomStore,
    private readonly settings: SchedulerSettingsCache,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: MatchProtectionOptions,
    private readonly signal: AbortSignal,
  ) {
    this.pace = new CallPace(options.callsPerSecond);
    this.warnings = new RepeatedWarnings(logger);
  }

  /** Until the signal aborts. */
  async run(changes: RoomChanges): Promise<void> {
    const following = changes.follow(
      {
        onBegin: () => {
          this.compareDueMs = 0;
          this.bell.abort();
        },
        onChanges: (news) => {
          const now = performance.now();
          for (const { scheduler, room, hasMatch } of news) this.of(scheduler).hear(room, hasMatch, now);
          this.bell.abort();
        },
      },
      this.signal,
    );
    let comparing: Promise<void> | null = null;
    while (!this.signal.aborted) {
      const now = performance.now();
      if (comparing === null && now >= Math.min(this.wholeDueMs, this.leftDueMs)) {
        const work = now >= this.wholeDueMs ? this.compare() : this.compareLeft();
        comparing = work.finally(() => (comparing = null));
      }
      this.startWork(now);
      this.reportWaiting(now);
      const dueMs = comparing === null ? Math.min(this.wholeDueMs, this.leftDueMs) : Infinity;
      const dueInMs = Math.max(1, dueMs - performance.now());
      await pause(Math.min(lookIntervalMs, dueInMs), this.signal, this.bell.signal);
      this.bell = new AbortController();
    }
    await Promise.all([following, comparing, ...this.atWork]);
    this.metrics.protectionsWaiting(0, 0);
  }

  /** Connections that break again and again must not make as many lists. */
  private get wholeDueMs(): number {
    return Math.max(this.compareDueMs, this.listedAtMs + this.options.compareRetryMs);
  }

  /** However many schedulers there are, most calls are left for what changes. */
  private get budgetRefreshMs(): number {
    const { budgetRefreshMs, callsPerSecond } = this.options;
    return Math.max(budgetRefreshMs, (this.schedulers.size * 1_000) / (callsPerSecond * shareOfRefreshes));
  }

  private of(scheduler: string): SchedulerProtection {
    let protection = this.schedulers.get(scheduler);
    if (protection === undefined) {
      const { releaseDelayMs, budgetIntervalMs } = this.options;
      const budgetRefreshMs = (): number => this.budgetRefreshMs;
      protection = new SchedulerProtection({ releaseDelayMs, budgetIntervalMs, budgetRefreshMs });
      this.schedulers.set(scheduler, protection);
    }
    return protection;
  }

  // --- one scheduler's turn -------------------------------------------------------------------------------------------

  private startWork(nowMs: number): void {
    if (this.atWork.size >= schedulersAtOnce) return;
    const ready: { name: string; protection: SchedulerProtection; urgency: number }[] = [];
    for (const [name, protection] of this.schedulers) {
      const urgency = protection.urgency(nowMs);
      if (urgency !== null) ready.push({ name, protection, urgency });
    }
    ready.sort((a, b) => (a.urgency === b.urgency ? 0 : a.urgency - b.urgency));
    for (const { name, protection } of ready.slice(0, schedulersAtOnce - this.atWork.size)) {
      const work = this.inTurn(protection, () => this.work(name, protection)).finally(() => {
        this.atWork.delete(work);
        this.bell.abort();
      });
      this.atWork.add(work);
    }
  }

  /** When nobody else works on this scheduler. `work` must not fail. */
  private async inTurn(protection: SchedulerProtection, work: () => Promise<void>): Promise<void> {
    while (protection.turn !== null) await protection.turn;
    protection.turn = work().finally(() => (protection.turn = null));
    await protection.turn;
  }

  private async work(scheduler: string, protection: SchedulerProtection): Promise<void> {
    if (!protection.isListed) {
      // It is new, or the first comparison has not come to it.
      await this.listOne(scheduler, protection);
      return;
    }
    const ids = protection.take(roomsAtOnce, performance.now());
    let failed: ReadonlySet<string> = new Set();
    try {
      if (ids.length > 0) {
        failed = await this.tellOf(scheduler, protection, ids);
      } else {
        const budget = protection.dueBudget(performance.now());
        if (budget !== null) await this.setBudget(scheduler, protection, budget);
      }
    } catch (error) {
      failed = new Set(ids);
      this.failed(scheduler, protection, error);
    } finally {
      protection.putDown(failed, performance.now());
    }
  }

  /** Answers those of which the runtime could not be told. @throws before the first is told. */
  private async tellOf(scheduler: string, protection: SchedulerProtection, ids: string[]): Promise<Set<string>> {
    const { rooms, rebuilding, nowMs } = await this.rooms.readRooms(scheduler, ids);
    const plan = protectMatches({
      instances: ids.map((id) => ({ id, isProtected: protection.isProtected(id) })),
      rooms,
      // With those that still wait, so that a thousand matches that begin together raise the budget once.
      protectedElsewhere: protection.countBeside(ids),
      rebuilding,
      nowMs,
      adoptionHoldMs: this.options.adoptionHoldMs,
    });
    this.hold(protection, plan);
    // A record ends with its instance.
    if (!rebuilding) for (const id of ids) if (!rooms.has(id)) protection.released(id);
    if (plan.protect.length > 0 && protection.isBudgetBelow(plan.budget.during, performance.now())) {
      await this.setBudget(scheduler, protection, plan.budget.during);
    }
    const failed = new Set<string>();
    for (const [told, isProtected] of [
      [plan.protect, true],
      [plan.release, false],
    ] as const) {
      await Promise.all(
        told.map(async (id) => {
          if (!(await this.tell(scheduler, protection, id, isProtected))) failed.add(id);
        }),
      );
    }
    return failed;
  }

  private hold(protection: SchedulerProtection, { held }: ProtectionPlan): void {
    const now = performance.now();
    for (const { id, forMs } of held) protection.holdUntil(id, now + forMs);
  }

  /** False when the call failed. */
  private async tell(
    scheduler: string,
    protection: SchedulerProtection,
    id: string,
    isProtected: boolean,
  ): Promise<boolean> {
    const change = isProtected ? 'protect' : 'release';
    await this.pace.turn(this.signal);
    // Another process holds the loop by now.
    if (this.signal.aborted) return true;
    if (protection.isOvertaken(id, isProtected)) return true;
    protection.callBegins(id);
    try {
      const outcome = await this.runtime.protectInstance(scheduler, id, isProtected);
      if (isProtected && outcome === 'done') protection.protected(id);
      else protection.released(id);
      protection.worked();
      this.metrics.protectionChanged(change, outcome);
      this.logger.debug(
        { scheduler_name: scheduler, room_id: id, change, outcome },
        'the protection of a room changed',
      );
      return true;
    } catch (error) {
      this.metrics.protectionChanged(change, 'failed');
      this.failed(scheduler, protection, error);
      return false;
    }
  }

  /** @throws what the runtime throws when another try may do: then nothing may be protected yet. */
  private async setBudget(scheduler: string, protection: SchedulerProtection, budget: number): Promise<void> {
    await this.pace.turn(this.signal);
    if (this.signal.aborted) return;
    const change: ProtectionChange = 'budget';
    try {
      await this.runtime.setDisruptionBudget(scheduler, budget);
      protection.budgetIs(budget, performance.now());
      protection.worked();
      this.metrics.protectionChanged(change, 'done');
    } catch (error) {
      this.metrics.protectionChanged(change, 'failed');
      if (error instanceof DomainError && error.kind === 'unavailable') throw error;
      // A right that is missing stays missing for a while. Without a budget a drain may still end a match; without the rest the
      // cluster's autoscaler would, too.
      protection.budgetRefused(performance.now());
      this.warnings.warn(
        { scheduler_name: scheduler, err: messageOf(error) },
        'the disruption budget of a scheduler cannot be set',
      );
    }
  }

  private failed(scheduler: string, protection: SchedulerProtection, error: unknown): void {
    if (this.signal.aborted) return;
    protection.failed(performance.now());
    this.warnings.warn(
      { scheduler_name: scheduler, err: messageOf(error) },
      'rooms with matches could not be protected, or released; it is tried again',
    );
  }

  // --- all schedulers -------------------------------------------------------------------------------------------------

  /** Does not fail. */
  private async compare(): Promise<void> {
    const { compareIntervalMs, compareRetryMs } = this.options;
    this.compareDueMs = Infinity;
    this.leftDueMs = Infinity;
    let pauseMs = compareRetryMs;
    try {
      if (await this.rooms.isSynced()) {
        await this.compareAll();
        pauseMs = compareIntervalMs;
      }
    } catch (error) {
      if (!this.signal.aborted) {
        this.warnings.warn({ err: messageOf(error) }, 'rooms with matches could not be compared with the runtime');
      }
    }
    // Unless a gap in the news asked for another one meanwhile.
    this.compareDueMs = Math.min(this.compareDueMs, performance.now() + pauseMs);
    this.bell.abort();
  }

  /** @throws when not everything could be listed. */
  private async compareAll(): Promise<void> {
    this.listedAtMs = performance.now();
    for (const protection of this.schedulers.values()) protection.listBegins();
    const instances = byScheduler(await this.runtime.listInstances());
    const known = await this.settings.names();
    const names = [...new Set([...known, ...instances.keys(), ...this.schedulers.keys()])];
    this.left.clear();
    await this.inGroups(names, (name, protection) => this.look(name, protection, instances.get(name) ?? []));
    const exists = new Set([...known, ...instances.keys()]);
    for (const name of names) if (!exists.has(name)) this.schedulers.delete(name);
    this.concludeComparison();
  }

  /** Those that the last comparison left, each with a list of its own. Does not fail. */
  private async compareLeft(): Promise<void> {
    this.leftDueMs = Infinity;
    try {
      if (await this.rooms.isSynced()) {
        await this.inGroups([...this.left], (name, protection) => this.listOne(name, protection));
      }
    } catch (error) {
      if (!this.signal.aborted) {
        this.warnings.warn({ err: messageOf(error) }, 'rooms with matches could not be compared with the runtime');
      }
    }
    this.concludeComparison();
    this.bell.abort();
  }

  /** Some schedulers side by side; `work` answers whether it could be done. */
  private async inGroups(
    names: readonly string[],
    work: (name: string, protection: SchedulerProtection) => Promise<boolean>,
  ): Promise<void> {
    for (let start = 0; start < names.length && !this.signal.aborted; start += fleetsAtOnce) {
      const looks = names.slice(start, start + fleetsAtOnce).map(async (name) => {
        const protection = this.of(name);
        await this.inTurn(protection, async () => {
          if (await work(name, protection)) this.left.delete(name);
          else this.left.add(name);
        });
      });
      await Promise.all(looks);
    }
  }

  private concludeComparison(): void {
    if (this.left.size > 0) this.leftDueMs = performance.now() + this.options.compareRetryMs;
    else if (!this.signal.aborted) this.metrics.loopFinished('match_protection');
  }

  /** False when it could not be done. Does not fail. */
  private async listOne(scheduler: string, protection: SchedulerProtection): Promise<boolean> {
    protection.listBegins();
    try {
      await this.pace.turn(this.signal);
      return await this.look(scheduler, protection, await this.runtime.listInstances(scheduler));
    } catch (error) {
      this.failed(scheduler, protection, error);
      return false;
    }
  }

  /** Compares one scheduler. False when it could not be done, or the room state was not complete. Does not fail. */
  private async look(
    scheduler: string,
    protection: SchedulerProtection,
    instances: readonly RuntimeInstance[],
  ): Promise<boolean> {
    try {
      const fleet = instances.length === 0 ? null : await this.rooms.readFleet(scheduler);
      protection.listShows(instances.map(({ id, isProtected }) => ({ id, isProtected: isProtected === true })));
      if (fleet === null) return true;
      const plan = protectMatches({
        instances: instances.map(({ id }) => ({ id, isProtected: protection.isProtected(id) })),
        rooms: new Map(fleet.rooms.map((room) => [room.id, room])),
        protectedElsewhere: 0,
        rebuilding: fleet.rebuilding,
        nowMs: fleet.nowMs,
        adoptionHoldMs: this.options.adoptionHoldMs,
      });
      const now = performance.now();
      for (const id of plan.protect) protection.hear(id, true, now);
      for (const id of plan.release) protection.hear(id, false, now);
      this.hold(protection, plan);
      return !fleet.rebuilding;
    } catch (error) {
      this.failed(scheduler, protection, error);
      return false;
    }
  }

  private reportWaiting(nowMs: number): void {
    let count = 0;
    let oldestMs = nowMs;
    for (const protection of this.schedulers.values()) {
      const waiting = protection.waiting(nowMs);
      count += waiting.count;
      oldestMs = Math.min(oldestMs, waiting.sinceMs ?? nowMs);
    }
    this.metrics.protectionsWaiting(count, nowMs - oldestMs);
  }
}

function byScheduler(instances: readonly RuntimeInstance[]): Map<string, RuntimeInstance[]> {
  const found = new Map<string, RuntimeInstance[]>();
  for (const instance of instances) {
    const others = found.get(instance.scheduler);
    if (others === undefined) found.set(instance.scheduler, [instance]);
    else others.push(instance);
  }
  return found;
}
