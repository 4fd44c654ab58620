import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import {
  LocalProcessRuntime,
  type LocalProcessRuntimeOptions,
} from '../../src/adapters/local-process/local-process-runtime';
import type { InstanceSpec, InstanceWatcher, InstanceChange } from '../../src/ports/runtime';
import type { Instance } from '../../src/domain/room/room';
import { RecordedLog } from './recorded-log';

/** So that a client under Jest can start a supervisor from TypeScript. */
export const typescriptExecArgv = ['-r', resolve(__dirname, 'swc-register.cjs')];

/** A program that runs until SIGTERM, and then ends with 0 at once. Its own limit keeps a failed test from leaving it for ever. */
export const obedientRoom = ['/bin/sh', '-c', 'trap "kill $!; exit 0" TERM; sleep 300 & wait'];
/** A program that does not hear SIGTERM. */
export const stubbornRoom = ['/bin/sh', '-c', 'trap "" TERM; while :; do sleep 1; done'];

/** A state directory with any number of clients, all removed together with whatever still runs. */
export class LocalRooms {
  readonly stateDir = mkdtempSync(join(tmpdir(), 'maestro-local-'));
  readonly log = new RecordedLog();
  private readonly clients: LocalProcessRuntime[] = [];

  client(options: Partial<LocalProcessRuntimeOptions> = {}): LocalProcessRuntime {
    const client = new LocalProcessRuntime(
      {
        stateDir: this.stateDir,
        roomsApiUrl: 'http://127.0.0.1:8070',
        roomsGrpcAddress: '127.0.0.1:50052',
        environment: process.env,
        housekeepingMs: 50,
        adoptedPollMs: 50,
        execArgv: typescriptExecArgv,
        ...options,
      },
      this.log,
    );
    this.clients.push(client);
    return client;
  }

  /** Pids of living supervisors of this state directory, by their command line. */
  supervisors(): number[] {
    return livingProcesses().filter((pid) => {
      const line = commandLine(pid);
      return (
        line.some((part) => part.includes('supervisor-process')) && line.some((part) => part.includes(this.stateDir))
      );
    });
  }

  /** Pids of living first processes of a room. */
  pidsOf(id: string): number[] {
    return this.processesOf(id).filter(
      (pid) => readOrEmpty(`/proc/${pid}/stat`).split(') ')[1]?.split(' ')[2] === String(pid),
    );
  }

  /** Pids of all living processes that carry a room's id and this state directory's marker. */
  processesOf(id?: string): number[] {
    const marker = `MAESTRO_LOCAL_RUNTIME=${this.marker()}`;
    return livingProcesses().filter((pid) => {
      const variables = readOrEmpty(`/proc/${pid}/environ`).split('\0');
      return variables.includes(marker) && (id === undefined || variables.includes(`MAESTRO_ROOM_ID=${id}`));
    });
  }

  logOf(id: string, suffix = ''): string {
    return readOrEmpty(join(this.stateDir, 'runtime', 'logs', `${id}.log${suffix}`));
  }

  async dispose(): Promise<void> {
    try {
      await this.client().stopEverything();
    } finally {
      // A test that failed must not leave connections that keep Jest waiting, nor processes.
      await Promise.all(this.clients.map((client) => client.close()));
      for (const pid of [...this.supervisors(), ...this.processesOf()]) process.kill(pid, 'SIGKILL');
      rmSync(this.stateDir, { recursive: true, force: true });
    }
  }

  private marker(): string {
    return createHash('sha256').update(this.stateDir).digest('hex').slice(0, 16);
  }
}

export function roomSpec(changes: Partial<InstanceSpec> & { command?: string[] } = {}): InstanceSpec {
  const { command = obedientRoom, ...rest } = changes;
  return {
    id: 'arena-1',
    scheduler: 'arena',
    version: 'v1.0.0',
    validation: false,
    containers: [
      {
        name: 'room',
        image: 'ignored:1',
        imagePullPolicy: 'IfNotPresent',
        command,
        environment: [],
        requests: { memory: '16Mi', cpu: '10m' },
        limits: { memory: '16Mi', cpu: '10m' },
        ports: [],
      },
    ],
    terminationGracePeriodMs: 5_000,
    labels: {},
    annotations: {},
    toleration: '',
    affinity: '',
    restartPolicy: 'Never',
    operationId: null,
    ...rest,
  };
}

/** The same spec with these host ports, named `game`, `query`, `port3`, ... */
export function withHostPorts(
  spec: InstanceSpec,
  hostPorts: readonly { protocol: string; hostPort: number }[],
): InstanceSpec {
  const ports = hostPorts.map(({ protocol, hostPort }, index) => ({
    name: ['game', 'query'][index] ?? `port${index + 1}`,
    protocol,
    port: 7_777 + index,
    hostPort,
  }));
  return {
    ...spec,
    containers: spec.containers.map((container, index) => (index === 0 ? { ...container, ports } : container)),
  };
}

/** A watcher that remembers what it was told. */
export class RecordingWatcher implements InstanceWatcher {
  readonly lists: Instance[][] = [];
  readonly changes: InstanceChange[] = [];

  async onList(instances: Instance[]): Promise<void> {
    this.lists.push(instances);
  }
  async onChange(change: InstanceChange): Promise<void> {
    this.changes.push(change);
  }
  gone(id: string): Instance | undefined {
    return this.changes.find((change) => change.type === 'gone' && change.instance.id === id)?.instance;
  }
}

/** UDP ports that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const sockets = await Promise.all(
    Array.from({ length: count }, async () => {
      const socket = createSocket('udp4');
      await new Promise<void>((done) => socket.bind(0, '0.0.0.0', done));
      return socket;
    }),
  );
  const ports = sockets.map((socket) => socket.address().port);
  await Promise.all(sockets.map((socket) => new Promise<void>((done) => socket.close(() => done()))));
  return ports;
}

/** Zombies have ended. */
export function isAlive(pid: number): boolean {
  const state = readOrEmpty(`/proc/${pid}/stat`).split(') ').at(-1)?.[0];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

function livingProcesses(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && isAlive(pid));
}

function commandLine(pid: number): string[] {
  return readOrEmpty(`/proc/${pid}/cmdline`).split('\0');
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
