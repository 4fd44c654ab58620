import type { INestApplicationContext } from '@nestjs/common';
import { longestWaitSeconds } from '../../domain/room/parse-allocation-request';
import { RoomsService } from '../../proto/gen/api/v1/rooms_pb';
import { AllocationsService } from '../../proto/gen/maestro/v1/allocations_pb';
import { RoomStreamsService } from '../../proto/gen/maestro/v1/room_streams_pb';
import { grpcService } from '../grpc/rpc-handlers';
import type { GrpcService } from '../grpc/rpc-handlers';
import { AllocationsHandlers } from './allocations-handlers';
import { RoomStreamsHandlers } from './room-streams-handlers';
import { RoomsHandlers } from './rooms-handlers';

/** The rooms API over gRPC: the handlers that REST calls, and the streams, found in the running application. */
export function roomsGrpcServices(application: Pick<INestApplicationContext, 'get'>): GrpcService[] {
  return [
    grpcService(RoomsService, application.get(RoomsHandlers)),
    grpcService(AllocationsService, application.get(AllocationsHandlers), { allocate: longestWaitSeconds * 1_000 }),
    grpcService(RoomStreamsService, application.get(RoomStreamsHandlers)),
  ];
}
