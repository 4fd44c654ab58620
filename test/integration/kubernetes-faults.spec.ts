import { DomainError } from '../../src/domain/errors';
import type { Pod } from '../../src/adapters/kubernetes/kubernetes-objects';
import type { KubernetesRuntime } from '../../src/adapters/kubernetes/kubernetes-runtime';
import { eventually } from '../support/eventually';
import { containerStatus } from '../support/kube-machine';
import { describeOnKubernetes } from '../support/kube-control-plane';
import { KubeRooms, openKubeCluster, type KubeCluster } from '../support/kube-rooms';
import { RecordingWatcher, roomSpec, withHostPorts } from '../support/local-rooms';

const pods = '/api/v1/namespaces/arena/pods';
const allPods = '/api/v1/pods';

describeOnKubernetes('Kubernetes runtime under faults', (source) => {
  let cluster: KubeCluster;
  let rooms: KubeRooms;
  let runtime: KubernetesRuntime;
  let watching: { stop: AbortController; done: Promise<void> }[];

  beforeAll(async () => {
    cluster = await openKubeCluster(source);
  }, 180_000);
  afterAll(() => cluster?.stop());

  beforeEach(async () => {
    watching = [];
    rooms = await KubeRooms.open(cluster);
    runtime = await rooms.client();
    await runtime.createScheduler('arena', 'operation-1');
  });
  afterEach(async () => {
    for (const { stop } of watching) stop.abort();
    await Promise.all(watching.map(({ done }) => done));
    await rooms.dispose();
  });

  const soon = <T>(check: () => T | Promise<T>) => eventually(check, { timeoutMs: 20_000 });

  async function watch(client = runtime): Promise<RecordingWatcher> {
    const watcher = new RecordingWatcher();
    const stop = new AbortController();
    watching.push({ stop, done: client.watchInstances(watcher, stop.signal) });
    await soon(() => expect(watcher.lists).toHaveLength(1));
    await soon(() => expect(rooms.proxy.watching(allPods)).toBe(watching.length));
    return watcher;
  }

  const changesOf = (watcher: RecordingWatcher, id: string) =>
    watcher.changes.filter(({ instance }) => instance.id === id);

  async function podNames(): Promise<string[]> {
    const { body } = await rooms.machine.call<{ items: Pod[] }>('GET', pods);
    return body.items.map(({ metadata }) => metadata?.name ?? '');
  }

  const failureOf = (call: Promise<unknown>) =>
    call.then(
      () => null,
      (error: unknown) => error as DomainError,
    );

  describe('an answer that is lost', () => {
    it('makes no second pod: the one that was made is known by its mark', async () => {
      rooms.proxy.dropAnswers(2, ({ method, path }) => method === 'POST' && path === pods);
      expect(await runtime.createInstance(roomSpec({ id: 'arena-1' }))).toMatchObject({
        id: 'arena-1',
        status: 'pending',
      });
      expect(await podNames()).toEqual(['arena-1']);
      expect(rooms.proxy.count('POST', pods)).toBe(3);
    });

    it("does not take another call's pod for its own, however equal", async () => {
      const spec = roomSpec({ id: 'arena-1', operationId: 'operation-2' });
      await runtime.createInstance(spec);
      rooms.proxy.dropAnswers(1, ({ method, path }) => method === 'POST' && path === pods);
      expect(await failureOf(runtime.createInstance(spec))).toMatchObject({ code: 'runtime.instance_exists' });
    });

    it('makes no second namespace', async () => {
      rooms.proxy.dropAnswers(1, ({ method, path }) => method === 'POST' && path === '/api/v1/namespaces');
      expect(await runtime.createScheduler('other', 'operation-2')).toBe('already_ours');
    });

    it('deletes once', async () => {
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      await rooms.machine.run('arena-1');
      rooms.proxy.dropAnswers(1, ({ method, path }) => method === 'DELETE' && path === `${pods}/arena-1`);
      expect(await runtime.deleteInstance('arena', 'arena-1', 'scale_down')).toBe('deleting');
    });
  });

  describe('a server that cannot now', () => {
    it.each([429, 500, 503])('is asked again after %s', async (status) => {
      rooms.proxy.refuse(2, ({ method }) => method === 'POST', status);
      expect(await runtime.createInstance(roomSpec({ id: 'arena-1' }))).toMatchObject({ id: 'arena-1' });
    });

    it('is left alone for as long as it says', async () => {
      rooms.proxy.refuse(1, ({ path }) => path === pods, 429, { 'retry-after': '1' });
      const beganMs = performance.now();
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      expect(performance.now() - beganMs).toBeGreaterThanOrEqual(995);
    });

    it('is told as unavailable when it wants to be left alone for too long', async () => {
      rooms.proxy.refuse(1, ({ path }) => path === pods, 429, { 'retry-after': '3600' });
      const failure = await failureOf(runtime.createInstance(roomSpec({ id: 'arena-1' })));
      expect(failure).toMatchObject({ kind: 'unavailable', code: 'runtime.overloaded' });
      expect(rooms.proxy.count('POST', pods)).toBe(1);
    });
  });

  it('does not ask again for what can never run, and says why', async () => {
    const failure = await failureOf(runtime.createInstance({ ...roomSpec({ id: 'arena-1' }), containers: [] }));
    expect(failure).toMatchObject({ kind: 'invalid_argument', code: 'runtime.spec_invalid' });
    expect(failure?.message).toContain('spec.containers: Required value');
    expect(rooms.proxy.count('POST', pods)).toBe(1);
  });

  describe('a watch', () => {
    it('that is cut goes on where it was, without a list, and misses nothing', async () => {
      const watcher = await watch();
      const lists = rooms.proxy.count('GET', allPods);
      rooms.proxy.refuse(2, ({ isWatch, path }) => isWatch && path === allPods, 503);
      rooms.proxy.cutWatches();
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      await rooms.machine.run('arena-1');
      await rooms.machine.remove('arena-1');
      await soon(() => expect(watcher.gone('arena-1')).toBeDefined());
      const told = watcher.changes.map(({ type, instance }) => (type === 'gone' ? type : instance.status));
      expect(told).toEqual(['pending', 'ready', 'terminating', 'gone']);
      expect(watcher.lists).toHaveLength(1);
      expect(rooms.proxy.count('GET', allPods)).toBe(lists);
    });

    it('that says nothing for too long begins anew with a list', async () => {
      const client = await rooms.client({ watchSilenceMs: 1_000 });
      const watcher = await watch(client);
      await soon(() => expect(watcher.lists.length).toBeGreaterThan(1));
    });

    it('is one for all schedulers', async () => {
      for (const name of ['second', 'third']) await runtime.createScheduler(name, 'o');
      const watcher = await watch();
      for (const scheduler of ['arena', 'second', 'third']) {
        await runtime.createInstance(roomSpec({ id: `${scheduler}-1`, scheduler }));
      }
      await soon(() => expect(watcher.changes).toHaveLength(3));
      expect(rooms.proxy.watching(allPods)).toBe(1);
      expect(
        rooms.proxy.requests
          .filter(({ isWatch }) => isWatch)
          .map(({ path }) => path)
          .sort(),
      ).toEqual(['/api/v1/nodes', allPods]);
    });

    it('tells the address when the node becomes known, and when it changes', async () => {
      const watcher = await watch();
      const [spec] = [withHostPorts(roomSpec({ id: 'arena-1' }), [{ protocol: 'udp', hostPort: 30_000 }])];
      await runtime.createInstance(spec);
      await rooms.machine.run('arena-1', 'node-late');
      await soon(() => expect(watcher.changes.at(-1)?.instance).toMatchObject({ status: 'ready', address: null }));
      for (const address of ['203.0.113.7', '203.0.113.8']) {
        await rooms.machine.addNode('node-late', { ExternalIP: address });
        await soon(() => expect(watcher.changes.at(-1)?.instance.address?.host).toBe(address));
      }
      await rooms.machine.removeNode('node-late');
      await rooms.machine.report('arena-1', { phase: 'Running', conditions: [{ type: 'Ready', status: 'False' }] });
      await soon(() => expect(watcher.changes.at(-1)?.instance.status).toBe('pending'));
      expect(watcher.changes.at(-1)?.instance.address?.host).toBe('203.0.113.8');
    });

    it('does not tell what changes nothing', async () => {
      const watcher = await watch();
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      await rooms.machine.run('arena-1');
      for (const id of ['a', 'b', 'c']) {
        await rooms.machine.patch(`${pods}/arena-1`, { metadata: { annotations: { 'example.com/note': id } } });
      }
      await rooms.machine.remove('arena-1');
      await soon(() => expect(watcher.gone('arena-1')).toBeDefined());
      const told = watcher.changes.map(({ type, instance }) => (type === 'gone' ? type : instance.status));
      expect(told).toEqual(['pending', 'ready', 'terminating', 'gone']);
    });
  });

  it('outlives a restart of the API server', async () => {
    if (cluster.controlPlane === null) return;
    const watcher = await watch();
    await runtime.createInstance(roomSpec({ id: 'arena-1' }));
    await cluster.controlPlane.killApiServer();
    const during = runtime.createInstance(roomSpec({ id: 'arena-2' })).catch((error: unknown) => error);
    await cluster.controlPlane.startApiServer();
    const outcome = await during;
    // It may have run out of time, and then says that trying again helps.
    if (outcome instanceof DomainError) expect(outcome.kind).toBe('unavailable');
    await soon(() => runtime.createInstance(roomSpec({ id: 'arena-3' })));
    await soon(() => {
      const known = [...watcher.lists.flat(), ...watcher.changes.map(({ instance }) => instance)].map(({ id }) => id);
      expect(known).toEqual(expect.arrayContaining(['arena-1', 'arena-3']));
    });
  }, 180_000);

  describe('what is not ours', () => {
    it('is no place for our rooms, and is not deleted', async () => {
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'foreign' } };
      await rooms.machine.call('POST', '/api/v1/namespaces', namespace);
      try {
        const created = await failureOf(runtime.createScheduler('foreign', 'o'));
        expect(created).toMatchObject({ code: 'runtime.scheduler_exists' });
        const room = await failureOf(runtime.createInstance(roomSpec({ id: 'foreign-1', scheduler: 'foreign' })));
        expect(room).toMatchObject({ code: 'runtime.scheduler_not_found' });
        expect(await runtime.deleteScheduler('foreign')).toBe('not_found');
        const { body } = await rooms.machine.call<{ status: { phase: string } }>('GET', '/api/v1/namespaces/foreign');
        expect(body.status.phase).toBe('Active');
      } finally {
        await rooms.machine.call('DELETE', '/api/v1/namespaces/foreign');
      }
    });

    it("is not listed, watched or deleted: another installation's rooms, and pods of others in our namespace", async () => {
      const staging = await rooms.client({ installation: async () => 'staging' });
      await staging.createScheduler('stage', 'o');
      await staging.createInstance(roomSpec({ id: 'stage-1', scheduler: 'stage' }));
      const containers = [{ name: 'tool', image: 'tool:1' }];
      const labels = { heritage: 'maestro', 'maestro-scheduler': 'arena' };
      const foreign = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'arena-tool', labels }, spec: { containers } };
      await rooms.machine.call('POST', pods, foreign);
      const watcher = await watch();
      expect(watcher.lists).toEqual([[]]);
      expect(await runtime.listInstances()).toEqual([]);
      expect(await runtime.deleteInstance('stage', 'stage-1', 'scale_down')).toBe('not_found');
      expect(await runtime.deleteInstance('arena', 'arena-tool', 'scale_down')).toBe('not_found');
      expect(await failureOf(runtime.createInstance(roomSpec({ id: 'arena-tool' })))).toMatchObject({
        code: 'runtime.instance_name_taken',
      });
      expect(await runtime.deleteScheduler('stage')).toBe('not_found');
      expect((await staging.listInstances()).map(({ id }) => id)).toEqual(['stage-1']);
      expect(await podNames()).toEqual(['arena-tool']);
    });

    it('is a room whose labels somebody changed: it is told as gone, and why, and runs on', async () => {
      for (const id of ['arena-1', 'arena-2']) await runtime.createInstance(roomSpec({ id }));
      for (const id of ['arena-1', 'arena-2']) await rooms.machine.run(id);
      const watcher = await watch();
      await rooms.machine.patch(`${pods}/arena-1`, { metadata: { labels: { 'maestro.io/installation': null } } });
      await rooms.machine.patch(`${pods}/arena-2`, { metadata: { labels: { 'maestro.io/installation': 'another' } } });
      await soon(() => {
        for (const id of ['arena-1', 'arena-2']) {
          expect(changesOf(watcher, id)).toMatchObject([
            {
              type: 'gone',
              instance: {
                status: 'terminating',
                ending: 'disowned',
                description: expect.stringMatching(/^disowned: its labels were changed by someone else/),
              },
            },
          ]);
        }
      });
      expect(await runtime.deleteInstance('arena', 'arena-1', 'scale_down')).toBe('not_found');
      expect(await podNames()).toEqual(['arena-1', 'arena-2']);
    });

    it('is listed anew where nobody can say whether a room is gone or lost its labels: no end is made up', async () => {
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      await rooms.machine.run('arena-1');
      const watcher = await watch();
      rooms.proxy.refuse(1, ({ method, path }) => method === 'GET' && path === `${pods}/arena-1`, 403);
      await rooms.machine.patch(`${pods}/arena-1`, { metadata: { labels: { 'maestro.io/installation': null } } });
      await soon(() => expect(watcher.lists).toHaveLength(2));
      expect(watcher.lists[1]).toEqual([]);
      expect(changesOf(watcher, 'arena-1')).toEqual([]);
    });

    it.each(['..', '../kube-system', 'a/b', ''])('is not reached by the name %j', async (name) => {
      expect(await runtime.deleteInstance('arena', name, 'scale_down')).toBe('not_found');
      expect(await runtime.deleteScheduler(name)).toBe('not_found');
      expect(await runtime.listInstances(name)).toEqual([]);
    });
  });

  it('says why a room was deleted, in an event of its pod', async () => {
    await runtime.createInstance(roomSpec({ id: 'arena-1' }));
    await runtime.deleteInstance('arena', 'arena-1', 'rolling_update_replace');
    await soon(async () => {
      const { body } = await rooms.machine.call<{ items: { message: string }[] }>(
        'GET',
        '/api/v1/namespaces/arena/events',
      );
      // Events of earlier namespaces of this name are left.
      expect(body.items.filter(({ message }) => message === 'rolling_update_replace')).toEqual([
        expect.objectContaining({
          type: 'Normal',
          reason: 'GameRoomDeleted',
          message: 'rolling_update_replace',
          source: { component: 'maestro-next' },
          involvedObject: expect.objectContaining({ kind: 'Pod', name: 'arena-1' }),
        }),
      ]);
    });
  });

  describe('the event of a deletion', () => {
    const events = '/api/v1/namespaces/arena/events';

    it('is not written for a deletion that fails, and once for one that takes several attempts', async () => {
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      await rooms.machine.run('arena-1');
      rooms.proxy.refuse(1, ({ method }) => method === 'DELETE', 403);
      expect(await failureOf(runtime.deleteInstance('arena', 'arena-1', 'scale_down'))).not.toBeNull();
      expect(rooms.proxy.count('POST', events)).toBe(0);
      rooms.proxy.refuse(2, ({ method }) => method === 'DELETE', 503);
      expect(await runtime.deleteInstance('arena', 'arena-1', 'scale_down')).toBe('deleting');
      await soon(() => expect(rooms.proxy.count('POST', events)).toBe(1));
    });

    it('is dropped where it would take the turn of another call', async () => {
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      const slow = await rooms.client({ qps: 0.1, burst: 2 });
      expect(await slow.deleteInstance('arena', 'arena-1', 'scale_down')).toBe('deleting');
      await slow.close();
      expect(rooms.proxy.count('POST', events)).toBe(0);
    });

    it('does not keep a client from being closed', async () => {
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      const patient = await rooms.client({ attemptTimeoutMs: 3_600_000, callDeadlineMs: 3_600_000 });
      rooms.proxy.hold(({ path }) => path === events);
      expect(await patient.deleteInstance('arena', 'arena-1', 'scale_down')).toBe('deleting');
      await soon(() => expect(rooms.proxy.count('POST', events)).toBe(1));
      await patient.close();
    });
  });

  it('deletes all the same when no event can be written', async () => {
    await runtime.createInstance(roomSpec({ id: 'arena-1' }));
    rooms.proxy.refuse(1, ({ path }) => path.endsWith('/events'), 403);
    expect(await runtime.deleteInstance('arena', 'arena-1', 'scale_down')).toBe('deleting');
  });

  describe('an end that somebody else brings about', () => {
    const changes = (watcher: RecordingWatcher) =>
      changesOf(watcher, 'arena-1').map(({ type, instance }) => [type, instance.status, instance.ending]);
    let watcher: RecordingWatcher;

    beforeEach(async () => {
      await runtime.createInstance(roomSpec({ id: 'arena-1' }));
      await rooms.machine.run('arena-1');
      watcher = await watch();
    });

    it('is told from one that comes by itself, with the grace period and without', async () => {
      await rooms.machine.call('DELETE', `${pods}/arena-1`, { gracePeriodSeconds: 30 });
      // As its kubelet reports when the containers have ended.
      await rooms.machine.report('arena-1', { phase: 'Failed' });
      await rooms.machine.letEnd('arena-1');
      await soon(() =>
        expect(changes(watcher)).toEqual([
          ['present', 'terminating', 'deleted'],
          ['gone', 'terminating', 'deleted'],
        ]),
      );
      await runtime.createInstance(roomSpec({ id: 'arena-2' }));
      await rooms.machine.run('arena-2');
      await rooms.machine.remove('arena-2');
      await soon(() =>
        expect(changesOf(watcher, 'arena-2').at(-1)).toMatchObject({ type: 'gone', instance: { ending: 'deleted' } }),
      );
      await runtime.createInstance(roomSpec({ id: 'arena-3' }));
      await rooms.machine.run('arena-3');
      await rooms.machine.crash('arena-3');
      await soon(() => {
        const last = changesOf(watcher, 'arena-3').at(-1);
        expect(last).toMatchObject({ type: 'gone' });
        expect(last!.instance).not.toHaveProperty('ending');
      });
    });

    it('is told with who it was where the cluster says that', async () => {
      const status = (await rooms.machine.pod('arena-1'))!.status!;
      const target = { type: 'DisruptionTarget', status: 'True', reason: 'EvictionByEvictionAPI', message: 'evicting' };
      await rooms.machine.report('arena-1', { ...status, conditions: [...status.conditions!, target] });
      await rooms.machine.call('DELETE', `${pods}/arena-1`, { gracePeriodSeconds: 30 });
      await soon(() =>
        expect(changesOf(watcher, 'arena-1').at(-1)!.instance).toMatchObject({
          status: 'terminating',
          description:
            'evicted: somebody asked for it to be evicted, as a drain of its node does: EvictionByEvictionAPI: evicting',
        }),
      );
    });
  });

  it('is told with who it was where the server itself evicts a pod', async () => {
    if ((await rooms.machine.call('GET', '/apis/policy/v1')).status === 404) {
      process.stderr.write('skipped: server lacks policy/v1\n');
      return;
    }
    await runtime.createInstance(roomSpec({ id: 'arena-1' }));
    await rooms.machine.run('arena-1');
    const watcher = await watch();
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'arena-1', namespace: 'arena' } };
    expect((await rooms.machine.call('POST', `${pods}/arena-1/eviction`, eviction)).status).toBe(201);
    await soon(() =>
      expect(changesOf(watcher, 'arena-1').at(-1)!.instance).toMatchObject({
        status: 'terminating',
        ending: 'deleted',
        description: expect.stringMatching(/^evicted: somebody asked .*: EvictionByEvictionAPI: /),
      }),
    );
    expect(changesOf(watcher, 'arena-1')).toHaveLength(1);
  });

  it('tells that a container was started again, though the pod is as ready as before', async () => {
    await runtime.createInstance(roomSpec({ id: 'arena-1' }));
    await rooms.machine.run('arena-1');
    const watcher = await watch();
    const status = (await rooms.machine.pod('arena-1'))!.status!;
    const terminated = { exitCode: 137, reason: 'OOMKilled', finishedAt: '2026-11-21T10:00:00Z' };
    const containerStatuses = status.containerStatuses!.map((container) => ({
      ...container,
      restartCount: 1,
      lastState: { terminated },
    }));
    await rooms.machine.report('arena-1', { ...status, containerStatuses });
    await soon(() =>
      expect(changesOf(watcher, 'arena-1')).toMatchObject([
        { instance: { status: 'ready', restarts: { count: 1, lastEnd: { exitCode: 137, reason: 'OOMKilled' } } } },
      ]),
    );
  });

  it('shows why a container does not start', async () => {
    await runtime.createInstance(roomSpec({ id: 'arena-1' }));
    await rooms.machine.bind('arena-1', 'node-1');
    const waiting = { reason: 'CreateContainerConfigError', message: 'secret "keys" not found' };
    await rooms.machine.report('arena-1', {
      phase: 'Pending',
      containerStatuses: [containerStatus('room', { waiting })],
    });
    expect(await runtime.listInstances()).toMatchObject([
      { status: 'error', description: 'CreateContainerConfigError: secret "keys" not found' },
    ]);
  });

  it('lists page by page', async () => {
    const paging = await rooms.client({ pageSize: 2 });
    const ids = ['arena-1', 'arena-2', 'arena-3', 'arena-4', 'arena-5'];
    for (const id of ids) await runtime.createInstance(roomSpec({ id }));
    expect((await paging.listInstances('arena')).map(({ id }) => id).sort()).toEqual(ids);
    expect(rooms.proxy.count('GET', pods)).toBe(3);
  });

  it('keeps its connections', async () => {
    const { connections } = rooms.proxy;
    for (let call = 0; call < 20; call++) await runtime.listInstances('arena');
    expect(rooms.proxy.connections).toBe(connections);
  });

  it('reaches the cluster by a kubeconfig, over TLS', async () => {
    const direct = await rooms.client({ cluster: { kubeconfig: cluster.kubeconfig } });
    await direct.createInstance(roomSpec({ id: 'arena-1' }));
    expect((await direct.listInstances()).map(({ id }) => id)).toEqual(['arena-1']);
  });

  it('says when nothing says where the cluster is', async () => {
    const failure = await failureOf(rooms.client({ cluster: {} }));
    expect(failure).toMatchObject({ kind: 'failed_precondition', code: 'runtime.cluster_unknown' });
  });
});
