import { Registry } from 'prom-client';
import { KubernetesV10Rooms } from '../../src/adapters/kubernetes/kubernetes-v10-rooms';
import type { Namespace, Pod } from '../../src/adapters/kubernetes/kubernetes-objects';
import { loadConfig } from '../../src/config/load-config';
import { messageOf } from '../../src/domain/errors';
import type { FoundPlace } from '../../src/domain/room/plan-room-adoption';
import { RoomAdoption, type AdoptionOutcome, type AdoptionRequest } from '../../src/features/adopting/room-adoption';
import { V10Rooms } from '../../src/ports/v10-rooms';
import { bootRoles, type RunningRoles } from '../../src/roles/boot-roles';
import { adoptFromV10 } from '../../src/roles/commands';
import { openResources, type ProcessResources } from '../../src/roles/process-resources';
import type { Role } from '../../src/roles/role';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { startTestRedis } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import { noPing, statusSettings } from '../support/fleet-worker';
import { describeOnKubernetes } from '../support/kube-control-plane';
import { KubeRooms, openKubeCluster, type KubeCluster } from '../support/kube-rooms';
import { freePorts } from '../support/maestro-process';
import { openPostgres, type PostgresUnderTest } from '../support/open-postgres';
import { RecordedLog } from '../support/recorded-log';
import { addV10Pod, addV10Scheduler, removeV10Scheduler } from '../support/v10-cluster';

const mark = 'maestro.io/installation';
const andPlace = 'and the namespace, which stays when the scheduler goes';

/** The command's part of the settings. */
const environmentOf = (masterUrl: string) => ({
  MAESTRO_RUNTIME: 'kubernetes',
  MAESTRO_ADAPTERS_RUNTIME_KUBERNETES_MASTERURL: masterUrl,
  MAESTRO_ROOMSAPI_PUBLICURL: 'http://rooms.test:8070',
});

describe('adopt, where there is nothing to adopt from', () => {
  it.each<[string, Parameters<typeof adoptFromV10>[0], string]>([
    ['on the local runtime', { all: true }, 'MAESTRO_RUNTIME is local'],
    ['without a name', {}, 'either --scheduler NAME, or --all'],
    ['with names and --all', { scheduler: ['arena'], all: true }, 'either --scheduler NAME, or --all'],
  ])('refuses %s', async (_how, options, message) => {
    process.env.MAESTRO_POSTGRES_URL = 'postgres://nobody@127.0.0.1:9/nothing';
    try {
      await expect(adoptFromV10({ logConfig: 'production', ...options })).rejects.toThrow(message);
    } finally {
      delete process.env.MAESTRO_POSTGRES_URL;
    }
  });
});

describeOnKubernetes('adopting the rooms of a v10', (source) => {
  let cluster: KubeCluster;
  let postgres: PostgresUnderTest;
  let rooms: KubeRooms;
  let v10: KubernetesV10Rooms;
  let installation: string;
  let closers: (() => unknown)[];

  beforeAll(async () => {
    [cluster, postgres] = await Promise.all([openKubeCluster(source), openPostgres()]);
    const [row] = await postgres.sql<{ id: string }>('SELECT id FROM maestro.installation');
    installation = row!.id;
  }, 180_000);
  afterAll(() => Promise.all([cluster?.stop(), postgres?.close()]));
  beforeEach(async () => {
    closers = [];
    await postgres.clear();
    rooms = await KubeRooms.open(cluster);
    v10 = await KubernetesV10Rooms.open({
      cluster: { masterUrl: rooms.proxy.url },
      installation,
      qps: 100,
      burst: 200,
    });
    for (const name of ['arena', 'other']) {
      await postgres.schedulers.createScheduler(name, aSchedulerDefinition({ roomsReplicas: 2 }));
      await postgres.schedulers.setState(name, 'in-sync');
    }
  });
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
    v10.close();
    for (const { metadata } of await namespaces()) {
      if (metadata?.name === 'arena' || metadata?.name === 'other') {
        await removeV10Scheduler(rooms.machine, metadata.name);
      }
    }
    await rooms.machine.clear();
    await rooms.dispose();
  });

  const soon = <T>(check: () => T | Promise<T>) => eventually(check, { timeoutMs: 20_000 });
  const namespaces = async () =>
    (await rooms.machine.call<{ items: Namespace[] }>('GET', '/api/v1/namespaces')).body.items;
  const holderOf = async (name: string) =>
    (await namespaces()).find(({ metadata }) => metadata?.name === name)?.metadata?.labels?.[mark] ?? null;
  const annotationsOf = async (name: string) =>
    (await namespaces()).find(({ metadata }) => metadata?.name === name)?.metadata?.annotations;
  const pods = async (scheduler = 'arena') =>
    (await rooms.machine.call<{ items: Pod[] }>('GET', `/api/v1/namespaces/${scheduler}/pods`)).body.items;
  /** Whose each pod is; an id with `-` is nobody's. */
  const holders = async (scheduler = 'arena') =>
    (await pods(scheduler)).map(({ metadata }) => `${metadata?.name}: ${metadata?.labels?.[mark] ?? '-'}`);
  const writes = () => rooms.proxy.requests.filter(({ method }) => method !== 'GET').length;

  async function adopt(request: Partial<AdoptionRequest> = {}, from: V10Rooms = v10): Promise<AdoptionOutcome[]> {
    const outcomes: AdoptionOutcome[] = [];
    const work = new RoomAdoption(from, postgres.schedulers, installation);
    for await (const outcome of work.run({ isDryRun: false, names: ['arena'], ...request })) outcomes.push(outcome);
    return outcomes;
  }

  /** Roles as `maestro start` boots them, on this cluster. */
  async function boot(...roles: Role[]): Promise<ProcessResources> {
    const redis = await startTestRedis();
    closers.push(() => redis.stop());
    const ports = await freePorts();
    const { config } = loadConfig({
      environment: { MAESTRO_INTERNALAPI_PORT: String(ports.internal), ...environmentOf(rooms.proxy.url) },
    });
    const resources = await openResources(config, new RecordedLog(), {
      postgresUrl: postgres.url,
      redisUrl: redis.url,
      processName: 'maestro-adopting',
      environment: {},
    });
    closers.push(() => resources.close());
    await resources.roomStore.markHearing(1_000_000_000);
    const running = await bootRoles(roles, resources);
    closers.push(() => running.stopAll());
    return resources;
  }

  async function bootBeside(resources: ProcessResources, ...roles: Role[]): Promise<RunningRoles> {
    const ports = await freePorts();
    const config = { ...resources.config, internalApiPort: ports.internal };
    const running = await bootRoles(roles, { ...resources, config, registry: new Registry() });
    closers.push(() => running.stopAll());
    return running;
  }

  it('marks pods and then the namespace, once, and nothing else', async () => {
    await addV10Scheduler(rooms.machine, 'arena', ['arena-1', 'arena-2']);
    await rooms.machine.call('POST', '/api/v1/namespaces/arena/pods', {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'tool' },
      spec: { containers: [{ name: 'tool', image: 'tool:1' }] },
    });
    const young = expect.stringMatching(
      /^the youngest pod is \d+ s old: make sure that v10's worker is stopped$/,
    ) as string;
    const outcome = { name: 'arena', outcome: 'adopted', detail: `2 pods, ${andPlace}`, remarks: [young] };
    const before = await pods();
    expect(await adopt({ isDryRun: true })).toEqual([outcome]);
    expect(writes()).toBe(0);
    expect([await pods(), await holderOf('arena')]).toEqual([before, null]);

    expect(await adopt()).toEqual([outcome]);
    expect(await holders()).toEqual([`arena-1: ${installation}`, `arena-2: ${installation}`, 'tool: -']);
    expect(await holderOf('arena')).toBe(installation);
    expect(await annotationsOf('arena')).toEqual({ 'maestro.io/adopted': 'true' });
    const patched = rooms.proxy.requests.filter(({ method }) => method === 'PATCH').map(({ path }) => path);
    expect(patched.at(-1)).toBe('/api/v1/namespaces/arena');
    expect(patched).toHaveLength(3);
    expect((await pods()).map(({ metadata }) => metadata?.uid)).toEqual(before.map(({ metadata }) => metadata?.uid));

    expect(await adopt()).toEqual([{ name: 'arena', outcome: 'unchanged', detail: '', remarks: [] }]);
    expect(await adopt({ isDryRun: true })).toMatchObject([{ outcome: 'unchanged' }]);
    expect(writes()).toBe(3);
  });

  it('makes rooms of them that play on: none is ended, started or replaced', async () => {
    await addV10Scheduler(rooms.machine, 'arena', ['arena-1', 'arena-2']);
    for (const id of ['arena-1', 'arena-2']) await rooms.machine.run(id);
    const uids = (await pods()).map(({ metadata }) => metadata?.uid);
    const resources = await boot('runtime-watcher');
    const store = resources.roomStore;
    await soon(async () => expect(await store.isSynced()).toBe(true));
    expect((await store.readFleet('arena')).rooms).toEqual([]);

    expect(await adopt()).toMatchObject([{ outcome: 'adopted' }]);
    await soon(async () => {
      expect((await store.readFleet('arena')).rooms).toMatchObject([
        {
          id: 'arena-1',
          version: 'v1.0.0',
          instance: { status: 'ready', address: { host: '203.0.113.1', ports: [{ name: 'client', port: 40_000 }] } },
        },
        { id: 'arena-2', version: 'v1.0.0', instance: { status: 'ready' } },
      ]);
    });
    const match = { ...noPing, scheduler: 'arena', room: 'arena-1', status: 'occupied', runningMatches: 1 } as const;
    await store.applyPing(match, statusSettings);
    await store.applyPing({ ...noPing, scheduler: 'arena', room: 'arena-2', status: 'ready' }, statusSettings);

    await bootBeside(resources, 'worker');
    await resources.wakeUps.ring('health', 'arena');
    await soon(async () => {
      expect(await resources.registry.metrics()).toMatch(/maestro_worker_current_rooms\{[^}]*"arena"\} 2/);
    });
    expect((await pods()).map(({ metadata }) => metadata?.uid)).toEqual(uids);
    expect(await store.getRoom('arena', 'arena-1')).toMatchObject({ status: 'occupied', runningMatches: 1 });
    const listing = { stage: 'final', order: 'asc', page: 1, perPage: 10 } as const;
    expect((await postgres.operations.list('arena', listing)).operations).toEqual([]);
  }, 60_000);

  it('takes what is ours again when the scheduler is deleted, and leaves the namespace and all else in it', async () => {
    await addV10Scheduler(rooms.machine, 'arena', ['arena-1', 'arena-2']);
    for (const id of ['arena-1', 'arena-2']) await rooms.machine.run(id);
    await rooms.machine.addPod('arena', 'tool');
    await rooms.machine.call('POST', '/api/v1/namespaces/arena/secrets', {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'keys' },
    });
    await adopt();
    const resources = await boot('management-api', 'worker', 'runtime-watcher');
    await soon(async () => expect((await resources.roomStore.readFleet('arena')).rooms).toHaveLength(2));
    const base = `http://127.0.0.1:${resources.config.managementApiPort}`;
    const { operationId } = (await (await fetch(`${base}/schedulers/arena`, { method: 'DELETE' })).json()) as {
      operationId: string;
    };
    for (const id of ['arena-1', 'arena-2']) await rooms.machine.letEnd(id);
    await soon(async () => expect(await postgres.schedulers.getScheduler('arena')).toBeNull());
    const why = 'this Maestro did not make it, but took it over';
    const { history } = (await postgres.operations.get('arena', operationId))!;
    expect(history.filter(({ event }) => event.includes('left standing'))).toMatchObject([
      { event: `namespace arena is left standing, with what others have in it: ${why}` },
    ]);
    expect(await holders()).toEqual(['tool: -']);
    expect((await rooms.machine.call('GET', '/api/v1/namespaces/arena/secrets/keys')).status).toBe(200);
    expect([await holderOf('arena'), await annotationsOf('arena')]).toEqual([
      null,
      { 'maestro.io/let-go-by': installation },
    ]);

    // Who imports it again may adopt it again.
    await postgres.schedulers.createScheduler('arena', aSchedulerDefinition({ roomsReplicas: 0 }));
    expect(await adopt()).toMatchObject([{ outcome: 'adopted', detail: `0 pods, ${andPlace}` }]);
    expect(await annotationsOf('arena')).toEqual({ 'maestro.io/adopted': 'true' });
  }, 60_000);

  it('goes on after it broke off, and until then no room is started beside those that run', async () => {
    const ids = ['arena-1', 'arena-2', 'arena-3'];
    await addV10Scheduler(rooms.machine, 'arena', ids);
    for (const id of ids) await rooms.machine.run(id);
    rooms.proxy.refuse(1, ({ method, path }) => method === 'PATCH' && path.endsWith('/arena-2'), 403);
    await expect(adopt()).rejects.toMatchObject({ code: 'runtime.forbidden' });
    expect(await holders()).toContain('arena-2: -');
    expect(await holderOf('arena')).toBeNull();

    // Two of three rooms are known, and three are wanted.
    await postgres.sql(
      `UPDATE maestro.schedulers SET definition = definition || '{"roomsReplicas": 5}' WHERE name = 'arena'`,
    );
    const resources = await boot('worker', 'runtime-watcher');
    const listing = { stage: 'final', order: 'asc', page: 1, perPage: 10 } as const;
    await soon(async () => {
      const { operations } = await postgres.operations.list('arena', listing);
      expect(operations).toContainEqual(expect.objectContaining({ definition: 'add_rooms', status: 'error' }));
    });
    expect(await holders()).toHaveLength(3);

    expect(await adopt()).toMatchObject([{ outcome: 'adopted', detail: `1 pod, ${andPlace}` }]);
    await soon(async () => {
      expect((await resources.roomStore.readFleet('arena')).rooms.map(({ id }) => id)).toEqual(
        expect.arrayContaining(ids),
      );
    });
    await soon(async () => expect(await holders()).toHaveLength(5));
    expect(await holders()).toEqual(expect.arrayContaining(ids.map((id) => `${id}: ${installation}`)));
  }, 60_000);

  it('leaves what ends, and takes what is a room otherwise', async () => {
    await addV10Scheduler(rooms.machine, 'arena', ['arena-1', 'arena-2']);
    await rooms.machine.run('arena-2');
    await rooms.machine.call('DELETE', '/api/v1/namespaces/arena/pods/arena-2');
    await addV10Pod(rooms.machine, 'arena', 'arena-3', { version: 'v0.9.0' });
    const [outcome] = await adopt();
    expect(outcome).toMatchObject({ outcome: 'adopted', detail: `2 pods, ${andPlace}` });
    expect(outcome?.remarks).toEqual(
      expect.arrayContaining([
        '1 pod left alone: it is ending',
        '1 pod of version v0.9.0, which is not among those that are here (v1.0.0 is)',
      ]),
    );
    expect(await holders()).toContain('arena-2: -');
  });

  it('does not take a pod that got the name of the one that it saw', async () => {
    await addV10Scheduler(rooms.machine, 'arena', ['arena-1']);
    const { rooms: found } = (await v10.find('arena'))!;
    await rooms.machine.remove('arena-1');
    expect(await v10.takeRoom('arena', 'arena-1', found[0]!.uid)).toBe('gone');
    await addV10Pod(rooms.machine, 'arena', 'arena-1');
    expect(await v10.takeRoom('arena', 'arena-1', found[0]!.uid)).toBe('gone');
    expect(await holders()).toEqual(['arena-1: -']);
  });

  it('refuses what is another Maestro’s, what is going, and what it does not know, and adopts the others', async () => {
    await addV10Scheduler(rooms.machine, 'arena', ['arena-1']);
    await addV10Scheduler(rooms.machine, 'other', ['other-1', 'other-2']);
    await rooms.machine.patch('/api/v1/namespaces/other/pods/other-2', { metadata: { labels: { [mark]: 'staging' } } });
    expect(await adopt({ names: ['unknown', 'other', 'arena', 'arena'] })).toMatchObject([
      { name: 'arena', outcome: 'adopted' },
      { name: 'other', outcome: 'refused', detail: 'pod other-2 belongs to another Maestro, installation staging' },
      { name: 'unknown', outcome: 'refused', detail: expect.stringContaining('import it first') },
    ]);
    expect(await holders('other')).toEqual(['other-1: -', 'other-2: staging']);
    expect(await holderOf('other')).toBeNull();

    await rooms.machine.patch('/api/v1/namespaces/other', { metadata: { labels: { [mark]: 'staging' } } });
    expect(await adopt({ names: ['other'] })).toMatchObject([
      { outcome: 'refused', detail: 'its namespace belongs to another Maestro, installation staging' },
    ]);
  });

  it('does not open the place while a v10 goes on starting rooms there', async () => {
    await addV10Scheduler(rooms.machine, 'arena', ['arena-1']);
    let started = 1;
    class BusyV10 extends V10Rooms {
      find = (scheduler: string) => v10.find(scheduler);
      takePlace = (scheduler: string, place: FoundPlace) => v10.takePlace(scheduler, place);
      async takeRoom(scheduler: string, id: string, uid: string) {
        await addV10Pod(rooms.machine, scheduler, `arena-${++started}`);
        return v10.takeRoom(scheduler, id, uid);
      }
    }
    expect(await adopt({}, new BusyV10())).toMatchObject([
      {
        outcome: 'refused',
        detail: expect.stringMatching(/stop v10's worker, and run this again \(3 pods were taken/),
      },
    ]);
    expect(await holderOf('arena')).toBeNull();
  });

  it('is a command that prints what became of each scheduler and tells whether all are ours', async () => {
    await addV10Scheduler(rooms.machine, 'arena', ['arena-1', 'arena-2']);
    const lines = await command({ all: true, dryRun: true });
    const head = `in ${new URL(rooms.proxy.url).origin}, for installation ${installation} at ${new URL(postgres.url).host}`;
    expect(lines.printed[0]).toContain(head);
    expect(lines.printed.slice(1)).toEqual([
      `adopted    arena: 2 pods, ${andPlace}`,
      expect.stringContaining("make sure that v10's worker is stopped"),
      'refused    other: the cluster has no namespace of this name: is it the cluster that v10 uses?',
      '1 adopted, 0 unchanged, 1 refused (dry run: nothing was written)',
    ]);
    expect(lines.answer).toBe(false);
    expect(await holderOf('arena')).toBeNull();
    expect((await command({ scheduler: ['arena'] })).answer).toBe(true);
    expect((await command({ scheduler: ['arena'] })).printed.at(-1)).toBe('0 adopted, 1 unchanged, 0 refused');
  });

  async function command(options: Parameters<typeof adoptFromV10>[0]) {
    let text = '';
    const write = jest.spyOn(process.stdout, 'write').mockImplementation((said) => {
      text += said.toString();
      return true;
    });
    const environment = { MAESTRO_POSTGRES_URL: postgres.url, ...environmentOf(rooms.proxy.url) };
    const former = { ...process.env };
    Object.assign(process.env, environment);
    try {
      const answer = await adoptFromV10({ logConfig: 'production', ...options }).catch(messageOf);
      return { answer, printed: text.trim().split('\n') };
    } finally {
      write.mockRestore();
      for (const name of Object.keys(environment)) {
        if (former[name] === undefined) delete process.env[name];
        else process.env[name] = former[name];
      }
    }
  }
});
