import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { DomainError, messageOf } from '../../domain/errors';
import { claimant } from './claim';

/** The file that makes a directory Maestro's. Written into a directory that Maestro made or found empty, into no other. */
export const markerName = '.maestro-state';
const markerText = 'This directory belongs to Maestro: "maestro reset" removes what Maestro keeps in it.\n';

/** Never Maestro's own, and so never removed: a user's secrets, and what file systems and desktops put anywhere. */
const othersNames: readonly string[] = ['secrets', 'lost+found', '.DS_Store'];

/**
 * What Maestro itself keeps in a state directory, and how to tell it from another program's entry of the same name where
 * a marker does not: the directories of versions that wrote none are still Maestro's. `postgres`, `redis` and `logs` lie
 * beside each other in many a project, so their names alone prove nothing.
 */
const ownEntries: Readonly<Record<string, (path: string) => boolean>> = {
  'data-elsewhere': (path) => lstatSync(path).isFile(),
  logs: (path) => holdsOnly(path, /^(postgres|redis)\.log(\.1)?$/),
  postgres: (path) => isEmpty(path) || isPassword(join(path, 'password')),
  redis: (path) => isEmpty(path) || isPassword(join(path, 'password')) || isOurConfiguration(join(path, 'redis.conf')),
  run: (path) => holdsOnly(path, /^(postgres|redis)\.json(\.new)?$/),
  runtime: (path) => holdsOnly(path, /^(rooms|logs|supervisor\..+|\.lock-.+)$/),
  'sample-created': (path) => statSync(path).size === 0,
};

/** missing: no such directory. unused: holds nothing of Maestro's. ours: Maestro made or adopted it. */
export type StateDirectoryUse = 'missing' | 'unused' | 'ours';

/**
 * Whether Maestro may keep its state in the directory, and remove it from there. Changes nothing.
 *
 * @throws DomainError `state_directory.foreign` if it holds anything and there is no proof that it is Maestro's;
 *   `state_directory.unusable` if it is a file, or cannot be read.
 */
export function checkStateDirectory(path: string): StateDirectoryUse {
  const directory = resolve(path);
  const entries = readEntries(directory);
  if (entries === undefined) return 'missing';
  if (entries.includes(markerName)) return 'ours';
  const used = entries.filter((name) => !othersNames.includes(name));
  const foreign = used.filter((name) => !looksOwn(directory, name));
  if (foreign.length > 0) {
    throw new DomainError(
      'failed_precondition',
      'state_directory.foreign',
      `${directory} is not a state directory of Maestro: it holds ${listed(foreign)} and no ${markerName}. Nothing in it was touched; set MAESTRO_STATE_DIRECTORY to a directory that is empty or missing.`,
      { details: { path: directory } },
    );
  }
  return used.length === 0 ? 'unused' : 'ours';
}

/**
 * Makes the directory Maestro's: makes it if it is missing, and marks it.
 *
 * @throws DomainError as `checkStateDirectory`; `state_directory.unusable` also if it cannot be written.
 */
export function adoptStateDirectory(path: string): void {
  const directory = resolve(path);
  checkStateDirectory(directory);
  try {
    // Its own step: a recursive mkdir on a read-only file system complains of a missing file (Node 20 to 24).
    mkdirSync(dirname(directory), { recursive: true });
    unlessItExists(() => mkdirSync(directory));
    unlessItExists(() => writeFileSync(join(directory, markerName), markerText, { flag: 'wx' }));
  } catch (error) {
    throw unusableStateDirectory(directory, error);
  }
}

/** Whether an entry of a marked state directory is Maestro's to remove; the marker and claims are for the caller. */
export function isOwnEntry(name: string): boolean {
  return Object.hasOwn(ownEntries, name);
}

/** One line for a directory that the operating system does not let us use. */
export function unusableStateDirectory(directory: string, cause: unknown): DomainError {
  const isFile = existsSync(directory) && !statSync(directory).isDirectory();
  const reason = isFile ? 'it is a file' : messageOf(cause);
  return new DomainError(
    'failed_precondition',
    'state_directory.unusable',
    `The state directory ${directory} cannot be used: ${reason}. Set MAESTRO_STATE_DIRECTORY to a directory that Maestro can write to.`,
    { cause, details: { path: directory } },
  );
}

function readEntries(directory: string): string[] | undefined {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    // What would lie under a file is missing too; making it says why it cannot be.
    if (!existsSync(directory) && ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) {
      return undefined;
    }
    throw unusableStateDirectory(directory, error);
  }
}

function unlessItExists(make: () => void): void {
  try {
    make();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

function looksOwn(directory: string, name: string): boolean {
  if (claimant(name) !== undefined) return true;
  if (!isOwnEntry(name)) return false;
  try {
    return ownEntries[name]!(join(directory, name));
  } catch {
    return false; // What cannot be read proves nothing.
  }
}

function holdsOnly(path: string, names: RegExp): boolean {
  return readdirSync(path).every((name) => names.test(name));
}

function isEmpty(path: string): boolean {
  return readdirSync(path).length === 0;
}

/** As `postgres-server.ts` and `redis-server.ts` make them: 24 random bytes. */
function isPassword(path: string): boolean {
  return /^[0-9a-f]{48}\n?$/.test(readTextIfAny(path));
}

function isOurConfiguration(path: string): boolean {
  return /^requirepass [0-9a-f]{48}$/m.test(readTextIfAny(path));
}

function readTextIfAny(path: string): string {
  return lstatSync(path, { throwIfNoEntry: false })?.isFile() ? readFileSync(path, 'utf8') : '';
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ');
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}
