import { RecordedLog } from '../../../test/support/recorded-log';
import { aDefinition, withContainer } from '../../domain/scheduler/scheduler.fixture';
import type { Scheduler, SchedulerDefinition } from '../../domain/scheduler/scheduler';
import type { SchedulerStore } from '../../ports/scheduler-store';
import { VersionDifferences } from './version-differences';

const [first, second] = [
  aDefinition(withContainer({ image: 'game:1' })),
  aDefinition(withContainer({ image: 'game:2' })),
];
const minor = aDefinition({ ...withContainer({ image: 'game:2' }), maxSurge: '7' });

describe('versions beside the active one', () => {
  let stored: Map<string, Scheduler>;
  let reads: string[];
  let log: RecordedLog;
  let versions: VersionDifferences;

  const store = (version: string, definition: SchedulerDefinition, rollbackVersion = ''): Scheduler => {
    const scheduler: Scheduler = {
      name: 'arena',
      state: 'in-sync',
      version,
      rollbackVersion,
      createdAt: new Date(0),
      versionCreatedAt: new Date(0),
      lastDownscaleAt: null,
      definition,
    };
    stored.set(version, scheduler);
    return scheduler;
  };

  beforeEach(() => {
    [stored, reads, log] = [new Map(), [], new RecordedLog()];
    const schedulers = {
      getScheduler: async (_: string, version: string) => {
        reads.push(version);
        return stored.get(version) ?? null;
      },
    } as unknown as SchedulerStore;
    versions = new VersionDifferences(schedulers, log);
  });

  it('are replaced when they differ in what a room is started with', async () => {
    store('v1.0.0', first);
    store('v2.0.0', second, 'v1.0.0');
    const active = store('v2.1.0', minor, 'v2.0.0');
    const found = await versions.findReplaced(active, ['v1.0.0', 'v2.0.0', 'v2.1.0', 'v1.0.0']);
    expect(found).toEqual(new Set(['v1.0.0']));
  });

  it('are read once each, for each active version', async () => {
    store('v1.0.0', first);
    const active = store('v2.0.0', second);
    for (let looks = 0; looks < 3; looks++) await versions.findReplaced(active, ['v1.0.0', 'v2.0.0']);
    expect(reads).toEqual(['v1.0.0']);
    await versions.findReplaced({ ...active, version: 'v3.0.0' }, ['v1.0.0']);
    await versions.findReplaced({ ...active, createdAt: new Date(1) }, ['v1.0.0']);
    expect(reads).toEqual(['v1.0.0', 'v1.0.0', 'v1.0.0']);
  });

  it('that nobody knows are left alone, and asked for again', async () => {
    const active = store('v2.0.0', second);
    expect(await versions.findReplaced(active, ['v9.0.0'])).toEqual(new Set());
    store('v9.0.0', first);
    expect(await versions.findReplaced(active, ['v9.0.0'])).toEqual(new Set(['v9.0.0']));
  });

  it('that cannot be read are left alone, and told once', async () => {
    const active = store('v2.0.0', second);
    store('v1.0.0', {} as SchedulerDefinition);
    for (let looks = 0; looks < 3; looks++) {
      expect(await versions.findReplaced(active, ['v1.0.0'])).toEqual(new Set());
    }
    expect(log.lines.map(({ level, fields }) => [level, fields['version']])).toEqual([['warn', 'v1.0.0']]);
  });

  it.each<[string, () => Scheduler, string]>([
    ['the one before', () => store('v2.0.0', second, 'v1.0.0'), 'v1.0.0'],
    [
      'past those that differ in minor fields',
      () => {
        store('v2.0.0', second, 'v1.0.0');
        return store('v2.1.0', minor, 'v2.0.0');
      },
      'v1.0.0',
    ],
    ['none for the first', () => store('v1.0.0', first), ''],
    ['none where it is not known', () => store('v2.0.0', second, 'v0.0.1'), ''],
    ['none where all are alike', () => store('v1.1.0', { ...first, maxSurge: '3' }, 'v1.0.0'), ''],
    [
      'none where they go in a circle',
      () => {
        store('v2.0.0', second, 'v2.1.0');
        return store('v2.1.0', minor, 'v2.0.0');
      },
      '',
    ],
  ])('are gone back to: %s', async (_, arrange, expected) => {
    store('v1.0.0', first);
    expect(await versions.findRollbackVersion(arrange(), '')).toBe(expected);
  });

  it('are gone back to: the one that was active before the switch, whichever was when it was made', async () => {
    store('v1.0.0', first);
    const third = aDefinition(withContainer({ image: 'game:3' }));
    store('v3.0.0', third, 'v2.0.0');
    store('v3.1.0', { ...third, maxSurge: '7' }, 'v3.0.0');
    const active = store('v2.0.0', second, 'v1.0.0');
    expect(await versions.findRollbackVersion(active, 'v3.0.0')).toBe('v3.0.0');
    expect(await versions.findRollbackVersion(active, 'v2.0.0')).toBe('v1.0.0');
    const patched = store('v2.1.0', minor, 'v2.0.0');
    expect(await versions.findRollbackVersion(patched, 'v2.0.0')).toBe('v1.0.0');
  });
});
