import { migratePostgres } from '../../src/adapters/postgres/data-source';
import { loadConfig } from '../../src/config/load-config';
import { bootRoles } from '../../src/roles/boot-roles';
import { openResources, type ProcessResources } from '../../src/roles/process-resources';
import { roles } from '../../src/roles/role';
import { startTestPostgres, startTestRedis } from './embedded-servers';
import { freePorts, type Ports } from './maestro-process';
import { RecordedLog } from './recorded-log';

export interface MaestroOnPods {
  ports: Ports;
  log: RecordedLog;
  /** What its roles work with. */
  resources: ProcessResources;
  close(): Promise<void>;
}

/** All roles in the test's process, on databases of their own, with rooms that are pods of the cluster behind a URL. */
export async function startMaestroOnPods(
  clusterUrl: string,
  environment: Record<string, string> = {},
): Promise<MaestroOnPods> {
  const closers: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const [postgres, redis, ports] = await Promise.all([startTestPostgres(), startTestRedis(), freePorts()]);
    closers.push(
      () => postgres.stop(),
      () => redis.stop(),
    );
    const { config } = loadConfig({
      environment: {
        MAESTRO_RUNTIME: 'kubernetes',
        MAESTRO_ADAPTERS_RUNTIME_KUBERNETES_MASTERURL: clusterUrl,
        MAESTRO_MANAGEMENTAPI_PORT: String(ports.management),
        MAESTRO_MANAGEMENTAPI_GRPCPORT: String(ports.managementGrpc),
        MAESTRO_ROOMSAPI_PORT: String(ports.rooms),
        MAESTRO_ROOMSAPI_GRPCPORT: String(ports.roomsGrpc),
        MAESTRO_INTERNALAPI_PORT: String(ports.internal),
        ...environment,
      },
    });
    const log = new RecordedLog();
    const resources = await openResources(config, log, {
      postgresUrl: postgres.url,
      redisUrl: redis.url,
      processName: 'maestro-in-test',
      environment: {},
    });
    closers.push(() => resources.close());
    await migratePostgres(resources.dataSource);
    const running = await bootRoles(roles, resources);
    closers.push(() => running.stopAll());
    return { ports, log, resources, close };
  } catch (error) {
    await close();
    throw error;
  }
}
