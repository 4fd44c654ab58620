import { RecordedLog } from '../../../test/support/recorded-log';
import { RecordedWakeUps } from '../../../test/support/recorded-wake-ups';
import type { Metrics } from '../../ports/metrics';
import type { RoomAllocationStore } from '../../ports/room-allocation-store';
import type { SchedulerSettingsCache } from '../schedulers/scheduler-settings';
import type { SchedulerVersionsCache } from '../schedulers/scheduler-versions';
import type { AllocationWaits } from './allocation-waits';
import type { UnheardAllocations } from './unheard-allocations';
import { RoomAllocationsService } from './room-allocations.service';

describe('callers who find no room', () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  it('ring for the health of each scheduler once a second, however many they are', async () => {
    const wakeUps = new RecordedWakeUps();
    const settings = {
      find: async (name: string) => ({ name, maxMatches: 1, activeVersion: 'v1.0.0' }),
      onEnd: () => undefined,
    };
    const allocations = new RoomAllocationsService(
      settings as unknown as SchedulerSettingsCache,
      { find: async () => null } as unknown as SchedulerVersionsCache,
      { allocate: async () => ({ outcome: 'no_room' }) } as unknown as RoomAllocationStore,
      {} as AllocationWaits,
      {} as UnheardAllocations,
      wakeUps,
      { allocationAnswered: () => undefined } as unknown as Metrics,
      new RecordedLog(),
      { ttlMs: 60_000, pingTimeoutMs: 60_000, adoptionHoldMs: 0 },
    );
    const ask = async (...schedulers: string[]): Promise<string[]> => {
      wakeUps.rings.length = 0;
      for (const scheduler of schedulers) {
        await expect(allocations.allocateRoom(scheduler)).rejects.toThrow('no ready rooms available');
      }
      return wakeUps.rings.map(({ kind, scheduler }) => `${kind} ${scheduler}`);
    };
    expect(await ask('arena', 'arena', 'other', 'arena')).toEqual(['health arena', 'health other']);
    jest.advanceTimersByTime(999);
    expect(await ask('arena', 'other')).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(await ask('arena', 'other', 'arena')).toEqual(['health arena', 'health other']);
  });
});
