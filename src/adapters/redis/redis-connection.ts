import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis, ReplyError, type RedisOptions } from 'ioredis';
import { DomainError } from '../../domain/errors';
import type { Logger } from '../../ports/logger';

export interface RedisConnectionOptions {
  /** `redis://[user[:password]@]host[:port][/db]`; `rediss://` speaks TLS and verifies the certificate. */
  url: string;
  /** Seen in `CLIENT LIST`: the role and what the connection is for, `maestro-rooms-api-rooms`. */
  name: string;
  /** How long one attempt to connect may take. Milliseconds; 2,000 when not given. */
  connectTimeoutMs?: number;
  /**
   * How long a command may take, the wait for a connection included; it then fails, though Redis may still run it.
   * Milliseconds; 5,000 when not given. `null` = for ever: BullMQ's blocking commands need it.
   * A command waits for the batch before its own, so while Redis hangs an answer may take twice as long.
   */
  commandTimeoutMs?: number | null;
  /** How many lost connections a waiting command survives; 3 when not given. `null` = all: BullMQ's workers need it. */
  maxRetriesPerRequest?: number | null;
  /**
   * Whether commands in flight are sent again when the connection is lost; true when not given. The old server may have run
   * them, or may yet: not for commands whose callers were told that they failed, or that newer ones follow.
   */
  resendsInFlight?: boolean;
  /** Certificates (PEM) to trust instead of the system's, for a private authority. */
  tlsCa?: string;
  /** Told when the connection is lost (once per outage) and when it is back. */
  logger?: Logger;
}

/** Options that BullMQ asks of a connection: it waits for ever and survives every outage. */
export const bullmqConnectionOptions = { commandTimeoutMs: null, maxRetriesPerRequest: null } as const;

const firstReconnectDelayMs = 50;
const longestReconnectDelayMs = 2_000;

/** Doubles up to 2 s; half of it is random, so that a thousand processes do not come back in the same moment. */
export function reconnectDelayMs(attempt: number): number {
  const ceiling = Math.min(firstReconnectDelayMs * 2 ** Math.min(attempt - 1, 20), longestReconnectDelayMs);
  return Math.round(ceiling / 2 + (Math.random() * ceiling) / 2);
}

/**
 * A client that connects at once and reconnects for ever. After a fail-over the old master answers READONLY (or LOADING, or MASTERDOWN):
 * the connection is dropped and the command sent once more on a new one, where the name may lead to the new master.
 *
 * @throws DomainError `redis.url_invalid` (invalid_argument). What Redis says later comes from the commands.
 */
export function createRedisConnection(options: RedisConnectionOptions): Redis {
  const commandTimeoutMs = options.commandTimeoutMs === undefined ? 5_000 : options.commandTimeoutMs;
  const redis = new Redis({
    ...addressOptions(options),
    connectionName: options.name,
    connectTimeout: options.connectTimeoutMs ?? 2_000,
    ...(commandTimeoutMs === null ? {} : { commandTimeout: commandTimeoutMs }),
    maxRetriesPerRequest: options.maxRetriesPerRequest === undefined ? 3 : options.maxRetriesPerRequest,
    enableAutoPipelining: true,
    autoResendUnfulfilledCommands: options.resendsInFlight ?? true,
    // How long a server may take to agree to the end of a connection, before a fail-over or an exit goes on without it.
    disconnectTimeout: 250,
    keepAlive: 10_000,
    retryStrategy: reconnectDelayMs,
    reconnectOnError: retryOnceOnNewConnection(),
  });
  reportOutages(redis, options);
  if (commandTimeoutMs !== null) {
    endSilentConnections(redis, 2 * commandTimeoutMs);
  }
  return redis;
}

/** Lets commands in flight finish for at most `graceMs`, then drops the connection. Never throws. */
export async function closeRedisConnection(redis: Redis, graceMs = 1_000): Promise<void> {
  if (redis.status === 'ready') {
    const quit = redis.quit().catch(() => undefined);
    await Promise.race([quit, sleep(graceMs, undefined, { ref: false })]);
  }
  redis.disconnect();
}

/** Refusals of a server that is not (yet) able to serve: starting, demoted, full, or a cluster that moves slots. */
const refusals = /(^|-)(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MISCONF|NOREPLICAS|OOM|BUSY)\b/;

/** Whether an error means "Redis cannot be reached or cannot serve now, try again", and not a bug of ours. */
export function isRedisUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) {
    return false;
  }
  return error instanceof (ReplyError as unknown as typeof Error)
    ? refusals.test(error.message)
    : isTransportError(error);
}

function isTransportError(error: Error): boolean {
  return (
    error.name === 'MaxRetriesPerRequestError' ||
    error.message === 'Command timed out' ||
    error.message.startsWith('Connection is closed') ||
    typeof (error as NodeJS.ErrnoException).syscall === 'string'
  );
}

/** Read here and not by ioredis: it would let query parameters of the URL overrule every option above. */
function addressOptions(options: RedisConnectionOptions): RedisOptions {
  const url = URL.canParse(options.url) ? new URL(options.url) : null;
  const db = url?.pathname.replace(/^\//, '') || '0';
  if (url === null || !['redis:', 'rediss:'].includes(url.protocol) || url.hostname === '' || !/^\d+$/.test(db)) {
    // The URL itself may hold a password and is not repeated.
    throw new DomainError(
      'invalid_argument',
      'redis.url_invalid',
      'The Redis URL is not understood: write redis://[user[:password]@]host[:port][/db], or rediss:// for TLS.',
    );
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    host,
    port: url.port === '' ? 6379 : Number(url.port),
    db: Number(db),
    ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
    ...(url.protocol === 'rediss:'
      ? { tls: { rejectUnauthorized: true, ...(options.tlsCa ? { ca: options.tlsCa } : {}) } }
      : {}),
  };
}

function retryOnceOnNewConnection(): (error: Error) => boolean | 1 | 2 {
  // ioredis sends a command again as often as it fails; a command keeps its array of arguments, so that tells which had its turn.
  const retried = new WeakSet<object>();
  return (error) => {
    if (!/(^|-)(READONLY|LOADING|MASTERDOWN)\b/.test(error.message)) {
      return false;
    }
    const args = (error as Error & { command?: { args?: unknown } }).command?.args;
    if (typeof args !== 'object' || args === null || retried.has(args)) {
      return 1;
    }
    retried.add(args);
    return 2;
  };
}

/**
 * A host that vanished closes no connection: TCP itself would notice after a quarter of an hour. So a connection that owes
 * answers and sends nothing for `silenceMs` is dropped, and the next one may reach a host that lives.
 * (ioredis' own `socketTimeout` outlives its socket and would later end a healthy one: 5.11.1, Redis.js, setSocketTimeout.)
 */
function endSilentConnections(redis: Redis, silenceMs: number): void {
  const looksUntilSilent = 4;
  const inside = redis as unknown as { stream?: Socket; commandQueue: { length: number } };
  let watched: Socket | undefined;
  let bytesRead = 0;
  let silentLooks = 0;
  const timer = setInterval(() => {
    const { stream, commandQueue } = inside;
    if (stream === undefined || stream !== watched || stream.bytesRead !== bytesRead || commandQueue.length === 0) {
      watched = stream;
      bytesRead = stream?.bytesRead ?? 0;
      silentLooks = 0;
      return;
    }
    silentLooks += 1;
    if (silentLooks >= looksUntilSilent) {
      stream.destroy(new Error(`Redis owes answers and has been silent for ${silenceMs} ms`));
    }
  }, silenceMs / looksUntilSilent);
  timer.unref();
  redis.once('end', () => clearInterval(timer));
}

function reportOutages(redis: Redis, { name, logger }: RedisConnectionOptions): void {
  let lost = false;
  // Without a listener ioredis writes to the console.
  redis.on('error', (error: Error) => {
    if (!lost) {
      lost = true;
      logger?.warn({ connection: name, err: error }, 'redis connection lost');
    }
  });
  redis.on('ready', () => {
    if (lost) {
      lost = false;
      logger?.info({ connection: name }, 'redis connection is back');
    }
  });
}
