import { schedulerRequest, silentRoom } from '../support/cluster-schedulers';
import { eventually } from '../support/eventually';
import { MaestroCluster, hastyTimes, openStatuses, tell, type StoredOperation } from '../support/maestro-cluster';
import type { WorkerPool } from '../support/worker-pool';

const patience = { timeoutMs: 60_000, everyMs: 50 };
const roomsReplicas = 3;

/** Processes that share a PostgreSQL, which leaves them in the lurch in the middle of their work. */
describe('two workers whose PostgreSQL', () => {
  const names: string[] = [];
  let cluster: MaestroCluster;
  let workers: WorkerPool;

  beforeAll(async () => {
    cluster = await MaestroCluster.start();
    workers = await cluster.startWorkers(2, hastyTimes);
  }, 90_000);

  afterAll(() => cluster.stop(), 60_000);

  async function create(count: number): Promise<void> {
    for (let made = 0; made < count; made++) {
      const name = `fleet-${names.length}`;
      const request = schedulerRequest(name, {
        roomsReplicas,
        command: silentRoom,
        firstPort: 24_000 + names.length * 50,
      });
      names.push(name);
      expect((await cluster.call('POST', '/schedulers', request)).status).toBe(200);
    }
  }

  const inTheMiddle = (): Promise<void> =>
    eventually(async () => {
      const operations = await cluster.operations();
      expect(operations.filter(({ holdsSlot }) => holdsSlot)).not.toEqual([]);
    }, patience);

  const everybodyIs = (status: number): Promise<void> =>
    eventually(async () => {
      const answers = [await cluster.api.readiness(), ...(await workers.readiness())];
      expect(answers).toEqual([status, status, status]);
    }, patience);

  /** Each fleet came up by one order, whose rooms are those that run, and nothing ended twice. */
  async function expectDoneOnce(): Promise<void> {
    await eventually(async () => {
      for (const name of names)
        expect({ name, rooms: cluster.rooms(name).length }).toEqual({ name, rooms: roomsReplicas });
      const open = (await cluster.operations()).filter(({ status }) => openStatuses.includes(status));
      expect(open.map(tell)).toEqual([]);
    }, patience);
    const operations = await cluster.operations();
    for (const operation of operations) {
      const count = (event: string): number => operation.events.filter((each) => each === event).length;
      expect({ [tell(operation)]: [operation.status, count('Operation finished')] }).toEqual({
        [tell(operation)]: ['finished', 1],
      });
      // None if the database went between the claim and its first line.
      expect(count('Starting operation')).toBeLessThanOrEqual(1);
    }
    for (const name of names) {
      const orders = operations.filter((each) => each.scheduler === name && each.definition === 'add_rooms');
      expect({ name, orders: orders.map(roomsOf) }).toEqual({
        name,
        orders: [cluster.rooms(name).map(({ id }) => id)],
      });
    }
    expect(workers.crashes).toEqual([]);
  }

  it('restarts lose nothing, do nothing twice, and go on by themselves', async () => {
    for (let round = 0; round < 3; round++) {
      await create(4);
      await inTheMiddle();
      await cluster.postgres.server.restart();
    }
    await everybodyIs(200);
    await expectDoneOnce();
  }, 150_000);

  it('hangs for longer than their leases say so, lose nothing, and act on no lease that they lost', async () => {
    await create(6);
    await inTheMiddle();
    cluster.postgres.server.pause();
    await everybodyIs(503);
    // Answers, and not the client's own patience: with a statement on its way, in a transaction, and without a connection.
    const calls = Array.from({ length: 12 }, (_, count) => [
      cluster.call('GET', '/schedulers'),
      cluster.call('PATCH', `/schedulers/${names[0]}`, { maxSurge: `${10 + count}%` }),
    ]).flat();
    for (const { status, body } of await Promise.all(calls)) {
      expect({ status, body }).toEqual({ status: 503, body: expect.objectContaining({ code: 14 }) });
    }
    cluster.postgres.server.resume();
    await everybodyIs(200);
    await expectDoneOnce();
    expect((await cluster.call('PATCH', `/schedulers/${names[0]}`, { maxSurge: '9%' })).status).toBe(200);
    await expectDoneOnce();
  }, 150_000);
});

/** Without handing over, nothing would go on: no lease runs out, and nobody sweeps. */
describe('a worker that is asked to stop in the middle of an operation', () => {
  const times = {
    ...hastyTimes,
    MAESTRO_SERVICES_OPERATIONMANAGER_OPERATIONLEASETTLMILLIS: '600000',
    MAESTRO_WORKERS_SWEEPINTERVAL: '10m',
  };
  let cluster: MaestroCluster;

  beforeAll(async () => {
    cluster = await MaestroCluster.start();
  }, 90_000);

  afterAll(() => cluster.stop(), 60_000);

  it('hands it over to another one, which goes on at once', async () => {
    const workers = await Promise.all([cluster.startWorker(times), cluster.startWorker(times)]);
    const request = {
      ...schedulerRequest('crowd', { roomsReplicas: 200, command: ['/bin/sleep', '1000'], firstPort: 24_000 }),
      portRange: { start: 24_000, end: 24_999 },
    };
    expect((await cluster.call('POST', '/schedulers', request)).status).toBe(200);
    const order = async (): Promise<StoredOperation> => {
      const found = (await cluster.operations('crowd')).find(({ definition }) => definition === 'add_rooms');
      if (found === undefined) throw new Error('no rooms were ordered');
      return found;
    };
    const held = await eventually(async () => {
      const found = await order();
      if (found.leaseOwner === null) throw new Error(tell(found));
      return found.leaseOwner;
    }, patience);
    const holder = workers.find(({ pid }) => held.split('/')[1] === String(pid))!;
    expect(await holder.stop()).toEqual({ code: 0, signal: null });
    await eventually(async () => {
      const { status, events } = await order();
      expect(status).toBe('finished');
      expect(events).toEqual([
        'Created',
        'Starting operation',
        'the worker stops: another one resumes this operation',
        'Resuming operation, attempt 2',
        'added 200 rooms',
        'Operation finished',
      ]);
    }, patience);
    expect(cluster.rooms('crowd').map(({ id }) => id)).toEqual(roomsOf(await order()));
  }, 120_000);
});

function roomsOf({ progress }: StoredOperation): string[] {
  return [...(progress['roomIds'] as string[])].sort();
}
