import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Everything lives in the schema `maestro`, beside whatever Maestro v10 left in the database.
 * The two partial unique indexes are rules, not speed: one holder of a scheduler's slot, one pending health check.
 */
export class CreateSchedulersAndOperations1732150000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      CREATE TABLE maestro.schedulers (
        name text PRIMARY KEY,
        game text NOT NULL,
        state text NOT NULL CHECK (state IN ('creating', 'in-sync', 'terminating', 'on-error')),
        version text NOT NULL,
        rollback_version text NOT NULL DEFAULT '',
        definition jsonb NOT NULL,
        last_downscale_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
      );
      CREATE INDEX schedulers_game ON maestro.schedulers (game);

      CREATE TABLE maestro.scheduler_versions (
        scheduler_name text NOT NULL REFERENCES maestro.schedulers (name) ON DELETE CASCADE,
        version text NOT NULL,
        definition jsonb NOT NULL,
        rollback_version text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (scheduler_name, version)
      );

      CREATE SEQUENCE maestro.fencing_tokens;

      CREATE TABLE maestro.operations (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        seq bigint GENERATED ALWAYS AS IDENTITY,
        scheduler_name text NOT NULL,
        definition text NOT NULL,
        input jsonb NOT NULL,
        progress jsonb NOT NULL DEFAULT '{}',
        status text NOT NULL DEFAULT 'pending'
          CHECK (status IN ('pending', 'in_progress', 'canceled', 'finished', 'evicted', 'error')),
        priority smallint NOT NULL,
        attempt integer NOT NULL DEFAULT 0,
        not_before timestamptz,
        actor text NOT NULL,
        hidden boolean NOT NULL DEFAULT false,
        holds_slot boolean NOT NULL DEFAULT false,
        lease_owner text,
        lease_expires_at timestamptz,
        fencing_token bigint,
        created_at timestamptz NOT NULL DEFAULT now(),
        started_at timestamptz,
        finished_at timestamptz
      );
      CREATE UNIQUE INDEX operations_one_slot ON maestro.operations (scheduler_name) WHERE holds_slot;
      CREATE UNIQUE INDEX operations_one_pending_health ON maestro.operations (scheduler_name)
        WHERE definition = 'health_controller' AND status = 'pending';
      CREATE INDEX operations_pending ON maestro.operations (scheduler_name, priority, seq) WHERE status = 'pending';
      CREATE INDEX operations_active ON maestro.operations (scheduler_name) WHERE status = 'in_progress';
      CREATE INDEX operations_final ON maestro.operations (scheduler_name, finished_at, seq)
        WHERE finished_at IS NOT NULL AND NOT hidden;

      CREATE TABLE maestro.operation_events (
        operation_id uuid NOT NULL REFERENCES maestro.operations (id) ON DELETE CASCADE,
        seq bigint GENERATED ALWAYS AS IDENTITY,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        event text NOT NULL,
        PRIMARY KEY (operation_id, seq)
      );

      CREATE TABLE maestro.leases (
        name text PRIMARY KEY,
        owner text NOT NULL,
        token bigint NOT NULL,
        expires_at timestamptz NOT NULL
      );
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      DROP TABLE maestro.leases;
      DROP TABLE maestro.operation_events;
      DROP TABLE maestro.operations;
      DROP SEQUENCE maestro.fencing_tokens;
      DROP TABLE maestro.scheduler_versions;
      DROP TABLE maestro.schedulers;
    `);
  }
}
