import { closeSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DomainError } from '../../domain/errors';
import { claimant, claimName } from './claim';
import { isRunning, ownProcess, type ProcessIdentity } from './process-identity';
import { adoptStateDirectory, unusableStateDirectory } from './state-marker';

/** How often a start looks again before it believes that another live process owns the directory. */
const attempts = 6;
/** Longest pause between two looks; random, so that two starts that met do not meet for ever. */
const longestPauseMs = 60;

/** A state directory that belongs to this process until `release`, or until this process ends in whatever way. */
export interface OwnedStateDirectory {
  readonly path: string;
  release(): void;
}

/**
 * Makes this process the one owner of the state directory (made and marked if missing or empty).
 *
 * Each process claims with a file of its own name, `owner-PID-STARTTIME.lock`, and owns the directory if it then finds
 * no claim of another live process. Claiming before looking is what makes it safe: of two that claim at once at least
 * one sees the other, withdraws and tries again. A claim names its process, so the claim of a dead one is void, its
 * removal can never hit a live one, and a pid that another program got since is not taken for the owner.
 *
 * @throws DomainError `state_directory.in_use` if a live process owns it; `state_directory.foreign` or
 *   `state_directory.unusable`, before anything is changed, if it cannot be Maestro's (`checkStateDirectory`).
 */
export async function acquireStateDirectory(path: string): Promise<OwnedStateDirectory> {
  const directory = resolve(path);
  adoptStateDirectory(directory);
  const own = ownProcess();
  const claim = join(directory, claimName(own));
  let owner: ProcessIdentity | undefined;

  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    owner = findOwner(directory);
    if (owner === undefined) {
      if (!writeClaim(directory, own)) {
        owner = own;
        break;
      }
      owner = findOwner(directory, own);
      if (owner === undefined) {
        removeVoidClaims(directory);
        return { path: directory, release: () => rmSync(claim, { force: true }) };
      }
      rmSync(claim, { force: true });
    }
    if (attempt < attempts) await delay(10 + Math.random() * (longestPauseMs - 10));
  }

  const { pid } = owner ?? own;
  throw new DomainError(
    'failed_precondition',
    'state_directory.in_use',
    `The state directory ${directory} is in use by the running process ${pid}: stop that process, or give this one another directory.`,
    { details: { path: directory, pid } },
  );
}

/** The live process that claims the directory, or undefined. `except` is the caller's own claim. */
export function findOwner(directory: string, except?: ProcessIdentity): ProcessIdentity | undefined {
  return readClaims(directory).find((claim) => claim.pid !== except?.pid && isRunning(claim));
}

function readClaims(directory: string): ProcessIdentity[] {
  return readdirSync(directory).flatMap((name) => claimant(name) ?? []);
}

/** Removes the claims of processes that are gone. */
export function removeVoidClaims(directory: string): void {
  for (const claim of readClaims(directory)) {
    if (!isRunning(claim)) rmSync(join(directory, claimName(claim)), { force: true });
  }
}

/** False if this process has claimed it already. */
function writeClaim(directory: string, own: ProcessIdentity): boolean {
  try {
    const file = openSync(join(directory, claimName(own)), 'wx', 0o644);
    writeSync(file, `${JSON.stringify(own)}\n`);
    closeSync(file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw unusableStateDirectory(directory, error);
  }
}
