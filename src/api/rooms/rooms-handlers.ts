import { Injectable } from '@nestjs/common';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { RoomPingsService } from '../../features/rooms/room-pings.service';
import type { UpdateRoomWithPingRequest, UpdateRoomWithPingResponseSchema } from '../../proto/gen/api/v1/rooms_pb';

/** The rpcs of `api.v1.RoomsService`, named as there: messages in, messages out, the same for REST and gRPC. */
@Injectable()
export class RoomsHandlers {
  constructor(private readonly pings: RoomPingsService) {}

  /** The request's timestamp is ignored: the time of receipt counts (`rooms.md` 1.4). */
  async updateRoomWithPing(
    request: UpdateRoomWithPingRequest,
  ): Promise<MessageInitShape<typeof UpdateRoomWithPingResponseSchema>> {
    const { success } = await this.pings.handlePing({
      scheduler: request.schedulerName,
      room: request.roomName,
      status: request.status,
      runningMatches: Number(request.runningMatches),
      metadata: request.metadata ?? null,
    });
    return { success };
  }
}
