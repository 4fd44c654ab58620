import { earliest } from '../earliest';
import { counted } from '../phrases';
import { errorDeadlineMs } from './classify-room';
import type { HealthFacts } from './health-plan';
import { hasMatch, type Room } from './room';
import { describeEarlyEnds, earlyEndAgeMs, nextStartAtMs, replacementsOwed } from './start-back-off';

/**
 * How many of the missing rooms may start now, and until when the others wait.
 *
 * Once more rooms ended early than accidents explain, each round waits longer than the one before, and a failed room keeps its
 * place until it is removed: its runtime goes on trying to start it (kubelet pulls and restarts with pauses of its own), and
 * where it stands it holds what it requested of its machine. Without that, a fleet whose image cannot be pulled would fill the
 * cluster with rooms that wait for it. Neither keeps a room that had its place from being replaced, once.
 */
export function judgeStarts(
  { rooms, earlyEnds, nowMs, limits }: HealthFacts,
  { attempted, missing, failing }: { attempted: number; missing: number; failing: readonly Room[] },
): { amount: number; heldUntilMs: number | null; because: string } {
  const startAtMs = nextStartAtMs(earlyEnds, attempted);
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
export function hasFailedEarly(room: Room): boolean {
  const wasUp = room.lastPingAtMs !== null && room.statusSinceMs - room.createdAtMs > earlyEndAgeMs;
  return !wasUp && !hasMatch(room);
}
