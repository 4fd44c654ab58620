import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Registry } from 'prom-client';
import { createHttpApplication } from '../../src/api/http/http-application';
import { ManagementApiModule, managementOpenApi } from '../../src/api/management/management-api.module';
import type { SchedulerDefinition } from '../../src/domain/scheduler/scheduler';
import { fullExtensions } from '../../src/domain/scheduler/scheduler.fixture';
import { fakeManagementFeatures } from '../support/fake-management-features';
import { RecordedLog } from '../support/recorded-log';

/** A row with all but its last cell as its title, which is not as long as a body may be. */
function titled<R extends [...unknown[], RegExp]>(row: R): [title: string, ...R] {
  return [row.slice(0, -1).map(String).join(' ').slice(0, 80), ...row];
}

describe('the management API over REST', () => {
  let app: NestFastifyApplication;
  let features: ReturnType<typeof fakeManagementFeatures>;
  let schedulers: (typeof features)['schedulers'];
  let operations: (typeof features)['operations'];
  let log: RecordedLog;
  let registry: Registry;

  beforeEach(async () => {
    features = fakeManagementFeatures();
    ({ schedulers, operations } = features);
    log = new RecordedLog();
    registry = new Registry();
    app = await createHttpApplication(ManagementApiModule.register({ providers: features.providers }), {
      logger: log,
      bodyLimitBytes: 2000,
      allowedHosts: ['maestro.example'],
      metrics: { registry, service: 'management-api' },
      openApi: managementOpenApi,
    });
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
      await create({ name: 'arena' });
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
            createdAt: '2026-05-01T10:00:00.123Z',
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
          createdAt: '2026-05-01T10:00:00.123Z',
          input: { amount: 2 },
          executionHistory: [{ createdAt: '2026-05-01T10:00:00.123Z', event: 'Created' }],
        },
      });
      expect(operations.calls).toEqual([['get', 'arena', 'op-1']]);
    });

    it('gets the details of one that runs: who, why, which attempt, when', async () => {
      expect((await call('GET', '/schedulers/arena/operations/op-1/details')).json).toEqual({
        details: {
          id: 'op-1',
          schedulerName: 'arena',
          definitionName: 'add_rooms',
          status: 'in_progress',
          actor: 'health_controller',
          reason: '',
          attempt: 1,
          waiting: false,
          createdAt: '2026-05-01T10:00:00.123Z',
          startedAt: '2026-05-01T10:00:00.123Z',
        },
      });
      expect(operations.calls).toEqual([['get', 'arena', 'op-1']]);
    });

    it('gets no details of one that is not there', async () => {
      expect(await call('GET', '/schedulers/arena/operations/op-2/details')).toMatchObject({
        status: 404,
        json: { code: 5, message: 'operation op-2 not found in scheduler arena', details: [] },
      });
    });
  });

  describe('versions', () => {
    const send = (method: string, url: string, body: object | string | Buffer) =>
      call(method, url, { body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body) });
    beforeEach(async () => {
      await create({ name: 'arena' });
      schedulers.calls.length = 0;
    });

    it('lists them', async () => {
      expect(await call('GET', '/schedulers/arena/versions')).toMatchObject({
        status: 200,
        json: {
          versions: [
            { version: 'v1.1.0', isActive: false, createdAt: '2026-05-02T10:00:00Z' },
            { version: 'v1.0.0', isActive: true, createdAt: '2026-05-01T10:00:00.123Z' },
          ],
        },
      });
      expect(schedulers.calls).toEqual([['versions', 'arena']]);
    });

    it('lists those of a scheduler that is called info', async () => {
      await call('GET', '/schedulers/info/versions');
      expect(schedulers.calls).toEqual([['versions', 'info']]);
    });

    it.each<[string, object, unknown[]]>([
      [
        'POST /schedulers/arena',
        { name: 'other', game: 'g', max_surge: '1' },
        ['new version', 'arena', expect.objectContaining({ game: 'g', maxSurge: '1', roomsReplicas: 0 })],
      ],
      ['PATCH /schedulers/arena', { name: 'other', maxSurge: '1' }, ['patch', 'arena', { maxSurge: '1' }]],
      [
        'PUT /schedulers/arena',
        { schedulerName: 'other', scheduler_nam: 1, version: 'v1.0.0' },
        ['switch', 'arena', 'v1.0.0'],
      ],
      ['PUT /schedulers/arena', {}, ['switch', 'arena', '']],
    ])('answers %s with the operation, for the name in the path', async (route, body, asked) => {
      const [method = '', url = ''] = route.split(' ');
      expect(await send(method, url, body)).toMatchObject({ status: 200, json: { operationId: 'op-2' } });
      expect(schedulers.calls).toEqual([asked]);
    });

    it('gives a new version without portRange none, so that ports may have ranges of their own', async () => {
      await send('POST', '/schedulers/arena', { portRange: null });
      expect(schedulers.calls[0]?.[2]).not.toHaveProperty('portRange');
    });

    it.each<[string, object, unknown]>([
      ['nothing of extensions', {}, undefined],
      ['no extensions', { extensions: null }, undefined],
      ['empty extensions', { extensions: {} }, {}],
      ['everything of extensions', { extensions: fullExtensions() }, fullExtensions()],
    ])('gives a new version that says %s as it is said', async (_name, body, said) => {
      expect((await send('POST', '/schedulers/arena', { game: 'g', ...body })).status).toBe(200);
      const [, , definition] = schedulers.calls[0] as [string, string, SchedulerDefinition];
      expect(definition.extensions).toEqual(said);
    });

    it('shows extensions where they are used, and nothing of them elsewhere', async () => {
      await send('POST', '/schedulers', { name: 'extended', game: 'g', extensions: fullExtensions() });
      await send('POST', '/schedulers', { name: 'plain', game: 'g' });
      expect(await call('GET', '/schedulers/extended')).toMatchObject({
        json: { scheduler: { name: 'extended', extensions: fullExtensions() } },
      });
      const { json } = await call('GET', '/schedulers/plain');
      expect(json).toMatchObject({ scheduler: { name: 'plain' } });
      expect(JSON.stringify(json)).not.toContain('extensions');
    });

    it.each<[string, object, object]>([
      ['is empty', { annotations: {}, labels: {} }, { clear: ['annotations', 'labels'] }],
      ['is null', { annotations: null, labels: null, maxSurge: '1' }, { maxSurge: '1' }],
      ['has entries', { annotations: { a: '' } }, { annotations: { a: '' } }],
      [
        'is empty beside what else is cleared',
        { labels: {}, extensions: { clear: ['forwarders'] } },
        { clear: ['forwarders', 'labels'] },
      ],
      [
        'is empty beside a part of extensions',
        { labels: {}, extensions: { drain: { deadlineSeconds: 60 } } },
        { clear: ['labels'], extensions: { drain: { deadlineSeconds: 60 } } },
      ],
      ['is empty and cleared', { labels: {}, extensions: { clear: ['labels'] } }, { clear: ['labels'] }],
    ])('patches a map that %s', async (_name, body, patch) => {
      expect((await send('PATCH', '/schedulers/arena', body)).status).toBe(200);
      expect(schedulers.calls).toEqual([['patch', 'arena', patch]]);
    });

    it.each<[string, object]>([
      ['nothing', {}],
      ['empty lists', { forwarders: [], extensions: { clear: [] } }],
      ['null', { spec: null, maxSurge: null, autoscaling: null, extensions: null }],
      ['what cannot be patched', { name: 'b', game: 'g', version: 'v9.0.0', restartPolicy: 'Always', state: 'x' }],
    ])('answers a patch of %s with 409 and code 6', async (_name, body) => {
      expect(await send('PATCH', '/schedulers/arena', body)).toMatchObject({
        status: 409,
        json: { code: 6, message: 'no change found to scheduler arena', details: [] },
      });
    });

    it.each<[string, object]>([
      ['POST', { game: 'g' }],
      ['PATCH', { maxSurge: '1' }],
      ['PUT', { version: 'v1.0.0' }],
    ])(
      'answers %s during a version change with 400 and code 9, and of an unknown one with 404',
      async (method, body) => {
        expect(await send(method, '/schedulers/busy', body)).toMatchObject({
          status: 400,
          json: {
            code: 9,
            message: 'there is already an ongoing version operation (id: op-1) for scheduler busy',
            details: [],
          },
        });
        expect(await send(method, '/schedulers/nope', body)).toMatchObject({
          status: 404,
          json: { code: 5, message: 'scheduler nope not found', details: [] },
        });
      },
    );

    const malformed: [method: string, name: string, body: string | Buffer, message: RegExp][] = [
      ['POST', 'arena', '{"maxSurge":40}', /field "maxSurge": expected string, got 40$/],
      ['POST', 'arena', '{"roomsReplicas":2147483648}', /field "roomsReplicas": .*2147483648/],
      [
        'POST',
        'arena',
        '{"spec":{"containers":[{"ports":[{"port":1.5}]}]}}',
        /field "spec.containers\[0\].ports\[0\].port"/,
      ],
      ['PATCH', 'arena', '{"maxSurge":40}', /field "maxSurge": expected string, got 40$/],
      ['PATCH', 'arena', '{"roomsReplicas":-2147483649}', /field "roomsReplicas": .*-2147483649/],
      ['PATCH', 'arena', '{"roomsReplicas":"x"}', /field "roomsReplicas": expected a number, got "x"$/],
      ['PATCH', 'arena', '{"spec":[]}', /field "spec"/],
      ['PATCH', 'arena', '{"spec":{"terminationGracePeriod":"1m"}}', /field "spec.terminationGracePeriod"/],
      ['PATCH', 'arena', '{"spec":{"containers":[null]}}', /field "spec.containers\[0\]"/],
      ['PATCH', 'arena', '{"spec":{"containers":[{},{"image":1}]}}', /field "spec.containers\[1\].image"/],
      ['PATCH', 'arena', '{"autoscaling":{"min":true}}', /field "autoscaling.min"/],
      ['PATCH', 'arena', '{"autoscaling":{"max":1e10}}', /field "autoscaling.max"/],
      ['PATCH', 'arena', '{"annotations":{"a":1}}', /field "annotations/],
      ['PATCH', 'arena', '{"labels":[]}', /field "labels"/],
      ['PATCH', 'arena', '{"labels":{"a":"\\u0000"}}', /field "labels.a": text must not contain a NUL character$/],
      ['PATCH', 'arena', '{"forwarders":[{"options":{"metadata":{"a":["\\u0000"]}}}]}', /NUL/],
      ['PATCH', 'arena', '{"extensions":{"clear":"labels"}}', /field "extensions.clear"/],
      ['PATCH', 'arena', '{"extensions":{"clear":[1]}}', /field "extensions.clear"/],
      ['PATCH', 'arena', '{"extensions":{"clear":["\\u0000"]}}', /field "extensions.clear\[0\]".*NUL/],
      ['PATCH', 'arena', '{"extensions":["labels"]}', /field "extensions"/],
      [
        'PATCH',
        'arena',
        '{"extensions":{"drain":{"deadlineSeconds":1.5}}}',
        /field "extensions.drain.deadlineSeconds"/,
      ],
      [
        'POST',
        'arena',
        '{"extensions":{"autoscaling":{"chain":{"policies":[{},{"webhook":{"url":1}}]}}}}',
        /field "extensions.autoscaling.chain.policies\[1\].webhook.url"/,
      ],
      [
        'POST',
        'arena',
        '{"extensions":{"rollout":{"failureShare":"half"}}}',
        /field "extensions.rollout.failureShare"/,
      ],
      [
        'PATCH',
        'arena',
        '{"extensions":{"drain":{"deadlineSecond":5}}}',
        /^malformed request: field "extensions.drain.deadlineSecond": unknown field, did you mean deadlineSeconds\?$/,
      ],
      ['PATCH', 'arena', '{"extensions":{"clear":[],"rolout":{}}}', /field "extensions.rolout".* mean rollout\?$/],
      [
        'POST',
        'arena',
        '{"extensions":{"autoscaling":{"chain":{"policies":[{"webhook":{"timeout_m":1}}]}}}}',
        /field "extensions.autoscaling.chain.policies\[0\].webhook.timeout_m": .* mean timeoutMs\?$/,
      ],
      ['POST', 'arena', '{"extensions":{"clear":["extensions"]}}', /field "extensions.clear": unknown field/],
      ['PATCH', 'arena', '{"maxSurge":"1","maxSurge":"2"}', /field "maxSurge" is given twice/],
      ['PATCH', 'arena', '{"maxSurge":"1","max_surge":"2"}', /field "maxSurge": set multiple times$/],
      [
        'PATCH',
        'arena',
        '{"spec":{"terminationGracePeriod":"1s","termination_grace_period":"1s"}}',
        /field "spec.terminationGracePeriod"/,
      ],
      ['PATCH', 'arena', '{"a":'.repeat(300), /nested deeper/],
      ['PATCH', 'arena', Buffer.from([0x7b, 0x22, 0xff]), /not UTF-8/],
      ['PATCH', '%00', '{"maxSurge":"1"}', /field "name": text must not contain a NUL character$/],
      ['PUT', 'arena', '{"version":1}', /field "version": expected string, got 1$/],
      ['PUT', 'arena', '{"version":"v1.0.0","version":"v1.1.0"}', /field "version" is given twice/],
      ['PUT', 'arena', '{"version":"\\u0000"}', /field "version": text must not contain a NUL character$/],
      ['PUT', 'arena', '"v1.0.0"', /^malformed request/],
      ['PUT', 'arena', 'v1.0.0', /^malformed JSON/],
    ];
    it.each(malformed.map(titled))('refuses %s', async (_title, method, name, body, message) => {
      expect(await send(method, `/schedulers/${name}`, body)).toMatchObject({
        status: 400,
        json: { code: 3, message: expect.stringMatching(message), details: [] },
      });
      expect(schedulers.calls).toEqual([]);
    });

    it.each(['POST', 'PATCH', 'PUT'])('refuses %s with a body over the limit', async (method) => {
      expect(await send(method, '/schedulers/arena', { version: 'x'.repeat(3000) })).toMatchObject({
        status: 413,
        json: { code: 8, message: 'Request body is too large', details: [] },
      });
    });

    it.each(["'; DROP TABLE schedulers; --", '*', '{p00}:rooms:arena', 'a\r\nFLUSHALL\r\n', '../../etc', '💥'])(
      'looks for the scheduler %p as for any other',
      async (name) => {
        const url = `/schedulers/${encodeURIComponent(name)}`;
        for (const [method, asked] of [
          ['PATCH', ['patch', name, { maxSurge: '1' }]],
          ['PUT', ['switch', name, '']],
          ['POST', ['new version', name, expect.objectContaining({ maxSurge: '1' })]],
        ] as const) {
          expect(await send(method, url, { maxSurge: '1' })).toMatchObject({
            status: 404,
            json: { code: 5, message: `scheduler ${name} not found` },
          });
          expect(schedulers.calls.splice(0)).toEqual([asked]);
        }
      },
    );

    describe('planned', () => {
      it('answers a patch with the plan, every status of rooms and null where there is no value', async () => {
        const answer = await send('POST', '/schedulers/arena/plan', { name: 'other', maxSurge: '1', annotations: {} });
        expect(answer.status).toBe(200);
        expect(answer.json).toEqual({
          problems: ['Scheduler.MaxSurge: MaxSurge is a required field'],
          changes: [
            { path: 'maxSurge', from: '25%', to: '', major: false },
            {
              path: 'autoscaling',
              from: null,
              to: { enabled: true, policy: { type: 'x', share: [0.1, 1] } },
              major: false,
            },
            { path: 'spec.containers[0].ports', from: ['é', 1.5, true], to: null, major: true },
          ],
          bump: 'major',
          version: 'v2.0.0',
          rooms: {
            pending: 0,
            unready: 0,
            ready: 3,
            occupied: 12,
            terminating: 0,
            error: 0,
            terminated: 0,
            active: 0,
            allocated: 0,
          },
          roomsWithMatches: 12,
          roomsToReplace: 15,
          steps: [
            { action: 'validate_room', detail: 'starts one room' },
            { action: 'switch_version', detail: 'makes v2.0.0 the active version' },
          ],
          blockedBy: [
            { code: 'scheduler_terminating', detail: 'scheduler arena is being deleted' },
            { code: 'version_change_open', detail: 'there is already one', operationId: 'op-1' },
          ],
        });
        expect(features.plans.calls).toEqual([['plan patch', 'arena', { maxSurge: '1', clear: ['annotations'] }]]);
      });

      it.each<[string, object, unknown[]]>([
        ['', {}, ['plan patch', 'arena', {}]],
        ['?as=patch', { maxSurge: '1' }, ['plan patch', 'arena', { maxSurge: '1' }]],
        ['?as=version', { name: 'b', game: 'g' }, ['plan version', 'arena', expect.objectContaining({ game: 'g' })]],
        [
          '?as=version&other=1&other=2',
          { labels: {} },
          ['plan version', 'arena', expect.objectContaining({ labels: {} })],
        ],
      ])('reads the body as %p says', async (query, body, asked) => {
        expect((await send('POST', `/schedulers/arena/plan${query}`, body)).status).toBe(200);
        expect(features.plans.calls).toEqual([asked]);
      });

      it('reads an empty body as the empty message', async () => {
        expect((await call('POST', '/schedulers/arena/plan')).status).toBe(200);
        expect(features.plans.calls).toEqual([['plan patch', 'arena', {}]]);
      });

      const malformedPlans: [query: string, body: string | Buffer, message: RegExp][] = [
        ['?as=rollout', '{}', /^malformed request: field "as": must be one of patch, version, got "rollout"$/],
        ['?as=', '{}', /field "as": must be one of patch, version, got ""$/],
        ['?as=Version', '{}', /field "as"/],
        ['?as=%00', '{}', /field "as"/],
        ['?as=__proto__', '{}', /field "as"/],
        ['?as=%zz', '{}', /invalid escape/],
        ['?as=patch&as=version', '{}', /^too many values for field "as": patch, version$/],
        ['', '{"maxSurge":40}', /^malformed request: field "maxSurge": expected string, got 40$/],
        ['?as=version', '{"spec":{"containers":[{"image":1}]}}', /field "spec.containers\[0\].image"/],
        ['', '{"roomsReplicas":2147483648}', /field "roomsReplicas"/],
        ['', '{"extensions":{"drain":{"deadlineSecond":5}}}', /field "extensions.drain.deadlineSecond"/],
        ['?as=version', '{"extensions":{"drain":{"deadlineSecond":5}}}', /field "extensions.drain.deadlineSecond"/],
        ['', '{"max_surge":"1","maxSurge":"1"}', /field "maxSurge": set multiple times$/],
        ['', '{"spec":{"toleration":"\\u0000"}}', /field "spec.toleration".*NUL/],
        ['', '[]', /^malformed request/],
        ['', '{"a":'.repeat(300), /nested deeper/],
        ['', Buffer.from([0x7b, 0x22, 0xff]), /not UTF-8/],
      ];
      it.each(malformedPlans.map(titled))('refuses %s', async (_title, query, body, message) => {
        expect(await send('POST', `/schedulers/arena/plan${query}`, body)).toMatchObject({
          status: 400,
          json: { code: 3, message: expect.stringMatching(message), details: [] },
        });
        expect(features.plans.calls).toEqual([]);
      });

      it('refuses a body over the limit, and does not find what is not there', async () => {
        expect((await send('POST', '/schedulers/arena/plan', { maxSurge: 'x'.repeat(3000) })).status).toBe(413);
        expect(await send('POST', '/schedulers/nowhere/plan', {})).toMatchObject({ status: 404, json: { code: 5 } });
      });
    });
  });

  describe('a cancellation', () => {
    it.each([[''], ['{}'], ['not JSON'], ['{"operationId":"op-0"}']])(
      'is asked for, with the body %p ignored',
      async (body) => {
        expect(await call('POST', '/schedulers/arena/operations/op-1/cancel?operationId=op-0', { body })).toMatchObject(
          {
            status: 200,
            json: {},
          },
        );
        expect(operations.calls).toEqual([['cancel', 'arena', 'op-1']]);
      },
    );

    it('is too late for one that has ended', async () => {
      expect(await call('POST', '/schedulers/arena/operations/op-0/cancel')).toMatchObject({
        status: 409,
        json: {
          code: 10,
          message: 'cannot cancel operation since status "finished" is a final status',
          details: [],
        },
      });
    });

    it.each(['no-uuid', "' OR 1=1 --", 'a/b', '*', '1b6f2c9e-6a0e-4c1c-9a55-5f1f0a3c8d10'])(
      'of %p, which is not there, is 404',
      async (id) => {
        expect(await call('POST', `/schedulers/arena/operations/${encodeURIComponent(id)}/cancel`)).toMatchObject({
          status: 404,
          json: { code: 5, message: `operation ${id} not found in scheduler arena` },
        });
      },
    );

    it('refuses a NUL character by the name of its field', async () => {
      expect(await call('POST', '/schedulers/arena/operations/%00/cancel')).toMatchObject({
        status: 400,
        json: { code: 3, message: 'malformed request: field "operationId": text must not contain a NUL character' },
      });
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
      ['POST', '/schedulers//plan'],
      ['POST', '/schedulers/a/plan/'],
      ['GET', '/schedulers//explain'],
      ['GET', '/schedulers/a/automation'],
      ['POST', '/schedulers/a/automation/stop'],
      ['POST', '/backtests/'],
      ['POST', '/schedulers/a/add-rooms'],
      ['POST', '/schedulers/a/operations//cancel'],
      ['GET', '/schedulers/a/operations//details'],
      ['GET', '/schedulers/a/operations/b/details/'],
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
      ['OPTIONS', '/schedulers/a'],
      ['POST', '/schedulers/a/versions'],
      ['GET', '/schedulers/a/plan'],
      ['PATCH', '/schedulers/a/plan'],
      ['POST', '/schedulers/a/explain'],
      ['PUT', '/schedulers/a/rollout'],
      ['GET', '/schedulers/a/automation/pause'],
      ['GET', '/backtests'],
      ['POST', '/schedulers/a/operations'],
      ['DELETE', '/schedulers/a/operations/b?x=1'],
      ['POST', '/schedulers/a/operations/b'],
      ['GET', '/schedulers/a/operations/b/cancel'],
      ['POST', '/schedulers/a/operations/b/details'],
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
      ['GET', '/schedulers/a/versions', '/schedulers/:schedulerName/versions', 404],
      ['POST', '/schedulers/a', '/schedulers/:schedulerName', 404],
      ['PATCH', '/schedulers/a', '/schedulers/:schedulerName', 409],
      ['PUT', '/schedulers/a', '/schedulers/:schedulerName', 404],
      ['DELETE', '/schedulers/a', '/schedulers/:schedulerName', 404],
      ['POST', '/schedulers/a/plan?as=version', '/schedulers/:schedulerName/plan', 200],
      ['GET', '/schedulers/a/operations', '/schedulers/:schedulerName/operations', 200],
      ['GET', '/schedulers/a/operations/op-1', '/schedulers/:schedulerName/operations/:operationID', 200],
      [
        'GET',
        '/schedulers/a/operations/op-1/details',
        '/schedulers/:schedulerName/operations/:operationID/details',
        200,
      ],
      [
        'POST',
        '/schedulers/a/operations/op-1/cancel',
        '/schedulers/:schedulerName/operations/:operationID/cancel',
        200,
      ],
      ['GET', '/nope/%20/raw', '', 404],
      ['PUT', '/schedulers/a/versions', '', 501],
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
      const second = await createHttpApplication(ManagementApiModule.register({ providers: features.providers }), {
        logger: log,
        metrics: { registry, service: 'other' },
      });
      await second.init();
      await second.inject({ method: 'GET', url: '/schedulers', headers: { host: 'localhost' } });
      await call('GET', '/schedulers');
      expect((await series()).filter((line) => line.startsWith('http_request_duration'))).toHaveLength(2);
      await second.close();
    });
  });
});
