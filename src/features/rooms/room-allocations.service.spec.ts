import { RecordedLog } from '../../../test/support/recorded-log';
import { RecordedWakeUps } from '../../../test/support/recorded-wake-ups';
import type { Metrics } from '../../ports/metrics';
import type {
  Allocation,
  AllocationChange,
  AllocationOutcome,
  RoomAllocationStore,
} from '../../ports/room-allocation-store';
import type { SchedulerSettingsCache } from '../schedulers/scheduler-settings';
import type { SchedulerVersionsCache } from '../schedulers/scheduler-versions';
import type { AllocationWaits } from './allocation-waits';
import type { HealthRings } from './health-rings';
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
      {} as HealthRings,
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

describe('the use of a fleet', () => {
  const allocation = { id: 'a', room: 'room-1', address: { host: 'h', ports: [] } } as unknown as Allocation;
  let given: AllocationOutcome;
  let released: AllocationChange | 'not_found' | 'in_use';
  let rung: string[];
  let allocations: RoomAllocationsService;

  beforeEach(() => {
    rung = [];
    const settings = {
      find: async (name: string) => ({ name, maxMatches: 1, activeVersion: 'v1.0.0' }),
      onEnd: () => undefined,
    };
    allocations = new RoomAllocationsService(
      settings as unknown as SchedulerSettingsCache,
      { find: async () => null } as unknown as SchedulerVersionsCache,
      {
        allocate: async () => given,
        release: async () => released,
        confirm: async () => released,
      } as unknown as RoomAllocationStore,
      {} as AllocationWaits,
      {} as UnheardAllocations,
      new RecordedWakeUps(),
      { useChanged: (scheduler: string) => rung.push(scheduler) } as unknown as HealthRings,
      { allocationAnswered: () => undefined, allocationsChanged: () => undefined } as unknown as Metrics,
      new RecordedLog(),
      { ttlMs: 60_000, pingTimeoutMs: 60_000, adoptionHoldMs: 0 },
    );
  });

  it.each([
    ['is rung for', false, ['arena']],
    ['is not rung for again', true, []],
  ])('%s when a room is given out (given before: %p)', async (_, isRepeated, expected) => {
    given = { outcome: 'allocated', allocation, isRepeated };
    await allocations.allocateRoom('arena');
    expect(rung).toEqual(expected);
  });

  it('is not rung for when nothing could be given out', async () => {
    given = { outcome: 'rebuilding' };
    await expect(allocations.allocateRoom('arena')).rejects.toThrow('found again');
    expect(rung).toEqual([]);
  });

  it('is rung for when a slot is given back, once, and not when it is confirmed', async () => {
    released = { allocation, isRepeated: false };
    await allocations.confirm('arena', 'a');
    expect(rung).toEqual([]);
    await allocations.release('arena', 'a');
    expect(rung).toEqual(['arena']);
    released = { allocation, isRepeated: true };
    await allocations.release('arena', 'a');
    released = 'in_use';
    await expect(allocations.release('arena', 'a')).rejects.toThrow('cannot release');
    expect(rung).toEqual(['arena']);
  });
});
