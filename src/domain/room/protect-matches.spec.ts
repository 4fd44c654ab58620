import fc from 'fast-check';
import { protectMatches, type ProtectionFacts } from './protect-matches';
import { hasMatch, instanceStatuses, roomStatuses, type Room } from './room';
import { aRoom } from './room.fixture';

const nowMs = 1_000_000;
const allocation = { id: 'a-1', allocatedAtMs: 0, expiresAtMs: null };

const factsOf = (rooms: Room[], changes: Partial<ProtectionFacts> = {}): ProtectionFacts => ({
  instances: rooms.map(({ id }) => ({ id, isProtected: false })),
  rooms: new Map(rooms.map((room) => [room.id, room])),
  protectedElsewhere: 0,
  rebuilding: false,
  nowMs,
  adoptionHoldMs: 30_000,
  ...changes,
});

/** What is told of one room, by whether it is protected: not, so, or nobody knows. */
const told = (room: Room | null, changes: Partial<ProtectionFacts> = {}) =>
  ([false, true, null] as const).map((isProtected) => {
    const rooms = room === null ? [] : [room];
    const plan = protectMatches(factsOf(rooms, { ...changes, instances: [{ id: 'room-1', isProtected }] }));
    return plan.protect.length > 0 ? 'protect' : plan.release.length > 0 ? 'release' : '-';
  });

describe('protectMatches', () => {
  const protects = ['protect', '-', 'protect'];
  const releases = ['-', 'release', 'release'];
  const leaves = ['-', '-', '-'];

  it.each<[string, Partial<Room>, string[]]>([
    ['is idle', {}, releases],
    ['is pending', { status: 'pending' }, releases],
    ['is occupied', { status: 'occupied', runningMatches: 1 }, protects],
    ['is active', { status: 'active', runningMatches: 1 }, protects],
    ['is allocated', { status: 'allocated', allocations: [allocation] }, protects],
    ['is ready, with a slot given', { allocations: [allocation] }, protects],
    ['is unready, with a match', { status: 'unready', runningMatches: 1 }, protects],
    ['says that it ends, with a match', { status: 'terminating', runningMatches: 1 }, protects],
    ['says that it ends, without one', { status: 'terminating' }, releases],
    ['drains, with a match', { status: 'occupied', runningMatches: 1, drainingSinceMs: 1 }, protects],
    ['is a validation room that calls itself occupied', { validation: true, status: 'occupied' }, releases],
    [
      'is deleted already, with a match',
      { status: 'occupied', instance: { ...aRoom().instance, status: 'terminating' } },
      leaves,
    ],
    ['is deleted already', { status: 'terminating', instance: { ...aRoom().instance, status: 'terminating' } }, leaves],
    ['was found running and said nothing yet', { adoptedAtMs: 1, lastPingAtMs: null }, leaves],
    ['was found running just now and says that it is idle', { adoptedAtMs: nowMs - 29_999 }, leaves],
    ['was found running a while ago and says that it is idle', { adoptedAtMs: nowMs - 30_000 }, releases],
    ['was found running and says that it is occupied', { adoptedAtMs: nowMs, status: 'occupied' }, protects],
  ])('a room that %s', (_what, room, expected) => {
    expect(told(aRoom(room))).toEqual(expected);
  });

  it('says for how long a room is held that was found again, and no room that is not protected', () => {
    const held = (room: Partial<Room>, isProtected: boolean | null) =>
      protectMatches(factsOf([aRoom(room)], { instances: [{ id: 'room-1', isProtected }] })).held;
    expect(held({ adoptedAtMs: nowMs - 10_000 }, true)).toEqual([{ id: 'room-1', forMs: 20_000 }]);
    expect(held({ adoptedAtMs: nowMs - 10_000, lastPingAtMs: null }, null)).toEqual([{ id: 'room-1', forMs: 20_000 }]);
    expect(held({ adoptedAtMs: nowMs - 10_000 }, false)).toEqual([]);
    expect(held({ adoptedAtMs: nowMs - 30_000 }, true)).toEqual([]);
    expect(held({ adoptedAtMs: nowMs, status: 'occupied', runningMatches: 1 }, true)).toEqual([]);
    expect(held({}, true)).toEqual([]);
  });

  it('leaves what nobody knows as it is', () => {
    expect(told(null)).toEqual(leaves);
  });

  it('releases nothing while the room state is rebuilt, and protects all the same', () => {
    expect(told(aRoom(), { rebuilding: true })).toEqual(leaves);
    expect(told(aRoom({ status: 'occupied' }), { rebuilding: true })).toEqual(protects);
  });

  // v10's rows (`rooms.md` 6.4) beside ours: so many rooms, so many of them with a match. v10 keeps a share of all rooms up, so that
  // a drain may end a match (one of two, fifty of a thousand) and is stopped by idle rooms. Only rooms with a match are counted here.
  it.each([
    [0, 0, { ofV10: 0, ours: 0 }],
    [1, 1, { ofV10: 0, ours: 1 }],
    [2, 0, { ofV10: 1, ours: 0 }],
    [2, 2, { ofV10: 1, ours: 2 }],
    [10, 10, { ofV10: 9, ours: 10 }],
    [20, 4, { ofV10: 19, ours: 4 }],
    [100, 100, { ofV10: 95, ours: 100 }],
    [1_000, 0, { ofV10: 950, ours: 0 }],
    [1_000, 1_000, { ofV10: 950, ours: 1_000 }],
  ])('of %i rooms, %i with a match, the budget is %j', (total, withMatch, { ofV10, ours }) => {
    expect(Math.trunc((total >= 2 ? total : 0) * (1 - 0.05))).toBe(ofV10);
    const rooms = Array.from({ length: total }, (_, index) =>
      aRoom({ id: `room-${index}`, status: index < withMatch ? 'occupied' : 'ready' }),
    );
    expect(protectMatches(factsOf(rooms)).budget).toEqual({ during: ours, after: ours });
  });

  it('counts what is released until it is released, and what is protected elsewhere', () => {
    const rooms = [aRoom({ id: 'ended' }), aRoom({ id: 'begun', status: 'occupied' }), aRoom({ id: 'idle' })];
    const instances = [
      { id: 'ended', isProtected: true },
      { id: 'begun', isProtected: false },
      { id: 'idle', isProtected: false },
      { id: 'unknown', isProtected: true },
    ];
    expect(protectMatches(factsOf(rooms, { instances, protectedElsewhere: 5 }))).toEqual({
      protect: ['begun'],
      release: ['ended'],
      held: [],
      budget: { during: 8, after: 7 },
    });
  });

  describe('whatever the rooms are', () => {
    const room = fc
      .record({
        status: fc.constantFrom(...roomStatuses),
        runningMatches: fc.nat(2),
        allocations: fc.boolean().map((isGiven) => (isGiven ? [allocation] : [])),
        validation: fc.boolean(),
        adoptedAtMs: fc.constantFrom(null, 0, nowMs),
        lastPingAtMs: fc.constantFrom(null, nowMs),
        instance: fc.record({ status: fc.constantFrom(...instanceStatuses) }),
      })
      .map((some) => ({ ...some, instance: { ...aRoom().instance, ...some.instance } }));
    const facts = fc
      .record({
        rooms: fc.array(fc.record({ room: fc.option(room), isProtected: fc.constantFrom(true, false, null) })),
        rebuilding: fc.boolean(),
        protectedElsewhere: fc.nat(10),
      })
      .map(({ rooms, ...others }): ProtectionFacts => {
        const named = rooms.map((one, index) => ({ ...one, id: `room-${index}` }));
        const known = named.flatMap(({ id, room: some }) => (some === null ? [] : [aRoom({ ...some, id })]));
        return factsOf(known, { ...others, instances: named.map(({ id, isProtected }) => ({ id, isProtected })) });
      });

    it('the budget is never below the number of protected instances, at any step', () => {
      fc.assert(
        fc.property(facts, (given) => {
          const { protect, release, budget } = protectMatches(given);
          const labelled = new Set(given.instances.filter((one) => one.isProtected !== false).map(({ id }) => id));
          for (const id of protect) labelled.add(id);
          expect(budget.during).toBe(given.protectedElsewhere + labelled.size);
          for (const id of release) labelled.delete(id);
          expect(budget.after).toBe(given.protectedElsewhere + labelled.size);
        }),
      );
    });

    it('no room with a match is released, and each that stays is protected in the end', () => {
      fc.assert(
        fc.property(facts, (given) => {
          const { protect, release } = protectMatches(given);
          for (const some of given.rooms.values()) {
            if (some.validation || !hasMatch(some)) {
              expect(protect).not.toContain(some.id);
              continue;
            }
            expect(release).not.toContain(some.id);
            const before = given.instances.find(({ id }) => id === some.id)?.isProtected;
            const isGoing = some.instance.status === 'terminating';
            expect(before === true || isGoing || protect.includes(some.id)).toBe(true);
          }
        }),
      );
    });

    it('who did as planned has nothing left to do', () => {
      fc.assert(
        fc.property(facts, (given) => {
          const { protect, release } = protectMatches(given);
          const instances = given.instances.map(({ id, isProtected }) => ({
            id,
            isProtected: protect.includes(id) || (release.includes(id) ? false : isProtected),
          }));
          expect(protectMatches({ ...given, instances })).toMatchObject({ protect: [], release: [] });
        }),
      );
    });
  });
});
