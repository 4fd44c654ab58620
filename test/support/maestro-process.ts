import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { RoomRecord } from '../../src/adapters/local-process/room-records';
import { eventually } from './eventually';

const root = resolve(__dirname, '../..');
const entry = join(root, 'dist/src/main.js');

export interface Ports {
  management: number;
  managementGrpc: number;
  rooms: number;
  roomsGrpc: number;
  internal: number;
}

/** The built program as a user starts it, with ports and a state directory of its own. */
export class MaestroProcess {
  output = '';
  /** Resolves when the process ends, however it does. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  private readonly child: ChildProcess;
  private exit: { code: number | null; signal: NodeJS.Signals | null } | null = null;

  constructor(
    arguments_: string[],
    readonly ports: Ports,
    environment: Record<string, string> = {},
  ) {
    if (!existsSync(entry)) throw new Error('the program is not built: "npm run build" first ("npm test" does)');
    this.child = spawn(process.execPath, [entry, ...arguments_], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        MAESTRO_MANAGEMENTAPI_PORT: String(ports.management),
        MAESTRO_MANAGEMENTAPI_GRPCPORT: String(ports.managementGrpc),
        MAESTRO_ROOMSAPI_PORT: String(ports.rooms),
        MAESTRO_ROOMSAPI_GRPCPORT: String(ports.roomsGrpc),
        MAESTRO_INTERNALAPI_PORT: String(ports.internal),
        ...environment,
      },
    });
    this.child.stdout!.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    this.child.stderr!.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    this.ended = new Promise((resolve) => {
      this.child.on('exit', (code, signal) => resolve((this.exit = { code, signal })));
    });
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Waits for the end of the process. */
  async exited(timeoutMs = 30_000): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    return eventually(
      () => {
        if (this.exit === null) throw new Error(`still runs:\n${this.output}`);
        return this.exit;
      },
      { timeoutMs },
    );
  }

  /** Resolves when all roles are up; a process that does not get there is ended. */
  async ready(timeoutMs = 40_000): Promise<this> {
    try {
      await this.becameReady(timeoutMs);
    } catch (error) {
      this.child.kill('SIGKILL');
      throw error;
    }
    return this;
  }

  private async becameReady(timeoutMs: number): Promise<void> {
    await eventually(
      async () => {
        if (this.exit !== null) throw new Error(`ended with ${JSON.stringify(this.exit)}:\n${this.output}`);
        const response = await fetch(`http://127.0.0.1:${this.ports.internal}/readyz`);
        if (!response.ok) throw new Error(`not ready:\n${this.output}`);
      },
      { timeoutMs, everyMs: 50 },
    );
  }

  /** Asks the process to stop and waits until it did. */
  async stop(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    if (this.exit === null) this.child.kill('SIGTERM');
    return this.exited();
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited();
  }

  async get<T = unknown>(path: string): Promise<T> {
    const response = await fetch(`http://127.0.0.1:${this.ports.management}${path}`);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }

  async post(path: string, body: unknown): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.ports.management}${path}`, { method: 'POST', body: JSON.stringify(body) });
  }

  /** The status of /readyz. */
  async readiness(): Promise<number> {
    return (await fetch(`http://127.0.0.1:${this.ports.internal}/readyz`)).status;
  }

  async metrics(): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.ports.internal}/metrics`)).text();
  }
}

/** Ports that were free a moment ago. */
export async function freePorts(): Promise<Ports> {
  const [management, managementGrpc, rooms, roomsGrpc, internal] = await Promise.all([
    freePort(),
    freePort(),
    freePort(),
    freePort(),
    freePort(),
  ]);
  return { management, managementGrpc, rooms, roomsGrpc, internal };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

export function temporaryStateDirectory(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'maestro-e2e-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** The rooms, as the local runtime wrote them down, in the order of their ids. */
export function roomRecords(stateDirectory: string, scheduler: string): RoomRecord[] {
  const folder = join(stateDirectory, 'runtime', 'rooms', scheduler);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json') && !name.startsWith('_'))
    .sort()
    .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as RoomRecord);
}

/** The rooms' processes. By room id, in order. */
export function roomProcesses(stateDirectory: string, scheduler: string): Map<string, number> {
  return new Map(roomRecords(stateDirectory, scheduler).map(({ id, containers }) => [id, containers[0]!.pid!]));
}

/** Whether a process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    if (process.platform === 'linux') return false;
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/**
 * Every process whose command line or environment holds one of the texts: what must not be left behind. Servers are found
 * by the state directory, rooms by the address of their rooms API.
 */
export function processesOf(...marks: string[]): string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid && isAlive(Number(name)))
    .flatMap((pid) => {
      try {
        const [commandLine, environment] = ['cmdline', 'environ'].map((file) =>
          readFileSync(`/proc/${pid}/${file}`, 'utf8'),
        );
        const isOurs = marks.some((mark) => commandLine!.includes(mark) || environment!.includes(mark));
        return isOurs ? [`${pid} ${commandLine!.replaceAll('\0', ' ')}`] : [];
      } catch {
        return [];
      }
    });
}
