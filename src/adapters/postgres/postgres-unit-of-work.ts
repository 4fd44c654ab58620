import { AsyncLocalStorage } from 'node:async_hooks';
import { DataSource, type EntityManager } from 'typeorm';
import { DomainError, messageOf } from '../../domain/errors';
import { UnitOfWork } from '../../ports/unit-of-work';
import { describeCause } from './data-source';

/**
 * What says "the database cannot serve now" rather than "this statement is wrong": sockets that fail, servers that start,
 * stop, are full or read-only (a fail-over), statements or transactions that ran out of time or lost a deadlock. PostgreSQL's codes:
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const unavailableCodes =
  /^(ECONNREFUSED|ECONNRESET|ECONNABORTED|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|08...|53...|57P0[123]|57014|25006|25P03|40001|40P01)$/;
/** The driver's own errors, which carry no code. */
const unavailableMessages =
  /connection terminated|timeout|client has encountered a connection error|client was closed|(was|query runner) already released/i;

/** The transaction of the running unit of work, or a connection of the pool for a single statement. */
export class PostgresUnitOfWork extends UnitOfWork {
  private readonly transactions = new AsyncLocalStorage<EntityManager>();

  constructor(private readonly dataSource: DataSource) {
    super();
  }

  override run<T>(work: () => Promise<T>): Promise<T> {
    if (this.transactions.getStore() !== undefined) return work();
    return translateErrors(() => this.dataSource.transaction((manager) => this.transactions.run(manager, work)));
  }

  /** Rows of a statement that answers rows (`SELECT`, or any with `RETURNING`). */
  async rows<R>(sql: string, parameters: unknown[] = []): Promise<R[]> {
    const result = await translateErrors(() => this.query(sql, parameters));
    // TypeORM answers [rows, affected] for UPDATE and DELETE, and rows alone for SELECT and INSERT.
    return (
      Array.isArray(result) && result.length === 2 && Array.isArray(result[0]) && typeof result[1] === 'number'
        ? result[0]
        : result
    ) as R[];
  }

  private query(sql: string, parameters: unknown[]): Promise<unknown> {
    const manager = this.transactions.getStore() ?? this.dataSource.manager;
    return manager.query(sql, parameters);
  }
}

async function translateErrors<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (isConnectionError(error)) {
      throw new DomainError(
        'unavailable',
        'postgres.unavailable',
        `PostgreSQL cannot serve now: ${describeCause(error)}`,
        {
          cause: error,
        },
      );
    }
    throw error;
  }
}

function isConnectionError(error: unknown): boolean {
  if (error instanceof DomainError || typeof error !== 'object' || error === null) return false;
  const { code } = ('driverError' in error ? (error.driverError ?? error) : error) as { code?: unknown };
  return typeof code === 'string' ? unavailableCodes.test(code) : unavailableMessages.test(messageOf(error));
}

/** PostgreSQL's five-character code of a failed statement (`23505` unique violation), if it was one. */
export function sqlStateOf(error: unknown): string | undefined {
  const code = (error as { driverError?: { code?: unknown } } | null)?.driverError?.code;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

export const uniqueViolation = '23505';
