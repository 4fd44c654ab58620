import type { ContainerState, Pod } from './kubernetes-objects';
import { podManifest } from './pod-manifest';
import { instanceOf, readPod } from './read-instance';

type PodStatus = NonNullable<Pod['status']>;

const condition = (type: string, status: string, reason?: string, message?: string) => ({
  type,
  status,
  ...(reason === undefined ? {} : { reason }),
  ...(message === undefined ? {} : { message }),
});
const containers = (...states: ContainerState[]): PodStatus => ({
  phase: 'Running',
  conditions: [condition('Ready', 'False', 'ContainersNotReady', 'containers with unready status: [game]')],
  containerStatuses: states.map((state, index) => ({ name: `game-${index}`, state })),
});
const waiting = (reason: string, message?: string): ContainerState => ({
  waiting: { reason, ...(message === undefined ? {} : { message }) },
});
const terminated = (exitCode: number, reason?: string): ContainerState => ({
  terminated: { exitCode, ...(reason === undefined ? {} : { reason }) },
});
const running: ContainerState = { running: {} };

function read(status: PodStatus, pod: Partial<Pod> = {}) {
  return readPod({ metadata: { name: 'arena-1', namespace: 'arena', resourceVersion: '7' }, ...pod, status });
}

describe('the status of an instance', () => {
  it.each<[string, PodStatus, string, string]>([
    ['a fresh pod', {}, 'pending', ''],
    ['chosen for a node', { phase: 'Pending', conditions: [condition('PodScheduled', 'True')] }, 'pending', ''],
    [
      'no node fits',
      { phase: 'Pending', conditions: [condition('PodScheduled', 'False', 'Unschedulable', '0/3 nodes')] },
      'pending',
      'Unschedulable: no node may run it: 0/3 nodes',
    ],
    [
      'any unmet condition',
      { phase: 'Running', conditions: [condition('Ready', 'True'), condition('Custom', 'False', 'Later')] },
      'pending',
      'Later',
    ],
    ['ready', { phase: 'Running', conditions: [condition('Ready', 'True')] }, 'ready', ''],
    ['ready without phase', { conditions: [condition('Ready', 'True')] }, 'ready', ''],
    ['running without conditions', { phase: 'Running' }, 'ready', ''],
    ['succeeded', { phase: 'Succeeded' }, 'terminating', 'PodSucceeded'],
    ['failed', { phase: 'Failed' }, 'error', 'PodFailed'],
    [
      'evicted',
      { phase: 'Failed', reason: 'Evicted', message: 'low on memory' },
      'error',
      'PodFailed: Evicted: low on memory',
    ],
    [
      'failed with a container',
      { ...containers(running, terminated(137, 'OOMKilled')), phase: 'Failed' },
      'error',
      'PodFailed: container "game-1" ended with code 137 (OOMKilled)',
    ],
    ['a lost node', { phase: 'Unknown' }, 'error', 'PodUnknown'],
    ['a phase of the future', { phase: 'Dreaming' }, 'error', 'UnexpectedPodPhase: Dreaming'],
    ...[
      'ErrImageNeverPull',
      'ErrImagePullBackOff',
      'ImagePullBackOff',
      'ErrInvalidImageName',
      'InvalidImageName',
      'ErrImagePull',
      'CrashLoopBackOff',
      'RunContainerError',
      'ContainerStatusUnknown',
      'CreateContainerConfigError',
      'CreateContainerError',
    ].map((reason): [string, PodStatus, string, string] => [
      reason,
      containers(running, waiting(reason, 'retrying')),
      'error',
      `${reason}: retrying`,
    ]),
    [
      'a container is made',
      containers(waiting('ContainerCreating')),
      'pending',
      'ContainersNotReady: containers with unready status: [game]',
    ],
    ['a container is done', containers(running, terminated(0, 'Completed')), 'terminating', 'Completed'],
    ['done, without a word', containers(terminated(0)), 'terminating', ''],
    ['completed with a code', containers(terminated(3, 'Completed')), 'terminating', 'Completed'],
    ['a container failed', containers(terminated(1, 'Error')), 'error', 'Error'],
    [
      'the first container counts',
      containers(terminated(0, 'Completed'), terminated(1, 'Error')),
      'terminating',
      'Completed',
    ],
  ])('%s', (_what, status, expected, description) => {
    expect(read(status).instance).toMatchObject({ status: expected, description });
  });

  it('is terminating from the moment of deletion, whatever else is said', () => {
    const metadata = { name: 'arena-1', namespace: 'arena', deletionTimestamp: '2026-11-21T10:00:00Z' };
    const { instance } = read({ phase: 'Running', conditions: [condition('Ready', 'True')] }, { metadata });
    expect(instance).toMatchObject({ status: 'terminating', description: '' });
  });

  it.each([
    ['Always', 'pending', 'Completed: it is started again'],
    ['OnFailure', 'terminating', 'Completed'],
    ['Never', 'terminating', 'Completed'],
  ])('of a container that is done, where it is restarted %s', (restartPolicy, status, description) => {
    const { instance } = read(containers(terminated(0, 'Completed')), { spec: { restartPolicy } });
    expect(instance).toMatchObject({ status, description });
  });
});

describe('readPod', () => {
  const spec = {
    id: 'arena-1',
    scheduler: 'arena',
    version: 'v2.0.0',
    validation: true,
    containers: [
      {
        name: 'game',
        image: 'game',
        imagePullPolicy: '',
        command: [],
        environment: [],
        requests: { memory: '', cpu: '' },
        limits: { memory: '', cpu: '' },
        ports: [
          { name: 'clientPort', protocol: 'udp', port: 7777, hostPort: 60001 },
          { name: 'inside', protocol: 'tcp', port: 80, hostPort: 0 },
          { name: 'query', protocol: 'tcp', port: 7778, hostPort: 60002 },
        ],
      },
    ],
    terminationGracePeriodMs: 0,
    labels: {},
    annotations: {},
    toleration: '',
    affinity: '',
    restartPolicy: '',
    operationId: null,
  };
  const around = { installation: 'ours', roomsApiUrl: null, roomsGrpcAddress: null, topologySpread: null };

  it('finds again what the manifest says', () => {
    const pod = podManifest(spec, around, 'call-1');
    const reading = readPod({
      ...pod,
      metadata: { ...pod.metadata, creationTimestamp: '2026-11-21T10:00:00Z', resourceVersion: '4711' },
      spec: { ...pod.spec, nodeName: 'node-1' },
      status: { phase: 'Running' },
    });
    expect(reading.nodeName).toBe('node-1');
    expect(instanceOf(reading, 'a.example')).toEqual({
      id: 'arena-1',
      scheduler: 'arena',
      version: 'v2.0.0',
      validation: true,
      status: 'ready',
      description: '',
      address: {
        host: 'a.example',
        ports: [
          { name: 'clientPort', protocol: 'UDP', port: 60001 },
          { name: 'query', protocol: 'TCP', port: 60002 },
        ],
      },
      createdAtMs: Date.parse('2026-11-21T10:00:00Z'),
      generation: 4711,
      hostPorts: [
        { name: 'clientPort', protocol: 'UDP', port: 60001 },
        { name: 'query', protocol: 'TCP', port: 60002 },
      ],
      placementProblem: null,
      isProtected: false,
    });
    expect(instanceOf(reading, null).address).toBeNull();
  });

  it('says which host ports it holds, and that no node has them, before it has a node', () => {
    const message = "0/3 nodes are available: 3 node(s) didn't have free ports for the requested pod ports.";
    const conditions = [condition('PodScheduled', 'False', 'Unschedulable', message)];
    const { instance } = readPod({ ...podManifest(spec, around, 'call-1'), status: { phase: 'Pending', conditions } });
    expect(instance.hostPorts.map(({ port }) => port)).toEqual([60001, 60002]);
    expect(instance).toMatchObject({
      status: 'pending',
      placementProblem: 'host_ports',
      description: `Unschedulable: no node has its host ports free: ${message}`,
    });
  });

  it('has no placement problem once it is deleted', () => {
    const conditions = [condition('PodScheduled', 'False', 'Unschedulable', 'no')];
    const metadata = { name: 'arena-1', namespace: 'arena', deletionTimestamp: '2026-11-21T10:00:00Z' };
    expect(read({ phase: 'Pending', conditions }, { metadata }).instance.placementProblem).toBeNull();
  });

  it.each([
    ['false', 'true', true],
    ['false', '', false],
    ['false', 'false', false],
    ['true', 'true', false],
    ['', 'true', false],
    ['true', '', false],
  ])('where safe-to-evict is %j and the label of matches %j, it is protected: %s', (safe, match, isProtected) => {
    const annotations: Record<string, string> = { 'cluster-autoscaler.kubernetes.io/safe-to-evict': safe };
    const labels: Record<string, string> = match === '' ? {} : { 'maestro.io/match': match };
    expect(read({}, { metadata: { name: 'arena-1', annotations, labels } }).instance.isProtected).toBe(isProtected);
  });

  it.each<[string, PodStatus, string | null]>([
    ['chosen only', { phase: 'Pending' }, null],
    ['taken by its kubelet', { phase: 'Pending', startTime: '2026-11-21T10:00:00Z' }, 'node-1'],
    ['running', { phase: 'Running' }, 'node-1'],
    ['ready without phase', { conditions: [condition('Ready', 'True')] }, 'node-1'],
  ])('has a node when it is %s: %s', (_what, status, expected) => {
    expect(read(status, { spec: { nodeName: 'node-1' } }).nodeName).toBe(expected);
  });

  it.each(['{', 'null', '7'])('reads ports when their names were edited to %s', (text) => {
    const pod = podManifest(spec, around, 'call-1');
    const annotations = { ...pod.metadata?.annotations, 'maestro.io/port-names': text };
    expect(readPod({ ...pod, metadata: { ...pod.metadata, annotations } }).ports.map((port) => port.port)).toEqual([
      60001, 60002,
    ]);
  });
});
