import { DataSource, type DataSourceOptions } from 'typeorm';
import {
  assertMigrated,
  connectPostgres,
  describeTarget,
  migratePostgres,
} from '../../src/adapters/postgres/data-source';
import { DomainError } from '../../src/domain/errors';
import { healingDefinitions, versionChanges } from '../../src/domain/operation/operation';
import { chooseFreePort } from '../../src/adapters/embedded-servers/free-port';
import { eventually } from '../support/eventually';
import { startTestPostgres } from '../support/embedded-servers';

// A database starts first, which takes its time on a busy machine.
jest.setTimeout(60_000);

const migrationNames = [
  'CreateSchedulersAndOperations1732150000000',
  'ChangeVersionsAndCancel1732233600000',
  'KeepChangesLonger1732233700000',
  'NameTheInstallation1732320000000',
  'PauseAndRollBack1732406400000',
];

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
    await undo(dataSource, migrationNames.length);
    expect((await describeSchema(dataSource)).filter((line) => !line.includes('migrations'))).toEqual([]);
    expect(await migratePostgres(dataSource)).toEqual(migrationNames);
    expect(await describeSchema(dataSource)).toEqual(first);
  });

  it('numbers what ended before, and loses no row, through up, down and up', async () => {
    await migratePostgres(dataSource);
    await undo(dataSource, migrationNames.length - 1);
    const minutes = (count: number) => `now() - interval '1 hour' + interval '${count} minutes'`;
    await dataSource.query(`
      INSERT INTO maestro.operations (scheduler_name, definition, input, priority, actor, status, hidden, finished_at) VALUES
        ('arena', 'third',  '{}', 1, 'api', 'finished', false, ${minutes(3)}),
        ('arena', 'first',  '{}', 1, 'api', 'finished', false, ${minutes(1)}),
        ('arena', 'hidden', '{}', 1, 'api', 'finished', true,  ${minutes(2)}),
        ('arena', 'second', '{}', 1, 'api', 'error',    false, ${minutes(1)}),
        ('other', 'only',   '{}', 1, 'api', 'canceled', false, ${minutes(9)}),
        ('arena', 'open',   '{}', 1, 'api', 'pending',  false, NULL);
      INSERT INTO maestro.operations (scheduler_name, definition, input, priority, actor, status, holds_slot,
        lease_expires_at) VALUES ('arena', 'running', '{}', 1, 'api', 'in_progress', true, now())`);
    const rows = () =>
      dataSource.query<{ definition: string; status: string }[]>(
        'SELECT definition, status FROM maestro.operations ORDER BY seq',
      );
    const numbered = () =>
      dataSource.query<unknown[]>(
        `SELECT scheduler_name AS scheduler, final_number AS number, definition FROM maestro.operations
         WHERE final_number IS NOT NULL ORDER BY 1, 2`,
      );
    const before = await rows();

    await migratePostgres(dataSource);
    expect(await rows()).toEqual(before);
    const ended = [
      { scheduler: 'arena', number: '1', definition: 'first' },
      { scheduler: 'arena', number: '2', definition: 'second' },
      { scheduler: 'arena', number: '3', definition: 'third' },
      { scheduler: 'other', number: '1', definition: 'only' },
    ];
    expect(await numbered()).toEqual(ended);
    await dataSource.query(`
      UPDATE maestro.operations SET status = 'canceled', finished_at = now() WHERE definition = 'open';
      UPDATE maestro.operations SET holds_slot = false, not_before = now() WHERE definition = 'running';
      INSERT INTO maestro.operations (scheduler_name, definition, input, priority, actor, reason, cancel_requested_at)
        VALUES ('other', 'switch_active_version', '{}', 20, 'system', 'because', now())`);
    ended.splice(3, 0, { scheduler: 'arena', number: '4', definition: 'open' });
    expect(await numbered()).toEqual(ended);

    await undo(dataSource, migrationNames.length - 1);
    expect(await rows()).toEqual([
      ...before.slice(0, 5),
      { definition: 'open', status: 'canceled' },
      // The code of that schema knows no operation that waits: another worker takes it up.
      { definition: 'running', status: 'pending' },
      { definition: 'switch_active_version', status: 'pending' },
    ]);

    await migratePostgres(dataSource);
    expect(await numbered()).toEqual(ended);
  });

  it('names the same operations in its rules as the domain', async () => {
    await migratePostgres(dataSource);
    const namesIn = async (index: string): Promise<string[]> => {
      const [row] = await dataSource.query<{ indexdef: string }[]>(
        `SELECT indexdef FROM pg_indexes WHERE schemaname = 'maestro' AND indexname = $1`,
        [index],
      );
      const [, rule = ''] = /\(\(?definition (?:=|<>) A(?:NY|LL) (.*?\])/.exec(row!.indexdef) ?? [];
      return [...rule.matchAll(/'(\w+)'/g)].map(([, name]) => name!);
    };
    expect((await namesIn('operations_one_version_change')).sort()).toEqual([...versionChanges].sort());
    expect((await namesIn('operations_version_changes')).sort()).toEqual([...versionChanges].sort());
    expect((await namesIn('operations_one_in_progress')).sort()).toEqual([...healingDefinitions].sort());
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

  describe('of a process whose statements may take a short time only', () => {
    let hurried: DataSource;

    beforeEach(async () => {
      hurried = await new DataSource({
        ...(dataSource.options as Extract<DataSourceOptions, { type: 'postgres' }>),
        extra: { statement_timeout: 100, query_timeout: 200 },
      }).initialize();
    });
    afterEach(() => hurried.destroy());

    /** Until a statement has waited for longer than such a process would wait. */
    const untilOneWaitsLong = (): Promise<void> =>
      eventually(async () => {
        const waiting = await dataSource.query<unknown[]>(
          `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '400 ms'`,
        );
        expect(waiting).toHaveLength(1);
      });

    it('is migrated however long a statement of a migration takes', async () => {
      await migratePostgres(dataSource);
      await undo(dataSource, 1);
      const holder = dataSource.createQueryRunner();
      await holder.startTransaction();
      await holder.query('LOCK TABLE maestro.operations IN ACCESS EXCLUSIVE MODE');
      const ran = migratePostgres(hurried);
      await Promise.race([untilOneWaitsLong(), ran]);
      await holder.commitTransaction();
      await holder.release();
      expect(await ran).toEqual(migrationNames.slice(-1));
    });

    it('waits for another one that migrates, and says so', async () => {
      const holder = await lockedMigrations();
      const told: string[] = [];
      const ran = migratePostgres(hurried, { onWait: (message) => told.push(message) });
      await Promise.race([untilOneWaitsLong(), ran]);
      await holder.free();
      expect(await ran).toEqual(migrationNames);
      expect(told).toEqual(['another process migrates the database; this one waits up to 1800 s for it']);
    });

    it('gives up in the end, and says why', async () => {
      const holder = await lockedMigrations();
      await expect(migratePostgres(hurried, { waitMs: 50 })).rejects.toMatchObject({
        kind: 'unavailable',
        code: 'postgres.migration_locked',
      });
      await holder.free();
    });

    async function lockedMigrations(): Promise<{ free(): Promise<void> }> {
      const holder = dataSource.createQueryRunner();
      await holder.query(`SELECT pg_advisory_lock(hashtext('maestro.migrations'))`);
      return {
        free: async () => {
          await holder.query(`SELECT pg_advisory_unlock(hashtext('maestro.migrations'))`);
          await holder.release();
        },
      };
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
      message: `the database lacks ${migrationNames.length} migration(s) of this version: run "maestro migrate" first`,
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
    await undo(dataSource, migrationNames.length);
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

async function undo(dataSource: DataSource, count: number): Promise<void> {
  for (let left = count; left > 0; left--) await dataSource.undoLastMigration();
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

/** Columns, indexes, constraints, sequences, functions and triggers of a schema, a line each. */
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
       UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = to_regnamespace($1)
       UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE c.relnamespace = to_regnamespace($1) AND NOT t.tgisinternal
     ) lines ORDER BY line COLLATE "C"`,
    [schema],
  );
  return rows.map((row) => row.line);
}
