import type { INestApplicationContext } from '@nestjs/common';
import { OperationsService } from '../../proto/gen/api/v1/operations_pb';
import { SchedulersService } from '../../proto/gen/api/v1/schedulers_pb';
import { grpcService } from '../grpc/rpc-handlers';
import type { GrpcService } from '../grpc/rpc-handlers';
import { OperationsHandlers } from './operations-handlers';
import { SchedulersHandlers } from './schedulers-handlers';

/** The management API over gRPC: the handlers that REST calls, found in the running application. */
export function managementGrpcServices(application: Pick<INestApplicationContext, 'get'>): GrpcService[] {
  return [
    grpcService(SchedulersService, application.get(SchedulersHandlers)),
    grpcService(OperationsService, application.get(OperationsHandlers)),
  ];
}
