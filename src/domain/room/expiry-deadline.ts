import { goingDeadlineMs, type ExpiryReason, type HearingFacts, type RoomLimits } from './classify-room';
import { hasMatch, type Room } from './room';

export interface ExpiryDeadline {
  /** The last moment at which it is not expired, by the store's clock. */
  atMs: number;
  /** What said that it is over has expired, until it is asked to go. */
  reason: Exclude<ExpiryReason, 'terminated'>;
}

/**
 * When a room that has not expired will, by `classifyRoom`, if nothing more is heard of it; null when nothing but news can make
 * it expire, or while nobody can hear it.
 */
export function expiryDeadline(
  room: Room,
  { hearingSinceMs, limits }: HearingFacts & { limits: RoomLimits },
): ExpiryDeadline | null {
  if (room.validation || (room.status === 'terminated' && room.endAsked === null)) return null;
  if (room.status === 'terminating' || room.status === 'terminated') {
    return { atMs: goingDeadlineMs(room, limits), reason: 'deletion_timeout' };
  }
  const adoptedAtMs = room.adoptedAtMs ?? 0;
  const inStatusSinceMs = Math.max(room.statusSinceMs, adoptedAtMs);
  const isIdle = !hasMatch(room);
  if (room.status === 'error' && isIdle) {
    return { atMs: inStatusSinceMs + limits.initializationTimeoutMs, reason: 'error_timeout' };
  }
  if (hearingSinceMs === null) return null;
  if ((room.status === 'pending' || room.status === 'unready') && isIdle) {
    const sinceMs = Math.max(inStatusSinceMs, hearingSinceMs);
    return { atMs: sinceMs + limits.initializationTimeoutMs, reason: 'initialization_timeout' };
  }
  const silentSinceMs = Math.max(room.lastPingAtMs ?? room.createdAtMs, adoptedAtMs, hearingSinceMs);
  const needsSecondSignal = !isIdle && room.instance.status === 'ready';
  return { atMs: silentSinceMs + limits.pingTimeoutMs * (needsSecondSignal ? 2 : 1), reason: 'ping_timeout' };
}
