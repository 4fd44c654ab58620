import { DomainError } from '../../domain/errors';
import {
  operationPriorities,
  type Operation,
  type OperationDefinition,
  type OperationEndStatus,
  type OperationEvent,
  type OperationInputs,
  type OperationStatus,
} from '../../domain/operation/operation';
import type { OperationListing } from '../../domain/operation/parse-operation-listing';
import { OperationStore, type HeldOperation, type NewOperation, type OperationPage } from '../../ports/operation-store';
import { sqlStateOf, uniqueViolation, type PostgresUnitOfWork } from './postgres-unit-of-work';

interface OperationRow {
  id: string;
  scheduler_name: string;
  definition: OperationDefinition;
  input: OperationInputs[OperationDefinition];
  progress: Record<string, unknown>;
  status: OperationStatus;
  attempt: number;
  actor: string;
  created_at: Date;
  lease_expires_at: Date | null;
  fencing_token: string;
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Pending, and not waiting for the end of a back-off. */
const isDue = `o.status = 'pending' AND (o.not_before IS NULL OR o.not_before <= clock_timestamp())`;

const columns = `id, scheduler_name, definition, input, progress, status, attempt, actor, created_at, lease_expires_at, fencing_token`;

export class PostgresOperationStore extends OperationStore {
  constructor(private readonly database: PostgresUnitOfWork) {
    super();
  }

  override async insert<D extends OperationDefinition>(operation: NewOperation<D>): Promise<Operation<D> | null> {
    return this.database.run(async () => {
      const [row] = await this.database.rows<OperationRow>(
        `INSERT INTO maestro.operations (scheduler_name, definition, input, priority, actor)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING ${columns}`,
        [
          operation.scheduler,
          operation.definition,
          operation.input,
          operationPriorities[operation.definition],
          operation.actor,
        ],
      );
      if (row === undefined) return null;
      await this.database.rows(`INSERT INTO maestro.operation_events (operation_id, event) VALUES ($1, 'Created')`, [
        row.id,
      ]);
      return toOperation(row) as Operation<D>;
    });
  }

  override async claimNext(scheduler: string, owner: string, leaseTtlMs: number): Promise<HeldOperation | null> {
    try {
      const [row] = await this.database.rows<OperationRow>(
        `UPDATE maestro.operations SET
           status = 'in_progress', holds_slot = true, attempt = attempt + 1, lease_owner = $2,
           lease_expires_at = clock_timestamp() + $3 * interval '1 millisecond',
           fencing_token = nextval('maestro.fencing_tokens'), started_at = coalesce(started_at, clock_timestamp())
         WHERE id = (
           SELECT o.id FROM maestro.operations o
           WHERE o.scheduler_name = $1 AND (
             (o.holds_slot AND o.lease_expires_at < clock_timestamp())
             OR (${isDue}
                 AND NOT EXISTS (SELECT FROM maestro.operations h WHERE h.scheduler_name = $1 AND h.holds_slot)))
           ORDER BY o.holds_slot DESC, o.priority, o.seq
           LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING ${columns}`,
        [scheduler, owner, leaseTtlMs],
      );
      if (row === undefined) return null;
      return { operation: toOperation(row), fencingToken: row.fencing_token, progress: row.progress };
    } catch (error) {
      // Two workers chose two pending rows at once: the index let one through, the other has nothing to do.
      if (sqlStateOf(error) === uniqueViolation) return null;
      throw error;
    }
  }

  override async renewLease(held: HeldOperation, leaseTtlMs: number): Promise<void> {
    await this.updateHeld(held, `lease_expires_at = clock_timestamp() + $3 * interval '1 millisecond'`, [leaseTtlMs]);
  }

  override async appendEvent(held: HeldOperation, event: string): Promise<void> {
    await this.database.run(async () => {
      await this.assertHeld(held);
      await this.insertEvent(held.operation.id, event);
    });
  }

  override async saveProgress(held: HeldOperation, progress: Record<string, unknown>): Promise<void> {
    await this.updateHeld(held, 'progress = $3', [progress]);
    held.progress = progress;
  }

  override async assertHeld(held: HeldOperation): Promise<void> {
    const rows = await this.database.rows(
      `SELECT FROM maestro.operations WHERE id = $1 AND fencing_token = $2 AND holds_slot FOR UPDATE`,
      [held.operation.id, held.fencingToken],
    );
    if (rows.length === 0) throw leaseLost(held);
  }

  override async finish(
    held: HeldOperation,
    end: {
      status: OperationEndStatus;
      input?: OperationInputs[OperationDefinition];
      hidden: boolean;
      event: string | null;
    },
  ): Promise<void> {
    await this.database.run(async () => {
      await this.updateHeld(
        held,
        `status = $3, hidden = $4, input = coalesce($5, input), holds_slot = false, lease_owner = NULL,
         lease_expires_at = NULL, finished_at = clock_timestamp()`,
        [end.status, end.hidden, end.input ?? null],
      );
      if (end.event !== null) await this.insertEvent(held.operation.id, end.event);
    });
  }

  override async release(held: HeldOperation, delayMs = 0): Promise<void> {
    const { scheduler, definition } = held.operation;
    await this.database.run(async () => {
      const [other] =
        definition === 'health_controller'
          ? await this.database.rows<{ id: string }>(
              `SELECT id FROM maestro.operations WHERE scheduler_name = $1 AND definition = $2 AND status = 'pending'`,
              [scheduler, definition],
            )
          : [];
      if (other !== undefined) {
        await this.finish(held, {
          status: 'canceled',
          hidden: false,
          event: `canceled: operation ${other.id} does the same`,
        });
        return;
      }
      await this.updateHeld(
        held,
        `status = 'pending', holds_slot = false, lease_owner = NULL, lease_expires_at = NULL,
         not_before = CASE WHEN $3 > 0 THEN clock_timestamp() + $3 * interval '1 millisecond' END`,
        [delayMs],
      );
    });
  }

  override async cancelPending(scheduler: string, event: string): Promise<number> {
    return this.database.run(async () => {
      const canceled = await this.database.rows<{ id: string }>(
        `UPDATE maestro.operations SET status = 'canceled', finished_at = clock_timestamp()
         WHERE scheduler_name = $1 AND status = 'pending' RETURNING id`,
        [scheduler],
      );
      for (const { id } of canceled) await this.insertEvent(id, event);
      return canceled.length;
    });
  }

  override async list(scheduler: string, listing: OperationListing): Promise<OperationPage> {
    const direction = listing.order === 'asc' ? 'ASC' : 'DESC';
    if (listing.stage !== 'final') {
      const status = listing.stage === 'pending' ? 'pending' : 'in_progress';
      const rows = await this.database.rows<OperationRow>(
        `SELECT ${columns} FROM maestro.operations WHERE scheduler_name = $1 AND status = $2
         ORDER BY created_at ${direction}, seq ${direction}`,
        [scheduler, status],
      );
      return { total: rows.length, operations: rows.map(toOperation) };
    }
    const final = `scheduler_name = $1 AND finished_at IS NOT NULL AND NOT hidden`;
    const [count] = await this.database.rows<{ total: number }>(
      `SELECT count(*)::int AS total FROM maestro.operations WHERE ${final}`,
      [scheduler],
    );
    // v10 chooses the page by finish time and shows it by creation time.
    const rows = await this.database.rows<OperationRow>(
      `SELECT * FROM (
         SELECT ${columns}, seq FROM maestro.operations WHERE ${final}
         ORDER BY finished_at ${direction}, seq ${direction} LIMIT $2 OFFSET $3) page
       ORDER BY created_at ${direction}, seq ${direction}`,
      [scheduler, listing.perPage, (listing.page - 1) * listing.perPage],
    );
    return { total: count?.total ?? 0, operations: rows.map(toOperation) };
  }

  override async get(
    scheduler: string,
    id: string,
  ): Promise<{ operation: Operation; history: OperationEvent[] } | null> {
    if (!uuid.test(id)) return null;
    const [row] = await this.database.rows<OperationRow>(
      `SELECT ${columns} FROM maestro.operations WHERE scheduler_name = $1 AND id = $2`,
      [scheduler, id],
    );
    if (row === undefined) return null;
    const history = await this.database.rows<OperationEvent>(
      `SELECT created_at AS "createdAt", event FROM maestro.operation_events WHERE operation_id = $1 ORDER BY seq`,
      [row.id],
    );
    return { operation: toOperation(row), history };
  }

  override async findOpen(scheduler: string, definition: OperationDefinition): Promise<Operation | null> {
    const [row] = await this.database.rows<OperationRow>(
      `SELECT ${columns} FROM maestro.operations
       WHERE scheduler_name = $1 AND definition = $2 AND (status = 'pending' OR holds_slot) ORDER BY seq LIMIT 1`,
      [scheduler, definition],
    );
    return row === undefined ? null : toOperation(row);
  }

  override async hasOpen(scheduler: string): Promise<boolean> {
    const rows = await this.database.rows(
      `SELECT FROM maestro.operations WHERE scheduler_name = $1 AND (status = 'pending' OR holds_slot) LIMIT 1`,
      [scheduler],
    );
    return rows.length > 0;
  }

  override async findStalled(limit: number): Promise<string[]> {
    const rows = await this.database.rows<{ scheduler_name: string }>(
      `SELECT scheduler_name FROM (
         SELECT scheduler_name FROM maestro.operations o WHERE o.holds_slot AND o.lease_expires_at < clock_timestamp()
         UNION
         SELECT scheduler_name FROM maestro.operations o WHERE ${isDue}
           AND NOT EXISTS (SELECT FROM maestro.operations h WHERE h.scheduler_name = o.scheduler_name AND h.holds_slot)
       ) stalled ORDER BY random() LIMIT $1`,
      [limit],
    );
    return rows.map((row) => row.scheduler_name);
  }

  private async updateHeld(held: HeldOperation, assignments: string, parameters: unknown[]): Promise<void> {
    const updated = await this.database.rows(
      `UPDATE maestro.operations SET ${assignments} WHERE id = $1 AND fencing_token = $2 AND holds_slot RETURNING id`,
      [held.operation.id, held.fencingToken, ...parameters],
    );
    if (updated.length === 0) throw leaseLost(held);
  }

  private async insertEvent(operationId: string, event: string): Promise<void> {
    await this.database.rows(`INSERT INTO maestro.operation_events (operation_id, event) VALUES ($1, $2)`, [
      operationId,
      event,
    ]);
  }
}

function toOperation(row: OperationRow): Operation {
  return {
    id: row.id,
    scheduler: row.scheduler_name,
    definition: row.definition,
    input: row.input,
    status: row.status,
    attempt: row.attempt,
    actor: row.actor,
    createdAt: row.created_at,
    leaseExpiresAt: row.lease_expires_at,
  };
}

function leaseLost(held: HeldOperation): DomainError {
  return new DomainError(
    'aborted',
    'operation.lease_lost',
    `another worker took over operation ${held.operation.id}; this one's writes are refused`,
  );
}
