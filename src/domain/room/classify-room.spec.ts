import {
  classifyRoom,
  isExpectedToPing,
  limitsOfScheduler,
  silenceMs,
  type RoomClass,
  type RoomLimits,
} from './classify-room';
import { aRoom } from './room.fixture';
import { roomStatuses, type Room } from './room';

const nowMs = 1_000_000;
const limits: RoomLimits = {
  pingTimeoutMs: 240_000,
  initializationTimeoutMs: 120_000,
  deletionTimeoutMs: 100_000,
  drainConfirmMs: 10_000,
  drainDeadlineMs: null,
};
const ago = (ms: number): number => nowMs - ms;

describe('classifyRoom', () => {
  interface Row {
    sentence: string;
    room: Parameters<typeof aRoom>[0];
    /** Since long ago, unless a row says otherwise. */
    hearingSinceMs?: number | null;
    expected: string;
  }
  const rows: Row[] = [
    { sentence: 'a ready room that pings is available', room: {}, expected: 'available' },
    {
      sentence: 'an occupied room that pings is available',
      room: { status: 'occupied', runningMatches: 1 },
      expected: 'available',
    },
    { sentence: 'an active room that pings is available', room: { status: 'active' }, expected: 'available' },
    { sentence: 'an allocated room that pings is available', room: { status: 'allocated' }, expected: 'available' },
    {
      sentence: 'a validation room is ignored',
      room: { validation: true },
      expected: 'ignored validation',
    },
    {
      sentence: 'a validation room is ignored even when it is over',
      room: { validation: true, status: 'terminated' },
      expected: 'ignored validation',
    },
    {
      sentence: 'a terminated room expires at once',
      room: { status: 'terminated', statusSinceMs: nowMs },
      expected: 'expired terminated',
    },
    {
      sentence: 'a terminating room is ignored while it has time to go',
      room: { status: 'terminating', statusSinceMs: ago(100_000) },
      expected: 'ignored terminating',
    },
    {
      sentence: 'a terminating room that does not go expires although it pings',
      room: { status: 'terminating', statusSinceMs: ago(100_001) },
      expected: 'expired deletion_timeout',
    },
    {
      sentence: 'a terminating room that was asked once expires when its time is over',
      room: { status: 'terminating', statusSinceMs: ago(100_001), endAsked: { times: 1, lastAtMs: ago(100_001) } },
      expected: 'expired deletion_timeout',
    },
    {
      sentence: 'a terminating room that was asked again has as long as before, twice',
      room: { status: 'terminating', statusSinceMs: ago(900_000), endAsked: { times: 2, lastAtMs: ago(200_000) } },
      expected: 'ignored terminating',
    },
    {
      sentence: 'a terminating room that was asked again expires again, later than before',
      room: { status: 'terminating', statusSinceMs: ago(900_000), endAsked: { times: 2, lastAtMs: ago(200_001) } },
      expected: 'expired deletion_timeout',
    },
    {
      sentence: 'a terminating room that does not go is asked once an hour at least',
      room: { status: 'terminating', statusSinceMs: ago(9e9), endAsked: { times: 40, lastAtMs: ago(3_600_001) } },
      expected: 'expired deletion_timeout',
    },
    {
      sentence: 'a terminated room that was asked to go is not asked again at once',
      room: { status: 'terminated', statusSinceMs: ago(200_000), endAsked: { times: 1, lastAtMs: ago(100_000) } },
      expected: 'ignored terminating',
    },
    {
      sentence: 'a terminated room that does not go either expires like one that terminates',
      room: { status: 'terminated', statusSinceMs: ago(200_000), endAsked: { times: 1, lastAtMs: ago(100_001) } },
      expected: 'expired deletion_timeout',
    },
    {
      sentence: 'a terminating room that was silent before has its time to go',
      room: { status: 'terminating', statusSinceMs: ago(1), lastPingAtMs: ago(500_000) },
      expected: 'ignored terminating',
    },
    {
      sentence: 'an error room is ignored, hence replaced',
      room: { status: 'error', statusSinceMs: ago(120_000) },
      expected: 'ignored error',
    },
    {
      sentence: 'an error room that stays so expires',
      room: { status: 'error', statusSinceMs: ago(120_001) },
      expected: 'expired error_timeout',
    },
    {
      sentence: 'an error room that stays so but has a match is left alone',
      room: { status: 'error', statusSinceMs: ago(500_000), runningMatches: 1 },
      expected: 'ignored error',
    },
    {
      sentence: 'an error room with a match on a failed instance expires once it is silent',
      room: {
        status: 'error',
        statusSinceMs: ago(500_000),
        runningMatches: 1,
        lastPingAtMs: ago(240_001),
        instance: { status: 'error' },
      },
      expected: 'expired ping_timeout',
    },
    {
      sentence: 'an error room found without a record has its time from then',
      room: { status: 'error', statusSinceMs: ago(500_000), adoptedAtMs: ago(10) },
      expected: 'ignored error',
    },
    {
      sentence: 'a pending room has its time to come up',
      room: { status: 'pending', statusSinceMs: ago(120_000), lastPingAtMs: null, instance: { status: 'pending' } },
      expected: 'available',
    },
    {
      sentence: 'a pending room that does not come up expires (v10 keeps it for ever)',
      room: { status: 'pending', statusSinceMs: ago(120_001), lastPingAtMs: null, instance: { status: 'pending' } },
      expected: 'expired initialization_timeout',
    },
    {
      sentence: 'a pending room of which the runtime says nothing yet is available (v10 makes another)',
      room: { status: 'pending', statusSinceMs: ago(1), lastPingAtMs: null, instance: { status: 'unknown' } },
      expected: 'available',
    },
    {
      sentence: 'an old room that became unready just now has its time to come back',
      room: { status: 'unready', createdAtMs: 0, statusSinceMs: ago(1_000) },
      expected: 'available',
    },
    {
      sentence: 'an unready room that does not come back expires although it pings',
      room: { status: 'unready', statusSinceMs: ago(120_001), instance: { status: 'pending' } },
      expected: 'expired initialization_timeout',
    },
    {
      sentence: 'an unready room with a match that pings is available for as long as it takes',
      room: { status: 'unready', statusSinceMs: ago(500_000), runningMatches: 1, instance: { status: 'pending' } },
      expected: 'available',
    },
    {
      sentence: 'an unready room with a match that is silent too expires',
      room: {
        status: 'unready',
        statusSinceMs: ago(500_000),
        runningMatches: 1,
        lastPingAtMs: ago(240_001),
        instance: { status: 'pending' },
      },
      expected: 'expired ping_timeout',
    },
    {
      sentence: 'a pending room found without a record has its time from then',
      room: { status: 'pending', statusSinceMs: ago(500_000), adoptedAtMs: ago(120_000), lastPingAtMs: null },
      expected: 'available',
    },
    {
      sentence: 'a pending room waits while nobody can hear its first ping',
      room: { status: 'unready', statusSinceMs: ago(500_000), lastPingAtMs: null },
      hearingSinceMs: null,
      expected: 'available',
    },
    {
      sentence: 'a pending room has its time anew when hearing begins anew',
      room: { status: 'unready', statusSinceMs: ago(500_000), lastPingAtMs: null },
      hearingSinceMs: ago(120_000),
      expected: 'available',
    },
    {
      sentence: 'a ready room at the end of its ping timeout is available',
      room: { lastPingAtMs: ago(240_000) },
      expected: 'available',
    },
    {
      sentence: 'a ready room that is silent for longer expires',
      room: { lastPingAtMs: ago(240_001) },
      expected: 'expired ping_timeout',
    },
    {
      sentence: 'a ready room that never pinged is silent since its creation',
      room: { lastPingAtMs: null, createdAtMs: ago(240_001) },
      expected: 'expired ping_timeout',
    },
    {
      sentence: 'nobody is silent while nobody can hear',
      room: { lastPingAtMs: ago(900_000) },
      hearingSinceMs: null,
      expected: 'available',
    },
    {
      sentence: 'silence counts from when hearing began',
      room: { lastPingAtMs: ago(900_000) },
      hearingSinceMs: ago(240_000),
      expected: 'available',
    },
    {
      sentence: 'a room that stays silent after hearing began expires',
      room: { lastPingAtMs: ago(900_000) },
      hearingSinceMs: ago(240_001),
      expected: 'expired ping_timeout',
    },
    {
      sentence: 'silence of a room found without a record counts from then',
      room: { lastPingAtMs: null, createdAtMs: ago(900_000), adoptedAtMs: ago(240_000) },
      expected: 'available',
    },
    {
      sentence: 'a silent occupied room on a ready instance lives on: silence alone does not end a match',
      room: { status: 'occupied', runningMatches: 1, lastPingAtMs: ago(480_000) },
      expected: 'available',
    },
    {
      sentence: 'a silent occupied room expires after twice the time',
      room: { status: 'occupied', runningMatches: 1, lastPingAtMs: ago(480_001) },
      expected: 'expired ping_timeout',
    },
    {
      sentence: 'a silent occupied room whose instance is not ready expires',
      room: { status: 'occupied', runningMatches: 1, lastPingAtMs: ago(240_001), instance: { status: 'pending' } },
      expected: 'expired ping_timeout',
    },
    {
      sentence: 'an occupied room whose instance is not ready but which pings lives on',
      room: { status: 'occupied', runningMatches: 1, instance: { status: 'pending' } },
      expected: 'available',
    },
    {
      sentence: 'a silent allocated room counts as one with a match',
      room: { status: 'allocated', lastPingAtMs: ago(240_001) },
      expected: 'available',
    },
    {
      sentence: 'a silent room that says ready with a match counts as one with a match',
      room: { status: 'ready', runningMatches: 1, lastPingAtMs: ago(240_001) },
      expected: 'available',
    },
    {
      sentence: 'a draining room with a match is no capacity, and stays',
      room: { status: 'occupied', runningMatches: 1, drainingSinceMs: ago(500_000) },
      expected: 'draining',
    },
    {
      sentence: 'a draining room that is empty is drained after the confirm delay',
      room: { drainingSinceMs: ago(10_000) },
      expected: 'drained',
    },
    {
      sentence: 'a draining room that is empty waits for it',
      room: { drainingSinceMs: ago(9_999) },
      expected: 'draining',
    },
    {
      sentence: 'a draining room that comes up is drained, so that nobody waits for it',
      room: { status: 'pending', statusSinceMs: ago(20_000), lastPingAtMs: null, drainingSinceMs: ago(10_000) },
      expected: 'drained',
    },
    {
      sentence: 'a draining room in error is drained at once, not after the time to come back',
      room: { status: 'error', statusSinceMs: ago(1), drainingSinceMs: ago(10_000), instance: { status: 'error' } },
      expected: 'drained',
    },
    {
      sentence: 'a draining room that falls silent expires like any other',
      room: { drainingSinceMs: ago(300_000), lastPingAtMs: ago(240_001) },
      expected: 'expired ping_timeout',
    },
    {
      sentence: 'a draining room with a match needs a second signal to expire, too',
      room: { status: 'occupied', runningMatches: 1, drainingSinceMs: ago(300_000), lastPingAtMs: ago(240_001) },
      expected: 'draining',
    },
    {
      sentence: 'a draining room that terminates is on its way already',
      room: { status: 'terminating', statusSinceMs: ago(1), drainingSinceMs: ago(300_000) },
      expected: 'ignored terminating',
    },
    {
      sentence: 'a draining validation room is left to its operation',
      room: { validation: true, drainingSinceMs: ago(300_000) },
      expected: 'ignored validation',
    },
  ];
  const busy = { status: 'occupied', runningMatches: 1 } as const;
  const withDeadline: [sentence: string, room: Parameters<typeof aRoom>[0], expected: RoomClass][] = [
    [
      'an operator drains a match within its deadline',
      { ...busy, drainingSinceMs: ago(59_999) },
      { class: 'draining', lookAtMs: nowMs + 1 },
    ],
    ['an operator ends it there', { ...busy, drainingSinceMs: ago(60_000) }, { class: 'overdue' }],
    ['so does a rollout', { ...busy, drainingSinceMs: ago(60_000), drainReason: 'rollout' }, { class: 'overdue' }],
    [
      'a room that is one too many is never taken from its match',
      { ...busy, drainingSinceMs: ago(60_000), drainReason: 'scale_down' },
      { class: 'draining', lookAtMs: null },
    ],
    ['an empty room has drained, whatever the time', { drainingSinceMs: ago(60_000) }, { class: 'drained' }],
    [
      'an empty room waits for no longer than its confirm delay',
      { drainingSinceMs: ago(1_000) },
      { class: 'draining', lookAtMs: nowMs + 9_000 },
    ],
    [
      'a room that is not heard is looked at for it',
      { drainingSinceMs: ago(55_000), lastPingAtMs: ago(55_001) },
      { class: 'draining', lookAtMs: nowMs + 5_000 },
    ],
    [
      'a room that is not heard goes, too',
      { drainingSinceMs: ago(60_000), lastPingAtMs: ago(60_001) },
      { class: 'overdue' },
    ],
    [
      "a validation room is nobody's",
      { validation: true, drainingSinceMs: 0 },
      { class: 'ignored', reason: 'validation' },
    ],
  ];

  test.each(withDeadline)('with a drain deadline: %s', (_, room, expected) => {
    const facts = { nowMs, hearingSinceMs: 0, limits: { ...limits, drainDeadlineMs: 60_000 } };
    expect(classifyRoom(aRoom(room), facts)).toEqual(expected);
  });

  const say = (result: RoomClass): string => ('reason' in result ? `${result.class} ${result.reason}` : result.class);

  test.each(rows)('$sentence', ({ room, hearingSinceMs = 0, expected }) => {
    expect(say(classifyRoom(aRoom(room), { nowMs, hearingSinceMs, limits }))).toBe(expected);
  });
});

describe('limitsOfScheduler', () => {
  const terminating = (sinceMs: number) => aRoom({ status: 'terminating', statusSinceMs: ago(sinceMs) });
  const judge = (terminationGracePeriodNs: number, sinceMs: number) =>
    classifyRoom(terminating(sinceMs), {
      nowMs,
      hearingSinceMs: 0,
      limits: limitsOfScheduler(limits, { spec: { terminationGracePeriodNs } }),
    }).class;

  test('a terminating room has its grace period, and the time to go after it', () => {
    expect(judge(300e9, 400_000)).toBe('ignored');
    expect(judge(300e9, 400_001)).toBe('expired');
  });

  test.each([
    [undefined, null],
    [{ drain: { deadlineSeconds: 90 } }, 90_000],
  ])('the deadline of its drains is what it states: %j', (extensions, drainDeadlineMs) => {
    const scheduler = { spec: { terminationGracePeriodNs: 0 }, extensions };
    expect(limitsOfScheduler(limits, scheduler).drainDeadlineMs).toBe(drainDeadlineMs);
  });

  test('the grace period of who states none is that of the runtime', () => {
    expect(judge(0, 130_000)).toBe('ignored');
    expect(judge(0, 130_001)).toBe('expired');
  });
});

describe('isExpectedToPing', () => {
  test('is so for rooms that were up, not for those that come up or go', () => {
    const expected = roomStatuses.filter((status) => isExpectedToPing(aRoom({ status })));
    expect(expected).toEqual(['ready', 'occupied', 'active', 'allocated']);
  });

  test.each<[string, Partial<Room>, boolean]>([
    ['an unready room with a match is', { status: 'unready', runningMatches: 1 }, true],
    ['a validation room is not', { validation: true }, false],
    ['a terminating room with a match is not', { status: 'terminating', runningMatches: 1 }, false],
    ['a room on a failed instance is not', { instance: { ...aRoom().instance, status: 'error' } }, false],
  ])('%s', (_, room, expected) => {
    expect(isExpectedToPing(aRoom(room))).toBe(expected);
  });
});

describe('silenceMs', () => {
  test('is never negative, even when a ping is newer than the snapshot', () => {
    expect(silenceMs(aRoom({ lastPingAtMs: nowMs + 5 }), { nowMs, hearingSinceMs: 0 })).toBe(0);
  });
});
