import { Injectable } from '@nestjs/common';
import { operationPriorities, versionChanges, type Operation } from '../../domain/operation/operation';
import { whyOperationFailed } from '../../domain/operation/why-operation-failed';
import type { HealthBlock } from '../../domain/room/health-plan';
import type { Scheduler } from '../../domain/scheduler/scheduler';
import { schedulerNotFound } from '../../domain/scheduler/scheduler-not-found';
import { HealthRecords, type HealthRecord } from '../../ports/health-records';
import { OperationStore } from '../../ports/operation-store';
import { RoomStore } from '../../ports/room-store';
import { SchedulerStore, type PausedAutomation, type SchedulerAutomation } from '../../ports/scheduler-store';
import { composeRolloutReport, type RolloutReport } from './compose-rollout-report';
import { HealthScheduleOptions } from './health-schedule';
import { ownRecord } from './own-record';

export interface AutomationReport {
  /** What the last look left; null when there was none yet, or it is lost. */
  record: HealthRecord | null;
  blockedBy: { code: HealthBlock['code'] | 'not_looked_yet'; detail: string }[];
  /** At the latest. Null where nobody knows, and where nobody looks. */
  nextLookAtMs: number | null;
  /** Null while it runs. */
  paused: PausedAutomation | null;
  /** Looks wait for it. */
  busyWith: Operation | null;
}

export interface RolloutAnswer extends RolloutReport {
  /** Null where the active version was not brought back because rooms of another one failed. */
  rolledBack: {
    /** Null when its operation is not among the last ones. */
    operation: Operation | null;
  } | null;
  /** The newest version change that has ended, where it failed or was canceled; null where it succeeded, or there is none. */
  failedChange: { operation: Operation; reason: string } | null;
}

/** How many ended version changes are looked through for the rollback. Those after it failed: else it was not the last. */
const changesSearched = 100;
/** Lists of open operations have one page. */
const onlyPage = { order: 'asc', page: 1, perPage: 100 } as const;

/** Tells what a scheduler's automation does, and why: what its last look left, and what holds now. Reads only. */
@Injectable()
export class AutomationReportsService {
  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly operations: OperationStore,
    private readonly rooms: RoomStore,
    private readonly records: HealthRecords,
    private readonly options: HealthScheduleOptions,
  ) {}

  /** @throws DomainError `scheduler.not_found`, `room_store.unavailable` (unavailable). */
  async explain(name: string): Promise<AutomationReport> {
    const [{ scheduler, automation }, last, busyWith] = await Promise.all([
      this.find(name),
      this.records.read(name),
      this.findWork(name),
    ]);
    const record = ownRecord(scheduler, last);
    const isLookedAfter = scheduler.state !== 'terminating' && scheduler.state !== 'on-error';
    return {
      record,
      blockedBy: record?.blockedBy ?? [{ code: 'not_looked_yet', detail: this.describeNoLook(name, isLookedAfter) }],
      nextLookAtMs: isLookedAfter ? this.nextLookAtMs(record) : null,
      paused: automation.paused,
      busyWith,
    };
  }

  /** @throws DomainError as `explain`. */
  async findRollout(name: string): Promise<RolloutAnswer> {
    const [{ scheduler, automation }, last, { nowMs }, versionChange, changes] = await Promise.all([
      this.find(name),
      this.records.read(name),
      this.rooms.readHearing(),
      this.operations.findOpen(name, versionChanges),
      this.operations.listEndedVersionChanges(name, changesSearched),
    ]);
    const { version } = scheduler;
    // Others were of a scheduler that had the same name.
    const ownChanges = changes.filter(({ createdAt }) => createdAt.getTime() >= scheduler.createdAt.getTime());
    const record = ownRecord(scheduler, last);
    return {
      ...composeRolloutReport({ version, record, nowMs, paused: automation.paused, versionChange }),
      rolledBack: automation.isBroughtBack ? { operation: rollbackTo(version, ownChanges) } : null,
      failedChange: await this.describeFailure(ownChanges[0]),
    };
  }

  private async find(name: string): Promise<{ scheduler: Scheduler; automation: SchedulerAutomation }> {
    const [scheduler, automation] = await Promise.all([
      this.schedulers.getScheduler(name),
      this.schedulers.readAutomation(name),
    ]);
    if (scheduler === null || automation === null) throw schedulerNotFound(name);
    return { scheduler, automation };
  }

  /** What a look would wait for: what runs, else what is to run next. Null also when it ended just now. */
  private async findWork(name: string): Promise<Operation | null> {
    if (!(await this.operations.isBusy(name))) return null;
    const { operations: active } = await this.operations.list(name, { ...onlyPage, stage: 'active' });
    const running = active.find(({ waiting }) => !waiting);
    if (running !== undefined) return running;
    const { operations: pending } = await this.operations.list(name, { ...onlyPage, stage: 'pending' });
    const rank = ({ definition }: Operation): number => operationPriorities[definition] ?? Infinity;
    // By age already, and sorting keeps that.
    return [...pending].sort((one, other) => rank(one) - rank(other))[0] ?? null;
  }

  /** The periodic look comes within its interval, and the record may know of an earlier one. */
  private nextLookAtMs(record: HealthRecord | null): number | null {
    if (record === null) return null;
    const periodicAtMs = record.seenAtMs + this.options.healthIntervalMs;
    return Math.min(periodicAtMs, record.nextLookAtMs ?? periodicAtMs);
  }

  private describeNoLook(name: string, isLookedAfter: boolean): string {
    const begin = `Nobody has looked at the rooms of scheduler ${name} yet, or what was seen is lost`;
    if (!isLookedAfter) return `${begin}; nobody will: it is being deleted, or could not be created.`;
    return `${begin}; a look comes within ${this.options.healthIntervalMs / 1000} s once a worker runs and its other work is done.`;
  }

  private async describeFailure(newest: Operation | undefined): Promise<RolloutAnswer['failedChange']> {
    if (newest === undefined || newest.status === 'finished') return null;
    const found = await this.operations.get(newest.scheduler, newest.id);
    const history = found?.history.map(({ event }) => event) ?? [];
    const reason = whyOperationFailed(history, newest.status === 'canceled' ? 'canceled' : 'error');
    return { operation: newest, reason };
  }
}

/** The operation that brought the version back, of the last version changes, newest first. */
function rollbackTo(version: string, changes: readonly Operation[]): Operation | null {
  const isRollback = ({ definition, actor, status, input }: Operation): boolean =>
    definition === 'switch_active_version' &&
    actor === 'health_controller' &&
    status === 'finished' &&
    (input as { newActiveVersion?: unknown }).newActiveVersion === version;
  return changes.find(isRollback) ?? null;
}
