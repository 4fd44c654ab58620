import { closeRedisConnection, createRedisConnection } from '../../src/adapters/redis/redis-connection';
import { RedisHealthRecords } from '../../src/adapters/redis/redis-health-records';
import { RedisRoomStore } from '../../src/adapters/redis/redis-room-store';
import { schedulerKeys } from '../../src/adapters/redis/room-keys';
import type { HealthRecordsUnderTest } from '../contract/health-records.contract';
import { startTestRedis } from './embedded-servers';
import { RecordedLog } from './recorded-log';

/** Records on a Redis of their own. */
export async function openRedisHealthRecords(
  kind?: Parameters<typeof startTestRedis>[0],
): Promise<HealthRecordsUnderTest> {
  const server = await startTestRedis(kind);
  const connect = () => createRedisConnection({ url: server.url, name: 'test-health-records' });
  const [redis, other] = [connect(), connect()];
  const log = new RecordedLog();
  return {
    records: new RedisHealthRecords(redis, log),
    others: new RedisHealthRecords(other, log),
    leave: async (scheduler, text) => void (await redis.set(schedulerKeys(scheduler).healthRecord, text)),
    deleteRooms: (scheduler) => new RedisRoomStore(redis).deleteScheduler(scheduler),
    loseEverything: async () => void (await redis.flushall()),
    close: async () => {
      await Promise.all([redis, other].map((each) => closeRedisConnection(each)));
      await server.stop();
    },
  };
}
