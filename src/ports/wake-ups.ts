/** What a worker is woken for. `operations`: the scheduler has work. `health`: look whether it needs any. */
export type WakeUpKind = 'operations' | 'health';

/**
 * A doorbell: says which scheduler to look at, never what to do. Rings may be lost (the sweep of the operations and the
 * periodic health check make up for it) or come twice; rings for the same scheduler that are not answered yet are merged.
 */
export abstract class WakeUps {
  /** Never throws and never waits long: a bell that cannot ring now is logged, and the sweep finds the work. */
  abstract ring(kind: WakeUpKind, scheduler: string, options?: { delayMs?: number }): Promise<void>;

  /** Makes the periodic health rings exactly those of `schedulers`, spread over the interval. Idempotent. */
  abstract schedulePeriodicHealth(schedulers: string[], intervalMs: number): Promise<void>;
}

/** Who answers the rings in a worker. */
export abstract class WakeUpAnswers {
  /** Resolves when there is nothing left to do now. Safe to call for one scheduler from many places at once. */
  abstract answer(kind: WakeUpKind, scheduler: string): Promise<void>;
}
