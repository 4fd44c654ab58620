import { NestFactory } from '@nestjs/core';
import type { DynamicModule, INestApplicationContext } from '@nestjs/common';
import { nestLogger } from '../api/http/nest-logger';
import { startGrpcServer } from '../api/grpc/grpc-server';
import type { GrpcService } from '../api/grpc/rpc-handlers';
import { createHttpApplication } from '../api/http/http-application';
import { InternalApiModule } from '../api/internal/internal-api.module';
import { DependencyChecks } from '../api/internal/readiness-checks';
import { managementGrpcServices } from '../api/management/management-grpc-services';
import { managementOpenApi } from '../api/management/management-api.module';
import { roomsOpenApi } from '../api/rooms/rooms-api.module';
import { roomsGrpcServices } from '../api/rooms/rooms-grpc-services';
import { AllocationWaits } from '../features/rooms/allocation-waits';
import { listenerOf, listenFailure, type Listener } from './listeners';
import { managementApiRole } from './management-api.role';
import { MetricsReporterRole } from './metrics-reporter.role';
import type { ProcessResources } from './process-resources';
import type { Role } from './role';
import { roomsApiRole } from './rooms-api.role';
import { RuntimeWatcherRole } from './runtime-watcher.role';
import { WorkerRole } from './worker.role';

export interface RunningRoles {
  /** Ends one role, if it runs: nothing new is begun, and what runs is finished or handed over. */
  stop(role: Role): Promise<void>;
  stopAll(): Promise<void>;
}

/** A role, or the internal API, while it runs. */
interface RunningPart {
  close(): Promise<void>;
}

/**
 * Starts each role as an application of its own on the shared connections, and the internal API of the process.
 * If one cannot start, those that did are ended.
 */
export async function bootRoles(roles: readonly Role[], resources: ProcessResources): Promise<RunningRoles> {
  const applications = new Map<Role | 'internal', RunningPart>();
  let isUp = false;
  const stop = async (name: Role | 'internal'): Promise<void> => {
    const application = applications.get(name);
    applications.delete(name);
    if (application !== undefined) await closeInTime(name, application, resources);
  };
  const running: RunningRoles = {
    stop: (role) => {
      isUp = false;
      return stop(role);
    },
    stopAll: async () => {
      isUp = false;
      await Promise.all([...applications.keys()].filter((name) => name !== 'internal').map(stop));
      await stop('internal');
    },
  };
  try {
    applications.set('internal', await listenInternal(resources, roles, () => isUp));
    for (const role of roles) applications.set(role, await boot(role, resources));
    isUp = true;
  } catch (error) {
    await running.stopAll();
    throw error;
  }
  return running;
}

/** Requests and operations that run get their time; what does not end in it must not keep the process. */
async function closeInTime(
  name: string,
  application: RunningPart,
  { config, logger }: ProcessResources,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      logger.warn({ component: name }, 'did not stop in time; it is left');
      resolve();
    }, config.shutdownTimeoutMs);
  });
  await Promise.race([application.close(), deadline]);
  clearTimeout(timer);
}

function boot(role: Role, resources: ProcessResources): Promise<RunningPart> {
  const { config } = resources;
  switch (role) {
    case 'management-api':
      return listen(resources, managementApiRole(resources), {
        service: role,
        openApi: managementOpenApi,
        ...listenerOf(role, config),
        grpc: { ...listenerOf('management-api/grpc', config), services: managementGrpcServices },
      });
    case 'rooms-api':
      return listen(resources, roomsApiRole(resources), {
        service: role,
        openApi: roomsOpenApi,
        ...listenerOf(role, config),
        grpc: { ...listenerOf('rooms-api/grpc', config), services: roomsGrpcServices },
        beforeStop: (application) => application.get(AllocationWaits).stop(),
      });
    case 'worker':
      return startContext(resources, WorkerRole.with(resources));
    case 'runtime-watcher':
      return startContext(resources, RuntimeWatcherRole.with(resources));
    case 'metrics-reporter':
      return startContext(resources, MetricsReporterRole.with(resources));
  }
}

function startContext(resources: ProcessResources, module: DynamicModule): Promise<INestApplicationContext> {
  return NestFactory.createApplicationContext(module, {
    logger: nestLogger(resources.logger),
    abortOnError: false,
  });
}

interface ApiListener extends Listener {
  service: string;
  openApi?: { title: string; description: string };
  grpc?: GrpcListener;
  /** Ends what would keep calls waiting: both wires let the calls that run end. */
  beforeStop?: (application: INestApplicationContext) => void;
}

interface GrpcListener extends Listener {
  /** Finds in the application what answers each service. */
  services: (application: INestApplicationContext) => GrpcService[];
}

async function listen(resources: ProcessResources, module: DynamicModule, listener: ApiListener): Promise<RunningPart> {
  const { config, logger, registry } = resources;
  const application = await createHttpApplication(module, {
    logger: logger.child({ component: listener.service }),
    bodyLimitBytes: config.bodyLimitBytes,
    allowedHosts: config.allowedHosts,
    metrics: { registry, service: listener.service },
    ...(listener.openApi === undefined ? {} : { openApi: listener.openApi }),
  });
  await bind(application, listener, config.host);
  const { grpc, service, beforeStop } = listener;
  const part = grpc === undefined ? application : await withGrpc(resources, application, service, grpc);
  return {
    close: () => {
      beforeStop?.(application);
      return part.close();
    },
  };
}

/** Serves an application's handlers over gRPC too, until it is closed. */
async function withGrpc(
  resources: ProcessResources,
  application: INestApplicationContext,
  component: string,
  listener: GrpcListener,
): Promise<RunningPart> {
  const { config, logger, registry } = resources;
  const checks = dependencyChecks(resources);
  try {
    const server = await startGrpcServer({
      services: listener.services(application),
      host: config.host,
      port: listener.port,
      logger: logger.child({ component }),
      maxMessageBytes: config.bodyLimitBytes,
      metrics: { registry },
      readiness: { isReady: async () => (await checks.check()).ok },
    });
    return {
      close: async () => {
        // Before the application, whose handlers its calls use; half of the time, so that REST has some left.
        await server.stop(config.shutdownTimeoutMs / 2);
        await application.close();
      },
    };
  } catch (error) {
    await application.close();
    throw listenFailure(error, listener, config.host);
  }
}

/** What every role needs to do its work, and what else the caller asks for. */
function dependencyChecks(
  { config, dataSource, redis }: ProcessResources,
  others: Readonly<Record<string, () => Promise<unknown>>> = {},
): DependencyChecks {
  return new DependencyChecks({
    ...others,
    ...(config.skipPostgresCheck ? {} : { postgres: () => dataSource.query('SELECT 1') }),
    redis: () => redis.ping(),
  });
}

/**
 * Worker and watcher alone. A process that answers rooms and matchmakers too goes on doing so: were it taken out of its load
 * balancer while the cluster's API is away, no ping would be heard.
 */
function canDoNothingWithoutRuntime(roles: readonly Role[]): boolean {
  return roles.every((role) => role !== 'management-api' && role !== 'rooms-api' && role !== 'metrics-reporter');
}

async function listenInternal(
  resources: ProcessResources,
  roles: readonly Role[],
  isUp: () => boolean,
): Promise<INestApplicationContext> {
  const { config, logger, registry, checkRuntime } = resources;
  const checks = dependencyChecks(resources, {
    ...(checkRuntime !== null && canDoNothingWithoutRuntime(roles) ? { runtime: checkRuntime } : {}),
    roles: async () => {
      if (!isUp()) throw new Error('starting or stopping');
    },
  });
  const module = InternalApiModule.register({
    registry,
    logger,
    ...(config.healthcheckEnabled ? { checks } : {}),
    servesMetrics: config.metricsEnabled,
  });
  const application = await createHttpApplication(module, { logger });
  return bind(application, listenerOf('internal', config), config.host);
}

async function bind(
  application: Awaited<ReturnType<typeof createHttpApplication>>,
  listener: Listener,
  host: string,
): Promise<INestApplicationContext> {
  try {
    await application.listen(listener.port, host);
    return application;
  } catch (error) {
    await application.close();
    throw listenFailure(error, listener, host);
  }
}
