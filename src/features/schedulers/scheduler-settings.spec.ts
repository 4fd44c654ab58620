import { DomainError } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import type { Metrics } from '../../ports/metrics';
import type { SchedulerSettings, SchedulerStore } from '../../ports/scheduler-store';
import { SchedulerSettingsCache } from './scheduler-settings';

describe('the settings of schedulers in memory', () => {
  const arena: SchedulerSettings = { name: 'arena', game: 'arena', maxMatches: 1, forwarders: [] };
  let reads: number;
  let answer: () => Promise<SchedulerSettings[]>;
  let cache: SchedulerSettingsCache;

  beforeEach(() => {
    reads = 0;
    answer = async () => [arena];
    const store = {
      listSettings: () => {
        reads += 1;
        return answer();
      },
    } as unknown as SchedulerStore;
    const silence = {} as unknown as Logger & Metrics;
    cache = new SchedulerSettingsCache(store, silence, silence, { pollIntervalMs: 60_000 });
  });

  it('answers from memory what one read told', async () => {
    expect(await cache.find('arena')).toEqual(arena);
    expect(await cache.find('arena')).toEqual(arena);
    expect(await cache.find('nobody')).toBeNull();
    expect(reads).toBe(1);
  });

  it('never call a scheduler unknown because the database was away', async () => {
    answer = () => Promise.reject(new DomainError('unavailable', 'postgres.unavailable', 'away'));
    await expect(cache.find('arena')).rejects.toThrow('away');
    await expect(cache.find('arena')).rejects.toThrow('away');
    answer = async () => [arena];
    expect(await cache.find('arena')).toEqual(arena);
  });
});
