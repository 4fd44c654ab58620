import type { Room } from '../../src/domain/room/room';
import type { Notice } from '../../src/ports/notices';
import type {
  Allocation,
  AllocationChange,
  AllocationOrder,
  AllocationOutcome,
  RoomAllocationStore,
} from '../../src/ports/room-allocation-store';
import type { Ping, RoomStore } from '../../src/ports/room-store';
import { eventually } from '../support/eventually';

/** A store, the rooms that it gives out, and the hands that a test needs besides the ports. */
export interface RoomAllocationStoreUnderTest {
  store: RoomAllocationStore;
  rooms: RoomStore;
  /** A flush, or a fail-over to an empty node. */
  loseEverything(): Promise<void>;
  /** As if so much time had gone by since all that is stored. */
  passTime(ms: number): Promise<void>;
  /** Notices that come to this address from now on. */
  hearNotices(address: string): Promise<Notice[]>;
  /** Host -> rooms there that are used. */
  readHosts(scheduler: string): Promise<Record<string, number>>;
  close(): Promise<void>;
}

const scheduler = 'arena';
const ttlMs = 60_000;
const pingTimeoutMs = 10 * 60_000;
const adoptionHoldMs = 30_000;
const waiting = { listener: 'caller', aliveMs: 5 * 60_000 };

function order(id: string, changes: Partial<AllocationOrder> = {}): AllocationOrder {
  return {
    scheduler,
    id,
    idempotencyKey: null,
    fingerprint: 'any room',
    maxMatches: 1,
    activeVersion: 'v1.0.0',
    versions: null,
    metadata: {},
    strategy: 'packed',
    ttlMs,
    pingTimeoutMs,
    adoptionHoldMs,
    ...changes,
  };
}

interface RoomToMake {
  version?: string;
  validation?: boolean;
  host?: string;
  maxMatches?: number;
  says?: Ping['status'];
  runningMatches?: number;
  metadata?: Record<string, unknown>;
  listener?: string;
}

/** Every promise of `src/ports/room-allocation-store.ts`, for any implementation. */
export function describeRoomAllocationStore(name: string, open: () => Promise<RoomAllocationStoreUnderTest>): void {
  describe(`${name} as a room allocation store`, () => {
    let under: RoomAllocationStoreUnderTest;
    let store: RoomAllocationStore;
    let rooms: RoomStore;

    beforeAll(async () => {
      under = await open();
      ({ store, rooms } = under);
    }, 60_000);
    beforeEach(async () => {
      await under.loseEverything();
      await rooms.markSynced();
    });
    afterAll(() => under?.close());

    async function ping(id: string, room: RoomToMake = {}) {
      const { says: status = 'ready', runningMatches = 0, metadata, listener = null, maxMatches = 1 } = room;
      const text = metadata === undefined ? null : JSON.stringify(metadata);
      await rooms.applyPing(
        { scheduler, room: id, status, runningMatches, metadata: text, listener, resync: false },
        { maxMatches },
      );
    }

    async function tellInstance(id: string, room: RoomToMake = {}, status: 'ready' | 'pending' = 'ready') {
      const { version = 'v1.0.0', validation = false, host = 'host-1', maxMatches = 1 } = room;
      const address = { host, ports: [{ name: 'game', protocol: 'UDP', port: 7777 }] };
      await rooms.applyInstance(
        { id, scheduler, version, validation, status, description: '', address, createdAtMs: 1, generation: 1 },
        { maxMatches },
        { adopt: true, authoritative: true },
      );
    }

    /** A room that says ready, unless told otherwise. */
    async function make(id: string, room: RoomToMake = {}) {
      const { version = 'v1.0.0', validation = false } = room;
      await rooms.createRoom({ id, scheduler, version, validation });
      await tellInstance(id, room);
      await ping(id, room);
    }

    /** One after the other, the clock of the store going on in between. */
    async function makeInTurn(made: Record<string, RoomToMake>) {
      let lastMs = 0;
      for (const [id, room] of Object.entries(made)) {
        await eventually(async () => {
          expect((await rooms.readFleet(scheduler)).nowMs).toBeGreaterThan(lastMs);
        });
        await make(id, room);
        lastMs = (await readRoom(id)).statusSinceMs;
      }
    }

    async function readRoom(id: string): Promise<Room> {
      const room = await rooms.getRoom(scheduler, id);
      if (room === null) throw new Error(`there is no room ${id}`);
      return room;
    }

    /** The room that the answer gives, or its word when it gives none. */
    function given(outcome: AllocationOutcome): string {
      return outcome.outcome === 'allocated' ? outcome.allocation.room : outcome.outcome;
    }

    async function give(id: string, changes: Partial<AllocationOrder> = {}): Promise<string> {
      return given(await store.allocate(order(id, changes)));
    }

    async function wait(id: string, changes: Partial<AllocationOrder> = {}): Promise<string> {
      return given(await store.allocate(order(id, changes), waiting));
    }

    async function roomOf(id: string): Promise<string | null> {
      return (await store.getAllocation(scheduler, id))?.room ?? null;
    }

    async function expectCountersToEqualRecount() {
      expect(await rooms.recountFleet(scheduler)).toEqual({ repaired: 0 });
    }

    describe('allocate', () => {
      it('gives a ready room, with all that a caller needs', async () => {
        await make('arena-1', { version: 'v1.2.0' });
        const { nowMs } = await rooms.readFleet(scheduler);
        const answer = await store.allocate(order('a1'));
        expect(answer).toEqual({
          outcome: 'allocated',
          isRepeated: false,
          allocation: {
            id: 'a1',
            scheduler,
            room: 'arena-1',
            version: 'v1.2.0',
            address: { host: 'host-1', ports: [{ name: 'game', protocol: 'UDP', port: 7777 }] },
            state: 'pending',
            allocatedAtMs: expect.any(Number),
            expiresAtMs: expect.any(Number),
          },
        });
        const { allocation } = answer as { allocation: Allocation };
        expect(allocation.allocatedAtMs).toBeGreaterThanOrEqual(nowMs);
        expect(allocation.expiresAtMs).toBe(allocation.allocatedAtMs + ttlMs);
        expect(await store.getAllocation(scheduler, 'a1')).toEqual(allocation);
      });

      it('makes a room for one match allocated, and says why', async () => {
        await make('arena-1');
        await give('a1');
        const room = await readRoom('arena-1');
        expect(room).toMatchObject({ status: 'allocated', pingStatus: 'ready', allocations: [{ id: 'a1' }] });
        expect(room.allocations[0]!.expiresAtMs).toBe(room.allocations[0]!.allocatedAtMs + ttlMs);
        const [transition] = await rooms.getTransitions(scheduler, 'arena-1');
        expect(transition).toMatchObject({ from: 'ready', to: 'allocated', cause: 'allocated', detail: 'a1' });
        expect((await rooms.countFleet(scheduler)).rooms).toMatchObject({ ready: 0, allocated: 1 });
        expect(await under.readHosts(scheduler)).toEqual({ 'host-1': 1 });
        await expectCountersToEqualRecount();
      });

      it('keeps an address without ports as it came', async () => {
        await make('arena-1');
        const address = { host: 'h', ports: [] };
        const news = { id: 'arena-1', scheduler, version: 'v1.0.0', validation: false, status: 'ready' } as const;
        await rooms.applyInstance(
          { ...news, description: '', address, createdAtMs: 1, generation: 2 },
          { maxMatches: 1 },
          { adopt: false, authoritative: true },
        );
        expect(await store.allocate(order('a1'))).toMatchObject({ allocation: { address } });
      });

      it('tells a room with a stream', async () => {
        const heard = await under.hearNotices('stream-1');
        await make('arena-1', { listener: 'stream-1' });
        const answer = await store.allocate(order('a1'));
        const { allocation } = answer as { allocation: Allocation };
        await eventually(() =>
          expect(heard).toEqual([
            {
              kind: 'room_allocated',
              scheduler,
              room: 'arena-1',
              allocation: 'a1',
              expiresAtMs: allocation.expiresAtMs,
            },
          ]),
        );
      });

      it('has no room of a scheduler that nobody knows', async () => {
        expect(await store.allocate(order('a1', { scheduler: 'nobody' }))).toEqual({ outcome: 'no_room' });
        expect(await rooms.listSchedulers()).toEqual([]);
      });

      it('gives the slots of a room for several matches one by one, and leaves it its status', async () => {
        const maxMatches = 3;
        await make('arena-1', { maxMatches, says: 'occupied', runningMatches: 1 });
        expect(await give('a1', { maxMatches })).toBe('arena-1');
        expect(await give('a2', { maxMatches })).toBe('arena-1');
        expect(await give('a3', { maxMatches })).toBe('no_room');
        expect(await readRoom('arena-1')).toMatchObject({
          status: 'active',
          runningMatches: 1,
          allocations: [{ id: 'a1' }, { id: 'a2' }],
        });
        await ping('arena-1', { maxMatches, says: 'occupied', runningMatches: 2 });
        expect(await give('a4', { maxMatches })).toBe('no_room');
        await ping('arena-1', { maxMatches, says: 'occupied', runningMatches: 0 });
        expect(await give('a5', { maxMatches })).toBe('arena-1');
        await expectCountersToEqualRecount();
      });

      it.each<[string, (id: string) => Promise<unknown>]>([
        ['never pinged', (id) => rooms.createRoom({ id, scheduler, version: 'v1.0.0', validation: false })],
        ['is occupied', (id) => make(id, { says: 'occupied' })],
        ['says that it terminates', (id) => make(id, { says: 'terminating' })],
        ['has an instance that is not ready', (id) => make(id).then(() => tellInstance(id, {}, 'pending'))],
        ['is a validation room', (id) => make(id, { validation: true })],
        ['is draining', (id) => make(id).then(() => rooms.drainRooms(scheduler, [id], 'operator'))],
        ['is removed', (id) => make(id).then(() => rooms.terminateRooms(scheduler, [id], { reason: 'scale_down' }))],
        ['is given out already', (id) => make(id).then(() => give('before'))],
        ['has been silent too long', (id) => make(id).then(() => under.passTime(pingTimeoutMs + 1))],
        ['was found without a record just now', (id) => tellInstance(id).then(() => ping(id))],
      ])('gives no room that %s', async (_, prepare) => {
        await prepare('arena-1');
        expect(await give('a1')).toBe('no_room');
      });

      it('gives a room that was found without a record after the hold', async () => {
        await tellInstance('arena-1');
        await ping('arena-1');
        await under.passTime(adoptionHoldMs);
        expect(await give('a1')).toBe('arena-1');
      });

      it('gives no room twice', async () => {
        for (let number = 0; number < 10; number += 1) await make(`arena-${number}`);
        const answers = await Promise.all(Array.from({ length: 30 }, (_, number) => give(`a${number}`)));
        const rooms10 = answers.filter((answer) => answer !== 'no_room');
        expect(rooms10).toHaveLength(10);
        expect(new Set(rooms10).size).toBe(10);
        await expectCountersToEqualRecount();
      });

      it('answers the same to the same id, whatever it asks for the second time', async () => {
        await make('arena-1');
        await make('arena-2');
        const first = await store.allocate(order('a1'));
        const second = await store.allocate(order('a1', { versions: ['v9.0.0'] }), waiting);
        expect(second).toEqual({ ...first, isRepeated: true });
        await store.confirm(scheduler, 'a1');
        expect(await store.allocate(order('a1'))).toMatchObject({
          isRepeated: true,
          allocation: { state: 'confirmed' },
        });
      });

      it('serves no id again whose allocation was released, or whose room went after its match', async () => {
        await make('arena-1');
        await make('arena-2');
        await give('a1');
        await store.release(scheduler, 'a1');
        expect(await give('a1')).toBe('no_room');
        const used = await give('a2');
        await ping(used, { says: 'occupied' });
        await rooms.endRoom(scheduler, used);
        expect(await give('a2')).toBe('no_room');
      });

      it('gives nothing while the state is being rebuilt', async () => {
        await make('arena-1');
        await under.loseEverything();
        await make('arena-1');
        expect(await store.allocate(order('a1'))).toEqual({ outcome: 'rebuilding' });
        await rooms.markSynced();
        expect(await give('a1')).toBe('arena-1');
      });

      it('gives a room again whose allocation is over, though nobody has looked since', async () => {
        await make('arena-1');
        await give('a1');
        await under.passTime(ttlMs - 10_000);
        expect(await give('a2')).toBe('no_room');
        await under.passTime(10_001);
        expect(await give('a2')).toBe('arena-1');
        expect(await readRoom('arena-1')).toMatchObject({ status: 'allocated', allocations: [{ id: 'a2' }] });
        expect(await store.getAllocation(scheduler, 'a1')).toBeNull();
      });
    });

    describe('idempotency keys', () => {
      const keyed = { idempotencyKey: 'match-1' };

      it('answer the same to another id', async () => {
        await make('arena-1');
        await make('arena-2');
        const first = await store.allocate(order('a1', keyed));
        expect(await store.allocate(order('a2', keyed))).toEqual({ ...first, isRepeated: true });
        expect(await store.getAllocation(scheduler, 'a2')).toBeNull();
        expect((await rooms.countFleet(scheduler)).rooms).toMatchObject({ ready: 1, allocated: 1 });
      });

      it('answer the same while the state is being rebuilt', async () => {
        await make('arena-1');
        await give('a1', keyed);
        await store.confirm(scheduler, 'a1');
        expect(await store.allocate(order('a2', keyed))).toMatchObject({
          isRepeated: true,
          allocation: { id: 'a1', state: 'confirmed' },
        });
      });

      it('refuse another request', async () => {
        await make('arena-1');
        await make('arena-2');
        await give('a1', keyed);
        expect(await store.allocate(order('a2', { ...keyed, fingerprint: 'another' }))).toEqual({
          outcome: 'key_reused',
        });
        expect(await store.allocate(order('a2', { ...keyed, fingerprint: 'another' }), waiting)).toEqual({
          outcome: 'key_reused',
        });
      });

      it.each<[string, (room: string) => Promise<unknown>]>([
        ['is released', () => store.release(scheduler, 'a1')],
        ['is over', () => under.passTime(ttlMs + 1)],
        ['died with its room', (room) => rooms.endRoom(scheduler, room)],
        ['dies with its room, which terminates', (room) => ping(room, { says: 'terminating' })],
        [
          'was used, and its room has ended',
          (room) => ping(room, { says: 'occupied' }).then(() => rooms.endRoom(scheduler, room)),
        ],
      ])('are free when the allocation %s', async (_, end) => {
        await make('arena-1');
        await end(await give('a1', keyed));
        await make('arena-2');
        const other = { ...keyed, fingerprint: 'another' };
        expect(await store.allocate(order('a2', other))).toMatchObject({ outcome: 'allocated', isRepeated: false });
        // What becomes of the old one later leaves the key to the new one.
        await store.release(scheduler, 'a1');
        await under.passTime(ttlMs - 10_000);
        await store.expire(100);
        expect(await store.allocate(order('a3', other))).toMatchObject({ isRepeated: true, allocation: { id: 'a2' } });
      });

      it('are one for all who wait with them', async () => {
        const heard = await under.hearNotices('caller');
        expect(await wait('a1', keyed)).toBe('waiting');
        expect(await wait('a2', keyed)).toBe('waiting');
        expect(await wait('a3', { ...keyed, fingerprint: 'another' })).toBe('waiting');
        await make('arena-1');
        await make('arena-2');
        expect(await store.serveWaiting(scheduler)).toBe(1);
        // Nobody waits for what is answered already: all are told to ask.
        await eventually(() =>
          expect(heard.map((notice) => (notice as { allocation: string }).allocation)).toEqual(['a1', 'a2', 'a3']),
        );
        const first = await store.allocate(order('a1', keyed), waiting);
        expect(await store.allocate(order('a2', keyed), waiting)).toEqual(first);
        expect(await wait('a3', { ...keyed, fingerprint: 'another' })).toBe('key_reused');
        expect((await rooms.countFleet(scheduler)).rooms).toMatchObject({ ready: 1, allocated: 1 });
      });

      it('are answered to one who comes as the one ahead of him is served', async () => {
        expect(await wait('a1', keyed)).toBe('waiting');
        await make('arena-1');
        await make('arena-2');
        expect(await store.allocate(order('a2', keyed))).toMatchObject({ isRepeated: true, allocation: { id: 'a1' } });
        expect((await rooms.countFleet(scheduler)).rooms).toMatchObject({ ready: 1, allocated: 1 });
      });
    });

    describe('selectors', () => {
      it('take rooms of the versions asked for', async () => {
        await make('arena-1', { version: 'v1.0.0' });
        await make('arena-2', { version: 'v1.1.0' });
        expect(await give('a1', { versions: ['v1.2.0', 'v1.1.0'] })).toBe('arena-2');
        expect(await give('a2', { versions: ['v1.2.0', 'v1.1.0'] })).toBe('no_room');
        expect(await give('a3', { versions: [] })).toBe('no_room');
        expect(await give('a4', { versions: ['v1.0.0'] })).toBe('arena-1');
      });

      it('prefer the active version, and take others when there is none of it', async () => {
        await makeInTurn({
          'arena-1': { version: 'v2.0.0' },
          'arena-2': { version: 'v2.3.0' },
          'arena-3': { version: 'v20.0.0' },
          'arena-4': { version: 'v1.0.0' },
        });
        const activeVersion = 'v2.1.0';
        expect(await give('a1', { activeVersion })).toBe('arena-2');
        expect(await give('a2', { activeVersion })).toBe('arena-1');
        expect(await give('a3', { activeVersion })).toBe('arena-4');
        expect(await give('a4', { activeVersion })).toBe('arena-3');
      });

      it.each<[Record<string, unknown>, Record<string, string>, boolean]>([
        [{ map: 'harbour', mode: 'duel' }, { map: 'harbour' }, true],
        [{ map: 'harbour', mode: 'duel' }, { map: 'harbour', mode: 'duel' }, true],
        [{ map: 'harbour' }, { map: 'harbour', mode: 'duel' }, false],
        [{ map: 'harbour' }, { map: 'Harbour' }, false],
        [{ map: 'harbour' }, { map: 'harb' }, false],
        [{ map: '' }, { map: '' }, true],
        [{}, { map: '' }, false],
        [{ level: 3 }, { level: '3' }, true],
        [{ level: 3 }, { level: '3.0' }, false],
        [{ level: -3.25 }, { level: '-3.25' }, true],
        [{ level: 0.1 }, { level: '0.1' }, true],
        [{ level: 2 ** 53 }, { level: '9007199254740992' }, true],
        [{ ranked: true }, { ranked: 'true' }, true],
        [{ ranked: false }, { ranked: 'true' }, false],
        [{ ranked: false }, { ranked: 'false' }, true],
        [{ map: null }, { map: 'null' }, false],
        [{ map: { name: 'harbour' } }, { map: 'harbour' }, false],
        [{ map: ['harbour'] }, { map: 'harbour' }, false],
        [{ 'a "b" {c}': 'ü/\n' }, { 'a "b" {c}': 'ü/\n' }, true],
      ])('of metadata: a room that says %j has %j: %s', async (metadata, wanted, fits) => {
        await make('arena-1', { metadata });
        expect(await give('a1', { metadata: wanted })).toBe(fits ? 'arena-1' : 'no_room');
      });

      it('of metadata mean what the room said last', async () => {
        await make('arena-1', { metadata: { map: 'harbour' } });
        await make('arena-2');
        await ping('arena-1', { metadata: { map: 'desert' } });
        expect(await give('a1', { metadata: { map: 'harbour' } })).toBe('no_room');
        expect(await give('a1', { metadata: { map: 'desert' } })).toBe('arena-1');
      });
    });

    it('gives a room for one match by its word, whatever number of matches it sends along', async () => {
      await make('arena-1', { runningMatches: 2 });
      expect(await give('a1')).toBe('arena-1');
      await ping('arena-1', { runningMatches: 3 });
      expect((await rooms.getRoom(scheduler, 'arena-1'))!.status).toBe('allocated');
    });

    describe('strategies', () => {
      const maxMatches = 4;

      async function makeUnequallyFull() {
        await make('empty', { maxMatches });
        await make('full', { maxMatches, says: 'occupied', runningMatches: 4 });
        await make('two', { maxMatches, says: 'occupied', runningMatches: 2 });
        await make('one', { maxMatches, says: 'occupied', runningMatches: 1 });
      }

      it('packed fills the fullest room first, open allocations included', async () => {
        await makeUnequallyFull();
        const order: string[] = [];
        for (let number = 0; number < 9; number += 1) order.push(await give(`a${number}`, { maxMatches }));
        expect(order).toEqual(['two', 'two', 'one', 'one', 'one', 'empty', 'empty', 'empty', 'empty']);
        expect(await give('a9', { maxMatches })).toBe('no_room');
      });

      it('spread fills the emptiest room first', async () => {
        await makeUnequallyFull();
        const order: string[] = [];
        for (let number = 0; number < 3; number += 1) {
          order.push(await give(`a${number}`, { maxMatches, strategy: 'spread' }));
        }
        expect(order[0]).toBe('empty');
        expect(order.slice(1).sort()).toEqual(['empty', 'one']);
      });

      async function makeOnTwoHosts() {
        await make('used-1', { host: 'busy' });
        await make('used-2', { host: 'busy' });
        await make('used-3', { host: 'calm' });
        for (const id of ['used-1', 'used-2', 'used-3']) await ping(id, { says: 'occupied' });
        await make('on-busy', { host: 'busy' });
        await make('on-calm', { host: 'calm' });
        await make('on-empty', { host: 'empty' });
      }

      it('packed takes the host with the most used rooms', async () => {
        await makeOnTwoHosts();
        expect([await give('a1'), await give('a2'), await give('a3')]).toEqual(['on-busy', 'on-calm', 'on-empty']);
      });

      it('spread takes the host with the fewest', async () => {
        await makeOnTwoHosts();
        const strategy = 'spread';
        expect([
          await give('a1', { strategy }),
          await give('a2', { strategy }),
          await give('a3', { strategy }),
        ]).toEqual(['on-empty', 'on-calm', 'on-busy']);
      });

      it.each(['packed', 'spread'] as const)(
        '%s takes the room that became ready last, all else equal',
        async (strategy) => {
          await makeInTurn({ 'arena-2': {}, 'arena-1': {}, 'arena-3': {} });
          const order = [
            await give('a1', { strategy }),
            await give('a2', { strategy }),
            await give('a3', { strategy }),
          ];
          expect(order).toEqual(['arena-3', 'arena-1', 'arena-2']);
        },
      );
    });

    describe('waiting', () => {
      it('serves in the order of arrival, tells who was served, and answers him the same from then on', async () => {
        const heard = await under.hearNotices('caller');
        for (const [place, id] of ['a3', 'a1', 'a2'].entries()) {
          expect(await store.allocate(order(id), waiting)).toEqual({ outcome: 'waiting', ahead: place });
        }
        expect(await store.serveWaiting(scheduler)).toBe(0);
        await make('arena-1');
        await make('arena-2');
        expect(await store.serveWaiting(scheduler)).toBe(2);
        await eventually(() =>
          expect(heard).toEqual([
            { kind: 'allocation_served', scheduler, allocation: 'a3' },
            { kind: 'allocation_served', scheduler, allocation: 'a1' },
          ]),
        );
        expect(await store.allocate(order('a3'), waiting)).toMatchObject({ outcome: 'allocated', isRepeated: true });
        expect(await store.allocate(order('a2'), waiting)).toEqual({ outcome: 'waiting', ahead: 0 });
        await expectCountersToEqualRecount();
      });

      it('keeps the place of one who asks again', async () => {
        await wait('a1');
        await wait('a2');
        expect(await store.allocate(order('a1'), waiting)).toEqual({ outcome: 'waiting', ahead: 0 });
        await make('arena-1');
        expect(await wait('a2')).toBe('waiting');
        expect(await roomOf('a1')).toBe('arena-1');
      });

      it('keeps places apart by scheduler', async () => {
        await store.allocate(order('a1', { scheduler: 'other' }), waiting);
        await make('arena-1');
        expect(await give('a2')).toBe('arena-1');
        expect(await store.serveWaiting('other')).toBe(0);
      });

      it('answers a waiting caller by his own call, and does not tell him too', async () => {
        const heard = await under.hearNotices('caller');
        await wait('a1');
        await wait('a2');
        await make('arena-1');
        await make('arena-2');
        expect(await store.allocate(order('a2'), waiting)).toMatchObject({ outcome: 'allocated', isRepeated: false });
        await store.allocate(order('a3'), waiting);
        await make('arena-3');
        await store.serveWaiting(scheduler);
        await eventually(() => expect(heard.at(-1)).toMatchObject({ allocation: 'a3' }));
        expect(heard.map((notice) => (notice as { allocation: string }).allocation)).toEqual(['a1', 'a3']);
      });

      it('lets nobody overtake one who could use the same room', async () => {
        await wait('a1');
        await make('arena-1');
        expect(await give('a2')).toBe('no_room');
        expect(await roomOf('a1')).toBe('arena-1');
        await wait('a3');
        await make('arena-2');
        expect(await wait('a4', { versions: ['v1.0.0'] })).toBe('waiting');
        expect(await roomOf('a3')).toBe('arena-2');
      });

      it('lets a caller pass those who want something else', async () => {
        await wait('a1', { versions: ['v9.0.0'] });
        await wait('a2', { metadata: { map: 'harbour' } });
        await wait('a3');
        await wait('a4', { versions: ['v9.0.0'] });
        await make('arena-1');
        await make('arena-2');
        expect(await give('a5')).toBe('arena-2' === (await roomOf('a3')) ? 'arena-1' : 'arena-2');
        await make('arena-3', { metadata: { map: 'harbour' } });
        await make('arena-4', { version: 'v9.0.0' });
        expect(await store.serveWaiting(scheduler)).toBe(2);
        expect([await roomOf('a1'), await roomOf('a2'), await roomOf('a4')]).toEqual(['arena-4', 'arena-3', null]);
      });

      it('gives several slots of a room to those who wait, and to the next caller what is left', async () => {
        const maxMatches = 3;
        await wait('a1', { maxMatches });
        await wait('a2', { maxMatches });
        await make('arena-1', { maxMatches });
        expect(await give('a3', { maxMatches })).toBe('arena-1');
        expect(await give('a4', { maxMatches })).toBe('no_room');
        expect((await readRoom('arena-1')).allocations.map(({ id }) => id)).toEqual(['a1', 'a2', 'a3']);
      });

      it('gives a room for one match once, though the scheduler takes several by now', async () => {
        await wait('a1');
        await wait('a2', { maxMatches: 3 });
        await make('arena-1');
        expect(await store.serveWaiting(scheduler)).toBe(1);
        expect(await roomOf('a1')).toBe('arena-1');
      });

      it('forgets a caller that has not asked again in time', async () => {
        await make('used', { says: 'occupied' });
        await wait('a1');
        await under.passTime(waiting.aliveMs / 2);
        await wait('a2');
        await under.passTime(waiting.aliveMs / 2 + 1);
        expect(await store.allocate(order('a3'), waiting)).toEqual({ outcome: 'waiting', ahead: 1 });
        await make('arena-1');
        expect(await store.serveWaiting(scheduler)).toBe(1);
        expect(await roomOf('a2')).toBe('arena-1');
        expect(await roomOf('a1')).toBeNull();
      });

      it('gives a caller who was forgotten a new place when he asks again', async () => {
        await make('used', { says: 'occupied' });
        await wait('a1');
        await under.passTime(waiting.aliveMs + 1);
        await wait('a2');
        expect(await store.allocate(order('a1'), waiting)).toEqual({ outcome: 'waiting', ahead: 1 });
      });

      it('keeps places while the state is being rebuilt', async () => {
        await under.loseEverything();
        expect(await wait('a1')).toBe('rebuilding');
        expect(await wait('a2')).toBe('rebuilding');
        expect(await wait('a1')).toBe('rebuilding');
        await make('arena-1');
        expect(await store.serveWaiting(scheduler)).toBe(0);
        await rooms.markSynced();
        expect(await wait('a2')).toBe('waiting');
        expect(await roomOf('a1')).toBe('arena-1');
      });

      it('ends when the caller asks without waiting', async () => {
        await wait('a1');
        expect(await give('a1')).toBe('no_room');
        await make('arena-1');
        expect(await store.serveWaiting(scheduler)).toBe(0);
        await wait('a2', { versions: ['v9.0.0'] });
        await wait('a3', { versions: ['v2.0.0'] });
        await make('arena-2', { version: 'v2.0.0' });
        expect(await give('a3', { versions: ['v2.0.0'] })).toBe('arena-2');
      });

      it('tells a ping that a room is awaited', async () => {
        await wait('a1');
        await make('arena-1', { says: 'occupied' });
        const said = { scheduler, room: 'arena-1', runningMatches: 0, metadata: null, listener: null, resync: false };
        await expect(rooms.applyPing({ ...said, status: 'ready' }, { maxMatches: 1 })).resolves.toMatchObject({
          isAwaited: true,
        });
        await store.serveWaiting(scheduler);
        await expect(rooms.applyPing({ ...said, status: 'ready' }, { maxMatches: 1 })).resolves.toMatchObject({
          isAwaited: false,
        });
      });

      it('serves more callers than one page of the queue', async () => {
        const ids = Array.from({ length: 250 }, (_, number) => `a${number}`);
        const versions = (number: number) => (number % 2 === 0 ? ['v9.0.0'] : null);
        for (const [number, id] of ids.entries()) await wait(id, { versions: versions(number) });
        const maxMatches = 1;
        for (let number = 0; number < 3; number += 1) await make(`arena-${number}`, { maxMatches });
        expect(await store.serveWaiting(scheduler)).toBe(3);
        expect(await store.allocate(order('a249'), waiting)).toEqual({ outcome: 'waiting', ahead: 246 });
        for (const id of ['a1', 'a3', 'a5']) expect(await roomOf(id)).not.toBeNull();
        await make('arena-9', { version: 'v9.0.0' });
        await under.passTime(1);
        expect(await store.serveWaiting(scheduler)).toBe(1);
        expect(await roomOf('a0')).toBe('arena-9');
      });
    });

    describe('stopWaiting', () => {
      it('takes a caller out of the queue', async () => {
        await wait('a1');
        await wait('a2');
        expect(await store.stopWaiting(scheduler, 'a1', { keep: false })).toBeNull();
        await make('arena-1');
        await store.serveWaiting(scheduler);
        expect([await roomOf('a1'), await roomOf('a2')]).toEqual([null, 'arena-1']);
      });

      it('gives back what the caller was given meanwhile, to those who wait', async () => {
        await wait('a1');
        await wait('a2');
        await make('arena-1');
        await store.serveWaiting(scheduler);
        expect(await store.stopWaiting(scheduler, 'a1', { keep: false })).toBeNull();
        expect(await store.getAllocation(scheduler, 'a1')).toMatchObject({ state: 'released' });
        expect(await roomOf('a2')).toBe('arena-1');
        expect((await readRoom('arena-1')).allocations).toMatchObject([{ id: 'a2' }]);
      });

      it('answers with what the caller was given meanwhile, if he keeps it', async () => {
        await wait('a1');
        await make('arena-1');
        await store.serveWaiting(scheduler);
        expect(await store.stopWaiting(scheduler, 'a1', { keep: true })).toMatchObject({
          id: 'a1',
          room: 'arena-1',
          state: 'pending',
        });
        expect(await roomOf('a1')).toBe('arena-1');
        expect(await store.stopWaiting(scheduler, 'a2', { keep: true })).toBeNull();
      });

      it('leaves the room what it has reported', async () => {
        await make('arena-1');
        await give('a1');
        await ping('arena-1', { says: 'occupied' });
        expect(await store.stopWaiting(scheduler, 'a1', { keep: false })).toBeNull();
        expect(await store.getAllocation(scheduler, 'a1')).toMatchObject({ state: 'confirmed' });
        expect(await readRoom('arena-1')).toMatchObject({ status: 'occupied' });
      });

      it('knows nothing of one who never came', async () => {
        expect(await store.stopWaiting(scheduler, 'nobody', { keep: false })).toBeNull();
        expect(await store.stopWaiting(scheduler, 'nobody', { keep: true })).toBeNull();
      });
    });

    describe('getAllocation', () => {
      it.each<[string, () => Promise<unknown>]>([
        ['was never made', () => store.release(scheduler, 'a1').then(() => under.loseEverything())],
        ['is over', () => under.passTime(ttlMs + 1)],
        ['died with its room', () => rooms.endRoom(scheduler, 'arena-1')],
        [
          'died as its room was removed',
          () => rooms.terminateRooms(scheduler, ['arena-1'], { reason: 'x', byName: true }),
        ],
        ['died as its room said that it terminates', () => ping('arena-1', { says: 'terminating' })],
        [
          'was used, and its room terminates',
          () => ping('arena-1', { says: 'occupied' }).then(() => ping('arena-1', { says: 'terminating' })),
        ],
      ])('is null when it %s', async (_, end) => {
        await make('arena-1');
        await give('a1');
        await end();
        expect(await store.getAllocation(scheduler, 'a1')).toBeNull();
      });

      it('is confirmed when the room reports the match', async () => {
        await make('arena-1');
        await give('a1');
        await ping('arena-1');
        expect(await store.getAllocation(scheduler, 'a1')).toMatchObject({ state: 'pending' });
        await ping('arena-1', { says: 'occupied' });
        expect(await store.getAllocation(scheduler, 'a1')).toMatchObject({ state: 'confirmed', expiresAtMs: null });
      });
    });

    describe('confirm', () => {
      it('holds the slot until the room reports the match', async () => {
        await make('arena-1');
        await give('a1');
        expect(await store.confirm(scheduler, 'a1')).toMatchObject({
          allocation: { state: 'confirmed', expiresAtMs: null, room: 'arena-1' },
          isRepeated: false,
        });
        await under.passTime(ttlMs - 10_000);
        await ping('arena-1');
        await under.passTime(100 * ttlMs);
        expect(await store.expire(100)).toMatchObject({ ended: 0 });
        expect(await store.getAllocation(scheduler, 'a1')).toMatchObject({ state: 'confirmed' });
        expect(await readRoom('arena-1')).toMatchObject({
          status: 'allocated',
          allocations: [{ id: 'a1', expiresAtMs: null }],
        });
        expect(await give('a2')).toBe('no_room');
        await ping('arena-1', { says: 'occupied' });
        expect(await readRoom('arena-1')).toMatchObject({ status: 'occupied', allocations: [] });
        await expectCountersToEqualRecount();
      });

      it('holds the slot no longer than to a ping that is late and says nothing of the match', async () => {
        const maxMatches = 2;
        await make('arena-1', { maxMatches, says: 'occupied', runningMatches: 1 });
        await give('a1', { maxMatches, idempotencyKey: 'k1' });
        await store.confirm(scheduler, 'a1');
        await under.passTime(ttlMs - 10_000);
        // One match ended and the next began: the room says what it said.
        await ping('arena-1', { maxMatches, says: 'occupied', runningMatches: 1 });
        expect(await give('a2', { maxMatches })).toBe('no_room');
        await under.passTime(10_001);
        await ping('arena-1', { maxMatches, says: 'occupied', runningMatches: 1 });
        expect(await readRoom('arena-1')).toMatchObject({ status: 'active', runningMatches: 1, allocations: [] });
        expect(await store.release(scheduler, 'a1')).toBe('in_use');
        expect(await store.allocate(order('a2', { maxMatches, idempotencyKey: 'k1' }))).toMatchObject({
          isRepeated: true,
          allocation: { id: 'a1', state: 'confirmed' },
        });
        expect(await give('a3', { maxMatches })).toBe('arena-1');
        await store.confirm(scheduler, 'a3');
        await under.passTime(ttlMs + 1);
        expect(await store.expire(100)).toEqual({ ended: 0, endedOf: [], handled: 1 });
        expect(await store.getAllocation(scheduler, 'a1')).toBeNull();
        await expectCountersToEqualRecount();
      });

      it('makes a room for one match ready again that never had it', async () => {
        await make('arena-1');
        await give('a1');
        await store.confirm(scheduler, 'a1');
        await under.passTime(ttlMs + 1);
        await ping('arena-1');
        expect(await readRoom('arena-1')).toMatchObject({ status: 'ready', allocations: [] });
        expect(await give('a2')).toBe('arena-1');
        await expectCountersToEqualRecount();
      });

      it('may be repeated, also after the room reported the match', async () => {
        await make('arena-1');
        await give('a1');
        const { allocation } = (await store.confirm(scheduler, 'a1')) as AllocationChange;
        expect(await store.confirm(scheduler, 'a1')).toEqual({ allocation, isRepeated: true });
        await ping('arena-1', { says: 'occupied' });
        expect(await store.confirm(scheduler, 'a1')).toEqual({ allocation, isRepeated: true });
      });

      it('leaves the other allocations of the room as they are', async () => {
        const maxMatches = 3;
        await make('arena-1', { maxMatches });
        for (const id of ['a1', 'a2', 'a3']) await give(id, { maxMatches });
        await store.confirm(scheduler, 'a2');
        await under.passTime(ttlMs + 1);
        expect(await store.expire(100)).toEqual({ ended: 2, endedOf: [scheduler], handled: 2 });
        expect((await readRoom('arena-1')).allocations).toMatchObject([{ id: 'a2' }]);
      });

      it('finds none that was never made, or is over, and none that was released', async () => {
        await make('arena-1');
        expect(await store.confirm(scheduler, 'a1')).toBe('not_found');
        await give('a1');
        await under.passTime(ttlMs + 1);
        expect(await store.confirm(scheduler, 'a1')).toBe('not_found');
        await ping('arena-1');
        await give('a2');
        await store.release(scheduler, 'a2');
        expect(await store.confirm(scheduler, 'a2')).toBe('released');
        await give('a3');
        await rooms.endRoom(scheduler, 'arena-1');
        expect(await store.confirm(scheduler, 'a3')).toBe('not_found');
      });
    });

    describe('release', () => {
      it('gives the slot back, and says why', async () => {
        await make('arena-1');
        await give('a1');
        const { allocation, isRepeated } = (await store.release(scheduler, 'a1')) as AllocationChange;
        expect(allocation).toMatchObject({ id: 'a1', room: 'arena-1', state: 'released', expiresAtMs: null });
        expect(isRepeated).toBe(false);
        expect(await store.getAllocation(scheduler, 'a1')).toEqual(allocation);
        expect(await readRoom('arena-1')).toMatchObject({ status: 'ready', allocations: [] });
        const [transition] = await rooms.getTransitions(scheduler, 'arena-1');
        expect(transition).toMatchObject({
          from: 'allocated',
          to: 'ready',
          cause: 'allocation_released',
          detail: 'a1',
        });
        expect(await under.readHosts(scheduler)).toEqual({});
        await expectCountersToEqualRecount();
        expect(await give('a2')).toBe('arena-1');
      });

      it('answers the same again until its old time, and takes nothing back twice', async () => {
        await make('arena-1');
        await give('a1');
        const { allocation } = (await store.release(scheduler, 'a1')) as AllocationChange;
        await give('a2');
        expect(await store.release(scheduler, 'a1')).toEqual({ allocation, isRepeated: true });
        expect((await readRoom('arena-1')).allocations).toMatchObject([{ id: 'a2' }]);
        await under.passTime(ttlMs + 1);
        expect(await store.release(scheduler, 'a1')).toBe('not_found');
      });

      it('takes back a confirmed one too, as long as the room has not reported the match', async () => {
        await make('arena-1');
        await give('a1');
        await store.confirm(scheduler, 'a1');
        const released = (await store.release(scheduler, 'a1')) as AllocationChange;
        expect(released).toMatchObject({ allocation: { state: 'released' }, isRepeated: false });
        expect(await store.release(scheduler, 'a1')).toEqual({ ...released, isRepeated: true });
        expect(await readRoom('arena-1')).toMatchObject({ status: 'ready' });
        await under.passTime(ttlMs + 1);
        expect(await store.expire(100)).toMatchObject({ ended: 0 });
        expect(await store.release(scheduler, 'a1')).toBe('not_found');
      });

      it('leaves the room what it has reported', async () => {
        await make('arena-1');
        await give('a1');
        await ping('arena-1', { says: 'occupied' });
        expect(await store.release(scheduler, 'a1')).toBe('in_use');
        expect(await readRoom('arena-1')).toMatchObject({ status: 'occupied' });
      });

      it('finds none that was never made, is over, or died with its room', async () => {
        expect(await store.release(scheduler, 'a1')).toBe('not_found');
        await make('arena-1');
        await give('a1');
        await under.passTime(ttlMs + 1);
        expect(await store.release(scheduler, 'a1')).toBe('not_found');
        await ping('arena-1');
        await give('a2');
        await rooms.endRoom(scheduler, 'arena-1');
        expect(await store.release(scheduler, 'a2')).toBe('not_found');
      });

      it('makes a room what its instance says meanwhile', async () => {
        await make('arena-1');
        await give('a1');
        await tellInstance('arena-1', {}, 'pending');
        expect(await readRoom('arena-1')).toMatchObject({ status: 'allocated' });
        await store.release(scheduler, 'a1');
        expect(await readRoom('arena-1')).toMatchObject({ status: 'unready' });
      });

      it('serves those who wait, before anybody else', async () => {
        const heard = await under.hearNotices('caller');
        await make('arena-1');
        await give('a1');
        await wait('a2');
        await wait('a3');
        await store.release(scheduler, 'a1');
        expect(await roomOf('a2')).toBe('arena-1');
        await eventually(() => expect(heard).toMatchObject([{ allocation: 'a2' }]));
      });

      it('gives back one slot of a room for several matches', async () => {
        const maxMatches = 2;
        await make('arena-1', { maxMatches, says: 'occupied', runningMatches: 1 });
        await give('a1', { maxMatches });
        expect(await give('a2', { maxMatches })).toBe('no_room');
        await store.release(scheduler, 'a1');
        expect(await readRoom('arena-1')).toMatchObject({ status: 'active', runningMatches: 1, allocations: [] });
        expect(await give('a3', { maxMatches })).toBe('arena-1');
      });
    });

    describe('expire', () => {
      it('ends what is over, and nothing before its time', async () => {
        await make('arena-1');
        await make('arena-2');
        await give('a1');
        await give('a2', { ttlMs: 2 * ttlMs });
        await under.passTime(ttlMs - 10_000);
        expect(await store.expire(100)).toMatchObject({ ended: 0 });
        await under.passTime(10_001);
        expect(await store.expire(100)).toMatchObject({ ended: 1 });
        expect(await store.expire(100)).toMatchObject({ ended: 0 });
        expect(await roomOf('a2')).not.toBeNull();
        expect((await rooms.countFleet(scheduler)).rooms).toMatchObject({ ready: 1, allocated: 1 });
        await expectCountersToEqualRecount();
      });

      it('says why the room has its status, though the room itself says nothing', async () => {
        await make('arena-1');
        await give('a1');
        await under.passTime(ttlMs + 1);
        await store.expire(100);
        const [transition] = await rooms.getTransitions(scheduler, 'arena-1');
        expect(transition).toMatchObject({ from: 'allocated', to: 'ready', cause: 'allocation_expired', detail: 'a1' });
      });

      it('serves those who wait, when nobody else comes', async () => {
        const heard = await under.hearNotices('caller');
        await make('arena-1');
        await give('a1');
        await store.allocate(order('a2'), { listener: 'caller', aliveMs: 10 * ttlMs });
        await under.passTime(ttlMs + 1);
        expect(await store.expire(100)).toMatchObject({ ended: 1 });
        expect(await roomOf('a2')).toBe('arena-1');
        await eventually(() => expect(heard).toMatchObject([{ allocation: 'a2' }]));
      });

      it('forgets one that the room reported, after another of its time to live, and frees its key', async () => {
        await make('arena-1');
        const keyed = { idempotencyKey: 'match-1' };
        await give('a1', keyed);
        await under.passTime(ttlMs / 2);
        await ping('arena-1', { says: 'occupied' });
        await under.passTime(ttlMs - 10_000);
        await store.expire(100);
        expect(await store.getAllocation(scheduler, 'a1')).toMatchObject({ state: 'confirmed' });
        await under.passTime(10_001);
        expect(await store.expire(100)).toEqual({ ended: 0, endedOf: [], handled: 1 });
        expect(await store.expire(100)).toEqual({ ended: 0, endedOf: [], handled: 0 });
        expect(await store.getAllocation(scheduler, 'a1')).toBeNull();
        expect(await readRoom('arena-1')).toMatchObject({ status: 'occupied' });
        await make('arena-2');
        expect(await store.allocate(order('a2', keyed))).toMatchObject({ isRepeated: false });
      });

      it('ends the longest due first, as many as it may', async () => {
        for (let number = 0; number < 5; number += 1) {
          await make(`arena-${number}`);
          await give(`a${number}`, { ttlMs: ttlMs - 10 * number });
        }
        await under.passTime(ttlMs + 1);
        expect(await store.expire(2)).toMatchObject({ ended: 2 });
        expect(await store.expire(100)).toMatchObject({ ended: 3 });
      });

      it('looks after every scheduler, and is one among several processes', async () => {
        const schedulers = Array.from({ length: 8 }, (_, number) => `scheduler/${number}`);
        for (const name of schedulers) {
          await rooms.createRoom({ id: 'room', scheduler: name, version: 'v1.0.0', validation: false });
          const address = { host: 'h', ports: [] };
          const news = { id: 'room', scheduler: name, version: 'v1.0.0', validation: false, status: 'ready' } as const;
          await rooms.applyInstance(
            { ...news, description: '', address, createdAtMs: 1, generation: 1 },
            { maxMatches: 1 },
            { adopt: false, authoritative: true },
          );
          const said = { scheduler: name, room: 'room', status: 'ready', runningMatches: 0 } as const;
          await rooms.applyPing({ ...said, metadata: null, listener: null, resync: false }, { maxMatches: 1 });
          expect(await give(`a-${name.replace('/', '-')}`, { scheduler: name })).toBe('room');
        }
        await under.passTime(ttlMs + 1);
        const ended = await Promise.all(Array.from({ length: 3 }, () => store.expire(100)));
        expect(ended.reduce((sum, round) => sum + round.ended, 0)).toBe(8);
        for (const name of schedulers) {
          expect((await rooms.getRoom(name, 'room'))!.status).toBe('ready');
        }
      });

      it('leaves a room that was removed, or a scheduler that was deleted, as they are', async () => {
        await make('arena-1');
        await give('a1');
        await rooms.deleteScheduler(scheduler);
        await under.passTime(ttlMs + 1);
        expect(await store.expire(100)).toMatchObject({ ended: 0 });
        expect(await rooms.listSchedulers()).toEqual([]);
      });
    });
  });
}
