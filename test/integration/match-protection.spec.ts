import { Registry } from 'prom-client';
import { PrometheusMetrics } from '../../src/adapters/prometheus/prometheus-metrics';
import { RedisRoomAllocationStore } from '../../src/adapters/redis/redis-room-allocation-store';
import { RedisRoomChanges } from '../../src/adapters/redis/redis-room-changes';
import { RedisRoomStore } from '../../src/adapters/redis/redis-room-store';
import { DomainError } from '../../src/domain/errors';
import type { Instance } from '../../src/domain/room/room';
import { SchedulerSettingsCache } from '../../src/features/schedulers/scheduler-settings';
import { MatchProtection, type MatchProtectionOptions } from '../../src/features/watching/match-protection';
import type { AllocationOrder } from '../../src/ports/room-allocation-store';
import type { RoomChanges } from '../../src/ports/room-changes';
import type { Runtime } from '../../src/ports/runtime';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { FakeRuntime } from '../support/fake-runtime';
import { openPostgres, type PostgresStores, type PostgresUnderTest } from '../support/open-postgres';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';
import { RecordedLog } from '../support/recorded-log';

const singleMatch = { maxMatches: 1 };
const severalMatches = { maxMatches: 3 };

interface Protector {
  runtime: FakeRuntime;
  log: RecordedLog;
  registry: Registry;
  stop(): Promise<void>;
}

let postgres: PostgresUnderTest;
let another: PostgresStores;
let runtime: FakeRuntime;
let redis: RedisRoomStoreUnderTest;
let rooms: RedisRoomStore;
let protectors: Protector[] = [];
let owners = 0;

beforeAll(async () => {
  postgres = await openPostgres();
  another = await postgres.another();
  redis = await openRedisRoomStore();
});
afterAll(() => Promise.all([postgres?.close(), redis?.close()]));
beforeEach(async () => {
  await postgres.clear();
  await redis.loseEverything();
  runtime = new FakeRuntime();
  rooms = redis.store;
  await postgres.schedulers.createScheduler('arena', aSchedulerDefinition());
  await runtime.createScheduler('arena', 'operation');
  await rooms.markSynced();
});
afterEach(async () => {
  await Promise.all(protectors.map((protector) => protector.stop()));
  protectors = [];
});

function startProtector(
  options: Partial<MatchProtectionOptions> = {},
  {
    stores = postgres,
    runtime: client = runtime.anotherClient(),
    changes,
  }: { stores?: PostgresStores; runtime?: FakeRuntime; changes?: RoomChanges } = {},
): Protector {
  const log = new RecordedLog();
  const registry = new Registry();
  const metrics = new PrometheusMetrics(registry);
  const settings = new SchedulerSettingsCache(stores.schedulers, metrics, log, { pollIntervalMs: 60_000 });
  const news = changes ?? new RedisRoomChanges({ url: redis.url, name: 'test-room-changes' }, log);
  const protection = new MatchProtection(client, rooms, news, settings, stores.leases, metrics, log, {
    owner: `protector-${++owners}`,
    leaseTtlMs: 300,
    callsPerSecond: 1_000,
    releaseDelayMs: 0,
    budgetIntervalMs: 0,
    budgetRefreshMs: 60_000,
    compareIntervalMs: 60_000,
    compareRetryMs: 50,
    adoptionHoldMs: 30_000,
    ...options,
  });
  const stopping = new AbortController();
  const loops = Promise.all([settings.run(stopping.signal), protection.run(stopping.signal)]);
  const protector: Protector = {
    runtime: client,
    log,
    registry,
    stop: async () => {
      stopping.abort();
      await loops;
    },
  };
  protectors.push(protector);
  return protector;
}

const instanceOf = (id: string, changes: Partial<Instance> = {}): Instance => ({
  id,
  scheduler: 'arena',
  version: 'v1.0.0',
  validation: false,
  status: 'ready',
  description: '',
  address: { host: '127.0.0.1', ports: [] },
  createdAtMs: Date.now(),
  generation: 1,
  ...changes,
});

/** A room that runs, as its operation and the watcher leave it. */
async function startRoom(id: string, { validation = false, isProtected = false } = {}): Promise<void> {
  const instance = instanceOf(id, { validation });
  await rooms.createRoom(instance);
  runtime.plant({ ...instance, isProtected });
  await rooms.applyInstance(instance, singleMatch, { adopt: false, authoritative: false });
}

const startRooms = (count: number) =>
  Promise.all(Array.from({ length: count }, (_, index) => startRoom(`room-${index + 1}`)));

async function say(
  room: string,
  status: 'ready' | 'occupied',
  { settings = singleMatch, matches = status === 'occupied' ? 1 : 0 } = {},
): Promise<void> {
  await rooms.applyPing(
    { scheduler: 'arena', room, status, runningMatches: matches, metadata: undefined, listener: null, resync: false },
    settings,
  );
}

/** What a caller asks for who takes any room. */
const wanted: Omit<AllocationOrder, 'id' | 'maxMatches'> = {
  scheduler: 'arena',
  idempotencyKey: null,
  fingerprint: '',
  activeVersion: 'v1.0.0',
  versions: null,
  metadata: {},
  strategy: 'packed',
  ttlMs: 600_000,
  pingTimeoutMs: 600_000,
  adoptionHoldMs: 0,
};

const protectedRooms = async (): Promise<string[]> =>
  (await runtime.listInstances()).filter(({ isProtected }) => isProtected === true).map(({ id }) => id);
const callsOf = ({ runtime: client }: Protector, method: keyof Runtime) =>
  client.calls.filter((call) => call.method === method);
const waiting = async ({ registry }: Protector): Promise<number | undefined> => {
  const gauge = await registry.getSingleMetric('maestro_watcher_match_protection_rooms_waiting')!.get();
  return gauge.values[0]?.value;
};
/** It has compared everything once, and follows the news. */
const begun = ({ registry }: Protector) =>
  eventually(async () => {
    const rounds = await registry.getSingleMetric('maestro_loop_last_finished_timestamp_seconds')!.get();
    expect(rounds.values.map(({ labels }) => labels['loop'])).toContain('match_protection');
  });
const settled = (ids: string[]) =>
  eventually(async () => {
    expect(await protectedRooms()).toEqual(ids);
    expect(runtime.budgetOf('arena')).toBe(ids.length);
  });

describe('the protection of matches', () => {
  it('protects a room when its match begins, releases it when it ends, and keeps the budget with them', async () => {
    await startRooms(2);
    const protector = startProtector();
    await begun(protector);
    await say('room-1', 'ready');
    await say('room-2', 'occupied');
    await settled(['room-2']);
    await say('room-2', 'ready');
    await settled([]);
    expect(callsOf(protector, 'protectInstance').map(({ id }) => id)).toEqual(['room-2', 'room-2']);
    expect(await protector.registry.metrics()).toContain(
      'maestro_watcher_match_protection_changes_total{change="release",outcome="done"} 1',
    );
  });

  it('raises the budget before a room is protected, and lowers it after one was released', async () => {
    await startRooms(3);
    const protector = startProtector();
    await begun(protector);
    for (const status of ['occupied', 'ready'] as const) {
      for (const room of ['room-1', 'room-2', 'room-3']) await say(room, status);
      await settled(status === 'occupied' ? ['room-1', 'room-2', 'room-3'] : []);
    }
    let budget = 0;
    let labelled = 0;
    const isProtected = new Set<string>();
    for (const { method, id, value } of protector.runtime.calls) {
      if (method === 'setDisruptionBudget') budget = value as number;
      if (method === 'protectInstance' && value === true) isProtected.add(id);
      if (method === 'protectInstance' && value === false) isProtected.delete(id);
      labelled = isProtected.size;
      expect(budget).toBeGreaterThanOrEqual(labelled);
    }
    expect([budget, labelled]).toEqual([0, 0]);
  });

  it('protects a room of several matches whose slot is given, though its status stays, and one that is allocated', async () => {
    await startRooms(2);
    await say('room-1', 'ready');
    await say('room-2', 'ready');
    await begun(startProtector());
    const allocations = new RedisRoomAllocationStore(redis.redis);
    const first = await allocations.allocate({ ...wanted, id: 'a-1', maxMatches: 3 });
    const [slot] = first.outcome === 'allocated' ? [first.allocation.room] : [];
    await settled([slot!]);
    expect(await rooms.getRoom('arena', slot!)).toMatchObject({ status: 'ready' });
    await allocations.release('arena', 'a-1');
    await settled([]);
    await allocations.allocate({ ...wanted, id: 'a-2', maxMatches: 1 });
    await eventually(async () => expect(await protectedRooms()).toHaveLength(1));
  });

  it('hears of a match that begins and ends without a change of status', async () => {
    const waits = instanceOf('room-1', { status: 'pending', address: null });
    await rooms.createRoom(waits);
    runtime.plant(waits);
    await rooms.applyInstance(waits, severalMatches, { adopt: false, authoritative: false });
    await begun(startProtector());
    await say('room-1', 'ready', { settings: severalMatches, matches: 2 });
    expect(await rooms.getRoom('arena', 'room-1')).toMatchObject({ status: 'pending', runningMatches: 2 });
    await settled(['room-1']);
    await say('room-1', 'ready', { settings: severalMatches });
    await settled([]);
  });

  it('protects what had a match before it began, and releases what has none any more', async () => {
    await startRooms(3);
    await startRoom('room-4', { isProtected: true });
    await say('room-2', 'occupied');
    await say('room-4', 'ready');
    const protector = startProtector();
    await settled(['room-2']);
    expect(callsOf(protector, 'protectInstance').map(({ id }) => id)).toEqual(['room-2', 'room-4']);
  });

  it('makes few calls for a room whose matches come and go', async () => {
    await startRooms(1);
    const protector = startProtector({ releaseDelayMs: 60_000 });
    await begun(protector);
    for (let flaps = 0; flaps < 100; flaps++) {
      await say('room-1', 'occupied');
      await say('room-1', 'ready');
    }
    await settled(['room-1']);
    expect(callsOf(protector, 'protectInstance')).toHaveLength(1);
  });

  it('does not release a room whose next match begins while its release waits for its turn', async () => {
    await startRoom('room-1', { isProtected: true });
    await startRoom('room-2');
    await say('room-1', 'ready');
    await say('room-2', 'occupied');
    const client = runtime.anotherClient();
    let letGo = (): void => undefined;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    const protectInstance = client.protectInstance.bind(client);
    client.protectInstance = async (...args) => {
      const outcome = await protectInstance(...args);
      await held;
      return outcome;
    };
    const protector = startProtector({}, { runtime: client });
    await eventually(async () => expect(await protectedRooms()).toEqual(['room-1', 'room-2']));
    await say('room-1', 'occupied');
    // What is said later is heard later.
    await say('room-2', 'ready');
    await say('room-2', 'occupied');
    await startRoom('room-3');
    await say('room-3', 'occupied');
    await eventually(async () => expect(await waiting(protector)).toBe(3));
    letGo();
    await settled(['room-1', 'room-2', 'room-3']);
    expect(callsOf(protector, 'protectInstance').filter(({ value }) => value === false)).toEqual([]);
  });

  it('makes no call for a match that ended before its turn came', async () => {
    await startRooms(40);
    // The first call is the budget of a scheduler that is new to it; the next one has its turn after a minute or more.
    const protector = startProtector({ callsPerSecond: 1 / 60 });
    await begun(protector);
    await eventually(() => expect(callsOf(protector, 'setDisruptionBudget')).toHaveLength(1));
    for (let room = 1; room <= 40; room++) await say(`room-${room}`, 'occupied');
    // Some are looked at, and wait for the turn of the next call; the others wait to be looked at.
    await eventually(async () => expect(await waiting(protector)).toBe(40));
    for (let room = 1; room <= 40; room++) await say(`room-${room}`, 'ready');
    await eventually(async () => expect(await waiting(protector)).toBeLessThanOrEqual(8));
    expect(callsOf(protector, 'protectInstance')).toEqual([]);
  });

  it('never makes more calls than its rate lets through, however many rooms change at once', async () => {
    await startRooms(1_000);
    const protector = startProtector({ callsPerSecond: 1 / 60 });
    await begun(protector);
    await eventually(() => expect(callsOf(protector, 'setDisruptionBudget')).toHaveLength(1));
    await Promise.all(Array.from({ length: 1_000 }, (_, index) => say(`room-${index + 1}`, 'occupied')));
    await eventually(async () => expect(await waiting(protector)).toBe(1_000), { timeoutMs: 15_000 });
    expect(callsOf(protector, 'protectInstance')).toEqual([]);
    expect(callsOf(protector, 'setDisruptionBudget')).toHaveLength(1);
  }, 30_000);

  it('protects 1,000 rooms at once with one call each, and a few for the budget', async () => {
    await startRooms(1_000);
    const protector = startProtector({ callsPerSecond: 5_000 });
    await begun(protector);
    const budgets = callsOf(protector, 'setDisruptionBudget').length;
    await Promise.all(Array.from({ length: 1_000 }, (_, index) => say(`room-${index + 1}`, 'occupied')));
    await eventually(async () => expect(await protectedRooms()).toHaveLength(1_000), { timeoutMs: 20_000 });
    expect(callsOf(protector, 'protectInstance')).toHaveLength(1_000);
    expect(runtime.budgetOf('arena')).toBe(1_000);
    expect(callsOf(protector, 'setDisruptionBudget').length - budgets).toBeLessThan(100);
  }, 40_000);

  it('tries again what failed, and waits with the rooms until the budget was raised', async () => {
    await startRooms(2);
    const protector = startProtector({ budgetIntervalMs: 3_600_000 });
    await begun(protector);
    await eventually(() => expect(runtime.budgetOf('arena')).toBe(0));
    runtime.failNext('setDisruptionBudget');
    runtime.failNext('protectInstance');
    await say('room-1', 'occupied');
    await eventually(async () => expect(await protectedRooms()).toEqual(['room-1']));
    expect(
      protector.runtime.calls.filter(({ method }) => method !== 'listInstances').map(({ method }) => method),
    ).toEqual([
      'setDisruptionBudget',
      'setDisruptionBudget',
      'setDisruptionBudget',
      'protectInstance',
      'protectInstance',
    ]);
    expect(await protector.registry.metrics()).toContain(
      'maestro_watcher_match_protection_changes_total{change="protect",outcome="failed"} 1',
    );
  });

  it('protects rooms also where the runtime takes no budget', async () => {
    await startRooms(2);
    const protector = startProtector({ budgetIntervalMs: 3_600_000 });
    await begun(protector);
    await eventually(() => expect(runtime.budgetOf('arena')).toBe(0));
    runtime.failNext('setDisruptionBudget', new DomainError('permission_denied', 'runtime.forbidden', 'no'));
    await say('room-1', 'occupied');
    await say('room-2', 'occupied');
    await eventually(async () => expect(await protectedRooms()).toEqual(['room-1', 'room-2']));
    expect(callsOf(protector, 'setDisruptionBudget')).toHaveLength(2);
    expect(protector.log.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', message: 'the disruption budget of a scheduler cannot be set' }),
    );
  });

  it('forgets a room that is gone', async () => {
    await startRooms(2);
    const protector = startProtector();
    await begun(protector);
    await say('room-1', 'occupied');
    await say('room-2', 'occupied');
    await settled(['room-1', 'room-2']);
    runtime.kill('room-1');
    await rooms.endRoom('arena', 'room-1');
    await settled(['room-2']);
  });

  it('protects rooms of a scheduler that is made while it runs, whatever was protected of it before', async () => {
    const news = new RedisRoomChanges({ url: redis.url, name: 'test-room-changes' }, new RecordedLog());
    let isFollowing = false;
    const changes: RoomChanges = {
      follow: (listener, signal) => {
        const onBegin = () => {
          isFollowing = true;
          listener.onBegin();
        };
        return news.follow({ onBegin, onChanges: (heard) => listener.onChanges(heard) }, signal);
      },
    };
    // So that no comparison finds it before the news do.
    const protector = startProtector({ compareRetryMs: 60_000 }, { changes });
    await begun(protector);
    await eventually(() => expect(isFollowing).toBe(true));
    await postgres.schedulers.createScheduler('castle', aSchedulerDefinition());
    const planted = { scheduler: 'castle', version: 'v1.0.0', validation: false };
    for (const id of ['castle-1', 'castle-2']) {
      await rooms.createRoom({ id, ...planted });
      runtime.plant({ ...instanceOf(id, planted), isProtected: id === 'castle-2' });
      await rooms.applyInstance(instanceOf(id, planted), singleMatch, { adopt: false, authoritative: false });
    }
    for (const id of ['castle-1', 'castle-2']) {
      await rooms.applyPing(
        {
          scheduler: 'castle',
          room: id,
          status: 'occupied',
          runningMatches: 1,
          metadata: undefined,
          listener: null,
          resync: false,
        },
        singleMatch,
      );
    }
    await eventually(async () => expect(await protectedRooms()).toEqual(['castle-1', 'castle-2']));
    expect(
      protector.runtime.calls.find(({ method, id }) => method === 'setDisruptionBudget' && id === 'castle'),
    ).toMatchObject({
      value: 2,
    });
  });

  it('never protects a validation room', async () => {
    await startRoom('room-1', { validation: true });
    await startRoom('room-2', { validation: true, isProtected: true });
    await startRoom('room-3');
    await begun(startProtector());
    await say('room-1', 'occupied');
    await say('room-3', 'occupied');
    await settled(['room-3']);
  });

  it('repairs what somebody else changed at the runtime', async () => {
    await startRooms(2);
    const protector = startProtector({ compareIntervalMs: 50 });
    await begun(protector);
    await say('room-1', 'occupied');
    await settled(['room-1']);
    await runtime.protectInstance('arena', 'room-1', false);
    await runtime.protectInstance('arena', 'room-2', true);
    await runtime.setDisruptionBudget('arena', 0);
    await settled(['room-1']);
  });

  it('sets a budget again that somebody removed, without a comparison, and none that keeps nothing', async () => {
    await startRooms(1);
    await postgres.schedulers.createScheduler('idle', aSchedulerDefinition());
    const protector = startProtector({ budgetRefreshMs: 30 });
    await say('room-1', 'occupied');
    await settled(['room-1']);
    const budgets = () => callsOf(protector, 'setDisruptionBudget').filter(({ id }) => id === 'arena').length;
    const before = budgets();
    await eventually(() => expect(budgets()).toBeGreaterThan(before + 2));
    // It compares at its start, and when the news begin.
    expect(callsOf(protector, 'listInstances').length).toBeLessThanOrEqual(2);
    expect(callsOf(protector, 'setDisruptionBudget').filter(({ id }) => id === 'idle').length).toBeLessThan(2);
  });

  it('releases a room that was found again when its hold is over, without a comparison', async () => {
    await startRoom('room-1', { isProtected: true });
    await redis.loseEverything();
    await rooms.applyInstance(instanceOf('room-1'), singleMatch, { adopt: true, authoritative: true });
    await say('room-1', 'ready');
    await rooms.markSynced();
    const protector = startProtector({ adoptionHoldMs: 1_000 });
    await begun(protector);
    const { adoptedAtMs } = (await rooms.getRoom('arena', 'room-1'))!;
    await settled([]);
    expect((await rooms.readHearing()).nowMs).toBeGreaterThanOrEqual(adoptedAtMs! + 1_000);
    expect(callsOf(protector, 'listInstances').length).toBeLessThanOrEqual(2);
  });

  it('hands over to another process, which finds what was missed', async () => {
    await startRooms(3);
    const [first, second] = [startProtector(), startProtector({}, { stores: another })];
    await eventually(() =>
      expect([first, second].filter(({ runtime: client }) => client.calls.length > 0)).toHaveLength(1),
    );
    const [holder, standby] = first.runtime.calls.length > 0 ? [first, second] : [second, first];
    await say('room-1', 'occupied');
    await say('room-2', 'occupied');
    await settled(['room-1', 'room-2']);
    expect(standby.runtime.calls).toEqual([]);
    // Nothing that it does has an effect any more, and its lease runs out.
    holder.runtime.isCutOff = true;
    await say('room-1', 'ready');
    await say('room-3', 'occupied');
    await eventually(() => expect(holder.log.lines.map(({ level }) => level)).toContain('warn'));
    await holder.stop();
    await settled(['room-2', 'room-3']);
    expect(
      callsOf(standby, 'protectInstance')
        .map(({ id }) => id)
        .sort(),
    ).toEqual(['room-1', 'room-3']);
  });

  it('un-protects nothing while the room state is rebuilt after a flush, nor before rooms have said what runs there', async () => {
    await startRooms(3);
    for (const room of ['room-1', 'room-2']) await say(room, 'occupied');
    const protector = startProtector({ compareIntervalMs: 50 });
    await settled(['room-1', 'room-2']);
    const before = protector.runtime.calls.length;
    const asked = jest.spyOn(rooms, 'isSynced');
    await redis.loseEverything();
    const compared = () => asked.mock.calls.length;
    const twoMore = async () => {
      const count = compared();
      await eventually(() => expect(compared()).toBeGreaterThan(count + 1));
    };
    await twoMore();
    const adopt = (id: string) =>
      rooms.applyInstance(instanceOf(id), singleMatch, { adopt: true, authoritative: true });
    await adopt('room-1');
    await twoMore();
    for (const id of ['room-2', 'room-3']) await adopt(id);
    await rooms.markSynced();
    await twoMore();
    // Players may be on their way to a room that says that it is idle just after the flush.
    await say('room-1', 'occupied');
    await say('room-2', 'ready');
    await twoMore();
    const changes = protector.runtime.calls.slice(before).filter(({ method }) => method === 'protectInstance');
    expect(changes).toEqual([]);
    expect(await protectedRooms()).toEqual(['room-1', 'room-2']);
    await redis.passTime(30_000);
    await settled(['room-1']);
    asked.mockRestore();
  });

  it('lists nothing while the room state is away or is rebuilt, and compares when it is there', async () => {
    await startRooms(1);
    await say('room-1', 'occupied');
    const isSynced = jest.spyOn(rooms, 'isSynced');
    const away = new DomainError('unavailable', 'room_store.unavailable', 'Redis is away');
    let answer: () => Promise<boolean> = () => Promise.reject(away);
    isSynced.mockImplementation(() => answer());
    try {
      const protector = startProtector({ compareRetryMs: 5 });
      await eventually(() => expect(isSynced.mock.calls.length).toBeGreaterThan(2));
      answer = () => Promise.resolve(false);
      const before = isSynced.mock.calls.length;
      await eventually(() => expect(isSynced.mock.calls.length).toBeGreaterThan(before + 2));
      expect(callsOf(protector, 'listInstances')).toEqual([]);
      answer = () => Promise.resolve(true);
      await settled(['room-1']);
    } finally {
      isSynced.mockRestore();
    }
  });

  it('looks again only at a scheduler that could not be compared', async () => {
    await startRooms(1);
    await postgres.schedulers.createScheduler('castle', aSchedulerDefinition());
    runtime.plant(instanceOf('castle-1', { scheduler: 'castle' }));
    const readFleet = jest.spyOn(rooms, 'readFleet');
    let failures = 0;
    const read = RedisRoomStore.prototype.readFleet.bind(rooms);
    readFleet.mockImplementation((scheduler) =>
      scheduler === 'castle' && failures++ < 2
        ? Promise.reject(new DomainError('unavailable', 'room_store.unavailable', 'a part is away'))
        : read(scheduler),
    );
    try {
      const changes: RoomChanges = {
        follow: (_, signal) => new Promise((done) => signal.addEventListener('abort', () => done())),
      };
      const protector = startProtector({ compareRetryMs: 5 }, { changes });
      await begun(protector);
      expect(callsOf(protector, 'listInstances').map(({ id }) => id)).toEqual(['', 'castle', 'castle']);
    } finally {
      readFleet.mockRestore();
    }
  });

  it('makes one list for many sessions of the news that begin close together', async () => {
    await startRooms(1);
    let begin = (): void => undefined;
    const changes: RoomChanges = {
      follow: (listener, signal) => {
        begin = () => listener.onBegin();
        return new Promise((done) => signal.addEventListener('abort', () => done()));
      },
    };
    const looks = jest.spyOn(PrometheusMetrics.prototype, 'protectionsWaiting');
    try {
      const protector = startProtector({ compareRetryMs: 3_600_000 }, { changes });
      await begun(protector);
      for (let sessions = 0; sessions < 10; sessions++) {
        const before = looks.mock.calls.length;
        begin();
        await eventually(() => expect(looks.mock.calls.length).toBeGreaterThan(before));
      }
      expect(callsOf(protector, 'listInstances')).toHaveLength(1);
    } finally {
      looks.mockRestore();
    }
  });

  it('goes on after Redis was away, and finds what it did not hear', async () => {
    await startRooms(2);
    const protector = startProtector();
    await begun(protector);
    await redis.redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await say('room-1', 'occupied');
    await settled(['room-1']);
  });

  it('does nothing, and opens no connection, where the runtime moves nothing', async () => {
    await startRooms(1);
    await say('room-1', 'occupied');
    const client = runtime.anotherClient();
    Object.assign(client, { movesInstances: false });
    let hasFollowed = false;
    const changes: RoomChanges = { follow: async () => void (hasFollowed = true) };
    const protector = startProtector({}, { runtime: client, changes });
    const other = startProtector();
    await settled(['room-1']);
    await other.stop();
    await protector.stop();
    expect(client.calls).toEqual([]);
    expect(hasFollowed).toBe(false);
  });
});
