import { Controller, Get, Post, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { JsonObject } from '@bufbuild/protobuf';
import type { FastifyRequest } from 'fastify';
import { OperationsService } from '../../proto/gen/api/v1/operations_pb';
import { callRpc, rpcRoute } from '../http/call-rpc';
import { ApiRpc } from '../openapi/api-rpc';
import { OperationsHandlers } from './operations-handlers';
import { invalidListing, operationEnded, unknownOperation } from './route-errors';

const { method } = OperationsService;

const listOperations = rpcRoute({
  method: method.listOperations,
  path: { schedulerName: 'schedulerName' },
  input: 'query',
  errors: { invalid_argument: invalidListing },
});
// The variable is spelled as in v10's metrics: the route's pattern is the label `handler`.
const operationPath = { schedulerName: 'schedulerName', operationID: 'operationId' };
const getOperation = rpcRoute({
  method: method.getOperation,
  path: operationPath,
  input: 'none',
  errors: { not_found: unknownOperation },
});
const cancelOperation = rpcRoute({
  method: method.cancelOperation,
  path: operationPath,
  input: 'none',
  errors: { not_found: unknownOperation, aborted: operationEnded },
});

/** REST of `api.v1.OperationsService` (`management.md` 1.4). */
@ApiTags('Operations')
@Controller('schedulers/:schedulerName/operations')
export class OperationsController {
  constructor(private readonly handlers: OperationsHandlers) {}

  @Get()
  @ApiRpc(listOperations)
  listOperations(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(listOperations, request, (message) => this.handlers.listOperations(message));
  }

  @Get(':operationID')
  @ApiRpc(getOperation)
  getOperation(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(getOperation, request, (message) => this.handlers.getOperation(message));
  }

  @Post(':operationID/cancel')
  @ApiRpc(cancelOperation)
  cancelOperation(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(cancelOperation, request, (message) => this.handlers.cancelOperation(message));
  }
}
