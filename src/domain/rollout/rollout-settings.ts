import type { SchedulerDefinition } from '../scheduler/scheduler';

/** When a rollout whose rooms fail is rolled back. */
export interface RolloutSettings {
  automaticRollback: boolean;
  /** Share of the new rooms, 0 < x <= 1. */
  failureShare: number;
  failureWindowMs: number;
}

/** What holds where a scheduler says nothing; `docs/scheduler-extensions.md` promises it. */
export const rolloutDefaults = { automaticRollback: true, failureShare: 0.5, failureWindowSeconds: 600 } as const;

/** What a scheduler states of its rollouts (`SchedulerExtensions.rollout`), and the defaults for the rest. */
export function rolloutSettingsOf({ extensions }: Pick<SchedulerDefinition, 'extensions'>): RolloutSettings {
  const { automaticRollback, failureShare, failureWindowSeconds } = { ...rolloutDefaults, ...extensions?.rollout };
  return { automaticRollback, failureShare, failureWindowMs: failureWindowSeconds * 1000 };
}

/** Rooms that never come up fail one round after the other, and a rollout with a surge of one makes one a round. */
const roundsWithinWindow = 4;

/** How far back failures count: at least as far as it takes to see enough of them where rooms do not come up. Milliseconds. */
export function failureWindowOf(
  { failureWindowMs }: Pick<RolloutSettings, 'failureWindowMs'>,
  { initializationTimeoutMs }: { initializationTimeoutMs: number },
): number {
  return Math.max(failureWindowMs, roundsWithinWindow * initializationTimeoutMs);
}
