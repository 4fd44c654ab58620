import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What retention needs: healing makes thousands of operations a day and is forgotten soon, while the few that changed the
 * scheduler itself stay for long.
 *
 * `kept_number` counts the changes that outlived the healing around them, without gaps and in the order in which they ended;
 * retention gives it once, in exchange for `final_number`. All of them ended before whatever has a `final_number`, so a
 * scheduler's list is the kept ones and then the recent ones, and a page is still a range of numbers.
 */
export class KeepChangesLonger1732233700000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      ALTER TABLE maestro.operations ADD COLUMN kept_number bigint;
      CREATE UNIQUE INDEX operations_kept ON maestro.operations (scheduler_name, kept_number)
        WHERE kept_number IS NOT NULL;
      CREATE INDEX operations_hidden ON maestro.operations (finished_at) WHERE hidden;
    `);
  }

  /** The kept ones get the numbers right below the recent ones', also where those are below 1. */
  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      UPDATE maestro.operations o SET final_number = n.number
        FROM (SELECT k.id, coalesce(r.first, c.last_final_number + 1)
                       - row_number() OVER (PARTITION BY k.scheduler_name ORDER BY k.kept_number DESC) AS number
              FROM maestro.operations k
              JOIN maestro.operation_counters c USING (scheduler_name)
              LEFT JOIN (SELECT scheduler_name, min(final_number) AS first FROM maestro.operations GROUP BY 1) r
                USING (scheduler_name)
              WHERE k.kept_number IS NOT NULL) n
        WHERE o.id = n.id;
      DROP INDEX maestro.operations_hidden;
      DROP INDEX maestro.operations_kept;
      ALTER TABLE maestro.operations DROP COLUMN kept_number;
    `);
  }
}
