import { getEventListeners } from 'node:events';
import { DomainError } from '../../src/domain/errors';
import type { SchedulerState } from '../../src/domain/scheduler/scheduler';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { openPostgres, type PostgresUnderTest } from '../support/open-postgres';

let postgres: PostgresUnderTest;

beforeAll(async () => {
  postgres = await openPostgres();
});
afterAll(() => postgres.close());
beforeEach(() => postgres.clear());

const create = (name: string, changes: Parameters<typeof aSchedulerDefinition>[0] = {}) =>
  postgres.schedulers.createScheduler(name, aSchedulerDefinition(changes));

describe('the scheduler store on PostgreSQL', () => {
  it('creates a scheduler with its first version, in state creating', async () => {
    const definition = aSchedulerDefinition({
      labels: { team: 'päyments "x"' },
      autoscaling: {
        enabled: true,
        min: 1,
        max: -1,
        cooldown: 0,
        policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.1, downThreshold: 0.99 } } },
      },
      spec: { terminationGracePeriodNs: 1_500_000_001 },
    });
    const created = await postgres.schedulers.createScheduler('arena', definition);
    expect(created).toEqual({
      name: 'arena',
      state: 'creating',
      version: 'v1.0.0',
      rollbackVersion: '',
      createdAt: expect.any(Date),
      versionCreatedAt: expect.any(Date),
      lastDownscaleAt: null,
      definition,
    });
    expect(await postgres.schedulers.getScheduler('arena')).toEqual(created);
    expect(await postgres.schedulers.listVersions('arena')).toEqual([
      { version: 'v1.0.0', isActive: true, createdAt: expect.any(Date) },
    ]);
  });

  it('refuses a name that is taken and leaves the scheduler that has it as it is', async () => {
    await create('arena', { game: 'first' });
    expect(await create('arena', { game: 'second' })).toBe('exists');
    expect((await postgres.schedulers.getScheduler('arena'))?.definition.game).toBe('first');
  });

  it('gives a name to one of many who ask at once', async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, () => create('arena')));
    expect(answers.filter((answer) => answer === 'exists')).toHaveLength(9);
  });

  it('finds the active version, or a named one, or nothing', async () => {
    await create('arena');
    await postgres.sql(
      `INSERT INTO maestro.scheduler_versions (scheduler_name, version, definition, rollback_version, created_at)
       VALUES ('arena', 'v1.1.0', $1, 'v1.0.0', now() + interval '1 minute')`,
      [aSchedulerDefinition({ roomsReplicas: 8 })],
    );
    const { schedulers } = postgres;
    expect((await schedulers.getScheduler('arena'))?.definition.roomsReplicas).toBe(3);
    expect(await schedulers.getScheduler('arena', 'v1.1.0')).toMatchObject({
      version: 'v1.1.0',
      rollbackVersion: 'v1.0.0',
      state: 'creating',
      definition: { roomsReplicas: 8 },
    });
    expect(await schedulers.getScheduler('arena', 'v2.0.0')).toBeNull();
    expect(await schedulers.getScheduler('nobody')).toBeNull();
    expect(await schedulers.getScheduler('nobody', 'v1.0.0')).toBeNull();
    expect(await schedulers.listVersions('arena')).toMatchObject([
      { version: 'v1.1.0', isActive: false },
      { version: 'v1.0.0', isActive: true },
    ]);
    expect(await schedulers.listVersions('nobody')).toEqual([]);
  });

  describe('lists', () => {
    beforeEach(async () => {
      await create('charlie', { game: 'chess' });
      await create('alpha', { game: 'chess' });
      await create('bravo', { game: 'go' });
    });

    it.each([
      ['all, in order of names, without a filter', {}, ['alpha', 'bravo', 'charlie']],
      ['those of a game', { game: 'chess' }, ['alpha', 'charlie']],
      ['the one with a name', { name: 'bravo' }, ['bravo']],
      ['those with an active version', { version: 'v1.0.0' }, ['alpha', 'bravo', 'charlie']],
      ['only what passes every filter', { name: 'bravo', game: 'chess' }, []],
      ['no partial names', { name: 'brav' }, []],
      ['no patterns', { game: '%' }, []],
    ])('%s', async (_, filter, names) => {
      expect((await postgres.schedulers.listSchedulers(filter)).map(({ name }) => name)).toEqual(names);
    });

    it('what the ping path needs', async () => {
      await create('delta', { game: 'go', matchAllocation: { maxMatches: 12 } });
      const settings = await postgres.schedulers.listSettings();
      expect(settings).toHaveLength(4);
      expect(settings).toContainEqual({ name: 'delta', game: 'go', maxMatches: 12 });
    });
  });

  describe('a state', () => {
    it('is set, and says whether it was', async () => {
      await create('arena');
      expect(await postgres.schedulers.setState('arena', 'in-sync')).toBe(true);
      expect((await postgres.schedulers.getScheduler('arena'))?.state).toBe('in-sync');
      expect(await postgres.schedulers.setState('nobody', 'in-sync')).toBe(false);
    });

    it.each<SchedulerState>(['creating', 'in-sync', 'on-error', 'terminating'])(
      'never goes from terminating to %s',
      async (state) => {
        await create('arena');
        expect(await postgres.schedulers.setState('arena', 'terminating')).toBe(true);
        expect(await postgres.schedulers.setState('arena', state)).toBe(false);
        expect((await postgres.schedulers.getScheduler('arena'))?.state).toBe('terminating');
      },
    );
  });

  it('writes the last downscale alone', async () => {
    await create('arena');
    const at = new Date('2026-05-01T10:00:00.123Z');
    await postgres.schedulers.setLastDownscale('arena', at);
    expect(await postgres.schedulers.getScheduler('arena')).toMatchObject({ lastDownscaleAt: at, state: 'creating' });
  });

  it('deletes a scheduler with its versions, again without effect', async () => {
    await create('arena');
    await create('other');
    await postgres.schedulers.deleteScheduler('arena');
    await postgres.schedulers.deleteScheduler('arena');
    expect(await postgres.schedulers.getScheduler('arena')).toBeNull();
    expect(await postgres.sql('SELECT scheduler_name FROM maestro.scheduler_versions')).toEqual([
      { scheduler_name: 'other' },
    ]);
    expect(await create('arena')).not.toBe('exists');
  });
});

describe('the changes of schedulers', () => {
  let heard: (string | null)[];
  let stop: AbortController;
  let watching: Promise<void>;

  beforeEach(async () => {
    heard = [];
    stop = new AbortController();
    watching = postgres.schedulers.watchChanges((name) => heard.push(name), stop.signal);
    await eventually(() => expect(heard).toEqual([null]));
    heard = [];
  });
  afterEach(async () => {
    stop.abort();
    await watching;
  });

  it('are heard in another connection: created, changed and deleted', async () => {
    const other = await postgres.another();
    await other.schedulers.createScheduler('arena', aSchedulerDefinition());
    await eventually(() => expect(heard).toEqual(['arena']));
    await other.schedulers.setState('arena', 'in-sync');
    await eventually(() => expect(heard).toEqual(['arena', 'arena']));
    await other.schedulers.deleteScheduler('arena');
    await eventually(() => expect(heard).toEqual(['arena', 'arena', 'arena']));
  });

  it('are heard when they are committed, and not when they are rolled back', async () => {
    await expect(
      postgres.unitOfWork.run(async () => {
        await create('lost');
        throw new Error('changed my mind');
      }),
    ).rejects.toThrow('changed my mind');
    await postgres.unitOfWork.run(async () => {
      await create('kept');
      // Another connection hears what comes after, but nothing of this transaction yet.
      await postgres.sql(`SELECT pg_notify('maestro_schedulers', 'between')`);
      await eventually(() => expect(heard).toEqual(['between']));
    });
    await eventually(() => expect(heard).toEqual(['between', 'kept']));
  });

  it('may have been missed when the listening connection was lost: null, and everything after it is heard', async () => {
    expect(await postgres.killConnections('maestro-listen')).toBe(1);
    await eventually(() => expect(heard).toEqual([null]));
    await create('arena');
    await eventually(() => expect(heard).toEqual([null, 'arena']));
    expect(postgres.log.lines).toEqual([]);
  });

  it('are heard again however often the connection is lost, and no listener piles up', async () => {
    const listeners = getEventListeners(stop.signal, 'abort').length;
    for (let round = 1; round <= 2; round++) {
      await postgres.killConnections('maestro-listen');
      await eventually(() => expect(heard).toHaveLength(round));
    }
    expect(heard).toEqual([null, null]);
    expect(getEventListeners(stop.signal, 'abort')).toHaveLength(listeners);
  });

  it('leave no connection behind when the watch ends', async () => {
    stop.abort();
    await watching;
    await eventually(async () => {
      const left = await postgres.sql(`SELECT pid FROM pg_stat_activity WHERE application_name = 'maestro-listen'`);
      expect(left).toEqual([]);
    });
  });
});

describe('a unit of work', () => {
  it('keeps the writes of every store inside, or none', async () => {
    await expect(
      postgres.unitOfWork.run(async () => {
        await create('arena');
        await postgres.operations.insert({
          scheduler: 'arena',
          definition: 'create_scheduler',
          input: { scheduler: {} },
          actor: 'api',
        });
        expect(await postgres.operations.hasOpen('arena')).toBe(true);
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await postgres.schedulers.getScheduler('arena')).toBeNull();
    expect(await postgres.operations.hasOpen('arena')).toBe(false);
    expect(await postgres.sql('SELECT * FROM maestro.operation_events')).toEqual([]);
  });

  it('is joined by a nested one, which rolls back with it', async () => {
    await expect(
      postgres.unitOfWork.run(async () => {
        await postgres.unitOfWork.run(() => create('inner'));
        throw new Error('outer fails');
      }),
    ).rejects.toThrow('outer fails');
    expect(await postgres.schedulers.getScheduler('inner')).toBeNull();
  });

  it('does not leak into work that runs beside it', async () => {
    let goOn = (): void => undefined;
    const held = new Promise<void>((resolve) => (goOn = resolve));
    const unit = postgres.unitOfWork.run(async () => {
      await create('inside');
      await held;
    });
    await eventually(async () => {
      const [row] = await postgres.sql<{ count: string }>(
        `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test-stores' AND state = 'idle in transaction'`,
      );
      expect(row?.count).toBe('1');
    });
    expect(await postgres.schedulers.getScheduler('inside')).toBeNull();
    await create('beside');
    goOn();
    await unit;
    expect((await postgres.schedulers.listSchedulers({})).map(({ name }) => name)).toEqual(['beside', 'inside']);
  });

  it('answers what the work answers', async () => {
    expect(await postgres.unitOfWork.run(async () => 7)).toBe(7);
  });

  it('says `unavailable` when the connection is lost inside, keeps nothing, and works again at once', async () => {
    const other = await postgres.another('test-to-kill');
    await expect(
      other.unitOfWork.run(async () => {
        await other.schedulers.createScheduler('arena', aSchedulerDefinition());
        await postgres.killConnections('test-to-kill');
        await other.schedulers.setState('arena', 'in-sync');
      }),
    ).rejects.toMatchObject({ kind: 'unavailable', code: 'postgres.unavailable' });
    expect(await other.schedulers.getScheduler('arena')).toBeNull();
    expect(await other.schedulers.createScheduler('arena', aSchedulerDefinition())).not.toBe('exists');
  });

  it('passes on what the work throws as it is', async () => {
    const error = new DomainError('already_exists', 'scheduler.exists', 'it exists');
    await expect(postgres.unitOfWork.run(() => Promise.reject(error))).rejects.toBe(error);
  });
});

describe('a failure of PostgreSQL', () => {
  const failWith = (code: string) => `DO $$ BEGIN RAISE EXCEPTION 'failed' USING ERRCODE = '${code}'; END $$`;

  it.each([
    ['a server that shuts down', failWith('57P01')],
    ['a server that starts', failWith('57P03')],
    ['a full server', failWith('53300')],
    ['a read-only server, as after a fail-over', 'SET TRANSACTION READ ONLY; DELETE FROM maestro.leases'],
    ['a deadlock', failWith('40P01')],
    ['a statement that takes too long', `SET LOCAL statement_timeout = 10; SELECT pg_sleep(5)`],
  ])('is unavailable: %s', async (_, statement) => {
    await expect(postgres.unitOfWork.run(() => postgres.unitOfWork.rows(statement))).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'postgres.unavailable',
    });
  });

  it.each([
    ['a broken rule', failWith('23514')],
    ['a statement that is wrong', 'SELECT * FROM maestro.no_such_table'],
  ])('is a defect of ours: %s', async (_, statement) => {
    await expect(postgres.unitOfWork.rows(statement)).rejects.not.toBeInstanceOf(DomainError);
  });

  it('is unavailable while nobody listens, from every store', async () => {
    const own = await openPostgres();
    try {
      await own.stopServer();
      const refusals = [
        own.schedulers.listSettings(),
        own.operations.claimNext('arena', 'me', 1_000),
        own.leases.acquire('loop', 'me', 1_000),
        own.unitOfWork.run(() => own.schedulers.setState('arena', 'in-sync')),
      ];
      for (const refusal of await Promise.allSettled(refusals)) {
        expect(refusal).toMatchObject({
          status: 'rejected',
          reason: {
            kind: 'unavailable',
            code: 'postgres.unavailable',
            message: expect.stringContaining('cannot serve now'),
          },
        });
      }
    } finally {
      await own.close();
    }
  });
});
