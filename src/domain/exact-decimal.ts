/** A number without rounding: `numerator / denominator`, the denominator positive. */
export interface Ratio {
  numerator: bigint;
  denominator: bigint;
}

/** More digits or a larger exponent than this says nothing about servers, and would only cost memory. */
const digitLimit = 100;

/**
 * Reads a decimal as typed (`0.9`, `-3`, `.5`, `2.`, `1e-7`); null when the text is not one.
 * Doubles round (0.9 is a little less than 0.9), and a ceiling turns that into a room too many; a ratio does not.
 */
export function parseExactDecimal(text: string): Ratio | null {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (!match) return null;
  const [, sign, whole = '', fraction = '', exponentText = '0'] = match;
  const digits = whole + fraction;
  const exponent = Number(exponentText) - fraction.length;
  if (digits === '' || digits.length > digitLimit || Math.abs(exponent) > 2 * digitLimit) return null;
  const value = BigInt(digits) * (sign === '-' ? -1n : 1n);
  return exponent >= 0
    ? { numerator: value * 10n ** BigInt(exponent), denominator: 1n }
    : { numerator: value, denominator: 10n ** BigInt(-exponent) };
}

/** The decimal that a number prints as, exactly: 0.9 is nine tenths. Null for NaN and the infinities. */
export function exactDecimal(value: number): Ratio | null {
  return Number.isFinite(value) ? parseExactDecimal(String(value)) : null;
}

/** The smallest integer that is not below `dividend / divisor`; the divisor is positive. */
export function ceilDivide(dividend: bigint, divisor: bigint): bigint {
  const quotient = dividend / divisor;
  return dividend % divisor > 0n ? quotient + 1n : quotient;
}
