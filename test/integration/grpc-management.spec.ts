import { create, fromJson, ScalarType, toBinary } from '@bufbuild/protobuf';
import type { DescField, JsonObject } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import type { ServiceError } from '@grpc/grpc-js';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { AddressInfo } from 'node:net';
import { Registry } from 'prom-client';
import { startGrpcServer } from '../../src/api/grpc/grpc-server';
import type { GrpcServerOptions, RunningGrpcServer } from '../../src/api/grpc/grpc-server';
import { methodPath } from '../../src/api/grpc/grpc-service-definition';
import { grpcService } from '../../src/api/grpc/rpc-handlers';
import type { RpcContext, UnaryMethod } from '../../src/api/http/call-rpc';
import { errorTable } from '../../src/api/http/error-table';
import { createHttpApplication } from '../../src/api/http/http-application';
import { encodeMessage } from '../../src/api/http/protojson';
import { ManagementApiModule } from '../../src/api/management/management-api.module';
import { managementGrpcServices } from '../../src/api/management/management-grpc-services';
import { clearablePaths } from '../../src/domain/scheduler/patch-definition';
import { fullExtensions } from '../../src/domain/scheduler/scheduler.fixture';
import { DomainError } from '../../src/domain/errors';
import type { ErrorKind } from '../../src/domain/errors';
import { comments } from '../../src/proto/gen/comments';
import { file_api_v1_operations, OperationsService } from '../../src/proto/gen/api/v1/operations_pb';
import { RoomsService } from '../../src/proto/gen/api/v1/rooms_pb';
import { file_api_v1_scheduler_messages } from '../../src/proto/gen/api/v1/scheduler_messages_pb';
import { file_api_v1_schedulers, SchedulersService } from '../../src/proto/gen/api/v1/schedulers_pb';
import { file_maestro_extensions_v1_patch_scheduler_extensions } from '../../src/proto/gen/maestro/extensions/v1/patch_scheduler_extensions_pb';
import { file_maestro_extensions_v1_scheduler_extensions } from '../../src/proto/gen/maestro/extensions/v1/scheduler_extensions_pb';
import { BacktestsService, file_maestro_v1_backtests } from '../../src/proto/gen/maestro/v1/backtests_pb';
import {
  file_maestro_v1_operation_details,
  OperationDetailsService,
} from '../../src/proto/gen/maestro/v1/operation_details_pb';
import {
  file_maestro_v1_scheduler_automation,
  SchedulerAutomationService,
} from '../../src/proto/gen/maestro/v1/scheduler_automation_pb';
import {
  file_maestro_v1_scheduler_plans,
  SchedulerPlansService,
} from '../../src/proto/gen/maestro/v1/scheduler_plans_pb';
import {
  file_maestro_v1_scheduler_rooms,
  SchedulerRoomsService,
} from '../../src/proto/gen/maestro/v1/scheduler_rooms_pb';
import { eventually } from '../support/eventually';
import { fakeManagementFeatures } from '../support/fake-management-features';
import { GrpcClient } from '../support/grpc-client';
import { managementMessages, managementMethods, ownMessages, ownMethods } from '../support/management-wire';
import { RecordedLog } from '../support/recorded-log';

const schedulers = SchedulersService.method;
const operations = OperationsService.method;
const plans = SchedulerPlansService.method;
const details = OperationDetailsService.method;
const rooms = SchedulerRoomsService.method;
const automation = SchedulerAutomationService.method;
const { runBacktest } = BacktestsService.method;
const loopback = '127.0.0.1';

/** Every kind of field once, with numbers that a 32-bit float cannot hold exactly. */
const arena: JsonObject = {
  name: 'arena',
  game: 'g',
  maxSurge: '25%',
  roomsReplicas: 3,
  portRange: { start: 40_000, end: 40_100 },
  spec: {
    terminationGracePeriod: '60.000000015s',
    toleration: 'games',
    containers: [
      {
        name: 'room',
        image: 'room:1',
        imagePullPolicy: 'Always',
        command: ['./room', '--port', '7777'],
        environment: [
          { name: 'REGION', value: 'eu' },
          { name: 'HOST', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } },
        ],
        requests: { memory: '20Mi', cpu: '10m' },
        limits: { memory: '20Mi', cpu: '10m' },
        ports: [{ name: 'game', protocol: 'udp', port: 7777, hostPortRange: { start: 1, end: 2 } }],
      },
    ],
  },
  autoscaling: {
    enabled: true,
    min: 1,
    max: -1,
    cooldown: 60,
    policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.1, downThreshold: 0.99 } } },
  },
  forwarders: [
    {
      name: 'matchmaker',
      enable: true,
      type: 'gRPC',
      address: 'mm:80',
      options: { timeout: '1500', metadata: { a: [1.5, null, { b: 'é' }] } },
    },
  ],
  annotations: { team: 'arena' },
  labels: { tier: 'x' },
  matchAllocation: { maxMatches: 4 },
};

/** What PATCH can say, each kind of field once. */
const patch: JsonObject = {
  name: 'arena',
  maxSurge: '',
  roomsReplicas: 0,
  portRange: { end: 9 },
  spec: {
    terminationGracePeriod: '0.000000015s',
    toleration: '',
    containers: [{}, { image: 'room:2', command: ['./room'], limits: { cpu: '1' }, ports: [{ name: 'game' }] }],
  },
  autoscaling: { enabled: false, policy: { parameters: { roomOccupancy: { readyTarget: 0.1 } } } },
  forwarders: [{ name: 'matchmaker' }],
  annotations: { team: '' },
  matchAllocation: {},
  extensions: {
    clear: ['labels', 'spec.containers[0].command', 'extensions.autoscaling'],
    rollout: { failureShare: 0.3 },
    drain: {},
  },
};

const instant = (minutes: number): string => new Date(Date.UTC(2026, 5, 1, 0, minutes)).toISOString();
const ten = { name: 'ten', scheduler: { roomsReplicas: 10 } } satisfies JsonObject;
const backtest = {
  policies: [ten, { name: 'of a file', scheduler: { ...arena, spec: { anything: [1.5, null, true] } } }],
  load: [
    { time: instant(0), matches: 8 },
    { time: instant(60), matches: 12.5 },
  ],
} satisfies JsonObject;

/** By the field that is wrong, and its rule: what is changed in the backtest. */
const wrongBacktests: Record<string, JsonObject> = {
  'malformed request: field "policies[1].name": must have 1 to 100 characters': {
    policies: [ten, { ...ten, name: '' }],
  },
  'malformed request: field "policies[1].name": another policy is called "ten" too': { policies: [ten, ten] },
  'malformed request: field "policies[0].scheduler": is required': { policies: [{ name: 'ten' }] },
  'policies[0].scheduler: it has neither autoscaling nor roomsReplicas': { policies: [{ name: 'a', scheduler: {} }] },
  'policies[0].scheduler: a scheduler has no field roomReplicas; a policy has autoscaling, roomsReplicas, matchAllocation, maxSurge, extensions':
    { policies: [{ name: 'a', scheduler: { roomReplicas: 3 } }] },
  'A backtest needs at least one policy.': { policies: [] },
  'The backtest is too large: it has 9 policies, and 8 are the most. Use a shorter curve or a longer interval of looks, or `maestro backtest`.':
    { policies: Array.from({ length: 9 }, (_, index) => ({ ...ten, name: `policy-${index}` })) },
  'malformed request: field "load": must have at least 2 points, and has 1': {
    load: [{ time: instant(0), matches: 1 }],
  },
  'malformed request: field "load[1].time": is required': { load: [{ time: instant(0) }, { matches: 1 }] },
  'malformed request: field "load[1].time": must be later than the time of the point before': {
    load: [{ time: instant(1) }, { time: instant(1) }],
  },
  'malformed request: field "load[1].matches": must be a number of at least 0': {
    load: [{ time: instant(0) }, { time: instant(1), matches: -1 }],
  },
  'malformed request: field "load[0].matches": must be a number of at least 0': {
    load: [{ time: instant(0), matches: 'NaN' }, { time: instant(1) }],
  },
  'malformed request: field "startDelaySeconds": must be 1 or greater, and is 0': {
    startDelaySeconds: 0,
  },
};

interface RpcCase {
  method: UnaryMethod;
  message: JsonObject;
  /** The same over REST: verb and path; a POST, PUT or PATCH sends the message as its body. */
  rest: string;
  /** The body, where it is another than the message. */
  body?: JsonObject;
  /** The code of the error that both answer. */
  code?: number;
}

/** Each rpc at least once. */
const rpcCases: readonly RpcCase[] = [
  { method: schedulers.listSchedulers, message: {}, rest: 'GET /schedulers' },
  {
    method: schedulers.listSchedulers,
    message: { name: 'arena', game: 'g', version: 'v1.0.0' },
    rest: 'GET /schedulers?name=arena&game=g&version=v1.0.0',
  },
  { method: schedulers.getSchedulersInfo, message: { game: 'g' }, rest: 'GET /schedulers/info?game=g' },
  { method: schedulers.getScheduler, message: { schedulerName: 'arena' }, rest: 'GET /schedulers/arena' },
  {
    method: schedulers.getScheduler,
    message: { schedulerName: 'nowhere', version: 'v2.0.0' },
    rest: 'GET /schedulers/nowhere?version=v2.0.0',
  },
  { method: schedulers.createScheduler, message: { ...arena, name: 'second' }, rest: 'POST /schedulers' },
  {
    method: schedulers.createScheduler,
    message: { ...arena, name: 'extended', extensions: fullExtensions() as JsonObject },
    rest: 'POST /schedulers',
  },
  { method: schedulers.createScheduler, message: arena, rest: 'POST /schedulers' },
  { method: schedulers.createScheduler, message: {}, rest: 'POST /schedulers' },
  {
    method: schedulers.createScheduler,
    message: { name: 'x', spec: { containers: [{ ports: [{ name: 'a\0b' }] }] } },
    rest: 'POST /schedulers',
  },
  { method: schedulers.createScheduler, message: { labels: { a: '\0' } }, rest: 'POST /schedulers' },
  {
    method: schedulers.getSchedulerVersions,
    message: { schedulerName: 'arena' },
    rest: 'GET /schedulers/arena/versions',
  },
  {
    method: schedulers.getSchedulerVersions,
    message: { schedulerName: 'nowhere' },
    rest: 'GET /schedulers/nowhere/versions',
    code: 5,
  },
  { method: schedulers.newSchedulerVersion, message: arena, rest: 'POST /schedulers/arena' },
  { method: schedulers.newSchedulerVersion, message: { name: 'arena' }, rest: 'POST /schedulers/arena' },
  { method: schedulers.newSchedulerVersion, message: { ...arena, extensions: {} }, rest: 'POST /schedulers/arena' },
  {
    method: schedulers.newSchedulerVersion,
    message: { ...arena, extensions: fullExtensions() as JsonObject },
    rest: 'POST /schedulers/arena',
  },
  {
    method: schedulers.newSchedulerVersion,
    message: { ...arena, extensions: { autoscaling: { webhook: { url: 'http://a\0' } } } },
    rest: 'POST /schedulers/arena',
    code: 3,
  },
  {
    method: schedulers.newSchedulerVersion,
    message: { ...arena, name: 'busy' },
    rest: 'POST /schedulers/busy',
    code: 9,
  },
  {
    method: schedulers.newSchedulerVersion,
    message: { ...arena, name: 'nowhere' },
    rest: 'POST /schedulers/nowhere',
    code: 5,
  },
  {
    method: schedulers.newSchedulerVersion,
    message: { name: 'arena', forwarders: [{ options: { metadata: { a: ['\0'] } } }] },
    rest: 'POST /schedulers/arena',
    code: 3,
  },
  { method: schedulers.patchScheduler, message: patch, rest: 'PATCH /schedulers/arena' },
  { method: schedulers.patchScheduler, message: { name: 'arena', spec: {} }, rest: 'PATCH /schedulers/arena' },
  { method: schedulers.patchScheduler, message: { name: 'arena', autoscaling: {} }, rest: 'PATCH /schedulers/arena' },
  {
    method: schedulers.patchScheduler,
    message: { name: 'arena', extensions: { clear: ['annotations', 'labels'] } },
    rest: 'PATCH /schedulers/arena',
    body: { annotations: {}, labels: {} },
  },
  { method: schedulers.patchScheduler, message: { name: 'arena' }, rest: 'PATCH /schedulers/arena', code: 6 },
  { method: schedulers.patchScheduler, message: { ...patch, name: 'busy' }, rest: 'PATCH /schedulers/busy', code: 9 },
  { method: schedulers.patchScheduler, message: { ...patch, name: 'é' }, rest: 'PATCH /schedulers/%C3%A9', code: 5 },
  {
    method: schedulers.patchScheduler,
    message: { name: 'arena', extensions: { clear: ['\0'] } },
    rest: 'PATCH /schedulers/arena',
    code: 3,
  },
  {
    method: schedulers.switchActiveVersion,
    message: { schedulerName: 'arena', version: 'v1.0.0' },
    rest: 'PUT /schedulers/arena',
  },
  { method: schedulers.switchActiveVersion, message: { schedulerName: 'arena' }, rest: 'PUT /schedulers/arena' },
  { method: schedulers.switchActiveVersion, message: { schedulerName: 'busy' }, rest: 'PUT /schedulers/busy', code: 9 },
  {
    method: schedulers.switchActiveVersion,
    message: { schedulerName: 'nowhere' },
    rest: 'PUT /schedulers/nowhere',
    code: 5,
  },
  {
    method: schedulers.switchActiveVersion,
    message: { schedulerName: 'arena', version: '\0' },
    rest: 'PUT /schedulers/arena',
    code: 3,
  },
  { method: plans.planVersion, message: { patch }, rest: 'POST /schedulers/arena/plan', body: patch },
  {
    method: plans.planVersion,
    message: { patch: { name: 'arena', extensions: { clear: ['labels'] } } },
    rest: 'POST /schedulers/arena/plan?as=patch',
    body: { labels: {} },
  },
  { method: plans.planVersion, message: { patch: { name: 'arena' } }, rest: 'POST /schedulers/arena/plan', body: {} },
  {
    method: plans.planVersion,
    message: { version: arena },
    rest: 'POST /schedulers/arena/plan?as=version',
    body: { ...arena, name: 'other' },
  },
  {
    method: plans.planVersion,
    message: { version: { name: 'nowhere' } },
    rest: 'POST /schedulers/nowhere/plan?as=version',
    body: {},
    code: 5,
  },
  { method: schedulers.deleteScheduler, message: { schedulerName: 'arena' }, rest: 'DELETE /schedulers/arena' },
  { method: schedulers.deleteScheduler, message: { schedulerName: 'é/%' }, rest: 'DELETE /schedulers/%C3%A9%2F%25' },
  {
    method: operations.listOperations,
    message: { schedulerName: 'arena', stage: 'active' },
    rest: 'GET /schedulers/arena/operations?stage=active',
  },
  {
    method: operations.listOperations,
    message: { schedulerName: 'arena', stage: 'final', orderBy: 'createdAt asc', page: 0, perPage: 5 },
    rest: 'GET /schedulers/arena/operations?stage=final&orderBy=createdAt+asc&page=0&perPage=5',
  },
  {
    method: operations.getOperation,
    message: { schedulerName: 'arena', operationId: 'op-1' },
    rest: 'GET /schedulers/arena/operations/op-1',
  },
  {
    method: operations.getOperation,
    message: { schedulerName: 'arena', operationId: 'op-2' },
    rest: 'GET /schedulers/arena/operations/op-2',
    code: 5,
  },
  {
    method: details.getOperationDetails,
    message: { schedulerName: 'arena', operationId: 'op-1' },
    rest: 'GET /schedulers/arena/operations/op-1/details',
  },
  {
    method: details.getOperationDetails,
    message: { schedulerName: 'é/%', operationId: 'op-2' },
    rest: 'GET /schedulers/%C3%A9%2F%25/operations/op-2/details',
    code: 5,
  },
  {
    method: details.getOperationDetails,
    message: { schedulerName: 'arena', operationId: '\0' },
    rest: 'GET /schedulers/arena/operations/%00/details',
    code: 3,
  },
  {
    method: operations.cancelOperation,
    message: { schedulerName: 'arena', operationId: 'op-1' },
    rest: 'POST /schedulers/arena/operations/op-1/cancel',
  },
  {
    method: operations.cancelOperation,
    message: { schedulerName: 'arena', operationId: 'op-0' },
    rest: 'POST /schedulers/arena/operations/op-0/cancel',
    code: 10,
  },
  {
    method: operations.cancelOperation,
    message: { schedulerName: 'arena', operationId: "' OR 1=1" },
    rest: "POST /schedulers/arena/operations/'%20OR%201=1/cancel",
    code: 5,
  },
  { method: rooms.listRooms, message: { schedulerName: 'arena' }, rest: 'GET /schedulers/arena/rooms' },
  {
    method: rooms.listRooms,
    message: { schedulerName: 'arena', status: 'ready', version: 'v1.0.0', page: 2, perPage: 5 },
    rest: 'GET /schedulers/arena/rooms?status=ready&version=v1.0.0&page=2&per_page=5',
  },
  {
    method: rooms.listRooms,
    message: { schedulerName: 'arena', status: '', page: 0 },
    rest: 'GET /schedulers/arena/rooms?status=&page=0',
    code: 3,
  },
  {
    method: rooms.listRooms,
    message: { schedulerName: 'arena', status: 'gone' },
    rest: 'GET /schedulers/arena/rooms?status=gone',
    code: 3,
  },
  {
    method: rooms.listRooms,
    message: { schedulerName: 'arena', perPage: 1001 },
    rest: 'GET /schedulers/arena/rooms?perPage=1001',
    code: 3,
  },
  { method: rooms.listRooms, message: { schedulerName: 'nowhere' }, rest: 'GET /schedulers/nowhere/rooms', code: 5 },
  {
    method: rooms.getRoom,
    message: { schedulerName: 'arena', roomName: 'arena-1' },
    rest: 'GET /schedulers/arena/rooms/arena-1',
  },
  {
    method: rooms.getRoom,
    message: { schedulerName: 'arena', roomName: 'arena-2' },
    rest: 'GET /schedulers/arena/rooms/arena-2',
  },
  {
    method: rooms.getRoom,
    message: { schedulerName: 'arena', roomName: 'é/%' },
    rest: 'GET /schedulers/arena/rooms/%C3%A9%2F%25',
    code: 5,
  },
  {
    method: rooms.getRoom,
    message: { schedulerName: 'arena', roomName: '\0' },
    rest: 'GET /schedulers/arena/rooms/%00',
    code: 3,
  },
  {
    method: rooms.deleteRoom,
    message: { schedulerName: 'arena', roomName: 'arena-1' },
    rest: 'DELETE /schedulers/arena/rooms/arena-1',
  },
  {
    method: rooms.deleteRoom,
    message: { schedulerName: 'arena', roomName: 'arena-1', drain: false },
    rest: 'DELETE /schedulers/arena/rooms/arena-1?drain=false',
  },
  {
    method: rooms.deleteRoom,
    message: { schedulerName: 'arena', roomName: 'arena-1', drain: true },
    rest: 'DELETE /schedulers/arena/rooms/arena-1?drain=true',
  },
  {
    method: rooms.deleteRoom,
    message: { schedulerName: 'arena', roomName: 'arena-2', drain: true },
    rest: 'DELETE /schedulers/arena/rooms/arena-2?drain=true',
    code: 9,
  },
  {
    method: rooms.deleteRoom,
    message: { schedulerName: 'nowhere', roomName: 'arena-1' },
    rest: 'DELETE /schedulers/nowhere/rooms/arena-1',
    code: 5,
  },
  ...['arena', 'fresh', 'lost'].flatMap((schedulerName) => [
    {
      method: automation.explainScheduler,
      message: { schedulerName },
      rest: `GET /schedulers/${schedulerName}/explain`,
    },
    { method: automation.getRollout, message: { schedulerName }, rest: `GET /schedulers/${schedulerName}/rollout` },
  ]),
  ...[automation.explainScheduler, automation.getRollout].map((method) => ({
    method,
    message: { schedulerName: 'nowhere' },
    rest: `GET /schedulers/nowhere/${method === automation.getRollout ? 'rollout' : 'explain'}`,
    code: 5,
  })),
  {
    method: automation.explainScheduler,
    message: { schedulerName: '\0' },
    rest: 'GET /schedulers/%00/explain',
    code: 3,
  },
  {
    method: automation.pauseAutomation,
    message: { schedulerName: 'arena', reason: 'é, because' },
    rest: 'POST /schedulers/arena/automation/pause',
    body: { schedulerName: 'other', reason: 'é, because' },
  },
  {
    method: automation.pauseAutomation,
    message: { schedulerName: 'arena' },
    rest: 'POST /schedulers/arena/automation/pause',
    body: {},
  },
  {
    method: automation.pauseAutomation,
    message: { schedulerName: 'arena', reason: 'x'.repeat(501) },
    rest: 'POST /schedulers/arena/automation/pause',
    code: 3,
  },
  {
    method: automation.pauseAutomation,
    message: { schedulerName: 'arena', reason: 'a\0' },
    rest: 'POST /schedulers/arena/automation/pause',
    code: 3,
  },
  {
    method: automation.pauseAutomation,
    message: { schedulerName: 'nowhere' },
    rest: 'POST /schedulers/nowhere/automation/pause',
    code: 5,
  },
  {
    method: automation.resumeAutomation,
    message: { schedulerName: 'arena' },
    rest: 'POST /schedulers/arena/automation/resume',
  },
  {
    method: automation.resumeAutomation,
    message: { schedulerName: 'nowhere' },
    rest: 'POST /schedulers/nowhere/automation/resume',
    code: 5,
  },
  { method: runBacktest, message: backtest, rest: 'POST /backtests' },
  {
    method: runBacktest,
    message: { ...backtest, startDelaySeconds: 30, matchLengthSeconds: 600, lookIntervalSeconds: 10, seed: 4294967295 },
    rest: 'POST /backtests',
  },
  ...Object.values(wrongBacktests).map((changes) => ({
    method: runBacktest,
    message: { ...backtest, ...changes },
    rest: 'POST /backtests',
    code: 3,
  })),
  { method: runBacktest, message: {}, rest: 'POST /backtests', code: 3 },
  {
    method: runBacktest,
    message: { ...backtest, policies: [{ name: 'many', scheduler: { roomsReplicas: 5001 } }] },
    rest: 'POST /backtests',
    code: 3,
  },
];

describe('the messages of the management API', () => {
  const files = [file_api_v1_schedulers, file_api_v1_scheduler_messages, file_api_v1_operations];
  const messages = new Map(files.flatMap((file) => file.messages).map((message) => [message.name, message]));

  it('has the messages of v10 and no other', () => {
    expect([...messages.keys()].sort()).toEqual(Object.keys(managementMessages).sort());
  });

  it.each(Object.entries(managementMessages))('numbers, names and types the fields of %s as v10', (name, fields) => {
    // 1001 is where our own extensions live; v10's clients never meet it unless they use it.
    const own = (messages.get(name)?.fields ?? []).filter(({ number }) => number !== 1001);
    expect(own.map(describeField)).toEqual(fields);
  });

  it('has the services and methods of v10 and no other', () => {
    const services = files.flatMap((file) => file.services);
    expect(
      Object.fromEntries(services.map(({ typeName, methods }) => [typeName, methods.map(({ name }) => name).sort()])),
    ).toEqual(Object.fromEntries(Object.entries(managementMethods).map(([name, list]) => [name, [...list].sort()])));
    for (const method of services.flatMap(({ methods }) => methods)) {
      expect([method.methodKind, method.input.name, method.output.name]).toEqual([
        'unary',
        `${method.name}Request`,
        `${method.name}Response`,
      ]);
    }
  });
});

describe('our own messages', () => {
  const files = [
    file_maestro_v1_scheduler_plans,
    file_maestro_v1_operation_details,
    file_maestro_v1_scheduler_rooms,
    file_maestro_v1_scheduler_automation,
    file_maestro_v1_backtests,
    file_maestro_extensions_v1_patch_scheduler_extensions,
    file_maestro_extensions_v1_scheduler_extensions,
  ];
  const messages = new Map(files.flatMap((file) => file.messages).map((message) => [message.typeName, message]));

  it.each(Object.entries(ownMessages))('numbers, names and types the fields of %s once and for all', (name, fields) => {
    expect(messages.get(name)?.fields.map(describeField)).toEqual(fields);
  });

  it('are these and no other', () => {
    expect([...messages.keys()].sort()).toEqual(Object.keys(ownMessages).sort());
    const services = files.flatMap((file) => file.services);
    expect(
      Object.fromEntries(services.map(({ typeName, methods }) => [typeName, methods.map(({ name }) => name)])),
    ).toEqual(ownMethods);
  });

  it("are one optional field in v10's messages: of what a scheduler is made and changed with, and of what it is", () => {
    const extended = [file_api_v1_schedulers, file_api_v1_scheduler_messages, file_api_v1_operations].flatMap((file) =>
      file.messages.flatMap(({ name, fields }) =>
        fields.filter(({ number }) => number === 1001).map((field) => `${name}: ${describeField(field)}`),
      ),
    );
    expect(extended).toEqual([
      'CreateSchedulerRequest: 1001 extensions maestro.extensions.v1.SchedulerExtensions?',
      'NewSchedulerVersionRequest: 1001 extensions maestro.extensions.v1.SchedulerExtensions?',
      'PatchSchedulerRequest: 1001 extensions maestro.extensions.v1.PatchSchedulerExtensions?',
      'Scheduler: 1001 extensions maestro.extensions.v1.SchedulerExtensions?',
    ]);
  });
});

describe('what a patch can clear', () => {
  it.each(clearablePaths)('tells of %s', (path) => {
    expect(comments['maestro.extensions.v1.PatchSchedulerExtensions.clear']).toContain(`\`${path}\``);
  });
});

describe('the management API over gRPC', () => {
  let features: ReturnType<typeof fakeManagementFeatures>;
  let log: RecordedLog;
  let registry: Registry;
  let app: NestFastifyApplication;
  let restUrl: string;
  let server: RunningGrpcServer;
  let client: GrpcClient;
  const servers: RunningGrpcServer[] = [];
  const clients: GrpcClient[] = [];

  beforeEach(async () => {
    features = fakeManagementFeatures();
    log = new RecordedLog();
    registry = new Registry();
    app = await createHttpApplication(ManagementApiModule.register({ providers: features.providers }), { logger: log });
    await app.listen(0, loopback);
    restUrl = `http://${loopback}:${(app.getHttpServer() as { address(): AddressInfo }).address().port}`;
    ({ server, client } = await serve({ services: managementGrpcServices(app), metrics: { registry } }));
  });
  afterEach(async () => {
    clients.splice(0).forEach((each) => each.close());
    await Promise.all(servers.splice(0).map((each) => each.stop(0)));
    await app.close();
  });

  async function serve(options: Pick<GrpcServerOptions, 'services'> & Partial<GrpcServerOptions>) {
    const started = await startGrpcServer({ host: loopback, port: 0, logger: log, ...options });
    servers.push(started);
    const connected = new GrpcClient(started.port);
    clients.push(connected);
    return { server: started, client: connected };
  }

  type Outcome = { json: unknown } | { code: number; message: string };
  type Told = { outcome: Outcome; asked: unknown[] };

  async function overRest({ rest, message, body: sent = message }: RpcCase): Promise<Outcome> {
    const [verb = '', path = ''] = rest.split(' ');
    const hasBody = ['POST', 'PUT', 'PATCH'].includes(verb);
    const answer = await fetch(restUrl + path, {
      method: verb,
      ...(hasBody ? { body: JSON.stringify(sent) } : {}),
    });
    const body = (await answer.json()) as { code: number; message: string };
    return answer.ok ? { json: body } : { code: body.code, message: withoutId(body.message) };
  }

  async function overGrpc({ method, message }: RpcCase): Promise<Outcome> {
    try {
      const answer = await client.call(method, fromJson(method.input, message));
      return { json: encodeMessage(method.output, answer) };
    } catch (error) {
      const { code, details } = error as ServiceError;
      return { code, message: withoutId(details) };
    }
  }

  /** The same call over both, each on features that know the scheduler `arena`, with what the features were asked. */
  async function overBoth(rpcCase: RpcCase): Promise<{ rest: Told; grpc: Told }> {
    const run = async (call: (rpcCase: RpcCase) => Promise<Outcome>): Promise<Told> => {
      const { failWith } = features.schedulers;
      features.schedulers.failWith = null;
      features.schedulers.stored.clear();
      await client.call(schedulers.createScheduler, fromJson(schedulers.createScheduler.input, arena));
      features.schedulers.failWith = failWith;
      const { plans, operations, rooms, automation, reports, backtests } = features;
      const asked = [features.schedulers, plans, operations, rooms, automation, reports, backtests].map(
        ({ calls }) => calls,
      );
      for (const calls of asked) calls.length = 0;
      const outcome = await call(rpcCase);
      return { outcome, asked: asked.flat() };
    };
    return { rest: await run(overRest), grpc: await run(overGrpc) };
  }

  const withoutId = (text: string): string => text.replace(/[0-9a-f-]{36}$/, '<id>');
  const named = (rpcCase: RpcCase): [string, RpcCase] => [
    `${rpcCase.method.name} as ${rpcCase.rest} ${JSON.stringify(rpcCase.message).slice(0, 70)}`,
    rpcCase,
  ];

  describe('beside REST', () => {
    it.each(rpcCases.map(named))('answers %s alike', async (_name, rpcCase) => {
      const { rest, grpc } = await overBoth(rpcCase);
      expect(grpc).toEqual(rest);
      if (rpcCase.code !== undefined) expect(rest.outcome).toMatchObject({ code: rpcCase.code });
    });

    it.each(Object.entries(wrongBacktests))('says what is wrong with a backtest: %s', async (message, changes) => {
      const refused = { method: runBacktest, message: { ...backtest, ...changes }, rest: 'POST /backtests' };
      const { rest } = await overBoth(refused);
      expect(rest.outcome).toEqual({ code: 3, message });
    });

    it('has a handler for every rpc, and a case here', () => {
      const all = Object.entries({ ...managementMethods, ...ownMethods })
        .flatMap(([service, methods]) => methods.map((name) => `${service}/${name}`))
        .sort();
      const implemented = managementGrpcServices(app).flatMap(([service, handlers]) =>
        service.methods.filter(({ localName }) => localName in handlers).map((method) => methodPath(method).slice(1)),
      );
      expect(implemented.sort()).toEqual(all);
      const cases = new Set(rpcCases.map(({ method }) => methodPath(method).slice(1)));
      expect([...cases].sort()).toEqual(all);
    });

    it('has a successful case here for every rpc', async () => {
      const successful = new Set<string>();
      for (const rpcCase of rpcCases) {
        const { rest } = await overBoth(rpcCase);
        if ('json' in rest.outcome) successful.add(methodPath(rpcCase.method));
      }
      expect(successful).toEqual(new Set(rpcCases.map(({ method }) => methodPath(method))));
    });

    it.each(Object.keys(errorTable) as ErrorKind[])('answers a failure of the kind %s alike', async (kind) => {
      features.schedulers.failWith = new DomainError(
        kind,
        'any.code',
        'a sentence,\nin 100% of cases, with "é" and 🎮',
      );
      const { rest, grpc } = await overBoth(rpcCases[0]!);
      expect(grpc).toEqual(rest);
      expect(rest).toMatchObject({ outcome: { code: errorTable[kind].grpcCode } });
    });

    it('answers what nobody expected with code 2 and an id, and logs the same line', async () => {
      features.schedulers.failWith = new Error('the password is hunter2');
      const { rest, grpc } = await overBoth(rpcCases[0]!);
      expect(grpc).toEqual(rest);
      expect(grpc).toMatchObject({
        outcome: { code: 2, message: "unexpected error, see Maestro's log for <id>" },
      });
      const [ofRest, ofGrpc] = log.lines.filter(({ level }) => level === 'error');
      expect(ofGrpc).toEqual({
        ...ofRest,
        fields: {
          ...ofRest?.fields,
          correlation_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
          method: 'gRPC',
          path: '/api.v1.SchedulersService/ListSchedulers',
        },
      });
      expect(ofGrpc?.fields['error']).toMatchObject({ stack: expect.stringContaining('hunter2') });
    });
  });

  describe('the wire', () => {
    it('keeps 32-bit floats as they were typed', async () => {
      await client.call(schedulers.createScheduler, fromJson(schedulers.createScheduler.input, arena));
      expect(features.schedulers.calls[0]?.[2]).toMatchObject({
        autoscaling: { policy: { parameters: { roomOccupancy: { readyTarget: 0.1, downThreshold: 0.99 } } } },
      });
    });

    it("brings extensions there and back, and v10's clients none", async () => {
      const { createScheduler, getScheduler } = schedulers;
      const extended = { ...arena, name: 'extended', extensions: fullExtensions() as JsonObject };
      await client.call(createScheduler, fromJson(createScheduler.input, extended));
      await client.call(createScheduler, fromJson(createScheduler.input, arena));
      expect(features.schedulers.calls[0]?.[2]).toMatchObject({ extensions: fullExtensions() });
      const shown = async (schedulerName: string) =>
        encodeMessage(getScheduler.output, await client.call(getScheduler, { schedulerName }))['scheduler'];
      expect(await shown('extended')).toMatchObject({ extensions: fullExtensions() });
      expect(await shown('arena')).not.toHaveProperty('extensions');
      // The field's key on the wire, (1001 << 3 | 2) as a varint.
      const key = Buffer.from([0xca, 0x3e]);
      const bytesOf = async (name: string): Promise<Buffer> => {
        const request = Buffer.from(toBinary(getScheduler.input, create(getScheduler.input, { schedulerName: name })));
        return Buffer.from(await client.callWithBytes(methodPath(getScheduler), request));
      };
      expect((await bytesOf('extended')).includes(key)).toBe(true);
      expect((await bytesOf('arena')).includes(key)).toBe(false);
    });

    it('ignores unknown fields', async () => {
      // Field 99, a text.
      const bytes = Buffer.from([0x9a, 0x06, 1, 0x78]);
      expect(await client.callWithBytes(methodPath(schedulers.listSchedulers), bytes)).toHaveLength(0);
      expect(features.schedulers.calls).toEqual([['list', {}]]);
    });

    it('refuses a plan of neither a patch nor a version', async () => {
      await expect(client.call(plans.planVersion, {})).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: 'malformed request: give a patch or a version',
      });
    });

    it('names a NUL character in a message within by its whole path', async () => {
      const message = fromJson(plans.planVersion.input, { patch: { extensions: { clear: ['a\0'] } } });
      await expect(client.call(plans.planVersion, message)).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: 'malformed request: field "patch.extensions.clear[0]": text must not contain a NUL character',
      });
    });

    it.each([
      ['are cut short', [0x0a, 20, 0x61], /^malformed request: premature EOF$/],
      ['hold text that is not UTF-8', [0x0a, 2, 0xff, 0x61], /^malformed request: .*utf-8/],
      [
        'hold a NUL character',
        [0x12, 2, 0x61, 0],
        /^malformed request: field "game": text must not contain a NUL character$/,
      ],
    ])('refuses bytes that %s with code 3', async (_name, bytes, message) => {
      const answer = client.callWithBytes(methodPath(schedulers.listSchedulers), Buffer.from(bytes));
      await expect(answer).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringMatching(message),
      });
      expect(features.schedulers.calls).toEqual([]);
    });

    it('refuses a message over the limit with code 8', async () => {
      const limited = await serve({ services: managementGrpcServices(app), maxMessageBytes: 1000 });
      await expect(limited.client.call(schedulers.listSchedulers, { name: 'x'.repeat(2000) })).rejects.toMatchObject({
        code: status.RESOURCE_EXHAUSTED,
      });
      expect(await limited.client.call(schedulers.listSchedulers, { name: 'x'.repeat(500) })).toMatchObject({
        schedulers: [],
      });
    });

    it.each([
      ['long', 'é'.repeat(100_000), /^é{1000}é*…$/],
      ['that holds half a character', 'a\ud83cb', /^a\ufffdb$/],
    ])('carries a message of an error %s', async (_name, message, expected) => {
      features.schedulers.failWith = new DomainError('aborted', 'any.code', message);
      await expect(client.call(schedulers.listSchedulers, {})).rejects.toMatchObject({
        code: status.ABORTED,
        details: expect.stringMatching(expected),
      });
    });

    it('answers UNIMPLEMENTED to an rpc without a handler, and to a service that it does not have', async () => {
      const bare = await serve({ services: [grpcService(SchedulersService, {})] });
      await expect(bare.client.call(schedulers.patchScheduler, {})).rejects.toMatchObject({
        code: status.UNIMPLEMENTED,
      });
      await expect(bare.client.call(RoomsService.method.updateRoomWithPing, {})).rejects.toMatchObject({
        code: status.UNIMPLEMENTED,
      });
    });
  });

  describe('time', () => {
    /** A server whose handler never answers, and tells of its signal. */
    async function serveSilence(options: Partial<GrpcServerOptions> = {}) {
      let tell: (context: RpcContext) => void;
      const called = new Promise<RpcContext>((resolve) => (tell = resolve));
      const listSchedulers = (_message: unknown, context: RpcContext): Promise<never> => {
        tell(context);
        return new Promise(() => undefined);
      };
      const silent = await serve({ services: [[SchedulersService, { listSchedulers }]], ...options });
      return { ...silent, called };
    }
    const aborted = async ({ signal }: RpcContext): Promise<void> => {
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    };

    it("ends a call at its caller's deadline and tells the handler", async () => {
      const silent = await serveSilence({ metrics: { registry } });
      const answer = silent.client.call(schedulers.listSchedulers, {}, { deadline: Date.now() + 200 });
      const refused = expect(answer).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
      await aborted(await silent.called);
      await refused;
    });

    it('tells the handler when its caller goes away, and counts CANCELLED', async () => {
      const silent = await serveSilence({ metrics: { registry } });
      let call: { cancel(): void } | undefined;
      const answer = silent.client.call(schedulers.listSchedulers, {}, { onStart: (started) => (call = started) });
      const refused = expect(answer).rejects.toMatchObject({ code: status.CANCELLED });
      const context = await silent.called;
      expect(context.signal.aborted).toBe(false);
      call?.cancel();
      await aborted(context);
      await refused;
      await eventually(async () => expect(await counted('ListSchedulers', 'CANCELLED')).toBe(1));
    });

    it('gives up a call that takes too long, in the words of REST', async () => {
      const silent = await serveSilence({ requestTimeoutMs: 100, metrics: { registry } });
      await expect(silent.client.call(schedulers.listSchedulers, {})).rejects.toMatchObject({
        code: status.DEADLINE_EXCEEDED,
        details: 'the request took too long and was given up',
      });
      await aborted(await silent.called);
      await eventually(async () => expect(await counted('ListSchedulers', 'DEADLINE_EXCEEDED')).toBe(1));
    });
  });

  async function counted(method: string, code: string): Promise<number> {
    const line = (await registry.metrics())
      .split('\n')
      .find((text) => /_count\{/.test(text) && text.includes(`method="${method}"`) && text.includes(`code="${code}"`));
    return Number(line?.split(' ').at(-1) ?? 0);
  }

  describe('metrics', () => {
    it('measures calls by service, method and code, whoever answered them', async () => {
      await client.call(schedulers.listSchedulers, {});
      await client.call(schedulers.listSchedulers, {});
      await client.call(schedulers.getScheduler, { schedulerName: 'nowhere' }).catch(() => undefined);
      await client.call(schedulers.listSchedulers, { name: 'x'.repeat(2 * 1024 * 1024) }).catch(() => undefined);
      await client.callWithBytes('/evil.Service/AnyName', Buffer.alloc(0)).catch(() => undefined);
      await eventually(async () => {
        const series = (await registry.metrics()).split('\n').filter((line) => /_count\{/.test(line));
        const of = (method: string, code: string): string =>
          `maestro_grpc_server_handling_seconds_count{service="api.v1.SchedulersService",method="${method}",code="${code}"}`;
        expect(series.sort()).toEqual([
          `${of('GetScheduler', 'NOT_FOUND')} 1`,
          `${of('ListSchedulers', 'OK')} 2`,
          `${of('ListSchedulers', 'RESOURCE_EXHAUSTED')} 1`,
        ]);
      });
    });
  });

  describe('health', () => {
    it.each([
      [''],
      ['api.v1.SchedulersService'],
      ['api.v1.OperationsService'],
      ['maestro.v1.SchedulerPlansService'],
      ['maestro.v1.OperationDetailsService'],
    ])('serves %p', async (name) => {
      expect(await client.checkHealth(name)).toBe('SERVING');
    });

    it('does not know a service that it does not have', async () => {
      await expect(client.checkHealth('api.v1.RoomsService')).rejects.toMatchObject({ code: status.NOT_FOUND });
      const { statuses } = client.watchHealth('api.v1.RoomsService');
      await eventually(() => expect(statuses).toEqual(['SERVICE_UNKNOWN']));
    });

    it('follows the readiness of the process, and tells whoever watches, up to the end', async () => {
      let ready: () => Promise<boolean> = async () => false;
      const followed = await serve({
        services: managementGrpcServices(app),
        readiness: { isReady: () => ready(), intervalMs: 5 },
      });
      expect(await followed.client.checkHealth('')).toBe('NOT_SERVING');
      const { statuses, ended } = followed.client.watchHealth('api.v1.SchedulersService');
      await eventually(() => expect(statuses).toEqual(['NOT_SERVING']));
      ready = async () => true;
      await eventually(() => expect(statuses).toEqual(['NOT_SERVING', 'SERVING']));
      ready = () => Promise.reject(new Error('no database'));
      await eventually(() => expect(statuses).toEqual(['NOT_SERVING', 'SERVING', 'NOT_SERVING']));
      ready = async () => true;
      await eventually(() => expect(statuses.at(-1)).toBe('SERVING'));
      await followed.server.stop(60_000);
      expect(await ended).toMatchObject({ code: status.UNAVAILABLE });
      expect(statuses).toEqual(['NOT_SERVING', 'SERVING', 'NOT_SERVING', 'SERVING', 'NOT_SERVING']);
    });
  });

  describe('reflection', () => {
    it.each(['v1', 'v1alpha'] as const)('lists the services (%s)', async (version) => {
      expect(await client.listServices(version)).toEqual([
        'api.v1.OperationsService',
        'api.v1.SchedulersService',
        'grpc.health.v1.Health',
        'maestro.v1.BacktestsService',
        'maestro.v1.OperationDetailsService',
        'maestro.v1.SchedulerAutomationService',
        'maestro.v1.SchedulerPlansService',
        'maestro.v1.SchedulerRoomsService',
      ]);
    });

    it.each(['v1', 'v1alpha'] as const)('resolves messages with everything that they need (%s)', async (version) => {
      const services = [SchedulersService, OperationsService, SchedulerPlansService, OperationDetailsService];
      for (const service of [...services, SchedulerAutomationService, BacktestsService]) {
        const described = await client.describe(service.typeName, version);
        const methods = described.getService(service.typeName)?.methods ?? [];
        expect(methods.map(({ name }) => name)).toEqual(service.methods.map(({ name }) => name));
        for (const method of service.methods) {
          const copy = methods.find(({ name }) => name === method.name);
          expect(copy?.input.fields.map(describeField)).toEqual(method.input.fields.map(describeField));
          expect(copy?.output.fields.map(describeField)).toEqual(method.output.fields.map(describeField));
        }
      }
      const byMessage = await client.describe('api.v1.Scheduler', version);
      expect(byMessage.getMessage('api.v1.Scheduler')?.fields.map(describeField)).toEqual([
        ...(managementMessages['Scheduler'] ?? []),
        '1001 extensions maestro.extensions.v1.SchedulerExtensions?',
      ]);
    });

    it('shows the comments of the .proto files', async () => {
      const { texts } = await client.describe('api.v1.SchedulersService');
      expect(texts).toContain('Lists schedulers; filters are exact and combine with AND.');
      expect(texts).toContain('Only schedulers of this game.\n Example: arena');
    });

    it('describes health', async () => {
      const described = await client.describe('grpc.health.v1.Health');
      expect(described.getService('grpc.health.v1.Health')?.methods.map(({ name }) => name)).toEqual([
        'Check',
        'Watch',
        'List',
      ]);
    });

    it('does not know what is not there', async () => {
      await expect(client.describe('api.v1.Nothing')).rejects.toThrow('Symbol not found: api.v1.Nothing');
    });
  });

  describe('start and stop', () => {
    it('says that its port is in use as Node does', async () => {
      const second = startGrpcServer({ services: [], host: loopback, port: server.port, logger: log });
      await expect(second).rejects.toMatchObject({ code: 'EADDRINUSE' });
    });

    it('answers the calls that run before it stops, and takes no new ones', async () => {
      let open: (value: unknown) => void = () => undefined;
      features.schedulers.gate = new Promise((resolve) => (open = resolve));
      const running = client.call(schedulers.listSchedulers, {});
      await eventually(() => expect(features.schedulers.calls).toEqual([['list', {}]]));
      let hasStopped = false;
      const stopped = server.stop(60_000).then(() => (hasStopped = true));
      const late = new GrpcClient(server.port);
      clients.push(late);
      await expect(late.call(schedulers.listSchedulers, {})).rejects.toMatchObject({ code: status.UNAVAILABLE });
      expect(hasStopped).toBe(false);
      open(undefined);
      expect(await running).toMatchObject({ schedulers: [] });
      await stopped;
    });

    it('cuts off calls that do not end in time', async () => {
      features.schedulers.gate = new Promise(() => undefined);
      const running = expect(client.call(schedulers.listSchedulers, {})).rejects.toMatchObject({
        code: expect.any(Number),
      });
      await eventually(() => expect(features.schedulers.calls).toHaveLength(1));
      await server.stop(50);
      await running;
      expect(log.lines).toContainEqual(
        expect.objectContaining({ level: 'warn', message: 'gRPC calls did not end in time; they are cut off' }),
      );
    });

    it('stops while a connection is open and idle', async () => {
      await client.call(schedulers.listSchedulers, {});
      await server.stop(60_000);
      await expect(client.call(schedulers.listSchedulers, {})).rejects.toMatchObject({ code: status.UNAVAILABLE });
    });
  });
});

/** `3 image_pull_policy→imagePullPolicy string`: a field as `management.md` writes it. */
function describeField(field: DescField): string {
  const name = field.name === field.jsonName ? field.name : `${field.name}→${field.jsonName}`;
  const optional = field.proto.proto3Optional ? '?' : '';
  return `${field.number} ${name} ${typeOf(field)}${optional}`;
}

function typeOf(field: DescField): string {
  const value = field.message
    ? field.message.typeName.replace(/^api\.v1\./, '')
    : ScalarType[field.scalar ?? 0]!.toLowerCase();
  if (field.fieldKind === 'list') return `repeated ${value}`;
  return field.fieldKind === 'map' ? `map<${ScalarType[field.mapKey].toLowerCase()}, ${value}>` : value;
}
