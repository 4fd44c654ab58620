import type { Cluster, Redis } from 'ioredis';
import { DomainError } from '../../domain/errors';
import { isRedisUnavailable } from './redis-connection';
import { schedulerKeys, scriptKeys, type SchedulerKeys } from './room-keys';
import { defineRoomScripts, type RoomScriptName, type RunRoomScript } from './room-scripts';

/** Room for the key lists of 10,000 schedulers; beyond it they are made anew. */
const rememberedKeyLists = 10_000;

/** @throws DomainError `room_store.unavailable` (unavailable) while Redis cannot be reached or serve. */
export async function reachRedis<T>(command: () => Promise<T>): Promise<T> {
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

/** The part of a Redis that holds rooms, for the stores that are made of it: their scripts, their keys, their outages. */
export class RedisRooms {
  /** Runs a script whose keys are not those of one scheduler; inside `reach`. */
  readonly run: RunRoomScript;
  private readonly keysByScheduler = new Map<string, { named: SchedulerKeys; listed: string[] }>();

  constructor(redis: Redis | Cluster) {
    this.run = defineRoomScripts(redis);
  }

  /** Runs a script on one scheduler, whose name becomes its first argument. */
  script(name: RoomScriptName, scheduler: string, args: (string | number)[]): Promise<unknown> {
    return this.reach(() => this.run(name, this.keysOf(scheduler).listed, [scheduler, ...args]));
  }

  /** @throws DomainError `room_store.unavailable` (unavailable) while Redis cannot be reached or serve. */
  reach<T>(command: () => Promise<T>): Promise<T> {
    return reachRedis(command);
  }

  keysOf(scheduler: string): { named: SchedulerKeys; listed: string[] } {
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

  forgetKeysOf(scheduler: string): void {
    this.keysByScheduler.delete(scheduler);
  }
}
