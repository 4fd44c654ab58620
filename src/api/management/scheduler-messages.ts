import { create } from '@bufbuild/protobuf';
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import { DurationSchema, timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { Duration } from '@bufbuild/protobuf/wkt';
import type { FleetCounts } from '../../domain/room/room';
import type { ContainerPatch, DefinitionPatch, SpecPatch } from '../../domain/scheduler/patch-definition';
import type {
  Autoscaling,
  AutoscalingPolicy,
  Container,
  ContainerEnvironment,
  ContainerPort,
  ContainerResources,
  Forwarder,
  PortRange,
  Scheduler,
  SchedulerDefinition,
  SchedulerVersion,
  Spec,
} from '../../domain/scheduler/scheduler';
import type {
  Autoscaling as AutoscalingMessage,
  AutoscalingPolicy as AutoscalingPolicyMessage,
  AutoscalingSchema,
  Container as ContainerMessage,
  ContainerEnvironment as ContainerEnvironmentMessage,
  ContainerEnvironmentSchema,
  ContainerPort as ContainerPortMessage,
  ContainerResources as ContainerResourcesMessage,
  ContainerSchema,
  Forwarder as ForwarderMessage,
  ForwarderSchema,
  OptionalAutoscaling as OptionalAutoscalingMessage,
  OptionalContainer as OptionalContainerMessage,
  OptionalSpec as OptionalSpecMessage,
  PortRange as PortRangeMessage,
  SchedulerInfoSchema,
  SchedulerSchema,
  SchedulerVersionSchema,
  SchedulerWithoutSpecSchema,
  Spec as SpecMessage,
  SpecSchema,
} from '../../proto/gen/api/v1/scheduler_messages_pb';
import type {
  CreateSchedulerRequest,
  NewSchedulerVersionRequest,
  PatchSchedulerRequest,
} from '../../proto/gen/api/v1/schedulers_pb';
import { malformedField } from '../http/protojson';
import { shortestFloat32 } from '../shortest-float32';
import { extensionsFromMessage, extensionsMessage } from './extension-messages';

const nanosecondsPerSecond = 1_000_000_000;

// Defaults of `management.md` 2.2.
const defaultRestartPolicy = 'Never';
const defaultDownThreshold = 0.99;
const defaultForwarderTimeoutMs = 1000;
const defaultMaxMatches = 1;

// From messages ------------------------------------------------------------------------------------------------------

/**
 * The definition that a request asks for, with v10's defaults. What the request lacks becomes an empty value that validation
 * then names, so a missing `spec` is a list of problems, not a failure here. An absent `portRange` is none for a new version
 * too, where v10 makes {0, 0} of it, which it then refuses (`management.md` 2.3).
 *
 * @throws DomainError `request.malformed` (invalid_argument) for a NUL character in any text: no database text can hold it.
 */
export function definitionFromMessage(
  message: CreateSchedulerRequest | NewSchedulerVersionRequest,
): SchedulerDefinition {
  return withoutNul<SchedulerDefinition>({
    game: message.game,
    spec: specFromMessage(message.spec),
    ...(message.autoscaling ? { autoscaling: autoscalingFromMessage(message.autoscaling) } : {}),
    ...(message.portRange ? { portRange: portRangeFromMessage(message.portRange) } : {}),
    roomsReplicas: message.roomsReplicas,
    maxSurge: message.maxSurge,
    forwarders: message.forwarders.map(forwarderFromMessage),
    annotations: { ...message.annotations },
    labels: { ...message.labels },
    matchAllocation: { maxMatches: message.matchAllocation ? message.matchAllocation.maxMatches : defaultMaxMatches },
    // Empty ones are there: they clear what is stored, where none leave it.
    ...(message.extensions ? { extensions: extensionsFromMessage(message.extensions) } : {}),
  });
}

/**
 * What a PATCH asks for (`management.md` 2.6): only what is there. An empty `spec` or `autoscaling` is there; an empty list or map
 * is not, because protobuf cannot tell it from none: `extensions.clear` says that.
 *
 * @throws DomainError `request.malformed` (invalid_argument) for a NUL character in any text.
 */
export function patchFromMessage(message: PatchSchedulerRequest): DefinitionPatch {
  const { spec, portRange, maxSurge, roomsReplicas, autoscaling, matchAllocation } = message;
  return withoutNul<DefinitionPatch>({
    ...(spec && { spec: specPatchFromMessage(spec) }),
    ...(portRange && { portRange: portRangeFromMessage(portRange) }),
    ...given({ maxSurge, roomsReplicas }),
    ...(autoscaling && { autoscaling: autoscalingPatchFromMessage(autoscaling) }),
    ...filled({
      forwarders: message.forwarders.map(forwarderFromMessage),
      annotations: { ...message.annotations },
      labels: { ...message.labels },
      clear: [...(message.extensions?.clear ?? [])],
    }),
    ...(matchAllocation && { matchAllocation: { maxMatches: matchAllocation.maxMatches } }),
    ...filled({ extensions: message.extensions ? extensionsFromMessage(message.extensions) : {} }),
  });
}

function specPatchFromMessage(message: OptionalSpecMessage): SpecPatch {
  const { terminationGracePeriod, containers, toleration, affinity } = message;
  return {
    ...(terminationGracePeriod && { terminationGracePeriodNs: nanosecondsFromDuration(terminationGracePeriod) }),
    ...filled({ containers: containers.map(containerPatchFromMessage) }),
    ...given({ toleration, affinity }),
  };
}

function containerPatchFromMessage(message: OptionalContainerMessage): ContainerPatch {
  const { name, image, imagePullPolicy, command, environment, requests, limits, ports } = message;
  return {
    ...given({ name, image, imagePullPolicy }),
    ...filled({
      command: [...command],
      environment: environment.map(environmentFromMessage),
      ports: ports.map(portFromMessage),
    }),
    ...(requests && { requests: resourcesFromMessage(requests) }),
    ...(limits && { limits: resourcesFromMessage(limits) }),
  };
}

function autoscalingPatchFromMessage(message: OptionalAutoscalingMessage): Partial<Autoscaling> {
  const { enabled, min, max, cooldown, policy } = message;
  return { ...given({ enabled, min, max, cooldown }), ...(policy && { policy: policyFromMessage(policy) }) };
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The fields that are not undefined. */
function given<T extends object>(fields: T): Given<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Given<T>;
}

/** The lists and maps that are not empty. */
function filled<T extends Record<string, object>>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => Object.keys(value).length > 0)) as Partial<T>;
}

/** The same value, unless a text in it holds a NUL character. */
function withoutNul<T>(value: T): T {
  const path = pathOfNul(value, '');
  if (path === undefined) return value;
  throw malformedField(path, 'text must not contain a NUL character');
}

/** PostgreSQL's JSON cannot hold the character. Elsewhere than in free-form metadata, decoding has refused it before. */
function pathOfNul(value: unknown, path: string): string | undefined {
  if (typeof value === 'string') return value.includes('\0') ? path : undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [key, child] of Object.entries(value)) {
    if (key.includes('\0')) return path;
    const name = Array.isArray(value) ? `[${key}]` : path === '' ? key : `.${key}`;
    const found = pathOfNul(child, path + name);
    if (found !== undefined) return found;
  }
  return undefined;
}

function specFromMessage(message: SpecMessage | undefined): Spec {
  return {
    terminationGracePeriodNs: nanosecondsFromDuration(message?.terminationGracePeriod),
    containers: message?.containers.map(containerFromMessage) ?? [],
    toleration: message?.toleration ?? '',
    affinity: message?.affinity ?? '',
    restartPolicy: message?.restartPolicy || defaultRestartPolicy,
  };
}

function containerFromMessage(message: ContainerMessage): Container {
  return {
    name: message.name,
    image: message.image,
    imagePullPolicy: message.imagePullPolicy,
    command: [...message.command],
    environment: message.environment.map(environmentFromMessage),
    requests: resourcesFromMessage(message.requests),
    limits: resourcesFromMessage(message.limits),
    ports: message.ports.map(portFromMessage),
  };
}

/** A value that is given wins, even an empty one; of two sources, the secret does. */
function environmentFromMessage({ name, value, valueFrom }: ContainerEnvironmentMessage): ContainerEnvironment {
  if (value !== undefined) return { name, value };
  if (valueFrom?.secretKeyRef) {
    const { name: secret, key } = valueFrom.secretKeyRef;
    return { name, valueFrom: { secretKeyRef: { name: secret, key } } };
  }
  if (valueFrom?.fieldRef) return { name, valueFrom: { fieldRef: { fieldPath: valueFrom.fieldRef.fieldPath } } };
  return { name };
}

function resourcesFromMessage(message: ContainerResourcesMessage | undefined): ContainerResources {
  return { memory: message?.memory ?? '', cpu: message?.cpu ?? '' };
}

function portFromMessage(message: ContainerPortMessage): ContainerPort {
  return {
    name: message.name,
    protocol: message.protocol,
    port: message.port,
    hostPort: message.hostPort,
    ...(message.hostPortRange ? { hostPortRange: portRangeFromMessage(message.hostPortRange) } : {}),
  };
}

function portRangeFromMessage({ start, end }: PortRangeMessage): PortRange {
  return { start, end };
}

function autoscalingFromMessage({ enabled, min, max, cooldown, policy }: AutoscalingMessage): Autoscaling {
  return { enabled, min, max, cooldown, policy: policyFromMessage(policy) };
}

function policyFromMessage(message: AutoscalingPolicyMessage | undefined): AutoscalingPolicy {
  const { roomOccupancy, fixedBuffer } = message?.parameters ?? {};
  return {
    type: message?.type ?? '',
    parameters: {
      ...(roomOccupancy && {
        roomOccupancy: {
          readyTarget: shortestFloat32(roomOccupancy.readyTarget),
          // 0 counts as absent.
          downThreshold: shortestFloat32(roomOccupancy.downThreshold || defaultDownThreshold),
        },
      }),
      ...(fixedBuffer && { fixedBuffer: { amount: fixedBuffer.amount ?? 0 } }),
    },
  };
}

function forwarderFromMessage(message: ForwarderMessage): Forwarder {
  const { options } = message;
  return {
    name: message.name,
    enabled: message.enable,
    type: message.type,
    address: message.address,
    options: options
      ? { timeoutMs: Number(options.timeout), metadata: { ...options.metadata } }
      : { timeoutMs: defaultForwarderTimeoutMs, metadata: {} },
  };
}

function nanosecondsFromDuration(duration: Duration | undefined): number {
  return duration ? Number(duration.seconds) * nanosecondsPerSecond + duration.nanos : 0;
}

// To messages --------------------------------------------------------------------------------------------------------

/** A scheduler in one version. `createdAt` is when that version was made: what v10 shows here. */
export function schedulerMessage(scheduler: Scheduler): MessageInitShape<typeof SchedulerSchema> {
  const { definition } = scheduler;
  return {
    name: scheduler.name,
    game: definition.game,
    state: scheduler.state,
    portRange: portRangeMessage(definition.portRange),
    createdAt: timestampFromDate(scheduler.versionCreatedAt),
    maxSurge: definition.maxSurge,
    roomsReplicas: definition.roomsReplicas,
    spec: specMessage(definition.spec, scheduler.version),
    autoscaling: definition.autoscaling && autoscalingMessage(definition.autoscaling),
    forwarders: definition.forwarders.map(forwarderMessage),
    annotations: { ...definition.annotations },
    labels: { ...definition.labels },
    matchAllocation: { maxMatches: definition.matchAllocation.maxMatches },
    extensions: definition.extensions && extensionsMessage(definition.extensions),
  };
}

/** A scheduler in a list. `createdAt` is when the scheduler was made. */
export function schedulerWithoutSpecMessage(scheduler: Scheduler): MessageInitShape<typeof SchedulerWithoutSpecSchema> {
  const { definition } = scheduler;
  return {
    name: scheduler.name,
    game: definition.game,
    state: scheduler.state,
    version: scheduler.version,
    portRange: portRangeMessage(definition.portRange),
    createdAt: timestampFromDate(scheduler.createdAt),
    maxSurge: definition.maxSurge,
    roomsReplicas: definition.roomsReplicas,
    matchAllocation: { maxMatches: definition.matchAllocation.maxMatches },
  };
}

/** A scheduler and its rooms. As in v10 the cooldown is 0 and the match allocation is not told (`management.md` 1.6). */
export function schedulerInfoMessage(
  scheduler: Scheduler,
  { rooms }: FleetCounts,
): MessageInitShape<typeof SchedulerInfoSchema> {
  const { game, roomsReplicas, autoscaling } = scheduler.definition;
  return {
    name: scheduler.name,
    game,
    state: scheduler.state,
    roomsReplicas,
    roomsReady: rooms.ready,
    roomsOccupied: rooms.occupied,
    roomsPending: rooms.pending,
    roomsTerminating: rooms.terminating,
    autoscaling: autoscaling && { enabled: autoscaling.enabled, min: autoscaling.min, max: autoscaling.max },
  };
}

/** A version in the list of a scheduler's versions. */
export function schedulerVersionMessage({
  version,
  isActive,
  createdAt,
}: SchedulerVersion): MessageInitShape<typeof SchedulerVersionSchema> {
  return { version, isActive, createdAt: timestampFromDate(createdAt) };
}

function specMessage(spec: Spec, version: string): MessageInitShape<typeof SpecSchema> {
  return {
    version,
    terminationGracePeriod: durationFromNanoseconds(spec.terminationGracePeriodNs),
    containers: spec.containers.map(containerMessage),
    toleration: spec.toleration,
    affinity: spec.affinity,
    restartPolicy: spec.restartPolicy || defaultRestartPolicy,
  };
}

function containerMessage(container: Container): MessageInitShape<typeof ContainerSchema> {
  return {
    name: container.name,
    image: container.image,
    imagePullPolicy: container.imagePullPolicy,
    command: [...container.command],
    environment: container.environment.map(environmentMessage),
    requests: { ...container.requests },
    limits: { ...container.limits },
    ports: container.ports.map(({ hostPortRange, ...port }) => ({
      ...port,
      hostPortRange: portRangeMessage(hostPortRange),
    })),
  };
}

/** An empty value is not shown: v10 cannot tell it from none. */
function environmentMessage({
  name,
  value,
  valueFrom,
}: ContainerEnvironment): MessageInitShape<typeof ContainerEnvironmentSchema> {
  return {
    name,
    ...(value ? { value } : {}),
    ...(valueFrom
      ? {
          valueFrom: {
            fieldRef: valueFrom.fieldRef && { fieldPath: valueFrom.fieldRef.fieldPath },
            secretKeyRef: valueFrom.secretKeyRef && {
              name: valueFrom.secretKeyRef.name,
              key: valueFrom.secretKeyRef.key,
            },
          },
        }
      : {}),
  };
}

function autoscalingMessage(autoscaling: Autoscaling): MessageInitShape<typeof AutoscalingSchema> {
  const { roomOccupancy, fixedBuffer } = autoscaling.policy.parameters;
  return {
    enabled: autoscaling.enabled,
    min: autoscaling.min,
    max: autoscaling.max,
    cooldown: autoscaling.cooldown,
    policy: {
      type: autoscaling.policy.type,
      parameters: {
        roomOccupancy: roomOccupancy && {
          readyTarget: roomOccupancy.readyTarget,
          downThreshold: roomOccupancy.downThreshold,
        },
        fixedBuffer: fixedBuffer && { amount: fixedBuffer.amount },
      },
    },
  };
}

function forwarderMessage(forwarder: Forwarder): MessageInitShape<typeof ForwarderSchema> {
  return {
    name: forwarder.name,
    enable: forwarder.enabled,
    type: forwarder.type,
    address: forwarder.address,
    options: {
      timeout: BigInt(Math.trunc(forwarder.options.timeoutMs)),
      // The definition came from JSON or protobuf, so it holds nothing else.
      metadata: forwarder.options.metadata as JsonObject,
    },
  };
}

function portRangeMessage(range: PortRange | undefined): PortRange | undefined {
  return range && { start: range.start, end: range.end };
}

function durationFromNanoseconds(nanoseconds: number): Duration {
  return create(DurationSchema, {
    seconds: BigInt(Math.trunc(nanoseconds / nanosecondsPerSecond)),
    nanos: nanoseconds % nanosecondsPerSecond,
  });
}
