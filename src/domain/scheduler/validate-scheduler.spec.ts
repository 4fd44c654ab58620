import type { Autoscaling } from './scheduler';
import {
  aContainer,
  aDefinition,
  aForwarder,
  anAutoscaling,
  aPort,
  type Changes,
  withContainer,
  withPort,
} from './scheduler.fixture';
import { validateScheduler, validateSchedulerDetailed, validationMessage } from './validate-scheduler';

const withPolicy = (type: string, parameters: Autoscaling['policy']['parameters']): Changes => ({
  autoscaling: anAutoscaling({ policy: { type, parameters } }),
});
const withOccupancy = (readyTarget: number, downThreshold: number): Changes =>
  withPolicy('roomOccupancy', { roomOccupancy: { readyTarget, downThreshold } });

describe('validateScheduler', () => {
  const accepted: [string, Changes, string?][] = [
    ['a plain definition', {}],
    ['a definition without autoscaling', { autoscaling: undefined }],
    ['a name of 63 characters', {}, 's'.repeat(63)],
    ['a name of one digit', {}, '7'],
    ['an absolute surge', { maxSurge: '1' }],
    ['a surge above the whole fleet', { maxSurge: '150%' }],
    ['an unlimited maximum below the minimum', { autoscaling: anAutoscaling({ min: 5, max: -1 }) }],
    ['a minimum equal to the maximum', { autoscaling: anAutoscaling({ min: 5, max: 5 }) }],
    ['a fixed buffer', withPolicy('fixedBuffer', { fixedBuffer: { amount: 1 } })],
    [
      'parameters of both policies',
      withPolicy('fixedBuffer', {
        fixedBuffer: { amount: 1 },
        roomOccupancy: { readyTarget: 0.1, downThreshold: 0.1 },
      }),
    ],
    ['35 matches', { matchAllocation: { maxMatches: 35 } }],
    ['ports at both ends', { portRange: { start: 1, end: 65_535 } }],
    [
      'a range for each port instead of the scheduler',
      { portRange: undefined, ...withPort({ hostPortRange: { start: 1, end: 2 } }) },
    ],
    ['no forwarders', { forwarders: [] }],
    ['containers of different names', { spec: { containers: [aContainer(), aContainer({ name: 'side' })] } }],
  ];

  test.each(accepted)('accepts %s', (_, changes, name = 'fleet') => {
    expect(validateScheduler(name, aDefinition(changes))).toEqual([]);
  });

  const required: [string, Changes][] = [
    ['Scheduler.Game', { game: '' }],
    ['Scheduler.MaxSurge', { maxSurge: '' }],
    ['Scheduler.Spec.Containers', { spec: { containers: [] } }],
    ['Scheduler.Spec.Containers[0].Name', withContainer({ name: '' })],
    ['Scheduler.Spec.Containers[0].Image', withContainer({ image: '' })],
    ['Scheduler.Spec.Containers[0].ImagePullPolicy', withContainer({ imagePullPolicy: '' })],
    ['Scheduler.Spec.Containers[0].Environment[1].Name', withContainer({ environment: [{ name: 'A' }, { name: '' }] })],
    ['Scheduler.Spec.Containers[0].Requests.Memory', withContainer({ requests: { memory: '', cpu: '1' } })],
    ['Scheduler.Spec.Containers[0].Requests.CPU', withContainer({ requests: { memory: '1', cpu: '' } })],
    ['Scheduler.Spec.Containers[0].Limits.Memory', withContainer({ limits: { memory: '', cpu: '1' } })],
    ['Scheduler.Spec.Containers[0].Limits.CPU', withContainer({ limits: { memory: '1Gi', cpu: '' } })],
    ['Scheduler.Spec.Containers[0].Ports[0].Name', withPort({ name: '' })],
    ['Scheduler.Spec.Containers[0].Ports[0].Protocol', withPort({ protocol: '' })],
    ['Scheduler.Spec.Containers[0].Ports[0].Port', withPort({ port: 0 })],
    ['Scheduler.Forwarders[0].Name', { forwarders: [aForwarder({ name: '' })] }],
    ['Scheduler.Forwarders[0].ForwardType', { forwarders: [aForwarder({ type: '' })] }],
    ['Scheduler.Forwarders[0].Address', { forwarders: [aForwarder({ address: '' })] }],
    [
      'Scheduler.Forwarders[0].Options.Timeout',
      { forwarders: [aForwarder({ options: { timeoutMs: 0, metadata: {} } })] },
    ],
    ['Scheduler.MatchAllocation.MaxMatches', { matchAllocation: { maxMatches: 0 } }],
  ];

  test.each(required)('requires %s', (path, changes) => {
    const field = path.slice(path.lastIndexOf('.') + 1);
    expect(validateScheduler('fleet', aDefinition(changes))[0]).toBe(`${path}: ${field} is a required field`);
  });

  test.each([
    ['', 'is a required field'],
    ['s'.repeat(64), 'must follow the public RFC 1123 about naming conventions'],
    ['Fleet', 'must follow the public RFC 1123 about naming conventions'],
    ['-fleet', 'must follow the public RFC 1123 about naming conventions'],
    ['fleet-', 'must follow the public RFC 1123 about naming conventions'],
    ['my fleet', 'must follow the public RFC 1123 about naming conventions'],
    ['fleet\n', 'must follow the public RFC 1123 about naming conventions'],
  ])('a scheduler called %j: Name %s', (name, message) => {
    expect(validateScheduler(name, aDefinition())).toEqual([`Scheduler.Name: Name ${message}`]);
  });

  const surge =
    "Scheduler.MaxSurge: MaxSurge must be a number greater than zero or a number greater than zero with suffix '%'";
  const port = 'Scheduler.Spec.Containers[0].Ports[0]';
  const parameters = 'Autoscaling.Policy.Parameters';
  const refused: [string, Changes, string[]][] = [
    ['a surge of 0', { maxSurge: '0' }, [surge]],
    ['a surge of -1', { maxSurge: '-1' }, [surge]],
    ['a surge in words', { maxSurge: 'twenty%' }, [surge]],
    ['a fractional surge', { maxSurge: '2.5%' }, [surge]],
    ['a surge of 0%, which v10 accepts', { maxSurge: '0%' }, [surge]],
    ['a surge of -5%, which v10 accepts', { maxSurge: '-5%' }, [surge]],
    ['a surge with a mark too many', { maxSurge: '5%%' }, [surge]],
    ['negative replicas', { roomsReplicas: -1 }, ['Scheduler.RoomsReplicas: RoomsReplicas must be 0 or greater']],
    [
      'no grace period',
      { spec: { terminationGracePeriodNs: 0 } },
      ['Scheduler.Spec.TerminationGracePeriod: TerminationGracePeriod must be greater than 0'],
    ],
    [
      'a container name that is no label',
      withContainer({ name: 'Main' }),
      ['Scheduler.Spec.Containers[0].Name: Name must follow the public RFC 1123 about naming conventions'],
    ],
    [
      'two containers of one name, which v10 accepts',
      { spec: { containers: [aContainer(), aContainer()] } },
      ['Scheduler.Spec.Containers[1].Name: Name must be unique within Containers'],
    ],
    [
      'an unknown pull policy',
      withContainer({ imagePullPolicy: 'always' }),
      [
        'Scheduler.Spec.Containers[0].ImagePullPolicy: ImagePullPolicy must be one of the following options: Always, Never, IfNotPresent',
      ],
    ],
    [
      'quantities that Kubernetes cannot read, which v10 accepts',
      withContainer({ requests: { memory: '64MB', cpu: 'one' }, limits: { memory: '-1Mi', cpu: '1' } }),
      [
        'Scheduler.Spec.Containers[0].Requests.Memory: Memory must be a Kubernetes quantity',
        'Scheduler.Spec.Containers[0].Requests.CPU: CPU must be a Kubernetes quantity',
        'Scheduler.Spec.Containers[0].Limits.Memory: Memory must be 0 or greater',
      ],
    ],
    [
      'a port name of 16 characters',
      withPort({ name: 'p'.repeat(16) }),
      [`${port}.Name: Name must be a maximum of 15 characters in length`],
    ],
    [
      'an upper case protocol',
      withPort({ protocol: 'TCP' }),
      [`${port}.Protocol: Protocol must be one of the following options: tcp, udp, sctp`],
    ],
    ['a negative port, which v10 accepts', withPort({ port: -1 }), [`${port}.Port: Port must be 1 or greater`]],
    ['a port of 65536, which v10 accepts', withPort({ port: 65_536 }), [`${port}.Port: Port must be 65535 or less`]],
    [
      'a range that ends where it starts',
      { portRange: { start: 5, end: 5 } },
      [
        'Scheduler.PortRange.Start: Start must be less than End',
        'Scheduler.PortRange.End: End must be greater than Start',
      ],
    ],
    [
      'a range from 0, which v10 accepts',
      { portRange: { start: 0, end: 5 } },
      ['Scheduler.PortRange.Start: Start must be 1 or greater'],
    ],
    [
      'a range beyond 65535, which v10 accepts',
      { portRange: { start: 60_000, end: 65_536 } },
      ['Scheduler.PortRange.End: End must be 65535 or less'],
    ],
    [
      'a range of a port in the wrong order',
      { portRange: undefined, ...withPort({ hostPortRange: { start: 6, end: 5 } }) },
      [
        `${port}.HostPortRange.Start: Start must be less than End`,
        `${port}.HostPortRange.End: End must be greater than Start`,
      ],
    ],
    ['a minimum of 0', { autoscaling: anAutoscaling({ min: 0 }) }, ['Autoscaling.Min: Min must be 1 or greater']],
    [
      'a minimum above the maximum',
      { autoscaling: anAutoscaling({ min: 11 }) },
      ['Autoscaling.Min: Min must be a number lower than Max'],
    ],
    [
      'a maximum of 0',
      { autoscaling: anAutoscaling({ max: 0 }) },
      ['Autoscaling.Min: Min must be a number lower than Max'],
    ],
    ['a maximum of -2', { autoscaling: anAutoscaling({ max: -2 }) }, ['Autoscaling.Max: Max must be -1 or greater']],
    [
      'a negative cooldown',
      { autoscaling: anAutoscaling({ cooldown: -1 }) },
      ['Autoscaling.Cooldown: Cooldown must be 0 or greater'],
    ],
    [
      'an unknown policy, although autoscaling is disabled',
      withPolicy('', {}),
      ['Autoscaling.Policy.Type: Type must be one of [roomOccupancy fixedBuffer schedule webhook chain]'],
    ],
    [
      'roomOccupancy without its parameters',
      withPolicy('roomOccupancy', { fixedBuffer: { amount: 1 } }),
      [`${parameters}: RoomOccupancy must not be nil for RoomOccupancy policy type`],
    ],
    [
      'fixedBuffer without its parameters',
      withPolicy('fixedBuffer', {}),
      [`${parameters}: FixedBuffer must not be nil for FixedBuffer policy type`],
    ],
    [
      'a target and a threshold of 0',
      withOccupancy(0, 0),
      [
        `${parameters}.RoomOccupancy.ReadyTarget: ReadyTarget must be greater than 0`,
        `${parameters}.RoomOccupancy.DownThreshold: DownThreshold must be greater than 0`,
      ],
    ],
    [
      'a target and a threshold of 1',
      withOccupancy(1, 1),
      [
        `${parameters}.RoomOccupancy.ReadyTarget: ReadyTarget must be less than 1`,
        `${parameters}.RoomOccupancy.DownThreshold: DownThreshold must be less than 1`,
      ],
    ],
    [
      'a target that is no number',
      withOccupancy(NaN, 0.5),
      [`${parameters}.RoomOccupancy.ReadyTarget: ReadyTarget must be greater than 0`],
    ],
    [
      'a buffer of 0',
      withPolicy('fixedBuffer', { fixedBuffer: { amount: 0 } }),
      [`${parameters}.FixedBuffer.Amount: Amount must be greater than 0`],
    ],
    [
      'an unknown forwarder type',
      { forwarders: [aForwarder({ type: 'grpc' })] },
      ['Scheduler.Forwarders[0].ForwardType: ForwardType must be one of the following options: gRPC'],
    ],
    [
      'two forwarders of one name, which v10 accepts',
      { forwarders: [aForwarder(), aForwarder({ address: 'other:1' })] },
      ['Scheduler.Forwarders[1].Name: Name must be unique within Forwarders'],
    ],
    [
      '36 matches',
      { matchAllocation: { maxMatches: 36 } },
      ['Scheduler.MatchAllocation.MaxMatches: MaxMatches must be 35 or less'],
    ],
    [
      'negative matches',
      { matchAllocation: { maxMatches: -1 } },
      ['Scheduler.MatchAllocation.MaxMatches: MaxMatches must be 1 or greater'],
    ],
    [
      'no host ports at all',
      { portRange: undefined },
      ['must configure scheduler.PortRange or scheduler.Spec.Container.Ports.HostPortRange'],
    ],
    [
      'both ways to configure host ports',
      withPort({ hostPortRange: { start: 1, end: 2 } }),
      [
        'scheduler.PortRange and scheduler.Spec.Container.Ports.HostPortRange are mutually exclusive configurations; please choose only one',
      ],
    ],
    [
      'host ports for some ports only',
      {
        portRange: undefined,
        ...withContainer({ ports: [aPort({ hostPortRange: { start: 1, end: 2 } }), aPort({ name: 'b' })] }),
      },
      ['must configure HostPortRange for all scheduler.Spec.Container.Ports'],
    ],
  ];

  test.each(refused)('refuses %s', (_, changes, problems) => {
    expect(validateScheduler('fleet', aDefinition(changes))).toEqual(problems);
  });

  test('tells everything at once: autoscaling first, fields in the order of the scheduler, port configuration last', () => {
    const problems = validateScheduler(
      'Fleet',
      aDefinition({
        game: '',
        maxSurge: 'x',
        roomsReplicas: -1,
        portRange: undefined,
        autoscaling: anAutoscaling({ min: 0, cooldown: -1 }),
        forwarders: [aForwarder({ address: '' })],
        matchAllocation: { maxMatches: 36 },
        extensions: { drain: { deadlineSeconds: 0 } },
        spec: { terminationGracePeriodNs: 0, containers: [aContainer({ image: '' })] },
      }),
    );
    expect(validationMessage(problems)).toBe(
      [
        'Validation Error:',
        'Autoscaling.Min: Min must be 1 or greater',
        'Autoscaling.Cooldown: Cooldown must be 0 or greater',
        'Scheduler.Name: Name must follow the public RFC 1123 about naming conventions',
        'Scheduler.Game: Game is a required field',
        'Scheduler.Spec.TerminationGracePeriod: TerminationGracePeriod must be greater than 0',
        'Scheduler.Spec.Containers[0].Image: Image is a required field',
        'Scheduler.RoomsReplicas: RoomsReplicas must be 0 or greater',
        surge,
        'Scheduler.Forwarders[0].Address: Address is a required field',
        'Scheduler.MatchAllocation.MaxMatches: MaxMatches must be 35 or less',
        'Scheduler.Extensions.Drain.DeadlineSeconds: DeadlineSeconds must be 1 or greater',
        'must configure scheduler.PortRange or scheduler.Spec.Container.Ports.HostPortRange',
      ].join('\n'),
    );
  });
});

describe('validateSchedulerDetailed', () => {
  const container = 'Scheduler.Spec.Containers[0]';
  const portOf = `${container}.Ports[0]`;
  const occupancy = 'Scheduler.Autoscaling.Policy.Parameters.RoomOccupancy';
  const tagged: [string, Changes, [path: string, tag: string][]][] = [
    ['a missing surge', { maxSurge: '' }, [['Scheduler.MaxSurge', 'required']]],
    ['a surge in words', { maxSurge: 'few' }, [['Scheduler.MaxSurge', 'max_surge']]],
    ['negative replicas', { roomsReplicas: -1 }, [['Scheduler.RoomsReplicas', 'min']]],
    ['no grace period', { spec: { terminationGracePeriodNs: 0 } }, [['Scheduler.Spec.TerminationGracePeriod', 'gt']]],
    ['no containers', { spec: { containers: [] } }, [['Scheduler.Spec.Containers', 'required']]],
    ['a container name that is no label', withContainer({ name: 'A' }), [[`${container}.Name`, 'kube_resource_name']]],
    [
      'two containers of one name',
      { spec: { containers: [aContainer(), aContainer()] } },
      [['Scheduler.Spec.Containers[1].Name', 'unique']],
    ],
    [
      'an unknown pull policy',
      withContainer({ imagePullPolicy: 'x' }),
      [[`${container}.ImagePullPolicy`, 'image_pull_policy']],
    ],
    [
      'quantities that are blank, unreadable and negative',
      withContainer({ requests: { memory: '', cpu: 'one' }, limits: { memory: '-1', cpu: '1' } }),
      [
        [`${container}.Requests.Memory`, 'required'],
        [`${container}.Requests.CPU`, 'kubernetes_quantity'],
        [`${container}.Limits.Memory`, 'min'],
      ],
    ],
    [
      'a port with nothing right',
      withPort({ name: 'p'.repeat(16), protocol: 'TCP', port: 65_536 }),
      [
        [`${portOf}.Name`, 'max'],
        [`${portOf}.Protocol`, 'ports_protocol'],
        [`${portOf}.Port`, 'max'],
      ],
    ],
    [
      'a range in the wrong order',
      { portRange: { start: 2, end: 1 } },
      [
        ['Scheduler.PortRange.Start', 'ltfield'],
        ['Scheduler.PortRange.End', 'gtfield'],
      ],
    ],
    [
      'autoscaling, which PATCH finds inside the scheduler',
      { autoscaling: anAutoscaling({ min: 11, cooldown: -1, policy: { type: 'x', parameters: {} } }) },
      [
        ['Scheduler.Autoscaling.Min', 'min_lower_than_max'],
        ['Scheduler.Autoscaling.Cooldown', 'min'],
        ['Scheduler.Autoscaling.Policy.Type', 'oneof'],
      ],
    ],
    [
      'a target and a threshold outside 0 and 1',
      withOccupancy(0, 1),
      [
        [`${occupancy}.ReadyTarget`, 'gt'],
        [`${occupancy}.DownThreshold`, 'lt'],
      ],
    ],
    [
      'a policy without its parameters',
      withPolicy('fixedBuffer', {}),
      [['Scheduler.Autoscaling.Policy.Parameters', 'required_for_fixed_buffer']],
    ],
    [
      'an unknown forwarder type',
      { forwarders: [aForwarder({ type: 'x' })] },
      [['Scheduler.Forwarders[0].ForwardType', 'forwarder_type']],
    ],
    ['36 matches', { matchAllocation: { maxMatches: 36 } }, [['Scheduler.MatchAllocation.MaxMatches', 'max']]],
    [
      'requests above limits',
      withContainer({ requests: { memory: '2', cpu: '2' }, limits: { memory: '1', cpu: '1' } }),
      [
        [`${container}.Requests.Memory`, 'ltefield'],
        [`${container}.Requests.CPU`, 'ltefield'],
      ],
    ],
    ['an image with white space', withContainer({ image: 'a b' }), [[`${container}.Image`, 'kube_image']]],
    [
      'variables that cannot be',
      withContainer({
        environment: [
          { name: '=', value: 'x' },
          { name: 'B', valueFrom: { secretKeyRef: { name: 'A', key: '/' } } },
          { name: 'C', valueFrom: { fieldRef: { fieldPath: 'x' } } },
        ],
      }),
      [
        [`${container}.Environment[0].Name`, 'kube_env_name'],
        [`${container}.Environment[1].ValueFrom.SecretKeyRef.Name`, 'kube_secret_name'],
        [`${container}.Environment[1].ValueFrom.SecretKeyRef.Key`, 'kube_secret_key'],
        [`${container}.Environment[2].ValueFrom.FieldRef.FieldPath`, 'kube_field_path'],
      ],
    ],
    [
      'nodes that nobody can name',
      { spec: { toleration: 'a b', affinity: 'a b' } },
      [
        ['Scheduler.Spec.Toleration', 'kube_label_value'],
        ['Scheduler.Spec.Affinity', 'kube_label_key'],
      ],
    ],
    [
      'labels and annotations',
      {
        annotations: { 'a b': '', 'kubernetes.io/config.mirror': '', c: 'x'.repeat(262_144) },
        labels: { 'a b': '', 'c[d': '', e: '-' },
      },
      [
        ['Scheduler.Annotations', 'kube_annotations_size'],
        ['Scheduler.Annotations["a b"]', 'kube_annotation_key'],
        ['Scheduler.Annotations["kubernetes.io/config.mirror"]', 'kube_annotation'],
        ['Scheduler.Labels["a b"]', 'kube_label_key'],
        ['Scheduler.Labels["c[d"]', 'kube_label_key'],
        ['Scheduler.Labels["e"]', 'kube_label_value'],
      ],
    ],
  ];

  test.each(tagged)('names the failed rule of %s', (_, changes, expected) => {
    const problems = validateSchedulerDetailed('fleet', aDefinition(changes));
    expect(problems.map(({ untranslated }) => untranslated)).toEqual(
      expected.map(([path, tag]) => {
        const [, field] = /\.([A-Za-z]+(\[".*)?)$/.exec(path)!;
        return `Key: '${path}' Error:Field validation for '${field}' failed on the '${tag}' tag`;
      }),
    );
  });

  test('says of extensions the same to PATCH, as there is no wording of v10 to keep', () => {
    const changes = { extensions: { drain: { deadlineSeconds: 0 } } };
    const line = 'Scheduler.Extensions.Drain.DeadlineSeconds: DeadlineSeconds must be 1 or greater';
    expect(validateSchedulerDetailed('fleet', aDefinition(changes))).toEqual([
      { message: line, untranslated: line, neverRuns: false },
    ]);
  });

  test('leaves sentences about the port configuration as they are', () => {
    const sentence = 'must configure scheduler.PortRange or scheduler.Spec.Container.Ports.HostPortRange';
    expect(validateSchedulerDetailed('fleet', aDefinition({ portRange: undefined }))).toEqual([
      { message: sentence, untranslated: sentence, neverRuns: false },
    ]);
  });

  test('words PATCH as v10 does, byte for byte', () => {
    expect(validateSchedulerDetailed('fleet', aDefinition({ maxSurge: 'x' }))[0]?.untranslated).toBe(
      "Key: 'Scheduler.MaxSurge' Error:Field validation for 'MaxSurge' failed on the 'max_surge' tag",
    );
  });
});
