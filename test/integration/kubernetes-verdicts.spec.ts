import { ClusterAccess } from '../../src/adapters/kubernetes/cluster-access';
import type { Pod } from '../../src/adapters/kubernetes/kubernetes-objects';
import { podManifest } from '../../src/adapters/kubernetes/pod-manifest';
import { namespaceManifest } from '../../src/adapters/kubernetes/scheduler-manifests';
import { DomainError } from '../../src/domain/errors';
import { roomName } from '../../src/domain/room/room-name';
import { kubernetesVerdicts, namespaceVerdicts } from '../../src/domain/scheduler/kubernetes-verdicts.fixture';
import type { SchedulerDefinition } from '../../src/domain/scheduler/scheduler';
import { aDefinition } from '../../src/domain/scheduler/scheduler.fixture';
import { describeOnKubernetes } from '../support/kube-control-plane';
import { KubeMachine } from '../support/kube-machine';
import { openKubeCluster, type KubeCluster } from '../support/kube-rooms';

const id = '3f2c0a56-1d7e-4c0e-9a55-0b6a2f1c9d3e';
const surroundings = {
  installation: id,
  roomsApiUrl: 'http://rooms.maestro:8070',
  roomsGrpcAddress: 'rooms.maestro:50052',
  topologySpread: { maxSkew: 5, topologyKey: 'topology.kubernetes.io/zone', scheduleAnyway: false },
};

/** The pod of a room of this definition, its host ports drawn. */
function podOf(scheduler: string, { spec, labels, annotations }: SchedulerDefinition): Pod {
  let nextHostPort = 30_000;
  const instance = {
    id: roomName(scheduler, () => 0),
    scheduler,
    version: 'v1.0.0',
    validation: true,
    operationId: id,
    containers: spec.containers.map((container) => ({
      ...container,
      ports: container.ports.map((port) => ({ ...port, hostPort: nextHostPort++ })),
    })),
    terminationGracePeriodMs: Math.ceil(spec.terminationGracePeriodNs / 1e6),
    labels,
    annotations,
    toleration: spec.toleration,
    affinity: spec.affinity,
    restartPolicy: spec.restartPolicy,
  };
  try {
    return podManifest(instance, surroundings, id);
  } catch (error) {
    if (!(error instanceof DomainError) || error.code !== 'runtime.quantity_invalid') throw error;
    // The builder does not bother the server with it; here the server has to say it too.
    const one = { memory: '1', cpu: '1' };
    const readable = instance.containers.map((container) => ({ ...container, requests: one, limits: one }));
    const pod = podManifest({ ...instance, containers: readable }, surroundings, id);
    pod.spec!.containers!.forEach((container, index) => {
      const { requests, limits } = instance.containers[index]!;
      container.resources = { requests: { ...requests }, limits: { ...limits } };
    });
    return pod;
  }
}

describeOnKubernetes('what we refuse and what the API server refuses', (source) => {
  let cluster: KubeCluster;
  let access: ClusterAccess;
  let machine: KubeMachine;
  let minor: number;

  beforeAll(async () => {
    cluster = await openKubeCluster(source);
    access = await ClusterAccess.open({ kubeconfig: cluster.kubeconfig });
    machine = new KubeMachine(access);
    minor = Number.parseInt((await machine.call<{ minor: string }>('GET', '/version')).body.minor, 10);
    const { status } = await machine.call('POST', '/api/v1/namespaces', namespaceManifest('verdicts', 'test', id));
    expect([201, 409]).toContain(status);
  }, 180_000);
  afterAll(async () => {
    access?.close();
    await cluster?.stop();
  });

  /** Nothing is stored: each is asked for as if. */
  async function answerTo(path: string, body: object) {
    const answer = await machine.call<{ message?: string }>('POST', `${path}?dryRun=All`, body);
    const {
      status,
      body: { message = '' },
    } = answer;
    // 400: what it cannot read; 409: a namespace that is there; 422: what it can read.
    expect([201, 400, 409, 422]).toContain(status);
    return { taken: status === 201, status, message };
  }

  it.each(kubernetesVerdicts)('is the same of a room: $what', async ({ changes, problems, isTakenBy }) => {
    const answer = await answerTo('/api/v1/namespaces/verdicts/pods', podOf('verdicts', aDefinition(changes)));
    const taken = isTakenBy === undefined ? problems.length === 0 : isTakenBy(minor);
    expect(answer).toMatchObject({ taken });
  });

  it.each(namespaceVerdicts)('is the same of a new scheduler $name', async ({ name, problems }) => {
    const { taken } = await answerTo('/api/v1/namespaces', namespaceManifest(name, 'test', id));
    expect(taken).toBe(problems.length === 0);
  });

  it('takes rooms of a scheduler whose name is as long as it may be', async () => {
    const scheduler = 'a'.repeat(63);
    await machine.call('POST', '/api/v1/namespaces', namespaceManifest(scheduler, 'test', id));
    const answer = await answerTo(`/api/v1/namespaces/${scheduler}/pods`, podOf(scheduler, aDefinition()));
    expect(answer).toMatchObject({ taken: true });
  });
});
