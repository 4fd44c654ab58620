import { isSameMajor, parseSchedulerVersion } from './scheduler-version';

describe('parseSchedulerVersion', () => {
  test.each([
    ['v1.2.0', { major: 1, minor: 2, patch: 0 }],
    ['12.0.3', { major: 12, minor: 0, patch: 3 }],
    ['v2', { major: 2, minor: 0, patch: 0 }],
    ['v2.1', { major: 2, minor: 1, patch: 0 }],
    ['v1.2.3-beta.1+build', { major: 1, minor: 2, patch: 3 }],
  ])('reads %s', (text, version) => {
    expect(parseSchedulerVersion(text)).toEqual(version);
  });

  test.each(['', 'v', 'latest', 'v1.', 'v1.2.3.4', 'vv1.0.0', ' v1.0.0', '-1.0.0'])('refuses %j', (text) => {
    expect(parseSchedulerVersion(text)).toBeNull();
  });
});

describe('isSameMajor', () => {
  test.each([
    ['v1.0.0', 'v1.9.0', true],
    ['1.0.0', 'v1.0.0', true],
    ['v1.0.0', 'v2.0.0', false],
    ['v1.0.0', 'v10.0.0', false],
    ['latest', 'v1.0.0', false],
    ['latest', 'latest', false],
  ])('%s and %s: %p', (one, other, expected) => {
    expect(isSameMajor(one, other)).toBe(expected);
  });
});
