import type { DataSource } from 'typeorm';
import { connectPostgres, migratePostgres } from '../../src/adapters/postgres/data-source';
import { PostgresListener } from '../../src/adapters/postgres/postgres-listener';
import { PostgresLoopLeases } from '../../src/adapters/postgres/postgres-loop-leases';
import { PostgresOperationStore } from '../../src/adapters/postgres/postgres-operation-store';
import { PostgresSchedulerStore } from '../../src/adapters/postgres/postgres-scheduler-store';
import { PostgresUnitOfWork } from '../../src/adapters/postgres/postgres-unit-of-work';
import { startTestPostgres, type TestPostgres } from './embedded-servers';
import { RecordedLog } from './recorded-log';

/** The stores of one process. */
export interface PostgresStores {
  dataSource: DataSource;
  unitOfWork: PostgresUnitOfWork;
  schedulers: PostgresSchedulerStore;
  operations: PostgresOperationStore;
  leases: PostgresLoopLeases;
  listener: PostgresListener;
  log: RecordedLog;
}

export interface PostgresUnderTest extends PostgresStores {
  url: string;
  /** Another process on the same database. */
  another(name?: string): Promise<PostgresStores>;
  /** What a test looks up or makes happen behind the stores' back. */
  sql<R = Record<string, unknown>>(text: string, parameters?: unknown[]): Promise<R[]>;
  /** Ends the server's side of every connection with this name, as a fail-over does. */
  killConnections(applicationName: string): Promise<number>;
  /** Forgets every row. */
  clear(): Promise<void>;
  /** The server goes away and stays away. */
  stopServer(): Promise<void>;
  server: Pick<TestPostgres, 'restart' | 'pause' | 'resume'>;
  close(): Promise<void>;
}

/** A migrated PostgreSQL of its own with the stores on it. `close` it in `afterAll`. */
export async function openPostgres(): Promise<PostgresUnderTest> {
  const server = await startTestPostgres();
  const opened: DataSource[] = [];
  const connect = async (name: string): Promise<PostgresStores> => {
    const log = new RecordedLog();
    const dataSource = await connectPostgres({
      url: server.url,
      poolSize: 10,
      applicationName: name,
      onIdleError: () => undefined,
    });
    opened.push(dataSource);
    const unitOfWork = new PostgresUnitOfWork(dataSource);
    const listener = new PostgresListener(server.url, log);
    return {
      dataSource,
      unitOfWork,
      schedulers: new PostgresSchedulerStore(unitOfWork, listener),
      operations: new PostgresOperationStore(unitOfWork, listener),
      leases: new PostgresLoopLeases(unitOfWork),
      listener,
      log,
    };
  };
  const behind = await connect('test-behind');
  const stores = await connect('test-stores');
  await migratePostgres(stores.dataSource);
  let isUp = true;
  const stopServer = async (): Promise<void> => {
    if (isUp) await server.stop();
    isUp = false;
  };
  const sql = <R>(text: string, parameters: unknown[] = []): Promise<R[]> =>
    behind.dataSource.query<R[]>(text, parameters);
  return {
    ...stores,
    server,
    url: server.url,
    another: (name = 'test-another') => connect(name),
    sql,
    killConnections: async (applicationName) => {
      const killed = await sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1`, [
        applicationName,
      ]);
      return killed.length;
    },
    clear: async () => {
      await sql('TRUNCATE maestro.schedulers, maestro.operations, maestro.operation_counters, maestro.leases CASCADE');
    },
    stopServer,
    close: async () => {
      server.resume();
      await Promise.all(opened.map((dataSource) => dataSource.destroy()));
      await stopServer();
    },
  };
}
