import fc from 'fast-check';
import type { ScheduleWindow } from '../scheduler/scheduler';
import { includesDay, parseCronExpression } from './parse-cron-expression';
import { scheduleProblem, windowState } from './schedule-windows';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

function window(cron: string, timezone: string, durationSeconds = 3600): ScheduleWindow {
  return { cron, timezone, durationSeconds, min: 1, buffer: 0 };
}

const at = (text: string) => Date.parse(text);

/** When it opens within a span, found by asking again and again. */
function openings(asked: ScheduleWindow, from: string, to: string): string[] {
  const found: string[] = [];
  for (let nowMs = at(from); ;) {
    const state = windowState({ ...asked, durationSeconds: 1 }, nowMs);
    const nextMs = state.open ? state.untilMs : state.opensAtMs;
    if (state.open) found.push(new Date(state.sinceMs).toISOString().slice(0, 16));
    if (nextMs === null || nextMs > at(to)) return found;
    nowMs = nextMs;
  }
}

describe('windowState', () => {
  const friday = window('0 18 * * 5', 'Europe/Berlin', 4 * 3600);

  test.each([
    ['before it', '2026-11-27T16:59:59.999Z', { open: false, opensAtMs: at('2026-11-27T17:00:00Z') }],
    [
      'at its start',
      '2026-11-27T17:00:00Z',
      { open: true, sinceMs: at('2026-11-27T17:00:00Z'), untilMs: at('2026-11-27T21:00:00Z') },
    ],
    [
      'at its last millisecond',
      '2026-11-27T20:59:59.999Z',
      { open: true, sinceMs: at('2026-11-27T17:00:00Z'), untilMs: at('2026-11-27T21:00:00Z') },
    ],
    ['at its end', '2026-11-27T21:00:00Z', { open: false, opensAtMs: at('2026-12-04T17:00:00Z') }],
    ['in summer, an hour earlier', '2026-07-01T00:00:00Z', { open: false, opensAtMs: at('2026-07-03T16:00:00Z') }],
  ])('a window of four hours on Fridays: %s', (_, now, expected) => {
    expect(windowState(friday, at(now))).toEqual(expected);
  });

  test('stays open while it opens again before it ends', () => {
    const hourly = window('0 * * * *', 'UTC', 2 * 3600);
    expect(windowState(hourly, at('2026-05-01T10:30:00Z'))).toEqual({
      open: true,
      sinceMs: at('2026-05-01T10:00:00Z'),
      untilMs: at('2026-05-01T12:00:00Z'),
    });
  });

  test('may last a month', () => {
    const december = window('0 0 1 12 *', 'UTC', 31 * 86_400);
    expect(windowState(december, at('2026-12-31T23:59:59Z'))).toMatchObject({ open: true });
    expect(windowState(december, at('2027-01-01T00:00:00Z'))).toEqual({
      open: false,
      opensAtMs: at('2027-12-01T00:00:00Z'),
    });
  });

  test('finds the 29th of February, also over the eight years around 2100', () => {
    const leapDay = window('0 12 29 2 *', 'UTC');
    expect(windowState(leapDay, at('2026-11-27T00:00:00Z'))).toEqual({
      open: false,
      opensAtMs: at('2028-02-29T12:00:00Z'),
    });
    expect(windowState(leapDay, at('2096-03-01T00:00:00Z'))).toEqual({
      open: false,
      opensAtMs: at('2104-02-29T12:00:00Z'),
    });
  });

  test.each([
    ['an expression that cannot be read', window('0 25 * * *', 'UTC')],
    ['a time zone that is not known', window('0 5 * * *', 'Mars/Base')],
  ])('never opens with %s', (_, unreadable) => {
    expect(windowState(unreadable, at('2026-11-27T05:00:00Z'))).toEqual({ open: false, opensAtMs: null });
  });

  test('answers the same whatever was asked before', () => {
    const times = ['2026-12-04T17:30:00Z', '2026-11-27T17:30:00Z', '2026-12-04T17:30:00Z', '2026-11-27T16:00:00Z'];
    const sinces = times.map((time) => windowState(friday, at(time)));
    expect(sinces.map((state) => (state.open ? state.sinceMs : state.opensAtMs))).toEqual([
      at('2026-12-04T17:00:00Z'),
      at('2026-11-27T17:00:00Z'),
      at('2026-12-04T17:00:00Z'),
      at('2026-11-27T17:00:00Z'),
    ]);
  });
});

describe('where clocks are changed, a window', () => {
  test.each([
    [
      'at 02:30 opens at 03:30 on the day without a 02:30',
      window('30 2 * * *', 'Europe/Berlin'),
      ['2026-03-28T12:00Z', '2026-03-30T12:00Z'],
      ['2026-03-29T01:30', '2026-03-30T00:30'],
    ],
    [
      'at 02:30 opens once on the day with two of them, the first time',
      window('30 2 * * *', 'Europe/Berlin'),
      ['2026-10-24T12:00Z', '2026-10-26T12:00Z'],
      ['2026-10-25T00:30', '2026-10-26T01:30'],
    ],
    [
      'at midnight opens at 01:00 on the day that begins then',
      window('0 0 * * *', 'America/Havana'),
      ['2026-03-07T12:00Z', '2026-03-09T12:00Z'],
      ['2026-03-08T05:00', '2026-03-09T04:00'],
    ],
    [
      'at 23:45 opens once on the day whose last hour is repeated',
      window('45 23 * * *', 'Africa/Cairo'),
      ['2026-10-29T00:00Z', '2026-10-31T00:00Z'],
      ['2026-10-29T20:45', '2026-10-30T21:45'],
    ],
    [
      'at 02:15 opens half an hour later where clocks jump by half an hour',
      window('15 2 * * *', 'Australia/Lord_Howe'),
      ['2026-10-03T00:00Z', '2026-10-04T20:00Z'],
      ['2026-10-03T15:45', '2026-10-04T15:15'],
    ],
    [
      'of every hour opens each time that the clock shows its minute',
      window('30 * * * *', 'Europe/Berlin'),
      ['2026-10-24T23:45Z', '2026-10-25T03:00Z'],
      ['2026-10-25T00:30', '2026-10-25T01:30', '2026-10-25T02:30'],
    ],
    [
      'of every hour does not open at a time that never comes',
      window('30 * * * *', 'Europe/Berlin'),
      ['2026-03-28T23:45Z', '2026-03-29T03:00Z'],
      ['2026-03-29T00:30', '2026-03-29T01:30', '2026-03-29T02:30'],
    ],
    [
      'in a day that never came, opens on the next one',
      window('0 12 30 12 *', 'Pacific/Apia'),
      ['2011-12-29T00:00Z', '2012-01-02T00:00Z'],
      ['2011-12-30T22:00'],
    ],
    [
      'of every hour opens as the clock says also where it is set back into the day before',
      window('0,15 * * * *', 'America/St_Johns'),
      ['2010-11-07T02:00Z', '2010-11-07T04:00Z'],
      ['2010-11-07T02:30', '2010-11-07T02:45', '2010-11-07T03:30', '2010-11-07T03:45'],
    ],
  ])('%s', (_, asked, [from, to], expected) => {
    expect(openings(asked, from ?? '', to ?? '')).toEqual(expected);
  });

  test.each([
    // At 00:01 of the 7th (02:31 UTC) this clock was set back to 23:01 of the 6th.
    ['that began on a day that comes again', '0 0 * * *', '2010-11-07T03:00Z', '2010-11-07T02:30Z'],
    ['that began after the day before came again', '0,15 * * * *', '2010-11-07T02:50Z', '2010-11-07T02:45Z'],
  ])('%s is open', (_, cron, now, since) => {
    const state = windowState(window(cron, 'America/St_Johns'), at(now));
    expect(state).toEqual({ open: true, sinceMs: at(since), untilMs: at(since) + hourMs });
  });

  test.each([
    ['short', '2026-03-28T21:00:00Z'],
    ['long', '2026-10-24T20:00:00Z'],
  ])('spans the %s night with its duration in seconds', (_, opens) => {
    const night = window('0 22 * * 6', 'Europe/Berlin', 8 * 3600);
    const untilMs = at(opens) + 8 * hourMs;
    expect(windowState(night, at(opens))).toEqual({ open: true, sinceMs: at(opens), untilMs });
    expect(windowState(night, untilMs - 1)).toMatchObject({ open: true });
    expect(windowState(night, untilMs)).toMatchObject({ open: false });
  });
});

/** What a clock shows in every minute of some days, as it would be in UTC. */
function shownByMinute(timezone: string, fromMs: number, days: number): number[] {
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone: timezone, dateStyle: 'short', timeStyle: 'medium' });
  const shownAt = (instantMs: number) => Date.parse(`${format.format(instantMs).replace(' ', 'T')}Z`);
  const quarterMs = 15 * minuteMs;
  return Array.from({ length: days * 24 * 4 }, (_, quarter) => fromMs + quarter * quarterMs).flatMap((instantMs) => {
    const shown = shownAt(instantMs);
    // Formatting takes long: where a quarter of an hour passes as usual, its minutes do too.
    const isUsual = shownAt(instantMs + quarterMs) - shown === quarterMs;
    return Array.from({ length: 15 }, (_, minute) =>
      isUsual ? shown + minute * minuteMs : shownAt(instantMs + minute * minuteMs),
    );
  });
}

/** Every start, found by watching the clock minute by minute. */
function startsByWatching(cron: string, shown: readonly number[], fromMs: number): number[] {
  const expression = parseCronExpression(cron);
  if ('problem' in expression) throw new Error(expression.problem);
  const times = new Set(expression.timesOfDay);
  const names = (localMs: number) =>
    times.has((localMs % dayMs) / minuteMs) && includesDay(expression, Math.floor(localMs / dayMs) * dayMs);
  const seen = new Set<number>();
  const starts = new Set<number>();
  shown.forEach((localMs, minute) => {
    const nowMs = fromMs + minute * minuteMs;
    const beforeMs = shown[minute - 1];
    if (!expression.everyHour && beforeMs !== undefined) {
      for (let skippedMs = beforeMs + minuteMs; skippedMs < localMs; skippedMs += minuteMs) {
        if (names(skippedMs)) starts.add(nowMs + (skippedMs - beforeMs - minuteMs));
      }
    }
    if (names(localMs) && (expression.everyHour || !seen.has(localMs))) starts.add(nowMs);
    seen.add(localMs);
  });
  return [...starts].sort((a, b) => a - b);
}

describe('windowState, beside a clock that is watched minute by minute', () => {
  const changes: [string, string][] = [
    ['Europe/Berlin', '2026-03-29'],
    ['Europe/Berlin', '2026-10-25'],
    ['America/New_York', '2026-11-01'],
    ['America/Havana', '2026-03-08'],
    ['America/Havana', '2026-11-01'],
    ['Asia/Beirut', '2026-10-25'],
    ['America/Santiago', '2026-09-06'],
    ['Africa/Cairo', '2026-04-24'],
    ['Africa/Cairo', '2026-10-30'],
    ['Africa/Casablanca', '2026-02-15'],
    ['Australia/Lord_Howe', '2026-04-05'],
    ['Australia/Lord_Howe', '2026-10-04'],
    ['Pacific/Apia', '2011-12-30'],
    // Clocks went back at one minute past midnight: the day before came a second time.
    ['America/St_Johns', '2010-11-07'],
    ['Asia/Kathmandu', '2026-06-01'],
  ];
  const watched = changes.map(([timezone, day]) => {
    const fromMs = at(`${day}T00:00:00Z`) - 2 * dayMs;
    return { timezone, fromMs, shown: shownByMinute(timezone, fromMs, 5) };
  });

  const minutes = fc.constantFrom('*', '0', '30', '59', '15,45', '*/20', '1-3');
  const hours = fc.constantFrom('*', '0', '1', '2', '3', '23', '*/2', '0-4', '23,0,1', '12');
  const days = fc.constantFrom('* *', '* 0', '* 6,0', '* 1-5', '*/2 *', '1 6');
  const cron = fc.tuple(minutes, hours, days).map(([minute, hour, day]) => {
    const [dayOfMonth, dayOfWeek] = day.split(' ');
    return `${minute} ${hour} ${dayOfMonth} * ${dayOfWeek}`;
  });

  test('opens when the clock says so, and knows when it will', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: watched.length - 1 }),
        cron,
        fc.array(fc.integer({ min: 24 * 60, max: 4 * 24 * 60 }), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 0, max: 59_999 }),
        fc.integer({ min: 1, max: 86_400 }),
        (which, expression, askedMinutes, restMs, durationSeconds) => {
          const { timezone, fromMs, shown } = watched[which] ?? { timezone: '', fromMs: 0, shown: [] };
          const starts = startsByWatching(expression, shown, fromMs);
          for (const minute of askedMinutes) {
            const nowMs = fromMs + minute * minuteMs + restMs;
            const last = starts.findLast((startMs) => startMs <= nowMs);
            const next = starts.find((startMs) => startMs > nowMs);
            const state = windowState(window(expression, timezone, durationSeconds), nowMs);
            if (last !== undefined && nowMs < last + durationSeconds * 1000) {
              expect(state).toEqual({ open: true, sinceMs: last, untilMs: last + durationSeconds * 1000 });
            } else if (next !== undefined) {
              expect(state).toEqual({ open: false, opensAtMs: next });
            } else {
              expect(state.open).toBe(false);
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('scheduleProblem', () => {
  test('is null for an expression that can be read', () => {
    expect(scheduleProblem({ cron: '0 18 * * FRI', timezone: 'Europe/Berlin' })).toBeNull();
  });

  test('continues a sentence that begins with Cron', () => {
    expect(scheduleProblem({ cron: '0 18 * *', timezone: 'UTC' })).toBe(
      'must have five fields, minute to day of the week, and has 4',
    );
  });

  test.each(['Mars/Base', ''])('knows no time zone %j', (timezone) => {
    expect(scheduleProblem({ cron: '0 18 * * *', timezone })).toMatch(
      /^must be read in a time zone that is known here/,
    );
  });
});
