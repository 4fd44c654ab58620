import { getEventListeners } from 'node:events';
import { CallLane } from './call-lane';
import { RateLimit } from './rate-limit';

describe('CallLane', () => {
  const { signal } = new AbortController();
  const minuteMs = 60_000;

  it('lets so many in, and each that leaves lets in who asked first', async () => {
    const lane = new CallLane(new RateLimit(10, 10), 1);
    const entered: string[] = [];
    const ask = (name: string) => lane.enter(minuteMs, signal).then(() => entered.push(name));
    const asked = ['a', 'b', 'c'].map(ask);
    await asked[0];
    expect(entered).toEqual(['a']);
    lane.leave();
    await asked[1];
    expect(entered).toEqual(['a', 'b']);
    lane.leave();
    await asked[2];
    lane.leave();
    expect(await lane.enter(0, signal)).toBe(true);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('forgets who cannot wait any longer', async () => {
    const lane = new CallLane(new RateLimit(10, 10), 1);
    const leaving = new AbortController();
    await lane.enter(minuteMs, signal);
    const aborted = lane.enter(minuteMs, leaving.signal);
    const impatient = lane.enter(1, signal);
    leaving.abort();
    expect([await aborted, await impatient]).toEqual([false, false]);
    lane.leave();
    expect(lane.tryEnter()).toBe(true);
  });

  it('lets who waited long keep its place as long as that is worth it', async () => {
    const lane = new CallLane(new RateLimit(10, 10), 1);
    await lane.enter(minuteMs, signal);
    let looks = 3;
    const patient = lane.enter(1, signal, () => (--looks > 0 ? 1 : 0));
    expect(await patient).toBe(false);
    expect(looks).toBe(0);
    let asked = (): void => undefined;
    const hasAsked = new Promise<void>((resolve) => (asked = resolve));
    const lucky = lane.enter(1, signal, () => {
      asked();
      return minuteMs;
    });
    await hasAsked;
    lane.leave();
    expect(await lucky).toBe(true);
  });

  it('is tried without a wait: neither for a place nor for a turn', () => {
    const lane = new CallLane(new RateLimit(0.001, 2), 2);
    expect([lane.tryEnter(), lane.tryEnter(), lane.tryEnter()]).toEqual([true, true, false]);
    lane.leave();
    expect(lane.tryEnter()).toBe(false);
  });

  it('takes its turns from another lane too, without waiting for that lane', async () => {
    const shared = new RateLimit(0.001, 1);
    const lane = new CallLane(new RateLimit(10, 10), 1, shared);
    expect([await lane.turn(0, signal), await lane.turn(0, signal)]).toEqual([true, true]);
    expect(shared.reserve(performance.now(), 0)).toBeNull();
  });
});
