import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Registry } from 'prom-client';
import { createHttpApplication } from '../../src/api/http/http-application';
import { RoomsApiModule } from '../../src/api/rooms/rooms-api.module';
import type { RoomPing } from '../../src/features/rooms/room-pings.service';
import { fakeRoomsFeatures, type FakePings } from '../support/fake-rooms-features';
import { RecordedLog } from '../support/recorded-log';

describe('the rooms API over REST: ping (rooms.md 1.4)', () => {
  let app: NestFastifyApplication;
  let fake: FakePings;
  let registry: Registry;

  beforeEach(async () => {
    const features = fakeRoomsFeatures();
    fake = features.pings;
    registry = new Registry();
    app = await createHttpApplication(RoomsApiModule.register({ providers: features.providers }), {
      logger: new RecordedLog(),
      allowedHosts: [],
      metrics: { registry, service: 'rooms-api' },
    });
    await app.init();
  });
  afterEach(() => app.close());

  const ping = async (body: string, headers: Record<string, string> = {}) => {
    const answer = await app.inject({
      method: 'PUT',
      url: '/scheduler/arena/rooms/arena-1/ping',
      headers: { host: 'localhost', ...headers },
      payload: body,
    });
    return { status: answer.statusCode, json: answer.json<unknown>() };
  };

  it.each<[string, string, Partial<RoomPing>]>([
    [
      'occupied with nested metadata',
      '{"metadata":{"a":{"b":[1]}},"status":"occupied","timestamp":"12312312313","runningMatches":1}',
      { status: 'occupied', runningMatches: 1, metadata: { a: { b: [1] } } },
    ],
    [
      'terminating without metadata',
      '{"status":"terminating","timestamp":12312312313}',
      { status: 'terminating', metadata: null },
    ],
    [
      'terminated with every kind of value',
      '{"status":"terminated","metadata":{"o":{},"l":[1,"a"],"b":false,"n":123,"s":"x","z":null}}',
      { metadata: { o: {}, l: [1, 'a'], b: false, n: 123, s: 'x', z: null } },
    ],
    ['snake_case', '{"status":"occupied","running_matches":"3"}', { runningMatches: 3 }],
    ['null as unset', '{"status":"ready","metadata":null,"timestamp":null}', { metadata: null, runningMatches: 0 }],
    [
      'the path before the body',
      '{"status":"ready","schedulerName":"x","room_name":"y"}',
      { scheduler: 'arena', room: 'arena-1' },
    ],
    ['unknown fields', '{"status":"ready","roomType":"green"}', { status: 'ready' }],
    ['the largest int64 as a number', '{"status":"ready","timestamp":9223372036854775807}', { status: 'ready' }],
    [
      'a number beyond 2^53 inside of metadata as the nearest number',
      '{"status":"ready","metadata":{"timestamp":9223372036854775807}}',
      { metadata: { timestamp: 2 ** 63 } },
    ],
    ['a negative number as it is', '{"status":"ready","runningMatches":-1}', { runningMatches: -1 }],
  ])('reads %s', async (_name, body, expected) => {
    expect(await ping(body)).toEqual({ status: 200, json: { success: true } });
    expect(fake.pings).toEqual([expect.objectContaining(expected)]);
  });

  it('reads it whatever the Content-Type says', async () => {
    const body = '{"status":"ready"}';
    expect((await ping(body, { 'content-type': 'application/x-www-form-urlencoded' })).status).toBe(200);
    expect((await ping(body, { 'content-type': 'nonsense' })).status).toBe(200);
    expect((await ping(body)).status).toBe(200);
  });

  it('says when it was not taken, with 200', async () => {
    fake.success = false;
    expect(await ping('{"status":"ready"}')).toEqual({ status: 200, json: { success: false } });
  });

  it('takes the ping of a room whose name is very long for one of a room that is not known', async () => {
    fake.success = false;
    const room = 'x'.repeat(15_000);
    const answer = await app.inject({
      method: 'PUT',
      url: `/scheduler/arena/rooms/${room}/ping`,
      headers: { host: 'localhost' },
      payload: '{"status":"ready"}',
    });
    expect([answer.statusCode, answer.json()]).toEqual([200, { success: false }]);
    expect(fake.pings).toEqual([expect.objectContaining({ room })]);
  });

  it.each<[string, string, RegExp]>([
    ['an unknown status', '{"status":"invalid"}', /invalid/],
    ['no status', '{}', /status/],
    ['no body', '', /status/],
    ['malformed JSON', '{"status":', /malformed JSON/],
    ['a wrong type', '{"status":3}', /field "status"/],
    ['a metadata that is no object', '{"status":"ready","metadata":[1]}', /field "metadata"/],
    ['a timestamp that is no number', '{"status":"ready","timestamp":"now"}', /field "timestamp"/],
    [
      'a timestamp beyond int64',
      '{"status":"ready","timestamp":9223372036854775808}',
      /field "timestamp".*out of range/,
    ],
    ['a number beyond 2^53 for a text', '{"status":9223372036854775807}', /field "status": expected string/],
    ['a fraction of a match', '{"status":"ready","runningMatches":1.5}', /field "runningMatches"/],
    ['a field of the path with a wrong type', '{"status":"ready","roomName":3}', /field "roomName"/],
  ])('refuses %s with 400 and code 3', async (_name, body, message) => {
    expect(await ping(body)).toEqual({
      status: 400,
      json: { code: 3, message: expect.stringMatching(message), details: [] },
    });
    expect(fake.pings).toEqual([]);
  });

  it('is measured under the name that v10 has for it', async () => {
    await ping('{"status":"ready"}');
    expect(await registry.metrics()).toContain(
      'http_request_duration_seconds_count{service="rooms-api",handler="/scheduler/:schedulerName/rooms/:roomID/ping",method="PUT",code="200"} 1',
    );
  });

  it.each([
    ['GET', '/scheduler/arena/rooms/arena-1/ping', 501],
    ['PUT', '/schedulers/arena/rooms/arena-1/ping', 404],
    ['PUT', '/scheduler//rooms/arena-1/ping', 404],
  ])('answers %s %s with %p', async (method, url, status) => {
    const answer = await app.inject({ method: method as 'GET', url, headers: { host: 'localhost' } });
    expect(answer.statusCode).toBe(status);
  });
});

describe('the rooms API over REST: events, address and allocation (rooms.md 1.5-1.7)', () => {
  let app: NestFastifyApplication;
  let features: ReturnType<typeof fakeRoomsFeatures>;
  let registry: Registry;
  let log: RecordedLog;

  beforeEach(async () => {
    features = fakeRoomsFeatures();
    registry = new Registry();
    log = new RecordedLog();
    app = await createHttpApplication(RoomsApiModule.register({ providers: features.providers }), {
      logger: log,
      allowedHosts: [],
      metrics: { registry, service: 'rooms-api' },
    });
    await app.init();
  });
  afterEach(() => app.close());

  const send = async (request: string, body?: string, headers: Record<string, string> = {}) => {
    const [method, url] = request.split(' ') as ['GET', string];
    const payload = body === undefined ? {} : { payload: body };
    const answer = await app.inject({ method, url, headers: { host: 'localhost', ...headers }, ...payload });
    return { status: answer.statusCode, json: answer.json<unknown>() };
  };
  const room = '/scheduler/arena/rooms/arena-1';
  const refused = (message: RegExp) => ({
    status: 400,
    json: { code: 3, message: expect.stringMatching(message) as string, details: [] },
  });

  it.each<[string, string, string, unknown[]]>([
    [
      'an event of a room',
      `POST ${room}/roomevent`,
      '{"event":"roundStarts","metadata":{"a":{"b":[1,null]}},"timestamp":"12312312313"}',
      ['room', 'arena', 'arena-1', { event: 'roundStarts', metadata: { a: { b: [1, null] } } }],
    ],
    [
      'an event of a player',
      `POST ${room}/playerevent`,
      '{"event":"playerJoin","metadata":{"playerId":"p1"},"timestamp":12312312313}',
      ['player', 'arena', 'arena-1', { event: 'playerJoin', metadata: { playerId: 'p1' } }],
    ],
    [
      'a status',
      `PUT ${room}/status`,
      '{"status":"occupied","metadata":{"x":1},"timestamp":"1","running_matches":"3"}',
      ['status', 'arena', 'arena-1', { status: 'occupied', metadata: { x: 1 } }],
    ],
    [
      'what has no metadata',
      `POST ${room}/roomevent`,
      '{"event":"x"}',
      ['room', 'arena', 'arena-1', { event: 'x', metadata: null }],
    ],
    ['an empty body', `POST ${room}/roomevent`, '', ['room', 'arena', 'arena-1', { event: '', metadata: null }]],
    [
      'the path before the body',
      `POST ${room}/playerevent`,
      '{"scheduler_name":"x","roomName":"y","event":"playerLeft","unknown":{}}',
      ['player', 'arena', 'arena-1', { event: 'playerLeft', metadata: null }],
    ],
    [
      'names with escapes',
      'PUT /scheduler/a%2Fb/rooms/c%20d/status',
      '{"status":"ready"}',
      ['status', 'a/b', 'c d', { status: 'ready', metadata: null }],
    ],
  ])('reads %s', async (_name, request, body, expected) => {
    expect((await send(request, body)).status).toBe(200);
    expect(features.events.sent).toEqual([expected]);
  });

  it.each(['application/x-www-form-urlencoded', 'text/plain', 'nonsense'])('reads JSON as %s', async (type) => {
    const headers = { 'content-type': type };
    expect((await send(`POST ${room}/roomevent`, '{"event":"x"}', headers)).status).toBe(200);
    expect((await send('POST /scheduler/arena/rooms/allocate', '{}', headers)).status).toBe(200);
    expect(features.events.sent).toMatchObject([['room', 'arena', 'arena-1', { event: 'x' }]]);
  });

  it.each([
    ['POST', 'roomevent', { success: true, message: '' }, { success: false, message: 'nobody listens' }],
    ['POST', 'playerevent', { success: true, message: '' }, { success: false, message: 'nobody listens' }],
    ['PUT', 'status', { success: true }, { success: false }],
  ])('answers %s %s with 200, whether it was sent or not', async (verb, path, sent, notSent) => {
    expect(await send(`${verb} ${room}/${path}`, '{}')).toEqual({ status: 200, json: sent });
    features.events.answer = { success: false, message: 'nobody listens' };
    expect(await send(`${verb} ${room}/${path}`, '{}')).toEqual({ status: 200, json: notSent });
  });

  const ports = [
    { name: 'port-name', protocol: 'TCP', port: 8080 },
    { name: 'a-game', protocol: 'UDP', port: 7 },
  ];

  it('answers an address with every field, ports in their order', async () => {
    const json = { ports, host: 'room-host', ipv6Label: '' };
    expect(await send(`GET ${room}/address`)).toEqual({ status: 200, json });
    expect(await send(`GET ${room}/address?schedulerName=x`, '{"roomName":"y"}')).toEqual({ status: 200, json });
    expect(features.addresses.asked).toEqual([
      ['arena', 'arena-1'],
      ['arena', 'arena-1'],
    ]);
  });

  it('answers an allocation with every field, whatever the body holds', async () => {
    const json = { roomId: 'arena-7', success: true, message: '', ports, host: 'room-host' };
    for (const body of [undefined, '', '{}', '{"schedulerName":"x"}']) {
      expect(await send('POST /scheduler/arena/rooms/allocate', body)).toEqual({ status: 200, json });
    }
    expect(features.allocations.asked).toEqual(['arena', 'arena', 'arena', 'arena']);
  });

  const ofAnAllocation = { version: 'v2.1.0', roomId: 'arena-7', host: 'room-host', ports };
  const expiresAt = '2026-05-01T10:05:00Z';

  it.each<[string, string | undefined, object]>([
    ['nothing', undefined, { idempotencyKey: '', waitSeconds: 0, strategy: '' }],
    ['an empty object', '{}', { selector: { version: '', labels: {}, metadata: {} } }],
    [
      'everything',
      '{"idempotencyKey":"k","waitSeconds":10,"strategy":"spread","selector":{"version":"v2","labels":{"a":"1"},"metadata":{"b":"2"}}}',
      {
        idempotencyKey: 'k',
        waitSeconds: 10,
        strategy: 'spread',
        selector: { version: 'v2', labels: { a: '1' }, metadata: { b: '2' } },
      },
    ],
    [
      'snake_case and numbers as text',
      '{"idempotency_key":"k","wait_seconds":"3"}',
      { idempotencyKey: 'k', waitSeconds: 3 },
    ],
    ['the path before the body', '{"schedulerName":"x"}', { scheduler: 'arena' }],
  ])('reads a wish for a room from %s', async (_name, body, expected) => {
    expect(await send('POST /scheduler/arena/allocations', body)).toEqual({
      status: 200,
      json: { allocationId: 'allocation-1', ...ofAnAllocation, expiresAt },
    });
    expect(features.allocations.wishes).toEqual([expect.objectContaining(expected)]);
  });

  it.each([
    ['GET', '', { state: 'pending', expiresAt }],
    ['POST', '/confirm', { state: 'confirmed' }],
    ['DELETE', '', { state: 'released' }],
  ])('answers %s of an allocation%s with all of it', async (verb, end, state) => {
    expect(await send(`${verb} /scheduler/other/allocations/a%2Fb${end}`, verb === 'GET' ? undefined : '{}')).toEqual({
      status: 200,
      json: {
        allocation: {
          allocationId: 'a/b',
          schedulerName: 'other',
          ...ofAnAllocation,
          allocatedAt: '2026-05-01T10:00:00Z',
          ...state,
        },
      },
    });
  });

  it.each([
    ['a wait that is no number', '{"waitSeconds":"soon"}', /field "waitSeconds"/],
    ['a label that is no text', '{"selector":{"labels":{"a":1}}}', /field "selector.labels/],
  ])('refuses %s', async (_name, body, message) => {
    expect(await send('POST /scheduler/arena/allocations', body)).toEqual(refused(message));
  });

  it('answers 500 with code 2 and why, where there is no address and no room, and logs nothing', async () => {
    expect(await send('GET /scheduler/other/rooms/r/address')).toEqual({
      status: 500,
      json: { code: 2, message: 'room r not found in scheduler other', details: [] },
    });
    expect(await send('POST /scheduler/other/rooms/allocate')).toEqual({
      status: 500,
      json: { code: 2, message: 'no ready rooms available for scheduler other', details: [] },
    });
    expect(log.lines.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([]);
  });

  it.each([
    ['PUT', 'ping'],
    ['PUT', 'status'],
    ['POST', 'roomevent'],
    ['POST', 'playerevent'],
  ])('refuses metadata over the limit in %s %s, and names field and limit', async (verb, path) => {
    // {"m":"…"} is 8 bytes more than its text; the limit of these tests is 2000.
    const body = (length: number) => JSON.stringify({ status: 'ready', metadata: { m: 'x'.repeat(length) } });
    const limit = /^malformed request: field "metadata": must be at most 2000 bytes of JSON, got 2001$/;
    expect(await send(`${verb} ${room}/${path}`, body(1_993))).toEqual(refused(limit));
    expect([features.events.sent, features.pings.pings]).toEqual([[], []]);
    expect((await send(`${verb} ${room}/${path}`, body(1_992))).status).toBe(200);
  });

  it('counts the metadata in bytes, not in characters', async () => {
    const body = JSON.stringify({ event: 'x', metadata: { m: 'é'.repeat(1_000) } });
    expect(await send(`POST ${room}/roomevent`, body)).toEqual(refused(/got 2008$/));
  });

  it.each<[string, string, RegExp]>([
    ['malformed JSON', '{"event":', /malformed JSON/],
    ['a wrong type', '{"event":3}', /field "event"/],
    ['a metadata that is no object', '{"metadata":"x"}', /field "metadata"/],
    ['a timestamp that is no number', '{"timestamp":"now"}', /field "timestamp"/],
    ['a field twice', '{"roomName":"a","room_name":"b"}', /room/],
  ])('refuses %s with 400 and code 3', async (_name, body, message) => {
    expect(await send(`POST ${room}/roomevent`, body)).toEqual(refused(message));
    expect(features.events.sent).toEqual([]);
  });

  it('is measured under the names that v10 has', async () => {
    await send(`POST ${room}/roomevent`, '{}');
    await send(`POST ${room}/playerevent`, '{}');
    await send(`PUT ${room}/status`, '{}');
    await send(`GET ${room}/address`);
    await send('POST /scheduler/other/rooms/allocate');
    const measured = [...(await registry.metrics()).matchAll(/^http_request_duration_seconds_count\{(.*)\} 1$/gm)];
    const of = (path: string, method: string, code: number) =>
      `service="rooms-api",handler="/scheduler/:schedulerName/rooms/${path}",method="${method}",code="${code}"`;
    expect(measured.map(([, labels]) => labels)).toEqual([
      of(':roomID/roomevent', 'POST', 200),
      of(':roomID/playerevent', 'POST', 200),
      of(':roomID/status', 'PUT', 200),
      of(':roomID/address', 'GET', 200),
      of('allocate', 'POST', 500),
    ]);
  });

  it.each([
    ['PUT', `${room}/roomevent`, 501],
    ['GET', `${room}/playerevent`, 501],
    ['POST', `${room}/status`, 501],
    ['POST', `${room}/address`, 501],
    ['GET', '/scheduler/arena/rooms/allocate', 501],
    ['POST', '/schedulers/arena/rooms/allocate', 404],
    ['POST', '/scheduler/arena/rooms/allocate/', 404],
    ['POST', '/scheduler/arena/rooms//roomevent', 404],
    ['GET', '/scheduler/arena/rooms/arena-1', 404],
  ] as const)('answers %s %s with %p', async (verb, url, status) => {
    const [code, message] = status === 501 ? [12, 'Method Not Allowed'] : [5, 'Not Found'];
    expect(await send(`${verb} ${url}`)).toEqual({ status, json: { code, message, details: [] } });
  });
});
