import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { Registry } from 'prom-client';
import type { DataSource } from 'typeorm';
import { BullmqWakeUps } from '../adapters/bullmq/bullmq-wake-ups';
import { bullPrefix, wakeUpQueues, type Ring } from '../adapters/bullmq/wake-up-queues';
import { GrpcEventForwarder } from '../adapters/grpc-forwarder/grpc-event-forwarder';
import { HttpDesiredRoomsWebhook } from '../adapters/http-webhook/http-desired-rooms-webhook';
import { connectPostgres } from '../adapters/postgres/data-source';
import { PostgresInstallation } from '../adapters/postgres/postgres-installation';
import { PostgresListener } from '../adapters/postgres/postgres-listener';
import { PostgresLoopLeases } from '../adapters/postgres/postgres-loop-leases';
import { PostgresOperationStore } from '../adapters/postgres/postgres-operation-store';
import { PostgresSchedulerStore } from '../adapters/postgres/postgres-scheduler-store';
import { PostgresUnitOfWork } from '../adapters/postgres/postgres-unit-of-work';
import { LoadFiles } from '../adapters/load-files/load-files';
import { PrometheusMetrics } from '../adapters/prometheus/prometheus-metrics';
import {
  bullmqConnectionOptions,
  closeRedisConnection,
  createRedisConnection,
} from '../adapters/redis/redis-connection';
import { RedisHealthRecords } from '../adapters/redis/redis-health-records';
import { RedisHostPortReservations } from '../adapters/redis/redis-host-port-reservations';
import { RedisNotices } from '../adapters/redis/redis-notices';
import { RedisRoomAllocationStore } from '../adapters/redis/redis-room-allocation-store';
import { RedisRoomChanges } from '../adapters/redis/redis-room-changes';
import { RedisRoomStore } from '../adapters/redis/redis-room-store';
import type { Config } from '../config/settings';
import { DomainError, messageOf } from '../domain/errors';
import type { Logger } from '../ports/logger';
import type { Runtime } from '../ports/runtime';
import { openRuntime } from './open-runtime';

/** What the roles of one process share: connections, and the adapters on them. Nothing else is shared between roles. */
export interface ProcessResources {
  config: Config;
  logger: Logger;
  /** Who this process is, in leases and log lines. */
  owner: string;
  dataSource: DataSource;
  redis: Redis;
  bullRedis: Redis;
  registry: Registry;
  runtime: Runtime;
  /** Ends every room; null where rooms outlive whoever started them. */
  endAllRooms: (() => Promise<void>) | null;
  /** Rejects with what keeps the runtime from being used now; null where nothing can. */
  checkRuntime: (() => Promise<void>) | null;
  unitOfWork: PostgresUnitOfWork;
  schedulerStore: PostgresSchedulerStore;
  operationStore: PostgresOperationStore;
  loopLeases: PostgresLoopLeases;
  roomStore: RedisRoomStore;
  roomAllocationStore: RedisRoomAllocationStore;
  roomChanges: RedisRoomChanges;
  healthRecords: RedisHealthRecords;
  loadRecords: LoadFiles;
  hostPortReservations: RedisHostPortReservations;
  notices: RedisNotices;
  wakeUps: BullmqWakeUps;
  metrics: PrometheusMetrics;
  eventForwarder: GrpcEventForwarder;
  desiredRoomsWebhook: HttpDesiredRoomsWebhook;
  close(): Promise<void>;
}

export interface ResourceOptions {
  postgresUrl: string;
  redisUrl: string;
  /** For log lines and the database's list of sessions. */
  processName: string;
  /** Where PATH and the like of the rooms come from. */
  environment: Readonly<Record<string, string | undefined>>;
}

/** A ping's answer must not wait for a Redis that is away. With pipelining a command may take twice this. Milliseconds. */
const roomCommandTimeoutMs = 1_500;

/** Redis may take this long to answer at start before the process gives up. Milliseconds. */
const redisStartDeadlineMs = 8_000;

/** @throws DomainError `postgres.unreachable`, `redis.unreachable`, `runtime.cluster_unknown` with one line that says what to do. */
export async function openResources(
  config: Config,
  logger: Logger,
  { postgresUrl, redisUrl, processName, environment }: ResourceOptions,
): Promise<ProcessResources> {
  const dataSource = await connectPostgres({
    url: postgresUrl,
    poolSize: config.postgresPoolSize,
    applicationName: processName,
    onIdleError: (error) => logger.warn({ err: messageOf(error) }, 'an idle database connection was lost'),
  });
  const unitOfWork = new PostgresUnitOfWork(dataSource);
  const { runtime, endAllRooms, checkRuntime } = await openRuntime(config, logger, {
    environment,
    installation: new PostgresInstallation(unitOfWork),
  }).catch(async (error: unknown) => {
    await dataSource.destroy();
    throw error;
  });
  const redis = createRedisConnection({
    url: redisUrl,
    name: `${processName}-rooms`,
    commandTimeoutMs: roomCommandTimeoutMs,
    maxRetriesPerRequest: 1,
    // A ping that was told to have failed must not be stored after a newer one.
    resendsInFlight: false,
    logger,
  });
  const bullRedis = createRedisConnection({
    url: redisUrl,
    name: `${processName}-wake-ups`,
    ...bullmqConnectionOptions,
  });
  const registry = new Registry();
  const metrics = new PrometheusMetrics(registry);
  const eventForwarder = new GrpcEventForwarder(
    { keepAliveTimeMs: config.forwarderKeepAliveTimeMs, keepAliveTimeoutMs: config.forwarderKeepAliveTimeoutMs },
    metrics,
  );
  const desiredRoomsWebhook = new HttpDesiredRoomsWebhook({
    allowGuardedAddresses: config.webhookAllowsGuardedAddresses,
  });
  const queues = {
    operations: new Queue<Ring>(wakeUpQueues.operations, { connection: bullRedis, prefix: bullPrefix }),
    health: new Queue<Ring>(wakeUpQueues.health, { connection: bullRedis, prefix: bullPrefix }),
  };
  for (const queue of Object.values(queues)) {
    queue.on('error', (error) => logger.debug({ err: messageOf(error) }, 'a wake-up queue lost its connection'));
  }
  const close = async (): Promise<void> => {
    await runtime.close();
    await eventForwarder.close();
    await desiredRoomsWebhook.close();
    await Promise.allSettled(Object.values(queues).map((queue) => queue.close()));
    await Promise.allSettled([closeRedisConnection(redis), closeRedisConnection(bullRedis)]);
    await dataSource.destroy();
  };
  try {
    await assertRedisAnswers(redis, redisUrl);
  } catch (error) {
    await close();
    throw error;
  }
  const listener = new PostgresListener(postgresUrl, logger);
  return {
    config,
    logger,
    owner: `${hostname()}/${process.pid}/${randomUUID().slice(0, 8)}`,
    dataSource,
    redis,
    bullRedis,
    registry,
    runtime,
    endAllRooms,
    checkRuntime,
    unitOfWork,
    schedulerStore: new PostgresSchedulerStore(unitOfWork, listener),
    operationStore: new PostgresOperationStore(unitOfWork, listener),
    loopLeases: new PostgresLoopLeases(unitOfWork),
    roomStore: new RedisRoomStore(redis),
    roomAllocationStore: new RedisRoomAllocationStore(redis),
    roomChanges: new RedisRoomChanges({ url: redisUrl, name: `${processName}-room-changes` }, logger),
    healthRecords: new RedisHealthRecords(redis, logger),
    loadRecords: new LoadFiles(config.loadRecordingDirectory ?? null),
    hostPortReservations: new RedisHostPortReservations(redis),
    notices: new RedisNotices({ url: redisUrl, name: `${processName}-notices` }, logger),
    wakeUps: new BullmqWakeUps(queues, logger),
    metrics,
    eventForwarder,
    desiredRoomsWebhook,
    close,
  };
}

async function assertRedisAnswers(redis: Redis, url: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer')), redisStartDeadlineMs);
  });
  try {
    await Promise.race([redis.ping(), deadline]);
  } catch (error) {
    throw new DomainError(
      'unavailable',
      'redis.unreachable',
      `cannot connect to Redis at ${new URL(url).host}: ${messageOf(error)}`,
      { cause: error },
    );
  } finally {
    clearTimeout(timer);
  }
}
