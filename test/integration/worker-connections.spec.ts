import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { bullPrefix, wakeUpQueues } from '../../src/adapters/bullmq/wake-up-queues';
import {
  bullmqConnectionOptions,
  closeRedisConnection,
  createRedisConnection,
} from '../../src/adapters/redis/redis-connection';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { startTestRedis } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import { startMaestroInProcess, type MaestroInProcess } from '../support/maestro-in-process';
import { openPostgres, type PostgresUnderTest } from '../support/open-postgres';

const poolSize = 4;

/** The pooled connections have the process's name, those that listen have this one. */
const pooled = 'maestro-in-test';
const listening = 'maestro-listen';

describe('a worker of two thousand schedulers', () => {
  let postgres: PostgresUnderTest;
  let server: Awaited<ReturnType<typeof startTestRedis>>;
  let redis: Redis;
  let health: Queue;
  let maestro: MaestroInProcess;

  beforeAll(async () => {
    [postgres, server] = await Promise.all([openPostgres(), startTestRedis()]);
    redis = createRedisConnection({ url: server.url, name: 'test-behind', ...bullmqConnectionOptions });
    health = new Queue(wakeUpQueues.health, { connection: redis, prefix: bullPrefix });
    maestro = await startMaestroInProcess(
      ['worker'],
      { MAESTRO_WORKERS_SYNCINTERVAL: '100ms', MAESTRO_POSTGRES_POOLSIZE: String(poolSize) },
      { postgresUrl: postgres.url, redisUrl: server.url },
    );
  });
  afterAll(async () => {
    await maestro.close();
    await health.close();
    await closeRedisConnection(redis, 100);
    await Promise.all([postgres.close(), server.stop()]);
  });

  const redisConnections = async (): Promise<number> => {
    const clients = (await redis.client('LIST')) as string;
    return clients.trim().split('\n').length;
  };
  const postgresConnections = async (name: string): Promise<number> => {
    const [found] = await postgres.sql<{ count: number }>(
      `SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name = $1`,
      [name],
    );
    return found!.count;
  };
  const scheduled = (count: number) =>
    eventually(async () => expect(await health.getJobSchedulersCount()).toBe(count), {
      timeoutMs: 40_000,
      everyMs: 50,
    });

  it('has as many connections as one of a single scheduler', async () => {
    // The Redis in JavaScript slows down with what it holds.
    const schedulerCount = server.kind === 'js' ? 200 : 2_000;
    await postgres.schedulers.createScheduler('fleet-0', aSchedulerDefinition({ roomsReplicas: 0 }));
    await scheduled(1);
    // What waits for a ring has its connections by then, and the first look has had its turn.
    await eventually(async () => expect(await postgresConnections(listening)).toBe(1));
    const before = { redis: await redisConnections(), listening: await postgresConnections(listening) };

    await postgres.sql(
      `INSERT INTO maestro.schedulers SELECT (jsonb_populate_record(s, jsonb_build_object('name', 'fleet-' || number))).*
       FROM maestro.schedulers s, generate_series(1, $1::int - 1) AS number WHERE s.name = 'fleet-0'`,
      [schedulerCount],
    );
    await postgres.sql(
      `INSERT INTO maestro.scheduler_versions
       SELECT (jsonb_populate_record(v, jsonb_build_object('scheduler_name', 'fleet-' || number))).*
       FROM maestro.scheduler_versions v, generate_series(1, $1::int - 1) AS number WHERE v.scheduler_name = 'fleet-0'`,
      [schedulerCount],
    );
    await scheduled(schedulerCount);

    expect({ redis: await redisConnections(), listening: await postgresConnections(listening) }).toEqual(before);
    expect(await postgresConnections(pooled)).toBeLessThanOrEqual(poolSize);
  });
});
