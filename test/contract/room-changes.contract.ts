import type { Instance } from '../../src/domain/room/room';
import type { RoomAllocationStore } from '../../src/ports/room-allocation-store';
import type { RoomChange, RoomChanges, RoomChangesListener } from '../../src/ports/room-changes';
import type { RoomStore } from '../../src/ports/room-store';
import { eventually } from '../support/eventually';

export interface RoomChangesUnderTest {
  changes: RoomChanges;
  rooms: RoomStore;
  allocations: RoomAllocationStore;
  /** Breaks all connections that follow. */
  breakConnections(): Promise<void>;
  /** How many connections follow now. */
  connections(): Promise<number>;
  loseEverything(): Promise<void>;
  close(): Promise<void>;
}

class Witness implements RoomChangesListener {
  begins = 0;
  readonly changes: RoomChange[] = [];

  onBegin(): void {
    this.begins++;
  }
  onChanges(changes: RoomChange[]): void {
    this.changes.push(...changes);
  }
}

/** What every adapter of `RoomChanges` promises. */
export function describeRoomChanges(name: string, open: () => Promise<RoomChangesUnderTest>): void {
  describe(`${name} as news of rooms`, () => {
    let under: RoomChangesUnderTest;
    let stop: AbortController;
    let following: Promise<void>[];

    beforeAll(async () => {
      under = await open();
    }, 60_000);
    afterAll(() => under?.close());
    beforeEach(async () => {
      await under.loseEverything();
      await under.rooms.markSynced();
      stop = new AbortController();
      following = [];
    });
    afterEach(async () => {
      stop.abort();
      await Promise.all(following);
    });

    async function follow(): Promise<Witness> {
      const witness = new Witness();
      following.push(under.changes.follow(witness, stop.signal));
      await eventually(() => expect(witness.begins).toBe(1));
      return witness;
    }

    async function start(scheduler: string, room: string, { validation = false, maxMatches = 1 } = {}): Promise<void> {
      const instance: Instance = {
        id: room,
        scheduler,
        version: 'v1.0.0',
        validation,
        status: 'ready',
        description: '',
        address: { host: '127.0.0.1', ports: [] },
        createdAtMs: Date.now(),
        generation: 1,
      };
      await under.rooms.createRoom(instance);
      await under.rooms.applyInstance(instance, { maxMatches }, { adopt: false, authoritative: false });
    }

    async function say(scheduler: string, room: string, matches: number, maxMatches = 1): Promise<void> {
      const status = matches > 0 ? 'occupied' : 'ready';
      await under.rooms.applyPing(
        { scheduler, room, status, runningMatches: matches, metadata: undefined, listener: null, resync: false },
        { maxMatches },
      );
    }

    const told = ({ changes }: Witness, room: string) =>
      changes.filter((change) => change.room === room).map(({ hasMatch }) => hasMatch);

    it('are told from now on, of all schedulers, in order for one room', async () => {
      await start('arena', 'arena-1');
      await say('arena', 'arena-1', 1);
      const witness = await follow();
      await start('castle', 'castle-1');
      await say('arena', 'arena-1', 0);
      await say('castle', 'castle-1', 1);
      await say('arena', 'arena-1', 1);
      await eventually(() => expect(told(witness, 'arena-1')).toEqual([false, true]));
      await eventually(() => expect(told(witness, 'castle-1')).toEqual([false, false, true]));
      expect(new Set(witness.changes.map(({ scheduler }) => scheduler))).toEqual(new Set(['arena', 'castle']));
    });

    it('are told of slots that are given, where that changes no status too, and given back', async () => {
      await start('arena', 'arena-1', { maxMatches: 3 });
      await say('arena', 'arena-1', 0, 3);
      const witness = await follow();
      const outcome = await under.allocations.allocate({
        scheduler: 'arena',
        id: 'a-1',
        idempotencyKey: null,
        fingerprint: '',
        maxMatches: 3,
        activeVersion: 'v1.0.0',
        versions: null,
        metadata: {},
        strategy: 'packed',
        ttlMs: 60_000,
        pingTimeoutMs: 60_000,
        adoptionHoldMs: 0,
      });
      expect(outcome.outcome).toBe('allocated');
      await eventually(() => expect(told(witness, 'arena-1')).toEqual([true]));
      await under.allocations.release('arena', 'a-1');
      await eventually(() => expect(told(witness, 'arena-1')).toEqual([true, false]));
    });

    it('are told of the end of a room, as the end of its match too', async () => {
      await start('arena', 'arena-1');
      await say('arena', 'arena-1', 1);
      const witness = await follow();
      await under.rooms.endRoom('arena', 'arena-1');
      await eventually(() => expect(told(witness, 'arena-1')).toEqual([false]));
    });

    it('are not told of validation rooms, nor of pings that change nothing', async () => {
      await start('arena', 'arena-1');
      await say('arena', 'arena-1', 1);
      const witness = await follow();
      await start('arena', 'validation-1', { validation: true });
      await say('arena', 'validation-1', 1);
      await say('arena', 'arena-1', 1);
      await say('arena', 'arena-1', 0);
      await eventually(() =>
        expect(witness.changes).toEqual([{ scheduler: 'arena', room: 'arena-1', hasMatch: false }]),
      );
    });

    it('begin anew after a gap, and say so', async () => {
      await start('arena', 'arena-1');
      const witness = await follow();
      await under.breakConnections();
      await eventually(() => expect(witness.begins).toBe(2), { timeoutMs: 10_000 });
      await say('arena', 'arena-1', 1);
      await eventually(() => expect(told(witness, 'arena-1')).toEqual([true]));
    });

    it('go on when everything was lost', async () => {
      await start('arena', 'arena-1');
      const witness = await follow();
      await say('arena', 'arena-1', 1);
      await eventually(() => expect(told(witness, 'arena-1')).toEqual([true]));
      await under.loseEverything();
      await start('arena', 'arena-2');
      await say('arena', 'arena-2', 1);
      await eventually(() => expect(told(witness, 'arena-2').at(-1)).toBe(true));
    });

    it('are told to every follower, each on a connection of its own, until it is told to stop', async () => {
      await eventually(async () => expect(await under.connections()).toBe(0));
      const witnesses = [await follow(), await follow()];
      expect(await under.connections()).toBe(2);
      await start('arena', 'arena-1');
      for (const witness of witnesses) await eventually(() => expect(told(witness, 'arena-1')).toEqual([false, false]));
      stop.abort();
      await Promise.all(following);
      await eventually(async () => expect(await under.connections()).toBe(0));
      const late = new Witness();
      await under.changes.follow(late, stop.signal);
      expect(late.begins).toBe(0);
    });
  });
}
