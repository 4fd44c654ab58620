import type { Scheduler, SchedulerDefinition, SchedulerState, SchedulerVersion } from '../domain/scheduler/scheduler';

/** Filters are exact and joined by AND; an absent one does not filter. */
export interface SchedulerFilter {
  name?: string;
  game?: string;
  version?: string;
}

/** What the ping path needs to know of a scheduler. */
export interface SchedulerSettings {
  name: string;
  game: string;
  maxMatches: number;
}

/** Schedulers and their versions. They must survive the loss of everything else. */
export abstract class SchedulerStore {
  /** Inserts the scheduler (state `creating`) and its first version. `exists` when the name is taken. */
  abstract createScheduler(name: string, definition: SchedulerDefinition): Promise<Scheduler | 'exists'>;

  /** The active version, or a named one (with the scheduler's state). Null when either is unknown. */
  abstract getScheduler(name: string, version?: string): Promise<Scheduler | null>;

  /** In order of names. */
  abstract listSchedulers(filter: SchedulerFilter): Promise<Scheduler[]>;

  abstract listSettings(): Promise<SchedulerSettings[]>;

  /** Newest first. Empty when the scheduler is unknown. */
  abstract listVersions(name: string): Promise<SchedulerVersion[]>;

  /** `terminating` is never left again. False when nothing changed: the scheduler is unknown, or being deleted. */
  abstract setState(name: string, state: SchedulerState): Promise<boolean>;

  /** Writes one column, so that no concurrent edit of the definition is lost. */
  abstract setLastDownscale(name: string, at: Date): Promise<void>;

  /** With all versions. Idempotent. */
  abstract deleteScheduler(name: string): Promise<void>;

  /**
   * Calls `onChange` with a scheduler's name soon after it was created, changed or deleted, by whichever process, and with
   * null when changes may have been missed (start, reconnect): read everything again then. Until `signal` aborts.
   */
  abstract watchChanges(onChange: (name: string | null) => void, signal: AbortSignal): Promise<void>;
}
