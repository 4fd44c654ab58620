import { create, type DescMessage, type JsonValue, type MessageInitShape } from '@bufbuild/protobuf';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { PostgresSchedulerHistories } from '../../src/adapters/postgres/postgres-scheduler-histories';
import { V10Database } from '../../src/adapters/postgres/v10-database';
import { decodeMessage, encodeMessage } from '../../src/api/http/protojson';
import { definitionFromMessage } from '../../src/api/management/scheduler-messages';
import { SchedulersHandlers } from '../../src/api/management/schedulers-handlers';
import { messageOf } from '../../src/domain/errors';
import { definitionChanges } from '../../src/domain/scheduler/definition-changes';
import type { SchedulerHistory } from '../../src/domain/scheduler/scheduler-history';
import { isComplete, outcomeLines, summaryLine } from '../../src/features/importing/import-report';
import { SchedulerImport, type SchedulerOutcome } from '../../src/features/importing/scheduler-import';
import { SchedulersService } from '../../src/features/schedulers/schedulers.service';
import {
  CreateSchedulerRequestSchema,
  GetSchedulerRequestSchema,
  GetSchedulerResponseSchema,
  GetSchedulerVersionsRequestSchema,
  GetSchedulerVersionsResponseSchema,
} from '../../src/proto/gen/api/v1/schedulers_pb';
import { importFromV10, migrate } from '../../src/roles/commands';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { startTestPostgres } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import { openPostgres, type PostgresUnderTest } from '../support/open-postgres';
import { openV10Database, type V10UnderTest } from '../support/v10-database';

let postgres: PostgresUnderTest;
let v10: V10UnderTest;
let histories: PostgresSchedulerHistories;

beforeAll(async () => {
  postgres = await openPostgres();
  histories = new PostgresSchedulerHistories(postgres.unitOfWork);
}, 60_000);
afterAll(() => postgres.close());
beforeEach(async () => {
  await postgres.clear();
  v10 = await openV10Database(postgres.url);
});
afterEach(() => v10.close());

/** One run of an import, as the command does it. */
async function run(
  options: { isDryRun?: boolean; names?: string[]; from?: string; histories?: PostgresSchedulerHistories } = {},
): Promise<SchedulerOutcome[]> {
  const source = await V10Database.open(options.from ?? v10.url);
  try {
    const { operations, unitOfWork } = postgres;
    const work = new SchedulerImport(source, options.histories ?? histories, operations, unitOfWork);
    const outcomes: SchedulerOutcome[] = [];
    const { isDryRun = false, names } = options;
    for await (const outcome of work.run({ isDryRun, ...(names ? { names } : {}) })) outcomes.push(outcome);
    return outcomes;
  } finally {
    await source.close();
  }
}

const importOne = async (name: string): Promise<SchedulerOutcome> => (await run({ names: [name] }))[0]!;
const stored = async (name: string, version?: string) => (await postgres.schedulers.getScheduler(name, version))!;
const definitionOf = async (name: string, version?: string) => (await stored(name, version)).definition;

type Sql = (text: string) => Promise<Record<string, unknown>[]>;

/** Every row with who wrote it last and, if asked, who locked it: equal before and after means that nothing was written. */
async function rowsOf(sql: Sql, schema: string, columns = 'xmin, xmax'): Promise<Record<string, unknown>[]> {
  const tables = ['schedulers', 'scheduler_versions'].map((table) => `${schema}.${table}`);
  const selects = tables.map((table) => `SELECT ${columns}, t::text AS row FROM ${table} t`);
  return sql(`${selects.join(' UNION ALL ')} ORDER BY row`);
}
const ours = (columns?: string) => rowsOf((text) => postgres.sql(text), 'maestro', columns);
const theirs = () => rowsOf((text) => v10.sql(text), 'public');

const runnable = ['buffered', 'drifted', 'everything', 'lenient', 'old-row', 'rowless', 'simple'];

describe('an import from Maestro v10', () => {
  it('takes over what can be read, says why it does not take the rest, and does the same in a dry run', async () => {
    const expected: [string, string, string | RegExp][] = [
      ['Old_Name', 'skipped', /Scheduler\.Name: Name must follow the public RFC 1123/],
      ['broken', 'skipped', /^its active definition is no YAML: line 6, column \d+$/],
      ['buffered', 'imported', '1 version, active v1.0.0'],
      ['drifted', 'imported', '1 version, active v1.0.0'],
      ['everything', 'imported', '3 versions, active v1.1.0'],
      ['half-broken', 'skipped', 'version v0.9.0 cannot be read: RoomsReplicas of this v10 scheduler must be a number'],
      ['lenient', 'imported', '2 versions, active v1.1.0'],
      ['old-row', 'imported', '1 version, active v1.0.0'],
      ['rowless', 'imported', '2 versions, active v1.4.0'],
      ['simple', 'imported', '1 version, active v1.0.0'],
    ];
    const before = [await ours(), await theirs()];
    const dry = await run({ isDryRun: true });
    expect(dry.map(({ name, outcome, detail }) => [name, outcome, detail])).toEqual(
      expected.map(([name, outcome, detail]): unknown[] => [
        name,
        outcome,
        typeof detail === 'string' ? detail : expect.stringMatching(detail),
      ]),
    );
    expect([await ours(), await theirs()]).toEqual(before);

    expect(await run()).toEqual(dry);
    expect((await postgres.schedulers.listSchedulers({})).map(({ name }) => name)).toEqual(runnable);
    // A definition may hold secrets, and the parser's messages quote it.
    expect(JSON.stringify(dry)).not.toContain('s3cret');
  });

  it('changes nothing when it runs again, here or in v10', async () => {
    await run();
    const before = [await ours('xmin'), await theirs()];
    const again = await run();
    expect(again.filter(({ outcome }) => outcome === 'unchanged').map(({ name }) => name)).toEqual(runnable);
    expect(again.filter(({ outcome }) => outcome === 'skipped')).toHaveLength(3);
    expect(again.flatMap(({ remarks }) => remarks)).toEqual([]);
    expect([await ours('xmin'), await theirs()]).toEqual(before);

    const everything = await ours();
    await run({ isDryRun: true });
    expect(await ours()).toEqual(everything);
  });

  it('makes no operation', async () => {
    await run();
    expect(await postgres.sql('SELECT definition FROM maestro.operations')).toEqual([]);
  });

  it('keeps times, versions, what each rolls back to, and the last downscale', async () => {
    await run({ names: ['everything'] });
    expect(await stored('everything')).toMatchObject({
      state: 'in-sync',
      version: 'v1.1.0',
      rollbackVersion: 'v1.0.0',
      createdAt: new Date('2023-03-01T08:00:00Z'),
      lastDownscaleAt: new Date('2024-06-02T14:59:58.123Z'),
    });
    expect(await postgres.schedulers.listVersions('everything')).toEqual([
      { version: 'v2.0.0', isActive: false, createdAt: new Date('2024-05-01T10:00:00.123Z') },
      { version: 'v1.1.0', isActive: true, createdAt: new Date('2023-04-01T08:00:00Z') },
      { version: 'v1.0.0', isActive: false, createdAt: new Date('2023-03-01T08:00:01Z') },
    ]);
    expect((await stored('everything', 'v2.0.0')).rollbackVersion).toBe('v1.1.0');
    expect((await definitionOf('everything', 'v1.0.0')).roomsReplicas).toBe(3);
    expect((await definitionOf('everything', 'v2.0.0')).spec.containers[0]?.image).toBe('registry.example.com/go:2.0');
    await run({ names: ['simple'] });
    expect(await stored('simple')).toMatchObject({ rollbackVersion: '', lastDownscaleAt: null });
  });

  it("gives what an old row lacks v10's defaults, and a scheduler that was left in a change its state", async () => {
    const { remarks } = await importOne('old-row');
    expect(remarks).toEqual([expect.stringContaining('is "creating" in v10')]);
    expect((await stored('old-row')).state).toBe('in-sync');
    expect(await definitionOf('old-row')).toMatchObject({
      spec: { restartPolicy: 'Never', containers: [{ command: [], environment: [], ports: [] }] },
      autoscaling: {
        cooldown: 0,
        policy: { parameters: { roomOccupancy: { readyTarget: 0.5, downThreshold: 0.99 } } },
      },
      forwarders: [],
      annotations: {},
      labels: {},
      matchAllocation: { maxMatches: 1 },
    });
  });

  it('keeps a definition that v10 accepted and we would refuse, because rooms run with it, and says what is wrong', async () => {
    const { outcome, remarks } = await importOne('lenient');
    expect(outcome).toBe('imported');
    expect(remarks).toEqual([
      expect.stringMatching(
        /^is kept although it would be refused here: Scheduler\.MaxSurge: MaxSurge must be a number/,
      ),
      'keeps versions that would be refused here: v1.0.0',
    ]);
    expect((await definitionOf('lenient')).maxSurge).toBe('0%');
    expect((await definitionOf('lenient', 'v1.0.0')).portRange).toEqual({ start: 40_000, end: 70_000 });
  });

  it('takes what runs for the active version, when the row of the version says otherwise, and says so', async () => {
    const { remarks } = await importOne('drifted');
    expect(remarks).toEqual([
      'runs something else than v10 keeps as v1.0.0: roomsReplicas, spec.containers[0].image (major); what runs becomes v1.0.0',
    ]);
    const active = await definitionOf('drifted');
    expect(active.spec.containers[0]?.image).toBe('registry.example.com/chess:1-hotfix');
    expect(await definitionOf('drifted', 'v1.0.0')).toEqual(active);
  });

  it('adds the active version when v10 lost its row', async () => {
    const { remarks } = await importOne('rowless');
    expect(remarks).toEqual(['lacks a row for its active version v1.4.0: it gets one']);
    expect((await postgres.schedulers.listVersions('rowless')).map(({ version }) => version).sort()).toEqual([
      'v1.0.0',
      'v1.4.0',
    ]);
    expect(await definitionOf('rowless', 'v1.4.0')).toEqual(await definitionOf('rowless'));
  });

  it.each([
    ['a field of a newer v10', 'RoomsReplicas: 2', 'RoomsReplicas: 2\nTopology:\n  Zones: [a]\nFuture: 0', 'Topology'],
    [
      'a variable with a value and a source',
      'Environment: []',
      'Environment: [{Name: A, Value: x, ValueFrom: {FieldRef: {fieldPath: p}}}]',
      'Containers[0].Environment[0].ValueFrom.FieldRef.fieldPath',
    ],
  ])('says what it leaves out: %s', async (_, of, becomes, path) => {
    await v10.sql(`UPDATE public.schedulers SET yaml = replace(yaml, $1, $2) WHERE name = 'simple'`, [of, becomes]);
    expect((await importOne('simple')).remarks).toContain(
      `has fields that mean nothing here and are left out: ${path}`,
    );
  });

  it.each([
    ['no active version', `UPDATE public.schedulers SET version = NULL`, 'it has no active version'],
    ['a deletion under way', `UPDATE public.schedulers SET state = 'terminating'`, 'v10 is deleting it'],
    ['no YAML', `UPDATE public.schedulers SET yaml = ''`, 'its active definition is no YAML of an object'],
    ['a list', `UPDATE public.schedulers SET yaml = '- a'`, 'its active definition is no YAML of an object'],
    ['a version without YAML', `UPDATE public.scheduler_versions SET yaml = NULL`, 'version v1.0.0 has no YAML'],
    [
      'text that our database cannot hold',
      `UPDATE public.schedulers SET yaml = replace(yaml, 'Toleration: ""', 'Toleration: "\\0"')`,
      'its active definition holds a NUL character, which the database cannot keep',
    ],
  ])('skips a scheduler with %s', async (_, statement, reason) => {
    await v10.sql(statement);
    expect(await importOne('simple')).toEqual({ name: 'simple', outcome: 'skipped', detail: reason, remarks: [] });
    expect(await postgres.schedulers.getScheduler('simple')).toBeNull();
  });

  it('takes the named schedulers only, and says which of them v10 lacks', async () => {
    const outcomes = await run({ names: ['simple', 'nobody', 'buffered'] });
    expect(outcomes.map(({ name, outcome }) => [name, outcome])).toEqual([
      ['buffered', 'imported'],
      ['simple', 'imported'],
      ['nobody', 'skipped'],
    ]);
    expect((await postgres.schedulers.listSchedulers({})).map(({ name }) => name)).toEqual(['buffered', 'simple']);
  });

  it('tells running roles of each scheduler', async () => {
    const heard: (string | null)[] = [];
    const stop = new AbortController();
    const watching = postgres.schedulers.watchChanges((name) => heard.push(name), stop.signal);
    await eventually(() => expect(heard).toEqual([null]));
    await run({ names: ['simple', 'buffered'] });
    await eventually(() => expect(heard).toEqual([null, 'buffered', 'simple']));
    stop.abort();
    await watching;
  });

  it('stores whole schedulers only, and goes on with the others, when one cannot be stored', async () => {
    await postgres.sql(`ALTER TABLE maestro.scheduler_versions ADD CONSTRAINT no_v2 CHECK (version <> 'v2.0.0')`);
    try {
      const outcomes = await run({ names: ['everything', 'simple'] });
      expect(outcomes).toMatchObject([
        { name: 'everything', outcome: 'skipped', detail: expect.stringContaining('could not be stored') },
        { name: 'simple', outcome: 'imported' },
      ]);
      expect(await postgres.sql(`SELECT FROM maestro.schedulers WHERE name = 'everything'`)).toEqual([]);
    } finally {
      await postgres.sql('ALTER TABLE maestro.scheduler_versions DROP CONSTRAINT no_v2');
    }
    expect((await importOne('everything')).outcome).toBe('imported');
  });

  it('leaves whole schedulers when it dies in the middle, and another run does the rest', async () => {
    const other = await postgres.another('test-dies');
    class Dying extends PostgresSchedulerHistories {
      override async add(history: SchedulerHistory): Promise<void> {
        await super.add(history);
        if (history.name !== 'everything') return;
        await postgres.killConnections('test-dies');
        await eventually(async () => expect(await postgres.killConnections('test-dies')).toBe(0));
      }
    }
    const source = await V10Database.open(v10.url);
    const work = new SchedulerImport(source, new Dying(other.unitOfWork), other.operations, other.unitOfWork);
    const outcomes: string[] = [];
    await expect(async () => {
      for await (const { name } of work.run({ isDryRun: false, names: runnable })) outcomes.push(name);
    }).rejects.toMatchObject({ code: 'postgres.unavailable' });
    await source.close();
    expect(outcomes).toEqual(['buffered', 'drifted']);
    expect((await postgres.schedulers.listSchedulers({})).map(({ name }) => name)).toEqual(outcomes);
    expect(await postgres.sql(`SELECT FROM maestro.scheduler_versions WHERE scheduler_name = 'everything'`)).toEqual(
      [],
    );

    expect((await run({ names: runnable })).map(({ outcome }) => outcome)).toEqual([
      ...['unchanged', 'unchanged'],
      ...Array.from({ length: runnable.length - 2 }, () => 'imported'),
    ]);
  });

  it('stores more versions than one statement writes', async () => {
    await v10.sql(`
      INSERT INTO public.scheduler_versions (name, version, yaml, created_at)
      SELECT name, 'v1.' || n || '.0', yaml, created_at + n * interval '1 minute'
      FROM public.schedulers, generate_series(1, 450) AS n WHERE name = 'simple'`);
    expect((await importOne('simple')).detail).toBe('451 versions, active v1.0.0');
    expect(await postgres.schedulers.listVersions('simple')).toHaveLength(451);
    expect((await importOne('simple')).outcome).toBe('unchanged');
  });

  it("shows a client what v10 showed, in v10's JSON", async () => {
    await run({ names: ['everything'] });
    const handlers = new SchedulersHandlers(
      new SchedulersService(
        postgres.schedulers,
        undefined as never,
        postgres.operations,
        undefined as never,
        postgres.unitOfWork,
      ),
    );
    const answer = await handlers.getScheduler(create(GetSchedulerRequestSchema, { schedulerName: 'everything' }));
    expect(json(GetSchedulerResponseSchema, answer)).toEqual({ scheduler: everythingInV10sJson });
    const versions = await handlers.getSchedulerVersions(
      create(GetSchedulerVersionsRequestSchema, { schedulerName: 'everything' }),
    );
    expect(json(GetSchedulerVersionsResponseSchema, versions)).toEqual({
      versions: [
        { version: 'v2.0.0', isActive: false, createdAt: '2024-05-01T10:00:00.123Z' },
        { version: 'v1.1.0', isActive: true, createdAt: '2023-04-01T08:00:00Z' },
        { version: 'v1.0.0', isActive: false, createdAt: '2023-03-01T08:00:01Z' },
      ],
    });
  });

  it('sees no change when a client posts again what runs, so no room is made anew', async () => {
    await run();
    const request = decodeMessage(CreateSchedulerRequestSchema, everythingInV10sJson as unknown as JsonValue);
    expect(definitionChanges(await definitionOf('everything'), definitionFromMessage(request))).toEqual([]);
  });
});

describe('a scheduler that is here already', () => {
  /** v10 makes a version that says `becomes` where the active one says `of`, and switches to it. */
  const v10Makes = (name: string, version: string, of: string, becomes: string) =>
    v10.sql(
      `WITH changed AS (
         UPDATE public.schedulers SET version = $2, yaml = replace(yaml, $3, $4), updated_at = now()
         WHERE name = $1 RETURNING name, yaml)
       INSERT INTO public.scheduler_versions (name, version, yaml, rollback_version, created_at)
       SELECT name, $2, yaml, 'v1.0.0', '2025-01-01' FROM changed`,
      [name, version, of, becomes],
    );

  beforeEach(async () => {
    await importOne('simple');
  });

  it("follows v10's later versions as long as nobody changed it here", async () => {
    await v10Makes('simple', 'v1.1.0', 'RoomsReplicas: 2', 'RoomsReplicas: 7');
    const expected = {
      name: 'simple',
      outcome: 'updated',
      detail: 'new versions v1.1.0; active v1.0.0 → v1.1.0 (roomsReplicas)',
      remarks: [],
    };
    expect(await run({ isDryRun: true, names: ['simple'] })).toEqual([expected]);
    expect((await stored('simple')).version).toBe('v1.0.0');
    expect(await importOne('simple')).toEqual(expected);
    expect(await stored('simple')).toMatchObject({
      version: 'v1.1.0',
      rollbackVersion: 'v1.0.0',
      definition: { roomsReplicas: 7 },
    });
    expect((await importOne('simple')).outcome).toBe('unchanged');

    await v10.sql(`UPDATE public.schedulers SET version = 'v1.0.0', yaml = replace(yaml, 's: 7', 's: 2')`);
    expect((await importOne('simple')).detail).toBe('active v1.1.0 → v1.0.0 (roomsReplicas)');
    expect(await stored('simple')).toMatchObject({ version: 'v1.0.0', definition: { roomsReplicas: 2 } });
  });

  it('follows a change of the game, which has no version', async () => {
    await v10.sql(`UPDATE public.schedulers SET game = 'checkers' WHERE name = 'simple'`);
    expect(await importOne('simple')).toMatchObject({ outcome: 'updated', detail: 'v1.0.0 says otherwise: game' });
    expect((await postgres.schedulers.listSettings())[0]?.game).toBe('checkers');
  });

  it('is unchanged when only its last downscale moved, in v10 or here', async () => {
    await v10.sql(
      `UPDATE public.schedulers SET yaml = replace(yaml, '0001-01-01T', '2025-01-01T') WHERE name = 'simple'`,
    );
    expect((await importOne('simple')).outcome).toBe('unchanged');
    await postgres.schedulers.setLastDownscale('simple', new Date('2025-06-01T00:00:00Z'));
    await v10Makes('simple', 'v1.1.0', 'Replicas: 2', 'Replicas: 3');
    expect((await importOne('simple')).outcome).toBe('updated');
    expect((await stored('simple')).lastDownscaleAt).toEqual(new Date('2025-06-01T00:00:00Z'));
  });

  const conflicts: [string, () => Promise<unknown>, string | RegExp][] = [
    [
      'has another version active than v10 because someone switched here',
      async () => {
        await v10Makes('simple', 'v1.1.0', 'Replicas: 2', 'Replicas: 3');
        await importOne('simple');
        await postgres.schedulers.activateVersion('simple', 'v1.0.0');
      },
      'it was changed here after its import: v1.0.0 is active here, v1.1.0 in v10',
    ],
    [
      'got a version here',
      () =>
        postgres.schedulers.addVersion('simple', {
          version: 'v1.1.0',
          definition: aSchedulerDefinition(),
          rollbackVersion: 'v1.0.0',
        }),
      'it has versions here that v10 lacks: v1.1.0',
    ],
    [
      'got a version of the same number here and in v10',
      async () => {
        await postgres.schedulers.addVersion('simple', {
          version: 'v1.1.0',
          definition: aSchedulerDefinition(),
          rollbackVersion: 'v1.0.0',
        });
        await v10Makes('simple', 'v1.1.0', 'Replicas: 2', 'Replicas: 3');
      },
      'versions of the same number were made here and in v10: v1.1.0',
    ],
    ['is being deleted', () => postgres.schedulers.setState('simple', 'terminating'), 'it is being deleted here'],
    [
      'is about to get a version',
      async () => {
        await postgres.operations.insert({
          scheduler: 'simple',
          definition: 'switch_active_version',
          input: { newActiveVersion: 'v1.0.0' },
          actor: 'api',
        });
        await v10Makes('simple', 'v1.1.0', 'Replicas: 2', 'Replicas: 3');
      },
      'an operation is changing its version here',
    ],
    [
      'was made here, by itself',
      async () => {
        await postgres.schedulers.deleteScheduler((await postgres.schedulers.getScheduler('simple'))!);
        await postgres.schedulers.createScheduler('simple', aSchedulerDefinition());
      },
      /^it is another scheduler of this name: made \S+Z here, 2023-02-01T08:00:00\.123Z in v10$/,
    ],
  ];
  it.each(conflicts)('is left as it is when it %s', async (_, happens, reason) => {
    await happens();
    const before = [await stored('simple'), await postgres.schedulers.listVersions('simple')];
    for (const isDryRun of [true, false]) {
      expect(await run({ isDryRun, names: ['simple'] })).toEqual([
        {
          name: 'simple',
          outcome: 'conflict',
          detail: typeof reason === 'string' ? reason : expect.stringMatching(reason),
          remarks: [],
        },
      ]);
    }
    expect([await stored('simple'), await postgres.schedulers.listVersions('simple')]).toEqual(before);
  });

  it('is not touched by an import that waited while someone changed it', async () => {
    await v10Makes('simple', 'v1.1.0', 'Replicas: 2', 'Replicas: 3');
    let importing: Promise<SchedulerOutcome> | undefined;
    const other = await postgres.another();
    await other.unitOfWork.run(async () => {
      await other.schedulers.setState('simple', 'on-error');
      importing = importOne('simple');
      await eventually(async () => {
        expect(await postgres.sql(`SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)).toHaveLength(1);
      });
    });
    expect(await importing).toMatchObject({ outcome: 'conflict' });
    expect(await stored('simple')).toMatchObject({ state: 'on-error', version: 'v1.0.0' });
  });
});

describe("v10's database", () => {
  it('may be the one that we live in', async () => {
    const same = await openV10Database(postgres.url, { inSameDatabase: true });
    try {
      const outcomes = await run({ from: same.url });
      expect(outcomes.filter(({ outcome }) => outcome === 'imported').map(({ name }) => name)).toEqual(runnable);
      expect((await stored('simple')).definition.roomsReplicas).toBe(2);
      expect((await run({ from: same.url, names: ['simple'] }))[0]?.outcome).toBe('unchanged');
    } finally {
      await same.close();
    }
  });

  it('is read as it was at one moment, while v10 writes', async () => {
    const source = await V10Database.open(v10.url);
    try {
      await v10.sql(`DELETE FROM public.schedulers WHERE name = 'simple'`);
      await v10.sql(`UPDATE public.schedulers SET game = 'later'`);
      const games: string[] = [];
      for await (const { game } of source.read(['everything', 'simple'])) games.push(game);
      expect(games).toEqual(['go', 'chess']);
    } finally {
      await source.close();
    }
  });

  it('needs nothing but SELECT, and is never written to', async () => {
    const reader = `reader_${new URL(v10.url).pathname.slice(1)}`;
    await v10.sql(`CREATE ROLE ${reader} LOGIN PASSWORD 'r'`);
    const url = new URL(v10.url);
    [url.username, url.password] = [reader, 'r'];
    await expect(V10Database.open(url.href)).rejects.toMatchObject({
      kind: 'permission_denied',
      code: 'v10.forbidden',
    });
    await v10.sql(`GRANT SELECT ON public.schedulers, public.scheduler_versions TO ${reader}`);
    const before = await theirs();
    expect((await run({ from: url.href, names: ['simple'] }))[0]?.outcome).toBe('imported');
    expect(await theirs()).toEqual(before);
  });

  it.each(['PGPASSWORD', 'PGPASSFILE'])(
    'is opened with a password that is not in its address but in %s',
    async (variable) => {
      const url = new URL(v10.url);
      const password = decodeURIComponent(url.password);
      url.password = '';
      const folder = mkdtempSync(join(tmpdir(), 'maestro-pgpass-'));
      const file = join(folder, 'pgpass');
      writeFileSync(file, `*:*:*:*:${password}\n`, { mode: 0o600 });
      process.env[variable] = variable === 'PGPASSFILE' ? file : password;
      try {
        await (await V10Database.open(url.href)).close();
      } finally {
        delete process.env[variable];
        rmSync(folder, { recursive: true });
      }
      await expect(V10Database.open(url.href)).rejects.toMatchObject({ code: 'v10.unreachable' });
    },
  );

  it('is opened in a transaction in which nothing can be written', async () => {
    const source = await V10Database.open(v10.url);
    try {
      const [session] = await v10.sql<{ query: string }>(
        `SELECT pid FROM pg_stat_activity WHERE application_name = 'maestro-import' AND state = 'idle in transaction'`,
      );
      expect(session).toBeDefined();
      const { client } = source as unknown as { client: Client };
      await expect(client.query('DELETE FROM public.users')).rejects.toThrow(/read-only transaction/);
    } finally {
      await source.close();
    }
  });

  it.each([
    ['an address that is none', () => 'db.example.com', 'v10.bad_url', /must be a URL: postgres:\/\/user:password@/],
    [
      'nobody there',
      () => 'postgres://u:s3cret@127.0.0.1:1/x',
      'v10.unreachable',
      /^cannot connect to Maestro v10's PostgreSQL at 127\.0\.0\.1:1\/x: .*ECONNREFUSED/,
    ],
    [
      'a wrong password',
      () => v10.url.replace(/:[^:@/]+@/, ':s3cret@'),
      'v10.unreachable',
      /password authentication failed/,
    ],
    ['no v10', () => postgres.url, 'v10.not_v10', /relation "public\.schedulers" does not exist/],
  ])('is refused in one line without its password: %s', async (_, url, code, message) => {
    const refusal: unknown = await V10Database.open(url()).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code, message: expect.stringMatching(message) });
    expect((refusal as Error).message).not.toMatch(/s3cret|\n/);
  });

  it('is refused when its migrations are not done', async () => {
    await v10.sql('ALTER TABLE public.scheduler_versions DROP COLUMN rollback_version');
    await expect(V10Database.open(v10.url)).rejects.toMatchObject({
      code: 'v10.not_v10',
      message: expect.stringMatching(/is no database of a Maestro v10 that is up to date: column "rollback_version"/),
    });
  });

  it('ends the import with one line when it goes away', async () => {
    const source = await V10Database.open(v10.url);
    await postgres.killConnections('maestro-import');
    const reading = source.read()[Symbol.asyncIterator]().next();
    await expect(reading).rejects.toMatchObject({ kind: 'unavailable', code: 'v10.unreadable' });
    await source.close();
  });
});

describe('the report', () => {
  it('has a line per scheduler and one per remark, and tells whether everything is here', () => {
    const outcome = {
      name: 'a',
      outcome: 'imported',
      detail: '1 version',
      remarks: ['is "creating"\n\u001b[31m'],
    } as const;
    expect(outcomeLines({ ...outcome, remarks: [...outcome.remarks] })).toBe(
      'imported   a: 1 version\n  - is "creating" [31m\n',
    );
    expect(outcomeLines({ name: 'b', outcome: 'unchanged', detail: '', remarks: [] })).toBe('unchanged  b\n');
    expect(summaryLine(['imported', 'imported', 'skipped'], true)).toBe(
      '2 imported, 0 updated, 0 unchanged, 0 conflict, 1 skipped (dry run: nothing was written)\n',
    );
    expect(isComplete(['imported', 'updated', 'unchanged'])).toBe(true);
    expect([isComplete(['imported', 'skipped']), isComplete(['conflict'])]).toEqual([false, false]);
  });
});

describe('the commands', () => {
  /** What a command prints, and what it answers or refuses with. `main.ts` adds the exit code. */
  async function command<T>(target: string, work: () => Promise<T>): Promise<{ lines: string[]; answer: T | string }> {
    let printed = '';
    const write = jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
      printed += text.toString();
      return true;
    });
    const former = process.env.MAESTRO_POSTGRES_URL;
    process.env.MAESTRO_POSTGRES_URL = target;
    try {
      const answer = await work().catch(messageOf);
      return { lines: printed.trim().split('\n'), answer };
    } finally {
      write.mockRestore();
      if (former === undefined) delete process.env.MAESTRO_POSTGRES_URL;
      else process.env.MAESTRO_POSTGRES_URL = former;
    }
  }
  const importing = (options: { dryRun?: boolean; scheduler?: string[] } = {}, from = v10.url, target = postgres.url) =>
    command(target, () => importFromV10({ logConfig: 'production', from, ...options }));
  const migrating = (target: string) => command(target, () => migrate({ logConfig: 'production' }));
  const addressOf = (url: string) => `${new URL(url).host}${new URL(url).pathname}`;

  it('import what v10 has, print what became of each, and tell whether all of it is here', async () => {
    const scheduler = ['simple', 'buffered'];
    const lines = [
      `from ${addressOf(v10.url)} into ${addressOf(postgres.url)}`,
      'imported   buffered: 1 version, active v1.0.0',
      'imported   simple: 1 version, active v1.0.0',
    ];
    const summary = '2 imported, 0 updated, 0 unchanged, 0 conflict, 0 skipped';
    const dryLines = [...lines, `${summary} (dry run: nothing was written)`];
    expect(await importing({ scheduler, dryRun: true })).toEqual({ answer: true, lines: dryLines });
    expect(await postgres.schedulers.listSettings()).toEqual([]);
    expect(await importing({ scheduler })).toEqual({ answer: true, lines: [...lines, summary] });
    expect(await postgres.schedulers.listSettings()).toHaveLength(2);

    const all = await importing();
    expect(all.answer).toBe(false);
    expect(all.lines.at(-1)).toBe('5 imported, 0 updated, 2 unchanged, 0 conflict, 3 skipped');
    expect(all.lines.join('\n')).not.toContain(new URL(v10.url).password);
  });

  it('ask for "migrate" first, and "migrate" keeps v10 from losing its tables in the same database', async () => {
    const server = await startTestPostgres();
    const same = await openV10Database(server.url, { inSameDatabase: true });
    try {
      const { answer } = await importing({}, same.url, server.url);
      expect(answer).toMatch(/^the database lacks .* run "maestro migrate" first$/);

      const statement = 'ALTER ROLE maestro IN DATABASE "maestro" SET search_path = public';
      expect((await migrating(server.url)).answer).toContain(`run "${statement};" and restart v10`);
      expect(await same.sql(`SELECT to_regnamespace('maestro') AS ours`)).toEqual([{ ours: null }]);

      await same.sql(statement);
      expect((await migrating(server.url)).answer).toBeUndefined();
      // What v10 asks, on a connection that it makes from now on: its own table, not ours.
      const v10Connection = new Client({ connectionString: same.url });
      await v10Connection.connect();
      expect((await v10Connection.query('SELECT yaml FROM schedulers')).rowCount).toBe(10);
      await v10Connection.end();
      expect((await importing({}, same.url, server.url)).lines.at(-1)).toMatch(/^7 imported/);
      expect((await migrating(server.url)).answer).toBeUndefined();
    } finally {
      await same.close();
      await server.stop();
    }
  }, 60_000);
});

function json<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): unknown {
  return encodeMessage(schema, create(schema, message));
}

/** What v10 answers for the scheduler `everything` of the dump, written from `management.md` 1.2 and 1.5. */
const everythingInV10sJson = {
  name: 'everything',
  game: 'go',
  state: 'in-sync',
  portRange: null,
  createdAt: '2024-05-01T10:00:00.123Z',
  maxSurge: '25%',
  roomsReplicas: 6,
  spec: {
    version: 'v1.1.0',
    terminationGracePeriod: '1.500s',
    containers: [
      {
        name: 'game',
        image: 'registry.example.com/go:1.7',
        imagePullPolicy: 'IfNotPresent',
        command: ['./server', '--motd=hello "world"', 'two\nlines\n'],
        environment: [
          { name: 'PLAIN', value: 'yes' },
          { name: 'NUMBER', value: '007' },
          { name: 'EMPTY' },
          { name: 'HOST_IP', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } },
          { name: 'TOKEN', valueFrom: { secretKeyRef: { name: 'go-secrets', key: 'token' } } },
        ],
        requests: { memory: '512Mi', cpu: '250m' },
        limits: { memory: '1Gi', cpu: '1' },
        ports: [
          { name: 'client', protocol: 'udp', port: 7777, hostPort: 0, hostPortRange: { start: 30000, end: 30999 } },
          { name: 'admin', protocol: 'tcp', port: 8888, hostPort: 31234, hostPortRange: { start: 31000, end: 31999 } },
        ],
      },
      {
        name: 'sidecar',
        image: 'registry.example.com/metrics:3',
        imagePullPolicy: 'Never',
        command: [],
        environment: [],
        requests: { memory: '64Mi', cpu: '20m' },
        limits: { memory: '64Mi', cpu: '20m' },
        ports: [],
      },
    ],
    toleration: 'gpu',
    affinity: 'zone-a',
    restartPolicy: 'Never',
  },
  autoscaling: {
    enabled: true,
    min: 2,
    max: -1,
    policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.3, downThreshold: 0.99 } } },
    cooldown: 60,
  },
  forwarders: [
    {
      name: 'matchmaker',
      enable: true,
      type: 'gRPC',
      address: 'matchmaker:5000',
      options: {
        timeout: '500',
        metadata: { roomType: 'ranked', ratio: 0.5, regions: ['sa', 'eu'], nested: { deep: true, nothing: null } },
      },
    },
    {
      name: 'analytics',
      enable: false,
      type: 'gRPC',
      address: 'analytics:5000',
      options: { timeout: '1000', metadata: {} },
    },
  ],
  annotations: { imageregistry: 'https://hub.docker.com/', 'example.com/owner': 'team: go' },
  labels: { app: 'go', true: 'false' },
  matchAllocation: { maxMatches: 4 },
};
