import { DependencyChecks } from './readiness-checks';

describe('DependencyChecks', () => {
  it.each<[string, Record<string, () => Promise<unknown>>, string[]]>([
    ['there is nothing to ask', {}, []],
    ['all answer', { postgres: async () => 1, redis: async () => 'PONG' }, []],
    [
      'one rejects',
      { postgres: async () => Promise.reject(new Error('connection refused')), redis: async () => 'PONG' },
      ['postgres: connection refused'],
    ],
    [
      'one throws at once',
      {
        redis: () => {
          throw new Error('closed');
        },
      },
      ['redis: closed'],
    ],
    ['one never answers', { redis: () => new Promise(() => undefined) }, ['redis: no answer within 20 ms']],
  ])('names what failed when %s', async (_name, dependencies, failed) => {
    expect(await new DependencyChecks(dependencies, 20).check()).toEqual({ ok: failed.length === 0, failed });
  });
});
