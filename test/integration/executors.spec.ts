import { HttpDesiredRoomsWebhook } from '../../src/adapters/http-webhook/http-desired-rooms-webhook';
import { PostgresOperationStore } from '../../src/adapters/postgres/postgres-operation-store';
import { DomainError } from '../../src/domain/errors';
import type { Operation, OperationDefinition, OperationInputs } from '../../src/domain/operation/operation';
import type { Instance } from '../../src/domain/room/room';
import type { DesiredRoomsWebhook } from '../../src/ports/desired-rooms-webhook';
import type { HeldOperation, OperationStore } from '../../src/ports/operation-store';
import type { HostPortReservations } from '../../src/ports/host-port-reservations';
import type { RoomStore } from '../../src/ports/room-store';
import type { InstanceSpec } from '../../src/ports/runtime';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { FakeDesiredRoomsWebhook } from '../support/fake-desired-rooms-webhook';
import { FakeHealthRecords } from '../support/fake-health-records';
import { FakeRuntime } from '../support/fake-runtime';
import {
  hearFleet,
  historyOf,
  noPing,
  openFleetWorker,
  roomLimits,
  retryDelayMs,
  statusSettings,
  type FleetWorker,
} from '../support/fleet-worker';
import { openPostgres, type PostgresStores, type PostgresUnderTest } from '../support/open-postgres';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';

const name = 'arena';
const minuteMs = 60_000;
/** Of a worker that hangs, and renews its lease all the same, each third of it: a busy machine must not make it late. */
const stuckLeaseMs = 3_000;

let postgres: PostgresUnderTest;
let another: PostgresStores;
let runtime: FakeRuntime;
let redis: RedisRoomStoreUnderTest;
let rooms: RoomStore;
let hostPorts: HostPortReservations;
let worker: FleetWorker;

beforeAll(async () => {
  postgres = await openPostgres();
  another = await postgres.another();
  redis = await openRedisRoomStore();
  rooms = redis.store;
  hostPorts = redis.hostPorts;
});
afterAll(() => Promise.all([postgres?.close(), redis?.close()]));
beforeEach(async () => {
  await postgres.clear();
  await redis.loseEverything();
  runtime = new FakeRuntime();
  await rooms.markSynced();
  await rooms.markHearing(100 * minuteMs);
  worker = openFleetWorker({ stores: postgres, rooms, hostPorts, runtime });
});

/** A scheduler that is in-sync, without rooms. */
async function created(changes: Parameters<typeof aSchedulerDefinition>[0] = {}): Promise<void> {
  await worker.schedulers.createScheduler(name, aSchedulerDefinition(changes));
  await worker.runner.drain(name);
  expect((await worker.schedulers.getScheduler(name)).state).toBe('in-sync');
  worker.wakeUps.rings.length = 0;
}

async function run<D extends OperationDefinition>(definition: D, input: OperationInputs[D]): Promise<Operation> {
  const operation = await worker.operations.enqueue({ scheduler: name, definition, input, actor: 'api' });
  await worker.runner.drain(name);
  return (await postgres.operations.get(name, operation!.id))!.operation;
}

/** A fleet whose rooms are all ready and have pinged. */
async function fleetOf(count: number): Promise<string[]> {
  await run('add_rooms', { amount: count });
  for (const { id } of await runtime.listInstances(name)) runtime.markReady(id);
  worker.wakeUps.rings.length = 0;
  return (await hearFleet(rooms, runtime, name)).map(({ id }) => id);
}

const history = (operation: Pick<Operation, 'scheduler' | 'id'>): Promise<string[]> => historyOf(postgres, operation);
const operationsOf = async (stage: 'pending' | 'active' | 'final'): Promise<Operation[]> =>
  (await postgres.operations.list(name, { stage, order: 'asc', page: 1, perPage: 100 })).operations;
const roomIds = async (): Promise<string[]> => (await rooms.readFleet(name)).rooms.map(({ id }) => id);
const instanceIds = async (): Promise<string[]> => (await runtime.listInstances(name)).map(({ id }) => id).sort();
const broken = () => new DomainError('internal', 'runtime.broken', 'no such image');
const away = () => new DomainError('unavailable', 'runtime.unreachable', 'the runtime is away');

const occupy = (id: string) =>
  rooms.applyPing({ ...noPing, scheduler: name, room: id, status: 'occupied', runningMatches: 1 }, statusSettings);

/** The runtime, whose call of this name stays unanswered from then on until `proceed`. */
function stuckAfter(method: 'createInstance' | 'deleteInstance', calls: number) {
  let proceed = (): void => undefined;
  const gate = new Promise<void>((resolve) => (proceed = resolve));
  let arrive = (): void => undefined;
  const reached = new Promise<void>((resolve) => (arrive = resolve));
  const other = runtime.anotherClient();
  let answered = 0;
  const client = Object.assign(Object.create(other) as FakeRuntime, {
    [method]: async (...args: unknown[]): Promise<unknown> => {
      if (++answered > calls) {
        arrive();
        await gate;
      }
      return (other[method] as (...args: unknown[]) => Promise<unknown>)(...args);
    },
  });
  return { client, reached, proceed: () => proceed() };
}

/** Resolves when the worker that runs it knows: its lease was renewed twice since. */
async function canceledAndTold(id: string): Promise<void> {
  await worker.operations.cancelOperation(name, id);
  await eventually(async () => {
    const renewed = await postgres.sql(
      `SELECT FROM maestro.operations
        WHERE id = $1 AND lease_expires_at > cancel_requested_at + $2 * interval '1 ms'`,
      [id, (4 / 3) * stuckLeaseMs],
    );
    expect(renewed).toHaveLength(1);
  });
}

describe('create_scheduler', () => {
  const create = async (changes: Parameters<typeof aSchedulerDefinition>[0] = {}): Promise<Operation> => {
    await worker.schedulers.createScheduler(name, aSchedulerDefinition(changes));
    const operation = (await postgres.operations.findOpen(name, ['create_scheduler']))!;
    await worker.runner.drain(name);
    return (await postgres.operations.get(name, operation.id))!.operation;
  };

  it('makes the place, opens the scheduler and has its health looked at', async () => {
    const operation = await create();
    expect(operation.status).toBe('finished');
    expect(await history(operation)).toEqual(['Created', 'Starting operation', 'Operation finished']);
    expect((await worker.schedulers.getScheduler(name)).state).toBe('in-sync');
    expect(await runtime.createScheduler(name, operation.id)).toBe('already_ours');
    expect(worker.wakeUps.rings).toContainEqual({ kind: 'health', scheduler: name, delayMs: 0 });
  });

  it('says which labels and annotations its rooms do not get', async () => {
    const operation = await create({ labels: { team: 'blue', version: 'mine' }, annotations: { 'maestro.io/x': 'y' } });
    expect(await history(operation)).toEqual([
      'Created',
      'Starting operation',
      expect.stringMatching(/^stored, but rooms do not get them, .*: "version", "maestro.io\/x"$/),
      'Operation finished',
    ]);
  });

  it('leaves neither scheduler nor someone else’s place touched when the place belongs to someone else', async () => {
    await runtime.createScheduler(name, 'someone else');
    const operation = await create();
    expect(operation.status).toBe('error');
    expect(await history(operation)).toEqual([
      'Created',
      'Starting operation',
      'error creating scheduler in runtime: The place "arena" exists',
      'operation execution failed',
      'Starting operation rollback',
      'Operation rollback flow execution finished with success',
      'Operation finished',
    ]);
    expect(await postgres.schedulers.getScheduler(name)).toBeNull();
    expect(await runtime.createScheduler(name, 'someone else')).toBe('already_ours');
    expect(await operationsOf('final')).toMatchObject([{ id: operation.id, definition: 'create_scheduler' }]);
  });

  it('goes on where a worker died after it had made the place', async () => {
    await worker.schedulers.createScheduler(name, aSchedulerDefinition());
    const dead = (await postgres.operations.claimNext(name, 'dead', 1))!;
    await runtime.createScheduler(name, dead.operation.id);
    await eventually(async () => {
      await worker.runner.drain(name);
      expect((await worker.schedulers.getScheduler(name)).state).toBe('in-sync');
    });
    expect(await history(dead.operation)).toEqual(['Created', 'Resuming operation, attempt 2', 'Operation finished']);
  });

  it('waits while the runtime is away, and then does it', async () => {
    runtime.isReachable = false;
    expect((await create()).status).toBe('pending');
    expect((await worker.schedulers.getScheduler(name)).state).toBe('creating');
    runtime.isReachable = true;
    await eventually(async () => {
      await worker.runner.drain(name);
      expect((await worker.schedulers.getScheduler(name)).state).toBe('in-sync');
    });
  });

  it('never leaves a scheduler `creating`: a rollback that the runtime’s absence stops is gone on with', async () => {
    await runtime.createScheduler(name, 'someone else');
    runtime.failNext('deleteScheduler', away());
    const operation = await create();
    expect(operation.status).toBe('pending');
    await eventually(async () => {
      await worker.runner.drain(name);
      expect(await postgres.schedulers.getScheduler(name)).toBeNull();
    });
    expect((await postgres.operations.get(name, operation.id))?.operation.status).toBe('error');
  });

  it('that is canceled leaves neither place nor scheduler', async () => {
    runtime.isReachable = false;
    const operation = await create();
    runtime.isReachable = true;
    await runtime.createScheduler(name, operation.id);
    await worker.operations.cancelOperation(name, operation.id);
    await worker.runner.drain(name);
    expect((await postgres.operations.get(name, operation.id))?.operation.status).toBe('canceled');
    expect(await postgres.schedulers.getScheduler(name)).toBeNull();
    expect(await runtime.createScheduler(name, 'someone else')).toBe('created');
  });

  it('that was rolled back by a worker that died then leaves a new scheduler of that name alone', async () => {
    await worker.schedulers.createScheduler(name, aSchedulerDefinition());
    const dead = (await postgres.operations.claimNext(name, 'dead', 1))!;
    await postgres.schedulers.deleteScheduler((await postgres.schedulers.getScheduler(name))!);
    await worker.schedulers.createScheduler(name, aSchedulerDefinition());
    await eventually(async () => {
      await worker.runner.drain(name);
      expect((await worker.schedulers.getScheduler(name)).state).toBe('in-sync');
    });
    expect((await operationsOf('final')).map(({ id, status }) => [id === dead.operation.id, status])).toEqual([
      [true, 'error'],
      [false, 'finished'],
    ]);
  });
});

describe('add_rooms', () => {
  it('starts as many rooms as asked, each with record, instance and a host port of its own', async () => {
    await created();
    const operation = await run('add_rooms', { amount: 5 });
    expect(operation.status).toBe('finished');
    expect(await history(operation)).toEqual(['Created', 'Starting operation', 'added 5 rooms', 'Operation finished']);
    const ids = await instanceIds();
    expect(ids).toHaveLength(5);
    expect(await roomIds()).toEqual(ids);
    const specs = ids.map((id) => runtime.specOf(id));
    for (const spec of specs) {
      expect(spec).toMatchObject({ scheduler: name, version: 'v1.0.0', validation: false, operationId: operation.id });
    }
    const ports = specs.flatMap((spec) =>
      spec.containers.flatMap(({ ports }) => ports.map(({ hostPort }) => hostPort)),
    );
    expect(new Set(ports).size).toBe(5);
    for (const port of ports) expect([port >= 20_000, port <= 20_999]).toEqual([true, true]);
    expect(worker.wakeUps.rings).toContainEqual({ kind: 'health', scheduler: name, delayMs: 0 });
  });

  it('starts no more than one operation may', async () => {
    worker = openFleetWorker({ stores: postgres, rooms, hostPorts, runtime, limit: 4, batchSize: 3 });
    await created();
    const operation = await run('add_rooms', { amount: 9 });
    expect(await history(operation)).toContain('added 4 rooms');
    expect(await instanceIds()).toHaveLength(4);
  });

  it('draws again when a host port is in use by something else', async () => {
    await created({ portRange: { start: 20_000, end: 20_003 } });
    for (const port of [20_000, 20_001, 20_003]) runtime.takePort('udp', port);
    const operation = await run('add_rooms', { amount: 1 });
    expect(operation.status).toBe('finished');
    const [id] = await instanceIds();
    expect(runtime.specOf(id!).containers[0]?.ports[0]?.hostPort).toBe(20_002);
  });

  it('takes no port of a room that runs', async () => {
    await created({ portRange: { start: 20_000, end: 20_002 } });
    await fleetOf(2);
    const operation = await run('add_rooms', { amount: 1 });
    expect(await history(operation)).toContain('added 1 room');
    const ports = (await instanceIds()).map((id) => runtime.specOf(id).containers[0]!.ports[0]!.hostPort);
    expect(ports.sort()).toEqual([20_000, 20_001, 20_002]);
  });

  it('says how many it really added when some could not start, leaves nothing of those, and looks again later', async () => {
    await created();
    runtime.failNext('createInstance', broken());
    runtime.failNext('createInstance', broken());
    const operation = await run('add_rooms', { amount: 5 });
    expect(operation.status).toBe('finished');
    expect(await history(operation)).toEqual([
      'Created',
      'Starting operation',
      'error adding room: no such image',
      'added 3 rooms',
      'Operation finished',
    ]);
    expect(await roomIds()).toEqual(await instanceIds());
    expect(await roomIds()).toHaveLength(3);
    expect(worker.wakeUps.rings.filter(({ kind }) => kind === 'health')).toEqual([
      { kind: 'health', scheduler: name, delayMs: retryDelayMs },
    ]);
    expect(await worker.registry.metrics()).toContain(
      'maestro_worker_add_rooms_operation_execution_failed_total{scheduler="arena",operation="add_rooms"} 2',
    );
  });

  it('counts no room as added that somebody ended while it was being started', async () => {
    const late = runtime.anotherClient();
    let starts = 0;
    const createInstance = late.createInstance.bind(late);
    late.createInstance = async (spec) => {
      if (starts++ === 0) await rooms.endRoom(name, spec.id);
      return createInstance(spec);
    };
    worker = openFleetWorker({ stores: postgres, rooms, hostPorts, runtime: late });
    await created();
    const operation = await run('add_rooms', { amount: 3 });
    expect(await history(operation)).toEqual([
      'Created',
      'Starting operation',
      'error adding room: it ended before it had been started',
      'added 2 rooms',
      'Operation finished',
    ]);
    expect(await roomIds()).toHaveLength(2);
  });

  it('fails when more rooms fail than start, and keeps those that did', async () => {
    await created();
    for (let count = 0; count < 3; count++) runtime.failNext('createInstance', broken());
    const operation = await run('add_rooms', { amount: 5 });
    expect(operation.status).toBe('error');
    expect((await history(operation)).slice(2)).toEqual([
      'error adding room: no such image',
      'more rooms failed than succeeded, errors: 3 and successes: 2 of amount: 5; because: no such image',
      'operation execution failed',
      'Starting operation rollback',
      'kept the 2 rooms that started: they are wanted',
      'Operation rollback flow execution finished with success',
      'Operation finished',
    ]);
    expect(await roomIds()).toEqual(await instanceIds());
    expect(await roomIds()).toHaveLength(2);
    expect(worker.wakeUps.rings.filter(({ kind }) => kind === 'health')).toEqual([
      { kind: 'health', scheduler: name, delayMs: retryDelayMs },
    ]);
  });

  const refusal = () => new DomainError('permission_denied', 'runtime.forbidden', 'pods is forbidden');

  it('keeps the rooms that it may not start for a worker that may', async () => {
    await created();
    for (let count = 0; count < 2; count++) runtime.failNext('createInstance', refusal());
    const operation = await run('add_rooms', { amount: 3 });
    expect(operation.status).toBe('pending');
    const begun = await roomIds();
    expect(begun).toHaveLength(3);
    const good = openFleetWorker({ stores: another, rooms, hostPorts, runtime });
    await eventually(async () => {
      await good.runner.drain(name);
      expect(await history(operation)).toContain('added 3 rooms');
    });
    expect(await instanceIds()).toEqual(begun);
  });

  it('notes on the rooms that it may not start now that they wait, when it tried last, and why', async () => {
    await created();
    const refusal = (verb: string) =>
      new DomainError('permission_denied', 'runtime.forbidden', `pods is forbidden: cannot ${verb}`);
    for (let count = 0; count < 2; count++) runtime.failNext('createInstance', refusal('create'));
    const operation = await run('add_rooms', { amount: 2 });
    const waiting = async () => (await rooms.readFleet(name)).rooms.map(({ startPutOff }) => startPutOff);
    const first = await waiting();
    expect(first).toHaveLength(2);
    for (const each of first) expect(each?.reason).toBe('pods is forbidden: cannot create');
    await redis.passTime(minuteMs);
    for (let count = 0; count < 2; count++) runtime.failNext('createInstance', refusal('make'));
    await eventually(async () => {
      await openFleetWorker({ stores: another, rooms, hostPorts, runtime }).runner.drain(name);
      for (const each of await waiting()) expect(each?.reason).toBe('pods is forbidden: cannot make');
    });
    for (const each of await waiting()) expect(each!.lastAtMs).toBeGreaterThanOrEqual(first[0]!.lastAtMs);
    await eventually(async () => {
      await openFleetWorker({ stores: another, rooms, hostPorts, runtime }).runner.drain(name);
      expect(await history(operation)).toContain('added 2 rooms');
    });
  });

  it('says why most rooms failed, most frequent first, and of none that it was kept when none was', async () => {
    await created();
    const full = new DomainError('resource_exhausted', 'runtime.quota_exceeded', 'the quota is exceeded.');
    runtime.failNext('createInstance', broken());
    for (let count = 0; count < 2; count++) runtime.failNext('createInstance', full);
    // What was begun cannot be undone either: records without a room.
    for (let count = 0; count < 3; count++) runtime.failNext('deleteInstance', refusal());
    const operation = await run('add_rooms', { amount: 3 });
    const undone = '; and what was begun could not be undone: pods is forbidden';
    expect((await history(operation)).slice(2)).toEqual([
      `error adding room: the quota is exceeded${undone}`,
      `error adding room: no such image${undone}`,
      `more rooms failed than succeeded, errors: 3 and successes: 0 of amount: 3; most often: the quota is exceeded${undone}`,
      'operation execution failed',
      'Starting operation rollback',
      'Operation rollback flow execution finished with success',
      'Operation finished',
    ]);
    expect(await roomIds()).toHaveLength(3);
    expect(worker.log.lines.filter(({ level }) => level === 'error')).toMatchObject([
      { message: 'operation failed', fields: { err: expect.stringContaining('most often: the quota is exceeded') } },
    ]);
  });

  it('says of one room that it was kept', async () => {
    await created();
    for (let count = 0; count < 2; count++) runtime.failNext('createInstance', broken());
    const operation = await run('add_rooms', { amount: 3 });
    expect(await history(operation)).toContain('kept the room that started: it is wanted');
  });

  it.each([1, 3])(
    'starts every room in the end when the runtime is away for a moment, with %d rooms',
    async (amount) => {
      await created();
      runtime.failNext('createInstance', away());
      const operation = await run('add_rooms', { amount });
      expect(operation.status).toBe('pending');
      await eventually(async () => {
        await worker.runner.drain(name);
        expect(await history(operation)).toContain(amount === 1 ? 'added 1 room' : `added ${amount} rooms`);
      });
      expect(await instanceIds()).toHaveLength(amount);
      expect(await roomIds()).toEqual(await instanceIds());
    },
  );

  it('asks a runtime that is away no more than a batch of times', async () => {
    worker = openFleetWorker({ stores: postgres, rooms, hostPorts, runtime, batchSize: 2 });
    await created();
    runtime.calls.length = 0;
    for (let count = 0; count < 10; count++) runtime.failNext('createInstance', away());
    const operation = await run('add_rooms', { amount: 10 });
    expect(operation.status).toBe('pending');
    expect(runtime.calls.filter(({ method }) => method === 'createInstance')).toHaveLength(2);
  });

  it('starts no more than asked when its worker dies in the middle and comes back to life', async () => {
    await created();
    let openGate = (): void => undefined;
    const gate = new Promise<void>((resolve) => (openGate = resolve));
    let isStuck = false;
    const client = runtime.anotherClient();
    const stuck = Object.assign(Object.create(client) as FakeRuntime, {
      createInstance: async (spec: InstanceSpec): Promise<Instance> => {
        if ((await client.listInstances(name)).length === 2) {
          isStuck = true;
          await gate;
        }
        return client.createInstance(spec);
      },
    });
    class Unheard extends PostgresOperationStore {
      override renewLease(): Promise<never> {
        return new Promise(() => undefined);
      }
    }
    const dying = openFleetWorker({
      stores: another,
      operations: new Unheard(another.unitOfWork, another.listener),
      rooms,
      hostPorts,
      runtime: stuck,
      batchSize: 1,
      leaseTtlMs: 1_000,
    });
    const operation = (await worker.operations.enqueue({
      scheduler: name,
      definition: 'add_rooms',
      input: { amount: 5 },
      actor: 'api',
    }))!;
    const dead = dying.runner.drain(name);
    await eventually(() => expect(isStuck).toBe(true));
    await eventually(async () => {
      await worker.runner.drain(name);
      expect(await history(operation)).toContain('added 5 rooms');
    });
    openGate();
    await dead;
    expect(await history(operation)).toEqual([
      'Created',
      'Starting operation',
      'Resuming operation, attempt 2',
      'added 5 rooms',
      'Operation finished',
    ]);
    expect(await instanceIds()).toHaveLength(5);
    expect(await roomIds()).toEqual(await instanceIds());
  });

  describe('that is resumed in a range with a port for each room', () => {
    /** The worker that comes first loses its store at the fifth call of this kind. */
    async function interruptedAt(method: 'createRoom' | 'applyInstance'): Promise<Operation> {
      await created({ portRange: { start: 20_000, end: 20_004 } });
      let calls = 0;
      const lost = Object.assign(Object.create(rooms) as RoomStore, {
        [method]: (...args: never[]) =>
          ++calls < 5 ? (rooms[method] as (...args: never[]) => unknown)(...args) : Promise.reject(away()),
      });
      const operation = await worker.operations.enqueue({
        scheduler: name,
        definition: 'add_rooms',
        input: { amount: 5 },
        actor: 'api',
      });
      await openFleetWorker({ stores: another, rooms: lost, hostPorts, runtime, batchSize: 1 }).runner.drain(name);
      for (const { id } of await runtime.listInstances(name)) runtime.markReady(id);
      return operation!;
    }

    const heard = async (instance: Instance): Promise<unknown> =>
      rooms.applyInstance(instance, statusSettings, { adopt: true, authoritative: true });

    async function finishes(operation: Operation): Promise<void> {
      const next = openFleetWorker({ stores: postgres, rooms, hostPorts, runtime, batchSize: 1 });
      await eventually(async () => {
        await next.runner.drain(name);
        expect(await history(operation)).toEqual([
          'Created',
          'Starting operation',
          'interrupted, it will be tried again: the runtime is away',
          'Resuming operation, attempt 2',
          'added 5 rooms',
          'Operation finished',
        ]);
      });
    }

    it('draws no port for those that run', async () => {
      const operation = await interruptedAt('createRoom');
      const before = await runtime.listInstances(name);
      expect(before).toHaveLength(4);
      await Promise.all(before.map(heard));
      await finishes(operation);
      expect(await instanceIds()).toHaveLength(5);
      expect(await instanceIds()).toEqual(expect.arrayContaining(before.map(({ id }) => id)));
    });

    it('ends none of which the store has not heard yet', async () => {
      const operation = await interruptedAt('applyInstance');
      const before = await runtime.listInstances(name);
      expect(before).toHaveLength(5);
      const unheardOf = (await rooms.readFleet(name)).rooms.find(({ instance }) => instance.status === 'unknown')!;
      for (const instance of before) {
        // On another machine a room may have the same port.
        await heard(instance.id === unheardOf.id ? { ...instance, id: 'arena-elsewhere' } : instance);
      }
      await finishes(operation);
      expect(await runtime.listInstances(name)).toEqual(before);
    });
  });

  it('that is canceled ends the rooms that it started, but for those where a match began, and starts no more', async () => {
    await created();
    const others = await fleetOf(1);
    const { client, reached, proceed } = stuckAfter('createInstance', 2);
    const stuck = openFleetWorker({
      stores: postgres,
      rooms,
      hostPorts,
      runtime: client,
      batchSize: 1,
      leaseTtlMs: stuckLeaseMs,
    });
    const { id } = (await stuck.operations.enqueue({
      scheduler: name,
      definition: 'add_rooms',
      input: { amount: 5 },
      actor: 'api',
    }))!;
    const drained = stuck.runner.drain(name);
    await reached;
    const [played] = (await instanceIds()).filter((room) => !others.includes(room));
    runtime.markReady(played!);
    const instance = (await runtime.listInstances(name)).find((room) => room.id === played)!;
    await rooms.applyInstance(instance, statusSettings, { adopt: false, authoritative: true });
    await occupy(played!);
    await canceledAndTold(id);
    proceed();
    await drained;
    expect((await postgres.operations.get(name, id))?.operation.status).toBe('canceled');
    expect((await history({ scheduler: name, id })).slice(3)).toEqual([
      'context canceled',
      'Starting operation rollback',
      `left alone, a match runs there: [${played}]`,
      'removed 2 of the 3 rooms that had started',
      'Operation rollback flow execution finished with success',
      'Operation finished',
    ]);
    const left = await runtime.listInstances(name);
    expect(left.filter(({ status }) => status !== 'terminating').map((room) => room.id)).toEqual([...others, played]);
    expect(left).toHaveLength(4);
  });

  it('fails for a scheduler that is gone, and says so', async () => {
    const operation = await run('add_rooms', { amount: 1 });
    expect(operation.status).toBe('error');
    expect(await history(operation)).toContain('error fetching scheduler from storage: scheduler arena not found');
  });
});

describe('remove_rooms', () => {
  it('begins to end the rooms that it names, for the reason that it has', async () => {
    await created();
    const [first, second, third] = await fleetOf(3);
    const operation = await run('remove_rooms', { amount: 2, roomIds: [first!, second!], reason: 'scale_down' });
    expect(operation.status).toBe('finished');
    expect(await history(operation)).toContain(`removed rooms: [${first} ${second}]`);
    expect(runtime.calls.filter(({ method }) => method === 'deleteInstance')).toEqual([
      { method: 'deleteInstance', id: first, reason: 'scale_down' },
      { method: 'deleteInstance', id: second, reason: 'scale_down' },
    ]);
    expect((await rooms.getRoom(name, first!))?.status).toBe('terminating');
    expect((await rooms.getRoom(name, third!))?.status).toBe('ready');
    expect(worker.wakeUps.rings.filter(({ kind }) => kind === 'health')).toEqual([]);
  });

  it('leaves a room alone in which a match began since it was chosen, and looks again later', async () => {
    await created();
    const [first, second] = await fleetOf(2);
    await occupy(first!);
    const operation = await run('remove_rooms', { amount: 2, roomIds: [first!, second!], reason: 'scale_down' });
    expect(await history(operation)).toEqual([
      'Created',
      'Starting operation',
      `left alone, a match runs there: [${first}]`,
      `removed rooms: [${second}]`,
      'Operation finished',
    ]);
    expect((await rooms.getRoom(name, first!))?.status).toBe('occupied');
    expect(worker.wakeUps.rings).toContainEqual({ kind: 'health', scheduler: name, delayMs: retryDelayMs });
  });

  it('ends a room that an operator named, says that no match kept it, and looks at once what is missing now', async () => {
    await created();
    const [id] = await fleetOf(2);
    await occupy(id!);
    const operation = await run('remove_rooms', { amount: 1, roomIds: [id!], reason: 'deleted_by_name' });
    expect(await history(operation)).toEqual([
      'Created',
      'Starting operation',
      `removed rooms: [${id}]`,
      'the room was named by an operator, so no match kept it',
      'Operation finished',
    ]);
    expect((await rooms.getRoom(name, id!))?.status).toBe('terminating');
    expect(worker.wakeUps.rings).toContainEqual({ kind: 'health', scheduler: name, delayMs: 0 });
  });

  it('leaves a room alone that was drained, and reports a match all the same', async () => {
    await created();
    const [id] = await fleetOf(1);
    await rooms.drainRooms(name, [id!], 'operator');
    await occupy(id!);
    const operation = await run('remove_rooms', { amount: 1, roomIds: [id!], reason: 'drained' });
    expect(await history(operation)).toContain(`left alone, a match runs there: [${id}]`);
    expect((await rooms.getRoom(name, id!))?.status).toBe('occupied');
  });

  it('ends an expired room whose match has been silent beyond doubt', async () => {
    await created();
    const [id] = await fleetOf(1);
    await rooms.markHearing(24 * 60 * minuteMs);
    await occupy(id!);
    await redis.passTime(2 * roomLimits.pingTimeoutMs + 1);
    await run('remove_rooms', { amount: 1, roomIds: [id!], reason: 'expired_room' });
    expect((await rooms.getRoom(name, id!))?.status).toBe('terminating');
  });

  it('counts an expired room that never came up as one that ended early, says why in the log, and forgives one that was up', async () => {
    await created();
    await run('add_rooms', { amount: 2 });
    for (const { id } of await runtime.listInstances(name)) runtime.markReady(id);
    const started = await runtime.listInstances(name);
    for (const instance of started) {
      await rooms.applyInstance(instance, { maxMatches: 1 }, { adopt: false, authoritative: true });
    }
    const [late, wasUp] = started.map(({ id }) => id);
    await rooms.markHearing(24 * 60 * minuteMs);
    await occupy(wasUp!);
    await redis.passTime(2 * roomLimits.initializationTimeoutMs + 2 * roomLimits.pingTimeoutMs + 1);
    await run('remove_rooms', { amount: 2, roomIds: [late!, wasUp!], reason: 'expired_room' });
    expect((await rooms.getRoom(name, late!))?.status).toBe('terminating');
    const { count, lastReason } = await rooms.readEarlyEnds(name);
    expect([count, lastReason]).toEqual([1, expect.stringMatching(/^it did not ping within /)]);
    expect(worker.log.lines).toContainEqual(
      expect.objectContaining({
        level: 'warn',
        fields: expect.objectContaining({
          scheduler_name: name,
          rooms: 1,
          room_id: late,
          reason: lastReason,
        }) as object,
      }),
    );
  });

  it('leaves a room alone that had expired and pings a match since', async () => {
    await created();
    const [id] = await fleetOf(1);
    await rooms.markHearing(24 * 60 * minuteMs);
    await occupy(id!);
    const operation = await run('remove_rooms', { amount: 1, roomIds: [id!], reason: 'expired_room' });
    expect((await rooms.getRoom(name, id!))?.status).toBe('occupied');
    expect(await history(operation)).toContain(`left alone, a match runs there: [${id}]`);
  });

  it('is content with rooms that nobody knows', async () => {
    await created();
    const operation = await run('remove_rooms', { amount: 1, roomIds: ['arena-nobod'], reason: 'scale_down' });
    expect(operation.status).toBe('finished');
    expect(await roomIds()).toEqual([]);
  });

  it('removes the record of a room that has no instance', async () => {
    await created();
    await rooms.createRoom({ id: 'arena-empty', scheduler: name, version: 'v1.0.0', validation: false });
    await run('remove_rooms', { amount: 1, roomIds: ['arena-empty'], reason: 'expired_room' });
    expect(await roomIds()).toEqual([]);
  });

  it('says of each room why it could not be removed, and fails', async () => {
    await created();
    const [first, second] = await fleetOf(2);
    runtime.failNext('deleteInstance', broken());
    const operation = await run('remove_rooms', { amount: 2, roomIds: [first!, second!], reason: 'scale_down' });
    expect(operation.status).toBe('error');
    expect((await history(operation)).slice(2, 6)).toEqual([
      `error removing room "${first}". Reason => no such image`,
      '1 of 2 rooms could not be removed: no such image',
      'operation execution failed',
      'Starting operation rollback',
    ]);
    expect(await history(operation)).toContain(`removed rooms: [${second}]`);
  });

  it('is left to a worker that may, when the runtime refuses this one, and no room is forgotten', async () => {
    await created();
    const ids = await fleetOf(2);
    runtime.failNext('deleteInstance', new DomainError('permission_denied', 'runtime.forbidden', 'pods is forbidden'));
    const operation = await run('remove_rooms', { amount: 2, roomIds: ids, reason: 'scale_down' });
    expect(operation.status).toBe('pending');
    await eventually(async () => {
      await openFleetWorker({ stores: another, rooms, hostPorts, runtime }).runner.drain(name);
      expect(await history(operation)).toContain(`removed rooms: [${ids.join(' ')}]`);
    });
  });

  it('is put off while the runtime is away, and then ends the rooms', async () => {
    await created();
    const [id] = await fleetOf(1);
    runtime.failNext('deleteInstance', away());
    const operation = await run('remove_rooms', { amount: 1, roomIds: [id!], reason: 'scale_down' });
    expect(operation.status).toBe('pending');
    await eventually(async () => {
      await worker.runner.drain(name);
      expect(await history(operation)).toContain(`removed rooms: [${id}]`);
    });
    expect(runtime.calls.filter(({ method }) => method === 'deleteInstance')).toHaveLength(2);
  });
});

describe('an order of removals that is put off', () => {
  const asks = () => runtime.calls.filter(({ method }) => method === 'deleteInstance').length;

  it.each([
    ['the runtime is away', away()],
    ['the runtime refuses its worker', new DomainError('permission_denied', 'runtime.forbidden', 'pods is forbidden')],
  ])('does not count what never got an answer as asked: %s', async (_, failure) => {
    await created({ roomsReplicas: 0 });
    const [id] = await fleetOf(1);
    for (let count = 0; count < 20; count++) runtime.failNext('deleteInstance', failure);
    const operation = (await worker.operations.enqueue({
      scheduler: name,
      definition: 'remove_rooms',
      input: { amount: 1, roomIds: [id!], reason: 'scale_down' },
      actor: 'api',
    }))!;
    await eventually(async () => {
      await openFleetWorker({ stores: another, rooms, hostPorts, runtime }).runner.drain(name);
      expect(asks()).toBeGreaterThanOrEqual(4);
    });
    await worker.operations.cancelOperation(name, operation.id);
    await eventually(async () => {
      await openFleetWorker({ stores: another, rooms, hostPorts, runtime }).runner.drain(name);
      expect((await postgres.operations.get(name, operation.id))!.operation.status).toBe('canceled');
    });
    expect(await rooms.getRoom(name, id!)).toMatchObject({ status: 'terminating', endAsked: null });
    // The time to go, and its grace period: it is asked, as if nobody had asked before.
    await redis.passTime(roomLimits.deletionTimeoutMs + minuteMs);
    await rooms.markHearing(1_000 * minuteMs);
    await worker.healthCycle.look(name);
    expect((await operationsOf('pending')).map(({ definition }) => definition)).toEqual(['health_controller']);
  });

  it('asks only those again of which nobody heard', async () => {
    await created();
    const [first, second] = await fleetOf(2);
    runtime.failNext('deleteInstance', away());
    const operation = await run('remove_rooms', { amount: 2, roomIds: [first!, second!], reason: 'scale_down' });
    expect(operation.status).toBe('pending');
    expect((await rooms.getRoom(name, first!))!.endAsked).toBeNull();
    const asked = (await rooms.getRoom(name, second!))!.endAsked;
    expect(asked).toMatchObject({ times: 1 });
    await eventually(async () => {
      await worker.runner.drain(name);
      expect(await history(operation)).toContain(`removed rooms: [${first} ${second}]`);
    });
    expect((await rooms.getRoom(name, first!))!.endAsked).toMatchObject({ times: 1 });
    expect((await rooms.getRoom(name, second!))!.endAsked).toEqual(asked);
    expect(asks()).toBe(3);
  });

  it('counts an ask that was heard and refused, so that it is repeated less and less often', async () => {
    await created();
    const [id] = await fleetOf(1);
    runtime.failNext('deleteInstance', broken());
    const operation = await run('remove_rooms', { amount: 1, roomIds: [id!], reason: 'scale_down' });
    expect(operation.status).toBe('error');
    expect((await rooms.getRoom(name, id!))!.endAsked).toMatchObject({ times: 1 });
  });
});

describe('an order of many removals', () => {
  it('that is canceled ends no more rooms than those of the step that runs, and says which', async () => {
    await created({ portRange: { start: 20_000, end: 21_000 } });
    const ids = await fleetOf(101);
    const { client, reached, proceed } = stuckAfter('deleteInstance', 99);
    const stuck = openFleetWorker({ stores: postgres, rooms, hostPorts, runtime: client, leaseTtlMs: stuckLeaseMs });
    const { id } = (await stuck.operations.enqueue({
      scheduler: name,
      definition: 'remove_rooms',
      input: { amount: ids.length, roomIds: ids, reason: 'scale_down' },
      actor: 'api',
    }))!;
    const drained = stuck.runner.drain(name);
    await reached;
    await canceledAndTold(id);
    proceed();
    await drained;
    expect((await postgres.operations.get(name, id))?.operation.status).toBe('canceled');
    const told = (await history({ scheduler: name, id })).find((event) => event.startsWith('removed rooms'))!;
    expect(new Set(told.slice('removed rooms: ['.length, -1).split(' '))).toEqual(new Set(ids.slice(0, 100)));
    expect((await rooms.getRoom(name, ids[100]!))?.status).toBe('ready');
  });
});

describe('a room that terminates', () => {
  it('is not asked to go again before its grace period is over, and the time to go after it', async () => {
    await created({ roomsReplicas: 0, spec: { terminationGracePeriodNs: 300e9 } });
    const [id] = await fleetOf(1);
    await rooms.terminateRooms(name, [id!], { reason: 'scale_down' });
    await redis.passTime(400_000);
    await rooms.markHearing(100 * minuteMs);
    await worker.healthCycle.look(name);
    expect(await operationsOf('pending')).toEqual([]);
    await redis.passTime(30_000);
    await worker.healthCycle.look(name);
    expect((await operationsOf('pending')).map(({ definition }) => definition)).toEqual(['health_controller']);
  });
});

describe('delete_scheduler', () => {
  it('ends the instances, waits for them, and removes everything but the operations', async () => {
    await created();
    const [first, second] = await fleetOf(2);
    const { operationId } = await worker.schedulers.deleteScheduler(name);
    expect((await worker.schedulers.getScheduler(name)).state).toBe('terminating');
    const deletion = { scheduler: name, id: operationId };
    await worker.runner.drain(name);
    expect(await history(deletion)).toContain('Waiting for instances to be deleted: 2');
    // No worker is busy with it meanwhile.
    expect(await postgres.operations.isBusy(name)).toBe(false);
    expect(worker.wakeUps.rings).toContainEqual({ kind: 'operations', scheduler: name, delayMs: 5 });
    await worker.runner.drain(name);
    runtime.end(first!);
    await worker.runner.drain(name);
    await worker.runner.drain(name);
    expect((await worker.schedulers.getScheduler(name)).state).toBe('terminating');
    runtime.end(second!);
    await worker.runner.drain(name);
    expect(await history(deletion)).toEqual([
      'Created',
      'Starting operation',
      expect.stringMatching(/^the \w+ is deleted with everything in it$/),
      'Waiting for instances to be deleted: 2',
      'Waiting for instances to be deleted: 1',
      'Operation finished',
    ]);
    expect(await postgres.schedulers.getScheduler(name)).toBeNull();
    expect(await postgres.schedulers.listVersions(name)).toEqual([]);
    expect(await rooms.listSchedulers()).toEqual([]);
    expect(await runtime.createScheduler(name, 'a new one')).toBe('created');
    expect((await operationsOf('final')).map(({ definition }) => definition)).toEqual([
      'create_scheduler',
      'add_rooms',
      'delete_scheduler',
    ]);
  });

  it('goes ahead of pending work, and cancels it', async () => {
    await created();
    const pending = (await worker.operations.enqueue({
      scheduler: name,
      definition: 'add_rooms',
      input: { amount: 1 },
      actor: 'api',
    }))!;
    await worker.schedulers.deleteScheduler(name);
    await worker.runner.drain(name);
    expect((await postgres.operations.get(name, pending.id))?.operation.status).toBe('canceled');
    expect(await history(pending)).toEqual(['Created', 'canceled: the scheduler is being deleted']);
    expect(await operationsOf('pending')).toEqual([]);
  });

  it('is the same operation when it is asked for again', async () => {
    await created();
    const answers = await Promise.all([
      worker.schedulers.deleteScheduler(name),
      worker.schedulers.deleteScheduler(name),
      worker.schedulers.deleteScheduler(name),
    ]);
    expect(new Set(answers.map(({ operationId }) => operationId)).size).toBe(1);
  });

  it('fails when instances outlive their grace period, stays `terminating`, and can be repeated', async () => {
    worker = openFleetWorker({ stores: postgres, rooms, hostPorts, runtime, patienceMs: 100 });
    await created();
    const [id] = await fleetOf(1);
    const { operationId } = await worker.schedulers.deleteScheduler(name);
    await eventually(async () => {
      await worker.runner.drain(name);
      expect((await postgres.operations.get(name, operationId))?.operation.status).toBe('error');
    });
    expect(await history({ scheduler: name, id: operationId })).toContain(
      'error deleting scheduler: 1 instances still run after their grace period; delete the scheduler again to go on',
    );
    expect((await worker.schedulers.getScheduler(name)).state).toBe('terminating');
    expect(await roomIds()).toEqual([id]);
    await worker.healthCycle.look(name);
    expect(await operationsOf('pending')).toEqual([]);

    runtime.end(id!);
    const again = await worker.schedulers.deleteScheduler(name);
    expect(again.operationId).not.toBe(operationId);
    await worker.runner.drain(name);
    expect(await postgres.schedulers.getScheduler(name)).toBeNull();
  });

  it('ends instances one by one where their place is not ours', async () => {
    await created();
    await fleetOf(2);
    const ids = (await runtime.listInstances(name)).map(({ id }) => id).sort();
    jest.spyOn(runtime, 'deleteScheduler').mockResolvedValue('not_found');
    await worker.schedulers.deleteScheduler(name);
    await worker.runner.drain(name);
    await worker.runner.drain(name);
    const ended = runtime.calls.filter(({ method }) => method === 'deleteInstance');
    // Once each, however often it looks.
    expect(ended.map(({ id }) => id).sort()).toEqual(ids);
    expect(ended.map(({ reason }) => reason)).toEqual(['scheduler_deleted', 'scheduler_deleted']);
    for (const id of ids) runtime.end(id);
    await worker.runner.drain(name);
    expect(await postgres.schedulers.getScheduler(name)).toBeNull();
  });

  it('says how many of the rooms that go have matches', async () => {
    await created();
    const [first] = await fleetOf(2);
    await occupy(first!);
    const { operationId } = await worker.schedulers.deleteScheduler(name);
    await worker.runner.drain(name);
    expect(await history({ scheduler: name, id: operationId })).toContain(
      'the place is deleted with everything in it; 1 room had a match, or a caller on the way to one',
    );
  });

  it('is not given more time by workers that go on with it', async () => {
    await created({ spec: { terminationGracePeriodNs: 3_600e9 } });
    await fleetOf(1);
    const { operationId } = await worker.schedulers.deleteScheduler(name);
    const patience = async (): Promise<unknown> => {
      const [row] = await postgres.sql<{ progress: object }>(`SELECT progress FROM maestro.operations WHERE id = $1`, [
        operationId,
      ]);
      return row?.progress;
    };
    await worker.runner.drain(name);
    const first = await patience();
    expect(first).toEqual({ left: 1, giveUpAtMs: expect.any(Number), saidPlaceGoes: true });
    // Of its own running time: the clocks of two machines need not agree.
    expect((first as { giveUpAtMs: number }).giveUpAtMs).toBeLessThan(2 * 3_600_000);
    await openFleetWorker({ stores: another, rooms, hostPorts, runtime }).runner.drain(name);
    expect(await patience()).toEqual(first);
    await postgres.sql(`UPDATE maestro.operations SET progress = jsonb_set(progress, '{giveUpAtMs}', '1')`);
    await worker.runner.drain(name);
    expect((await postgres.operations.get(name, operationId))?.operation.status).toBe('error');
  });

  it('that is canceled stays as far as it came, says so, and can be repeated', async () => {
    await created();
    const [id] = await fleetOf(1);
    const { operationId } = await worker.schedulers.deleteScheduler(name);
    await worker.runner.drain(name);
    await worker.operations.cancelOperation(name, operationId);
    await worker.runner.drain(name);
    expect((await postgres.operations.get(name, operationId))?.operation.status).toBe('canceled');
    expect(await history({ scheduler: name, id: operationId })).toContain(
      'the scheduler stays `terminating`; delete it again to go on',
    );
    expect((await worker.schedulers.getScheduler(name)).state).toBe('terminating');
    runtime.end(id!);
    await worker.schedulers.deleteScheduler(name);
    await worker.runner.drain(name);
    expect(await postgres.schedulers.getScheduler(name)).toBeNull();
  });

  it('is put off while the runtime is away', async () => {
    await created();
    await worker.schedulers.deleteScheduler(name);
    runtime.isReachable = false;
    await worker.runner.drain(name);
    expect((await worker.schedulers.getScheduler(name)).state).toBe('terminating');
    runtime.isReachable = true;
    await eventually(async () => {
      await worker.runner.drain(name);
      expect(await postgres.schedulers.getScheduler(name)).toBeNull();
    });
  });

  it.each([
    ['before it cancels what is pending', 'getScheduler', false],
    ['while it forgets the rooms', 'deleteScheduler', true],
  ] as const)('leaves a newer scheduler of the name alone that comes %s', async (_, moment, wasCreated) => {
    if (wasCreated) await created();
    else await worker.schedulers.createScheduler(name, aSchedulerDefinition());
    const creation = await postgres.operations.findOpen(name, ['create_scheduler']);
    const { operationId } = await worker.schedulers.deleteScheduler(name);
    const former = (await postgres.schedulers.getScheduler(name))!;
    let isReplaced = false;
    const replaceOnce = async (at: typeof moment): Promise<void> => {
      if (isReplaced || at !== moment) return;
      isReplaced = true;
      if (creation !== null) await worker.operations.cancelOperation(name, creation.id);
      else await another.schedulers.deleteScheduler(former);
      await worker.schedulers.createScheduler(name, aSchedulerDefinition({ game: 'the new one' }));
    };
    const schedulers = Object.assign(Object.create(postgres.schedulers) as typeof postgres.schedulers, {
      getScheduler: async (...args: [string]) => {
        const found = await postgres.schedulers.getScheduler(...args);
        await replaceOnce('getScheduler');
        return found;
      },
    });
    const forgetting = Object.assign(Object.create(rooms) as RoomStore, {
      deleteScheduler: async (...args: [string]) => {
        await rooms.deleteScheduler(...args);
        await replaceOnce('deleteScheduler');
      },
    });
    const stores = Object.assign(Object.create(postgres) as PostgresUnderTest, { schedulers });
    await openFleetWorker({ stores, rooms: forgetting, hostPorts, runtime }).runner.drain(name);
    expect((await postgres.operations.get(name, operationId))?.operation.status).toBe('finished');
    expect(await worker.schedulers.getScheduler(name)).toMatchObject({
      state: 'in-sync',
      definition: { game: 'the new one' },
    });
    // The place of a creation that never ran was not there to be deleted, and the new scheduler's is its own.
    expect(runtime.calls.filter(({ method }) => method === 'deleteScheduler')).toHaveLength(wasCreated ? 1 : 0);
    expect((await operationsOf('final')).at(-1)).toMatchObject({ definition: 'create_scheduler', status: 'finished' });
  });

  it('never waits in a circle with who cancels what is pending and writes the scheduler', async () => {
    await created();
    const { operationId } = await worker.schedulers.deleteScheduler(name);
    let canceling: Promise<void> | undefined;
    const forgetting = Object.assign(Object.create(rooms) as RoomStore, {
      deleteScheduler: async (...args: [string]) => {
        await rooms.deleteScheduler(...args);
        const order = { scheduler: name, definition: 'add_rooms', input: { amount: 1 }, actor: 'api' } as const;
        const pending = (await postgres.operations.insert(order))!;
        await new Promise<void>((isCanceled, fail) => {
          canceling = another.unitOfWork.run(async () => {
            await another.operations.cancel(name, pending.id, 'cancellation requested').catch(fail);
            isCanceled();
            await eventually(async () => {
              const waiting = await postgres.sql(
                `SELECT FROM pg_stat_activity WHERE application_name = 'test-stores' AND wait_event_type = 'Lock'`,
              );
              expect(waiting).toHaveLength(1);
            });
            await another.schedulers.setLastDownscale(name, new Date());
          });
        });
      },
    });
    await openFleetWorker({ stores: postgres, rooms: forgetting, hostPorts, runtime }).runner.drain(name);
    await canceling;
    expect(await operationsOf('final')).toContainEqual(
      expect.objectContaining({ id: operationId, status: 'finished', attempt: 1 }),
    );
  });

  it('tells of the instances that are left once per halving', async () => {
    await created();
    const ids = await fleetOf(9);
    const { operationId } = await worker.schedulers.deleteScheduler(name);
    for (const id of ids) {
      await worker.runner.drain(name);
      runtime.end(id);
    }
    await worker.runner.drain(name);
    const told = (await history({ scheduler: name, id: operationId })).filter((event) => event.startsWith('Waiting'));
    expect(told.map((event) => Number(event.split(': ')[1]))).toEqual([9, 4, 2, 1]);
  });

  it('that was carried out by a worker that died then leaves a new scheduler of that name alone', async () => {
    await created();
    const { operationId } = await worker.schedulers.deleteScheduler(name);
    const dead = (await postgres.operations.claimNext(name, 'dead', 1))!;
    expect(dead.operation.id).toBe(operationId);
    await runtime.deleteScheduler(name);
    await postgres.schedulers.deleteScheduler((await postgres.schedulers.getScheduler(name))!);

    await worker.schedulers.createScheduler(name, aSchedulerDefinition({ game: 'the new one' }));
    await eventually(async () => {
      await worker.runner.drain(name);
      expect(await worker.schedulers.getScheduler(name)).toMatchObject({ state: 'in-sync' });
    });
    expect((await worker.schedulers.getScheduler(name)).definition.game).toBe('the new one');
    expect((await postgres.operations.get(name, operationId))?.operation.status).toBe('finished');
  });
});

describe('a health cycle', () => {
  /** New instances come up, ending ones end, the others ping; then a look, and its work. Until there is nothing to do. */
  const converge = async (): Promise<number> => {
    for (let cycles = 1; cycles <= 20; cycles++) {
      for (const { id, status } of await runtime.listInstances(name)) {
        if (status === 'pending') runtime.markReady(id);
        if (status === 'terminating') runtime.end(id);
      }
      await hearFleet(rooms, runtime, name);
      await worker.healthCycle.look(name);
      if ((await operationsOf('pending')).length === 0) return cycles;
      await worker.runner.drain(name);
    }
    throw new Error('it does not converge');
  };

  const ready = async (): Promise<number> => (await rooms.countFleet(name)).rooms.ready;

  it('brings a new scheduler to its replicas, by one order, and then costs no rows', async () => {
    await created({ roomsReplicas: 7 });
    expect(await converge()).toBe(2);
    expect(await ready()).toBe(7);
    expect(await instanceIds()).toHaveLength(7);
    const before = await postgres.sql('SELECT id FROM maestro.operations');
    await worker.healthCycle.look(name);
    await worker.healthCycle.look(name);
    expect(await postgres.sql('SELECT id FROM maestro.operations')).toEqual(before);
    const operations = await operationsOf('final');
    expect(operations.map(({ definition }) => definition)).toEqual([
      'create_scheduler',
      'health_controller',
      'add_rooms',
    ]);
    const [, look, add] = operations;
    expect(look?.input).toEqual({ tookAction: true });
    expect(await history(look!)).toContain(`created operation (id: ${add!.id}) to add 7 rooms.`);
  });

  it('replaces a room that died', async () => {
    await created({ roomsReplicas: 3 });
    await converge();
    const [dead] = await instanceIds();
    runtime.kill(dead!);
    await hearFleet(rooms, runtime, name);
    await converge();
    expect(await ready()).toBe(3);
    expect(await instanceIds()).not.toContain(dead);
  });

  /** As one ping interval later, with everybody heard once more. */
  const oneIntervalLater = async (): Promise<void> => {
    await redis.passTime(roomLimits.drainConfirmMs);
    await rooms.markHearing(100 * minuteMs);
    await hearFleet(rooms, runtime, name);
  };
  const lookAndWork = async (): Promise<void> => {
    await worker.healthCycle.look(name);
    await worker.runner.drain(name);
  };
  const claimed = async (): Promise<string[]> =>
    (await rooms.readFleet(name)).rooms.filter(({ drainReason }) => drainReason === 'scale_down').map(({ id }) => id);
  const downscaledAt = async () => (await worker.schedulers.getScheduler(name)).lastDownscaleAt;
  const bufferOfFive = ({ cooldown }: { cooldown: number }) => ({
    enabled: true,
    min: 1,
    max: 500,
    cooldown,
    policy: { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 5 } } },
  });
  const lastOf = async (definition: OperationDefinition): Promise<Operation> =>
    (await operationsOf('final')).findLast((operation) => operation.definition === definition)!;

  it('claims what is too much, remembers when, and removes what is still empty one ping interval later', async () => {
    await created({ roomsReplicas: 2 });
    await fleetOf(5);
    await lookAndWork();
    expect(await instanceIds()).toHaveLength(5);
    const going = await claimed();
    expect(going).toHaveLength(3);
    const at = await downscaledAt();
    expect(at).not.toBeNull();
    const claim = await lastOf('health_controller');
    expect(claim.input).toEqual({ tookAction: true });
    expect(await history(claim)).toContainEqual(
      expect.stringMatching(/^3 rooms too many, they go if they are still empty one ping interval later: \[.*\]$/),
    );
    expect(worker.wakeUps.rings).toContainEqual({ kind: 'health', scheduler: name, delayMs: 0 });
    worker.wakeUps.rings.length = 0;
    await lookAndWork();
    expect(await instanceIds()).toHaveLength(5);
    const [{ delayMs = 0 } = {}] = worker.wakeUps.rings;
    expect([delayMs > 0, delayMs <= roomLimits.drainConfirmMs]).toEqual([true, true]);

    await oneIntervalLater();
    await lookAndWork();
    const removal = await lastOf('remove_rooms');
    expect(removal).toMatchObject({
      status: 'finished',
      input: { amount: 3, reason: 'scale_down' },
      reason: '3 rooms were too many, and are empty still',
    });
    expect(removal.input).toMatchObject({ roomIds: expect.arrayContaining(going) });
    expect(await history(await lastOf('health_controller'))).toContain(
      `created operation (id: ${removal.id}) to remove 3 rooms.`,
    );
    expect(await downscaledAt()).toEqual(at);
    await converge();
    expect(await ready()).toBe(2);
    expect(await instanceIds()).toHaveLength(2);
  });

  it('leaves a claimed room alone in which a match began, and takes its claim back', async () => {
    await created({ roomsReplicas: 2 });
    await fleetOf(4);
    await lookAndWork();
    const [kept, other] = await claimed();
    await oneIntervalLater();
    await occupy(kept!);
    await lookAndWork();
    expect((await lastOf('remove_rooms')).input).toMatchObject({ roomIds: [other] });
    expect(await rooms.getRoom(name, kept!)).toMatchObject({ status: 'occupied', drainingSinceMs: null });
    expect(await history(await lastOf('health_controller'))).toContain(
      `1 room stays after all: it is wanted again, or a match began there: [${kept}]`,
    );
    expect(await instanceIds()).toContain(kept);
  });

  it('spares a claimed room whose match begins after its removal was ordered', async () => {
    await created({ roomsReplicas: 2 });
    await fleetOf(3);
    await lookAndWork();
    const [late] = await claimed();
    await oneIntervalLater();
    const justBefore = Object.assign(Object.create(rooms) as RoomStore, {
      terminateRooms: async (...args: Parameters<RoomStore['terminateRooms']>) => {
        await occupy(late!);
        return rooms.terminateRooms(...args);
      },
    });
    worker = openFleetWorker({ stores: postgres, rooms: justBefore, hostPorts, runtime });
    await lookAndWork();
    expect(await history(await lastOf('remove_rooms'))).toContain(`left alone, a match runs there: [${late}]`);
    expect(await instanceIds()).toContain(late);
  });

  it('claims no room of a fleet whose rooms all have matches, and remembers no scale-down', async () => {
    await created({ roomsReplicas: 1 });
    for (const id of await fleetOf(3)) await occupy(id);
    await lookAndWork();
    expect(await claimed()).toEqual([]);
    expect(await downscaledAt()).toBeNull();
    expect(await operationsOf('pending')).toEqual([]);
  });

  it('wants a claimed room back before it starts another', async () => {
    await created({ roomsReplicas: 2 });
    const all = await fleetOf(3);
    await lookAndWork();
    const [going] = await claimed();
    const dead = all.find((id) => id !== going)!;
    runtime.kill(dead);
    await hearFleet(rooms, runtime, name);
    await lookAndWork();
    expect(await claimed()).toEqual([]);
    expect((await instanceIds()).sort()).toEqual(all.filter((id) => id !== dead).sort());
  });

  it('remembers a scale-down whose worker died right after it had claimed the rooms', async () => {
    await created({ roomsReplicas: 1 });
    await fleetOf(3);
    const dying = Object.assign(Object.create(rooms) as RoomStore, {
      drainRooms: async (...args: Parameters<RoomStore['drainRooms']>) => {
        await rooms.drainRooms(...args);
        throw new DomainError('unavailable', 'room_store.unavailable', 'the answer was lost');
      },
    });
    await openFleetWorker({ stores: postgres, rooms: dying, hostPorts, runtime }).healthCycle.look(name);
    const interrupted = openFleetWorker({ stores: postgres, rooms: dying, hostPorts, runtime });
    await interrupted.runner.drain(name);
    expect(await claimed()).toHaveLength(2);
    expect(await downscaledAt()).toBeNull();
    await eventually(async () => {
      await worker.runner.drain(name);
      expect(await downscaledAt()).not.toBeNull();
    });
    expect(await claimed()).toHaveLength(2);
    expect(await operationsOf('active')).toEqual([]);
    expect(await history(await lastOf('health_controller'))).toContain(
      '2 rooms had been claimed when it was interrupted',
    );
  });

  it('keeps to the cooldown that it began when it is resumed after it had claimed the rooms', async () => {
    await created({ roomsReplicas: 1, autoscaling: bufferOfFive({ cooldown: 3600 }) });
    await fleetOf(120);
    await worker.healthCycle.look(name);
    const dying = Object.assign(Object.create(rooms) as RoomStore, {
      drainRooms: async (...args: Parameters<RoomStore['drainRooms']>) => {
        await rooms.drainRooms(...args);
        throw new DomainError('unavailable', 'room_store.unavailable', 'the answer was lost');
      },
    });
    await openFleetWorker({ stores: postgres, rooms: dying, hostPorts, runtime }).runner.drain(name);
    const before = await claimed();
    // What one cycle may claim; many more are too many.
    expect(before).toHaveLength(50);
    await eventually(async () => {
      await worker.runner.drain(name);
      expect(await postgres.operations.isBusy(name)).toBe(false);
    });
    expect(await downscaledAt()).not.toBeNull();
    expect(await claimed()).toEqual(before);
  });

  it('has the fleet looked at when its worker marked rooms and was not the one who holds it any more', async () => {
    await created({ roomsReplicas: 1 });
    await fleetOf(3);
    await worker.healthCycle.look(name);
    const late = Object.assign(Object.create(rooms) as RoomStore, {
      drainRooms: async (...args: Parameters<RoomStore['drainRooms']>) => {
        await postgres.sql(
          `UPDATE maestro.operations SET fencing_token = nextval('maestro.fencing_tokens'), lease_expires_at = now()
            WHERE status = 'in_progress'`,
        );
        return rooms.drainRooms(...args);
      },
    });
    const stale = openFleetWorker({ stores: postgres, rooms: late, hostPorts, runtime });
    await stale.runner.drain(name);
    expect(await claimed()).toHaveLength(2);
    expect(await downscaledAt()).toBeNull();
    expect(stale.wakeUps.rings).toContainEqual({ kind: 'health', scheduler: name, delayMs: 0 });
  });

  it('removes a draining room in spite of its match when the deadline that the scheduler states is over', async () => {
    await created({ roomsReplicas: 1, extensions: { drain: { deadlineSeconds: 60 } } });
    const [late] = await fleetOf(1);
    await occupy(late!);
    await rooms.drainRooms(name, [late!], 'operator');
    await converge();
    await occupy(late!);
    await redis.passTime(minuteMs);
    await rooms.markHearing(100 * minuteMs);
    await occupy(late!);
    await lookAndWork();
    const removal = await lastOf('remove_rooms');
    expect(removal).toMatchObject({
      input: { roomIds: [late], reason: 'drain_deadline' },
      reason: '1 room drained for longer than the scheduler allows, whatever runs there',
    });
    expect(await history(removal)).toContain(
      'the drain deadline that the scheduler states was over, so no match kept a room',
    );
    expect((await rooms.getRoom(name, late!))?.status).toBe('terminating');
  });

  describe('of a scheduler whose automation is paused', () => {
    it('does nothing, says so, and goes on when it is resumed', async () => {
      await created({ roomsReplicas: 2 });
      await worker.automation.pauseAutomation(name, { by: 'ann', reason: 'a fair' });
      expect(worker.wakeUps.rings).toEqual([{ kind: 'health', scheduler: name, delayMs: 0 }]);
      await lookAndWork();
      expect(await operationsOf('pending')).toEqual([]);
      expect(await instanceIds()).toEqual([]);
      expect(await worker.records.read(name)).toMatchObject({
        desired: 2,
        actions: [],
        blockedBy: [{ code: 'paused', detail: expect.stringContaining('by ann: a fair') }],
      });
      worker.wakeUps.rings.length = 0;
      await worker.automation.resumeAutomation(name);
      expect(worker.wakeUps.rings).toEqual([{ kind: 'health', scheduler: name, delayMs: 0 }]);
      await lookAndWork();
      expect(await instanceIds()).toHaveLength(2);
    });

    it('does not act on what was ordered before the pause', async () => {
      await created({ roomsReplicas: 2 });
      await worker.healthCycle.look(name);
      await worker.automation.pauseAutomation(name, { by: 'ann', reason: '' });
      await worker.runner.drain(name);
      expect(await instanceIds()).toEqual([]);
    });

    it('is none that nobody knows, nor one for a reason that is a story', async () => {
      await expect(worker.automation.resumeAutomation('nobody')).rejects.toMatchObject({ code: 'scheduler.not_found' });
      await created();
      const pause = worker.automation.pauseAutomation(name, { by: 'ann', reason: 'x'.repeat(501) });
      await expect(pause).rejects.toMatchObject({ code: 'automation.invalid_reason' });
      expect(await worker.automation.findPause(name)).toBeNull();
    });
  });

  describe('leaves a record of what it saw, decided and why', () => {
    it('of what it does', async () => {
      await created({ roomsReplicas: 4 });
      await fleetOf(1);
      await worker.healthCycle.look(name);
      expect(await worker.records.read(name)).toMatchObject({
        version: 'v1.0.0',
        inputs: { available: 1, roomsReplicas: 4, counts: { rooms: { ready: 1 } }, replacedVersions: [] },
        desired: 4,
        formula: 'roomsReplicas = 4',
        actions: [{ action: 'add', amount: 3, roomIds: [] }],
        blockedBy: [],
      });
    });

    it('of rooms that refused what it wanted, which is no action', async () => {
      await created({ roomsReplicas: 1 });
      const all = await fleetOf(3);
      await worker.healthCycle.look(name);
      // Between the facts and the mark.
      const late = Object.assign(Object.create(rooms) as RoomStore, {
        drainRooms: async (...args: Parameters<RoomStore['drainRooms']>) => {
          for (const id of all) await occupy(id);
          return rooms.drainRooms(...args);
        },
      });
      const worker2 = openFleetWorker({ stores: postgres, rooms: late, hostPorts, runtime });
      await worker2.runner.drain(name);
      expect(await claimed()).toEqual([]);
      expect(await downscaledAt()).toBeNull();
      expect(await worker2.records.read(name)).toMatchObject({ actions: [] });
      expect(await operationsOf('pending')).toEqual([]);
      expect((await operationsOf('final')).map(({ definition }) => definition)).not.toContain('health_controller');
    });

    it('when it does nothing, and while the room state is being rebuilt', async () => {
      await created({ roomsReplicas: 1 });
      await converge();
      await worker.healthCycle.look(name);
      expect(await worker.records.read(name)).toMatchObject({ desired: 1, actions: [], blockedBy: [] });
      await redis.loseEverything();
      await worker.healthCycle.look(name);
      expect(await worker.records.read(name)).toMatchObject({
        desired: null,
        inputs: { counts: null, available: null },
        blockedBy: [{ code: 'rebuilding' }],
        nextLookAtMs: expect.any(Number),
      });
    });

    it('that no other scheduler of the same name goes by, when its look was late', async () => {
      let goOn = (): void => undefined;
      const held = new Promise<void>((resolve) => (goOn = resolve));
      const webhook = new FakeDesiredRoomsWebhook();
      const url = 'https://forecast.example.com/rooms';
      webhook.setConduct(url, { desired: 9 });
      const records = new FakeHealthRecords();
      const heldRecords = Object.assign(Object.create(records) as FakeHealthRecords, {
        write: async (...args: Parameters<FakeHealthRecords['write']>) => {
          await held;
          return records.write(...args);
        },
      });
      const late = openFleetWorker({ stores: postgres, rooms, hostPorts, runtime, records: heldRecords, webhook });
      worker = openFleetWorker({ stores: postgres, rooms, hostPorts, runtime, records });
      const definition = {
        roomsReplicas: 2,
        autoscaling: { ...bufferOfFive({ cooldown: 0 }), policy: { type: 'webhook', parameters: {} } },
        extensions: {
          autoscaling: {
            webhook: { url, timeoutMs: 30_000, maxAnswerAgeSeconds: 3600 },
            scaleDownStabilizationSeconds: 3600,
          },
        },
      };
      await created(definition);
      const look = late.healthCycle.look(name);
      await eventually(() => expect(webhook.asked).toHaveLength(1));
      await worker.schedulers.deleteScheduler(name);
      await worker.runner.drain(name);
      await created(definition);
      goOn();
      await look;
      expect(await records.read(name)).toMatchObject({ desired: 9 });
      // Nobody answers this one: it has its replicas, and nothing that a predecessor heard or wanted.
      await lookAndWork();
      expect(await records.read(name)).toMatchObject({ desired: 2, memory: { webhookAnswers: {} } });
    });

    it('and heals the fleet also when another release left a record of another shape', async () => {
      const records = new FakeHealthRecords();
      worker = openFleetWorker({ stores: postgres, rooms, hostPorts, runtime, records });
      await created({ roomsReplicas: 2 });
      records.leave(name, '{}');
      await lookAndWork();
      expect(await instanceIds()).toHaveLength(2);
      expect(await records.read(name)).toMatchObject({ desired: 2 });
    });

    it('and heals the fleet also when records can be neither read nor written', async () => {
      const records = new FakeHealthRecords();
      records.read = () => Promise.reject(new Error('broken'));
      records.write = () => Promise.reject(new Error('broken'));
      worker = openFleetWorker({ stores: postgres, rooms, hostPorts, runtime, records });
      await created({ roomsReplicas: 2 });
      await lookAndWork();
      expect(await instanceIds()).toHaveLength(2);
    });
  });

  describe('by a webhook', () => {
    const url = 'https://forecast.example.com/rooms';
    const asked = (webhook: FakeDesiredRoomsWebhook) => webhook.asked.map(({ question }) => question);
    const open = async (changes: { url?: string; timeoutMs?: number } = {}, asking?: DesiredRoomsWebhook) => {
      const webhook = new FakeDesiredRoomsWebhook();
      worker = openFleetWorker({ stores: postgres, rooms, hostPorts, runtime, webhook: asking ?? webhook });
      await created({
        roomsReplicas: 1,
        autoscaling: { enabled: true, min: 1, max: 10, cooldown: 0, policy: { type: 'webhook', parameters: {} } },
        extensions: { autoscaling: { webhook: { url, timeoutMs: 50, maxAnswerAgeSeconds: 60, ...changes } } },
      });
      return webhook;
    };

    it('asks once for the look and its operation, with the fleet as it stands', async () => {
      const webhook = await open();
      webhook.setConduct(url, { desired: 4 });
      await lookAndWork();
      expect(await instanceIds()).toHaveLength(4);
      expect(asked(webhook)).toEqual([
        {
          scheduler: name,
          version: 'v1.0.0',
          counts: expect.objectContaining({ runningMatches: 0 }),
          maxMatches: 1,
          roomsReplicas: 1,
          min: 1,
          max: 10,
          lastDesired: null,
        },
      ]);
      await converge();
      expect(asked(webhook).at(-1)).toMatchObject({ counts: { rooms: { ready: 4 } }, lastDesired: 4 });
    });

    it('goes by its last answer while it is silent, and by the replicas when that is too old', async () => {
      const webhook = await open();
      webhook.setConduct(url, { desired: 3 });
      await converge();
      expect(await ready()).toBe(3);
      webhook.setConduct(url, 'never answers');
      await worker.healthCycle.look(name);
      const silent = (await worker.records.read(name))!;
      expect(silent).toMatchObject({ desired: 3, formula: expect.stringMatching(/answered at .* = 3$/) });
      expect(silent.notes).toEqual([
        expect.stringMatching(/failed at .*: Pretended: deadline_exceeded\. It is asked again at .* holds until /),
      ]);
      expect(silent.nextLookAtMs! - silent.seenAtMs).toBeGreaterThan(0);
      // Not asked again at once, and told alike.
      await worker.healthCycle.look(name);
      const record = (await worker.records.read(name))!;
      expect(record).toMatchObject({
        desired: 3,
        formula: silent.formula,
        notes: silent.notes,
        nextLookAtMs: silent.nextLookAtMs,
      });
      const calls = 'maestro_worker_autoscaling_webhook_calls_total{scheduler="arena",outcome="deadline_exceeded"}';
      expect(await worker.registry.metrics()).toContain(`${calls} 1`);
      const answer = record.memory.webhookAnswers[url]!;
      const old = { ...answer, atMs: answer.atMs - 2 * minuteMs };
      await worker.records.write(name, { ...record, memory: { ...record.memory, webhookAnswers: { [url]: old } } });
      await worker.healthCycle.look(name);
      expect(await worker.records.read(name)).toMatchObject({ desired: 1 });
    });

    it('replaces a room that died while a question is on its way, and takes the answer when it comes', async () => {
      const webhook = await open({ timeoutMs: 30_000 });
      webhook.setConduct(url, { desired: 3 });
      await converge();
      webhook.setConduct(url, 'never answers');
      const [dead] = await instanceIds();
      runtime.end(dead!);
      await hearFleet(rooms, runtime, name);
      await lookAndWork();
      expect(await instanceIds()).toHaveLength(3);
      const { desired, notes } = (await worker.records.read(name))!;
      expect({ desired, notes }).toEqual({
        desired: 3,
        notes: [expect.stringMatching(/was asked at .* goes on without it; .* Its last answer, 3 at .* holds until/)],
      });
      const { length } = webhook.asked;
      worker.wakeUps.rings.length = 0;
      webhook.answerAtLast(url, { desired: 5 });
      await eventually(() => expect(worker.wakeUps.rings).toContainEqual(expect.objectContaining({ kind: 'health' })));
      await worker.healthCycle.look(name);
      expect(await worker.records.read(name)).toMatchObject({ desired: 5, notes: [] });
      expect(webhook.asked).toHaveLength(length);
    });

    it('says why it cannot ask where nobody is to be asked, and which setting allows it', async () => {
      const guarded = 'http://169.254.169.254/latest/meta-data?token=secret';
      await open({ url: guarded }, new HttpDesiredRoomsWebhook({ allowGuardedAddresses: false }));
      await worker.healthCycle.look(name);
      const record = (await worker.records.read(name))!;
      expect(record).toMatchObject({
        desired: 1,
        notes: [
          expect.stringMatching(
            /^The webhook 169\.254\.169\.254\/latest\/meta-data says nothing: .*autoscaling\.webhook\.allowGuardedAddresses allows it\. It is asked again at /,
          ),
        ],
      });
      expect(JSON.stringify(record.notes)).not.toContain('secret');
    });
  });

  it('replaces a room that has been silent for too long', async () => {
    await created({ roomsReplicas: 10 });
    await converge();
    const [silent] = await instanceIds();
    await redis.passTime(5 * minuteMs);
    for (const { id } of await runtime.listInstances(name)) {
      if (id === silent) continue;
      await rooms.applyPing({ ...noPing, scheduler: name, room: id, status: 'ready' }, statusSettings);
    }
    await worker.healthCycle.look(name);
    await worker.runner.drain(name);
    const orders = (await operationsOf('final')).slice(-2);
    expect(orders.map(({ definition, input }) => [definition, input])).toEqual([
      ['remove_rooms', { amount: 1, roomIds: [silent], reason: 'expired_room' }],
      ['add_rooms', { amount: 1 }],
    ]);
    await converge();
    expect(await instanceIds()).not.toContain(silent);
    expect(await ready()).toBe(10);
  });

  it('replaces a room that drains, and removes it when its match is over and the delay too', async () => {
    await created({ roomsReplicas: 3 });
    await converge();
    await rooms.markHearing(24 * 60 * minuteMs);
    const [leaving] = await instanceIds();
    await occupy(leaving!);
    await rooms.drainRooms(name, [leaving!], 'operator');
    await worker.healthCycle.look(name);
    await worker.runner.drain(name);
    for (const { id, status } of await runtime.listInstances(name)) if (status === 'pending') runtime.markReady(id);
    expect(await instanceIds()).toHaveLength(4);

    await hearFleet(rooms, runtime, name);
    worker.wakeUps.rings.length = 0;
    await worker.healthCycle.look(name);
    expect(await operationsOf('pending')).toEqual([]);
    const [{ kind, scheduler, delayMs = 0 } = {}] = worker.wakeUps.rings;
    expect([kind, scheduler]).toEqual(['health', name]);
    expect(delayMs).toBeGreaterThan(0);
    expect(delayMs).toBeLessThanOrEqual(roomLimits.drainConfirmMs);

    await redis.passTime(roomLimits.drainConfirmMs);
    await hearFleet(rooms, runtime, name);
    await worker.healthCycle.look(name);
    await worker.runner.drain(name);
    const [look, removal] = (await operationsOf('final')).slice(-2);
    expect(removal).toMatchObject({
      definition: 'remove_rooms',
      input: { amount: 1, roomIds: [leaving], reason: 'drained' },
      actor: 'health_controller',
      reason: '1 room was drained, and is empty',
    });
    expect(await history(look!)).toContain(`created operation (id: ${removal!.id}) to remove 1 drained room.`);
    await converge();
    expect(await ready()).toBe(3);
    expect(await instanceIds()).not.toContain(leaving);
  });

  it('expires nobody while no pings can arrive', async () => {
    await created({ roomsReplicas: 10 });
    await converge();
    await redis.passTime(24 * 60 * minuteMs);
    await worker.healthCycle.look(name);
    expect(await operationsOf('pending')).toEqual([]);
  });

  it.each<[string, () => Promise<unknown>]>([
    ['is creating', () => worker.schedulers.createScheduler(name, aSchedulerDefinition())],
    [
      'is creating, whose creation waits for the runtime to come back',
      async () => {
        await worker.schedulers.createScheduler(name, aSchedulerDefinition());
        runtime.isReachable = false;
        await worker.runner.drain(name);
      },
    ],
    [
      'is going, with a deletion that waits for its instances',
      async () => {
        await created();
        await fleetOf(1);
        await worker.schedulers.deleteScheduler(name);
        await worker.runner.drain(name);
      },
    ],
    ['is being deleted', async () => created().then(() => worker.schedulers.deleteScheduler(name))],
    [
      'has work that is open',
      async () => {
        await created();
        await worker.operations.enqueue({
          scheduler: name,
          definition: 'add_rooms',
          input: { amount: 3 },
          actor: 'api',
        });
      },
    ],
    ['is not known', async () => undefined],
  ])('orders nothing for a scheduler that %s', async (_, arrange) => {
    await arrange();
    const before = await operationsOf('pending');
    await worker.healthCycle.look(name);
    expect(await operationsOf('pending')).toEqual(before);
  });

  it('is put off while other work of the scheduler is open, so that what rang is not forgotten', async () => {
    await created();
    await worker.operations.enqueue({ scheduler: name, definition: 'add_rooms', input: { amount: 3 }, actor: 'api' });
    await worker.healthCycle.look(name);
    expect(worker.wakeUps.rings).toContainEqual({ kind: 'health', scheduler: name, delayMs: 1_000 });
  });

  it('heals a fleet whose scheduler is `creating` because a version change waits', async () => {
    await created({ roomsReplicas: 2 });
    await converge();
    const waiting = (await postgres.operations.insert({
      scheduler: name,
      definition: 'switch_active_version',
      input: { newActiveVersion: 'v2.0.0' },
      actor: 'api',
    }))!;
    await postgres.operations.wait((await postgres.operations.claimNext(name, 'me', 60_000))!, 60_000);
    await postgres.schedulers.setState(name, 'creating');
    const [dead] = await instanceIds();
    runtime.kill(dead!);
    await hearFleet(rooms, runtime, name);
    await worker.healthCycle.look(name);
    expect(await operationsOf('pending')).toMatchObject([{ definition: 'health_controller' }]);
    await worker.runner.drainDue(name);
    expect(await instanceIds()).toHaveLength(2);
    expect((await postgres.operations.get(name, waiting.id))?.operation.status).toBe('in_progress');
  });

  it('does not act before the scheduler has a place, though it was ordered', async () => {
    await worker.schedulers.createScheduler(name, aSchedulerDefinition());
    await postgres.sql(`UPDATE maestro.operations SET not_before = now() + interval '1 h'`);
    const operation = await run('health_controller', {});
    expect(operation).toMatchObject({ status: 'finished', input: { tookAction: false } });
  });

  it('says why it ordered what it ordered', async () => {
    await created({ roomsReplicas: 10 });
    await converge();
    const ordered = async (): Promise<string[]> =>
      (await operationsOf('final')).slice(1).map(({ definition, reason }) => `${definition}: ${reason}`);
    expect(await ordered()).toEqual([
      'health_controller: 0 rooms are available, 10 are wanted: roomsReplicas = 10',
      'add_rooms: 0 rooms are available, 10 are wanted: roomsReplicas = 10',
    ]);
    const [stuck] = await instanceIds();
    runtime.report(stuck!, { status: 'pending' });
    await rooms.createRoom({ id: 'arena-stuck', scheduler: name, version: 'v1.0.0', validation: false });
    await redis.passTime(roomLimits.initializationTimeoutMs + 1);
    await worker.healthCycle.look(name);
    await worker.runner.drain(name);
    expect((await ordered())[2]).toMatch(/^health_controller: 1 room expired: initialization_timeout/);
    expect((await ordered())[3]).toBe('remove_rooms: 1 room expired: initialization_timeout');
  });

  it('orders nothing while the room state is being rebuilt', async () => {
    await created();
    await redis.loseEverything();
    await worker.healthCycle.look(name);
    expect(await operationsOf('pending')).toEqual([]);
    const operation = await run('health_controller', {});
    expect(operation).toMatchObject({ status: 'finished', input: { tookAction: false } });
    expect(await instanceIds()).toEqual([]);
    await rooms.markSynced();
    await worker.healthCycle.look(name);
    expect(await operationsOf('pending')).toMatchObject([{ definition: 'health_controller' }]);
  });

  it('is not listed when there is nothing left to do by the time it runs', async () => {
    await created({ roomsReplicas: 2 });
    await converge();
    const operation = await run('health_controller', {});
    expect(operation).toMatchObject({ status: 'finished', input: { tookAction: false } });
    expect((await operationsOf('final')).map(({ id }) => id)).not.toContain(operation.id);
  });

  it('orders nothing while rooms are ordered that do not exist yet, and looks again', async () => {
    await created({ roomsReplicas: 3 });
    // Ordered by another look, and put off before its rooms had names.
    const order = {
      scheduler: name,
      definition: 'add_rooms',
      input: { amount: 3 },
      actor: 'health_controller',
    } as const;
    const ordered = (await postgres.operations.insert(order))!;
    await postgres.operations.release((await postgres.operations.claimNext(name, 'other', minuteMs))!, minuteMs);
    const operation = await run('health_controller', {});
    expect(operation).toMatchObject({ status: 'finished', input: { tookAction: false } });
    expect(await operationsOf('pending')).toMatchObject([{ id: ordered.id }]);
    expect(worker.wakeUps.rings).toContainEqual({ kind: 'health', scheduler: name, delayMs: 1_000 });
  });

  it('orders once, also when its end could not be written and it runs again', async () => {
    await created({ roomsReplicas: 4 });
    let failures = 1;
    class Failing extends PostgresOperationStore {
      override finish(...args: Parameters<OperationStore['finish']>): Promise<void> {
        if (args[0].operation.definition === 'health_controller' && failures-- > 0) return Promise.reject(away());
        return super.finish(...args);
      }
    }
    const failing = openFleetWorker({
      stores: postgres,
      operations: new Failing(postgres.unitOfWork, postgres.listener),
      rooms,
      hostPorts,
      runtime,
    });
    await failing.healthCycle.look(name);
    await eventually(async () => {
      await failing.runner.drain(name);
      expect(await postgres.operations.isBusy(name)).toBe(false);
    });
    expect((await operationsOf('final')).map(({ definition, attempt }) => [definition, attempt])).toEqual([
      ['create_scheduler', 1],
      ['health_controller', 2],
      ['add_rooms', 1],
    ]);
    expect(await instanceIds()).toHaveLength(4);
  });

  describe('that does not come to its end', () => {
    /** The worker is told to cancel, or its time is over, after the plan and before the order. */
    class Interrupted extends PostgresOperationStore {
      onFinish: ((held: HeldOperation) => Promise<void>) | null = null;

      override async finish(...args: Parameters<OperationStore['finish']>): Promise<void> {
        const { onFinish } = this;
        this.onFinish = null;
        if (args[0].operation.definition === 'health_controller') await onFinish?.(args[0]);
        return super.finish(...args);
      }
    }
    const open = () => {
      const operations = new Interrupted(postgres.unitOfWork, postgres.listener);
      return { operations, worker: openFleetWorker({ stores: postgres, operations, rooms, hostPorts, runtime }) };
    };
    const endOf = async (operation: Pick<Operation, 'scheduler' | 'id'>): Promise<string> =>
      (await postgres.operations.get(name, operation.id))!.operation.status;

    it('ordered nothing when it is canceled at the last moment', async () => {
      await created({ roomsReplicas: 4 });
      const interrupted = open();
      interrupted.operations.onFinish = ({ operation }) =>
        interrupted.worker.operations.cancelOperation(name, operation.id);
      await interrupted.worker.healthCycle.look(name);
      const [cycle] = await operationsOf('pending');
      await interrupted.worker.runner.drain(name);
      expect(await endOf(cycle!)).toBe('canceled');
      expect(await operationsOf('pending')).toEqual([]);
      expect(await instanceIds()).toEqual([]);
    });

    it('has ordered nothing when it is resumed after its deadline', async () => {
      await created({ roomsReplicas: 4 });
      await worker.healthCycle.look(name);
      const [cycle] = await operationsOf('pending');
      // A worker that died at its last write, and nobody who came for longer than a cycle may take.
      const interrupted = open();
      let comeBack = (): void => undefined;
      const dead = new Promise<void>((resolve) => (comeBack = resolve));
      interrupted.operations.onFinish = () => dead;
      const drained = interrupted.worker.runner.drain(name);
      await eventually(() => expect(interrupted.operations.onFinish).toBeNull());
      expect(await operationsOf('pending')).toEqual([]);
      await postgres.sql(
        `UPDATE maestro.operations SET fencing_token = nextval('maestro.fencing_tokens'),
           started_at = started_at - interval '1 h', lease_expires_at = now() WHERE id = $1`,
        [cycle!.id],
      );
      await eventually(async () => {
        await worker.runner.drain(name);
        expect(await endOf(cycle!)).toBe('error');
      });
      expect(await operationsOf('pending')).toEqual([]);
      expect(await instanceIds()).toEqual([]);
      expect(worker.wakeUps.rings.at(-1)).toEqual({ kind: 'health', scheduler: name, delayMs: retryDelayMs });
      // It finds that another one went on; until then its deadline's timer keeps this process alive.
      comeBack();
      await drained;
      expect(await endOf(cycle!)).toBe('error');
    });
  });
});
