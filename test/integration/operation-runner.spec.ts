import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Registry } from 'prom-client';
import { PrometheusMetrics } from '../../src/adapters/prometheus/prometheus-metrics';
import { connectPostgres } from '../../src/adapters/postgres/data-source';
import { PostgresOperationStore } from '../../src/adapters/postgres/postgres-operation-store';
import { PostgresUnitOfWork } from '../../src/adapters/postgres/postgres-unit-of-work';
import { DomainError } from '../../src/domain/errors';
import type { Operation, OperationDefinition, OperationInputs } from '../../src/domain/operation/operation';
import type { Scheduler } from '../../src/domain/scheduler/scheduler';
import {
  Executor,
  ExecutorRegistry,
  type Execution,
  type ExecutionResult,
  type ExecutionWait,
} from '../../src/features/operations/executor';
import { OperationRunner } from '../../src/features/operations/operation-runner';
import type { OperationStep } from '../../src/features/operations/operation-steps';
import { OperationSweep } from '../../src/features/operations/operation-sweep';
import type { HeldOperation, OperationStore } from '../../src/ports/operation-store';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { everyDeadline } from '../support/every-deadline';
import { openPostgres, type PostgresStores, type PostgresUnderTest } from '../support/open-postgres';
import { RecordedLog } from '../support/recorded-log';
import { RecordedWakeUps } from '../support/recorded-wake-ups';
import { TcpGate } from '../support/tcp-gate';

type Step<T, D extends OperationDefinition = 'add_rooms'> = (
  execution: Execution<D>,
  scheduler: Scheduler | null,
) => Promise<T>;

/** Does what a test says, under the name of `add_rooms` unless it says another. */
class ToyExecutor<D extends OperationDefinition = 'add_rooms'> extends Executor<D> {
  readonly steps = ['one', 'two', 'undo'];
  extraMs = 0;

  constructor(
    private readonly onExecute: Step<ExecutionResult<D> | ExecutionWait, D>,
    private readonly onRollback: Step<void, D> = async () => undefined,
    readonly definition = 'add_rooms' as D,
  ) {
    super();
  }

  override extraTimeMs(): number {
    return this.extraMs;
  }

  override execute(execution: Execution<D>, scheduler: Scheduler | null) {
    return this.onExecute(execution, scheduler);
  }

  override rollback(execution: Execution<D>, scheduler: Scheduler | null) {
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

interface WorkerOptions {
  leaseTtlMs?: number;
  maxAttempts?: number;
  deadlineMs?: number;
  rollbackDeadlineMs?: number;
  /** The first pause after an interruption, and the longest. */
  pauseMs?: number;
  stores?: PostgresStores;
  operations?: OperationStore;
}

/** Takes any executors: to the registry they are all of one kind. */
function startWorker(executors: unknown, options: WorkerOptions = {}): Worker {
  const { stores = postgres, leaseTtlMs = 5_000, maxAttempts = 10, pauseMs } = options;
  const { operations = stores.operations, deadlineMs = 600_000, rollbackDeadlineMs = 600_000 } = options;
  const all = (Array.isArray(executors) ? executors : [executors]) as Executor[];
  const wakeUps = new RecordedWakeUps();
  const log = new RecordedLog();
  const registry = new Registry();
  const metrics = new PrometheusMetrics(registry);
  const runner = new OperationRunner(
    operations,
    stores.schedulers,
    stores.unitOfWork,
    new ExecutorRegistry(
      all,
      all.map(({ definition }) => definition),
    ),
    wakeUps,
    metrics,
    log,
    {
      owner: `worker-${++owners}`,
      concurrency: 50,
      leaseTtlMs,
      maxAttempts,
      cancelPollMs: 60_000,
      firstRetryDelayMs: pauseMs ?? retryDelayMs / 2,
      retryDelayMs: pauseMs ?? retryDelayMs,
      deadlineMs: everyDeadline(deadlineMs),
      rollbackDeadlineMs,
    },
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

const insertDeletion = async (): Promise<Operation> =>
  (await postgres.operations.insert({
    scheduler: 'arena',
    definition: 'delete_scheduler',
    input: {},
    actor: 'api',
  }))!;

const requestCancel = (operation: Operation, { operations }: PostgresStores = another) =>
  operations.cancel(operation.scheduler, operation.id, 'cancellation requested');

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
  new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    else signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });

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
    expect(worker.wakeUps.rings).toEqual([
      { kind: 'health', scheduler: 'arena', delayMs: retryDelayMs },
      { kind: 'health', scheduler: 'arena', delayMs: 0 },
    ]);
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

  it.each<[string, Step<ExecutionResult<'add_rooms'>>]>([
    ['a success that wants one now', async () => ({ lookAgain: 'now' })],
    ['a success that wants one later', async () => ({ lookAgain: 'later' })],
    ['a failure', () => Promise.reject(new Error('it broke'))],
  ])('has rung for the next look when it ends, for a worker that dies then rings no more: %s', async (_, execute) => {
    await insert();
    const worker = startWorker(new ToyExecutor(execute));
    const rungBeforeEnd: unknown[] = [];
    const listener = (message: unknown): void => {
      const { step, edge } = message as OperationStep;
      if (step === 'ended' && edge === 'before') rungBeforeEnd.push(...worker.wakeUps.rings);
    };
    subscribe('maestro:operation-step', listener);
    try {
      await worker.runner.drain('arena');
    } finally {
      unsubscribe('maestro:operation-step', listener);
    }
    expect(rungBeforeEnd).toEqual([{ kind: 'health', scheduler: 'arena', delayMs: retryDelayMs }]);
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

describe('an operation of a kind that this version does not know', () => {
  const insertUnknown = async (): Promise<Operation> => {
    const operation = await insert();
    await postgres.sql(`UPDATE maestro.operations SET definition = 'of_the_future' WHERE id = $1`, [operation.id]);
    return operation;
  };
  const told = ({ log }: Worker) => log.lines.filter(({ level }) => level === 'warn');

  it('is left to workers that know it, and told of once', async () => {
    const operation = await insertUnknown();
    const rounds = jest.spyOn(postgres.operations, 'findUnknown');
    const worker = startWorker(new ToyExecutor(async () => ({})));
    await worker.runner.drain('arena');
    worker.sweep();
    await eventually(() => expect(rounds.mock.calls.length).toBeGreaterThan(3));
    rounds.mockRestore();
    expect([await statusOf(operation), await historyOf(operation)]).toEqual(['pending', ['Created']]);
    expect(told(worker)).toEqual([
      {
        level: 'warn',
        message:
          'this version of Maestro does not know this kind of operation: it is left to workers of the version that made it',
        fields: {
          scheduler_name: 'arena',
          operation_id: operation.id,
          operation_definition: 'of_the_future',
          attempt: 0,
          status: 'pending',
        },
      },
    ]);
    expect(await worker.registry.metrics()).toContain(
      'maestro_worker_operation_evicted_total{game="",scheduler="arena",operation="of_the_future",reason="no_operation_executor_found"} 1',
    );
  });

  it('keeps nobody from being healed, also when its worker went for good', async () => {
    const operation = await insertUnknown();
    const healing = await insert();
    await postgres.sql(
      `UPDATE maestro.operations SET status = 'in_progress', holds_slot = true, attempt = 1,
         fencing_token = nextval('maestro.fencing_tokens'), lease_expires_at = now() - interval '1 h' WHERE id = $1`,
      [operation.id],
    );
    const worker = startWorker(new ToyExecutor(async () => ({})));
    worker.sweep();
    await eventually(async () => expect(await statusOf(healing)).toBe('finished'));
    expect(await statusOf(operation)).toBe('pending');
    expect(await historyOf(operation)).toEqual(['Created', 'given back: no worker is left that knows this operation']);
  });
});

describe('a write whose answer is lost', () => {
  type Answer = ExecutionResult<'add_rooms'> | ExecutionWait;
  const lost = () => new DomainError('unavailable', 'postgres.unavailable', 'the connection ended');

  /** The connection dies in a commit: the next write of this kind comes through, or not, and nobody is told which. */
  class Unanswered extends PostgresOperationStore {
    looks = 0;

    constructor(
      private readonly next: 'finish' | 'wait' | null,
      private readonly isCommitted: boolean,
      private readonly onLost: (held: HeldOperation) => Promise<unknown> = async () => undefined,
    ) {
      super(postgres.unitOfWork, postgres.listener);
    }

    override async finish(...args: Parameters<OperationStore['finish']>): Promise<void> {
      await this.write('finish', args[0], () => super.finish(...args));
    }
    override async wait(...args: Parameters<OperationStore['wait']>): Promise<void> {
      await this.write('wait', args[0], () => super.wait(...args));
    }
    /** The first look meets a database that has not come back yet. */
    override async findLeft(held: HeldOperation): Promise<Operation | null> {
      this.looks++;
      if (this.looks === 1) throw lost();
      return super.findLeft(held);
    }

    private async write(kind: 'finish' | 'wait', held: HeldOperation, work: () => Promise<void>): Promise<void> {
      if (kind !== this.next || this.looks > 0) return work();
      if (this.isCommitted) await work();
      await this.onLost(held);
      throw lost();
    }
  }

  const misleading = ({ log }: Worker) => log.lines.filter(({ level }) => level === 'warn' || level === 'error');
  const health = (delayMs: number) => ({ kind: 'health', scheduler: 'arena', delayMs });

  it('is an end all the same, and what follows an end follows', async () => {
    const operation = await insert();
    const operations = new Unanswered('finish', true);
    const worker = startWorker(new ToyExecutor(async () => ({ lookAgain: 'now', alongside: async () => ['more'] })), {
      operations,
    });
    await worker.runner.drain('arena');
    expect(operations.looks).toBe(2);
    expect(await historyOf(operation)).toEqual(['Created', 'Starting operation', 'more', 'Operation finished']);
    expect(worker.wakeUps.rings).toEqual([
      health(retryDelayMs),
      { kind: 'operations', scheduler: 'arena', delayMs: 0 },
      health(0),
    ]);
    expect(misleading(worker)).toEqual([]);
    expect(await worker.registry.metrics()).toMatch(/operation_execution_latency_count\{.*success="true"\} 1/);
  });

  it('is an end also when the lease is found to be gone first', async () => {
    const operation = await insert();
    const renewed = gate();
    class Renewing extends Unanswered {
      override async renewLease(...args: Parameters<OperationStore['renewLease']>) {
        return super.renewLease(...args).catch((error: unknown) => {
          renewed.open();
          throw error;
        });
      }
    }
    const operations = new Renewing('finish', true, () => renewed.opened);
    const worker = startWorker(new ToyExecutor(async () => ({ lookAgain: 'now' })), { operations, leaseTtlMs: 300 });
    await worker.runner.drain('arena');
    expect(await statusOf(operation)).toBe('finished');
    expect(worker.wakeUps.rings).toEqual([health(retryDelayMs), health(0)]);
    expect(misleading(worker)).toEqual([]);
  });

  it('is the end of a rollback all the same', async () => {
    const operation = await insert();
    const fail = () => Promise.reject(new DomainError('aborted', 'test.refused', 'it broke'));
    const worker = startWorker(new ToyExecutor(fail), { operations: new Unanswered('finish', true) });
    await worker.runner.drain('arena');
    expect(await statusOf(operation)).toBe('error');
    expect(worker.wakeUps.rings).toEqual([health(retryDelayMs)]);
    expect(misleading(worker).map(({ message }) => message)).toEqual(['operation failed']);
    expect(await worker.registry.metrics()).toMatch(/operation_rollback_latency_count\{.*success="true"\} 1/);
  });

  it('lets the operation wait all the same', async () => {
    const operation = await insert();
    const worker = startWorker(new ToyExecutor(async () => ({ waitMs: 60_000 })), {
      operations: new Unanswered('wait', true),
    });
    await worker.runner.drain('arena');
    expect(await historyOf(operation)).toEqual(['Created', 'Starting operation']);
    expect(worker.wakeUps.rings).toEqual([{ kind: 'operations', scheduler: 'arena', delayMs: 60_000 }]);
    expect(misleading(worker)).toEqual([]);
  });

  it.each(['finish', 'wait'] as const)('puts the operation off when it did not come through: %s', async (kind) => {
    const operation = await insert();
    const worker = startWorker(
      new ToyExecutor(async (): Promise<Answer> => (kind === 'wait' ? { waitMs: 60_000 } : {})),
      {
        operations: new Unanswered(kind, false),
      },
    );
    await worker.runner.drain('arena');
    expect(await statusOf(operation)).toBe('pending');
    expect((await historyOf(operation)).at(-1)).toBe('interrupted, it will be tried again: the connection ended');
    expect(worker.wakeUps.rings).toEqual([{ kind: 'operations', scheduler: 'arena', delayMs: retryDelayMs / 2 }]);
  });

  it('is not taken for what another worker wrote', async () => {
    const operation = await insert();
    const operations = new Unanswered('finish', false, async ({ operation: { id } }) => {
      await postgres.sql(`UPDATE maestro.operations SET lease_expires_at = now() - interval '1 s' WHERE id = $1`, [id]);
      const held = (await another.operations.claimNext('arena', 'another', 60_000))!;
      await another.operations.finish(held, { status: 'finished', hidden: false, event: 'by another worker' });
    });
    const worker = startWorker(new ToyExecutor(async () => ({ lookAgain: 'now' })), { operations });
    await worker.runner.drain('arena');
    expect((await historyOf(operation)).at(-1)).toBe('by another worker');
    expect(worker.wakeUps.rings).toEqual([health(retryDelayMs)]);
    expect(misleading(worker).map(({ message }) => message)).toEqual([
      'the lease was lost: another worker resumes this operation',
    ]);
  });

  it('is an end also to a connection that died in the very commit', async () => {
    const operation = await insert();
    const url = new URL(postgres.url);
    const between = await TcpGate.start(Number(url.port));
    url.host = between.address;
    const dataSource = await connectPostgres({
      url: String(url),
      poolSize: 2,
      applicationName: 'test-gated',
      onIdleError: () => undefined,
    });
    // The commit of an end waits for this lock.
    await postgres.sql(
      `CREATE FUNCTION maestro.hesitate() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;
       CREATE CONSTRAINT TRIGGER hesitate AFTER UPDATE ON maestro.operations DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION maestro.hesitate()`,
    );
    const untilWaiting = (kind: string) =>
      eventually(async () => {
        const waiting = await postgres.sql(
          `SELECT FROM pg_stat_activity WHERE application_name = 'test-gated' AND wait_event = $1`,
          [kind],
        );
        expect(waiting).not.toEqual([]);
      });
    try {
      const operations = new PostgresOperationStore(new PostgresUnitOfWork(dataSource), postgres.listener);
      const worker = startWorker(new ToyExecutor(async () => ({ lookAgain: 'now' })), { operations });
      let drained: Promise<void> = Promise.resolve();
      await another.unitOfWork.run(async () => {
        await another.unitOfWork.rows('SELECT pg_advisory_xact_lock(4711)');
        drained = worker.runner.drain('arena');
        await untilWaiting('advisory');
        for (const socket of between.open) socket.destroy();
        await untilWaiting('transactionid');
      });
      await drained;
      expect(await historyOf(operation)).toEqual(['Created', 'Starting operation', 'Operation finished']);
      expect(worker.wakeUps.rings).toEqual([health(retryDelayMs), health(0)]);
      expect(misleading(worker)).toEqual([]);
    } finally {
      await postgres.sql('DROP FUNCTION maestro.hesitate() CASCADE');
      await dataSource.destroy();
      await between.stop();
    }
  });

  it('keeps no process from stopping', async () => {
    await insert();
    const asked = gate();
    class Away extends Unanswered {
      override async findLeft(): Promise<never> {
        asked.open();
        throw lost();
      }
    }
    const worker = startWorker(new ToyExecutor(async () => ({})), {
      operations: new Away('finish', true),
      pauseMs: 600_000,
    });
    void worker.runner.drain('arena');
    await asked.opened;
    await worker.stop();
  });
});

describe('the log lines of an operation', () => {
  it('say which one it is and which attempt, every one of them', async () => {
    const operation = await insert();
    await postgres.sql(`UPDATE maestro.operations SET attempt = 2`);
    let looks = 0;
    const worker = startWorker(
      new ToyExecutor(
        async (execution): Promise<ExecutionWait> => {
          await execution.step('one', async () => undefined);
          if (++looks === 1) throw away();
          if (looks === 2) return { waitMs: 1 };
          throw new Error('it broke');
        },
        () => Promise.reject(new Error('and stays broken')),
      ),
    );
    worker.sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('error'));
    const lines = worker.log.lines.map(({ message, fields }) => [message, fields['attempt']]);
    expect(lines).toEqual([
      ['operation started', 3],
      ['a step of the operation begins', 3],
      ['operation interrupted; it will be tried again', 3],
      ['operation started', 4],
      ['a step of the operation begins', 4],
      ['operation waits', 4],
      ['a step of the operation begins', 1],
      ['operation failed', 1],
      ['rollback failed', 1],
    ]);
    for (const { fields } of worker.log.lines) {
      expect(fields).toMatchObject({
        scheduler_name: 'arena',
        operation_id: operation.id,
        operation_definition: 'add_rooms',
      });
    }
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
    expect(await postgres.operations.isBusy('written-by-a-stale-worker')).toBe(false);
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
      override renewLease(): Promise<never> {
        return new Promise(() => undefined);
      }
    }
    const operations = new Hanging(postgres.unitOfWork, postgres.listener);
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
    await postgres.schedulers.deleteScheduler((await postgres.schedulers.getScheduler('arena'))!);
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
    const worker = startWorker(new ToyExecutor(execute), {
      operations: new Slow(postgres.unitOfWork, postgres.listener),
    });
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
    expect(worker.wakeUps.rings).toEqual([{ kind: 'operations', scheduler: 'arena', delayMs: retryDelayMs / 2 }]);
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

  it('during a rollback has the rollback tried again, and only that, so that nothing is left half undone', async () => {
    const operation = await insert();
    let isAway = true;
    const execute = Object.assign(recorded({}), { error: new Error('it broke') });
    const worker = startWorker(
      new ToyExecutor(
        async (execution, scheduler) => {
          await execute(execution, scheduler);
          throw execute.error;
        },
        () => (isAway ? Promise.reject(away()) : Promise.resolve()),
      ),
    );
    await worker.runner.drain('arena');
    expect(await statusOf(operation)).toBe('pending');
    expect(worker.wakeUps.rings).toEqual([{ kind: 'operations', scheduler: 'arena', delayMs: retryDelayMs / 2 }]);
    isAway = false;
    worker.sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('error'));
    expect((await historyOf(operation)).slice(4)).toEqual([
      'Starting operation rollback',
      'interrupted, it will be tried again: the runtime is away',
      'Resuming operation rollback, attempt 2',
      'Operation rollback flow execution finished with success',
      'Operation finished',
    ]);
    expect(execute.calls).toBe(1);
  });
});

describe('a runtime that refuses a worker', () => {
  const forbidden = () =>
    new DomainError(
      'permission_denied',
      'runtime.forbidden',
      'pods is forbidden: User "bad" cannot create resource "pods"',
    );
  const unknown = () => new DomainError('unavailable', 'runtime.unauthenticated', 'Unauthorized');
  const refused = (error: () => DomainError) => {
    const refuse = Object.assign(
      async (): Promise<never> => {
        refuse.calls++;
        throw error();
      },
      { calls: 0 },
    );
    return refuse;
  };

  it.each([
    ['that lacks a right', forbidden],
    ['whose credentials it does not know', unknown],
  ])('%s costs no operation: another worker does it', async (_which, error) => {
    const operation = await insert();
    const refuse = refused(error);
    const bad = startWorker(new ToyExecutor(refuse), { pauseMs: 2_000 });
    await bad.runner.drain('arena');
    expect(await statusOf(operation)).toBe('pending');
    const good = startWorker(new ToyExecutor(async () => ({})));
    bad.sweep();
    good.sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('finished'));
    expect(refuse.calls).toBe(1);
    const message = error().message;
    expect(await historyOf(operation)).toEqual([
      'Created',
      'Starting operation',
      expect.stringMatching(/^the runtime refuses this worker \(worker-\d+\), another may take it: /),
      'Resuming operation, attempt 2',
      'Operation finished',
    ]);
    expect((await historyOf(operation))[2]).toContain(message);
    expect(bad.log.lines).toContainEqual(
      expect.objectContaining({
        level: 'warn',
        message: "operation given back: the runtime refuses this worker's credentials or rights",
        fields: expect.objectContaining({ err: message }),
      }),
    );
  });

  it.each([
    ['takes no more of that scheduler for a while where it lacks a right', forbidden, 1],
    ['takes nothing for a while where nobody knows it', unknown, 0],
  ])('%s', async (_which, error, others) => {
    await insert();
    const bad = startWorker(new ToyExecutor(refused(error)), { pauseMs: 60_000 });
    await bad.runner.drain('arena');
    bad.wakeUps.rings.length = 0;
    const [next, other] = [await insert('arena'), await insert('other')];
    await Promise.all([bad.runner.drain('arena'), bad.runner.drain('other')]);
    expect(await statusOf(next)).toBe('pending');
    expect(await historyOf(next)).toEqual(['Created']);
    expect((await historyOf(other)).length > 1).toBe(others === 1);
    // Whoever waits for the ring hears it when it is this worker's turn again.
    const rung = bad.wakeUps.rings.filter(({ scheduler }) => scheduler === 'arena');
    expect(rung).toEqual([{ kind: 'operations', scheduler: 'arena', delayMs: expect.any(Number) }]);
    expect(rung[0]!.delayMs).toBeGreaterThan(60_000);
  });

  it('for too long makes the operation fail, with what was refused', async () => {
    const operation = await insert();
    const worker = startWorker(new ToyExecutor(refused(forbidden)), { maxAttempts: 3, pauseMs: 10 });
    worker.sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('error'));
    expect((await historyOf(operation)).slice(-5)[0]).toBe(forbidden().message);
  });

  it('ends the operation at its deadline, however often it was refused', async () => {
    const operation = await insert();
    const worker = startWorker(new ToyExecutor(refused(forbidden)), {
      maxAttempts: 10_000,
      pauseMs: 10,
      deadlineMs: 300,
    });
    worker.sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('error'));
    expect(await historyOf(operation)).toContain('add_rooms did not end within its deadline of 0.3 s');
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
      override async claimNext(...args: Parameters<OperationStore['claimNext']>): Promise<HeldOperation | null> {
        const [scheduler] = args;
        const held = await super.claimNext(...args);
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
    const worker = startWorker(new ToyExecutor(async () => ({})), {
      operations: new Ringing(postgres.unitOfWork, postgres.listener),
    });
    const names = Array.from({ length: turns }, (_, index) => String(index));
    await Promise.all(names.map((name) => worker.runner.drain(name)));
    await eventually(
      async () => {
        for (const name of names) expect([name, await postgres.operations.isBusy(name)]).toEqual([name, false]);
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
        for (const scheduler of schedulers) expect(await postgres.operations.isBusy(scheduler)).toBe(false);
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

describe('an operation that waits', () => {
  const longMs = 60_000;
  type Answer = ExecutionResult<'delete_scheduler'> | ExecutionWait;

  it('gives slot and worker back, and goes on when its bell rings: once per ring', async () => {
    const operation = await insertDeletion();
    const seen: unknown[] = [];
    const worker = startWorker(
      new ToyExecutor(
        async (execution): Promise<Answer> => {
          seen.push(execution.progress);
          if (seen.length === 3) return {};
          await execution.saveProgress({ looks: seen.length });
          return { waitMs: longMs };
        },
        undefined,
        'delete_scheduler',
      ),
    );
    for (const looks of [1, 2]) {
      await worker.runner.drain('arena');
      expect(seen).toHaveLength(looks);
      expect(await statusOf(operation)).toBe('in_progress');
      expect(await postgres.operations.isBusy('arena')).toBe(false);
    }
    expect(worker.wakeUps.rings).toEqual(
      Array.from({ length: 2 }, () => ({ kind: 'operations', scheduler: 'arena', delayMs: longMs })),
    );
    await worker.runner.drain('arena');
    expect(seen).toEqual([{}, { looks: 1 }, { looks: 2 }]);
    expect(await historyOf(operation)).toEqual(['Created', 'Starting operation', 'Operation finished']);
  });

  it('is looked at once more when the bell rings while it looks', async () => {
    await insertDeletion();
    let looks = 0;
    const worker = startWorker(
      new ToyExecutor(
        async () => {
          looks++;
          if (looks === 1) void worker.runner.drain('arena');
          return { waitMs: longMs };
        },
        undefined,
        'delete_scheduler',
      ),
    );
    await worker.runner.drain('arena');
    expect(looks).toBe(2);
  });

  it('goes on at its time when nobody rings, and not before because something else is due', async () => {
    const operation = await insertDeletion();
    const ran: string[] = [];
    const worker = startWorker([
      new ToyExecutor(
        async (): Promise<Answer> => {
          ran.push('deletion');
          return ran.length === 1 ? { waitMs: longMs } : {};
        },
        undefined,
        'delete_scheduler',
      ),
      new ToyExecutor(async () => {
        ran.push('healing');
        return {};
      }),
    ]);
    worker.sweep();
    await eventually(() => expect(ran).toEqual(['deletion']));
    const healing = await insert();
    await eventually(async () => expect(await statusOf(healing)).toBe('finished'));
    expect(ran).toEqual(['deletion', 'healing']);
    await postgres.sql(`UPDATE maestro.operations SET not_before = now() WHERE id = $1`, [operation.id]);
    await eventually(async () => expect(await statusOf(operation)).toBe('finished'));
    expect(ran).toEqual(['deletion', 'healing', 'deletion']);
  });

  it('lets what heals run beside it, by another worker too and one at a time, and nothing else', async () => {
    const operation = await insertDeletion();
    let isDone = false;
    const running = { now: 0, most: 0, healed: 0 };
    const executors = [
      new ToyExecutor(async (): Promise<Answer> => (isDone ? {} : { waitMs: 20 }), undefined, 'delete_scheduler'),
      new ToyExecutor(async (execution) => {
        running.now++;
        running.most = Math.max(running.most, running.now);
        await execution.record('healing');
        running.now--;
        running.healed++;
        return {};
      }),
      new ToyExecutor(async () => ({}), undefined, 'create_scheduler'),
    ];
    const worker = startWorker(executors);
    await worker.runner.drain('arena');
    const input = { scheduler: {} };
    const other = (await postgres.operations.insert({
      scheduler: 'arena',
      definition: 'create_scheduler',
      input,
      actor: 'api',
    }))!;
    for (let count = 0; count < 5; count++) await insert();
    worker.sweep();
    startWorker(executors, { stores: another }).sweep();
    await eventually(() => expect(running.healed).toBe(5));
    expect(running.most).toBe(1);
    expect(await statusOf(operation)).toBe('in_progress');
    expect(await statusOf(other)).toBe('pending');
    isDone = true;
    await eventually(async () => expect(await statusOf(other)).toBe('finished'));
  });

  it('has its interruptions counted anew: only those in a row make it fail', async () => {
    const operation = await insertDeletion();
    let looks = 0;
    const worker = startWorker(
      new ToyExecutor(
        async (): Promise<Answer> => {
          looks++;
          if (looks === 7) return {};
          if (looks % 2 === 1) throw away();
          return { waitMs: 1 };
        },
        undefined,
        'delete_scheduler',
      ),
      { maxAttempts: 3 },
    );
    worker.sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('finished'));
    expect((await historyOf(operation)).filter((event) => event.startsWith('Resuming'))).toEqual(
      Array.from({ length: 3 }, () => 'Resuming operation, attempt 2'),
    );
  });
});

describe('a cancel', () => {
  const canceledHistory = [
    'cancellation requested',
    'context canceled',
    'Starting operation rollback',
    'undone',
    'Operation rollback flow execution finished with success',
    'Operation finished',
  ];
  const undo: Step<void> = async (execution) => {
    expect(execution.signal.aborted).toBe(false);
    expect(execution.rollback).toBe('canceled');
    await execution.record('undone');
  };
  /** Begins, and ends with its signal. */
  const until = (started: { open(): void }): Step<ExecutionResult<'add_rooms'>> => {
    return ({ signal }) => {
      started.open();
      return aborted(signal);
    };
  };
  const followed = (): Promise<void> =>
    eventually(async () => {
      const rows = await postgres.sql(
        `SELECT FROM pg_stat_activity WHERE query = 'LISTEN maestro_cancels' AND state = 'idle'`,
      );
      expect(rows).toHaveLength(workers.length);
    });

  it('of an operation that nobody took up ends it there, and no worker ever runs it', async () => {
    const operation = await insert();
    expect(await requestCancel(operation)).toMatchObject({ answer: 'canceled' });
    const execute = recorded({});
    await startWorker(new ToyExecutor(execute)).runner.drain('arena');
    expect(execute.calls).toBe(0);
    expect(await statusOf(operation)).toBe('canceled');
  });

  it('stops an operation that runs, through whichever process it came, and rolls it back', async () => {
    const operation = await insert();
    const bystander = startWorker(new ToyExecutor(async () => ({})), { stores: another });
    const started = gate();
    // With this lease no renewal comes in time: it is the notification that tells.
    const worker = startWorker(new ToyExecutor(until(started), undo), { leaseTtlMs: 600_000 });
    await followed();
    const drained = worker.runner.drain('arena');
    await started.opened;
    expect(await requestCancel(operation)).toMatchObject({ answer: 'requested' });
    await bystander.runner.drain('arena');
    await drained;
    expect(await statusOf(operation)).toBe('canceled');
    expect(await historyOf(operation)).toEqual(['Created', 'Starting operation', ...canceledHistory]);
    expect(worker.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
    expect(worker.wakeUps.rings).toEqual([{ kind: 'health', scheduler: 'arena', delayMs: retryDelayMs }]);
    const metrics = await worker.registry.metrics();
    expect(metrics).toMatch(/operation_execution_latency_count\{.*success="false"\} 1/);
    expect(metrics).toMatch(/operation_rollback_latency_count\{.*success="true"\} 1/);
  });

  it('that was not heard of is told by the next renewal of the lease', async () => {
    class Deaf extends PostgresOperationStore {
      override async watchCancels(): Promise<void> {}
    }
    const operation = await insert();
    const started = gate();
    const worker = startWorker(new ToyExecutor(until(started), undo), {
      operations: new Deaf(postgres.unitOfWork, postgres.listener),
      leaseTtlMs: 300,
    });
    const drained = worker.runner.drain('arena');
    await started.opened;
    await requestCancel(operation);
    await drained;
    expect(await historyOf(operation)).toEqual(['Created', 'Starting operation', ...canceledHistory]);
  });

  it('is heard although the claim was committed and not yet answered', async () => {
    const operation = await insert();
    const heard = gate();
    class SlowToAnswer extends PostgresOperationStore {
      override async claimNext(...parameters: Parameters<OperationStore['claimNext']>) {
        const held = await super.claimNext(...parameters);
        if (held !== null) {
          await requestCancel(operation);
          await heard.opened;
        }
        return held;
      }
      override watchCancels(onCancel: (operationId: string) => void, signal: AbortSignal): Promise<void> {
        const tell = (id: string): void => {
          onCancel(id);
          heard.open();
        };
        return super.watchCancels(tell, signal);
      }
    }
    const worker = startWorker(new ToyExecutor(({ signal }) => aborted(signal), undo), {
      operations: new SlowToAnswer(postgres.unitOfWork, postgres.listener),
      leaseTtlMs: 600_000,
    });
    await followed();
    await worker.runner.drain('arena');
    expect(await statusOf(operation)).toBe('canceled');
  });

  it('of an operation that waits does not wait for its time', async () => {
    const operation = await insert();
    const execute = recorded<ExecutionWait>({ waitMs: 60_000 });
    const worker = startWorker(new ToyExecutor(execute, undo));
    await worker.runner.drain('arena');
    expect(await requestCancel(operation)).toMatchObject({ answer: 'requested' });
    worker.sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('canceled'));
    expect(await historyOf(operation)).toEqual(['Created', 'Starting operation', ...canceledHistory]);
    expect(execute.calls).toBe(1);
  });

  it('that comes while an operation decides to wait is not forgotten for as long as it waits', async () => {
    const operation = await insert();
    const worker = startWorker(
      new ToyExecutor(async ({ signal }) => {
        await requestCancel(operation);
        await aborted(signal).catch(() => undefined);
        return { waitMs: 60_000 };
      }, undo),
    );
    await followed();
    await worker.runner.drain('arena');
    expect(await historyOf(operation)).toEqual(['Created', 'Starting operation', ...canceledHistory]);
  });

  it('of an operation that was given back rolls back what its attempts began', async () => {
    const operation = await insert();
    const execute = recorded({});
    const worker = startWorker(
      new ToyExecutor(async (execution, scheduler) => {
        await execute(execution, scheduler);
        throw away();
      }, undo),
    );
    await worker.runner.drain('arena');
    await postgres.sql(`UPDATE maestro.operations SET not_before = now() + interval '1 h'`);
    expect(await requestCancel(operation)).toMatchObject({ answer: 'requested' });
    worker.sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('canceled'));
    expect((await historyOf(operation)).slice(3)).toEqual(canceledHistory);
    expect(execute.calls).toBe(1);
  });

  it('of an operation whose worker died is carried out by the one that takes it over', async () => {
    const operation = await insert();
    const dead = (await postgres.operations.claimNext('arena', 'dead', 60_000))!;
    await requestCancel(operation);
    await postgres.sql(`UPDATE maestro.operations SET lease_expires_at = now()`);
    const execute = recorded({});
    startWorker(new ToyExecutor(execute, undo)).sweep();
    await eventually(async () => expect(await statusOf(dead.operation)).toBe('canceled'));
    expect(await historyOf(operation)).toEqual(['Created', ...canceledHistory]);
    expect(execute.calls).toBe(0);
  });

  it('is the end of an operation that failed before it heard of it', async () => {
    const operation = await insert();
    const worker = startWorker(
      new ToyExecutor(async () => {
        await requestCancel(operation);
        throw new Error('the scheduler goes away');
      }, undo),
      { leaseTtlMs: 600_000 },
    );
    await worker.runner.drain('arena');
    expect(await statusOf(operation)).toBe('canceled');
  });

  it.each(['it heard of', 'it did not hear of'])(
    'that %s undoes also what was done to the last step',
    async (which) => {
      const operation = await insert();
      const execution = async ({ signal }: Execution<'add_rooms'>) => {
        await requestCancel(operation);
        return which === 'it heard of' ? aborted(signal).catch(() => ({})) : {};
      };
      class Deaf extends PostgresOperationStore {
        override async watchCancels(): Promise<void> {}
      }
      const worker =
        which === 'it heard of'
          ? startWorker(new ToyExecutor(execution, undo))
          : startWorker(new ToyExecutor(execution, undo), {
              operations: new Deaf(postgres.unitOfWork, postgres.listener),
            });
      if (which === 'it heard of') await followed();
      await worker.runner.drain('arena');
      expect(await historyOf(operation)).toEqual(['Created', 'Starting operation', ...canceledHistory]);
    },
  );

  it('comes too late for what cannot be undone', async () => {
    const operation = await insert();
    const rollback = recorded(undefined);
    const worker = startWorker(
      new ToyExecutor(async ({ signal }) => {
        await requestCancel(operation);
        await aborted(signal).catch(() => undefined);
        return { irrevocable: true };
      }, rollback),
    );
    await followed();
    await worker.runner.drain('arena');
    expect([await statusOf(operation), rollback.calls]).toEqual(['finished', 0]);
  });

  it('does not act beside an executor that does not heed its signal', async () => {
    const operation = await insert();
    const asked = gate();
    const proceed = gate();
    const rollback = recorded(undefined);
    const worker = startWorker(
      new ToyExecutor(async ({ signal }) => {
        await requestCancel(operation);
        await aborted(signal).catch(() => asked.open());
        await proceed.opened;
        throw new Error('too late');
      }, rollback),
    );
    await followed();
    const drained = worker.runner.drain('arena');
    await asked.opened;
    expect([rollback.calls, await statusOf(operation)]).toEqual([0, 'in_progress']);
    proceed.open();
    await drained;
    expect([rollback.calls, await statusOf(operation)]).toEqual([1, 'canceled']);
  });

  it('whose rollback fails leaves no state that only the operation would have ended', async () => {
    const operation = await insert();
    const abandoned: string[] = [];
    class Stuck extends ToyExecutor {
      override async abandon(): Promise<void> {
        const { operation: seen } = (await another.operations.get(operation.scheduler, operation.id))!;
        abandoned.push(seen.status);
      }
    }
    const worker = startWorker(
      new Stuck(
        () => Promise.reject(new Error('it broke')),
        () => Promise.reject(new Error('it cannot be undone')),
      ),
    );
    await worker.runner.drain('arena');
    // Seen from outside the transaction of the end.
    expect([abandoned, await statusOf(operation)]).toEqual([['in_progress'], 'error']);
  });

  it('waits for the end of a back-off when its rollback met something away', async () => {
    const operation = await insert();
    let rollbacks = 0;
    const worker = startWorker(
      new ToyExecutor(
        async ({ signal }) => {
          await requestCancel(operation);
          return aborted(signal);
        },
        async () => {
          rollbacks += 1;
          throw away();
        },
      ),
      { pauseMs: 600_000 },
    );
    await followed();
    await worker.runner.drain('arena');
    await worker.runner.drain('arena');
    expect([rollbacks, await statusOf(operation)]).toEqual([1, 'pending']);
  });

  it('ends as canceled, with the reason, when the rollback fails', async () => {
    const operation = await insert();
    const started = gate();
    const worker = startWorker(new ToyExecutor(until(started), () => Promise.reject(new Error('it cannot be undone'))));
    await followed();
    const drained = worker.runner.drain('arena');
    await started.opened;
    await requestCancel(operation);
    await drained;
    expect(await statusOf(operation)).toBe('canceled');
    expect((await historyOf(operation)).slice(-2)).toEqual([
      'Operation rollback flow execution failed, reason: it cannot be undone',
      'Operation finished',
    ]);
  });

  it('of an operation that rolls back already changes nothing', async () => {
    const operation = await insert();
    const worker = startWorker(
      new ToyExecutor(
        () => Promise.reject(new Error('it broke')),
        async ({ signal }) => {
          await requestCancel(operation);
          await eventually(async () => {
            const renewed = await postgres.sql(
              `SELECT FROM maestro.operations WHERE lease_expires_at > cancel_requested_at + interval '400 ms'`,
            );
            expect(renewed).toHaveLength(1);
          });
          expect(signal.aborted).toBe(false);
        },
      ),
      { leaseTtlMs: 300 },
    );
    await worker.runner.drain('arena');
    expect(await statusOf(operation)).toBe('error');
    expect((await historyOf(operation)).at(-2)).toBe('Operation rollback flow execution finished with success');
  });
});

describe('a rollback', () => {
  const fails = () => Promise.reject(new Error('it broke'));

  it.each(['error', 'canceled'] as const)('to %s is all that another worker resumes', async (outcome) => {
    const operation = await insert();
    const dead = (await postgres.operations.claimNext('arena', 'dead', 60_000))!;
    await postgres.operations.saveProgress(dead, { step: 1 });
    await postgres.operations.beginRollback(dead, outcome, ['why', 'Starting operation rollback']);
    await postgres.sql(`UPDATE maestro.operations SET lease_expires_at = now()`);
    const execute = recorded({});
    const seen: unknown[] = [];
    startWorker(
      new ToyExecutor(execute, async ({ progress, rollback }) => {
        seen.push(progress, rollback);
      }),
      { stores: another },
    ).sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe(outcome));
    expect(await historyOf(operation)).toEqual([
      'Created',
      'why',
      'Starting operation rollback',
      'Resuming operation rollback, attempt 2',
      'Operation rollback flow execution finished with success',
      'Operation finished',
    ]);
    expect(seen).toEqual([{ step: 1 }, outcome]);
    expect(execute.calls).toBe(0);
  });

  it('is stopped by a lost lease, and nothing is written then', async () => {
    const operation = await insert();
    const worker = startWorker(new ToyExecutor(fails, ({ signal }) => aborted(signal)), { leaseTtlMs: 150 });
    const drained = worker.runner.drain('arena');
    await eventually(async () => expect(await historyOf(operation)).toContain('Starting operation rollback'));
    await eventually(async () => {
      await postgres.sql(`UPDATE maestro.operations SET lease_expires_at = now() - interval '1 s'`);
      expect(await another.operations.claimNext('arena', 'another', 60_000)).toMatchObject({ rollback: 'error' });
    });
    await drained;
    expect((await historyOf(operation)).at(-1)).toBe('Starting operation rollback');
    expect(await statusOf(operation)).toBe('in_progress');
  });

  it('is handed over by a worker that stops, and brought to its end by another one', async () => {
    const operation = await insert();
    const started = gate();
    const worker = startWorker(
      new ToyExecutor(fails, ({ signal }) => {
        started.open();
        return aborted(signal);
      }),
    );
    void worker.runner.drain('arena');
    await started.opened;
    await worker.stop();
    expect(await statusOf(operation)).toBe('pending');
    expect(worker.wakeUps.rings).toEqual([{ kind: 'operations', scheduler: 'arena', delayMs: 0 }]);
    const execute = recorded({});
    await startWorker(new ToyExecutor(execute), { stores: another }).runner.drain('arena');
    expect(await statusOf(operation)).toBe('error');
    expect((await historyOf(operation)).slice(4)).toEqual([
      'Starting operation rollback',
      'the worker stops: another one resumes this operation',
      'Resuming operation rollback, attempt 2',
      'Operation rollback flow execution finished with success',
      'Operation finished',
    ]);
    expect(execute.calls).toBe(0);
  });

  it('that is interrupted again and again ends with its reason, after as many tries as the way forward had', async () => {
    const operation = await insert();
    await postgres.sql(`UPDATE maestro.operations SET attempt = 3`);
    let tries = 0;
    const worker = startWorker(
      new ToyExecutor(
        async () => ({}),
        () => {
          tries++;
          return Promise.reject(away());
        },
      ),
      { maxAttempts: 3 },
    );
    worker.sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('error'));
    expect(tries).toBe(3);
    expect((await historyOf(operation)).slice(-3)).toEqual([
      'Resuming operation rollback, attempt 3',
      'Operation rollback flow execution failed, reason: the runtime is away',
      'Operation finished',
    ]);
  });

  it('whose workers die again and again is given up', async () => {
    const operation = await insert();
    const dead = (await postgres.operations.claimNext('arena', 'dead', 60_000))!;
    await postgres.operations.beginRollback(dead, 'canceled', []);
    await postgres.sql(`UPDATE maestro.operations SET attempt = 3, lease_expires_at = now()`);
    const rollback = recorded(undefined);
    startWorker(new ToyExecutor(async () => ({}), rollback), { maxAttempts: 3 }).sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('canceled'));
    expect(rollback.calls).toBe(0);
    expect((await historyOf(operation)).at(-2)).toBe(
      'Operation rollback flow execution failed, reason: gave up after 3 attempts that did not reach an end',
    );
  });

  it('has a deadline of its own', async () => {
    const operation = await insert();
    const worker = startWorker(new ToyExecutor(fails, ({ signal }) => aborted(signal)), { rollbackDeadlineMs: 30 });
    await worker.runner.drain('arena');
    expect(await statusOf(operation)).toBe('error');
    expect((await historyOf(operation)).at(-2)).toBe(
      'Operation rollback flow execution failed, reason: the rollback of add_rooms did not end within its deadline of 0.03 s',
    );
  });
});

describe('the deadline of an operation', () => {
  const overdue = (seconds: number) => [
    `add_rooms did not end within its deadline of ${seconds} s`,
    'operation execution failed',
    'Starting operation rollback',
    'undone',
    'Operation rollback flow execution finished with success',
    'Operation finished',
  ];
  const undo: Step<void> = async (execution) => {
    expect([execution.signal.aborted, execution.rollback]).toEqual([false, 'error']);
    await execution.record('undone');
  };

  it.each<[string, Step<ExecutionResult<'add_rooms'>>]>([
    ['throws its signal on', ({ signal }) => aborted(signal)],
    ['makes an outage of it', ({ signal }) => aborted(signal).catch(() => Promise.reject(away()))],
  ])('stops it while it runs, and is the reason also where the executor %s', async (_, execute) => {
    const operation = await insert();
    await startWorker(new ToyExecutor(execute, undo), { deadlineMs: 50 }).runner.drain('arena');
    expect(await statusOf(operation)).toBe('error');
    expect(await historyOf(operation)).toEqual(['Created', 'Starting operation', ...overdue(0.05)]);
  });

  it('ends its waiting: it never waits beyond', async () => {
    const operation = await insert();
    const execute = recorded<ExecutionWait>({ waitMs: 60_000 });
    const worker = startWorker(new ToyExecutor(execute, undo), { deadlineMs: 300 });
    worker.sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('error'));
    expect(await historyOf(operation)).toEqual(['Created', 'Starting operation', ...overdue(0.3)]);
    expect(worker.wakeUps.rings[0]).toMatchObject({ kind: 'operations', delayMs: expect.any(Number) });
    expect(worker.wakeUps.rings[0]!.delayMs).toBeLessThanOrEqual(300);
  });

  it('counts from when the first worker took it up', async () => {
    const operation = await insert();
    await postgres.operations.claimNext('arena', 'dead', 60_000);
    await postgres.sql(
      `UPDATE maestro.operations SET started_at = started_at - interval '1 h', lease_expires_at = now()`,
    );
    const execute = recorded({});
    startWorker(new ToyExecutor(execute, undo), { deadlineMs: 3_600_000 }).sweep();
    await eventually(async () => expect(await statusOf(operation)).toBe('error'));
    expect(execute.calls).toBe(0);
    expect((await historyOf(operation)).slice(2)).toEqual(overdue(3_600));
  });

  it('is further away where the executor says so', async () => {
    const operation = await insert();
    const executor = new ToyExecutor(async ({ signal }) => {
      signal.throwIfAborted();
      return {};
    });
    executor.extraMs = 600_000;
    await postgres.sql(`UPDATE maestro.operations SET started_at = now() - interval '1 min'`);
    await startWorker(executor, { deadlineMs: 1_000 }).runner.drain('arena');
    expect(await statusOf(operation)).toBe('finished');
  });

  it('may be longer than a timer can be set to', async () => {
    const operation = await insert();
    const worker = startWorker(
      new ToyExecutor(async ({ signal }) => {
        // One that cannot be set that far fires as if set to 1 ms: before this one.
        await new Promise((resolve) => setTimeout(resolve, 5));
        signal.throwIfAborted();
        return {};
      }),
      { deadlineMs: 2 ** 32 },
    );
    await worker.runner.drain('arena');
    expect(await statusOf(operation)).toBe('finished');
  });
});

describe('the steps of an operation', () => {
  let published: string[];
  const listener = (message: unknown): void => {
    const { definition, step, edge, operationId } = message as OperationStep;
    expect([definition, operationId]).toEqual(['add_rooms', expect.any(String)]);
    published.push(`${edge} ${step}`);
  };
  beforeEach(() => {
    published = [];
    subscribe('maestro:operation-step', listener);
  });
  afterEach(() => {
    unsubscribe('maestro:operation-step', listener);
  });

  it('are published, with what the runner writes around them', async () => {
    await insert();
    let looks = 0;
    const worker = startWorker(
      new ToyExecutor(async (execution): Promise<ExecutionResult<'add_rooms'> | ExecutionWait> => {
        expect(await execution.step('one', async () => 'an answer')).toBe('an answer');
        if (++looks === 1) return { waitMs: 60_000 };
        await execution.step('two', async () => undefined);
        return {};
      }),
    );
    await worker.runner.drain('arena');
    expect(published).toEqual([
      'before claimed',
      'after claimed',
      'before one',
      'after one',
      'before waiting',
      'after waiting',
    ]);
    published.length = 0;
    await worker.runner.drain('arena');
    expect(published).toEqual([
      'before claimed',
      'after claimed',
      'before one',
      'after one',
      'before two',
      'after two',
      'before ended',
      'after ended',
    ]);
    expect(worker.log.lines.filter(({ level, fields }) => level === 'debug' && 'step' in fields)).toHaveLength(3);
  });

  it('are not told to be over when they failed; a rollback has its own', async () => {
    await insert();
    const worker = startWorker(
      new ToyExecutor(
        async (execution) => {
          await execution.step('one', () => Promise.reject(new Error('it broke')));
          return {};
        },
        (execution) => execution.step('undo', async () => undefined),
      ),
    );
    await worker.runner.drain('arena');
    expect(published).toEqual([
      'before claimed',
      'after claimed',
      'before one',
      'before rolling back',
      'after rolling back',
      'before undo',
      'after undo',
      'before ended',
      'after ended',
    ]);
  });

  it('do not begin once the signal aborted', async () => {
    await insert();
    const work = recorded(undefined);
    const worker = startWorker(
      new ToyExecutor(async (execution) => {
        await aborted(execution.signal).catch(() => undefined);
        await execution.step('one', () => work(execution, null));
        return {};
      }),
      { deadlineMs: 20 },
    );
    await worker.runner.drain('arena');
    expect(work.calls).toBe(0);
    expect(published).not.toContain('before one');
  });

  it('are refused when the executor does not declare them', async () => {
    const operation = await insert();
    const worker = startWorker(
      new ToyExecutor(async (execution) => {
        await execution.step('three', async () => undefined);
        return {};
      }),
    );
    await worker.runner.drain('arena');
    expect(await historyOf(operation)).toContain('add_rooms declares no step "three"');
  });
});

describe('what an executor writes with the end of its operation', () => {
  it('is written when the operation has left its gates, and told before the last line', async () => {
    const operation = await insert();
    const worker = startWorker(
      new ToyExecutor(async () => ({
        alongside: async () => {
          const next = await insertInside();
          return [`ordered ${next.id}`];
        },
      })),
    );
    const ordered: Operation[] = [];
    const insertInside = async (): Promise<Operation> => {
      ordered.push(await insert('other'));
      return ordered[0]!;
    };
    await worker.runner.drain('arena');
    expect((await historyOf(operation)).slice(-2)).toEqual([`ordered ${ordered[0]!.id}`, 'Operation finished']);
    expect(worker.wakeUps.rings).toEqual([{ kind: 'operations', scheduler: 'arena', delayMs: 0 }]);
  });

  it('makes the operation fail when it is refused, and leaves nothing of it', async () => {
    const operation = await insert();
    const worker = startWorker(
      new ToyExecutor(async () => ({
        alongside: async () => {
          await insert('other');
          throw new DomainError('aborted', 'test.refused', 'somebody was faster');
        },
      })),
    );
    await worker.runner.drain('arena');
    expect(await statusOf(operation)).toBe('error');
    expect(await historyOf(operation)).toContain('somebody was faster');
    expect(await postgres.operations.isBusy('other')).toBe(false);
  });

  it('is no progress any more when its transaction failed', async () => {
    await insert();
    const seen: unknown[] = [];
    const worker = startWorker(
      new ToyExecutor(
        async (execution) => {
          await execution.commit(async () => {
            await execution.saveProgress({ done: true });
            throw new Error('it broke');
          });
          return {};
        },
        async ({ progress }) => {
          seen.push(progress);
        },
      ),
    );
    await worker.runner.drain('arena');
    expect(seen).toEqual([{}]);
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
