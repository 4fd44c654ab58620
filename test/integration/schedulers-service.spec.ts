import { DomainError } from '../../src/domain/errors';
import { versionChanges, type Operation, type OperationDefinition } from '../../src/domain/operation/operation';
import type { DefinitionPatch } from '../../src/domain/scheduler/patch-definition';
import type { SchedulerDefinition, SchedulerExtensions } from '../../src/domain/scheduler/scheduler';
import { fullExtensions } from '../../src/domain/scheduler/scheduler.fixture';
import { OperationsService } from '../../src/features/operations/operations.service';
import { SchedulerPlansService } from '../../src/features/schedulers/scheduler-plans.service';
import { SchedulersService } from '../../src/features/schedulers/schedulers.service';
import { OperationStore, type HeldOperation } from '../../src/ports/operation-store';
import type { RoomStore } from '../../src/ports/room-store';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { openPostgres, type PostgresStores, type PostgresUnderTest } from '../support/open-postgres';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';
import { RecordedWakeUps } from '../support/recorded-wake-ups';

// A database starts first, which takes its time on a busy machine.
jest.setTimeout(60_000);

const ttlMs = 60_000;
const name = 'arena';

let postgres: PostgresUnderTest;
let otherStores: PostgresStores;
let redis: RedisRoomStoreUnderTest;
let rooms: RoomStore;
let api: ReturnType<typeof openServices>;
/** The same services in another process. */
let other: ReturnType<typeof openServices>;

beforeAll(async () => {
  postgres = await openPostgres();
  otherStores = await postgres.another();
  redis = await openRedisRoomStore();
  rooms = redis.store;
});
afterAll(() => Promise.all([postgres?.close(), redis?.close()]));
beforeEach(async () => {
  await postgres.clear();
  await redis.loseEverything();
  api = openServices(postgres);
  other = openServices(otherStores);
});

/** `wrap` puts something between the services and the operations of Postgres. */
function openServices(
  { schedulers: schedulerStore, operations: operationStore, unitOfWork }: PostgresStores,
  wrap: (operations: OperationStore) => OperationStore = (operations) => operations,
) {
  const store = wrap(operationStore);
  const wakeUps = new RecordedWakeUps();
  const operations = new OperationsService(store, schedulerStore, unitOfWork, wakeUps);
  const schedulers = new SchedulersService(schedulerStore, rooms, store, operations, unitOfWork);
  const plans = new SchedulerPlansService(schedulerStore, store, rooms);
  return { schedulers, operations, plans, wakeUps };
}

/** `base` with some methods replaced. */
const withMethods = (base: OperationStore, methods: Partial<OperationStore>): OperationStore =>
  Object.assign(Object.create(base) as OperationStore, methods);

/** A scheduler that is set up: `in-sync`, its creation ended. */
async function aScheduler(definition = aSchedulerDefinition()): Promise<void> {
  await api.schedulers.createScheduler(name, definition);
  const held = await claim();
  await postgres.schedulers.setState(name, 'in-sync');
  await end(held);
  api.wakeUps.rings.length = 0;
}

const claim = async (): Promise<HeldOperation> => (await postgres.operations.claimNext(name, 'worker', ttlMs))!;

const end = (held: HeldOperation, alongside?: () => Promise<string[]>): Promise<void> =>
  postgres.operations.finish(held, { status: 'finished', hidden: false, event: 'Operation finished' }, alongside);

const insert = async <D extends OperationDefinition>(definition: D, input: Operation<D>['input']) =>
  (await postgres.operations.insert({ scheduler: name, definition, input, actor: 'system' }))!;

const operationOf = async (id: string): Promise<Operation> => (await postgres.operations.get(name, id))!.operation;

const stateOf = async (): Promise<string | undefined> => (await postgres.schedulers.getScheduler(name))?.state;

const historyOf = async (id: string): Promise<string[]> =>
  (await postgres.operations.get(name, id))!.history.map(({ event }) => event);

const refusalOf = (request: Promise<unknown>): Promise<DomainError> =>
  request.then(
    () => Promise.reject(new Error('it was accepted')),
    (error: unknown) => error as DomainError,
  );

/** Until a transaction of the stores that the services use waits for another one. */
const untilBlocked = (): Promise<void> =>
  eventually(async () => {
    const waiting = await postgres.sql(
      `SELECT FROM pg_stat_activity WHERE application_name = 'test-stores' AND wait_event_type = 'Lock'`,
    );
    expect(waiting).not.toEqual([]);
  });

type Services = ReturnType<typeof openServices>;
type Request = (services: Services) => Promise<{ operationId: string }>;
const newVersion: Request = ({ schedulers }) =>
  schedulers.createNewVersion(name, aSchedulerDefinition({ maxSurge: '50%' }));
const patch: Request = ({ schedulers }) => schedulers.patchScheduler(name, { maxSurge: '50%' });
const switchVersion: Request = ({ schedulers }) => schedulers.switchActiveVersion(name, 'v1.0.0');
const requests: [string, Request, string][] = [
  ['a new version', newVersion, 'cannot create new scheduler version'],
  ['a patch', patch, 'cannot patch scheduler'],
  ['a switch', switchVersion, 'cannot switch active version'],
];

describe('the reason of an operation', () => {
  const reasonOf = async (request: Promise<{ operationId: string }>) => operationOf((await request).operationId);

  it('is said of a creation', async () => {
    await api.schedulers.createScheduler(name, aSchedulerDefinition());
    expect((await claim()).operation).toMatchObject({ actor: 'api', reason: 'scheduler created' });
  });

  it.each<[string, Request, string]>([
    [
      'a new version',
      ({ schedulers }) => {
        const { spec } = aSchedulerDefinition();
        const changed = { maxSurge: '50%', spec: { ...spec, terminationGracePeriodNs: 7e9, toleration: 'fast' } };
        return schedulers.createNewVersion(name, { ...aSchedulerDefinition(), ...changed });
      },
      'new version with changes of maxSurge, spec',
    ],
    [
      'a new version that is like the active one',
      ({ schedulers }) => schedulers.createNewVersion(name, aSchedulerDefinition()),
      'new version without changes',
    ],
    ['a patch', patch, 'PATCH of maxSurge'],
    ['a switch', switchVersion, 'switch to v1.0.0'],
    [
      'a switch to no named version',
      ({ schedulers }) => schedulers.switchActiveVersion(name, ''),
      'switch to the newest version',
    ],
    ['a deletion', ({ schedulers }) => schedulers.deleteScheduler(name), 'scheduler deleted'],
  ])('is said of %s', async (_, request, reason) => {
    await aScheduler();
    expect(await reasonOf(request(api))).toMatchObject({ actor: 'api', reason });
  });
});

describe('a new version', () => {
  it('is ordered with the definition, and with what v10 shows of it', async () => {
    await aScheduler();
    const definition = aSchedulerDefinition({ game: 'chess', roomsReplicas: 9 });
    const { operationId } = await api.schedulers.createNewVersion(name, definition);
    expect(await operationOf(operationId)).toMatchObject({
      definition: 'create_new_scheduler_version',
      status: 'pending',
      actor: 'api',
      input: {
        definition,
        scheduler: {
          Name: name,
          Game: 'chess',
          State: 'creating',
          RoomsReplicas: 9,
          Spec: { Version: 'v1.0.0', RestartPolicy: '' },
        },
      },
    });
    expect(await historyOf(operationId)).toEqual(['Created']);
    // Nothing of the scheduler changes before the worker comes to it.
    expect(await postgres.schedulers.getScheduler(name)).toMatchObject({
      version: 'v1.0.0',
      state: 'in-sync',
      definition: aSchedulerDefinition(),
    });
  });

  it('shows the active version as that of the new definition until it has its own', async () => {
    await aScheduler();
    await postgres.schedulers.addVersion(name, {
      version: 'v2.3.0',
      definition: aSchedulerDefinition(),
      rollbackVersion: 'v1.0.0',
    });
    await postgres.schedulers.activateVersion(name, 'v2.3.0');
    const { operationId } = await newVersion(api);
    expect(await operationOf(operationId)).toMatchObject({ input: { scheduler: { Spec: { Version: 'v2.3.0' } } } });
  });

  it('is refused with every failing rule, before anything else is looked at', async () => {
    const error = await refusalOf(
      api.schedulers.createNewVersion('nobody', aSchedulerDefinition({ maxSurge: '', game: '' })),
    );
    expect(error).toMatchObject({
      kind: 'invalid_argument',
      code: 'scheduler.invalid',
      message:
        'Validation Error:\nScheduler.Game: Game is a required field\nScheduler.MaxSurge: MaxSurge is a required field',
      details: { problems: expect.arrayContaining(['Scheduler.Game: Game is a required field']) },
    });
  });
});

describe('a patch', () => {
  it('orders the active definition with what it changes', async () => {
    await aScheduler(aSchedulerDefinition({ labels: { team: 'red' } }));
    const { operationId } = await api.schedulers.patchScheduler(name, { roomsReplicas: 5, clear: ['labels'] });
    expect(await operationOf(operationId)).toMatchObject({
      definition: 'create_new_scheduler_version',
      input: { definition: aSchedulerDefinition({ roomsReplicas: 5 }), scheduler: { RoomsReplicas: 5, Labels: {} } },
    });
  });

  it.each([
    ['of an unknown scheduler', async () => postgres.clear()],
    ['of one that is being deleted', async () => postgres.schedulers.setState(name, 'terminating')],
    ['of one whose version changes', async () => switchVersion(api)],
  ])('that asks for nothing is refused first: %s', async (_, prepare) => {
    await aScheduler();
    await prepare();
    expect(await refusalOf(api.schedulers.patchScheduler(name, { forwarders: [] }))).toMatchObject({
      kind: 'already_exists',
      code: 'scheduler.no_change',
      message: 'no change found to scheduler arena',
    });
  });

  it('of which the result is invalid is refused in v10’s words for it, a line each', async () => {
    await aScheduler();
    const autoscaling: DefinitionPatch['autoscaling'] = { min: 0, policy: { type: 'none', parameters: {} } };
    const error = await refusalOf(api.schedulers.patchScheduler(name, { maxSurge: '0', autoscaling }));
    expect(error).toMatchObject({
      kind: 'invalid_argument',
      code: 'scheduler.invalid',
      message: [
        "invalid patched scheduler: Key: 'Scheduler.Autoscaling.Min' Error:Field validation for 'Min' failed on the 'min' tag",
        "Key: 'Scheduler.Autoscaling.Policy.Type' Error:Field validation for 'Type' failed on the 'oneof' tag",
        "Key: 'Scheduler.MaxSurge' Error:Field validation for 'MaxSurge' failed on the 'max_surge' tag",
      ].join('\n'),
    });
    expect(await postgres.operations.findOpen(name, versionChanges)).toBeNull();
  });

  it('that clears what cannot be cleared is refused', async () => {
    await aScheduler();
    expect(await refusalOf(api.schedulers.patchScheduler(name, { clear: ['game'] }))).toMatchObject({
      kind: 'invalid_argument',
      code: 'scheduler.invalid_clear',
    });
  });

  it('changes the version that is active when no other change is open any more', async () => {
    await aScheduler();
    await postgres.schedulers.addVersion(name, {
      version: 'v1.1.0',
      definition: aSchedulerDefinition({ roomsReplicas: 8 }),
      rollbackVersion: 'v1.0.0',
    });
    const { operationId: switchId } = await api.schedulers.switchActiveVersion(name, 'v1.1.0');
    const held = await claim();
    expect(held.operation.id).toBe(switchId);
    // The switch takes effect and ends while the patch is on its way to the look.
    const late = openServices(postgres, (base) =>
      withMethods(base, {
        findOpen: async (...question) => {
          if ((await operationOf(switchId)).finishedAt === null) {
            await otherStores.schedulers.activateVersion(name, 'v1.1.0');
            await otherStores.operations.finish(held, { status: 'finished', hidden: false, event: null });
          }
          return base.findOpen(...question);
        },
      }),
    );
    const { operationId } = await late.schedulers.patchScheduler(name, { maxSurge: '50%' });
    expect(await operationOf(operationId)).toMatchObject({
      input: { definition: { roomsReplicas: 8, maxSurge: '50%' } },
    });
  });
});

describe('a switch of the active version', () => {
  it.each([
    ['another version', 'v1.1.0'],
    ['a version that is unknown: its operation will tell', 'v9.9.9'],
    ['the newest version, by an empty one', ''],
  ])('is ordered to %s', async (_, version) => {
    await aScheduler();
    const { operationId } = await api.schedulers.switchActiveVersion(name, version);
    expect(await operationOf(operationId)).toMatchObject({
      definition: 'switch_active_version',
      input: { newActiveVersion: version },
      status: 'pending',
      actor: 'api',
    });
  });

  const stored = (version: string, definition: SchedulerDefinition) =>
    postgres.schedulers.addVersion(name, { version, definition, rollbackVersion: 'v1.0.0' });

  it.each([
    ['a version', 'v2.0.0'],
    ['the newest version', ''],
  ])('is refused to %s of which no cluster takes a room, and can be read all the same', async (_, version) => {
    await aScheduler();
    const unplaceable = aSchedulerDefinition({ labels: { team: 'a b' }, spec: { affinity: '-' } });
    await stored('v2.0.0', unplaceable);
    expect(await refusalOf(api.schedulers.switchActiveVersion(name, version))).toMatchObject({
      kind: 'invalid_argument',
      code: 'scheduler.invalid',
      message: expect.stringMatching(
        /^Validation Error:\nScheduler\.Spec\.Affinity: .*\nScheduler\.Labels\["team"\]: .*$/,
      ) as string,
    });
    expect(await api.schedulers.getScheduler(name, 'v2.0.0')).toMatchObject({ definition: unplaceable });
    expect(await historyOfAll()).toEqual(['create_scheduler']);
  });

  it('is ordered to a version that would be refused today, but has rooms', async () => {
    await aScheduler();
    await stored('v2.0.0', aSchedulerDefinition({ maxSurge: '0%', roomsReplicas: -1 }));
    expect(await api.schedulers.switchActiveVersion(name, 'v2.0.0')).toHaveProperty('operationId');
  });
});

const historyOfAll = async (): Promise<string[]> =>
  (await postgres.sql<{ definition: string }>('SELECT definition FROM maestro.operations')).map(
    ({ definition }) => definition,
  );

describe('a definition of which no cluster takes a room', () => {
  const { spec } = aSchedulerDefinition();
  const [container] = spec.containers;
  const greedy = aSchedulerDefinition({
    spec: { containers: [{ ...container!, requests: { memory: '1Gi', cpu: '20m' } }] },
  });
  const problem = 'Scheduler.Spec.Containers[0].Requests.Memory: Memory must be less than or equal to Limits.Memory';
  const ofPatch =
    "invalid patched scheduler: Key: 'Scheduler.Spec.Containers[0].Requests.Memory' Error:Field validation for 'Memory' failed on the 'ltefield' tag";

  it.each<[string, Request, string]>([
    [
      'as a new version',
      ({ schedulers }) => schedulers.createNewVersion(name, greedy),
      `Validation Error:\n${problem}`,
    ],
    [
      'by a patch',
      ({ schedulers }) => schedulers.patchScheduler(name, { spec: { containers: greedy.spec.containers } }),
      ofPatch,
    ],
  ])('is refused %s', async (_, request, message) => {
    await aScheduler();
    expect(await refusalOf(request(api))).toMatchObject({
      kind: 'invalid_argument',
      code: 'scheduler.invalid',
      message,
      details: { problems: [problem] },
    });
  });

  it('is refused in a plan', async () => {
    await aScheduler();
    const whole = await api.plans.planNewVersion(name, greedy);
    expect(whole).toMatchObject({ problems: [problem], version: '', steps: [] });
    const patched = await api.plans.planPatch(name, { spec: { containers: greedy.spec.containers } });
    expect(patched).toMatchObject({ problems: [problem], version: '', steps: [] });
  });

  it('is mended by the patch that leaves nothing wrong, and by no other, where it is the active one', async () => {
    await aScheduler();
    await postgres.schedulers.addVersion(name, { version: 'v2.0.0', definition: greedy, rollbackVersion: '' });
    await postgres.schedulers.activateVersion(name, 'v2.0.0');
    expect(await api.schedulers.getScheduler(name)).toMatchObject({ version: 'v2.0.0', definition: greedy });
    expect(await refusalOf(api.schedulers.patchScheduler(name, { maxSurge: '5' }))).toMatchObject({ message: ofPatch });
    const requests = { memory: '64Mi', cpu: '20m' };
    const mended = { maxSurge: '5', spec: { containers: [{ requests }] } };
    expect(await api.schedulers.patchScheduler(name, mended)).toHaveProperty('operationId');
  });

  it('has no name of a namespace of every cluster, when it is new', async () => {
    const line = 'Scheduler.Name: Name must not be a name that Kubernetes keeps for itself: ';
    expect(await refusalOf(api.schedulers.createScheduler('kube-system', aSchedulerDefinition()))).toMatchObject({
      kind: 'invalid_argument',
      message: `Validation Error:\n${line}default, kube-node-lease, kube-public, kube-system`,
    });
    await postgres.schedulers.createScheduler('default', aSchedulerDefinition());
    expect(await api.schedulers.patchScheduler('default', { maxSurge: '5' })).toHaveProperty('operationId');
  });
});

describe.each(requests)('%s', (_, request, refusal) => {
  it('is refused for a scheduler that does not exist', async () => {
    expect(await refusalOf(request(api))).toMatchObject({
      kind: 'not_found',
      code: 'scheduler.not_found',
      message:
        request === switchVersion
          ? 'scheduler arena not found'
          : 'no scheduler found, can not create new version for inexistent scheduler: scheduler arena not found',
    });
    expect(await postgres.sql('SELECT id FROM maestro.operations')).toEqual([]);
  });

  it('is refused while the scheduler is being deleted, also when a version change is open', async () => {
    await aScheduler();
    await switchVersion(api);
    await postgres.schedulers.setState(name, 'terminating');
    expect(await refusalOf(request(api))).toMatchObject({
      kind: 'failed_precondition',
      code: 'scheduler.terminating',
      message: `${refusal}: scheduler arena is being deleted`,
    });
  });

  it.each([
    ['is pending', async () => undefined],
    ['runs', async () => void (await claim())],
    ['waits', async () => postgres.operations.wait(await claim(), ttlMs)],
    ['was interrupted', async () => postgres.operations.release(await claim(), ttlMs)],
    [
      'is being canceled',
      async () => {
        const { operation } = await claim();
        await api.operations.cancelOperation(name, operation.id);
      },
    ],
  ])('is refused while another version change %s, and accepted after its end', async (_stage, bring) => {
    await aScheduler();
    const { operationId } = await switchVersion(api);
    await bring();
    expect(await refusalOf(request(api))).toMatchObject({
      kind: 'failed_precondition',
      code: 'scheduler.version_change_open',
      message: `${refusal}: there is already an ongoing version operation (id: ${operationId}) for scheduler arena`,
      details: { operationId },
    });
    await postgres.sql(
      `UPDATE maestro.operations SET status = 'error', holds_slot = false, finished_at = now() WHERE id = $1`,
      [operationId],
    );
    expect((await request(api)).operationId).not.toBe(operationId);
  });

  it('is accepted beside work that changes no version', async () => {
    await aScheduler();
    await insert('add_rooms', { amount: 1 });
    await claim();
    await insert('health_controller', {});
    await expect(request(api)).resolves.toEqual({ operationId: expect.any(String) });
  });

  it('rings for the worker once it can be seen, and not when it is refused', async () => {
    await aScheduler();
    const seen: Promise<Operation | null>[] = [];
    api.wakeUps.onRing = () => seen.push(otherStores.operations.findOpen(name, versionChanges));
    const { operationId } = await request(api);
    expect(api.wakeUps.rings).toEqual([{ kind: 'operations', scheduler: name, delayMs: 0 }]);
    expect(await seen[0]).toMatchObject({ id: operationId });
    await refusalOf(request(api));
    expect(api.wakeUps.rings).toHaveLength(1);
  });

  it('that lost to one which its look had not shown names it', async () => {
    await aScheduler();
    const { id } = await insert('switch_active_version', { newActiveVersion: '' });
    let looks = 0;
    const blind = openServices(postgres, (base) =>
      withMethods(base, { findOpen: async (...question) => (++looks === 1 ? null : base.findOpen(...question)) }),
    );
    expect(await refusalOf(request(blind))).toMatchObject({
      code: 'scheduler.version_change_open',
      details: { operationId: id },
    });
    expect(looks).toBe(2);
  });

  it('that lost to one which ended since is accepted at the next try', async () => {
    await aScheduler();
    await switchVersion(api);
    const held = await claim();
    let tries = 0;
    const blind = openServices(postgres, (base) =>
      withMethods(base, {
        findOpen: async (...question) => {
          if (++tries === 1) return null;
          if (tries === 2)
            await otherStores.operations.finish(held, { status: 'finished', hidden: false, event: null });
          return base.findOpen(...question);
        },
      }),
    );
    const { operationId } = await request(blind);
    expect(tries).toBe(2);
    expect((await postgres.operations.findOpen(name, versionChanges))?.id).toBe(operationId);
  });

  it('gives up when it loses again and again', async () => {
    await aScheduler();
    const unlucky = openServices(postgres, (base) =>
      withMethods(base, { findOpen: async () => null, insert: async () => null }),
    );
    expect(await refusalOf(request(unlucky))).toMatchObject({
      kind: 'aborted',
      code: 'scheduler.versions_contended',
      message: `${refusal}: version changes of scheduler arena follow one another too fast; try again`,
    });
  });
});

describe('version changes that are ordered at once', () => {
  it('are one: of twenty new versions one is accepted, and the others name its operation', async () => {
    await aScheduler();
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.allSettled(
        Array.from({ length: 20 }, (_, index) => newVersion(index % 2 === 0 ? api : other)),
      );
      const accepted = answers.filter((answer) => answer.status === 'fulfilled');
      expect(accepted).toHaveLength(1);
      const { operationId } = accepted[0]!.value;
      const refusals = answers.filter((answer) => answer.status === 'rejected');
      expect(refusals.map(({ reason }) => (reason as DomainError).message)).toEqual(
        Array.from(
          { length: 19 },
          () =>
            `cannot create new scheduler version: there is already an ongoing version operation (id: ${operationId}) for scheduler arena`,
        ),
      );
      await end(await claim());
    }
  });

  it('are one of all kinds', async () => {
    await aScheduler();
    const answers = await Promise.allSettled(
      Array.from({ length: 21 }, (_, index) => requests[index % 3]![1](index % 2 === 0 ? api : other)),
    );
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const codes = answers.flatMap((answer) =>
      answer.status === 'rejected' ? [(answer.reason as DomainError).code] : [],
    );
    expect(codes).toEqual(Array.from({ length: 20 }, () => 'scheduler.version_change_open'));
  });

  it.each([
    ['is refused when the other one is kept', false],
    ['is accepted when the other one is rolled back', true],
  ])('wait for one that a worker is about to insert: %s', async (_, isRolledBack) => {
    await aScheduler();
    let request: Promise<{ operationId: string }> | undefined;
    let winner: string | undefined;
    await otherStores.unitOfWork
      .run(async () => {
        const inserted = await otherStores.operations.insert({
          scheduler: name,
          definition: 'switch_active_version',
          input: { newActiveVersion: 'v1.0.0' },
          actor: 'system',
        });
        winner = inserted?.id;
        request = newVersion(api);
        request.catch(() => undefined);
        await untilBlocked();
        if (isRolledBack) throw new Error('changed its mind');
      })
      .catch(() => undefined);
    if (isRolledBack) await expect(request).resolves.toEqual({ operationId: expect.any(String) });
    else await expect(request).rejects.toMatchObject({ details: { operationId: winner } });
  });
});

describe('the versions of a scheduler', () => {
  it('are listed newest first', async () => {
    await aScheduler();
    await postgres.schedulers.addVersion(name, {
      version: 'v1.1.0',
      definition: aSchedulerDefinition(),
      rollbackVersion: 'v1.0.0',
    });
    expect(await api.schedulers.listVersions(name)).toEqual([
      { version: 'v1.1.0', isActive: false, createdAt: expect.any(Date) },
      { version: 'v1.0.0', isActive: true, createdAt: expect.any(Date) },
    ]);
  });

  it('of one that does not exist are not found', async () => {
    expect(await refusalOf(api.schedulers.listVersions('nobody'))).toMatchObject({
      kind: 'not_found',
      code: 'scheduler.not_found',
      message: 'scheduler nobody not found',
    });
  });
});

describe('a deletion', () => {
  it('shows at once, and rings for the worker', async () => {
    await aScheduler();
    const { operationId } = await api.schedulers.deleteScheduler(name);
    expect(await stateOf()).toBe('terminating');
    expect(await operationOf(operationId)).toMatchObject({ definition: 'delete_scheduler', status: 'pending' });
    expect(api.wakeUps.rings).toHaveLength(1);
  });

  it('of an unknown scheduler is refused in v10’s words', async () => {
    expect(await refusalOf(api.schedulers.deleteScheduler('nobody'))).toMatchObject({
      code: 'scheduler.not_found',
      message: 'no scheduler found, can not delete nonexistent scheduler: scheduler nobody not found',
    });
  });

  it('that is repeated answers the operation that is open, ten times at once as well', async () => {
    await aScheduler();
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) => (index % 2 ? api : other).schedulers.deleteScheduler(name)),
    );
    expect(new Set(answers.map(({ operationId }) => operationId)).size).toBe(1);
    await claim();
    expect(await api.schedulers.deleteScheduler(name)).toEqual(answers[0]);
  });

  it('is ordered anew where the open one is being canceled', async () => {
    await aScheduler();
    const { operationId } = await api.schedulers.deleteScheduler(name);
    await claim();
    await api.operations.cancelOperation(name, operationId);
    const again = await api.schedulers.deleteScheduler(name);
    expect(again.operationId).not.toBe(operationId);
    expect(await stateOf()).toBe('terminating');
  });

  it('of a scheduler that came after a former one of its name is an operation of its own', async () => {
    await aScheduler();
    const former = await api.schedulers.deleteScheduler(name);
    const dead = await claim();
    // The row is gone, the end is not written: what needed it is away.
    await postgres.schedulers.deleteScheduler((await postgres.schedulers.getScheduler(name))!);
    await postgres.operations.release(dead, ttlMs);
    await postgres.sql(`SELECT pg_sleep(0.002)`);
    await api.schedulers.createScheduler(name, aSchedulerDefinition());
    const { operationId } = await api.schedulers.deleteScheduler(name);
    expect(operationId).not.toBe(former.operationId);
    expect(await api.schedulers.deleteScheduler(name)).toEqual({ operationId });
    expect((await claim()).operation.id).toBe(operationId);
  });

  it.each([
    ['add_rooms', { amount: 1 }],
    ['remove_rooms', { amount: 1, roomIds: ['room'], reason: 'scale_down' }],
  ] as const)('asks %s that runs to end, so that it need not wait for all of it', async (definition, input) => {
    await aScheduler();
    await postgres.operations.insert({ scheduler: name, definition, input, actor: 'system' });
    const held = await claim();
    await api.schedulers.deleteScheduler(name);
    expect(await operationOf(held.operation.id)).toMatchObject({ cancelRequestedAt: expect.any(Date) });
    expect(await historyOf(held.operation.id)).toEqual([
      'Created',
      'cancellation requested: the scheduler is being deleted',
    ]);
  });

  it('cancels a version change that no worker took up, and goes ahead of what else is pending', async () => {
    await aScheduler();
    await insert('add_rooms', { amount: 1 });
    const change = await newVersion(api);
    const { operationId } = await api.schedulers.deleteScheduler(name);
    expect(await operationOf(change.operationId)).toMatchObject({ status: 'canceled' });
    expect(await historyOf(change.operationId)).toEqual([
      'Created',
      'cancellation requested: the scheduler is being deleted',
    ]);
    expect((await claim()).operation.id).toBe(operationId);
  });

  it.each([
    ['runs', async (): Promise<HeldOperation> => claim()],
    [
      'waits',
      async (): Promise<HeldOperation> => {
        const held = await claim();
        await postgres.operations.wait(held, ttlMs);
        return held;
      },
    ],
  ])('asks a version change that %s to end, and comes after it', async (_, bring) => {
    await aScheduler();
    const change = await newVersion(api);
    const held = await bring();
    const { operationId } = await api.schedulers.deleteScheduler(name);
    await api.schedulers.deleteScheduler(name);
    expect(await operationOf(change.operationId)).toMatchObject({
      status: 'in_progress',
      cancelRequestedAt: expect.any(Date),
    });
    expect(await historyOf(change.operationId)).toEqual([
      'Created',
      'cancellation requested: the scheduler is being deleted',
    ]);
    const current = (await postgres.operations.claimNext(name, 'worker', ttlMs)) ?? held;
    expect(current.operation.id).toBe(change.operationId);
    await end(current);
    expect((await claim()).operation.id).toBe(operationId);
  });

  it('also cancels the switch that a new version orders in the moment in which it ends', async () => {
    await aScheduler();
    const change = await newVersion(api);
    const held = await claim();
    let deletion: Promise<{ operationId: string }> | undefined;
    let switchId: string | undefined;
    await otherStores.operations.finish(held, { status: 'finished', hidden: false, event: null }, async () => {
      const inserted = await otherStores.operations.insert({
        scheduler: name,
        definition: 'switch_active_version',
        input: { newActiveVersion: 'v1.1.0' },
        actor: 'system',
      });
      switchId = inserted?.id;
      deletion = api.schedulers.deleteScheduler(name);
      await untilBlocked();
      return [];
    });
    await deletion;
    expect(await operationOf(change.operationId)).toMatchObject({ status: 'finished' });
    expect(await operationOf(switchId!)).toMatchObject({ status: 'canceled' });
  });

  it('leaves no version change open that was ordered at the same time', async () => {
    for (let round = 0; round < 20; round++) {
      await postgres.clear();
      await aScheduler();
      const [change, deletion] = await Promise.allSettled([
        requests[round % 3]![1](api),
        other.schedulers.deleteScheduler(name),
      ]);
      expect(deletion).toMatchObject({ status: 'fulfilled' });
      if (change.status === 'rejected') expect(change.reason).toMatchObject({ code: 'scheduler.terminating' });
      else expect(await operationOf(change.value.operationId)).toMatchObject({ status: 'canceled' });
      expect(await postgres.operations.findOpen(name, versionChanges)).toBeNull();
      expect(await stateOf()).toBe('terminating');
    }
  });

  it('never waits in a circle with a worker that writes the state of the scheduler', async () => {
    await aScheduler();
    await newVersion(api);
    const held = await claim();
    let deletion: Promise<unknown> | undefined;
    await otherStores.unitOfWork.run(async () => {
      await otherStores.operations.assertHeld(held);
      deletion = api.schedulers.deleteScheduler(name);
      await untilBlocked();
      await otherStores.schedulers.setState(name, 'creating');
    });
    await expect(deletion).resolves.toEqual({ operationId: expect.any(String) });
    expect(await stateOf()).toBe('terminating');
  });
});

describe('cancelling an operation', () => {
  const unknownId = '00000000-0000-4000-8000-000000000000';

  it.each([
    ['an id that nothing has', unknownId],
    ['what is no id', 'nothing'],
  ])('is refused for %s', async (_, id) => {
    await aScheduler();
    expect(await refusalOf(api.operations.cancelOperation(name, id))).toMatchObject({
      kind: 'not_found',
      code: 'operation.not_found',
      message: `operation ${id} not found in scheduler arena`,
    });
    expect(api.wakeUps.rings).toEqual([]);
  });

  it('is refused for the operation of another scheduler', async () => {
    await aScheduler();
    const { id } = await insert('add_rooms', { amount: 1 });
    await api.schedulers.createScheduler('other', aSchedulerDefinition());
    expect(await refusalOf(api.operations.cancelOperation('other', id))).toMatchObject({ code: 'operation.not_found' });
    expect(await operationOf(id)).toMatchObject({ status: 'pending' });
  });

  it('is refused for a scheduler that does not exist', async () => {
    expect(await refusalOf(api.operations.cancelOperation('nobody', unknownId))).toMatchObject({
      kind: 'not_found',
      code: 'scheduler.not_found',
      message: 'scheduler nobody not found',
    });
  });

  it.each(['finished', 'error', 'canceled', 'evicted'] as const)('is refused once it is %s', async (status) => {
    await aScheduler();
    const { id } = await insert('add_rooms', { amount: 1 });
    await postgres.operations.finish(await claim(), { status, hidden: false, event: null });
    expect(await refusalOf(api.operations.cancelOperation(name, id))).toMatchObject({
      kind: 'aborted',
      code: 'operation.ended',
      message: `cannot cancel operation since status "${status}" is a final status`,
    });
    expect(await historyOf(id)).toEqual(['Created']);
    expect(api.wakeUps.rings).toEqual([]);
  });

  it('says of what ended that it ended, also when its scheduler is gone', async () => {
    await aScheduler();
    const { operationId } = await api.schedulers.deleteScheduler(name);
    const held = await claim();
    await postgres.schedulers.deleteScheduler((await postgres.schedulers.getScheduler(name))!);
    await end(held);
    expect(await refusalOf(api.operations.cancelOperation(name, operationId))).toMatchObject({
      message: 'cannot cancel operation since status "finished" is a final status',
    });
  });

  it('ends one that no worker took up at once, and once', async () => {
    await aScheduler();
    const { id } = await insert('add_rooms', { amount: 1 });
    const answers = await Promise.allSettled(
      Array.from({ length: 10 }, (_, index) => (index % 2 ? api : other).operations.cancelOperation(name, id)),
    );
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await operationOf(id)).toMatchObject({ status: 'canceled', finishedAt: expect.any(Date) });
    expect(await historyOf(id)).toEqual(['Created', 'cancellation requested through the API']);
    expect(await postgres.operations.claimNext(name, 'worker', ttlMs)).toBeNull();
  });

  it('asks the worker of one that runs, as often as it is said with one line in the history, and rings', async () => {
    await aScheduler();
    const { id } = await insert('add_rooms', { amount: 1 });
    const held = await claim();
    await api.operations.cancelOperation(name, id);
    await api.operations.cancelOperation(name, id);
    expect(await operationOf(id)).toMatchObject({ status: 'in_progress', cancelRequestedAt: expect.any(Date) });
    expect(await historyOf(id)).toEqual(['Created', 'cancellation requested through the API']);
    expect(await postgres.operations.renewLease(held, ttlMs)).toEqual({ cancelRequested: true });
    expect(api.wakeUps.rings).toHaveLength(2);
  });

  it('rings for the worker once it can be seen', async () => {
    await aScheduler();
    const { id } = await insert('add_rooms', { amount: 1 });
    const seen: Promise<unknown>[] = [];
    api.wakeUps.onRing = () => seen.push(otherStores.operations.get(name, id));
    await api.operations.cancelOperation(name, id);
    expect(await seen[0]).toMatchObject({ operation: { status: 'canceled' } });
  });

  it('leaves its scheduler as it is', async () => {
    await aScheduler();
    const change = await newVersion(api);
    await api.operations.cancelOperation(name, change.operationId);
    expect(await stateOf()).toBe('in-sync');
  });

  describe('of a creation', () => {
    const creation = async () => (await postgres.operations.findOpen(name, ['create_scheduler']))!.id;

    it('that never ran removes the scheduler, with what else was ordered for it', async () => {
      await api.schedulers.createScheduler(name, aSchedulerDefinition());
      const change = await newVersion(api);
      const id = await creation();
      await api.operations.cancelOperation(name, id);
      expect(await postgres.schedulers.getScheduler(name)).toBeNull();
      expect(await operationOf(id)).toMatchObject({ status: 'canceled' });
      expect(await operationOf(change.operationId)).toMatchObject({ status: 'canceled' });
      expect(await historyOf(change.operationId)).toEqual(['Created', 'canceled: the scheduler was never created']);
      await expect(api.schedulers.createScheduler(name, aSchedulerDefinition())).resolves.toMatchObject({ name });
    });

    it('that runs leaves it to the worker', async () => {
      await api.schedulers.createScheduler(name, aSchedulerDefinition());
      await claim();
      await api.operations.cancelOperation(name, await creation());
      expect(await stateOf()).toBe('creating');
    });
  });

  describe('of a deletion', () => {
    it('that never ran opens the scheduler again; the version change that it canceled stays canceled', async () => {
      await aScheduler();
      const change = await newVersion(api);
      const { operationId } = await api.schedulers.deleteScheduler(name);
      await api.operations.cancelOperation(name, operationId);
      expect(await stateOf()).toBe('in-sync');
      expect(await operationOf(change.operationId)).toMatchObject({ status: 'canceled' });
      await expect(newVersion(api)).resolves.toEqual({ operationId: expect.any(String) });
    });

    it('that never ran leaves it creating while it still has to be created', async () => {
      await api.schedulers.createScheduler(name, aSchedulerDefinition());
      const { operationId } = await api.schedulers.deleteScheduler(name);
      await api.operations.cancelOperation(name, operationId);
      expect(await stateOf()).toBe('creating');
    });

    it('that runs leaves it to the worker', async () => {
      await aScheduler();
      const { operationId } = await api.schedulers.deleteScheduler(name);
      await claim();
      await api.operations.cancelOperation(name, operationId);
      expect(await stateOf()).toBe('terminating');
    });

    it('that repeated one which had failed keeps the scheduler terminating', async () => {
      await aScheduler();
      await api.schedulers.deleteScheduler(name);
      await postgres.operations.finish(await claim(), { status: 'error', hidden: false, event: 'instances left' });
      const { operationId } = await api.schedulers.deleteScheduler(name);
      await api.operations.cancelOperation(name, operationId);
      expect(await stateOf()).toBe('terminating');
    });

    it('that repeated one which is being canceled keeps the scheduler terminating', async () => {
      await aScheduler();
      const first = await api.schedulers.deleteScheduler(name);
      await claim();
      await api.operations.cancelOperation(name, first.operationId);
      const second = await api.schedulers.deleteScheduler(name);
      await api.operations.cancelOperation(name, second.operationId);
      expect(await stateOf()).toBe('terminating');
    });
  });

  describe('of a switch', () => {
    const stateAfterCancel = async (operationId: string): Promise<string | undefined> => {
      await api.operations.cancelOperation(name, operationId);
      return stateOf();
    };

    it('that never ran ends the change that the new version before it had begun', async () => {
      await aScheduler();
      await newVersion(api);
      await postgres.schedulers.setState(name, 'creating');
      await end(await claim());
      expect(await stateAfterCancel((await switchVersion(api)).operationId)).toBe('in-sync');
    });

    it('that never ran leaves a scheduler creating that still has to be created', async () => {
      await api.schedulers.createScheduler(name, aSchedulerDefinition());
      expect(await stateAfterCancel((await switchVersion(api)).operationId)).toBe('creating');
    });

    it('that never ran leaves a scheduler terminating', async () => {
      await aScheduler();
      const { id } = await insert('switch_active_version', { newActiveVersion: '' });
      await postgres.schedulers.setState(name, 'terminating');
      expect(await stateAfterCancel(id)).toBe('terminating');
    });

    it('that runs leaves it to the worker', async () => {
      await aScheduler();
      const { operationId } = await switchVersion(api);
      await postgres.schedulers.setState(name, 'creating');
      await claim();
      expect(await stateAfterCancel(operationId)).toBe('creating');
    });
  });

  it('keeps nothing of what it took back when it fails on the way', async () => {
    await api.schedulers.createScheduler(name, aSchedulerDefinition());
    const { id } = (await postgres.operations.findOpen(name, ['create_scheduler']))!;
    const failing = openServices(postgres, (base) =>
      withMethods(base, { cancelPending: () => Promise.reject(new Error('the database went away')) }),
    );
    await expect(failing.operations.cancelOperation(name, id)).rejects.toThrow('the database went away');
    expect(await operationOf(id)).toMatchObject({ status: 'pending', cancelRequestedAt: null });
    expect(await stateOf()).toBe('creating');
    expect(failing.wakeUps.rings).toEqual([]);
  });
});

describe('extensions', () => {
  const { rollout, drain, ...withoutParts } = fullExtensions();
  const withChain = (extensions?: SchedulerExtensions): SchedulerDefinition =>
    aSchedulerDefinition({
      autoscaling: { enabled: true, min: 1, max: 9, cooldown: 0, policy: { type: 'chain', parameters: {} } },
      ...(extensions === undefined ? {} : { extensions }),
    });
  const ordered = async (request: Promise<{ operationId: string }>) =>
    (await operationOf((await request).operationId)) as Operation<'create_new_scheduler_version'>;

  it('are stored with a scheduler, and told by its operation beside what v10 knows', async () => {
    const definition = aSchedulerDefinition({ extensions: fullExtensions() });
    await api.schedulers.createScheduler(name, definition);
    expect(await postgres.schedulers.getScheduler(name)).toMatchObject({ definition });
    expect(await postgres.schedulers.getScheduler(name, 'v1.0.0')).toMatchObject({ definition });
    expect((await claim()).operation.input).toMatchObject({ scheduler: { Extensions: fullExtensions() } });
  });

  it('that are empty are none', async () => {
    await api.schedulers.createScheduler(name, aSchedulerDefinition({ extensions: { drain: {} } }));
    expect((await postgres.schedulers.getScheduler(name))?.definition).toEqual(aSchedulerDefinition());
    expect((await claim()).operation.input).not.toHaveProperty('scheduler.Extensions');
  });

  it.each<[string, SchedulerExtensions | undefined, SchedulerExtensions | undefined]>([
    ['stay where a new version says nothing of them', undefined, fullExtensions()],
    ['are cleared by empty ones', {}, undefined],
    ['are those that a new version says, and no others', { drain }, { drain }],
  ])('%s', async (_, said, expected) => {
    await aScheduler(aSchedulerDefinition({ extensions: fullExtensions() }));
    const definition = aSchedulerDefinition({ maxSurge: '50%', ...(said === undefined ? {} : { extensions: said }) });
    const { input, reason } = await ordered(api.schedulers.createNewVersion(name, definition));
    expect(input.definition).toEqual(
      aSchedulerDefinition({ maxSurge: '50%', ...(expected === undefined ? {} : { extensions: expected }) }),
    );
    expect(input.scheduler['Extensions']).toEqual(expected);
    expect(reason).toBe(`new version with changes of maxSurge${said === undefined ? '' : ', extensions'}`);
  });

  it('are replaced part by part by a patch', async () => {
    await aScheduler(aSchedulerDefinition({ extensions: { ...withoutParts, rollout } }));
    const patched = { extensions: { drain }, clear: ['extensions.autoscaling'] };
    const { input, reason } = await ordered(api.schedulers.patchScheduler(name, patched));
    expect(input.definition).toEqual(aSchedulerDefinition({ extensions: { rollout, drain } }));
    expect(reason).toBe('PATCH of extensions');
  });

  it('that are kept have the parameters of the policy', async () => {
    await aScheduler(withChain(fullExtensions()));
    const { input } = await ordered(api.schedulers.createNewVersion(name, withChain()));
    expect(input.definition).toEqual(withChain(fullExtensions()));
  });

  it.each<[string, () => Promise<unknown>]>([
    ['a new version, where none are kept', () => api.schedulers.createNewVersion(name, withChain())],
    ['a new version that clears them', () => api.schedulers.createNewVersion(name, withChain({}))],
    ['a new scheduler', () => api.schedulers.createScheduler('other', withChain())],
    ['a patch', () => api.schedulers.patchScheduler(name, { autoscaling: withChain().autoscaling })],
  ])('must have the parameters of the policy of %s', async (_, request) => {
    await aScheduler(aSchedulerDefinition({ extensions: { rollout } }));
    const line = 'Scheduler.Extensions.Autoscaling.Chain: Chain is a required field of the policy type chain';
    expect(await refusalOf(request())).toMatchObject({
      code: 'scheduler.invalid',
      message: expect.stringMatching(new RegExp(`^(Validation Error:\\n|invalid patched scheduler: )${line}$`)),
    });
    expect(await postgres.operations.findOpen(name, versionChanges)).toBeNull();
  });

  it('that are kept are those of the version that is active then', async () => {
    await aScheduler(aSchedulerDefinition({ extensions: { rollout } }));
    await postgres.schedulers.addVersion(name, {
      version: 'v1.1.0',
      definition: aSchedulerDefinition({ extensions: { drain } }),
      rollbackVersion: 'v1.0.0',
    });
    await postgres.schedulers.activateVersion(name, 'v1.1.0');
    const { input } = await ordered(newVersion(api));
    expect(input.definition.extensions).toEqual({ drain });
  });
});

describe('a plan', () => {
  /** Everything that Postgres knows. */
  const everything = () =>
    Promise.all(
      ['schedulers', 'scheduler_versions', 'operations', 'operation_events'].map((table) =>
        postgres.sql(`SELECT * FROM maestro.${table} ORDER BY 1`),
      ),
    );

  beforeEach(async () => {
    await aScheduler();
    for (const version of ['v1.1.0', 'v2.0.0']) {
      await postgres.schedulers.addVersion(name, {
        version,
        definition: aSchedulerDefinition(),
        rollbackVersion: 'v1.0.0',
      });
    }
    for (const id of ['room-1', 'room-2', 'room-3']) {
      await rooms.createRoom({ id, scheduler: name, version: 'v1.0.0', validation: false });
      await rooms.applyInstance(
        {
          id,
          scheduler: name,
          version: 'v1.0.0',
          validation: false,
          status: 'ready',
          description: '',
          address: null,
          createdAtMs: 0,
          generation: 1,
        },
        { maxMatches: 1 },
        { adopt: false, authoritative: false },
      );
      await rooms.applyPing(
        {
          scheduler: name,
          room: id,
          status: id === 'room-1' ? 'occupied' : 'ready',
          runningMatches: 0,
          metadata: null,
          listener: null,
          resync: false,
        },
        { maxMatches: 1 },
      );
    }
  });

  it.each([
    ['a new version', () => api.plans.planNewVersion(name, aSchedulerDefinition({ spec: { toleration: 'gpu' } }))],
    ['a patch', () => api.plans.planPatch(name, { spec: { toleration: 'gpu' } })],
  ])('of %s tells what it would do, and does nothing', async (_, makePlan) => {
    const before = await everything();
    expect(await makePlan()).toEqual({
      problems: [],
      changes: [{ path: 'spec.toleration', from: '', to: 'gpu', major: true }],
      bump: 'major',
      version: 'v3.0.0',
      rooms: expect.objectContaining({ ready: 2, occupied: 1, pending: 0 }),
      roomsWithMatches: 1,
      roomsToReplace: 3,
      steps: [
        expect.objectContaining({ action: 'validate_room' }),
        expect.objectContaining({ action: 'store_version' }),
        expect.objectContaining({ action: 'switch_version' }),
        expect.objectContaining({ action: 'replace_rooms' }),
      ],
      blockedBy: [],
    });
    expect(await everything()).toEqual(before);
    expect(api.wakeUps.rings).toEqual([]);
  });

  it('tells problems instead of throwing them', async () => {
    expect(await api.plans.planNewVersion(name, aSchedulerDefinition({ maxSurge: '' }))).toMatchObject({
      problems: ['Scheduler.MaxSurge: MaxSurge is a required field'],
      version: '',
      steps: [],
    });
    expect(await api.plans.planPatch(name, {})).toMatchObject({ problems: ['no change found to scheduler arena'] });
  });

  it('tells what is in the way', async () => {
    const { operationId } = await switchVersion(api);
    expect(await api.plans.planPatch(name, { maxSurge: '7' })).toMatchObject({
      version: 'v1.2.0',
      blockedBy: [{ code: 'version_change_open', operationId }],
    });
    await api.schedulers.deleteScheduler(name);
    expect(await api.plans.planPatch(name, { maxSurge: '7' })).toMatchObject({
      blockedBy: [{ code: 'scheduler_terminating' }],
    });
  });

  it.each([
    ['a new version', (unknown: string) => api.plans.planNewVersion(unknown, aSchedulerDefinition())],
    ['a patch', (unknown: string) => api.plans.planPatch(unknown, {})],
  ])('of %s for an unknown scheduler is refused', async (_, makePlan) => {
    expect(await refusalOf(makePlan('nobody'))).toMatchObject({
      kind: 'not_found',
      code: 'scheduler.not_found',
      message: 'scheduler nobody not found',
    });
  });
});
