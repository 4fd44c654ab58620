import { ceilDivide } from '../exact-decimal';
import type { FleetCounts } from '../room/room';
import type { FixedBufferParameters, RoomOccupancyParameters } from '../scheduler/scheduler';
import { exactShare, roomsByOccupancy, roomsInUse } from './rooms-by-policy';

export interface DownscaleDecision {
  allowed: boolean;
  /** The comparison that decided, for "explain". */
  formula: string;
}

/**
 * The free slots that the target wants, measured against those there are, must be at most `downThreshold`:
 * ceil(desired rooms x maxMatches x readyTarget) / free slots. Desired is the policy's own number, before min and max (v10).
 * A fleet without free slots never may shrink: v10 also refuses at zero, but allows it below (more matches than slots), because a
 * negative share is below any threshold.
 */
export function downscaleByOccupancy(
  parameters: RoomOccupancyParameters,
  counts: FleetCounts,
  maxMatches: number,
): DownscaleDecision {
  const { readyTarget, downThreshold } = parameters;
  const target = exactShare('readyTarget', readyTarget);
  const threshold = exactShare('downThreshold', downThreshold);
  const { ready, active, occupied, allocated } = counts.rooms;
  const freeSlots = (ready + active + occupied + allocated) * maxMatches - counts.runningMatches;
  if (freeSlots <= 0) return { allowed: false, formula: `roomOccupancy: ${freeSlots} free slots` };
  const slots = BigInt(roomsByOccupancy(parameters, counts, maxMatches).rooms) * BigInt(maxMatches);
  const wantedFree = ceilDivide(slots * target.numerator, target.denominator);
  const allowed = wantedFree * threshold.denominator <= threshold.numerator * BigInt(freeSlots);
  return {
    allowed,
    formula: `roomOccupancy: ${wantedFree} wanted free / ${freeSlots} free ${allowed ? '<=' : '>'} ${downThreshold} (downThreshold)`,
  };
}

/** There must be more rooms than those in use and the buffer. */
export function downscaleByFixedBuffer({ amount }: FixedBufferParameters, counts: FleetCounts): DownscaleDecision {
  return compare('fixedBuffer', counts, roomsInUse(counts) + amount, 'needed');
}

/** There must be more rooms than the policy wants: for policies that know a number, and no threshold. */
export function downscaleToWanted(type: string, counts: FleetCounts, rooms: number): DownscaleDecision {
  return compare(type, counts, rooms, 'wanted');
}

/** Rooms that are going or failed are not counted. */
function compare(type: string, counts: FleetCounts, bound: number, word: string): DownscaleDecision {
  const { pending, unready, ready, occupied, active, allocated } = counts.rooms;
  const total = pending + unready + ready + occupied + active + allocated;
  const allowed = total > bound;
  return { allowed, formula: `${type}: ${total} rooms ${allowed ? '>' : '<='} ${bound} ${word}` };
}
