import { hasMatch, type Room } from './room';

export interface DrainFacts {
  /** The store's clock, as all times of rooms. */
  nowMs: number;
  /** Since when pings could arrive without a break; null when none can arrive now. */
  hearingSinceMs: number | null;
  /** How long a room drains at least: who was sent there just before must have arrived, and been reported. Milliseconds. */
  drainConfirmMs: number;
}

export type DrainVerdict =
  /** Nobody is in it, and nobody comes: it may go. */
  | { class: 'drained' }
  /** `lookAtMs`: when time alone may have changed that; null while only news of the room can. */
  | { class: 'draining'; lookAtMs: number | null };

/** What is looked at again because of a time that others keep too is looked at no sooner than this after it. Milliseconds. */
const lookSlackMs = 1_000;

/**
 * Whether the room may hold players that its record does not know. What was up, or was found running, has to speak once after
 * the drain began, and it must be possible to hear it; a room that never was up, or whose instance is over, holds nobody.
 */
function isUnheard(room: Room, hearingSinceMs: number | null): boolean {
  const { lastPingAtMs, adoptedAtMs, drainingSinceMs, instance } = room;
  if (instance.status === 'error' || instance.status === 'terminating') return false;
  if (lastPingAtMs === null) return adoptedAtMs !== null;
  return hearingSinceMs === null || lastPingAtMs < (drainingSinceMs ?? 0);
}

/**
 * Whether a draining room is empty beyond doubt: no match, nobody on the way, drained for the confirm delay, and heard since
 * then. A room that says nothing more is not drained by that; it expires, as any silent room does.
 */
export function judgeDraining(room: Room, { nowMs, hearingSinceMs, drainConfirmMs }: DrainFacts): DrainVerdict {
  if (hasMatch(room)) return { class: 'draining', lookAtMs: allocationsEndAtMs(room, nowMs) };
  const confirmedAtMs = (room.drainingSinceMs ?? nowMs) + drainConfirmMs;
  if (nowMs < confirmedAtMs) return { class: 'draining', lookAtMs: confirmedAtMs };
  // A ping that changes no status rings for nobody, so the planner comes back for it.
  if (isUnheard(room, hearingSinceMs))
    return { class: 'draining', lookAtMs: nowMs + Math.max(drainConfirmMs, lookSlackMs) };
  return { class: 'drained' };
}

/** When the last of the allocations ends that keep the room, if nothing else keeps it and all of them end by themselves. */
function allocationsEndAtMs({ status, runningMatches, allocations }: Room, nowMs: number): number | null {
  if (runningMatches > 0 || status === 'occupied' || status === 'active' || allocations.length === 0) return null;
  const ends = allocations.map(({ expiresAtMs }) => expiresAtMs ?? Infinity);
  const lastMs = Math.max(...ends);
  return lastMs === Infinity ? null : Math.max(lastMs, nowMs) + lookSlackMs;
}
