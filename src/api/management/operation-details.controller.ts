import { Controller, Get, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { JsonObject } from '@bufbuild/protobuf';
import type { FastifyRequest } from 'fastify';
import { OperationDetailsService } from '../../proto/gen/maestro/v1/operation_details_pb';
import { callRpc, rpcRoute } from '../http/call-rpc';
import { ApiRpc } from '../openapi/api-rpc';
import { OperationDetailsHandlers } from './operation-details-handlers';
import { unknownOperation } from './route-errors';

const getOperationDetails = rpcRoute({
  method: OperationDetailsService.method.getOperationDetails,
  path: { schedulerName: 'schedulerName', operationID: 'operationId' },
  input: 'none',
  errors: { not_found: unknownOperation },
});

/** REST of `maestro.v1.OperationDetailsService`: ours, not v10's. */
@ApiTags('Operations')
@Controller('schedulers/:schedulerName/operations/:operationID/details')
export class OperationDetailsController {
  constructor(private readonly handlers: OperationDetailsHandlers) {}

  @Get()
  @ApiRpc(getOperationDetails)
  getOperationDetails(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(getOperationDetails, request, (message) => this.handlers.getOperationDetails(message));
  }
}
