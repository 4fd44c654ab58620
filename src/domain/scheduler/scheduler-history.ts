import type { SchedulerDefinition, SchedulerState } from './scheduler';

export interface VersionRecord {
  version: string;
  definition: SchedulerDefinition;
  /** Empty for the first. */
  rollbackVersion: string;
  createdAt: Date;
}

/** A scheduler with every version that it ever had; the active definition is that of the active version. */
export interface SchedulerHistory {
  name: string;
  /** The active version; it is one of `versions`. */
  version: string;
  createdAt: Date;
  lastDownscaleAt: Date | null;
  /** Oldest first. */
  versions: readonly VersionRecord[];
}

/** A history as it is kept here. */
export interface KeptHistory extends SchedulerHistory {
  state: SchedulerState;
  /** Whether nothing but an import wrote it: no operation changed its state, nobody made another version active. */
  isAsImported: boolean;
}
