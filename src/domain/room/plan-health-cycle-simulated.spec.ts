import fc from 'fast-check';
import { surgeRooms } from '../rollout/surge-rooms';
import { isInstanceDead, silenceMs } from './classify-room';
import { freeSlots } from './free-slots';
import { ago, autoscaled, buffer, codes, limits, nowMs, occupancy, plan, settings } from './health-facts.fixture';
import { isEmptyPlan, type HealthFacts, type HealthPlan } from './health-plan';
import { aRoom } from './room.fixture';
import { drainReasons, hasMatch, instanceStatuses, roomStatuses, type Room } from './room';
import { sortFleet } from './sort-fleet';

const old = 'v1.0.0';
const active = 'v2.0.0';
const replacedVersions = new Set([old]);

interface Simulated {
  room: Room;
  /** Never pings again. */
  hung: boolean;
}
interface World {
  fleet: Simulated[];
  nowMs: number;
  made: number;
}

/** `expect` a hundred thousand times costs seconds. */
function promise(sentence: string, isKept: boolean): void {
  if (!isKept) throw new Error(`the plan breaks its promise: ${sentence}`);
}

function startMatch(room: Room, maxMatches: number): void {
  room.runningMatches += 1;
  room.status = room.runningMatches >= maxMatches ? 'occupied' : 'active';
  room.pingStatus = 'occupied';
}

function endMatch(room: Room): void {
  room.runningMatches = Math.max(0, room.runningMatches - 1);
  if (room.status === 'error' || room.status === 'terminating' || room.status === 'terminated') return;
  room.status = room.runningMatches === 0 ? 'ready' : 'active';
}

/** What happens until the next cycle: rooms come up and ping, unless they hang, and their status says what they hold. */
function pass(world: World, ms: number, maxMatches: number): void {
  world.nowMs += ms;
  for (const { room, hung } of world.fleet) {
    if (hung) continue;
    const isComing = room.status === 'pending' || room.status === 'unready' || room.status === 'ready';
    if (room.runningMatches > 0 && (isComing || room.status === 'allocated')) {
      room.status = room.runningMatches >= maxMatches ? 'occupied' : 'active';
    } else if (isComing && room.status !== 'ready') {
      Object.assign(room, { status: 'ready', statusSinceMs: world.nowMs });
    }
    if (room.status !== 'error') room.instance.status = 'ready';
    if (room.status === 'ready' || hasMatch(room)) room.lastPingAtMs = world.nowMs;
  }
}

/** What the worker does with a plan, as the stores promise it: a mark is taken off for its own reason, no match is claimed. */
function carryOut(world: World, { add, claimIds, drainIds, released, expired, drained }: HealthPlan): void {
  const rooms = new Map(world.fleet.map(({ room }) => [room.id, room]));
  const mark = (id: string, change: Pick<Room, 'drainingSinceMs' | 'drainReason'>) =>
    Object.assign(rooms.get(id) ?? {}, change);
  for (const { id, reason } of released) {
    if (rooms.get(id)?.drainReason === reason) mark(id, { drainingSinceMs: null, drainReason: null });
  }
  for (const id of claimIds) mark(id, { drainingSinceMs: world.nowMs, drainReason: 'scale_down' });
  for (const id of drainIds) mark(id, { drainingSinceMs: world.nowMs, drainReason: 'rollout' });
  const gone = new Set([...expired, ...drained].map(({ id }) => id));
  world.fleet = world.fleet.filter(({ room }) => !gone.has(room.id));
  for (let index = 0; index < add; index++) {
    const times = { statusSinceMs: world.nowMs, createdAtMs: world.nowMs, lastPingAtMs: null };
    const instance = { status: 'pending' } as const;
    const room = aRoom({ id: `made-${world.made++}`, version: active, status: 'pending', instance, ...times });
    world.fleet.push({ hung: false, room });
  }
}

function look(world: World, facts: Partial<HealthFacts>): { rooms: Room[]; result: HealthPlan } {
  const rooms = world.fleet.map(({ room }) => room);
  return { rooms, result: plan({ replacedVersions, ...facts, rooms, nowMs: world.nowMs }) };
}

/** What every plan keeps, whatever the fleet. */
function checkPromises(rooms: readonly Room[], result: HealthPlan, facts: Partial<HealthFacts>, now: number): void {
  const { add, claimIds, drainIds, released, expired, drained, available, desired, counts, rollout } = result;
  if (available === null || desired === null || counts === null) throw new Error('the store is complete');
  const scheduler = facts.scheduler ?? settings();
  const { maxMatches } = scheduler.matchAllocation;
  const byId = new Map(rooms.map((room) => [room.id, room]));
  const of = (ids: readonly string[]): Room[] => ids.flatMap((id) => byId.get(id) ?? []);
  const marked = [...claimIds, ...drainIds];
  const removed = [...expired, ...drained].map(({ id }) => id);

  promise('adds or removes, never both', add === 0 || marked.length === 0);
  const named = [...marked, ...removed, ...released.map(({ id }) => id)];
  promise('names a room once', new Set(named).size === named.length);
  promise(
    'names no validation room',
    of(named).every(({ validation }) => !validation),
  );
  const upper = desired + (rollout === null ? 0 : surgeRooms(scheduler.maxSurge, desired));
  promise('never makes more rooms than base and surge', add === 0 || available + add <= upper);
  promise('is within its limits', add <= 8 && claimIds.length <= 8 && drainIds.length <= 8);
  promise('claims no more than are too many', claimIds.length <= Math.max(0, available - desired));
  promise(
    'claims no match, and nothing that drains',
    of(claimIds).every((room) => !hasMatch(room) && room.drainingSinceMs === null),
  );
  promise(
    'drains old rooms only, and once',
    of(drainIds).every((room) => room.version === old && room.drainingSinceMs === null),
  );
  promise(
    'releases what drains',
    of(released.map(({ id }) => id)).every((room) => room.drainingSinceMs !== null),
  );

  const deadlineMs = facts.limits?.drainDeadlineMs ?? null;
  for (const { id, reason } of drained) {
    const room = byId.get(id)!;
    promise('takes nothing for drained that does not drain', room.drainingSinceMs !== null);
    const isOverdue = deadlineMs !== null && now - (room.drainingSinceMs ?? now) >= deadlineMs;
    promise('ends a match at the deadline only', !hasMatch(room) || (isOverdue && reason === 'drain_deadline'));
    promise('keeps what was claimed from any deadline', room.drainReason !== 'scale_down' || !hasMatch(room));
  }
  for (const room of of(expired.map(({ id }) => id))) {
    const isOver = room.status === 'terminating' || room.status === 'terminated';
    const silence = silenceMs(room, { nowMs: now, hearingSinceMs: 0 });
    const isSecond = room.instance.status !== 'ready' || isInstanceDead(room) || silence > 2 * limits.pingTimeoutMs;
    const isSilent = silence > limits.pingTimeoutMs && isSecond;
    promise('needs a second signal to end a match', !hasMatch(room) || isOver || isSilent);
  }

  // Slots that players can be sent to: before the plan, and when it was carried out.
  const { capacity } = sortFleet({
    rooms,
    replacedVersions,
    nowMs: now,
    hearingSinceMs: 0,
    limits: facts.limits ?? limits,
  });
  const free = capacity.reduce((sum, room) => sum + freeSlots(room, maxMatches), 0);
  const taken = of(marked).reduce((sum, room) => sum + freeSlots(room, maxMatches), 0);
  const matches = counts.runningMatches + counts.rooms.allocated;
  const wantedFree = Math.max(0, desired * maxMatches - matches);
  promise('takes no free slot that is wanted', taken === 0 || free - taken >= wantedFree);
  promise('looks ahead, not back', result.nextLookAtMs === null || result.nextLookAtMs > now);
  promise('comes back for what it marked', marked.length === 0 || result.nextLookAtMs !== null);
}

const past = fc.integer({ min: 0, max: 600_000 }).map(ago);
const aSimulated: fc.Arbitrary<Simulated> = fc
  .record({
    status: fc.constantFrom(...roomStatuses),
    version: fc.constantFrom(old, old, 'v1.1.0', active),
    validation: fc.nat(9).map((n) => n === 0),
    lastPingAtMs: fc.option(past),
    statusSinceMs: past,
    createdAtMs: past,
    adoptedAtMs: fc.option(past, { freq: 3 }),
    drainingSinceMs: fc.option(past, { freq: 3 }),
    drainReason: fc.constantFrom(...drainReasons),
    instance: fc.constantFrom(...instanceStatuses),
    hides: fc.nat(4).map((n) => n === 0),
    hung: fc.nat(4).map((n) => n === 0),
  })
  .map(({ hung, hides, instance, drainReason, ...room }) => {
    const inUse = room.status === 'occupied' || room.status === 'active';
    const drain = room.drainingSinceMs === null ? null : drainReason;
    const runningMatches = inUse || hides ? 1 : 0;
    return { hung, room: aRoom({ ...room, runningMatches, drainReason: drain, instance: { status: instance } }) };
  });
const aFleet = fc
  .array(aSimulated, { maxLength: 30 })
  .map((rooms) => rooms.map(({ hung, room }, index) => ({ hung, room: { ...room, id: `room-${index}` } })));
const someSettings = fc
  .record({
    maxSurge: fc.constantFrom('1', '3', '25%', '100%'),
    maxMatches: fc.constantFrom(1, 1, 3),
    version: fc.constant(active),
  })
  .chain(({ maxMatches, ...rest }) => {
    const common = { ...rest, matchAllocation: { maxMatches } };
    return fc.oneof(
      fc.nat(20).map((roomsReplicas) => settings({ ...common, roomsReplicas })),
      fc
        .record({ amount: fc.integer({ min: 1, max: 10 }), max: fc.constantFrom(-1, -1, 12) })
        .map(({ amount, max }) => autoscaled(buffer(amount), { ...common, max })),
      fc.integer({ min: 1, max: 9 }).map((tenth) => autoscaled(occupancy(tenth / 10, 0.99), common)),
    );
  });
const limit = fc.integer({ min: 1, max: 8 });

describe('planHealthCycle over many cycles', () => {
  test('keeps every promise, comes to the desired number, and then has nothing to do', () => {
    fc.assert(
      fc.property(
        aFleet,
        someSettings,
        limit,
        limit,
        fc.constantFrom(null, null, 100_000),
        fc.array(fc.nat(), { minLength: 20, maxLength: 20 }),
        (start, scheduler, addLimit, removeLimit, drainDeadlineMs, dice) => {
          const facts = { scheduler, addLimit, removeLimit, limits: { ...limits, drainDeadlineMs } };
          const { maxMatches } = scheduler.matchAllocation;
          const world: World = { fleet: structuredClone(start), nowMs, made: 0 };
          // Rooms for several matches are not given out as a whole.
          for (const { room } of world.fleet) if (maxMatches > 1 && room.status === 'allocated') room.status = 'ready';
          let last: HealthPlan | undefined;
          for (let cycle = 0; cycle < 600; cycle++) {
            const { rooms, result } = look(world, facts);
            last = result;
            checkPromises(rooms, result, facts, world.nowMs);
            carryOut(world, result);

            const again = look(world, facts);
            checkPromises(again.rooms, again.result, facts, world.nowMs);
            const before = new Set([...result.claimIds, ...result.drainIds]);
            promise(
              'does nothing twice',
              ![...again.result.claimIds, ...again.result.drainIds].some((id) => before.has(id)),
            );
            promise('does not take back at once what it did', !again.result.released.some(({ id }) => before.has(id)));

            // First matches come and go everywhere; then those of rooms that drain, and of old ones, end.
            const roll = dice[cycle];
            const usable = world.fleet.filter(
              ({ room }) => room.drainingSinceMs === null && freeSlots(room, maxMatches) > 0,
            );
            if (roll !== undefined && usable.length > 0) startMatch(usable[roll % usable.length]!.room, maxMatches);
            const ending = world.fleet.filter(({ room }) =>
              roll === undefined ? room.drainingSinceMs !== null || room.version === old : roll % 3 === 0,
            );
            const ended = ending.find(({ room }) => room.runningMatches > 0);
            if (ended) endMatch(ended.room);
            for (const { room } of ending) if (room.status === 'allocated' && roll === undefined) room.status = 'ready';

            // 60 cycles are half an hour: beyond every timeout.
            if (cycle > 60 && isEmptyPlan(result) && isEmptyPlan(again.result)) {
              const isStuck = world.fleet.some(
                ({ room }) =>
                  room.drainingSinceMs !== null && !room.validation && !hasMatch(room) && room.status !== 'terminating',
              );
              promise('leaves no empty room that drains', !isStuck || codes(result).includes('mass_silence'));
              break;
            }
            pass(world, 30_000, maxMatches);
          }
          expect(last && isEmptyPlan(last)).toBe(true);
          const rooms = world.fleet.map(({ room }) => room);
          const { massSilence } = sortFleet({
            ...facts,
            rooms,
            replacedVersions,
            nowMs: world.nowMs,
            hearingSinceMs: 0,
          });
          promise('ends its rollout', massSilence !== null || last?.rollout === null);
          if (last && last.available !== last.desired) {
            expect(last.available).toBeGreaterThan(last.desired ?? Infinity);
            expect(last.blockedBy).not.toEqual([]);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  test('a version that comes back finds the rooms that made room for the other one, and drains those of the other', () => {
    fc.assert(
      fc.property(aFleet, someSettings, (start, scheduler) => {
        const world: World = { fleet: start.filter(({ hung }) => !hung), nowMs, made: 0 };
        pass(world, 1_000, scheduler.matchAllocation.maxMatches);
        carryOut(world, look(world, { scheduler }).result);
        const back = { scheduler: { ...scheduler, version: old }, replacedVersions: new Set([active]) };
        const { rooms, result } = look(world, back);
        const forRollout = rooms.filter(({ drainReason, version }) => drainReason === 'rollout' && version === old);
        const kept = new Set(result.released.map(({ id }) => id));
        const gone = new Set(result.expired.map(({ id }) => id));
        const isOut = ({ status, validation }: Room) =>
          validation || status === 'terminating' || status === 'terminated';
        expect(forRollout.filter((room) => !kept.has(room.id) && !gone.has(room.id) && !isOut(room))).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  describe('a rollout of a fleet that is nearly full', () => {
    const kinds: [string, HealthFacts['scheduler']][] = [
      ['fixedBuffer', autoscaled(buffer(2))],
      ['fixedBuffer at max', autoscaled(buffer(2), { max: 40 })],
      ['roomOccupancy', autoscaled(occupancy(0.05, 0.9))],
      ['replicas', settings({ roomsReplicas: 40 })],
    ];
    const rows = kinds.flatMap(([kind, scheduler]) =>
      [1, 4].flatMap((maxMatches) =>
        ['1', '25%'].map((maxSurge) => ({
          kind,
          maxMatches,
          maxSurge,
          scheduler: { ...scheduler, maxSurge, version: active, matchAllocation: { maxMatches } },
        })),
      ),
    );

    test.each(rows)(
      '$kind, $maxMatches a room, surge $maxSurge: keeps what is free, and ends as matches end',
      ({ maxMatches, scheduler }) => {
        const used = { status: 'occupied', runningMatches: maxMatches, pingStatus: 'occupied' } as const;
        const rooms = Array.from({ length: 40 }, (_, index) =>
          aRoom({ id: `room-${String(index).padStart(3, '0')}`, version: old, ...(index < 38 ? used : {}) }),
        );
        const world: World = { fleet: rooms.map((room) => ({ room, hung: false })), nowMs, made: 0 };
        const facts = { scheduler, addLimit: 8, removeLimit: 8 };
        for (let cycle = 0; ; cycle++) {
          if (cycle === 3_000) throw new Error('the rollout does not end');
          const { rooms: seen, result } = look(world, facts);
          checkPromises(seen, result, facts, world.nowMs);
          promise(
            'no match is ended',
            [...result.drained, ...result.expired].every(({ id }) => !hasMatch(seen.find((room) => room.id === id)!)),
          );
          carryOut(world, result);
          if (result.rollout === null && isEmptyPlan(result)) break;
          pass(world, 10_000, maxMatches);
          // Matches end, wherever they may be, and as many begin where there are free slots.
          for (let end = 0; end < maxMatches; end++) {
            const inUse = world.fleet.filter(({ room }) => room.runningMatches > 0);
            endMatch(inUse[(cycle * 7 + end * 11) % inUse.length]!.room);
            const usable = world.fleet.filter(
              ({ room }) => room.drainingSinceMs === null && freeSlots(room, maxMatches) > 0,
            );
            promise('there is a free slot for who comes', usable.length > 0);
            startMatch(usable[(cycle * 13 + end) % usable.length]!.room, maxMatches);
          }
        }
        expect(world.fleet.every(({ room }) => room.version === active)).toBe(true);
        expect(world.fleet.reduce((sum, { room }) => sum + room.runningMatches, 0)).toBe(38 * maxMatches);
      },
    );
  });

  describe('costs', () => {
    /** How often a plan reads a field of a room. */
    function readsOf(
      amount: number,
      changes: (index: number) => Parameters<typeof aRoom>[0],
      facts: Partial<HealthFacts>,
    ) {
      let reads = 0;
      const handler: ProxyHandler<Room> = {
        get: (room, field) => {
          reads += 1;
          return room[field as keyof Room];
        },
      };
      const rooms = Array.from(
        { length: amount },
        (_, index) =>
          new Proxy(
            aRoom({
              id: `room-${(index * 7_919) % amount}`,
              createdAtMs: (index * 104_729) % amount,
              ...changes(index),
            }),
            handler,
          ),
      );
      plan({ rooms, ...facts });
      return reads;
    }
    const busy = { status: 'occupied', runningMatches: 1 } as const;
    const rows: [string, (index: number) => Parameters<typeof aRoom>[0], (amount: number) => Partial<HealthFacts>][] = [
      ['a fleet as it should be', () => ({}), (amount) => ({ scheduler: settings({ roomsReplicas: amount }) })],
      ['a scale-down', () => ({}), () => ({ scheduler: autoscaled(buffer(1)), removeLimit: 100_000 })],
      [
        'a rollout',
        (index) => (index % 2 === 0 ? busy : {}),
        (amount) => ({
          scheduler: settings({ roomsReplicas: amount / 2, version: active }),
          replacedVersions,
          removeLimit: 100_000,
        }),
      ],
      [
        'claims that are taken back',
        () => ({ drainingSinceMs: 1, drainReason: 'scale_down' }),
        (amount) => ({
          scheduler: settings({ roomsReplicas: amount }),
        }),
      ],
      [
        'mass silence',
        (index) => ({ lastPingAtMs: index % 2 === 0 ? ago(300_000) : nowMs }),
        () => ({
          scheduler: settings({ roomsReplicas: 1 }),
        }),
      ],
      [
        'a fleet that failed',
        () => ({ status: 'error', statusSinceMs: ago(1) }),
        (amount) => ({
          scheduler: settings({ roomsReplicas: amount }),
        }),
      ],
    ];

    test.each(rows)('%s: twice the rooms are little more than twice the work', (_, changes, facts) => {
      const [once, twice] = [10_000, 20_000].map((amount) => readsOf(amount, changes, facts(amount)));
      expect(twice! / once!).toBeLessThan(2.4);
      expect(once! / 10_000).toBeLessThan(400);
    });

    test('nothing that it is given is changed', () => {
      const frozen = (rooms: Room[]): Room[] =>
        rooms.map((room) => Object.freeze({ ...room, instance: Object.freeze(room.instance) }));
      const rooms = Object.freeze(
        frozen([aRoom({ id: 'a' }), aRoom({ id: 'b', version: active }), aRoom({ id: 'c', ...busy })]),
      );
      const facts = {
        rooms,
        replacedVersions,
        scheduler: Object.freeze(settings({ roomsReplicas: 1, version: active })),
      };
      expect(plan(facts)).toEqual(plan(facts));
    });
  });
});
