import { chooseRemovals, type RemovalFacts } from './choose-removals';
import { aRoom } from './room.fixture';
import type { Room } from './room';

const nowMs = 1_000_000;
const facts: RemovalFacts = { amount: 100, version: 'v2.0.0', nowMs, hearingSinceMs: 0, pingTimeoutMs: 240_000 };
const ago = (ms: number): number => nowMs - ms;

describe('chooseRemovals', () => {
  // The vector of `rooms.md` 3.7, in which v10 removes occupied, silent and terminating rooms too.
  const vector = [
    aRoom({ id: 'r1', status: 'error', version: 'v2.0.0' }),
    aRoom({ id: 'r2', status: 'ready', version: 'v1.0.0' }),
    aRoom({ id: 'r3', status: 'ready', version: 'v2.1.0' }),
    aRoom({ id: 'r4', status: 'occupied', version: 'v1.0.0' }),
    aRoom({ id: 'r5', status: 'occupied', version: 'v2.0.0' }),
    aRoom({ id: 'r6', status: 'pending', version: 'v2.0.0' }),
    aRoom({ id: 'r7', status: 'active', version: 'v1.0.0' }),
    aRoom({ id: 'r8', status: 'terminating', version: 'v2.0.0', lastPingAtMs: ago(500_000) }),
    aRoom({ id: 'r9', status: 'unready', version: 'v2.0.0' }),
  ];

  test.each([
    [3, ['r1', 'r6', 'r9']],
    [4, ['r1', 'r6', 'r9', 'r2']],
    [5, ['r1', 'r6', 'r9', 'r2', 'r3']],
    [9, ['r1', 'r6', 'r9', 'r2', 'r3']],
    [0, []],
    [-1, []],
  ])('of the vector, %p rooms are %j', (amount, ids) => {
    expect(chooseRemovals(vector, { ...facts, amount })).toEqual(ids);
  });

  test('within a status, other major versions go first, then the oldest, then by id', () => {
    const rooms = [
      aRoom({ id: 'current-young', version: 'v2.3.0', createdAtMs: 9 }),
      aRoom({ id: 'current-b', version: 'v2.0.0', createdAtMs: 5 }),
      aRoom({ id: 'current-a', version: 'v2.0.0', createdAtMs: 5 }),
      aRoom({ id: 'other', version: 'v1.0.0', createdAtMs: 9 }),
      aRoom({ id: 'unparsable', version: 'latest', createdAtMs: 7 }),
    ];
    expect(chooseRemovals(rooms, facts)).toEqual(['unparsable', 'other', 'current-a', 'current-b', 'current-young']);
  });

  const spared: [string, Parameters<typeof aRoom>[0], Partial<RemovalFacts>?][] = [
    ['an occupied room', { status: 'occupied' }],
    ['an active room', { status: 'active' }],
    ['an allocated room', { status: 'allocated' }],
    ['a ready room with a running match', { runningMatches: 1 }],
    ['an unready room with a running match', { status: 'unready', runningMatches: 1 }],
    ['a failed room with a running match', { status: 'error', runningMatches: 1 }],
    ['a terminating room', { status: 'terminating' }],
    ['a terminated room', { status: 'terminated' }],
    ['a validation room', { validation: true }],
    ['an adopted room that never pinged', { status: 'unready', adoptedAtMs: ago(240_000), lastPingAtMs: null }],
    ['an adopted room that has not pinged since', { adoptedAtMs: ago(100), lastPingAtMs: ago(101) }],
    ['an adopted room that failed', { status: 'error', adoptedAtMs: ago(100), lastPingAtMs: null }],
    ['a ready room while nobody can hear', {}, { hearingSinceMs: null }],
    ['a ready room not heard since hearing began', { lastPingAtMs: ago(101) }, { hearingSinceMs: ago(100) }],
    [
      'an unready room that was up before hearing began',
      { status: 'unready', createdAtMs: ago(101), lastPingAtMs: null },
      { hearingSinceMs: ago(100) },
    ],
  ];

  test.each(spared)('%s is spared', (_, room, changes = {}) => {
    expect(chooseRemovals([aRoom(room)], { ...facts, ...changes })).toEqual([]);
  });

  const chosen: [string, Parameters<typeof aRoom>[0], Partial<RemovalFacts>?][] = [
    ['an adopted room that pinged since', { adoptedAtMs: ago(100), lastPingAtMs: ago(100) }],
    [
      'an adopted room that had a full ping timeout',
      { status: 'unready', adoptedAtMs: ago(240_001), lastPingAtMs: null },
    ],
    ['a room whose instance never was up, while nobody can hear', { status: 'pending' }, { hearingSinceMs: null }],
    ['a ready room heard since hearing began', { lastPingAtMs: ago(100) }, { hearingSinceMs: ago(100) }],
    [
      'a room made after hearing began',
      { status: 'unready', createdAtMs: ago(50), lastPingAtMs: null },
      { hearingSinceMs: ago(100) },
    ],
  ];

  test.each(chosen)('%s is chosen', (_, room, changes = {}) => {
    expect(chooseRemovals([aRoom({ id: 'it', ...room })], { ...facts, ...changes })).toEqual(['it']);
  });

  test('the rooms given are left as they are', () => {
    const rooms: readonly Room[] = Object.freeze([aRoom({ id: 'b' }), aRoom({ id: 'a' })]);
    expect(chooseRemovals(rooms, facts)).toEqual(['a', 'b']);
    expect(rooms.map(({ id }) => id)).toEqual(['b', 'a']);
  });
});
