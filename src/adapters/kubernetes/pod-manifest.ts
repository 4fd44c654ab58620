import { DomainError } from '../../domain/errors';
import { parseKubernetesQuantity } from '../../domain/scheduler/kubernetes-quantity';
import { isReservedAnnotation, isReservedLabel, safeToEvictAnnotation } from '../../domain/scheduler/reserved-keys';
import type { ContainerEnvironment } from '../../domain/scheduler/scheduler';
import type { InstanceContainer, InstanceSpec } from '../../ports/runtime';
import type { ContainerPort, EnvVar, Pod, PodContainer } from './kubernetes-objects';
import {
  creationAnnotation,
  heritageLabel,
  idleSafeToEvictAnnotation,
  installationLabel,
  operationAnnotation,
  portNamesAnnotation,
  schedulerLabel,
  validationLabel,
  versionLabel,
} from './ownership';

export interface TopologySpread {
  maxSkew: number;
  topologyKey: string;
  /** Schedules where the skew cannot be kept, instead of waiting. */
  scheduleAnyway: boolean;
}

/** What a pod is told that its scheduler's definition does not say. */
export interface PodSurroundings {
  installation: string;
  /** `MAESTRO_ROOMS_API_URL`; null: the variable is not set, because no address is known that pods can reach. */
  roomsApiUrl: string | null;
  /** `MAESTRO_ROOMS_GRPC_ADDRESS`; null: not set. */
  roomsGrpcAddress: string | null;
  /** Null: pods are spread as the cluster does by itself. */
  topologySpread: TopologySpread | null;
}

/**
 * The pod of an instance (`rooms.md` 5.3). `creation` is unique to the call that makes it.
 * Better than v10: keys by which Maestro finds its pods cannot be overwritten, SCTP works, a grace below a second is not the
 * cluster's 30 seconds, pods get no token of the API server, and names of ports may be any.
 * @throws DomainError `runtime.protocol_invalid`, `runtime.quantity_invalid` (invalid_argument).
 */
export function podManifest(spec: InstanceSpec, surroundings: PodSurroundings, creation: string): Pod {
  const { toleration, affinity } = spec;
  const graceSeconds = Math.ceil(spec.terminationGracePeriodMs / 1_000);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: spec.id,
      namespace: spec.scheduler,
      labels: podLabels(spec, surroundings.installation),
      annotations: podAnnotations(spec, creation),
    },
    spec: {
      // A game server has no business with the API server; what players can break into must not hold a key to it.
      automountServiceAccountToken: false,
      restartPolicy: restartPolicies.has(spec.restartPolicy) ? spec.restartPolicy : 'Never',
      ...(graceSeconds > 0 ? { terminationGracePeriodSeconds: graceSeconds } : {}),
      ...(toleration === ''
        ? {}
        : { tolerations: [{ key: 'dedicated', operator: 'Equal', value: toleration, effect: 'NoSchedule' }] }),
      ...(affinity === '' ? {} : { affinity: nodeAffinity(affinity) }),
      ...(surroundings.topologySpread === null
        ? {}
        : { topologySpreadConstraints: [spreadConstraint(surroundings.topologySpread, spec.scheduler)] }),
      containers: spec.containers.map((container) => podContainer(container, spec, surroundings)),
    },
  };
}

const restartPolicies: ReadonlySet<string> = new Set(['Always', 'OnFailure', 'Never']);

function podLabels({ labels, scheduler, version, validation }: InstanceSpec, installation: string) {
  return {
    ...Object.fromEntries(Object.entries(labels).filter(([key]) => !isReservedLabel(key))),
    [heritageLabel.key]: heritageLabel.value,
    [schedulerLabel]: scheduler,
    [versionLabel]: version,
    [installationLabel]: installation,
    ...(validation ? { [validationLabel]: 'true' } : {}),
  };
}

function podAnnotations({ annotations, operationId, containers }: InstanceSpec, creation: string) {
  const names = namesBesidePods(containers);
  const kept = Object.fromEntries(
    Object.entries(annotations).filter(([key, value]) => !isReservedAnnotation(key, value)),
  );
  const idle = kept[safeToEvictAnnotation] ?? 'true';
  return {
    ...kept,
    [safeToEvictAnnotation]: idle,
    [idleSafeToEvictAnnotation]: idle,
    [creationAnnotation]: creation,
    ...(operationId === null ? {} : { [operationAnnotation]: operationId }),
    ...(Object.keys(names).length === 0 ? {} : { [portNamesAnnotation]: JSON.stringify(names) }),
  };
}

function nodeAffinity(label: string): object {
  const isTrue = { key: label, operator: 'In', values: ['true'] };
  return {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [isTrue] }] },
    },
  };
}

function spreadConstraint({ maxSkew, topologyKey, scheduleAnyway }: TopologySpread, scheduler: string): object {
  return {
    maxSkew,
    topologyKey,
    whenUnsatisfiable: scheduleAnyway ? 'ScheduleAnyway' : 'DoNotSchedule',
    labelSelector: { matchLabels: { [schedulerLabel]: scheduler } },
  };
}

function podContainer(container: InstanceContainer, spec: InstanceSpec, surroundings: PodSurroundings): PodContainer {
  const requests = resources(container, 'requests');
  const limits = resources(container, 'limits');
  return {
    name: container.name,
    image: container.image,
    ...(container.imagePullPolicy === '' ? {} : { imagePullPolicy: container.imagePullPolicy }),
    ...(container.command.length === 0 ? {} : { command: container.command }),
    // Later ones win where a name appears twice.
    env: [...container.environment.map(userVariable), ...ownVariables(spec, surroundings)],
    ports: container.ports.map((port) => podPort(port, container)),
    resources: { ...(requests === null ? {} : { requests }), ...(limits === null ? {} : { limits }) },
  };
}

function userVariable({ name, value, valueFrom }: ContainerEnvironment): EnvVar {
  if (value) return { name, value };
  if (valueFrom?.secretKeyRef) return { name, valueFrom: { secretKeyRef: valueFrom.secretKeyRef } };
  if (valueFrom?.fieldRef) return { name, valueFrom: { fieldRef: valueFrom.fieldRef } };
  return { name, value: '' };
}

function ownVariables(spec: InstanceSpec, { roomsApiUrl, roomsGrpcAddress }: PodSurroundings): EnvVar[] {
  return [
    { name: 'MAESTRO_SCHEDULER_NAME', value: spec.scheduler },
    { name: 'MAESTRO_ROOM_ID', value: spec.id },
    ...(roomsApiUrl === null ? [] : [{ name: 'MAESTRO_ROOMS_API_URL', value: roomsApiUrl }]),
    ...(roomsGrpcAddress === null ? [] : [{ name: 'MAESTRO_ROOMS_GRPC_ADDRESS', value: roomsGrpcAddress }]),
  ];
}

type SpecPort = InstanceContainer['ports'][number];

function podPort(port: SpecPort, container: InstanceContainer): ContainerPort {
  return {
    ...(canBePortName(port, container) ? { name: port.name } : {}),
    protocol: protocolOf(port, container),
    containerPort: port.port,
    ...(port.hostPort === 0 ? {} : { hostPort: port.hostPort }),
  };
}

const protocols: ReadonlySet<string> = new Set(['TCP', 'UDP', 'SCTP']);

function protocolOf(port: SpecPort, container: InstanceContainer): string {
  const protocol = port.protocol.toUpperCase();
  if (protocols.has(protocol)) return protocol;
  throw invalid(
    'protocol_invalid',
    `Port "${port.name}" of container "${container.name}" has the protocol "${port.protocol}": use tcp, udp or sctp`,
  );
}

/** `IANA_SVC_NAME`, once per container: `k8s.io/apimachinery/pkg/util/validation.IsValidPortName`. */
function canBePortName({ name }: SpecPort, { ports }: InstanceContainer): boolean {
  const isValid = name.length <= 15 && /^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) && /[a-z]/.test(name);
  return isValid && ports.filter((port) => port.name === name).length === 1;
}

/** Schedulers call ports `clientPort`, because v10's forwarders look for that word, and Kubernetes allows no capitals. */
function namesBesidePods(containers: readonly InstanceContainer[]): Record<string, string> {
  const names: Record<string, string> = {};
  for (const container of containers) {
    for (const port of container.ports) {
      if (port.hostPort === 0 || canBePortName(port, container)) continue;
      names[`${port.hostPort}/${protocolOf(port, container)}`] = port.name;
    }
  }
  return names;
}

function resources(container: InstanceContainer, kind: 'requests' | 'limits'): Record<string, string> | null {
  const quantities = Object.entries(container[kind]).filter(([, quantity]) => quantity !== '');
  for (const [name, quantity] of quantities) {
    if (parseKubernetesQuantity(quantity) !== null) continue;
    throw invalid(
      'quantity_invalid',
      `Container "${container.name}" has "${quantity}" as ${kind}.${name}, which is no Kubernetes quantity`,
    );
  }
  return quantities.length === 0 ? null : Object.fromEntries(quantities);
}

function invalid(code: string, message: string): DomainError {
  return new DomainError('invalid_argument', `runtime.${code}`, message);
}
