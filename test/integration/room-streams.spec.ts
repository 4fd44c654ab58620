import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { randomUUID } from 'node:crypto';
import { connect as connectHttp2 } from 'node:http2';
import { RedisRoomAllocationStore } from '../../src/adapters/redis/redis-room-allocation-store';
import { methodPath } from '../../src/api/grpc/grpc-service-definition';
import { NoticeBoard } from '../../src/features/rooms/notice-board';
import { RoomStreamsService as RoomStreams } from '../../src/features/rooms/room-streams.service';
import type { SchedulerSettings } from '../../src/ports/scheduler-store';
import { RoomsService } from '../../src/proto/gen/api/v1/rooms_pb';
import { ConnectRequestSchema, RoomStreamsService } from '../../src/proto/gen/maestro/v1/room_streams_pb';
import type { PingAck } from '../../src/proto/gen/maestro/v1/room_streams_pb';
import { eventually } from '../support/eventually';
import { GrpcClient } from '../support/grpc-client';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';
import { RoomsApiInTest } from '../support/rooms-api-in-test';
import { TcpGate } from '../support/tcp-gate';

const { connect } = RoomStreamsService.method;
type StreamUnderTest = ReturnType<typeof opened>;
type Said = { status?: string; runningMatches?: bigint; metadata?: Record<string, string> };

const opened = (client: GrpcClient) => client.openStream(connect);
const settings = { maxMatches: 2 };
const settingsOf = (name: string): SchedulerSettings => ({
  name,
  game: 'chess',
  maxMatches: settings.maxMatches,
  activeVersion: 'v1.0.0',
  isAutoscaled: false,
  forwarders: [],
  placement: { affinity: '', toleration: '' },
  isTerminating: false,
});

/** `maestro.v1.RoomStreamsService` over a real socket, on a real Redis behind a gate that can break. */
describe('the stream of a room', () => {
  let under: RedisRoomStoreUnderTest;
  let gate: TcpGate & { port: number };
  let api: RoomsApiInTest;
  const cleanUps: (() => unknown)[] = [];

  beforeAll(async () => {
    under = await openRedisRoomStore();
  }, 60_000);
  afterAll(() => under?.close());

  beforeEach(async () => {
    await under.loseEverything();
    await under.store.markSynced();
    gate = await TcpGate.start(Number(new URL(under.url).port));
    cleanUps.push(() => gate.stop());
    api = await startApi();
  });
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  });

  async function startApi(options: Partial<Parameters<typeof RoomsApiInTest.start>[0]> = {}): Promise<RoomsApiInTest> {
    const redisUrl = new URL(under.url);
    redisUrl.port = String(gate.port);
    const started = await RoomsApiInTest.start({
      redisUrl: redisUrl.toString(),
      schedulers: { listSettings: async () => [settingsOf('arena')], findVersions: async () => [] },
      routes: new Map(),
      loops: [NoticeBoard, RoomStreams],
      ...options,
    });
    let closed: Promise<void> | undefined;
    const closeOnce = started.close;
    const close = (): Promise<void> => (closed ??= closeOnce());
    cleanUps.push(close);
    return Object.assign(started, { close });
  }

  async function startRoom(id = 'room-1'): Promise<void> {
    const room = { id, scheduler: 'arena', version: 'v1.0.0', validation: false };
    const address = { host: '10.0.0.1', ports: [{ name: 'clientPort', protocol: 'UDP', port: 20_002 }] };
    await under.store.createRoom(room);
    await under.store.applyInstance(
      { ...room, status: 'ready', description: '', address, createdAtMs: Date.now(), generation: 1 },
      settings,
      { adopt: false, authoritative: true },
    );
  }

  const open = (of: { client: GrpcClient } = api): StreamUnderTest => opened(of.client);

  function hello(room = 'room-1', of: { client: GrpcClient } = api): StreamUnderTest {
    const stream = open(of);
    stream.send({ message: { case: 'hello', value: { schedulerName: 'arena', roomName: room } } });
    return stream;
  }

  function ping(stream: StreamUnderTest, sequence: number, said: Said = {}): void {
    const value = { sequence: BigInt(sequence), status: 'ready', ...said };
    stream.send({ message: { case: 'ping', value } });
  }

  const acksOf = ({ received }: StreamUnderTest): PingAck[] =>
    received.flatMap(({ message }) => (message.case === 'ack' ? [message.value] : []));

  const acknowledged = (stream: StreamUnderTest, sequence: number): Promise<PingAck> =>
    eventually(() => {
      const ack = acksOf(stream).at(-1);
      expect(ack?.sequence).toBe(BigInt(sequence));
      return ack!;
    });

  /** A room whose notices this process hears: from the first one on. */
  async function connected(room = 'room-1', of: RoomsApiInTest = api): Promise<StreamUnderTest> {
    await startRoom(room);
    const stream = hello(room, of);
    ping(stream, 1);
    expect(await acknowledged(stream, 1)).toMatchObject({ success: true, status: 'ready' });
    await hears(room);
    return stream;
  }

  /** Until the subscription is there, what is sent is lost. */
  const hears = (room: string): Promise<void> =>
    eventually(async () => {
      const record = await under.redis.hget(`maestro:{p${await partition()}}:scheduler:arena:rooms`, room);
      const { listener } = JSON.parse(record!) as { listener: string };
      expect(await under.redis.publish(`maestro:notices:${listener}`, '{}')).toBe(1);
    });
  const partition = async (): Promise<string> => {
    const [key = ''] = await under.redis.keys('maestro:{p*}:scheduler:arena:rooms');
    return /\{p(\d+)\}/.exec(key)![1]!;
  };

  it('stores pings, and answers each with the room’s status', async () => {
    const stream = await connected();
    ping(stream, 2, { status: 'occupied', runningMatches: 2n, metadata: { map: 'harbour' } });
    expect(await acknowledged(stream, 2)).toMatchObject({
      success: true,
      reason: '',
      status: 'occupied',
      draining: false,
      openAllocations: 0,
    });
    expect(await under.store.getRoom('arena', 'room-1')).toMatchObject({ status: 'occupied', runningMatches: 2 });
    expect(await under.store.getMetadata('arena', 'room-1')).toEqual({ map: 'harbour' });
    ping(stream, 3);
    await acknowledged(stream, 3);
    expect(await under.store.getMetadata('arena', 'room-1')).toEqual({ map: 'harbour' });
  });

  it.each([
    ['of a room that is not known', 'nobody', {}, 'unknown_room'],
    ['with a status that is none', 'room-1', { status: 'busy' }, expect.stringContaining('"busy"')],
    ['with less than no matches', 'room-1', { runningMatches: -1n }, expect.stringContaining('-1')],
    [
      'with too much metadata',
      'room-1',
      { metadata: { m: 'x'.repeat(2_000) } },
      'metadata must be at most 2000 bytes of JSON, got 2008',
    ],
  ] as const)('says why a ping %s is not stored, and goes on', async (_, room, said, reason) => {
    await startRoom();
    const stream = hello(room);
    ping(stream, 1, said);
    expect(await acknowledged(stream, 1)).toMatchObject({ success: false, reason, status: '' });
    await startRoom(room);
    ping(stream, 2);
    expect(await acknowledged(stream, 2)).toMatchObject({ success: true });
  });

  it('says so when the scheduler is not known', async () => {
    const stream = open();
    stream.send({ message: { case: 'hello', value: { schedulerName: 'nowhere', roomName: 'room-1' } } });
    ping(stream, 1);
    expect(await acknowledged(stream, 1)).toMatchObject({ success: false, reason: 'unknown_scheduler' });
  });

  it.each([
    [
      'does not begin with hello',
      [{ case: 'ping', value: { status: 'ready' } }],
      'the first message of a stream must be hello',
    ],
    [
      'says hello twice',
      [...Array(2)].map(() => ({ case: 'hello', value: { schedulerName: 'a', roomName: 'b' } })),
      'hello is said once, as the first message of the stream',
    ],
    [
      'says no scheduler',
      [{ case: 'hello', value: { roomName: 'b' } }],
      'hello must have a scheduler_name and a room_name',
    ],
    [
      'says no room',
      [{ case: 'hello', value: { schedulerName: 'a' } }],
      'hello must have a scheduler_name and a room_name',
    ],
    [
      'says a name with a NUL',
      [{ case: 'hello', value: { schedulerName: 'a', roomName: 'b\0' } }],
      expect.stringContaining('roomName'),
    ],
    ['says nothing', [{ case: undefined }], 'a message must be hello or ping'],
  ] as const)('is refused when it %s', async (_, messages, details) => {
    const stream = open();
    for (const message of messages) stream.send({ message } as Parameters<typeof stream.send>[0]);
    expect(await stream.ended).toMatchObject({ code: status.INVALID_ARGUMENT, details });
  });

  it('stores a flood of pings as few, the last one among them', async () => {
    const stream = await connected();
    const stored = jest.fn();
    const monitor = await under.redis.monitor();
    cleanUps.push(() => monitor.disconnect());
    monitor.on('monitor', (_time: string, [command]: string[]) => {
      if (/^evalsha$/i.test(command ?? '')) stored();
    });
    for (let sequence = 2; sequence < 500; sequence++) ping(stream, sequence, { metadata: { last: String(sequence) } });
    ping(stream, 500, { status: 'occupied', runningMatches: 2n });
    await acknowledged(stream, 500);
    expect(await under.store.getRoom('arena', 'room-1')).toMatchObject({ status: 'occupied', runningMatches: 2 });
    expect(await under.store.getMetadata('arena', 'room-1')).toEqual({ last: '499' });
    const acks = acksOf(stream);
    expect(acks.length).toBeLessThan(250);
    expect(acks.map(({ sequence }) => sequence)).toEqual(
      acks.map(({ sequence }) => sequence).sort((a, b) => Number(a - b)),
    );
    expect(stored.mock.calls.length).toBeLessThan(250);
  });

  it('tells what happens to the room, also when another process does it', async () => {
    const other = await startApi();
    const [here, there] = [await connected('room-1'), await connected('room-2', other)];
    const allocations = new RedisRoomAllocationStore(under.redis);
    await allocations.allocate({
      scheduler: 'arena',
      id: randomUUID(),
      idempotencyKey: null,
      fingerprint: '',
      maxMatches: 2,
      activeVersion: 'v1.0.0',
      versions: null,
      metadata: {},
      strategy: 'spread',
      ttlMs: 60_000,
      pingTimeoutMs: 60_000,
      adoptionHoldMs: 0,
    });
    const allocated = await eventually(() => {
      const all = [here, there].flatMap(({ received }) =>
        received.filter(({ message }) => message.case === 'allocated'),
      );
      expect(all).toHaveLength(1);
      return all[0]!.message;
    });
    expect(allocated.value).toMatchObject({ allocationId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string });
    const [chosen] = (await under.store.readFleet('arena')).rooms.filter(({ allocations: all }) => all.length > 0);
    const stream = chosen!.id === 'room-1' ? here : there;
    ping(stream, 2);
    expect(await acknowledged(stream, 2)).toMatchObject({ openAllocations: 1 });

    for (const [id, room] of [
      ['room-1', here],
      ['room-2', there],
    ] as const) {
      await under.store.drainRooms('arena', [id], 'operator');
      await eventually(() => expect(room.received.map(({ message }) => message.case)).toContain('drain'));
      ping(room, 3);
      expect(await acknowledged(room, 3)).toMatchObject({ success: true, draining: true });
      await under.store.releaseRooms('arena', [id], 'operator');
      await eventually(() => expect(room.received.at(-1)?.message.case).toBe('drainCanceled'));
      ping(room, 4);
      expect(await acknowledged(room, 4)).toMatchObject({ success: true, draining: false });
      await under.store.terminateRooms('arena', [id], { reason: 'scale_down', byName: true });
      await eventually(() =>
        expect(room.received.at(-1)?.message).toMatchObject({ case: 'shutdown', value: { reason: 'scale_down' } }),
      );
      ping(room, 5);
      expect(await acknowledged(room, 5)).toMatchObject({ success: true, status: 'terminating' });
    }
  });

  it('is told of notices no more once the room pings by a call', async () => {
    const stream = await connected();
    await api.client.call(RoomsService.method.updateRoomWithPing, {
      schedulerName: 'arena',
      roomName: 'room-1',
      status: 'ready',
    });
    await under.store.drainRooms('arena', ['room-1'], 'operator');
    ping(stream, 2);
    // What is not told is repeated.
    expect(await acknowledged(stream, 2)).toMatchObject({ draining: true });
    expect(stream.received.map(({ message }) => message.case)).not.toContain('drain');
  });

  it('ends when a newer stream of the room comes', async () => {
    const older = await connected();
    const newer = hello();
    expect(await older.ended).toMatchObject({
      code: status.ABORTED,
      details: 'a newer stream of this room has taken the place of this one',
    });
    ping(newer, 2);
    expect(await acknowledged(newer, 2)).toMatchObject({ success: true });
  });

  it('ends well when the room has said all it wants to', async () => {
    const stream = await connected();
    ping(stream, 2, { status: 'terminated' });
    stream.halfClose();
    expect(await stream.ended).toMatchObject({ code: status.OK });
    expect(acksOf(stream).at(-1)).toMatchObject({ sequence: 2n, status: 'terminated' });
  });

  it('ends when the room is silent for too long', async () => {
    const impatient = await startApi({ settings: { streamIdleTimeoutMs: 300 } });
    const [mute, talking] = [open(impatient), hello('room-1', impatient)];
    let sequence = 0;
    const timer = setInterval(() => ping(talking, ++sequence), 50);
    expect(await mute.ended).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
      details: 'the room sent nothing for 0.3 seconds',
    });
    expect(sequence).toBeGreaterThan(1);
    clearInterval(timer);
    expect((await talking.ended).code).toBe(status.DEADLINE_EXCEEDED);
  });

  it('ends as unavailable when the process stops, so that the room connects elsewhere', async () => {
    await connected();
    const client = new GrpcClient(api.grpcPort);
    cleanUps.push(() => client.close());
    const stream = hello('room-1', { client });
    ping(stream, 2);
    await acknowledged(stream, 2);
    const stopped = api.close();
    expect(await stream.ended).toMatchObject({
      code: status.UNAVAILABLE,
      details: 'this process stops; call again',
    });
    await stopped;
    const other = await startApi();
    const again = hello('room-1', other);
    ping(again, 2);
    expect(await acknowledged(again, 2)).toMatchObject({ success: true });
  });

  it('outlives an outage of Redis: pings fail, and then are stored again', async () => {
    const stream = await connected();
    gate.isMute = true;
    for (const socket of gate.open) socket.destroy();
    ping(stream, 2, { metadata: { map: 'harbour' } });
    expect(await acknowledged(stream, 2)).toMatchObject({ success: false, reason: 'store_error' });
    gate.isMute = false;
    for (const socket of gate.open) socket.destroy();
    let sequence = 2;
    await eventually(
      async () => {
        ping(stream, ++sequence);
        expect(await acknowledged(stream, sequence)).toMatchObject({ success: true });
      },
      { timeoutMs: 20_000 },
    );
    // Metadata that was not stored is not lost.
    expect(await under.store.getMetadata('arena', 'room-1')).toEqual({ map: 'harbour' });
    await hears('room-1');
    await under.store.drainRooms('arena', ['room-1'], 'operator');
    await eventually(() => expect(stream.received.map(({ message }) => message.case)).toContain('drain'));
  });

  describe('of a peer that is gone', () => {
    const openStreams = (of: RoomsApiInTest) =>
      of.metric('maestro_grpc_server_streams_open{service="maestro.v1.RoomStreamsService",method="Connect"}');
    const ended = (of: RoomsApiInTest, code: string) =>
      of.metric(
        `maestro_grpc_server_streams_ended_total{service="maestro.v1.RoomStreamsService",method="Connect",code="${code}"}`,
      );

    it('is cleaned up when it breaks off', async () => {
      const stream = await connected();
      expect(await openStreams(api)).toBe(1);
      stream.cancel();
      await eventually(async () => expect(await openStreams(api)).toBe(0));
      expect(await ended(api, 'CANCELLED')).toBe(1);
    });

    it('is cleaned up when its host vanished', async () => {
      const watchful = await startApi({ grpc: { keepAlive: { timeMs: 100, timeoutMs: 100 } } });
      const path = await TcpGate.start(watchful.grpcPort);
      const client = new GrpcClient(path.port);
      cleanUps.push(
        () => client.close(),
        () => path.stop(),
      );
      await startRoom();
      const stream = hello('room-1', { client });
      ping(stream, 1);
      await acknowledged(stream, 1);
      expect(await openStreams(watchful)).toBe(1);
      path.freeze();
      await eventually(async () => expect(await openStreams(watchful)).toBe(0));
    });
  });

  it('counts its messages', async () => {
    const stream = await connected();
    ping(stream, 2);
    await acknowledged(stream, 2);
    expect([await counted('received'), await counted('sent')]).toEqual([3, 2]);
  });

  it('is ended by a message that is too large, as a call is', async () => {
    const stream = hello();
    ping(stream, 1, { metadata: { m: 'x'.repeat(1024 * 1024) } });
    expect((await stream.ended).code).toBe(status.RESOURCE_EXHAUSTED);
  });

  it('reads no more of a room that does not read what it is told', async () => {
    const strict = await startApi({ settings: { maxMetadataBytes: 10 } });
    const session = connectHttp2(`http://127.0.0.1:${strict.grpcPort}`);
    cleanUps.push(() => session.destroy());
    const stream = session.request({
      ':method': 'POST',
      ':path': methodPath(connect),
      te: 'trailers',
      'content-type': 'application/grpc',
    });
    stream.pause();
    const message = (value: MessageInitShape<typeof ConnectRequestSchema>['message']): Buffer => {
      const bytes = toBinary(ConnectRequestSchema, create(ConnectRequestSchema, { message: value }));
      return Buffer.concat([Buffer.from([0, 0, 0, 0, bytes.length]), bytes]);
    };
    const refused = message({ case: 'ping', value: { status: 'ready', metadata: { map: 'harbour' } } });
    const sent = 20_000;
    stream.write(message({ case: 'hello', value: { schedulerName: 'arena', roomName: 'room-1' } }));
    stream.write(Buffer.concat(Array<Buffer>(sent).fill(refused)));
    const read = async (): Promise<number> => (await counted('received', strict)) ?? 0;
    let before = 0;
    await eventually(
      async () => {
        const now = await read();
        const isStill = now > 100 && now === before;
        before = now;
        expect(isStill).toBe(true);
      },
      { everyMs: 200, timeoutMs: 20_000 },
    );
    expect(before).toBeLessThan(sent / 2);
    stream.resume();
    await eventually(async () => expect(await read()).toBe(sent + 1), { timeoutMs: 20_000 });
  });

  const counted = (direction: string, of = api) =>
    of.metric(
      `maestro_grpc_server_stream_messages_total{service="maestro.v1.RoomStreamsService",method="Connect",direction="${direction}"}`,
    );
});
