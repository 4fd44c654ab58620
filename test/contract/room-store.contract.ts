import { setTimeout as sleep } from 'node:timers/promises';
import type { FleetCounts, Instance, RoomStatus } from '../../src/domain/room/room';
import { instanceStatuses, roomStatuses } from '../../src/domain/room/room';
import type { Ping, PingOutcome, RoomStore, StatusSettings } from '../../src/ports/room-store';
import type { Notice } from '../../src/ports/notices';
import { eventually } from '../support/eventually';

/** A store and the hands that a test needs besides the port: what time, other features and mishaps do. */
export interface RoomStoreUnderTest {
  store: RoomStore;
  /** A flush, or a fail-over to an empty node. */
  loseEverything(): Promise<void>;
  /** As if so much time had gone by since all that is stored. */
  passTime(ms: number): Promise<void>;
  /** A caller was given a slot of the room. */
  openAllocation(scheduler: string, room: string, given?: GivenSlot): Promise<void>;
  /** What is known of an allocation, and when it ends or is forgotten; null when there is nothing of it. */
  readAllocation(scheduler: string, id: string): Promise<KnownAllocation | null>;
  /** A caller waits for a room. */
  addWaiting(scheduler: string, id: string): Promise<void>;
  /** The entries of the scheduler's partition, oldest first, times left out. */
  readEvents(scheduler: string): Promise<Record<string, unknown>[]>;
  /** Rooms that are to be announced anew, and since when (ms). */
  readResyncs(scheduler: string): Promise<Map<string, number>>;
  /** Host -> rooms there that are used. */
  readHosts(scheduler: string): Promise<Record<string, number>>;
  /** Notices that come to this address from now on. */
  hearNotices(address: string): Promise<Notice[]>;
  /** The room's end lies `byMs` further back. */
  ageTombstone(scheduler: string, id: string, byMs: number): Promise<void>;
  /** Makes counters wrong and says how many. */
  breakCounters(scheduler: string): Promise<number>;
  close(): Promise<void>;
}

export interface GivenSlot {
  /** Of the allocation; `allocation-1` when not given. */
  id?: string;
  /** How long ago, in ms. */
  agoMs?: number;
  /** From now, in ms; null for a confirmed one, which does not expire. A minute when not given. */
  expiresInMs?: number | null;
  /** How many matches the room holds: one for a single match becomes `allocated`. 1 when not given. */
  maxMatches?: number;
  /** The idempotency key of the caller. */
  key?: string;
}

export interface KnownAllocation {
  state: 'pending' | 'confirmed' | 'released';
  /** In the record. */
  expiresAtMs: number | null;
  /** In the order of times; null when nothing ends it. */
  timeMs: number | null;
  /** Its key leads to it. */
  hasKey: boolean;
}

const oneMatch: StatusSettings = { maxMatches: 1 };
const threeMatches: StatusSettings = { maxMatches: 3 };
const scheduler = 'arena';
const dayMs = 24 * 60 * 60 * 1_000;

function ping(status: Ping['status'], runningMatches = 0, metadata: Ping['metadata'] = null, room = 'arena-1'): Ping {
  return { scheduler, room, status, runningMatches, metadata, listener: null, resync: false };
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

/** What a removal of idle rooms asks, and one that no match stops because the rooms said nothing. */
const spare = { reason: 'scale_down' };
const regardless = { reason: 'expired_room', silentSinceMs: Number.MAX_SAFE_INTEGER };

type Applied = Extract<PingOutcome, { outcome: 'applied' }>;

function applied(from: RoomStatus, to: RoomStatus, changes: Partial<Applied> = {}): Applied {
  const nothing = { validation: false, draining: false, openAllocations: 0, isAwaited: false };
  // What changes a status mostly changes the use too; see there what is said of that.
  const use = { isUsedOtherwise: expect.any(Boolean) as boolean, hasLostMatch: expect.any(Boolean) as boolean };
  return { outcome: 'applied', from, to, ...nothing, ...use, ...changes };
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

    async function roomWithId(id: string) {
      await create(id);
      await store.applyInstance(instance({ id }), oneMatch, watched);
      await store.applyPing(ping('ready', 0, null, id), oneMatch);
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
          allocations: [],
          drainingSinceMs: null,
          drainReason: null,
          endAsked: null,
          startPutOff: null,
          instance: { status: 'unknown', description: '', address: null, restarts: null },
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
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toEqual(
          applied('unready', 'ready', { validation: true }),
        );
      });

      it('makes a room with a ready instance ready, and says from where', async () => {
        await create();
        await store.applyInstance(instance(), oneMatch, watched);
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toEqual(applied('unready', 'ready'));
        const room = await store.getRoom(scheduler, 'arena-1');
        expect(room).toMatchObject({ status: 'ready', pingStatus: 'ready', runningMatches: 0 });
      });

      it('keeps a room pending while its instance is not ready', async () => {
        await create();
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toEqual(applied('pending', 'pending'));
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
        await store.terminateRooms(scheduler, ['arena-1'], regardless);
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toEqual(applied('terminating', 'terminating'));
      });

      it('lets a terminating room become terminated', async () => {
        await roomThatSaid('terminating');
        await expect(store.applyPing(ping('terminated'), oneMatch)).resolves.toEqual(
          applied('terminating', 'terminated'),
        );
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

      it('keeps the metadata of the last ping, which may be as before, or none', async () => {
        const rich = { list: [], object: {}, nothing: null, no: false, number: 123, text: 'ü"\\/' };
        await create();
        expect(await store.getMetadata(scheduler, 'arena-1')).toBeNull();
        await store.applyPing(ping('ready', 0, JSON.stringify(rich)), oneMatch);
        await store.applyPing({ ...ping('ready'), metadata: undefined }, oneMatch);
        expect(await store.getMetadata(scheduler, 'arena-1')).toEqual(rich);
        await store.applyPing(ping('ready', 0, '{}'), oneMatch);
        expect(await store.getMetadata(scheduler, 'arena-1')).toEqual({});
        await store.applyPing(ping('ready'), oneMatch);
        expect(await store.getMetadata(scheduler, 'arena-1')).toBeNull();
      });
    });

    describe('open allocations', () => {
      const open = (given?: GivenSlot) => under.openAllocation(scheduler, 'arena-1', given);
      const openIds = async () => (await store.getRoom(scheduler, 'arena-1'))!.allocations.map(({ id }) => id);
      const known = (id = 'allocation-1') => under.readAllocation(scheduler, id);

      it('are told with the room, oldest first', async () => {
        await roomThatSaid('ready', 0, threeMatches);
        await open({ id: 'a', maxMatches: 3, agoMs: 1_000 });
        await open({ id: 'b', maxMatches: 3, expiresInMs: null });
        const { allocations } = (await store.getRoom(scheduler, 'arena-1'))!;
        expect(allocations).toEqual([
          { id: 'a', allocatedAtMs: expect.any(Number), expiresAtMs: expect.any(Number) },
          { id: 'b', allocatedAtMs: expect.any(Number), expiresAtMs: null },
        ]);
      });

      it('keep a room for one match allocated until its ping says occupied', async () => {
        await roomThatSaid('ready');
        await open();
        const held = applied('allocated', 'allocated', { openAllocations: 1 });
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toEqual(held);
        await expect(store.applyPing(ping('occupied'), oneMatch)).resolves.toEqual(applied('allocated', 'occupied'));
        expect(await openIds()).toEqual([]);
        expect(await store.recountFleet(scheduler)).toEqual({ repaired: 0 });
      });

      it('are used up by an occupied ping of a room for one match, whatever it counted before', async () => {
        await roomThatSaid('ready', 1);
        await open();
        await expect(store.applyPing(ping('occupied', 1), oneMatch)).resolves.toEqual(applied('allocated', 'occupied'));
        expect(await openIds()).toEqual([]);
      });

      it('are used up by as many matches as a room for several reports more than before, oldest first', async () => {
        await roomThatSaid('ready', 1, threeMatches);
        for (const id of ['a', 'b', 'c']) await open({ id, maxMatches: 3 });
        const still = (count: number) => applied('active', 'active', { openAllocations: count });
        await expect(store.applyPing(ping('occupied', 1), threeMatches)).resolves.toEqual(still(3));
        await expect(store.applyPing(ping('ready', 2), threeMatches)).resolves.toEqual(still(2));
        expect(await openIds()).toEqual(['b', 'c']);
        await expect(store.applyPing(ping('ready', 1), threeMatches)).resolves.toEqual(still(2));
        await expect(store.applyPing(ping('ready', 5), threeMatches)).resolves.toEqual(applied('active', 'occupied'));
        expect(await openIds()).toEqual([]);
      });

      it('are confirmed when they are used up: the record stays a while, and does not expire', async () => {
        await roomThatSaid('ready', 0, threeMatches);
        await open({ key: 'a key', expiresInMs: 5_000, maxMatches: 3 });
        const { nowMs } = await store.readFleet(scheduler);
        await store.applyPing(ping('ready', 1), threeMatches);
        const allocation = await known();
        expect(allocation).toEqual({ state: 'confirmed', expiresAtMs: null, timeMs: expect.any(Number), hasKey: true });
        // As long as it was to hold at first, a minute here.
        expect(allocation!.timeMs).toBeGreaterThanOrEqual(nowMs + 60_000);
      });

      it('never make a room for several matches allocated', async () => {
        await roomThatSaid('ready', 0, threeMatches);
        await open({ maxMatches: 3 });
        const given = applied('ready', 'ready', { openAllocations: 1 });
        await expect(store.applyPing(ping('ready'), threeMatches)).resolves.toEqual(given);
      });

      it.each<[string, () => Promise<unknown>]>([
        ['a ping', () => store.applyPing(ping('ready'), oneMatch)],
        ['news of the instance', () => store.applyInstance(instance({ generation: 2 }), oneMatch, watched)],
      ])('end by their time at %s, and the room is what it says', async (_case, touch) => {
        await roomThatSaid('ready');
        await open({ expiresInMs: -1, key: 'a key' });
        await expect(touch()).resolves.toMatchObject({ from: 'allocated', to: 'ready' });
        expect(await openIds()).toEqual([]);
        expect(await known()).toBeNull();
        const [last] = await store.getTransitions(scheduler, 'arena-1');
        expect(last).toMatchObject({ to: 'ready', cause: 'allocation_expired', detail: 'allocation-1' });
        expect(await store.recountFleet(scheduler)).toEqual({ repaired: 0 });
      });

      it('that ended leave the room unready when its instance is', async () => {
        await roomThatSaid('ready');
        await open({ expiresInMs: -1 });
        const news = instance({ status: 'pending', generation: 2 });
        await expect(store.applyInstance(news, oneMatch, watched)).resolves.toMatchObject({ to: 'unready' });
      });

      it('keep a room allocated when its instance is not ready for a moment', async () => {
        await roomThatSaid('ready');
        await open();
        const news = instance({ status: 'pending', generation: 2 });
        await expect(store.applyInstance(news, oneMatch, watched)).resolves.toMatchObject({ to: 'allocated' });
      });

      it('make a room allocated again that failed and recovers', async () => {
        await roomThatSaid('ready');
        await open();
        const news = (status: Instance['status'], generation: number) => instance({ status, generation });
        await expect(store.applyInstance(news('error', 2), oneMatch, watched)).resolves.toMatchObject({ to: 'error' });
        const recovery = store.applyInstance(news('ready', 3), oneMatch, watched);
        await expect(recovery).resolves.toMatchObject({ to: 'allocated' });
      });

      it('that are confirmed have no time to end by', async () => {
        await roomThatSaid('ready');
        await open({ agoMs: dayMs, expiresInMs: null });
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toMatchObject({ to: 'allocated' });
      });

      it.each<[string, () => Promise<unknown>]>([
        ['says that it terminates', () => store.applyPing(ping('terminating'), oneMatch)],
        ['says that it has ended', () => store.applyPing(ping('terminated'), oneMatch)],
        ['is removed by name', () => store.terminateRooms(scheduler, ['arena-1'], { reason: 'by_name', byName: true })],
        [
          'has an instance that terminates',
          () => store.applyInstance(instance({ status: 'terminating', generation: 2 }), oneMatch, watched),
        ],
        ['ends', () => store.endRoom(scheduler, 'arena-1')],
      ])('are gone, with their key and their time, when the room %s', async (_case, leave) => {
        await roomThatSaid('ready');
        await open({ key: 'a key' });
        await leave();
        expect((await store.getRoom(scheduler, 'arena-1'))?.allocations ?? []).toEqual([]);
        expect(await known()).toBeNull();
        await roomWithId('arena-2');
        await under.openAllocation(scheduler, 'arena-2', { id: 'allocation-2' });
        expect(await known('allocation-2')).toMatchObject({ hasKey: false });
        expect(await store.recountFleet(scheduler)).toEqual({ repaired: 0 });
      });
    });

    describe('isAwaited', () => {
      const isAwaited = async (said: Ping, settings: StatusSettings) => {
        const outcome = await store.applyPing(said, settings);
        return outcome.outcome === 'applied' && outcome.isAwaited;
      };
      beforeEach(async () => {
        await create();
        await store.applyInstance(instance(), oneMatch, watched);
      });

      it('is said of a room that came free while somebody waits, and once', async () => {
        expect(await isAwaited(ping('occupied'), oneMatch)).toBe(false);
        expect(await isAwaited(ping('ready'), oneMatch)).toBe(false);
        await under.addWaiting(scheduler, 'waiting-1');
        expect(await isAwaited(ping('ready'), oneMatch)).toBe(false);
        expect(await isAwaited(ping('occupied'), oneMatch)).toBe(false);
        expect(await isAwaited(ping('ready'), oneMatch)).toBe(true);
        expect(await isAwaited(ping('ready'), oneMatch)).toBe(false);
      });

      it('is said of a new room, with its first ping that says it is ready', async () => {
        await under.addWaiting(scheduler, 'waiting-1');
        expect(await isAwaited(ping('ready'), oneMatch)).toBe(true);
      });

      it('is said of each match that ends in a room for several', async () => {
        await under.addWaiting(scheduler, 'waiting-1');
        const said: boolean[] = [];
        for (const running of [3, 3, 2, 2, 1, 2, 0]) said.push(await isAwaited(ping('ready', running), threeMatches));
        expect(said).toEqual([false, false, true, false, true, false, true]);
      });

      it('counts what is given and not reported yet', async () => {
        await under.addWaiting(scheduler, 'waiting-1');
        await store.applyPing(ping('ready', 2), threeMatches);
        await under.openAllocation(scheduler, 'arena-1', { id: 'a', maxMatches: 3 });
        // The match that was to come is there: no slot more than before.
        expect(await isAwaited(ping('ready', 3), threeMatches)).toBe(false);
        await under.openAllocation(scheduler, 'arena-1', { id: 'b', maxMatches: 3 });
        expect(await isAwaited(ping('ready', 2), threeMatches)).toBe(false);
        expect(await isAwaited(ping('ready', 1), threeMatches)).toBe(true);
      });

      it.each([
        ['for one match', oneMatch, 1],
        ['for several', threeMatches, 3],
      ])('is said when the ping of a room %s finds the time of an allocation over', async (_, settings, maxMatches) => {
        await under.addWaiting(scheduler, 'waiting-1');
        await store.applyPing(ping('ready'), settings);
        await under.openAllocation(scheduler, 'arena-1', { id: 'a', maxMatches, agoMs: 2_000, expiresInMs: -1_000 });
        expect(await isAwaited(ping('ready'), settings)).toBe(true);
        expect(await isAwaited(ping('ready'), settings)).toBe(false);
      });

      it('is not said of a draining room, of a validation room, or for callers of another scheduler', async () => {
        await under.addWaiting('other', 'waiting-1');
        expect(await isAwaited(ping('ready'), oneMatch)).toBe(false);
        await under.addWaiting(scheduler, 'waiting-1');
        await store.applyPing(ping('occupied'), oneMatch);
        await store.drainRooms(scheduler, ['arena-1'], 'operator');
        expect(await isAwaited(ping('ready'), oneMatch)).toBe(false);
        await create('arena-2', true);
        await store.applyInstance(instance({ id: 'arena-2', validation: true }), oneMatch, watched);
        expect(await isAwaited(ping('ready', 0, null, 'arena-2'), oneMatch)).toBe(false);
      });
    });

    describe('what a ping says of the use of its room', () => {
      const said = async (what: Ping, settings: StatusSettings) => {
        const outcome = await store.applyPing(what, settings);
        if (outcome.outcome !== 'applied') return outcome.outcome;
        const { isUsedOtherwise, hasLostMatch } = outcome;
        return `${isUsedOtherwise ? 'other' : 'same'}${hasLostMatch ? ', match lost' : ''}`;
      };
      beforeEach(async () => {
        await create();
        await store.applyInstance(instance(), oneMatch, watched);
      });

      it('tells each match that begins or ends in a room for several, also while its status stays', async () => {
        const tenMatches: StatusSettings = { maxMatches: 10 };
        const told: string[] = [];
        for (const running of [0, 1, 9, 9, 10, 9, 1, 0, 0]) told.push(await said(ping('ready', running), tenMatches));
        expect(told).toEqual([
          'same',
          'other',
          'other',
          'same',
          'other',
          'other',
          'other',
          'other, match lost',
          'same',
        ]);
      });

      it('takes a room for one match as used or not, however many it counts', async () => {
        const told: string[] = [];
        for (const what of [ping('ready', 3), ping('occupied', 1), ping('occupied', 4), ping('ready'), ping('ready')])
          told.push(await said(what, oneMatch));
        expect(told).toEqual(['other', 'same', 'same', 'other, match lost', 'same']);
      });

      it('tells of a match that ends in a room whose instance is not ready', async () => {
        await store.applyPing(ping('occupied', 1), oneMatch);
        await store.drainRooms(scheduler, ['arena-1'], 'rollout');
        await store.applyInstance(instance({ status: 'pending', generation: 2 }), oneMatch, watched);
        expect(await statusOf()).toBe('unready');
        expect(await said(ping('occupied', 1), oneMatch)).toBe('same');
        expect(await said(ping('ready', 0), oneMatch)).toBe('other, match lost');
        expect(await statusOf()).toBe('unready');
      });

      it('counts a slot that is given out: the match that was to come changes nothing', async () => {
        await store.applyPing(ping('ready'), threeMatches);
        await under.openAllocation(scheduler, 'arena-1', { maxMatches: 3 });
        expect(await said(ping('ready', 0), threeMatches)).toBe('same');
        expect(await said(ping('ready', 1), threeMatches)).toBe('same');
        await under.openAllocation(scheduler, 'arena-1', { id: 'b', maxMatches: 3, agoMs: 2_000, expiresInMs: -1_000 });
        expect(await said(ping('ready', 1), threeMatches)).toBe('other');
      });

      it('tells of an allocation whose time is over', async () => {
        await store.applyPing(ping('ready'), oneMatch);
        await under.openAllocation(scheduler, 'arena-1', { agoMs: 2_000, expiresInMs: -1_000 });
        expect(await said(ping('ready'), oneMatch)).toBe('other, match lost');
        expect(await said(ping('ready'), oneMatch)).toBe('same');
      });
    });

    describe('transitions', () => {
      const told = async (id = 'arena-1') =>
        (await store.getTransitions(scheduler, id)).map(({ from, to, cause, detail }) => [from, to, cause, detail]);

      it('tell each change with its cause, newest first', async () => {
        const before = (await store.readFleet(scheduler)).nowMs;
        await create();
        await store.applyInstance(instance({ status: 'pending', description: '' }), oneMatch, watched);
        await store.applyInstance(instance(), oneMatch, watched);
        await store.applyPing(ping('ready'), oneMatch);
        await store.applyPing(ping('ready'), oneMatch);
        await store.applyPing(ping('occupied'), oneMatch);
        const failed = instance({ status: 'error', generation: 2, description: 'OOMKilled: "7"\nof 8' });
        await store.applyInstance(failed, oneMatch, watched);
        await store.terminateRooms(scheduler, ['arena-1'], regardless);
        await store.applyInstance(instance({ generation: 3 }), oneMatch, watched);
        await store.applyPing(ping('ready'), oneMatch);
        await store.applyPing(ping('terminated'), oneMatch);
        expect(await told()).toEqual([
          ['terminating', 'terminated', 'ping', 'terminated'],
          ['error', 'terminating', 'removal', 'expired_room'],
          ['occupied', 'error', 'instance', 'error: OOMKilled: "7"\nof 8'],
          ['ready', 'occupied', 'ping', 'occupied'],
          ['unready', 'ready', 'ping', 'ready'],
          ['pending', 'unready', 'instance', 'ready'],
          [null, 'pending', 'created', 'v1.0.0'],
        ]);
        const { nowMs } = await store.readFleet(scheduler);
        const times = (await store.getTransitions(scheduler, 'arena-1')).map(({ atMs }) => atMs);
        expect(times).toEqual([...times].sort().reverse());
        expect(times.at(-1)).toBeGreaterThanOrEqual(before);
        expect(times[0]).toBeLessThanOrEqual(nowMs);
      });

      it('tell of a room that was found running', async () => {
        await store.applyInstance(instance({ description: 'Running' }), oneMatch, listed);
        expect(await told()).toEqual([[null, 'unready', 'adopted', 'ready: Running']]);
      });

      it('are the last ten', async () => {
        await create();
        await store.applyInstance(instance(), oneMatch, watched);
        const words = ['ready', 'occupied'] as const;
        for (let turn = 0; turn < 13; turn++) {
          await store.applyPing(ping(words[turn % 2]!), oneMatch);
          expect(await told()).toHaveLength(Math.min(10, turn + 3));
        }
        const changes = await told();
        expect(changes[0]).toEqual(['occupied', 'ready', 'ping', 'ready']);
        expect(changes[9]).toEqual(['ready', 'occupied', 'ping', 'occupied']);
      });

      it('are kept of each room apart, and of validation rooms too, and go with the room', async () => {
        await create('arena-1');
        await create('arena-2', true);
        await store.applyInstance(instance({ id: 'arena-2', validation: true }), oneMatch, watched);
        expect(await told('arena-1')).toHaveLength(1);
        expect(await told('arena-2')).toHaveLength(2);
        await store.endRoom(scheduler, 'arena-2');
        expect(await told('arena-2')).toEqual([]);
        expect(await told('nobody')).toEqual([]);
      });
    });

    describe('drainRooms', () => {
      it('marks rooms once, and leaves them what they are', async () => {
        await roomThatSaid('occupied', 1);
        const before = await store.getRoom(scheduler, 'arena-1');
        await expect(store.drainRooms(scheduler, ['arena-1'], 'operator')).resolves.toEqual(
          new Map([['arena-1', 'draining']]),
        );
        const room = await store.getRoom(scheduler, 'arena-1');
        expect(room).toEqual({ ...before, drainingSinceMs: expect.any(Number), drainReason: 'operator' });
        await sleep(5);
        await expect(store.drainRooms(scheduler, ['arena-1'], 'operator')).resolves.toEqual(
          new Map([['arena-1', 'draining']]),
        );
        expect(await store.getRoom(scheduler, 'arena-1')).toEqual(room);
        const still = applied('occupied', 'ready', { draining: true });
        await expect(store.applyPing(ping('ready'), oneMatch)).resolves.toEqual(still);
        expect(await store.recountFleet(scheduler)).toEqual({ repaired: 0 });
      });

      it('says of each of many rooms what it is', async () => {
        for (const id of ['arena-1', 'arena-2', 'arena-3']) await create(id);
        await store.terminateRooms(scheduler, ['arena-2'], spare);
        await store.applyPing(ping('terminated', 0, null, 'arena-3'), oneMatch);
        const strangers = Array.from({ length: 1_001 }, (_, number) => `nobody-${number}`);
        const outcomes = await store.drainRooms(scheduler, [...strangers, 'arena-1', 'arena-2', 'arena-3'], 'operator');
        expect(outcomes.size).toBe(1_004);
        expect(outcomes.get('arena-1')).toBe('draining');
        expect(outcomes.get('arena-2')).toBe('terminating');
        expect(outcomes.get('arena-3')).toBe('terminating');
        expect(outcomes.get('nobody-1000')).toBe('unknown_room');
        expect((await store.getRoom(scheduler, 'arena-2'))!.drainingSinceMs).toBeNull();
        expect([...(await store.drainRooms(scheduler, [], 'operator'))]).toEqual([]);
      });

      it('keeps what was given of the room', async () => {
        await roomThatSaid('ready');
        await under.openAllocation(scheduler, 'arena-1');
        await store.drainRooms(scheduler, ['arena-1'], 'operator');
        expect(await store.getRoom(scheduler, 'arena-1')).toMatchObject({ status: 'allocated', allocations: [{}] });
      });
    });

    describe('drainRooms to scale down', () => {
      it('claims what is empty, and leaves what has a match, or is given out', async () => {
        await roomThatSaid('ready');
        for (const id of ['arena-2', 'arena-3']) await create(id);
        await store.applyPing(ping('occupied', 1, null, 'arena-2'), oneMatch);
        await store.applyInstance(instance({ id: 'arena-3' }), oneMatch, watched);
        await store.applyPing(ping('ready', 0, null, 'arena-3'), oneMatch);
        await under.openAllocation(scheduler, 'arena-3');
        const outcomes = await store.drainRooms(scheduler, ['arena-1', 'arena-2', 'arena-3', 'nobody'], 'scale_down');
        expect([...outcomes]).toEqual([
          ['arena-1', 'draining'],
          ['arena-2', 'has_match'],
          ['arena-3', 'has_match'],
          ['nobody', 'unknown_room'],
        ]);
        expect(await store.getRoom(scheduler, 'arena-1')).toMatchObject({ drainReason: 'scale_down' });
        expect(await store.getRoom(scheduler, 'arena-2')).toMatchObject({ drainingSinceMs: null, drainReason: null });
      });

      it('keeps the mark when a match begins all the same', async () => {
        await roomThatSaid('ready');
        await store.drainRooms(scheduler, ['arena-1'], 'scale_down');
        await store.applyPing(ping('occupied', 1), oneMatch);
        const again = await store.drainRooms(scheduler, ['arena-1'], 'scale_down');
        expect([...again]).toEqual([['arena-1', 'draining']]);
        expect(await store.getRoom(scheduler, 'arena-1')).toMatchObject({
          status: 'occupied',
          drainReason: 'scale_down',
        });
      });
    });

    describe('releaseRooms', () => {
      it('takes back the mark of that reason only, and the room may be given out again', async () => {
        await roomThatSaid('ready');
        await create('arena-2');
        const before = await store.getRoom(scheduler, 'arena-1');
        await store.drainRooms(scheduler, ['arena-1'], 'rollout');
        await store.drainRooms(scheduler, ['arena-2'], 'operator');
        const ids = ['arena-1', 'arena-2', 'nobody'];
        await expect(store.releaseRooms(scheduler, ids, 'scale_down')).resolves.toEqual([]);
        await expect(store.releaseRooms(scheduler, ids, 'rollout')).resolves.toEqual(['arena-1']);
        expect(await store.getRoom(scheduler, 'arena-1')).toEqual(before);
        await under.openAllocation(scheduler, 'arena-1');
        expect(await store.getRoom(scheduler, 'arena-1')).toMatchObject({ status: 'allocated' });
        expect(await store.recountFleet(scheduler)).toEqual({ repaired: 0 });
      });

      it('does not take back what an operator wanted meanwhile, nor touches a room that goes', async () => {
        for (const id of ['arena-1', 'arena-2']) await create(id);
        await store.drainRooms(scheduler, ['arena-1', 'arena-2'], 'rollout');
        await store.drainRooms(scheduler, ['arena-1'], 'operator');
        await store.drainRooms(scheduler, ['arena-1'], 'rollout');
        await store.terminateRooms(scheduler, ['arena-2'], spare);
        await expect(store.releaseRooms(scheduler, ['arena-1', 'arena-2'], 'rollout')).resolves.toEqual([]);
        expect(await store.getRoom(scheduler, 'arena-1')).toMatchObject({ drainReason: 'operator' });
      });
    });

    describe('notices', () => {
      const streamed = (room: string, listener: string | null) =>
        store.applyPing({ ...ping('ready', 0, null, room), listener }, oneMatch);

      it('tell the process with the stream of a room that it drains and that it is removed', async () => {
        const [here, there] = [await under.hearNotices('here'), await under.hearNotices('there')];
        for (const id of ['arena-1', 'arena-2', 'arena-3']) await create(id);
        await streamed('arena-1', 'here');
        await streamed('arena-2', 'there');
        await store.drainRooms(scheduler, ['arena-1', 'arena-2', 'arena-3', 'nobody'], 'operator');
        await store.drainRooms(scheduler, ['arena-1'], 'operator');
        await store.terminateRooms(scheduler, ['arena-1', 'arena-3'], spare);
        await store.terminateRooms(scheduler, ['arena-1'], spare);
        await eventually(() => {
          expect(here).toEqual([
            { kind: 'room_draining', scheduler, room: 'arena-1' },
            { kind: 'room_terminating', scheduler, room: 'arena-1', reason: 'scale_down' },
          ]);
          expect(there).toEqual([{ kind: 'room_draining', scheduler, room: 'arena-2' }]);
        });
      });

      it('go to who told of the room last, and to nobody when that was no stream', async () => {
        const [first, second, last] = await Promise.all(
          ['first', 'second', 'last'].map((each) => under.hearNotices(each)),
        );
        for (const id of ['arena-1', 'arena-2', 'arena-3']) await create(id);
        await streamed('arena-1', 'first');
        await streamed('arena-1', 'second');
        await streamed('arena-2', 'first');
        await streamed('arena-2', null);
        await streamed('arena-3', 'last');
        await store.drainRooms(scheduler, ['arena-1', 'arena-2', 'arena-3'], 'operator');
        await eventually(() => expect(last).toHaveLength(1));
        expect(second).toEqual([{ kind: 'room_draining', scheduler, room: 'arena-1' }]);
        expect(first).toEqual([]);
      });

      it('tell of a drain that is taken back, each time, and only where it is', async () => {
        const heard = await under.hearNotices('released');
        await create();
        await streamed('arena-1', 'released');
        for (let time = 0; time < 2; time++) {
          await store.drainRooms(scheduler, ['arena-1'], 'scale_down');
          for (const reason of ['rollout', 'scale_down', 'scale_down'] as const) {
            await store.releaseRooms(scheduler, ['arena-1', 'nobody'], reason);
          }
        }
        await store.drainRooms(scheduler, ['arena-1'], 'operator');
        await store.releaseRooms(scheduler, ['arena-1'], 'scale_down');
        await store.terminateRooms(scheduler, ['arena-1'], spare);
        await store.releaseRooms(scheduler, ['arena-1'], 'operator');
        const [drained, back] = [
          { kind: 'room_draining', scheduler, room: 'arena-1' },
          { kind: 'room_drain_canceled', scheduler, room: 'arena-1' },
        ];
        const gone = { kind: 'room_terminating', scheduler, room: 'arena-1', reason: 'scale_down' };
        await eventually(() => expect(heard).toEqual([drained, back, drained, back, drained, gone]));
      });

      it('are none of a room that is spared', async () => {
        const heard = await under.hearNotices('spared');
        await roomThatSaid('occupied', 1);
        await store.applyPing({ ...ping('occupied', 1), listener: 'spared' }, oneMatch);
        await store.terminateRooms(scheduler, ['arena-1'], spare);
        await store.drainRooms(scheduler, ['arena-1'], 'operator');
        await eventually(() => expect(heard).toHaveLength(1));
        expect(heard).toMatchObject([{ kind: 'room_draining' }]);
      });
    });

    describe('events', () => {
      const told = async () => {
        const events = await under.readEvents(scheduler);
        return events.map(({ room, from, to, cause }) => {
          const word = (index: unknown) => roomStatuses[index as number] ?? null;
          return [room, word(from), word(to), cause];
        });
      };

      it('tell each change of a status, and nothing else', async () => {
        await roomThatSaid('ready');
        await store.applyPing(ping('ready', 0, '{"a":1}'), oneMatch);
        await store.applyPing(ping('occupied', 2), oneMatch);
        await store.applyPing(ping('occupied', 3), oneMatch);
        await store.terminateRooms(scheduler, ['arena-1'], regardless);
        await store.drainRooms(scheduler, ['arena-1'], 'operator');
        await store.endRoom(scheduler, 'arena-1', 'deleted');
        await store.endRoom(scheduler, 'arena-1');
        expect(await told()).toEqual([
          ['arena-1', null, 'pending', 'created'],
          ['arena-1', 'pending', 'unready', 'instance'],
          ['arena-1', 'unready', 'ready', 'ping'],
          ['arena-1', 'ready', 'occupied', 'ping'],
          ['arena-1', 'occupied', 'terminating', 'removal'],
          ['arena-1', 'terminating', 'terminated', 'instance'],
        ]);
        const events = await under.readEvents(scheduler);
        expect(events.at(3)).toEqual({
          scheduler,
          room: 'arena-1',
          from: roomStatuses.indexOf('ready'),
          to: roomStatuses.indexOf('occupied'),
          cause: 'ping',
          detail: 'occupied',
          runningMatches: 2,
          address: JSON.stringify(instance().address),
        });
        expect(events.at(-1)).toMatchObject({ id: 'arena/arena-1/terminated', detail: 'deleted' });
        expect(events.filter(({ id }) => id !== undefined)).toHaveLength(1);
      });

      it('tell the end of a room once, when it says so itself before it is gone', async () => {
        await roomThatSaid('terminated');
        await store.applyPing(ping('terminated'), oneMatch);
        await store.endRoom(scheduler, 'arena-1');
        const ends = (await under.readEvents(scheduler)).filter(({ id }) => id === 'arena/arena-1/terminated');
        expect(ends).toMatchObject([{ cause: 'ping' }]);
      });

      it('tell nothing of validation rooms', async () => {
        await create('arena-1', true);
        await store.applyInstance(instance({ validation: true }), oneMatch, watched);
        await store.applyPing(ping('ready'), oneMatch);
        await store.endRoom(scheduler, 'arena-1');
        expect(await told()).toEqual([]);
      });
    });

    describe('resyncs', () => {
      const due = () => under.readResyncs(scheduler);
      const announced = (room = 'arena-1') => ({ ...ping('ready', 0, null, room), resync: true });

      it('are marked by a good ping that asks for it, since the first', async () => {
        const before = (await store.readFleet(scheduler)).nowMs;
        await create('arena-1');
        await create('arena-2');
        await store.applyPing(ping('ready', 0, null, 'arena-2'), oneMatch);
        await store.applyPing(announced('nobody'), oneMatch);
        expect([...(await due())]).toEqual([]);
        await store.applyPing(announced(), oneMatch);
        const first = await due();
        expect([...first.keys()]).toEqual(['arena/arena-1']);
        expect(first.get('arena/arena-1')).toBeGreaterThanOrEqual(before);
        await sleep(5);
        await store.applyPing(announced(), oneMatch);
        expect(await due()).toEqual(first);
      });

      it('are none of a validation room, of a refused ping, and of a room that has ended', async () => {
        await create('arena-1');
        await create('arena-2', true);
        await store.applyPing(announced('arena-2'), oneMatch);
        expect([...(await due())]).toEqual([]);
        await store.applyPing(announced('arena-1'), oneMatch);
        await store.endRoom(scheduler, 'arena-1');
        expect([...(await due())]).toEqual([]);
        await create('arena-3');
        await store.applyPing(ping('terminated', 0, null, 'arena-3'), oneMatch);
        await store.applyPing(announced('arena-3'), oneMatch);
        expect([...(await due())]).toEqual([]);
      });
    });

    describe('hosts', () => {
      const onHost = (id: string, host: string, changes: Partial<Instance> = {}) =>
        instance({ id, address: { host, ports: [] }, ...changes });

      it('count the rooms with a match or an allocation, and are forgotten with the last', async () => {
        for (const id of ['arena-1', 'arena-2', 'arena-3', 'arena-4']) await create(id);
        await store.applyInstance(onHost('arena-1', 'h1'), oneMatch, watched);
        await store.applyInstance(onHost('arena-2', 'h1'), oneMatch, watched);
        await store.applyInstance(onHost('arena-3', 'h2'), oneMatch, watched);
        for (const id of ['arena-1', 'arena-2', 'arena-3']) await store.applyPing(ping('ready', 0, null, id), oneMatch);
        expect(await under.readHosts(scheduler)).toEqual({});
        await store.applyPing(ping('occupied', 1, null, 'arena-1'), oneMatch);
        await store.applyPing(ping('occupied', 1, null, 'arena-2'), oneMatch);
        await under.openAllocation(scheduler, 'arena-3');
        // Without an address there is no host.
        await store.applyPing(ping('ready', 2, null, 'arena-4'), oneMatch);
        expect(await under.readHosts(scheduler)).toEqual({ h1: 2, h2: 1 });
        await store.applyPing(ping('occupied', 1, null, 'arena-3'), oneMatch);
        expect(await under.readHosts(scheduler)).toEqual({ h1: 2, h2: 1 });
        await store.applyPing(ping('ready', 0, null, 'arena-3'), oneMatch);
        await store.endRoom(scheduler, 'arena-2');
        expect(await under.readHosts(scheduler)).toEqual({ h1: 1 });
        expect(await store.recountFleet(scheduler)).toEqual({ repaired: 0 });
        await store.applyInstance(onHost('arena-1', 'h3', { generation: 2 }), oneMatch, watched);
        expect(await under.readHosts(scheduler)).toEqual({ h3: 1 });
      });

      it('count no validation room', async () => {
        await create('arena-1', true);
        await store.applyInstance(onHost('arena-1', 'h1', { validation: true }), oneMatch, watched);
        await store.applyPing(ping('occupied', 1), oneMatch);
        expect(await under.readHosts(scheduler)).toEqual({});
      });

      it('are repaired by a recount', async () => {
        await roomThatSaid('occupied', 1);
        const before = await under.readHosts(scheduler);
        await under.breakCounters(scheduler);
        expect(await under.readHosts(scheduler)).not.toEqual(before);
        await store.recountFleet(scheduler);
        expect(await under.readHosts(scheduler)).toEqual(before);
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
          restarts: null,
        });
        const address = { host: 'node-1.example', ports: [] };
        await store.applyInstance(instance({ generation: 2, address }), oneMatch, watched);
        expect((await store.getRoom(scheduler, 'arena-1'))!.instance).toEqual({
          status: 'ready',
          description: '',
          address,
          restarts: null,
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

      it('keeps the first KiB of what the runtime says, whole characters', async () => {
        await create();
        const description = `CrashLoop: ${'ü'.repeat(100_000)}`;
        await store.applyInstance(instance({ status: 'error', description }), oneMatch, watched);
        const kept = `CrashLoop: ${'ü'.repeat(506)}`;
        expect((await store.getRoom(scheduler, 'arena-1'))!.instance.description).toBe(kept);
        expect((await store.readFleet(scheduler)).earlyEnds.lastReason).toBe(kept);
        const [transition] = await store.getTransitions(scheduler, 'arena-1');
        expect(transition!.detail).toBe(`error: ${kept}`);
        await store.applyInstance(instance({ generation: 2, description: 'x'.repeat(1_024) }), oneMatch, watched);
        expect((await store.getRoom(scheduler, 'arena-1'))!.instance.description).toBe('x'.repeat(1_024));
      });

      it('keeps which containers were started again, and says when that is news', async () => {
        const restarts = (count: number) => ({
          count,
          lastEnd: { container: 'game', exitCode: 137, reason: 'OOMKilled', atMs: 1_700_000_000_456 },
        });
        const hear = (generation: number, count: number) =>
          store.applyInstance(
            instance({ generation, ...(count === 0 ? {} : { restarts: restarts(count) }) }),
            oneMatch,
            watched,
          );
        const kept = async () => (await store.getRoom(scheduler, 'arena-1'))!.instance.restarts;
        await create();
        await expect(hear(1, 0)).resolves.not.toHaveProperty('hasRestarted');
        expect(await kept()).toBeNull();
        await expect(hear(2, 1)).resolves.toMatchObject({ outcome: 'applied', hasRestarted: true });
        expect(await kept()).toEqual(restarts(1));
        await expect(hear(3, 1)).resolves.not.toHaveProperty('hasRestarted');
        await expect(hear(4, 2)).resolves.toMatchObject({ hasRestarted: true });
        expect((await store.readFleet(scheduler)).rooms[0]!.instance.restarts).toEqual(restarts(2));
      });

      it('says that a container was started again only where there was one start more', async () => {
        const lastEnd = { container: 'game', exitCode: 137, reason: 'OOMKilled', atMs: 1_700_000_000_456 };
        let generation = 0;
        const hear = (count: number, end: typeof lastEnd | null) =>
          store.applyInstance(
            instance({ generation: ++generation, restarts: { count, lastEnd: end } }),
            oneMatch,
            watched,
          );
        await create();
        // Before its instance was heard of for the first time.
        await expect(hear(1, null)).resolves.toMatchObject({ hasRestarted: true });
        await expect(hear(1, lastEnd)).resolves.not.toHaveProperty('hasRestarted');
        await expect(hear(1, { ...lastEnd, exitCode: 1 })).resolves.not.toHaveProperty('hasRestarted');
        await expect(hear(0, null)).resolves.not.toHaveProperty('hasRestarted');
        await expect(hear(1, null)).resolves.toMatchObject({ hasRestarted: true });
      });

      it('remembers of an instance that nobody here asked to end what is said of that, whatever it says later', async () => {
        const ending = { status: 'terminating', description: 'later' } as const;
        const said = async () => (await store.getRoom(scheduler, 'arena-1'))!.instance.description;
        await create();
        await store.applyInstance(instance({ generation: 1 }), oneMatch, { ...watched, unasked: '' });
        await store.applyInstance(instance({ ...ending, generation: 2 }), oneMatch, { ...watched, unasked: 'evicted' });
        expect(await said()).toBe('evicted');
        const [transition] = await store.getTransitions(scheduler, 'arena-1');
        expect(transition).toMatchObject({ to: 'terminating', cause: 'instance', detail: 'terminating: evicted' });
        await store.applyInstance(instance({ ...ending, generation: 3 }), oneMatch, { ...watched, unasked: 'deleted' });
        expect(await said()).toBe('evicted');
        expect(await store.endRoom(scheduler, 'arena-1', 'gone', 'deleted')).toEqual({
          existed: true,
          validation: false,
          reason: 'evicted',
          isUnasked: true,
        });
      });

      it.each<[string, () => Promise<unknown>]>([
        ['was asked to end', () => store.terminateRooms(scheduler, ['arena-1'], regardless)],
        ['said that it is over', () => store.applyPing(ping('terminated'), oneMatch)],
      ])('blames nobody for the end of a room that %s', async (_case, leave) => {
        await create();
        await store.applyInstance(instance({ generation: 1 }), oneMatch, watched);
        await leave();
        const ending = instance({ status: 'terminating', description: 'going', generation: 2 });
        await store.applyInstance(ending, oneMatch, { ...watched, unasked: 'deleted' });
        expect((await store.getRoom(scheduler, 'arena-1'))!.instance.description).toBe('going');
        expect(await store.endRoom(scheduler, 'arena-1', 'gone', 'deleted')).toMatchObject({
          reason: 'gone',
          isUnasked: false,
        });
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
    });

    describe('endRoom', () => {
      it('says of a room that is gone all at once that nobody here asked for it', async () => {
        await create();
        await store.applyInstance(instance(), oneMatch, watched);
        expect(await store.endRoom(scheduler, 'arena-1', '', 'deleted')).toEqual({
          existed: true,
          validation: false,
          reason: 'deleted',
          isUnasked: true,
        });
        expect(await store.endRoom(scheduler, 'arena-1', '', 'deleted')).toMatchObject({
          existed: false,
          isUnasked: false,
        });
      });

      it('removes everything of the room', async () => {
        await roomThatSaid('occupied', 1);
        await store.applyPing(ping('occupied', 1, '{"a":1}'), oneMatch);
        await expect(store.endRoom(scheduler, 'arena-1')).resolves.toMatchObject({ existed: true, validation: false });
        expect(await store.getRoom(scheduler, 'arena-1')).toBeNull();
        expect(await store.getMetadata(scheduler, 'arena-1')).toBeNull();
        expect((await store.readFleet(scheduler)).rooms).toEqual([]);
        expect(await store.countFleet(scheduler)).toEqual(counts({}));
        expect(await store.listSchedulers()).toEqual([]);
      });

      it('says nothing existed the second time', async () => {
        await create();
        await store.endRoom(scheduler, 'arena-1');
        await expect(store.endRoom(scheduler, 'arena-1')).resolves.toMatchObject({ existed: false, validation: false });
      });

      it('says that it was a validation room', async () => {
        await create('arena-1', true);
        await expect(store.endRoom(scheduler, 'arena-1')).resolves.toMatchObject({ existed: true, validation: true });
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

      it('leaves nothing of a room that may come back: seen again, it is found like any other', async () => {
        await create();
        await store.endRoom(scheduler, 'arena-1', 'disowned', '', { mayComeBack: true });
        expect(await store.listSchedulers()).toEqual([]);
        await expect(store.applyInstance(instance(), oneMatch, listed)).resolves.toMatchObject({ outcome: 'adopted' });
        await store.endRoom(scheduler, 'arena-1');
        await store.endRoom(scheduler, 'arena-1', 'disowned', '', { mayComeBack: true });
        await expect(store.applyInstance(instance(), oneMatch, listed)).resolves.toEqual({ outcome: 'ended' });
      });

      it('forgets the end after 24 hours', async () => {
        await store.endRoom(scheduler, 'arena-1');
        await under.ageTombstone(scheduler, 'arena-1', dayMs - 10_000);
        await expect(create()).resolves.toBe('exists');
        await under.ageTombstone(scheduler, 'arena-1', 10_000);
        await expect(create()).resolves.toBe('created');
      });
    });

    describe('noteEndAsked', () => {
      const read = async () => (await store.getRoom(scheduler, 'arena-1'))!;

      it('notes how often rooms were asked to end, and when last, and changes nothing else', async () => {
        await create();
        await create('arena-2');
        await store.applyInstance(instance(), oneMatch, watched);
        await store.terminateRooms(scheduler, ['arena-1', 'arena-2'], regardless);
        const before = await read();
        await store.noteEndAsked(scheduler, ['arena-1', 'nobody', 'arena-2']);
        const first = await read();
        expect(first).toEqual({ ...before, endAsked: { times: 1, lastAtMs: expect.any(Number) } });
        await store.noteEndAsked(scheduler, ['arena-1']);
        const second = await read();
        expect(second.endAsked!.times).toBe(2);
        expect(second.endAsked!.lastAtMs).toBeGreaterThanOrEqual(first.endAsked!.lastAtMs);
        expect((await store.getRoom(scheduler, 'arena-2'))!.endAsked).toMatchObject({ times: 1 });
        expect(await store.getRoom(scheduler, 'nobody')).toBeNull();
        expect((await store.recountFleet(scheduler)).repaired).toBe(0);
      });

      it('notes it of a room that said that it is over', async () => {
        await roomThatSaid('terminated');
        await store.noteEndAsked(scheduler, ['arena-1']);
        expect((await read()).endAsked).toMatchObject({ times: 1 });
      });

      it('notes nothing of a room that stays, and nothing of none', async () => {
        await roomThatSaid('ready');
        await store.noteEndAsked(scheduler, ['arena-1']);
        await store.noteEndAsked(scheduler, []);
        expect((await read()).endAsked).toBeNull();
      });
    });

    describe('noteStartPutOff', () => {
      const read = async () => (await store.getRoom(scheduler, 'arena-1'))!;

      it('notes when a start was put off last, and why, until the instance is heard of', async () => {
        await create();
        const before = await read();
        await store.noteStartPutOff(scheduler, ['nobody', 'arena-1'], 'the cluster is away');
        const first = await read();
        expect(first).toEqual({
          ...before,
          startPutOff: { lastAtMs: expect.any(Number), reason: 'the cluster is away' },
        });
        await store.noteStartPutOff(scheduler, ['arena-1'], 'pods is forbidden');
        const second = (await read()).startPutOff!;
        expect(second.reason).toBe('pods is forbidden');
        expect(second.lastAtMs).toBeGreaterThanOrEqual(first.startPutOff!.lastAtMs);
        expect(await store.getRoom(scheduler, 'nobody')).toBeNull();
        expect((await store.recountFleet(scheduler)).repaired).toBe(0);
        await store.applyInstance(instance(), oneMatch, watched);
        expect((await read()).startPutOff).toBeNull();
      });

      it('notes nothing of a room whose instance was heard of, or that is to go', async () => {
        await create('arena-2');
        await roomThatSaid('ready');
        await store.terminateRooms(scheduler, ['arena-2'], regardless);
        await store.noteStartPutOff(scheduler, ['arena-1', 'arena-2'], 'the cluster is away');
        for (const id of ['arena-1', 'arena-2']) expect((await store.getRoom(scheduler, id))!.startPutOff).toBeNull();
      });
    });

    describe('terminateRooms', () => {
      it('is no question to the instance, however often it is called, and makes no room younger', async () => {
        await create();
        await store.applyInstance(instance(), oneMatch, watched);
        await store.terminateRooms(scheduler, ['arena-1'], regardless);
        const first = (await store.getRoom(scheduler, 'arena-1'))!;
        await store.terminateRooms(scheduler, ['arena-1'], regardless);
        expect(await store.getRoom(scheduler, 'arena-1')).toEqual(first);
        expect(first).toMatchObject({ status: 'terminating', endAsked: null });
      });

      it('marks rooms and says so for those that are marked already', async () => {
        await create('arena-1');
        await create('arena-2');
        const first = await store.terminateRooms(scheduler, ['arena-1'], spare);
        expect([...first]).toEqual([['arena-1', 'terminating']]);
        const { statusSinceMs } = (await store.getRoom(scheduler, 'arena-1'))!;
        await sleep(5);
        const again = await store.terminateRooms(scheduler, ['arena-2', 'arena-1', 'nobody'], spare);
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
        const outcomes = await store.terminateRooms(scheduler, ['arena-1'], spare);
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
        const outcomes = await store.terminateRooms(scheduler, ['arena-1'], spare);
        expect([...outcomes]).toEqual([['arena-1', 'terminating']]);
        expect(await statusOf()).toBe('terminating');
      });

      it('spares an allocated room', async () => {
        await roomThatSaid('ready');
        await under.openAllocation(scheduler, 'arena-1');
        const outcomes = await store.terminateRooms(scheduler, ['arena-1'], spare);
        expect([...outcomes]).toEqual([['arena-1', 'has_match']]);
      });

      it('spares a room for several matches with an open allocation', async () => {
        await roomThatSaid('ready', 0, threeMatches);
        await under.openAllocation(scheduler, 'arena-1', { maxMatches: 3 });
        const outcomes = await store.terminateRooms(scheduler, ['arena-1'], spare);
        expect([...outcomes]).toEqual([['arena-1', 'has_match']]);
      });

      it('spares no room for an allocation whose time is over', async () => {
        await roomThatSaid('ready');
        await under.openAllocation(scheduler, 'arena-1', { expiresInMs: -1 });
        const outcomes = await store.terminateRooms(scheduler, ['arena-1'], spare);
        expect([...outcomes]).toEqual([['arena-1', 'terminating']]);
        expect(await store.recountFleet(scheduler)).toEqual({ repaired: 0 });
      });

      it('ends an allocation whose time is over, also of a room that it spares', async () => {
        await roomThatSaid('ready', 1, threeMatches);
        await under.openAllocation(scheduler, 'arena-1', { maxMatches: 3, expiresInMs: -1 });
        const outcomes = await store.terminateRooms(scheduler, ['arena-1'], spare);
        expect([...outcomes]).toEqual([['arena-1', 'has_match']]);
        expect((await store.getRoom(scheduler, 'arena-1'))!.allocations).toEqual([]);
        expect(await under.readAllocation(scheduler, 'allocation-1')).toBeNull();
      });

      it.each([
        ['occupied', 'occupied', 1, oneMatch],
        ['active', 'ready', 1, threeMatches],
      ] as const)('does not spare a room that was named, also when it is %s', async (_, word, matches, settings) => {
        await roomThatSaid(word, matches, settings);
        const byName = { reason: 'by_name', byName: true };
        const outcomes = await store.terminateRooms(scheduler, ['arena-1'], byName);
        expect([...outcomes]).toEqual([['arena-1', 'terminating']]);
        const [last] = await store.getTransitions(scheduler, 'arena-1');
        expect(last).toMatchObject({ to: 'terminating', cause: 'removal', detail: 'by_name' });
      });

      it('spares an occupied room that has pinged since', async () => {
        await roomThatSaid('occupied', 1);
        const { lastPingAtMs } = (await store.getRoom(scheduler, 'arena-1'))!;
        const since = (silentSinceMs: number) => ({ reason: 'expired_room', silentSinceMs });
        const terminate = (silentSinceMs: number) => store.terminateRooms(scheduler, ['arena-1'], since(silentSinceMs));
        expect([...(await terminate(lastPingAtMs!))]).toEqual([['arena-1', 'has_match']]);
        expect([...(await terminate(lastPingAtMs! + 1))]).toEqual([['arena-1', 'terminating']]);
      });

      it('spares nothing when it is told so', async () => {
        await roomThatSaid('occupied', 1);
        const outcomes = await store.terminateRooms(scheduler, ['arena-1'], regardless);
        expect([...outcomes]).toEqual([['arena-1', 'terminating']]);
        expect(await statusOf()).toBe('terminating');
      });

      it('says terminating for a terminating room that has a match', async () => {
        await roomThatSaid('occupied', 1);
        await store.terminateRooms(scheduler, ['arena-1'], regardless);
        const outcomes = await store.terminateRooms(scheduler, ['arena-1'], spare);
        expect([...outcomes]).toEqual([['arena-1', 'terminating']]);
      });

      it('leaves a terminated room terminated', async () => {
        await roomThatSaid('terminated');
        await store.terminateRooms(scheduler, ['arena-1'], regardless);
        expect(await statusOf()).toBe('terminated');
      });

      it('takes no ids and many ids', async () => {
        expect([...(await store.terminateRooms(scheduler, [], spare))]).toEqual([]);
        await create('arena-1');
        const ids = [...Array.from({ length: 1_001 }, (_, number) => `nobody-${number}`), 'arena-1'];
        const outcomes = await store.terminateRooms(scheduler, ids, spare);
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
        const none = { count: 0, notCreated: 0, lastAtMs: null, lastReason: '', lostSince: 0 };
        expect(await earlyEnds()).toEqual(none);
        expect(await store.readEarlyEnds(scheduler)).toEqual(none);
      });

      it('are the same without the fleet', async () => {
        await create();
        await store.applyInstance(young(), oneMatch, watched);
        await store.endRoom(scheduler, 'arena-1', 'exited with code 3');
        expect(await store.readEarlyEnds(scheduler)).toEqual(await earlyEnds());
        expect(await store.readEarlyEnds('other')).toMatchObject({ count: 0, lastAtMs: null });
      });

      it('tell apart rooms that never had an instance', async () => {
        await create();
        await store.endRoom(scheduler, 'arena-1', 'no port is left');
        expect(await earlyEnds()).toMatchObject({ count: 1, notCreated: 1, lastReason: 'no port is left' });
        await store.applyInstance(young({ id: 'arena-2' }), oneMatch, watched);
        await store.endRoom(scheduler, 'arena-2', 'exited with code 3');
        expect(await earlyEnds()).toMatchObject({ count: 2, notCreated: 1 });
      });

      describe('and rooms that lost their place since', () => {
        const placed = (id: string, changes: Partial<Instance> = {}) =>
          store.applyInstance(instance({ id, createdAtMs: Date.now() - 600_000, ...changes }), oneMatch, watched);
        const failToStart = async (id: string) => {
          await store.createRoom({ id, scheduler, version: 'v1.0.0', validation: false });
          await store.endRoom(scheduler, id, 'no port is left');
        };
        const lost = async () => (await earlyEnds()).lostSince;

        it('are counted once: when they failed, or when they are gone', async () => {
          for (const id of ['arena-1', 'arena-2', 'arena-3']) await placed(id);
          await failToStart('arena-late');
          expect(await lost()).toBe(0);
          await placed('arena-1', { status: 'error', address: null, generation: 2 });
          expect(await lost()).toBe(1);
          await store.endRoom(scheduler, 'arena-1');
          expect(await lost()).toBe(1);
          await store.endRoom(scheduler, 'arena-2', 'killed');
          await store.terminateRooms(scheduler, ['arena-3'], regardless);
          expect(await lost()).toBe(2);
          await store.endRoom(scheduler, 'arena-3');
          expect(await lost()).toBe(3);
        });

        it('are none while no room ended early: then nothing is held', async () => {
          await placed('arena-1');
          await store.endRoom(scheduler, 'arena-1');
          await failToStart('arena-late');
          expect(await lost()).toBe(0);
        });

        it('are forgotten when another one ends early, which may have been in their stead, but for what is free only later', async () => {
          for (const id of ['arena-1', 'arena-2']) await placed(id);
          await failToStart('arena-late');
          await placed('arena-1', { status: 'error', address: null, generation: 2 });
          await store.endRoom(scheduler, 'arena-2');
          await failToStart('arena-later');
          expect(await lost()).toBe(0);
          await store.endRoom(scheduler, 'arena-1');
          expect(await lost()).toBe(1);
        });

        it('leave out what had no place, what was started since, and validation rooms', async () => {
          await placed('arena-1', { status: 'pending', address: null });
          await placed('arena-2', { validation: true });
          await failToStart('arena-late');
          await placed('arena-3', { createdAtMs: Date.now() + 1_000 });
          // Rooms that are told to end do not end early.
          await store.terminateRooms(scheduler, ['arena-1', 'arena-2', 'arena-3'], regardless);
          for (const id of ['arena-1', 'arena-2', 'arena-3']) await store.endRoom(scheduler, id);
          expect(await earlyEnds()).toMatchObject({ count: 1, lostSince: 0 });
        });
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

      it('count an old room that failed before it ever was up, as one does that waited for a machine', async () => {
        const waiting = instance({ status: 'pending', createdAtMs: Date.now() - 600_000, generation: 1 });
        await store.applyInstance(waiting, oneMatch, watched);
        await store.applyInstance({ ...waiting, status: 'error', generation: 2 }, oneMatch, watched);
        expect((await earlyEnds()).count).toBe(1);
      });

      it('count a room once that its runtime starts again and again', async () => {
        await create();
        for (const [round, description] of ['Error', 'CrashLoopBackOff: 10s', 'CrashLoopBackOff: 20s'].entries()) {
          await store.applyInstance(young({ status: 'error', description, generation: 2 * round }), oneMatch, watched);
          await store.applyInstance(young({ status: 'ready', generation: 2 * round + 1 }), oneMatch, watched);
        }
        await store.endRoom(scheduler, 'arena-1', 'PodFailed');
        expect(await earlyEnds()).toMatchObject({ count: 1, lastReason: 'Error' });
      });

      it.each<[string, () => Promise<unknown>]>([
        ['was asked to end', () => store.terminateRooms(scheduler, ['arena-1'], regardless)],
        ['said that it ends', () => store.applyPing(ping('terminating'), oneMatch)],
        ['said that it has ended', () => store.applyPing(ping('terminated'), oneMatch)],
      ])('leave out a young room that %s', async (_case, leave) => {
        await create();
        await store.applyInstance(young(), oneMatch, watched);
        await leave();
        await store.endRoom(scheduler, 'arena-1');
        expect((await earlyEnds()).count).toBe(0);
      });

      it('count a room once that is removed because it failed, and none that is spared', async () => {
        const failed = { reason: 'host_port_taken', failedBecause: 'no machine has its host ports free' };
        await create();
        await store.applyInstance(young({ status: 'pending' }), oneMatch, watched);
        await store.applyPing(ping('occupied', 1), oneMatch);
        await store.terminateRooms(scheduler, ['arena-1'], failed);
        expect((await earlyEnds()).count).toBe(0);
        await store.applyPing(ping('ready'), oneMatch);
        await store.terminateRooms(scheduler, ['arena-1'], failed);
        await store.terminateRooms(scheduler, ['arena-1'], failed);
        await store.endRoom(scheduler, 'arena-1');
        expect(await earlyEnds()).toMatchObject({ count: 1, lastReason: failed.failedBecause });
      });

      it('count an old room that never was up and is removed for it, and keep why', async () => {
        const late = { reason: 'expired_room', failedBecause: 'it did not ping within 2 min' };
        await create();
        await store.applyInstance(instance({ createdAtMs: 0 }), oneMatch, watched);
        await under.passTime(600_000);
        await store.terminateRooms(scheduler, ['arena-1'], late);
        expect(await earlyEnds()).toMatchObject({ count: 1, lastReason: late.failedBecause });
        expect(await store.endRoom(scheduler, 'arena-1')).toMatchObject({ reason: late.failedBecause });
      });

      it('leave out an old room that was up before, whatever it is removed for', async () => {
        await create();
        await store.applyInstance(instance(), oneMatch, watched);
        await store.applyPing(ping('ready'), oneMatch);
        await store.applyInstance(instance({ status: 'pending', generation: 9 }), oneMatch, watched);
        await under.passTime(600_000);
        await store.terminateRooms(scheduler, ['arena-1'], { reason: 'expired_room', failedBecause: 'late' });
        expect((await earlyEnds()).count).toBe(0);
      });

      it('leave out an old room and a validation room', async () => {
        await store.applyInstance(instance({ createdAtMs: Date.now() - 61_000 }), oneMatch, watched);
        await store.endRoom(scheduler, 'arena-1');
        await store.createRoom({ id: 'arena-2', scheduler, version: 'v1.0.0', validation: true });
        await store.endRoom(scheduler, 'arena-2');
        expect((await earlyEnds()).count).toBe(0);
      });

      it('are told of each version by itself, and within the time that is asked for', async () => {
        await create();
        await store.createRoom({ id: 'arena-2', scheduler, version: 'v2.0.0', validation: false });
        await store.createRoom({ id: 'arena-3', scheduler, version: 'v2.0.0', validation: false });
        for (const id of ['arena-1', 'arena-2', 'arena-3']) await store.endRoom(scheduler, id, `${id} crashed`);
        const { failures, earlyEnds } = await store.readFleet(scheduler);
        expect(earlyEnds).toMatchObject({ count: 3, lastReason: 'arena-3 crashed' });
        expect([...failures].sort()).toEqual([
          ['v1.0.0', { count: 1, lastReason: 'arena-1 crashed' }],
          ['v2.0.0', { count: 2, lastReason: 'arena-3 crashed' }],
        ]);
        await under.passTime(5);
        const late = await store.readFleet(scheduler, { failureWindowMs: 1 });
        expect([...late.failures]).toEqual([]);
        expect(late.earlyEnds.count).toBe(3);
        const later = await store.readFleet(scheduler, { earlyEndWindowMs: 1 });
        expect(later.earlyEnds).toMatchObject({ count: 0, notCreated: 0, lastAtMs: null, lastReason: '' });
        expect([...later.failures.keys()].sort()).toEqual(['v1.0.0', 'v2.0.0']);
      });

      it('are forgotten with their scheduler', async () => {
        await store.applyInstance(instance({ id: 'arena-old', createdAtMs: 1 }), oneMatch, watched);
        await create();
        await store.endRoom(scheduler, 'arena-1');
        await store.endRoom(scheduler, 'arena-old');
        expect(await earlyEnds()).toMatchObject({ count: 1, notCreated: 1, lostSince: 1 });
        await store.deleteScheduler(scheduler);
        expect(await earlyEnds()).toMatchObject({ count: 0, notCreated: 0, lostSince: 0 });
      });
    });

    describe('failures', () => {
      const ofVersions = async () => Object.fromEntries((await store.readFleet(scheduler)).failures);
      /** A room that was up long ago. */
      const old = async (id = 'arena-1', changes: Partial<Instance> = {}) => {
        await store.applyInstance(instance({ id, createdAtMs: Date.now() - 600_000, ...changes }), oneMatch, watched);
        await store.applyPing(ping('ready', 0, null, id), oneMatch);
      };
      const failing = (description: string, changes: Partial<Instance> = {}) =>
        store.applyInstance(
          instance({ status: 'error', description, createdAtMs: Date.now() - 600_000, generation: 2, ...changes }),
          oneMatch,
          watched,
        );

      it('count a room whose instance fails whatever its age, and it is no early end', async () => {
        await old();
        await failing('CrashLoopBackOff: container "room" ended with code 3');
        const count1 = { count: 1, lastReason: 'CrashLoopBackOff: container "room" ended with code 3' };
        expect(await ofVersions()).toEqual({ 'v1.0.0': count1 });
        expect(await store.readEarlyEnds(scheduler)).toMatchObject({ count: 0, lastAtMs: null });
      });

      it('count it once, however often its instance fails, and when it is gone too', async () => {
        await old();
        await failing('Error');
        await store.applyInstance(instance({ generation: 3 }), oneMatch, watched);
        await failing('CrashLoopBackOff', { generation: 4 });
        await store.applyInstance(instance({ generation: 5 }), oneMatch, watched);
        await store.endRoom(scheduler, 'arena-1', 'exited with code 3');
        expect(await ofVersions()).toEqual({ 'v1.0.0': { count: 1, lastReason: 'Error' } });
      });

      it('count an old room that ends without a word', async () => {
        await old();
        await old('arena-2', { version: 'v2.0.0' });
        await store.endRoom(scheduler, 'arena-1', 'exited with code 3');
        expect(await ofVersions()).toEqual({ 'v1.0.0': { count: 1, lastReason: 'exited with code 3' } });
        expect(await store.readEarlyEnds(scheduler)).toMatchObject({ count: 0 });
      });

      it.each<[string, () => Promise<unknown>]>([
        ['was asked to end', () => store.terminateRooms(scheduler, ['arena-1'], regardless)],
        ['said that it ends', () => store.applyPing(ping('terminating'), oneMatch)],
        ['said that it has ended', () => store.applyPing(ping('terminated'), oneMatch)],
      ])('leave out a room that %s, whatever becomes of its instance', async (_case, leave) => {
        await old();
        await leave();
        await failing('exited with code 137');
        await store.endRoom(scheduler, 'arena-1', 'exited with code 137');
        expect(await ofVersions()).toEqual({});
      });

      it.each(['PodFailed: Evicted: The node was low on resource: memory', 'PodFailed: NodeShutdown', 'PodUnknown'])(
        'leave out a room of which is said %j, also a young one, for its version is not to blame',
        async (description) => {
          await old();
          await failing(description);
          await failing(description, { id: 'arena-2', createdAtMs: Date.now(), status: 'ready' });
          await failing(description, { id: 'arena-2', createdAtMs: Date.now() });
          await store.endRoom(scheduler, 'arena-1', description);
          expect(await ofVersions()).toEqual({});
          expect(await store.readEarlyEnds(scheduler)).toMatchObject({ count: 1 });
        },
      );

      it('leave out a room that somebody else ended, or that is lost out of sight', async () => {
        for (const id of ['arena-1', 'arena-2', 'arena-3', 'arena-4']) await old(id);
        const going = instance({ status: 'terminating', description: '', generation: 2 });
        await store.applyInstance(going, oneMatch, { ...watched, unasked: 'evicted: its node is drained' });
        await store.endRoom(scheduler, 'arena-1', '', 'evicted: its node is drained');
        await store.endRoom(scheduler, 'arena-2', '', 'deleted by someone else');
        await store.endRoom(scheduler, 'arena-3', 'disowned: a label was taken off', '', { mayComeBack: true });
        await store.endRoom(scheduler, 'arena-4', 'evicted: its node is gone');
        expect(await ofVersions()).toEqual({});
      });

      it('count what ends early without an instance that failed: what could not be made, or never came up', async () => {
        await create();
        await store.endRoom(scheduler, 'arena-1', 'no port is left');
        await create('arena-2');
        await store.applyInstance(instance({ id: 'arena-2', createdAtMs: 1 }), oneMatch, watched);
        const late = { reason: 'expired_room', failedBecause: 'it did not ping' };
        await store.terminateRooms(scheduler, ['arena-2'], late);
        await store.endRoom(scheduler, 'arena-2');
        // One that was up before is not late.
        await old('arena-3');
        await store.terminateRooms(scheduler, ['arena-3'], late);
        expect(await ofVersions()).toEqual({ 'v1.0.0': { count: 2, lastReason: 'it did not ping' } });
      });

      it('leave out validation rooms', async () => {
        await old('arena-1', { validation: true });
        await failing('Error', { validation: true });
        await create('arena-2', true);
        await store.endRoom(scheduler, 'arena-2', 'exited with code 1');
        expect(await ofVersions()).toEqual({});
      });

      it('are remembered for an hour', async () => {
        await old();
        await old('arena-2');
        await store.endRoom(scheduler, 'arena-1', 'exited with code 3');
        await under.passTime(3_599_000);
        const anHour = { failureWindowMs: 3_600_000 };
        expect((await store.readFleet(scheduler, anHour)).failures.get('v1.0.0')).toMatchObject({ count: 1 });
        await under.passTime(2_000);
        expect([...(await store.readFleet(scheduler, anHour)).failures]).toEqual([]);
      });

      it('are forgotten with their scheduler', async () => {
        await old();
        await store.endRoom(scheduler, 'arena-1', 'exited with code 3');
        await store.deleteScheduler(scheduler);
        expect(await ofVersions()).toEqual({});
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

    describe('readRooms', () => {
      it('answers those that are known, as each by itself', async () => {
        for (const id of ['arena-1', 'arena-2', 'arena-3']) await roomWithId(id);
        const { rooms } = await store.readRooms(scheduler, ['arena-3', 'nobody', 'arena-1']);
        expect([...rooms.keys()].sort()).toEqual(['arena-1', 'arena-3']);
        expect(rooms.get('arena-3')).toEqual(await store.getRoom(scheduler, 'arena-3'));
        expect((await store.readRooms('nobody', ['arena-1'])).rooms.size).toBe(0);
      });

      it('answers the clock, and whether what it does not know means anything', async () => {
        const before = await store.readRooms(scheduler, []);
        expect(before).toMatchObject({ rooms: new Map(), rebuilding: true });
        await store.markSynced();
        const after = await store.readRooms(scheduler, ['arena-1']);
        expect(after.rebuilding).toBe(false);
        expect(after.nowMs).toBeGreaterThanOrEqual(before.nowMs);
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
        expect(await store.recountFleet(scheduler)).toEqual({ repaired: broken });
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
        expect((await store.readHearing()).hearingSinceMs).toBeNull();
        expect((await store.readFleet(scheduler)).hearingSinceMs).toBeNull();
      });

      it('counts from the first mark while marks come in time', async () => {
        await store.markHearing(5_000);
        const first = await store.readFleet(scheduler);
        expect(first.hearingSinceMs).toBeGreaterThan(first.nowMs - 4_000);
        const heard = await store.readHearing();
        expect(heard.hearingSinceMs).toBe(first.hearingSinceMs);
        expect(heard.nowMs).toBeGreaterThanOrEqual(first.nowMs);
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
