import fc from 'fast-check';
import {
  afterAttempt,
  beginValidation,
  judgeValidation,
  validationRoomOf,
  type Validation,
  type ValidationFacts,
  type ValidationStep,
} from './judge-validation';
import { aRoom } from './room.fixture';
import { roomStatuses } from './room';

const nowMs = 1_000_000;
const limits = { attempts: 3, timeoutMs: 120_000, acceptOccupied: false };
const roomId = 'fleet-1';
const watching: Validation = { phase: 'watching', attempt: 1, roomId, deadlineMs: nowMs + 60_000 };
const overdue: Validation = { ...watching, deadlineMs: nowMs };
const room = (changes: Parameters<typeof aRoom>[0]) => aRoom({ id: roomId, validation: true, ...changes });
const judged = { next: 'judge_room', attempt: 1, roomId } as const;
const passes = (because: string): ValidationStep => ({ ...judged, passed: true, because });
const fails = (because: string): ValidationStep => ({ ...judged, passed: false, because });

describe('judgeValidation', () => {
  interface Row {
    sentence: string;
    validation: Validation;
    room?: ValidationFacts['room'];
    endReason?: string;
    acceptOccupied?: boolean;
    expected: ValidationStep;
  }
  const rows: Row[] = [
    {
      sentence: 'a validation begins with choosing a room',
      validation: beginValidation(nowMs),
      expected: { next: 'choose_room', attempt: 1 },
    },
    {
      sentence: 'the next attempt waits for the end of the pause',
      validation: { phase: 'due', attempt: 2, notBeforeMs: nowMs + 130 },
      expected: { next: 'wait', waitMs: 130 },
    },
    {
      sentence: 'the next attempt begins when the pause is over',
      validation: { phase: 'due', attempt: 2, notBeforeMs: nowMs },
      expected: { next: 'choose_room', attempt: 2 },
    },
    {
      sentence: 'a chosen room is started, also when nobody knows whether it was',
      validation: { phase: 'starting', attempt: 1, roomId },
      expected: { next: 'start_room', attempt: 1, roomId },
    },
    {
      sentence: 'a room that comes up is waited for, with a look every 5 s',
      validation: watching,
      room: room({ status: 'pending', lastPingAtMs: null }),
      expected: { next: 'wait', waitMs: 5_000 },
    },
    {
      sentence: 'a room that comes up is waited for until its deadline',
      validation: { ...watching, deadlineMs: nowMs + 10 },
      room: room({ status: 'unready' }),
      expected: { next: 'wait', waitMs: 10 },
    },
    {
      sentence: 'a ready room passes',
      validation: watching,
      room: room({}),
      expected: passes('room fleet-1 is ready'),
    },
    {
      sentence: 'a room that is ready at its deadline passes',
      validation: overdue,
      room: room({}),
      expected: passes('room fleet-1 is ready'),
    },
    {
      sentence: 'an occupied room is waited for where only ready ones count',
      validation: watching,
      room: room({ status: 'occupied' }),
      expected: { next: 'wait', waitMs: 5_000 },
    },
    {
      sentence: 'an occupied room passes where that is accepted',
      validation: watching,
      room: room({ status: 'occupied' }),
      acceptOccupied: true,
      expected: passes('room fleet-1 is occupied'),
    },
    {
      sentence: 'an active room passes where occupied ones are accepted',
      validation: watching,
      room: room({ status: 'active' }),
      acceptOccupied: true,
      expected: passes('room fleet-1 is active'),
    },
    {
      sentence: 'a failed room fails at once, with what its instance says',
      validation: watching,
      room: room({ status: 'error', instance: { status: 'error', description: 'CrashLoopBackOff' } }),
      expected: fails('room fleet-1 is error, its instance says "CrashLoopBackOff"'),
    },
    {
      sentence: 'a room that goes fails at once, whose instance says nothing',
      validation: watching,
      room: room({ status: 'terminating' }),
      expected: fails('room fleet-1 is terminating, its instance says unknown'),
    },
    {
      sentence: 'a room that said that it is over fails at once',
      validation: watching,
      room: room({ status: 'terminated' }),
      expected: fails('room fleet-1 is terminated, its instance says unknown'),
    },
    {
      sentence: 'a room that is gone fails at once, with the reason of its end',
      validation: watching,
      room: 'gone',
      endReason: 'exited with code 1',
      expected: fails('room fleet-1 ended, the reason is "exited with code 1"'),
    },
    {
      sentence: 'a room that is gone fails at once, whose end nobody explains',
      validation: watching,
      room: 'gone',
      expected: fails('room fleet-1 ended, the reason is unknown'),
    },
    {
      sentence: 'a room that never pings fails at its deadline',
      validation: overdue,
      room: room({ status: 'unready', lastPingAtMs: null }),
      expected: fails(
        'room fleet-1 was not ready within 120 s: it never pinged, its instance is ready and says unknown',
      ),
    },
    {
      sentence: 'a room whose image cannot be had fails at its deadline',
      validation: overdue,
      room: room({
        status: 'pending',
        lastPingAtMs: null,
        instance: { status: 'pending', description: 'ImagePullBackOff' },
      }),
      expected: fails(
        'room fleet-1 was not ready within 120 s: it never pinged, its instance is pending and says "ImagePullBackOff"',
      ),
    },
    {
      sentence: 'a room that is occupied all the time fails at its deadline where only ready ones count',
      validation: overdue,
      room: room({ status: 'occupied' }),
      expected: fails(
        'room fleet-1 was not ready within 120 s: it is occupied, its instance is ready and says unknown',
      ),
    },
    {
      sentence: 'a room of which nothing is known while the store is rebuilt is waited for',
      validation: watching,
      room: 'unread',
      expected: { next: 'wait', waitMs: 5_000 },
    },
    {
      sentence: 'a room of which nothing is known fails at its deadline',
      validation: overdue,
      room: 'unread',
      expected: fails('room fleet-1 was not ready within 120 s: nothing is known of it'),
    },
    {
      sentence: 'a judged room is removed',
      validation: { phase: 'removing', attempt: 1, roomId, passed: true },
      expected: { next: 'remove_room', attempt: 1, roomId, passed: true },
    },
    {
      sentence: 'a validation whose room passed is over',
      validation: { phase: 'passed' },
      expected: { next: 'conclude', passed: true },
    },
    {
      sentence: 'a validation without attempts left is over',
      validation: { phase: 'failed' },
      expected: { next: 'conclude', passed: false },
    },
  ];

  test.each(rows)('$sentence', ({ validation, room = 'unread', endReason = '', acceptOccupied = false, expected }) => {
    expect(judgeValidation(validation, { nowMs, room, endReason }, { ...limits, acceptOccupied })).toEqual(expected);
  });

  test('a room is judged by its deadline, whatever its status', () => {
    fc.assert(
      fc.property(fc.constantFrom(...roomStatuses), fc.boolean(), (status, acceptOccupied) => {
        const facts = { nowMs, room: room({ status }), endReason: '' };
        expect(judgeValidation(overdue, facts, { ...limits, acceptOccupied }).next).toBe('judge_room');
      }),
    );
  });

  test('a wait is never shorter than 1 ms', () => {
    fc.assert(
      fc.property(fc.nat(10), (leftMs) => {
        const step = judgeValidation({ phase: 'due', attempt: 2, notBeforeMs: nowMs + leftMs }, facts, limits);
        expect(step.next === 'wait' ? step.waitMs : 1).toBeGreaterThanOrEqual(1);
      }),
    );
  });
  const facts: ValidationFacts = { nowMs, room: 'unread', endReason: '' };
});

describe('afterAttempt', () => {
  test.each([
    ['a room that passed ends the validation', 1, true, 0, { phase: 'passed' }],
    ['a room that passed in the last attempt ends it too', 3, true, 0, { phase: 'passed' }],
    ['the first failure pauses for 100 ms', 1, false, 0, { phase: 'due', attempt: 2, notBeforeMs: nowMs + 100 }],
    ['the second one for twice as long', 2, false, 0, { phase: 'due', attempt: 3, notBeforeMs: nowMs + 200 }],
    ['and by chance 100 ms longer', 2, false, 1, { phase: 'due', attempt: 3, notBeforeMs: nowMs + 300 }],
    ['the last failure ends the validation', 3, false, 0, { phase: 'failed' }],
  ] as const)('%s', (_sentence, attempt, passed, random, expected) => {
    expect(afterAttempt({ attempt, passed }, limits, { nowMs, random })).toEqual(expected);
  });
});

describe('validationRoomOf', () => {
  test.each<[Validation | null, string | null]>([
    [null, null],
    [{ phase: 'due', attempt: 1, notBeforeMs: nowMs }, null],
    [{ phase: 'starting', attempt: 1, roomId }, roomId],
    [watching, roomId],
    [{ phase: 'removing', attempt: 1, roomId, passed: false }, roomId],
    [{ phase: 'passed' }, null],
    [{ phase: 'failed' }, null],
  ])('of %j is %s', (validation, expected) => {
    expect(validationRoomOf(validation)).toBe(expected);
  });
});
