import { DomainError } from '../../domain/errors';
import type { Status } from './kubernetes-objects';

/** Not a word of Kubernetes: it said nothing. */
const silentReason = 'Silence';
/** Nor is this: nothing was asked. */
const noCredentialsReason = 'NoCredentials';

type Causes = NonNullable<NonNullable<Status['details']>['causes']>;

/** A call that the API server refused, or whose answer never came. */
export class ApiFailure extends Error {
  override readonly name = 'ApiFailure';

  constructor(
    message: string,
    readonly facts: {
      /** Null when no answer came: the call may have had its effect. */
      status: number | null;
      /** Kubernetes' word for it: `AlreadyExists`, `NotFound`, `Conflict`, `Expired`. Empty where it said none. */
      reason: string;
      causes: Causes;
      /** How long the server asks to be left alone. */
      retryAfterMs: number | null;
    },
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
  }

  /** `body` is what came: mostly a Status, but a proxy in between says what it likes. */
  static ofAnswer(status: number, headers: { 'retry-after'?: string | undefined }, body: string, nowMs: number) {
    const said = readStatus(body);
    return new ApiFailure(said?.message ?? `the API server answered ${status}`, {
      status,
      reason: said?.reason ?? '',
      causes: said?.details?.causes ?? [],
      retryAfterMs: readRetryAfter(headers['retry-after'], nowMs) ?? secondsToMs(said?.details?.retryAfterSeconds),
    });
  }

  static noAnswer(message: string, cause?: unknown): ApiFailure {
    return new ApiFailure(message, { status: null, reason: '', causes: [], retryAfterMs: null }, cause);
  }

  /** A watch was open, and broken: nothing says whether anything was missed. */
  static silence(message: string, cause?: unknown): ApiFailure {
    return new ApiFailure(message, { status: null, reason: silentReason, causes: [], retryAfterMs: null }, cause);
  }

  /** There is nothing to ask with: the server was not even called. */
  static noCredentials(message: string, cause?: unknown): ApiFailure {
    const facts = { status: null, reason: noCredentialsReason, causes: [], retryAfterMs: null };
    return new ApiFailure(message, facts, cause);
  }

  /** An `ERROR` of a watch is a Status without HTTP around it. */
  static ofStatus(status: Status): ApiFailure {
    return new ApiFailure(status.message ?? 'the API server ended the watch', {
      status: status.code ?? 500,
      reason: status.reason ?? '',
      causes: status.details?.causes ?? [],
      retryAfterMs: secondsToMs(status.details?.retryAfterSeconds),
    });
  }

  /** It says something about this process, and nothing about the server. */
  get isOfCredentials(): boolean {
    return this.facts.reason === noCredentialsReason;
  }

  get isNotFound(): boolean {
    return this.facts.status === 404;
  }

  /** What was to be made has no namespace, or one that is being emptied. */
  get saysNamespaceIsGone(): boolean {
    return this.isNotFound || this.facts.causes.some((cause) => cause.reason === 'NamespaceTerminating');
  }

  /** The version to go on from is forgotten: only a new list helps. */
  get isExpired(): boolean {
    return this.facts.status === 410 || this.facts.reason === 'Expired' || this.facts.reason === 'Gone';
  }

  /**
   * A watch must not go on from its version: it is forgotten, or the watch was silent, as one is whose version the server has not
   * reached (its store was restored from a backup).
   */
  get needsList(): boolean {
    return this.isExpired || this.facts.reason === silentReason;
  }

  /** Another attempt may do: nobody said that this call is wrong. */
  get mayPass(): boolean {
    const { status } = this.facts;
    return status === null || status === 429 || status >= 500 || this.saysServerStarts;
  }

  /**
   * What was to be made was counted by several API servers at once, and this one has to count again
   * (`Operation cannot be fulfilled on resourcequotas`). Nothing was made. Of a change the same word is an answer: it was based on
   * what is not so any more.
   */
  get isCountedAnew(): boolean {
    return this.facts.status === 409 && this.facts.reason === 'Conflict';
  }

  /** Its admission plugins have not read yet what they go by. A 403 by its number, and nobody's rule. */
  get saysServerStarts(): boolean {
    return this.facts.status === 403 && this.message.includes('not yet ready to handle request');
  }
}

function readStatus(body: string): Status | null {
  try {
    const status = JSON.parse(body) as Status | null;
    return status?.kind === 'Status' ? status : null;
  } catch {
    return null;
  }
}

/** Seconds or a date: RFC 9110, 10.2.3. */
function readRetryAfter(text: string | undefined, nowMs: number): number | null {
  if (text === undefined) return null;
  if (/^\d+$/.test(text)) return Number(text) * 1_000;
  const atMs = Date.parse(text);
  return Number.isNaN(atMs) ? null : Math.max(0, atMs - nowMs);
}

function secondsToMs(seconds: number | undefined): number | null {
  return seconds ? seconds * 1_000 : null;
}

const firstPauseMs = 50;
const lastPauseMs = 2_000;
const maxAttempts = 6;

/**
 * How long to wait before the next attempt; null when there is to be none. Doubles from 50 ms to 2 s, less up to a fifth at
 * random so that many clients do not come back together, and never before the server wants it. `makes`: the call makes an object.
 */
export function pauseBeforeRetryMs(
  failure: ApiFailure,
  { attempt, random, makes }: { attempt: number; random: number; makes: boolean },
): number | null {
  const mayPass = failure.mayPass || (makes && failure.isCountedAnew);
  if (!mayPass || attempt >= maxAttempts) return null;
  const pauseMs = Math.min(lastPauseMs, firstPauseMs * 2 ** (attempt - 1)) * (1 - random / 5);
  return Math.max(pauseMs, failure.facts.retryAfterMs ?? 0);
}

/** The failure in the port's words; `what` was tried ("create pod arena/arena-1"). */
export function domainErrorOf(failure: ApiFailure, what: string): DomainError {
  const { kind, code } = kindOf(failure);
  return new DomainError(kind, `runtime.${code}`, `Kubernetes did not ${what}: ${failure.message}`, { cause: failure });
}

function kindOf(failure: ApiFailure): { kind: DomainError['kind']; code: string } {
  const { status, reason, causes } = failure.facts;
  switch (status) {
    case null:
      return { kind: 'unavailable', code: failure.isOfCredentials ? 'unauthenticated' : 'unreachable' };
    case 400:
    case 413:
    case 415:
    case 422:
      return { kind: 'invalid_argument', code: 'spec_invalid' };
    case 401:
      // Credentials expire and come back; a wrong one is for an operator, whom the log tells.
      return { kind: 'unavailable', code: 'unauthenticated' };
    case 403:
      if (causes.some((cause) => cause.reason === 'NamespaceTerminating')) {
        return { kind: 'not_found', code: 'scheduler_not_found' };
      }
      return failure.saysServerStarts ? { kind: 'unavailable', code: 'api_failed' } : kindOfRefusal(failure.message);
    case 404:
      return { kind: 'not_found', code: 'not_found' };
    case 409:
      return reason === 'AlreadyExists'
        ? { kind: 'already_exists', code: 'exists' }
        : { kind: 'unavailable', code: 'conflict' };
    case 429:
      return { kind: 'unavailable', code: 'overloaded' };
    default:
      return status >= 500 || status === 410
        ? { kind: 'unavailable', code: 'api_failed' }
        : { kind: 'internal', code: 'api_unexpected' };
  }
}

/**
 * A 403 is an answer about us, or about what was to be made: the words tell. The authorizer's are `pods is forbidden: User "u"
 * cannot create resource "pods" in API group "" in the namespace "n"` (`k8s.io/apiserver/pkg/endpoints/handlers/responsewriters`);
 * what else "is forbidden" the admission plugins refuse. Words that we do not know are about us: proxies speak of who calls.
 */
function kindOfRefusal(message: string): { kind: DomainError['kind']; code: string } {
  if (message.includes('exceeded quota')) return { kind: 'resource_exhausted', code: 'quota_exceeded' };
  // A namespace of a moment ago: its controllers make in it what pods need.
  if (/error looking up service account|status unknown for quota/.test(message)) {
    return { kind: 'unavailable', code: 'scheduler_not_ready' };
  }
  return /\bis forbidden: (?!User ")|\bdenied (the )?request\b/.test(message)
    ? { kind: 'failed_precondition', code: 'admission_denied' }
    : { kind: 'permission_denied', code: 'forbidden' };
}
