import { Injectable } from '@nestjs/common';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { DomainError } from '../../domain/errors';
import type { RoomNotice } from '../../features/rooms/notice-board';
import type { RoomStream } from '../../features/rooms/room-stream';
import { RoomStreamsService } from '../../features/rooms/room-streams.service';
import type {
  ConnectRequest,
  ConnectResponseSchema,
  RoomStreamsService as RoomStreamsRpcs,
} from '../../proto/gen/maestro/v1/room_streams_pb';
import type { RpcStream, StreamReceiver } from '../grpc/answer-stream';
import { readPlainPing, writePlainAck } from './plain-pings';

type Connect = (typeof RoomStreamsRpcs)['method']['connect'];
type ConnectResponseInit = MessageInitShape<typeof ConnectResponseSchema>;

/** The rpc of `maestro.v1.RoomStreamsService`: only gRPC has streams. */
@Injectable()
export class RoomStreamsHandlers {
  constructor(private readonly streams: RoomStreamsService) {}

  connect(stream: RpcStream<Connect>): StreamReceiver<Connect> {
    const room = this.streams.connect({
      acknowledge: (ack) => {
        const plain = writePlainAck(ack);
        if (plain === null) stream.send({ message: { case: 'ack', value: ack } });
        else stream.sendBytes(plain);
      },
      notify: (notice) => stream.send(noticeMessage(notice)),
      end: (error) => (error === undefined ? stream.end() : stream.fail(error)),
    });
    return {
      onBytes: (bytes) => {
        const ping = readPlainPing(bytes);
        if (ping === null) return false;
        room.ping(ping);
        return true;
      },
      onMessage: (message) => receive(room, message),
      onHalfClose: () => room.halfClose(),
      onEnd: () => room.close(),
    };
  }
}

function receive(room: RoomStream, { message }: ConnectRequest): void {
  switch (message.case) {
    case 'ping': {
      const { sequence, status, runningMatches, metadata = null } = message.value;
      return room.ping({ sequence, status, runningMatches: Number(runningMatches), metadata });
    }
    case 'hello':
      return room.hello(message.value.schedulerName, message.value.roomName);
    case undefined:
      throw new DomainError('invalid_argument', 'room_stream.empty', 'a message must be hello or ping');
  }
}

function noticeMessage(notice: RoomNotice): ConnectResponseInit {
  switch (notice.kind) {
    case 'room_draining':
      return { message: { case: 'drain', value: {} } };
    case 'room_drain_canceled':
      return { message: { case: 'drainCanceled', value: {} } };
    case 'room_terminating':
      return { message: { case: 'shutdown', value: { reason: notice.reason } } };
    case 'room_allocated': {
      const expiresAt = timestampFromMs(notice.expiresAtMs);
      return { message: { case: 'allocated', value: { allocationId: notice.allocation, expiresAt } } };
    }
  }
}
