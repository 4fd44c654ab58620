import { setTimeout as sleep } from 'node:timers/promises';
import type { FleetCounts, Instance, RoomStatus } from '../../src/domain/room/room';
import { instanceStatuses, roomStatuses } from '../../src/domain/room/room';
import type { Ping, RoomStore, StatusSettings } from '../../src/ports/room-store';
import { eventually } from '../support/eventually';

/** A store and the hands that a test needs besides the port: what time, other features and mishaps do. */
export interface RoomStoreUnderTest {
  store: RoomStore;
  /** A flush, or a fail-over to an empty node. */
  loseEverything(): Promise<void>;
  /** The room was given to a caller, `agoMs` ago. */
  giveRoom(scheduler: string, id: string, agoMs: number): Promise<void>;
  /** The room's end lies `byMs` further back. */
  ageTombstone(scheduler: string, id: string, byMs: number): Promise<void>;
  /** Makes counters wrong and says how many; null when the store has none of its own. */
  breakCounters(scheduler: string): Promise<number | null>;
  close(): Promise<void>;
}

const oneMatch: StatusSettings = { maxMatches: 1, allocationTtlMs: 60_000 };
const threeMatches: StatusSettings = { maxMatches: 3, allocationTtlMs: 60_000 };
const scheduler = 'arena';
const dayMs = 24 * 60 * 60 * 1_000;

function ping(status: Ping['status'], runningMatches = 0, metadata: string | null = null, room = 'arena-1'): Ping {
  return { scheduler, room, status, runningMatches, metadata };
}

function instance(changes: Partial<Instance> = {}): Instance {
  return {
    id: 'arena-1',
    scheduler,
    version: 'v1.0.0',
    validation: false,
    status: 'ready',
    description: '',
    address: { host: '10.0.0.1', ports: [{ name: 'game', protocol: 'UDP', port: 7777 }] },
    createdAtMs: 1_700_000_000_123,
    generation: 1,
    ...changes,
  };
}

const watched = { adopt: true, authoritative: false };
const listed = { adopt: true, authoritative: true };

function counts(changes: {
  rooms?: Partial<FleetCounts['rooms']>;
  instances?: Partial<FleetCounts['instances']>;
  runningMatches?: number;
}): FleetCounts {
  const noughts = (words: readonly string[]) => Object.fromEntries(words.map((word) => [word, 0]));
  return {
    rooms: { ...noughts(roomStatuses), ...changes.rooms } as FleetCounts['rooms'],
    instances: { ...noughts(instanceStatuses), ...changes.instances } as FleetCounts['instances'],
    runningMatches: changes.runningMatches ?? 0,
  };
}

/** Every promise of `src/ports/room-store.ts`, for any implementation. Its pages must hold 10 rooms or fewer, or all. */
export function describeRoomStore(name: string, open: () => Promise<RoomStoreUnderTest>): void {
  describe(`${name} as a room store`, () => {
    let under: RoomStoreUnderTest;
    let store: RoomStore;

    beforeAll(async () => {
      under = await open();
      store = under.store;
    }, 60_000);
    beforeEach(() => under.loseEverything());
    afterAll(() => under?.close());

    async function create(id = 'arena-1', validation = false) {
      return store.createRoom({ id, scheduler, version: 'v1.0.0', validation });
    }

    /** A room with a ready instance that said this last. */
    async function roomThatSaid(status: Ping['status'], runningMatches = 0, settings = oneMatch) {
      await create();
      await store.applyInstance(instance(), settings, watched);
      await store.applyPing(ping(status, runningMatches), settings);
    }

    async function statusOf(id = 'arena-1'): Promise<RoomStatus | undefined> {
      return (await store.getRoom(scheduler, id))?.status;
    }

    describe('createRoom', () => {
      it('makes a pending record before there is an instance', async () => {
        const { nowMs } = await store.readFleet(scheduler);
        await expect(create()).resolves.toBe('created');
        const room = await store.getRoom(scheduler, 'arena-1');
        expect(room).toEqual({
          id: 'arena-1',
          scheduler,
          version: 'v1.0.0',
          validation: false,
          status: 'pending',
          statusSinceMs: expect.any(Number),
          pingStatus: 'unknown',
          lastPingAtMs: null,
          createdAtMs: expect.any(Number),
          adoptedAtMs: null,
          runningMatches: 0,
          allocatedAtMs: null,
          instance: { status: 'unknown', description: '', address: null },
        });
        expect(room!.createdAtMs).toBeGreaterThanOrEqual(nowMs);
        expect(room!.statusSinceMs).toBe(room!.createdAtMs);
      });

      it('says exists for a room that exists, and leaves it as it is', async () => {
        await roomThatSaid('ready');
        await expect(create()).resolves.toBe('exists');
        expect(await statusOf()).toBe('ready');
      });

      it('says exists for a room that has ended', async () => {
        await create();
        await store.endRoom(scheduler, 'arena-1');
        await expect(create()).resolves.toBe('exists');
        expect(await store.getRoom(scheduler, 'arena-1')).toBeNull();
      });

      it('lets one of many creators of an id succeed', async () => {
        const answers = await Promise.all(Array.from({ length: 20 }, () => create()));
        expect(answers.filter((answer) => answer === 'created')).toHaveLength(1);
        expect((await store.countFleet(scheduler)).rooms.pending).toBe(1);
      });
    });

    describe('applyPing', () => {
      it('writes nothing for an unknown room', async () => {
        await expect(store.applyPing(ping('ready', 2, '{"a":1}'), threeMatches)).resolves.toEqual({
          outcome: 'unknown_room',
        });
        expect(await store.getRoom(scheduler, 'arena-1')).toBeNull();
        expect(await store.getMetadata(scheduler, 'arena-1')).toBeNull();
        expect((await store.readFleet(scheduler)).rooms).toEqual([]);
        expect(await store.countFleet(scheduler)).toEqual(counts({}));
        expect(await store.listSchedulers()).toEqual([]);
      });

      it('writes nothing for a room that has ended', async () => {
        await roomThatSaid('ready');
        await store.endRoom(scheduler, 'arena-1');
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toEqual({ outcome: 'unknown_room' });
        expect(await store.countFleet(scheduler)).toEqual(counts({}));
      });

      it('says of a validation room that it is one', async () => {
        await create('arena-1', true);
        await store.applyInstance(instance({ validation: true }), oneMatch, watched);
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toEqual({
          outcome: 'applied',
          from: 'unready',
          to: 'ready',
          validation: true,
        });
      });

      it('makes a room with a ready instance ready, and says from where', async () => {
        await create();
        await store.applyInstance(instance(), oneMatch, watched);
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toEqual({
          outcome: 'applied',
          from: 'unready',
          to: 'ready',
          validation: false,
        });
        const room = await store.getRoom(scheduler, 'arena-1');
        expect(room).toMatchObject({ status: 'ready', pingStatus: 'ready', runningMatches: 0 });
      });

      it('keeps a room pending while its instance is not ready', async () => {
        await create();
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toEqual({
          outcome: 'applied',
          from: 'pending',
          to: 'pending',
          validation: false,
        });
      });

      it('takes the time of the ping from its own clock', async () => {
        await create();
        const before = (await store.readFleet(scheduler)).nowMs;
        await store.applyPing(ping('ready'), oneMatch);
        const after = (await store.readFleet(scheduler)).nowMs;
        const room = await store.getRoom(scheduler, 'arena-1');
        expect(room!.lastPingAtMs).toBeGreaterThanOrEqual(before);
        expect(room!.lastPingAtMs).toBeLessThanOrEqual(after);
      });

      it('moves the time of the status only when the status changes', async () => {
        await roomThatSaid('ready');
        const before = await store.getRoom(scheduler, 'arena-1');
        await sleep(5);
        await store.applyPing(ping('ready'), oneMatch);
        const same = await store.getRoom(scheduler, 'arena-1');
        expect(same!.statusSinceMs).toBe(before!.statusSinceMs);
        expect(same!.lastPingAtMs).toBeGreaterThan(before!.lastPingAtMs!);
        await store.applyPing(ping('occupied'), oneMatch);
        expect((await store.getRoom(scheduler, 'arena-1'))!.statusSinceMs).toBeGreaterThan(before!.statusSinceMs);
      });

      it('stores an occupied ping without matches as one match', async () => {
        await roomThatSaid('occupied', 0);
        expect(await store.getRoom(scheduler, 'arena-1')).toMatchObject({ status: 'occupied', runningMatches: 1 });
        expect((await store.countFleet(scheduler)).runningMatches).toBe(1);
      });

      it('stores the matches of a ready ping as sent, also for a room of one match', async () => {
        await roomThatSaid('ready', 2);
        expect(await store.getRoom(scheduler, 'arena-1')).toMatchObject({ status: 'ready', runningMatches: 2 });
        expect((await store.countFleet(scheduler)).runningMatches).toBe(2);
      });

      it.each([
        [0, 'ready'],
        [1, 'active'],
        [2, 'active'],
        [3, 'occupied'],
        [40, 'occupied'],
      ] as const)('with %i of 3 matches makes the room %s, whatever its word', async (matches, status) => {
        await roomThatSaid('ready', matches, threeMatches);
        expect(await statusOf()).toBe(status);
      });

      it('makes a room of 3 matches active when it says occupied without a count', async () => {
        await roomThatSaid('occupied', 0, threeMatches);
        expect(await statusOf()).toBe('active');
      });

      it.each([-1, 0.5, Number.NaN, 2 ** 31])('refuses %p running matches', async (matches) => {
        await create();
        await expect(store.applyPing(ping('ready', matches), oneMatch)).rejects.toMatchObject({
          code: 'room.running_matches_invalid',
        });
      });

      it('keeps a terminating room terminating when a late ping says ready', async () => {
        await roomThatSaid('ready');
        await store.terminateRooms(scheduler, ['arena-1'], { silentSinceMs: Number.MAX_SAFE_INTEGER });
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toEqual({
          outcome: 'applied',
          from: 'terminating',
          to: 'terminating',
          validation: false,
        });
      });

      it('lets a terminating room become terminated', async () => {
        await roomThatSaid('terminating');
        await expect(store.applyPing(ping('terminated'), oneMatch)).resolves.toEqual({
          outcome: 'applied',
          from: 'terminating',
          to: 'terminated',
          validation: false,
        });
      });

      it('keeps only the time of a ping that a terminated room cannot take', async () => {
        await roomThatSaid('terminated');
        await store.applyPing(ping('terminated', 0, '{"last":true}'), oneMatch);
        const before = await store.getRoom(scheduler, 'arena-1');
        await sleep(5);
        await expect(store.applyPing(ping('occupied', 4, '{"late":true}'), oneMatch)).resolves.toEqual({
          outcome: 'refused',
          from: 'terminated',
        });
        const after = await store.getRoom(scheduler, 'arena-1');
        expect(after).toEqual({ ...before, lastPingAtMs: expect.any(Number) });
        expect(after!.lastPingAtMs).toBeGreaterThan(before!.lastPingAtMs!);
        expect(await store.getMetadata(scheduler, 'arena-1')).toEqual({ last: true });
        expect((await store.countFleet(scheduler)).runningMatches).toBe(0);
      });

      it('keeps the metadata of the last ping that had any', async () => {
        const rich = { list: [], object: {}, nothing: null, no: false, number: 123, text: 'ü"\\/' };
        await create();
        expect(await store.getMetadata(scheduler, 'arena-1')).toBeNull();
        await store.applyPing(ping('ready', 0, JSON.stringify(rich)), oneMatch);
        await store.applyPing(ping('ready'), oneMatch);
        expect(await store.getMetadata(scheduler, 'arena-1')).toEqual(rich);
        await store.applyPing(ping('ready', 0, '{}'), oneMatch);
        expect(await store.getMetadata(scheduler, 'arena-1')).toEqual({});
      });

      it('keeps an allocated room allocated until its ping says occupied', async () => {
        await roomThatSaid('ready');
        await under.giveRoom(scheduler, 'arena-1', 30_000);
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toEqual({
          outcome: 'applied',
          from: 'allocated',
          to: 'allocated',
          validation: false,
        });
        expect((await store.getRoom(scheduler, 'arena-1'))!.allocatedAtMs).not.toBeNull();
        await expect(store.applyPing(ping('occupied'), oneMatch)).resolves.toEqual({
          outcome: 'applied',
          from: 'allocated',
          to: 'occupied',
          validation: false,
        });
        expect((await store.getRoom(scheduler, 'arena-1'))!.allocatedAtMs).toBeNull();
      });

      it('makes an allocated room ready again when the allocation is too old', async () => {
        await roomThatSaid('ready');
        await under.giveRoom(scheduler, 'arena-1', 90_000);
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toEqual({
          outcome: 'applied',
          from: 'allocated',
          to: 'ready',
          validation: false,
        });
      });
    });

    describe('allocateRoom', () => {
      const limits = { pingTimeoutMs: 60_000, adoptionHoldMs: 60_000 };
      const none = { outcome: 'no_ready_room' };
      const { address } = instance();

      beforeEach(() => store.markSynced());

      async function readyRoom(id: string, changes: Partial<Instance> = {}, settings = oneMatch) {
        await create(id, changes.validation);
        await store.applyInstance(instance({ id, ...changes }), settings, watched);
        await store.applyPing(ping('ready', 0, null, id), settings);
      }

      it('gives a ready room with its address, and counts it as allocated', async () => {
        await readyRoom('arena-1');
        const { nowMs } = await store.readFleet(scheduler);
        expect(await store.allocateRoom(scheduler, limits)).toEqual({ outcome: 'allocated', room: 'arena-1', address });
        const room = await store.getRoom(scheduler, 'arena-1');
        expect(room).toMatchObject({ status: 'allocated', pingStatus: 'ready' });
        expect(room!.allocatedAtMs).toBeGreaterThanOrEqual(nowMs);
        expect(room!.statusSinceMs).toBe(room!.allocatedAtMs);
        expect(await store.countFleet(scheduler)).toEqual(counts({ rooms: { allocated: 1 }, instances: { ready: 1 } }));
        expect(await store.recountFleet(scheduler)).toEqual({ repaired: 0 });
      });

      it('gives each room to one of many callers, and then none', async () => {
        const ids = Array.from({ length: 10 }, (_, number) => `arena-${number}`);
        await Promise.all(ids.map((id) => readyRoom(id)));
        const answers = await Promise.all(Array.from({ length: 30 }, () => store.allocateRoom(scheduler, limits)));
        const given = answers.flatMap((answer) => (answer.outcome === 'allocated' ? [answer.room] : []));
        expect(given.sort()).toEqual(ids);
        expect(answers.filter(({ outcome }) => outcome === 'no_ready_room')).toHaveLength(20);
        expect(await store.recountFleet(scheduler)).toEqual({ repaired: 0 });
      });

      it('gives the room first that became ready last', async () => {
        for (const id of ['arena-2', 'arena-3', 'arena-1']) {
          await readyRoom(id);
          await sleep(5);
        }
        const order: unknown[] = [];
        for (let turn = 0; turn < 3; turn++) order.push(await store.allocateRoom(scheduler, limits));
        expect(order).toMatchObject([{ room: 'arena-1' }, { room: 'arena-3' }, { room: 'arena-2' }]);
      });

      it('gives no room that it does not have, and writes nothing', async () => {
        expect(await store.allocateRoom('nobody', limits)).toEqual(none);
        expect(await store.listSchedulers()).toEqual([]);
      });

      it.each<[string, () => Promise<unknown>]>([
        ['pending', () => create()],
        ['ready for the runtime and has not pinged', () => store.applyInstance(instance(), oneMatch, watched)],
        ['occupied', () => roomThatSaid('occupied', 1)],
        ['active', () => roomThatSaid('ready', 1, threeMatches)],
        ['terminating', () => roomThatSaid('terminating')],
        ['terminated', () => roomThatSaid('terminated')],
        [
          'ready, and was marked to end',
          async () => {
            await roomThatSaid('ready');
            await store.terminateRooms(scheduler, ['arena-1']);
          },
        ],
        [
          'ready, and its instance is not any more',
          async () => {
            await roomThatSaid('ready');
            await store.applyInstance(instance({ status: 'pending', generation: 2 }), oneMatch, watched);
          },
        ],
        [
          'ready, and its instance failed',
          async () => {
            await roomThatSaid('ready');
            await store.applyInstance(instance({ status: 'error', generation: 2 }), oneMatch, watched);
          },
        ],
        ['a validation room', () => readyRoom('arena-1', { validation: true })],
        ['without address', () => readyRoom('arena-1', { address: null })],
        [
          'allocated already',
          async () => {
            await roomThatSaid('ready');
            await store.allocateRoom(scheduler, limits);
          },
        ],
        [
          'over',
          async () => {
            await roomThatSaid('ready');
            await store.endRoom(scheduler, 'arena-1');
          },
        ],
      ])('gives no room that is %s', async (_case, prepare) => {
        await prepare();
        const before = await store.readFleet(scheduler);
        expect(await store.allocateRoom(scheduler, limits)).toEqual(none);
        expect((await store.readFleet(scheduler)).rooms).toEqual(before.rooms);
      });

      it('leaves out what has not pinged for too long, and gives what has', async () => {
        await readyRoom('arena-1');
        await readyRoom('arena-2');
        await sleep(30);
        const short = { ...limits, pingTimeoutMs: 20 };
        expect(await store.allocateRoom(scheduler, short)).toEqual(none);
        // On a slow machine the ping may be too old by the time of the look: then it pings again.
        await eventually(async () => {
          await store.applyPing(ping('ready', 0, null, 'arena-1'), oneMatch);
          const answer = await store.allocateRoom(scheduler, short);
          expect(answer).toMatchObject({ outcome: 'allocated' });
        });
        expect(await statusOf('arena-1')).toBe('allocated');
        expect(await statusOf('arena-2')).toBe('ready');
        expect(await store.allocateRoom(scheduler, limits)).toMatchObject({ room: 'arena-2' });
      });

      it('holds back a room that was found without a record, because somebody may have been given it', async () => {
        await store.applyInstance(instance(), oneMatch, listed);
        await store.applyPing(ping('ready'), oneMatch);
        expect(await store.allocateRoom(scheduler, limits)).toEqual(none);
        expect(await store.allocateRoom(scheduler, { ...limits, adoptionHoldMs: 0 })).toMatchObject({
          room: 'arena-1',
        });
      });

      it('passes over any number of rooms that may not be given', async () => {
        await readyRoom('arena-0');
        await sleep(5);
        for (let number = 1; number <= 45; number++) await readyRoom(`arena-${number}`, { address: null });
        expect(await store.allocateRoom(scheduler, limits)).toMatchObject({ room: 'arena-0' });
      });

      it('gives a room for several matches as long as none runs in it', async () => {
        await readyRoom('arena-1', {}, threeMatches);
        expect(await store.allocateRoom(scheduler, limits)).toMatchObject({ room: 'arena-1' });
        await store.applyPing(ping('ready'), threeMatches);
        expect(await statusOf()).toBe('allocated');
        expect(await store.allocateRoom(scheduler, limits)).toEqual(none);
        await store.applyPing(ping('occupied', 1), threeMatches);
        expect(await statusOf()).toBe('active');
        expect(await store.allocateRoom(scheduler, limits)).toEqual(none);
      });

      it('gives a room again when its allocation is too old and it still says ready', async () => {
        await readyRoom('arena-1');
        await store.allocateRoom(scheduler, limits);
        await sleep(5);
        await store.applyPing(ping('ready'), { ...oneMatch, allocationTtlMs: 1 });
        expect(await store.allocateRoom(scheduler, limits)).toMatchObject({ room: 'arena-1' });
      });

      it('keeps an address without ports as it is', async () => {
        await readyRoom('arena-1', { address: { host: 'node-1.example', ports: [] } });
        expect(await store.allocateRoom(scheduler, limits)).toMatchObject({
          address: { host: 'node-1.example', ports: [] },
        });
      });

      it('gives nothing until a watcher says that all rooms are here again', async () => {
        await under.loseEverything();
        await readyRoom('arena-1');
        expect(await store.allocateRoom(scheduler, limits)).toEqual({ outcome: 'rebuilding' });
        expect(await statusOf()).toBe('ready');
        await store.markSynced();
        expect(await store.allocateRoom(scheduler, limits)).toMatchObject({ room: 'arena-1' });
      });
    });

    describe('applyInstance', () => {
      it('writes nothing for an unknown room that must not be adopted', async () => {
        const only = { adopt: false, authoritative: false };
        await expect(store.applyInstance(instance(), oneMatch, only)).resolves.toEqual({ outcome: 'unknown_room' });
        expect((await store.readFleet(scheduler)).rooms).toEqual([]);
        expect(await store.listSchedulers()).toEqual([]);
      });

      it('keeps what the instance is and where', async () => {
        await create();
        const news = instance({ status: 'pending', address: null, description: 'ImagePullBackOff: "x/y"' });
        await store.applyInstance(news, oneMatch, watched);
        expect((await store.getRoom(scheduler, 'arena-1'))!.instance).toEqual({
          status: 'pending',
          description: 'ImagePullBackOff: "x/y"',
          address: null,
        });
        const address = { host: 'node-1.example', ports: [] };
        await store.applyInstance(instance({ generation: 2, address }), oneMatch, watched);
        expect((await store.getRoom(scheduler, 'arena-1'))!.instance).toEqual({
          status: 'ready',
          description: '',
          address,
        });
      });

      it('makes a ready room unready when its instance is not ready any more', async () => {
        await roomThatSaid('ready');
        await expect(
          store.applyInstance(instance({ status: 'pending', generation: 2 }), oneMatch, watched),
        ).resolves.toEqual({ outcome: 'applied', from: 'ready', to: 'unready' });
      });

      it('makes a room whose instance fails an error room, and keeps what it said', async () => {
        await roomThatSaid('occupied', 1);
        await store.applyInstance(instance({ status: 'error', generation: 2 }), oneMatch, watched);
        const room = await store.getRoom(scheduler, 'arena-1');
        expect(room).toMatchObject({ status: 'error', pingStatus: 'occupied', runningMatches: 1 });
        expect(await store.countFleet(scheduler)).toEqual(
          counts({ rooms: { error: 1 }, instances: { error: 1 }, runningMatches: 1 }),
        );
      });

      it('follows the running matches when the instance is ready again', async () => {
        await roomThatSaid('ready', 2, threeMatches);
        await store.applyInstance(instance({ status: 'pending', generation: 2 }), threeMatches, watched);
        await store.applyInstance(instance({ status: 'ready', generation: 3 }), threeMatches, watched);
        expect(await statusOf()).toBe('active');
      });

      it('adopts a room that it knows nothing of', async () => {
        const before = (await store.readFleet(scheduler)).nowMs;
        await expect(store.applyInstance(instance({ version: 'v2.1.0' }), oneMatch, watched)).resolves.toEqual({
          outcome: 'adopted',
          to: 'unready',
        });
        const room = await store.getRoom(scheduler, 'arena-1');
        expect(room).toMatchObject({
          version: 'v2.1.0',
          status: 'unready',
          pingStatus: 'unknown',
          lastPingAtMs: null,
          createdAtMs: 1_700_000_000_123,
          runningMatches: 0,
          instance: { status: 'ready', address: instance().address },
        });
        expect(room!.adoptedAtMs).toBeGreaterThanOrEqual(before);
        expect(room!.statusSinceMs).toBe(room!.adoptedAtMs);
        expect(await store.listSchedulers()).toEqual([scheduler]);
        expect(await store.countFleet(scheduler)).toEqual(counts({ rooms: { unready: 1 }, instances: { ready: 1 } }));
      });

      it.each([
        ['unknown', 'pending'],
        ['pending', 'pending'],
        ['terminating', 'terminating'],
        ['error', 'error'],
      ] as const)('adopts a room whose instance is %s as %s', async (status, to) => {
        await expect(store.applyInstance(instance({ status }), oneMatch, listed)).resolves.toEqual({
          outcome: 'adopted',
          to,
        });
      });

      it('remembers that it adopted a room when news of it comes again', async () => {
        await store.applyInstance(instance(), oneMatch, listed);
        const { adoptedAtMs } = (await store.getRoom(scheduler, 'arena-1'))!;
        await store.applyInstance(instance(), oneMatch, listed);
        expect((await store.getRoom(scheduler, 'arena-1'))!.adoptedAtMs).toBe(adoptedAtMs);
      });

      it('does not adopt a room that has ended, neither from a change nor from a list', async () => {
        await create();
        await store.endRoom(scheduler, 'arena-1');
        await expect(store.applyInstance(instance(), oneMatch, watched)).resolves.toEqual({ outcome: 'ended' });
        await expect(store.applyInstance(instance(), oneMatch, listed)).resolves.toEqual({ outcome: 'ended' });
        expect((await store.readFleet(scheduler)).rooms).toEqual([]);
      });

      it('ignores what is older than it has', async () => {
        await create();
        await store.applyInstance(instance({ generation: 7 }), oneMatch, watched);
        await expect(
          store.applyInstance(instance({ generation: 6, status: 'error' }), oneMatch, watched),
        ).resolves.toEqual({ outcome: 'stale' });
        expect(await statusOf()).toBe('unready');
      });

      it('tells generations apart that have 16 digits', async () => {
        await create();
        await store.applyInstance(instance({ generation: 9_007_199_254_740_991 }), oneMatch, watched);
        await expect(
          store.applyInstance(instance({ generation: 9_007_199_254_740_990 }), oneMatch, watched),
        ).resolves.toEqual({ outcome: 'stale' });
      });

      it('takes the same generation again', async () => {
        await create();
        await store.applyInstance(instance({ generation: 7 }), oneMatch, watched);
        await expect(store.applyInstance(instance({ generation: 7 }), oneMatch, watched)).resolves.toEqual({
          outcome: 'applied',
          from: 'unready',
          to: 'unready',
        });
      });

      it('believes a list whatever its generations, and compares from there on', async () => {
        await create();
        await store.applyInstance(instance({ generation: 700 }), oneMatch, watched);
        const list = instance({ generation: 5, status: 'pending' });
        await expect(store.applyInstance(list, oneMatch, listed)).resolves.toMatchObject({ outcome: 'applied' });
        const next = instance({ generation: 6, status: 'error' });
        await expect(store.applyInstance(next, oneMatch, watched)).resolves.toMatchObject({ to: 'error' });
      });

      it('keeps a terminated room terminated and notes what became of its instance', async () => {
        await roomThatSaid('terminated');
        await expect(
          store.applyInstance(instance({ generation: 2, status: 'error', description: 'exited' }), oneMatch, watched),
        ).resolves.toEqual({ outcome: 'applied', from: 'terminated', to: 'terminated' });
        expect((await store.getRoom(scheduler, 'arena-1'))!.instance).toMatchObject({
          status: 'error',
          description: 'exited',
        });
        expect((await store.countFleet(scheduler)).instances.error).toBe(1);
      });

      it('keeps an allocated room allocated when its instance is not ready for a moment', async () => {
        await roomThatSaid('ready');
        await under.giveRoom(scheduler, 'arena-1', 0);
        const news = instance({ status: 'pending', generation: 2 });
        await expect(store.applyInstance(news, oneMatch, watched)).resolves.toMatchObject({ to: 'allocated' });
      });
    });

    describe('endRoom', () => {
      it('removes everything of the room', async () => {
        await roomThatSaid('occupied', 1);
        await store.applyPing(ping('occupied', 1, '{"a":1}'), oneMatch);
        await expect(store.endRoom(scheduler, 'arena-1')).resolves.toEqual({ existed: true, validation: false });
        expect(await store.getRoom(scheduler, 'arena-1')).toBeNull();
        expect(await store.getMetadata(scheduler, 'arena-1')).toBeNull();
        expect((await store.readFleet(scheduler)).rooms).toEqual([]);
        expect(await store.countFleet(scheduler)).toEqual(counts({}));
        expect(await store.listSchedulers()).toEqual([]);
      });

      it('says nothing existed the second time', async () => {
        await create();
        await store.endRoom(scheduler, 'arena-1');
        await expect(store.endRoom(scheduler, 'arena-1')).resolves.toEqual({ existed: false, validation: false });
      });

      it('says that it was a validation room', async () => {
        await create('arena-1', true);
        await expect(store.endRoom(scheduler, 'arena-1')).resolves.toEqual({ existed: true, validation: true });
      });

      it('keeps why a validation room ended, and nothing of others', async () => {
        await create('arena-1', true);
        await create('arena-2');
        await create('arena-3', true);
        await store.endRoom(scheduler, 'arena-1', 'exited with code 1');
        await store.endRoom(scheduler, 'arena-1', 'it is asked again');
        await store.endRoom(scheduler, 'arena-2', 'killed');
        await store.endRoom(scheduler, 'arena-3');
        expect(await store.getEndReason(scheduler, 'arena-1')).toBe('exited with code 1');
        expect(await store.getEndReason(scheduler, 'arena-2')).toBe('');
        expect(await store.getEndReason(scheduler, 'arena-3')).toBe('');
        await store.deleteScheduler(scheduler);
        expect(await store.getEndReason(scheduler, 'arena-1')).toBe('');
      });

      it('remembers the end of a room that it never knew', async () => {
        await store.endRoom(scheduler, 'arena-1');
        await expect(store.applyInstance(instance(), oneMatch, listed)).resolves.toEqual({ outcome: 'ended' });
        expect(await store.listSchedulers()).toEqual([]);
      });

      it('forgets the end after 24 hours', async () => {
        await store.endRoom(scheduler, 'arena-1');
        await under.ageTombstone(scheduler, 'arena-1', dayMs - 10_000);
        await expect(create()).resolves.toBe('exists');
        await under.ageTombstone(scheduler, 'arena-1', 10_000);
        await expect(create()).resolves.toBe('created');
      });
    });

    describe('terminateRooms', () => {
      it('marks rooms and says so for those that are marked already', async () => {
        await create('arena-1');
        await create('arena-2');
        const first = await store.terminateRooms(scheduler, ['arena-1']);
        expect([...first]).toEqual([['arena-1', 'terminating']]);
        const { statusSinceMs } = (await store.getRoom(scheduler, 'arena-1'))!;
        await sleep(5);
        const again = await store.terminateRooms(scheduler, ['arena-2', 'arena-1', 'nobody']);
        expect(Object.fromEntries(again)).toEqual({
          'arena-1': 'terminating',
          'arena-2': 'terminating',
          nobody: 'unknown_room',
        });
        expect((await store.getRoom(scheduler, 'arena-1'))!.statusSinceMs).toBe(statusSinceMs);
        expect(await store.countFleet(scheduler)).toEqual(
          counts({ rooms: { terminating: 2 }, instances: { unknown: 2 } }),
        );
        expect(await store.getRoom(scheduler, 'nobody')).toBeNull();
      });

      it.each([
        ['occupied', 'occupied', 1, oneMatch],
        ['active', 'ready', 1, threeMatches],
        ['ready with a match', 'ready', 1, oneMatch],
      ] as const)('spares a room that is %s', async (_, word, matches, settings) => {
        await roomThatSaid(word, matches, settings);
        const before = await store.getRoom(scheduler, 'arena-1');
        const outcomes = await store.terminateRooms(scheduler, ['arena-1']);
        expect([...outcomes]).toEqual([['arena-1', 'has_match']]);
        expect(await store.getRoom(scheduler, 'arena-1')).toEqual(before);
      });

      it.each([
        ['occupied', 'occupied', 1, oneMatch],
        ['active', 'ready', 1, threeMatches],
        ['ready with a match', 'ready', 1, oneMatch],
      ] as const)('spares no validation room, also when it is %s', async (_, word, matches, settings) => {
        await create('arena-1', true);
        await store.applyInstance(instance({ validation: true }), settings, watched);
        await store.applyPing(ping(word, matches), settings);
        const outcomes = await store.terminateRooms(scheduler, ['arena-1']);
        expect([...outcomes]).toEqual([['arena-1', 'terminating']]);
        expect(await statusOf()).toBe('terminating');
      });

      it('spares an allocated room', async () => {
        await roomThatSaid('ready');
        await under.giveRoom(scheduler, 'arena-1', 0);
        const outcomes = await store.terminateRooms(scheduler, ['arena-1']);
        expect([...outcomes]).toEqual([['arena-1', 'has_match']]);
      });

      it('spares nothing when it is told so', async () => {
        await roomThatSaid('occupied', 1);
        const outcomes = await store.terminateRooms(scheduler, ['arena-1'], { silentSinceMs: Number.MAX_SAFE_INTEGER });
        expect([...outcomes]).toEqual([['arena-1', 'terminating']]);
        expect(await statusOf()).toBe('terminating');
      });

      it('says terminating for a terminating room that has a match', async () => {
        await roomThatSaid('occupied', 1);
        await store.terminateRooms(scheduler, ['arena-1'], { silentSinceMs: Number.MAX_SAFE_INTEGER });
        const outcomes = await store.terminateRooms(scheduler, ['arena-1']);
        expect([...outcomes]).toEqual([['arena-1', 'terminating']]);
      });

      it('leaves a terminated room terminated', async () => {
        await roomThatSaid('terminated');
        await store.terminateRooms(scheduler, ['arena-1'], { silentSinceMs: Number.MAX_SAFE_INTEGER });
        expect(await statusOf()).toBe('terminated');
      });

      it('takes no ids and many ids', async () => {
        expect([...(await store.terminateRooms(scheduler, []))]).toEqual([]);
        await create('arena-1');
        const ids = [...Array.from({ length: 1_001 }, (_, number) => `nobody-${number}`), 'arena-1'];
        const outcomes = await store.terminateRooms(scheduler, ids);
        expect(outcomes.size).toBe(1_002);
        expect(outcomes.get('arena-1')).toBe('terminating');
        expect(outcomes.get('nobody-1000')).toBe('unknown_room');
      });
    });

    describe('earlyEnds', () => {
      const earlyEnds = async () => (await store.readFleet(scheduler)).earlyEnds;
      const young = (changes: Partial<Instance> = {}) => instance({ createdAtMs: Date.now(), ...changes });
      const create = (validation = false) =>
        store.createRoom({ id: 'arena-1', scheduler, version: 'v1.0.0', validation });

      it('are none to begin with', async () => {
        expect(await earlyEnds()).toEqual({ count: 0, lastAtMs: null, lastReason: '' });
      });

      it('count a young room that ended unasked', async () => {
        await create();
        await store.applyInstance(young(), oneMatch, watched);
        await store.endRoom(scheduler, 'arena-1', 'exited with code 3');
        const { nowMs } = await store.readFleet(scheduler);
        const { count, lastAtMs, lastReason } = await earlyEnds();
        expect(count).toBe(1);
        expect(lastReason).toBe('exited with code 3');
        expect(nowMs - lastAtMs!).toBeGreaterThanOrEqual(0);
        expect(nowMs - lastAtMs!).toBeLessThan(10_000);
      });

      it('count a young room that failed, once, also when it is gone later', async () => {
        await create();
        await store.applyInstance(young({ status: 'error', generation: 1 }), oneMatch, watched);
        await store.applyInstance(young({ status: 'error', generation: 2 }), oneMatch, watched);
        await store.endRoom(scheduler, 'arena-1');
        expect((await earlyEnds()).count).toBe(1);
      });

      it.each<[string, () => Promise<unknown>]>([
        [
          'was asked to end',
          () => store.terminateRooms(scheduler, ['arena-1'], { silentSinceMs: Number.MAX_SAFE_INTEGER }),
        ],
        ['said that it ends', () => store.applyPing(ping('terminating'), oneMatch)],
        ['said that it has ended', () => store.applyPing(ping('terminated'), oneMatch)],
      ])('leave out a young room that %s', async (_case, leave) => {
        await create();
        await store.applyInstance(young(), oneMatch, watched);
        await leave();
        await store.endRoom(scheduler, 'arena-1');
        expect((await earlyEnds()).count).toBe(0);
      });

      it('leave out an old room and a validation room', async () => {
        await store.applyInstance(instance({ createdAtMs: Date.now() - 61_000 }), oneMatch, watched);
        await store.endRoom(scheduler, 'arena-1');
        await store.createRoom({ id: 'arena-2', scheduler, version: 'v1.0.0', validation: true });
        await store.endRoom(scheduler, 'arena-2');
        expect((await earlyEnds()).count).toBe(0);
      });

      it('are forgotten with their scheduler', async () => {
        await create();
        await store.endRoom(scheduler, 'arena-1');
        await store.deleteScheduler(scheduler);
        expect((await earlyEnds()).count).toBe(0);
      });
    });

    describe('readFleet', () => {
      it('answers all rooms of one scheduler, in id order, each once', async () => {
        const ids = Array.from({ length: 30 }, (_, number) => `arena-${number}`);
        await Promise.all(ids.map((id) => create(id)));
        await store.createRoom({ id: 'other-1', scheduler: 'other', version: 'v1.0.0', validation: false });
        const { rooms } = await store.readFleet(scheduler);
        expect(rooms.map((room) => room.id)).toEqual([...ids].sort());
        expect(rooms[7]).toEqual(await store.getRoom(scheduler, rooms[7]!.id));
      });

      it('answers no rooms for a scheduler that nobody knows, and writes nothing', async () => {
        expect((await store.readFleet('nobody')).rooms).toEqual([]);
        expect(await store.listSchedulers()).toEqual([]);
      });
    });

    describe('counters', () => {
      it('count rooms, instances and matches but no validation room', async () => {
        await roomThatSaid('occupied', 2);
        await create('arena-2');
        await create('arena-3', true);
        const validation = instance({ id: 'arena-3', validation: true });
        await store.applyInstance(validation, oneMatch, watched);
        await store.applyInstance({ ...validation, id: 'arena-4' }, oneMatch, watched);
        await store.applyPing(ping('occupied', 1, null, 'arena-3'), oneMatch);
        await store.endRoom(scheduler, 'arena-4');
        expect(await store.countFleet(scheduler)).toEqual(
          counts({ rooms: { occupied: 1, pending: 1 }, instances: { ready: 1, unknown: 1 }, runningMatches: 2 }),
        );
      });

      it('need no repair', async () => {
        await roomThatSaid('occupied', 2);
        await create('arena-2', true);
        expect(await store.recountFleet(scheduler)).toEqual({ repaired: 0 });
        expect(await store.recountFleet('nobody')).toEqual({ repaired: 0 });
      });

      it('are repaired by a recount that says how many were wrong', async () => {
        await roomThatSaid('occupied', 2);
        await create('arena-2');
        const before = await store.countFleet(scheduler);
        const broken = await under.breakCounters(scheduler);
        expect(await store.recountFleet(scheduler)).toEqual({ repaired: broken ?? 0 });
        expect(await store.countFleet(scheduler)).toEqual(before);
        expect(await store.recountFleet(scheduler)).toEqual({ repaired: 0 });
      });
    });

    describe('schedulers', () => {
      it('are listed while they have a room', async () => {
        for (const name of ['b', 'a', 'c']) {
          await store.createRoom({ id: `${name}-1`, scheduler: name, version: 'v1.0.0', validation: name === 'c' });
        }
        expect([...(await store.listSchedulers())].sort()).toEqual(['a', 'b', 'c']);
        await store.endRoom('b', 'b-1');
        expect([...(await store.listSchedulers())].sort()).toEqual(['a', 'c']);
      });

      it('leave nothing when they are deleted, and others untouched', async () => {
        await roomThatSaid('occupied', 1);
        await store.applyPing(ping('occupied', 1, '{"a":1}'), oneMatch);
        await create('arena-2');
        await store.endRoom(scheduler, 'arena-2');
        await store.createRoom({ id: 'other-1', scheduler: 'other', version: 'v1.0.0', validation: false });
        await store.deleteScheduler(scheduler);
        await store.deleteScheduler(scheduler);
        expect((await store.readFleet(scheduler)).rooms).toEqual([]);
        expect(await store.countFleet(scheduler)).toEqual(counts({}));
        expect(await store.listSchedulers()).toEqual(['other']);
        await expect(create('arena-2')).resolves.toBe('created');
        expect(await store.getMetadata(scheduler, 'arena-1')).toBeNull();
      });
    });

    describe('hearing', () => {
      it('is null before anyone hears', async () => {
        expect((await store.readFleet(scheduler)).hearingSinceMs).toBeNull();
      });

      it('counts from the first mark while marks come in time', async () => {
        await store.markHearing(5_000);
        const first = await store.readFleet(scheduler);
        expect(first.hearingSinceMs).toBeGreaterThan(first.nowMs - 4_000);
        await sleep(10);
        await store.markHearing(5_000);
        await store.markHearing(5_000);
        expect((await store.readFleet(scheduler)).hearingSinceMs).toBe(first.hearingSinceMs);
      });

      it('is null while marks are missing', async () => {
        await store.markHearing(60);
        await sleep(120);
        expect((await store.readFleet(scheduler)).hearingSinceMs).toBeNull();
      });

      it('starts anew when marks were missing for too long', async () => {
        await store.markHearing(5_000);
        const { hearingSinceMs } = await store.readFleet(scheduler);
        await sleep(120);
        await store.markHearing(60);
        await store.markHearing(5_000);
        expect((await store.readFleet(scheduler)).hearingSinceMs).toBeGreaterThan(hearingSinceMs! + 60);
      });
    });

    describe('sync', () => {
      it('is missing, and every fleet rebuilding, until a watcher marks it', async () => {
        expect(await store.isSynced()).toBe(false);
        expect((await store.readFleet(scheduler)).rebuilding).toBe(true);
        await store.markSynced();
        expect(await store.isSynced()).toBe(true);
        for (const name of ['arena', 'other', 'third']) {
          expect((await store.readFleet(name)).rebuilding).toBe(false);
        }
      });

      it('is missing again after everything was lost', async () => {
        await store.markSynced();
        await roomThatSaid('ready');
        await under.loseEverything();
        expect(await store.isSynced()).toBe(false);
        expect(await store.readFleet(scheduler)).toMatchObject({ rooms: [], hearingSinceMs: null, rebuilding: true });
      });
    });
  });
}
