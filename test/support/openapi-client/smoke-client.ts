import createClient from 'openapi-fetch';
import type { components, paths } from './management-api';

type Schemas = components['schemas'];
type ApiError = Schemas['Error'];

export interface SmokeReport {
  created: Schemas['Scheduler'];
  names: string[];
  info: Schemas['SchedulerInfo'][];
  got: Schemas['Scheduler'];
  versions: string[];
  /** The operations that a new version, a patch, a switch and the deletion were answered with. */
  operationIds: string[];
  /** What a patch and what a whole definition would do. */
  plans: { version: string; major: string[]; ready: number | undefined; blockedBy: string[] }[];
  active: (string | undefined)[];
  history: string[];
  /** Who asked for the operation. */
  actor: string;
  rooms: { id: string; status: string; host: string }[];
  /** Why a room has its status. */
  why: string[];
  /** What the removal of a room was answered with, and its drain. */
  removals: string[];
  /** What the last look wanted and why, and what kept it from more. */
  explained: { desired: number | undefined; formula: string; ready: number | undefined; blockedBy: string[] };
  /** How far the rollout is: its phase, how many rooms are left, its share and its estimated end. */
  rollout: { phase: string; outdated: number | undefined; progress: number | undefined; end: string | undefined };
  /** Why the automation was paused, and whether it is after it was resumed. */
  pauses: (string | boolean)[];
  /** Of each policy: its name, whether it was tried to the end, and how many rooms it had at most. */
  backtest: { name: string; hasTimeline: boolean; peakRooms: number }[];
  refusal: ApiError;
  /** Each route that was called, as the document writes it: `GET /schedulers/{schedulerName}`. */
  called: string[];
}

const definition = {
  game: 'arena',
  maxSurge: '25%',
  roomsReplicas: 3,
  portRange: { start: 40_000, end: 40_100 },
  spec: {
    terminationGracePeriod: '60s',
    containers: [
      {
        name: 'game-room',
        image: 'game-room:1',
        imagePullPolicy: 'IfNotPresent',
        requests: { memory: '20Mi', cpu: '10m' },
        limits: { memory: '20Mi', cpu: '10m' },
        ports: [{ name: 'game', protocol: 'udp', port: 7777 }],
      },
    ],
  },
} satisfies Omit<Schemas['CreateSchedulerRequest'], 'name'>;

/**
 * What a team that generates its client from our document would write first: every route once, and a look at an error. All
 * types come from `management-api.ts`, which `npm run generate` makes of `docs/openapi/management.json`.
 */
export async function runSmokeClient(baseUrl: string, name: string, operationId: string): Promise<SmokeReport> {
  const client = createClient<paths>({ baseUrl });
  const called: string[] = [];
  client.use({ onRequest: ({ request, schemaPath }) => void called.push(`${request.method} ${schemaPath}`) });
  const path = { schedulerName: name };

  const created = await client.POST('/schedulers', { body: { ...definition, name } });
  const listed = await client.GET('/schedulers', { params: { query: { game: 'arena' } } });
  const info = await client.GET('/schedulers/info', { params: { query: { game: 'arena' } } });
  const got = await client.GET('/schedulers/{schedulerName}', { params: { path } });

  const bigger = { ...definition, maxSurge: '50%' };
  const planOfPatch = await client.POST('/schedulers/{schedulerName}/plan', {
    params: { path },
    body: { maxSurge: '50%', extensions: { clear: ['forwarders'] } },
  });
  const planOfVersion = await client.POST('/schedulers/{schedulerName}/plan', {
    params: { path, query: { as: 'version' } },
    body: bigger,
  });
  const changed = [
    await client.POST('/schedulers/{schedulerName}', { params: { path }, body: bigger }),
    await client.PATCH('/schedulers/{schedulerName}', { params: { path }, body: { autoscaling: { enabled: true } } }),
    await client.PUT('/schedulers/{schedulerName}', { params: { path }, body: { version: 'v1.0.0' } }),
  ];
  const versions = await client.GET('/schedulers/{schedulerName}/versions', { params: { path } });

  const operations = await client.GET('/schedulers/{schedulerName}/operations', {
    params: { path, query: { stage: 'active' } },
  });
  const operationPath = { params: { path: { ...path, operationID: operationId } } };
  const operation = await client.GET('/schedulers/{schedulerName}/operations/{operationID}', operationPath);
  const details = await client.GET('/schedulers/{schedulerName}/operations/{operationID}/details', operationPath);
  const canceled = await client.POST('/schedulers/{schedulerName}/operations/{operationID}/cancel', operationPath);
  dataOf(canceled);

  const rooms = await client.GET('/schedulers/{schedulerName}/rooms', { params: { path, query: { perPage: 10 } } });
  const roomPath = { ...path, roomName: dataOf(rooms).rooms[0]?.id ?? nothing('a room') };
  const room = await client.GET('/schedulers/{schedulerName}/rooms/{roomName}', { params: { path: roomPath } });
  const removals = [
    await client.DELETE('/schedulers/{schedulerName}/rooms/{roomName}', { params: { path: roomPath } }),
    await client.DELETE('/schedulers/{schedulerName}/rooms/{roomName}', {
      params: { path: roomPath, query: { drain: true } },
    }),
  ];
  const explained = dataOf(await client.GET('/schedulers/{schedulerName}/explain', { params: { path } }));
  const rollout = dataOf(await client.GET('/schedulers/{schedulerName}/rollout', { params: { path } }));
  const paused = await client.POST('/schedulers/{schedulerName}/automation/pause', {
    params: { path },
    body: { reason: 'maintenance' },
  });
  const resumed = await client.POST('/schedulers/{schedulerName}/automation/resume', { params: { path } });
  const backtest = await client.POST('/backtests', {
    body: {
      policies: [{ name: 'three', scheduler: { roomsReplicas: 3 } }],
      load: [
        { time: '2026-06-01T00:00:00Z', matches: 1 },
        { time: '2026-06-01T01:00:00Z', matches: 2 },
      ],
      seed: 7,
    },
  });
  const deleted = await client.DELETE('/schedulers/{schedulerName}', { params: { path } });

  const missing = await client.GET('/schedulers/{schedulerName}', { params: { path: { schedulerName: 'nowhere' } } });
  if (missing.error === undefined) throw new Error('a scheduler that is not there was found');
  return {
    created: dataOf(created).scheduler ?? nothing('the created scheduler'),
    names: dataOf(listed).schedulers.map((scheduler) => scheduler.name),
    info: dataOf(info).schedulers,
    got: dataOf(got).scheduler ?? nothing('the scheduler'),
    versions: dataOf(versions).versions.map(({ version, isActive }) => `${version}${isActive ? ' active' : ''}`),
    operationIds: [...changed, deleted].map((answer) => dataOf(answer).operationId),
    plans: [planOfPatch, planOfVersion].map((answer) => {
      const { version, changes, rooms, blockedBy } = dataOf(answer);
      return {
        version,
        major: changes.filter(({ major }) => major).map((change) => change.path),
        ready: rooms['ready'],
        blockedBy: blockedBy.map((block) => block.operationId ?? block.code),
      };
    }),
    active: dataOf(operations).operations.map(({ lease }) => lease?.ttl),
    history: (dataOf(operation).operation ?? nothing('the operation')).executionHistory.map(({ event }) => event),
    actor: (dataOf(details).details ?? nothing('the details')).actor,
    rooms: dataOf(rooms).rooms.map(({ id, status, host }) => ({ id, status, host })),
    why: dataOf(room).why,
    removals: removals.map((answer) => dataOf(answer).operationId),
    explained: {
      desired: explained.desired,
      formula: explained.formula,
      ready: explained.inputs?.rooms['ready'],
      blockedBy: explained.blockedBy.map(({ code }) => code),
    },
    rollout: {
      phase: rollout.phase,
      outdated: rollout.rooms?.outdated,
      progress: rollout.progress,
      end: rollout.estimatedEndAt,
    },
    pauses: [dataOf(paused), dataOf(resumed)].map(
      ({ automation }) => automation?.reason || automation?.paused || false,
    ),
    backtest: dataOf(backtest).results.map(({ name, timeline, peakRooms }) => {
      return { name, hasTimeline: timeline.length > 0, peakRooms };
    }),
    refusal: missing.error,
    called: [...new Set(called)],
  };
}

function dataOf<T>(answer: { data?: T; error?: ApiError }): T {
  return answer.data ?? nothing(answer.error?.message ?? 'data');
}

function nothing(what: string): never {
  throw new Error(`the answer lacks ${what}`);
}
