import { definitionChanges } from './definition-changes';
import { clearablePaths, isEmptyPatch, patchDefinition, type DefinitionPatch } from './patch-definition';
import {
  aContainer,
  aDefinition,
  aForwarder,
  anAutoscaling,
  aPort,
  fullExtensions,
  type Changes,
} from './scheduler.fixture';

const side = aContainer({ name: 'side', image: 'side:1', command: ['./side'] });
const third = aContainer({ name: 'third' });
const two = (changes: Changes = {}) => aDefinition({ ...changes, spec: { containers: [aContainer(), side] } });

describe('isEmptyPatch', () => {
  test.each<[string, DefinitionPatch, boolean]>([
    ['nothing', {}, true],
    ['undefined fields', { maxSurge: undefined, spec: undefined }, true],
    ['an empty list of forwarders', { forwarders: [] }, true],
    ['nothing to clear', { clear: [] }, true],
    ['an empty spec', { spec: {} }, false],
    ['an empty autoscaling', { autoscaling: {} }, false],
    ['empty annotations', { annotations: {} }, false],
    ['empty labels', { labels: {} }, false],
    ['no replicas', { roomsReplicas: 0 }, false],
    ['an empty surge', { maxSurge: '' }, false],
    ['something to clear', { clear: ['forwarders'] }, false],
    ['no part of extensions', { extensions: {} }, true],
    ['an empty part of extensions', { extensions: { drain: {} } }, false],
  ])('%s: %j is empty: %p', (_, patch, expected) => {
    expect(isEmptyPatch(patch)).toBe(expected);
  });
});

describe('patchDefinition', () => {
  const annotated = { annotations: { a: '1' }, labels: { b: '2' } };
  const rows: [string, DefinitionPatch, Changes, Changes][] = [
    ['changes nothing for an empty spec', { spec: {} }, {}, {}],
    ['changes nothing for undefined fields', { maxSurge: undefined, spec: { affinity: undefined } }, {}, {}],
    [
      'replaces the surge and the replicas',
      { maxSurge: '3', roomsReplicas: 9 },
      {},
      { maxSurge: '3', roomsReplicas: 9 },
    ],
    [
      'replaces fields of the spec one by one',
      { spec: { terminationGracePeriodNs: 9, toleration: 't' } },
      { spec: { affinity: 'a' } },
      { spec: { terminationGracePeriodNs: 9, toleration: 't', affinity: 'a' } },
    ],
    ['empties a toleration', { spec: { toleration: '' } }, { spec: { toleration: 't' } }, {}],
    [
      'replaces the port range as a whole',
      { portRange: { start: 5, end: 0 } },
      {},
      { portRange: { start: 5, end: 0 } },
    ],
    [
      'sets a port range where there was none',
      { portRange: { start: 5, end: 6 } },
      { portRange: undefined },
      { portRange: { start: 5, end: 6 } },
    ],
    [
      'replaces the match allocation',
      { matchAllocation: { maxMatches: 4 } },
      {},
      { matchAllocation: { maxMatches: 4 } },
    ],
    [
      'replaces the whole list of forwarders',
      { forwarders: [aForwarder({ name: 'x' })] },
      { forwarders: [aForwarder(), aForwarder({ name: 'y' })] },
      { forwarders: [aForwarder({ name: 'x' })] },
    ],
    ['keeps forwarders for an empty list', { forwarders: [] }, {}, {}],
    ['replaces whole maps', { annotations: { x: 'y' } }, annotated, { ...annotated, annotations: { x: 'y' } }],
    ['clears maps with empty ones', { annotations: {}, labels: {} }, annotated, {}],
    [
      'merges autoscaling by key',
      { autoscaling: { max: -1, enabled: true } },
      {},
      { autoscaling: anAutoscaling({ max: -1, enabled: true }) },
    ],
    ['changes nothing for an empty autoscaling', { autoscaling: {} }, {}, {}],
    [
      'replaces the policy as a whole',
      { autoscaling: { policy: { type: 'roomOccupancy', parameters: {} } } },
      {},
      { autoscaling: anAutoscaling({ policy: { type: 'roomOccupancy', parameters: {} } }) },
    ],
    [
      'creates an empty autoscaling where there was none',
      { autoscaling: { max: 5 } },
      { autoscaling: undefined },
      { autoscaling: { enabled: false, min: 0, max: 5, cooldown: 0, policy: { type: '', parameters: {} } } },
    ],
  ];

  test.each(rows)('%s', (_, patch, from, to) => {
    const active = aDefinition(from);
    const before = structuredClone(active);
    expect(JSON.parse(JSON.stringify(patchDefinition(active, patch)))).toEqual(
      JSON.parse(JSON.stringify(aDefinition(to))),
    );
    expect(active).toEqual(before);
  });

  const containerRows: [string, DefinitionPatch, ReturnType<typeof aContainer>[]][] = [
    ['changes nothing for an empty list', { spec: { containers: [] } }, [aContainer(), side]],
    [
      'merges by index, key by key',
      { spec: { containers: [{}, { image: 'side:2', ports: [aPort({ port: 1 })] }] } },
      [aContainer(), { ...side, image: 'side:2', ports: [aPort({ port: 1 })] }],
    ],
    [
      'keeps lists for empty ones and values for undefined ones',
      {
        spec: {
          containers: [
            { environment: [], ports: [] },
            { command: [], image: undefined },
          ],
        },
      },
      [aContainer(), side],
    ],
    [
      'replaces resources as a whole, which leaves the other one blank',
      { spec: { containers: [{ requests: { memory: '1Gi', cpu: '' } }] } },
      [aContainer({ requests: { memory: '1Gi', cpu: '' } }), side],
    ],
    ['appends further ones', { spec: { containers: [{}, {}, third] } }, [aContainer(), side, third]],
    [
      'leaves blank what an appended one lacks, for validation to name',
      { spec: { containers: [{}, {}, { name: 'third' }] } },
      [
        aContainer(),
        side,
        {
          name: 'third',
          image: '',
          imagePullPolicy: '',
          command: [],
          environment: [],
          requests: { memory: '', cpu: '' },
          limits: { memory: '', cpu: '' },
          ports: [],
        },
      ],
    ],
    ['removes the one that is cleared', { clear: ['spec.containers[0]'] }, [side]],
    ['removes several', { clear: ['spec.containers[1]', 'spec.containers[0]'] }, []],
    [
      'merges by the indices of the active definition before it removes',
      { clear: ['spec.containers[0]'], spec: { containers: [{}, { image: 'side:2' }, third] } },
      [{ ...side, image: 'side:2' }, third],
    ],
    [
      'removes a container whatever the patch says of it',
      { clear: ['spec.containers[0]'], spec: { containers: [{ image: 'game:2' }] } },
      [side],
    ],
    [
      'clears lists of a container',
      { clear: ['spec.containers[1].command', 'spec.containers[1].environment', 'spec.containers[1].ports'] },
      [aContainer(), { ...side, command: [], environment: [], ports: [] }],
    ],
    [
      'takes the value for a list that is also cleared',
      { clear: ['spec.containers[1].command'], spec: { containers: [{}, { command: ['new'] }] } },
      [aContainer(), { ...side, command: ['new'] }],
    ],
  ];

  test.each(containerRows)('of containers, %s', (_, patch, containers) => {
    expect(patchDefinition(two(), patch).spec.containers).toEqual(containers);
  });

  test('clears what v10 cannot: forwarders, the port range, autoscaling', () => {
    const patched = patchDefinition(aDefinition(), { clear: ['forwarders', 'portRange', 'autoscaling'] });
    expect(patched.forwarders).toEqual([]);
    expect(patched).not.toHaveProperty('portRange');
    expect(patched).not.toHaveProperty('autoscaling');
  });

  test.each([
    ['annotations', aDefinition({ labels: annotated.labels })],
    ['labels', aDefinition({ annotations: annotated.annotations })],
  ])('clears %s by path, which gRPC cannot do with an empty map', (path, expected) => {
    const active = aDefinition(annotated);
    const before = structuredClone(active);
    expect(patchDefinition(active, { clear: [path] })).toEqual(expected);
    expect(active).toEqual(before);
  });

  test('takes the value for what is also cleared', () => {
    const patch = {
      clear: ['forwarders', 'portRange', 'autoscaling', 'annotations', 'labels'],
      forwarders: [aForwarder({ name: 'x' })],
      portRange: { start: 1, end: 2 },
      autoscaling: { min: 3 },
      annotations: { x: 'y' },
      labels: {},
    };
    const { forwarders, portRange, autoscaling, annotations, labels } = patchDefinition(aDefinition(annotated), patch);
    expect({ annotations, labels }).toEqual({ annotations: patch.annotations, labels: patch.labels });
    expect(forwarders).toEqual(patch.forwarders);
    expect(portRange).toEqual(patch.portRange);
    expect(autoscaling).toEqual({
      enabled: false,
      min: 3,
      max: 0,
      cooldown: 0,
      policy: { type: '', parameters: {} },
    });
  });

  const { autoscaling, rollout, drain } = fullExtensions();
  const twoHours = { drain: { deadlineSeconds: 7200 } };
  test.each<[string, DefinitionPatch, Changes['extensions'], Changes['extensions']]>([
    ['keeps extensions that it does not name', { maxSurge: '3' }, { rollout, drain }, { rollout, drain }],
    ['gives extensions where there were none', { extensions: { rollout } }, undefined, { rollout }],
    [
      'replaces a part as a whole, and keeps the others',
      { extensions: { rollout: { automaticRollback: true } } },
      { autoscaling, rollout, drain },
      { autoscaling, rollout: { automaticRollback: true }, drain },
    ],
    ['takes a part away with an empty one', { extensions: { rollout: {} } }, { rollout, drain }, { drain }],
    ['has none any more when the last part is empty', { extensions: { drain: {} } }, { drain }, undefined],
    ['clears a part', { clear: ['extensions.rollout'] }, { autoscaling, rollout, drain }, { autoscaling, drain }],
    ['clears all parts', { clear: ['extensions'] }, { autoscaling, rollout, drain }, undefined],
    ['clears a part that is not there', { clear: ['extensions.drain'] }, { rollout }, { rollout }],
    ['clears all where there are none', { clear: ['extensions'] }, undefined, undefined],
    [
      'takes the value for a part that is also cleared',
      { clear: ['extensions'], extensions: twoHours },
      { autoscaling, rollout },
      twoHours,
    ],
    ['clears autoscaling and not its extensions', { clear: ['autoscaling'] }, { autoscaling }, { autoscaling }],
  ])('%s', (_, patch, before, after) => {
    const active = aDefinition(before ? { extensions: before } : {});
    const copy = structuredClone(active);
    const patched = patchDefinition(active, patch);
    expect(patched.extensions).toEqual(after);
    expect('extensions' in patched).toBe(after !== undefined);
    expect(active).toEqual(copy);
  });

  test('moves a scheduler from one port range to ranges of its ports, which v10 cannot', () => {
    const ports = [aPort({ hostPortRange: { start: 1, end: 2 } })];
    const patched = patchDefinition(aDefinition(), { clear: ['portRange'], spec: { containers: [{ ports }] } });
    expect(definitionChanges(aDefinition(), patched).map(({ path }) => path)).toEqual([
      'portRange',
      'spec.containers[0].ports[0].hostPortRange',
    ]);
  });

  test.each(clearablePaths.map((path) => path.replace('N', '1')))('can clear %s', (path) => {
    const active = two({ ...annotated, extensions: fullExtensions() });
    expect(definitionChanges(active, patchDefinition(active, { clear: [path] }))).not.toEqual([]);
  });

  test.each([
    ...['', 'labels.team', 'Forwarders', 'spec', 'spec.containers', 'spec.containers[]', 'spec.containers[01]'],
    ...['spec.containers[-1]', 'spec.containers[0].image', 'spec.containers[0].toString', 'spec.containers[0].'],
    ...['spec.containers[0].ports[0]', ' forwarders', 'constructor'],
  ])('refuses to clear %j, and says what can be cleared', (path) => {
    expect(() => patchDefinition(two(), { clear: [path] })).toThrow(
      expect.objectContaining({
        kind: 'invalid_argument',
        code: 'scheduler.invalid_clear',
        message: `cannot clear "${path}"; what can be cleared: ${clearablePaths.join(', ')}`,
      }),
    );
  });

  test.each(['spec.containers[2]', 'spec.containers[2].ports', 'spec.containers[999999999]'])(
    'refuses to clear %s of two containers, even if the patch appends a third',
    (path) => {
      expect(() => patchDefinition(two(), { clear: [path], spec: { containers: [{}, {}, third] } })).toThrow(
        expect.objectContaining({
          code: 'scheduler.invalid_clear',
          message: `cannot clear "${path}"; N must be below 2, the number of containers in the active version`,
        }),
      );
    },
  );
});
