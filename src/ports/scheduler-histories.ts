import type { KeptHistory, SchedulerHistory } from '../domain/scheduler/scheduler-history';

/** Schedulers as a whole, with every version: what an import compares and writes. The same rows as `SchedulerStore`'s. */
export abstract class SchedulerHistories {
  /** Null when there is none of this name. `lock` keeps everybody from changing it until the running unit of work ends. */
  abstract find(name: string, options?: { lock: boolean }): Promise<KeptHistory | null>;

  /**
   * Stores a scheduler that is not there yet, `in-sync`; it then counts as imported. Announced as `SchedulerStore.watchChanges`
   * promises. Fails when the name is taken.
   */
  abstract add(history: SchedulerHistory): Promise<void>;

  /**
   * Brings a scheduler and its versions to what `history` says; versions that it does not name stay. The later of the last
   * scale-downs stays. Announced, and counts as imported again.
   */
  abstract update(history: SchedulerHistory): Promise<void>;
}
