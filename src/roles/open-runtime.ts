import { ClusterAccess, type ClusterAddress } from '../adapters/kubernetes/cluster-access';
import { KubernetesRuntime } from '../adapters/kubernetes/kubernetes-runtime';
import { LocalProcessRuntime } from '../adapters/local-process/local-process-runtime';
import type { PostgresInstallation } from '../adapters/postgres/postgres-installation';
import type { Config } from '../config/settings';
import type { Logger } from '../ports/logger';
import type { Runtime } from '../ports/runtime';

export interface OpenedRuntime {
  runtime: Runtime;
  /** Ends every room; null where rooms outlive whoever started them. */
  endAllRooms: (() => Promise<void>) | null;
  /** Rejects with what keeps the runtime from being used now; null where nothing can. */
  checkRuntime: (() => Promise<void>) | null;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Tells of a configuration that can never work, before anything is started for it.
 * @throws DomainError `runtime.cluster_unknown` when a cluster is wanted and the configuration says none.
 */
export async function assertRuntimeConfigured(config: Config, environment: Environment): Promise<void> {
  if (config.runtime !== 'kubernetes') return;
  (await ClusterAccess.open(clusterAddress(config, environment))).close();
}

/**
 * What runs the rooms, as `MAESTRO_RUNTIME` says. Nothing is connected yet.
 * @throws DomainError `runtime.cluster_unknown` when a cluster is wanted and the configuration says none.
 */
export async function openRuntime(
  config: Config,
  logger: Logger,
  { environment, installation }: { environment: Environment; installation: PostgresInstallation },
): Promise<OpenedRuntime> {
  if (config.runtime === 'kubernetes') {
    const runtime = await openKubernetesRuntime(config, logger, environment, installation);
    return { runtime, endAllRooms: null, checkRuntime: () => runtime.checkAccess() };
  }
  const runtime = new LocalProcessRuntime(
    {
      stateDir: config.stateDirectory,
      roomsApiUrl: config.roomsApiPublicUrl ?? `http://127.0.0.1:${config.roomsApiPort}`,
      roomsGrpcAddress: config.roomsApiGrpcPublicAddress ?? `127.0.0.1:${config.roomsApiGrpcPort}`,
      environment,
    },
    logger,
  );
  return { runtime, endAllRooms: () => runtime.stopEverything(), checkRuntime: null };
}

function openKubernetesRuntime(
  config: Config,
  logger: Logger,
  environment: Environment,
  installation: PostgresInstallation,
): Promise<KubernetesRuntime> {
  return KubernetesRuntime.open(
    {
      cluster: clusterAddress(config, environment),
      installation: () => installation.id(),
      roomsApiUrl: config.roomsApiPublicUrl ?? null,
      roomsGrpcAddress: config.roomsApiGrpcPublicAddress ?? null,
      topologySpread: config.kubernetesTopologySpread
        ? {
            maxSkew: config.kubernetesTopologyMaxSkew,
            topologyKey: config.kubernetesTopologyKey,
            scheduleAnyway: config.kubernetesTopologyScheduleAnyway,
          }
        : null,
      qps: config.kubernetesQps,
      burst: config.kubernetesBurst,
    },
    logger,
  );
}

export function clusterAddress(config: Config, environment: Environment): ClusterAddress {
  const { kubernetesInCluster: inCluster, kubernetesKubeconfig, kubernetesMasterUrl: masterUrl } = config;
  const kubeconfig = kubernetesKubeconfig ?? (masterUrl === undefined ? environment['KUBECONFIG'] : undefined);
  return { inCluster, kubeconfig, masterUrl };
}
