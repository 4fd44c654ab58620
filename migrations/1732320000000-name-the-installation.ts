import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * One row with the name by which this installation of Maestro knows its own in a place that others use too, such as a
 * Kubernetes cluster. Made once: whoever lost it would no longer find its rooms.
 */
export class NameTheInstallation1732320000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      CREATE TABLE maestro.installation (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        id uuid NOT NULL
      );
      INSERT INTO maestro.installation (id) VALUES (gen_random_uuid());
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`DROP TABLE maestro.installation`);
  }
}
