import { create, fromJson } from '@bufbuild/protobuf';
import type { DescMessage, JsonValue, MessageInitShape } from '@bufbuild/protobuf';
import { DomainError } from '../../domain/errors';
import { GetOperationResponseSchema, ListOperationsResponseSchema } from '../../proto/gen/api/v1/operations_pb';
import { UpdateRoomWithPingRequestSchema } from '../../proto/gen/api/v1/rooms_pb';
import {
  ContainerEnvironmentSchema,
  ContainerPortSchema,
  ContainerSchema,
  ForwarderOptionsSchema,
  PolicyParametersSchema,
  PortRangeSchema,
  RoomOccupancySchema,
  SchedulerInfoSchema,
  SchedulerSchema,
  SpecSchema,
} from '../../proto/gen/api/v1/scheduler_messages_pb';
import {
  CreateSchedulerRequestSchema,
  NewSchedulerVersionRequestSchema,
  PatchSchedulerRequestSchema,
} from '../../proto/gen/api/v1/schedulers_pb';
import { file_maestro_extensions_v1_patch_scheduler_extensions } from '../../proto/gen/maestro/extensions/v1/patch_scheduler_extensions_pb';
import { file_maestro_extensions_v1_scheduler_extensions } from '../../proto/gen/maestro/extensions/v1/scheduler_extensions_pb';
import { decodeMessage, encodeMessage } from './protojson';

/** A field of a message after the trip: JSON in, message, JSON out. */
function roundTrip(schema: DescMessage, json: JsonValue, field: string): unknown {
  return encodeMessage(schema, decodeMessage(schema, json))[field];
}

function refusal(schema: DescMessage, json: JsonValue): string {
  try {
    decodeMessage(schema, json);
  } catch (error) {
    if (error instanceof DomainError && error.kind === 'invalid_argument' && error.code === 'request.malformed') {
      return error.message;
    }
    throw error;
  }
  throw new Error('was not refused');
}

describe('decodeMessage (management.md 1.2)', () => {
  it.each([
    ['an int32 as a number', PortRangeSchema, 'start', 6, 6],
    ['an int32 as an integral float', PortRangeSchema, 'start', 6.0, 6],
    ['an int32 as 1e2', PortRangeSchema, 'start', 1e2, 100],
    ['an int32 as text', PortRangeSchema, 'start', '6', 6],
    ['an int32 as integral text', PortRangeSchema, 'start', '6.0', 6],
    ['an int32 as text with an exponent', PortRangeSchema, 'start', '1e2', 100],
    ['a negative int32', PortRangeSchema, 'start', -1, -1],
    ['an int64 as a number', ForwarderOptionsSchema, 'timeout', 1000, '1000'],
    ['an int64 as text', ForwarderOptionsSchema, 'timeout', '1000', '1000'],
    ['an int64 as integral text', ForwarderOptionsSchema, 'timeout', '1e3', '1000'],
    ['the largest int64', ForwarderOptionsSchema, 'timeout', '9223372036854775807', '9223372036854775807'],
    ['the smallest int64', ForwarderOptionsSchema, 'timeout', '-9223372036854775808', '-9223372036854775808'],
    [
      'an int64 beyond 2^53 as 9007199254740993.0',
      ForwarderOptionsSchema,
      'timeout',
      '9007199254740993.0',
      '9007199254740993',
    ],
    [
      'the largest int64 with an exponent',
      ForwarderOptionsSchema,
      'timeout',
      '9.223372036854775807e18',
      '9223372036854775807',
    ],
    ['an int64 as 1200E-2', ForwarderOptionsSchema, 'timeout', '1200E-2', '12'],
    ['an int64 as -0.0e99', ForwarderOptionsSchema, 'timeout', '-0.0e99', '0'],
    ['a float as a number', RoomOccupancySchema, 'readyTarget', 0.99, 0.99],
    ['a float as text', RoomOccupancySchema, 'readyTarget', '0.5', 0.5],
    ['a float that is NaN', RoomOccupancySchema, 'readyTarget', 'NaN', 'NaN'],
    ['a float that is infinite', RoomOccupancySchema, 'readyTarget', '-Infinity', '-Infinity'],
    ['a duration', SpecSchema, 'terminationGracePeriod', '100s', '100s'],
    ['a duration of nanoseconds', SpecSchema, 'terminationGracePeriod', '0.000000015s', '0.000000015s'],
    ['a duration with a fraction', SpecSchema, 'terminationGracePeriod', '1.5s', '1.500s'],
    ['a timestamp', SchedulerSchema, 'createdAt', '2024-05-01T10:00:00Z', '2024-05-01T10:00:00Z'],
    [
      'a timestamp with an offset and a fraction',
      SchedulerSchema,
      'createdAt',
      '2024-05-01T12:00:00.123456+02:00',
      '2024-05-01T10:00:00.123456Z',
    ],
    [
      'a struct',
      ForwarderOptionsSchema,
      'metadata',
      { a: [1, { b: null }], c: false },
      { a: [1, { b: null }], c: false },
    ],
    ['a map', SchedulerSchema, 'labels', { a: 'b' }, { a: 'b' }],
    ['a bool', SchedulerInfoSchema, 'autoscaling', { enabled: true }, { enabled: true, min: 0, max: 0, cooldown: 0 }],
    ['null as unset', SchedulerSchema, 'maxSurge', null, ''],
    ['null as an unset list', SchedulerSchema, 'forwarders', null, []],
    ['null as an unset message', SchedulerSchema, 'spec', null, null],
  ])('reads %s', (_name, schema, field, json, expected) => {
    expect(roundTrip(schema, { [field]: json }, field)).toEqual(expected);
  });

  it('reads snake_case names at every level', () => {
    const json = {
      max_surge: '25%',
      spec: {
        termination_grace_period: '1s',
        containers: [{ image_pull_policy: 'Always', ports: [{ host_port: 1 }] }],
      },
    };
    expect(
      encodeMessage(CreateSchedulerRequestSchema, decodeMessage(CreateSchedulerRequestSchema, json)),
    ).toMatchObject({
      maxSurge: '25%',
      spec: { terminationGracePeriod: '1s', containers: [{ imagePullPolicy: 'Always', ports: [{ hostPort: 1 }] }] },
    });
  });

  it('ignores unknown names', () => {
    expect(roundTrip(SpecSchema, { unknown: { a: 1 }, version: 'v1.0.0' }, 'version')).toBe('v1.0.0');
  });

  it('ignores unknown names beside and around extensions', () => {
    const json = { extension: { drain: {} }, spec: { drain: 1 }, extensions: { drain: { deadline_seconds: 5 } } };
    expect(decodeMessage(PatchSchedulerRequestSchema, json).extensions?.drain?.deadlineSeconds).toBe(5);
  });

  it.each(
    [file_maestro_extensions_v1_scheduler_extensions, file_maestro_extensions_v1_patch_scheduler_extensions].flatMap(
      ({ messages }) => messages.map((message) => [message.name, message] as const),
    ),
  )('takes every field of %s by both of its names, and no other', (_name, message) => {
    for (const { name, jsonName } of message.fields) {
      expect(decodeMessage(message, { [name]: null })).toEqual(create(message));
      expect(decodeMessage(message, { [jsonName]: null })).toEqual(create(message));
      expect(refusal(message, { [`${jsonName}X`]: null })).toBe(
        `malformed request: field "${jsonName}X": unknown field, did you mean ${jsonName}?`,
      );
    }
  });

  it.each<[string, JsonValue, string]>([
    ['at the top', { drian: {} }, 'field "extensions.drian": unknown field, did you mean drain?'],
    [
      'in a part',
      { drain: { deadlineSecond: 5 } },
      'field "extensions.drain.deadlineSecond": unknown field, did you mean deadlineSeconds?',
    ],
    [
      'in snake_case',
      { drain: { deadline_second: 5 } },
      'field "extensions.drain.deadline_second": unknown field, did you mean deadlineSeconds?',
    ],
    [
      'that is null',
      { drain: { deadlineSecond: null } },
      'field "extensions.drain.deadlineSecond": unknown field, did you mean deadlineSeconds?',
    ],
    [
      'beside a known one',
      { rollout: { automaticRollback: true, failureshares: 1 } },
      'field "extensions.rollout.failureshares": unknown field, did you mean failureShare?',
    ],
    [
      'far inside',
      { autoscaling: { chain: { policies: [{ type: 'webhook' }, { schedule: { windows: [{ corn: '' }] } }] } } },
      'field "extensions.autoscaling.chain.policies[1].schedule.windows[0].corn": unknown field, did you mean cron?',
    ],
    [
      'that is like none',
      { rollout: { constructor: 1 } },
      'field "extensions.rollout.constructor": unknown field, known are automaticRollback, failureShare, failureWindowSeconds',
    ],
    [
      'that is very long',
      { drain: { ['x'.repeat(100_000)]: 1 } },
      `field "extensions.drain.${'x'.repeat(57)}...": unknown field, known are deadlineSeconds`,
    ],
    [
      'that only a patch has',
      { clear: ['annotations'] },
      'field "extensions.clear": unknown field, known are autoscaling, rollout, drain',
    ],
  ])('refuses an unknown name of extensions %s', (_name, extensions, reason) => {
    for (const schema of [CreateSchedulerRequestSchema, NewSchedulerVersionRequestSchema]) {
      expect(refusal(schema, { extensions })).toBe(`malformed request: ${reason}`);
    }
  });

  it('reads no body as the empty message', () => {
    expect(encodeMessage(PortRangeSchema, decodeMessage(PortRangeSchema, undefined))).toEqual({ start: 0, end: 0 });
  });

  it('tells an unset optional from one that is set to zero', () => {
    expect(decodeMessage(PatchSchedulerRequestSchema, { roomsReplicas: 0, maxSurge: '' })).toMatchObject({
      roomsReplicas: 0,
      maxSurge: '',
    });
    expect(decodeMessage(PatchSchedulerRequestSchema, {}).roomsReplicas).toBeUndefined();
    expect(decodeMessage(PatchSchedulerRequestSchema, { spec: {} }).spec).toBeDefined();
    expect(decodeMessage(PatchSchedulerRequestSchema, {}).spec).toBeUndefined();
  });

  it('leaves the given value as it is', () => {
    const json = { timeout: '1e3' };
    decodeMessage(ForwarderOptionsSchema, json);
    expect(json).toEqual({ timeout: '1e3' });
  });

  it.each<[string, DescMessage, JsonValue, string]>([
    ['a number for a string', SchedulerSchema, { maxSurge: 40 }, 'field "maxSurge": expected string, got 40'],
    ['a bool for a string', SchedulerSchema, { name: true }, 'field "name": expected string, got true'],
    ['a list for a string', SchedulerSchema, { name: ['a'] }, 'field "name": expected string, got Array(1)'],
    ['a fraction for an int32', PortRangeSchema, { start: 1.5 }, 'field "start": expected number (int32), got 1.5'],
    [
      'an int32 out of range',
      PortRangeSchema,
      { start: 2147483648 },
      'field "start": expected number (int32): 2147483648 out of range',
    ],
    ['a word for an int32', PortRangeSchema, { start: 'x' }, 'field "start": expected a number, got "x"'],
    ['an empty text for an int32', PortRangeSchema, { start: '' }, 'field "start": expected a number, got ""'],
    ['blanks around a number', PortRangeSchema, { start: ' 6' }, 'field "start": expected a number, got " 6"'],
    ['a hexadecimal number', PortRangeSchema, { start: '0x10' }, 'field "start": expected a number, got "0x10"'],
    ['a bool for an int32', PortRangeSchema, { start: true }, 'field "start": expected number (int32), got true'],
    [
      'a fraction for an int64',
      ForwarderOptionsSchema,
      { timeout: '1.5' },
      'field "timeout": expected an integer, got "1.5"',
    ],
    [
      'an int64 out of range',
      ForwarderOptionsSchema,
      { timeout: '9223372036854775808' },
      'field "timeout": expected bigint (int64): 9223372036854775808 out of range',
    ],
    [
      'a fraction beyond 2^53 for an int64',
      ForwarderOptionsSchema,
      { timeout: '9007199254740993.5' },
      'field "timeout": expected an integer, got "9007199254740993.5"',
    ],
    [
      'an int64 with a huge exponent',
      ForwarderOptionsSchema,
      { timeout: '1e999999999999' },
      'field "timeout": expected a 64-bit integer: "1e999999999999" out of range',
    ],
    [
      'a very long int64',
      ForwarderOptionsSchema,
      { timeout: '9'.repeat(100_000) },
      `field "timeout": expected a 64-bit integer: "${'9'.repeat(56)}... out of range`,
    ],
    [
      'a float out of range',
      RoomOccupancySchema,
      { readyTarget: 1e39 },
      'field "readyTarget": expected number (float32): 1e+39 out of range',
    ],
    [
      'minutes for a duration',
      SpecSchema,
      { terminationGracePeriod: '1m' },
      'field "terminationGracePeriod": unexpected value "1m"',
    ],
    [
      'a number for a duration',
      SpecSchema,
      { terminationGracePeriod: 5 },
      'field "terminationGracePeriod": unexpected value 5',
    ],
    ['a list for a struct', ForwarderOptionsSchema, { metadata: [] }, 'field "metadata": unexpected value Array(0)'],
    ['an object for a list', SpecSchema, { containers: {} }, 'field "containers": expected Array, got object'],
    ['null in a list', SpecSchema, { containers: [{}, null] }, 'field "containers[1]": list item must not be null'],
    [
      'a number in a map of texts',
      SchedulerSchema,
      { labels: { a: 1 } },
      'field "labels": map entry "a": expected string, got 1',
    ],
    ['a text for a message', SchedulerSchema, { spec: 'x' }, 'field "spec": unexpected value "x"'],
    [
      'something wrong far inside',
      CreateSchedulerRequestSchema,
      { spec: { containers: [{}, { ports: [{ port: 1 }, { port: 1.5 }] }] } },
      'field "spec.containers[1].ports[1].port": expected number (int32), got 1.5',
    ],
    [
      'a field by both of its names',
      SpecSchema,
      { terminationGracePeriod: '1s', termination_grace_period: '1s' },
      'field "terminationGracePeriod": set multiple times',
    ],
    [
      'a field by both of its names, once null',
      SpecSchema,
      { terminationGracePeriod: '1s', termination_grace_period: null },
      'field "terminationGracePeriod": set multiple times',
    ],
    [
      'a NUL character in a text',
      SchedulerSchema,
      { name: 'a\0' },
      'field "name": text must not contain a NUL character',
    ],
    [
      'a NUL character in a map',
      SchedulerSchema,
      { labels: { a: '\0' } },
      'field "labels.a": text must not contain a NUL character',
    ],
  ])('refuses %s', (_name, schema, json, reason) => {
    expect(refusal(schema, json)).toBe(`malformed request: ${reason}`);
  });

  it.each([
    ['a list', [], 'unexpected value Array(0)'],
    ['a text', 'x', 'unexpected value "x"'],
    ['null', null, 'unexpected value null'],
  ])('refuses %s as a message', (_name, json, reason) => {
    expect(refusal(PortRangeSchema, json)).toBe(`malformed request: ${reason}`);
  });
});

describe('encodeMessage (management.md 1.2)', () => {
  function encode<Desc extends DescMessage>(schema: Desc, init: MessageInitShape<Desc>): unknown {
    return encodeMessage(schema, create(schema, init));
  }

  it('writes an unset scalar as zero, a list as [], a map as {}, a message as null, and leaves out what is optional', () => {
    expect(encode(SchedulerSchema, {})).toEqual({
      name: '',
      game: '',
      state: '',
      portRange: null,
      createdAt: null,
      maxSurge: '',
      roomsReplicas: 0,
      spec: null,
      forwarders: [],
      annotations: {},
      labels: {},
    });
  });

  it('does so at every level', () => {
    expect(encode(SchedulerSchema, { spec: { containers: [{ ports: [{}] }] } })).toMatchObject({
      spec: {
        version: '',
        terminationGracePeriod: null,
        containers: [
          {
            name: '',
            command: [],
            environment: [],
            requests: null,
            limits: null,
            ports: [{ name: '', protocol: '', port: 0, hostPort: 0 }],
          },
        ],
        toleration: '',
      },
    });
  });

  it.each([
    [
      'an optional number that is zero',
      ListOperationsResponseSchema,
      { page: 0, total: 0 },
      { page: 0, total: 0, operations: [] },
    ],
    ['an optional text that is empty', ContainerEnvironmentSchema, { name: 'A', value: '' }, { name: 'A', value: '' }],
    ['an optional message that is empty', PolicyParametersSchema, { fixedBuffer: {} }, { fixedBuffer: {} }],
    ['an int64 as text', ForwarderOptionsSchema, { timeout: 1000n }, { timeout: '1000', metadata: null }],
    ['a float in its shortest form', RoomOccupancySchema, { readyTarget: 0.9900000095367432 }, { readyTarget: 0.99 }],
    ['an empty struct', ForwarderOptionsSchema, { timeout: 0n, metadata: {} }, { timeout: '0', metadata: {} }],
    ['a struct as it is', GetOperationResponseSchema, { operation: { input: { a: [null, {}] } } }, undefined],
    ['an unset message of an answer', GetOperationResponseSchema, {}, { operation: null }],
    ['a port without a range', ContainerPortSchema, { name: 'p' }, { name: 'p', protocol: '', port: 0, hostPort: 0 }],
  ])('writes %s', (_name, schema, init, expected) => {
    const json = encode(schema as DescMessage, init as never);
    if (expected !== undefined) expect(json).toEqual(expected);
    else expect(json).toMatchObject(init);
  });

  it('writes numbers as numbers and names in camelCase', () => {
    const json = JSON.stringify(encode(ContainerSchema, { imagePullPolicy: 'Always', ports: [{ hostPort: 1 }] }));
    expect(json).toContain('"imagePullPolicy":"Always"');
    expect(json).toContain('"hostPort":1');
  });

  it('is read back by a strict client', () => {
    const init = { schedulerName: 's', metadata: { a: 1 }, runningMatches: 3n };
    const json = encode(UpdateRoomWithPingRequestSchema, init) as JsonValue;
    expect(fromJson(UpdateRoomWithPingRequestSchema, json)).toMatchObject(init);
  });
});
