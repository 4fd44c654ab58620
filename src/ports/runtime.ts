import type { ContainerEnvironment } from '../domain/scheduler/scheduler';
import type { Instance, RoomPort } from '../domain/room/room';
import type { RemovalReason } from '../domain/operation/operation';

/** A container of an instance, with its host ports drawn. */
export interface InstanceContainer {
  name: string;
  image: string;
  imagePullPolicy: string;
  command: string[];
  /** The user's variables in order; the runtime appends its own after them, which therefore win. */
  environment: ContainerEnvironment[];
  requests: { memory: string; cpu: string };
  limits: { memory: string; cpu: string };
  ports: { name: string; protocol: string; port: number; hostPort: number }[];
}

/** Everything a runtime needs to start one instance. */
export interface InstanceSpec {
  /** The room's id; unique within the runtime. */
  id: string;
  scheduler: string;
  version: string;
  validation: boolean;
  containers: InstanceContainer[];
  terminationGracePeriodMs: number;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  toleration: string;
  affinity: string;
  restartPolicy: string;
  /** The operation that asked for it, kept with the instance so that a resumed operation can count what exists. */
  operationId: string | null;
}

/** Why a runtime with several machines finds none for an instance. */
export type PlacementProblem = 'host_ports' | 'resources' | 'placement';

/** What a runtime says of an instance, beyond what is kept of it in room state. */
export interface RuntimeInstance extends Instance {
  /** The host ports that it holds, also before it is known on which host. */
  hostPorts: RoomPort[];
  /** Null when it has a machine, or is not known to lack one. */
  placementProblem: PlacementProblem | null;
  /** Whether the runtime is told not to move it; null where nothing is ever moved. */
  isProtected: boolean | null;
  /** Absent while it ends by itself, or not at all. */
  ending?: InstanceEnding;
}

/**
 * How somebody, who may be this Maestro, brought about the end of an instance.
 * `deleted`: it was asked to end; `description` says who asked where the runtime knows.
 * `disowned`: it may well run, but is marked as this Maestro's no more, and is nothing to it. Said only of what is `gone`.
 */
export type InstanceEnding = 'deleted' | 'disowned';

/**
 * What becomes of the place of a scheduler that is deleted. `left`: why it stays, as a sentence for the history: not all that is
 * in it is ours. The instances in it end all the same.
 */
export type SchedulerRemoval = 'deleting' | 'not_found' | { left: string };

export type InstanceChange =
  /** The instance exists and looks like this (added or updated). */
  | { type: 'present'; instance: RuntimeInstance }
  /** It is gone for good. `instance` is what was last known of it. */
  | { type: 'gone'; instance: RuntimeInstance };

export interface InstanceWatcher {
  /** The whole truth at one moment: first of each watch session, and again after each gap. Awaited before further changes. */
  onList(instances: RuntimeInstance[]): Promise<void>;
  /** In order for one instance. Awaited only per instance: changes of different instances may overlap. */
  onChange(change: InstanceChange): Promise<void>;
}

/**
 * What runs the instances: Kubernetes, or processes of this machine.
 *
 * Promises: calls are idempotent where they say so; nothing that does not carry our installation's id is touched; every
 * call ends within its own deadline with an answer or a `DomainError` of kind `unavailable` (try again), `permission_denied`
 * (`runtime.forbidden`: this process may not do this, another one may be allowed to), `invalid_argument` (the spec can never
 * run: do not try again) or the codes named below. `runtime.unauthenticated` (unavailable): it does not know this process at all,
 * or there are no credentials to ask with.
 * Not in here: how many rooms there should be, room state, ports' choice, retries of an operation.
 */
export abstract class Runtime {
  /** The runtime's name for humans and log lines: `local`, `kubernetes`. */
  abstract readonly kind: string;

  /** What the place of a scheduler is called there, for humans: `namespace`. */
  abstract readonly placeWord: string;

  /**
   * Makes the place where a scheduler's instances live (a namespace, a folder).
   * `owner` is stored with it: the same owner again is `already_ours` (a resumed operation), another one is refused.
   * A place that `deleteScheduler` left standing is taken up again.
   * @throws DomainError `runtime.scheduler_exists` (already_exists) when the place exists and belongs to someone else.
   */
  abstract createScheduler(name: string, owner: string): Promise<'created' | 'already_ours'>;

  /**
   * Makes the place again where it is gone, as `createScheduler` does. `there`: it stands and is ours, whoever made it.
   * @throws DomainError `runtime.scheduler_being_deleted` (unavailable) while a place of this name goes.
   * @throws DomainError `runtime.scheduler_exists` (already_exists) when the place exists and is not ours.
   */
  abstract ensureScheduler(name: string, owner: string): Promise<'created' | 'there'>;

  /**
   * Begins to remove the place and everything in it, each instance with its grace period. Idempotent; does not wait.
   * A place that is not ours alone is `left` standing, and is ours no more.
   * `owner`, when given, must match: a roll-back must not remove what someone else made.
   */
  abstract deleteScheduler(name: string, owner?: string): Promise<SchedulerRemoval>;

  /**
   * Starts an instance and answers what is known of it right then (usually `pending`, without address).
   * @throws DomainError `runtime.instance_exists` (already_exists) when an instance with this id exists.
   * @throws DomainError `runtime.host_port_taken` (resource_exhausted) when a drawn host port is in use: draw again.
   *         `details.ports` lists the numbers.
   * @throws DomainError `runtime.scheduler_not_found` (not_found) when the scheduler has no place (`ensureScheduler`), or it goes.
   */
  abstract createInstance(spec: InstanceSpec): Promise<RuntimeInstance>;

  /** Begins to end an instance with its grace period. Idempotent; the end is seen through the watch. */
  abstract deleteInstance(scheduler: string, id: string, reason: RemovalReason): Promise<'deleting' | 'not_found'>;

  /** What exists now, of one scheduler or of all. */
  abstract listInstances(scheduler?: string): Promise<RuntimeInstance[]>;

  /**
   * Follows all instances until `signal` aborts: a list, then changes, then after each gap a new list. Reconnects by itself
   * with back-off and resolves when aborted; it rejects only when it can never work.
   */
  abstract watchInstances(watcher: InstanceWatcher, signal: AbortSignal): Promise<void>;

  /**
   * How many machines could run instances of this kind, at least 1: so often may a host port be given, because no machine
   * takes two instances with the same one.
   */
  abstract countHosts(placement: Pick<InstanceSpec, 'affinity' | 'toleration'>): Promise<number>;

  /**
   * Names the machines that could run instances of this kind, so that those of one name are counted together: `countHosts` is
   * the same for them. Different names may share machines. Empty where every instance may use the same; else it reads after "rooms with".
   */
  abstract poolOf(placement: Pick<InstanceSpec, 'affinity' | 'toleration'>): string;

  /** Whether instances may be moved to other machines, so that those with a match need protection. */
  abstract readonly movesInstances: boolean;

  /**
   * Tells the runtime whether this instance may be moved (by a cluster autoscaler, a drain of its node). Idempotent.
   * `not_found` also for what is not ours.
   */
  abstract protectInstance(scheduler: string, id: string, isProtected: boolean): Promise<'done' | 'not_found'>;

  /** Tells the runtime that at least so many protected instances of a scheduler must stay up (a disruption budget). Idempotent. */
  abstract setDisruptionBudget(scheduler: string, protectedInstances: number): Promise<void>;

  /** Lets go of connections. Instances keep running. */
  abstract close(): Promise<void>;
}
