import { Injectable } from '@nestjs/common';
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import { EventForwardingService } from '../../features/events/event-forwarding.service';
import { RoomAddressesService } from '../../features/rooms/room-addresses.service';
import { RoomAllocationsService } from '../../features/rooms/room-allocations.service';
import { RoomPingsService } from '../../features/rooms/room-pings.service';
import type {
  AllocateRoomRequest,
  AllocateRoomResponseSchema,
  ForwardPlayerEventRequest,
  ForwardPlayerEventResponseSchema,
  ForwardRoomEventRequest,
  ForwardRoomEventResponseSchema,
  GetRoomAddressRequest,
  GetRoomAddressResponseSchema,
  UpdateRoomStatusRequest,
  UpdateRoomStatusResponseSchema,
  UpdateRoomWithPingRequest,
  UpdateRoomWithPingResponseSchema,
} from '../../proto/gen/api/v1/rooms_pb';
import { malformedField } from '../http/protojson';

export class RoomsApiOptions {
  /** Largest `metadata` of a request, as JSON in UTF-8. Bytes. */
  readonly maxMetadataBytes!: number;
}

/** The rpcs of `api.v1.RoomsService`, named as there: messages in, messages out, the same for REST and gRPC. */
@Injectable()
export class RoomsHandlers {
  constructor(
    private readonly pings: RoomPingsService,
    private readonly events: EventForwardingService,
    private readonly addresses: RoomAddressesService,
    private readonly allocations: RoomAllocationsService,
    private readonly options: RoomsApiOptions,
  ) {}

  /** The request's timestamp is ignored: the time of receipt counts (`rooms.md` 1.4). */
  async updateRoomWithPing(
    request: UpdateRoomWithPingRequest,
  ): Promise<MessageInitShape<typeof UpdateRoomWithPingResponseSchema>> {
    const { success } = await this.pings.handlePing({
      scheduler: request.schedulerName,
      room: request.roomName,
      status: request.status,
      runningMatches: Number(request.runningMatches),
      metadata: this.metadataOf(request),
    });
    return { success };
  }

  async forwardRoomEvent(
    request: ForwardRoomEventRequest,
  ): Promise<MessageInitShape<typeof ForwardRoomEventResponseSchema>> {
    const { schedulerName, roomName, event } = request;
    return this.events.forwardRoomEvent(schedulerName, roomName, { event, metadata: this.metadataOf(request) });
  }

  async forwardPlayerEvent(
    request: ForwardPlayerEventRequest,
  ): Promise<MessageInitShape<typeof ForwardPlayerEventResponseSchema>> {
    const { schedulerName, roomName, event } = request;
    return this.events.forwardPlayerEvent(schedulerName, roomName, { event, metadata: this.metadataOf(request) });
  }

  /** Tells the forwarders only: the room stays as it is, and its matches are not looked at (`rooms.md` 1.5). */
  async updateRoomStatus(
    request: UpdateRoomStatusRequest,
  ): Promise<MessageInitShape<typeof UpdateRoomStatusResponseSchema>> {
    const { schedulerName, roomName, status } = request;
    const metadata = this.metadataOf(request);
    const { success } = await this.events.forwardRoomStatus(schedulerName, roomName, { status, metadata });
    return { success };
  }

  async getRoomAddress(request: GetRoomAddressRequest): Promise<MessageInitShape<typeof GetRoomAddressResponseSchema>> {
    const { host, ports } = await this.addresses.getAddress(request.schedulerName, request.roomName);
    return { host, ports };
  }

  async allocateRoom(request: AllocateRoomRequest): Promise<MessageInitShape<typeof AllocateRoomResponseSchema>> {
    const { room, address } = await this.allocations.allocateRoom(request.schedulerName);
    return { roomId: room, success: true, host: address.host, ports: address.ports };
  }

  /** Null when the request has none. */
  private metadataOf({ metadata }: { metadata?: JsonObject }): JsonObject | null {
    if (metadata === undefined) return null;
    const limit = this.options.maxMetadataBytes;
    const size = Buffer.byteLength(JSON.stringify(metadata));
    if (size > limit) throw malformedField('metadata', `must be at most ${limit} bytes of JSON, got ${size}`);
    return metadata;
  }
}
