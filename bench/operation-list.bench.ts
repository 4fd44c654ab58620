import { openPostgres, type PostgresUnderTest } from '../test/support/open-postgres';
import { percentile, percentilesMs, timesAs, type Measure, type Report } from './support/report';

const samples = 100;
const perPage = 100;
const many = 100_000;
const mostTimes = 2;

/** Whether a page of ended operations costs more when there are a thousand times as many. Baseline: the page that is all there is. */
export async function run(): Promise<Report> {
  const postgres = await openPostgres();
  try {
    await addEnded(postgres, 1, perPage);
    const baseline = await timePage(postgres, 1);
    const measures: Measure[] = [{ what: `the page of ${perPage} operations`, value: percentilesMs(baseline) }];
    await addEnded(postgres, perPage + 1, many);
    await postgres.sql('ANALYZE maestro.operations');
    const ratios: number[] = [];
    const last = many / perPage;
    for (const [place, page] of Object.entries({ first: 1, middle: last / 2, last })) {
      const times = await timePage(postgres, page);
      ratios.push(percentile(times, 0.5) / percentile(baseline, 0.5));
      measures.push({
        what: `the ${place} page of ${many}`,
        value: percentilesMs(times),
        ratio: `p50 ${timesAs(percentile(times, 0.5), percentile(baseline, 0.5))}`,
      });
    }
    const kept = ratios.every((ratio) => ratio <= mostTimes);
    return { measures, targets: [{ promise: `no page takes more than ${mostTimes} x as long (p50)`, kept }] };
  } finally {
    await postgres.close();
  }
}

async function timePage({ operations }: PostgresUnderTest, page: number): Promise<number[]> {
  const times: number[] = [];
  while (times.length < samples) {
    const startedAt = performance.now();
    const answer = await operations.list('arena', { stage: 'final', order: 'desc', page, perPage });
    times.push(performance.now() - startedAt);
    if (answer.operations.length !== perPage)
      throw new Error(`page ${page} has ${answer.operations.length} operations`);
  }
  return times;
}

/** Numbered as their ends would have numbered them. */
async function addEnded(postgres: PostgresUnderTest, first: number, last: number): Promise<void> {
  await postgres.sql(
    `INSERT INTO maestro.operations (scheduler_name, definition, input, priority, actor, status, attempt,
       started_at, finished_at, final_number)
     SELECT 'arena', 'health_controller', '{"tookAction": true}', 30, 'health_controller', 'finished', 1, now(), now(), number
     FROM generate_series($1::bigint, $2::bigint) AS number`,
    [first, last],
  );
}
