import { Injectable } from '@nestjs/common';
import { DomainError } from '../../domain/errors';
import type { Operation, OperationDefinition, OperationEvent } from '../../domain/operation/operation';
import { parseOperationListing, type OperationListingQuery } from '../../domain/operation/parse-operation-listing';
import { OperationStore, type NewOperation } from '../../ports/operation-store';
import { WakeUps } from '../../ports/wake-ups';

@Injectable()
export class OperationsService {
  constructor(
    private readonly operations: OperationStore,
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

  async getOperation(scheduler: string, id: string): Promise<{ operation: Operation; history: OperationEvent[] }> {
    const found = await this.operations.get(scheduler, id);
    if (found === null) {
      throw new DomainError('not_found', 'operation.not_found', `operation ${id} not found in scheduler ${scheduler}`);
    }
    return found;
  }
}
