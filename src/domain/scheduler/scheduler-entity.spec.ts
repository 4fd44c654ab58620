import { fieldsLeftOut, fromV10Entity, toV10Entity, type EntityScheduler } from './scheduler-entity';
import { aContainer, aDefinition, aForwarder, anAutoscaling, aPort, fullExtensions } from './scheduler.fixture';

const aScheduler = (changes: Partial<EntityScheduler> = {}): EntityScheduler => ({
  name: 'fleet',
  state: 'in-sync',
  version: 'v1.1.0',
  rollbackVersion: 'v1.0.0',
  createdAt: new Date('2024-05-01T10:00:00.123Z'),
  lastDownscaleAt: null,
  definition: aDefinition(),
  ...changes,
});

/** The object in v10's YAML column of an old scheduler, with the keys that it really has. */
const yaml = {
  TerminationGracePeriod: 100_000_000_000,
  Toleration: 'gpu',
  Affinity: '',
  Containers: [
    {
      Name: 'main',
      Image: 'game:1',
      ImagePullPolicy: 'Always',
      Command: null,
      Environment: [
        { Name: 'A', Value: 'x', ValueFrom: null },
        { Name: 'B', Value: '', ValueFrom: { FieldRef: { fieldPath: 'status.hostIP' }, SecretKeyRef: null } },
        { Name: 'C', Value: '', ValueFrom: { FieldRef: null, SecretKeyRef: { name: 's', key: 'k' } } },
      ],
      Requests: { Memory: '64Mi', CPU: '100m' },
      Limits: { Memory: '128Mi', CPU: '1' },
      Ports: [{ Name: 'game', Protocol: 'udp', Port: 7777, HostPortRange: { Start: 1, End: 2 }, HostPort: 0 }],
    },
  ],
  PortRange: null,
  MaxSurge: '10%',
  RoomsReplicas: 6,
  Forwarders: [
    { Name: 'f', Enabled: true, ForwardType: 'gRPC', Address: 'h:1', Options: { Timeout: 500, Metadata: null } },
    { Name: 'g', Enabled: false, ForwardType: 'gRPC', Address: 'h:2', Options: null },
  ],
  Autoscaling: {
    Enabled: true,
    Min: 1,
    Max: -1,
    Policy: { Type: 'roomOccupancy', Parameters: { RoomOccupancy: { ReadyTarget: 0.30000001192092896 } } },
  },
  Annotations: null,
  Labels: { team: 'a' },
  LastDownscaleAt: '0001-01-01T00:00:00Z',
};

describe('toV10Entity', () => {
  test("writes Go's names, nanoseconds, and null for what is not there", () => {
    const definition = aDefinition({
      portRange: undefined,
      autoscaling: undefined,
      spec: {
        containers: [aContainer({ ports: [aPort({ hostPortRange: { start: 1, end: 2 } })] })],
        terminationGracePeriodNs: 100e9,
      },
    });
    expect(toV10Entity(aScheduler({ definition }))).toEqual({
      Name: 'fleet',
      Game: 'chess',
      State: 'in-sync',
      RollbackVersion: 'v1.0.0',
      Spec: {
        Version: 'v1.1.0',
        TerminationGracePeriod: 100_000_000_000,
        Containers: [
          {
            Name: 'main',
            Image: 'game:1',
            ImagePullPolicy: 'Always',
            Command: [],
            Environment: [{ Name: 'A', Value: '', ValueFrom: null }],
            Requests: { Memory: '64Mi', CPU: '100m' },
            Limits: { Memory: '128Mi', CPU: '1' },
            Ports: [{ Name: 'game', Protocol: 'tcp', Port: 7777, HostPortRange: { Start: 1, End: 2 }, HostPort: 0 }],
          },
        ],
        Toleration: '',
        Affinity: '',
        RestartPolicy: 'Never',
      },
      Autoscaling: null,
      PortRange: null,
      RoomsReplicas: 0,
      CreatedAt: '2024-05-01T10:00:00.123Z',
      LastDownscaleAt: '0001-01-01T00:00:00Z',
      MaxSurge: '10%',
      Forwarders: [
        {
          Name: 'matchmaker',
          Enabled: true,
          ForwardType: 'gRPC',
          Address: 'host:1',
          Options: { Timeout: 1000, Metadata: {} },
        },
      ],
      Annotations: {},
      Labels: {},
      MatchAllocation: { MaxMatches: 1 },
    });
  });

  test('writes our extensions where they are used, which are not read back', () => {
    const scheduler = aScheduler({ definition: aDefinition({ extensions: fullExtensions() }) });
    const { Extensions, ...ofV10 } = toV10Entity(scheduler);
    expect(Extensions).toEqual(fullExtensions());
    expect(ofV10).toEqual(toV10Entity(aScheduler()));
    expect(fromV10Entity(toV10Entity(scheduler))).toEqual(aScheduler());
  });

  test('writes autoscaling with decimals as typed, and null for the other policy', () => {
    expect(toV10Entity(aScheduler())).toMatchObject({
      Autoscaling: {
        Enabled: false,
        Min: 1,
        Max: 10,
        Cooldown: 0,
        Policy: {
          Type: 'roomOccupancy',
          Parameters: { RoomOccupancy: { ReadyTarget: 0.5, DownThreshold: 0.99 }, FixedBuffer: null },
        },
      },
      PortRange: { Start: 40_000, End: 60_000 },
    });
  });
});

describe('fromV10Entity', () => {
  const full = aDefinition({
    autoscaling: anAutoscaling({ policy: { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 2 } } } }),
    forwarders: [aForwarder({ options: { timeoutMs: 5, metadata: { a: { b: [1, null] } } } })],
    annotations: { 'example.com/a': 'b' },
    labels: { constructor: 'c' },
    spec: {
      restartPolicy: 'OnFailure',
      containers: [
        aContainer({
          command: ['./run'],
          environment: [
            { name: 'A', value: 'x' },
            { name: 'B', valueFrom: { fieldRef: { fieldPath: 'p' } } },
            { name: 'C', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
          ],
        }),
      ],
    },
  });

  test.each<[string, EntityScheduler]>([
    ['a plain scheduler', aScheduler()],
    ['every field', aScheduler({ definition: full, lastDownscaleAt: new Date(5) })],
    ['no times', aScheduler({ createdAt: null })],
    ['ranges of ports', aScheduler({ definition: aDefinition({ ...full, portRange: undefined }) })],
  ])('reads back %s', (_, scheduler) => {
    expect(JSON.parse(JSON.stringify(fromV10Entity(toV10Entity(scheduler))))).toEqual(
      JSON.parse(JSON.stringify(scheduler)),
    );
  });

  test("reads v10's YAML column with what its columns say", () => {
    const columns = { Name: 'fleet', Game: 'chess', State: 'in-sync', Version: 'v2.0.0', RollbackVersion: 'v1.0.0' };
    expect(fromV10Entity({ ...yaml, ...columns, CreatedAt: new Date(7) })).toEqual({
      name: 'fleet',
      state: 'in-sync',
      version: 'v2.0.0',
      rollbackVersion: 'v1.0.0',
      createdAt: new Date(7),
      lastDownscaleAt: null,
      definition: {
        game: 'chess',
        spec: {
          terminationGracePeriodNs: 100e9,
          containers: [
            {
              name: 'main',
              image: 'game:1',
              imagePullPolicy: 'Always',
              command: [],
              environment: [
                { name: 'A', value: 'x' },
                { name: 'B', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } },
                { name: 'C', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
              ],
              requests: { memory: '64Mi', cpu: '100m' },
              limits: { memory: '128Mi', cpu: '1' },
              ports: [{ name: 'game', protocol: 'udp', port: 7777, hostPort: 0, hostPortRange: { start: 1, end: 2 } }],
            },
          ],
          toleration: 'gpu',
          affinity: '',
          restartPolicy: 'Never',
        },
        autoscaling: {
          enabled: true,
          min: 1,
          max: -1,
          cooldown: 0,
          policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.3, downThreshold: 0.99 } } },
        },
        roomsReplicas: 6,
        maxSurge: '10%',
        forwarders: [
          { name: 'f', enabled: true, type: 'gRPC', address: 'h:1', options: { timeoutMs: 500, metadata: {} } },
          { name: 'g', enabled: false, type: 'gRPC', address: 'h:2', options: { timeoutMs: 1000, metadata: {} } },
        ],
        annotations: {},
        labels: { team: 'a' },
        matchAllocation: { maxMatches: 1 },
      },
    });
  });

  test.each([
    [0.9900000095367432, 0.99],
    [0.5, 0.5],
    [0.30000001192092896, 0.3],
    [0.3, 0.3],
    [0.12345679104328156, 0.12345679],
    [0, 0],
  ])('reads the target %d as %d', (ReadyTarget, expected) => {
    const entity = { Autoscaling: { Policy: { Parameters: { RoomOccupancy: { ReadyTarget } } } } };
    const { roomOccupancy } = fromV10Entity(entity).definition.autoscaling!.policy.parameters;
    expect(roomOccupancy?.readyTarget).toBe(expected);
  });

  test('takes the value of a variable that also has a source', () => {
    const variable = { Name: 'A', Value: 'x', ValueFrom: { SecretKeyRef: { name: 's', key: 'k' } } };
    const { spec } = fromV10Entity({ Containers: [{ Environment: [variable] }] }).definition;
    expect(spec.containers[0]?.environment).toEqual([{ name: 'A', value: 'x' }]);
  });

  test('reads an empty object as an empty scheduler, for validation to name what it lacks', () => {
    expect(fromV10Entity({}).definition).toEqual({
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

  test("matches names in any case, as Go's decoder does", () => {
    expect(fromV10Entity({ maxsurge: '5', spec: { toleration: 't' } }).definition).toMatchObject({
      maxSurge: '5',
      spec: { toleration: 't' },
    });
  });

  test.each<[object, string]>([
    [[], 'the entity of this v10 scheduler must be an object'],
    [{ MaxSurge: 5 }, 'MaxSurge of this v10 scheduler must be a string'],
    [{ State: 'gone' }, 'State of this v10 scheduler must be one of creating, in-sync, terminating, on-error'],
    [{ RoomsReplicas: '6' }, 'RoomsReplicas of this v10 scheduler must be a number'],
    [{ Spec: 'x' }, 'Spec of this v10 scheduler must be an object'],
    [{ Spec: { Containers: {} } }, 'Spec.Containers of this v10 scheduler must be a list'],
    [{ Containers: [null] }, 'Containers[0] of this v10 scheduler must be an object'],
    [{ Containers: [{ Command: [1] }] }, 'Containers[0].Command of this v10 scheduler must be a list of strings'],
    [
      { Containers: [{ Ports: [{}, { Port: NaN }] }] },
      'Containers[0].Ports[1].Port of this v10 scheduler must be a number',
    ],
    [{ Autoscaling: { Enabled: 1 } }, 'Autoscaling.Enabled of this v10 scheduler must be true or false'],
    [{ Labels: { a: 1 } }, 'Labels["a"] of this v10 scheduler must be a string'],
    [{ Annotations: ['a'] }, 'Annotations of this v10 scheduler must be an object'],
    [{ CreatedAt: 'yesterday' }, 'CreatedAt of this v10 scheduler must be a time'],
    [{ CreatedAt: 5 }, 'CreatedAt of this v10 scheduler must be a time'],
  ])('refuses %j: %s', (entity, message) => {
    expect(() => fromV10Entity(entity)).toThrow(
      expect.objectContaining({ kind: 'invalid_argument', code: 'scheduler.malformed_entity', message }),
    );
  });
});

describe('fieldsLeftOut', () => {
  test("is empty for v10's own shapes", () => {
    expect(fieldsLeftOut(toV10Entity(aScheduler()))).toEqual([]);
    expect(fieldsLeftOut(yaml)).toEqual([]);
  });

  test.each<[string, object, string[]]>([
    [
      'fields that are not known, at any depth',
      { New: 1, Containers: [{ Probes: ['a'] }] },
      ['New', 'Containers[0].Probes'],
    ],
    ['nothing that was never set', { A: null, B: 0, C: '', D: false, E: [], F: { G: { H: 0 } } }, []],
    ['no entries of maps', { Labels: { New: 'x' }, Forwarders: [{ Options: { Metadata: { New: 1 } } }] }, []],
    [
      'the source of a variable that has a value',
      { Containers: [{ Environment: [{ Value: 'x', ValueFrom: { FieldRef: { fieldPath: 'p' } } }] }] },
      ['Containers[0].Environment[0].ValueFrom.FieldRef.fieldPath'],
    ],
  ])('names %s', (_, entity, paths) => {
    expect(fieldsLeftOut(entity)).toEqual(paths);
  });
});
