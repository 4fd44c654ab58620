import { DomainError } from '../../domain/errors';
import type { ContainerEnvironment } from '../../domain/scheduler/scheduler';
import type { InstanceContainer, InstanceSpec } from '../../ports/runtime';
import { markerVariable } from './process-table';
import type { RoomSurroundings } from './supervisor-protocol';

/** All that a room inherits of the environment that Maestro itself runs in. */
export const baseEnvironmentNames = ['PATH', 'HOME', 'TMPDIR', 'TEMP', 'TMP', 'LANG', 'SystemRoot'] as const;

/** The part of `environment` that rooms may inherit; names compare as the system compares them. */
export function pickBaseEnvironment(environment: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const sameName = (a: string, b: string) =>
    process.platform === 'win32' ? a.toUpperCase() === b.toUpperCase() : a === b;
  const picked: Record<string, string> = {};
  for (const name of baseEnvironmentNames) {
    const value = Object.entries(environment).find(([key]) => sameName(key, name))?.[1];
    if (value !== undefined) picked[name] = value;
  }
  return picked;
}

/** Carries what a record must know, so that a room is found again when its record is lost with the state directory. */
export const instanceVariable = 'MAESTRO_LOCAL_INSTANCE';

/** A secret or a key of it that is not there: the room is shown with this reason, as Kubernetes does. */
export class MissingSecret extends Error {
  constructor(name: string, key: string) {
    super(`CreateContainerConfigError: secret "${name}" key "${key}" not found`);
  }
}

export interface EnvironmentFacts {
  spec: Pick<InstanceSpec, 'id' | 'scheduler' | 'version' | 'labels' | 'annotations'>;
  container: Pick<InstanceContainer, 'name' | 'environment' | 'ports'>;
  surroundings: RoomSurroundings;
  hostname: string;
  marker: string;
  /** The text of `instanceVariable`. */
  instanceText: string;
  /** Null when there is no such secret or key. */
  readSecret(name: string, key: string): string | null;
}

/**
 * The environment of a container's process, later ones win: the base, the user's variables in order, ours.
 * A non-empty value wins over a secret, a secret over a field (`rooms.md` 5.3). `$(NAME)` in a value stands for a variable
 * of the user's that came before it, as on Kubernetes.
 * @throws MissingSecret
 */
export function composeRoomEnvironment(facts: EnvironmentFacts): Record<string, string> {
  const { spec, container, surroundings } = facts;
  const users: Record<string, string> = {};
  for (const variable of container.environment) users[variable.name] = valueOf(variable, users, facts);
  const ports = container.ports
    .filter((port) => port.hostPort !== 0)
    .map((port) => [portVariable(port.name), String(port.hostPort)]);
  return {
    ...surroundings.baseEnvironment,
    ...users,
    ...(Object.fromEntries(ports) as Record<string, string>),
    MAESTRO_SCHEDULER_NAME: spec.scheduler,
    MAESTRO_ROOM_ID: spec.id,
    MAESTRO_ROOMS_API_URL: surroundings.roomsApiUrl,
    ...(surroundings.roomsGrpcAddress === null ? {} : { MAESTRO_ROOMS_GRPC_ADDRESS: surroundings.roomsGrpcAddress }),
    [markerVariable]: facts.marker,
    [instanceVariable]: facts.instanceText,
  };
}

/** `clientPort` -> `MAESTRO_PORT_CLIENTPORT`, `game-udp` -> `MAESTRO_PORT_GAME_UDP`. */
export function portVariable(name: string): string {
  return `MAESTRO_PORT_${name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`;
}

function valueOf(variable: ContainerEnvironment, earlier: Record<string, string>, facts: EnvironmentFacts): string {
  if (variable.value) return expandReferences(variable.value, earlier);
  const secret = variable.valueFrom?.secretKeyRef;
  if (secret) {
    const text = facts.readSecret(secret.name, secret.key);
    if (text === null) throw new MissingSecret(secret.name, secret.key);
    return text;
  }
  const field = variable.valueFrom?.fieldRef;
  return field ? (fieldValue(field.fieldPath, facts) ?? '') : '';
}

/**
 * `$(NAME)` becomes the value of NAME, `$$` a single `$` that starts nothing; an unknown name stays as it is written.
 * Kubernetes does the same for `env[].value` and `command`.
 */
export function expandReferences(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/\$(\$|\(([^)]*)\))/g, (whole, what: string, name: string | undefined) =>
    what === '$' ? '$' : name !== undefined && Object.hasOwn(values, name) ? (values[name] ?? '') : whole,
  );
}

const mapField = /^metadata\.(labels|annotations)\['(.+)'\]$/;

/** Null when this runtime has no such field; an empty text when the field is there and says nothing. */
function fieldValue(path: string, { spec, hostname }: Pick<EnvironmentFacts, 'spec' | 'hostname'>): string | null {
  switch (path) {
    case 'metadata.name':
      return spec.id;
    case 'metadata.namespace':
      return spec.scheduler;
    case 'status.hostIP':
    case 'status.podIP':
      return '127.0.0.1';
    case 'spec.nodeName':
      return hostname;
  }
  const [, map, key] = mapField.exec(path) ?? [];
  if (!map || !key) return null;
  // The labels that every room carries on Kubernetes; they win there too.
  const labels = { ...spec.labels, heritage: 'maestro', 'maestro-scheduler': spec.scheduler, version: spec.version };
  return (map === 'labels' ? (labels as Record<string, string>) : spec.annotations)[key] ?? '';
}

/** Names that may become parts of a path. `.` and `..` are excluded by the first character. */
const safeName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/;
/** Keys of Kubernetes secrets may start with a dot or an underscore. */
const safeSecretKey = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,253}$/;

/** @throws DomainError `runtime.name_invalid` (invalid_argument). */
export function requireSafeName(what: string, name: string): void {
  if (!safeName.test(name)) {
    throw invalid('name_invalid', `The ${what} "${name}" cannot be a file name: use letters, digits, "-", "_" and "."`);
  }
}

/** @throws DomainError (invalid_argument) when this spec can never run here, whatever the machine's state. */
export function validateInstanceSpec(spec: InstanceSpec): void {
  requireSafeName('scheduler name', spec.scheduler);
  requireSafeName('room id', spec.id);
  if (spec.containers.length === 0) throw invalid('containers_missing', `Room "${spec.id}" has no containers`);
  const names = new Set<string>();
  for (const container of spec.containers) {
    if (names.has(container.name)) {
      throw invalid('container_name_duplicate', `Two containers are called "${container.name}"`);
    }
    names.add(container.name);
    if (!container.command[0]) {
      throw invalid(
        'command_missing',
        `Container "${container.name}" has no command: the local runtime runs commands, not images`,
        { container: container.name },
      );
    }
    for (const variable of container.environment) validateVariable(container.name, variable, spec);
  }
}

function validateVariable(container: string, variable: ContainerEnvironment, spec: InstanceSpec): void {
  if (!variable.name || /[=\0]/.test(variable.name)) {
    throw invalid(
      'variable_name_invalid',
      `Container "${container}" has a variable that cannot be called "${variable.name}"`,
    );
  }
  if (variable.value) return;
  const secret = variable.valueFrom?.secretKeyRef;
  if (secret) {
    if (!safeName.test(secret.name) || !safeSecretKey.test(secret.key)) {
      throw invalid(
        'secret_name_invalid',
        `Variable "${variable.name}" names the secret "${secret.name}" key "${secret.key}", which no secret can have`,
      );
    }
    return;
  }
  const field = variable.valueFrom?.fieldRef;
  if (field && fieldValue(field.fieldPath, { spec, hostname: '' }) === null) {
    throw invalid(
      'field_path_unsupported',
      `Variable "${variable.name}" asks for the field "${field.fieldPath}", which rooms do not have`,
    );
  }
}

function invalid(code: string, message: string, details: Readonly<Record<string, unknown>> = {}): DomainError {
  return new DomainError('invalid_argument', `runtime.${code}`, message, { details });
}
