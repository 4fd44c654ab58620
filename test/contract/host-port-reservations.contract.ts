import type { WantedHostPort } from '../../src/domain/room/choose-host-ports';
import { DomainError } from '../../src/domain/errors';
import { refusedForMs, type HostPortReservations } from '../../src/ports/host-port-reservations';

export interface HostPortReservationsUnderTest {
  reservations: HostPortReservations;
  /** Another client of the same store, as another process has. */
  another(): HostPortReservations;
  loseEverything(): Promise<void>;
  /** As if so much time had gone by since all that is held. */
  passTime(ms: number): Promise<void>;
  /** How many hold each number (`TCP/1`), as the store counts. */
  readCounts(): Promise<Record<string, number>>;
  /** Makes three counts of all rooms wrong, of `TCP/1`, `TCP/2` and one that nobody holds, and those two of the pool `''`. */
  breakCounts(): Promise<void>;
  close(): Promise<void>;
}

const wants = (start: number, end: number, ...protocols: string[]): WantedHostPort[] =>
  (protocols.length === 0 ? ['tcp'] : protocols).map((protocol, index) => ({
    container: 'game',
    name: `port-${index}`,
    protocol,
    range: { start, end },
  }));
const room = (id: string, scheduler = 'arena') => ({ scheduler, id, pool: '' });
const tcp = (...ports: number[]) => ports.map((port) => ({ protocol: 'TCP', port }));
const alone = { pool: '', hosts: 1 };

async function failureOf(work: Promise<unknown>): Promise<DomainError> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (failure: unknown) => failure,
  );
  if (!(error instanceof DomainError)) throw error;
  return error;
}

/** What every `HostPortReservations` promises. One `describe` per call, one test per promise. */
export function describeHostPortReservations(name: string, open: () => Promise<HostPortReservationsUnderTest>): void {
  describe(name, () => {
    let world: HostPortReservationsUnderTest;
    let ports: HostPortReservations;

    beforeAll(async () => {
      world = await open();
      ports = world.reservations;
    });
    afterAll(() => world?.close());
    beforeEach(() => world.loseEverything());

    const holders = async (): Promise<string[]> =>
      (await ports.list()).holders.map((holder) => `${holder.scheduler}/${holder.id}`).sort();

    describe('reserve', () => {
      it('gives each room numbers of its own, whatever its scheduler', async () => {
        const given = [
          await ports.reserve(room('a'), wants(1, 4, 'tcp', 'tcp'), alone),
          await ports.reserve(room('b', 'other'), wants(1, 4, 'tcp', 'tcp'), alone),
        ];
        expect(given.flat().sort()).toEqual([1, 2, 3, 4]);
        expect(await world.readCounts()).toEqual({ 'TCP/1': 1, 'TCP/2': 1, 'TCP/3': 1, 'TCP/4': 1 });
      });

      it('gives nothing to a room that wants nothing', async () => {
        expect(await ports.reserve(room('a'), [], alone)).toEqual([]);
        expect(await holders()).toEqual([]);
      });

      it('gives the same number for another protocol, however that is written', async () => {
        expect(await ports.reserve(room('a'), wants(7, 7, 'tcp'), alone)).toEqual([7]);
        expect(await ports.reserve(room('b'), wants(7, 7, 'UDP'), alone)).toEqual([7]);
        expect((await failureOf(ports.reserve(room('c'), wants(7, 7, 'udp'), alone))).code).toBe(
          'room.host_ports_exhausted',
        );
      });

      it('gives a room that asks again the same, also to another process', async () => {
        const wanted = wants(1, 1_000, 'tcp', 'udp', 'tcp');
        const first = await ports.reserve(room('a'), wanted, alone);
        expect(await ports.reserve(room('a'), wanted, alone)).toEqual(first);
        expect(await world.another().reserve(room('a'), wanted, alone)).toEqual(first);
        expect(Object.values(await world.readCounts())).toEqual([1, 1, 1]);
      });

      it('draws anew where what the room holds does not fit any more, and gives that back', async () => {
        await ports.reserve(room('a'), wants(1, 1), alone);
        expect(await ports.reserve(room('a'), wants(2, 2), alone)).toEqual([2]);
        expect(await ports.reserve(room('a'), wants(2, 2, 'udp'), alone)).toEqual([2]);
        expect(await ports.reserve(room('a'), wants(2, 3, 'udp', 'udp'), alone)).toHaveLength(2);
        expect(await world.readCounts()).toEqual({ 'UDP/2': 1, 'UDP/3': 1 });
      });

      it('does not give what is to be avoided, and takes it from a room that has it', async () => {
        const [first] = await ports.reserve(room('a'), wants(1, 2), alone);
        const [second] = await ports.reserve(room('a'), wants(1, 2), {
          pool: '',
          hosts: 1,
          avoiding: new Set([first!]),
        });
        expect(second).toBe(3 - first!);
        expect(await world.readCounts()).toEqual({ [`TCP/${second}`]: 1 });
        const all = { pool: '', hosts: 9, avoiding: new Set([1, 2]) };
        expect((await failureOf(ports.reserve(room('b'), wants(1, 2), all))).code).toBe('room.host_ports_exhausted');
      });

      it('refuses a room when its range is held, says why, and keeps nothing of it', async () => {
        await ports.hold([{ ...room('a'), ports: tcp(1, 2) }]);
        const error = await failureOf(ports.reserve(room('b'), wants(1, 2), alone));
        expect(error).toMatchObject({ code: 'room.host_ports_exhausted', kind: 'resource_exhausted' });
        expect(error.message).toContain('Host port range 1-2 has no TCP port left for port "port-0"');
        expect(error.message).toContain('each of its 2 numbers is taken');
        expect(await holders()).toEqual(['arena/a']);
      });

      it('takes none of several ports when one cannot be had', async () => {
        await ports.hold([{ ...room('a'), ports: tcp(5) }]);
        const wanted = [...wants(1, 1), ...wants(5, 5)];
        expect((await failureOf(ports.reserve(room('b'), wanted, alone))).code).toBe('room.host_ports_exhausted');
        expect(await world.readCounts()).toEqual({ 'TCP/5': 1 });
      });

      it('finds the last free number of a wide range that is held', async () => {
        await ports.hold(
          Array.from({ length: 1_099 }, (_, index) => ({ ...room(`room-${index}`), ports: tcp(10_001 + index) })),
        );
        expect(await ports.reserve(room('last'), wants(10_001, 11_100), alone)).toEqual([11_100]);
        // Where more is held elsewhere than the range is wide, only the range is read.
        await ports.hold([{ ...room('near'), ports: tcp(1, 2) }]);
        expect(await ports.reserve(room('other'), wants(1, 3), alone)).toEqual([3]);
      });

      it('gives numbers again where there are several machines: those that nobody holds first, then the least held', async () => {
        const hosts = { pool: '', hosts: 3 };
        const draw = async (id: string) => (await ports.reserve(room(id), wants(1, 2), hosts))[0];
        expect([await draw('a'), await draw('b')].sort()).toEqual([1, 2]);
        expect([await draw('c'), await draw('d')].sort()).toEqual([1, 2]);
        await ports.hold([{ ...room('by-hand'), ports: tcp(1) }]);
        expect(await draw('e')).toBe(2);
        const error = await failureOf(ports.reserve(room('f'), wants(1, 2), hosts));
        expect(error.message).toContain('a number can be had 3 times, because rooms run on 3 machines');
        expect(await world.readCounts()).toEqual({ 'TCP/1': 3, 'TCP/2': 3 });
      });

      it('does not count rooms of other pools for the bound, and gives what they hold last', async () => {
        const wide = { pool: 'no affinity and no toleration', hosts: 100 };
        const small = { pool: 'affinity "games" and toleration "a b"', hosts: 2 };
        const theirs = Array.from({ length: 200 }, (_, index) => ({ ...room(`a-${index}`), pool: wide.pool }));
        await ports.hold(theirs.map((each, index) => ({ ...each, ports: tcp((index % 2) + 1) })));
        expect((await failureOf(ports.reserve(room('a'), wants(1, 2), wide))).message).toContain(
          'rooms with no affinity and no toleration run on 100 machines',
        );
        const draw = async (id: string) => (await ports.reserve(room(id, 'other'), wants(1, 3), small))[0];
        expect(await draw('b')).toBe(3);
        expect([await draw('c'), await draw('d')].sort()).toEqual([1, 2]);
        expect([await draw('e'), await draw('f'), await draw('g')].sort()).toEqual([1, 2, 3]);
        expect((await failureOf(draw('h'))).message).toContain(`rooms with ${small.pool} run on 2 machines`);
        expect(await ports.recount()).toEqual({ repaired: 0 });
        await ports.release([...theirs, room('b', 'other')]);
        expect(await draw('h')).toBe(3);
        expect(await ports.recount()).toEqual({ repaired: 0 });
      });

      it('gives a number that was released before one that is held', async () => {
        for (const id of ['a', 'b', 'c']) await ports.reserve(room(id), wants(1, 3), { pool: '', hosts: 5 });
        const [free] = await ports.reserve(room('b'), wants(1, 3), { pool: '', hosts: 5 });
        await ports.release([room('b')]);
        expect(await ports.reserve(room('d'), wants(1, 3), { pool: '', hosts: 5 })).toEqual([free]);
      });
    });

    describe('hold', () => {
      it('takes the place of what is known, also beyond the bound, and of nobody else', async () => {
        await ports.reserve(room('a'), wants(1, 1), alone);
        await ports.hold([
          { ...room('a'), ports: tcp(2) },
          { ...room('b'), ports: [...tcp(2), { protocol: 'UDP', port: 2 }] },
          { ...room('c'), ports: [] },
        ]);
        expect(await world.readCounts()).toEqual({ 'TCP/2': 2, 'UDP/2': 1 });
        expect(await ports.reserve(room('a'), wants(1, 2), alone)).toEqual([2]);
        await ports.hold([{ ...room('b'), ports: [] }]);
        expect(await world.readCounts()).toEqual({ 'TCP/2': 1 });
        expect(await holders()).toEqual(['arena/a']);
      });

      it('counts a room in the pool that it was reserved in, else in the one that is said', async () => {
        const [own, another] = [
          { pool: 'own', hosts: 1 },
          { pool: 'another', hosts: 1 },
        ];
        await ports.reserve(room('a'), wants(1, 1), own);
        await ports.hold([
          { ...room('a'), ports: tcp(2), pool: 'another' },
          { ...room('b'), ports: tcp(1), pool: 'another' },
        ]);
        expect((await ports.list()).holders.map(({ id, pool }) => `${id} ${pool}`).sort()).toEqual([
          'a own',
          'b another',
        ]);
        expect(await ports.reserve(room('c'), wants(1, 2), own)).toEqual([1]);
        expect(await ports.reserve(room('d'), wants(1, 2), another)).toEqual([2]);
        await ports.refuse(room('d'));
        expect((await failureOf(ports.reserve(room('e'), wants(1, 2), another))).code).toBe(
          'room.host_ports_exhausted',
        );
      });

      it('changes nothing when it is said again', async () => {
        await ports.hold([{ ...room('a'), ports: tcp(1, 2) }]);
        const before = await ports.list();
        await ports.hold([{ ...room('a'), ports: tcp(1, 2) }]);
        expect((await ports.list()).holders).toEqual(before.holders);
        expect(await world.readCounts()).toEqual({ 'TCP/1': 1, 'TCP/2': 1 });
      });

      it('knows again what was lost', async () => {
        const [port] = await ports.reserve(room('a'), wants(1, 2), alone);
        await world.loseEverything();
        await ports.hold([{ ...room('a'), ports: tcp(port!) }]);
        expect(await ports.reserve(room('b'), wants(1, 2), alone)).toEqual([3 - port!]);
      });

      it('takes any number of rooms', async () => {
        const rooms = Array.from({ length: 600 }, (_, index) => ({
          ...room(`room-${index}`),
          ports: tcp(index + 1),
        }));
        await ports.hold(rooms);
        expect((await ports.list()).holders).toHaveLength(600);
        await ports.release(rooms);
        expect(await ports.list()).toMatchObject({ holders: [] });
        expect(await world.readCounts()).toEqual({});
      });
    });

    describe('release', () => {
      it('makes the numbers free for others, once, however often it is said', async () => {
        await ports.reserve(room('a'), wants(1, 1), alone);
        await ports.hold([{ ...room('b'), ports: tcp(1) }]);
        await ports.release([room('a'), room('nobody')]);
        await ports.release([room('a')]);
        await ports.release([]);
        expect(await world.readCounts()).toEqual({ 'TCP/1': 1 });
        await ports.release([room('b')]);
        expect(await ports.reserve(room('c'), wants(1, 1), alone)).toEqual([1]);
      });

      it('of a scheduler frees what its rooms hold, refused or not, and nothing of others', async () => {
        for (const id of ['a', 'b']) await ports.reserve(room(id), wants(1, 9), alone);
        await ports.refuse(room('b'));
        await ports.reserve(room('a', 'arena-2'), wants(1, 9), alone);
        await ports.releaseScheduler('arena');
        expect(await holders()).toEqual(['arena-2/a']);
        expect(Object.values(await world.readCounts())).toEqual([1]);
      });
    });

    describe('refuse', () => {
      it('keeps the numbers from others for its time, although their room is over', async () => {
        await ports.reserve(room('a'), wants(1, 1), alone);
        await ports.refuse(room('a'));
        await ports.release([room('a')]);
        expect((await failureOf(ports.reserve(room('b'), wants(1, 1), alone))).code).toBe('room.host_ports_exhausted');
        await world.passTime(refusedForMs + 1);
        await ports.release([room('a')]);
        expect(await ports.reserve(room('b'), wants(1, 1), alone)).toEqual([1]);
      });

      it('lets them be had again where there are several machines and no others', async () => {
        const [refused] = await ports.reserve(room('a'), wants(1, 2), { pool: '', hosts: 2 });
        await ports.refuse(room('a'));
        await ports.release([room('a')]);
        const draw = async (id: string) => (await ports.reserve(room(id), wants(1, 2), { pool: '', hosts: 2 }))[0];
        expect(await draw('b')).toBe(3 - refused!);
        expect([await draw('c'), await draw('d')].sort()).toEqual([1, 2]);
      });

      it('does nothing for a room that holds nothing', async () => {
        await ports.refuse(room('nobody'));
        expect(await holders()).toEqual([]);
      });
    });

    it('lists who holds what since when, by its own clock', async () => {
      await ports.reserve(room('a'), wants(1, 1, 'tcp', 'udp'), alone);
      await ports.hold([{ ...room('b', 'other'), ports: tcp(9) }]);
      await ports.refuse(room('b', 'other'));
      await world.passTime(5_000);
      const { nowMs, holders: held } = await ports.list();
      const [a, b] = held.sort((one, two) => one.id.localeCompare(two.id));
      expect(a).toEqual({
        ...room('a'),
        ports: [...tcp(1), { protocol: 'UDP', port: 1 }],
        sinceMs: expect.any(Number),
        refusedUntilMs: null,
      });
      expect(b).toMatchObject({ ...room('b', 'other'), ports: tcp(9) });
      expect(nowMs - a!.sinceMs).toBeGreaterThanOrEqual(5_000);
      expect(nowMs - a!.sinceMs).toBeLessThan(65_000);
      expect(b!.refusedUntilMs! - b!.sinceMs).toBeGreaterThanOrEqual(refusedForMs);
    });

    it('counts anew what was counted wrong', async () => {
      await ports.hold([
        { ...room('a'), ports: tcp(1, 2) },
        { ...room('b'), ports: tcp(2) },
      ]);
      expect(await ports.recount()).toEqual({ repaired: 0 });
      await world.breakCounts();
      expect(await ports.recount()).toEqual({ repaired: 5 });
      expect(await ports.recount()).toEqual({ repaired: 0 });
      expect(await world.readCounts()).toEqual({ 'TCP/1': 1, 'TCP/2': 2 });
    });

    it('gives a range exactly as often as it is wide, to whoever asks at the same time', async () => {
      const clients = [ports, world.another()];
      const asked = await Promise.allSettled(
        Array.from({ length: 24 }, (_, index) =>
          clients[index % 2]!.reserve(room(`room-${index}`), wants(1, 10), { pool: '', hosts: 2 }),
        ),
      );
      const given = asked.flatMap((each) => (each.status === 'fulfilled' ? each.value : []));
      expect(given.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => Math.floor(index / 2) + 1));
    });
  });
}
