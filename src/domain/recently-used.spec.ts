import { RecentlyUsed } from './recently-used';

test('computes once per key, and again for the key that was not used for longest', () => {
  const cache = new RecentlyUsed<string>(2);
  const computed: string[] = [];
  const ask = (key: string) =>
    cache.get(key, () => {
      computed.push(key);
      return key.toUpperCase();
    });
  expect([ask('a'), ask('b'), ask('a'), ask('c'), ask('a'), ask('b')]).toEqual(['A', 'B', 'A', 'C', 'A', 'B']);
  expect(computed).toEqual(['a', 'b', 'c', 'b']);
  expect(cache.size).toBe(2);
});

test('does not remember a failure', () => {
  const cache = new RecentlyUsed<number>(2);
  expect(() =>
    cache.get('a', () => {
      throw new Error('no');
    }),
  ).toThrow('no');
  expect(cache.get('a', () => 1)).toBe(1);
});

test('remembers undefined too', () => {
  const cache = new RecentlyUsed<number | undefined>(2);
  cache.get('a', () => undefined);
  expect(cache.get('a', () => 1)).toBeUndefined();
});
