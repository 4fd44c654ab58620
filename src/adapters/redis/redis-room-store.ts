import type { Cluster, Redis } from 'ioredis';
import { DomainError } from '../../domain/errors';
import type { EarlyEnds } from '../../domain/room/start-back-off';
import { matchLoad, matchLoads } from '../../domain/room/next-room-status';
import {
  instanceStatuses,
  pingStatuses,
  roomStatuses,
  type FleetCounts,
  type Instance,
  type Room,
  type RoomAddress,
} from '../../domain/room/room';
import {
  RoomStore,
  type AllocationLimits,
  type AllocationOutcome,
  type FleetSnapshot,
  type InstanceOutcome,
  type NewRoom,
  type Ping,
  type PingOutcome,
  type StatusSettings,
} from '../../ports/room-store';
import { isRedisUnavailable } from './redis-connection';
import { allPartitionKeys, hearingKey, schedulerKeys, scriptKeys, type SchedulerKeys } from './room-keys';
import { defineRoomScripts, type RoomScriptName, type RunRoomScript } from './room-scripts';

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
  allocatedAtMs?: number;
  /** Index in `instanceStatuses`. */
  instanceStatus: number;
  description: string;
  /** `RoomAddress` as JSON text. */
  address?: string;
  /** As text, because Lua would round it. Absent until an instance was seen. */
  generation?: string;
}

const readPageSize = 1_000;
const terminateChunkSize = 500;
/** Room for the key lists of 10,000 schedulers; beyond it they are made anew. */
const rememberedKeyLists = 10_000;

/**
 * Rooms in Redis, one Lua script per change. Works on one server and on Redis Cluster (all keys of a scheduler have one
 * tag); the client must have auto-pipelining on, otherwise reads of all partitions take 64 writes instead of one.
 *
 * @throws DomainError `room_store.unavailable` (unavailable) from every method while Redis cannot be reached or serve. A
 *         change may have happened all the same when its answer was lost: every method may be called again.
 */
export class RedisRoomStore extends RoomStore {
  private readonly runScript: RunRoomScript;
  private readonly keysByScheduler = new Map<string, { named: SchedulerKeys; listed: string[] }>();
  private readonly pageSize: number;

  constructor(
    private readonly redis: Redis | Cluster,
    options: { /** Rooms per read of `readFleet`; 1,000 when not given. */ pageSize?: number } = {},
  ) {
    super();
    this.runScript = defineRoomScripts(redis);
    this.pageSize = options.pageSize ?? readPageSize;
  }

  async createRoom(room: NewRoom): Promise<'created' | 'exists'> {
    const args = [room.id, room.scheduler, room.version, room.validation ? 1 : 0];
    return (await this.script('create-room', room.scheduler, args)) as 'created' | 'exists';
  }

  async applyPing(ping: Ping, settings: StatusSettings): Promise<PingOutcome> {
    const answer = (await this.script('apply-ping', ping.scheduler, [
      ping.room,
      pingStatuses.indexOf(ping.status),
      countedMatches(ping),
      ping.metadata ?? '',
      loadDigits(settings.maxMatches),
      settings.allocationTtlMs,
    ])) as [PingOutcome['outcome'], number, number, number];
    switch (answer[0]) {
      case 'applied': {
        const [from, to] = [roomStatuses[answer[1]]!, roomStatuses[answer[2]]!];
        return { outcome: 'applied', from, to, validation: answer[3] === 1 };
      }
      case 'refused':
        return { outcome: 'refused', from: roomStatuses[answer[1]]! };
      case 'unknown_room':
        return { outcome: 'unknown_room' };
    }
  }

  async allocateRoom(scheduler: string, limits: AllocationLimits): Promise<AllocationOutcome> {
    const args = [limits.pingTimeoutMs, limits.adoptionHoldMs];
    const [outcome, room = '', address = ''] = (await this.script('allocate-room', scheduler, args)) as [
      AllocationOutcome['outcome'],
      string?,
      string?,
    ];
    return outcome === 'allocated' ? { outcome, room, address: JSON.parse(address) as RoomAddress } : { outcome };
  }

  async applyInstance(
    instance: Instance,
    settings: StatusSettings,
    options: { adopt: boolean; authoritative: boolean },
  ): Promise<InstanceOutcome> {
    const answer = (await this.script('apply-instance', instance.scheduler, [
      instance.id,
      instance.scheduler,
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
      settings.allocationTtlMs,
    ])) as [InstanceOutcome['outcome'], number, number];
    switch (answer[0]) {
      case 'applied':
        return { outcome: 'applied', from: roomStatuses[answer[1]]!, to: roomStatuses[answer[2]]! };
      case 'adopted':
        return { outcome: 'adopted', to: roomStatuses[answer[1]]! };
      case 'stale':
      case 'ended':
      case 'unknown_room':
        return { outcome: answer[0] };
    }
  }

  async endRoom(scheduler: string, id: string, reason = ''): Promise<{ existed: boolean; validation: boolean }> {
    const [existed, validation] = (await this.script('end-room', scheduler, [id, scheduler, reason])) as [
      number,
      number,
    ];
    return { existed: existed === 1, validation: validation === 1 };
  }

  async getEndReason(scheduler: string, id: string): Promise<string> {
    return (await this.reach(() => this.redis.hget(this.keysOf(scheduler).named.endReasons, id))) ?? '';
  }

  async terminateRooms(
    scheduler: string,
    ids: string[],
    options: { silentSinceMs?: number } = {},
  ): Promise<Map<string, 'terminating' | 'has_match' | 'unknown_room'>> {
    const outcomes = new Map<string, 'terminating' | 'has_match' | 'unknown_room'>();
    for (let start = 0; start < ids.length; start += terminateChunkSize) {
      const chunk = ids.slice(start, start + terminateChunkSize);
      const args = [options.silentSinceMs ?? '', ...chunk];
      const answers = (await this.script('terminate-rooms', scheduler, args)) as (
        'terminating' | 'has_match' | 'unknown_room'
      )[];
      chunk.forEach((id, place) => outcomes.set(id, answers[place]!));
    }
    return outcomes;
  }

  async getRoom(scheduler: string, id: string): Promise<Room | null> {
    const text = await this.reach(() => this.redis.hget(this.keysOf(scheduler).named.rooms, id));
    return text === null ? null : readRoom(scheduler, text);
  }

  async getMetadata(scheduler: string, id: string): Promise<Record<string, unknown> | null> {
    const text = await this.reach(() => this.redis.hget(this.keysOf(scheduler).named.metadata, id));
    return text === null ? null : (JSON.parse(text) as Record<string, unknown>);
  }

  async readFleet(scheduler: string): Promise<FleetSnapshot> {
    const hearing = this.reach(() => this.redis.hmget(hearingKey, 'sinceMs', 'lastMs', 'maxGapMs'));
    const [first, marks] = await Promise.all([this.readPage(scheduler, ''), hearing]);
    const rooms = first.rooms;
    for (let { cursor } = first; cursor !== '';) {
      const page = await this.readPage(scheduler, cursor);
      rooms.push(...page.rooms);
      cursor = page.cursor;
    }
    return {
      rooms,
      nowMs: first.nowMs,
      hearingSinceMs: hearingSince(marks, first.nowMs),
      rebuilding: !first.synced,
      earlyEnds: first.earlyEnds,
    };
  }

  async countFleet(scheduler: string): Promise<FleetCounts> {
    const counts = await this.reach(() => this.redis.hgetall(this.keysOf(scheduler).named.counts));
    const read = (field: string) => Number(counts[field] ?? 0);
    return {
      rooms: byWord(roomStatuses, (index) => read(`r${index}`)),
      instances: byWord(instanceStatuses, (index) => read(`i${index}`)),
      runningMatches: read('m'),
    };
  }

  async recountFleet(scheduler: string): Promise<{ repaired: number }> {
    return { repaired: (await this.script('recount-fleet', scheduler, [])) as number };
  }

  async listSchedulers(): Promise<string[]> {
    const members = await this.reach(() =>
      Promise.all(allPartitionKeys().map(({ schedulers }) => this.redis.smembers(schedulers))),
    );
    return members.flat().sort();
  }

  async deleteScheduler(scheduler: string): Promise<void> {
    await this.script('delete-scheduler', scheduler, [scheduler]);
    this.keysByScheduler.delete(scheduler);
  }

  async markHearing(maxGapMs: number): Promise<void> {
    await this.reach(() => this.runScript('mark-hearing', [hearingKey], [maxGapMs]));
  }

  async markSynced(): Promise<void> {
    await this.reach(() => Promise.all(allPartitionKeys().map(({ synced }) => this.redis.set(synced, '1'))));
  }

  async isSynced(): Promise<boolean> {
    const marks = await this.reach(() =>
      Promise.all(allPartitionKeys().map(({ synced }) => this.redis.exists(synced))),
    );
    return marks.every((mark) => mark === 1);
  }

  private async readPage(scheduler: string, cursor: string): Promise<FleetPage> {
    const [nowMs, synced, earlyEnds, lastEarlyEnd, lastReason, nextCursor, ...records] = (await this.script(
      'read-fleet-page',
      scheduler,
      [cursor, this.pageSize],
    )) as [string, number, number, string, string, string, ...string[]];
    return {
      rooms: records.filter((text) => text !== '').map((text) => readRoom(scheduler, text)),
      nowMs: Number(nowMs),
      synced: synced === 1,
      earlyEnds: { count: earlyEnds, lastAtMs: lastEarlyEnd === '' ? null : Number(lastEarlyEnd), lastReason },
      cursor: nextCursor,
    };
  }

  private script(name: RoomScriptName, scheduler: string, args: (string | number)[]): Promise<unknown> {
    return this.reach(() => this.runScript(name, this.keysOf(scheduler).listed, args));
  }

  private async reach<T>(command: () => Promise<T>): Promise<T> {
    try {
      return await command();
    } catch (error) {
      if (!isRedisUnavailable(error)) {
        throw error;
      }
      throw new DomainError('unavailable', 'room_store.unavailable', 'Redis, which holds the rooms, does not answer.', {
        cause: error,
      });
    }
  }

  private keysOf(scheduler: string): { named: SchedulerKeys; listed: string[] } {
    let keys = this.keysByScheduler.get(scheduler);
    if (keys === undefined) {
      if (this.keysByScheduler.size >= rememberedKeyLists) {
        // Pings may name schedulers that do not exist, so the memory is bounded.
        this.keysByScheduler.clear();
      }
      const named = schedulerKeys(scheduler);
      keys = { named, listed: scriptKeys(named) };
      this.keysByScheduler.set(scheduler, keys);
    }
    return keys;
  }
}

interface FleetPage {
  rooms: Room[];
  nowMs: number;
  synced: boolean;
  earlyEnds: EarlyEnds;
  /** Where the next page begins; empty when there is none. */
  cursor: string;
}

/** v10: `occupied` without a count means one match. */
function countedMatches(ping: Ping): number {
  if (
    !Number.isSafeInteger(ping.runningMatches) ||
    ping.runningMatches < 0 ||
    ping.runningMatches > maxRunningMatches
  ) {
    throw new DomainError(
      'invalid_argument',
      'room.running_matches_invalid',
      `Room ${ping.room} of ${ping.scheduler} reports ${ping.runningMatches} running matches: send a whole number from 0 on.`,
    );
  }
  return ping.status === 'occupied' && ping.runningMatches === 0 ? 1 : ping.runningMatches;
}

/** int32, far below where Lua's JSON would round; a room has at most 35 slots. */
const maxRunningMatches = 2 ** 31 - 1;

const rememberedLoadDigits = new Map<number, string>();

/** The load for 0, 1, ... running matches, a digit each; the last one stands for all above: Lua looks it up. */
function loadDigits(maxMatches: number): string {
  let text = rememberedLoadDigits.get(maxMatches);
  if (text === undefined) {
    const loads = Array.from({ length: maxMatches + 1 }, (_, running) => matchLoad(running, maxMatches));
    text = loads.map((load) => matchLoads.indexOf(load)).join('');
    rememberedLoadDigits.set(maxMatches, text);
  }
  return text;
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
    allocatedAtMs: record.allocatedAtMs ?? null,
    instance: {
      status: instanceStatuses[record.instanceStatus]!,
      description: record.description,
      address: record.address === undefined ? null : (JSON.parse(record.address) as RoomAddress),
    },
  };
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
