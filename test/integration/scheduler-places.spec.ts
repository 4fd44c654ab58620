import { DomainError } from '../../src/domain/errors';
import type { Operation, OperationDefinition, OperationInputs } from '../../src/domain/operation/operation';
import { SchedulerPlaces } from '../../src/features/operations/scheduler-places';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { FakeRuntime } from '../support/fake-runtime';
import { historyOf, openFleetWorker, type FleetWorker } from '../support/fleet-worker';
import { openPostgres, type PostgresUnderTest } from '../support/open-postgres';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';
import { RecordedLog } from '../support/recorded-log';

const name = 'arena';
const madeAnew = 'the place of scheduler arena was not there: it was made anew, empty';
const leftStanding = 'place arena is left standing: others use it';

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
  await redis.store.markSynced();
  await redis.store.markHearing(1_000_000_000);
  runtime = new FakeRuntime();
  worker = openFleetWorker({ stores: postgres, rooms: redis.store, hostPorts: redis.hostPorts, runtime });
});

async function created(): Promise<void> {
  await worker.schedulers.createScheduler(name, aSchedulerDefinition({ roomsReplicas: 2 }));
  await worker.runner.drain(name);
  expect((await worker.schedulers.getScheduler(name)).state).toBe('in-sync');
}

async function run<D extends OperationDefinition>(definition: D, input: OperationInputs[D]): Promise<Operation> {
  const operation = await worker.operations.enqueue({ scheduler: name, definition, input, actor: 'api' });
  await worker.runner.drain(name);
  return stored(operation!);
}

const stored = async ({ id }: Pick<Operation, 'id'>): Promise<Operation> =>
  (await postgres.operations.get(name, id))!.operation;
const history = (operation: Pick<Operation, 'scheduler' | 'id'>) => historyOf(postgres, operation);
const instances = async () => (await runtime.listInstances(name)).map(({ id }) => id);
const asked = (method: string) => runtime.calls.filter((call) => call.method === method).length;

describe('add_rooms', () => {
  it('makes the place anew that somebody removed, tells it, and starts its rooms', async () => {
    await created();
    runtime.losePlace(name);
    const operation = await run('add_rooms', { amount: 3 });
    expect(await history(operation)).toEqual([
      'Created',
      'Starting operation',
      madeAnew,
      'added 3 rooms',
      'Operation finished',
    ]);
    expect(await instances()).toHaveLength(3);
    expect(worker.log.lines).toContainEqual({
      level: 'warn',
      fields: expect.objectContaining({ scheduler_name: name, operation_id: operation.id }),
      message: 'the place of a scheduler was not there, and was made anew',
    });
  });

  it('says nothing of a place that is there, and asks once however many rooms it starts', async () => {
    await created();
    const operation = await run('add_rooms', { amount: 90 });
    expect(await history(operation)).not.toContain(madeAnew);
    expect(asked('ensureScheduler')).toBe(1);
  });

  it('makes the first place of a scheduler that was imported', async () => {
    await postgres.schedulers.createScheduler(name, aSchedulerDefinition({ roomsReplicas: 2 }));
    await postgres.schedulers.setState(name, 'in-sync');
    await worker.healthCycle.look(name);
    await worker.runner.drain(name);
    expect(await instances()).toHaveLength(2);
  });

  it('notes of rooms that it recorded that they wait for their place', async () => {
    await created();
    runtime.failNext('createInstance', new DomainError('unavailable', 'runtime.unreachable', 'the runtime is away'));
    const operation = await run('add_rooms', { amount: 1 });
    const going = new DomainError('unavailable', 'runtime.place_going', 'the place is being deleted');
    runtime.failNext('ensureScheduler', going);
    await eventually(async () => {
      await worker.runner.drain(name);
      expect(await history(operation)).toContain('interrupted, it will be tried again: the place is being deleted');
    });
    const [room] = (await redis.store.readFleet(name)).rooms;
    expect(room!.startPutOff?.reason).toBe('the place is being deleted');
  });

  it('waits while the place goes that somebody removes, says so, and goes on when it is gone', async () => {
    await created();
    await run('add_rooms', { amount: 1 });
    const [id] = await instances();
    await runtime.deleteScheduler(name);
    const operation = await run('add_rooms', { amount: 1 });
    expect(operation.status).toBe('pending');
    expect((await history(operation)).at(-1)).toContain('The place "arena" is being deleted');
    runtime.end(id!);
    await eventually(async () => {
      await worker.runner.drain(name);
      expect((await stored(operation)).status).toBe('finished');
    });
    expect(await history(operation)).toContain(madeAnew);
    expect(await instances()).toHaveLength(1);
  });

  it('fails with the reason, and starts nothing, where a place of somebody else has the name', async () => {
    await created();
    runtime.losePlace(name);
    runtime.takePlace(name);
    const operation = await run('add_rooms', { amount: 2 });
    expect(operation.status).toBe('error');
    expect(await history(operation)).toEqual(
      expect.arrayContaining([
        'error adding room: The place "arena" exists',
        expect.stringMatching(/^more rooms failed than succeeded, .*; because: The place "arena" exists$/),
      ]),
    );
    expect(asked('createInstance')).toBe(0);
    expect(asked('deleteInstance')).toBe(0);
    expect((await redis.store.readFleet(name)).rooms).toEqual([]);
  });

  it('is ordered less and less often while a place of somebody else has the name, and the scheduler shows it', async () => {
    await created();
    runtime.losePlace(name);
    runtime.takePlace(name);
    const orders = async (definition: OperationDefinition) =>
      (await postgres.operations.list(name, { stage: 'final', order: 'asc', page: 1, perPage: 100 })).operations.filter(
        (operation) => operation.definition === definition,
      ).length;
    const look = async () => {
      await worker.healthCycle.look(name);
      await worker.runner.drain(name);
    };
    // The clock of these tests passes for schedulers with records only.
    await redis.store.createRoom({ id: 'trial', scheduler: name, version: 'v1.0.0', validation: true });
    // Three early ends are free, and two rooms are wanted.
    for (let round = 1; round <= 2; round++) {
      await look();
      expect(await orders('add_rooms')).toBe(round);
    }
    await look();
    expect(await orders('add_rooms')).toBe(2);
    expect(await redis.store.readEarlyEnds(name)).toMatchObject({
      count: 4,
      notCreated: 4,
      lastReason: 'The place "arena" exists',
    });
    expect((await worker.schedulers.getScheduler(name)).state).toBe('on-error');
    for (let seconds = 0; seconds < 60; seconds += 5) {
      await redis.passTime(5_000);
      await redis.store.markHearing(1_000_000_000);
      await look();
    }
    // After 5, 10, 15, 25, 35 and 55 s, where nobody slows it down 12 times.
    expect(await orders('add_rooms')).toBe(8);
  });

  it('fails a room with the reason that waited to be started when somebody took the place', async () => {
    await created();
    runtime.failNext('createInstance', new DomainError('unavailable', 'runtime.unreachable', 'the runtime is away'));
    const operation = await run('add_rooms', { amount: 1 });
    expect(operation.status).toBe('pending');
    const [waiting] = (await redis.store.readFleet(name)).rooms;
    expect(waiting!.startPutOff?.reason).toBe('the runtime is away');
    runtime.losePlace(name);
    runtime.takePlace(name);
    await eventually(async () => {
      await worker.runner.drain(name);
      expect((await stored(operation)).status).toBe('error');
    });
    expect((await redis.store.readFleet(name)).rooms).toEqual([]);
    expect(await redis.store.readEarlyEnds(name)).toMatchObject({ count: 1, lastReason: 'The place "arena" exists' });
  });

  it('makes no place for a scheduler that is being deleted', async () => {
    await created();
    runtime.losePlace(name);
    await postgres.schedulers.setState(name, 'terminating');
    const operation = await run('add_rooms', { amount: 2 });
    expect(operation.status).toBe('error');
    expect(await history(operation)).toContain(
      'scheduler arena is deleted, or being deleted: no room is started in it',
    );
    expect(asked('ensureScheduler')).toBe(0);
  });

  it.each([
    ['is gone', (at: Date) => postgres.schedulers.deleteScheduler({ name, createdAt: at })],
    ['is being deleted', () => postgres.schedulers.setState(name, 'terminating')],
    [
      'is another one by now',
      async (at: Date) => {
        await postgres.schedulers.deleteScheduler({ name, createdAt: at });
        await postgres.schedulers.createScheduler(name, aSchedulerDefinition());
      },
    ],
  ])('takes the place back that it made too late: when the scheduler %s', async (_, change) => {
    await created();
    const scheduler = (await postgres.schedulers.getScheduler(name))!;
    runtime.losePlace(name);
    // It stood still between its look at the scheduler and the call, and lost its lease meanwhile.
    const late = runtime.anotherClient();
    const ensureScheduler = late.ensureScheduler.bind(late);
    late.ensureScheduler = async (...args) => {
      await change(scheduler.createdAt);
      return ensureScheduler(...args);
    };
    const places = new SchedulerPlaces(late, postgres.schedulers, new RecordedLog());
    await expect(places.ensure(scheduler, 'operation-1')).rejects.toMatchObject({ code: 'scheduler.terminating' });
    expect(await runtime.createScheduler(name, 'the next one')).toBe('created');
  });
});

describe('create_new_scheduler_version', () => {
  it('makes the place anew for its validation room', async () => {
    await created();
    runtime.losePlace(name);
    const definition = aSchedulerDefinition({ roomsReplicas: 2 });
    const [container] = definition.spec.containers;
    const changed = { ...definition, spec: { ...definition.spec, containers: [{ ...container!, image: 'arena:2' }] } };
    const operation = await run('create_new_scheduler_version', { scheduler: { Name: name }, definition: changed });
    expect(await history(operation)).toEqual(expect.arrayContaining([madeAnew, expect.stringMatching(/started$/)]));
    expect(await instances()).toHaveLength(1);
  });
});

describe('delete_scheduler', () => {
  it('says once why the place stays, ends what is ours in it, and the next scheduler of the name gets it', async () => {
    await created();
    await run('add_rooms', { amount: 2 });
    runtime.sharePlace(name);
    const { operationId } = await worker.schedulers.deleteScheduler(name);
    const deletion = { scheduler: name, id: operationId };
    for (let polls = 0; polls < 3; polls++) await worker.runner.drain(name);
    for (const id of await instances()) runtime.end(id);
    await worker.runner.drain(name);
    expect(await history(deletion)).toEqual([
      'Created',
      'Starting operation',
      leftStanding,
      'Waiting for instances to be deleted: 2',
      'Operation finished',
    ]);
    expect(await postgres.schedulers.getScheduler(name)).toBeNull();
    await created();
    expect((await run('add_rooms', { amount: 1 })).status).toBe('finished');
  });

  it('says it once however often the runtime does', async () => {
    await created();
    await run('add_rooms', { amount: 2 });
    jest.spyOn(runtime, 'deleteScheduler').mockResolvedValue({ left: leftStanding });
    const { operationId } = await worker.schedulers.deleteScheduler(name);
    for (let polls = 0; polls < 3; polls++) await worker.runner.drain(name);
    for (const id of await instances()) runtime.end(id);
    await worker.runner.drain(name);
    const lines = await history({ scheduler: name, id: operationId });
    expect(lines.filter((line) => line === leftStanding)).toHaveLength(1);
    expect(lines.at(-1)).toBe('Operation finished');
  });
});

describe('create_scheduler', () => {
  it('that is canceled says that the place stays which it had', async () => {
    runtime.isReachable = false;
    await worker.schedulers.createScheduler(name, aSchedulerDefinition());
    await worker.runner.drain(name);
    const operation = (await postgres.operations.findOpen(name, ['create_scheduler']))!;
    runtime.isReachable = true;
    await runtime.createScheduler(name, operation.id);
    runtime.sharePlace(name);
    await worker.operations.cancelOperation(name, operation.id);
    await worker.runner.drain(name);
    expect((await stored(operation)).status).toBe('canceled');
    expect(await history(operation)).toContain(leftStanding);
  });
});
