import type { KeptHistory, SchedulerHistory, VersionRecord } from '../../domain/scheduler/scheduler-history';
import type { SchedulerDefinition, SchedulerState } from '../../domain/scheduler/scheduler';
import { SchedulerHistories } from '../../ports/scheduler-histories';
import { schedulersChannel } from './postgres-scheduler-store';
import type { PostgresUnitOfWork } from './postgres-unit-of-work';

interface HeadRow {
  state: SchedulerState;
  version: string;
  created_at: Date;
  last_downscale_at: Date | null;
  is_as_imported: boolean;
}

interface VersionRow {
  version: string;
  definition: SchedulerDefinition;
  rollback_version: string;
  created_at: Date;
}

/** How many versions one statement writes: a definition has some kilobytes, and a statement its deadline. */
const versionsPerStatement = 200;

/**
 * An import sets `updated_at` to `created_at`, and every change of state or version moves it on: so the two are equal as long as
 * nobody changed here what was imported.
 */
export class PostgresSchedulerHistories extends SchedulerHistories {
  constructor(private readonly database: PostgresUnitOfWork) {
    super();
  }

  override async find(name: string, { lock } = { lock: false }): Promise<KeptHistory | null> {
    const [head] = await this.database.rows<HeadRow>(
      `SELECT state, version, created_at, last_downscale_at, updated_at = created_at AS is_as_imported
       FROM maestro.schedulers WHERE name = $1 ${lock ? 'FOR UPDATE' : ''}`,
      [name],
    );
    if (head === undefined) return null;
    const versions = await this.database.rows<VersionRow>(
      `SELECT version, definition, rollback_version, created_at FROM maestro.scheduler_versions
       WHERE scheduler_name = $1 ORDER BY created_at, version`,
      [name],
    );
    return {
      name,
      state: head.state,
      version: head.version,
      createdAt: head.created_at,
      lastDownscaleAt: head.last_downscale_at,
      isAsImported: head.is_as_imported,
      versions: versions.map(({ version, definition, rollback_version, created_at }) => ({
        version,
        definition,
        rollbackVersion: rollback_version,
        createdAt: created_at,
      })),
    };
  }

  override add(history: SchedulerHistory): Promise<void> {
    return this.write(
      history,
      `INSERT INTO maestro.schedulers
         (name, game, state, version, rollback_version, definition, last_downscale_at, created_at, updated_at)
       VALUES ($1, $2, 'in-sync', $3, $4, $5, $6, $7, $7)`,
    );
  }

  override update(history: SchedulerHistory): Promise<void> {
    return this.write(
      history,
      `UPDATE maestro.schedulers SET
         game = $2, state = 'in-sync', version = $3, rollback_version = $4, definition = $5,
         last_downscale_at = GREATEST(last_downscale_at, $6), created_at = $7, updated_at = $7
       WHERE name = $1`,
    );
  }

  private write(history: SchedulerHistory, statement: string): Promise<void> {
    const { name, version, lastDownscaleAt, createdAt, versions } = history;
    const active = versions.find((each) => each.version === version);
    if (active === undefined) throw new Error(`the history of ${name} lacks its active version ${version}`);
    const { definition, rollbackVersion } = active;
    return this.database.run(async () => {
      const values = [name, definition.game, version, rollbackVersion, definition, lastDownscaleAt, createdAt];
      await this.database.rows(statement, values);
      for (let start = 0; start < versions.length; start += versionsPerStatement) {
        await this.writeVersions(name, versions.slice(start, start + versionsPerStatement));
      }
      await this.database.rows(`SELECT pg_notify('${schedulersChannel}', $1)`, [name]);
    });
  }

  private async writeVersions(name: string, versions: readonly VersionRecord[]): Promise<void> {
    await this.database.rows(
      `INSERT INTO maestro.scheduler_versions (scheduler_name, version, definition, rollback_version, created_at)
       SELECT $1, v."version", v."definition", v."rollbackVersion", v."createdAt"
       FROM jsonb_to_recordset($2::jsonb)
         AS v ("version" text, "definition" jsonb, "rollbackVersion" text, "createdAt" timestamptz)
       ON CONFLICT (scheduler_name, version) DO UPDATE SET
         definition = excluded.definition, rollback_version = excluded.rollback_version, created_at = excluded.created_at`,
      [name, JSON.stringify(versions)],
    );
  }
}
