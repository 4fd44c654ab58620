import { DomainError } from '../../domain/errors';
import type { RoomAllocationStore } from '../../ports/room-allocation-store';
import type { HealthRings } from './health-rings';
import { UnheardAllocations } from './unheard-allocations';

describe('allocations that nobody heard of', () => {
  const released: string[] = [];
  const rung: string[] = [];
  let answer: () => Promise<unknown>;
  let unheard: UnheardAllocations;

  beforeEach(() => {
    jest.useFakeTimers();
    released.length = 0;
    rung.length = 0;
    answer = async () => 'not_found';
    const store = {
      release: async (_scheduler: string, id: string) => {
        released.push(id);
        return answer();
      },
    } as unknown as RoomAllocationStore;
    const rings = { useChanged: (scheduler: string) => rung.push(scheduler) } as unknown as HealthRings;
    unheard = new UnheardAllocations(store, rings);
  });
  afterEach(() => jest.useRealTimers());

  it('gives one back, once, and the fleet is looked at', async () => {
    answer = async () => ({ allocation: {}, isRepeated: false });
    unheard.note('arena', 'a');
    await unheard.giveBack();
    await unheard.giveBack();
    expect(released).toEqual(['a']);
    expect(rung).toEqual(['arena']);
  });

  it('asks again for one that is not there yet, as the call may still be carried out', async () => {
    unheard.note('arena', 'a');
    await unheard.giveBack();
    jest.advanceTimersByTime(10_000);
    answer = async () => ({ allocation: {}, isRepeated: false });
    await unheard.giveBack();
    await unheard.giveBack();
    expect(released).toEqual(['a', 'a']);
  });

  it('stops asking when a late call would have been carried out long ago', async () => {
    unheard.note('arena', 'a');
    await unheard.giveBack();
    jest.advanceTimersByTime(16_000);
    await unheard.giveBack();
    await unheard.giveBack();
    expect(released).toEqual(['a', 'a']);
    expect(rung).toEqual([]);
  });

  it('keeps all while the store is away', async () => {
    answer = async () => {
      throw new DomainError('unavailable', 'room_store.unavailable', 'away');
    };
    unheard.note('arena', 'a');
    jest.advanceTimersByTime(60_000);
    await expect(unheard.giveBack()).rejects.toThrow('away');
    answer = async () => ({ allocation: {}, isRepeated: false });
    await unheard.giveBack();
    expect(released).toEqual(['a', 'a']);
  });
});
