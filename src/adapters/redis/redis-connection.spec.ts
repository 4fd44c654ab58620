import { ReplyError } from 'ioredis';
import { createRedisConnection, isRedisUnavailable, reconnectDelayMs } from './redis-connection';

describe('createRedisConnection', () => {
  it.each(['', 'localhost:6379', 'http://host', 'redis://', 'redis://host/one', 'redis:///0'])(
    'refuses the URL %p',
    (url) => {
      expect(() => createRedisConnection({ url, name: 'test' })).toThrow(
        expect.objectContaining({ kind: 'invalid_argument', code: 'redis.url_invalid' }) as Error,
      );
    },
  );

  it('does not repeat a password that stands in a wrong URL', () => {
    expect(() => createRedisConnection({ url: 'http://user:secret@host', name: 'test' })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('secret') }) as Error,
    );
  });
});

describe('reconnectDelayMs', () => {
  it('grows to 2 seconds at most and is never the same for all', () => {
    const delays = Array.from({ length: 100 }, () => reconnectDelayMs(1_000));
    expect(Math.max(...delays)).toBeLessThanOrEqual(2_000);
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(1_000);
    expect(new Set(delays).size).toBeGreaterThan(10);
    expect(reconnectDelayMs(1)).toBeLessThanOrEqual(50);
  });
});

describe('isRedisUnavailable', () => {
  const reply = (message: string): Error => new (ReplyError as unknown as new (message: string) => Error)(message);

  it.each([
    ["READONLY You can't write against a read only replica.", true],
    ['ERR Error running script (call to f_1): @user_script:1: -READONLY You cannot write', true],
    ['LOADING Redis is loading the dataset in memory', true],
    ['CLUSTERDOWN The cluster is down', true],
    ["OOM command not allowed when used memory > 'maxmemory'.", true],
    ['ERR user_script:3: attempt to index a nil value', false],
    ['WRONGTYPE Operation against a key holding the wrong kind of value', false],
  ])('of the answer "%s" is %p', (message, unavailable) => {
    expect(isRedisUnavailable(reply(message))).toBe(unavailable);
  });

  it('is true for connections that break and false for our own mistakes', () => {
    expect(isRedisUnavailable(new Error('Command timed out'))).toBe(true);
    expect(isRedisUnavailable(new Error('Connection is closed.'))).toBe(true);
    expect(isRedisUnavailable(Object.assign(new Error('connect ECONNREFUSED'), { syscall: 'connect' }))).toBe(true);
    expect(isRedisUnavailable(new TypeError('x is not a function'))).toBe(false);
    expect(isRedisUnavailable('text')).toBe(false);
  });
});
