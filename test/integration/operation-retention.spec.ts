import { Registry } from 'prom-client';
import { EntityManager } from 'typeorm';
import { KeepChangesLonger1732233700000 } from '../../migrations/1732233700000-keep-changes-longer';
import { PrometheusMetrics } from '../../src/adapters/prometheus/prometheus-metrics';
import type { OperationDefinition } from '../../src/domain/operation/operation';
import { OperationRetention } from '../../src/features/operations/operation-retention';
import type { RetentionRules } from '../../src/ports/operation-store';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { openPostgres, type PostgresStores, type PostgresUnderTest } from '../support/open-postgres';
import { RecordedLog } from '../support/recorded-log';

const hourMs = 3_600_000;
const rules: RetentionRules = { healingAgeMs: 24 * hourMs, changeAgeMs: 720 * hourMs, newestChanges: 2, limit: 1_000 };

let postgres: PostgresUnderTest;
let other: PostgresStores;

beforeAll(async () => {
  postgres = await openPostgres();
  other = await postgres.another();
});
afterAll(() => postgres.close());
beforeEach(() => postgres.clear());

interface Ended {
  definition?: OperationDefinition;
  scheduler?: string;
  hoursAgo?: number;
  hidden?: boolean;
}

/** An operation that ended so long ago, in the way that a worker ends it. */
async function endedOne({ definition = 'add_rooms', scheduler = 'arena', hoursAgo = 0, hidden = false }: Ended = {}) {
  const { operations } = postgres;
  const made = await operations.insert({ scheduler, definition, input: {}, actor: 'api' });
  const held = await operations.claimNext(scheduler, 'me', 60_000);
  expect(held?.operation.id).toBe(made!.id);
  await operations.finish(held!, { status: 'finished', hidden, event: 'Operation finished' });
  await postgres.sql(
    `UPDATE maestro.operations SET created_at = now() - $2 * interval '1 hour', finished_at = now() - $2 * interval '1 hour'
     WHERE id = $1`,
    [made!.id, hoursAgo],
  );
  return made!.id;
}

/** Ended operations of one scheduler, oldest first: `12h heal`, `3d change`. */
async function endedInOrder(...descriptions: string[]): Promise<void> {
  for (const description of descriptions) {
    const [, amount, unit, kind] = /^(\d+)([hd]) (heal|change)$/.exec(description)!;
    await endedOne({
      definition: kind === 'heal' ? 'remove_rooms' : 'switch_active_version',
      hoursAgo: Number(amount) * (unit === 'd' ? 24 : 1),
    });
  }
}

/** The scheduler's final list as clients see it, every page of it, described like `endedInOrder`. */
async function finalList(scheduler = 'arena', perPage = 3): Promise<string[]> {
  const listed: string[] = [];
  for (let page = 1; ; page++) {
    const { total, operations } = await postgres.operations.list(scheduler, {
      stage: 'final',
      order: 'asc',
      page,
      perPage,
    });
    listed.push(
      ...operations.map(({ definition, finishedAt }) => {
        const hours = Math.round((Date.now() - finishedAt!.getTime()) / hourMs);
        const age = hours >= 48 ? `${hours / 24}d` : `${hours}h`;
        return `${age} ${definition === 'switch_active_version' ? 'change' : 'heal'}`;
      }),
    );
    if (operations.length < perPage) {
      expect(listed).toHaveLength(total);
      return listed;
    }
  }
}

/** Of those that no retention has looked at yet. */
const oldestRecent = async () =>
  (await postgres.sql<{ id: string }>(`SELECT id FROM maestro.operations ORDER BY final_number LIMIT 1`))[0]!.id;

const create = (name = 'arena') => postgres.schedulers.createScheduler(name, aSchedulerDefinition());
const deleteOutdated = (changes: Partial<RetentionRules> = {}, limit = 500, scheduler = 'arena') =>
  postgres.operations.deleteOutdated(scheduler, { ...rules, ...changes }, limit);
const findOutdated = (changes: Partial<RetentionRules> = {}) =>
  postgres.operations.findOutdated({ ...rules, ...changes });
const countersOf = async (scheduler = 'arena') =>
  (
    await postgres.sql<{ last: string }>(
      `SELECT last_final_number AS last FROM maestro.operation_counters WHERE scheduler_name = $1`,
      [scheduler],
    )
  ).map(({ last }) => Number(last));

describe('the retention of a scheduler’s operations', () => {
  beforeEach(async () => {
    await create();
  });

  it.each<[string, { rules?: Partial<RetentionRules>; before: string[]; after: string[] }]>([
    ['deletes healing of yesterday', { before: ['25h heal', '23h heal'], after: ['23h heal'] }],
    [
      'keeps the changes that lie between it, in their order',
      {
        before: ['5d heal', '4d change', '3d heal', '3d change', '2d heal', '2h change', '1h heal'],
        after: ['4d change', '3d change', '2h change', '1h heal'],
      },
    ],
    [
      'deletes changes of last month, but for the newest of the old ones',
      { before: ['35d change', '34d change', '33d change', '32d change'], after: ['33d change', '32d change'] },
    ],
    [
      'deletes healing beyond the count, however young',
      {
        rules: { limit: 3 },
        before: ['5h heal', '4h heal', '3h heal', '2h heal', '1h heal'],
        after: ['3h heal', '2h heal', '1h heal'],
      },
    ],
    [
      'keeps changes beyond that count, and no more of them than it allows',
      {
        rules: { limit: 2, newestChanges: 50 },
        before: ['9h change', '8h change', '7h change', '6h heal', '5h heal', '4h heal'],
        after: ['8h change', '7h change', '5h heal', '4h heal'],
      },
    ],
    [
      'deletes healing at once where it is told so',
      { rules: { healingAgeMs: 0 }, before: ['0h heal', '0h change'], after: ['0h change'] },
    ],
    ['leaves everything that is young', { before: ['23h heal', '22h change'], after: ['23h heal', '22h change'] }],
  ])('%s', async (_, { rules: changed, before, after }) => {
    await endedInOrder(...before);
    const isDue = before.length !== after.length;
    expect(await findOutdated(changed)).toEqual(isDue ? ['arena'] : []);
    const deleted = await deleteOutdated(changed);
    expect(deleted.healing + deleted.changes).toBe(before.length - after.length);
    expect(deleted.more).toBe(false);
    expect(await finalList()).toEqual(after);
    expect(await findOutdated(changed)).toEqual([]);
    // Who ends next is the newest of the list.
    await endedInOrder('0h heal');
    expect(await finalList()).toEqual([...after, '0h heal']);
  });

  it('leaves a list without gaps after every batch, and comes to the same end', async () => {
    const kinds = ['change', 'heal', 'heal', 'change', 'heal', 'heal', 'heal', 'change', 'change', 'heal'];
    const before = kinds.map((kind, index) => `${100 - index}d ${kind}`);
    await endedInOrder(...before, '3h change', '2h heal');
    let batches = 0;
    for (let more = true; more; batches++) {
      more = (await deleteOutdated({}, 2)).more;
      const listed = await finalList();
      expect(listed.slice(-2)).toEqual(['3h change', '2h heal']);
      expect(before.filter((each) => listed.includes(each))).toEqual(listed.slice(0, -2));
    }
    expect(batches).toBeGreaterThan(4);
    expect(await finalList()).toEqual(['93d change', '92d change', '3h change', '2h heal']);
  });

  it('deletes nothing from behind what is young: a clock that was set back leaves no gap', async () => {
    const before = ['29d change', '31d change', '23h heal', '25h heal'];
    await endedInOrder(...before);
    expect(await deleteOutdated({ newestChanges: 0 })).toEqual({ healing: 0, changes: 0, more: false });
    expect(await finalList('arena', 1)).toEqual(before);
  });

  it.each([1, 2, 3, 4, 7])('shows pages of %i in either order, across both lists', async (perPage) => {
    await endedInOrder('5d change', '4d change', '3d heal', '3d change', '5h change', '4h heal', '3h heal');
    await deleteOutdated({ newestChanges: 50 });
    const pages = async (order: 'asc' | 'desc') => {
      const ids: string[][] = [];
      for (let page = 1; page <= Math.ceil(6 / perPage) + 1; page++) {
        const answer = await postgres.operations.list('arena', { stage: 'final', order, page, perPage });
        expect(answer.total).toBe(6);
        ids.push(answer.operations.map(({ id }) => id));
      }
      return ids;
    };
    const ascending = await pages('asc');
    expect(ascending.flat()).toHaveLength(6);
    expect((await pages('desc')).flat()).toEqual(ascending.flat().reverse());
    expect(ascending.at(-1)).toEqual([]);
  });

  it('takes the history with the operation, and leaves that of the others', async () => {
    const gone = await endedOne({ hoursAgo: 25 });
    const kept = await endedOne({ hoursAgo: 1 });
    await deleteOutdated();
    expect(await postgres.operations.get('arena', gone)).toBeNull();
    expect((await postgres.operations.get('arena', kept))?.history).toHaveLength(2);
    const [{ count } = { count: '' }] = await postgres.sql<{ count: string }>(
      'SELECT count(*) FROM maestro.operation_events',
    );
    expect(count).toBe('2');
  });

  it('leaves a kept change as readable as it was', async () => {
    const id = await endedOne({ definition: 'switch_active_version', hoursAgo: 50 });
    const before = await postgres.operations.get('arena', id);
    await deleteOutdated();
    expect(await postgres.operations.get('arena', id)).toEqual(before);
  });

  it('never touches what is pending or in progress, however old', async () => {
    const { operations } = postgres;
    const ids: string[] = [];
    for (const definition of ['remove_rooms', 'add_rooms', 'add_rooms'] as const) {
      ids.push((await operations.insert({ scheduler: 'arena', definition, input: {} as never, actor: 'api' }))!.id);
    }
    await operations.wait((await operations.claimNext('arena', 'me', 60_000))!, 60_000);
    await operations.claimNext('arena', 'me', 60_000);
    await postgres.sql(`UPDATE maestro.operations SET created_at = now() - interval '90 days'`);
    expect(await findOutdated({ healingAgeMs: 0, changeAgeMs: 0, limit: 0 })).toEqual([]);
    await deleteOutdated({ healingAgeMs: 0, changeAgeMs: 0, limit: 0 });
    expect(await operations.deleteHidden(0, 500)).toBe(0);
    for (const id of ids) expect(await operations.get('arena', id)).not.toBeNull();
  });

  it('touches no other scheduler', async () => {
    await create('other');
    await endedOne({ hoursAgo: 25 });
    await endedOne({ hoursAgo: 25, scheduler: 'other' });
    expect(await findOutdated()).toEqual(['arena', 'other']);
    await deleteOutdated();
    expect(await finalList()).toEqual([]);
    expect(await finalList('other')).toEqual(['25h heal']);
  });

  it('numbers on after everything is deleted, so that no number comes twice', async () => {
    await endedInOrder('26h heal', '25h heal');
    await deleteOutdated();
    expect(await finalList()).toEqual([]);
    expect(await countersOf()).toEqual([2]);
    await endedInOrder('1h heal');
    expect(await countersOf()).toEqual([3]);
    expect(await finalList()).toEqual(['1h heal']);
  });

  it('leaves no gap when two processes delete at once, and operations end meanwhile', async () => {
    const before = Array.from({ length: 40 }, (_, index) => `${100 - index}h ${index % 4 === 0 ? 'change' : 'heal'}`);
    await endedInOrder(...before);
    const everything = async ({ operations }: PostgresStores): Promise<number> => {
      let healing = 0;
      for (let more = true; more;) {
        const deleted = await operations.deleteOutdated('arena', { ...rules, newestChanges: 50 }, 3);
        healing += deleted.healing;
        more = deleted.more;
      }
      return healing;
    };
    const [one, two] = await Promise.all([
      everything(postgres),
      everything(other),
      endedInOrder('1h heal', '1h change', '0h heal'),
    ]);
    expect(one + two).toBe(30);
    const changes = (await finalList()).filter((each) => each.endsWith('change'));
    expect(changes).toHaveLength(11);
    expect(await finalList()).toHaveLength(13);
  });

  it('numbers kept changes in one process at a time, also when one has lost the loop in the middle of a batch', async () => {
    await endedInOrder('32d change');
    await deleteOutdated();
    await endedInOrder('29d change', '28d change');
    const blocker = await postgres.another();
    const isWaiting = (count: number) =>
      eventually(async () => {
        const waiting = await postgres.sql(`SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'`);
        expect(waiting).toHaveLength(count);
      });
    let stale: Promise<unknown> = Promise.resolve();
    let next: Promise<unknown> = Promise.resolve();
    await blocker.unitOfWork.run(async () => {
      await blocker.operations.cancel('arena', await oldestRecent(), '');
      stale = deleteOutdated();
      await isWaiting(1);
      next = (async () => {
        await other.operations.deleteOutdated(
          'arena',
          { ...rules, healingAgeMs: 99 * 24 * hourMs, newestChanges: 0 },
          500,
        );
        await other.operations.deleteOutdated('arena', rules, 1);
      })();
      await isWaiting(2);
    });
    await Promise.all([stale, next]);
    expect((await finalList()).slice(-2)).toEqual(['29d change', '28d change']);
  });
});

describe('the retention of the operations of a scheduler that is gone', () => {
  it('goes by age, also for the newest changes', async () => {
    await endedInOrder('31d change', '29d change', '25h heal', '1h heal');
    expect(await findOutdated()).toEqual(['arena']);
    await deleteOutdated();
    expect(await finalList()).toEqual(['29d change', '1h heal']);
    expect(await countersOf()).toEqual([4]);
  });

  it('forgets the counter with the last operation', async () => {
    await endedInOrder('31d change', '25h heal');
    await deleteOutdated();
    expect(await finalList()).toEqual([]);
    expect(await countersOf()).toEqual([]);
    expect(await findOutdated()).toEqual([]);
    await endedInOrder('1h heal');
    expect(await finalList()).toEqual(['1h heal']);
  });

  it.each([
    ['a recent operation', '1h heal'],
    ['an old change', '3d change'],
  ])('keeps the counter while it has %s', async (_, left) => {
    await endedInOrder('4d heal', left);
    await deleteOutdated();
    expect(await finalList()).toEqual([left]);
    expect(await countersOf()).toEqual([2]);
    await endedInOrder('0h heal');
    expect(await finalList()).toEqual([left, '0h heal']);
  });

  it('gives no number twice when an operation ends while the counter is being forgotten', async () => {
    await endedOne({ hoursAgo: 25 });
    await postgres.operations.insert({
      scheduler: 'arena',
      definition: 'add_rooms',
      input: { amount: 1 },
      actor: 'api',
    });
    const held = (await postgres.operations.claimNext('arena', 'me', 60_000))!;
    let deleting: Promise<unknown> = Promise.resolve();
    await other.unitOfWork.run(async () => {
      // Ended, and so numbered, but not yet to be seen by who deletes.
      await other.operations.finish(held, { status: 'finished', hidden: false, event: null });
      let isDone = false;
      deleting = deleteOutdated().finally(() => (isDone = true));
      await eventually(async () => {
        const waiting = await postgres.sql(
          `SELECT FROM pg_stat_activity WHERE application_name = 'test-stores' AND wait_event_type = 'Lock'`,
        );
        expect(isDone || waiting.length > 0).toBe(true);
      });
    });
    await deleting;
    expect(await finalList()).toEqual(['0h heal']);
    expect(await countersOf()).toEqual([2]);
    await endedInOrder('0h heal');
    expect(await finalList()).toEqual(['0h heal', '0h heal']);
  });
});

describe('the retention of health checks that did nothing', () => {
  it('deletes those that are old, the oldest first, of all schedulers', async () => {
    for (const hoursAgo of [30, 29, 28, 1]) {
      await endedOne({ definition: 'health_controller', hoursAgo, hidden: true });
    }
    await endedOne({ definition: 'health_controller', hoursAgo: 31, hidden: true, scheduler: 'other' });
    await endedOne({ definition: 'health_controller', hoursAgo: 31 });
    const left = async () =>
      (
        await postgres.sql<{ hours: number }>(
          `SELECT round(extract(epoch FROM now() - finished_at) / 3600)::int AS hours FROM maestro.operations
           WHERE hidden ORDER BY finished_at`,
        )
      ).map(({ hours }) => hours);
    expect(await postgres.operations.deleteHidden(rules.healingAgeMs, 2)).toBe(2);
    expect(await left()).toEqual([29, 28, 1]);
    expect(await postgres.operations.deleteHidden(rules.healingAgeMs, 500)).toBe(2);
    expect(await left()).toEqual([1]);
    expect(await finalList()).toHaveLength(1);
  });
});

describe('going back to the version before retention', () => {
  it('gives the kept changes numbers before the recent ones, without gaps, and forward again loses nothing', async () => {
    const migration = new KeepChangesLonger1732233700000();
    await create();
    await endedInOrder('5d heal', '4d change', '3d change', '2h heal', '1h heal');
    await deleteOutdated();
    await endedOne({ scheduler: 'other', definition: 'switch_active_version', hoursAgo: 30 });
    await deleteOutdated({}, 500, 'other');
    const queryRunner = postgres.dataSource.createQueryRunner();
    try {
      await migration.down(queryRunner);
      const rows = await postgres.sql<{ scheduler_name: string; final_number: string }>(
        'SELECT scheduler_name, final_number FROM maestro.operations ORDER BY scheduler_name, finished_at',
      );
      expect(rows.map((row) => `${row.scheduler_name} ${row.final_number}`)).toEqual([
        'arena 2',
        'arena 3',
        'arena 4',
        'arena 5',
        'other 1',
      ]);
    } finally {
      await migration.up(queryRunner);
      await queryRunner.release();
    }
    expect(await finalList()).toEqual(['4d change', '3d change', '2h heal', '1h heal']);
    await deleteOutdated();
    expect(await finalList()).toEqual(['4d change', '3d change', '2h heal', '1h heal']);
  });
});

describe('the cost of retention', () => {
  const schedulers = 120;
  const perScheduler = 1_000;

  /** 120,000 ended operations, the oldest 3 days old, of which every tenth is a change; 30,000 hidden ones. */
  async function fillDatabase(): Promise<void> {
    await postgres.sql(
      `INSERT INTO maestro.operations (scheduler_name, definition, input, status, priority, actor, finished_at, final_number)
       SELECT 'fleet-' || s, CASE WHEN n % 10 = 0 THEN 'switch_active_version' ELSE 'add_rooms' END, '{}', 'finished', 1,
         'api', now() - (${perScheduler} - n) * interval '259 s', n
       FROM generate_series(1, ${schedulers}) s, generate_series(1, ${perScheduler}) n`,
    );
    await postgres.sql(
      `INSERT INTO maestro.operation_counters SELECT 'fleet-' || s, ${perScheduler} FROM generate_series(1, ${schedulers}) s`,
    );
    await postgres.sql(
      `INSERT INTO maestro.operations (scheduler_name, definition, input, status, priority, actor, finished_at, hidden)
       SELECT 'fleet-1', 'health_controller', '{}', 'finished', 1, 'api', now() - n * interval '10 s', true
       FROM generate_series(1, 30000) n`,
    );
    await postgres.sql('ANALYZE maestro.operations, maestro.operation_counters');
  }

  /** What the stores asked of PostgreSQL while `work` ran, with its plans. */
  async function plansOf(work: () => Promise<unknown>): Promise<string[]> {
    const query = jest.spyOn(EntityManager.prototype, 'query');
    try {
      await work();
      const asked = query.mock.calls.filter(([text]) => /maestro\.operations/.test(text));
      expect(asked).not.toEqual([]);
      query.mockClear();
      return await Promise.all(
        asked.map(async ([text, parameters]) => {
          const rows = await postgres.sql<{ 'QUERY PLAN': string }>(`EXPLAIN ${text}`, parameters as unknown[]);
          return rows.map((row) => row['QUERY PLAN']).join('\n');
        }),
      );
    } finally {
      query.mockRestore();
    }
  }

  it('is that of an index, for each statement: no table of operations is read as a whole', async () => {
    await fillDatabase();
    const plans = await plansOf(async () => {
      await findOutdated();
      expect(await deleteOutdated({}, 500, 'fleet-7')).toEqual({ healing: 450, changes: 0, more: true });
      expect(await deleteOutdated({ changeAgeMs: hourMs }, 30, 'fleet-7')).toMatchObject({ changes: 30 });
      expect(await postgres.operations.deleteHidden(rules.healingAgeMs, 500)).toBe(500);
      const listing = { stage: 'final', order: 'desc', page: 30, perPage: 15 } as const;
      expect((await postgres.operations.list('fleet-7', listing)).operations).toHaveLength(15);
    });
    expect(plans).toHaveLength(7);
    for (const plan of plans) {
      expect(plan).not.toMatch(/Seq Scan on (operations|operation_events)\b/);
      expect(plan).toMatch(/Index (Only )?Scan/);
    }
  }, 60_000);
});

describe('the loop of retention', () => {
  let running: { stop(): Promise<void> }[] = [];
  afterEach(async () => {
    await Promise.all(running.map((each) => each.stop()));
    running = [];
  });

  function startRetention(stores: PostgresStores, owner: string) {
    const registry = new Registry();
    const log = new RecordedLog();
    const retention = new OperationRetention(stores.operations, stores.leases, new PrometheusMetrics(registry), log, {
      owner,
      leaseTtlMs: 300,
      intervalMs: 10,
      rules,
      batchSize: 5,
    });
    const stopping = new AbortController();
    const loop = retention.run(stopping.signal);
    const rounds = async () =>
      (await registry.getSingleMetric('maestro_loop_last_finished_timestamp_seconds')!.get()).values.length;
    const started = {
      log,
      rounds,
      stop: async () => {
        stopping.abort();
        await loop;
      },
    };
    running.push(started);
    return started;
  }

  it('runs in one worker of two, and in the other one when that stops', async () => {
    const first = startRetention(postgres, 'first');
    await eventually(async () => expect(await first.rounds()).toBe(1));
    const second = startRetention(other, 'second');
    await create();
    await endedInOrder(...Array.from({ length: 12 }, () => '25h heal'), '3h heal');
    await eventually(async () => expect(await finalList()).toEqual(['3h heal']));
    expect(await second.rounds()).toBe(0);
    await first.stop();
    await endedOne({ definition: 'health_controller', hoursAgo: 25, hidden: true });
    await eventually(async () => expect(await second.rounds()).toBe(1));
    await eventually(() =>
      expect(second.log.lines.map(({ fields }) => fields)).toContainEqual({ no_action: 1, healing: 0, change: 0 }),
    );
    expect(await finalList()).toEqual(['3h heal']);
  });

  it('writes nothing for schedulers that do nothing', async () => {
    for (const name of ['one', 'two']) {
      await create(name);
      await endedOne({ scheduler: name, hoursAgo: 1 });
    }
    const { rounds } = startRetention(postgres, 'me');
    const state = () =>
      postgres.sql(
        `SELECT 'operation' AS row, xmin::text FROM maestro.operations
         UNION ALL SELECT 'counter', xmin::text FROM maestro.operation_counters
         UNION ALL SELECT 'scheduler', xmin::text FROM maestro.schedulers ORDER BY 1, 2`,
      );
    const before = await state();
    expect(before).toHaveLength(6);
    await eventually(async () => expect(await rounds()).toBe(1));
    expect(await state()).toEqual(before);
  });
});
