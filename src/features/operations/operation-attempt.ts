import { DomainError, mayPassLater, messageOf } from '../../domain/errors';
import type { Operation } from '../../domain/operation/operation';
import type { Scheduler } from '../../domain/scheduler/scheduler';
import type { Logger } from '../../ports/logger';
import type { Metrics } from '../../ports/metrics';
import type { HeldOperation, OperationEnd, OperationStore, RollbackOutcome } from '../../ports/operation-store';
import type { SchedulerStore } from '../../ports/scheduler-store';
import type { UnitOfWork } from '../../ports/unit-of-work';
import type { WakeUps } from '../../ports/wake-ups';
import type { AttemptLimits } from './attempt-limits';
import type { Execution, ExecutionResult, ExecutorRegistry, Executor } from './executor';
import { HeldExecution } from './held-execution';
import {
  canceled,
  deadlineExceeded,
  isCanceled,
  isLeaseLost,
  leaseLost,
  rollbackDeadlineExceeded,
  workerStops,
} from './interruptions';
import { keepLease } from './keep-lease';
import { leaveOperation } from './leave-operation';
import { publishStep, takeStep } from './operation-steps';
import { isRefusal, type Refusals } from './refusals';

export interface AttemptParts {
  operations: OperationStore;
  schedulers: SchedulerStore;
  unitOfWork: UnitOfWork;
  executors: ExecutorRegistry;
  wakeUps: WakeUps;
  metrics: Metrics;
  logger: Logger;
  limits: AttemptLimits;
  refusals: Refusals;
}

/** The longest time that a timer of Node can be set to: 2^31-1 ms, 24 days. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * One worker's turn at one operation: from the claim until it ended, waits, or was given back. Drives the executor, keeps the
 * lease, and writes what became of it.
 *
 * Two signals reach the executor as one: losing the lease or the process's end stop whatever it does; a cancel or the deadline
 * stop only the way forward, and its rollback then runs on a signal that they do not touch. An executor that does not heed its
 * signal is waited for all the same, because a rollback beside it would be two acts at once: it delays its own cancel, nobody
 * else's, and its lease is kept meanwhile.
 */
export class OperationAttempt {
  private readonly ending = new AbortController();
  private readonly forward = new AbortController();
  /** The process stops; `ending` may say that the lease was lost, and be the first to say so. */
  private readonly stopping = new AbortController();
  private readonly claimedAt = performance.now();
  private readonly logger: Logger;

  constructor(
    private readonly parts: AttemptParts,
    private readonly held: HeldOperation,
    private readonly askedAt: number,
  ) {
    const { id, scheduler, definition, attempt } = held.operation;
    this.logger = parts.logger.child({
      scheduler_name: scheduler,
      operation_id: id,
      operation_definition: definition,
      attempt,
    });
  }

  /** Somebody wants it canceled. */
  cancel(): void {
    this.forward.abort(canceled());
  }

  /** The process stops: the work is given back for another worker to resume. */
  stop(): void {
    this.stopping.abort();
    this.ending.abort(workerStops());
  }

  /** Never throws. False when nothing more of this scheduler should be taken now: what it needs is away, or the lease is. */
  async run(): Promise<boolean> {
    const { operations, metrics, limits } = this.parts;
    const { held, logger } = this;
    const letGo = keepLease({
      operations,
      held,
      leaseTtlMs: limits.leaseTtlMs,
      renewAfterMs: Math.min(limits.leaseTtlMs / 3, limits.cancelPollMs),
      askedAt: this.askedAt,
      logger,
      onLost: () => this.ending.abort(leaseLost()),
      onCancelRequested: () => this.cancel(),
    });
    try {
      return await this.runHeld();
    } catch (error) {
      if (this.isLost(error)) {
        logger.warn({}, 'the lease was lost: another worker resumes this operation');
      } else {
        // What became of it could not be written: the lease runs out and another attempt writes it.
        metrics.operationWorkerFailed(held.operation.scheduler, '', 'start_operation_failed');
        logger.warn({ err: messageOf(error) }, 'the operation could not be brought to its end; it will be resumed');
      }
      return false;
    } finally {
      letGo();
    }
  }

  private async runHeld(): Promise<boolean> {
    const { held, logger } = this;
    const { operation } = held;
    await publishStep(operation, 'claimed', 'before');
    const scheduler = await this.findScheduler();
    const executor = this.parts.executors.get(operation.definition);
    if (held.rollback !== null) {
      await this.record(`Resuming operation rollback, attempt ${operation.attempt}`);
      await publishStep(operation, 'claimed', 'after');
      return this.rollBack(executor, scheduler, held.rollback);
    }
    if (operation.cancelRequestedAt !== null) return this.turnBack(executor, scheduler, canceled());
    if (!held.waited) {
      await this.record(
        operation.attempt === 1 ? 'Starting operation' : `Resuming operation, attempt ${operation.attempt}`,
      );
      logger.info({}, 'operation started');
    }
    await publishStep(operation, 'claimed', 'after');
    return this.goForward(executor, scheduler);
  }

  private async goForward(executor: Executor, scheduler: Scheduler | null): Promise<boolean> {
    const { operation } = this.held;
    const deadlineMs = this.parts.limits.deadlineMs[operation.definition] + executor.extraTimeMs(scheduler);
    const stopTimer = after(deadlineMs - this.ranForMs(), () =>
      this.forward.abort(deadlineExceeded(operation, deadlineMs)),
    );
    const signal = AbortSignal.any([this.ending.signal, this.forward.signal]);
    try {
      signal.throwIfAborted();
      this.assertAttemptsLeft();
      const result = await executor.execute(this.executionOf(executor, signal), scheduler);
      if ('waitMs' in result) {
        // One that was canceled meanwhile is due at once all the same: the store sees to it.
        await this.wait(Math.min(result.waitMs, deadlineMs - this.ranForMs()));
      } else {
        if (result.irrevocable !== true && isCanceled(this.forward.signal.reason)) throw canceled();
        await this.finish(result, scheduler);
      }
      return true;
    } catch (error) {
      if (this.isLost(error)) throw error;
      if (this.ending.signal.aborted) return this.handOver();
      // Whatever the executor made of its signal: this is why it stopped.
      if (this.forward.signal.aborted) return this.turnBack(executor, scheduler, this.forward.signal.reason);
      if (this.isInterruption(error)) return this.putOff(error);
      return this.turnBack(executor, scheduler, error);
    } finally {
      stopTimer();
    }
  }

  /** It will not succeed: this is written first, so that whoever resumes it goes on undoing it. */
  private async turnBack(executor: Executor, scheduler: Scheduler | null, reason: unknown): Promise<boolean> {
    const { operations, metrics } = this.parts;
    const { held, logger } = this;
    const { operation } = held;
    const [wanted, events]: [RollbackOutcome, string[]] = isCanceled(reason)
      ? ['canceled', [canceled().message]]
      : ['error', [messageOf(reason), 'operation execution failed']];
    const outcome = await takeStep(operation, 'rolling back', () =>
      operations.beginRollback(held, wanted, [...events, 'Starting operation rollback']),
    );
    if (outcome === 'canceled') logger.info({ reason: messageOf(reason) }, 'operation canceled');
    else logger[levelOf(reason)]({ err: messageOf(reason), stack: stackOf(reason) }, 'operation failed');
    metrics.operationExecuted({ ...labels(operation, scheduler), success: false, elapsedMs: this.ranForMs() });
    return this.rollBack(executor, scheduler, outcome);
  }

  private async rollBack(executor: Executor, scheduler: Scheduler | null, outcome: RollbackOutcome): Promise<boolean> {
    const { metrics, limits } = this.parts;
    const { logger } = this;
    const { operation } = this.held;
    const overdue = new AbortController();
    const stopTimer = after(limits.rollbackDeadlineMs, () =>
      overdue.abort(rollbackDeadlineExceeded(operation, limits.rollbackDeadlineMs)),
    );
    const signal = AbortSignal.any([this.ending.signal, overdue.signal]);
    const startedAt = performance.now();
    let failure: unknown;
    try {
      signal.throwIfAborted();
      this.assertAttemptsLeft();
      await executor.rollback(this.executionOf(executor, signal), scheduler);
    } catch (error) {
      if (this.isLost(error)) throw error;
      if (this.ending.signal.aborted) return this.handOver();
      // What a rollback leaves behind (an instance, a place) nobody would come back to.
      if (!overdue.signal.aborted && this.isInterruption(error)) return this.putOff(error);
      failure = overdue.signal.aborted ? overdue.signal.reason : error;
      logger.error({ err: messageOf(failure), stack: stackOf(failure) }, 'rollback failed');
    } finally {
      stopTimer();
    }
    const success = failure === undefined;
    await this.askForLook();
    await this.end({ status: outcome, hidden: false, event: 'Operation finished' }, async () => {
      if (success) return ['Operation rollback flow execution finished with success'];
      await executor.abandon(scheduler);
      return [`Operation rollback flow execution failed, reason: ${messageOf(failure)}`];
    });
    metrics.operationRolledBack({
      ...labels(operation, scheduler),
      success,
      elapsedMs: performance.now() - startedAt,
    });
    return true;
  }

  private async finish(result: ExecutionResult<Operation['definition']>, scheduler: Scheduler | null): Promise<void> {
    const { metrics, wakeUps } = this.parts;
    const { operation } = this.held;
    const { hidden = false, input, alongside, lookAgain } = result;
    if (lookAgain !== undefined) await this.askForLook();
    await this.end(
      {
        status: 'finished',
        hidden,
        event: 'Operation finished',
        unlessCanceled: result.irrevocable !== true,
        ...(input === undefined ? {} : { input }),
      },
      alongside,
    );
    const elapsedMs = this.ranForMs();
    metrics.operationExecuted({ ...labels(operation, scheduler), success: true, elapsedMs });
    this.logger.info({ elapsed_ms: Math.round(elapsedMs) }, 'operation finished');
    // It may have made more work (a version and its switch), for which no bell rang before the commit.
    if (alongside !== undefined) await wakeUps.ring('operations', operation.scheduler);
    if (lookAgain === 'now') await wakeUps.ring('health', operation.scheduler);
  }

  /**
   * Before the end is written: who dies right after it rings for nobody, and nobody resumes what has ended. A look that comes
   * too early finds the operation, and is put off.
   */
  private askForLook(): Promise<void> {
    const { wakeUps, limits } = this.parts;
    return wakeUps.ring('health', this.held.operation.scheduler, { delayMs: limits.retryDelayMs });
  }

  private end(end: OperationEnd, alongside?: () => Promise<string[]>): Promise<void> {
    const { operations } = this.parts;
    return takeStep(this.held.operation, 'ended', () =>
      this.leave(
        () => operations.finish(this.held, end, alongside),
        (left) => left.status === end.status,
      ),
    );
  }

  private async wait(waitMs: number): Promise<void> {
    const { operations, wakeUps } = this.parts;
    const { operation } = this.held;
    const delayMs = Math.max(1, Math.ceil(waitMs));
    await takeStep(operation, 'waiting', () =>
      this.leave(
        () => operations.wait(this.held, delayMs),
        (left) => left.waiting,
      ),
    );
    this.logger.debug({ wait_ms: delayMs }, 'operation waits');
    await wakeUps.ring('operations', operation.scheduler, { delayMs });
  }

  private leave(write: () => Promise<void>, isAsWritten: (left: Operation) => boolean): Promise<void> {
    const { operations, limits } = this.parts;
    const { held, logger } = this;
    const askAgainMs = limits.firstRetryDelayMs;
    return leaveOperation({ operations, held, askAgainMs, stopping: this.stopping.signal, logger, write, isAsWritten });
  }

  /** This process stops, and another one goes on. */
  private async handOver(): Promise<boolean> {
    const { operations, wakeUps } = this.parts;
    await this.record('the worker stops: another one resumes this operation');
    await operations.release(this.held);
    await wakeUps.ring('operations', this.held.operation.scheduler);
    return false;
  }

  /** What it needs is away, or refuses this process: pending again, to be tried in a while, by another worker if there is one. */
  private async putOff(error: unknown): Promise<boolean> {
    const { operations, wakeUps, limits, refusals } = this.parts;
    const { scheduler, attempt } = this.held.operation;
    const delayMs = Math.min(limits.firstRetryDelayMs * 2 ** (attempt - 1), limits.retryDelayMs);
    const isRefused = isRefusal(error);
    refusals.note(scheduler, error);
    await this.record(
      isRefused
        ? `the runtime refuses this worker (${limits.owner}), another may take it: ${messageOf(error)}`
        : `interrupted, it will be tried again: ${messageOf(error)}`,
    );
    await operations.release(this.held, delayMs);
    await wakeUps.ring('operations', scheduler, { delayMs });
    this.logger.warn(
      { err: messageOf(error) },
      isRefused
        ? "operation given back: the runtime refuses this worker's credentials or rights"
        : 'operation interrupted; it will be tried again',
    );
    return false;
  }

  private executionOf(executor: Executor, signal: AbortSignal): Execution {
    const { operations, unitOfWork } = this.parts;
    const { held, logger } = this;
    return new HeldExecution({
      operations,
      unitOfWork,
      held,
      executor,
      signal,
      logger,
      ranForMs: () => this.ranForMs(),
    });
  }

  private record(event: string): Promise<void> {
    return this.parts.operations.appendEvent(this.held, event);
  }

  /**
   * Null when it no longer exists. One that is younger than the operation is another scheduler of the same name: a resumed
   * deletion must not touch it.
   */
  private async findScheduler(): Promise<Scheduler | null> {
    const { scheduler: name, createdAt } = this.held.operation;
    const scheduler = await this.parts.schedulers.getScheduler(name);
    return scheduler !== null && scheduler.createdAt.getTime() > createdAt.getTime() ? null : scheduler;
  }

  /** Since a worker first took it up. Milliseconds. */
  private ranForMs(): number {
    return this.held.ranForMs + performance.now() - this.claimedAt;
  }

  private assertAttemptsLeft(): void {
    const { attempt } = this.held.operation;
    if (attempt <= this.parts.limits.maxAttempts) return;
    throw new DomainError(
      'aborted',
      'operation.too_many_attempts',
      `gave up after ${attempt - 1} attempts that did not reach an end`,
    );
  }

  /** Whether trying again may help: something is away, or refuses this process. */
  private isInterruption(error: unknown): boolean {
    return mayPassLater(error) && this.held.operation.attempt < this.parts.limits.maxAttempts;
  }

  /** Nothing may be written then. */
  private isLost(error: unknown): boolean {
    return isLeaseLost(error) || isLeaseLost(this.ending.signal.reason);
  }
}

/** Calls back once, after that time or at once when it is over. The answer stops it. */
function after(delayMs: number, callBack: () => void): () => void {
  if (delayMs <= 0) {
    callBack();
    return () => undefined;
  }
  if (delayMs > longestTimerMs) return () => undefined;
  const timer = setTimeout(callBack, delayMs);
  return () => clearTimeout(timer);
}

function labels(operation: Operation, scheduler: Scheduler | null) {
  return { scheduler: operation.scheduler, game: scheduler?.definition.game ?? '', definition: operation.definition };
}

/** What a definition or a request asks for and cannot have is its author's to mend; the rest is ours. */
function levelOf(error: unknown): 'error' | 'warn' {
  return error instanceof DomainError && error.kind !== 'internal' && error.kind !== 'unknown' ? 'warn' : 'error';
}

function stackOf(error: unknown): string | undefined {
  return error instanceof DomainError || !(error instanceof Error) ? undefined : error.stack;
}
