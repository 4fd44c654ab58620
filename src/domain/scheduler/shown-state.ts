import { desiredRooms } from '../autoscaling/desired-rooms';
import type { FleetCounts } from '../room/room';
import { nextStartAtMs, type EarlyEnds } from '../room/start-back-off';
import type { Scheduler, SchedulerState } from './scheduler';

/** Whether its state could be another than the stored one; only then the early ends need to be known. */
export function mayShowAnotherState(
  { state }: Pick<Scheduler, 'state'>,
  { rooms }: Pick<FleetCounts, 'rooms'>,
): boolean {
  return state === 'in-sync' && rooms.ready + rooms.occupied + rooms.active + rooms.allocated === 0;
}

/**
 * The state that clients are shown: as it is stored, but `on-error` for a scheduler none of whose rooms is up, because rooms keep
 * failing or cannot be created, and their starts are slowed for it. v10 has the word and never uses it; its `in-sync` would say
 * that all is well. It is `in-sync` again with the first room that is up.
 */
export function shownState(scheduler: Scheduler, counts: FleetCounts, earlyEnds: EarlyEnds): SchedulerState {
  if (!mayShowAnotherState(scheduler, counts)) return scheduler.state;
  const { desired } = desiredRooms(scheduler.definition, counts);
  return desired > 0 && nextStartAtMs(earlyEnds, desired) !== null ? 'on-error' : scheduler.state;
}
