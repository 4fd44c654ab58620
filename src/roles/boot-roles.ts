import { NestFactory } from '@nestjs/core';
import type { DynamicModule, INestApplicationContext } from '@nestjs/common';
import { nestLogger } from '../api/http/nest-logger';
import { createHttpApplication } from '../api/http/http-application';
import { InternalApiModule } from '../api/internal/internal-api.module';
import { DependencyChecks } from '../api/internal/readiness-checks';
import { managementOpenApi } from '../api/management/management-api.module';
import { roomsOpenApi } from '../api/rooms/rooms-api.module';
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

/**
 * Starts each role as an application of its own on the shared connections, and the internal API of the process.
 * If one cannot start, those that did are ended.
 */
export async function bootRoles(roles: readonly Role[], resources: ProcessResources): Promise<RunningRoles> {
  const applications = new Map<Role | 'internal', INestApplicationContext>();
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
    applications.set('internal', await listenInternal(resources, () => isUp));
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
  application: INestApplicationContext,
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

function boot(role: Role, resources: ProcessResources): Promise<INestApplicationContext> {
  const { config } = resources;
  switch (role) {
    case 'management-api':
      return listen(resources, managementApiRole(resources), {
        service: role,
        openApi: managementOpenApi,
        ...listenerOf(role, config),
      });
    case 'rooms-api':
      return listen(resources, roomsApiRole(resources), {
        service: role,
        openApi: roomsOpenApi,
        ...listenerOf(role, config),
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
}

async function listen(resources: ProcessResources, module: DynamicModule, listener: ApiListener) {
  const { config, logger, registry } = resources;
  const application = await createHttpApplication(module, {
    logger: logger.child({ component: listener.service }),
    bodyLimitBytes: config.bodyLimitBytes,
    allowedHosts: config.allowedHosts,
    metrics: { registry, service: listener.service },
    ...(listener.openApi === undefined ? {} : { openApi: listener.openApi }),
  });
  return bind(application, listener, config.host);
}

async function listenInternal(
  { config, logger, registry, dataSource, redis }: ProcessResources,
  isUp: () => boolean,
): Promise<INestApplicationContext> {
  const checks = new DependencyChecks({
    roles: async () => {
      if (!isUp()) throw new Error('starting or stopping');
    },
    ...(config.skipPostgresCheck ? {} : { postgres: () => dataSource.query('SELECT 1') }),
    redis: () => redis.ping(),
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
