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
}

/**
 * What runs the rooms, as `MAESTRO_RUNTIME` says. Nothing is connected yet.
 * @throws DomainError `runtime.cluster_unknown` when a cluster is wanted and the configuration says none.
 */
export async function openRuntime(
  config: Config,
  logger: Logger,
  {
    environment,
    installation,
  }: { environment: Readonly<Record<string, string | undefined>>; installation: PostgresInstallation },
): Promise<OpenedRuntime> {
  if (config.runtime === 'kubernetes') {
    const runtime = await openKubernetesRuntime(config, logger, environment, installation);
    return { runtime, endAllRooms: null };
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
  return { runtime, endAllRooms: () => runtime.stopEverything() };
}

function openKubernetesRuntime(
  config: Config,
  logger: Logger,
  environment: Readonly<Record<string, string | undefined>>,
  installation: PostgresInstallation,
): Promise<KubernetesRuntime> {
  const { kubernetesKubeconfig, kubernetesMasterUrl } = config;
  if (config.roomsApiPublicUrl === undefined) {
    logger.warn({}, 'rooms are told no address of the rooms API: MAESTRO_ROOMSAPI_PUBLICURL is not set');
  }
  return KubernetesRuntime.open(
    {
      cluster: {
        inCluster: config.kubernetesInCluster,
        kubeconfig: kubernetesKubeconfig ?? (kubernetesMasterUrl === undefined ? environment['KUBECONFIG'] : undefined),
        masterUrl: kubernetesMasterUrl,
      },
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
