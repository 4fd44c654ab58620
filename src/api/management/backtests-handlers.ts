import { Injectable } from '@nestjs/common';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { BacktestsService } from '../../features/backtesting/backtests.service';
import type { RunBacktestRequest, RunBacktestResponseSchema } from '../../proto/gen/maestro/v1/backtests_pb';
import type { RpcContext } from '../http/call-rpc';
import { backtestRequestOf, backtestResultMessage } from './backtest-messages';

/** How much longer than other calls a backtest may take: eight policies, each with all the computing that it may cost. Milliseconds. */
export const longestBacktestMs = 60_000;

/** The rpcs of `maestro.v1.BacktestsService`; see `SchedulersHandlers`. */
@Injectable()
export class BacktestsHandlers {
  constructor(private readonly backtests: BacktestsService) {}

  async runBacktest(
    request: RunBacktestRequest,
    { signal }: RpcContext,
  ): Promise<MessageInitShape<typeof RunBacktestResponseSchema>> {
    const outcomes = await this.backtests.run(backtestRequestOf(request), signal);
    return { results: outcomes.map(backtestResultMessage) };
  }
}
