import { Injectable } from '@nestjs/common';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { FleetRoomsService } from '../../features/rooms/fleet-rooms.service';
import type {
  DeleteRoomRequest,
  DeleteRoomResponseSchema,
  GetRoomRequest,
  GetRoomResponseSchema,
  ListRoomsRequest,
  ListRoomsResponseSchema,
} from '../../proto/gen/maestro/v1/scheduler_rooms_pb';
import { roomMessage, roomReportMessage } from './room-messages';

/** The rpcs of `maestro.v1.SchedulerRoomsService`; see `SchedulersHandlers`. */
@Injectable()
export class SchedulerRoomsHandlers {
  constructor(private readonly rooms: FleetRoomsService) {}

  async listRooms(request: ListRoomsRequest): Promise<MessageInitShape<typeof ListRoomsResponseSchema>> {
    const { schedulerName, status, version, page, perPage } = request;
    const found = await this.rooms.listRooms(schedulerName, {
      ...(status === undefined ? {} : { status }),
      ...(version === undefined ? {} : { version }),
      ...(page === undefined ? {} : { page }),
      ...(perPage === undefined ? {} : { perPage }),
    });
    return { ...found, rooms: found.rooms.map(roomMessage) };
  }

  async getRoom({ schedulerName, roomName }: GetRoomRequest): Promise<MessageInitShape<typeof GetRoomResponseSchema>> {
    return roomReportMessage(await this.rooms.getRoom(schedulerName, roomName));
  }

  async deleteRoom(request: DeleteRoomRequest): Promise<MessageInitShape<typeof DeleteRoomResponseSchema>> {
    const { schedulerName, roomName, drain } = request;
    if (!drain) return this.rooms.deleteRoom(schedulerName, roomName);
    await this.rooms.drainRoom(schedulerName, roomName);
    return { operationId: '' };
  }
}
