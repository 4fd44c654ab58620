import { isMoreInKubernetes, parseKubernetesQuantity } from './kubernetes-quantity';

describe('parseKubernetesQuantity', () => {
  test.each([
    ['1', 1],
    ['100m', 0.1],
    ['0.5', 0.5],
    ['.5', 0.5],
    ['1.', 1],
    ['+2', 2],
    ['-2', -2],
    ['0', 0],
    ['64Mi', 67_108_864],
    ['1.5Gi', 1_610_612_736],
    ['2k', 2000],
    ['1E', 1e18],
    ['1E3', 1000],
    ['1e-3', 0.001],
    ['1Ei', 2 ** 60],
    ['500u', 0.0005],
    ['7n', 7e-9],
  ])('%s is %p', (text, value) => {
    const quantity = parseKubernetesQuantity(text);
    expect(Number(quantity?.numerator) / Number(quantity?.denominator)).toBe(value);
  });

  test.each([
    '',
    '.',
    'm',
    '1K',
    '1ki',
    '1mi',
    '64 Mi',
    ' 1',
    '1,5',
    '1.2.3',
    '1e',
    '1MiB',
    '1MB',
    'abc',
    '1e3Mi',
    '--1',
  ])('%j is none', (text) => {
    expect(parseKubernetesQuantity(text)).toBeNull();
  });
});

describe('isMoreInKubernetes', () => {
  test.each([
    ['2', '1', true],
    ['1', '1', false],
    ['1', '2', false],
    ['1Gi', '1024Mi', false],
    ['1073741825', '1Gi', true],
    ['9007199254740993', '9007199254740992', true],
    ['1500u', '1400u', false],
    ['2100u', '2m', true],
    ['1n', '0', true],
    ['10Ei', '8Ei', false],
    ['1e100', '1e50', true],
  ])('%s, beside %s: %p', (amount, other, isMore) => {
    expect(isMoreInKubernetes(parseKubernetesQuantity(amount)!, parseKubernetesQuantity(other)!)).toBe(isMore);
  });
});
