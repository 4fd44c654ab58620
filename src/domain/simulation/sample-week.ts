import type { LoadPoint } from './load-curve';
import { seededRandom } from './random-source';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** Monday, 1 June 2026, 0:00 UTC. */
const beginsAtMs = Date.UTC(2026, 5, 1);

/** An event of the game: Wednesday at 18:00, everybody comes within ten minutes and is gone three hours later. */
const event = { atMs: 2 * dayMs + 18 * hourMs, riseMs: 10 * minuteMs, fallMs: 3 * hourMs, matches: 160 };

/** How the day goes: 0 at its lowest (6:00), 1 at its highest (20:00). Evenings rise slowly, nights fall quickly. */
function shareOfDay(hour: number): number {
  const sinceLowest = (hour + 24 - 6) % 24;
  const share = sinceLowest <= 14 ? sinceLowest / 14 : (24 - sinceLowest) / 10;
  return (1 - Math.cos(Math.PI * share)) / 2;
}

/**
 * A week of a small game, a point every ten minutes: quiet mornings, busy evenings, a weekend that is half as busy again, and an
 * event on Wednesday. Made up, and always the same: `examples/backtest/sample-week.csv` is this.
 */
export function sampleWeek(): LoadPoint[] {
  const random = seededRandom(7);
  return Array.from({ length: 7 * 144 + 1 }, (_, index) => {
    const sinceMs = index * 10 * minuteMs;
    // A night belongs to the evening before it.
    const day = Math.floor((sinceMs - 6 * hourMs) / dayMs);
    const isWeekend = day === 5 || day === 6;
    const daily = 20 + 180 * shareOfDay((sinceMs % dayMs) / hourMs) * (isWeekend ? 1.5 : 1);
    const sinceEventMs = sinceMs - event.atMs;
    const rising = Math.min(1, Math.max(0, sinceEventMs / event.riseMs));
    const falling = Math.min(1, Math.max(0, 1 - (sinceEventMs - event.riseMs) / event.fallMs));
    const noise = 1 + 0.06 * (random() - 0.5);
    return {
      atMs: beginsAtMs + sinceMs,
      matches: Math.round(daily * noise + event.matches * rising * falling),
    };
  });
}
