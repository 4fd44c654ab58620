import type { SchedulerDefinition, Spec } from '../../src/domain/scheduler/scheduler';

/** A valid definition of a fleet of 3 rooms without autoscaling, with what a test wants different. */
export function aSchedulerDefinition({
  spec,
  ...definition
}: Partial<Omit<SchedulerDefinition, 'spec'>> & { spec?: Partial<Spec> } = {}): SchedulerDefinition {
  return {
    game: 'arena',
    roomsReplicas: 3,
    maxSurge: '25%',
    portRange: { start: 20_000, end: 20_999 },
    forwarders: [],
    annotations: {},
    labels: {},
    matchAllocation: { maxMatches: 1 },
    ...definition,
    spec: {
      terminationGracePeriodNs: 1_000_000,
      toleration: '',
      affinity: '',
      restartPolicy: '',
      containers: [
        {
          name: 'room',
          image: 'arena:1',
          imagePullPolicy: 'IfNotPresent',
          command: ['room'],
          environment: [],
          requests: { memory: '64Mi', cpu: '20m' },
          limits: { memory: '128Mi', cpu: '200m' },
          ports: [{ name: 'client', protocol: 'udp', port: 7777, hostPort: 0 }],
        },
      ],
      ...spec,
    },
  };
}
