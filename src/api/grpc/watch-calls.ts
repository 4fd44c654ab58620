import { ServerInterceptingCall, status } from '@grpc/grpc-js';
import type { ServerInterceptor, ServerInterceptingCallInterface } from '@grpc/grpc-js';
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Metric, Registry } from 'prom-client';
import { errorTable } from '../http/error-table';

/** The same as for HTTP (`http-metrics.ts`). Seconds. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/**
 * Measures calls. Unary ones: `maestro_grpc_server_handling_seconds{service, method, code}`, code by name (`OK`, `NOT_FOUND`).
 * Streams: how many are open, and how many ended with which code; their messages are counted where they are read and written
 * (`countMessages`). Calls of unknown methods are not measured: their names are the caller's.
 *
 * It must be the first interceptor, directly upon grpc-js's own call: what never reaches a handler (a message that is too
 * large, a deadline that passes) is answered there, by that object's `sendStatus`, beneath every interceptor.
 */
export function measureCalls(registry: Registry): ServerInterceptor {
  const handling = shared(
    registry,
    'maestro_grpc_server_handling_seconds',
    (name) =>
      new Histogram({
        name,
        help: 'How long unary gRPC calls took, in seconds',
        labelNames: ['service', 'method', 'code'],
        buckets,
        registers: [registry],
      }),
  );
  const open = shared(
    registry,
    'maestro_grpc_server_streams_open',
    (name) =>
      new Gauge({
        name,
        help: 'Streams of gRPC that are open',
        labelNames: ['service', 'method'],
        registers: [registry],
      }),
  );
  const ended = shared(
    registry,
    'maestro_grpc_server_streams_ended_total',
    (name) =>
      new Counter({
        name,
        help: 'Streams of gRPC that ended',
        labelNames: ['service', 'method', 'code'],
        registers: [registry],
      }),
  );
  return ({ path, requestStream, responseStream }, call) => {
    const labels = labelsOf(path);
    if (requestStream || responseStream) {
      open.inc(labels);
      return watchEnd(call, (code) => {
        open.dec(labels);
        ended.inc({ ...labels, code });
      });
    }
    const end = handling.startTimer(labels);
    return watchEnd(call, (code) => void end({ code }));
  };
}

/** Calls `onEnd` once, with the name of the code that the call ended with. */
function watchEnd(call: ServerInterceptingCallInterface, onEnd: (code: string) => void): ServerInterceptingCall {
  let code: status | undefined;
  const [start, sendStatus] = [call.start.bind(call), call.sendStatus.bind(call)];
  call.sendStatus = (sent) => {
    code ??= sent.code;
    sendStatus(sent);
  };
  call.start = (listener) => {
    const onCancel = listener.onCancel.bind(listener);
    // grpc-js calls it at the end of every call, also of those that went well.
    listener.onCancel = () => {
      onEnd(status[code ?? status.CANCELLED]);
      onCancel();
    };
    start(listener);
  };
  return untouched(call);
}

/**
 * The call as it is. An interceptor of its own would handle each message of it; grpc-js takes anything that has a call's
 * methods, though its type asks for its own class.
 */
function untouched(call: ServerInterceptingCallInterface): ServerInterceptingCall {
  return call as unknown as ServerInterceptingCall;
}

/** Counts the messages of a method that streams; called for each. */
export interface MessageCounts {
  received(): void;
  sent(): void;
}

/** Messages that were counted since the metric was read last. */
interface Tally {
  labels: { service: string; method: string; direction: string };
  count: number;
}
const tallies = new WeakMap<Registry, Tally[]>();

/**
 * `maestro_grpc_server_stream_messages_total{service, method, direction}`. A message costs an addition; the metric is told when
 * it is read.
 */
export function countMessages(registry: Registry | undefined, path: string): MessageCounts {
  const [received, sent] = ['received', 'sent'].map((direction): Tally => {
    return { labels: { ...labelsOf(path), direction }, count: 0 };
  }) as [Tally, Tally];
  if (registry !== undefined) talliesOf(registry).push(received, sent);
  return { received: () => void received.count++, sent: () => void sent.count++ };
}

function talliesOf(registry: Registry): Tally[] {
  let counted = tallies.get(registry);
  if (counted === undefined) {
    const all: Tally[] = (counted = []);
    tallies.set(registry, all);
    new Counter({
      name: 'maestro_grpc_server_stream_messages_total',
      help: 'Messages of gRPC streams',
      labelNames: ['service', 'method', 'direction'],
      registers: [registry],
      collect() {
        for (const tally of all) {
          this.inc(tally.labels, tally.count);
          tally.count = 0;
        }
      },
    });
  }
  return counted;
}

function labelsOf(path: string): { service: string; method: string } {
  const [, service = '', method = ''] = path.split('/');
  return { service, method };
}

/** Several servers of one process share a metric. */
function shared<M extends Metric>(registry: Registry, name: string, make: (name: string) => M): M {
  return (registry.getSingleMetric(name) as M | undefined) ?? make(name);
}

/**
 * Gives up a unary call that takes too long, its request included, in the words of REST. Streams may stay. `longestWaitsMs`, by
 * path, is what a call may take longer.
 */
export function limitCallTime(limitMs: number, longestWaitsMs: ReadonlyMap<string, number>): ServerInterceptor {
  return ({ path, requestStream, responseStream }, call) => {
    if (requestStream || responseStream) return untouched(call);
    const timer = setTimeout(
      () => {
        call.sendStatus({
          code: errorTable.deadline_exceeded.grpcCode,
          details: 'the request took too long and was given up',
        });
      },
      limitMs + (longestWaitsMs.get(path) ?? 0),
    );
    return new ServerInterceptingCall(call, { start: (next) => next({ onCancel: () => clearTimeout(timer) }) });
  };
}
