import { createHash } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sharedDirectory } from './cache-directory';
import { canReach, chooseServerAccount, type ServerAccount } from './server-account';

/** The servers that keep data. */
export type ServerName = 'postgres' | 'redis';

/** Where one server keeps what is its own: mode 0700, owned by the account that the server runs as. */
export interface ServerHome {
  readonly path: string;
  /** Undefined: the server runs as ourselves. */
  readonly account: ServerAccount | undefined;
}

/** In the state directory: the path of the data that had to live elsewhere. */
const pointerName = 'data-elsewhere';
/** In the data elsewhere: the path of the state directory that it belongs to. */
const ownerName = 'state-directory';

/**
 * Opens (makes if missing) the home of a server: inside the state directory, or, when the server runs as another user
 * that cannot reach it there (a project in root's private home), elsewhere on this machine. Then the state directory
 * holds a pointer to it, so that `removeDataElsewhere` finds it.
 *
 * A state directory that was moved keeps its data. A copy of one starts with none, so that no two of them ever
 * run servers on the same data. Data elsewhere without a pointer is of a state directory removed by hand: discarded.
 */
export function openServerHome(stateDirectory: string, name: ServerName): ServerHome {
  const inside = join(stateDirectory, name);
  const account = chooseServerAccount(inside);
  const parent =
    account === undefined || canReach(stateDirectory, account)
      ? stateDirectory
      : openDataElsewhere(stateDirectory, placesElsewhere());
  const path = join(parent, name);
  mkdirSync(path, { recursive: true });
  if (account !== undefined) chownSync(path, account.uid, account.gid);
  chmodSync(path, 0o700);
  return { path, account };
}

/** Removes the data of this state directory that lives elsewhere; what belongs to another one stays. */
export function removeDataElsewhere(stateDirectory: string): void {
  const path = findDataElsewhere(stateDirectory);
  if (path !== undefined) rmSync(path, { recursive: true, force: true });
}

/** Exported for its spec; `places` are the directories to keep data in, best first. */
export function openDataElsewhere(stateDirectory: string, places: readonly string[]): string {
  const path = findDataElsewhere(stateDirectory) ?? makeDataElsewhere(stateDirectory, places);
  writeFileSync(join(path, ownerName), stateDirectory);
  return path;
}

function findDataElsewhere(stateDirectory: string): string | undefined {
  const path = readText(join(stateDirectory, pointerName));
  const owner = path === undefined ? undefined : readText(join(path, ownerName));
  const isOurs = owner === stateDirectory || (owner !== undefined && !existsSync(owner));
  return isOurs ? path : undefined;
}

function makeDataElsewhere(stateDirectory: string, places: readonly string[]): string {
  const hash = createHash('sha256').update(stateDirectory).digest('hex').slice(0, 16);
  const path = join(sharedDirectory(places), hash);
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path);
  chmodSync(path, 0o711);
  writeFileSync(join(stateDirectory, pointerName), path);
  return path;
}

/** /var/tmp survives a restart of the machine but is swept after a month (systemd-tmpfiles), so it comes second. */
function placesElsewhere(): string[] {
  return ['/var/lib/maestro', '/var/tmp/maestro-data', join(tmpdir(), 'maestro-data')];
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
