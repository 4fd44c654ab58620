import {
  isAnnotationKey,
  isDnsLabel,
  isDnsSubdomain,
  isLabelKey,
  isLabelValue,
  isSecretKey,
  isVariableName,
} from './kubernetes-names';

// Each is asked of a real API server too: `kubernetes-verdicts.fixture.ts`.

const a = (length: number): string => 'a'.repeat(length);

describe.each<[string, (text: string) => boolean, valid: string[], invalid: string[]]>([
  [
    'isDnsLabel',
    isDnsLabel,
    ['a', '7', 'a-b', 'a--b', a(63)],
    ['', a(64), 'A', '-a', 'a-', 'a.b', 'a_b', 'a b', 'a\n', 'ä'],
  ],
  [
    'isDnsSubdomain',
    isDnsSubdomain,
    ['a', 'a.b-c.7', a(253), `${a(126)}.${a(126)}`],
    ['', a(254), 'A', 'a..b', '.a', 'a.', 'a.-b', 'a_b', 'a/b', 'a\n'],
  ],
  [
    'isLabelKey',
    isLabelKey,
    ['a', 'A_.-9', a(63), 'example.com/Team', `${a(253)}/${a(63)}`],
    ['', a(64), 'a b', '-a', 'a-', '/a', 'a/', 'a/b/c', 'A/b', 'a_b/c', `${a(254)}/b`, 'ä', '__proto__', 'a\n'],
  ],
  ['isLabelValue', isLabelValue, ['', 'a', 'A_.-9', a(63)], [a(64), '-', 'a-', '.a', 'a b', 'a/b', 'ä', 'a\n']],
  ['isAnnotationKey', isAnnotationKey, ['a', 'Example.COM/Team', a(63)], ['', a(64), 'a b', '/a', 'a/b/c', 'Ä']],
  ['isSecretKey', isSecretKey, ['k', '.k', 'K_.-9', a(253)], ['', a(254), '.', '..', '..k', 'a/b', 'ä']],
  [
    'isVariableName',
    isVariableName,
    ['A', '1A', ' ', 'a b', '..', '~', a(5_000)],
    ['', '=', 'A=', 'a\tb', 'a\n', '\x7f', 'ä'],
  ],
])('%s', (_name, isValid, valid, invalid) => {
  test.each(valid)('takes %j', (text) => expect(isValid(text)).toBe(true));
  test.each(invalid)('refuses %j', (text) => expect(isValid(text)).toBe(false));
});
