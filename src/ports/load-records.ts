/** How many matches a scheduler's players wanted at one moment. */
export interface SchedulerLoad {
  scheduler: string;
  matches: number;
}

/** Keeps how loads went, for those who replay them (`domain/simulation`). One implementation, and a test of it. */
export abstract class LoadRecords {
  /**
   * Adds a point to the curve of each scheduler. Called in the order of time, by one process at a time.
   * @throws what keeps it from being written; the points of other schedulers are written all the same.
   */
  abstract append(atMs: number, loads: readonly SchedulerLoad[]): Promise<void>;
}
