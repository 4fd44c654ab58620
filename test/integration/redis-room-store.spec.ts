import { createRedisConnection } from '../../src/adapters/redis/redis-connection';
import { RedisRoomStore, type RoomRecord } from '../../src/adapters/redis/redis-room-store';
import { schedulerKeys } from '../../src/adapters/redis/room-keys';
import { countFleet } from '../../src/domain/room/count-fleet';
import type { Ping, StatusSettings } from '../../src/ports/room-store';
import { eventually } from '../support/eventually';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';

const settings: StatusSettings = { maxMatches: 1 };
const saysReady = { status: 'ready', runningMatches: 0, metadata: null, listener: null, resync: false } as const;
const spare = { reason: 'scale_down' };
const regardless = { reason: 'expired_room', silentSinceMs: Number.MAX_SAFE_INTEGER };
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
    return under.store.applyPing({ ...saysReady, scheduler, room, metadata }, settings);
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

  it('calls no restart news of which a room of an earlier Maestro kept no count', async () => {
    await create('arena-1');
    const hear = (count: number) =>
      under.store.applyInstance(
        {
          id: 'arena-1',
          scheduler,
          version: 'v1.0.0',
          validation: false,
          status: 'ready',
          description: '',
          address: null,
          createdAtMs: 0,
          generation: count,
          restarts: { count, lastEnd: null },
        },
        settings,
        { adopt: false, authoritative: false },
      );
    await hear(1);
    const record = JSON.parse((await under.redis.hget(keys.rooms, 'arena-1'))!) as RoomRecord;
    delete record.restarts;
    delete record.restartCount;
    await under.redis.hset(keys.rooms, 'arena-1', JSON.stringify(record));
    expect(await hear(7)).not.toHaveProperty('hasRestarted');
    expect(await hear(8)).toMatchObject({ hasRestarted: true });
  });

  describe('round trips', () => {
    it('of a ping are one EVALSHA, whatever it finds', async () => {
      await create('arena-1');
      await ping('arena-1');
      for (const room of ['arena-1', 'arena-1', 'nobody']) {
        expect(await sentBy(() => ping(room, '{"a":1}'))).toEqual({ commands: ['evalsha'], writes: 1 });
      }
    });

    it('of the pings of a scheduler in one turn are one EVALSHA for fifty', async () => {
      const ids = Array.from({ length: 101 }, (_, number) => `arena-${number}`);
      await Promise.all(ids.map((id) => create(id)));
      await ping('arena-0');
      const work = () => Promise.all(ids.map((id) => ping(id)));
      expect(await sentBy(work)).toEqual({ commands: ['evalsha', 'evalsha', 'evalsha'], writes: 1 });
    });

    it('of pings of several schedulers in one turn are one write', async () => {
      const names = ['arena', 'chess', 'woods'];
      await Promise.all(names.map((name) => create(`${name}-1`, false, name)));
      await ping('arena-1');
      const pingAll = () =>
        Promise.all(
          names.map((name) => under.store.applyPing({ ...saysReady, scheduler: name, room: `${name}-1` }, settings)),
        );
      expect(await sentBy(pingAll)).toEqual({ commands: ['evalsha', 'evalsha', 'evalsha'], writes: 1 });
      for (const name of names) {
        expect(await under.store.getRoom(name, `${name}-1`)).toMatchObject({ pingStatus: 'ready' });
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
      await under.store.terminateRooms(scheduler, ['arena-1'], spare);
      await under.store.endRoom(scheduler, 'arena-1');
      expect((await under.redis.keys('*')).sort()).toEqual([keys.ended, keys.events].sort());
      const ttlMs = await under.redis.pttl(keys.ended);
      expect(ttlMs).toBeGreaterThan(24 * 60 * 60 * 1_000 - 60_000);
      expect(ttlMs).toBeLessThanOrEqual(24 * 60 * 60 * 1_000);
    });

    it('of a deleted scheduler are gone', async () => {
      await create('arena-1');
      await create('arena-2');
      await ping('arena-1', '{"a":1}');
      await under.store.endRoom(scheduler, 'arena-2');
      await under.openAllocation(scheduler, 'arena-1', { expiresInMs: null, key: 'a key' });
      await under.addWaiting(scheduler, 'waiting-1');
      await under.store.deleteScheduler(scheduler);
      expect(await under.redis.keys('*')).toEqual([keys.events]);
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
      await under.store.terminateRooms(scheduler, ['arena-1'], regardless);
      expect(await under.redis.keys('*')).toEqual([]);
    });

    it('by status hold rooms in order of time, and no validation room', async () => {
      await create('arena-1');
      await create('arena-2');
      await create('validation', true);
      await under.store.terminateRooms(scheduler, ['arena-1', 'validation'], regardless);
      const { rooms } = await under.store.readFleet(scheduler);
      const [first, second] = rooms;
      expect(await under.redis.zrange(keys.byStatus, 0, -1, 'WITHSCORES')).toEqual([
        'arena-2',
        String(second!.statusSinceMs),
        'arena-1',
        String(4e13 + first!.statusSinceMs),
      ]);
    });

    it('of failures hold the newest 2,000, so that a fleet that crashes all the time is looked at as fast as any other', async () => {
      const reason = 'ImagePullBackOff: '.padEnd(200, '.');
      const [seconds] = await under.redis.time();
      const nowMs = Number(seconds) * 1_000;
      const entries = Array.from({ length: 5_000 }, (_, n) => [nowMs - 5_000 + n, `room-${n} v1.0.0 ${reason}${n}`]);
      await under.redis.zadd(keys.failures, ...entries.flat());
      const { failures } = await under.store.readFleet(scheduler);
      expect(failures.get('v1.0.0')).toEqual({ count: 2_000, lastReason: `${reason}4999` });
      await create('arena-1');
      await under.store.endRoom(scheduler, 'arena-1', 'no port is left');
      expect(await under.redis.zcard(keys.failures)).toBe(2_000);
      const after = (await under.store.readFleet(scheduler)).failures;
      expect(after.get('v1.0.0')).toEqual({ count: 2_000, lastReason: 'no port is left' });
    });

    it('of failures and early ends go by themselves', async () => {
      await create('arena-1');
      await under.store.endRoom(scheduler, 'arena-1', 'no port is left');
      for (const [key, minutes] of [
        [keys.failures, 60],
        [keys.earlyEnds, 10],
        [keys.notCreated, 10],
      ] as const) {
        const ttlMs = await under.redis.pttl(key);
        expect(ttlMs).toBeGreaterThan((minutes - 1) * 60_000);
        expect(ttlMs).toBeLessThanOrEqual(minutes * 60_000);
      }
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
      await under.store.applyPing({ ...saysReady, scheduler: odd, room: 'room "1"\n' }, settings);
      expect((await under.store.readFleet(odd)).rooms).toMatchObject([{ id: 'room "1"\n', scheduler: odd }]);
      expect(await under.store.listSchedulers()).toEqual([odd]);
    });
  });

  describe('pings of one turn', () => {
    const say = (room: string, changes: Partial<Ping> = {}, to = settings) =>
      under.store.applyPing({ ...saysReady, scheduler, room, ...changes }, to);

    it('are answered each for its room', async () => {
      await create('arena-1');
      await create('arena-2', true);
      const answers = await Promise.all(['arena-1', 'nobody', 'arena-2'].map((room) => say(room)));
      expect(answers).toMatchObject([
        { outcome: 'applied', validation: false },
        { outcome: 'unknown_room' },
        { outcome: 'applied', validation: true },
      ]);
    });

    it('of one room are applied in their order, also when the settings change in between', async () => {
      await create('arena-1');
      const several = { maxMatches: 3 };
      await Promise.all([
        say('arena-1', { runningMatches: 1 }),
        say('arena-1', { runningMatches: 2 }, several),
        say('arena-1', { runningMatches: 3 }),
        say('arena-1', { runningMatches: 4 }, several),
      ]);
      expect(await under.store.getRoom(scheduler, 'arena-1')).toMatchObject({ runningMatches: 4 });
    });

    it('do not fail for one that cannot be taken', async () => {
      for (const id of ['arena-1', 'broken', 'arena-2']) await create(id);
      await under.redis.hset(keys.rooms, 'broken', 'no JSON');
      const answers = await Promise.allSettled([
        say('arena-1'),
        say('arena-2', { runningMatches: -1 }),
        say('broken'),
        say('arena-2'),
      ]);
      expect(answers).toMatchObject([
        { status: 'fulfilled', value: { outcome: 'applied' } },
        { status: 'rejected', reason: { code: 'room.running_matches_invalid' } },
        { status: 'rejected', reason: { message: expect.stringContaining('invalid token') } },
        { status: 'fulfilled', value: { outcome: 'applied' } },
      ]);
    });

    it('say that Redis is away when it refuses to write', async () => {
      if (under.kind === 'js') return;
      await create('arena-1');
      await under.redis.config('SET', 'maxmemory', '1');
      try {
        const away = { status: 'rejected', reason: { code: 'room_store.unavailable' } };
        expect(await Promise.allSettled([say('arena-1'), say('arena-1')])).toMatchObject([away, away]);
      } finally {
        await under.redis.config('SET', 'maxmemory', '0');
      }
    });

    it('all fail when the connection is gone', async () => {
      const gone = createRedisConnection({ url: under.url, name: 'test-gone', commandTimeoutMs: 20_000 });
      const store = new RedisRoomStore(gone);
      await store.isSynced();
      const saying = [1, 2].map(() => store.applyPing({ ...saysReady, scheduler, room: 'arena-1' }, settings));
      gone.disconnect();
      const away = { status: 'rejected', reason: { code: 'room_store.unavailable' } };
      expect(await Promise.allSettled(saying)).toMatchObject([away, away]);
    });
  });

  it('keeps some ten thousand events of a partition', async () => {
    const { events } = keys;
    const older = Array.from({ length: 11_000 }, () => '{}').map((event) =>
      under.redis.xadd(events, '*', 'event', event),
    );
    await Promise.all(older);
    await create('arena-1');
    const kept = await under.redis.xlen(events);
    // Redis forgets whole blocks of a hundred.
    expect(kept).toBeGreaterThanOrEqual(10_000);
    expect(kept).toBeLessThan(10_200);
    expect((await under.readEvents(scheduler)).at(-1)).toMatchObject({ room: 'arena-1' });
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
    await under.store.terminateRooms(scheduler, ['arena-1'], regardless);
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

  it('counts right after the server was killed in the middle of its work', async () => {
    const own = await openRedisRoomStore();
    try {
      // The one in JavaScript keeps nothing.
      if (own.kind === 'js') return;
      const { redis, store } = own;
      const ids = Array.from({ length: 200 }, (_, number) => `arena-${number}`);
      await Promise.all(ids.map((id) => store.createRoom({ id, scheduler, version: 'v1.0.0', validation: false })));
      let isKilled = false;
      const work = async (): Promise<void> => {
        for (let turn = 0; !isKilled; turn++) {
          const said = { ...saysReady, scheduler, runningMatches: turn % 3 };
          await Promise.allSettled(ids.map((room) => store.applyPing({ ...said, room }, { maxMatches: 3 })));
        }
      };
      const working = work();
      const pid = Number(/process_id:(\d+)/.exec(await redis.info('server'))![1]);
      process.kill(pid, 'SIGKILL');
      await eventually(async () => expect(await redis.info('server')).not.toContain(`process_id:${pid}\r`), {
        timeoutMs: 20_000,
      });
      isKilled = true;
      await working;
      const { rooms } = await store.readFleet(scheduler);
      expect(rooms).toHaveLength(200);
      expect(await store.countFleet(scheduler)).toEqual(countFleet(rooms));
      expect(await store.recountFleet(scheduler)).toEqual({ repaired: 0 });
    } finally {
      await own.close();
    }
  }, 60_000);
});
