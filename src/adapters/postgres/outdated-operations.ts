import { healingDefinitions } from '../../domain/operation/operation';
import type { DeletedOperations, RetentionRules } from '../../ports/operation-store';
import type { PostgresUnitOfWork } from './postgres-unit-of-work';

/**
 * The two lists of a scheduler's ended operations, each numbered without gaps: the recent ones (`final_number`), and before
 * them the changes that outlived the healing around them (`kept_number`). Each only ever loses its lowest numbers.
 */

const endedBefore = (ageMs: string): string => `o.finished_at < now() - ${ageMs} * interval '1 millisecond'`;

const isGone = (scheduler: string): string =>
  `NOT EXISTS (SELECT FROM maestro.schedulers s WHERE s.name = ${scheduler})`;

/** `o` is an operation, `c` its scheduler's counter; the rest are places of parameters. */
const isOutdatedRecent = (ageMs: string, limit: string): string =>
  `(${endedBefore(ageMs)} OR o.final_number <= c.last_final_number - ${limit}::bigint)`;

/** `o` is an operation, `last.kept` the highest number that a kept one of its scheduler has. */
const isOutdatedKept = (ageMs: string, limit: string, newest: string): string =>
  `(o.kept_number <= last.kept - ${limit}::bigint
    OR (${endedBefore(ageMs)} AND (o.kept_number <= last.kept - ${newest}::bigint OR ${isGone('o.scheduler_name')})))`;

const lastKept = (scheduler: string): string =>
  `SELECT max(k.kept_number) AS kept FROM maestro.operations k WHERE k.scheduler_name = ${scheduler}`;

/**
 * Looks at the first of each list only: three look-ups in an index for a scheduler, however many operations it has. One that
 * is gone and has none left is found for its counter.
 */
export async function findOutdated(database: PostgresUnitOfWork, rules: RetentionRules): Promise<string[]> {
  const rows = await database.rows<{ scheduler_name: string }>(
    `SELECT c.scheduler_name FROM maestro.operation_counters c
     LEFT JOIN LATERAL (
       SELECT ${isOutdatedRecent('$1', '$2')} AS outdated FROM maestro.operations o
       WHERE o.scheduler_name = c.scheduler_name AND o.final_number IS NOT NULL ORDER BY o.final_number LIMIT 1
     ) recent ON true
     LEFT JOIN LATERAL (
       SELECT ${isOutdatedKept('$3', '$2', '$4')} AS outdated
       FROM maestro.operations o CROSS JOIN (${lastKept('c.scheduler_name')}) last
       WHERE o.scheduler_name = c.scheduler_name AND o.kept_number IS NOT NULL ORDER BY o.kept_number LIMIT 1
     ) kept ON true
     WHERE recent.outdated OR kept.outdated
       OR (recent.outdated IS NULL AND kept.outdated IS NULL AND ${isGone('c.scheduler_name')})
     ORDER BY c.scheduler_name`,
    [rules.healingAgeMs, rules.limit, rules.changeAgeMs, rules.newestChanges],
  );
  return rows.map((row) => row.scheduler_name);
}

export async function deleteOutdated(
  database: PostgresUnitOfWork,
  scheduler: string,
  rules: RetentionRules,
  limit: number,
): Promise<DeletedOperations> {
  return database.run(async () => {
    // A process that lost the lease of the loop may be in the middle: two that number the same rows would leave a gap.
    await database.rows(`SELECT pg_advisory_xact_lock(hashtext('maestro.retention'))`);
    const recent = await thinRecent(database, scheduler, rules, limit);
    const changes = await deleteOldestKept(database, scheduler, rules, limit);
    const more = recent.taken >= limit || changes >= limit;
    if (!more) await forgetCounter(database, scheduler);
    return { healing: recent.deleted, changes, more };
  });
}

/** Of the outdated recent ones, oldest first, those that heal are deleted and the others become kept ones. */
async function thinRecent(
  database: PostgresUnitOfWork,
  scheduler: string,
  rules: RetentionRules,
  limit: number,
): Promise<{ taken: number; deleted: number }> {
  const [row] = await database.rows<{ taken: number; deleted: number }>(
    `WITH oldest AS MATERIALIZED (
       SELECT o.id, o.definition = ANY($5) AS heals, o.final_number AS number,
         bool_and(${isOutdatedRecent('$3', '$4')}) OVER (ORDER BY o.final_number) AS outdated
       FROM maestro.operation_counters c JOIN maestro.operations o USING (scheduler_name)
       WHERE c.scheduler_name = $1 AND o.final_number IS NOT NULL ORDER BY o.final_number LIMIT $2),
     deleted AS (
       DELETE FROM maestro.operations o USING oldest
       WHERE o.id = oldest.id AND oldest.outdated AND oldest.heals RETURNING 1),
     kept AS (
       UPDATE maestro.operations o SET final_number = NULL, kept_number = n.number
       FROM (SELECT id, row_number() OVER (ORDER BY number) + coalesce((${lastKept('$1')}), 0) AS number
             FROM oldest WHERE outdated AND NOT heals) n
       WHERE o.id = n.id)
     SELECT (SELECT count(*) FROM oldest WHERE outdated)::int AS taken, (SELECT count(*) FROM deleted)::int AS deleted`,
    [scheduler, limit, rules.healingAgeMs, rules.limit, healingDefinitions],
  );
  return row!;
}

async function deleteOldestKept(
  database: PostgresUnitOfWork,
  scheduler: string,
  rules: RetentionRules,
  limit: number,
): Promise<number> {
  const deleted = await database.rows(
    `WITH oldest AS MATERIALIZED (
       SELECT o.id, bool_and(${isOutdatedKept('$3', '$4', '$5')}) OVER (ORDER BY o.kept_number) AS outdated
       FROM maestro.operations o CROSS JOIN (${lastKept('$1')}) last
       WHERE o.scheduler_name = $1 AND o.kept_number IS NOT NULL ORDER BY o.kept_number LIMIT $2)
     DELETE FROM maestro.operations o USING oldest WHERE o.id = oldest.id AND oldest.outdated RETURNING o.id`,
    [scheduler, limit, rules.changeAgeMs, rules.limit, rules.newestChanges],
  );
  return deleted.length;
}

/**
 * The counter is locked before one looks whether it still counts something: who ends an operation meanwhile waits for the lock
 * and begins anew after it, so no number is given twice.
 */
async function forgetCounter(database: PostgresUnitOfWork, scheduler: string): Promise<void> {
  const locked = await database.rows(
    `SELECT scheduler_name FROM maestro.operation_counters WHERE scheduler_name = $1 AND ${isGone('$1')}
     FOR UPDATE SKIP LOCKED`,
    [scheduler],
  );
  if (locked.length === 0) return;
  await database.rows(
    `DELETE FROM maestro.operation_counters WHERE scheduler_name = $1 AND NOT EXISTS (
       SELECT FROM maestro.operations WHERE scheduler_name = $1 AND final_number IS NOT NULL)
     AND NOT EXISTS (SELECT FROM maestro.operations WHERE scheduler_name = $1 AND kept_number IS NOT NULL)`,
    [scheduler],
  );
}

export async function deleteHidden(database: PostgresUnitOfWork, ageMs: number, limit: number): Promise<number> {
  const deleted = await database.rows(
    `DELETE FROM maestro.operations WHERE id IN (
       SELECT o.id FROM maestro.operations o WHERE o.hidden AND ${endedBefore('$1')} ORDER BY o.finished_at LIMIT $2)
     RETURNING id`,
    [ageMs, limit],
  );
  return deleted.length;
}
