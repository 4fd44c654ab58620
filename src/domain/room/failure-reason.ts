import type { Instance } from './room';

/** Why instances fail, in words that are few enough for a label of a metric. */
export const failureReasons = [
  /** Its image cannot be had. */
  'image_pull',
  /** Its container cannot be made or started as its definition says. */
  'config',
  /** It ends again and again, and the runtime starts it anew, with pauses. */
  'crash_loop',
  'oom_killed',
  /** It ended by itself, or by a signal. */
  'exit',
  /** Its machine needed the room, or was drained. */
  'evicted',
  /** Its machine is gone, or says nothing any more. */
  'node_lost',
  /** No machine has its host ports free, what it requests, or fits what it wants of a machine. */
  'unschedulable_host_ports',
  'unschedulable_resources',
  'unschedulable_placement',
  'other',
] as const;
export type FailureReason = (typeof failureReasons)[number];

/**
 * Words of runtimes with what they mean. Kubelet's: `pkg/kubelet/images/types.go`, `pkg/kubelet/container/sync_result.go`,
 * `pkg/kubelet/eviction`, `pkg/kubelet/lifecycle/predicate.go` (what a node refuses that a scheduler had chosen),
 * `pkg/kubelet/nodeshutdown`. The local runtime's are sentences: `container "room" exited with code 1`.
 */
const words: readonly (readonly [RegExp, FailureReason])[] = [
  [/^(ErrImage|ImagePullBackOff|InvalidImageName|ErrInvalidImageName|ImageInspectError)/, 'image_pull'],
  [/^(RegistryUnavailable|SignatureValidationFailed)/, 'image_pull'],
  [/^(CreateContainer(Config)?Error|RunContainerError|(PreCreate|PreStart|PostStart)HookError)/, 'config'],
  [/^(ContainerCannotRun|StartError)/, 'config'],
  [/^CrashLoopBackOff/, 'crash_loop'],
  [/\bOOMKilled\b/, 'oom_killed'],
  [/^PodFailed: (Evicted|Preempting|Preempted|DisruptionTarget)\b/, 'evicted'],
  [/^PodFailed: (NodeLost|NodeShutdown|Shutdown|Terminated)\b/, 'node_lost'],
  [/^(PodUnknown|ContainerStatusUnknown)/, 'node_lost'],
  [/^PodFailed: (NodePorts|PodFitsHostPorts)\b/, 'unschedulable_host_ports'],
  [/^PodFailed: OutOf\w+/, 'unschedulable_resources'],
  [/^PodFailed: (NodeAffinity|MatchNodeSelector|TaintToleration|NodeName)\b/, 'unschedulable_placement'],
  [/\b(exited with code|ended with code|killed by)\b/, 'exit'],
  [/^Error$/, 'exit'],
];

/**
 * Why an instance failed, from what the runtime says of it; null when it did not. One that waits for a machine and is known to
 * find none has failed in this sense too, though it may yet get one.
 */
export function failureReason({
  status,
  description,
  placementProblem,
}: Pick<Instance, 'status' | 'description'> & {
  placementProblem: 'host_ports' | 'resources' | 'placement' | null;
}): FailureReason | null {
  if (status === 'pending' && placementProblem !== null) return `unschedulable_${placementProblem}`;
  if (status !== 'error') return null;
  return words.find(([word]) => word.test(description))?.[1] ?? 'other';
}
