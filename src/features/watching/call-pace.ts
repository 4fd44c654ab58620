import { pause } from '../repeat-until-aborted';

/** So many calls a second, and no more than a few at once: each waits for its turn, in the order of asking. */
export class CallPace {
  private readonly intervalMs: number;
  private nextMs = -Infinity;

  constructor(
    perSecond: number,
    private readonly atOnce = Math.ceil(perSecond / 10),
  ) {
    this.intervalMs = 1_000 / perSecond;
  }

  /** How long a call that asks now waits for its turn, which is its own from then on. `nowMs`: any clock that only goes forward. */
  reserve(nowMs: number): number {
    const turnMs = Math.max(this.nextMs, nowMs - (this.atOnce - 1) * this.intervalMs);
    this.nextMs = turnMs + this.intervalMs;
    return Math.max(0, turnMs - nowMs);
  }

  /** Resolves when it is this call's turn, or `signal` aborts. */
  async turn(signal: AbortSignal): Promise<void> {
    const waitMs = this.reserve(performance.now());
    if (waitMs > 0) await pause(waitMs, signal);
  }
}
