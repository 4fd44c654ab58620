import type { FleetCounts } from '../domain/room/room';

/** What a service of the game is told of a fleet, to say how many rooms there should be. */
export interface FleetQuestion {
  scheduler: string;
  /** The active version. */
  version: string;
  /** Rooms that count as capacity, by status, and the matches that run in them. */
  counts: FleetCounts;
  /** Matches that a room takes. */
  maxMatches: number;
  roomsReplicas: number;
  min: number;
  /** Negative: no limit. */
  max: number;
  /** What the last look came to; null when there was none. */
  lastDesired: number | null;
}

/** Why there is no answer; few words, so that they can label a metric. */
export type WebhookFailure =
  /** The address is one that no webhook may be asked at (link-local, a cloud's metadata). */
  | 'refused_address'
  /** Nobody was reached: no such name, nobody listens, a certificate that is not trusted, a connection that broke. */
  | 'unreachable'
  | 'deadline_exceeded'
  /** The caller gave up. */
  | 'canceled'
  /** Another status than 200; redirects are not followed. */
  | 'bad_status'
  | 'answer_too_large'
  /** No JSON, or not what it should say. */
  | 'bad_answer';

export type WebhookOutcome =
  { answered: true; desired: number } | { answered: false; failure: WebhookFailure; detail: string };

/** No fleet is larger; an answer beyond is a mistake of the one who gave it. */
export const mostDesiredRooms = 100_000;

/**
 * Asks a service of the game how many rooms a scheduler should have.
 *
 * Promises: `ask` never rejects, and answers within the timeout, or as soon as the signal fires. An answer is a whole number from 0
 * to `mostDesiredRooms`. The service may be asked a question more than once. `detail` is one sentence without the URL's query,
 * which may be a secret.
 * Not in here: when it is asked, how long an answer holds, what is counted and logged.
 */
export abstract class DesiredRoomsWebhook {
  abstract ask(
    endpoint: { url: string; timeoutMs: number },
    question: FleetQuestion,
    signal?: AbortSignal,
  ): Promise<WebhookOutcome>;

  /** Ends everything: what is still on its way is `canceled`, and so is everything after. */
  abstract close(): Promise<void>;
}
