import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import { Notices, type Notice } from '../../ports/notices';
import { closeRedisConnection, createRedisConnection } from './redis-connection';
import { noticeChannel } from './room-keys';

export interface RedisNoticesOptions {
  url: string;
  /** Seen in `CLIENT LIST`. */
  name: string;
  /**
   * How often the connection is asked whether it lives, and how long the answer may take. A subscriber owes no answers, so a
   * host that vanished would not be missed. Milliseconds; 5,000 when not given.
   */
  livenessMs?: number;
}

/** How soon a subscription that Redis refused is asked for again. Milliseconds. */
const refusedPauseMs = 1_000;

/**
 * Notices by Redis pub/sub: a channel per process, which no partition owns. A connection that subscribes can do nothing else,
 * so each `watch` has one of its own, and who never watches has none.
 */
export class RedisNotices extends Notices {
  readonly address = randomUUID();
  private readonly livenessMs: number;

  constructor(
    private readonly options: RedisNoticesOptions,
    private readonly logger: Logger,
  ) {
    super();
    this.livenessMs = options.livenessMs ?? 5_000;
  }

  /** Resolves when `signal` aborts, never before. */
  async watch(onNotice: (notice: Notice) => void, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { url, name } = this.options;
    const redis = createRedisConnection({
      url,
      name,
      commandTimeoutMs: null,
      maxRetriesPerRequest: null,
      logger: this.logger,
    });
    // ioredis subscribes again by itself, and lets a refusal of that end the process as an unhandled rejection.
    redis.options.autoResubscribe = false;
    redis.on('ready', () => void this.subscribe(redis, signal));
    redis.on('message', (_channel: string, text: string) => this.deliver(text, onNotice));
    const liveness = setInterval(() => void this.endDeadConnection(redis), this.livenessMs);
    liveness.unref();
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    clearInterval(liveness);
    await closeRedisConnection(redis, 250);
  }

  private async subscribe(redis: Redis, signal: AbortSignal): Promise<void> {
    try {
      await redis.subscribe(noticeChannel(this.address));
    } catch (error) {
      if (signal.aborted) return;
      this.logger.warn({ err: messageOf(error) }, 'notices cannot be subscribed to; it is tried again');
      await sleep(refusedPauseMs, undefined, { ref: false });
      if (!signal.aborted) redis.disconnect(true);
    }
  }

  private async endDeadConnection(redis: Redis): Promise<void> {
    if (redis.status !== 'ready') return;
    const { stream } = redis;
    const isAlive = await Promise.race([
      redis.ping().then(
        () => true,
        () => true,
      ),
      sleep(this.livenessMs, false, { ref: false }),
    ]);
    // Only the connection that was asked: another one may stand by now.
    if (!isAlive && redis.stream === stream) stream.destroy(new Error('Redis does not answer its subscriber'));
  }

  /** What a listener throws, or a message that is none, must not end the subscription. */
  private deliver(text: string, onNotice: (notice: Notice) => void): void {
    try {
      const notice = readNotice(text);
      if (notice === null) this.logger.warn({ text: text.slice(0, 200) }, 'a notice was not understood and is skipped');
      else onNotice(notice);
    } catch (error) {
      this.logger.error({ err: messageOf(error) }, 'a notice could not be handled');
    }
  }
}

/** Which fields a kind has besides its scheduler. */
const fieldsByKind: Readonly<Record<string, Readonly<Record<string, 'string' | 'number'>>>> = {
  allocation_served: { allocation: 'string' },
  room_allocated: { room: 'string', allocation: 'string', expiresAtMs: 'number' },
  room_draining: { room: 'string' },
  room_drain_canceled: { room: 'string' },
  room_terminating: { room: 'string', reason: 'string' },
} satisfies Record<Notice['kind'], Record<string, 'string' | 'number'>>;

/** Null for what is no notice: of a newer release, or of somebody who publishes by mistake. */
function readNotice(text: string): Notice | null {
  const notice = parseJson(text);
  if (typeof notice !== 'object' || notice === null) return null;
  const read = notice as Record<string, unknown>;
  const kind = read['kind'];
  if (typeof kind !== 'string' || !Object.hasOwn(fieldsByKind, kind) || typeof read['scheduler'] !== 'string')
    return null;
  const isWhole = Object.entries(fieldsByKind[kind]!).every(([field, type]) => typeof read[field] === type);
  return isWhole ? (notice as Notice) : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
