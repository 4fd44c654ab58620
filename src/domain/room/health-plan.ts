import type { FleetSettings } from '../autoscaling/fleet-settings';
import type { WebhookAnswer, WebhookSilence } from '../autoscaling/policy-facts';
import type { Recommendation } from '../autoscaling/stabilise';
import type { RemovalReason } from '../operation/operation';
import type { RolloutRollback } from '../rollout/judge-rollout';
import type { RolloutProgress } from '../rollout/plan-replacement';
import type { ExpiryReason, HearingFacts, RoomLimits } from './classify-room';
import type { DrainReason, FleetCounts, Room } from './room';
import type { EarlyEnds } from './start-back-off';

/** What a health cycle is decided from (`plan-health-cycle.ts`). */
export interface HealthFacts extends HearingFacts {
  rooms: readonly Room[];
  scheduler: FleetSettings & {
    /** The active version. */
    version: string;
    /** `"5"` or `"25%"`. */
    maxSurge: string;
  };
  /** Versions whose rooms are to be replaced: those that differ from the active one in what a room is started with. */
  replacedVersions: ReadonlySet<string>;
  /** What ends a rollout whose rooms fail: failures of the active version's rooms within the window (`VersionFailures`). */
  rollback: {
    /** Empty when there is none to go back to. */
    toVersion: string;
    /** False where the scheduler does not want it, and for a version that a rollback has brought back. */
    isAllowed: boolean;
    failed: number;
    lastReason: string;
    failureShare: number;
    failureWindowMs: number;
    /** When the last look was at which rooms of replaced versions were not draining yet; null when it is not known that there was one. */
    outdatedAtMs: number | null;
  };
  /** Somebody has paused the scheduler's automation: nothing is done, and the plan says so. Null when nobody has. */
  paused: { sinceMs: number; by: string; reason: string } | null;
  /** The store does not know all rooms yet (after a flush): nothing may be decided. */
  rebuilding: boolean;
  lastDownscaleAtMs: number | null;
  /** Rooms that failed or ended soon after their start. */
  earlyEnds: EarlyEnds;
  /** The last good answers of webhooks that the policy goes by, by their URLs. */
  webhookAnswers: ReadonlyMap<string, WebhookAnswer>;
  /** Of those that did not answer this look. */
  webhookSilences: ReadonlyMap<string, WebhookSilence>;
  /** What the last plan came to; null when it is not known. */
  last: { desired: number | null; remembered: readonly Recommendation[] } | null;
  limits: RoomLimits;
  /** At most so many rooms are added, or scaled down, in one cycle. */
  addLimit: number;
  removeLimit: number;
}

export interface HealthBlock {
  code:
    /** No decision at all. */
    | 'rebuilding'
    /** Somebody wants it so. */
    | 'paused'
    /** Too many rooms fell silent together: it is more likely that we do not hear them. Someone should look. */
    | 'mass_silence'
    /** Rooms keep failing, or ending right after their start: the next ones wait. */
    | 'breaker'
    /** As `breaker`, and what the last one lacked was a host port: the range is used up, or no machine has any of it free. */
    | 'ports'
    /** The version before comes back first. */
    | 'rollback'
    /** The autoscaling's policy cannot be applied: nobody knows how many rooms there should be. Someone should look. */
    | 'policy'
    /** More rooms are wanted than the autoscaling's max allows. */
    | 'max'
    /** The policy's gates hold a scale-down back. */
    | 'cooldown'
    | 'threshold'
    /** What is wanted has not been wanted for long enough. */
    | 'stabilization'
    /** A rollout waits: for new rooms to be up, for matches to end. */
    | 'surge'
    | 'matches'
    /** A rollout, or a scale-down, waits: else fewer slots would be free now than are wanted. */
    | 'ready_buffer'
    /** At most so many rooms are added, or removed, at once. */
    | 'limit'
    /** More rooms are too many than may be removed: they have matches, or may have. */
    | 'no_removable_room';
  /** A sentence with the numbers. */
  detail: string;
}

/** Where a rollout stands. */
export interface RolloutState extends RolloutProgress {
  /** How many rooms may stand while it runs. */
  upper: number;
  /** When the last of the rooms that leave is ended, whatever runs there; null where the scheduler states no deadline, or none leaves. */
  deadlineAtMs: number | null;
}

/** What one health cycle does. Rooms are added, or become fewer, never both; expired and drained ones are removed besides. */
export interface HealthPlan {
  /** Rooms to make. */
  add: number;
  /** Rooms that are too many, first to go first: they are claimed, and go when they are empty one ping interval later. */
  claimIds: string[];
  /** Rooms of replaced versions that are to get no new players, first to go first. */
  drainIds: string[];
  /** Rooms whose drain is taken back. */
  released: { id: string; reason: DrainReason }[];
  /** Rooms to remove with reason `expired_room`; those are no capacity and are replaced in the same cycle. */
  expired: { id: string; reason: ExpiryReason }[];
  /** Rooms to remove that drained: they are empty, or out of time. */
  drained: { id: string; reason: RemovalReason }[];
  /** The rollout ends, and the version before comes back; null when it does not. */
  rollback: RolloutRollback | null;
  /** Where the rollout stands; null when none runs. */
  rollout: RolloutState | null;
  /** Null while rebuilding, and with a policy that cannot be applied: nobody knows. */
  desired: number | null;
  /** Rooms that count as capacity, used or not. Null while rebuilding. */
  available: number | null;
  /** What the decision was made from; null while rebuilding. */
  counts: FleetCounts | null;
  /** How `desired` came about; empty where that is null. */
  formula: string;
  /** What the next cycle has to be given (`HealthFacts.last`). */
  remembered: Recommendation[];
  /** Sentences: what someone may want to look at, though nothing is blocked. */
  notes: string[];
  /** What kept the plan from being more. */
  blockedBy: HealthBlock[];
  /** Until when rooms that are wanted are not started, because others keep failing (`breaker`, `ports`); null when none is held. */
  startsHeldUntilMs: number | null;
  /** Rooms keep failing and the fleet is not up: starts are held, or it is tried just now whether they need be any longer. */
  backsOff: boolean;
  /** When a block or a drain may end by itself and another look is due; null when nothing waits for a time. */
  nextLookAtMs: number | null;
}

/** Whether there is nothing to carry out. A plan may be empty because something blocks it. */
export function isEmptyPlan(plan: HealthPlan): boolean {
  const { add, rollback, claimIds, drainIds, released, expired, drained } = plan;
  return (
    add === 0 &&
    rollback === null &&
    [claimIds, drainIds, released, expired, drained].every(({ length }) => length === 0)
  );
}
