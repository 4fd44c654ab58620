import { DomainError } from '../../src/domain/errors';
import type { Operation } from '../../src/domain/operation/operation';
import { schedulerNotFound } from '../../src/domain/scheduler/scheduler-not-found';
import {
  AutomationReportsService,
  type AutomationReport,
  type RolloutAnswer,
} from '../../src/features/reconciling/automation-reports.service';
import { AutomationService } from '../../src/features/reconciling/automation.service';
import {
  BacktestsService,
  boundsOfRequests,
  type BacktestOutcome,
  type BacktestRequest,
} from '../../src/features/backtesting/backtests.service';
import type { HealthRecord } from '../../src/ports/health-records';
import type { PausedAutomation } from '../../src/ports/scheduler-store';

type PublicSide<T> = { [K in keyof T]: T[K] };

const at = new Date('2026-05-01T10:00:00.123Z');

function refuseUnknown(name: string): void {
  if (name === 'nowhere') throw schedulerNotFound(name);
}

/** Every scheduler but `nowhere` has the one pause. */
export class FakeAutomation implements PublicSide<AutomationService> {
  readonly calls: unknown[][] = [];
  paused: PausedAutomation | null = null;

  async findPause(name: string): Promise<PausedAutomation | null> {
    refuseUnknown(name);
    return this.paused;
  }

  async pauseAutomation(name: string, pause: Omit<PausedAutomation, 'since'>): Promise<void> {
    this.calls.push(['pause', name, pause]);
    if (pause.reason.length > 500) {
      throw new DomainError('invalid_argument', 'automation.invalid_reason', 'the reason of a pause is too long');
    }
    refuseUnknown(name);
    this.paused = { since: at, ...pause };
  }

  async resumeAutomation(name: string): Promise<void> {
    this.calls.push(['resume', name]);
    refuseUnknown(name);
    this.paused = null;
  }
}

const operation: Operation = {
  id: 'op-1',
  scheduler: 'arena',
  definition: 'switch_active_version',
  input: { newActiveVersion: 'v2.0.0' },
  status: 'in_progress',
  attempt: 1,
  actor: 'health_controller',
  reason: 'version v3.0.0 is rolled back: it fails',
  createdAt: at,
  startedAt: at,
  finishedAt: at,
  cancelRequestedAt: null,
  waiting: true,
  leaseExpiresAt: null,
};

const noRooms = { pending: 0, unready: 0, ready: 0, occupied: 0, terminating: 0, error: 0, terminated: 0 };

/**
 * `fresh` has nothing to tell; the rooms of `lost` are not known; every other scheduler but `nowhere`, which there is not, has all
 * that can be told.
 */
export class FakeAutomationReports implements PublicSide<AutomationReportsService> {
  readonly calls: unknown[][] = [];

  constructor(private readonly automation: FakeAutomation) {}

  async explain(name: string): Promise<AutomationReport> {
    this.calls.push(['explain', name]);
    refuseUnknown(name);
    const { paused } = this.automation;
    if (name === 'fresh') {
      const blockedBy: AutomationReport['blockedBy'] = [{ code: 'not_looked_yet', detail: 'Nobody has looked.' }];
      return { record: null, blockedBy, nextLookAtMs: null, paused, busyWith: null };
    }
    const record = name === 'lost' ? recordOfLostRooms : fullRecord;
    return { record, blockedBy: record.blockedBy, nextLookAtMs: record.nextLookAtMs, paused, busyWith: operation };
  }

  async findRollout(name: string): Promise<RolloutAnswer> {
    this.calls.push(['rollout', name]);
    refuseUnknown(name);
    const none = {
      rooms: null,
      progress: null,
      endsAtMs: null,
      latestEndMs: null,
      seenAtMs: null,
      versionChange: null,
      rolledBack: null,
      failedChange: null,
    };
    if (name === 'fresh') {
      return { phase: 'unknown', version: 'v1.0.0', replacedVersions: [], waitsFor: [], ...none };
    }
    return {
      phase: 'replacing',
      version: 'v2.0.0',
      replacedVersions: ['v1.0.0', 'v3.0.0'],
      rooms: { outdated: 40, leaving: 15, starting: 10, updated: 45, upper: 125, deadlineAtMs: null },
      progress: 0.9999,
      waitsFor: [{ code: 'surge', detail: 'The surge of 25 is used up: 10 rooms are starting.' }],
      endsAtMs: at.getTime() + 60_000,
      latestEndMs: at.getTime() + 90_000,
      seenAtMs: at.getTime(),
      versionChange: operation,
      rolledBack: { operation: name === 'lost' ? null : operation },
      failedChange: { operation: { ...operation, status: 'error' }, reason: 'version v3.0.0 not found' },
    };
  }
}

const fullRecord: HealthRecord = {
  createdAtMs: 0,
  seenAtMs: at.getTime(),
  version: 'v2.0.0',
  inputs: {
    counts: {
      rooms: { ...noRooms, ready: 3, occupied: 12, active: 1, allocated: 2 },
      instances: { unknown: 0, pending: 0, ready: 18, terminating: 0, error: 0 },
      runningMatches: 13,
    },
    draining: 0,
    available: 18,
    roomsReplicas: 3,
    maxMatches: 2,
    maxSurge: '25%',
    min: 0,
    max: -1,
    replacedVersions: ['v1.0.0', 'v3.0.0'],
    lastDownscaleAtMs: at.getTime() - 60_000,
    earlyEnds: 1,
  },
  formula: '15 in use + 5 free = 20',
  desired: 20,
  notes: ['a note'],
  actions: [
    { action: 'add', amount: 2, roomIds: [], reason: '20 rooms are wanted and 18 are there' },
    { action: 'remove', amount: 1, roomIds: ['arena-1'], reason: 'it expired' },
  ],
  blockedBy: [{ code: 'breaker', detail: 'Starts wait: they fail.' }],
  nextLookAtMs: at.getTime() + 10_000,
  rollout: { outdated: 40, leaving: 15, starting: 10, updated: 45, upper: 125, deadlineAtMs: null },
  memory: { remembered: [], webhookAnswers: {}, rolloutSamples: [], outdatedAtMs: null },
};

const recordOfLostRooms: HealthRecord = {
  ...fullRecord,
  inputs: { ...fullRecord.inputs, counts: null, available: null, min: null, max: null, lastDownscaleAtMs: null },
  formula: '',
  desired: null,
  notes: [],
  actions: [],
  blockedBy: [{ code: 'rebuilding', detail: 'The rooms are not known.' }],
  nextLookAtMs: null,
  rollout: null,
};

/** The real ones, with what they were asked and answered. */
export class RecordedBacktests extends BacktestsService {
  readonly calls: unknown[][] = [];
  readonly outcomes: Promise<BacktestOutcome[]>[] = [];

  constructor() {
    super({
      limits: {
        pingTimeoutMs: 240_000,
        initializationTimeoutMs: 120_000,
        deletionTimeoutMs: 120_000,
        drainConfirmMs: 10_000,
      },
      addLimit: 1_000,
      removeLimit: 50,
      bounds: boundsOfRequests,
    });
  }

  override run(request: BacktestRequest, signal?: AbortSignal): Promise<BacktestOutcome[]> {
    this.calls.push(['backtest', request]);
    const outcome = super.run(request, signal);
    this.outcomes.push(outcome);
    // Whoever asked hears of it; nobody else has to.
    outcome.catch(() => undefined);
    return outcome;
  }
}

export function fakeAutomationFeatures() {
  const automation = new FakeAutomation();
  const reports = new FakeAutomationReports(automation);
  const backtests = new RecordedBacktests();
  return {
    automation,
    reports,
    backtests,
    providers: [
      { provide: AutomationService, useValue: automation },
      { provide: AutomationReportsService, useValue: reports },
      { provide: BacktestsService, useValue: backtests },
    ],
  };
}
