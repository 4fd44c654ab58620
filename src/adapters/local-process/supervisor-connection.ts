import { createConnection, type Socket } from 'node:net';
import { DomainError } from '../../domain/errors';
import type { InstanceChange } from '../../ports/runtime';
import {
  encodeLine,
  fromWireError,
  lineDecoder,
  type Answer,
  type Greeting,
  type SupervisorCalls,
  type SupervisorMessage,
  type SupervisorMethod,
} from './supervisor-protocol';

interface Waiting {
  resolve(answer: unknown): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout;
}

/** The code of what fails because the supervisor went away, so that calls that may be repeated can be. */
export const connectionLost = 'runtime.connection_lost';

/** One greeted connection to the supervisor. Any number of calls may be under way on it. */
export class SupervisorConnection {
  /** Told each change once `watch` was called. */
  onChange: (change: InstanceChange) => void = () => undefined;
  /** Resolves when the connection is gone, whoever ended it. */
  readonly closed: Promise<void>;
  /** What greeted us. */
  readonly supervisor: Greeting['hello'];

  private readonly waiting = new Map<number, Waiting>();
  private nextId = 1;
  private isOpen = true;

  private constructor(
    private readonly socket: Socket,
    greeting: Greeting,
    takeOver: (onMessage: (message: SupervisorMessage) => void) => void,
  ) {
    this.supervisor = greeting.hello;
    takeOver((message) => this.receive(message));
    this.closed = new Promise((resolve) =>
      socket.once('close', () => {
        this.isOpen = false;
        for (const id of [...this.waiting.keys()]) this.settle(id, lost({ wasSent: true }));
        resolve();
      }),
    );
  }

  /**
   * Connects and waits for the greeting: a socket that a dying supervisor still holds accepts, but does not greet.
   * Rejects with the system's error, or after `timeoutMs`.
   */
  static open(path: string, timeoutMs: number): Promise<SupervisorConnection> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path);
      socket.setEncoding('utf8');
      let receive: ((message: SupervisorMessage) => void) | null = null;
      const fail = (error: Error) => {
        clearTimeout(timer);
        socket.destroy();
        reject(error);
      };
      const timer = setTimeout(() => fail(new Error(`no greeting within ${timeoutMs} ms`)), timeoutMs);
      const decode = lineDecoder((message) => {
        if (receive) return receive(message as SupervisorMessage);
        clearTimeout(timer);
        resolve(new SupervisorConnection(socket, message as Greeting, (onMessage) => (receive = onMessage)));
      });
      socket.on('data', (chunk: string) => {
        try {
          decode(chunk);
        } catch (error) {
          fail(error as Error);
        }
      });
      socket.on('error', fail);
      socket.on('close', () => fail(lost({ wasSent: false })));
    });
  }

  /** @throws DomainError what the supervisor says, or `unavailable` when it says nothing in time or went away. */
  call<M extends SupervisorMethod>(
    method: M,
    parameters: SupervisorCalls[M]['parameters'],
    timeoutMs: number,
  ): Promise<SupervisorCalls[M]['answer']> {
    return new Promise((resolve, reject) => {
      if (!this.isOpen || !this.socket.writable) return reject(lost({ wasSent: false }));
      const id = this.nextId++;
      const timer = setTimeout(
        () =>
          this.settle(
            id,
            new DomainError(
              'unavailable',
              'runtime.deadline',
              `The local runtime's supervisor (pid ${this.supervisor.pid}) did not answer "${method}" within ${timeoutMs} ms`,
            ),
          ),
        timeoutMs,
      );
      this.waiting.set(id, { resolve, reject, timer });
      this.socket.write(encodeLine({ id, method, parameters }));
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private receive(message: SupervisorMessage): void {
    if ('change' in message) this.onChange(message.change);
    else if ('id' in message) this.settle(message.id, message);
  }

  private settle(id: number, outcome: Answer | Error): void {
    const waiting = this.waiting.get(id);
    if (!waiting) return;
    this.waiting.delete(id);
    clearTimeout(waiting.timer);
    if (outcome instanceof Error) waiting.reject(outcome);
    else if (outcome.error) waiting.reject(fromWireError(outcome.error));
    else waiting.resolve(outcome.answer);
  }
}

function lost(details: { wasSent: boolean }): DomainError {
  return new DomainError(
    'unavailable',
    connectionLost,
    "The connection to the local runtime's supervisor was lost: try again",
    { details },
  );
}
