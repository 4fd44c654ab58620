import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { startTestPostgres, startTestRedis } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import {
  MaestroProcess,
  freePorts,
  isAlive,
  processesOf,
  roomProcesses,
  temporaryStateDirectory,
} from '../support/maestro-process';

const sample = readFileSync(resolve(__dirname, '../../examples/schedulers/arena.json'), 'utf8');

interface FleetInfo {
  schedulers: { roomsReady: number }[];
}

/** How the roles are deployed: a process each, sharing nothing but the databases and the runtime. */
describe('roles in processes of their own', () => {
  const state = temporaryStateDirectory();
  const stops: (() => Promise<unknown>)[] = [];
  let environment: Record<string, string>;
  let management: MaestroProcess;
  let worker: MaestroProcess;
  let roomsPort: number;

  beforeAll(async () => {
    const [postgres, redis] = await Promise.all([startTestPostgres(), startTestRedis()]);
    stops.push(
      () => postgres.stop(),
      () => redis.stop(),
    );
    const rooms = await freePorts();
    roomsPort = rooms.rooms;
    environment = {
      MAESTRO_STATE_DIRECTORY: state.path,
      // v10's names.
      MAESTRO_ADAPTERS_SCHEDULERSTORAGE_POSTGRES_URL: postgres.url,
      MAESTRO_ADAPTERS_ROOMSTORAGE_REDIS_URL: redis.url,
      MAESTRO_ROOMSAPI_PUBLICURL: `http://127.0.0.1:${roomsPort}`,
      MAESTRO_SERVICES_OPERATIONMANAGER_OPERATIONLEASETTLMILLIS: '1500',
      MAESTRO_WORKERS_SWEEPINTERVAL: '300ms',
      MAESTRO_LOOPS_LEASETTL: '2s',
    };
    const migration = new MaestroProcess(['migrate'], await freePorts(), environment);
    expect(await migration.exited()).toMatchObject({ code: 0 });
    management = await run(['start', 'management-api']);
    await run(['start', '--role', 'rooms-api'], { ...rooms });
    worker = await run(['start', '--role', 'worker,runtime-watcher']);
  }, 90_000);

  afterAll(async () => {
    for (const stop of stops.reverse()) await stop();
    state.remove();
  }, 60_000);

  async function run(arguments_: string[], ports?: Awaited<ReturnType<typeof freePorts>>): Promise<MaestroProcess> {
    const started = new MaestroProcess(arguments_, ports ?? (await freePorts()), environment);
    stops.push(() => started.stop());
    return started.ready();
  }

  const roomsReady = async (): Promise<number | undefined> =>
    (await management.get<FleetInfo>('/schedulers/info')).schedulers[0]?.roomsReady;

  it('bring up the rooms of a scheduler', async () => {
    const created = await management.post('/schedulers', JSON.parse(sample));
    expect(created.status).toBe(200);
    expect(await created.json()).toMatchObject({ scheduler: { name: 'arena', state: 'creating' } });
    await eventually(async () => expect(await roomsReady()).toBe(3), { timeoutMs: 20_000, everyMs: 50 });
  }, 30_000);

  it('replace a killed room although worker and watcher talk through the databases only', async () => {
    const [victim, pid] = [...roomProcesses(state.path, 'arena')][0]!;
    process.kill(pid, 'SIGKILL');
    await eventually(
      async () => {
        expect(roomProcesses(state.path, 'arena').has(victim)).toBe(false);
        expect(await roomsReady()).toBe(3);
      },
      { timeoutMs: 5_000, everyMs: 50 },
    );
  }, 20_000);

  it('leave the rooms alone when the worker and watcher stop, and another takes over', async () => {
    const before = roomProcesses(state.path, 'arena');
    expect(await worker.stop()).toEqual({ code: 0, signal: null });
    expect(roomProcesses(state.path, 'arena')).toEqual(before);
    worker = await run(['start', '--role', 'worker,runtime-watcher']);
    process.kill([...before.values()][0]!, 'SIGKILL');
    await eventually(
      async () => {
        expect([...roomProcesses(state.path, 'arena').keys()]).not.toContain([...before.keys()][0]);
        expect(await roomsReady()).toBe(3);
      },
      { timeoutMs: 15_000, everyMs: 50 },
    );
  }, 60_000);

  it('finish an operation that waits, though the worker that began it was killed', async () => {
    // Rooms that do not heed SIGTERM keep a deletion waiting for their grace period.
    const stubborn = JSON.parse(sample) as {
      name: string;
      spec: { terminationGracePeriod: string; containers: { command: string[] }[] };
    };
    stubborn.name = 'stubborn';
    stubborn.spec.terminationGracePeriod = '12s';
    stubborn.spec.containers[0]!.command = [
      'node',
      '-e',
      "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)",
    ];
    await management.post('/schedulers', stubborn);
    await eventually(() => expect(roomProcesses(state.path, 'stubborn').size).toBe(3), { timeoutMs: 15_000 });
    const rooms = [...roomProcesses(state.path, 'stubborn').values()];
    const answer = await fetch(`http://127.0.0.1:${management.ports.management}/schedulers/stubborn`, {
      method: 'DELETE',
    });
    const { operationId } = (await answer.json()) as { operationId: string };
    const operation = async () =>
      (
        await management.get<{ operation: { status: string; executionHistory: { event: string }[] } }>(
          `/schedulers/stubborn/operations/${operationId}`,
        )
      ).operation;
    const events = async () => (await operation()).executionHistory.map(({ event }) => event);
    await eventually(
      async () =>
        expect(await events()).toContainEqual(expect.stringMatching(/^Waiting for instances to be deleted: /)),
      { timeoutMs: 11_000 },
    );
    await worker.kill();
    worker = await run(['start', '--role', 'worker,runtime-watcher']);
    await eventually(async () => expect((await operation()).status).toBe('finished'), {
      timeoutMs: 30_000,
      everyMs: 50,
    });
    expect((await events()).filter((event) => event === 'Starting operation')).toHaveLength(1);
    expect(rooms.filter(isAlive)).toEqual([]);
    expect(
      (await management.get<{ schedulers: { name: string }[] }>('/schedulers')).schedulers.map(({ name }) => name),
    ).toEqual(['arena']);
  }, 90_000);

  it('leave no process behind when the scheduler is deleted and all roles stop', async () => {
    await fetch(`http://127.0.0.1:${management.ports.management}/schedulers/arena`, { method: 'DELETE' });
    await eventually(async () => expect(await management.get('/schedulers')).toEqual({ schedulers: [] }), {
      timeoutMs: 30_000,
    });
    expect(processesOf(`127.0.0.1:${roomsPort}`).filter((each) => each.includes('room.mjs'))).toEqual([]);
  }, 60_000);
});
