import { BullModule } from '@nestjs/bullmq';
import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { Registry } from 'prom-client';
import { BullmqWakeUps } from '../../src/adapters/bullmq/bullmq-wake-ups';
import { wakeUpProcessors } from '../../src/adapters/bullmq/wake-up.processor';
import { bullPrefix, wakeUpQueues, type Ring } from '../../src/adapters/bullmq/wake-up-queues';
import { PrometheusMetrics } from '../../src/adapters/prometheus/prometheus-metrics';
import {
  bullmqConnectionOptions,
  closeRedisConnection,
  createRedisConnection,
} from '../../src/adapters/redis/redis-connection';
import { Executor, ExecutorRegistry, type ExecutionResult } from '../../src/features/operations/executor';
import { OperationRunner } from '../../src/features/operations/operation-runner';
import { Logger } from '../../src/ports/logger';
import { WakeUpAnswers } from '../../src/ports/wake-ups';
import { startTestRedis } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import { everyDeadline } from '../support/every-deadline';
import { openPostgres, type PostgresUnderTest } from '../support/open-postgres';
import { RecordedLog } from '../support/recorded-log';

let postgres: PostgresUnderTest;
let server: Awaited<ReturnType<typeof startTestRedis>>;
let redis: Redis;
let queues: Record<'operations' | 'health', Queue<Ring>>;
let wakeUps: BullmqWakeUps;
let workers: TestWorker[] = [];

beforeAll(async () => {
  [postgres, server] = await Promise.all([openPostgres(), startTestRedis()]);
  redis = createRedisConnection({ url: server.url, name: 'test-wake-ups', ...bullmqConnectionOptions });
  const queueOf = (name: string) => new Queue<Ring>(name, { connection: redis, prefix: bullPrefix });
  queues = { operations: queueOf(wakeUpQueues.operations), health: queueOf(wakeUpQueues.health) };
  wakeUps = new BullmqWakeUps(queues, new RecordedLog());
});
afterAll(async () => {
  await Promise.all(Object.values(queues).map((queue) => queue.close()));
  await closeRedisConnection(redis, 100);
  await Promise.all([postgres.close(), server.stop()]);
});
beforeEach(async () => {
  await postgres.clear();
  await redis.flushall();
});
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  workers = [];
});

interface TestWorker {
  ended: number;
  stop(): Promise<void>;
}

/** A runner behind its own ear for the bell. It does not sweep: what it does, it was rung for. */
async function startWorker({
  concurrency,
  work = async () => undefined,
}: {
  concurrency: number;
  work?: () => Promise<void>;
}): Promise<TestWorker> {
  class CountingExecutor extends Executor<'add_rooms'> {
    readonly definition = 'add_rooms';
    readonly steps = [];

    override async execute(): Promise<ExecutionResult<'add_rooms'>> {
      await work();
      worker.ended += 1;
      return {};
    }
  }
  const runner = new OperationRunner(
    postgres.operations,
    postgres.schedulers,
    postgres.unitOfWork,
    new ExecutorRegistry([new CountingExecutor()], ['add_rooms']),
    wakeUps,
    new PrometheusMetrics(new Registry()),
    new RecordedLog(),
    {
      owner: `worker-${workers.length}`,
      concurrency,
      leaseTtlMs: 5_000,
      maxAttempts: 10,
      cancelPollMs: 1_000,
      firstRetryDelayMs: 20,
      retryDelayMs: 40,
      deadlineMs: everyDeadline(600_000),
      rollbackDeadlineMs: 600_000,
    },
  );
  const answers: WakeUpAnswers = { answer: (_, scheduler) => runner.drain(scheduler) };
  class WorkerModule {}
  const application: INestApplicationContext = await NestFactory.createApplicationContext(
    {
      module: WorkerModule,
      imports: [
        BullModule.forRoot({ connection: redis, prefix: bullPrefix }),
        ...Object.values(wakeUpQueues).map((name) => BullModule.registerQueue({ name })),
      ],
      providers: [
        { provide: WakeUpAnswers, useValue: answers },
        { provide: Logger, useValue: new RecordedLog() },
        ...wakeUpProcessors({ lockDurationMs: 5_000, stalledIntervalMs: 2_000 }, concurrency, () => true),
      ],
    },
    { logger: false },
  );
  const stopping = new AbortController();
  const running = runner.run(stopping.signal);
  const worker: TestWorker = {
    ended: 0,
    stop: async () => {
      stopping.abort();
      await running;
      await application.close();
    },
  };
  workers.push(worker);
  return worker;
}

const insert = async (schedulers: string[], perScheduler: number): Promise<void> => {
  await postgres.sql(
    `INSERT INTO maestro.operations (scheduler_name, definition, input, priority, actor)
     SELECT name, 'add_rooms', '{"amount": 1}', 20, 'api' FROM generate_series(1, $2::int), unnest($1::text[]) AS name`,
    [schedulers, perScheduler],
  );
  await Promise.all(schedulers.map((scheduler) => wakeUps.ring('operations', scheduler)));
};

const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `fleet-${index}`);

const allEnded = () =>
  eventually(
    async () =>
      expect(await postgres.sql(`SELECT FROM maestro.operations WHERE finished_at IS NULL LIMIT 1`)).toEqual([]),
    { timeoutMs: 50_000 },
  );

describe('workers that are there from the beginning', () => {
  it.each([2, 4])(
    'share what rings at once: %i of them, and none does more than twice as much as another',
    async (count) => {
      while (workers.length < count) await startWorker({ concurrency: 5 });
      await insert(names(80), 3);
      await allEnded();
      const ended = workers.map((worker) => worker.ended);
      expect(ended.reduce((sum, each) => sum + each)).toBe(240);
      expect(Math.max(...ended)).toBeLessThanOrEqual(2 * Math.min(...ended));
    },
  );
});

describe('a worker that joins', () => {
  it('gets its share of schedulers that have work all the time, though the first could run them all', async () => {
    const first = await startWorker({ concurrency: 50 });
    await insert(names(10), 60);
    await eventually(() => expect(first.ended).toBeGreaterThanOrEqual(10));
    const second = await startWorker({ concurrency: 50 });
    const before = first.ended;
    await allEnded();
    expect(first.ended + second.ended).toBe(600);
    expect(second.ended).toBeGreaterThanOrEqual((600 - before) / 3);
  });
});

describe('a worker that is full', () => {
  it('leaves the bell to others, whatever it is allowed to run side by side', async () => {
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const full = await startWorker({ concurrency: 2, work: () => gate });
    await insert(names(10), 1);
    await eventually(async () => expect(await queues.operations.getActiveCount()).toBe(2));
    const free = await startWorker({ concurrency: 2 });
    try {
      await eventually(() => expect(free.ended).toBe(8));
    } finally {
      open();
    }
    await allEnded();
    expect(full.ended).toBe(2);
  });
});
