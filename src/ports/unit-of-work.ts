/**
 * One database transaction that every store called inside `work` joins by itself (AsyncLocalStorage). Nested calls join
 * the outer one. Nothing but Postgres may be called inside: no Redis, runtime or HTTP call holds a transaction open.
 */
export abstract class UnitOfWork {
  abstract run<T>(work: () => Promise<T>): Promise<T>;
}
