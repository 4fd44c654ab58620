import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { roomStatuses } from '../../domain/room/room';
import {
  ConnectRequestSchema,
  ConnectResponseSchema,
  PingAckSchema,
  RoomPingSchema,
} from '../../proto/gen/maestro/v1/room_streams_pb';
import { readPlainPing, writePlainAck } from './plain-pings';

const statuses = ['ready', 'occupied', 'terminating', 'terminated'];
const plain = { sequence: 17n, status: 'occupied', runningMatches: 2n };
type PingInit = Parameters<typeof create<typeof RoomPingSchema>>[1];

const encode = (value: PingInit): Buffer =>
  Buffer.from(
    toBinary(ConnectRequestSchema, create(ConnectRequestSchema, { message: { case: 'ping', value: value ?? {} } })),
  );

describe('a plain ping', () => {
  it('is read as protobuf-es reads it', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 2n ** 49n - 1n }),
        fc.constantFrom(...statuses),
        fc.bigInt({ min: 0n, max: 2n ** 40n }),
        (sequence, status, runningMatches) => {
          expect(readPlainPing(encode({ sequence, status, runningMatches }))).toEqual({
            sequence,
            status,
            runningMatches: Number(runningMatches),
            metadata: null,
          });
        },
      ),
    );
  });

  it.each<[string, Uint8Array]>([
    ['metadata', encode({ ...plain, metadata: {} })],
    ['another status', encode({ ...plain, status: 'Ready' })],
    ['a status that is too long for its message', new Uint8Array([18, 4, 18, 9, 114, 101])],
    ['no status', encode({ ...plain, status: '' })],
    ['a number that goes on after the end', new Uint8Array([18, 2, 8, 0x80])],
    ['less than no matches', encode({ ...plain, runningMatches: -1n })],
    ['a sequence that no number holds', encode({ ...plain, sequence: 2n ** 53n + 1n })],
    ['a field that is not known', new Uint8Array([...encode(plain), 0xf8, 0x7f, 1])],
    ['a wrong length', encode(plain).subarray(0, -1)],
    ['nothing', new Uint8Array()],
    [
      'hello',
      toBinary(
        ConnectRequestSchema,
        create(ConnectRequestSchema, { message: { case: 'hello', value: { schedulerName: 'arena', roomName: 'r' } } }),
      ),
    ],
  ])('is not what has %s', (_, bytes) => {
    expect(readPlainPing(Buffer.from(bytes))).toBeNull();
  });

  it('is never what protobuf-es refuses or reads otherwise', () => {
    const anyBytes = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      // Nearly right: a byte of a good one is another.
      fc
        .tuple(fc.nat(encode(plain).length - 1), fc.nat(255))
        .map(([at, byte]) => new Uint8Array(encode(plain)).map((old, index) => (index === at ? byte : old))),
    );
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        const read = readPlainPing(Buffer.from(bytes));
        if (read === null) return;
        const { message } = fromBinary(ConnectRequestSchema, bytes);
        expect(message.case).toBe('ping');
        const value = message.value as ReturnType<typeof create<typeof RoomPingSchema>>;
        expect(read).toEqual({
          sequence: value.sequence,
          status: value.status,
          runningMatches: Number(value.runningMatches),
          metadata: value.metadata ?? null,
        });
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('a plain acknowledgement', () => {
  it('is what protobuf-es would write', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: BigInt(Number.MAX_SAFE_INTEGER) }),
        fc.constantFrom(...roomStatuses),
        fc.boolean(),
        fc.nat(40),
        (sequence, status, draining, openAllocations) => {
          const ack = { sequence, success: true, reason: '', status, draining, openAllocations };
          const value = create(PingAckSchema, ack);
          const expected = toBinary(
            ConnectResponseSchema,
            create(ConnectResponseSchema, { message: { case: 'ack', value } }),
          );
          expect(writePlainAck(ack)).toEqual(Buffer.from(expected));
        },
      ),
    );
  });

  it('is not what tells of a failure, or has a sequence that no number holds', () => {
    const ack = { sequence: 1n, success: true, reason: '', status: 'ready', draining: false, openAllocations: 0 };
    expect(writePlainAck({ ...ack, success: false, reason: 'unknown_room', status: '' })).toBeNull();
    expect(writePlainAck({ ...ack, sequence: 2n ** 64n - 1n })).toBeNull();
  });
});
