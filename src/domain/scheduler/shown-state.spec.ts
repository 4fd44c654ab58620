import { emptyFleetCounts } from '../room/count-fleet';
import type { RoomStatus } from '../room/room';
import type { Scheduler, SchedulerState } from './scheduler';
import { shownState } from './shown-state';

describe('the state that clients are shown', () => {
  const shown = (
    changes: {
      state?: SchedulerState;
      replicas?: number;
      ends?: number;
      rooms?: Partial<Record<RoomStatus, number>>;
    } = {},
  ): SchedulerState => {
    const { state = 'in-sync', replicas = 3, ends = 7, rooms = {} } = changes;
    const definition = { roomsReplicas: replicas, matchAllocation: { maxMatches: 1 } };
    const counts = emptyFleetCounts();
    Object.assign(counts.rooms, rooms);
    const earlyEnds = { count: ends, notCreated: 0, lastAtMs: 0, lastReason: 'ErrImagePull', lostSince: 0 };
    return shownState({ state, definition } as Scheduler, counts, earlyEnds);
  };

  it.each<[string, Parameters<typeof shown>[0], SchedulerState]>([
    ['no room is up, and more failed than accidents explain', {}, 'on-error'],
    [
      'rooms wait, fail or go, and none is up',
      { rooms: { pending: 2, unready: 1, error: 4, terminating: 1 } },
      'on-error',
    ],
    ['one is ready', { rooms: { ready: 1, error: 4 } }, 'in-sync'],
    ['one has a match', { rooms: { occupied: 1 } }, 'in-sync'],
    ['one has a match and slots left', { rooms: { active: 1 } }, 'in-sync'],
    ['one was given out', { rooms: { allocated: 1 } }, 'in-sync'],
    ['no more failed than accidents explain', { ends: 3 }, 'in-sync'],
    ['it just has no rooms yet', { ends: 0 }, 'in-sync'],
    ['it wants no rooms', { replicas: 0 }, 'in-sync'],
    ['its version is being changed', { state: 'creating' }, 'creating'],
    ['it is being deleted', { state: 'terminating' }, 'terminating'],
  ])('when %s', (_when, changes, expected) => expect(shown(changes)).toBe(expected));
});
