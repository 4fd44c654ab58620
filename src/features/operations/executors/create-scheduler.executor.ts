import { Injectable } from '@nestjs/common';
import { DomainError, mayPassLater, messageOf } from '../../../domain/errors';
import { ignoredKeysRemarks } from '../../../domain/scheduler/reserved-keys';
import type { Scheduler } from '../../../domain/scheduler/scheduler';
import { schedulerNotFound } from '../../../domain/scheduler/scheduler-not-found';
import { Runtime } from '../../../ports/runtime';
import { SchedulerStore } from '../../../ports/scheduler-store';
import { Executor, type Execution, type ExecutionResult } from '../executor';

/** Makes the scheduler's place in the runtime and opens it for work. Failing, it leaves neither place nor scheduler. */
@Injectable()
export class CreateSchedulerExecutor extends Executor<'create_scheduler'> {
  readonly definition = 'create_scheduler';
  readonly steps = ['create in runtime', 'open', 'rollback: delete in runtime', 'rollback: delete scheduler'];

  constructor(
    private readonly runtime: Runtime,
    private readonly schedulers: SchedulerStore,
  ) {
    super();
  }

  override async execute(
    execution: Execution<'create_scheduler'>,
    scheduler: Scheduler | null,
  ): Promise<ExecutionResult<'create_scheduler'>> {
    const name = execution.operation.scheduler;
    if (scheduler === null) throw schedulerNotFound(name);
    try {
      await execution.step('create in runtime', () => this.runtime.createScheduler(name, execution.operation.id));
    } catch (error) {
      if (!(error instanceof DomainError) || mayPassLater(error)) throw error;
      throw new DomainError(error.kind, error.code, `error creating scheduler in runtime: ${messageOf(error)}`, {
        cause: error,
      });
    }
    await execution.step('open', () => execution.commit(() => this.schedulers.setState(name, 'in-sync')));
    return { lookAgain: 'now', alongside: async () => ignoredKeysRemarks(scheduler.definition) };
  }

  override async rollback(execution: Execution<'create_scheduler'>, scheduler: Scheduler | null): Promise<void> {
    const name = execution.operation.scheduler;
    const { id } = execution.operation;
    const place = await execution.step('rollback: delete in runtime', () => this.runtime.deleteScheduler(name, id));
    if (typeof place === 'object') await execution.record(place.left);
    if (scheduler === null) return;
    await execution.step('rollback: delete scheduler', () =>
      execution.commit(() => this.schedulers.deleteScheduler(scheduler)),
    );
  }

  /** Something of it may be left in the runtime: it can be deleted, and is not healed. */
  override async abandon(scheduler: Scheduler | null): Promise<void> {
    if (scheduler !== null) await this.schedulers.setState(scheduler.name, 'on-error');
  }
}
