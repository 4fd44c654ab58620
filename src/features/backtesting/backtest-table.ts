import { oneLine } from '../one-line';
import type { BacktestOutcome } from './backtests.service';

interface Column {
  title: string;
  of: (outcome: BacktestOutcome) => string;
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US');

const columns: readonly Column[] = [
  { title: 'policy', of: ({ name }) => oneLine(name) },
  { title: 'served', of: ({ served }) => `${(Math.floor(served * 10_000) / 100).toFixed(2)} %` },
  { title: 'matches', of: ({ asked }) => whole(asked) },
  { title: 'found no room', of: ({ refused }) => whole(refused) },
  { title: 'room-hours', of: ({ roomHours }) => whole(roomHours) },
  { title: 'idle', of: ({ idleRoomHours }) => whole(idleRoomHours) },
  { title: 'started', of: ({ started }) => whole(started) },
  { title: 'removed', of: ({ removed }) => whole(removed) },
  { title: 'peak', of: ({ peakRooms }) => whole(peakRooms) },
];

/** A line for each policy, and below it what the numbers do not say. Shares are cut: what is not all is never 100 %. */
export function backtestTable(outcomes: readonly BacktestOutcome[]): string {
  const rows = [columns.map(({ title }) => title), ...outcomes.map((outcome) => columns.map(({ of }) => of(outcome)))];
  const widths = columns.map((_, place) => Math.max(...rows.map((row) => row[place]!.length)));
  const lines = rows.map((row) =>
    row.map((cell, place) => (place === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[place]!))).join('   '),
  );
  const lost = outcomes.flatMap(({ name, lostMatches }) =>
    lostMatches > 0 ? [`${oneLine(name)}: ${whole(lostMatches)} matches were ended by the drain deadline`] : [],
  );
  const notes = outcomes.flatMap(({ name, notes: each }) => each.map((note) => `${oneLine(name)}: ${note}`));
  return [...lines, ...[...lost, ...notes].map((note) => `- ${note}`)].map((line) => `${line}\n`).join('');
}
