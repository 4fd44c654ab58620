import { LoadCurve } from './load-curve';
import { parseLoadCurve, printLoadCurve } from './parse-load-curve';
import { sampleWeek } from './sample-week';

describe('parseLoadCurve', () => {
  test.each([
    ['seconds', '0,1\n60,2.5\n', [0, 60_000]],
    ['ISO 8601', 'time,matches\n2026-06-01T00:00:00Z,1\n2026-06-01T02:01+02:00,2.5', [1780272000000, 1780272060000]],
    [
      'a header, comments, empty lines, more columns, Windows line ends',
      '# a\r\nTime, Matches, x\r\n\r\n0,1,9\r\n1,2.5,\r\n',
      [0, 1_000],
    ],
    ['quotes, spaces and a byte order mark', '\uFEFF"time","matches"\n "0" , 1\n5,2.5', [0, 5_000]],
  ])('reads %s', (_, text, times) => {
    expect(parseLoadCurve(text)).toEqual(times.map((atMs, index) => ({ atMs, matches: index === 0 ? 1 : 2.5 })));
  });

  test.each([
    [
      'no time',
      'time,matches\nnoon,1\n',
      'line 2, time: "noon" is neither ISO 8601 with a zone (2026-06-01T18:00:00Z) nor seconds',
    ],
    ['a time without a zone', '2026-06-01T00:00:00,1\n', 'line 1, time: "2026-06-01T00:00:00" is neither'],
    ['a day that does not exist', '2026-13-41T00:00:00Z,1\n', 'line 1, time: "2026-13-41T00:00:00Z" is neither'],
    ['a missing field', '0,1\n60\n', 'line 2, matches: it is missing'],
    ['an empty field', '0,1\n60,\n', 'line 2, matches: it is missing'],
    ['no number', '0,1\n\n60,many\n', 'line 3, matches: "many" is not a number of at least 0'],
    ['fewer than none', '0,1\n60,-1\n', 'line 2, matches: "-1" is not a number of at least 0'],
    ['endlessly many', '0,1\n60,Infinity\n', 'line 2, matches: "Infinity" is not'],
    ['time that goes back', '60,1\n0,1\n', 'line 2, time: 0 is not later than the time of the line before'],
    ['one point', 'time,matches\n0,1\n', 'there must be at least two lines of time,matches, and there is one'],
    ['nothing', '', 'and there are none'],
  ])('refuses %s, and says where', (_, text, message) => {
    expect(() => parseLoadCurve(text)).toThrow(message);
  });

  test('what is printed is read again', () => {
    const points = [
      { atMs: 1_500, matches: 0 },
      { atMs: 1780272000000, matches: 7.25 },
    ];
    expect(parseLoadCurve(printLoadCurve(points))).toEqual(points);
  });
});

describe('sampleWeek', () => {
  const week = sampleWeek();
  const mostBetween = (from: number, to: number): number =>
    Math.max(...week.slice(from * 144, to * 144).map(({ matches }) => matches));

  test('has a busy weekend and an event on Wednesday', () => {
    const weekday = mostBetween(0, 2);
    expect(mostBetween(5, 7)).toBeGreaterThan(1.3 * weekday);
    expect(mostBetween(2, 3)).toBeGreaterThan(1.5 * weekday);
    expect(mostBetween(3, 5)).toBeLessThan(1.1 * weekday);
  });
});

test('between two points of a curve the number changes evenly, outside of it stays', () => {
  const curve = new LoadCurve([
    { atMs: 100, matches: 10 },
    { atMs: 200, matches: 20 },
    { atMs: 300, matches: 0 },
  ]);
  expect([0, 100, 150, 200, 225, 300, 900].map((atMs) => curve.matchesAt(atMs))).toEqual([10, 10, 15, 20, 15, 0, 0]);
});
