import { DomainError } from '../errors';
import type {
  Autoscaling,
  Container,
  Forwarder,
  PortRange,
  SchedulerDefinition,
  SchedulerExtensions,
  Spec,
} from './scheduler';
import { extensionParts, extensionsField, patchExtensions } from './scheduler-extensions';

/** What PATCH may say of a container. An empty list says nothing: the wire cannot tell it from a missing one. */
export type ContainerPatch = Partial<Container>;

/** What PATCH may say of the spec; neither the version nor the restart policy (v10). */
export type SpecPatch = Partial<Pick<Spec, 'terminationGracePeriodNs' | 'toleration' | 'affinity'>> & {
  containers?: ContainerPatch[];
};

/**
 * What a client wants different in the active definition; whatever is undefined stays. Name, game, version and restart policy
 * cannot be patched (v10).
 */
export interface DefinitionPatch {
  /** Present but empty is a change that changes nothing: v10 makes a new minor version of it. */
  spec?: SpecPatch;
  /** Replaces the whole range. */
  portRange?: PortRange;
  maxSurge?: string;
  roomsReplicas?: number;
  /** Replaces the keys that are given, the policy as a whole; onto an empty configuration where there was none. */
  autoscaling?: Partial<Autoscaling>;
  /** Replaces the whole list; an empty list says nothing, as everywhere. */
  forwarders?: Forwarder[];
  /** Replaces the whole map; an empty map clears it. */
  annotations?: Record<string, string>;
  /** Replaces the whole map; an empty map clears it. */
  labels?: Record<string, string>;
  matchAllocation?: { maxMatches: number };
  /** Replaces each part that is given (`autoscaling`, `rollout`, `drain`) as a whole; an empty part is none any more. */
  extensions?: SchedulerExtensions;
  /**
   * Paths of what to empty or remove, which the fields above cannot say, or not on every wire (`clearablePaths`): gRPC cannot
   * tell an empty map from none. Indices are those of the active definition. Done before the fields above, so a value for the
   * same thing wins: `portRange` with a new range is the new range, `autoscaling` with keys is those keys on an empty
   * configuration. Only a removed container stays removed, whatever the patch says of it.
   */
  clear?: string[];
}

/** What `clear` may name; N is the index of a container in the active definition. */
export const clearablePaths = [
  'forwarders',
  'portRange',
  'autoscaling',
  'annotations',
  'labels',
  'spec.containers[N]',
  'spec.containers[N].command',
  'spec.containers[N].environment',
  'spec.containers[N].ports',
  'extensions',
  'extensions.autoscaling',
  'extensions.rollout',
  'extensions.drain',
] as const;

const clearableFields: readonly string[] = [
  ...['forwarders', 'portRange', 'autoscaling', 'annotations', 'labels', 'extensions'],
  ...extensionParts.map((part) => `extensions.${part}`),
];

const containerLists = ['command', 'environment', 'ports'] as const;
type ContainerList = (typeof containerLists)[number];

/** What is to be cleared, read from paths. */
interface Clearing {
  fields: Set<string>;
  /** Indices of containers to remove. */
  removed: Set<number>;
  /** Lists to empty, by index of their container. */
  lists: Map<number, Set<ContainerList>>;
}

/**
 * Whether the patch asks for nothing, which v10 refuses with `no change found`. `spec: {}`, `autoscaling: {}` and an empty map are
 * changes, empty lists are not (`management.md` 2.6), nor are extensions without a part.
 */
export function isEmptyPatch(patch: DefinitionPatch): boolean {
  const { forwarders = [], extensions = {}, clear = [], ...fields } = patch;
  const lists = [forwarders, clear, Object.values(extensions)];
  return lists.every(({ length }) => length === 0) && Object.values(fields).every((value) => value === undefined);
}

/** What v10 says of a patch that asks for nothing. */
export function noChangeFound(name: string): string {
  return `no change found to scheduler ${name}`;
}

/**
 * The active definition with the patch applied, by v10's rules (`management.md` 2.6); neither argument is changed. The result may be
 * invalid: the caller validates it as a whole.
 *
 * Containers are merged by the index that they have in the active definition, each given key as a whole; further ones are
 * appended. Containers to be removed go last, so indices mean the same throughout: with two active containers, clearing
 * `spec.containers[0]` and patching `[{}, {}, {name: 'c', …}]` leaves the second and `c`.
 *
 * @throws DomainError `scheduler.invalid_clear` (invalid_argument) for a path in `clear` that is unknown or that names a
 *   container that the active definition lacks.
 */
export function patchDefinition(active: SchedulerDefinition, patch: DefinitionPatch): SchedulerDefinition {
  const { spec = {}, forwarders = [], autoscaling: autoscalingPatch, extensions, clear = [], ...replaced } = patch;
  const { portRange: activePortRange, autoscaling: activeAutoscaling, extensions: activeExtensions, ...base } = active;
  const cleared = readClearing(clear, active.spec.containers.length);

  const { containers: containerPatches = [], ...replacedInSpec } = spec;
  const portRange = replaced.portRange ?? (cleared.fields.has('portRange') ? undefined : activePortRange);
  const keptAutoscaling = cleared.fields.has('autoscaling') ? undefined : activeAutoscaling;
  const autoscaling = autoscalingPatch
    ? { ...(keptAutoscaling ?? emptyAutoscaling), ...given(autoscalingPatch) }
    : keptAutoscaling;
  const isPartCleared = (part: string): boolean =>
    cleared.fields.has('extensions') || cleared.fields.has(`extensions.${part}`);
  return {
    ...base,
    ...(cleared.fields.has('annotations') ? { annotations: {} } : {}),
    ...(cleared.fields.has('labels') ? { labels: {} } : {}),
    ...given(replaced),
    spec: {
      ...active.spec,
      ...given(replacedInSpec),
      containers: patchContainers(active.spec.containers, containerPatches, cleared),
    },
    ...(portRange ? { portRange } : {}),
    ...(autoscaling ? { autoscaling } : {}),
    forwarders: forwarders.length > 0 ? forwarders : cleared.fields.has('forwarders') ? [] : active.forwarders,
    ...extensionsField(patchExtensions(activeExtensions, extensions, isPartCleared)),
  };
}

/** What v10 starts from: invalid until `min` and a policy are given. */
const emptyAutoscaling: Autoscaling = {
  enabled: false,
  min: 0,
  max: 0,
  cooldown: 0,
  policy: { type: '', parameters: {} },
};

/** What a container is that says nothing; validation then names what it lacks. */
const emptyContainer: Container = {
  name: '',
  image: '',
  imagePullPolicy: '',
  command: [],
  environment: [],
  requests: { memory: '', cpu: '' },
  limits: { memory: '', cpu: '' },
  ports: [],
};

function patchContainers(active: Container[], patches: ContainerPatch[], { removed, lists }: Clearing): Container[] {
  const length = Math.max(active.length, patches.length);
  return Array.from({ length }, (_, index) => ({
    ...(active[index] ?? emptyContainer),
    ...Object.fromEntries([...(lists.get(index) ?? [])].map((list) => [list, []])),
    ...givenInContainer(patches[index] ?? {}),
  })).filter((_, index) => !removed.has(index));
}

function givenInContainer(patch: ContainerPatch): ContainerPatch {
  const entries = Object.entries(given(patch)).filter(([, value]) => !Array.isArray(value) || value.length > 0);
  return Object.fromEntries(entries);
}

/** Without undefined fields, which would overwrite. */
function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function readClearing(paths: readonly string[], containerCount: number): Clearing {
  const clearing: Clearing = { fields: new Set(), removed: new Set(), lists: new Map() };
  for (const path of paths) {
    const [isContainer, digits = '', list] = /^spec\.containers\[(0|[1-9]\d{0,8})\](?:\.(\w+))?$/.exec(path) ?? [];
    const index = Number(digits);
    const containerList = containerLists.find((name) => name === list);
    if (clearableFields.includes(path)) {
      clearing.fields.add(path);
    } else if (!isContainer || (list !== undefined && !containerList)) {
      throw invalidClear(path, `what can be cleared: ${clearablePaths.join(', ')}`);
    } else if (index >= containerCount) {
      throw invalidClear(path, `N must be below ${containerCount}, the number of containers in the active version`);
    } else if (containerList) {
      clearing.lists.set(index, (clearing.lists.get(index) ?? new Set()).add(containerList));
    } else {
      clearing.removed.add(index);
    }
  }
  return clearing;
}

function invalidClear(path: string, wayOut: string): DomainError {
  return new DomainError('invalid_argument', 'scheduler.invalid_clear', `cannot clear "${path}"; ${wayOut}`, {
    details: { path, allowed: clearablePaths },
  });
}
