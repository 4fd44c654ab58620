import { composeRoomStatus } from './compose-room-status';
import {
  instanceStatuses,
  pingStatuses,
  roomStatuses,
  type InstanceStatus,
  type PingStatus,
  type RoomStatus,
} from './room';

export const matchLoads = ['single', 'none', 'some', 'full'] as const;
/** How full a room is. `single`: it takes one match, and then its ping's word decides instead of the count. */
export type MatchLoad = (typeof matchLoads)[number];

export function matchLoad(runningMatches: number, maxMatches: number): MatchLoad {
  if (maxMatches <= 1) return 'single';
  if (runningMatches < 1) return 'none';
  return runningMatches < maxMatches ? 'some' : 'full';
}

/** Everything that decides which status a room takes next. */
export interface StatusFacts {
  current: RoomStatus;
  ping: PingStatus;
  instance: InstanceStatus;
  matches: MatchLoad;
  /** Whether a slot of it is given to a caller, and it has not reported that match yet. */
  hasOpenAllocation: boolean;
}

type Transitions = Readonly<Record<RoomStatus, RoomStatus | 'refused'>>;

/** The statuses that every living room can take, whatever it was. `pending` is not among them: it means "never was up". */
const wherePossible: Transitions = {
  pending: 'unready',
  unready: 'unready',
  ready: 'ready',
  occupied: 'occupied',
  terminating: 'terminating',
  error: 'error',
  terminated: 'terminated',
  active: 'active',
  allocated: 'allocated',
};

/**
 * Where a room gets (value) that is in one status (row) and by ping and instance should be in another (column).
 * v10's table (`rooms.md` 2.4) with its dead ends mended: nothing that a living room truthfully reports is refused.
 *
 * - A terminating room stays so until it is terminated; a late `ready` does not bring it back (v10's row e).
 * - A terminated room is the end; everything else is refused.
 * - A room may die at once, from any status (row a).
 * - A room that was up and whose instance is not ready is `unready`, hence not allocatable (row b).
 * - A room may start, or recover, with matches (rows c and d), and recover with the caller that it was given to.
 */
export const roomTransitions: Readonly<Record<RoomStatus, Transitions>> = {
  pending: { ...wherePossible, pending: 'pending' },
  unready: wherePossible,
  ready: wherePossible,
  occupied: wherePossible,
  terminating: {
    pending: 'terminating',
    unready: 'terminating',
    ready: 'terminating',
    occupied: 'terminating',
    terminating: 'terminating',
    error: 'terminating',
    terminated: 'terminated',
    active: 'terminating',
    allocated: 'terminating',
  },
  error: wherePossible,
  terminated: {
    pending: 'refused',
    unready: 'refused',
    ready: 'refused',
    occupied: 'refused',
    terminating: 'refused',
    error: 'refused',
    terminated: 'terminated',
    active: 'refused',
    allocated: 'refused',
  },
  active: wherePossible,
  allocated: wherePossible,
};

const statusesByLoad = { none: 'ready', some: 'active', full: 'occupied' } as const;

/** The status that ping, instance, matches and allocation ask for, whether or not the room can get there. */
function wantedStatus({ current, ping, instance, matches, hasOpenAllocation }: StatusFacts): RoomStatus {
  const composed = composeRoomStatus(ping, instance);
  if (matches !== 'single') {
    return composed === 'ready' || composed === 'occupied' ? statusesByLoad[matches] : composed;
  }
  const isNotUpNow = composed === 'pending' || composed === 'unready';
  const isGiven = composed === 'ready' || (current === 'allocated' && isNotUpNow);
  return hasOpenAllocation && isGiven ? 'allocated' : composed;
}

/**
 * The status that a room takes after a ping or news of its instance; `refused` when it is over and cannot take any
 * (the caller then keeps the status).
 *
 * A room for one match that says `ready` is `allocated` as long as it has an open allocation, also while its instance is not
 * ready for a moment, and is what ping and instance say once it has none. A room for several matches follows its running
 * matches, not its own word, and never is `allocated`: what is given of it is counted by slots.
 */
export function nextRoomStatus(facts: StatusFacts): RoomStatus | 'refused' {
  return roomTransitions[facts.current][wantedStatus(facts)];
}

/** Where `statusTable` holds the answer for these facts: a number from 0 to 1799. */
export function statusTableIndex({ current, ping, instance, matches, hasOpenAllocation }: StatusFacts): number {
  const row =
    (roomStatuses.indexOf(current) * pingStatuses.length + pingStatuses.indexOf(ping)) * instanceStatuses.length;
  return (
    ((row + instanceStatuses.indexOf(instance)) * matchLoads.length + matchLoads.indexOf(matches)) * 2 +
    Number(hasOpenAllocation)
  );
}

/**
 * `nextRoomStatus` as data, one character per combination: the digit of the status in `roomStatuses`, or `-` for refused.
 * Order, outermost first: current status (9), ping (5), instance (5), match load (4), without or with an open allocation (2).
 * The store's Lua scripts index this string, so that no rule is written twice (`architecture.md` 5).
 */
export function statusTable(): string {
  let table = '';
  for (const current of roomStatuses)
    for (const ping of pingStatuses)
      for (const instance of instanceStatuses)
        for (const matches of matchLoads)
          for (const hasOpenAllocation of [false, true]) {
            const next = nextRoomStatus({ current, ping, instance, matches, hasOpenAllocation });
            table += next === 'refused' ? '-' : roomStatuses.indexOf(next);
          }
  return table;
}
