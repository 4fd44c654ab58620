import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { closeRedisConnection, createRedisConnection } from '../../src/adapters/redis/redis-connection';
import { RedisRoomAllocationStore, type AllocationRecord } from '../../src/adapters/redis/redis-room-allocation-store';
import { RedisRoomStore, type RoomRecord } from '../../src/adapters/redis/redis-room-store';
import { schedulerKeys } from '../../src/adapters/redis/room-keys';
import { matchLoad, nextRoomStatus } from '../../src/domain/room/next-room-status';
import {
  hasMatch,
  instanceStatuses,
  pingStatuses,
  roomStatuses,
  type Instance,
  type Room,
} from '../../src/domain/room/room';
import type { AllocationOrder } from '../../src/ports/room-allocation-store';
import type { InstanceOutcome, Ping, PingOutcome, StatusSettings } from '../../src/ports/room-store';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';

/** Repeat a failure with MAESTRO_TEST_SEED. */
const seed = Number(process.env.MAESTRO_TEST_SEED ?? Date.now() % 2 ** 31);

/** The first of them are up when a run begins. */
const ids = ['r1', 'r2', 'r3', 'r4', 'r5', 'r6', 'r7', 'r8', 'r9'];
const idsAtFirst = ids.slice(0, 6);
const hosts = ['h1', 'h2'];

// What happens -----------------------------------------------------------------------------------------------------------

const anyId = fc.constantFrom(...ids);
const someIds = fc.uniqueArray(anyId, { maxLength: 3 });
function act<const Do extends string, Details extends object>(
  name: Do,
  details: { [Detail in keyof Details]: fc.Arbitrary<Details[Detail]> },
): fc.Arbitrary<{ do: Do } & Details> {
  return fc.record(details).map((taken) => ({ do: name, ...(taken as Details) }));
}

const pingWords: Ping['status'][] = [...words('ready', 20), ...words('occupied', 8), 'terminating', 'terminated'];
const instanceWords: Instance['status'][] = [...words('ready', 20), ...instanceStatuses];

const create = act('create', { id: anyId, validation: fc.constantFrom(false, false, false, true) });
const ping = act('ping', {
  id: anyId,
  status: fc.constantFrom(...pingWords),
  runningMatches: fc.constantFrom(0, 0, 0, 1, 2, 3, 4),
  metadata: fc.constantFrom(null, '{}', '{"a":1}'),
  resync: fc.boolean(),
});
const instance = act('instance', {
  id: anyId,
  status: fc.constantFrom(...instanceWords),
  host: fc.constantFrom(null, ...hosts, ...hosts),
  validation: fc.constantFrom(false, false, true),
  generation: fc.integer({ min: 1, max: 5 }),
  adopt: fc.boolean(),
  authoritative: fc.boolean(),
});
const terminate = act('terminate', { ids: someIds, who: fc.constantFrom('idle', 'idle', 'silent', 'named') });
const drain = act('drain', { ids: someIds });
const end = act('end', { id: anyId });
const allocate = act('allocate', {
  key: fc.constantFrom(null, null, 'key-1', 'key-2'),
  strategy: fc.constantFrom('packed' as const, 'spread' as const),
  ttlMs: fc.constantFrom(1, 3, 60_000),
  waits: fc.boolean(),
});
/** Which of its allocations, or places in the queue: the last one, the one before, ... */
const ago = fc.nat({ max: 5 });
const confirm = act('confirm', { ago });
const release = act('release', { ago });
const stopWaiting = act('stopWaiting', { ago, keep: fc.boolean() });
const serve = act('serve', {});
const expire = act('expire', { limit: fc.constantFrom(1, 100) });
const recount = act('recount', {});

type ActionOf<Each> = Each extends fc.Arbitrary<infer Action> ? Action : never;
type RoomAction = ActionOf<
  typeof create | typeof ping | typeof instance | typeof terminate | typeof drain | typeof end
>;
type AllocationAction = ActionOf<
  typeof allocate | typeof confirm | typeof release | typeof stopWaiting | typeof serve | typeof expire
>;
type Action = RoomAction | AllocationAction | ActionOf<typeof recount>;

const anyAction: fc.Arbitrary<Action> = fc.oneof(
  { arbitrary: create, weight: 3 },
  { arbitrary: ping, weight: 16 },
  { arbitrary: instance, weight: 6 },
  { arbitrary: terminate, weight: 1 },
  { arbitrary: drain, weight: 1 },
  { arbitrary: end, weight: 1 },
  { arbitrary: allocate, weight: 14 },
  { arbitrary: confirm, weight: 4 },
  { arbitrary: release, weight: 4 },
  { arbitrary: stopWaiting, weight: 2 },
  { arbitrary: serve, weight: 1 },
  { arbitrary: expire, weight: 2 },
  { arbitrary: recount, weight: 1 },
);
const anySettings: fc.Arbitrary<StatusSettings> = fc.record({ maxMatches: fc.constantFrom(1, 1, 3) });

function words<const Word extends string>(word: Word, times: number): Word[] {
  return new Array<Word>(times).fill(word);
}

/** One process: its own connection, and the allocations that it was given or waits for. */
class Client {
  readonly rooms: RedisRoomStore;
  readonly allocations: RedisRoomAllocationStore;
  private asked: string[] = [];
  private static made = 0;

  constructor(readonly redis: Redis) {
    this.rooms = new RedisRoomStore(redis, { pageSize: 3 });
    this.allocations = new RedisRoomAllocationStore(redis);
  }

  forget(): void {
    this.asked = [];
  }

  async perform(scheduler: string, action: Action, settings: StatusSettings): Promise<unknown> {
    switch (action.do) {
      case 'create':
        return this.rooms.createRoom({ id: action.id, scheduler, version: 'v1.0.0', validation: action.validation });
      case 'ping':
        return this.rooms.applyPing({ ...action, scheduler, room: action.id, listener: null }, settings);
      case 'instance':
        return this.rooms.applyInstance(instanceOf(scheduler, action), settings, action);
      case 'terminate':
        return this.rooms.terminateRooms(scheduler, action.ids, {
          reason: action.who,
          byName: action.who === 'named',
          ...(action.who === 'silent' ? { silentSinceMs: Number.MAX_SAFE_INTEGER } : {}),
        });
      case 'drain':
        return this.rooms.drainRooms(scheduler, action.ids, 'operator');
      case 'end':
        return this.rooms.endRoom(scheduler, action.id);
      case 'allocate': {
        const id = `allocation-${++Client.made}`;
        const waiting = action.waits ? { listener: 'somebody', aliveMs: 60_000 } : undefined;
        const outcome = await this.allocations.allocate(orderOf(scheduler, id, action, settings), waiting);
        if (outcome.outcome === 'allocated') this.asked.unshift(outcome.allocation.id);
        else if (outcome.outcome === 'waiting') this.asked.unshift(id);
        return outcome;
      }
      case 'confirm':
        return this.allocations.confirm(scheduler, this.askedAgo(action));
      case 'release':
        return this.allocations.release(scheduler, this.askedAgo(action));
      case 'stopWaiting':
        return this.allocations.stopWaiting(scheduler, this.askedAgo(action), action);
      case 'serve':
        return this.allocations.serveWaiting(scheduler);
      case 'expire':
        return this.allocations.expire(action.limit);
      case 'recount':
        expect(await this.rooms.recountFleet(scheduler)).toEqual({ repaired: 0 });
        return undefined;
    }
  }

  private askedAgo(action: { ago: number }): string {
    return this.asked[action.ago] ?? 'never asked for';
  }
}

function instanceOf(scheduler: string, action: ActionOf<typeof instance>): Instance {
  const { id, status, validation, generation, host } = action;
  const address = host === null ? null : { host, ports: [] };
  const createdAtMs = 1_700_000_000_000;
  return {
    id,
    scheduler,
    version: 'v1.0.0',
    validation,
    status,
    description: status,
    address,
    createdAtMs,
    generation,
  };
}

function orderOf(
  scheduler: string,
  id: string,
  { key, strategy, ttlMs }: ActionOf<typeof allocate>,
  { maxMatches }: StatusSettings,
): AllocationOrder {
  return {
    scheduler,
    id,
    idempotencyKey: key,
    fingerprint: '',
    maxMatches,
    activeVersion: 'v1.0.0',
    versions: null,
    metadata: {},
    strategy,
    ttlMs,
    pingTimeoutMs: 60_000,
    adoptionHoldMs: 0,
  };
}

describe(`room state under any order of events (seed ${seed})`, () => {
  let under: RedisRoomStoreUnderTest;
  let clients: Client[];
  /** The JavaScript server is slow: it gets few runs. On a busy machine there are as many as fit into the time. */
  let runs: { sequential: number; concurrent: number };
  let schedulersMade = 0;

  const connect = (name: string) =>
    new Client(createRedisConnection({ url: under.url, name: `test-${name}`, commandTimeoutMs: 20_000 }));

  beforeAll(async () => {
    under = await openRedisRoomStore('auto');
    clients = Array.from({ length: 4 }, (_, number) => connect(`client-${number}`));
    runs = under.kind === 'js' ? { sequential: 5, concurrent: 2 } : { sequential: 40, concurrent: 30 };
    await under.store.markSynced();
  }, 60_000);
  afterAll(async () => {
    await Promise.all(clients.map(({ redis }) => closeRedisConnection(redis)));
    await under.close();
  });

  /** A scheduler with some rooms that are ready. */
  async function newScheduler(settings: StatusSettings): Promise<string> {
    schedulersMade += 1;
    const scheduler = `s${schedulersMade}`;
    for (const client of clients) client.forget();
    const up = { scheduler, status: 'ready', runningMatches: 0, metadata: null, listener: null, resync: true } as const;
    await Promise.all(
      idsAtFirst.map(async (id, number) => {
        await under.store.createRoom({ id, scheduler, version: 'v1.0.0', validation: id === 'r1' });
        const news = { do: 'instance', id, status: 'ready', host: hosts[number % 2]!, generation: 1 } as const;
        const listed = { validation: id === 'r1', adopt: true, authoritative: true };
        await under.store.applyInstance(instanceOf(scheduler, { ...news, ...listed }), settings, listed);
        await under.store.applyPing({ ...up, room: id }, settings);
      }),
    );
    return scheduler;
  }

  it('is after each event what the domain says', async () => {
    const holding = anyAction.map((action): Action =>
      action.do === 'allocate' ? { ...action, ttlMs: 60_000 } : action,
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(holding, { minLength: 20, maxLength: 100, size: 'max' }),
        anySettings,
        async (actions, settings) => {
          const scheduler = await newScheduler(settings);
          const [client] = clients as [Client];
          for (const action of actions) {
            const before = 'id' in action ? await client.rooms.getRoom(scheduler, action.id) : null;
            const outcome = await client.perform(scheduler, action, settings);
            if (action.do !== 'ping' && action.do !== 'instance') continue;
            const after = await client.rooms.getRoom(scheduler, action.id);
            if (before !== null && (outcome as { outcome: string }).outcome === 'applied') {
              expect(after).toMatchObject(expectedAfter(before, action, settings));
            }
          }
          await expectConsistent(under.redis, scheduler, settings);
        },
      ),
      { seed, numRuns: runs.sequential, interruptAfterTimeLimit: 20_000 },
    );
  }, 120_000);

  it('keeps every promise at every moment, whatever four clients do at once while a fifth is cut off', async () => {
    const scripts = fc.tuple(
      ...([0, 1, 2, 3] as const).map(() => fc.array(anyAction, { minLength: 20, maxLength: 60, size: 'max' })),
    );
    const cutOff = fc.array(anyAction, { maxLength: 20, size: 'max' });
    await fc.assert(
      fc.asyncProperty(scripts, cutOff, anySettings, async (scripted, unfinished, settings) => {
        const scheduler = await newScheduler(settings);
        const ended = new Set<string>();
        let running = true;

        const run = async (client: Client, actions: Action[]): Promise<void> => {
          for (const action of actions) {
            const endedBefore = new Set(ended);
            const outcome = await client.perform(scheduler, action, settings);
            if (action.do === 'end') ended.add(action.id);
            expectSticky(outcome);
            if ('id' in action && endedBefore.has(action.id)) expectNoRevival(outcome);
          }
        };
        const runUntilCutOff = async (actions: Action[]): Promise<void> => {
          const client = connect('cut-off');
          await client.rooms.isSynced();
          const sent = actions.map((action) => client.perform(scheduler, action, settings));
          // What was gathered has left the process then, its answers have not come.
          await new Promise(setImmediate);
          await new Promise(setImmediate);
          client.redis.disconnect();
          await Promise.allSettled(sent);
        };
        const watch = async (): Promise<void> => {
          const leaving = new Set<string>();
          while (running) {
            const endedBefore = [...ended];
            const rooms = await expectConsistent(under.redis, scheduler, settings);
            for (const id of endedBefore) expect(rooms.has(id)).toBe(false);
            for (const [id, room] of rooms) {
              const status = roomStatuses[room.status]!;
              if (leaving.has(id)) expect(['terminating', 'terminated']).toContain(status);
              if (status === 'terminating' || status === 'terminated') leaving.add(id);
            }
          }
        };

        const acting = Promise.all([
          ...scripted.map((actions, client) => run(clients[client]!, actions)),
          runUntilCutOff(unfinished),
        ]);
        await Promise.all([acting.finally(() => (running = false)), watch()]);
        await expectConsistent(under.redis, scheduler, settings);
        expect(await under.store.recountFleet(scheduler)).toEqual({ repaired: 0 });
        const { rooms } = await under.store.readFleet(scheduler);
        expect(rooms.filter((room) => ended.has(room.id))).toEqual([]);
      }),
      { seed, numRuns: runs.concurrent, interruptAfterTimeLimit: 40_000 },
    );
  }, 120_000);
});

// What must be true ------------------------------------------------------------------------------------------------------

/** What a ping or an instance's news makes of a room, none of whose allocations ends by its time. */
function expectedAfter(
  room: Room,
  action: ActionOf<typeof ping> | ActionOf<typeof instance>,
  { maxMatches }: StatusSettings,
): Partial<Room> {
  let { pingStatus, runningMatches, allocations } = room;
  let instanceStatus = room.instance.status;
  if (action.do === 'instance') {
    instanceStatus = action.status;
  } else {
    pingStatus = action.status;
    runningMatches = action.status === 'occupied' && action.runningMatches === 0 ? 1 : action.runningMatches;
    const byWord = Number(action.status === 'occupied');
    allocations = allocations.slice(maxMatches === 1 ? byWord : Math.max(0, runningMatches - room.runningMatches));
  }
  const next = nextRoomStatus({
    current: room.status,
    ping: pingStatus,
    instance: instanceStatus,
    matches: matchLoad(runningMatches, maxMatches),
    hasOpenAllocation: allocations.length > 0,
  });
  const status = next === 'refused' ? room.status : next;
  const isOver = status === 'terminating' || status === 'terminated';
  return { status, pingStatus, runningMatches, allocations: isOver ? [] : allocations };
}

/** Nothing is `ready` again that was `terminating`; a terminated room stays. */
function expectSticky(outcome: unknown): void {
  const change = outcome as PingOutcome | InstanceOutcome | undefined;
  if (change?.outcome !== 'applied') return;
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

/** In one moment everything that is stored agrees. Answers the records. */
async function expectConsistent(
  redis: Redis,
  scheduler: string,
  settings: StatusSettings,
): Promise<Map<string, RoomRecord>> {
  const keys = schedulerKeys(scheduler);
  const replies = await redis
    .multi()
    .hgetall(keys.rooms)
    .hgetall(keys.counts)
    .hgetall(keys.hosts)
    .zrange(keys.ids, 0, -1)
    .zrange(keys.byStatus, 0, -1, 'WITHSCORES')
    .sismember(keys.schedulers, scheduler)
    .hkeys(keys.metadata)
    .hkeys(keys.transitions)
    .zrange(keys.ended, 0, -1)
    .zrange(keys.resyncs, 0, -1)
    .hgetall(keys.allocations)
    .zrange(keys.allocationTimes, 0, -1, 'WITHSCORES')
    .exec();
  const [
    texts,
    counts,
    usedHosts,
    registry,
    byStatus,
    isListed,
    withMetadata,
    withTransitions,
    ended,
    resyncs,
    allocations,
    allocationTimes,
  ] = replies!.map(([, reply]) => reply) as [
    Record<string, string>,
    Record<string, string>,
    Record<string, string>,
    string[],
    string[],
    number,
    string[],
    string[],
    string[],
    string[],
    Record<string, string>,
    string[],
  ];
  const rooms = new Map(Object.entries(texts).map(([id, text]) => [id, JSON.parse(text) as RoomRecord]));
  const counted = [...rooms.values()].filter((room) => !room.validation);

  expect(numbersOf(counts)).toEqual(tallyRooms(counted));
  expect(numbersOf(usedHosts)).toEqual(tallyHosts(counted));
  expect(registry).toEqual([...rooms.keys()].sort());
  const scores = counted.map((room): [string, number] => [room.id, room.status * 1e13 + room.statusSinceMs]);
  expect(scoresOf(byStatus)).toEqual(new Map(scores));
  expect(isListed === 1).toBe(rooms.size > 0);
  expect([...withTransitions].sort()).toEqual(registry);
  for (const id of withMetadata) expect(registry).toContain(id);
  for (const id of ended) expect(registry).not.toContain(id);
  for (const member of resyncs.filter((each) => each.startsWith(`${scheduler}/`))) {
    expect(registry).toContain(member.slice(scheduler.length + 1));
  }
  for (const room of rooms.values()) {
    expect(pingStatuses[room.pingStatus]).toBeDefined();
    expectFitting(room, settings);
  }
  const times = [...scoresOf(allocationTimes)].filter(([member]) => member.endsWith(`/${scheduler}`));
  const timeById = new Map(times.map(([member, timeMs]) => [member.slice(0, member.indexOf('/')), timeMs]));
  expectAllocations(rooms, allocations, timeById);
  return rooms;
}

/** What a room may be with what is given of it. */
function expectFitting(room: RoomRecord, { maxMatches }: StatusSettings): void {
  const status = roomStatuses[room.status]!;
  const open = room.allocations ?? [];
  if (room.allocations !== undefined) {
    expect(open.length).toBeGreaterThan(0);
    // A room may report more matches than it has slots; then nothing of it is given. One for one match counts by its word.
    const reported = maxMatches === 1 ? 0 : room.runningMatches;
    expect(reported + open.length).toBeLessThanOrEqual(maxMatches);
    expect(room.validation).toBe(false);
    expect(['terminating', 'terminated']).not.toContain(status);
    if (room.drainingSinceMs !== undefined) {
      for (const { at } of open) expect(at).toBeLessThanOrEqual(room.drainingSinceMs);
    }
    if (maxMatches === 1) expect(status).not.toBe('ready');
  }
  if (status === 'allocated') expect([maxMatches, open.length]).toEqual([1, 1]);
}

/** Records, times, keys and rooms tell the same of every allocation. */
function expectAllocations(
  rooms: Map<string, RoomRecord>,
  stored: Record<string, string>,
  timeById: Map<string, number>,
): void {
  const records = new Map<string, AllocationRecord>();
  for (const [field, text] of Object.entries(stored)) {
    if (field.startsWith('a:')) records.set(field.slice(2), JSON.parse(text) as AllocationRecord);
  }
  const openIn = new Map<string, { room: string; exp?: number }>();
  for (const room of rooms.values()) {
    for (const { id, exp } of room.allocations ?? []) {
      expect(openIn.has(id)).toBe(false);
      openIn.set(id, { room: room.id, ...(exp === undefined ? {} : { exp }) });
    }
  }
  for (const [id, open] of openIn) {
    const record = records.get(id);
    expect([id, record?.room]).toEqual([id, open.room]);
    expect([id, record?.state]).toEqual([id, open.exp === undefined ? 'confirmed' : 'pending']);
    expect([id, record?.exp, timeById.get(id)]).toEqual([id, open.exp, open.exp]);
  }
  for (const [id, record] of records) {
    // A pending one is open. A confirmed one is, until the room reported it: from then on it is only remembered for a time.
    if (record.state === 'pending') expect([id, openIn.has(id)]).toEqual([id, true]);
    else if (record.state === 'released') expect([id, openIn.has(id)]).toEqual([id, false]);
    if (record.state !== 'pending') expect([id, timeById.has(id)]).toEqual([id, !openIn.has(id)]);
  }
  for (const id of timeById.keys()) expect(records.has(id)).toBe(true);
  for (const [field, id] of Object.entries(stored)) {
    if (!field.startsWith('k:')) continue;
    expect([field, records.get(id)?.key]).toEqual([field, field.slice(2)]);
    expect(records.get(id)?.state).not.toBe('released');
  }
}

const withoutNoughts = (tally: Record<string, number>) =>
  Object.fromEntries(Object.entries(tally).filter(([, amount]) => amount !== 0));

const numbersOf = (hash: Record<string, string>) =>
  withoutNoughts(Object.fromEntries(Object.entries(hash).map(([field, amount]) => [field, Number(amount)])));

function tallyRooms(rooms: RoomRecord[]): Record<string, number> {
  const tally: Record<string, number> = {};
  const add = (field: string, amount: number) => (tally[field] = (tally[field] ?? 0) + amount);
  for (const room of rooms) {
    add(`r${room.status}`, 1);
    add(`i${room.instanceStatus}`, 1);
    add('m', room.runningMatches);
  }
  return withoutNoughts(tally);
}

function tallyHosts(rooms: RoomRecord[]): Record<string, number> {
  const tally: Record<string, number> = {};
  for (const { status, runningMatches, allocations = [], host } of rooms) {
    const open = allocations.map(({ id, at }) => ({ id, allocatedAtMs: at, expiresAtMs: null }));
    const isUsed = hasMatch({ status: roomStatuses[status]!, runningMatches, allocations: open });
    if (isUsed && host !== undefined) tally[host] = (tally[host] ?? 0) + 1;
  }
  return tally;
}

/** A sorted set with its scores. */
function scoresOf(answer: string[]): Map<string, number> {
  return new Map(answer.flatMap((member, place) => (place % 2 === 0 ? [[member, Number(answer[place + 1])]] : [])));
}
