import type { Operation } from '../../domain/operation/operation';
import type { Logger } from '../../ports/logger';
import type { HeldOperation, OperationStore, RollbackOutcome } from '../../ports/operation-store';
import type { UnitOfWork } from '../../ports/unit-of-work';
import type { Execution, Executor } from './executor';
import { takeStep } from './operation-steps';

export interface HeldExecutionParts {
  operations: OperationStore;
  unitOfWork: UnitOfWork;
  held: HeldOperation;
  executor: Executor;
  signal: AbortSignal;
  logger: Logger;
  ranForMs(): number;
}

/** What an executor is given: the store's writes, each of which carries the token of the operation that is held. */
export class HeldExecution implements Execution {
  readonly operation: Operation;
  readonly signal: AbortSignal;
  readonly rollback: RollbackOutcome | null;

  constructor(private readonly parts: HeldExecutionParts) {
    this.operation = parts.held.operation;
    this.signal = parts.signal;
    this.rollback = parts.held.rollback;
  }

  get progress(): Record<string, unknown> {
    return this.parts.held.progress;
  }

  ranForMs(): number {
    return this.parts.ranForMs();
  }

  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const { executor, logger } = this.parts;
    if (!executor.steps.includes(name)) throw new Error(`${executor.definition} declares no step "${name}"`);
    this.signal.throwIfAborted();
    logger.debug({ step: name }, 'a step of the operation begins');
    return takeStep(this.operation, name, work);
  }

  record(event: string): Promise<void> {
    return this.parts.operations.appendEvent(this.parts.held, event);
  }

  saveProgress(progress: Record<string, unknown>): Promise<void> {
    return this.parts.operations.saveProgress(this.parts.held, progress);
  }

  async commit<T>(work: () => Promise<T>): Promise<T> {
    const { operations, unitOfWork, held } = this.parts;
    const { progress } = held;
    try {
      return await unitOfWork.run(async () => {
        await operations.assertHeld(held);
        return work();
      });
    } catch (error) {
      // What was saved inside was taken back with all the rest.
      held.progress = progress;
      throw error;
    }
  }
}
