import { Injectable } from '@nestjs/common';
import { DomainError } from '../../domain/errors';
import type { Operation, OperationDefinition, OperationEvent } from '../../domain/operation/operation';
import { parseOperationListing, type OperationListingQuery } from '../../domain/operation/parse-operation-listing';
import { schedulerNotFound } from '../../domain/scheduler/scheduler-not-found';
import { OperationStore, type NewOperation } from '../../ports/operation-store';
import { SchedulerStore } from '../../ports/scheduler-store';
import { UnitOfWork } from '../../ports/unit-of-work';
import { WakeUps } from '../../ports/wake-ups';

@Injectable()
export class OperationsService {
  constructor(
    private readonly operations: OperationStore,
    private readonly schedulers: SchedulerStore,
    private readonly unitOfWork: UnitOfWork,
    private readonly wakeUps: WakeUps,
  ) {}

  /**
   * Stores an operation and rings for it. Inside a unit of work call `OperationStore.insert` there and `announce` after the
   * commit: a bell that rings before would wake a worker for a row that it cannot see.
   */
  async enqueue<D extends OperationDefinition>(operation: NewOperation<D>): Promise<Operation<D> | null> {
    const inserted = await this.operations.insert(operation);
    if (inserted !== null) await this.announce(operation.scheduler);
    return inserted;
  }

  announce(scheduler: string): Promise<void> {
    return this.wakeUps.ring('operations', scheduler);
  }

  /** An unknown scheduler has no operations: an empty list, as v10 answers. */
  async listOperations(
    scheduler: string,
    query: OperationListingQuery,
  ): Promise<{ page: number; pageSize: number; total: number; operations: Operation[] }> {
    const listing = parseOperationListing(query);
    const { total, operations } = await this.operations.list(scheduler, listing);
    const pageSize = listing.stage === 'final' ? listing.perPage : total;
    return { page: listing.page, pageSize, total, operations };
  }

  /** @throws DomainError `operation.not_found`. */
  async getOperation(scheduler: string, id: string): Promise<{ operation: Operation; history: OperationEvent[] }> {
    const found = await this.operations.get(scheduler, id);
    if (found === null) throw operationNotFound(scheduler, id);
    return found;
  }

  /**
   * Asks that an operation ends as `canceled`. One that no worker ever took up has ended when this resolves, and what its
   * request had already changed is taken back; any other is rolled back by its worker.
   * @throws DomainError `operation.ended` (aborted), `operation.not_found`, `scheduler.not_found`.
   */
  async cancelOperation(scheduler: string, id: string): Promise<void> {
    await this.unitOfWork.run(async () => {
      await this.schedulers.decideAlone(scheduler);
      const found = await this.operations.cancel(scheduler, id, 'cancellation requested through the API');
      if (found === null) throw await this.nothingToCancel(scheduler, id);
      if (found.answer === 'ended') {
        throw new DomainError(
          'aborted',
          'operation.ended',
          `cannot cancel operation since status "${found.operation.status}" is a final status`,
          { details: { status: found.operation.status } },
        );
      }
      if (found.answer === 'canceled') await this.takeBack(found.operation);
    });
    await this.announce(scheduler);
  }

  /** What the request for an operation, or the operation before it, changed at once, when the operation itself never ran. */
  private async takeBack({ scheduler, definition }: Operation): Promise<void> {
    if (definition === 'create_scheduler') {
      // Operations first, because that is the order in which others take these rows.
      await this.operations.cancelPending(scheduler, 'canceled: the scheduler was never created');
      const created = await this.schedulers.getScheduler(scheduler);
      if (created !== null) await this.schedulers.deleteScheduler(created);
    }
    if (definition === 'delete_scheduler') await this.schedulers.reopen(scheduler);
    if (definition === 'switch_active_version') {
      const stored = await this.schedulers.getScheduler(scheduler);
      if (stored?.state !== 'creating') return;
      // Either it still has to be created, or the new version that ordered this switch left it so.
      const creation = await this.operations.findOpen(scheduler, ['create_scheduler']);
      if (creation === null) await this.schedulers.setState(scheduler, 'in-sync');
    }
  }

  private async nothingToCancel(scheduler: string, id: string): Promise<DomainError> {
    const stored = await this.schedulers.getScheduler(scheduler);
    return stored === null ? schedulerNotFound(scheduler) : operationNotFound(scheduler, id);
  }
}

function operationNotFound(scheduler: string, id: string): DomainError {
  return new DomainError('not_found', 'operation.not_found', `operation ${id} not found in scheduler ${scheduler}`);
}
