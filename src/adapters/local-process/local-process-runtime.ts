import { isAbsolute, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DomainError, messageOf } from '../../domain/errors';
import type { RemovalReason } from '../../domain/operation/operation';
import type { Logger } from '../../ports/logger';
import { Runtime, type InstanceSpec, type InstanceWatcher, type RuntimeInstance } from '../../ports/runtime';
import { InstanceFollower } from './instance-follower';
import { pickBaseEnvironment } from './room-environment';
import type { SupervisorLimits } from './supervisor';
import { connectionLost, type SupervisorConnection } from './supervisor-connection';
import { SupervisorConnector } from './supervisor-connector';
import type { RoomSurroundings, SupervisorCalls, SupervisorMethod } from './supervisor-protocol';

export interface LocalProcessRuntimeOptions {
  /** `.maestro`: the folder that owns the rooms. One supervisor per folder. Made when missing. */
  stateDir: string;
  /** Told to every room as `MAESTRO_ROOMS_API_URL`, e.g. `http://127.0.0.1:8070`. */
  roomsApiUrl: string;
  /** Told to every room as `MAESTRO_ROOMS_GRPC_ADDRESS`, e.g. `127.0.0.1:50052`. Default: the variable is not set. */
  roomsGrpcAddress?: string;
  /** Where `baseEnvironmentNames` are taken from; everything else in it is ignored. */
  environment: Readonly<Record<string, string | undefined>>;
  /** Where the rooms' commands run. Default: where Maestro runs. */
  workingDirectory?: string;
  /** The address that players are told. Default 127.0.0.1. */
  host?: string;
  /** The deadline of each call, the start of a supervisor included. Default 10 s. */
  requestTimeoutMs?: number;
  /** How long a supervisor without rooms and clients stays. Default 30 s. */
  idleExitMs?: number;
  /** A room's log is rotated beyond this size. Default 1 MiB. */
  logMaxBytes?: number;
  /** Log files per room, the current one included. Default 2. */
  logFiles?: number;
  /** Ended rooms whose logs are kept. Default 50. */
  endedLogsKept?: number;
  /** How often a supervisor looks at log sizes and at its own use. Default 1 s. */
  housekeepingMs?: number;
  /** How often a supervisor looks at rooms that an earlier one started. Default 250 ms. */
  adoptedPollMs?: number;
  /** Flags for the supervisor's Node, for tests that run TypeScript. Default none. */
  execArgv?: readonly string[];
}

/** Back-off of a watch that lost its supervisor, or whose handlers fail. */
const firstRetryMs = 100;
const lastRetryMs = 5_000;

/** Calls whose second run has the effect of one. Creating an instance is not among them: the caller asks by its id. */
const repeatable: ReadonlySet<SupervisorMethod> = new Set([
  'createScheduler',
  'ensureScheduler',
  'deleteScheduler',
  'deleteInstance',
  'listInstances',
  'stop',
]);

/**
 * Rooms as processes of this machine. This is a client: the processes belong to the supervisor of the state directory,
 * which any client starts, so roles may be separate processes and rooms outlive them all.
 *
 * Beyond the port: a container's `command` is run and its image ignored; `runtime.command_missing` (invalid_argument) when
 * there is none. Several containers are several processes; when one ends, the others are ended and the room is over.
 * Nothing is restarted, whatever `restartPolicy` says: a room that ended is gone, and Maestro replaces it. Requests, limits,
 * toleration and affinity are ignored. A grace of 0 is Kubernetes' default of 30 s.
 */
export class LocalProcessRuntime extends Runtime {
  readonly kind = 'local';
  readonly placeWord = 'place';
  readonly movesInstances = false;

  private readonly connector: SupervisorConnector;
  private readonly surroundings: RoomSurroundings;
  private readonly requestTimeoutMs: number;
  private connection: Promise<SupervisorConnection> | null = null;
  private readonly closing = new AbortController();
  /** From then on the supervisor goes because it was told to. */
  private endsAll = false;

  constructor(
    options: LocalProcessRuntimeOptions,
    private readonly log: Logger,
  ) {
    super();
    const baseEnvironment = pickBaseEnvironment(options.environment);
    const limits: SupervisorLimits = {
      logMaxBytes: options.logMaxBytes ?? 1024 * 1024,
      logFiles: options.logFiles ?? 2,
      endedLogsKept: options.endedLogsKept ?? 50,
      adoptedPollMs: options.adoptedPollMs ?? 250,
    };
    this.requestTimeoutMs = options.requestTimeoutMs ?? 10_000;
    const workingDirectory = options.workingDirectory ?? process.cwd();
    this.surroundings = {
      baseEnvironment,
      workingDirectory: isAbsolute(workingDirectory) ? workingDirectory : resolve(workingDirectory),
      host: options.host ?? '127.0.0.1',
      roomsApiUrl: options.roomsApiUrl,
      roomsGrpcAddress: options.roomsGrpcAddress ?? null,
    };
    this.connector = new SupervisorConnector(
      {
        supervisor: {
          ...limits,
          stateDir: resolve(options.stateDir),
          idleExitMs: options.idleExitMs ?? 30_000,
          housekeepingMs: options.housekeepingMs ?? 1_000,
        },
        environment: baseEnvironment,
        execArgv: options.execArgv ?? [],
      },
      log,
    );
  }

  createScheduler(name: string, owner: string): Promise<'created' | 'already_ours'> {
    return this.call('createScheduler', { name, owner });
  }

  ensureScheduler(name: string, owner: string): Promise<'created' | 'there'> {
    return this.call('ensureScheduler', { name, owner });
  }

  deleteScheduler(name: string, owner?: string): Promise<'deleting' | 'not_found'> {
    return this.call('deleteScheduler', owner === undefined ? { name } : { name, owner });
  }

  createInstance(spec: InstanceSpec): Promise<RuntimeInstance> {
    return this.call('createInstance', { spec, surroundings: this.surroundings });
  }

  deleteInstance(scheduler: string, id: string, reason: RemovalReason): Promise<'deleting' | 'not_found'> {
    return this.call('deleteInstance', { scheduler, id, reason });
  }

  /** This machine. */
  poolOf(): string {
    return '';
  }

  async countHosts(): Promise<number> {
    return 1;
  }

  /** Nothing moves a process. */
  async protectInstance(): Promise<'done'> {
    return 'done';
  }

  async setDisruptionBudget(): Promise<void> {
    // Nobody disrupts processes on purpose.
  }

  listInstances(scheduler?: string): Promise<RuntimeInstance[]> {
    return this.call('listInstances', scheduler === undefined ? {} : { scheduler });
  }

  /**
   * A handler that throws is logged, and makes for a new list after a back-off: the truth that it missed is told again.
   * Rejects with `runtime.supervisor_newer` only.
   */
  async watchInstances(watcher: InstanceWatcher, signal: AbortSignal): Promise<void> {
    const ending = AbortSignal.any([signal, this.closing.signal]);
    for (let failures = 0; !ending.aborted;) {
      let connection: SupervisorConnection | null = null;
      const letGo = () => connection?.close();
      ending.addEventListener('abort', letGo, { once: true });
      const follower = new InstanceFollower(watcher, this.log, ending, retryAfterMs(failures));
      try {
        connection = await this.connector.connect(Date.now() + this.requestTimeoutMs, ending);
        connection.onChange = (change) => follower.change(change);
        const instances = await connection.call('watch', {}, this.requestTimeoutMs);
        const end = await follower.follow(instances, connection.closed);
        failures = end === 'handler_failed' ? failures + 1 : 0;
        // A handler's back-off has passed already. A supervisor that went is replaced at once, the first time.
        if (end === 'handler_failed' || end === 'aborted') continue;
        this.log[this.endsAll ? 'debug' : 'warn']({}, 'watch of the local runtime was interrupted and begins anew');
      } catch (error) {
        if (ending.aborted) break;
        if (error instanceof DomainError && error.kind === 'failed_precondition') throw error;
        failures++;
        this.log.warn({ error: messageOf(error), failures }, 'watch of the local runtime could not begin');
      } finally {
        ending.removeEventListener('abort', letGo);
        connection?.close();
      }
      await sleep(retryAfterMs(failures), undefined, { signal: ending }).catch(() => undefined);
    }
  }

  async close(): Promise<void> {
    this.closing.abort();
    const connection = await this.connection?.catch(() => null);
    connection?.close();
    await connection?.closed;
  }

  /**
   * Ends every room of this state directory with its grace, whoever made it, then the supervisor; resolves when all are
   * gone. Schedulers' places stay. Does nothing where nothing runs. While it is under way no room can be made.
   * @throws DomainError `unavailable` when a process does not end although it was killed, or the supervisor went away.
   */
  async stopEverything(): Promise<void> {
    this.endsAll = true;
    for (let attempts = 1; await this.isAnythingThere(); attempts++) {
      const { withinMs } = await this.call('stop', {});
      try {
        await this.call('awaitStopped', {}, withinMs + this.requestTimeoutMs);
      } catch (error) {
        // It may have gone before or after its work was done: look again.
        if (!isConnectionLost(error) || attempts === 3) throw error;
        continue;
      }
      return this.supervisorGone();
    }
  }

  private async isAnythingThere(): Promise<boolean> {
    try {
      return await this.connector.isAnythingThere();
    } catch (error) {
      const message = `The state directory of the local runtime cannot be read: ${messageOf(error)}`;
      throw new DomainError('unavailable', 'runtime.state_unreadable', message, { cause: error });
    }
  }

  private async supervisorGone(): Promise<void> {
    const deadlineMs = Date.now() + this.requestTimeoutMs;
    while (await this.connector.isSupervised()) {
      if (Date.now() > deadlineMs) {
        const message = 'All rooms of the local runtime have ended, but its supervisor did not exit';
        throw new DomainError('unavailable', 'runtime.supervisor_stays', message);
      }
      await sleep(10);
    }
  }

  private async call<M extends SupervisorMethod>(
    method: M,
    parameters: SupervisorCalls[M]['parameters'],
    timeoutMs = this.requestTimeoutMs,
  ): Promise<SupervisorCalls[M]['answer']> {
    const deadlineMs = Date.now() + timeoutMs;
    for (;;) {
      const connection = await this.connected(deadlineMs);
      try {
        return await connection.call(method, parameters, Math.max(1, deadlineMs - Date.now()));
      } catch (error) {
        const mayRepeat = isConnectionLost(error) && (repeatable.has(method) || error.details['wasSent'] === false);
        if (!mayRepeat || Date.now() >= deadlineMs) throw error;
      }
    }
  }

  private connected(deadlineMs: number): Promise<SupervisorConnection> {
    if (this.closing.signal.aborted) {
      return Promise.reject(
        new DomainError('unavailable', 'runtime.closed', 'This client of the local runtime was closed'),
      );
    }
    this.connection ??= this.connector.connect(deadlineMs, this.closing.signal).then(
      (connection) => {
        void connection.closed.then(() => (this.connection = null));
        return connection;
      },
      (error: unknown) => {
        this.connection = null;
        throw error;
      },
    );
    return this.connection;
  }
}

function isConnectionLost(error: unknown): error is DomainError {
  return error instanceof DomainError && error.code === connectionLost;
}

/** Doubles from 0.1 s to 5 s, less up to a fifth at random so that clients of one supervisor do not come back together. */
function retryAfterMs(failures: number): number {
  return Math.min(lastRetryMs, firstRetryMs * 2 ** Math.min(failures, 10)) * (1 - Math.random() / 5);
}
