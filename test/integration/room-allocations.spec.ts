import type { JsonObject } from '@bufbuild/protobuf';
import { request } from 'node:http';
import type { UnaryMethod } from '../../src/api/http/call-rpc';
import { schedulerKeys } from '../../src/adapters/redis/room-keys';
import type { Instance } from '../../src/domain/room/room';
import { AllocationExpiry } from '../../src/features/rooms/allocation-expiry';
import { NoticeBoard } from '../../src/features/rooms/notice-board';
import { SchedulerSettingsCache } from '../../src/features/schedulers/scheduler-settings';
import type { Ping } from '../../src/ports/room-store';
import { RoomsService } from '../../src/proto/gen/api/v1/rooms_pb';
import { AllocationsService } from '../../src/proto/gen/maestro/v1/allocations_pb';
import { eventually } from '../support/eventually';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';
import {
  RoomsApiInTest,
  roomsApiSettings,
  type RestRoutes,
  type RoomsApiSettings,
  type RpcOutcome,
} from '../support/rooms-api-in-test';
import { TcpGate } from '../support/tcp-gate';

const rpc = AllocationsService.method;
const ports = [{ name: 'game', protocol: 'UDP', port: 20_001 }];

const inScheduler = (message: Record<string, string>, end: string): string =>
  `/scheduler/${encodeURIComponent(message['schedulerName']!)}${end}`;
const ofAllocation = (message: Record<string, string>, end = ''): string =>
  inScheduler(message, `/allocations/${encodeURIComponent(message['allocationId']!)}${end}`);
const routes: RestRoutes = new Map<UnaryMethod, (message: Record<string, string>) => [string, string]>([
  [rpc.allocate, (message) => ['POST', inScheduler(message, '/allocations')]],
  [rpc.getAllocation, (message) => ['GET', ofAllocation(message)]],
  [rpc.confirmAllocation, (message) => ['POST', ofAllocation(message, '/confirm')]],
  [rpc.releaseAllocation, (message) => ['DELETE', ofAllocation(message)]],
  [RoomsService.method.allocateRoom, (message) => ['POST', inScheduler(message, '/rooms/allocate')]],
  [
    RoomsService.method.updateRoomWithPing,
    (message) => ['PUT', inScheduler(message, `/rooms/${message['roomName']!}/ping`)],
  ],
]);

interface RoomFacts {
  scheduler?: string;
  room?: string;
  version?: string;
  says?: Ping['status'];
  runningMatches?: number;
  metadata?: object;
  instance?: Partial<Instance>;
}

/** Two rooms APIs as two processes would be: what they share is in Redis. */
describe('allocations over REST and gRPC, on Redis', () => {
  let under: RedisRoomStoreUnderTest;
  let one: RoomsApiInTest;
  let other: RoomsApiInTest;
  let queries: string[];
  let isArenaTerminating: boolean;
  let tellOfChange: ((name: string) => void)[];
  const started: RoomsApiInTest[] = [];

  const schedulers = {
    listSettings: async () => {
      queries.push('settings');
      return [
        {
          name: 'arena',
          game: 'chess',
          maxMatches: 1,
          activeVersion: 'v2.1.0',
          isAutoscaled: false,
          forwarders: [],
          placement: { affinity: '', toleration: '' },
          isTerminating: isArenaTerminating,
        },
        {
          name: 'many',
          game: 'chess',
          maxMatches: 3,
          activeVersion: 'v2.1.0',
          isAutoscaled: false,
          forwarders: [],
          placement: { affinity: '', toleration: '' },
          isTerminating: false,
        },
      ];
    },
    findVersions: async (name: string, labels: Readonly<Record<string, string>>) => {
      queries.push(`versions ${name} ${JSON.stringify(labels)}`);
      if (name !== 'arena') return [];
      if (labels['region'] === 'eu') return ['v2.0.0', 'v3.0.0'];
      return Object.keys(labels).length === 0 ? ['v1.0.0', 'v2.0.0', 'v2.1.0', 'v3.0.0', 'v20.0.0'] : [];
    },
    watchChanges: async (onChange: (name: string) => void) => void tellOfChange.push(onChange),
  };

  async function startApi(options: {
    settings?: Partial<RoomsApiSettings>;
    loops?: Parameters<typeof RoomsApiInTest.start>[0]['loops'];
    redisUrl?: string;
    requestTimeoutMs?: number;
  }): Promise<RoomsApiInTest> {
    const api = await RoomsApiInTest.start({ redisUrl: under.url, schedulers, routes, ...options });
    started.push(api);
    return api;
  }

  beforeAll(async () => {
    under = await openRedisRoomStore();
  }, 60_000);
  afterAll(() => under?.close());

  beforeEach(async () => {
    [queries, isArenaTerminating, tellOfChange] = [[], false, []];
    // Nobody looks by himself in the time of a test: who is served has heard of it by notice.
    const waits = { ...roomsApiSettings.waits, pollIntervalMs: 60_000, aliveMs: 120_000 };
    [one, other] = await Promise.all([startApi({ settings: { waits } }), startApi({ settings: { waits } })]);
    await under.loseEverything();
    await under.store.markSynced();
    await eventually(expectListeners);
  });
  afterEach(async () => {
    await Promise.all(started.splice(0).map((api) => api.close()));
  });

  /** A waiting caller of a process that hears no notice yet would have to look by itself. */
  async function expectListeners(): Promise<void> {
    expect(await under.redis.pubsub('CHANNELS', 'maestro:notices:*')).toHaveLength(started.length);
  }

  async function startRoom(facts: RoomFacts = {}): Promise<void> {
    const { scheduler = 'arena', room = 'room-1', version = 'v2.1.0', instance } = facts;
    const known = { id: room, scheduler, version, validation: false };
    const address = { host: '10.0.0.1', ports };
    await under.store.createRoom(known);
    await under.store.applyInstance(
      { ...known, status: 'ready', description: '', address, createdAtMs: 0, generation: 1, ...instance },
      { maxMatches: scheduler === 'many' ? 3 : 1 },
      { adopt: false, authoritative: true },
    );
    if (facts.says !== undefined) await ping(one, facts);
  }

  /** Over the API, so that it serves those who wait. */
  async function ping(api: RoomsApiInTest, facts: RoomFacts): Promise<void> {
    const { scheduler: schedulerName = 'arena', room: roomName = 'room-1', says, runningMatches = 0, metadata } = facts;
    const answer = await api.overGrpc(RoomsService.method.updateRoomWithPing, {
      schedulerName,
      roomName,
      status: says!,
      runningMatches,
      ...(metadata === undefined ? {} : { metadata: metadata as JsonObject }),
    });
    expect(answer).toEqual({ json: { success: true } });
  }

  const wires = [
    ['REST', (method: UnaryMethod, message: JsonObject) => one.overRest(method, message)],
    ['gRPC', (method: UnaryMethod, message: JsonObject) => other.overGrpc(method, message)],
  ] as const;

  const arena = { schedulerName: 'arena' };
  const refused = (code: number, message: unknown) => ({ code, message });
  const given = (room: string, more: object = {}) => ({
    json: expect.objectContaining({ roomId: room, ...more }) as object,
  });
  const idOf = (outcome: RpcOutcome): string => {
    expect(outcome).toMatchObject({ json: { allocationId: expect.any(String) as string } });
    return ((outcome as { json: JsonObject }).json['allocationId'] ?? '') as string;
  };
  const roomOf = (outcome: RpcOutcome) => ('json' in outcome ? outcome.json['roomId'] : outcome);
  const stateOf = (outcome: RpcOutcome) =>
    'json' in outcome ? (outcome.json['allocation'] as JsonObject)['state'] : outcome;
  const waitingNow = () => under.redis.zcard(schedulerKeys('arena').waiting);
  const untilWaiting = (count: number) => eventually(async () => expect(await waitingNow()).toBe(count));

  it('gives out no room of a scheduler that is being deleted, and callers that wait for one hear so at once', async () => {
    const waits = { ...roomsApiSettings.waits, pollIntervalMs: 60_000, aliveMs: 120_000 };
    const api = await startApi({ settings: { waits }, loops: [NoticeBoard, SchedulerSettingsCache] });
    await eventually(expectListeners);
    const long = { ...arena, waitSeconds: 60 };
    const waiting = [api.overRest(rpc.allocate, long), api.overGrpc(rpc.allocate, long)];
    await untilWaiting(2);
    isArenaTerminating = true;
    for (const tell of tellOfChange) tell('arena');
    const nothing = refused(8, 'no room of scheduler arena that fits is free; try again, or wait with waitSeconds');
    expect(await Promise.all(waiting)).toEqual([nothing, nothing]);
    expect(await waitingNow()).toBe(0);

    await startRoom();
    await ping(api, { says: 'ready' });
    const later = [arena, long].flatMap((wish) => [api.overRest(rpc.allocate, wish), api.overGrpc(rpc.allocate, wish)]);
    expect(await Promise.all(later)).toEqual([nothing, nothing, nothing, nothing]);
    const ofV10 = refused(2, 'no ready rooms available for scheduler arena');
    const { allocateRoom } = RoomsService.method;
    expect(await api.overGrpc(allocateRoom, arena)).toEqual(ofV10);
    expect(await under.store.getRoom('arena', 'room-1')).toMatchObject({ status: 'ready', allocations: [] });
  });

  describe.each(wires)('over %s', (_wire, call) => {
    it('gives a room with all that is needed to play there', async () => {
      await startRoom({ says: 'ready' });
      const answer = await call(rpc.allocate, arena);
      expect(answer).toEqual({
        json: {
          allocationId: expect.stringMatching(/^[0-9a-f-]{36}$/),
          expiresAt: expect.stringMatching(/^\d{4}-/),
          roomId: 'room-1',
          version: 'v2.1.0',
          host: '10.0.0.1',
          ports,
        },
      });
      expect(await under.store.getRoom('arena', 'room-1')).toMatchObject({ status: 'allocated' });
      expect(await call(rpc.getAllocation, { ...arena, allocationId: idOf(answer) })).toMatchObject({
        json: { allocation: { schedulerName: 'arena', roomId: 'room-1', state: 'pending', ports } },
      });
    });

    it('knows no scheduler that there is not, and says so', async () => {
      expect(await call(rpc.allocate, { schedulerName: 'nowhere' })).toEqual(refused(5, 'scheduler nowhere not found'));
      expect(await call(rpc.allocate, { schedulerName: 'nowhere', waitSeconds: 5 })).toMatchObject({ code: 5 });
    });

    it('has no room', async () => {
      await startRoom({ says: 'occupied' });
      const message = 'no room of scheduler arena that fits is free; try again, or wait with waitSeconds';
      expect(await call(rpc.allocate, arena)).toEqual(refused(8, message));
    });

    it('has no room after the wait either, and keeps no place', async () => {
      const message = 'no room of scheduler arena that fits came free within 1 s; try again';
      expect(await call(rpc.allocate, { ...arena, waitSeconds: 1 })).toEqual(refused(8, message));
      expect(await waitingNow()).toBe(0);
    });

    it('gives nothing while rooms are being found again', async () => {
      await under.loseEverything();
      await startRoom({ says: 'ready' });
      const message = 'the rooms of scheduler arena are being found again after their state was lost; try again';
      expect(await call(rpc.allocate, arena)).toEqual(refused(14, message));
      expect(await call(rpc.allocate, { ...arena, waitSeconds: 1 })).toEqual(refused(14, message));
    });

    const tooMany = Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`l${n}`, 'x']));
    it.each<[string, JsonObject, string]>([
      ['too long a wait', { waitSeconds: 61 }, 'waitSeconds must be from 0 to 60, got 61'],
      ['a negative wait', { waitSeconds: -1 }, 'waitSeconds must be from 0 to 60, got -1'],
      ['too long a key', { idempotencyKey: 'k'.repeat(256) }, 'idempotencyKey must be at most 255 characters, got 256'],
      ['an unknown strategy', { strategy: 'best' }, 'strategy must be one of packed, spread, got "best"'],
      [
        'a version that is none',
        { selector: { version: 'newest' } },
        'selector.version must be a version such as v2.1.0, or its beginning such as v2, got "newest"',
      ],
      ['too many labels', { selector: { labels: tooMany } }, 'selector.labels must have at most 32 entries, got 33'],
      [
        'too large metadata',
        { selector: { metadata: { m: 'x'.repeat(1024) } } },
        'selector.metadata must have entries of at most 1024 bytes, name and value together, got 1025 in "m"',
      ],
    ])('refuses %s, though a room is free', async (_name, wish, message) => {
      await startRoom({ says: 'ready' });
      expect(await call(rpc.allocate, { ...arena, ...wish })).toEqual(refused(3, message));
    });

    it('answers a key as before, and refuses it for another request', async () => {
      for (const room of ['room-1', 'room-2']) await startRoom({ room, says: 'ready' });
      const wish = { ...arena, idempotencyKey: 'match-7' };
      const first = await call(rpc.allocate, wish);
      expect(await call(rpc.allocate, { ...wish, waitSeconds: 3, strategy: 'packed' })).toEqual(first);
      expect(await call(rpc.allocate, { ...wish, strategy: 'spread' })).toEqual(
        refused(3, expect.stringMatching(/^idempotencyKey was used for another request to scheduler arena/)),
      );
    });

    it.each<[string, JsonObject, unknown]>([
      ['nothing: the active version’s major number', {}, 'v2.1.0'],
      ['a whole version', { version: 'v1.0.0' }, 'v1.0.0'],
      ['a major number, which is no other number’s beginning', { version: '2' }, 'v2.1.0'],
      ['labels of the definition', { labels: { region: 'eu' } }, 'v3.0.0'],
      ['metadata of the room', { metadata: { map: 'harbour', players: '3', ranked: 'true' } }, 'v20.0.0'],
      ['a version that has no room', { version: 'v2.0' }, undefined],
      ['labels and a version that exclude each other', { version: 'v1', labels: { region: 'eu' } }, undefined],
      ['metadata that no room has', { metadata: { map: 'forest' } }, undefined],
    ])('selects by %s', async (_name, selector, version) => {
      const metadata = { map: 'harbour', players: 3, ranked: true };
      await startRoom({ room: 'room-20', version: 'v20.0.0', says: 'ready', metadata });
      for (const made of ['v1.0.0', 'v2.1.0', 'v3.0.0']) {
        await startRoom({ room: `room-of-${made}`, version: made, says: 'ready' });
      }
      const answer = await call(rpc.allocate, { ...arena, selector });
      if (version === undefined) expect(answer).toMatchObject({ code: 8 });
      else expect(answer).toMatchObject({ json: { version } });
    });

    it.each([
      ['packed', 'room-2'],
      ['spread', 'room-1'],
    ])('takes the room that the strategy %s wants', async (strategy, room) => {
      await startRoom({ scheduler: 'many', room: 'room-1', says: 'ready' });
      await startRoom({ scheduler: 'many', room: 'room-2', says: 'ready', runningMatches: 1 });
      expect(await call(rpc.allocate, { schedulerName: 'many', strategy })).toEqual(given(room));
    });

    it('confirms and releases', async () => {
      await startRoom({ says: 'ready' });
      const one = { ...arena, allocationId: idOf(await call(rpc.allocate, arena)) };
      for (let times = 0; times < 2; times++) {
        const confirmed = await call(rpc.confirmAllocation, one);
        expect(confirmed).toMatchObject({ json: { allocation: { state: 'confirmed', roomId: 'room-1' } } });
        expect((confirmed as { json: { allocation: JsonObject } }).json.allocation).not.toHaveProperty('expiresAt');
      }
      for (let times = 0; times < 2; times++) expect(stateOf(await call(rpc.releaseAllocation, one))).toBe('released');
      expect(await call(rpc.confirmAllocation, one)).toEqual(
        refused(9, `cannot confirm allocation ${one.allocationId} of scheduler arena: it was released, allocate anew`),
      );
      expect(stateOf(await call(rpc.getAllocation, one))).toBe('released');
      expect(await call(rpc.allocate, arena)).toEqual(given('room-1'));
    });

    it('does not release what the room has reported', async () => {
      await startRoom({ says: 'ready' });
      const one = { ...arena, allocationId: idOf(await call(rpc.allocate, arena)) };
      await ping(other, { says: 'occupied', runningMatches: 1 });
      expect(stateOf(await call(rpc.getAllocation, one))).toBe('confirmed');
      expect(await call(rpc.releaseAllocation, one)).toEqual(
        refused(9, expect.stringMatching(/^cannot release allocation .*: the room has reported its match/)),
      );
    });

    it.each([rpc.getAllocation, rpc.confirmAllocation, rpc.releaseAllocation])(
      'finds no unknown one: %s',
      async (method) => {
        const message =
          'allocation made-up not found in scheduler arena: it was never made, has expired, its room has ended, or reported its match long ago';
        expect(await call(method, { ...arena, allocationId: 'made-up' })).toEqual(refused(5, message));
        expect(await call(method, { schedulerName: 'nowhere', allocationId: 'a/b' })).toMatchObject({ code: 5 });
      },
    );

    it('finds none any more that has expired', async () => {
      await startRoom({ says: 'ready' });
      const allocationId = idOf(await call(rpc.allocate, arena));
      await under.passTime(roomsApiSettings.allocationTtlMs + 1);
      expect(await call(rpc.getAllocation, { ...arena, allocationId })).toMatchObject({ code: 5 });
    });
  });

  it('costs one step of Redis and no query, where nothing is selected', async () => {
    for (const room of ['room-1', 'room-2', 'room-3']) await startRoom({ room, says: 'ready' });
    await one.overRest(rpc.allocate, arena);
    queries.length = 0;
    const steps = async (): Promise<number> => {
      const text = await under.redis.info('commandstats');
      return [...text.matchAll(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm)].reduce(
        (sum, [, calls]) => sum + Number(calls),
        0,
      );
    };
    const before = await steps();
    expect(await one.overRest(rpc.allocate, arena)).toMatchObject({ json: {} });
    expect(await steps()).toBe(before + 1);
    expect(queries).toEqual([]);
  });

  it('asks the database once for what is selected again and again', async () => {
    for (let times = 0; times < 3; times++) {
      await one.overRest(rpc.allocate, { ...arena, selector: { version: 'v2', labels: { region: 'eu' } } });
    }
    expect(queries.filter((query) => query.startsWith('versions'))).toEqual(['versions arena {"region":"eu"}']);
  });

  it('gives 50 parallel requests of one key one and the same room', async () => {
    for (let n = 0; n < 20; n++) await startRoom({ room: `room-${n}`, says: 'ready' });
    const wish = { ...arena, idempotencyKey: 'match-7' };
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) =>
        n % 2 === 0 ? one.overRest(rpc.allocate, wish) : other.overGrpc(rpc.allocate, wish),
      ),
    );
    expect(new Set(answers.map((answer) => idOf(answer))).size).toBe(1);
    expect((await under.store.countFleet('arena')).rooms).toMatchObject({ allocated: 1, ready: 19 });
    const counted = async (outcome: string) => {
      const series = `maestro_api_room_allocations_total{scheduler="arena",outcome="${outcome}"}`;
      return ((await one.metric(series)) ?? 0) + ((await other.metric(series)) ?? 0);
    };
    expect([await counted('allocated'), await counted('repeated')]).toEqual([1, 49]);
  });

  it('gives 50 waiting requests of one key one and the same room', async () => {
    const wish = { ...arena, idempotencyKey: 'match-7', waitSeconds: 30 };
    const answers = Array.from({ length: 50 }, (_, n) =>
      n % 2 === 0 ? one.overRest(rpc.allocate, wish) : other.overGrpc(rpc.allocate, wish),
    );
    await untilWaiting(50);
    await startRoom({ room: 'room-1', says: 'ready' });
    expect(new Set((await Promise.all(answers)).map((answer) => idOf(answer))).size).toBe(1);
    expect(await waitingNow()).toBe(0);
  });

  describe('a caller that waits', () => {
    it('is served in the order of arrival, by whichever process, as soon as a room pings', async () => {
      const order: number[] = [];
      const rooms: unknown[] = [];
      const callers: Promise<void>[] = [];
      for (let n = 0; n < 6; n++) {
        const wish = { ...arena, waitSeconds: 50 };
        const answer = n % 2 === 0 ? one.overRest(rpc.allocate, wish) : other.overGrpc(rpc.allocate, wish);
        callers.push(
          answer.then((outcome) => {
            order.push(n);
            rooms.push(roomOf(outcome));
          }),
        );
        await untilWaiting(n + 1);
      }
      for (let n = 0; n < 6; n++) {
        await startRoom({ room: `room-${n}` });
        await ping(n < 3 ? one : other, { room: `room-${n}`, says: 'ready' });
        await eventually(() => expect(order).toHaveLength(n + 1));
      }
      await Promise.all(callers);
      expect(order).toEqual([0, 1, 2, 3, 4, 5]);
      expect(rooms).toEqual(['room-0', 'room-1', 'room-2', 'room-3', 'room-4', 'room-5']);
      expect(await waitingNow()).toBe(0);
    });

    it('may wait longer than a request may otherwise take, over either wire', async () => {
      const hasty = await startApi({ requestTimeoutMs: 100 });
      const wish = { ...arena, waitSeconds: 1 };
      const answers = await Promise.all([hasty.overRest(rpc.allocate, wish), hasty.overGrpc(rpc.allocate, wish)]);
      expect(answers).toEqual([expect.objectContaining({ code: 8 }), expect.objectContaining({ code: 8 })]);
    });

    it('is overtaken by nobody who comes later, and by v10’s callers neither', async () => {
      const first = one.overRest(rpc.allocate, { ...arena, waitSeconds: 50 });
      await untilWaiting(1);
      await startRoom({ room: 'room-1' });
      // Past the API: nobody serves those who wait.
      await under.store.applyPing(
        {
          scheduler: 'arena',
          room: 'room-1',
          status: 'ready',
          runningMatches: 0,
          metadata: null,
          listener: null,
          resync: false,
        },
        { maxMatches: 1 },
      );
      expect(await other.overRest(RoomsService.method.allocateRoom, arena)).toMatchObject({ code: 2 });
      expect(await first).toEqual(given('room-1'));
    });

    it('is served by what another one releases', async () => {
      await startRoom({ says: 'ready' });
      const allocationId = idOf(await one.overRest(rpc.allocate, arena));
      const waits = other.overGrpc(rpc.allocate, { ...arena, waitSeconds: 50 });
      await untilWaiting(1);
      await one.overRest(rpc.releaseAllocation, { ...arena, allocationId });
      expect(await waits).toEqual(given('room-1'));
    });

    it('is served by what expires, though no room pings', async () => {
      await startRoom({ says: 'ready' });
      await one.overRest(rpc.allocate, arena);
      const waits = other.overGrpc(rpc.allocate, { ...arena, waitSeconds: 50 });
      await untilWaiting(1);
      const expiring = await Promise.all([1, 2].map(() => startApi({ loops: [AllocationExpiry] })));
      await under.passTime(roomsApiSettings.allocationTtlMs + 1);
      expect(await waits).toEqual(given('room-1'));
      await eventually(async () => {
        const series = 'maestro_api_room_allocation_changes_total{change="expired"}';
        const counts = await Promise.all(expiring.map((api) => api.metric(series)));
        expect(counts.reduce<number>((sum, count) => sum + (count ?? 0), 0)).toBe(1);
      });
    });

    it('finds its room by looking, when no notice reaches it', async () => {
      const waits = { ...roomsApiSettings.waits, pollIntervalMs: 20 };
      const deaf = await startApi({ settings: { waits }, loops: [] });
      const answer = deaf.overRest(rpc.allocate, { ...arena, waitSeconds: 50 });
      await untilWaiting(1);
      await startRoom({ says: 'ready' });
      expect(await answer).toEqual(given('room-1'));
    });

    it('leaves its place when it hangs up, over either wire', async () => {
      const wish = { ...arena, waitSeconds: 50 };
      const rest = request(`${one.restUrl}/scheduler/arena/allocations`, { method: 'POST' });
      rest.on('error', () => undefined);
      rest.end(JSON.stringify({ waitSeconds: 50 }));
      await untilWaiting(1);
      let hangUp = (): void => undefined;
      const grpc = other.overGrpc(rpc.allocate, wish, (call) => (hangUp = () => call.cancel()));
      await untilWaiting(2);
      const patient = other.overRest(rpc.allocate, wish);
      await untilWaiting(3);
      rest.destroy();
      hangUp();
      await untilWaiting(1);
      expect(await grpc).toMatchObject({ code: 1 });
      await startRoom({ says: 'ready' });
      expect(await patient).toEqual(given('room-1'));
      const canceled = 'maestro_api_room_allocations_total{scheduler="arena",outcome="canceled"}';
      expect([await one.metric(canceled), await other.metric(canceled)]).toEqual([1, 1]);
      expect(await one.metric('maestro_api_room_allocation_callers_waiting')).toBe(0);
    });

    it('leaves its place when its own deadline passes', async () => {
      const wish = { schedulerName: 'arena', waitSeconds: 50 };
      const late = one.client.call(rpc.allocate, wish, { deadline: Date.now() + 300 });
      await expect(late).rejects.toMatchObject({ code: 4 });
      await untilWaiting(0);
    });

    it('goes on waiting while Redis is away, and is served when it is back', async () => {
      const target = Number(new URL(under.url).port);
      const gate = await TcpGate.start(target);
      const url = new URL(under.url);
      url.port = String(gate.port);
      const waits = { ...roomsApiSettings.waits, pollIntervalMs: 20, aliveMs: 120_000 };
      const behind = await startApi({ redisUrl: url.href, settings: { waits } });
      const answer = behind.overRest(rpc.allocate, { ...arena, waitSeconds: 50 });
      await untilWaiting(1);
      await gate.stop();
      await eventually(async () => expect(await behind.overRest(rpc.allocate, arena)).toMatchObject({ code: 14 }));
      const again = await TcpGate.start(target, gate.port);
      await startRoom({ says: 'ready' });
      expect(await answer).toEqual(given('room-1'));
      await behind.close();
      started.splice(started.indexOf(behind), 1);
      await again.stop();
    }, 30_000);

    it('hears that the store is away, when it is until the end', async () => {
      const gate = await TcpGate.start(Number(new URL(under.url).port));
      const url = new URL(under.url);
      url.port = String(gate.port);
      const behind = await startApi({ redisUrl: url.href });
      const answer = behind.overRest(rpc.allocate, { ...arena, waitSeconds: 2 });
      await untilWaiting(1);
      await gate.stop();
      expect(await answer).toEqual(refused(14, 'no room of scheduler arena could be allocated; try again'));
      await behind.close();
      started.splice(started.indexOf(behind), 1);
    }, 30_000);

    it('hears at once that its process stops, and its place is free', async () => {
      const rest = one.overRest(rpc.allocate, { ...arena, waitSeconds: 50 });
      const grpc = one.overGrpc(rpc.allocate, { ...arena, waitSeconds: 50 });
      await untilWaiting(2);
      one.beginStop();
      const stopping = refused(14, 'this process stops; call again');
      expect([await rest, await grpc]).toEqual([stopping, stopping]);
      expect(await waitingNow()).toBe(0);
      expect(await one.overRest(rpc.allocate, { ...arena, waitSeconds: 50 })).toEqual(stopping);
    });

    it('is refused when too many wait already, unless a room is free', async () => {
      const full = await startApi({ settings: { waits: { ...roomsApiSettings.waits, maxCallers: 1 } } });
      const patient = full.overRest(rpc.allocate, { ...arena, waitSeconds: 50 });
      await untilWaiting(1);
      expect(await full.overRest(rpc.allocate, { ...arena, waitSeconds: 50 })).toEqual(
        refused(8, expect.stringContaining('too many callers wait already')),
      );
      for (const room of ['room-1', 'room-2']) await startRoom({ room });
      for (const room of ['room-1', 'room-2']) await ping(one, { room, says: 'ready' });
      await patient;
      const next = full.overRest(rpc.allocate, { ...arena, waitSeconds: 50 });
      expect([roomOf(await patient), roomOf(await next)].sort()).toEqual(['room-1', 'room-2']);
    });
  });

  it('rings for the health of a scheduler that has no room, and for no unknown one', async () => {
    await one.overRest(rpc.allocate, arena);
    await one.overRest(rpc.allocate, { schedulerName: 'nowhere' });
    expect(one.wakeUps.rings).toEqual([{ kind: 'health', scheduler: 'arena', delayMs: 0 }]);
  });

  it('counts its answers, and knows no scheduler that there is not', async () => {
    await startRoom({ says: 'ready' });
    const allocationId = idOf(await one.overRest(rpc.allocate, arena));
    // A repeated change is none.
    for (const change of [rpc.confirmAllocation, rpc.releaseAllocation]) {
      for (let time = 0; time < 2; time++) await one.overRest(change, { ...arena, allocationId });
    }
    await one.overRest(rpc.allocate, { ...arena, waitSeconds: 1, selector: { version: 'v1' } });
    await one.overRest(rpc.allocate, { schedulerName: 'made-up' });
    const counted = (labels: string) => one.metric(`maestro_api_room_allocation_seconds_count{${labels}}`);
    expect(await counted('scheduler="arena",outcome="allocated"')).toBe(1);
    expect(await counted('scheduler="arena",outcome="timed_out"')).toBe(1);
    expect(await counted('scheduler="",outcome="unknown_scheduler"')).toBe(1);
    expect(await one.metric('maestro_api_room_allocation_changes_total{change="confirmed"}')).toBe(1);
    expect(await one.metric('maestro_api_room_allocation_changes_total{change="released"}')).toBe(1);
    expect(await one.registry.metrics()).not.toContain('made-up');
  });
});
