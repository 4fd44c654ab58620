import { fromJson } from '@bufbuild/protobuf';
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import type { ServiceError } from '@grpc/grpc-js';
import type { Provider } from '@nestjs/common';
import type { AddressInfo } from 'node:net';
import { Registry } from 'prom-client';
import { PrometheusMetrics } from '../../src/adapters/prometheus/prometheus-metrics';
import { closeRedisConnection, createRedisConnection } from '../../src/adapters/redis/redis-connection';
import { RedisNotices } from '../../src/adapters/redis/redis-notices';
import { RedisRoomAllocationStore } from '../../src/adapters/redis/redis-room-allocation-store';
import { RedisRoomStore } from '../../src/adapters/redis/redis-room-store';
import { startGrpcServer, type GrpcServerOptions } from '../../src/api/grpc/grpc-server';
import type { UnaryMethod } from '../../src/api/http/call-rpc';
import { createHttpApplication } from '../../src/api/http/http-application';
import { encodeMessage } from '../../src/api/http/protojson';
import { RoomsApiModule } from '../../src/api/rooms/rooms-api.module';
import { roomsGrpcServices } from '../../src/api/rooms/rooms-grpc-services';
import { RoomsApiOptions } from '../../src/api/rooms/rooms-handlers';
import { EventForwardingService } from '../../src/features/events/event-forwarding.service';
import { LoopHost, type Loop } from '../../src/features/loop-host';
import { AllocationExpiry, AllocationExpiryOptions } from '../../src/features/rooms/allocation-expiry';
import { AllocationWaits, AllocationWaitsOptions } from '../../src/features/rooms/allocation-waits';
import { HealthRings, HealthRingsOptions } from '../../src/features/rooms/health-rings';
import { NoticeBoard } from '../../src/features/rooms/notice-board';
import { RoomAddressesService } from '../../src/features/rooms/room-addresses.service';
import { RoomAllocationsOptions, RoomAllocationsService } from '../../src/features/rooms/room-allocations.service';
import { RoomPingsService } from '../../src/features/rooms/room-pings.service';
import { RoomStreamsOptions, RoomStreamsService } from '../../src/features/rooms/room-streams.service';
import { UnheardAllocations } from '../../src/features/rooms/unheard-allocations';
import { SchedulerSettingsCache, SchedulerSettingsOptions } from '../../src/features/schedulers/scheduler-settings';
import { SchedulerVersionsCache } from '../../src/features/schedulers/scheduler-versions';
import { EventForwarder } from '../../src/ports/event-forwarder';
import { HealthRecords } from '../../src/ports/health-records';
import { Logger } from '../../src/ports/logger';
import { Metrics } from '../../src/ports/metrics';
import { Notices } from '../../src/ports/notices';
import { RoomAllocationStore } from '../../src/ports/room-allocation-store';
import { RoomStore } from '../../src/ports/room-store';
import { SchedulerStore } from '../../src/ports/scheduler-store';
import { WakeUps } from '../../src/ports/wake-ups';
import { FakeHealthRecords } from './fake-health-records';
import { GrpcClient } from './grpc-client';
import { RecordedLog } from './recorded-log';
import { RecordedWakeUps } from './recorded-wake-ups';
import { sendHttp } from './send-http';

const loopback = '127.0.0.1';

export interface RoomsApiSettings {
  maxMetadataBytes: number;
  pingTimeoutMs: number;
  allocationTtlMs: number;
  waits: AllocationWaitsOptions;
  streamIdleTimeoutMs: number;
}

export const roomsApiSettings: RoomsApiSettings = {
  maxMetadataBytes: 2_000,
  pingTimeoutMs: 600_000,
  allocationTtlMs: 60_000,
  waits: { maxCallers: 100, pollIntervalMs: 1_000, aliveMs: 5_000 },
  streamIdleTimeoutMs: 60_000,
};

/** What the rooms API's handlers call, but for the ports. */
export function roomsFeatures(settings: RoomsApiSettings): Provider[] {
  const { maxMetadataBytes, pingTimeoutMs } = settings;
  return [
    { provide: SchedulerSettingsOptions, useValue: { pollIntervalMs: 60_000 } },
    { provide: RoomsApiOptions, useValue: { maxMetadataBytes } },
    { provide: RoomStreamsOptions, useValue: { maxMetadataBytes, idleTimeoutMs: settings.streamIdleTimeoutMs } },
    {
      provide: RoomAllocationsOptions,
      useValue: { ttlMs: settings.allocationTtlMs, pingTimeoutMs, adoptionHoldMs: 0 },
    },
    { provide: AllocationWaitsOptions, useValue: settings.waits },
    { provide: AllocationExpiryOptions, useValue: { intervalMs: 20 } },
    SchedulerSettingsCache,
    SchedulerVersionsCache,
    { provide: HealthRingsOptions, useValue: { intervalMs: 20 } },
    HealthRings,
    RoomPingsService,
    EventForwardingService,
    RoomAddressesService,
    NoticeBoard,
    RoomStreamsService,
    AllocationWaits,
    UnheardAllocations,
    RoomAllocationsService,
    AllocationExpiry,
  ];
}

export type RpcOutcome = { json: JsonObject } | { code: number; message: string };

/** How a test's rpcs are reached over REST. */
export type RestRoutes = ReadonlyMap<UnaryMethod, (message: Record<string, string>) => [verb: string, path: string]>;

/** A rooms API of its own, as another process would be: its connections, memory and ports are shared with nobody. */
export class RoomsApiInTest {
  private constructor(
    readonly restUrl: string,
    readonly grpcPort: number,
    readonly client: GrpcClient,
    readonly registry: Registry,
    readonly log: RecordedLog,
    readonly wakeUps: RecordedWakeUps,
    private readonly routes: RestRoutes,
    /** Ends its waits, as a process that begins to stop does. */
    readonly beginStop: () => void,
    readonly close: () => Promise<void>,
  ) {}

  static async start({
    redisUrl,
    schedulers,
    routes,
    settings = {},
    loops = [NoticeBoard],
    requestTimeoutMs = 30_000,
    grpc = {},
  }: {
    redisUrl: string;
    schedulers: Pick<SchedulerStore, 'listSettings' | 'findVersions'>;
    routes: RestRoutes;
    settings?: Partial<RoomsApiSettings>;
    loops?: (new (...parts: never[]) => Loop)[];
    requestTimeoutMs?: number;
    grpc?: Pick<GrpcServerOptions, 'keepAlive'>;
  }): Promise<RoomsApiInTest> {
    const [registry, log, wakeUps] = [new Registry(), new RecordedLog(), new RecordedWakeUps()];
    const redis = createRedisConnection({
      url: redisUrl,
      name: 'test-rooms-api',
      commandTimeoutMs: 1_500,
      maxRetriesPerRequest: 1,
    });
    const module = RoomsApiModule.register({
      providers: [
        { provide: Logger, useValue: log },
        { provide: Metrics, useValue: new PrometheusMetrics(registry) },
        { provide: RoomStore, useValue: new RedisRoomStore(redis) },
        { provide: RoomAllocationStore, useValue: new RedisRoomAllocationStore(redis) },
        { provide: Notices, useValue: new RedisNotices({ url: redisUrl, name: 'test-notices' }, log) },
        { provide: WakeUps, useValue: wakeUps },
        { provide: HealthRecords, useValue: new FakeHealthRecords() },
        { provide: EventForwarder, useValue: {} },
        { provide: SchedulerStore, useValue: schedulers },
        ...roomsFeatures({ ...roomsApiSettings, ...settings }),
        { provide: LoopHost, inject: loops, useFactory: (...all: Loop[]) => new LoopHost(all) },
      ],
    });
    const served = { logger: log, requestTimeoutMs };
    const app = await createHttpApplication(module, { ...served, metrics: { registry, service: 'rooms-api' } });
    await app.listen(0, loopback);
    const { port } = (app.getHttpServer() as { address(): AddressInfo }).address();
    const services = roomsGrpcServices(app);
    const server = await startGrpcServer({
      services,
      host: loopback,
      port: 0,
      ...served,
      metrics: { registry },
      ...grpc,
    });
    const client = new GrpcClient(server.port);
    const beginStop = (): void => app.get(AllocationWaits).stop();
    const close = async (): Promise<void> => {
      beginStop();
      client.close();
      await server.stop(1_000);
      await app.close();
      await closeRedisConnection(redis);
    };
    const restUrl = `http://${loopback}:${port}`;
    return new RoomsApiInTest(restUrl, server.port, client, registry, log, wakeUps, routes, beginStop, close);
  }

  async overRest(method: UnaryMethod, message: JsonObject): Promise<RpcOutcome> {
    const [verb, path] = this.routes.get(method)!(message as Record<string, string>);
    // What the path says is in the body too, and means nothing there.
    const answer = await sendHttp(this.restUrl + path, verb, verb === 'POST' ? JSON.stringify(message) : undefined);
    const json = JSON.parse(answer.text) as JsonObject;
    if (answer.status === 200) return { json };
    const { code, message: text } = json as { code: number; message: string };
    // The status is part of what is expected: of each kind there is one.
    expect([code, answer.status]).toEqual([code, httpStatusOf[code]]);
    return { code, message: text };
  }

  async overGrpc(
    method: UnaryMethod,
    message: JsonObject,
    onStart?: (call: { cancel(): void }) => void,
  ): Promise<RpcOutcome> {
    try {
      const options = onStart === undefined ? {} : { onStart };
      const answer = await this.client.call(method, fromJson(method.input, message as JsonValue), options);
      return { json: encodeMessage(method.output, answer) };
    } catch (error) {
      const { code, details } = error as ServiceError;
      return { code, message: details };
    }
  }

  /** The value of a series; undefined when there is none. */
  async metric(series: string): Promise<number | undefined> {
    const found = (await this.registry.metrics()).split('\n').find((each) => each.startsWith(`${series} `));
    return found === undefined ? undefined : Number(found.slice(series.length));
  }
}

/** `management.md` 1.3. */
const httpStatusOf: Readonly<Record<number, number>> = { 2: 500, 3: 400, 5: 404, 8: 429, 9: 400, 14: 503 };
