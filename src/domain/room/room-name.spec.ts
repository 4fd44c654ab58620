import fc from 'fast-check';
import { roomName } from './room-name';

describe('roomName', () => {
  test('is the scheduler and five characters', () => {
    const draws = [0, 0.5, 0.99, 0.2, 1];
    expect(roomName('fleet', () => draws.shift() ?? 0)).toBe('fleet-br9h9');
  });

  test('keeps a scheduler of 57 characters whole and cuts a longer one', () => {
    expect(roomName('s'.repeat(57), () => 0)).toBe(`${'s'.repeat(57)}-bbbbb`);
    expect(roomName('s'.repeat(63), () => 0)).toBe(`${'s'.repeat(57)}-bbbbb`);
  });

  test('has no double dash where the cut ends in one', () => {
    expect(roomName(`${'s'.repeat(56)}-game`, () => 0)).toBe(`${'s'.repeat(56)}-bbbbb`);
  });

  test('is a valid host name for every valid scheduler', () => {
    const scheduler = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
    fc.assert(
      fc.property(scheduler, fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), (name, draws) => {
        expect(roomName(name, () => Number(draws.next().value))).toMatch(
          /^(?=.{7,63}$)[a-z0-9][a-z0-9-]*-[bcdfghjklmnpqrstvwxz2456789]{5}$/,
        );
      }),
    );
  });
});
