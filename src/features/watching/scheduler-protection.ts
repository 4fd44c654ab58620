/** Options of `MatchProtection` that decide when something is due. Milliseconds. */
export interface ProtectionTimes {
  readonly releaseDelayMs: number;
  readonly budgetIntervalMs: number;
  /** So long after it was set, a budget that keeps anything is set again: somebody else may have removed it. */
  readonly budgetRefreshMs: () => number;
}

const firstRestMs = 500;
const longestRestMs = 60_000;

/** A room that is looked at, and told of. */
interface InHand {
  /** Since when it waits to be protected; null for one that waited to be released. */
  sinceMs: number | null;
  /** Whether it has a match, as was heard meanwhile; null when nothing was. */
  heard: boolean | null;
}

/**
 * What one scheduler's instances were told, and which of them wait to be told something else. A room waits at most once, however
 * often it changes. Times are of a clock that only goes forward.
 */
export class SchedulerProtection {
  /** Instances that are protected, or (false) may be: a call was made of whose effect nothing is known. */
  private told = new Map<string, boolean>();
  /** Rooms that seem to have a match, since when. */
  private readonly toProtect = new Map<string, number>();
  /** Rooms that seem to have none any more, from when on they are released. */
  private readonly toRelease = new Map<string, number>();
  /** Rooms that may have players on their way, and until when. */
  private readonly held = new Map<string, number>();
  private heldDueMs = Infinity;
  private readonly inHand = new Map<string, InHand>();
  /** What became of instances since the list was asked for that is compared next. */
  private readonly news = new Set<string>();
  /** The budget that was set last; null when none is known. */
  private budget: number | null = null;
  private budgetAtMs = -Infinity;
  private isBudgetRefused = false;
  private hasList = false;
  private failures = 0;
  private restsUntilMs = -Infinity;
  /** Somebody works on this scheduler: one thing at a time, so that budget and protections keep their order. */
  turn: Promise<void> | null = null;

  constructor(private readonly times: ProtectionTimes) {}

  /** False until it was once seen what is protected: nobody may guess what the budget is. */
  get isListed(): boolean {
    return this.hasList;
  }

  /** Null while it is not known. */
  isProtected(id: string): boolean | null {
    const told = this.told.get(id);
    return told === undefined ? false : told || null;
  }

  /** A room changed: it waits, or waits no more. */
  hear(id: string, hasMatch: boolean, nowMs: number): void {
    const inHand = this.inHand.get(id);
    if (inHand !== undefined) {
      inHand.heard = hasMatch;
      return;
    }
    this.held.delete(id);
    if (hasMatch) {
      this.toRelease.delete(id);
      if (this.told.get(id) !== true && !this.toProtect.has(id)) this.toProtect.set(id, nowMs);
      return;
    }
    this.toProtect.delete(id);
    // The next match may begin soon, and an idle room that is protected for some seconds more costs nobody anything.
    if (this.told.has(id) && !this.toRelease.has(id)) this.toRelease.set(id, nowMs + this.times.releaseDelayMs);
  }

  /** It stays as it is until then, and is looked at after that, whatever is heard of it before: nothing may be. */
  holdUntil(id: string, untilMs: number): void {
    this.held.set(id, untilMs);
    this.heldDueMs = Math.min(this.heldDueMs, untilMs);
  }

  /** Takes in hand what to look at now, at most `most` rooms, protections first. */
  take(most: number, nowMs: number): string[] {
    this.letGo(nowMs);
    for (const [id, sinceMs] of this.toProtect) {
      if (this.inHand.size >= most) break;
      this.inHand.set(id, { sinceMs, heard: null });
    }
    for (const [id, dueMs] of this.toRelease) {
      // All wait equally long, so they are due in the order in which they came.
      if (dueMs > nowMs || this.inHand.size >= most) break;
      this.inHand.set(id, { sinceMs: null, heard: null });
    }
    for (const id of this.inHand.keys()) {
      this.toProtect.delete(id);
      this.toRelease.delete(id);
    }
    return [...this.inHand.keys()];
  }

  /** Whether a room in hand changed since it was looked at, so that it is not to be told this any more. */
  isOvertaken(id: string, isProtected: boolean): boolean {
    return this.inHand.get(id)?.heard === !isProtected;
  }

  /** What is in hand waits no longer, but for those of `failed`, and for what was heard meanwhile. */
  putDown(failed: ReadonlySet<string>, nowMs: number): void {
    const wereInHand = [...this.inHand];
    this.inHand.clear();
    for (const [id, { sinceMs, heard }] of wereInHand) {
      if (failed.has(id) && sinceMs !== null) this.toProtect.set(id, sinceMs);
      if (failed.has(id) && sinceMs === null) this.toRelease.set(id, nowMs);
      if (heard !== null) this.hear(id, heard, nowMs);
    }
  }

  /** A call is about to be made: until its answer comes nobody knows what the instance was told. */
  callBegins(id: string): void {
    this.told.set(id, false);
    this.news.add(id);
  }

  protected(id: string): void {
    this.told.set(id, true);
    this.news.add(id);
  }

  /** It may be moved, or is gone. */
  released(id: string): void {
    this.told.delete(id);
    this.held.delete(id);
    this.news.add(id);
  }

  /** How many are protected, may be, or are about to be, but for these. */
  countBeside(ids: readonly string[]): number {
    return this.count() - ids.filter((id) => this.told.has(id) || this.toProtect.has(id)).length;
  }

  /** Whether the budget has to be raised before so many are protected. */
  isBudgetBelow(count: number, nowMs: number): boolean {
    if (this.isBudgetRefused && nowMs < this.budgetAtMs + this.times.budgetIntervalMs) return false;
    return this.budget === null || this.budget < count;
  }

  budgetIs(budget: number, nowMs: number): void {
    this.budget = budget;
    this.budgetAtMs = nowMs;
    this.isBudgetRefused = false;
  }

  /** The runtime takes no budget; it is asked again after an interval. What protects each instance by itself goes on. */
  budgetRefused(nowMs: number): void {
    this.budget = null;
    this.budgetAtMs = nowMs;
    this.isBudgetRefused = true;
  }

  /** What the budget is to be lowered to, or made sure of now and then; null when there is nothing to do now. */
  dueBudget(nowMs: number): number | null {
    if (nowMs < this.budgetAtMs + this.times.budgetIntervalMs) return null;
    const wanted = this.count();
    if (this.budget !== wanted) return wanted;
    return wanted > 0 && nowMs >= this.budgetAtMs + this.times.budgetRefreshMs() ? wanted : null;
  }

  /** From now on what a list shows of an instance may be older than what is known here. */
  listBegins(): void {
    this.news.clear();
  }

  /** What the list showed, but for what is known better. Of those that it lacked nothing is left. */
  listShows(instances: readonly { id: string; isProtected: boolean }[]): void {
    const told = new Map<string, boolean>();
    for (const { id, isProtected } of instances) if (isProtected && !this.news.has(id)) told.set(id, true);
    for (const id of this.news) {
      const known = this.told.get(id);
      if (known !== undefined) told.set(id, known);
    }
    this.told = told;
    this.hasList = true;
    // Somebody else may have changed or removed it; where nothing is protected nobody minds.
    if (told.size > 0) this.budget = null;
  }

  worked(): void {
    this.failures = 0;
    this.restsUntilMs = -Infinity;
  }

  failed(nowMs: number): void {
    // Calls that were under way together fail together: that is one failure.
    if (nowMs < this.restsUntilMs) return;
    this.restsUntilMs = nowMs + Math.min(longestRestMs, firstRestMs * 2 ** this.failures);
    this.failures += 1;
  }

  /** How urgent its work is, the least first: since when a room waits for protection; other work comes after all of that. Null: none. */
  urgency(nowMs: number): number | null {
    if (this.turn !== null || nowMs < this.restsUntilMs) return null;
    const waiting = first(this.toProtect);
    if (waiting !== undefined) return waiting;
    if (!this.hasList) return null;
    const due = first(this.toRelease);
    const isDue = (due !== undefined && due <= nowMs) || this.heldDueMs <= nowMs;
    const hasWork = isDue || this.dueBudget(nowMs) !== null;
    return hasWork ? Infinity : null;
  }

  /** Rooms that wait to be protected, or could be released already, and since when the first of the former waits. */
  waiting(nowMs: number): { count: number; sinceMs: number | null } {
    let count = this.toProtect.size + this.inHand.size;
    for (const dueMs of this.toRelease.values()) {
      if (dueMs > nowMs) break;
      count += 1;
    }
    const inHand = [...this.inHand.values()].map(({ sinceMs }) => sinceMs ?? Infinity);
    const sinceMs = Math.min(first(this.toProtect) ?? Infinity, ...inHand);
    return { count, sinceMs: sinceMs === Infinity ? null : sinceMs };
  }

  /** Those whose hold is over wait for their release, as others whose match is over. */
  private letGo(nowMs: number): void {
    if (this.heldDueMs > nowMs) return;
    this.heldDueMs = Infinity;
    for (const [id, untilMs] of [...this.held]) {
      if (untilMs <= nowMs) this.hear(id, false, nowMs);
      else this.heldDueMs = Math.min(this.heldDueMs, untilMs);
    }
  }

  private count(): number {
    let count = this.told.size;
    for (const id of this.toProtect.keys()) if (!this.told.has(id)) count += 1;
    return count;
  }
}

function first(waiting: ReadonlyMap<string, number>): number | undefined {
  for (const value of waiting.values()) return value;
  return undefined;
}
