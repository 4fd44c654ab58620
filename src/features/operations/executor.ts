import type { Operation, OperationDefinition, OperationInputs } from '../../domain/operation/operation';
import type { Scheduler } from '../../domain/scheduler/scheduler';

/** What an executor works with while it holds an operation. Every write through it is refused once the lease is lost. */
export interface Execution<D extends OperationDefinition = OperationDefinition> {
  readonly operation: Operation<D>;
  /** Aborts when the lease is lost or the process stops; check it between steps and pass it to what waits. */
  readonly signal: AbortSignal;
  /** What earlier attempts stored; empty on the first. */
  readonly progress: Record<string, unknown>;
  /** Adds a line to the history that clients read. */
  record(event: string): Promise<void>;
  /** Stores what is about to be done before it is done, so that a resumed run does not do it twice. */
  saveProgress(progress: Record<string, unknown>): Promise<void>;
  /** Postgres writes of the executor, in one transaction that fails when another worker took over. */
  commit<T>(work: () => Promise<T>): Promise<T>;
}

export interface ExecutionResult<D extends OperationDefinition> {
  /** Replaces the input that clients see (v10 does so for `health_controller`). */
  input?: OperationInputs[D];
  /** Keeps the operation out of the final list: it did nothing. */
  hidden?: boolean;
  /**
   * Another look at the scheduler's health is due after the end: `now`, or `later` (the runner's retry delay) where a look at
   * once would only order the same again.
   */
  lookAgain?: 'now' | 'later';
}

/**
 * Carries out one kind of operation as idempotent steps: a worker may die at any point, and another runs `execute` again
 * from the start with the stored progress. What cannot succeed is thrown; the runner then rolls back and records why.
 */
export abstract class Executor<D extends OperationDefinition = OperationDefinition> {
  abstract readonly definition: D;

  /** `scheduler` is null when it no longer exists. */
  abstract execute(execution: Execution<D>, scheduler: Scheduler | null): Promise<ExecutionResult<D>>;

  /** Undoes what `execute` began and failed to finish. Idempotent. */
  async rollback(_execution: Execution<D>, _scheduler: Scheduler | null): Promise<void> {}
}

/** Every kind of operation with its executor; a missing one is an error at start-up, not at run time. */
export class ExecutorRegistry {
  private readonly executors: ReadonlyMap<OperationDefinition, Executor>;

  constructor(executors: Executor[], definitions: readonly OperationDefinition[]) {
    this.executors = new Map(executors.map((executor) => [executor.definition, executor]));
    const missing = definitions.filter((definition) => !this.executors.has(definition));
    if (missing.length > 0 || this.executors.size !== executors.length) {
      throw new Error(`each operation needs exactly one executor; missing: ${missing.join(', ') || 'none'}`);
    }
  }

  /** Undefined for a definition that another version of Maestro wrote. */
  find(definition: OperationDefinition): Executor | undefined {
    return this.executors.get(definition);
  }
}
