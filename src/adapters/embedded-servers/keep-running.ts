import { setTimeout as delay } from 'node:timers/promises';
import { DomainError, messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import type { GuardedServer } from './watchdog';

/** Restarts in a row that are tried. With the pauses below, what passes within ten seconds is survived. */
const mostRestarts = 6;
const firstPauseMs = 200;
const longestPauseMs = 5_000;
/** A server that was up this long had recovered: its next end is the first of a new row. */
const steadyMs = 60_000;

export type RunningProcess = Pick<GuardedServer, 'ended' | 'stop'>;

/** The pause before the restart that follows the nth failure in a row (1, 2, …); null: it was the last one. */
export function pauseBeforeRestart(failures: number): number | null {
  if (failures > mostRestarts) return null;
  return Math.min(firstPauseMs * 2 ** (failures - 1), longestPauseMs);
}

/**
 * Starts a server again, after a pause that doubles, whenever it ends without being asked. Each outage is one warning and,
 * once the server is back, one info. When restarts do not help it gives up and calls `onGivenUp`, once; it then restarts
 * no more.
 */
export function keepRunning(
  first: RunningProcess,
  options: {
    readonly code: string;
    readonly title: string;
    readonly port: number;
    /** Resolves once the server is ready; rejects with what is wrong, or because the signal was aborted. */
    readonly restart: (signal: AbortSignal) => Promise<RunningProcess>;
    readonly onGivenUp?: ((error: DomainError) => void) | undefined;
    readonly logger: Logger;
    /** For specs. Resolves early, or rejects, when the signal is aborted. */
    readonly pause?: (ms: number, signal: AbortSignal) => Promise<unknown>;
    readonly nowMs?: () => number;
  },
): { stop(): Promise<void> } {
  const { title, port, logger } = options;
  const { pause = (ms, signal) => delay(ms, undefined, { signal }), nowMs = () => performance.now() } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  /** The one that runs, or the last one that did. */
  let latest = first;
  let failures = 0;

  /** The server that replaces one that ended; null when we are stopped, or give up. */
  const replace = async (previous: RunningProcess, how: string): Promise<RunningProcess | null> => {
    let reason = `it ended with ${how}.`;
    for (;;) {
      failures += 1;
      const pauseMs = pauseBeforeRestart(failures);
      if (pauseMs === null) {
        const error = new DomainError(
          'unavailable',
          `${options.code}.given_up`,
          `The embedded ${title} was restarted ${mostRestarts} times and does not stay up. The last time: ${reason}`,
        );
        if (options.onGivenUp === undefined) logger.error({ err: error.message }, 'an embedded server is given up');
        else options.onGivenUp(error);
        return null;
      }
      await pause(pauseMs, signal).catch(() => undefined);
      if (signal.aborted) return null;
      try {
        await previous.stop(); // What is left of it: a server whose watchdog was killed runs on.
        return await options.restart(signal);
      } catch (error) {
        if (signal.aborted) return null;
        reason = messageOf(error);
        logger.debug({ server: title, port, err: reason }, 'a restart of an embedded server failed');
      }
    }
  };

  const follow = async (): Promise<void> => {
    for (let server: RunningProcess | null = first; server !== null;) {
      const upAtMs = nowMs();
      const how = await server.ended;
      if (signal.aborted) return;
      const downAtMs = nowMs();
      if (downAtMs - upAtMs >= steadyMs) failures = 0;
      logger.warn({ server: title, port, how }, 'an embedded server ended unexpectedly and is restarted');
      server = await replace(server, how);
      if (signal.aborted) return server?.stop();
      if (server !== null) {
        latest = server;
        logger.info({ server: title, port, outage_ms: Math.round(nowMs() - downAtMs) }, 'an embedded server is back');
      }
    }
  };

  const following = follow();
  return {
    stop: async () => {
      stopping.abort();
      await latest.stop();
      await following;
    },
  };
}
