import { silentImage } from '../../support/pretend-names';
import {
  answers,
  answersExactly,
  patterns,
  refuses,
  type ConformanceCase,
  type ConformanceGroup,
  type JsonMap,
  type Step,
} from '../conformance-case';
import { sample } from '../sample-scheduler';
import { aScheduler, ends, is, isActive, patchesTo } from './steps';

const byName = { schedulerName: '{scheduler}' };
const ofStuck = { schedulerName: '{stuck}' };
const someId = '00000000-0000-4000-8000-000000000000';

/** Its creation is in progress and stays so. */
const aStuckScheduler: Step[] = [
  answers('CreateScheduler', sample({ name: '{stuck}' }), {}, { given: 'a scheduler whose creation never ends' }),
  answers(
    'ListOperations',
    { ...ofStuck, stage: 'active' },
    { total: 1 },
    { given: 'and is in progress', eventually: true, keep: { creation: 'operations.0.id' } },
  ),
];
/** Six operations that ended: its creation, and two for each patch. */
const aBusyScheduler: Step[] = [
  ...aScheduler(),
  ...patchesTo('v1.1.0', { maxSurge: '20%' }),
  ...patchesTo('v1.2.0', { maxSurge: '30%' }),
];

const listsFinal = (query: JsonMap, total: number, ...definitions: string[]): Step =>
  answers(
    'ListOperations',
    { ...byName, stage: 'final', ...query },
    {
      total,
      operations: definitions.map((definitionName) => ({ definitionName, status: 'finished' })),
    },
  );
const refusesQuery = (says: string, query: JsonMap, message: string): ConformanceCase => ({
  says: `refuses ${says}`,
  steps: [refuses('ListOperations', { ...byName, stage: 'final', ...query }, 'INVALID_ARGUMENT', message)],
});

const [creation, change, toggle] = [
  'create_scheduler',
  'create_new_scheduler_version',
  'switch_active_version',
] as const;

const listing: ConformanceGroup = {
  section: '1.7',
  title: 'ListOperations',
  cases: [
    {
      says: 'lists what is pending',
      steps: [
        ...aStuckScheduler,
        answers('SwitchActiveVersion', { ...ofStuck, version: 'v1.0.0' }, {}, { keep: { change: 'operationId' } }),
        answersExactly(
          'ListOperations',
          { ...ofStuck, stage: 'pending' },
          {
            page: 1,
            pageSize: 1,
            total: 1,
            operations: [
              {
                id: '{change}',
                status: 'pending',
                definitionName: 'switch_active_version',
                schedulerName: '{stuck}',
                createdAt: patterns.time,
              },
            ],
          },
        ),
      ],
    },
    {
      says: 'lists what is in progress, with its lease in whole seconds',
      steps: [
        ...aStuckScheduler,
        answersExactly(
          'ListOperations',
          { ...ofStuck, stage: 'active' },
          {
            page: 1,
            pageSize: 1,
            total: 1,
            operations: [
              {
                id: '{creation}',
                status: 'in_progress',
                definitionName: 'create_scheduler',
                lease: { ttl: patterns.timeInSeconds },
                schedulerName: '{stuck}',
                createdAt: patterns.time,
              },
            ],
          },
        ),
      ],
    },
    {
      says: 'lists a change of version that only waits for its room as in progress, with a lease',
      steps: [
        ...aScheduler(),
        answers('PatchScheduler', { name: '{scheduler}', spec: { containers: [{ image: silentImage }] } }, {}),
        answers(
          'ListOperations',
          { ...byName, stage: 'active' },
          { operations: [{ definitionName: change, status: 'in_progress', lease: { ttl: patterns.timeInSeconds } }] },
          { eventually: true },
        ),
      ],
    },
    {
      says: 'lists what has ended, newest first, without leases',
      steps: [
        ...aScheduler(),
        answersExactly(
          'ListOperations',
          { ...byName, stage: 'final' },
          {
            page: 1,
            pageSize: 15,
            total: 1,
            operations: [
              {
                id: patterns.uuid,
                status: 'finished',
                definitionName: creation,
                schedulerName: '{scheduler}',
                createdAt: patterns.time,
              },
            ],
          },
        ),
      ],
    },
    {
      says: 'orders by creation, newest first unless asked otherwise',
      steps: [
        ...aBusyScheduler,
        listsFinal({}, 5, toggle, change, toggle, change, creation),
        listsFinal({ orderBy: 'createdAt' }, 5, toggle, change, toggle, change, creation),
        listsFinal({ orderBy: 'createdAt desc' }, 5, toggle, change, toggle, change, creation),
        listsFinal({ orderBy: 'createdAt asc' }, 5, creation, change, toggle, change, toggle),
        listsFinal({ orderBy: '  createdAt   asc ' }, 5, creation, change, toggle, change, toggle),
      ],
    },
    {
      says: 'pages what has ended; past the end is an empty page',
      steps: [
        ...aBusyScheduler,
        answers(
          'ListOperations',
          { ...byName, stage: 'final', page: 1, perPage: 3 },
          { page: 1, pageSize: 3, total: 5 },
        ),
        listsFinal({ page: 1, perPage: 3 }, 5, toggle, change, toggle),
        listsFinal({ page: 2, perPage: 3 }, 5, change, creation),
        listsFinal({ page: 3, perPage: 3 }, 5),
        listsFinal({ page: 1, perPage: 2, orderBy: 'createdAt asc' }, 5, creation, change),
        listsFinal({ page: 4294967295, perPage: 100 }, 5),
      ],
    },
    {
      says: 'answers an empty list for an unknown scheduler, with numbers that are 0',
      steps: [
        ...['pending', 'active'].map((stage) =>
          answersExactly('ListOperations', { ...byName, stage }, { page: 1, pageSize: 0, total: 0, operations: [] }),
        ),
        answersExactly(
          'ListOperations',
          { ...byName, stage: 'final' },
          { page: 1, pageSize: 15, total: 0, operations: [] },
        ),
      ],
    },
    refusesQuery('another field than createdAt', { orderBy: 'status' }, 'invalid sorting field: status'),
    refusesQuery(
      'created_at, the name in the database',
      { orderBy: 'created_at' },
      'invalid sorting field: created_at',
    ),
    refusesQuery('createdAt in other letters', { orderBy: 'CreatedAt' }, 'invalid sorting field: CreatedAt'),
    refusesQuery('another order than asc and desc', { orderBy: 'createdAt up' }, 'invalid sorting order: up'),
    refusesQuery('more than field and order', { orderBy: 'createdAt asc id' }, 'invalid sorting parameters number'),
    refusesQuery('a page of 0', { page: 0 }, 'page must be greater than 0'),
    refusesQuery('pages of no operations', { perPage: 0 }, 'page size must be between 0 and 100'),
    refusesQuery('pages of more than 100', { perPage: 101 }, 'page size must be between 0 and 100'),
    refusesQuery('an unknown stage', { stage: 'done' }, 'invalid stage filter: done'),
    refusesQuery('no stage', { stage: '' }, 'invalid stage filter: '),
    ...['pending', 'active'].flatMap((stage) =>
      ([{ page: 1 }, { perPage: 10 }] as JsonMap[]).map((paging) =>
        refusesQuery(
          `${Object.keys(paging)[0]} with the stage ${stage}`,
          { stage, ...paging },
          `there is no pagination filter implemented for ${stage} stage`,
        ),
      ),
    ),
    refusesQuery('the order before the page', { orderBy: 'id', page: 0 }, 'invalid sorting field: id'),
    refusesQuery('the page before the stage', { page: 0, stage: 'done' }, 'page must be greater than 0'),
  ],
};

const getting: ConformanceGroup = {
  section: '1.7',
  title: 'GetOperation',
  cases: [
    {
      says: 'tells input and history, and no lease',
      steps: [
        ...aStuckScheduler,
        answers('DeleteScheduler', ofStuck, {}, { keep: { deletion: 'operationId' } }),
        answersExactly(
          'GetOperation',
          { ...ofStuck, operationId: '{creation}' },
          {
            operation: {
              id: '{creation}',
              status: 'in_progress',
              definitionName: 'create_scheduler',
              schedulerName: '{stuck}',
              createdAt: patterns.time,
              input: {
                scheduler: {
                  Name: '{stuck}',
                  Game: '{game}',
                  State: 'creating',
                  RollbackVersion: '',
                  Spec: {
                    Version: 'v1.0.0',
                    TerminationGracePeriod: 100_000_000_000,
                    Containers: [
                      {
                        Name: 'room',
                        Image: 'room:1',
                        ImagePullPolicy: 'Always',
                        Command: [],
                        Environment: [],
                        Requests: { Memory: '20Mi', CPU: '10m' },
                        Limits: { Memory: '20Mi', CPU: '10m' },
                        Ports: [{ Name: 'game', Protocol: 'udp', Port: 7777, HostPortRange: null, HostPort: 0 }],
                      },
                    ],
                    Toleration: '',
                    Affinity: '',
                    RestartPolicy: 'Never',
                  },
                  Autoscaling: null,
                  PortRange: { Start: 40000, End: 60000 },
                  RoomsReplicas: 0,
                  CreatedAt: patterns.text,
                  LastDownscaleAt: '0001-01-01T00:00:00Z',
                  MaxSurge: '10%',
                  Forwarders: [],
                  Annotations: {},
                  Labels: {},
                  MatchAllocation: { MaxMatches: 1 },
                },
              },
              executionHistory: [
                { createdAt: patterns.time, event: 'Created' },
                { createdAt: patterns.time, event: 'Starting operation' },
              ],
            },
          },
        ),
        answers(
          'GetOperation',
          { ...ofStuck, operationId: '{deletion}' },
          {
            operation: {
              definitionName: 'delete_scheduler',
              status: 'pending',
              executionHistory: [{ event: 'Created' }],
            },
          },
        ),
      ],
    },
    {
      says: 'shows {} as the input of an operation without parameters',
      steps: [
        ...aStuckScheduler,
        answers('DeleteScheduler', ofStuck, {}, { keep: { deletion: 'operationId' } }),
        answersExactly(
          'GetOperation',
          { ...ofStuck, operationId: '{deletion}' },
          {
            operation: {
              id: '{deletion}',
              status: 'pending',
              definitionName: 'delete_scheduler',
              schedulerName: '{stuck}',
              createdAt: patterns.time,
              input: {},
              executionHistory: [{ createdAt: patterns.time, event: 'Created' }],
            },
          },
        ),
      ],
    },
    {
      says: 'knows no unknown operation, whether its id looks like one or not, nor one of another scheduler',
      steps: [
        ...aStuckScheduler,
        ...[someId, 'nonsense', "'; --"].map((operationId) =>
          refuses(
            'GetOperation',
            { ...ofStuck, operationId },
            'NOT_FOUND',
            `operation ${operationId} not found in scheduler {stuck}`,
          ),
        ),
        refuses(
          'GetOperation',
          { ...byName, operationId: '{creation}' },
          'NOT_FOUND',
          'operation {creation} not found in scheduler {scheduler}',
        ),
      ],
    },
    {
      says: 'still tells the operations of a scheduler that is gone',
      steps: [
        ...aScheduler(),
        answers('DeleteScheduler', byName, {}, { keep: { deletion: 'operationId' } }),
        ends('{deletion}', 'finished'),
        refuses('GetScheduler', byName, 'NOT_FOUND', 'scheduler {scheduler} not found'),
      ],
    },
  ],
};

const cancelling: ConformanceGroup = {
  section: '1.7',
  title: 'CancelOperation',
  cases: [
    {
      says: 'cancels what is pending: it is canceled at once, and no longer pending',
      differs: 'v10 lists it as pending until a worker drops it, and lets it block other changes for as long.',
      steps: [
        ...aStuckScheduler,
        answers('SwitchActiveVersion', { ...ofStuck, version: 'v1.0.0' }, {}, { keep: { change: 'operationId' } }),
        answersExactly('CancelOperation', { ...ofStuck, operationId: '{change}' }, {}),
        answers('GetOperation', { ...ofStuck, operationId: '{change}' }, { operation: { status: 'canceled' } }),
        answers('ListOperations', { ...ofStuck, stage: 'pending' }, { total: 0 }),
        answers(
          'ListOperations',
          { ...ofStuck, stage: 'final' },
          { operations: [{ id: '{change}', status: 'canceled' }] },
        ),
        answers('SwitchActiveVersion', { ...ofStuck, version: 'v1.0.0' }, {}),
      ],
    },
    {
      says: 'cancels what is in progress: it is rolled back, and canceled',
      differs: 'v10 ends it as error; its documentation and its tests say canceled.',
      steps: [
        ...aScheduler(),
        answers(
          'PatchScheduler',
          { name: '{scheduler}', spec: { containers: [{ image: silentImage }] } },
          {},
          { given: 'a version whose room never gets ready', keep: { change: 'operationId' } },
        ),
        answers(
          'GetOperation',
          { ...byName, operationId: '{change}' },
          { operation: { status: 'in_progress' } },
          { eventually: true },
        ),
        answersExactly('CancelOperation', { ...byName, operationId: '{change}' }, {}),
        ends('{change}', 'canceled'),
        isActive('v1.0.0'),
        is({ state: 'in-sync' }),
        answers(
          'GetSchedulersInfo',
          { game: '{game}' },
          {
            schedulers: [{ roomsPending: 0, roomsReady: 0, roomsTerminating: 0 }],
          },
          { eventually: true },
        ),
      ],
    },
    {
      says: 'can be repeated',
      steps: [
        ...aStuckScheduler,
        answersExactly('CancelOperation', { ...ofStuck, operationId: '{creation}' }, {}),
        answersExactly('CancelOperation', { ...ofStuck, operationId: '{creation}' }, {}),
      ],
    },
    {
      says: 'refuses what has ended',
      steps: [
        ...aScheduler(),
        answers('ListOperations', { ...byName, stage: 'final' }, {}, { keep: { creation: 'operations.0.id' } }),
        refuses(
          'CancelOperation',
          { ...byName, operationId: '{creation}' },
          'ABORTED',
          'cannot cancel operation since status "finished" is a final status',
        ),
      ],
    },
    {
      says: 'refuses what was canceled',
      steps: [
        ...aStuckScheduler,
        answers('SwitchActiveVersion', { ...ofStuck, version: 'v1.0.0' }, {}, { keep: { change: 'operationId' } }),
        answers('CancelOperation', { ...ofStuck, operationId: '{change}' }, {}),
        refuses(
          'CancelOperation',
          { ...ofStuck, operationId: '{change}' },
          'ABORTED',
          'cannot cancel operation since status "canceled" is a final status',
        ),
      ],
    },
    {
      says: 'knows neither an unknown scheduler nor an unknown operation',
      differs: 'v10 answers 500 (code 2), with `failed to fetch … from storage: ` before the text.',
      steps: [
        refuses('CancelOperation', { ...byName, operationId: someId }, 'NOT_FOUND', 'scheduler {scheduler} not found'),
        ...aStuckScheduler,
        ...[someId, 'nonsense'].map((operationId) =>
          refuses(
            'CancelOperation',
            { ...ofStuck, operationId },
            'NOT_FOUND',
            `operation ${operationId} not found in scheduler {stuck}`,
          ),
        ),
      ],
    },
  ],
};

export const operationRoutes: readonly ConformanceGroup[] = [listing, getting, cancelling];
