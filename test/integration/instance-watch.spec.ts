import { Registry } from 'prom-client';
import { PrometheusMetrics } from '../../src/adapters/prometheus/prometheus-metrics';
import { RedisRoomStore } from '../../src/adapters/redis/redis-room-store';
import { DomainError } from '../../src/domain/errors';
import type { Instance } from '../../src/domain/room/room';
import { SchedulerSettingsCache } from '../../src/features/schedulers/scheduler-settings';
import { HealthRings } from '../../src/features/rooms/health-rings';
import { InstanceWatch } from '../../src/features/watching/instance-watch';
import { creationDeadlineMs, Reconciliation } from '../../src/features/watching/reconciliation';
import type { InstanceSpec, RuntimeInstance } from '../../src/ports/runtime';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { FakeHealthRecords } from '../support/fake-health-records';
import { FakeRuntime } from '../support/fake-runtime';
import { openPostgres, type PostgresStores, type PostgresUnderTest } from '../support/open-postgres';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';
import { RecordedLog } from '../support/recorded-log';
import { RecordedWakeUps } from '../support/recorded-wake-ups';

/** A room store that is away when a test says so. */
class BreakableRoomStore extends RedisRoomStore {
  isAway = false;

  override applyInstance(...args: Parameters<RedisRoomStore['applyInstance']>) {
    return this.isAway ? away() : super.applyInstance(...args);
  }
  override endRoom(...args: Parameters<RedisRoomStore['endRoom']>) {
    return this.isAway ? away() : super.endRoom(...args);
  }
  override isSynced() {
    return this.isAway ? away() : super.isSynced();
  }
}

const away = (): Promise<never> =>
  Promise.reject(new DomainError('unavailable', 'room_store.unavailable', 'Redis is away'));

interface Watcher {
  runtime: FakeRuntime;
  wakeUps: RecordedWakeUps;
  log: RecordedLog;
  registry: Registry;
  stop(): Promise<void>;
}

let postgres: PostgresUnderTest;
let another: PostgresStores;
let runtime: FakeRuntime;
let redis: RedisRoomStoreUnderTest;
let rooms: BreakableRoomStore;
let watchers: Watcher[] = [];
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
  rooms = new BreakableRoomStore(redis.redis);
  await postgres.schedulers.createScheduler('arena', aSchedulerDefinition());
  await runtime.createScheduler('arena', 'operation');
});
afterEach(async () => {
  await Promise.all(watchers.map((watcher) => watcher.stop()));
  watchers = [];
});

function openCache(stores: PostgresStores, metrics: PrometheusMetrics, log: RecordedLog): SchedulerSettingsCache {
  return new SchedulerSettingsCache(stores.schedulers, metrics, log, { pollIntervalMs: 60_000 });
}

function startWatcher(stores: PostgresStores = postgres, client = runtime.anotherClient()): Watcher {
  const log = new RecordedLog();
  const registry = new Registry();
  const metrics = new PrometheusMetrics(registry);
  const wakeUps = new RecordedWakeUps();
  const settings = openCache(stores, metrics, log);
  const watch = new InstanceWatch(
    client,
    rooms,
    redis.hostPorts,
    settings,
    stores.operations,
    wakeUps,
    new HealthRings(wakeUps, settings, new FakeHealthRecords(), { intervalMs: 10 }),
    stores.leases,
    metrics,
    log,
    {
      owner: `watcher-${++owners}`,
      leaseTtlMs: 300,
      reconcileIntervalMs: 60_000,
      doubtIntervalMs: 30,
      syncCheckIntervalMs: 20,
      strayInstanceAgeMs: 200,
      creationDeadlineMs,
      hostPortPatienceMs: 60,
    },
  );
  const stopping = new AbortController();
  const loops = Promise.all([settings.run(stopping.signal), watch.run(stopping.signal)]);
  const watcher: Watcher = {
    runtime: client,
    wakeUps,
    log,
    registry,
    stop: async () => {
      stopping.abort();
      await loops;
    },
  };
  watchers.push(watcher);
  return watcher;
}

const specOf = (id: string, scheduler = 'arena'): InstanceSpec => ({
  id,
  scheduler,
  version: 'v1.0.0',
  validation: false,
  containers: [],
  terminationGracePeriodMs: 0,
  labels: {},
  annotations: {},
  toleration: '',
  affinity: '',
  restartPolicy: 'Never',
  operationId: null,
});

const instanceOf = (id: string, scheduler: string): Instance => ({
  id,
  scheduler,
  version: 'v1.0.0',
  validation: false,
  status: 'ready',
  description: '',
  address: { host: '127.0.0.1', ports: [] },
  createdAtMs: Date.now(),
  generation: 1,
});

/** A room as an operation starts it, but its instance is known to nobody yet. */
async function startRoom(id: string, { record = true } = {}): Promise<void> {
  if (record) await rooms.createRoom({ id, scheduler: 'arena', version: 'v1.0.0', validation: false });
  await runtime.createInstance(specOf(id));
  runtime.markReady(id);
}

const fleet = async (): Promise<string[]> => (await rooms.readFleet('arena')).rooms.map(({ id }) => id);
const instanceStatus = async (id: string) => (await rooms.getRoom('arena', id))?.instance.status;
const synced = () => eventually(async () => expect(await rooms.isSynced()).toBe(true));
/** A watch that begins has every scheduler looked at: what happened before rang no bell. What rings after that counts. */
const begun = async (watcher: Watcher): Promise<void> => {
  await synced();
  await eventually(() => expect(ofHealth(watcher)).toContainEqual({ kind: 'health', scheduler: 'arena', delayMs: 0 }));
  watcher.wakeUps.rings.length = 0;
};
const ofHealth = (watcher: Watcher) => watcher.wakeUps.rings.filter(({ kind }) => kind === 'health');

describe('the watcher', () => {
  it('adopts running instances of known schedulers that have no record, and marks the room state complete', async () => {
    await startRoom('room-1', { record: false });
    await startRoom('room-2', { record: false });
    const watcher = startWatcher();
    await synced();
    expect(await fleet()).toEqual(['room-1', 'room-2']);
    expect(await rooms.getRoom('arena', 'room-1')).toMatchObject({
      version: 'v1.0.0',
      adoptedAtMs: expect.any(Number),
      instance: { status: 'ready', address: { host: '127.0.0.1' } },
    });
    expect(await watcher.registry.metrics()).toContain(
      'maestro_watcher_drift_repaired_total{kind="instance_adopted"} 2',
    );
  });

  it('follows each change of an instance into the room state', async () => {
    const watcher = startWatcher();
    await begun(watcher);
    await rooms.createRoom({ id: 'room-1', scheduler: 'arena', version: 'v1.0.0', validation: false });
    await runtime.createInstance(specOf('room-1'));
    await eventually(async () => expect(await instanceStatus('room-1')).toBe('pending'));
    runtime.markReady('room-1');
    await eventually(async () => expect(await instanceStatus('room-1')).toBe('ready'));
    expect(ofHealth(watcher)).toEqual([]);
    runtime.report('room-1', { status: 'error', description: 'CrashLoopBackOff: it crashed' });
    await eventually(async () => expect(await instanceStatus('room-1')).toBe('error'));
    await eventually(() => expect(ofHealth(watcher)).toEqual([{ kind: 'health', scheduler: 'arena', delayMs: 0 }]));
  });

  it('counts an instance that failed, once for each reason, whoever watches', async () => {
    const failures = async (watcher: Watcher) =>
      (await watcher.registry.metrics())
        .split('\n')
        .filter((line) => line.startsWith('maestro_watcher_instance_failures'));
    const first = startWatcher();
    await begun(first);
    for (const id of ['room-1', 'room-2']) await startRoom(id);
    runtime.report('room-1', { status: 'error', description: 'ErrImagePull: not found' });
    runtime.report('room-1', { status: 'error', description: 'ImagePullBackOff: back-off 10s' });
    runtime.report('room-1', { status: 'error', description: 'CreateContainerConfigError: no secret' });
    runtime.kill('room-2', 'container "room" exited with code 3');
    runtime.plant({ ...instanceOf('lost-1', 'nobody'), status: 'error' });
    const counted = ['image_pull', 'config', 'exit'].map(
      (reason) => `maestro_watcher_instance_failures_total{scheduler="arena",reason="${reason}"} 1`,
    );
    await eventually(async () => expect((await failures(first)).sort()).toEqual(counted.sort()));
    await first.stop();

    const second = startWatcher();
    await begun(second);
    runtime.report('room-1', { status: 'error', description: 'CreateContainerConfigError: still no secret' });
    await startRoom('room-3');
    runtime.report('room-3', { status: 'error', description: 'CrashLoopBackOff' });
    await eventually(async () =>
      expect(await failures(second)).toEqual([
        'maestro_watcher_instance_failures_total{scheduler="arena",reason="crash_loop"} 1',
      ]),
    );
  });

  it('ends a room at once whose instance is gone, and has the health of its scheduler looked at', async () => {
    await startRoom('room-1');
    await startRoom('room-2');
    const watcher = startWatcher();
    await begun(watcher);
    runtime.kill('room-1');
    await eventually(async () => expect(await fleet()).toEqual(['room-2']));
    await eventually(() => expect(ofHealth(watcher)).toEqual([{ kind: 'health', scheduler: 'arena', delayMs: 0 }]));
    expect(await rooms.createRoom({ id: 'room-1', scheduler: 'arena', version: 'v1.0.0', validation: false })).toBe(
      'exists',
    );
  });

  describe('an instance that somebody else ends', () => {
    const warnings = (watcher: Watcher) =>
      watcher.log.lines.filter(({ level, fields }) => level === 'warn' && fields['room_id'] !== undefined);
    const failures = async (watcher: Watcher) =>
      (await watcher.registry.metrics())
        .split('\n')
        .filter((line) => line.startsWith('maestro_watcher_instance_failures'));
    const described = async (id: string) => (await rooms.getRoom('arena', id))?.instance.description;
    const someone = 'deleted by someone else, not by this Maestro';

    it('is told as that, from its first sign to its end, in room, log and metric', async () => {
      for (const id of ['room-1', 'room-2', 'room-3']) await startRoom(id);
      const watcher = startWatcher();
      await begun(watcher);
      runtime.report('room-1', { status: 'terminating', ending: 'deleted' });
      const evicted = 'evicted: its node was tainted: DeletionByTaintManager';
      runtime.report('room-2', { status: 'terminating', ending: 'deleted', description: evicted });
      await eventually(async () => expect(await described('room-1')).toBe(someone));
      await eventually(async () => expect(await described('room-2')).toBe(evicted));
      const [transition] = await rooms.getTransitions('arena', 'room-1');
      expect(transition).toMatchObject({ cause: 'instance', detail: `terminating: ${someone}` });
      expect(warnings(watcher)).toEqual([]);
      for (const id of ['room-1', 'room-2']) runtime.end(id);
      runtime.vanish('room-3', 'deleted');
      await eventually(async () => expect(await fleet()).toEqual([]));
      await eventually(() =>
        expect(
          warnings(watcher)
            .map(({ fields, message }) => [fields['room_id'], fields['reason'], message])
            .sort(),
        ).toEqual(
          [
            ['room-1', someone],
            ['room-2', evicted],
            ['room-3', someone],
          ].map((each) => [...each, 'the instance of a room was ended by someone else']),
        ),
      );
      expect((await failures(watcher)).sort()).toEqual([
        'maestro_watcher_instance_failures_total{scheduler="arena",reason="deleted"} 2',
        'maestro_watcher_instance_failures_total{scheduler="arena",reason="evicted"} 1',
      ]);
      await eventually(() => expect(ofHealth(watcher).length).toBeGreaterThanOrEqual(2));
    });

    it('is somebody else neither where Maestro removes the room nor where its scheduler is deleted', async () => {
      await startRoom('room-1');
      await startRoom('room-2');
      const watcher = startWatcher();
      await begun(watcher);
      await rooms.terminateRooms('arena', ['room-1'], { reason: 'scale_down' });
      runtime.report('room-1', { status: 'terminating', ending: 'deleted' });
      await eventually(async () => expect(await instanceStatus('room-1')).toBe('terminating'));
      await postgres.operations.insert({
        scheduler: 'arena',
        definition: 'delete_scheduler',
        input: {},
        actor: 'api',
        reason: '',
      });
      runtime.report('room-2', { status: 'terminating', ending: 'deleted' });
      await eventually(async () => expect(await instanceStatus('room-2')).toBe('terminating'));
      expect([await described('room-1'), await described('room-2')]).toEqual(['', '']);
      for (const id of ['room-1', 'room-2']) runtime.end(id);
      await eventually(async () => expect(await fleet()).toEqual([]));
      const ends = () => watcher.log.lines.filter(({ message }) => message === 'a room ended');
      await eventually(() => expect(ends()).toHaveLength(2));
      expect(warnings(watcher)).toEqual([]);
      expect(await failures(watcher)).toEqual([]);
    });

    it('is let go of where it is not marked as ours any more: told once, replaced, and its ports given last', async () => {
      await rooms.createRoom({ id: 'room-1', scheduler: 'arena', version: 'v1.0.0', validation: false });
      const hostPorts = [{ name: 'client', protocol: 'UDP', port: 20_000 }];
      runtime.plant({ ...instanceOf('room-1', 'arena'), hostPorts });
      const watcher = startWatcher();
      await begun(watcher);
      const disowned = 'disowned: its labels were changed by someone else';
      runtime.vanish('room-1', 'disowned', disowned);
      await eventually(async () => expect(await fleet()).toEqual([]));
      await eventually(() =>
        expect(warnings(watcher)).toMatchObject([
          {
            fields: { scheduler_name: 'arena', room_id: 'room-1', reason: disowned },
            message: expect.stringContaining('is not marked as ours any more'),
          },
        ]),
      );
      await eventually(() => expect(ofHealth(watcher)).toEqual([{ kind: 'health', scheduler: 'arena', delayMs: 0 }]));
      expect(watcher.runtime.calls.filter(({ method }) => method === 'deleteInstance')).toEqual([]);
      expect(await failures(watcher)).toEqual([
        'maestro_watcher_instance_failures_total{scheduler="arena",reason="disowned"} 1',
      ]);
      expect((await redis.hostPorts.list()).holders).toMatchObject([
        { id: 'room-1', refusedUntilMs: expect.any(Number) },
      ]);
    });

    it('is found again where somebody puts its mark back, and not deleted for having no room', async () => {
      await rooms.createRoom({ id: 'room-1', scheduler: 'arena', version: 'v1.0.0', validation: false });
      const hostPorts = [{ name: 'client', protocol: 'UDP', port: 20_000 }];
      const instance = { ...instanceOf('room-1', 'arena'), hostPorts };
      runtime.plant(instance);
      const watcher = startWatcher();
      await begun(watcher);
      runtime.vanish('room-1', 'disowned', 'disowned: its labels were changed by someone else');
      await eventually(async () => expect(await fleet()).toEqual([]));
      runtime.plant(instance);
      await eventually(async () => expect(await fleet()).toEqual(['room-1']));
      expect(await rooms.getRoom('arena', 'room-1')).toMatchObject({
        status: 'unready',
        adoptedAtMs: expect.any(Number),
      });
      expect((await redis.hostPorts.list()).holders).toMatchObject([{ id: 'room-1', ports: [{ port: 20_000 }] }]);
    });
  });

  it('tells of a container that was started again, once for each time, and leaves its room as it is', async () => {
    await startRoom('room-1');
    const first = startWatcher();
    await begun(first);
    const say = (status: 'ready' | 'occupied') =>
      rooms.applyPing(
        {
          scheduler: 'arena',
          room: 'room-1',
          status,
          runningMatches: 0,
          metadata: undefined,
          listener: null,
          resync: false,
        },
        { maxMatches: 1 },
      );
    await say('ready');
    const restarts = (count: number) => ({
      count,
      lastEnd: { container: 'game', exitCode: 137, reason: 'OOMKilled', atMs: 1_700_000_000_000 },
    });
    const told = ({ log }: Watcher) =>
      log.lines.filter(({ message }) => message === 'a container of a room ended and was started again');
    runtime.report('room-1', { restarts: restarts(1) });
    await eventually(() => expect(told(first)).toHaveLength(1));
    runtime.report('room-1', { restarts: restarts(2) });
    await eventually(() => expect(told(first)).toHaveLength(2));
    expect(told(first)[1]).toMatchObject({
      level: 'warn',
      fields: { room_id: 'room-1', restarts: 2, reason: 'container "game" ended with code 137 (OOMKilled)' },
    });
    await say('ready');
    expect(await rooms.getRoom('arena', 'room-1')).toMatchObject({
      status: 'ready',
      instance: { status: 'ready', restarts: restarts(2) },
    });
    expect(await first.registry.metrics()).toContain(
      'maestro_watcher_instance_failures_total{scheduler="arena",reason="oom_killed"} 1',
    );
    expect(ofHealth(first)).toEqual([]);
    await first.stop();
    const second = startWatcher();
    await begun(second);
    runtime.report('room-1', { restarts: restarts(3) });
    await eventually(() => expect(told(second)).toMatchObject([{ fields: { restarts: 3 } }]));
  });

  it('wakes a deletion when the last instance has ended that was told to, and not before', async () => {
    await startRoom('room-1');
    await startRoom('room-2');
    const watcher = startWatcher();
    await begun(watcher);
    const wakings = () => watcher.wakeUps.rings.filter(({ kind }) => kind === 'operations');
    await runtime.deleteScheduler('arena');
    runtime.end('room-1');
    await eventually(async () => expect(await fleet()).toEqual(['room-2']));
    // What rings for a deletion comes right after the health's ring.
    await eventually(() => expect(ofHealth(watcher)).not.toEqual([]));
    expect(wakings()).toEqual([]);
    runtime.end('room-2');
    await eventually(() => expect(wakings()).toEqual([{ kind: 'operations', scheduler: 'arena', delayMs: 0 }]));
  });

  it('wakes the operation that waits for a validation room, and keeps why the room ended', async () => {
    const watcher = startWatcher();
    await begun(watcher);
    const validation = { id: 'room-1', scheduler: 'arena', version: 'v2.0.0', validation: true };
    await rooms.createRoom(validation);
    await runtime.createInstance({ ...specOf('room-1'), ...validation });
    await eventually(async () => expect(await instanceStatus('room-1')).toBe('pending'));
    const woken = (times: number) =>
      eventually(() =>
        expect(watcher.wakeUps.rings).toEqual(
          Array.from({ length: times }, () => ({ kind: 'operations', scheduler: 'arena', delayMs: 0 })),
        ),
      );
    runtime.markReady('room-1');
    await woken(1);
    runtime.report('room-1', { status: 'error', description: 'CrashLoopBackOff' });
    await woken(2);
    runtime.kill('room-1', 'exited with code 3');
    await woken(3);
    expect(await rooms.getRoom('arena', 'room-1')).toBeNull();
    expect(await rooms.getEndReason('arena', 'room-1')).toBe('exited with code 3');
  });

  it('removes the record of a room that ended while nobody watched, however young, and has its health looked at', async () => {
    await startRoom('room-1');
    await startRoom('room-2');
    for (const instance of await runtime.listInstances()) {
      await rooms.applyInstance(instance, { maxMatches: 1 }, { adopt: false, authoritative: false });
    }
    runtime.kill('room-1');
    const watcher = startWatcher();
    await begun(watcher);
    await eventually(async () => expect(await fleet()).toEqual(['room-2']));
    await eventually(() => expect(ofHealth(watcher)).toEqual([{ kind: 'health', scheduler: 'arena', delayMs: 0 }]));
    expect(await watcher.registry.metrics()).toContain(
      'maestro_watcher_drift_repaired_total{kind="room_without_instance"} 1',
    );
    // Nobody knows whether its version is to blame.
    expect(await rooms.readFleet('arena')).toMatchObject({ earlyEnds: { count: 1 }, failures: new Map() });
  });

  it('leaves a record alone whose instance may be on its way, and removes it soon after its time', async () => {
    await rooms.createRoom({ id: 'room-1', scheduler: 'arena', version: 'v1.0.0', validation: false });
    const watcher = startWatcher();
    await synced();
    await eventually(async () => {
      const rounds = await watcher.registry.getSingleMetric('maestro_loop_last_finished_timestamp_seconds')!.get();
      expect(rounds.values.map(({ labels }) => labels['loop'])).toContain('runtime_reconcile');
    });
    expect(await fleet()).toEqual(['room-1']);
    await redis.passTime(creationDeadlineMs);
    // By this process's clock its time is not over yet: a list that comes anyhow is the first that lacks it, the next one is soon.
    runtime.cutWatches();
    await eventually(async () => expect(await fleet()).toEqual([]));
  });

  it('lists everything no more often while rooms are being made', async () => {
    const watcher = startWatcher();
    await begun(watcher);
    const lists = () => watcher.runtime.calls.filter(({ method }) => method === 'listInstances').length;
    const before = lists();
    for (let count = 1; count <= 20; count++) {
      const id = `room-${count}`;
      await rooms.createRoom({ id, scheduler: 'arena', version: 'v1.0.0', validation: false });
      await runtime.createInstance(specOf(id));
      await eventually(async () => expect(await instanceStatus(id)).toBe('pending'));
    }
    expect(lists() - before).toBeLessThanOrEqual(1);
  });

  it('holds the ports of an instance that came up after its room had ended, deletes it, and gives them back when it is gone', async () => {
    const watcher = startWatcher();
    await begun(watcher);
    await rooms.createRoom({ id: 'late-1', scheduler: 'arena', version: 'v1.0.0', validation: false });
    await rooms.endRoom('arena', 'late-1');
    const hostPorts = [{ name: 'client', protocol: 'UDP', port: 20_000 }];
    runtime.plant({ ...instanceOf('late-1', 'arena'), hostPorts });
    const holders = async () => (await redis.hostPorts.list()).holders.map(({ id }) => id);
    await eventually(async () => expect(await holders()).toEqual(['late-1']));
    const deletions = () => watcher.runtime.calls.filter(({ method }) => method === 'deleteInstance');
    expect(deletions()).toEqual([]);
    // Whatever was given back meanwhile is held again.
    await redis.hostPorts.release([{ scheduler: 'arena', id: 'late-1' }]);
    runtime.cutWatches();
    await eventually(() =>
      expect(deletions()).toEqual([{ method: 'deleteInstance', id: 'late-1', reason: 'scale_down' }]),
    );
    expect(await holders()).toEqual(['late-1']);
    runtime.end('late-1');
    await eventually(async () => expect(await holders()).toEqual([]));
    expect(await fleet()).toEqual([]);
  });

  it('marks the room state complete while strays are being deleted, however long that takes', async () => {
    const lost = ['lost-1', 'lost-2'].map((id) => instanceOf(id, 'nobody'));
    for (const each of lost) runtime.plant(each);
    let letGo = (): void => undefined;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    const begunDeletions: string[] = [];
    const client = runtime.anotherClient();
    client.deleteInstance = async (_scheduler, id) => {
      begunDeletions.push(id);
      await held;
      return 'deleting';
    };
    startWatcher(postgres, client);
    try {
      await eventually(() => expect(begunDeletions.sort()).toEqual(['lost-1', 'lost-2']));
      await redis.loseEverything();
      await synced();
    } finally {
      letGo();
    }
  });

  it('rebuilds the room state when it was lost, without touching what runs', async () => {
    await startRoom('room-1');
    await startRoom('room-2');
    const watcher = startWatcher();
    await synced();
    await redis.loseEverything();
    expect((await rooms.readFleet('arena')).rebuilding).toBe(true);
    await synced();
    expect(await fleet()).toEqual(['room-1', 'room-2']);
    expect((await rooms.readFleet('arena')).rebuilding).toBe(false);
    expect(await runtime.listInstances()).toHaveLength(2);
    expect(watcher.log.lines.map(({ message }) => message)).toContain(
      'room state was lost; it is rebuilt from the runtime and the next pings',
    );
    runtime.kill('room-1');
    await eventually(async () => expect(await fleet()).toEqual(['room-2']));
  });

  it('sees what happened while its watch was interrupted', async () => {
    await startRoom('room-1');
    await startRoom('room-2');
    await redis.passTime(creationDeadlineMs);
    startWatcher();
    await synced();
    runtime.isReachable = false;
    runtime.kill('room-1');
    await startInTheDark('room-3');
    runtime.isReachable = true;
    await eventually(async () => expect(await fleet()).toEqual(['room-2', 'room-3']));
  });

  it('finds the end of a room that the room state was too long away to hear of', async () => {
    await startRoom('room-1');
    await startRoom('room-2');
    await redis.passTime(creationDeadlineMs);
    const watcher = startWatcher();
    await synced();
    rooms.isAway = true;
    runtime.kill('room-1');
    await eventually(
      () => {
        const failures = watcher.log.lines.filter(({ message }) => message.includes('could not be stored'));
        expect(failures.at(-1)?.fields).toMatchObject({ attempt: 5, room_id: 'room-1', err: 'Redis is away' });
      },
      { timeoutMs: 6_000 },
    );
    rooms.isAway = false;
    await eventually(async () => expect(await fleet()).toEqual(['room-2']));
    expect(ofHealth(watcher)).toContainEqual({ kind: 'health', scheduler: 'arena', delayMs: 0 });
  }, 15_000);

  it('neither adopts nor deletes at once what belongs to no scheduler, deletes it in time, and makes no label of its name', async () => {
    runtime.plant(instanceOf('lost-1', 'nobody'));
    const watcher = startWatcher();
    await synced();
    expect((await rooms.readFleet('nobody')).rooms).toEqual([]);
    const deletions = () => watcher.runtime.calls.filter(({ method }) => method === 'deleteInstance');
    expect(deletions()).toEqual([]);
    await eventually(() =>
      expect(deletions()).toEqual([{ method: 'deleteInstance', id: 'lost-1', reason: 'scheduler_deleted' }]),
    );
    runtime.end('lost-1');
    await eventually(async () => {
      const metrics = await watcher.registry.metrics();
      expect(metrics).toMatch(/events_processed_total\{scheduler="",instanceEventType="deleted",success="true"\} 1/);
      expect(metrics).not.toContain('nobody');
      expect(metrics).toContain('maestro_watcher_drift_repaired_total{kind="instance_unknown"} 1');
    });
  });

  it('forgets the series of a scheduler that was deleted', async () => {
    await startRoom('room-1');
    const watcher = startWatcher();
    await synced();
    runtime.kill('room-1');
    await eventually(async () => expect(await watcher.registry.metrics()).toContain('scheduler="arena"'));
    await postgres.schedulers.deleteScheduler((await postgres.schedulers.getScheduler('arena'))!);
    await eventually(async () => expect(await watcher.registry.metrics()).not.toContain('scheduler="arena"'));
  });
});

describe('two watchers', () => {
  const ranTheLoop = (): boolean[] =>
    watchers.map(({ log }) => log.lines.some(({ message }) => message === 'this process runs the loop now'));

  it('are one at a time: the second takes over when the first stops, and misses nothing', async () => {
    const first = startWatcher();
    await synced();
    startWatcher(another);
    await startRoom('room-1');
    await eventually(async () => expect(await fleet()).toEqual(['room-1']));
    expect(ranTheLoop()).toEqual([true, false]);
    await first.stop();
    await startInTheDark('room-2');
    await eventually(async () => expect(await fleet()).toEqual(['room-1', 'room-2']));
    expect(ranTheLoop()).toEqual([true, true]);
    runtime.kill('room-1');
    await eventually(async () => expect(await fleet()).toEqual(['room-2']));
  });

  it('are one at a time: the second takes over when the first is not heard of any more, and the first stops', async () => {
    const first = startWatcher();
    await synced();
    // Another process holds it now, as after a pause of the first one that was longer than its lease.
    await postgres.sql(`UPDATE maestro.leases SET owner = 'other', expires_at = now() + interval '1 minute'`);
    await eventually(() =>
      expect(first.log.lines.map(({ message }) => message)).toContain('another process took the loop over'),
    );
    await startInTheDark('room-1');
    expect(await rooms.getRoom('arena', 'room-1')).toBeNull();
    await postgres.sql(`UPDATE maestro.leases SET expires_at = now() - interval '1 s'`);
    await eventually(async () => expect(await fleet()).toEqual(['room-1']));
  });
});

/** An instance that is there when somebody looks again. */
async function startInTheDark(id: string): Promise<void> {
  runtime.plant(instanceOf(id, 'arena'));
}

describe('comparing a full list of instances with the room state', () => {
  const minuteMs = 60_000;
  let registry: Registry;
  let reconciliation: Reconciliation;
  let log: RecordedLog;

  beforeEach(() => {
    registry = new Registry();
    const metrics = new PrometheusMetrics(registry);
    log = new RecordedLog();
    reconciliation = new Reconciliation(
      rooms,
      redis.hostPorts,
      runtime,
      openCache(postgres, metrics, log),
      postgres.operations,
      metrics,
      log,
      {
        strayInstanceAgeMs: minuteMs,
        secondLookAfterMs: 1_000,
        doubtIntervalMs: 2_000,
        creationDeadlineMs,
      },
    );
  });

  /** A list that was asked for just now, and what follows from it. */
  async function compare(
    instances: (Instance & Partial<RuntimeInstance>)[],
    nowMs: number,
    { ended = [], ageMs = 0 }: { ended?: string[]; ageMs?: number } = {},
  ): Promise<Set<string>> {
    const facts = { ended: new Set(ended.map((id) => `arena/${id}`)), ageMs, recounts: true };
    const listed = instances.map((each) => ({ hostPorts: [], placementProblem: null, isProtected: false, ...each }));
    const touched = await reconciliation.compare(listed, nowMs, facts);
    await reconciliation.deleteStrays(new AbortController().signal);
    return touched;
  }
  const deletions = () => runtime.calls.filter(({ method }) => method === 'deleteInstance').map(({ id }) => id);

  it('compares all the rest while nobody can say what is stray, and keeps what it saw', async () => {
    await startRoom('room-1');
    await redis.passTime(creationDeadlineMs);
    const [plain] = await runtime.listInstances();
    const left = { ...plain!, id: 'left', validation: true };
    runtime.plant(left);
    await compare([left], 0);
    const findOpen = jest.spyOn(postgres.operations, 'findOpen');
    findOpen.mockRejectedValue(new DomainError('unavailable', 'postgres.unavailable', 'PostgreSQL is away'));
    try {
      expect(await compare([left], 1_000)).toEqual(new Set(['arena']));
      expect(deletions()).toEqual([]);
      expect(reconciliation.lookAgainInMs).not.toBeNull();
    } finally {
      findOpen.mockRestore();
    }
    await compare([left], minuteMs);
    expect(deletions()).toEqual(['left']);
  });

  it('removes a record only when two lists in a row lack its instance', async () => {
    await startRoom('room-1');
    await redis.passTime(creationDeadlineMs);
    const [instance] = await runtime.listInstances();
    expect(await compare([], 0)).toEqual(new Set());
    expect(reconciliation.lookAgainInMs).not.toBeNull();
    await compare([instance!], 0);
    expect(reconciliation.lookAgainInMs).toBeNull();
    await compare([], 0);
    await compare([], 999);
    expect(await fleet()).toEqual(['room-1']);
    expect(await compare([], 1_000)).toEqual(new Set(['arena']));
    expect(await fleet()).toEqual([]);
    expect(reconciliation.lookAgainInMs).toBeNull();
  });

  it('leaves a record alone whose start is tried again and again, and ends it with the reason when nobody tries any more', async () => {
    await rooms.createRoom({ id: 'room-1', scheduler: 'arena', version: 'v1.0.0', validation: false });
    for (let attempt = 1; attempt <= 3; attempt++) {
      await rooms.noteStartPutOff('arena', ['room-1'], 'pods is forbidden: cannot create');
      await redis.passTime(creationDeadlineMs - 10_000);
      await compare([], attempt * minuteMs);
      await compare([], attempt * minuteMs + 1_000);
      expect(await fleet()).toEqual(['room-1']);
    }
    await redis.passTime(10_000);
    await compare([], 10 * minuteMs);
    await compare([], 10 * minuteMs + 1_000);
    expect(await fleet()).toEqual([]);
    expect(await rooms.readEarlyEnds('arena')).toMatchObject({
      notCreated: 1,
      lastReason: 'pods is forbidden: cannot create',
    });
  });

  it('deletes an instance of an unknown scheduler only when it was seen twice, a minute apart', async () => {
    const lost = instanceOf('lost-1', 'nobody');
    runtime.plant(lost);
    await compare([lost], 0);
    await compare([lost], minuteMs - 1);
    expect(deletions()).toEqual([]);
    expect(reconciliation.lookAgainInMs).not.toBeNull();
    await compare([lost], minuteMs);
    expect(deletions()).toEqual(['lost-1']);
  });

  it('deletes a validation room that no operation waits for, when it was seen twice, a minute apart', async () => {
    const left = { ...instanceOf('left-1', 'arena'), version: 'v2.0.0', validation: true };
    runtime.plant(left);
    const definition = aSchedulerDefinition();
    const change = (await postgres.operations.insert({
      scheduler: 'arena',
      definition: 'create_new_scheduler_version',
      input: { scheduler: {}, definition },
      actor: 'api',
    }))!;
    await compare([left], 0);
    expect(reconciliation.lookAgainInMs).toBeNull();
    await postgres.operations.cancel('arena', change.id, 'canceled');
    await compare([left], minuteMs);
    await compare([left], 2 * minuteMs - 1);
    expect(deletions()).toEqual([]);
    await compare([left, instanceOf('real-1', 'arena')], 2 * minuteMs);
    expect(deletions()).toEqual(['left-1']);
    expect(await registry.metrics()).toContain('maestro_watcher_drift_repaired_total{kind="validation_room_left"} 1');
  });

  it('counts anew from when an unknown instance was seen again', async () => {
    const lost = instanceOf('lost-1', 'nobody');
    runtime.plant(lost);
    await compare([lost], 0);
    await compare([], minuteMs);
    await compare([lost], minuteMs + 1);
    expect(deletions()).toEqual([]);
  });

  it('spares an instance whose scheduler came to be known meanwhile', async () => {
    const early = instanceOf('early-1', 'early');
    runtime.plant(early);
    await compare([early], 0);
    await postgres.schedulers.createScheduler('early', aSchedulerDefinition());
    // The cache believes for a second that a name is unknown.
    await eventually(async () => {
      await compare([early], 0);
      expect(reconciliation.lookAgainInMs).toBeNull();
    });
    await compare([early], 2 * minuteMs);
    expect(deletions()).toEqual([]);
  });

  it('goes on with the others when one cannot be deleted, asks again for it, and not for those that are ending', async () => {
    const lost = ['lost-1', 'lost-2'].map((id) => instanceOf(id, 'nobody'));
    for (const each of lost) runtime.plant(each);
    await compare(lost, 0);
    runtime.failNext('deleteInstance');
    await compare(await runtime.listInstances(), minuteMs);
    expect(deletions()).toEqual(['lost-1', 'lost-2']);
    await compare(await runtime.listInstances(), minuteMs + 1);
    await compare(await runtime.listInstances(), minuteMs + 2);
    expect(deletions()).toEqual(['lost-1', 'lost-2', 'lost-1']);
    expect(await registry.metrics()).toContain('maestro_watcher_drift_repaired_total{kind="instance_unknown"} 2');
  });

  it('deletes an instance whose room has ended when it was seen twice, a minute apart, and not one that is ending', async () => {
    const left = instanceOf('left-1', 'arena');
    const ending: Instance = { ...instanceOf('ending-1', 'arena'), status: 'terminating' };
    for (const each of [left, ending]) runtime.plant(each);
    const ended = ['left-1', 'ending-1'];
    await compare([left, ending], 0, { ended });
    await compare([left, ending], minuteMs - 1, { ended });
    expect(deletions()).toEqual([]);
    await compare([left, ending], minuteMs, { ended });
    expect(deletions()).toEqual(['left-1']);
    expect(await registry.metrics()).toContain('maestro_watcher_drift_repaired_total{kind="ended_room_left"} 1');
  });

  it('leaves an instance alone whose room has ended while it is marked as having a match, and says so once', async () => {
    const left = instanceOf('left-1', 'arena');
    runtime.plant(left);
    const ended = ['left-1'];
    for (const nowMs of [0, minuteMs, 2 * minuteMs]) await compare([{ ...left, isProtected: true }], nowMs, { ended });
    expect(deletions()).toEqual([]);
    expect(log.lines.filter(({ level }) => level === 'warn')).toEqual([
      {
        level: 'warn',
        fields: { scheduler_name: 'arena', room_id: 'left-1' },
        message: 'an instance has no room any more, and is marked as having a match: it is not deleted',
      },
    ]);
    await compare([left], 3 * minuteMs, { ended });
    expect(deletions()).toEqual(['left-1']);
  });

  it('gives the ports last of a room whose instance is nowhere, and frees those of one that never had any', async () => {
    await startRoom('room-1');
    const [instance] = await runtime.listInstances();
    await rooms.applyInstance(instance!, { maxMatches: 1 }, { adopt: false, authoritative: true });
    await rooms.createRoom({ id: 'room-2', scheduler: 'arena', version: 'v1.0.0', validation: false });
    const ports = [{ name: 'client', protocol: 'UDP', port: 20_000 }];
    await redis.hostPorts.hold(['room-1', 'room-2'].map((id) => ({ scheduler: 'arena', id, pool: '', ports })));
    await redis.passTime(creationDeadlineMs);
    await compare([], 0);
    await compare([], 1_000);
    expect(await fleet()).toEqual([]);
    expect((await redis.hostPorts.list()).holders).toMatchObject([
      { id: 'room-1', refusedUntilMs: expect.any(Number) },
    ]);
  });

  it('finds no doubt in what is being made or is ending, and wants a look when one that was listed too early may be judged', async () => {
    await rooms.createRoom({ id: 'room-1', scheduler: 'arena', version: 'v1.0.0', validation: false });
    const ending: Instance = { ...instanceOf('ending-1', 'nobody'), status: 'terminating' };
    await compare([ending], 0, { ageMs: minuteMs });
    expect(reconciliation.lookAgainInMs).toBeNull();
    await redis.passTime(30_000);
    await compare([ending], 0, { ageMs: 0 });
    const inMs = reconciliation.lookAgainInMs!;
    expect(inMs).toBeLessThanOrEqual(creationDeadlineMs - 30_000);
    expect(inMs).toBeGreaterThan(creationDeadlineMs / 3);
  });

  it('looks at a stray again when it is due, and then half as often each time while it stays', async () => {
    const lost = instanceOf('lost-1', 'nobody');
    runtime.plant(lost);
    const waits: (number | null)[] = [];
    for (const nowMs of [0, minuteMs, minuteMs + 1, minuteMs + 2]) {
      runtime.failNext('deleteInstance');
      await compare([lost], nowMs);
      waits.push(reconciliation.lookAgainInMs);
    }
    expect(waits).toEqual([minuteMs, 4_000, 8_000, 16_000]);
    // Something new is in doubt.
    await compare([lost, instanceOf('lost-2', 'nobody')], minuteMs + 3);
    expect(reconciliation.lookAgainInMs).toBe(2_000);
  });
});
