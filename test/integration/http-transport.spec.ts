import { METHODS } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { Controller, Get, Module, Param, Post, Req, Res } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Registry } from 'prom-client';
import { createHttpApplication } from '../../src/api/http/http-application';
import { eventually } from '../support/eventually';
import { RecordedLog } from '../support/recorded-log';

@Controller()
class EchoController {
  @Get('never')
  never(): Promise<void> {
    return new Promise(() => undefined);
  }

  @Get('named/:name')
  named(@Param('name') name: string): { length: number } {
    return { length: name.length };
  }

  @Get('stream')
  stream(@Res() reply: FastifyReply): void {
    void reply.header('content-length', 5).send(Readable.from(['ab', 'cde']));
  }

  @Post('echo')
  echo(@Req() request: FastifyRequest): { body: string } {
    return { body: (request.body as Buffer | undefined)?.toString() ?? '' };
  }
}

@Module({ controllers: [EchoController] })
class EchoModule {}

/** What only a real socket can show. */
describe('the HTTP transport', () => {
  let app: NestFastifyApplication;
  let registry: Registry;
  let port: number;

  beforeEach(async () => {
    registry = new Registry();
    app = await createHttpApplication(EchoModule, {
      logger: new RecordedLog(),
      allowedHosts: [],
      requestTimeoutMs: 300,
      metrics: { registry, service: 'x' },
      openApi: { title: 'Echo', description: 'Answers what it gets.' },
    });
    await app.listen(0, '127.0.0.1');
    port = (app.getHttpServer() as { address(): AddressInfo }).address().port;
  });
  afterEach(() => app.close());

  /** Sends text as it is and answers all that comes back until the server closes. */
  const send = (text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      let answer = '';
      const socket = connect(port, '127.0.0.1', () => socket.write(text));
      socket.on('data', (chunk) => (answer += chunk.toString()));
      socket.on('close', () => resolve(answer));
      socket.on('error', reject);
    });

  it.each<[string, string, RegExp, object]>([
    ['no HTTP', 'hello\r\n\r\n', /^HTTP\/1.1 400 /, { code: 3 }],
    [
      'HTTP/1.0 without a Host',
      'POST /echo HTTP/1.0\r\n\r\n',
      /^HTTP\/1.1 403 /,
      { code: 7, message: 'the request has no Host header' },
    ],
    [
      'HTTP/1.1 without a Host',
      'POST /echo HTTP/1.1\r\nConnection: close\r\n\r\n',
      /^HTTP\/1.1 400 /,
      { code: 3, message: 'the request has no Host header' },
    ],
    [
      'an expectation that nobody can meet',
      'POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: foo\r\nConnection: close\r\n\r\n',
      /^HTTP\/1.1 417 /,
      { code: 3, message: 'cannot meet the expectation "foo"' },
    ],
    [
      'an expectation of a foreign page',
      'POST /echo HTTP/1.1\r\nHost: evil.example\r\nExpect: foo\r\nConnection: close\r\n\r\n',
      /^HTTP\/1.1 403 /,
      { code: 7 },
    ],
    [
      'a target that names a foreign host',
      'GET /never HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
      /^HTTP\/1.1 403 /,
      { code: 7 },
    ],
    [
      'a path with a broken escape',
      'GET /% HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
      /^HTTP\/1.1 400 /,
      { code: 3, message: 'malformed URL' },
    ],
    [
      'a path with a broken escape, for a foreign host',
      'GET /% HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
      /^HTTP\/1.1 403 /,
      { code: 7 },
    ],
    [
      'a path that is too long',
      `GET /named/${'x'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      /^HTTP\/1.1 431 /,
      { code: 8 },
    ],
    [
      'headers that are too large',
      `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
      /^HTTP\/1.1 431 /,
      { code: 8 },
    ],
    ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n', /^HTTP\/1.1 404 /, { code: 5 }],
    ['a verb that nobody knows', 'BREW /echo HTTP/1.1\r\nHost: localhost\r\n\r\n', /^HTTP\/1.1 400 /, { code: 3 }],
    [
      'a verb of WebDAV',
      'MKCOL /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
      /^HTTP\/1.1 501 /,
      { code: 12 },
    ],
  ])('answers %s with a JSON error', async (_name, text, status, body) => {
    const answer = await send(text);
    expect(answer).toMatch(status);
    expect(answer).toMatch(/^content-type: application\/json\r$/im);
    expect(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))).toMatchObject({ ...body, details: [] });
  });

  // CONNECT asks for a tunnel: Node hands over the bare socket, or closes it.
  it.each(METHODS.filter((method) => !['GET', 'POST', 'CONNECT'].includes(method)))(
    'answers %s for a path that has another verb with 501',
    async (method) => {
      const answer = await send(`${method} /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1.1 501 /);
      // HEAD has no body.
      if (method !== 'HEAD') expect(answer).toContain('{"code":12,"message":"Method Not Allowed","details":[]}');
    },
  );

  it('reads a body that waits for 100-continue', async () => {
    const answer = await send(
      'POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab',
    );
    expect(answer).toMatch(/^HTTP\/1.1 100 .*\r\n\r\nHTTP\/1.1 20[01] /);
    expect(answer).toContain('{"body":"ab"}');
  });

  it('hands over every variable that fits into a URL', async () => {
    const answer = await send(
      `GET /named/${'x'.repeat(16_000)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).toContain('{"length":16000}');
  });

  it('counts what the router refuses under no handler', async () => {
    await send('GET /named/%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    await send('GET /named/%zz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n');
    const text = await registry.metrics();
    for (const code of [400, 403]) {
      expect(text).toContain(
        `http_request_duration_seconds_count{service="x",handler="",method="GET",code="${code}"} 1`,
      );
    }
    expect(text).toContain('http_requests_inflight{service="x",handler=""} 0');
  });

  describe('http_response_size_bytes', () => {
    /** All series together. An answer is measured when it has left, which may be after it has come. */
    const measured = (answers: number): Promise<number> =>
      eventually(async () => {
        const { values } = await registry.getSingleMetric('http_response_size_bytes')!.get();
        const total = (part: string) =>
          values
            .filter((value) => 'metricName' in value && value.metricName === `http_response_size_bytes_${part}`)
            .reduce((sum, { value }) => sum + value, 0);
        expect(total('count')).toBe(answers);
        return total('sum');
      });

    it.each<[string, string, string, number]>([
      ['an answer', 'POST', '/echo', 201],
      ['an error of the router', 'GET', '/%zz', 400],
      ['an unknown path', 'GET', '/nope', 404],
      ['a wrong verb', 'PUT', '/echo', 501],
      ['HEAD, which has no body', 'HEAD', '/echo', 501],
      ['a request that was given up', 'GET', '/never', 504],
      ['a stream that says its length', 'GET', '/stream', 200],
      ["Swagger UI's page", 'GET', '/docs', 200],
      ["Swagger UI's files", 'GET', '/docs/swagger-ui.css', 200],
      ['a file of it that is not there', 'GET', '/docs/nope.css', 404],
      ['the OpenAPI document', 'GET', '/docs-json', 200],
    ])('is the size of the body for %s', async (_name, method, path, status) => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method });
      const { byteLength } = await answer.arrayBuffer();
      expect(answer.status).toBe(status);
      expect(byteLength > 0).toBe(method !== 'HEAD');
      expect(await measured(1)).toBe(byteLength);
    });

    it('is nothing for a file that the browser has', async () => {
      const file = 'GET /docs/swagger-ui.css HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n';
      const first = await send(`${file}\r\n`);
      const before = await measured(1);
      expect(before).toBeGreaterThan(0);
      const etag = /^etag: (.*)\r$/im.exec(first)?.[1] ?? '';
      expect(await send(`${file}If-None-Match: ${etag}\r\n\r\n`)).toMatch(/^HTTP\/1.1 304 /);
      expect(await measured(2)).toBe(before);
    });
  });

  it('reads a body in chunks without a Content-Type', async () => {
    const answer = await send(
      'POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n',
    );
    expect(answer).toContain('{"body":"abcde"}');
  });

  it('gives up a request that takes too long, with 504', async () => {
    const answer = await send('GET /never HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1.1 504 /);
    expect(answer).toContain('{"code":4,"message":"the request took too long and was given up","details":[]}');
  });

  it('forgets a caller that went away, and counts it as 499', async () => {
    const socket = connect(port, '127.0.0.1', () => socket.write('GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n'));
    const metrics = async (...lines: string[]) => {
      const text = await registry.metrics();
      for (const line of lines) expect(text).toContain(line);
    };
    await eventually(() => metrics('http_requests_inflight{service="x",handler="/never"} 1'));
    socket.destroy();
    await eventually(() =>
      metrics(
        'http_requests_inflight{service="x",handler="/never"} 0',
        'http_request_duration_seconds_count{service="x",handler="/never",method="GET",code="499"} 1',
      ),
    );
  });
});
