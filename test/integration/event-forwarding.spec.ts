import { promises as dns } from 'node:dns';
import { Registry } from 'prom-client';
import {
  channelOptionsOf,
  GrpcEventForwarder,
  type GrpcForwarderOptions,
} from '../../src/adapters/grpc-forwarder/grpc-event-forwarder';
import { PrometheusMetrics } from '../../src/adapters/prometheus/prometheus-metrics';
import type { EventMessage } from '../../src/domain/event/event';
import type { RoomAddress } from '../../src/domain/room/room';
import type { Forwarder } from '../../src/domain/scheduler/scheduler';
import { EventForwardingService } from '../../src/features/events/event-forwarding.service';
import { SchedulerSettingsCache } from '../../src/features/schedulers/scheduler-settings';
import type { SchedulerStore } from '../../src/ports/scheduler-store';
import { eventually } from '../support/eventually';
import { openDeafPort } from '../support/deaf-port';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';
import { readWire, RecordingForwarder, wireShapes, type RecordedCall } from '../support/recording-forwarder';
import { RecordedLog } from '../support/recorded-log';
import { TcpGate } from '../support/tcp-gate';

const keepAlive = { keepAliveTimeMs: 30_000, keepAliveTimeoutMs: 5_000 };
const roomAddress: RoomAddress = {
  host: '10.0.0.1',
  ports: [
    { name: 'query', protocol: 'TCP', port: 20_001 },
    { name: 'clientPort', protocol: 'UDP', port: 20_002 },
  ],
};
const ports = '[{"name":"query","port":20001,"protocol":"TCP"},{"name":"clientPort","port":20002,"protocol":"UDP"}]';

/** Where all of 127.0.0.0/8 is this machine, and a full queue of connections drops further ones. */
const itOnLinux = process.platform === 'linux' ? it : it.skip;

const aMessage: EventMessage = {
  type: 'player',
  room: { game: 'chess', roomId: 'room-1' },
  playerId: 'p1',
  event: 'playerJoin',
  metadata: {},
};

/** What came over the wire, by field numbers, and by which method. */
function told({ path, bytes }: RecordedCall): [string, ReturnType<typeof readWire>] {
  const method = path.replace('/eventforwarder.GRPCForwarder/', '');
  return [method, readWire(bytes, wireShapes[method]!)];
}

describe('events over the wire', () => {
  const toStop: { stop(): Promise<void> }[] = [];
  const forwarders: GrpcEventForwarder[] = [];
  let registry: Registry;
  let metrics: PrometheusMetrics;
  let redis: RedisRoomStoreUnderTest;

  beforeAll(async () => {
    redis = await openRedisRoomStore();
  });
  afterAll(() => redis?.close());
  beforeEach(async () => {
    await redis.loseEverything();
    registry = new Registry();
    metrics = new PrometheusMetrics(registry);
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await Promise.all(forwarders.splice(0).map((forwarder) => forwarder.close()));
    await Promise.all(toStop.splice(0).map((each) => each.stop()));
  });

  const stopAtEnd = <T extends { stop(): Promise<void> }>(started: T): T => {
    toStop.push(started);
    return started;
  };
  const backend = async (port?: number, host?: string) => stopAtEnd(await RecordingForwarder.start(port, host));
  const gate = async (targetPort: number) => stopAtEnd(await TcpGate.start(targetPort));

  const openForwarder = (options: Partial<GrpcForwarderOptions> = {}): GrpcEventForwarder => {
    const forwarder = new GrpcEventForwarder({ ...keepAlive, ...options }, metrics);
    forwarders.push(forwarder);
    return forwarder;
  };

  const openService = async (...stated: Partial<Forwarder>[]) => {
    const settings = {
      name: 'arena',
      game: 'chess',
      maxMatches: 1,
      forwarders: stated.map((each, index) => ({
        name: `forwarder-${index + 1}`,
        enabled: true,
        type: 'gRPC',
        address: '',
        options: { timeoutMs: 5_000, metadata: {} },
        ...each,
      })),
    };
    const store = { listSettings: async () => [settings] } as unknown as SchedulerStore;
    const [rooms, log] = [redis.store, new RecordedLog()];
    await rooms.createRoom({ id: 'room-1', scheduler: 'arena', version: 'v1.0.0', validation: false });
    await rooms.applyInstance(
      {
        id: 'room-1',
        scheduler: 'arena',
        version: 'v1.0.0',
        validation: false,
        status: 'ready',
        description: '',
        address: roomAddress,
        createdAtMs: 0,
        generation: 1,
      },
      { maxMatches: 1 },
      { adopt: false, authoritative: true },
    );
    const cache = new SchedulerSettingsCache(store, metrics, log, { pollIntervalMs: 60_000 });
    const forwarder = openForwarder();
    return new EventForwardingService(cache, rooms, forwarder, metrics, log);
  };

  const metric = async (line: string): Promise<number | undefined> => {
    const found = (await registry.metrics()).split('\n').find((each) => each.startsWith(`${line} `));
    return found === undefined ? undefined : Number(found.slice(line.length));
  };

  describe('as a backend of v10 reads them', () => {
    it('an event of a room', async () => {
      const game = await backend();
      const metadata = { roomType: 'green', forwarderMetadata1: 'value1', forwarderMetadata2: 245, who: 'forwarder' };
      const service = await openService({ address: game.address, options: { timeoutMs: 4_000, metadata } });
      expect(
        await service.forwardRoomEvent('arena', 'room-1', {
          event: 'roundStarts',
          metadata: { who: 'event', flag: true, big: 1234567, none: null, list: [1, 'x'], map: { b: 1, a: {} } },
        }),
      ).toEqual({ success: true, message: '' });
      expect(game.calls.map(told)).toEqual([
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
                ports,
                who: 'forwarder',
                flag: 'true',
                big: '1.234567e+06',
                none: '<nil>',
                list: '[1 x]',
                map: 'map[a:map[] b:1]',
                roomType: 'green',
                forwarderMetadata1: 'value1',
                forwarderMetadata2: '245',
              },
            },
            2: 'roundStarts',
          },
        ],
      ]);
      expect(game.calls[0]!.timeoutMs).toBeGreaterThan(0);
      expect(game.calls[0]!.timeoutMs).toBeLessThanOrEqual(4_000);
    });

    it.each([
      ['ready', 0],
      ['Occupied', 1],
      ['terminating', 2],
      ['terminated', 3],
    ])('a status %s', async (status, number) => {
      const game = await backend();
      const options = { timeoutMs: 5_000, metadata: { roomType: 'green', who: 'forwarder' } };
      const service = await openService({ address: game.address, options });
      await service.forwardRoomStatus('arena', 'room-1', { status, metadata: { who: 'event' } });
      const room = {
        1: 'chess',
        2: 'room-1',
        4: '10.0.0.1',
        5: 20_002,
        6: { eventType: 'status', pingType: status, ports, who: 'event', roomType: 'green' },
        7: 'green',
      };
      // proto3 sends no zero.
      expect(game.calls.map(told)).toEqual([['SendRoomStatus', { 1: room, ...(number === 0 ? {} : { 2: number }) }]]);
    });

    it('the end of a room that is gone', async () => {
      const game = await backend();
      const service = await openService({ address: game.address });
      await service.forwardRoomStatus('arena', 'gone', { status: 'terminated', metadata: null });
      const metadata = { eventType: 'status', pingType: 'terminated', ports: '[{"name":"","port":0,"protocol":""}]' };
      expect(game.calls.map(told)).toEqual([['SendRoomStatus', { 1: { 1: 'chess', 2: 'gone', 6: metadata }, 2: 3 }]]);
    });

    it('a resync', async () => {
      const game = await backend();
      const room = { game: 'chess', roomId: 'room-1', host: 'h', port: 1, roomType: 'red', metadata: { a: '1' } };
      await openForwarder().deliver(
        { type: 'resync', status: 'occupied', room },
        { address: game.address, timeoutMs: 5_000 },
      );
      expect(game.calls.map(told)).toEqual([
        ['SendRoomResync', { 1: { 1: 'chess', 2: 'room-1', 4: 'h', 5: 1, 6: { a: '1' }, 7: 'red' }, 2: 1 }],
      ]);
    });

    it.each([
      ['playerJoin', {}],
      ['playerLeft', { 3: 1 }],
    ])('a player who did %s', async (event, number) => {
      const game = await backend();
      const options = { timeoutMs: 5_000, metadata: { roomType: 'green', who: 'forwarder' } };
      const service = await openService({ address: game.address, options });
      await service.forwardPlayerEvent('arena', 'nobody', {
        event,
        metadata: { playerId: 'p1', eventMetadata2: true },
      });
      expect(game.calls.map(told)).toEqual([
        [
          'SendPlayerEvent',
          {
            1: 'p1',
            2: { 1: 'chess', 2: 'nobody' },
            4: { playerId: 'p1', eventMetadata2: 'true', eventType: event, roomType: 'green' },
            ...number,
          },
        ],
      ]);
    });

    it('names and texts of every kind', async () => {
      const game = await backend();
      const metadata = JSON.parse('{"playerId":"Ω 😀","":"","__proto__":"own","half":"\\ud83d"}') as Record<
        string,
        unknown
      >;
      const service = await openService({ address: game.address });
      await service.forwardPlayerEvent('arena', 'room-1', { event: 'playerJoin', metadata });
      const [, message] = told(game.calls[0]!);
      expect(message[1]).toBe('Ω 😀');
      expect(Object.entries(message[4]!)).toEqual(
        expect.arrayContaining([
          ['', ''],
          ['__proto__', 'own'],
          ['half', '\ufffd'],
        ]),
      );
    });
  });

  describe('answered with', () => {
    it.each([
      [200, 'OK'],
      [404, 'NotFound'],
      [406, 'FailedPrecondition'],
      [500, 'Internal'],
      [0, 'Unknown'],
    ])('%i are delivered, and counted as %s', async (code, name) => {
      const game = await backend();
      game.conduct = { code };
      const service = await openService({ address: game.address });
      expect(await service.forwardRoomEvent('arena', 'room-1', { event: 'x', metadata: null })).toEqual({
        success: true,
        message: '',
      });
      const labels = `game="chess",scheduler="arena",code="${name}"`;
      expect(await metric(`maestro_api_success_room_event_forwarding_total{${labels}}`)).toBe(1);
      expect(
        await metric(
          'maestro_worker_grpc_request_latency_count{service="GRPCForwarder",method="SendRoomEvent",code="OK"}',
        ),
      ).toBe(1);
    });

    it('a failure of gRPC are not, and counted as that', async () => {
      const game = await backend();
      game.conduct = { status: 8, details: 'too many\n rooms' };
      const service = await openService({ address: game.address });
      const event = { event: 'playerLeft', metadata: { playerId: 'p1' } };
      expect(await service.forwardPlayerEvent('arena', 'room-1', event)).toEqual({
        success: false,
        message: 'failed to forward event room at "forwarder-1" with code ResourceExhausted: too many rooms',
      });
      const labels = 'game="chess",scheduler="arena",code="ResourceExhausted"';
      expect(await metric(`maestro_api_failed_player_event_forwarding_total{${labels}}`)).toBe(1);
    });

    it('a failure that gRPC does not have are of unknown outcome', async () => {
      const game = await backend();
      game.conduct = { status: 77, details: '' };
      const outcome = await openForwarder().deliver(aMessage, { address: game.address, timeoutMs: 5_000 });
      expect(outcome).toMatchObject({ delivered: false, code: 'Unknown' });
    });

    it('nothing end with the deadline', async () => {
      const game = await backend();
      game.conduct = 'never answers';
      const options = { timeoutMs: 300, metadata: {} };
      const service = await openService({ address: game.address, options });
      expect(await service.forwardRoomEvent('arena', 'room-1', { event: 'x', metadata: null })).toEqual({
        success: false,
        message: expect.stringMatching(
          /^failed to forward event room at "forwarder-1" with code DeadlineExceeded: Deadline exceeded/,
        ),
      });
      const labels = 'game="chess",scheduler="arena",code="DeadlineExceeded"';
      expect(await metric(`maestro_api_failed_room_event_forwarding_total{${labels}}`)).toBe(1);
    });
  });

  it('reach the good ones of several backends, whatever becomes of the others', async () => {
    const [first, silent, last] = [await backend(), await backend(), await backend()];
    await first.stop();
    silent.conduct = 'never answers';
    const service = await openService(
      { address: first.address },
      { address: silent.address, options: { timeoutMs: 300, metadata: {} } },
      { address: last.address },
    );
    const { success, message } = await service.forwardRoomEvent('arena', 'room-1', { event: 'x', metadata: null });
    expect(success).toBe(false);
    expect(message).toMatch(
      /^failed to forward event room at "forwarder-1" with code Unavailable: .*ECONNREFUSED.*; failed to forward event room at "forwarder-2" with code DeadlineExceeded: /,
    );
    expect(message).not.toContain('forwarder-3');
    expect(last.calls).toHaveLength(1);
  });

  it.each([['dns:///127.0.0.1:PORT'], ['dns:127.0.0.1:PORT'], ['localhost:PORT'], [':PORT']])(
    'reach %s',
    async (address) => {
      const game = await backend();
      const endpoint = { address: address.replace('PORT', String(game.port)), timeoutMs: 5_000 };
      expect(await openForwarder().deliver(aMessage, endpoint)).toMatchObject({ delivered: true });
    },
  );

  it.each([
    ['a name that nobody has', 'nobody.invalid:1', /^Name resolution failed for target dns:.*nobody.invalid:1$/],
    ['a text that is no address', 'not an address', /^Name resolution failed for target dns:.*not an address$/],
    ['another scheme', 'unix:/tmp/events', /dns:.*unix:/],
    ['a port that there is not', '127.0.0.1:70000', /^a port is at most 65535$/],
  ])('fail at %s', async (_name, address, reason) => {
    const forwarder = openForwarder();
    const outcome = await forwarder.deliver(aMessage, { address, timeoutMs: 10_000 });
    expect(outcome).toEqual({ delivered: false, code: 'Unavailable', reason: expect.stringMatching(reason) });
    // What is left of the attempt must not break the process when it is ended.
    await forwarder.close();
    await new Promise(setImmediate);
  });

  describe('by their connections', () => {
    it('share one, however many there are at a time', async () => {
      const game = await backend();
      const forwarder = openForwarder();
      const endpoint = { address: game.address, timeoutMs: 20_000 };
      const outcomes = await Promise.all(Array.from({ length: 200 }, () => forwarder.deliver(aMessage, endpoint)));
      expect(outcomes.every(({ delivered }) => delivered)).toBe(true);
      expect(game.calls).toHaveLength(200);
      expect(new Set(game.calls.map(({ peer }) => peer)).size).toBe(1);
    });

    it('reach a backend again that was started anew on its port', async () => {
      const former = await backend();
      const forwarder = openForwarder();
      const endpoint = { address: former.address, timeoutMs: 2_000 };
      expect(await forwarder.deliver(aMessage, endpoint)).toMatchObject({ delivered: true });
      await former.stop();
      await eventually(async () =>
        expect(await forwarder.deliver(aMessage, endpoint)).toMatchObject({ code: 'Unavailable' }),
      );
      const next = await backend(former.port);
      await eventually(
        async () => expect(await forwarder.deliver(aMessage, endpoint)).toMatchObject({ delivered: true }),
        { timeoutMs: 10_000 },
      );
      expect(next.calls.length).toBeGreaterThan(0);
    }, 20_000);

    it('are dropped when one falls silent while a call waits', async () => {
      const game = await backend();
      const between = await gate(game.port);
      const forwarder = openForwarder({ keepAliveTimeMs: 300, keepAliveTimeoutMs: 300 });
      const endpoint = { address: between.address, timeoutMs: 60_000 };
      expect(await forwarder.deliver(aMessage, endpoint)).toMatchObject({ delivered: true });
      between.freeze();
      expect(await forwarder.deliver(aMessage, endpoint)).toMatchObject({ delivered: false, code: 'Unavailable' });
      await eventually(async () =>
        expect(await forwarder.deliver(aMessage, endpoint)).toMatchObject({ delivered: true }),
      );
    });

    it('are made anew where one is accepted and never answered, and leave nothing behind', async () => {
      const game = await backend();
      const between = await gate(game.port);
      between.isMute = true;
      const forwarder = openForwarder({ patienceMs: 200 });
      const deliver = (timeoutMs: number) => forwarder.deliver(aMessage, { address: between.address, timeoutMs });
      await eventually(async () => {
        expect(await deliver(50)).toMatchObject({ code: 'DeadlineExceeded' });
        expect(between.accepted).toBeGreaterThan(2);
      });
      between.isMute = false;
      await eventually(async () => expect(await deliver(1_000)).toMatchObject({ delivered: true }));
      await eventually(() => expect(between.open.size).toBe(1));
    }, 20_000);

    it('let a call go on that waits longer than its channel is trusted', async () => {
      const game = await backend();
      const between = await gate(game.port);
      between.isMute = true;
      const forwarder = openForwarder({ patienceMs: 50 });
      const patient = forwarder.deliver(aMessage, { address: between.address, timeoutMs: 2_000 });
      await eventually(() => expect(between.accepted).toBe(1));
      between.isMute = false;
      await eventually(async () => {
        const outcome = await forwarder.deliver(aMessage, { address: between.address, timeoutMs: 500 });
        expect(outcome).toMatchObject({ delivered: true });
      });
      expect(await patient).toMatchObject({ code: 'DeadlineExceeded' });
      await eventually(() => expect(between.open.size).toBe(1));
    });

    it('end some time after their last use', async () => {
      const game = await backend();
      const between = await gate(game.port);
      const forwarder = openForwarder({ channelIdleMs: 50 });
      const endpoint = { address: between.address, timeoutMs: 5_000 };
      expect(await forwarder.deliver(aMessage, endpoint)).toMatchObject({ delivered: true });
      await eventually(() => expect(between.open.size).toBe(0));
      expect(await forwarder.deliver(aMessage, endpoint)).toMatchObject({ delivered: true });
      expect(between.accepted).toBe(2);
    });

    it('all end when the forwarder is closed', async () => {
      const game = await backend();
      const mute = await gate(game.port);
      const between = await gate(game.port);
      mute.isMute = true;
      const forwarder = openForwarder();
      await forwarder.deliver(aMessage, { address: between.address, timeoutMs: 5_000 });
      const waiting = forwarder.deliver(aMessage, { address: mute.address, timeoutMs: 60_000 });
      await eventually(() => expect(mute.open.size).toBe(1));
      await forwarder.close();
      expect(await waiting).toMatchObject({ delivered: false, code: 'Canceled' });
      await eventually(() => expect([mute.open.size, between.open.size]).toEqual([0, 0]));
    });

    itOnLinux('end with the forwarder where one is not even accepted', async () => {
      const deaf = stopAtEnd(await openDeafPort());
      const forwarder = openForwarder();
      const outcome = await forwarder.deliver(aMessage, { address: deaf.address, timeoutMs: 50 });
      expect(outcome).toMatchObject({ delivered: false, code: 'DeadlineExceeded' });
      await eventually(() => expect(process.getActiveResourcesInfo()).toContain('ConnectWrap'));
      await forwarder.close();
      await eventually(() => expect(process.getActiveResourcesInfo()).not.toContain('ConnectWrap'));
    });

    it('are not made by a forwarder that was closed while it waited to try again', async () => {
      const game = await backend();
      const former = await gate(game.port);
      await former.stop();
      const [closed, open] = [openForwarder(), openForwarder()];
      const endpoint = { address: former.address, timeoutMs: 2_000 };
      for (const forwarder of [closed, open]) {
        expect(await forwarder.deliver(aMessage, endpoint)).toMatchObject({ code: 'Unavailable' });
      }
      await closed.close();
      const next = stopAtEnd(await TcpGate.start(game.port, former.port));
      await eventually(async () => expect(await open.deliver(aMessage, endpoint)).toMatchObject({ delivered: true }), {
        timeoutMs: 10_000,
      });
      expect(next.accepted).toBe(1);
    }, 20_000);

    itOnLinux(
      'go to all hosts of a name in turns, and to the next when they are others',
      async () => {
        const one = await backend(0, '127.0.0.1');
        const two = await backend(one.port, '127.0.0.2');
        const later = await backend(one.port, '127.0.0.3');
        let hosts = ['127.0.0.1', '127.0.0.2'];
        jest
          .spyOn(dns, 'lookup')
          .mockImplementation((async () =>
            hosts.map((address) => ({ address, family: 4 }))) as unknown as typeof dns.lookup);
        const forwarder = openForwarder();
        const endpoint = { address: `backends.test:${one.port}`, timeoutMs: 2_000 };
        await eventually(async () => {
          await forwarder.deliver(aMessage, endpoint);
          expect([one.calls.length > 0, two.calls.length > 0]).toEqual([true, true]);
        });
        const before = [one.calls.length, two.calls.length] as const;
        for (let count = 0; count < 10; count++) await forwarder.deliver(aMessage, endpoint);
        expect([one.calls.length - before[0], two.calls.length - before[1]]).toEqual([5, 5]);

        hosts = ['127.0.0.3'];
        await Promise.all([one.stop(), two.stop()]);
        await eventually(
          async () => expect(await forwarder.deliver(aMessage, endpoint)).toMatchObject({ delivered: true }),
          { timeoutMs: 10_000 },
        );
        expect(later.calls.length).toBeGreaterThan(0);
      },
      20_000,
    );
  });

  it('have v10’s settings, and back-off that never exceeds ten seconds', () => {
    expect(channelOptionsOf({ keepAliveTimeMs: 30_000, keepAliveTimeoutMs: 4_000 })).toMatchObject({
      'grpc.keepalive_time_ms': 30_000,
      'grpc.keepalive_timeout_ms': 4_000,
      'grpc.keepalive_permit_without_calls': 0,
    });
    const options = channelOptionsOf({ keepAliveTimeMs: 0, keepAliveTimeoutMs: 0 });
    expect(options).toMatchObject({ 'grpc.keepalive_time_ms': 15_000, 'grpc.keepalive_timeout_ms': 5_000 });
    expect(options['grpc.max_reconnect_backoff_ms']! * 1.2).toBeLessThan(10_000);
    expect(options['grpc.dns_min_time_between_resolutions_ms']).toBeLessThan(10_000);
  });
});
