import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Registry } from 'prom-client';
import { createHttpApplication } from '../../src/api/http/http-application';
import { RoomsApiModule } from '../../src/api/rooms/rooms-api.module';
import { DomainError } from '../../src/domain/errors';
import { RoomPingsService, type RoomPing } from '../../src/features/rooms/room-pings.service';
import { RecordedLog } from '../support/recorded-log';

class FakePings {
  readonly pings: RoomPing[] = [];
  success = true;

  async handlePing(ping: RoomPing): Promise<{ success: boolean }> {
    if (!['ready', 'occupied', 'terminating', 'terminated'].includes(ping.status)) {
      throw new DomainError('invalid_argument', 'room.unknown_status', `unknown room status "${ping.status}"`);
    }
    this.pings.push(ping);
    return { success: this.success };
  }
}

describe('the rooms API over REST: ping (rooms.md 1.4)', () => {
  let app: NestFastifyApplication;
  let fake: FakePings;
  let registry: Registry;

  beforeEach(async () => {
    fake = new FakePings();
    registry = new Registry();
    app = await createHttpApplication(
      RoomsApiModule.register({ providers: [{ provide: RoomPingsService, useValue: fake }] }),
      { logger: new RecordedLog(), allowedHosts: [], metrics: { registry, service: 'rooms-api' } },
    );
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
