import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { brokenRoom, eagerRoom, schedulerRequest, silentRoom } from '../support/cluster-schedulers';
import { eventually } from '../support/eventually';
import { MaestroCluster, hastyTimes, openStatuses, tell, type StoredOperation } from '../support/maestro-cluster';
import { StepTraps } from '../support/step-traps';
import type { WorkerPool } from '../support/worker-pool';

/** How long workers are killed; by hand longer: MAESTRO_TEST_RANDOM_KILLS_SECONDS=600. */
const stormMs = Number(process.env['MAESTRO_TEST_RANDOM_KILLS_SECONDS'] ?? 20) * 1_000;
/** What is ordered, and who is killed when, follows from it; how far each had come then does not. */
const seed = Number(process.env['MAESTRO_TEST_RANDOM_KILLS_SEED'] ?? Date.now() % 1_000_000);
const schedulersAtMost = 200;
const calmDownMs = 120_000 + stormMs;

/** Mulberry32: small, and the same everywhere. From 0 to 1. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe(`operations of many schedulers, seed ${seed}`, () => {
  const random = randomOf(seed);
  const pick = <T>(choices: readonly T[]): T => choices[Math.floor(random() * choices.length)]!;
  const names: string[] = [];
  let cluster: MaestroCluster;
  let workers: WorkerPool;

  beforeAll(async () => {
    process.stdout.write(`MAESTRO_TEST_RANDOM_KILLS_SEED=${seed}\n`);
    cluster = await MaestroCluster.start();
    workers = await cluster.startWorkers(2, hastyTimes);
  }, 90_000);

  afterAll(() => cluster.stop(), 60_000);

  const firstPortOf = (name: string): number => 24_000 + (names.indexOf(name) % 100) * 50;

  async function create(): Promise<void> {
    const name = `storm-${names.length}`;
    names.push(name);
    const roomsReplicas = pick([0, 0, 0, 1]);
    const request = schedulerRequest(name, { roomsReplicas, command: silentRoom, firstPort: firstPortOf(name) });
    expect((await cluster.call('POST', '/schedulers', request)).status).toBe(200);
  }

  async function cancelSome(name: string): Promise<void> {
    const open = (await cluster.operations(name)).filter(({ status }) => openStatuses.includes(status));
    if (open.length === 0) return;
    await cluster.call('POST', `/schedulers/${name}/operations/${pick(open).id}/cancel`, {});
  }

  /** Whatever a client may do; refusals are answers too, failures are not. */
  async function order(): Promise<void> {
    const name = pick(names);
    const path = `/schedulers/${name}`;
    const act = pick(['create', 'minor', 'minor', 'major', 'broken', 'switch', 'delete', 'cancel', 'cancel', 'cancel']);
    if (act === 'create') return names.length < schedulersAtMost ? create() : undefined;
    if (act === 'cancel') return cancelSome(name);
    const version = (command: string[]) =>
      schedulerRequest(name, { roomsReplicas: 0, command, firstPort: firstPortOf(name) });
    const [method, body] = (
      {
        minor: ['PATCH', { maxSurge: `${1 + Math.floor(random() * 90)}%` }],
        major: ['POST', version(eagerRoom)],
        broken: ['POST', version(brokenRoom)],
        switch: ['PUT', { version: pick(['v1.0.0', 'v1.1.0', 'v9.9.9']) }],
        delete: ['DELETE', undefined],
      } as const
    )[act]!;
    const { status, body: answer } = await cluster.call(method, path, body);
    expect({ status: status < 500, method, path, answer }).toEqual({ status: true, method, path, answer });
  }

  /** What must be true of everything when nothing is left to do. */
  async function expectConsistency(): Promise<void> {
    const operations = await cluster.settled(calmDownMs);
    const stored = await cluster.schedulers();
    expect(operations.filter(({ holdsSlot }) => holdsSlot)).toEqual([]);
    for (const operation of operations) {
      const ends = operation.events.filter((event) => event === 'Operation finished').length;
      // One that no worker took up was canceled without one.
      const wasTakenUp = operation.status !== 'canceled' || operation.events.includes('Starting operation rollback');
      const isDuplicate = operation.definition === 'health_controller' && operation.status === 'canceled';
      if (!isDuplicate) expect({ [tell(operation)]: ends }).toEqual({ [tell(operation)]: wasTakenUp ? 1 : 0 });
    }
    const finished = (name: string, definition: string): StoredOperation[] =>
      operations
        .filter((each) => each.scheduler === name && each.definition === definition && each.status === 'finished')
        .sort((a, b) => a.finishedAt!.getTime() - b.finishedAt!.getTime());
    for (const { name, state, version, versions, roomsReplicas } of stored) {
      const deletions = operations.filter((each) => each.scheduler === name && each.definition === 'delete_scheduler');
      // A deletion that was canceled half-way leaves it so.
      const isLeaving = state === 'terminating' && deletions.some(({ status }) => status === 'canceled');
      if (!isLeaving) expect({ name, state }).toEqual({ name, state: 'in-sync' });
      const made = finished(name, 'create_new_scheduler_version').length;
      expect({ name, versions: versions.length }).toEqual({ name, versions: made + 1 });
      const lastSwitch = finished(name, 'switch_active_version').at(-1);
      expect({ name, version }).toEqual({ name, version: lastSwitch?.input['newActiveVersion'] ?? 'v1.0.0' });
      if (isLeaving) continue;
      await eventually(
        () => {
          const rooms = cluster.rooms(name);
          expect({ name, rooms: rooms.map((room) => room.version) }).toEqual({
            name,
            rooms: Array.from({ length: roomsReplicas }, (): unknown => expect.any(String)),
          });
          expect(rooms.filter(({ validation }) => validation)).toEqual([]);
        },
        { timeoutMs: calmDownMs, everyMs: 200 },
      );
    }
    const known = new Set(stored.map(({ name }) => name));
    await eventually(() => expect(cluster.placesOfSchedulers().filter((name) => !known.has(name))).toEqual([]), {
      timeoutMs: calmDownMs,
      everyMs: 200,
    });
    expect(workers.crashes).toEqual([]);
  }

  it(
    'end each once, whichever workers are killed while clients order and cancel',
    async () => {
      for (let count = 0; count < 12; count++) await create();
      const endsAt = Date.now() + stormMs;
      let nextKillAt = Date.now() + 2_000;
      while (Date.now() < endsAt) {
        await order();
        if (Date.now() >= nextKillAt) {
          await workers.killOne(random());
          nextKillAt = Date.now() + 1_000 + random() * 3_000;
        }
        // The pace of the clients.
        await sleep(random() * 150);
      }
      await expectConsistency();
    },
    stormMs + 2 * calmDownMs,
  );

  it(
    'end each once although Redis forgets everything while they are pending and run',
    async () => {
      const redis = new Redis(cluster.redis.url);
      try {
        const before = (await cluster.operations()).length;
        for (let count = 0; count < 6; count++) await create();
        await redis.flushall();
        for (let count = 0; count < 40; count++) await order();
        await redis.flushall();
        await expectConsistency();
        expect((await cluster.operations()).length).toBeGreaterThan(before + 6);
      } finally {
        redis.disconnect();
      }
    },
    2 * calmDownMs,
  );
});

describe('an operation whose worker is killed, with the times that Maestro ships', () => {
  let cluster: MaestroCluster;
  const traps = new StepTraps();

  beforeAll(async () => {
    cluster = await MaestroCluster.start();
    await cluster.startWorkers(2, traps.environment);
  }, 90_000);

  afterAll(async () => {
    await cluster.stop();
    traps.remove();
  }, 60_000);

  it('is resumed by another one within 15 s', async () => {
    traps.arm([{ scheduler: 'arena', definition: 'create_scheduler', step: 'open', edge: 'before' }]);
    const request = schedulerRequest('arena', { roomsReplicas: 0, command: silentRoom, firstPort: 24_000 });
    await cluster.call('POST', '/schedulers', request);
    await eventually(() => expect(traps.sprung()).toHaveLength(1), { timeoutMs: 30_000 });
    await eventually(
      async () => {
        const [operation] = await cluster.operations('arena');
        expect(operation).toMatchObject({ definition: 'create_scheduler', status: 'finished' });
        expect(operation!.events).toContain('Resuming operation, attempt 2');
      },
      { timeoutMs: 15_000 },
    );
  }, 60_000);

  it('gets its rooms although that one died between its end and the look that follows, long before the periodic one', async () => {
    traps.arm([
      { scheduler: 'fleet', definition: 'create_scheduler', step: 'ended', edge: 'after' },
      { scheduler: 'fleet', definition: 'health_controller', step: 'plan', edge: 'after' },
    ]);
    const request = schedulerRequest('fleet', { roomsReplicas: 2, command: silentRoom, firstPort: 24_100 });
    await cluster.call('POST', '/schedulers', request);
    await eventually(() => expect(traps.sprung().filter(({ scheduler }) => scheduler === 'fleet')).toHaveLength(2), {
      timeoutMs: 30_000,
    });
    await eventually(() => expect(cluster.rooms('fleet')).toHaveLength(2), { timeoutMs: 20_000 });
    await cluster.settled(20_000);
    const orders = (await cluster.operations('fleet')).filter(({ definition }) => definition === 'add_rooms');
    expect(orders).toMatchObject([{ status: 'finished', input: { amount: 2 } }]);
  }, 90_000);
});
