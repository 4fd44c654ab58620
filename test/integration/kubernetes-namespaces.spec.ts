import type { DisruptionBudget, Namespace, ObjectList } from '../../src/adapters/kubernetes/kubernetes-objects';
import type { KubernetesRuntime } from '../../src/adapters/kubernetes/kubernetes-runtime';
import { DomainError } from '../../src/domain/errors';
import { eventually } from '../support/eventually';
import { describeOnKubernetes } from '../support/kube-control-plane';
import { KubeRooms, openKubeCluster, type KubeCluster } from '../support/kube-rooms';
import { roomSpec } from '../support/local-rooms';

const installation = 'test-installation';
const mark = 'maestro.io/installation';
const path = '/api/v1/namespaces/arena';
const othersPaths = [
  `${path}/secrets/keys`,
  `${path}/configmaps/maps`,
  '/apis/apps/v1/namespaces/arena/deployments/tool',
];

describeOnKubernetes('the namespaces of schedulers', (source) => {
  let cluster: KubeCluster;
  let rooms: KubeRooms;
  let runtime: KubernetesRuntime;
  /** Where the server's budgets are. */
  let budgetsPath: string;

  beforeAll(async () => {
    cluster = await openKubeCluster(source);
  }, 180_000);
  afterAll(() => cluster?.stop());
  beforeEach(async () => {
    rooms = await KubeRooms.open(cluster);
    const isOld = (await rooms.machine.call('GET', '/apis/policy/v1')).status !== 200;
    rooms.proxy.translatesPolicy = isOld;
    budgetsPath = `/apis/policy/${isOld ? 'v1beta1' : 'v1'}/namespaces/arena/poddisruptionbudgets`;
    runtime = await rooms.client();
  });
  afterEach(async () => {
    // The machine empties namespaces of pods only: what else is in one would be in the next of its name.
    for (const each of [...othersPaths, budgetsPath, path]) await rooms.machine.call('DELETE', each);
    await rooms.machine.clear();
    await eventually(async () => expect(await namespace()).toBeNull(), { timeoutMs: 20_000 });
    await rooms.dispose();
  });

  const soon = <T>(check: () => T | Promise<T>) => eventually(check, { timeoutMs: 20_000 });
  async function namespace(): Promise<Namespace | null> {
    const { status, body } = await rooms.machine.call<Namespace>('GET', path);
    return status === 404 ? null : body;
  }
  const marks = async () => {
    const { labels, annotations } = (await namespace())?.metadata ?? {};
    return { holder: labels?.[mark] ?? null, annotations: annotations ?? {} };
  };
  const pods = async () => (await runtime.listInstances('arena')).map(({ id, status }) => `${id} ${status}`);
  const budgets = async () =>
    (await rooms.machine.call<ObjectList<DisruptionBudget>>('GET', budgetsPath)).body.items.map(
      ({ metadata }) => metadata?.name,
    );
  const put = (where: string, body: object) => rooms.machine.call('POST', `${path}/${where}`, body);
  const warnings = () => rooms.log.lines.filter(({ level }) => level === 'warn');

  async function failureOf(call: Promise<unknown>): Promise<DomainError> {
    const error: unknown = await call.then(
      () => new Error('it did not fail'),
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(DomainError);
    return error as DomainError;
  }

  /** A namespace of somebody who has a Secret, a ConfigMap and a Deployment in it. */
  async function stood(annotations: Record<string, string> = {}, labels: Record<string, string> = {}): Promise<void> {
    const metadata = { name: 'arena', labels, annotations: { 'example.com/team': 'blue', ...annotations } };
    await rooms.machine.call('POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata });
    await put('secrets', { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'keys' } });
    await put('configmaps', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'maps' } });
    await rooms.machine.call('POST', '/apis/apps/v1/namespaces/arena/deployments', {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'tool' },
      spec: {
        selector: { matchLabels: { app: 'tool' } },
        template: { metadata: { labels: { app: 'tool' } }, spec: { containers: [{ name: 'tool', image: 'tool:1' }] } },
      },
    });
  }

  async function othersThings(): Promise<number[]> {
    return Promise.all(othersPaths.map(async (each) => (await rooms.machine.call('GET', each)).status));
  }

  const left = (why: string) => ({ left: `namespace arena is left standing, with what others have in it: ${why}` });
  const tookItOver = 'this Maestro did not make it, but took it over';

  describe('that this Maestro made', () => {
    it('goes with its scheduler, with the Secrets that are in it', async () => {
      await runtime.createScheduler('arena', 'operation-1');
      await put('secrets', { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'keys' } });
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      expect(await runtime.deleteScheduler('arena')).toBe('deleting');
      await soon(async () => expect(await namespace()).toBeNull());
      expect(warnings()).toEqual([]);
    });

    it('stays while pods of others are in it, and says whose not', async () => {
      await runtime.createScheduler('arena', 'operation-1');
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      for (const name of ['tool-1', 'tool-2', 'tool-3', 'tool-4']) await rooms.machine.addPod('arena', name);
      await rooms.machine.addPod('arena', 'stage-1', { heritage: 'maestro', [mark]: 'staging' });
      const why = 'pods are in it that this Maestro did not make (stage-1, tool-1, tool-2 and 2 more)';
      expect(await runtime.deleteScheduler('arena')).toEqual(left(why));
      expect(warnings()).toMatchObject([
        {
          fields: { scheduler_name: 'arena', reason: why },
          message: 'the namespace of a deleted scheduler is left standing',
        },
      ]);
      await soon(async () => expect(await pods()).toEqual([]));
      expect(await marks()).toEqual({ holder: null, annotations: { 'maestro.io/let-go-by': installation } });
      expect(JSON.stringify((await namespace())?.metadata?.labels ?? {})).not.toContain('maestro');
      expect((await rooms.machine.pod('tool-1'))?.metadata?.deletionTimestamp).toBeUndefined();
    });

    it('goes although a pod of somebody is ending in it', async () => {
      await runtime.createScheduler('arena', 'operation-1');
      await rooms.machine.addPod('arena', 'tool');
      await rooms.machine.bind('tool', 'node-1');
      await rooms.machine.call('DELETE', `${path}/pods/tool`);
      expect(await runtime.deleteScheduler('arena')).toBe('deleting');
      await rooms.machine.letEnd('tool');
      await soon(async () => expect(await namespace()).toBeNull());
    });
  });

  describe('that stood before', () => {
    it('loses what is ours, and nothing else', async () => {
      await stood({ 'maestro.io/adopted': 'true' }, { [mark]: installation, team: 'blue' });
      for (const id of ['arena-1', 'arena-2']) await runtime.createInstance(roomSpec({ id }));
      await rooms.machine.run('arena-1');
      await rooms.machine.addPod('arena', 'tool');
      await runtime.setDisruptionBudget('arena', 1);
      await rooms.machine.call('POST', budgetsPath, {
        apiVersion: budgetsPath.split('/').slice(2, 4).join('/'),
        kind: 'PodDisruptionBudget',
        metadata: { name: 'of-tools' },
        spec: { minAvailable: 1, selector: { matchLabels: { app: 'tool' } } },
      });
      expect(await budgets()).toEqual(['arena', 'of-tools']);

      expect(await runtime.deleteScheduler('arena')).toEqual(left(tookItOver));
      // The grace period of what runs.
      await soon(async () => expect(await pods()).toEqual(['arena-1 terminating']));
      await rooms.machine.letEnd('arena-1');
      expect(await budgets()).toEqual(['of-tools']);
      expect(await othersThings()).toEqual([200, 200, 200]);
      expect((await rooms.machine.pod('tool'))?.metadata?.deletionTimestamp).toBeUndefined();
      const { labels, annotations, deletionTimestamp } = (await namespace())!.metadata!;
      expect(labels).toMatchObject({ team: 'blue' });
      expect(Object.keys(labels!)).not.toContain(mark);
      expect(annotations).toEqual({ 'example.com/team': 'blue', 'maestro.io/let-go-by': installation });
      expect(deletionTimestamp).toBeUndefined();
    });

    it('is known by its lack of an owner where the mark was not made yet', async () => {
      await stood({}, { [mark]: installation });
      expect(await runtime.deleteScheduler('arena')).toEqual(left(tookItOver));
      expect(await othersThings()).toEqual([200, 200, 200]);
    });

    it('is the place of the next scheduler of that name, and stays again', async () => {
      await stood({ 'maestro.io/adopted': 'true' }, { [mark]: installation });
      await runtime.deleteScheduler('arena');
      rooms.proxy.dropAnswers(1, ({ method }) => method === 'PATCH');
      // The answer was lost, so that it is found made.
      expect(await runtime.createScheduler('arena', 'operation-2')).toBe('already_ours');
      expect(await marks()).toMatchObject({
        holder: installation,
        annotations: { 'maestro.io/owner': 'operation-2', 'maestro.io/adopted': 'true' },
      });
      expect(await budgets()).toEqual(['arena']);
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      // A roll-back of that creation takes back as much.
      expect(await runtime.deleteScheduler('arena', 'operation-1')).toBe('not_found');
      expect(await runtime.deleteScheduler('arena', 'operation-2')).toEqual(left(tookItOver));
      expect(await runtime.deleteScheduler('arena', 'operation-2')).toBe('not_found');
      expect(await othersThings()).toEqual([200, 200, 200]);
    });

    it('is not taken up again while rooms of a v10 are in it, nor by another installation', async () => {
      await stood({ 'maestro.io/adopted': 'true' }, { [mark]: installation });
      await runtime.deleteScheduler('arena');
      const staging = await rooms.client({ installation: async () => 'staging' });
      expect(await failureOf(staging.createScheduler('arena', 'o'))).toMatchObject({
        code: 'runtime.scheduler_exists',
      });
      expect(await staging.deleteScheduler('arena')).toBe('not_found');
      await rooms.machine.addPod('arena', 'arena-v10', { heritage: 'maestro', 'maestro-scheduler': 'arena' });
      for (const call of [runtime.createScheduler('arena', 'o'), runtime.ensureScheduler('arena', 'o')]) {
        const { code, message } = await failureOf(call);
        expect(code).toBe('runtime.scheduler_exists');
        expect(message).toContain('rooms of another Maestro are in it (arena-v10)');
      }
      expect((await marks()).holder).toBeNull();
      await rooms.machine.remove('arena-v10');
      expect(await runtime.ensureScheduler('arena', 'o')).toBe('created');
    });

    it('is cleared by whoever goes on where a deletion broke off', async () => {
      await stood({ 'maestro.io/adopted': 'true' }, { [mark]: installation });
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      await rooms.machine.run('arena-1');
      await runtime.setDisruptionBudget('arena', 1);
      rooms.proxy.refuse(1, ({ method }) => method === 'DELETE', 403);
      expect(await failureOf(runtime.deleteScheduler('arena'))).toMatchObject({ code: 'runtime.forbidden' });
      expect((await marks()).holder).toBeNull();
      expect(await pods()).toEqual(['arena-1 ready']);

      const another = await rooms.client();
      expect(await another.deleteScheduler('arena')).toEqual(left("it is not this Maestro's alone"));
      expect([await pods(), await budgets()]).toEqual([['arena-1 terminating'], []]);
      expect(await another.deleteScheduler('arena')).toEqual(left("it is not this Maestro's alone"));
      await rooms.machine.letEnd('arena-1');
    });

    it('is cleared by a roll-back that goes on where it broke off, and by no other', async () => {
      await stood({ 'maestro.io/adopted': 'true' }, { [mark]: installation });
      await runtime.deleteScheduler('arena');
      expect(await runtime.createScheduler('arena', 'operation-2')).toBe('created');
      rooms.proxy.refuse(1, ({ method }) => method === 'DELETE', 403);
      expect(await failureOf(runtime.deleteScheduler('arena', 'operation-2'))).toMatchObject({
        code: 'runtime.forbidden',
      });
      expect([(await marks()).holder, await budgets()]).toEqual([null, ['arena']]);

      const another = await rooms.client();
      expect(await another.deleteScheduler('arena', 'operation-1')).toBe('not_found');
      expect(await budgets()).toEqual(['arena']);
      expect(await another.deleteScheduler('arena', 'operation-2')).toEqual(left("it is not this Maestro's alone"));
      expect(await budgets()).toEqual([]);
      expect(Object.keys((await marks()).annotations)).not.toContain('maestro.io/owner');
      expect(await another.deleteScheduler('arena', 'operation-2')).toBe('not_found');
    });

    it('stays when it has lost the label by which it was ours, and both the answer and the log say so', async () => {
      await runtime.createScheduler('arena', 'operation-1');
      await rooms.machine.patch(path, { metadata: { labels: { [mark]: null } } });
      const answer = await runtime.deleteScheduler('arena');
      expect(answer).toEqual(left(`its label ${mark} is gone, by which it was this Maestro's`));
      expect(await runtime.deleteScheduler('arena')).toEqual(answer);
      expect(warnings()).toHaveLength(1);
      const { message } = await failureOf(runtime.ensureScheduler('arena', 'operation-1'));
      expect(message).toContain(`put its label ${mark}=${installation} back`);
    });

    it('is looked at again when somebody changed it meanwhile, and left alone when it is not ours any more', async () => {
      await stood({ 'maestro.io/adopted': 'true' }, { [mark]: installation });
      rooms.proxy.refuse(1, ({ method }) => method === 'PATCH', 409);
      expect(await runtime.deleteScheduler('arena')).toEqual(left(tookItOver));

      await rooms.machine.patch(path, { metadata: { labels: { [mark]: 'staging' } } });
      expect(await runtime.deleteScheduler('arena')).toBe('not_found');
      expect((await marks()).holder).toBe('staging');
    });
  });

  describe('that are gone', () => {
    it('are made anew, for one call where nothing is missing', async () => {
      await runtime.createScheduler('arena', 'operation-1');
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      await rooms.machine.call('DELETE', path);
      await soon(async () => expect(await namespace()).toBeNull());
      expect(await runtime.ensureScheduler('arena', 'operation-2')).toBe('created');
      expect(await marks()).toEqual({ holder: installation, annotations: { 'maestro.io/owner': 'operation-2' } });
      expect(await budgets()).toEqual(['arena']);

      const before = rooms.proxy.requests.length;
      expect(await runtime.ensureScheduler('arena', 'operation-3')).toBe('there');
      expect(rooms.proxy.requests.slice(before).map(({ method, path: of }) => `${method} ${of}`)).toEqual([
        `GET ${path}`,
      ]);
      await runtime.createInstance(roomSpec({ id: 'arena-2' }));
    });

    it('are believed gone as soon as a pod cannot be made in them', async () => {
      await runtime.createScheduler('arena', 'operation-1');
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      await rooms.machine.bind('arena-1', 'node-1');
      await rooms.machine.call('DELETE', path);
      for (const id of ['arena-2', 'arena-3']) {
        expect(await failureOf(runtime.createInstance(roomSpec({ id })))).toMatchObject({
          code: 'runtime.scheduler_not_found',
        });
      }
      // The second one asked whether there is a namespace, before it asked for a pod.
      expect(rooms.proxy.count('POST', `${path}/pods`)).toBe(2);
      const { kind, code, message } = await failureOf(runtime.ensureScheduler('arena', 'operation-2'));
      expect([kind, code]).toEqual(['unavailable', 'runtime.scheduler_being_deleted']);
      expect(message).toContain('Namespace "arena" is being deleted');
      await rooms.machine.letEnd('arena-1');
      await soon(async () => expect(await runtime.ensureScheduler('arena', 'operation-2')).toBe('created'));
      await runtime.createInstance(roomSpec({ id: 'arena-2' }));
    });

    it('are not made where somebody else has one of that name', async () => {
      await stood();
      const { kind, code, message } = await failureOf(runtime.ensureScheduler('arena', 'operation-1'));
      expect([kind, code]).toEqual(['already_exists', 'runtime.scheduler_exists']);
      expect(message).toContain('was not made by this Maestro');
      expect((await marks()).holder).toBeNull();
    });
  });

  it('are looked at once by rooms that start together', async () => {
    await (await rooms.client()).createScheduler('arena', 'operation-1');
    const before = rooms.proxy.count('GET', path);
    const ids = Array.from({ length: 100 }, (_, index) => `arena-${index}`);
    await Promise.all(ids.map((id) => runtime.createInstance(roomSpec({ id }))));
    expect(rooms.proxy.count('GET', path) - before).toBe(1);
  });
});
