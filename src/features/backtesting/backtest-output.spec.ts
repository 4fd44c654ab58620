import type { BacktestOutcome } from './backtests.service';
import { backtestPlot } from './backtest-plot';
import { backtestTable } from './backtest-table';

const dayMs = 86_400_000;
const beginsAtMs = Date.UTC(2026, 5, 1);

function anOutcome(changes: Partial<BacktestOutcome> = {}): BacktestOutcome {
  return {
    name: 'buffer-10',
    spanMs: 2 * dayMs,
    asked: 10_000,
    refused: 1,
    served: 0.9999,
    roomHours: 2_400.4,
    idleRoomHours: 300,
    started: 40,
    removed: 30,
    peakRooms: 75,
    lostMatches: 0,
    timeline: [
      { atMs: beginsAtMs, wanted: 20, running: 20, rooms: 30, refused: 0 },
      { atMs: beginsAtMs + dayMs, wanted: 50, running: 49, rooms: 75, refused: 1 },
    ],
    notes: [],
    ...changes,
  };
}

describe('backtestTable', () => {
  test('compares policies line by line', () => {
    const table = backtestTable([
      anOutcome(),
      anOutcome({ name: 'none', served: 0.99999, refused: 0, idleRoomHours: 12_345 }),
    ]);
    expect(table).toBe(
      [
        'policy       served   matches   found no room   room-hours     idle   started   removed   peak',
        'buffer-10   99.99 %    10,000               1        2,400      300        40        30     75',
        'none        99.99 %    10,000               0        2,400   12,345        40        30     75',
        '',
      ].join('\n'),
    );
  });

  test('tells below it what the numbers do not', () => {
    const table = backtestTable([anOutcome({ name: 'a\nb', lostMatches: 3, notes: ['webhooks are not asked'] })]);
    expect(table).toContain('- a b: 3 matches were ended by the drain deadline\n- a b: webhooks are not asked\n');
  });
});

describe('backtestPlot', () => {
  const plot = backtestPlot([anOutcome(), anOutcome({ name: '<script> & "co"' })]);

  test('has a panel for each policy, with rooms and demand, and what found no room', () => {
    expect(plot.match(/<polyline/g)).toHaveLength(4);
    expect(plot.match(/fill="#e5484d"\/>/g)).toHaveLength(3);
    expect(plot).toContain('99.99 % served, 1 found no room');
  });

  test('labels its axes: rooms in round numbers, times in UTC', () => {
    for (const text of ['>0<', '>20<', '>80<', '>Mon 06-01<', '>06:00<', '>Tue 06-02<']) expect(plot).toContain(text);
  });

  test('names of policies are text', () => {
    expect(plot).toContain('&#60;script&#62; &#38; &#34;co&#34;');
    expect(plot).not.toContain('<script>');
  });

  test('a load of nothing is drawn, too', () => {
    const timeline = [{ atMs: beginsAtMs, wanted: 0, running: 0, rooms: 0, refused: 0 }];
    expect(backtestPlot([anOutcome({ timeline })])).not.toMatch(/NaN|Infinity/);
  });
});
