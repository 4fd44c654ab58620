import { Injectable } from '@nestjs/common';
import { DomainError } from '../../../domain/errors';
import type { Scheduler } from '../../../domain/scheduler/scheduler';
import { OperationStore } from '../../../ports/operation-store';
import { RoomStore } from '../../../ports/room-store';
import { Runtime } from '../../../ports/runtime';
import { SchedulerStore } from '../../../ports/scheduler-store';
import { pause } from '../../repeat-until-aborted';
import { Executor, type Execution, type ExecutionResult } from '../executor';

export class DeleteSchedulerOptions {
  /** How often the runtime is asked whether the instances are gone. Milliseconds. */
  readonly pollIntervalMs!: number;
  /** How long instances may outlive their grace period before the deletion fails (and can be repeated). Milliseconds. */
  readonly patienceMs!: number;
}

/** v10's grace period where the scheduler states none. */
const defaultGraceMs = 30_000;

/**
 * Removes a scheduler: its instances with their grace period, then all its state but its operations, which clients poll.
 * It forgets nothing that still runs: with instances left at the deadline it fails, and the scheduler stays `terminating`.
 */
@Injectable()
export class DeleteSchedulerExecutor extends Executor<'delete_scheduler'> {
  readonly definition = 'delete_scheduler';

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
  ): Promise<ExecutionResult<'delete_scheduler'>> {
    const name = execution.operation.scheduler;
    // An earlier attempt, or another deletion, came to its end: by now the name may belong to a new scheduler.
    if (scheduler === null) return {};
    await this.runtime.deleteScheduler(name);
    await this.waitForInstances(execution, scheduler);
    await this.rooms.deleteScheduler(name);
    await execution.commit(async () => {
      await this.schedulers.deleteScheduler(name);
      await this.operations.cancelPending(name, 'canceled: the scheduler was deleted');
    });
    return {};
  }

  private async waitForInstances(execution: Execution, { name, definition }: Scheduler): Promise<void> {
    const graceMs = Math.ceil(definition.spec.terminationGracePeriodNs / 1e6) || defaultGraceMs;
    const deadline = Date.now() + graceMs + this.options.patienceMs;
    let reported = 0;
    for (;;) {
      const { length: left } = await this.runtime.listInstances(name);
      if (left === 0) return;
      if (left !== reported) await execution.record(`Waiting for instances to be deleted: ${left}`);
      reported = left;
      if (Date.now() > deadline) {
        throw new DomainError(
          'deadline_exceeded',
          'scheduler.instances_left',
          `error deleting scheduler: ${left} instances still run after their grace period; delete the scheduler again to go on`,
        );
      }
      await pause(this.options.pollIntervalMs, execution.signal);
      execution.signal.throwIfAborted();
    }
  }
}
