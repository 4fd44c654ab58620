import type { OperationDefinition } from '../../domain/operation/operation';

export abstract class AttemptLimits {
  /** Who this process is, in leases, histories and log lines. Unique per process start. */
  readonly owner!: string;
  /** An operation whose lease is not renewed for this long is taken over. Milliseconds; v10 5,000. */
  readonly leaseTtlMs!: number;
  /** How often a running operation asks whether it is canceled, in case the notification was lost. Milliseconds. */
  readonly cancelPollMs!: number;
  /** How often in a row an operation is tried that is interrupted: what it needs is away, or its worker dies. */
  readonly maxAttempts!: number;
  /** What is away may be back soon: the pause after an interruption doubles from here up to `retryDelayMs`. Milliseconds. */
  readonly firstRetryDelayMs!: number;
  /**
   * When an operation failed, the scheduler's health is looked at again after this long; one that was interrupted because
   * something is away waits at most this long. Milliseconds.
   */
  readonly retryDelayMs!: number;
  /**
   * How long an operation may take from the moment a worker first took it up, its waits included (plus what its executor's
   * `extraTimeMs` says). Milliseconds.
   */
  readonly deadlineMs!: Readonly<Record<OperationDefinition, number>>;
  /** How long one attempt to roll back may take. Milliseconds. */
  readonly rollbackDeadlineMs!: number;
}
