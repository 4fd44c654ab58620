import createClient from 'openapi-fetch';
import type { components, paths } from './management-api';

type Scheduler = components['schemas']['Scheduler'];
type ApiError = components['schemas']['Error'];

export interface SmokeReport {
  created: Scheduler;
  names: string[];
  got: Scheduler;
  refusal: ApiError;
}

/**
 * What a team that generates its client from our document would write first: create a scheduler, list, get it, and look at
 * an error. All types come from `management-api.ts`, which `npm run generate` makes of `docs/openapi/management.json`.
 */
export async function runSmokeClient(baseUrl: string, name: string): Promise<SmokeReport> {
  const client = createClient<paths>({ baseUrl });
  const created = await client.POST('/schedulers', {
    body: {
      name,
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
    },
  });
  const listed = await client.GET('/schedulers', { params: { query: { game: 'arena' } } });
  const got = await client.GET('/schedulers/{schedulerName}', { params: { path: { schedulerName: name } } });
  const missing = await client.GET('/schedulers/{schedulerName}', { params: { path: { schedulerName: 'nowhere' } } });
  if (missing.error === undefined) throw new Error('a scheduler that is not there was found');
  return {
    created: dataOf(created).scheduler ?? nothing('the created scheduler'),
    names: dataOf(listed).schedulers.map((scheduler) => scheduler.name),
    got: dataOf(got).scheduler ?? nothing('the scheduler'),
    refusal: missing.error,
  };
}

function dataOf<T>(answer: { data?: T; error?: ApiError }): T {
  return answer.data ?? nothing(answer.error?.message ?? 'data');
}

function nothing(what: string): never {
  throw new Error(`the answer lacks ${what}`);
}
