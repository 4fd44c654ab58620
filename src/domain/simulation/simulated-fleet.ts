import { desiredRooms } from '../autoscaling/desired-rooms';
import type { FleetSettings } from '../autoscaling/fleet-settings';
import type { Recommendation } from '../autoscaling/stabilise';
import { DomainError } from '../errors';
import { rolloutSettingsOf } from '../rollout/rollout-settings';
import type { RoomLimits } from '../room/classify-room';
import { countFleet } from '../room/count-fleet';
import { matchLoad, nextRoomStatus } from '../room/next-room-status';
import type { HealthFacts, HealthPlan } from '../room/health-plan';
import { planHealthCycle } from '../room/plan-health-cycle';
import type { DrainReason, Room, RoomStatus } from '../room/room';
import { earlyEndAgeMs, earlyEndWindowMs, failuresKeptMs, mostFailures } from '../room/start-back-off';
import { isSameMajor } from '../scheduler/scheduler-version';
import { around, untilNext, type RandomSource } from './random-source';
import { RoomPool } from './room-pool';
import type { SimulatedClock } from './simulated-clock';

/** How the rooms of a simulated fleet behave, and how it is looked after. Times in milliseconds. */
export interface FleetModel {
  scheduler: FleetSettings & { maxSurge: string };
  /** The version that is active at the start. */
  version: string;
  /** How long a room takes to come up on average; each one up to a quarter more or less. */
  startDelayMs: number;
  /** How long one takes to go. */
  stopDelayMs: number;
  pingIntervalMs: number;
  /** At most one look in so long for what changes all the time: matches that begin and end, rooms that come up. */
  lookIntervalMs: number;
  /** When a room dies or the version changes, a look comes so soon. */
  reactionMs: number;
  /** A look comes after so long though nothing changed. */
  longestLookPauseMs: number;
  /** How long a room lives on average until it dies of itself; null: none does. */
  meanLifeMs: number | null;
  /** Share of these deaths in which the instance stays and only says nothing any more. */
  silentDeathShare: number;
  /** Share of the rooms of a version that fail instead of coming up. */
  startFailureShare: (version: string) => number;
  limits: RoomLimits;
  addLimit: number;
  removeLimit: number;
  /** More rooms than this are no simulation any more. */
  mostRooms: number;
}

/** One room of the simulation: what its record says, and what is true of it. */
export interface SimulatedRoom {
  readonly record: Room;
  /** Where its record is among all. */
  place: number;
  /** Matches that really run; the record learns of them by pings. */
  matches: number;
  /** It does nothing any more, whether its record knows or not. */
  isDead: boolean;
  /** Its record is gone. */
  isGone: boolean;
}

/** Told of each look, for those who check it. */
export interface FleetObserver {
  /** Before the plan is carried out: `facts.rooms` are the rooms as the planner saw them. */
  planned?(plan: HealthPlan, facts: HealthFacts): void;
  carriedOut?(plan: HealthPlan): void;
  /** It is asked to go, with as many matches as really run there. */
  removed?(room: SimulatedRoom): void;
}

/** Totals since the measuring began. */
export interface FleetTotals {
  started: number;
  /** Asked to go by a plan. */
  removed: number;
  /** Died of themselves. */
  died: number;
  failedStarts: number;
  /** Matches that ended because their room did. */
  lostMatches: number;
  peakRooms: number;
  /** Looks, and the rooms that were looked at in all of them: what the simulation costs. */
  looks: number;
  roomsLookedAt: number;
  roomMs: number;
  /** Of rooms without a match, also those that start or go: they cost the same. */
  idleRoomMs: number;
}

const noTotals = (): FleetTotals => ({
  started: 0,
  removed: 0,
  died: 0,
  failedStarts: 0,
  lostMatches: 0,
  peakRooms: 0,
  looks: 0,
  roomsLookedAt: 0,
  roomMs: 0,
  idleRoomMs: 0,
});

/** What is said of whatever fails. */
const failureWords = 'exited with code 1';
/** Rooms that were there before the simulation began are so old. */
const settledAgeMs = 86_400_000;

/**
 * A fleet whose rooms are records and whose time is computed. The planner is the real one; what features, Redis and the runtime
 * do to its plans is this class's: a plan is carried out at once and in full.
 */
export class SimulatedFleet {
  private readonly rooms = new Map<string, SimulatedRoom>();
  /** In the same order: the planner is given the second as it is. */
  private readonly all: SimulatedRoom[] = [];
  private readonly records: Room[] = [];
  private made = 0;
  /** Rooms that players are sent to: those that have matches and take more, idle ones, and claimed ones that are still empty. */
  private readonly partlyUsed = new RoomPool<SimulatedRoom>();
  private readonly idle = new RoomPool<SimulatedRoom>();
  private readonly claimed = new RoomPool<SimulatedRoom>();
  /** What to call when the matches of a room end. */
  private readonly playing = new Map<SimulatedRoom, (() => void)[]>();
  private inUse = 0;
  private runningMatches = 0;

  private version: string;
  private previousVersion = '';
  private readonly versions: Set<string>;
  private isBroughtBack = false;
  private earlyEndsAtMs: number[] = [];
  /** What counts against a version, whatever the age of its rooms. */
  private failures: { atMs: number; version: string }[] = [];
  private lostAtMs: number[] = [];
  private lastDownscaleAtMs: number | null = null;
  private outdatedAtMs: number | null = null;
  private last: { desired: number | null; remembered: readonly Recommendation[] } | null = null;

  private readonly hearingSinceMs: number;
  private lookDueAtMs: number | null = null;
  private lastLookAtMs = -Infinity;
  private counted = noTotals();
  private countedUntilMs: number;

  constructor(
    private readonly model: FleetModel,
    private readonly clock: SimulatedClock,
    private readonly random: RandomSource,
    private readonly observer: FleetObserver = {},
  ) {
    this.version = model.version;
    this.versions = new Set([model.version]);
    this.hearingSinceMs = clock.nowMs - settledAgeMs;
    this.countedUntilMs = clock.nowMs;
  }

  get activeVersion(): string {
    return this.version;
  }

  /** All records, whatever their status. */
  get size(): number {
    return this.records.length;
  }

  get matchesRunning(): number {
    return this.runningMatches;
  }

  totals(): Readonly<FleetTotals> {
    this.account();
    return this.counted;
  }

  /** The totals begin anew. */
  beginMeasuring(): void {
    this.account();
    this.counted = { ...noTotals(), peakRooms: this.records.length };
  }

  /**
   * The fleet as it would stand if it had had so many matches for long: rooms are up at once. From then on it is looked after.
   * @param startMatch is called for each of the matches, with its number from 0 on, until it answers that there is no room.
   * @returns how many found one.
   */
  settle(matches: number, startMatch: (index: number) => boolean): number {
    const { scheduler } = this.model;
    const facts = { nowMs: this.clock.nowMs, webhookAnswers: new Map() };
    let placed = 0;
    let wanted = desiredRooms(scheduler, countFleet([]), facts).desired;
    for (;;) {
      while (this.records.length < wanted) this.comeUp(this.make(this.clock.nowMs - settledAgeMs));
      const before = placed;
      while (placed < matches && startMatch(placed)) placed += 1;
      wanted = desiredRooms(scheduler, countFleet(this.records), facts).desired;
      if (wanted <= this.records.length && placed === before) break;
    }
    this.last = { desired: wanted, remembered: [] };
    this.lookAt(this.clock.nowMs);
    return placed;
  }

  /**
   * Sends a match to a room, the fullest that takes one; false when none does. `onEnd` is called when it is over, also when its
   * room dies.
   */
  startMatch(lengthMs: number, onEnd: () => void): boolean {
    return this.play(this.partlyUsed.draw(this.random) ?? this.idle.draw(this.random), lengthMs, onEnd);
  }

  /**
   * A match that begins in a room which drains because it is one too many: what happens where players come by another way than
   * an allocation. False when there is no such room.
   */
  startUnallocatedMatch(lengthMs: number, onEnd: () => void): boolean {
    return this.play(this.claimed.draw(this.random), lengthMs, onEnd);
  }

  /** Rooms of another major version are replaced from now on. */
  switchVersion(version: string): void {
    this.previousVersion = this.version;
    this.isBroughtBack = false;
    this.activate(version);
  }

  /** A look, no later than this. */
  lookSoon(): void {
    this.lookAt(this.clock.nowMs + this.model.reactionMs);
  }

  private activate(version: string): void {
    this.version = version;
    this.outdatedAtMs = null;
    this.versions.add(version);
    this.lookSoon();
  }

  // Rooms ------------------------------------------------------------------------------------------------------------

  private make(createdAtMs: number): SimulatedRoom {
    if (this.records.length >= this.model.mostRooms) {
      throw new DomainError(
        'invalid_argument',
        'simulation.too_many_rooms',
        `The simulated fleet would have more than ${this.model.mostRooms} rooms; simulate less load, or a policy with a lower max.`,
      );
    }
    this.account();
    const record: Room = {
      id: `room-${this.made++}`,
      scheduler: 'simulated',
      version: this.version,
      validation: false,
      status: 'pending',
      statusSinceMs: createdAtMs,
      pingStatus: 'unknown',
      lastPingAtMs: null,
      createdAtMs,
      adoptedAtMs: null,
      runningMatches: 0,
      allocations: [],
      drainingSinceMs: null,
      drainReason: null,
      endAsked: null,
      startPutOff: null,
      instance: { status: 'pending', description: '', address: null, restarts: null },
    };
    const room: SimulatedRoom = { record, place: this.records.length, matches: 0, isDead: false, isGone: false };
    this.rooms.set(record.id, room);
    this.all.push(room);
    this.records.push(record);
    this.counted.peakRooms = Math.max(this.counted.peakRooms, this.records.length);
    return room;
  }

  private start(): void {
    const { clock, model, random } = this;
    const room = this.make(clock.nowMs);
    this.counted.started += 1;
    clock.at(clock.nowMs + around(model.startDelayMs, 0.25, random), () => {
      if (room.isDead || room.isGone) return;
      if (random() < model.startFailureShare(room.record.version)) this.failToStart(room);
      else this.comeUp(room);
      this.lookWithin(model.lookIntervalMs);
    });
  }

  private comeUp(room: SimulatedRoom): void {
    const { clock, model } = this;
    room.record.instance.status = 'ready';
    this.ping(room);
    if (model.meanLifeMs === null) return;
    clock.at(clock.nowMs + untilNext(model.meanLifeMs, this.random), () => this.die(room));
  }

  private failToStart(room: SimulatedRoom): void {
    room.isDead = true;
    room.record.instance.status = 'error';
    room.record.instance.description = failureWords;
    this.setStatus(room.record, 'error');
    this.counted.failedStarts += 1;
    this.noteEarlyEnd();
    this.noteFailure(room.record);
    this.keepInPools(room);
  }

  private die(room: SimulatedRoom): void {
    if (room.isDead || room.isGone) return;
    this.counted.died += 1;
    this.endMatches(room);
    room.isDead = true;
    this.keepInPools(room);
    if (this.random() < this.model.silentDeathShare) return;
    const isYoung = this.clock.nowMs - room.record.createdAtMs <= earlyEndAgeMs;
    if (isYoung) this.noteEarlyEnd();
    else this.noteLost(room.record);
    this.noteFailure(room.record);
    this.forget(room);
    this.lookSoon();
  }

  /** Maestro asks it to go. */
  private remove(id: string): void {
    const { clock } = this;
    const room = this.roomOf(id);
    const { record } = room;
    this.observer.removed?.(room);
    this.counted.removed += 1;
    this.endMatches(room);
    room.isDead = true;
    this.setStatus(record, 'terminating');
    record.instance.status = 'terminating';
    record.endAsked = { times: (record.endAsked?.times ?? 0) + 1, lastAtMs: clock.nowMs };
    this.keepInPools(room);
    clock.at(clock.nowMs + this.model.stopDelayMs, () => this.forget(room));
  }

  private forget(room: SimulatedRoom): void {
    if (room.isGone) return;
    this.account();
    room.isGone = true;
    this.rooms.delete(room.record.id);
    this.keepInPools(room);
    // The last one takes its place.
    const [last, lastRecord] = [this.all.pop(), this.records.pop()];
    if (last === undefined || lastRecord === undefined || last === room) return;
    this.all[room.place] = last;
    this.records[room.place] = lastRecord;
    last.place = room.place;
  }

  private roomOf(id: string): SimulatedRoom {
    const room = this.rooms.get(id);
    if (room === undefined) {
      throw new DomainError('internal', 'simulation.unknown_room', `The plan names ${id}, and there is no such room.`);
    }
    return room;
  }

  // Matches ----------------------------------------------------------------------------------------------------------

  private play(room: SimulatedRoom | null, lengthMs: number, onEnd: () => void): boolean {
    if (room === null) return false;
    this.account();
    if (room.matches === 0) this.inUse += 1;
    room.matches += 1;
    this.runningMatches += 1;
    this.ping(room);
    this.playing.set(room, [...(this.playing.get(room) ?? []), onEnd]);
    this.clock.at(this.clock.nowMs + lengthMs, () => {
      const ends = this.playing.get(room);
      if (ends === undefined || !ends.includes(onEnd)) return;
      this.endMatch(room, onEnd);
      this.ping(room);
      this.lookWithin(this.model.lookIntervalMs);
    });
    this.lookWithin(this.model.lookIntervalMs);
    return true;
  }

  private endMatch(room: SimulatedRoom, onEnd: () => void): void {
    this.account();
    const others = (this.playing.get(room) ?? []).filter((each) => each !== onEnd);
    if (others.length > 0) this.playing.set(room, others);
    else this.playing.delete(room);
    room.matches -= 1;
    if (room.matches === 0) this.inUse -= 1;
    this.runningMatches -= 1;
    onEnd();
  }

  /** Its room is over. The record is told nothing. */
  private endMatches(room: SimulatedRoom): void {
    for (const onEnd of this.playing.get(room) ?? []) {
      this.counted.lostMatches += 1;
      this.endMatch(room, onEnd);
    }
  }

  // What records say -------------------------------------------------------------------------------------------------

  /** What is true of the room becomes what its record says. */
  private ping(room: SimulatedRoom): void {
    const { record, matches } = room;
    const { maxMatches } = this.model.scheduler.matchAllocation;
    record.pingStatus = matches > 0 && matches >= maxMatches ? 'occupied' : 'ready';
    record.lastPingAtMs = this.clock.nowMs;
    record.runningMatches = matches;
    const next = nextRoomStatus({
      current: record.status,
      ping: record.pingStatus,
      instance: record.instance.status,
      matches: matchLoad(matches, maxMatches),
      hasOpenAllocation: false,
    });
    if (next !== 'refused') this.setStatus(record, next);
    this.keepInPools(room);
  }

  private setStatus(record: Room, status: RoomStatus): void {
    if (record.status === status) return;
    record.status = status;
    record.statusSinceMs = this.clock.nowMs;
  }

  private setDrain({ record }: SimulatedRoom, reason: DrainReason | null): void {
    record.drainingSinceMs = reason === null ? null : this.clock.nowMs;
    record.drainReason = reason;
  }

  private keepInPools(room: SimulatedRoom): void {
    const { record, matches, isDead, isGone } = room;
    const isUp = !isDead && !isGone && record.instance.status === 'ready';
    const isOpen = isUp && record.drainingSinceMs === null && matches < this.model.scheduler.matchAllocation.maxMatches;
    const keep = (pool: RoomPool<SimulatedRoom>, belongs: boolean): void =>
      belongs ? pool.add(room) : pool.delete(room);
    keep(this.partlyUsed, isOpen && matches > 0);
    keep(this.idle, isOpen && matches === 0);
    keep(this.claimed, isUp && record.drainReason === 'scale_down' && matches === 0);
  }

  /** Pings that changed nothing since the last look. Rooms ping at times of their own, spread over the interval. */
  private hearPings(): void {
    const { pingIntervalMs } = this.model;
    const { nowMs } = this.clock;
    for (const { record, isDead } of this.all) {
      if (isDead || record.lastPingAtMs === null) continue;
      record.lastPingAtMs = nowMs - ((nowMs - record.lastPingAtMs) % pingIntervalMs);
    }
  }

  private noteEarlyEnd(): void {
    const { nowMs } = this.clock;
    this.earlyEndsAtMs = this.earlyEndsAtMs.filter((atMs) => atMs > nowMs - earlyEndWindowMs);
    this.earlyEndsAtMs.push(nowMs);
    this.lostAtMs = [];
  }

  private noteFailure({ version }: Room): void {
    const { nowMs } = this.clock;
    this.failures = this.failures.filter(({ atMs }) => atMs > nowMs - failuresKeptMs).slice(1 - mostFailures);
    this.failures.push({ atMs: nowMs, version });
  }

  private noteLost(record: Room): void {
    const lastAtMs = this.earlyEndsAtMs.at(-1);
    if (lastAtMs === undefined || record.createdAtMs > lastAtMs) return;
    this.lostAtMs.push(this.clock.nowMs);
  }

  // Looks ------------------------------------------------------------------------------------------------------------

  /** A look within so long of the last one, or now if that is longer ago. */
  private lookWithin(pauseMs: number): void {
    this.lookAt(Math.max(this.clock.nowMs, this.lastLookAtMs + pauseMs));
  }

  private lookAt(atMs: number): void {
    if (this.lookDueAtMs !== null && this.lookDueAtMs <= atMs) return;
    this.lookDueAtMs = atMs;
    this.clock.at(atMs, () => {
      if (this.lookDueAtMs === atMs) this.look();
    });
  }

  private look(): void {
    const { nowMs } = this.clock;
    const facts = this.facts();
    const plan = planHealthCycle(facts);
    this.counted.looks += 1;
    this.counted.roomsLookedAt += this.records.length;
    this.lookDueAtMs = null;
    this.lastLookAtMs = nowMs;
    this.last = { desired: plan.desired, remembered: plan.remembered };
    if ((plan.rollout?.outdated ?? 0) > 0) this.outdatedAtMs = this.clock.nowMs;
    this.observer.planned?.(plan, facts);
    this.carryOut(plan);
    this.observer.carriedOut?.(plan);
    const { reactionMs, longestLookPauseMs } = this.model;
    const dueAtMs = Math.min(plan.nextLookAtMs ?? Infinity, nowMs + longestLookPauseMs);
    this.lookAt(Math.max(dueAtMs, nowMs + Math.max(1, reactionMs)));
  }

  private facts(): HealthFacts {
    this.hearPings();
    const { model, version, clock } = this;
    const { nowMs } = clock;
    const { automaticRollback, failureShare, failureWindowMs } = rolloutSettingsOf(model.scheduler);
    const early = this.earlyEndsAtMs.filter((atMs) => atMs >= nowMs - earlyEndWindowMs);
    const failed = this.failures.filter((each) => each.atMs >= nowMs - failureWindowMs && each.version === version);
    return {
      rooms: this.records,
      nowMs,
      hearingSinceMs: this.hearingSinceMs,
      scheduler: { ...model.scheduler, version },
      replacedVersions: new Set([...this.versions].filter((each) => !isSameMajor(each, version))),
      rollback: {
        toVersion: this.previousVersion,
        isAllowed: automaticRollback && !this.isBroughtBack,
        failed: failed.length,
        lastReason: failed.length === 0 ? '' : failureWords,
        failureShare,
        failureWindowMs,
        outdatedAtMs: this.outdatedAtMs,
      },
      paused: null,
      rebuilding: false,
      lastDownscaleAtMs: this.lastDownscaleAtMs,
      earlyEnds: {
        count: early.length,
        notCreated: 0,
        lastAtMs: early.at(-1) ?? null,
        lastReason: early.length === 0 ? '' : failureWords,
        lostSince: (this.lostAtMs.at(-1) ?? -Infinity) > nowMs - earlyEndWindowMs ? this.lostAtMs.length : 0,
      },
      webhookAnswers: new Map(),
      webhookSilences: new Map(),
      last: this.last,
      limits: model.limits,
      addLimit: model.addLimit,
      removeLimit: model.removeLimit,
    };
  }

  private carryOut(plan: HealthPlan): void {
    const drain = (id: string, reason: DrainReason | null): void => {
      const room = this.roomOf(id);
      this.setDrain(room, reason);
      this.keepInPools(room);
    };
    for (const { id } of plan.released) drain(id, null);
    for (const { id } of plan.expired) this.remove(id);
    for (const { id } of plan.drained) this.remove(id);
    for (const id of plan.drainIds) drain(id, 'rollout');
    for (const id of plan.claimIds) drain(id, 'scale_down');
    if (plan.claimIds.length > 0) this.lastDownscaleAtMs = this.clock.nowMs;
    for (let index = 0; index < plan.add; index += 1) this.start();
    if (plan.rollback === null) return;
    const failed = this.version;
    this.activate(plan.rollback.toVersion);
    this.previousVersion = failed;
    this.isBroughtBack = true;
  }

  /** Brings the room-hours up to now; before each change of what they count. */
  private account(): void {
    const passedMs = this.clock.nowMs - this.countedUntilMs;
    this.countedUntilMs = this.clock.nowMs;
    this.counted.roomMs += passedMs * this.records.length;
    this.counted.idleRoomMs += passedMs * (this.records.length - this.inUse);
  }
}
