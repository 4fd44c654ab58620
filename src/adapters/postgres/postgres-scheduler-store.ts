import { Client } from 'pg';
import type {
  Scheduler,
  SchedulerDefinition,
  SchedulerState,
  SchedulerVersion,
} from '../../domain/scheduler/scheduler';
import { firstVersion } from '../../domain/scheduler/scheduler';
import { messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import { SchedulerStore, type SchedulerFilter, type SchedulerSettings } from '../../ports/scheduler-store';
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

const channel = 'maestro_schedulers';
const reconnectDelayMs = 1_000;

/** The active definition; `version_created_at` is that of the newest version, as v10 shows it. */
const selectActive = `
  SELECT s.name, s.state, s.version, s.rollback_version, s.definition, s.last_downscale_at, s.created_at,
    (SELECT max(v.created_at) FROM maestro.scheduler_versions v WHERE v.scheduler_name = s.name) AS version_created_at
  FROM maestro.schedulers s`;

export class PostgresSchedulerStore extends SchedulerStore {
  constructor(
    private readonly database: PostgresUnitOfWork,
    /** For the connection that listens: notifications need one of their own. */
    private readonly url: string,
    private readonly logger: Logger,
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
      `SELECT name, game, (definition -> 'matchAllocation' ->> 'maxMatches')::int AS "maxMatches" FROM maestro.schedulers`,
    );
  }

  override async listVersions(name: string): Promise<SchedulerVersion[]> {
    return this.database.rows<SchedulerVersion>(
      `SELECT v.version, v.version = s.version AS "isActive", v.created_at AS "createdAt"
       FROM maestro.scheduler_versions v JOIN maestro.schedulers s ON s.name = v.scheduler_name
       WHERE v.scheduler_name = $1 ORDER BY v.created_at DESC, v.version DESC`,
      [name],
    );
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

  override async deleteScheduler(name: string): Promise<void> {
    await this.database.rows(`DELETE FROM maestro.schedulers WHERE name = $1`, [name]);
    await this.announce(name);
  }

  override async watchChanges(onChange: (name: string | null) => void, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.listen(onChange, signal);
      } catch (error) {
        this.logger.warn({ err: messageOf(error) }, 'listening for scheduler changes was interrupted; it starts again');
      }
      await pause(reconnectDelayMs, signal);
    }
  }

  private async listen(onChange: (name: string | null) => void, signal: AbortSignal): Promise<void> {
    const client = new Client({
      connectionString: this.url,
      application_name: 'maestro-listen',
      keepAlive: true,
      connectionTimeoutMillis: 5_000,
    });
    let onAbort = (): void => undefined;
    // Without a listener node would treat a lost connection as an uncaught error.
    const ended = new Promise<void>((resolve) => {
      client.once('end', resolve);
      client.on('error', () => resolve());
      onAbort = resolve;
    });
    signal.addEventListener('abort', onAbort);
    try {
      await client.connect();
      client.on('notification', (message) => onChange(message.payload ?? null));
      await client.query(`LISTEN ${channel}`);
      onChange(null);
      await ended;
    } finally {
      signal.removeEventListener('abort', onAbort);
      await client.end().catch(() => undefined);
    }
  }

  private async announce(name: string): Promise<void> {
    await this.database.rows(`SELECT pg_notify('${channel}', $1)`, [name]);
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

function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, delayMs);
    signal.addEventListener('abort', done);
  });
}
