import { Injectable } from '@nestjs/common';
import { messageOf } from '../../domain/errors';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { OperationStore, type HeldOperation } from '../../ports/operation-store';
import { SchedulerStore } from '../../ports/scheduler-store';
import { UnitOfWork } from '../../ports/unit-of-work';
import { WakeUps } from '../../ports/wake-ups';
import { Slots } from '../slots';
import { AttemptLimits } from './attempt-limits';
import { ExecutorRegistry } from './executor';
import { OperationAttempt, type AttemptParts } from './operation-attempt';
import { Refusals } from './refusals';

export class OperationRunnerOptions extends AttemptLimits {
  /** Schedulers whose operations run side by side in this process. */
  readonly concurrency!: number;
}

/** Every worker hears of every cancel, and most are of operations that run elsewhere. */
const cancelsRemembered = 1_000;

/**
 * After so many operations of a scheduler another worker may have it: who came first would else keep whatever has work all
 * the time, and a worker that joins would find nothing to do.
 */
const operationsPerTurn = 5;
/** Until the bell rings for the next turn: long enough for who is idle to hear it before who has just become free. Milliseconds. */
const turnPauseMs = 10;

interface Draining {
  run: Promise<void>;
  /** Since the last look that woke what waits. */
  rung: boolean;
}

/**
 * Runs a scheduler's operations one after the other, in turns that another worker may take. Which one, and whether this process
 * may, is the store's decision; what becomes of each is `OperationAttempt`'s.
 */
@Injectable()
export class OperationRunner {
  private readonly draining = new Map<string, Draining>();
  private readonly attempts = new Map<string, OperationAttempt>();
  /** Operations to cancel that are not running here: one may be on its way, its claim committed and not yet answered. */
  private readonly cancels = new Set<string>();
  private readonly slots: Slots;
  private readonly parts: AttemptParts;
  private stopping = false;

  constructor(
    private readonly operations: OperationStore,
    schedulers: SchedulerStore,
    unitOfWork: UnitOfWork,
    executors: ExecutorRegistry,
    wakeUps: WakeUps,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: OperationRunnerOptions,
  ) {
    this.slots = new Slots(options.concurrency);
    // Twice as long as the operation is put off at most: another worker comes first.
    const refusals = new Refusals(2 * options.retryDelayMs);
    this.parts = { operations, schedulers, unitOfWork, executors, wakeUps, metrics, logger, limits: options, refusals };
  }

  /**
   * The bell rang: runs what there is to run, or a turn of it and rings for the rest. One that waits comes first, since what it
   * waits for may be what rang. Calls for the same scheduler share one run; a ring during it makes it look once more.
   */
  drain(scheduler: string): Promise<void> {
    return this.look(scheduler, true);
  }

  /** Runs what is due. Nobody rang, so what waits goes on waiting until its time. */
  drainDue(scheduler: string): Promise<void> {
    return this.look(scheduler, false);
  }

  /**
   * Follows cancel requests (one that is missed is told by the next renewal of the operation's lease). Until `signal` aborts;
   * then takes nothing more and gives running work back for another worker to resume.
   */
  async run(signal: AbortSignal): Promise<void> {
    const following = this.operations.watchCancels((id) => this.cancel(id), signal);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    this.stopping = true;
    for (const attempt of this.attempts.values()) attempt.stop();
    await Promise.allSettled([...this.draining.values()].map(({ run }) => run));
    await following;
  }

  private look(scheduler: string, rung: boolean): Promise<void> {
    if (this.stopping) return Promise.resolve();
    const current = this.draining.get(scheduler);
    if (current !== undefined) {
      current.rung ||= rung;
      return current.run;
    }
    const draining: Draining = { run: Promise.resolve(), rung };
    this.draining.set(scheduler, draining);
    draining.run = this.slots.run(() => this.drainAll(scheduler, draining));
    return draining.run;
  }

  private async drainAll(scheduler: string, draining: Draining): Promise<void> {
    const { refusals, wakeUps } = this.parts;
    const stepBackMs = refusals.stepBackMsOf(scheduler);
    if (stepBackMs > 0) {
      // Others find what is due by their sweeps. What waits for this very ring hears it when it is our turn again.
      this.draining.delete(scheduler);
      if (draining.rung) await wakeUps.ring('operations', scheduler, { delayMs: stepBackMs });
      return;
    }
    const mayHaveMore = await this.takeTurn(scheduler, draining);
    // Also for the rings that came during the turn.
    if (mayHaveMore) await wakeUps.ring('operations', scheduler, { delayMs: turnPauseMs });
  }

  /** Whether it ended because others may have theirs, and not because nothing was left. */
  private async takeTurn(scheduler: string, draining: Draining): Promise<boolean> {
    let taken = 0;
    try {
      do {
        // Once per ring: what looks and waits again would be woken for ever.
        let wakeWaiting = draining.rung;
        draining.rung = false;
        while (!this.stopping && this.parts.refusals.stepBackMsOf(scheduler) === 0) {
          if (taken === operationsPerTurn) return true;
          const askedAt = performance.now();
          const held = await this.claim(scheduler, wakeWaiting);
          wakeWaiting = false;
          if (held === null || !(await this.attempt(held, askedAt))) break;
          taken += 1;
        }
      } while (!this.stopping && draining.rung);
      return false;
    } finally {
      // In the same moment as the last look for a ring: none can fall in between and be lost.
      this.draining.delete(scheduler);
    }
  }

  private cancel(id: string): void {
    const attempt = this.attempts.get(id);
    if (attempt !== undefined) return attempt.cancel();
    this.cancels.add(id);
    const [oldest] = this.cancels;
    if (this.cancels.size > cancelsRemembered) this.cancels.delete(oldest!);
  }

  private async claim(scheduler: string, wakeWaiting: boolean): Promise<HeldOperation | null> {
    const { owner, leaseTtlMs } = this.options;
    try {
      return await this.operations.claimNext(scheduler, owner, leaseTtlMs, { wakeWaiting });
    } catch (error) {
      this.metrics.operationWorkerFailed(scheduler, '', 'next_operation_failed');
      this.logger.warn({ scheduler_name: scheduler, err: messageOf(error) }, 'the next operation could not be taken');
      return null;
    }
  }

  /** Whether to take more of this scheduler. */
  private async attempt(held: HeldOperation, askedAt: number): Promise<boolean> {
    const { id } = held.operation;
    const attempt = new OperationAttempt(this.parts, held, askedAt);
    this.attempts.set(id, attempt);
    // The claim was on its way when the process was told to stop: `run` had no attempt of it to stop.
    if (this.stopping) attempt.stop();
    if (this.cancels.delete(id)) attempt.cancel();
    try {
      return await attempt.run();
    } finally {
      this.attempts.delete(id);
    }
  }
}
