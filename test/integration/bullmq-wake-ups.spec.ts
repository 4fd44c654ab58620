import { Logger } from '../../src/ports/logger';
import { BullModule } from '@nestjs/bullmq';
import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { BullmqWakeUps } from '../../src/adapters/bullmq/bullmq-wake-ups';
import { wakeUpProcessors } from '../../src/adapters/bullmq/wake-up.processor';
import { bullPrefix, wakeUpQueues, type Ring, type WakeUpTimes } from '../../src/adapters/bullmq/wake-up-queues';
import {
  bullmqConnectionOptions,
  closeRedisConnection,
  createRedisConnection,
} from '../../src/adapters/redis/redis-connection';
import { WakeUpAnswers, type WakeUpKind } from '../../src/ports/wake-ups';
import { startTestRedis } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import { RecordedLog } from '../support/recorded-log';

/** Answers as slowly as a test says. */
class RecordedAnswers extends WakeUpAnswers {
  readonly answered: { kind: WakeUpKind; scheduler: string; atMs: number }[] = [];
  onAnswer: (() => Promise<void>) | null = null;

  override async answer(kind: WakeUpKind, scheduler: string): Promise<void> {
    this.answered.push({ kind, scheduler, atMs: performance.now() });
    await this.onAnswer?.();
  }
}

interface Bell {
  wakeUps: BullmqWakeUps;
  queues: Record<WakeUpKind, Queue<Ring>>;
  redis: Redis;
  log: RecordedLog;
  close(): Promise<void>;
}

function openBell(url: string): Bell {
  const log = new RecordedLog();
  const redis = createRedisConnection({ url, name: 'test-wake-ups', ...bullmqConnectionOptions });
  const queues = {
    operations: new Queue<Ring>(wakeUpQueues.operations, { connection: redis, prefix: bullPrefix }),
    health: new Queue<Ring>(wakeUpQueues.health, { connection: redis, prefix: bullPrefix }),
  };
  for (const queue of Object.values(queues)) queue.on('error', () => undefined);
  return {
    wakeUps: new BullmqWakeUps(queues, log),
    queues,
    redis,
    log,
    close: async () => {
      await Promise.allSettled(Object.values(queues).map((queue) => queue.close()));
      await closeRedisConnection(redis, 100);
    },
  };
}

/** As the worker's role registers it. */
function openWorker(
  connection: Redis,
  answers: WakeUpAnswers,
  times: WakeUpTimes = { lockDurationMs: 5_000, stalledIntervalMs: 2_000 },
): Promise<INestApplicationContext> {
  class WorkerModule {}
  return NestFactory.createApplicationContext(
    {
      module: WorkerModule,
      imports: [
        BullModule.forRoot({ connection, prefix: bullPrefix }),
        ...Object.values(wakeUpQueues).map((name) => BullModule.registerQueue({ name })),
      ],
      providers: [
        { provide: WakeUpAnswers, useValue: answers },
        { provide: Logger, useValue: new RecordedLog() },
        ...wakeUpProcessors(times, 50, () => true),
      ],
    },
    { logger: false },
  );
}

describe.each(['auto', 'js'] as const)('the doorbell on Redis (%s)', (kind) => {
  let server: Awaited<ReturnType<typeof startTestRedis>>;
  let bell: Bell;
  let worker: INestApplicationContext | null = null;
  let answers: RecordedAnswers;

  beforeAll(async () => {
    server = await startTestRedis(kind === 'auto' ? undefined : kind);
    bell = openBell(server.url);
  });
  afterAll(async () => {
    await bell.close();
    await server.stop();
  });
  beforeEach(async () => {
    answers = new RecordedAnswers();
    await bell.redis.flushall();
  });
  afterEach(async () => {
    answers.onAnswer = null;
    await worker?.close();
    worker = null;
  });

  const answer = async (): Promise<void> => {
    worker = await openWorker(bell.redis, answers);
  };
  const waiting = async (kind: WakeUpKind): Promise<number> =>
    (await bell.queues[kind].getJobCounts('waiting', 'delayed', 'prioritized')).waiting!;
  const quiet = async (): Promise<void> => {
    await eventually(async () => {
      for (const queue of Object.values(bell.queues)) {
        const counts = await queue.getJobCounts('waiting', 'active', 'delayed');
        expect(counts).toEqual({ waiting: 0, active: 0, delayed: 0 });
      }
    });
  };

  it('merges rings that nobody answered yet, by kind and scheduler', async () => {
    for (let count = 0; count < 5; count++) await bell.wakeUps.ring('operations', 'arena');
    await bell.wakeUps.ring('operations', 'other');
    await bell.wakeUps.ring('health', 'arena');
    expect(await waiting('operations')).toBe(2);
    expect(await waiting('health')).toBe(1);
    await answer();
    await quiet();
    expect(answers.answered.map(({ kind, scheduler }) => `${kind} ${scheduler}`).sort()).toEqual([
      'health arena',
      'operations arena',
      'operations other',
    ]);
  });

  it('answers once more what was rung for while it was being answered, and one at a time', async () => {
    let running = 0;
    let overlaps = 0;
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    answers.onAnswer = async () => {
      if (++running > 1) overlaps++;
      await gate;
      running--;
    };
    await answer();
    await bell.wakeUps.ring('operations', 'arena');
    await eventually(() => expect(answers.answered).toHaveLength(1));
    for (let count = 0; count < 5; count++) await bell.wakeUps.ring('operations', 'arena');
    await bell.wakeUps.ring('operations', 'other');
    await eventually(() => expect(answers.answered).toHaveLength(2));
    open();
    await eventually(() => expect(answers.answered).toHaveLength(3));
    await quiet();
    expect(answers.answered.map(({ scheduler }) => scheduler)).toEqual(['arena', 'other', 'arena']);
    expect(overlaps).toBe(1); // `other` beside `arena`.
  });

  it('rings again after an answer, and after an answer that failed', async () => {
    answers.onAnswer = () => Promise.reject(new Error('broken'));
    await answer();
    for (let count = 1; count <= 3; count++) {
      await bell.wakeUps.ring('health', 'arena');
      await eventually(() => expect(answers.answered).toHaveLength(count));
      await quiet();
    }
  });

  it('lets a prompt ring pass a delayed one, and a shorter delay a longer one', async () => {
    await bell.wakeUps.ring('health', 'arena', { delayMs: 60_000 });
    const rungAtMs = performance.now();
    await bell.wakeUps.ring('health', 'arena', { delayMs: 150 });
    await bell.wakeUps.ring('health', 'arena', { delayMs: 150 });
    await bell.wakeUps.ring('health', 'arena');
    expect(await bell.queues.health.getJobCounts('waiting', 'delayed')).toEqual({ waiting: 1, delayed: 2 });
    await answer();
    await eventually(() => expect(answers.answered).toHaveLength(2));
    expect(answers.answered[1]!.atMs - rungAtMs).toBeGreaterThanOrEqual(145);
    expect(await bell.queues.health.getJobCounts('waiting', 'delayed')).toEqual({ waiting: 0, delayed: 1 });
  });

  it('keeps the delay of a ring that is made while the one before it is being answered', async () => {
    answers.onAnswer = async () => {
      if (answers.answered.length === 1) await bell.wakeUps.ring('health', 'arena', { delayMs: 200 });
    };
    await answer();
    await bell.wakeUps.ring('health', 'arena', { delayMs: 200 });
    await eventually(() => expect(answers.answered).toHaveLength(2));
    const [first, second] = answers.answered;
    expect(second!.atMs - first!.atMs).toBeGreaterThanOrEqual(190);
  });

  describe('whose ring was taken by a worker that is killed', () => {
    /** Takes a ring and neither renews its lock nor answers, as who is gone. */
    const takenByTheDead = async (kind: WakeUpKind, take: (dead: Worker) => Promise<unknown>): Promise<void> => {
      // BullMQ leaves a connection that it was given open.
      const connection = bell.redis.duplicate();
      const dead = new Worker(wakeUpQueues[kind], null, {
        connection,
        prefix: bullPrefix,
        ...killedTimes,
      });
      try {
        await take(dead);
        expect(await bell.queues[kind].getJobCounts('active')).toEqual({ active: 1 });
      } finally {
        await dead.close(true);
        connection.disconnect();
      }
    };
    const killedTimes = { lockDuration: 400, stalledInterval: 200 };
    const answerAgain = async (): Promise<void> => {
      worker = await openWorker(bell.redis, answers, { lockDurationMs: 400, stalledIntervalMs: 200 });
    };

    it.each(['operations', 'health'] as const)(
      'gives it to another one, and keeps no later one silent: %s',
      async (kind) => {
        await bell.wakeUps.ring(kind, 'arena');
        await takenByTheDead(kind, (dead) => dead.getNextJob('dead'));
        await bell.wakeUps.ring(kind, 'arena');
        await answerAgain();
        await eventually(() => expect(answers.answered.map(({ scheduler }) => scheduler)).toEqual(['arena', 'arena']));
        await quiet();
        await bell.wakeUps.ring(kind, 'arena');
        await eventually(() => expect(answers.answered).toHaveLength(3));
      },
    );

    it('goes on with the periodic ones, also when it was killed before it had made the next', async () => {
      await bell.wakeUps.schedulePeriodicHealth(['arena'], 100);
      // BullMQ makes the next ring of a series when one is taken: in a second call, which the dead did not come to.
      await takenByTheDead('health', (dead) =>
        eventually(async () => {
          const [ring] = await dead['backend'].moveToActive('dead', undefined);
          expect(ring).toBeTruthy();
        }),
      );
      expect(await bell.queues.health.getJobCounts('waiting', 'delayed')).toEqual({ waiting: 0, delayed: 0 });
      await answerAgain();
      await eventually(() => expect(answers.answered.length).toBeGreaterThanOrEqual(3));
      await bell.wakeUps.schedulePeriodicHealth([], 100);
      await quiet();
    });
  });

  it('keeps all keys in one slot of a Redis Cluster', async () => {
    await bell.wakeUps.ring('operations', 'arena', { delayMs: 1_000 });
    await bell.wakeUps.ring('health', 'arena');
    await bell.wakeUps.schedulePeriodicHealth(['arena'], 60_000);
    const keys = await bell.redis.keys('*');
    expect(keys.length).toBeGreaterThan(3);
    for (const key of keys) expect(key).toMatch(/^\{maestro-wake-ups\}:/);
  });

  it('leaves nothing in Redis of rings that were answered', async () => {
    await answer();
    for (let count = 0; count < 20; count++) await bell.wakeUps.ring('operations', `fleet-${count}`);
    await eventually(() => expect(answers.answered).toHaveLength(20));
    await quiet();
    const left = (await bell.redis.keys('*')).filter((key) => !/:(meta|id|events|marker|stalled-check)$/.test(key));
    expect(left).toEqual([]);
  });

  describe('the periodic health rings', () => {
    const scheduled = async () =>
      Object.fromEntries(
        (await bell.queues.health.getJobSchedulers()).map(({ key, every }) => [key, Number(every)] as const),
      );

    it('become exactly those of the schedulers there are', async () => {
      await bell.wakeUps.schedulePeriodicHealth(['one', 'two'], 60_000);
      expect(await scheduled()).toEqual({ one: 60_000, two: 60_000 });
      await bell.wakeUps.schedulePeriodicHealth(['two', 'three'], 60_000);
      expect(await scheduled()).toEqual({ two: 60_000, three: 60_000 });
      await bell.wakeUps.schedulePeriodicHealth(['two', 'three'], 30_000);
      expect(await scheduled()).toEqual({ two: 30_000, three: 30_000 });
      await bell.wakeUps.schedulePeriodicHealth([], 30_000);
      expect(await scheduled()).toEqual({});
      expect(await bell.queues.health.getJobCounts('waiting', 'delayed')).toEqual({ waiting: 0, delayed: 0 });
    });

    it('stay as they are when nothing changed', async () => {
      await bell.wakeUps.schedulePeriodicHealth(['one', 'two'], 60_000);
      const before = (await bell.queues.health.getJobSchedulers()).map(({ key, next }) => [key, next]);
      await bell.wakeUps.schedulePeriodicHealth(['two', 'one'], 60_000);
      expect((await bell.queues.health.getJobSchedulers()).map(({ key, next }) => [key, next])).toEqual(before);
    });

    it('are made again after Redis lost everything', async () => {
      await bell.wakeUps.schedulePeriodicHealth(['one'], 60_000);
      await bell.redis.flushall();
      await bell.wakeUps.schedulePeriodicHealth(['one'], 60_000);
      expect(await scheduled()).toEqual({ one: 60_000 });
    });

    it('ring again and again', async () => {
      await answer();
      await bell.wakeUps.schedulePeriodicHealth(['arena'], 100);
      await eventually(() => expect(answers.answered.length).toBeGreaterThanOrEqual(3));
      for (const { kind, scheduler } of answers.answered) expect([kind, scheduler]).toEqual(['health', 'arena']);
      await bell.wakeUps.schedulePeriodicHealth([], 100);
      await quiet();
    });
  });
});

describe('the periodic health rings of many schedulers', () => {
  it('are spread over the interval from the first one on', async () => {
    const server = await startTestRedis();
    const bell = openBell(server.url);
    try {
      const intervalMs = 60_000;
      const names = Array.from({ length: 600 }, (_, index) => `fleet-${index}`);
      await bell.wakeUps.schedulePeriodicHealth(names, intervalMs);
      expect(await bell.queues.health.getJobSchedulersCount()).toBe(600);
      const delayed = await bell.queues.health.getDelayed();
      const waiting = await bell.queues.health.getWaiting();
      expect(waiting.length).toBeLessThan(60);
      const tenths = new Map<number, number>();
      for (const job of delayed) {
        const tenth = Math.floor((((job.timestamp + job.delay) % intervalMs) / intervalMs) * 10);
        tenths.set(tenth, (tenths.get(tenth) ?? 0) + 1);
      }
      for (let tenth = 0; tenth < 10; tenth++) expect(tenths.get(tenth) ?? 0).toBeGreaterThan(15);
      // A change of one does not make the others anew.
      const before = new Set((await bell.queues.health.getDelayed()).map(({ id }) => id));
      await bell.wakeUps.schedulePeriodicHealth(names.slice(1), intervalMs);
      const after = (await bell.queues.health.getDelayed()).map(({ id }) => id);
      expect(after.filter((id) => !before.has(id))).toEqual([]);
      expect(await bell.queues.health.getJobSchedulersCount()).toBe(599);
    } finally {
      await bell.close();
      await server.stop();
    }
  });
});

describe('the doorbell without Redis', () => {
  it('says so in the log, throws nothing and keeps nobody waiting', async () => {
    const server = await startTestRedis();
    const bell = openBell(server.url);
    try {
      await bell.wakeUps.ring('operations', 'arena');
      await server.stop();
      const startedAt = performance.now();
      await Promise.all([
        bell.wakeUps.ring('operations', 'arena'),
        bell.wakeUps.ring('health', 'arena', { delayMs: 5 }),
      ]);
      expect(performance.now() - startedAt).toBeLessThan(3_000);
    } finally {
      await bell.close();
    }
    expect(bell.log.lines).toEqual(
      ['operations', 'health'].map((kind) => ({
        level: 'warn',
        message: 'the bell could not be rung; the sweep will find the work',
        fields: { scheduler_name: 'arena', wake_up: kind, err: expect.any(String) },
      })),
    );
  });
});
