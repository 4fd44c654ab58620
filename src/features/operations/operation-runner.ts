import { Injectable } from '@nestjs/common';
import { DomainError, messageOf } from '../../domain/errors';
import type { Operation } from '../../domain/operation/operation';
import type { Scheduler } from '../../domain/scheduler/scheduler';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { OperationStore, type HeldOperation } from '../../ports/operation-store';
import { SchedulerStore } from '../../ports/scheduler-store';
import { UnitOfWork } from '../../ports/unit-of-work';
import { WakeUps } from '../../ports/wake-ups';
import { Slots } from '../slots';
import { ExecutorRegistry, type Execution, type ExecutionResult, type Executor } from './executor';

export class OperationRunnerOptions {
  /** Who this process is, in leases and log lines. Unique per process start. */
  readonly owner!: string;
  /** An operation whose lease is not renewed for this long is taken over. Milliseconds; v10 5,000. */
  readonly leaseTtlMs!: number;
  /** Schedulers whose operations run side by side in this process. */
  readonly concurrency!: number;
  /** How often an operation is tried when what it needs (Postgres, Redis, the runtime) is away. */
  readonly maxAttempts!: number;
  /**
   * When an operation failed, the scheduler's health is looked at again after this long; one that was interrupted because
   * something is away waits at most this long. Milliseconds.
   */
  readonly retryDelayMs!: number;
}

/** What is away may be back soon: the pause doubles from here up to `retryDelayMs`. Milliseconds. */
const firstRetryDelayMs = 250;

const shutdown = Symbol('shutdown');
const leaseLost = Symbol('lease lost');

/**
 * Runs a scheduler's operations one after the other until none is left. Which one, and whether this process may, is the
 * store's decision; this class only drives the executor, renews the lease and writes the end.
 */
@Injectable()
export class OperationRunner {
  private readonly draining = new Map<string, Promise<void>>();
  private readonly rungAgain = new Set<string>();
  private readonly running = new Set<AbortController>();
  private readonly slots: Slots;
  private stopping = false;

  constructor(
    private readonly operations: OperationStore,
    private readonly schedulers: SchedulerStore,
    private readonly unitOfWork: UnitOfWork,
    private readonly executors: ExecutorRegistry,
    private readonly wakeUps: WakeUps,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: OperationRunnerOptions,
  ) {
    this.slots = new Slots(options.concurrency);
  }

  /** Runs what there is to run. Calls for the same scheduler share one run; a call during it makes it look once more. */
  drain(scheduler: string): Promise<void> {
    if (this.stopping) return Promise.resolve();
    const current = this.draining.get(scheduler);
    if (current !== undefined) {
      this.rungAgain.add(scheduler);
      return current;
    }
    const run = this.slots.run(() => this.drainAll(scheduler));
    this.draining.set(scheduler, run);
    return run;
  }

  /** Until `signal` aborts; then takes nothing more and gives running work back for another worker to resume. */
  async run(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    this.stopping = true;
    for (const controller of this.running) controller.abort(shutdown);
    await Promise.allSettled(this.draining.values());
  }

  private async drainAll(scheduler: string): Promise<void> {
    try {
      do {
        this.rungAgain.delete(scheduler);
        while (!this.stopping) {
          const askedAt = performance.now();
          const held = await this.claim(scheduler);
          if (held === null || !(await this.runOne(held, askedAt))) break;
        }
      } while (!this.stopping && this.rungAgain.has(scheduler));
    } finally {
      // In the same moment as the last look for a ring: none can fall in between and be lost.
      this.draining.delete(scheduler);
    }
  }

  private async claim(scheduler: string): Promise<HeldOperation | null> {
    try {
      return await this.operations.claimNext(scheduler, this.options.owner, this.options.leaseTtlMs);
    } catch (error) {
      this.metrics.operationWorkerFailed(scheduler, '', 'next_operation_failed');
      this.logger.warn({ scheduler_name: scheduler, err: messageOf(error) }, 'the next operation could not be taken');
      return null;
    }
  }

  /** False when the operation was given back because something is away: the sweep comes back to it, later. */
  private async runOne(held: HeldOperation, askedAt: number): Promise<boolean> {
    const { operation } = held;
    const logger = this.logger.child({
      scheduler_name: operation.scheduler,
      operation_id: operation.id,
      operation_definition: operation.definition,
    });
    const controller = new AbortController();
    this.running.add(controller);
    // The claim was on its way when the process was told to stop: `run` had no controller of it to abort.
    if (this.stopping) controller.abort(shutdown);
    const stopRenewal = this.keepLease(held, askedAt, controller, logger);
    try {
      return await this.runHeld(held, controller, logger);
    } catch (error) {
      if (controller.signal.reason === leaseLost || isLeaseLost(error)) {
        logger.warn({}, 'the lease was lost: another worker resumes this operation');
      } else {
        // The end could not be written: the lease runs out and another attempt writes it.
        this.metrics.operationWorkerFailed(operation.scheduler, '', 'start_operation_failed');
        logger.warn({ err: messageOf(error) }, 'the operation could not be brought to its end; it will be resumed');
      }
      return false;
    } finally {
      stopRenewal();
      this.running.delete(controller);
    }
  }

  private async runHeld(held: HeldOperation, controller: AbortController, logger: Logger): Promise<boolean> {
    const { operation } = held;
    const scheduler = await this.schedulerOf(operation);
    const executor = this.executors.find(operation.definition);
    if (executor === undefined) {
      await this.operations.finish(held, { status: 'evicted', hidden: false, event: 'Operation evicted' });
      this.metrics.operationEvicted(labels(operation, scheduler), 'no_operation_executor_found');
      logger.warn({}, 'no executor for this kind of operation: evicted');
      return true;
    }
    await this.operations.appendEvent(
      held,
      operation.attempt === 1 ? 'Starting operation' : `Resuming operation, attempt ${operation.attempt}`,
    );
    logger.info({ attempt: operation.attempt }, 'operation started');

    const execution = this.executionOf(held, controller.signal);
    const startedAt = performance.now();
    try {
      controller.signal.throwIfAborted();
      if (operation.attempt > this.options.maxAttempts) throw gaveUp(operation);
      const result = await executor.execute(execution, scheduler);
      await this.finish(held, result);
      const elapsedMs = performance.now() - startedAt;
      this.metrics.operationExecuted({ ...labels(operation, scheduler), success: true, elapsedMs });
      logger.info({ elapsed_ms: Math.round(elapsedMs) }, 'operation finished');
    } catch (error) {
      if (await this.giveBack(held, error, controller.signal, logger)) return false;
      this.metrics.operationExecuted({
        ...labels(operation, scheduler),
        success: false,
        elapsedMs: performance.now() - startedAt,
      });
      logger.error({ err: messageOf(error), stack: stackOf(error) }, 'operation failed');
      return this.rollBack(held, executor, execution, scheduler, error, logger);
    }
    return true;
  }

  /**
   * Null when it no longer exists. One that is younger than the operation is another scheduler of the same name: a resumed
   * deletion must not touch it.
   */
  private async schedulerOf({ scheduler: name, createdAt }: Operation): Promise<Scheduler | null> {
    const scheduler = await this.schedulers.getScheduler(name);
    return scheduler !== null && scheduler.createdAt.getTime() > createdAt.getTime() ? null : scheduler;
  }

  /**
   * Whether the operation did not fail but was interrupted, and is pending again: because this process stops, or because
   * what it needs is away.
   * @throws `error` when the lease was lost, because nothing may be written then.
   */
  private async giveBack(held: HeldOperation, error: unknown, signal: AbortSignal, logger: Logger): Promise<boolean> {
    const { scheduler, attempt } = held.operation;
    if (signal.reason === leaseLost || isLeaseLost(error)) throw error;
    if (signal.reason === shutdown) {
      await this.operations.appendEvent(held, 'the worker stops: another one resumes this operation');
      await this.operations.release(held);
      await this.wakeUps.ring('operations', scheduler);
      return true;
    }
    if (!isUnavailable(error) || attempt >= this.options.maxAttempts) return false;
    const delayMs = Math.min(firstRetryDelayMs * 2 ** (attempt - 1), this.options.retryDelayMs);
    await this.operations.appendEvent(held, `interrupted, it will be tried again: ${messageOf(error)}`);
    await this.operations.release(held, delayMs);
    await this.wakeUps.ring('operations', scheduler, { delayMs });
    logger.warn({ err: messageOf(error) }, 'operation interrupted; it will be tried again');
    return true;
  }

  private async finish(held: HeldOperation, result: ExecutionResult<Operation['definition']>): Promise<void> {
    await this.operations.finish(held, {
      status: 'finished',
      hidden: result.hidden ?? false,
      event: 'Operation finished',
      ...(result.input === undefined ? {} : { input: result.input }),
    });
    const { scheduler } = held.operation;
    if (result.lookAgain === 'now') await this.wakeUps.ring('health', scheduler);
    if (result.lookAgain === 'later') {
      await this.wakeUps.ring('health', scheduler, { delayMs: this.options.retryDelayMs });
    }
  }

  /** False when the rollback was interrupted: the operation is pending again. */
  private async rollBack(
    held: HeldOperation,
    executor: Executor,
    execution: Execution,
    scheduler: Scheduler | null,
    error: unknown,
    logger: Logger,
  ): Promise<boolean> {
    const { operation } = held;
    await this.operations.appendEvent(held, messageOf(error));
    await this.operations.appendEvent(held, 'operation execution failed');
    await this.operations.appendEvent(held, 'Starting operation rollback');
    const startedAt = performance.now();
    let failure: unknown;
    try {
      await executor.rollback(execution, scheduler);
    } catch (rollbackError) {
      failure = rollbackError;
      logger.error({ err: messageOf(rollbackError) }, 'rollback failed');
    }
    this.metrics.operationRolledBack({
      ...labels(operation, scheduler),
      success: failure === undefined,
      elapsedMs: performance.now() - startedAt,
    });
    await this.operations.appendEvent(
      held,
      failure === undefined
        ? 'Operation rollback flow execution finished with success'
        : `Operation rollback flow execution failed, reason: ${messageOf(failure)}`,
    );
    // What a rollback leaves behind (a scheduler that stays `creating`) nobody would come back to.
    if (failure !== undefined && (await this.giveBack(held, failure, execution.signal, logger))) return false;
    await this.operations.finish(held, { status: 'error', hidden: false, event: 'Operation finished' });
    await this.wakeUps.ring('health', operation.scheduler, { delayMs: this.options.retryDelayMs });
    return true;
  }

  private executionOf(held: HeldOperation, signal: AbortSignal): Execution {
    return {
      operation: held.operation,
      signal,
      progress: held.progress,
      record: (event) => this.operations.appendEvent(held, event),
      saveProgress: (progress) => this.operations.saveProgress(held, progress),
      commit: (work) =>
        this.unitOfWork.run(async () => {
          await this.operations.assertHeld(held);
          return work();
        }),
    };
  }

  /**
   * Renews at a third of the TTL. When no renewal got through for a whole TTL, counted from when it was asked, another worker
   * may have taken over: the work stops at that moment, not at the next tick.
   */
  private keepLease(held: HeldOperation, askedAt: number, controller: AbortController, logger: Logger): () => void {
    const { leaseTtlMs } = this.options;
    let stopped = false;
    let expiry: NodeJS.Timeout | undefined;
    const heldSince = (renewedAt: number): void => {
      clearTimeout(expiry);
      if (stopped) return;
      expiry = setTimeout(() => controller.abort(leaseLost), Math.max(0, renewedAt + leaseTtlMs - performance.now()));
    };
    heldSince(askedAt);
    let renewing = false;
    const renewal = setInterval(() => {
      if (renewing || controller.signal.reason === leaseLost) return;
      renewing = true;
      const asked = performance.now();
      this.operations
        .renewLease(held, leaseTtlMs)
        .then(() => heldSince(asked))
        .catch((error: unknown) => {
          if (isLeaseLost(error)) controller.abort(leaseLost);
          else logger.warn({ err: messageOf(error) }, 'the lease could not be renewed');
        })
        .finally(() => (renewing = false));
    }, leaseTtlMs / 3);
    return () => {
      stopped = true;
      clearInterval(renewal);
      clearTimeout(expiry);
    };
  }
}

function labels(operation: Operation, scheduler: Scheduler | null) {
  return { scheduler: operation.scheduler, game: scheduler?.definition.game ?? '', definition: operation.definition };
}

function gaveUp(operation: Operation): DomainError {
  return new DomainError(
    'aborted',
    'operation.too_many_attempts',
    `gave up after ${operation.attempt - 1} attempts that did not reach an end`,
  );
}

function isLeaseLost(error: unknown): boolean {
  return error instanceof DomainError && error.code === 'operation.lease_lost';
}

function isUnavailable(error: unknown): boolean {
  return error instanceof DomainError && error.kind === 'unavailable';
}

function stackOf(error: unknown): string | undefined {
  return error instanceof DomainError || !(error instanceof Error) ? undefined : error.stack;
}
