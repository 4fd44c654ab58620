import { CallPace } from './call-pace';

describe('CallPace', () => {
  const waits = (pace: CallPace, count: number, nowMs: number) =>
    Array.from({ length: count }, () => pace.reserve(nowMs));

  it('lets a few calls through at once, and then each after the one before', () => {
    expect(waits(new CallPace(20, 3), 6, 1_000)).toEqual([0, 0, 0, 50, 100, 150]);
  });

  it('spreads 1,000 calls that come together over as many turns', () => {
    expect(waits(new CallPace(20, 2), 1_000, 1_000).at(-1)).toBe(998 * 50);
  });

  it('saves no more turns than it lets through at once, however long nobody called', () => {
    const pace = new CallPace(20, 3);
    waits(pace, 6, 1_000);
    expect(waits(pace, 5, 1_000_000)).toEqual([0, 0, 0, 50, 100]);
  });

  it('lets at least one call through at once, however slow', () => {
    expect(waits(new CallPace(0.5), 2, 0)).toEqual([0, 2_000]);
  });

  it('gives up waiting when it is told to', async () => {
    const pace = new CallPace(0.001);
    pace.reserve(performance.now());
    const stop = new AbortController();
    const turn = pace.turn(stop.signal);
    stop.abort();
    await turn;
  });
});
