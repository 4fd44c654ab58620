import { KubernetesV10Rooms } from '../../src/adapters/kubernetes/kubernetes-v10-rooms';
import type { KubernetesRuntime } from '../../src/adapters/kubernetes/kubernetes-runtime';
import { eventually } from '../support/eventually';
import type { ProxiedRequest } from '../support/kube-api-proxy';
import { describeOnKubernetes } from '../support/kube-control-plane';
import { chartRules, openWithRights, rightOf, rightsOf, type Rule } from '../support/kube-rights';
import { KubeRooms, openKubeCluster, type KubeCluster } from '../support/kube-rooms';
import { RecordingWatcher, roomSpec, withHostPorts } from '../support/local-rooms';
import { addV10Scheduler } from '../support/v10-cluster';

const rules = chartRules();

describe('the rights of roles in the chart', () => {
  it('are none for roles that ask nothing of the cluster', () => {
    expect([rules['managementApi'], rules['roomsApi'], rules['metricsReporter']]).toEqual([[], [], []]);
  });

  it('name each right once, and none by a wildcard', () => {
    for (const each of Object.values(rules).map(rightsOf)) {
      expect(each).toEqual([...new Set(each)]);
      expect(each.join()).not.toContain('*');
    }
  });
});

describeOnKubernetes('the rights of roles in the chart, on a cluster', (source) => {
  let cluster: KubeCluster;
  let rooms: KubeRooms;
  let closers: (() => Promise<void>)[];

  beforeAll(async () => {
    cluster = await openKubeCluster(source);
  }, 180_000);
  afterAll(() => cluster?.stop());
  beforeEach(async () => {
    closers = [];
    rooms = await KubeRooms.open(cluster);
    for (let node = 2; node <= 6; node++) await rooms.machine.addNode(`node-${node}`, { InternalIP: `10.0.0.${node}` });
  });
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
    await rooms.dispose();
  });

  const soon = <T>(check: () => T | Promise<T>) => eventually(check, { timeoutMs: 20_000 });

  async function as(role: string, rights: readonly Rule[] = rules[role]!) {
    const opened = await openWithRights(cluster, rooms.machine, `maestro-${role}`, rights);
    const { proxy } = opened;
    closers.push(() => opened.close());
    const client = (): Promise<KubernetesRuntime> => rooms.client({ cluster: { masterUrl: proxy.url } });
    return { proxy, client };
  }

  /** What was asked is what the chart gives: nothing was refused, and nothing is given that nobody asks for. */
  function expectExactly(role: string, requests: readonly ProxiedRequest[]): void {
    expect(requests.filter(({ status }) => status === 401 || status === 403)).toEqual([]);
    const used = new Set(requests.map(rightOf).filter((right) => right !== null));
    expect([...used].sort()).toEqual(rightsOf(rules[role]!));
  }

  it('are exactly what the worker asks for', async () => {
    const { proxy, client } = await as('worker');
    const worker = await client();
    await worker.checkAccess();
    await worker.countHosts({ affinity: '', toleration: '' });
    await worker.createScheduler('arena', 'operation-1');
    expect(await worker.createScheduler('arena', 'operation-1')).toBe('already_ours');
    const placed = withHostPorts(roomSpec({ id: 'arena-1' }), [{ protocol: 'udp', hostPort: 30_000 }]);
    await worker.createInstance(placed);
    await expect(worker.createInstance(placed)).rejects.toMatchObject({ code: 'runtime.instance_exists' });
    await rooms.machine.run('arena-1');
    // A worker that has not counted nodes yet asks for the one.
    expect(await (await client()).listInstances('arena')).toMatchObject([{ address: { host: '203.0.113.1' } }]);
    expect(await worker.deleteInstance('arena', 'arena-1', 'scale_down')).toBe('deleting');
    await rooms.machine.letEnd('arena-1');
    expect(await worker.deleteScheduler('arena')).toBe('deleting');
    await soon(async () => expect(await worker.deleteScheduler('arena')).toBe('not_found'));
    // Gone, made anew, shared with somebody, left standing, and taken up again.
    expect(await worker.ensureScheduler('arena', 'operation-2')).toBe('created');
    await worker.createInstance(placed);
    await rooms.machine.addPod('arena', 'tool');
    expect(await worker.deleteScheduler('arena')).toHaveProperty('left');
    expect(await worker.createScheduler('arena', 'operation-3')).toBe('created');
    await soon(() => expectExactly('worker', proxy.requests));
  });

  it('are exactly what the watcher asks for', async () => {
    // Of a name that no other test uses: nobody removes budgets with their namespace here.
    const owner = await rooms.client();
    await owner.createScheduler('watched', 'operation-1');
    // Where the server has policy/v1, it was made with the scheduler; somebody has removed it.
    await rooms.machine.call('DELETE', '/apis/policy/v1/namespaces/watched/poddisruptionbudgets/watched');
    await addV10Scheduler(rooms.machine, 'old', []);
    await rooms.machine.patch('/api/v1/namespaces/old', {
      metadata: { labels: { 'maestro.io/installation': 'test-installation' } },
    });
    const ids = ['watched-1', 'watched-2', 'watched-3', 'watched-4', 'watched-5'];
    for (const id of ids) await owner.createInstance(roomSpec({ id, scheduler: 'watched' }));
    await rooms.machine.run('watched-1');

    const { proxy, client } = await as('runtimeWatcher');
    const runtime = await client();
    expect(await runtime.listInstances()).toHaveLength(5);
    const watcher = new RecordingWatcher();
    const stop = new AbortController();
    const watched = runtime.watchInstances(watcher, stop.signal);
    closers.push(async () => {
      stop.abort();
      await watched;
    });
    await soon(() => expect(watcher.lists).toHaveLength(1));
    await soon(() => expect([proxy.watching('/api/v1/pods'), proxy.watching('/api/v1/nodes')]).toEqual([1, 1]));
    expect(await runtime.protectInstance('watched', 'watched-1', true)).toBe('done');
    expect(await runtime.protectInstance('watched', 'watched-1', false)).toBe('done');
    for (const budget of [1, 2, 0]) await runtime.setDisruptionBudget('watched', budget);
    // v10's budget in a namespace that is ours by now.
    await runtime.setDisruptionBudget('old', 1);
    expect(await runtime.deleteInstance('watched', 'watched-2', 'scheduler_deleted')).toBe('deleting');
    await soon(() => expectExactly('runtimeWatcher', proxy.requests));
    await soon(() => expect(watcher.gone('watched-2')).toBeDefined());
  });

  it('are exactly what adopting asks for', async () => {
    await addV10Scheduler(rooms.machine, 'arena', ['arena-1', 'arena-2']);
    const { proxy } = await as('adopt');
    const v10 = await KubernetesV10Rooms.open({
      cluster: { masterUrl: proxy.url },
      installation: 'test-installation',
      qps: 100,
      burst: 200,
    });
    closers.push(async () => v10.close());
    const place = (await v10.find('arena'))!;
    expect(await v10.takeRoom('arena', 'arena-1', place.rooms[0]!.uid)).toBe('taken');
    expect(await v10.takeRoom('arena', 'arena-2', 'another-uid')).toBe('gone');
    expect(await v10.takePlace('arena', place)).toBe('taken');
    expectExactly('adopt', proxy.requests);
  });

  it('are asked for by the cluster: without them the worker is told what it lacks', async () => {
    const { client } = await as('worker', []);
    const worker = await client();
    for (const call of [() => worker.checkAccess(), () => worker.createScheduler('arena', 'operation-1')]) {
      await expect(call()).rejects.toMatchObject({ kind: 'permission_denied', code: 'runtime.forbidden' });
    }
  });

  it('are not what is lacking where the cluster refuses the room: that is told apart', async () => {
    const { client } = await as('worker');
    const worker = await client();
    await worker.createScheduler('limited', 'operation-1');
    await rooms.machine.call('POST', '/api/v1/namespaces/limited/limitranges', {
      apiVersion: 'v1',
      kind: 'LimitRange',
      metadata: { name: 'small' },
      spec: { limits: [{ type: 'Container', max: { memory: '1Mi' } }] },
    });
    let made = 0;
    // The plugin learns of it through a watch of its own.
    await soon(async () => {
      const room = roomSpec({ id: `limited-${++made}`, scheduler: 'limited' });
      await expect(worker.createInstance(room)).rejects.toMatchObject({
        kind: 'failed_precondition',
        code: 'runtime.admission_denied',
        message: expect.stringContaining('maximum memory usage per Container is 1Mi'),
      });
    });
  });

  it('are named in what a worker without them is told: verb, resource and namespace', async () => {
    await (await rooms.client()).createScheduler('arena', 'operation-1');
    const rights = [{ apiGroups: [''], resources: ['namespaces', 'nodes'], verbs: ['get', 'list'] }];
    const { client } = await as('worker', rights);
    await expect((await client()).createInstance(roomSpec({ id: 'arena-1' }))).rejects.toMatchObject({
      code: 'runtime.forbidden',
      message: expect.stringMatching(
        /^Kubernetes did not create pod arena\/arena-1: .* cannot create resource "pods" .* in the namespace "arena"/,
      ),
    });
  });
});
