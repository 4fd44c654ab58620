import type { HealthBlock } from '../../domain/room/health-plan';

/** What goes on is told again after this long; when its reason is another one, sooner. Milliseconds. */
const tellAgainMs = 300_000;
const tellChangeMs = 60_000;

interface Told {
  atMs: number;
  reason: string;
}

/**
 * Which blocks of schedulers are news: looks come every few seconds while something is wrong, and find the same each time. A
 * block is told when it begins, and every few minutes until somebody says that it is over, though it may come and go meanwhile.
 */
export class ToldBlocks {
  private readonly told = new Map<string, Map<HealthBlock['code'], Told>>();

  /** `nowMs`: any clock that only goes forward. */
  constructor(private readonly nowMs: () => number = () => performance.now()) {}

  /** Whether it is to be told now; then it counts as told. */
  isNews(scheduler: string, code: HealthBlock['code'], reason = ''): boolean {
    const atMs = this.nowMs();
    const blocks = this.told.get(scheduler) ?? new Map<HealthBlock['code'], Told>();
    const last = blocks.get(code);
    if (last !== undefined && atMs - last.atMs < (reason === last.reason ? tellAgainMs : tellChangeMs)) return false;
    this.told.set(scheduler, blocks.set(code, { atMs, reason }));
    return true;
  }

  /** It is over: if it comes again, that is news. Answers whether it had been told of. */
  isOver(scheduler: string, code: HealthBlock['code']): boolean {
    const blocks = this.told.get(scheduler);
    const wasTold = blocks?.delete(code) ?? false;
    if (blocks?.size === 0) this.told.delete(scheduler);
    return wasTold;
  }

  /** The scheduler is gone. */
  forget(scheduler: string): void {
    this.told.delete(scheduler);
  }
}
