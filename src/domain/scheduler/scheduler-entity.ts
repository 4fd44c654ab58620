import { DomainError } from '../errors';
import type {
  Autoscaling,
  Container,
  ContainerEnvironment,
  ContainerPort,
  ContainerResources,
  Forwarder,
  PortRange,
  SchedulerDefinition,
  SchedulerState,
  Spec,
} from './scheduler';

/** What v10's entity says of a scheduler; a `Scheduler` is one. Times are null where v10 has none. */
export interface EntityScheduler {
  name: string;
  state: SchedulerState;
  version: string;
  rollbackVersion: string;
  createdAt: Date | null;
  lastDownscaleAt: Date | null;
  definition: SchedulerDefinition;
}

const states: readonly SchedulerState[] = ['creating', 'in-sync', 'terminating', 'on-error'];

/** How Go writes a time that was never set. */
const zeroTime = '0001-01-01T00:00:00Z';

// Defaults of `management.md` 2.2, for what old rows lack.
const defaultRestartPolicy = 'Never';
const defaultDownThreshold = 0.99;
const defaultForwarderTimeoutMs = 1000;
const defaultMaxMatches = 1;

// To v10 -----------------------------------------------------------------------------------------------------------------

/**
 * A scheduler as v10 writes it into the input of `create_scheduler` and `create_new_scheduler_version`, which clients read
 * (`management.md` 3.2): Go's field names, the grace period in nanoseconds, a forwarder's timeout as bare milliseconds.
 * What is not there is null; lists and maps are never null. Decimals are those that the user typed (0.99), not v10's
 * widened floats (0.9900000095367432). Our extensions, which v10's entity has no field for, are there only where they are used,
 * as on the wire.
 */
export function toV10Entity(scheduler: EntityScheduler): Record<string, unknown> {
  const { definition } = scheduler;
  return {
    Name: scheduler.name,
    Game: definition.game,
    State: scheduler.state,
    RollbackVersion: scheduler.rollbackVersion,
    Spec: specEntity(definition.spec, scheduler.version),
    Autoscaling: definition.autoscaling ? autoscalingEntity(definition.autoscaling) : null,
    PortRange: portRangeEntity(definition.portRange),
    RoomsReplicas: definition.roomsReplicas,
    CreatedAt: scheduler.createdAt?.toISOString() ?? zeroTime,
    LastDownscaleAt: scheduler.lastDownscaleAt?.toISOString() ?? zeroTime,
    MaxSurge: definition.maxSurge,
    Forwarders: definition.forwarders.map(forwarderEntity),
    Annotations: { ...definition.annotations },
    Labels: { ...definition.labels },
    MatchAllocation: { MaxMatches: definition.matchAllocation.maxMatches },
    ...(definition.extensions ? { Extensions: definition.extensions } : {}),
  };
}

function specEntity(spec: Spec, version: string) {
  return {
    Version: version,
    TerminationGracePeriod: spec.terminationGracePeriodNs,
    Containers: spec.containers.map(containerEntity),
    Toleration: spec.toleration,
    Affinity: spec.affinity,
    RestartPolicy: spec.restartPolicy,
  };
}

function containerEntity(container: Container) {
  return {
    Name: container.name,
    Image: container.image,
    ImagePullPolicy: container.imagePullPolicy,
    Command: [...container.command],
    Environment: container.environment.map(environmentEntity),
    Requests: { Memory: container.requests.memory, CPU: container.requests.cpu },
    Limits: { Memory: container.limits.memory, CPU: container.limits.cpu },
    Ports: container.ports.map((port) => ({
      Name: port.name,
      Protocol: port.protocol,
      Port: port.port,
      HostPortRange: portRangeEntity(port.hostPortRange),
      HostPort: port.hostPort,
    })),
  };
}

function environmentEntity({ name, value, valueFrom }: ContainerEnvironment) {
  const { fieldRef, secretKeyRef } = valueFrom ?? {};
  return {
    Name: name,
    Value: value ?? '',
    ValueFrom: valueFrom
      ? {
          FieldRef: fieldRef ? { fieldPath: fieldRef.fieldPath } : null,
          SecretKeyRef: secretKeyRef ? { name: secretKeyRef.name, key: secretKeyRef.key } : null,
        }
      : null,
  };
}

function autoscalingEntity({ enabled, min, max, cooldown, policy }: Autoscaling) {
  const { roomOccupancy, fixedBuffer } = policy.parameters;
  return {
    Enabled: enabled,
    Min: min,
    Max: max,
    Cooldown: cooldown,
    Policy: {
      Type: policy.type,
      Parameters: {
        RoomOccupancy: roomOccupancy
          ? { ReadyTarget: roomOccupancy.readyTarget, DownThreshold: roomOccupancy.downThreshold }
          : null,
        FixedBuffer: fixedBuffer ? { Amount: fixedBuffer.amount } : null,
      },
    },
  };
}

function portRangeEntity(range: PortRange | undefined) {
  return range ? { Start: range.start, End: range.end } : null;
}

function forwarderEntity({ name, enabled, type, address, options }: Forwarder) {
  return {
    Name: name,
    Enabled: enabled,
    ForwardType: type,
    Address: address,
    Options: { Timeout: options.timeoutMs, Metadata: { ...options.metadata } },
  };
}

// From v10 ---------------------------------------------------------------------------------------------------------------

/**
 * Reads what `toV10Entity` writes, less our extensions, and the object in v10's YAML column (`management.md` 5.1), which has the spec's fields at the top,
 * lacks `RestartPolicy` and, in old rows, `MatchAllocation` or `DownThreshold`. Name, game, state and versions are columns
 * there: the caller adds them as `Name`, `Game`, `State`, `Version` and `RollbackVersion`.
 *
 * What is missing or null gets v10's default (`management.md` 2.2) or is empty, for validation to name. Keys match in any case,
 * as in Go's decoder. A widened 32-bit float becomes the decimal that was typed.
 *
 * @throws DomainError `scheduler.malformed_entity` (invalid_argument) naming the path of a value of the wrong type.
 */
export function fromV10Entity(entity: object): EntityScheduler {
  return schedulerFrom(new EntityReader(entity, ''));
}

/**
 * Paths of what a v10 entity says and `fromV10Entity` leaves out: fields that are not known here, and the source of a variable that
 * has a value. Empty for whatever `toV10Entity` writes of a scheduler without extensions. Throws as `fromV10Entity` does.
 */
export function fieldsLeftOut(entity: object): string[] {
  const reader = new EntityReader(entity, '');
  schedulerFrom(reader);
  return reader.unread();
}

function schedulerFrom(scheduler: EntityReader): EntityScheduler {
  const spec = scheduler.optional('Spec') ?? scheduler;
  const state = scheduler.text('State') || 'creating';
  const knownState = states.find((known) => known === state);
  if (!knownState) throw malformed('State', `one of ${states.join(', ')}`);
  return {
    name: scheduler.text('Name'),
    state: knownState,
    version: spec.text('Version'),
    rollbackVersion: scheduler.text('RollbackVersion'),
    createdAt: scheduler.time('CreatedAt'),
    lastDownscaleAt: scheduler.time('LastDownscaleAt'),
    definition: definitionFrom(scheduler, spec),
  };
}

function definitionFrom(scheduler: EntityReader, spec: EntityReader): SchedulerDefinition {
  const autoscaling = scheduler.optional('Autoscaling');
  const portRange = scheduler.optional('PortRange');
  const matchAllocation = scheduler.optional('MatchAllocation');
  return {
    game: scheduler.text('Game'),
    spec: {
      terminationGracePeriodNs: spec.number('TerminationGracePeriod'),
      containers: spec.list('Containers').map(containerFrom),
      toleration: spec.text('Toleration'),
      affinity: spec.text('Affinity'),
      restartPolicy: spec.text('RestartPolicy') || defaultRestartPolicy,
    },
    ...(autoscaling ? { autoscaling: autoscalingFrom(autoscaling) } : {}),
    ...(portRange ? { portRange: portRangeFrom(portRange) } : {}),
    roomsReplicas: scheduler.number('RoomsReplicas'),
    maxSurge: scheduler.text('MaxSurge'),
    forwarders: scheduler.list('Forwarders').map(forwarderFrom),
    annotations: scheduler.textMap('Annotations'),
    labels: scheduler.textMap('Labels'),
    matchAllocation: { maxMatches: matchAllocation ? matchAllocation.number('MaxMatches') : defaultMaxMatches },
  };
}

function containerFrom(container: EntityReader): Container {
  return {
    name: container.text('Name'),
    image: container.text('Image'),
    imagePullPolicy: container.text('ImagePullPolicy'),
    command: container.texts('Command'),
    environment: container.list('Environment').map(environmentFrom),
    requests: resourcesFrom(container.optional('Requests')),
    limits: resourcesFrom(container.optional('Limits')),
    ports: container.list('Ports').map(portFrom),
  };
}

/** A value wins over a source, and a secret over a field, as when a request is read. */
function environmentFrom(variable: EntityReader): ContainerEnvironment {
  const [name, value] = [variable.text('Name'), variable.text('Value')];
  const source = variable.optional('ValueFrom');
  const secret = source?.optional('SecretKeyRef');
  const field = source?.optional('FieldRef');
  if (value === '' && secret) {
    return { name, valueFrom: { secretKeyRef: { name: secret.text('name'), key: secret.text('key') } } };
  }
  if (value === '' && field) return { name, valueFrom: { fieldRef: { fieldPath: field.text('fieldPath') } } };
  return { name, value };
}

function resourcesFrom(resources: EntityReader | undefined): ContainerResources {
  return { memory: resources?.text('Memory') ?? '', cpu: resources?.text('CPU') ?? '' };
}

function portFrom(port: EntityReader): ContainerPort {
  const hostPortRange = port.optional('HostPortRange');
  return {
    name: port.text('Name'),
    protocol: port.text('Protocol'),
    port: port.number('Port'),
    hostPort: port.number('HostPort'),
    ...(hostPortRange ? { hostPortRange: portRangeFrom(hostPortRange) } : {}),
  };
}

function portRangeFrom(range: EntityReader): PortRange {
  return { start: range.number('Start'), end: range.number('End') };
}

function autoscalingFrom(autoscaling: EntityReader): Autoscaling {
  const policy = autoscaling.optional('Policy');
  const parameters = policy?.optional('Parameters');
  const roomOccupancy = parameters?.optional('RoomOccupancy');
  const fixedBuffer = parameters?.optional('FixedBuffer');
  return {
    enabled: autoscaling.flag('Enabled'),
    min: autoscaling.number('Min'),
    max: autoscaling.number('Max'),
    cooldown: autoscaling.number('Cooldown'),
    policy: {
      type: policy?.text('Type') ?? '',
      parameters: {
        ...(roomOccupancy
          ? {
              roomOccupancy: {
                readyTarget: asTyped(roomOccupancy.number('ReadyTarget')),
                // 0 counts as absent.
                downThreshold: asTyped(roomOccupancy.number('DownThreshold') || defaultDownThreshold),
              },
            }
          : {}),
        ...(fixedBuffer ? { fixedBuffer: { amount: fixedBuffer.number('Amount') } } : {}),
      },
    },
  };
}

function forwarderFrom(forwarder: EntityReader): Forwarder {
  const options = forwarder.optional('Options');
  return {
    name: forwarder.text('Name'),
    enabled: forwarder.flag('Enabled'),
    type: forwarder.text('ForwardType'),
    address: forwarder.text('Address'),
    options: options
      ? { timeoutMs: options.number('Timeout'), metadata: options.map('Metadata') }
      : { timeoutMs: defaultForwarderTimeoutMs, metadata: {} },
  };
}

/**
 * The decimal behind a 32-bit float that was widened to 64 bits, which is how v10 keeps it: 0.9900000095367432 is 0.99.
 * Any decimal of six digits survives a 32-bit float, and nine tell all floats apart (IEEE 754). Other numbers stay.
 */
function asTyped(value: number): number {
  const candidates = [6, 7, 8, 9].map((digits) => Number(value.toPrecision(digits)));
  return candidates.find((candidate) => Math.fround(candidate) === value) ?? value;
}

/** Reads the fields of one object of an entity: missing and null are the same, another type is refused by its path. */
class EntityReader {
  private readonly entries: readonly [key: string, value: unknown][];
  private readonly fields: ReadonlyMap<string, unknown>;
  private readonly readKeys = new Set<string>();
  private readonly children: EntityReader[] = [];

  constructor(
    value: unknown,
    private readonly path: string,
  ) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(path, 'an object');
    this.entries = Object.entries(value);
    this.fields = new Map(this.entries.map(([key, field]) => [key.toLowerCase(), field]));
  }

  text(key: string): string {
    return this.read(key, '', isText, 'a string');
  }

  number(key: string): number {
    return this.read(key, 0, isNumber, 'a number');
  }

  flag(key: string): boolean {
    return this.read(key, false, (value) => typeof value === 'boolean', 'true or false');
  }

  /** Null also for Go's zero time. A YAML parser may already have made it a date. */
  time(key: string): Date | null {
    const value = this.read<unknown>(key, zeroTime, (found) => isText(found) || found instanceof Date, 'a time');
    const time = new Date(value as string | Date);
    if (Number.isNaN(time.getTime())) throw malformed(this.pathOf(key), 'a time');
    return time.getTime() === Date.parse(zeroTime) ? null : time;
  }

  texts(key: string): string[] {
    return this.read(
      key,
      [],
      (value): value is string[] => Array.isArray(value) && value.every(isText),
      'a list of strings',
    );
  }

  textMap(key: string): Record<string, string> {
    const map = this.map(key);
    for (const [name, value] of Object.entries(map)) {
      if (!isText(value)) throw malformed(`${this.pathOf(key)}[${JSON.stringify(name)}]`, 'a string');
    }
    return map as Record<string, string>;
  }

  map(key: string): Record<string, unknown> {
    const value = this.read(key, {}, (found): found is object => typeof found === 'object', 'an object');
    if (Array.isArray(value)) throw malformed(this.pathOf(key), 'an object');
    return { ...value };
  }

  optional(key: string): EntityReader | undefined {
    const value = this.field(key);
    return value === undefined ? undefined : this.child(value, this.pathOf(key));
  }

  list(key: string): EntityReader[] {
    const entries = this.read(key, [], (value): value is unknown[] => Array.isArray(value), 'a list');
    return entries.map((entry, index) => this.child(entry, `${this.pathOf(key)}[${index}]`));
  }

  /** Paths of the fields, here and below, that say something and were not asked for. */
  unread(): string[] {
    const isUnread = (key: string): boolean => !this.readKeys.has(key.toLowerCase());
    const own = this.entries.filter(([key, value]) => isUnread(key) && saysSomething(value));
    return [...own.map(([key]) => this.pathOf(key)), ...this.children.flatMap((child) => child.unread())];
  }

  private child(value: unknown, path: string): EntityReader {
    const child = new EntityReader(value, path);
    this.children.push(child);
    return child;
  }

  private read<T>(key: string, missing: T, isRight: (value: unknown) => value is T, expected: string): T;
  private read(key: string, missing: unknown, isRight: (value: unknown) => boolean, expected: string): unknown {
    const value = this.field(key) ?? missing;
    if (!isRight(value)) throw malformed(this.pathOf(key), expected);
    return value;
  }

  /** Undefined also for null. */
  private field(key: string): unknown {
    this.readKeys.add(key.toLowerCase());
    return this.fields.get(key.toLowerCase()) ?? undefined;
  }

  private pathOf(key: string): string {
    return this.path ? `${this.path}.${key}` : key;
  }
}

/** Whether a value is other than Go's zero of its type, which it writes for what was never set. */
function saysSomething(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.values(value).some(saysSomething);
  return Boolean(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isNumber(value: unknown): value is number {
  return Number.isFinite(value);
}

function malformed(path: string, expected: string): DomainError {
  const what = path || 'the entity';
  return new DomainError(
    'invalid_argument',
    'scheduler.malformed_entity',
    `${what} of this v10 scheduler must be ${expected}`,
    { details: { path } },
  );
}
