import type { Cluster, Redis } from 'ioredis';
import { DomainError } from '../../domain/errors';
import { isOutsideReason } from '../../domain/room/failure-reason';
import { earlyEndWindowMs, type EarlyEnds, type VersionFailures } from '../../domain/room/start-back-off';
import {
  instanceStatuses,
  mostRunningMatches,
  pingStatuses,
  roomStatuses,
  type DrainReason,
  type FleetCounts,
  type Instance,
  type InstanceRestarts,
  type Room,
  type RoomAddress,
  type RoomTransition,
} from '../../domain/room/room';
import {
  RoomStore,
  type DrainOutcome,
  type EndedRoom,
  type FleetSnapshot,
  type FleetWindows,
  type InstanceOutcome,
  type NewRoom,
  type Ping,
  type PingOutcome,
  type StatusSettings,
} from '../../ports/room-store';
import { GatheredPings } from './gathered-pings';
import { RedisRooms } from './redis-rooms';
import { allPartitionKeys, hearingKey } from './room-keys';
import { loadDigits } from './room-scripts';

/** A room as `scripts/*.lua` store it. Fields that have no value are absent, because JSON's null is awkward in Lua. */
export interface RoomRecord {
  id: string;
  version: string;
  validation: boolean;
  /** Index in `roomStatuses`. */
  status: number;
  statusSinceMs: number;
  /** Index in `pingStatuses`. */
  pingStatus: number;
  lastPingAtMs?: number;
  createdAtMs: number;
  adoptedAtMs?: number;
  runningMatches: number;
  /** Absent when there is none; `exp` absent once confirmed, `reportBy` until its caller does it. Times in ms. */
  allocations?: { id: string; at: number; exp?: number; reportBy?: number }[];
  drainingSinceMs?: number;
  /** Absent also for a drain that an operator began before reasons were stored. */
  drainReason?: DrainReason;
  /** Where the process with the room's stream is told of notices. */
  listener?: string;
  /** Index in `instanceStatuses`. */
  instanceStatus: number;
  description: string;
  /** What is said of an end that nobody here asked for; it stands in `description` too. Absent otherwise. */
  unasked?: string;
  /** How often it was asked to end, and when last. Absent while it was not. */
  endAsks?: number;
  endAskedAtMs?: number;
  /** When its start was put off last, and why. Absent while it was not, and once its instance was heard of. */
  putOffAtMs?: number;
  putOffReason?: string;
  /** `InstanceRestarts` as JSON text. */
  restarts?: string;
  /** The scripts' own. Absent until an instance was seen. */
  restartCount?: number;
  /** `RoomAddress` as JSON text. */
  address?: string;
  /** Out of the address, which is not read for every ping. */
  host?: string;
  /** As text, because Lua would round it. Absent until an instance was seen. */
  generation?: string;
  /** It is among the early ends; the scripts' own. */
  endedEarly?: boolean;
  /** It is among the failures; the scripts' own. */
  hasFailed?: boolean;
  /** It was ready or used once; the scripts' own. */
  wasUp?: boolean;
  /** Why it was removed, where that counts as an early end; the scripts' own. */
  failedBecause?: string;
  /** It failed where it had a machine; the scripts' own, because what failed may have no address any more. */
  hadPlace?: boolean;
}

const readPageSize = 1_000;
/** Pings wait while a script runs: so many rooms take it a few milliseconds. */
const roomsPerScript = 500;

/**
 * Rooms in Redis, one Lua script per change; pings of a scheduler that come together share one call. The client must have
 * auto-pipelining on, otherwise reads of all partitions take 64 writes instead of one. Keys and scripts are ready for Redis
 * Cluster (one hash tag per partition, every key declared); `createRedisConnection` connects to one server.
 *
 * @throws DomainError `room_store.unavailable` (unavailable) from every method while Redis cannot be reached or serve. A
 *         change may have happened all the same when its answer was lost: every method may be called again.
 */
export class RedisRoomStore extends RoomStore {
  private readonly rooms: RedisRooms;
  private readonly pings: GatheredPings;
  private readonly pageSize: number;

  constructor(
    private readonly redis: Redis | Cluster,
    options: { /** Rooms per read of `readFleet`; 1,000 when not given. */ pageSize?: number } = {},
  ) {
    super();
    this.rooms = new RedisRooms(redis);
    this.pings = new GatheredPings(
      (scheduler, args) => this.rooms.script('apply-pings', scheduler, args) as Promise<unknown[]>,
    );
    this.pageSize = options.pageSize ?? readPageSize;
  }

  async createRoom(room: NewRoom): Promise<'created' | 'exists'> {
    const args = [room.id, room.version, room.validation ? 1 : 0];
    return (await this.rooms.script('create-room', room.scheduler, args)) as 'created' | 'exists';
  }

  async applyPing(ping: Ping, settings: StatusSettings): Promise<PingOutcome> {
    const args = [
      ping.room,
      pingStatuses.indexOf(ping.status),
      countedMatches(ping),
      ping.metadata === undefined ? '=' : (ping.metadata ?? ''),
      ping.listener ?? '',
      ping.resync ? 1 : 0,
    ];
    return this.rooms.reach(async () => {
      const answer = await this.pings.add(ping.scheduler, loadDigits(settings.maxMatches), args);
      if (answer instanceof Error) throw answer;
      return readPingAnswer(answer as PingAnswer);
    });
  }

  async applyInstance(
    instance: Instance,
    settings: StatusSettings,
    options: { adopt: boolean; authoritative: boolean; unasked?: string },
  ): Promise<InstanceOutcome> {
    const answer = (await this.rooms.script('apply-instance', instance.scheduler, [
      instance.id,
      instance.version,
      instance.validation ? 1 : 0,
      instanceStatuses.indexOf(instance.status),
      instance.description,
      instance.address === null ? '' : JSON.stringify(instance.address),
      instance.createdAtMs,
      instance.generation,
      options.adopt ? 1 : 0,
      options.authoritative ? 1 : 0,
      loadDigits(settings.maxMatches),
      instance.address?.host ?? '',
      instance.restarts === undefined ? '' : JSON.stringify(instance.restarts),
      options.unasked ?? '',
      instance.restarts?.count ?? 0,
      isOutsideReason(instance.description) ? 1 : 0,
    ])) as [InstanceOutcome['outcome'], number, number, number];
    switch (answer[0]) {
      case 'applied':
        return {
          outcome: 'applied',
          from: roomStatuses[answer[1]]!,
          to: roomStatuses[answer[2]]!,
          ...(answer[3] === 1 ? { hasRestarted: true } : {}),
        };
      case 'adopted':
        return { outcome: 'adopted', to: roomStatuses[answer[1]]! };
      case 'stale':
      case 'ended':
      case 'unknown_room':
        return { outcome: answer[0] };
    }
  }

  async endRoom(
    scheduler: string,
    id: string,
    reason = '',
    unasked = '',
    { mayComeBack = false }: { mayComeBack?: boolean } = {},
  ): Promise<EndedRoom> {
    const [existed, validation, said, isUnasked] = (await this.rooms.script('end-room', scheduler, [
      id,
      reason,
      unasked,
      mayComeBack ? 1 : 0,
      mayComeBack || isOutsideReason(reason) ? 1 : 0,
    ])) as [number, number, string, number];
    return { existed: existed === 1, validation: validation === 1, reason: said, isUnasked: isUnasked === 1 };
  }

  async getEndReason(scheduler: string, id: string): Promise<string> {
    return (await this.rooms.reach(() => this.redis.hget(this.rooms.keysOf(scheduler).named.endReasons, id))) ?? '';
  }

  async terminateRooms(
    scheduler: string,
    ids: string[],
    options: { reason: string; silentSinceMs?: number; failedBecause?: string; byName?: boolean },
  ): Promise<Map<string, 'terminating' | 'has_match' | 'unknown_room'>> {
    const outcomes = new Map<string, 'terminating' | 'has_match' | 'unknown_room'>();
    for (const chunk of chunksOf(ids)) {
      const { reason, silentSinceMs = '', byName = false, failedBecause = '' } = options;
      const args = [reason, silentSinceMs, byName ? 1 : 0, failedBecause, ...chunk];
      const answers = (await this.rooms.script('terminate-rooms', scheduler, args)) as (
        'terminating' | 'has_match' | 'unknown_room'
      )[];
      chunk.forEach((id, place) => outcomes.set(id, answers[place]!));
    }
    return outcomes;
  }

  async noteEndAsked(scheduler: string, ids: readonly string[]): Promise<void> {
    for (const chunk of chunksOf(ids)) await this.rooms.script('note-end-asked', scheduler, chunk);
  }

  async noteStartPutOff(scheduler: string, ids: readonly string[], reason: string): Promise<void> {
    for (const chunk of chunksOf(ids)) await this.rooms.script('note-start-put-off', scheduler, [reason, ...chunk]);
  }

  async drainRooms(scheduler: string, ids: string[], reason: DrainReason): Promise<Map<string, DrainOutcome>> {
    const outcomes = new Map<string, DrainOutcome>();
    for (const chunk of chunksOf(ids)) {
      const answers = (await this.rooms.script('drain-rooms', scheduler, [reason, ...chunk])) as DrainOutcome[];
      chunk.forEach((id, place) => outcomes.set(id, answers[place]!));
    }
    return outcomes;
  }

  async releaseRooms(scheduler: string, ids: string[], reason: DrainReason): Promise<string[]> {
    const released: string[] = [];
    for (const chunk of chunksOf(ids)) {
      const answers = (await this.rooms.script('release-rooms', scheduler, [reason, ...chunk])) as number[];
      released.push(...chunk.filter((_, place) => answers[place] === 1));
    }
    return released;
  }

  async getTransitions(scheduler: string, id: string): Promise<RoomTransition[]> {
    const text = await this.rooms.reach(() => this.redis.hget(this.rooms.keysOf(scheduler).named.transitions, id));
    return (text ?? '')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const { at, from, to, cause, detail } = JSON.parse(line) as TransitionRecord;
        return {
          atMs: at,
          from: from === undefined ? null : roomStatuses[from]!,
          to: roomStatuses[to]!,
          cause,
          detail,
        };
      });
  }

  async getRoom(scheduler: string, id: string): Promise<Room | null> {
    const text = await this.rooms.reach(() => this.redis.hget(this.rooms.keysOf(scheduler).named.rooms, id));
    return text === null ? null : readRoom(scheduler, text);
  }

  async readRooms(
    scheduler: string,
    ids: readonly string[],
  ): Promise<{ rooms: Map<string, Room> } & Pick<FleetSnapshot, 'nowMs' | 'rebuilding'>> {
    const { rooms, synced } = this.rooms.keysOf(scheduler).named;
    // The mark is read last: a room that a flush took in between must not look as if it were gone.
    const [texts, isSynced, time] = await this.rooms.reach(() =>
      Promise.all([
        ids.length === 0 ? [] : this.redis.hmget(rooms, ...ids),
        this.redis.exists(synced),
        this.redis.time(),
      ]),
    );
    const found = texts.flatMap((text) => (text === null ? [] : [readRoom(scheduler, text)]));
    return {
      rooms: new Map(found.map((room) => [room.id, room])),
      rebuilding: isSynced === 0,
      nowMs: clockMs(time),
    };
  }

  async getMetadata(scheduler: string, id: string): Promise<Record<string, unknown> | null> {
    const text = await this.rooms.reach(() => this.redis.hget(this.rooms.keysOf(scheduler).named.metadata, id));
    return text === null ? null : (JSON.parse(text) as Record<string, unknown>);
  }

  async readHearing(): Promise<Pick<FleetSnapshot, 'nowMs' | 'hearingSinceMs'>> {
    const clock = this.rooms.reach(() => this.redis.time());
    const [time, marks] = await Promise.all([clock, this.readHearingMarks()]);
    const nowMs = clockMs(time);
    return { nowMs, hearingSinceMs: hearingSince(marks, nowMs) };
  }

  async readFleet(scheduler: string, options: FleetWindows = {}): Promise<FleetSnapshot> {
    const windows = { failureWindowMs: earlyEndWindowMs, earlyEndWindowMs, ...options };
    const read = (cursor: string): Promise<FleetPage> => this.readPage(scheduler, { cursor, windows });
    const [first, marks] = await Promise.all([read(''), this.readHearingMarks()]);
    const rooms = first.rooms;
    for (let { cursor } = first; cursor !== '';) {
      const page = await read(cursor);
      rooms.push(...page.rooms);
      cursor = page.cursor;
    }
    return {
      rooms,
      nowMs: first.nowMs,
      hearingSinceMs: hearingSince(marks, first.nowMs),
      rebuilding: !first.synced,
      earlyEnds: first.earlyEnds,
      failures: first.failures,
    };
  }

  async readEarlyEnds(scheduler: string): Promise<EarlyEnds> {
    return earlyEndsOf((await this.rooms.script('read-early-ends', scheduler, [])) as EarlyEndsAnswer);
  }

  async countFleet(scheduler: string): Promise<FleetCounts> {
    const counts = await this.rooms.reach(() => this.redis.hgetall(this.rooms.keysOf(scheduler).named.counts));
    const read = (field: string) => Number(counts[field] ?? 0);
    return {
      rooms: byWord(roomStatuses, (index) => read(`r${index}`)),
      instances: byWord(instanceStatuses, (index) => read(`i${index}`)),
      runningMatches: read('m'),
    };
  }

  async recountFleet(scheduler: string): Promise<{ repaired: number }> {
    return { repaired: (await this.rooms.script('recount-fleet', scheduler, [])) as number };
  }

  async listSchedulers(): Promise<string[]> {
    const members = await this.rooms.reach(() =>
      Promise.all(allPartitionKeys().map(({ schedulers }) => this.redis.smembers(schedulers))),
    );
    return members.flat().sort();
  }

  async deleteScheduler(scheduler: string): Promise<void> {
    await this.rooms.script('delete-scheduler', scheduler, []);
    this.rooms.forgetKeysOf(scheduler);
  }

  async markHearing(maxGapMs: number): Promise<void> {
    await this.rooms.reach(() => this.rooms.run('mark-hearing', [hearingKey], [maxGapMs]));
  }

  async markSynced(): Promise<void> {
    await this.rooms.reach(() => Promise.all(allPartitionKeys().map(({ synced }) => this.redis.set(synced, '1'))));
  }

  async isSynced(): Promise<boolean> {
    const marks = await this.rooms.reach(() =>
      Promise.all(allPartitionKeys().map(({ synced }) => this.redis.exists(synced))),
    );
    return marks.every((mark) => mark === 1);
  }

  private readHearingMarks(): Promise<(string | null)[]> {
    return this.rooms.reach(() => this.redis.hmget(hearingKey, 'sinceMs', 'lastMs', 'maxGapMs'));
  }

  private async readPage(
    scheduler: string,
    { cursor, windows }: { cursor: string; windows: Required<FleetWindows> },
  ): Promise<FleetPage> {
    const args = [cursor, this.pageSize, windows.failureWindowMs, windows.earlyEndWindowMs];
    const answer = (await this.rooms.script('read-fleet-page', scheduler, args)) as FleetPageAnswer;
    const [nowMs, synced, count, notCreated, lastAtMs, lastReason, lostSince, failures, nextCursor, ...records] =
      answer;
    return {
      rooms: records.filter((text) => text !== '').map((text) => readRoom(scheduler, text)),
      nowMs: Number(nowMs),
      synced: synced === 1,
      earlyEnds: earlyEndsOf([count, notCreated, lastAtMs, lastReason, lostSince]),
      failures: new Map(Object.entries(JSON.parse(failures) as Record<string, VersionFailures>)),
      cursor: nextCursor,
    };
  }
}

function chunksOf(ids: readonly string[]): string[][] {
  const count = Math.ceil(ids.length / roomsPerScript);
  return Array.from({ length: count }, (_, index) => ids.slice(index * roomsPerScript, (index + 1) * roomsPerScript));
}

/** What `readEarlyEnds` of the scripts answers. */
type EarlyEndsAnswer = [count: number, notCreated: number, lastAtMs: string, lastReason: string, lostSince: number];

type FleetPageAnswer = [
  nowMs: string,
  synced: number,
  ...EarlyEndsAnswer,
  failures: string,
  cursor: string,
  ...records: string[],
];

function earlyEndsOf([count, notCreated, lastAtMs, lastReason, lostSince]: EarlyEndsAnswer): EarlyEnds {
  return { count, notCreated, lastAtMs: lastAtMs === '' ? null : Number(lastAtMs), lastReason, lostSince };
}

interface FleetPage {
  rooms: Room[];
  nowMs: number;
  synced: boolean;
  earlyEnds: EarlyEnds;
  failures: ReadonlyMap<string, VersionFailures>;
  /** Where the next page begins; empty when there is none. */
  cursor: string;
}

/** As the scripts write it. */
interface TransitionRecord extends Pick<RoomTransition, 'cause' | 'detail'> {
  at: number;
  from?: number;
  to: number;
}

/** As `scripts/apply-pings.lua` says it. */
type PingAnswer = [
  outcome: PingOutcome['outcome'],
  from: number,
  to: number,
  validation: number,
  draining: number,
  openAllocations: number,
  isAwaited: number,
  isUsedOtherwise: number,
  hasLostMatch: number,
];

function readPingAnswer([
  outcome,
  from,
  to,
  validation,
  draining,
  openAllocations,
  isAwaited,
  isUsedOtherwise,
  hasLostMatch,
]: PingAnswer): PingOutcome {
  switch (outcome) {
    case 'applied':
      return {
        outcome,
        from: roomStatuses[from]!,
        to: roomStatuses[to]!,
        validation: validation === 1,
        draining: draining === 1,
        openAllocations,
        isAwaited: isAwaited === 1,
        isUsedOtherwise: isUsedOtherwise === 1,
        hasLostMatch: hasLostMatch === 1,
      };
    case 'refused':
      return { outcome, from: roomStatuses[from]! };
    case 'unknown_room':
      return { outcome };
  }
}

/** v10: `occupied` without a count means one match. */
function countedMatches(ping: Ping): number {
  if (
    !Number.isSafeInteger(ping.runningMatches) ||
    ping.runningMatches < 0 ||
    ping.runningMatches > mostRunningMatches
  ) {
    throw new DomainError(
      'invalid_argument',
      'room.running_matches_invalid',
      `Room ${ping.room} of ${ping.scheduler} reports ${ping.runningMatches} running matches: send a whole number from 0 on.`,
    );
  }
  return ping.status === 'occupied' && ping.runningMatches === 0 ? 1 : ping.runningMatches;
}

function readRoom(scheduler: string, text: string): Room {
  const record = JSON.parse(text) as RoomRecord;
  return {
    id: record.id,
    scheduler,
    version: record.version,
    validation: record.validation,
    status: roomStatuses[record.status]!,
    statusSinceMs: record.statusSinceMs,
    pingStatus: pingStatuses[record.pingStatus]!,
    lastPingAtMs: record.lastPingAtMs ?? null,
    createdAtMs: record.createdAtMs,
    adoptedAtMs: record.adoptedAtMs ?? null,
    runningMatches: record.runningMatches,
    allocations: (record.allocations ?? []).map(({ id, at, exp }) => ({
      id,
      allocatedAtMs: at,
      expiresAtMs: exp ?? null,
    })),
    drainingSinceMs: record.drainingSinceMs ?? null,
    drainReason: record.drainingSinceMs === undefined ? null : (record.drainReason ?? 'operator'),
    endAsked: record.endAskedAtMs === undefined ? null : { times: record.endAsks ?? 1, lastAtMs: record.endAskedAtMs },
    startPutOff:
      record.putOffAtMs === undefined ? null : { lastAtMs: record.putOffAtMs, reason: record.putOffReason ?? '' },
    instance: {
      status: instanceStatuses[record.instanceStatus]!,
      description: record.description,
      address: record.address === undefined ? null : (JSON.parse(record.address) as RoomAddress),
      restarts: record.restarts === undefined ? null : (JSON.parse(record.restarts) as InstanceRestarts),
    },
  };
}

function clockMs([seconds, microseconds]: (number | string)[]): number {
  return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
}

function hearingSince(marks: (string | null)[], nowMs: number): number | null {
  if (marks.includes(null)) {
    return null;
  }
  const [sinceMs, lastMs, maxGapMs] = marks.map(Number) as [number, number, number];
  return nowMs - lastMs > maxGapMs ? null : sinceMs;
}

function byWord<Word extends string>(words: readonly Word[], read: (index: number) => number): Record<Word, number> {
  return Object.fromEntries(words.map((word, index) => [word, read(index)])) as Record<Word, number>;
}
