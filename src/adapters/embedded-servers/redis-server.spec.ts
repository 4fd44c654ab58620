import { chooseRedis, type RedisChoice, redisSettings } from './redis-server';

const program = { file: '/usr/bin/redis-server', env: {}, description: 'Redis 7.0.15' };
const has = async () => ({ program });
const lacks = async () => ({ missing: 'there is none' });

describe('chooseRedis', () => {
  it.each<[string, RedisChoice, typeof has | typeof lacks, typeof has | typeof lacks, string]>([
    ['takes the one on PATH first', 'auto', has, has, 'path'],
    ['takes the package when PATH has none', 'auto', lacks, has, 'package'],
    ['takes JavaScript when the machine can have nothing else', 'auto', lacks, lacks, 'js'],
    ['takes the forced package though PATH has one', 'package', has, has, 'package'],
    ['takes JavaScript when forced, whatever else there is', 'js', has, has, 'js'],
  ])('%s', async (_name, choice, path, fromPackage, kind) => {
    expect(await chooseRedis(choice, { path, package: fromPackage })).toMatchObject({ kind });
  });

  it('does not fetch a package when PATH has one', async () => {
    const fetch = jest.fn(has);
    await chooseRedis('auto', { path: has, package: fetch });
    expect(fetch).not.toHaveBeenCalled();
  });

  it('says why it passed over the better ones', async () => {
    const chosen = await chooseRedis('auto', { path: lacks, package: lacks });
    expect(chosen.reason).toBe('slow, but always there; there is none; there is none');
  });

  it('refuses a forced kind that cannot be had, instead of taking another', async () => {
    await expect(chooseRedis('path', { path: lacks, package: has })).rejects.toMatchObject({
      code: 'embedded_redis.not_available',
      message: expect.stringContaining('there is none'),
    });
  });
});

describe('redisSettings', () => {
  it('keeps what is written, on loopback, behind a password', () => {
    const settings = redisSettings({ port: 6379, password: 'secret', directory: '/tmp/a "b"' }).split('\n');
    expect(settings).toEqual(
      expect.arrayContaining([
        'bind 127.0.0.1',
        'requirepass secret',
        'dir "/tmp/a \\"b\\""',
        'appendonly yes',
        'save ""',
        'maxmemory-policy noeviction',
      ]),
    );
  });
});
