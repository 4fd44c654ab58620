import { Injectable } from '@nestjs/common';
import type { Scheduler } from '../../../domain/scheduler/scheduler';
import { schedulerNotFound } from '../../../domain/scheduler/scheduler-not-found';
import { HealthCycle } from '../../reconciling/health-cycle';
import { Executor, type Execution, type ExecutionResult } from '../executor';

/**
 * Looks again while it holds the slot, so that what it orders is decided on facts that nobody else changes meanwhile. The order
 * is part of the operation's end: whoever resumes it finds nothing ordered, and plans on what is true then.
 */
@Injectable()
export class HealthControllerExecutor extends Executor<'health_controller'> {
  readonly definition = 'health_controller';
  readonly steps = ['plan'];

  constructor(private readonly healthCycle: HealthCycle) {
    super();
  }

  override async execute(
    execution: Execution<'health_controller'>,
    scheduler: Scheduler | null,
  ): Promise<ExecutionResult<'health_controller'>> {
    if (scheduler === null) throw schedulerNotFound(execution.operation.scheduler);
    const order = await execution.step('plan', () => this.healthCycle.act(scheduler));
    return order === null
      ? { input: { tookAction: false }, hidden: true }
      : { input: { tookAction: true }, alongside: order };
  }
}
