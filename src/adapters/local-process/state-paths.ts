import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where the local runtime keeps what it must not forget. All paths are absolute. */
export interface StatePaths {
  stateDir: string;
  /** `<stateDir>/runtime`, readable by its owner only: who can write to the socket in it can run commands. */
  runtimeDir: string;
  roomsDir: string;
  logsDir: string;
  secretsDir: string;
  supervisorLog: string;
  /** Unix socket, or named pipe on Windows. */
  socket: string;
  /** Tells this state directory's rooms from those of another in the process table. */
  marker: string;
}

/** `sun_path` holds 108 bytes on Linux and 104 on macOS, the closing zero included. */
const longestSocketPath = 100;

/**
 * Makes the folders if they are missing and says where everything is. The same directory gives the same answer whatever
 * way it is written (relative, through a link).
 * @throws Error when the folders cannot be made, or when the short-path folder for the socket belongs to someone else.
 */
export function prepareStatePaths(stateDir: string): StatePaths {
  mkdirSync(stateDir, { recursive: true });
  const real = realpathSync(stateDir);
  const runtimeDir = join(real, 'runtime');
  const paths = {
    stateDir: real,
    runtimeDir,
    roomsDir: join(runtimeDir, 'rooms'),
    logsDir: join(runtimeDir, 'logs'),
    secretsDir: join(real, 'secrets'),
    supervisorLog: join(runtimeDir, 'supervisor.log'),
    marker: createHash('sha256').update(real).digest('hex').slice(0, 16),
  };
  mkdirSync(runtimeDir, { recursive: true, mode: 0o700 });
  mkdirSync(paths.roomsDir, { recursive: true });
  mkdirSync(paths.logsDir, { recursive: true });
  return { ...paths, socket: socketPath(runtimeDir, paths.marker) };
}

function socketPath(runtimeDir: string, marker: string): string {
  if (process.platform === 'win32') return `\\\\.\\pipe\\maestro-${marker}`;
  const near = join(runtimeDir, 'supervisor.sock');
  return Buffer.byteLength(near) <= longestSocketPath ? near : join(privateTemporaryDir(), `${marker}.sock`);
}

/** A shared `/tmp` lets others make the folder first, so it is only used if it is really ours and closed to them. */
function privateTemporaryDir(): string {
  const uid = process.getuid?.() ?? 0;
  const dir = join(tmpdir(), `maestro-${uid}`);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const facts = lstatSync(dir);
  if (!facts.isDirectory() || facts.uid !== uid || (facts.mode & 0o077) !== 0) {
    throw new Error(
      `${dir} must be a folder of user ${uid} with mode 0700: remove it, or use a shorter state directory`,
    );
  }
  return dir;
}
