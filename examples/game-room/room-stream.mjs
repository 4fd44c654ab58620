// One gRPC stream to Maestro (maestro.v1.RoomStreamsService): pings go up, acknowledgements and notices come down.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Where `maestro/v1/room_streams.proto` lies: copy it beside this file, or have Maestro's sources around. */
const protoDirectories = ['.', '../../src/proto'].map((path) => fileURLToPath(new URL(path, import.meta.url)));

/** What streams are made with. @throws when @grpc/grpc-js, @grpc/proto-loader or the .proto file is not here. */
export async function loadRoomStreams() {
  const [grpc, { loadSync }] = (await Promise.all([import('@grpc/grpc-js'), import('@grpc/proto-loader')])).map(
    (module) => module.default ?? module,
  );
  const file = 'maestro/v1/room_streams.proto';
  const includeDirs = protoDirectories.filter((directory) => existsSync(`${directory}/${file}`));
  if (includeDirs.length === 0) throw new Error(`${file} was not found`);
  // Field names as in the file; 64-bit numbers, which are small here, as numbers.
  const definition = loadSync(file, { includeDirs, keepCase: true, longs: Number, defaults: true, oneofs: true });
  const { RoomStreamsService } = grpc.loadPackageDefinition(definition).maestro.v1;
  // A connection of its own for each stream, so that one that failed is not waited for.
  const options = { 'grpc.use_local_subchannel_pool': 1 };
  return (address) => new RoomStreamsService(address, grpc.credentials.createInsecure(), options);
}

/**
 * Opens a stream and says whose it is. Whether that worked shows the first ping. `onNotice({drain | drain_canceled | shutdown |
 * allocated})` is told what Maestro says by itself, `onEnd(reason)` once, when the stream is over.
 */
export function openRoomStream({ makeClient, address, scheduler, room, onNotice, onEnd }) {
  const client = makeClient(address);
  const call = client.Connect();
  /** What waits for an acknowledgement, by the ping's number. */
  const waiting = new Map();
  let lastSequence = 0;
  let toldMetadata;
  let hasEnded = false;

  const end = (reason) => {
    if (hasEnded) return;
    hasEnded = true;
    call.cancel();
    client.close();
    for (const settle of waiting.values()) settle({ broken: reason });
    onEnd(reason);
  };
  call.on('error', (error) => end(error.message));
  call.on('end', () => end('it was closed'));
  call.on('data', (message) => {
    if (message.message !== 'ack') return onNotice(message);
    // An acknowledgement stands for all pings up to its own.
    for (const [sequence, settle] of waiting) if (sequence <= message.ack.sequence) settle({ ack: message.ack });
  });
  call.write({ hello: { scheduler_name: scheduler, room_name: room } });

  return {
    /** Resolves to `{ack}`, or to `{broken}`, the reason why the stream is over. Never throws. */
    async ping({ status, runningMatches, metadata }, timeoutMs) {
      if (hasEnded) return { broken: 'it has ended' };
      const sequence = ++lastSequence;
      const metadataText = JSON.stringify(metadata);
      const ping = { sequence, status, running_matches: runningMatches };
      // Maestro remembers metadata for as long as the stream lasts: only changes are sent.
      if (metadataText !== toldMetadata) ping.metadata = struct(metadata);
      toldMetadata = metadataText;
      const answered = new Promise((resolve) => waiting.set(sequence, resolve));
      const deadline = setTimeout(() => end(`no answer within ${timeoutMs} ms`), timeoutMs);
      call.write({ ping });
      const answer = await answered;
      clearTimeout(deadline);
      waiting.delete(sequence);
      return answer;
    },
    /** Says that nothing more comes. */
    close: () => call.end(),
  };
}

/** A flat object as google.protobuf.Struct: numbers, booleans and text. */
function struct(values) {
  const field = { number: 'numberValue', boolean: 'boolValue', string: 'stringValue' };
  const fields = Object.entries(values).map(([name, value]) => [name, { [field[typeof value]]: value }]);
  return { fields: Object.fromEntries(fields) };
}
