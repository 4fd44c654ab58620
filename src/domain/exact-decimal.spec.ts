import fc from 'fast-check';
import { ceilDivide, exactDecimal, parseExactDecimal } from './exact-decimal';

describe('parseExactDecimal', () => {
  test.each([
    ['0.9', 9n, 10n],
    ['.5', 5n, 10n],
    ['2.', 2n, 1n],
    ['-3', -3n, 1n],
    ['1e-7', 1n, 10_000_000n],
    ['12E3', 12_000n, 1n],
    ['0.99', 99n, 100n],
  ])('reads %s exactly', (text, numerator, denominator) => {
    expect(parseExactDecimal(text)).toEqual({ numerator, denominator });
  });

  test.each(['', '.', '-', 'abc', '1,5', ' 1', '1 ', '0x10', '1e', '1e999999999', '1'.repeat(101)])(
    'refuses %j',
    (text) => {
      expect(parseExactDecimal(text)).toBeNull();
    },
  );
});

describe('exactDecimal', () => {
  test.each([NaN, Infinity, -Infinity])('has no ratio for %p', (value) => {
    expect(exactDecimal(value)).toBeNull();
  });

  test('is the decimal that the number prints as', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9999 }), (n) => {
        const ratio = exactDecimal(n / 10_000);
        expect(ratio && ratio.numerator * 10_000n).toBe(BigInt(n) * (ratio?.denominator ?? 0n));
      }),
    );
  });
});

describe('ceilDivide', () => {
  test.each([
    [10n, 5n, 2n],
    [11n, 5n, 3n],
    [0n, 5n, 0n],
    [-11n, 5n, -2n],
    [-10n, 5n, -2n],
  ])('%p / %p rounds up to %p', (dividend, divisor, expected) => {
    expect(ceilDivide(dividend, divisor)).toBe(expected);
  });
});
