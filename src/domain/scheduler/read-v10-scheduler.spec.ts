import { enumerate, readV10Scheduler, type V10SchedulerRow, type V10VersionRow } from './read-v10-scheduler';
import { toV10Entity } from './scheduler-entity';
import { aContainer, aDefinition, type Changes } from './scheduler.fixture';

const at = (day: number) => new Date(Date.UTC(2024, 0, day));

const entityOf = (changes: Changes = {}): object => {
  const facts = { name: '', state: 'in-sync', version: '', rollbackVersion: '', createdAt: null } as const;
  return toV10Entity({ ...facts, lastDownscaleAt: at(9), definition: aDefinition(changes) });
};

const aVersion = (version: string, changes: Changes = {}, day = 1): V10VersionRow => ({
  version,
  document: { entity: entityOf(changes) },
  rollbackVersion: '',
  createdAt: at(day),
});

const aRow = (changes: Partial<V10SchedulerRow> = {}): V10SchedulerRow => ({
  name: 'fleet',
  game: 'chess',
  state: 'in-sync',
  version: 'v1.1.0',
  document: { entity: entityOf() },
  createdAt: at(1),
  versions: [aVersion('v1.0.0'), aVersion('v1.1.0', {}, 2)],
  ...changes,
});

const read = (row: V10SchedulerRow) => {
  const reading = readV10Scheduler(row);
  if ('refusal' in reading) throw new Error(reading.refusal);
  return reading;
};

describe('readV10Scheduler', () => {
  test("takes a scheduler with its versions; name and game are the columns', whatever the documents say", () => {
    const { history, remarks } = read(aRow({ game: 'go' }));
    expect(history).toEqual({
      name: 'fleet',
      version: 'v1.1.0',
      createdAt: at(1),
      lastDownscaleAt: at(9),
      versions: [
        { version: 'v1.0.0', definition: aDefinition({ game: 'go' }), rollbackVersion: '', createdAt: at(1) },
        { version: 'v1.1.0', definition: aDefinition({ game: 'go' }), rollbackVersion: '', createdAt: at(2) },
      ],
    });
    expect(remarks).toEqual([]);
  });

  test('lets the active row decide what its version says, and leaves the other versions alone', () => {
    const active = { roomsReplicas: 9 };
    const { history, remarks } = read(aRow({ document: { entity: entityOf(active) } }));
    expect(history.versions.map(({ definition }) => definition)).toEqual([aDefinition(), aDefinition(active)]);
    expect(remarks).toEqual([
      expect.stringMatching(/^runs something else than v10 keeps as v1\.1\.0: roomsReplicas; /),
    ]);
  });

  test.each<[string, Partial<V10SchedulerRow>, RegExp[]]>([
    ['a state that is left behind', { state: 'creating' }, [/^is "creating" in v10/]],
    [
      'an active version that is no number',
      { version: 'latest' },
      [/which is no number/, /^lacks a row for .* latest/],
    ],
    [
      'rules that the active definition breaks, and versions that break some',
      {
        document: { entity: entityOf({ maxSurge: '-5%', roomsReplicas: -1 }) },
        versions: [
          aVersion('v1.0.0', { game: '', maxSurge: '' }),
          aVersion('v1.1.0', { maxSurge: '-5%', roomsReplicas: -1 }),
        ],
      },
      [/Scheduler\.RoomsReplicas/, /Scheduler\.MaxSurge/, /^keeps versions that would be refused here: v1\.0\.0$/],
    ],
    [
      'fields that are not known, once for all versions',
      {
        versions: ['v1.0.0', 'v1.1.0'].map((name) => ({
          ...aVersion(name),
          document: { entity: { ...entityOf(), New: 1 } },
        })),
      },
      [/left out: New$/],
    ],
  ])('keeps and remarks on %s', (_, changes, remarks) => {
    expect(read(aRow(changes)).remarks).toEqual(remarks.map((remark): unknown => expect.stringMatching(remark)));
  });

  test.each<[string, Partial<V10SchedulerRow>, string]>([
    ['a deletion under way', { state: 'terminating' }, 'v10 is deleting it'],
    ['no active version', { version: '' }, 'it has no active version'],
    ['an unreadable document', { document: { unreadable: 'is no YAML' } }, 'its active definition is no YAML'],
    [
      'one unreadable version of many',
      { versions: [aVersion('v1.1.0'), { ...aVersion('v0.1.0'), document: { entity: { Containers: 5 } } }] },
      'version v0.1.0 cannot be read: Containers of this v10 scheduler must be a list',
    ],
    [
      'a NUL character deep inside',
      { document: { entity: { Labels: { 'a\0': '' } } } },
      'its active definition holds a NUL character, which the database cannot keep',
    ],
    [
      'a name that can be no namespace',
      { name: 'My_Fleet' },
      'Scheduler.Name: Name must follow the public RFC 1123 about naming conventions',
    ],
  ])('refuses as a whole %s', (_, changes, refusal) => {
    expect(readV10Scheduler(aRow(changes))).toEqual({ refusal });
  });

  test('tells what rooms must be made anew for from what not', () => {
    const document = {
      entity: entityOf({ roomsReplicas: 9, spec: { containers: [aContainer({ image: 'game:2' })] } }),
    };
    expect(read(aRow({ document })).remarks[0]).toContain('roomsReplicas, spec.containers[0].image (major);');
  });
});

test('enumerate shows the first of many, and how many more there are', () => {
  expect(enumerate([])).toBe('');
  expect(enumerate(['a', 'b'])).toBe('a, b');
  expect(enumerate([...'abcdefgh'])).toBe('a, b, c, d, e, f, g, h');
  expect(enumerate([...'abcdefghij'])).toBe('a, b, c, d, e, f, g, h and 2 more');
});
