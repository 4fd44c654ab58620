import { fromJson } from '@bufbuild/protobuf';
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import type { ServiceError } from '@grpc/grpc-js';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { AddressInfo } from 'node:net';
import { Registry } from 'prom-client';
import { RedisRoomAllocationStore } from '../../src/adapters/redis/redis-room-allocation-store';
import { GrpcEventForwarder } from '../../src/adapters/grpc-forwarder/grpc-event-forwarder';
import { PrometheusMetrics } from '../../src/adapters/prometheus/prometheus-metrics';
import { startGrpcServer, type RunningGrpcServer } from '../../src/api/grpc/grpc-server';
import { methodPath } from '../../src/api/grpc/grpc-service-definition';
import type { UnaryMethod } from '../../src/api/http/call-rpc';
import { createHttpApplication } from '../../src/api/http/http-application';
import { encodeMessage } from '../../src/api/http/protojson';
import { RoomsApiModule } from '../../src/api/rooms/rooms-api.module';
import { roomsGrpcServices } from '../../src/api/rooms/rooms-grpc-services';
import { DomainError } from '../../src/domain/errors';
import type { Instance } from '../../src/domain/room/room';
import type { Forwarder } from '../../src/domain/scheduler/scheduler';
import { EventForwarder } from '../../src/ports/event-forwarder';
import { HealthRecords } from '../../src/ports/health-records';
import { Logger } from '../../src/ports/logger';
import { Metrics } from '../../src/ports/metrics';
import { Notices } from '../../src/ports/notices';
import { RoomAllocationStore } from '../../src/ports/room-allocation-store';
import { RoomStore, type Ping } from '../../src/ports/room-store';
import { SchedulerStore, type SchedulerSettings } from '../../src/ports/scheduler-store';
import { WakeUps } from '../../src/ports/wake-ups';
import { RoomsService } from '../../src/proto/gen/api/v1/rooms_pb';
import { FakeHealthRecords } from '../support/fake-health-records';
import { GrpcClient } from '../support/grpc-client';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';
import { RecordedLog } from '../support/recorded-log';
import { RecordedWakeUps } from '../support/recorded-wake-ups';
import { readWire, RecordingForwarder, wireShapes } from '../support/recording-forwarder';
import { roomsApiSettings, roomsFeatures } from '../support/rooms-api-in-test';
import { sendHttp } from '../support/send-http';

const rpc = RoomsService.method;
const loopback = '127.0.0.1';
const { maxMetadataBytes } = roomsApiSettings;

const ports = [
  { name: 'query', protocol: 'TCP', port: 20_001 },
  { name: 'clientPort', protocol: 'UDP', port: 20_002 },
];
const portsText = JSON.stringify(ports.map(({ name, port, protocol }) => ({ name, port, protocol })));

/** Verb and last part of the path, `rooms.md` 1.2. */
const routes = new Map<UnaryMethod, [verb: string, end: string]>([
  [rpc.updateRoomWithPing, ['PUT', '/ping']],
  [rpc.forwardRoomEvent, ['POST', '/roomevent']],
  [rpc.forwardPlayerEvent, ['POST', '/playerevent']],
  [rpc.updateRoomStatus, ['PUT', '/status']],
  [rpc.getRoomAddress, ['GET', '/address']],
  [rpc.allocateRoom, ['POST', 'allocate']],
]);

type Outcome = { json: unknown } | { code: number; message: unknown };

/** What is so before the call; the rooms are those of the scheduler `arena` unless they say otherwise. */
interface RoomFacts {
  scheduler?: string;
  room?: string;
  says?: Ping['status'];
  instance?: Partial<Instance>;
}

interface RpcCase {
  method: UnaryMethod;
  message: JsonObject;
  rooms?: readonly RoomFacts[];
  expected: Outcome;
  /** What the game's backend was told: methods with messages by field numbers. */
  told?: readonly unknown[];
  /** What the store says of `room-1` of the scheduler that was called. */
  stored?: object | null;
}

const success = { json: { success: true } };
const failure = { json: { success: false } };
const sent = { json: { success: true, message: '' } };
const notSent = (message: unknown): Outcome => ({ json: { success: false, message } });
const isSuccess = (outcome: Outcome): boolean =>
  'json' in outcome && (outcome.json as { success?: boolean }).success !== false;
const refused = (code: number, message: unknown): Outcome => ({ code, message });
const toRoom = (changes: JsonObject = {}, schedulerName = 'arena', roomName = 'room-1'): JsonObject => ({
  schedulerName,
  roomName,
  ...changes,
});
const aRoom: RoomFacts = { says: 'ready' };
const validationRoom: RoomFacts = { instance: { validation: true }, says: 'ready' };
const noAddress: RoomFacts = { instance: { status: 'pending', address: null } };

/** `rooms.md` 1.4-1.7, row by row, and 8.2-8.6 where a caller sees it. */
const tables: Record<string, Record<string, RpcCase>> = {
  'a ping (1.4)': {
    'of a ready room is processed': {
      method: rpc.updateRoomWithPing,
      message: toRoom({ status: 'ready', timestamp: '12312312313' }),
      rooms: [{}],
      expected: success,
      stored: { status: 'ready', runningMatches: 0 },
    },
    'that says occupied without matches counts as one': {
      method: rpc.updateRoomWithPing,
      message: toRoom({ status: 'occupied', timestamp: 12312312313 }),
      rooms: [aRoom],
      expected: success,
      stored: { status: 'occupied', runningMatches: 1 },
    },
    'of a room for several matches makes it active': {
      method: rpc.updateRoomWithPing,
      message: toRoom({ status: 'ready', runningMatches: '2' }, 'many'),
      rooms: [{ ...aRoom, scheduler: 'many' }],
      expected: success,
      stored: { status: 'active', runningMatches: 2 },
    },
    'says terminated at any time': {
      method: rpc.updateRoomWithPing,
      message: toRoom({ status: 'terminated', metadata: { o: { a: 1 }, l: [1], b: false, n: 123, s: 'x', z: null } }),
      rooms: [aRoom],
      expected: success,
      stored: { status: 'terminated' },
    },
    'after the end is not taken': {
      method: rpc.updateRoomWithPing,
      message: toRoom({ status: 'ready' }),
      rooms: [{ says: 'terminated' }],
      expected: failure,
      stored: { status: 'terminated' },
    },
    'of an unknown room is not taken': {
      method: rpc.updateRoomWithPing,
      message: toRoom({ status: 'ready' }),
      expected: failure,
      stored: null,
    },
    'of an unknown scheduler is not taken': {
      method: rpc.updateRoomWithPing,
      message: toRoom({ status: 'ready' }, 'nowhere'),
      expected: failure,
    },
    'of an unknown status is refused': {
      method: rpc.updateRoomWithPing,
      message: toRoom({ status: 'invalid' }),
      rooms: [aRoom],
      expected: refused(3, expect.stringContaining('"invalid"')),
      stored: { status: 'ready' },
    },
    'in other letters is refused': {
      method: rpc.updateRoomWithPing,
      message: toRoom({ status: 'Ready' }),
      expected: refused(3, expect.stringContaining('"Ready"')),
    },
    'without a status is refused': {
      method: rpc.updateRoomWithPing,
      message: toRoom(),
      expected: refused(3, expect.stringContaining('""')),
    },
    'with less than no matches is refused': {
      method: rpc.updateRoomWithPing,
      message: toRoom({ status: 'occupied', runningMatches: -1 }),
      rooms: [aRoom],
      expected: refused(3, expect.stringContaining('-1')),
      stored: { status: 'ready' },
    },
    'with too much metadata is refused': {
      method: rpc.updateRoomWithPing,
      message: toRoom({ status: 'ready', metadata: { m: 'x'.repeat(maxMetadataBytes) } }),
      rooms: [{}],
      expected: refused(3, expect.stringMatching(/"metadata": must be at most 2000 bytes of JSON, got 2008$/)),
      stored: { status: 'unready' },
    },
    'with a NUL character in a name is refused': {
      method: rpc.updateRoomWithPing,
      message: toRoom({ status: 'ready' }, 'a\0b'),
      expected: refused(3, 'malformed request: field "schedulerName": text must not contain a NUL character'),
    },
  },
  'an event of a room (1.5)': {
    'reaches the backend, with what Maestro adds': {
      method: rpc.forwardRoomEvent,
      message: toRoom({ event: 'roundStarts', metadata: { eventType: 'mine', map: 'harbour' }, timestamp: '1' }),
      rooms: [aRoom],
      expected: sent,
      told: [
        [
          'SendRoomEvent',
          {
            1: {
              1: 'chess',
              2: 'room-1',
              4: '10.0.0.1',
              5: 20_002,
              6: {
                eventType: 'roomEvent',
                roomEvent: 'roundStarts',
                map: 'harbour',
                ports: portsText,
                roomType: 'green',
              },
            },
            2: 'roundStarts',
          },
        ],
      ],
      stored: { status: 'ready' },
    },
    'of an unknown scheduler fails': {
      method: rpc.forwardRoomEvent,
      message: toRoom({ event: 'x' }, 'nowhere'),
      expected: notSent('there is no scheduler "nowhere"'),
    },
    'of a scheduler without forwarders succeeds, whatever the room': {
      method: rpc.forwardRoomEvent,
      message: toRoom({ event: 'x' }, 'quiet'),
      expected: sent,
    },
    'of a scheduler whose forwarders are all disabled succeeds': {
      method: rpc.forwardRoomEvent,
      message: toRoom({ event: 'x' }, 'off'),
      expected: sent,
    },
    'of an unknown room fails': {
      method: rpc.forwardRoomEvent,
      message: toRoom({ event: 'x' }),
      expected: notSent('there is no room "room-1"'),
    },
    'of an unknown room that says its end is told': {
      method: rpc.forwardRoomEvent,
      message: toRoom({ event: 'terminated' }),
      expected: sent,
      told: [['SendRoomEvent', expect.objectContaining({ 2: 'terminated' })]],
    },
    'of a validation room succeeds, and nothing is sent': {
      method: rpc.forwardRoomEvent,
      message: toRoom({ event: 'x' }),
      rooms: [validationRoom],
      expected: sent,
    },
    'of a room without address fails': {
      method: rpc.forwardRoomEvent,
      message: toRoom({ event: 'x' }),
      rooms: [noAddress],
      expected: notSent('room "room-1" has no port that players could connect to'),
    },
    'that no backend takes fails, with the forwarder and the code': {
      method: rpc.forwardRoomEvent,
      message: toRoom({ event: 'x' }, 'broken'),
      rooms: [{ ...aRoom, scheduler: 'broken' }],
      expected: notSent(expect.stringMatching(/^failed to forward event room at "backend" with code Unavailable/)),
    },
    'with too much metadata is refused': {
      method: rpc.forwardRoomEvent,
      message: toRoom({ event: 'x', metadata: { m: 'é'.repeat(1_000) } }),
      rooms: [aRoom],
      expected: refused(3, expect.stringMatching(/"metadata": must be at most 2000 bytes of JSON, got 2008$/)),
    },
  },
  'an event of a player (1.5)': {
    'reaches the backend, whether the room is known or not': {
      method: rpc.forwardPlayerEvent,
      message: toRoom({ event: 'playerLeft', metadata: { playerId: 'p1', eventMetadata2: true } }),
      expected: sent,
      told: [
        [
          'SendPlayerEvent',
          {
            1: 'p1',
            2: { 1: 'chess', 2: 'room-1' },
            3: 1,
            4: { playerId: 'p1', eventMetadata2: 'true', eventType: 'playerLeft', roomType: 'green' },
          },
        ],
      ],
    },
    'of a validation room is sent': {
      method: rpc.forwardPlayerEvent,
      message: toRoom({ event: 'playerJoin', metadata: { playerId: 'p1' } }),
      rooms: [validationRoom],
      expected: sent,
      told: [['SendPlayerEvent', expect.objectContaining({ 1: 'p1' })]],
    },
    'of an unknown scheduler fails': {
      method: rpc.forwardPlayerEvent,
      message: toRoom({ event: 'playerJoin', metadata: { playerId: 'p1' } }, 'nowhere'),
      expected: notSent('there is no scheduler "nowhere"'),
    },
    'of a scheduler without forwarders succeeds': {
      method: rpc.forwardPlayerEvent,
      message: toRoom({ event: 'playerJoin' }, 'quiet'),
      expected: sent,
    },
    'of another name fails': {
      method: rpc.forwardPlayerEvent,
      message: toRoom({ event: 'playerDied', metadata: { playerId: 'p1' } }),
      expected: notSent(expect.stringContaining('playerDied')),
    },
    'without a player fails': {
      method: rpc.forwardPlayerEvent,
      message: toRoom({ event: 'playerJoin' }),
      expected: notSent(expect.stringContaining('playerId')),
    },
    'with a number for a player fails': {
      method: rpc.forwardPlayerEvent,
      message: toRoom({ event: 'playerJoin', metadata: { playerId: 7 } }),
      expected: notSent(expect.stringContaining('playerId')),
    },
    'with too much metadata is refused': {
      method: rpc.forwardPlayerEvent,
      message: toRoom({ event: 'playerJoin', metadata: { playerId: 'p'.repeat(maxMetadataBytes) } }),
      expected: refused(3, expect.stringContaining('"metadata"')),
    },
  },
  'a status (1.5)': {
    'reaches the backend in any letters, and leaves the room as it is': {
      method: rpc.updateRoomStatus,
      message: toRoom({ status: 'Occupied', metadata: { a: 1 }, timestamp: '1', runningMatches: '4' }),
      rooms: [aRoom],
      expected: success,
      told: [
        [
          'SendRoomStatus',
          {
            1: {
              1: 'chess',
              2: 'room-1',
              4: '10.0.0.1',
              5: 20_002,
              6: { eventType: 'status', pingType: 'Occupied', a: '1', ports: portsText, roomType: 'green' },
              7: 'green',
            },
            2: 1,
          },
        ],
      ],
      stored: { status: 'ready', runningMatches: 0 },
    },
    'of another word fails': {
      method: rpc.updateRoomStatus,
      message: toRoom({ status: 'invalid' }),
      rooms: [aRoom],
      expected: failure,
    },
    'of another word succeeds where nobody listens': {
      method: rpc.updateRoomStatus,
      message: toRoom({ status: 'invalid' }, 'quiet'),
      expected: success,
    },
    'of an unknown room fails': {
      method: rpc.updateRoomStatus,
      message: toRoom({ status: 'ready' }),
      expected: failure,
    },
    'of an unknown room that says its end is told': {
      method: rpc.updateRoomStatus,
      message: toRoom({ status: 'terminated' }),
      expected: success,
      told: [['SendRoomStatus', expect.objectContaining({ 2: 3 })]],
    },
    'of an unknown scheduler fails': {
      method: rpc.updateRoomStatus,
      message: toRoom({ status: 'ready' }, 'nowhere'),
      expected: failure,
    },
    'that no backend takes fails': {
      method: rpc.updateRoomStatus,
      message: toRoom({ status: 'ready' }, 'broken'),
      rooms: [{ ...aRoom, scheduler: 'broken' }],
      expected: failure,
    },
    'with too much metadata is refused': {
      method: rpc.updateRoomStatus,
      message: toRoom({ status: 'ready', metadata: { m: 'x'.repeat(maxMetadataBytes) } }),
      expected: refused(3, expect.stringContaining('"metadata"')),
    },
  },
  'an address (1.6)': {
    'has the ports in their order': {
      method: rpc.getRoomAddress,
      message: toRoom(),
      rooms: [aRoom],
      expected: { json: { ports, host: '10.0.0.1', ipv6Label: '' } },
      stored: { status: 'ready' },
    },
    'may have no ports': {
      method: rpc.getRoomAddress,
      message: toRoom(),
      rooms: [{ instance: { address: { host: 'h', ports: [] } } }],
      expected: { json: { ports: [], host: 'h', ipv6Label: '' } },
    },
    'of an unknown room is code 2': {
      method: rpc.getRoomAddress,
      message: toRoom(),
      expected: refused(2, 'room room-1 not found in scheduler arena'),
    },
    'of an unknown scheduler is code 2': {
      method: rpc.getRoomAddress,
      message: toRoom({}, 'nowhere'),
      expected: refused(2, 'room room-1 not found in scheduler nowhere'),
    },
    'that is not known yet is code 2': {
      method: rpc.getRoomAddress,
      message: toRoom(),
      rooms: [noAddress],
      expected: refused(2, 'room room-1 of scheduler arena has no address yet'),
    },
  },
  'an allocation (1.7)': {
    'gives a ready room with its address': {
      method: rpc.allocateRoom,
      message: { schedulerName: 'arena' },
      rooms: [aRoom],
      expected: { json: { roomId: 'room-1', success: true, message: '', ports, host: '10.0.0.1' } },
      stored: { status: 'allocated', allocations: [{ expiresAtMs: expect.any(Number) as number }] },
    },
    'gives no room that is not ready, not real or nowhere': {
      method: rpc.allocateRoom,
      message: { schedulerName: 'arena' },
      rooms: [
        { room: 'room-2', says: 'occupied' },
        { ...validationRoom, room: 'room-3' },
        { room: 'room-4', says: 'ready', instance: { address: null } },
        { room: 'room-5', says: 'terminating' },
      ],
      expected: refused(2, 'no ready rooms available for scheduler arena'),
    },
    'of an unknown scheduler finds no ready room': {
      method: rpc.allocateRoom,
      message: { schedulerName: 'nowhere' },
      expected: refused(2, 'no ready rooms available for scheduler nowhere'),
    },
  },
};

describe('the rooms API over REST and gRPC, on Redis, with a backend that listens', () => {
  let under: RedisRoomStoreUnderTest;
  let allocations: RedisRoomAllocationStore;
  let app: NestFastifyApplication;
  let restUrl: string;
  let server: RunningGrpcServer;
  let client: GrpcClient;
  let game: RecordingForwarder & { address: string };
  let forwarder: GrpcEventForwarder;
  let registry: Registry;
  let log: RecordedLog;
  let listSettings: () => Promise<SchedulerSettings[]>;

  beforeAll(async () => {
    [under, game] = await Promise.all([openRedisRoomStore(), RecordingForwarder.start()]);
    allocations = new RedisRoomAllocationStore(under.redis);
  }, 60_000);
  afterAll(async () => {
    await game?.stop();
    await under?.close();
  });

  const settingsOf = (name: string, forwarders: Partial<Forwarder>[], maxMatches = 1): SchedulerSettings => ({
    name,
    game: 'chess',
    maxMatches,
    activeVersion: 'v1.0.0',
    isAutoscaled: false,
    placement: { affinity: '', toleration: '' },
    isTerminating: false,
    forwarders: forwarders.map((stated) => ({
      name: 'backend',
      enabled: true,
      type: 'gRPC',
      address: game.address,
      options: { timeoutMs: 5_000, metadata: { roomType: 'green' } },
      ...stated,
    })),
  });

  beforeEach(async () => {
    [registry, log] = [new Registry(), new RecordedLog()];
    const metrics = new PrometheusMetrics(registry);
    forwarder = new GrpcEventForwarder({ keepAliveTimeMs: 30_000, keepAliveTimeoutMs: 5_000 }, metrics);
    listSettings = async () => [
      settingsOf('arena', [{}]),
      settingsOf('many', [], 3),
      settingsOf('quiet', []),
      settingsOf('off', [{ enabled: false }]),
      settingsOf('broken', [{ address: `${loopback}:1` }]),
    ];
    const module = RoomsApiModule.register({
      providers: [
        { provide: Logger, useValue: log },
        { provide: Metrics, useValue: metrics },
        { provide: RoomStore, useValue: under.store },
        { provide: RoomAllocationStore, useValue: allocations },
        { provide: Notices, useValue: { address: 'nobody-waits-here' } },
        { provide: WakeUps, useValue: new RecordedWakeUps() },
        { provide: HealthRecords, useValue: new FakeHealthRecords() },
        { provide: EventForwarder, useValue: forwarder },
        { provide: SchedulerStore, useValue: { listSettings: () => listSettings() } },
        ...roomsFeatures(roomsApiSettings),
      ],
    });
    app = await createHttpApplication(module, { logger: log, metrics: { registry, service: 'rooms-api' } });
    await app.listen(0, loopback);
    restUrl = `http://${loopback}:${(app.getHttpServer() as { address(): AddressInfo }).address().port}`;
    const services = roomsGrpcServices(app);
    server = await startGrpcServer({ services, host: loopback, port: 0, logger: log, metrics: { registry } });
    client = new GrpcClient(server.port);
    game.calls.length = 0;
    game.conduct = { code: 200 };
    await under.loseEverything();
    await under.store.markSynced();
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    client.close();
    await server.stop(0);
    await app.close();
    await forwarder.close();
  });

  async function overRest(method: UnaryMethod, message: JsonObject): Promise<Outcome> {
    const { schedulerName, roomName, ...body } = message as Record<string, string>;
    const [verb, end] = routes.get(method)!;
    const room = method === rpc.allocateRoom ? '' : encodeURIComponent(roomName ?? '');
    const path = `/scheduler/${encodeURIComponent(schedulerName ?? '')}/rooms/${room}${end}`;
    const answer = await sendHttp(restUrl + path, verb, verb === 'GET' ? undefined : JSON.stringify(body));
    const json = JSON.parse(answer.text) as { code: number; message: string; details: unknown };
    if (answer.status === 200) return { json };
    expect([answer.status, json.details]).toEqual([json.code === 2 ? 500 : 400, []]);
    return { code: json.code, message: json.message };
  }

  async function overGrpc(method: UnaryMethod, message: JsonObject): Promise<Outcome> {
    try {
      const answer = await client.call(method, fromJson(method.input, message as JsonValue));
      return { json: encodeMessage(method.output, answer) };
    } catch (error) {
      const { code, details } = error as ServiceError;
      return { code, message: details };
    }
  }

  async function startRoom({ scheduler = 'arena', room = 'room-1', says, instance }: RoomFacts): Promise<void> {
    const settings = { maxMatches: scheduler === 'many' ? 3 : 1 };
    const known = { id: room, scheduler, version: 'v1.0.0', validation: instance?.validation ?? false };
    const address = { host: '10.0.0.1', ports };
    await under.store.createRoom(known);
    await under.store.applyInstance(
      { ...known, status: 'ready', description: '', address, createdAtMs: 0, generation: 1, ...instance },
      settings,
      { adopt: false, authoritative: true },
    );
    if (says === undefined) return;
    const ping = { scheduler, room, status: says, runningMatches: 0, metadata: null, listener: null, resync: false };
    await under.store.applyPing(ping, settings);
  }

  const told = () =>
    game.calls.map(({ path, bytes }) => {
      const method = path.replace('/eventforwarder.GRPCForwarder/', '');
      return [method, readWire(bytes, wireShapes[method]!)];
    });

  const metric = async (line: string): Promise<number | undefined> => {
    const found = (await registry.metrics()).split('\n').find((each) => each.startsWith(`${line} `));
    return found === undefined ? undefined : Number(found.slice(line.length));
  };

  const wires = [
    ['REST', overRest],
    ['gRPC', overGrpc],
  ] as const;

  describe.each(wires)('over %s', (_wire, call) => {
    for (const [what, cases] of Object.entries(tables)) {
      it.each(Object.entries(cases))(`${what} %s`, async (_name, { method, message, rooms = [], ...after }) => {
        for (const room of rooms) await startRoom(room);
        expect(await call(method, message)).toEqual(after.expected);
        expect(told()).toEqual(after.told ?? []);
        if (after.stored === undefined) return;
        const stored = await under.store.getRoom(message['schedulerName'] as string, 'room-1');
        if (after.stored === null) expect(stored).toBeNull();
        else expect(stored).toMatchObject(after.stored);
      });
    }

    it('answers a backend that is not content as one that is, and counts it', async () => {
      game.conduct = { code: 500, message: 'no' };
      await startRoom(aRoom);
      expect(await call(rpc.forwardRoomEvent, toRoom({ event: 'x' }))).toEqual(sent);
      const labels = 'game="chess",scheduler="arena",code="Internal"';
      expect(await metric(`maestro_api_success_room_event_forwarding_total{${labels}}`)).toBe(1);
    });

    it('answers code 2 or success false, and says why in the log, when the rooms cannot be read', async () => {
      const away = new DomainError('unavailable', 'room_store.unavailable', 'Redis does not answer.');
      for (const method of ['getRoom', 'applyPing'] as const) {
        jest.spyOn(under.store, method).mockRejectedValue(away);
      }
      jest.spyOn(allocations, 'allocate').mockRejectedValue(away);
      expect(await call(rpc.updateRoomWithPing, toRoom({ status: 'ready' }))).toEqual(failure);
      expect(await call(rpc.forwardRoomEvent, toRoom({ event: 'x' }))).toEqual(
        notSent('room "room-1" could not be read; try again'),
      );
      expect(await call(rpc.getRoomAddress, toRoom())).toEqual(
        refused(2, 'room room-1 of scheduler arena could not be read; try again'),
      );
      expect(await call(rpc.allocateRoom, { schedulerName: 'arena' })).toEqual(
        refused(2, 'no room of scheduler arena could be allocated; try again'),
      );
      const warned = log.lines.filter(({ level }) => level === 'warn');
      expect(warned.map(({ fields }) => fields['err'])).toEqual(Array(4).fill('Redis does not answer.'));
      expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
      expect(await metric('maestro_api_room_allocations_total{scheduler="arena",outcome="store_error"}')).toBe(1);
    });

    it('gives nothing while rooms are being found again, and says so', async () => {
      await under.loseEverything();
      await startRoom(aRoom);
      const message = 'the rooms of scheduler arena are being found again after their state was lost; try again';
      expect(await call(rpc.allocateRoom, { schedulerName: 'arena' })).toEqual(refused(2, message));
      expect(await metric('maestro_api_room_allocations_total{scheduler="arena",outcome="rebuilding"}')).toBe(1);
    });

    it('counts allocations by their outcome, and knows no scheduler that there is not', async () => {
      await startRoom(aRoom);
      for (const schedulerName of ['arena', 'arena', 'made-up']) await call(rpc.allocateRoom, { schedulerName });
      const counted = (labels: string) => metric(`maestro_api_room_allocations_total{${labels}}`);
      expect(await counted('scheduler="arena",outcome="allocated"')).toBe(1);
      expect(await counted('scheduler="arena",outcome="no_ready_room"')).toBe(1);
      expect(await counted('scheduler="",outcome="unknown_scheduler"')).toBe(1);
      expect(await registry.metrics()).not.toContain('made-up');
    });

    it('allocates while the database is away, if it was there before', async () => {
      await startRoom(aRoom);
      expect(await call(rpc.allocateRoom, { schedulerName: 'quiet' })).toMatchObject({ code: 2 });
      listSettings = () => Promise.reject(new Error('the database is away'));
      expect(await call(rpc.allocateRoom, { schedulerName: 'arena' })).toMatchObject({ json: { roomId: 'room-1' } });
      expect(await call(rpc.allocateRoom, { schedulerName: 'arena' })).toEqual(
        refused(2, 'no ready rooms available for scheduler arena'),
      );
    });

    it('calls no scheduler unknown because the database is away', async () => {
      listSettings = () => Promise.reject(new Error('the database is away'));
      expect(await call(rpc.allocateRoom, { schedulerName: 'arena' })).toEqual(
        refused(2, 'no room of scheduler arena could be allocated; try again'),
      );
      expect(await metric('maestro_api_room_allocations_total{scheduler="",outcome="store_error"}')).toBe(1);
    });
  });

  it('gives one room to one of many callers, whichever way they come', async () => {
    const rooms = Array.from({ length: 10 }, (_, number) => `room-${number}`);
    for (const room of rooms) await startRoom({ room, says: 'ready' });
    const calls = Array.from({ length: 30 }, (_, number) => wires[number % 2]![1]);
    const answers = await Promise.all(calls.map((call) => call(rpc.allocateRoom, { schedulerName: 'arena' })));
    const given = answers.flatMap((answer) => ('json' in answer ? [(answer.json as { roomId: string }).roomId] : []));
    expect(given.sort()).toEqual(rooms);
    expect(await under.store.recountFleet('arena')).toEqual({ repaired: 0 });
  });

  it('has a handler, a route and a successful case for every rpc', () => {
    const all = RoomsService.methods.map((method) => methodPath(method));
    const implemented = roomsGrpcServices(app).flatMap(([service, handlers]) =>
      (service === RoomsService ? service.methods : [])
        .filter(({ localName }) => localName in handlers)
        .map((method) => methodPath(method)),
    );
    expect(implemented).toEqual(all);
    expect([...routes.keys()].map((method) => methodPath(method)).sort()).toEqual([...all].sort());
    const cases = Object.values(tables).flatMap((table) => Object.values(table));
    const successful = cases.filter(({ expected }) => isSuccess(expected));
    expect(new Set(successful.map(({ method }) => method))).toEqual(new Set(RoomsService.methods));
  });

  it('reads what a room’s shell sends with curl, form type and number as text included', async () => {
    await startRoom({});
    const body = '{"status":"occupied","running_matches":"0","timestamp":"12312312313","metadata":null}';
    for (const headers of [{ 'content-type': 'application/x-www-form-urlencoded' }, undefined]) {
      const answer = await sendHttp(`${restUrl}/scheduler/arena/rooms/room-1/ping`, 'PUT', body, headers);
      expect([answer.status, JSON.parse(answer.text)]).toEqual([200, { success: true }]);
    }
    expect(await under.store.getRoom('arena', 'room-1')).toMatchObject({ status: 'occupied', runningMatches: 1 });
  });

  describe('as tools see it', () => {
    it('serves health', async () => {
      expect(await client.checkHealth('')).toBe('SERVING');
      expect(await client.checkHealth('api.v1.RoomsService')).toBe('SERVING');
      await expect(client.checkHealth('api.v1.SchedulersService')).rejects.toMatchObject({ code: status.NOT_FOUND });
    });

    it.each(['v1', 'v1alpha'] as const)('tells its service by reflection (%s)', async (version) => {
      expect(await client.listServices(version)).toEqual([
        'api.v1.RoomsService',
        'grpc.health.v1.Health',
        'maestro.v1.AllocationsService',
        'maestro.v1.RoomStreamsService',
      ]);
      const described = await client.describe('api.v1.RoomsService', version);
      const names = described.getService('api.v1.RoomsService')?.methods.map(({ name }) => name);
      expect(names).toEqual(RoomsService.methods.map(({ name }) => name));
      expect(described.texts).toContain('Picks a ready room, marks it as allocated and answers its address.');
    });

    it('measures its calls', async () => {
      await startRoom(aRoom);
      await overGrpc(rpc.allocateRoom, { schedulerName: 'arena' });
      await overGrpc(rpc.allocateRoom, { schedulerName: 'arena' });
      const counted = (code: string) =>
        metric(
          `maestro_grpc_server_handling_seconds_count{service="api.v1.RoomsService",method="AllocateRoom",code="${code}"}`,
        );
      expect([await counted('OK'), await counted('UNKNOWN')]).toEqual([1, 1]);
    });
  });
});
