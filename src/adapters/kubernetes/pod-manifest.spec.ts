import type { InstanceContainer, InstanceSpec } from '../../ports/runtime';
import { podManifest, type PodSurroundings } from './pod-manifest';

const surroundings: PodSurroundings = {
  installation: 'ours',
  roomsApiUrl: 'http://rooms.maestro:8070',
  roomsGrpcAddress: 'rooms.maestro:50052',
  topologySpread: null,
};

function container(changes: Partial<InstanceContainer> = {}): InstanceContainer {
  return {
    name: 'game',
    image: 'registry/game:7',
    imagePullPolicy: 'IfNotPresent',
    command: ['/game', '--port', '7777'],
    environment: [],
    requests: { memory: '64Mi', cpu: '100m' },
    limits: { memory: '128Mi', cpu: '' },
    ports: [],
    ...changes,
  };
}

function instanceSpec(changes: Partial<InstanceSpec> = {}): InstanceSpec {
  return {
    id: 'arena-x7k2m',
    scheduler: 'arena',
    version: 'v1.2.0',
    validation: false,
    containers: [container()],
    terminationGracePeriodMs: 0,
    labels: {},
    annotations: {},
    toleration: '',
    affinity: '',
    restartPolicy: 'Never',
    operationId: null,
    ...changes,
  };
}

const pod = (changes: Partial<InstanceSpec> = {}, around: Partial<PodSurroundings> = {}) =>
  podManifest(instanceSpec(changes), { ...surroundings, ...around }, 'call-1');
const firstContainer = (changes: Partial<InstanceContainer>) =>
  pod({ containers: [container(changes)] }).spec?.containers?.[0];
const port = (changes: Partial<InstanceContainer['ports'][number]>) => ({
  name: 'game',
  protocol: 'udp',
  port: 7777,
  hostPort: 60001,
  ...changes,
});

describe('podManifest', () => {
  it('makes the whole pod', () => {
    expect(pod()).toEqual({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: 'arena-x7k2m',
        namespace: 'arena',
        labels: {
          heritage: 'maestro',
          'maestro-scheduler': 'arena',
          version: 'v1.2.0',
          'maestro.io/installation': 'ours',
        },
        annotations: {
          'cluster-autoscaler.kubernetes.io/safe-to-evict': 'true',
          'maestro.io/idle-safe-to-evict': 'true',
          'maestro.io/creation': 'call-1',
        },
      },
      spec: {
        automountServiceAccountToken: false,
        restartPolicy: 'Never',
        containers: [
          {
            name: 'game',
            image: 'registry/game:7',
            imagePullPolicy: 'IfNotPresent',
            command: ['/game', '--port', '7777'],
            env: [
              { name: 'MAESTRO_SCHEDULER_NAME', value: 'arena' },
              { name: 'MAESTRO_ROOM_ID', value: 'arena-x7k2m' },
              { name: 'MAESTRO_ROOMS_API_URL', value: 'http://rooms.maestro:8070' },
              { name: 'MAESTRO_ROOMS_GRPC_ADDRESS', value: 'rooms.maestro:50052' },
            ],
            ports: [],
            resources: { requests: { memory: '64Mi', cpu: '100m' }, limits: { memory: '128Mi' } },
          },
        ],
      },
    });
  });

  it.each([
    ['a grace of none is left to the cluster', 0, undefined],
    ['whole seconds', 30_000, 30],
    ['a fraction counts as a whole second', 1_500, 2],
    ['less than a second is not none', 1, 1],
  ])('grace: %s', (_what, terminationGracePeriodMs, seconds) => {
    expect(pod({ terminationGracePeriodMs }).spec?.terminationGracePeriodSeconds).toBe(seconds);
  });

  it.each([
    ['Always', 'Always'],
    ['OnFailure', 'OnFailure'],
    ['Never', 'Never'],
    ['', 'Never'],
    ['always', 'Never'],
  ])('restart policy %j is %s', (restartPolicy, expected) => {
    expect(pod({ restartPolicy }).spec?.restartPolicy).toBe(expected);
  });

  it("takes the user's labels and annotations, but none of Maestro's own", () => {
    const { metadata } = pod({
      labels: { team: 'blue', heritage: 'x', 'maestro-scheduler': 'x', version: 'x', 'maestro.io/validation': 'true' },
      annotations: { note: 'n', 'maestro.io/creation': 'x', 'cluster-autoscaler.kubernetes.io/safe-to-evict': 'yes' },
    });
    expect(metadata?.labels).toEqual({ ...pod().metadata?.labels, team: 'blue' });
    expect(metadata?.annotations).toEqual({ ...pod().metadata?.annotations, note: 'n' });
  });

  it('keeps a prohibition to evict', () => {
    const annotations = { 'cluster-autoscaler.kubernetes.io/safe-to-evict': 'false' };
    expect(pod({ annotations }).metadata?.annotations).toMatchObject(annotations);
  });

  it('says which operation asked, and that a room only validates', () => {
    const { metadata } = pod({ operationId: 'operation-1', validation: true });
    expect(metadata?.annotations?.['maestro.io/operation-id']).toBe('operation-1');
    expect(metadata?.labels?.['maestro.io/validation']).toBe('true');
  });

  it('tolerates and demands nodes', () => {
    expect(pod({ toleration: 'games', affinity: 'pool/games' }).spec).toMatchObject({
      tolerations: [{ key: 'dedicated', operator: 'Equal', value: 'games', effect: 'NoSchedule' }],
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchExpressions: [{ key: 'pool/games', operator: 'In', values: ['true'] }] }],
          },
        },
      },
    });
  });

  it.each([
    [false, 'DoNotSchedule'],
    [true, 'ScheduleAnyway'],
  ])('spreads rooms; scheduling anyway: %s', (scheduleAnyway, whenUnsatisfiable) => {
    const topologySpread = { maxSkew: 5, topologyKey: 'topology.kubernetes.io/zone', scheduleAnyway };
    expect(pod({}, { topologySpread }).spec?.topologySpreadConstraints).toEqual([
      {
        maxSkew: 5,
        topologyKey: 'topology.kubernetes.io/zone',
        whenUnsatisfiable,
        labelSelector: { matchLabels: { 'maestro-scheduler': 'arena' } },
      },
    ]);
  });

  it.each([
    ['a value', { value: 'v' }, { value: 'v' }],
    ['a value beside a secret, which loses', { value: 'v', valueFrom: secret() }, { value: 'v' }],
    ['an empty value beside a secret, which wins', { value: '', valueFrom: secret() }, { valueFrom: secret() }],
    ['a secret before a field', { valueFrom: { ...secret(), ...field() } }, { valueFrom: secret() }],
    ['a field', { valueFrom: field() }, { valueFrom: field() }],
    ['nothing', {}, { value: '' }],
  ])('variable: %s', (_what, given, expected) => {
    expect(firstContainer({ environment: [{ name: 'X', ...given }] })?.env?.[0]).toEqual({ name: 'X', ...expected });
  });

  it("puts its own variables after the user's, so that they win", () => {
    const env = firstContainer({ environment: [{ name: 'MAESTRO_ROOM_ID', value: 'mine' }] })?.env ?? [];
    expect(env.findLast(({ name }) => name === 'MAESTRO_ROOM_ID')?.value).toBe('arena-x7k2m');
  });

  it('tells no address that it does not know', () => {
    const spec = pod({}, { roomsApiUrl: null, roomsGrpcAddress: null }).spec;
    expect(spec?.containers?.[0]?.env?.map(({ name }) => name)).toEqual(['MAESTRO_SCHEDULER_NAME', 'MAESTRO_ROOM_ID']);
  });

  it.each([
    ['udp', 'UDP'],
    ['TCP', 'TCP'],
    ['sctp', 'SCTP'],
  ])('protocol %s is %s', (protocol, expected) => {
    expect(firstContainer({ ports: [port({ protocol })] })?.ports).toEqual([
      { name: 'game', protocol: expected, containerPort: 7777, hostPort: 60001 },
    ]);
  });

  it('leaves out a host port that was not drawn', () => {
    expect(firstContainer({ ports: [port({ hostPort: 0 })] })?.ports?.[0]).not.toHaveProperty('hostPort');
  });

  it.each(['clientPort', 'a-name-of-sixteen', '7777', '-a', 'a--b', ''])(
    'keeps the port name %j, which Kubernetes refuses, beside the port',
    (name) => {
      const made = pod({ containers: [container({ ports: [port({ name })] })] });
      expect(made.spec?.containers?.[0]?.ports?.[0]).not.toHaveProperty('name');
      expect(made.metadata?.annotations?.['maestro.io/port-names']).toBe(JSON.stringify({ '60001/UDP': name }));
    },
  );

  it('leaves out what is empty', () => {
    const none = { memory: '', cpu: '' };
    const made = firstContainer({ imagePullPolicy: '', command: [], requests: none, limits: none });
    expect(made).not.toHaveProperty('imagePullPolicy');
    expect(made).not.toHaveProperty('command');
    expect(made?.resources).toEqual({});
  });

  it.each([
    ['a protocol', { ports: [port({ protocol: 'icmp' })] }, 'runtime.protocol_invalid'],
    ['a quantity', { requests: { memory: '64 MB', cpu: '' } }, 'runtime.quantity_invalid'],
  ])('refuses %s that can never run', (_what, changes, code) => {
    expect(() => firstContainer(changes)).toThrow(expect.objectContaining({ kind: 'invalid_argument', code }));
  });
});

function secret() {
  return { secretKeyRef: { name: 's', key: 'k' } };
}

function field() {
  return { fieldRef: { fieldPath: 'status.hostIP' } };
}
