import { DomainError, messageOf } from '../../domain/errors';
import { versionChanges } from '../../domain/operation/operation';
import { planSchedulerImport } from '../../domain/scheduler/plan-scheduler-import';
import { readV10Scheduler, type V10SchedulerRow } from '../../domain/scheduler/read-v10-scheduler';
import type { SchedulerHistory } from '../../domain/scheduler/scheduler-history';
import type { OperationStore } from '../../ports/operation-store';
import type { SchedulerHistories } from '../../ports/scheduler-histories';
import type { UnitOfWork } from '../../ports/unit-of-work';
import type { V10Schedulers } from '../../ports/v10-schedulers';

/**
 * What became of one scheduler. `conflict`: one of its name is here and is not what v10 has, nor an earlier import of it.
 * `skipped`: it cannot be taken over. Neither writes anything.
 */
export interface SchedulerOutcome {
  name: string;
  outcome: 'imported' | 'updated' | 'unchanged' | 'conflict' | 'skipped';
  /** The rest of the line: what was written, or why nothing was. */
  detail: string;
  /** What its owner should know of what was written. */
  remarks: string[];
}

export interface ImportRequest {
  /** Tells what would become of each scheduler, and writes nothing. */
  isDryRun: boolean;
  /** Only these schedulers, if given. */
  names?: readonly string[];
}

/**
 * Imports a v10's schedulers. Each is one transaction, so an import that breaks off leaves whole schedulers, and another run
 * does the rest; a run that finds everything done changes nothing.
 */
export class SchedulerImport {
  constructor(
    private readonly v10: V10Schedulers,
    private readonly histories: SchedulerHistories,
    private readonly operations: OperationStore,
    private readonly unitOfWork: UnitOfWork,
  ) {}

  /** One outcome after the other, as they happen. Throws only what keeps all further schedulers from being imported. */
  async *run({ isDryRun, names }: ImportRequest): AsyncGenerator<SchedulerOutcome> {
    const missing = new Set(names);
    for await (const row of this.v10.read(names)) {
      missing.delete(row.name);
      yield await this.importOne(row, isDryRun);
    }
    for (const name of missing) yield skipped(name, 'v10 has no scheduler of this name');
  }

  private async importOne(row: V10SchedulerRow, isDryRun: boolean): Promise<SchedulerOutcome> {
    const reading = readV10Scheduler(row);
    if ('refusal' in reading) return skipped(row.name, reading.refusal);
    const { history, remarks } = reading;
    if (isDryRun) return this.decide(history, remarks, isDryRun);
    try {
      return await this.unitOfWork.run(() => this.decide(history, remarks, isDryRun));
    } catch (error) {
      // The database is gone: nothing more can be imported. Anything else is about this scheduler, and the others go on.
      if (error instanceof DomainError) throw error;
      return skipped(row.name, `it could not be stored: ${messageOf(error)}`);
    }
  }

  private async decide(history: SchedulerHistory, remarks: string[], isDryRun: boolean): Promise<SchedulerOutcome> {
    const { name, version, versions } = history;
    const kept = await this.histories.find(name, { lock: !isDryRun });
    const openChange = kept && (await this.operations.findOpen(name, versionChanges));
    const plan = planSchedulerImport(history, kept, openChange !== null);
    switch (plan.action) {
      case 'none':
        return { name, outcome: 'unchanged', detail: '', remarks: [] };
      case 'refuse':
        return { name, outcome: 'conflict', detail: plan.reason, remarks: [] };
      case 'add':
        if (!isDryRun) await this.histories.add(history);
        return { name, outcome: 'imported', detail: `${count(versions.length)}, active ${version}`, remarks };
      case 'update':
        if (!isDryRun) await this.histories.update(history);
        return { name, outcome: 'updated', detail: plan.changes.join('; '), remarks };
    }
  }
}

function skipped(name: string, reason: string): SchedulerOutcome {
  return { name, outcome: 'skipped', detail: reason, remarks: [] };
}

function count(versions: number): string {
  return versions === 1 ? '1 version' : `${versions} versions`;
}
