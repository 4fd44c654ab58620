import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DayOfAFleet } from '../support/day-of-a-fleet';
import { typescriptExecArgv } from '../support/local-rooms';

const hourMs = 3_600_000;

describe('24 hours of a fleet of 5,000 rooms', () => {
  let day: DayOfAFleet;

  beforeAll(async () => {
    const program = join(__dirname, '../support/day-of-a-fleet.ts');
    const { stdout } = await promisify(execFile)(process.execPath, [...typescriptExecArgv, program]);
    day = JSON.parse(stdout) as DayOfAFleet;
  }, 180_000);

  test('no room with a match is removed, the surge is kept, nothing that goes comes back, and no plan lowers the buffer', () => {
    expect(day.violations).toEqual([]);
  });

  test('every rollout ends, and the one that fails brings the version before back', () => {
    const [major, , bad] = day.switchesAtMs;
    expect(day.activeVersion).toBe('v2.1.0');
    expect(day.seen.rollbacks).toBe(1);
    expect(day.isRollingOut).toBe(false);
    const [first, second, ...others] = day.rolloutsEndedAtMs;
    expect(others).toEqual([]);
    expect(first! - major!).toBeLessThan(3 * hourMs);
    expect(second! - bad!).toBeLessThan(hourMs);
  });

  test('players find rooms all the while', () => {
    const { asked, refused } = day.players;
    expect(asked).toBeGreaterThan(200_000);
    expect(refused / asked).toBeLessThan(0.01);
  });

  test('enough happened for all that to mean something', () => {
    expect(day.totals.died).toBeGreaterThan(300);
    expect(day.totals.failedStarts).toBeGreaterThan(300);
    expect(day.totals.peakRooms).toBeGreaterThan(5_000);
    expect(day.seen.looks).toBeGreaterThan(1_000);
    expect(day.seen.claims).toBeGreaterThan(2_000);
    expect(day.seen.drains).toBeGreaterThan(2_000);
    // Players came to rooms that were being taken away, which then stayed.
    expect(day.seen.released).toBeGreaterThan(10);
    expect(day.seen.expired).toBeGreaterThan(100);
  });
});
