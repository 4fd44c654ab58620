import { changedFields, definitionChanges, type DefinitionChange } from './definition-changes';
import type { SchedulerDefinition } from './scheduler';
import {
  aContainer,
  aDefinition,
  aForwarder,
  anAutoscaling,
  aPort,
  aWindow,
  type Changes,
  withContainer,
  withPort,
} from './scheduler.fixture';

const major = (path: string, from: unknown, to: unknown): DefinitionChange => ({ path, from, to, major: true });
const minor = (path: string, from: unknown, to: unknown): DefinitionChange => ({ path, from, to, major: false });

describe('definitionChanges', () => {
  const main = 'spec.containers[0]';
  const [a, b, c] = ['a', 'b', 'c'].map((name, index) => aPort({ name, port: index + 1 }));
  const wireMain = {
    name: 'main',
    image: 'game:1',
    imagePullPolicy: 'Always',
    command: [],
    environment: [{ name: 'A' }],
    requests: { memory: '64Mi', cpu: '100m' },
    limits: { memory: '128Mi', cpu: '1' },
    ports: [{ name: 'game', protocol: 'tcp', port: 7777, hostPort: 0 }],
  };
  const fixedBuffer = { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 3 } } };
  const policies = [{ type: 'fixedBuffer', fixedBuffer: { amount: 3 } }];
  const later = { type: 'webhook', webhook: { url: 'http://a', timeoutMs: 1, maxAnswerAgeSeconds: 1 } };
  const wireAutoscaling = {
    enabled: false,
    min: 1,
    max: 10,
    policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.5, downThreshold: 0.99 } } },
    cooldown: 0,
  };

  const minorRows: [string, Changes, Changes, DefinitionChange[]][] = [
    ['another game', {}, { game: 'go' }, [minor('game', 'chess', 'go')]],
    ['another surge', {}, { maxSurge: '5' }, [minor('maxSurge', '10%', '5')]],
    ['more replicas', {}, { roomsReplicas: 2 }, [minor('roomsReplicas', 0, 2)]],
    ['more matches in a room', {}, { matchAllocation: { maxMatches: 2 } }, [minor('matchAllocation.maxMatches', 1, 2)]],
    [
      'other numbers of autoscaling',
      {},
      { autoscaling: anAutoscaling({ enabled: true, cooldown: 60 }) },
      [minor('autoscaling.enabled', false, true), minor('autoscaling.cooldown', 0, 60)],
    ],
    [
      'another policy',
      {},
      { autoscaling: anAutoscaling({ policy: fixedBuffer }) },
      [
        minor('autoscaling.policy.type', 'roomOccupancy', 'fixedBuffer'),
        minor('autoscaling.policy.parameters.roomOccupancy', { readyTarget: 0.5, downThreshold: 0.99 }, null),
        minor('autoscaling.policy.parameters.fixedBuffer', null, { amount: 3 }),
      ],
    ],
    ['autoscaling for the first time', { autoscaling: undefined }, {}, [minor('autoscaling', null, wireAutoscaling)]],
    ['no autoscaling any more', {}, { autoscaling: undefined }, [minor('autoscaling', wireAutoscaling, null)]],
    [
      'extensions for the first time',
      {},
      { extensions: { autoscaling: { chain: { policies } }, drain: { deadlineSeconds: 60 } } },
      [minor('extensions.autoscaling.chain', null, { policies }), minor('extensions.drain.deadlineSeconds', null, 60)],
    ],
    [
      'no extensions any more',
      { extensions: { rollout: { automaticRollback: false, failureShare: 0.3 } } },
      {},
      [minor('extensions.rollout.automaticRollback', false, null), minor('extensions.rollout.failureShare', 0.3, null)],
    ],
    [
      'a policy in a chain, and one more',
      { extensions: { autoscaling: { chain: { policies } } } },
      {
        extensions: { autoscaling: { chain: { policies: [{ ...policies[0]!, fixedBuffer: { amount: 4 } }, later] } } },
      },
      [
        minor('extensions.autoscaling.chain.policies[0].fixedBuffer.amount', 3, 4),
        minor('extensions.autoscaling.chain.policies[1]', null, later),
      ],
    ],
    [
      'a window, and one less',
      { extensions: { autoscaling: { schedule: { windows: [aWindow(), aWindow({ cron: '* * * * *' })] } } } },
      { extensions: { autoscaling: { schedule: { windows: [aWindow({ min: 5 })] } } } },
      [
        minor('extensions.autoscaling.schedule.windows[0].min', 50, 5),
        minor('extensions.autoscaling.schedule.windows[1]', aWindow({ cron: '* * * * *' }), null),
      ],
    ],
    ['another host port', {}, withPort({ hostPort: 9 }), [minor(`${main}.ports[0].hostPort`, 0, 9)]],
    [
      'the same ports of a container in another order',
      withContainer({ ports: [a!, b!] }),
      withContainer({ ports: [b!, a!] }),
      [minor(`${main}.ports`, [a, b], [b, a])],
    ],
  ];

  test.each(minorRows)('is minor for %s', (_, from, to, changes) => {
    expect(definitionChanges(aDefinition(from), aDefinition(to))).toEqual(changes);
  });

  const majorRows: [string, Changes, Changes, DefinitionChange[]][] = [
    ['another image', {}, withContainer({ image: 'game:2' }), [major(`${main}.image`, 'game:1', 'game:2')]],
    ['a container of another name', {}, withContainer({ name: 'side' }), [major(`${main}.name`, 'main', 'side')]],
    [
      'another pull policy',
      {},
      withContainer({ imagePullPolicy: 'Never' }),
      [major(`${main}.imagePullPolicy`, 'Always', 'Never')],
    ],
    ['a command', {}, withContainer({ command: ['./run', '-v'] }), [major(`${main}.command`, [], ['./run', '-v'])]],
    [
      'a variable of another value',
      {},
      withContainer({ environment: [{ name: 'A', value: 'x' }] }),
      [major(`${main}.environment[0].value`, null, 'x')],
    ],
    [
      'a variable from another key of a secret',
      withContainer({ environment: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }] }),
      withContainer({ environment: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'l' } } }] }),
      [major(`${main}.environment[0].valueFrom.secretKeyRef.key`, 'k', 'l')],
    ],
    [
      'a further variable',
      {},
      withContainer({ environment: [{ name: 'A' }, { name: 'B', value: 'x' }] }),
      [major(`${main}.environment[1]`, null, { name: 'B', value: 'x' })],
    ],
    [
      'variables in another order',
      withContainer({ environment: [{ name: 'A' }, { name: 'B' }] }),
      withContainer({ environment: [{ name: 'B' }, { name: 'A' }] }),
      [major(`${main}.environment[0].name`, 'A', 'B'), major(`${main}.environment[1].name`, 'B', 'A')],
    ],
    [
      'more memory',
      {},
      withContainer({ requests: { memory: '1Gi', cpu: '100m' }, limits: { memory: '2Gi', cpu: '1' } }),
      [major(`${main}.requests.memory`, '64Mi', '1Gi'), major(`${main}.limits.memory`, '128Mi', '2Gi')],
    ],
    [
      'a further container',
      {},
      { spec: { containers: [aContainer(), aContainer()] } },
      [major('spec.containers[1]', null, wireMain)],
    ],
    [
      'a container less',
      { spec: { containers: [aContainer(), aContainer()] } },
      {},
      [major('spec.containers[1]', wireMain, null)],
    ],
    [
      'containers in another order',
      { spec: { containers: [aContainer(), aContainer({ name: 'side' })] } },
      { spec: { containers: [aContainer({ name: 'side' }), aContainer()] } },
      [major(`${main}.name`, 'main', 'side'), major('spec.containers[1].name', 'side', 'main')],
    ],
    [
      'another grace period',
      {},
      { spec: { terminationGracePeriodNs: 1.5e9 } },
      [major('spec.terminationGracePeriod', '0.000000015s', '1.500s')],
    ],
    ['a toleration', {}, { spec: { toleration: 'gpu' } }, [major('spec.toleration', '', 'gpu')]],
    ['an affinity', {}, { spec: { affinity: 'gpu' } }, [major('spec.affinity', '', 'gpu')]],
    [
      'another restart policy',
      {},
      { spec: { restartPolicy: 'Always' } },
      [major('spec.restartPolicy', 'Never', 'Always')],
    ],
    ['a wider port range', {}, { portRange: { start: 1, end: 60_000 } }, [major('portRange.start', 40_000, 1)]],
    [
      'a range for each port instead of the scheduler',
      {},
      { portRange: undefined, ...withPort({ hostPortRange: { start: 1, end: 2 } }) },
      [
        major('portRange', { start: 40_000, end: 60_000 }, null),
        major(`${main}.ports[0].hostPortRange`, null, { start: 1, end: 2 }),
      ],
    ],
    [
      'a forwarder less',
      { forwarders: [aForwarder(), aForwarder({ name: 'x' })] },
      {},
      [
        major(
          'forwarders[1]',
          { name: 'x', enable: true, type: 'gRPC', address: 'host:1', options: { timeout: '1000', metadata: {} } },
          null,
        ),
      ],
    ],
    [
      'a forwarder that is off',
      {},
      { forwarders: [aForwarder({ enabled: false })] },
      [major('forwarders[0].enable', true, false)],
    ],
    [
      'other options of a forwarder',
      {},
      { forwarders: [aForwarder({ options: { timeoutMs: 500, metadata: { a: null } } })] },
      [major('forwarders[0].options.timeout', '1000', '500'), major('forwarders[0].options.metadata', {}, { a: null })],
    ],
    [
      'forwarders in another order',
      { forwarders: [aForwarder(), aForwarder({ name: 'x' })] },
      { forwarders: [aForwarder({ name: 'x' }), aForwarder()] },
      [major('forwarders[0].name', 'matchmaker', 'x'), major('forwarders[1].name', 'x', 'matchmaker')],
    ],
    ['an annotation', {}, { annotations: { note: 'x' } }, [major('annotations.note', null, 'x')]],
    [
      'labels, whatever their names',
      { labels: { team: 'a', 'example.com/tier': '1' } },
      { labels: { team: 'b', constructor: 'c' } },
      [
        major('labels.team', 'a', 'b'),
        major('labels["example.com/tier"]', '1', null),
        major('labels.constructor', null, 'c'),
      ],
    ],
  ];

  test.each(majorRows)('is major for %s', (_, from, to, changes) => {
    expect(definitionChanges(aDefinition(from), aDefinition(to))).toEqual(changes);
  });

  describe('compares the ports of each container by name, so', () => {
    const rows: [string, Changes, Changes, DefinitionChange[]][] = [
      [
        'a removed port is major, which v10 does not see',
        withContainer({ ports: [a!, b!] }),
        withContainer({ ports: [b!] }),
        [major(`${main}.ports[0]`, a, null)],
      ],
      [
        'an added port is major, wherever it stands',
        withContainer({ ports: [b!, c!] }),
        withContainer({ ports: [a!, b!, c!] }),
        [major(`${main}.ports[0]`, null, a)],
      ],
      [
        'a port moved to another container is major, which v10 does not see',
        { spec: { containers: [aContainer({ ports: [a!, b!] }), aContainer({ name: 'side', ports: [] })] } },
        { spec: { containers: [aContainer({ ports: [a!] }), aContainer({ name: 'side', ports: [b!] })] } },
        [major(`${main}.ports[1]`, b, null), major('spec.containers[1].ports[0]', null, b)],
      ],
      [
        'a port of the same name in two containers is two ports, where v10 knows only the last',
        { spec: { containers: [aContainer({ ports: [a!] }), aContainer({ name: 'side', ports: [a!] })] } },
        {
          spec: {
            containers: [aContainer({ ports: [{ ...a!, port: 9 }] }), aContainer({ name: 'side', ports: [a!] })],
          },
        },
        [major(`${main}.ports[0].port`, 1, 9)],
      ],
      [
        'another port number or protocol is major, and its host port minor',
        withContainer({ ports: [a!] }),
        withContainer({ ports: [{ ...a!, port: 9, protocol: 'udp', hostPort: 8 }] }),
        [
          major(`${main}.ports[0].protocol`, 'tcp', 'udp'),
          major(`${main}.ports[0].port`, 1, 9),
          minor(`${main}.ports[0].hostPort`, 0, 8),
        ],
      ],
      [
        'another range of a port is major',
        withPort({ hostPortRange: { start: 1, end: 2 } }),
        withPort({ hostPortRange: { start: 1, end: 3 } }),
        [major(`${main}.ports[0].hostPortRange.end`, 2, 3)],
      ],
      [
        'a renamed port is one change',
        withContainer({ ports: [a!, b!] }),
        withContainer({ ports: [{ ...a!, name: 'c' }, b!] }),
        [major(`${main}.ports[0].name`, 'a', 'c')],
      ],
      [
        'the second port of one name is told from the first',
        withContainer({ ports: [a!, { ...a!, port: 5 }] }),
        withContainer({ ports: [a!] }),
        [major(`${main}.ports[1]`, { ...a, port: 5 }, null)],
      ],
    ];

    test.each(rows)('%s', (_, from, to, changes) => {
      expect(definitionChanges(aDefinition(from), aDefinition(to))).toEqual(changes);
    });
  });

  /** As an import or an older row may have it. */
  const without = (change: (definition: Record<string, unknown>) => void): SchedulerDefinition => {
    const definition = aDefinition();
    change(definition as unknown as Record<string, unknown>);
    return definition;
  };
  test.each<[string, SchedulerDefinition, SchedulerDefinition]>([
    ['missing annotations and none', without((definition) => delete definition.annotations), aDefinition()],
    ['missing labels and none', without((definition) => delete definition.labels), aDefinition()],
    [
      'missing forwarders and none',
      without((definition) => delete definition.forwarders),
      aDefinition({ forwarders: [] }),
    ],
    ['a missing restart policy and Never', aDefinition({ spec: { restartPolicy: '' } }), aDefinition()],
    [
      'a variable without a value and one of an empty value, which look alike on the wire',
      aDefinition(withContainer({ environment: [{ name: 'A' }] })),
      aDefinition(),
    ],
    [
      'metadata with its keys in another order',
      aDefinition({ forwarders: [aForwarder({ options: { timeoutMs: 1, metadata: { a: [{ b: 1, c: 2 }], d: 1 } } })] }),
      aDefinition({ forwarders: [aForwarder({ options: { timeoutMs: 1, metadata: { d: 1, a: [{ c: 2, b: 1 }] } } })] }),
    ],
  ])('sees no change between %s', (_, one, other) => {
    expect(definitionChanges(one, other)).toEqual([]);
    expect(definitionChanges(other, one)).toEqual([]);
  });

  test.each([
    [100e9, '100s'],
    [1.5e9, '1.500s'],
    [1_000_001_000, '1.000001s'],
    [1_000_000_001, '1.000000001s'],
    [0, '0s'],
    [-5e8, '-0.500s'],
  ])('tells a grace period of %d ns as %s', (terminationGracePeriodNs, text) => {
    const [change] = definitionChanges(aDefinition(), aDefinition({ spec: { terminationGracePeriodNs } }));
    expect(change?.to).toBe(text);
  });

  test('tells changes in the order of the wire', () => {
    const changed = aDefinition({
      game: 'go',
      labels: { a: 'b' },
      roomsReplicas: 1,
      spec: { affinity: 'x', containers: [aContainer({ image: 'y' })] },
    });
    expect(definitionChanges(aDefinition(), changed).map(({ path }) => path)).toEqual([
      'game',
      'roomsReplicas',
      'spec.affinity',
      'spec.containers[0].image',
      'labels.a',
    ]);
  });
});

describe('changedFields', () => {
  it('names each field of the definition once, whatever changed in it', () => {
    const paths = ['maxSurge', 'spec.containers[0].image', 'spec.toleration', 'forwarders[0]', 'labels["a.b/c"]'];
    expect(changedFields(paths.map((path) => major(path, 1, 2)))).toEqual(['maxSurge', 'spec', 'forwarders', 'labels']);
  });
});
