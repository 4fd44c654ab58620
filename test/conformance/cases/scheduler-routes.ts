import { crashingImage, silentImage } from '../../support/pretend-names';
import {
  answers,
  answersExactly,
  patterns,
  refuses,
  type ConformanceGroup,
  type Expected,
  type JsonMap,
  type Step,
} from '../conformance-case';
import { sample, sampleAutoscaling } from '../sample-scheduler';
import { aScheduler, ends, is, isActive, isIdle, patchesTo, switchesTo, type VersionChange } from './steps';

const byName = { schedulerName: '{scheduler}' };
const noScheduler =
  'no scheduler found, can not create new version for inexistent scheduler: scheduler {scheduler} not found';

const lists = (filter: JsonMap, ...names: string[]): Step =>
  answers('ListSchedulers', filter, { schedulers: names.map((name) => ({ name })) });
const informs = (scheduler: { [key: string]: Expected }): Step =>
  answers('GetSchedulersInfo', { game: '{game}' }, { schedulers: [scheduler] }, { eventually: true });

const listing: ConformanceGroup = {
  section: '1.6',
  title: 'ListSchedulers',
  cases: [
    {
      says: 'filters by name, game and active version, exactly, and all that are given must fit',
      steps: [
        ...aScheduler(),
        answers(
          'CreateScheduler',
          sample({ name: '{other}', game: '{game}-2' }),
          {},
          { given: 'and another one of another game' },
        ),
        lists({ name: '{scheduler}' }, '{scheduler}'),
        lists({ game: '{game}' }, '{scheduler}'),
        lists({ name: '{scheduler}', game: '{game}', version: 'v1.0.0' }, '{scheduler}'),
        lists({ name: '{other}', game: '{game}' }),
        lists({ game: '{game}', version: 'v2.0.0' }),
        lists({ game: '{game}-' }),
      ],
    },
    {
      says: 'takes an empty filter for none',
      steps: [...aScheduler(), lists({ name: '', game: '{game}', version: '' }, '{scheduler}')],
    },
    {
      says: 'filters by the active version, not by those that there are',
      steps: [
        ...aScheduler(),
        ...patchesTo('v1.1.0', { maxSurge: '20%' }),
        lists({ game: '{game}', version: 'v1.0.0' }),
        lists({ game: '{game}', version: 'v1.1.0' }, '{scheduler}'),
      ],
    },
    {
      says: 'answers an empty list where nothing fits',
      steps: [answersExactly('ListSchedulers', { game: '{game}' }, { schedulers: [] })],
    },
    {
      says: 'lists in the order of names',
      differs: 'v10 has no order.',
      steps: [
        answers('CreateScheduler', sample({ name: 'b-{scheduler}' }), {}),
        answers('CreateScheduler', sample({ name: 'a-{scheduler}' }), {}),
        lists({ game: '{game}' }, 'a-{scheduler}', 'b-{scheduler}'),
      ],
    },
    {
      says: 'tells no spec, and the active version',
      steps: [
        ...aScheduler({ roomsReplicas: 0, matchAllocation: { maxMatches: 2 } }),
        answersExactly(
          'ListSchedulers',
          { name: '{scheduler}' },
          {
            schedulers: [
              {
                name: '{scheduler}',
                game: '{game}',
                state: 'in-sync',
                version: 'v1.0.0',
                portRange: { start: 40000, end: 60000 },
                createdAt: patterns.time,
                maxSurge: '10%',
                roomsReplicas: 0,
                matchAllocation: { maxMatches: 2 },
              },
            ],
          },
        ),
      ],
    },
    {
      says: 'tells when the scheduler was made, where GetScheduler tells when its active version was',
      steps: [
        ...aScheduler(),
        answers(
          'ListSchedulers',
          { name: '{scheduler}' },
          { schedulers: [{ createdAt: patterns.time }] },
          { keep: { made: 'schedulers.0.createdAt' } },
        ),
        answers('GetScheduler', byName, { scheduler: { createdAt: '{made}' } }),
        ...patchesTo('v1.1.0', { maxSurge: '20%' }),
        answers(
          'GetSchedulerVersions',
          byName,
          { versions: [{}, { createdAt: '{made}' }] },
          { keep: { changed: 'versions.0.createdAt' } },
        ),
        answers('ListSchedulers', { name: '{scheduler}' }, { schedulers: [{ createdAt: '{made}' }] }),
        answers('GetScheduler', byName, { scheduler: { createdAt: '{changed}' } }),
        answers('GetScheduler', { ...byName, version: 'v1.0.0' }, { scheduler: { createdAt: '{made}' } }),
      ],
    },
  ],
};

const info: ConformanceGroup = {
  section: '1.6',
  title: 'GetSchedulersInfo',
  cases: [
    {
      says: 'counts the rooms of the schedulers of a game',
      steps: [
        ...aScheduler({ roomsReplicas: 2 }),
        informs({
          name: '{scheduler}',
          game: '{game}',
          state: 'in-sync',
          roomsReplicas: 2,
          roomsReady: 2,
          roomsOccupied: 0,
          roomsPending: 0,
          roomsTerminating: 0,
        }),
      ],
    },
    {
      says: 'counts 0 for a scheduler without rooms, and shows null where there is no autoscaling',
      steps: [
        ...aScheduler(),
        answersExactly(
          'GetSchedulersInfo',
          { game: '{game}' },
          {
            schedulers: [
              {
                name: '{scheduler}',
                game: '{game}',
                state: 'in-sync',
                roomsReplicas: 0,
                roomsReady: 0,
                roomsOccupied: 0,
                roomsPending: 0,
                roomsTerminating: 0,
                autoscaling: null,
              },
            ],
          },
        ),
      ],
    },
    {
      says: 'shows autoscaling without its cooldown, and no match allocation',
      steps: [
        ...aScheduler({ autoscaling: sampleAutoscaling, matchAllocation: { maxMatches: 3 } }),
        answers(
          'GetSchedulersInfo',
          { game: '{game}' },
          {
            schedulers: [{ autoscaling: { enabled: false, min: 1, max: 10, cooldown: 0 } }],
          },
        ),
      ],
    },
    {
      says: 'answers an empty list for an unknown game',
      steps: [answersExactly('GetSchedulersInfo', { game: '{game}' }, { schedulers: [] })],
    },
  ],
};

const getting: ConformanceGroup = {
  section: '1.6',
  title: 'GetScheduler and GetSchedulerVersions',
  cases: [
    {
      says: 'gets the active version, or the one that is asked for',
      steps: [
        ...aScheduler(),
        ...patchesTo('v1.1.0', { maxSurge: '20%' }),
        answers('GetScheduler', byName, { scheduler: { maxSurge: '20%', spec: { version: 'v1.1.0' } } }),
        answers(
          'GetScheduler',
          { ...byName, version: 'v1.0.0' },
          { scheduler: { maxSurge: '10%', spec: { version: 'v1.0.0' } } },
        ),
      ],
    },
    {
      says: 'knows neither an unknown scheduler nor an unknown version, in the same words',
      steps: [
        refuses('GetScheduler', byName, 'NOT_FOUND', 'scheduler {scheduler} not found'),
        answers('CreateScheduler', sample(), {}),
        refuses('GetScheduler', { ...byName, version: 'v2.0.0' }, 'NOT_FOUND', 'scheduler {scheduler} not found'),
        refuses('GetScheduler', { ...byName, version: 'nonsense' }, 'NOT_FOUND', 'scheduler {scheduler} not found'),
      ],
    },
    {
      says: 'lists versions, newest first, and says which is active',
      steps: [
        ...aScheduler(),
        ...patchesTo('v1.1.0', { maxSurge: '20%' }),
        ...switchesTo('v1.0.0'),
        answersExactly('GetSchedulerVersions', byName, {
          versions: [
            { version: 'v1.1.0', isActive: false, createdAt: patterns.time },
            { version: 'v1.0.0', isActive: true, createdAt: patterns.time },
          ],
        }),
      ],
    },
    {
      says: 'has no versions of an unknown scheduler',
      steps: [refuses('GetSchedulerVersions', byName, 'NOT_FOUND', 'scheduler {scheduler} not found')],
    },
  ],
};

const creating: ConformanceGroup = {
  section: '1.6',
  title: 'CreateScheduler',
  cases: [
    {
      says: 'answers the scheduler, in the state creating, and sets it up with the operation create_scheduler',
      steps: [
        answers('CreateScheduler', sample(), { scheduler: { name: '{scheduler}', state: 'creating' } }),
        answers(
          'ListOperations',
          { ...byName, stage: 'final' },
          { operations: [{ definitionName: 'create_scheduler', status: 'finished' }] },
          { eventually: true },
        ),
        isActive('v1.0.0'),
      ],
    },
    {
      says: 'refuses a name that is taken, whatever else is asked for',
      steps: [
        answers('CreateScheduler', sample(), {}),
        refuses(
          'CreateScheduler',
          sample({ game: '{game}-2' }),
          'ALREADY_EXISTS',
          'error creating scheduler {scheduler}: name already exists',
        ),
      ],
    },
    {
      says: 'takes a scheduler back that the runtime cannot set up; its operation ends in error and is still told',
      steps: [
        answers('CreateScheduler', sample({ name: '{taken}' }), { scheduler: { state: 'creating' } }),
        {
          ...refuses('GetScheduler', { schedulerName: '{taken}' }, 'NOT_FOUND', 'scheduler {taken} not found'),
          eventually: true,
        },
        answers(
          'ListOperations',
          { schedulerName: '{taken}', stage: 'final' },
          { operations: [{ definitionName: 'create_scheduler', status: 'error' }] },
          { eventually: true },
        ),
      ],
    },
    {
      says: 'can make a scheduler anew that was deleted',
      steps: [
        ...aScheduler(),
        answers('DeleteScheduler', byName, {}),
        {
          ...refuses('GetScheduler', byName, 'NOT_FOUND', 'scheduler {scheduler} not found'),
          eventually: true,
        },
        ...aScheduler({ maxSurge: '20%' }),
        is({ maxSurge: '20%', spec: { version: 'v1.0.0' } }),
      ],
    },
  ],
};

/** The three ways to change the version, each with something to change. */
const changes: readonly { call: VersionChange; message: JsonMap; refusal: string }[] = [
  {
    call: 'NewSchedulerVersion',
    message: sample({ maxSurge: '20%' }),
    refusal: 'cannot create new scheduler version',
  },
  {
    call: 'PatchScheduler',
    message: { name: '{scheduler}', maxSurge: '20%' },
    refusal: 'cannot patch scheduler',
  },
  {
    call: 'SwitchActiveVersion',
    message: { ...byName, version: 'v1.0.0' },
    refusal: 'cannot switch active version',
  },
];

const changing: ConformanceGroup = {
  section: '1.6',
  title: 'NewSchedulerVersion, PatchScheduler and SwitchActiveVersion',
  cases: [
    {
      says: 'answers a new version with its operation only',
      steps: [
        ...aScheduler(),
        answersExactly('NewSchedulerVersion', sample({ maxSurge: '20%' }), { operationId: patterns.uuid }),
        isActive('v1.1.0'),
      ],
    },
    {
      says: 'answers a patch with its operation only',
      steps: [
        ...aScheduler(),
        answersExactly('PatchScheduler', { name: '{scheduler}', maxSurge: '20%' }, { operationId: patterns.uuid }),
        isActive('v1.1.0'),
      ],
    },
    {
      says: 'refuses a patch of a wrong type in the words of the parser',
      restOnly: 'an rpc has types',
      steps: [
        {
          request: 'PATCH /schedulers/{scheduler}',
          body: '{"maxSurge":22}',
          refuses: { code: 'INVALID_ARGUMENT', message: /^malformed request: field "maxSurge": / },
        },
      ],
    },
    {
      says: 'makes no version of an unknown scheduler',
      steps: [
        refuses('NewSchedulerVersion', sample(), 'NOT_FOUND', noScheduler),
        refuses('PatchScheduler', { name: '{scheduler}', maxSurge: '20%' }, 'NOT_FOUND', noScheduler),
      ],
    },
    {
      says: 'refuses to switch an unknown scheduler',
      differs: 'v10 answers 200 and an operation that nobody ever runs.',
      steps: [
        refuses(
          'SwitchActiveVersion',
          { ...byName, version: 'v1.0.0' },
          'NOT_FOUND',
          'scheduler {scheduler} not found',
        ),
      ],
    },
    {
      says: 'tells what is wrong with a new version before it looks whether the scheduler is there',
      steps: [
        refuses(
          'NewSchedulerVersion',
          sample({ game: '' }),
          'INVALID_ARGUMENT',
          'Validation Error:\nScheduler.Game: Game is a required field',
        ),
      ],
    },
    {
      says: 'keeps the active version when a new one does not come up, and tells each attempt',
      steps: [
        ...aScheduler(),
        answers(
          'PatchScheduler',
          { name: '{scheduler}', spec: { containers: [{ image: crashingImage }] } },
          {},
          { keep: { change: 'operationId' } },
        ),
        ends('{change}', 'error'),
        isIdle,
        is({ state: 'in-sync', spec: { version: 'v1.0.0', containers: [{ image: 'room:1' }] } }),
        answers('GetSchedulerVersions', byName, { versions: [{ version: 'v1.0.0', isActive: true }] }),
      ],
    },
    {
      says: 'makes a version in one operation and switches to it in another, which the first one names',
      steps: [
        ...aScheduler(),
        answers('PatchScheduler', { name: '{scheduler}', maxSurge: '20%' }, {}, { keep: { change: 'operationId' } }),
        ends('{change}', 'finished'),
        isActive('v1.1.0'),
        isIdle,
        answers(
          'ListOperations',
          { ...byName, stage: 'final' },
          {
            operations: [
              { definitionName: 'switch_active_version', status: 'finished' },
              { definitionName: 'create_new_scheduler_version', status: 'finished' },
              { definitionName: 'create_scheduler', status: 'finished' },
            ],
          },
          { keep: { switch: 'operations.0.id' } },
        ),
        answers(
          'GetOperation',
          { ...byName, operationId: '{change}' },
          {
            operation: {
              executionHistory: [
                { event: 'Created' },
                { event: 'Starting operation' },
                { event: 'enqueued switch active version operation with id: {switch}' },
                { event: 'Operation finished' },
              ],
            },
          },
        ),
        answers(
          'GetOperation',
          { ...byName, operationId: '{switch}' },
          {
            operation: { definitionName: 'switch_active_version', input: { newActiveVersion: 'v1.1.0' } },
          },
        ),
      ],
    },
    {
      says: 'keeps labels and annotations by which Maestro finds its rooms as they came, and says in the history that rooms do not get them',
      differs: 'In v10 rooms get them, and Maestro loses those rooms.',
      steps: [
        ...aScheduler(),
        answers(
          'PatchScheduler',
          { name: '{scheduler}', labels: { version: 'mine', team: 'blue' } },
          {},
          { keep: { change: 'operationId' } },
        ),
        ends('{change}', 'finished'),
        isActive('v2.0.0'),
        is({ labels: { version: 'mine', team: 'blue' } }),
        answers(
          'GetOperation',
          { ...byName, operationId: '{change}' },
          {
            operation: {
              executionHistory: [
                { event: 'Created' },
                { event: 'Starting operation' },
                { event: patterns.text },
                { event: patterns.text },
                { event: patterns.text },
                { event: /^stored, but rooms do not get them, .*: "version"$/ },
                { event: patterns.text },
                { event: 'Operation finished' },
              ],
            },
          },
        ),
      ],
    },
    {
      says: 'brings back all settings of the version that it switches to',
      steps: [
        ...aScheduler({ matchAllocation: { maxMatches: 2 } }),
        ...patchesTo('v1.1.0', { maxSurge: '20%', matchAllocation: { maxMatches: 3 }, autoscaling: sampleAutoscaling }),
        ...switchesTo('v1.0.0'),
        answersExactly('GetScheduler', byName, {
          scheduler: {
            name: '{scheduler}',
            game: '{game}',
            state: 'in-sync',
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
                  environment: [],
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
            matchAllocation: { maxMatches: 2 },
          },
        }),
      ],
    },
    {
      says: 'accepts a switch to a version that there is not, and its operation ends in error',
      steps: [
        ...aScheduler(),
        answersExactly('SwitchActiveVersion', { ...byName, version: 'v9.0.0' }, { operationId: patterns.uuid }),
        answers(
          'ListOperations',
          { ...byName, stage: 'final' },
          { operations: [{ definitionName: 'switch_active_version', status: 'error' }, {}] },
          { keep: { switch: 'operations.0.id' }, eventually: true },
        ),
        answers(
          'GetOperation',
          { ...byName, operationId: '{switch}' },
          {
            operation: {
              executionHistory: [
                { event: 'Created' },
                { event: 'Starting operation' },
                { event: '"v9.0.0" is none of the versions of scheduler {scheduler}' },
                { event: 'error fetching scheduler version to be switched to: scheduler {scheduler} not found' },
                { event: 'operation execution failed' },
                { event: 'Starting operation rollback' },
                { event: 'Operation rollback flow execution finished with success' },
                { event: 'Operation finished' },
              ],
            },
          },
        ),
        is({ state: 'in-sync', spec: { version: 'v1.0.0' } }),
      ],
    },
    {
      says: 'takes an empty version for the newest',
      steps: [
        ...aScheduler(),
        ...patchesTo('v1.1.0', { maxSurge: '20%' }),
        ...switchesTo('v1.0.0'),
        answers('SwitchActiveVersion', { ...byName, version: '' }, {}),
        isActive('v1.1.0'),
      ],
    },
  ],
};

const conflicts: ConformanceGroup = {
  section: '1.8',
  title: 'One change of version at a time',
  cases: [
    ...changes.map(({ call, message, refusal }) => ({
      says: `refuses ${call} while another change is in progress`,
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
        refuses(
          call,
          message,
          'FAILED_PRECONDITION',
          `${refusal}: there is already an ongoing version operation (id: {change}) for scheduler {scheduler}`,
        ),
      ],
    })),
    ...changes.map(({ call, message, refusal }) => ({
      says: `refuses ${call} while another change is pending`,
      steps: [
        answers('CreateScheduler', sample({ name: '{stuck}' }), {}, { given: 'a scheduler whose creation never ends' }),
        answers(
          'ListOperations',
          { schedulerName: '{stuck}', stage: 'active' },
          { total: 1 },
          { given: 'and is in progress', eventually: true },
        ),
        answers(
          'SwitchActiveVersion',
          { schedulerName: '{stuck}', version: 'v1.0.0' },
          {},
          { keep: { change: 'operationId' } },
        ),
        answers(
          'GetOperation',
          { schedulerName: '{stuck}', operationId: '{change}' },
          { operation: { status: 'pending' } },
        ),
        refuses(
          call,
          JSON.parse(JSON.stringify(message).replaceAll('{scheduler}', '{stuck}')) as JsonMap,
          'FAILED_PRECONDITION',
          `${refusal}: there is already an ongoing version operation (id: {change}) for scheduler {stuck}`,
        ),
      ],
    })),
    {
      says: 'looks for a conflict after it has looked at the request itself',
      steps: [
        answers('CreateScheduler', sample({ name: '{stuck}' }), {}, { given: 'a scheduler whose creation never ends' }),
        answers(
          'SwitchActiveVersion',
          { schedulerName: '{stuck}', version: 'v1.0.0' },
          {},
          { given: 'with a change that waits for it' },
        ),
        refuses('PatchScheduler', { name: '{stuck}' }, 'ALREADY_EXISTS', 'no change found to scheduler {stuck}'),
        refuses(
          'NewSchedulerVersion',
          sample({ name: '{stuck}', game: '' }),
          'INVALID_ARGUMENT',
          'Validation Error:\nScheduler.Game: Game is a required field',
        ),
      ],
    },
    {
      says: 'accepts the next change when the one before has ended, however it did',
      steps: [
        ...aScheduler(),
        answers('SwitchActiveVersion', { ...byName, version: 'v9.0.0' }, {}, { keep: { change: 'operationId' } }),
        ends('{change}', 'error'),
        answers(
          'PatchScheduler',
          { name: '{scheduler}', spec: { containers: [{ image: silentImage }] } },
          {},
          { keep: { second: 'operationId' } },
        ),
        answers('CancelOperation', { ...byName, operationId: '{second}' }, {}),
        ends('{second}', 'canceled'),
        ...patchesTo('v1.1.0', { maxSurge: '20%' }),
        ...patchesTo('v1.2.0', { maxSurge: '30%' }),
      ],
    },
    {
      says: 'refuses changes of a scheduler that is being deleted',
      differs: 'v10 accepts them, as operations that nobody runs.',
      steps: [
        answers('CreateScheduler', sample({ name: '{stuck}' }), {}, { given: 'a scheduler whose creation never ends' }),
        answers('DeleteScheduler', { schedulerName: '{stuck}' }, {}, { given: 'and whose deletion waits for it' }),
        refuses(
          'PatchScheduler',
          { name: '{stuck}', maxSurge: '20%' },
          'FAILED_PRECONDITION',
          /^cannot patch scheduler: .*\{stuck\}/,
        ),
      ],
    },
  ],
};

const deleting: ConformanceGroup = {
  section: '1.6',
  title: 'DeleteScheduler',
  cases: [
    {
      says: 'answers with an operation; when that has finished, the scheduler is gone and the operation is still told',
      steps: [
        ...aScheduler(),
        answersExactly('DeleteScheduler', byName, { operationId: patterns.uuid }),
        { ...refuses('GetScheduler', byName, 'NOT_FOUND', 'scheduler {scheduler} not found'), eventually: true },
        answers(
          'ListOperations',
          { ...byName, stage: 'final' },
          {
            operations: [
              { definitionName: 'delete_scheduler', status: 'finished' },
              { definitionName: 'create_scheduler' },
            ],
          },
          { eventually: true },
        ),
        lists({ name: '{scheduler}' }),
        refuses('GetSchedulerVersions', byName, 'NOT_FOUND', 'scheduler {scheduler} not found'),
      ],
    },
    {
      says: 'knows no unknown scheduler',
      steps: [
        refuses(
          'DeleteScheduler',
          byName,
          'NOT_FOUND',
          'no scheduler found, can not delete nonexistent scheduler: scheduler {scheduler} not found',
        ),
      ],
    },
    {
      says: 'is not refused while the version changes, and gives that change up',
      steps: [
        ...aScheduler(),
        answers(
          'PatchScheduler',
          { name: '{scheduler}', spec: { containers: [{ image: silentImage }] } },
          {},
          { given: 'a version whose room never gets ready', keep: { change: 'operationId' } },
        ),
        answers('DeleteScheduler', byName, { operationId: patterns.uuid }),
        { ...refuses('GetScheduler', byName, 'NOT_FOUND', 'scheduler {scheduler} not found'), eventually: true },
        ends('{change}', 'canceled'),
      ],
    },
    {
      says: 'answers the same operation when it is repeated',
      differs: 'v10 makes another operation.',
      steps: [
        answers('CreateScheduler', sample({ name: '{stuck}' }), {}, { given: 'a scheduler whose creation never ends' }),
        answers('DeleteScheduler', { schedulerName: '{stuck}' }, {}, { keep: { deletion: 'operationId' } }),
        answers('DeleteScheduler', { schedulerName: '{stuck}' }, { operationId: '{deletion}' }),
      ],
    },
  ],
};

export const schedulerRoutes: readonly ConformanceGroup[] = [
  listing,
  info,
  getting,
  creating,
  changing,
  deleting,
  conflicts,
];
