import { DomainError } from '../errors';
import { ceilDivide, exactDecimal, type Ratio } from '../exact-decimal';
import type { FleetCounts } from '../room/room';
import type { FixedBufferParameters, RoomOccupancyParameters } from '../scheduler/scheduler';

/** A number of rooms and how it came about, for "explain". */
export interface RoomDemand {
  rooms: number;
  formula: string;
}

/** A share between 0 and 1, both exclusive, as the decimal that the user typed. */
export function exactShare(name: string, value: number): Ratio {
  const share = exactDecimal(value);
  if (!share || share.numerator <= 0n || share.numerator >= share.denominator) {
    const message = `The autoscaling policy's ${name} is ${value}, but must be greater than 0 and less than 1.`;
    throw new DomainError('failed_precondition', 'autoscaling.policy_invalid', message);
  }
  return share;
}

/** Matches that run or are about to: one is assumed for each allocated room, also where a room takes several (v10). */
function demandedMatches(counts: FleetCounts): number {
  return counts.runningMatches + counts.rooms.allocated;
}

/**
 * So many rooms that `readyTarget` of all slots are free: ceil(matches / (1 - readyTarget)), in whole rooms.
 * The ceilings are exact, so that v10's documented table holds; its doubles give up to one room more (`rooms.md` 7.5).
 */
export function roomsByOccupancy(
  parameters: RoomOccupancyParameters,
  counts: FleetCounts,
  maxMatches: number,
): RoomDemand {
  const target = exactShare('readyTarget', parameters.readyTarget);
  const matches = demandedMatches(counts);
  const slots = ceilDivide(BigInt(matches) * target.denominator, target.denominator - target.numerator);
  const rooms = Number(ceilDivide(slots, BigInt(maxMatches)));
  return {
    rooms,
    formula: `roomOccupancy: ceil(${matches} matches / (1 - ${parameters.readyTarget})) = ${slots} slots, ceil(${slots} / ${maxMatches}) = ${rooms}`,
  };
}

/**
 * Rooms in use that a buffer comes on top of. Active rooms are in use: v10 leaves them out, and then calls a fleet free
 * whose every room has players (W27). Where a room takes one match, there is no difference.
 */
export function roomsInUse(counts: FleetCounts): number {
  return counts.rooms.occupied + counts.rooms.active + counts.rooms.allocated;
}

/** The rooms in use and `amount` free ones. */
export function roomsByFixedBuffer(parameters: FixedBufferParameters, counts: FleetCounts): RoomDemand {
  const inUse = roomsInUse(counts);
  const rooms = inUse + parameters.amount;
  return { rooms, formula: `fixedBuffer: ${inUse} in use + ${parameters.amount} = ${rooms}` };
}
