import { printDuration } from './print-duration';

describe('printDuration', () => {
  test.each([
    [-5, '0 s'],
    [0, '0 s'],
    [99, '0 s'],
    [999, '0.9 s'],
    [1_999, '1 s'],
    [59_999, '59 s'],
    [60_000, '1 min'],
    [200_000, '3 min 20 s'],
    [3_600_000, '1 h'],
    [3_659_000, '1 h'],
    [7_500_000, '2 h 5 min'],
    [345_600_000, '4 d'],
    [93_600_000, '1 d 2 h'],
  ])('%d ms are %s', (ms, text) => {
    expect(printDuration(ms)).toBe(text);
  });
});
