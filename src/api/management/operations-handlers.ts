import { Injectable } from '@nestjs/common';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { OperationsService } from '../../features/operations/operations.service';
import type {
  CancelOperationRequest,
  CancelOperationResponseSchema,
  GetOperationRequest,
  GetOperationResponseSchema,
  ListOperationsRequest,
  ListOperationsResponseSchema,
} from '../../proto/gen/api/v1/operations_pb';
import { operationItemMessage, operationMessage } from './operation-messages';

/** The rpcs of `api.v1.OperationsService`; see `SchedulersHandlers`. */
@Injectable()
export class OperationsHandlers {
  constructor(private readonly operations: OperationsService) {}

  async listOperations(request: ListOperationsRequest): Promise<MessageInitShape<typeof ListOperationsResponseSchema>> {
    const { schedulerName, stage, orderBy, page, perPage } = request;
    const found = await this.operations.listOperations(schedulerName, {
      stage,
      ...(orderBy === '' ? {} : { orderBy }),
      ...(page === undefined ? {} : { page }),
      ...(perPage === undefined ? {} : { perPage }),
    });
    return {
      page: found.page,
      pageSize: found.pageSize,
      total: found.total,
      operations: found.operations.map((operation) => operationItemMessage(operation, stage)),
    };
  }

  async getOperation(request: GetOperationRequest): Promise<MessageInitShape<typeof GetOperationResponseSchema>> {
    const { operation, history } = await this.operations.getOperation(request.schedulerName, request.operationId);
    return { operation: operationMessage(operation, history) };
  }

  async cancelOperation(
    request: CancelOperationRequest,
  ): Promise<MessageInitShape<typeof CancelOperationResponseSchema>> {
    await this.operations.cancelOperation(request.schedulerName, request.operationId);
    return {};
  }
}
