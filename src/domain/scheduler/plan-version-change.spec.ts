import { aRoom } from '../room/room.fixture';
import type { DefinitionPatch } from './patch-definition';
import {
  planVersionChange,
  versionChangeBlocks,
  type VersionChangeFacts,
  type WantedVersion,
} from './plan-version-change';
import type { Scheduler } from './scheduler';
import { aContainer, aDefinition, anAutoscaling, fullExtensions, withContainer } from './scheduler.fixture';

const at = new Date('2026-05-01T10:00:00Z');

const aScheduler = (changes: Partial<Scheduler> = {}): Scheduler => ({
  name: 'arena',
  state: 'in-sync',
  version: 'v1.2.0',
  rollbackVersion: 'v1.1.0',
  createdAt: at,
  versionCreatedAt: at,
  lastDownscaleAt: null,
  definition: aDefinition(),
  ...changes,
});

type Changes = Parameters<typeof aRoom>[0];

const rooms = (amount: number, changes: Changes) => Array.from({ length: amount }, () => aRoom(changes));
const busy = { status: 'occupied', runningMatches: 1 } as const;

const plan = (changes: Partial<VersionChangeFacts> = {}) =>
  planVersionChange({
    scheduler: aScheduler(),
    versions: ['v2.0.0', 'v1.2.0', 'v1.1.0', 'v1.0.0'],
    wanted: { definition: aDefinition() },
    rooms: [],
    definitions: new Map([
      ['v1.2.0', aDefinition()],
      ['v1.1.0', aDefinition({ maxSurge: '20%' })],
      ['v1.0.0', aDefinition(withContainer({ image: 'game:0' }))],
    ]),
    openChange: null,
    ...changes,
  });

const patched = (patch: DefinitionPatch, changes: Partial<VersionChangeFacts> = {}) =>
  plan({ wanted: { patch }, ...changes });

describe('planVersionChange', () => {
  test.each<[string, WantedVersion, { bump: string; version: string; changes: string[]; actions: string[] }]>([
    [
      'a minor change needs no room',
      { definition: aDefinition({ maxSurge: '30%' }) },
      { bump: 'minor', version: 'v1.3.0', changes: ['maxSurge'], actions: ['store_version', 'switch_version'] },
    ],
    [
      'a major change starts a room first, and counts on from the highest major',
      { definition: aDefinition(withContainer({ image: 'game:2' })) },
      {
        bump: 'major',
        version: 'v3.0.0',
        changes: ['spec.containers[0].image'],
        actions: ['validate_room', 'store_version', 'switch_version'],
      },
    ],
    [
      'an equal definition makes a minor version all the same, as in v10',
      { definition: aDefinition() },
      { bump: 'none', version: 'v1.3.0', changes: [], actions: ['store_version', 'switch_version'] },
    ],
    [
      'another game is a minor change',
      { definition: aDefinition({ game: 'go' }) },
      { bump: 'minor', version: 'v1.3.0', changes: ['game'], actions: ['store_version', 'switch_version'] },
    ],
    [
      'a change of extensions is minor',
      { definition: aDefinition({ extensions: { drain: { deadlineSeconds: 60 } } }) },
      {
        bump: 'minor',
        version: 'v1.3.0',
        changes: ['extensions.drain.deadlineSeconds'],
        actions: ['store_version', 'switch_version'],
      },
    ],
    [
      'a patch is told by what differs after it',
      { patch: { maxSurge: '10%', roomsReplicas: 7 } },
      { bump: 'minor', version: 'v1.3.0', changes: ['roomsReplicas'], actions: ['store_version', 'switch_version'] },
    ],
    [
      'a patch of the containers is major',
      { patch: { spec: { containers: [{ image: 'game:2' }] } } },
      {
        bump: 'major',
        version: 'v3.0.0',
        changes: ['spec.containers[0].image'],
        actions: ['validate_room', 'store_version', 'switch_version'],
      },
    ],
    [
      'a patch that clears is told like any other',
      { patch: { clear: ['autoscaling'] } },
      { bump: 'minor', version: 'v1.3.0', changes: ['autoscaling'], actions: ['store_version', 'switch_version'] },
    ],
    [
      'an empty spec is a change without a difference, as in v10',
      { patch: { spec: {} } },
      { bump: 'none', version: 'v1.3.0', changes: [], actions: ['store_version', 'switch_version'] },
    ],
  ])('%s', (_, wanted, { actions, changes, ...expected }) => {
    const result = plan({ wanted });
    expect(result).toMatchObject({ problems: [], blockedBy: [], ...expected });
    expect(result.changes.map(({ path }) => path)).toEqual(changes);
    expect(result.steps.map(({ action }) => action)).toEqual(actions);
  });

  test.each<[string, WantedVersion, string[], string[]]>([
    [
      'an invalid definition',
      { definition: aDefinition({ maxSurge: '0%', roomsReplicas: -1 }) },
      [
        'Scheduler.RoomsReplicas: RoomsReplicas must be 0 or greater',
        "Scheduler.MaxSurge: MaxSurge must be a number greater than zero or a number greater than zero with suffix '%'",
      ],
      ['maxSurge', 'roomsReplicas'],
    ],
    [
      'a patch with an invalid result, in the wording of POST',
      { patch: { roomsReplicas: -1 } },
      ['Scheduler.RoomsReplicas: RoomsReplicas must be 0 or greater'],
      ['roomsReplicas'],
    ],
    ['an empty patch', { patch: { forwarders: [] } }, ['no change found to scheduler arena'], []],
    [
      'a path that cannot be cleared',
      { patch: { clear: ['spec.containers[4]'] } },
      ['cannot clear "spec.containers[4]"; N must be below 1, the number of containers in the active version'],
      [],
    ],
  ])('makes no version and takes no step for %s', (_, wanted, problems, changes) => {
    const result = plan({ wanted });
    expect(result).toMatchObject({ problems, version: '', steps: [] });
    expect(result.changes.map(({ path }) => path)).toEqual(changes);
  });

  test('says in sentences what each step does', () => {
    const wanted = { definition: aDefinition(withContainer({ image: 'game:2' })) };
    expect(plan({ wanted, rooms: rooms(1, { version: 'v1.2.0' }) }).steps).toEqual([
      {
        action: 'validate_room',
        detail: 'starts one room of v3.0.0 that is given no match, and goes on only if it becomes ready',
      },
      { action: 'store_version', detail: 'stores v3.0.0; v1.2.0 stays the active version' },
      { action: 'switch_version', detail: 'makes v3.0.0 the active version' },
      { action: 'replace_rooms', detail: 'replaces 1 room, with a surge of 10%' },
    ]);
    expect(plan().steps.at(-1)?.detail).toBe('makes v1.3.0 the active version');
  });

  describe('rooms that are replaced', () => {
    const major = { definition: aDefinition(withContainer({ image: 'game:2' })) };

    test.each<[string, Changes, WantedVersion, number]>([
      ['of the active version', { version: 'v1.2.0' }, major, 1],
      ['of one that differs from the active in minor fields', { version: 'v1.1.0' }, major, 1],
      [
        'of a version that is replaced already, and by a minor one',
        { version: 'v1.0.0' },
        { definition: aDefinition() },
        1,
      ],
      [
        'that drain already for another version',
        { version: 'v1.0.0', ...busy, drainingSinceMs: 1, drainReason: 'rollout' },
        major,
        1,
      ],
      ['with a match', { version: 'v1.2.0', ...busy }, major, 1],
      ['none by a minor version', { version: 'v1.2.0' }, { definition: aDefinition() }, 0],
      [
        'none that is as the wanted ones',
        { version: 'v1.0.0' },
        { definition: aDefinition(withContainer({ image: 'game:0' })) },
        0,
      ],
      ['none of a version that nobody knows', { version: 'v9.0.0' }, major, 0],
      [
        'none that goes for another reason',
        { version: 'v1.2.0', drainingSinceMs: 1, drainReason: 'operator' },
        major,
        0,
      ],
      ['none that is over', { version: 'v1.2.0', status: 'terminating' }, major, 0],
      ['none that failed', { version: 'v1.2.0', status: 'error' }, major, 0],
      ['none that tries a version', { version: 'v1.2.0', validation: true }, major, 0],
    ])('%s', (_, room, wanted, expected) => {
      const { roomsToReplace, steps } = plan({ wanted, rooms: [aRoom(room)] });
      expect(roomsToReplace).toBe(expected);
      expect(steps.filter(({ action }) => action === 'replace_rooms')).toHaveLength(expected);
    });

    test.each([
      [1, {}, 'replaces 3 rooms, with a surge of 10%; 1 of them has a match, and goes when it ends'],
      [2, {}, 'replaces 4 rooms, with a surge of 10%; 2 of them have a match, and go when it ends'],
      [
        2,
        { drain: { deadlineSeconds: 7200 } },
        'replaces 4 rooms, with a surge of 10%; 2 of them have a match, and go when it ends, or after 7200 s',
      ],
    ])('%i with a match: %j', (withMatch, extensions, detail) => {
      const wanted = { definition: aDefinition({ ...withContainer({ image: 'game:2' }), extensions }) };
      const standing = [...rooms(2, { version: 'v1.2.0' }), ...rooms(withMatch, { version: 'v1.2.0', ...busy })];
      expect(plan({ wanted, rooms: standing }).steps.at(-1)?.detail).toBe(detail);
    });

    test('none where no version would be made', () => {
      const wanted = { definition: aDefinition({ ...withContainer({ image: 'game:2' }), maxSurge: '' }) };
      expect(plan({ wanted, rooms: rooms(2, { version: 'v1.2.0' }) })).toMatchObject({ roomsToReplace: 0, steps: [] });
    });
  });

  test('counts the rooms of each status, and those with a match or a place held for one', () => {
    const standing = [
      ...rooms(10, { status: 'ready' }),
      ...rooms(3, busy),
      ...rooms(2, { status: 'active' }),
      ...rooms(1, { status: 'allocated' }),
      ...rooms(4, { status: 'pending' }),
      ...rooms(5, { status: 'terminating' }),
      ...rooms(1, { validation: true }),
    ];
    const { rooms: counts, roomsWithMatches } = plan({ rooms: standing });
    expect(counts).toMatchObject({ ready: 10, occupied: 3, active: 2, allocated: 1, pending: 4, terminating: 5 });
    expect(counts).toMatchObject({ error: 0, unready: 0, terminated: 0 });
    expect(roomsWithMatches).toBe(6);
  });

  test('is told in full also while something is in the way', () => {
    expect(
      patched({ maxSurge: '30%' }, { scheduler: aScheduler({ state: 'terminating' }), openChange: { id: 'op-1' } }),
    ).toMatchObject({
      version: 'v1.3.0',
      blockedBy: [
        { code: 'scheduler_terminating', detail: 'scheduler arena is being deleted' },
        {
          code: 'version_change_open',
          detail: 'there is already an ongoing version operation (id: op-1) for scheduler arena',
          operationId: 'op-1',
        },
      ],
    });
  });

  test('changes nothing that it is given', () => {
    const facts = {
      scheduler: aScheduler(),
      wanted: { patch: { spec: { containers: [{}, aContainer({ name: 'b' })] } } },
    };
    const before = structuredClone(facts);
    plan(facts);
    expect(facts).toEqual(before);
  });

  test('passes on what is no problem of the request', () => {
    expect(() => plan({ scheduler: aScheduler({ version: 'latest' }) })).toThrow(
      expect.objectContaining({ code: 'scheduler.invalid_version' }),
    );
  });
});

describe('planVersionChange of a scheduler with extensions', () => {
  const extensions = fullExtensions();
  const scheduler = aScheduler({ definition: aDefinition({ extensions }) });

  test('keeps them where a whole definition says nothing of them', () => {
    expect(plan({ scheduler }).changes).toEqual([]);
  });

  test('clears them where it says none', () => {
    const { changes } = plan({ scheduler, wanted: { definition: aDefinition({ extensions: {} }) } });
    expect(changes).toContainEqual({
      path: 'extensions.drain.deadlineSeconds',
      from: 7200,
      to: null,
      major: false,
    });
  });

  test('finds the parameters of a policy among those that are kept', () => {
    const autoscaling = anAutoscaling({ policy: { type: 'chain', parameters: {} } });
    const wanted = { definition: aDefinition({ autoscaling }) };
    expect(plan({ scheduler, wanted }).problems).toEqual([]);
    expect(plan({ wanted }).problems).toHaveLength(1);
  });
});

describe('versionChangeBlocks', () => {
  test.each([
    ['nothing in the way', { isTerminating: false, openChange: null }, []],
    ['a deletion', { isTerminating: true, openChange: null }, ['scheduler_terminating']],
    ['an open change', { isTerminating: false, openChange: { id: 'op-1' } }, ['version_change_open']],
    [
      'a deletion before an open change',
      { isTerminating: true, openChange: { id: 'op-1' } },
      ['scheduler_terminating', 'version_change_open'],
    ],
  ])('%s', (_, facts, codes) => {
    expect(versionChangeBlocks('arena', facts).map(({ code }) => code)).toEqual(codes);
  });
});
