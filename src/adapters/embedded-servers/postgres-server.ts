import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { DomainError, messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import { defaultCacheDirectory } from './cache-directory';
import { openServerHome, type ServerHome } from './data-directory';
import { findPostgresPackage, preparePostgresBinaries } from './postgres-binaries';
import { commandLineOf, findProcess } from './process-identity';
import { causeLine, type RunningServer, startOnFreePort } from './start-on-free-port';
import { endPreviousServer, endProcess, hasEndedWithin } from './watchdog';

/** User and database of the embedded server. */
const name = 'maestro';
const usualPort = 5432;
/** How long a start waits for the server of a killed Maestro, which its watchdog is ending, before it ends it itself. */
const patienceMs = 15_000;
/** SIGINT: fast shutdown, open transactions roll back. SIGQUIT: immediate, recovery at the next start (postgres(1)). */
const stop = { stopSignals: ['SIGINT', 'SIGQUIT'], stopStepMs: 8_000 } as const;
const environment = { LC_ALL: 'C', TZ: 'UTC' };

export interface PostgresServer extends RunningServer {
  /** Includes the password: do not log it. */
  readonly url: string;
}

/**
 * Starts PostgreSQL 18 from npm's packages on the data of this state directory (made at the first start), listening on
 * 127.0.0.1 only. fsync stays on. The caller owns the state directory (`acquireStateDirectory`), so nobody else starts
 * on the same data; a server that a killed Maestro left is waited for, then ended.
 *
 * Loopback is open to every user of the machine, so a random password guards it; it lies beside the data, mode 0600.
 *
 * @throws DomainError `embedded_postgres.not_installed`, `embedded_postgres.start_failed`
 */
export async function startPostgresServer(options: {
  readonly stateDirectory: string;
  /** Taken if free; 0 for any. */
  readonly port?: number;
  readonly cacheDirectory?: string | undefined;
  /** For tests: writes are not synced, which saves seconds; only a crash of the machine could lose any. */
  readonly throwAway?: boolean;
  readonly onGivenUp?: ((error: DomainError) => void) | undefined;
  readonly logger: Logger;
}): Promise<PostgresServer> {
  const stateDirectory = resolve(options.stateDirectory);
  const startedAt = performance.now();
  const recordFile = join(stateDirectory, 'run', 'postgres.json');
  await endPreviousServer({ recordFile, patienceMs, stop, logger: options.logger });

  mkdirSync(stateDirectory, { recursive: true });
  const home = openServerHome(stateDirectory, 'postgres');
  const cacheDirectory = options.cacheDirectory ?? defaultCacheDirectory();
  const binaries = await preparePostgresBinaries(findPostgresPackage(), home.account, cacheDirectory);
  const data = join(home.path, 'data');
  await endUnrecordedPostmaster(data);
  const throwAway = options.throwAway ?? false;
  if (!existsSync(data)) await initialise(home, binaries, data, throwAway);
  const password = readFileSync(join(home.path, 'password'), 'utf8').trim();

  const server = await startOnFreePort({
    code: 'embedded_postgres',
    title: 'PostgreSQL',
    preferredPort: options.port ?? usualPort,
    recordFile,
    logger: options.logger,
    order: (port) => ({
      file: join(binaries, 'bin', 'postgres'),
      args: ['-D', data, '-p', String(port), ...settings(throwAway)],
      cwd: '/',
      env: environment,
      ...home.account,
      ...stop,
    }),
    logFile: join(stateDirectory, 'logs', 'postgres.log'),
    onGivenUp: options.onGivenUp,
    isReady: (port) => isReady(port, password),
  });
  try {
    await ensureDatabase(server.port, password);
  } catch (error) {
    await server.stop();
    throw new DomainError(
      'unavailable',
      'embedded_postgres.start_failed',
      `The embedded PostgreSQL started, but its database "${name}" could not be made: ${messageOf(error)}.`,
      { cause: error },
    );
  }
  const tookMs = Math.round(performance.now() - startedAt);
  options.logger.info({ port: server.port, data, took_ms: tookMs }, 'embedded PostgreSQL is ready');
  return { ...server, url: urlFor(server.port, password, name) };
}

/**
 * Makes the data directory beside its final place and renames it, so that a start that was interrupted leaves no half
 * of one. The password exists before the data does.
 */
async function initialise(home: ServerHome, binaries: string, data: string, throwAway: boolean): Promise<void> {
  for (const entry of readdirSync(home.path)) rmSync(join(home.path, entry), { recursive: true, force: true });
  const passwordFile = join(home.path, 'password');
  writeFileSync(passwordFile, `${randomBytes(24).toString('hex')}\n`, { mode: 0o600 });
  if (home.account !== undefined) chownSync(passwordFile, home.account.uid, home.account.gid);
  const making = `${data}.new`;
  const where = ['-D', making, '-U', name, '--pwfile', passwordFile];
  const how = ['--auth', 'scram-sha-256', '--encoding', 'UTF8', '--locale', 'C', '--no-instructions'];
  // One call for the file system instead of one for each of a thousand files: seconds less on a slow disk. Linux only.
  if (throwAway) how.push('--no-sync');
  else if (process.platform === 'linux') how.push('--sync-method', 'syncfs');
  try {
    await promisify(execFile)(join(binaries, 'bin', 'initdb'), [...where, ...how], {
      ...home.account,
      cwd: '/',
      env: environment,
    });
  } catch (cause) {
    const reason = causeLine((cause as { stderr?: string }).stderr ?? '') || causeLine(messageOf(cause));
    throw new DomainError(
      'unavailable',
      'embedded_postgres.start_failed',
      `The data directory ${data} for the embedded PostgreSQL could not be made: ${reason}.`,
      { cause },
    );
  }
  renameSync(making, data);
}

/**
 * PostgreSQL itself refuses to start on data that a live postmaster holds, and cleans up after a dead one. What remains
 * is a live one without watchdog and record: end it as we would end ours.
 */
async function endUnrecordedPostmaster(data: string): Promise<void> {
  const pidFile = join(data, 'postmaster.pid');
  const pid = existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8').split('\n')[0]) : NaN;
  const postmaster = Number.isInteger(pid) && pid > 0 ? findProcess(pid) : undefined;
  if (postmaster === undefined || !commandLineOf(pid).includes(data)) return;
  if (!(await hasEndedWithin(postmaster, patienceMs))) await endProcess(postmaster, stop);
}

function settings(throwAway: boolean): string[] {
  const values = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', `fsync=${throwAway ? 'off' : 'on'}`];
  return values.flatMap((value) => ['-c', value]);
}

async function isReady(port: number, password: string): Promise<boolean> {
  const client = newClient(port, password);
  try {
    await client.connect();
    return true;
  } catch {
    return false; // Not listening yet, or recovering; what lasts is bounded and explained by the server's log.
  } finally {
    await client.end();
  }
}

async function ensureDatabase(port: number, password: string): Promise<void> {
  const client = newClient(port, password);
  try {
    await client.connect();
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [name]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${name}`);
  } finally {
    await client.end();
  }
}

function newClient(port: number, password: string): Client {
  const client = new Client({
    connectionString: urlFor(port, password, 'postgres'),
    connectionTimeoutMillis: 5_000,
    ssl: false, // Whatever PGSSLMODE says for other servers.
  });
  client.on('error', () => {}); // A connection that breaks shows in the call that uses it.
  return client;
}

function urlFor(port: number, password: string, database: string): string {
  return `postgresql://${name}:${password}@127.0.0.1:${port}/${database}`;
}
