import { RecordedLog } from '../../../test/support/recorded-log';
import { DomainError } from '../../domain/errors';
import type { Metrics } from '../../ports/metrics';
import { Notices, type Notice } from '../../ports/notices';
import type {
  Allocation,
  AllocationOrder,
  AllocationOutcome,
  RoomAllocationStore,
} from '../../ports/room-allocation-store';
import { AllocationWaits, type AwaitedRoom } from './allocation-waits';
import type { HealthRings } from './health-rings';
import { UnheardAllocations } from './unheard-allocations';
import { NoticeBoard } from './notice-board';

const allocation = { id: 'first', room: 'room-1' } as Allocation;
const given: AllocationOutcome = { outcome: 'allocated', allocation, isRepeated: false };
const waiting: AllocationOutcome = { outcome: 'waiting', ahead: 0 };
const noRoom: AllocationOutcome = { outcome: 'no_room' };
const away = new DomainError('unavailable', 'room_store.unavailable', 'Redis does not answer.');

class HandedNotices extends Notices {
  override readonly address = 'here';
  hand: (notice: Notice) => void = () => undefined;

  override async watch(onNotice: (notice: Notice) => void): Promise<void> {
    this.hand = onNotice;
  }
}

/** Against a store that answers what a test wants at the moment in which it wants it. */
describe('a wait for a room', () => {
  let looks: AllocationOrder[];
  let look: (order: AllocationOrder) => Promise<AllocationOutcome>;
  let left: string[];
  let whenLeft: Allocation | null;
  let notices: HandedNotices;
  let waits: AllocationWaits;
  let caller: AbortController;

  beforeEach(async () => {
    jest.useFakeTimers();
    // Neither sooner nor later than the interval.
    jest.spyOn(Math, 'random').mockReturnValue(0.5);
    [looks, left, whenLeft, caller] = [[], [], null, new AbortController()];
    look = async () => waiting;
    const store = {
      allocate: (order: AllocationOrder) => {
        looks.push(order);
        return look(order);
      },
      stopWaiting: async (_scheduler: string, id: string, { keep }: { keep: boolean }) => {
        left.push(`${id} ${keep ? 'keeps' : 'gives back'}`);
        return keep ? whenLeft : null;
      },
    } as unknown as RoomAllocationStore;
    notices = new HandedNotices();
    const board = new NoticeBoard(notices);
    await board.run(caller.signal);
    const metrics = { allocationCallersWaiting: () => undefined } as unknown as Metrics;
    const options = { maxCallers: 10, pollIntervalMs: 1_000, aliveMs: 5_000 };
    const unheard = new UnheardAllocations(store, { useChanged: () => undefined } as unknown as HealthRings);
    waits = new AllocationWaits(store, board, unheard, metrics, new RecordedLog(), options);
  });
  afterEach(() => {
    jest.useRealTimers();
    jest.restoreAllMocks();
  });

  const order = (changes: Partial<AllocationOrder> = {}) =>
    ({ scheduler: 'arena', id: 'first', idempotencyKey: null, ...changes }) as AllocationOrder;
  const wait = (first = order(), more: Partial<AwaitedRoom> = {}) =>
    waits.wait(first, {
      nextOrder: async (id) => ({ ...first, id }),
      waitMs: 10_000,
      caller,
      onNoRoom: () => undefined,
      ...more,
    });

  it('gives a room back that was given in the moment in which its caller hung up', async () => {
    look = async () => {
      caller.abort();
      return given;
    };
    expect(await wait()).toEqual({ outcome: 'canceled' });
    expect(left).toEqual(['first gives back']);
  });

  it('keeps such a room for its key: another request of the same key may have been told of it', async () => {
    look = async () => {
      caller.abort();
      return given;
    };
    expect(await wait(order({ idempotencyKey: 'match-7' }))).toEqual({ outcome: 'canceled' });
    expect(left).toEqual(['first keeps']);
  });

  it('ends at once for a caller that hung up before', async () => {
    caller.abort();
    expect(await wait()).toEqual({ outcome: 'canceled' });
    expect([looks.length, left]).toEqual([1, ['first gives back']]);
  });

  it('answers with what was given in the last moment', async () => {
    whenLeft = allocation;
    const answer = wait();
    await jest.advanceTimersByTimeAsync(10_000);
    expect(await answer).toEqual(given);
    expect(left).toEqual(['first keeps']);
  });

  it('looks once a second, with the order as it is by then', async () => {
    const answer = wait(order(), { nextOrder: async (id) => order({ id, versions: [`as of look ${looks.length}`] }) });
    await jest.advanceTimersByTimeAsync(2_500);
    look = async () => given;
    await jest.advanceTimersByTimeAsync(500);
    expect(await answer).toEqual(given);
    const versions = looks.map((each) => each.versions);
    expect(versions).toEqual([undefined, ['as of look 1'], ['as of look 2'], ['as of look 3']]);
  });

  it.each([
    ['sooner', 0, 800],
    ['later', 1, 1_200],
  ])('looks up to a fifth %s, so that those who came together part', async (_, random, afterMs) => {
    jest.spyOn(Math, 'random').mockReturnValue(random);
    const answer = wait();
    await jest.advanceTimersByTimeAsync(afterMs - 1);
    expect(looks).toHaveLength(1);
    look = async () => given;
    await jest.advanceTimersByTimeAsync(1);
    expect(await answer).toEqual(given);
  });

  it('looks as soon as it is told, and also when that was during a look', async () => {
    const served: Notice = { kind: 'allocation_served', scheduler: 'arena', allocation: 'first' };
    look = async () => {
      if (looks.length === 1) notices.hand(served);
      return looks.length < 3 ? waiting : given;
    };
    const answer = wait();
    await jest.advanceTimersByTimeAsync(0);
    expect(looks).toHaveLength(2);
    notices.hand(served);
    expect(await answer).toEqual(given);
  });

  it('goes on with the former order while a new one cannot be made', async () => {
    const answer = wait(order({ versions: ['v1.0.0'] }), { nextOrder: () => Promise.reject(new Error('away')) });
    await jest.advanceTimersByTimeAsync(500);
    look = async () => given;
    await jest.advanceTimersByTimeAsync(500);
    expect(await answer).toEqual(given);
    expect(looks.at(-1)).toEqual(order({ versions: ['v1.0.0'] }));
  });

  it('ends when its scheduler is deleted', async () => {
    const answer = wait(order(), { nextOrder: async () => 'unknown_scheduler' });
    await jest.advanceTimersByTimeAsync(1_000);
    expect(await answer).toEqual({ outcome: 'unknown_scheduler' });
    expect(left).toEqual(['first keeps']);
  });

  it('ends at once where its scheduler gives out nothing any more, and goes on where another one does not', async () => {
    const nextOrder = async () => 'no_room' as const;
    const answer = wait(order(), { nextOrder });
    let isOver = false;
    void wait(order({ scheduler: 'other', id: 'second' }), { nextOrder }).then(() => (isOver = true));
    await jest.advanceTimersByTimeAsync(0);
    waits.lookAgain('arena');
    expect(await answer).toEqual({ outcome: 'no_room' });
    expect([left, isOver]).toEqual([['first keeps'], false]);
    caller.abort();
  });

  it('goes on under another id when what it was given is gone, and hears of that one', async () => {
    look = async () => noRoom;
    const answer = wait();
    await jest.advanceTimersByTimeAsync(999);
    look = async () => waiting;
    await jest.advanceTimersByTimeAsync(1);
    const { id } = looks.at(-1)!;
    expect(id).not.toBe('first');
    look = async () => ({ ...given, allocation: { ...allocation, id } });
    notices.hand({ kind: 'allocation_served', scheduler: 'arena', allocation: id });
    expect(await answer).toMatchObject({ outcome: 'allocated', allocation: { id }, isRepeated: false });
  });

  it('survives a store that is away for a while, and says so when it is away at the end', async () => {
    look = () => (looks.length < 4 ? Promise.reject(away) : Promise.resolve(given));
    const patient = wait();
    await jest.advanceTimersByTimeAsync(3_000);
    expect(await patient).toEqual(given);
    look = () => Promise.reject(away);
    const unlucky = wait();
    await jest.advanceTimersByTimeAsync(10_000);
    expect(await unlucky).toEqual({ outcome: 'store_error', cause: away });
  });

  it('ends with what nobody expected', async () => {
    look = () => Promise.reject(new Error('a defect'));
    await expect(wait()).rejects.toThrow('a defect');
  });
});
