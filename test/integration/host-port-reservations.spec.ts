import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { closeRedisConnection, createRedisConnection } from '../../src/adapters/redis/redis-connection';
import { RedisHostPortReservations } from '../../src/adapters/redis/redis-host-port-reservations';
import { hostPortKeys } from '../../src/adapters/redis/room-keys';
import { DomainError } from '../../src/domain/errors';
import { hostPortKey, type WantedHostPort } from '../../src/domain/room/choose-host-ports';
import { startTestRedis } from '../support/embedded-servers';
import { readHostPortCounts } from '../support/open-redis-host-port-reservations';

/** Repeat a failure with MAESTRO_TEST_SEED. */
const seed = Number(process.env.MAESTRO_TEST_SEED ?? Date.now() % 2 ** 31);

const wants = (start: number, end: number, ...protocols: string[]): WantedHostPort[] =>
  protocols.map((protocol, index) => ({
    container: 'game',
    name: `port-${index}`,
    protocol,
    range: { start, end },
  }));
const room = (id: string) => ({ scheduler: 'arena', id, pool: '' });

describe('reservations of host ports over several connections', () => {
  let server: Awaited<ReturnType<typeof startTestRedis>>;
  let connections: Redis[];
  let clients: RedisHostPortReservations[];

  beforeAll(async () => {
    server = await startTestRedis('auto');
    connections = Array.from({ length: 4 }, () =>
      createRedisConnection({ url: server.url, name: 'test-host-ports', commandTimeoutMs: 20_000 }),
    );
    clients = connections.map((redis) => new RedisHostPortReservations(redis));
  });
  afterAll(async () => {
    await Promise.all((connections ?? []).map((redis) => closeRedisConnection(redis)));
    await server?.stop();
  });
  beforeEach(() => connections[0]!.flushall());

  /** How often scripts were called since the server began. */
  async function scriptCalls(): Promise<number> {
    const stats = await connections[0]!.info('commandstats');
    return [...stats.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0);
  }

  /** In one pool, of the numbers that the rooms below want: all counts would be a long read. */
  async function mostHolders(): Promise<number> {
    const texts = await Promise.all(
      pools.flatMap((pool) =>
        [0, 65_536].map((first) =>
          connections[0]!.getrange(`${hostPortKeys.counts}:${pool}`, (first + 1) * 4, (first + 8) * 4 + 3),
        ),
      ),
    );
    // No text at all where no room ever held a number.
    const counts = texts.join('').replaceAll('\0', '0').match(/..../g) ?? [];
    return Math.max(0, ...counts.map(Number));
  }

  async function recounted(): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const text of await connections[0]!.hvals(hostPortKeys.holders)) {
      for (const number of text.split(' ').slice(3)) counts[number] = (counts[number] ?? 0) + 1;
    }
    return counts;
  }

  it('give 200 rooms that ask at once the 200 numbers of their range, and refuse the next', async () => {
    const given = await Promise.all(
      Array.from({ length: 200 }, (_, index) =>
        clients[index % 4]!.reserve(room(`room-${index}`), wants(20_000, 20_199, 'udp'), { pool: '', hosts: 1 }),
      ),
    );
    expect(given.flat().sort()).toEqual(Array.from({ length: 200 }, (_, index) => 20_000 + index));
    const error: unknown = await clients[0]!
      .reserve(room('room-200'), wants(20_000, 20_199, 'udp'), { pool: '', hosts: 1 })
      .catch((failure: unknown) => failure);
    expect(error).toMatchObject({ code: 'room.host_ports_exhausted', details: { held: 200, hosts: 1 } });
  });

  it('give a room that asks several times at once the same', async () => {
    const given = await Promise.all(
      clients.map((client) => client.reserve(room('room-1'), wants(1, 60_000, 'tcp', 'udp'), { pool: '', hosts: 1 })),
    );
    expect(new Set(given.map(String)).size).toBe(1);
    expect(Object.values(await readHostPortCounts(connections[0]!))).toEqual([1, 1]);
  });

  it('take one call a room in a range that is not nearly full', async () => {
    const client = clients[0]!;
    await client.hold(
      Array.from({ length: 300 }, (_, index) => ({
        ...room(`old-${index}`),
        ports: [{ protocol: 'UDP', port: 20_000 + index }],
      })),
    );
    const before = await scriptCalls();
    for (let index = 0; index < 100; index++) {
      await client.reserve(room(`new-${index}`), wants(20_000, 20_999, 'udp'), { pool: '', hosts: 1 });
    }
    // Each is refused with a chance of one in a thousand at most.
    const calls = (await scriptCalls()) - before;
    expect(calls).toBeGreaterThanOrEqual(100);
    expect(calls).toBeLessThanOrEqual(104);
  });

  const pools = ['one', 'other'];
  type Action = typeof action extends fc.Arbitrary<infer Each> ? Each : never;
  const anyRoom = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
  const action = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('reserve' as const),
        id: anyRoom,
        wide: fc.boolean(),
        ports: fc.integer({ min: 1, max: 3 }),
      }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('release' as const), id: anyRoom }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('refuse' as const), id: anyRoom }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('releaseScheduler' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('recount' as const) }) },
  );

  it(`never exceed the bound, and count right, in whatever order several clients come (seed ${seed})`, async () => {
    let reserved = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(action, { maxLength: 12 }), { minLength: 4, maxLength: 4 }),
        fc.integer({ min: 1, max: 3 }),
        async (work, hosts) => {
          await connections[0]!.flushall();
          const perform = async (index: number, each: Action): Promise<void> => {
            const [client, pool] = [clients[index]!, pools[index % 2]!];
            if (each.do === 'release') return client.release([room(each.id)]);
            if (each.do === 'refuse') return client.refuse(room(each.id));
            if (each.do === 'releaseScheduler') return client.releaseScheduler('arena');
            if (each.do === 'recount') {
              expect(await client.recount()).toEqual({ repaired: 0 });
              return;
            }
            const wanted = wants(1, each.wide ? 8 : 4, ...['udp', 'tcp', 'udp'].slice(0, each.ports));
            try {
              const ports = await client.reserve(room(each.id), wanted, { pool, hosts });
              reserved++;
              const numbers = ports.map((port, index) => hostPortKey(wanted[index]!.protocol, port));
              expect(new Set(numbers).size).toBe(wanted.length);
            } catch (error) {
              expect((error as DomainError).code).toBe('room.host_ports_exhausted');
              refused++;
            }
            expect(await mostHolders()).toBeLessThanOrEqual(hosts);
          };
          await Promise.all(
            work.map(async (actions, index) => {
              for (const each of actions) await perform(index, each);
            }),
          );
          expect(await readHostPortCounts(connections[0]!)).toEqual(await recounted());
        },
      ),
      { numRuns: 100, seed },
    );
    // Otherwise this proves nothing.
    expect(Math.min(reserved, refused)).toBeGreaterThan(0);
  });
});
