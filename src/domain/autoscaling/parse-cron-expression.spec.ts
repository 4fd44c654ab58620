import { includesDay, parseCronExpression, type CronExpression } from './parse-cron-expression';

function parsed(text: string): CronExpression {
  const expression = parseCronExpression(text);
  if ('problem' in expression) throw new Error(expression.problem);
  return expression;
}

function times(text: string): string[] {
  return parsed(text).timesOfDay.map((minutes) => `${Math.floor(minutes / 60)}:${minutes % 60}`);
}

/** The days of 2026 and 2027 that it means, up to `count`. */
function days(text: string, count = 4): string[] {
  const found: string[] = [];
  const expression = parsed(text);
  for (let ms = Date.UTC(2026, 0, 1); ms < Date.UTC(2028, 0, 1) && found.length < count; ms += 86_400_000) {
    if (includesDay(expression, ms)) found.push(new Date(ms).toISOString().slice(0, 10));
  }
  return found;
}

describe('parseCronExpression', () => {
  test.each([
    ['30 18 * * *', ['18:30']],
    ['0,30 8-10/2 * * *', ['8:0', '8:30', '10:0', '10:30']],
    ['20/20 23 * * *', ['23:20', '23:40']],
    ['59 */12 * * *', ['0:59', '12:59']],
    ['5,5,0 1 * * *', ['1:0', '1:5']],
    ['  0\t0 * * *  ', ['0:0']],
  ])('%j names the times %j', (text, expected) => {
    expect(times(text)).toEqual(expected);
  });

  test.each([
    ['every day', '0 0 * * *', ['2026-01-01', '2026-01-02', '2026-01-03', '2026-01-04']],
    ['Fridays', '0 0 * * 5', ['2026-01-02', '2026-01-09', '2026-01-16', '2026-01-23']],
    ['Fridays, as a word', '0 0 * * fri', ['2026-01-02', '2026-01-09', '2026-01-16', '2026-01-23']],
    ['Sundays, as 0', '0 0 * * 0', ['2026-01-04', '2026-01-11', '2026-01-18', '2026-01-25']],
    ['Sundays, as 7', '0 0 * * 7', ['2026-01-04', '2026-01-11', '2026-01-18', '2026-01-25']],
    ['Friday to Sunday', '0 0 * * FRI-7', ['2026-01-02', '2026-01-03', '2026-01-04', '2026-01-09']],
    ['Monday, Wednesday, Friday; not Sunday', '0 0 * * 1/2', ['2026-01-02', '2026-01-05', '2026-01-07', '2026-01-09']],
    ['the 31st, in months that have one', '0 0 31 * *', ['2026-01-31', '2026-03-31', '2026-05-31', '2026-07-31']],
    ['in November', '0 0 27 NOV *', ['2026-11-27', '2027-11-27']],
    ['both kinds of day: either', '0 0 13 * 5', ['2026-01-02', '2026-01-09', '2026-01-13', '2026-01-16']],
    ['all values are no restriction', '0 0 13 * 0-6', ['2026-01-13', '2026-02-13', '2026-03-13', '2026-04-13']],
    ['nor all days of the month', '0 0 1-31 * 5', ['2026-01-02', '2026-01-09', '2026-01-16', '2026-01-23']],
    [
      'the 30th of February, but also Mondays in it',
      '0 0 30 2 1',
      ['2026-02-02', '2026-02-09', '2026-02-16', '2026-02-23'],
    ],
  ])('days: %s (%j)', (_, text, expected) => {
    expect(days(text)).toEqual(expected);
  });

  test.each([
    ['* * * * *', true],
    ['0 0-23 * * *', true],
    ['0 */2 * * *', false],
  ])('%j follows every hour: %p', (text, everyHour) => {
    expect(parsed(text).everyHour).toBe(everyHour);
  });

  test.each([
    ['', 'must have five fields, minute to day of the week, and has 0'],
    ['0 18 * *', 'must have five fields, minute to day of the week, and has 4'],
    ['0 0 18 * * 5', 'must have five fields, minute to day of the week, and has 6'],
    ['@daily', 'must have five fields, minute to day of the week, and has 1'],
    ['60 * * * *', 'has a minute outside of 0 to 59: 60'],
    ['0 24 * * *', 'has an hour outside of 0 to 23: 24'],
    ['0 0 0 * *', 'has a day of the month outside of 1 to 31: 0'],
    ['0 0 * 13 *', 'has a month outside of 1 to 12: 13'],
    ['0 0 * * 8', 'has a day of the week outside of 0 to 7: 8'],
    ['0 0 * * fri-mon', 'has a day of the week that ends before it begins: fri-mon'],
    ['*/0 * * * *', 'has a minute with a step of 0: */0'],
    ['1,,2 * * * *', 'has a minute that cannot be read: nothing'],
    ['-5 * * * *', 'has a minute that cannot be read: -5'],
    ['1.5 * * * *', 'has a minute that cannot be read: 1.5'],
    ['0 0 L * *', 'has a day of the month that cannot be read: l'],
    ['0 0 ? * *', 'has a day of the month that cannot be read: ?'],
    ['0 0 * * 5#2', 'has a day of the week that cannot be read: 5#2'],
    ['0 mon * * *', 'has an hour that cannot be read: mon'],
    ['0 0 30 2 *', 'must name a day that exists'],
    ['0 0 31 4,6,9,11 *', 'must name a day that exists'],
    [`${'0,'.repeat(200)}0 0 * * *`, 'must have 256 characters or less'],
  ])('refuses %j: %s', (text, problem) => {
    expect(parseCronExpression(text)).toEqual({ problem });
  });

  test('takes the 29th of February for a day that exists', () => {
    expect(parseCronExpression('0 0 29 2 *')).not.toHaveProperty('problem');
  });
});
