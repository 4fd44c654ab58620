import type { Redis } from 'ioredis';
import { closeRedisConnection, createRedisConnection } from '../../src/adapters/redis/redis-connection';
import { RedisRoomStore, type RoomRecord } from '../../src/adapters/redis/redis-room-store';
import { schedulerKeys } from '../../src/adapters/redis/room-keys';
import { roomStatuses } from '../../src/domain/room/room';
import type { RoomStoreUnderTest } from '../contract/room-store.contract';
import { startTestRedis } from './embedded-servers';

export interface RedisRoomStoreUnderTest extends RoomStoreUnderTest {
  store: RedisRoomStore;
  redis: Redis;
  url: string;
  /** `js` is slow: no load on it. */
  kind: string;
}

/** A RedisRoomStore on a server of its own, with pages of 10 rooms unless said otherwise. */
export async function openRedisRoomStore(
  kind?: Parameters<typeof startTestRedis>[0],
  pageSize = 10,
): Promise<RedisRoomStoreUnderTest> {
  const server = await startTestRedis(kind);
  const redis = createRedisConnection({ url: server.url, name: 'test-rooms', commandTimeoutMs: 20_000 });
  const store = new RedisRoomStore(redis, { pageSize });
  return {
    store,
    redis,
    url: server.url,
    kind: server.kind,
    loseEverything: async () => void (await redis.flushall()),
    giveRoom: (scheduler, id, agoMs) => giveRoom(redis, scheduler, id, agoMs),
    ageTombstone: async (scheduler, id, byMs) => void (await redis.zincrby(schedulerKeys(scheduler).ended, -byMs, id)),
    breakCounters: async (scheduler) => {
      await redis.hset(schedulerKeys(scheduler).counts, 'r2', 5, 'm', -3);
      await redis.hdel(schedulerKeys(scheduler).counts, 'r0');
      return 3;
    },
    close: async () => {
      await closeRedisConnection(redis);
      await server.stop();
    },
  };
}

/** What an allocation does, to a room of the test's choice and in the past. */
async function giveRoom(redis: Redis, scheduler: string, id: string, agoMs: number): Promise<void> {
  const keys = schedulerKeys(scheduler);
  const [seconds] = await redis.time();
  const nowMs = Number(seconds) * 1_000;
  const record = JSON.parse((await redis.hget(keys.rooms, id))!) as RoomRecord;
  await redis.hincrby(keys.counts, `r${record.status}`, -1);
  record.status = roomStatuses.indexOf('allocated');
  record.statusSinceMs = nowMs;
  record.allocatedAtMs = nowMs - agoMs;
  await redis.hset(keys.rooms, id, JSON.stringify(record));
  await redis.zadd(keys.byStatus, record.status * 1e13 + nowMs, id);
  await redis.hincrby(keys.counts, `r${record.status}`, 1);
}
