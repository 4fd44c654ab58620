import { printContainerEnd } from '../../domain/room/print-container-end';
import type { ContainerEnd, InstanceRestarts, InstanceStatus, RoomPort } from '../../domain/room/room';
import { safeToEvictAnnotation } from '../../domain/scheduler/reserved-keys';
import type { RuntimeInstance } from '../../ports/runtime';
import type { ContainerStatus, Pod } from './kubernetes-objects';
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
  const restarts = restartsOf(pod);
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
      ...(restarts === null ? {} : { restarts }),
      ...(isBeingDeleted(pod) && !hasEnded(pod) ? { ending: 'deleted' as const } : {}),
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
  const { spec, status = {} } = pod;
  if (isBeingDeleted(pod)) return say('terminating', ...whyDisrupted(pod));
  const { phase = '', conditions = [], containerStatuses = [] } = status;
  if (phase === 'Succeeded') return say('terminating', 'PodSucceeded');
  if (phase === 'Failed') return say('error', 'PodFailed', ...whyFailed(pod));
  if (phase === 'Unknown') return say('error', 'PodUnknown');
  for (const container of containerStatuses) {
    const said = containerStatus(container, spec?.restartPolicy);
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

function containerStatus(container: ContainerStatus, restartPolicy: string | undefined): StatusAndReason | null {
  const { waiting, terminated } = container.state ?? {};
  if (waiting?.reason !== undefined && failingReasons.has(waiting.reason)) {
    // Kubelet's own message says only for how long it waits, and never why.
    const lastEnd = waiting.reason === 'CrashLoopBackOff' ? endOf(container, container.lastState) : null;
    return say('error', waiting.reason, ...(lastEnd === null ? [] : [printContainerEnd(lastEnd)]), waiting.message);
  }
  if (!terminated) return null;
  const isDone = terminated.reason === 'Completed' || terminated.exitCode === 0;
  // Its kubelet is about to start it again: the end of a container is not the end of the room, and terminating is for good. One
  // that fails again and again is told as that, by a back-off.
  if (restartPolicy === 'Always' || (restartPolicy === 'OnFailure' && !isDone)) {
    const end = isDone ? undefined : endOf(container, container.state);
    return say('pending', terminated.reason, end ? printContainerEnd(end) : '', 'it is started again');
  }
  return isDone ? say('terminating', terminated.reason) : say('error', terminated.reason);
}

/** The pod's own words (`Evicted: The node was low on resource: memory`), who ended it, or how a container ended. */
function whyFailed(pod: Pod): (string | undefined)[] {
  const { reason, message, containerStatuses = [] } = pod.status ?? {};
  if (reason !== undefined || message !== undefined) return [reason, message];
  const disrupted = whyDisrupted(pod);
  if (disrupted.length > 0) return disrupted;
  const failed = containerStatuses.find(({ state }) => (state?.terminated?.exitCode ?? 0) !== 0);
  const end = failed && endOf(failed, failed.state);
  return end ? [printContainerEnd(end), failed.state?.terminated?.message] : [];
}

/**
 * Reasons of the condition `DisruptionTarget`, which who ends a pod from outside writes before that, since Kubernetes 1.26
 * (https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions).
 */
const disruptionWords: Readonly<Record<string, string>> = {
  EvictionByEvictionAPI: 'somebody asked for it to be evicted, as a drain of its node does',
  PreemptionByScheduler: 'a pod of higher priority takes its place',
  DeletionByTaintManager: 'its node was tainted',
  DeletionByPodGC: 'its node is gone',
  TerminationByKubelet: 'its node needs the room, or shuts down',
};

function whyDisrupted({ status = {} }: Pod): (string | undefined)[] {
  const told = status.conditions?.find(({ type, status: state }) => type === 'DisruptionTarget' && state === 'True');
  if (told === undefined) return [];
  const words = disruptionWords[told.reason ?? ''] ?? 'somebody ends it';
  return [`evicted: ${words}`, told.reason, told.message];
}

function isBeingDeleted({ metadata }: Pod): boolean {
  return metadata?.deletionTimestamp !== undefined;
}

/** Whoever deletes it then only tidies up. */
function hasEnded({ status = {} }: Pod): boolean {
  return status.phase === 'Succeeded' || status.phase === 'Failed';
}

/** Null while no container was started again. */
function restartsOf({ status = {} }: Pod): InstanceRestarts | null {
  const { containerStatuses = [] } = status;
  const count = containerStatuses.reduce((sum, { restartCount = 0 }) => sum + restartCount, 0);
  if (count === 0) return null;
  const ends = containerStatuses.flatMap((container) => endOf(container, container.lastState) ?? []);
  ends.sort((a, b) => (b.atMs ?? 0) - (a.atMs ?? 0));
  return { count, lastEnd: ends[0] ?? null };
}

function endOf({ name }: ContainerStatus, state: ContainerStatus['state']): ContainerEnd | null {
  const { terminated } = state ?? {};
  if (terminated === undefined) return null;
  const { exitCode = 0, reason = '', finishedAt = '' } = terminated;
  return { container: name, exitCode, reason, atMs: Date.parse(finishedAt) || null };
}

function hasCondition(conditions: NonNullable<Pod['status']>['conditions'], type: string, status: string): boolean {
  return conditions?.some((condition) => condition.type === type && condition.status === status) ?? false;
}

function say(status: InstanceStatus, ...reasons: (string | undefined)[]): StatusAndReason {
  return { status, description: reasons.filter((reason) => reason !== undefined && reason !== '').join(': ') };
}
