import { hasMatch, type Room } from './room';

/** Slots of a room that players can be sent to now, as far as its record knows; a drain is not looked at. */
export function freeSlots({ status, runningMatches, allocations, instance }: Room, maxMatches: number): number {
  if (instance.status !== 'ready') return 0;
  if (status === 'ready') return Math.max(0, maxMatches - allocations.length);
  if (status === 'active') return Math.max(0, maxMatches - runningMatches - allocations.length);
  return 0;
}

/** Slots of a room that have a match, or are to have one because they were given out; a room with a match has at least one. */
export function usedSlots(room: Room, maxMatches: number): number {
  if (!hasMatch(room)) return 0;
  return Math.min(maxMatches, Math.max(1, room.runningMatches + room.allocations.length));
}
