import type {
  Scheduler,
  SchedulerDefinition,
  SchedulerState,
  SchedulerVersion,
} from '../../domain/scheduler/scheduler';
import { firstVersion } from '../../domain/scheduler/scheduler';
import { DomainError } from '../../domain/errors';
import {
  SchedulerStore,
  type PausedAutomation,
  type SchedulerAutomation,
  type SchedulerFilter,
  type SchedulerSettings,
} from '../../ports/scheduler-store';
import type { PostgresListener } from './postgres-listener';
import type { PostgresUnitOfWork } from './postgres-unit-of-work';

interface SchedulerRow {
  name: string;
  state: SchedulerState;
  version: string;
  rollback_version: string;
  definition: SchedulerDefinition;
  last_downscale_at: Date | null;
  created_at: Date;
  version_created_at: Date;
}

export const schedulersChannel = 'maestro_schedulers';

/** The active definition; `version_created_at` is that of the newest version, as v10 shows it. */
const selectActive = `
  SELECT s.name, s.state, s.version, s.rollback_version, s.definition, s.last_downscale_at, s.created_at,
    (SELECT max(v.created_at) FROM maestro.scheduler_versions v WHERE v.scheduler_name = s.name) AS version_created_at
  FROM maestro.schedulers s`;

export class PostgresSchedulerStore extends SchedulerStore {
  constructor(
    private readonly database: PostgresUnitOfWork,
    private readonly listener: PostgresListener,
  ) {
    super();
  }

  override async createScheduler(name: string, definition: SchedulerDefinition): Promise<Scheduler | 'exists'> {
    return this.database.run(async () => {
      const inserted = await this.database.rows(
        `INSERT INTO maestro.schedulers (name, game, state, version, definition)
         VALUES ($1, $2, 'creating', $3, $4) ON CONFLICT (name) DO NOTHING RETURNING name`,
        [name, definition.game, firstVersion, definition],
      );
      if (inserted.length === 0) return 'exists' as const;
      await this.database.rows(
        `INSERT INTO maestro.scheduler_versions (scheduler_name, version, definition) VALUES ($1, $2, $3)`,
        [name, firstVersion, definition],
      );
      await this.announce(name);
      return (await this.getScheduler(name))!;
    });
  }

  override async getScheduler(name: string, version?: string): Promise<Scheduler | null> {
    const [row] =
      version === undefined
        ? await this.database.rows<SchedulerRow>(`${selectActive} WHERE s.name = $1`, [name])
        : await this.database.rows<SchedulerRow>(
            `SELECT s.name, s.state, v.version, v.rollback_version, v.definition, s.last_downscale_at, s.created_at,
               v.created_at AS version_created_at
             FROM maestro.schedulers s JOIN maestro.scheduler_versions v ON v.scheduler_name = s.name
             WHERE s.name = $1 AND v.version = $2`,
            [name, version],
          );
    return row === undefined ? null : toScheduler(row);
  }

  override async listSchedulers(filter: SchedulerFilter): Promise<Scheduler[]> {
    const rows = await this.database.rows<SchedulerRow>(
      `${selectActive}
       WHERE ($1::text IS NULL OR s.name = $1) AND ($2::text IS NULL OR s.game = $2) AND ($3::text IS NULL OR s.version = $3)
       ORDER BY s.name`,
      [filter.name ?? null, filter.game ?? null, filter.version ?? null],
    );
    return rows.map(toScheduler);
  }

  override async listSettings(): Promise<SchedulerSettings[]> {
    return this.database.rows<SchedulerSettings>(
      `SELECT name, game, (definition -> 'matchAllocation' ->> 'maxMatches')::int AS "maxMatches",
         version AS "activeVersion",
         coalesce((definition -> 'autoscaling' ->> 'enabled')::boolean, false) AS "isAutoscaled", definition -> 'forwarders' AS forwarders,
         jsonb_build_object(
           'affinity', coalesce(definition -> 'spec' ->> 'affinity', ''),
           'toleration', coalesce(definition -> 'spec' ->> 'toleration', '')
         ) AS placement, state = 'terminating' AS "isTerminating"
       FROM maestro.schedulers`,
    );
  }

  override async findVersions(name: string, labels: Readonly<Record<string, string>>): Promise<string[]> {
    const rows = await this.database.rows<{ version: string }>(
      `SELECT version FROM maestro.scheduler_versions
       WHERE scheduler_name = $1 AND coalesce(definition -> 'labels', '{}') @> $2::jsonb`,
      [name, JSON.stringify(labels)],
    );
    return rows.map(({ version }) => version);
  }

  override async listVersions(name: string): Promise<SchedulerVersion[]> {
    return this.database.rows<SchedulerVersion>(
      `SELECT v.version, v.version = s.version AS "isActive", v.created_at AS "createdAt"
       FROM maestro.scheduler_versions v JOIN maestro.schedulers s ON s.name = v.scheduler_name
       WHERE v.scheduler_name = $1 ORDER BY v.created_at DESC, v.version DESC`,
      [name],
    );
  }

  override async addVersion(
    name: string,
    {
      version,
      definition,
      rollbackVersion,
    }: { version: string; definition: SchedulerDefinition; rollbackVersion: string },
  ): Promise<void> {
    const inserted = await this.database.rows(
      // Not the transaction's time: the newest version must be the newest however long a transaction took.
      `INSERT INTO maestro.scheduler_versions (scheduler_name, version, definition, rollback_version, created_at)
       VALUES ($1, $2, $3, $4, clock_timestamp()) ON CONFLICT DO NOTHING RETURNING version`,
      [name, version, definition, rollbackVersion],
    );
    if (inserted.length > 0) return;
    throw new DomainError(
      'already_exists',
      'scheduler.version_exists',
      `version ${version} of scheduler ${name} exists already`,
    );
  }

  override async activateVersion(
    name: string,
    version: string,
    { isRollback = false }: { isRollback?: boolean } = {},
  ): Promise<boolean> {
    const changed = await this.database.rows(
      `UPDATE maestro.schedulers s SET
         version = v.version, rollback_version = v.rollback_version, definition = v.definition,
         game = v.definition ->> 'game', updated_at = now(),
         brought_back_version = CASE WHEN $3 THEN v.version ELSE '' END, activated_at = clock_timestamp(),
         activated_from = CASE WHEN s.version = v.version THEN s.activated_from ELSE s.version END,
         state = CASE WHEN s.state = 'terminating' THEN s.state ELSE 'in-sync' END
       FROM (
         SELECT version, rollback_version, definition FROM maestro.scheduler_versions
         WHERE scheduler_name = $1 AND ($2 = '' OR version = $2)
         ORDER BY created_at DESC, version DESC LIMIT 1) v
       WHERE s.name = $1 RETURNING s.name`,
      [name, version, isRollback],
    );
    if (changed.length > 0) await this.announce(name);
    return changed.length > 0;
  }

  override async readAutomation(name: string): Promise<SchedulerAutomation | null> {
    const [row] = await this.database.rows<{
      paused_at: Date | null;
      paused_by: string;
      pause_reason: string;
      is_brought_back: boolean;
      active_for_ms: number | null;
      activated_from: string;
    }>(
      // The version besides the mark: a process of the release before activates another one, and leaves the mark.
      `SELECT paused_at, paused_by, pause_reason, activated_from, brought_back_version = version AS is_brought_back,
         floor(extract(epoch FROM clock_timestamp() - activated_at) * 1000)::float8 AS active_for_ms
       FROM maestro.schedulers WHERE name = $1`,
      [name],
    );
    if (row === undefined) return null;
    const { paused_at: since, paused_by: by, pause_reason: reason, is_brought_back: isBroughtBack } = row;
    return {
      paused: since === null ? null : { since, by, reason },
      isBroughtBack,
      activeForMs: row.active_for_ms,
      activatedFrom: row.activated_from,
    };
  }

  override async pauseAutomation(name: string, { by, reason }: Omit<PausedAutomation, 'since'>): Promise<boolean> {
    const changed = await this.database.rows(
      `UPDATE maestro.schedulers SET paused_at = coalesce(paused_at, clock_timestamp()), paused_by = $2, pause_reason = $3
       WHERE name = $1 RETURNING name`,
      [name, by, reason],
    );
    return changed.length > 0;
  }

  override async resumeAutomation(name: string): Promise<boolean> {
    const changed = await this.database.rows(
      `UPDATE maestro.schedulers SET paused_at = NULL, paused_by = '', pause_reason = '' WHERE name = $1 RETURNING name`,
      [name],
    );
    return changed.length > 0;
  }

  override async decideAlone(name: string): Promise<void> {
    // No lock on the row: a worker's transaction takes the rows of its operation first and the scheduler's then.
    await this.database.rows(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, [`maestro.scheduler.${name}`]);
  }

  override async reopen(name: string): Promise<void> {
    const changed = await this.database.rows(
      `UPDATE maestro.schedulers s SET updated_at = now(), state = CASE WHEN EXISTS (
           SELECT FROM maestro.operations o
           WHERE o.scheduler_name = $1 AND o.definition = 'create_scheduler'
             AND (o.status = 'pending' OR o.status = 'in_progress'))
         THEN 'creating' ELSE 'in-sync' END
       WHERE s.name = $1 AND s.state = 'terminating' AND NOT EXISTS (
         SELECT FROM maestro.operations o
         WHERE o.scheduler_name = $1 AND o.definition = 'delete_scheduler' AND o.created_at >= s.created_at
           AND (o.finished_at IS NULL OR o.attempt > 0))
       RETURNING s.name`,
      [name],
    );
    if (changed.length > 0) await this.announce(name);
  }

  override async setState(name: string, state: SchedulerState): Promise<boolean> {
    const changed = await this.database.rows(
      `UPDATE maestro.schedulers SET state = $2, updated_at = now() WHERE name = $1 AND state <> 'terminating' RETURNING name`,
      [name, state],
    );
    if (changed.length > 0) await this.announce(name);
    return changed.length > 0;
  }

  override async setLastDownscale(name: string, at: Date): Promise<void> {
    await this.database.rows(`UPDATE maestro.schedulers SET last_downscale_at = $2 WHERE name = $1`, [name, at]);
  }

  override async deleteScheduler({ name, createdAt }: Pick<Scheduler, 'name' | 'createdAt'>): Promise<boolean> {
    // A date of JavaScript has no microseconds.
    const deleted = await this.database.rows(
      `DELETE FROM maestro.schedulers WHERE name = $1 AND date_trunc('milliseconds', created_at) = $2 RETURNING name`,
      [name, createdAt],
    );
    if (deleted.length > 0) await this.announce(name);
    return deleted.length > 0;
  }

  override watchChanges(onChange: (name: string | null) => void, signal: AbortSignal): Promise<void> {
    return this.listener.follow(schedulersChannel, onChange, signal);
  }

  private async announce(name: string): Promise<void> {
    await this.database.rows(`SELECT pg_notify('${schedulersChannel}', $1)`, [name]);
  }
}

function toScheduler(row: SchedulerRow): Scheduler {
  return {
    name: row.name,
    state: row.state,
    version: row.version,
    rollbackVersion: row.rollback_version,
    createdAt: row.created_at,
    versionCreatedAt: row.version_created_at,
    lastDownscaleAt: row.last_downscale_at,
    definition: row.definition,
  };
}
