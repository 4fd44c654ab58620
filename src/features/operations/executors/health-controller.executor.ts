import { Injectable } from '@nestjs/common';
import type { Scheduler } from '../../../domain/scheduler/scheduler';
import { schedulerNotFound } from '../../../domain/scheduler/scheduler-not-found';
import { HealthCycle } from '../../reconciling/health-cycle';
import { Executor, type Execution, type ExecutionResult } from '../executor';

/** Looks again while it holds the slot, so that what it orders is decided on facts that nobody else changes meanwhile. */
@Injectable()
export class HealthControllerExecutor extends Executor<'health_controller'> {
  readonly definition = 'health_controller';
  readonly steps = ['plan and order'];

  constructor(private readonly healthCycle: HealthCycle) {
    super();
  }

  override async execute(
    execution: Execution<'health_controller'>,
    scheduler: Scheduler | null,
  ): Promise<ExecutionResult<'health_controller'>> {
    if (scheduler === null) throw schedulerNotFound(execution.operation.scheduler);
    const tookAction = await execution.step('plan and order', () => this.healthCycle.act(scheduler, execution));
    return { input: { tookAction }, hidden: !tookAction };
  }
}
