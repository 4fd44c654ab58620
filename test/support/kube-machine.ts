import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Access, ClusterAccess } from '../../src/adapters/kubernetes/cluster-access';
import type { KubernetesObject, Namespace, ObjectList, Pod } from '../../src/adapters/kubernetes/kubernetes-objects';
import { eventually } from './eventually';

export interface Answer<T> {
  status: number;
  body: T;
}

export const testNodeLabel = 'maestro.io/test-node';
const installationLabel = 'maestro.io/installation';
const letGoAnnotation = 'maestro.io/let-go-by';

/** Plays what a control plane alone lacks: the scheduler, kubelets and the controller that empties namespaces. */
export class KubeMachine {
  private emptying: NodeJS.Timeout | null = null;
  private round: Promise<void> = Promise.resolve();

  constructor(private readonly access: ClusterAccess) {}

  /** @throws when the cluster has nodes of its own: real kubelets and schedulers would play along, on somebody's cluster. */
  async refuseRealCluster(): Promise<void> {
    const { body } = await this.call<ObjectList<KubernetesObject>>('GET', '/api/v1/nodes');
    const foreign = body.items.filter(({ metadata }) => metadata?.labels?.[testNodeLabel] === undefined);
    if (foreign.length > 0) throw new Error('KUBECONFIG names a cluster with nodes: tests need one that runs nothing');
  }

  async addNode(name: string, addresses: Record<string, string>): Promise<void> {
    const list = Object.entries(addresses).map(([type, address]) => ({ type, address }));
    const body = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, labels: { [testNodeLabel]: 'true' } },
      status: { addresses: list },
    };
    const { status } = await this.call('POST', '/api/v1/nodes', body);
    if (status === 409) await this.patch(`/api/v1/nodes/${name}/status`, { status: { addresses: list } });
  }

  async removeNode(name: string): Promise<void> {
    await this.call('DELETE', `/api/v1/nodes/${name}`);
  }

  async pod(id: string): Promise<Pod | null> {
    const { body } = await this.call<ObjectList<Pod>>('GET', `/api/v1/pods?fieldSelector=metadata.name=${id}`);
    return body.items[0] ?? null;
  }

  /** Somebody's, with nothing of Maestro about it unless `labels` say so. Idempotent. */
  async addPod(namespace: string, name: string, labels: Record<string, string> = {}): Promise<void> {
    const body = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, labels },
      spec: { containers: [{ name: 'it', image: 'it:1' }] },
    };
    const answer = await this.call('POST', `/api/v1/namespaces/${namespace}/pods`, body);
    if (answer.status >= 300 && answer.status !== 409) await this.must(Promise.resolve(answer));
  }

  /** The scheduler's part. */
  async bind(id: string, node: string): Promise<void> {
    const body = { apiVersion: 'v1', kind: 'Binding', metadata: { name: id }, target: { kind: 'Node', name: node } };
    await this.must(this.call('POST', `${await this.pathOf(id)}/binding`, body));
  }

  /** The kubelet's part. */
  async report(id: string, status: NonNullable<Pod['status']>): Promise<void> {
    await this.patch(`${await this.pathOf(id)}/status`, { status });
  }

  /** Bound and up. */
  async run(id: string, node = 'node-1'): Promise<void> {
    const pod = await this.pod(id);
    if (pod?.spec?.nodeName === undefined) await this.bind(id, node);
    const now = new Date().toISOString();
    const names = pod?.spec?.containers?.map(({ name }) => name) ?? [];
    await this.report(id, {
      phase: 'Running',
      startTime: now,
      hostIP: '10.0.0.1',
      conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({ type, status: 'True' })),
      containerStatuses: names.map((name) => containerStatus(name, { running: { startedAt: now } }, true)),
    });
  }

  /** Its kubelet is done with it, or its node is lost: it disappears at once. */
  async remove(id: string): Promise<void> {
    const pod = await this.pod(id);
    if (pod === null) return;
    await this.call('DELETE', podPath(pod), { gracePeriodSeconds: 0 });
  }

  /** Its container ends by itself, and the pod is collected. */
  async crash(id: string): Promise<void> {
    await this.report(id, { phase: 'Failed' });
    await this.remove(id);
  }

  /** Waits until its deletion was asked, and lets it end. */
  async letEnd(id: string): Promise<void> {
    await eventually(async () => {
      const pod = await this.pod(id);
      if (pod !== null && pod.metadata?.deletionTimestamp === undefined) throw new Error(`${id} is not being deleted`);
    });
    await this.remove(id);
  }

  /** A version that was written just now. */
  async version(): Promise<number> {
    const path = '/api/v1/nodes/node-1';
    const annotations = { 'maestro.io/test': String(process.hrtime.bigint()) };
    const { body } = await this.patch<KubernetesObject>(path, { metadata: { annotations } });
    return Number(body.metadata?.resourceVersion);
  }

  /** Empties namespaces that are being deleted, and finishes them, as kube-controller-manager does. */
  emptyNamespaces(): void {
    const next = () => {
      this.round = this.emptyOnce()
        // The API server may be away: that is what some tests are about.
        .catch(() => undefined)
        .then(() => {
          if (this.emptying !== null) this.emptying = setTimeout(next, 50);
        });
    };
    this.emptying ??= setTimeout(next, 0);
  }

  async stop(): Promise<void> {
    if (this.emptying !== null) clearTimeout(this.emptying);
    this.emptying = null;
    await this.round;
  }

  /** Nothing is left that any Maestro made, or left standing. */
  async clear(): Promise<void> {
    await eventually(
      async () => {
        const all = (await this.call<ObjectList<Namespace>>('GET', '/api/v1/namespaces')).body.items;
        const items = all.filter(
          ({ metadata }) =>
            metadata?.labels?.[installationLabel] !== undefined ||
            metadata?.annotations?.[letGoAnnotation] !== undefined,
        );
        for (const { metadata } of items) await this.call('DELETE', `/api/v1/namespaces/${metadata?.name}`);
        await this.emptyOnce(true);
        if (items.length > 0) throw new Error('namespaces are left');
      },
      { timeoutMs: 30_000 },
    );
  }

  async call<T = unknown>(method: string, path: string, body?: object, contentType = 'application/json') {
    return send<T>(await this.access.current(), method, path, body, contentType);
  }

  patch<T>(path: string, body: object): Promise<Answer<T>> {
    return this.must(this.call<T>('PATCH', path, body, 'application/merge-patch+json'));
  }

  private async emptyOnce(byForce = false): Promise<void> {
    const { items } = (await this.call<ObjectList<Namespace>>('GET', '/api/v1/namespaces')).body;
    for (const namespace of items.filter(({ metadata }) => metadata?.deletionTimestamp !== undefined)) {
      const name = namespace.metadata?.name ?? '';
      const pods = (await this.call<ObjectList<Pod>>('GET', `/api/v1/namespaces/${name}/pods`)).body.items;
      for (const pod of pods) {
        if (byForce) await this.call('DELETE', podPath(pod), { gracePeriodSeconds: 0 });
        else if (pod.metadata?.deletionTimestamp === undefined) await this.call('DELETE', podPath(pod));
      }
      if (pods.length > 0) continue;
      await this.call('PUT', `/api/v1/namespaces/${name}/finalize`, { ...namespace, spec: { finalizers: [] } });
    }
  }

  private async pathOf(id: string): Promise<string> {
    const pod = await this.pod(id);
    if (pod === null) throw new Error(`there is no pod ${id}`);
    return podPath(pod);
  }

  private async must<T>(call: Promise<Answer<T>>): Promise<Answer<T>> {
    const answer = await call;
    if (answer.status >= 300) throw new Error(`the API server refused: ${JSON.stringify(answer.body)}`);
    return answer;
  }
}

export function containerStatus(name: string, state: object, ready = false) {
  return { name, state, ready, restartCount: 0, image: 'ignored:1', imageID: '' };
}

function podPath({ metadata }: Pod): string {
  return `/api/v1/namespaces/${metadata?.namespace}/pods/${metadata?.name}`;
}

function send<T>(
  { server, headers, agent }: Access,
  method: string,
  path: string,
  body: object | undefined,
  contentType: string,
): Promise<Answer<T>> {
  const start = server.protocol === 'https:' ? requestHttps : requestHttp;
  const payload = Buffer.from(body === undefined ? '' : JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const request = start(new URL(path, server), {
      method,
      agent,
      // Node leaves out the length for DELETE, and the body would be read as the next request.
      headers: { ...headers, 'content-type': contentType, 'content-length': payload.length },
    });
    request.on('error', reject);
    request.on('response', (response) => {
      let text = '';
      response.on('data', (chunk) => (text += String(chunk)));
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as T });
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
    });
    request.end(payload);
  });
}
