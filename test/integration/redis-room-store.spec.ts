import { closeRedisConnection, createRedisConnection } from '../../src/adapters/redis/redis-connection';
import { RedisRoomStore, type RoomRecord } from '../../src/adapters/redis/redis-room-store';
import { schedulerKeys } from '../../src/adapters/redis/room-keys';
import type { StatusSettings } from '../../src/ports/room-store';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';

const settings: StatusSettings = { maxMatches: 1, allocationTtlMs: 60_000 };
const scheduler = 'arena';
const keys = schedulerKeys(scheduler);
const pageSize = 100;

describe('rooms in Redis', () => {
  let under: RedisRoomStoreUnderTest;

  beforeAll(async () => {
    under = await openRedisRoomStore(undefined, pageSize);
  }, 60_000);
  beforeEach(() => under.loseEverything());
  afterAll(() => under?.close());

  async function create(id: string, validation = false, name = scheduler): Promise<void> {
    await under.store.createRoom({ id, scheduler: name, version: 'v1.0.0', validation });
  }

  function ping(room: string, metadata: string | null = null) {
    return under.store.applyPing({ scheduler, room, status: 'ready', runningMatches: 0, metadata }, settings);
  }

  async function makeReady(id: string, store = under.store): Promise<void> {
    await store.createRoom({ id, scheduler, version: 'v1.0.0', validation: false });
    const address = { host: id, ports: [] };
    const { version, validation, status } = { version: 'v1.0.0', validation: false, status: 'ready' as const };
    await store.applyInstance(
      { id, scheduler, version, validation, status, description: '', address, createdAtMs: 1, generation: 1 },
      settings,
      { adopt: false, authoritative: false },
    );
    await store.applyPing({ scheduler, room: id, status: 'ready', runningMatches: 0, metadata: null }, settings);
  }

  /** What a piece of work sends: commands by name, as ioredis knows them, and how many writes carry them. */
  async function sentBy(work: () => Promise<unknown>): Promise<{ commands: string[]; writes: number }> {
    const send = jest.spyOn(under.redis, 'sendCommand');
    const write = jest.spyOn(under.redis.stream, 'write');
    await work();
    const sent = { commands: send.mock.calls.map(([command]) => command.name), writes: write.mock.calls.length };
    send.mockRestore();
    write.mockRestore();
    return sent;
  }

  describe('round trips', () => {
    it('of a ping are one EVALSHA, whatever it finds', async () => {
      await create('arena-1');
      await ping('arena-1');
      for (const room of ['arena-1', 'arena-1', 'nobody']) {
        expect(await sentBy(() => ping(room, '{"a":1}'))).toEqual({ commands: ['evalsha'], writes: 1 });
      }
    });

    it('of many pings at once are one write', async () => {
      await Promise.all(Array.from({ length: 50 }, (_, number) => create(`arena-${number}`)));
      await ping('arena-0');
      const work = () => Promise.all(Array.from({ length: 50 }, (_, number) => ping(`arena-${number}`)));
      const { commands, writes } = await sentBy(work);
      expect(commands).toEqual(new Array(50).fill('evalsha'));
      expect(writes).toBe(1);
    });

    it('of an allocation are one EVALSHA, whatever it finds', async () => {
      const limits = { pingTimeoutMs: 60_000, adoptionHoldMs: 0 };
      await under.store.markSynced();
      await under.store.allocateRoom(scheduler, limits);
      await makeReady('arena-1');
      for (const outcome of ['allocated', 'no_ready_room']) {
        const work = async () => expect(await under.store.allocateRoom(scheduler, limits)).toMatchObject({ outcome });
        expect(await sentBy(work)).toEqual({ commands: ['evalsha'], writes: 1 });
      }
    });

    it.each([
      [0, 1],
      [1, 1],
      [100, 1],
      [101, 2],
      [250, 3],
    ])('of a fleet of %i in pages of 100 are %i', async (size, pages) => {
      for (let number = 0; number < size; number += 50) {
        const ids = Array.from({ length: Math.min(50, size - number) }, (_, offset) => `arena-${number + offset}`);
        await Promise.all(ids.map((id) => create(id)));
      }
      await under.store.readFleet(scheduler);
      let read = 0;
      const { commands, writes } = await sentBy(async () => {
        read = (await under.store.readFleet(scheduler)).rooms.length;
      });
      expect(read).toBe(size);
      expect([...commands].sort()).toEqual([...new Array<string>(pages).fill('evalsha'), 'hmget']);
      expect(writes).toBe(pages);
    });

    it('of a fleet of 2,500 are 3 when nothing else is said', async () => {
      const store = new RedisRoomStore(under.redis);
      await create('arena-0');
      const record = JSON.parse((await under.redis.hget(keys.rooms, 'arena-0'))!) as RoomRecord;
      const ids = Array.from({ length: 2_500 }, (_, number) => `arena-${number}`);
      await under.redis.hset(keys.rooms, Object.fromEntries(ids.map((id) => [id, JSON.stringify({ ...record, id })])));
      await under.redis.zadd(keys.ids, ...ids.flatMap((id) => [0, id]));
      let read: string[] = [];
      const { commands, writes } = await sentBy(async () => {
        read = (await store.readFleet(scheduler)).rooms.map((room) => room.id);
      });
      expect(read).toEqual([...ids].sort());
      expect([...commands].sort()).toEqual(['eval', 'evalsha', 'evalsha', 'hmget'].sort());
      expect(writes).toBe(3);
    });

    it('of counting are one, of the sync check one', async () => {
      expect(await sentBy(() => under.store.countFleet(scheduler))).toEqual({ commands: ['hgetall'], writes: 1 });
      expect((await sentBy(() => under.store.isSynced())).writes).toBe(1);
      expect((await sentBy(() => under.store.listSchedulers())).writes).toBe(1);
    });
  });

  describe('keys', () => {
    it('of an ended scheduler are only its tombstones, and those go by themselves after 24 h', async () => {
      await create('arena-1');
      await ping('arena-1', '{"a":1}');
      await under.store.terminateRooms(scheduler, ['arena-1']);
      await under.store.endRoom(scheduler, 'arena-1');
      expect(await under.redis.keys('*')).toEqual([keys.ended]);
      const ttlMs = await under.redis.pttl(keys.ended);
      expect(ttlMs).toBeGreaterThan(24 * 60 * 60 * 1_000 - 60_000);
      expect(ttlMs).toBeLessThanOrEqual(24 * 60 * 60 * 1_000);
    });

    it('of a deleted scheduler are gone', async () => {
      await create('arena-1');
      await create('arena-2');
      await ping('arena-1', '{"a":1}');
      await under.store.endRoom(scheduler, 'arena-2');
      await under.store.deleteScheduler(scheduler);
      expect(await under.redis.keys('*')).toEqual([]);
    });

    it('come from no read and from no ping of an unknown room', async () => {
      await ping('arena-1', '{"a":1}');
      await under.store.getRoom(scheduler, 'arena-1');
      await under.store.getMetadata(scheduler, 'arena-1');
      await under.store.readFleet(scheduler);
      await under.store.countFleet(scheduler);
      await under.store.recountFleet(scheduler);
      await under.store.listSchedulers();
      await under.store.isSynced();
      await under.store.terminateRooms(scheduler, ['arena-1'], { silentSinceMs: Number.MAX_SAFE_INTEGER });
      expect(await under.redis.keys('*')).toEqual([]);
    });

    it('by status hold rooms in order of time, and no validation room', async () => {
      await create('arena-1');
      await create('arena-2');
      await create('validation', true);
      await under.store.terminateRooms(scheduler, ['arena-1', 'validation'], {
        silentSinceMs: Number.MAX_SAFE_INTEGER,
      });
      const { rooms } = await under.store.readFleet(scheduler);
      const [first, second] = rooms;
      expect(await under.redis.zrange(keys.byStatus, 0, -1, 'WITHSCORES')).toEqual([
        'arena-2',
        String(second!.statusSinceMs),
        'arena-1',
        String(4e13 + first!.statusSinceMs),
      ]);
    });

    it('of old tombstones shrink when rooms end', async () => {
      for (const id of ['arena-1', 'arena-2']) await under.store.endRoom(scheduler, id);
      await under.ageTombstone(scheduler, 'arena-1', 25 * 60 * 60 * 1_000);
      await under.store.endRoom(scheduler, 'arena-3');
      expect(await under.redis.zrange(keys.ended, 0, -1)).toEqual(['arena-2', 'arena-3']);
    });

    it('work for names that hold what keys and clusters read', async () => {
      const odd = 'a:rooms{p01}ü "b"';
      await create('room "1"\n', false, odd);
      await under.store.applyPing(
        { scheduler: odd, room: 'room "1"\n', status: 'ready', runningMatches: 0, metadata: null },
        settings,
      );
      expect((await under.store.readFleet(odd)).rooms).toMatchObject([{ id: 'room "1"\n', scheduler: odd }]);
      expect(await under.store.listSchedulers()).toEqual([odd]);
    });
  });

  it('gives no room twice, whatever many callers and pings do at once', async () => {
    // The server in JavaScript is slow.
    const [roomCount, callers] = under.kind === 'js' ? [50, 20] : [1_000, 200];
    const limits = { pingTimeoutMs: 60_000, adoptionHoldMs: 0 };
    const clients = Array.from({ length: 4 }, (_, number) =>
      createRedisConnection({ url: under.url, name: `test-caller-${number}`, commandTimeoutMs: 20_000 }),
    );
    try {
      const stores = clients.map((client) => new RedisRoomStore(client));
      await under.store.markSynced();
      const ids = Array.from({ length: roomCount }, (_, number) => `arena-${number}`);
      await Promise.all(ids.map((id, number) => makeReady(id, stores[number % 4])));

      const given: string[] = [];
      const callUntilThereIsNone = async (store: RedisRoomStore): Promise<void> => {
        for (;;) {
          const answer = await store.allocateRoom(scheduler, limits);
          if (answer.outcome !== 'allocated') return;
          expect(answer.address.host).toBe(answer.room);
          given.push(answer.room);
        }
      };
      await Promise.all([
        ...Array.from({ length: callers }, (_, number) => callUntilThereIsNone(stores[number % 4]!)),
        ...ids.map((id) => ping(id)),
      ]);
      expect(given.sort()).toEqual([...ids].sort());
      expect(await under.store.recountFleet(scheduler)).toEqual({ repaired: 0 });
      expect((await under.store.countFleet(scheduler)).rooms).toMatchObject({ ready: 0, allocated: roomCount });
    } finally {
      await Promise.all(clients.map((client) => closeRedisConnection(client)));
    }
  }, 60_000);

  it('looks at a thousand silent rooms at most in one allocation', async () => {
    await under.store.markSynced();
    await makeReady('silent');
    const record = JSON.parse((await under.redis.hget(keys.rooms, 'silent'))!) as RoomRecord;
    const ids = Array.from({ length: 1_500 }, (_, number) => `silent-${number}`);
    await under.redis.hset(keys.rooms, Object.fromEntries(ids.map((id) => [id, JSON.stringify({ ...record, id })])));
    await under.redis.zadd(keys.byStatus, ...ids.flatMap((id) => [record.status * 1e13 + record.statusSinceMs, id]));
    const isMeasured = under.kind !== 'js';
    if (isMeasured) await under.redis.config('RESETSTAT');
    const nothing = { pingTimeoutMs: -1, adoptionHoldMs: 0 };
    expect(await under.store.allocateRoom(scheduler, nothing)).toEqual({ outcome: 'no_ready_room' });
    if (!isMeasured) return;
    const looks = /cmdstat_hget:calls=(\d+)/.exec(await under.redis.info('commandstats'))?.[1];
    expect(Number(looks)).toBe(1_000);
  });

  it('keeps an address as it came, empty lists included', async () => {
    const address = { host: 'h', ports: [] };
    const instance = {
      id: 'arena-1',
      scheduler,
      version: 'v1.0.0',
      validation: false,
      status: 'ready',
      description: '',
      address,
      createdAtMs: 1,
      generation: 1,
    } as const;
    await under.store.applyInstance({ ...instance, address: { host: 'h', ports: [] } }, settings, {
      adopt: true,
      authoritative: false,
    });
    await ping('arena-1');
    await ping('arena-1');
    expect((await under.store.getRoom(scheduler, 'arena-1'))!.instance.address).toEqual(address);
  });

  it('starts a lost counter at nought instead of going below it', async () => {
    await create('arena-1');
    await create('arena-2');
    await under.redis.del(keys.counts);
    await under.store.terminateRooms(scheduler, ['arena-1'], { silentSinceMs: Number.MAX_SAFE_INTEGER });
    const counts = await under.store.countFleet(scheduler);
    expect(counts.rooms).toMatchObject({ pending: 0, terminating: 1 });
    expect(await under.store.recountFleet(scheduler)).toEqual({ repaired: 2 });
    expect((await under.store.countFleet(scheduler)).rooms).toMatchObject({ pending: 1, terminating: 1 });
  });

  it('goes on when the server has forgotten the scripts', async () => {
    await create('arena-1');
    await ping('arena-1');
    await under.redis.script('FLUSH');
    const answers = await Promise.all([ping('arena-1'), ping('arena-1'), ping('nobody')]);
    expect(answers.map((answer) => answer.outcome)).toEqual(['applied', 'applied', 'unknown_room']);
  });
});
