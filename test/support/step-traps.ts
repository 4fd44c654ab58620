import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { OperationStep } from '../../src/features/operations/operation-steps';

/** Where a worker dies: one side of one step of one scheduler's operations. */
export type StepBoundary = Omit<OperationStep, 'operationId' | 'holds'>;

export interface SprungTrap extends StepBoundary {
  operationId: string;
}

/** Traps for worker processes: the first one that comes to an armed boundary is killed there (`kill-at-step.cjs`). */
export class StepTraps {
  private readonly directory = mkdtempSync(join(tmpdir(), 'maestro-traps-'));

  constructor() {
    for (const folder of ['armed', 'sprung']) mkdirSync(join(this.directory, folder));
  }

  /** What a process needs to be caught. */
  get environment(): Record<string, string> {
    return {
      NODE_OPTIONS: `--require ${resolve(__dirname, 'kill-at-step.cjs')}`,
      STEP_TRAPS_DIRECTORY: this.directory,
    };
  }

  arm(boundaries: readonly StepBoundary[]): void {
    for (const { scheduler, definition, step, edge } of boundaries) {
      const name = encodeURIComponent(JSON.stringify({ scheduler, definition, step, edge }));
      writeFileSync(join(this.directory, 'armed', name), '');
    }
  }

  /** Every trap that caught somebody so far, with the operation that it interrupted. */
  sprung(): SprungTrap[] {
    const folder = join(this.directory, 'sprung');
    return readdirSync(folder).flatMap((name) => {
      const operationId = readFileSync(join(folder, name), 'utf8');
      // The moment between the two writes of the dying process.
      if (operationId === '') return [];
      return [{ ...(JSON.parse(decodeURIComponent(name)) as StepBoundary), operationId }];
    });
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
