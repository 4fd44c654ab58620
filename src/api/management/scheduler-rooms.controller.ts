import { Controller, Delete, Get, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { JsonObject } from '@bufbuild/protobuf';
import type { FastifyRequest } from 'fastify';
import { SchedulerRoomsService } from '../../proto/gen/maestro/v1/scheduler_rooms_pb';
import { callRpc, rpcRoute } from '../http/call-rpc';
import { ApiRpc } from '../openapi/api-rpc';
import { invalidRoomListing, undrainableRoom, unknownRoom, unknownScheduler } from './route-errors';
import { SchedulerRoomsHandlers } from './scheduler-rooms-handlers';

const { method } = SchedulerRoomsService;

const listRooms = rpcRoute({
  method: method.listRooms,
  path: { schedulerName: 'schedulerName' },
  input: 'query',
  errors: { invalid_argument: invalidRoomListing, not_found: unknownScheduler() },
});
const roomPath = { schedulerName: 'schedulerName', roomName: 'roomName' };
const getRoom = rpcRoute({
  method: method.getRoom,
  path: roomPath,
  input: 'none',
  errors: { not_found: unknownRoom },
});
const deleteRoom = rpcRoute({
  method: method.deleteRoom,
  path: roomPath,
  input: 'query',
  errors: { not_found: unknownRoom, failed_precondition: undrainableRoom },
});

/** REST of `maestro.v1.SchedulerRoomsService`: ours, not v10's. */
@ApiTags('Rooms')
@Controller('schedulers/:schedulerName/rooms')
export class SchedulerRoomsController {
  constructor(private readonly handlers: SchedulerRoomsHandlers) {}

  @Get()
  @ApiRpc(listRooms)
  listRooms(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(listRooms, request, (message) => this.handlers.listRooms(message));
  }

  @Get(':roomName')
  @ApiRpc(getRoom)
  getRoom(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(getRoom, request, (message) => this.handlers.getRoom(message));
  }

  @Delete(':roomName')
  @ApiRpc(deleteRoom)
  deleteRoom(@Req() request: FastifyRequest): Promise<JsonObject> {
    return callRpc(deleteRoom, request, (message) => this.handlers.deleteRoom(message));
  }
}
