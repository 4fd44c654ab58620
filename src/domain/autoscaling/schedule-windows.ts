import { RecentlyUsed } from '../recently-used';
import type { ScheduleWindow } from '../scheduler/scheduler';
import { dayMs, localClock, type LocalClock } from './local-clock';
import { includesDay, parseCronExpression, type CronExpression } from './parse-cron-expression';

/** When a window begins: the part of it that says so. */
export type WindowStart = Pick<ScheduleWindow, 'cron' | 'timezone'>;

/** Whether a window is open, and until when that stays so. */
export type WindowState =
  | {
      open: true;
      /** When it opened for the last time. */
      sinceMs: number;
      /** When that one ends; it stays open beyond, where it opens again before. */
      untilMs: number;
    }
  | {
      open: false;
      /** Null where it does not open within the years that a leap day needs. */
      opensAtMs: number | null;
    };

/** What is wrong with when a window opens, as the rest of a sentence that begins with `Cron`; null when nothing is. */
export function scheduleProblem({ cron, timezone }: WindowStart): string | null {
  try {
    localClock(timezone);
  } catch {
    return `must be read in a time zone that is known here, and ${timezone || 'none'} is not`;
  }
  const expression = parseCronExpression(cron);
  return 'problem' in expression ? expression.problem : null;
}

/**
 * Whether a window is open at `nowMs`: from the moment that its expression names, inclusive, for `durationSeconds` of real time,
 * whatever is done to the clocks meanwhile. An expression that names the hour 02:30 opens the window on the day on which clocks
 * jump over it (at 03:30), and once on the day on which they show it twice (`local-clock.ts`).
 *
 * Nobody sees what is remembered: starts follow from the expression and the time zone data alone, and asking costs as good as
 * nothing until the next start.
 *
 * An expression that validation would have refused never opens.
 */
export function windowState(window: ScheduleWindow, nowMs: number): WindowState {
  const { lastMs, nextMs } = startsAround(window, nowMs);
  if (lastMs !== null) {
    const untilMs = lastMs + window.durationSeconds * 1000;
    if (untilMs > nowMs) return { open: true, sinceMs: lastMs, untilMs };
  }
  return { open: false, opensAtMs: nextMs };
}

/** The starts next to each other between which an instant lies. */
interface Starts {
  /** They hold for instants from here, inclusive, to the next start. */
  fromMs: number;
  lastMs: number | null;
  nextMs: number | null;
}

interface RememberedSchedule {
  expression: CronExpression;
  /** What was asked last; asked again, it is mostly the same. */
  starts: Starts | null;
}

/** One or two KiB each, ten where an expression names every minute. */
const schedules = new RecentlyUsed<RememberedSchedule | null>(5_000);

function startsAround({ cron, timezone }: WindowStart, nowMs: number): Starts {
  const schedule = schedules.get(`${timezone}\n${cron}`, () => {
    if (scheduleProblem({ cron, timezone }) !== null) return null;
    const expression = parseCronExpression(cron);
    return 'problem' in expression ? null : { expression, starts: null };
  });
  if (schedule === null) return { fromMs: nowMs, lastMs: null, nextMs: null };
  const known = schedule.starts;
  if (known && known.fromMs <= nowMs && (known.nextMs === null || nowMs < known.nextMs)) return known;
  const clock = localClock(timezone);
  const asked = { nowMs, today: clock.dayOf(nowMs) };
  const lastMs = nearestStart(schedule.expression, clock, asked, 'last');
  const nextMs = nearestStart(schedule.expression, clock, asked, 'next');
  schedule.starts = { fromMs: lastMs ?? nowMs, lastMs, nextMs };
  return schedule.starts;
}

/** No window lasts longer than 31 days; what began before is over. */
const daysBack = 33;
/** From one 29th of February to the next it may be eight years, around a year like 2100. */
const daysAhead = 8 * 366;

/** The last start at or before `nowMs`, or the first one after it; null where there is none near enough. */
function nearestStart(
  expression: CronExpression,
  clock: LocalClock,
  { nowMs, today }: { nowMs: number; today: number },
  which: 'last' | 'next',
): number | null {
  const step = which === 'last' ? -dayMs : dayMs;
  const days = which === 'last' ? daysBack : daysAhead;
  let nearest: number | null = null;
  // Around midnight clocks may be set back into the day before, so that days overlap: look from one day off to one day beyond.
  for (let day = -1; day <= days; day += 1) {
    const midnightMs = today + day * step;
    const wasFound = nearest !== null;
    if (includesDay(expression, midnightMs)) {
      const localTimesMs = expression.timesOfDay.map((minutes) => midnightMs + minutes * 60_000);
      for (const startMs of clock.instantsOf(midnightMs, localTimesMs, expression.everyHour)) {
        if (which === 'last' && startMs <= nowMs) nearest = Math.max(startMs, nearest ?? startMs);
        if (which === 'next' && startMs > nowMs) nearest = Math.min(startMs, nearest ?? startMs);
      }
    }
    if (wasFound) return nearest;
  }
  return nearest;
}
