import { freeSlots } from './free-slots';
import { aRoom } from './room.fixture';

const given = { id: 'a', allocatedAtMs: 0, expiresAtMs: null };

describe('freeSlots', () => {
  test.each<[string, Parameters<typeof aRoom>[0], number]>([
    ['a ready room has all of them', {}, 3],
    ['less those that were given out', { allocations: [given, given] }, 1],
    ['a room in use has the rest', { status: 'active', runningMatches: 1, allocations: [given] }, 1],
    ['a full one has none', { status: 'occupied', runningMatches: 3 }, 0],
    ['more matches than slots are no debt', { status: 'active', runningMatches: 9 }, 0],
    ['one that comes up has none yet', { status: 'unready' }, 0],
    ['one whose instance is not ready has none now', { instance: { status: 'pending' } }, 0],
  ])('%s', (_, room, expected) => {
    expect(freeSlots(aRoom(room), 3)).toBe(expected);
  });
});
