import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { OpenAPIObject } from '@nestjs/swagger';
import { createHttpApplication } from '../../src/api/http/http-application';
import { ManagementApiModule, managementOpenApi } from '../../src/api/management/management-api.module';
import { RoomsApiModule, roomsOpenApi } from '../../src/api/rooms/rooms-api.module';
import { OperationsService } from '../../src/features/operations/operations.service';
import { RoomPingsService } from '../../src/features/rooms/room-pings.service';
import { SchedulersService } from '../../src/features/schedulers/schedulers.service';
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
        providers: [
          { provide: SchedulersService, useValue: {} },
          { provide: OperationsService, useValue: {} },
        ],
      }),
      { ...options, openApi: managementOpenApi },
    );
    rooms = await createHttpApplication(
      RoomsApiModule.register({ providers: [{ provide: RoomPingsService, useValue: {} }] }),
      { ...options, openApi: roomsOpenApi },
    );
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
      'DELETE /schedulers/{schedulerName} DeleteScheduler',
      'GET /schedulers/{schedulerName}/operations ListOperations',
      'GET /schedulers/{schedulerName}/operations/{operationID} GetOperation',
    ]);
    expect(await routes(rooms)).toEqual(['PUT /scheduler/{schedulerName}/rooms/{roomID}/ping UpdateRoomWithPing']);
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
          expect([where, type === 'number' && jsonType === 'integer' ? 'number' : jsonType]).toEqual([where, type]);
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
    // An unknown scheduler has no operations: no 404.
    expect(Object.keys(listing?.responses ?? {})).toEqual(['200', '400', '403', '500', '503', '504']);
  });

  it('names the errors of every route', async () => {
    const { paths } = await documentOf(management);
    const post = paths['/schedulers']?.post;
    expect(Object.keys(post?.responses ?? {})).toEqual(['200', '400', '403', '409', '413', '500', '503', '504']);
    expect(post?.responses['409']).toMatchObject({
      content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' }, example: { code: 6 } } },
    });
  });
});
