import type { SchedulerExtensions, Spec } from '../scheduler/scheduler';
import { terminationGraceMs } from '../scheduler/termination-grace';
import { judgeDraining } from './judge-draining';
import { hasMatch, isUp, type Room } from './room';

export interface RoomLimits {
  /** How long a room may say nothing. */
  pingTimeoutMs: number;
  /** How long a room may take to come up, or back, before it is replaced. */
  initializationTimeoutMs: number;
  /** How long a terminating room may take to go: for one scheduler's rooms, its grace period included (`limitsOfScheduler`). */
  deletionTimeoutMs: number;
  /** How long a room drains at least before it goes. */
  drainConfirmMs: number;
  /** How long a draining room may keep its match; null: as long as that lasts. */
  drainDeadlineMs: number | null;
}

/**
 * The limits of one scheduler's rooms: a terminating room is overdue only when its grace period is over, too, and how long a match may
 * hold up a drain is the scheduler's own.
 */
export function limitsOfScheduler<L extends Omit<RoomLimits, 'drainDeadlineMs'>>(
  limits: L,
  { spec, extensions }: { spec: Pick<Spec, 'terminationGracePeriodNs'>; extensions?: SchedulerExtensions },
): L & RoomLimits {
  const deadlineSeconds = extensions?.drain?.deadlineSeconds;
  return {
    ...limits,
    deletionTimeoutMs: terminationGraceMs(spec) + limits.deletionTimeoutMs,
    drainDeadlineMs: deadlineSeconds === undefined ? null : deadlineSeconds * 1000,
  };
}

export interface HearingFacts {
  /** The store's clock, as all times of rooms. */
  nowMs: number;
  /** Since when pings could arrive without a break; null when none can arrive now. */
  hearingSinceMs: number | null;
}

export type ExpiryReason =
  'initialization_timeout' | 'error_timeout' | 'ping_timeout' | 'deletion_timeout' | 'terminated';

/** Reasons of rooms that did not come up, or back, in their time: the runtime may know why. */
export const lateStarts: ReadonlySet<ExpiryReason> = new Set(['initialization_timeout', 'error_timeout']);

export type RoomClass =
  /** Counts as capacity, used or not. */
  | { class: 'available' }
  /** To be removed now; no capacity. */
  | { class: 'expired'; reason: ExpiryReason }
  /** Gets no new players, hence no capacity; goes once it is empty. `lookAtMs`: when time alone may have made it so. */
  | { class: 'draining'; lookAtMs: number | null }
  /** It drained, and is empty: to be removed now; no capacity. */
  | { class: 'drained' }
  /** It drains, and the time that its scheduler gives its match is over: to be removed now; no capacity. */
  | { class: 'overdue' }
  /** Neither: no capacity, and left alone. */
  | { class: 'ignored'; reason: 'validation' | 'terminating' | 'error' };

const available: RoomClass = { class: 'available' };
const expired = (reason: ExpiryReason): RoomClass => ({ class: 'expired', reason });

/** Whether the runtime itself says that the instance is over, so that silence needs no other explanation. */
export function isInstanceDead(room: Room): boolean {
  return room.instance.status === 'error' || room.instance.status === 'terminating';
}

/** Whether a ping from this room is due: it was up, or has a match, and its instance is not dead. */
export function isExpectedToPing(room: Room): boolean {
  return (
    isUp(room) &&
    !room.validation &&
    room.status !== 'terminating' &&
    room.status !== 'terminated' &&
    !isInstanceDead(room)
  );
}

/**
 * How long a room has said nothing while it could have been heard, in milliseconds; 0 while nobody can hear.
 * Counts from its last ping, else from its creation, but never from before its adoption or before we began to hear
 * (`architecture.md` 3: silence counts only while we could hear).
 */
export function silenceMs(room: Room, { nowMs, hearingSinceMs }: HearingFacts): number {
  if (hearingSinceMs === null) return 0;
  return Math.max(0, nowMs - Math.max(room.lastPingAtMs ?? room.createdAtMs, room.adoptedAtMs ?? 0, hearingSinceMs));
}

/** A room with a match needs a second signal: an instance that is not ready, or twice the silence (invariant 2). */
function isSilentTooLong(room: Room, facts: HearingFacts, { pingTimeoutMs }: RoomLimits): boolean {
  const silence = silenceMs(room, facts);
  if (silence <= pingTimeoutMs) return false;
  return !hasMatch(room) || room.instance.status !== 'ready' || silence > 2 * pingTimeoutMs;
}

/**
 * Whether a room is capacity, is to be removed, or neither. All limits are strict: a room at its limit is within it.
 *
 * v10's order and words are `rooms.md` 7.3. Where this differs, and why:
 * - Validation rooms are ignored; v10 counts them and scales down a real room instead.
 * - An instance that is unknown or pending is judged by its room. v10 ignores the first, so a room under creation is
 *   created twice, and counts the second for ever (W7).
 * - `pending` and `unready` have a deadline from when they took the status, not from creation: a room that was up for a day
 *   and whose instance is not ready for a moment has the time of a new room to come back.
 * - Deadlines for a first ping and silence stand still while nobody can hear, and begin anew at adoption.
 * - A room with a match does not expire for its status, only for silence with a second signal; v10 expires it like any other.
 * - `terminating` expires by how long it terminates. v10 takes the age of its last ping, so that a room which pings through
 *   its end never expires, and one that was silent before is not given the time to end; nor is one whose grace period is longer (W26).
 *   Asked again in vain, it expires less and less often: v10 asks at every look, for as long as its machine does not answer.
 * - `error` is removed after the time that a room has to come up; v10 keeps it until a scale-down, if there ever is one.
 * - A draining room is replaced at once, and goes once it is empty (`judgeDraining`); it expires like any other. v10 drains none.
 */
export function classifyRoom(room: Room, facts: HearingFacts & { limits: RoomLimits }): RoomClass {
  if (room.validation) return { class: 'ignored', reason: 'validation' };
  const verdict = classifyByStatus(room, facts);
  if (room.drainingSinceMs === null || room.status === 'terminating' || verdict.class === 'expired') return verdict;
  const { drainConfirmMs, drainDeadlineMs } = facts.limits;
  const judged = judgeDraining(room, { ...facts, drainConfirmMs });
  if (judged.class === 'drained' || drainDeadlineMs === null || room.drainReason === 'scale_down') return judged;
  const overdueAtMs = room.drainingSinceMs + drainDeadlineMs;
  if (facts.nowMs >= overdueAtMs) return { class: 'overdue' };
  return { ...judged, lookAtMs: Math.min(judged.lookAtMs ?? overdueAtMs, overdueAtMs) };
}

/** Asked in vain for the n-th time, a room is asked again after twice as long, at most after this. Milliseconds. */
const longestAskPauseMs = 3_600_000;

/** Whether a room takes longer to go than it may, asked once more or not. */
export function isOverdueToGo(
  { status, statusSinceMs }: Room,
  nowMs: number,
  { deletionTimeoutMs }: RoomLimits,
): boolean {
  return (status === 'terminating' || status === 'terminated') && nowMs - statusSinceMs > deletionTimeoutMs;
}

/** When a room that goes has had its time, also since it was asked to go last; past it, it is asked once more. */
export function goingDeadlineMs({ statusSinceMs, endAsked }: Room, { deletionTimeoutMs }: RoomLimits): number {
  const dueMs = statusSinceMs + deletionTimeoutMs;
  if (endAsked === null) return dueMs;
  const pauseMs = Math.min(
    deletionTimeoutMs * 2 ** (endAsked.times - 1),
    Math.max(deletionTimeoutMs, longestAskPauseMs),
  );
  return Math.max(dueMs, endAsked.lastAtMs + pauseMs);
}

/** When a room in status `error` has had its time; past it, it expires. */
export function errorDeadlineMs(room: Room, { initializationTimeoutMs }: RoomLimits): number {
  return Math.max(room.statusSinceMs, room.adoptedAtMs ?? 0) + initializationTimeoutMs;
}

function classifyByStatus(room: Room, facts: HearingFacts & { limits: RoomLimits }): RoomClass {
  const { limits } = facts;
  const inStatusMs = facts.nowMs - Math.max(room.statusSinceMs, room.adoptedAtMs ?? 0);
  switch (room.status) {
    case 'terminated':
    case 'terminating':
      // Once it was asked to go, what it said before makes no difference.
      if (room.status === 'terminated' && room.endAsked === null) return expired('terminated');
      return facts.nowMs > goingDeadlineMs(room, limits)
        ? expired('deletion_timeout')
        : { class: 'ignored', reason: 'terminating' };
    case 'error':
      if (hasMatch(room) && isSilentTooLong(room, facts, limits)) return expired('ping_timeout');
      return !hasMatch(room) && facts.nowMs > errorDeadlineMs(room, limits)
        ? expired('error_timeout')
        : { class: 'ignored', reason: 'error' };
    case 'pending':
    case 'unready':
      if (hasMatch(room)) return isSilentTooLong(room, facts, limits) ? expired('ping_timeout') : available;
      if (facts.hearingSinceMs === null) return available;
      return Math.min(inStatusMs, facts.nowMs - facts.hearingSinceMs) > limits.initializationTimeoutMs
        ? expired('initialization_timeout')
        : available;
    case 'ready':
    case 'occupied':
    case 'active':
    case 'allocated':
      return isSilentTooLong(room, facts, limits) ? expired('ping_timeout') : available;
  }
}
