import type { OperationStore } from '../../ports/operation-store';

/** A deletion that is under way is so for longer than this: thousands of rooms of a scheduler end within it. Milliseconds. */
const believedForMs = 2_000;

/** Whether a scheduler is being deleted, asked once for all rooms of it that end together. */
export class SchedulerDeletions {
  private readonly asking = new Map<string, Promise<boolean>>();
  private readonly underWayUntilMs = new Map<string, number>();

  constructor(private readonly operations: Pick<OperationStore, 'findOpen'>) {}

  /** True also where nobody knows: then nobody else is blamed. */
  async isUnderWay(scheduler: string): Promise<boolean> {
    if ((this.underWayUntilMs.get(scheduler) ?? -Infinity) > performance.now()) return true;
    // That there is none is true for a moment only: the deletion may begin with the next instance that ends.
    let answer = this.asking.get(scheduler);
    if (answer === undefined) {
      answer = this.ask(scheduler).finally(() => this.asking.delete(scheduler));
      this.asking.set(scheduler, answer);
    }
    return answer;
  }

  private async ask(scheduler: string): Promise<boolean> {
    try {
      if ((await this.operations.findOpen(scheduler, ['delete_scheduler'])) === null) return false;
    } catch {
      return true;
    }
    const now = performance.now();
    for (const [name, untilMs] of this.underWayUntilMs) if (untilMs <= now) this.underWayUntilMs.delete(name);
    this.underWayUntilMs.set(scheduler, now + believedForMs);
    return true;
  }
}
