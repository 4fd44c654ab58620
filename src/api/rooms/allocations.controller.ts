import { Controller, Delete, Get, Post, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { JsonObject } from '@bufbuild/protobuf';
import type { FastifyRequest } from 'fastify';
import { longestWaitSeconds } from '../../domain/room/parse-allocation-request';
import { AllocationsService } from '../../proto/gen/maestro/v1/allocations_pb';
import { callRpc, rpcRoute } from '../http/call-rpc';
import type { RouteError } from '../http/call-rpc';
import { ApiRpc } from '../openapi/api-rpc';
import { AllocationsHandlers } from './allocations-handlers';

const { method } = AllocationsService;
const schedulerPath = { schedulerName: 'schedulerName' };
const allocationPath = { ...schedulerPath, allocationID: 'allocationId' };

const invalidRequest: RouteError = {
  when: 'A field breaks its rule, or the key was used for another request.',
  example: 'waitSeconds must be from 0 to 60, got 61',
};
const unknownScheduler: RouteError = {
  when: 'There is no such scheduler.',
  example: 'scheduler arena-eu not found',
};
const noRoom: RouteError = {
  when: 'No room that fits is free, also after the wait; or too many callers wait already.',
  example: 'no room of scheduler arena-eu that fits is free; try again, or wait with waitSeconds',
};
const unknownAllocation: RouteError = {
  when: 'There is no such allocation: it was never made, has expired, its room has ended, or reported its match long ago.',
  example:
    'allocation 6fb5b5a0-9b1e-4e0a-8f5c-0d6f0f6f8f21 not found in scheduler arena-eu: it was never made, has expired, its room has ended, or reported its match long ago',
};
const released: RouteError = {
  when: 'The allocation was released.',
  example:
    'cannot confirm allocation 6fb5b5a0-9b1e-4e0a-8f5c-0d6f0f6f8f21 of scheduler arena-eu: it was released, allocate anew',
};
const inUse: RouteError = {
  when: 'The room has reported the match.',
  example:
    "cannot release allocation 6fb5b5a0-9b1e-4e0a-8f5c-0d6f0f6f8f21 of scheduler arena-eu: the room has reported its match, which is the room's to end",
};

const allocate = rpcRoute({
  method: method.allocate,
  path: schedulerPath,
  input: 'body',
  longestWaitMs: longestWaitSeconds * 1_000,
  errors: { invalid_argument: invalidRequest, not_found: unknownScheduler, resource_exhausted: noRoom },
});
const ofOne = { path: allocationPath, input: 'none' } as const;
const getAllocation = rpcRoute({ ...ofOne, method: method.getAllocation, errors: { not_found: unknownAllocation } });
const confirmAllocation = rpcRoute({
  ...ofOne,
  method: method.confirmAllocation,
  errors: { not_found: unknownAllocation, failed_precondition: released },
});
const releaseAllocation = rpcRoute({
  ...ofOne,
  method: method.releaseAllocation,
  errors: { not_found: unknownAllocation, failed_precondition: inUse },
});

/** REST of `maestro.v1.AllocationsService`: ours, not v10's. */
@ApiTags('Allocations')
@Controller('scheduler/:schedulerName/allocations')
export class AllocationsController {
  constructor(private readonly handlers: AllocationsHandlers) {}

  @Post()
  @ApiRpc(allocate)
  allocate(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(allocate, request, (message, context) => this.handlers.allocate(message, context));
  }

  @Get(':allocationID')
  @ApiRpc(getAllocation)
  getAllocation(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(getAllocation, request, (message) => this.handlers.getAllocation(message));
  }

  @Post(':allocationID/confirm')
  @ApiRpc(confirmAllocation)
  confirmAllocation(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(confirmAllocation, request, (message) => this.handlers.confirmAllocation(message));
  }

  @Delete(':allocationID')
  @ApiRpc(releaseAllocation)
  releaseAllocation(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(releaseAllocation, request, (message) => this.handlers.releaseAllocation(message));
  }
}
