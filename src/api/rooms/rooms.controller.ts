import { Controller, Get, Post, Put, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { JsonObject } from '@bufbuild/protobuf';
import type { FastifyRequest } from 'fastify';
import { RoomsService } from '../../proto/gen/api/v1/rooms_pb';
import { callRpc, rpcRoute } from '../http/call-rpc';
import type { RouteError } from '../http/call-rpc';
import { ApiRpc } from '../openapi/api-rpc';
import { RoomsHandlers } from './rooms-handlers';

const { method } = RoomsService;
// The variables are spelled as in v10's metrics: the route's pattern is the label `handler`.
const schedulerPath = { schedulerName: 'schedulerName' };
const roomPath = { ...schedulerPath, roomID: 'roomName' };

const metadataTooLarge: RouteError = {
  when: 'The metadata is larger than `roomsApi.maxMetadataBytes`.',
  example: 'malformed request: field "metadata": must be at most 65536 bytes of JSON, got 70013',
};
const noAddress: RouteError = {
  when: 'There is no such room or scheduler, or the room has no address yet.',
  example: 'room arena-eu-x7k2p not found in scheduler arena-eu',
};
const noRoom: RouteError = {
  when: 'No room of the scheduler is ready, or there is no such scheduler.',
  example: 'no ready rooms available for scheduler arena-eu',
};

const withMetadata = { path: roomPath, input: 'body', errors: { invalid_argument: metadataTooLarge } } as const;
const updateRoomWithPing = rpcRoute({ ...withMetadata, method: method.updateRoomWithPing });
const forwardRoomEvent = rpcRoute({ ...withMetadata, method: method.forwardRoomEvent });
const forwardPlayerEvent = rpcRoute({ ...withMetadata, method: method.forwardPlayerEvent });
const updateRoomStatus = rpcRoute({ ...withMetadata, method: method.updateRoomStatus });
const getRoomAddress = rpcRoute({
  method: method.getRoomAddress,
  path: roomPath,
  input: 'none',
  errors: { unknown: noAddress },
});
const allocateRoom = rpcRoute({
  method: method.allocateRoom,
  path: schedulerPath,
  input: 'body',
  errors: { unknown: noRoom },
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

  @Post(':roomID/roomevent')
  @ApiRpc(forwardRoomEvent)
  forwardRoomEvent(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(forwardRoomEvent, request, (message) => this.handlers.forwardRoomEvent(message));
  }

  @Post(':roomID/playerevent')
  @ApiRpc(forwardPlayerEvent)
  forwardPlayerEvent(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(forwardPlayerEvent, request, (message) => this.handlers.forwardPlayerEvent(message));
  }

  @Put(':roomID/status')
  @ApiRpc(updateRoomStatus)
  updateRoomStatus(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(updateRoomStatus, request, (message) => this.handlers.updateRoomStatus(message));
  }

  @Get(':roomID/address')
  @ApiRpc(getRoomAddress)
  getRoomAddress(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(getRoomAddress, request, (message) => this.handlers.getRoomAddress(message));
  }

  @Post('allocate')
  @ApiRpc(allocateRoom)
  allocateRoom(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(allocateRoom, request, (message) => this.handlers.allocateRoom(message));
  }
}
