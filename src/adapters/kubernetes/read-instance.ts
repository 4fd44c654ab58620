import type { InstanceStatus, RoomPort } from '../../domain/room/room';
import { safeToEvictAnnotation } from '../../domain/scheduler/reserved-keys';
import type { RuntimeInstance } from '../../ports/runtime';
import type { ContainerState, Pod } from './kubernetes-objects';
import { matchLabel, portNamesAnnotation, validationLabel, versionLabel } from './ownership';
import { placementProblem, placementWords } from './placement-problem';

/** What a pod says of its instance; the address comes together from here and its node. */
export interface PodReading {
  instance: Omit<RuntimeInstance, 'address'>;
  /** Null until a kubelet has taken the pod: a node that only was chosen may still refuse it. */
  nodeName: string | null;
  ports: RoomPort[];
}

export function readPod(pod: Pod): PodReading {
  const { metadata = {}, spec } = pod;
  const ports = hostPorts(pod);
  const said = instanceStatus(pod);
  return {
    instance: {
      id: metadata.name ?? '',
      scheduler: metadata.namespace ?? '',
      version: metadata.labels?.[versionLabel] ?? '',
      validation: metadata.labels?.[validationLabel] === 'true',
      ...said,
      createdAtMs: Date.parse(metadata.creationTimestamp ?? '') || 0,
      // Versions are numbers that grow with every write in the cluster (KEP-5504 made a promise of what etcd always did).
      generation: Number(metadata.resourceVersion ?? 0),
      hostPorts: ports,
      placementProblem: said.status === 'pending' ? (placementProblem(pod)?.problem ?? null) : null,
      // Both, because a scheduler may keep its idle rooms from being moved as well, and whoever edits one undoes the half of it.
      isProtected:
        metadata.annotations?.[safeToEvictAnnotation] === 'false' && metadata.labels?.[matchLabel] === 'true',
    },
    nodeName: isTakenByKubelet(pod) ? (spec?.nodeName ?? null) : null,
    ports,
  };
}

/** The instance with its address, where `host` is its node's. */
export function instanceOf({ instance, ports }: PodReading, host: string | null): RuntimeInstance {
  return { ...instance, address: host === null ? null : { host, ports } };
}

function isTakenByKubelet({ status = {} }: Pod): boolean {
  const waits = (status.phase ?? 'Pending') === 'Pending' && !hasCondition(status.conditions, 'Ready', 'True');
  return !waits || status.startTime !== undefined || status.hostIP !== undefined || !!status.containerStatuses?.length;
}

function hostPorts({ metadata, spec }: Pod): RoomPort[] {
  const names = portNames(metadata?.annotations?.[portNamesAnnotation]);
  return (spec?.containers ?? []).flatMap((container) =>
    (container.ports ?? []).flatMap(({ name, protocol = 'TCP', hostPort = 0 }) => {
      if (hostPort === 0) return [];
      const upper = protocol.toUpperCase();
      return [{ name: name ?? names[`${hostPort}/${upper}`] ?? '', protocol: upper, port: hostPort }];
    }),
  );
}

function portNames(text: string | undefined): Record<string, string> {
  try {
    return (JSON.parse(text ?? '{}') ?? {}) as Record<string, string>;
  } catch {
    // Somebody edited it; the ports are right without their names.
    return {};
  }
}

type StatusAndReason = Pick<RuntimeInstance, 'status' | 'description'>;

/** First match wins: `rooms.md` 5.5. What ends a pod counts before what its containers say. */
function instanceStatus(pod: Pod): StatusAndReason {
  const { metadata, spec, status = {} } = pod;
  if (metadata?.deletionTimestamp !== undefined) return say('terminating');
  const { phase = '', conditions = [], containerStatuses = [] } = status;
  if (phase === 'Succeeded') return say('terminating', 'PodSucceeded');
  if (phase === 'Failed') return say('error', 'PodFailed', ...whyFailed(status));
  if (phase === 'Unknown') return say('error', 'PodUnknown');
  for (const { state } of containerStatuses) {
    const said = containerStatus(state, spec?.restartPolicy);
    if (said) return said;
  }
  const unplaced = placementProblem(pod);
  if (unplaced) return say('pending', 'Unschedulable', placementWords[unplaced.problem], unplaced.message);
  const unmet = conditions.find((condition) => condition.status === 'False');
  if (unmet) return say('pending', unmet.reason, unmet.message);
  if (hasCondition(conditions, 'Ready', 'True')) return say('ready');
  if (phase === 'Pending' || phase === '') return say('pending');
  if (phase === 'Running') return say('ready');
  return say('error', 'UnexpectedPodPhase', phase);
}

/**
 * Why a container does not start, in kubelet's words (`pkg/kubelet/images/types.go`, `pkg/kubelet/container/sync_result.go`).
 * v10 lacks those of configuration, creation and hooks, so that such a room was pending for ever, and it spells
 * `InvalidImageName` as its constant is called.
 */
const failingReasons: ReadonlySet<string> = new Set([
  'ErrImageNeverPull',
  'ErrImagePullBackOff',
  'ImagePullBackOff',
  'ErrInvalidImageName',
  'InvalidImageName',
  'ErrImagePull',
  'ImageInspectError',
  'RegistryUnavailable',
  'SignatureValidationFailed',
  'CreateContainerConfigError',
  'CreateContainerError',
  'PreCreateHookError',
  'PreStartHookError',
  'PostStartHookError',
  'RunContainerError',
  'CrashLoopBackOff',
  'ContainerStatusUnknown',
]);

function containerStatus(state: ContainerState | undefined, restartPolicy: string | undefined): StatusAndReason | null {
  const { waiting, terminated } = state ?? {};
  if (waiting?.reason !== undefined && failingReasons.has(waiting.reason)) {
    return say('error', waiting.reason, waiting.message);
  }
  if (!terminated) return null;
  const isDone = terminated.reason === 'Completed' || terminated.exitCode === 0;
  if (!isDone) return say('error', terminated.reason);
  // Its kubelet is about to start it again: the end of a container is not the end of the room, and terminating is for good.
  if (restartPolicy === 'Always') return say('pending', terminated.reason, 'it is started again');
  return say('terminating', terminated.reason);
}

/** The pod's own words (`Evicted: The node was low on resource: memory`), or how a container ended. */
function whyFailed({ reason, message, containerStatuses = [] }: NonNullable<Pod['status']>): (string | undefined)[] {
  if (reason !== undefined || message !== undefined) return [reason, message];
  const failed = containerStatuses.find(({ state }) => (state?.terminated?.exitCode ?? 0) !== 0);
  const ended = failed?.state?.terminated;
  if (!ended) return [];
  // `Error` says no more than the code; `OOMKilled` does.
  const why = ended.reason === undefined || ended.reason === 'Error' ? '' : ` (${ended.reason})`;
  return [`container "${failed?.name}" ended with code ${ended.exitCode}${why}`, ended.message];
}

function hasCondition(conditions: NonNullable<Pod['status']>['conditions'], type: string, status: string): boolean {
  return conditions?.some((condition) => condition.type === type && condition.status === status) ?? false;
}

function say(status: InstanceStatus, ...reasons: (string | undefined)[]): StatusAndReason {
  return { status, description: reasons.filter((reason) => reason !== undefined && reason !== '').join(': ') };
}
