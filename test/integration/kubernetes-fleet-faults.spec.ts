import { ClusterAccess } from '../../src/adapters/kubernetes/cluster-access';
import type { ObjectList, Pod } from '../../src/adapters/kubernetes/kubernetes-objects';
import type { Room } from '../../src/domain/room/room';
import { creationDeadlineMs } from '../../src/features/watching/reconciliation';
import { eventually } from '../support/eventually';
import { KubeApiProxy, type ProxiedRequest } from '../support/kube-api-proxy';
import { describeOnKubernetes } from '../support/kube-control-plane';
import { KubeKubelet } from '../support/kube-kubelet';
import { KubeMachine } from '../support/kube-machine';
import { openKubeCluster, type KubeCluster } from '../support/kube-rooms';
import { startMaestroOnPods, type MaestroOnPods } from '../support/maestro-on-pods';

const allPods = '/api/v1/pods';

/** What a fleet of pods lives through: the cluster's API fails in every way that it knows, and no room is lost or made twice. */
describeOnKubernetes('a fleet of pods under faults', (source) => {
  let cluster: KubeCluster;
  let access: ClusterAccess;
  let machine: KubeMachine;
  let kubelet: KubeKubelet;
  let proxy: KubeApiProxy;
  let maestro: MaestroOnPods;
  /** Every pod that there ever was, by the id that no other pod ever has. */
  const everMade = new Map<string, string>();

  beforeAll(async () => {
    cluster = await openKubeCluster(source);
    access = await ClusterAccess.open({ kubeconfig: cluster.kubeconfig });
    machine = new KubeMachine(access);
    await machine.clear();
    machine.emptyNamespaces();
    const nodes = { 'node-1': '127.0.0.2', 'node-2': '127.0.0.3' };
    kubelet = await KubeKubelet.start(machine, access, { nodes, runs: 'nothing' });
    kubelet.onPod(({ metadata }) => everMade.set(metadata?.uid ?? '', metadata?.namespace ?? ''));
    proxy = await KubeApiProxy.start(() => access.current());
    maestro = await startMaestroOnPods(proxy.url, {
      MAESTRO_SERVICES_OPERATIONMANAGER_OPERATIONLEASETTLMILLIS: '2000',
      MAESTRO_WORKERS_SWEEPINTERVAL: '300ms',
      MAESTRO_WORKERS_HEALTHCONTROLLERINTERVAL: '2s',
      MAESTRO_WORKERS_RETRYDELAY: '1s',
      MAESTRO_RUNTIMEWATCHER_RECONCILEINTERVAL: '2s',
      MAESTRO_RUNTIMEWATCHER_DOUBTINTERVAL: '500ms',
      MAESTRO_LOOPS_LEASETTL: '3s',
      // Nobody pings here, and nobody is to be expired for it.
      MAESTRO_SERVICES_ROOMMANAGER_ROOMINITIALIZATIONTIMEOUTMILLIS: '3600000',
      MAESTRO_ADAPTERS_RUNTIME_KUBERNETES_QPS: '1000',
      MAESTRO_ADAPTERS_RUNTIME_KUBERNETES_BURST: '1000',
    });
  }, 240_000);

  afterAll(async () => {
    await maestro?.close();
    await proxy?.stop();
    await machine?.stop();
    await kubelet?.stop();
    await machine?.clear();
    access?.close();
    await cluster?.stop();
  }, 120_000);

  const soon = <T>(check: () => T | Promise<T>) => eventually(check, { timeoutMs: 90_000, everyMs: 100 });

  async function createScheduler(name: string, roomsReplicas: number, firstPort: number): Promise<void> {
    const container = {
      name: 'room',
      image: 'room:1',
      imagePullPolicy: 'IfNotPresent',
      command: ['room'],
      requests: { memory: '64Mi', cpu: '20m' },
      limits: { memory: '64Mi', cpu: '20m' },
      ports: [{ name: 'clientPort', protocol: 'udp', port: 7777 }],
    };
    const spec = { terminationGracePeriod: '1s', containers: [container] };
    const portRange = { start: firstPort, end: firstPort + 999 };
    const body = { name, game: 'arena', roomsReplicas, maxSurge: '25%', portRange, spec, forwarders: [] };
    const url = `http://127.0.0.1:${maestro.ports.management}/schedulers`;
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
    expect([response.status, await response.text()]).toEqual([200, expect.any(String)]);
  }

  async function podsOf(scheduler: string): Promise<Pod[]> {
    const { body } = await machine.call<ObjectList<Pod>>('GET', `/api/v1/namespaces/${scheduler}/pods`);
    return body.items;
  }

  async function uidsOf(scheduler: string): Promise<string[]> {
    return (await podsOf(scheduler)).map(({ metadata }) => metadata?.uid ?? '').sort();
  }

  async function roomsOf(scheduler: string): Promise<Room[]> {
    return (await maestro.resources.roomStore.readFleet(scheduler)).rooms;
  }

  function operationsOf(scheduler: string): Promise<{ definition: string; status: string; input: object }[]> {
    return maestro.resources.dataSource.query(
      'SELECT definition, status, input FROM maestro.operations WHERE scheduler_name = $1 ORDER BY seq',
      [scheduler],
    );
  }

  /** How many pods there ever were in a namespace. */
  function madeFor(scheduler: string): number {
    return [...everMade.values()].filter((name) => name === scheduler).length;
  }

  function countOf(words: string[]): Record<string, number> {
    return Object.fromEntries(
      [...new Set(words)].map((word) => [word, words.filter((other) => other === word).length]),
    );
  }

  /** Resolves in the moment in which there are so many, so that the others are still to come. */
  async function hasMade(scheduler: string, amount: number): Promise<void> {
    await new Promise<void>((done) => {
      const counting = kubelet.onPod(() => {
        if (madeFor(scheduler) < amount) return;
        counting.stop();
        done();
      });
    });
  }

  /** Exactly so many pods and records, the same, all up; nothing is left to do, and never were there others. */
  async function isWhole(scheduler: string, amount: number): Promise<void> {
    await soon(async () => {
      const rooms = await roomsOf(scheduler);
      expect(countOf(rooms.map(({ instance }) => instance.status))).toEqual({ ready: amount });
      const pods = await podsOf(scheduler);
      expect(pods.map(({ metadata }) => metadata?.name).sort()).toEqual(rooms.map(({ id }) => id).sort());
      const open = (await operationsOf(scheduler)).filter(({ status }) => ['pending', 'in_progress'].includes(status));
      expect(open).toEqual([]);
    });
    expect(madeFor(scheduler)).toBe(amount);
    const operations = await operationsOf(scheduler);
    expect(operations.filter(({ definition }) => definition === 'remove_rooms')).toEqual([]);
    expect(operations.filter(({ status }) => status !== 'finished')).toEqual([]);
  }

  it('grows to exactly what is wanted although the API server is killed meanwhile', async () => {
    if (cluster.controlPlane === null) return;
    const begun = hasMade('grow', 40);
    await createScheduler('grow', 200, 20_000);
    await begun;
    await cluster.controlPlane.killApiServer();
    expect(madeFor('grow')).toBeLessThan(200);
    await cluster.controlPlane.startApiServer();
    await isWhole('grow', 200);
  }, 240_000);

  it('grows to exactly what is wanted although answers are lost and watches are cut', async () => {
    proxy.dropAnswers(30, ({ method, path }) => method === 'POST' && path === '/api/v1/namespaces/lossy/pods');
    let seen = 0;
    const cutting = kubelet.onPod(() => {
      if (seen++ % 10 === 0) proxy.cutWatches();
    });
    await createScheduler('lossy', 100, 21_000);
    await isWhole('lossy', 100);
    cutting.stop();
  }, 120_000);

  it("grows to exactly what is wanted although the cluster's store hangs meanwhile", async () => {
    if (cluster.controlPlane === null) return;
    const begun = hasMade('hang', 10);
    await createScheduler('hang', 100, 22_000);
    await begun;
    cluster.controlPlane.pauseStore();
    expect(madeFor('hang')).toBeLessThan(100);
    const pausedAtMs = Date.now();
    try {
      // Longer than a call waits for its answer.
      await soon(() => expect(Date.now() - pausedAtMs).toBeGreaterThan(12_000));
    } finally {
      cluster.controlPlane.resumeStore();
    }
    await isWhole('hang', 100);
  }, 180_000);

  it('is adopted, to the last room, when Redis loses everything', async () => {
    const before = await uidsOf('lossy');
    const ids = (await roomsOf('lossy')).map(({ id }) => id).sort();
    await maestro.resources.redis.flushall();
    await soon(async () => expect((await roomsOf('lossy')).map(({ id }) => id).sort()).toEqual(ids));
    await soon(async () => expect(await maestro.resources.roomStore.isSynced()).toBe(true));
    await looksAgain();
    expect(await uidsOf('lossy')).toEqual(before);
    await isWhole('lossy', 100);
  }, 120_000);

  describe('loses no room', () => {
    const isList = ({ method, path, isWatch }: ProxiedRequest) => method === 'GET' && path === allPods && !isWatch;
    let before: { uids: string[]; rooms: string[]; operations: number };

    const statuses = async () =>
      (await roomsOf('lossy')).map(({ id, status, instance }) => `${id} ${status} ${instance.status}`);

    beforeAll(async () => {
      // From now on a missing pod would count.
      await eventually(
        async () => {
          const { rooms, nowMs } = await maestro.resources.roomStore.readFleet('lossy');
          for (const { createdAtMs } of rooms) expect(nowMs - createdAtMs).toBeGreaterThan(creationDeadlineMs);
        },
        { timeoutMs: creationDeadlineMs + 30_000, everyMs: 100 },
      );
    }, creationDeadlineMs + 60_000);

    beforeEach(async () => {
      before = {
        uids: await uidsOf('lossy'),
        rooms: (await statuses()).sort(),
        operations: (await operationsOf('lossy')).length,
      };
    });

    afterEach(async () => {
      await looksAgain();
      expect((await statuses()).sort()).toEqual(before.rooms);
      expect(await uidsOf('lossy')).toEqual(before.uids);
      expect(await operationsOf('lossy')).toHaveLength(before.operations);
    }, 120_000);

    it("when its nodes' addresses flap, and a node disappears for a while", async () => {
      const hostsOf = async () => new Set((await roomsOf('lossy')).map(({ instance }) => instance.address?.host));
      await machine.addNode('node-1', { InternalIP: '127.0.0.2', ExternalIP: '203.0.113.9' });
      await soon(async () => expect(await hostsOf()).toEqual(new Set(['203.0.113.9', '127.0.0.3'])));
      await machine.addNode('node-1', { Hostname: 'node-1' });
      await machine.removeNode('node-2');
      await looksAgain();
      expect(await hostsOf()).toEqual(new Set(['203.0.113.9', '127.0.0.3']));
      await machine.addNode('node-2', { ExternalIP: '127.0.0.3' });
      await machine.addNode('node-1', { ExternalIP: '127.0.0.2' });
      await soon(async () => expect(await hostsOf()).toEqual(new Set(['127.0.0.2', '127.0.0.3'])));
    }, 120_000);

    it('when the watch has a gap, and the list after it lacks the pods', async () => {
      const version = await machine.version();
      await machine.version();
      const emptying = proxy.emptyLists(isList);
      const lists = proxy.count('GET', allPods);
      proxy.forgetVersionsUpTo(version);
      // What was forgotten is listed first: that list is empty, and so may be others in this moment, which are the same reading.
      await eventually(() => {
        expect(proxy.count('GET', allPods)).toBeGreaterThan(lists);
        expect(proxy.watching(allPods)).toBe(1);
      });
      emptying.stop();
    }, 120_000);

    it.each([403, 500, 503])(
      'when the API server answers everything with %s for a while',
      async (status) => {
        const refused = proxy.requests.length;
        proxy.refuse(20, ({ path }) => path.startsWith('/api/v1/'), status);
        proxy.cutWatches();
        await soon(() => expect(proxy.requests.length).toBeGreaterThan(refused + 20));
      },
      120_000,
    );
  });

  it("declares a room dead by its pod's own end, at once, and replaces it", async () => {
    const [failed, removed] = (await roomsOf('lossy')).map(({ id }) => id);
    await machine.report(failed!, { phase: 'Failed', reason: 'Evicted', message: 'The node was low on memory' });
    await machine.remove(removed!);
    await soon(async () => {
      const rooms = await roomsOf('lossy');
      expect(rooms.find(({ id }) => id === failed)?.status).toBe('error');
      expect(rooms.map(({ id }) => id)).not.toContain(removed);
      expect(rooms.filter(({ instance }) => instance.status === 'ready')).toHaveLength(100);
    });
  }, 120_000);

  /** The watcher has compared the whole cluster with the room state, and then again. */
  async function looksAgain(): Promise<void> {
    const lists = proxy.count('GET', allPods);
    await soon(() => expect(proxy.count('GET', allPods)).toBeGreaterThan(lists + 2));
  }
});
