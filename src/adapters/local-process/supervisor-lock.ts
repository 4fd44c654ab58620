import { linkSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProcessTable } from './process-table';

const draftPrefix = '.lock-';

/** Who supervises this state directory, as it wrote into its lock. */
export interface LockHolder {
  pid: number;
  identity: string;
  /** Where it listens; written down because a client's temporary folder may be another one. */
  socket: string;
}

/**
 * The right to supervise one state directory: files `supervisor.<n>.lock`, of which the highest counts.
 *
 * A dead holder is not removed but outnumbered: creating n+1 is atomic (a hard link to a complete file), so of many that
 * found n dead one wins, and a loser can never remove the winner's file. The highest is never deleted.
 */
export class SupervisorLock {
  private number = 0;

  constructor(
    private readonly dir: string,
    private readonly table: ProcessTable,
  ) {}

  /** The living holder, or null. */
  async holder(): Promise<LockHolder | null> {
    const highest = this.numbers().at(-1);
    if (highest === undefined) return null;
    const holder = this.read(highest);
    if (!holder) return null;
    return (await this.table.identify([holder.pid])).get(holder.pid) === holder.identity ? holder : null;
  }

  /** True when this process holds the lock from now on until it dies. */
  async acquire(socket: string): Promise<boolean> {
    const identity = (await this.table.identify([process.pid])).get(process.pid) ?? '';
    const draftDir = mkdtempSync(join(this.dir, draftPrefix));
    const draft = join(draftDir, 'draft');
    try {
      writeFileSync(draft, JSON.stringify({ pid: process.pid, identity, socket } satisfies LockHolder));
      for (;;) {
        const before = this.numbers().at(-1) ?? 0;
        if (await this.holder()) return false;
        // Somebody took a higher number while we looked at the old holder.
        if ((this.numbers().at(-1) ?? 0) !== before) continue;
        const mine = before + 1;
        if (!linkOnce(draft, this.path(mine))) continue;
        if (this.numbers().at(-1) !== mine) {
          rmSync(this.path(mine), { force: true });
          continue;
        }
        this.number = mine;
        for (const old of this.numbers().filter((n) => n < mine)) rmSync(this.path(old), { force: true });
        this.removeOldDrafts();
        return true;
      }
    } finally {
      rmSync(draftDir, { recursive: true, force: true });
    }
  }

  /** False when the folder was removed or emptied under us: another supervisor may be at work in a new one. */
  isStillOurs(): boolean {
    try {
      return this.numbers().at(-1) === this.number && this.read(this.number)?.pid === process.pid;
    } catch {
      return false;
    }
  }

  /** What starters that were killed left. A living one needs its draft for milliseconds. */
  private removeOldDrafts(): void {
    for (const name of readdirSync(this.dir)) {
      const path = join(this.dir, name);
      const facts = name.startsWith(draftPrefix) ? statSync(path, { throwIfNoEntry: false }) : undefined;
      if (facts && Date.now() - facts.mtimeMs > 60_000) rmSync(path, { recursive: true, force: true });
    }
  }

  private numbers(): number[] {
    return readdirSync(this.dir)
      .map((name) => Number(/^supervisor\.(\d+)\.lock$/.exec(name)?.[1] ?? 0))
      .filter((n) => n > 0)
      .sort((a, b) => a - b);
  }

  private path(number: number): string {
    return join(this.dir, `supervisor.${number}.lock`);
  }

  private read(number: number): LockHolder | null {
    try {
      return JSON.parse(readFileSync(this.path(number), 'utf8')) as LockHolder;
    } catch {
      return null;
    }
  }
}

function linkOnce(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
