import { ClusterAccess } from '../../src/adapters/kubernetes/cluster-access';
import { KubernetesRuntime, type KubernetesRuntimeOptions } from '../../src/adapters/kubernetes/kubernetes-runtime';
import { KubeApiProxy } from './kube-api-proxy';
import { KubeControlPlane, type KubeSource } from './kube-control-plane';
import { KubeMachine } from './kube-machine';
import { RecordedLog } from './recorded-log';

/** A cluster for the tests of one file. */
export interface KubeCluster {
  kubeconfig: string;
  /** Null when somebody else runs it. */
  controlPlane: KubeControlPlane | null;
  stop(): Promise<void>;
}

export async function openKubeCluster(source: KubeSource): Promise<KubeCluster> {
  if ('kubeconfig' in source) {
    const access = await ClusterAccess.open({ kubeconfig: source.kubeconfig });
    await new KubeMachine(access).refuseRealCluster();
    access.close();
    return { kubeconfig: source.kubeconfig, controlPlane: null, stop: async () => undefined };
  }
  const controlPlane = await KubeControlPlane.start(source.assets);
  return { kubeconfig: controlPlane.kubeconfig, controlPlane, stop: () => controlPlane.stop() };
}

/** Clients of one installation behind one proxy, a machine that plays the nodes, and nothing left of earlier tests. */
export class KubeRooms {
  readonly log = new RecordedLog();
  private readonly clients: KubernetesRuntime[] = [];

  private constructor(
    readonly cluster: KubeCluster,
    readonly proxy: KubeApiProxy,
    readonly machine: KubeMachine,
    private readonly access: ClusterAccess,
  ) {}

  static async open(cluster: KubeCluster): Promise<KubeRooms> {
    const access = await ClusterAccess.open({ kubeconfig: cluster.kubeconfig });
    const machine = new KubeMachine(access);
    await machine.clear();
    await machine.addNode('node-1', { InternalIP: '10.0.0.1', ExternalIP: '203.0.113.1' });
    machine.emptyNamespaces();
    return new KubeRooms(cluster, await KubeApiProxy.start(() => access.current()), machine, access);
  }

  async client(options: Partial<KubernetesRuntimeOptions> = {}): Promise<KubernetesRuntime> {
    const client = await KubernetesRuntime.open(
      {
        cluster: { masterUrl: this.proxy.url },
        installation: async () => 'test-installation',
        roomsApiUrl: 'http://rooms.test:8070',
        roomsGrpcAddress: 'rooms.test:50052',
        topologySpread: null,
        qps: 1_000,
        burst: 1_000,
        ...options,
      },
      this.log,
    );
    this.clients.push(client);
    return client;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.close()));
    await this.machine.stop();
    await this.proxy.stop();
    this.access.close();
  }
}
