import { ceilDivide, parseExactDecimal, type Ratio } from '../exact-decimal';

const kilo = 10n ** 3n;
const kibi = 2n ** 10n;
const suffixes: Readonly<Record<string, Ratio>> = {
  n: { numerator: 1n, denominator: kilo ** 3n },
  u: { numerator: 1n, denominator: kilo ** 2n },
  m: { numerator: 1n, denominator: kilo },
  '': { numerator: 1n, denominator: 1n },
  k: { numerator: kilo, denominator: 1n },
  M: { numerator: kilo ** 2n, denominator: 1n },
  G: { numerator: kilo ** 3n, denominator: 1n },
  T: { numerator: kilo ** 4n, denominator: 1n },
  P: { numerator: kilo ** 5n, denominator: 1n },
  E: { numerator: kilo ** 6n, denominator: 1n },
  Ki: { numerator: kibi, denominator: 1n },
  Mi: { numerator: kibi ** 2n, denominator: 1n },
  Gi: { numerator: kibi ** 3n, denominator: 1n },
  Ti: { numerator: kibi ** 4n, denominator: 1n },
  Pi: { numerator: kibi ** 5n, denominator: 1n },
  Ei: { numerator: kibi ** 6n, denominator: 1n },
};

/** More than this is this, where the suffix is binary: `ParseQuantity` caps those, and no others. */
const mostOfBinary = 2n ** 63n - 1n;

/**
 * Reads a Kubernetes quantity (`100m`, `64Mi`, `0.5`, `1e3`, `2E`) exactly, in cores or bytes; null when it is none.
 * Source: the grammar of `k8s.io/apimachinery/pkg/api/resource.Quantity`. A suffix is either a unit or a decimal exponent,
 * never both; `K` and spaces are not allowed.
 */
export function parseKubernetesQuantity(text: string): Ratio | null {
  const match = /^([+-]?[0-9.]+)(?:([numkMGTPE]|[KMGTPE]i)|([eE][+-]?[0-9]+))?$/.exec(text);
  if (!match) return null;
  const [, digits = '', unit = '', exponent = ''] = match;
  const number = parseExactDecimal(digits + exponent);
  const factor = suffixes[unit];
  if (!number || !factor) return null;
  const value = {
    numerator: number.numerator * factor.numerator,
    denominator: number.denominator * factor.denominator,
  };
  return unit.endsWith('i') && value.numerator > mostOfBinary * value.denominator
    ? { numerator: mostOfBinary, denominator: 1n }
    : value;
}

/**
 * Whether the API server takes one amount for more than another, both at least 0: it rounds each up to a thousandth first
 * (`SetDefaults_ResourceList`), so `1500u` is no more than `1400u`.
 */
export function isMoreInKubernetes(amount: Ratio, other: Ratio): boolean {
  return thousandths(amount) > thousandths(other);
}

function thousandths({ numerator, denominator }: Ratio): bigint {
  return ceilDivide(numerator * kilo, denominator);
}
