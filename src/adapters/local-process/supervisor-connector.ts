import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync } from 'node:fs';
import { extname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DomainError, messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import { processTableOfThisMachine, type ProcessTable } from './process-table';
import { prepareStatePaths, type StatePaths } from './state-paths';
import { SupervisorConnection } from './supervisor-connection';
import { SupervisorLock } from './supervisor-lock';
import { protocolVersion } from './supervisor-protocol';
import type { SupervisorProcessOptions } from './supervisor-process';

export interface ConnectorOptions {
  supervisor: SupervisorProcessOptions;
  /** The supervisor's whole environment. */
  environment: Record<string, string>;
  /** Flags for Node before the supervisor's file; production needs none. */
  execArgv: readonly string[];
}

/** A supervisor greets as soon as it listens; one that does not may be about to exit. */
const greetingTimeoutMs = 3_000;

/** Between two looks at a supervisor that is starting. A start takes about 0.1 s. */
const retryMs = 15;

/** Finds the supervisor of a state directory, and starts it where there is none. */
export class SupervisorConnector {
  private readonly table: ProcessTable = processTableOfThisMachine();
  private preparedPaths: StatePaths | null = null;
  /** The start that is under way; `failure` is set when it ended badly. */
  private starting: { ended: boolean; failure: string; child: ChildProcess | null } | null = null;

  constructor(
    private readonly options: ConnectorOptions,
    private readonly log: Logger,
  ) {}

  /**
   * A greeted connection, before `deadlineMs` (milliseconds since the epoch).
   * @throws DomainError `unavailable` when no supervisor came up; `runtime.supervisor_newer` (failed_precondition) when the
   *         one that runs belongs to a newer Maestro.
   */
  async connect(deadlineMs: number, signal?: AbortSignal): Promise<SupervisorConnection> {
    let lastError = 'it did not come up in time';
    while (Date.now() < deadlineMs && !signal?.aborted) {
      try {
        const holder = await this.lock.holder();
        const connection = await SupervisorConnection.open(
          holder?.socket ?? this.paths.socket,
          Math.min(greetingTimeoutMs, Math.max(1, deadlineMs - Date.now())),
        );
        if (!(await this.isOfOurKind(connection, deadlineMs))) continue;
        this.stopLoser(connection.supervisor.pid);
        return connection;
      } catch (error) {
        if (error instanceof DomainError && error.kind === 'failed_precondition') throw error;
        lastError = messageOf(error);
      }
      try {
        await this.startIfNeeded();
      } catch (error) {
        throw unavailable(messageOf(error), error);
      }
      await sleep(retryMs);
    }
    throw unavailable(lastError);
  }

  /** Whether there is anything to end: a supervisor, a record or a process of a room. Starts nothing. */
  async isAnythingThere(): Promise<boolean> {
    if (await this.isSupervised()) return true;
    const records = readdirSync(this.paths.roomsDir, { recursive: true, encoding: 'utf8' });
    if (records.some((name) => name.endsWith('.json') && !name.endsWith('_scheduler.json'))) return true;
    return (await this.table.findMarked(this.paths.marker)).length > 0;
  }

  /** Whether a supervisor lives. Always false on Windows, where the connection's end says it. */
  async isSupervised(): Promise<boolean> {
    return (await this.lock.holder()) !== null;
  }

  private async startIfNeeded(): Promise<void> {
    if (this.starting?.failure) {
      const { failure } = this.starting;
      this.starting = null;
      throw new Error(failure);
    }
    if (this.starting && !this.starting.ended) return;
    if (await this.isSupervised()) return;
    this.start();
  }

  private start(): void {
    const { supervisor, environment, execArgv } = this.options;
    const file = join(__dirname, `supervisor-process${extname(__filename)}`);
    const errors = openSync(this.paths.supervisorLog, 'a', 0o600);
    const starting: NonNullable<typeof this.starting> = { ended: false, failure: '', child: null };
    this.starting = starting;
    try {
      const child = spawn(process.execPath, [...execArgv, file, JSON.stringify(supervisor)], {
        cwd: this.paths.stateDir,
        env: environment,
        detached: true,
        stdio: ['ignore', 'ignore', errors],
        windowsHide: true,
      });
      starting.child = child;
      const end = (failure: string) => {
        starting.child = null;
        starting.ended = true;
        starting.failure = failure;
      };
      child.once('error', (error) => end(`the supervisor could not be started: ${error.message}`));
      child.once('exit', (code) =>
        end(code === 1 ? `the supervisor failed to start: ${this.paths.supervisorLog} says why` : ''),
      );
      // It lives on when we end.
      child.unref();
      this.log.debug({ pid: child.pid, state_dir: this.paths.stateDir }, 'supervisor of the local runtime was started');
    } finally {
      closeSync(errors);
    }
  }

  /** One that we started while another was faster must not come up late, when that other one was told to go. */
  private stopLoser(winnerPid: number): void {
    const child = this.starting?.child;
    if (child && child.pid !== winnerPid) child.kill('SIGKILL');
  }

  /** An older supervisor is asked to go, its rooms stay. */
  private async isOfOurKind(connection: SupervisorConnection, deadlineMs: number): Promise<boolean> {
    const { protocol, pid } = connection.supervisor;
    if (protocol === protocolVersion) return true;
    if (protocol > protocolVersion) {
      connection.close();
      throw new DomainError(
        'failed_precondition',
        'runtime.supervisor_newer',
        `The supervisor (pid ${pid}) of ${this.paths.stateDir} belongs to a newer Maestro: use that one, or another state directory`,
      );
    }
    await connection.call('retire', {}, Math.max(1, deadlineMs - Date.now()));
    await connection.closed;
    return false;
  }

  /** Made on use: a folder that cannot be made fails the call, not the construction, and one that was removed is made anew. */
  private get paths(): StatePaths {
    if (!this.preparedPaths || !existsSync(this.preparedPaths.roomsDir)) {
      this.preparedPaths = prepareStatePaths(this.options.supervisor.stateDir);
    }
    return this.preparedPaths;
  }

  private get lock(): SupervisorLock {
    return new SupervisorLock(this.paths.runtimeDir, this.table);
  }
}

function unavailable(why: string, cause?: unknown): DomainError {
  return new DomainError(
    'unavailable',
    'runtime.supervisor_unreachable',
    `The local runtime's supervisor cannot be reached: ${why}`,
    cause === undefined ? {} : { cause },
  );
}
