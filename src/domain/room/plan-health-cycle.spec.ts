import {
  ago,
  autoscaled,
  buffer,
  codes,
  ends,
  fleet,
  limits,
  noRollback,
  nowMs,
  occupancy,
  plan,
  settings,
} from './health-facts.fixture';
import { countFleet } from './count-fleet';
import { isEmptyPlan, type HealthFacts } from './health-plan';
import { aRoom } from './room.fixture';
import type { Room } from './room';

describe('planHealthCycle', () => {
  test('a fleet as it should be needs nothing', () => {
    const result = plan({ rooms: fleet(3), replicas: 3 });
    expect(result).toEqual({
      add: 0,
      claimIds: [],
      drainIds: [],
      released: [],
      expired: [],
      drained: [],
      rollback: null,
      rollout: null,
      desired: 3,
      available: 3,
      counts: countFleet(fleet(3)),
      formula: 'roomsReplicas = 3',
      remembered: [],
      notes: [],
      blockedBy: [],
      startsHeldUntilMs: null,
      backsOff: false,
      nextLookAtMs: null,
    });
    expect(isEmptyPlan(result)).toBe(true);
  });

  test('a store that is being rebuilt decides nothing, however much is wrong', () => {
    const result = plan({ rooms: [aRoom({ status: 'terminated' })], replicas: 100, rebuilding: true });
    expect(result).toMatchObject({ add: 0, claimIds: [], expired: [], desired: null, available: null });
    expect(codes(result)).toEqual(['rebuilding']);
    expect(isEmptyPlan(result)).toBe(true);
  });

  test('missing rooms are added', () => {
    const result = plan({ rooms: fleet(1), replicas: 3 });
    expect(result).toMatchObject({ add: 2, claimIds: [] });
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
      claimIds: [],
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
    expect(codes(result)).toEqual(['breaker']);
    expect(result.blockedBy[0]?.detail).toContain('exited with code 3');
  });

  test('rooms that wait because no host port was left say so', () => {
    const lastReason = 'Unschedulable: no node has its host ports free: 0/3 nodes are available';
    const result = plan({
      rooms: fleet(1),
      replicas: 3,
      earlyEnds: ends({ count: 7, lastAtMs: ago(1_000), lastReason }),
    });
    expect(codes(result)).toEqual(['ports']);
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
      expect(codes(result)).toEqual(['breaker']);
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
        blockedBy: [{ code: 'breaker' }],
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
    const wanted = { replicas: 8, earlyEnds };
    const placed = (amount: number) => fleet(amount, { createdAtMs: ago(900_000) }, 'placed');

    test.each<[string, number, Room[], number, number | null]>([
      ['starts no more while nobody lost its place', 0, placed(6), 0, lateMs],
      ['replaces at once a room that lost its place', 1, placed(5), 1, lateMs],
      ['replaces as many as did', 3, placed(3), 3, lateMs],
      ['replaces each once', 1, [...placed(5), aRoom({ createdAtMs: ago(1) })], 0, lateMs],
      ['starts no more rooms than are missing, and holds none then', 9, placed(6), 2, null],
    ])('%s', (_which, lostSince, rooms, add, startsHeldUntilMs) => {
      const result = plan({ ...wanted, earlyEnds: { ...earlyEnds, lostSince }, rooms });
      expect(result).toMatchObject({ add, startsHeldUntilMs, backsOff: true });
    });

    test('says why the others wait, in whole sentences', () => {
      const [block] = plan({ ...wanted, rooms: placed(6) }).blockedBy;
      expect(block?.detail).toBe(
        'Starts wait: 40 rooms failed or ended right after their start, the last one because: no host port is left; the next may start at 1970-01-01T00:16:46.000Z.',
      );
    });

    test('backs off while it is tried again, too, until all are up', () => {
      const trying = fleet(2, { status: 'pending', statusSinceMs: nowMs, lastPingAtMs: null }, 'trying');
      const later = { ...wanted, earlyEnds: { ...earlyEnds, lastAtMs: ago(300_001) } };
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
    expect(result.claimIds).toEqual(['room-0', 'room-1', 'room-2']);
  });

  test('rooms that are too many are scaled down, at most the limit in one cycle', () => {
    expect(plan({ rooms: fleet(5), replicas: 3 }).claimIds).toEqual(['room-0', 'room-1']);
    expect(plan({ rooms: fleet(80), replicas: 3 }).claimIds).toHaveLength(50);
  });

  test('says so when the rooms that are too many have matches', () => {
    const rooms = [...fleet(3, { status: 'occupied', runningMatches: 1 }, 'busy'), aRoom({ id: 'idle' })];
    const result = plan({ rooms, replicas: 1 });
    expect(result.claimIds).toEqual(['idle']);
    expect(codes(result)).toEqual(['no_removable_room']);
    expect(result.blockedBy[0]?.detail).toMatch(/^3 rooms are too many, but only 1 may be removed/);
  });

  test('nothing that was up is scaled down while nobody can hear of its matches', () => {
    const result = plan({ rooms: fleet(3), replicas: 1, hearingSinceMs: null });
    expect(result.claimIds).toEqual([]);
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

    test('rooms held by mass silence are not scaled down either, nor are all others in their place', () => {
      const result = plan({ rooms: [...fleet(5, silent), ...fresh(5)], replicas: 2 });
      expect(result.claimIds).toEqual(['fresh-0', 'fresh-1', 'fresh-2']);
      expect(codes(result)).toEqual(['mass_silence', 'ready_buffer']);
      expect(result.blockedBy[1]?.detail).toBe(
        '8 rooms are too many, but only 3 may be removed now: then 2 slots are free, and 2 are to be; others have to be up, or heard, first.',
      );
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
      const facts = { rooms: fleet(5), scheduler: autoscaled(buffer(2), { cooldown: 60 }) };
      const result = plan({ ...facts, lastDownscaleAtMs: ago(59_999) });
      expect(result.claimIds).toEqual([]);
      expect(result.blockedBy).toEqual([
        {
          code: 'cooldown',
          detail: 'The next scale-down may happen at 1970-01-01T00:16:40.001Z, 60 s after the last.',
        },
      ]);
      expect(plan({ ...facts, lastDownscaleAtMs: ago(60_000) }).claimIds).toHaveLength(3);
    });

    test('a scale-down waits for its threshold, and says which', () => {
      const rooms = [...fleet(500, { status: 'occupied', runningMatches: 1 }, 'busy'), ...fleet(501)];
      const result = plan({ rooms, scheduler: autoscaled(occupancy(0.5, 0.99)) });
      expect(result.claimIds).toEqual([]);
      expect(result.blockedBy).toEqual([
        { code: 'threshold', detail: 'roomOccupancy: 500 wanted free / 501 free > 0.99 (downThreshold).' },
      ]);
    });

    test('neither gate concerns a fleet that is not too large', () => {
      const result = plan({
        rooms: fleet(1),
        scheduler: autoscaled(buffer(2), { cooldown: 60 }),
        lastDownscaleAtMs: nowMs,
      });
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
        claimIds: [],
        expired: [],
        drained: [],
        available: 2,
        nextLookAtMs: null,
      });
    });

    test('an empty one is replaced at once, and goes when its delay is over', () => {
      const rooms = [...fleet(2), aRoom({ id: 'leaving', drainingSinceMs: ago(4_000) })];
      expect(plan({ rooms, replicas: 3 })).toMatchObject({ add: 1, drained: [], nextLookAtMs: nowMs + 6_000 });
      const later = plan({ rooms: [...rooms, aRoom({ id: 'successor' })], replicas: 3, nowMs: nowMs + 6_000 });
      expect(later).toMatchObject({
        add: 0,
        claimIds: [],
        drained: [{ id: 'leaving', reason: 'drained' }],
        nextLookAtMs: null,
      });
      expect(isEmptyPlan(later)).toBe(false);
    });

    test('it is no candidate of a scale-down, however many are too many', () => {
      const rooms = [...fleet(2), ...fleet(2, { drainingSinceMs: ago(1) }, 'leaving')];
      expect(plan({ rooms, replicas: 0 })).toMatchObject({ claimIds: ['room-0', 'room-1'], drained: [] });
    });

    test('one that is drained is removed once, also while rooms are scaled down', () => {
      const rooms = [...fleet(2), ...fleet(2, { drainingSinceMs: ago(60_000) }, 'leaving')];
      expect(plan({ rooms, replicas: 0 })).toMatchObject({
        claimIds: ['room-0', 'room-1'],
        drained: [
          { id: 'leaving-0', reason: 'drained' },
          { id: 'leaving-1', reason: 'drained' },
        ],
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
      expect(result).toMatchObject({ add: 0, expired: [], drained: [], available: 4 });
      expect(codes(result)).toEqual(['mass_silence']);
    });

    test('one that was heard last when the others were waits, too, until it is clear that it was not we who are deaf', () => {
      const quiet = { lastPingAtMs: ago(120_001) };
      const rooms = [...fleet(4, quiet), ...fleet(2, { ...quiet, drainingSinceMs: ago(200_000) }, 'leaving')];
      expect(plan({ rooms, replicas: 4 })).toMatchObject({ add: 0, expired: [], drained: [] });
      const heard = rooms.map((room) => ({ ...room, lastPingAtMs: ago(1) }));
      expect(plan({ rooms: heard, replicas: 4 }).drained.map(({ id }) => id)).toEqual(['leaving-0', 'leaving-1']);
    });

    test('what the policy wants free is free without them', () => {
      const rooms = fleet(2, { drainingSinceMs: nowMs });
      expect(plan({ rooms, scheduler: autoscaled(buffer(2)) })).toMatchObject({ add: 2, available: 0 });
    });
  });

  describe('paused', () => {
    const paused = { sinceMs: nowMs, by: 'ada', reason: 'an event runs' };

    test('does nothing, and tells what it sees, and who wanted that', () => {
      const rooms = [
        ...fleet(2),
        aRoom({ id: 'over', status: 'terminated' }),
        aRoom({ id: 'replaced', drainingSinceMs: ago(60_000), drainReason: 'rollout', version: 'v0.1.0' }),
        aRoom({ id: 'claimed', drainingSinceMs: nowMs, drainReason: 'scale_down' }),
      ];
      const result = plan({ rooms, replicas: 9, replacedVersions: new Set(['v0.1.0']), paused });
      expect(isEmptyPlan(result)).toBe(true);
      expect(result).toMatchObject({ desired: 9, available: 2, formula: 'roomsReplicas = 9', nextLookAtMs: null });
      expect(result.blockedBy).toEqual([
        {
          code: 'paused',
          detail: 'The automation is paused since 1970-01-01T00:16:40.000Z by ada: an event runs.',
        },
      ]);
    });

    test('lets go what an operator drains: that was ordered', () => {
      const operator = { drainingSinceMs: ago(60_000), drainReason: 'operator' } as const;
      const busy = { status: 'occupied', runningMatches: 1 } as const;
      const rooms = [
        aRoom({ id: 'idle', ...operator }),
        aRoom({ id: 'busy', ...operator, ...busy }),
        aRoom({ id: 'new', ...operator, drainingSinceMs: ago(1) }),
      ];
      expect(plan({ rooms, replicas: 9, paused })).toMatchObject({
        add: 0,
        drained: [{ id: 'idle', reason: 'drained' }],
        nextLookAtMs: ago(1) + limits.drainConfirmMs,
      });
    });

    test('needs no reason', () => {
      const [block] = plan({ paused: { ...paused, reason: '' } }).blockedBy;
      expect(block?.detail).toBe('The automation is paused since 1970-01-01T00:16:40.000Z by ada.');
    });

    test('ends no rollout, and shows where it stands', () => {
      const result = plan({ ...failingRollout(), paused });
      expect(result).toMatchObject({ rollback: null, rollout: { outdated: 4 }, backsOff: false });
    });

    test('hides no silence, at which someone should look', () => {
      expect(codes(plan({ rooms: fleet(4, { lastPingAtMs: ago(240_001) }), paused }))).toEqual([
        'paused',
        'mass_silence',
      ]);
    });
  });

  describe('with stabilisation', () => {
    const stabilised = (up: number, down: number) =>
      autoscaled(buffer(2), {
        extensions: { autoscaling: { scaleUpStabilizationSeconds: up, scaleDownStabilizationSeconds: down } },
      });

    test('the surge of a rollout is no size that the fleet has grown to', () => {
      const busy = { status: 'occupied', runningMatches: 1 } as const;
      const rooms = [...fleet(100, busy, 'old'), ...fleet(25, { version: 'v2.0.0' }, 'new')];
      const extensions = { autoscaling: { scaleUpStabilizationSeconds: 300, scaleDownStabilizationSeconds: 300 } };
      const facts = {
        rooms,
        scheduler: autoscaled(buffer(50), { version: 'v2.0.0', extensions }),
        replacedVersions: new Set(['v1.0.0']),
      };
      const last = { desired: 100, remembered: [{ atMs: ago(10_000), min: 100, max: 100 }] };
      expect(plan({ ...facts, last })).toMatchObject({ desired: 100, add: 0 });
      // Nobody remembers: what the surge may have been is not counted.
      expect(
        plan({
          ...facts,
          scheduler: { ...facts.scheduler, ...autoscaled(buffer(0), { version: 'v2.0.0', extensions }) },
        }),
      ).toMatchObject({ desired: 100 });
    });

    test('a scale-down waits until it was wanted for the whole window, and says until when', () => {
      const facts = { rooms: fleet(5), scheduler: stabilised(0, 60) };
      const first = plan(facts);
      expect(first).toMatchObject({ claimIds: [], desired: 5, nextLookAtMs: nowMs + 60_000 });
      expect(codes(first)).toEqual(['stabilization']);
      const last = { desired: first.desired, remembered: first.remembered };
      expect(plan({ ...facts, last, nowMs: nowMs + 59_999 }).claimIds).toEqual([]);
      const second = plan({ ...facts, last, nowMs: nowMs + 62_000 });
      expect(second.claimIds).toHaveLength(3);
    });

    test('a room that died meanwhile is replaced at once', () => {
      const scheduler = stabilised(0, 60);
      const last = { desired: 5, remembered: [{ atMs: ago(1_000), min: 5, max: 5 }] };
      expect(plan({ rooms: fleet(4), scheduler, last })).toMatchObject({ add: 1, desired: 5 });
    });

    test('a scale-up waits, and what it waits for is remembered while nothing may be decided', () => {
      const scheduler = stabilised(60, 0);
      const last = { desired: 1, remembered: [{ atMs: ago(1_000), min: 1, max: 1 }] };
      expect(plan({ rooms: fleet(1), scheduler, last })).toMatchObject({
        add: 0,
        desired: 1,
        nextLookAtMs: nowMs + 59_000,
      });
      expect(plan({ rooms: [], scheduler, last, rebuilding: true }).remembered).toEqual(last.remembered);
    });
  });

  test('a window that opens is looked for', () => {
    const windows = [{ cron: '30 0 * * *', timezone: 'UTC', durationSeconds: 60, min: 5, buffer: 0 }];
    const scheduler = autoscaled(
      { type: 'schedule', parameters: {} },
      { roomsReplicas: 2, extensions: { autoscaling: { schedule: { windows } } } },
    );
    const opensAtMs = 30 * 60_000;
    expect(plan({ rooms: fleet(2), scheduler })).toMatchObject({ add: 0, nextLookAtMs: opensAtMs });
    expect(plan({ rooms: fleet(2, { lastPingAtMs: opensAtMs }), scheduler, nowMs: opensAtMs })).toMatchObject({
      add: 3,
      nextLookAtMs: opensAtMs + 60_000,
    });
  });

  describe('of rooms that were claimed because they were too many', () => {
    const claim = (ms: number, changes: Parameters<typeof aRoom>[0] = {}) =>
      ({ drainingSinceMs: ago(ms), drainReason: 'scale_down', ...changes }) as const;
    const scaleDownOf = (id: string) => ({ id, reason: 'scale_down' });

    test('a claim is looked at again one ping interval later', () => {
      const result = plan({ rooms: fleet(3), replicas: 1 });
      expect(result).toMatchObject({ claimIds: ['room-0', 'room-1'], nextLookAtMs: nowMs + 10_000 });
    });

    test('one that is still empty then goes; until then it is neither capacity nor claimed again', () => {
      const rooms = [...fleet(2), aRoom({ id: 'claimed', ...claim(9_999) })];
      const waiting = plan({ rooms, replicas: 2 });
      expect(waiting).toMatchObject({ available: 2, claimIds: [], drained: [], nextLookAtMs: nowMs + 1 });
      expect(isEmptyPlan(waiting)).toBe(true);
      expect(plan({ rooms, replicas: 2, nowMs: nowMs + 1 }).drained).toEqual([scaleDownOf('claimed')]);
    });

    test('one that has got a match is let go, and is capacity', () => {
      const rooms = [...fleet(2), aRoom({ id: 'claimed', status: 'occupied', runningMatches: 1, ...claim(20_000) })];
      expect(plan({ rooms, replicas: 3 })).toMatchObject({
        released: [scaleDownOf('claimed')],
        add: 0,
        available: 3,
        drained: [],
      });
    });

    test('one that is let go is not claimed again in the same breath, nor drained', () => {
      const rooms = [aRoom({ id: 'claimed', status: 'occupied', runningMatches: 1, ...claim(20_000) }), ...fleet(1)];
      expect(plan({ rooms, replicas: 0 })).toMatchObject({ released: [scaleDownOf('claimed')], claimIds: ['room-0'] });
      const rollout = {
        replacedVersions: new Set(['v1.0.0']),
        scheduler: settings({ version: 'v2.0.0', maxSurge: '1' }),
      };
      const replaced = plan({ rooms, ...rollout });
      expect(replaced).toMatchObject({ released: [scaleDownOf('claimed')], drainIds: ['room-0'] });
    });

    test('they come back before new rooms are made, also those that would have gone now', () => {
      const rooms = [
        aRoom({ id: 'starting', status: 'pending', lastPingAtMs: null, statusSinceMs: nowMs, ...claim(1_000) }),
        aRoom({ id: 'fresh', ...claim(1_000) }),
        aRoom({ id: 'confirmed', ...claim(20_000) }),
      ];
      expect(plan({ rooms, replicas: 2 })).toMatchObject({
        add: 0,
        released: [scaleDownOf('fresh'), scaleDownOf('confirmed')],
        drained: [],
      });
      expect(plan({ rooms, replicas: 5 })).toMatchObject({ add: 2, drained: [] });
      expect(plan({ rooms, replicas: 5 }).released).toHaveLength(3);
    });

    test('those that failed, expire or are of a replaced version do not', () => {
      const rooms = [
        aRoom({ id: 'failed', status: 'error', statusSinceMs: nowMs, ...claim(20_000) }),
        aRoom({ id: 'over', status: 'terminated', ...claim(20_000) }),
        aRoom({ id: 'old', version: 'v0.1.0', ...claim(20_000) }),
      ];
      expect(plan({ rooms, replicas: 3, replacedVersions: new Set(['v0.1.0']) })).toMatchObject({
        add: 3,
        released: [],
      });
    });

    test('a match keeps it, whatever the deadline of drains', () => {
      const rooms = [aRoom({ id: 'claimed', status: 'occupied', runningMatches: 1, ...claim(500_000) })];
      const result = plan({ rooms, replicas: 1, limits: { ...limits, drainDeadlineMs: 1_000 } });
      expect(result).toMatchObject({ released: [scaleDownOf('claimed')], drained: [], add: 0 });
    });
  });

  describe('says why a room that is one too many stays', () => {
    const detailOf = (facts: Parameters<typeof plan>[0]) => plan(facts).blockedBy.map(({ detail }) => detail);
    const busy = { status: 'occupied', runningMatches: 1 } as const;

    test('because of its match', () => {
      expect(detailOf({ rooms: fleet(2, busy), replicas: 1 })).toEqual([
        '1 room is too many, but only 0 may be removed; of the others, 2 have a match.',
      ]);
      expect(plan({ rooms: fleet(2, busy), replicas: 1 }).nextLookAtMs).toBeNull();
    });

    test('because of a match that it may have, for which it is looked at again', () => {
      const rooms = [...fleet(1, busy), aRoom({ id: 'found', adoptedAtMs: nowMs, lastPingAtMs: null })];
      const result = plan({ rooms, replicas: 0 });
      expect(result.blockedBy).toEqual([
        {
          code: 'no_removable_room',
          detail:
            '2 rooms are too many, but only 0 may be removed; of the others, 1 has a match; 1 may have one that is not known, and has to be heard first.',
        },
      ]);
      expect(result.nextLookAtMs).toBe(nowMs + 10_000);
    });

    test('because others go first', () => {
      expect(detailOf({ rooms: fleet(80), replicas: 3 })).toEqual([
        '77 rooms are too many, and at most 50 are removed at once.',
      ]);
    });
  });

  /** Four rooms of v1.0.0 stand, and what is made of v2.0.0 fails. */
  function failingRollout(changes: Partial<HealthFacts['rollback']> = {}): Partial<HealthFacts> {
    const failed = { version: 'v2.0.0', status: 'error', statusSinceMs: nowMs, createdAtMs: ago(1_000) } as const;
    return {
      rooms: [...fleet(4), ...fleet(3, { ...failed, instance: { status: 'error' } }, 'failed')],
      scheduler: settings({ roomsReplicas: 4, version: 'v2.0.0', maxSurge: '3' }),
      replacedVersions: new Set(['v1.0.0']),
      rollback: { ...noRollback, toVersion: 'v1.0.0', failed: 3, lastReason: 'exited with code 1', ...changes },
      earlyEnds: ends({ count: 3, lastReason: 'exited with code 1' }),
    };
  }

  describe('of a rollout whose rooms fail', () => {
    test('the version before comes back, and no more rooms of this one are made', () => {
      expect(plan(failingRollout())).toMatchObject({
        rollback: {
          toVersion: 'v1.0.0',
          because:
            '3 of 3 new rooms failed, or ended unasked, within the last 600 s (a share of 0.5 ends a rollout), the last one because: exited with code 1',
        },
        add: 0,
        claimIds: [],
        drainIds: [],
      });
      expect(isEmptyPlan(plan(failingRollout()))).toBe(false);
    });

    test('says so, and that nothing else happens meanwhile', () => {
      expect(plan({ ...failingRollout(), rooms: fleet(1) })).toMatchObject({
        add: 0,
        blockedBy: [{ code: 'rollback', detail: expect.stringContaining('before version v1.0.0 is active again') }],
      });
    });

    test('is judged until its last rooms had their time, also when no older room is left', () => {
      const facts = failingRollout({ outdatedAtMs: ago(600_000) });
      const rooms = fleet(4, { version: 'v2.0.0' });
      const judged = { ...facts, rooms, rollback: { ...facts.rollback!, failed: 4 } };
      expect(plan(judged).rollback).toMatchObject({ toVersion: 'v1.0.0' });
      const drains = { drainingSinceMs: ago(900_000), drainReason: 'rollout' } as const;
      const leaving = { status: 'occupied', runningMatches: 1, version: 'v1.0.0', ...drains } as const;
      for (const outdatedAtMs of [ago(600_001), null]) {
        const later = { ...judged, rollback: { ...judged.rollback, outdatedAtMs } };
        expect(plan(later).rollback).toBeNull();
        // That an old match goes on and on does not make it a rollout for ever.
        expect(plan({ ...later, rooms: [...rooms, aRoom({ id: 'old', ...leaving })] }).rollback).toBeNull();
      }
    });

    test('rooms that made room for it are kept for the version before', () => {
      const busy = { status: 'occupied', runningMatches: 1 } as const;
      const drain = { drainingSinceMs: ago(60_000), drainReason: 'rollout' } as const;
      const facts = failingRollout();
      const rooms = [
        ...(facts.rooms ?? []),
        aRoom({ id: 'drained', ...drain }),
        aRoom({ id: 'overdue', ...busy, ...drain }),
        aRoom({ id: 'by-name', drainingSinceMs: ago(60_000) }),
      ];
      const overdue = { ...facts, rooms, limits: { ...limits, drainDeadlineMs: 1_000 } };
      expect(plan(overdue).drained).toEqual([{ id: 'by-name', reason: 'drained' }]);
      // Were it not rolled back:
      expect(plan({ ...overdue, rollback: noRollback }).drained).toEqual([
        { id: 'drained', reason: 'rolling_update_replace' },
        { id: 'overdue', reason: 'drain_deadline' },
        { id: 'by-name', reason: 'drained' },
      ]);
      // And once the version before is active again, they are in use again, and nothing is made.
      const back = plan({
        ...overdue,
        scheduler: settings({ roomsReplicas: 6, version: 'v1.0.0', maxSurge: '3' }),
        replacedVersions: new Set(['v2.0.0']),
      });
      expect(back).toMatchObject({
        rollback: null,
        released: [
          { id: 'drained', reason: 'rollout' },
          { id: 'overdue', reason: 'rollout' },
        ],
        drained: [{ id: 'by-name' }],
        available: 6,
        add: 0,
        rollout: null,
      });
    });

    test.each<[string, Partial<HealthFacts['rollback']>]>([
      ['two rooms fail', { failed: 2 }],
      ['there is no version to go back to', { toVersion: '' }],
      ['the scheduler does not want it, or this version came back itself', { isAllowed: false }],
    ])('it goes on when %s', (_, changes) => {
      expect(plan(failingRollout(changes))).toMatchObject({ rollback: null, add: 3 });
    });

    test('that goes on, the next attempts wait for as long as a fleet of their number would', () => {
      const facts = failingRollout({ isAllowed: false });
      // The part of the fleet that fails are three rooms, not the seven that may stand.
      expect(plan({ ...facts, earlyEnds: ends({ count: 4, lastReason: 'exited with code 1' }) })).toMatchObject({
        add: 0,
        startsHeldUntilMs: nowMs + 2_000,
        backsOff: true,
      });
    });

    test('those that are up make others go while the next attempts wait', () => {
      const facts = failingRollout({ isAllowed: false });
      const up = fleet(2, { version: 'v2.0.0' }, 'new');
      const result = plan({ ...facts, rooms: [...fleet(4), ...up], earlyEnds: ends({ count: 9 }) });
      expect(result).toMatchObject({ add: 0, drainIds: ['room-0', 'room-1'], claimIds: [] });
      expect(codes(result)).toEqual(['breaker']);
    });
  });

  describe('of a rollout', () => {
    const active = { version: 'v2.0.0' };
    const busy = { status: 'occupied', runningMatches: 1 } as const;
    const leaving = { ...busy, drainingSinceMs: ago(60_000), drainReason: 'rollout' } as const;
    const replacing = (scheduler: HealthFacts['scheduler'], changes: Partial<HealthFacts> = {}) => ({
      scheduler: { ...scheduler, ...active },
      replacedVersions: new Set(['v1.0.0']),
      removeLimit: 1000,
      ...changes,
    });

    test('a room that leaves with its match is supply and demand until it ends, and then goes', () => {
      const facts = replacing(autoscaled(buffer(2)));
      const rooms = [...fleet(3, leaving, 'old'), ...fleet(2, active, 'new')];
      expect(plan({ ...facts, rooms })).toMatchObject({
        formula: 'fixedBuffer: 3 in use + 2 = 5',
        available: 5,
        // The surge stands in for rooms that nobody can use when their matches end.
        add: 2,
        drained: [],
        rollout: { outdated: 0, leaving: 3, updated: 2, starting: 0 },
      });
      const over = rooms.map((room) => ({ ...room, status: 'ready' as const, runningMatches: 0 }));
      expect(plan({ ...facts, rooms: over })).toMatchObject({ desired: 2, available: 2, add: 0, rollout: null });
      expect(plan({ ...facts, rooms: over }).drained).toHaveLength(3);
    });

    test('one that fails with its match is neither, as any failed room', () => {
      const rooms = [aRoom({ id: 'failed', ...leaving, status: 'error' }), ...fleet(2, active, 'new')];
      expect(plan({ ...replacing(autoscaled(buffer(2))), rooms })).toMatchObject({
        available: 2,
        desired: 2,
        add: 0,
        drained: [],
      });
    });

    test('one that fails empty goes', () => {
      const failed = {
        status: 'error',
        statusSinceMs: ago(1),
        runningMatches: 0,
        instance: { status: 'error' },
      } as const;
      const rooms = [aRoom({ id: 'failed', ...leaving, ...failed }), ...fleet(2, active, 'new')];
      expect(plan({ ...replacing(settings({ roomsReplicas: 2 })), rooms })).toMatchObject({
        drained: [{ id: 'failed', reason: 'rolling_update_replace' }],
        add: 0,
      });
    });

    test('a deadline ends the drains that it finds, and is looked for', () => {
      const facts = replacing(settings({ roomsReplicas: 2 }), { limits: { ...limits, drainDeadlineMs: 60_001 } });
      const rooms = [aRoom({ id: 'old', ...leaving }), ...fleet(2, active, 'new')];
      expect(plan({ ...facts, rooms })).toMatchObject({ drained: [], nextLookAtMs: nowMs + 1 });
      expect(plan({ ...facts, rooms, nowMs: nowMs + 1 })).toMatchObject({
        drained: [{ id: 'old', reason: 'drain_deadline' }],
        available: 2,
      });
    });

    test('at most the limit drains at once, and the plan says so', () => {
      const rooms = [...fleet(5, {}, 'old'), ...fleet(5, active, 'new')];
      const result = plan({ ...replacing(settings({ roomsReplicas: 5, maxSurge: '5' })), rooms, removeLimit: 2 });
      expect(result).toMatchObject({ drainIds: ['old-0', 'old-1'], claimIds: [] });
      expect(result.blockedBy).toEqual([
        { code: 'limit', detail: '5 rooms of older versions may go, and at most 2 are drained at once.' },
      ]);
    });

    test('at most the limit is added at once, whatever the surge', () => {
      const facts = replacing(settings({ roomsReplicas: 5, maxSurge: '100%' }));
      expect(plan({ ...facts, rooms: fleet(5), addLimit: 2 })).toMatchObject({
        add: 2,
        blockedBy: [{ code: 'limit' }],
      });
    });

    test('rooms that are silent together are not drained: their matches may be some that we missed', () => {
      const silent = { lastPingAtMs: ago(130_000) };
      const rooms = [...fleet(4, silent, 'old'), ...fleet(1, active, 'new')];
      const result = plan({ ...replacing(settings({ roomsReplicas: 4, maxSurge: '1' })), rooms });
      expect(result).toMatchObject({ drainIds: [], nextLookAtMs: nowMs + 10_000, blockedBy: [{ code: 'matches' }] });
    });

    test('says when the drain deadline ends what leaves', () => {
      const rooms = [
        ...fleet(1, { ...leaving, drainingSinceMs: ago(5_000) }, 'late'),
        ...fleet(1, { ...leaving, drainingSinceMs: ago(9_000) }, 'early'),
        ...fleet(4, active, 'new'),
      ];
      const facts = { ...replacing(settings({ roomsReplicas: 4 })), rooms };
      const result = plan({ ...facts, limits: { ...limits, drainDeadlineMs: 60_000 } });
      expect(result.rollout).toMatchObject({ leaving: 2, deadlineAtMs: nowMs + 55_000 });
      expect(plan(facts).rollout).toMatchObject({ leaving: 2, deadlineAtMs: null });
      const [block] = plan({
        ...facts,
        rooms: rooms.slice(0, 5),
        limits: { ...limits, drainDeadlineMs: 60_000 },
      }).blockedBy;
      expect(block?.detail).toContain(
        'The drain deadline ends those that leave at 1970-01-01T00:17:35.000Z at the latest.',
      );
    });

    test('once only rooms that leave are left, what neither the policy nor the surge wants is scaled down', () => {
      const rooms = [...fleet(20, leaving, 'old'), ...fleet(9, active, 'new')];
      const facts = replacing(autoscaled(buffer(2)));
      // 22, and a quarter of that.
      expect(plan({ ...facts, rooms })).toMatchObject({ desired: 22, rollout: { upper: 28 } });
      expect(plan({ ...facts, rooms }).claimIds).toHaveLength(1);
      const replicas = replacing(settings({ roomsReplicas: 24 }));
      expect(plan({ ...replicas, rooms })).toMatchObject({ claimIds: [], add: 1 });
    });

    test('a version that differs in nothing that rooms are started with is no rollout', () => {
      const rooms = fleet(10);
      const result = plan({ rooms, scheduler: settings({ roomsReplicas: 10, version: 'v1.1.0' }) });
      expect(isEmptyPlan(result)).toBe(true);
      expect(result.rollout).toBeNull();
    });
  });

  describe('slots of rooms for several matches that were given out', () => {
    const given = (amount: number) =>
      Array.from({ length: amount }, (_, index) => ({ id: `given-${index}`, allocatedAtMs: 0, expiresAtMs: null }));
    const matchAllocation = { maxMatches: 3 };

    test('are to have matches: such a room is in use', () => {
      const rooms = fleet(5, { allocations: given(3) });
      expect(plan({ rooms, scheduler: autoscaled(buffer(5), { matchAllocation }) })).toMatchObject({
        formula: 'fixedBuffer: 5 in use + 5 = 10',
        add: 5,
      });
      expect(plan({ rooms, scheduler: autoscaled(occupancy(0.5, 0.9), { matchAllocation }) })).toMatchObject({
        formula: expect.stringContaining('ceil(15 matches / (1 - 0.5)) = 30 slots'),
        add: 5,
      });
    });

    test('hold up no rollout', () => {
      const busy = { version: 'v1.0.0', status: 'active', runningMatches: 5, allocations: given(1) } as const;
      const rooms = [
        ...fleet(10, { ...busy, allocations: given(1) }, 'old'),
        ...fleet(1, { version: 'v2.0.0' }, 'new'),
      ];
      const scheduler = { roomsReplicas: 10, version: 'v2.0.0', maxSurge: '1', matchAllocation: { maxMatches: 10 } };
      const facts = { rooms, scheduler: settings(scheduler), replacedVersions: new Set(['v1.0.0']) };
      expect(plan(facts).drainIds).toEqual(['old-0']);
    });

    test('hold up no scale-down', () => {
      const busy = { status: 'active', runningMatches: 1 } as const;
      const rooms = [...fleet(4, { ...busy, allocations: given(1) }, 'busy'), ...fleet(3)];
      expect(plan({ rooms, scheduler: settings({ roomsReplicas: 4, matchAllocation }) }).claimIds).toHaveLength(3);
    });
  });

  test('what is over goes also when nobody knows how many rooms there should be', () => {
    const broken = { type: 'roomOccupancy', parameters: {} };
    const rooms = [...fleet(2), aRoom({ id: 'over', status: 'terminated' })];
    expect(plan({ rooms, scheduler: autoscaled(broken) })).toMatchObject({
      add: 0,
      claimIds: [],
      desired: null,
      available: 2,
      expired: [{ id: 'over', reason: 'terminated' }],
      blockedBy: [{ code: 'policy', detail: expect.stringContaining('roomOccupancy') }],
    });
  });

  test('a room whose match its status hides is in use, so that no free one goes in its place', () => {
    const hidden = { status: 'unready', runningMatches: 1, instance: { status: 'pending' } } as const;
    const rooms = [...fleet(3, hidden, 'hidden'), ...fleet(5)];
    expect(plan({ rooms, scheduler: autoscaled(buffer(5)) })).toMatchObject({
      formula: 'fixedBuffer: 3 in use + 5 = 8',
      claimIds: [],
      add: 0,
      blockedBy: [],
    });
  });
});
