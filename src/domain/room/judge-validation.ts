import type { Room } from './room';

export interface ValidationLimits {
  /** Rooms that are tried at most, one after the other. */
  attempts: number;
  /** How long each may take from its start until it is ready. Milliseconds. */
  timeoutMs: number;
  /** Whether a room that has a match already is as good as a ready one. */
  acceptOccupied: boolean;
}

/**
 * How far a new version has come in showing that a room of it starts. Its times are milliseconds of `ValidationFacts.nowMs`. Attempts count from 1. A room is remembered from before
 * it is started until its removal is certain, so that whoever goes on from here neither starts a second one nor leaves it behind.
 */
export type Validation =
  /** There is no room; the attempt begins at that time. */
  | { phase: 'due'; attempt: number; notBeforeMs: number }
  /** The room has a name. Whether it runs, nobody knows. */
  | { phase: 'starting'; attempt: number; roomId: string }
  /** The room was started, and has until the deadline. */
  | { phase: 'watching'; attempt: number; roomId: string; deadlineMs: number }
  /** The attempt is judged, its room goes. */
  | { phase: 'removing'; attempt: number; roomId: string; passed: boolean }
  /** Over, and no room is left. */
  | { phase: 'passed' }
  | { phase: 'failed' };

export type ValidationStep =
  | { next: 'wait'; waitMs: number }
  | { next: 'choose_room'; attempt: number }
  | { next: 'start_room'; attempt: number; roomId: string }
  /** `because` is a sentence on the room. */
  | { next: 'judge_room'; attempt: number; roomId: string; passed: boolean; because: string }
  | { next: 'remove_room'; attempt: number; roomId: string; passed: boolean }
  | { next: 'conclude'; passed: boolean };

export interface ValidationFacts {
  /** How long the operation has run: one clock for every machine that goes on with it. Milliseconds. */
  nowMs: number;
  /** `unread`: it was not needed, or nobody can know now, because the room store is being rebuilt. */
  room: Room | 'gone' | 'unread';
  /** What the runtime said of the end of a room that is gone; empty when nothing is known. */
  endReason: string;
}

/** A ring that was lost is made up for after this. Milliseconds. */
const longestWaitMs = 5_000;

/** What v10 waits between attempts: 100 ms, doubling, and up to 100 ms more by chance. */
const firstPauseMs = 100;
const jitterMs = 100;

export function beginValidation(nowMs: number): Validation {
  return { phase: 'due', attempt: 1, notBeforeMs: nowMs };
}

/**
 * What is to be done next. A level-based decision: asked again from what is stored, whoever asks does the same.
 *
 * A room is as good as its status: `ready` passes; `occupied` and `active` pass only where that is wanted, because a version
 * whose rooms always claim a match would grow without end (`rooms.md` 4.6, #697). A room that failed, or goes without being
 * asked, fails at once; anything else has until the deadline.
 */
export function judgeValidation(
  validation: Validation,
  { nowMs, room, endReason }: ValidationFacts,
  limits: ValidationLimits,
): ValidationStep {
  if (validation.phase === 'passed') return { next: 'conclude', passed: true };
  if (validation.phase === 'failed') return { next: 'conclude', passed: false };
  const { attempt } = validation;
  if (validation.phase === 'due') {
    return nowMs < validation.notBeforeMs ? waitUntil(validation.notBeforeMs, nowMs) : { next: 'choose_room', attempt };
  }
  const { roomId } = validation;
  if (validation.phase === 'starting') return { next: 'start_room', attempt, roomId };
  if (validation.phase === 'removing') return { next: 'remove_room', attempt, roomId, passed: validation.passed };

  const judged = (passed: boolean, because: string): ValidationStep => ({
    next: 'judge_room',
    attempt,
    roomId,
    passed,
    because: `room ${roomId} ${because}`,
  });
  if (room === 'gone') return judged(false, `ended, the reason is ${said(endReason)}`);
  if (room !== 'unread') {
    const { status, instance } = room;
    if (isAccepted(room, limits)) return judged(true, `is ${status}`);
    if (status === 'error' || status === 'terminating' || status === 'terminated') {
      return judged(false, `is ${status}, its instance says ${said(instance.description)}`);
    }
  }
  if (nowMs < validation.deadlineMs) return waitUntil(validation.deadlineMs, nowMs);
  const state = room === 'unread' ? 'nothing is known of it' : describe(room);
  return judged(false, `was not ready within ${limits.timeoutMs / 1_000} s: ${state}`);
}

/** `random` is a number from 0 to 1. */
export function afterAttempt(
  { attempt, passed }: { attempt: number; passed: boolean },
  { attempts }: ValidationLimits,
  { nowMs, random }: { nowMs: number; random: number },
): Validation {
  if (passed) return { phase: 'passed' };
  if (attempt >= attempts) return { phase: 'failed' };
  const pauseMs = firstPauseMs * 2 ** (attempt - 1) + Math.floor(random * jitterMs);
  return { phase: 'due', attempt: attempt + 1, notBeforeMs: nowMs + pauseMs };
}

/** The room that may run, and must be removed before the operation ends; null when there is none. */
export function validationRoomOf(validation: Validation | null): string | null {
  return validation !== null && 'roomId' in validation ? validation.roomId : null;
}

function isAccepted({ status }: Room, { acceptOccupied }: ValidationLimits): boolean {
  return status === 'ready' || (acceptOccupied && (status === 'occupied' || status === 'active'));
}

function describe({ status, lastPingAtMs, instance }: Room): string {
  const pings = lastPingAtMs === null ? 'it never pinged' : `it is ${status}`;
  return `${pings}, its instance is ${instance.status} and says ${said(instance.description)}`;
}

function said(description: string): string {
  return description === '' ? 'unknown' : `"${description}"`;
}

function waitUntil(untilMs: number, nowMs: number): ValidationStep {
  return { next: 'wait', waitMs: Math.min(untilMs - nowMs, longestWaitMs) };
}
