import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { OpenAPIObject } from '@nestjs/swagger';
import { errorTable, httpErrors } from '../../src/api/http/error-table';
import { createHttpApplication } from '../../src/api/http/http-application';
import { ManagementApiModule, managementOpenApi } from '../../src/api/management/management-api.module';
import { RoomsApiModule, roomsOpenApi } from '../../src/api/rooms/rooms-api.module';
import { roomStatuses } from '../../src/domain/room/room';
import { fakeManagementFeatures } from '../support/fake-management-features';
import { fakeRoomsFeatures } from '../support/fake-rooms-features';
import { managementMethods, ownMethods } from '../support/management-wire';
import { RecordedLog } from '../support/recorded-log';

type Schema = Record<string, unknown> & { properties?: Record<string, Schema> };

describe('the OpenAPI documents', () => {
  const apps: NestFastifyApplication[] = [];
  let management: NestFastifyApplication;
  let rooms: NestFastifyApplication;

  beforeAll(async () => {
    const options = { logger: new RecordedLog(), allowedHosts: [] };
    management = await createHttpApplication(
      ManagementApiModule.register({
        providers: fakeManagementFeatures().providers,
      }),
      { ...options, openApi: managementOpenApi },
    );
    rooms = await createHttpApplication(RoomsApiModule.register({ providers: fakeRoomsFeatures().providers }), {
      ...options,
      openApi: roomsOpenApi,
    });
    apps.push(management, rooms);
    for (const app of apps) {
      await app.init();
      await app.getHttpAdapter().getInstance().ready();
    }
  });
  afterAll(() => Promise.all(apps.map((app) => app.close())));

  const get = (app: NestFastifyApplication, url: string) =>
    app.inject({ method: 'GET', url, headers: { host: 'localhost:8080' } });
  const documentOf = async (app: NestFastifyApplication): Promise<OpenAPIObject> =>
    (await get(app, '/docs-json')).json();

  it.each([
    ['/docs', 'text/html'],
    ['/docs/', 'text/html'],
    ['/docs/swagger-ui-init.js', 'application/javascript'],
    ['/docs/swagger-ui-bundle.js', 'application/javascript'],
    ['/docs/swagger-ui.css', 'text/css'],
    ['/docs-json', 'application/json'],
  ])('serves %s from itself', async (url, type) => {
    for (const app of apps) {
      const answer = await get(app, url);
      expect(answer.statusCode).toBe(200);
      expect(answer.headers['content-type']).toContain(type);
    }
  });

  it('loads nothing from elsewhere', async () => {
    const { body } = await get(management, '/docs');
    const sources = [...body.matchAll(/(?:src|href)=["']([^"']+)["']/g)].map((match) => match[1]!);
    expect(sources.length).toBeGreaterThan(3);
    expect(sources.filter((source) => !source.startsWith('./docs/'))).toEqual([]);
  });

  it('lists every route once', async () => {
    const routes = async (app: NestFastifyApplication) =>
      Object.entries((await documentOf(app)).paths).flatMap(([path, item]) =>
        Object.entries(item as Record<string, { operationId: string }>).map(
          ([verb, { operationId }]) => `${verb.toUpperCase()} ${path} ${operationId}`,
        ),
      );
    expect(await routes(management)).toEqual([
      'GET /schedulers ListSchedulers',
      'POST /schedulers CreateScheduler',
      'GET /schedulers/info GetSchedulersInfo',
      'GET /schedulers/{schedulerName} GetScheduler',
      'POST /schedulers/{schedulerName} NewSchedulerVersion',
      'PATCH /schedulers/{schedulerName} PatchScheduler',
      'PUT /schedulers/{schedulerName} SwitchActiveVersion',
      'DELETE /schedulers/{schedulerName} DeleteScheduler',
      'GET /schedulers/{schedulerName}/versions GetSchedulerVersions',
      'POST /schedulers/{schedulerName}/plan PlanVersion',
      'GET /schedulers/{schedulerName}/rooms ListRooms',
      'GET /schedulers/{schedulerName}/rooms/{roomName} GetRoom',
      'DELETE /schedulers/{schedulerName}/rooms/{roomName} DeleteRoom',
      'GET /schedulers/{schedulerName}/explain ExplainScheduler',
      'GET /schedulers/{schedulerName}/rollout GetRollout',
      'POST /schedulers/{schedulerName}/automation/pause PauseAutomation',
      'POST /schedulers/{schedulerName}/automation/resume ResumeAutomation',
      'GET /schedulers/{schedulerName}/operations ListOperations',
      'GET /schedulers/{schedulerName}/operations/{operationID} GetOperation',
      'POST /schedulers/{schedulerName}/operations/{operationID}/cancel CancelOperation',
      'GET /schedulers/{schedulerName}/operations/{operationID}/details GetOperationDetails',
      'POST /backtests RunBacktest',
    ]);
    expect(await routes(rooms)).toEqual([
      'PUT /scheduler/{schedulerName}/rooms/{roomID}/ping UpdateRoomWithPing',
      'POST /scheduler/{schedulerName}/rooms/{roomID}/roomevent ForwardRoomEvent',
      'POST /scheduler/{schedulerName}/rooms/{roomID}/playerevent ForwardPlayerEvent',
      'PUT /scheduler/{schedulerName}/rooms/{roomID}/status UpdateRoomStatus',
      'GET /scheduler/{schedulerName}/rooms/{roomID}/address GetRoomAddress',
      'POST /scheduler/{schedulerName}/rooms/allocate AllocateRoom',
      'POST /scheduler/{schedulerName}/allocations Allocate',
      'GET /scheduler/{schedulerName}/allocations/{allocationID} GetAllocation',
      'DELETE /scheduler/{schedulerName}/allocations/{allocationID} ReleaseAllocation',
      'POST /scheduler/{schedulerName}/allocations/{allocationID}/confirm ConfirmAllocation',
    ]);
  });

  it('has a route for every rpc', async () => {
    const rpcs = Object.values((await documentOf(management)).paths).flatMap((item) =>
      Object.values(item as Record<string, { 'x-rpc': string }>).map((operation) => operation['x-rpc']),
    );
    const all = Object.entries({ ...managementMethods, ...ownMethods }).flatMap(([service, methods]) =>
      methods.map((name) => `${service}/${name}`),
    );
    expect(rpcs.sort()).toEqual(all.sort());
  });

  it('has a schema for each reference, and no other', async () => {
    for (const app of apps) {
      const document = await documentOf(app);
      const text = JSON.stringify(document);
      const referenced = new Set([...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map((match) => match[1]));
      const defined = Object.keys(document.components?.schemas ?? {});
      // A request whose fields are all parameters is listed, but nothing refers to it.
      const unreferenced = defined.filter((name) => !referenced.has(name));
      expect([...referenced].filter((name) => !defined.includes(name!))).toEqual([]);
      expect(unreferenced.filter((name) => !name.endsWith('Request'))).toEqual([]);
    }
  });

  it('explains every field, with an example where it is a value', async () => {
    for (const app of apps) {
      const schemas = (await documentOf(app)).components?.schemas as Record<string, Schema>;
      for (const [name, schema] of Object.entries(schemas)) {
        expect(schema['description']).toBeTruthy();
        for (const [field, property] of Object.entries(schema.properties ?? {})) {
          const where = `${name}.${field}`;
          expect([where, typeof property['description']]).toEqual([where, 'string']);
          const isValue = ['string', 'integer', 'number', 'boolean'].includes(String(property['type']));
          expect([where, !isValue || 'example' in property]).toEqual([where, true]);
        }
      }
    }
  });

  it("keeps every example within its field's own limits", async () => {
    for (const app of apps) {
      const schemas = (await documentOf(app)).components?.schemas as Record<string, Schema>;
      for (const [name, schema] of Object.entries(schemas)) {
        for (const [field, { example, type, ...property }] of Object.entries(schema.properties ?? {})) {
          if (example === undefined) continue;
          const where = `${name}.${field} = ${JSON.stringify(example)}`;
          const jsonType = Array.isArray(example) ? 'array' : Number.isInteger(example) ? 'integer' : typeof example;
          const isType = type === jsonType || (type === 'number' && jsonType === 'integer');
          // Without a type it may be any JSON.
          expect([where, type === undefined || isType]).toEqual([where, true]);
          if (property['enum']) expect(property['enum']).toContain(example);
          if (property['pattern']) expect(example).toMatch(new RegExp(property['pattern'] as string));
          if (property['minimum'] !== undefined) expect(example).toBeGreaterThanOrEqual(property['minimum'] as number);
          if (property['maximum'] !== undefined) expect(example).toBeLessThanOrEqual(property['maximum'] as number);
        }
      }
    }
  });

  it('tells what a request must have and what an answer always has', async () => {
    const schemas = (await documentOf(management)).components?.schemas as Record<string, Schema>;
    expect(schemas['CreateSchedulerRequest']?.['required']).toEqual(['name', 'game', 'spec', 'maxSurge']);
    expect(schemas['Scheduler']?.['required']).toEqual([
      'name',
      'game',
      'state',
      'portRange',
      'createdAt',
      'maxSurge',
      'roomsReplicas',
      'spec',
      'forwarders',
      'annotations',
      'labels',
    ]);
    expect(schemas['Scheduler']?.properties?.['portRange']).toMatchObject({
      allOf: [{ $ref: '#/components/schemas/PortRange' }],
      nullable: true,
    });
    expect(schemas['RoomOccupancy']?.properties?.['downThreshold']).toMatchObject({
      type: 'number',
      default: 0.99,
      exclusiveMinimum: true,
    });
  });

  it('tells how to list operations', async () => {
    const listing = (await documentOf(management)).paths['/schedulers/{schedulerName}/operations']?.get;
    const parameters = Object.fromEntries(
      (listing?.parameters ?? []).flatMap((parameter) => ('name' in parameter ? [[parameter.name, parameter]] : [])),
    );
    expect(Object.keys(parameters)).toEqual(['schedulerName', 'orderBy', 'stage', 'page', 'perPage']);
    expect(parameters).toMatchObject({
      stage: { in: 'query', required: true, schema: { type: 'string', enum: ['pending', 'active', 'final'] } },
      orderBy: { in: 'query', required: false, schema: { type: 'string', default: 'createdAt desc' } },
      page: { in: 'query', required: false, schema: { type: 'integer', minimum: 1, default: 1 } },
      perPage: { in: 'query', required: false, schema: { type: 'integer', minimum: 1, maximum: 100, default: 15 } },
    });
  });

  it('tells how to list rooms, and that a room can be drained', async () => {
    const { paths } = await documentOf(management);
    expect(paths['/schedulers/{schedulerName}/rooms']?.get?.parameters).toMatchObject([
      { name: 'schedulerName', in: 'path', required: true },
      { name: 'status', in: 'query', required: false, schema: { type: 'string', enum: [...roomStatuses] } },
      { name: 'version', in: 'query', required: false },
      { name: 'page', in: 'query', required: false, schema: { type: 'integer', minimum: 1, default: 1 } },
      { name: 'perPage', in: 'query', required: false, schema: { minimum: 1, maximum: 1000, default: 100 } },
    ]);
    expect(paths['/schedulers/{schedulerName}/rooms/{roomName}']?.delete?.parameters).toMatchObject([
      { name: 'schedulerName', in: 'path', required: true },
      { name: 'roomName', in: 'path', required: true },
      { name: 'drain', in: 'query', required: false, schema: { type: 'boolean', default: false } },
    ]);
  });

  it('tells what the body of a plan can be, and how to say which', async () => {
    const plan = (await documentOf(management)).paths['/schedulers/{schedulerName}/plan']?.post;
    expect(plan?.parameters).toMatchObject([
      { name: 'schedulerName', in: 'path', required: true },
      { name: 'as', in: 'query', required: false, schema: { enum: ['patch', 'version'], default: 'patch' } },
    ]);
    expect(plan?.requestBody).toMatchObject({
      content: {
        'application/json': {
          schema: {
            anyOf: [
              { $ref: '#/components/schemas/PatchSchedulerRequest' },
              { $ref: '#/components/schemas/NewSchedulerVersionRequest' },
            ],
          },
        },
      },
    });
  });

  const always = ['200', '400', '403', '500', '503', '504'];
  it.each<[route: string, more: string[], codesOf400: number[]]>([
    ['GET /schedulers', [], [3]],
    ['POST /schedulers', ['409', '413'], [3, 3]],
    ['GET /schedulers/info', [], [3]],
    ['GET /schedulers/{schedulerName}', ['404'], [3]],
    ['POST /schedulers/{schedulerName}', ['404', '409', '413'], [3, 3, 9]],
    ['PATCH /schedulers/{schedulerName}', ['404', '409', '413'], [3, 3, 9]],
    ['PUT /schedulers/{schedulerName}', ['404', '409', '413'], [3, 9]],
    ['DELETE /schedulers/{schedulerName}', ['404', '413'], [3]],
    ['GET /schedulers/{schedulerName}/versions', ['404'], [3]],
    ['POST /schedulers/{schedulerName}/plan', ['404', '413'], [3]],
    ['GET /schedulers/{schedulerName}/rooms', ['404'], [3, 3]],
    ['GET /schedulers/{schedulerName}/rooms/{roomName}', ['404'], [3]],
    ['DELETE /schedulers/{schedulerName}/rooms/{roomName}', ['404', '413'], [3, 9]],
    // An unknown scheduler has no operations: no 404.
    ['GET /schedulers/{schedulerName}/operations', [], [3, 3]],
    ['GET /schedulers/{schedulerName}/operations/{operationID}', ['404'], [3]],
    ['GET /schedulers/{schedulerName}/operations/{operationID}/details', ['404'], [3]],
    ['POST /schedulers/{schedulerName}/operations/{operationID}/cancel', ['404', '409', '413'], [3]],
  ])('names the errors of %s, with when each comes', async (route, more, codesOf400) => {
    const [verb = '', path = ''] = route.split(' ');
    const responses = operationOf(await documentOf(management), verb, path).responses;
    expect(Object.keys(responses)).toEqual([...always, ...more].sort());
    for (const [status, { description, content }] of Object.entries(responses)) {
      const where = `${route} ${status}`;
      expect([where, description]).toEqual([where, expect.stringMatching(/\.$/)]);
      if (status === '200') continue;
      expect(content['application/json'].schema).toEqual({ $ref: '#/components/schemas/Error' });
      for (const example of examplesOf(content['application/json'])) {
        expect(errorStatuses).toContainEqual([example.code, Number(status)]);
      }
    }
    expect(examplesOf(responses['400']!.content['application/json']).map(({ code }) => code)).toEqual(codesOf400);
  });

  it('tells the two reasons for which a patch is a conflict', async () => {
    const { responses } = operationOf(await documentOf(management), 'PATCH', '/schedulers/{schedulerName}');
    expect(examplesOf(responses['409']!.content['application/json'])).toMatchObject([
      { code: 6, message: 'no change found to scheduler arena-eu' },
      { code: 10 },
    ]);
  });
});

interface ErrorContent {
  schema: object;
  example?: { code: number; message: string };
  examples?: Record<string, { summary: string; value: { code: number; message: string } }>;
}
type Responses = Record<string, { description: string; content: { 'application/json': ErrorContent } }>;

const errorStatuses = [...Object.values(errorTable), ...Object.values(httpErrors)].map(({ grpcCode, httpStatus }) => [
  grpcCode,
  httpStatus,
]);

function operationOf({ paths }: OpenAPIObject, verb: string, path: string): { responses: Responses } {
  const item = paths[path] as unknown as Record<string, { responses: Responses }>;
  return item[verb.toLowerCase()]!;
}

function examplesOf({ example, examples }: ErrorContent) {
  return example === undefined ? Object.values(examples ?? {}).map(({ value }) => value) : [example];
}
