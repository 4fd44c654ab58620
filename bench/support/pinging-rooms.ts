import { create, toBinary } from '@bufbuild/protobuf';
import type { DescMessage } from '@bufbuild/protobuf';
import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { UpdateRoomWithPingRequestSchema } from '../../src/proto/gen/api/v1/rooms_pb';
import { ConnectRequestSchema } from '../../src/proto/gen/maestro/v1/room_streams_pb';
import type { RoomsApiAddress } from './rooms-api-process';

/** A room that pings over one wire, on a connection of its own, as cheaply as this process can. */
export interface PingingRoom {
  /** Resolves when the ping was answered. @throws Error when it was not stored. */
  ping(): Promise<void>;
  close(): void;
}

export type Wire = (address: RoomsApiAddress, scheduler: string, room: string) => Promise<PingingRoom>;

/** What each of them says. The metadata did not change since the last one. */
const said = { status: 'occupied', runningMatches: 1n };

export const overRest: Wire = async ({ restPort }, scheduler, room) => {
  const socket = connectTcp({ port: restPort, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  const body = JSON.stringify({ status: said.status, timestamp: 1_714_557_600, runningMatches: 1 });
  const request = Buffer.from(
    `PUT /scheduler/${scheduler}/rooms/${room}/ping HTTP/1.1\r\nhost: 127.0.0.1:${restPort}\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  return answered(
    () => socket.write(request),
    // An answer is one small packet.
    (settle) => socket.on('data', (answer: Buffer) => settle(answer.includes('{"success":true}'))),
    () => socket.destroy(),
  );
};

export const overUnaryGrpc: Wire = async ({ grpcPort }, scheduler, room) => {
  const session = await openSession(grpcPort);
  const request = frame(UpdateRoomWithPingRequestSchema, { schedulerName: scheduler, roomName: room, ...said });
  const headers = grpcHeaders('/api.v1.RoomsService/UpdateRoomWithPing');
  // UpdateRoomWithPingResponse { success: true }
  const success = Buffer.from([8, 1]);
  let settle: (isStored: boolean) => void = () => undefined;
  return answered(
    () => {
      const stream = session.request(headers);
      let isStored = false;
      stream.on('data', (answer: Buffer) => (isStored = answer.subarray(5).equals(success)));
      stream.on('end', () => settle(isStored));
      stream.end(request);
    },
    (told) => (settle = told),
    () => session.destroy(),
  );
};

export const overStream: Wire = async ({ grpcPort }, scheduler, room) => {
  const session = await openSession(grpcPort);
  const stream = openStream(session);
  stream.write(frame(ConnectRequestSchema, helloOf(scheduler, room)));
  const ping = frame(ConnectRequestSchema, { message: { case: 'ping', value: { sequence: 1n, ...said } } });
  return answered(
    () => stream.write(ping),
    // ConnectResponse.ack begins with the sequence (1); success (2) follows.
    (settle) => stream.on('data', (answer: Buffer) => settle(answer.subarray(7, 11).equals(storedFirst))),
    () => session.destroy(),
  );
};
const storedFirst = Buffer.from([8, 1, 16, 1]);

/** A room that says hello and nothing more. */
export async function openIdleStream({ grpcPort }: RoomsApiAddress, scheduler: string, room: string) {
  const session = await openSession(grpcPort);
  const stream = openStream(session);
  stream.write(frame(ConnectRequestSchema, helloOf(scheduler, room)));
  return { close: () => session.destroy() };
}

const helloOf = (schedulerName: string, roomName: string) =>
  ({ message: { case: 'hello', value: { schedulerName, roomName } } }) as const;

function answered(
  send: () => unknown,
  onAnswer: (settle: (isStored: boolean) => void) => unknown,
  close: () => void,
): PingingRoom {
  let resolve: () => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  onAnswer((isStored) => (isStored ? resolve() : reject(new Error('a ping of the benchmark was not stored'))));
  return {
    ping: () =>
      new Promise((done, fail) => {
        [resolve, reject] = [done, fail];
        send();
      }),
    close,
  };
}

async function openSession(port: number): Promise<ClientHttp2Session> {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on('error', () => undefined);
  await once(session, 'connect');
  return session;
}

function openStream(session: ClientHttp2Session): ClientHttp2Stream {
  const stream = session.request(grpcHeaders('/maestro.v1.RoomStreamsService/Connect'), { endStream: false });
  stream.on('error', () => undefined);
  return stream;
}

const grpcHeaders = (path: string) => ({
  ':method': 'POST',
  ':path': path,
  te: 'trailers',
  'content-type': 'application/grpc',
});

/** A message as gRPC sends it: a byte for compression, four for the length. */
function frame<Desc extends DescMessage>(schema: Desc, init: Parameters<typeof create<Desc>>[1]): Buffer {
  const bytes = toBinary(schema, create(schema, init));
  const framed = Buffer.alloc(5 + bytes.length);
  framed.writeUInt32BE(bytes.length, 1);
  framed.set(bytes, 5);
  return framed;
}
