import { rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { messageOf } from '../../domain/errors';
import type { Supervisor } from './supervisor';
import type { SupervisorLog } from './supervisor-log';
import {
  encodeLine,
  lineDecoder,
  protocolVersion,
  toWireError,
  type Request,
  type SupervisorCalls,
  type SupervisorMethod,
} from './supervisor-protocol';

/** A watcher that reads nothing while this much waits for it is let go; it comes back for a new list. */
const mostUnreadBytes = 32 * 1024 * 1024;

type Handlers = {
  [M in SupervisorMethod]: (
    parameters: SupervisorCalls[M]['parameters'],
    socket: Socket,
  ) => SupervisorCalls[M]['answer'] | Promise<SupervisorCalls[M]['answer']>;
};

/** Carries the calls of clients to the supervisor and its changes to those who watch. */
export class SupervisorServer {
  private readonly server: Server;
  private readonly clients = new Set<Socket>();
  private readonly watchers = new Set<Socket>();
  private readonly handlers: Handlers;

  /** `exit` is called after the answer to a call that ends the supervisor was sent. */
  constructor(
    supervisor: Supervisor,
    private readonly log: SupervisorLog,
    private readonly exit: (why: string) => void,
  ) {
    this.server = createServer((socket) => this.accept(socket));
    this.handlers = {
      createScheduler: ({ name, owner }) => supervisor.createScheduler(name, owner),
      ensureScheduler: ({ name, owner }) => supervisor.ensureScheduler(name, owner),
      deleteScheduler: ({ name, owner }) => supervisor.deleteScheduler(name, owner),
      createInstance: ({ spec, surroundings }) => supervisor.createInstance(spec, surroundings),
      deleteInstance: ({ scheduler, id, reason }) => supervisor.deleteInstance(scheduler, id, reason),
      listInstances: ({ scheduler }) => supervisor.listInstances(scheduler),
      watch: (_parameters, socket) => {
        this.watchers.add(socket);
        return supervisor.listInstances();
      },
      stop: () => supervisor.stop(),
      awaitStopped: async (): Promise<'stopped'> => {
        await supervisor.awaitStopped();
        return 'stopped';
      },
      retire: () => 'retiring',
    };
    supervisor.onChange = (change) => {
      const line = encodeLine({ change });
      for (const socket of this.watchers) this.send(socket, line);
    };
  }

  get clientCount(): number {
    return this.clients.size;
  }

  /** The caller holds the lock of this state directory, so a socket that is there is a dead supervisor's. */
  listen(path: string): Promise<void> {
    if (process.platform !== 'win32') rmSync(path, { force: true });
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(path, () => {
        this.server.off('error', reject);
        this.server.on('error', (error) =>
          this.log.error({ error: error.message }, 'socket of the supervisor reports an error'),
        );
        resolve();
      });
    });
  }

  private accept(socket: Socket): void {
    this.clients.add(socket);
    socket.setEncoding('utf8');
    const decode = lineDecoder((message) => void this.handle(socket, message as Request));
    socket.on('data', (chunk: string) => {
      try {
        decode(chunk);
      } catch (error) {
        this.log.warn({ error: messageOf(error) }, 'a client was let go: it does not speak our protocol');
        socket.destroy();
      }
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.clients.delete(socket);
      this.watchers.delete(socket);
    });
    this.send(socket, encodeLine({ hello: { protocol: protocolVersion, pid: process.pid } }));
  }

  private async handle(socket: Socket, request: Request): Promise<void> {
    const handler = this.handlers[request.method] as ((parameters: unknown, socket: Socket) => unknown) | undefined;
    try {
      if (!handler) throw new Error(`The supervisor does not know the call "${String(request.method)}"`);
      const answering = handler(request.parameters, socket);
      // The list of a watch must be on its way before the first change after it.
      const answer = answering instanceof Promise ? ((await answering) as unknown) : answering;
      this.send(socket, encodeLine({ id: request.id, answer }));
      if (request.method === 'awaitStopped' || request.method === 'retire') this.leave(request.method);
    } catch (error) {
      this.send(socket, encodeLine({ id: request.id, error: toWireError(error) }));
    }
  }

  /** Takes no new clients, and goes when those that are here have read what was said to them. */
  private leave(why: string): void {
    this.server.close(() => this.exit(why));
    for (const socket of this.clients) socket.end();
    // A client that does not close its end.
    setTimeout(() => this.exit(why), 500).unref();
  }

  private send(socket: Socket, line: string): void {
    if (!socket.writable) return;
    socket.write(line);
    if (socket.writableLength > mostUnreadBytes) socket.destroy();
  }
}
