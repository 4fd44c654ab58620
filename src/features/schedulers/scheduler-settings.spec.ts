import { DomainError } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import type { Metrics } from '../../ports/metrics';
import type { SchedulerSettings, SchedulerStore } from '../../ports/scheduler-store';
import { SchedulerSettingsCache } from './scheduler-settings';

describe('the settings of schedulers in memory', () => {
  const arena: SchedulerSettings = {
    name: 'arena',
    game: 'arena',
    maxMatches: 1,
    activeVersion: 'v1.0.0',
    isAutoscaled: false,
    forwarders: [],
    placement: { affinity: '', toleration: '' },
    isTerminating: false,
  };
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

  it('tell others who keep something of schedulers what was changed, and when something may have been missed', async () => {
    const stop = new AbortController();
    const store = {
      listSettings: () => answer(),
      watchChanges: async (onChange: (name: string | null) => void) => onChange('arena'),
    } as unknown as SchedulerStore;
    const silence = { loopFinished: () => undefined, warn: () => undefined } as unknown as Logger & Metrics;
    cache = new SchedulerSettingsCache(store, silence, silence, { pollIntervalMs: 60_000 });
    const told: (string | null)[] = [];
    cache.onChange((name) => {
      told.push(name);
      if (name === null) stop.abort();
    });
    await cache.run(stop.signal);
    expect(told).toEqual(['arena', null]);
  });
});
