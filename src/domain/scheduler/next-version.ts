import { DomainError } from '../errors';
import type { DefinitionChange } from './definition-changes';
import { parseSchedulerVersion } from './scheduler-version';

/** How far changes move the version: `major` means that rooms must be made anew. */
export type Bump = 'none' | 'minor' | 'major';

export function bumpOf(changes: readonly DefinitionChange[]): Bump {
  if (changes.length === 0) return 'none';
  return changes.some(({ major }) => major) ? 'major' : 'minor';
}

/**
 * The version that a new definition gets: v10's numbering (`management.md` 2.5), which no version in `existing` has, so that it
 * stays right after a switch back. Major: one above the highest major there is. Minor: one above the highest minor of the
 * active major. A definition that changes nothing gets a minor version too, as in v10. Inherits the active version's `v`.
 *
 * `existing` may leave out the active version; text in it that is no version takes no number.
 *
 * @throws DomainError `scheduler.invalid_version` (failed_precondition) when `active` is no version.
 */
export function nextVersion({
  active,
  existing,
  bump,
}: {
  active: string;
  existing: readonly string[];
  bump: Bump;
}): string {
  const current = parseSchedulerVersion(active);
  if (!current) {
    throw new DomainError(
      'failed_precondition',
      'scheduler.invalid_version',
      `the active version "${active}" is no version number; switch to a version like v1.0.0 first`,
    );
  }
  const versions = [current, ...existing.map(parseSchedulerVersion).filter((version) => version !== null)];
  const prefix = active.startsWith('v') ? 'v' : '';
  if (bump === 'major') return `${prefix}${highest(versions.map(({ major }) => major)) + 1}.0.0`;
  const minors = versions.filter(({ major }) => major === current.major).map(({ minor }) => minor);
  return `${prefix}${current.major}.${highest(minors) + 1}.0`;
}

/** By reduction, because `Math.max` cannot take a very long list of arguments. */
function highest(numbers: readonly number[]): number {
  return numbers.reduce((one, other) => Math.max(one, other), 0);
}
