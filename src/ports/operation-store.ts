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
  /** `api`, `health_controller` or `system`. */
  actor: string;
  /** Why, in words, where the definition does not say it all. */
  reason?: string;
}

/** How an operation ends that rolls back. */
export type RollbackOutcome = 'error' | 'canceled';

/** A worker's right to act for one operation. Its token is refused by the database once another worker took over. */
export interface HeldOperation {
  operation: Operation;
  fencingToken: string;
  /** What earlier attempts stored with `saveProgress`. */
  progress: Record<string, unknown>;
  /** Set once it rolls back: it never goes forward again, whoever resumes it. */
  rollback: RollbackOutcome | null;
  /** It waited until now: this is no new attempt. */
  waited: boolean;
  /** Milliseconds since a worker first took it up, by the database's clock; what its deadline is counted from. */
  ranForMs: number;
}

export interface OperationPage {
  total: number;
  operations: Operation[];
}

export interface OperationEnd {
  status: OperationEndStatus;
  input?: OperationInputs[OperationDefinition];
  /** Keeps it out of the final list (a health check that did nothing). */
  hidden: boolean;
  /** The history's last line; null for none. */
  event: string | null;
  /** Nothing is written, and DomainError `operation.canceled` (aborted) thrown, when somebody wants it canceled. */
  unlessCanceled?: boolean;
}

/** How long ended operations are kept. Ages count from their end; *changes* are all that are no `healingDefinitions`. */
export interface RetentionRules {
  /** Of what healed the scheduler, and of health checks that did nothing. Milliseconds. */
  healingAgeMs: number;
  /** Of changes. Milliseconds. */
  changeAgeMs: number;
  /** So many changes stay whatever their age, for as long as the scheduler exists. */
  newestChanges: number;
  /** A scheduler's operations beyond so many go whatever their age: those that heal, and apart from them the changes. */
  limit: number;
}

export interface DeletedOperations {
  healing: number;
  changes: number;
  /** It came to its limit; there may be more. */
  more: boolean;
}

/**
 * The record of operations, and the queue's truth: who may act is decided here, by the database.
 *
 * An operation is pending, or in progress, or ended. One in progress either holds its scheduler's slot, or *waits* (`wait`)
 * for something that takes long, and then leaves the slot to what heals the scheduler (`healingDefinitions`).
 *
 * Promises: at most one operation of a scheduler holds the slot; at most one version change of a scheduler has not ended;
 * at most one `health_controller` is pending per scheduler; every write that takes a `HeldOperation` throws DomainError
 * `operation.lease_lost` (aborted) when the token is not current.
 */
export abstract class OperationStore {
  /** With the history's first event, `Created`. Null when the definition allows one only and there is one. */
  abstract insert<D extends OperationDefinition>(operation: NewOperation<D>): Promise<Operation<D> | null>;

  /**
   * Takes the scheduler's next operation: one whose lease expired, else, if none holds the slot, one that waited and is due
   * or canceled, else the first pending one that is due, by priority and age. `wakeWaiting` makes one that waits due now.
   * Null when there is nothing to take. Lease times are the database's clock.
   *
   * Only of a kind that this version of Maestro knows: what a newer one wrote is for a newer worker. Until one comes, it lets
   * pass what an operation that is put off lets pass: what heals, and a deletion.
   */
  abstract claimNext(
    scheduler: string,
    owner: string,
    leaseTtlMs: number,
    options?: { wakeWaiting?: boolean },
  ): Promise<HeldOperation | null>;

  /** Also tells whether someone wants it canceled, in case the notification was lost. */
  abstract renewLease(held: HeldOperation, leaseTtlMs: number): Promise<{ cancelRequested: boolean }>;

  abstract appendEvent(held: HeldOperation, event: string): Promise<void>;

  /** Replaces the operation's stored progress, so that a resumed run knows what the first one began. */
  abstract saveProgress(held: HeldOperation, progress: Record<string, unknown>): Promise<void>;

  /** Fails if the token is not current, and keeps others from taking over until the running unit of work ends. */
  abstract assertHeld(held: HeldOperation): Promise<void>;

  /**
   * From here on it rolls back, also when another worker resumes it. Attempts are counted anew. Answers how it will end: as
   * `outcome`, or `canceled` when somebody asked for that, whatever the executor made of it.
   */
  abstract beginRollback(held: HeldOperation, outcome: RollbackOutcome, events: string[]): Promise<RollbackOutcome>;

  /**
   * The end state, once. `alongside` writes in the same transaction, after the operation has left its slot and its gates
   * (another version change may be inserted), and answers lines for the history that come before the last.
   */
  abstract finish(held: HeldOperation, end: OperationEnd, alongside?: () => Promise<string[]>): Promise<void>;

  /**
   * Gives slot and worker back while it waits; it is due again after `delayMs`. It stays in progress. It got this far, so
   * attempts are counted anew.
   */
  abstract wait(held: HeldOperation, delayMs: number): Promise<void>;

  /**
   * The operation as this holder left it, for one that did not hear whether its last write (`finish`, `wait`, `release`) came
   * through. Null while it is still held, and when another worker has taken it since. Waits for a write that is on its way.
   */
  abstract findLeft(held: HeldOperation): Promise<Operation | null>;

  /**
   * Gives the operation back as pending, for any worker to take at once (shutdown) or after `delayMs` (back-off).
   * Ends it as `canceled` instead when another one is pending that does the same (a health check).
   */
  abstract release(held: HeldOperation, delayMs?: number): Promise<void>;

  /**
   * Somebody wants it to end. One that no worker ever took up is `canceled` at once; any other is marked for good, made due
   * and announced to `watchCancels`, and the worker that runs it (or takes it up next) rolls it back: `requested`. An
   * operation that has ended is left as it is. Null when there is no such operation.
   */
  abstract cancel(
    scheduler: string,
    id: string,
    event: string,
  ): Promise<{ operation: Operation; answer: 'canceled' | 'requested' | 'ended' } | null>;

  /** Ends pending operations of a scheduler as `canceled`, with an event. Answers how many. */
  abstract cancelPending(scheduler: string, event: string): Promise<number>;

  /**
   * Calls `onCancel` with an operation's id soon after its cancellation was requested, by whichever process. One that was
   * missed is told by `renewLease`. Until `signal` aborts.
   */
  abstract watchCancels(onCancel: (operationId: string) => void, signal: AbortSignal): Promise<void>;

  /** In the database, at a cost that does not grow with the number of operations. */
  abstract list(scheduler: string, listing: OperationListing): Promise<OperationPage>;

  abstract get(scheduler: string, id: string): Promise<{ operation: Operation; history: OperationEvent[] } | null>;

  /** The oldest operation of one of these definitions that has not ended; null when there is none. */
  abstract findOpen(scheduler: string, definitions: readonly OperationDefinition[]): Promise<Operation | null>;

  /** Ended operations that changed the version, also of former schedulers of this name; newest first, at most `limit`. */
  abstract listEndedVersionChanges(scheduler: string, limit: number): Promise<Operation[]>;

  /**
   * Whether anything of this scheduler runs or is about to. What waits is no work now, nor is what is put off, unless it
   * heals: what it was ordered for is still to come. A pending one of an unknown kind is none either: it may stay for long.
   */
  abstract isBusy(scheduler: string): Promise<boolean>;

  /**
   * Schedulers whose work nobody does: due without a holder of the slot, or a lease that expired; just those of which
   * `claimNext` would take something. At most `limit`, in random order, so that those whose work cannot be done now keep nobody
   * else from being found.
   */
  abstract findStalled(limit: number): Promise<string[]>;

  /** Operations that have not ended, of kinds that this version of Maestro does not know. The oldest `limit`. */
  abstract findUnknown(limit: number): Promise<Operation[]>;

  /**
   * Gives those of unknown kinds back as pending, with an event in their history, whose lease expired more than `agoMs` ago: no
   * worker that knows them is there, and a slot that they held for ever would keep the scheduler from being healed, and deleted.
   */
  abstract releaseUnknown(agoMs: number, event: string): Promise<void>;

  /** Schedulers, also those that are gone, of which `deleteOutdated` has something to forget. At most three look-ups for each. */
  abstract findOutdated(rules: RetentionRules): Promise<string[]>;

  /**
   * Forgets ended operations of a scheduler, with their history, in one short transaction of at most `limit` of a kind; never
   * one that is pending or in progress. Safe beside another process that does the same.
   *
   * `list` finds a page by number, so what it shows must be numbered without gaps: only the oldest of a list may go. But healing
   * makes thousands of operations a day and is of interest for a day, while "who changed the version, three days ago?" is asked
   * of a few between them. So there are two lists, one after the other: when healing operations become outdated they are
   * deleted, and the changes among them move, once, to the end of the list of old changes, whose oldest go by their own rules.
   */
  abstract deleteOutdated(scheduler: string, rules: RetentionRules, limit: number): Promise<DeletedOperations>;

  /** Deletes at most `limit` operations that lists never showed (`OperationEnd.hidden`) and that ended before `ageMs`. Answers how many. */
  abstract deleteHidden(ageMs: number, limit: number): Promise<number>;
}
