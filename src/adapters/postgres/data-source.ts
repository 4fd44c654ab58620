import { DataSource, type DataSourceOptions, type Logger, type QueryRunner } from 'typeorm';
import { CreateSchedulersAndOperations1732150000000 } from '../../../migrations/1732150000000-create-schedulers-and-operations';
import { ChangeVersionsAndCancel1732233600000 } from '../../../migrations/1732233600000-change-versions-and-cancel';
import { KeepChangesLonger1732233700000 } from '../../../migrations/1732233700000-keep-changes-longer';
import { NameTheInstallation1732320000000 } from '../../../migrations/1732320000000-name-the-installation';
import { PauseAndRollBack1732406400000 } from '../../../migrations/1732406400000-pause-and-roll-back';
import { DomainError, messageOf } from '../../domain/errors';
import { ImpatientClient } from './impatient-client';

/** TypeORM prints failed migrations by itself, also with logging off; they are thrown, and logged by who catches them. */
const silentLogger: Logger = {
  logQuery: () => undefined,
  logQueryError: () => undefined,
  logQuerySlow: () => undefined,
  logSchemaBuild: () => undefined,
  logMigration: () => undefined,
  log: () => undefined,
};

const migrations = [
  CreateSchedulersAndOperations1732150000000,
  ChangeVersionsAndCancel1732233600000,
  KeepChangesLonger1732233700000,
  NameTheInstallation1732320000000,
  PauseAndRollBack1732406400000,
];

/** Ours are indexed look-ups and short updates; a longer one waits for a sick database. */
const defaultStatementTimeoutMs = 10_000;
/** How long an answer may be on its way, beyond what the statement takes. */
const transportMs = 2_000;
const connectTimeoutMs = 5_000;
/** How long a process waits for another one that migrates: building indexes on large tables takes its time. */
const migrationWaitMs = 30 * 60_000;
const migrationLock = `hashtext('maestro.migrations')`;
/** PostgreSQL's code of a lock that was not given within `lock_timeout`. */
const lockNotAvailable = '55P03';

export interface PostgresOptions {
  url: string;
  poolSize: number;
  /** Shown in `pg_stat_activity`. */
  applicationName: string;
  /** Called for failures of idle connections, which belong to no query. */
  onIdleError: (error: Error) => void;
  /**
   * How long a statement may take; a server that is silent for longer is given up, with the connection. A transaction whose
   * process says nothing for half of it is taken back by the server: a process that was paused, or whose host vanished, must
   * not keep its rows from who would take over. Milliseconds; 10,000 when not given.
   */
  statementTimeoutMs?: number;
}

/**
 * Connects; changes nothing in the database.
 * @throws DomainError `postgres.unreachable` (unavailable) with one line that names host and cause.
 */
export async function connectPostgres(options: PostgresOptions): Promise<DataSource> {
  try {
    return await dataSourceOf(options).initialize();
  } catch (error) {
    throw new DomainError(
      'unavailable',
      'postgres.unreachable',
      `cannot connect to PostgreSQL at ${describeTarget(options.url)}: ${describeCause(error)}`,
      { cause: error },
    );
  }
}

function dataSourceOf({ statementTimeoutMs = defaultStatementTimeoutMs, ...options }: PostgresOptions): DataSource {
  return new DataSource({
    type: 'postgres',
    url: options.url,
    applicationName: options.applicationName,
    poolSize: options.poolSize,
    connectTimeoutMS: connectTimeoutMs,
    installExtensions: false,
    schema: 'maestro',
    migrations,
    migrationsTableName: 'migrations',
    migrationsTransactionMode: 'each',
    poolErrorHandler: options.onIdleError,
    extra: {
      Client: ImpatientClient,
      statement_timeout: statementTimeoutMs,
      query_timeout: statementTimeoutMs + transportMs,
      idle_in_transaction_session_timeout: statementTimeoutMs / 2,
      keepAlive: true,
    },
    logger: silentLogger,
  });
}

export interface MigrationOptions {
  /** Told once, when another process migrates and this one waits for it. */
  onWait?: (message: string) => void;
  waitMs?: number;
}

/**
 * Brings the schema up to date; two processes may call it at once (an advisory lock lets one work). On connections of its own,
 * whose statements may take as long as they need: an index of a large table is not built within the timeout of a look-up.
 * Answers the names of the migrations that ran.
 * @throws DomainError `postgres.migration_locked` (unavailable) when another process migrates for longer than `waitMs`.
 */
export async function migratePostgres(dataSource: DataSource, options: MigrationOptions = {}): Promise<string[]> {
  // One for the lock, one for the migrations.
  const unhurried = await new DataSource({
    ...(dataSource.options as Extract<DataSourceOptions, { type: 'postgres' }>),
    poolSize: 2,
    extra: { keepAlive: true },
  }).initialize();
  try {
    const lock = unhurried.createQueryRunner();
    try {
      await lock.connect();
      await lockMigrations(lock, options);
      await lock.query('CREATE SCHEMA IF NOT EXISTS maestro');
      const ran = await unhurried.runMigrations();
      return ran.map((migration) => migration.name);
    } finally {
      await lock.query(`SELECT pg_advisory_unlock(${migrationLock})`).catch(() => undefined);
      await lock.release();
    }
  } finally {
    await unhurried.destroy();
  }
}

async function lockMigrations(
  lock: QueryRunner,
  { onWait, waitMs = migrationWaitMs }: MigrationOptions,
): Promise<void> {
  const [free] = (await lock.query(`SELECT pg_try_advisory_lock(${migrationLock}) AS taken`)) as { taken: boolean }[];
  if (free?.taken === true) return;
  onWait?.(`another process migrates the database; this one waits up to ${waitMs / 1_000} s for it`);
  try {
    await lock.query(`SET lock_timeout = ${Math.ceil(waitMs)}`);
    await lock.query(`SELECT pg_advisory_lock(${migrationLock})`);
    await lock.query('RESET lock_timeout');
  } catch (error) {
    if ((error as { driverError?: { code?: unknown } }).driverError?.code !== lockNotAvailable) throw error;
    throw new DomainError(
      'unavailable',
      'postgres.migration_locked',
      `another process has been migrating the database for more than ${waitMs / 1_000} s; try again when it is done`,
      { cause: error },
    );
  }
}

/** @throws DomainError `postgres.not_migrated` when this build's migrations are not all in the database. */
export async function assertMigrated(dataSource: DataSource): Promise<void> {
  const [table] = await dataSource.query<{ name: string | null }[]>(
    `SELECT to_regclass('maestro.migrations')::text AS name`,
  );
  const done = table?.name ? await dataSource.query<{ name: string }[]>(`SELECT name FROM maestro.migrations`) : [];
  const names = new Set(done.map((row) => row.name));
  const missing = migrations.filter((migration) => !names.has(migration.name));
  if (missing.length > 0) {
    throw new DomainError(
      'failed_precondition',
      'postgres.not_migrated',
      `the database lacks ${missing.length} migration(s) of this version: run "maestro migrate" first`,
    );
  }
}

/** Host, port and database of a connection string; never its password. */
export function describeTarget(url: string): string {
  try {
    const { hostname, port, pathname } = new URL(url);
    if (hostname === '') throw new Error('no host');
    return `${hostname}:${port || '5432'}${pathname}`;
  } catch {
    return 'an address that is not a URL (postgres://user:password@host:port/database)';
  }
}

/** One line; a host with several addresses fails once for each of them. */
export function describeCause(error: unknown): string {
  const { name, errors } = error as { name?: string; errors?: unknown };
  if (Array.isArray(errors)) return errors.map(messageOf).join('; ');
  if (name === 'URIError') return 'its user or password has a % that is not percent-encoded (%25)';
  return messageOf(error);
}
