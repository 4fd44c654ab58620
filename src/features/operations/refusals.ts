import { DomainError } from '../../domain/errors';

/** Refusals by the runtime that another process may not meet, by their codes: of whatever is asked, or of what was asked here. */
const scopes: Readonly<Record<string, 'everything' | 'scheduler'>> = {
  'runtime.unauthenticated': 'everything',
  'runtime.forbidden': 'scheduler',
};

/** Whether the runtime refuses this process, by its credentials or rights, and not what was asked. */
export function isRefusal(error: unknown): boolean {
  return error instanceof DomainError && error.code in scopes;
}

/**
 * After a refusal this process leaves operations to others for a while: whose credentials or rights are bad would else take from
 * good workers what it cannot do, again and again. A missing right may be missing in one place only, so it holds for that
 * scheduler; credentials that nobody knows are good for nothing. If there is no other worker, nothing but time is lost.
 */
export class Refusals {
  private readonly untilMs = new Map<string, number>();
  private everythingUntilMs = -Infinity;

  /** `nowMs`: any clock that only goes forward. */
  constructor(
    private readonly stepBackMs: number,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** Remembers it if it is a refusal. */
  note(scheduler: string, error: unknown): void {
    if (!(error instanceof DomainError)) return;
    const scope = scopes[error.code];
    const untilMs = this.nowMs() + this.stepBackMs;
    if (scope === 'everything') this.everythingUntilMs = untilMs;
    if (scope === 'scheduler') this.untilMs.set(scheduler, untilMs);
  }

  /** For how long this scheduler's operations are still left to others; 0 when they are not. Milliseconds. */
  stepBackMsOf(scheduler: string): number {
    const now = this.nowMs();
    const untilMs = this.untilMs.get(scheduler) ?? -Infinity;
    if (untilMs <= now) this.untilMs.delete(scheduler);
    return Math.max(0, untilMs - now, this.everythingUntilMs - now);
  }
}
