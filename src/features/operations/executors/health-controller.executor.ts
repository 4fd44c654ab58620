import { Injectable } from '@nestjs/common';
import { DomainError } from '../../../domain/errors';
import type { Scheduler } from '../../../domain/scheduler/scheduler';
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
    if (scheduler === null) {
      const name = execution.operation.scheduler;
      throw new DomainError('not_found', 'scheduler.not_found', `scheduler ${name} not found`);
    }
    const tookAction = await execution.step('plan and order', () => this.healthCycle.act(scheduler, execution));
    return { input: { tookAction }, hidden: !tookAction };
  }
}
