import { Injectable } from '@nestjs/common';
import { DomainError } from '../../domain/errors';
import type { FleetCounts } from '../../domain/room/room';
import type { Scheduler, SchedulerDefinition } from '../../domain/scheduler/scheduler';
import { toV10Entity } from '../../domain/scheduler/scheduler-entity';
import { validateScheduler, validationMessage } from '../../domain/scheduler/validate-scheduler';
import { OperationStore } from '../../ports/operation-store';
import { RoomStore } from '../../ports/room-store';
import { SchedulerStore, type SchedulerFilter } from '../../ports/scheduler-store';
import { UnitOfWork } from '../../ports/unit-of-work';
import { OperationsService } from '../operations/operations.service';

const actor = 'api';

@Injectable()
export class SchedulersService {
  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly rooms: RoomStore,
    private readonly operationStore: OperationStore,
    private readonly operations: OperationsService,
    private readonly unitOfWork: UnitOfWork,
  ) {}

  /**
   * Stores the scheduler and the operation that sets it up, in one transaction. Answers the row as inserted (`creating`).
   * @throws DomainError `scheduler.invalid` with every failing rule, `scheduler.exists`.
   */
  async createScheduler(name: string, definition: SchedulerDefinition): Promise<Scheduler> {
    const problems = validateScheduler(name, definition);
    if (problems.length > 0) {
      throw new DomainError('invalid_argument', 'scheduler.invalid', validationMessage(problems), {
        details: { problems },
      });
    }
    const scheduler = await this.unitOfWork.run(async () => {
      const created = await this.schedulers.createScheduler(name, definition);
      if (created === 'exists') {
        throw new DomainError(
          'already_exists',
          'scheduler.exists',
          `error creating scheduler ${name}: name already exists`,
        );
      }
      const input = { scheduler: toV10Entity(created) };
      await this.operationStore.insert({ scheduler: name, definition: 'create_scheduler', input, actor });
      return created;
    });
    await this.operations.announce(name);
    return scheduler;
  }

  /** @throws DomainError `scheduler.not_found`, also for an unknown version (v10's text does not tell them apart). */
  async getScheduler(name: string, version?: string): Promise<Scheduler> {
    const scheduler = await this.schedulers.getScheduler(name, version);
    if (scheduler === null) throw schedulerNotFound(`scheduler ${name} not found`);
    return scheduler;
  }

  listSchedulers(filter: SchedulerFilter): Promise<Scheduler[]> {
    return this.schedulers.listSchedulers(filter);
  }

  /**
   * Accepts a deletion: the scheduler shows `terminating` from here on. Repeating it answers the operation that runs.
   * @throws DomainError `scheduler.not_found`.
   */
  async deleteScheduler(name: string): Promise<{ operationId: string }> {
    const operationId = await this.unitOfWork.run(async () => {
      const scheduler = await this.schedulers.getScheduler(name);
      if (scheduler === null) {
        throw schedulerNotFound(
          `no scheduler found, can not delete nonexistent scheduler: scheduler ${name} not found`,
        );
      }
      await this.schedulers.setState(name, 'terminating');
      const running = await this.operationStore.findOpen(name, 'delete_scheduler');
      if (running !== null) return running.id;
      const inserted = await this.operationStore.insert({
        scheduler: name,
        definition: 'delete_scheduler',
        input: {},
        actor,
      });
      return inserted!.id;
    });
    await this.operations.announce(name);
    return { operationId };
  }

  /** Every scheduler of a game (all games without one) with its rooms by status. */
  async describeFleets(game?: string): Promise<{ scheduler: Scheduler; counts: FleetCounts }[]> {
    const schedulers = await this.schedulers.listSchedulers(game === undefined ? {} : { game });
    return Promise.all(
      schedulers.map(async (scheduler) => ({ scheduler, counts: await this.rooms.countFleet(scheduler.name) })),
    );
  }
}

function schedulerNotFound(message: string): DomainError {
  return new DomainError('not_found', 'scheduler.not_found', message);
}
