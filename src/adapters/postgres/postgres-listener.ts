import { messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import { ImpatientClient } from './impatient-client';

const reconnectDelayMs = 1_000;
const defaultHeartbeatMs = 5_000;

/**
 * Listens to a channel of PostgreSQL's notifications, on a connection of its own: a pooled one is given to others. Who only listens
 * cannot tell a server that has nothing to say from one that is gone, so it asks now and then, and goes elsewhere without answer.
 * https://www.postgresql.org/docs/current/sql-notify.html
 */
export class PostgresListener {
  constructor(
    private readonly url: string,
    private readonly logger: Logger,
    /** How often the server is asked, and how long it may take to answer: a silent one is noticed within twice that. Milliseconds. */
    private readonly heartbeatMs = defaultHeartbeatMs,
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

  /** @throws when the connection cannot be made, or the server falls silent. Returns when it ends otherwise. */
  private async listen(
    channel: string,
    onPayload: (payload: string | null) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const client = new ImpatientClient({
      connectionString: this.url,
      application_name: 'maestro-listen',
      keepAlive: true,
      connectionTimeoutMillis: 5_000,
      query_timeout: this.heartbeatMs,
    });
    const over = new AbortController();
    const end = (): void => over.abort();
    // Without a listener node would treat a lost connection as an uncaught error.
    client.once('end', end);
    client.on('error', end);
    signal.addEventListener('abort', end);
    try {
      await client.connect();
      client.on('notification', (message) => onPayload(message.payload ?? null));
      await client.query(`LISTEN ${channel}`);
      onPayload(null);
      for (;;) {
        await pause(this.heartbeatMs, over.signal);
        if (over.signal.aborted) return;
        await client.query('SELECT 1');
      }
    } finally {
      signal.removeEventListener('abort', end);
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
