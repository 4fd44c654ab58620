import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import Redis from 'ioredis';
import { Client } from 'pg';
import { defaultCacheDirectory } from '../../src/adapters/embedded-servers/cache-directory';
import { type EmbeddedServers, startEmbeddedServers } from '../../src/adapters/embedded-servers/embedded-servers';
import { findPostgresPackage, preparePostgresBinaries } from '../../src/adapters/embedded-servers/postgres-binaries';
import { startPostgresServer } from '../../src/adapters/embedded-servers/postgres-server';
import { isRunning, type ProcessIdentity } from '../../src/adapters/embedded-servers/process-identity';
import { findRedisPackage } from '../../src/adapters/embedded-servers/redis-program';
import { type RedisKind, startRedisServer } from '../../src/adapters/embedded-servers/redis-server';
import { removeState } from '../../src/adapters/embedded-servers/reset-state';
import { acquireStateDirectory } from '../../src/adapters/embedded-servers/state-directory';
import { hasEndedWithin } from '../../src/adapters/embedded-servers/watchdog';
import type { DomainError } from '../../src/domain/errors';
import { makeTestStateDirectory, QuietLogger, startTestPostgres, startTestRedis } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import { RecordedLog } from '../support/recorded-log';

jest.setTimeout(60_000);

const logger = new QuietLogger();
const searchPath = process.env.PATH ?? '';
const isRoot = process.getuid?.() === 0;
/** The package can be had where there is apt and, unless MAESTRO_TEST_REDIS=js says otherwise, a network. */
const hasPackage = existsSync('/usr/bin/apt-get') && process.env.MAESTRO_TEST_REDIS !== 'js';
const kindOfOwner: RedisKind = hasPackage ? 'package' : 'js';

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  try {
    await client.connect();
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

async function redis(url: string, ...[command, ...args]: [string, ...string[]]): Promise<unknown> {
  const client = new Redis(url, { lazyConnect: true, enableReadyCheck: false, retryStrategy: () => null });
  client.on('error', () => {});
  try {
    await client.connect();
    return await client.call(command, ...args);
  } finally {
    client.disconnect();
  }
}

interface Recorded {
  watchdog: ProcessIdentity;
  server: ProcessIdentity;
}

function recorded(stateDirectory: string, name: 'postgres' | 'redis'): Recorded {
  return JSON.parse(readFileSync(join(stateDirectory, 'run', `${name}.json`), 'utf8')) as Recorded;
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

/** Runs `use` while somebody else listens on a port. */
async function withTakenPort(use: (port: number) => Promise<void>): Promise<void> {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen({ port: 0, host: '127.0.0.1' }, resolve));
  try {
    await use((other.address() as { port: number }).port);
  } finally {
    await new Promise((resolve) => other.close(resolve));
  }
}

let stateDirectory: string;
beforeEach(() => (stateDirectory = makeTestStateDirectory()));
afterEach(async () => {
  await removeState(stateDirectory, logger);
  rmSync(stateDirectory, { recursive: true, force: true }); // What a test put there itself.
});

describe('the embedded PostgreSQL', () => {
  it('is a whole PostgreSQL 18 that syncs its writes', async () => {
    const postgres = await startPostgresServer({ stateDirectory, port: 0, logger });
    expect(
      await query(
        postgres.url,
        `SELECT current_database() AS database, current_setting('server_version') AS version, current_setting('fsync') AS fsync,
                current_setting('server_encoding') AS encoding, current_setting('TimeZone') AS zone`,
      ),
    ).toEqual([
      { database: 'maestro', version: expect.stringMatching(/^18\./), fsync: 'on', encoding: 'UTF8', zone: 'UTC' },
    ]);
    await postgres.stop();
  });

  it('is given to suites, each with its own data', async () => {
    const [one, other] = await Promise.all([startTestPostgres(), startTestPostgres()]);
    await query(one.url, 'CREATE TABLE mine ()');
    await expect(query(other.url, 'TABLE mine')).rejects.toThrow('does not exist');
    await Promise.all([one.stop(), other.stop()]);
  });

  it('lets in only who knows its password', async () => {
    const postgres = await startPostgresServer({ stateDirectory, port: 0, throwAway: true, logger });
    const url = new URL(postgres.url);
    url.password = 'guessed';
    await expect(query(url.href, 'SELECT 1')).rejects.toThrow('password authentication failed');
    await postgres.stop();
  });

  it('keeps its data over a restart, and leaves no process when it stops', async () => {
    const first = await startPostgresServer({ stateDirectory, port: 0, throwAway: true, logger });
    await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    const { watchdog, server } = recorded(stateDirectory, 'postgres');
    await first.stop();
    expect([isRunning(watchdog), isRunning(server)]).toEqual([false, false]);

    const second = await startPostgresServer({ stateDirectory, port: 0, throwAway: true, logger });
    expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
    await second.stop();
  });

  it('takes another port when the preferred one is taken', async () => {
    await withTakenPort(async (port) => {
      const postgres = await startPostgresServer({ stateDirectory, port, throwAway: true, logger });
      expect(portOf(postgres.url)).not.toBe(port);
      expect(await query(postgres.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
      await postgres.stop();
    });
  });

  it('is unpacked anew where npm ran no install scripts', async () => {
    const source = findPostgresPackage();
    const bare = join(stateDirectory, 'bare');
    cpSync(source.native, bare, { recursive: true, filter: (path) => !lstatSync(path).isSymbolicLink() });
    chmodSync(join(bare, 'bin', 'postgres'), 0o644);
    const ready = await preparePostgresBinaries({ ...source, native: bare }, undefined, join(stateDirectory, 'cache'));
    expect(ready).not.toBe(bare);
    expect(execFileSync(join(ready, 'bin', 'postgres'), ['--version'], { encoding: 'utf8' })).toContain(' 18.');
  });

  // Only root runs it as another user, who may be unable to reach a private directory.
  (isRoot ? it : it.skip)('works in a private directory of root, and reset finds its data elsewhere', async () => {
    chmodSync(stateDirectory, 0o700);
    const postgres = await startPostgresServer({ stateDirectory, port: 0, throwAway: true, logger });
    await query(postgres.url, 'CREATE TABLE kept ()');
    await postgres.stop();
    const elsewhere = readFileSync(join(stateDirectory, 'data-elsewhere'), 'utf8');
    expect(existsSync(join(elsewhere, 'postgres', 'data'))).toBe(true);

    await removeState(stateDirectory, logger);
    expect([existsSync(elsewhere), existsSync(stateDirectory)]).toEqual([false, false]);
  });
});

describe('the embedded Redis', () => {
  /** A directory with a redis-server for PATH: the package's, called by a script. */
  async function pathWithRedis(): Promise<string> {
    const search = await findRedisPackage(defaultCacheDirectory(), true);
    if ('missing' in search) throw new Error(search.missing);
    const { file, env } = search.program;
    const script = `#!/bin/sh\nLD_LIBRARY_PATH=${env.LD_LIBRARY_PATH ?? ''} exec ${file} "$@"\n`;
    return writeProgram(script);
  }

  const kinds: { kind: RedisKind; persistent: boolean; description: RegExp }[] = [
    { kind: 'js', persistent: false, description: /^js-redis-server$/ },
    ...(hasPackage
      ? [
          { kind: 'package' as const, persistent: true, description: /^(Redis|Valkey) \d+\./ },
          { kind: 'path' as const, persistent: true, description: /^(Redis|Valkey) \d+\./ },
        ]
      : []),
  ];

  describe.each(kinds)('of kind $kind', ({ kind, persistent, description }) => {
    const start = async (port = 0) =>
      startRedisServer({
        stateDirectory,
        choice: kind,
        searchPath: kind === 'path' ? [await pathWithRedis(), searchPath].join(delimiter) : searchPath,
        port,
        logger,
      });

    it(`serves, and ${persistent ? 'keeps its data' : 'starts empty'} after a restart, leaving no process`, async () => {
      const first = await start();
      expect(first).toMatchObject({ kind, persistent, description: expect.stringMatching(description) });
      expect(await redis(first.url, 'SET', 'key', 'value')).toBe('OK');
      expect(await redis(first.url, 'GET', 'key')).toBe('value');
      const { watchdog, server } = recorded(stateDirectory, 'redis');
      await first.stop();
      expect([isRunning(watchdog), isRunning(server)]).toEqual([false, false]);

      const second = await start();
      expect(await redis(second.url, 'GET', 'key')).toBe(persistent ? 'value' : null);
      await second.stop();
    });

    it('lets in only who knows its password', async () => {
      const server = await start();
      await expect(redis(`redis://127.0.0.1:${server.port}`, 'GET', 'key')).rejects.toThrow(/NOAUTH/);
      await server.stop();
    });

    it('takes another port when the preferred one is taken', async () => {
      await withTakenPort(async (port) => {
        const server = await start(port);
        expect(server.port).not.toBe(port);
        expect(await redis(server.url, 'PING')).toBe('PONG');
        await server.stop();
      });
    });
  });

  it('is given to suites by the kind that they ask for', async () => {
    const server = await startTestRedis('js');
    expect(server.kind).toBe('js');
    expect(await redis(server.url, 'PING')).toBe('PONG');
    await server.stop();
  });
});

function writeProgram(script: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'maestro-bin-'));
  directories.push(directory);
  chmodSync(directory, 0o755);
  writeFileSync(join(directory, 'redis-server'), script, { mode: 0o755 });
  return directory;
}
const directories: string[] = [];
afterAll(() => directories.forEach((directory) => rmSync(directory, { recursive: true, force: true })));

describe('a server that ends by itself', () => {
  const killed = (name: 'postgres' | 'redis', part: 'server' | 'watchdog') => {
    const { [part]: victim } = recorded(stateDirectory, name);
    process.kill(victim.pid, 'SIGKILL');
    return victim;
  };
  const outageLines = (log: RecordedLog) =>
    log.lines.flatMap(({ level, message, fields }) => (fields['server'] === undefined ? [] : [[level, message]]));
  const oneOutage = [
    ['warn', 'an embedded server ended unexpectedly and is restarted'],
    ['info', 'an embedded server is back'],
  ];

  it.each(['server', 'watchdog'] as const)('PostgreSQL comes back at its URL with its data: its %s', async (part) => {
    const log = new RecordedLog();
    const postgres = await startPostgresServer({ stateDirectory, port: 0, throwAway: true, logger: log });
    await query(postgres.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    const { server } = recorded(stateDirectory, 'postgres');
    killed('postgres', part);
    await eventually(() => expect(outageLines(log)).toEqual(oneOutage), { timeoutMs: 30_000 });
    expect(await query(postgres.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
    expect([isRunning(server), isRunning(recorded(stateDirectory, 'postgres').server)]).toEqual([false, true]);
    await postgres.stop();
    expect(existsSync(join(stateDirectory, 'run', 'postgres.json'))).toBe(false);
  });

  it.each(hasPackage ? (['package', 'js'] as const) : (['js'] as const))(
    'Redis of kind %s comes back at its URL, a real one with its data',
    async (choice) => {
      const log = new RecordedLog();
      const server = await startRedisServer({ stateDirectory, choice, searchPath, port: 0, logger: log });
      expect(await redis(server.url, 'CONFIG', 'SET', 'appendfsync', 'always').catch(() => 'OK')).toBe('OK');
      await redis(server.url, 'SET', 'key', 'value');
      killed('redis', 'server');
      await eventually(() => expect(outageLines(log)).toEqual(oneOutage), { timeoutMs: 30_000 });
      expect(await redis(server.url, 'GET', 'key')).toBe(choice === 'js' ? null : 'value');
      await server.stop();
    },
  );

  it('stays down when it is stopped before it is back', async () => {
    const log = new RecordedLog();
    const server = await startRedisServer({ stateDirectory, choice: 'js', searchPath, port: 0, logger: log });
    killed('redis', 'server');
    await eventually(() => expect(outageLines(log)).toHaveLength(1));
    await server.stop();
    expect(existsSync(join(stateDirectory, 'run', 'redis.json'))).toBe(false);
    await expect(redis(server.url, 'PING')).rejects.toThrow();
  });

  it('is given up, with the reason, when it cannot come back', async () => {
    const [log, givenUp]: [RecordedLog, DomainError[]] = [new RecordedLog(), []];
    const onGivenUp = (error: DomainError) => givenUp.push(error);
    const server = await startRedisServer({
      stateDirectory,
      choice: 'js',
      searchPath,
      port: 0,
      onGivenUp,
      logger: log,
    });
    killed('redis', 'server');
    await eventually(() => expect(outageLines(log)).toHaveLength(1));
    const thief = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => thief.listen({ port: server.port, host: '127.0.0.1' }, resolve));
    try {
      await eventually(() => expect(givenUp).toHaveLength(1), { timeoutMs: 45_000 });
    } finally {
      await new Promise((resolve) => thief.close(resolve));
    }
    expect(givenUp[0]).toMatchObject({
      code: 'embedded_redis.given_up',
      message: expect.stringMatching(/^The embedded Redis was restarted 6 times .*EADDRINUSE/),
    });
    await server.stop();
  });
});

describe('a reset', () => {
  const entries = () => readdirSync(stateDirectory).sort();

  it('refuses a directory of others and touches nothing in it, not even for a moment', async () => {
    rmSync(stateDirectory, { recursive: true });
    mkdirSync(join(stateDirectory, 'postgres'), { recursive: true });
    writeFileSync(join(stateDirectory, 'postgres', 'PG_VERSION'), '18');
    writeFileSync(join(stateDirectory, 'thesis.txt'), 'x');
    const { mtimeMs } = statSync(stateDirectory);
    const endRooms = jest.fn();
    await expect(removeState(stateDirectory, logger, endRooms)).rejects.toMatchObject({
      code: 'state_directory.foreign',
    });
    expect(endRooms).not.toHaveBeenCalled();
    expect([entries(), readdirSync(join(stateDirectory, 'postgres'))]).toEqual([
      ['postgres', 'thesis.txt'],
      ['PG_VERSION'],
    ]);
    expect(statSync(stateDirectory).mtimeMs).toBe(mtimeMs);
    rmSync(stateDirectory, { recursive: true });
  });

  it('makes no missing directory, and leaves an empty one that is not marked', async () => {
    const [missing, empty] = [join(stateDirectory, 'missing'), join(stateDirectory, 'empty')];
    mkdirSync(empty);
    expect([await removeState(missing, logger), await removeState(empty, logger)]).toEqual([false, false]);
    expect([existsSync(missing), existsSync(empty)]).toEqual([false, true]);
  });

  it('keeps what a user put there, and says so', async () => {
    for (const name of ['logs', 'run', 'runtime', 'secrets']) mkdirSync(join(stateDirectory, name));
    for (const name of ['owner-1-2.lock', 'notes.txt', 'sample-created']) writeFileSync(join(stateDirectory, name), '');
    writeFileSync(join(stateDirectory, 'secrets', 'key'), 'x');
    const log = new RecordedLog();
    expect(await removeState(stateDirectory, log)).toBe(true);
    expect([entries(), readdirSync(join(stateDirectory, 'secrets'))]).toEqual([['notes.txt', 'secrets'], ['key']]);
    expect(log.lines).toMatchObject([{ level: 'info', fields: { kept: ['notes.txt', 'secrets'] } }]);
    rmSync(stateDirectory, { recursive: true });
  });

  it('ends the rooms while it owns the directory', async () => {
    const endRooms = jest.fn(async () => {
      await expect(acquireStateDirectory(stateDirectory)).rejects.toMatchObject({ code: 'state_directory.in_use' });
    });
    await removeState(stateDirectory, logger, endRooms);
    expect([endRooms.mock.calls.length, existsSync(stateDirectory)]).toEqual([1, false]);
  });
});

describe('a start of both', () => {
  it('says in one line what the operating system refuses', async () => {
    writeFileSync(join(stateDirectory, 'logs'), ''); // In the way of the servers' logs.
    const starting = startEmbeddedServers({
      stateDirectory,
      postgres: false,
      redis: 'js',
      searchPath,
      redisPort: 0,
      logger,
    });
    await expect(starting).rejects.toMatchObject({
      code: 'embedded_redis.start_failed',
      message: expect.stringMatching(/^The embedded Redis did not start: (EEXIST|ENOTDIR).*$/),
    });
  });

  // As on a full disk: no file may grow beyond a megabyte, and the first segment of the write-ahead log has sixteen.
  (process.platform === 'win32' ? it.skip : it)('says in one line why the data could not be made', async () => {
    const script = join(__dirname, '..', 'support', 'embedded-servers-owner.js');
    const limited = 'ulimit -f 2048 && exec "$0" "$@"';
    const starting = spawn('sh', ['-c', limited, process.execPath, script, stateDirectory, 'postgres', '-']);
    let complaint = '';
    starting.stderr.setEncoding('utf8').on('data', (chunk: string) => (complaint += chunk));
    await new Promise((resolve) => starting.once('close', resolve));
    expect(complaint).toMatch(
      /^DomainError: The data directory \S+ for the embedded PostgreSQL could not be made: .+\.\n +at /,
    );
  });

  it('ends PostgreSQL when Redis fails, and says what Redis said', async () => {
    const broken = writeProgram(
      '#!/bin/sh\nif [ "$1" = --version ]; then echo "Redis server v=7.0.0"; else echo "broken on purpose"; exit 3; fi\n',
    );
    await expect(
      startEmbeddedServers({
        stateDirectory,
        postgres: true,
        redis: 'path',
        searchPath: broken,
        postgresPort: 0,
        redisPort: 0,
        logger,
      }),
    ).rejects.toMatchObject({
      code: 'embedded_redis.start_failed',
      message: expect.stringMatching(/exit code 3.*broken on purpose/),
    });
    const pidFile = join(stateDirectory, 'postgres', 'data', 'postmaster.pid');
    expect([existsSync(join(stateDirectory, 'run', 'postgres.json')), existsSync(pidFile)]).toEqual([false, false]);
  });
});

describe('the servers of an owner', () => {
  let owner: ChildProcessWithoutNullStreams;
  let lines: AsyncIterator<string>;
  let postgresUrl: string;
  let redisUrl: string;

  const nextEvent = async () => JSON.parse((await lines.next()).value as string) as Record<string, string>;

  beforeEach(async () => {
    const script = join(__dirname, '..', 'support', 'embedded-servers-owner.js');
    owner = spawn(process.execPath, [script, stateDirectory, 'postgres', kindOfOwner], {
      detached: true, // A process group of its own, as in a terminal.
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    lines = createInterface({ input: owner.stdout })[Symbol.asyncIterator]();
    const ready = await nextEvent();
    postgresUrl = ready.postgresUrl ?? '';
    redisUrl = ready.redisUrl ?? '';
  });
  const killOwner = async () => {
    const ended = new Promise((resolve) => owner.once('exit', resolve));
    owner.kill('SIGKILL');
    if (owner.exitCode === null && owner.signalCode === null) await ended;
  };
  afterEach(killOwner); // Runs before the outer one, which removes the state.

  const processes = () => {
    const [postgres, redisServer] = [recorded(stateDirectory, 'postgres'), recorded(stateDirectory, 'redis')];
    return {
      watchdogs: [postgres.watchdog, redisServer.watchdog],
      servers: [postgres.server, redisServer.server],
      all: [postgres.watchdog, redisServer.watchdog, postgres.server, redisServer.server],
    };
  };

  const takeOver = async (): Promise<EmbeddedServers & { release(): void }> => {
    const owned = await acquireStateDirectory(stateDirectory);
    const ports = { postgresPort: 0, redisPort: 0 };
    const servers = await startEmbeddedServers({
      stateDirectory,
      postgres: true,
      redis: kindOfOwner,
      searchPath,
      ...ports,
      logger,
    });
    return { ...servers, release: () => owned.release() };
  };

  it('end soon after it was killed', async () => {
    const { all } = processes();
    await killOwner();
    for (const each of all) expect(await hasEndedWithin(each, 10_000)).toBe(true);
  });

  it('are taken over by the next start right after it was killed, with their data', async () => {
    await query(postgresUrl, 'CREATE TABLE kept AS SELECT 42 AS answer');
    await redis(redisUrl, 'SET', 'key', 'value');
    const { all } = processes();
    await killOwner();

    const next = await takeOver();
    expect(all.map(isRunning)).toEqual([false, false, false, false]);
    expect(await query(next.postgresUrl ?? '', 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
    expect(await redis(next.redisUrl ?? '', 'GET', 'key')).toBe(kindOfOwner === 'js' ? null : 'value');
    await next.stop();
    next.release();
  });

  it('are ended by the next start when their watchdogs were killed with it', async () => {
    const { all, watchdogs } = processes();
    for (const { pid } of watchdogs) process.kill(pid, 'SIGKILL');
    await killOwner();

    const next = await takeOver();
    expect(all.map(isRunning)).toEqual([false, false, false, false]);
    expect(await query(next.postgresUrl ?? '', 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await next.stop();
    next.release();
  });

  it('do not feel Ctrl-C', async () => {
    const { all } = processes();
    process.kill(-(owner.pid ?? 0), 'SIGINT');
    expect(await nextEvent()).toEqual({ event: 'interrupted' });
    expect(await query(postgresUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(await redis(redisUrl, 'PING')).toBe('PONG');
    expect(all.map(isRunning)).toEqual([true, true, true, true]);
  });

  it('are refused to a second owner, and to a reset, while it lives', async () => {
    const inUse = { code: 'state_directory.in_use', message: expect.stringContaining(`process ${owner.pid}`) };
    await expect(acquireStateDirectory(stateDirectory)).rejects.toMatchObject(inUse);
    await expect(removeState(stateDirectory, logger)).rejects.toMatchObject(inUse);
    expect(await query(postgresUrl, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await killOwner();
  });

  it('are gone after a reset right after it was killed', async () => {
    const { all } = processes();
    await killOwner();
    await removeState(stateDirectory, logger);
    expect(all.map(isRunning)).toEqual([false, false, false, false]);
    expect(existsSync(stateDirectory)).toBe(false);
  });
});
