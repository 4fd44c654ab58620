import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import Ajv, { type ValidateFunction } from 'ajv';
import * as fc from 'fast-check';
import { fullExtensions } from '../../src/domain/scheduler/scheduler.fixture';
import { hostileTexts } from '../support/hostile-values';
import { startMaestroInProcess, type MaestroInProcess } from '../support/maestro-in-process';
import {
  escaped,
  OpenApiArbitraries,
  type ApiOperation,
  type OpenApiDocument,
  type Schema,
} from '../support/open-api-arbitraries';
import { sendHttp } from '../support/send-http';

/**
 * The management API over REST under requests made from its own OpenAPI document, well-meant and hostile. A failure prints the
 * seed and the path to it: `MAESTRO_FUZZ_SEED=… npx jest fuzz --selectProjects integration` makes the same requests again.
 * `MAESTRO_FUZZ_RUNS` makes more of them (default 150 for each call), without the limit of time.
 */
const seed = Number(process.env['MAESTRO_FUZZ_SEED'] ?? Date.now() % 2 ** 31);
const runs = Number(process.env['MAESTRO_FUZZ_RUNS'] ?? 150);
/** Of each of the calls, so that all stay within a minute on a slow machine. Milliseconds. */
const timeLimitMs = 3_000;
const bodyLimitBytes = 64 * 1024;

/** Code and status of every error that there is: `management.md` 1.3, and what only HTTP can say. 500 and its like are not among them. */
const errorRows = [
  '400 3',
  '400 9',
  '403 7',
  '404 5',
  '408 4',
  '409 6',
  '409 10',
  '413 8',
  '417 3',
  '429 8',
  '431 8',
  '501 12',
];

interface Request {
  verb: string;
  path: string;
  body?: Uint8Array;
}

describe('the management API over REST, whatever it is sent', () => {
  let maestro: MaestroInProcess;
  let url: string;
  let document: OpenApiDocument;
  let arbitraries: OpenApiArbitraries;
  let validators: Map<string, ValidateFunction>;
  let ids: { changing: string; idle: string };
  let stored: string;

  beforeAll(async () => {
    // No worker: what a request stores stays as it is.
    maestro = await startMaestroInProcess(['management-api'], {
      MAESTRO_API_BODYLIMITBYTES: String(bodyLimitBytes),
    });
    url = `http://127.0.0.1:${maestro.ports.management}`;
    document = JSON.parse((await sendHttp(`${url}/docs-json`, 'GET')).text) as OpenApiDocument;
    arbitraries = new OpenApiArbitraries(document);
    validators = new Map();
    ids = await settle();
    stored = await digest();
  }, 60_000);
  afterAll(() => maestro?.close(), 60_000);

  // What is there ------------------------------------------------------------------------------------------------------

  const tables = ['schedulers', 'scheduler_versions', 'operations', 'operation_events'];

  /** One scheduler at rest, with a room, one that changes its version, one that is being deleted; a copy of all to come back to. */
  async function settle(): Promise<{ changing: string; idle: string }> {
    for (const name of ['idle', 'changing', 'leaving'])
      await sendJson('POST', '/schedulers', { ...sampleRequest, name });
    await maestro.sql(`UPDATE maestro.operations SET status = 'finished', finished_at = clock_timestamp()`);
    await maestro.sql(`UPDATE maestro.schedulers SET state = 'in-sync'`);
    const changing = await sendJson('PATCH', '/schedulers/changing', { maxSurge: '20%' });
    await sendJson('DELETE', '/schedulers/leaving');
    const [idle] = await maestro.sql<{ id: string }>(`SELECT id FROM maestro.operations WHERE scheduler_name = 'idle'`);
    await maestro.rooms.createRoom({ id: 'idle-room', scheduler: 'idle', version: 'v1.0.0', validation: false });
    await maestro.rooms.markSynced();
    await maestro.sql('CREATE SCHEMA before');
    for (const table of tables) await maestro.sql(`CREATE TABLE before.${table} AS SELECT * FROM maestro.${table}`);
    return { changing: changing['operationId']!, idle: idle!.id };
  }

  async function restore(): Promise<void> {
    await maestro.sql('DELETE FROM maestro.operations');
    await maestro.sql('DELETE FROM maestro.schedulers');
    for (const table of tables) {
      await maestro.sql(`INSERT INTO maestro.${table} OVERRIDING SYSTEM VALUE SELECT * FROM before.${table}`);
    }
  }

  async function digest(): Promise<string> {
    const parts = tables.map(
      (table) => `SELECT '${table}' AS place, count(*), sum(hashtextextended(x::text, 0)) FROM maestro.${table} x`,
    );
    return JSON.stringify(await maestro.sql(parts.join(' UNION ALL ')));
  }

  async function sendJson(verb: string, path: string, body?: unknown): Promise<Record<string, string>> {
    const answer = await sendHttp(url + path, verb, body === undefined ? undefined : JSON.stringify(body));
    expect(answer.status).toBe(200);
    return JSON.parse(answer.text) as Record<string, string>;
  }

  // What must hold -----------------------------------------------------------------------------------------------------

  let last: Promise<unknown> = Promise.resolve();

  /** A run that its time limit cut off goes on; the next one must not change the tables under it. */
  function expectKept(request: Request, operation?: ApiOperation): Promise<void> {
    const run = last.then(() => expectAnswered(request, operation));
    last = run.catch(() => undefined);
    return run;
  }

  /** Sends a request, and expects of the answer what every answer promises. */
  async function expectAnswered({ verb, path, body }: Request, operation?: ApiOperation): Promise<void> {
    const linesBefore = maestro.log.lines.length;
    const answer = await sendHttp(url + path, verb, body);
    const hasChanged = (await digest()) !== stored;
    if (hasChanged) await restore();
    expect(hasChanged && (answer.status !== 200 || verb === 'GET')).toBe(false);
    expect(maestro.log.lines.slice(linesBefore).filter(({ level }) => level === 'error')).toEqual([]);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    if (verb === 'HEAD') return expect([400, 404, 431, 501]).toContain(answer.status);
    expect(answer.type).toBe('application/json');
    const json = JSON.parse(answer.text) as unknown;
    if (answer.status !== 200) expectError(answer.status, json);
    if (operation) expectDocumented(operation, answer.status, json);
  }

  function expectError(status: number, json: unknown): void {
    expect(json).toEqual({ code: expect.any(Number), message: expect.stringMatching(/./), details: [] });
    expect(errorRows).toContain(`${status} ${(json as { code: number }).code}`);
  }

  function expectDocumented(operation: ApiOperation, status: number, json: unknown): void {
    // Answered before it is known which call it is.
    if (status === 431 || (status === 404 && (json as { message: string }).message === 'Not Found')) return;
    const validate = validatorOf(operation, status);
    validate(json);
    expect(validate.errors ?? []).toEqual([]);
  }

  function validatorOf({ operationId, responses }: ApiOperation, status: number): ValidateFunction {
    const schema = responses[status]?.content?.['application/json']?.schema;
    if (schema === undefined) throw new Error(`${operationId} answers ${status}, which its document does not know`);
    const key = `${operationId} ${status}`;
    let validate = validators.get(key);
    if (validate === undefined) {
      const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
      validate = ajv.compile({ ...strict(schema), components: strictComponents() });
      validators.set(key, validate);
    }
    return validate;
  }

  function strictComponents() {
    const schemas = Object.entries(document.components.schemas).map(([name, schema]) => [name, strict(schema)]);
    return { schemas: Object.fromEntries(schemas) as object };
  }

  async function holds(request: fc.Arbitrary<Request>, operation?: ApiOperation): Promise<void> {
    const shown = request.map((each) => ({ ...each, [fc.toStringMethod]: () => toText(each) }));
    const property = fc.asyncProperty(shown, (each) => expectKept(each, operation));
    await fc.assert(property, {
      seed,
      numRuns: runs,
      ...(process.env['MAESTRO_FUZZ_RUNS'] === undefined ? { interruptAfterTimeLimit: timeLimitMs } : {}),
    });
  }

  // Requests -----------------------------------------------------------------------------------------------------------

  const rawSegments = [
    '%',
    '%zz',
    '%ff',
    '%00',
    '%ED%A0%80',
    '..',
    '.',
    '%2e%2e',
    '%2F',
    'a;b=c',
    '%25',
    'x'.repeat(20_000),
  ];
  const hostileSegment = fc.oneof(
    fc.constantFrom(...hostileTexts.map(escaped), ...rawSegments),
    fc.string({ minLength: 1, maxLength: 20, unit: 'binary' }).map(escaped),
  );

  /** What stands for a variable of a path: mostly something that there is. */
  function segmentOf(variable: string): fc.Arbitrary<string> {
    const known: Record<string, string[]> = {
      schedulerName: ['idle', 'idle', 'idle', 'changing', 'leaving', 'nobody'],
      roomName: ['idle-room', 'idle-room', 'nothing'],
      operationID: [ids.changing, ids.idle, '00000000-0000-4000-8000-000000000000'],
    };
    return fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom(...known[variable]!) },
      { weight: 1, arbitrary: hostileSegment },
    );
  }

  function pathOf(template: string): fc.Arbitrary<string> {
    const variables = [...template.matchAll(/\{(\w+)\}/g)].map(([, variable]) => variable!);
    return fc
      .tuple(...variables.map(segmentOf))
      .map((segments) => segments.reduce((path, segment) => path.replace(/\{\w+\}/, () => segment), template));
  }

  function requestOf(template: string, verb: string, operation: ApiOperation): fc.Arbitrary<Request> {
    const schema = operation.requestBody?.content['application/json']?.schema;
    const example = operation.operationId === 'PatchScheduler' ? samplePatch : sampleRequest;
    const query = fc.oneof(
      { weight: 1, arbitrary: fc.constant('') },
      { weight: 2, arbitrary: arbitraries.query(operation) },
    );
    return (
      fc
        .tuple(
          pathOf(template),
          query,
          schema ? fc.option(arbitraries.body(schema, example), { freq: 20, nil: undefined }) : fc.constant(undefined),
        )
        .map(([path, parameters, body]) => ({
          verb: verb.toUpperCase(),
          path: parameters === '' ? path : `${path}?${parameters}`,
          ...(body === undefined ? {} : { body }),
        }))
        // Another call, whatever is made of its document.
        .filter(({ path }) => operation.operationId !== 'GetScheduler' || !/^\/schedulers\/info(\?|$)/.test(path))
    );
  }

  // The document is read before the server runs, so that each call of it is a test of its own.
  const committed = JSON.parse(
    readFileSync(resolve(__dirname, '../../docs/openapi/management.json'), 'utf8'),
  ) as OpenApiDocument;
  const calls = Object.entries(committed.paths).flatMap(([template, item]) =>
    Object.entries(item).map(([verb, { operationId }]) => [operationId, verb, template] as const),
  );

  it.each(calls)(
    'keeps its promises for %s (%s %s)',
    async (_id, verb, template) => {
      const operation = document.paths[template]?.[verb];
      if (operation === undefined) throw new Error('the committed document is not what is served');
      await holds(requestOf(template, verb, operation), operation);
    },
    600_000,
  );

  it('keeps them for any verb on any path', async () => {
    const verb = fc.constantFrom(
      'GET',
      'HEAD',
      'POST',
      'PUT',
      'PATCH',
      'DELETE',
      'OPTIONS',
      'TRACE',
      'PROPFIND',
      'PURGE',
    );
    const templates = Object.keys(committed.paths);
    const anyPath = fc
      .array(fc.oneof(fc.constantFrom('schedulers', 'info', 'idle', 'operations', 'versions', ''), hostileSegment), {
        maxLength: 5,
      })
      .map((segments) => `/${segments.join('/')}`);
    const path = fc.oneof(fc.constantFrom(...templates).chain(pathOf), anyPath);
    const body = fc.option(fc.uint8Array({ maxLength: 40 }), { nil: undefined });
    const known = new RegExp(`^(${templates.map((template) => template.replace(/\{\w+\}/g, '[^/]+')).join('|')})$`);
    const request = fc
      .record({ verb, path, body })
      // The headers of one that is too long are not read, so its verb is unknown, and HEAD gets the body of any other.
      .filter((each) => each.verb !== 'HEAD' || each.path.length < 10_000)
      // What is a call is the matter of the tests above.
      .filter((each) => !known.test(each.path) || ['HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'PURGE'].includes(each.verb))
      .map(({ body: sent, ...rest }) => (sent === undefined ? rest : { ...rest, body: sent }));
    await holds(request);
  }, 600_000);

  it.each(calls.filter(([, verb]) => verb !== 'get'))(
    'refuses a body over the limit of %s (%s %s) with 413, and stores nothing',
    async (_id, verb, template) => {
      const path = template
        .replace('{schedulerName}', 'idle')
        .replace('{operationID}', ids.changing)
        .replace('{roomName}', 'idle-room');
      const body = JSON.stringify({ ...sampleRequest, name: 'large', labels: { a: 'x'.repeat(bodyLimitBytes) } });
      const answer = await sendHttp(url + path, verb.toUpperCase(), body);
      expect(answer.status).toBe(413);
      expectError(answer.status, JSON.parse(answer.text));
      expect(await digest()).toBe(stored);
    },
  );

  it('still serves after all of this, and has nothing to complain of', async () => {
    expect(await sendJson('GET', '/schedulers')).toMatchObject({ schedulers: { length: 3 } });
    const ready = await sendHttp(`http://127.0.0.1:${maestro.ports.internal}/readyz`, 'GET');
    expect(ready).toMatchObject({ status: 200, text: 'OK' });
    expect(maestro.log.lines.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([]);
  });
});

function toText({ verb, path, body }: Request): string {
  return `${verb} ${path}${body === undefined ? '' : ` ${JSON.stringify(Buffer.from(body).toString())}`}`;
}

/**
 * As JSON Schema has it, where null is a type and an exclusive bound a number. v10's clients refuse fields that they do not
 * know, so an answer has none that the document lacks.
 */
function strict({ nullable = false, exclusiveMinimum, exclusiveMaximum, ...schema }: Schema): object {
  const { properties, items, additionalProperties, minimum, maximum } = schema;
  const result = {
    ...schema,
    ...(exclusiveMinimum ? { exclusiveMinimum: minimum } : {}),
    ...(exclusiveMaximum ? { exclusiveMaximum: maximum } : {}),
    ...(properties
      ? {
          properties: Object.fromEntries(Object.entries(properties).map(([name, each]) => [name, strict(each)])),
          additionalProperties: false,
        }
      : {}),
    ...(items ? { items: strict(items) } : {}),
    ...(typeof additionalProperties === 'object' ? { additionalProperties: strict(additionalProperties) } : {}),
  };
  return nullable ? { anyOf: [result, { type: 'null' }] } : result;
}

/** Something of everything, so that each part can be replaced. */
const sampleRequest = {
  name: 'fresh',
  game: 'g',
  maxSurge: '10%',
  roomsReplicas: 2,
  portRange: { start: 40_000, end: 41_000 },
  spec: {
    version: 'v1.0.0',
    terminationGracePeriod: '100.5s',
    toleration: 'games',
    affinity: 'games',
    restartPolicy: 'Never',
    containers: [
      {
        name: 'room',
        image: 'room:1',
        imagePullPolicy: 'Always',
        command: ['./room', '-v'],
        environment: [
          { name: 'A', value: 'b' },
          { name: 'B', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } },
          { name: 'C', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
        ],
        requests: { memory: '20Mi', cpu: '10m' },
        limits: { memory: '20Mi', cpu: '10m' },
        ports: [{ name: 'game', protocol: 'udp', port: 7777, hostPort: 0 }],
      },
    ],
  },
  autoscaling: {
    enabled: true,
    min: 1,
    max: 10,
    cooldown: 60,
    policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.5, downThreshold: 0.9 } } },
  },
  forwarders: [
    {
      name: 'f',
      enable: true,
      type: 'gRPC',
      address: 'f:80',
      options: { timeout: '1000', metadata: { a: [1, { b: null }] } },
    },
  ],
  annotations: { a: 'b' },
  labels: { c: 'd' },
  matchAllocation: { maxMatches: 4 },
  extensions: fullExtensions(),
};

const samplePatch = {
  maxSurge: '20%',
  roomsReplicas: 1,
  portRange: sampleRequest.portRange,
  spec: {
    terminationGracePeriod: '1s',
    toleration: '',
    containers: [{}, { ...sampleRequest.spec.containers[0], name: 'side' }],
  },
  autoscaling: { max: -1, policy: sampleRequest.autoscaling.policy },
  forwarders: sampleRequest.forwarders,
  annotations: {},
  labels: { e: 'f' },
  matchAllocation: { maxMatches: 2 },
  extensions: {
    clear: ['annotations', 'spec.containers[0].command', 'extensions.drain'],
    rollout: fullExtensions().rollout,
  },
};
