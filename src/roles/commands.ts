import { join, resolve } from 'node:path';
import { removeState } from '../adapters/embedded-servers/reset-state';
import { startEmbeddedServers, type EmbeddedServers } from '../adapters/embedded-servers/embedded-servers';
import { acquireStateDirectory } from '../adapters/embedded-servers/state-directory';
import { LocalProcessRuntime } from '../adapters/local-process/local-process-runtime';
import { createLogger, type LogPreset } from '../adapters/pino/pino-logger';
import { assertV10Unshadowed } from '../adapters/postgres/assert-v10-unshadowed';
import { assertMigrated, connectPostgres, describeTarget, migratePostgres } from '../adapters/postgres/data-source';
import { PostgresListener } from '../adapters/postgres/postgres-listener';
import { PostgresOperationStore } from '../adapters/postgres/postgres-operation-store';
import { PostgresSchedulerHistories } from '../adapters/postgres/postgres-scheduler-histories';
import { PostgresUnitOfWork } from '../adapters/postgres/postgres-unit-of-work';
import { V10Database } from '../adapters/postgres/v10-database';
import { loadConfig, variableOf } from '../config/load-config';
import { processEnvironment } from '../config/process-environment';
import type { Config } from '../config/settings';
import { DomainError, messageOf } from '../domain/errors';
import { isComplete, outcomeLines, summaryLine } from '../features/importing/import-report';
import { SchedulerImport, type SchedulerOutcome } from '../features/importing/scheduler-import';
import { createSampleScheduler } from '../features/quick-start/sample-scheduler';
import { welcomeFields, welcomeText } from '../features/quick-start/welcome-text';
import type { Logger } from '../ports/logger';
import { adoptRooms } from './adopt-rooms';
import { runBacktest, type BacktestCommandOptions } from './backtest';
import { bootRoles, type RunningRoles } from './boot-roles';
import { assertPortsFree } from './listeners';
import { assertRuntimeConfigured } from './open-runtime';
import { openResources, type ProcessResources } from './process-resources';
import { remarksOnReach, tellUntilUsable } from './remark-on-runtime';
import { parseRoles, roles as allRoles, type Role } from './role';

export interface GlobalOptions {
  configPath?: string;
  logConfig?: string;
}

/**
 * Starts roles and resolves when they run; from then on a signal ends the process in order.
 * @throws DomainError with one line for whatever keeps them from running.
 */
export async function start(options: GlobalOptions & { roles: string }): Promise<void> {
  const roles = parseRoles(options.roles);
  const { config, logger, preset } = load(options, roles);
  const stopping = new StopSignals(logger);
  const isEverything = roles.length === allRoles.length;
  const closers: (() => Promise<void>)[] = [];
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) {
      // What cannot be closed must not keep the rest open.
      await close().catch((error: unknown) => logger.warn({ err: messageOf(error) }, 'could not be closed in order'));
    }
  };
  await assertPortsFree(roles, config);
  await assertRuntimeConfigured(config, processEnvironment());
  try {
    const servers = await startServers(config, logger, isEverything, closers);
    const resources = await openResources(config, logger, {
      postgresUrl: servers.postgresUrl,
      redisUrl: servers.redisUrl,
      processName: isEverything ? 'maestro-all' : `maestro-${roles.join('+')}`,
      environment: processEnvironment(),
    });
    closers.push(() => resources.close());
    if (isEverything) {
      await assertV10Unshadowed(resources.dataSource);
      await migratePostgres(resources.dataSource, { onWait: (message) => logger.info({}, message) });
    } else await assertMigrated(resources.dataSource);
    const running = await bootRoles(roles, resources);
    // Only the process that is everything, with servers of its own, ends the rooms: it is somebody's terminal.
    const endAllRooms = servers.embedded === null ? null : resources.endAllRooms;
    closers.push(() => (endAllRooms ? stopWithRooms(running, resources, endAllRooms) : running.stopAll()));
    logger.info({ roles, owner: resources.owner }, 'maestro runs');
    const watching = new AbortController();
    closers.push(async () => watching.abort());
    remarkOnRuntime(roles, resources, watching.signal);
    if (servers.embedded !== null) await welcome(config, { logger, preset }, servers);
  } catch (error) {
    await closeAll();
    throw error;
  }
  await stopping.received;
  logger.info({}, 'maestro stops');
  await closeAll();
  process.exit(0);
}

export async function migrate(options: GlobalOptions): Promise<void> {
  const { config, logger } = load({ logConfig: 'development', ...options }, []);
  const dataSource = await connectPostgres({
    url: config.postgresUrl ?? missing('postgres.url'),
    poolSize: 2,
    applicationName: 'maestro-migrate',
    onIdleError: (error) => logger.warn({ err: messageOf(error) }, 'the database connection was lost'),
  });
  try {
    await assertV10Unshadowed(dataSource);
    const ran = await migratePostgres(dataSource, { onWait: (message) => logger.info({}, message) });
    logger.info({ migrations: ran }, ran.length > 0 ? 'the database was migrated' : 'the database is up to date');
  } finally {
    await dataSource.destroy();
  }
}

/**
 * Takes over the schedulers of a Maestro v10 and prints what became of each. Answers whether all of them are here now.
 * @throws DomainError with one line for whatever keeps it from going on; each scheduler printed until then is as it says.
 */
export async function importFromV10(
  options: GlobalOptions & { from: string; dryRun?: boolean; scheduler?: string[] },
): Promise<boolean> {
  const { config, logger } = load({ logConfig: 'development', ...options }, []);
  const isDryRun = options.dryRun ?? false;
  const url = config.postgresUrl ?? missing('postgres.url');
  const dataSource = await connectPostgres({
    url,
    // One: a transaction at a time, and what is set for the session holds for everything.
    poolSize: 1,
    applicationName: 'maestro-import',
    onIdleError: (error) => logger.warn({ err: messageOf(error) }, 'the database connection was lost'),
  });
  try {
    await assertMigrated(dataSource);
    if (isDryRun) await dataSource.query('SET default_transaction_read_only = on');
    const v10 = await V10Database.open(options.from);
    try {
      const unitOfWork = new PostgresUnitOfWork(dataSource);
      const operations = new PostgresOperationStore(unitOfWork, new PostgresListener(url, logger));
      const work = new SchedulerImport(v10, new PostgresSchedulerHistories(unitOfWork), operations, unitOfWork);
      process.stdout.write(`from ${describeTarget(options.from)} into ${describeTarget(url)}\n`);
      const outcomes: SchedulerOutcome['outcome'][] = [];
      for await (const outcome of work.run({ isDryRun, names: options.scheduler })) {
        outcomes.push(outcome.outcome);
        process.stdout.write(outcomeLines(outcome));
      }
      process.stdout.write(summaryLine(outcomes, isDryRun));
      return isComplete(outcomes);
    } finally {
      await v10.close();
    }
  } finally {
    await dataSource.destroy();
  }
}

/** Takes over the rooms that a Maestro v10 runs. Answers whether all of those that were meant are ours now. */
export async function adoptFromV10(
  options: GlobalOptions & { scheduler?: string[]; all?: boolean; dryRun?: boolean },
): Promise<boolean> {
  const { config, logger } = load({ logConfig: 'development', ...options }, []);
  const names = options.scheduler;
  if ((names === undefined) !== (options.all ?? false)) {
    throw new DomainError(
      'invalid_argument',
      'adoption.nothing_named',
      'say whose rooms are to be adopted: either --scheduler NAME, or --all for every scheduler that is here',
    );
  }
  const request = { isDryRun: options.dryRun ?? false, ...(names ? { names } : {}), environment: processEnvironment() };
  return adoptRooms(config, logger, config.postgresUrl ?? missing('postgres.url'), request);
}

/** Prints what policies would have come to under a load curve. Needs no database; of the settings, the limits of rooms count. */
export async function backtest(options: GlobalOptions & BacktestCommandOptions): Promise<void> {
  await runBacktest(options, load(options, []).config);
}

/** Ends rooms and servers that a killed process left, and removes what Maestro keeps in the state directory. */
export async function reset(options: GlobalOptions): Promise<void> {
  const { config, logger } = load({ logConfig: 'development', ...options }, []);
  const endRooms = async (): Promise<void> => {
    const runtime = new LocalProcessRuntime(
      { stateDir: config.stateDirectory, roomsApiUrl: '', environment: processEnvironment() },
      logger,
    );
    await runtime.stopEverything();
    await runtime.close();
  };
  const removed = await removeState(config.stateDirectory, logger, endRooms);
  logger.info(
    { state_directory: resolve(config.stateDirectory) },
    removed ? 'all state was removed' : 'there is no state to remove',
  );
}

function load(options: GlobalOptions, roles: readonly Role[]): { config: Config; logger: Logger; preset: LogPreset } {
  const preset = options.logConfig ?? (process.stdout.isTTY ? 'development' : 'production');
  if (preset !== 'production' && preset !== 'development') {
    throw new DomainError(
      'invalid_argument',
      'log_config.unknown',
      `unknown log preset "${preset}": it is production or development`,
    );
  }
  const apiRoles = roles.filter((role) => role === 'management-api' || role === 'rooms-api');
  const { config, remarks } = loadConfig({
    environment: processEnvironment(),
    ...(options.configPath === undefined ? {} : { filePath: options.configPath }),
    ...(apiRoles.length === 1 ? { apiRole: apiRoles[0] } : {}),
  });
  const logger = createLogger(preset satisfies LogPreset, config.logLevel);
  for (const remark of remarks) logger.warn({}, remark);
  return { config, logger, preset };
}

/** What starts all the same, and yet somebody should look at. */
function remarkOnRuntime(
  roles: readonly Role[],
  { config, logger, checkRuntime }: ProcessResources,
  signal: AbortSignal,
): void {
  for (const remark of remarksOnReach(roles, config)) logger.warn({}, remark);
  if (!roles.includes('worker') && !roles.includes('runtime-watcher')) return;
  if (checkRuntime !== null) void tellUntilUsable(checkRuntime, logger, signal);
}

interface Servers {
  postgresUrl: string;
  redisUrl: string;
  /** Null when both databases are somewhere else. */
  embedded: EmbeddedServers | null;
}

/** The configured databases; for `--role all`, embedded ones in place of those that are not configured. */
async function startServers(
  config: Config,
  logger: Logger,
  isEverything: boolean,
  closers: (() => Promise<void>)[],
): Promise<Servers> {
  const { postgresUrl, redisUrl } = config;
  if (!isEverything || (postgresUrl !== undefined && redisUrl !== undefined)) {
    return {
      postgresUrl: postgresUrl ?? missing('postgres.url'),
      redisUrl: redisUrl ?? missing('redis.url'),
      embedded: null,
    };
  }
  const owned = await acquireStateDirectory(config.stateDirectory);
  closers.push(async () => owned.release());
  const embedded = await startEmbeddedServers({
    stateDirectory: config.stateDirectory,
    postgres: postgresUrl === undefined,
    redis: redisUrl === undefined ? config.embeddedRedis : false,
    searchPath: processEnvironment()['PATH'] ?? '',
    onGivenUp: endWithoutServer,
    logger,
  });
  closers.push(() => embedded.stop());
  return {
    postgresUrl: postgresUrl ?? embedded.postgresUrl!,
    redisUrl: redisUrl ?? embedded.redisUrl!,
    embedded,
  };
}

/** Nothing can be ended in order without its database: the rooms stay, and the watchdogs end what is left of the servers. */
function endWithoutServer(error: DomainError): never {
  process.stderr.write(`maestro: ${error.message} The rooms stay; the next start adopts them.\n`);
  process.exit(1);
}

function missing(key: 'postgres.url' | 'redis.url'): never {
  throw new DomainError(
    'invalid_argument',
    'config.missing',
    `${variableOf(key)} is not set; only --role all starts embedded databases`,
  );
}

/** Tells a person at length, and whatever reads lines of JSON in one of them. */
async function welcome(
  config: Config,
  { logger, preset }: { logger: Logger; preset: LogPreset },
  { embedded, ...urls }: Servers,
): Promise<void> {
  const host = config.host === '0.0.0.0' || config.host === '::' ? '127.0.0.1' : config.host;
  const managementUrl = `http://${host}:${config.managementApiPort}`;
  // The sample is a program of this machine.
  const hasSample =
    config.runtime === 'local' &&
    (await createSampleScheduler(
      { managementUrl, projectDirectory: process.cwd(), stateDirectory: config.stateDirectory },
      logger,
    ));
  const facts = {
    managementUrl,
    managementGrpc: `${host}:${config.managementApiGrpcPort}`,
    roomsUrl: `http://${host}:${config.roomsApiPort}`,
    roomsGrpc: `${host}:${config.roomsApiGrpcPort}`,
    internalUrl: `http://${host}:${config.internalApiPort}`,
    postgres: `${embedded?.postgresUrl ? 'embedded ' : ''}PostgreSQL at ${describeTarget(urls.postgresUrl)}`,
    redis: `${embedded?.redisDescription ?? 'Redis'} at ${new URL(urls.redisUrl).host}`,
    stateDirectory: join(config.stateDirectory, '/'),
    hasSample,
    endsRooms: config.runtime === 'local',
  };
  if (preset === 'development') process.stdout.write(welcomeText(facts));
  else logger.info(welcomeFields(facts), 'everything runs, and may be called');
}

/** How long the records of ended rooms may take to follow. The next start cleans up what is left. Milliseconds. */
const recordsFollowMs = 2_000;

/** First whoever would make or accept new rooms; the rest hears the rooms out and then goes. */
async function stopWithRooms(
  running: RunningRoles,
  { roomStore, logger }: ProcessResources,
  endAllRooms: () => Promise<void>,
): Promise<void> {
  await Promise.all([running.stop('worker'), running.stop('management-api')]);
  try {
    await endAllRooms();
    const deadline = Date.now() + recordsFollowMs;
    while (Date.now() < deadline && (await roomStore.listSchedulers()).length > 0) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  } catch (error) {
    logger.error({ err: messageOf(error) }, 'the rooms could not all be ended; "npm run reset" ends what is left');
  }
  await running.stopAll();
}

/** A terminal's Ctrl-C reaches us directly and again through npm: signals this close together are one. Milliseconds. */
const sameSignalMs = 1_500;

/** The first signal stops in order; a second one stops at once. */
class StopSignals {
  readonly received: Promise<void>;

  constructor(logger: Logger) {
    this.received = new Promise((resolve) => {
      let askedAt: number | null = null;
      const onSignal = (signal: NodeJS.Signals): void => {
        if (askedAt !== null && performance.now() - askedAt < sameSignalMs) return;
        if (askedAt !== null) {
          logger.warn({ signal }, 'asked again: stopping at once; rooms may go on running');
          process.exit(130);
        }
        askedAt = performance.now();
        resolve();
      };
      process.on('SIGINT', onSignal);
      process.on('SIGTERM', onSignal);
    });
  }
}
