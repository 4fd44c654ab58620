import type { SchedulerStore } from '../../ports/scheduler-store';
import type { SchedulerSettingsCache } from './scheduler-settings';
import { SchedulerVersionsCache } from './scheduler-versions';

describe('the versions of schedulers in memory', () => {
  let queries: string[];
  let answer: () => Promise<string[]>;
  let change: (name: string | null) => void;
  let cache: SchedulerVersionsCache;

  beforeEach(() => {
    queries = [];
    answer = async () => ['v1.0.0', 'v2.0.0', 'v2.1.0'];
    const store = {
      findVersions: (name: string, labels: object) => {
        queries.push(`${name} ${JSON.stringify(labels)}`);
        return answer();
      },
    } as unknown as SchedulerStore;
    const settings = {
      onChange: (listener: typeof change) => (change = listener),
    } as unknown as SchedulerSettingsCache;
    cache = new SchedulerVersionsCache(store, settings);
  });

  const find = (version: string, labels: Record<string, string> = {}, scheduler = 'arena') =>
    cache.find(scheduler, { version, labels });

  it('cost nothing when nothing is selected', async () => {
    expect(await find('')).toBeNull();
    expect(queries).toEqual([]);
  });

  it('are asked for once for the same labels, whatever their order and the version', async () => {
    expect(await find('v2', { a: '1', b: '2' })).toEqual(['v2.0.0', 'v2.1.0']);
    expect(await find('v2.1', { b: '2', a: '1' })).toEqual(['v2.1.0']);
    expect(await find('', { a: '1', b: '2' })).toEqual(['v1.0.0', 'v2.0.0', 'v2.1.0']);
    expect(await find('v3', { a: '1', b: '2' })).toEqual([]);
    expect(queries).toEqual(['arena {"a":"1","b":"2"}']);
  });

  it('are asked for apart for other labels and other schedulers', async () => {
    await find('v2');
    await find('', { a: '1' });
    await find('v2', {}, 'other');
    expect(queries).toEqual(['arena {}', 'arena {"a":"1"}', 'other {}']);
  });

  it('are asked for anew after a change of their scheduler, and of no other', async () => {
    await find('v2');
    await find('v2', {}, 'other');
    change('arena');
    await find('v2');
    await find('v2', {}, 'other');
    expect(queries).toEqual(['arena {}', 'other {}', 'arena {}']);
    change(null);
    await find('v2', {}, 'other');
    expect(queries).toEqual(['arena {}', 'other {}', 'arena {}', 'other {}']);
  });

  it('are asked for anew when a change is heard of during the read', async () => {
    let tell: (versions: string[]) => void = () => undefined;
    answer = () => new Promise((resolve) => (tell = resolve));
    const early = find('v3');
    change('arena');
    answer = async () => ['v3.0.0'];
    expect(await find('v3')).toEqual(['v3.0.0']);
    tell([]);
    expect(await early).toEqual([]);
    expect(await find('v3')).toEqual(['v3.0.0']);
  });

  it('are asked for anew after a read that failed', async () => {
    answer = () => Promise.reject(new Error('away'));
    await expect(find('v2')).rejects.toThrow('away');
    answer = async () => ['v2.0.0'];
    expect(await find('v2')).toEqual(['v2.0.0']);
  });

  it('are remembered for 256 selectors, those that are used first of all', async () => {
    for (let n = 0; n < 256; n++) await find('', { n: String(n) });
    await find('', { n: '0' });
    await find('', { n: '256' });
    queries.length = 0;
    await find('', { n: '0' });
    await find('', { n: '256' });
    expect(queries).toEqual([]);
    await find('', { n: '1' });
    expect(queries).toEqual(['arena {"n":"1"}']);
  });
});
