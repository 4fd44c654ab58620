import { DomainError } from '../domain/errors';

export const roles = ['management-api', 'rooms-api', 'worker', 'runtime-watcher', 'metrics-reporter'] as const;
/** One of the five parts of the system; each scales alone (`architecture.md` 1). */
export type Role = (typeof roles)[number];

/**
 * Reads a comma separated list; `all` is every role.
 * @throws DomainError `role.unknown` (invalid_argument) that lists what there is.
 */
export function parseRoles(list: string): Role[] {
  const names = list
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  if (names.includes('all')) return [...roles];
  const unknown = names.filter((name) => !(roles as readonly string[]).includes(name));
  if (unknown.length > 0 || names.length === 0) {
    throw new DomainError(
      'invalid_argument',
      'role.unknown',
      `unknown role "${unknown[0] ?? list}": a role is one of ${roles.join(', ')}, or all`,
    );
  }
  return roles.filter((role) => names.includes(role));
}
