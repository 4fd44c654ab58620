import { ServerInterceptingCall, status } from '@grpc/grpc-js';
import type { ServerInterceptor } from '@grpc/grpc-js';
import { Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import { errorTable } from '../http/error-table';

/** The same as for HTTP (`http-metrics.ts`). Seconds. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/**
 * Measures unary calls: `maestro_grpc_server_handling_seconds{service, method, code}`, code by name (`OK`, `NOT_FOUND`).
 * Calls of unknown methods are not measured: their names are the caller's. Several servers of one process share the metric.
 *
 * It must be the first interceptor, directly upon grpc-js's own call: what never reaches a handler (a message that is too
 * large, a deadline that passes) is answered there, by that object's `sendStatus`, beneath every interceptor.
 */
export function measureCalls(registry: Registry): ServerInterceptor {
  const name = 'maestro_grpc_server_handling_seconds';
  const histogram =
    (registry.getSingleMetric(name) as Histogram<'service' | 'method' | 'code'> | undefined) ??
    new Histogram({
      name,
      help: 'How long unary gRPC calls took, in seconds',
      labelNames: ['service', 'method', 'code'],
      buckets,
      registers: [registry],
    });
  return ({ path, requestStream, responseStream }, call) => {
    if (requestStream || responseStream) return new ServerInterceptingCall(call);
    const [, service = '', method = ''] = path.split('/');
    const end = histogram.startTimer({ service, method });
    let code: status | undefined;
    const sendStatus = call.sendStatus.bind(call);
    call.sendStatus = (sent) => {
      code ??= sent.code;
      sendStatus(sent);
    };
    return new ServerInterceptingCall(call, {
      // grpc-js calls `onCancel` at the end of every call, also of those that went well.
      start: (next) => next({ onCancel: () => void end({ code: status[code ?? status.CANCELLED] }) }),
    });
  };
}

/** Gives up a unary call that takes too long, its request included, in the words of REST. */
export function limitCallTime(limitMs: number): ServerInterceptor {
  return ({ requestStream, responseStream }, call) => {
    if (requestStream || responseStream) return new ServerInterceptingCall(call);
    const timer = setTimeout(() => {
      call.sendStatus({
        code: errorTable.deadline_exceeded.grpcCode,
        details: 'the request took too long and was given up',
      });
    }, limitMs);
    return new ServerInterceptingCall(call, { start: (next) => next({ onCancel: () => clearTimeout(timer) }) });
  };
}
