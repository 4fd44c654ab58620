import { Controller, Post, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { JsonObject } from '@bufbuild/protobuf';
import type { FastifyRequest } from 'fastify';
import { BacktestsService } from '../../proto/gen/maestro/v1/backtests_pb';
import { callRpc, rpcRoute } from '../http/call-rpc';
import { ApiRpc } from '../openapi/api-rpc';
import { BacktestsHandlers, longestBacktestMs } from './backtests-handlers';
import { backtestsBusy, invalidBacktest } from './route-errors';

const runBacktest = rpcRoute({
  method: BacktestsService.method.runBacktest,
  path: {},
  input: 'body',
  longestWaitMs: longestBacktestMs,
  errors: { invalid_argument: invalidBacktest, resource_exhausted: backtestsBusy },
});

/** REST of `maestro.v1.BacktestsService`: ours, not v10's. */
@ApiTags('Backtests')
@Controller('backtests')
export class BacktestsController {
  constructor(private readonly handlers: BacktestsHandlers) {}

  @Post()
  @ApiRpc(runBacktest)
  runBacktest(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(runBacktest, request, (message, context) => this.handlers.runBacktest(message, context));
  }
}
