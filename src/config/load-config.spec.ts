import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DomainError } from '../domain/errors';
import { loadConfig, variableOf, type ConfigSources } from './load-config';
import { obsoleteKeys, parseDurationMs, settings, type Setting } from './settings';

const all = Object.entries(settings) as [string, Setting<unknown>][];

const load = (environment: ConfigSources['environment'], rest: Omit<ConfigSources, 'environment'> = {}) =>
  loadConfig({ environment, ...rest });

function problemsOf(sources: ConfigSources): string[] {
  try {
    loadConfig(sources);
  } catch (error) {
    expect(error).toMatchObject({ kind: 'invalid_argument', code: 'config.invalid' });
    return (error as DomainError).message.split('\n').map((line) => line.trim());
  }
  throw new Error('the configuration is valid');
}

describe('the configuration', () => {
  it('needs nothing', () => {
    const { config, remarks } = load({});
    expect(config).toMatchObject({
      host: '127.0.0.1',
      managementApiPort: 8080,
      roomsApiPort: 8070,
      internalApiPort: 8081,
      fallbackPortRange: { start: 60_001, end: 60_010 },
      allowedHosts: [],
      metricsEnabled: true,
      operationLeaseTtlMs: 5_000,
      healthIntervalMs: 60_000,
    });
    expect([config.postgresUrl, config.redisUrl]).toEqual([undefined, undefined]);
    expect(remarks).toEqual([]);
    expect(Object.isFrozen(config)).toBe(true);
  });

  it.each([
    ['managementApi.port', 'MAESTRO_MANAGEMENTAPI_PORT'],
    ['roomsApi.port', 'MAESTRO_ROOMSAPI_PORT'],
    ['adapters.schedulerStorage.postgres.url', 'MAESTRO_ADAPTERS_SCHEDULERSTORAGE_POSTGRES_URL'],
    ['workers.storageClenupInterval', 'MAESTRO_WORKERS_STORAGECLENUPINTERVAL'],
  ])('key %s is set by %s', (key, variable) => {
    expect(variableOf(key)).toBe(variable);
  });

  it.each([
    ['MAESTRO_POSTGRES_URL', 'postgres://u:p@db:1/m', 'postgresUrl', 'postgres://u:p@db:1/m'],
    ['MAESTRO_ADAPTERS_SCHEDULERSTORAGE_POSTGRES_URL', 'postgresql://db/m', 'postgresUrl', 'postgresql://db/m'],
    ['MAESTRO_REDIS_URL', 'rediss://r:6380/1', 'redisUrl', 'rediss://r:6380/1'],
    ['MAESTRO_ADAPTERS_ROOMSTORAGE_REDIS_URL', 'redis://r', 'redisUrl', 'redis://r'],
    ['MAESTRO_ADAPTERS_OPERATIONFLOW_REDIS_URL', 'redis://r', 'redisUrl', 'redis://r'],
    ['MAESTRO_API_GRACEFULSHUTDOWNTIMEOUT', '90s', 'shutdownTimeoutMs', 90_000],
    ['MAESTRO_INTERNALAPI_HEALTHCHECK_SKIPPOSTGRESCHECK', 'TRUE', 'skipPostgresCheck', true],
    ['MAESTRO_INTERNALAPI_METRICS_ENABLED', '0', 'metricsEnabled', false],
    ['MAESTRO_WORKERS_SYNCINTERVAL', '1m30s', 'schedulerSyncIntervalMs', 90_000],
    ['MAESTRO_WORKERS_HEALTHCONTROLLERINTERVAL', '2', 'healthIntervalMs', 2_000],
    ['MAESTRO_WORKERS_STORAGECLENUPINTERVAL', '3h', 'retentionIntervalMs', 10_800_000],
    ['MAESTRO_WORKERS_REDIS_OPERATIONSTTL', '0', 'retentionHealingAgeMs', 0],
    ['MAESTRO_SERVICES_ROOMMANAGER_ROOMPINGTIMEOUTMILLIS', '1500', 'roomPingTimeoutMs', 1_500],
    ['MAESTRO_SERVICES_ROOMMANAGER_ROOMVALIDATIONTIMEOUTMILLIS', '1500', 'roomValidationTimeoutMs', 1_500],
    ['MAESTRO_SERVICES_ROOMMANAGER_ROOMVALIDATIONATTEMPTS', '5', 'roomValidationAttempts', 5],
    ['MAESTRO_SERVICES_ROOMMANAGER_ROOMVALIDATIONATTEMPTS', '0', 'roomValidationAttempts', 1],
    ['MAESTRO_SERVICES_ROOMMANAGER_ROOMVALIDATIONACCEPTOCCUPIEDSTATUS', 'true', 'roomValidationAcceptOccupied', true],
    ['MAESTRO_SERVICES_OPERATIONMANAGER_OPERATIONLEASETTLMILLIS', '2500', 'operationLeaseTtlMs', 2_500],
    ['MAESTRO_REPORTER_METRICS_INTERVALMILLIS', '20000', 'reporterIntervalMs', 20_000],
    ['MAESTRO_ADAPTERS_GRPC_KEEPALIVE_TIME', '0', 'forwarderKeepAliveTimeMs', 0],
    ['MAESTRO_ADAPTERS_GRPC_KEEPALIVE_TIMEOUT', '7s', 'forwarderKeepAliveTimeoutMs', 7_000],
    ['MAESTRO_OPERATIONS_ROOMS_ADD_LIMIT', '7', 'addRoomsLimit', 7],
    ['MAESTRO_OPERATIONS_DEADLINE_DELETESCHEDULER', '2h', 'deleteSchedulerDeadlineMs', 7_200_000],
    ['MAESTRO_WORKERS_WAKEUPS_LOCKDURATION', '30', 'wakeUpLockDurationMs', 30_000],
    ['MAESTRO_ADAPTERS_PORTALLOCATOR_RANDOM_RANGE', '7000-7100', 'fallbackPortRange', { start: 7_000, end: 7_100 }],
    ['MAESTRO_API_ALLOWEDHOSTS', 'a.example, .b.example ,', 'allowedHosts', ['a.example', '.b.example']],
  ])('reads %s=%s', (variable, text, name, value) => {
    const { config, remarks } = load({ [variable]: text });
    expect(config).toMatchObject({ [name]: value });
    expect(remarks).toEqual([]);
  });

  it('takes an empty variable for one that is not set', () => {
    const { config } = load({ MAESTRO_POSTGRES_URL: '', MAESTRO_LOG_LEVEL: '' });
    expect([config.postgresUrl, config.logLevel]).toEqual([undefined, 'info']);
  });

  it('prefers our own name to a name of v10', () => {
    const { config } = load({
      MAESTRO_ADAPTERS_ROOMSTORAGE_REDIS_URL: 'redis://v10',
      MAESTRO_REDIS_URL: 'redis://ours',
    });
    expect(config.redisUrl).toBe('redis://ours');
  });

  describe('of a file', () => {
    const directory = mkdtempSync(join(tmpdir(), 'maestro-config-'));
    const filePath = join(directory, 'config.yaml');
    afterAll(() => rmSync(directory, { recursive: true }));

    const write = (text: string): void => writeFileSync(filePath, text);

    it('has the layout of v10, whatever the case of its keys', () => {
      write(`
api:
  port: 8090
internalApi: { Port: 9000, metrics: { enabled: false } }
adapters:
  schedulerStorage:
    postgres:
      url: "postgres://maestro:maestro@localhost:5432/maestro?sslmode=disable"
      poolSize: 20
  PORTALLOCATOR: { random: { range: "7000-7100" } }
workers: { syncInterval: 10s }
services: { roomManager: { roomPingTimeoutMillis: 240000 } }
`);
      expect(load({}, { filePath, apiRole: 'rooms-api' })).toMatchObject({
        config: {
          roomsApiPort: 8090,
          internalApiPort: 9000,
          metricsEnabled: false,
          postgresUrl: 'postgres://maestro:maestro@localhost:5432/maestro?sslmode=disable',
          postgresPoolSize: 20,
          fallbackPortRange: { start: 7_000, end: 7_100 },
          schedulerSyncIntervalMs: 10_000,
        },
        remarks: [],
      });
    });

    it('gives way to the environment, also under another name', () => {
      write('redis: { url: "redis://file" }\nlog: { level: debug }');
      const { config } = load({ MAESTRO_ADAPTERS_ROOMSTORAGE_REDIS_URL: 'redis://environment' }, { filePath });
      expect(config).toMatchObject({ redisUrl: 'redis://environment', logLevel: 'debug' });
    });

    it('may leave a key empty, and may be empty', () => {
      write('postgres: { url: "" }\nredis:');
      expect(load({}, { filePath }).config.postgresUrl).toBeUndefined();
      write('');
      expect(load({}, { filePath }).config.managementApiPort).toBe(8080);
    });

    it('is named with a bad value, like a variable', () => {
      write('internalApi: { port: 99999 }');
      expect(problemsOf({ environment: {}, filePath })).toContain(
        'internalApi.port (file): must be a port number, 0 to 65535',
      );
    });

    it('is remarked on where it says what means nothing', () => {
      write('workers: { stopTimeoutDuration: 2m, speed: 9 }');
      expect(load({}, { filePath }).remarks).toEqual([
        'workers.stoptimeoutduration (file) has no effect: work is handed over when the process stops',
        'workers.speed (file) is not a setting of this version',
      ]);
    });

    it('that is not there, or cannot be read, is one line that does not quote it', () => {
      expect(() => load({}, { filePath: join(directory, 'none.yaml') })).toThrow(
        /^cannot read the configuration file .*ENOENT[^\n]*$/,
      );
      write('postgres:\n  url: "postgres://u:s3cret@db\n');
      expect(() => load({}, { filePath })).toThrow(/^cannot read the configuration file [^\n]* at line \d[^\n]*$/);
      expect(() => load({}, { filePath })).not.toThrow(/s3cret/);
    });
  });

  it('is refused with all of its problems at once, each with its variable and its rule', () => {
    const environment = {
      MAESTRO_POSTGRES_URL: 'mysql://u:s3cret@db',
      MAESTRO_ADAPTERS_ROOMSTORAGE_REDIS_URL: 'localhost:6379',
      MAESTRO_MANAGEMENTAPI_PORT: 'eighty',
      MAESTRO_LOG_LEVEL: 'loud',
      MAESTRO_WORKERS_SYNCINTERVAL: 'soon',
      MAESTRO_OPERATIONS_ROOMS_ADD_LIMIT: '0',
      MAESTRO_ADAPTERS_PORTALLOCATOR_RANDOM_RANGE: '7100-7000',
      MAESTRO_INTERNALAPI_METRICS_ENABLED: 'maybe',
    };
    const problems = problemsOf({ environment });
    expect(problems).toEqual([
      'invalid configuration:',
      'MAESTRO_POSTGRES_URL: must be a URL that starts with postgres:// or postgresql://',
      'MAESTRO_ADAPTERS_ROOMSTORAGE_REDIS_URL: must be a URL that starts with redis:// or rediss://',
      'MAESTRO_MANAGEMENTAPI_PORT: must be a port number',
      'MAESTRO_INTERNALAPI_METRICS_ENABLED: must be true or false',
      'MAESTRO_LOG_LEVEL: must be error, warn, info, debug or silent',
      'MAESTRO_WORKERS_SYNCINTERVAL: must be a duration of at least 100 ms, such as 500ms, 10s or 1m',
      `MAESTRO_OPERATIONS_ROOMS_ADD_LIMIT: must be an integer from 1 to ${Number.MAX_SAFE_INTEGER}`,
      'MAESTRO_ADAPTERS_PORTALLOCATOR_RANDOM_RANGE: must be a range of ports such as 60001-60010',
    ]);
  });

  describe('MAESTRO_API_PORT of v10', () => {
    const environment = { MAESTRO_API_PORT: '9999' };

    it.each([
      ['management-api', { managementApiPort: 9_999, roomsApiPort: 8_070 }],
      ['rooms-api', { managementApiPort: 8_080, roomsApiPort: 9_999 }],
    ] as const)('is the port of the %s when that is the one API role of a process', (apiRole, ports) => {
      expect(load(environment, { apiRole })).toMatchObject({ config: ports, remarks: [] });
    });

    it('is passed over, with a remark, where there are two API roles or none', () => {
      expect(load(environment)).toMatchObject({
        config: { managementApiPort: 8_080, roomsApiPort: 8_070 },
        remarks: [
          'MAESTRO_API_PORT is passed over: it is the port of the one API role of a process; set MAESTRO_MANAGEMENTAPI_PORT or MAESTRO_ROOMSAPI_PORT',
        ],
      });
    });

    it('gives way to our own name', () => {
      const both = { ...environment, MAESTRO_ROOMSAPI_PORT: '7777' };
      expect(load(both, { apiRole: 'rooms-api' }).config.roomsApiPort).toBe(7_777);
    });
  });

  it('passes over what Kubernetes sets for services that are called maestro-something', () => {
    const { config, remarks } = load(
      {
        MAESTRO_API_PORT: 'tcp://10.0.0.1:8080',
        MAESTRO_API_SERVICE_HOST: '10.0.0.1',
        MAESTRO_API_SERVICE_PORT: '8080',
        MAESTRO_API_SERVICE_PORT_HTTP: '8080',
        MAESTRO_API_PORT_8080_TCP: 'tcp://10.0.0.1:8080',
        MAESTRO_API_PORT_8080_TCP_ADDR: '10.0.0.1',
        MAESTRO_REDIS_PORT: 'tcp://10.0.0.2:6379',
      },
      { apiRole: 'management-api' },
    );
    expect(config.managementApiPort).toBe(8_080);
    expect(remarks).toEqual(['MAESTRO_API_PORT is a Kubernetes service link, not a setting: passed over']);
  });

  it('is remarked on where it says what means nothing, without failing', () => {
    const { remarks } = load({
      MAESTRO_ADAPTERS_REDIS_POOLSIZE: '500',
      MAESTRO_ROOMSAPI_PROT: '8070',
      PATH: '/bin',
      OTHER_MAESTRO_THING: 'x',
    });
    expect(remarks).toEqual([
      'MAESTRO_ADAPTERS_REDIS_POOLSIZE has no effect: one connection per purpose carries all commands',
      'MAESTRO_ROOMSAPI_PROT is not a setting of this version',
    ]);
  });

  it('has no key twice, and none that is both a setting and obsolete', () => {
    const keys = all.flatMap(([, { key, aliases = [] }]) => [key, ...aliases]);
    const variables = [...keys, ...Object.keys(obsoleteKeys)].map(variableOf);
    expect(new Set(variables).size).toBe(variables.length);
  });

  it.each(all)('has a default for %s that is valid, and a help text', (_, { default: text, schema, help }) => {
    if (text !== undefined) expect(schema.safeParse(text).success).toBe(true);
    expect(help.length).toBeGreaterThan(5);
  });
});

describe('a duration', () => {
  it.each([
    ['250ms', 's', 250],
    ['10s', 'ms', 10_000],
    ['1m30s', 's', 90_000],
    ['1.5h', 's', 5_400_000],
    ['1h0m0.5s', 's', 3_600_500],
    ['5000', 'ms', 5_000],
    ['5', 's', 5_000],
    [' 5s ', 's', 5_000],
    ['', 's', null],
    ['5 s', 's', null],
    ['-5s', 's', null],
    ['5d', 's', null],
    ['s', 's', null],
  ] as const)('"%s", counting plain numbers in %s, is %p ms', (text, unit, expected) => {
    expect(parseDurationMs(text, unit)).toBe(expected);
  });
});
