import type { AutoscalingPolicy } from '../scheduler/scheduler';
import type { RoomLimits } from './classify-room';
import type { HealthFacts, HealthPlan } from './health-plan';
import { planHealthCycle } from './plan-health-cycle';
import { aRoom } from './room.fixture';
import type { Room } from './room';
import type { EarlyEnds } from './start-back-off';

/** The tests' "now": when the rooms of `aRoom` pinged. */
export const nowMs = 1_000_000;
export const ago = (ms: number): number => nowMs - ms;

export const limits: RoomLimits = {
  pingTimeoutMs: 240_000,
  initializationTimeoutMs: 120_000,
  deletionTimeoutMs: 100_000,
  drainConfirmMs: 10_000,
  drainDeadlineMs: null,
};

export function ends(changes: Partial<EarlyEnds>): EarlyEnds {
  return { count: 0, notCreated: 0, lastAtMs: nowMs, lastReason: '', lostSince: 0, ...changes };
}

type Rollback = HealthFacts['rollback'];
export const noRollback: Rollback = {
  toVersion: '',
  isAllowed: true,
  failed: 0,
  lastReason: '',
  failureShare: 0.5,
  failureWindowMs: 600_000,
  outdatedAtMs: null,
};

/** Of `v1.0.0`, without autoscaling and without anything that is wrong. */
export function plan({ replicas, ...changes }: Partial<HealthFacts> & { replicas?: number }): HealthPlan {
  return planHealthCycle({
    rooms: [],
    scheduler: settings({ roomsReplicas: replicas ?? 0 }),
    replacedVersions: new Set(),
    rollback: noRollback,
    paused: null,
    nowMs,
    hearingSinceMs: 0,
    rebuilding: false,
    earlyEnds: ends({ count: 0, lastAtMs: null }),
    lastDownscaleAtMs: null,
    webhookAnswers: new Map(),
    webhookSilences: new Map(),
    last: null,
    limits,
    addLimit: 1000,
    removeLimit: 50,
    ...changes,
  });
}

export function settings(changes: Partial<HealthFacts['scheduler']> = {}): HealthFacts['scheduler'] {
  return { roomsReplicas: 0, matchAllocation: { maxMatches: 1 }, version: 'v1.0.0', maxSurge: '25%', ...changes };
}

export function autoscaled(
  policy: AutoscalingPolicy,
  {
    cooldown = 0,
    min = 1,
    max = -1,
    ...changes
  }: Partial<HealthFacts['scheduler']> & { cooldown?: number; min?: number; max?: number } = {},
): HealthFacts['scheduler'] {
  return settings({ autoscaling: { enabled: true, min, max, cooldown, policy }, ...changes });
}

export const buffer = (amount: number): AutoscalingPolicy => ({
  type: 'fixedBuffer',
  parameters: { fixedBuffer: { amount } },
});

export const occupancy = (readyTarget: number, downThreshold: number): AutoscalingPolicy => ({
  type: 'roomOccupancy',
  parameters: { roomOccupancy: { readyTarget, downThreshold } },
});

export const fleet = (amount: number, room: Parameters<typeof aRoom>[0] = {}, prefix = 'room'): Room[] =>
  Array.from({ length: amount }, (_, index) => aRoom({ id: `${prefix}-${index}`, ...room }));

export const codes = (result: HealthPlan): string[] => result.blockedBy.map(({ code }) => code);
