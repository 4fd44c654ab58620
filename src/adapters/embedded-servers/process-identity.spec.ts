import { findProcess, isRunning, ownProcess, startTimeFromProcStat, startTimeFromPs } from './process-identity';

const statAfterName = (state: string) =>
  `${state} 1 42 42 0 -1 4194560 100 0 0 0 5 3 0 0 20 0 11 0 987654 1000 200 18446744073709551615`;

describe('startTimeFromProcStat', () => {
  it.each([
    ['reads field 22', `42 (node) ${statAfterName('S')}`, '987654'],
    ['is not misled by spaces and brackets in the name', `42 (a) S 7 (b c) ${statAfterName('R')}`, '987654'],
    ['takes a zombie for gone', `42 (node) ${statAfterName('Z')}`, undefined],
  ])('%s', (_name, stat, expected) => {
    expect(startTimeFromProcStat(stat)).toBe(expected);
  });
});

describe('startTimeFromPs', () => {
  it.each([
    ['gives seconds since the epoch', 'Ss   Sat Nov 21 08:03:00 2026\n', '1795248180'],
    ['takes a zombie for gone', 'Z+   Sat Nov 21 08:03:00 2026\n', undefined],
    ['takes no answer for gone', '', undefined],
  ])('%s', (_name, line, expected) => {
    expect(startTimeFromPs(line)).toBe(expected);
  });
});

describe('a process identity', () => {
  it('is running while the process lives', () => {
    expect(isRunning(ownProcess())).toBe(true);
  });

  it('is not running when another process has its pid', () => {
    expect(isRunning({ ...ownProcess(), startedAt: '1' })).toBe(false);
  });

  it('is not found for a pid that nobody has', () => {
    expect(findProcess(2 ** 22 + 1)).toBeUndefined();
  });
});
