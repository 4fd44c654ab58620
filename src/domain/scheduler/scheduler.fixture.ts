import type { Autoscaling, Container, ContainerPort, Forwarder, SchedulerDefinition } from './scheduler';

// A valid definition and its parts, each with what a test wants different.

export const aPort = (changes: Partial<ContainerPort> = {}): ContainerPort => ({
  name: 'game',
  protocol: 'tcp',
  port: 7777,
  hostPort: 0,
  ...changes,
});

export const aContainer = (changes: Partial<Container> = {}): Container => ({
  name: 'main',
  image: 'game:1',
  imagePullPolicy: 'Always',
  command: [],
  environment: [{ name: 'A', value: '' }],
  requests: { memory: '64Mi', cpu: '100m' },
  limits: { memory: '128Mi', cpu: '1' },
  ports: [aPort()],
  ...changes,
});

export const aForwarder = (changes: Partial<Forwarder> = {}): Forwarder => ({
  name: 'matchmaker',
  enabled: true,
  type: 'gRPC',
  address: 'host:1',
  options: { timeoutMs: 1000, metadata: {} },
  ...changes,
});

export const anAutoscaling = (changes: Partial<Autoscaling> = {}): Autoscaling => ({
  enabled: false,
  min: 1,
  max: 10,
  cooldown: 0,
  policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.5, downThreshold: 0.99 } } },
  ...changes,
});

export type Changes = Partial<Omit<SchedulerDefinition, 'spec'>> & { spec?: Partial<SchedulerDefinition['spec']> };

export const aDefinition = ({ spec, ...changes }: Changes = {}): SchedulerDefinition => ({
  game: 'chess',
  autoscaling: anAutoscaling(),
  portRange: { start: 40_000, end: 60_000 },
  roomsReplicas: 0,
  maxSurge: '10%',
  forwarders: [aForwarder()],
  annotations: {},
  labels: {},
  matchAllocation: { maxMatches: 1 },
  ...changes,
  spec: {
    terminationGracePeriodNs: 15,
    containers: [aContainer()],
    toleration: '',
    affinity: '',
    restartPolicy: 'Never',
    ...spec,
  },
});

export const withContainer = (changes: Partial<Container>): Changes => ({
  spec: { containers: [aContainer(changes)] },
});
export const withPort = (changes: Partial<ContainerPort>): Changes => withContainer({ ports: [aPort(changes)] });
