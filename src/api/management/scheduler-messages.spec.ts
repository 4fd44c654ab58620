import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { JsonObject } from '@bufbuild/protobuf';
import type { FleetCounts } from '../../domain/room/room';
import { isEmptyPatch, type DefinitionPatch } from '../../domain/scheduler/patch-definition';
import type { Scheduler, SchedulerDefinition } from '../../domain/scheduler/scheduler';
import { fullExtensions } from '../../domain/scheduler/scheduler.fixture';
import {
  SchedulerInfoSchema,
  SchedulerSchema,
  SchedulerWithoutSpecSchema,
} from '../../proto/gen/api/v1/scheduler_messages_pb';
import {
  CreateSchedulerRequestSchema,
  NewSchedulerVersionRequestSchema,
  PatchSchedulerRequestSchema,
} from '../../proto/gen/api/v1/schedulers_pb';
import { decodeMessage, encodeMessage, malformedField } from '../http/protojson';
import {
  definitionFromMessage,
  patchFromMessage,
  schedulerInfoMessage,
  schedulerMessage,
  schedulerWithoutSpecMessage,
} from './scheduler-messages';

/** The sample of `management.md` 1.5, as a request. */
const request: JsonObject = {
  name: 's1',
  game: 'g',
  portRange: { start: 40000, end: 60000 },
  maxSurge: '10%',
  roomsReplicas: 2,
  spec: {
    terminationGracePeriod: '100s',
    containers: [
      {
        name: 'c',
        image: 'i',
        imagePullPolicy: 'Always',
        command: [],
        environment: [{ name: 'A', value: 'b' }],
        requests: { memory: '20Mi', cpu: '10m' },
        limits: { memory: '20Mi', cpu: '10m' },
        ports: [{ name: 'p', protocol: 'tcp', port: 80, hostPort: 0 }],
      },
    ],
    toleration: '',
    affinity: '',
  },
  forwarders: [
    {
      name: 'f',
      enable: true,
      type: 'gRPC',
      address: 'h:1',
      options: { timeout: '1000', metadata: { roomType: 'green' } },
    },
  ],
  annotations: {},
  labels: {},
};

const sample: SchedulerDefinition = {
  game: 'g',
  spec: {
    terminationGracePeriodNs: 100_000_000_000,
    containers: [
      {
        name: 'c',
        image: 'i',
        imagePullPolicy: 'Always',
        command: [],
        environment: [{ name: 'A', value: 'b' }],
        requests: { memory: '20Mi', cpu: '10m' },
        limits: { memory: '20Mi', cpu: '10m' },
        ports: [{ name: 'p', protocol: 'tcp', port: 80, hostPort: 0 }],
      },
    ],
    toleration: '',
    affinity: '',
    restartPolicy: 'Never',
  },
  portRange: { start: 40000, end: 60000 },
  roomsReplicas: 2,
  maxSurge: '10%',
  forwarders: [
    {
      name: 'f',
      enabled: true,
      type: 'gRPC',
      address: 'h:1',
      options: { timeoutMs: 1000, metadata: { roomType: 'green' } },
    },
  ],
  annotations: {},
  labels: {},
  matchAllocation: { maxMatches: 1 },
};

/** The answer for the sample, as it was before there were extensions. */
const bytesWithoutExtensions = [
  'CgJzMRIBZxoHaW4tc3luYyIICMC4AhDg1AMqCwigpcixBhDAqdM6MgMxMCU4AkJRCgZ2MS4wLjASAghkGjwKAWMSAWkaBkFsd2F5cyoGCgFBEgFiMgsK',
  'BDIwTWkSAzEwbToLCgQyME1pEgMxMG1CCgoBcBIDdGNwGFAyBU5ldmVyUiwKAWYQARoEZ1JQQyIDaDoxKhoI6AcSFQoTCghyb29tVHlwZRIHGgVncmVlbmoCCAE=',
].join('');

function scheduler(definition: Partial<SchedulerDefinition> = {}): Scheduler {
  return {
    name: 's1',
    state: 'in-sync',
    version: 'v1.0.0',
    rollbackVersion: '',
    createdAt: new Date('2024-05-01T09:00:00Z'),
    versionCreatedAt: new Date('2024-05-01T10:00:00.123Z'),
    lastDownscaleAt: null,
    definition: { ...sample, ...definition },
  };
}

const definitionOf = (json: JsonObject): SchedulerDefinition =>
  definitionFromMessage(decodeMessage(CreateSchedulerRequestSchema, json));
const shown = (value: Scheduler): JsonObject =>
  encodeMessage(SchedulerSchema, create(SchedulerSchema, schedulerMessage(value)));
const firstContainer = (container: JsonObject): JsonObject => ({ spec: { containers: [container] } });

describe('definitionFromMessage', () => {
  it('reads a full request', () => {
    expect(definitionOf(request)).toEqual(sample);
  });

  it('reads the same from the binary form', () => {
    const message = decodeMessage(CreateSchedulerRequestSchema, {
      ...request,
      autoscaling: { policy: { parameters: { roomOccupancy: { readyTarget: 0.2 } } } },
    });
    const overWire = fromBinary(CreateSchedulerRequestSchema, toBinary(CreateSchedulerRequestSchema, message));
    expect(definitionFromMessage(overWire)).toEqual(definitionFromMessage(message));
  });

  it('makes an empty request a definition that validation can judge', () => {
    expect(definitionOf({})).toEqual({
      game: '',
      spec: { terminationGracePeriodNs: 0, containers: [], toleration: '', affinity: '', restartPolicy: 'Never' },
      roomsReplicas: 0,
      maxSurge: '',
      forwarders: [],
      annotations: {},
      labels: {},
      matchAllocation: { maxMatches: 1 },
    });
  });

  it.each<[string, JsonObject, object]>([
    ['ignores the version', { spec: { version: 'v9.9.9' } }, { spec: { restartPolicy: 'Never' } }],
    ['takes Never for an empty restartPolicy', { spec: { restartPolicy: '' } }, { spec: { restartPolicy: 'Never' } }],
    ['keeps a restartPolicy', { spec: { restartPolicy: 'Always' } }, { spec: { restartPolicy: 'Always' } }],
    [
      'keeps a nanosecond',
      { spec: { terminationGracePeriod: '0.000000015s' } },
      { spec: { terminationGracePeriodNs: 15 } },
    ],
    [
      'keeps a negative duration',
      { spec: { terminationGracePeriod: '-1.5s' } },
      { spec: { terminationGracePeriodNs: -1_500_000_000 } },
    ],
    ['holds one match by default', {}, { matchAllocation: { maxMatches: 1 } }],
    ['keeps an explicit 0 for validation', { matchAllocation: {} }, { matchAllocation: { maxMatches: 0 } }],
    [
      'gives a forwarder without options 1000 ms and no metadata',
      { forwarders: [{ name: 'f' }] },
      {
        forwarders: [{ name: 'f', enabled: false, type: '', address: '', options: { timeoutMs: 1000, metadata: {} } }],
      },
    ],
    [
      'keeps a timeout of 0 for validation when options are given',
      { forwarders: [{ options: {} }] },
      { forwarders: [{ options: { timeoutMs: 0, metadata: {} } }] },
    ],
    [
      'takes 0.99 for a missing downThreshold',
      { autoscaling: { policy: { parameters: { roomOccupancy: { readyTarget: 0.2 } } } } },
      { autoscaling: { policy: { parameters: { roomOccupancy: { readyTarget: 0.2, downThreshold: 0.99 } } } } },
    ],
    [
      'takes 0.99 for a downThreshold of 0',
      { autoscaling: { policy: { parameters: { roomOccupancy: { downThreshold: 0 } } } } },
      { autoscaling: { policy: { parameters: { roomOccupancy: { downThreshold: 0.99 } } } } },
    ],
    [
      'reads a fixed buffer',
      {
        autoscaling: {
          enabled: true,
          min: 1,
          max: -1,
          cooldown: 5,
          policy: { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 7 } } },
        },
      },
      {
        autoscaling: {
          enabled: true,
          min: 1,
          max: -1,
          cooldown: 5,
          policy: { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 7 } } },
        },
      },
    ],
    [
      'makes an empty autoscaling one that validation can judge',
      { autoscaling: {} },
      { autoscaling: { enabled: false, min: 0, max: 0, cooldown: 0, policy: { type: '', parameters: {} } } },
    ],
    [
      'takes missing resources as empty',
      firstContainer({}),
      firstContainer({ requests: { memory: '', cpu: '' }, limits: { memory: '', cpu: '' } }),
    ],
    [
      'lets a value win over its sources, even an empty one',
      firstContainer({ environment: [{ name: 'A', value: '', valueFrom: { fieldRef: { fieldPath: 'x' } } }] }),
      firstContainer({ environment: [{ name: 'A', value: '' }] }),
    ],
    [
      'lets the secret win over the field',
      firstContainer({
        environment: [
          { name: 'A', valueFrom: { fieldRef: { fieldPath: 'x' }, secretKeyRef: { name: 's', key: 'k' } } },
        ],
      }),
      firstContainer({ environment: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }] }),
    ],
    [
      'reads a field',
      firstContainer({ environment: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'x' } } }] }),
      firstContainer({ environment: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'x' } } }] }),
    ],
    [
      'reads a port with a range',
      firstContainer({ ports: [{ name: 'p', hostPortRange: { start: 1, end: 2 } }] }),
      firstContainer({
        ports: [{ name: 'p', protocol: '', port: 0, hostPort: 0, hostPortRange: { start: 1, end: 2 } }],
      }),
    ],
  ])('%s', (_name, json, expected) => {
    expect(definitionOf(json)).toMatchObject(expected);
  });

  it('leaves an absent portRange and autoscaling, and absent extensions, absent', () => {
    expect(definitionOf({})).not.toHaveProperty('portRange');
    expect(definitionOf({})).not.toHaveProperty('autoscaling');
    expect(definitionOf({})).not.toHaveProperty('extensions');
    expect(definitionOf({ extensions: null })).not.toHaveProperty('extensions');
  });

  it('reads extensions, also empty ones, which say that there are none', () => {
    expect(definitionOf({ extensions: fullExtensions() as JsonObject })).toMatchObject({
      extensions: fullExtensions(),
    });
    expect(definitionOf({ extensions: {} })).toMatchObject({ extensions: {} });
  });

  it("refuses a NUL character in a forwarder's metadata, which no database text can hold", () => {
    const message = decodeMessage(CreateSchedulerRequestSchema, {
      forwarders: [{ options: { metadata: { a: ['\0'] } } }],
    });
    expect(() => definitionFromMessage(message)).toThrow(
      malformedField('forwarders[0].options.metadata.a[0]', 'text must not contain a NUL character'),
    );
  });
});

describe('definitionFromMessage of a new version', () => {
  const newVersionOf = (json: JsonObject): SchedulerDefinition =>
    definitionFromMessage(decodeMessage(NewSchedulerVersionRequestSchema, json));

  it('reads a full request as that of a new scheduler', () => {
    expect(newVersionOf(request)).toEqual(sample);
  });

  it('tells extensions that are empty from none, over either wire', () => {
    const overWire = (json: JsonObject) =>
      definitionFromMessage(
        fromBinary(
          NewSchedulerVersionRequestSchema,
          toBinary(NewSchedulerVersionRequestSchema, decodeMessage(NewSchedulerVersionRequestSchema, json)),
        ),
      );
    expect(newVersionOf({})).not.toHaveProperty('extensions');
    expect(overWire({})).not.toHaveProperty('extensions');
    expect(newVersionOf({ extensions: {} })).toHaveProperty('extensions', {});
    expect(overWire({ extensions: {} })).toHaveProperty('extensions', {});
  });

  it('has the defaults of a new scheduler, and no portRange where v10 makes {0, 0} of it', () => {
    expect(newVersionOf({})).toEqual(definitionOf({}));
    expect(newVersionOf({})).not.toHaveProperty('portRange');
    expect(newVersionOf({ portRange: {} })).toMatchObject({ portRange: { start: 0, end: 0 } });
  });
});

describe('patchFromMessage', () => {
  const patchOf = (json: JsonObject): DefinitionPatch =>
    patchFromMessage(decodeMessage(PatchSchedulerRequestSchema, json));
  const container = (fields: JsonObject): JsonObject => ({ spec: { containers: [fields] } });

  it.each<[string, JsonObject, DefinitionPatch]>([
    ['nothing', {}, {}],
    ['an empty spec', { spec: {} }, { spec: {} }],
    ['an empty autoscaling', { autoscaling: {} }, { autoscaling: {} }],
    [
      'values that are zero',
      {
        maxSurge: '',
        roomsReplicas: 0,
        spec: { toleration: '', affinity: '' },
        autoscaling: { enabled: false, min: 0 },
      },
      {
        maxSurge: '',
        roomsReplicas: 0,
        spec: { toleration: '', affinity: '' },
        autoscaling: { enabled: false, min: 0 },
      },
    ],
    [
      'the spec',
      { spec: { terminationGracePeriod: '0.000000099s', toleration: 't', affinity: 'a' } },
      { spec: { terminationGracePeriodNs: 99, toleration: 't', affinity: 'a' } },
    ],
    [
      'a grace period of 0, for validation',
      { spec: { terminationGracePeriod: '0s' } },
      { spec: { terminationGracePeriodNs: 0 } },
    ],
    ['one key of a container', container({ image: 'i:2' }), { spec: { containers: [{ image: 'i:2' }] } }],
    [
      'the second container',
      { spec: { containers: [{}, { imagePullPolicy: 'Never', name: '' }] } },
      { spec: { containers: [{}, { imagePullPolicy: 'Never', name: '' }] } },
    ],
    [
      'the lists of a container',
      container({
        command: ['./a'],
        environment: [{ name: 'A', value: '', valueFrom: { fieldRef: { fieldPath: 'x' } } }],
        ports: [{ name: 'p', protocol: 'tcp', port: 1, hostPortRange: { start: 1 } }],
      }),
      {
        spec: {
          containers: [
            {
              command: ['./a'],
              environment: [{ name: 'A', value: '' }],
              ports: [{ name: 'p', protocol: 'tcp', port: 1, hostPort: 0, hostPortRange: { start: 1, end: 0 } }],
            },
          ],
        },
      },
    ],
    [
      'half of the requests as a whole, and no limits',
      container({ requests: { cpu: '1' } }),
      { spec: { containers: [{ requests: { cpu: '1', memory: '' } }] } },
    ],
    ['half of a port range as a whole', { portRange: { end: 5 } }, { portRange: { start: 0, end: 5 } }],
    [
      'single keys of autoscaling',
      { autoscaling: { max: -1, cooldown: 5 } },
      { autoscaling: { max: -1, cooldown: 5 } },
    ],
    [
      'a policy as a whole, with 0.99 for a missing downThreshold',
      { autoscaling: { policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.1 } } } } },
      {
        autoscaling: {
          policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.1, downThreshold: 0.99 } } },
        },
      },
    ],
    [
      'a policy that is empty, for validation',
      { autoscaling: { policy: {} } },
      { autoscaling: { policy: { type: '', parameters: {} } } },
    ],
    [
      'forwarders, with 1000 ms for missing options',
      { forwarders: [{ name: 'f' }] },
      {
        forwarders: [{ name: 'f', enabled: false, type: '', address: '', options: { timeoutMs: 1000, metadata: {} } }],
      },
    ],
    ['maps', { annotations: { a: 'b' }, labels: { c: '' } }, { annotations: { a: 'b' }, labels: { c: '' } }],
    ['an empty match allocation, for validation', { matchAllocation: {} }, { matchAllocation: { maxMatches: 0 } }],
    [
      'what to clear, in its order',
      { extensions: { clear: ['spec.containers[0].command', 'labels'] } },
      { clear: ['spec.containers[0].command', 'labels'] },
    ],
    [
      'parts of extensions, also an empty one',
      { extensions: { clear: ['extensions.rollout'], autoscaling: {}, drain: { deadlineSeconds: 60 } } },
      { clear: ['extensions.rollout'], extensions: { autoscaling: {}, drain: { deadlineSeconds: 60 } } },
    ],
  ])('asks for %s', (_name, json, expected) => {
    expect(patchOf(json)).toStrictEqual(expected);
  });

  it.each<[string, JsonObject]>([
    ['empty lists', { forwarders: [], extensions: { clear: [] } }],
    ['empty extensions', { extensions: {} }],
    ['empty maps, which a message cannot tell from none', { annotations: {}, labels: {} }],
    ['null', { spec: null, portRange: null, maxSurge: null, roomsReplicas: null, autoscaling: null, labels: null }],
    ['what cannot be patched', { name: 'n', game: 'g', version: 'v9.0.0', restartPolicy: 'Always' }],
  ])('asks for nothing with %s', (_name, json) => {
    expect(patchOf(json)).toStrictEqual({});
    expect(isEmptyPatch(patchOf(json))).toBe(true);
  });

  it('leaves out empty lists of a container, and what a spec cannot be patched in', () => {
    expect(patchOf({ spec: { version: 'v9.0.0', restartPolicy: 'Always', containers: [] } })).toStrictEqual({
      spec: {},
    });
    expect(patchOf(container({ command: [], environment: [], ports: [] }))).toStrictEqual({
      spec: { containers: [{}] },
    });
  });

  it('reads the same from the binary form', () => {
    const message = decodeMessage(PatchSchedulerRequestSchema, {
      ...request,
      spec: { terminationGracePeriod: '0s', containers: [{}, { image: '', limits: {} }] },
      autoscaling: { min: 0, policy: { parameters: { roomOccupancy: { readyTarget: 0.1, downThreshold: 0 } } } },
      extensions: { clear: ['portRange'] },
    });
    const overWire = fromBinary(PatchSchedulerRequestSchema, toBinary(PatchSchedulerRequestSchema, message));
    expect(patchFromMessage(overWire)).toStrictEqual(patchFromMessage(message));
  });

  it("refuses a NUL character in a forwarder's metadata", () => {
    expect(() => patchOf({ forwarders: [{}, { options: { metadata: { 'a\0': 1 } } }] })).toThrow(
      malformedField('forwarders[1].options.metadata', 'text must not contain a NUL character'),
    );
  });
});

describe('schedulerMessage', () => {
  it('shows what was asked for, with the version and when that was made', () => {
    expect(shown(scheduler())).toEqual({
      ...request,
      state: 'in-sync',
      createdAt: '2024-05-01T10:00:00.123Z',
      spec: { ...(request['spec'] as JsonObject), version: 'v1.0.0', restartPolicy: 'Never' },
      matchAllocation: { maxMatches: 1 },
    });
  });

  it.each<[string, Partial<SchedulerDefinition>, object]>([
    ['null for a scheduler with per-port ranges', { portRange: undefined }, { portRange: null }],
    [
      'Never for an empty restartPolicy',
      { spec: { ...sample.spec, restartPolicy: '' } },
      { spec: { restartPolicy: 'Never' } },
    ],
    [
      'nanoseconds',
      { spec: { ...sample.spec, terminationGracePeriodNs: 15 } },
      { spec: { terminationGracePeriod: '0.000000015s' } },
    ],
    [
      'fractions',
      { spec: { ...sample.spec, terminationGracePeriodNs: 1_500_000_000 } },
      { spec: { terminationGracePeriod: '1.500s' } },
    ],
    [
      'floats as typed',
      {
        autoscaling: {
          enabled: true,
          min: 1,
          max: -1,
          cooldown: 60,
          policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.2, downThreshold: 0.99 } } },
        },
      },
      {
        autoscaling: {
          enabled: true,
          min: 1,
          max: -1,
          cooldown: 60,
          policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.2, downThreshold: 0.99 } } },
        },
      },
    ],
  ])('shows %s', (_name, definition, expected) => {
    expect(shown(scheduler(definition))).toMatchObject(expected);
  });

  it('shows only the parameters that are set', () => {
    const policy = { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 3 } } };
    const json = shown(scheduler({ autoscaling: { enabled: false, min: 1, max: 2, cooldown: 0, policy } }));
    expect(json['autoscaling']).toEqual({ enabled: false, min: 1, max: 2, cooldown: 0, policy });
  });

  it('shows extensions where they are used', () => {
    expect(shown(scheduler({ extensions: fullExtensions() }))).toEqual({
      ...shown(scheduler()),
      extensions: fullExtensions(),
    });
  });

  it("is v10's to the byte where they are not", () => {
    const message = create(SchedulerSchema, schedulerMessage(scheduler()));
    expect(Buffer.from(toBinary(SchedulerSchema, message)).toString('base64')).toBe(bytesWithoutExtensions);
    expect(shown(scheduler())).not.toHaveProperty('extensions');
  });

  it('leaves out autoscaling when there is none', () => {
    expect(shown(scheduler())).not.toHaveProperty('autoscaling');
  });

  it('shows a variable that is empty by its name alone', () => {
    const [container] = sample.spec.containers;
    const containers = [{ ...container!, environment: [{ name: 'A', value: '' }, { name: 'B' }] }];
    const json = shown(scheduler({ spec: { ...sample.spec, containers } }));
    expect(json).toMatchObject({ spec: { containers: [{ environment: [{ name: 'A' }, { name: 'B' }] }] } });
    expect(JSON.stringify(json)).not.toContain('"value"');
  });

  it('shows only the source of a variable that is set', () => {
    const environment = [
      { name: 'A', valueFrom: { fieldRef: { fieldPath: 'x' } } },
      { name: 'B', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
    ];
    const [container] = sample.spec.containers;
    const json = shown(scheduler({ spec: { ...sample.spec, containers: [{ ...container!, environment }] } }));
    expect((json['spec'] as { containers: { environment: unknown }[] }).containers[0]?.environment).toEqual(
      environment,
    );
  });

  it('says again what it was told', () => {
    expect(definitionOf(shown(scheduler()))).toEqual(sample);
  });
});

describe('schedulerWithoutSpecMessage', () => {
  it('shows a line of the list, with when the scheduler was made', () => {
    const message = create(SchedulerWithoutSpecSchema, schedulerWithoutSpecMessage(scheduler()));
    expect(encodeMessage(SchedulerWithoutSpecSchema, message)).toEqual({
      name: 's1',
      game: 'g',
      state: 'in-sync',
      version: 'v1.0.0',
      portRange: { start: 40000, end: 60000 },
      createdAt: '2024-05-01T09:00:00Z',
      maxSurge: '10%',
      roomsReplicas: 2,
      matchAllocation: { maxMatches: 1 },
    });
  });
});

describe('schedulerInfoMessage', () => {
  const counts = {
    rooms: {
      pending: 1,
      unready: 2,
      ready: 3,
      occupied: 4,
      terminating: 5,
      error: 6,
      terminated: 7,
      active: 8,
      allocated: 9,
    },
  } as FleetCounts;
  const info = (value: Scheduler): JsonObject =>
    encodeMessage(SchedulerInfoSchema, create(SchedulerInfoSchema, schedulerInfoMessage(value, counts)));

  it('shows four counts and null without autoscaling', () => {
    expect(info(scheduler())).toEqual({
      name: 's1',
      game: 'g',
      state: 'in-sync',
      roomsReplicas: 2,
      roomsReady: 3,
      roomsOccupied: 4,
      roomsPending: 1,
      roomsTerminating: 5,
      autoscaling: null,
    });
  });

  it('shows autoscaling with a cooldown of 0, as v10 does', () => {
    const autoscaling = {
      enabled: false,
      min: 1,
      max: 10,
      cooldown: 60,
      policy: { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 1 } } },
    };
    expect(info(scheduler({ autoscaling }))['autoscaling']).toEqual({ enabled: false, min: 1, max: 10, cooldown: 0 });
  });
});
