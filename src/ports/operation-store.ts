import type {
  Operation,
  OperationDefinition,
  OperationEndStatus,
  OperationEvent,
  OperationInputs,
} from '../domain/operation/operation';
import type { OperationListing } from '../domain/operation/parse-operation-listing';

export interface NewOperation<D extends OperationDefinition = OperationDefinition> {
  scheduler: string;
  definition: D;
  input: OperationInputs[D];
  actor: string;
}

/** A worker's right to act for one operation. Its token is refused by the database once another worker took over. */
export interface HeldOperation {
  operation: Operation;
  fencingToken: string;
  /** What earlier attempts stored with `saveProgress`. */
  progress: Record<string, unknown>;
}

export interface OperationPage {
  total: number;
  operations: Operation[];
}

/**
 * The record of operations, and the queue's truth: who may act is decided here, by the database.
 *
 * Promises: at most one operation of a scheduler holds the slot; at most one `health_controller` is pending per scheduler;
 * every write that takes a `HeldOperation` throws DomainError `operation.lease_lost` (aborted) when the token is not current.
 */
export abstract class OperationStore {
  /** With the history's first event, `Created`. Null when the definition allows one pending only and there is one. */
  abstract insert<D extends OperationDefinition>(operation: NewOperation<D>): Promise<Operation<D> | null>;

  /**
   * Takes the scheduler's next operation: one whose lease expired, else, if none holds the slot, the first pending one that
   * is due, by priority and age. Null when there is nothing to take. Lease times are the database's clock.
   */
  abstract claimNext(scheduler: string, owner: string, leaseTtlMs: number): Promise<HeldOperation | null>;

  abstract renewLease(held: HeldOperation, leaseTtlMs: number): Promise<void>;

  abstract appendEvent(held: HeldOperation, event: string): Promise<void>;

  /** Replaces the operation's stored progress, so that a resumed run knows what the first one began. */
  abstract saveProgress(held: HeldOperation, progress: Record<string, unknown>): Promise<void>;

  /** Fails if the token is not current, and keeps others from taking over until the running unit of work ends. */
  abstract assertHeld(held: HeldOperation): Promise<void>;

  /** The end state, once. `hidden` keeps it out of the final list (a health check that did nothing). */
  abstract finish(
    held: HeldOperation,
    end: {
      status: OperationEndStatus;
      input?: OperationInputs[OperationDefinition];
      hidden: boolean;
      event: string | null;
    },
  ): Promise<void>;

  /**
   * Gives the operation back as pending, for any worker to take at once (shutdown) or after `delayMs` (back-off).
   * Ends it as `canceled` instead when another one is pending that does the same (a health check).
   */
  abstract release(held: HeldOperation, delayMs?: number): Promise<void>;

  /** Ends pending operations of a scheduler as `canceled`, with an event. Answers how many. */
  abstract cancelPending(scheduler: string, event: string): Promise<number>;

  abstract list(scheduler: string, listing: OperationListing): Promise<OperationPage>;

  abstract get(scheduler: string, id: string): Promise<{ operation: Operation; history: OperationEvent[] } | null>;

  /** The operation of this definition that is pending or in progress, oldest first; null when there is none. */
  abstract findOpen(scheduler: string, definition: OperationDefinition): Promise<Operation | null>;

  /** Whether anything of this scheduler is pending or in progress. */
  abstract hasOpen(scheduler: string): Promise<boolean>;

  /**
   * Schedulers whose work nobody does: due without a holder of the slot, or a lease that expired. At most `limit`, in random
   * order, so that those whose work cannot be done now keep nobody else from being found.
   */
  abstract findStalled(limit: number): Promise<string[]>;
}
