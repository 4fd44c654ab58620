import { readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Logger } from '../../ports/logger';
import { claimName } from './claim';
import { removeDataElsewhere } from './data-directory';
import { ownProcess } from './process-identity';
import { acquireStateDirectory, removeVoidClaims } from './state-directory';
import { checkStateDirectory, isOwnEntry, markerName } from './state-marker';
import { endPreviousServer } from './watchdog';

/** Reset is asked for by a person: servers that a killed Maestro left get this long to end, then they are ended. */
const patienceMs = 5_000;

/**
 * Removes what Maestro keeps in the state directory, and the data of its servers where they had to live elsewhere. What a
 * user put there stays, `secrets` above all, and the log names it; the directory itself goes if nothing is left in it.
 * Servers of a killed Maestro are ended first; `endRooms` ends what else runs from there, while we own the directory.
 *
 * Answers false, and has done nothing, for a directory that is missing or holds nothing of Maestro's.
 *
 * @throws DomainError `state_directory.foreign` or `state_directory.unusable`, before anything is touched, without proof
 *   that the directory is Maestro's (`checkStateDirectory`); `state_directory.in_use` while a live process owns it.
 */
export async function removeState(
  path: string,
  logger: Logger,
  endRooms: () => Promise<void> = async () => {},
): Promise<boolean> {
  const directory = resolve(path);
  if (checkStateDirectory(directory) !== 'ours') return false;
  const owned = await acquireStateDirectory(directory);
  try {
    await endRooms();
    const stop = { stopSignals: ['SIGINT'], stopStepMs: 5_000 } as const;
    await Promise.all(
      ['postgres.json', 'redis.json'].map((name) =>
        endPreviousServer({ recordFile: join(directory, 'run', name), patienceMs, stop, logger }),
      ),
    );
    removeDataElsewhere(directory);
    for (const name of readdirSync(directory).filter(isOwnEntry)) {
      rmSync(join(directory, name), { recursive: true, force: true, maxRetries: 3 });
    }
    removeVoidClaims(directory);
    const kept = readdirSync(directory).filter((name) => name !== markerName && name !== claimName(ownProcess()));
    if (kept.length > 0) logger.info({ state_directory: directory, kept }, 'what Maestro did not make is kept');
    // Last, so that a reset that was interrupted can be repeated.
    rmSync(join(directory, markerName), { force: true });
  } finally {
    owned.release();
  }
  removeIfEmpty(directory);
  return true;
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Something is kept in it, or the next start has it already.
  }
}
