import { FakeRuntime } from '../support/fake-runtime';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { hearFleet, historyOf, openFleetWorker, roomLimits, type FleetWorker } from '../support/fleet-worker';
import { openPostgres, type PostgresUnderTest } from '../support/open-postgres';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';

const name = 'arena';
const wanted = 10;
const stepMs = 4_000;
/** Not all of it: a busy machine takes time of its own. */
const beforeTheFirstIsRemovedMs = roomLimits.initializationTimeoutMs - 40_000;
const noImage = 'ErrImagePull: manifest for arena:1 not found';

let postgres: PostgresUnderTest;
let redis: RedisRoomStoreUnderTest;
let runtime: FakeRuntime;
let worker: FleetWorker;

beforeAll(async () => {
  postgres = await openPostgres();
  redis = await openRedisRoomStore();
}, 60_000);
afterAll(() => Promise.all([postgres?.close(), redis?.close()]));
beforeEach(async () => {
  await postgres.clear();
  await redis.loseEverything();
  runtime = new FakeRuntime({ endsAtOnce: true });
  await redis.store.markSynced();
  worker = openFleetWorker({ stores: postgres, rooms: redis.store, hostPorts: redis.hostPorts, runtime });
  const definition = aSchedulerDefinition({ roomsReplicas: wanted });
  // Without ports, which are not what this is about.
  const containers = definition.spec.containers.map((container) => ({ ...container, ports: [] }));
  await worker.schedulers.createScheduler(name, { ...definition, spec: { ...definition.spec, containers } });
  await worker.runner.drain(name);
});

/** Time goes by in steps: in each the scheduler is looked at, and instances that begin become what `begin` makes of them. */
async function pass(ms: number, begin: (id: string) => void): Promise<{ most: number; made: number }> {
  const madeBefore = made();
  let most = 0;
  for (let passedMs = 0; passedMs < ms; passedMs += stepMs) {
    await redis.store.markHearing(1_000_000_000);
    await worker.healthCycle.look(name);
    await worker.runner.drain(name);
    for (const { id, status } of await runtime.listInstances(name)) if (status === 'pending') begin(id);
    most = Math.max(most, (await hearFleet(redis.store, runtime, name)).length);
    await redis.passTime(stepMs);
  }
  return { most, made: made() - madeBefore };
}

const made = () => runtime.calls.filter(({ method }) => method === 'createInstance').length;
const fail = (id: string) => runtime.report(id, { status: 'error', description: noImage });
const held = async () =>
  (await worker.registry.metrics()).split('\n').find((line) => line.startsWith('maestro_worker_start_back_off{'));

/** What clients see: of one, in the list, with its rooms. */
async function shownStates(): Promise<string[]> {
  const [listed] = await worker.schedulers.listSchedulers({});
  const [described] = await worker.schedulers.describeFleets();
  return [await worker.schedulers.getScheduler(name), listed!, described!.scheduler].map(({ state }) => state);
}

async function histories(): Promise<string[]> {
  const listing = { stage: 'final', order: 'asc', page: 1, perPage: 100 } as const;
  const { operations } = await postgres.operations.list(name, listing);
  const healing = operations.filter(({ definition }) => definition === 'health_controller');
  return (await Promise.all(healing.map((operation) => historyOf(postgres, operation)))).flat();
}

describe('a fleet whose image cannot be pulled', () => {
  it('starts each room and one more for it, then one where a failed one was removed, and says why', async () => {
    const beginning = await pass(beforeTheFirstIsRemovedMs, fail);
    expect(beginning).toEqual({ most: 2 * wanted, made: 2 * wanted });
    expect(await held()).toMatch(/ 1$/);
    const blocks = worker.log.lines.filter(({ fields }) => fields['blocked_by'] === 'breaker');
    expect(blocks.at(-1)?.message).toContain(
      `because: ${noImage}; 20 failed rooms keep their places until they are removed`,
    );
    // Though each look found the same.
    expect(blocks.length).toBeGreaterThan(5);
    expect(blocks.filter(({ level }) => level === 'warn')).toHaveLength(1);
    expect(await shownStates()).toEqual(['on-error', 'on-error', 'on-error']);

    const after = await pass(1.5 * roomLimits.initializationTimeoutMs, fail);
    expect(after.most).toBeLessThanOrEqual(2 * wanted);
    expect(after.made).toBeLessThanOrEqual(2 * wanted);
    expect(after.made).toBeGreaterThan(0);
    expect(await histories()).toContainEqual(
      expect.stringMatching(/^\d+ rooms failed or ended right after their start, the last one because: ErrImagePull: /),
    );
  }, 120_000);

  it('is whole again when its runtime has got the image meanwhile, and starts no room more', async () => {
    await pass(30_000, fail);
    for (const { id } of await runtime.listInstances(name)) {
      runtime.report(id, { status: 'ready', description: '', address: { host: '127.0.0.1', ports: [] } });
    }
    await hearFleet(redis.store, runtime, name);
    expect(await shownStates()).toEqual(['in-sync', 'in-sync', 'in-sync']);
    expect((await pass(30_000, fail)).made).toBe(0);
    const told = worker.log.lines.filter(
      ({ fields, level }) => fields['blocked_by'] === 'breaker' && level !== 'debug',
    );
    expect(told.map(({ level }) => level)).toEqual(['warn', 'info']);
    expect(await runtime.listInstances(name)).toHaveLength(wanted);
    expect(await held()).toMatch(/ 0$/);
  }, 120_000);

  it('is slowed just so when its rooms first waited long for a machine', async () => {
    const waiting: string[] = [];
    await pass(80_000, (id) => waiting.push(id));
    expect(made()).toBe(wanted);
    expect((await pass(40_000, fail)).made).toBe(wanted);
    expect(await held()).toMatch(/ 1$/);
  }, 120_000);
});

it('a fleet of whose rooms all but one end at once backs off in the metrics also while the next ones are tried', async () => {
  const seen: (string | undefined)[] = [];
  let up: string | null = null;
  const end = (id: string): void => {
    up ??= id;
    if (up === id) runtime.markReady(id);
    else runtime.kill(id, 'exited with code 1');
  };
  await pass(20_000, end);
  for (let look = 0; look < 30; look++) {
    await pass(2 * stepMs, end);
    seen.push((await held())?.slice(-1));
  }
  expect(new Set(seen)).toEqual(new Set(['1']));
  // Held for ever it would be no news.
  expect(made()).toBeGreaterThan(4 * wanted);
}, 120_000);

it('rooms that crash after they came up are slowed as well, and no more of them stand than twice the fleet', async () => {
  const { most } = await pass(beforeTheFirstIsRemovedMs, (id) => {
    runtime.markReady(id);
    runtime.report(id, { status: 'error', description: 'PodFailed: container "room" ended with code 3' });
  });
  expect(most).toBe(2 * wanted);
}, 120_000);

it('a fleet whose rooms keep crashing is tried anew when another version becomes active, which may be the cure', async () => {
  const crash = (id: string): void => runtime.kill(id, 'exited with code 1');
  while ((await pass(4 * stepMs, crash)).made > 0);
  const { definition } = (await postgres.schedulers.getScheduler(name))!;
  const containers = definition.spec.containers.map((container) => ({ ...container, image: 'arena:2' }));
  const cure = { ...definition, spec: { ...definition.spec, containers } };
  await postgres.schedulers.addVersion(name, { version: 'v2.0.0', definition: cure, rollbackVersion: 'v1.0.0' });
  await postgres.schedulers.activateVersion(name, 'v2.0.0');
  await pass(2 * stepMs, (id) => runtime.markReady(id));
  const { rooms } = await redis.store.readFleet(name);
  expect(rooms.filter(({ version, status }) => version === 'v2.0.0' && status === 'ready')).toHaveLength(wanted);
  expect(await held()).toMatch(/ 0$/);
}, 120_000);
