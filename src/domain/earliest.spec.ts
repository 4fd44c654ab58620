import { earliest } from './earliest';

describe('earliest', () => {
  test.each<[(number | null)[], number | null]>([
    [[], null],
    [[null], null],
    [[3, 1, 2], 1],
    [[null, 3, null, 2, null], 2],
    [[0, null, 5], 0],
  ])('%j: %j', (timesMs, expected) => {
    expect(earliest(timesMs)).toBe(expected);
  });
});
