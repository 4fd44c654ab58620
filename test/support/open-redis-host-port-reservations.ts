import type { Redis } from 'ioredis';
import { closeRedisConnection, createRedisConnection } from '../../src/adapters/redis/redis-connection';
import { RedisHostPortReservations } from '../../src/adapters/redis/redis-host-port-reservations';
import { hostPortKeys } from '../../src/adapters/redis/room-keys';
import type { HostPortReservationsUnderTest } from '../contract/host-port-reservations.contract';
import { startTestRedis } from './embedded-servers';

/** Reservations on a server of their own, through several connections as those of several processes. */
export async function openRedisHostPortReservations(
  kind?: Parameters<typeof startTestRedis>[0],
): Promise<HostPortReservationsUnderTest> {
  const server = await startTestRedis(kind);
  const connections: Redis[] = [];
  const connect = (): Redis => {
    const redis = createRedisConnection({ url: server.url, name: 'test-host-ports', commandTimeoutMs: 20_000 });
    connections.push(redis);
    return redis;
  };
  const redis = connect();
  return {
    reservations: new RedisHostPortReservations(redis),
    another: () => new RedisHostPortReservations(connect()),
    loseEverything: async () => void (await redis.flushall()),
    passTime: (ms) => passHostPortTime(redis, ms),
    readCounts: () => readHostPortCounts(redis),
    breakCounts: async () => {
      await redis.setrange(hostPortKeys.counts, (65_536 + 9) * 4, '0003');
      await redis.setrange(hostPortKeys.counts, 1 * 4, '00070000');
      await redis.setrange(`${hostPortKeys.counts}:`, 1 * 4, '00070000');
    },
    close: async () => {
      await Promise.all(connections.map((connection) => closeRedisConnection(connection)));
      await server.stop();
    },
  };
}

/** As if so much time had gone by since all that is held. */
export async function passHostPortTime(redis: Redis, ms: number): Promise<void> {
  for (const [key, text] of Object.entries(await redis.hgetall(hostPortKeys.holders))) {
    const [sinceMs, refusedUntilMs, ...others] = text.split(' ');
    const refused = refusedUntilMs === '0' ? 0 : Number(refusedUntilMs) - ms;
    await redis.hset(hostPortKeys.holders, key, [Number(sinceMs) - ms, refused, ...others].join(' '));
  }
}

/** How many hold each number, as the store counts. */
export async function readHostPortCounts(redis: Redis): Promise<Record<string, number>> {
  const text = (await redis.get(hostPortKeys.counts)) ?? '';
  const counts: Record<string, number> = {};
  for (let place = 0; place < text.length / 4; place++) {
    const count = Number(text.slice(place * 4, place * 4 + 4)) || 0;
    if (count > 0) counts[`${['TCP', 'UDP', 'SCTP'][Math.floor(place / 65_536)]}/${place % 65_536}`] = count;
  }
  return counts;
}
