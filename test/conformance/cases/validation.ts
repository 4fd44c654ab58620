import {
  answers,
  refuses,
  type CallStep,
  type ConformanceCase,
  type ConformanceGroup,
  type JsonMap,
} from '../conformance-case';
import { sample, sampleAutoscaling, sampleContainer, sampleForwarder, type Changes } from '../sample-scheduler';

const invalid = (changes: Changes, ...lines: string[]): CallStep =>
  refuses('CreateScheduler', sample(changes), 'INVALID_ARGUMENT', ['Validation Error:', ...lines].join('\n'));

/** A rule of the table: what breaks it, and the line that says so. */
const refusesField = (says: string, changes: Changes, line: string, differs?: string): ConformanceCase => ({
  says: `refuses ${says}`,
  ...(differs === undefined ? {} : { differs }),
  steps: [invalid(changes, line)],
});

/** Empty and absent are the same on this wire. */
const requires = (path: string, field: string, empty: string | number | undefined = ''): ConformanceCase => ({
  says: `requires ${path}`,
  steps: [invalid({ [path]: empty }, `${field}: ${field.slice(field.lastIndexOf('.') + 1)} is a required field`)],
});

const accepts = (says: string, changes: Changes): ConformanceCase => ({
  says: `accepts ${says}`,
  steps: [answers('CreateScheduler', sample(changes), { scheduler: {} })],
});

const label = 'must follow the public RFC 1123 about naming conventions';
const surge =
  "Scheduler.MaxSurge: MaxSurge must be a number greater than zero or a number greater than zero with suffix '%'";
const anyPercentage = 'v10 takes any integer before a `%`; less than one percent of rooms means nothing.';

const neverRuns = 'v10 accepts it, and the runtime refuses every room.';
const clusters =
  'must not be a name that Kubernetes keeps for itself: default, kube-node-lease, kube-public, kube-system';
const taken = 'In v10 its creation ends in error, because the namespace exists.';
const nameText = "at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit";
const keyText = `${nameText}, which may follow a domain and '/'`;

const scheduler: ConformanceGroup = {
  section: '2.3',
  title: 'Validation: the scheduler',
  cases: [
    requires('name', 'Scheduler.Name'),
    refusesField('a name in upper case', { name: 'Arena' }, `Scheduler.Name: Name ${label}`),
    refusesField('a name of 64 characters', { name: 'a'.repeat(64) }, `Scheduler.Name: Name ${label}`),
    refusesField('a name that begins with a dash', { name: '-arena' }, `Scheduler.Name: Name ${label}`),
    refusesField('a name that ends with a dash', { name: 'arena-' }, `Scheduler.Name: Name ${label}`),
    refusesField('a name with a dot', { name: 'arena.eu' }, `Scheduler.Name: Name ${label}`),
    accepts('a name that begins with a digit', { name: '1-{scheduler}' }),
    requires('game', 'Scheduler.Game'),
    requires('maxSurge', 'Scheduler.MaxSurge'),
    refusesField('a surge of 0', { maxSurge: '0' }, surge),
    refusesField('a negative surge', { maxSurge: '-1' }, surge),
    refusesField('a surge in words', { maxSurge: 'ten%' }, surge),
    refusesField('a surge that is no integer', { maxSurge: '1.5' }, surge),
    refusesField('a surge of 0%', { maxSurge: '0%' }, surge, anyPercentage),
    refusesField('a surge of -5%', { maxSurge: '-5%' }, surge, anyPercentage),
    accepts('a surge of one room', { maxSurge: '1' }),
    accepts('a surge above the whole fleet', { maxSurge: '150%' }),
    refusesField(
      'a negative number of rooms',
      { roomsReplicas: -1 },
      'Scheduler.RoomsReplicas: RoomsReplicas must be 0 or greater',
    ),
    accepts('no rooms', { roomsReplicas: 0 }),
    requires('matchAllocation.maxMatches', 'Scheduler.MatchAllocation.MaxMatches', 0),
    refusesField(
      'negative matches',
      { matchAllocation: { maxMatches: -1 } },
      'Scheduler.MatchAllocation.MaxMatches: MaxMatches must be 1 or greater',
    ),
    refusesField(
      'more than 35 matches a room',
      { matchAllocation: { maxMatches: 36 } },
      'Scheduler.MatchAllocation.MaxMatches: MaxMatches must be 35 or less',
    ),
    accepts('35 matches a room', { matchAllocation: { maxMatches: 35 } }),
    refusesField(
      'a name of a namespace that every cluster has',
      { name: 'default' },
      `Scheduler.Name: Name ${clusters}`,
      taken,
    ),
    accepts('toleration, affinity, annotations and labels as pods and nodes can have them', {
      'spec.toleration': 'Game_rooms.7',
      'spec.affinity': 'example.com/Game-rooms',
      annotations: { 'Example.com/notes': 'any text, ü', empty: '' },
      labels: { 'example.com/team': 'Blue_7', empty: '' },
    }),
    refusesField(
      'a toleration that no taint has',
      { 'spec.toleration': 'not possible!' },
      `Scheduler.Spec.Toleration: Toleration must be a label value: ${nameText}`,
      neverRuns,
    ),
    refusesField(
      'an affinity that no node has',
      { 'spec.affinity': 'not possible!' },
      `Scheduler.Spec.Affinity: Affinity must be a label key: ${keyText}`,
      neverRuns,
    ),
    {
      says: 'refuses labels and annotations that no pod has',
      differs: neverRuns,
      steps: [
        invalid(
          { annotations: { 'any key': '' }, labels: { '': 'value', team: 'any value' } },
          `Scheduler.Annotations["any key"]: Annotations["any key"] must have an annotation key: ${keyText}`,
          `Scheduler.Labels[""]: Labels[""] must have a label key: ${keyText}`,
          `Scheduler.Labels["team"]: Labels["team"] must be a label value: ${nameText}`,
        ),
      ],
    },
    {
      says: 'ignores spec.version, which it computes itself',
      steps: [
        answers('CreateScheduler', sample({ 'spec.version': 'nonsense' }), {
          scheduler: { spec: { version: 'v1.0.0' } },
        }),
      ],
    },
  ],
};

const first = 'Scheduler.Spec.Containers[0]';
const firstPort = `${first}.Ports[0]`;
const container = 'spec.containers[0]';
const port = `${container}.ports[0]`;
const beyondPorts = 'v10 checks no upper or lower bound; the runtime would refuse every room.';

const spec: ConformanceGroup = {
  section: '2.3',
  title: 'Validation: the spec of a room',
  cases: [
    {
      says: 'requires a grace period above 0',
      steps: [undefined, '0s', '-1s'].map((terminationGracePeriod) =>
        invalid(
          { 'spec.terminationGracePeriod': terminationGracePeriod },
          'Scheduler.Spec.TerminationGracePeriod: TerminationGracePeriod must be greater than 0',
        ),
      ),
    },
    accepts('a grace period of 15 nanoseconds', { 'spec.terminationGracePeriod': '0.000000015s' }),
    {
      says: 'requires containers, and takes an empty list for none',
      steps: [undefined, []].map((containers) =>
        invalid({ 'spec.containers': containers }, 'Scheduler.Spec.Containers: Containers is a required field'),
      ),
    },
    {
      says: 'tells what a missing spec lacks',
      steps: [
        invalid(
          { spec: undefined },
          'Scheduler.Spec.TerminationGracePeriod: TerminationGracePeriod must be greater than 0',
          'Scheduler.Spec.Containers: Containers is a required field',
        ),
      ],
    },
    requires(`${container}.name`, `${first}.Name`),
    refusesField(
      'a container name that is no RFC 1123 label',
      { [`${container}.name`]: 'Game_Room' },
      `${first}.Name: Name ${label}`,
    ),
    refusesField(
      'two containers of one name',
      { 'spec.containers': [sampleContainer(), sampleContainer()] },
      'Scheduler.Spec.Containers[1].Name: Name must be unique within Containers',
      'v10 lets the runtime refuse every room.',
    ),
    requires(`${container}.image`, `${first}.Image`),
    refusesField(
      'an image with white space',
      { [`${container}.image`]: 'room:1 ' },
      `${first}.Image: Image must not contain white space`,
      neverRuns,
    ),
    requires(`${container}.imagePullPolicy`, `${first}.ImagePullPolicy`),
    refusesField(
      'a pull policy in lower case',
      { [`${container}.imagePullPolicy`]: 'always' },
      `${first}.ImagePullPolicy: ImagePullPolicy must be one of the following options: Always, Never, IfNotPresent`,
    ),
    accepts('the pull policy Never', { [`${container}.imagePullPolicy`]: 'Never' }),
    accepts('the pull policy IfNotPresent', { [`${container}.imagePullPolicy`]: 'IfNotPresent' }),
    requires(`${container}.environment[0].name`, `${first}.Environment[0].Name`),
    {
      says: 'refuses variables that no container has',
      differs: neverRuns,
      steps: [
        invalid(
          {
            [`${container}.environment`]: [
              { name: 'A=B', value: 'x' },
              { name: 'C', valueFrom: { secretKeyRef: { name: 'My secret', key: 'my key' } } },
              { name: 'D', valueFrom: { fieldRef: { fieldPath: 'status.phase' } } },
              { name: 'E', valueFrom: { secretKeyRef: {} } },
            ],
          },
          `${first}.Environment[0].Name: Name must consist of printable ASCII characters other than '='`,
          `${first}.Environment[1].ValueFrom.SecretKeyRef.Name: Name must follow RFC 1123 about the names of subdomains`,
          `${first}.Environment[1].ValueFrom.SecretKeyRef.Key: Key must be at most 253 letters, digits, '-', '_' or '.', and neither '.' nor begin with '..'`,
          `${first}.Environment[2].ValueFrom.FieldRef.FieldPath: FieldPath must be one of the following options: metadata.name, metadata.namespace, metadata.uid, spec.nodeName, spec.serviceAccountName, status.hostIP, status.hostIPs, status.podIP, status.podIPs, metadata.labels['<KEY>'], metadata.annotations['<KEY>']`,
          `${first}.Environment[3].ValueFrom.SecretKeyRef.Name: Name is a required field`,
          `${first}.Environment[3].ValueFrom.SecretKeyRef.Key: Key is a required field`,
        ),
      ],
    },
    ...['requests', 'limits'].flatMap((resources) => {
      const field = `${first}.${resources === 'requests' ? 'Requests' : 'Limits'}`;
      return [
        requires(`${container}.${resources}.memory`, `${field}.Memory`),
        requires(`${container}.${resources}.cpu`, `${field}.CPU`),
        {
          says: `requires both of absent ${resources}`,
          steps: [
            invalid(
              { [`${container}.${resources}`]: undefined },
              `${field}.Memory: Memory is a required field`,
              `${field}.CPU: CPU is a required field`,
            ),
          ],
        },
      ];
    }),
    refusesField(
      'memory that Kubernetes cannot read',
      { [`${container}.requests.memory`]: '20 megabytes' },
      `${first}.Requests.Memory: Memory must be a Kubernetes quantity`,
      'v10 does not check the format; the runtime would refuse every room.',
    ),
    {
      says: 'refuses requests above their limits, compared exactly',
      differs: neverRuns,
      steps: [
        invalid(
          {
            [`${container}.requests`]: { memory: '1Gi', cpu: '1.001' },
            [`${container}.limits`]: { memory: '1073741823', cpu: '1' },
          },
          `${first}.Requests.Memory: Memory must be less than or equal to Limits.Memory`,
          `${first}.Requests.CPU: CPU must be less than or equal to Limits.CPU`,
        ),
      ],
    },
    accepts('requests that are their limits, in other units', {
      [`${container}.requests`]: { memory: '1024Mi', cpu: '1000m' },
      [`${container}.limits`]: { memory: '1Gi', cpu: '1' },
    }),
    accepts('a container without ports', { [`${container}.ports`]: [] }),
    requires(`${port}.name`, `${firstPort}.Name`),
    refusesField(
      'a port name of 16 characters',
      { [`${port}.name`]: 'a'.repeat(16) },
      `${firstPort}.Name: Name must be a maximum of 15 characters in length`,
    ),
    accepts('a port name of 15 characters', { [`${port}.name`]: 'a'.repeat(15) }),
    requires(`${port}.protocol`, `${firstPort}.Protocol`),
    refusesField(
      'a protocol in upper case',
      { [`${port}.protocol`]: 'TCP' },
      `${firstPort}.Protocol: Protocol must be one of the following options: tcp, udp, sctp`,
    ),
    accepts('tcp', { [`${port}.protocol`]: 'tcp' }),
    accepts('sctp', { [`${port}.protocol`]: 'sctp' }),
    requires(`${port}.port`, `${firstPort}.Port`, 0),
    refusesField(
      'a port above 65535',
      { [`${port}.port`]: 65536 },
      `${firstPort}.Port: Port must be 65535 or less`,
      beyondPorts,
    ),
    refusesField(
      'a negative port',
      { [`${port}.port`]: -1 },
      `${firstPort}.Port: Port must be 1 or greater`,
      beyondPorts,
    ),
  ],
};

/** In v10 each bound has a sentence of its own, so a range in the wrong order is two lines. */
const rangeLines = (field: string): string[] => [
  `${field}.Start: Start must be less than End`,
  `${field}.End: End must be greater than Start`,
];
const perPort = (hostPortRange: JsonMap): Changes => ({
  portRange: undefined,
  [`${port}.hostPortRange`]: hostPortRange,
});
const secondPort = { name: 'query', protocol: 'udp', port: 7778 };

const ports: ConformanceGroup = {
  section: '2.3',
  title: 'Validation: host ports',
  cases: [
    {
      says: 'refuses a port range that does not rise',
      steps: [
        { start: 60000, end: 40000 },
        { start: 40000, end: 40000 },
        { start: 0, end: 0 },
      ].map((portRange) => invalid({ portRange }, ...rangeLines('Scheduler.PortRange'))),
    },
    {
      says: "refuses a port's own range that does not rise",
      steps: [invalid(perPort({ start: 2, end: 1 }), ...rangeLines(`${firstPort}.HostPortRange`))],
    },
    refusesField(
      'a port range that begins at 0',
      { portRange: { start: 0, end: 10 } },
      'Scheduler.PortRange.Start: Start must be 1 or greater',
      beyondPorts,
    ),
    refusesField(
      'a port range beyond 65535',
      { portRange: { start: 65535, end: 65536 } },
      'Scheduler.PortRange.End: End must be 65535 or less',
      beyondPorts,
    ),
    accepts('a range for each port instead of one for the scheduler', perPort({ start: 1000, end: 2000 })),
    refusesField(
      'neither of the two ranges',
      { portRange: undefined },
      'must configure scheduler.PortRange or scheduler.Spec.Container.Ports.HostPortRange',
    ),
    refusesField(
      'both ranges',
      { [`${port}.hostPortRange`]: { start: 1000, end: 2000 } },
      'scheduler.PortRange and scheduler.Spec.Container.Ports.HostPortRange are mutually exclusive configurations; please choose only one',
    ),
    refusesField(
      'a range for some ports only',
      { ...perPort({ start: 1000, end: 2000 }), [`${container}.ports[1]`]: secondPort },
      'must configure HostPortRange for all scheduler.Spec.Container.Ports',
    ),
  ],
};

const autoscaled = (changes: JsonMap): Changes => ({ autoscaling: { ...sampleAutoscaling, ...changes } });
const withPolicy = (type: string, parameters: JsonMap): Changes => autoscaled({ policy: { type, parameters } });
const occupancy = (readyTarget: number | string, downThreshold: number): Changes =>
  withPolicy('roomOccupancy', { roomOccupancy: { readyTarget, downThreshold } });
const parameters = 'Autoscaling.Policy.Parameters';
const readyTarget = `${parameters}.RoomOccupancy.ReadyTarget: ReadyTarget`;
const downThreshold = `${parameters}.RoomOccupancy.DownThreshold: DownThreshold`;

const autoscaling: ConformanceGroup = {
  section: '2.3',
  title: 'Validation: autoscaling',
  cases: [
    refusesField('a minimum of 0', autoscaled({ min: 0 }), 'Autoscaling.Min: Min must be 1 or greater'),
    refusesField(
      'a minimum above the maximum',
      autoscaled({ min: 11 }),
      'Autoscaling.Min: Min must be a number lower than Max',
    ),
    accepts('a minimum that is the maximum', autoscaled({ min: 10 })),
    accepts('a minimum with no maximum', autoscaled({ min: 11, max: -1 })),
    refusesField('a maximum of -2', autoscaled({ max: -2 }), 'Autoscaling.Max: Max must be -1 or greater'),
    refusesField(
      'a negative cooldown',
      autoscaled({ cooldown: -1 }),
      'Autoscaling.Cooldown: Cooldown must be 0 or greater',
    ),
    {
      says: 'refuses an unknown policy, also while autoscaling is off',
      steps: [true, false].map((enabled) =>
        invalid(
          autoscaled({ enabled, policy: { type: 'magic' } }),
          'Autoscaling.Policy.Type: Type must be one of [roomOccupancy fixedBuffer schedule webhook chain]',
        ),
      ),
    },
    refusesField(
      'roomOccupancy without its parameters',
      withPolicy('roomOccupancy', { fixedBuffer: { amount: 1 } }),
      `${parameters}: RoomOccupancy must not be nil for RoomOccupancy policy type`,
    ),
    refusesField(
      'fixedBuffer without its parameters',
      withPolicy('fixedBuffer', { roomOccupancy: { readyTarget: 0.5 } }),
      `${parameters}: FixedBuffer must not be nil for FixedBuffer policy type`,
    ),
    refusesField('a ready target of 0', occupancy(0, 0.5), `${readyTarget} must be greater than 0`),
    refusesField('a negative ready target', occupancy(-0.5, 0.5), `${readyTarget} must be greater than 0`),
    refusesField('a ready target of 1', occupancy(1, 0.5), `${readyTarget} must be less than 1`),
    refusesField('a ready target that is no number', occupancy('NaN', 0.5), `${readyTarget} must be greater than 0`),
    refusesField('an infinite ready target', occupancy('Infinity', 0.5), `${readyTarget} must be less than 1`),
    refusesField('a negative down threshold', occupancy(0.5, -0.5), `${downThreshold} must be greater than 0`),
    refusesField('a down threshold of 1', occupancy(0.5, 1), `${downThreshold} must be less than 1`),
    {
      says: 'requires a fixed buffer of at least one room',
      steps: ([{}, { amount: 0 }, { amount: -1 }] as JsonMap[]).map((fixedBuffer) =>
        invalid(
          withPolicy('fixedBuffer', { fixedBuffer }),
          `${parameters}.FixedBuffer.Amount: Amount must be greater than 0`,
        ),
      ),
    },
    accepts('a fixed buffer of one room', withPolicy('fixedBuffer', { fixedBuffer: { amount: 1 } })),
  ],
};

const withForwarder = (changes: JsonMap): Changes => ({ forwarders: [{ ...sampleForwarder, ...changes }] });
const forwarder = 'Scheduler.Forwarders[0]';
const requiresOfForwarder = (key: string, field: string): ConformanceCase => ({
  says: `requires forwarders[0].${key}`,
  steps: [invalid(withForwarder({ [key]: '' }), `${forwarder}.${field}: ${field} is a required field`)],
});

const forwarders: ConformanceGroup = {
  section: '2.3',
  title: 'Validation: forwarders',
  cases: [
    requiresOfForwarder('name', 'Name'),
    requiresOfForwarder('type', 'ForwardType'),
    requiresOfForwarder('address', 'Address'),
    refusesField(
      'a forwarder of another type',
      withForwarder({ type: 'grpc' }),
      `${forwarder}.ForwardType: ForwardType must be one of the following options: gRPC`,
    ),
    refusesField(
      'options without a timeout',
      withForwarder({ options: {} }),
      `${forwarder}.Options.Timeout: Timeout is a required field`,
    ),
    accepts('a forwarder without options', { forwarders: [{ name: 'f', type: 'gRPC', address: 'f:80' }] }),
    refusesField(
      'two forwarders of one name',
      { forwarders: [sampleForwarder, sampleForwarder] },
      'Scheduler.Forwarders[1].Name: Name must be unique within Forwarders',
      'v10 does not check it; events could not be told apart by where they went.',
    ),
  ],
};

const everythingWrong: Changes = {
  name: '',
  game: '',
  maxSurge: '',
  roomsReplicas: -1,
  portRange: { start: 2, end: 1 },
  spec: { containers: [{}] },
  autoscaling: {},
  forwarders: [{}],
  matchAllocation: {},
};
const autoscalingLines = [
  'Autoscaling.Min: Min must be 1 or greater',
  'Autoscaling.Policy.Type: Type must be one of [roomOccupancy fixedBuffer schedule webhook chain]',
];
const everyLine = [
  ...autoscalingLines,
  'Scheduler.Name: Name is a required field',
  'Scheduler.Game: Game is a required field',
  'Scheduler.Spec.TerminationGracePeriod: TerminationGracePeriod must be greater than 0',
  `${first}.Name: Name is a required field`,
  `${first}.Image: Image is a required field`,
  `${first}.ImagePullPolicy: ImagePullPolicy is a required field`,
  `${first}.Requests.Memory: Memory is a required field`,
  `${first}.Requests.CPU: CPU is a required field`,
  `${first}.Limits.Memory: Memory is a required field`,
  `${first}.Limits.CPU: CPU is a required field`,
  ...rangeLines('Scheduler.PortRange'),
  'Scheduler.RoomsReplicas: RoomsReplicas must be 0 or greater',
  'Scheduler.MaxSurge: MaxSurge is a required field',
  'Scheduler.Forwarders[0].Name: Name is a required field',
  'Scheduler.Forwarders[0].ForwardType: ForwardType is a required field',
  'Scheduler.Forwarders[0].Address: Address is a required field',
  'Scheduler.MatchAllocation.MaxMatches: MaxMatches is a required field',
];

const untranslated = (path: string, tag: string): string =>
  `Key: '${path}' Error:Field validation for '${path.slice(path.lastIndexOf('.') + 1)}' failed on the '${tag}' tag`;
const invalidPatch = (patch: JsonMap, ...lines: string[]): CallStep =>
  refuses(
    'PatchScheduler',
    { name: '{scheduler}', ...patch },
    'INVALID_ARGUMENT',
    `invalid patched scheduler: ${lines.join('\n')}`,
  );
const refusesPatch = (says: string, patch: JsonMap, ...lines: string[]): ConformanceCase => ({
  says: `refuses ${says} in a patch, in the validator's own words`,
  steps: [answers('CreateScheduler', sample(), {}, { given: 'a scheduler' }), invalidPatch(patch, ...lines)],
});

const wording: ConformanceGroup = {
  section: '2.3',
  title: 'Validation: order and wording',
  cases: [
    {
      says: 'tells everything that is wrong at once: autoscaling first, then the fields of the scheduler in their order',
      differs:
        "v10 validates autoscaling first and alone and tells the rest only once that is right. The lines and their order are v10's.",
      steps: [
        refuses(
          'CreateScheduler',
          sample(everythingWrong),
          'INVALID_ARGUMENT',
          ['Validation Error:', ...everyLine].join('\n'),
        ),
      ],
    },
    {
      says: 'tells how ports are configured last',
      steps: [
        invalid(
          { portRange: undefined, maxSurge: '0', ...autoscaled({ min: 0 }) },
          'Autoscaling.Min: Min must be 1 or greater',
          surge,
          'must configure scheduler.PortRange or scheduler.Spec.Container.Ports.HostPortRange',
        ),
      ],
    },
    {
      says: 'tells one rule per field: the first that fails',
      steps: [
        invalid(
          { [`${port}.name`]: '', maxSurge: '' },
          `${firstPort}.Name: Name is a required field`,
          'Scheduler.MaxSurge: MaxSurge is a required field',
        ),
      ],
    },
    {
      says: 'stores nothing of a scheduler that it refuses',
      steps: [
        invalid({ maxSurge: '0' }, surge),
        refuses('GetScheduler', { schedulerName: '{scheduler}' }, 'NOT_FOUND', 'scheduler {scheduler} not found'),
        answers('ListOperations', { schedulerName: '{scheduler}', stage: 'pending' }, { total: 0 }),
        answers('ListOperations', { schedulerName: '{scheduler}', stage: 'active' }, { total: 0 }),
      ],
    },
    {
      says: 'validates a new version by the same rules, in the same words',
      steps: [
        answers('CreateScheduler', sample(), {}, { given: 'a scheduler' }),
        refuses(
          'NewSchedulerVersion',
          sample({ maxSurge: '0', [`${port}.protocol`]: 'TCP' }),
          'INVALID_ARGUMENT',
          `Validation Error:\n${firstPort}.Protocol: Protocol must be one of the following options: tcp, udp, sctp\n${surge}`,
        ),
      ],
    },
    {
      ...refusesPatch(
        'what no pod has',
        { labels: { team: 'any value' }, spec: { containers: [{ requests: { memory: '1Gi', cpu: '10m' } }] } },
        untranslated(`${first}.Requests.Memory`, 'ltefield'),
        untranslated('Scheduler.Labels["team"]', 'kube_label_value'),
      ),
      differs: neverRuns,
    },
    refusesPatch('a surge of 0', { maxSurge: '0' }, untranslated('Scheduler.MaxSurge', 'max_surge')),
    refusesPatch(
      'several problems',
      { maxSurge: '', roomsReplicas: -1 },
      untranslated('Scheduler.RoomsReplicas', 'min'),
      untranslated('Scheduler.MaxSurge', 'required'),
    ),
    refusesPatch(
      'incomplete autoscaling, as a part of the scheduler,',
      { autoscaling: { enabled: true } },
      untranslated('Scheduler.Autoscaling.Min', 'min'),
      untranslated('Scheduler.Autoscaling.Policy.Type', 'oneof'),
    ),
    refusesPatch(
      'half of the requests',
      { spec: { containers: [{ requests: { cpu: '5m' } }] } },
      untranslated(`${first}.Requests.Memory`, 'required'),
    ),
    refusesPatch(
      'both kinds of port ranges, whose sentence has one wording only,',
      {
        spec: {
          containers: [{ ports: [{ name: 'game', protocol: 'udp', port: 1, hostPortRange: { start: 1, end: 2 } }] }],
        },
      },
      'scheduler.PortRange and scheduler.Spec.Container.Ports.HostPortRange are mutually exclusive configurations; please choose only one',
    ),
  ],
};

export const validation: readonly ConformanceGroup[] = [scheduler, spec, ports, autoscaling, forwarders, wording];
