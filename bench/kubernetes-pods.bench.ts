import { setTimeout as sleep } from 'node:timers/promises';
import type { CoreV1Api, V1Pod } from '@kubernetes/client-node';
import { Agent } from 'node:https';
import { KubernetesRuntime } from '../src/adapters/kubernetes/kubernetes-runtime';
import { podManifest } from '../src/adapters/kubernetes/pod-manifest';
import { PostgresInstallation } from '../src/adapters/postgres/postgres-installation';
import { closeRedisConnection, createRedisConnection } from '../src/adapters/redis/redis-connection';
import { RedisRoomStore } from '../src/adapters/redis/redis-room-store';
import type { InstanceSpec } from '../src/ports/runtime';
import { aSchedulerDefinition } from '../test/support/a-scheduler-definition';
import { QuietLogger } from '../test/support/embedded-servers';
import { eventually } from '../test/support/eventually';
import { findKubeSource } from '../test/support/kube-control-plane';
import { openKubeCluster, KubeRooms } from '../test/support/kube-rooms';
import { roomSpec, withHostPorts } from '../test/support/local-rooms';
import { openDatabases } from './support/databases';
import { timesAs, type Report } from './support/report';
import { WatcherProcess } from './support/watcher-process';

const pods = 2_000;
/** Both take turns, so that a cluster that fills up is as slow for the one as for the other. */
const perTurn = 500;
const concurrency = 40;
const schedulers = 20;
const idleSeconds = 20;

const leastShare = 0.9;
const mostKilobytesPerPod = 25;

/**
 * What the Kubernetes runtime costs beside the client library alone, and what the watcher holds per pod. The API server is a
 * real one without kubelets: pods stay pending, but those that the figures on memory are about are reported as running.
 */
export async function run(): Promise<Report> {
  const source = findKubeSource();
  if (source === null) throw new Error('there is no kube-apiserver: npm run kube-assets');
  const [cluster, databases] = await Promise.all([openKubeCluster(source), openDatabases()]);
  const rooms = await KubeRooms.open(cluster);
  const installation = new PostgresInstallation(databases.postgres.unitOfWork);
  const names = Array.from({ length: schedulers }, (_, index) => `fleet-${index}`);
  const runtime = await KubernetesRuntime.open(
    {
      cluster: { kubeconfig: cluster.kubeconfig },
      installation: () => installation.id(),
      roomsApiUrl: 'http://rooms.test:8070',
      roomsGrpcAddress: 'rooms.test:50052',
      topologySpread: null,
      qps: 1_000_000,
      burst: 1_000_000,
    },
    new QuietLogger(),
  );
  const redis = createRedisConnection({ url: databases.redisUrl, name: 'bench-rooms', commandTimeoutMs: 20_000 });
  const store = new RedisRoomStore(redis);
  try {
    for (const name of [...names, 'bare']) {
      await databases.postgres.schedulers.createScheduler(name, aSchedulerDefinition());
      await runtime.createScheduler(name, 'bench');
    }
    // Not while pods are created: it would use the machine for ours, and not for those of the client library.
    const startWatcher = () =>
      WatcherProcess.start({
        postgresUrl: databases.postgres.url,
        redisUrl: databases.redisUrl,
        apiServerUrl: rooms.proxy.url,
      });
    const idle = await startWatcher();
    await eventually(
      async () => {
        if (!(await store.isSynced())) throw new Error('the watcher has not seen everything');
      },
      { timeoutMs: 30_000 },
    );
    const before = await idle.memory();
    await idle.stop();

    const surroundings = {
      installation: await installation.id(),
      roomsApiUrl: 'http://rooms.test:8070',
      roomsGrpcAddress: 'rooms.test:50052',
      topologySpread: null,
    };
    const [kept, plain] = [
      await clientLibrary(cluster.kubeconfig, true),
      await clientLibrary(cluster.kubeconfig, false),
    ];
    const bare = (api: CoreV1Api) => async (spec: InstanceSpec) => {
      // No label of ours: the watcher does not see them.
      const body = { ...podManifest(spec, { ...surroundings, installation: 'another' }, 'bench') } as unknown as V1Pod;
      await api.createNamespacedPod({ namespace: 'bare', body });
    };
    const seconds = { ours: 0, kept: 0, plain: 0 };
    for (let first = 0; first < pods; first += perTurn) {
      const range = { first, last: first + perTurn };
      seconds.kept += await timeCreations(range, () => 'bare', 'kept', bare(kept));
      seconds.ours += await timeCreations(
        range,
        (index) => names[index % schedulers]!,
        'room',
        (spec) => runtime.createInstance(spec),
      );
      if (first === 0) seconds.plain = await timeCreations(range, () => 'bare', 'plain', bare(plain));
    }
    await reportAllRunning(rooms);
    const watcher = await startWatcher();
    await eventually(
      async () => {
        const counts = await Promise.all(names.map((name) => store.countFleet(name)));
        const ready = counts.reduce((sum, { instances }) => sum + instances.ready, 0);
        if (ready !== pods) throw new Error(`the watcher has told of ${ready} of ${pods} running pods`);
      },
      { timeoutMs: 120_000, everyMs: 200 },
    );
    const after = await watcher.memory();
    const askedBefore = rooms.proxy.requests.length;
    await sleep(idleSeconds * 1_000);
    // Once both stand.
    const watches = rooms.proxy.watching('/api/v1/pods') + rooms.proxy.watching('/api/v1/nodes');
    const asked = rooms.proxy.requests.length - askedBefore;
    await watcher.stop();

    const rate = { ours: pods / seconds.ours, kept: pods / seconds.kept, plain: perTurn / seconds.plain };
    const share = rate.ours / rate.kept;
    const perPod = (a: number, b: number) => (a - b) / pods / 1_024;
    const held = perPod(after.heldBytes, before.heldBytes);
    return {
      measures: [
        { what: 'creations, client library with kept connections (baseline)', value: `${rate.kept.toFixed(0)} pods/s` },
        {
          what: 'creations, client library as it comes',
          value: `${rate.plain.toFixed(0)} pods/s`,
          ratio: timesAs(rate.plain, rate.kept),
        },
        { what: 'creations, Maestro', value: `${rate.ours.toFixed(0)} pods/s`, ratio: `${share.toFixed(2)} x` },
        {
          what: 'watcher without pods',
          value: `${megabytes(before.heldBytes)} held, ${megabytes(before.residentBytes)} resident`,
        },
        {
          what: `watcher with ${pods} pods`,
          value: `${megabytes(after.heldBytes)} held, ${megabytes(after.residentBytes)} resident`,
        },
        {
          what: 'per pod',
          value: `${held.toFixed(1)} KB held, ${perPod(after.residentBytes, before.residentBytes).toFixed(1)} KB resident`,
        },
        { what: `watches for ${schedulers} schedulers`, value: String(watches) },
        { what: 'requests while idle', value: `${(asked / idleSeconds).toFixed(2)} a second` },
      ],
      targets: [
        { promise: `creations at ${leastShare} x the client library's rate or more`, kept: share >= leastShare },
        { promise: `the watcher holds ${mostKilobytesPerPod} KB per pod or less`, kept: held <= mostKilobytesPerPod },
        { promise: 'two watches, whatever the number of schedulers', kept: watches === 2 },
        { promise: 'less than one request a second while idle', kept: asked < idleSeconds },
      ],
    };
  } finally {
    await runtime.close();
    await rooms.dispose();
    await closeRedisConnection(redis);
    await Promise.all([databases.close(), cluster.stop()]);
  }
}

async function timeCreations(
  { first, last }: { first: number; last: number },
  schedulerOf: (index: number) => string,
  prefix: string,
  createPod: (spec: InstanceSpec) => Promise<unknown>,
): Promise<number> {
  let next = first;
  const startedAt = performance.now();
  const work = async (): Promise<void> => {
    for (let index = next++; index < last; index = next++) {
      const spec = roomSpec({ id: `${prefix}-${index}`, scheduler: schedulerOf(index), command: ['room'] });
      await createPod(withHostPorts(spec, [{ protocol: 'udp', hostPort: 20_000 + index }]));
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return (performance.now() - startedAt) / 1_000;
}

/** The client library on one agent that keeps its connections, or opening one for each call, as it does by itself. */
async function clientLibrary(kubeconfig: string, keepsConnections: boolean): Promise<CoreV1Api> {
  const library = await import('@kubernetes/client-node');
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency, rejectUnauthorized: false });
  class KeptConfig extends library.KubeConfig {
    override async applySecurityAuthentication(
      context: Parameters<InstanceType<typeof library.KubeConfig>['applySecurityAuthentication']>[0],
    ): Promise<void> {
      await super.applySecurityAuthentication(context);
      context.setAgent(agent);
    }
  }
  const config = keepsConnections ? new KeptConfig() : new library.KubeConfig();
  config.loadFromFile(kubeconfig);
  return config.makeApiClient(library.CoreV1Api);
}

/** Every pod of ours runs on the one node, as far as anybody says. */
async function reportAllRunning({ machine }: KubeRooms): Promise<void> {
  const { body } = await machine.call<{ items: { metadata: { name: string; namespace: string } }[] }>(
    'GET',
    '/api/v1/pods?labelSelector=heritage%3Dmaestro',
  );
  const ours = body.items.filter(({ metadata }) => metadata.namespace !== 'bare');
  let next = 0;
  const work = async (): Promise<void> => {
    for (let pod = ours[next++]; pod !== undefined; pod = ours[next++]) {
      const path = `/api/v1/namespaces/${pod.metadata.namespace}/pods/${pod.metadata.name}`;
      const target = { kind: 'Node', name: 'node-1' };
      await machine.call('POST', `${path}/binding`, {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: pod.metadata,
        target,
      });
      const conditions = [{ type: 'Ready', status: 'True' }];
      await machine.patch(`${path}/status`, { status: { phase: 'Running', hostIP: '10.0.0.1', conditions } });
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
}

const megabytes = (bytes: number): string => `${(bytes / 1_048_576).toFixed(1)} MB`;
