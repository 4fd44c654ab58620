import { parsePortRange } from './parse-port-range';

describe('parsePortRange', () => {
  test.each([
    ['1000-2000', { start: 1000, end: 2000 }],
    ['1000-1000', { start: 1000, end: 1000 }],
    ['1-65535', { start: 1, end: 65_535 }],
  ])('reads %s', (text, range) => {
    expect(parsePortRange(text)).toEqual(range);
  });

  test.each(['1000-999', '1000', 'abc', '1000-', '-1000', '0-10', '1-65536', '1 - 2', ''])('refuses %j', (text) => {
    expect(parsePortRange(text)).toBeNull();
  });
});
