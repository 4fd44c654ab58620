import { Queue } from 'bullmq';
import { BullmqWakeUps } from '../../src/adapters/bullmq/bullmq-wake-ups';
import { bullPrefix, wakeUpQueues, type Ring } from '../../src/adapters/bullmq/wake-up-queues';
import {
  bullmqConnectionOptions,
  closeRedisConnection,
  createRedisConnection,
} from '../../src/adapters/redis/redis-connection';
import { QuietLogger, startTestRedis } from '../../test/support/embedded-servers';
import { openPostgres, type PostgresUnderTest } from '../../test/support/open-postgres';

export interface Databases {
  postgres: PostgresUnderTest;
  redisUrl: string;
  wakeUps: BullmqWakeUps;
  close(): Promise<void>;
}

/** A migrated PostgreSQL and a Redis of this benchmark's own, with the bell that the API rings. */
export async function openDatabases(): Promise<Databases> {
  const [postgres, server] = await Promise.all([openPostgres(), startTestRedis()]);
  const redis = createRedisConnection({ url: server.url, name: 'bench', ...bullmqConnectionOptions });
  const queueOf = (name: string) => new Queue<Ring>(name, { connection: redis, prefix: bullPrefix });
  const queues = { operations: queueOf(wakeUpQueues.operations), health: queueOf(wakeUpQueues.health) };
  return {
    postgres,
    redisUrl: server.url,
    wakeUps: new BullmqWakeUps(queues, new QuietLogger()),
    close: async () => {
      await Promise.all(Object.values(queues).map((queue) => queue.close()));
      await closeRedisConnection(redis);
      await Promise.all([postgres.close(), server.stop()]);
    },
  };
}

export const schedulerNames = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `fleet-${String(index).padStart(4, '0')}`);

/** Operations that a worker carries out in one call to the runtime, `perScheduler` for each, in the order of a busy hour. */
export async function insertOperations(
  postgres: PostgresUnderTest,
  schedulers: string[],
  perScheduler: number,
): Promise<void> {
  await postgres.sql(
    `WITH added AS (
       INSERT INTO maestro.operations (scheduler_name, definition, input, priority, actor)
       SELECT name, 'remove_rooms', '{"amount": 1, "roomIds": ["gone"], "reason": "scale_down"}', 20, 'api'
       FROM generate_series(1, $2::int) AS turn, unnest($1::text[]) AS name ORDER BY turn, name
       RETURNING id)
     INSERT INTO maestro.operation_events (operation_id, event) SELECT id, 'Created' FROM added`,
    [schedulers, perScheduler],
  );
}
