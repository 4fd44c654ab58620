import * as fc from 'fast-check';

/** JSON as text that `JSON.stringify` would not write: `toJsonText` puts it there as it is. */
export function rawJson(text: string): string {
  return `${rawMark}${text}`;
}
const rawMark = '@raw:';

export function toJsonText(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null';
  return text.replace(/"@raw:((?:[^"\\]|\\.)*)"/g, (_whole, raw: string) => JSON.parse(`"${raw}"`) as string);
}

const deep = (open: string, close: string, levels: number): string =>
  rawJson(`${open.repeat(levels)}1${close.repeat(levels)}`);

/** What has broken programs before: in names, in SQL, in Redis keys and patterns, in logs, in prototypes. */
export const hostileTexts: readonly string[] = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\ud800',
  'a\udc00b',
  '\ufeff',
  '\ufffe\uffff',
  '\r\nSet-Cookie: a=b',
  '\u202e\u200b\u0301',
  '🎮'.repeat(64),
  'é'.repeat(300),
  'x'.repeat(4_000),
  "'; DROP TABLE maestro.schedulers; --",
  "' OR '1'='1",
  '"; $1 \\ %s %n {} ${7*7} {{7*7}}',
  '{p00}',
  '{scheduler}*?[a-z]',
  '*',
  '..',
  '../../etc/passwd',
  '__proto__',
  'constructor',
  'toString',
  'info',
  'null',
  'NaN',
  '-1',
  '1e999',
  '0x10',
  '١٢٣',
  'v1.0.0',
  'v99999999999999999999.0.0',
  'v-1.0.0',
  '99999999999999999999%',
  '-5%',
  '1m',
  '1e9s',
  '315576000001s',
  '9223372036854775808',
  '20Mi',
  '1e100000',
  'createdAt desc; DROP',
  'final',
  'roomOccupancy',
];

export const hostileNumbers: readonly (number | string)[] = [
  0,
  -1,
  1,
  2 ** 31 - 1,
  2 ** 31,
  -(2 ** 31) - 1,
  2 ** 32,
  2 ** 53,
  0.1,
  1.5,
  -0.5,
  5e-324,
  3.5e38,
  ...[
    '-0',
    '1e2',
    '1E+400',
    '-1e-400',
    '99999999999999999999999999',
    '9223372036854775808',
    '00',
    '+1',
    '.5',
    'NaN',
  ].map(rawJson),
];

export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...hostileTexts) },
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ maxLength: 20 }),
);

/** Any JSON, and some that is none. */
export const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 3, arbitrary: hostileText },
  { weight: 3, arbitrary: fc.constantFrom<unknown>(...hostileNumbers) },
  { weight: 3, arbitrary: fc.constantFrom<unknown>(null, true, false, [], {}, [null], [[]], { '': '' }) },
  { weight: 2, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  fc.constantFrom(
    deep('[', ']', 90),
    deep('[', ']', 5_000),
    deep('{"a":', '}', 5_000),
    deep('{"metadata":', '}', 95),
    rawJson('{"name":"a","name":"b"}'),
    rawJson('{"__proto__":{"polluted":true}}'),
    rawJson('{"constructor":{"prototype":{"polluted":true}}}'),
  ),
);
