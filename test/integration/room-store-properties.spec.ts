import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { closeRedisConnection, createRedisConnection } from '../../src/adapters/redis/redis-connection';
import { RedisRoomStore, type RoomRecord } from '../../src/adapters/redis/redis-room-store';
import { schedulerKeys } from '../../src/adapters/redis/room-keys';
import { instanceStatuses, pingStatuses, roomStatuses, type Instance, type Room } from '../../src/domain/room/room';
import type { InstanceOutcome, Ping, PingOutcome, RoomStore, StatusSettings } from '../../src/ports/room-store';
import { MemoryRoomStore } from '../support/memory-room-store';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';

/** Repeat a failure with MAESTRO_TEST_SEED. */
const seed = Number(process.env.MAESTRO_TEST_SEED ?? Date.now() % 2 ** 31);

const ids = ['r1', 'r2', 'r3', 'r4', 'r5'];
const anyId = fc.constantFrom(...ids);

type Action =
  | { do: 'create'; id: string; validation: boolean }
  | { do: 'ping'; id: string; status: Ping['status']; runningMatches: number; metadata: string | null }
  | {
      do: 'instance';
      id: string;
      status: Instance['status'];
      validation: boolean;
      generation: number;
      hasAddress: boolean;
      adopt: boolean;
      authoritative: boolean;
    }
  | { do: 'terminate'; ids: string[]; spareMatches: boolean }
  | { do: 'end'; id: string }
  | { do: 'allocate' }
  | { do: 'give'; id: string; agoMs: number };

const create = fc.record({ do: fc.constant('create' as const), id: anyId, validation: fc.boolean() });
const ping = fc.record({
  do: fc.constant('ping' as const),
  id: anyId,
  status: fc.constantFrom<Ping['status']>('ready', 'ready', 'occupied', 'occupied', 'terminating', 'terminated'),
  runningMatches: fc.integer({ min: 0, max: 4 }),
  metadata: fc.constantFrom(null, '{}', '{"a":1}'),
});
const instance = fc.record({
  do: fc.constant('instance' as const),
  id: anyId,
  status: fc.constantFrom('ready', 'ready', 'ready', ...instanceStatuses),
  validation: fc.boolean(),
  generation: fc.integer({ min: 1, max: 5 }),
  hasAddress: fc.boolean(),
  adopt: fc.boolean(),
  authoritative: fc.boolean(),
});
const terminate = fc.record({
  do: fc.constant('terminate' as const),
  ids: fc.uniqueArray(anyId, { maxLength: 3 }),
  spareMatches: fc.boolean(),
});
const end = fc.record({ do: fc.constant('end' as const), id: anyId });
const allocate = fc.record({ do: fc.constant('allocate' as const) });
const give = fc.record({
  do: fc.constant('give' as const),
  id: anyId,
  agoMs: fc.constantFrom(0, 3_600_000),
});

const predictable = [
  { arbitrary: create, weight: 3 },
  { arbitrary: ping, weight: 6 },
  { arbitrary: instance, weight: 5 },
  { arbitrary: terminate, weight: 1 },
  { arbitrary: end, weight: 1 },
];
// Which room an allocation picks depends on the store's clock, so the two stores are told which one to give instead.
const anyAction: fc.Arbitrary<Action> = fc.oneof(...predictable, { arbitrary: give, weight: 2 });
const concurrentAction: fc.Arbitrary<Action> = fc.oneof(...predictable, { arbitrary: allocate, weight: 3 });
const anySettings: fc.Arbitrary<StatusSettings> = fc.record({
  maxMatches: fc.constantFrom(1, 1, 3, 35),
  allocationTtlMs: fc.constant(60_000),
});

function perform(store: RoomStore, scheduler: string, action: Exclude<Action, { do: 'give' }>, to: StatusSettings) {
  switch (action.do) {
    case 'create':
      return store.createRoom({ id: action.id, scheduler, version: 'v1.0.0', validation: action.validation });
    case 'ping':
      return store.applyPing({ scheduler, room: action.id, ...action }, to);
    case 'instance':
      return store.applyInstance(
        {
          id: action.id,
          scheduler,
          version: 'v1.0.0',
          validation: action.validation,
          status: action.status,
          description: action.status,
          address: action.hasAddress ? { host: '10.0.0.1', ports: [] } : null,
          createdAtMs: 1_700_000_000_000,
          generation: action.generation,
        },
        to,
        action,
      );
    case 'terminate':
      return store.terminateRooms(
        scheduler,
        action.ids,
        action.spareMatches ? {} : { silentSinceMs: Number.MAX_SAFE_INTEGER },
      );
    case 'allocate':
      return store.allocateRoom(scheduler, { pingTimeoutMs: 60_000, adoptionHoldMs: 0 });
    case 'end':
      return store.endRoom(scheduler, action.id);
  }
}

describe(`room state under any order of events (seed ${seed})`, () => {
  let under: RedisRoomStoreUnderTest;
  let clients: Redis[];
  let stores: RedisRoomStore[];
  /** The JavaScript server is slow: it gets few runs. */
  let runs: { sequential: number; concurrent: number };
  let schedulersMade = 0;

  beforeAll(async () => {
    under = await openRedisRoomStore('auto');
    clients = Array.from({ length: 4 }, (_, number) =>
      createRedisConnection({ url: under.url, name: `test-client-${number}`, commandTimeoutMs: 20_000 }),
    );
    stores = clients.map((redis) => new RedisRoomStore(redis, { pageSize: 3 }));
    runs = under.kind === 'js' ? { sequential: 5, concurrent: 2 } : { sequential: 150, concurrent: 60 };
  }, 60_000);
  afterAll(async () => {
    await Promise.all(clients.map((redis) => closeRedisConnection(redis)));
    await under.close();
  });

  function newScheduler(): string {
    schedulersMade += 1;
    return `s${schedulersMade}`;
  }

  it('is in Redis what the memory fake says, one action after the other', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyAction, { maxLength: 60, size: 'max' }), anySettings, async (actions, settings) => {
        const scheduler = newScheduler();
        const memory = new MemoryRoomStore();
        for (const action of actions) {
          if (action.do === 'give') {
            const room = await memory.getRoom(scheduler, action.id);
            if (room === null || room.status !== 'ready' || room.validation) continue;
            memory.giveRoom(scheduler, action.id, action.agoMs);
            await under.giveRoom(scheduler, action.id, action.agoMs);
          } else {
            const wanted = await perform(memory, scheduler, action, settings);
            expect(await perform(under.store, scheduler, action, settings)).toEqual(wanted);
          }
        }
        expect(await everythingOf(under.store, scheduler)).toEqual(await everythingOf(memory, scheduler));
        await expectConsistent(under.redis, scheduler);
      }),
      { seed, numRuns: runs.sequential },
    );
  }, 120_000);

  it('counts right, lets no terminating room go and no ended one come back, whatever four clients do at once', async () => {
    const scripts = fc.tuple(
      ...([0, 1, 2, 3] as const).map(() => fc.array(concurrentAction, { minLength: 5, maxLength: 40, size: 'max' })),
    );
    await fc.assert(
      fc.asyncProperty(scripts, anySettings, async (scripted, settings) => {
        const scheduler = newScheduler();
        await under.store.markSynced();
        const ended = new Set<string>();
        let running = true;

        const act = async (store: RoomStore, actions: Action[]): Promise<void> => {
          for (const action of actions) {
            if (action.do === 'give') continue;
            const endedBefore = new Set(ended);
            const outcome = await perform(store, scheduler, action, settings);
            if (action.do === 'end') ended.add(action.id);
            expectSticky(outcome);
            if ('id' in action && endedBefore.has(action.id)) expectNoRevival(outcome);
          }
        };
        const watch = async (): Promise<void> => {
          const leaving = new Set<string>();
          while (running) {
            const endedBefore = [...ended];
            const rooms = await expectConsistent(under.redis, scheduler);
            for (const id of endedBefore) expect(rooms.has(id)).toBe(false);
            for (const [id, room] of rooms) {
              const status = roomStatuses[room.status]!;
              if (leaving.has(id)) expect(['terminating', 'terminated']).toContain(status);
              if (status === 'terminating' || status === 'terminated') leaving.add(id);
            }
          }
        };

        const acting = Promise.all(scripted.map((actions, client) => act(stores[client]!, actions)));
        await Promise.all([acting.finally(() => (running = false)), watch()]);
        await expectConsistent(under.redis, scheduler);
        expect(await under.store.recountFleet(scheduler)).toEqual({ repaired: 0 });
        const { rooms } = await under.store.readFleet(scheduler);
        expect(rooms.filter((room) => ended.has(room.id))).toEqual([]);
      }),
      { seed, numRuns: runs.concurrent },
    );
  }, 120_000);
});

/** Nothing is `ready` again that was `terminating`; a terminated room stays. */
function expectSticky(outcome: unknown): void {
  const change = outcome as PingOutcome | InstanceOutcome;
  if (change.outcome !== 'applied') return;
  if (change.from === 'terminating') expect(['terminating', 'terminated']).toContain(change.to);
  if (change.from === 'terminated') expect(change.to).toBe('terminated');
}

function expectNoRevival(outcome: unknown): void {
  if (typeof outcome === 'string') {
    expect(outcome).toBe('exists');
    return;
  }
  const answer = outcome as { outcome?: string; existed?: boolean };
  if (answer.existed !== undefined) expect(answer.existed).toBe(false);
  else expect(['unknown_room', 'ended']).toContain(answer.outcome);
}

/** What a store says of a fleet, times aside: they come from different clocks. */
async function everythingOf(store: RoomStore, scheduler: string) {
  const { rooms } = await store.readFleet(scheduler);
  const timeless = (time: number | null) => (time === null ? null : 'some time');
  return {
    rooms: rooms.map((room) => ({
      ...room,
      statusSinceMs: timeless(room.statusSinceMs),
      lastPingAtMs: timeless(room.lastPingAtMs),
      createdAtMs: room.adoptedAtMs === null ? 'some time' : room.createdAtMs,
      adoptedAtMs: timeless(room.adoptedAtMs),
      allocatedAtMs: timeless(room.allocatedAtMs),
    })),
    single: await Promise.all(ids.map(async (id) => timelessStatus(await store.getRoom(scheduler, id)))),
    metadata: await Promise.all(ids.map((id) => store.getMetadata(scheduler, id))),
    counts: await store.countFleet(scheduler),
    listed: (await store.listSchedulers()).includes(scheduler),
  };
}

function timelessStatus(room: Room | null) {
  return room && [room.id, room.status, room.pingStatus, room.runningMatches];
}

/** In one moment: counters, registry and order by status are what the records say. Answers the records. */
async function expectConsistent(redis: Redis, scheduler: string): Promise<Map<string, RoomRecord>> {
  const keys = schedulerKeys(scheduler);
  const replies = await redis
    .multi()
    .hgetall(keys.rooms)
    .hgetall(keys.counts)
    .zrange(keys.ids, 0, -1)
    .zrange(keys.byStatus, 0, -1, 'WITHSCORES')
    .sismember(keys.schedulers, scheduler)
    .hkeys(keys.metadata)
    .zrange(keys.ended, 0, -1)
    .exec();
  const [texts, counts, registry, byStatus, isListed, withMetadata, ended] = replies!.map(([, reply]) => reply) as [
    Record<string, string>,
    Record<string, string>,
    string[],
    string[],
    number,
    string[],
    string[],
  ];
  const rooms = new Map(Object.entries(texts).map(([id, text]) => [id, JSON.parse(text) as RoomRecord]));
  const counted = [...rooms.values()].filter((room) => !room.validation);

  const wanted: Record<string, number> = {};
  const tally = (field: string, amount: number) => (wanted[field] = (wanted[field] ?? 0) + amount);
  roomStatuses.forEach((_, index) => tally(`r${index}`, 0));
  instanceStatuses.forEach((_, index) => tally(`i${index}`, 0));
  tally('m', 0);
  for (const room of counted) {
    tally(`r${room.status}`, 1);
    tally(`i${room.instanceStatus}`, 1);
    tally('m', room.runningMatches);
  }
  const stored = Object.fromEntries(Object.keys(wanted).map((field) => [field, Number(counts[field] ?? 0)]));
  expect(stored).toEqual(wanted);

  expect(registry).toEqual([...rooms.keys()].sort());
  const scores = counted.map((room) => [room.id, String(room.status * 1e13 + room.statusSinceMs)] as const);
  const storedScores = byStatus.flatMap((id, place) => (place % 2 === 0 ? [[id, byStatus[place + 1]!] as const] : []));
  expect(new Map(storedScores)).toEqual(new Map(scores));
  expect(isListed === 1).toBe(rooms.size > 0);
  for (const id of withMetadata) expect(rooms.has(id)).toBe(true);
  for (const id of ended) expect(rooms.has(id)).toBe(false);
  for (const room of rooms.values()) expect(pingStatuses[room.pingStatus]).toBeDefined();
  return rooms;
}
