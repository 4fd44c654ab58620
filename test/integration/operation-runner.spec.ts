import { Registry } from 'prom-client';
import { PrometheusMetrics } from '../../src/adapters/prometheus/prometheus-metrics';
import { PostgresOperationStore } from '../../src/adapters/postgres/postgres-operation-store';
import { DomainError } from '../../src/domain/errors';
import type { Operation, OperationDefinition, OperationInputs } from '../../src/domain/operation/operation';
import type { Scheduler } from '../../src/domain/scheduler/scheduler';
import {
  Executor,
  ExecutorRegistry,
  type Execution,
  type ExecutionResult,
} from '../../src/features/operations/executor';
import { OperationRunner } from '../../src/features/operations/operation-runner';
import { OperationSweep } from '../../src/features/operations/operation-sweep';
import type { HeldOperation, OperationStore } from '../../src/ports/operation-store';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { openPostgres, type PostgresStores, type PostgresUnderTest } from '../support/open-postgres';
import { RecordedLog } from '../support/recorded-log';
import { RecordedWakeUps } from '../support/recorded-wake-ups';

type Step<T> = (execution: Execution<'add_rooms'>, scheduler: Scheduler | null) => Promise<T>;

/** Does what a test says under the name of `add_rooms`. */
class ToyExecutor extends Executor<'add_rooms'> {
  readonly definition = 'add_rooms';

  constructor(
    private readonly onExecute: Step<ExecutionResult<'add_rooms'>>,
    private readonly onRollback: Step<void> = async () => undefined,
  ) {
    super();
  }

  override execute(execution: Execution<'add_rooms'>, scheduler: Scheduler | null) {
    return this.onExecute(execution, scheduler);
  }

  override rollback(execution: Execution<'add_rooms'>, scheduler: Scheduler | null) {
    return this.onRollback(execution, scheduler);
  }
}

interface Worker {
  runner: OperationRunner;
  wakeUps: RecordedWakeUps;
  log: RecordedLog;
  registry: Registry;
  /** Finds stalled work every few milliseconds, as the worker's role does. */
  sweep(): void;
  stop(): Promise<void>;
}

const retryDelayMs = 40;

let postgres: PostgresUnderTest;
let another: PostgresStores;
let workers: Worker[] = [];
let owners = 0;

beforeAll(async () => {
  postgres = await openPostgres();
  another = await postgres.another();
});
afterAll(() => postgres.close());
beforeEach(() => postgres.clear());
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  workers = [];
});

function startWorker(
  executor: Executor<'add_rooms'>,
  {
    leaseTtlMs = 5_000,
    maxAttempts = 10,
    stores = postgres,
    operations = stores.operations,
  }: { leaseTtlMs?: number; maxAttempts?: number; stores?: PostgresStores; operations?: OperationStore } = {},
): Worker {
  const wakeUps = new RecordedWakeUps();
  const log = new RecordedLog();
  const registry = new Registry();
  const metrics = new PrometheusMetrics(registry);
  const runner = new OperationRunner(
    operations,
    stores.schedulers,
    stores.unitOfWork,
    new ExecutorRegistry([executor], ['add_rooms']),
    wakeUps,
    metrics,
    log,
    { owner: `worker-${++owners}`, concurrency: 50, leaseTtlMs, maxAttempts, retryDelayMs },
  );
  const stopping = new AbortController();
  const loops = [runner.run(stopping.signal)];
  const worker: Worker = {
    runner,
    wakeUps,
    log,
    registry,
    sweep: () => {
      const sweep = new OperationSweep(operations, runner, metrics, log, { intervalMs: 20 });
      loops.push(sweep.run(stopping.signal));
    },
    stop: async () => {
      stopping.abort();
      await Promise.all(loops);
    },
  };
  workers.push(worker);
  return worker;
}

const insert = async (scheduler = 'arena', amount = 1): Promise<Operation> =>
  (await postgres.operations.insert({ scheduler, definition: 'add_rooms', input: { amount }, actor: 'api' }))!;

const historyOf = async ({ scheduler, id }: Operation): Promise<string[]> =>
  (await postgres.operations.get(scheduler, id))!.history.map(({ event }) => event);

const statusOf = async ({ scheduler, id }: Operation): Promise<string> =>
  (await postgres.operations.get(scheduler, id))!.operation.status;

const away = () => new DomainError('unavailable', 'runtime.unreachable', 'the runtime is away');

/** Resolves when a test says so. */
function gate(): { opened: Promise<void>; open(): void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open() };
}

/** A step that counts how often it was taken. */
function recorded<T>(answer: T): Step<T> & { calls: number } {
  const step = Object.assign(
    async () => {
      step.calls++;
      return answer;
    },
    { calls: 0 },
  );
  return step;
}

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }));

describe('the history of an operation', () => {
  it('tells of a success', async () => {
    const operation = await insert();
    const worker = startWorker(
      new ToyExecutor(async (execution) => {
        await execution.record('a step');
        return { lookAgain: 'now' };
      }),
    );
    await worker.runner.drain('arena');
    expect(await historyOf(operation)).toEqual(['Created', 'Starting operation', 'a step', 'Operation finished']);
    expect(await statusOf(operation)).toBe('finished');
    expect(worker.wakeUps.rings).toEqual([{ kind: 'health', scheduler: 'arena', delayMs: 0 }]);
    expect(await worker.registry.metrics()).toContain(
      'maestro_worker_operation_execution_latency_count{game="",scheduler="arena",operation="add_rooms",success="true"} 1',
    );
  });

  it('tells of a failure and its rollback, and has the scheduler looked at later', async () => {
    const operation = await insert();
    const worker = startWorker(
      new ToyExecutor(
        async () => {
          throw new Error('it broke');
        },
        async (execution) => execution.record('undone'),
      ),
    );
    await worker.runner.drain('arena');
    expect(await historyOf(operation)).toEqual([
      'Created',
      'Starting operation',
      'it broke',
      'operation execution failed',
      'Starting operation rollback',
      'undone',
      'Operation rollback flow execution finished with success',
      'Operation finished',
    ]);
    expect(await statusOf(operation)).toBe('error');
    expect(worker.wakeUps.rings).toEqual([{ kind: 'health', scheduler: 'arena', delayMs: retryDelayMs }]);
    const [failure] = worker.log.lines.filter(({ level }) => level === 'error');
    expect(failure).toMatchObject({
      message: 'operation failed',
      fields: { err: 'it broke', scheduler_name: 'arena', operation_id: operation.id, stack: expect.any(String) },
    });
    const metrics = await worker.registry.metrics();
    expect(metrics).toMatch(/operation_execution_latency_count\{.*success="false"\} 1/);
    expect(metrics).toMatch(/operation_rollback_latency_count\{.*success="true"\} 1/);
  });

  it('tells of a rollback that fails', async () => {
    const operation = await insert();
    const worker = startWorker(
      new ToyExecutor(
        () => Promise.reject(new Error('it broke')),
        () => Promise.reject(new Error('and stays broken')),
      ),
    );
    await worker.runner.drain('arena');
    expect((await historyOf(operation)).slice(-3)).toEqual([
      'Starting operation rollback',
      'Operation rollback flow execution failed, reason: and stays broken',
      'Operation finished',
    ]);
    expect(await statusOf(operation)).toBe('error');
    expect(await worker.registry.metrics()).toMatch(/operation_rollback_latency_count\{.*success="false"\} 1/);
  });

  it('tells of the eviction of a kind that this version does not know', async () => {
    const operation = await insert();
    await postgres.sql(`UPDATE maestro.operations SET definition = 'of_the_future' WHERE id = $1`, [operation.id]);
    const worker = startWorker(new ToyExecutor(async () => ({})));
    await worker.runner.drain('arena');
    expect(await historyOf(operation)).toEqual(['Created', 'Operation evicted']);
    expect(await statusOf(operation)).toBe('evicted');
    expect(await worker.registry.metrics()).toContain(
      'maestro_worker_operation_evicted_total{game="",scheduler="arena",operation="of_the_future",reason="no_operation_executor_found"} 1',
    );
  });

  it('is kept out of the final list when the operation did nothing, and the new input is shown', async () => {
    const operation = await insert();
    await startWorker(new ToyExecutor(async () => ({ hidden: true, input: { amount: 0 } }))).runner.drain('arena');
    expect(await postgres.operations.list('arena', { stage: 'final', order: 'desc', page: 1, perPage: 15 })).toEqual({
      total: 0,
      operations: [],
    });
    expect((await postgres.operations.get('arena', operation.id))?.operation).toMatchObject({
      status: 'finished',
      input: { amount: 0 } satisfies OperationInputs['add_rooms'],
    });
  });
});

describe('a lease', () => {
  it('is renewed for as long as the work takes', async () => {
    const operation = await insert();
    const worker = startWorker(
      new ToyExecutor(async ({ operation: { leaseExpiresAt }, signal }) => {
        await eventually(async () => {
          const now = await postgres.operations.get('arena', operation.id);
          expect(now!.operation.leaseExpiresAt!.getTime()).toBeGreaterThan(leaseExpiresAt!.getTime() + 450);
        });
        expect(signal.aborted).toBe(false);
        return {};
      }),
      { leaseTtlMs: 300 },
    );
    await worker.runner.drain('arena');
    expect(await historyOf(operation)).toEqual(['Created', 'Starting operation', 'Operation finished']);
  });

  it.each<[string, Step<ExecutionResult<'add_rooms'>>]>([
    ['stops at the signal', ({ signal }) => aborted(signal)],
    ['fails by itself', ({ signal }) => aborted(signal).catch(() => Promise.reject(new Error('broken')))],
    ['goes on to its end', ({ signal }) => aborted(signal).catch(() => ({}))],
    [
      'writes',
      async (execution) => {
        await aborted(execution.signal).catch(() => undefined);
        await execution.record('still here');
        return {};
      },
    ],
    [
      'writes in a transaction',
      async (execution) => {
        await aborted(execution.signal).catch(() => undefined);
        await execution.commit(() => insert('written-by-a-stale-worker'));
        return {};
      },
    ],
  ])('that was lost stops the work, and nothing is written when it %s', async (_, step) => {
    const operation = await insert();
    const rollback = recorded(undefined);
    const worker = startWorker(new ToyExecutor(step, rollback), { leaseTtlMs: 150 });
    const drained = worker.runner.drain('arena');
    await eventually(async () => expect(await historyOf(operation)).toContain('Starting operation'));
    await eventually(async () => {
      await postgres.sql(`UPDATE maestro.operations SET lease_expires_at = now() - interval '1 s'`);
      expect(await another.operations.claimNext('arena', 'another', 60_000)).not.toBeNull();
    });
    await drained;
    expect(await historyOf(operation)).toEqual(['Created', 'Starting operation']);
    expect(await statusOf(operation)).toBe('in_progress');
    expect(await postgres.operations.hasOpen('written-by-a-stale-worker')).toBe(false);
    expect(rollback.calls).toBe(0);
    expect(worker.log.lines.map(({ message }) => message)).toContain(
      'the lease was lost: another worker resumes this operation',
    );
  });

  it('counts as lost when no renewal gets through for its whole time, by then and not later', async () => {
    class Hanging extends PostgresOperationStore {
      claimedAt = 0;
      override claimNext(...args: Parameters<OperationStore['claimNext']>): Promise<HeldOperation | null> {
        this.claimedAt = performance.now();
        return super.claimNext(...args);
      }
      override renewLease(): Promise<void> {
        return new Promise(() => undefined);
      }
    }
    const operations = new Hanging(postgres.unitOfWork);
    await insert();
    let stoppedAt = 0;
    const worker = startWorker(
      new ToyExecutor(({ signal }) =>
        aborted(signal).catch((reason) => {
          stoppedAt = performance.now();
          throw reason;
        }),
      ),
      { leaseTtlMs: 400, operations },
    );
    await worker.runner.drain('arena');
    expect(stoppedAt - operations.claimedAt).toBeGreaterThan(350);
    // A third more would be the next tick of the renewal: by then another worker may have begun.
    expect(stoppedAt - operations.claimedAt).toBeLessThan(520);
  });
});

describe('a worker that dies', () => {
  it('leaves an operation that another one resumes, with what the first had stored', async () => {
    const operation = await insert();
    const dead = (await postgres.operations.claimNext('arena', 'dead', 100))!;
    await postgres.operations.appendEvent(dead, 'Starting operation');
    await postgres.operations.saveProgress(dead, { step: 1 });
    const seen: unknown[] = [];
    startWorker(
      new ToyExecutor(async (execution) => {
        seen.push(execution.progress, execution.operation.attempt);
        return {};
      }),
      { stores: another },
    ).sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('finished'));
    expect(seen).toEqual([{ step: 1 }, 2]);
    expect(await historyOf(operation)).toEqual([
      'Created',
      'Starting operation',
      'Resuming operation, attempt 2',
      'Operation finished',
    ]);
  });

  it('again and again makes the operation end in an error, with its rollback', async () => {
    const operation = await insert();
    await postgres.sql(`UPDATE maestro.operations SET attempt = 3`);
    const execute = recorded({});
    await startWorker(new ToyExecutor(execute, async (execution) => execution.record('undone')), {
      maxAttempts: 3,
    }).runner.drain('arena');
    expect(execute.calls).toBe(0);
    expect(await statusOf(operation)).toBe('error');
    expect(await historyOf(operation)).toEqual([
      'Created',
      'Resuming operation, attempt 4',
      'gave up after 3 attempts that did not reach an end',
      'operation execution failed',
      'Starting operation rollback',
      'undone',
      'Operation rollback flow execution finished with success',
      'Operation finished',
    ]);
  });

  it('after a deletion was carried out leaves nothing that touches a new scheduler of that name', async () => {
    await postgres.schedulers.createScheduler('arena', aSchedulerDefinition());
    await insert();
    await postgres.schedulers.deleteScheduler('arena');
    await postgres.schedulers.createScheduler('arena', aSchedulerDefinition());
    const seen: (Scheduler | null)[] = [];
    const executor = new ToyExecutor(async (_, scheduler) => {
      seen.push(scheduler);
      return {};
    });
    const worker = startWorker(executor);
    await worker.runner.drain('arena');
    await insert();
    await worker.runner.drain('arena');
    expect(seen).toEqual([null, expect.objectContaining({ name: 'arena' })]);
  });
});

describe('a worker that is told to stop', () => {
  it('gives its work back, and another one resumes it', async () => {
    const operation = await insert();
    const started = gate();
    const worker = startWorker(
      new ToyExecutor(async (execution) => {
        await execution.saveProgress({ step: 1 });
        started.open();
        return aborted(execution.signal);
      }),
    );
    void worker.runner.drain('arena');
    await started.opened;
    await worker.stop();
    expect(await statusOf(operation)).toBe('pending');
    expect(worker.wakeUps.rings).toEqual([{ kind: 'operations', scheduler: 'arena', delayMs: 0 }]);
    await worker.runner.drain('arena');
    expect(await statusOf(operation)).toBe('pending');
    await startWorker(
      new ToyExecutor(async ({ progress }) => {
        expect(progress).toEqual({ step: 1 });
        return {};
      }),
      { stores: another },
    ).runner.drain('arena');
    expect(await historyOf(operation)).toEqual([
      'Created',
      'Starting operation',
      'the worker stops: another one resumes this operation',
      'Resuming operation, attempt 2',
      'Operation finished',
    ]);
  });

  it('lets work that ends at that moment end', async () => {
    const operation = await insert();
    const started = gate();
    const worker = startWorker(
      new ToyExecutor(async ({ signal }) => {
        started.open();
        return aborted(signal).catch(() => ({}));
      }),
    );
    void worker.runner.drain('arena');
    await started.opened;
    await worker.stop();
    expect(await statusOf(operation)).toBe('finished');
  });

  it('gives back what it was about to take', async () => {
    const claiming = gate();
    const proceed = gate();
    class Slow extends PostgresOperationStore {
      override async claimNext(...args: Parameters<OperationStore['claimNext']>): Promise<HeldOperation | null> {
        claiming.open();
        await proceed.opened;
        return super.claimNext(...args);
      }
    }
    const operation = await insert();
    const execute = recorded({});
    const worker = startWorker(new ToyExecutor(execute), { operations: new Slow(postgres.unitOfWork) });
    void worker.runner.drain('arena');
    await claiming.opened;
    const stopped = worker.stop();
    proceed.open();
    await stopped;
    expect(execute.calls).toBe(0);
    expect(await statusOf(operation)).toBe('pending');
  });
});

describe('something that is away', () => {
  it('puts the operation off instead of failing it', async () => {
    const operation = await insert();
    let isAway = true;
    const rollback = recorded(undefined);
    const worker = startWorker(
      new ToyExecutor(() => (isAway ? Promise.reject(away()) : Promise.resolve({})), rollback),
    );
    await worker.runner.drain('arena');
    expect(await statusOf(operation)).toBe('pending');
    expect(rollback.calls).toBe(0);
    // Not at once again: several workers would use up the attempts in no time.
    expect(worker.wakeUps.rings).toEqual([{ kind: 'operations', scheduler: 'arena', delayMs: retryDelayMs }]);
    isAway = false;
    worker.sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('finished'));
    expect(await historyOf(operation)).toEqual([
      'Created',
      'Starting operation',
      'interrupted, it will be tried again: the runtime is away',
      'Resuming operation, attempt 2',
      'Operation finished',
    ]);
  });

  it('for too long makes it fail, with its reason', async () => {
    const operation = await insert();
    const worker = startWorker(new ToyExecutor(() => Promise.reject(away())), { maxAttempts: 3 });
    worker.sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('error'));
    const history = await historyOf(operation);
    expect(history.filter((event) => event.startsWith('interrupted'))).toHaveLength(2);
    expect(history).toContain('Resuming operation, attempt 3');
    expect(history.slice(-5)[0]).toBe('the runtime is away');
  });

  it('during a rollback has the operation tried again, so that nothing is left half undone', async () => {
    const operation = await insert();
    let isAway = true;
    const worker = startWorker(
      new ToyExecutor(
        () => Promise.reject(new Error('it broke')),
        () => (isAway ? Promise.reject(away()) : Promise.resolve()),
      ),
    );
    await worker.runner.drain('arena');
    expect(await statusOf(operation)).toBe('pending');
    isAway = false;
    worker.sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('error'));
    expect((await historyOf(operation)).slice(-3)).toEqual([
      'Starting operation rollback',
      'Operation rollback flow execution finished with success',
      'Operation finished',
    ]);
  });
});

describe('draining a scheduler', () => {
  it('runs what there is one after the other, and what is added meanwhile', async () => {
    const operations = [await insert('arena', 1), await insert('arena', 2)];
    const ran: number[] = [];
    const worker = startWorker(
      new ToyExecutor(async ({ operation: { input } }) => {
        ran.push(input.amount);
        if (input.amount === 1) operations.push(await insert('arena', 3));
        return {};
      }),
    );
    await worker.runner.drain('arena');
    expect(ran).toEqual([1, 2, 3]);
    for (const operation of operations) expect(await statusOf(operation)).toBe('finished');
  });

  it('runs what is rung for in the very moment in which nothing more was found', async () => {
    const turns = 20;
    /** Rings once, so many microtasks after nothing more was found. */
    class Ringing extends PostgresOperationStore {
      private readonly rung = new Set<string>();
      override async claimNext(scheduler: string, ...rest: [string, number]): Promise<HeldOperation | null> {
        const held = await super.claimNext(scheduler, ...rest);
        if (held === null && !this.rung.has(scheduler)) {
          this.rung.add(scheduler);
          await insert(scheduler);
          void (async () => {
            for (let turn = Number(scheduler); turn > 0; turn--) await Promise.resolve();
            await worker.runner.drain(scheduler);
          })();
        }
        return held;
      }
    }
    const worker = startWorker(new ToyExecutor(async () => ({})), { operations: new Ringing(postgres.unitOfWork) });
    const names = Array.from({ length: turns }, (_, index) => String(index));
    await Promise.all(names.map((name) => worker.runner.drain(name)));
    await eventually(
      async () => {
        for (const name of names) expect([name, await postgres.operations.hasOpen(name)]).toEqual([name, false]);
      },
      { timeoutMs: 1_000 },
    );
  });

  it('does not let one scheduler wait for another', async () => {
    await insert('slow');
    const quick = await insert('quick');
    const proceed = gate();
    const worker = startWorker(
      new ToyExecutor(async ({ operation: { scheduler } }) => {
        if (scheduler === 'slow') await proceed.opened;
        return {};
      }),
    );
    worker.sweep();
    await eventually(async () => expect(await statusOf(quick)).toBe('finished'));
    proceed.open();
  });

  it('by several workers never runs two operations of a scheduler at once, and brings each to one end', async () => {
    const schedulers = Array.from({ length: 12 }, (_, index) => `fleet-${index}`);
    const operations: Operation[] = [];
    for (const scheduler of schedulers) {
      for (let count = 0; count < 5; count++) operations.push(await insert(scheduler, count));
    }
    const running = new Map<string, number>();
    const overlaps: string[] = [];
    const executor = new ToyExecutor(async (execution) => {
      const { scheduler, input } = execution.operation;
      const others = running.get(scheduler) ?? 0;
      if (others > 0) overlaps.push(scheduler);
      running.set(scheduler, others + 1);
      await execution.record('a step');
      await execution.saveProgress({ step: 1 });
      running.set(scheduler, running.get(scheduler)! - 1);
      if (input.amount === 3) throw new Error('every fourth fails');
      return {};
    });
    for (const stores of [postgres, another]) {
      const worker = startWorker(executor, { stores });
      worker.sweep();
      for (const scheduler of schedulers) void worker.runner.drain(scheduler);
    }
    await eventually(
      async () => {
        for (const scheduler of schedulers) expect(await postgres.operations.hasOpen(scheduler)).toBe(false);
      },
      { timeoutMs: 15_000 },
    );
    expect(overlaps).toEqual([]);
    for (const operation of operations) {
      const failed = (operation.input as { amount: number }).amount === 3;
      expect(await statusOf(operation)).toBe(failed ? 'error' : 'finished');
      const history = await historyOf(operation);
      expect(history.filter((event) => event === 'Operation finished')).toHaveLength(1);
      expect(history.filter((event) => event === 'Starting operation')).toHaveLength(1);
    }
  });
});

describe('the registry of executors', () => {
  const toy = new ToyExecutor(async () => ({})) as unknown as Executor;

  it.each<[string, Executor[], OperationDefinition[]]>([
    ['a kind of operation without one', [toy], ['add_rooms', 'remove_rooms']],
    ['a kind of operation with two', [toy, toy], ['add_rooms']],
  ])('refuses %s at start', (_, executors, definitions) => {
    expect(() => new ExecutorRegistry(executors, definitions)).toThrow('each operation needs exactly one executor');
  });
});
