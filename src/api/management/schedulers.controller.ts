import { Controller, Delete, Get, Post, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { JsonObject } from '@bufbuild/protobuf';
import type { FastifyRequest } from 'fastify';
import { SchedulersService } from '../../proto/gen/api/v1/schedulers_pb';
import { callRpc, rpcRoute } from '../http/call-rpc';
import { ApiRpc } from '../openapi/api-rpc';
import { SchedulersHandlers } from './schedulers-handlers';

const { method } = SchedulersService;
const schedulerPath = { schedulerName: 'schedulerName' };

const listSchedulers = rpcRoute({ method: method.listSchedulers, path: {}, input: 'query', errors: [] });
const getSchedulersInfo = rpcRoute({ method: method.getSchedulersInfo, path: {}, input: 'query', errors: [] });
const getScheduler = rpcRoute({
  method: method.getScheduler,
  path: schedulerPath,
  input: 'query',
  errors: ['not_found'],
});
const createScheduler = rpcRoute({
  method: method.createScheduler,
  path: {},
  input: 'body',
  errors: ['already_exists'],
});
const deleteScheduler = rpcRoute({
  method: method.deleteScheduler,
  path: schedulerPath,
  input: 'none',
  errors: ['not_found'],
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

  @Post()
  @ApiRpc(createScheduler)
  createScheduler(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(createScheduler, request, (message) => this.handlers.createScheduler(message));
  }

  @Delete(':schedulerName')
  @ApiRpc(deleteScheduler)
  deleteScheduler(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(deleteScheduler, request, (message) => this.handlers.deleteScheduler(message));
  }
}
