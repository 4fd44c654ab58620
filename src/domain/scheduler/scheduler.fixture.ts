import type {
  Autoscaling,
  Container,
  ContainerPort,
  Forwarder,
  ScheduleWindow,
  SchedulerDefinition,
  SchedulerExtensions,
} from './scheduler';

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

export const aWindow = (changes: Partial<ScheduleWindow> = {}): ScheduleWindow => ({
  cron: '0 18 * * 5',
  timezone: 'Europe/Berlin',
  durationSeconds: 21_600,
  min: 50,
  buffer: 20,
  ...changes,
});

/** Everything that extensions can say. */
export const fullExtensions = (): SchedulerExtensions => ({
  autoscaling: {
    schedule: {
      windows: [aWindow(), aWindow({ cron: '30 6 1 1 *', timezone: 'UTC', min: 0 })],
      base: { type: 'roomOccupancy', roomOccupancy: { readyTarget: 0.2, downThreshold: 0.9 } },
    },
    webhook: { url: 'https://forecast.example.com/rooms?game=chess', timeoutMs: 1500, maxAnswerAgeSeconds: 0 },
    chain: {
      policies: [
        {
          type: 'schedule',
          schedule: { windows: [aWindow()], base: { type: 'fixedBuffer', fixedBuffer: { amount: 3 } } },
        },
        { type: 'webhook', webhook: { url: 'http://10.0.0.1:8080', timeoutMs: 1, maxAnswerAgeSeconds: 60 } },
        { type: 'roomOccupancy', roomOccupancy: { readyTarget: 0.1, downThreshold: 0.99 } },
        { type: 'fixedBuffer', fixedBuffer: { amount: 10 } },
      ],
    },
    scaleUpStabilizationSeconds: 0,
    scaleDownStabilizationSeconds: 300,
  },
  rollout: { automaticRollback: false, failureShare: 0.3, failureWindowSeconds: 120 },
  drain: { deadlineSeconds: 7200 },
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
