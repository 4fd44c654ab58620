import { Controller, Get, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { JsonObject } from '@bufbuild/protobuf';
import type { FastifyRequest } from 'fastify';
import { OperationsService } from '../../proto/gen/api/v1/operations_pb';
import { callRpc, rpcRoute } from '../http/call-rpc';
import { ApiRpc } from '../openapi/api-rpc';
import { OperationsHandlers } from './operations-handlers';

const { method } = OperationsService;

const listOperations = rpcRoute({
  method: method.listOperations,
  path: { schedulerName: 'schedulerName' },
  input: 'query',
  errors: [],
});
// The variable is spelled as in v10's metrics: the route's pattern is the label `handler`.
const getOperation = rpcRoute({
  method: method.getOperation,
  path: { schedulerName: 'schedulerName', operationID: 'operationId' },
  input: 'none',
  errors: ['not_found'],
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
}
