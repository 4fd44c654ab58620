import type { INestApplicationContext } from '@nestjs/common';
import { OperationsService } from '../../proto/gen/api/v1/operations_pb';
import { SchedulersService } from '../../proto/gen/api/v1/schedulers_pb';
import { BacktestsService } from '../../proto/gen/maestro/v1/backtests_pb';
import { OperationDetailsService } from '../../proto/gen/maestro/v1/operation_details_pb';
import { SchedulerAutomationService } from '../../proto/gen/maestro/v1/scheduler_automation_pb';
import { SchedulerRoomsService } from '../../proto/gen/maestro/v1/scheduler_rooms_pb';
import { SchedulerPlansService } from '../../proto/gen/maestro/v1/scheduler_plans_pb';
import { grpcService } from '../grpc/rpc-handlers';
import type { GrpcService } from '../grpc/rpc-handlers';
import { BacktestsHandlers, longestBacktestMs } from './backtests-handlers';
import { OperationDetailsHandlers } from './operation-details-handlers';
import { OperationsHandlers } from './operations-handlers';
import { SchedulerAutomationHandlers } from './scheduler-automation-handlers';
import { SchedulerPlansHandlers } from './scheduler-plans-handlers';
import { SchedulerRoomsHandlers } from './scheduler-rooms-handlers';
import { SchedulersHandlers } from './schedulers-handlers';

/** The management API over gRPC: the handlers that REST calls, found in the running application. */
export function managementGrpcServices(application: Pick<INestApplicationContext, 'get'>): GrpcService[] {
  return [
    grpcService(SchedulersService, application.get(SchedulersHandlers)),
    grpcService(SchedulerPlansService, application.get(SchedulerPlansHandlers)),
    grpcService(SchedulerRoomsService, application.get(SchedulerRoomsHandlers)),
    grpcService(SchedulerAutomationService, application.get(SchedulerAutomationHandlers)),
    grpcService(OperationsService, application.get(OperationsHandlers)),
    grpcService(OperationDetailsService, application.get(OperationDetailsHandlers)),
    grpcService(BacktestsService, application.get(BacktestsHandlers), { runBacktest: longestBacktestMs }),
  ];
}
