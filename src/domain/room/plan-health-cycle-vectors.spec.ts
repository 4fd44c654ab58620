import { surgeRooms } from '../rollout/surge-rooms';
import { ago, autoscaled, buffer, ends, fleet, nowMs, occupancy, plan, settings } from './health-facts.fixture';
import type { HealthFacts, HealthPlan } from './health-plan';
import { aRoom } from './room.fixture';
import type { Room } from './room';

/**
 * v10's own vectors (`rooms.md` 3.7, 7.2-7.4, 10.3-10.5) through the whole planner. Where this differs, v10's result and the
 * reason stand beside it.
 */

type Changes = Parameters<typeof aRoom>[0];
const busy = { status: 'occupied', runningMatches: 1 } as const;

describe('what becomes of a room (rooms.md 7.2, 7.3)', () => {
  interface Row {
    room: Changes;
    /** One room is wanted. `kept`: it is that one. */
    is: 'kept' | 'replaced' | 'removed and replaced';
    /** Where v10 does something else, and why not here. */
    v10?: string;
  }
  const up = { statusSinceMs: ago(500_000) };
  const rows: [string, Row][] = [
    ['ready', { room: up, is: 'kept' }],
    ['occupied', { room: { ...busy, ...up }, is: 'kept' }],
    ['allocated', { room: { status: 'allocated', ...up }, is: 'kept' }],
    ['active', { room: { status: 'active', runningMatches: 1, ...up }, is: 'kept' }],
    ['unready since just now', { room: { status: 'unready', statusSinceMs: ago(1), createdAtMs: ago(1) }, is: 'kept' }],
    [
      'of which the runtime has said nothing yet',
      {
        room: { status: 'pending', statusSinceMs: ago(1), lastPingAtMs: null, instance: { status: 'unknown' } },
        is: 'kept',
        v10: 'replaced: so a room under creation is created twice',
      },
    ],
    [
      'whose instance is pending for too long',
      {
        room: { status: 'pending', statusSinceMs: ago(120_001), lastPingAtMs: null, instance: { status: 'pending' } },
        is: 'removed and replaced',
        v10: 'kept: one that cannot be scheduled counts for ever (W7)',
      },
    ],
    [
      'that is unready for too long',
      { room: { status: 'unready', statusSinceMs: ago(120_001) }, is: 'removed and replaced' },
    ],
    [
      'that was up for long and is unready since just now',
      {
        room: { status: 'unready', statusSinceMs: ago(1), createdAtMs: 0 },
        is: 'kept',
        v10: 'removed and replaced: it measures the time since its creation',
      },
    ],
    ['ready and silent', { room: { ...up, lastPingAtMs: ago(240_001) }, is: 'removed and replaced' }],
    [
      'occupied and silent',
      {
        room: { ...busy, ...up, lastPingAtMs: ago(240_001) },
        is: 'kept',
        v10: 'removed and replaced: a match needs a second signal (invariant 2)',
      },
    ],
    [
      'occupied and silent for twice as long',
      { room: { ...busy, ...up, lastPingAtMs: ago(480_001) }, is: 'removed and replaced' },
    ],
    ['terminating', { room: { status: 'terminating', statusSinceMs: ago(100_000) }, is: 'replaced' }],
    [
      'terminating for too long',
      { room: { status: 'terminating', statusSinceMs: ago(100_001) }, is: 'removed and replaced' },
    ],
    ['terminated', { room: { status: 'terminated' }, is: 'removed and replaced' }],
    ['in error', { room: { status: 'error', statusSinceMs: ago(1) }, is: 'replaced' }],
    [
      'in error for long',
      {
        room: { status: 'error', statusSinceMs: ago(120_001) },
        is: 'removed and replaced',
        v10: 'replaced: it goes with a scale-down, if there ever is one',
      },
    ],
    [
      'a validation room',
      { room: { validation: true }, is: 'replaced', v10: 'kept: then one room too few serves players' },
    ],
  ];

  test.each(rows)('a room %s', (_, { room, is }) => {
    const { add, expired, claimIds } = plan({ rooms: [aRoom(room)], replicas: 1 });
    const became = add === 0 ? 'kept' : expired.length > 0 ? 'removed and replaced' : 'replaced';
    expect({ became, claimIds }).toEqual({ became: is, claimIds: [] });
  });
});

describe('how many rooms there should be (rooms.md 7.4)', () => {
  const inUse = (amount: number) => fleet(amount, busy, 'busy');
  const rows: [string, Partial<HealthFacts>, { add: number; claimed: number }, v10?: string][] = [
    [
      'without autoscaling as many as its replicas',
      { scheduler: settings({ roomsReplicas: 5 }) },
      { add: 2, claimed: 0 },
    ],
    [
      'with autoscaling that is off, too',
      {
        scheduler: settings({
          roomsReplicas: 2,
          autoscaling: { enabled: false, min: 9, max: 9, cooldown: 9, policy: buffer(9) },
        }),
      },
      { add: 0, claimed: 1 },
    ],
    ['what the policy says', { scheduler: autoscaled(buffer(4)) }, { add: 1, claimed: 0 }],
    ['at least min', { scheduler: autoscaled(buffer(1), { min: 7 }) }, { add: 4, claimed: 0 }],
    [
      'at most max',
      { scheduler: autoscaled(buffer(9), { max: 2 }) },
      { add: 0, claimed: 1 },
      'claims none: its gate goes by the number before max, and a max that is lowered never holds (W27)',
    ],
    ['without a limit when max is -1', { scheduler: autoscaled(buffer(900), { max: -1 }) }, { add: 897, claimed: 0 }],
    [
      'not fewer within the cooldown',
      { scheduler: autoscaled(buffer(1), { cooldown: 60 }), lastDownscaleAtMs: ago(59_999) },
      { add: 0, claimed: 0 },
    ],
    [
      'fewer once it is over',
      { scheduler: autoscaled(buffer(1), { cooldown: 60 }), lastDownscaleAtMs: ago(60_000) },
      { add: 0, claimed: 2 },
    ],
    [
      'fewer at once without autoscaling, whatever its cooldown',
      { scheduler: settings({ roomsReplicas: 1 }), lastDownscaleAtMs: nowMs },
      { add: 0, claimed: 2 },
    ],
    [
      'not fewer above the threshold',
      { rooms: [...inUse(80), ...fleet(120)], scheduler: autoscaled(occupancy(0.5, 0.6)) },
      { add: 0, claimed: 0 },
    ],
    [
      'fewer at the threshold',
      { rooms: [...inUse(70), ...fleet(100)], scheduler: autoscaled(occupancy(0.5, 0.7)) },
      { add: 0, claimed: 30 },
    ],
    [
      'not fewer with more matches than slots',
      {
        rooms: fleet(10, { status: 'occupied', runningMatches: 2 }),
        scheduler: autoscaled(occupancy(0.5, 0.99), { max: 5 }),
      },
      { add: 0, claimed: 0 },
      'claims (and kills) 5: a negative share is below any threshold (W27)',
    ],
  ];

  test.each(rows)('%s', (_, facts, expected) => {
    const { add, claimIds } = plan({ rooms: fleet(3), ...facts });
    expect({ add, claimed: claimIds.length }).toEqual(expected);
  });
});

describe('which rooms go (rooms.md 3.7)', () => {
  const on = (version: string, changes: Changes = {}) => ({ version, statusSinceMs: ago(1), ...changes });
  const vector = [
    aRoom({ id: 'r1', status: 'error', ...on('v2.0.0') }),
    aRoom({ id: 'r2', ...on('v1.0.0') }),
    aRoom({ id: 'r3', ...on('v2.0.0') }),
    aRoom({ id: 'r4', ...busy, ...on('v1.0.0') }),
    aRoom({ id: 'r5', ...busy, ...on('v2.0.0') }),
    aRoom({ id: 'r6', status: 'pending', ...on('v2.0.0') }),
    aRoom({ id: 'r7', status: 'active', ...on('v1.0.0') }),
    aRoom({ id: 'r8', status: 'terminating', ...on('v2.0.0'), lastPingAtMs: ago(300_000) }),
    aRoom({ id: 'r9', ...on('v2.0.0', { lastPingAtMs: ago(300_000) }) }),
  ];
  // Available are r2-r7; r9 expires besides, so that it takes nobody's place (W11).
  const rows: [amount: number, claimed: string[], v10: string][] = [
    [1, ['r6'], 'r1, r8: what is no capacity is removed apart, and a terminating room is on its way (W11)'],
    [2, ['r6', 'r2'], 'r1, r2, r8'],
    [3, ['r6', 'r2', 'r3'], 'r1, r2, r4, r8: a match is not ended to have one room less (W12)'],
    [5, ['r6', 'r2', 'r3'], 'r1, r2, r4, r9, r6, r8'],
  ];

  test.each(rows)('of %i that are too many: %j (v10: %s)', (amount, claimed) => {
    const result = plan({ rooms: vector, scheduler: settings({ roomsReplicas: 6 - amount, version: 'v2.0.0' }) });
    expect(result).toMatchObject({ available: 6, claimIds: claimed, expired: [{ id: 'r9', reason: 'ping_timeout' }] });
  });
});

describe('a rollout, cycle by cycle (rooms.md 10.3-10.5)', () => {
  const old = (amount: number, changes: Changes = {}) => fleet(amount, { version: 'v1.0.0', ...changes }, 'old');
  const fresh = (amount: number, changes: Changes = {}) => fleet(amount, { version: 'v2.0.0', ...changes }, 'new');
  const rollout = (
    rooms: Room[],
    scheduler: HealthFacts['scheduler'],
    changes: Partial<HealthFacts> = {},
  ): HealthPlan =>
    plan({
      rooms,
      scheduler: { ...scheduler, version: 'v2.0.0' },
      replacedVersions: new Set(['v1.0.0']),
      removeLimit: 1000,
      ...changes,
    });

  const cycles: [scenario: string, standing: number, updated: number, base: number, add: number, drained: number][] = [
    ['stable', 100, 0, 100, 25, 0],
    ['stable', 125, 25, 100, 0, 25],
    ['stable', 100, 25, 100, 25, 0],
    ['stable', 125, 50, 100, 0, 25],
    ['stable', 100, 50, 100, 25, 0],
    ['stable', 125, 75, 100, 0, 25],
    ['stable', 100, 75, 100, 25, 0],
    ['stable', 125, 100, 100, 0, 25],
    ['stable, in the end', 100, 100, 100, 0, 0],
    ['occupancy up', 125, 25, 200, 125, 0],
    ['occupancy up', 250, 150, 200, 0, 50],
    ['occupancy up', 200, 150, 400, 300, 0],
    ['occupancy up', 500, 450, 400, 0, 50],
    ['occupancy up, in the end', 400, 400, 400, 0, 0],
    ['occupancy down', 125, 25, 40, 0, 85],
    ['occupancy down', 40, 25, 40, 10, 0],
    ['occupancy down', 50, 35, 40, 0, 10],
    ['occupancy down', 40, 35, 40, 10, 0],
    ['occupancy down', 50, 45, 40, 0, 5],
    ['occupancy down, in the end', 40, 40, 40, 0, 0],
    ['some new rooms fail', 119, 19, 100, 6, 0],
    ['some new rooms fail', 124, 24, 100, 1, 0],
    ['some new rooms fail', 125, 25, 100, 0, 25],
    ['some new rooms fail', 125, 100, 100, 0, 25],
  ];
  // With the base as replicas, as what fits a min, and as a buffer of an empty fleet: the same.
  const bases: [string, (base: number) => HealthFacts['scheduler']][] = [
    ['replicas', (base) => settings({ roomsReplicas: base })],
    ['min', (base) => autoscaled(buffer(1), { min: base, max: 1000 })],
    ['buffer', (base) => autoscaled(buffer(base), { max: 1000 })],
  ];

  describe.each(bases)('%s', (_, schedulerOf) => {
    test.each(cycles)(
      '%s: of %i rooms %i are new, %i should be',
      (_scenario, standing, updated, base, add, drained) => {
        const result = rollout([...old(standing - updated), ...fresh(updated)], schedulerOf(base));
        expect({ add: result.add, drained: result.drainIds.length, claimed: result.claimIds }).toEqual({
          add,
          drained,
          claimed: [],
        });
        expect(result.drainIds.every((id) => id.startsWith('old'))).toBe(true);
      },
    );
  });

  test.each<[string, HealthFacts['scheduler'], Room[], Partial<HealthPlan>]>([
    [
      'without autoscaling, one replica and half of it',
      settings({ roomsReplicas: 1, maxSurge: '50%' }),
      old(1),
      { add: 1 },
    ],
    ['with autoscaling', autoscaled(buffer(8), { maxSurge: '50%' }), old(4), { add: 8 }],
    ['a surge of 0 is one', autoscaled(buffer(4), { maxSurge: '0' }), old(4), { add: 1 }],
    [
      '12 rooms of which 4 are old, where 8 should be',
      autoscaled(buffer(8), { maxSurge: '50%' }),
      [...old(4), ...fresh(8)],
      { add: 0, drainIds: ['old-0', 'old-1', 'old-2', 'old-3'] },
    ],
  ])('%s', (_, scheduler, rooms, expected) => {
    expect(rollout(rooms, scheduler)).toMatchObject({ claimIds: [], ...expected });
  });

  describe('where v10 does something else', () => {
    const rows: [
      string,
      { v10: string; scheduler: HealthFacts['scheduler']; rooms: Room[]; changes?: Partial<HealthFacts> },
      Partial<HealthPlan>,
    ][] = [
      [
        'at max the surge comes on top',
        { v10: 'stands still (W9)', scheduler: autoscaled(buffer(100), { max: 100 }), rooms: old(100) },
        { add: 25, rollout: { outdated: 100, leaving: 0, updated: 0, starting: 0, upper: 125, deadlineAtMs: null } },
      ],
      [
        'without a max as well',
        { v10: 'stands still (W9)', scheduler: autoscaled(buffer(100), { max: -1 }), rooms: old(100) },
        { add: 25 },
      ],
      [
        'neither the threshold nor the cooldown holds a replacement back',
        {
          v10: 'refuses for ever: 500 wanted free / 501 free > 0.99 (W9)',
          scheduler: autoscaled(occupancy(0.5, 0.99), { maxSurge: '1', cooldown: 600 }),
          rooms: [...fleet(500, busy, 'busy'), ...old(500), ...fresh(1)],
          changes: { lastDownscaleAtMs: nowMs },
        },
        { drainIds: ['old-0'], claimIds: [], blockedBy: [] },
      ],
      [
        'a new room that is starting replaces nobody',
        {
          v10: 'removes 25: what is pending counts',
          scheduler: settings({ roomsReplicas: 100 }),
          rooms: [
            ...old(100),
            ...fresh(25, {
              status: 'pending',
              statusSinceMs: nowMs,
              lastPingAtMs: null,
              instance: { status: 'pending' },
            }),
          ],
        },
        {
          add: 0,
          drainIds: [],
          blockedBy: [{ code: 'surge', detail: 'The surge of 25 is used up: 25 rooms are starting.' }],
        },
      ],
      [
        'a room with a match gets no new players, and is not deleted',
        {
          v10: 'deletes the occupied one once no other old one is left (W12)',
          scheduler: settings({ roomsReplicas: 4, maxSurge: '1' }),
          rooms: [...old(1, busy), ...fresh(4)],
        },
        { drainIds: ['old-0'], drained: [], claimIds: [] },
      ],
      [
        'old rooms of several matches are drained, and no new one goes in their place',
        {
          v10: 'removes new-0: its list never has the active ones (W10)',
          scheduler: settings({ roomsReplicas: 4, maxSurge: '1', matchAllocation: { maxMatches: 3 } }),
          rooms: [...old(1, { status: 'active', runningMatches: 1 }), ...fresh(4)],
        },
        { drainIds: ['old-0'], claimIds: [] },
      ],
      [
        'what failed takes no place of what is removed',
        {
          v10: 'removes failed-0 in place of old-0 (W11)',
          scheduler: settings({ roomsReplicas: 4, maxSurge: '1' }),
          rooms: [
            ...old(1),
            ...fresh(4),
            ...fleet(1, { version: 'v2.0.0', status: 'error', statusSinceMs: nowMs }, 'failed'),
          ],
        },
        { drainIds: ['old-0'], expired: [] },
      ],
      [
        'the surge of 7 % of 100 is 7',
        { v10: 'adds 8: doubles (10.2)', scheduler: settings({ roomsReplicas: 100, maxSurge: '7%' }), rooms: old(100) },
        { add: 7 },
      ],
      [
        'the free rooms that the policy wants stay free',
        {
          v10: 'removes 5 old ready ones: none is free then, 5 were wanted',
          scheduler: autoscaled(buffer(5), { maxSurge: '5' }),
          rooms: [
            ...fleet(20, busy, 'busy'),
            ...old(5),
            ...fresh(5, { status: 'ready', instance: { status: 'unknown' } }),
          ],
        },
        { drainIds: ['busy-0', 'busy-1', 'busy-10', 'busy-11', 'busy-12'] },
      ],
      [
        'where the new rooms are enough, the last old ones go without a surge',
        {
          v10: 'adds 25, and removes 25 in the next cycle',
          scheduler: settings({ roomsReplicas: 100 }),
          rooms: [...old(10, { status: 'pending', statusSinceMs: nowMs, lastPingAtMs: null }), ...fresh(100)],
        },
        { add: 0, claimIds: [] },
      ],
    ];

    test.each(rows)('%s', (_, { scheduler, rooms, changes }, expected) => {
      expect(rollout(rooms, scheduler, changes)).toMatchObject(expected);
    });
  });

  describe('the documented walks', () => {
    /**
     * What is started is up at the next look, what drains is gone, as in v10's documentation. When nothing happens any more, the
     * matches in rooms that leave end, and as many begin in others.
     */
    function walk(scheduler: HealthFacts['scheduler'], start: Room[]): string[] {
      const steps: string[] = [];
      let rooms = start;
      for (let cycle = 0; cycle < 40; cycle++) {
        const { add, drainIds, claimIds } = rollout(rooms, scheduler, { earlyEnds: ends({ lastAtMs: null }) });
        if (add === 0 && drainIds.length === 0 && claimIds.length === 0) {
          const leaving = new Set(rooms.filter(({ drainReason }) => drainReason === 'rollout'));
          if (leaving.size === 0) break;
          const free = rooms
            .filter((room) => room.version === 'v2.0.0' && room.status === 'ready')
            .slice(0, leaving.size);
          rooms = rooms
            .filter((room) => !leaving.has(room))
            .map((room) => (free.includes(room) ? { ...room, ...busy } : room));
          steps.push(`${leaving.size} matches move`);
          continue;
        }
        steps.push(
          [`+${add}`, `-${drainIds.length}`, `claim ${claimIds.length}`].filter((step) => !/\b0$/.test(step)).join(),
        );
        const gone = new Set([...drainIds, ...claimIds].filter((id) => !id.startsWith('busy')));
        const made = fleet(add, { version: 'v2.0.0' }, `new-${cycle}`);
        rooms = [...rooms.filter(({ id }) => !gone.has(id)), ...made];
        rooms = rooms.map((room) =>
          drainIds.includes(room.id) ? { ...room, drainingSinceMs: nowMs, drainReason: 'rollout' } : room,
        );
      }
      steps.push(`done at ${rooms.length}`);
      return steps;
    }

    test('downscale: 25 rooms, 5 of them in use, half of them to be free', () => {
      // v10: -15, +3, -3, +3, -3, +3, -3, +3, -1, a scale-down of 2, done at 10; it deletes the occupied ones, and here they leave.
      const start = [...fleet(5, busy, 'busy'), ...old(20)];
      expect(walk(autoscaled(occupancy(0.5, 0.99)), start)).toEqual([
        '-15',
        '+3',
        '-3',
        '+3',
        '-3',
        '+2',
        '-2',
        '3 matches move',
        '+3',
        '-2',
        'claim 1',
        '2 matches move',
        'done at 10',
      ]);
    });

    test('upscale: 25 rooms, 20 of them in use, half of them to be free', () => {
      // v10: +25, -10, +10, -10, +10, -5, a scale-down of 5, done at 40.
      const start = [...fleet(20, busy, 'busy'), ...old(5)];
      expect(walk(autoscaled(occupancy(0.5, 0.99)), start).at(-1)).toBe('done at 40');
    });
  });

  test('the surge of no vector is exceeded', () => {
    for (const [, standing, updated, base] of cycles) {
      const { add } = rollout([...old(standing - updated), ...fresh(updated)], settings({ roomsReplicas: base }));
      if (add > 0) expect(standing + add).toBe(base + surgeRooms('25%', base));
    }
  });
});
