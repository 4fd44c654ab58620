import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeDataElsewhere } from '../../src/adapters/embedded-servers/data-directory';
import { startPostgresServer } from '../../src/adapters/embedded-servers/postgres-server';
import { type RedisChoice, startRedisServer } from '../../src/adapters/embedded-servers/redis-server';
import { adoptStateDirectory } from '../../src/adapters/embedded-servers/state-marker';
import { Logger } from '../../src/ports/logger';
import { PausedProcesses } from './paused-processes';

/** A logger for servers under test: what went wrong is in the error that they throw. */
export class QuietLogger extends Logger {
  error(): void {}
  warn(): void {}
  info(): void {}
  debug(): void {}
  child(): Logger {
    return this;
  }
}

/** A state directory of its own for one test; other users may pass through it, as the server's user must. */
export function makeTestStateDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'maestro-test-'));
  chmodSync(path, 0o711);
  adoptStateDirectory(path);
  return path;
}

export interface TestPostgres {
  url: string;
  /** Ends it as a host that restarts does, and starts it again on the same port and data. */
  restart: () => Promise<void>;
  /** From now on it answers nothing and closes nothing, as a host that hangs. Until `resume` or `stop`. */
  pause: () => void;
  resume: () => void;
  /** Ends it and removes its data; call it in `afterAll`. */
  stop: () => Promise<void>;
}

/** A real, empty PostgreSQL on a free port, for one suite. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const throwAway = await startThrowAway(startSteerablePostgres);
  const { url, restart, pause, resume } = throwAway.server;
  return { url, restart, pause, resume, stop: () => throwAway.stop() };
}

async function startSteerablePostgres(stateDirectory: string): Promise<TestPostgres> {
  const startOn = (port: number) =>
    startPostgresServer({ stateDirectory, port, throwAway: true, logger: new QuietLogger() });
  let server = await startOn(0);
  const paused = new PausedProcesses();
  return {
    url: server.url,
    restart: async () => {
      await server.stop();
      server = await startOn(server.port);
    },
    pause: () => {
      const record = readFileSync(join(stateDirectory, 'run', 'postgres.json'), 'utf8');
      paused.pauseWithChildren((JSON.parse(record) as { server: { pid: number } }).server.pid);
    },
    resume: () => paused.resume(),
    stop: async () => {
      paused.resume();
      await server.stop();
    },
  };
}

/**
 * An empty Redis on a free port, for one suite. Without a kind: the one in MAESTRO_TEST_REDIS (path, package or js), else
 * the best that this machine can have. `stop` ends it and removes its data; call it in `afterAll`.
 */
export async function startTestRedis(
  kind?: RedisChoice,
): Promise<{ url: string; kind: string; stop(): Promise<void> }> {
  const choice = kind ?? kindFromEnvironment();
  const throwAway = await startThrowAway((stateDirectory) =>
    startRedisServer({
      stateDirectory,
      choice,
      searchPath: process.env.PATH ?? '',
      port: 0,
      logger: new QuietLogger(),
    }),
  );
  return { url: throwAway.server.url, kind: throwAway.server.kind, stop: () => throwAway.stop() };
}

async function startThrowAway<Server extends { stop(): Promise<void> }>(
  start: (stateDirectory: string) => Promise<Server>,
): Promise<{ server: Server; stop(): Promise<void> }> {
  const stateDirectory = makeTestStateDirectory();
  const remove = () => {
    removeDataElsewhere(stateDirectory);
    rmSync(stateDirectory, { recursive: true, force: true });
  };
  try {
    const server = await start(stateDirectory);
    return { server, stop: () => server.stop().then(remove) };
  } catch (error) {
    remove();
    throw error;
  }
}

function kindFromEnvironment(): RedisChoice {
  const kind = process.env.MAESTRO_TEST_REDIS ?? 'auto';
  if (kind === 'auto' || kind === 'path' || kind === 'package' || kind === 'js') return kind;
  throw new Error(`MAESTRO_TEST_REDIS is "${kind}"; it can be path, package, js or auto.`);
}
