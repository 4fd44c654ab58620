import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { LoadFiles } from '../../src/adapters/load-files/load-files';
import { PrometheusMetrics } from '../../src/adapters/prometheus/prometheus-metrics';
import { RedisRoomStore } from '../../src/adapters/redis/redis-room-store';
import type { FleetCounts } from '../../src/domain/room/room';
import { parseLoadCurve } from '../../src/domain/simulation/parse-load-curve';
import { FleetReporter } from '../../src/features/reporting/fleet-reporter';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { openPostgres, type PostgresStores, type PostgresUnderTest } from '../support/open-postgres';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';
import { RecordedLog } from '../support/recorded-log';

/** Cannot count what a test says. */
class BreakableRoomStore extends RedisRoomStore {
  broken: string | null = null;

  override async countFleet(scheduler: string): Promise<FleetCounts> {
    if (scheduler === this.broken) throw new Error('Redis is away');
    return super.countFleet(scheduler);
  }
}

interface Reporter {
  registry: Registry;
  log: RecordedLog;
  stop(): Promise<void>;
}

let postgres: PostgresUnderTest;
let another: PostgresStores;
let redis: RedisRoomStoreUnderTest;
let rooms: BreakableRoomStore;
let reporters: Reporter[] = [];

beforeAll(async () => {
  postgres = await openPostgres();
  another = await postgres.another();
  redis = await openRedisRoomStore();
});
afterAll(() => Promise.all([postgres?.close(), redis?.close()]));
beforeEach(async () => {
  await postgres.clear();
  await redis.loseEverything();
  rooms = new BreakableRoomStore(redis.redis);
});
afterEach(async () => {
  await Promise.all(reporters.map((reporter) => reporter.stop()));
  reporters = [];
});

function startReporter(stores: PostgresStores, loads = new LoadFiles(null)): Reporter {
  const log = new RecordedLog();
  const registry = new Registry();
  const metrics = new PrometheusMetrics(registry);
  const reporter = new FleetReporter(stores.schedulers, rooms, stores.leases, loads, metrics, log, {
    owner: `reporter-${reporters.length}`,
    leaseTtlMs: 300,
    intervalMs: 20,
  });
  const stopping = new AbortController();
  const loop = reporter.run(stopping.signal);
  const started: Reporter = {
    registry,
    log,
    stop: async () => {
      stopping.abort();
      await loop;
    },
  };
  reporters.push(started);
  return started;
}

/** The fleets' series: name, scheduler and value. */
async function seriesOf({ registry }: Reporter): Promise<string[]> {
  const text = await registry.metrics();
  return text.split('\n').filter((line) => /^maestro_worker_(gru|instance|running|max|ready_t|fixed)/.test(line));
}

const create = (name: string, changes: Parameters<typeof aSchedulerDefinition>[0] = {}) =>
  postgres.schedulers.createScheduler(name, aSchedulerDefinition(changes));

describe('the reporter of fleets', () => {
  it('exports the gauges of every scheduler, with the figures of its policy', async () => {
    await create('fixed', {
      matchAllocation: { maxMatches: 4 },
      autoscaling: {
        enabled: false,
        min: 1,
        max: 2,
        cooldown: 0,
        policy: { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 7 } } },
      },
    });
    await rooms.createRoom({ id: 'room-1', scheduler: 'fixed', version: 'v1.0.0', validation: false });
    const reporter = startReporter(postgres);
    await eventually(async () => {
      expect(await seriesOf(reporter)).toEqual([
        'maestro_worker_gru_pending{game="arena",scheduler="fixed"} 1',
        ...['unready', 'ready', 'occupied', 'terminating', 'error', 'active', 'allocated'].map(
          (status) => `maestro_worker_gru_${status}{game="arena",scheduler="fixed"} 0`,
        ),
        'maestro_worker_instance_unknown{game="arena",scheduler="fixed"} 1',
        ...['pending', 'ready', 'terminating', 'error'].map(
          (status) => `maestro_worker_instance_${status}{game="arena",scheduler="fixed"} 0`,
        ),
        'maestro_worker_running_matches{game="arena",scheduler="fixed"} 0',
        'maestro_worker_max_matches{game="arena",scheduler="fixed"} 4',
        'maestro_worker_fixed_buffer{game="arena",scheduler="fixed"} 7',
      ]);
    });
  });

  it('records the load of every scheduler, in a file a day that a backtest reads, and nothing where nobody wants it', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'maestro-loads-'));
    try {
      await create('one');
      await create('two');
      const reporter = startReporter(postgres, new LoadFiles(join(directory, 'loads')));
      const filesOf = (scheduler: string): string[] =>
        readdirSync(join(directory, 'loads')).filter((file) => file.startsWith(`${scheduler}-`));
      const textOf = (scheduler: string): string =>
        filesOf(scheduler)
          .map((file) => readFileSync(join(directory, 'loads', file), 'utf8'))
          .join('');
      await eventually(() => expect(parseLoadCurve(textOf('two'))[0]).toMatchObject({ matches: 0 }));
      expect(filesOf('one')[0]).toMatch(/^one-\d{4}-\d{2}-\d{2}\.csv$/);
      expect(Math.abs(parseLoadCurve(textOf('one')).at(-1)!.atMs - Date.now())).toBeLessThan(60_000);
      // What cannot be written keeps nobody from the gauges.
      await reporter.stop();
      const unwritable = startReporter(postgres, new LoadFiles('/dev/null/loads'));
      await eventually(async () => expect((await seriesOf(unwritable)).join()).toContain('scheduler="one"'));
      expect(readdirSync(directory)).toEqual(['loads']);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('drops the series of a scheduler that was deleted', async () => {
    await create('one');
    await create('two');
    const reporter = startReporter(postgres);
    await eventually(async () => expect((await seriesOf(reporter)).join()).toContain('scheduler="one"'));
    await postgres.schedulers.deleteScheduler((await postgres.schedulers.getScheduler('one'))!);
    await eventually(async () => expect((await seriesOf(reporter)).join()).not.toContain('scheduler="one"'));
    expect((await seriesOf(reporter)).join()).toContain('scheduler="two"');
  });

  it('leaves out what cannot be read, and reports the others', async () => {
    await create('one');
    await create('two');
    const reporter = startReporter(postgres);
    await eventually(async () => expect((await seriesOf(reporter)).join()).toContain('scheduler="one"'));
    rooms.broken = 'one';
    await eventually(async () => expect((await seriesOf(reporter)).join()).not.toContain('scheduler="one"'));
    expect((await seriesOf(reporter)).join()).toContain('scheduler="two"');
    await eventually(() =>
      expect(reporter.log.lines).toContainEqual({
        level: 'warn',
        message: 'a round of a loop failed',
        fields: { loop: 'metrics_reporter', err: 'the counters of 1 of 2 schedulers could not be read' },
      }),
    );
    rooms.broken = null;
    await eventually(async () => expect((await seriesOf(reporter)).join()).toContain('scheduler="one"'));
  });

  it('exports from one process of two, and from the other when that stops', async () => {
    await create('one');
    const first = startReporter(postgres);
    await eventually(async () => expect(await seriesOf(first)).not.toEqual([]));
    const second = startReporter(another);
    await eventually(async () => {
      const rounds = await first.registry.getSingleMetric('maestro_loop_last_finished_timestamp_seconds')!.get();
      const [lease] = await postgres.sql<{ left: number }>(
        `SELECT extract(epoch FROM expires_at - clock_timestamp())::float AS left FROM maestro.leases`,
      );
      expect([rounds.values.length, lease!.left > 0.25]).toEqual([1, true]);
    });
    expect(await seriesOf(second)).toEqual([]);
    await first.stop();
    expect(await seriesOf(first)).toEqual([]);
    await eventually(async () => expect(await seriesOf(second)).not.toEqual([]));
  });
});
