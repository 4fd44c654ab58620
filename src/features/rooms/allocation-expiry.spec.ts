import { RecordedLog } from '../../../test/support/recorded-log';
import type { Metrics } from '../../ports/metrics';
import type { Expiry, RoomAllocationStore } from '../../ports/room-allocation-store';
import { AllocationExpiry } from './allocation-expiry';
import type { HealthRings } from './health-rings';
import { UnheardAllocations } from './unheard-allocations';

describe('the expiry of allocations', () => {
  it('goes on until nothing is due, also where most is only forgotten, counts what ended, and has those fleets looked at', async () => {
    const rounds: Expiry[] = [
      { ended: 500, endedOf: ['arena', 'other'], handled: 500 },
      { ended: 3, endedOf: ['other'], handled: 500 },
      { ended: 0, endedOf: [], handled: 500 },
      { ended: 7, endedOf: ['arena'], handled: 499 },
      { ended: 1, endedOf: ['never'], handled: 1 },
    ];
    const counted: [string, number][] = [];
    const stop = new AbortController();
    const store = { expire: async () => rounds.shift()! } as unknown as RoomAllocationStore;
    const metrics = {
      allocationsChanged: (change: string, count: number) => counted.push([change, count]),
      loopFinished: () => stop.abort(),
    } as unknown as Metrics;
    const rung: string[] = [];
    const rings = { useChanged: (scheduler: string) => rung.push(scheduler) } as unknown as HealthRings;
    const unheard = new UnheardAllocations(store, rings);
    const options = { intervalMs: 1 };
    await new AllocationExpiry(store, unheard, rings, metrics, new RecordedLog(), options).run(stop.signal);
    expect(counted).toEqual([
      ['expired', 500],
      ['expired', 3],
      ['expired', 7],
    ]);
    expect(rounds).toEqual([{ ended: 1, endedOf: ['never'], handled: 1 }]);
    expect(rung).toEqual(['arena', 'other', 'other', 'arena']);
  });
});
