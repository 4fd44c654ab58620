import { closeRedisConnection, createRedisConnection } from '../../src/adapters/redis/redis-connection';
import { RedisRoomAllocationStore } from '../../src/adapters/redis/redis-room-allocation-store';
import { RedisRoomStore, type RoomRecord } from '../../src/adapters/redis/redis-room-store';
import { RedisRooms } from '../../src/adapters/redis/redis-rooms';
import { schedulerKeys } from '../../src/adapters/redis/room-keys';
import type { AllocationOrder } from '../../src/ports/room-allocation-store';
import type { Ping, RoomStore } from '../../src/ports/room-store';
import {
  openRedisRoomAllocationStore,
  type RedisRoomAllocationStoreUnderTest,
} from '../support/open-redis-room-allocation-store';

const scheduler = 'arena';
const keys = schedulerKeys(scheduler);
const waiting = { listener: 'caller', aliveMs: 600_000 };

function order(id: string, changes: Partial<AllocationOrder> = {}): AllocationOrder {
  return {
    scheduler,
    id,
    idempotencyKey: null,
    fingerprint: '',
    maxMatches: 1,
    activeVersion: 'v1.0.0',
    versions: null,
    metadata: {},
    strategy: 'packed',
    ttlMs: 60_000,
    pingTimeoutMs: 600_000,
    adoptionHoldMs: 0,
    ...changes,
  };
}

describe('allocations in Redis', () => {
  let under: RedisRoomAllocationStoreUnderTest;

  beforeAll(async () => {
    under = await openRedisRoomAllocationStore();
  }, 60_000);
  beforeEach(async () => {
    await under.loseEverything();
    await under.rooms.markSynced();
  });
  afterAll(() => under?.close());

  function ping(room: string, status: Ping['status'] = 'ready', rooms: RoomStore = under.rooms, maxMatches = 1) {
    const said = { scheduler, room, status, runningMatches: 0, metadata: null, listener: null, resync: false };
    return rooms.applyPing(said, { maxMatches });
  }

  async function makeReady(id: string, rooms: RoomStore = under.rooms, maxMatches = 1): Promise<void> {
    await rooms.createRoom({ id, scheduler, version: 'v1.0.0', validation: false });
    const address = { host: id, ports: [] };
    const news = { id, scheduler, version: 'v1.0.0', validation: false, status: 'ready' } as const;
    await rooms.applyInstance(
      { ...news, description: '', address, createdAtMs: 1, generation: 1 },
      { maxMatches },
      { adopt: false, authoritative: false },
    );
    await ping(id, 'ready', rooms, maxMatches);
  }

  /** As many more rooms that are as this one is, oldest first; answers their ids. */
  async function makeLike(
    pattern: string,
    count: number,
    changes: (number: number) => Partial<RoomRecord> = () => ({}),
  ) {
    const record = JSON.parse((await under.redis.hget(keys.rooms, pattern))!) as RoomRecord;
    const records = Array.from({ length: count }, (_, number) => ({
      ...record,
      id: `${pattern}-${number}`,
      statusSinceMs: record.statusSinceMs + number,
      ...changes(number),
    }));
    await under.redis.hset(keys.rooms, Object.fromEntries(records.map((room) => [room.id, JSON.stringify(room)])));
    await under.redis.zadd(
      keys.byStatus,
      ...records.flatMap(({ id, status, statusSinceMs }) => [status * 1e13 + statusSinceMs, id]),
    );
    await under.redis.zadd(
      keys.free,
      ...records.flatMap(({ id, status, version }) => [0, `${status}/${version}/${id}`]),
    );
    return records.map(({ id }) => id);
  }

  /** How often the server ran a command, scripts included. */
  async function callsOf(command: string): Promise<number> {
    const calls = new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(await under.redis.info('commandstats'))?.[1];
    return Number(calls ?? 0);
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
    it('of an allocation are one EVALSHA, whatever it finds', async () => {
      await under.store.allocate(order('a0'));
      await makeReady('arena-1');
      const once = { commands: ['evalsha'], writes: 1 };
      expect(await sentBy(() => under.store.allocate(order('a1')))).toEqual(once);
      expect(await sentBy(() => under.store.allocate(order('a2')))).toEqual(once);
      expect(await sentBy(() => under.store.allocate(order('a3'), waiting))).toEqual(once);
      expect(await sentBy(() => under.store.allocate(order('a3'), waiting))).toEqual(once);
    });

    it('of looking for what is over are one, and one more for those schedulers that have any', async () => {
      await under.store.expire(100);
      const nothing = await sentBy(() => under.store.expire(100));
      expect(nothing).toEqual({ commands: new Array(64).fill('evalsha'), writes: 1 });
      for (let number = 0; number < 10; number += 1) await makeReady(`arena-${number}`);
      await under.store.allocate(order('a-minute'));
      expect(await sentBy(() => under.store.expire(100))).toEqual(nothing);
      for (let number = 0; number < 10; number += 1) await under.store.allocate(order(`a${number}`, { ttlMs: -1 }));
      // The first to end teaches the server the script.
      await under.store.expire(1);
      await Promise.all(['b0', 'b1', 'b2'].map((id) => under.store.allocate(order(id, { ttlMs: -1 }))));
      expect((await sentBy(() => under.store.expire(100))).writes).toBe(2);
    });
  });

  describe('keys', () => {
    it('are none for callers that got nothing, and none for a queue that nobody waits in', async () => {
      await under.loseEverything();
      await under.store.allocate(order('a1'));
      await under.store.allocate(order('a2'), waiting);
      expect((await under.redis.keys('*')).sort()).toEqual([keys.waiters, keys.waiting].sort());
      await under.store.stopWaiting(scheduler, 'a2', { keep: false });
      expect(await under.redis.keys('*')).toEqual([]);
    });

    it('of a queue go by themselves when all in it have died', async () => {
      await under.store.allocate(order('a1'), { ...waiting, aliveMs: 1_200_000 });
      await under.store.allocate(order('a2'), waiting);
      for (const key of [keys.waiting, keys.waiters]) {
        const leftMs = await under.redis.pttl(key);
        expect(leftMs).toBeGreaterThan(1_100_000);
        expect(leftMs).toBeLessThanOrEqual(1_201_000);
      }
    });

    it('of an ended scheduler are only its tombstones, once its last allocation is forgotten', async () => {
      await makeReady('arena-1');
      await makeReady('arena-2');
      await under.store.allocate(order('a1', { idempotencyKey: 'k1' }));
      await under.store.allocate(order('a2', { idempotencyKey: 'k2' }));
      await ping('arena-1', 'occupied');
      for (const room of ['arena-1', 'arena-2']) await under.rooms.endRoom(scheduler, room);
      await under.redis.zincrby(keys.allocationTimes, -120_000, `a1/${scheduler}`);
      await under.redis.zincrby(keys.allocationTimes, -120_000, `a2/${scheduler}`);
      await under.store.expire(100);
      await under.redis.del(keys.events, keys.earlyEnds, keys.failures);
      expect((await under.redis.keys('*')).filter((key) => !key.endsWith(':synced'))).toEqual([keys.ended]);
    });

    it('of a deleted scheduler are gone, and its times when they come', async () => {
      await makeReady('arena-1');
      await under.store.allocate(order('a1', { idempotencyKey: 'k1' }));
      await under.store.allocate(order('a2'), waiting);
      await under.rooms.deleteScheduler(scheduler);
      expect((await under.redis.keys('*')).filter((key) => !key.endsWith(':synced')).sort()).toEqual(
        [keys.allocationTimes, keys.events].sort(),
      );
      await under.redis.zincrby(keys.allocationTimes, -120_000, `a1/${scheduler}`);
      expect(await under.store.expire(100)).toMatchObject({ ended: 0 });
      expect(await under.redis.exists(keys.allocationTimes)).toBe(0);
    });

    it('work for names that hold what keys, clusters and times read', async () => {
      const odd = 'a:rooms{p01}/ü "b"';
      await under.store.allocate(
        order('a1', { scheduler: odd, idempotencyKey: 'k:\n"1"', fingerprint: '\n{}' }),
        waiting,
      );
      await under.rooms.createRoom({ id: 'r/\n1', scheduler: odd, version: 'v1.0.0', validation: false });
      const news = { id: 'r/\n1', scheduler: odd, version: 'v1.0.0', validation: false, status: 'ready' } as const;
      await under.rooms.applyInstance(
        { ...news, description: '', address: { host: '', ports: [] }, createdAtMs: 1, generation: 1 },
        { maxMatches: 1 },
        { adopt: false, authoritative: false },
      );
      const said = { scheduler: odd, room: 'r/\n1', status: 'ready', runningMatches: 0 } as const;
      await under.rooms.applyPing({ ...said, metadata: null, listener: null, resync: false }, { maxMatches: 1 });
      expect(await under.store.serveWaiting(odd)).toBe(1);
      const repeated = order('a2', { scheduler: odd, idempotencyKey: 'k:\n"1"', fingerprint: '\n{}' });
      expect(await under.store.allocate(repeated)).toMatchObject({ isRepeated: true, allocation: { room: 'r/\n1' } });
      await under.passTime(60_001);
      expect(await under.store.expire(100)).toMatchObject({ ended: 1 });
    });
  });

  it.each([1, 4])(
    'gives no slot twice, whatever many callers and pings do at once: %i matches a room',
    async (maxMatches) => {
      // The server in JavaScript is slow.
      const [roomCount, callers] = under.kind === 'js' ? [40, 20] : [1_000 / maxMatches, 200];
      const clients = Array.from({ length: 4 }, (_, number) =>
        createRedisConnection({ url: under.url, name: `test-caller-${number}`, commandTimeoutMs: 20_000 }),
      );
      try {
        const stores = clients.map((client) => new RedisRoomAllocationStore(client));
        const roomStores = clients.map((client) => new RedisRoomStore(client));
        const ids = Array.from({ length: roomCount }, (_, number) => `arena-${number}`);
        await Promise.all(ids.map((id, number) => makeReady(id, roomStores[number % 4], maxMatches)));

        const given: string[] = [];
        let made = 0;
        const callUntilThereIsNone = async (store: RedisRoomAllocationStore): Promise<void> => {
          for (;;) {
            const answer = await store.allocate(order(`a${made++}`, { maxMatches }));
            if (answer.outcome !== 'allocated') return;
            expect(answer.allocation.address.host).toBe(answer.allocation.room);
            given.push(answer.allocation.room);
          }
        };
        await Promise.all([
          ...Array.from({ length: callers }, (_, number) => callUntilThereIsNone(stores[number % 4]!)),
          ...ids.map((id) => ping(id, 'ready', under.rooms, maxMatches)),
        ]);
        expect(given.sort()).toEqual(ids.flatMap((id) => new Array<string>(maxMatches).fill(id)).sort());
        expect(await under.rooms.recountFleet(scheduler)).toEqual({ repaired: 0 });
      } finally {
        await Promise.all(clients.map((client) => closeRedisConnection(client)));
      }
    },
  );

  it('gives each waiting caller one room and each room to one, while rooms come back and callers leave', async () => {
    const [roomCount, callers] = under.kind === 'js' ? [5, 20] : [50, 200];
    const clients = Array.from({ length: 4 }, (_, number) =>
      createRedisConnection({ url: under.url, name: `test-caller-${number}`, commandTimeoutMs: 20_000 }),
    );
    try {
      const stores = clients.map((client) => new RedisRoomAllocationStore(client));
      const ids = Array.from({ length: roomCount }, (_, number) => `arena-${number}`);
      await Promise.all(ids.map((id) => makeReady(id)));
      const held = new Map<string, string>();
      const useOne = async (number: number): Promise<string> => {
        const store = stores[number % 4]!;
        const id = `a${number}`;
        for (let polls = 0; ; polls += 1) {
          const answer = await store.allocate(order(id), waiting);
          if (answer.outcome === 'allocated') {
            const { room } = answer.allocation;
            expect(held.get(room)).toBeUndefined();
            held.set(room, id);
            expect((await store.getAllocation(scheduler, id))?.room).toBe(room);
            held.delete(room);
            expect(await store.release(scheduler, id)).toMatchObject({ allocation: { state: 'released' } });
            return room;
          }
          expect(answer.outcome).toBe('waiting');
          if (number % 10 === 0 && polls > 2) {
            // Whoever hangs up may have been served in the same moment.
            await store.stopWaiting(scheduler, id, { keep: false });
            return 'left';
          }
        }
      };
      await Promise.all(Array.from({ length: callers }, (_, number) => useOne(number)));
      expect((await under.rooms.countFleet(scheduler)).rooms).toMatchObject({ ready: roomCount, allocated: 0 });
      expect(await under.redis.exists(keys.waiting, keys.waiters, keys.hosts)).toBe(0);
      expect(await under.rooms.recountFleet(scheduler)).toEqual({ repaired: 0 });
    } finally {
      await Promise.all(clients.map((client) => closeRedisConnection(client)));
    }
  });

  it('leaves what was found due and is not any more', async () => {
    await makeReady('arena-1');
    await under.store.allocate(order('a1'));
    await ping('arena-1', 'occupied');
    // As a process does that read the times before the room reported its match.
    expect(await new RedisRooms(under.redis).script('end-allocations', scheduler, ['a1'])).toBe(0);
    expect(await under.store.getAllocation(scheduler, 'a1')).toMatchObject({ state: 'confirmed' });
  });

  describe('a large fleet', () => {
    it('is read by five hundred rooms of each kind at most, whoever looks for what is not there', async () => {
      await makeReady('arena');
      await makeLike('arena', 1_500);
      await under.redis.hset(keys.metadata, 'arena', '{"map":"harbour"}');
      const isMeasured = under.kind !== 'js';
      for (let number = 0; number < 20; number += 1) {
        await under.store.allocate(order(`waits-${number}`, { versions: [`v9.${number}.0`] }), waiting);
      }
      if (isMeasured) await under.redis.config('RESETSTAT');
      const wish = { metadata: { map: 'desert' } };
      expect(await under.store.allocate(order('a1', wish))).toEqual({ outcome: 'no_room' });
      if (!isMeasured) return;
      // Five pages of rooms, one more where the end of the fleet cuts one in two, and one of waiting callers.
      expect(await callsOf('hmget')).toBeGreaterThanOrEqual(6);
      expect(await callsOf('hmget')).toBeLessThanOrEqual(7);
    });

    it('is read in other parts each time, so that who asks again finds his room', async () => {
      await makeReady('arena');
      await makeLike('arena', 3_000);
      await under.redis.hset(keys.metadata, 'arena-700', '{"map":"harbour"}');
      const ask = () => under.store.allocate(order('a1', { metadata: { map: 'harbour' } }));
      let answer = await ask();
      for (let turn = 0; answer.outcome !== 'allocated' && turn < 500; turn += 1) answer = await ask();
      expect(answer).toMatchObject({ allocation: { room: 'arena-700' } });
    });

    it('gives rooms of the active major number first, and of a rare version, however many others there are', async () => {
      await makeReady('arena');
      const made = under.kind === 'js' ? [5, 200] : [50, 2_000];
      const [ofTheActive, others] = made as [number, number];
      await makeLike('arena', ofTheActive + others, (number) => ({
        version: number === 3 ? 'v2.9.0' : number < ofTheActive ? 'v2.1.0' : 'v1.0.0',
      }));
      const rare = await under.store.allocate(order('rare', { activeVersion: 'v1.0.0', versions: ['v2.9.0'] }));
      expect(rare).toMatchObject({ allocation: { room: 'arena-3', version: 'v2.9.0' } });
      for (let number = 1; number < ofTheActive; number += 1) {
        const answer = await under.store.allocate(order(`a${number}`, { activeVersion: 'v2.2.0' }));
        expect(answer).toMatchObject({ allocation: { version: 'v2.1.0' } });
      }
      const answer = await under.store.allocate(order('last', { activeVersion: 'v2.2.0' }));
      expect(answer).toMatchObject({ allocation: { version: 'v1.0.0' } });
    });

    it.each([
      [
        'v2.1.0',
        ['v2.1.0', 'v2', 'v2-rc.1', '2.0.1', 'v2.0.0+7'],
        ['v20.0.0', 'v1.9.9', '20', '1.2.3', '', 'v3', 'next'],
      ],
      ['2.1.0', ['v2.1.0', '2.0.1'], ['v20.0.0', '1.2.3']],
      ['next', [], ['v1.0.0', '1.0.0', 'next']],
    ])('has, of the active version %s, first %j, then %j', async (activeVersion, first, then) => {
      await makeReady('arena');
      await under.rooms.drainRooms(scheduler, ['arena'], 'operator');
      const record = JSON.parse((await under.redis.hget(keys.rooms, 'arena'))!) as RoomRecord;
      delete record.drainingSinceMs;
      await under.redis.hset(keys.rooms, 'pattern', JSON.stringify(record));
      const versions = [...then, ...first];
      await makeLike('pattern', versions.length, (number) => ({ version: versions[number]! }));
      const given: string[] = [];
      for (const number of versions.keys()) {
        const answer = await under.store.allocate(order(`a${number}`, { activeVersion }));
        given.push(answer.outcome === 'allocated' ? answer.allocation.version : answer.outcome);
      }
      expect(given.slice(0, first.length).sort()).toEqual([...first].sort());
      expect(given.slice(first.length).sort()).toEqual([...then].sort());
    });

    it('is not read any further than 256 KiB of what rooms say of themselves', async () => {
      await makeReady('arena');
      const ids = ['arena', ...(await makeLike('arena', 199))];
      const said = JSON.stringify({ map: 'desert', pad: 'x'.repeat(64 * 1024) });
      await under.redis.hset(keys.metadata, Object.fromEntries(ids.map((id) => [id, said])));
      if (under.kind !== 'js') await under.redis.config('RESETSTAT');
      const answer = await under.store.allocate(order('a1', { metadata: { map: 'harbour' } }));
      expect(answer).toEqual({ outcome: 'no_room' });
      if (under.kind !== 'js') expect(await callsOf('hget')).toBeLessThan(10);
      // Another caller, who waits, finds it at last, though one ahead of him reads in vain.
      await under.redis.hset(keys.metadata, 'arena-7', '{"map":"harbour"}');
      await under.store.allocate(order('ahead', { metadata: { map: 'nowhere' } }), waiting);
      let found = answer;
      for (let turn = 0; found.outcome !== 'allocated' && turn < 2_000; turn += 1) {
        found = await under.store.allocate(order('a2', { metadata: { map: 'harbour' } }), waiting);
      }
      expect(found).toMatchObject({ allocation: { room: 'arena-7' } });
    });

    it('is looked through for all who wait, though it has rooms that can be given to nobody', async () => {
      await makeReady('arena');
      const record = JSON.parse((await under.redis.hget(keys.rooms, 'arena'))!) as RoomRecord;
      delete record.address;
      await under.redis.hset(keys.rooms, 'arena', JSON.stringify(record));
      await under.store.allocate(order('a1', { strategy: 'packed' }), waiting);
      expect(await under.store.allocate(order('a2', { strategy: 'spread' }), waiting)).toMatchObject({ ahead: 1 });
    });

    it('is read without a gap while rooms of it are given', async () => {
      await makeReady('arena');
      await under.redis.del(keys.free);
      await Promise.all(Array.from({ length: 110 }, (_, number) => under.store.allocate(order(`a${number}`), waiting)));
      // A page is 100 rooms.
      await makeLike('arena', 100);
      expect(await under.rooms.recountFleet(scheduler)).not.toEqual({ repaired: 0 });
      expect(await under.store.serveWaiting(scheduler)).toBe(101);
      expect(await under.redis.zcard(keys.waiting)).toBe(9);
    });
  });

  it('lets no newcomer pass those of a long queue who were not looked at, and serves them when they ask', async () => {
    await Promise.all(
      Array.from({ length: 1_001 }, (_, number) =>
        under.store.allocate(order(`a${number}`, number === 1_000 ? {} : { versions: ['v9.0.0'] }), waiting),
      ),
    );
    await makeReady('arena-1');
    expect(await under.store.allocate(order('new'))).toEqual({ outcome: 'no_room' });
    expect(await under.store.allocate(order('new'), waiting)).toEqual({ outcome: 'waiting', ahead: 1_001 });
    expect(await under.store.allocate(order('a1000'), waiting)).toMatchObject({ allocation: { room: 'arena-1' } });
  });

  it('fails for nobody because a room says something that nests too deeply', async () => {
    // The Lua of the server in JavaScript runs out of memory there.
    if (under.kind === 'js') return;
    await makeReady('arena-1');
    await makeReady('arena-2');
    const nested = `${'['.repeat(1_500)}${']'.repeat(1_500)}`;
    await under.redis.hset(keys.metadata, 'arena-1', '{"map":"harbour"}', 'arena-2', `{"map":${nested}}`);
    expect(await under.store.allocate(order('a1', { metadata: { map: 'harbour' } }))).toMatchObject({
      allocation: { room: 'arena-1' },
    });
  });

  it('goes on when the server has forgotten the scripts', async () => {
    await makeReady('arena-1');
    await under.redis.script('FLUSH');
    expect(await under.store.allocate(order('a1'))).toMatchObject({ outcome: 'allocated' });
  });

  it('says that the store is unavailable while Redis is', async () => {
    // Nothing listens there.
    const redis = createRedisConnection({ url: 'redis://127.0.0.1:1', name: 'test', commandTimeoutMs: 100 });
    try {
      const store = new RedisRoomAllocationStore(redis);
      const calls: (() => Promise<unknown>)[] = [
        () => store.allocate(order('a1')),
        () => store.stopWaiting(scheduler, 'a1', { keep: true }),
        () => store.serveWaiting(scheduler),
        () => store.getAllocation(scheduler, 'a1'),
        () => store.confirm(scheduler, 'a1'),
        () => store.release(scheduler, 'a1'),
        () => store.expire(1),
      ];
      for (const call of calls) {
        await expect(call()).rejects.toMatchObject({ kind: 'unavailable', code: 'room_store.unavailable' });
      }
    } finally {
      await closeRedisConnection(redis);
    }
  });
});
