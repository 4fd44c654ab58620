import type { Autoscaling, Forwarder, SchedulerDefinition } from './scheduler';
import {
  atLeast,
  atMost,
  greaterThan,
  lessThan,
  oneOf,
  Problems,
  required,
  type SchedulerProblem,
  unique,
} from './scheduler-problems';
import { checkAnnotations, checkLabels, checkPortRange, checkSpec, resourceName } from './validate-room-spec';
import { extensionPolicyTypes, validateExtensions } from './validate-extensions';

/** v10's limit. */
const maxMatchesLimit = 35;

/** Namespaces that every cluster has from its first moment on, so that no scheduler can be made in them. */
const namespacesOfClusters: readonly string[] = ['default', 'kube-node-lease', 'kube-public', 'kube-system'];

/** A positive integer, or one with `%`. v10 also takes `0%` and `-5%`, which mean nothing. */
function isMaxSurge(text: string): boolean {
  const match = /^\+?(\d+)%?$/.exec(text);
  return match !== null && Number(match[1]) >= 1 && Number.isSafeInteger(Number(match[1]));
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
  const types = ['roomOccupancy', 'fixedBuffer', ...extensionPolicyTypes];
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
 * empty when it is valid. At most one line per field: autoscaling's first, then the scheduler's, our extensions', how ports are
 * configured.
 *
 * v10 stops after autoscaling's problems; here all are told at once. Beyond v10 it refuses a `maxSurge` of `0%` or less,
 * ports outside 1-65535, forwarders of the same name, and what no Kubernetes would ever run (`validate-room-spec.ts`).
 */
export function validateScheduler(name: string, definition: SchedulerDefinition): string[] {
  return validateSchedulerDetailed(name, definition).map(({ message }) => message);
}

/** `validateScheduler` of one that is to be made: one that exists may have a name that would no longer be given. */
export function validateNewScheduler(name: string, definition: SchedulerDefinition): string[] {
  return findProblems(name, definition, namespacesOfClusters).map(({ message }) => message);
}

/** Of the problems of a definition, those for which no room of it is ever made, on any cluster. */
export function whyNeverRuns(name: string, definition: SchedulerDefinition): string[] {
  return validateSchedulerDetailed(name, definition)
    .filter(({ neverRuns }) => neverRuns)
    .map(({ message }) => message);
}

/**
 * `validateScheduler` with v10's second wording too, that of its validator library, which PATCH answers with
 * (`invalid patched scheduler: …`, one line each; `management.md` 1.6).
 */
export function validateSchedulerDetailed(name: string, definition: SchedulerDefinition): SchedulerProblem[] {
  return findProblems(name, definition, []);
}

function findProblems(
  name: string,
  definition: SchedulerDefinition,
  takenNames: readonly string[],
): SchedulerProblem[] {
  const { game, autoscaling, portRange, roomsReplicas, maxSurge, forwarders, matchAllocation } = definition;
  const problems = new Problems();
  if (autoscaling) checkAutoscaling(problems, autoscaling);

  const isTaken = takenNames.includes(name);
  problems.check(
    'Scheduler.Name',
    ...resourceName(name),
    isTaken && {
      text: `must not be a name that Kubernetes keeps for itself: ${takenNames.join(', ')}`,
      tag: 'kube_namespace',
    },
  );
  problems.check('Scheduler.Game', required(game === ''));
  checkSpec(problems, definition);
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
  checkAnnotations(problems, definition);
  checkLabels(problems, definition);
  const { maxMatches } = matchAllocation;
  problems.check(
    'Scheduler.MatchAllocation.MaxMatches',
    required(maxMatches === 0),
    atLeast(maxMatches, 1),
    atMost(maxMatches, maxMatchesLimit),
  );
  const sentences = [...validateExtensions(definition), ...portConfigurationProblems(definition)];
  return [
    ...problems.found,
    ...sentences.map((sentence) => ({ message: sentence, untranslated: sentence, neverRuns: false })),
  ];
}

/** The message that a client sees for these problems; the same bytes as v10's. */
export function validationMessage(problems: readonly string[]): string {
  return `Validation Error:\n${problems.join('\n')}`;
}
