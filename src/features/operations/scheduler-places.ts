import { Injectable } from '@nestjs/common';
import { DomainError } from '../../domain/errors';
import type { Scheduler } from '../../domain/scheduler/scheduler';
import { Logger } from '../../ports/logger';
import { Runtime } from '../../ports/runtime';
import { SchedulerStore } from '../../ports/scheduler-store';

/** Sees to it that rooms have a place to start in: it may have been removed by hand, or never made (of an imported scheduler). */
@Injectable()
export class SchedulerPlaces {
  constructor(
    private readonly runtime: Runtime,
    private readonly schedulers: SchedulerStore,
    private readonly logger: Logger,
  ) {}

  /**
   * To be called by the operation that is about to start rooms, while it holds the scheduler's slot: no deletion acts then. Answers
   * a line for its history; null where nothing was missing.
   * @throws what `Runtime.ensureScheduler` says, or `scheduler.terminating`: then no place is left that this made.
   */
  async ensure(scheduler: Scheduler, operationId: string): Promise<string | null> {
    const { name } = scheduler;
    if (scheduler.state === 'terminating') throw goesAway(name);
    if ((await this.runtime.ensureScheduler(name, operationId)) === 'there') return null;
    // Whoever stood still may have lost the slot before the place was made, and its scheduler may be gone since.
    const now = await this.schedulers.getScheduler(name);
    if (now?.createdAt.getTime() !== scheduler.createdAt.getTime() || now.state === 'terminating') {
      await this.runtime.deleteScheduler(name, operationId);
      throw goesAway(name);
    }
    const fields = { scheduler_name: name, operation_id: operationId };
    this.logger.warn(fields, 'the place of a scheduler was not there, and was made anew');
    return `the ${this.runtime.placeWord} of scheduler ${name} was not there: it was made anew, empty`;
  }
}

function goesAway(name: string): DomainError {
  return new DomainError(
    'failed_precondition',
    'scheduler.terminating',
    `scheduler ${name} is deleted, or being deleted: no room is started in it`,
  );
}
