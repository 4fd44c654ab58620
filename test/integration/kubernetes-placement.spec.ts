import type { KubernetesRuntime } from '../../src/adapters/kubernetes/kubernetes-runtime';
import { eventually } from '../support/eventually';
import { describeOnKubernetes } from '../support/kube-control-plane';
import { KubeRooms, openKubeCluster, type KubeCluster } from '../support/kube-rooms';
import { RecordingWatcher, roomSpec, withHostPorts } from '../support/local-rooms';

const nodes = '/api/v1/nodes';
const anywhere = { affinity: '', toleration: '' };

describeOnKubernetes('where pods can be', (source) => {
  let cluster: KubeCluster;
  let rooms: KubeRooms;
  let runtime: KubernetesRuntime;
  const added: string[] = [];
  let stopWatching = async (): Promise<void> => undefined;

  beforeAll(async () => {
    cluster = await openKubeCluster(source);
  }, 180_000);
  afterAll(() => cluster?.stop());
  beforeEach(async () => {
    rooms = await KubeRooms.open(cluster);
    runtime = await rooms.client();
    await runtime.createScheduler('arena', 'operation-1');
  });
  afterEach(async () => {
    await stopWatching();
    stopWatching = async () => undefined;
    for (const name of added.splice(0)) await rooms.machine.removeNode(name);
    await rooms.dispose();
  });

  const soon = <T>(check: () => T | Promise<T>) => eventually(check, { timeoutMs: 20_000 });

  /** Beside `node-1`, which has neither labels nor taints that matter. */
  async function addNode(name: string, { labels = {}, ...spec }: { labels?: object; taints?: object[] } = {}) {
    added.push(name);
    await rooms.machine.addNode(name, { InternalIP: '10.0.0.9' });
    await rooms.machine.patch(`${nodes}/${name}`, { metadata: { labels }, spec });
  }

  async function watch(): Promise<RecordingWatcher> {
    const watcher = new RecordingWatcher();
    const stop = new AbortController();
    const done = runtime.watchInstances(watcher, stop.signal);
    stopWatching = () => {
      stop.abort();
      return done;
    };
    await soon(() => expect(watcher.lists).toHaveLength(1));
    await soon(() => expect(rooms.proxy.watching(nodes)).toBe(1));
    return watcher;
  }

  it('counts the nodes that could run a room, with one list for all who ask', async () => {
    const dedicated = { taints: [{ key: 'dedicated', value: 'arena', effect: 'NoSchedule' }] };
    await addNode('node-2', { labels: { games: 'true' } });
    await addNode('node-3', { labels: { games: 'true' }, ...dedicated });
    const counted = await Promise.all([
      runtime.countHosts(anywhere),
      runtime.countHosts({ affinity: 'games', toleration: '' }),
      runtime.countHosts({ affinity: 'games', toleration: 'arena' }),
      runtime.countHosts({ affinity: '', toleration: 'arena' }),
      runtime.countHosts({ affinity: 'nowhere', toleration: '' }),
    ]);
    expect(counted).toEqual([2, 1, 2, 3, 1]);
    expect(await runtime.countHosts(anywhere)).toBe(2);
    expect(rooms.proxy.count('GET', nodes)).toBe(1);
  });

  it('knows of nodes that come, are cordoned and go at once while it watches', async () => {
    await watch();
    expect(await runtime.countHosts(anywhere)).toBe(1);
    const asked = rooms.proxy.count('GET', nodes);
    await addNode('node-2');
    await addNode('node-3');
    await soon(async () => expect(await runtime.countHosts(anywhere)).toBe(3));
    await rooms.machine.patch(`${nodes}/node-2`, { spec: { unschedulable: true } });
    await soon(async () => expect(await runtime.countHosts(anywhere)).toBe(2));
    await rooms.machine.removeNode('node-3');
    await soon(async () => expect(await runtime.countHosts(anywhere)).toBe(1));
    expect(rooms.proxy.count('GET', nodes)).toBe(asked);
  });

  it('says that it cannot know while the API server is away', async () => {
    const away = await rooms.client({ cluster: { masterUrl: 'http://127.0.0.1:9' }, callDeadlineMs: 300 });
    await expect(away.countHosts(anywhere)).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('tells what a pod lacks that finds no node, and which host ports it holds', async () => {
    const watcher = await watch();
    const hostPorts = [{ protocol: 'udp', hostPort: 31_001 }];
    const created = await runtime.createInstance(withHostPorts(roomSpec({ id: 'arena-1' }), hostPorts));
    expect(created).toMatchObject({
      hostPorts: [{ protocol: 'UDP', port: 31_001 }],
      placementProblem: null,
      isProtected: false,
    });
    const lacks = async (message: string) => {
      const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message };
      await rooms.machine.report('arena-1', { phase: 'Pending', conditions: [condition] });
    };
    const last = () => watcher.changes.at(-1)?.instance;
    await lacks("0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.");
    await soon(() =>
      expect(last()).toMatchObject({
        status: 'pending',
        placementProblem: 'host_ports',
        hostPorts: [{ protocol: 'UDP', port: 31_001 }],
        description:
          "Unschedulable: no node has its host ports free: 0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
      }),
    );
    await lacks('0/1 nodes are available: 1 Insufficient cpu.');
    await soon(() => expect(last()).toMatchObject({ placementProblem: 'resources' }));
    expect((await runtime.listInstances('arena'))[0]).toMatchObject({ placementProblem: 'resources' });
    await rooms.machine.run('arena-1');
    await soon(() => expect(last()).toMatchObject({ status: 'ready', placementProblem: null }));
  });
});
