import { Controller, Post, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { JsonObject } from '@bufbuild/protobuf';
import type { FastifyRequest } from 'fastify';
import { SchedulerPlansService } from '../../proto/gen/maestro/v1/scheduler_plans_pb';
import { callRpc, rpcRoute } from '../http/call-rpc';
import { ApiRpc } from '../openapi/api-rpc';
import { clearEmptyMaps } from './clear-empty-maps';
import { unknownScheduler } from './route-errors';
import { SchedulerPlansHandlers } from './scheduler-plans-handlers';

const planVersion = rpcRoute({
  method: SchedulerPlansService.method.planVersion,
  path: { schedulerName: 'name' },
  input: { parameter: 'as', fields: ['patch', 'version'] },
  keepFromJson: clearEmptyMaps,
  errors: { not_found: unknownScheduler() },
});

/** REST of `maestro.v1.SchedulerPlansService`: ours, not v10's. */
@ApiTags('Schedulers')
@Controller('schedulers/:schedulerName/plan')
export class SchedulerPlansController {
  constructor(private readonly handlers: SchedulerPlansHandlers) {}

  @Post()
  @ApiRpc(planVersion)
  planVersion(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(planVersion, request, (message) => this.handlers.planVersion(message));
  }
}
