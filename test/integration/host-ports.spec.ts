import { Registry } from 'prom-client';
import { PrometheusMetrics } from '../../src/adapters/prometheus/prometheus-metrics';
import type { Operation, OperationDefinition, OperationInputs } from '../../src/domain/operation/operation';
import type { Room } from '../../src/domain/room/room';
import { SchedulerSettingsCache } from '../../src/features/schedulers/scheduler-settings';
import { HostPortDrift } from '../../src/features/watching/host-port-drift';
import { HealthRings } from '../../src/features/rooms/health-rings';
import { InstanceWatch } from '../../src/features/watching/instance-watch';
import { creationDeadlineMs } from '../../src/features/watching/reconciliation';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { FakeHealthRecords } from '../support/fake-health-records';
import { FakeRuntime, type FakeRuntimeOptions } from '../support/fake-runtime';
import {
  hearFleet,
  historyOf,
  noPing,
  openFleetWorker,
  statusSettings,
  type FleetWorker,
} from '../support/fleet-worker';
import { openPostgres, type PostgresUnderTest } from '../support/open-postgres';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';
import { readHostPortCounts } from '../support/open-redis-host-port-reservations';
import { RecordedLog } from '../support/recorded-log';
import { RecordedWakeUps } from '../support/recorded-wake-ups';

const unplaced = {
  placementProblem: 'host_ports' as const,
  description: 'Unschedulable: no node has its host ports free: 0/3 nodes are available',
};

let postgres: PostgresUnderTest;
let redis: RedisRoomStoreUnderTest;
let runtime: FakeRuntime;
let worker: FleetWorker;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  [postgres, redis] = await Promise.all([openPostgres(), openRedisRoomStore('auto')]);
});
afterAll(() => Promise.all([postgres?.close(), redis?.close()]));
beforeEach(async () => {
  await postgres.clear();
  await redis.loseEverything();
  await redis.store.markSynced();
  await redis.store.markHearing(3_600_000);
  useHosts(1);
});
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

/** A cluster of so many machines, and a worker that starts rooms there. */
function useHosts(hosts: FakeRuntimeOptions['hosts']): void {
  runtime = new FakeRuntime({ hosts, endsAtOnce: true });
  worker = openFleetWorker({ stores: postgres, rooms: redis.store, hostPorts: redis.hostPorts, runtime });
}

async function create(name: string, start: number, end: number, roomsReplicas = 3): Promise<void> {
  await worker.schedulers.createScheduler(name, aSchedulerDefinition({ portRange: { start, end }, roomsReplicas }));
  await worker.runner.drain(name);
}

async function run<D extends OperationDefinition>(
  scheduler: string,
  definition: D,
  input: OperationInputs[D],
): Promise<Operation> {
  const operation = await worker.operations.enqueue({ scheduler, definition, input, actor: 'api' });
  await worker.runner.drain(scheduler);
  return (await postgres.operations.get(scheduler, operation!.id))!.operation;
}

const add = (scheduler: string, amount: number) => run(scheduler, 'add_rooms', { amount });
const history = (operation: Operation) => historyOf(postgres, operation);
const roomsOf = async (scheduler: string): Promise<Room[]> => (await redis.store.readFleet(scheduler)).rooms;
const counts = () => readHostPortCounts(redis.redis);
const portsInUse = async (): Promise<number[]> =>
  (await runtime.listInstances()).flatMap(({ hostPorts }) => hostPorts.map(({ port }) => port)).sort((a, b) => a - b);

function startWatcher(): { client: FakeRuntime; log: RecordedLog; wakeUps: RecordedWakeUps; registry: Registry } {
  const [log, registry, wakeUps] = [new RecordedLog(), new Registry(), new RecordedWakeUps()];
  const metrics = new PrometheusMetrics(registry);
  const settings = new SchedulerSettingsCache(postgres.schedulers, metrics, log, { pollIntervalMs: 60_000 });
  const client = runtime.anotherClient();
  const watch = new InstanceWatch(
    client,
    redis.store,
    redis.hostPorts,
    settings,
    postgres.operations,
    wakeUps,
    new HealthRings(wakeUps, settings, new FakeHealthRecords(), { intervalMs: 10 }),
    postgres.leases,
    metrics,
    log,
    {
      owner: 'watcher',
      leaseTtlMs: 300,
      reconcileIntervalMs: 60_000,
      doubtIntervalMs: 30,
      syncCheckIntervalMs: 20,
      strayInstanceAgeMs: 60_000,
      creationDeadlineMs,
      hostPortPatienceMs: 60,
    },
  );
  const stopping = new AbortController();
  const loops = Promise.all([settings.run(stopping.signal), watch.run(stopping.signal)]);
  stops.push(async () => {
    stopping.abort();
    await loops;
  });
  return { client, log, wakeUps, registry };
}

/** The watcher has compared everything. */
async function watched(): Promise<ReturnType<typeof startWatcher>> {
  const watcher = startWatcher();
  await eventually(() => expect(watcher.wakeUps.rings.map(({ kind }) => kind)).toContain('health'));
  return watcher;
}

describe('a range with fewer ports than rooms', () => {
  it('is said in the history, and the other rooms of the order start', async () => {
    await create('arena', 20_000, 20_002);
    const operation = await add('arena', 4);
    expect(operation.status).toBe('finished');
    expect(await history(operation)).toEqual([
      'Created',
      'Starting operation',
      'error adding room: Host port range 20000-20002 has no UDP port left for port "client" of container "room": each of its 3 numbers is taken (a number can be had once, because rooms run on 1 machine); widen the range, run fewer rooms',
      'added 3 rooms',
      'Operation finished',
    ]);
    expect(await portsInUse()).toEqual([20_000, 20_001, 20_002]);
    expect(await roomsOf('arena')).toHaveLength(3);
    expect((await redis.store.readFleet('arena')).earlyEnds.lastReason).toContain('has no UDP port left');
  });

  it('has as many rooms as ports on each machine', async () => {
    useHosts(3);
    await create('arena', 20_000, 20_001);
    const operation = await add('arena', 7);
    expect(await history(operation)).toContain('added 6 rooms');
    expect(await portsInUse()).toEqual([20_000, 20_000, 20_000, 20_001, 20_001, 20_001]);
    expect((await history(operation)).join()).toContain('can be had 3 times, because rooms run on 3 machines');
  });

  it('gives the ports of rooms that ended to others', async () => {
    await create('arena', 20_000, 20_001);
    await add('arena', 2);
    await watched();
    const [first, second] = (await runtime.listInstances()).map(({ id }) => id);
    runtime.kill(first!);
    await eventually(async () => expect(Object.keys(await counts())).toHaveLength(1));
    await run('arena', 'remove_rooms', { amount: 1, roomIds: [second!], reason: 'deleted_by_name' });
    await eventually(async () => expect(await counts()).toEqual({}));
    expect(await history(await add('arena', 2))).toContain('added 2 rooms');
    expect(await portsInUse()).toEqual([20_000, 20_001]);
  });

  it('keeps nothing for rooms that could not start', async () => {
    await create('arena', 20_000, 20_001);
    for (let count = 0; count < 2; count++) runtime.failNext('createInstance');
    runtime.takePort('udp', 20_001);
    await add('arena', 2);
    // While the runtime is away rooms keep what they have, and so they start with it.
    await eventually(async () => {
      await worker.runner.drain('arena');
      expect(await portsInUse()).toEqual([20_000]);
    });
    expect(await counts()).toEqual({ 'UDP/20000': 1 });
  });

  it('is that of every scheduler whose range overlaps', async () => {
    // It would run them side by side, and says that there is one machine: so only the reservations keep them apart.
    runtime = Object.assign(new FakeRuntime({ hosts: 9, endsAtOnce: true }), { countHosts: async () => 1 });
    worker = openFleetWorker({ stores: postgres, rooms: redis.store, hostPorts: redis.hostPorts, runtime });
    await create('arena', 20_000, 20_005);
    await create('other', 20_000, 20_005);
    await Promise.all([add('arena', 3), add('other', 3)]);
    expect(await portsInUse()).toEqual([20_000, 20_001, 20_002, 20_003, 20_004, 20_005]);
  });

  it('is not that of a scheduler whose rooms use other machines', async () => {
    useHosts(({ affinity }) => (affinity === 'few' ? 2 : 3));
    await create('wide', 20_000, 20_001);
    expect(await history(await add('wide', 6))).toContain('added 6 rooms');
    const definition = aSchedulerDefinition({
      portRange: { start: 20_000, end: 20_001 },
      spec: { affinity: 'few', toleration: 'games' },
    });
    await worker.schedulers.createScheduler('few', definition);
    await worker.runner.drain('few');
    const lines = await history(await add('few', 5));
    expect(lines).toContain('added 4 rooms');
    expect(lines.join()).toContain(
      'a number can be had 2 times, because rooms with affinity "few" and toleration "games" run on 2 machines',
    );
    expect(await counts()).toEqual({ 'UDP/20000': 5, 'UDP/20001': 5 });
  });

  it('is counted again by machines when the room state was lost', async () => {
    useHosts(() => 2);
    const definition = aSchedulerDefinition({ portRange: { start: 20_000, end: 20_001 }, spec: { affinity: 'few' } });
    await worker.schedulers.createScheduler('few', definition);
    await worker.runner.drain('few');
    await add('few', 2);
    await watched();
    await redis.loseEverything();
    await eventually(async () => expect(await redis.store.isSynced()).toBe(true));
    const pools = (await redis.hostPorts.list()).holders.map(({ pool }) => pool);
    expect(pools).toEqual(Array(2).fill('affinity "few" and no toleration'));
    runtime.plant({
      id: 'few-found',
      scheduler: 'few',
      version: 'v1.0.0',
      validation: false,
      status: 'ready',
      description: '',
      address: { host: '127.0.0.1', ports: [{ name: 'client', protocol: 'UDP', port: 20_001 }] },
      createdAtMs: Date.now(),
      generation: 1,
    });
    await eventually(async () =>
      expect((await redis.hostPorts.list()).holders.map(({ pool }) => pool)).toEqual([...pools, pools[0]]),
    );
  });

  it('is free again when its scheduler was deleted, also what had been refused', async () => {
    await create('arena', 20_000, 20_001);
    await add('arena', 2);
    await redis.hostPorts.refuse((await roomsOf('arena'))[0]!);
    await run('arena', 'delete_scheduler', {});
    expect(await counts()).toEqual({});
  });
});

describe('the watcher', () => {
  it('holds again what runs when the room state was lost, before it counts as complete', async () => {
    await create('arena', 20_000, 20_003);
    await add('arena', 3);
    const before = await counts();
    const { log, registry } = await watched();
    await redis.loseEverything();
    await eventually(async () => expect(await redis.store.isSynced()).toBe(true));
    expect(await counts()).toEqual(before);
    expect(log.lines.map(({ message }) => message)).toContain(
      'reserved host ports differed from what runs, and were brought in line',
    );
    expect(await registry.metrics()).toContain('maestro_watcher_drift_repaired_total{kind="host_ports"} 3');
    expect(await history(await add('arena', 1))).toContain('added 1 room');
    expect(await portsInUse()).toEqual([20_000, 20_001, 20_002, 20_003]);
  });

  it('holds what a room has that it adopts', async () => {
    await create('arena', 20_000, 20_003);
    await watched();
    runtime.plant({
      id: 'arena-found',
      scheduler: 'arena',
      version: 'v1.0.0',
      validation: false,
      status: 'ready',
      description: '',
      address: { host: '127.0.0.1', ports: [{ name: 'client', protocol: 'UDP', port: 20_001 }] },
      createdAtMs: Date.now(),
      generation: 1,
    });
    await eventually(async () => expect(await counts()).toEqual({ 'UDP/20001': 1 }));
  });

  it('gives back what nobody accounts for, but for what is young or was refused', async () => {
    const ports = [{ protocol: 'UDP', port: 20_000 }];
    await redis.hostPorts.hold(['old', 'refused'].map((id) => ({ scheduler: 'arena', id, pool: '', ports })));
    await redis.hostPorts.refuse({ scheduler: 'arena', id: 'refused' });
    await redis.store.createRoom({ id: 'recorded', scheduler: 'arena', version: 'v1.0.0', validation: false });
    await redis.hostPorts.hold([{ scheduler: 'arena', id: 'recorded', pool: '', ports }]);
    await redis.passTime(creationDeadlineMs + 1);
    await redis.hostPorts.hold([{ scheduler: 'arena', id: 'young', pool: '', ports }]);
    const metrics = new PrometheusMetrics(new Registry());
    const drift = new HostPortDrift(redis.hostPorts, redis.store, async () => '', metrics, new RecordedLog(), {
      creationDeadlineMs,
    });
    await drift.repair([], { ended: new Set(), recounts: true });
    expect((await redis.hostPorts.list()).holders.map(({ id }) => id).sort()).toEqual(['recorded', 'refused', 'young']);
    await redis.passTime(300_000);
    await drift.repair([], { ended: new Set(), recounts: false });
    expect((await redis.hostPorts.list()).holders.map(({ id }) => id)).toEqual(['recorded']);
  });

  it('needs a few calls for a list of thousands, and writes nothing that is known', async () => {
    const instances = Array.from({ length: 3_000 }, (_, index) => ({
      scheduler: 'arena',
      id: `room-${index}`,
      hostPorts: [{ protocol: 'UDP', port: 1 + index }],
    }));
    const metrics = new PrometheusMetrics(new Registry());
    const drift = new HostPortDrift(redis.hostPorts, redis.store, async () => '', metrics, new RecordedLog(), {
      creationDeadlineMs,
    });
    const callsOf = async (work: () => Promise<void>): Promise<{ scripts: number; scans: number }> => {
      const read = async () => {
        const stats = await redis.redis.info('commandstats');
        const of = (name: string) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
        return { scripts: of('evalsha') + of('eval'), scans: of('hscan') };
      };
      const before = await read();
      await work();
      const after = await read();
      return { scripts: after.scripts - before.scripts, scans: after.scans - before.scans };
    };
    const options = { ended: new Set<string>(), recounts: false };
    const first = await callsOf(() => drift.repair(instances, options));
    expect(first.scripts).toBeLessThanOrEqual(16);
    expect(Object.keys(await counts())).toHaveLength(3_000);
    const second = await callsOf(() => drift.repair(instances, options));
    expect(second.scripts).toBe(0);
    expect(second.scans).toBeLessThanOrEqual(6);
  });
});

describe('a room whose ports no machine has free', () => {
  const idsOf = async (scheduler: string) => (await runtime.listInstances(scheduler)).map(({ id }) => id);
  const portOf = (id: string): number => runtime.specOf(id).containers[0]!.ports[0]!.hostPort;

  it('is replaced by one with others, which is told in the history, and slows the next starts down', async () => {
    await create('arena', 20_000, 20_001, 1);
    await add('arena', 1);
    const { client, log } = await watched();
    const [first] = await idsOf('arena');
    const taken = portOf(first!);
    runtime.report(first!, unplaced);
    await eventually(async () => expect(await roomsOf('arena')).toEqual([]));
    expect(client.calls).toContainEqual({ method: 'deleteInstance', id: first, reason: 'host_port_taken' });
    expect(log.lines).toContainEqual(
      expect.objectContaining({
        level: 'warn',
        message: 'a room was removed because no machine has its host ports free; the next one is given others',
      }),
    );
    expect((await redis.store.readFleet('arena')).earlyEnds).toMatchObject({
      count: 1,
      lastReason: unplaced.description,
    });
    await worker.healthCycle.look('arena');
    await worker.runner.drain('arena');
    const [second] = await idsOf('arena');
    expect(portOf(second!)).toBe(20_000 + 20_001 - taken);
  });

  it('is not replaced again and again: the starts wait longer each time, and the history says why', async () => {
    await create('arena', 20_000, 20_100, 1);
    await watched();
    for (let round = 0; round < 4; round++) {
      await add('arena', 1);
      runtime.report((await idsOf('arena'))[0]!, unplaced);
      await eventually(async () => expect(await idsOf('arena')).toEqual([]));
      await eventually(async () => expect(await roomsOf('arena')).toEqual([]));
    }
    worker.wakeUps.rings.length = 0;
    await worker.healthCycle.look('arena');
    expect(worker.log.lines).toContainEqual(
      expect.objectContaining({ message: expect.stringContaining(`because: ${unplaced.description}`) }),
    );
    expect(worker.wakeUps.rings.filter(({ delayMs }) => delayMs > 1_000)).toHaveLength(1);
    expect(await idsOf('arena')).toEqual([]);
  });

  it('waits long, and yet a room that lost its place is replaced at once, and once', async () => {
    await create('arena', 20_000, 20_002, 5);
    await add('arena', 5);
    await watched();
    const placed = await idsOf('arena');
    for (const id of placed) runtime.markReady(id);
    await hearFleet(redis.store, runtime, 'arena');
    await redis.passTime(70_000);
    // The two for which there is no port are tried again, until that is done seldom.
    for (let round = 0; round < 8; round++) await add('arena', 2);
    const look = async (): Promise<string[]> => {
      await redis.store.markHearing(3_600_000);
      await hearFleet(redis.store, runtime, 'arena');
      await worker.healthCycle.look('arena');
      await worker.runner.drain('arena');
      return idsOf('arena');
    };
    expect(await look()).toEqual(placed);

    runtime.kill(placed[0]!);
    await eventually(async () => expect(await roomsOf('arena')).toHaveLength(2));
    const after = await look();
    expect(after).toHaveLength(3);
    expect(after).toEqual(expect.arrayContaining(placed.slice(1)));
    const made = () => runtime.calls.filter(({ method }) => method === 'createInstance').length;
    const madeBefore = made();
    expect(await look()).toEqual(after);
    expect(made()).toBe(madeBefore);
  });

  it('stays when a machine has them in the meantime', async () => {
    await create('arena', 20_000, 20_100, 2);
    await add('arena', 2);
    await watched();
    const [waiting, placed] = await idsOf('arena');
    runtime.report(placed!, unplaced);
    runtime.report(placed!, { placementProblem: null, description: '' });
    runtime.report(waiting!, unplaced);
    await eventually(async () => expect(await idsOf('arena')).toEqual([placed]));
    expect(await counts()).toHaveProperty(`UDP/${portOf(placed!)}`, 1);
  });

  it('stays when it has a match', async () => {
    await create('arena', 20_000, 20_100, 2);
    await add('arena', 2);
    const [played, other] = await idsOf('arena');
    await hearFleet(redis.store, runtime, 'arena');
    await redis.store.applyPing(
      { ...noPing, scheduler: 'arena', room: played!, status: 'occupied', runningMatches: 1 },
      statusSettings,
    );
    await watched();
    runtime.report(played!, unplaced);
    runtime.report(other!, unplaced);
    await eventually(async () => expect(await idsOf('arena')).toEqual([played]));
    await eventually(async () => {
      expect((await roomsOf('arena')).map(({ id, runningMatches }) => [id, runningMatches])).toEqual([[played, 1]]);
    });
  });

  it.each(['resources', 'placement'] as const)(
    'is left pending when it is %s that it lacks, and says so',
    async (problem) => {
      await create('arena', 20_000, 20_100, 2);
      await add('arena', 2);
      await watched();
      const [waiting, other] = await idsOf('arena');
      const description = `Unschedulable: it lacks ${problem}`;
      runtime.report(waiting!, { placementProblem: problem, description });
      runtime.report(other!, unplaced);
      // By then it would have gone too.
      await eventually(async () => expect(await idsOf('arena')).toEqual([waiting]));
      await eventually(async () => {
        expect((await roomsOf('arena')).map(({ id, instance }) => [id, instance.description])).toEqual([
          [waiting, description],
        ]);
      });
      await redis.passTime(130_000);
      await redis.store.markHearing(3_600_000);
      await worker.healthCycle.look('arena');
      await worker.runner.drain('arena');
      const { operations } = await postgres.operations.list('arena', {
        stage: 'final',
        order: 'desc',
        page: 1,
        perPage: 100,
      });
      const removal = operations.find((operation) => operation.definition === 'remove_rooms')!;
      expect(removal.reason).toBe(`1 room expired: initialization_timeout (${description})`);
      const planned = operations.find((operation) => operation.definition === 'health_controller')!;
      expect(await history(planned)).toContain(
        `rooms did not come up in time, the runtime said of the last one: ${description}`,
      );
    },
  );

  it('ends an attempt to validate a version early, and says why', async () => {
    await create('arena', 20_000, 20_100, 0);
    await watched();
    await redis.store.createRoom({ id: 'arena-tried', scheduler: 'arena', version: 'v2.0.0', validation: true });
    await postgres.operations.insert({
      scheduler: 'arena',
      definition: 'create_new_scheduler_version',
      input: { scheduler: {}, definition: aSchedulerDefinition() },
      actor: 'api',
      reason: '',
    });
    await runtime.createInstance({
      ...emptySpec,
      id: 'arena-tried',
      scheduler: 'arena',
      version: 'v2.0.0',
      validation: true,
    });
    runtime.report('arena-tried', unplaced);
    await eventually(async () => expect(await redis.store.getRoom('arena', 'arena-tried')).toBeNull());
    expect(await redis.store.getEndReason('arena', 'arena-tried')).toBe(unplaced.description);
  });
});

const emptySpec = {
  containers: [],
  terminationGracePeriodMs: 0,
  labels: {},
  annotations: {},
  toleration: '',
  affinity: '',
  restartPolicy: 'Never',
  operationId: null,
};
