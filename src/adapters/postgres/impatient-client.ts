import { Client, type ClientConfig } from 'pg';

/** How long the server may take to see a connection off, before it is dropped. Milliseconds. */
const goodbyeMs = 1_000;

/**
 * A connection that does not outlive its server. A host that vanished or hangs closes nothing, and TCP itself would notice after
 * a quarter of an hour. The driver's `query_timeout` fails the statement and leaves the connection for the next one to wait in
 * vain too; here the connection ends with it, so that the next statement may reach a server that lives (pg 8.23, client.js).
 */
export class ImpatientClient extends Client {
  constructor(config?: string | ClientConfig) {
    super(config);
    // A server that goes says so at any moment, also in the one between the pool's listener and that of its user, and an error
    // without listener would end the process. The statement that comes next fails, and the pool lets go of the connection.
    this.on('error', () => undefined);
    // Replaced and not overridden: the method has seven signatures, and all that matters here is whether it answers a promise.
    const query = this.query.bind(this) as (...parameters: unknown[]) => unknown;
    this.query = ((...parameters: unknown[]) => {
      const answer = query(...parameters);
      if (answer instanceof Promise) answer.catch((error: unknown) => this.endIfSilent(error));
      return answer;
    }) as typeof this.query;
  }

  /** Does not wait for ever for a server that is silent. */
  override end(): Promise<void>;
  override end(callback: (error: Error) => void): void;
  override end(callback?: (error: Error) => void): Promise<void> | void {
    setTimeout(() => this.connection.stream.destroy(), goodbyeMs).unref();
    return callback === undefined ? super.end() : super.end(callback);
  }

  private endIfSilent(error: unknown): void {
    // Known as ending at once, so that its pool gives it to nobody; with a statement unanswered nothing is waited for.
    if (error instanceof Error && error.message === 'Query read timeout') void this.end();
  }
}
