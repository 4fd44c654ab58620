import { DomainError, messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import { type PostgresServer, startPostgresServer } from './postgres-server';
import { type RedisChoice, type RedisKind, type RedisServer, startRedisServer } from './redis-server';
import { causeLine } from './start-on-free-port';

export interface EmbeddedServersOptions {
  /** Owned by this process: see `acquireStateDirectory`. */
  readonly stateDirectory: string;
  readonly postgres: boolean;
  /** false: none, Redis is elsewhere. */
  readonly redis: false | RedisChoice;
  /** PATH, as the operating system writes it. */
  readonly searchPath: string;
  /** Ports to take if they are free, 5432 and 6379 unless told; 0 for any. */
  readonly postgresPort?: number;
  readonly redisPort?: number;
  /** Where programs are kept between starts; the user's own cache unless told. */
  readonly cacheDirectory?: string | undefined;
  /**
   * Called when a server ended and several restarts did not bring it back: the URLs below lead nowhere from then on. May be
   * called before the start has resolved. Without it that is logged as an error.
   */
  readonly onGivenUp?: (error: DomainError) => void;
  readonly logger: Logger;
}

export interface EmbeddedServers {
  readonly postgresUrl: string | undefined;
  readonly redisUrl: string | undefined;
  readonly redisKind: RedisKind | undefined;
  /** "Redis 7.0.15", "js-redis-server". */
  readonly redisDescription: string | undefined;
  /** Whether a restart keeps rooms and queues; undefined without an embedded Redis. */
  readonly redisPersistent: boolean | undefined;
  /** Ends both servers and waits for their end. */
  stop(): Promise<void>;
}

/**
 * Starts the asked servers side by side and resolves when all are ready. If one fails the other is ended, and the first
 * failure is thrown. One that ends by itself is started again, at the same URL and with what it had written (JavaScript's
 * Redis: with nothing). They end with this process, however it ends.
 */
export async function startEmbeddedServers(options: EmbeddedServersOptions): Promise<EmbeddedServers> {
  const { stateDirectory, searchPath, cacheDirectory, onGivenUp, logger, redis: choice } = options;
  const common = { stateDirectory, cacheDirectory, onGivenUp, logger };
  const [postgres, redis] = await allOrNone<PostgresServer | undefined, RedisServer | undefined>(
    options.postgres
      ? explained(
          'embedded_postgres',
          'PostgreSQL',
          startPostgresServer({ ...common, ...portOf(options.postgresPort) }),
        )
      : undefined,
    choice === false
      ? undefined
      : explained(
          'embedded_redis',
          'Redis',
          startRedisServer({ ...common, choice, searchPath, ...portOf(options.redisPort) }),
        ),
  );
  return {
    postgresUrl: postgres?.url,
    redisUrl: redis?.url,
    redisKind: redis?.kind,
    redisDescription: redis?.description,
    redisPersistent: redis?.persistent,
    stop: async () => {
      await Promise.all([postgres?.stop(), redis?.stop()]);
    },
  };
}

/** What the operating system refuses, as a full disk does at any step, in one line that says what it keeps from starting. */
async function explained<Server>(code: string, title: string, starting: Promise<Server>): Promise<Server> {
  try {
    return await starting;
  } catch (cause) {
    if (cause instanceof DomainError) throw cause;
    const message = `The embedded ${title} did not start: ${causeLine(messageOf(cause))}.`;
    throw new DomainError('unavailable', `${code}.start_failed`, message, { cause });
  }
}

type Stoppable = { stop(): Promise<void> } | undefined;

async function allOrNone<A extends Stoppable, B extends Stoppable>(
  first: Promise<A> | A,
  second: Promise<B> | B,
): Promise<[A, B]> {
  const results = await Promise.allSettled([first, second]);
  const [one, other] = results;
  if (one.status === 'fulfilled' && other.status === 'fulfilled') return [one.value, other.value];
  await Promise.all(results.map(async (result) => result.status === 'fulfilled' && result.value?.stop()));
  throw results.find((result) => result.status === 'rejected')?.reason;
}

function portOf(port: number | undefined): { port?: number } {
  return port === undefined ? {} : { port };
}
