import fc from 'fast-check';
import { estimateRolloutEnd, type RolloutPaceFacts } from './estimate-rollout-end';

/** `100@0` is a hundred rooms left after no seconds. */
const samplesOf = (text: string): RolloutPaceFacts['samples'] =>
  text
    .split(' ')
    .filter((sample) => sample !== '')
    .map((sample) => {
      const [left = NaN, seconds = NaN] = sample.split('@').map(Number);
      return { left, atMs: seconds * 1000 };
    });

const endAfterSeconds = (
  text: string,
  left: number,
  now: number,
  { isPaused = false, latest }: { isPaused?: boolean; latest?: number } = {},
): number | null => {
  const latestEndMs = latest === undefined ? null : latest * 1000;
  const endsAtMs = estimateRolloutEnd({ samples: samplesOf(text), left, nowMs: now * 1000, isPaused, latestEndMs });
  return endsAtMs === null ? null : endsAtMs / 1000;
};

describe('estimateRolloutEnd', () => {
  test.each<[string, string, number, number, number | null]>([
    ['half of them went in a minute, the others take another', '100@0 75@30 50@60', 50, 60, 120],
    ['rooms that only start at first are in the rate', '100@0 100@30 75@60', 75, 60, 240],
    ['rooms went since the last sample', '100@0 75@30 70@55', 50, 60, 120],
    ['time that passed since the last sample counts', '100@0 75@30 50@60', 50, 120, 240],
    ['a few more in between do not matter', '100@0 110@30 50@60', 50, 60, 120],
    ['the last room', '100@0 2@90 1@99', 1, 99, 100],
    ['none is left', '100@0 50@30 0@60', 0, 60, 60],
    ['a part of a second is rounded up', '10@0 8@5 7@10', 7, 10, 33.334],
    ['samples of the future are not counted', '500@900 100@0 75@30 50@60', 50, 60, 120],
    ['no sample', '', 100, 60, null],
    ['one sample', '100@0', 50, 60, null],
    ['two samples', '100@0 75@30', 50, 60, null],
    ['two samples, and one of the future', '100@0 75@30 50@90', 50, 60, null],
    ['no progress', '100@0 100@30 100@60', 100, 60, null],
    ['more than at first', '100@0 105@30 110@60', 110, 60, null],
    ['as many as at first, once more', '100@0 50@30 90@60', 100, 60, null],
    ['samples of one moment', '100@60 90@60 80@60', 50, 60, null],
  ])('%s', (_, samples, left, now, end) => {
    expect(endAfterSeconds(samples, left, now)).toBe(end);
  });

  test('a rollout that is paused has no end', () => {
    expect(endAfterSeconds('100@0 75@30 50@60', 50, 60, { isPaused: true })).toBeNull();
  });

  test.each<[string, number, number | null]>([
    ['a deadline before it is the end', 90, 90],
    ['a later one changes nothing', 600, 120],
    ['one that has passed ends it now', 30, 60],
  ])('%s', (_, latest, end) => {
    expect(endAfterSeconds('100@0 75@30 50@60', 50, 60, { latest })).toBe(end);
  });

  test('a deadline is no estimate where there is none', () => {
    expect(endAfterSeconds('100@0', 50, 60, { latest: 90 })).toBeNull();
  });

  test('an end is never in the past, and moves away while nothing goes on', () => {
    const rooms = fc.integer({ min: 0, max: 10_000 });
    const times = fc.uniqueArray(fc.integer({ min: 0, max: 3_600_000 }), { minLength: 3, maxLength: 60 });
    fc.assert(
      fc.property(times, fc.array(rooms, { minLength: 60, maxLength: 60 }), rooms, rooms, (at, counts, left, wait) => {
        const samples = [...at].sort((a, b) => a - b).map((atMs, index) => ({ atMs, left: counts[index]! }));
        const nowMs = samples.at(-1)!.atMs + 1;
        const end = estimateRolloutEnd({ samples, left, nowMs, isPaused: false, latestEndMs: null });
        const later = estimateRolloutEnd({ samples, left, nowMs: nowMs + wait, isPaused: false, latestEndMs: null });
        expect(later === null).toBe(end === null);
        if (end === null || later === null) return;
        expect(end).toBeGreaterThanOrEqual(nowMs);
        expect(later).toBeGreaterThanOrEqual(end);
      }),
    );
  });
});
