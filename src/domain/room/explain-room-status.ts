import type { RemovalReason } from '../operation/operation';
import { printDuration } from '../print-duration';
import {
  classifyRoom,
  isOverdueToGo,
  silenceMs,
  type ExpiryReason,
  type HearingFacts,
  type RoomLimits,
} from './classify-room';
import { expiryDeadline } from './expiry-deadline';
import { judgeDraining } from './judge-draining';
import { printContainerEnd } from './print-container-end';
import { hasMatch, type DrainReason, type Room, type RoomTransition, type TransitionCause } from './room';

export interface RoomStatusFacts extends HearingFacts {
  room: Room;
  /** Newest first. */
  transitions: readonly RoomTransition[];
  limits: RoomLimits;
  /** For this long after it was found without a record, a room is not given to callers. Milliseconds. */
  adoptionHoldMs: number;
  /** Matches that a room of its scheduler holds. */
  maxMatches: number;
  /** Its scheduler is being deleted. */
  isSchedulerTerminating?: boolean;
}

const removalWords: Record<RemovalReason, string> = {
  scale_down: 'there were more rooms than wanted',
  expired_room: 'it had expired',
  new_version_rollback: 'its new version was rolled back',
  new_version_validation_finished: 'it had shown whether its new version starts',
  switch_version_rollback: 'the switch to its version was rolled back',
  switch_version_replace: 'another version became the active one',
  rolling_update_replace: 'a room of the active version takes its place',
  deleted_by_name: 'an operator deleted it by name',
  drained: 'it was drained, and was empty',
  drain_deadline: 'it had drained for as long as its scheduler gives a match',
  host_port_taken: 'no machine had its host ports free, and the next room is given others',
  scheduler_deleted: 'its scheduler was deleted',
};

/** After "it became ready 3 s ago: ". */
const causeWords: Record<TransitionCause, (detail: string) => string> = {
  created: () => 'its record was made',
  adopted: (detail) => `it was found running without a record, its instance ${detail}`,
  ping: (detail) => `it said ${detail}`,
  instance: (detail) => `the runtime said of its instance ${detail}`,
  allocated: (detail) => `it was given to a caller (allocation ${detail})`,
  allocation_expired: (detail) => `allocation ${detail} expired before the room reported a match`,
  allocation_released: (detail) => `allocation ${detail} was released`,
  removal: (detail) => `Maestro began to remove it, because ${removalWords[detail as RemovalReason] ?? detail}`,
};

/**
 * Why a room has its status, and what is to become of it if nothing more happens: sentences, the cause first. Each names the
 * fact that Maestro decides by, with its time, so that nobody has to guess it from the status.
 */
export function explainRoomStatus(facts: RoomStatusFacts): string[] {
  return [
    explainTransition(facts),
    explainPing(facts),
    explainInstance(facts),
    ...explainRestarts(facts),
    ...explainOverdueEnd(facts),
    ...explainPurpose(facts),
    ...explainAllocations(facts),
    ...explainDraining(facts),
    ...explainExpiry(facts),
    explainAllocatability(facts),
  ];
}

function explainTransition({ room, transitions: [latest], nowMs }: RoomStatusFacts): string {
  // The record and its transitions are read one after the other: the newest may be younger than the record.
  if (latest?.to !== room.status) return `It has been ${room.status} ${since(room.statusSinceMs, nowMs)}.`;
  return sentence(`It became ${room.status} ${ago(latest.atMs, nowMs)}: ${causeWords[latest.cause](latest.detail)}`);
}

function explainPing({ room, nowMs, maxMatches }: RoomStatusFacts): string {
  if (room.lastPingAtMs === null) return 'It has not pinged yet.';
  const isCounted = maxMatches > 1 || room.runningMatches > 0;
  const matches = isCounted ? `, with ${amountOf(room.runningMatches, 'running match', 'running matches')}` : '';
  return `It last said ${room.pingStatus} ${ago(room.lastPingAtMs, nowMs)}${matches}.`;
}

function explainInstance({ room: { instance, startPutOff }, nowMs }: RoomStatusFacts): string {
  const { status, description } = instance;
  if (status === 'unknown' && startPutOff !== null) {
    return sentence(
      `Its instance could not be made yet, and that is tried again; last ${ago(startPutOff.lastAtMs, nowMs)}: ${startPutOff.reason}`,
    );
  }
  if (status === 'unknown') return 'The runtime has said nothing about its instance yet.';
  const word = status === 'error' ? 'has failed' : `is ${status}`;
  return sentence(`The runtime says that its instance ${word}${description === '' ? '' : `: ${description}`}`);
}

function explainRestarts({ room: { instance }, nowMs }: RoomStatusFacts): string[] {
  if (instance.restarts === null) return [];
  const { count, lastEnd } = instance.restarts;
  const begin = `Its containers were started again ${amountOf(count, 'time', 'times')}`;
  if (lastEnd === null) return [`${begin}.`];
  const when = lastEnd.atMs === null ? '' : ` ${ago(lastEnd.atMs, nowMs)}`;
  return [`${begin}; the last one to end was this: ${printContainerEnd(lastEnd)}${when}.`];
}

/** Nothing but its machine ends it, however often that is asked. */
function explainOverdueEnd({ room, nowMs, limits }: RoomStatusFacts): string[] {
  if (room.validation || !isOverdueToGo(room, nowMs, limits)) return [];
  const asked =
    room.endAsked === null
      ? ''
      : `; it was asked to ${amountOf(room.endAsked.times, 'time', 'times')}, last ${ago(room.endAsked.lastAtMs, nowMs)}`;
  return [
    `It has been terminating for ${printDuration(nowMs - room.statusSinceMs)}, which may take ${printDuration(limits.deletionTimeoutMs)}: the node does not answer, or something else holds its instance back${asked}.`,
  ];
}

/** Rooms that are not as others are. */
function explainPurpose({ room, nowMs, limits }: RoomStatusFacts): string[] {
  const { validation, version, adoptedAtMs, lastPingAtMs } = room;
  const sentences: string[] = [];
  if (validation) {
    sentences.push(`It only shows whether version ${version} starts: it is no capacity, and goes with its operation.`);
  }
  if (adoptedAtMs !== null) {
    const heldUntilMs = adoptedAtMs + limits.pingTimeoutMs;
    const isUnheard = lastPingAtMs === null || lastPingAtMs < adoptedAtMs;
    const hold =
      isUnheard && nowMs <= heldUntilMs
        ? `; it may hold a match that nobody knows of, so it is not scaled down before it pings, or ${at(heldUntilMs, nowMs)}`
        : '';
    sentences.push(`It was found running without a record ${ago(adoptedAtMs, nowMs)}${hold}.`);
  }
  return sentences;
}

function explainAllocations({ room: { allocations }, nowMs, maxMatches }: RoomStatusFacts): string[] {
  if (allocations.length === 0) return [];
  const expiring = allocations.flatMap(({ expiresAtMs }) => (expiresAtMs === null ? [] : [expiresAtMs]));
  const confirmed = allocations.length - expiring.length;
  const parts = [
    ...(expiring.length > 0
      ? [`${amountOf(expiring.length, 'expires', 'expire')} ${untilWords(expiring, nowMs)} unless it reports the match`]
      : []),
    ...(confirmed > 0 ? [`${confirmed} confirmed by the caller, held until it reports the match or ends`] : []),
  ];
  const slots = `${allocations.length} of its ${amountOf(maxMatches, 'slot', 'slots')}`;
  return [`Callers were given ${slots}, and it has not reported their matches yet: ${parts.join('; ')}.`];
}

const drainWords: Record<DrainReason, string> = {
  operator: '',
  scale_down: ', because it is one too many',
  rollout: ', because its version was replaced',
};

function explainDraining({ room, nowMs, hearingSinceMs, limits }: RoomStatusFacts): string[] {
  const { drainingSinceMs, drainReason, validation } = room;
  if (drainingSinceMs === null || validation || isLeaving(room)) return [];
  const { drainConfirmMs, drainDeadlineMs } = limits;
  const reason = drainReason ?? 'operator';
  const isUsed = reason === 'rollout' && hasMatch(room);
  const begin = `It has been draining ${since(drainingSinceMs, nowMs)}${drainWords[reason]}: it gets no new players, ${isUsed ? '' : 'is no capacity, '}and`;
  // One that is too many is never taken from its match.
  const deadlineMs = reason === 'scale_down' || drainDeadlineMs === null ? null : drainingSinceMs + drainDeadlineMs;
  const isOverdue = deadlineMs !== null && nowMs >= deadlineMs;
  const atLast = deadlineMs === null ? '' : `, but at the latest ${at(deadlineMs, nowMs)}`;
  const { class: verdict } = judgeDraining(room, { nowMs, hearingSinceMs, drainConfirmMs });
  if (verdict === 'drained') return [`${begin}, being empty, goes at the next look.`];
  if (isOverdue) {
    return [`${begin} goes at the next look: its scheduler gives it ${printDuration(drainDeadlineMs ?? 0)} to drain.`];
  }
  if (hasMatch(room)) {
    return reason === 'scale_down'
      ? [`${begin}, having a match, is taken back into use at the next look.`]
      : [`${begin} goes when its last match is over${atLast}.`];
  }
  const confirmedAtMs = drainingSinceMs + drainConfirmMs;
  if (nowMs < confirmedAtMs) return [`${begin}, being empty, goes ${at(confirmedAtMs, nowMs)}.`];
  return [`${begin} goes once it says that it is empty${atLast}; it has not been heard since the drain began.`];
}

function explainExpiry(facts: RoomStatusFacts): string[] {
  const { room, nowMs, hearingSinceMs, limits } = facts;
  const verdict = classifyRoom(room, facts);
  if (verdict.class === 'expired') return [`It has expired, because ${expiryWords(verdict.reason, facts)}.`];
  const deadline = expiryDeadline(room, facts);
  if (deadline === null) {
    return hearingSinceMs === null && !room.validation
      ? ['No rooms API runs that could hear it, so its silence does not count now.']
      : [];
  }
  const when = at(deadline.atMs, nowMs);
  switch (deadline.reason) {
    case 'deletion_timeout':
      return [`If its instance is still there ${when}, it is asked to end once more.`];
    case 'error_timeout':
      return [`It is no capacity, and is removed ${when} unless it recovers.`];
    case 'initialization_timeout':
      return [`It expires ${when} unless it comes up.`, ...explainHearing(facts)];
    case 'ping_timeout': {
      const isLong = hasMatch(room) && room.instance.status === 'ready';
      const allowance = `${printDuration(limits.pingTimeoutMs * (isLong ? 2 : 1))} of silence${isLong ? ' with a match' : ''}`;
      return [`It expires ${when}, after ${allowance}, unless it pings.`, ...explainHearing(facts)];
    }
  }
}

/** Silence that does not count, because nobody could hear. */
function explainHearing({ room, nowMs, hearingSinceMs }: RoomStatusFacts): string[] {
  if (hearingSinceMs === null || hearingSinceMs <= (room.lastPingAtMs ?? room.createdAtMs)) return [];
  return [`Pings can be heard again ${since(hearingSinceMs, nowMs)}; silence before that does not count.`];
}

function expiryWords(reason: ExpiryReason, facts: RoomStatusFacts): string {
  const { limits } = facts;
  switch (reason) {
    case 'ping_timeout':
      return `it has said nothing for ${printDuration(silenceMs(facts.room, facts))}; unless a large part of the fleet fell silent with it, it is removed at the next look`;
    case 'initialization_timeout':
      return `it did not come up within ${printDuration(limits.initializationTimeoutMs)}; it is removed at the next look`;
    case 'error_timeout':
      return `it did not recover within ${printDuration(limits.initializationTimeoutMs)}; it is removed at the next look`;
    case 'deletion_timeout':
      return `it did not go within ${printDuration(limits.deletionTimeoutMs)}, its grace period included; its instance is asked to end once more`;
    case 'terminated':
      return 'it said that it is over; it is removed at the next look';
  }
}

function explainAllocatability(facts: RoomStatusFacts): string {
  const obstacles = obstaclesOf(facts);
  return obstacles.length === 0
    ? 'It can be given to a caller now.'
    : `It cannot be given to a caller now: ${obstacles.join('; ')}.`;
}

/** What `RoomAllocationStore` leaves a room out for. */
function obstaclesOf(facts: RoomStatusFacts): string[] {
  const { room, nowMs, limits, adoptionHoldMs, maxMatches } = facts;
  const { status, lastPingAtMs, adoptedAtMs, runningMatches, allocations } = room;
  const obstacles: string[] = [];
  if (facts.isSchedulerTerminating) obstacles.push('its scheduler is being deleted');
  if (room.validation) obstacles.push('it only tries a version');
  if (status !== 'ready' && status !== 'active') obstacles.push(`it is ${status}`);
  else if ((maxMatches > 1 ? runningMatches : 0) + allocations.length >= maxMatches)
    obstacles.push('all its slots are taken');
  if (isLeaving(room)) return obstacles;
  if (room.drainingSinceMs !== null) obstacles.push('it drains');
  if (room.instance.address === null) obstacles.push('its address is not known yet');
  if (lastPingAtMs === null) obstacles.push('it has not pinged yet');
  else if (nowMs - lastPingAtMs > limits.pingTimeoutMs) {
    obstacles.push(`it has said nothing for more than ${printDuration(limits.pingTimeoutMs)}`);
  }
  if (adoptedAtMs !== null && nowMs - adoptedAtMs < adoptionHoldMs) {
    obstacles.push(
      `a caller may have been given it before its record was lost, so it is held back until ${time(adoptedAtMs + adoptionHoldMs)}`,
    );
  }
  return obstacles;
}

const isLeaving = ({ status }: Room): boolean => status === 'terminating' || status === 'terminated';

/** `3 s ago (2026-05-01T10:00:02Z)`. */
const ago = (atMs: number, nowMs: number): string => `${printDuration(nowMs - atMs)} ago (${time(atMs)})`;

/** `for 3 s (since 2026-05-01T10:00:02Z)`. */
const since = (atMs: number, nowMs: number): string => `for ${printDuration(nowMs - atMs)} (since ${time(atMs)})`;

/** `in 3 s (2026-05-01T10:00:02Z)`. */
const at = (atMs: number, nowMs: number): string => `in ${printDuration(atMs - nowMs)} (${time(atMs)})`;

const time = (atMs: number): string => new Date(atMs).toISOString().replace(/\.\d+Z$/, 'Z');

const amountOf = (amount: number, one: string, many: string): string => `${amount} ${amount === 1 ? one : many}`;

function untilWords(timesMs: readonly number[], nowMs: number): string {
  const [firstMs, lastMs] = [Math.min(...timesMs), Math.max(...timesMs)];
  return time(firstMs) === time(lastMs) ? at(firstMs, nowMs) : `between ${at(firstMs, nowMs)} and ${at(lastMs, nowMs)}`;
}

/** What the runtime says may end with a full stop of its own. */
const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);
