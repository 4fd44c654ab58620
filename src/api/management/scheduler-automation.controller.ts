import { Controller, Get, Post, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { JsonObject } from '@bufbuild/protobuf';
import type { FastifyRequest } from 'fastify';
import { SchedulerAutomationService } from '../../proto/gen/maestro/v1/scheduler_automation_pb';
import { callRpc, rpcRoute } from '../http/call-rpc';
import { ApiRpc } from '../openapi/api-rpc';
import { invalidPauseReason, unknownScheduler } from './route-errors';
import { SchedulerAutomationHandlers } from './scheduler-automation-handlers';

const { method } = SchedulerAutomationService;
const ofScheduler = { path: { schedulerName: 'schedulerName' }, input: 'none' } as const;
const errors = { not_found: unknownScheduler() };

const explainScheduler = rpcRoute({ ...ofScheduler, method: method.explainScheduler, errors });
const getRollout = rpcRoute({ ...ofScheduler, method: method.getRollout, errors });
const pauseAutomation = rpcRoute({
  ...ofScheduler,
  method: method.pauseAutomation,
  input: 'body',
  errors: { ...errors, invalid_argument: invalidPauseReason },
});
const resumeAutomation = rpcRoute({ ...ofScheduler, method: method.resumeAutomation, errors });

/** REST of `maestro.v1.SchedulerAutomationService`: ours, not v10's. */
@ApiTags('Automation')
@Controller('schedulers/:schedulerName')
export class SchedulerAutomationController {
  constructor(private readonly handlers: SchedulerAutomationHandlers) {}

  @Get('explain')
  @ApiRpc(explainScheduler)
  explainScheduler(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(explainScheduler, request, (message) => this.handlers.explainScheduler(message));
  }

  @Get('rollout')
  @ApiRpc(getRollout)
  getRollout(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(getRollout, request, (message) => this.handlers.getRollout(message));
  }

  @Post('automation/pause')
  @ApiRpc(pauseAutomation)
  pauseAutomation(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(pauseAutomation, request, (message) => this.handlers.pauseAutomation(message));
  }

  @Post('automation/resume')
  @ApiRpc(resumeAutomation)
  resumeAutomation(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(resumeAutomation, request, (message) => this.handlers.resumeAutomation(message));
  }
}
