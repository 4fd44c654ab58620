import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Registry } from 'prom-client';
import { createHttpApplication } from '../../src/api/http/http-application';
import { ManagementApiModule, managementOpenApi } from '../../src/api/management/management-api.module';
import { DomainError } from '../../src/domain/errors';
import type { Operation } from '../../src/domain/operation/operation';
import type { FleetCounts } from '../../src/domain/room/room';
import type { Scheduler, SchedulerDefinition } from '../../src/domain/scheduler/scheduler';
import { OperationsService } from '../../src/features/operations/operations.service';
import { SchedulersService } from '../../src/features/schedulers/schedulers.service';
import { RecordedLog } from '../support/recorded-log';

/** Keeps schedulers in memory and remembers what it was asked. */
class FakeSchedulers {
  readonly stored = new Map<string, Scheduler>();
  readonly calls: unknown[][] = [];
  failWith: Error | null = null;

  async createScheduler(name: string, definition: SchedulerDefinition): Promise<Scheduler> {
    this.calls.push(['create', name, definition]);
    if (this.failWith !== null) throw this.failWith;
    if (this.stored.has(name)) {
      throw new DomainError(
        'already_exists',
        'scheduler.exists',
        `error creating scheduler ${name}: name already exists`,
      );
    }
    const at = new Date('2026-05-01T10:00:00.123Z');
    const scheduler: Scheduler = {
      name,
      state: 'creating',
      version: 'v1.0.0',
      rollbackVersion: '',
      createdAt: at,
      versionCreatedAt: at,
      lastDownscaleAt: null,
      definition,
    };
    this.stored.set(name, scheduler);
    return scheduler;
  }

  async getScheduler(name: string, version?: string): Promise<Scheduler> {
    this.calls.push(['get', name, version]);
    const scheduler = this.stored.get(name);
    if (!scheduler) throw new DomainError('not_found', 'scheduler.not_found', `scheduler ${name} not found`);
    return scheduler;
  }

  async listSchedulers(filter: object): Promise<Scheduler[]> {
    this.calls.push(['list', filter]);
    if (this.failWith !== null) throw this.failWith;
    return [...this.stored.values()];
  }

  async deleteScheduler(name: string): Promise<{ operationId: string }> {
    this.calls.push(['delete', name]);
    return { operationId: 'op-1' };
  }

  async describeFleets(game?: string): Promise<{ scheduler: Scheduler; counts: FleetCounts }[]> {
    this.calls.push(['info', game]);
    const counts = { rooms: { ready: 3, occupied: 2, pending: 1, terminating: 0 } } as FleetCounts;
    return [...this.stored.values()].map((scheduler) => ({ scheduler, counts }));
  }
}

class FakeOperations {
  readonly calls: unknown[][] = [];
  readonly operation: Operation = {
    id: 'op-1',
    scheduler: 'arena',
    definition: 'add_rooms',
    input: { amount: 2 },
    status: 'in_progress',
    attempt: 1,
    actor: 'health_controller',
    createdAt: new Date('2026-05-01T10:00:00Z'),
    leaseExpiresAt: new Date('2026-05-01T10:00:05.5Z'),
  };

  async listOperations(scheduler: string, query: object): Promise<unknown> {
    this.calls.push(['list', scheduler, query]);
    return scheduler === 'empty'
      ? { page: 1, pageSize: 0, total: 0, operations: [] }
      : { page: 1, pageSize: 1, total: 1, operations: [this.operation] };
  }

  async getOperation(scheduler: string, id: string): Promise<unknown> {
    this.calls.push(['get', scheduler, id]);
    return { operation: this.operation, history: [{ createdAt: new Date('2026-05-01T10:00:00Z'), event: 'Created' }] };
  }
}

describe('the management API over REST', () => {
  let app: NestFastifyApplication;
  let schedulers: FakeSchedulers;
  let operations: FakeOperations;
  let log: RecordedLog;
  let registry: Registry;

  beforeEach(async () => {
    schedulers = new FakeSchedulers();
    operations = new FakeOperations();
    log = new RecordedLog();
    registry = new Registry();
    app = await createHttpApplication(
      ManagementApiModule.register({
        providers: [
          { provide: SchedulersService, useValue: schedulers },
          { provide: OperationsService, useValue: operations },
        ],
      }),
      {
        logger: log,
        bodyLimitBytes: 2000,
        allowedHosts: ['maestro.example'],
        metrics: { registry, service: 'management-api' },
        openApi: managementOpenApi,
      },
    );
    await app.init();
    await app.getHttpAdapter().getInstance().ready();
  });
  afterEach(() => app.close());

  type Request = { body?: string | Buffer; headers?: Record<string, string> };
  async function call(method: string, url: string, { body, headers = {} }: Request = {}) {
    const answer = await app.inject({
      method: method as 'GET',
      url,
      headers: { host: 'localhost', ...headers },
      ...(body === undefined ? {} : { payload: body }),
    });
    const isJson = String(answer.headers['content-type']).startsWith('application/json');
    return {
      status: answer.statusCode,
      headers: answer.headers,
      json: isJson && answer.body ? answer.json() : answer.body,
    };
  }
  const create = (body: object | string | Buffer, headers?: Record<string, string>) =>
    call('POST', '/schedulers', {
      body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
      ...(headers ? { headers } : {}),
    });

  describe('schedulers', () => {
    it('creates with 200 and shows the scheduler in state creating', async () => {
      const answer = await create({
        name: 'arena',
        game: 'g',
        max_surge: '10%',
        spec: { terminationGracePeriod: '60s' },
      });
      expect(answer.status).toBe(200);
      expect(answer.headers['content-type']).toBe('application/json');
      expect(answer.json).toEqual({
        scheduler: {
          name: 'arena',
          game: 'g',
          state: 'creating',
          portRange: null,
          createdAt: '2026-05-01T10:00:00.123Z',
          maxSurge: '10%',
          roomsReplicas: 0,
          spec: {
            version: 'v1.0.0',
            terminationGracePeriod: '60s',
            containers: [],
            toleration: '',
            affinity: '',
            restartPolicy: 'Never',
          },
          forwarders: [],
          annotations: {},
          labels: {},
          matchAllocation: { maxMatches: 1 },
        },
      });
    });

    it.each<[string, Record<string, string>]>([
      ['none', {}],
      ['of a form', { 'content-type': 'application/x-www-form-urlencoded' }],
      ['of JSON with a charset', { 'content-type': 'application/json; charset=latin1' }],
      ['of a text', { 'content-type': 'text/plain' }],
      ['of parts', { 'content-type': 'multipart/form-data; boundary=x' }],
      ['that is none', { 'content-type': ';;;=' }],
      ['that is empty', { 'content-type': '' }],
    ])('reads a body as JSON with a Content-Type %s', async (_name, headers) => {
      expect((await create({ name: 'arena' }, headers)).json).toMatchObject({ scheduler: { name: 'arena' } });
    });

    it('reads the first JSON value only', async () => {
      expect((await create('{"name":"arena"} trailing')).json).toMatchObject({ scheduler: { name: 'arena' } });
    });

    it('reads an empty body as the empty message', async () => {
      expect((await call('POST', '/schedulers')).status).toBe(200);
      schedulers.stored.clear();
      expect((await create('')).status).toBe(200);
      expect(schedulers.calls[0]).toMatchObject(['create', '', { game: '' }]);
    });

    it.each<[string, string | Buffer, RegExp]>([
      ['malformed JSON', '{"name":', /^malformed JSON: unexpected end/],
      ['a form', 'name=arena', /^malformed JSON: unexpected "n" at position 0/],
      ['a wrong type', '{"maxSurge":40}', /^malformed request: field "maxSurge": expected string, got 40$/],
      ['a list', '[]', /^malformed request/],
      ['null', 'null', /^malformed request/],
      ['a field twice', '{"maxSurge":"1","max_surge":"1"}', /field "maxSurge": set multiple times$/],
      ['a name twice', '{"name":"a","name":"b"}', /given twice/],
      ['deep JSON', '{"a":'.repeat(300), /nested deeper/],
      ['bytes that are not UTF-8', Buffer.from([0x7b, 0x22, 0xff]), /not UTF-8/],
      ['a NUL character', '{"game":"\\u0000"}', /NUL/],
    ])('refuses %s with 400 and code 3', async (_name, body, message) => {
      const answer = await create(body);
      expect(answer.status).toBe(400);
      expect(answer.json).toEqual({ code: 3, message: expect.stringMatching(message), details: [] });
      expect(schedulers.calls).toEqual([]);
    });

    it('refuses a body over the limit with 413', async () => {
      const answer = await create({ name: 'x'.repeat(3000) });
      expect(answer.status).toBe(413);
      expect(answer.json).toEqual({ code: 8, message: 'Request body is too large', details: [] });
      expect(answer.headers['content-type']).toBe('application/json');
    });

    it('pollutes no prototype', async () => {
      await create('{"__proto__":{"polluted":1},"labels":{"__proto__":"x","constructor":"y"}}');
      expect(schedulers.calls[0]?.[2]).toMatchObject({ labels: { constructor: 'y' } });
      expect(({} as { polluted?: number }).polluted).toBeUndefined();
    });

    it("answers a feature's refusal by its kind", async () => {
      await create({ name: 'arena' });
      const answer = await create({ name: 'arena' });
      expect(answer.status).toBe(409);
      expect(answer.json).toEqual({
        code: 6,
        message: 'error creating scheduler arena: name already exists',
        details: [],
      });
      expect(log.lines.filter(({ level }) => level !== 'debug')).toEqual([]);
    });

    it('answers what nobody expected with 500, code 2 and an id that the log has too', async () => {
      schedulers.failWith = new Error('the password is hunter2');
      const answer = await create({ name: 'arena' });
      expect(answer.status).toBe(500);
      expect(answer.json).toMatchObject({ code: 2, details: [] });
      const lines = log.lines.filter(({ level }) => level !== 'debug');
      const [line] = lines;
      expect(lines).toHaveLength(1);
      expect(line).toMatchObject({
        level: 'error',
        message: 'request failed',
        fields: { method: 'POST', path: '/schedulers', error: { stack: expect.stringContaining('hunter2') } },
      });
      expect(answer.json.message).toBe(
        `unexpected error, see Maestro's log for ${String(line?.fields['correlation_id'])}`,
      );
    });

    it('lists none as an empty list', async () => {
      expect(await call('GET', '/schedulers')).toMatchObject({ status: 200, json: { schedulers: [] } });
    });

    it('lists without the spec', async () => {
      await create({ name: 'arena', game: 'g' });
      const { json } = await call('GET', '/schedulers');
      expect(Object.keys(json.schedulers[0])).toEqual([
        'name',
        'game',
        'state',
        'version',
        'portRange',
        'createdAt',
        'maxSurge',
        'roomsReplicas',
        'matchAllocation',
      ]);
    });

    it.each<[string, object]>([
      ['', {}],
      ['?name=&game=', {}],
      ['?name=a&game=b%20c&version=v1.0.0', { name: 'a', game: 'b c', version: 'v1.0.0' }],
      ['?unknown=1&name=a', { name: 'a' }],
    ])('passes on the filter %p', async (query, filter) => {
      await call('GET', `/schedulers${query}`);
      expect(schedulers.calls).toEqual([['list', filter]]);
    });

    it('refuses a parameter given twice', async () => {
      expect((await call('GET', '/schedulers?game=a&game=b')).json).toEqual({
        code: 3,
        message: 'too many values for field "game": a, b',
        details: [],
      });
    });

    it('gets one, in a version if asked', async () => {
      await create({ name: 'arena' });
      expect((await call('GET', '/schedulers/arena')).json).toMatchObject({ scheduler: { name: 'arena' } });
      await call('GET', '/schedulers/arena?version=v1.0.0');
      expect(schedulers.calls.slice(1)).toEqual([
        ['get', 'arena', undefined],
        ['get', 'arena', 'v1.0.0'],
      ]);
    });

    it('answers 404 for one that is not there', async () => {
      expect(await call('GET', '/schedulers/nope')).toMatchObject({
        status: 404,
        json: { code: 5, message: 'scheduler nope not found', details: [] },
      });
    });

    it('ignores the path variable in the query', async () => {
      await call('GET', '/schedulers/a?schedulerName=b&scheduler_name=c');
      expect(schedulers.calls).toEqual([['get', 'a', undefined]]);
    });

    it.each([
      ['a%20b', 'a b'],
      ['a%2Fb', 'a/b'],
      ['%2541', '%41'],
      ['a+b', 'a+b'],
      ['a%3Fb', 'a?b'],
      ['%C3%A9', 'é'],
      ['info2', 'info2'],
      ['x'.repeat(500), 'x'.repeat(500)],
      ["'; DROP TABLE schedulers; --".replaceAll(' ', '%20'), "'; DROP TABLE schedulers; --"],
    ])('decodes the path variable %p once', async (segment, name) => {
      await call('GET', `/schedulers/${segment}`);
      expect(schedulers.calls).toEqual([['get', name, undefined]]);
    });

    it('looks for a very long name as for any other, and does not find it', async () => {
      const name = 'x'.repeat(15_000);
      expect(await call('GET', `/schedulers/${name}`)).toMatchObject({
        status: 404,
        json: { code: 5, message: `scheduler ${name} not found`, details: [] },
      });
      expect(schedulers.calls).toEqual([['get', name, undefined]]);
    });

    it.each([['/schedulers/%'], ['/schedulers/%zz'], ['/schedulers/%ff'], ['/schedulers/%00']])(
      'refuses the path %p with 400',
      async (url) => {
        const answer = await call('GET', url);
        expect(answer).toMatchObject({ status: 400, json: { code: 3, details: [] } });
        expect(answer.headers['content-type']).toBe('application/json');
        expect(schedulers.calls).toEqual([]);
      },
    );

    it('tolerates and ignores a body on GET and DELETE', async () => {
      const body = 'not JSON';
      expect((await call('GET', '/schedulers', { body })).status).toBe(200);
      expect((await call('DELETE', '/schedulers/arena', { body })).json).toEqual({ operationId: 'op-1' });
      const headers = { 'content-type': 'application/json' };
      expect((await call('DELETE', '/schedulers/arena', { headers })).status).toBe(200);
    });

    it('describes fleets at /schedulers/info, not a scheduler of that name', async () => {
      await create({ name: 'arena', game: 'g', roomsReplicas: 3 });
      expect((await call('GET', '/schedulers/info?game=g')).json).toEqual({
        schedulers: [
          {
            name: 'arena',
            game: 'g',
            state: 'creating',
            roomsReplicas: 3,
            roomsReady: 3,
            roomsOccupied: 2,
            roomsPending: 1,
            roomsTerminating: 0,
            autoscaling: null,
          },
        ],
      });
      expect(schedulers.calls[1]).toEqual(['info', 'g']);
    });
  });

  describe('operations', () => {
    it('lists them, with the lease in the stage active only', async () => {
      const active = await call('GET', '/schedulers/arena/operations?stage=active');
      expect(active.json).toEqual({
        page: 1,
        pageSize: 1,
        total: 1,
        operations: [
          {
            id: 'op-1',
            status: 'in_progress',
            definitionName: 'add_rooms',
            lease: { ttl: '2026-05-01T10:00:05Z' },
            schedulerName: 'arena',
            createdAt: '2026-05-01T10:00:00Z',
          },
        ],
      });
      const final = await call('GET', '/schedulers/arena/operations?stage=final');
      expect(final.json.operations[0]).not.toHaveProperty('lease');
    });

    it('lists none with numbers that are 0', async () => {
      expect((await call('GET', '/schedulers/empty/operations?stage=pending')).json).toEqual({
        page: 1,
        pageSize: 0,
        total: 0,
        operations: [],
      });
    });

    it.each<[string, object]>([
      ['', { stage: '' }],
      [
        '?stage=final&page=2&perPage=5&orderBy=createdAt+asc',
        { stage: 'final', page: 2, perPage: 5, orderBy: 'createdAt asc' },
      ],
      ['?stage=final&per_page=0', { stage: 'final', perPage: 0 }],
    ])('passes on the query %p', async (query, expected) => {
      await call('GET', `/schedulers/arena/operations${query}`);
      expect(operations.calls).toEqual([['list', 'arena', expected]]);
    });

    it('refuses a page that is no number', async () => {
      expect(await call('GET', '/schedulers/arena/operations?stage=final&page=x')).toMatchObject({
        status: 400,
        json: { code: 3, message: 'parsing field "page": "x" is not a number' },
      });
    });

    it('gets one with its history', async () => {
      expect((await call('GET', '/schedulers/arena/operations/op-1')).json).toEqual({
        operation: {
          id: 'op-1',
          status: 'in_progress',
          definitionName: 'add_rooms',
          schedulerName: 'arena',
          createdAt: '2026-05-01T10:00:00Z',
          input: { amount: 2 },
          executionHistory: [{ createdAt: '2026-05-01T10:00:00Z', event: 'Created' }],
        },
      });
      expect(operations.calls).toEqual([['get', 'arena', 'op-1']]);
    });
  });

  describe('paths and verbs', () => {
    it.each([
      ['GET', '/'],
      ['GET', '/nope'],
      ['POST', '/nope'],
      ['GET', '/schedulers/'],
      ['GET', '/schedulers//operations'],
      ['GET', '/schedulers/a/operations/'],
      ['GET', '/schedulers/a/b/c/d'],
      ['GET', '/Schedulers'],
      ['GET', '/scheduler/a/operations'],
      ['GET', '/docs/nope.js'],
      ['GET', '/metrics'],
    ])('answers 404 to %s %s', async (method, url) => {
      const answer = await call(method, url);
      expect(answer).toMatchObject({ status: 404, json: { code: 5, message: 'Not Found', details: [] } });
      expect(answer.headers['content-type']).toBe('application/json');
    });

    it.each([
      ['PUT', '/schedulers'],
      ['DELETE', '/schedulers'],
      ['PATCH', '/schedulers'],
      ['OPTIONS', '/schedulers'],
      ['TRACE', '/schedulers'],
      ['PUT', '/schedulers/info'],
      ['OPTIONS', '/schedulers/a'],
      ['POST', '/schedulers/a/operations'],
      ['DELETE', '/schedulers/a/operations/b?x=1'],
      ['POST', '/docs'],
    ])('answers 501 to %s %s', async (method, url) => {
      const answer = await call(method, url);
      expect(answer).toMatchObject({ status: 501, json: { code: 12, message: 'Method Not Allowed', details: [] } });
    });

    it('answers 501 to HEAD', async () => {
      expect((await call('HEAD', '/schedulers')).status).toBe(501);
      expect((await call('HEAD', '/nope')).status).toBe(404);
    });
  });

  describe('the origin guard', () => {
    it.each<[string, Record<string, string>]>([
      ['another site', { origin: 'https://evil.example' }],
      ['a cross-site request without Origin', { 'sec-fetch-site': 'cross-site' }],
      ['a foreign host', { host: 'evil.example' }],
    ])('refuses %s before anything is read', async (_name, headers) => {
      for (const [method, url] of [
        ['POST', '/schedulers'],
        ['GET', '/schedulers'],
        ['GET', '/nope'],
        ['OPTIONS', '/schedulers'],
        ['GET', '/docs'],
        ['GET', '/docs-json'],
      ] as const) {
        const answer = await call(method, url, { headers });
        expect(answer).toMatchObject({ status: 403, json: { code: 7, details: [] } });
      }
      expect(schedulers.calls).toEqual([]);
    });

    it("lets Swagger UI's own requests pass", async () => {
      const headers = { host: 'maestro.example', origin: 'https://maestro.example', 'sec-fetch-site': 'same-origin' };
      expect((await create({ name: 'arena' }, headers)).status).toBe(200);
    });
  });

  describe('metrics', () => {
    const series = async (): Promise<string[]> =>
      (await registry.metrics())
        .split('\n')
        .filter((line) => /^http_request_duration_seconds_count|^http_requests_inflight/.test(line));

    it.each([
      ['GET', '/schedulers', '/schedulers', 200],
      ['GET', '/schedulers/info', '/schedulers/info', 200],
      ['GET', '/schedulers/a', '/schedulers/:schedulerName', 404],
      ['DELETE', '/schedulers/a', '/schedulers/:schedulerName', 200],
      ['GET', '/schedulers/a/operations', '/schedulers/:schedulerName/operations', 200],
      ['GET', '/schedulers/a/operations/b', '/schedulers/:schedulerName/operations/:operationID', 200],
      ['GET', '/nope/%20/raw', '', 404],
      ['PUT', '/schedulers/a', '', 501],
    ])('counts %s %s under the handler %p', async (method, url, handler, code) => {
      await call(method, url);
      expect(await series()).toEqual([
        `http_request_duration_seconds_count{service="management-api",handler="${handler}",method="${method}",code="${code}"} 1`,
        `http_requests_inflight{service="management-api",handler="${handler}"} 0`,
      ]);
    });

    it('has the buckets of v10 and the size of the body', async () => {
      await call('GET', '/schedulers');
      const text = await registry.metrics();
      const buckets = (name: string) =>
        [...text.matchAll(new RegExp(`^${name}_bucket\\{le="([^"]+)"`, 'gm'))].map((match) => match[1]).join(' ');
      expect(buckets('http_request_duration_seconds')).toBe('0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 +Inf');
      expect(buckets('http_response_size_bytes')).toBe(
        '100 1000 10000 100000 1000000 10000000 100000000 1000000000 +Inf',
      );
      expect(text).toContain(
        'http_response_size_bytes_sum{service="management-api",handler="/schedulers",method="GET",code="200"} 17',
      );
    });

    it('shares one registry between applications', async () => {
      const second = await createHttpApplication(
        ManagementApiModule.register({
          providers: [
            { provide: SchedulersService, useValue: schedulers },
            { provide: OperationsService, useValue: operations },
          ],
        }),
        { logger: log, metrics: { registry, service: 'other' } },
      );
      await second.init();
      await second.inject({ method: 'GET', url: '/schedulers', headers: { host: 'localhost' } });
      await call('GET', '/schedulers');
      expect((await series()).filter((line) => line.startsWith('http_request_duration'))).toHaveLength(2);
      await second.close();
    });
  });
});
