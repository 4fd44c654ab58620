import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { DomainError } from '../../domain/errors';
import { findProcess } from './process-identity';

/**
 * Where programs are kept between starts: the user's own cache; for root a directory that others can read, because the
 * embedded servers of root run as another user.
 */
export function defaultCacheDirectory(): string {
  if (process.getuid?.() === 0) {
    return sharedDirectory(['/var/cache/maestro', '/var/tmp/maestro-cache', join(tmpdir(), 'maestro-cache')]);
  }
  const home = homedir();
  if (process.platform === 'darwin') return join(home, 'Library', 'Caches', 'maestro');
  return process.platform === 'win32' ? join(home, 'AppData', 'Local', 'maestro') : join(home, '.cache', 'maestro');
}

/**
 * The first of the places that we own or can make, open for others to pass. A directory that another user made or can
 * write to is passed over: in /tmp and /var/tmp anybody may have prepared one.
 */
export function sharedDirectory(places: readonly string[]): string {
  for (const place of places) {
    try {
      if (!existsSync(place)) {
        mkdirSync(place, { recursive: true });
        chmodSync(place, 0o755);
      }
      const { uid, mode } = statSync(place);
      if (uid === process.getuid?.() && (mode & 0o022) === 0 && (mode & 0o001) === 1) return place;
    } catch {
      continue;
    }
  }
  throw new DomainError(
    'failed_precondition',
    'embedded_servers.no_directory',
    `None of ${places.join(', ')} can be used: each is missing and cannot be made, or other users can write to it.`,
  );
}

/**
 * The entry `name` of the cache, made by `fill` in a scratch directory beside it and then renamed, so that an entry is
 * either complete or absent, also when several processes make it at once (the first wins) or one dies halfway.
 */
export async function cached(
  cacheDirectory: string,
  name: string,
  fill: (scratch: string) => Promise<void>,
): Promise<string> {
  const entry = join(cacheDirectory, name);
  if (existsSync(entry)) return entry;
  mkdirSync(cacheDirectory, { recursive: true });
  removeAbandonedScratch(cacheDirectory);
  const scratch = join(cacheDirectory, `.scratch-${process.pid}-${randomBytes(6).toString('hex')}`);
  mkdirSync(scratch);
  try {
    chmodSync(scratch, 0o755);
    await fill(scratch);
    renameSync(scratch, entry);
  } catch (error) {
    if (!existsSync(entry)) throw error;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return entry;
}

function removeAbandonedScratch(cacheDirectory: string): void {
  for (const name of readdirSync(cacheDirectory)) {
    const [, pid] = /^\.scratch-(\d+)-/.exec(name) ?? [];
    if (pid !== undefined && findProcess(Number(pid)) === undefined) {
      rmSync(join(cacheDirectory, name), { recursive: true, force: true });
    }
  }
}
