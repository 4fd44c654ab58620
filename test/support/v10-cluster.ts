import type { KubeMachine } from './kube-machine';

interface V10Pod {
  version?: string;
  labels?: Record<string, string>;
  hostPort?: number;
}

/** What v10 makes of a scheduler: a namespace without labels, a disruption budget where the server has them, and pods. */
export async function addV10Scheduler(machine: KubeMachine, name: string, ids: readonly string[], pod: V10Pod = {}) {
  await must(machine.call('POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }));
  for (const version of ['v1', 'v1beta1']) {
    const body = {
      apiVersion: `policy/${version}`,
      kind: 'PodDisruptionBudget',
      metadata: { name, namespace: name, labels: { 'app.kubernetes.io/managed-by': 'maestro' } },
      spec: { minAvailable: 1, selector: { matchLabels: { 'maestro-scheduler': name } } },
    };
    const path = `/apis/policy/${version}/namespaces/${name}/poddisruptionbudgets`;
    if ((await machine.call('POST', path, body)).status < 300) break;
  }
  for (const id of ids) await addV10Pod(machine, name, id, pod);
}

export async function addV10Pod(
  machine: KubeMachine,
  scheduler: string,
  id: string,
  { version = 'v1.0.0', labels = {}, hostPort = 40_000 }: V10Pod = {},
): Promise<void> {
  const ports = [{ name: 'client', protocol: 'UDP', containerPort: 7777, hostPort }];
  await must(
    machine.call('POST', `/api/v1/namespaces/${scheduler}/pods`, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: id,
        labels: { heritage: 'maestro', 'maestro-scheduler': scheduler, version, ...labels },
        annotations: { 'cluster-autoscaler.kubernetes.io/safe-to-evict': 'true' },
      },
      spec: { restartPolicy: 'Never', containers: [{ name: 'room', image: 'arena:1', ports }] },
    }),
  );
}

/** Namespaces without Maestro's mark: `KubeMachine.clear` would leave them. */
export async function removeV10Scheduler(machine: KubeMachine, name: string): Promise<void> {
  await machine.patch(`/api/v1/namespaces/${name}`, { metadata: { labels: { 'maestro.io/installation': 'removed' } } });
}

async function must(call: Promise<{ status: number; body: unknown }>): Promise<void> {
  const { status, body } = await call;
  if (status >= 300) throw new Error(`the API server refused: ${JSON.stringify(body)}`);
}
