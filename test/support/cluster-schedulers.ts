/** A room that says at once that it is ready. */
export const eagerRoom = ['node', 'examples/game-room/room.mjs'];
/** A room that never reports, and ends when it is told to. It starts faster than one that reports. */
export const silentRoom = ['/bin/sh', '-c', 'trap "exit 0" TERM; while :; do sleep 0.1; done'];
/** As silent, and slower to end than workers to die and be replaced, twice. */
export const slowRoom = ['/bin/sh', '-c', 'trap "sleep 30; exit 0" TERM; while :; do sleep 0.1; done'];
/** A room of a version that cannot work. */
export const brokenRoom = ['/bin/sh', '-c', 'exit 3'];

export interface SchedulerRequest {
  roomsReplicas: number;
  command: string[];
  /** One range per scheduler: the rooms of all share this machine. */
  firstPort: number;
}

/** What a client posts to make a scheduler, or, with another command, a major version of it. */
export function schedulerRequest(name: string, { roomsReplicas, command, firstPort }: SchedulerRequest): object {
  return {
    name,
    game: 'arena',
    roomsReplicas,
    maxSurge: '100%',
    portRange: { start: firstPort, end: firstPort + 49 },
    spec: {
      terminationGracePeriod: '45s',
      containers: [
        {
          name: 'room',
          image: 'room:local',
          imagePullPolicy: 'IfNotPresent',
          command,
          environment: [
            { name: 'GAME_HOST', value: '127.0.0.1' },
            { name: 'GAME_PING_INTERVAL_MS', value: '500' },
          ],
          requests: { memory: '64Mi', cpu: '20m' },
          limits: { memory: '128Mi', cpu: '200m' },
          ports: [{ name: 'clientPort', protocol: 'udp', port: 7777 }],
        },
      ],
    },
    forwarders: [],
  };
}
