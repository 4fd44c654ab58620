import type { RemovalReason } from '../../domain/operation/operation';
import { DomainError, messageOf, type ErrorKind } from '../../domain/errors';
import type { InstanceChange, InstanceSpec, RuntimeInstance } from '../../ports/runtime';

/**
 * What clients and the supervisor say to each other: one JSON text per line, over a unix socket.
 * The supervisor greets; a client sends requests with an id of its own; answers carry that id and may overtake each other.
 * On a connection that asked to `watch`, every change after the list follows in order.
 */

/** Grows when an older supervisor would misunderstand a client: it is then replaced, and its rooms adopted. */
export const protocolVersion = 2;

/** What the starting role decides about a room, besides its spec. */
export interface RoomSurroundings {
  /** All that a room inherits. */
  baseEnvironment: Record<string, string>;
  /** Where commands run; absolute. */
  workingDirectory: string;
  /** The address that players are told. */
  host: string;
  roomsApiUrl: string;
  /** Null when no rooms API is served over gRPC. */
  roomsGrpcAddress: string | null;
}

export interface SupervisorCalls {
  createScheduler: { parameters: { name: string; owner: string }; answer: 'created' | 'already_ours' };
  ensureScheduler: { parameters: { name: string; owner: string }; answer: 'created' | 'there' };
  deleteScheduler: { parameters: { name: string; owner?: string }; answer: 'deleting' | 'not_found' };
  createInstance: { parameters: { spec: InstanceSpec; surroundings: RoomSurroundings }; answer: RuntimeInstance };
  deleteInstance: {
    parameters: { scheduler: string; id: string; reason: RemovalReason };
    answer: 'deleting' | 'not_found';
  };
  listInstances: { parameters: { scheduler?: string }; answer: RuntimeInstance[] };
  watch: { parameters: Record<string, never>; answer: RuntimeInstance[] };
  /** Begins to end every room with its grace. All are gone, or given up, within the answered milliseconds. */
  stop: { parameters: Record<string, never>; answer: { withinMs: number } };
  /** Answered when all rooms have ended after `stop`; the supervisor then exits. */
  awaitStopped: { parameters: Record<string, never>; answer: 'stopped' };
  /** Exits and leaves the rooms to the next supervisor. */
  retire: { parameters: Record<string, never>; answer: 'retiring' };
}
export type SupervisorMethod = keyof SupervisorCalls;

export interface Greeting {
  hello: { protocol: number; pid: number };
}
export interface Request<M extends SupervisorMethod = SupervisorMethod> {
  id: number;
  method: M;
  parameters: SupervisorCalls[M]['parameters'];
}
export interface WireError {
  kind: ErrorKind;
  code: string;
  message: string;
  details: Readonly<Record<string, unknown>>;
}
export interface Answer {
  id: number;
  answer?: unknown;
  error?: WireError;
}
export interface ChangeNotice {
  change: InstanceChange;
}
export type SupervisorMessage = Greeting | Answer | ChangeNotice;

export function encodeLine(message: SupervisorMessage | Request): string {
  return JSON.stringify(message) + '\n';
}

/** No spec comes near it; more is a program that speaks something else. */
const longestLine = 16 * 1024 * 1024;

/** Turns chunks into messages. Throws on a line that is no JSON or never ends: the connection is then of no use. */
export function lineDecoder(onMessage: (message: unknown) => void): (chunk: string) => void {
  let rest = '';
  return (chunk) => {
    rest += chunk;
    let end = rest.indexOf('\n');
    while (end >= 0) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      if (line !== '') onMessage(JSON.parse(line));
      end = rest.indexOf('\n');
    }
    if (rest.length > longestLine) throw new Error(`a line is longer than ${longestLine} characters`);
  };
}

/** A surprise (a full disk) is `unavailable`: the port promises that trying again makes sense then. */
export function toWireError(error: unknown): WireError {
  return error instanceof DomainError
    ? { kind: error.kind, code: error.code, message: error.message, details: error.details }
    : { kind: 'unavailable', code: 'runtime.supervisor_failed', message: messageOf(error), details: {} };
}

export function fromWireError(error: WireError): DomainError {
  return new DomainError(error.kind, error.code, error.message, { details: error.details });
}
