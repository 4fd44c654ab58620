import { rmSync } from 'node:fs';
import { removeDataElsewhere } from '../../src/adapters/embedded-servers/data-directory';
import { startPostgresServer, type PostgresServer } from '../../src/adapters/embedded-servers/postgres-server';
import { QuietLogger, makeTestStateDirectory, startTestRedis } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import { startMaestroInProcess, type MaestroInProcess } from '../support/maestro-in-process';
import { stuckNamePrefix } from '../support/pretend-names';
import { TcpGate } from '../support/tcp-gate';
import { sampleContainer } from '../conformance/sample-scheduler';

/** An answer that takes longer than this counts as none. Milliseconds. */
const patienceMs = 8_000;

const leaseTtlMs = 1_500;

const stateDirectory = makeTestStateDirectory();
let postgres: PostgresServer;
let redis: Awaited<ReturnType<typeof startTestRedis>>;
let gate: Awaited<ReturnType<typeof TcpGate.start>>;
let maestro: MaestroInProcess;

const startPostgres = (port: number): Promise<PostgresServer> =>
  startPostgresServer({ stateDirectory, port, throwAway: true, logger: new QuietLogger() });

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(0), startTestRedis()]);
  const redisUrl = new URL(redis.url);
  gate = await TcpGate.start(Number(redisUrl.port));
  redisUrl.port = String(gate.port);
  maestro = await startMaestroInProcess(
    ['management-api', 'rooms-api', 'worker', 'runtime-watcher'],
    {
      MAESTRO_SERVICES_OPERATIONMANAGER_OPERATIONLEASETTLMILLIS: String(leaseTtlMs),
      MAESTRO_WORKERS_SWEEPINTERVAL: '300ms',
      MAESTRO_WORKERS_RETRYDELAY: '500ms',
      MAESTRO_WORKERS_HEALTHCONTROLLERINTERVAL: '1s',
      MAESTRO_LOOPS_LEASETTL: '2s',
    },
    { postgresUrl: postgres.url, redisUrl: redisUrl.href },
  );
});
afterAll(async () => {
  await maestro.close();
  await gate.stop();
  await Promise.all([postgres.stop(), redis.stop()]);
  removeDataElsewhere(stateDirectory);
  rmSync(stateDirectory, { recursive: true, force: true });
});

interface Answer {
  status: number;
  body: Record<string, unknown>;
}

const call = async (method: string, path: string, body?: unknown): Promise<Answer> => {
  const answer = await fetch(`http://127.0.0.1:${maestro.ports.management}${path}`, {
    method,
    signal: AbortSignal.timeout(patienceMs),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
};

const readiness = async (): Promise<number> =>
  (await fetch(`http://127.0.0.1:${maestro.ports.internal}/readyz`, { signal: AbortSignal.timeout(patienceMs) }))
    .status;

const becomesReady = (status: number) =>
  eventually(async () => expect(await readiness()).toBe(status), { timeoutMs: 20_000, everyMs: 50 });

const create = (name: string): Promise<Answer> =>
  call('POST', '/schedulers', {
    name,
    game: 'arena',
    maxSurge: '10%',
    portRange: { start: 40_000, end: 60_000 },
    roomsReplicas: 3,
    spec: { terminationGracePeriod: '1s', containers: [sampleContainer()] },
  });

const roomsReady = async (name: string): Promise<unknown> => {
  const { body } = await call('GET', '/schedulers/info');
  const fleet = (body['schedulers'] as { name: string; roomsReady: number }[]).find((each) => each.name === name);
  return fleet?.roomsReady;
};

const hasRooms = (name: string, count: number) =>
  eventually(async () => expect(await roomsReady(name)).toBe(count), { timeoutMs: 20_000, everyMs: 50 });

const operationsOf = (name: string) =>
  maestro.sql<{ definition: string; status: string; ends: number }>(
    `SELECT definition, status, (SELECT count(*)::int FROM maestro.operation_events e
       WHERE e.operation_id = o.id AND e.event = 'Operation finished') AS ends
     FROM maestro.operations o WHERE scheduler_name = $1 ORDER BY seq`,
    [name],
  );

/** Nothing is open, nothing failed, and each end was written once. */
const allFinishedOnce = (name: string) =>
  eventually(
    async () => {
      const operations = await operationsOf(name);
      expect(operations.filter(({ status, ends }) => status !== 'finished' || ends !== 1)).toEqual([]);
    },
    { timeoutMs: 20_000, everyMs: 50 },
  );

describe('Redis goes away while operations run and more are ordered', () => {
  beforeAll(async () => {
    expect((await create('before')).status).toBe(200);
    await hasRooms('before', 3);
    await gate.stop();
  });

  it('shows in the readiness', () => becomesReady(503));

  it('keeps nobody from ordering, and what needs no Redis is done meanwhile', async () => {
    const [created, patched] = await Promise.all([
      create('during'),
      call('PATCH', '/schedulers/before', { roomsReplicas: 5 }),
    ]);
    expect([created.status, patched.status]).toEqual([200, 200]);
    await eventually(
      async () => {
        expect((await operationsOf('during'))[0]).toMatchObject({ definition: 'create_scheduler', status: 'finished' });
        expect((await call('GET', '/schedulers/before')).body['scheduler']).toMatchObject({ roomsReplicas: 5 });
      },
      { timeoutMs: 20_000, everyMs: 50 },
    );
    expect(await readiness()).toBe(503);
  });

  it('loses nothing and does nothing twice once it is back, by itself', async () => {
    gate = await TcpGate.start(Number(new URL(redis.url).port), gate.port);
    await becomesReady(200);
    await Promise.all([hasRooms('during', 3), hasRooms('before', 5)]);
    await Promise.all([allFinishedOnce('during'), allFinishedOnce('before')]);
    const instances = (await maestro.runtime.listInstances()).map(({ scheduler }) => scheduler).sort();
    expect(instances).toEqual([...Array<string>(5).fill('before'), ...Array<string>(3).fill('during')]);
  });
});

describe('PostgreSQL restarts while an operation runs', () => {
  const stuck = `${stuckNamePrefix}over-a-restart`;

  const creationHistory = async (): Promise<string[]> => {
    const events = await maestro.sql<{ event: string }>(
      `SELECT event FROM maestro.operation_events e JOIN maestro.operations o ON o.id = e.operation_id
       WHERE o.scheduler_name = $1 AND o.definition = 'create_scheduler' ORDER BY e.seq`,
      [stuck],
    );
    return events.map(({ event }) => event);
  };

  beforeAll(async () => {
    expect((await create('steady')).status).toBe(200);
    await hasRooms('steady', 3);
    expect((await create(stuck)).status).toBe(200);
    await eventually(async () => expect(await creationHistory()).toEqual(['Created', 'Starting operation']));
    await postgres.stop();
  });

  it('shows in the readiness, and every call is answered with what is wrong', async () => {
    await becomesReady(503);
    const answers = await Promise.all([
      call('GET', '/schedulers'),
      create('refused'),
      call('PATCH', '/schedulers/steady', { roomsReplicas: 5 }),
      call('GET', '/schedulers/steady/operations?stage=final'),
    ]);
    for (const { status, body } of answers) {
      expect([status, body]).toEqual([503, expect.objectContaining({ code: 14, message: expect.any(String) })]);
    }
  });

  it('lasts until the lease of the operation has run out', async () => {
    const isOver = Date.now() + leaseTtlMs;
    await eventually(() => expect(Date.now()).toBeGreaterThan(isOver));
  });

  it('is got over by itself: what ran is resumed and ends once, what was refused left nothing', async () => {
    postgres = await startPostgres(Number(new URL(postgres.url).port));
    await becomesReady(200);
    maestro.runtime.release();
    await allFinishedOnce(stuck);
    // What held it before has written nothing since.
    expect(await creationHistory()).toEqual([
      'Created',
      'Starting operation',
      'Resuming operation, attempt 2',
      'Operation finished',
    ]);
    await Promise.all([hasRooms(stuck, 3), hasRooms('steady', 3)]);
    expect((await call('GET', '/schedulers/refused')).status).toBe(404);
    expect((await create('refused')).status).toBe(200);
    await hasRooms('refused', 3);
    await Promise.all(['refused', 'steady', stuck].map(allFinishedOnce));
  });
});

describe('a worker that is asked to stop', () => {
  /** Ends what it began, or says that it leaves it. */
  const remarks = (worker: MaestroInProcess): string[] =>
    worker.log.lines.map(({ message }) => message).filter((message) => message.startsWith('did not stop in time'));

  it('does not wait for a Redis that is away', async () => {
    const behind = new URL(redis.url);
    const door = await TcpGate.start(Number(behind.port));
    behind.port = String(door.port);
    const worker = await startMaestroInProcess(['worker'], {}, { postgresUrl: postgres.url, redisUrl: behind.href });
    await door.stop();
    await eventually(
      async () => {
        const answer = await fetch(`http://127.0.0.1:${worker.ports.internal}/readyz`);
        expect(answer.status).toBe(503);
      },
      { timeoutMs: 20_000, everyMs: 50 },
    );
    await worker.close();
    expect(remarks(worker)).toEqual([]);
  });
});
