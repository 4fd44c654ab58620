import type { INestApplicationContext } from '@nestjs/common';
import { RoomsService } from '../../proto/gen/api/v1/rooms_pb';
import { grpcService } from '../grpc/rpc-handlers';
import type { GrpcService } from '../grpc/rpc-handlers';
import { RoomsHandlers } from './rooms-handlers';

/** The rooms API over gRPC: the handlers that REST calls, found in the running application. */
export function roomsGrpcServices(application: Pick<INestApplicationContext, 'get'>): GrpcService[] {
  return [grpcService(RoomsService, application.get(RoomsHandlers))];
}
