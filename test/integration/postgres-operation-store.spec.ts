import fc from 'fast-check';
import { PostgresListener } from '../../src/adapters/postgres/postgres-listener';
import { PostgresOperationStore } from '../../src/adapters/postgres/postgres-operation-store';
import { PostgresUnitOfWork } from '../../src/adapters/postgres/postgres-unit-of-work';
import {
  healingDefinitions,
  operationDefinitions,
  operationPriorities,
  versionChanges,
  type Operation,
  type OperationDefinition,
  type OperationEndStatus,
  type OperationInputs,
} from '../../src/domain/operation/operation';
import type { OperationListing } from '../../src/domain/operation/parse-operation-listing';
import type { HeldOperation } from '../../src/ports/operation-store';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { openPostgres, type PostgresStores, type PostgresUnderTest } from '../support/open-postgres';

// A hundred thousand rows, and hundreds of states.
jest.setTimeout(60_000);

const ttlMs = 60_000;
/** A kind of operation that a newer version of Maestro made. */
const ofTheFuture = 'of_the_future';
const inputs: OperationInputs = {
  create_scheduler: { scheduler: {} },
  create_new_scheduler_version: { scheduler: {}, definition: aSchedulerDefinition() },
  switch_active_version: { newActiveVersion: 'v1.1.0' },
  delete_scheduler: {},
  add_rooms: { amount: 1 },
  remove_rooms: { amount: 1, roomIds: ['room-1'], reason: 'scale_down' },
  health_controller: {},
};

let postgres: PostgresUnderTest;
let other: PostgresStores;

beforeAll(async () => {
  postgres = await openPostgres();
  other = await postgres.another();
});
afterAll(() => postgres.close());
beforeEach(() => postgres.clear());

const insert = async <D extends OperationDefinition>(definition: D, scheduler = 'arena'): Promise<Operation<D>> =>
  (await postgres.operations.insert({ scheduler, definition, input: inputs[definition], actor: 'api' }))!;

const claim = (owner = 'me', scheduler = 'arena'): Promise<HeldOperation | null> =>
  postgres.operations.claimNext(scheduler, owner, ttlMs);

const take = async (owner = 'me', scheduler = 'arena'): Promise<HeldOperation> => (await claim(owner, scheduler))!;

const end = (held: HeldOperation, status: OperationEndStatus = 'finished', hidden = false): Promise<void> =>
  postgres.operations.finish(held, { status, hidden, event: 'Operation finished' });

/** The worker that holds it is not heard of any more. */
const letLeaseExpire = (id: string) =>
  postgres.sql(`UPDATE maestro.operations SET lease_expires_at = clock_timestamp() - interval '1 ms' WHERE id = $1`, [
    id,
  ]);

const historyOf = async (id: string, scheduler = 'arena'): Promise<string[]> =>
  (await postgres.operations.get(scheduler, id))!.history.map(({ event }) => event);

const allFinal: OperationListing = { stage: 'final', order: 'asc', page: 1, perPage: 100 };

const operationOf = async (id: string, scheduler = 'arena'): Promise<Operation> =>
  (await postgres.operations.get(scheduler, id))!.operation;

const statusOf = async (id: string, scheduler = 'arena') => (await operationOf(id, scheduler)).status;

/** Until a transaction of `postgres` waits for another one. */
const untilBlocked = (): Promise<void> =>
  eventually(async () => {
    const waiting = await postgres.sql(
      `SELECT FROM pg_stat_activity WHERE application_name = 'test-stores' AND wait_event_type = 'Lock'`,
    );
    expect(waiting).toHaveLength(1);
  });

/** What the tests below do to an operation that has not ended, and in what stage it then is. */
const stages: [string, (id: string) => Promise<unknown>][] = [
  ['pending', async () => undefined],
  ['running', async () => take()],
  ['waiting', async () => postgres.operations.wait(await take(), ttlMs)],
  ['given back', async () => postgres.operations.release(await take(), ttlMs)],
  ['left behind', async (id) => take().then(() => letLeaseExpire(id))],
  ['being canceled', async (id) => take().then(() => postgres.operations.cancel('arena', id, 'cancel'))],
  ['rolling back', async () => postgres.operations.beginRollback(await take(), 'error', [])],
];

describe('a new operation', () => {
  it('is pending, with the event Created', async () => {
    const operation = await insert('add_rooms');
    expect(operation).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      scheduler: 'arena',
      definition: 'add_rooms',
      input: { amount: 1 },
      status: 'pending',
      attempt: 0,
      actor: 'api',
      reason: '',
      createdAt: expect.any(Date),
      startedAt: null,
      finishedAt: null,
      cancelRequestedAt: null,
      waiting: false,
      leaseExpiresAt: null,
    });
    expect(await postgres.operations.get('arena', operation.id)).toEqual({
      operation,
      history: [{ createdAt: expect.any(Date), event: 'Created' }],
    });
  });

  it.each([
    ['another scheduler', 'other', (id: string) => id],
    ['an unknown id', 'arena', () => '00000000-0000-4000-8000-000000000000'],
    ['what is no id', 'arena', () => "'; DROP TABLE maestro.operations; --"],
    ['an empty id', 'arena', () => ''],
  ])('is not found under %s', async (_, scheduler, idOf) => {
    const { id } = await insert('add_rooms');
    expect(await postgres.operations.get(scheduler, idOf(id))).toBeNull();
  });

  it('is refused as the second pending health check of a scheduler, also when many are made at once', async () => {
    const made = await Promise.all(Array.from({ length: 10 }, () => insert('health_controller')));
    expect(made.filter((each) => each !== null)).toHaveLength(1);
    expect(await insert('health_controller', 'other')).not.toBeNull();
    const [{ count } = { count: '' }] = await postgres.sql<{ count: string }>(
      'SELECT count(*) FROM maestro.operation_events',
    );
    expect(count).toBe('2');
  });

  it('may be a health check while another one runs', async () => {
    await insert('health_controller');
    await take();
    expect(await insert('health_controller')).not.toBeNull();
    expect(await insert('health_controller')).toBeNull();
  });

  it('may be one of many pending ones of any other kind', async () => {
    await insert('add_rooms');
    expect(await insert('add_rooms')).not.toBeNull();
  });

  it('keeps why it was made', async () => {
    const made = (await postgres.operations.insert({
      scheduler: 'arena',
      definition: 'switch_active_version',
      input: { newActiveVersion: 'v1.0.0' },
      actor: 'system',
      reason: 'v1.1.0 does not start',
    }))!;
    expect(made).toMatchObject({ actor: 'system', reason: 'v1.1.0 does not start' });
    expect(await operationOf(made.id)).toEqual(made);
  });

  describe('that changes the version', () => {
    it('is the only open one of its scheduler, whoever asks and however many at once', async () => {
      for (let round = 0; round < 5; round++) {
        await postgres.clear();
        const made = await Promise.all(
          Array.from({ length: 20 }, (_, index) => {
            const definition = versionChanges[index % 2]!;
            const { operations } = index % 4 < 2 ? postgres : other;
            return operations.insert({ scheduler: 'arena', definition, input: inputs[definition], actor: 'api' });
          }),
        );
        expect(made.filter((each) => each !== null)).toHaveLength(1);
        expect(await postgres.sql('SELECT FROM maestro.operations')).toHaveLength(1);
      }
    });

    it.each(stages)('is refused while another one is %s, and welcome after its end', async (_, bring) => {
      const open = await insert('switch_active_version');
      await bring(open.id);
      for (const definition of versionChanges) expect(await insert(definition)).toBeNull();
      expect(await insert('switch_active_version', 'other')).not.toBeNull();
      expect(await insert('add_rooms')).not.toBeNull();
      await postgres.sql(
        `UPDATE maestro.operations SET status = 'error', holds_slot = false, finished_at = now() WHERE id = $1`,
        [open.id],
      );
      expect(await insert('create_new_scheduler_version')).not.toBeNull();
    });
  });
});

describe('taking the next operation', () => {
  it('takes nothing where there is nothing', async () => {
    expect(await claim()).toBeNull();
    await insert('add_rooms', 'other');
    expect(await claim()).toBeNull();
  });

  it('starts an attempt under a lease by the database’s clock', async () => {
    const { id } = await insert('add_rooms');
    const held = await take();
    expect(held).toMatchObject({
      operation: { id, status: 'in_progress', attempt: 1, startedAt: expect.any(Date) },
      progress: {},
      rollback: null,
    });
    const [row] = await postgres.sql<{ left: number; owner: string }>(
      `SELECT extract(epoch FROM lease_expires_at - clock_timestamp())::float AS left, lease_owner AS owner
       FROM maestro.operations WHERE id = $1`,
      [id],
    );
    expect(row?.owner).toBe('me');
    expect(row?.left).toBeGreaterThan(55);
    expect(row?.left).toBeLessThanOrEqual(60);
    expect(held.operation.leaseExpiresAt).toEqual(
      (await postgres.operations.get('arena', id))!.operation.leaseExpiresAt,
    );
  });

  it('says for how long it has run, from its first start on', async () => {
    const { id } = await insert('add_rooms');
    const held = await take();
    expect(held.ranForMs).toBeGreaterThanOrEqual(0);
    await postgres.sql(
      `UPDATE maestro.operations SET started_at = started_at - interval '90 s', lease_expires_at = now() WHERE id = $1`,
      [id],
    );
    const resumed = await take();
    expect(resumed.operation.attempt).toBe(2);
    expect(resumed.ranForMs).toBeGreaterThanOrEqual(90_000);
    expect(resumed.operation.startedAt!.getTime()).toBe(held.operation.startedAt!.getTime() - 90_000);
  });

  it('goes by priority, then by age', async () => {
    const inOrderOfAge: OperationDefinition[] = [
      'health_controller',
      'create_scheduler',
      'remove_rooms',
      'add_rooms',
      'delete_scheduler',
      'remove_rooms',
      'switch_active_version',
    ];
    const ids: string[] = [];
    for (const definition of inOrderOfAge) ids.push((await insert(definition)).id);
    const taken: string[] = [];
    for (let held = await claim(); held !== null; held = await claim()) {
      taken.push(held.operation.id);
      await end(held);
    }
    expect(taken).toEqual([4, 2, 3, 5, 1, 6, 0].map((index) => ids[index]));
  });

  it('takes the older of two that were made in one transaction', async () => {
    const [first] = await postgres.unitOfWork.run(async () => [
      await insert('remove_rooms'),
      await insert('add_rooms'),
    ]);
    expect((await take()).operation.id).toBe(first.id);
  });

  it('takes nothing while another operation of the scheduler is held', async () => {
    await insert('add_rooms');
    await take();
    await insert('delete_scheduler');
    expect(await claim('other')).toBeNull();
    expect(await claim('me')).toBeNull();
    await insert('add_rooms', 'other');
    expect(await claim('me', 'other')).not.toBeNull();
  });

  it('gives one worker of twenty the slot, however many operations wait', async () => {
    for (let round = 0; round < 5; round++) {
      await postgres.clear();
      for (let count = 0; count < 20; count++) await insert('add_rooms');
      const claims = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          (index % 2 === 0 ? postgres : other).operations.claimNext('arena', `worker-${index}`, ttlMs),
        ),
      );
      expect(claims.filter((each) => each !== null)).toHaveLength(1);
      expect(await postgres.sql('SELECT id FROM maestro.operations WHERE holds_slot')).toHaveLength(1);
    }
  });

  it('gives one worker of two the slot that are about to take different operations', async () => {
    await insert('add_rooms');
    await insert('add_rooms');
    let second: Promise<HeldOperation | null> = Promise.resolve(null);
    await other.unitOfWork.run(async () => {
      expect(await other.operations.claimNext('arena', 'first', ttlMs)).not.toBeNull();
      second = claim('second');
      await untilBlocked();
    });
    expect(await second).toBeNull();
  });

  it('gives twenty workers twenty schedulers', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `fleet-${index}`);
    for (const name of names) await insert('add_rooms', name);
    const claims = await Promise.all(names.map((name) => claim('me', name)));
    expect(claims.map((each) => each?.operation.scheduler)).toEqual(names);
    expect(new Set(claims.map((each) => each?.fencingToken)).size).toBe(20);
  });
});

describe('an expired lease', () => {
  it('is taken over before anything that is pending, as a new attempt with a new token and the stored progress', async () => {
    await insert('health_controller');
    const stale = await take('dead');
    await postgres.operations.saveProgress(stale, { roomIds: ['room-1'] });
    await insert('delete_scheduler');
    await letLeaseExpire(stale.operation.id);
    const held = await take('alive');
    expect(held).toMatchObject({
      operation: { id: stale.operation.id, attempt: 2, status: 'in_progress' },
      progress: { roomIds: ['room-1'] },
    });
    expect(held.fencingToken).not.toBe(stale.fencingToken);
  });

  it('is taken over by one worker of twenty', async () => {
    const { id } = await insert('add_rooms');
    await take('dead');
    await letLeaseExpire(id);
    const claims = await Promise.all(Array.from({ length: 20 }, (_, index) => claim(`worker-${index}`)));
    expect(claims.filter((each) => each !== null)).toHaveLength(1);
  });

  it('is not taken over while its worker writes in a transaction', async () => {
    const { id } = await insert('add_rooms');
    const held = await take();
    await letLeaseExpire(id);
    await postgres.unitOfWork.run(async () => {
      await postgres.operations.assertHeld(held);
      expect(await other.operations.claimNext('arena', 'other', ttlMs)).toBeNull();
    });
    expect(await claim('other')).toMatchObject({ operation: { id, attempt: 2 } });
  });

  const writes: [string, (held: HeldOperation, stores: PostgresStores) => Promise<unknown>][] = [
    ['renewing', (held, { operations }) => operations.renewLease(held, ttlMs)],
    ['an event', (held, { operations }) => operations.appendEvent(held, 'I still work')],
    ['progress', (held, { operations }) => operations.saveProgress(held, { stale: true })],
    ['holding it in a transaction', (held, { operations }) => operations.assertHeld(held)],
    [
      'the end',
      (held, { operations }) => operations.finish(held, { status: 'error', hidden: true, event: 'Operation finished' }),
    ],
    ['giving it back', (held, { operations }) => operations.release(held)],
    ['waiting', (held, { operations }) => operations.wait(held, ttlMs)],
    ['rolling back', (held, { operations }) => operations.beginRollback(held, 'error', ['it failed'])],
    [
      'the end with what belongs to it',
      (held, { operations, schedulers }) =>
        operations.finish(held, { status: 'finished', hidden: false, event: null }, async () => {
          await schedulers.setState('arena', 'in-sync');
          return ['I still work'];
        }),
    ],
    [
      'a transaction of other writes',
      (held, { operations, schedulers, unitOfWork }) =>
        unitOfWork.run(async () => {
          await schedulers.setState('arena', 'in-sync');
          await operations.insert({
            scheduler: 'arena',
            definition: 'add_rooms',
            input: { amount: 9 },
            actor: 'stale',
          });
          await operations.assertHeld(held);
        }),
    ],
  ];

  it.each(writes)('makes the former worker’s write be refused: %s', async (_, write) => {
    await insert('add_rooms');
    const stale = await take('dead');
    await letLeaseExpire(stale.operation.id);
    const held = await take('alive');
    const before = await postgres.sql('SELECT * FROM maestro.operations');
    const history = await historyOf(held.operation.id);
    await expect(write(stale, other)).rejects.toMatchObject({ kind: 'aborted', code: 'operation.lease_lost' });
    expect(await postgres.sql('SELECT * FROM maestro.operations')).toEqual(before);
    expect(await historyOf(held.operation.id)).toEqual(history);
    await expect(write(held, postgres)).resolves.not.toThrow();
  });

  it.each(writes)('that nobody took over leaves its worker the right to write: %s', async (_, write) => {
    await insert('add_rooms');
    const held = await take();
    await letLeaseExpire(held.operation.id);
    await expect(write(held, postgres)).resolves.not.toThrow();
  });

  it.each(writes)('or not, after the end there are no more writes: %s', async (_, write) => {
    await insert('add_rooms');
    const held = await take();
    await end(held);
    await expect(write(held, postgres)).rejects.toMatchObject({ code: 'operation.lease_lost' });
    expect(await statusOf(held.operation.id)).toBe('finished');
  });

  it('is put off by a renewal', async () => {
    const { id } = await insert('add_rooms');
    const held = await take();
    await letLeaseExpire(id);
    await postgres.operations.renewLease(held, ttlMs);
    expect(await claim('other')).toBeNull();
  });
});

describe('the end of an operation', () => {
  it('is written once, with its event, and frees the slot', async () => {
    await insert('add_rooms');
    const next = await insert('add_rooms');
    const held = await take();
    await end(held, 'error');
    await expect(end(held)).rejects.toMatchObject({ code: 'operation.lease_lost' });
    expect(await postgres.operations.get('arena', held.operation.id)).toMatchObject({
      operation: { status: 'error', leaseExpiresAt: null },
    });
    expect(await historyOf(held.operation.id)).toEqual(['Created', 'Operation finished']);
    expect((await take()).operation.id).toBe(next.id);
  });

  it('is written by one of many writers', async () => {
    await insert('add_rooms');
    const held = await take();
    const writes = await Promise.allSettled(Array.from({ length: 10 }, () => end(held)));
    expect(writes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await historyOf(held.operation.id)).toEqual(['Created', 'Operation finished']);
  });

  it('replaces the input when it says so, and has no event when it says so', async () => {
    await insert('health_controller');
    const held = await take();
    await postgres.operations.finish(held, {
      status: 'finished',
      hidden: false,
      input: { tookAction: true },
      event: null,
    });
    expect(await postgres.operations.get('arena', held.operation.id)).toMatchObject({
      operation: { input: { tookAction: true } },
      history: [{ event: 'Created' }],
    });
  });
});

describe('what is written alongside the end', () => {
  const switchTo = (stores: PostgresStores, version: string) =>
    stores.operations.insert({
      scheduler: 'arena',
      definition: 'switch_active_version',
      input: { newActiveVersion: version },
      actor: 'system',
    });

  it('may be the next version change, because the operation has left its gate by then', async () => {
    const { id } = await insert('create_new_scheduler_version');
    const held = await take();
    await postgres.operations.finish(
      held,
      { status: 'finished', hidden: false, event: 'Operation finished' },
      async () => {
        const next = await switchTo(postgres, 'v1.1.0');
        return [`enqueued ${next?.definition}`, 'that is all'];
      },
    );
    expect(await historyOf(id)).toEqual([
      'Created',
      'enqueued switch_active_version',
      'that is all',
      'Operation finished',
    ]);
    expect((await take()).operation).toMatchObject({ input: { newActiveVersion: 'v1.1.0' } });
  });

  it('lets no foreign version change slip between the end and the next one', async () => {
    for (let round = 0; round < 10; round++) {
      await postgres.clear();
      await insert('create_new_scheduler_version');
      const held = await take();
      let foreign: Promise<unknown[]> = Promise.resolve([]);
      await postgres.operations.finish(held, { status: 'finished', hidden: false, event: null }, async () => {
        foreign = Promise.all(Array.from({ length: 5 }, () => switchTo(other, 'foreign')));
        await eventually(async () => {
          const waiting = await postgres.sql(
            `SELECT FROM pg_stat_activity WHERE application_name = 'test-another' AND wait_event_type = 'Lock'`,
          );
          expect(waiting).toHaveLength(5);
        });
        expect(await switchTo(postgres, 'own')).not.toBeNull();
        return [];
      });
      expect(await foreign).toEqual([null, null, null, null, null]);
      expect(await postgres.operations.findOpen('arena', versionChanges)).toMatchObject({
        input: { newActiveVersion: 'own' },
      });
    }
  });

  it('fails with the end, and the other way round', async () => {
    const { id } = await insert('create_new_scheduler_version');
    const held = await take();
    const finish = (alongside: () => Promise<string[]>) =>
      postgres.operations.finish(held, { status: 'finished', hidden: false, event: 'Operation finished' }, alongside);
    await expect(
      finish(async () => {
        await switchTo(postgres, 'v1.1.0');
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await operationOf(id)).toMatchObject({ status: 'in_progress', finishedAt: null });
    expect(await postgres.operations.findOpen('arena', ['switch_active_version'])).toBeNull();
    expect(await historyOf(id)).toEqual(['Created']);
    await finish(async () => []);
    let wasAsked = false;
    await expect(
      finish(async () => {
        wasAsked = true;
        return [];
      }),
    ).rejects.toMatchObject({ code: 'operation.lease_lost' });
    expect(wasAsked).toBe(false);
  });
});

describe('giving an operation back', () => {
  it('makes it pending, for anyone to take at once, with its progress', async () => {
    const { id } = await insert('add_rooms');
    const held = await take();
    await postgres.operations.saveProgress(held, { roomIds: ['room-1'] });
    await postgres.operations.release(held);
    expect((await postgres.operations.get('arena', id))?.operation).toMatchObject({
      status: 'pending',
      leaseExpiresAt: null,
    });
    expect(await claim('other')).toMatchObject({ operation: { id, attempt: 2 }, progress: { roomIds: ['room-1'] } });
  });

  it('keeps it from being taken for as long as it is said, and others run meanwhile', async () => {
    const first = await insert('delete_scheduler');
    const second = await insert('add_rooms');
    await postgres.operations.release(await take(), ttlMs);
    expect(await postgres.operations.isBusy('arena')).toBe(true);
    const held = await take();
    expect(held.operation.id).toBe(second.id);
    await end(held);
    expect(await claim()).toBeNull();
    expect(await postgres.operations.findStalled(10)).toEqual([]);
    await postgres.sql(`UPDATE maestro.operations SET not_before = clock_timestamp() WHERE id = $1`, [first.id]);
    expect(await postgres.operations.findStalled(10)).toEqual(['arena']);
    expect((await take()).operation.id).toBe(first.id);
  });

  it('ends a health check when another one is pending, which does the same', async () => {
    const first = await insert('health_controller');
    const held = await take();
    const second = await insert('health_controller');
    await postgres.operations.release(held);
    expect(await statusOf(first.id)).toBe('canceled');
    expect(await historyOf(first.id)).toEqual(['Created', `canceled: operation ${second.id} does the same`]);
    expect((await take()).operation.id).toBe(second.id);
  });
});

describe('a health check that is given back', () => {
  it('gives way to one that comes to be pending in that very moment', async () => {
    const first = await insert('health_controller');
    const held = await take();
    let released: Promise<void> = Promise.resolve();
    let second!: Operation;
    await other.unitOfWork.run(async () => {
      const input = inputs.health_controller;
      second = (await other.operations.insert({
        scheduler: 'arena',
        definition: 'health_controller',
        input,
        actor: 'api',
      }))!;
      released = postgres.operations.release(held);
      await untilBlocked();
    });
    await released;
    expect(await historyOf(first.id)).toEqual(['Created', `canceled: operation ${second.id} does the same`]);
    expect((await take()).operation.id).toBe(second.id);
  });

  it('is pending again when the other one came to nothing', async () => {
    const { id } = await insert('health_controller');
    const held = await take();
    let released: Promise<void> = Promise.resolve();
    const undone = other.unitOfWork.run(async () => {
      const input = inputs.health_controller;
      await other.operations.insert({ scheduler: 'arena', definition: 'health_controller', input, actor: 'api' });
      released = postgres.operations.release(held);
      await untilBlocked();
      throw new Error('changed my mind');
    });
    await expect(undone).rejects.toThrow('changed my mind');
    await released;
    expect((await take()).operation.id).toBe(id);
  });
});

describe('how an operation was left', () => {
  it.each<[string, (held: HeldOperation) => Promise<unknown>, Partial<Operation> | null]>([
    ['nothing while it is held', async () => undefined, null],
    ['its end', (held) => end(held, 'error'), { status: 'error' }],
    ['that it waits', (held) => postgres.operations.wait(held, ttlMs), { status: 'in_progress', waiting: true }],
    ['that it is pending', (held) => postgres.operations.release(held), { status: 'pending' }],
    [
      'nothing of what another worker made of it',
      (held) =>
        postgres.operations
          .release(held)
          .then(() => take('other'))
          .then(end),
      null,
    ],
  ])('is told to who held it: %s', async (_, leave, left) => {
    await insert('add_rooms');
    const held = await take();
    await leave(held);
    const found = await postgres.operations.findLeft(held);
    if (left === null) expect(found).toBeNull();
    else expect(found).toMatchObject({ id: held.operation.id, ...left });
  });

  it('is not told before a write that is on its way is over', async () => {
    await insert('add_rooms');
    const held = await take();
    let left: Promise<Operation | null> = Promise.resolve(null);
    await other.unitOfWork.run(async () => {
      await other.operations.finish(held, { status: 'finished', hidden: false, event: null });
      left = postgres.operations.findLeft(held);
      await untilBlocked();
    });
    expect(await left).toMatchObject({ status: 'finished' });
  });
});

describe('cancelling what is pending', () => {
  it('ends all pending operations of a scheduler, with an event, and no other', async () => {
    await insert('add_rooms');
    const held = await take();
    const pending = [await insert('add_rooms'), await insert('health_controller')];
    const foreign = await insert('add_rooms', 'other');
    expect(await postgres.operations.cancelPending('arena', 'canceled: no more')).toBe(2);
    expect(await postgres.operations.cancelPending('arena', 'canceled: no more')).toBe(0);
    for (const { id } of pending) {
      expect(await statusOf(id)).toBe('canceled');
      expect(await historyOf(id)).toEqual(['Created', 'canceled: no more']);
    }
    expect(await statusOf(held.operation.id)).toBe('in_progress');
    expect(await statusOf(foreign.id, 'other')).toBe('pending');
    await end(held);
    expect(await claim()).toBeNull();
  });
});

describe('what is open', () => {
  it('is pending or in progress, and found by its definitions, oldest first', async () => {
    const { operations } = postgres;
    expect(await operations.findOpen('arena', ['add_rooms'])).toBeNull();
    const first = await insert('add_rooms');
    await insert('add_rooms');
    await insert('remove_rooms', 'other');
    const change = await insert('switch_active_version');
    expect(await operations.findOpen('arena', ['add_rooms'])).toEqual(first);
    expect(await operations.findOpen('arena', versionChanges)).toEqual(change);
    expect(await operations.findOpen('arena', ['switch_active_version', 'add_rooms'])).toEqual(first);
    expect(await operations.findOpen('arena', ['remove_rooms'])).toBeNull();
    expect(await operations.findOpen('arena', [])).toBeNull();
    const held = await take();
    expect(await operations.findOpen('arena', ['add_rooms'])).toMatchObject({ id: first.id, status: 'in_progress' });
    await end(held);
    await end(await take());
    expect(await operations.findOpen('arena', ['add_rooms'])).toBeNull();
  });

  it.each(stages)('is found while it is %s', async (_, bring) => {
    const { id } = await insert('switch_active_version');
    await bring(id);
    expect((await postgres.operations.findOpen('arena', versionChanges))?.id).toBe(id);
  });

  it('keeps its scheduler busy unless it only waits', async () => {
    const { operations } = postgres;
    expect(await operations.isBusy('arena')).toBe(false);
    await insert('create_new_scheduler_version');
    expect(await operations.isBusy('arena')).toBe(true);
    const held = await take();
    expect(await operations.isBusy('arena')).toBe(true);
    await operations.wait(held, ttlMs);
    expect(await operations.isBusy('arena')).toBe(false);
    await insert('add_rooms');
    expect(await operations.isBusy('arena')).toBe(true);
    await end(await take());
    expect(await operations.isBusy('arena')).toBe(false);
    expect(await operations.isBusy('other')).toBe(false);
  });
});

describe('version changes that have ended', () => {
  it('are found newest first, whatever else ended meanwhile, and not while they are open', async () => {
    const ended = async (): Promise<string[]> =>
      (await postgres.operations.listEndedVersionChanges('arena', 2)).map(({ id }) => id);
    const change = async (definition: OperationDefinition, status: OperationEndStatus): Promise<string> => {
      const { id } = await insert(definition);
      await end(await take(), status);
      return id;
    };
    expect(await ended()).toEqual([]);
    const first = await change('switch_active_version', 'finished');
    await change('add_rooms', 'error');
    expect(await ended()).toEqual([first]);
    const second = await change('create_new_scheduler_version', 'error');
    expect(await ended()).toEqual([second, first]);
    const { id: third } = await insert('switch_active_version');
    await insert('switch_active_version', 'other');
    await postgres.operations.cancel('other', (await postgres.operations.findOpen('other', versionChanges))!.id, 'no');
    expect(await ended()).toEqual([second, first]);
    await end(await take(), 'canceled');
    expect(await ended()).toEqual([third, second]);
    const [newest] = await postgres.operations.listEndedVersionChanges('arena', 1);
    expect(newest).toEqual(await operationOf(third));
  });
});

describe('an operation that waits', () => {
  const makeDue = (id: string) =>
    postgres.sql(`UPDATE maestro.operations SET not_before = clock_timestamp() WHERE id = $1`, [id]);
  const wake = (scheduler = 'arena') => postgres.operations.claimNext(scheduler, 'me', ttlMs, { wakeWaiting: true });

  it('is in progress without a holder, and shows when it is looked at next, where clients expect a lease', async () => {
    const { id } = await insert('create_new_scheduler_version');
    const held = await take();
    await postgres.operations.wait(held, ttlMs);
    const [row] = await postgres.sql<{ not_before: Date }>(
      'SELECT not_before FROM maestro.operations WHERE NOT holds_slot AND lease_owner IS NULL',
    );
    const shown = new Date(row!.not_before.getTime() + 5_000);
    expect(await operationOf(id)).toEqual({ ...held.operation, waiting: true, leaseExpiresAt: shown });
    await expect(postgres.operations.appendEvent(held, 'still here')).rejects.toMatchObject({
      code: 'operation.lease_lost',
    });
  });

  it('is looked at when its time has come, in the same attempt, with its progress and a new token', async () => {
    const { id } = await insert('create_new_scheduler_version');
    const held = await take();
    await postgres.operations.saveProgress(held, { roomId: 'room-1' });
    await postgres.operations.wait(held, ttlMs);
    expect(await claim()).toBeNull();
    expect(await postgres.operations.findStalled(10)).toEqual([]);
    await makeDue(id);
    expect(await postgres.operations.findStalled(10)).toEqual(['arena']);
    const again = await take();
    expect(again).toMatchObject({ operation: { id, attempt: 1 }, progress: { roomId: 'room-1' } });
    expect(again.operation.startedAt).toEqual(held.operation.startedAt);
    expect(again.fencingToken).not.toBe(held.fencingToken);
  });

  it('is looked at when somebody rings, before what heals', async () => {
    const { id } = await insert('create_new_scheduler_version');
    await postgres.operations.wait(await take(), ttlMs);
    await insert('add_rooms');
    expect((await wake())?.operation.id).toBe(id);
  });

  it('is not woken while another operation holds the slot', async () => {
    await insert('create_new_scheduler_version');
    await postgres.operations.wait(await take(), ttlMs);
    await insert('add_rooms');
    await take();
    expect(await wake()).toBeNull();
    expect(await wake('other')).toBeNull();
  });

  it('counts another attempt when its worker died after waking it', async () => {
    const { id } = await insert('create_new_scheduler_version');
    await postgres.operations.wait(await take(), 0);
    await take('dead');
    await letLeaseExpire(id);
    expect((await take()).operation).toMatchObject({ id, attempt: 2 });
  });

  describe('leaves the slot', () => {
    let waiting: string;
    beforeEach(async () => {
      // Not a version change, so that any definition may be pending beside it.
      waiting = (await insert('create_scheduler')).id;
      await postgres.operations.wait(await take(), ttlMs);
    });

    it.each(healingDefinitions)('to %s', async (definition) => {
      const { id } = await insert(definition);
      expect(await postgres.operations.findStalled(10)).toEqual(['arena']);
      expect((await take()).operation.id).toBe(id);
    });

    it.each(operationDefinitions.filter((definition) => !healingDefinitions.includes(definition)))(
      'but not to %s, which comes after it',
      async (definition) => {
        const { id } = await insert(definition);
        expect(await postgres.operations.findStalled(10)).toEqual([]);
        expect(await claim()).toBeNull();
        await makeDue(waiting);
        await end(await take());
        expect((await take()).operation.id).toBe(id);
      },
    );
  });

  it('keeps out another one that a worker was about to take when it took the slot and gave it back', async () => {
    await insert('create_scheduler');
    let second: Promise<HeldOperation | null> = Promise.resolve(null);
    let pending!: Operation;
    await other.unitOfWork.run(async () => {
      const first = (await other.operations.claimNext('arena', 'first', ttlMs))!;
      expect(first.operation.definition).toBe('create_scheduler');
      pending = await insert('delete_scheduler');
      second = claim('second');
      await untilBlocked();
      await other.operations.wait(first, ttlMs);
    });
    expect(await second).toBeNull();
    expect(await statusOf(pending.id)).toBe('pending');
  });

  it('is taken by one worker of twenty', async () => {
    await insert('create_new_scheduler_version');
    await postgres.operations.wait(await take(), ttlMs);
    const claims = await Promise.all(Array.from({ length: 20 }, () => wake()));
    expect(claims.filter((each) => each !== null)).toHaveLength(1);
  });
});

describe('cancelling an operation', () => {
  const cancel = (id: string, scheduler = 'arena') => postgres.operations.cancel(scheduler, id, 'please stop');

  it('ends one that no worker ever took up', async () => {
    const operation = await insert('add_rooms');
    expect(await cancel(operation.id)).toEqual({ operation, answer: 'canceled' });
    expect(await operationOf(operation.id)).toEqual({
      ...operation,
      status: 'canceled',
      finishedAt: expect.any(Date),
      cancelRequestedAt: expect.any(Date),
    });
    expect(await historyOf(operation.id)).toEqual(['Created', 'please stop']);
    expect(await claim()).toBeNull();
    expect(await postgres.operations.list('arena', allFinal)).toMatchObject({ total: 1 });
  });

  it.each(stages.slice(1))('asks for the end of one that is %s, once', async (stage, bring) => {
    const { id } = await insert('create_new_scheduler_version');
    await bring(id);
    const before = await operationOf(id);
    const first = await cancel(id);
    expect(first).toEqual({ operation: before, answer: 'requested' });
    const { cancelRequestedAt } = await operationOf(id);
    expect(cancelRequestedAt).toBeInstanceOf(Date);
    expect(await cancel(id)).toMatchObject({ answer: 'requested' });
    expect(await operationOf(id)).toEqual({ ...before, cancelRequestedAt });
    const line = stage === 'being canceled' ? 'cancel' : 'please stop';
    expect(await historyOf(id)).toEqual(['Created', line]);
  });

  it.each(['finished', 'error', 'canceled', 'evicted'] as const)('leaves one that is %s as it is', async (status) => {
    const { id } = await insert('add_rooms');
    await end(await take(), status);
    const before = await operationOf(id);
    expect(await cancel(id)).toEqual({ operation: before, answer: 'ended' });
    expect(await operationOf(id)).toEqual(before);
    expect(await historyOf(id)).toEqual(['Created', 'Operation finished']);
  });

  it.each([
    ['an unknown id', async () => cancel('00000000-0000-4000-8000-000000000000')],
    ['what is no id', async () => cancel("'; DROP TABLE maestro.operations; --")],
    ['another scheduler', async () => cancel((await insert('add_rooms')).id, 'other')],
  ])('knows nothing of %s', async (_, attempt) => {
    expect(await attempt()).toBeNull();
  });

  it('makes one that waits due at once, before what heals', async () => {
    const { id } = await insert('create_new_scheduler_version');
    await postgres.operations.wait(await take(), ttlMs);
    await insert('add_rooms');
    await cancel(id);
    expect(await postgres.operations.findStalled(10)).toEqual(['arena']);
    expect((await take()).operation).toMatchObject({ id, cancelRequestedAt: expect.any(Date) });
  });

  it('makes one that was put off due at once, before other pending ones', async () => {
    const { id } = await insert('switch_active_version');
    await postgres.operations.release(await take(), ttlMs);
    await cancel(id);
    await insert('delete_scheduler');
    expect(await postgres.operations.findStalled(10)).toEqual(['arena']);
    expect((await take()).operation.id).toBe(id);
  });

  it('is not undone when the operation is put off, or waits, after it', async () => {
    const { id } = await insert('create_new_scheduler_version');
    const held = await take();
    await cancel(id);
    await postgres.operations.wait(held, ttlMs);
    const again = await take();
    expect(again.operation.id).toBe(id);
    await postgres.operations.release(again, ttlMs);
    expect((await take()).operation.cancelRequestedAt).toBeInstanceOf(Date);
  });

  it('is told to the worker at its next renewal', async () => {
    const { id } = await insert('add_rooms');
    const held = await take();
    expect(await postgres.operations.renewLease(held, ttlMs)).toEqual({ cancelRequested: false });
    await cancel(id);
    expect(await postgres.operations.renewLease(held, ttlMs)).toEqual({ cancelRequested: true });
  });

  it('either ends it or is asked of the worker who takes it in the same moment', async () => {
    for (let round = 0; round < 20; round++) {
      await postgres.clear();
      const { id } = await insert('add_rooms');
      const [canceled, held] = await Promise.all([cancel(id), other.operations.claimNext('arena', 'worker', ttlMs)]);
      if (held === null) expect(canceled?.answer).toBe('canceled');
      else expect(canceled?.answer).toBe('requested');
      expect(await statusOf(id)).toBe(held === null ? 'canceled' : 'in_progress');
    }
  });

  it('together with all that is pending ends in no circle', async () => {
    await insert('add_rooms');
    const { id } = await insert('remove_rooms');
    let all: Promise<number> = Promise.resolve(0);
    await other.unitOfWork.run(async () => {
      await other.unitOfWork.rows('SELECT FROM maestro.operations WHERE id = $1 FOR UPDATE', [id]);
      all = postgres.operations.cancelPending('arena', 'canceled: no more');
      await untilBlocked();
      expect(await other.operations.cancel('arena', id, 'please stop')).toMatchObject({ answer: 'canceled' });
    });
    expect(await all).toBe(1);
    expect(await historyOf(id)).toEqual(['Created', 'please stop']);
  });
});

describe('cancellations', () => {
  let heard: string[];
  let stop: AbortController;
  let watching: Promise<void>;

  /** So many connections listen. */
  const untilListening = (count: number): Promise<void> =>
    eventually(async () => {
      const listening = await postgres.sql(
        `SELECT FROM pg_stat_activity WHERE application_name = 'maestro-listen' AND query LIKE 'LISTEN%' AND state = 'idle'`,
      );
      expect(listening).toHaveLength(count);
    });

  beforeEach(async () => {
    heard = [];
    stop = new AbortController();
    watching = postgres.operations.watchCancels((id) => heard.push(id), stop.signal);
    await untilListening(1);
  });
  afterEach(async () => {
    stop.abort();
    await watching;
    await untilListening(0);
  });

  it('are heard in another connection', async () => {
    const { id } = await insert('add_rooms');
    await take();
    await other.operations.cancel('arena', id, 'please stop');
    await eventually(() => expect(heard).toEqual([id]));
  });

  it('are heard when they are committed, and not when they are rolled back or nobody has to act', async () => {
    const { id } = await insert('add_rooms');
    await take();
    await expect(
      other.unitOfWork.run(async () => {
        await other.operations.cancel('arena', id, 'please stop');
        throw new Error('changed my mind');
      }),
    ).rejects.toThrow('changed my mind');
    const pending = await insert('add_rooms');
    await other.operations.cancel('arena', pending.id, 'please stop');
    await other.operations.cancel('arena', pending.id, 'please stop');
    await other.unitOfWork.run(async () => {
      await other.operations.cancel('arena', id, 'please stop');
      await postgres.sql(`SELECT pg_notify('maestro_cancels', 'between')`);
      await eventually(() => expect(heard).toEqual(['between']));
    });
    await eventually(() => expect(heard).toEqual(['between', id]));
  });

  it('are heard again after the connection was lost; a missed one is told at the renewal of the lease', async () => {
    const [missed, later] = [await insert('add_rooms'), await insert('add_rooms', 'other')];
    const held = await take();
    await take('me', 'other');
    // One transaction with the loss: nobody listens when it is announced.
    await other.unitOfWork.run(async () => {
      await other.operations.cancel('arena', missed.id, 'please stop');
      expect(await postgres.killConnections('maestro-listen')).toBe(1);
      await untilListening(0);
    });
    await untilListening(1);
    await other.operations.cancel('other', later.id, 'please stop');
    await eventually(() => expect(heard).toEqual([later.id]));
    expect(await postgres.operations.renewLease(held, ttlMs)).toEqual({ cancelRequested: true });
  });
});

describe('a rollback', () => {
  it('survives its worker, with what it ends as and its events', async () => {
    const { id } = await insert('create_new_scheduler_version');
    const held = await take('dead');
    expect(held.rollback).toBeNull();
    await postgres.operations.beginRollback(held, 'canceled', ['it was canceled', 'Starting operation rollback']);
    expect(held.rollback).toBe('canceled');
    await letLeaseExpire(id);
    expect(await take()).toMatchObject({ operation: { id, attempt: 2 }, rollback: 'canceled' });
    expect(await historyOf(id)).toEqual(['Created', 'it was canceled', 'Starting operation rollback']);
  });

  it('survives being given back, and waiting', async () => {
    await insert('create_new_scheduler_version');
    const held = await take();
    await postgres.operations.beginRollback(held, 'error', []);
    await postgres.operations.release(held);
    const again = await take();
    expect(again.rollback).toBe('error');
    await postgres.operations.wait(again, 0);
    expect((await take()).rollback).toBe('error');
  });

  it('begins with all of its events or not at all', async () => {
    const { id } = await insert('add_rooms');
    const held = await take();
    await expect(postgres.operations.beginRollback(held, 'error', ['one', null as unknown as string])).rejects.toThrow(
      /null value/,
    );
    expect(held.rollback).toBeNull();
    expect(await historyOf(id)).toEqual(['Created']);
    await letLeaseExpire(id);
    expect((await take()).rollback).toBeNull();
  });
});

describe('finding work that nobody does', () => {
  it('finds what is pending without a holder and what has an expired lease, and nothing else', async () => {
    await insert('add_rooms', 'pending');
    await insert('add_rooms', 'running');
    await take('me', 'running');
    await insert('add_rooms', 'running');
    await insert('add_rooms', 'dead');
    await letLeaseExpire((await take('me', 'dead')).operation.id);
    await insert('add_rooms', 'dead');
    await insert('add_rooms', 'done');
    await end(await take('me', 'done'));
    expect((await postgres.operations.findStalled(10)).sort()).toEqual(['dead', 'pending']);
  });

  it('finds at most so many, and in time all of them', async () => {
    for (const name of ['one', 'two', 'three']) await insert('add_rooms', name);
    expect(await postgres.operations.findStalled(2)).toHaveLength(2);
    const found = new Set<string>();
    await eventually(async () => {
      for (const name of await postgres.operations.findStalled(1)) found.add(name);
      expect(found.size).toBe(3);
    });
  });
});

describe('an operation of a kind that this version does not know', () => {
  /** As a newer version wrote it. */
  const insertUnknown = async (): Promise<Operation> => {
    const operation = await insert('create_scheduler');
    await postgres.sql(`UPDATE maestro.operations SET definition = $2 WHERE id = $1`, [operation.id, ofTheFuture]);
    return operation;
  };
  /** As a newer worker takes it. */
  const hold = (id: string, expiredAgoMs: number) =>
    postgres.sql(
      `UPDATE maestro.operations SET status = 'in_progress', holds_slot = true, attempt = 1, lease_owner = 'newer',
         fencing_token = nextval('maestro.fencing_tokens'), started_at = now(),
         lease_expires_at = clock_timestamp() - $2 * interval '1 ms' WHERE id = $1`,
      [id, expiredAgoMs],
    );
  const release = () => postgres.operations.releaseUnknown(30_000, 'given back');

  it('is taken by nobody, nor found as work that nobody does, and keeps no scheduler busy', async () => {
    const { id } = await insertUnknown();
    expect(await claim()).toBeNull();
    expect(await postgres.operations.findStalled(10)).toEqual([]);
    expect(await postgres.operations.isBusy('arena')).toBe(false);
    expect(await postgres.operations.findUnknown(10)).toEqual([
      expect.objectContaining({ id, definition: ofTheFuture, status: 'pending', attempt: 0 }),
    ]);
  });

  it.each([...healingDefinitions, 'delete_scheduler'] as const)('lets %s pass', async (definition) => {
    await insertUnknown();
    const { id } = await insert(definition);
    expect(await postgres.operations.findStalled(10)).toEqual(['arena']);
    expect((await take()).operation.id).toBe(id);
  });

  it('is overtaken by no other change, and overtakes none', async () => {
    const before = await insert('switch_active_version');
    const unknown = await insertUnknown();
    const after = await insert('create_scheduler');
    const held = await take();
    expect(held.operation.id).toBe(before.id);
    await end(held);
    expect(await claim()).toBeNull();
    expect(await postgres.operations.findStalled(10)).toEqual([]);
    expect(await postgres.operations.cancel('arena', unknown.id, 'not wanted')).toMatchObject({ answer: 'canceled' });
    expect(await postgres.operations.findUnknown(10)).toEqual([]);
    expect((await take()).operation.id).toBe(after.id);
  });

  it('is left to newer workers also when its worker died, and given back when none of them came', async () => {
    const { id } = await insertUnknown();
    await insert('add_rooms');
    await hold(id, 20_000);
    await release();
    expect(await claim()).toBeNull();
    expect(await postgres.operations.findStalled(10)).toEqual([]);
    await hold(id, 31_000);
    await release();
    expect(await operationOf(id)).toMatchObject({ status: 'pending', attempt: 1, leaseExpiresAt: null });
    expect(await historyOf(id)).toEqual(['Created', 'given back']);
    expect((await take()).operation.definition).toBe('add_rooms');
  });

  it('is not given back while its worker is there, nor while it waits; nor is one of a kind that is known', async () => {
    const { id } = await insertUnknown();
    await hold(id, -60_000);
    await insert('add_rooms', 'other');
    const known = await take('dead', 'other');
    await postgres.sql(`UPDATE maestro.operations SET lease_expires_at = now() - interval '1 h' WHERE id = $1`, [
      known.operation.id,
    ]);
    await release();
    expect([await statusOf(id), await statusOf(known.operation.id, 'other')]).toEqual(['in_progress', 'in_progress']);
    await postgres.sql(
      `UPDATE maestro.operations SET holds_slot = false, lease_expires_at = NULL, not_before = now() WHERE id = $1`,
      [id],
    );
    await release();
    expect(await operationOf(id)).toMatchObject({ status: 'in_progress', waiting: true });
    expect(await claim()).toBeNull();
  });

  it('is found among the oldest of them', async () => {
    const ids = [(await insertUnknown()).id, (await insertUnknown()).id, (await insertUnknown()).id];
    await insert('add_rooms');
    expect((await postgres.operations.findUnknown(2)).map(({ id }) => id)).toEqual(ids.slice(0, 2));
  });
});

describe('whatever state operations are in', () => {
  /** An operation as a row; what cannot stand beside the rows before it is left out by the indexes. */
  interface Row {
    id: string;
    definition: OperationDefinition | typeof ofTheFuture;
    stage: 'pending' | 'held' | 'expired' | 'waiting' | 'ended';
    isPutOff: boolean;
    isCanceled: boolean;
  }

  const row = fc.record<Omit<Row, 'id'>>({
    definition: fc.constantFrom(...operationDefinitions, ofTheFuture),
    stage: fc.constantFrom('pending', 'pending', 'pending', 'held', 'expired', 'waiting', 'waiting', 'ended'),
    isPutOff: fc.boolean(),
    isCanceled: fc.nat(4).map((one) => one === 0),
  });
  /** What each of many schedulers has, in order of age. */
  const schedulers = fc.array(fc.array(row, { maxLength: 5 }), { minLength: 30, maxLength: 30 });

  /** Answers what was kept of each scheduler. */
  const store = async (fleets: Omit<Row, 'id'>[][]): Promise<Map<string, Row[]>> => {
    const rows = fleets.flatMap((fleet, index) => fleet.map((each) => ({ ...each, scheduler: `fleet-${index}` })));
    const kept = await postgres.sql<Row & { scheduler: string }>(
      `WITH given AS (
         SELECT gen_random_uuid() AS id, g.*
         FROM jsonb_to_recordset($1) AS g (scheduler text, definition text, priority int, stage text, "isPutOff" bool,
           "isCanceled" bool)),
       stored AS (
         INSERT INTO maestro.operations (id, scheduler_name, definition, input, priority, actor, status, holds_slot,
           lease_expires_at, not_before, cancel_requested_at, started_at, finished_at, fencing_token)
         SELECT id, scheduler, definition, '{}', priority, 'api',
           CASE stage WHEN 'pending' THEN 'pending' WHEN 'ended' THEN 'error' ELSE 'in_progress' END,
           stage IN ('held', 'expired'),
           CASE stage WHEN 'held' THEN now() + interval '1 h' WHEN 'expired' THEN now() - interval '1 h' END,
           CASE WHEN stage IN ('pending', 'waiting') AND "isPutOff" THEN now() + interval '1 h' END,
           CASE WHEN "isCanceled" THEN now() END,
           CASE WHEN stage <> 'pending' THEN now() END,
           CASE WHEN stage = 'ended' THEN now() END,
           CASE WHEN stage IN ('held', 'expired') THEN nextval('maestro.fencing_tokens') END
         FROM given ON CONFLICT DO NOTHING RETURNING id, seq)
       SELECT given.* FROM given JOIN stored USING (id) ORDER BY seq`,
      [JSON.stringify(rows.map((each) => ({ ...each, priority: priorityOf(each) })))],
    );
    return new Map(
      fleets.map((_, index) => [`fleet-${index}`, kept.filter((each) => each.scheduler === `fleet-${index}`)]),
    );
  };

  /** One that nobody knows would come first, if anybody took it. */
  function priorityOf({ definition }: Pick<Row, 'definition'>): number {
    return definition === ofTheFuture ? -1 : operationPriorities[definition];
  }

  /** The promise of `claimNext` in plain words; `rows` in order of age. */
  function nextOf(rows: readonly Row[], wakeWaiting: boolean): Row | undefined {
    const isIn = (stage: Row['stage']) => rows.some((each) => each.stage === stage);
    const isKnown = ({ definition }: Row): boolean => definition !== ofTheFuture;
    if (isIn('expired')) return rows.find((each) => each.stage === 'expired' && isKnown(each));
    if (isIn('held')) return undefined;
    const isDue = (each: Row): boolean => !each.isPutOff || each.isCanceled;
    const heals = (each: Row): boolean => healingDefinitions.some((definition) => definition === each.definition);
    const overtakes = (each: Row): boolean => heals(each) || each.definition === 'delete_scheduler';
    const isFirst = (each: Row): boolean =>
      !rows.slice(0, rows.indexOf(each)).some((older) => older.stage === 'pending' && !overtakes(older));
    const candidates = rows
      .filter(isKnown)
      .filter(
        (each) =>
          (each.stage === 'waiting' && (wakeWaiting || isDue(each))) ||
          (each.stage === 'pending' &&
            isDue(each) &&
            (heals(each) || !isIn('waiting')) &&
            (overtakes(each) || each.isCanceled || isFirst(each))),
      );
    const rank = (each: Row) => [each.isCanceled ? 0 : 1, each.stage === 'waiting' ? 0 : 1, priorityOf(each)];
    // Sorting is stable: age decides last.
    return [...candidates].sort((one, other_) => {
      const [a, b] = [rank(one), rank(other_)];
      return a[0]! - b[0]! || a[1]! - b[1]! || a[2]! - b[2]!;
    })[0];
  }

  it('the sweep finds just what can be taken, and what is taken is what is promised', async () => {
    await fc.assert(
      fc.asyncProperty(schedulers, fc.boolean(), async (fleets, wakeWaiting) => {
        await postgres.clear();
        const stored = await store(fleets);
        const stalled = await postgres.operations.findStalled(1_000);
        const claimable = [...stored].filter(([, rows]) => nextOf(rows, false) !== undefined).map(([name]) => name);
        expect([...stalled].sort()).toEqual(claimable.sort());
        for (const [name, rows] of stored) {
          const claimed = await postgres.operations.claimNext(name, 'me', ttlMs, { wakeWaiting });
          expect({ rows, claimed: claimed?.operation.id }).toEqual({ rows, claimed: nextOf(rows, wakeWaiting)?.id });
        }
        // Who took the slots leaves nothing to find.
        if (!wakeWaiting) expect(await postgres.operations.findStalled(1_000)).toEqual([]);
      }),
      { numRuns: 20 },
    );
  });
});

describe('the numbers of ended operations', () => {
  const numbers = async (scheduler = 'arena'): Promise<number[]> => {
    const rows = await postgres.sql<{ number: string }>(
      `SELECT final_number AS number FROM maestro.operations
       WHERE scheduler_name = $1 AND final_number IS NOT NULL ORDER BY final_number`,
      [scheduler],
    );
    return rows.map(({ number }) => Number(number));
  };
  const oneTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

  it('have no gaps, whoever ends operations at once and whatever is rolled back', async () => {
    const held = await insert('delete_scheduler').then(() => take());
    const ids: string[] = [];
    for (let index = 0; index < 40; index++) ids.push((await insert('add_rooms')).id);
    await insert('add_rooms', 'other');
    const cancel = (stores: PostgresStores, id: string) => stores.operations.cancel('arena', id, 'please stop');
    await Promise.all([
      end(held),
      cancel(postgres, (await insert('remove_rooms', 'other')).id),
      ...ids.map((id, index) => {
        const stores = index % 2 === 0 ? postgres : other;
        if (index % 4 !== 3) return cancel(stores, id);
        const undone = stores.unitOfWork.run(async () => {
          await cancel(stores, id);
          throw new Error('changed my mind');
        });
        return expect(undone).rejects.toThrow('changed my mind');
      }),
    ]);
    expect(await numbers()).toEqual(oneTo(31));
    expect(await postgres.operations.cancelPending('arena', 'canceled: no more')).toBe(10);
    expect(await numbers()).toEqual(oneTo(41));
    expect(await numbers('other')).toEqual([]);
  });

  it('are given in the order of the ends, and to none that is hidden', async () => {
    const ids: string[] = [];
    for (const hidden of [false, true, true, false, true, false]) {
      await insert('health_controller');
      const held = await take();
      await end(held, 'finished', hidden);
      if (!hidden) ids.push(held.operation.id);
    }
    expect(await numbers()).toEqual([1, 2, 3]);
    const { operations } = await postgres.operations.list('arena', allFinal);
    expect(operations.map(({ id }) => id)).toEqual(ids);
  });

  it('are kept by an end, whatever is written to it later', async () => {
    await insert('add_rooms');
    await end(await take());
    await postgres.sql(`UPDATE maestro.operations SET finished_at = now(), reason = 'edited'`);
    expect(await numbers()).toEqual([1]);
  });
});

describe('the cost of a page of ended operations', () => {
  /** Explains each statement before it runs, and adds up the pages of 8 kB that it touched. */
  class CountingUnitOfWork extends PostgresUnitOfWork {
    touched = 0;
    override async rows<R>(sql: string, parameters: unknown[] = []): Promise<R[]> {
      const [explained] = await super.rows<{ 'QUERY PLAN': { Plan: Record<string, number> }[] }>(
        `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${sql}`,
        parameters,
      );
      const plan = explained!['QUERY PLAN'][0]!.Plan;
      this.touched += plan['Shared Hit Blocks']! + plan['Shared Read Blocks']!;
      return super.rows<R>(sql, parameters);
    }
  }

  const addEnded = (count: number) =>
    postgres.sql(
      `WITH counter AS (
         INSERT INTO maestro.operation_counters AS c VALUES ('arena', $1)
         ON CONFLICT (scheduler_name) DO UPDATE SET last_final_number = c.last_final_number + $1
         RETURNING last_final_number - $1 AS before)
       INSERT INTO maestro.operations (scheduler_name, definition, input, priority, actor, status, attempt, hidden,
         started_at, finished_at, final_number)
       SELECT 'arena', 'health_controller', '{"tookAction": true}', 30, 'health_controller', 'finished', 1, is_hidden,
         now(), now(), CASE WHEN NOT is_hidden THEN before + number END
       FROM counter, generate_series(1, $1::bigint) AS number, (VALUES (false), (true)) AS each (is_hidden)
       ORDER BY number`,
      [count],
    );

  it('is the same with 100,000 of them as with 100: first, middle and last, from either end', async () => {
    const counting = new CountingUnitOfWork(postgres.dataSource);
    const store = new PostgresOperationStore(counting, new PostgresListener(postgres.url, postgres.log));
    const costOf = async (read: () => Promise<unknown>): Promise<number> => {
      counting.touched = 0;
      await read();
      return counting.touched;
    };
    const costs = async (total: number): Promise<Map<string, number>> => {
      const found = new Map<string, number>();
      for (const order of ['asc', 'desc'] as const) {
        for (const perPage of [15, 100]) {
          const last = Math.ceil(total / perPage);
          const pages = { first: 1, middle: Math.ceil(last / 2), last, beyond: last + 1 };
          for (const [place, page] of Object.entries(pages)) {
            const read = async (): Promise<void> => {
              const answer = await store.list('arena', { stage: 'final', order, page, perPage });
              const length = page > last ? 0 : Math.min(perPage, total - (page - 1) * perPage);
              expect([order, place, answer.total, answer.operations.length]).toEqual([order, place, total, length]);
            };
            found.set(`${order} ${place} of ${perPage}`, await costOf(read));
          }
        }
      }
      // Nor does what has ended cost those who ask for what has not.
      for (const stage of ['pending', 'active'] as const) {
        found.set(stage, await costOf(() => store.list('arena', { ...allFinal, stage })));
      }
      found.set('open', await costOf(() => store.findOpen('arena', ['delete_scheduler'])));
      found.set('version change', await costOf(() => store.findOpen('arena', versionChanges)));
      found.set('ended version changes', await costOf(() => store.listEndedVersionChanges('arena', 100)));
      found.set('busy', await costOf(() => store.isBusy('arena')));
      found.set('stalled', await costOf(() => store.findStalled(200)));
      found.set('unknown', await costOf(() => store.findUnknown(20)));
      found.set('next', await costOf(() => store.claimNext('arena', 'me', ttlMs)));
      return found;
    };
    await addEnded(100);
    const few = await costs(100);
    // In parts, each of which is well within the time that a statement has on a busy machine.
    for (let part = 0; part < 9; part++) await addEnded(11_100);
    // Three descents of an index that is up to two levels deeper, and rows spread over a few pages more.
    const tolerance = 12;
    const grown = (many: Map<string, number>) => [...many].filter(([read, cost]) => cost > few.get(read)! + tolerance);
    expect(grown(await costs(100_000))).toEqual([]);
    await postgres.sql('ANALYZE maestro.operations');
    expect(grown(await costs(100_000))).toEqual([]);
  });
});

describe('listing operations', () => {
  const idsOf = async (listing: Partial<Parameters<typeof postgres.operations.list>[1]>): Promise<string[]> => {
    const page = await postgres.operations.list('arena', {
      stage: 'final',
      order: 'desc',
      page: 1,
      perPage: 15,
      ...listing,
    });
    return page.operations.map(({ id }) => id);
  };

  it('shows pending ones by creation, in either order', async () => {
    const ids = [(await insert('add_rooms')).id, (await insert('delete_scheduler')).id, (await insert('add_rooms')).id];
    await insert('add_rooms', 'other');
    expect(await idsOf({ stage: 'pending', order: 'asc' })).toEqual(ids);
    expect(await idsOf({ stage: 'pending', order: 'desc' })).toEqual([...ids].reverse());
    expect(await idsOf({ stage: 'active' })).toEqual([]);
    expect(await idsOf({ stage: 'final' })).toEqual([]);
  });

  it('shows the active one with its lease', async () => {
    await insert('add_rooms');
    const held = await take();
    const { total, operations } = await postgres.operations.list('arena', {
      stage: 'active',
      order: 'desc',
      page: 1,
      perPage: 15,
    });
    expect(total).toBe(1);
    expect(operations).toEqual([held.operation]);
    expect(operations[0]?.leaseExpiresAt).toBeInstanceOf(Date);
    expect(await idsOf({ stage: 'pending' })).toEqual([]);
  });

  describe('that ended', () => {
    let ids: string[];

    /** Created as 0 to 4, ended as 4 to 0. */
    beforeEach(async () => {
      ids = [];
      for (let index = 0; index < 5; index++) ids.push((await insert('add_rooms')).id);
      for (const id of [...ids].reverse()) await postgres.operations.cancel('arena', id, 'please stop');
    });

    it.each([
      ['the newest first', { order: 'desc' }, [4, 3, 2, 1, 0]],
      ['the oldest first', { order: 'asc' }, [0, 1, 2, 3, 4]],
      // The page is chosen by the time of the end, and shown by the time of the creation.
      ['a page of those that ended last', { order: 'desc', perPage: 2 }, [1, 0]],
      ['the next page of them', { order: 'desc', perPage: 2, page: 2 }, [3, 2]],
      ['the rest on the last page', { order: 'desc', perPage: 2, page: 3 }, [4]],
      ['a page of those that ended first', { order: 'asc', perPage: 2 }, [3, 4]],
      ['nothing beyond the end', { order: 'desc', perPage: 2, page: 4 }, []],
    ] as const)('shows %s', async (_, listing, expected) => {
      expect(await idsOf(listing)).toEqual(expected.map((index) => ids[index]));
    });

    it('counts all of them whatever the page, and hides those that did nothing', async () => {
      await insert('health_controller');
      await end(await take(), 'finished', true);
      const page = await postgres.operations.list('arena', { stage: 'final', order: 'desc', page: 2, perPage: 3 });
      expect(page.total).toBe(5);
      expect(page.operations).toHaveLength(2);
    });

    it('counts what is left when the oldest ends are deleted', async () => {
      await postgres.sql('DELETE FROM maestro.operations WHERE id = ANY($1)', [ids.slice(3)]);
      const page = (order: 'asc' | 'desc') =>
        postgres.operations.list('arena', { stage: 'final', order, page: 1, perPage: 2 });
      expect(await page('asc')).toMatchObject({ total: 3, operations: [{ id: ids[1] }, { id: ids[2] }] });
      expect(await page('desc')).toMatchObject({ total: 3, operations: [{ id: ids[1] }, { id: ids[0] }] });
      await postgres.sql('DELETE FROM maestro.operations');
      expect(await page('asc')).toEqual({ total: 0, operations: [] });
      const { id } = await insert('add_rooms');
      await end(await take());
      expect(await page('asc')).toMatchObject({ total: 1, operations: [{ id }] });
    });
  });

  it('shows every end state as it is', async () => {
    const ends: OperationEndStatus[] = ['finished', 'error', 'canceled', 'evicted'];
    for (const status of ends) {
      await insert('add_rooms');
      await end(await take(), status);
    }
    const { operations } = await postgres.operations.list('arena', {
      stage: 'final',
      order: 'asc',
      page: 1,
      perPage: 15,
    });
    expect(operations.map(({ status }) => status)).toEqual(ends);
  });
});

describe('loop leases', () => {
  it('belong to one owner, who renews with the same token', async () => {
    const first = await postgres.leases.acquire('watcher', 'one', ttlMs);
    expect(first).toEqual({ token: expect.stringMatching(/^\d+$/) });
    expect(await other.leases.acquire('watcher', 'two', ttlMs)).toBeNull();
    expect(await postgres.leases.acquire('watcher', 'one', ttlMs)).toEqual(first);
    expect(await other.leases.acquire('reporter', 'two', ttlMs)).not.toBeNull();
  });

  it('go to one of twenty who ask at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (index % 2 === 0 ? postgres : other).leases.acquire('watcher', `process-${index}`, ttlMs),
      ),
    );
    expect(answers.filter((answer) => answer !== null)).toHaveLength(1);
  });

  it('go to another one with a new token when they expire', async () => {
    const first = await postgres.leases.acquire('watcher', 'one', ttlMs);
    await postgres.sql(`UPDATE maestro.leases SET expires_at = clock_timestamp() - interval '1 ms'`);
    const second = await other.leases.acquire('watcher', 'two', ttlMs);
    expect(second).not.toBeNull();
    expect(BigInt(second!.token)).toBeGreaterThan(BigInt(first!.token));
    expect(await postgres.leases.acquire('watcher', 'one', ttlMs)).toBeNull();
  });

  it('have a new token for an owner who let them expire, since another one may have had them', async () => {
    const first = await postgres.leases.acquire('watcher', 'one', ttlMs);
    await postgres.sql(`UPDATE maestro.leases SET expires_at = clock_timestamp() - interval '1 ms'`);
    const again = await postgres.leases.acquire('watcher', 'one', ttlMs);
    expect(BigInt(again!.token)).toBeGreaterThan(BigInt(first!.token));
  });

  it('are free at once when they are released, by their owner only', async () => {
    await postgres.leases.acquire('watcher', 'one', ttlMs);
    await other.leases.release('watcher', 'two');
    expect(await other.leases.acquire('watcher', 'two', ttlMs)).toBeNull();
    await postgres.leases.release('watcher', 'one');
    await postgres.leases.release('watcher', 'one');
    expect(await other.leases.acquire('watcher', 'two', ttlMs)).not.toBeNull();
  });
});
