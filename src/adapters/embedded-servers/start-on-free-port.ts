import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { DomainError, messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import { chooseFreePort } from './free-port';
import { keepRunning } from './keep-running';
import { type GuardedServer, startUnderWatchdog, type WatchdogOrder } from './watchdog';

/** How many ports are tried when other programs take them between our look and the server's start. */
const portAttempts = 4;
const pollMs = 15;
/** A server that replays a long log after a crash answers late; both servers here replay gigabytes in this time. */
const readyBoundMs = 120_000;
const quotedLogBytes = 2_000;

/** A server that accepts connections. */
export interface RunningServer {
  readonly port: number;
  stop(): Promise<void>;
}

interface ServerOptions {
  /** The server in the error code and in sentences. */
  readonly code: 'embedded_postgres' | 'embedded_redis';
  readonly title: string;
  readonly preferredPort: number;
  /** Asked anew for each start. */
  readonly order: (port: number) => Omit<WatchdogOrder, 'logFile'>;
  readonly logFile: string;
  readonly recordFile: string;
  /** True once the server answers; false to ask again. Throws only for what waiting cannot cure. */
  readonly isReady: (port: number) => Promise<boolean>;
  /** Called once if the server ends and restarts do not bring it back; without it that is logged as an error. */
  readonly onGivenUp?: ((error: DomainError) => void) | undefined;
  readonly logger: Logger;
}

/**
 * Starts a server on the preferred port of 127.0.0.1, or another free one if that is taken, and waits until it is ready.
 * From then on it is kept running there: when it ends and nobody asked for it, it is started again (`keepRunning`).
 *
 * @throws DomainError `SERVER.start_failed` (server: see `code`) with the last lines of its log.
 */
export async function startOnFreePort(options: ServerOptions): Promise<RunningServer> {
  for (let attempt = 1; ; attempt += 1) {
    const port = await chooseFreePort(attempt === 1 ? options.preferredPort : 0);
    try {
      const kept = keepRunning(await startOn(port, options), {
        ...options,
        port,
        restart: (signal) => startOn(port, options, signal),
      });
      return { port, stop: () => kept.stop() };
    } catch (error) {
      const isPortTaken = error instanceof DomainError && error.details['port_taken'] === true;
      if (attempt >= portAttempts || !isPortTaken) throw error;
    }
  }
}

async function startOn(port: number, options: ServerOptions, signal?: AbortSignal): Promise<GuardedServer> {
  const { logFile } = options;
  const logStart = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
  let server: GuardedServer | undefined;
  try {
    server = await startUnderWatchdog({ ...options.order(port), logFile }, options.recordFile);
    await untilReady(server, port, options.isReady, signal);
    return server;
  } catch (error) {
    await server?.stop();
    const log = readLogFrom(logFile, logStart);
    throw new DomainError(
      'unavailable',
      `${options.code}.start_failed`,
      `The embedded ${options.title} did not start: ${messageOf(error)}. ${log === '' ? 'Its log' : `Its log says "${lastLines(log)}", and all of it`} is in ${logFile}.`,
      { cause: error, details: { port_taken: saysPortTaken(log) } },
    );
  }
}

/** Whether the server ended because another program listens on its port, in the words of PostgreSQL, Redis or Node. */
export function saysPortTaken(log: string): boolean {
  return /address already in use|EADDRINUSE/i.test(log);
}

/**
 * The one line of a program's complaint that names the cause: the first that is marked as an error, else the first with
 * something in it. PostgreSQL's time and process id before it are left out; its hint ("Check free disk space.") is added.
 */
export function causeLine(text: string): string {
  const lines = text.split('\n').flatMap((line) => line.replace(/^\d{4}-.{10,25}\[\d+\] /, '').trim() || []);
  const cause = lines.find((line) => /\b(error|FATAL|PANIC):/.test(line)) ?? lines[0] ?? '';
  const hint = lines.find((line) => line.startsWith('HINT:'))?.replace(/^HINT:\s*|\.$/g, '');
  return hint === undefined ? cause : `${cause} (${hint})`;
}

/** The last three different lines with something in them, in one. */
export function lastLines(log: string): string {
  const lines = log.split('\n').flatMap((line) => line.trim() || []);
  return [...new Set(lines)].slice(-3).join(' / ');
}

async function untilReady(
  server: GuardedServer,
  port: number,
  isReady: (port: number) => Promise<boolean>,
  signal?: AbortSignal,
): Promise<void> {
  let ended: string | undefined;
  void server.ended.then((how) => (ended = how));
  const deadline = performance.now() + readyBoundMs;
  for (;;) {
    const ready = await isReady(port);
    signal?.throwIfAborted();
    if (ended !== undefined) throw new Error(`it ended with ${ended}`);
    if (ready) return;
    if (performance.now() > deadline) throw new Error(`it was not ready within ${readyBoundMs / 1000} s`);
    await delay(pollMs);
  }
}

function readLogFrom(path: string, start: number): string {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  // Smaller than before: it was set aside and begun anew.
  const from = Math.max(size < start ? 0 : start, size - quotedLogBytes);
  if (size <= from) return '';
  const buffer = Buffer.alloc(size - from);
  const file = openSync(path, 'r');
  readSync(file, buffer, 0, buffer.length, from);
  closeSync(file);
  return buffer.toString('utf8');
}
