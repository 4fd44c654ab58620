import fc from 'fast-check';
import { SimulatedClock } from './simulated-clock';

describe('SimulatedClock', () => {
  test('does everything in the order of its time, and of two at one time the one that was put off first', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { maxLength: 60 }), (times) => {
        const clock = new SimulatedClock(0);
        const done: [atMs: number, index: number][] = [];
        times.forEach((atMs, index) => clock.at(atMs, () => done.push([clock.nowMs, index])));
        while (clock.step(100));
        expect(clock.nowMs).toBe(100);
        const expected = times.map((atMs, index): [number, number] => [atMs, index]);
        expect(done).toEqual(expected.sort((a, b) => a[0] - b[0] || a[1] - b[1]));
      }),
    );
  });

  test('what is put off while something is done comes in its turn, and the past means now', () => {
    const clock = new SimulatedClock(1_000);
    const done: string[] = [];
    clock.at(2_000, () => {
      done.push('first');
      clock.at(1, () => done.push(`now ${clock.nowMs}`));
      clock.at(2_500, () => done.push('later'));
    });
    clock.at(2_400, () => done.push('second'));
    while (clock.step(2_450));
    expect(done).toEqual(['first', 'now 2000', 'second']);
    expect(clock.nextAtMs).toBe(2_500);
  });
});
