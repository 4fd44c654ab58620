import { asClause, counted } from '../phrases';

/** A room that fails, or ends without having said so, at this age or younger, or before it ever was up, has ended early. Milliseconds. */
export const earlyEndAgeMs = 60_000;
/** How long an early end is held against those that start next, and remembered. Milliseconds. */
export const earlyEndWindowMs = 600_000;
/** How long a failure is remembered: the longest that a rollout looks back. Milliseconds. */
export const failuresKeptMs = 3_600_000;
/** So many failures of a scheduler are remembered, the newest: reading them must not make others wait, however much fails. */
export const mostFailures = 2_000;

/** Early ends of a scheduler's rooms within the window. */
export interface EarlyEnds {
  count: number;
  /** Those of them of which nothing ever ran: the runtime refused to make them, or nothing could be asked of it. */
  notCreated: number;
  /** Null when there was none. */
  lastAtMs: number | null;
  /** What the runtime said of the last one (`exited with code 1`); empty when it said nothing, or there was none. */
  lastReason: string;
  /**
   * Rooms that had their place before the last early end, and have failed or gone since: so many places are known to be there,
   * whatever keeps further rooms from being started.
   */
  lostSince: number;
}

/**
 * Rooms of one version that failed, within the time that a rollout looks back: whose instances failed, that ended without having
 * said so and without having been asked, and whatever else ended early. How old they were does not matter here: a version whose
 * rooms crash in their first match is no better than one whose rooms never come up. What is no fault of a version does not count:
 * rooms that somebody else ended, that were evicted, that lost their machine, or that were found gone and nobody knows why.
 */
export interface VersionFailures {
  /** At most `mostFailures`, of all versions together. */
  count: number;
  /** What the runtime said of the last one. */
  lastReason: string;
}

/** So many may end early without any delay: accidents, and people who try what happens. */
const freeEarlyEnds = 3;
const firstDelayMs = 2_000;
const longestDelayMs = 300_000;

/**
 * When the next rooms may be started after rooms that keep ending early (a wrong command, a crash at start); null when at
 * once. Each time as many as the fleet should have (at least three) have ended early, the delay doubles: from 2 s to 5 min.
 * Without it, rooms that die at start would be replaced as fast as the machine can start them.
 */
export function nextStartAtMs(
  { count, lastAtMs }: Pick<EarlyEnds, 'count' | 'lastAtMs'>,
  desired: number,
): number | null {
  const failedRounds = Math.ceil(count / Math.max(freeEarlyEnds, desired)) - 1;
  if (failedRounds <= 0 || lastAtMs === null) return null;
  return lastAtMs + Math.min(firstDelayMs * 2 ** (failedRounds - 1), longestDelayMs);
}

/**
 * How many rooms may be started whatever the delay: one for each that had its place when the last room ended early and has lost
 * it since, less those that were started since. The delay is for attempts beyond what is known to fit; a replacement that ends
 * early, too, is one of those, and nothing is owed any more.
 * @param createdAtMs of all rooms that there are.
 */
export function replacementsOwed(
  { lostSince, lastAtMs }: Pick<EarlyEnds, 'lostSince' | 'lastAtMs'>,
  createdAtMs: readonly number[],
): number {
  if (lastAtMs === null) return 0;
  return Math.max(0, lostSince - createdAtMs.filter((atMs) => atMs > lastAtMs).length);
}

/** `2 rooms could not be created, and 1 room failed or ended right after its start, the last one because: no image`. */
export function describeEarlyEnds({ count, notCreated, lastReason }: EarlyEnds): string {
  const failed = count - notCreated;
  const parts = [
    ...(notCreated > 0 ? [`${counted(notCreated, 'room')} could not be created`] : []),
    ...(failed > 0
      ? [`${counted(failed, 'room')} failed or ended right after ${failed === 1 ? 'its' : 'their'} start`]
      : []),
  ];
  return `${parts.join(', and ')}, the last one because: ${asClause(lastReason) || 'unknown'}`;
}
