import { RedisHealthRecords } from '../src/adapters/redis/redis-health-records';
import { aSchedulerDefinition } from '../test/support/a-scheduler-definition';
import { FakeRuntime } from '../test/support/fake-runtime';
import { fillFleet } from '../test/support/fill-fleet';
import { openFleetWorker } from '../test/support/fleet-worker';
import { openPostgres } from '../test/support/open-postgres';
import { openRedisRoomStore } from '../test/support/open-redis-room-store';
import { RecordedLog } from '../test/support/recorded-log';
import { percentile, percentilesMs, timesAs, type Measure, type Report } from './support/report';

const scheduler = 'arena';
const size = 10_000;
const samples = 30;
/** `architecture.md` 9. Milliseconds. */
const budgetMs = 1_000;

/** What a look at a large fleet takes: with nothing to do, and in a rollout. Baseline: reading its rooms. */
export async function run(): Promise<Report> {
  const [postgres, redis] = await Promise.all([openPostgres(), openRedisRoomStore(undefined, 1_000)]);
  try {
    const records = new RedisHealthRecords(redis.redis, new RecordedLog());
    const parts = {
      stores: postgres,
      rooms: redis.store,
      hostPorts: redis.hostPorts,
      runtime: new FakeRuntime(),
      records,
    };
    const worker = openFleetWorker(parts);
    await worker.schedulers.createScheduler(scheduler, aSchedulerDefinition({ roomsReplicas: size }));
    await worker.runner.drain(scheduler);
    await fillFleet(redis, { scheduler, size, version: (place) => (place % 2 === 0 ? 'v1.0.0' : 'v2.0.0') });

    const read = await times(() => redis.store.readFleet(scheduler));
    const idle = await times(() => worker.healthCycle.look(scheduler));
    const definition = aSchedulerDefinition({ roomsReplicas: size, labels: { team: 'blue' } });
    await postgres.schedulers.addVersion(scheduler, { version: 'v2.0.0', definition, rollbackVersion: 'v1.0.0' });
    await postgres.schedulers.activateVersion(scheduler, 'v2.0.0');
    const rollout = await times(async () => {
      await worker.healthCycle.look(scheduler);
      await postgres.operations.cancelPending(scheduler, 'measured');
    });

    const measureOf = (what: string, values: number[]): Measure => ({
      what,
      value: percentilesMs(values),
      ratio: `p50 ${timesAs(percentile(values, 0.5), percentile(read, 0.5))}`,
    });
    const slowest = Math.max(percentile(idle, 0.99), percentile(rollout, 0.99));
    return {
      measures: [
        { what: `reading ${size} rooms`, value: percentilesMs(read) },
        measureOf('a look that finds nothing to do', idle),
        measureOf('a look in a rollout of half of them', rollout),
      ],
      targets: [{ promise: `no look takes ${budgetMs} ms (p99)`, kept: slowest < budgetMs }],
    };
  } finally {
    await Promise.all([postgres.close(), redis.close()]);
  }
}

async function times(work: () => Promise<unknown>): Promise<number[]> {
  await work();
  const values: number[] = [];
  while (values.length < samples) {
    const startedAt = performance.now();
    await work();
    values.push(performance.now() - startedAt);
  }
  return values;
}
