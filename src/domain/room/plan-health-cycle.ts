import { counted } from '../phrases';
import { canDownscale, cooldownEndsAtMs } from '../autoscaling/can-downscale';
import { desiredRooms, type FleetSettings } from '../autoscaling/desired-rooms';
import { chooseRemovals } from './choose-removals';
import {
  classifyRoom,
  errorDeadlineMs,
  isExpectedToPing,
  silenceMs,
  type ExpiryReason,
  type HearingFacts,
  type RoomLimits,
} from './classify-room';
import { countFleet } from './count-fleet';
import { hasMatch, type Room } from './room';
import { describeEarlyEnds, earlyEndAgeMs, nextStartAtMs, replacementsOwed, type EarlyEnds } from './start-back-off';

export interface HealthFacts extends HearingFacts {
  rooms: readonly Room[];
  scheduler: FleetSettings & {
    /** The active version. */
    version: string;
  };
  /** The store does not know all rooms yet (after a flush): nothing may be decided. */
  rebuilding: boolean;
  lastDownscaleAtMs: number | null;
  /** Rooms that failed or ended soon after their start. */
  earlyEnds: EarlyEnds;
  limits: RoomLimits;
  /** At most so many rooms are added, or scaled down, in one cycle. */
  addLimit: number;
  removeLimit: number;
}

export interface HealthBlock {
  code:
    /** No decision at all. */
    | 'rebuilding'
    /** Too many rooms fell silent together: it is more likely that we do not hear them. Someone should look. */
    | 'mass_silence'
    /** Rooms keep failing, or ending right after their start: the next ones wait. */
    | 'start_back_off'
    /** The policy's gates hold a scale-down back. */
    | 'cooldown'
    | 'threshold'
    /** More rooms are too many than may be removed: they have matches, or may have. */
    | 'no_removable_room';
  /** A sentence with the numbers. */
  detail: string;
}

/** What one health cycle does. Rooms are added or scaled down, never both; expired and drained ones are removed besides. */
export interface HealthPlan {
  /** Rooms to make. */
  add: number;
  /** Rooms to remove with reason `scale_down`, first to go first. */
  removeIds: string[];
  /** Rooms to remove with reason `expired_room`; those are no capacity and are replaced in the same cycle. */
  expired: { id: string; reason: ExpiryReason }[];
  /** Rooms to remove with reason `drained`: they are empty, and were replaced when their drain began. */
  drainedIds: string[];
  /** Null while rebuilding: nobody knows. */
  desired: number | null;
  /** Rooms that count as capacity, used or not. Null while rebuilding. */
  available: number | null;
  /** How `desired` came about; empty while rebuilding. */
  formula: string;
  /** What kept the plan from being more. */
  blockedBy: HealthBlock[];
  /** Until when rooms that are wanted are not started, because others keep failing (`start_back_off`); null when none is held. */
  startsHeldUntilMs: number | null;
  /** Rooms keep failing and the fleet is not up: starts are held, or it is tried just now whether they need be any longer. */
  backsOff: boolean;
  /** When a block or a drain may end by itself and another look is due; null when nothing waits for a time. */
  nextLookAtMs: number | null;
}

/** A rebuild takes moments: look again soon. Milliseconds. */
const rebuildingLookMs = 1_000;

/** More than this share of the rooms that should ping, silent together, is our deafness rather than their end. */
const massSilenceDivisor = 5;
const massSilenceMinimum = 2;

/**
 * The rooms that fell silent together, or null when it is not a mass.
 *
 * "Together" cannot mean "within one cycle": cycles are seconds apart and pings of a fleet are spread over their interval,
 * so a fleet that goes dark crosses the timeout a few rooms at a time. Silence therefore counts from half the timeout on; a
 * room that pings at least twice per timeout never is that silent while it is heard.
 */
function findMassSilence(rooms: readonly Room[], facts: HealthFacts): Set<Room> | null {
  const pinging = rooms.filter(isExpectedToPing);
  const silent = pinging.filter((room) => silenceMs(room, facts) > facts.limits.pingTimeoutMs / 2);
  const isMass = silent.length >= massSilenceMinimum && silent.length * massSilenceDivisor > pinging.length;
  return isMass ? new Set(silent) : null;
}

/**
 * One health cycle, decided from a snapshot: which rooms are over, how many there should be, and what brings one to the
 * other. A level-based decision: asked again after its plan was carried out, it has less to do, and in the end nothing.
 *
 * Promises: no room with a match (or that may have an unheard one) is scaled down, or goes because it drained; `removeIds` are
 * never more than are too many; while rebuilding, nothing happens. Where v10 differs: `rooms.md` 7.2-7.4, W2, W11, W12, W14.
 * The policy sees available rooms only: an expired or draining room is neither a free slot nor a reason for more.
 *
 * @throws DomainError `autoscaling.policy_invalid` for a policy that validation would have refused.
 */
export function planHealthCycle(facts: HealthFacts): HealthPlan {
  if (facts.rebuilding) {
    const detail =
      'The room store is being rebuilt from the runtime; rooms are neither added nor removed until it is complete.';
    return {
      add: 0,
      removeIds: [],
      expired: [],
      drainedIds: [],
      desired: null,
      available: null,
      formula: '',
      blockedBy: [{ code: 'rebuilding', detail }],
      startsHeldUntilMs: null,
      backsOff: false,
      nextLookAtMs: facts.nowMs + rebuildingLookMs,
    };
  }
  const blockedBy: HealthBlock[] = [];
  const { rooms, scheduler, limits } = facts;

  const massSilence = findMassSilence(rooms, facts);
  const capacity: Room[] = [];
  const expired: HealthPlan['expired'] = [];
  const drainedIds: string[] = [];
  const looksAtMs: number[] = [];
  const failing: Room[] = [];
  let held = 0;
  for (const room of rooms) {
    const verdict = classifyRoom(room, facts);
    switch (verdict.class) {
      case 'available':
        capacity.push(room);
        break;
      case 'expired':
        if (verdict.reason === 'ping_timeout' && massSilence?.has(room)) {
          // Held back is not taken back: what drains was replaced, and would be scaled down instead of its successor.
          if (room.drainingSinceMs === null) capacity.push(room);
          held += 1;
        } else {
          expired.push({ id: room.id, reason: verdict.reason });
        }
        break;
      case 'draining':
        if (verdict.lookAtMs !== null) looksAtMs.push(verdict.lookAtMs);
        break;
      case 'drained':
        // Silent together with others, it may be heard as little as they are: its match may be one that we missed.
        if (!massSilence?.has(room)) drainedIds.push(room.id);
        break;
      case 'ignored':
        if (verdict.reason === 'error' && room.version === scheduler.version && hasFailedEarly(room))
          failing.push(room);
    }
  }
  if (massSilence && held > 0) {
    const pinging = rooms.filter(isExpectedToPing).length;
    const detail = `${massSilence.size} of ${pinging} rooms fell silent together, ${held} of them beyond the ping timeout; none of these expires.`;
    blockedBy.push({ code: 'mass_silence', detail });
  }

  const counts = countFleet(capacity);
  const { desired, formula } = desiredRooms(scheduler, counts);
  const available = capacity.length;
  const plan: HealthPlan = {
    add: 0,
    removeIds: [],
    expired,
    drainedIds,
    desired,
    available,
    formula,
    blockedBy,
    startsHeldUntilMs: null,
    backsOff: nextStartAtMs(facts.earlyEnds, desired) !== null && capacity.filter(isUp).length < desired,
    nextLookAtMs: earliest(looksAtMs),
  };
  if (available < desired) {
    const { amount, heldUntilMs, because } = judgeStarts(facts, { desired, missing: desired - available, failing });
    plan.add = Math.min(amount, facts.addLimit);
    if (heldUntilMs !== null) {
      blockedBy.push({ code: 'start_back_off', detail: because });
      plan.startsHeldUntilMs = heldUntilMs;
      plan.nextLookAtMs = earliest([heldUntilMs, ...looksAtMs]);
    }
  }
  if (available <= desired) return plan;

  const cooldownMs = cooldownEndsAtMs(scheduler, facts.lastDownscaleAtMs);
  if (cooldownMs !== null && cooldownMs > facts.nowMs) {
    const detail = `The next scale-down may happen at ${new Date(cooldownMs).toISOString()}, ${scheduler.autoscaling?.cooldown} s after the last.`;
    blockedBy.push({ code: 'cooldown', detail });
  }
  const downscale = canDownscale(scheduler, counts);
  if (!downscale.allowed) blockedBy.push({ code: 'threshold', detail: downscale.formula });
  if (blockedBy.some(({ code }) => code === 'cooldown' || code === 'threshold')) return plan;

  // Capacity only: removing what does not count would not bring the count down.
  const candidates = capacity.filter((room) => !massSilence?.has(room));
  const amount = Math.min(available - desired, facts.removeLimit);
  plan.removeIds = chooseRemovals(candidates, { ...facts, ...limits, amount, version: scheduler.version });
  if (plan.removeIds.length < amount) {
    const detail = `${available - desired} rooms are too many, but only ${plan.removeIds.length} may be removed; the others have a match, or have not been heard since they were found.`;
    blockedBy.push({ code: 'no_removable_room', detail });
  }
  return plan;
}

/**
 * How many of the missing rooms may start now, and until when the others wait.
 *
 * Once more rooms ended early than accidents explain, each round waits longer than the one before, and a failed room keeps its
 * place until it is removed: its runtime goes on trying to start it (kubelet pulls and restarts with pauses of its own), and
 * where it stands it holds what it requested of its machine. Without that, a fleet whose image cannot be pulled would fill the
 * cluster with rooms that wait for it. Neither keeps a room that had its place from being replaced, once.
 */
function judgeStarts(
  { rooms, earlyEnds, nowMs, limits }: HealthFacts,
  { desired, missing, failing }: { desired: number; missing: number; failing: readonly Room[] },
): { amount: number; heldUntilMs: number | null; because: string } {
  const startAtMs = nextStartAtMs(earlyEnds, desired);
  if (startAtMs === null) return { amount: missing, heldUntilMs: null, because: '' };
  const ended = describeEarlyEnds(earlyEnds);
  const createdAtMs = rooms.filter(({ validation }) => !validation).map((room) => room.createdAtMs);
  const owed = Math.min(missing, replacementsOwed(earlyEnds, createdAtMs));
  if (startAtMs > nowMs) {
    if (owed === missing) return { amount: owed, heldUntilMs: null, because: '' };
    const because = `Starts wait: ${ended}; the next may start at ${new Date(startAtMs).toISOString()}.`;
    return { amount: owed, heldUntilMs: startAtMs, because };
  }
  const amount = Math.max(owed, missing - failing.length);
  const removedAtMs = earliest(failing.map((room) => errorDeadlineMs(room, limits) + 1));
  if (amount === missing || removedAtMs === null) return { amount, heldUntilMs: null, because: '' };
  const keep = failing.length === 1 ? 'keeps its place until it is' : 'keep their places until they are';
  const because = `Starts wait: ${ended}; ${counted(failing.length, 'failed room')} ${keep} removed, the first one at ${new Date(removedAtMs).toISOString()}.`;
  return { amount, heldUntilMs: removedAtMs, because };
}

/** One with a match is not ours to remove, and one that was up has shown that it can be. */
function hasFailedEarly(room: Room): boolean {
  const wasUp = room.lastPingAtMs !== null && room.statusSinceMs - room.createdAtMs > earlyEndAgeMs;
  return !wasUp && !hasMatch(room);
}

function isUp(room: Room): boolean {
  return room.status === 'ready' || hasMatch(room);
}

/** Whether there is nothing to carry out. A plan may be empty because something blocks it. */
export function isEmptyPlan(plan: HealthPlan): boolean {
  const { add, removeIds, expired, drainedIds } = plan;
  return add === 0 && removeIds.length === 0 && expired.length === 0 && drainedIds.length === 0;
}

function earliest(timesMs: number[]): number | null {
  return timesMs.length === 0 ? null : timesMs.reduce((a, b) => Math.min(a, b));
}
