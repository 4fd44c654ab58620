import { Injectable } from '@nestjs/common';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { OperationsService } from '../../features/operations/operations.service';
import type {
  GetOperationDetailsRequest,
  GetOperationDetailsResponseSchema,
} from '../../proto/gen/maestro/v1/operation_details_pb';
import { operationDetailsMessage } from './operation-messages';

/** The rpcs of `maestro.v1.OperationDetailsService`; see `SchedulersHandlers`. */
@Injectable()
export class OperationDetailsHandlers {
  constructor(private readonly operations: OperationsService) {}

  async getOperationDetails({
    schedulerName,
    operationId,
  }: GetOperationDetailsRequest): Promise<MessageInitShape<typeof GetOperationDetailsResponseSchema>> {
    const { operation } = await this.operations.getOperation(schedulerName, operationId);
    return { details: operationDetailsMessage(operation) };
  }
}
