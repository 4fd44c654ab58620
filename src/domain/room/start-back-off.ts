/** A room that fails, or ends without having said so, at this age or younger, or before it ever was up, has ended early. Milliseconds. */
export const earlyEndAgeMs = 60_000;
/** How long an early end is held against the scheduler. Milliseconds. */
export const earlyEndWindowMs = 600_000;

/** Early ends of a scheduler's rooms within the window. */
export interface EarlyEnds {
  count: number;
  /** Null when there was none. */
  lastAtMs: number | null;
  /** What the runtime said of the last one (`exited with code 1`); empty when it said nothing, or there was none. */
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
