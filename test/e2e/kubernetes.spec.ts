import { createSocket } from 'node:dgram';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Redis } from 'ioredis';
import { ClusterAccess } from '../../src/adapters/kubernetes/cluster-access';
import type { Namespace, ObjectList, Pod } from '../../src/adapters/kubernetes/kubernetes-objects';
import { startTestPostgres, startTestRedis } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import { describeOnKubernetes } from '../support/kube-control-plane';
import { KubeKubelet } from '../support/kube-kubelet';
import { KubeMachine } from '../support/kube-machine';
import { openKubeCluster, type KubeCluster } from '../support/kube-rooms';
import { MaestroProcess, freePorts, isAlive, temporaryStateDirectory, type Ports } from '../support/maestro-process';

const nodes = { 'node-1': '127.0.0.2', 'node-2': '127.0.0.3' };
/** How long another watcher may take to go on where one died. */
const takeOverMs = 15_000;

interface SchedulerDefinition {
  name: string;
  roomsReplicas: number;
  spec: { containers: { environment: object[] }[] };
}

const sample = JSON.parse(
  readFileSync(resolve(__dirname, '../../examples/schedulers/arena.json'), 'utf8'),
) as SchedulerDefinition;

/** The sample, whose rooms listen on their pod's address as in a cluster. */
function definition(name: string, roomsReplicas: number, ...environment: object[]): SchedulerDefinition {
  const own = [
    { name: 'GAME_HOST', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
    { name: 'GAME_PING_INTERVAL_MS', value: '500' },
    ...environment,
  ];
  const containers = sample.spec.containers.map((container) => ({ ...container, environment: own }));
  return { ...sample, name, roomsReplicas, spec: { ...sample.spec, containers } };
}

interface RoomView {
  id: string;
  status: string;
  version: string;
}

interface OperationView {
  id: string;
  status: string;
  definitionName: string;
  executionHistory: { event: string }[];
}

describeOnKubernetes('rooms as pods', (source) => {
  let cluster: KubeCluster;
  let access: ClusterAccess;
  let machine: KubeMachine;
  let kubelet: KubeKubelet;
  let strangers: string[];

  beforeAll(async () => {
    cluster = await openKubeCluster(source);
    access = await ClusterAccess.open({ kubeconfig: cluster.kubeconfig });
    machine = new KubeMachine(access);
    await machine.clear();
    kubelet = await KubeKubelet.start(machine, access, { nodes, runs: 'processes' });
    await makeStrangers();
    machine.emptyNamespaces();
    strangers = await lookAtStrangers();
  }, 180_000);

  // The last word of each story: what is not ours is as it was, to the version.
  afterEach(async () => expect(await lookAtStrangers()).toEqual(strangers));

  afterAll(async () => {
    await machine?.stop();
    await kubelet?.stop();
    await machine?.clear();
    access?.close();
    await cluster?.stop();
  }, 60_000);

  /** A v10's namespace and room, another Maestro's, and what has nothing to do with either. */
  async function makeStrangers(): Promise<void> {
    const heritage = { heritage: 'maestro', 'maestro-scheduler': 'v10' };
    const labelsOf: Record<string, [namespace: object, pod: object]> = {
      v10: [{}, heritage],
      staging: [
        { 'maestro.io/installation': 'another' },
        { ...heritage, 'maestro.io/installation': 'another', 'maestro-scheduler': 'staging' },
      ],
      tools: [{}, { app: 'tool' }],
    };
    for (const [name, [ofNamespace, ofPod]] of Object.entries(labelsOf)) {
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: ofNamespace } };
      await machine.call('POST', '/api/v1/namespaces', namespace);
      const containers = [{ name: 'it', image: 'it:1' }];
      const metadata = { name: `${name}-1`, labels: ofPod };
      const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers } };
      await machine.call('POST', `/api/v1/namespaces/${name}/pods`, pod);
      await eventually(async () => expect((await machine.pod(`${name}-1`))?.status?.phase).toBe('Running'));
    }
  }

  async function lookAtStrangers(): Promise<string[]> {
    const names = ['v10', 'staging', 'tools'];
    const [namespaces, pods] = await Promise.all([
      machine.call<ObjectList<Namespace>>('GET', '/api/v1/namespaces'),
      machine.call<ObjectList<Pod>>('GET', '/api/v1/pods'),
    ]);
    return [
      ...namespaces.body.items.filter(({ metadata }) => names.includes(metadata?.name ?? '')),
      ...pods.body.items.filter(({ metadata }) => names.includes(metadata?.namespace ?? '')),
    ].map(({ metadata }) => `${metadata?.name} ${metadata?.uid} ${metadata?.resourceVersion}`);
  }

  async function podsOf(scheduler: string): Promise<Pod[]> {
    const { body } = await machine.call<ObjectList<Pod>>('GET', `/api/v1/namespaces/${scheduler}/pods`);
    return body.items;
  }

  /** Pods that have not failed, by the id that no other pod ever has. */
  async function uidsOf(scheduler: string): Promise<Map<string, string>> {
    const pods = (await podsOf(scheduler)).filter(({ status }) => status?.phase !== 'Failed');
    return new Map(pods.map(({ metadata }) => [metadata?.name ?? '', metadata?.uid ?? '']));
  }

  async function roomsOf(maestro: MaestroProcess, scheduler: string): Promise<RoomView[]> {
    return (await maestro.get<{ rooms: RoomView[] }>(`/schedulers/${scheduler}/rooms?perPage=100`)).rooms;
  }

  /**
   * So many rooms are ready, their pods are all there are, and each has its process. What failed stays a while, so that somebody
   * can look at it. Answers the pods.
   */
  async function allReady(maestro: MaestroProcess, scheduler: string, amount: number): Promise<Map<string, string>> {
    return eventually(
      async () => {
        const rooms = (await roomsOf(maestro, scheduler)).filter(({ status }) => status !== 'error');
        const pods = await uidsOf(scheduler);
        expect(rooms.map(({ status }) => status)).toEqual(Array.from({ length: amount }, () => 'ready'));
        expect([...pods.keys()].sort()).toEqual(rooms.map(({ id }) => id).sort());
        expect(kubelet.runningPods(scheduler)).toEqual(expect.arrayContaining([...pods.keys()]));
        return pods;
      },
      { timeoutMs: 60_000, everyMs: 100 },
    );
  }

  async function isGone(namespace: string): Promise<void> {
    await eventually(
      async () => expect((await machine.call('GET', `/api/v1/namespaces/${namespace}`)).status).toBe(404),
      { timeoutMs: 30_000, everyMs: 50 },
    );
  }

  describe('with roles in processes of their own', () => {
    const state = temporaryStateDirectory();
    let postgres: Awaited<ReturnType<typeof startTestPostgres>>;
    let redis: Awaited<ReturnType<typeof startTestRedis>>;
    let environment: Record<string, string>;
    let apiPorts: Ports;
    let apis: MaestroProcess;
    let watchers: MaestroProcess[] = [];
    let others: MaestroProcess[] = [];

    beforeAll(async () => {
      [postgres, redis, apiPorts] = await Promise.all([startTestPostgres(), startTestRedis(), freePorts()]);
      environment = {
        MAESTRO_RUNTIME: 'kubernetes',
        KUBECONFIG: cluster.kubeconfig,
        MAESTRO_STATE_DIRECTORY: state.path,
        MAESTRO_POSTGRES_URL: postgres.url,
        MAESTRO_REDIS_URL: redis.url,
        MAESTRO_ROOMSAPI_PUBLICURL: `http://127.0.0.1:${apiPorts.rooms}`,
        MAESTRO_SERVICES_OPERATIONMANAGER_OPERATIONLEASETTLMILLIS: '1500',
        MAESTRO_WORKERS_SWEEPINTERVAL: '300ms',
        MAESTRO_WORKERS_HEALTHCONTROLLERINTERVAL: '2s',
        MAESTRO_LOOPS_LEASETTL: '2s',
        MAESTRO_SERVICES_ROOMMANAGER_ROOMINITIALIZATIONTIMEOUTMILLIS: '15000',
      };
      const migration = new MaestroProcess(['migrate'], await freePorts(), environment);
      expect(await migration.exited()).toMatchObject({ code: 0 });
      await startAll();
    }, 120_000);

    afterAll(async () => {
      await Promise.all([...watchers, ...others, apis].map((each) => each?.stop()));
      await Promise.all([postgres?.stop(), redis?.stop()]);
      state.remove();
    }, 60_000);

    async function run(role: string, ports?: Ports): Promise<MaestroProcess> {
      return new MaestroProcess(['start', '--role', role], ports ?? (await freePorts()), environment).ready(90_000);
    }

    async function startAll(): Promise<void> {
      apis = await run('management-api,rooms-api', apiPorts);
      const [worker, ...both] = await Promise.all([run('worker'), run('runtime-watcher'), run('runtime-watcher')]);
      [others, watchers] = [[worker], both];
    }

    /** The watcher that holds the loop, and the one that stands by. */
    async function leaderAndFollower(): Promise<[MaestroProcess, MaestroProcess]> {
      return eventually(
        () => {
          const leads = ({ output }: MaestroProcess) => output.includes('"loop":"runtime-watcher"');
          const [leader, follower] = [watchers.find(leads), watchers.find((each) => !leads(each))];
          if (leader === undefined || follower === undefined) throw new Error('nobody leads');
          return [leader, follower];
        },
        { timeoutMs: takeOverMs },
      );
    }

    async function order(method: string, body: unknown): Promise<OperationView> {
      const url = `http://127.0.0.1:${apiPorts.management}/schedulers/arena`;
      const response = await fetch(url, { method, ...(body === null ? {} : { body: JSON.stringify(body) }) });
      const answer = (await response.json()) as { operationId: string };
      expect(answer).toEqual({ operationId: expect.any(String) });
      return eventually(
        async () => {
          const path = `/schedulers/arena/operations/${answer.operationId}`;
          const { operation } = await apis.get<{ operation: OperationView }>(path);
          if (['pending', 'in_progress'].includes(operation.status)) throw new Error(JSON.stringify(operation));
          return operation;
        },
        { timeoutMs: 60_000, everyMs: 100 },
      );
    }

    it('tell which cluster it is, and bring up the rooms of a scheduler as pods that ping', async () => {
      for (const each of [apis, ...others, ...watchers]) {
        expect(each.output).toContain('"msg":"rooms are pods of this cluster"');
        expect(each.output).toMatch(/"cluster":"https?:\/\/[\w.-]+(:\d+)?"/);
      }
      expect((await apis.post('/schedulers', definition('arena', 3))).status).toBe(200);
      await allReady(apis, 'arena', 3);
      expect(new Set((await podsOf('arena')).map(({ spec }) => spec?.nodeName))).toEqual(new Set(Object.keys(nodes)));
    }, 90_000);

    it('give out a room at the address of its node and its host port, where a player meets it', async () => {
      const url = `http://127.0.0.1:${apiPorts.rooms}/scheduler/arena/rooms/allocate`;
      const response = await fetch(url, { method: 'POST', body: '{}' });
      const answer = (await response.json()) as { roomId: string; host: string; ports: { port: number }[] };
      expect(answer).toMatchObject({ success: true });
      const pod = await machine.pod(answer.roomId);
      expect(answer.host).toBe(nodes[pod?.spec?.nodeName as keyof typeof nodes]);
      expect(answer.ports.map(({ port }) => port)).toEqual([pod?.spec?.containers?.[0]?.ports?.[0]?.hostPort]);

      const statusOf = async () => (await roomsOf(apis, 'arena')).find(({ id }) => id === answer.roomId)?.status;
      const player = createSocket('udp4');
      const send = (text: string) => player.send(text, answer.ports[0]!.port, answer.host);
      const heard: string[] = [];
      player.on('message', (message) => heard.push(String(message)));
      try {
        await eventually(
          async () => {
            send('join ann');
            expect(await statusOf()).toBe('occupied');
          },
          { timeoutMs: 20_000, everyMs: 200 },
        );
        expect(heard.join()).toContain('welcome 1');
        await eventually(
          async () => {
            send('leave');
            expect(await statusOf()).toBe('ready');
          },
          { timeoutMs: 20_000, everyMs: 200 },
        );
      } finally {
        await new Promise<void>((done) => player.close(done));
      }
    }, 60_000);

    it('replace a room whose process is killed', async () => {
      const before = await allReady(apis, 'arena', 3);
      const [victim] = before.keys();
      process.kill(kubelet.pidOf(victim!), 'SIGKILL');
      await eventually(async () => expect((await uidsOf('arena')).has(victim!)).toBe(false), { timeoutMs: 30_000 });
      const after = await allReady(apis, 'arena', 3);
      await eventually(
        async () => {
          expect(await machine.pod(victim!)).toBe(null);
          expect((await roomsOf(apis, 'arena')).map(({ id }) => id)).not.toContain(victim);
        },
        { timeoutMs: 40_000, everyMs: 100 },
      );
      for (const [id, uid] of before) if (id !== victim) expect(after.get(id)).toBe(uid);
    }, 90_000);

    it('see what happens although the watcher that looks is killed: the other one goes on', async () => {
      const before = await allReady(apis, 'arena', 3);
      const [victim] = before.keys();
      const [leader, follower] = await leaderAndFollower();
      process.kill(leader.pid, 'SIGKILL');
      process.kill(kubelet.pidOf(victim!), 'SIGKILL');
      await eventually(
        async () => {
          expect(follower.output).toContain('"loop":"runtime-watcher"');
          expect((await roomsOf(apis, 'arena')).find(({ id }) => id === victim)?.status ?? 'gone').not.toBe('ready');
        },
        { timeoutMs: takeOverMs, everyMs: 50 },
      );
      await leader.exited();
      watchers = [follower];
      const after = await allReady(apis, 'arena', 3);
      for (const [id, uid] of before) if (id !== victim) expect(after.get(id)).toBe(uid);
    }, 90_000);

    it('lose no pod and make none twice when all of them are killed in the middle of growing', async () => {
      const before = await allReady(apis, 'arena', 3);
      expect((await order('PATCH', { roomsReplicas: 8 })).status).toBe('finished');
      await eventually(async () => expect((await uidsOf('arena')).size).toBeGreaterThan(3), { timeoutMs: 30_000 });
      await Promise.all([apis, ...others, ...watchers].map((each) => each.kill()));
      const alone = await uidsOf('arena');
      // What dies while nobody looks is missed.
      const [victim] = before.keys();
      process.kill(kubelet.pidOf(victim!), 'SIGKILL');
      await startAll();
      const after = await allReady(apis, 'arena', 8);
      expect(after.has(victim!)).toBe(false);
      for (const [id, uid] of alone) if (id !== victim) expect(after.get(id)).toBe(uid);
    }, 180_000);

    it('let rooms end in order when there are too many', async () => {
      const before = await allReady(apis, 'arena', 8);
      expect((await order('PATCH', { roomsReplicas: 3 })).status).toBe('finished');
      const after = await allReady(apis, 'arena', 3);
      for (const [id, uid] of after) expect(before.get(id)).toBe(uid);
      await eventually(() => expect(kubelet.runningPods('arena')).toEqual([...after.keys()].sort()));
    }, 90_000);

    it('prove a major version in a pod of its own, and then make all pods anew of it', async () => {
      const before = await allReady(apis, 'arena', 3);
      const proofs = new Set<string>();
      const watching = kubelet.onPod(({ metadata }) => {
        if (metadata?.labels?.['maestro.io/validation'] === 'true') proofs.add(metadata.name ?? '');
      });
      const changed = await order('POST', definition('arena', 3, { name: 'IMAGE', value: 'two' }));
      watching.stop();
      expect(changed.status).toBe('finished');
      expect(changed.executionHistory.map(({ event }) => event).join('\n')).toMatch(/validation success/);
      expect(proofs.size).toBe(1);
      await eventually(
        async () => {
          const { scheduler } = await apis.get<{ scheduler: { spec: { version: string } } }>('/schedulers/arena');
          expect(scheduler.spec.version).toBe('v2.0.0');
        },
        { timeoutMs: 30_000, everyMs: 50 },
      );
      await eventually(
        async () => expect([...(await uidsOf('arena')).keys()].filter((id) => before.has(id))).toEqual([]),
        { timeoutMs: 90_000, everyMs: 100 },
      );
      const after = await allReady(apis, 'arena', 3);
      const made = (await podsOf('arena')).filter(({ metadata }) => after.has(metadata?.name ?? ''));
      expect(made.map(({ metadata }) => metadata?.labels?.['version'])).toEqual(['v2.0.0', 'v2.0.0', 'v2.0.0']);
      expect(made[0]?.spec?.containers?.[0]?.env).toContainEqual({ name: 'IMAGE', value: 'two' });
    }, 180_000);

    it('leave nothing of a scheduler that is deleted', async () => {
      const processes = [...(await uidsOf('arena')).keys()].map((id) => kubelet.pidOf(id));
      expect((await order('DELETE', null)).status).toBe('finished');
      await isGone('arena');
      expect(processes.filter(isAlive)).toEqual([]);
      expect(kubelet.runningPods('arena')).toEqual([]);
      await eventually(async () => expect(await keptInRedis('arena')).toEqual([]), { timeoutMs: 10_000 });
    }, 90_000);

    /** What Redis holds of a scheduler's rooms, but for what goes by itself. */
    async function keptInRedis(scheduler: string): Promise<string[]> {
      const client = new Redis(redis.url);
      try {
        const keys = await client.keys('maestro:*');
        const kept = await Promise.all(
          keys.map(async (key) => {
            const isOwn = key.includes(`:scheduler:${scheduler}:`) && (await client.ttl(key)) < 0;
            const type = await client.type(key);
            const members =
              type === 'set' ? await client.smembers(key) : type === 'hash' ? await client.hkeys(key) : [];
            const isNamed = members.some((member) => member === scheduler || member.startsWith(`${scheduler}/`));
            return isOwn || isNamed ? [key] : [];
          }),
        );
        return kept.flat();
      } finally {
        client.disconnect();
      }
    }
  });

  describe('with everything in one process, and databases that come with it', () => {
    const state = temporaryStateDirectory();
    let ports: Ports;
    let maestro: MaestroProcess | null = null;

    beforeAll(async () => {
      ports = await freePorts();
      maestro = await start();
    }, 120_000);
    afterAll(async () => {
      await maestro?.stop();
      state.remove();
    }, 60_000);

    const start = (): Promise<MaestroProcess> =>
      new MaestroProcess(['start'], ports, {
        MAESTRO_RUNTIME: 'kubernetes',
        KUBECONFIG: cluster.kubeconfig,
        MAESTRO_STATE_DIRECTORY: state.path,
        MAESTRO_ROOMSAPI_PUBLICURL: `http://127.0.0.1:${ports.rooms}`,
        MAESTRO_LOOPS_LEASETTL: '2s',
      }).ready(90_000);

    it('rooms outlive a Maestro that is killed, and are found again', async () => {
      expect((await maestro!.post('/schedulers', definition('solo', 2))).status).toBe(200);
      const before = await allReady(maestro!, 'solo', 2);
      await maestro!.kill();
      maestro = await start();
      expect(await allReady(maestro, 'solo', 2)).toEqual(before);
    }, 180_000);

    it('rooms outlive a Maestro that is stopped, which says so', async () => {
      const before = await allReady(maestro!, 'solo', 2);
      expect(maestro!.output).toContain('"ends_rooms":false');
      expect(await maestro!.stop()).toEqual({ code: 0, signal: null });
      expect(await uidsOf('solo')).toEqual(before);
      expect(kubelet.runningPods('solo')).toEqual([...before.keys()].sort());
    }, 60_000);
  });

  it('a Maestro that may not see pods says so in one line, and is not ready', async () => {
    const state = temporaryStateDirectory();
    const [postgres, redis] = await Promise.all([startTestPostgres(), startTestRedis()]);
    const kubeconfig = join(state.path, 'nobody.json');
    const { server } = await access.current();
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        'current-context': 'nobody',
        clusters: [{ name: 'it', cluster: { server: server.href, 'insecure-skip-tls-verify': true } }],
        users: [{ name: 'nobody', user: {} }],
        contexts: [{ name: 'nobody', context: { cluster: 'it', user: 'nobody' } }],
      }),
    );
    const environment = {
      MAESTRO_RUNTIME: 'kubernetes',
      KUBECONFIG: kubeconfig,
      MAESTRO_STATE_DIRECTORY: state.path,
      MAESTRO_POSTGRES_URL: postgres.url,
      MAESTRO_REDIS_URL: redis.url,
    };
    const migration = new MaestroProcess(['migrate'], await freePorts(), environment);
    await migration.exited();
    const watcher = new MaestroProcess(['start', '--role', 'runtime-watcher'], await freePorts(), environment);
    try {
      await eventually(
        async () => {
          const complaints = watcher.output
            .split('\n')
            .filter((line) => line.includes('the runtime cannot be used now'));
          expect(complaints).toEqual([expect.stringMatching(/"level":"error".*pods is forbidden: User/)]);
          expect(await watcher.readiness()).toBe(503);
        },
        { timeoutMs: 40_000, everyMs: 100 },
      );
    } finally {
      await watcher.stop();
      await Promise.all([postgres.stop(), redis.stop()]);
      state.remove();
    }
  }, 90_000);
});
