import type { DataSource } from 'typeorm';
import {
  assertMigrated,
  connectPostgres,
  describeTarget,
  migratePostgres,
} from '../../src/adapters/postgres/data-source';
import { DomainError } from '../../src/domain/errors';
import { chooseFreePort } from '../../src/adapters/embedded-servers/free-port';
import { startTestPostgres } from '../support/embedded-servers';

const migrationNames = ['CreateSchedulersAndOperations1732150000000'];

describe('the database schema', () => {
  let server: Awaited<ReturnType<typeof startTestPostgres>>;
  let dataSource: DataSource;

  const connect = (url = server.url): Promise<DataSource> =>
    connectPostgres({ url, poolSize: 3, applicationName: 'test', onIdleError: () => undefined });

  beforeAll(async () => {
    server = await startTestPostgres();
  });
  afterAll(() => server.stop());

  beforeEach(async () => {
    dataSource = await connect();
    await dataSource.query('DROP SCHEMA IF EXISTS maestro CASCADE');
  });
  afterEach(() => dataSource.destroy());

  it('is equal after up, down and up', async () => {
    expect(await migratePostgres(dataSource)).toEqual(migrationNames);
    const first = await describeSchema(dataSource);
    await undoAll(dataSource);
    expect((await describeSchema(dataSource)).filter((line) => !line.includes('migrations'))).toEqual([]);
    expect(await migratePostgres(dataSource)).toEqual(migrationNames);
    expect(await describeSchema(dataSource)).toEqual(first);
  });

  it('is migrated once when two processes migrate at once', async () => {
    const others = await Promise.all([connect(), connect(), connect()]);
    try {
      const ran = await Promise.all([dataSource, ...others].map((each) => migratePostgres(each)));
      expect(ran.flat()).toEqual(migrationNames);
      await Promise.all(others.map((each) => assertMigrated(each)));
    } finally {
      await Promise.all(others.map((each) => each.destroy()));
    }
  });

  it('is left alone by a second migration', async () => {
    await migratePostgres(dataSource);
    await dataSource.query(`INSERT INTO maestro.leases VALUES ('loop', 'me', 1, now())`);
    expect(await migratePostgres(dataSource)).toEqual([]);
    expect(await dataSource.query('SELECT name FROM maestro.leases')).toEqual([{ name: 'loop' }]);
  });

  it('lets another process migrate after one that failed', async () => {
    await dataSource.query('CREATE SCHEMA maestro; CREATE TABLE maestro.leases (it int)');
    await expect(migratePostgres(dataSource)).rejects.toThrow(/"leases" already exists/);
    await dataSource.query('DROP TABLE maestro.leases');
    const other = await connect();
    try {
      expect(await migratePostgres(other)).toEqual(migrationNames);
    } finally {
      await other.destroy();
    }
  });

  it('is refused while this build has migrations that the database lacks, with the way out', async () => {
    await expect(assertMigrated(dataSource)).rejects.toMatchObject({
      kind: 'failed_precondition',
      code: 'postgres.not_migrated',
      message: 'the database lacks 1 migration(s) of this version: run "maestro migrate" first',
    });
    await migratePostgres(dataSource);
    await assertMigrated(dataSource);
    await dataSource.query('DELETE FROM maestro.migrations');
    await expect(assertMigrated(dataSource)).rejects.toMatchObject({ code: 'postgres.not_migrated' });
  });

  it('stands beside the tables of v10, which stay as they are', async () => {
    await dataSource.query(`
      CREATE TABLE public.schedulers (name varchar PRIMARY KEY, yaml text);
      CREATE TABLE public.schema_migrations (version bigint PRIMARY KEY, dirty boolean);
      INSERT INTO public.schedulers VALUES ('old', 'name: old');
      INSERT INTO public.schema_migrations VALUES (7, false)`);
    const before = await describeSchema(dataSource, 'public');
    await migratePostgres(dataSource);
    await undoAll(dataSource);
    await migratePostgres(dataSource);
    expect(await describeSchema(dataSource, 'public')).toEqual(before);
    expect(await dataSource.query('SELECT * FROM public.schedulers')).toEqual([{ name: 'old', yaml: 'name: old' }]);
    expect(await dataSource.query('SELECT version FROM public.schema_migrations')).toEqual([{ version: '7' }]);
  });
});

describe('connecting to PostgreSQL', () => {
  let server: Awaited<ReturnType<typeof startTestPostgres>>;
  const secret = 's3cret-word';

  beforeAll(async () => {
    server = await startTestPostgres();
  });
  afterAll(() => server.stop());

  it('says in one line that nobody listens, at which host and port', async () => {
    const port = await chooseFreePort(0);
    const error = await refusal(withParts(server.url, { port: String(port), password: secret }));
    expect(error).toMatchObject({ kind: 'unavailable', code: 'postgres.unreachable' });
    expect(error.message).toBe(
      `cannot connect to PostgreSQL at 127.0.0.1:${port}/maestro: connect ECONNREFUSED 127.0.0.1:${port}`,
    );
  });

  it('says in one line that the password is wrong, without showing it', async () => {
    const error = await refusal(withParts(server.url, { password: secret }));
    expect(error.message).toMatch(
      /^cannot connect to PostgreSQL at 127\.0\.0\.1:\d+\/maestro: password authentication failed for user "\w+"$/,
    );
    expect(error.message).not.toContain(secret);
  });

  it('says in one line that the host is unknown', async () => {
    const error = await refusal(withParts(server.url, { hostname: 'nowhere.invalid', password: secret }));
    expect(error.message).toMatch(
      /^cannot connect to PostgreSQL at nowhere\.invalid:\d+\/maestro: .*ENOTFOUND nowhere\.invalid$/,
    );
  });

  it('says in one line that the database does not exist', async () => {
    const error = await refusal(withParts(server.url, { pathname: '/other' }));
    expect(error.message).toMatch(/\/other: database "other" does not exist$/);
  });

  it('says in one line that a password was not percent-encoded, without showing it', async () => {
    const error = await refusal(server.url.replace(/:[^:@/]*@/, `:${secret}%@`));
    expect(error).toMatchObject({ kind: 'unavailable', code: 'postgres.unreachable' });
    expect(error.message).not.toContain(secret);
    expect(error.message).toMatch(/\/maestro: its user or password has a % that is not percent-encoded \(%25\)$/);
  });

  it('honours what the address says of TLS', async () => {
    const error = await refusal(`${server.url}?sslmode=verify-full`);
    expect(error.message).toMatch(/does not support SSL/);
    const dataSource = await connectPostgres({
      url: `${server.url}?sslmode=disable`,
      poolSize: 1,
      applicationName: 'named-so',
      onIdleError: () => undefined,
    });
    expect(await dataSource.query(`SELECT current_setting('application_name') AS name`)).toEqual([
      { name: 'named-so' },
    ]);
    await dataSource.destroy();
  });

  it.each([
    ['postgres://user:word@db:5433/maestro?sslmode=disable', 'db:5433/maestro'],
    ['postgresql://user:word@db/maestro', 'db:5432/maestro'],
    ['user:word@db', 'an address that is not a URL (postgres://user:password@host:port/database)'],
  ])('describes %s as %s', (url, description) => {
    expect(describeTarget(url)).toBe(description);
  });
});

async function undoAll(dataSource: DataSource): Promise<void> {
  for (let left = migrationNames.length; left > 0; left--) await dataSource.undoLastMigration();
}

async function refusal(url: string): Promise<DomainError> {
  const error: unknown = await connectPostgres({
    url,
    poolSize: 1,
    applicationName: 'test',
    onIdleError: () => undefined,
  }).then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(DomainError);
  return error as DomainError;
}

function withParts(url: string, parts: Partial<Record<'hostname' | 'port' | 'password' | 'pathname', string>>): string {
  return Object.assign(new URL(url), parts).toString();
}

/** Columns, indexes, constraints and sequences of a schema, a line each. */
async function describeSchema(dataSource: DataSource, schema = 'maestro'): Promise<string[]> {
  const rows = await dataSource.query<{ line: string }[]>(
    `SELECT line FROM (
       SELECT format('%s.%s %s%s%s', table_name, column_name, data_type,
           CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END,
           coalesce(' DEFAULT ' || column_default, '')) AS line
         FROM information_schema.columns WHERE table_schema = $1
       UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = $1
       UNION ALL SELECT format('%s: %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
         WHERE connamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND contype IN ('c', 'f')
       UNION ALL SELECT format('sequence %s', sequence_name) FROM information_schema.sequences WHERE sequence_schema = $1
     ) lines ORDER BY line COLLATE "C"`,
    [schema],
  );
  return rows.map((row) => row.line);
}
