import { RedisHealthRecords } from '../../src/adapters/redis/redis-health-records';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { FakeRuntime } from '../support/fake-runtime';
import { fillFleet } from '../support/fill-fleet';
import { openFleetWorker, type FleetWorker } from '../support/fleet-worker';
import { openPostgres, type PostgresUnderTest } from '../support/open-postgres';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';
import { RecordedLog } from '../support/recorded-log';

const name = 'arena';
const size = 10_000;
/** `architecture.md` 9. */
const budget = 50;

let postgres: PostgresUnderTest;
let redis: RedisRoomStoreUnderTest;
let worker: FleetWorker;

beforeAll(async () => {
  postgres = await openPostgres();
  redis = await openRedisRoomStore(undefined, 1_000);
}, 60_000);
afterAll(() => Promise.all([postgres?.close(), redis?.close()]));

/** Whatever is sent: a pipeline of several commands would be fewer trips. */
async function roundTripsOf(work: () => Promise<unknown>): Promise<number> {
  const send = jest.spyOn(redis.redis, 'sendCommand');
  try {
    await work();
    return send.mock.calls.length;
  } finally {
    send.mockRestore();
  }
}

const fleetOf = (version: (place: number) => string) => fillFleet(redis, { scheduler: name, size, version });

beforeEach(async () => {
  await postgres.clear();
  const records = new RedisHealthRecords(redis.redis, new RecordedLog());
  const runtime = new FakeRuntime();
  worker = openFleetWorker({ stores: postgres, rooms: redis.store, hostPorts: redis.hostPorts, runtime, records });
});

describe('a cycle over 10,000 rooms', () => {
  const created = async (roomsReplicas: number): Promise<void> => {
    await worker.schedulers.createScheduler(name, aSchedulerDefinition({ roomsReplicas }));
    await worker.runner.drain(name);
  };
  const look = () => worker.healthCycle.look(name);

  it('that finds nothing to do costs few round trips', async () => {
    await created(size);
    await fleetOf(() => 'v1.0.0');
    expect(await roundTripsOf(look)).toBeLessThan(budget / 2);
    expect(await postgres.operations.findOpen(name, ['health_controller'])).toBeNull();
  }, 120_000);

  it('that scales down costs fewer than the budget, its claims included', async () => {
    await created(size / 2);
    await fleetOf(() => 'v1.0.0');
    await look();
    const trips = await roundTripsOf(() => worker.runner.drain(name));
    expect(trips).toBeLessThan(budget);
    expect((await worker.records.read(name))!.actions).toMatchObject([{ action: 'scale_down', amount: 50 }]);
  }, 120_000);

  it('in a rollout costs no more, and one read of each version', async () => {
    await created(size);
    const definition = aSchedulerDefinition({ roomsReplicas: size, labels: { team: 'blue' } });
    await postgres.schedulers.addVersion(name, { version: 'v2.0.0', definition, rollbackVersion: 'v1.0.0' });
    await postgres.schedulers.activateVersion(name, 'v2.0.0');
    await fleetOf((place) => (place % 2 === 0 ? 'v1.0.0' : 'v2.0.0'));
    const getScheduler = jest.spyOn(postgres.schedulers, 'getScheduler');
    for (let looks = 0; looks < 2; looks++) {
      expect(await roundTripsOf(look)).toBeLessThan(budget / 2);
      expect(await worker.records.read(name)).toMatchObject({ rollout: { outdated: size / 2 } });
      expect(await postgres.operations.cancelPending(name, 'not now')).toBe(1);
    }
    expect(getScheduler.mock.calls.filter(([, version]) => version !== undefined)).toEqual([[name, 'v1.0.0']]);
    getScheduler.mockRestore();
  }, 120_000);
});
