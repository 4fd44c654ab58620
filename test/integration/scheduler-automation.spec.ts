import { fromJson, type JsonObject, type JsonValue } from '@bufbuild/protobuf';
import type { ServiceError } from '@grpc/grpc-js';
import { Redis } from 'ioredis';
import { RedisHealthRecords } from '../../src/adapters/redis/redis-health-records';
import type { UnaryMethod } from '../../src/api/http/call-rpc';
import { encodeMessage } from '../../src/api/http/protojson';
import { SchedulerAutomationService } from '../../src/proto/gen/maestro/v1/scheduler_automation_pb';
import { sampleContainer } from '../conformance/sample-scheduler';
import { aHealthRecord } from '../contract/health-records.contract';
import { startTestPostgres, startTestRedis } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import { GrpcClient } from '../support/grpc-client';
import { startMaestroInProcess, type MaestroInProcess } from '../support/maestro-in-process';
import { silentImage } from '../support/pretend-names';
import { RecordedLog } from '../support/recorded-log';
import { sendHttp } from '../support/send-http';
import { TcpGate } from '../support/tcp-gate';

const { explainScheduler, getRollout } = SchedulerAutomationService.method;

interface Answer {
  status: number;
  body: JsonObject;
}

/** A client of a Maestro over REST and gRPC. */
class Caller {
  readonly grpc: GrpcClient;

  constructor(private readonly maestro: MaestroInProcess) {
    this.grpc = new GrpcClient(maestro.ports.managementGrpc);
  }

  async rest(verb: string, path: string, body?: unknown): Promise<Answer> {
    const url = `http://127.0.0.1:${this.maestro.ports.management}${path}`;
    const answer = await sendHttp(url, verb, body === undefined ? undefined : JSON.stringify(body));
    return { status: answer.status, body: JSON.parse(answer.text) as JsonObject };
  }

  async ok(verb: string, path: string, body?: unknown): Promise<JsonObject> {
    const answer = await this.rest(verb, path, body);
    expect(answer).toMatchObject({ status: 200 });
    return answer.body;
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

  create(name: string, roomsReplicas = 3): Promise<JsonObject> {
    return this.ok('POST', '/schedulers', {
      name,
      game: 'arena',
      maxSurge: '34%',
      portRange: { start: 40_000, end: 60_000 },
      roomsReplicas,
      spec: { terminationGracePeriod: '1s', containers: [sampleContainer()] },
    });
  }
}

describe('the automation of a scheduler, before anybody looked', () => {
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
    // No worker: nobody looks.
    const urls = { postgresUrl: postgres.url, redisUrl: redisUrl.href };
    maestro = await startMaestroInProcess(['management-api'], {}, urls);
    caller = new Caller(maestro);
    await caller.create('arena');
  }, 60_000);
  afterAll(async () => {
    caller?.grpc.close();
    await maestro?.close();
    await gate?.stop();
    await Promise.all([servers?.postgres.stop(), servers?.redis.stop()]);
  }, 60_000);

  test('is explained by that, and by the work that a look would wait for', async () => {
    const explained = await caller.ok('GET', '/schedulers/arena/explain');
    expect(explained).toEqual({
      version: '',
      formula: '',
      notes: [],
      actions: [],
      blockedBy: [
        {
          code: 'not_looked_yet',
          detail:
            'Nobody has looked at the rooms of scheduler arena yet, or what was seen is lost; a look comes within 60 s once a worker runs and its other work is done.',
        },
      ],
      automation: { paused: false, by: '', reason: '' },
      busyWith: expect.objectContaining({ definition: 'create_scheduler', status: 'pending', actor: 'api' }),
    });
    expect(await caller.rpc(explainScheduler, { schedulerName: 'arena' })).toEqual(explained);
    expect(await caller.ok('GET', '/schedulers/arena/rollout')).toEqual({
      phase: 'unknown',
      version: 'v1.0.0',
      replacedVersions: [],
      waitsFor: [],
    });
  });

  test.each([
    ['GET', 'explain'],
    ['GET', 'rollout'],
    ['POST', 'automation/pause'],
    ['POST', 'automation/resume'],
  ])('is not there for %s %s of a scheduler that is not', async (verb, path) => {
    expect(await caller.rest(verb, `/schedulers/nowhere/${path}`)).toEqual({
      status: 404,
      body: { code: 5, message: 'scheduler nowhere not found', details: [] },
    });
  });

  test('is paused since the first time, for the last reason, and resumed any number of times', async () => {
    const pause = (reason: string) => caller.ok('POST', '/schedulers/arena/automation/pause', { reason });
    const { automation: first } = (await pause('tea')) as { automation: JsonObject };
    expect(first).toEqual({ paused: true, since: expect.any(String), by: 'api', reason: 'tea' });
    expect(await pause('more tea')).toEqual({ automation: { ...first, reason: 'more tea' } });
    expect(await caller.ok('GET', '/schedulers/arena/explain')).toMatchObject({
      automation: { ...first, reason: 'more tea' },
    });
    for (let times = 0; times < 2; times++) {
      expect(await caller.ok('POST', '/schedulers/arena/automation/resume')).toEqual({
        automation: { paused: false, by: '', reason: '' },
      });
    }
    expect(await caller.rest('POST', '/schedulers/arena/automation/pause', { reason: 'x'.repeat(501) })).toEqual({
      status: 400,
      body: { code: 3, message: 'the reason of a pause may have 500 characters, and has 501', details: [] },
    });
  });

  test('a version that an automatic rollback brought back says so, and why as long as that is remembered', async () => {
    await maestro.sql(`UPDATE maestro.schedulers SET brought_back_version = version WHERE name = 'arena'`);
    const rollback = async () => (await caller.ok('GET', '/schedulers/arena/rollout'))['automaticRollback'];
    expect(await rollback()).toEqual({ reason: '', operationId: '', version: 'v1.0.0' });
    await maestro.sql(
      `UPDATE maestro.operations SET status = 'finished', finished_at = clock_timestamp()
        WHERE scheduler_name = 'arena' AND definition = 'create_scheduler'`,
    );
    const { operationId } = await caller.ok('PUT', '/schedulers/arena', { version: 'v1.0.0' });
    const end = (actor: string) =>
      maestro.sql(
        `UPDATE maestro.operations SET status = 'finished', actor = $2, reason = 'version v2.0.0 is rolled back: it fails',
           finished_at = '2026-05-01T10:00:00Z' WHERE id = $1`,
        [operationId, actor],
      );
    await end('api');
    expect(await rollback()).toEqual({ reason: '', operationId: '', version: 'v1.0.0' });
    await end('health_controller');
    expect(await rollback()).toEqual({
      reason: 'version v2.0.0 is rolled back: it fails',
      operationId,
      version: 'v1.0.0',
      at: '2026-05-01T10:00:00Z',
    });
    await maestro.sql(`UPDATE maestro.schedulers SET brought_back_version = '' WHERE name = 'arena'`);
    expect(await rollback()).toBeUndefined();
  });

  test('has an end that is estimated from what the looks left, unless it is paused', async () => {
    const redis = new Redis(servers.redis.url);
    try {
      const oldestMs = Date.now() - 60_000;
      const [arena] = await maestro.sql(`SELECT created_at FROM maestro.schedulers WHERE name = 'arena'`);
      await new RedisHealthRecords(redis, new RecordedLog()).write(
        'arena',
        aHealthRecord({
          createdAtMs: (arena!['created_at'] as Date).getTime(),
          seenAtMs: Date.now(),
          rollout: { outdated: 40, leaving: 10, starting: 5, updated: 50, upper: 105, deadlineAtMs: null },
          memory: {
            remembered: [],
            webhookAnswers: {},
            rolloutSamples: [100, 75, 60].map((left, index) => ({ left, atMs: oldestMs + index * 10_000 })),
            outdatedAtMs: null,
          },
        }),
      );
      const before = Date.now();
      const rollout = await caller.ok('GET', '/schedulers/arena/rollout');
      expect(rollout).toMatchObject({ phase: 'replacing', progress: 0.5, waitsFor: [{ code: 'surge' }] });
      // Half of them are gone: the others take as long once more.
      const endsAtMs = Date.parse(rollout['estimatedEndAt'] as string);
      expect(endsAtMs).toBeGreaterThanOrEqual(before + (before - oldestMs));
      expect(endsAtMs).toBeLessThanOrEqual(Date.now() + (Date.now() - oldestMs));
      await caller.ok('POST', '/schedulers/arena/automation/pause', {});
      const paused = await caller.ok('GET', '/schedulers/arena/rollout');
      expect(paused).toMatchObject({ phase: 'replacing', waitsFor: [{ code: 'paused' }] });
      expect(paused).not.toHaveProperty('estimatedEndAt');
      await caller.ok('POST', '/schedulers/arena/automation/resume', {});
    } finally {
      redis.disconnect();
    }
  });

  test('is told neither while Redis is away, and can be paused and resumed all the same', async () => {
    await gate.stop();
    try {
      const body = { code: 14, message: 'Redis, which holds the rooms, does not answer.', details: [] };
      for (const path of ['explain', 'rollout']) {
        expect(await caller.rest('GET', `/schedulers/arena/${path}`)).toEqual({ status: 503, body });
      }
      expect(await caller.rpc(getRollout, { schedulerName: 'arena' })).toMatchObject({ code: 14 });
      await caller.ok('POST', '/schedulers/arena/automation/pause', {});
      await caller.ok('POST', '/schedulers/arena/automation/resume', {});
    } finally {
      gate = await TcpGate.start(Number(new URL(servers.redis.url).port), gate.port);
    }
    await eventually(() => caller.ok('GET', '/schedulers/arena/explain'), { timeoutMs: 20_000 });
  }, 60_000);
});

describe('the automation of a scheduler that is looked after', () => {
  let maestro: MaestroInProcess;
  let caller: Caller;
  const patience = { timeoutMs: 30_000, everyMs: 50 };

  beforeAll(async () => {
    // Nobody looks unless something rings.
    const rarely = {
      MAESTRO_WORKERS_HEALTHCONTROLLERINTERVAL: '3600s',
      MAESTRO_RUNTIMEWATCHER_RECONCILEINTERVAL: '3600s',
      MAESTRO_RUNTIMEWATCHER_DOUBTINTERVAL: '3600s',
      MAESTRO_SERVICES_ROOMMANAGER_ROOMDRAINCONFIRMMILLIS: '100',
    };
    maestro = await startMaestroInProcess(['management-api', 'rooms-api', 'worker', 'runtime-watcher'], rarely);
    caller = new Caller(maestro);
    await caller.create('arena');
  }, 90_000);
  afterAll(async () => {
    caller?.grpc.close();
    await maestro?.close();
  }, 60_000);

  const explain = () => caller.ok('GET', '/schedulers/arena/explain');
  const rollout = () => caller.ok('GET', '/schedulers/arena/rollout');
  const explained = (expected: object) =>
    eventually(async () => expect(await explain()).toMatchObject(expected), patience);

  test('is explained by what the last look saw, decided and why', async () => {
    await explained({ inputs: { rooms: { ready: 3 } }, blockedBy: [], actions: [] });
    const answer = await explain();
    expect(answer).toMatchObject({
      version: 'v1.0.0',
      desired: 3,
      formula: expect.stringContaining('3'),
      inputs: { available: 3, runningMatches: 0, roomsReplicas: 3, maxMatches: 1, maxSurge: '34%', earlyEnds: 0 },
      automation: { paused: false },
    });
    const { seenAt, nextLookAt, inputs } = answer as Record<'seenAt' | 'nextLookAt', string> & { inputs: JsonObject };
    expect(inputs).not.toHaveProperty('max');
    expect(Date.parse(nextLookAt) - Date.parse(seenAt)).toBe(3_600_000);
    expect(await rollout()).toMatchObject({ phase: 'none', version: 'v1.0.0', seenAt: expect.any(String) });
  }, 60_000);

  test('does nothing while it is paused, and says so; resumed, it goes on at once', async () => {
    await caller.ok('POST', '/schedulers/arena/automation/pause', { reason: 'the cluster moves' });
    await caller.ok('PATCH', '/schedulers/arena', { roomsReplicas: 5 });
    await explained({ version: 'v1.1.0', desired: 5, inputs: { available: 3 }, actions: [] });
    const paused = { code: 'paused', detail: expect.stringContaining('by api: the cluster moves') };
    expect(await explain()).toMatchObject({ blockedBy: [paused], automation: { reason: 'the cluster moves' } });
    expect(await caller.ok('GET', '/schedulers/arena/rooms')).toMatchObject({ total: 3 });
    // What rang for the new version has rung, late rings (5 s) included: nothing but the resumption has the rooms looked at now.
    await eventually(async () => {
      const { seenAt } = (await explain()) as { seenAt: string };
      expect(Date.now() - Date.parse(seenAt)).toBeGreaterThan(6_000);
    }, patience);
    expect(await caller.ok('GET', '/schedulers/arena/rooms')).toMatchObject({ total: 3 });
    await caller.ok('POST', '/schedulers/arena/automation/resume');
    await explained({ desired: 5, inputs: { available: 5, rooms: { ready: 5 } }, blockedBy: [] });
  }, 60_000);

  test('replaces rooms of older versions, and tells how far it is', async () => {
    await caller.ok('POST', '/schedulers/arena/automation/pause', {});
    const spec = { containers: [sampleContainer({ image: 'room:2' })] };
    await caller.ok('PATCH', '/schedulers/arena', { spec });
    await eventually(async () => expect(await rollout()).toMatchObject({ phase: 'replacing' }), patience);
    const halted = await rollout();
    expect(halted).toMatchObject({
      version: 'v2.0.0',
      replacedVersions: ['v1.1.0', 'v1.0.0'].sort(),
      rooms: { outdated: 5, leavingWithMatch: 0, starting: 0, updated: 0, mostAtOnce: 7 },
      progress: 0,
      waitsFor: [{ code: 'paused' }],
    });
    expect(halted).not.toHaveProperty('estimatedEndAt');
    expect(await caller.rpc(getRollout, { schedulerName: 'arena' })).toEqual(halted);
    await caller.ok('POST', '/schedulers/arena/automation/resume');
    // The pretended rooms say nothing more, so that the older ones stand until somebody says for them that they are empty.
    await eventually(async () => expect(await rollout()).toMatchObject({ phase: 'finishing' }), patience);
    expect(await rollout()).toMatchObject({ version: 'v2.0.0', replacedVersions: ['v1.0.0', 'v1.1.0'] });
    const { rooms } = (await caller.ok('GET', '/schedulers/arena/rooms')) as {
      rooms: { id: string; version: string }[];
    };
    const older = rooms.filter(({ version }) => version !== 'v2.0.0');
    expect(older).toHaveLength(5);
    for (const { id } of older) {
      const ping = JSON.stringify({ status: 'ready', timestamp: String(Math.floor(Date.now() / 1000)) });
      const url = `http://127.0.0.1:${maestro.ports.rooms}/scheduler/arena/rooms/${id}/ping`;
      expect(await sendHttp(url, 'PUT', ping)).toMatchObject({ status: 200 });
    }
    // Nobody looks by the clock here: that they go is what brings the look.
    await eventually(async () => expect(await rollout()).toMatchObject({ phase: 'none' }), patience);
    expect(await rollout()).toEqual({
      phase: 'none',
      version: 'v2.0.0',
      replacedVersions: [],
      waitsFor: [],
      seenAt: expect.any(String),
    });
  }, 90_000);

  test('is preparing while a room tries a version', async () => {
    await caller.create('tried', 0);
    const spec = { containers: [sampleContainer({ image: silentImage })] };
    await eventually(async () => {
      await caller.ok('PATCH', '/schedulers/tried', { spec });
    }, patience);
    await eventually(
      async () =>
        expect(await caller.ok('GET', '/schedulers/tried/rollout')).toMatchObject({
          phase: 'preparing',
          version: 'v1.0.0',
          versionChange: {
            operation: { definition: 'create_new_scheduler_version', status: 'in_progress' },
            version: '',
            waiting: true,
          },
        }),
      patience,
    );
    const { versionChange } = (await caller.ok('GET', '/schedulers/tried/rollout')) as {
      versionChange: { operation: { id: string } };
    };
    const { id: operationId } = versionChange.operation;
    await caller.ok('POST', `/schedulers/tried/operations/${operationId}/cancel`);
    await eventually(
      async () =>
        expect(await caller.ok('GET', '/schedulers/tried/rollout')).toMatchObject({
          phase: 'none',
          failedVersionChange: { operationId, status: 'canceled', reason: 'cancellation requested through the API' },
        }),
      patience,
    );
  }, 90_000);

  test('a version change that failed is told, and why, until another one succeeds', async () => {
    await caller.create('broken', 0);
    const rolloutOf = () => caller.ok('GET', '/schedulers/broken/rollout');
    await eventually(async () => {
      expect(await caller.ok('GET', '/schedulers/broken')).toMatchObject({ scheduler: { state: 'in-sync' } });
    }, patience);
    expect(await rolloutOf()).not.toHaveProperty('failedVersionChange');
    const { operationId } = await caller.ok('PUT', '/schedulers/broken', { version: 'v9.0.0' });
    await eventually(async () => {
      expect(await rolloutOf()).toMatchObject({
        phase: 'none',
        version: 'v1.0.0',
        failedVersionChange: {
          operationId,
          definition: 'switch_active_version',
          status: 'error',
          version: 'v9.0.0',
          actor: 'api',
          at: expect.any(String),
          reason: expect.stringContaining('error fetching scheduler version to be switched to'),
        },
      });
    }, patience);
    expect(await caller.rpc(getRollout, { schedulerName: 'broken' })).toEqual(await rolloutOf());
    await caller.ok('PATCH', '/schedulers/broken', { maxSurge: '50%' });
    await eventually(async () => {
      const rollout = await rolloutOf();
      expect(rollout).toMatchObject({ version: 'v1.1.0' });
      expect(rollout).not.toHaveProperty('failedVersionChange');
    }, patience);
  }, 90_000);
});
