import { Client } from 'pg';
import { parse, YAMLParseError } from 'yaml';
import { DomainError } from '../../domain/errors';
import type { V10Document, V10SchedulerRow } from '../../domain/scheduler/read-v10-scheduler';
import { V10Schedulers } from '../../ports/v10-schedulers';
import { describeCause, describeTarget } from './data-source';

interface SchedulerRow {
  name: string;
  game: string;
  yaml: string;
  state: string;
  version: string | null;
  created_at: Date;
}

interface VersionRow {
  version: string;
  yaml: string | null;
  rollback_version: string | null;
  created_at: Date;
}

const connectTimeoutMs = 5_000;
/** All versions of a scheduler are one statement: longer than ours, shorter than a person's patience. */
const statementTimeoutMs = 30_000;

/**
 * Always with the schema: a user called `maestro`, v10's default, would find our tables of the same names first
 * (https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATH).
 */
const columns = {
  'public.schedulers': ['name', 'game', 'yaml', 'state', 'version', 'created_at'],
  'public.scheduler_versions': ['name', 'version', 'yaml', 'rollback_version', 'created_at'],
} as const;

/** Maestro v10's PostgreSQL (`management.md` 5.1), read in one snapshot and in a transaction that cannot write. */
export class V10Database extends V10Schedulers {
  private constructor(
    private readonly client: Client,
    private readonly target: string,
  ) {
    super();
  }

  /**
   * Connects and looks whether v10's tables are there. `close` it.
   * @throws DomainError with one line: `v10.bad_url`, `v10.unreachable`, `v10.not_v10`, `v10.forbidden`, `v10.unreadable`.
   */
  static async open(url: string): Promise<V10Database> {
    if (!/^postgres(ql)?:\/\//.test(url)) {
      const form = 'postgres://user:password@host:port/database';
      throw new DomainError('invalid_argument', 'v10.bad_url', `the address of v10's database must be a URL: ${form}`);
    }
    const target = describeTarget(url);
    let client: Client | undefined;
    try {
      client = new Client({
        connectionString: url,
        application_name: 'maestro-import',
        connectionTimeoutMillis: connectTimeoutMs,
        query_timeout: statementTimeoutMs + 2_000,
        keepAlive: true,
      });
      // A lost connection fails the next statement; without a listener it would end the process.
      client.on('error', () => undefined);
      await client.connect();
    } catch (error) {
      await client?.end().catch(() => undefined);
      const message = `cannot connect to Maestro v10's PostgreSQL at ${target}: ${describeCause(error)}`;
      throw new DomainError('unavailable', 'v10.unreachable', message, { cause: error });
    }
    const database = new V10Database(client, target);
    try {
      await database.begin();
      return database;
    } catch (error) {
      await database.close();
      throw error;
    }
  }

  override async *read(names?: readonly string[]): AsyncGenerator<V10SchedulerRow> {
    const schedulers = await this.rows<SchedulerRow>(
      `SELECT name, game, yaml, state, version, ${createdAt} FROM public.schedulers
       WHERE $1::text[] IS NULL OR name = ANY ($1) ORDER BY name COLLATE "C"`,
      [names ?? null],
    );
    for (const { name, game, yaml, state, version, created_at } of schedulers) {
      const versions = await this.rows<VersionRow>(
        `SELECT version, yaml, rollback_version, ${createdAt} FROM public.scheduler_versions
         WHERE name = $1 ORDER BY 4, version`,
        [name],
      );
      yield {
        name,
        game,
        state,
        version: version ?? '',
        document: documentOf(yaml),
        createdAt: created_at,
        versions: versions.map((each) => ({
          version: each.version,
          document: documentOf(each.yaml),
          rollbackVersion: each.rollback_version ?? '',
          createdAt: each.created_at,
        })),
      };
    }
  }

  /** Ends the transaction with the connection. */
  async close(): Promise<void> {
    await this.client.end().catch(() => undefined);
  }

  private async begin(): Promise<void> {
    await this.rows('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    // Here, and not as options of the connection, which poolers refuse. The transaction idles while we write elsewhere.
    await this.rows(`SET LOCAL statement_timeout = ${statementTimeoutMs}`);
    await this.rows('SET LOCAL idle_in_transaction_session_timeout = 0');
    for (const [table, names] of Object.entries(columns)) {
      await this.rows(`SELECT ${names.join(', ')} FROM ${table} LIMIT 0`);
    }
  }

  private async rows<R>(sql: string, parameters: unknown[] = []): Promise<R[]> {
    try {
      return (await this.client.query(sql, parameters)).rows as R[];
    } catch (error) {
      throw this.explain(error);
    }
  }

  /** PostgreSQL's codes: https://www.postgresql.org/docs/current/errcodes-appendix.html */
  private explain(error: unknown): DomainError {
    const cause = describeCause(error);
    const code = (error as { code?: string }).code ?? '';
    if (code === '42P01' || code === '42703') {
      const message = `${this.target} is no database of a Maestro v10 that is up to date: ${cause}`;
      return new DomainError('failed_precondition', 'v10.not_v10', message, { cause: error });
    }
    if (code === '42501') {
      const message = `the user may not read ${Object.keys(columns).join(' and ')} at ${this.target}: ${cause}`;
      return new DomainError('permission_denied', 'v10.forbidden', message, { cause: error });
    }
    const message = `reading Maestro v10's PostgreSQL at ${this.target} failed: ${cause}`;
    return new DomainError('unavailable', 'v10.unreadable', message, { cause: error });
  }
}

/** The column has a default and may be null all the same. */
const createdAt = `coalesce(created_at, 'epoch') AS created_at`;

/** Definitions hold passwords, and the parser's messages quote what they stumble over: only the place is told. */
function documentOf(yaml: string | null): V10Document {
  if (yaml === null) return { unreadable: 'has no YAML' };
  try {
    const value: unknown = parse(yaml, { logLevel: 'error' });
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { entity: value };
    return { unreadable: 'is no YAML of an object' };
  } catch (error) {
    const place = error instanceof YAMLParseError ? error.linePos?.[0] : undefined;
    return { unreadable: `is no YAML${place ? `: line ${place.line}, column ${place.col}` : ''}` };
  }
}
