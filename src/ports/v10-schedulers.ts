import type { V10SchedulerRow } from '../domain/scheduler/read-v10-scheduler';

/** The schedulers of a Maestro v10 as they were at one moment, whatever it writes meanwhile. Nothing is ever written to it. */
export abstract class V10Schedulers {
  /**
   * In order of names, one at a time because a scheduler may have thousands of versions; only those with `names`, if given.
   * @throws DomainError `v10.unreadable` (unavailable) when the reading breaks off.
   */
  abstract read(names?: readonly string[]): AsyncIterable<V10SchedulerRow>;
}
