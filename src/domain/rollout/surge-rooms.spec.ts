import fc from 'fast-check';
import { surgeRooms } from './surge-rooms';

describe('surgeRooms', () => {
  test.each([
    // v10's vectors (rooms.md 10.2).
    ['10', 20, 10],
    ['500', 1500, 500],
    ['25%', 1200, 300],
    ['25%', 10, 3],
    ['10%', 2, 1],
    ['50%', 1, 1],
    ['0', 1, 1],
    ['twenty%', 100, 1],
    // v10's doubles give 8, 15 and 56.
    ['7%', 100, 7],
    ['14%', 100, 14],
    ['55%', 100, 55],
    // At least one, whatever is said.
    ['0%', 100, 1],
    ['-5', 100, 1],
    ['-5%', 100, 1],
    ['', 100, 1],
    ['%', 100, 1],
    ['25%', 0, 1],
    ['100%', 7, 7],
    ['250%', 10, 25],
  ])('%s of %i rooms is %i', (maxSurge, base, rooms) => {
    expect(surgeRooms(maxSurge, base)).toBe(rooms);
  });

  test('a share is rounded up once, however large', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 1, max: 1_000_000 }), (percent, base) => {
        const rooms = surgeRooms(`${percent}%`, base);
        expect(rooms * 100).toBeGreaterThanOrEqual(percent * base);
        expect((rooms - 1) * 100).toBeLessThan(Math.max(percent * base, 1));
      }),
    );
  });
});
