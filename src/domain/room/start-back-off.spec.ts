import { describeEarlyEnds, nextStartAtMs, replacementsOwed } from './start-back-off';

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

describe('replacements that wait for no delay', () => {
  const before = (amount: number): number[] => Array<number>(amount).fill(1_000);
  const since = (amount: number): number[] => Array<number>(amount).fill(2_001);

  it.each<[string, number, number | null, number[], number]>([
    ['none while nobody lost its place', 0, 2_000, before(6), 0],
    ['one for a room that lost its place', 1, 2_000, before(5), 1],
    ['none more once it was started', 1, 2_000, [...before(5), ...since(1)], 0],
    ['as many as lost theirs', 4, 2_000, [...before(2), ...since(1)], 3],
    ['none for those that were started besides', 0, 2_000, [...before(6), ...since(2)], 0],
    ['one that was made in the moment of the last early end was made before', 1, 2_000, [2_000], 1],
    ['none where no room ever ended early: there is no delay', 1, null, [], 0],
  ])('%s', (_which, lostSince, lastAtMs, createdAtMs, expected) => {
    expect(replacementsOwed({ lostSince, lastAtMs }, createdAtMs)).toBe(expected);
  });
});

describe('early ends in words', () => {
  it.each([
    ['of rooms that ran', 3, 0, '3 rooms failed or ended right after their start'],
    ['of a room that ran', 1, 0, '1 room failed or ended right after its start'],
    ['of rooms that never came to be', 3, 3, '3 rooms could not be created'],
    ['of both', 3, 2, '2 rooms could not be created, and 1 room failed or ended right after its start'],
  ])('%s', (_which, count, notCreated, words) => {
    const ends = { count, notCreated, lastAtMs: 0, lostSince: 0, lastReason: 'no image: run fewer rooms.' };
    expect(describeEarlyEnds(ends)).toBe(`${words}, the last one because: no image: run fewer rooms`);
    expect(describeEarlyEnds({ ...ends, lastReason: '' })).toBe(`${words}, the last one because: unknown`);
  });
});
