import { DomainError } from '../../domain/errors';
import {
  healingDefinitions,
  operationDefinitions,
  operationPriorities,
  type Operation,
  type OperationDefinition,
  type OperationEvent,
  type OperationInputs,
  type OperationStatus,
} from '../../domain/operation/operation';
import type { OperationListing } from '../../domain/operation/parse-operation-listing';
import {
  OperationStore,
  type DeletedOperations,
  type HeldOperation,
  type NewOperation,
  type OperationEnd,
  type OperationPage,
  type RetentionRules,
  type RollbackOutcome,
} from '../../ports/operation-store';
import { deleteHidden, deleteOutdated, findOutdated } from './outdated-operations';
import type { PostgresListener } from './postgres-listener';
import { sqlStateOf, uniqueViolation, type PostgresUnitOfWork } from './postgres-unit-of-work';

interface OperationRow {
  id: string;
  scheduler_name: string;
  definition: OperationDefinition;
  input: OperationInputs[OperationDefinition];
  status: OperationStatus;
  attempt: number;
  actor: string;
  reason: string;
  created_at: Date;
  started_at: Date | null;
  finished_at: Date | null;
  cancel_requested_at: Date | null;
  waiting: boolean;
  lease_expires_at: Date | null;
}

interface HeldRow extends OperationRow {
  progress: Record<string, unknown>;
  fencing_token: string;
  rollback: RollbackOutcome | null;
  waited: boolean;
  ran_for_ms: number;
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const cancelChannel = 'maestro_cancels';

/** One that waits shows when it is looked at next: clients of v10 expect a lease on everything that is in progress. */
const columns = `o.id, o.scheduler_name, o.definition, o.input, o.status, o.attempt, o.actor, o.reason, o.created_at,
  o.started_at, o.finished_at, o.cancel_requested_at, o.status = 'in_progress' AND NOT o.holds_slot AS waiting,
  CASE WHEN o.status = 'in_progress' THEN
    coalesce(o.lease_expires_at, greatest(o.not_before, clock_timestamp()) + interval '5 seconds')
  END AS lease_expires_at`;

/** By alternatives, because each has an index of its own: what has ended is never read. */
const isOpen = `(o.status = 'pending' OR o.status = 'in_progress')`;

const isWaiting = `o.status = 'in_progress' AND NOT o.holds_slot`;

/** Not put off to later, or somebody wants it canceled. */
const isDue = `(o.not_before IS NULL OR o.not_before <= clock_timestamp()
  OR (o.cancel_requested_at IS NOT NULL AND o.rollback IS NULL))`;

const listOf = (definitions: readonly OperationDefinition[]): string =>
  definitions.map((definition) => `'${definition}'`).join(', ');

const healing = listOf(healingDefinitions);

/** Of a kind that this version of Maestro has an executor for. While another one is rolled out, or back, there may be others. */
const isKnown = `o.definition IN (${listOf(operationDefinitions)})`;

/**
 * Of a scheduler whose slot is free: what may take it. While one waits, only what heals goes beside it; one that is put off
 * because something is away is not overtaken by what was ordered after it, a deletion apart.
 */
const mayTakeSlot = `(
  NOT EXISTS (SELECT FROM maestro.operations h WHERE h.scheduler_name = o.scheduler_name AND h.holds_slot)
  AND (o.status = 'in_progress' OR o.definition IN (${healing}) OR NOT EXISTS (
    SELECT FROM maestro.operations w
    WHERE w.scheduler_name = o.scheduler_name AND w.status = 'in_progress' AND NOT w.holds_slot))
  AND (o.status = 'in_progress' OR o.cancel_requested_at IS NOT NULL
    OR o.definition IN (${healing}, 'delete_scheduler') OR NOT EXISTS (
    SELECT FROM maestro.operations e
    WHERE e.scheduler_name = o.scheduler_name AND e.status = 'pending' AND e.seq < o.seq
      AND e.definition NOT IN (${healing}, 'delete_scheduler'))))`;

export class PostgresOperationStore extends OperationStore {
  constructor(
    private readonly database: PostgresUnitOfWork,
    private readonly listener: PostgresListener,
  ) {
    super();
  }

  override async insert<D extends OperationDefinition>(operation: NewOperation<D>): Promise<Operation<D> | null> {
    return this.database.run(async () => {
      const [row] = await this.database.rows<OperationRow>(
        `INSERT INTO maestro.operations AS o (scheduler_name, definition, input, priority, actor, reason, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp()) ON CONFLICT DO NOTHING RETURNING ${columns}`,
        [
          operation.scheduler,
          operation.definition,
          operation.input,
          operationPriorities[operation.definition],
          operation.actor,
          operation.reason ?? '',
        ],
      );
      if (row === undefined) return null;
      await this.database.rows(`INSERT INTO maestro.operation_events (operation_id, event) VALUES ($1, 'Created')`, [
        row.id,
      ]);
      return toOperation(row) as Operation<D>;
    });
  }

  override async claimNext(
    scheduler: string,
    owner: string,
    leaseTtlMs: number,
    { wakeWaiting = false }: { wakeWaiting?: boolean } = {},
  ): Promise<HeldOperation | null> {
    try {
      const [row] = await this.database.rows<HeldRow>(
        `WITH next AS MATERIALIZED (
           SELECT o.id, ${isWaiting} AS waited FROM maestro.operations o
           WHERE o.scheduler_name = $1 AND ${isKnown} AND (
             (o.holds_slot AND o.lease_expires_at < clock_timestamp())
             OR (o.status = 'pending' AND ${isDue} AND ${mayTakeSlot})
             OR (${isWaiting} AND ($4 OR ${isDue}) AND ${mayTakeSlot}))
           ORDER BY o.holds_slot DESC, o.cancel_requested_at IS NULL, o.status = 'pending', o.priority, o.seq
           LIMIT 1 FOR UPDATE SKIP LOCKED)
         UPDATE maestro.operations o SET
           status = 'in_progress', holds_slot = true, lease_owner = $2, not_before = NULL,
           attempt = o.attempt + CASE WHEN next.waited THEN 0 ELSE 1 END,
           lease_expires_at = clock_timestamp() + $3 * interval '1 millisecond',
           fencing_token = nextval('maestro.fencing_tokens'), started_at = coalesce(o.started_at, clock_timestamp())
         FROM next WHERE o.id = next.id
         RETURNING ${columns}, o.progress, o.fencing_token, o.rollback, next.waited,
           extract(epoch FROM clock_timestamp() - o.started_at)::float8 * 1000 AS ran_for_ms`,
        [scheduler, owner, leaseTtlMs, wakeWaiting],
      );
      if (row === undefined) return null;
      return {
        operation: toOperation(row),
        fencingToken: row.fencing_token,
        progress: row.progress,
        rollback: row.rollback,
        waited: row.waited,
        ranForMs: row.ran_for_ms,
      };
    } catch (error) {
      // Two workers chose two pending rows at once: the index let one through, the other has nothing to do.
      if (sqlStateOf(error) === uniqueViolation) return null;
      throw error;
    }
  }

  override async renewLease(held: HeldOperation, leaseTtlMs: number): Promise<{ cancelRequested: boolean }> {
    const { cancel_requested_at } = await this.updateHeld(
      held,
      `lease_expires_at = clock_timestamp() + $3 * interval '1 millisecond'`,
      [leaseTtlMs],
    );
    return { cancelRequested: cancel_requested_at !== null };
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

  override async beginRollback(
    held: HeldOperation,
    outcome: RollbackOutcome,
    events: string[],
  ): Promise<RollbackOutcome> {
    const stored = await this.database.run(async () => {
      const updated = await this.updateHeld(
        held,
        `rollback = CASE WHEN cancel_requested_at IS NULL THEN $3 ELSE 'canceled' END, attempt = 1`,
        [outcome],
      );
      for (const event of events) await this.insertEvent(held.operation.id, event);
      return updated.cancel_requested_at === null ? outcome : 'canceled';
    });
    held.rollback = stored;
    held.operation = { ...held.operation, attempt: 1 };
    return stored;
  }

  override async finish(held: HeldOperation, end: OperationEnd, alongside?: () => Promise<string[]>): Promise<void> {
    await this.database.run(async () => {
      const { cancel_requested_at } = await this.updateHeld(
        held,
        `status = $3, hidden = $4, input = coalesce($5, input), holds_slot = false, lease_owner = NULL,
         lease_expires_at = NULL, finished_at = clock_timestamp()`,
        [end.status, end.hidden, end.input ?? null],
      );
      if (end.unlessCanceled === true && cancel_requested_at !== null) throw canceled(held);
      const events = alongside === undefined ? [] : await alongside();
      if (end.event !== null) events.push(end.event);
      for (const event of events) await this.insertEvent(held.operation.id, event);
    });
  }

  override async wait(held: HeldOperation, delayMs: number): Promise<void> {
    await this.updateHeld(
      held,
      `holds_slot = false, lease_owner = NULL, lease_expires_at = NULL, attempt = 1,
       not_before = clock_timestamp() + $3 * interval '1 millisecond'`,
      [delayMs],
    );
  }

  override async findLeft(held: HeldOperation): Promise<Operation | null> {
    // The lock is what waits, and it is asked for before the slot is looked at: that may have been left by then.
    const [row] = await this.database.rows<OperationRow & { holds_slot: boolean }>(
      `SELECT ${columns}, o.holds_slot FROM maestro.operations o WHERE o.id = $1 AND o.fencing_token = $2 FOR UPDATE`,
      [held.operation.id, held.fencingToken],
    );
    return row === undefined || row.holds_slot ? null : toOperation(row);
  }

  override async release(held: HeldOperation, delayMs = 0): Promise<void> {
    for (;;) {
      try {
        return await this.giveBack(held, delayMs);
      } catch (error) {
        // Another health check came to be pending between the look for one and the write: this time the look finds it.
        if (sqlStateOf(error) !== uniqueViolation) throw error;
      }
    }
  }

  override async cancel(
    scheduler: string,
    id: string,
    event: string,
  ): Promise<{ operation: Operation; answer: 'canceled' | 'requested' | 'ended' } | null> {
    if (!uuid.test(id)) return null;
    return this.database.run(async () => {
      const [row] = await this.database.rows<OperationRow>(
        `SELECT ${columns} FROM maestro.operations o WHERE scheduler_name = $1 AND id = $2 FOR UPDATE`,
        [scheduler, id],
      );
      if (row === undefined) return null;
      const operation = toOperation(row);
      if (row.finished_at !== null) return { operation, answer: 'ended' as const };
      if (row.cancel_requested_at === null) await this.insertEvent(id, event);
      if (row.status === 'pending' && row.attempt === 0) {
        await this.database.rows(
          `UPDATE maestro.operations SET status = 'canceled', cancel_requested_at = clock_timestamp(),
             finished_at = clock_timestamp() WHERE id = $1`,
          [id],
        );
        return { operation, answer: 'canceled' as const };
      }
      await this.database.rows(
        `UPDATE maestro.operations SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()) WHERE id = $1`,
        [id],
      );
      await this.database.rows(`SELECT pg_notify('${cancelChannel}', $1)`, [id]);
      return { operation, answer: 'requested' as const };
    });
  }

  override watchCancels(onCancel: (operationId: string) => void, signal: AbortSignal): Promise<void> {
    return this.listener.follow(cancelChannel, (id) => id !== null && onCancel(id), signal);
  }

  override async cancelPending(scheduler: string, event: string): Promise<number> {
    return this.database.run(async () => {
      // All rows before the first end, which takes the scheduler's counter: who cancels one of them takes the two in this order.
      const pending = await this.database.rows<{ id: string }>(
        `SELECT id FROM maestro.operations WHERE scheduler_name = $1 AND status = 'pending' ORDER BY seq FOR UPDATE`,
        [scheduler],
      );
      const canceled = await this.database.rows<{ id: string }>(
        `UPDATE maestro.operations SET status = 'canceled', finished_at = clock_timestamp()
         WHERE id = ANY($1) RETURNING id`,
        [pending.map(({ id }) => id)],
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
        `SELECT ${columns} FROM maestro.operations o WHERE scheduler_name = $1 AND status = '${status}'
         ORDER BY o.created_at ${direction}, o.seq ${direction}`,
        [scheduler],
      );
      return { total: rows.length, operations: rows.map(toOperation) };
    }
    // v10 chooses the page by finish time and shows it by creation time. The kept ones come first, then the recent ones, and
    // the numbers of each have no gaps: a page is a range of both.
    const rows = await this.database.rows<OperationRow & { total: string }>(
      `WITH kept AS (
         SELECT coalesce(min(kept_number), 1) AS first, coalesce(max(kept_number) - min(kept_number) + 1, 0) AS total
         FROM maestro.operations WHERE scheduler_name = $1 AND kept_number IS NOT NULL),
       recent AS (
         SELECT coalesce(min(final_number), 1) AS first, coalesce(max(final_number) - min(final_number) + 1, 0) AS total
         FROM maestro.operations WHERE scheduler_name = $1 AND final_number IS NOT NULL),
       place AS (
         SELECT kept.total + recent.total AS total, kept.first AS first_kept, recent.first - kept.total AS first_recent,
           CASE WHEN $4 THEN $3 ELSE kept.total + recent.total - $3 - $2 END AS skipped
         FROM kept, recent)
       SELECT place.total, page.* FROM place LEFT JOIN LATERAL (
         SELECT ${columns}, o.seq FROM maestro.operations o WHERE o.scheduler_name = $1
           AND o.kept_number BETWEEN first_kept + skipped AND first_kept + skipped + $2 - 1
         UNION ALL
         SELECT ${columns}, o.seq FROM maestro.operations o WHERE o.scheduler_name = $1
           AND o.final_number BETWEEN first_recent + skipped AND first_recent + skipped + $2 - 1
       ) page ON true
       ORDER BY page.created_at ${direction}, page.seq ${direction}`,
      [scheduler, listing.perPage, (listing.page - 1) * listing.perPage, listing.order === 'asc'],
    );
    return {
      total: Number(rows[0]?.total ?? 0),
      operations: rows.filter((row) => row.id !== null).map(toOperation),
    };
  }

  override async get(
    scheduler: string,
    id: string,
  ): Promise<{ operation: Operation; history: OperationEvent[] } | null> {
    if (!uuid.test(id)) return null;
    const [row] = await this.database.rows<OperationRow>(
      `SELECT ${columns} FROM maestro.operations o WHERE scheduler_name = $1 AND id = $2`,
      [scheduler, id],
    );
    if (row === undefined) return null;
    const history = await this.database.rows<OperationEvent>(
      `SELECT created_at AS "createdAt", event FROM maestro.operation_events WHERE operation_id = $1 ORDER BY seq`,
      [row.id],
    );
    return { operation: toOperation(row), history };
  }

  override async findOpen(scheduler: string, definitions: readonly OperationDefinition[]): Promise<Operation | null> {
    const [row] = await this.database.rows<OperationRow>(
      `SELECT ${columns} FROM maestro.operations o
       WHERE scheduler_name = $1 AND definition = ANY($2) AND ${isOpen} ORDER BY seq LIMIT 1`,
      [scheduler, definitions],
    );
    return row === undefined ? null : toOperation(row);
  }

  override async listEndedVersionChanges(scheduler: string, limit: number): Promise<Operation[]> {
    // One at a time has not ended, so they ended in the order in which they were inserted. The definitions are those of the index.
    const rows = await this.database.rows<OperationRow>(
      `SELECT ${columns} FROM maestro.operations o WHERE scheduler_name = $1
         AND definition IN ('create_new_scheduler_version', 'switch_active_version') AND finished_at IS NOT NULL
       ORDER BY seq DESC LIMIT $2`,
      [scheduler, limit],
    );
    return rows.map(toOperation);
  }

  override async isBusy(scheduler: string): Promise<boolean> {
    const rows = await this.database.rows(
      `SELECT FROM maestro.operations o WHERE o.scheduler_name = $1 AND (o.holds_slot
         OR (o.status = 'pending' AND ${isKnown} AND (${isDue} OR o.definition IN (${healing})))) LIMIT 1`,
      [scheduler],
    );
    return rows.length > 0;
  }

  override async findStalled(limit: number): Promise<string[]> {
    const rows = await this.database.rows<{ scheduler_name: string }>(
      `SELECT scheduler_name FROM (
         SELECT scheduler_name FROM maestro.operations o
         WHERE ${isKnown} AND o.holds_slot AND o.lease_expires_at < clock_timestamp()
         UNION
         SELECT scheduler_name FROM maestro.operations o
         WHERE ${isKnown} AND o.status = 'pending' AND ${isDue} AND ${mayTakeSlot}
         UNION
         SELECT scheduler_name FROM maestro.operations o WHERE ${isKnown} AND ${isWaiting} AND ${isDue} AND ${mayTakeSlot}
       ) stalled ORDER BY random() LIMIT $1`,
      [limit],
    );
    return rows.map((row) => row.scheduler_name);
  }

  override async findUnknown(limit: number): Promise<Operation[]> {
    const rows = await this.database.rows<OperationRow>(
      `SELECT ${columns} FROM maestro.operations o WHERE ${isOpen} AND NOT ${isKnown} ORDER BY o.seq LIMIT $1`,
      [limit],
    );
    return rows.map(toOperation);
  }

  override async releaseUnknown(agoMs: number, event: string): Promise<void> {
    await this.database.run(async () => {
      const released = await this.database.rows<{ id: string }>(
        `UPDATE maestro.operations o SET status = 'pending', holds_slot = false, lease_owner = NULL, lease_expires_at = NULL
         WHERE o.holds_slot AND NOT ${isKnown}
           AND o.lease_expires_at < clock_timestamp() - $1 * interval '1 millisecond' RETURNING id`,
        [agoMs],
      );
      for (const { id } of released) await this.insertEvent(id, event);
    });
  }

  override findOutdated(rules: RetentionRules): Promise<string[]> {
    return findOutdated(this.database, rules);
  }

  override deleteOutdated(scheduler: string, rules: RetentionRules, limit: number): Promise<DeletedOperations> {
    return deleteOutdated(this.database, scheduler, rules, limit);
  }

  override deleteHidden(ageMs: number, limit: number): Promise<number> {
    return deleteHidden(this.database, ageMs, limit);
  }

  private async giveBack(held: HeldOperation, delayMs: number): Promise<void> {
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

  private async updateHeld(
    held: HeldOperation,
    assignments: string,
    parameters: unknown[],
  ): Promise<{ cancel_requested_at: Date | null }> {
    const [updated] = await this.database.rows<{ cancel_requested_at: Date | null }>(
      `UPDATE maestro.operations SET ${assignments} WHERE id = $1 AND fencing_token = $2 AND holds_slot
       RETURNING cancel_requested_at`,
      [held.operation.id, held.fencingToken, ...parameters],
    );
    if (updated === undefined) throw leaseLost(held);
    return updated;
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
    reason: row.reason,
    createdAt: row.created_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    cancelRequestedAt: row.cancel_requested_at,
    waiting: row.waiting,
    leaseExpiresAt: row.lease_expires_at,
  };
}

function canceled(held: HeldOperation): DomainError {
  return new DomainError('aborted', 'operation.canceled', `operation ${held.operation.id} was canceled`);
}

function leaseLost(held: HeldOperation): DomainError {
  return new DomainError(
    'aborted',
    'operation.lease_lost',
    `another worker took over operation ${held.operation.id}; this one's writes are refused`,
  );
}
