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

  const deleted = { name: 'arena-1', namespace: 'arena', deletionTimestamp: '2026-11-21T10:00:00Z' };

  it.each([
    ['EvictionByEvictionAPI', 'somebody asked for it to be evicted, as a drain of its node does'],
    ['PreemptionByScheduler', 'a pod of higher priority takes its place'],
    ['DeletionByTaintManager', 'its node was tainted'],
    ['DeletionByPodGC', 'its node is gone'],
    ['TerminationByKubelet', 'its node needs the room, or shuts down'],
    ['NewReason', 'somebody ends it'],
  ])('says who ends it where the cluster says %s', (reason, words) => {
    const conditions = [condition('DisruptionTarget', 'True', reason, 'said so')];
    expect(read({ phase: 'Running', conditions }, { metadata: deleted }).instance).toMatchObject({
      status: 'terminating',
      description: `evicted: ${words}: ${reason}: said so`,
      ending: 'deleted',
    });
    expect(read({ phase: 'Failed', conditions }).instance).toMatchObject({
      status: 'error',
      description: `PodFailed: evicted: ${words}: ${reason}: said so`,
    });
  });

  it('is what it was while it only is to be evicted, or no more is', () => {
    const ready = condition('Ready', 'True');
    const target = condition('DisruptionTarget', 'True', 'EvictionByEvictionAPI');
    expect(read({ phase: 'Running', conditions: [target, ready] }).instance).toMatchObject({ status: 'ready' });
    const no = condition('DisruptionTarget', 'False', 'EvictionByEvictionAPI');
    expect(read({ conditions: [no] }, { metadata: deleted }).instance).toMatchObject({ description: '' });
  });

  it('tells what somebody ends from what ends by itself', () => {
    expect(read({ phase: 'Running' }, { metadata: deleted }).instance.ending).toBe('deleted');
    for (const phase of ['Succeeded', 'Failed']) {
      expect(read({ phase }).instance).not.toHaveProperty('ending');
      expect(read({ phase }, { metadata: deleted }).instance).not.toHaveProperty('ending');
    }
  });

  it.each<[string, number, string, string, string]>([
    ['Always', 1, 'Error', 'pending', 'Error: container "game-0" ended with code 1: it is started again'],
    [
      'OnFailure',
      137,
      'OOMKilled',
      'pending',
      'OOMKilled: container "game-0" ended with code 137 (OOMKilled): it is started again',
    ],
    ['Never', 1, 'Error', 'error', 'Error'],
  ])('of a container that failed, where it is restarted %s', (restartPolicy, code, reason, status, description) => {
    const { instance } = read(containers(terminated(code, reason)), { spec: { restartPolicy } });
    expect(instance).toMatchObject({ status, description });
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

describe('containers that were started again', () => {
  const ended = (exitCode: number, reason: string, finishedAt: string): ContainerState => ({
    terminated: { exitCode, reason, finishedAt },
  });
  const oom = ended(137, 'OOMKilled', '2026-11-21T10:00:00Z');

  it('are counted together, with how the last one ended, and their room is as it says', () => {
    const { instance } = read({
      phase: 'Running',
      conditions: [condition('Ready', 'True')],
      containerStatuses: [
        { name: 'game', state: running, lastState: oom, restartCount: 2 },
        { name: 'proxy', state: running, lastState: ended(1, 'Error', '2026-11-21T09:00:00Z'), restartCount: 1 },
        { name: 'quiet', state: running, lastState: {}, restartCount: 0 },
      ],
    });
    expect(instance).toMatchObject({ status: 'ready', description: '' });
    const atMs = Date.parse('2026-11-21T10:00:00Z');
    expect(instance.restarts).toEqual({
      count: 3,
      lastEnd: { container: 'game', exitCode: 137, reason: 'OOMKilled', atMs },
    });
  });

  it('are told without an end that nobody remembers, and not at all when there are none', () => {
    expect(read({ containerStatuses: [{ name: 'game', restartCount: 1 }] }).instance.restarts).toEqual({
      count: 1,
      lastEnd: null,
    });
    expect(read({ containerStatuses: [{ name: 'game', restartCount: 0 }] }).instance).not.toHaveProperty('restarts');
  });

  it.each([
    [oom, 'container "game" ended with code 137 (OOMKilled): back-off 10s'],
    [ended(3, 'Error', ''), 'container "game" ended with code 3: back-off 10s'],
    [{}, 'back-off 10s'],
  ])('again and again are told with how they end: %j', (lastState, words) => {
    const state = waiting('CrashLoopBackOff', 'back-off 10s');
    const status = { phase: 'Running', containerStatuses: [{ name: 'game', state, lastState, restartCount: 4 }] };
    expect(read(status).instance).toMatchObject({ status: 'error', description: `CrashLoopBackOff: ${words}` });
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
