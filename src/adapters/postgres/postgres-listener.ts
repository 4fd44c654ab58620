import { Client } from 'pg';
import { messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';

const reconnectDelayMs = 1_000;

/**
 * Listens to a channel of PostgreSQL's notifications, on a connection of its own: a pooled one is given to others.
 * https://www.postgresql.org/docs/current/sql-notify.html
 */
export class PostgresListener {
  constructor(
    private readonly url: string,
    private readonly logger: Logger,
  ) {}

  /**
   * Calls `onPayload` with each notification, and with null when some may have been missed (start, reconnect). Until `signal`
   * aborts.
   */
  async follow(channel: string, onPayload: (payload: string | null) => void, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.listen(channel, onPayload, signal);
      } catch (error) {
        this.logger.warn(
          { channel, err: messageOf(error) },
          'listening to PostgreSQL was interrupted; it starts again',
        );
      }
      await pause(reconnectDelayMs, signal);
    }
  }

  private async listen(
    channel: string,
    onPayload: (payload: string | null) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const client = new Client({
      connectionString: this.url,
      application_name: 'maestro-listen',
      keepAlive: true,
      connectionTimeoutMillis: 5_000,
    });
    let onAbort = (): void => undefined;
    // Without a listener node would treat a lost connection as an uncaught error.
    const ended = new Promise<void>((resolve) => {
      client.once('end', resolve);
      client.on('error', () => resolve());
      onAbort = resolve;
    });
    signal.addEventListener('abort', onAbort);
    try {
      await client.connect();
      client.on('notification', (message) => onPayload(message.payload ?? null));
      await client.query(`LISTEN ${channel}`);
      onPayload(null);
      await ended;
    } finally {
      signal.removeEventListener('abort', onAbort);
      await client.end().catch(() => undefined);
    }
  }
}

function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, delayMs);
    signal.addEventListener('abort', done);
  });
}
