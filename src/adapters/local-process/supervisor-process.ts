import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../domain/errors';
import { processTableOfThisMachine } from './process-table';
import { rotateByCopy } from './rotated-file';
import { prepareStatePaths } from './state-paths';
import { Supervisor, type SupervisorLimits } from './supervisor';
import { SupervisorLock } from './supervisor-lock';
import { SupervisorLog } from './supervisor-log';
import { SupervisorServer } from './supervisor-server';

/**
 * The program of the supervisor: `node supervisor-process.js '<options as JSON>'`, started by `SupervisorConnector`.
 * Exit code 0 when it is not needed (another one supervises, nobody needs it, it was told to go), 1 with a line in its log
 * otherwise. Imports little, to start fast and stay small.
 */
export interface SupervisorProcessOptions extends SupervisorLimits {
  stateDir: string;
  /** Without rooms and clients for so long, it exits. */
  idleExitMs: number;
  housekeepingMs: number;
}

const ownLogMaxBytes = 1024 * 1024;

async function run(options: SupervisorProcessOptions): Promise<void> {
  // Whoever started us made the folder. If it is gone, so is the need for us: do not bring a removed one back.
  if (!existsSync(join(options.stateDir, 'runtime'))) return;
  const paths = prepareStatePaths(options.stateDir);
  const log = new SupervisorLog(paths.supervisorLog, ownLogMaxBytes);
  const leave = (why: string, code = 0): never => {
    log.info({ why }, 'supervisor leaves');
    process.exit(code);
  };
  process.on('uncaughtException', (error) => {
    log.error({ error: error.stack }, 'supervisor fails; the next one adopts its rooms');
    process.exit(1);
  });

  const table = processTableOfThisMachine();
  const lock = new SupervisorLock(paths.runtimeDir, table);
  // On Windows a pipe can be listened to by one process only, which is lock enough.
  const isLocked = process.platform !== 'win32';
  if (isLocked && !(await lock.acquire(paths.socket))) process.exit(0);

  const supervisor = new Supervisor(paths, options, table, log);
  const server = new SupervisorServer(supervisor, log, leave);
  // Rooms are recovered first: whoever is greeted sees the whole truth.
  await supervisor.recover();
  try {
    await server.listen(paths.socket);
  } catch (error) {
    if (!isLocked && (error as NodeJS.ErrnoException).code === 'EADDRINUSE') process.exit(0);
    throw error;
  }
  log.info({ socket: paths.socket, rooms: supervisor.roomCount }, 'supervisor is up');

  // Rooms outlive a supervisor that is told to go: only a client's `stop` ends them.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => leave(signal));
  process.on('SIGHUP', () => undefined);

  for (let idleSinceMs = Date.now(); ;) {
    await sleep(options.housekeepingMs);
    if (isLocked && !lock.isStillOurs()) leave('the lock is gone: the state directory was removed or taken over');
    supervisor.tidyLogs();
    // What Node itself writes of a failure goes to the same file.
    rotateByCopy(paths.supervisorLog, ownLogMaxBytes, 2);
    if (supervisor.roomCount > 0 || server.clientCount > 0) idleSinceMs = Date.now();
    else if (Date.now() - idleSinceMs >= options.idleExitMs) leave('idle');
  }
}

run(JSON.parse(process.argv[2] ?? '{}') as SupervisorProcessOptions).catch((error: unknown) => {
  // Standard error is the supervisor's log.
  process.stderr.write(`supervisor could not run: ${error instanceof Error ? error.stack : messageOf(error)}\n`);
  process.exit(1);
});
