import { setTimeout as sleep } from 'node:timers/promises';
import type { RateLimit } from './rate-limit';

/**
 * Calls of one kind on their way: so many in flight at most, in the order of asking, and each attempt below a rate. What waits
 * for others to end has not begun, so that its deadline does not run; what is in flight reaches its turn soon, as few as there are.
 */
export class CallLane {
  private inFlight = 0;
  /** In the order of asking. */
  private readonly waiting = new Set<() => void>();

  constructor(
    private readonly rate: RateLimit,
    private readonly mostInFlight: number,
    /** What calls of other lanes have to wait longer for, where the rate of both is to stay below one limit. */
    private readonly alsoCountedBy: RateLimit | null = null,
  ) {}

  /**
   * Whoever entered has to `leave`. False, and nothing entered: it took too long, or `signal` aborted. Who has waited that long
   * keeps its place for as long as `moreMs` gives it then, again and again until that is nothing.
   */
  async enter(longestWaitMs: number, signal: AbortSignal, moreMs: () => number = () => 0): Promise<boolean> {
    if (signal.aborted) return false;
    if (this.inFlight < this.mostInFlight) {
      this.inFlight++;
      return true;
    }
    return new Promise((resolve) => {
      const end = (hasEntered: boolean): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', giveUp);
        this.waiting.delete(admit);
        resolve(hasEntered);
      };
      const admit = (): void => end(true);
      const giveUp = (): void => end(false);
      const late = (): void => {
        const more = moreMs();
        if (more > 0) timer = setTimeout(late, more);
        else giveUp();
      };
      let timer = setTimeout(late, longestWaitMs);
      signal.addEventListener('abort', giveUp);
      this.waiting.add(admit);
    });
  }

  /** Enters, with a turn, only if nobody has to wait for that. */
  tryEnter(): boolean {
    if (this.inFlight >= this.mostInFlight || this.rate.reserve(performance.now(), 0) === null) return false;
    this.inFlight++;
    return true;
  }

  leave(): void {
    const [next] = this.waiting;
    if (next === undefined) this.inFlight--;
    else next();
  }

  /**
   * Waits for the turn of an attempt. False, and no turn taken, where it would come too late.
   * @throws the signal's reason when it aborts first.
   */
  async turn(longestWaitMs: number, signal: AbortSignal): Promise<boolean> {
    const nowMs = performance.now();
    const waitMs = this.rate.reserve(nowMs, longestWaitMs);
    if (waitMs === null) return false;
    this.alsoCountedBy?.reserve(nowMs, Infinity);
    if (waitMs > 0) await sleep(waitMs, undefined, { signal });
    return true;
  }
}
