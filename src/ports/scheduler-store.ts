import type {
  Forwarder,
  Scheduler,
  SchedulerDefinition,
  SchedulerState,
  SchedulerVersion,
} from '../domain/scheduler/scheduler';

/** Filters are exact and joined by AND; an absent one does not filter. */
export interface SchedulerFilter {
  name?: string;
  game?: string;
  version?: string;
}

/** What the paths of pings and events need to know of a scheduler: it is kept in memory, so it stays small. */
export interface SchedulerSettings {
  name: string;
  game: string;
  maxMatches: number;
  activeVersion: string;
  /** Its autoscaling is enabled: how many rooms there should be depends on how many are in use. */
  isAutoscaled: boolean;
  forwarders: Forwarder[];
  /** Of the active version. */
  placement: { affinity: string; toleration: string };
  /** It is being deleted. */
  isTerminating: boolean;
}

/** What was decided about a scheduler's automation. */
export interface SchedulerAutomation {
  /** Null while it runs. */
  paused: PausedAutomation | null;
  /** An automatic rollback has brought the active version back. */
  isBroughtBack: boolean;
  /** For how long the active version has been that, milliseconds; null for the first one, and where nobody remembers. */
  activeForMs: number | null;
  /** The version that was active before; empty for the first one, and where nobody remembers. */
  activatedFrom: string;
}

export interface PausedAutomation {
  since: Date;
  by: string;
  /** Empty where none was given. */
  reason: string;
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

  /** The versions whose definition has all of these labels (all versions when there are none). Empty when the scheduler is unknown. */
  abstract findVersions(name: string, labels: Readonly<Record<string, string>>): Promise<string[]>;

  /** Newest first. Empty when the scheduler is unknown. */
  abstract listVersions(name: string): Promise<SchedulerVersion[]>;

  /**
   * Stores another version; the active one stays. To be called by who holds the scheduler's version change.
   * @throws DomainError `scheduler.version_exists` (already_exists).
   */
  abstract addVersion(
    name: string,
    version: { version: string; definition: SchedulerDefinition; rollbackVersion: string },
  ): Promise<void>;

  /**
   * Makes a version the active one, with everything it says, and the scheduler `in-sync` (unless it is `terminating`). An
   * empty version means the newest. `isRollback`: it is brought back because rooms of the one before failed, which is
   * remembered (`SchedulerAutomation.isBroughtBack`) until a version is activated for another reason. False when the scheduler
   * or the version is unknown.
   */
  abstract activateVersion(name: string, version: string, options?: { isRollback?: boolean }): Promise<boolean>;

  /** Null when the scheduler is unknown. */
  abstract readAutomation(name: string): Promise<SchedulerAutomation | null>;

  /** Paused once more, it is paused since the first time, by the last one and for the last reason. False when the scheduler is unknown. */
  abstract pauseAutomation(name: string, pause: Omit<PausedAutomation, 'since'>): Promise<boolean>;

  /** Idempotent. False when the scheduler is unknown. */
  abstract resumeAutomation(name: string): Promise<boolean>;

  /**
   * Until the running unit of work ends, no other one that calls this for the same scheduler goes on: for decisions that look
   * and then write, such as a deletion against a new version. Called first in the unit of work. Workers that run operations
   * take no part, so they never wait for it.
   */
  abstract decideAlone(name: string): Promise<void>;

  /**
   * The one way out of `terminating`: the deletion was canceled before it began. Without effect while another deletion is
   * open, or after one that began: what it took away would be missing.
   */
  abstract reopen(name: string): Promise<void>;

  /** But for `reopen`, `terminating` is never left again. False when nothing changed: the scheduler is unknown, or being deleted. */
  abstract setState(name: string, state: SchedulerState): Promise<boolean>;

  /** Writes one column, so that no concurrent edit of the definition is lost. */
  abstract setLastDownscale(name: string, at: Date): Promise<void>;

  /** With all versions. False when it is gone: another scheduler of the same name, created at another time, is left alone. */
  abstract deleteScheduler(scheduler: Pick<Scheduler, 'name' | 'createdAt'>): Promise<boolean>;

  /**
   * Calls `onChange` with a scheduler's name soon after it was created, changed or deleted, by whichever process, and with
   * null when changes may have been missed (start, reconnect): read everything again then. Until `signal` aborts.
   */
  abstract watchChanges(onChange: (name: string | null) => void, signal: AbortSignal): Promise<void>;
}
