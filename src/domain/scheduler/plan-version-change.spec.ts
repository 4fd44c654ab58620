import { roomStatuses, type RoomStatus } from '../room/room';
import type { DefinitionPatch } from './patch-definition';
import {
  planVersionChange,
  versionChangeBlocks,
  type VersionChangeFacts,
  type WantedVersion,
} from './plan-version-change';
import type { Scheduler } from './scheduler';
import { aContainer, aDefinition, withContainer } from './scheduler.fixture';

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

const counts = (some: Partial<Record<RoomStatus, number>> = {}): Record<RoomStatus, number> => ({
  ...(Object.fromEntries(roomStatuses.map((status) => [status, 0])) as Record<RoomStatus, number>),
  ...some,
});

const plan = (changes: Partial<VersionChangeFacts> = {}) =>
  planVersionChange({
    scheduler: aScheduler(),
    versions: ['v2.0.0', 'v1.2.0', 'v1.1.0', 'v1.0.0'],
    wanted: { definition: aDefinition() },
    rooms: counts(),
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
    expect(plan({ wanted: { definition: aDefinition(withContainer({ image: 'game:2' })) } }).steps).toEqual([
      {
        action: 'validate_room',
        detail: 'starts one room of v3.0.0 that is given no match, and goes on only if it becomes ready',
      },
      { action: 'store_version', detail: 'stores v3.0.0; v1.2.0 stays the active version' },
      {
        action: 'switch_version',
        detail:
          'makes v3.0.0 the active version; rooms that start from then on are of it, those that run play on until they end',
      },
    ]);
    expect(plan().steps.at(-1)?.detail).toBe('makes v1.3.0 the active version; rooms stay as they are');
  });

  test('counts the rooms of each status, and those with a match or a place held for one', () => {
    const rooms = counts({ ready: 10, occupied: 3, active: 2, allocated: 1, pending: 4, terminating: 5 });
    expect(plan({ rooms })).toMatchObject({ rooms, roomsWithMatches: 6 });
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
