import { RateLimit } from './rate-limit';

describe('RateLimit', () => {
  const reserve = (limit: RateLimit, times: number, nowMs = 0) =>
    Array.from({ length: times }, () => limit.reserve(nowMs, 10_000));

  it('lets a burst through, and then one call each interval', () => {
    expect(reserve(new RateLimit(10, 3), 6)).toEqual([0, 0, 0, 100, 200, 300]);
  });

  it('fills again while nothing is asked, up to the burst', () => {
    const limit = new RateLimit(10, 3);
    reserve(limit, 3);
    expect(reserve(limit, 2, 100)).toEqual([0, 100]);
    expect(reserve(limit, 4, 60_000)).toEqual([0, 0, 0, 100]);
  });

  it('takes no turn from those who cannot wait', () => {
    const limit = new RateLimit(10, 1);
    reserve(limit, 1);
    expect(limit.reserve(0, 50)).toBeNull();
    expect(limit.reserve(0, 100)).toBe(100);
  });
});
