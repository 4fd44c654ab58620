import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { Operation, OperationDefinition, OperationEvent, OperationInputs } from '../../domain/operation/operation';
import type { LeaseSchema, ListOperationItemSchema, OperationSchema } from '../../proto/gen/api/v1/operations_pb';
import type { OperationDetailsSchema } from '../../proto/gen/maestro/v1/operation_details_pb';

/** An operation with its input and history. Its lease is not told here: v10 tells it in the list of active ones only. */
export function operationMessage(
  operation: Operation,
  history: readonly OperationEvent[],
): MessageInitShape<typeof OperationSchema> {
  return {
    id: operation.id,
    status: operation.status,
    definitionName: operation.definition,
    schedulerName: operation.scheduler,
    createdAt: timestampFromDate(operation.createdAt),
    input: operationInput(operation),
    executionHistory: history.map(({ createdAt, event }) => ({ createdAt: timestampFromDate(createdAt), event })),
  };
}

/** An operation in a list of one stage. */
export function operationItemMessage(
  operation: Operation,
  stage: string,
): MessageInitShape<typeof ListOperationItemSchema> {
  return {
    id: operation.id,
    status: operation.status,
    definitionName: operation.definition,
    schedulerName: operation.scheduler,
    createdAt: timestampFromDate(operation.createdAt),
    ...(stage === 'active' && operation.leaseExpiresAt ? { lease: leaseMessage(operation.leaseExpiresAt) } : {}),
  };
}

/** What v10's clients, which decode strictly, cannot be told in an operation itself. */
export function operationDetailsMessage(operation: Operation): MessageInitShape<typeof OperationDetailsSchema> {
  const { startedAt, finishedAt, cancelRequestedAt } = operation;
  return {
    id: operation.id,
    schedulerName: operation.scheduler,
    definitionName: operation.definition,
    status: operation.status,
    actor: operation.actor,
    reason: operation.reason,
    attempt: operation.attempt,
    waiting: operation.waiting,
    createdAt: timestampFromDate(operation.createdAt),
    ...(startedAt === null ? {} : { startedAt: timestampFromDate(startedAt) }),
    ...(finishedAt === null ? {} : { finishedAt: timestampFromDate(finishedAt) }),
    ...(cancelRequestedAt === null ? {} : { cancelRequestedAt: timestampFromDate(cancelRequestedAt) }),
  };
}

/** RFC 3339 in UTC with whole seconds, cut, not rounded. */
function leaseMessage(expiresAt: Date): MessageInitShape<typeof LeaseSchema> {
  return { ttl: expiresAt.toISOString().replace(/\.\d+Z$/, 'Z') };
}

/** v10's names of the inputs (`management.md` 3.2). */
const inputForms: { [D in OperationDefinition]: (input: OperationInputs[D]) => JsonObject } = {
  create_scheduler: (input) => input as JsonObject,
  // Without the definition that the executor works with: it says the same in other words.
  create_new_scheduler_version: ({ scheduler }): JsonObject => ({ scheduler: scheduler as JsonObject }),
  switch_active_version: ({ newActiveVersion }) => ({ newActiveVersion }),
  delete_scheduler: () => ({}),
  add_rooms: ({ amount }) => ({ amount }),
  remove_rooms: ({ amount, roomIds, reason }) => ({ amount, rooms_ids: roomIds, reason }),
  health_controller: ({ tookAction }): JsonObject => (tookAction === undefined ? {} : { took_action: tookAction }),
};

/** An operation that another version of Maestro wrote is shown with its input as it is. */
function operationInput<D extends OperationDefinition>({ definition, input }: Operation<D>): JsonObject {
  const form = inputForms[definition] as (typeof inputForms)[D] | undefined;
  return form === undefined ? (input as JsonObject) : form(input);
}
