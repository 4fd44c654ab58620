import { explainRoomStatus, type RoomStatusFacts } from './explain-room-status';
import { aRoom } from './room.fixture';
import { roomStatuses, type OpenAllocation, type RoomTransition } from './room';

const nowMs = Date.parse('2026-05-01T10:00:00Z');
const ago = (seconds: number): number => nowMs - seconds * 1_000;
const limits = {
  pingTimeoutMs: 240_000,
  initializationTimeoutMs: 120_000,
  deletionTimeoutMs: 90_000,
  drainConfirmMs: 10_000,
  drainDeadlineMs: null,
};
const address = { host: '203.0.113.7', ports: [] };
const given = (id: string, inSeconds: number | null): OpenAllocation => ({
  id,
  allocatedAtMs: ago(5),
  expiresAtMs: inSeconds === null ? null : nowMs + inSeconds * 1_000,
});
const became = (to: RoomTransition['to'], cause: RoomTransition['cause'], detail: string, seconds = 30) =>
  [{ atMs: ago(seconds), from: 'ready', to, cause, detail }] as RoomTransition[];

interface Asked extends Partial<Omit<RoomStatusFacts, 'room'>> {
  room?: Parameters<typeof aRoom>[0];
}

/** A ready room that came up a minute ago and pinged two seconds ago, with what a row wants different. */
function explain({ room: { instance, ...room } = {}, ...facts }: Asked): string[] {
  const status = room.status ?? 'ready';
  return explainRoomStatus({
    room: aRoom({
      createdAtMs: ago(120),
      statusSinceMs: ago(60),
      lastPingAtMs: ago(2),
      ...room,
      instance: { address, ...instance },
    }),
    transitions: became(status, 'ping', 'ready', 60),
    nowMs,
    hearingSinceMs: ago(100_000),
    limits,
    adoptionHoldMs: 30_000,
    maxMatches: 1,
    ...facts,
  });
}

describe('explainRoomStatus', () => {
  test('a ready room says what it and the runtime said, until when that holds, and that it can be given out', () => {
    expect(explain({})).toEqual([
      'It became ready 1 min ago (2026-05-01T09:59:00Z): it said ready.',
      'It last said ready 2 s ago (2026-05-01T09:59:58Z).',
      'The runtime says that its instance is ready.',
      'It expires in 3 min 58 s (2026-05-01T10:03:58Z), after 4 min of silence, unless it pings.',
      'It can be given to a caller now.',
    ]);
  });

  const rows: [sentence: string, facts: Asked, expected: string][] = [
    // What made it so.
    [
      'a room under creation says so',
      { room: { status: 'pending', lastPingAtMs: null }, transitions: became('pending', 'created', 'v1.0.0', 3) },
      'It became pending 3 s ago (2026-05-01T09:59:57Z): its record was made.',
    ],
    [
      'a room that was given out names the allocation',
      { room: { status: 'allocated' }, transitions: became('allocated', 'allocated', 'a-1') },
      'It became allocated 30 s ago (2026-05-01T09:59:30Z): it was given to a caller (allocation a-1).',
    ],
    [
      'a room whose caller did not come names the allocation',
      { transitions: became('ready', 'allocation_expired', 'a-1') },
      'It became ready 30 s ago (2026-05-01T09:59:30Z): allocation a-1 expired before the room reported a match.',
    ],
    [
      'a room that was given back names the allocation',
      { transitions: became('ready', 'allocation_released', 'a-1') },
      'It became ready 30 s ago (2026-05-01T09:59:30Z): allocation a-1 was released.',
    ],
    [
      'a room that fails names what the runtime said',
      { room: { status: 'error' }, transitions: became('error', 'instance', 'error: OOMKilled') },
      'It became error 30 s ago (2026-05-01T09:59:30Z): the runtime said of its instance error: OOMKilled.',
    ],
    [
      'a room whose runtime speaks in sentences has one full stop',
      { room: { status: 'error' }, transitions: became('error', 'instance', 'error: 3 Insufficient cpu.') },
      'It became error 30 s ago (2026-05-01T09:59:30Z): the runtime said of its instance error: 3 Insufficient cpu.',
    ],
    [
      'a room that was adopted says how it was found',
      { room: { status: 'pending' }, transitions: became('pending', 'adopted', 'ready') },
      'It became pending 30 s ago (2026-05-01T09:59:30Z): it was found running without a record, its instance ready.',
    ],
    [
      'a room that an operator deletes says so',
      { room: { status: 'terminating' }, transitions: became('terminating', 'removal', 'deleted_by_name') },
      'It became terminating 30 s ago (2026-05-01T09:59:30Z): Maestro began to remove it, because an operator deleted it by name.',
    ],
    [
      'a room that is too many says so',
      { room: { status: 'terminating' }, transitions: became('terminating', 'removal', 'scale_down') },
      'It became terminating 30 s ago (2026-05-01T09:59:30Z): Maestro began to remove it, because there were more rooms than wanted.',
    ],
    [
      'a room that is removed for a reason of another release shows its word',
      { room: { status: 'terminating' }, transitions: became('terminating', 'removal', 'moved_away') },
      'It became terminating 30 s ago (2026-05-01T09:59:30Z): Maestro began to remove it, because moved_away.',
    ],
    [
      'a room whose transitions are unknown says how long it has its status',
      { transitions: [] },
      'It has been ready for 1 min (since 2026-05-01T09:59:00Z).',
    ],
    [
      'a room whose status changed between two reads blames no other change',
      { transitions: became('occupied', 'ping', 'occupied', 0) },
      'It has been ready for 1 min (since 2026-05-01T09:59:00Z).',
    ],

    // What it said.
    ['a room that never pinged says so', { room: { lastPingAtMs: null } }, 'It has not pinged yet.'],
    [
      'a room with a match says how many it reported',
      { room: { status: 'occupied', pingStatus: 'occupied', runningMatches: 1 } },
      'It last said occupied 2 s ago (2026-05-01T09:59:58Z), with 1 running match.',
    ],
    [
      'a room for several matches says how many, also none',
      { maxMatches: 3 },
      'It last said ready 2 s ago (2026-05-01T09:59:58Z), with 0 running matches.',
    ],

    // What the runtime says.
    [
      'a room that the runtime has not named says so',
      { room: { instance: { status: 'unknown' } } },
      'The runtime has said nothing about its instance yet.',
    ],
    [
      "a failed room shows the runtime's words",
      { room: { status: 'error', instance: { status: 'error', description: 'exited with code 1' } } },
      'The runtime says that its instance has failed: exited with code 1.',
    ],
    [
      'a room that is not scheduled yet shows why',
      { room: { status: 'pending', instance: { status: 'pending', description: 'Unschedulable: no node fits.' } } },
      'The runtime says that its instance is pending: Unschedulable: no node fits.',
    ],

    [
      'a room whose container was started again says how often, and how it ended',
      {
        room: {
          instance: {
            restarts: { count: 3, lastEnd: { container: 'game', exitCode: 137, reason: 'OOMKilled', atMs: ago(20) } },
          },
        },
      },
      'Its containers were started again 3 times; the last one to end was this: container "game" ended with code 137 (OOMKilled) 20 s ago (2026-05-01T09:59:40Z).',
    ],
    [
      'a room whose container was started again says so where nobody knows why',
      { room: { instance: { restarts: { count: 1, lastEnd: null } } } },
      'Its containers were started again 1 time.',
    ],

    // What sets it apart.
    [
      'a validation room says what it is for',
      { room: { validation: true, version: 'v2.0.0' } },
      'It only shows whether version v2.0.0 starts: it is no capacity, and goes with its operation.',
    ],
    [
      'an adopted room that was not heard is held',
      { room: { adoptedAtMs: ago(20), lastPingAtMs: null } },
      'It was found running without a record 20 s ago (2026-05-01T09:59:40Z); it may hold a match that nobody knows of, so it is not scaled down before it pings, or in 3 min 40 s (2026-05-01T10:03:40Z).',
    ],
    [
      'an adopted room that pinged is like any other',
      { room: { adoptedAtMs: ago(20) } },
      'It was found running without a record 20 s ago (2026-05-01T09:59:40Z).',
    ],

    // Allocations.
    [
      'a room that was given out says until when',
      { room: { status: 'allocated', allocations: [given('a-1', 25)] } },
      'Callers were given 1 of its 1 slot, and it has not reported their matches yet: 1 expires in 25 s (2026-05-01T10:00:25Z) unless it reports the match.',
    ],
    [
      'slots of a room count and end apart',
      { room: { allocations: [given('a', 25), given('b', 40), given('c', null)] }, maxMatches: 5 },
      'Callers were given 3 of its 5 slots, and it has not reported their matches yet: 2 expire between in 25 s (2026-05-01T10:00:25Z) and in 40 s (2026-05-01T10:00:40Z) unless it reports the match; 1 confirmed by the caller, held until it reports the match or ends.',
    ],

    // Draining.
    [
      'a draining room with a match waits for its end',
      { room: { status: 'occupied', runningMatches: 1, drainingSinceMs: ago(90) } },
      'It has been draining for 1 min 30 s (since 2026-05-01T09:58:30Z): it gets no new players, is no capacity, and goes when its last match is over.',
    ],
    [
      'a draining room that is empty waits for the delay',
      { room: { drainingSinceMs: ago(4) } },
      'It has been draining for 4 s (since 2026-05-01T09:59:56Z): it gets no new players, is no capacity, and, being empty, goes in 6 s (2026-05-01T10:00:06Z).',
    ],
    [
      'a draining room that is empty goes after it',
      { room: { drainingSinceMs: ago(10) } },
      'It has been draining for 10 s (since 2026-05-01T09:59:50Z): it gets no new players, is no capacity, and, being empty, goes at the next look.',
    ],
    [
      'a draining room has to be heard',
      { room: { drainingSinceMs: ago(10), lastPingAtMs: ago(15) } },
      'It has been draining for 10 s (since 2026-05-01T09:59:50Z): it gets no new players, is no capacity, and goes once it says that it is empty; it has not been heard since the drain began.',
    ],

    [
      'a room that is one too many says so, and when it goes',
      { room: { drainingSinceMs: ago(4), drainReason: 'scale_down' } },
      'It has been draining for 4 s (since 2026-05-01T09:59:56Z), because it is one too many: it gets no new players, is no capacity, and, being empty, goes in 6 s (2026-05-01T10:00:06Z).',
    ],
    [
      'a room that is one too many and got a match stays, deadline or not',
      {
        room: { status: 'occupied', runningMatches: 1, drainingSinceMs: ago(99), drainReason: 'scale_down' },
        limits: { ...limits, drainDeadlineMs: 60_000 },
      },
      'It has been draining for 1 min 39 s (since 2026-05-01T09:58:21Z), because it is one too many: it gets no new players, is no capacity, and, having a match, is taken back into use at the next look.',
    ],
    [
      'a room of an older version with a match is still in use',
      { room: { status: 'occupied', runningMatches: 1, drainingSinceMs: ago(90), drainReason: 'rollout' } },
      'It has been draining for 1 min 30 s (since 2026-05-01T09:58:30Z), because its version was replaced: it gets no new players, and goes when its last match is over.',
    ],
    [
      'an empty room of an older version goes',
      { room: { drainingSinceMs: ago(10), drainReason: 'rollout' } },
      'It has been draining for 10 s (since 2026-05-01T09:59:50Z), because its version was replaced: it gets no new players, is no capacity, and, being empty, goes at the next look.',
    ],
    [
      'a drain with a deadline says when that is',
      {
        room: { status: 'occupied', runningMatches: 1, drainingSinceMs: ago(90), drainReason: 'rollout' },
        limits: { ...limits, drainDeadlineMs: 600_000 },
      },
      'It has been draining for 1 min 30 s (since 2026-05-01T09:58:30Z), because its version was replaced: it gets no new players, and goes when its last match is over, but at the latest in 8 min 30 s (2026-05-01T10:08:30Z).',
    ],
    [
      'so does one that is not heard',
      { room: { drainingSinceMs: ago(10), lastPingAtMs: ago(15) }, limits: { ...limits, drainDeadlineMs: 60_000 } },
      'It has been draining for 10 s (since 2026-05-01T09:59:50Z): it gets no new players, is no capacity, and goes once it says that it is empty, but at the latest in 50 s (2026-05-01T10:00:50Z); it has not been heard since the drain began.',
    ],
    [
      'a drain that is past its deadline ends, match or not',
      {
        room: { status: 'occupied', runningMatches: 1, drainingSinceMs: ago(60) },
        limits: { ...limits, drainDeadlineMs: 60_000 },
      },
      'It has been draining for 1 min (since 2026-05-01T09:59:00Z): it gets no new players, is no capacity, and goes at the next look: its scheduler gives it 1 min to drain.',
    ],
    [
      'a room that went at its deadline says so',
      { room: { status: 'terminating' }, transitions: became('terminating', 'removal', 'drain_deadline') },
      'It became terminating 30 s ago (2026-05-01T09:59:30Z): Maestro began to remove it, because it had drained for as long as its scheduler gives a match.',
    ],

    // What becomes of it.
    [
      'a room that comes up says how long it may take',
      { room: { status: 'pending', statusSinceMs: ago(30), lastPingAtMs: null } },
      'It expires in 1 min 30 s (2026-05-01T10:01:30Z) unless it comes up.',
    ],
    [
      'a room with a match may be silent for longer',
      { room: { status: 'occupied', runningMatches: 1, lastPingAtMs: ago(300) } },
      'It expires in 3 min (2026-05-01T10:03:00Z), after 8 min of silence with a match, unless it pings.',
    ],
    [
      'a room with a match on an instance that is not ready may not',
      { room: { status: 'occupied', runningMatches: 1, lastPingAtMs: ago(40), instance: { status: 'pending' } } },
      'It expires in 3 min 20 s (2026-05-01T10:03:20Z), after 4 min of silence, unless it pings.',
    ],
    [
      'a failed room says when it goes',
      { room: { status: 'error', statusSinceMs: ago(20) } },
      'It is no capacity, and is removed in 1 min 40 s (2026-05-01T10:01:40Z) unless it recovers.',
    ],
    [
      'a terminating room says when it is overdue',
      { room: { status: 'terminating', statusSinceMs: ago(30) } },
      'If its instance is still there in 1 min (2026-05-01T10:01:00Z), it is asked to end once more.',
    ],
    [
      'nobody hears: silence does not count',
      { hearingSinceMs: null, room: { lastPingAtMs: ago(50_000) } },
      'No rooms API runs that could hear it, so its silence does not count now.',
    ],
    [
      'nobody heard: silence counts from when somebody did again',
      { hearingSinceMs: ago(40), room: { lastPingAtMs: ago(50_000) } },
      'Pings can be heard again for 40 s (since 2026-05-01T09:59:20Z); silence before that does not count.',
    ],
    [
      'a silent room has expired',
      { room: { lastPingAtMs: ago(300) } },
      'It has expired, because it has said nothing for 5 min; unless a large part of the fleet fell silent with it, it is removed at the next look.',
    ],
    [
      'a room that does not come up has expired',
      { room: { status: 'unready', statusSinceMs: ago(121), lastPingAtMs: null } },
      'It has expired, because it did not come up within 2 min; it is removed at the next look.',
    ],
    [
      'a room that does not recover has expired',
      { room: { status: 'error', statusSinceMs: ago(121) } },
      'It has expired, because it did not recover within 2 min; it is removed at the next look.',
    ],
    [
      'a room that does not go has expired',
      { room: { status: 'terminating', statusSinceMs: ago(91) } },
      'It has expired, because it did not go within 1 min 30 s, its grace period included; its instance is asked to end once more.',
    ],
    [
      'a room whose start is put off says why, and when it was tried last',
      {
        room: {
          status: 'pending',
          instance: { status: 'unknown' },
          startPutOff: { lastAtMs: ago(3), reason: 'pods is forbidden' },
        },
      },
      'Its instance could not be made yet, and that is tried again; last 3 s ago (2026-05-01T09:59:57Z): pods is forbidden.',
    ],
    [
      'a room that does not go says for how long, and how often it was asked to',
      {
        room: { status: 'terminating', statusSinceMs: ago(300), endAsked: { times: 2, lastAtMs: ago(200) } },
      },
      'It has been terminating for 5 min, which may take 1 min 30 s: the node does not answer, or something else holds its instance back; it was asked to 2 times, last 3 min 20 s ago (2026-05-01T09:56:40Z).',
    ],
    [
      'a room that does not go and was asked again says when it is asked next',
      {
        room: { status: 'terminating', statusSinceMs: ago(300), endAsked: { times: 2, lastAtMs: ago(170) } },
      },
      'If its instance is still there in 10 s (2026-05-01T10:00:10Z), it is asked to end once more.',
    ],
    [
      'a room that nobody here asked to go does not go either',
      { room: { status: 'terminating', statusSinceMs: ago(91) } },
      'It has been terminating for 1 min 31 s, which may take 1 min 30 s: the node does not answer, or something else holds its instance back.',
    ],
    [
      'a room that said its last word has expired',
      { room: { status: 'terminated' } },
      'It has expired, because it said that it is over; it is removed at the next look.',
    ],

    // Why nobody gets it.
    [
      'an occupied room is not given out',
      { room: { status: 'occupied', runningMatches: 1 } },
      'It cannot be given to a caller now: it is occupied.',
    ],
    [
      'a room for several matches with a free slot is',
      { room: { status: 'active', runningMatches: 1, allocations: [given('a', 9)] }, maxMatches: 3 },
      'It can be given to a caller now.',
    ],
    [
      'one whose slots are all given or used is not',
      { room: { status: 'active', runningMatches: 1, allocations: [given('a', 9)] }, maxMatches: 2 },
      'It cannot be given to a caller now: all its slots are taken.',
    ],
    [
      'no room of a scheduler that is being deleted is given out',
      { isSchedulerTerminating: true },
      'It cannot be given to a caller now: its scheduler is being deleted.',
    ],
    [
      'a draining room is not given out',
      { room: { drainingSinceMs: ago(1) } },
      'It cannot be given to a caller now: it drains.',
    ],
    [
      'neither is a room that tries a version, nobody knows the way to, and never spoke: all is said at once',
      { room: { validation: true, status: 'unready', lastPingAtMs: null, instance: { address: null } } },
      'It cannot be given to a caller now: it only tries a version; it is unready; its address is not known yet; it has not pinged yet.',
    ],
    [
      'a silent room is not given out, though its silence does not count',
      { hearingSinceMs: null, room: { lastPingAtMs: ago(241) } },
      'It cannot be given to a caller now: it has said nothing for more than 4 min.',
    ],
    [
      'an adopted room is held back, also after a ping',
      { room: { adoptedAtMs: ago(20) } },
      'It cannot be given to a caller now: a caller may have been given it before its record was lost, so it is held back until 2026-05-01T10:00:10Z.',
    ],
    [
      'a room that goes is not given out, for that reason alone',
      { room: { status: 'terminating', drainingSinceMs: ago(1), instance: { address: null } } },
      'It cannot be given to a caller now: it is terminating.',
    ],
  ];

  test.each(rows)('%s', (_, facts, expected) => {
    expect(explain(facts)).toContain(expected);
  });

  test.each(roomStatuses)(
    'says of a room that is %s what it said, what the runtime says, and whether it is given out',
    (status) => {
      const sentences = explain({ room: { status } });
      expect(sentences.length).toBeGreaterThanOrEqual(4);
      for (const sentence of sentences) expect(sentence).toMatch(/^[A-Z].*\.$/);
    },
  );

  test('a draining room that terminates is told as one that terminates', () => {
    const sentences = explain({ room: { status: 'terminating', drainingSinceMs: ago(60) } });
    expect(sentences.filter((each) => each.includes('drain'))).toEqual([]);
  });
});
