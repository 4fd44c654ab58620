import type { Redis } from 'ioredis';
import { closeRedisConnection, createRedisConnection } from '../../src/adapters/redis/redis-connection';
import type { AllocationRecord } from '../../src/adapters/redis/redis-room-allocation-store';
import { RedisHostPortReservations } from '../../src/adapters/redis/redis-host-port-reservations';
import { RedisRoomStore, type RoomRecord } from '../../src/adapters/redis/redis-room-store';
import { allPartitionKeys, hearingKey, noticeChannel, schedulerKeys } from '../../src/adapters/redis/room-keys';
import { roomStatuses } from '../../src/domain/room/room';
import type { Notice } from '../../src/ports/notices';
import type { GivenSlot, KnownAllocation, RoomStoreUnderTest } from '../contract/room-store.contract';
import { startTestRedis } from './embedded-servers';
import { passHostPortTime } from './open-redis-host-port-reservations';

export interface RedisRoomStoreUnderTest extends RoomStoreUnderTest {
  store: RedisRoomStore;
  hostPorts: RedisHostPortReservations;
  redis: Redis;
  url: string;
  /** As if so much time had gone by since all that is stored: nobody can turn the clock of a server. */
  passTime(ms: number): Promise<void>;
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
  let listener: Redis | undefined;
  const store = new RedisRoomStore(redis, { pageSize });
  return {
    store,
    hostPorts: new RedisHostPortReservations(redis),
    redis,
    url: server.url,
    kind: server.kind,
    loseEverything: async () => void (await redis.flushall()),
    openAllocation: (scheduler, room, given) => openAllocation(redis, scheduler, room, given),
    readAllocation: (scheduler, id) => readAllocation(redis, scheduler, id),
    addWaiting: async (scheduler, id) => void (await redis.zadd(schedulerKeys(scheduler).waiting, 1, id)),
    readEvents: (scheduler) => readEvents(redis, scheduler),
    readResyncs: async (scheduler) => {
      const marks = await redis.zrange(schedulerKeys(scheduler).resyncs, 0, -1, 'WITHSCORES');
      return new Map(marks.flatMap((text, place) => (place % 2 === 0 ? [[text, Number(marks[place + 1])]] : [])));
    },
    readHosts: async (scheduler) => {
      const hosts = await redis.hgetall(schedulerKeys(scheduler).hosts);
      return Object.fromEntries(Object.entries(hosts).map(([host, used]) => [host, Number(used)]));
    },
    hearNotices: async (address) => {
      const heard: Notice[] = [];
      listener ??= redis.duplicate();
      listener.on('message', (channel, text) => {
        if (channel === noticeChannel(address)) heard.push(JSON.parse(text) as Notice);
      });
      await listener.subscribe(noticeChannel(address));
      return heard;
    },
    passTime: async (ms) => {
      await passTime(redis, ms);
      await passHostPortTime(redis, ms);
    },
    ageTombstone: async (scheduler, id, byMs) => void (await redis.zincrby(schedulerKeys(scheduler).ended, -byMs, id)),
    breakCounters: async (scheduler) => {
      const { counts, hosts, free } = schedulerKeys(scheduler);
      await redis.hset(counts, 'r2', 5, 'm', -3);
      await redis.hdel(counts, 'r0');
      await redis.hset(hosts, 'a-host', 2);
      await redis.zadd(free, 0, '2/v1.0.0/nobody');
      return 5;
    },
    close: async () => {
      if (listener !== undefined) await closeRedisConnection(listener);
      await closeRedisConnection(redis);
      await server.stop();
    },
  };
}

/** Everything that an allocation writes, for a room of the test's choice and at a time of its choice. */
async function openAllocation(redis: Redis, scheduler: string, room: string, given: GivenSlot = {}): Promise<void> {
  const { id = 'allocation-1', agoMs = 0, expiresInMs = 60_000, maxMatches = 1, key } = given;
  const keys = schedulerKeys(scheduler);
  const [seconds, microseconds] = await redis.time();
  const nowMs = Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
  const times = { at: nowMs - agoMs, ...(expiresInMs === null ? {} : { exp: nowMs + expiresInMs }) };
  const record = JSON.parse((await redis.hget(keys.rooms, room))!) as RoomRecord;
  const [ready, allocated] = [roomStatuses.indexOf('ready'), roomStatuses.indexOf('allocated')];
  const wasUsed = record.runningMatches > 0 || record.allocations !== undefined;
  record.allocations = [...(record.allocations ?? []), { id, ...times }];
  if (record.status === ready && maxMatches === 1) {
    record.status = allocated;
    record.statusSinceMs = nowMs;
    await redis.hincrby(keys.counts, `r${ready}`, -1);
    await redis.hincrby(keys.counts, `r${allocated}`, 1);
    await redis.zadd(keys.byStatus, allocated * 1e13 + nowMs, room);
    await redis.zrem(keys.free, `${ready}/${record.version}/${room}`);
  }
  if (!wasUsed && record.host !== undefined) await redis.hincrby(keys.hosts, record.host, 1);
  await redis.hset(keys.rooms, room, JSON.stringify(record));
  const allocation = {
    id,
    room,
    version: record.version,
    address: record.address ?? '{"host":"","ports":[]}',
    state: expiresInMs === null ? 'confirmed' : 'pending',
    ...times,
    ttl: 60_000,
    ...(key === undefined ? {} : { key, fingerprint: '' }),
  };
  await redis.hset(keys.allocations, `a:${id}`, JSON.stringify(allocation));
  if (key !== undefined) await redis.hset(keys.allocations, `k:${key}`, id);
  if (times.exp !== undefined) await redis.zadd(keys.allocationTimes, times.exp, `${id}/${scheduler}`);
}

async function readAllocation(redis: Redis, scheduler: string, id: string): Promise<KnownAllocation | null> {
  const keys = schedulerKeys(scheduler);
  const text = await redis.hget(keys.allocations, `a:${id}`);
  if (text === null) return null;
  const record = JSON.parse(text) as { state: KnownAllocation['state']; exp?: number; key?: string };
  const time = await redis.zscore(keys.allocationTimes, `${id}/${scheduler}`);
  return {
    state: record.state,
    expiresAtMs: record.exp ?? null,
    timeMs: time === null ? null : Number(time),
    hasKey: record.key !== undefined && (await redis.hget(keys.allocations, `k:${record.key}`)) === id,
  };
}

async function readEvents(redis: Redis, scheduler: string): Promise<Record<string, unknown>[]> {
  const entries = await redis.xrange(schedulerKeys(scheduler).events, '-', '+');
  return entries
    .filter(([, fields]) => fields[0] === 'event')
    .map(([, fields]) => ({ ...(JSON.parse(fields[1]!) as Record<string, unknown>), atMs: undefined }));
}

const timesOfARoom = [
  'statusSinceMs',
  'lastPingAtMs',
  'createdAtMs',
  'adoptedAtMs',
  'drainingSinceMs',
  'endAskedAtMs',
  'putOffAtMs',
] as const;

async function passTime(redis: Redis, ms: number): Promise<void> {
  const earlier = (timeMs: string | number) => Number(timeMs) - ms;
  for (const partition of allPartitionKeys()) {
    for (const scheduler of await redis.smembers(partition.schedulers)) {
      const keys = schedulerKeys(scheduler);
      for (const [id, text] of Object.entries(await redis.hgetall(keys.rooms))) {
        const record = JSON.parse(text) as RoomRecord;
        for (const name of timesOfARoom) if (record[name] !== undefined) record[name] = earlier(record[name]);
        for (const allocation of record.allocations ?? []) {
          allocation.at = earlier(allocation.at);
          if (allocation.exp !== undefined) allocation.exp = earlier(allocation.exp);
          if (allocation.reportBy !== undefined) allocation.reportBy = earlier(allocation.reportBy);
        }
        await redis.hset(keys.rooms, id, JSON.stringify(record));
      }
      for (const [field, text] of Object.entries(await redis.hgetall(keys.allocations))) {
        if (!field.startsWith('a:')) continue;
        const allocation = JSON.parse(text) as AllocationRecord;
        allocation.at = earlier(allocation.at);
        if (allocation.exp !== undefined) allocation.exp = earlier(allocation.exp);
        await redis.hset(keys.allocations, field, JSON.stringify(allocation));
      }
      for (const [id, text] of Object.entries(await redis.hgetall(keys.waiters))) {
        const [aliveUntilMs, ...rest] = text.split('\n');
        await redis.hset(keys.waiters, id, [earlier(aliveUntilMs!), ...rest].join('\n'));
      }
      for (const key of [keys.byStatus, keys.ended, keys.earlyEnds, keys.failures, keys.notCreated, keys.lost]) {
        for (const member of await redis.zrange(key, 0, -1)) await redis.zincrby(key, -ms, member);
      }
    }
    for (const key of [partition.resyncs, partition.allocationTimes]) {
      for (const member of await redis.zrange(key, 0, -1)) await redis.zincrby(key, -ms, member);
    }
  }
  const [sinceMs, lastMs] = await redis.hmget(hearingKey, 'sinceMs', 'lastMs');
  if (sinceMs && lastMs) await redis.hset(hearingKey, 'sinceMs', earlier(sinceMs), 'lastMs', earlier(lastMs));
}
