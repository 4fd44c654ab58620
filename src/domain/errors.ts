/**
 * What kind of failure this is, in the words of the caller's options, not of a transport.
 * `src/api/http/error-table.ts` is the one place that maps a kind to a gRPC code and an HTTP status.
 */
export type ErrorKind =
  | 'invalid_argument'
  | 'not_found'
  | 'already_exists'
  | 'failed_precondition'
  | 'aborted'
  | 'permission_denied'
  | 'resource_exhausted'
  | 'deadline_exceeded'
  /** The caller went away: nobody hears this, but it is counted. */
  | 'canceled'
  | 'unavailable'
  | 'unimplemented'
  | 'internal'
  /** Expected, and v10 has no better word for it: its clients rely on this one. Surprises are `internal`. */
  | 'unknown';

/**
 * A failure that a caller can act on.
 *
 * `code` is stable and dotted (`scheduler.not_found`): clients, metrics and tests may match it.
 * `message` is one sentence that names the thing and, where there is one, the way out.
 * Expected outcomes are return values; this is thrown for what stops the caller's work.
 */
export class DomainError extends Error {
  override readonly name = 'DomainError';

  constructor(
    readonly kind: ErrorKind,
    readonly code: string,
    message: string,
    options: { cause?: unknown; details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.details = options.details ?? {};
  }

  readonly details: Readonly<Record<string, unknown>>;
}

/**
 * Whether the very same call may succeed at another time, or when another process makes it: something is away, or refuses this
 * process by its credentials or rights. It is no answer about what was asked for, so nothing is to be given up because of it.
 */
export function mayPassLater(error: unknown): boolean {
  return error instanceof DomainError && (error.kind === 'unavailable' || error.kind === 'permission_denied');
}

/** The text of anything that was thrown, for histories and logs. Errors of another realm are no instances of our `Error`. */
export function messageOf(error: unknown): string {
  const message = (error as { message?: unknown } | null | undefined)?.message;
  return typeof message === 'string' ? message : String(error);
}
