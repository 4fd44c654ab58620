import type { PingAcknowledgement, StreamedPing } from '../../features/rooms/room-stream';

/*
 * The two messages that nearly all of a stream consists of, read and written without going through their descriptors: it is a
 * tenth of what a ping costs. Whatever is not quite plain is null here, and left to protobuf-es; a test compares the two.
 * The bytes: https://protobuf.dev/programming-guides/encoding/
 */

const [varint, text] = [0, 2];
const tag = (field: number, wireType: number): number => (field << 3) | wireType;

const requestPing = tag(2, text);
const pingSequence = tag(1, varint);
const pingStatus = tag(2, text);
const pingRunningMatches = tag(3, varint);

const responseAck = tag(1, text);
const ackSequence = tag(1, varint);
const ackSuccess = tag(2, varint);
const ackStatus = tag(4, text);
const ackDraining = tag(5, varint);
const ackOpenAllocations = tag(6, varint);

/** What a room may say of itself; any other word is not plain. */
const statuses = new Map(['ready', 'occupied', 'terminating', 'terminated'].map((word) => [word, word]));
/** Numbers of a byte more are not plain: so much is exact in a number. */
const longestVarint = 7;
const longestMessage = 127;

/** A `ConnectRequest` that is a ping without metadata, fields in any order; null for everything else. */
export function readPlainPing(bytes: Buffer): StreamedPing | null {
  // A message this short has a length of one byte.
  if (bytes.length < 2 || bytes.length > longestMessage || bytes[0] !== requestPing || bytes[1] !== bytes.length - 2) {
    return null;
  }
  const ping: StreamedPing = { sequence: 0n, status: '', runningMatches: 0, metadata: null };
  let at = 2;
  /** NaN for what is not plain. */
  const readNumber = (): number => {
    let value = 0;
    for (let digit = 0, weight = 1; digit < longestVarint && at < bytes.length; digit++, weight *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * weight;
      if (byte < 0x80) return value;
    }
    return Number.NaN;
  };
  while (at < bytes.length) {
    switch (bytes[at++]!) {
      case pingSequence: {
        const sequence = readNumber();
        if (Number.isNaN(sequence)) return null;
        ping.sequence = BigInt(sequence);
        break;
      }
      case pingStatus: {
        const length = bytes[at++] ?? 0;
        const word = statuses.get(bytes.toString('latin1', at, at + length));
        if (word === undefined) return null;
        ping.status = word;
        at += length;
        break;
      }
      case pingRunningMatches: {
        ping.runningMatches = readNumber();
        if (Number.isNaN(ping.runningMatches)) return null;
        break;
      }
      default:
        return null;
    }
  }
  return ping.status === '' ? null : ping;
}

/** The `ConnectResponse` for a ping that was stored; null for one that was not. */
export function writePlainAck(ack: PingAcknowledgement): Buffer | null {
  const { sequence, success, status, draining, openAllocations } = ack;
  if (!success || sequence > Number.MAX_SAFE_INTEGER || openAllocations < 0) return null;
  const bytes = Buffer.allocUnsafe(longestMessage);
  let at = 2;
  const writeNumber = (field: number, value: number): void => {
    if (value === 0) return;
    bytes[at++] = field;
    for (; value > 0x7f; value = Math.floor(value / 128)) bytes[at++] = (value % 128) | 0x80;
    bytes[at++] = value;
  };
  writeNumber(ackSequence, Number(sequence));
  writeNumber(ackSuccess, 1);
  bytes[at++] = ackStatus;
  bytes[at++] = status.length;
  at += bytes.write(status, at, 'latin1');
  writeNumber(ackDraining, draining ? 1 : 0);
  writeNumber(ackOpenAllocations, openAllocations);
  bytes[0] = responseAck;
  bytes[1] = at - 2;
  return bytes.subarray(0, at);
}
