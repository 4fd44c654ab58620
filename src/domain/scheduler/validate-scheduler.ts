import { parseKubernetesQuantity } from './kubernetes-quantity';
import type {
  Autoscaling,
  Container,
  ContainerPort,
  ContainerResources,
  Forwarder,
  PortRange,
  SchedulerDefinition,
} from './scheduler';

/** One thing that is wrong with a definition, in both of v10's wordings. */
export interface SchedulerProblem {
  /** What POST answers, one line of it: `Scheduler.MaxSurge: MaxSurge must be a number …`. */
  message: string;
  /** What PATCH answers: `Key: 'Scheduler.MaxSurge' Error:Field validation for 'MaxSurge' failed on the 'max_surge' tag`. */
  untranslated: string;
}

/** A rule that failed: the rest of the sentence that begins with the field, and the name of v10's rule. */
interface Failure {
  text: string;
  tag: string;
}
type Rule = Failure | false;

/** Problems of one definition, each with a Go path to the field that it is about. */
class Problems {
  readonly found: SchedulerProblem[] = [];

  /** Notes the first of the rules that fails; `path` ends with the field. */
  check(path: string, ...rules: Rule[]): void {
    const failure = rules.find((rule) => rule !== false);
    if (failure) this.add(path, fieldOf(path), failure);
  }

  /** Notes a failure whose sentence begins with another word than the field. */
  add(path: string, subject: string, { text, tag }: Failure): void {
    // POST validates autoscaling by itself, PATCH only as a part of the scheduler.
    const key = path.startsWith('Scheduler.') ? path : `Scheduler.${path}`;
    this.found.push({
      message: `${path}: ${subject} ${text}`,
      untranslated: `Key: '${key}' Error:Field validation for '${fieldOf(path)}' failed on the '${tag}' tag`,
    });
  }
}

function fieldOf(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1);
}

// Tags: go-playground/validator's where it has the rule, otherwise names in its style (v10's own are known for `max_surge` only).
const required = (isMissing: boolean): Rule => isMissing && { text: 'is a required field', tag: 'required' };
const oneOf = (value: string, options: readonly string[], tag: string): Rule =>
  !options.includes(value) && { text: `must be one of the following options: ${options.join(', ')}`, tag };
const atLeast = (value: number, min: number): Rule =>
  !(value >= min) && { text: `must be ${min} or greater`, tag: 'min' };
const atMost = (value: number, max: number): Rule => !(value <= max) && { text: `must be ${max} or less`, tag: 'max' };
const greaterThan = (value: number, bound: number): Rule =>
  !(value > bound) && { text: `must be greater than ${bound}`, tag: 'gt' };
const lessThan = (value: number, bound: number): Rule =>
  !(value < bound) && { text: `must be less than ${bound}`, tag: 'lt' };

/** Highest TCP, UDP or SCTP port. */
const maxPort = 65_535;
/** Kubernetes' limit for the name of a port (IANA_SVC_NAME). */
const maxPortNameLength = 15;
/** v10's limit. */
const maxMatchesLimit = 35;

/** A namespace or container name: 1-63 of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit. */
const rfc1123Label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const resourceName = (name: string): Rule[] => [
  required(name === ''),
  !rfc1123Label.test(name) && {
    text: 'must follow the public RFC 1123 about naming conventions',
    tag: 'kube_resource_name',
  },
];

/** Refuses the second and further uses of a name, where v10 lets the runtime or the last entry decide. */
const unique = (names: readonly string[], index: number, list: string): Rule =>
  names.indexOf(names[index] ?? '') < index && { text: `must be unique within ${list}`, tag: 'unique' };

/** A positive integer, or one with `%`. v10 also takes `0%` and `-5%`, which mean nothing. */
function isMaxSurge(text: string): boolean {
  const match = /^\+?(\d+)%?$/.exec(text);
  return match !== null && Number(match[1]) >= 1 && Number.isSafeInteger(Number(match[1]));
}

function checkPortRange(problems: Problems, path: string, { start, end }: PortRange): void {
  const isOrdered = start < end;
  const startBeforeEnd = !isOrdered && { text: 'must be less than End', tag: 'ltfield' };
  const endAfterStart = !isOrdered && { text: 'must be greater than Start', tag: 'gtfield' };
  problems.check(`${path}.Start`, startBeforeEnd, atLeast(start, 1), atMost(start, maxPort));
  problems.check(`${path}.End`, endAfterStart, atLeast(end, 1), atMost(end, maxPort));
}

function checkAutoscaling(problems: Problems, { min, max, cooldown, policy }: Autoscaling): void {
  const isAboveMax = max >= 0 && min > max;
  problems.check(
    'Autoscaling.Min',
    atLeast(min, 1),
    isAboveMax && { text: 'must be a number lower than Max', tag: 'min_lower_than_max' },
  );
  problems.check('Autoscaling.Max', atLeast(max, -1));
  problems.check('Autoscaling.Cooldown', atLeast(cooldown, 0));
  const { roomOccupancy, fixedBuffer } = policy.parameters;
  const types = ['roomOccupancy', 'fixedBuffer'];
  problems.check(
    'Autoscaling.Policy.Type',
    !types.includes(policy.type) && { text: `must be one of [${types.join(' ')}]`, tag: 'oneof' },
  );
  const parameters = 'Autoscaling.Policy.Parameters';
  if (policy.type === 'roomOccupancy' && !roomOccupancy) {
    problems.add(parameters, 'RoomOccupancy', {
      text: 'must not be nil for RoomOccupancy policy type',
      tag: 'required_for_room_occupancy',
    });
  }
  if (policy.type === 'fixedBuffer' && !fixedBuffer) {
    problems.add(parameters, 'FixedBuffer', {
      text: 'must not be nil for FixedBuffer policy type',
      tag: 'required_for_fixed_buffer',
    });
  }
  if (roomOccupancy) {
    const { readyTarget, downThreshold } = roomOccupancy;
    const path = `${parameters}.RoomOccupancy`;
    problems.check(`${path}.ReadyTarget`, greaterThan(readyTarget, 0), lessThan(readyTarget, 1));
    problems.check(`${path}.DownThreshold`, greaterThan(downThreshold, 0), lessThan(downThreshold, 1));
  }
  if (fixedBuffer) problems.check(`${parameters}.FixedBuffer.Amount`, greaterThan(fixedBuffer.amount, 0));
}

/** What Kubernetes would refuse for every room, v10 after accepting the scheduler. */
function quantity(text: string): Rule {
  const value = parseKubernetesQuantity(text);
  if (!value) return { text: 'must be a Kubernetes quantity', tag: 'kubernetes_quantity' };
  return value.numerator < 0n && { text: 'must be 0 or greater', tag: 'min' };
}

function checkResources(problems: Problems, path: string, { memory, cpu }: ContainerResources): void {
  problems.check(`${path}.Memory`, required(memory === ''), quantity(memory));
  problems.check(`${path}.CPU`, required(cpu === ''), quantity(cpu));
}

function checkPort(problems: Problems, path: string, { name, protocol, port, hostPortRange }: ContainerPort): void {
  const isTooLong = [...name].length > maxPortNameLength;
  problems.check(
    `${path}.Name`,
    required(name === ''),
    isTooLong && { text: `must be a maximum of ${maxPortNameLength} characters in length`, tag: 'max' },
  );
  problems.check(
    `${path}.Protocol`,
    required(protocol === ''),
    oneOf(protocol, ['tcp', 'udp', 'sctp'], 'ports_protocol'),
  );
  problems.check(`${path}.Port`, required(port === 0), atLeast(port, 1), atMost(port, maxPort));
  if (hostPortRange) checkPortRange(problems, `${path}.HostPortRange`, hostPortRange);
}

function checkContainer(problems: Problems, path: string, container: Container): void {
  const { image, imagePullPolicy, environment, requests, limits, ports } = container;
  problems.check(`${path}.Image`, required(image === ''));
  const pullPolicies = ['Always', 'Never', 'IfNotPresent'];
  problems.check(
    `${path}.ImagePullPolicy`,
    required(imagePullPolicy === ''),
    oneOf(imagePullPolicy, pullPolicies, 'image_pull_policy'),
  );
  environment.forEach(({ name }, index) => {
    problems.check(`${path}.Environment[${index}].Name`, required(name === ''));
  });
  checkResources(problems, `${path}.Requests`, requests);
  checkResources(problems, `${path}.Limits`, limits);
  ports.forEach((port, index) => {
    checkPort(problems, `${path}.Ports[${index}]`, port);
  });
}

function checkForwarder(problems: Problems, path: string, { type, address, options }: Forwarder): void {
  problems.check(`${path}.ForwardType`, required(type === ''), oneOf(type, ['gRPC'], 'forwarder_type'));
  problems.check(`${path}.Address`, required(address === ''));
  problems.check(`${path}.Options.Timeout`, required(options.timeoutMs === 0));
}

/** Where host ports come from: one range for the scheduler, or one for each port. */
function portConfigurationProblems({ portRange, spec }: SchedulerDefinition): string[] {
  const ranges = spec.containers.flatMap(({ ports }) => ports.map(({ hostPortRange }) => hostPortRange));
  const hasPortRanges = ranges.some((range) => range !== undefined);
  if (portRange && hasPortRanges) {
    return [
      'scheduler.PortRange and scheduler.Spec.Container.Ports.HostPortRange are mutually exclusive configurations; please choose only one',
    ];
  }
  if (!portRange && !hasPortRanges) {
    return ['must configure scheduler.PortRange or scheduler.Spec.Container.Ports.HostPortRange'];
  }
  if (!portRange && ranges.includes(undefined)) {
    return ['must configure HostPortRange for all scheduler.Spec.Container.Ports'];
  }
  return [];
}

/**
 * Everything that is wrong with a definition, in v10's words (`management.md` 2.3), because clients and people match them;
 * empty when it is valid. At most one line per field: autoscaling's first, then the scheduler's, then how ports are configured.
 *
 * v10 stops after autoscaling's problems; here all are told at once. Beyond v10 it refuses a `maxSurge` of `0%` or less,
 * ports outside 1-65535, containers or forwarders of the same name, and cpu and memory that Kubernetes cannot read.
 */
export function validateScheduler(name: string, definition: SchedulerDefinition): string[] {
  return validateSchedulerDetailed(name, definition).map(({ message }) => message);
}

/**
 * `validateScheduler` with v10's second wording too, that of its validator library, which PATCH answers with
 * (`invalid patched scheduler: …`, one line each; `management.md` 1.6).
 */
export function validateSchedulerDetailed(name: string, definition: SchedulerDefinition): SchedulerProblem[] {
  const { game, spec, autoscaling, portRange, roomsReplicas, maxSurge, forwarders, matchAllocation } = definition;
  const problems = new Problems();
  if (autoscaling) checkAutoscaling(problems, autoscaling);

  problems.check('Scheduler.Name', ...resourceName(name));
  problems.check('Scheduler.Game', required(game === ''));
  problems.check('Scheduler.Spec.TerminationGracePeriod', greaterThan(spec.terminationGracePeriodNs, 0));
  problems.check('Scheduler.Spec.Containers', required(spec.containers.length === 0));
  const containerNames = spec.containers.map((container) => container.name);
  spec.containers.forEach((container, index) => {
    const path = `Scheduler.Spec.Containers[${index}]`;
    problems.check(`${path}.Name`, ...resourceName(container.name), unique(containerNames, index, 'Containers'));
    checkContainer(problems, path, container);
  });
  if (portRange) checkPortRange(problems, 'Scheduler.PortRange', portRange);
  problems.check('Scheduler.RoomsReplicas', atLeast(roomsReplicas, 0));
  const isSurge = isMaxSurge(maxSurge);
  problems.check(
    'Scheduler.MaxSurge',
    required(maxSurge === ''),
    !isSurge && {
      text: "must be a number greater than zero or a number greater than zero with suffix '%'",
      tag: 'max_surge',
    },
  );
  const forwarderNames = forwarders.map((forwarder) => forwarder.name);
  forwarders.forEach((forwarder, index) => {
    const path = `Scheduler.Forwarders[${index}]`;
    problems.check(`${path}.Name`, required(forwarder.name === ''), unique(forwarderNames, index, 'Forwarders'));
    checkForwarder(problems, path, forwarder);
  });
  const { maxMatches } = matchAllocation;
  problems.check(
    'Scheduler.MatchAllocation.MaxMatches',
    required(maxMatches === 0),
    atLeast(maxMatches, 1),
    atMost(maxMatches, maxMatchesLimit),
  );
  const sentences = portConfigurationProblems(definition);
  return [...problems.found, ...sentences.map((sentence) => ({ message: sentence, untranslated: sentence }))];
}

/** The message that a client sees for these problems; the same bytes as v10's. */
export function validationMessage(problems: readonly string[]): string {
  return `Validation Error:\n${problems.join('\n')}`;
}
