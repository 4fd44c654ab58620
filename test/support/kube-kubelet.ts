import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterAccess } from '../../src/adapters/kubernetes/cluster-access';
import type {
  ContainerState,
  EnvVar,
  KubernetesObject,
  ObjectList,
  Pod,
  PodContainer,
  WatchEvent,
} from '../../src/adapters/kubernetes/kubernetes-objects';
import { containerStatus, type KubeMachine } from './kube-machine';

const root = resolve(__dirname, '../..');

export interface KubeletOptions {
  /** Names of nodes, and the addresses by which players reach them. */
  nodes: Readonly<Record<string, string>>;
  /** `nothing`: pods are up as soon as they are bound, and gone as soon as they are deleted. */
  runs: 'processes' | 'nothing';
}

interface RunningContainer {
  child: ChildProcess | null;
  state: ContainerState;
  restarts: number;
}

/** What runs on this machine for a pod. */
interface RunningPod {
  ip: string;
  containers: Map<string, RunningContainer>;
  forwards: Socket[];
  /** The pod's end was asked for: what ends now is not started again. */
  isEnding: boolean;
  killTimer: NodeJS.Timeout | null;
}

/** After a call that failed: the API server may be away. Milliseconds. */
const retryMs = 100;
/** kubelet waits 10 s first, and up to 5 minutes. Milliseconds. */
const firstRestartMs = 50;

/**
 * Plays kube-scheduler and the kubelets, with pods that are real: a container is a process of this machine, with an address of its
 * own among the loopback ones, and its node's address passes datagrams for a host port on to it. Images are ignored; what has no
 * command runs nothing. The rest is as in a cluster: host ports are given once per node, what ends is started again as its restart
 * policy says, a deletion is SIGTERM, then after the grace period SIGKILL, and then the pod goes.
 */
export class KubeKubelet {
  private readonly pods = new Map<string, Pod>();
  private readonly hearers = new Set<(pod: Pod) => void>();
  private readonly running = new Map<string, RunningPod>();
  /** Pods that are being looked at; `true`: again after that. */
  private readonly looking = new Map<string, boolean>();
  private readonly work = new Set<Promise<void>>();
  private readonly timers = new Set<NodeJS.Timeout>();
  private readonly stopping = new AbortController();
  private following: Promise<void> = Promise.resolve();
  private nextAddress = 2;

  private constructor(
    private readonly machine: KubeMachine,
    private readonly access: ClusterAccess,
    private readonly options: KubeletOptions,
  ) {
    process.once('exit', this.endProcesses);
  }

  static async start(machine: KubeMachine, access: ClusterAccess, options: KubeletOptions): Promise<KubeKubelet> {
    const kubelet = new KubeKubelet(machine, access, options);
    for (const [name, address] of Object.entries(options.nodes)) {
      await machine.addNode(name, { InternalIP: address, ExternalIP: address });
    }
    kubelet.following = kubelet.follow();
    return kubelet;
  }

  /** The process of a pod's first container. */
  pidOf(pod: string): number {
    for (const [uid, { containers }] of this.running) {
      if (this.pods.get(uid)?.metadata?.name !== pod) continue;
      const pid = [...containers.values()][0]?.child?.pid;
      if (pid !== undefined) return pid;
    }
    throw new Error(`nothing runs for pod ${pod}`);
  }

  /** Pods of a namespace for which something runs. */
  runningPods(namespace: string): string[] {
    return [...this.running.entries()]
      .filter(([, { containers }]) => [...containers.values()].some(({ child }) => child !== null))
      .map(([uid]) => this.pods.get(uid)?.metadata)
      .filter((metadata) => metadata?.namespace === namespace)
      .map((metadata) => metadata?.name ?? '')
      .sort();
  }

  /** Hears of every pod as it is seen, until it is stopped. */
  onPod(hear: (pod: Pod) => void): { stop(): void } {
    this.hearers.add(hear);
    return { stop: () => void this.hearers.delete(hear) };
  }

  /** Ends the processes and touches the cluster no more. */
  async stop(): Promise<void> {
    this.stopping.abort();
    for (const timer of this.timers) clearTimeout(timer);
    await this.following;
    await Promise.all(this.work);
    const ended = [...this.running.values()].flatMap(({ containers }) =>
      [...containers.values()].flatMap(({ child }) => (child === null ? [] : [exitOf(child)])),
    );
    this.endProcesses();
    await Promise.all(ended);
    for (const pod of this.running.values()) await closeAll(pod);
    process.off('exit', this.endProcesses);
  }

  private readonly endProcesses = (): void => {
    for (const { containers } of this.running.values()) {
      for (const { child } of containers.values()) child?.kill('SIGKILL');
    }
  };

  // --- following -----------------------------------------------------------------------------------------------------------

  /** A list, then a watch; when that ends, for whatever reason, again. */
  private async follow(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      try {
        const { body } = await this.machine.call<ObjectList<Pod>>('GET', '/api/v1/pods');
        const listed = new Map(body.items.map((pod) => [pod.metadata?.uid ?? '', pod]));
        for (const uid of [...this.pods.keys()]) if (!listed.has(uid)) this.forget(uid);
        for (const [uid, pod] of listed) this.learn(uid, pod);
        await this.watch(body.metadata?.resourceVersion ?? '');
      } catch {
        await this.pause(retryMs);
      }
    }
  }

  private async watch(resourceVersion: string): Promise<void> {
    const { server, headers, agent } = await this.access.current();
    const url = new URL(`/api/v1/pods?watch=1&timeoutSeconds=300&resourceVersion=${resourceVersion}`, server);
    const answer = await new Promise<IncomingMessage>((done, fail) => {
      const asked = request(url, { headers, agent, signal: this.stopping.signal }, done);
      asked.on('error', fail).end();
    });
    let rest = '';
    for await (const chunk of answer.setEncoding('utf8')) {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const { type, object } = JSON.parse(line) as WatchEvent<Pod>;
        if (type === 'ERROR') return;
        const uid = object.metadata?.uid ?? '';
        if (type === 'DELETED') this.forget(uid);
        else this.learn(uid, object);
      }
    }
  }

  private learn(uid: string, pod: Pod): void {
    const known = Number(this.pods.get(uid)?.metadata?.resourceVersion ?? 0);
    if (Number(pod.metadata?.resourceVersion) <= known) return;
    this.pods.set(uid, pod);
    for (const hear of this.hearers) hear(pod);
    this.look(uid);
  }

  private forget(uid: string): void {
    const had = this.pods.get(uid);
    this.pods.delete(uid);
    // It was removed by force: as on a real node, what ran for it ends then.
    const runs = this.running.get(uid);
    if (runs !== undefined) this.track(this.end(uid, runs, 0));
    // Its ports may be what others wait for.
    if (hostPortsOf(had).length > 0)
      for (const [waiting, pod] of this.pods) if (!pod.spec?.nodeName) this.look(waiting);
  }

  /** One look at a pod at a time; what comes meanwhile makes for another one. */
  private look(uid: string): void {
    if (this.looking.has(uid)) {
      this.looking.set(uid, true);
      return;
    }
    this.looking.set(uid, false);
    const work: Promise<void> = this.bring(uid)
      .catch(() => void this.later(retryMs, () => this.look(uid)))
      .finally(() => {
        this.work.delete(work);
        const again = this.looking.get(uid) === true;
        this.looking.delete(uid);
        if (again && !this.stopping.signal.aborted) this.look(uid);
      });
    this.work.add(work);
  }

  // --- what becomes of a pod -----------------------------------------------------------------------------------------------

  private async bring(uid: string): Promise<void> {
    const pod = this.pods.get(uid);
    if (pod === undefined || this.stopping.signal.aborted) return;
    const { nodeName } = pod.spec ?? {};
    if (nodeName === undefined) return this.schedule(uid, pod);
    if (this.options.nodes[nodeName] === undefined) return;
    const phase = pod.status?.phase;
    const runs = this.running.get(uid);
    if (pod.metadata?.deletionTimestamp !== undefined) {
      const { deletionGracePeriodSeconds = 0 } = pod.metadata as { deletionGracePeriodSeconds?: number };
      if (runs === undefined) return this.remove(pod);
      if (await this.end(uid, runs, deletionGracePeriodSeconds * 1_000)) await this.remove(pod);
      return;
    }
    if (phase === 'Succeeded' || phase === 'Failed') return;
    if (runs === undefined) await this.begin(uid, pod, nodeName);
  }

  private async schedule(uid: string, pod: Pod): Promise<void> {
    if (pod.metadata?.deletionTimestamp !== undefined) return;
    const wanted = hostPortsOf(pod);
    const names = Object.keys(this.options.nodes);
    const free = names.filter((name) => wanted.every((port) => !this.takenPorts(name).has(port)));
    // The emptiest one, so that rooms are on all of them.
    const [node] = free.sort((a, b) => this.podsOn(a).length - this.podsOn(b).length);
    if (node === undefined) {
      // kube-scheduler's words: framework/plugins/nodeports.
      const message = `0/${names.length} nodes are available: ${names.length} node(s) didn't have free ports for the requested pod ports.`;
      const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message };
      const said = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
      if (said?.message !== message) await this.report(pod, { phase: 'Pending', conditions: [condition] });
      return;
    }
    // Until the watch tells it, so that the next pod does not get the same ports.
    const assumed = { ...pod, spec: { ...pod.spec, nodeName: node } };
    this.pods.set(uid, assumed);
    const body = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: pod.metadata?.name },
      target: { kind: 'Node', name: node },
    };
    try {
      const { status } = await this.machine.call('POST', `${pathOf(pod)}/binding`, body);
      if (status >= 300 && status !== 404 && status !== 409) throw new Error(`not bound: ${status}`);
    } catch (error) {
      // It may be bound all the same, and the watch have told so already.
      if (this.pods.get(uid) === assumed) this.pods.set(uid, pod);
      throw error;
    }
  }

  private podsOn(node: string): Pod[] {
    return [...this.pods.values()].filter(
      ({ spec, status }) => spec?.nodeName === node && status?.phase !== 'Succeeded' && status?.phase !== 'Failed',
    );
  }

  private takenPorts(node: string): Set<string> {
    return new Set(this.podsOn(node).flatMap(hostPortsOf));
  }

  private async begin(uid: string, pod: Pod, node: string): Promise<void> {
    const address = this.nextAddress++;
    const runs: RunningPod = {
      ip: `127.1.${address >> 8}.${address & 255}`,
      containers: new Map(),
      forwards: [],
      isEnding: false,
      killTimer: null,
    };
    this.running.set(uid, runs);
    for (const container of pod.spec?.containers ?? []) {
      const starting: RunningContainer = { child: null, state: {}, restarts: 0 };
      runs.containers.set(container.name, starting);
      await this.startContainer(uid, pod, container, starting, runs);
      if (this.options.runs === 'processes') await this.openPorts(container, this.options.nodes[node] ?? '', runs);
    }
    await this.tell(uid);
  }

  private async startContainer(
    uid: string,
    pod: Pod,
    { command = [], env = [] }: PodContainer,
    starting: RunningContainer,
    runs: RunningPod,
  ): Promise<void> {
    const now = new Date().toISOString();
    const [program, ...arguments_] = command;
    starting.state = { running: { startedAt: now } };
    if (this.options.runs === 'nothing' || program === undefined) return;
    const environment: Record<string, string> = { PATH: process.env['PATH'] ?? '' };
    for (const variable of env) {
      const value = await this.valueOf(variable, pod, runs.ip);
      if (value === null) {
        const { name = '' } = variable.valueFrom?.secretKeyRef ?? {};
        starting.state = { waiting: { reason: 'CreateContainerConfigError', message: `secret "${name}" not found` } };
        return;
      }
      environment[variable.name] = value;
    }
    const child = spawn(program, arguments_, { cwd: root, env: environment, stdio: 'ignore' });
    starting.child = child;
    const ended = (exitCode: number, reason: string): void => {
      if (starting.child !== child) return;
      starting.child = null;
      starting.state = { terminated: { exitCode, reason } };
      this.containerEnded(uid, runs, starting, exitCode);
    };
    child.once('error', () => ended(128, 'StartError'));
    // A shell's number for a signal: 128 and its own, which for SIGKILL is 9.
    child.once('exit', (code, signal) =>
      ended(code ?? 128 + (signal === 'SIGKILL' ? 9 : 15), code === 0 ? 'Completed' : 'Error'),
    );
  }

  private containerEnded(uid: string, runs: RunningPod, ended: RunningContainer, exitCode: number): void {
    const pod = this.pods.get(uid);
    if (this.stopping.signal.aborted) return;
    if (pod === undefined) return this.track(this.end(uid, runs, 0));
    if (runs.isEnding) return this.look(uid);
    const policy = pod.spec?.restartPolicy ?? 'Always';
    const startsAgain = policy === 'Always' || (policy === 'OnFailure' && exitCode !== 0);
    this.track(this.tell(uid));
    if (!startsAgain) return;
    this.later(firstRestartMs * 2 ** ended.restarts, () => {
      const container = pod.spec?.containers?.find(({ name }) => runs.containers.get(name) === ended);
      if (runs.isEnding || container === undefined) return;
      ended.restarts++;
      this.track(this.startContainer(uid, pod, container, ended, runs).then(() => this.tell(uid)));
    });
  }

  /** What kubelet reports of a pod's containers, and of the pod because of them. */
  private async tell(uid: string): Promise<void> {
    const pod = this.pods.get(uid);
    const runs = this.running.get(uid);
    if (pod === undefined || runs === undefined || this.stopping.signal.aborted) return;
    const states = [...runs.containers.values()].map(({ state }) => state);
    const [allRun, allEnded] = [states.every(({ running }) => running), states.every(({ terminated }) => terminated)];
    const failed = states.some(({ terminated }) => terminated !== undefined && terminated.exitCode !== 0);
    const policy = pod.spec?.restartPolicy ?? 'Always';
    const isOver = allEnded && (policy === 'Never' || (policy === 'OnFailure' && !failed));
    const phase = isOver
      ? failed
        ? 'Failed'
        : 'Succeeded'
      : states.some(({ waiting }) => waiting)
        ? 'Pending'
        : 'Running';
    const ready = allRun
      ? { status: 'True' }
      : { status: 'False', reason: phase === 'Succeeded' ? 'PodCompleted' : 'ContainersNotReady' };
    try {
      await this.report(pod, {
        phase,
        startTime: new Date().toISOString(),
        hostIP: this.options.nodes[pod.spec?.nodeName ?? ''] ?? '',
        podIP: runs.ip,
        podIPs: [{ ip: runs.ip }],
        conditions: [
          { type: 'Initialized', status: 'True' },
          { type: 'Ready', ...ready },
          { type: 'ContainersReady', ...ready },
          { type: 'PodScheduled', status: 'True' },
        ],
        containerStatuses: [...runs.containers].map(([name, { state, restarts }]) => ({
          ...containerStatus(name, state, state.running !== undefined),
          restartCount: restarts,
        })),
      });
    } catch {
      this.later(retryMs, () => this.track(this.tell(uid)));
    }
  }

  /** Whether nothing runs any more; else that is looked at again when it ends. */
  private async end(uid: string, runs: RunningPod, graceMs: number): Promise<boolean> {
    const children = [...runs.containers.values()].flatMap(({ child }) => (child === null ? [] : [child]));
    if (children.length > 0) {
      if (!runs.isEnding) for (const child of children) child.kill('SIGTERM');
      runs.isEnding = true;
      if (runs.killTimer !== null) clearTimeout(runs.killTimer);
      runs.killTimer = this.later(graceMs, () => children.forEach((child) => child.kill('SIGKILL')));
      return false;
    }
    runs.isEnding = true;
    if (runs.killTimer !== null) clearTimeout(runs.killTimer);
    await closeAll(runs);
    this.running.delete(uid);
    return true;
  }

  private async remove(pod: Pod): Promise<void> {
    const body = { gracePeriodSeconds: 0, preconditions: { uid: pod.metadata?.uid } };
    const { status } = await this.machine.call('DELETE', pathOf(pod), body);
    if (status >= 300 && status !== 404 && status !== 409) throw new Error(`not removed: ${status}`);
  }

  /** A pod that has gone meanwhile has nothing to report. */
  private async report(pod: Pod, status: object): Promise<void> {
    const path = `${pathOf(pod)}/status`;
    const answer = await this.machine.call('PATCH', path, { status }, 'application/merge-patch+json');
    if (answer.status >= 300 && answer.status !== 404) throw new Error(`not reported: ${answer.status}`);
  }

  // --- what a container is given --------------------------------------------------------------------------------------------

  /** Null when the secret is not there; then its container waits for ever. */
  private async valueOf({ value = '', valueFrom }: EnvVar, pod: Pod, ip: string): Promise<string | null> {
    if (valueFrom?.fieldRef) return fieldOf(valueFrom.fieldRef.fieldPath, pod, ip, this.options.nodes);
    if (!valueFrom?.secretKeyRef) return value;
    const { name, key } = valueFrom.secretKeyRef;
    const path = `/api/v1/namespaces/${pod.metadata?.namespace}/secrets/${name}`;
    const { body } = await this.machine.call<KubernetesObject & { data?: Record<string, string> }>('GET', path);
    const encoded = body.data?.[key];
    return encoded === undefined ? null : Buffer.from(encoded, 'base64').toString('utf8');
  }

  /** What reaches the node on a host port is passed on to the container, and its answers back. */
  private async openPorts({ ports = [] }: PodContainer, host: string, runs: RunningPod): Promise<void> {
    for (const { protocol, containerPort, hostPort } of ports) {
      if (hostPort === undefined || protocol !== 'UDP') continue;
      const door = createSocket('udp4');
      runs.forwards.push(door);
      const players = new Map<string, Socket>();
      door.on('message', (message, player) => {
        const key = `${player.address}:${player.port}`;
        let inside = players.get(key);
        if (inside === undefined) {
          inside = createSocket('udp4').on('message', (answer) => door.send(answer, player.port, player.address));
          inside.on('error', () => undefined);
          players.set(key, inside);
          runs.forwards.push(inside);
        }
        inside.send(message, containerPort, runs.ip);
      });
      await new Promise<void>((done, fail) => door.once('error', fail).bind(hostPort, host, done));
    }
  }

  // --- time ----------------------------------------------------------------------------------------------------------------

  private later(ms: number, act: () => void): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      if (!this.stopping.signal.aborted) act();
    }, ms);
    this.timers.add(timer);
    return timer;
  }

  private pause(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.stopping.signal }).catch(() => undefined);
  }

  private track(doing: Promise<unknown>): void {
    const work: Promise<void> = doing
      .then(
        () => undefined,
        () => undefined,
      )
      .finally(() => this.work.delete(work));
    this.work.add(work);
  }
}

function fieldOf(path: string, pod: Pod, ip: string, nodes: KubeletOptions['nodes']): string {
  const { metadata = {}, spec } = pod;
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (keyed) return metadata[keyed[1] as 'labels' | 'annotations']?.[keyed[2]!] ?? '';
  const fields: Record<string, string | undefined> = {
    'metadata.name': metadata.name,
    'metadata.namespace': metadata.namespace,
    'metadata.uid': metadata.uid,
    'spec.nodeName': spec?.nodeName,
    'status.hostIP': nodes[spec?.nodeName ?? ''],
    'status.podIP': ip,
  };
  return fields[path] ?? '';
}

function hostPortsOf(pod: Pod | undefined): string[] {
  return (pod?.spec?.containers ?? []).flatMap(({ ports = [] }) =>
    ports.flatMap(({ hostPort = 0, protocol = 'TCP' }) => (hostPort === 0 ? [] : [`${hostPort}/${protocol}`])),
  );
}

function pathOf({ metadata }: Pod): string {
  return `/api/v1/namespaces/${metadata?.namespace}/pods/${metadata?.name}`;
}

async function closeAll(runs: RunningPod): Promise<void> {
  await Promise.all(runs.forwards.splice(0).map((socket) => new Promise<void>((done) => socket.close(done))));
}

function exitOf(child: ChildProcess): Promise<unknown> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return Promise.resolve();
  return new Promise((done) => child.once('exit', done));
}
