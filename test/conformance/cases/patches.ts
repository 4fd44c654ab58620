import {
  answers,
  patterns,
  refuses,
  type ConformanceCase,
  type ConformanceGroup,
  type ExpectedMap,
  type JsonMap,
} from '../conformance-case';
import { sampleAutoscaling, sampleContainer, sampleForwarder, type Changes } from '../sample-scheduler';
import { aScheduler, is, isActive, patchesTo } from './steps';

const container = 'spec.containers[0]';
const resources = { memory: '20Mi', cpu: '10m' };
const byName = { schedulerName: '{scheduler}' };
const otherForwarder: JsonMap = { ...sampleForwarder, name: 'analytics' };

const changes = (
  says: string,
  before: Changes,
  patch: JsonMap,
  version: string,
  after: ExpectedMap,
): ConformanceCase => ({
  says,
  steps: [...aScheduler(before), ...patchesTo(version, patch), is(after)],
});

const noChange = (says: string, patch: JsonMap, before: Changes = {}): ConformanceCase => ({
  says,
  steps: [
    ...aScheduler(before),
    refuses(
      'PatchScheduler',
      { name: '{scheduler}', ...patch },
      'ALREADY_EXISTS',
      'no change found to scheduler {scheduler}',
    ),
    isActive('v1.0.0'),
  ],
});

const fullContainer: Changes = {
  [`${container}.command`]: ['./room'],
  [`${container}.environment`]: [{ name: 'A', value: '1' }],
};
const shownPort = { name: 'game', protocol: 'udp', port: 7777, hostPort: 0 };

export const patches: readonly ConformanceGroup[] = [
  {
    section: '2.6',
    title: 'Patches: the spec',
    cases: [
      changes('takes an empty spec for a change: a minor version without a difference', {}, { spec: {} }, 'v1.1.0', {
        maxSurge: '10%',
        spec: { version: 'v1.1.0', terminationGracePeriod: '100s', containers: [{ name: 'room' }] },
      }),
      changes(
        'replaces grace period, toleration and affinity, and keeps the rest of the spec',
        fullContainer,
        { spec: { terminationGracePeriod: '99s', toleration: 'games', affinity: 'games' } },
        'v2.0.0',
        {
          spec: {
            terminationGracePeriod: '99s',
            toleration: 'games',
            affinity: 'games',
            restartPolicy: 'Never',
            containers: [{ name: 'room', image: 'room:1', command: ['./room'] }],
          },
        },
      ),
      changes(
        'empties toleration and affinity with empty texts',
        { 'spec.toleration': 'games', 'spec.affinity': 'games' },
        { spec: { toleration: '', affinity: '' } },
        'v2.0.0',
        { spec: { toleration: '', affinity: '' } },
      ),
      changes(
        'merges containers by their place, key by key',
        { ...fullContainer, 'spec.containers[1]': sampleContainer({ name: 'side', ports: [] }) },
        { spec: { containers: [{}, { image: 'side:2' }] } },
        'v2.0.0',
        {
          spec: {
            containers: [
              { name: 'room', image: 'room:1', command: ['./room'], environment: [{ name: 'A', value: '1' }] },
              { name: 'side', image: 'side:2', imagePullPolicy: 'Always', requests: resources },
            ],
          },
        },
      ),
      changes(
        'replaces every key of a container that is given',
        fullContainer,
        {
          spec: {
            containers: [
              {
                name: 'room-2',
                image: 'room:2',
                imagePullPolicy: 'Never',
                command: ['./room', '-v'],
                environment: [{ name: 'B', value: '2' }],
                requests: { memory: '1Mi', cpu: '1m' },
                limits: { memory: '2Mi', cpu: '2m' },
                ports: [{ name: 'web', protocol: 'tcp', port: 80 }],
              },
            ],
          },
        },
        'v2.0.0',
        {
          spec: {
            containers: [
              {
                name: 'room-2',
                image: 'room:2',
                imagePullPolicy: 'Never',
                command: ['./room', '-v'],
                environment: [{ name: 'B', value: '2' }],
                requests: { memory: '1Mi', cpu: '1m' },
                limits: { memory: '2Mi', cpu: '2m' },
                ports: [{ name: 'web', protocol: 'tcp', port: 80, hostPort: 0 }],
              },
            ],
          },
        },
      ),
      changes(
        'appends containers beyond those that there are',
        {},
        { spec: { containers: [{}, sampleContainer({ name: 'side', ports: [] })] } },
        'v2.0.0',
        { spec: { containers: [{ name: 'room' }, { name: 'side' }] } },
      ),
      {
        says: 'wants an appended container to be complete',
        steps: [
          ...aScheduler(),
          refuses(
            'PatchScheduler',
            { name: '{scheduler}', spec: { containers: [{}, { name: 'side' }] } },
            'INVALID_ARGUMENT',
            /^invalid patched scheduler: Key: 'Scheduler\.Spec\.Containers\[1\]\.Image' Error:Field validation for 'Image' failed on the 'required' tag\n/,
          ),
        ],
      },
      changes('takes an empty list of containers for none given', {}, { spec: { containers: [] } }, 'v1.1.0', {
        spec: { containers: [{ name: 'room' }] },
      }),
      changes(
        'cannot empty the lists of a container',
        fullContainer,
        { spec: { containers: [{ command: [], environment: [], ports: [] }] } },
        'v1.1.0',
        {
          spec: {
            containers: [{ command: ['./room'], environment: [{ name: 'A', value: '1' }], ports: [shownPort] }],
          },
        },
      ),
      {
        says: 'does not patch what cannot be patched: restart policy, version and game are unknown fields',
        restOnly: 'an rpc has no such fields',
        steps: [
          ...aScheduler({ 'spec.restartPolicy': 'Always' }),
          {
            request: 'PATCH /schedulers/{scheduler}',
            body: '{"game":"other","spec":{"restartPolicy":"Never","version":"v9.0.0"}}',
            answers: { operationId: patterns.uuid },
          },
          isActive('v1.1.0'),
          is({ game: '{game}', spec: { restartPolicy: 'Always' } }),
        ],
      },
    ],
  },
  {
    section: '2.6',
    title: 'Patches: the scheduler',
    cases: [
      changes('replaces the port range as a whole', {}, { portRange: { start: 41000, end: 42000 } }, 'v2.0.0', {
        portRange: { start: 41000, end: 42000 },
      }),
      {
        says: 'takes a missing bound of the port range for 0',
        steps: [
          ...aScheduler(),
          refuses(
            'PatchScheduler',
            { name: '{scheduler}', portRange: { start: 41000 } },
            'INVALID_ARGUMENT',
            [
              "invalid patched scheduler: Key: 'Scheduler.PortRange.Start' Error:Field validation for 'Start' failed on the 'ltfield' tag",
              "Key: 'Scheduler.PortRange.End' Error:Field validation for 'End' failed on the 'gtfield' tag",
            ].join('\n'),
          ),
        ],
      },
      changes('replaces the surge', {}, { maxSurge: '22' }, 'v1.1.0', { maxSurge: '22' }),
      changes('replaces the number of rooms, also by 0', { roomsReplicas: 1 }, { roomsReplicas: 0 }, 'v1.1.0', {
        roomsReplicas: 0,
      }),
      changes('replaces the match allocation', {}, { matchAllocation: { maxMatches: 7 } }, 'v1.1.0', {
        matchAllocation: { maxMatches: 7 },
      }),
      changes(
        'merges autoscaling key by key',
        { autoscaling: sampleAutoscaling },
        { autoscaling: { max: -1 } },
        'v1.1.0',
        {
          autoscaling: {
            enabled: false,
            min: 1,
            max: -1,
            cooldown: 60,
            policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.5, downThreshold: 0.9 } } },
          },
        },
      ),
      changes(
        'replaces the autoscaling policy as a whole, with the default of the down threshold',
        { autoscaling: sampleAutoscaling },
        {
          autoscaling: { policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.25 } } } },
        },
        'v1.1.0',
        { autoscaling: { policy: { parameters: { roomOccupancy: { readyTarget: 0.25, downThreshold: 0.99 } } } } },
      ),
      changes(
        'takes empty autoscaling for a change where there is some: a minor version without a difference',
        { autoscaling: sampleAutoscaling },
        { autoscaling: {} },
        'v1.1.0',
        { autoscaling: { enabled: false, min: 1, max: 10, cooldown: 60 } },
      ),
      {
        says: 'begins with an empty autoscaling where there is none, so that minimum and policy must be given',
        steps: [
          ...aScheduler(),
          refuses(
            'PatchScheduler',
            { name: '{scheduler}', autoscaling: {} },
            'INVALID_ARGUMENT',
            [
              "invalid patched scheduler: Key: 'Scheduler.Autoscaling.Min' Error:Field validation for 'Min' failed on the 'min' tag",
              "Key: 'Scheduler.Autoscaling.Policy.Type' Error:Field validation for 'Type' failed on the 'oneof' tag",
            ].join('\n'),
          ),
          ...patchesTo('v1.1.0', {
            autoscaling: {
              min: 1,
              policy: { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 2 } } },
              max: 5,
            },
          }),
          is({
            autoscaling: {
              enabled: false,
              min: 1,
              max: 5,
              cooldown: 0,
              policy: { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 2 } } },
            },
          }),
        ],
      },
      changes(
        'replaces all forwarders',
        { forwarders: [sampleForwarder] },
        { forwarders: [otherForwarder] },
        'v2.0.0',
        { forwarders: [{ name: 'analytics' }] },
      ),
      changes(
        'replaces annotations and labels as a whole',
        { annotations: { a: '1', b: '2' }, labels: { c: '3', d: '4' } },
        { annotations: { b: '3' }, labels: { e: '5' } },
        'v2.0.0',
        { annotations: { b: '3' }, labels: { e: '5' } },
      ),
    ],
  },
  {
    section: '2.6',
    title: 'Patches: nothing, and nothing to see',
    cases: [
      noChange('refuses a patch without a change', {}),
      noChange(
        'takes an empty list of forwarders for no change',
        { forwarders: [] },
        { forwarders: [sampleForwarder] },
      ),
      {
        says: 'tells an empty patch so before it looks whether the scheduler is there',
        steps: [
          refuses(
            'PatchScheduler',
            { name: '{scheduler}' },
            'ALREADY_EXISTS',
            'no change found to scheduler {scheduler}',
          ),
        ],
      },
      {
        says: 'clears annotations and labels with an empty map',
        restOnly: 'the wire of gRPC cannot tell an empty map from none',
        steps: [
          ...aScheduler({ annotations: { a: '1' }, labels: { b: '2' } }),
          answers('PatchScheduler', { name: '{scheduler}', annotations: {} }, {}),
          isActive('v2.0.0'),
          is({ annotations: {}, labels: { b: '2' } }),
        ],
      },
      {
        says: 'takes null for not given',
        restOnly: 'null is of JSON',
        steps: [
          ...aScheduler({ annotations: { a: '1' } }),
          {
            request: 'PATCH /schedulers/{scheduler}',
            body: '{"annotations":null,"labels":null,"spec":null,"maxSurge":null,"autoscaling":null,"portRange":null}',
            refuses: { code: 'ALREADY_EXISTS', message: 'no change found to scheduler {scheduler}' },
          },
        ],
      },
      {
        says: 'makes a minor version of a patch that says what is',
        steps: [...aScheduler(), ...patchesTo('v1.1.0', { maxSurge: '10%' })],
      },
      {
        says: 'changes nothing when it refuses',
        steps: [
          ...aScheduler(),
          refuses(
            'PatchScheduler',
            { name: '{scheduler}', maxSurge: '0', roomsReplicas: 1 },
            'INVALID_ARGUMENT',
            /^invalid patched scheduler: /,
          ),
          is({ state: 'in-sync', maxSurge: '10%', roomsReplicas: 0 }),
          answers('ListOperations', { ...byName, stage: 'pending' }, { total: 0 }),
          answers('GetSchedulerVersions', byName, { versions: [{ version: 'v1.0.0', isActive: true }] }),
        ],
      },
    ],
  },
];
