import { z } from 'zod';

/** `5s`, `1m30s`, `250ms`, or a plain number, which counts `unit`s. Answers milliseconds. */
function duration(unit: 'ms' | 's', minimumMs = 1) {
  return z.string().transform((text, context) => {
    const ms = parseDurationMs(text, unit);
    if (ms === null || ms < minimumMs) {
      context.addIssue({
        code: 'custom',
        message: `must be a duration of at least ${minimumMs} ms, such as 500ms, 10s or 1m`,
      });
      return z.NEVER;
    }
    return ms;
  });
}

const unitsMs: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Go's notation for whole and fractional units; null when it is none. */
export function parseDurationMs(text: string, plainUnit: 'ms' | 's'): number | null {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed) * unitsMs[plainUnit]!;
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(trimmed)) return null;
  return [...trimmed.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)].reduce(
    (sum, [, amount, unit]) => sum + Number(amount) * unitsMs[unit!]!,
    0,
  );
}

const port = z
  .string()
  .regex(/^\d+$/, 'must be a port number')
  .transform(Number)
  .refine((value) => value <= 65535, 'must be a port number, 0 to 65535');

function integer(minimum: number, maximum = Number.MAX_SAFE_INTEGER) {
  return z
    .string()
    .regex(/^-?\d+$/, 'must be an integer')
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, `must be an integer from ${minimum} to ${maximum}`);
}

const boolean = z
  .string()
  .transform((text) => text.toLowerCase())
  .pipe(z.enum(['true', 'false', '1', '0'], 'must be true or false'))
  .transform((text) => text === 'true' || text === '1');

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
);

function url(...protocols: string[]) {
  return z.string().refine(
    (text) => {
      try {
        return protocols.includes(new URL(text).protocol);
      } catch {
        return false;
      }
    },
    `must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
  );
}

const portRange = z.string().transform((text, context) => {
  const match = /^(\d+)-(\d+)$/.exec(text.trim());
  const [start, end] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || start < 1 || end > 65535 || start > end) {
    context.addIssue({ code: 'custom', message: 'must be a range of ports such as 60001-60010' });
    return z.NEVER;
  }
  return { start, end };
});

export interface Setting<T> {
  /** Dotted; the environment's name follows from it. */
  key: string;
  /** v10's keys for the same thing, first one that is set wins. */
  aliases?: string[];
  schema: z.ZodType<T, string>;
  /** As it would be written; undefined means that it may be absent. */
  default?: string;
  help: string;
}

function required<T>(setting: Setting<T> & { default: string }): Setting<T> {
  return setting;
}

function optional<T>(setting: Omit<Setting<T>, 'default'>): Setting<T | undefined> {
  return setting;
}

function deadline(kind: string, text: string, help: string): Setting<number> {
  return { key: `operations.deadline.${kind}`, schema: duration('s', 100), default: text, help };
}

const redisAliases = [
  'roomStorage',
  'operationStorage',
  'operationFlow',
  'operationLeaseStorage',
  'schedulerCache',
  'instanceStorage',
].map((storage) => `adapters.${storage}.redis.url`);

/** Every setting there is. Durations are milliseconds once loaded. */
export const settings = {
  postgresUrl: optional({
    key: 'postgres.url',
    aliases: ['adapters.schedulerStorage.postgres.url'],
    schema: url('postgres:', 'postgresql:'),
    help: 'PostgreSQL; without it `--role all` starts an embedded one',
  }),
  postgresPoolSize: required({
    key: 'postgres.poolSize',
    aliases: ['adapters.schedulerStorage.postgres.poolSize'],
    schema: integer(2, 1000),
    default: '10',
    help: 'connections per process',
  }),
  redisUrl: optional({
    key: 'redis.url',
    aliases: redisAliases,
    schema: url('redis:', 'rediss:'),
    help: 'Redis or Valkey; without it `--role all` starts an embedded one',
  }),
  embeddedRedis: required({
    key: 'embedded.redis',
    schema: z.enum(['auto', 'path', 'package', 'js'], 'must be auto, path, package or js'),
    default: 'auto',
    help: 'which embedded Redis: one on PATH, the distribution’s package, or the one in JavaScript',
  }),
  stateDirectory: required({
    key: 'state.directory',
    schema: z.string().min(1),
    default: '.maestro',
    help: 'where embedded servers and the local runtime keep their state',
  }),
  runtime: required({
    key: 'runtime',
    schema: z.enum(['local', 'kubernetes'], 'must be local or kubernetes'),
    default: 'local',
    help: 'what runs the rooms: processes of this machine, or pods of a cluster',
  }),
  kubernetesInCluster: required({
    key: 'adapters.runtime.kubernetes.inCluster',
    schema: boolean,
    default: 'false',
    help: 'reach the cluster that Maestro runs in, by the service account of its pod',
  }),
  kubernetesKubeconfig: optional({
    key: 'adapters.runtime.kubernetes.kubeconfig',
    schema: z.string().min(1),
    help: 'reach the cluster that this file names; without any of these, the one that KUBECONFIG names',
  }),
  kubernetesMasterUrl: optional({
    key: 'adapters.runtime.kubernetes.masterUrl',
    schema: url('http:', 'https:'),
    help: 'reach an API server that asks for no credentials, such as `kubectl proxy`; a kubeconfig wins',
  }),
  kubernetesQps: required({
    key: 'adapters.runtime.kubernetes.qps',
    schema: integer(1, 100_000),
    default: '100',
    help: 'calls to the API server per second and process, on average, wherever the cluster is',
  }),
  kubernetesBurst: required({
    key: 'adapters.runtime.kubernetes.burst',
    schema: integer(1, 100_000),
    default: '200',
    help: 'calls to the API server at once',
  }),
  kubernetesTopologySpread: required({
    key: 'adapters.runtime.kubernetes.topologySpreadConstraint.enabled',
    schema: boolean,
    default: 'true',
    help: 'spread the rooms of a scheduler over the cluster',
  }),
  kubernetesTopologyMaxSkew: required({
    key: 'adapters.runtime.kubernetes.topologySpreadConstraint.maxSkew',
    // v10 takes what is no skew for its default.
    schema: integer(-1_000_000, 1_000_000).transform((skew) => (skew <= 0 ? 5 : skew)),
    default: '5',
    help: 'how many rooms more than the emptiest part of the cluster any part may have',
  }),
  kubernetesTopologyKey: required({
    key: 'adapters.runtime.kubernetes.topologySpreadConstraint.topologyKey',
    schema: z.string().min(1),
    default: 'topology.kubernetes.io/zone',
    help: 'the label of nodes whose values are the parts',
  }),
  kubernetesTopologyScheduleAnyway: required({
    key: 'adapters.runtime.kubernetes.topologySpreadConstraint.whenUnsatisfiableScheduleAnyway',
    schema: boolean,
    default: 'false',
    help: 'start a room where it does not keep the skew, instead of letting it wait',
  }),
  host: required({
    key: 'api.host',
    schema: z.string().min(1),
    default: '127.0.0.1',
    help: 'the address that every listener binds to; 0.0.0.0 for all interfaces',
  }),
  allowedHosts: required({
    key: 'api.allowedHosts',
    schema: list,
    default: '',
    help: 'names (comma separated, `.suffix`, `*`) that a Host header may carry besides the loopback ones',
  }),
  bodyLimitBytes: required({
    key: 'api.bodyLimitBytes',
    schema: integer(1024),
    default: '1048576',
    help: 'largest request body, bytes',
  }),
  shutdownTimeoutMs: required({
    key: 'api.gracefulShutdownTimeout',
    aliases: ['internalApi.gracefulShutdownTimeout'],
    schema: duration('s'),
    default: '30s',
    help: 'how long a role may take to finish its requests, or to hand over its operations, when the process stops',
  }),
  managementApiPort: required({
    key: 'managementApi.port',
    schema: port,
    default: '8080',
    help: 'REST of the management API',
  }),
  managementApiGrpcPort: required({
    key: 'managementApi.grpcPort',
    schema: port,
    default: '50051',
    help: 'gRPC of the management API',
  }),
  roomsApiPort: required({ key: 'roomsApi.port', schema: port, default: '8070', help: 'REST of the rooms API' }),
  roomsApiPublicUrl: optional({
    key: 'roomsApi.publicUrl',
    schema: url('http:', 'https:'),
    help: 'what rooms are told as MAESTRO_ROOMS_API_URL; default http://127.0.0.1:<port of the rooms API>, and nothing in a cluster',
  }),
  roomsApiGrpcPort: required({
    key: 'roomsApi.grpcPort',
    schema: port,
    default: '50052',
    help: 'gRPC of the rooms API',
  }),
  roomsApiGrpcPublicAddress: optional({
    key: 'roomsApi.grpcPublicAddress',
    schema: z.string().regex(/^[^\s/]+:\d+$/, 'must be a host and a port, such as rooms.example.com:50052'),
    help: 'what rooms are told as MAESTRO_ROOMS_GRPC_ADDRESS; default 127.0.0.1:<gRPC port of the rooms API>, and nothing in a cluster',
  }),
  maxMetadataBytes: required({
    key: 'roomsApi.maxMetadataBytes',
    schema: integer(1024),
    default: '65536',
    help: 'largest metadata of a ping or an event of a room, as JSON, bytes; a larger one is refused',
  }),
  roomStreamIdleTimeoutMs: optional({
    key: 'roomsApi.streamIdleTimeout',
    schema: duration('s', 100),
    help: 'how long a room may send nothing on its stream before it is ended; default services.roomManager.roomPingTimeoutMillis',
  }),
  maxWaitingCallers: required({
    key: 'roomsApi.maxWaitingCallers',
    schema: integer(0),
    default: '1000',
    help: 'callers that may wait for a room in one process at the same time; more are refused when no room is free',
  }),
  internalApiPort: required({
    key: 'internalApi.port',
    schema: port,
    default: '8081',
    help: 'health checks and metrics',
  }),
  metricsEnabled: required({
    key: 'internalApi.metrics.enabled',
    schema: boolean,
    default: 'true',
    help: 'serve /metrics',
  }),
  healthcheckEnabled: required({
    key: 'internalApi.healthcheck.enabled',
    schema: boolean,
    default: 'true',
    help: 'serve /health, /healthz and /readyz',
  }),
  skipPostgresCheck: required({
    key: 'internalApi.healthcheck.skipPostgresCheck',
    schema: boolean,
    default: 'false',
    help: 'leave PostgreSQL out of /readyz',
  }),
  logLevel: required({
    key: 'log.level',
    schema: z.enum(['error', 'warn', 'info', 'debug', 'silent'], 'must be error, warn, info, debug or silent'),
    default: 'info',
    help: 'least serious line that is written',
  }),
  operationLeaseTtlMs: required({
    key: 'services.operationManager.operationLeaseTTLMillis',
    schema: duration('ms', 100),
    default: '5000',
    help: 'an operation whose worker is silent for this long is taken over',
  }),
  operationSweepIntervalMs: required({
    key: 'workers.sweepInterval',
    schema: duration('s', 50),
    default: '2s',
    help: 'how long a lost wake-up or an expired lease may go unnoticed',
  }),
  operationConcurrency: required({
    key: 'workers.concurrency',
    schema: integer(1, 10_000),
    default: '50',
    help: 'schedulers whose operations one worker runs side by side',
  }),
  operationMaxAttempts: required({
    key: 'workers.operationMaxAttempts',
    schema: integer(1, 10_000),
    default: '60',
    help: 'how often in a row an operation may be interrupted (its worker dies, something is away) before it is given up',
  }),
  operationCancelPollMs: required({
    key: 'operations.cancelPollInterval',
    schema: duration('s', 10),
    default: '1s',
    help: 'how often running work asks whether it is canceled, in case the notification was lost',
  }),
  operationFirstRetryDelayMs: required({
    key: 'workers.firstRetryDelay',
    schema: duration('s', 10),
    default: '250ms',
    help: 'how soon an operation is tried again that met something away; doubles up to workers.retryDelay',
  }),
  operationRetryDelayMs: required({
    key: 'workers.retryDelay',
    schema: duration('s', 10),
    default: '5s',
    help: 'after a failed operation, how soon the scheduler’s health is looked at again; also the longest pause of workers.firstRetryDelay',
  }),
  wakeUpLockDurationMs: required({
    key: 'workers.wakeUps.lockDuration',
    schema: duration('s', 1_000),
    default: '5s',
    help: 'how long a wake-up stays with a worker that is not heard of',
  }),
  wakeUpStalledIntervalMs: required({
    key: 'workers.wakeUps.stalledInterval',
    schema: duration('s', 100),
    default: '2s',
    help: 'how often wake-ups of workers that are not heard of are looked for',
  }),
  createSchedulerDeadlineMs: deadline('createScheduler', '5m', 'how long a create_scheduler may take'),
  createNewVersionDeadlineMs: deadline(
    'createNewSchedulerVersion',
    '5m',
    'how long a create_new_scheduler_version may take, beyond what its validation rooms may',
  ),
  switchActiveVersionDeadlineMs: deadline('switchActiveVersion', '2m', 'how long a switch_active_version may take'),
  deleteSchedulerDeadlineMs: deadline(
    'deleteScheduler',
    '1h',
    'how long a delete_scheduler may take, beyond the grace period of its rooms',
  ),
  addRoomsDeadlineMs: deadline('addRooms', '30m', 'how long an add_rooms may take'),
  removeRoomsDeadlineMs: deadline('removeRooms', '10m', 'how long a remove_rooms may take'),
  healthControllerDeadlineMs: deadline('healthController', '2m', 'how long a health_controller may take'),
  rollbackDeadlineMs: deadline('rollback', '5m', 'how long an attempt to roll an operation back may take'),
  deletePollIntervalMs: required({
    key: 'operations.deleteScheduler.pollInterval',
    schema: duration('s', 50),
    default: '1s',
    help: 'how often a deletion looks whether its instances are gone',
  }),
  deletePatienceMs: required({
    key: 'operations.deleteScheduler.patience',
    schema: duration('s', 0),
    default: '30s',
    help: 'how long instances may outlive their grace period before their scheduler’s deletion fails',
  }),
  retentionIntervalMs: required({
    key: 'operations.retention.interval',
    aliases: ['workers.storageClenupInterval'],
    schema: duration('s', 100),
    default: '10m',
    help: 'how often old operations are deleted',
  }),
  retentionHealingAgeMs: required({
    key: 'operations.retention.healing',
    aliases: ['workers.redis.operationsTTL'],
    schema: duration('s', 0),
    default: '24h',
    help: 'how long ended health_controller, add_rooms and remove_rooms are kept; 0: until the next round',
  }),
  retentionChangeAgeMs: required({
    key: 'operations.retention.changes',
    schema: duration('s', 60_000),
    default: '720h',
    help: 'how long all other operations are kept, which create, change and delete schedulers',
  }),
  retentionNewestChanges: required({
    key: 'operations.retention.newestChanges',
    schema: integer(0),
    default: '100',
    help: 'how many of those stay in any case, for each scheduler that exists',
  }),
  retentionLimit: required({
    key: 'operations.retention.limit',
    schema: integer(100),
    default: '10000',
    help: 'how many ended operations of a scheduler stay at most: recent ones, and older changes besides',
  }),
  healthIntervalMs: required({
    key: 'workers.healthControllerInterval',
    schema: duration('s', 100),
    default: '1m',
    help: 'how often each scheduler’s health is looked at when nothing rings for it',
  }),
  schedulerSyncIntervalMs: required({
    key: 'workers.syncInterval',
    schema: duration('s', 100),
    default: '10s',
    help: 'how often each process reads the list of schedulers, besides being notified',
  }),
  loopLeaseTtlMs: required({
    key: 'loops.leaseTTL',
    schema: duration('s', 300),
    default: '5s',
    help: 'how long a loop that runs once (watcher, reporter) may be without owner',
  }),
  addRoomsLimit: required({
    key: 'operations.rooms.add.limit',
    schema: integer(1),
    default: '1000',
    help: 'rooms that one add_rooms starts at most',
  }),
  addRoomsBatchSize: required({
    key: 'operations.rooms.add.batchSize',
    schema: integer(1, 1000),
    default: '40',
    help: 'rooms that start side by side',
  }),
  removeRoomsLimit: required({
    key: 'operations.rooms.remove.limit',
    schema: integer(1),
    default: '50',
    help: 'rooms that one look marks at most: claims of a scale-down, drains of a rollout',
  }),
  roomPingTimeoutMs: required({
    key: 'services.roomManager.roomPingTimeoutMillis',
    schema: duration('ms'),
    default: '240000',
    help: 'how long a room may say nothing',
  }),
  roomInitializationTimeoutMs: required({
    key: 'services.roomManager.roomInitializationTimeoutMillis',
    schema: duration('ms'),
    default: '120000',
    help: 'how long a room may take to come up',
  }),
  roomValidationTimeoutMs: required({
    key: 'services.roomManager.roomValidationTimeoutMillis',
    schema: duration('ms'),
    default: '120000',
    help: 'how long a room of a new major version may take to become ready, in each attempt',
  }),
  roomValidationAttempts: required({
    key: 'services.roomManager.roomValidationAttempts',
    schema: integer(0, 100).transform((attempts) => Math.max(1, attempts)),
    default: '3',
    help: 'rooms of a new major version that are tried, one after the other, before it is refused; at least 1',
  }),
  roomValidationAcceptOccupied: required({
    key: 'services.roomManager.roomValidationAcceptOccupiedStatus',
    schema: boolean,
    default: 'false',
    help: 'whether a room of a new major version that is occupied or active at once is as good as a ready one',
  }),
  roomDeletionTimeoutMs: required({
    key: 'services.roomManager.roomDeletionTimeoutMillis',
    schema: duration('ms'),
    default: '120000',
    help: 'how long a terminating room may take to go, beyond its grace period',
  }),
  roomDrainConfirmMs: required({
    key: 'services.roomManager.roomDrainConfirmMillis',
    schema: duration('ms'),
    default: '10000',
    help: 'how long a room drains at least before it goes: one interval of its pings or more',
  }),
  roomAllocationTtlMs: required({
    key: 'services.roomManager.roomAllocationTTLMillis',
    schema: duration('ms'),
    default: '300000',
    help: 'how long an allocation holds its slot unless it is confirmed or the room reports the match',
  }),
  allocationExpiryIntervalMs: required({
    key: 'roomsApi.allocationExpiryInterval',
    schema: duration('s', 10),
    default: '1s',
    help: 'how often allocations whose time is over are ended',
  }),
  fallbackPortRange: required({
    key: 'adapters.portAllocator.random.range',
    schema: portRange,
    default: '60001-60010',
    help: 'host ports for schedulers that state no range',
  }),
  forwarderKeepAliveTimeMs: required({
    key: 'adapters.grpc.keepAlive.time',
    schema: duration('s', 0),
    default: '30s',
    help: 'how often a forwarder on which events wait is asked whether it is there; 0 means 15s',
  }),
  forwarderKeepAliveTimeoutMs: required({
    key: 'adapters.grpc.keepAlive.timeout',
    schema: duration('s', 0),
    default: '5s',
    help: 'how long its answer may take before its connection is dropped; 0 means 5s',
  }),
  reporterIntervalMs: required({
    key: 'reporter.metrics.intervalMillis',
    schema: duration('ms', 100),
    default: '10000',
    help: 'how often the gauges of the fleets are read',
  }),
  loadRecordingDirectory: optional({
    key: 'metricsReporter.loadRecording.directory',
    schema: z.string().min(1),
    help: 'where the reporter records the load of each scheduler, a CSV file a day for `maestro backtest`; without it, nowhere',
  }),
  reconcileIntervalMs: required({
    key: 'runtimeWatcher.reconcileInterval',
    schema: duration('s', 100),
    default: '3m',
    help: 'how often runtime and room state are compared as a whole',
  }),
  doubtIntervalMs: required({
    key: 'runtimeWatcher.doubtInterval',
    schema: duration('s', 50),
    default: '2s',
    help: 'how soon they are compared again while something differs, and how often a loss of Redis is looked for',
  }),
  disruptionBudgetIntervalMs: required({
    key: 'runtimeWatcher.disruptionWorker.intervalSeconds',
    schema: duration('s', 100),
    default: '60',
    help: 'how often a disruption budget is lowered at most, and set anew while it keeps rooms; it is raised before a room counts in it',
  }),
  protectionCallsPerSecond: required({
    key: 'runtimeWatcher.matchProtection.callsPerSecond',
    schema: integer(1, 10_000),
    default: '20',
    help: 'calls to the API server that say which rooms have a match and may not be moved; they are among those of qps',
  }),
  protectionReleaseDelayMs: required({
    key: 'runtimeWatcher.matchProtection.releaseDelay',
    schema: duration('s', 0),
    default: '10s',
    help: 'how long a room may not be moved after its match, because the next one may begin soon',
  }),
  hostPortPatienceMs: required({
    key: 'runtimeWatcher.hostPortPatience',
    schema: duration('s', 50),
    default: '10s',
    help: 'how long a pod may wait for a node that has its host ports free, before its room is replaced by one with others',
  }),
  healthRingIntervalMs: required({
    key: 'roomsApi.healthRingInterval',
    schema: duration('s', 10),
    default: '1s',
    help: 'how soon again changes of a scheduler’s rooms have its health looked at; the first one does at once',
  }),
  webhookAllowsGuardedAddresses: required({
    key: 'autoscaling.webhook.allowGuardedAddresses',
    schema: boolean,
    default: 'false',
    help: 'let webhooks that schedulers name be at link-local addresses, and at the metadata services of clouds; loopback and private networks are allowed anyhow',
  }),
  hearingIntervalMs: required({
    key: 'roomsApi.hearingInterval',
    schema: duration('s', 50),
    default: '2s',
    help: 'how often a rooms API says that it hears; silence counts only while one does',
  }),
} as const;

type SettingValue<S> = S extends Setting<infer T> ? T : never;

/** All settings with their values, frozen. */
export type Config = { readonly [K in keyof typeof settings]: SettingValue<(typeof settings)[K]> };

/**
 * v10's keys that mean nothing here, with the reason. They are accepted, so that a deployment can switch with its
 * environment as it is; one log line names those that were set.
 */
export const obsoleteKeys: Record<string, string> = {
  'api.metrics.enabled': 'never read, in v10 neither',
  'api.tracing.jaeger.disabled': 'there is no Jaeger agent protocol here',
  'api.tracing.jaeger.agent_host': 'there is no Jaeger agent protocol here',
  'api.tracing.jaeger.agent_port': 'there is no Jaeger agent protocol here',
  'api.tracing.jaeger.sampler': 'there is no Jaeger agent protocol here',
  'adapters.schedulerStorage.postgres.pooSize': 'a misspelling that v10 ships and never reads; poolSize is read',
  'adapters.redis.poolSize': 'one connection per purpose carries all commands',
  'adapters.redis.maxConnAge': 'connections are dropped when a fail-over shows',
  'adapters.schedulerStorage.postgres.minIdleConns': 'the pool grows and shrinks by itself',
  'adapters.operationStorage.redis.operationsTtl.healthController': 'never read, in v10 neither',
  'adapters.instanceStorage.redis.scanSize': 'nothing is scanned',
  'workers.stopTimeoutDuration': 'work is handed over when the process stops',
  'services.eventsForwarder.schedulerCacheTTLMillis': 'settings are refreshed by notification',
  'runtimeWatcher.disruptionWorker.safetyPercentage':
    'the disruption budget counts the rooms with a match, and none of them may go',
  'operations.rooms.add.operationTimeout': 'each runtime has deadlines of its own',
  'migration.path': 'migrations are part of the program',
};
