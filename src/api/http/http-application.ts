import { maxHeaderSize } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DynamicModule, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Registry } from 'prom-client';
import type { Logger } from '../../ports/logger';
import { serveOpenApi } from '../openapi/serve-open-api';
import type { OpenApiTitle } from '../openapi/open-api-document';
import { answerClientError } from './answer-client-error';
import { answerError } from './answer-error';
import { longestWaitMs } from './call-rpc';
import { endCall } from './call-signals';
import { errorBody, errorTable, httpErrors } from './error-table';
import type { ErrorRow } from './error-table';
import { ErrorFilter } from './error.filter';
import { HttpMetrics } from './http-metrics';
import { KnownPaths } from './known-paths';
import { nestLogger } from './nest-logger';
import { refuseForeignCaller } from './origin-guard';

export interface HttpApplicationOptions {
  logger: Logger;
  /** Largest body that is read; a larger one is answered with 413. Bytes. Default: 1 MiB. */
  bodyLimitBytes?: number;
  /**
   * How long a client may take to send a request, and we to answer it, besides what the route itself may wait for
   * (`RpcRoute.longestWaitMs`). Milliseconds. Default: 30 s.
   */
  requestTimeoutMs?: number;
  /**
   * Host names that this API is known by (`origin-guard.ts`). Without it, every caller passes: only for ports that no
   * browser should find anything on, such as the internal one.
   */
  allowedHosts?: readonly string[];
  /** Measures requests under this service name. */
  metrics?: { registry: Registry; service: string };
  /** Serves Swagger UI at `/docs` and the document at `/docs-json`. */
  openApi?: OpenApiTitle;
}

/**
 * Builds a Nest application on Fastify that speaks as v10's gateway does (`management.md` 1.1-1.3). It does not listen yet:
 * call `init()` for tests, `listen(port, host)` else.
 *
 * Promises: a body is read whatever its Content-Type says (its bytes are in `request.body`, decoding is the handler's);
 * every error has the body `{code, message, details}`; an unknown path is 404, a known path with another verb 501; a
 * variable of the path is one segment that is not empty, decoded once; answers say `application/json`; a foreign web page
 * is refused before anything is read.
 */
export async function createHttpApplication(
  module: Type<unknown> | DynamicModule,
  options: HttpApplicationOptions,
): Promise<NestFastifyApplication> {
  const adapter = new WireAdapter(options);
  const app = await NestFactory.create<NestFastifyApplication>(module, adapter, {
    bodyParser: false,
    logger: nestLogger(options.logger),
    abortOnError: false,
  });
  app.useGlobalFilters(new ErrorFilter(options.logger));
  if (options.openApi) serveOpenApi(app, options.openApi);
  return app;
}

/** Nest's adapter with the wire's own answers for what never reaches a controller. */
class WireAdapter extends FastifyAdapter {
  private readonly knownPaths = new KnownPaths();
  private readonly errorLogger: Logger;

  constructor(options: HttpApplicationOptions) {
    const requestTimeoutMs = options.requestTimeoutMs ?? 30_000;
    const metrics = options.metrics && new HttpMetrics(options.metrics.registry, options.metrics.service);
    const unmetExpectations = new WeakSet<IncomingMessage>();
    const refuse = (request: FastifyRequest): Refusal =>
      refuseUnheard(request, options.allowedHosts, unmetExpectations.has(request.raw));
    super({
      bodyLimit: options.bodyLimitBytes ?? 1024 * 1024,
      requestTimeout: requestTimeoutMs,
      exposeHeadRoutes: false,
      // While shutting down, what still arrives on an open connection is answered, and the connection closed.
      return503OnClosing: false,
      // No Nest middleware here; without middie a request has less to pass.
      skipMiddie: true,
      // Node answers HTTP/1.1 without a Host by itself, with no body; `refuse` does it with one.
      http: { requireHostHeader: false },
      // As long as the whole URL may be, so that the router never refuses a name: a long one is as unknown as any other.
      routerOptions: { maxParamLength: maxHeaderSize },
      // What the router itself refuses, before any hook: a malformed escape in the path.
      frameworkErrors: (_error: unknown, request: FastifyRequest, reply: FastifyReply) => {
        metrics?.follow(request, reply, '');
        const [row, message] = refuse(request) ?? [httpErrors.malformedHttp, 'malformed URL'];
        sendRaw(reply, row, message);
      },
      clientErrorHandler: answerClientError,
    });
    this.errorLogger = options.logger;
    const fastify = this.getInstance<FastifyInstance>();
    fastify.removeAllContentTypeParsers();
    fastify.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    fastify.addHook('onRoute', (route) => {
      this.knownPaths.add(route.url, typeof route.method === 'string' ? [route.method] : route.method);
    });
    // Node would answer 417 with no body.
    fastify.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
      unmetExpectations.add(request);
      fastify.server.emit('request', request, response);
    });
    // First, so that what the others refuse is measured too.
    if (metrics) {
      fastify.addHook('onRequest', (request, reply, done) => {
        metrics.follow(request, reply, request.is404 ? '' : (request.routeOptions.url ?? ''));
        done();
      });
    }
    fastify.addHook('onRequest', (request, reply, done) => {
      const refusal = refuse(request);
      if (refusal === null) done();
      else send(reply, ...refusal);
    });
    fastify.addHook('onRequest', (request, reply, done) => {
      // Not Fastify's `handlerTimeout`: it makes an AbortSignal and a DOMException for every request.
      const timer = setTimeout(
        () => {
          if (!reply.sent) send(reply, errorTable.deadline_exceeded, 'the request took too long and was given up');
        },
        requestTimeoutMs + longestWaitMs(request),
      );
      reply.raw.once('close', () => {
        clearTimeout(timer);
        endCall(request.raw);
      });
      done();
    });
    fastify.addHook('onRequest', (request, _reply, done) => {
      // Clients send any Content-Type, none, or none that parses: it never decides anything.
      request.raw.headers['content-type'] = 'application/json';
      done();
    });
    fastify.addHook('onSend', (_request, reply, payload, done) => {
      // Fastify adds a charset; v10 has none, and JSON has no such parameter (RFC 8259, section 11).
      const type = reply.getHeader('content-type');
      if (typeof type === 'string' && type.startsWith('application/json'))
        reply.header('content-type', 'application/json');
      done(null, payload);
    });
  }

  /** Nest's handler would answer in Nest's words. */
  override setNotFoundHandler(): FastifyInstance {
    return this.getInstance<FastifyInstance>().setNotFoundHandler((request, reply) => {
      if (this.knownPaths.isWrongVerb(request.method, request.url))
        send(reply, httpErrors.wrongVerb, 'Method Not Allowed');
      else send(reply, httpErrors.unknownPath, 'Not Found');
    });
  }

  /** Errors outside of controllers: a body that is too large, a hook that failed. */
  override setErrorHandler(): FastifyInstance {
    return this.getInstance<FastifyInstance>().setErrorHandler(
      (error: unknown, request: FastifyRequest, reply: FastifyReply) => {
        answerError(this.errorLogger, error, request, reply);
      },
    );
  }
}

type Refusal = [row: ErrorRow, message: string] | null;

/** Decides what is refused before anything of it is read. */
function refuseUnheard(
  { raw, headers }: FastifyRequest,
  allowedHosts: readonly string[] | undefined,
  hasUnmetExpectation: boolean,
): Refusal {
  if (headers.host === undefined && raw.httpVersion === '1.1') {
    return [httpErrors.malformedHttp, 'the request has no Host header']; // RFC 9112, section 3.2
  }
  const foreign = allowedHosts === undefined ? null : refuseForeignCaller(headers, allowedHosts);
  if (foreign !== null) return [httpErrors.foreignCaller, foreign.message];
  if (hasUnmetExpectation) {
    return [httpErrors.unmetExpectation, `cannot meet the expectation ${JSON.stringify(headers.expect)}`];
  }
  return null;
}

function send(reply: FastifyReply, { httpStatus, grpcCode }: ErrorRow, message: string): void {
  void reply.code(httpStatus).type('application/json').send(errorBody(grpcCode, message));
}

/** Where Fastify runs no hooks, `onSend` included. */
function sendRaw(reply: FastifyReply, { httpStatus, grpcCode }: ErrorRow, message: string): void {
  const body = JSON.stringify(errorBody(grpcCode, message));
  reply.hijack();
  reply.raw.statusCode = httpStatus;
  reply.raw
    .setHeader('content-type', 'application/json')
    .setHeader('content-length', Buffer.byteLength(body))
    .end(body);
}
