import { Controller, Delete, Get, Patch, Post, Put, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { JsonObject } from '@bufbuild/protobuf';
import type { FastifyRequest } from 'fastify';
import { SchedulersService } from '../../proto/gen/api/v1/schedulers_pb';
import { callRpc, rpcRoute } from '../http/call-rpc';
import { ApiRpc } from '../openapi/api-rpc';
import { clearEmptyMaps } from './clear-empty-maps';
import {
  invalidDefinition,
  invalidPatch,
  nameTaken,
  noChange,
  openVersionChange,
  unknownScheduler,
  unknownVersion,
  versionsContended,
} from './route-errors';
import { SchedulersHandlers } from './schedulers-handlers';

const { method } = SchedulersService;
// One name for the variable in all routes: the route's pattern is the label `handler` of metrics, as in v10.
const schedulerPath = { schedulerName: 'schedulerName' };
const namePath = { schedulerName: 'name' };

const listSchedulers = rpcRoute({ method: method.listSchedulers, path: {}, input: 'query', errors: {} });
const getSchedulersInfo = rpcRoute({ method: method.getSchedulersInfo, path: {}, input: 'query', errors: {} });
const getScheduler = rpcRoute({
  method: method.getScheduler,
  path: schedulerPath,
  input: 'query',
  errors: { not_found: unknownVersion },
});
const getSchedulerVersions = rpcRoute({
  method: method.getSchedulerVersions,
  path: schedulerPath,
  input: 'none',
  errors: { not_found: unknownScheduler() },
});
const createScheduler = rpcRoute({
  method: method.createScheduler,
  path: {},
  input: 'body',
  errors: { invalid_argument: invalidDefinition, already_exists: nameTaken },
});
const newSchedulerVersion = rpcRoute({
  method: method.newSchedulerVersion,
  path: namePath,
  input: 'body',
  errors: {
    invalid_argument: invalidDefinition,
    failed_precondition: openVersionChange('cannot create new scheduler version'),
    not_found: unknownScheduler('no scheduler found, can not create new version for inexistent scheduler: '),
    aborted: versionsContended('cannot create new scheduler version'),
  },
});
const patchScheduler = rpcRoute({
  method: method.patchScheduler,
  path: namePath,
  input: 'body',
  keepFromJson: clearEmptyMaps,
  errors: {
    invalid_argument: invalidPatch,
    failed_precondition: openVersionChange('cannot patch scheduler'),
    not_found: unknownScheduler('no scheduler found, can not create new version for inexistent scheduler: '),
    already_exists: noChange,
    aborted: versionsContended('cannot patch scheduler'),
  },
});
const switchActiveVersion = rpcRoute({
  method: method.switchActiveVersion,
  path: schedulerPath,
  input: 'body',
  errors: {
    failed_precondition: openVersionChange('cannot switch active version'),
    not_found: unknownScheduler(),
    aborted: versionsContended('cannot switch active version'),
  },
});
const deleteScheduler = rpcRoute({
  method: method.deleteScheduler,
  path: schedulerPath,
  input: 'none',
  errors: { not_found: unknownScheduler('no scheduler found, can not delete nonexistent scheduler: ') },
});

/** REST of `api.v1.SchedulersService` (`management.md` 1.4). The router prefers `info` to a scheduler of that name. */
@ApiTags('Schedulers')
@Controller('schedulers')
export class SchedulersController {
  constructor(private readonly handlers: SchedulersHandlers) {}

  @Get()
  @ApiRpc(listSchedulers)
  listSchedulers(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(listSchedulers, request, (message) => this.handlers.listSchedulers(message));
  }

  @Get('info')
  @ApiRpc(getSchedulersInfo)
  getSchedulersInfo(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(getSchedulersInfo, request, (message) => this.handlers.getSchedulersInfo(message));
  }

  @Get(':schedulerName')
  @ApiRpc(getScheduler)
  getScheduler(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(getScheduler, request, (message) => this.handlers.getScheduler(message));
  }

  @Get(':schedulerName/versions')
  @ApiRpc(getSchedulerVersions)
  getSchedulerVersions(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(getSchedulerVersions, request, (message) => this.handlers.getSchedulerVersions(message));
  }

  @Post()
  @ApiRpc(createScheduler)
  createScheduler(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(createScheduler, request, (message) => this.handlers.createScheduler(message));
  }

  @Post(':schedulerName')
  @ApiRpc(newSchedulerVersion)
  newSchedulerVersion(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(newSchedulerVersion, request, (message) => this.handlers.newSchedulerVersion(message));
  }

  @Patch(':schedulerName')
  @ApiRpc(patchScheduler)
  patchScheduler(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(patchScheduler, request, (message) => this.handlers.patchScheduler(message));
  }

  @Put(':schedulerName')
  @ApiRpc(switchActiveVersion)
  switchActiveVersion(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(switchActiveVersion, request, (message) => this.handlers.switchActiveVersion(message));
  }

  @Delete(':schedulerName')
  @ApiRpc(deleteScheduler)
  deleteScheduler(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(deleteScheduler, request, (message) => this.handlers.deleteScheduler(message));
  }
}
