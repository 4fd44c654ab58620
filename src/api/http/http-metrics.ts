import { finished } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Gauge, Histogram } from 'prom-client';
import type { Metric, Registry } from 'prom-client';

type RequestLabel = 'service' | 'handler' | 'method' | 'code';

/**
 * Measures requests: `http_request_duration_seconds`, `http_response_size_bytes` and `http_requests_inflight` with v10's
 * names, labels and buckets (`management.md` 7). Several apps of one process share the metrics of one registry.
 */
export class HttpMetrics {
  private readonly duration: Histogram<RequestLabel>;
  private readonly size: Histogram<RequestLabel>;
  private readonly inflight: Gauge<'service' | 'handler'>;

  constructor(
    registry: Registry,
    private readonly service: string,
  ) {
    this.duration = getOrCreate(
      registry,
      'http_request_duration_seconds',
      (name) =>
        new Histogram<RequestLabel>({
          name,
          help: 'How long requests took, in seconds',
          labelNames: ['service', 'handler', 'method', 'code'],
          buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
          registers: [registry],
        }),
    );
    this.size = getOrCreate(
      registry,
      'http_response_size_bytes',
      (name) =>
        new Histogram<RequestLabel>({
          name,
          help: 'How large the bodies of answers were, in bytes',
          labelNames: ['service', 'handler', 'method', 'code'],
          buckets: [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9],
          registers: [registry],
        }),
    );
    this.inflight = getOrCreate(
      registry,
      'http_requests_inflight',
      (name) =>
        new Gauge<'service' | 'handler'>({
          name,
          help: 'Requests that are being answered',
          labelNames: ['service', 'handler'],
          registers: [registry],
        }),
    );
  }

  /**
   * Measures one request, from now until its answer is sent or its caller is gone. `handler` is the route's pattern
   * (`/schedulers/:schedulerName`), empty for a request that no route took: never a URL, so the number of series is bounded.
   */
  follow(request: FastifyRequest, reply: FastifyReply, handler: string): void {
    const { service } = this;
    const started = process.hrtime.bigint();
    this.inflight.inc({ service, handler });
    // Not `onResponse`: that never comes for a caller that went away.
    finished(reply.raw, () => {
      this.inflight.dec({ service, handler });
      // 499 (nginx's, and gRPC's `canceled`): the caller went away before the answer.
      const code = reply.raw.writableEnded ? String(reply.raw.statusCode) : '499';
      const labels = { service, handler, method: request.method, code };
      this.duration.observe(labels, Number(process.hrtime.bigint() - started) / 1e9);
      this.size.observe(labels, bodyBytes(request, reply));
    });
  }
}

/** Zero for a stream whose length nobody said. */
function bodyBytes(request: FastifyRequest, reply: FastifyReply): number {
  // Its Content-Length is that of the body which GET would bring (RFC 9110, section 8.6).
  if (request.method === 'HEAD') return 0;
  // Not `reply.raw.getHeader`: Fastify hands its headers to `writeHead`, which does not keep them.
  return Number(reply.getHeader('content-length') ?? 0);
}

function getOrCreate<M extends Metric>(registry: Registry, name: string, make: (name: string) => M): M {
  return (registry.getSingleMetric(name) as M | undefined) ?? make(name);
}
