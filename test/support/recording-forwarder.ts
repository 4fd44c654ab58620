import { Metadata, Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** What was called, as it came over the wire. */
export interface RecordedCall {
  /** `/package.Service/Method`. */
  path: string;
  bytes: Buffer;
  /** The caller's end of the connection. */
  peer: string;
  /** What the caller still wanted to wait, as it said. Milliseconds. */
  timeoutMs: number;
}

export type ForwarderConduct =
  | { code: number; message?: string }
  /** A gRPC status instead of an answer. */
  | { status: number; details: string }
  | 'never answers';

/** v10's contract, by hand, so that a mistake in our own definition cannot hide itself. */
const paths = ['SendRoomInfo', 'SendRoomStatus', 'SendRoomPing', 'SendRoomResync', 'SendRoomEvent', 'SendPlayerEvent'];

/** A game's backend on a real socket that remembers what it was told, and answers what a test says. */
export class RecordingForwarder {
  readonly calls: RecordedCall[] = [];
  conduct: ForwarderConduct = { code: 200 };
  private readonly server = new Server();

  private constructor() {
    for (const method of paths) {
      const path = `/eventforwarder.GRPCForwarder/${method}`;
      this.server.register(
        path,
        (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => this.answer(path, call, callback),
        (answer: Buffer) => answer,
        (bytes: Buffer) => bytes,
        'unary',
      );
    }
  }

  /** On any free port of 127.0.0.1, unless others are given. */
  static async start(port = 0, host = '127.0.0.1'): Promise<RecordingForwarder & { port: number; address: string }> {
    const forwarder = new RecordingForwarder();
    const bound = await new Promise<number>((resolve, reject) => {
      forwarder.server.bindAsync(`${host}:${port}`, ServerCredentials.createInsecure(), (error, to) =>
        error === null ? resolve(to) : reject(error),
      );
    });
    return Object.assign(forwarder, { port: bound, address: `${host}:${bound}` });
  }

  /** Ends at once, connections included. */
  async stop(): Promise<void> {
    this.server.forceShutdown();
  }

  private answer(path: string, call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>): void {
    const deadline = call.getDeadline();
    const timeoutMs = (deadline instanceof Date ? deadline.getTime() : deadline) - Date.now();
    this.calls.push({ path, bytes: call.request, peer: call.getPeer(), timeoutMs });
    if (this.conduct === 'never answers') return;
    if ('status' in this.conduct) {
      callback({ code: this.conduct.status, details: this.conduct.details, metadata: new Metadata() });
      return;
    }
    const writer = new BinaryWriter();
    if (this.conduct.code !== 0) writer.tag(1, WireType.Varint).int32(this.conduct.code);
    if (this.conduct.message) writer.tag(2, WireType.LengthDelimited).string(this.conduct.message);
    callback(null, Buffer.from(writer.finish()));
  }
}

/** A message as its field numbers say: numbers, texts, and what `shape` names as messages or maps. Nothing of our definition. */
export interface WireShape {
  [field: number]: 'text' | 'number' | 'map' | WireShape;
}
export interface WireMessage {
  [field: number]: string | number | Record<string, string> | WireMessage;
}

/** @throws Error for a field that the shape does not have, or one that comes twice and is no map. */
export function readWire(bytes: Uint8Array, shape: WireShape): WireMessage {
  const message: WireMessage = {};
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field] = reader.tag();
    const kind = shape[field];
    if (kind === undefined) throw new Error(`unexpected field ${field}`);
    if (kind === 'map') {
      const { 1: key = '', 2: value = '' } = readWire(reader.bytes(), { 1: 'text', 2: 'text' }) as Record<
        1 | 2,
        string
      >;
      message[field] = { ...(message[field] as Record<string, string> | undefined), [key]: value };
      continue;
    }
    if (field in message) throw new Error(`field ${field} comes twice`);
    if (kind === 'text') message[field] = reader.string();
    else if (kind === 'number') message[field] = reader.int32();
    else message[field] = readWire(reader.bytes(), kind);
  }
  return message;
}

const roomShape: WireShape = { 1: 'text', 2: 'text', 4: 'text', 5: 'number', 6: 'map', 7: 'text' };

/** The shapes of v10's messages, by the method that takes them. */
export const wireShapes: Record<string, WireShape> = {
  SendRoomStatus: { 1: roomShape, 2: 'number' },
  SendRoomResync: { 1: roomShape, 2: 'number' },
  SendRoomEvent: { 1: roomShape, 2: 'text', 3: 'map' },
  SendPlayerEvent: { 1: 'text', 2: roomShape, 3: 'number', 4: 'map' },
};
