import { nextStartAtMs } from './start-back-off';

describe('the next start after rooms that ended early', () => {
  it.each([
    ['none ended early', 0, 3, null],
    ['one of three did', 1, 3, null],
    ['as many as there should be did', 3, 3, null],
    ['one more than there should be did', 4, 3, 2_000],
    ['twice as many did', 6, 3, 2_000],
    ['more than twice as many did', 7, 3, 4_000],
    ['a fleet of one lost its room three times', 3, 1, null],
    ['a fleet of one lost its room four times', 4, 1, 2_000],
    ['all hundred rooms of a fleet did once', 100, 100, null],
    ['all hundred did twice', 200, 100, 2_000],
    ['they did for a long time', 1_000, 3, 300_000],
  ])('waits accordingly when %s', (_case, count, desired, delayMs) => {
    const lastAtMs = 1_000_000;
    expect(nextStartAtMs({ count, lastAtMs }, desired)).toBe(delayMs === null ? null : lastAtMs + delayMs);
  });
});
