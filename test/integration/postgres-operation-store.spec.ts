import type {
  Operation,
  OperationDefinition,
  OperationEndStatus,
  OperationInputs,
} from '../../src/domain/operation/operation';
import type { HeldOperation } from '../../src/ports/operation-store';
import { eventually } from '../support/eventually';
import { openPostgres, type PostgresStores, type PostgresUnderTest } from '../support/open-postgres';

const ttlMs = 60_000;
const inputs: OperationInputs = {
  create_scheduler: { scheduler: {} },
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

const statusOf = async (id: string, scheduler = 'arena') =>
  (await postgres.operations.get(scheduler, id))!.operation.status;

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
      createdAt: expect.any(Date),
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
    expect(held).toMatchObject({ operation: { id, status: 'in_progress', attempt: 1 }, progress: {} });
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

  it('goes by priority, then by age', async () => {
    const inOrderOfAge: OperationDefinition[] = [
      'health_controller',
      'create_scheduler',
      'remove_rooms',
      'add_rooms',
      'delete_scheduler',
      'remove_rooms',
    ];
    const ids: string[] = [];
    for (const definition of inOrderOfAge) ids.push((await insert(definition)).id);
    const taken: string[] = [];
    for (let held = await claim(); held !== null; held = await claim()) {
      taken.push(held.operation.id);
      await end(held);
    }
    expect(taken).toEqual([4, 2, 3, 5, 1, 0].map((index) => ids[index]));
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
      await eventually(async () => {
        const waiting = await postgres.sql(
          `SELECT FROM pg_stat_activity WHERE application_name = 'test-stores' AND wait_event_type = 'Lock'`,
        );
        expect(waiting).toHaveLength(1);
      });
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
    expect(await postgres.operations.hasOpen('arena')).toBe(true);
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
  it('is pending or in progress, and found by its definition, oldest first', async () => {
    const { operations } = postgres;
    expect(await operations.hasOpen('arena')).toBe(false);
    expect(await operations.findOpen('arena', 'add_rooms')).toBeNull();
    const first = await insert('add_rooms');
    await insert('add_rooms');
    await insert('remove_rooms', 'other');
    expect(await operations.findOpen('arena', 'add_rooms')).toEqual(first);
    expect(await operations.findOpen('arena', 'remove_rooms')).toBeNull();
    const held = await take();
    expect(await operations.findOpen('arena', 'add_rooms')).toMatchObject({ id: first.id, status: 'in_progress' });
    await end(held);
    await end(await take());
    expect(await operations.findOpen('arena', 'add_rooms')).toBeNull();
    expect(await operations.hasOpen('arena')).toBe(false);
    expect(await operations.hasOpen('other')).toBe(true);
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
      await postgres.sql(
        `UPDATE maestro.operations SET status = 'finished', finished_at = now() - seq * interval '1 minute'`,
      );
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
