import { DomainError } from '../errors';

export const operationStages = ['pending', 'active', 'final'] as const;
/** What is listed: operations that wait, that run, or that ended. */
export type OperationStage = (typeof operationStages)[number];

/** What a client may ask for, as it came; absent when it was not given. */
export interface OperationListingQuery {
  stage?: string;
  orderBy?: string;
  page?: number;
  perPage?: number;
}

export interface OperationListing {
  stage: OperationStage;
  /** By creation time. */
  order: 'asc' | 'desc';
  /** From 1. Only the final stage has more than one page. */
  page: number;
  perPage: number;
}

function refuse(message: string): DomainError {
  return new DomainError('invalid_argument', 'operation.invalid_listing', message);
}

function parseOrder(orderBy: string): OperationListing['order'] {
  if (orderBy === '') return 'desc';
  const [field, order = 'desc', ...rest] = orderBy.split(/\s+/).filter((word) => word !== '');
  if (field === undefined || rest.length > 0) throw refuse('invalid sorting parameters number');
  if (field !== 'createdAt') throw refuse(`invalid sorting field: ${field}`);
  if (order !== 'asc' && order !== 'desc') throw refuse(`invalid sorting order: ${order}`);
  return order;
}

/**
 * Reads the query of an operation listing. Rules, messages and their order (sorting, pagination, stage) are v10's
 * (`management.md` 1.7), because clients match them.
 *
 * @throws DomainError `operation.invalid_listing` (invalid_argument).
 */
export function parseOperationListing(query: OperationListingQuery): OperationListing {
  const order = parseOrder(query.orderBy ?? '');
  const { page = 1, perPage = 15 } = query;
  if (page < 1) throw refuse('page must be greater than 0');
  if (perPage < 1 || perPage > 100) throw refuse('page size must be between 0 and 100');
  const stage = operationStages.find((known) => known === query.stage);
  if (!stage) throw refuse(`invalid stage filter: ${query.stage ?? ''}`);
  if (stage !== 'final' && (query.page !== undefined || query.perPage !== undefined)) {
    throw refuse(`there is no pagination filter implemented for ${stage} stage`);
  }
  return { stage, order, page, perPage };
}
