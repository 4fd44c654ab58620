import { eventually } from '../test/support/eventually';
import { insertOperations, openDatabases, schedulerNames, type Databases } from './support/databases';
import { timesAs, type Measure, type Report } from './support/report';
import { WorkerProcess } from './support/worker-process';

/** A runtime that answers as Kubernetes does. */
const runtimeDelayMs = 30;
const mostUneven = 2;

interface Load {
  workers: number;
  schedulers: number;
  perScheduler: number;
  /** The last worker comes when the others are at work. */
  joins?: boolean;
}

/**
 * How evenly workers share schedulers that all have work, whether there are many or few for each worker and also when one of
 * them comes late, and what a worker more is worth on this machine.
 */
export async function run(): Promise<Report> {
  const measures: Measure[] = [];
  const shares: number[] = [];
  let alonePerSecond = 0;
  const loads: Load[] = [
    { workers: 1, schedulers: 200, perScheduler: 2 },
    { workers: 2, schedulers: 200, perScheduler: 3 },
    { workers: 4, schedulers: 200, perScheduler: 3 },
    { workers: 2, schedulers: 40, perScheduler: 25, joins: true },
  ];
  for (const load of loads) {
    const { ended, elapsedMs } = await measure(load);
    const total = ended.reduce((sum, each) => sum + each, 0);
    const perSecond = (total / elapsedMs) * 1_000;
    if (load.workers === 1) alonePerSecond = perSecond;
    const share = Math.max(...ended) / Math.min(...ended);
    if (load.workers > 1) shares.push(share);
    measures.push({
      what: `${load.workers} worker${load.workers === 1 ? '' : 's'}, ${load.schedulers} schedulers${load.joins === true ? ', the last joins late' : ''}`,
      value: `${ended.join(' + ')} operations, max/min ${share.toFixed(2)}, ${perSecond.toFixed(0)}/s`,
      ratio: `${timesAs(perSecond, alonePerSecond)} one worker`,
    });
  }
  const kept = shares.every((share) => share <= mostUneven);
  return { measures, targets: [{ promise: `no worker does more than ${mostUneven} x as much as another`, kept }] };
}

/** What each did from the moment on in which all of them were there. */
async function measure({ workers: count, schedulers: schedulerCount, perScheduler, joins = false }: Load) {
  const databases = await openDatabases();
  const schedulers = schedulerNames(schedulerCount);
  const workers: WorkerProcess[] = [];
  const start = async (more: number): Promise<void> => {
    workers.push(
      ...(await Promise.all(Array.from({ length: more }, () => WorkerProcess.start(databases, runtimeDelayMs)))),
    );
  };
  const ended = () => Promise.all(workers.map((worker) => worker.ended()));
  try {
    await start(joins ? count - 1 : count);
    await insertOperations(databases.postgres, schedulers, perScheduler);
    await Promise.all(schedulers.map((scheduler) => databases.wakeUps.ring('operations', scheduler)));
    if (joins) await start(1);
    const before = await ended();
    const startedAt = performance.now();
    await allEnded(databases);
    const elapsedMs = performance.now() - startedAt;
    return { ended: (await ended()).map((each, index) => each - (joins ? before[index]! : 0)), elapsedMs };
  } finally {
    await Promise.all(workers.map((worker) => worker.stop()));
    await databases.close();
  }
}

async function allEnded({ postgres }: Databases): Promise<void> {
  const check = async (): Promise<void> => {
    const [open] = await postgres.sql(`SELECT FROM maestro.operations WHERE finished_at IS NULL LIMIT 1`);
    if (open !== undefined) throw new Error('the workers did not end what there is in time');
  };
  await eventually(check, { timeoutMs: 50_000, everyMs: 50 });
}
