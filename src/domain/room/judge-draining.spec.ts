import { judgeDraining, type DrainVerdict } from './judge-draining';
import { aRoom } from './room.fixture';
import type { OpenAllocation } from './room';

const nowMs = 1_000_000;
const drainConfirmMs = 10_000;
const ago = (ms: number): number => nowMs - ms;
const allocation = (expiresAtMs: number | null, id = 'a'): OpenAllocation => ({ id, allocatedAtMs: 0, expiresAtMs });

describe('judgeDraining', () => {
  const waits = (lookAtMs: number | null): DrainVerdict => ({ class: 'draining', lookAtMs });
  const drained: DrainVerdict = { class: 'drained' };
  const rows: [sentence: string, room: Parameters<typeof aRoom>[0], expected: DrainVerdict][] = [
    ['an empty room that was heard is drained after the confirm delay', { drainingSinceMs: ago(10_000) }, drained],
    ['an empty room waits for the end of the confirm delay', { drainingSinceMs: ago(9_999) }, waits(nowMs + 1)],
    [
      'a room with a match waits for its ping, however long it drains',
      { drainingSinceMs: 0, status: 'occupied', runningMatches: 1 },
      waits(null),
    ],
    [
      'a room that takes several matches waits for the last one',
      { drainingSinceMs: 0, status: 'active', runningMatches: 1 },
      waits(null),
    ],
    [
      'an unready room that reported a match waits',
      { drainingSinceMs: 0, status: 'unready', runningMatches: 1 },
      waits(null),
    ],
    [
      'a room that was given out waits until the last of its allocations is over',
      { drainingSinceMs: 0, allocations: [allocation(nowMs + 5_000), allocation(nowMs + 2_000, 'b')] },
      waits(nowMs + 6_000),
    ],
    [
      'an allocation that is over, but still recorded, is looked at again soon',
      { drainingSinceMs: 0, status: 'allocated', allocations: [allocation(ago(5))] },
      waits(nowMs + 1_000),
    ],
    [
      'a confirmed allocation holds the room until it reports',
      { drainingSinceMs: 0, allocations: [allocation(nowMs + 5_000), allocation(null, 'b')] },
      waits(null),
    ],
    [
      'a match outweighs what time does to an allocation',
      { drainingSinceMs: 0, runningMatches: 1, allocations: [allocation(nowMs + 5_000)] },
      waits(null),
    ],
    [
      'a room that said nothing since the drain began is looked at again',
      { drainingSinceMs: ago(20_000), lastPingAtMs: ago(20_001) },
      waits(nowMs + 10_000),
    ],
    ['a room that never was up is drained', { drainingSinceMs: 0, status: 'pending', lastPingAtMs: null }, drained],
    [
      'a room that was found running and said nothing yet may hold players',
      { drainingSinceMs: 0, status: 'pending', lastPingAtMs: null, adoptedAtMs: ago(60_000) },
      waits(nowMs + 10_000),
    ],
    [
      'a room whose instance failed has nobody left to hear',
      { drainingSinceMs: ago(20_000), status: 'error', lastPingAtMs: ago(30_000), instance: { status: 'error' } },
      drained,
    ],
  ];

  test.each(rows)('%s', (_, room, expected) => {
    expect(judgeDraining(aRoom(room), { nowMs, hearingSinceMs: 0, drainConfirmMs })).toEqual(expected);
  });

  test('without a delay an empty room goes at once, and an unheard one is asked for every second', () => {
    const facts = { nowMs, hearingSinceMs: 0, drainConfirmMs: 0 };
    expect(judgeDraining(aRoom({ drainingSinceMs: nowMs }), facts)).toEqual(drained);
    const unheard = aRoom({ drainingSinceMs: nowMs, lastPingAtMs: ago(1) });
    expect(judgeDraining(unheard, facts)).toEqual(waits(nowMs + 1_000));
  });

  test('while nobody can hear a room, only one that never was up, or is over, goes', () => {
    const deaf = { nowMs, hearingSinceMs: null, drainConfirmMs };
    expect(judgeDraining(aRoom({ drainingSinceMs: 0 }), deaf)).toEqual(waits(nowMs + 10_000));
    expect(judgeDraining(aRoom({ drainingSinceMs: 0, lastPingAtMs: null }), deaf)).toEqual(drained);
    expect(judgeDraining(aRoom({ drainingSinceMs: 0, instance: { status: 'error' } }), deaf)).toEqual(drained);
  });
});
