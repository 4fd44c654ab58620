import { RecordedLog } from '../../../test/support/recorded-log';
import type { Metrics } from '../../ports/metrics';
import type { Expiry, RoomAllocationStore } from '../../ports/room-allocation-store';
import { AllocationExpiry } from './allocation-expiry';
import { UnheardAllocations } from './unheard-allocations';

describe('the expiry of allocations', () => {
  it('goes on until nothing is due, also where most is only forgotten, and counts what ended', async () => {
    const rounds: Expiry[] = [
      { ended: 500, handled: 500 },
      { ended: 3, handled: 500 },
      { ended: 0, handled: 500 },
      { ended: 7, handled: 499 },
      { ended: 1, handled: 1 },
    ];
    const counted: [string, number][] = [];
    const stop = new AbortController();
    const store = { expire: async () => rounds.shift()! } as unknown as RoomAllocationStore;
    const metrics = {
      allocationsChanged: (change: string, count: number) => counted.push([change, count]),
      loopFinished: () => stop.abort(),
    } as unknown as Metrics;
    await new AllocationExpiry(store, new UnheardAllocations(store), metrics, new RecordedLog(), { intervalMs: 1 }).run(
      stop.signal,
    );
    expect(counted).toEqual([
      ['expired', 500],
      ['expired', 3],
      ['expired', 7],
    ]);
    expect(rounds).toEqual([{ ended: 1, handled: 1 }]);
  });
});
