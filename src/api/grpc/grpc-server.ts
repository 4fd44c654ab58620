import { Server, ServerCredentials, setLogger, status } from '@grpc/grpc-js';
import type {
  ServerWritableStream,
  ServiceDefinition,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Registry } from 'prom-client';
import type { Logger } from '../../ports/logger';
import { Health } from '../../proto/gen/grpc/health/v1/health_pb';
import type { UnaryMethod } from '../http/call-rpc';
import { answerStream } from './answer-stream';
import type { BidiMethod, BidiRpc } from './answer-stream';
import { answerUnaryCall } from './answer-unary-call';
import type { UnaryRpc } from './answer-unary-call';
import { grpcMethodDefinition, methodPath } from './grpc-service-definition';
import { reflectionService } from './reflection';
import { grpcService } from './rpc-handlers';
import type { GrpcService } from './rpc-handlers';
import { ServingStatus } from './serving-status';
import type { ReadinessOptions } from './serving-status';
import { countMessages, limitCallTime, measureCalls } from './watch-calls';

export interface GrpcServerOptions {
  services: readonly GrpcService[];
  host: string;
  /** 0 for any that is free. */
  port: number;
  logger: Logger;
  /** Largest message that is read; a larger one is answered with RESOURCE_EXHAUSTED. Bytes. Default: 1 MiB. */
  maxMessageBytes?: number;
  /**
   * How long a client may take to send a unary request, and we to answer it, besides what a rpc may wait for (`LongestWaits`).
   * Milliseconds. Default: 30 s.
   */
  requestTimeoutMs?: number;
  /**
   * A connection with calls on it is asked this often whether its other end is there, and dropped when no answer comes in
   * time: a host that vanished closes nothing. Milliseconds. Default: 30 s and 10 s.
   */
  keepAlive?: { timeMs: number; timeoutMs: number };
  metrics?: { registry: Registry };
  readiness?: ReadinessOptions;
}

export interface RunningGrpcServer {
  readonly port: number;
  /**
   * Health says NOT_SERVING, streams end with UNAVAILABLE, nothing new is taken, calls that run are answered. Those that are
   * not answered within `patienceMs` are cut off.
   */
  stop(patienceMs: number): Promise<void>;
}

/**
 * Serves the given services, health and reflection over gRPC without TLS.
 *
 * @throws Error that cannot listen, with `code` (`EADDRINUSE`) as Node's own listeners have it.
 */
export async function startGrpcServer(options: GrpcServerOptions): Promise<RunningGrpcServer> {
  const { services, host, logger, metrics, requestTimeoutMs = 30_000, maxMessageBytes = 1024 * 1024 } = options;
  const { keepAlive = { timeMs: 30_000, timeoutMs: 10_000 } } = options;
  quietGrpcLog(logger);
  const server = new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.keepalive_time_ms': keepAlive.timeMs,
    'grpc.keepalive_timeout_ms': keepAlive.timeoutMs,
    // `grpc.enable_channelz` stays on: without it, forceShutdown of grpc-js 1.14 forgets to end the connections.
    interceptors: [
      ...(metrics ? [measureCalls(metrics.registry)] : []),
      limitCallTime(requestTimeoutMs, longestWaits(services)),
    ],
  });
  const streams = new OpenStreams();
  const registrar: Registrar = {
    addService: (definition, implementation) =>
      server.addService(definition, streams.follow(definition, implementation)),
  };
  const servingStatus = new ServingStatus(
    services.map(([{ typeName }]) => typeName),
    options.readiness,
  );
  const all = [...services, grpcService(Health, servingStatus)];
  for (const service of all) addService(registrar, service, logger, metrics?.registry);
  reflectionService(all.map(([service]) => service)).addToServer(registrar);
  const port = await listen(server, host, options.port);
  await servingStatus.start();

  let stopped: Promise<void> | undefined;
  return {
    port,
    stop: (patienceMs) =>
      (stopped ??= (async () => {
        servingStatus.stop();
        streams.end();
        await shutDown(server, patienceMs, logger);
      })()),
  };
}

/** By the paths of their methods. */
function longestWaits(services: readonly GrpcService[]): ReadonlyMap<string, number> {
  return new Map(
    services.flatMap(([{ method }, , waits = {}]) =>
      Object.entries(waits).map(([name, waitMs]) => [methodPath(method[name]!), waitMs ?? 0]),
    ),
  );
}

type Registrar = Pick<Server, 'addService'>;

function addService(
  server: Registrar,
  [service, handlers]: GrpcService,
  logger: Logger,
  registry: Registry | undefined,
): void {
  const byName = handlers as Readonly<Record<string, unknown>>;
  const definition: Record<string, ServiceDefinition[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const method of service.methods) {
    const { localName, methodKind } = method;
    const handler = byName[localName];
    // See `answerUnaryCall`: bytes in, bytes out.
    const takesBytes = methodKind === 'unary' || methodKind === 'bidi_streaming';
    const codec = takesBytes ? { requestDeserialize: identity, responseSerialize: identity } : {};
    definition[localName] = { ...grpcMethodDefinition(method), ...codec };
    if (typeof handler !== 'function') continue;
    const bound: unknown = handler.bind(handlers);
    if (methodKind === 'unary') {
      implementation[localName] = answerUnaryCall(method as UnaryMethod, bound as UnaryRpc<UnaryMethod>, logger);
    } else if (methodKind === 'bidi_streaming') {
      const counts = countMessages(registry, methodPath(method));
      implementation[localName] = answerStream(method as BidiMethod, bound as BidiRpc<BidiMethod>, logger, counts);
    } else implementation[localName] = bound as UntypedHandleCall;
  }
  server.addService(definition, implementation);
}

function identity<T>(value: T): T {
  return value;
}

type AnswerStream = ServerWritableStream<unknown, unknown>;

/**
 * The calls that stream their answers. Such a call may stay open for ever (health's Watch, a reflection client), and a
 * graceful stop waits for every call: so they are ended first.
 */
class OpenStreams {
  private readonly open = new Set<AnswerStream>();

  follow(definition: ServiceDefinition, implementation: UntypedServiceImplementation): UntypedServiceImplementation {
    const followed = { ...implementation };
    for (const [name, { responseStream, originalName }] of Object.entries(definition)) {
      const key = name in implementation ? name : (originalName ?? name);
      const handler = implementation[key] as ((call: AnswerStream) => void) | undefined;
      if (!responseStream || handler === undefined) continue;
      followed[key] = (call: AnswerStream): void => {
        this.open.add(call);
        // grpc-js says `cancelled` at the end of every stream.
        call.once('cancelled', () => this.open.delete(call));
        handler.call(implementation, call);
      };
    }
    return followed;
  }

  end(): void {
    for (const call of this.open) {
      call.emit('error', { code: status.UNAVAILABLE, details: 'this process stops; call again' });
    }
  }
}

/** grpc-js has one logger per process, and its default is stderr: what it says is said in our log, for who looks. */
function quietGrpcLog(logger: Logger): void {
  const say = (...words: unknown[]): void => logger.debug({ details: words.map(String) }, 'grpc-js says');
  setLogger({ error: say, info: say, debug: say });
}

function listen(server: Server, host: string, port: number): Promise<number> {
  const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      // It keeps the texts of Node's errors, and loses their codes.
      else reject(Object.assign(error, /EADDRINUSE/.test(error.message) ? { code: 'EADDRINUSE' } : {}));
    });
  });
}

function shutDown(server: Server, patienceMs: number, logger: Logger): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      logger.warn({}, 'gRPC calls did not end in time; they are cut off');
      server.forceShutdown();
      resolve();
    }, patienceMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
