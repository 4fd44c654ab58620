import { randomBytes } from 'node:crypto';
import { chownSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { DomainError } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import { defaultCacheDirectory } from './cache-directory';
import { openServerHome, type ServerHome } from './data-directory';
import { findRedisOnPath, findRedisPackage, type RedisProgram, type RedisSearch } from './redis-program';
import { canReach } from './server-account';
import { type RunningServer, startOnFreePort } from './start-on-free-port';
import { endPreviousServer, type WatchdogOrder } from './watchdog';

/** path: on PATH. package: of this Debian or Ubuntu, unpacked into a cache. js: js-redis-server from npm. */
export type RedisKind = 'path' | 'package' | 'js';
/** auto: the first kind, in that order, that this machine can have. */
export type RedisChoice = 'auto' | RedisKind;

const usualPort = 6379;
const patienceMs = 15_000;
/** Redis writes what it has on SIGTERM and ends (redis.io, "Redis signal handling"). */
const stop = { stopSignals: ['SIGTERM'], stopStepMs: 8_000 } as const;

export interface RedisServer extends RunningServer {
  /** Includes the password: do not log it. */
  readonly url: string;
  readonly kind: RedisKind;
  /** "Redis 7.0.15", "js-redis-server". */
  readonly description: string;
  /** Whether a restart keeps what was written (the last second of it may be lost in a crash). */
  readonly persistent: boolean;
}

interface ChosenRedis {
  readonly kind: RedisKind;
  readonly program: RedisProgram | undefined;
  /** Why this one, for the log. */
  readonly reason: string;
}

/**
 * Starts a Redis on 127.0.0.1 only, with a password of its own for each start: loopback is open to every user of the
 * machine. A real one keeps its data in the state directory as an append-only file and never evicts. The caller owns the
 * state directory (`acquireStateDirectory`); a server that a killed Maestro left is waited for, then ended.
 *
 * @throws DomainError `embedded_redis.not_available` if the forced kind cannot be had here, `embedded_redis.start_failed`
 */
export async function startRedisServer(options: {
  readonly stateDirectory: string;
  readonly choice: RedisChoice;
  /** PATH, as the operating system writes it. */
  readonly searchPath: string;
  /** Taken if free; 0 for any. */
  readonly port?: number;
  readonly cacheDirectory?: string | undefined;
  readonly onGivenUp?: ((error: DomainError) => void) | undefined;
  readonly logger: Logger;
}): Promise<RedisServer> {
  const stateDirectory = resolve(options.stateDirectory);
  const startedAt = performance.now();
  const recordFile = join(stateDirectory, 'run', 'redis.json');
  const cacheDirectory = options.cacheDirectory ?? defaultCacheDirectory();
  const { kind, program, reason } = await chooseRedis(options.choice, {
    path: () => findRedisOnPath(options.searchPath),
    package: () => findRedisPackage(cacheDirectory, options.choice === 'package'),
  });
  await endPreviousServer({ recordFile, patienceMs, stop, logger: options.logger });

  mkdirSync(stateDirectory, { recursive: true });
  const home = openHome(stateDirectory, program);
  const password = randomBytes(24).toString('hex');
  const server = await startOnFreePort({
    code: 'embedded_redis',
    title: 'Redis',
    preferredPort: options.port ?? usualPort,
    recordFile,
    logger: options.logger,
    order: (port) => ({
      ...(program === undefined ? orderJs(home, port, password) : orderReal(program, home, port, password)),
      cwd: home.path,
      ...home.account,
      ...stop,
    }),
    logFile: join(stateDirectory, 'logs', 'redis.log'),
    onGivenUp: options.onGivenUp,
    isReady: (port) => answersPing(port, password),
  });
  const description = program?.description ?? 'js-redis-server';
  const persistent = program !== undefined;
  const tookMs = Math.round(performance.now() - startedAt);
  options.logger.info(
    { port: server.port, kind, description, persistent, reason, took_ms: tookMs },
    'embedded Redis is ready',
  );
  return { ...server, url: `redis://:${password}@127.0.0.1:${server.port}`, kind, description, persistent };
}

/** Exported for its spec. Searches are run only when it is their turn. */
export async function chooseRedis(
  choice: RedisChoice,
  searches: Record<'path' | 'package', () => Promise<RedisSearch>>,
): Promise<ChosenRedis> {
  const missing: string[] = [];
  for (const kind of ['path', 'package'] as const) {
    if (choice !== kind && choice !== 'auto') continue;
    const search = await searches[kind]();
    if ('program' in search) {
      const reason = choice === kind ? 'forced' : ['first that this machine has', ...missing].join('; ');
      return { kind, program: search.program, reason };
    }
    missing.push(search.missing);
  }
  if (choice === 'js' || choice === 'auto') {
    const reason = choice === 'js' ? 'forced' : ['slow, but always there', ...missing].join('; ');
    return { kind: 'js', program: undefined, reason };
  }
  throw new DomainError(
    'failed_precondition',
    'embedded_redis.not_available',
    `The embedded Redis is forced to "${choice}", but ${missing.join('; ')}: choose another kind, or set MAESTRO_REDIS_URL to a Redis of your own.`,
  );
}

/** The lines of redis.conf. Only settings that every version from 6.2 on, and Valkey, knows. */
export function redisSettings(options: { port: number; password: string; directory: string }): string {
  const settings: Record<string, string> = {
    bind: '127.0.0.1',
    port: String(options.port),
    'protected-mode': 'yes',
    requirepass: options.password,
    daemonize: 'no',
    dir: quoted(options.directory),
    appendonly: 'yes',
    appendfsync: 'everysec',
    save: '""',
    'maxmemory-policy': 'noeviction',
  };
  return Object.entries(settings)
    .map(([key, value]) => `${key} ${value}\n`)
    .join('');
}

function quoted(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

/** Another user's server must be able to read its own program; a Redis that root installed for itself runs as root. */
function openHome(stateDirectory: string, program: RedisProgram | undefined): ServerHome {
  const home = openServerHome(stateDirectory, 'redis');
  const { account } = home;
  if (account === undefined) return home;
  const file = program?.file ?? join(__dirname, 'js-redis-process.js');
  return [file, process.execPath].every((each) => canReach(each, account)) ? home : { ...home, account: undefined };
}

function orderReal(program: RedisProgram, home: ServerHome, port: number, password: string): Command {
  const configuration = writePrivate(home, 'redis.conf', redisSettings({ port, password, directory: home.path }));
  return { file: program.file, args: [configuration], env: { LC_ALL: 'C', TZ: 'UTC', ...program.env } };
}

function orderJs(home: ServerHome, port: number, password: string): Command {
  const passwordFile = writePrivate(home, 'password', password);
  const args = [join(__dirname, 'js-redis-process.js'), String(port), passwordFile];
  return { file: process.execPath, args, env: { LC_ALL: 'C', TZ: 'UTC' } };
}

type Command = Pick<WatchdogOrder, 'file' | 'args' | 'env'>;

function writePrivate(home: ServerHome, name: string, text: string): string {
  const path = join(home.path, name);
  rmSync(path, { force: true });
  writeFileSync(path, text, { mode: 0o600 });
  if (home.account !== undefined) chownSync(path, home.account.uid, home.account.gid);
  return path;
}

/** False also while it still loads its data, and for a stranger on the port. */
function answersPing(port: number, password: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    let answer = '';
    const finish = (ready: boolean) => {
      socket.destroy();
      resolve(ready);
    };
    socket.setTimeout(2_000, () => finish(false));
    socket.once('error', () => finish(false));
    socket.once('close', () => finish(false));
    socket.once('connect', () => socket.write(`AUTH ${password}\r\nPING\r\n`));
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      answer += chunk;
      if (answer.split('\r\n').length > 2) finish(answer === '+OK\r\n+PONG\r\n');
    });
  });
}
