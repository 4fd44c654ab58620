import type { RemovalReason } from '../operation/operation';
import {
  classifyRoom,
  isExpectedToPing,
  silenceMs,
  type ExpiryReason,
  type HearingFacts,
  type RoomLimits,
} from './classify-room';
import { hasMatch, type DrainReason, type Room } from './room';

export interface FleetFacts extends HearingFacts {
  rooms: readonly Room[];
  /** Versions whose rooms are to be replaced. */
  replacedVersions: ReadonlySet<string>;
  limits: RoomLimits;
}

/** What each room of a fleet is to the planner; validation rooms, and those that go already, are nothing to it. */
export interface SortedFleet {
  /** Capacity, used or not: none that drains, fails or goes. */
  capacity: Room[];
  /** Rooms that drain because their version was replaced, and have a match: in use until it ends. */
  leaving: Room[];
  /** Rooms that were claimed because they were too many, confirmed to be empty (`drained`) or not yet. No capacity, but may be again. */
  claimed: Room[];
  /** Failed ones. */
  failed: Room[];
  expired: { id: string; reason: ExpiryReason }[];
  /** Rooms that drained and may go now. */
  drained: { id: string; reason: RemovalReason }[];
  /** Rooms whose drain is to be taken back; from now on they are what they would be had they never drained. */
  released: { id: string; reason: DrainReason }[];
  massSilence: MassSilence | null;
  /** When time alone may have changed something of a room that drains. */
  looksAtMs: number[];
}

export interface MassSilence {
  rooms: ReadonlySet<Room>;
  /** How many of them are beyond the ping timeout: those would expire. */
  held: number;
  /** Of how many rooms a ping is due. */
  pinging: number;
}

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
function findMassSilence(facts: FleetFacts): MassSilence | null {
  const pinging = facts.rooms.filter(isExpectedToPing);
  const silent = pinging.filter((room) => silenceMs(room, facts) > facts.limits.pingTimeoutMs / 2);
  const isMass = silent.length >= massSilenceMinimum && silent.length * massSilenceDivisor > pinging.length;
  return isMass ? { rooms: new Set(silent), held: 0, pinging: pinging.length } : null;
}

/** While others are heard, a room without a match is not given up later than after so many ping timeouts of silence. */
const longestSilence = 4;

function isLostForGood(room: Room, facts: FleetFacts, { rooms, pinging }: MassSilence): boolean {
  const isOursToHear = rooms.size < pinging;
  return isOursToHear && !hasMatch(room) && silenceMs(room, facts) > longestSilence * facts.limits.pingTimeoutMs;
}

const removalReasons: Record<DrainReason, RemovalReason> = {
  operator: 'drained',
  scale_down: 'scale_down',
  rollout: 'rolling_update_replace',
};

/**
 * Which rooms are capacity, which are over, and which change their minds: a room that was claimed and has got a match all the
 * same stays, and so does one that drained for a version that is active again.
 */
export function sortFleet(facts: FleetFacts): SortedFleet {
  const massSilence = findMassSilence(facts);
  const fleet: SortedFleet = {
    capacity: [],
    leaving: [],
    claimed: [],
    failed: [],
    expired: [],
    drained: [],
    released: [],
    massSilence,
    looksAtMs: [],
  };
  for (const room of facts.rooms) {
    const verdict = classifyRoom(room, facts);
    if (verdict.class === 'expired') {
      if (
        verdict.reason !== 'ping_timeout' ||
        !massSilence?.rooms.has(room) ||
        isLostForGood(room, facts, massSilence)
      ) {
        fleet.expired.push({ id: room.id, reason: verdict.reason });
        continue;
      }
      massSilence.held += 1;
    }
    if (verdict.class === 'ignored') {
      if (verdict.reason === 'error') fleet.failed.push(room);
      continue;
    }
    if (room.drainingSinceMs === null) {
      fleet.capacity.push(room);
    } else if (isTakenBack(room, facts.replacedVersions)) {
      fleet.released.push({ id: room.id, reason: room.drainReason ?? 'operator' });
      (room.status === 'error' ? fleet.failed : fleet.capacity).push(room);
    } else if (verdict.class === 'overdue') {
      fleet.drained.push({ id: room.id, reason: 'drain_deadline' });
    } else {
      if (room.drainReason === 'scale_down') fleet.claimed.push(room);
      // A failed one is no supply, whatever it still holds: neither is one that does not drain.
      if (room.drainReason === 'rollout' && room.status !== 'error' && hasMatch(room)) fleet.leaving.push(room);
      if (verdict.class === 'draining' && verdict.lookAtMs !== null) fleet.looksAtMs.push(verdict.lookAtMs);
      if (verdict.class !== 'drained') continue;
      // Silent together with others, it may be heard as little as they are: its match may be one that we missed.
      if (massSilence?.rooms.has(room)) fleet.looksAtMs.push(nextHearingLookMs(facts));
      else fleet.drained.push({ id: room.id, reason: removalReasons[room.drainReason ?? 'operator'] });
    }
  }
  return fleet;
}

/** When to look again at what waits for a ping: a ping that changes no status rings for nobody. */
export function nextHearingLookMs({ nowMs, limits }: Pick<FleetFacts, 'nowMs' | 'limits'>): number {
  return nowMs + Math.max(limits.drainConfirmMs, 1_000);
}

function isTakenBack(room: Room, replacedVersions: ReadonlySet<string>): boolean {
  if (room.drainReason === 'scale_down') return hasMatch(room);
  return room.drainReason === 'rollout' && !replacedVersions.has(room.version);
}
