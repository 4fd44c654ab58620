/** A scheduler is a game's recipe for its rooms. Source of fields and limits: Maestro v10's `api.v1.Scheduler`. */

/**
 * v10's words. `terminating` is shown from the moment a deletion is accepted. v10 never sets `on-error`: it is stored where a creation
 * failed and could not be undone, and shown where no room comes up (`shown-state.ts`).
 */
export type SchedulerState = 'creating' | 'in-sync' | 'terminating' | 'on-error';

/** Inclusive on both ends. */
export interface PortRange {
  start: number;
  end: number;
}

export interface ContainerPort {
  name: string;
  /** `tcp`, `udp` or `sctp`, lower case. */
  protocol: string;
  /** The port inside the container. */
  port: number;
  /** Stored and echoed as v10 does; the host port that a room really gets is drawn when the room is created. */
  hostPort: number;
  hostPortRange?: PortRange;
}

export interface ContainerEnvironment {
  name: string;
  value?: string;
  valueFrom?: {
    fieldRef?: { fieldPath: string };
    secretKeyRef?: { name: string; key: string };
  };
}

/** Kubernetes quantities, as typed (`100m`, `64Mi`). */
export interface ContainerResources {
  memory: string;
  cpu: string;
}

export interface Container {
  name: string;
  image: string;
  imagePullPolicy: string;
  command: string[];
  environment: ContainerEnvironment[];
  requests: ContainerResources;
  limits: ContainerResources;
  ports: ContainerPort[];
}

export interface Spec {
  /** Nanoseconds, because v10 accepts and echoes fractions of a second down to one nanosecond. */
  terminationGracePeriodNs: number;
  containers: Container[];
  toleration: string;
  affinity: string;
  restartPolicy: string;
}

export interface RoomOccupancyParameters {
  /** Share of slots that should be free, 0 < x < 1, as the decimal that the user typed. */
  readyTarget: number;
  /** 0 < x < 1; default 0.99. */
  downThreshold: number;
}

export interface FixedBufferParameters {
  /** Rooms to keep free on top of those in use, > 0. */
  amount: number;
}

export interface AutoscalingPolicy {
  type: string;
  parameters: {
    roomOccupancy?: RoomOccupancyParameters;
    fixedBuffer?: FixedBufferParameters;
  };
}

/** A time that comes again, and what is wanted while it lasts. */
export interface ScheduleWindow {
  /** When it begins: five fields, minutes to days of the week (`0 18 * * 5`). */
  cron: string;
  /** Name of the IANA time zone in which the cron expression is read (`Europe/Berlin`); `UTC` where nothing was said. */
  timezone: string;
  /** How long it lasts, 1 s to 31 days. */
  durationSeconds: number;
  /** At least so many rooms; 0: nothing is said. */
  min: number;
  /** At least so many free rooms on top of those in use; 0: nothing is said. */
  buffer: number;
}

/** A policy of one of our own types, or of v10's; inside a policy that is made of others. */
export interface NestedPolicy {
  type: string;
  roomOccupancy?: RoomOccupancyParameters;
  fixedBuffer?: FixedBufferParameters;
  schedule?: ScheduleParameters;
  webhook?: WebhookParameters;
}

/** Raises what a base policy says while one of its windows is open. */
export interface ScheduleParameters {
  windows: ScheduleWindow[];
  /** What holds outside of the windows too. Without one, the policy says nothing there. */
  base?: NestedPolicy;
}

/** Asks a service of the game how many rooms there should be. */
export interface WebhookParameters {
  url: string;
  /** How long the answer may take, milliseconds. */
  timeoutMs: number;
  /** How long a last good answer holds when none comes, seconds. Past it, the scheduler's replicas hold. */
  maxAnswerAgeSeconds: number;
}

/** The first policy that says something holds. */
export interface ChainParameters {
  policies: NestedPolicy[];
}

/** What v10's messages have no field for. Only what was set is there. */
export interface SchedulerExtensions {
  autoscaling?: {
    /** Parameters of the policy types `schedule`, `webhook` and `chain`. */
    schedule?: ScheduleParameters;
    webhook?: WebhookParameters;
    chain?: ChainParameters;
    /** A scale-up waits until it was wanted for so long; 0 or nothing: at once. */
    scaleUpStabilizationSeconds?: number;
    /** A scale-down goes no further than the most that was wanted within so long; 0 or nothing: at once. */
    scaleDownStabilizationSeconds?: number;
  };
  rollout?: {
    /** Whether rooms that keep failing end a rollout and bring the previous version back; default: they do. */
    automaticRollback?: boolean;
    /** Share of the new version's rooms, 0 < x <= 1, as the decimal that the user typed, whose failure ends the rollout; default 0.5. */
    failureShare?: number;
    /** How far back failures count, seconds; default 600. */
    failureWindowSeconds?: number;
  };
  drain?: {
    /** How long a draining room may keep its match, seconds; nothing: as long as the match lasts. */
    deadlineSeconds?: number;
  };
}

export interface Autoscaling {
  enabled: boolean;
  min: number;
  /** -1 means without limit. */
  max: number;
  /** Seconds between two scale-downs. */
  cooldown: number;
  policy: AutoscalingPolicy;
}

export interface Forwarder {
  name: string;
  enabled: boolean;
  type: string;
  address: string;
  options: { timeoutMs: number; metadata: Record<string, unknown> };
}

/** What a version of a scheduler says: everything a client can set, less the scheduler's name. */
export interface SchedulerDefinition {
  game: string;
  spec: Spec;
  autoscaling?: Autoscaling;
  portRange?: PortRange;
  roomsReplicas: number;
  /** `"5"` or `"25%"`. */
  maxSurge: string;
  forwarders: Forwarder[];
  annotations: Record<string, string>;
  labels: Record<string, string>;
  matchAllocation: { maxMatches: number };
  extensions?: SchedulerExtensions;
}

/** A scheduler with its active version. */
export interface Scheduler {
  name: string;
  state: SchedulerState;
  /** The active version, `v1.0.0`. */
  version: string;
  /** The version that was active when the active one was made; empty for the first. */
  rollbackVersion: string;
  createdAt: Date;
  /** When the active version was made. */
  versionCreatedAt: Date;
  lastDownscaleAt: Date | null;
  definition: SchedulerDefinition;
}

export interface SchedulerVersion {
  version: string;
  isActive: boolean;
  createdAt: Date;
}

/** The version that every scheduler starts with. */
export const firstVersion = 'v1.0.0';
