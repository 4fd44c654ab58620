import {
  answers,
  answersExactly,
  patterns,
  refuses,
  type Answer,
  type CodeName,
  type ConformanceCase,
  type ConformanceGroup,
  type ExpectedMap,
  type Json,
} from '../conformance-case';
import { sample, sampleAutoscaling, sampleForwarder, type Changes } from '../sample-scheduler';
import { aScheduler, is, isActive } from './steps';

const ofJson = 'it is about JSON';
const byName = { schedulerName: '{scheduler}' };

const post = (body: string | Record<string, Json>, answer: Answer, headers: Record<string, string> = {}) => ({
  request: 'POST /schedulers',
  body: typeof body === 'string' ? body : JSON.stringify(body),
  headers,
  ...answer,
});
const created: Answer = { answers: { scheduler: { name: '{scheduler}' } } };
const refused = (message: string | RegExp, code: CodeName = 'INVALID_ARGUMENT'): Answer => ({
  refuses: { code, message },
});
const refusesJson = (says: string, body: string, message: RegExp, differs?: string): ConformanceCase => ({
  says: `refuses ${says}`,
  restOnly: ofJson,
  ...(differs === undefined ? {} : { differs }),
  steps: [post(body, refused(message))],
});
/** JSON that protobuf-es would not write from the sample: numbers as text and the like. */
const reads = (says: string, changes: Changes, scheduler: ExpectedMap): ConformanceCase => ({
  says: `reads ${says}`,
  restOnly: ofJson,
  steps: [post(sample(changes), { answers: { scheduler } })],
});
const malformed = (field: string): RegExp => new RegExp(`^malformed request: field "${field}": `);
const occupancy = (readyTarget: Json): Changes => ({
  autoscaling: {
    ...sampleAutoscaling,
    policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget, downThreshold: 0.5 } } },
  },
});
const shownTarget = (readyTarget: number): ExpectedMap => ({
  autoscaling: { policy: { parameters: { roomOccupancy: { readyTarget } } } },
});
const withTimeout = (timeout: Json): Changes => ({
  forwarders: [{ ...sampleForwarder, options: { timeout, metadata: {} } }],
});
const shownTimeout = (timeout: string): ExpectedMap => ({ forwarders: [{ options: { timeout } }] });

const writing: ConformanceGroup = {
  section: '1.2',
  title: 'JSON: what answers look like',
  cases: [
    {
      says: 'writes camelCase and everything that is not optional: zeros, [] and {} for what is empty, null for a message that is unset',
      steps: [
        answersExactly(
          'CreateScheduler',
          sample({ portRange: undefined, 'spec.containers[0].ports[0].hostPortRange': { start: 1000, end: 2000 } }),
          {
            scheduler: {
              name: '{scheduler}',
              game: '{game}',
              state: 'creating',
              portRange: null,
              createdAt: patterns.time,
              maxSurge: '10%',
              roomsReplicas: 0,
              spec: {
                version: 'v1.0.0',
                terminationGracePeriod: '100s',
                containers: [
                  {
                    name: 'room',
                    image: 'room:1',
                    imagePullPolicy: 'Always',
                    command: [],
                    environment: [],
                    requests: { memory: '20Mi', cpu: '10m' },
                    limits: { memory: '20Mi', cpu: '10m' },
                    ports: [
                      {
                        name: 'game',
                        protocol: 'udp',
                        port: 7777,
                        hostPort: 0,
                        hostPortRange: { start: 1000, end: 2000 },
                      },
                    ],
                  },
                ],
                toleration: '',
                affinity: '',
                restartPolicy: 'Never',
              },
              forwarders: [],
              annotations: {},
              labels: {},
              matchAllocation: { maxMatches: 1 },
            },
          },
        ),
      ],
    },
    {
      says: 'leaves out what is optional and unset: autoscaling, a host port range, the source of a variable, and an empty value',
      steps: [
        answers(
          'CreateScheduler',
          sample({
            'spec.containers[0].environment': [
              { name: 'A', value: '' },
              { name: 'B', value: 'b' },
            ],
          }),
          {},
        ),
        answersExactly('GetScheduler', byName, {
          scheduler: {
            name: '{scheduler}',
            game: '{game}',
            state: /^(creating|in-sync)$/,
            portRange: { start: 40000, end: 60000 },
            createdAt: patterns.time,
            maxSurge: '10%',
            roomsReplicas: 0,
            spec: {
              version: 'v1.0.0',
              terminationGracePeriod: '100s',
              containers: [
                {
                  name: 'room',
                  image: 'room:1',
                  imagePullPolicy: 'Always',
                  command: [],
                  environment: [{ name: 'A' }, { name: 'B', value: 'b' }],
                  requests: { memory: '20Mi', cpu: '10m' },
                  limits: { memory: '20Mi', cpu: '10m' },
                  ports: [{ name: 'game', protocol: 'udp', port: 7777, hostPort: 0 }],
                },
              ],
              toleration: '',
              affinity: '',
              restartPolicy: 'Never',
            },
            forwarders: [],
            annotations: {},
            labels: {},
            matchAllocation: { maxMatches: 1 },
          },
        }),
      ],
    },
    {
      says: 'shows a policy as an object whose parameters hold only what is set',
      steps: [
        answers('CreateScheduler', sample({ autoscaling: sampleAutoscaling }), {}),
        answersExactly(
          'GetSchedulersInfo',
          { game: '{game}' },
          {
            schedulers: [
              {
                name: '{scheduler}',
                game: '{game}',
                state: patterns.text,
                roomsReplicas: 0,
                roomsReady: 0,
                roomsOccupied: 0,
                roomsPending: 0,
                roomsTerminating: 0,
                autoscaling: { enabled: false, min: 1, max: 10, cooldown: 0 },
              },
            ],
          },
        ),
        is({ autoscaling: { policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.5 } } } } }),
      ],
    },
    {
      says: 'writes 64-bit integers as text, 32-bit floats in their shortest form, and a Struct as the object that it is',
      steps: [
        answers(
          'CreateScheduler',
          sample({
            ...occupancy(0.1),
            forwarders: [
              {
                ...sampleForwarder,
                options: { timeout: '9007199254740991', metadata: { a: [1.5, null, { b: 'é' }], c: true } },
              },
            ],
          }),
          {
            scheduler: {
              ...shownTarget(0.1),
              forwarders: [
                { options: { timeout: '9007199254740991', metadata: { a: [1.5, null, { b: 'é' }], c: true } } },
              ],
            },
          },
        ),
      ],
    },
    ...(
      [
        ['100s', '100s'],
        ['1.5s', '1.500s'],
        ['0.000015s', '0.000015s'],
        ['0.000000015s', '0.000000015s'],
      ] as const
    ).map(([given, shown]) => ({
      says: `writes the duration ${given} as ${shown}: seconds with 0, 3, 6 or 9 digits`,
      steps: [
        answers('CreateScheduler', sample({ 'spec.terminationGracePeriod': given }), {
          scheduler: { spec: { terminationGracePeriod: shown } },
        }),
      ],
    })),
    {
      says: 'answers success with 200, a creation too, and always with Content-Type application/json',
      restOnly: 'it is about HTTP',
      steps: [post(sample(), created)],
    },
  ],
};

const reading: ConformanceGroup = {
  section: '1.2',
  title: 'JSON: what is read',
  cases: [
    {
      says: 'reads names in snake_case too',
      restOnly: ofJson,
      steps: [
        post(
          {
            name: '{scheduler}',
            game: '{game}',
            max_surge: '10%',
            rooms_replicas: 0,
            port_range: { start: 40000, end: 60000 },
            match_allocation: { max_matches: 3 },
            spec: {
              termination_grace_period: '5s',
              restart_policy: 'Always',
              containers: [
                {
                  name: 'room',
                  image: 'room:1',
                  image_pull_policy: 'Never',
                  requests: { memory: '1Mi', cpu: '1m' },
                  limits: { memory: '1Mi', cpu: '1m' },
                  environment: [{ name: 'A', value_from: { secret_key_ref: { name: 's', key: 'k' } } }],
                },
              ],
            },
          },
          {
            answers: {
              scheduler: {
                matchAllocation: { maxMatches: 3 },
                spec: {
                  terminationGracePeriod: '5s',
                  restartPolicy: 'Always',
                  containers: [
                    {
                      imagePullPolicy: 'Never',
                      environment: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }],
                    },
                  ],
                },
              },
            },
          },
        ),
      ],
    },
    reads('past unknown fields', { unknown: { at: ['any', 'depth'] }, 'spec.nope': 1 }, { name: '{scheduler}' }),
    reads(
      'null as not set',
      { roomsReplicas: null, autoscaling: null, forwarders: null, labels: null },
      {
        roomsReplicas: 0,
        labels: {},
      },
    ),
    ...(['6', 6, '6.0', '0.6e1'] as const).map((given) =>
      reads(
        `the integer ${JSON.stringify(given)}`,
        { matchAllocation: { maxMatches: given } },
        { matchAllocation: { maxMatches: 6 } },
      ),
    ),
    {
      says: 'reads an integral number with a fraction or an exponent',
      restOnly: ofJson,
      steps: [
        post(
          '{"name":"{scheduler}","roomsReplicas":1e2,"matchAllocation":{"maxMatches":6.0}}',
          refused(/^Validation Error:\n(?!.*(RoomsReplicas|MaxMatches))/s),
        ),
      ],
    },
    reads('a 64-bit integer as a number', withTimeout(1500), shownTimeout('1500')),
    reads('a 64-bit integer as text', withTimeout('1500'), shownTimeout('1500')),
    reads('a float as text', occupancy('0.25'), shownTarget(0.25)),
    refusesJson('a number where text belongs', '{"maxSurge":40}', malformed('maxSurge')),
    refusesJson('text where a number belongs', '{"roomsReplicas":"many"}', malformed('roomsReplicas')),
    refusesJson('a fraction where an integer belongs', '{"roomsReplicas":1.5}', malformed('roomsReplicas')),
    refusesJson('an integer beyond 32 bits', '{"roomsReplicas":2147483648}', malformed('roomsReplicas')),
    refusesJson('an object where a list belongs', '{"spec":{"containers":{}}}', malformed('spec.containers')),
    refusesJson('null in a list', '{"spec":{"containers":[null]}}', malformed('spec.containers\\[0\\]')),
    refusesJson(
      'a duration in minutes',
      '{"spec":{"terminationGracePeriod":"1m"}}',
      malformed('spec.terminationGracePeriod'),
    ),
    refusesJson(
      'a duration without a unit',
      '{"spec":{"terminationGracePeriod":"100"}}',
      malformed('spec.terminationGracePeriod'),
    ),
    refusesJson(
      'a duration as a number',
      '{"spec":{"terminationGracePeriod":100}}',
      malformed('spec.terminationGracePeriod'),
    ),
    refusesJson('a field given by both of its names', '{"maxSurge":"1","max_surge":"1"}', malformed('maxSurge')),
    refusesJson('a field given twice', '{"game":"a","game":"b"}', /^malformed JSON: field "game" is given twice/),
    refusesJson('malformed JSON', '{"game":', /^malformed JSON: /),
    refusesJson('a form', 'name=arena&game=g', /^malformed JSON: /),
    refusesJson('a list', '[]', /^malformed request/),
    refusesJson(
      'a NUL character in a text',
      '{"game":"a\\u0000b"}',
      /^malformed request: field "game": text must not contain a NUL character$/,
      'v10 answers 500, because PostgreSQL cannot hold it.',
    ),
    {
      says: 'reads the first JSON value only',
      restOnly: ofJson,
      steps: [post(`${JSON.stringify(sample())} and more`, created)],
    },
    {
      says: 'reads an empty body as the empty message',
      restOnly: ofJson,
      steps: [
        { request: 'POST /schedulers', ...refused(/^Validation Error:\nScheduler\.Name: Name is a required field\n/) },
        {
          request: 'POST /schedulers/{scheduler}',
          ...refused(/^Validation Error:\nScheduler\.Game: Game is a required field\n/),
        },
        {
          request: 'PATCH /schedulers/{scheduler}',
          ...refused('no change found to scheduler {scheduler}', 'ALREADY_EXISTS'),
        },
      ],
    },
    ...(
      [
        ['no Content-Type', {}],
        ['the Content-Type of a form', { 'content-type': 'application/x-www-form-urlencoded' }],
        ['the Content-Type of a text', { 'content-type': 'text/plain' }],
        ['a Content-Type that is none', { 'content-type': ';;=' }],
      ] as const
    ).map(([what, headers]) => ({
      says: `reads a body with ${what} as JSON`,
      restOnly: 'it is about HTTP',
      steps: [post(sample(), created, headers)],
    })),
    {
      says: 'tolerates a body on GET and DELETE and on a cancellation, and ignores it',
      restOnly: 'it is about HTTP',
      steps: [
        post(sample({ name: '{stuck}' }), { answers: {} }),
        { request: 'GET /schedulers/{stuck}', body: 'not JSON', answers: { scheduler: { name: '{stuck}' } } },
        {
          request: 'GET /schedulers/{stuck}/operations?stage=active',
          body: '{"stage":"final"}',
          answers: { operations: [{ definitionName: 'create_scheduler' }] },
          keep: { creation: 'operations.0.id' },
          eventually: true,
        },
        {
          request: 'POST /schedulers/{stuck}/operations/{creation}/cancel',
          body: '{"schedulerName":"other"}',
          answersExactly: {},
        },
        {
          request: 'DELETE /schedulers/{stuck}',
          body: '{"schedulerName":"other"}',
          answers: { operationId: patterns.uuid },
        },
      ],
    },
    {
      says: 'takes what the path names, whatever the body says',
      restOnly: 'an rpc has no path',
      steps: [
        ...aScheduler(),
        {
          request: 'PATCH /schedulers/{scheduler}',
          body: '{"name":"{other}","maxSurge":"20%"}',
          answers: { operationId: patterns.uuid },
        },
        isActive('v1.1.0'),
        is({ maxSurge: '20%' }),
        refuses('GetScheduler', { schedulerName: '{other}' }, 'NOT_FOUND', 'scheduler {other} not found'),
      ],
    },
  ],
};

const operations = 'GET /schedulers/{scheduler}/operations';
const queries: ConformanceGroup = {
  section: '1.2',
  title: 'Query parameters',
  cases: [
    {
      says: 'reads parameters by their JSON names and by those of the .proto file',
      restOnly: 'an rpc has no query',
      steps: [
        { request: `${operations}?stage=final&perPage=3&orderBy=createdAt%20asc`, answers: { pageSize: 3 } },
        { request: `${operations}?stage=final&per_page=3&order_by=createdAt+asc`, answers: { pageSize: 3 } },
      ],
    },
    {
      says: 'ignores unknown parameters',
      restOnly: 'an rpc has no query',
      steps: [{ request: `${operations}?stage=final&verbose=1`, answers: { operations: [] } }],
    },
    {
      says: 'refuses a parameter given twice',
      restOnly: 'an rpc has no query',
      steps: [
        { request: `${operations}?stage=final&stage=active`, ...refused(/^too many values for field "stage"/) },
        { request: `${operations}?stage=final&perPage=1&per_page=1`, ...refused(/^too many values for field /) },
      ],
    },
    {
      says: 'refuses a number that is none',
      restOnly: 'an rpc has no query',
      steps: [
        { request: `${operations}?stage=final&page=x`, ...refused(/^parsing field "page": /) },
        { request: `${operations}?stage=final&page=-1`, ...refused(/^parsing field "page": /) },
      ],
    },
  ],
};

export const jsonMapping: readonly ConformanceGroup[] = [writing, reading, queries];
