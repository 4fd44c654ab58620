import { Controller, Put, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { JsonObject } from '@bufbuild/protobuf';
import type { FastifyRequest } from 'fastify';
import { RoomsService } from '../../proto/gen/api/v1/rooms_pb';
import { callRpc, rpcRoute } from '../http/call-rpc';
import { ApiRpc } from '../openapi/api-rpc';
import { RoomsHandlers } from './rooms-handlers';

const { method } = RoomsService;
// The variables are spelled as in v10's metrics: the route's pattern is the label `handler`.
const roomPath = { schedulerName: 'schedulerName', roomID: 'roomName' };

const updateRoomWithPing = rpcRoute({
  method: method.updateRoomWithPing,
  path: roomPath,
  input: 'body',
  errors: {},
});

/** REST of `api.v1.RoomsService` (`rooms.md` 1.2): `scheduler` is singular here. */
@ApiTags('Rooms')
@Controller('scheduler/:schedulerName/rooms')
export class RoomsController {
  constructor(private readonly handlers: RoomsHandlers) {}

  @Put(':roomID/ping')
  @ApiRpc(updateRoomWithPing)
  updateRoomWithPing(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(updateRoomWithPing, request, (message) => this.handlers.updateRoomWithPing(message));
  }
}
