import type { Instance, InstanceRestarts } from './room';

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
  /** Somebody other than Maestro deleted it. */
  'deleted',
  /** Somebody took the mark off it by which it was this Maestro's. */
  'disowned',
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
  // Before the loop: what a container does again and again says more than that it does.
  [/^(OOMKilled\b|((PodFailed|CrashLoopBackOff): )?container "[^"]*" ended with code \d+ \(OOMKilled\))/, 'oom_killed'],
  [/^CrashLoopBackOff/, 'crash_loop'],
  [/^PodFailed: (Evicted|Preempting|Preempted|DisruptionTarget)\b/, 'evicted'],
  [/^PodFailed: (NodeLost|NodeShutdown|Shutdown|Terminated)\b/, 'node_lost'],
  [/^(PodUnknown|ContainerStatusUnknown)/, 'node_lost'],
  [/^(PodFailed: )?evicted: its node is gone\b/, 'node_lost'],
  [/^(PodFailed: )?evicted: /, 'evicted'],
  [/^PodFailed: (NodePorts|PodFitsHostPorts)\b/, 'unschedulable_host_ports'],
  [/^PodFailed: OutOf\w+/, 'unschedulable_resources'],
  [/^PodFailed: (NodeAffinity|MatchNodeSelector|TaintToleration|NodeName)\b/, 'unschedulable_placement'],
  [/\b(exited with code|ended with code|killed by)\b/, 'exit'],
  [/^Error$/, 'exit'],
];

/** What is said of an instance that was asked to end by somebody else, where nobody knows who it was. */
const deletedBySomeoneElse = 'deleted by someone else, not by this Maestro';
/** What an adapter's words on an instance that is not this Maestro's any more begin with. */
export const disownedPrefix = 'disowned: ';

/** What is said of an instance that somebody ended, should it not have been Maestro: the runtime's words where it knows more. */
export function wordsOfUnaskedEnd(description: string): string {
  return endReason(description) === null ? deletedBySomeoneElse : description;
}

const portShortages: readonly RegExp[] = [
  // What `room.host_ports_exhausted` says, and what an adapter says of an instance that no machine takes for its ports.
  /^Host port range \d+-\d+ has no /,
  /^(Unschedulable: )?no node has its host ports free\b/,
  /^PodFailed: (NodePorts|PodFitsHostPorts)\b/,
];

/** Whether a room is not there because no host port was left for it, from what is said of its end or of its failed start. */
export function lacksHostPort(description: string): boolean {
  return portShortages.some((words) => words.test(description));
}

/** Those of an end that somebody else brought about. */
const endWords: readonly (readonly [RegExp, FailureReason])[] = [
  [/^deleted by someone else\b/, 'deleted'],
  [/^disowned: /, 'disowned'],
  [/^evicted: its node is gone\b/, 'node_lost'],
  [/^evicted: /, 'evicted'],
];

/** Why an instance ended that neither failed nor was asked by Maestro to end, from what is said of that; null when it is none of that. */
export function endReason(description: string): FailureReason | null {
  return endWords.find(([word]) => word.test(description))?.[1] ?? null;
}

const outside: readonly (FailureReason | null)[] = ['evicted', 'deleted', 'disowned', 'node_lost'];

/** Whether an instance failed or ended for what lies outside of it, from what is said of that: no version is to blame. */
export function isOutsideReason(description: string): boolean {
  const reason = endReason(description) ?? failureReason({ status: 'error', description, placementProblem: null });
  return outside.includes(reason);
}

/** Why a container was started again; null when it had ended as one that is done, or nobody knows. */
export function restartReason(restarts: InstanceRestarts | undefined): FailureReason | null {
  const end = restarts?.lastEnd;
  if (!end || (end.exitCode === 0 && end.reason !== 'OOMKilled')) return null;
  return end.reason === 'OOMKilled' ? 'oom_killed' : 'exit';
}

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
