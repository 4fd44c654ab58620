import type { Logger } from '../../ports/logger';

/** While it lasts it is told again at most this often. Milliseconds. */
const tellEveryMs = 60_000;

/**
 * What is heard of the API server, by all calls together: whether it answers, and since when it does not. The first call that
 * waited for nothing says so in the log, then one a minute, and the first answer that it is over.
 */
export class ServerSilence {
  private sinceMs: number | null = null;
  private toldAtMs = -Infinity;
  private servedAtMs = -Infinity;
  private failedAtMs = -Infinity;
  private leftOut = 0;

  /** `nowMs`: any clock that only goes forward. */
  constructor(
    private readonly log: Pick<Logger, 'info' | 'warn'> | null,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** An answer came, whatever it says. */
  answered(status: number): void {
    const now = this.nowMs();
    // A proxy may speak for a server which is away.
    if (status < 500) this.servedAtMs = now;
    else this.failedAtMs = now;
    if (this.sinceMs === null) return;
    this.log?.info({ silent_ms: Math.round(now - this.sinceMs) }, 'the API server of Kubernetes answers again');
    this.sinceMs = null;
    this.toldAtMs = -Infinity;
    this.leftOut = 0;
  }

  /** A call had no answer in its time. */
  unanswered(why: string): void {
    const now = this.nowMs();
    this.failedAtMs = now;
    this.sinceMs ??= now;
    if (now - this.toldAtMs < tellEveryMs) {
      this.leftOut++;
      return;
    }
    this.log?.warn(
      { err: why, silent_ms: Math.round(now - this.sinceMs), ...(this.leftOut > 0 ? { left_out: this.leftOut } : {}) },
      'the API server of Kubernetes does not answer',
    );
    this.toldAtMs = now;
    this.leftOut = 0;
  }

  /** Whether calls fail, and none was served for this long: then those that wait in line wait for nothing. */
  servesNobodyFor(ms: number): boolean {
    return this.failedAtMs > this.servedAtMs && this.nowMs() - this.servedAtMs > ms;
  }
}
