import { Queue, Worker } from 'bullmq';
import {
  bullmqConnectionOptions,
  closeRedisConnection,
  createRedisConnection,
} from '../src/adapters/redis/redis-connection';
import { eventually } from '../test/support/eventually';
import { openDatabases, type Databases } from './support/databases';
import { percentile, percentilesMs, timesAs, type Report } from './support/report';
import { WorkerProcess } from './support/worker-process';

const samples = 200;
const mostP99Ms = 100;

/**
 * How soon a worker that has nothing to do begins what was ordered: from the API's commit to `Starting operation` in the
 * history, both by the database's clock. Baselines: a bare BullMQ job from `add` to its processor, and a statement that asks
 * Postgres nothing.
 */
export async function run(): Promise<Report> {
  const databases = await openDatabases();
  try {
    const statements = await timeStatements(databases);
    const jobs = await timeJobs(databases);
    const worker = await WorkerProcess.start(databases, 0);
    try {
      // The first operations meet cold caches and a pool without connections.
      await timeStarts(databases, 20);
      const starts = await timeStarts(databases, samples);
      const median = percentile(jobs, 0.5);
      return {
        measures: [
          { what: 'Postgres round trip (SELECT 1)', value: percentilesMs(statements) },
          { what: 'bare BullMQ job, add to processor', value: percentilesMs(jobs) },
          {
            what: 'operation, commit to start',
            value: percentilesMs(starts),
            ratio: `p50 ${timesAs(percentile(starts, 0.5), median)} the bare job`,
          },
        ],
        targets: [{ promise: `p99 below ${mostP99Ms} ms`, kept: percentile(starts, 0.99) < mostP99Ms }],
      };
    } finally {
      await worker.stop();
    }
  } finally {
    await databases.close();
  }
}

async function timeStatements({ postgres }: Databases): Promise<number[]> {
  const times: number[] = [];
  while (times.length < samples) {
    const startedAt = performance.now();
    await postgres.sql('SELECT 1');
    times.push(performance.now() - startedAt);
  }
  return times;
}

async function timeJobs({ redisUrl }: Databases): Promise<number[]> {
  const connection = createRedisConnection({ url: redisUrl, name: 'bench-jobs', ...bullmqConnectionOptions });
  let onStart = (): void => undefined;
  const queue = new Queue('bench', { connection });
  const worker = new Worker('bench', async () => onStart(), { connection });
  await worker.waitUntilReady();
  const times: number[] = [];
  while (times.length < samples) {
    const started = new Promise<void>((resolve) => (onStart = resolve));
    const startedAt = performance.now();
    await queue.add('job', {}, { removeOnComplete: true });
    await started;
    times.push(performance.now() - startedAt);
  }
  await Promise.all([worker.close(), queue.close()]);
  await closeRedisConnection(connection);
  return times;
}

/** One after the other, each when the one before has ended: the system is idle whenever one comes. */
async function timeStarts({ postgres, wakeUps }: Databases, count: number): Promise<number[]> {
  const { operations } = postgres;
  const times: number[] = [];
  while (times.length < count) {
    const scheduler = `fleet-${times.length % 20}`;
    const input = { amount: 1, roomIds: ['gone'], reason: 'scale_down' as const };
    const operation = await operations.insert({ scheduler, definition: 'remove_rooms', input, actor: 'api' });
    await wakeUps.ring('operations', scheduler);
    const ended = async (): Promise<void> => {
      const found = await operations.get(scheduler, operation!.id);
      if (found?.operation.status !== 'finished') throw new Error('an operation was not run in time');
    };
    await eventually(ended, { timeoutMs: 10_000 });
    const [delay] = await postgres.sql<{ ms: number }>(
      `SELECT extract(epoch FROM max(created_at) FILTER (WHERE event = 'Starting operation')
         - max(created_at) FILTER (WHERE event = 'Created'))::float8 * 1000 AS ms
       FROM maestro.operation_events WHERE operation_id = $1`,
      [operation!.id],
    );
    times.push(delay!.ms);
  }
  return times;
}
