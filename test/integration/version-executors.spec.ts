import { DomainError } from '../../src/domain/errors';
import type { Operation } from '../../src/domain/operation/operation';
import type { ValidationLimits } from '../../src/domain/room/judge-validation';
import type { Instance } from '../../src/domain/room/room';
import type { SchedulerDefinition } from '../../src/domain/scheduler/scheduler';
import type { Execution, Executor } from '../../src/features/operations/executor';
import {
  CreateNewVersionExecutor,
  CreateNewVersionOptions,
} from '../../src/features/operations/executors/create-new-version.executor';
import { SwitchActiveVersionExecutor } from '../../src/features/operations/executors/switch-active-version.executor';
import { SchedulerPlaces } from '../../src/features/operations/scheduler-places';
import { RoomLifecycle } from '../../src/features/rooms/room-lifecycle';
import type { HostPortReservations } from '../../src/ports/host-port-reservations';
import type { RoomStore } from '../../src/ports/room-store';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { FakeRuntime } from '../support/fake-runtime';
import { historyOf, noPing, openFleetWorker, statusSettings, type FleetWorker } from '../support/fleet-worker';
import { openPostgres, type PostgresUnderTest } from '../support/open-postgres';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';
import { RecordedLog } from '../support/recorded-log';

const name = 'arena';
const limits: ValidationLimits = { attempts: 3, timeoutMs: 120_000, acceptOccupied: false };

let postgres: PostgresUnderTest;
let runtime: FakeRuntime;
let redis: RedisRoomStoreUnderTest;
let rooms: RoomStore;
let hostPorts: HostPortReservations;
let worker: FleetWorker;

beforeAll(async () => {
  postgres = await openPostgres();
  redis = await openRedisRoomStore();
}, 60_000);
afterAll(() => Promise.all([postgres?.close(), redis?.close()]));
beforeEach(async () => {
  await postgres.clear();
  runtime = new FakeRuntime();
  await redis.loseEverything();
  await use(redis.store);
  await worker.schedulers.createScheduler(name, aSchedulerDefinition());
  await worker.runner.drain(name);
  expect(await stateOf()).toBe('in-sync');
  runtime.calls.length = 0;
});

async function use(store: RoomStore): Promise<void> {
  rooms = store;
  hostPorts = redis.hostPorts;
  await rooms.markSynced();
  await rooms.markHearing(1_000_000_000);
  openWorker();
}

function openWorker(validation: Partial<ValidationLimits> = {}): void {
  worker = openFleetWorker({ stores: postgres, rooms, hostPorts, runtime, validation: { ...limits, ...validation } });
}

// What clients do --------------------------------------------------------------------------------------------------------

const withImage = (image: string): SchedulerDefinition => {
  const definition = aSchedulerDefinition();
  return { ...definition, spec: { ...definition.spec, containers: [{ ...definition.spec.containers[0]!, image }] } };
};
const minorChange = aSchedulerDefinition({ roomsReplicas: 5 });
const majorChange = withImage('arena:2');

async function enqueueVersion(definition: SchedulerDefinition): Promise<Operation> {
  const input = { scheduler: { Name: name }, definition };
  return (await worker.operations.enqueue({
    scheduler: name,
    definition: 'create_new_scheduler_version',
    input,
    actor: 'api',
  }))!;
}

/** As far as it comes without anything else happening. */
async function order(definition: SchedulerDefinition): Promise<Operation> {
  const operation = await enqueueVersion(definition);
  await worker.runner.drain(name);
  return operation;
}

async function switchTo(newActiveVersion: string): Promise<Operation> {
  const operation = await worker.operations.enqueue({
    scheduler: name,
    definition: 'switch_active_version',
    input: { newActiveVersion },
    actor: 'api',
  });
  await worker.runner.drain(name);
  return operation!;
}

// What happens -----------------------------------------------------------------------------------------------------------

/** The bell rings, and everybody does what can be done now. */
const ring = () => worker.runner.drain(name);

/** Time passes by the database's clock, which is the only one that counts, and whoever waited for it goes on. */
async function pass(ms: number): Promise<void> {
  await postgres.sql(
    `UPDATE maestro.operations SET started_at = started_at - $1 * interval '1 millisecond' WHERE finished_at IS NULL`,
    [ms],
  );
  await ring();
}

const live = async (): Promise<Instance[]> =>
  (await runtime.listInstances(name)).filter(({ status }) => status !== 'terminating');

/** The one validation room there is; it must be one. */
async function validationRoom(): Promise<Instance> {
  const [room, ...others] = await live();
  expect([room?.validation, others]).toEqual([true, []]);
  return room!;
}

/** What the watch says of it. */
async function tell(id: string): Promise<void> {
  const instance = (await runtime.listInstances(name)).find((each) => each.id === id)!;
  await rooms.applyInstance(instance, statusSettings, { adopt: true, authoritative: true });
}

async function comesUp(id: string, status: 'ready' | 'occupied' = 'ready'): Promise<void> {
  runtime.markReady(id);
  await tell(id);
  await rooms.applyPing({ ...noPing, scheduler: name, room: id, status }, statusSettings);
}

// What came of it --------------------------------------------------------------------------------------------------------

const statusOf = async (operation: Operation) => (await postgres.operations.get(name, operation.id))!.operation.status;
const stateOf = async () => (await postgres.schedulers.getScheduler(name))!.state;
const activeVersion = async () => (await postgres.schedulers.getScheduler(name))!.version;
const versions = async () => (await postgres.schedulers.listVersions(name)).map(({ version }) => version).sort();
const history = (operation: Operation) => historyOf(postgres, operation);
const started = () => runtime.calls.filter(({ method }) => method === 'createInstance').map(({ id }) => id);
const removals = () => runtime.calls.filter(({ method }) => method === 'deleteInstance');
const operationsOf = async (stage: 'pending' | 'active' | 'final') =>
  (await postgres.operations.list(name, { stage, order: 'asc', page: 1, perPage: 100 })).operations;
const broken = () => new DomainError('internal', 'runtime.broken', 'no such image');
const away = () => new DomainError('unavailable', 'runtime.unreachable', 'the runtime is away');

/** Nothing is left of the try: as if it had never been. */
async function expectUntouched(): Promise<void> {
  expect(await live()).toEqual([]);
  expect((await rooms.readFleet(name)).rooms.filter(({ status }) => status !== 'terminating')).toEqual([]);
  expect([await versions(), await activeVersion(), await stateOf()]).toEqual([['v1.0.0'], 'v1.0.0', 'in-sync']);
  expect(await operationsOf('pending')).toEqual([]);
  expect(await operationsOf('active')).toEqual([]);
}

async function expectSwitchedTo(version: string): Promise<void> {
  expect(await live()).toEqual([]);
  expect([await activeVersion(), await stateOf()]).toEqual([version, 'in-sync']);
  expect(await versions()).toEqual(['v1.0.0', version]);
}

describe('create_new_scheduler_version without need of a new room', () => {
  it('stores the version, orders the switch to it, and starts no room', async () => {
    const operation = await order(minorChange);
    const [, , switched] = await operationsOf('final');
    expect(await history(operation)).toEqual([
      'Created',
      'Starting operation',
      `enqueued switch active version operation with id: ${switched!.id}`,
      'Operation finished',
    ]);
    expect(switched).toMatchObject({
      definition: 'switch_active_version',
      status: 'finished',
      input: { newActiveVersion: 'v1.1.0' },
      actor: 'api',
      reason: 'version v1.1.0 is stored',
    });
    expect(await postgres.schedulers.getScheduler(name)).toMatchObject({
      version: 'v1.1.0',
      rollbackVersion: 'v1.0.0',
      state: 'in-sync',
      definition: minorChange,
    });
    expect(started()).toEqual([]);
  });

  it('makes a version of a definition that changes nothing', async () => {
    expect(await statusOf(await order(aSchedulerDefinition()))).toBe('finished');
    await expectSwitchedTo('v1.1.0');
  });

  it('fails when the scheduler is being deleted meanwhile, and stores nothing', async () => {
    const operation = await enqueueVersion(minorChange);
    await postgres.schedulers.setState(name, 'terminating');
    await ring();
    expect(await statusOf(operation)).toBe('error');
    expect(await history(operation)).toContain('scheduler arena is deleted, or being deleted: it gets no new version');
    expect([await versions(), await stateOf()]).toEqual([['v1.0.0'], 'terminating']);
  });

  it('fails when the deletion is accepted right before its end', async () => {
    const operation = await enqueueVersion(minorChange);
    const { alongside } = (await openDying().toItsEnd()) as { alongside: () => Promise<string[]> };
    await postgres.schedulers.setState(name, 'terminating');
    await expect(postgres.unitOfWork.run(alongside)).rejects.toMatchObject({ code: 'scheduler.terminating' });
    await eventually(async () => {
      await ring();
      expect(await statusOf(operation)).toBe('error');
    });
    expect([await versions(), await stateOf()]).toEqual([['v1.0.0'], 'terminating']);
  });
});

describe('create_new_scheduler_version with a new major version', () => {
  it('waits for a room of that version, while the fleet is looked after, and removes the room', async () => {
    const operation = await order(majorChange);
    const { id } = await validationRoom();
    expect(runtime.specOf(id)).toMatchObject({
      version: 'v2.0.0',
      operationId: operation.id,
      containers: [{ image: 'arena:2' }],
    });
    expect(await statusOf(operation)).toBe('in_progress');
    expect(await stateOf()).toBe('creating');

    await worker.healthCycle.look(name);
    await ring();
    const fleet = (await live()).filter(({ validation }) => !validation);
    expect(fleet.map(({ version }) => version)).toEqual(['v1.0.0', 'v1.0.0', 'v1.0.0']);
    expect(await statusOf(operation)).toBe('in_progress');

    await comesUp(id);
    await ring();
    expect(await live()).toEqual(fleet);
    expect(removals()).toEqual([{ method: 'deleteInstance', id, reason: 'new_version_validation_finished' }]);
    const switched = (await operationsOf('final')).at(-1)!;
    expect(await history(operation)).toEqual([
      'Created',
      'Starting operation',
      'major version detected (v2.0.0), starting game room validation',
      `attempt 1 of 3: validation room ${id} started`,
      `attempt 1 of 3: validation success, room ${id} is ready`,
      `enqueued switch active version operation with id: ${switched.id}`,
      'Operation finished',
    ]);
    expect(await postgres.schedulers.getScheduler(name)).toMatchObject({
      version: 'v2.0.0',
      rollbackVersion: 'v1.0.0',
      state: 'in-sync',
      definition: majorChange,
    });
    expect(worker.wakeUps.rings).toContainEqual({ kind: 'health', scheduler: name, delayMs: 0 });
  });

  it('says once which labels and annotations the rooms of the version do not get', async () => {
    const operation = await order({ ...minorChange, annotations: { 'maestro.io/x': 'y', team: 'blue' } });
    await comesUp((await validationRoom()).id);
    await ring();
    const said = (await history(operation)).filter((line) => line.startsWith('stored, but rooms do not get them'));
    expect(said).toEqual([expect.stringMatching(/: "maestro.io\/x"$/)]);
  });

  it('takes no port that a room of the fleet has', async () => {
    const narrow = { ...majorChange, portRange: { start: 20_000, end: 20_001 } };
    await hostPorts.hold([{ scheduler: name, id: 'arena-1', pool: '', ports: [{ protocol: 'UDP', port: 20_000 }] }]);
    await order(narrow);
    expect(runtime.specOf(started()[0]!).containers[0]!.ports[0]!.hostPort).toBe(20_001);
  });

  it('goes on waiting for a room that is occupied, and takes it where that is accepted', async () => {
    const operation = await order(majorChange);
    const { id } = await validationRoom();
    await comesUp(id, 'occupied');
    await ring();
    expect(await statusOf(operation)).toBe('in_progress');
    openWorker({ acceptOccupied: true });
    await ring();
    expect(await history(operation)).toContain(`attempt 1 of 3: validation success, room ${id} is occupied`);
    await expectSwitchedTo('v2.0.0');
  });

  it('tries another room when the first is not ready in time', async () => {
    const operation = await order(majorChange);
    const first = await validationRoom();
    await pass(limits.timeoutMs - 1_000);
    expect(started()).toEqual([first.id]);
    await pass(1_000);
    expect(await live()).toEqual([]);
    await pass(1_000);
    const second = await validationRoom();
    expect(second.id).not.toBe(first.id);
    await comesUp(second.id);
    await ring();
    expect((await history(operation)).filter((event) => event.startsWith('attempt'))).toEqual([
      `attempt 1 of 3: validation room ${first.id} started`,
      `attempt 1 of 3: validation failed, room ${first.id} was not ready within 120 s: it never pinged, its instance is pending and says unknown`,
      `attempt 2 of 3: validation room ${second.id} started`,
      `attempt 2 of 3: validation success, room ${second.id} is ready`,
    ]);
    expect(started()).toEqual([first.id, second.id]);
    await expectSwitchedTo('v2.0.0');
  });

  it('fails when no attempt succeeds, says why each failed, and leaves nothing', async () => {
    const operation = await order(majorChange);
    const failed = await validationRoom();
    runtime.report(failed.id, { status: 'error', description: 'CrashLoopBackOff: exit 1' });
    await tell(failed.id);
    await ring();
    expect(await live()).toEqual([]);
    await pass(1_000);
    const gone = await validationRoom();
    runtime.kill(gone.id, 'exited with code 1');
    await rooms.endRoom(name, gone.id, 'exited with code 1');
    await ring();
    runtime.failNext('createInstance', broken());
    await pass(1_000);
    expect(await statusOf(operation)).toBe('error');
    const [, , third] = started();
    expect(await history(operation)).toEqual([
      'Created',
      'Starting operation',
      'major version detected (v2.0.0), starting game room validation',
      `attempt 1 of 3: validation room ${failed.id} started`,
      `attempt 1 of 3: validation failed, room ${failed.id} is error, its instance says "CrashLoopBackOff: exit 1"`,
      `attempt 2 of 3: validation room ${gone.id} started`,
      `attempt 2 of 3: validation failed, room ${gone.id} ended, the reason is "exited with code 1"`,
      `attempt 3 of 3: validation room ${third} could not be started: no such image`,
      'all 3 validation attempts failed: version v2.0.0 is not made, v1.0.0 stays the active one',
      'operation execution failed',
      'Starting operation rollback',
      'Operation rollback flow execution finished with success',
      'Operation finished',
    ]);
    await expectUntouched();
  });

  it('tries as often as it is told', async () => {
    openWorker({ attempts: 1 });
    runtime.failNext('createInstance', broken());
    expect(await statusOf(await order(majorChange))).toBe('error');
    await expectUntouched();
  });

  it('starts the same room when the runtime was away, and counts no attempt for it', async () => {
    runtime.failNext('createInstance', away());
    const operation = await order(majorChange);
    expect(await live()).toEqual([]);
    await eventually(async () => {
      await ring();
      await validationRoom();
    });
    const { id } = await validationRoom();
    expect(started()).toEqual([id, id]);
    await comesUp(id);
    await ring();
    expect(await history(operation)).toContain(`attempt 1 of 3: validation success, room ${id} is ready`);
    await expectSwitchedTo('v2.0.0');
  });

  it('ends no sooner than its room is removed, however long the runtime is away', async () => {
    const operation = await order(majorChange);
    const { id } = await validationRoom();
    await comesUp(id);
    for (let count = 0; count < 3; count++) runtime.failNext('deleteInstance', away());
    await ring();
    expect(await versions()).toEqual(['v1.0.0']);
    await eventually(async () => {
      await ring();
      expect(await statusOf(operation)).toBe('finished');
    });
    expect(removals()).toHaveLength(4);
    await expectSwitchedTo('v2.0.0');
  });

  it('takes the loss of all room state neither for the end of its room nor for its success', async () => {
    const operation = await order(majorChange);
    const { id } = await validationRoom();
    runtime.markReady(id);
    await redis.loseEverything();
    await ring();
    expect(await statusOf(operation)).toBe('in_progress');
    await comesUp(id);
    await rooms.markSynced();
    await ring();
    expect(started()).toEqual([id]);
    await expectSwitchedTo('v2.0.0');
  });

  it('gives up at once when the scheduler is being deleted, and leaves no room', async () => {
    const operation = await order(majorChange);
    await validationRoom();
    await postgres.schedulers.setState(name, 'terminating');
    await ring();
    expect(await statusOf(operation)).toBe('error');
    expect(await live()).toEqual([]);
    expect([await versions(), await stateOf()]).toEqual([['v1.0.0'], 'terminating']);
  });

  it('leaves a new scheduler of the same name alone', async () => {
    const operation = await order(majorChange);
    const { id } = await validationRoom();
    await postgres.schedulers.deleteScheduler((await postgres.schedulers.getScheduler(name))!);
    await postgres.schedulers.createScheduler(name, aSchedulerDefinition());
    await ring();
    expect(await statusOf(operation)).toBe('error');
    expect(removals()).toEqual([{ method: 'deleteInstance', id, reason: 'new_version_rollback' }]);
    expect([await versions(), await stateOf()]).toEqual([['v1.0.0'], 'creating']);
  });

  it('deletes an instance whose start came through after its room had been ended', async () => {
    const lifecycle = openLifecycle(
      Object.assign(Object.create(runtime) as FakeRuntime, {
        createInstance: async (spec: Parameters<FakeRuntime['createInstance']>[0]) => {
          await rooms.endRoom(name, spec.id);
          return runtime.createInstance(spec);
        },
      }),
    );
    const scheduler = (await postgres.schedulers.getScheduler(name))!;
    const started = await lifecycle.startRoom({ scheduler, id: 'arena-late', operationId: 'x', validation: true });
    expect(started).toBe('ended_before');
    expect(await live()).toEqual([]);
    expect(await rooms.getRoom(name, 'arena-late')).toBeNull();
  });
});

describe('create_new_scheduler_version, with all that can go wrong,', () => {
  it('goes its whole way: a room that ends, one that claims a match, and one that is ready', async () => {
    const operation = await order(majorChange);
    const gone = await validationRoom();
    runtime.kill(gone.id);
    await rooms.endRoom(name, gone.id, 'exited with code 1');
    await ring();
    await pass(1_000);
    const busy = await validationRoom();
    await comesUp(busy.id, 'occupied');
    await pass(limits.timeoutMs);
    await pass(1_000);
    const ready = await validationRoom();
    await comesUp(ready.id);
    await ring();
    expect(
      (await history(operation)).filter(
        (event) => event.includes('validation success') || event.includes('validation failed'),
      ),
    ).toEqual([
      `attempt 1 of 3: validation failed, room ${gone.id} ended, the reason is "exited with code 1"`,
      `attempt 2 of 3: validation failed, room ${busy.id} was not ready within 120 s: it is occupied, its instance is ready and says unknown`,
      `attempt 3 of 3: validation success, room ${ready.id} is ready`,
    ]);
    const left = (await rooms.readFleet(name)).rooms.map(({ id, status }) => [id, status]);
    expect(left.sort()).toEqual([busy.id, ready.id].sort().map((id) => [id, 'terminating']));
    await expectSwitchedTo('v2.0.0');
  });
});

// Workers that die -------------------------------------------------------------------------------------------------------

function openLifecycle(client: FakeRuntime): RoomLifecycle {
  return new RoomLifecycle(rooms, client, hostPorts, { fallbackPortRange: { start: 60_001, end: 60_010 } });
}

class Death extends Error {}

interface DyingWorker {
  /** Takes what there is to take, and dies before or after that step. */
  at(step: string, edge: 'before' | 'after'): Promise<void>;
  /** The same while it rolls back. */
  rollingBackAt(step: string, edge: 'before' | 'after'): Promise<void>;
  /** Does everything but the end itself. */
  toItsEnd(): Promise<unknown>;
}

/** A worker that holds the operation for no time at all: others take it over as soon as it is dead. */
function openDying(): DyingWorker {
  const options: CreateNewVersionOptions = { validation: limits };
  const { schedulers, operations, unitOfWork } = postgres;
  const places = new SchedulerPlaces(runtime, schedulers, new RecordedLog());
  const executor = new CreateNewVersionExecutor(schedulers, operations, rooms, openLifecycle(runtime), places, options);

  const take = async (dieAt: string | null, work: keyof Pick<Executor, 'execute' | 'rollback'>): Promise<unknown> => {
    const held = (await operations.claimNext(name, 'dying', 1, { wakeWaiting: true }))!;
    if (work === 'rollback') await operations.beginRollback(held, 'error', []);
    const dieIfDue = (moment: string): void => {
      if (moment === dieAt) throw new Death();
    };
    const execution = {
      operation: held.operation,
      signal: new AbortController().signal,
      ranForMs: () => held.ranForMs,
      rollback: held.rollback,
      get progress() {
        return held.progress;
      },
      step: async <T>(step: string, stepWork: () => Promise<T>): Promise<T> => {
        expect(executor.steps).toContain(step);
        dieIfDue(`before ${step}`);
        const answer = await stepWork();
        dieIfDue(`after ${step}`);
        return answer;
      },
      record: (event) => operations.appendEvent(held, event),
      saveProgress: (progress) => operations.saveProgress(held, progress),
      commit: (commitWork) =>
        unitOfWork.run(async () => {
          await operations.assertHeld(held);
          return commitWork();
        }),
    } as Execution<'create_new_scheduler_version'>;
    const result = await executor[work](execution, await schedulers.getScheduler(name));
    if (typeof result === 'object' && 'waitMs' in result) await operations.wait(held, 0);
    return result;
  };
  return {
    at: (step, edge) => expect(take(`${edge} ${step}`, 'execute')).rejects.toBeInstanceOf(Death),
    rollingBackAt: (step, edge) => expect(take(`${edge} ${step}`, 'rollback')).rejects.toBeInstanceOf(Death),
    toItsEnd: () => take(null, 'execute'),
  };
}

const moments = ['before', 'after'] as const;
const starting = ['begin', 'choose_room', 'start_room'].flatMap((step) => moments.map((edge) => [edge, step] as const));
const judging = ['judge_room', 'remove_room'].flatMap((step) => moments.map((edge) => [edge, step] as const));

/** Dies there, on its way to a room that comes up. */
async function dieOnTheWay(edge: 'before' | 'after', step: string): Promise<Operation> {
  const operation = await enqueueVersion(majorChange);
  if (starting.some(([, each]) => each === step)) {
    await openDying().at(step, edge);
    return operation;
  }
  await ring();
  await comesUp((await validationRoom()).id);
  await openDying().at(step, edge);
  return operation;
}

describe('create_new_scheduler_version whose worker dies', () => {
  it.each([...starting, ...judging])(
    '%s %s is finished by another worker, with one room in all',
    async (edge, step) => {
      const operation = await dieOnTheWay(edge, step);
      await eventually(async () => {
        await ring();
        expect(await history(operation)).toContain('Resuming operation, attempt 2');
      });
      // A room that was ready may be gone by now; one that was not, comes up.
      for (const { id, status } of await live()) if (status === 'pending') await comesUp(id);
      await eventually(async () => {
        await ring();
        expect(await statusOf(operation)).toBe('finished');
      });
      expect(new Set(started()).size).toBe(1);
      expect(removals().every(({ reason }) => reason === 'new_version_validation_finished')).toBe(true);
      expect((await operationsOf('final')).map(({ definition }) => definition)).toEqual([
        'create_scheduler',
        'create_new_scheduler_version',
        'switch_active_version',
      ]);
      expect(
        (await history(operation)).filter((event) => /attempt 1 of 3: validation (success|failed)/.test(event)),
      ).toHaveLength(1);
      await expectSwitchedTo('v2.0.0');
    },
  );

  it.each([...starting, ...judging])('%s %s leaves no room when it is canceled then', async (edge, step) => {
    const operation = await dieOnTheWay(edge, step);
    await worker.operations.cancelOperation(name, operation.id);
    await eventually(async () => {
      await ring();
      expect(await statusOf(operation)).toBe('canceled');
    });
    await expectUntouched();
  });

  it.each(['undo_state', 'undo_room'].flatMap((step) => moments.map((edge) => [edge, step] as const)))(
    '%s %s is rolled back by another worker',
    async (edge, step) => {
      const operation = await order(majorChange);
      const { id } = await validationRoom();
      await openDying().rollingBackAt(step, edge);
      await eventually(async () => {
        await ring();
        expect(await statusOf(operation)).toBe('error');
      });
      expect(removals()).toContainEqual({ method: 'deleteInstance', id, reason: 'new_version_rollback' });
      await expectUntouched();
    },
  );

  it('after its room was started, and it crashed before anybody looked, tries another one', async () => {
    const operation = await enqueueVersion(majorChange);
    await openDying().at('start_room', 'after');
    const { id } = await validationRoom();
    runtime.kill(id);
    await rooms.endRoom(name, id, 'killed by SIGKILL');
    await eventually(async () => {
      await ring();
      expect(await history(operation)).toContain(
        `attempt 1 of 3: validation failed, room ${id} ended, the reason is "killed by SIGKILL"`,
      );
    });
    await pass(1_000);
    await comesUp((await validationRoom()).id);
    await ring();
    await expectSwitchedTo('v2.0.0');
  });
});

describe('create_new_scheduler_version that is canceled', () => {
  it('before a worker took it up changes nothing', async () => {
    const operation = await enqueueVersion(majorChange);
    await worker.operations.cancelOperation(name, operation.id);
    await ring();
    expect(await statusOf(operation)).toBe('canceled');
    await expectUntouched();
  });

  it('while it waits for its room removes the room', async () => {
    const operation = await order(majorChange);
    const { id } = await validationRoom();
    await worker.operations.cancelOperation(name, operation.id);
    await ring();
    expect(await statusOf(operation)).toBe('canceled');
    expect(removals()).toEqual([{ method: 'deleteInstance', id, reason: 'new_version_rollback' }]);
    await expectUntouched();
  });

  it('between two attempts starts no further room', async () => {
    runtime.failNext('createInstance', broken());
    const operation = await order(majorChange);
    expect(await live()).toEqual([]);
    await worker.operations.cancelOperation(name, operation.id);
    await ring();
    expect(await statusOf(operation)).toBe('canceled');
    expect(started()).toHaveLength(1);
    await expectUntouched();
  });

  it('removes its room also when the runtime is away then', async () => {
    const operation = await order(majorChange);
    await worker.operations.cancelOperation(name, operation.id);
    for (let count = 0; count < 3; count++) runtime.failNext('deleteInstance', away());
    await eventually(async () => {
      await ring();
      expect(await statusOf(operation)).toBe('canceled');
    });
    await expectUntouched();
  });

  it('removes a room that has a match by its own word', async () => {
    const operation = await order(majorChange);
    await comesUp((await validationRoom()).id, 'occupied');
    await worker.operations.cancelOperation(name, operation.id);
    await ring();
    expect(await statusOf(operation)).toBe('canceled');
    await expectUntouched();
  });
});

describe('switch_active_version', () => {
  beforeEach(async () => {
    const other = aSchedulerDefinition({
      game: 'chess',
      roomsReplicas: 9,
      labels: { team: 'blue' },
      matchAllocation: { maxMatches: 4 },
    });
    await postgres.schedulers.addVersion(name, { version: 'v2.0.0', definition: other, rollbackVersion: 'v1.0.0' });
  });

  it('brings back everything that the version says, and has the health looked at', async () => {
    const operation = await switchTo('v2.0.0');
    expect(await history(operation)).toEqual(['Created', 'Starting operation', 'Operation finished']);
    expect(await postgres.schedulers.getScheduler(name)).toMatchObject({
      state: 'in-sync',
      version: 'v2.0.0',
      rollbackVersion: 'v1.0.0',
      definition: { game: 'chess', roomsReplicas: 9, labels: { team: 'blue' }, matchAllocation: { maxMatches: 4 } },
    });
    expect(await postgres.schedulers.listSchedulers({ game: 'chess' })).toHaveLength(1);
    expect(await postgres.schedulers.listSchedulers({ game: 'arena' })).toHaveLength(0);
    expect(worker.wakeUps.rings).toContainEqual({ kind: 'health', scheduler: name, delayMs: 0 });

    await switchTo('v1.0.0');
    expect(await postgres.schedulers.getScheduler(name)).toMatchObject({
      version: 'v1.0.0',
      rollbackVersion: '',
      definition: aSchedulerDefinition(),
    });
  });

  it('takes the newest version where none is named', async () => {
    expect(await statusOf(await switchTo(''))).toBe('finished');
    expect(await activeVersion()).toBe('v2.0.0');
  });

  it('fails for a version that does not exist, in v10’s words, and leaves no scheduler `creating`', async () => {
    await postgres.schedulers.setState(name, 'creating');
    const operation = await switchTo('v9.0.0');
    expect(await statusOf(operation)).toBe('error');
    expect(await history(operation)).toContain(
      'error fetching scheduler version to be switched to: scheduler arena not found',
    );
    expect([await activeVersion(), await stateOf()]).toEqual(['v1.0.0', 'in-sync']);
  });

  it('leaves a new scheduler of the same name alone', async () => {
    const operation = (await worker.operations.enqueue({
      scheduler: name,
      definition: 'switch_active_version',
      input: { newActiveVersion: '' },
      actor: 'api',
    }))!;
    await postgres.schedulers.deleteScheduler((await postgres.schedulers.getScheduler(name))!);
    await postgres.schedulers.createScheduler(name, aSchedulerDefinition());
    await ring();
    expect(await statusOf(operation)).toBe('error');
    expect(await stateOf()).toBe('creating');
  });

  it('that was canceled has switched nothing, whenever that came', async () => {
    const operation = (await worker.operations.enqueue({
      scheduler: name,
      definition: 'switch_active_version',
      input: { newActiveVersion: 'v2.0.0' },
      actor: 'api',
    }))!;
    const held = (await postgres.operations.claimNext(name, 'dying', 1))!;
    await new SwitchActiveVersionExecutor(postgres.schedulers).execute(
      { operation: held.operation } as Execution<'switch_active_version'>,
      await postgres.schedulers.getScheduler(name),
    );
    await worker.operations.cancelOperation(name, operation.id);
    await eventually(async () => {
      await ring();
      expect(await statusOf(operation)).toBe('canceled');
    });
    expect([await activeVersion(), await stateOf()]).toEqual(['v1.0.0', 'in-sync']);
  });
});

it('numbers versions as v10 does: v1.1.0, v2.0.0, back to v1.0.0, v1.2.0, v3.0.0', async () => {
  const major = async (definition: SchedulerDefinition): Promise<void> => {
    await order(definition);
    await comesUp((await validationRoom()).id);
    await ring();
    expect(await live()).toEqual([]);
  };
  await order(minorChange);
  expect(await activeVersion()).toBe('v1.1.0');
  await major(majorChange);
  expect(await activeVersion()).toBe('v2.0.0');
  await switchTo('v1.0.0');
  expect(await activeVersion()).toBe('v1.0.0');
  await order(minorChange);
  expect(await activeVersion()).toBe('v1.2.0');
  await major(withImage('arena:3'));
  expect(await postgres.schedulers.getScheduler(name)).toMatchObject({ version: 'v3.0.0', rollbackVersion: 'v1.2.0' });
  expect(await versions()).toEqual(['v1.0.0', 'v1.1.0', 'v1.2.0', 'v2.0.0', 'v3.0.0']);
  expect(await stateOf()).toBe('in-sync');
});
