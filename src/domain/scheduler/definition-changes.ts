import type {
  Autoscaling,
  Container,
  ContainerEnvironment,
  ContainerPort,
  Forwarder,
  SchedulerDefinition,
  Spec,
} from './scheduler';
import { extensionParts } from './scheduler-extensions';

/** One difference between two definitions, in the words of the wire. */
export interface DefinitionChange {
  /**
   * JSON names and indices: `maxSurge`, `spec.containers[0].image`, `labels.team`, `labels["example.com/team"]`.
   * A port is matched by its name within its container, and its index is the old one; an added port's is the new one.
   */
  path: string;
  /** The old value as on the wire, null where there was none. */
  from: unknown;
  /** The new value as on the wire, null where there is none. */
  to: unknown;
  /** Whether rooms of the old definition must be replaced. */
  major: boolean;
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * What differs between two definitions, in the order of the wire's fields; empty when nothing does.
 *
 * What makes a change major is v10's rule (`management.md` 2.5): everything that a room was started with, and also forwarders,
 * annotations and labels. Minor are the game, the surge, replicas, autoscaling, match allocation, our own extensions, and host
 * ports, which are drawn anew for each room. Mended from v10: ports are compared container by container, so a removed or moved port is
 * seen; empty and missing are the same; a missing restart policy is `Never`.
 *
 * The order of containers, variables and forwarders counts. That of the ports of one container does not change what a room is
 * (v10 compares them by name), but clients see it, so it is a minor change of the list.
 */
export function definitionChanges(from: SchedulerDefinition, to: SchedulerDefinition): DefinitionChange[] {
  return [
    ...valueChanges('game', from.game, to.game, false),
    ...valueChanges('portRange', from.portRange, to.portRange, true),
    ...valueChanges('maxSurge', from.maxSurge, to.maxSurge, false),
    ...valueChanges('roomsReplicas', from.roomsReplicas, to.roomsReplicas, false),
    ...valueChanges('spec', wireSpec(from.spec), wireSpec(to.spec), true),
    ...listChanges('spec.containers', from.spec.containers, to.spec.containers, wireContainer, containerChanges),
    ...valueChanges('autoscaling', wireAutoscaling(from.autoscaling), wireAutoscaling(to.autoscaling), false),
    ...listChanges('forwarders', from.forwarders, to.forwarders, wireForwarder, forwarderChanges),
    ...valueChanges('annotations', from.annotations ?? {}, to.annotations ?? {}, true),
    ...valueChanges('labels', from.labels ?? {}, to.labels ?? {}, true),
    ...valueChanges('matchAllocation', from.matchAllocation, to.matchAllocation, false),
    ...extensionParts.flatMap((part) =>
      extensionChanges(`extensions.${part}`, from.extensions?.[part] ?? {}, to.extensions?.[part] ?? {}),
    ),
  ];
}

/** The definition's own fields that changes are in, each once: `spec` for `spec.containers[0].image`. */
export function changedFields(changes: readonly DefinitionChange[]): string[] {
  return [...new Set(changes.map(({ path }) => path.split(/[.[]/, 1)[0]!))];
}

// Comparing ------------------------------------------------------------------------------------------------------------

/** The differing fields of two objects, or the values themselves when they are none. */
function valueChanges(path: string, from: unknown, to: unknown, major: boolean): DefinitionChange[] {
  if (!isFields(from) || !isFields(to)) return wholeChange(path, from, to, major);
  const keys = new Set([...Object.keys(from), ...Object.keys(to)]);
  return [...keys].flatMap((key) => valueChanges(path + step(key), fieldOf(from, key), fieldOf(to, key), major));
}

function wholeChange(path: string, from: unknown, to: unknown, major: boolean): DefinitionChange[] {
  return isSame(from ?? null, to ?? null) ? [] : [{ path, from: from ?? null, to: to ?? null, major }];
}

/** Differences of two lists whose order counts: entry by entry, and whole entries where one list is longer. Always major. */
function listChanges<T>(
  path: string,
  from: readonly T[] | undefined,
  to: readonly T[] | undefined,
  wire: (entry: T) => unknown,
  entryChanges: (path: string, from: T, to: T) => DefinitionChange[],
): DefinitionChange[] {
  const length = Math.max(from?.length ?? 0, to?.length ?? 0);
  return Array.from({ length }).flatMap((_, index) => {
    const [one, other] = [from?.[index], to?.[index]];
    const entry = `${path}[${index}]`;
    return one !== undefined && other !== undefined
      ? entryChanges(entry, one, other)
      : wholeChange(entry, one && wire(one), other && wire(other), true);
  });
}

function containerChanges(path: string, from: Container, to: Container): DefinitionChange[] {
  const { environment: fromEnvironment, ports: fromPorts, ...fromFields } = from;
  const { environment: toEnvironment, ports: toPorts, ...toFields } = to;
  const variableChanges = (variable: string, one: ContainerEnvironment, other: ContainerEnvironment) =>
    valueChanges(variable, wireEnvironment(one), wireEnvironment(other), true);
  return [
    ...valueChanges(
      path,
      { ...fromFields, command: fromFields.command ?? [] },
      { ...toFields, command: toFields.command ?? [] },
      true,
    ),
    ...listChanges(`${path}.environment`, fromEnvironment, toEnvironment, wireEnvironment, variableChanges),
    ...portChanges(`${path}.ports`, fromPorts ?? [], toPorts ?? []),
  ];
}

/** Ports by name; what is left over at the same place in both lists is one port that was renamed. */
function portChanges(path: string, from: readonly ContainerPort[], to: readonly ContainerPort[]): DefinitionChange[] {
  const [fromKeys, toKeys] = [portKeys(from), portKeys(to)];
  const toByKey = new Map(to.map((port, index) => [toKeys[index], port]));
  const [known, wanted] = [new Set(fromKeys), new Set(toKeys)];
  const isRemoved = (index: number): boolean => index < from.length && !wanted.has(fromKeys[index] ?? '');
  const isAdded = (index: number): boolean => index < to.length && !known.has(toKeys[index] ?? '');

  const oldPorts = from.flatMap((port, index) => {
    const entry = `${path}[${index}]`;
    const successor = isRemoved(index) && isAdded(index) ? to[index] : toByKey.get(fromKeys[index]);
    if (!successor) return wholeChange(entry, wirePort(port), null, true);
    const { hostPort: fromHostPort, ...fromFields } = wirePort(port);
    const { hostPort: toHostPort, ...toFields } = wirePort(successor);
    return [
      ...valueChanges(entry, fromFields, toFields, true),
      ...valueChanges(`${entry}.hostPort`, fromHostPort, toHostPort, false),
    ];
  });
  const addedPorts = to.flatMap((port, index) =>
    isAdded(index) && !isRemoved(index) ? wholeChange(`${path}[${index}]`, null, wirePort(port), true) : [],
  );
  const oldOrder = fromKeys.filter((key) => wanted.has(key));
  const newOrder = toKeys.filter((key) => known.has(key));
  const order = isSame(oldOrder, newOrder) ? [] : wholeChange(path, from.map(wirePort), to.map(wirePort), false);
  return [...oldPorts, ...addedPorts, ...order];
}

/** A key for each port of a container: its name, and which of that name it is, as nothing stops a name from being used twice. */
function portKeys(ports: readonly ContainerPort[]): string[] {
  const uses = new Map<string, number>();
  return ports.map(({ name }) => {
    const earlier = uses.get(name) ?? 0;
    uses.set(name, earlier + 1);
    return JSON.stringify([name, earlier]);
  });
}

function forwarderChanges(path: string, from: Forwarder, to: Forwarder): DefinitionChange[] {
  const { options: fromOptions, ...fromFields } = wireForwarder(from);
  const { options: toOptions, ...toFields } = wireForwarder(to);
  return [
    ...valueChanges(path, fromFields, toFields, true),
    ...valueChanges(`${path}.options.timeout`, fromOptions.timeout, toOptions.timeout, true),
    // Free-form, where null and missing may differ: told as a whole.
    ...wholeChange(`${path}.options.metadata`, fromOptions.metadata, toOptions.metadata, true),
  ];
}

/**
 * Differences within extensions, which are as on the wire already: by field, and in lists, whose order counts, entry by entry
 * (`extensions.autoscaling.schedule.windows[0].min`). Never major: they change how many rooms there are and when they go.
 */
function extensionChanges(path: string, from: unknown, to: unknown): DefinitionChange[] {
  if (Array.isArray(from) && Array.isArray(to)) {
    return Array.from({ length: Math.max(from.length, to.length) }).flatMap((_, index) =>
      extensionChanges(`${path}[${index}]`, from[index], to[index]),
    );
  }
  if (!isFields(from) || !isFields(to)) return wholeChange(path, from, to, false);
  const keys = new Set([...Object.keys(from), ...Object.keys(to)]);
  return [...keys].flatMap((key) => extensionChanges(`${path}.${key}`, from[key], to[key]));
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Only own fields: labels may be called `constructor`. */
function fieldOf(fields: Fields, key: string): unknown {
  return Object.hasOwn(fields, key) ? fields[key] : undefined;
}

/** Equal as JSON: the order of keys and undefined fields do not count. */
function isSame(one: unknown, other: unknown): boolean {
  if (Array.isArray(one) && Array.isArray(other)) {
    return one.length === other.length && one.every((entry, index) => isSame(entry, other[index]));
  }
  if (isFields(one) && isFields(other)) {
    const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
    return [...keys].every((key) => isSame(fieldOf(one, key), fieldOf(other, key)));
  }
  return one === other;
}

function step(key: string): string {
  return /^[A-Za-z0-9_-]+$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

// As on the wire ---------------------------------------------------------------------------------------------------------

function wireSpec({ terminationGracePeriodNs, toleration, affinity, restartPolicy }: Spec) {
  return {
    terminationGracePeriod: durationText(terminationGracePeriodNs),
    toleration: toleration ?? '',
    affinity: affinity ?? '',
    restartPolicy: restartPolicy || 'Never',
  };
}

/** Seconds with none, three, six or nine digits, as protobuf writes a duration: `100s`, `0.000000015s`. */
function durationText(nanoseconds: number): string {
  const seconds = Math.trunc(nanoseconds / 1e9);
  const fraction = String(Math.abs(nanoseconds % 1e9))
    .padStart(9, '0')
    .replace(/(000)+$/, '');
  const sign = nanoseconds < 0 && seconds === 0 ? '-' : '';
  return `${sign}${seconds}${fraction && '.'}${fraction}s`;
}

function wireContainer(container: Container) {
  return {
    ...container,
    command: container.command ?? [],
    environment: (container.environment ?? []).map(wireEnvironment),
    ports: (container.ports ?? []).map(wirePort),
  };
}

/** An empty value is not shown, because the wire cannot tell it from none; a room gets the same either way. */
function wireEnvironment({ name, value, valueFrom }: ContainerEnvironment) {
  const { fieldRef, secretKeyRef } = valueFrom ?? {};
  return {
    name,
    ...(value ? { value } : {}),
    ...(fieldRef || secretKeyRef
      ? { valueFrom: { ...(fieldRef ? { fieldRef } : {}), ...(secretKeyRef ? { secretKeyRef } : {}) } }
      : {}),
  };
}

function wirePort({ name, protocol, port, hostPort, hostPortRange }: ContainerPort) {
  return { name, protocol, port, hostPort: hostPort ?? 0, ...(hostPortRange ? { hostPortRange } : {}) };
}

/** Without undefined fields, so that an added autoscaling is told as JSON. */
function wireAutoscaling(autoscaling: Autoscaling | undefined) {
  if (!autoscaling) return undefined;
  const { enabled, min, max, cooldown, policy } = autoscaling;
  const { roomOccupancy, fixedBuffer } = policy.parameters;
  const parameters = { ...(roomOccupancy ? { roomOccupancy } : {}), ...(fixedBuffer ? { fixedBuffer } : {}) };
  return { enabled, min, max, policy: { type: policy.type, parameters }, cooldown };
}

function wireForwarder({ name, enabled, type, address, options }: Forwarder) {
  const { timeoutMs, metadata } = options;
  return { name, enable: enabled, type, address, options: { timeout: String(timeoutMs), metadata: metadata ?? {} } };
}
