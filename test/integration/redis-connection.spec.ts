import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import {
  bullmqConnectionOptions,
  closeRedisConnection,
  createRedisConnection,
  isRedisUnavailable,
  type RedisConnectionOptions,
} from '../../src/adapters/redis/redis-connection';
import { RedisRoomStore } from '../../src/adapters/redis/redis-room-store';
import { Logger } from '../../src/ports/logger';
import { startTestRedis } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import { TcpGate } from '../support/tcp-gate';
import { startScriptedRedisServer, type ScriptedAnswer } from '../support/scripted-redis-server';
import { testCertificate, testCertificateKey } from '../support/test-certificate';

const readOnly = "-READONLY You can't write against a read only replica.\r\n";
const ok = '+OK\r\n';

class RecordingLogger extends Logger {
  readonly lines: string[] = [];
  error(_fields: object, message: string): void {
    this.lines.push(`error ${message}`);
  }
  warn(_fields: object, message: string): void {
    this.lines.push(`warn ${message}`);
  }
  info(_fields: object, message: string): void {
    this.lines.push(`info ${message}`);
  }
  debug(): void {}
  child(): Logger {
    return this;
  }
}

describe('a Redis connection', () => {
  const cleanUps: (() => Promise<void>)[] = [];

  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  });

  async function serve(answer: ScriptedAnswer, options: Parameters<typeof startScriptedRedisServer>[1] = {}) {
    const server = await startScriptedRedisServer(answer, options);
    cleanUps.push(() => server.stop());
    return server;
  }

  function connect(port: number, options: Partial<RedisConnectionOptions> = {}): Redis {
    const redis = createRedisConnection({ url: `redis://127.0.0.1:${port}`, name: 'test', ...options });
    cleanUps.push(() => closeRedisConnection(redis, 100));
    return redis;
  }

  async function freePort(): Promise<number> {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }

  it.each([
    ['READONLY', readOnly],
    ['READONLY from a script', '-ERR Error running script: @user_script: 1: -READONLY You cannot write.\r\n'],
    ['LOADING', '-LOADING Redis is loading the dataset in memory\r\n'],
    ['MASTERDOWN', "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n"],
  ])('moves to a new connection and sends every command once more after %s', async (_, refusal) => {
    const server = await serve(({ connection }) => (connection === 1 ? refusal : ok));
    const redis = connect(server.port);
    const answers = await Promise.all(['a', 'b', 'c'].map((key) => redis.set(key, '1')));
    expect(answers).toEqual(['OK', 'OK', 'OK']);
    expect(server.received.size).toBe(2);
    expect(server.received.get(2)).toEqual(['set', 'set', 'set']);
  });

  describe('to a master and its replica', () => {
    const room = { id: 'arena-1', scheduler: 'arena', version: 'v1.0.0', validation: false };
    const ready = { room: room.id, scheduler: 'arena', status: 'ready', runningMatches: 0, metadata: null } as const;
    const pinged = (store: RedisRoomStore, of: string = room.id) =>
      store.applyPing({ ...ready, room: of, listener: null, resync: false }, { maxMatches: 1 });

    /** On its port, or that of a gate before it. */
    async function startServer() {
      const server = await startTestRedis('auto');
      cleanUps.push(() => server.stop());
      const { port, password } = new URL(server.url);
      const open = (at = Number(port)) => connect(at, { url: `redis://:${password}@127.0.0.1:${at}` });
      return { port: Number(port), password, open, direct: open() };
    }

    it('stores pings again as soon as the name leads to the new master, on a connection that led to the old one', async () => {
      const [old, next] = [await startServer(), await startServer()];
      // One password for both, as servers have that take over from each other.
      await next.direct.config('SET', 'requirepass', old.password, 'masterauth', old.password);
      // A master waits 5 s for more replicas before it sends its data.
      await old.direct.config('SET', 'masterauth', old.password, 'repl-diskless-sync-delay', '0');
      await next.direct.replicaof('127.0.0.1', old.port);
      const gate = await TcpGate.start(old.port);
      cleanUps.push(() => gate.stop());
      const store = new RedisRoomStore(old.open(gate.port));
      await store.createRoom(room);
      expect(await pinged(store)).toMatchObject({ outcome: 'applied' });
      await eventually(async () => {
        expect(await new RedisRoomStore(next.direct).getRoom('arena', room.id)).toMatchObject({ pingStatus: 'ready' });
      });

      await next.direct.replicaof('NO', 'ONE');
      await old.direct.replicaof('127.0.0.1', next.port);
      gate.targetPort = next.port;
      // Also behind pings that touch nothing, in the same call.
      const answers = await Promise.all([pinged(store, 'nobody'), pinged(store), pinged(store)]);
      expect(answers.map(({ outcome }) => outcome)).toEqual(['unknown_room', 'applied', 'applied']);
      expect(gate.accepted).toBe(2);
    });

    it('stores pings again when a server that could not write can', async () => {
      const { open, direct } = await startServer();
      const store = new RedisRoomStore(open());
      await store.createRoom(room);
      for (const [refuse, allow] of [
        [() => direct.replicaof('127.0.0.1', 1), () => direct.replicaof('NO', 'ONE')],
        [() => direct.config('SET', 'maxmemory', '1'), () => direct.config('SET', 'maxmemory', '0')],
        [
          () => direct.config('SET', 'min-replicas-to-write', '1'),
          () => direct.config('SET', 'min-replicas-to-write', '0'),
        ],
      ] as const) {
        await refuse();
        await expect(pinged(store)).rejects.toMatchObject({ code: 'room_store.unavailable' });
        await allow();
        expect(await pinged(store)).toMatchObject({ outcome: 'applied' });
      }
    });
  });

  it('gives up after the second refusal', async () => {
    const server = await serve(() => readOnly);
    const redis = connect(server.port);
    await expect(redis.set('a', '1')).rejects.toThrow('READONLY');
    const sent = [...server.received.values()].flat();
    expect(sent).toEqual(['set', 'set']);
  });

  it('fails a command that gets no answer in time, and heals by a new connection', async () => {
    const server = await serve(({ connection }) => (connection === 1 ? null : ok));
    const redis = connect(server.port, { commandTimeoutMs: 100 });
    const began = Date.now();
    const failure = await redis.set('a', '1').catch((error: unknown) => error);
    expect(isRedisUnavailable(failure)).toBe(true);
    expect(Date.now() - began).toBeLessThan(1_000);
    while ((await redis.set('a', '1').catch(() => null)) === null) {
      expect(Date.now() - began).toBeLessThan(5_000);
    }
    expect(server.received.size).toBe(2);
  });

  it('fails commands in time while nobody listens, logs the outage once, and works when somebody does', async () => {
    const port = await freePort();
    const logger = new RecordingLogger();
    const redis = connect(port, { commandTimeoutMs: 150, logger });
    const store = new RedisRoomStore(redis);
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await expect(store.endRoom('arena', 'arena-1')).rejects.toMatchObject({
        kind: 'unavailable',
        code: 'room_store.unavailable',
      });
    }
    expect(logger.lines).toEqual(['warn redis connection lost']);

    await serve(() => ok, { port });
    const began = Date.now();
    while ((await redis.set('a', '1').catch(() => null)) === null) {
      expect(Date.now() - began).toBeLessThan(5_000);
    }
    expect(logger.lines).toEqual(['warn redis connection lost', 'info redis connection is back']);
  });

  it('lets commands of BullMQ wait for as long as it takes', async () => {
    const server = await serve(() => null);
    const redis = connect(server.port, bullmqConnectionOptions);
    const outcome = await Promise.race([redis.set('a', '1').catch(() => 'failed'), sleep(300, 'waits')]);
    expect(outcome).toBe('waits');
    expect(redis.options.maxRetriesPerRequest).toBeNull();
  });

  it('sends commands of one moment in one write', async () => {
    const server = await serve(() => ok);
    const redis = connect(server.port);
    await redis.set('a', '1');
    const write = jest.spyOn(redis.stream, 'write');
    await Promise.all(['a', 'b', 'c'].map((key) => redis.set(key, '1')));
    expect(write).toHaveBeenCalledTimes(1);
  });

  describe('over TLS', () => {
    const tls = { key: testCertificateKey, cert: testCertificate };

    it('refuses a certificate that nobody vouches for', async () => {
      const server = await serve(() => ok, { tls });
      const redis = connect(server.port, { url: `rediss://127.0.0.1:${server.port}`, commandTimeoutMs: 300 });
      const failure = new Promise<NodeJS.ErrnoException>((resolve) => redis.once('error', resolve));
      await expect(redis.set('a', '1')).rejects.toThrow();
      expect((await failure).code).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
      expect([...server.received.values()].flat()).toEqual([]);
    });

    it('trusts the authority that it was given', async () => {
      const server = await serve(() => ok, { tls });
      const redis = connect(server.port, { url: `rediss://localhost:${server.port}`, tlsCa: testCertificate });
      await expect(redis.set('a', '1')).resolves.toBe('OK');
    });
  });

  it('closes within the grace it was given, also while Redis hangs', async () => {
    const server = await serve(() => null);
    const redis = connect(server.port);
    void redis.set('a', '1').catch(() => undefined);
    await sleep(50);
    const began = Date.now();
    await closeRedisConnection(redis, 100);
    expect(Date.now() - began).toBeLessThan(1_000);
    await expect(redis.set('b', '1')).rejects.toThrow('Connection is closed');
  });
});
