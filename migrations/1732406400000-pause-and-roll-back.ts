import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What someone, or Maestro itself, has decided about a scheduler's automation: since when it is paused, by whom and why, and
 * whether the active version is one that an automatic rollback has brought back, since when it is active, and which one was before.
 * All of it has a default, so that processes of the release before go on writing rows without it. And the way to a scheduler's last
 * version changes, past the thousands of operations that heal it.
 */
export class PauseAndRollBack1732406400000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      ALTER TABLE maestro.schedulers
        ADD COLUMN paused_at timestamptz,
        ADD COLUMN paused_by text NOT NULL DEFAULT '',
        ADD COLUMN pause_reason text NOT NULL DEFAULT '',
        ADD COLUMN brought_back_version text NOT NULL DEFAULT '',
        ADD COLUMN activated_at timestamptz,
        ADD COLUMN activated_from text NOT NULL DEFAULT '';

      CREATE INDEX operations_version_changes ON maestro.operations (scheduler_name, seq)
        WHERE definition IN ('create_new_scheduler_version', 'switch_active_version');
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      DROP INDEX maestro.operations_version_changes;
      ALTER TABLE maestro.schedulers
        DROP COLUMN paused_at, DROP COLUMN paused_by, DROP COLUMN pause_reason, DROP COLUMN brought_back_version,
        DROP COLUMN activated_at, DROP COLUMN activated_from;
    `);
  }
}
