import fc from 'fast-check';
import { isDeepStrictEqual } from 'node:util';
import { definitionChanges } from './definition-changes';
import { bumpOf } from './next-version';
import { isEmptyPatch, patchDefinition, type DefinitionPatch } from './patch-definition';
import type {
  Autoscaling,
  Container,
  ContainerEnvironment,
  Forwarder,
  PortRange,
  SchedulerDefinition,
  SchedulerExtensions,
} from './scheduler';
import { fromV10Entity, toV10Entity } from './scheduler-entity';
import { extensionsField, keepExtensions } from './scheduler-extensions';

// Properties that hold of several of the functions on definitions together. Small alphabets, so that values often coincide.

const word = fc.constantFrom('a', 'b', 'c', 'constructor');
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
/** Without `-0`, which JSON does not know. */
const json = fc.jsonValue({ maxDepth: 2 }).map((value): unknown => JSON.parse(JSON.stringify(value)));
const textMap = fc.dictionary(fc.oneof(word, fc.string(), fc.constant('__proto__')), word, { maxKeys: 3 });
const portRange: fc.Arbitrary<PortRange> = fc.record({ start: fc.nat(9), end: fc.nat(9) });
const share = fc.constantFrom(0.1, 0.3, 0.5, 0.99, 0.123456);

const environment: fc.Arbitrary<ContainerEnvironment> = fc.oneof(
  fc.record({ name: word, value: fc.constantFrom('', 'x', 'y') }),
  fc.record({ name: word, valueFrom: fc.record({ fieldRef: fc.record({ fieldPath: word }) }) }),
  fc.record({ name: word, valueFrom: fc.record({ secretKeyRef: fc.record({ name: word, key: word }) }) }),
);
const resources = fc.record({ memory: fc.constantFrom('1Mi', '2Mi'), cpu: fc.constantFrom('1m', '2m') });
const port = fc
  .record({
    name: word,
    protocol: fc.constantFrom('tcp', 'udp'),
    port: fc.nat(3),
    hostPort: fc.nat(2),
    range: maybe(portRange),
  })
  .map(({ range, ...fields }) => ({ ...fields, ...(range ? { hostPortRange: range } : {}) }));
const container: fc.Arbitrary<Container> = fc.record({
  name: word,
  image: word,
  imagePullPolicy: word,
  command: fc.array(word, { maxLength: 2 }),
  environment: fc.array(environment, { maxLength: 3 }),
  requests: resources,
  limits: resources,
  ports: fc.array(port, { maxLength: 3 }),
});
const autoscaling: fc.Arbitrary<Autoscaling> = fc.record({
  enabled: fc.boolean(),
  min: fc.nat(3),
  max: fc.integer({ min: -1, max: 3 }),
  cooldown: fc.nat(3),
  policy: fc.oneof(
    fc.record({ type: word, parameters: fc.record({ fixedBuffer: fc.record({ amount: fc.nat(3) }) }) }),
    fc.record({
      type: word,
      parameters: fc.record({ roomOccupancy: fc.record({ readyTarget: share, downThreshold: share }) }),
    }),
  ),
});
const forwarder: fc.Arbitrary<Forwarder> = fc.record({
  name: word,
  enabled: fc.boolean(),
  type: word,
  address: word,
  options: fc.record({ timeoutMs: fc.nat(3), metadata: fc.dictionary(word, json, { maxKeys: 2 }) }),
});
const spec = {
  terminationGracePeriodNs: fc.nat(3),
  containers: fc.array(container, { maxLength: 3 }),
  toleration: fc.constantFrom('', 'x'),
  affinity: fc.constantFrom('', 'x'),
};
const fields = {
  roomsReplicas: fc.nat(3),
  maxSurge: fc.constantFrom('1', '10%'),
  forwarders: fc.array(forwarder, { maxLength: 3 }),
  annotations: textMap,
  labels: textMap,
  matchAllocation: fc.record({ maxMatches: fc.integer({ min: 1, max: 3 }) }),
};
const windows = fc.array(
  fc.record({
    cron: fc.constantFrom('* * * * *', '0 0 * * *'),
    timezone: fc.constantFrom('UTC', 'Asia/Tokyo'),
    durationSeconds: fc.nat(2),
    min: fc.nat(2),
    buffer: fc.nat(2),
  }),
  { maxLength: 2 },
);
const policy = fc.record({ type: word, fixedBuffer: fc.record({ amount: fc.nat(3) }) });
/** Parts that say nothing are left out, as definitions have them; a patch may have them. */
const part = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(fields, { requiredKeys: [] });
const extensionParts = {
  autoscaling: part({
    schedule: fc.record({ windows }),
    chain: fc.record({ policies: fc.array(policy, { maxLength: 2 }) }),
    scaleUpStabilizationSeconds: fc.nat(2),
  }),
  rollout: part({ automaticRollback: fc.boolean(), failureShare: share }),
  drain: part({ deadlineSeconds: fc.nat(2) }),
};
const extensions: fc.Arbitrary<SchedulerExtensions> = part(extensionParts);
const definition: fc.Arbitrary<SchedulerDefinition> = fc
  .record({
    game: word,
    spec: fc.record({ ...spec, restartPolicy: fc.constantFrom('Never', 'Always') }),
    scaling: maybe(autoscaling),
    range: maybe(portRange),
    ours: extensions,
    ...fields,
  })
  .map(({ scaling, range, ours, ...rest }) => ({
    ...rest,
    ...extensionsField(ours),
    ...(scaling ? { autoscaling: scaling } : {}),
    ...(range ? { portRange: range } : {}),
  }));

/** What v10's entity can say. */
const ofV10 = definition.map((one) => keepExtensions({ ...one, extensions: {} }, undefined));

const copy = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

/** The same definition with every empty list, map and text left out, as another program may have stored it. */
function withoutEmpties(value: SchedulerDefinition): SchedulerDefinition {
  const sparse = copy(value) as unknown as Record<string, Record<string, unknown>>;
  const prune = (object: Record<string, unknown>, ...keys: string[]): void => {
    for (const key of keys) {
      const found = object[key];
      if (found === '' || found === 'Never' || (typeof found === 'object' && Object.keys(found!).length === 0)) {
        delete object[key];
      }
    }
  };
  for (const each of sparse.spec!.containers as Record<string, unknown>[]) {
    for (const variable of each.environment as Record<string, unknown>[]) prune(variable, 'value');
    prune(each, 'command', 'environment', 'ports');
  }
  for (const each of sparse.forwarders as unknown as { options: Record<string, unknown> }[]) {
    prune(each.options, 'metadata');
  }
  prune(sparse.spec!, 'toleration', 'affinity', 'restartPolicy');
  prune(sparse, 'forwarders', 'annotations', 'labels');
  return sparse as unknown as SchedulerDefinition;
}

describe('definitions', () => {
  test('that are equal never bump, copied, stored by another program or read from a v10 entity', () => {
    fc.assert(
      fc.property(ofV10, (one) => {
        const entity = copy(
          toV10Entity({
            name: 'fleet',
            state: 'in-sync',
            version: 'v1.0.0',
            rollbackVersion: '',
            createdAt: null,
            lastDownscaleAt: null,
            definition: one,
          }),
        );
        for (const other of [one, copy(one), withoutEmpties(one), fromV10Entity(entity).definition]) {
          expect(definitionChanges(one, other)).toEqual([]);
          expect(definitionChanges(other, one)).toEqual([]);
        }
        expect(bumpOf(definitionChanges(one, copy(one)))).toBe('none');
      }),
    );
  });

  test('survive a v10 entity unchanged', () => {
    fc.assert(
      fc.property(ofV10, (one) => {
        const scheduler = {
          name: 'fleet',
          state: 'creating' as const,
          version: 'v2.0.0',
          rollbackVersion: 'v1.0.0',
          createdAt: new Date(1_714_557_600_123),
          lastDownscaleAt: new Date(0),
          definition: one,
        };
        expect(fromV10Entity(copy(toV10Entity(scheduler)))).toEqual(scheduler);
      }),
    );
  });

  test('that differ have as many changes, as far-reaching, in both directions', () => {
    fc.assert(
      fc.property(definition, definition, (one, other) => {
        const [there, back] = [definitionChanges(one, other), definitionChanges(other, one)];
        expect(bumpOf(there)).toBe(bumpOf(back));
        expect(there.length).toBe(back.length);
        for (const { from, to } of there) expect(isDeepStrictEqual(from, to)).toBe(false);
        expect(copy(there)).toEqual(there);
      }),
    );
  });

  test('change nothing by a patch of their own values', () => {
    fc.assert(
      fc.property(definition, (active) => {
        const patch: Partial<SchedulerDefinition> = copy(active);
        delete patch.game;
        expect(definitionChanges(active, patchDefinition(active, patch))).toEqual([]);
      }),
    );
  });

  const patches: fc.Arbitrary<DefinitionPatch> = fc.record(
    {
      ...fields,
      autoscaling: fc.record(
        { enabled: fc.boolean(), min: fc.nat(3), max: fc.nat(3), cooldown: fc.nat(3) },
        { requiredKeys: [] },
      ),
      portRange,
      spec: fc.record(
        {
          terminationGracePeriodNs: spec.terminationGracePeriodNs,
          toleration: spec.toleration,
          containers: fc.array(fc.record({ image: word, command: fc.array(word) }, { requiredKeys: [] }), {
            maxLength: 4,
          }),
        },
        { requiredKeys: [] },
      ),
      extensions,
      clear: fc.subarray(['forwarders', 'portRange', 'autoscaling', 'extensions', 'extensions.rollout']),
    },
    { requiredKeys: [] },
  );

  test('change by a patch in exactly the fields that it makes different', () => {
    fc.assert(
      fc.property(definition, patches, (active, patch) => {
        const patched = patchDefinition(active, patch);
        const changed = new Set(definitionChanges(active, patched).map(({ path }) => /^\w+/.exec(path)?.[0]));
        const keys = Object.keys({ ...active, ...patched }) as (keyof SchedulerDefinition)[];
        const different = keys.filter(
          (key) => !isDeepStrictEqual(copy({ is: active[key] }), copy({ is: patched[key] })),
        );
        expect([...changed].sort()).toEqual([...different].sort());
        const touched = [...Object.keys(patch), ...(patch.clear ?? []).map((path) => path.split('.')[0])];
        for (const key of changed) expect(touched).toContain(key);
        if (isEmptyPatch(patch)) expect(changed.size).toBe(0);
      }),
    );
  });

  test('take every value that a patch gives them', () => {
    fc.assert(
      fc.property(definition, patches, (active, patch) => {
        const { spec: specPatch, autoscaling: scaling, forwarders } = patch;
        const patched = patchDefinition(active, patch);
        for (const key of ['roomsReplicas', 'maxSurge', 'annotations', 'labels', 'matchAllocation'] as const) {
          expect(patched[key]).toEqual(patch[key] ?? active[key]);
        }
        if (patch.portRange) expect(patched.portRange).toEqual(patch.portRange);
        for (const [key, value] of Object.entries(patch.extensions ?? {})) {
          expect(patched.extensions?.[key as keyof SchedulerExtensions] ?? {}).toEqual(value);
        }
        expect(patched.autoscaling ?? {}).toMatchObject(scaling ?? {});
        if (forwarders?.length) expect(patched.forwarders).toEqual(forwarders);
        specPatch?.containers?.forEach(({ image, command }, index) => {
          if (image !== undefined) expect(patched.spec.containers[index]?.image).toBe(image);
          if (command?.length) expect(patched.spec.containers[index]?.command).toEqual(command);
        });
      }),
    );
  });
});
