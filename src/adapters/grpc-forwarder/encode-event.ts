import { create, toBinary, type DescMessage, type DescMethod, type MessageInitShape } from '@bufbuild/protobuf';
import type { EventMessage, PlayerEvent } from '../../domain/event/event';
import {
  GRPCForwarder,
  PlayerEvent_PlayerEventType,
  PlayerEventSchema,
  RoomEventSchema,
  RoomStatus_RoomStatusType,
  RoomStatusSchema,
} from '../../proto/gen/eventforwarder/grpc_forwarder_pb';

export interface EncodedEvent {
  /** `SendRoomEvent`: a word for metrics. */
  method: string;
  /** `/eventforwarder.GRPCForwarder/SendRoomEvent`. */
  path: string;
  bytes: Buffer;
}

const playerEventTypes: Record<PlayerEvent, PlayerEvent_PlayerEventType> = {
  playerJoin: PlayerEvent_PlayerEventType.PLAYER_JOINED,
  playerLeft: PlayerEvent_PlayerEventType.PLAYER_LEFT,
};

/** Which method is called for an event, and with which bytes. */
export function encodeEvent(message: EventMessage): EncodedEvent {
  const { sendRoomStatus, sendRoomResync, sendRoomEvent, sendPlayerEvent } = GRPCForwarder.method;
  switch (message.type) {
    case 'status':
    case 'resync': {
      const { room, status } = message;
      const method = message.type === 'status' ? sendRoomStatus : sendRoomResync;
      return encode(method, RoomStatusSchema, { room, statusType: RoomStatus_RoomStatusType[status] });
    }
    case 'roomEvent':
      return encode(sendRoomEvent, RoomEventSchema, { room: message.room, eventType: message.event });
    case 'player': {
      const { room, playerId, event, metadata } = message;
      const eventType = playerEventTypes[event];
      return encode(sendPlayerEvent, PlayerEventSchema, { room, playerId, eventType, metadata });
    }
  }
}

function encode<Desc extends DescMessage>(
  method: DescMethod & { input: Desc },
  schema: Desc,
  content: MessageInitShape<Desc>,
): EncodedEvent {
  const bytes = toBinary(schema, create(schema, content));
  return {
    method: method.name,
    path: `/${method.parent.typeName}/${method.name}`,
    bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  };
}
