import { annotationFault, maxAnnotationBytes } from './kubernetes-annotations';
import {
  isAnnotationKey,
  isDnsLabel,
  isDnsSubdomain,
  isLabelKey,
  isLabelValue,
  isSecretKey,
  isVariableName,
} from './kubernetes-names';
import { isPodField, podFields } from './kubernetes-pod-fields';
import { isMoreInKubernetes, parseKubernetesQuantity } from './kubernetes-quantity';
import { isReservedAnnotation, isReservedLabel } from './reserved-keys';
import type {
  Container,
  ContainerEnvironment,
  ContainerPort,
  ContainerResources,
  PortRange,
  SchedulerDefinition,
} from './scheduler';
import {
  atLeast,
  atMost,
  entryPath,
  greaterThan,
  neverRuns,
  oneOf,
  type Problems,
  required,
  type Rule,
  unique,
} from './scheduler-problems';

// What a room is made of. v10 accepts most of what Kubernetes refuses, and then never has a room; here it is told at once, on
// every runtime, so that a definition means the same on all. `kubernetes-verdicts.fixture.ts` has examples of each rule,
// which are asked of real API servers.

/** Highest TCP, UDP or SCTP port. */
const maxPort = 65_535;
/** v10's limit. Kubernetes' own rules for names of ports do not count: what breaks them is kept beside the pod. */
const maxPortNameLength = 15;

const refused = (isRefused: boolean, tag: string, text: string): Rule => isRefused && { text, tag, neverRuns: true };

/** A namespace or container name: 1-63 of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit. */
export const resourceName = (name: string): Rule[] =>
  [
    required(name === ''),
    refused(!isDnsLabel(name), 'kube_resource_name', 'must follow the public RFC 1123 about naming conventions'),
  ].map(neverRuns);

export function checkSpec(problems: Problems, { spec }: Pick<SchedulerDefinition, 'spec'>): void {
  const { containers, toleration, affinity } = spec;
  problems.check('Scheduler.Spec.TerminationGracePeriod', greaterThan(spec.terminationGracePeriodNs, 0));
  problems.check('Scheduler.Spec.Containers', neverRuns(required(containers.length === 0)));
  const names = containers.map((container) => container.name);
  containers.forEach((container, index) => {
    const path = `Scheduler.Spec.Containers[${index}]`;
    problems.check(`${path}.Name`, ...resourceName(container.name), neverRuns(unique(names, index, 'Containers')));
    checkContainer(problems, path, container);
  });
  problems.check('Scheduler.Spec.Toleration', labelValue(toleration));
  problems.check(
    'Scheduler.Spec.Affinity',
    refused(affinity !== '' && !isLabelKey(affinity), 'kube_label_key', `must be a label key: ${keyText}`),
  );
}

function checkContainer(problems: Problems, path: string, container: Container): void {
  const { image, imagePullPolicy, environment, requests, limits, ports } = container;
  problems.check(
    `${path}.Image`,
    neverRuns(required(image === '')),
    // Within it, the API server takes white space, and every kubelet refuses it (`InvalidImageName`).
    refused(/\p{White_Space}/u.test(image), 'kube_image', 'must not contain white space'),
  );
  const pullPolicies = ['Always', 'Never', 'IfNotPresent'];
  problems.check(
    `${path}.ImagePullPolicy`,
    required(imagePullPolicy === ''),
    neverRuns(oneOf(imagePullPolicy, pullPolicies, 'image_pull_policy')),
  );
  environment.forEach((variable, index) => {
    checkVariable(problems, `${path}.Environment[${index}]`, variable);
  });
  checkResources(problems, path, requests, limits);
  ports.forEach((port, index) => {
    checkPort(problems, `${path}.Ports[${index}]`, port);
  });
}

function checkVariable(problems: Problems, path: string, { name, value, valueFrom }: ContainerEnvironment): void {
  problems.check(
    `${path}.Name`,
    neverRuns(required(name === '')),
    refused(!isVariableName(name), 'kube_env_name', "must consist of printable ASCII characters other than '='"),
  );
  // Of several sources, rooms get the first of these.
  if (value) return;
  const { secretKeyRef, fieldRef } = valueFrom ?? {};
  if (secretKeyRef) {
    const { name: secret, key } = secretKeyRef;
    problems.check(
      `${path}.ValueFrom.SecretKeyRef.Name`,
      neverRuns(required(secret === '')),
      refused(!isDnsSubdomain(secret), 'kube_secret_name', 'must follow RFC 1123 about the names of subdomains'),
    );
    problems.check(
      `${path}.ValueFrom.SecretKeyRef.Key`,
      neverRuns(required(key === '')),
      refused(
        !isSecretKey(key),
        'kube_secret_key',
        "must be at most 253 letters, digits, '-', '_' or '.', and neither '.' nor begin with '..'",
      ),
    );
  } else if (fieldRef) {
    const { fieldPath } = fieldRef;
    problems.check(
      `${path}.ValueFrom.FieldRef.FieldPath`,
      neverRuns(required(fieldPath === '')),
      refused(
        !isPodField(fieldPath),
        'kube_field_path',
        `must be one of the following options: ${podFields.join(', ')}`,
      ),
    );
  }
}

function checkResources(
  problems: Problems,
  path: string,
  requests: ContainerResources,
  limits: ContainerResources,
): void {
  problems.check(
    `${path}.Requests.Memory`,
    required(requests.memory === ''),
    quantity(requests.memory),
    within(requests.memory, limits.memory, 'Limits.Memory'),
  );
  problems.check(
    `${path}.Requests.CPU`,
    required(requests.cpu === ''),
    quantity(requests.cpu),
    within(requests.cpu, limits.cpu, 'Limits.CPU'),
  );
  problems.check(`${path}.Limits.Memory`, required(limits.memory === ''), quantity(limits.memory));
  problems.check(`${path}.Limits.CPU`, required(limits.cpu === ''), quantity(limits.cpu));
}

function quantity(text: string): Rule {
  const value = parseKubernetesQuantity(text);
  if (!value) return refused(true, 'kubernetes_quantity', 'must be a Kubernetes quantity');
  return refused(value.numerator < 0n, 'min', 'must be 0 or greater');
}

/** Of a limit that is no quantity itself, that is told. */
function within(request: string, limit: string, limitField: string): Rule {
  const [asked, most] = [parseKubernetesQuantity(request), parseKubernetesQuantity(limit)];
  const isMore = asked !== null && most !== null && most.numerator >= 0n && isMoreInKubernetes(asked, most);
  return refused(isMore, 'ltefield', `must be less than or equal to ${limitField}`);
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
  problems.check(
    `${path}.Port`,
    neverRuns(required(port === 0)),
    neverRuns(atLeast(port, 1)),
    neverRuns(atMost(port, maxPort)),
  );
  if (hostPortRange) checkPortRange(problems, `${path}.HostPortRange`, hostPortRange);
}

export function checkPortRange(problems: Problems, path: string, { start, end }: PortRange): void {
  const isOrdered = start < end;
  const startBeforeEnd = !isOrdered && { text: 'must be less than End', tag: 'ltfield' };
  const endAfterStart = !isOrdered && { text: 'must be greater than Start', tag: 'gtfield' };
  problems.check(`${path}.Start`, startBeforeEnd, atLeast(start, 1), atMost(start, maxPort));
  problems.check(`${path}.End`, endAfterStart, atLeast(end, 1), atMost(end, maxPort));
}

const nameText = "at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit";
const keyText = `${nameText}, which may follow a domain and '/'`;

const labelValue = (text: string): Rule =>
  refused(!isLabelValue(text), 'kube_label_value', `must be a label value: ${nameText}`);

/** Of what rooms get. Keys that Maestro keeps for itself may have any form and value, as they are only stored. */
export function checkAnnotations(
  problems: Problems,
  { annotations, spec }: Pick<SchedulerDefinition, 'annotations' | 'spec'>,
): void {
  const path = 'Scheduler.Annotations';
  const given = Object.entries(annotations).filter(([key, value]) => !isReservedAnnotation(key, value));
  const bytes = given.reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0);
  problems.check(
    path,
    refused(
      bytes + ownAnnotationBytes(spec.containers) > maxAnnotationBytes,
      'kube_annotations_size',
      `must be a maximum of ${maxAnnotationBytes} bytes in length, keys and values together with Maestro's own`,
    ),
  );
  const containers = spec.containers.map(({ name }) => name);
  for (const [key, value] of given) {
    const fault = annotationFault(key, value, containers);
    problems.check(
      entryPath(path, key),
      refused(!isAnnotationKey(key), 'kube_annotation_key', `must have an annotation key: ${keyText}`),
      refused(fault !== null, 'kube_annotation', fault ?? ''),
    );
  }
}

/** What rooms say of themselves in annotations, at most; some of it is written when they have a match. */
function ownAnnotationBytes(containers: readonly Container[]): number {
  const names = containers.flatMap(({ ports }) => ports.map(({ name }) => JSON.stringify(name)));
  // Of each name that Kubernetes does not take for a port: `"65535/SCTP":"…",`.
  return names.reduce((sum, name) => sum + '"65535/SCTP":,'.length + Buffer.byteLength(name), ownFixedBytes);
}

/** Operation, creation, and what autoscalers are told, with room for one that is to come. */
const ownFixedBytes = 512;

export function checkLabels(problems: Problems, { labels }: Pick<SchedulerDefinition, 'labels'>): void {
  for (const [key, value] of Object.entries(labels)) {
    if (isReservedLabel(key)) continue;
    problems.check(
      entryPath('Scheduler.Labels', key),
      refused(!isLabelKey(key), 'kube_label_key', `must have a label key: ${keyText}`),
      labelValue(value),
    );
  }
}
