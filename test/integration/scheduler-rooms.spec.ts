import { fromJson, type JsonObject, type JsonValue } from '@bufbuild/protobuf';
import type { ServiceError } from '@grpc/grpc-js';
import type { UnaryMethod } from '../../src/api/http/call-rpc';
import { encodeMessage } from '../../src/api/http/protojson';
import type { InstanceRestarts } from '../../src/domain/room/room';
import type { Ping } from '../../src/ports/room-store';
import { SchedulerRoomsService } from '../../src/proto/gen/maestro/v1/scheduler_rooms_pb';
import { sampleContainer } from '../conformance/sample-scheduler';
import { startTestPostgres, startTestRedis } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import { GrpcClient } from '../support/grpc-client';
import { startMaestroInProcess, type MaestroInProcess } from '../support/maestro-in-process';
import { sendHttp } from '../support/send-http';
import { TcpGate } from '../support/tcp-gate';

const { listRooms, getRoom, deleteRoom } = SchedulerRoomsService.method;

interface Answer {
  status: number;
  body: JsonObject;
}

/** What the API says of a room, as JSON. */
interface RoomJson {
  id: string;
  status: string;
  version: string;
  draining: boolean;
  runningMatches: number;
}

/** A client of a Maestro over REST and gRPC. */
class Caller {
  readonly grpc: GrpcClient;

  constructor(private readonly maestro: MaestroInProcess) {
    this.grpc = new GrpcClient(maestro.ports.managementGrpc);
  }

  async rest(verb: string, path: string, body?: unknown): Promise<Answer> {
    const url = `http://127.0.0.1:${this.maestro.ports.management}/schedulers${path}`;
    const answer = await sendHttp(url, verb, body === undefined ? undefined : JSON.stringify(body));
    return { status: answer.status, body: JSON.parse(answer.text) as JsonObject };
  }

  /** The call over gRPC, told as REST would tell it. */
  async rpc(method: UnaryMethod, message: JsonValue): Promise<JsonObject> {
    try {
      return encodeMessage(method.output, await this.grpc.call(method, fromJson(method.input, message)));
    } catch (error) {
      const { code, details } = error as ServiceError;
      return { code, message: details, details: [] };
    }
  }

  async create(name: string, changes: object = {}): Promise<void> {
    const answer = await this.rest('POST', '', {
      name,
      game: 'arena',
      maxSurge: '10%',
      portRange: { start: 40_000, end: 60_000 },
      roomsReplicas: 3,
      spec: { terminationGracePeriod: '1s', containers: [sampleContainer()] },
      ...changes,
    });
    expect(answer).toMatchObject({ status: 200 });
  }

  async rooms(scheduler: string, query = ''): Promise<RoomJson[]> {
    const { status, body } = await this.rest('GET', `/${scheduler}/rooms${query}`);
    expect(status).toBe(200);
    return body['rooms'] as unknown as RoomJson[];
  }
}

describe('rooms of a scheduler, looked at', () => {
  let servers: { postgres: { url: string; stop(): Promise<void> }; redis: { url: string; stop(): Promise<void> } };
  let gate: Awaited<ReturnType<typeof TcpGate.start>>;
  let maestro: MaestroInProcess;
  let caller: Caller;

  beforeAll(async () => {
    const [postgres, redis] = await Promise.all([startTestPostgres(), startTestRedis()]);
    servers = { postgres, redis };
    const redisUrl = new URL(redis.url);
    gate = await TcpGate.start(Number(redisUrl.port));
    redisUrl.port = String(gate.port);
    // No worker and no watcher: rooms are what the test makes of them.
    maestro = await startMaestroInProcess(
      ['management-api'],
      {},
      { postgresUrl: postgres.url, redisUrl: redisUrl.href },
    );
    caller = new Caller(maestro);
    await caller.create('large');
    await caller.create('small', { matchAllocation: { maxMatches: 3 } });
  }, 60_000);
  afterAll(async () => {
    caller?.grpc.close();
    await maestro?.close();
    await gate?.stop();
    await Promise.all([servers?.postgres.stop(), servers?.redis.stop()]);
  }, 60_000);

  const settings = { maxMatches: 3 };
  const makeRoom = (id: string, version = 'v1.0.0', validation = false, scheduler = 'small') =>
    maestro.rooms.createRoom({ id, scheduler, version, validation });
  const says = (room: string, status: Ping['status'], runningMatches = 0, metadata: string | null = null) =>
    maestro.rooms.applyPing(
      { scheduler: 'small', room, status, runningMatches, metadata, listener: null, resync: false },
      settings,
    );
  const runs = (
    id: string,
    status: 'ready' | 'error',
    description = '',
    adopt = false,
    restarts: InstanceRestarts | null = null,
  ) =>
    maestro.rooms.applyInstance(
      {
        id,
        scheduler: 'small',
        version: 'v1.0.0',
        validation: false,
        status,
        description,
        address: { host: '203.0.113.7', ports: [{ name: 'game', protocol: 'UDP', port: 40_123 }] },
        createdAtMs: 1_700_000_000_000,
        generation: 1,
        ...(restarts === null ? {} : { restarts }),
      },
      settings,
      { adopt, authoritative: true },
    );

  test('while the store is being rebuilt, the list says so, and no room is called unknown', async () => {
    expect(await caller.rest('GET', '/small/rooms')).toEqual({
      status: 200,
      body: { rooms: [], page: 1, perPage: 100, total: 0, rebuilding: true },
    });
    const refusal = {
      code: 14,
      message:
        'room small-1 of scheduler small is not known now: the rooms are being found again after their state was lost; try again',
      details: [],
    };
    for (const [verb, query] of [
      ['GET', ''],
      ['DELETE', ''],
      ['DELETE', '?drain=true'],
    ] as const) {
      expect(await caller.rest(verb, `/small/rooms/small-1${query}`)).toEqual({ status: 503, body: refusal });
    }
    expect(await caller.rpc(getRoom, { schedulerName: 'small', roomName: 'small-1' })).toEqual(refusal);
    await maestro.rooms.markSynced();
  });

  describe('a fleet of more rooms than the store reads at once', () => {
    const names = Array.from({ length: 2_345 }, (_, index) => `large-${String(index).padStart(5, '0')}`);

    beforeAll(async () => {
      await maestro.rooms.markSynced();
      await Promise.all(
        names.map((id, index) => makeRoom(id, index % 5 === 0 ? 'v2.0.0' : 'v1.0.0', index === 7, 'large')),
      );
    });

    test('is listed page by page, in the order of names, each room once', async () => {
      const listed: string[] = [];
      for (const page of [1, 2, 3, 4]) {
        const { body } = await caller.rest('GET', `/large/rooms?page=${page}&perPage=1000`);
        expect(body).toMatchObject({ page, perPage: 1000, total: names.length, rebuilding: false });
        listed.push(...(body['rooms'] as unknown as RoomJson[]).map(({ id }) => id));
      }
      expect(listed).toEqual(names);
    });

    test('shows a hundred rooms of it by default', async () => {
      expect((await caller.rooms('large')).map(({ id }) => id)).toEqual(names.slice(0, 100));
    });

    test.each([
      ['?status=pending&perPage=1', 2_345],
      ['?status=ready', 0],
      ['?version=v2.0.0', 469],
      ['?version=v2.0.0&status=pending&page=5', 469],
      ['?version=v9.0.0', 0],
    ])('is counted as %s wants it', async (query, total) => {
      const { body } = await caller.rest('GET', `/large/rooms${query}`);
      expect(body['total']).toBe(total);
    });

    test('is listed alike over gRPC', async () => {
      const { body } = await caller.rest('GET', '/large/rooms?version=v2.0.0&page=5&perPage=100');
      expect((body['rooms'] as []).length).toBe(69);
      const message = { schedulerName: 'large', version: 'v2.0.0', page: 5, perPage: 100 };
      expect(await caller.rpc(listRooms, message)).toEqual(body);
    });

    test.each([
      ['?status=gone', /^status must be one of pending, .*, got "gone"$/],
      ['?page=0', /^page must be at least 1, got 0$/],
      ['?perPage=0', /^perPage must be from 1 to 1000, got 0$/],
      ['?perPage=1001', /^perPage must be from 1 to 1000, got 1001$/],
      ['?page=x', /^parsing field "page": "x" is not a number$/],
    ])('is not listed by %s', async (query, message) => {
      const body = { code: 3, message: expect.stringMatching(message), details: [] };
      expect(await caller.rest('GET', `/large/rooms${query}`)).toEqual({ status: 400, body });
    });
  });

  describe('one of them', () => {
    beforeAll(() => maestro.rooms.markSynced());

    const detail = async (id: string) => {
      const { status, body } = await caller.rest('GET', `/small/rooms/${id}`);
      expect(status).toBe(200);
      expect(await caller.rpc(getRoom, { schedulerName: 'small', roomName: id })).toEqual({
        ...body,
        // Each names the time that went by until it was asked.
        why: expect.any(Array),
      });
      return body as unknown as {
        room: RoomJson;
        why: string[];
        transitions: { to: string; cause: string }[];
        restarts?: object;
      };
    };

    test('tells all that is known of it, and why it has its status', async () => {
      await makeRoom('small-full');
      await runs('small-full', 'ready');
      await says('small-full', 'occupied', 2, '{"map":"harbour"}');
      const found = await detail('small-full');
      expect(found).toEqual({
        room: {
          id: 'small-full',
          schedulerName: 'small',
          version: 'v1.0.0',
          status: 'active',
          statusSince: expect.stringMatching(/Z$/),
          pingStatus: 'occupied',
          instanceStatus: 'ready',
          lastPingAt: expect.stringMatching(/Z$/),
          createdAt: expect.stringMatching(/Z$/),
          runningMatches: 2,
          openAllocations: 0,
          validation: false,
          draining: false,
          host: '203.0.113.7',
          ports: [{ name: 'game', protocol: 'UDP', port: 40_123 }],
        },
        why: [
          expect.stringMatching(/^It became active \S+ s ago \(.*\): it said occupied\.$/),
          expect.stringMatching(/^It last said occupied \S+ s ago \(.*\), with 2 running matches\.$/),
          'The runtime says that its instance is ready.',
          'No rooms API runs that could hear it, so its silence does not count now.',
          'It can be given to a caller now.',
        ],
        instanceDescription: '',
        metadata: { map: 'harbour' },
        allocations: [],
        transitions: [
          { at: expect.any(String), from: 'unready', to: 'active', cause: 'ping', detail: 'occupied' },
          { at: expect.any(String), from: 'pending', to: 'unready', cause: 'instance', detail: 'ready' },
          { at: expect.any(String), from: '', to: 'pending', cause: 'created', detail: 'v1.0.0' },
        ],
      });
      expect((await caller.rooms('small')).find(({ id }) => id === 'small-full')).toEqual(found.room);
    });

    test('that failed names what the runtime said', async () => {
      await makeRoom('small-failed');
      await runs('small-failed', 'error', 'CrashLoopBackOff: exited with code 3');
      const { room, why, ...rest } = await detail('small-failed');
      expect(room.status).toBe('error');
      expect(why).toEqual(
        expect.arrayContaining([
          expect.stringMatching(
            /^It became error \S+ s ago \(.*\): the runtime said of its instance error: CrashLoopBackOff: exited with code 3\.$/,
          ),
          'The runtime says that its instance has failed: CrashLoopBackOff: exited with code 3.',
          expect.stringMatching(/^It is no capacity, and is removed in 1 min \d+ s \(.*\) unless it recovers\.$/),
        ]),
      );
      expect(rest).toMatchObject({ instanceDescription: 'CrashLoopBackOff: exited with code 3' });
      expect(rest).not.toHaveProperty('metadata');
    });

    test('that was found running says so, and that it is held back', async () => {
      await runs('small-found', 'ready', '', true);
      await maestro.rooms.markHearing(60_000);
      await says('small-found', 'ready');
      const found = await detail('small-found');
      expect(found).toHaveProperty('adoptedAt');
      expect(found.why).toEqual(
        expect.arrayContaining([
          expect.stringMatching(/^It was found running without a record \S+ s ago \(.*\)\.$/),
          expect.stringMatching(/^It expires in 3 min 5\d s \(.*\), after 4 min of silence, unless it pings\.$/),
          expect.stringMatching(/^It cannot be given to a caller now: a caller may have been given it before .*\.$/),
        ]),
      );
    });

    test('that tries a version is told so, and cannot be drained', async () => {
      await makeRoom('small-trial', 'v2.0.0', true);
      const { why } = await detail('small-trial');
      expect(why).toContainEqual(expect.stringContaining('It only shows whether version v2.0.0 starts'));
      const body = { code: 9, message: expect.stringContaining('only tries a version'), details: [] };
      expect(await caller.rest('DELETE', '/small/rooms/small-trial?drain=true')).toEqual({ status: 400, body });
    });

    test('that drains is told so in every answer, and again does no harm', async () => {
      await makeRoom('small-leaving');
      await runs('small-leaving', 'ready');
      await says('small-leaving', 'occupied', 1);
      for (let time = 1; time <= 2; time++) {
        const answer = await caller.rest('DELETE', '/small/rooms/small-leaving?drain=true');
        expect(answer).toEqual({ status: 200, body: { operationId: '' } });
      }
      const found = await detail('small-leaving');
      expect(found).toMatchObject({ room: { draining: true, status: 'active' }, drainingSince: expect.any(String) });
      expect(found.why).toEqual(
        expect.arrayContaining([
          expect.stringMatching(/^It has been draining for .* goes when its last match is over\.$/),
          'It cannot be given to a caller now: it drains.',
        ]),
      );
    });

    test('whose containers were started again says how often, and how the last one ended', async () => {
      await makeRoom('small-again');
      await runs('small-again', 'ready');
      expect(await detail('small-again')).not.toHaveProperty('restarts');
      const lastEnd = { container: 'game', exitCode: 0, reason: 'OOMKilled', atMs: 1_700_000_000_000 };
      await runs('small-again', 'ready', '', false, { count: 2, lastEnd });
      const found = await detail('small-again');
      expect(found.restarts).toEqual({
        count: 2,
        container: 'game',
        exitCode: 0,
        reason: 'OOMKilled',
        endedAt: '2023-11-14T22:13:20Z',
      });
      expect(found.why).toContainEqual(
        expect.stringMatching(/^Its containers were started again 2 times; .*OOMKilled/),
      );
      await runs('small-again', 'ready', '', false, { count: 3, lastEnd: null });
      expect((await detail('small-again')).restarts).toEqual({ count: 3, container: '', reason: '' });
    });

    test('that terminates says for which reason, goes on doing so when it is drained, and can be told once more', async () => {
      await makeRoom('small-going');
      await maestro.rooms.terminateRooms('small', ['small-going'], { reason: 'scale_down' });
      await maestro.rooms.noteEndAsked('small', ['small-going']);
      expect((await detail('small-going')).why[0]).toMatch(
        /^It became terminating .*: Maestro began to remove it, because there were more rooms than wanted\.$/,
      );
      const drained = await caller.rest('DELETE', '/small/rooms/small-going?drain=true');
      expect(drained).toEqual({ status: 200, body: { operationId: '' } });
      expect(await detail('small-going')).toMatchObject({
        room: { draining: false },
        endRequests: { count: 1, lastAt: expect.any(String) },
      });
      const deleted = await caller.rest('DELETE', '/small/rooms/small-going');
      expect(deleted).toEqual({ status: 200, body: { operationId: expect.stringMatching(/^[0-9a-f-]{36}$/) } });
    });

    test.each([
      ['GET', '/nowhere/rooms', 'scheduler nowhere not found'],
      ['GET', '/nowhere/rooms/small-full', 'scheduler nowhere not found'],
      ['DELETE', '/nowhere/rooms/small-full', 'scheduler nowhere not found'],
      ['DELETE', '/nowhere/rooms/small-full?drain=true', 'scheduler nowhere not found'],
      ['GET', '/small/rooms/nothing', 'room nothing not found in scheduler small'],
      ['GET', '/large/rooms/small-full', 'room small-full not found in scheduler large'],
      ['DELETE', '/small/rooms/nothing', 'room nothing not found in scheduler small'],
      ['DELETE', '/small/rooms/nothing?drain=true', 'room nothing not found in scheduler small'],
    ])('that is not there is not found: %s %s', async (verb, path, message) => {
      expect(await caller.rest(verb, path)).toEqual({ status: 404, body: { code: 5, message, details: [] } });
    });

    test('what was ordered by name names the room, who asked, and that no match counts', async () => {
      const { body } = await caller.rest('DELETE', '/small/rooms/small-full');
      const { operationId: id } = body as { operationId: string };
      const { body: shown } = await caller.rest('GET', `/small/operations/${id}`);
      expect(shown['operation']).toMatchObject({
        definitionName: 'remove_rooms',
        status: 'pending',
        input: { amount: 1, rooms_ids: ['small-full'], reason: 'deleted_by_name' },
      });
      const { body: told } = await caller.rest('GET', `/small/operations/${id}/details`);
      expect(told['details']).toMatchObject({
        actor: 'api',
        reason: 'room small-full was deleted by name, whatever runs in it',
      });
      const again = await caller.rpc(deleteRoom, { schedulerName: 'small', roomName: 'small-full' });
      expect(again).toEqual({ operationId: expect.stringMatching(/^[0-9a-f-]{36}$/) });
      expect(again['operationId']).not.toBe(id);
    });
  });

  test('while Redis is away nothing is known, and nothing is ordered', async () => {
    await gate.stop();
    try {
      for (const [verb, path] of [
        ['GET', '/small/rooms'],
        ['GET', '/small/rooms/small-full'],
        ['DELETE', '/small/rooms/small-full'],
        ['DELETE', '/small/rooms/small-full?drain=true'],
      ] as const) {
        const body = { code: 14, message: 'Redis, which holds the rooms, does not answer.', details: [] };
        expect(await caller.rest(verb, path)).toEqual({ status: 503, body });
      }
      expect(await caller.rpc(listRooms, { schedulerName: 'small' })).toMatchObject({ code: 14 });
    } finally {
      gate = await TcpGate.start(Number(new URL(servers.redis.url).port), gate.port);
    }
    await eventually(async () => expect((await caller.rest('GET', '/small/rooms')).status).toBe(200), {
      timeoutMs: 20_000,
    });
  }, 60_000);
});

describe('rooms of a scheduler, removed', () => {
  let maestro: MaestroInProcess;
  let caller: Caller;

  beforeAll(async () => {
    maestro = await startMaestroInProcess(['management-api', 'rooms-api', 'worker', 'runtime-watcher'], {
      MAESTRO_SERVICES_ROOMMANAGER_ROOMDRAINCONFIRMMILLIS: '300',
      // What happens here happens because somebody rang.
      MAESTRO_WORKERS_HEALTHCONTROLLERINTERVAL: '10m',
    });
    caller = new Caller(maestro);
  }, 60_000);
  afterAll(async () => {
    caller?.grpc.close();
    await maestro?.close();
  }, 60_000);

  async function fleetOf(scheduler: string): Promise<string[]> {
    await caller.create(scheduler);
    return eventually(
      async () => {
        const rooms = await caller.rooms(scheduler, '?status=ready');
        expect(rooms).toHaveLength(3);
        return rooms.map(({ id }) => id);
      },
      { timeoutMs: 20_000 },
    );
  }

  async function ping(scheduler: string, room: string, status: 'ready' | 'occupied'): Promise<void> {
    const url = `http://127.0.0.1:${maestro.ports.rooms}/scheduler/${scheduler}/rooms/${room}/ping`;
    const answer = await sendHttp(url, 'PUT', JSON.stringify({ status, timestamp: '1' }));
    expect(JSON.parse(answer.text)).toMatchObject({ success: true });
  }

  const readyRooms = (scheduler: string, others: string[]) =>
    eventually(
      async () => {
        const ready = (await caller.rooms(scheduler, '?status=ready')).filter(({ draining }) => !draining);
        expect(ready).toHaveLength(3);
        expect(ready.map(({ id }) => id)).toEqual(expect.arrayContaining(others));
      },
      { timeoutMs: 20_000 },
    );

  const isGone = (scheduler: string, room: string) =>
    eventually(
      async () => expect(await caller.rest('GET', `/${scheduler}/rooms/${room}`)).toMatchObject({ status: 404 }),
      { timeoutMs: 20_000 },
    );

  interface EndedOperation {
    status: string;
    input: object;
    executionHistory: { event: string }[];
  }

  const removals = async (scheduler: string, room: string): Promise<EndedOperation[]> => {
    const { body } = await caller.rest('GET', `/${scheduler}/operations?stage=final`);
    const all = await Promise.all(
      (body['operations'] as { id: string; definitionName: string }[])
        .filter(({ definitionName }) => definitionName === 'remove_rooms')
        .map(async ({ id }) => {
          const answer = await caller.rest('GET', `/${scheduler}/operations/${id}`);
          return answer.body['operation'] as unknown as EndedOperation;
        }),
    );
    return all.filter(({ input }) => JSON.stringify(input).includes(room));
  };

  /** The room may be gone before the operation says that it ended. */
  const removalOf = (scheduler: string, room: string): Promise<EndedOperation> =>
    eventually(async () => {
      const found = await removals(scheduler, room);
      expect(found).toHaveLength(1);
      return found[0]!;
    });

  test.each([
    ['ready', 'REST'],
    ['occupied', 'gRPC'],
  ] as const)(
    'a %s room that is deleted by name over %s goes, and is replaced',
    async (status, wire) => {
      const scheduler = `delete-${status}`;
      const [room = '', ...others] = await fleetOf(scheduler);
      await ping(scheduler, room, status);
      const answer =
        wire === 'REST'
          ? (await caller.rest('DELETE', `/${scheduler}/rooms/${room}`)).body
          : await caller.rpc(deleteRoom, { schedulerName: scheduler, roomName: room });
      expect(answer).toEqual({ operationId: expect.stringMatching(/^[0-9a-f-]{36}$/) });
      await isGone(scheduler, room);
      await readyRooms(scheduler, others);
      const removal = await removalOf(scheduler, room);
      expect(removal).toMatchObject({
        status: 'finished',
        input: { amount: 1, rooms_ids: [room], reason: 'deleted_by_name' },
      });
      expect(removal.executionHistory.map(({ event }) => event)).toEqual(
        expect.arrayContaining([`removed rooms: [${room}]`, 'the room was named by an operator, so no match kept it']),
      );
      expect(maestro.runtime.calls).toContainEqual({ method: 'deleteInstance', id: room, reason: 'deleted_by_name' });
    },
    60_000,
  );

  test('a room that drains is replaced while its match goes on, and goes when it is over', async () => {
    const scheduler = 'drain-occupied';
    const [room = '', ...others] = await fleetOf(scheduler);
    await ping(scheduler, room, 'occupied');
    const answer = await caller.rpc(deleteRoom, { schedulerName: scheduler, roomName: room, drain: true });
    expect(answer).toEqual({ operationId: '' });
    await readyRooms(scheduler, others);
    const rooms = await caller.rooms(scheduler);
    expect(rooms).toHaveLength(4);
    expect(rooms.find(({ id }) => id === room)).toMatchObject({ status: 'occupied', draining: true });
    expect(await removals(scheduler, room)).toEqual([]);

    await ping(scheduler, room, 'ready');
    await isGone(scheduler, room);
    await readyRooms(scheduler, others);
    expect(await removalOf(scheduler, room)).toMatchObject({
      status: 'finished',
      input: { amount: 1, rooms_ids: [room], reason: 'drained' },
    });
  }, 60_000);

  test('an empty room that drains goes after the confirm delay, once it was heard', async () => {
    const scheduler = 'drain-empty';
    const [room = '', ...others] = await fleetOf(scheduler);
    await caller.rest('DELETE', `/${scheduler}/rooms/${room}?drain=true`);
    await readyRooms(scheduler, others);
    expect(await removals(scheduler, room)).toEqual([]);
    await ping(scheduler, room, 'ready');
    await isGone(scheduler, room);
    expect(await removalOf(scheduler, room)).toMatchObject({ status: 'finished', input: { reason: 'drained' } });
  }, 60_000);

  test('a match that begins while the room is being removed as drained keeps it', async () => {
    const scheduler = 'drain-late';
    const [room = ''] = await fleetOf(scheduler);
    await ping(scheduler, room, 'occupied');
    const ended = await maestro.rooms.terminateRooms(scheduler, [room], { reason: 'drained' });
    expect(ended).toEqual(new Map([[room, 'has_match']]));
  }, 60_000);
});
