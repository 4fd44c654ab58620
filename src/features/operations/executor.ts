import type { Operation, OperationDefinition, OperationInputs } from '../../domain/operation/operation';
import type { Scheduler } from '../../domain/scheduler/scheduler';
import type { RollbackOutcome } from '../../ports/operation-store';

/** What an executor works with while it holds an operation. Every write through it is refused once the lease is lost. */
export interface Execution<D extends OperationDefinition = OperationDefinition> {
  readonly operation: Operation<D>;
  /**
   * Aborts when the lease is lost, the process stops, somebody cancels the operation or its deadline is over; pass it to
   * what waits.
   */
  readonly signal: AbortSignal;
  /** Milliseconds since a worker first took it up, by the database's clock: the same for whoever resumes it. */
  ranForMs(): number;
  /** What earlier attempts stored; empty on the first. */
  readonly progress: Record<string, unknown>;
  /** As what it ends, once it rolls back; null while it goes forward. */
  readonly rollback: RollbackOutcome | null;
  /**
   * One idempotent step: a worker may die before or after it, and each attempt takes it again. Throws instead of beginning
   * once `signal` has aborted. `name` is one of the executor's `steps`.
   */
  step<T>(name: string, work: () => Promise<T>): Promise<T>;
  /** Adds a line to the history that clients read. */
  record(event: string): Promise<void>;
  /** Stores what is about to be done before it is done, so that a resumed run does not do it twice. */
  saveProgress(progress: Record<string, unknown>): Promise<void>;
  /** Postgres writes of the executor, in one transaction that fails when another worker took over. */
  commit<T>(work: () => Promise<T>): Promise<T>;
}

/** The operation waits for something that takes long: slot and worker are free meanwhile, and `execute` runs again then. */
export interface ExecutionWait {
  /** At the latest; a ring for the scheduler comes first. Milliseconds. */
  waitMs: number;
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
  /**
   * Postgres writes in the transaction that ends the operation, after it left its gates: a version change may insert the
   * next one. Answers lines for the history.
   */
  alongside?: () => Promise<string[]>;
  /** It cannot be undone any more: a cancel that came too late changes nothing. */
  irrevocable?: boolean;
}

/**
 * Carries out one kind of operation as idempotent steps: a worker may die at any point, and another runs `execute` again
 * from the start with the stored progress. What cannot succeed is thrown; the runner then rolls back and records why.
 */
export abstract class Executor<D extends OperationDefinition = OperationDefinition> {
  abstract readonly definition: D;

  /** The names of its steps, rollback included: a worker is killed before and after each of them in a test. */
  abstract readonly steps: readonly string[];

  /** `scheduler` is null when it no longer exists. */
  abstract execute(execution: Execution<D>, scheduler: Scheduler | null): Promise<ExecutionResult<D> | ExecutionWait>;

  /** How much longer than others of its kind it may take, because of what its scheduler says. Milliseconds. */
  extraTimeMs(_scheduler: Scheduler | null): number {
    return 0;
  }

  /**
   * Undoes what `execute` began and did not finish. Idempotent: like `execute` it is taken up again from its start. Its signal
   * aborts when the lease is lost, the process stops or a rollback's own deadline is over; a cancel does not stop it.
   */
  async rollback(_execution: Execution<D>, _scheduler: Scheduler | null): Promise<void> {}

  /**
   * Postgres writes with the end of an operation whose rollback failed for good: nobody comes back to it, so no state may be
   * left that only it would have ended.
   */
  async abandon(_scheduler: Scheduler | null): Promise<void> {}
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

  /** What another version of Maestro wrote, and this one has no executor for, the store gives to nobody. */
  get(definition: OperationDefinition): Executor {
    const executor = this.executors.get(definition);
    if (executor === undefined) throw new Error(`no executor for ${definition}`);
    return executor;
  }
}
