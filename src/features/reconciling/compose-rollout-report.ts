import type { Operation } from '../../domain/operation/operation';
import { estimateRolloutEnd } from '../../domain/rollout/estimate-rollout-end';
import type { HealthBlock, RolloutState } from '../../domain/room/health-plan';
import type { HealthRecord } from '../../ports/health-records';
import type { PausedAutomation } from '../../ports/scheduler-store';

export interface RolloutReportFacts {
  /** The active version. */
  version: string;
  /** The last look's; null when there is none. */
  record: HealthRecord | null;
  /** By the store's clock. */
  nowMs: number;
  paused: PausedAutomation | null;
  /** A change of the version that has not ended. */
  versionChange: Operation | null;
}

export interface RolloutReport {
  phase:
    /** No room is to be replaced, and no version is on its way. */
    | 'none'
    /** A version is tried, or is about to be switched to. */
    | 'preparing'
    /** Rooms of older versions are replaced. */
    | 'replacing'
    /** Those that are left of older versions have no match, failed, or were drained by an operator, and go. */
    | 'finishing'
    /** Nobody has looked since the active version is that, or it is not known which rooms there are, or should be. */
    | 'unknown';
  version: string;
  /** Empty unless it replaces, or finishes. */
  replacedVersions: string[];
  /** Null unless it replaces; so are the share and the ends. */
  rooms: RolloutState | null;
  /** 0 to 1. */
  progress: number | null;
  waitsFor: HealthBlock[];
  /** An estimate. */
  endsAtMs: number | null;
  /** When the drain deadline has ended all that leave; null where others do not leave yet, without a deadline, and while paused. */
  latestEndMs: number | null;
  seenAtMs: number | null;
  versionChange: Operation | null;
}

/** What keeps a policy from scaling keeps no room from being replaced. */
const holdsRollouts: Record<HealthBlock['code'], boolean> = {
  rebuilding: true,
  paused: true,
  mass_silence: true,
  breaker: true,
  ports: true,
  rollback: true,
  policy: true,
  surge: true,
  matches: true,
  ready_buffer: true,
  limit: true,
  max: false,
  cooldown: false,
  threshold: false,
  stabilization: false,
  no_removable_room: false,
};

/** Where a rollout stands, of what the last look left and of what has been decided since. */
export function composeRolloutReport(facts: RolloutReportFacts): RolloutReport {
  const { version, nowMs, paused, versionChange } = facts;
  // What an earlier version's look counted says nothing of this one's rollout.
  const record = facts.record?.version === version ? facts.record : null;
  const report: RolloutReport = {
    phase: versionChange === null ? 'none' : 'preparing',
    version,
    replacedVersions: [],
    rooms: null,
    progress: null,
    waitsFor: [],
    endsAtMs: null,
    latestEndMs: null,
    seenAtMs: record?.seenAtMs ?? null,
    versionChange,
  };
  // Nobody knew the rooms, or how many there should be.
  if (record === null || record.desired === null) {
    const waitsFor = record?.blockedBy.filter(({ code }) => holdsRollouts[code]) ?? [];
    return versionChange === null ? { ...report, phase: 'unknown', waitsFor } : { ...report, waitsFor };
  }
  const { rollout } = record;
  const { replacedVersions } = record.inputs;
  if (rollout === null) {
    return versionChange !== null || replacedVersions.length === 0
      ? report
      : { ...report, phase: 'finishing', replacedVersions };
  }
  const left = rollout.outdated + rollout.leaving;
  const isPaused = paused !== null;
  // What does not leave yet has all its time before it, and while it is paused no deadline ends anything.
  const latestEndMs = rollout.outdated > 0 || isPaused ? null : rollout.deadlineAtMs;
  return {
    ...report,
    phase: 'replacing',
    replacedVersions,
    rooms: rollout,
    progress: rollout.updated / (rollout.updated + left),
    waitsFor: blocksOf(record, paused),
    endsAtMs: estimateRolloutEnd({ samples: record.memory.rolloutSamples, left, nowMs, isPaused, latestEndMs }),
    latestEndMs,
  };
}

/** A pause holds from when it was ordered, which the last look may not have seen; and no longer. */
function blocksOf({ blockedBy }: HealthRecord, paused: PausedAutomation | null): HealthBlock[] {
  const blocks = blockedBy.filter(({ code }) => holdsRollouts[code]);
  if (paused === null) return blocks.filter(({ code }) => code !== 'paused');
  if (blocks.some(({ code }) => code === 'paused')) return blocks;
  const because = paused.reason === '' ? '' : `: ${paused.reason}`;
  const detail = `The automation is paused since ${paused.since.toISOString()} by ${paused.by}${because}.`;
  return [{ code: 'paused', detail }];
}
