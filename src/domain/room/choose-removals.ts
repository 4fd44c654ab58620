import { isSameMajor } from '../scheduler/scheduler-version';
import type { HearingFacts } from './classify-room';
import { hasMatch, type Room, type RoomStatus } from './room';

export interface RemovalFacts extends HearingFacts {
  /** At most so many rooms are chosen. */
  amount: number;
  /** The scheduler's active version. */
  version: string;
  pingTimeoutMs: number;
}

/** What is missed least comes first. A status that is not here is never chosen. */
const removalOrder: readonly RoomStatus[] = ['error', 'pending', 'unready', 'ready'];

/**
 * Whether the room may have a match that its record does not know: it was found running without a record, or was up while
 * nobody could hear it, and has said nothing since. After a full ping timeout of listening it has had its chance.
 */
function mayHoldUnheardMatch(room: Room, { nowMs, hearingSinceMs, pingTimeoutMs }: RemovalFacts): boolean {
  const isWithinTimeout = (sinceMs: number): boolean => nowMs - sinceMs <= pingTimeoutMs;
  const { adoptedAtMs, lastPingAtMs, createdAtMs, status } = room;
  const isAdopted = adoptedAtMs !== null && (lastPingAtMs === null || lastPingAtMs < adoptedAtMs);
  if (isAdopted && isWithinTimeout(adoptedAtMs)) return true;
  if (status === 'error' || status === 'pending') return false;
  if (hearingSinceMs === null) return true;
  return (lastPingAtMs ?? createdAtMs) < hearingSinceMs && isWithinTimeout(hearingSinceMs);
}

/**
 * Which rooms go when there are too many, first to go first; fewer than `amount` where fewer may go.
 *
 * Never a room with a match or one that may have an unheard match, never one that is terminating, never a validation room.
 * Failed rooms go before pending, unready and ready ones; within each, those of another major version first, then the
 * oldest, then by id. v10 also lists occupied rooms once ready ones run out, silent rooms (here they expire, which is
 * something else), and terminating ones on top (`rooms.md` 3.7, W10-W12).
 */
export function chooseRemovals(rooms: readonly Room[], facts: RemovalFacts): string[] {
  return rooms
    .filter((room) => removalOrder.includes(room.status) && !room.validation && !hasMatch(room))
    .filter((room) => !mayHoldUnheardMatch(room, facts))
    .map((room) => ({ room, isCurrent: isSameMajor(room.version, facts.version) }))
    .sort(
      (a, b) =>
        removalOrder.indexOf(a.room.status) - removalOrder.indexOf(b.room.status) ||
        Number(a.isCurrent) - Number(b.isCurrent) ||
        a.room.createdAtMs - b.room.createdAtMs ||
        (a.room.id < b.room.id ? -1 : 1),
    )
    .slice(0, Math.max(0, facts.amount))
    .map(({ room }) => room.id);
}
