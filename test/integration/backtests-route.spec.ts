import type { AddressInfo } from 'node:net';
import { fromJson, type JsonObject } from '@bufbuild/protobuf';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { startGrpcServer, type RunningGrpcServer } from '../../src/api/grpc/grpc-server';
import { createHttpApplication } from '../../src/api/http/http-application';
import { ManagementApiModule } from '../../src/api/management/management-api.module';
import { managementGrpcServices } from '../../src/api/management/management-grpc-services';
import { BacktestsService } from '../../src/proto/gen/maestro/v1/backtests_pb';
import { eventually } from '../support/eventually';
import { fakeManagementFeatures } from '../support/fake-management-features';
import { GrpcClient } from '../support/grpc-client';
import { RecordedLog } from '../support/recorded-log';

const { runBacktest } = BacktestsService.method;
const loopback = '127.0.0.1';

/** Four hours in which players come and go. */
const load = Array.from({ length: 25 }, (_, index) => ({
  time: new Date(Date.UTC(2026, 5, 1, 0, index * 10)).toISOString(),
  matches: Math.round(30 + 20 * Math.sin(index / 4)),
}));
const buffer = (amount: number): JsonObject => ({
  autoscaling: {
    enabled: true,
    min: 1,
    max: 600,
    cooldown: 60,
    policy: { type: 'fixedBuffer', parameters: { fixedBuffer: { amount } } },
  },
});
const webhook = {
  autoscaling: { enabled: true, min: 1, max: 50, policy: { type: 'webhook', parameters: {} } },
  extensions: { autoscaling: { webhook: { url: 'http://forecast.example.com' } } },
  roomsReplicas: 5,
};
/** Takes some seconds when nobody ends it. */
const long = {
  policies: [{ name: 'long', scheduler: { roomsReplicas: 200 } }],
  load: [
    { time: '2026-06-01T00:00:00Z', matches: 100 },
    { time: '2026-06-01T13:00:00Z', matches: 100 },
  ],
  lookIntervalSeconds: 1,
};

interface Result {
  name: string;
  served: number;
  matches: number;
  foundNoRoom: number;
  roomHours: number;
  idleRoomHours: number;
  peakRooms: number;
  notes: string[];
  timeline: { time: string; wanted: number; rooms: number }[];
}

describe('the route for backtests', () => {
  let features: ReturnType<typeof fakeManagementFeatures>;
  let app: NestFastifyApplication;
  let url: string;
  let server: RunningGrpcServer;
  let grpc: GrpcClient;

  beforeAll(async () => {
    features = fakeManagementFeatures();
    const logger = new RecordedLog();
    app = await createHttpApplication(ManagementApiModule.register({ providers: features.providers }), { logger });
    await app.listen(0, loopback);
    url = `http://${loopback}:${(app.getHttpServer() as { address(): AddressInfo }).address().port}/backtests`;
    server = await startGrpcServer({ host: loopback, port: 0, logger, services: managementGrpcServices(app) });
    grpc = new GrpcClient(server.port);
  });
  afterAll(async () => {
    grpc.close();
    await server.stop(0);
    await app.close();
  });

  async function post(body: object, signal?: AbortSignal): Promise<{ status: number; body: JsonObject }> {
    const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body), ...(signal ? { signal } : {}) });
    return { status: answer.status, body: (await answer.json()) as JsonObject };
  }

  test('compares policies by whom they turn away and what they cost', async () => {
    const policies = [
      { name: 'one free', scheduler: buffer(1) },
      { name: 'twenty free', scheduler: buffer(20) },
      { name: 'asks', scheduler: webhook },
    ];
    const { status, body } = await post({ policies, load, matchLengthSeconds: 600 });
    expect(status).toBe(200);
    const [tight, generous, asks] = body['results'] as unknown as [Result, Result, Result];
    expect([tight, generous, asks].map(({ name }) => name)).toEqual(['one free', 'twenty free', 'asks']);
    expect(tight.served).toBeLessThan(1);
    expect(generous).toMatchObject({ served: 1, foundNoRoom: 0, notes: [] });
    expect(tight.foundNoRoom).toBeGreaterThan(0);
    expect(generous.idleRoomHours).toBeGreaterThan(tight.idleRoomHours);
    expect(asks.notes).toEqual([expect.stringContaining('webhooks are not asked')]);
    const { timeline } = generous;
    expect(timeline.length).toBeGreaterThan(100);
    expect(timeline.length).toBeLessThanOrEqual(480);
    expect(timeline.map(({ time }) => Date.parse(time))).toEqual(
      timeline.map(({ time }) => Date.parse(time)).sort((one, other) => one - other),
    );
    expect(Math.max(...timeline.map(({ rooms }) => rooms))).toBeLessThanOrEqual(generous.peakRooms);
  });

  const callers: [string, (signal: AbortSignal) => Promise<unknown>][] = [
    ['REST', (signal) => post(long, signal)],
    [
      'gRPC',
      (signal) =>
        grpc.call(runBacktest, fromJson(runBacktest.input, long), {
          onStart: (call) => signal.addEventListener('abort', () => call.cancel()),
        }),
    ],
  ];
  test.each(callers)('ends one whose caller over %s hangs up, and refuses others until then', async (_, begin) => {
    const begun = features.backtests.outcomes.length;
    const hangUp = new AbortController();
    const call = begin(hangUp.signal).catch(() => 'hung up');
    const outcome = await eventually(() => {
      expect(features.backtests.outcomes.length).toBe(begun + 1);
      return { promise: features.backtests.outcomes[begun]! };
    });
    expect(await post({ policies: [{ name: 'one', scheduler: { roomsReplicas: 1 } }], load })).toMatchObject({
      status: 429,
      body: { code: 8, message: expect.stringContaining('another backtest') },
    });
    hangUp.abort();
    await expect(outcome.promise).rejects.toMatchObject({ code: 'backtest.canceled' });
    expect(await call).toBe('hung up');
    expect(await post({ policies: [{ name: 'one', scheduler: { roomsReplicas: 1 } }], load })).toMatchObject({
      status: 200,
    });
  });

  test.each<[string, object, string]>([
    [
      'a start delay of less than a second',
      { startDelaySeconds: -1 },
      'field "startDelaySeconds": must be 1 or greater',
    ],
    ['a match of no time', { matchLengthSeconds: 0 }, 'field "matchLengthSeconds": must be 1 or greater'],
    ['looks without a pause', { lookIntervalSeconds: 0 }, 'field "lookIntervalSeconds": must be 1 or greater'],
    [
      'more rooms than are simulated',
      { policies: [{ name: 'many', scheduler: { roomsReplicas: 5_001 } }] },
      '5000 rooms',
    ],
  ])('refuses %s', async (_, changes, message) => {
    const policies = [{ name: 'one', scheduler: { roomsReplicas: 1 } }];
    expect(await post({ policies, load, ...changes })).toMatchObject({
      status: 400,
      body: { code: 3, message: expect.stringContaining(message) },
    });
  });
});
