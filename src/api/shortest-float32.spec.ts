import fc from 'fast-check';
import { shortestFloat32 } from './shortest-float32';

describe('shortestFloat32', () => {
  it.each([
    [0.9900000095367432, 0.99],
    [0.99, 0.99],
    [0.5, 0.5],
    [0, 0],
    [-0.10000000149011612, -0.1],
    [1e-7, 1e-7],
    [16777217, 16777216],
    [0.123456789, 0.12345679],
    [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
    [Number.NaN, Number.NaN],
  ])('prints %p as %p', (value, expected) => {
    expect(shortestFloat32(value)).toBe(expected);
  });

  it('stays the same 32-bit float', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true }), (float) => {
        expect(Math.fround(shortestFloat32(float)) === float).toBe(true);
      }),
    );
  });
});
