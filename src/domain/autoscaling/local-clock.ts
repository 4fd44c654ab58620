import { RecentlyUsed } from '../recently-used';

const hourMs = 3_600_000;
export const dayMs = 24 * hourMs;

/**
 * What the clocks of a time zone show. Local times are written as the milliseconds that they would be in UTC, so that days and
 * times of day can be computed with.
 */
export interface LocalClock {
  /** The midnight, as a local time, of the day on which this instant is. */
  dayOf(instantMs: number): number;
  /**
   * When the clocks show these local times of one day, which begins at `midnightMs`; rising, and each instant once. Where clocks
   * are changed, `everyHour` decides: either what they show counts (a time that is skipped never comes, a repeated one comes
   * twice), or each time comes once: a skipped one as long after the change as it is after the time at which the change is (02:30
   * of a clock that jumps from 02:00 to 03:00 is 03:30), and a repeated one the first time (RFC 5545, and the proposal Temporal).
   */
  instantsOf(midnightMs: number, localTimesMs: readonly number[], everyHour: boolean): number[];
}

/** Formatters are large (tens of KiB each), and nobody plays in more zones than this at once. */
const clocks = new RecentlyUsed<LocalClock>(64);

/**
 * The clock of an IANA time zone, as this machine's time zone data (Node's ICU) knows it.
 *
 * @throws RangeError where it does not.
 */
export function localClock(timezone: string): LocalClock {
  return clocks.get(timezone, () => openClock(timezone));
}

function openClock(timezone: string): LocalClock {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: timezone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });

  function offsetMs(instantMs: number): number {
    const shown: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {};
    for (const { type, value } of format.formatToParts(instantMs)) shown[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = shown;
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(instantMs / 1000) * 1000;
  }

  /** Asked for the same days by all windows of the zone, and a formatter takes ten microseconds and more. */
  const offsets = new RecentlyUsed<number>(500);
  const offsetAtMidnight = (utcMidnightMs: number): number =>
    offsets.get(String(utcMidnightMs), () => offsetMs(utcMidnightMs));

  /** The first whole second in (fromMs, toMs] at which the offset is not the one at `fromMs`. */
  function changeBetween(fromMs: number, toMs: number, before: number): number {
    let [low, high] = [fromMs, toMs];
    while (high - low > 1000) {
      const middle = Math.floor((low + high) / 2000) * 1000;
      if (offsetMs(middle) === before) low = middle;
      else high = middle;
    }
    return high;
  }

  return {
    dayOf: (instantMs) => Math.floor((instantMs + offsetMs(instantMs)) / dayMs) * dayMs,

    instantsOf(midnightMs, localTimesMs, everyHour) {
      // No zone is more than 14 hours from UTC, and none changes its clocks twice within three days.
      const before = offsetAtMidnight(midnightMs - dayMs);
      const after = offsetAtMidnight(midnightMs + 2 * dayMs);
      if (before === after) return localTimesMs.map((localMs) => localMs - before);

      const changeMs = changeBetween(midnightMs - dayMs, midnightMs + 2 * dayMs, before);
      const instants = new Set<number>();
      for (const localMs of localTimesMs) {
        const shownBefore = localMs - before < changeMs;
        const shownAfter = localMs - after >= changeMs;
        if (shownBefore || (!shownAfter && !everyHour)) instants.add(localMs - before);
        if (shownAfter && (everyHour || !shownBefore)) instants.add(localMs - after);
      }
      return [...instants].sort((a, b) => a - b);
    },
  };
}
