import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Version changes, operations that wait, cancel, rollbacks that survive their worker, and lists whose pages cost the same
 * however long the history is.
 *
 * `final_number` counts a scheduler's ended operations that lists show, without gaps and in the order in which they ended; who
 * deletes some deletes those with the lowest numbers. So a page is a range of an index, and the total a subtraction.
 *
 * Two unique indexes are rules, not speed: a scheduler has one open version change, and while an operation is in progress,
 * waiting included, only what heals goes on beside it.
 */
export class ChangeVersionsAndCancel1732233600000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      ALTER TABLE maestro.operations
        ADD COLUMN reason text NOT NULL DEFAULT '',
        ADD COLUMN cancel_requested_at timestamptz,
        ADD COLUMN rollback text CHECK (rollback IN ('error', 'canceled')),
        ADD COLUMN final_number bigint;

      CREATE UNIQUE INDEX operations_one_version_change ON maestro.operations (scheduler_name)
        WHERE definition IN ('create_new_scheduler_version', 'switch_active_version') AND finished_at IS NULL;

      CREATE UNIQUE INDEX operations_one_in_progress ON maestro.operations (scheduler_name)
        WHERE status = 'in_progress' AND definition NOT IN ('health_controller', 'add_rooms', 'remove_rooms');

      CREATE TABLE maestro.operation_counters (
        scheduler_name text PRIMARY KEY,
        last_final_number bigint NOT NULL
      );

      CREATE FUNCTION maestro.number_final_operation() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          INSERT INTO maestro.operation_counters AS c (scheduler_name, last_final_number) VALUES (NEW.scheduler_name, 1)
          ON CONFLICT (scheduler_name) DO UPDATE SET last_final_number = c.last_final_number + 1
          RETURNING c.last_final_number INTO NEW.final_number;
          RETURN NEW;
        END $$;
      CREATE TRIGGER number_final_operation BEFORE UPDATE ON maestro.operations FOR EACH ROW
        WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL AND NOT NEW.hidden)
        EXECUTE FUNCTION maestro.number_final_operation();

      UPDATE maestro.operations o SET final_number = n.number
        FROM (SELECT id, row_number() OVER (PARTITION BY scheduler_name ORDER BY finished_at, seq) AS number
              FROM maestro.operations WHERE finished_at IS NOT NULL AND NOT hidden) n
        WHERE o.id = n.id;
      INSERT INTO maestro.operation_counters (scheduler_name, last_final_number)
        SELECT scheduler_name, max(final_number) FROM maestro.operations WHERE final_number IS NOT NULL GROUP BY 1;

      DROP INDEX maestro.operations_final;
      CREATE UNIQUE INDEX operations_final ON maestro.operations (scheduler_name, final_number)
        WHERE final_number IS NOT NULL;
      DROP INDEX maestro.operations_active;
      CREATE INDEX operations_active ON maestro.operations (scheduler_name, created_at, seq)
        WHERE status = 'in_progress';
      CREATE INDEX operations_waiting ON maestro.operations (not_before)
        WHERE status = 'in_progress' AND NOT holds_slot;
      CREATE INDEX operations_deletions ON maestro.operations (scheduler_name) WHERE definition = 'delete_scheduler';
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      DROP INDEX maestro.operations_deletions;
      DROP INDEX maestro.operations_waiting;
      DROP INDEX maestro.operations_active;
      CREATE INDEX operations_active ON maestro.operations (scheduler_name) WHERE status = 'in_progress';
      DROP INDEX maestro.operations_final;
      CREATE INDEX operations_final ON maestro.operations (scheduler_name, finished_at, seq)
        WHERE finished_at IS NOT NULL AND NOT hidden;
      DROP TRIGGER number_final_operation ON maestro.operations;
      DROP FUNCTION maestro.number_final_operation();
      DROP TABLE maestro.operation_counters;
      DROP INDEX maestro.operations_one_in_progress;
      DROP INDEX maestro.operations_one_version_change;
      ALTER TABLE maestro.operations
        DROP COLUMN final_number, DROP COLUMN rollback, DROP COLUMN cancel_requested_at, DROP COLUMN reason;
      UPDATE maestro.operations SET status = 'pending' WHERE status = 'in_progress' AND NOT holds_slot;
    `);
  }
}
