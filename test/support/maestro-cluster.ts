import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { LocalProcessRuntime } from '../../src/adapters/local-process/local-process-runtime';
import type { RoomRecord } from '../../src/adapters/local-process/room-records';
import type { OperationDefinition, OperationStatus } from '../../src/domain/operation/operation';
import { QuietLogger, startTestRedis } from './embedded-servers';
import { eventually } from './eventually';
import { MaestroProcess, freePorts, temporaryStateDirectory } from './maestro-process';
import { openPostgres, type PostgresUnderTest } from './open-postgres';
import { WorkerPool } from './worker-pool';

/** An operation as its rows tell it. */
export interface StoredOperation {
  id: string;
  definition: OperationDefinition;
  status: OperationStatus;
  input: Record<string, unknown>;
  progress: Record<string, unknown>;
  hidden: boolean;
  holdsSlot: boolean;
  leaseOwner: string | null;
  finishedAt: Date | null;
  events: string[];
}

export interface StoredScheduler {
  name: string;
  state: string;
  version: string;
  roomsReplicas: number;
  versions: string[];
}

/** What runs, by the records of the local runtime. */
export type RunningRoom = Pick<RoomRecord, 'id' | 'version' | 'validation' | 'operationId'>;

export const openStatuses: readonly string[] = ['pending', 'in_progress'];

/** Times of a cluster that heals fast. The health controller's own interval makes up for rings that died with a worker. */
export const hastyTimes: Readonly<Record<string, string>> = {
  MAESTRO_SERVICES_OPERATIONMANAGER_OPERATIONLEASETTLMILLIS: '1000',
  MAESTRO_WORKERS_SWEEPINTERVAL: '200ms',
  MAESTRO_WORKERS_HEALTHCONTROLLERINTERVAL: '2s',
  MAESTRO_WORKERS_RETRYDELAY: '500ms',
  MAESTRO_WORKERS_WAKEUPS_LOCKDURATION: '1s',
  MAESTRO_WORKERS_WAKEUPS_STALLEDINTERVAL: '500ms',
};

/**
 * Roles as they are deployed: one process with APIs and watcher that lives throughout, and worker processes that may be
 * killed at any time, on a real PostgreSQL and Redis of their own.
 */
export class MaestroCluster {
  private readonly pools: WorkerPool[] = [];
  private readonly singles: MaestroProcess[] = [];

  private constructor(
    readonly postgres: PostgresUnderTest,
    readonly redis: Awaited<ReturnType<typeof startTestRedis>>,
    readonly state: ReturnType<typeof temporaryStateDirectory>,
    readonly api: MaestroProcess,
    private readonly environment: Record<string, string>,
  ) {}

  static async start(): Promise<MaestroCluster> {
    const [postgres, redis, ports] = await Promise.all([openPostgres(), startTestRedis(), freePorts()]);
    const state = temporaryStateDirectory();
    const environment = {
      MAESTRO_STATE_DIRECTORY: state.path,
      MAESTRO_POSTGRES_URL: postgres.url,
      MAESTRO_REDIS_URL: redis.url,
      MAESTRO_ROOMSAPI_PUBLICURL: `http://127.0.0.1:${ports.rooms}`,
      MAESTRO_SERVICES_ROOMMANAGER_ROOMVALIDATIONATTEMPTS: '2',
    };
    const api = new MaestroProcess(['start', '--role', 'management-api,rooms-api,runtime-watcher'], ports, environment);
    const cluster = new MaestroCluster(postgres, redis, state, api, environment);
    try {
      await api.ready();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  async startWorkers(size: number, environment: Record<string, string>): Promise<WorkerPool> {
    const pool = new WorkerPool(size, { ...this.environment, ...environment });
    this.pools.push(pool);
    await pool.start();
    return pool;
  }

  /** One that nobody replaces. */
  async startWorker(environment: Record<string, string>): Promise<MaestroProcess> {
    const worker = new MaestroProcess(['start', '--role', 'worker'], await freePorts(), {
      ...this.environment,
      ...environment,
    });
    this.singles.push(worker);
    return worker.ready();
  }

  /** Ends everything, rooms included. */
  async stop(): Promise<void> {
    this.postgres.server.resume();
    await Promise.all([...this.pools.map((pool) => pool.stop()), ...this.singles.map((worker) => worker.stop())]);
    await this.api.stop();
    const runtime = new LocalProcessRuntime(
      { stateDir: this.state.path, roomsApiUrl: '', environment: {} },
      new QuietLogger(),
    );
    await runtime.stopEverything();
    await runtime.close();
    await Promise.all([this.postgres.close(), this.redis.stop()]);
    this.state.remove();
  }

  async call<T>(method: string, path: string, body?: unknown): Promise<{ status: number; body: T }> {
    const response = await fetch(`http://127.0.0.1:${this.api.ports.management}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as T };
  }

  /** Every operation, or those of one scheduler, in the order of their requests. */
  operations(scheduler: string | null = null): Promise<(StoredOperation & { scheduler: string })[]> {
    return this.postgres.sql(
      `SELECT o.id, o.scheduler_name AS scheduler, o.definition, o.status, o.input, o.progress, o.hidden,
         o.holds_slot AS "holdsSlot", o.lease_owner AS "leaseOwner", o.finished_at AS "finishedAt",
         ARRAY(SELECT e.event FROM maestro.operation_events e WHERE e.operation_id = o.id ORDER BY e.seq) AS events
       FROM maestro.operations o WHERE $1::text IS NULL OR o.scheduler_name = $1 ORDER BY o.seq`,
      [scheduler],
    );
  }

  schedulers(): Promise<StoredScheduler[]> {
    return this.postgres.sql(
      `SELECT s.name, s.state, s.version, (s.definition->>'roomsReplicas')::int AS "roomsReplicas",
         ARRAY(SELECT v.version FROM maestro.scheduler_versions v WHERE v.scheduler_name = s.name ORDER BY v.created_at)
           AS versions
       FROM maestro.schedulers s ORDER BY s.name`,
    );
  }

  async scheduler(name: string): Promise<StoredScheduler | undefined> {
    return (await this.schedulers()).find((scheduler) => scheduler.name === name);
  }

  rooms(scheduler: string): RunningRoom[] {
    return this.recordsOf(scheduler).map(({ id, version, validation, operationId }) => ({
      id,
      version,
      validation,
      operationId,
    }));
  }

  /** Schedulers that have a place in the runtime. */
  placesOfSchedulers(): string[] {
    return listed(join(this.state.path, 'runtime', 'rooms'));
  }

  /** Waits until no operation is pending or in progress. Answers all as they are then: healing may go on a moment later. */
  async settled(timeoutMs: number): Promise<(StoredOperation & { scheduler: string })[]> {
    return eventually(
      async () => {
        const operations = await this.operations();
        const open = operations.filter(({ status }) => openStatuses.includes(status));
        if (open.length > 0) throw new Error(`did not end:\n${open.map(tell).join('\n')}`);
        return operations;
      },
      { timeoutMs, everyMs: 100 },
    );
  }

  private recordsOf(scheduler: string): RoomRecord[] {
    const folder = join(this.state.path, 'runtime', 'rooms', scheduler);
    return listed(folder).flatMap((file) => {
      if (!file.endsWith('.json') || file.startsWith('_')) return [];
      try {
        return [JSON.parse(readFileSync(join(folder, file), 'utf8')) as RoomRecord];
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
        throw error;
      }
    });
  }
}

export function tell({ id, definition, status, events }: StoredOperation): string {
  return `${definition} ${id} is ${status}: ${events.join(' | ')}`;
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
