import fc from 'fast-check';
import { aRoom } from '../room/room.fixture';
import { hasMatch, type Room } from '../room/room';
import { planReplacement, type ReplacementFacts } from './plan-replacement';
import { surgeRooms } from './surge-rooms';

const old = 'v1.0.0';
const active = 'v2.0.0';

const rooms = (amount: number, room: Parameters<typeof aRoom>[0], prefix: string): Room[] =>
  Array.from({ length: amount }, (_, index) => aRoom({ id: `${prefix}-${String(index).padStart(4, '0')}`, ...room }));
const oldRooms = (amount: number, room: Parameters<typeof aRoom>[0] = {}) =>
  rooms(amount, { version: old, ...room }, `old-${room?.status ?? 'ready'}`);
const newRooms = (amount: number, room: Parameters<typeof aRoom>[0] = {}) =>
  rooms(amount, { version: active, ...room }, `new-${room?.status ?? 'ready'}`);
const occupied = { status: 'occupied', runningMatches: 1 } as const;
const pending = { status: 'pending', lastPingAtMs: null, instance: { status: 'pending' } } as const;

function plan(changes: Partial<ReplacementFacts>) {
  return planReplacement({
    capacity: [],
    leaving: [],
    replacedVersions: new Set([old]),
    spared: new Set(),
    base: 100,
    maxMatches: 1,
    maxSurge: '25%',
    startsAreHeld: false,
    ...changes,
  });
}

describe('planReplacement', () => {
  test('a fleet of the active version has no rollout', () => {
    expect(plan({ capacity: newRooms(100) })).toBeNull();
    expect(plan({ capacity: [] })).toBeNull();
  });

  // rooms.md 10.5: what stands, how many of it are new, what there should be; all rooms are ready, the surge is 25 %.
  test.each([
    ['stable', 100, 0, 100, 25, 0],
    ['stable', 125, 25, 100, 0, 25],
    ['stable', 100, 25, 100, 25, 0],
    ['stable', 125, 50, 100, 0, 25],
    ['stable', 100, 50, 100, 25, 0],
    ['stable', 125, 75, 100, 0, 25],
    ['stable', 100, 75, 100, 25, 0],
    ['stable', 125, 100, 100, 0, 25],
    ['occupancy up', 100, 0, 100, 25, 0],
    ['occupancy up', 125, 25, 200, 125, 0],
    ['occupancy up', 250, 150, 200, 0, 50],
    ['occupancy up', 200, 150, 400, 300, 0],
    ['occupancy up, only 50 old ones are left', 500, 450, 400, 0, 50],
    ['occupancy down', 100, 0, 100, 25, 0],
    ['occupancy down', 125, 25, 40, 0, 85],
    ['occupancy down', 40, 25, 40, 10, 0],
    ['occupancy down', 50, 35, 40, 0, 10],
    ['occupancy down', 40, 35, 40, 10, 0],
    ['occupancy down', 50, 45, 40, 0, 5],
    ['some new rooms fail', 100, 0, 100, 25, 0],
    ['some new rooms fail', 119, 19, 100, 6, 0],
    ['some new rooms fail', 124, 24, 100, 1, 0],
    ['some new rooms fail', 125, 25, 100, 0, 25],
    ['some new rooms fail', 125, 100, 100, 0, 25],
  ])('%s: of %i rooms %i are new, %i should be: add %i, drain %i', (_, standing, updated, base, add, drained) => {
    const result = plan({ capacity: [...oldRooms(standing - updated), ...newRooms(updated)], base });
    expect({ add: result?.add, drained: result?.drainIds.length }).toEqual({ add, drained });
    expect(result?.drainIds.every((id) => id.startsWith('old'))).toBe(true);
  });

  test.each([
    ['stable', 100, 100],
    ['occupancy up', 400, 400],
    ['occupancy down', 40, 40],
  ])('%s: with %i new rooms of %i it is over', (_, updated, base) => {
    expect(plan({ capacity: newRooms(updated), base })).toBeNull();
  });

  test.each([
    ['without autoscaling: one replica and half of it', 1, 1, '50%', 2],
    ['with autoscaling', 4, 8, '50%', 12],
    ['a surge of nothing is one', 4, 4, '0', 5],
  ])('%s', (_, standing, base, maxSurge, upper) => {
    expect(plan({ capacity: oldRooms(standing), base, maxSurge })).toMatchObject({ upper, add: upper - standing });
  });

  test('12 rooms where 8 should be: the 4 old ones drain', () => {
    const result = plan({ capacity: [...oldRooms(4), ...newRooms(8)], base: 8, maxSurge: '50%' });
    expect(result).toMatchObject({
      add: 0,
      drainIds: ['old-ready-0000', 'old-ready-0001', 'old-ready-0002', 'old-ready-0003'],
    });
  });

  // The three of rooms.md 10.5 at which v10 stands still.
  describe('goes on where v10 stands still', () => {
    test('at the most rooms that autoscaling allows: the surge comes on top', () => {
      expect(plan({ capacity: oldRooms(100), base: 100 })?.add).toBe(25);
    });

    test('with one room at a time in a fleet of 1,000 of which 500 are in use', () => {
      const capacity = [...oldRooms(500), ...oldRooms(500, occupied)];
      const facts = { base: 1000, maxSurge: '1' };
      expect(plan({ ...facts, capacity })).toMatchObject({ add: 1 });
      expect(plan({ ...facts, capacity: [...capacity, ...newRooms(1)] })?.drainIds).toEqual(['old-ready-0000']);
    });
  });

  test('a new room that is starting stands, and replaces nobody', () => {
    const result = plan({ capacity: [...oldRooms(100), ...newRooms(25, pending)] });
    expect(result).toMatchObject({ add: 0, drainIds: [], waitsFor: { code: 'surge' } });
    expect(result?.waitsFor?.detail).toBe('The surge of 25 is used up: 25 rooms are starting.');
    expect(result?.progress).toEqual({ outdated: 100, leaving: 0, updated: 0, starting: 25 });
  });

  test('a new room with a match is up, also while its status hides that', () => {
    const hidden = { status: 'unready', runningMatches: 1, instance: { status: 'pending' } } as const;
    const result = plan({ capacity: [...oldRooms(1), ...newRooms(1, hidden)], base: 1, maxSurge: '1' });
    expect(result).toMatchObject({ drainIds: ['old-ready-0000'], progress: { updated: 1, starting: 0 } });
  });

  test('an old room that never came up goes before one that is ready, and that before one with a match', () => {
    const capacity = [...oldRooms(1, occupied), ...oldRooms(1), ...oldRooms(1, pending), ...newRooms(3)];
    const drained = (base: number) => plan({ capacity, base, maxSurge: '1' })?.drainIds;
    expect(drained(5)).toEqual(['old-pending-0000']);
    expect(drained(4)).toEqual(['old-pending-0000', 'old-ready-0000']);
    expect(drained(3)).toEqual(['old-pending-0000', 'old-ready-0000', 'old-occupied-0000']);
  });

  test('the free slots that are wanted stay free', () => {
    // 20 in use, 5 free ones are wanted: of the new rooms only two can take players.
    const capacity = [
      ...oldRooms(20, occupied),
      ...oldRooms(5),
      ...newRooms(3, { instance: { status: 'unknown' } }),
      ...newRooms(2),
    ];
    const result = plan({ capacity, base: 25, maxSurge: '5' });
    expect(result?.drainIds.filter((id) => id.startsWith('old-ready'))).toHaveLength(2);
  });

  test('free slots of a room for several matches count one by one', () => {
    const busy = { status: 'active', runningMatches: 2 } as const;
    const capacity = [...oldRooms(2, busy), ...newRooms(1)];
    // 4 matches in rooms of 3, two rooms are wanted: two free slots are to stay. The new room has three, once it is heard.
    const facts = { base: 2, maxMatches: 3, maxSurge: '1' };
    expect(plan({ ...facts, capacity })?.drainIds).toEqual(['old-active-0000']);
    const unheard = [...oldRooms(2, busy), ...newRooms(1, { instance: { status: 'unknown' } })];
    expect(plan({ ...facts, capacity: unheard })).toMatchObject({ drainIds: [], waitsFor: { code: 'ready_buffer' } });
    // A slot that was given out is used, though nothing runs there yet.
    const allocations = [{ id: 'given', allocatedAtMs: 0, expiresAtMs: null }];
    const givenOut = [...oldRooms(2, { ...busy, allocations }), ...newRooms(1, { instance: { status: 'unknown' } })];
    expect(plan({ ...facts, capacity: givenOut })?.drainIds).toEqual(['old-active-0000']);
  });

  describe('once all that is left of older versions are rooms that leave', () => {
    const leaving = oldRooms(5, occupied);

    test('nothing but the ends of their matches is waited for', () => {
      const result = plan({ capacity: newRooms(12), leaving, base: 10, maxSurge: '2' });
      expect(result).toMatchObject({ upper: 12, add: 0, drainIds: [], waitsFor: { code: 'matches' } });
      expect(result?.waitsFor?.detail).toBe('5 rooms of older versions drain, and go when their matches end.');
    });

    test.each<[string, Partial<ReplacementFacts>, { target: number; add: number }]>([
      ['the surge stands in for those that leave', {}, { target: 15, add: 5 }],
      ['the surge bounds that', { maxSurge: '2' }, { target: 12, add: 2 }],
      ['so it is for rooms for several matches', { maxMatches: 10 }, { target: 15, add: 5 }],
    ])('%s', (_, changes, expected) => {
      const facts = { capacity: newRooms(5), leaving, base: 10, maxSurge: '100%', ...changes };
      expect(plan(facts)).toMatchObject({ ...expected, drainIds: [] });
    });
  });

  test('no more rooms leave at a time than the surge stands in for', () => {
    const capacity = [...oldRooms(95, occupied), ...oldRooms(5), ...newRooms(25)];
    const first = plan({ capacity, base: 100 });
    expect(first?.drainIds.filter((id) => id.startsWith('old-ready'))).toHaveLength(5);
    expect(first?.drainIds).toHaveLength(25);
    // Five that were idle are gone, and new ones are in their places.
    const [leaving, others] = [oldRooms(20, occupied), oldRooms(95, occupied).slice(20)];
    const second = plan({ capacity: [...others, ...newRooms(30)], leaving, base: 100 });
    expect(second?.drainIds).toHaveLength(5);
    const third = plan({ capacity: [...others.slice(5), ...newRooms(30)], leaving: oldRooms(25, occupied), base: 100 });
    expect(third).toMatchObject({ add: 0, drainIds: [], waitsFor: { code: 'matches' } });
    expect(third?.waitsFor?.detail).toBe(
      '25 that drain have matches, and the surge of 25 stands in for no more; 70 rooms of older versions stay until some of their matches have ended.',
    );
    // One whose match has ended has nobody to wait for.
    const idle = plan({
      capacity: [...others.slice(6), ...oldRooms(1), ...newRooms(30)],
      leaving: oldRooms(25, occupied),
      base: 100,
    });
    expect(idle?.drainIds).toEqual(['old-ready-0000']);
  });

  test('no surge is made where all older rooms can go already', () => {
    const facts = { capacity: [...oldRooms(10, pending), ...newRooms(100)], base: 100 };
    expect(plan(facts)).toMatchObject({ upper: 125, target: 110, add: 0 });
    expect(plan(facts)?.drainIds).toHaveLength(10);
    // One more, and they cannot all go.
    expect(plan({ ...facts, base: 101 })).toMatchObject({ add: 17, drainIds: [] });
  });

  test('when no room can be started, those that are up let others go', () => {
    const facts = { capacity: [...oldRooms(100), ...newRooms(10)], startsAreHeld: true };
    expect(plan(facts)).toMatchObject({ add: 0, target: 110 });
    expect(plan(facts)?.drainIds).toHaveLength(10);
    expect(plan({ ...facts, startsAreHeld: false })).toMatchObject({ add: 15, drainIds: [] });
  });

  test('rooms that are spared stay, and others go in their place', () => {
    const capacity = [...oldRooms(3), ...newRooms(2)];
    const drained = (...ids: string[]) => plan({ capacity, base: 4, maxSurge: '1', spared: new Set(ids) });
    expect(drained('old-ready-0000')?.drainIds).toEqual(['old-ready-0001']);
    expect(drained('old-ready-0000', 'old-ready-0001', 'old-ready-0002')).toMatchObject({
      drainIds: [],
      waitsFor: {
        code: 'matches',
        detail: '3 rooms of older versions stay until it is known whether they have matches.',
      },
    });
  });

  describe('of rooms for several matches', () => {
    const active1 = (version: string, amount: number) =>
      rooms(amount, { version, status: 'active', runningMatches: 1 }, `one-${version}`);

    test('those that stay are enough even if all others leave with one match each', () => {
      // 100 matches want 20 rooms of 10 slots, half of them free; 100 rooms have one match each.
      const result = plan({ capacity: active1(old, 100), base: 20, maxMatches: 10 });
      expect(result?.drainIds).toHaveLength(80);
    });

    test('it waits for those that leave, and says so', () => {
      const leaving = active1(old, 5);
      const result = plan({
        capacity: [...rooms(10, { version: old, status: 'active', runningMatches: 9 }, 'full'), ...newRooms(10)],
        leaving,
        base: 20,

        maxMatches: 10,
      });
      expect(result).toMatchObject({
        drainIds: [],
        waitsFor: {
          code: 'matches',
          detail:
            '5 that drain have matches, and the surge of 5 stands in for no more; 10 rooms of older versions stay until some of their matches have ended.',
        },
      });
    });
  });

  // A fleet as the planner sees it: what it drains goes when it has no match, what it adds comes up, matches end and begin.
  type World = { rooms: Room[]; leaving: Room[]; made: number };
  const anyStatus = fc.constantFrom<Partial<Room>>(
    { status: 'ready' },
    { status: 'occupied', runningMatches: 1 },
    { ...pending, instance: { status: 'pending', description: '', address: null, restarts: null } },
    { status: 'unready' },
  );

  test('ends, never stands above its surge, never takes a free slot that is wanted, and never drains a new room', () => {
    fc.assert(
      fc.property(
        fc.array(anyStatus, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 0, max: 10 }),
        fc.constantFrom('1', '3', '25%', '100%', '0'),
        (statuses, buffer, maxSurge) => {
          const world: World = {
            rooms: statuses.map((status, index) => aRoom({ id: `old-${index}`, version: old, ...status })),
            leaving: [],
            made: 0,
          };
          for (let cycle = 0; cycle < 500; cycle++) {
            const inUse = [...world.rooms, ...world.leaving].filter(hasMatch).length;
            const base = inUse + buffer;
            const ready = world.rooms.filter(({ status }) => status === 'ready').length;
            const result = plan({ capacity: world.rooms, leaving: world.leaving, base, maxSurge });
            if (result === null) return;
            expect(result.add === 0 || result.drainIds.length === 0).toBe(true);
            if (result.add > 0) {
              const after = world.rooms.length + world.leaving.length + result.add;
              expect(after).toBeLessThanOrEqual(base + surgeRooms(maxSurge, base));
            }
            const drained = new Set(result.drainIds);
            const going = world.rooms.filter(({ id }) => drained.has(id));
            expect(going.every(({ version }) => version === old)).toBe(true);
            const readyAfter = ready - going.filter(({ status }) => status === 'ready').length;
            expect(readyAfter).toBeGreaterThanOrEqual(Math.min(ready, buffer));
            world.leaving.push(...going.filter(hasMatch));
            world.rooms = world.rooms.filter(({ id }) => !drained.has(id));
            // What was started is up at the next look, and so are the old ones that were not.
            world.rooms = world.rooms.map((room) =>
              hasMatch(room) ? room : { ...room, status: 'ready', instance: { ...room.instance, status: 'ready' } },
            );
            for (let added = 0; added < result.add; added++) {
              world.rooms.push(aRoom({ id: `new-${world.made++}`, version: active, status: 'pending' }));
            }
            // Now and then a match ends, of those that leave as well as of the others.
            const ended = world.leaving.shift();
            if (ended === undefined) {
              const index = world.rooms.findIndex(hasMatch);
              if (index >= 0) world.rooms[index] = { ...world.rooms[index]!, status: 'ready', runningMatches: 0 };
            }
          }
          throw new Error('the rollout did not end in 500 cycles');
        },
      ),
    );
  });
});
