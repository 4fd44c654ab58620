import type { DisruptionBudget } from '../../src/adapters/kubernetes/kubernetes-objects';
import type { KubernetesRuntime } from '../../src/adapters/kubernetes/kubernetes-runtime';
import { podManifest } from '../../src/adapters/kubernetes/pod-manifest';
import type { DomainError } from '../../src/domain/errors';
import type { InstanceSpec } from '../../src/ports/runtime';
import { eventually } from '../support/eventually';
import { describeOnKubernetes } from '../support/kube-control-plane';
import { KubeRooms, openKubeCluster, type KubeCluster } from '../support/kube-rooms';
import { RecordingWatcher, roomSpec } from '../support/local-rooms';

const pods = '/api/v1/namespaces/arena/pods';
const safeToEvict = 'cluster-autoscaler.kubernetes.io/safe-to-evict';
const budgetsOfV1 = '/apis/policy/v1/namespaces/arena/poddisruptionbudgets';

describeOnKubernetes('the protection of matches on Kubernetes', (source) => {
  let cluster: KubeCluster;
  let rooms: KubeRooms;
  let runtime: KubernetesRuntime;
  /** As the server itself has them. */
  let budgets: string;

  beforeAll(async () => {
    cluster = await openKubeCluster(source);
  }, 180_000);
  afterAll(() => cluster?.stop());

  beforeEach(async () => {
    rooms = await KubeRooms.open(cluster);
    const { status } = await rooms.machine.call('GET', '/apis/policy/v1');
    // Servers before 1.21 have the same objects under an older version; the proxy says them so.
    rooms.proxy.translatesPolicy = status === 404;
    budgets = status === 404 ? budgetsOfV1.replace('/v1/', '/v1beta1/') : budgetsOfV1;
    // Nobody here empties namespaces of anything but pods.
    await rooms.machine.call('DELETE', budgets);
    runtime = await rooms.client();
    await runtime.createScheduler('arena', 'operation-1');
    rooms.proxy.requests.length = 0;
  });
  afterEach(() => rooms.dispose());

  const failureOf = (call: Promise<unknown>) =>
    call.then(
      () => null,
      (error: unknown) => error as DomainError,
    );
  /** What was asked, without watches. */
  const asked = () => rooms.proxy.requests.filter(({ isWatch }) => !isWatch).map(({ method }) => method);

  describe('a pod', () => {
    const start = (changes: Partial<InstanceSpec> = {}) =>
      runtime.createInstance(roomSpec({ id: 'arena-1', ...changes }));
    async function seen(id = 'arena-1') {
      const { labels, annotations } = (await rooms.machine.pod(id))?.metadata ?? {};
      return [annotations?.[safeToEvict], labels?.['maestro.io/match']];
    }
    const isProtected = async () => (await runtime.listInstances('arena')).map((instance) => instance.isProtected);
    const change = (metadata: object) => rooms.machine.patch(`${pods}/arena-1`, { metadata });

    it('may be moved until it has a match, and again after it', async () => {
      expect((await start()).isProtected).toBe(false);
      expect(await seen()).toEqual(['true', undefined]);
      expect(await runtime.protectInstance('arena', 'arena-1', true)).toBe('done');
      expect(await seen()).toEqual(['false', 'true']);
      expect(await isProtected()).toEqual([true]);
      expect(await runtime.protectInstance('arena', 'arena-1', false)).toBe('done');
      expect(await seen()).toEqual(['true', undefined]);
      expect(await isProtected()).toEqual([false]);
    });

    it('is told so in one call, without a look at it', async () => {
      await start();
      rooms.proxy.requests.length = 0;
      for (const value of [true, true, false]) await runtime.protectInstance('arena', 'arena-1', value);
      expect(asked()).toEqual(['PATCH', 'PATCH', 'PATCH']);
    });

    it('may be told the same again', async () => {
      await start();
      for (const value of [false, false, true, true, false, false]) {
        expect(await runtime.protectInstance('arena', 'arena-1', value)).toBe('done');
        expect(await isProtected()).toEqual([value]);
      }
    });

    it('is seen by those who watch', async () => {
      const watcher = new RecordingWatcher();
      const stop = new AbortController();
      const watching = runtime.watchInstances(watcher, stop.signal);
      try {
        await eventually(() => expect(watcher.lists).toHaveLength(1), { timeoutMs: 15_000 });
        await start();
        await runtime.protectInstance('arena', 'arena-1', true);
        await eventually(
          () => expect(watcher.changes.at(-1)).toMatchObject({ type: 'present', instance: { isProtected: true } }),
          { timeoutMs: 15_000 },
        );
      } finally {
        stop.abort();
        await watching;
      }
    });

    it('whose scheduler says that it is never to be moved stays so, and is counted all the same', async () => {
      await start({ annotations: { [safeToEvict]: 'false' } });
      expect(await isProtected()).toEqual([false]);
      for (const value of [true, false]) {
        await runtime.protectInstance('arena', 'arena-1', value);
        expect(await seen()).toEqual(['false', value ? 'true' : undefined]);
        expect(await isProtected()).toEqual([value]);
      }
      rooms.proxy.requests.length = 0;
      for (const value of [true, false]) await runtime.protectInstance('arena', 'arena-1', value);
      // It is known of the scheduler by now.
      expect(asked()).toEqual(['PATCH', 'PATCH']);
      expect(await seen()).toEqual(['false', undefined]);
    });

    it.each(['true', 'false'])('of v10 that was adopted gets back what it had, %s', async (had) => {
      const manifest = podManifest(roomSpec({ id: 'arena-1' }), around, 'call-1');
      const annotations = { [safeToEvict]: had };
      await rooms.machine.call('POST', pods, { ...manifest, metadata: { ...manifest.metadata, annotations } });
      for (const value of [true, false, true, false]) {
        expect(await runtime.protectInstance('arena', 'arena-1', value)).toBe('done');
        expect(await seen()).toEqual(value ? ['false', 'true'] : [had, undefined]);
      }
    });

    it('without annotations is told so too', async () => {
      const { metadata, ...manifest } = podManifest(roomSpec({ id: 'arena-1' }), around, 'call-1');
      const { name, labels } = metadata!;
      await rooms.machine.call('POST', pods, { ...manifest, metadata: { name, labels } });
      for (const value of [true, false]) {
        expect(await runtime.protectInstance('arena', 'arena-1', value)).toBe('done');
        expect(await seen()).toEqual(value ? ['false', 'true'] : ['true', undefined]);
      }
    });

    it.each([
      ['of nobody', { heritage: 'maestro' }],
      ['of another Maestro', { heritage: 'maestro', 'maestro.io/installation': 'another' }],
      ['that is no room', { 'maestro.io/installation': 'test-installation' }],
    ])('%s is never touched, and looks as if it were not there', async (_what, labels) => {
      const manifest = podManifest(roomSpec({ id: 'arena-1' }), around, 'call-1');
      await rooms.machine.call('POST', pods, { ...manifest, metadata: { ...manifest.metadata, labels } });
      const before = await rooms.machine.pod('arena-1');
      expect(before).not.toBeNull();
      for (const value of [true, false]) {
        expect(await runtime.protectInstance('arena', 'arena-1', value)).toBe('not_found');
      }
      expect(await rooms.machine.pod('arena-1')).toEqual(before);
    });

    it('that is gone, or never was, is not found', async () => {
      await start();
      await rooms.machine.remove('arena-1');
      for (const [scheduler, id] of [
        ['arena', 'arena-1'],
        ['arena', 'arena-2'],
        ['nowhere', 'arena-1'],
        ['arena', '../arena-1'],
        ['', ''],
      ] as const) {
        expect(await runtime.protectInstance(scheduler, id, true)).toBe('not_found');
      }
    });

    it('is told once more when the answer was lost', async () => {
      await start();
      for (const value of [true, false]) {
        rooms.proxy.dropAnswers(1, ({ method }) => method === 'PATCH');
        expect(await runtime.protectInstance('arena', 'arena-1', value)).toBe('done');
        expect(await isProtected()).toEqual([value]);
      }
    });

    it('that changes while it is looked at is looked at again, but not for ever', async () => {
      await start();
      await change({ annotations: { 'maestro.io/idle-safe-to-evict': null } });
      rooms.proxy.requests.length = 0;
      let patches = 0;
      rooms.proxy.refuse(1, ({ method }) => method === 'PATCH' && ++patches === 2, 409);
      expect(await runtime.protectInstance('arena', 'arena-1', true)).toBe('done');
      expect(asked()).toEqual(['PATCH', 'GET', 'PATCH', 'GET', 'PATCH']);
      await change({ annotations: { 'maestro.io/idle-safe-to-evict': null } });
      patches = 0;
      rooms.proxy.refuse(100, ({ method }) => method === 'PATCH' && ++patches > 1, 409);
      expect(await failureOf(runtime.protectInstance('arena', 'arena-1', false))).toMatchObject({
        kind: 'unavailable',
      });
      expect(patches).toBe(6);
    });

    it('cannot be told without a server that answers', async () => {
      await start();
      const cutOff = await rooms.client({ cluster: { masterUrl: 'http://127.0.0.1:9' }, callDeadlineMs: 300 });
      expect(await failureOf(cutOff.protectInstance('arena', 'arena-1', true))).toMatchObject({ kind: 'unavailable' });
    });
  });

  describe('a disruption budget', () => {
    const wanted = (minAvailable: number) => ({
      minAvailable,
      selector: {
        matchLabels: {
          'maestro.io/installation': 'test-installation',
          'maestro-scheduler': 'arena',
          'maestro.io/match': 'true',
        },
      },
    });
    const ours = { 'app.kubernetes.io/managed-by': 'maestro', 'maestro.io/installation': 'test-installation' };
    async function budget(path = `${budgets}/arena`): Promise<DisruptionBudget | null> {
      const { status, body } = await rooms.machine.call<DisruptionBudget>('GET', path);
      return status === 404 ? null : body;
    }
    async function replace(labels: Record<string, string>, spec: object): Promise<void> {
      await rooms.machine.call('DELETE', `${budgets}/arena`);
      const apiVersion = budgets.includes('/v1beta1/') ? 'policy/v1beta1' : 'policy/v1';
      const body = { apiVersion, kind: 'PodDisruptionBudget', metadata: { name: 'arena', labels }, spec };
      expect((await rooms.machine.call('POST', budgets, body)).status).toBe(201);
    }
    const selectorOfV10 = { matchLabels: { 'maestro-scheduler': 'arena' } };

    it('is made with its scheduler, and keeps nobody yet', async () => {
      expect(await budget()).toMatchObject({ metadata: { labels: ours }, spec: wanted(0) });
    });

    it('is set in one call', async () => {
      for (const count of [7, 7, 3, 0]) {
        await runtime.setDisruptionBudget('arena', count);
        expect((await budget())?.spec).toEqual(wanted(count));
      }
      expect(asked()).toEqual(['PATCH', 'PATCH', 'PATCH', 'PATCH']);
    });

    it('is made when it is missing', async () => {
      await rooms.machine.call('DELETE', `${budgets}/arena`);
      await runtime.setDisruptionBudget('arena', 4);
      expect(await budget()).toMatchObject({ metadata: { labels: ours }, spec: wanted(4) });
    });

    it('of v10 in a namespace that is ours becomes ours, with rooms that have a match in it and no others', async () => {
      await replace({ 'app.kubernetes.io/managed-by': 'maestro' }, { minAvailable: 950, selector: selectorOfV10 });
      await runtime.setDisruptionBudget('arena', 2);
      expect(await budget()).toMatchObject({ metadata: { labels: ours }, spec: wanted(2) });
      expect((await budget())?.spec).toEqual(wanted(2));
    });

    it.each([
      ['with a maxUnavailable', { maxUnavailable: '5%', selector: wanted(0).selector }],
      ['with a share', { minAvailable: '100%', selector: wanted(0).selector }],
      ['for all rooms', { minAvailable: 9, selector: selectorOfV10 }],
      [
        "for another installation's rooms too",
        { minAvailable: 9, selector: { matchLabels: { ...selectorOfV10.matchLabels, 'maestro.io/match': 'true' } } },
      ],
    ])('of ours that somebody edited is mended: %s', async (_what, spec) => {
      await replace(ours, spec);
      await runtime.setDisruptionBudget('arena', 2);
      expect((await budget())?.spec).toEqual(wanted(2));
    });

    it.each([
      ['another Maestro', { ...ours, 'maestro.io/installation': 'another' }],
      ['somebody', { team: 'blue' }],
    ])('of %s is left alone, and the log says so once', async (_who, labels) => {
      await replace(labels, { minAvailable: 5, selector: selectorOfV10 });
      const before = await budget();
      await runtime.setDisruptionBudget('arena', 2);
      await runtime.setDisruptionBudget('arena', 3);
      expect(await budget()).toEqual(before);
      expect(rooms.log.lines.filter(({ level }) => level === 'warn')).toMatchObject([
        { fields: { scheduler_name: 'arena' }, message: expect.stringContaining('left alone') },
      ]);
    });

    it('that changes while it is looked at is looked at again, but not for ever', async () => {
      await replace(ours, { minAvailable: 9, selector: selectorOfV10 });
      rooms.proxy.refuse(1, ({ method }) => method === 'PUT', 409);
      await runtime.setDisruptionBudget('arena', 2);
      expect((await budget())?.spec).toEqual(wanted(2));
      await replace(ours, { minAvailable: 9, selector: selectorOfV10 });
      rooms.proxy.requests.length = 0;
      rooms.proxy.refuse(100, ({ method }) => method === 'PUT', 409);
      expect(await failureOf(runtime.setDisruptionBudget('arena', 2))).toMatchObject({ kind: 'unavailable' });
      expect(asked().filter((method) => method === 'PUT')).toHaveLength(5);
    });

    it('is set once more when the answer was lost', async () => {
      rooms.proxy.dropAnswers(1, ({ method }) => method === 'PATCH');
      await runtime.setDisruptionBudget('arena', 2);
      await rooms.machine.call('DELETE', `${budgets}/arena`);
      rooms.proxy.dropAnswers(1, ({ method }) => method === 'POST');
      await runtime.setDisruptionBudget('arena', 3);
      expect((await budget())?.spec).toEqual(wanted(3));
    });

    it('is not made where there is no namespace, or none of ours', async () => {
      await runtime.setDisruptionBudget('nowhere', 2);
      await runtime.setDisruptionBudget('default', 2);
      await runtime.setDisruptionBudget('../arena', 2);
      expect(await budget(budgets.replace('arena', 'default') + '/default')).toBeNull();
    });

    it('is not made in a namespace that is going', async () => {
      await rooms.machine.stop();
      await rooms.machine.call('DELETE', `${budgets}/arena`);
      await runtime.deleteScheduler('arena');
      await runtime.setDisruptionBudget('arena', 2);
      expect(await budget()).toBeNull();
    });

    it('is what the server says of a missing right', async () => {
      rooms.proxy.refuse(1, ({ method }) => method === 'PATCH', 403);
      expect(await failureOf(runtime.setDisruptionBudget('arena', 2))).toMatchObject({ kind: 'permission_denied' });
    });

    it('is none where the server lacks policy/v1: that is no error, is said once, and is not asked again', async () => {
      const lacking = await rooms.client();
      rooms.proxy.refuse(1_000, ({ path }) => path.startsWith('/apis/policy/v1'), 404);
      for (let times = 0; times < 3; times++) await lacking.setDisruptionBudget('arena', 2);
      expect(await lacking.createScheduler('arena', 'operation-1')).toBe('already_ours');
      const ofPolicy = rooms.proxy.requests.filter(({ path }) => path.startsWith('/apis/policy'));
      expect(ofPolicy.map(({ method, path }) => `${method} ${path}`)).toEqual([
        `PATCH ${budgetsOfV1}/arena`,
        'GET /apis/policy/v1',
      ]);
      expect(rooms.log.lines.filter(({ message }) => message.includes('lacks policy/v1'))).toHaveLength(1);
    });

    it('that the server itself lacks, or has, is told apart', async () => {
      rooms.proxy.translatesPolicy = false;
      const { status } = await rooms.machine.call('GET', '/apis/policy/v1');
      await runtime.setDisruptionBudget('arena', 6);
      expect((await budget())?.spec).toEqual(status === 404 ? wanted(0) : wanted(6));
    });
  });
});

const around = { installation: 'test-installation', roomsApiUrl: null, roomsGrpcAddress: null, topologySpread: null };
