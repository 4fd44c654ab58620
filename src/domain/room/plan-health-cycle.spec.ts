import fc from 'fast-check';
import type { AutoscalingPolicy } from '../scheduler/scheduler';
import { isEmptyPlan, planHealthCycle, type HealthFacts, type HealthPlan } from './plan-health-cycle';
import { aRoom } from './room.fixture';
import { hasMatch, instanceStatuses, roomStatuses, type Room } from './room';
import type { EarlyEnds } from './start-back-off';

const nowMs = 1_000_000;
const limits = {
  pingTimeoutMs: 240_000,
  initializationTimeoutMs: 120_000,
  deletionTimeoutMs: 100_000,
  drainConfirmMs: 10_000,
};
const ago = (ms: number): number => nowMs - ms;

function ends(changes: Partial<EarlyEnds>): EarlyEnds {
  return { count: 0, notCreated: 0, lastAtMs: nowMs, lastReason: '', lostSince: 0, ...changes };
}

function plan({ replicas, ...changes }: Partial<HealthFacts> & { replicas?: number }): HealthPlan {
  return planHealthCycle({
    rooms: [],
    scheduler: { roomsReplicas: replicas ?? 0, matchAllocation: { maxMatches: 1 }, version: 'v1.0.0' },
    nowMs,
    hearingSinceMs: 0,
    rebuilding: false,
    earlyEnds: ends({ count: 0, lastAtMs: null }),
    lastDownscaleAtMs: null,
    limits,
    addLimit: 1000,
    removeLimit: 50,
    ...changes,
  });
}

function autoscaled(policy: AutoscalingPolicy, cooldown = 0): HealthFacts['scheduler'] {
  const autoscaling = { enabled: true, min: 1, max: -1, cooldown, policy };
  return { roomsReplicas: 0, autoscaling, matchAllocation: { maxMatches: 1 }, version: 'v1.0.0' };
}
const buffer = (amount: number): AutoscalingPolicy => ({
  type: 'fixedBuffer',
  parameters: { fixedBuffer: { amount } },
});
const occupancy = (readyTarget: number, downThreshold: number): AutoscalingPolicy => ({
  type: 'roomOccupancy',
  parameters: { roomOccupancy: { readyTarget, downThreshold } },
});
const fleet = (amount: number, room: Parameters<typeof aRoom>[0] = {}, prefix = 'room'): Room[] =>
  Array.from({ length: amount }, (_, index) => aRoom({ id: `${prefix}-${index}`, ...room }));
const codes = (result: HealthPlan): string[] => result.blockedBy.map(({ code }) => code);

describe('planHealthCycle', () => {
  test('a fleet as it should be needs nothing', () => {
    const result = plan({ rooms: fleet(3), replicas: 3 });
    expect(result).toEqual({
      add: 0,
      removeIds: [],
      expired: [],
      drainedIds: [],
      desired: 3,
      available: 3,
      formula: 'roomsReplicas = 3',
      blockedBy: [],
      startsHeldUntilMs: null,
      backsOff: false,
      nextLookAtMs: null,
    });
    expect(isEmptyPlan(result)).toBe(true);
  });

  test('a store that is being rebuilt decides nothing, however much is wrong', () => {
    const result = plan({ rooms: [aRoom({ status: 'terminated' })], replicas: 100, rebuilding: true });
    expect(result).toMatchObject({ add: 0, removeIds: [], expired: [], desired: null, available: null });
    expect(codes(result)).toEqual(['rebuilding']);
    expect(isEmptyPlan(result)).toBe(true);
  });

  test('missing rooms are added', () => {
    const result = plan({ rooms: fleet(1), replicas: 3 });
    expect(result).toMatchObject({ add: 2, removeIds: [] });
    expect(isEmptyPlan(result)).toBe(false);
  });

  test('at most the limit is added in one cycle', () => {
    expect(plan({ replicas: 5000 }).add).toBe(1000);
  });

  test('rooms that come up count', () => {
    const rooms = fleet(3, {
      status: 'pending',
      statusSinceMs: ago(1),
      lastPingAtMs: null,
      instance: { status: 'pending' },
    });
    expect(plan({ rooms, replicas: 3 }).add).toBe(0);
  });

  test('failed and terminating rooms are replaced', () => {
    const rooms = [
      aRoom({ id: 'a', status: 'error', statusSinceMs: nowMs }),
      aRoom({ id: 'b', status: 'terminating', statusSinceMs: nowMs }),
    ];
    expect(plan({ rooms, replicas: 2 })).toMatchObject({ add: 2, available: 0, expired: [] });
  });

  test('validation rooms are no capacity and are left alone', () => {
    expect(plan({ rooms: fleet(3, { validation: true }), replicas: 1 })).toMatchObject({
      add: 1,
      removeIds: [],
      expired: [],
    });
  });

  test('expired rooms are removed and replaced in the same cycle', () => {
    const rooms = [...fleet(9), aRoom({ id: 'silent', lastPingAtMs: ago(240_001) })];
    expect(plan({ rooms, replicas: 10 })).toMatchObject({
      add: 1,
      expired: [{ id: 'silent', reason: 'ping_timeout' }],
      blockedBy: [],
    });
  });

  test('rooms that keep ending right after their start are replaced later, with a time to look again', () => {
    const result = plan({
      rooms: fleet(1),
      replicas: 3,
      earlyEnds: ends({ count: 7, lastAtMs: ago(1_000), lastReason: 'exited with code 3' }),
    });
    expect(result).toMatchObject({ add: 0, nextLookAtMs: ago(1_000) + 4_000, startsHeldUntilMs: ago(1_000) + 4_000 });
    expect(codes(result)).toEqual(['start_back_off']);
    expect(result.blockedBy[0]?.detail).toContain('exited with code 3');
  });

  test('rooms that kept ending right after their start are replaced once the wait is over', () => {
    const result = plan({
      rooms: fleet(1),
      replicas: 3,
      earlyEnds: ends({ count: 7, lastAtMs: ago(4_000), lastReason: 'exited with code 3' }),
    });
    expect(result).toMatchObject({ add: 2, nextLookAtMs: null, blockedBy: [] });
  });

  describe('rooms that failed and still stand', () => {
    const failed = (amount: number, changes: Parameters<typeof aRoom>[0] = {}) =>
      fleet(
        amount,
        {
          status: 'error',
          statusSinceMs: ago(50_000),
          createdAtMs: ago(60_000),
          instance: { status: 'error' },
          ...changes,
        },
        'failed',
      );
    const often = ends({ count: 7, lastAtMs: ago(50_000), lastReason: 'ErrImagePull: not found' });

    test('are replaced at once as long as accidents explain them', () => {
      const earlyEnds = { ...often, count: 3 };
      expect(plan({ rooms: failed(3), replicas: 3, earlyEnds })).toMatchObject({ add: 3, startsHeldUntilMs: null });
    });

    test('keep their places when they are more than that, until they are removed', () => {
      const result = plan({ rooms: failed(3), replicas: 3, earlyEnds: often });
      const removedAtMs = ago(50_000) + limits.initializationTimeoutMs + 1;
      expect(result).toMatchObject({ add: 0, startsHeldUntilMs: removedAtMs, nextLookAtMs: removedAtMs });
      expect(codes(result)).toEqual(['start_back_off']);
      expect(result.blockedBy[0]?.detail).toContain('ErrImagePull: not found; 3 failed rooms keep their places');
      expect(plan({ rooms: failed(3), replicas: 3, earlyEnds: often, nowMs: removedAtMs })).toMatchObject({
        add: 3,
        startsHeldUntilMs: null,
        expired: [{ reason: 'error_timeout' }, { reason: 'error_timeout' }, { reason: 'error_timeout' }],
      });
    });

    test('leave the places of others to others', () => {
      expect(plan({ rooms: failed(3), replicas: 5, earlyEnds: often })).toMatchObject({
        add: 2,
        blockedBy: [{ code: 'start_back_off' }],
      });
    });

    test.each([
      ['of another version', failed(3, { version: 'v1.1.0' })],
      ['with a match, which are not ours to remove', failed(3, { runningMatches: 1 })],
      ['which were up before', failed(3, { createdAtMs: ago(500_000) })],
    ])('keep no place when they are %s', (_which, rooms) => {
      expect(plan({ rooms, replicas: 3, earlyEnds: often })).toMatchObject({ add: 3, startsHeldUntilMs: null });
    });
  });

  describe('a fleet of which only some find a place', () => {
    /** The last attempt to start two rooms more, and further ones are to wait for minutes. */
    const earlyEnds = ends({ count: 40, lastAtMs: ago(10_000), lastReason: 'no host port is left.' });
    const lateMs = ago(10_000) + 16_000;
    const settings = { replicas: 8, earlyEnds };
    const placed = (amount: number) => fleet(amount, { createdAtMs: ago(900_000) }, 'placed');

    test.each<[string, number, Room[], number, number | null]>([
      ['starts no more while nobody lost its place', 0, placed(6), 0, lateMs],
      ['replaces at once a room that lost its place', 1, placed(5), 1, lateMs],
      ['replaces as many as did', 3, placed(3), 3, lateMs],
      ['replaces each once', 1, [...placed(5), aRoom({ createdAtMs: ago(1) })], 0, lateMs],
      ['starts no more rooms than are missing, and holds none then', 9, placed(6), 2, null],
    ])('%s', (_which, lostSince, rooms, add, startsHeldUntilMs) => {
      const result = plan({ ...settings, earlyEnds: { ...earlyEnds, lostSince }, rooms });
      expect(result).toMatchObject({ add, startsHeldUntilMs, backsOff: true });
    });

    test('says why the others wait, in whole sentences', () => {
      const [block] = plan({ ...settings, rooms: placed(6) }).blockedBy;
      expect(block?.detail).toBe(
        'Starts wait: 40 rooms failed or ended right after their start, the last one because: no host port is left; the next may start at 1970-01-01T00:16:46.000Z.',
      );
    });

    test('backs off while it is tried again, too, until all are up', () => {
      const trying = fleet(2, { status: 'pending', statusSinceMs: nowMs, lastPingAtMs: null }, 'trying');
      const later = { ...settings, earlyEnds: { ...earlyEnds, lastAtMs: ago(300_001) } };
      expect(plan({ ...later, rooms: [...placed(6), ...trying] })).toMatchObject({
        add: 0,
        backsOff: true,
        blockedBy: [],
      });
      expect(plan({ ...later, rooms: placed(8) }).backsOff).toBe(false);
    });
  });

  test('an expired room is not scaled down as well', () => {
    const rooms = [...fleet(3), aRoom({ id: 'silent', lastPingAtMs: ago(240_001) })];
    const result = plan({ rooms, replicas: 0 });
    expect(result.expired).toHaveLength(1);
    expect(result.removeIds).toEqual(['room-0', 'room-1', 'room-2']);
  });

  test('rooms that are too many are scaled down, at most the limit in one cycle', () => {
    expect(plan({ rooms: fleet(5), replicas: 3 }).removeIds).toEqual(['room-0', 'room-1']);
    expect(plan({ rooms: fleet(80), replicas: 3 }).removeIds).toHaveLength(50);
  });

  test('says so when the rooms that are too many have matches', () => {
    const rooms = [...fleet(3, { status: 'occupied' }, 'busy'), aRoom({ id: 'idle' })];
    const result = plan({ rooms, replicas: 1 });
    expect(result.removeIds).toEqual(['idle']);
    expect(codes(result)).toEqual(['no_removable_room']);
    expect(result.blockedBy[0]?.detail).toMatch(/^3 rooms are too many, but only 1 may be removed/);
  });

  test('nothing that was up is scaled down while nobody can hear of its matches', () => {
    const result = plan({ rooms: fleet(3), replicas: 1, hearingSinceMs: null });
    expect(result.removeIds).toEqual([]);
    expect(codes(result)).toEqual(['no_removable_room']);
  });

  describe('when many rooms are silent', () => {
    const silent = { lastPingAtMs: ago(240_001) };
    const fresh = (amount: number) => fleet(amount, {}, 'fresh');

    test('a single silent room of a small fleet expires', () => {
      expect(plan({ rooms: [aRoom(silent), ...fresh(1)], replicas: 2 }).expired).toHaveLength(1);
      expect(plan({ rooms: [aRoom(silent)], replicas: 1 }).expired).toHaveLength(1);
    });

    test('exactly a fifth expires', () => {
      const result = plan({ rooms: [...fleet(2, silent), ...fresh(8)], replicas: 10 });
      expect(result).toMatchObject({ add: 2, blockedBy: [] });
      expect(result.expired).toHaveLength(2);
    });

    test('more than a fifth does not: they count as available, and the plan says why', () => {
      const result = plan({ rooms: [...fleet(3, silent), ...fresh(7)], replicas: 10 });
      expect(result).toMatchObject({ add: 0, expired: [], available: 10 });
      expect(result.blockedBy).toEqual([
        {
          code: 'mass_silence',
          detail: '3 of 10 rooms fell silent together, 3 of them beyond the ping timeout; none of these expires.',
        },
      ]);
    });

    test('rooms that never pinged yet do not water the share down', () => {
      const young = fleet(90, { status: 'pending', statusSinceMs: nowMs, lastPingAtMs: null }, 'young');
      expect(codes(plan({ rooms: [...fleet(3, silent), ...fresh(7), ...young], replicas: 100 }))).toEqual([
        'mass_silence',
      ]);
    });

    test('rooms on dead instances expire all the same', () => {
      const dead = fleet(3, { ...silent, runningMatches: 1, status: 'error', instance: { status: 'error' } }, 'dead');
      const result = plan({ rooms: [...dead, ...fleet(3, silent), ...fresh(7)], replicas: 10 });
      expect(result.expired.map(({ id }) => id)).toEqual(['dead-0', 'dead-1', 'dead-2']);
      expect(codes(result)).toEqual(['mass_silence']);
    });

    test('a fleet that goes dark a few rooms at a time is a mass too', () => {
      // All pings stopped 240 s ago; the last pings were spread over 10 s, and only one room is beyond the timeout yet.
      const rooms = Array.from({ length: 10 }, (_, index) =>
        aRoom({ id: `r${index}`, lastPingAtMs: ago(240_001 - index * 1000) }),
      );
      expect(plan({ rooms, replicas: 10 })).toMatchObject({ expired: [], available: 10, add: 0 });
    });

    test('rooms held by mass silence are not scaled down either: they may have matches by now', () => {
      const result = plan({ rooms: [...fleet(5, silent), ...fresh(5)], replicas: 2 });
      expect(result.removeIds).toEqual(['fresh-0', 'fresh-1', 'fresh-2', 'fresh-3', 'fresh-4']);
      expect(codes(result)).toEqual(['mass_silence', 'no_removable_room']);
    });

    test('other reasons to expire stay in force', () => {
      const rooms = [...fleet(5, silent), aRoom({ id: 'over', status: 'terminated' })];
      expect(plan({ rooms, replicas: 5 }).expired).toEqual([{ id: 'over', reason: 'terminated' }]);
    });
  });

  describe('with autoscaling', () => {
    test('the policy decides how many', () => {
      const rooms = [...fleet(4, { status: 'occupied', runningMatches: 1 }, 'busy'), ...fleet(2)];
      expect(plan({ rooms, scheduler: autoscaled(buffer(5)) })).toMatchObject({
        add: 3,
        desired: 9,
        formula: 'fixedBuffer: 4 in use + 5 = 9',
      });
    });

    test('the policy does not count rooms that expire', () => {
      const rooms = [...fleet(9), aRoom({ id: 'gone', status: 'terminated', runningMatches: 7 })];
      expect(plan({ rooms, scheduler: autoscaled(occupancy(0.5, 0.99)) }).desired).toBe(1);
    });

    test('a scale-down waits for its cooldown, and says until when', () => {
      const facts = { rooms: fleet(5), scheduler: autoscaled(buffer(2), 60) };
      const result = plan({ ...facts, lastDownscaleAtMs: ago(59_999) });
      expect(result.removeIds).toEqual([]);
      expect(result.blockedBy).toEqual([
        {
          code: 'cooldown',
          detail: 'The next scale-down may happen at 1970-01-01T00:16:40.001Z, 60 s after the last.',
        },
      ]);
      expect(plan({ ...facts, lastDownscaleAtMs: ago(60_000) }).removeIds).toHaveLength(3);
    });

    test('a scale-down waits for its threshold, and says which', () => {
      const rooms = [...fleet(500, { status: 'occupied', runningMatches: 1 }, 'busy'), ...fleet(501)];
      const result = plan({ rooms, scheduler: autoscaled(occupancy(0.5, 0.99)) });
      expect(result.removeIds).toEqual([]);
      expect(result.blockedBy).toEqual([
        { code: 'threshold', detail: 'roomOccupancy: 500 wanted free / 501 free > 0.99 (downThreshold)' },
      ]);
    });

    test('neither gate concerns a fleet that is not too large', () => {
      const result = plan({ rooms: fleet(1), scheduler: autoscaled(buffer(2), 60), lastDownscaleAtMs: nowMs });
      expect(result).toMatchObject({ add: 1, blockedBy: [] });
    });
  });

  describe('of rooms that drain', () => {
    const busy = { status: 'occupied', runningMatches: 1 } as const;

    test('an occupied one is replaced at once, and stays', () => {
      const result = plan({
        rooms: [...fleet(2), aRoom({ ...busy, id: 'leaving', drainingSinceMs: nowMs })],
        replicas: 3,
      });
      expect(result).toMatchObject({
        add: 1,
        removeIds: [],
        expired: [],
        drainedIds: [],
        available: 2,
        nextLookAtMs: null,
      });
    });

    test('an empty one is replaced at once, and goes when its delay is over', () => {
      const rooms = [...fleet(2), aRoom({ id: 'leaving', drainingSinceMs: ago(4_000) })];
      expect(plan({ rooms, replicas: 3 })).toMatchObject({ add: 1, drainedIds: [], nextLookAtMs: nowMs + 6_000 });
      const later = plan({ rooms: [...rooms, aRoom({ id: 'successor' })], replicas: 3, nowMs: nowMs + 6_000 });
      expect(later).toMatchObject({ add: 0, removeIds: [], drainedIds: ['leaving'], nextLookAtMs: null });
      expect(isEmptyPlan(later)).toBe(false);
    });

    test('it is no candidate of a scale-down, however many are too many', () => {
      const rooms = [...fleet(2), ...fleet(2, { drainingSinceMs: ago(1) }, 'leaving')];
      expect(plan({ rooms, replicas: 0 })).toMatchObject({ removeIds: ['room-0', 'room-1'], drainedIds: [] });
    });

    test('one that is drained is removed once, also while rooms are scaled down', () => {
      const rooms = [...fleet(2), ...fleet(2, { drainingSinceMs: ago(60_000) }, 'leaving')];
      expect(plan({ rooms, replicas: 0 })).toMatchObject({
        removeIds: ['room-0', 'room-1'],
        drainedIds: ['leaving-0', 'leaving-1'],
      });
    });

    test('the next look is for the first of them that may go', () => {
      const rooms = [3_000, 9_000, 6_000].map((ms) => aRoom({ id: `leaving-${ms}`, drainingSinceMs: ago(ms) }));
      expect(plan({ rooms }).nextLookAtMs).toBe(nowMs + 1_000);
    });

    test('the next look is for it when starts wait for longer', () => {
      const earlyEnds = ends({ count: 12, lastAtMs: nowMs });
      const rooms = [aRoom({ drainingSinceMs: ago(9_000) })];
      expect(plan({ rooms, replicas: 1, earlyEnds })).toMatchObject({ add: 0, nextLookAtMs: nowMs + 1_000 });
      expect(plan({ replicas: 1, earlyEnds }).nextLookAtMs).toBeGreaterThan(nowMs + 1_000);
    });

    test('one that falls silent together with others neither goes nor counts', () => {
      const silent = { lastPingAtMs: ago(240_001) };
      const rooms = [...fleet(4, silent), ...fleet(2, { ...silent, drainingSinceMs: ago(500_000) }, 'leaving')];
      const result = plan({ rooms, replicas: 4 });
      expect(result).toMatchObject({ add: 0, expired: [], drainedIds: [], available: 4 });
      expect(codes(result)).toEqual(['mass_silence']);
    });

    test('one that was heard last when the others were waits, too, until it is clear that it was not we who are deaf', () => {
      const quiet = { lastPingAtMs: ago(120_001) };
      const rooms = [...fleet(4, quiet), ...fleet(2, { ...quiet, drainingSinceMs: ago(200_000) }, 'leaving')];
      expect(plan({ rooms, replicas: 4 })).toMatchObject({ add: 0, expired: [], drainedIds: [] });
      const heard = rooms.map((room) => ({ ...room, lastPingAtMs: ago(1) }));
      expect(plan({ rooms: heard, replicas: 4 }).drainedIds).toEqual(['leaving-0', 'leaving-1']);
    });

    test('what the policy wants free is free without them', () => {
      const rooms = fleet(2, { drainingSinceMs: nowMs });
      expect(plan({ rooms, scheduler: autoscaled(buffer(2)) })).toMatchObject({ add: 2, available: 0 });
    });
  });

  describe('over many cycles', () => {
    interface Simulated {
      room: Room;
      /** Never pings again. */
      hung: boolean;
    }
    const past = fc.integer({ min: 0, max: 600_000 }).map(ago);
    const aSimulated: fc.Arbitrary<Simulated> = fc
      .record({
        status: fc.constantFrom(...roomStatuses),
        version: fc.constantFrom('v1.0.0', 'v1.1.0', 'v2.0.0'),
        validation: fc.nat(9).map((n) => n === 0),
        runningMatches: fc.constantFrom(0, 0, 0, 1),
        lastPingAtMs: fc.option(past),
        statusSinceMs: past,
        createdAtMs: past,
        adoptedAtMs: fc.option(past, { freq: 3 }),
        drainingSinceMs: fc.option(past, { freq: 3 }),
        instance: fc.constantFrom(...instanceStatuses),
        hung: fc.nat(4).map((n) => n === 0),
      })
      .map(({ hung, instance, ...room }) => ({ hung, room: aRoom({ ...room, instance: { status: instance } }) }));
    const aFleet = fc
      .array(aSimulated, { maxLength: 30 })
      .map((rooms) => rooms.map(({ hung, room }, index) => ({ hung, room: { ...room, id: `room-${index}` } })));
    const someSettings = fc.oneof(
      fc.nat(20).map((roomsReplicas) => ({ roomsReplicas, matchAllocation: { maxMatches: 1 }, version: 'v1.0.0' })),
      fc.integer({ min: 1, max: 10 }).map((amount) => autoscaled(buffer(amount))),
      fc.integer({ min: 1, max: 9 }).map((tenth) => autoscaled(occupancy(tenth / 10, 0.99))),
    );
    const limit = fc.integer({ min: 1, max: 8 });

    /** `expect` a hundred thousand times costs seconds. */
    function promise(sentence: string, isKept: boolean): void {
      if (!isKept) throw new Error(`the plan breaks its promise: ${sentence}`);
    }

    /** What happens until the next cycle: rooms come up and ping, unless they hang. Matches neither begin nor end. */
    function pass(world: Simulated[], now: number): void {
      for (const { room, hung } of world) {
        if (hung) continue;
        if (room.status === 'pending' || room.status === 'unready') {
          Object.assign(room, { status: 'ready', statusSinceMs: now });
          room.instance.status = 'ready';
        }
        if (room.status === 'ready' || hasMatch(room)) room.lastPingAtMs = now;
      }
    }

    test('keeps every promise, comes to the desired number, and then has nothing to do', () => {
      fc.assert(
        fc.property(aFleet, someSettings, limit, limit, (start, scheduler, addLimit, removeLimit) => {
          let world = structuredClone(start);
          let last: HealthPlan | undefined;
          let made = 0;
          for (let cycle = 0; cycle < 500; cycle++) {
            const now = nowMs + cycle * 30_000;
            const result = plan({ rooms: world.map(({ room }) => room), scheduler, nowMs: now, addLimit, removeLimit });
            last = result;
            const { add, removeIds, expired, drainedIds, available, desired } = result;
            if (available === null || desired === null) throw new Error('the store is complete');

            promise('adds or removes, never both', add === 0 || removeIds.length === 0);
            promise(
              'adds what is missing, within the limit',
              add <= Math.min(addLimit, Math.max(0, desired - available)),
            );
            const tooMany = Math.max(0, available - desired);
            promise('removes what is too many, within the limit', removeIds.length <= Math.min(removeLimit, tooMany));
            const gone = new Set([...removeIds, ...expired.map(({ id }) => id), ...drainedIds]);
            promise('names a room once', gone.size === removeIds.length + expired.length + drainedIds.length);
            for (const { room, hung } of world.filter(({ room: { id } }) => gone.has(id))) {
              const isScaledDown = removeIds.includes(room.id);
              const isOver = room.status === 'terminating' || room.status === 'terminated';
              const isSilent = room.lastPingAtMs === null || now - room.lastPingAtMs > limits.pingTimeoutMs;
              promise('leaves validation rooms alone', !room.validation);
              promise('scales no match down', !isScaledDown || !hasMatch(room));
              promise('leaves it to the drain to remove what drains', !isScaledDown || room.drainingSinceMs === null);
              const isDrained = drainedIds.includes(room.id);
              promise('takes no match for drained', !isDrained || !hasMatch(room));
              promise('takes nothing for drained that does not drain', !isDrained || room.drainingSinceMs !== null);
              promise('scales no terminating room down', !isScaledDown || !isOver);
              promise('lets no match expire that pings', !hasMatch(room) || isOver || isSilent || hung);
            }

            world = world.filter(({ room }) => !gone.has(room.id));
            for (let index = 0; index < add; index++) {
              const times = { statusSinceMs: now, createdAtMs: now, lastPingAtMs: null };
              const room = aRoom({ id: `new-${made++}`, status: 'pending', instance: { status: 'pending' }, ...times });
              world.push({ hung: false, room });
            }
            // 30 cycles are 15 minutes: beyond every timeout.
            if (cycle > 30 && isEmptyPlan(result)) {
              const isStuck = world.some(
                ({ room }) =>
                  room.drainingSinceMs !== null && !room.validation && !hasMatch(room) && room.status !== 'terminating',
              );
              promise('leaves no empty room that drains', !isStuck || codes(result).includes('mass_silence'));
              break;
            }
            pass(world, now + 15_000);
          }
          expect(last && isEmptyPlan(last)).toBe(true);
          if (last && last.available !== last.desired) {
            expect(last.available).toBeGreaterThan(last.desired ?? Infinity);
            expect(last.blockedBy).not.toEqual([]);
          }
        }),
        { numRuns: 200 },
      );
    });
  });
});
