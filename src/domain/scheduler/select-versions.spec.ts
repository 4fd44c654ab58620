import { selectVersions } from './select-versions';

describe('a selector of versions', () => {
  const all = ['v1.0.0', 'v2.0.0', 'v2.1.0', 'v2.1.10', 'v2.10.0', 'v20.0.0', '2.1.7', 'v2.1.0-rc.1'];

  it.each([
    ['', all],
    ['v2.1.0', ['v2.1.0']],
    ['2.1.0', ['v2.1.0']],
    ['v2.1.1', []],
    ['v2.1', ['v2.1.0', 'v2.1.10', '2.1.7', 'v2.1.0-rc.1']],
    ['2', ['v2.0.0', 'v2.1.0', 'v2.1.10', 'v2.10.0', '2.1.7', 'v2.1.0-rc.1']],
    ['v2.1.0-rc.1', ['v2.1.0-rc.1']],
    ['v3', []],
  ])('%p means %p', (selector, expected) => {
    expect(selectVersions(all, selector)).toEqual(expected);
  });
});
