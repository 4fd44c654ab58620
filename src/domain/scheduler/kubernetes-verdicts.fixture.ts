import type { ContainerEnvironment, ContainerResources } from './scheduler';
import { aContainer, aPort, withContainer, withPort, type Changes } from './scheduler.fixture';

/**
 * A definition that Kubernetes never takes, or one at the edge that it takes. One table for our rules and for real API servers
 * (`test/integration/kubernetes-verdicts.spec.ts`): both must say the same.
 */
export interface Verdict {
  what: string;
  changes: Changes;
  /** What we answer; empty where it is accepted. */
  problems: string[];
  /** Whether a server of `1.<minor>` takes the pod, where that is not what we answer; with the reason beside it. */
  isTakenBy?: (minor: number) => boolean;
}

const a = (length: number): string => 'a'.repeat(length);
const named = (text: string): string => (text.length > 20 ? `${text.length} of ${text[0]}` : JSON.stringify(text));

const taken = (what: string, changes: Changes, isTakenBy?: Verdict['isTakenBy']): Verdict => ({
  what,
  changes,
  problems: [],
  ...(isTakenBy ? { isTakenBy } : {}),
});
const refused = (what: string, changes: Changes, ...problems: string[]): Verdict => ({ what, changes, problems });

const container = 'Scheduler.Spec.Containers[0]';

// Resources ------------------------------------------------------------------------------------------------------------

const resources = (requests: Partial<ContainerResources>, limits: Partial<ContainerResources> = {}): Changes =>
  withContainer({
    requests: { memory: '0', cpu: '0', ...requests },
    limits: { memory: '1Ei', cpu: '1E', ...limits },
  });
const more = (field: 'Memory' | 'CPU'): string =>
  `${container}.Requests.${field}: ${field} must be less than or equal to Limits.${field}`;

const unreadable = (cpu: string, isTakenBy?: Verdict['isTakenBy']): Verdict => ({
  what: `a quantity of ${JSON.stringify(cpu)}`,
  changes: resources({ cpu }),
  problems: [`${container}.Requests.CPU: CPU must be a Kubernetes quantity`],
  ...(isTakenBy ? { isTakenBy } : {}),
});

const amounts: Verdict[] = [
  taken('as much cpu as its limit', resources({ cpu: '1500m' }, { cpu: '1.5' })),
  refused('a thousandth of a core more than its limit', resources({ cpu: '1501m' }, { cpu: '1.5' }), more('CPU')),
  taken('as much memory as its limit', resources({ memory: '1024Mi' }, { memory: '1Gi' })),
  refused('a byte more than its limit', resources({ memory: '1073741825' }, { memory: '1Gi' }), more('Memory')),
  refused('1G of 1000M less a byte', resources({ memory: '1G' }, { memory: '999999999' }), more('Memory')),
  refused(
    'more of both, beyond what doubles can tell apart',
    resources(
      { memory: '9007199254740993', cpu: '9007199254740993' },
      { memory: '9007199254740992', cpu: '9007199254740992' },
    ),
    more('Memory'),
    more('CPU'),
  ),
  taken('a difference that rounding up to thousandths takes away', resources({ cpu: '1500u' }, { cpu: '1400u' })),
  refused('a difference that it makes', resources({ cpu: '2100u' }, { cpu: '2m' }), more('CPU')),
  taken('binary amounts that are capped to the same', resources({ memory: '10Ei' }, { memory: '8Ei' })),
  refused('decimal amounts, which are not capped', resources({ memory: '1e100' }, { memory: '1e50' }), more('Memory')),
  refused('anything with a limit of 0', resources({ cpu: '1n' }, { cpu: '0' }), more('CPU')),
  taken('nothing with a limit of 0', resources({ cpu: '0', memory: '-0' }, { cpu: '0', memory: '0' })),
  ...['+1', '.5', '1.', '1E', '1e3', '1E+3', '1e-3', '1n', '7u', '1k', '1Ki'].map((cpu) =>
    taken(`a quantity of ${cpu}`, resources({ cpu })),
  ),
  ...['one', '1K', '1ki', '1 Mi', '1,5', '1e', '1MB', '1e3Mi', '--1', '0x1', '١'].map((cpu) => unreadable(cpu)),
  // Read as 0.
  unreadable('.', () => true),
  // The API server trims what it reads; v10 read it before, and did not.
  unreadable(' 1', () => true),
  refused(
    'less than nothing',
    resources({ cpu: '-1n', memory: '0' }, { memory: '-1' }),
    `${container}.Requests.CPU: CPU must be 0 or greater`,
    `${container}.Limits.Memory: Memory must be 0 or greater`,
  ),
];

// Containers -----------------------------------------------------------------------------------------------------------

const label = 'must follow the public RFC 1123 about naming conventions';

const image: Verdict[] = [
  refused('no image', withContainer({ image: '' }), `${container}.Image: Image is a required field`),
  ...[' ', ' game:1', 'game:1\n', 'game:1\u00a0', '\u2003game:1', 'game:1\u0085'].map((text) =>
    refused(
      `an image with white space around it: ${JSON.stringify(text)}`,
      withContainer({ image: text }),
      `${container}.Image: Image must not contain white space`,
    ),
  ),
  {
    what: 'an image with white space in it',
    changes: withContainer({ image: 'my game:1' }),
    problems: [`${container}.Image: Image must not contain white space`],
    // Kubelets refuse it: InvalidImageName.
    isTakenBy: () => true,
  },
  taken('an image that is a digest', withContainer({ image: `registry.example:5000/game@sha256:${a(64)}` })),
];

const containers: Verdict[] = [
  refused('no containers', { spec: { containers: [] } }, 'Scheduler.Spec.Containers: Containers is a required field'),
  refused('a container without a name', withContainer({ name: '' }), `${container}.Name: Name is a required field`),
  ...['Main', 'main_1', 'main.1', '-main', 'main-', a(64)].map((name) =>
    refused(`a container called ${named(name)}`, withContainer({ name }), `${container}.Name: Name ${label}`),
  ),
  ...['7', 'a--b', a(63)].map((name) => taken(`a container called ${named(name)}`, withContainer({ name }))),
  refused(
    'two containers of one name',
    { spec: { containers: [aContainer(), aContainer({ ports: [] })] } },
    'Scheduler.Spec.Containers[1].Name: Name must be unique within Containers',
  ),
  ...['Always', 'Never', 'IfNotPresent'].map((imagePullPolicy) =>
    taken(`the pull policy ${imagePullPolicy}`, withContainer({ imagePullPolicy })),
  ),
  refused(
    'another pull policy',
    withContainer({ imagePullPolicy: 'always' }),
    `${container}.ImagePullPolicy: ImagePullPolicy must be one of the following options: Always, Never, IfNotPresent`,
  ),
  taken('any command', withContainer({ command: ['', 'a b', '\u0001', '$(A)'] })),
  taken('any restart policy, which v10 does not check: rooms get Never', { spec: { restartPolicy: 'Sometimes' } }),
  taken('the shortest grace period', { spec: { terminationGracePeriodNs: 1 } }),
  taken('the longest grace period of the wire', { spec: { terminationGracePeriodNs: 315_576_000_000e9 } }),
];

const ports: Verdict[] = [
  taken('no ports', withContainer({ ports: [] })),
  ...['tcp', 'udp', 'sctp'].map((protocol) => taken(`a port for ${protocol}`, withPort({ protocol }))),
  ...[1, 65_535].map((port) => taken(`the port ${port}`, withPort({ port }))),
  refused('the port 0', withPort({ port: 0 }), `${container}.Ports[0].Port: Port is a required field`),
  refused('the port -1', withPort({ port: -1 }), `${container}.Ports[0].Port: Port must be 1 or greater`),
  refused('the port 65536', withPort({ port: 65_536 }), `${container}.Ports[0].Port: Port must be 65535 or less`),
  // Beyond what Kubernetes takes for the name of a port: it is kept beside the pod.
  ...['clientPort', 'a b', '7', 'a--b', '-', 'ü"\u0001'].map((name) =>
    taken(`a port called ${name}`, withPort({ name })),
  ),
  taken('two ports of one name in a container', withContainer({ ports: [aPort(), aPort({ port: 7778 })] })),
  taken('two ports of one number in a container', withContainer({ ports: [aPort(), aPort({ name: 'query' })] })),
  taken('two containers with the same ports', {
    spec: { containers: [aContainer(), aContainer({ name: 'side' })] },
  }),
];

// Environment ----------------------------------------------------------------------------------------------------------

const variable = (changes: Partial<ContainerEnvironment>): Changes =>
  withContainer({ environment: [{ name: 'A', ...changes }] });
const secret = (name: string, key: string): Changes => variable({ valueFrom: { secretKeyRef: { name, key } } });
const field = (fieldPath: string): Changes => variable({ valueFrom: { fieldRef: { fieldPath } } });
const first = `${container}.Environment[0]`;
const fieldOptions =
  'metadata.name, metadata.namespace, metadata.uid, spec.nodeName, spec.serviceAccountName, status.hostIP, status.hostIPs, ' +
  "status.podIP, status.podIPs, metadata.labels['<KEY>'], metadata.annotations['<KEY>']";

const environment: Verdict[] = [
  ...['A', '_', '-', '.a', 'A.b-C_9', 'MAESTRO_ROOM_ID', a(5_000)].map((name) =>
    taken(`a variable called ${named(name)}`, variable({ name, value: 'x' })),
  ),
  // What newer servers take must be possible on them.
  ...['a b', ' ', '1A', '.', '..', '..a', 'a/b', '$', '~', '"'].map((name) =>
    taken(`a variable called ${named(name)}`, variable({ name, value: 'x' }), (minor) => minor >= 32),
  ),
  refused('a variable without a name', variable({ name: '' }), `${first}.Name: Name is a required field`),
  ...['=', 'A=', 'a\tb', 'A\n', '\u007f', 'ä'].map((name) =>
    refused(
      `a variable called ${named(name)}`,
      variable({ name, value: 'x' }),
      `${first}.Name: Name must consist of printable ASCII characters other than '='`,
    ),
  ),
  taken('a variable twice', withContainer({ environment: [{ name: 'A' }, { name: 'A', value: 'b' }] })),
  taken('any value', variable({ value: '\u0001 ü $(B) \n' })),
  taken('a value beside a source that is none', {
    ...withContainer({ environment: [{ name: 'A', value: 'x', valueFrom: { secretKeyRef: { name: '', key: '' } } }] }),
  }),
  taken('a source that is neither field nor secret', variable({ valueFrom: {} })),

  ...['s', 'a.b-c', a(253)].map((name) => taken(`a secret called ${named(name)}`, secret(name, 'k'))),
  refused(
    'a secret without name and key',
    secret('', ''),
    `${first}.ValueFrom.SecretKeyRef.Name: Name is a required field`,
    `${first}.ValueFrom.SecretKeyRef.Key: Key is a required field`,
  ),
  ...['S', 'a_b', 'a b', 'a..b', '-a', 'a/b', a(254)].map((name) =>
    refused(
      `a secret called ${named(name)}`,
      secret(name, 'k'),
      `${first}.ValueFrom.SecretKeyRef.Name: Name must follow RFC 1123 about the names of subdomains`,
    ),
  ),
  ...['K_.-9', '.k', a(253)].map((key) => taken(`the key ${named(key)} of a secret`, secret('s', key))),
  ...['.', '..', '..k', 'a b', 'a/b', 'ä', a(254)].map((key) =>
    refused(
      `the key ${named(key)} of a secret`,
      secret('s', key),
      `${first}.ValueFrom.SecretKeyRef.Key: Key must be at most 253 letters, digits, '-', '_' or '.', and neither '.' nor begin with '..'`,
    ),
  ),

  ...[
    ...fieldOptions.split(', ').filter((path) => !path.endsWith(']') && path !== 'status.hostIPs'),
    'spec.host',
    "metadata.labels['team']",
    "metadata.labels['a/B']",
    "metadata.annotations['A/b']",
    "metadata.annotations['maestro.io/creation']",
  ].map((path) => taken(`the field ${path}`, field(path))),
  taken('the field status.hostIPs', field('status.hostIPs'), (minor) => minor >= 28),
  refused('no field', field(''), `${first}.ValueFrom.FieldRef.FieldPath: FieldPath is a required field`),
  ...[
    'status.phase',
    'spec.restartPolicy',
    'metadata.labels',
    'metadata.annotations',
    'metadata.generateName',
    'metadata.creationTimestamp',
    '.metadata.name',
    ' metadata.name',
    'metadata.name ',
    'Metadata.name',
    "metadata.name['a']",
    "metadata.labels['']",
    "metadata.labels['A/b']",
    "metadata.labels['a b']",
    "metadata.labels['a'b']",
    "metadata.labels['a']b",
    'metadata.labels[a]',
    'metadata.labels["a"]',
    "metadata.labels['<KEY>']",
    "metadata.annotations['a b']",
    "metadata.annotations['<KEY>']",
    'limits.cpu',
  ].map((path) =>
    refused(
      `the field ${path}`,
      field(path),
      `${first}.ValueFrom.FieldRef.FieldPath: FieldPath must be one of the following options: ${fieldOptions}`,
    ),
  ),
];

// Where rooms run ------------------------------------------------------------------------------------------------------

const nameText = "at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit";
const afterDomain = `${nameText}, which may follow a domain and '/'`;

const validValues = ['A', 'A_.-9', a(63)];
const invalidValues = ['a b', 'a/b', '-a', 'a-', '.', 'ä', a(64)];
const validKeys = ['A', 'A_.-9', a(63), 'a/B', 'example.com/team', `${a(253)}/${a(63)}`, 'kubernetes.io/team'];
const invalidKeys = ['a b', '-a', 'a-', 'ä', a(64), '/a', 'a/', 'a/b/c', 'a_b/c', 'a..b/c', `${a(254)}/b`, '__proto__'];

const placement: Verdict[] = [
  ...validValues.map((toleration) => taken(`the toleration ${named(toleration)}`, { spec: { toleration } })),
  ...invalidValues.map((toleration) =>
    refused(
      `the toleration ${named(toleration)}`,
      { spec: { toleration } },
      `Scheduler.Spec.Toleration: Toleration must be a label value: ${nameText}`,
    ),
  ),
  ...validKeys.map((affinity) => taken(`the affinity ${named(affinity)}`, { spec: { affinity } })),
  ...[...invalidKeys, 'A/b'].map((affinity) =>
    refused(
      `the affinity ${named(affinity)}`,
      { spec: { affinity } },
      `Scheduler.Spec.Affinity: Affinity must be a label key: ${afterDomain}`,
    ),
  ),
];

// Labels and annotations -----------------------------------------------------------------------------------------------

/** Not by assignment, which does not know `__proto__`. */
const entry = (key: string, value: string): Record<string, string> => Object.fromEntries([[key, value]]);
const shown = (key: string): string => JSON.stringify(key.length > 80 ? `${key.slice(0, 80)}…` : key);

const labels: Verdict[] = [
  ...validKeys.map((key) => taken(`the label ${named(key)}`, { labels: entry(key, '') })),
  ...['', 'A/b', ...invalidKeys].map((key) =>
    refused(
      `the label ${named(key)}`,
      { labels: entry(key, 'v') },
      `Scheduler.Labels[${shown(key)}]: Labels[${shown(key)}] must have a label key: ${afterDomain}`,
    ),
  ),
  ...['', ...validValues].map((value) => taken(`a label of ${named(value)}`, { labels: { team: value } })),
  ...invalidValues.map((value) =>
    refused(
      `a label of ${named(value)}`,
      { labels: { 'example.com/team': value } },
      `Scheduler.Labels["example.com/team"]: Labels["example.com/team"] must be a label value: ${nameText}`,
    ),
  ),
  taken("keys of Maestro's own, of any form, which are stored only", {
    labels: { heritage: 'not ours!', version: 'a b', 'maestro-scheduler': '-', 'maestro.io/a b': 'ä' },
    annotations: {
      'maestro.io/a b': 'x'.repeat(300_000),
      'cluster-autoscaler.kubernetes.io/safe-to-evict': 'yes',
    },
  }),
];

const appArmor = 'container.apparmor.security.beta.kubernetes.io/';
const seccomp = 'container.seccomp.security.alpha.kubernetes.io/';
const annotated = (key: string, value: string, text: string): Verdict =>
  refused(
    `the annotation ${key} of ${named(value)}`,
    { annotations: { [key]: value } },
    `Scheduler.Annotations["${key}"]: Annotations["${key}"] ${text}`,
  );
const sized = (bytes: number, character = 'x'): Changes => ({
  annotations: { a: character.repeat((bytes - 1) / Buffer.byteLength(character)) },
});
/** With what Maestro's own take in the rooms of the sample: fewer bytes than are kept free for them. */
const mostBytes = 262_144 - 512 - '"65535/SCTP":"game",'.length;
const tooLarge =
  "Scheduler.Annotations: Annotations must be a maximum of 262144 bytes in length, keys and values together with Maestro's own";

const annotations: Verdict[] = [
  ...[...validKeys, 'A/b'].map((key) => taken(`the annotation ${named(key)}`, { annotations: entry(key, 'ü \u0001') })),
  ...['', ...invalidKeys].map((key) =>
    refused(
      `the annotation ${named(key)}`,
      { annotations: entry(key, 'v') },
      `Scheduler.Annotations[${shown(key)}]: Annotations[${shown(key)}] must have an annotation key: ${afterDomain}`,
    ),
  ),
  taken('as many bytes of annotations as there is room for', sized(mostBytes)),
  {
    what: "a byte more, in the room that is kept for Maestro's own",
    changes: sized(mostBytes + 1),
    problems: [tooLarge],
    isTakenBy: () => true,
  },
  refused('more than all the room', sized(262_145), tooLarge),
  refused('more than all the room, in fewer characters', sized(262_145, 'ä'), tooLarge),
  annotated('kubernetes.io/config.mirror', '', 'must be left to the kubelet, which marks its own pods with it'),
  ...['unconfined', 'runtime/default', 'docker/default', 'localhost/a/b'].flatMap((profile) => [
    taken(`the seccomp profile ${profile} of the pod`, {
      annotations: { 'seccomp.security.alpha.kubernetes.io/pod': profile },
    }),
    taken(`the seccomp profile ${profile} of a container`, { annotations: { [`${seccomp}main`]: profile } }),
  ]),
  ...['', 'default', 'localhost//a', 'localhost/../a'].flatMap((profile) =>
    ['seccomp.security.alpha.kubernetes.io/pod', `${seccomp}main`].map((key) =>
      annotated(key, profile, 'must be runtime/default, docker/default, unconfined or localhost/<PATH>'),
    ),
  ),
  ...['', 'runtime/default', 'unconfined', 'localhost/', 'localhost/a'].map((profile) =>
    taken(`the AppArmor profile ${named(profile)}`, { annotations: { [`${appArmor}main`]: profile } }),
  ),
  annotated(`${appArmor}main`, 'default', 'must be runtime/default, unconfined or localhost/<NAME>'),
  annotated(`${appArmor}other`, 'runtime/default', 'must name a container of the scheduler'),
  // Servers of before 1.22 do not look at it.
  taken(
    'a deletion cost that is no number',
    { annotations: { 'controller.kubernetes.io/pod-deletion-cost': 'x' } },
    (minor) => minor < 22,
  ),
];

/** Of pods. */
export const kubernetesVerdicts: readonly Verdict[] = [
  taken('the sample', {}),
  ...amounts,
  ...image,
  ...containers,
  ...ports,
  ...environment,
  ...placement,
  ...labels,
  ...annotations,
];

/** Names of schedulers, as names of new namespaces. */
export const namespaceVerdicts: readonly { name: string; problems: string[] }[] = [
  ...['fleet', '7', 'kube-fleet', a(58), a(63)].map((name) => ({ name, problems: [] })),
  ...['default', 'kube-node-lease', 'kube-public', 'kube-system'].map((name) => ({
    name,
    problems: [
      'Scheduler.Name: Name must not be a name that Kubernetes keeps for itself: default, kube-node-lease, kube-public, kube-system',
    ],
  })),
  ...['Fleet', 'fleet.eu', 'my_fleet', '-fleet', 'fleet-', a(64)].map((name) => ({
    name,
    problems: [`Scheduler.Name: Name ${label}`],
  })),
];
