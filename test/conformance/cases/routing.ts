import { answers, patterns, refuses, type ConformanceCase, type ConformanceGroup } from '../conformance-case';
import { sample } from '../sample-scheduler';

const ofPaths = 'it is about paths';

const unknownPath = (request: string, differs?: string): ConformanceCase => ({
  says: `knows no ${request}`,
  restOnly: ofPaths,
  ...(differs === undefined ? {} : { differs }),
  steps: [{ request, refuses: { code: 'NOT_FOUND', message: 'Not Found' } }],
});
const wrongVerb = (request: string): ConformanceCase => ({
  says: `knows the path of ${request}, and not for that verb`,
  restOnly: ofPaths,
  steps: [{ request, refuses: { code: 'UNIMPLEMENTED', message: 'Method Not Allowed' } }],
});
const noRedirect = 'v10 answers 301 for a path that is not canonical.';

export const routing: readonly ConformanceGroup[] = [
  {
    section: '1.3',
    title: 'Paths and verbs',
    cases: [
      unknownPath('GET /'),
      unknownPath('GET /scheduler/{scheduler}/operations'),
      unknownPath('GET /schedulers/'),
      unknownPath('GET /schedulers/{scheduler}/instances'),
      unknownPath('POST /schedulers/{scheduler}/add-rooms'),
      unknownPath('POST /schedulers/{scheduler}/remove-rooms'),
      unknownPath('GET //schedulers', noRedirect),
      unknownPath('GET /schedulers//versions', noRedirect),
      wrongVerb('PUT /schedulers'),
      wrongVerb('DELETE /schedulers'),
      wrongVerb('PATCH /schedulers'),
      wrongVerb('OPTIONS /schedulers'),
      wrongVerb('POST /schedulers/{scheduler}/versions'),
      wrongVerb('POST /schedulers/{scheduler}/operations'),
      wrongVerb('DELETE /schedulers/{scheduler}/operations/some-id'),
      wrongVerb('GET /schedulers/{scheduler}/operations/some-id/cancel'),
      {
        says: 'answers HEAD with 501, also where GET is known, and 404 where nothing is',
        restOnly: ofPaths,
        steps: [
          { request: 'HEAD /schedulers', status: 501 },
          { request: 'HEAD /schedulers/{scheduler}', status: 501 },
          { request: 'HEAD /nowhere', status: 404 },
        ],
      },
      {
        says: 'decodes a variable of the path once, and takes it as one segment',
        restOnly: ofPaths,
        steps: [
          {
            request: 'GET /schedulers/a%2Fb%2520c',
            refuses: { code: 'NOT_FOUND', message: 'scheduler a/b%20c not found' },
          },
          {
            request: 'GET /schedulers/a%2Fversions',
            refuses: { code: 'NOT_FOUND', message: 'scheduler a/versions not found' },
          },
        ],
      },
      {
        says: 'takes GET /schedulers/info for the fleets: a scheduler of that name can be made, and deleted, and is never got',
        restOnly: ofPaths,
        steps: [
          answers('CreateScheduler', sample({ name: 'info' }), { scheduler: { name: 'info' } }),
          { request: 'GET /schedulers/info?game={game}', answers: { schedulers: [{ name: 'info', roomsReady: 0 }] } },
          answers('GetSchedulerVersions', { schedulerName: 'info' }, { versions: [{ version: 'v1.0.0' }] }),
          answers('DeleteScheduler', { schedulerName: 'info' }, { operationId: patterns.uuid }),
        ],
      },
      {
        says: 'refuses alike over both wires',
        steps: [
          refuses('GetScheduler', { schedulerName: '{scheduler}' }, 'NOT_FOUND', 'scheduler {scheduler} not found'),
        ],
      },
    ],
  },
];
