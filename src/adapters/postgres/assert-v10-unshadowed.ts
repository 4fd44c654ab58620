import type { DataSource } from 'typeorm';
import { DomainError } from '../../domain/errors';

/**
 * Refuses to make the schema `maestro` where a Maestro v10 would lose its tables by it: v10 names them without a schema, and
 * PostgreSQL looks first into the schema that is called like the user. v10's user is `maestro` by default, so its next
 * query would find our `schedulers` (https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATH).
 * Call it before the first migration; once the schema is there it says nothing.
 *
 * @throws DomainError `postgres.would_shadow_v10` (failed_precondition) with the statement that helps.
 */
export async function assertV10Unshadowed(dataSource: DataSource): Promise<void> {
  const [found] = await dataSource.query<{ database: string }[]>(`
    SELECT current_database() AS database
    WHERE to_regnamespace('maestro') IS NULL
      AND to_regclass('public.schedulers') IS NOT NULL AND to_regclass('public.scheduler_versions') IS NOT NULL
      AND EXISTS (
        SELECT FROM pg_roles r WHERE r.rolname = 'maestro' AND NOT EXISTS (
          SELECT FROM pg_db_role_setting s, unnest(s.setconfig) AS setting
          WHERE s.setrole IN (0, r.oid)
            AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
            AND setting LIKE 'search_path=%' AND setting NOT LIKE '%$user%'))`);
  if (found === undefined) return;
  const statement = `ALTER ROLE maestro IN DATABASE "${found.database}" SET search_path = public`;
  throw new DomainError(
    'failed_precondition',
    'postgres.would_shadow_v10',
    `Maestro v10 has its tables in this database, and its user "maestro" would find ours in their place: ` +
      `run "${statement};" and restart v10 first, or use another database`,
  );
}
