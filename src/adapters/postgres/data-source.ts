import { DataSource, type Logger } from 'typeorm';
import { CreateSchedulersAndOperations1732150000000 } from '../../../migrations/1732150000000-create-schedulers-and-operations';
import { ChangeVersionsAndCancel1732233600000 } from '../../../migrations/1732233600000-change-versions-and-cancel';
import { KeepChangesLonger1732233700000 } from '../../../migrations/1732233700000-keep-changes-longer';
import { DomainError, messageOf } from '../../domain/errors';

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
];

/** How long a statement may take. Ours are indexed look-ups and short updates; a longer one waits for a sick database. */
const statementTimeoutMs = 10_000;
const connectTimeoutMs = 5_000;

export interface PostgresOptions {
  url: string;
  poolSize: number;
  /** Shown in `pg_stat_activity`. */
  applicationName: string;
  /** Called for failures of idle connections, which belong to no query. */
  onIdleError: (error: Error) => void;
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

function dataSourceOf(options: PostgresOptions): DataSource {
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
    extra: { statement_timeout: statementTimeoutMs, query_timeout: statementTimeoutMs + 2_000, keepAlive: true },
    logger: silentLogger,
  });
}

/**
 * Brings the schema up to date; two processes may call it at once (an advisory lock lets one work).
 * Answers the names of the migrations that ran.
 */
export async function migratePostgres(dataSource: DataSource): Promise<string[]> {
  const lock = dataSource.createQueryRunner();
  try {
    await lock.connect();
    await lock.query(`SELECT pg_advisory_lock(hashtext('maestro.migrations'))`);
    await lock.query('CREATE SCHEMA IF NOT EXISTS maestro');
    const ran = await dataSource.runMigrations();
    return ran.map((migration) => migration.name);
  } finally {
    await lock.query(`SELECT pg_advisory_unlock(hashtext('maestro.migrations'))`).catch(() => undefined);
    await lock.release();
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
