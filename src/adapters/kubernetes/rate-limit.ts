/** So many calls a second on average, so many at once: a bucket of tokens, in the order of asking. */
export class RateLimit {
  /** When the bucket was, or will be, empty. */
  private emptyAtMs = -Infinity;
  private readonly intervalMs: number;

  constructor(
    perSecond: number,
    private readonly burst: number,
  ) {
    this.intervalMs = 1_000 / perSecond;
  }

  /** How long this call waits for its turn, which is its own from now on; null, and no turn taken, when that is too long. */
  reserve(nowMs: number, longestWaitMs: number): number | null {
    // A full bucket is one that was empty `burst` intervals ago; it does not get fuller.
    const emptyAtMs = Math.max(this.emptyAtMs, nowMs - this.burst * this.intervalMs) + this.intervalMs;
    const waitMs = Math.max(0, emptyAtMs - nowMs);
    if (waitMs > longestWaitMs) return null;
    this.emptyAtMs = emptyAtMs;
    return waitMs;
  }
}
