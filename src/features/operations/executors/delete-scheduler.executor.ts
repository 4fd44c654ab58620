import { Injectable } from '@nestjs/common';
import { DomainError } from '../../../domain/errors';
import type { Scheduler } from '../../../domain/scheduler/scheduler';
import { OperationStore } from '../../../ports/operation-store';
import { RoomStore } from '../../../ports/room-store';
import { Runtime } from '../../../ports/runtime';
import { SchedulerStore } from '../../../ports/scheduler-store';
import { Executor, type Execution, type ExecutionResult, type ExecutionWait } from '../executor';

export class DeleteSchedulerOptions {
  /** How often the runtime is asked whether the instances are gone, when no end of one rings. Milliseconds. */
  readonly pollIntervalMs!: number;
  /** How long instances may outlive their grace period before the deletion fails (and can be repeated). Milliseconds. */
  readonly patienceMs!: number;
}

/** v10's grace period where the scheduler states none. */
const defaultGraceMs = 30_000;

/** What a deletion has stored of itself. */
interface DeletionProgress {
  /** Instances that the history was told of last. */
  left?: number;
  /** Milliseconds since the epoch. Stored, so that no resume prolongs it. */
  patienceUntilMs?: number;
}

/**
 * Removes a scheduler: its instances with their grace period, then all its state but its operations, which clients poll.
 * It forgets nothing that still runs: with instances left at the deadline it fails, and the scheduler stays `terminating`.
 * While instances go it waits, and no worker with it; the scheduler is `terminating`, so nothing heals it meanwhile.
 */
@Injectable()
export class DeleteSchedulerExecutor extends Executor<'delete_scheduler'> {
  readonly definition = 'delete_scheduler';
  readonly steps = ['cancel pending work', 'delete in runtime', 'forget rooms', 'delete scheduler'];

  constructor(
    private readonly runtime: Runtime,
    private readonly schedulers: SchedulerStore,
    private readonly operations: OperationStore,
    private readonly rooms: RoomStore,
    private readonly options: DeleteSchedulerOptions,
  ) {
    super();
  }

  override async execute(
    execution: Execution<'delete_scheduler'>,
    scheduler: Scheduler | null,
  ): Promise<ExecutionResult<'delete_scheduler'> | ExecutionWait> {
    const name = execution.operation.scheduler;
    // An earlier attempt, or another deletion, came to its end: by now the name may belong to a new scheduler.
    if (scheduler === null) return {};
    if (progressOf(execution).left === undefined) {
      // Rooms that an order from before adds while the instances go would only have to go too.
      await execution.step('cancel pending work', () =>
        execution.commit(() => this.operations.cancelPending(name, 'canceled: the scheduler is being deleted')),
      );
    }
    await execution.step('delete in runtime', () => this.runtime.deleteScheduler(name));
    const { length: left } = await this.runtime.listInstances(name);
    if (left > 0) return this.waitForInstances(execution, scheduler, left);
    await execution.step('forget rooms', () => this.rooms.deleteScheduler(name));
    await execution.step('delete scheduler', () =>
      execution.commit(async () => {
        await this.schedulers.deleteScheduler(name);
        await this.operations.cancelPending(name, 'canceled: the scheduler was deleted');
      }),
    );
    return {};
  }

  override extraTimeMs(scheduler: Scheduler | null): number {
    return scheduler === null ? 0 : graceMsOf(scheduler);
  }

  /** What was told to end cannot be told to stay: the scheduler is not opened again (`SchedulerStore.reopen`). */
  override async rollback(execution: Execution<'delete_scheduler'>, scheduler: Scheduler | null): Promise<void> {
    if (execution.rollback !== 'canceled' || scheduler === null) return;
    await execution.record('the scheduler stays `terminating`; delete it again to go on');
  }

  private async waitForInstances(execution: Execution, scheduler: Scheduler, left: number): Promise<ExecutionWait> {
    const progress = progressOf(execution);
    const patienceUntilMs = progress.patienceUntilMs ?? Date.now() + graceMsOf(scheduler) + this.options.patienceMs;
    if (left !== progress.left) {
      await execution.record(`Waiting for instances to be deleted: ${left}`);
      await execution.saveProgress({ left, patienceUntilMs } satisfies DeletionProgress);
    }
    if (Date.now() > patienceUntilMs) {
      throw new DomainError(
        'deadline_exceeded',
        'scheduler.instances_left',
        `error deleting scheduler: ${left} instances still run after their grace period; delete the scheduler again to go on`,
      );
    }
    return { waitMs: this.options.pollIntervalMs };
  }
}

function progressOf(execution: Execution): DeletionProgress {
  return execution.progress;
}

function graceMsOf({ definition }: Scheduler): number {
  return Math.ceil(definition.spec.terminationGracePeriodNs / 1e6) || defaultGraceMs;
}
