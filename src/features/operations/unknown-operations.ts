import type { Operation } from '../../domain/operation/operation';
import type { Logger } from '../../ports/logger';
import type { Metrics } from '../../ports/metrics';
import type { OperationStore } from '../../ports/operation-store';

/** At most so many are told of. */
const limit = 20;
/** How often one is told of, by each worker. Milliseconds. */
const tellEveryMs = 300_000;
/** A worker that knows the kind takes it over at once; it has had its chance when a lease expired this long ago. Milliseconds. */
const abandonedAfterMs = 30_000;

/**
 * Looks after operations of kinds that this version of Maestro does not know. While a newer version is rolled out, its workers
 * run them; when it was rolled back nobody does, and they stay as they are: visible, told of, and in the way of no healing.
 */
export class UnknownOperations {
  /** When each was told of last (`performance.now()`). */
  private toldAt = new Map<string, number>();

  constructor(
    private readonly operations: OperationStore,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
  ) {}

  async look(): Promise<void> {
    const found = await this.operations.findUnknown(limit);
    const now = performance.now();
    const toldAt = new Map<string, number>();
    for (const operation of found) {
      const last = this.toldAt.get(operation.id);
      const isDue = last === undefined || now - last >= tellEveryMs;
      if (isDue) this.tell(operation);
      toldAt.set(operation.id, isDue ? now : last);
    }
    this.toldAt = toldAt;
    if (found.some(({ status }) => status === 'in_progress')) {
      await this.operations.releaseUnknown(abandonedAfterMs, 'given back: no worker is left that knows this operation');
    }
  }

  private tell({ scheduler, id, definition, status, attempt }: Operation): void {
    this.metrics.operationEvicted({ scheduler, game: '', definition }, 'no_operation_executor_found');
    this.logger.warn(
      { scheduler_name: scheduler, operation_id: id, operation_definition: definition, attempt, status },
      'this version of Maestro does not know this kind of operation: it is left to workers of the version that made it',
    );
  }
}
