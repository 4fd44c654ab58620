import { answers, answersExactly, patterns, refuses, type ConformanceGroup, type JsonMap } from '../conformance-case';
import { sample, sampleAutoscaling, type Changes } from '../sample-scheduler';
import { aScheduler, is, isActive, patchesTo, postsTo, switchesTo } from './steps';

const byName = { schedulerName: '{scheduler}' };

const rollout: JsonMap = { automaticRollback: false, failureShare: 0.3, failureWindowSeconds: 120 };
const drain: JsonMap = { deadlineSeconds: 7200 };
const window: JsonMap = { cron: '0 18 * * 5', timezone: 'Europe/Berlin', durationSeconds: 21600, min: 50, buffer: 20 };
const schedule: JsonMap = {
  windows: [window],
  base: { type: 'roomOccupancy', roomOccupancy: { readyTarget: 0.2, downThreshold: 0.9 } },
};
const webhook: JsonMap = { url: 'https://forecast.example.com/rooms', timeoutMs: 1500, maxAnswerAgeSeconds: 60 };
const autoscaling: JsonMap = {
  schedule,
  webhook,
  chain: {
    policies: [
      { type: 'schedule', schedule },
      { type: 'webhook', webhook },
      { type: 'fixedBuffer', fixedBuffer: { amount: 3 } },
    ],
  },
  scaleUpStabilizationSeconds: 0,
  scaleDownStabilizationSeconds: 300,
};
const everything: Changes = { extensions: { autoscaling, rollout, drain } };

/** Off, so that it starts no rooms. */
const chained: JsonMap = { ...sampleAutoscaling, policy: { type: 'chain', parameters: {} } };
const chainMissing = 'Scheduler.Extensions.Autoscaling.Chain: Chain is a required field of the policy type chain';

/** The scheduler of the sample as v10 shows it, with what is ours where it is used. */
const shown = (version: string, extensions?: JsonMap) => ({
  scheduler: {
    name: '{scheduler}',
    game: '{game}',
    state: /^(creating|in-sync)$/,
    portRange: { start: 40000, end: 60000 },
    createdAt: patterns.time,
    maxSurge: '10%',
    roomsReplicas: 0,
    spec: {
      version,
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
    matchAllocation: { maxMatches: 1 },
    ...(extensions === undefined ? {} : { extensions }),
  },
});

/** What v10 has no field for: a client of v10, which decodes strictly, meets it only where someone used it. */
export const extensions: readonly ConformanceGroup[] = [
  {
    section: '1.5',
    title: 'Extensions: what v10 has no field for',
    cases: [
      {
        says: 'shows extensions where they are used, as they were said',
        steps: [
          answers('CreateScheduler', sample(everything), {
            scheduler: { extensions: { autoscaling, rollout, drain } },
          }),
          answersExactly('GetScheduler', byName, shown('v1.0.0', { autoscaling, rollout, drain })),
        ],
      },
      {
        says: 'shows nothing of them where nobody used them, or used none',
        steps: [
          answers('CreateScheduler', sample({ extensions: {} }), {}),
          answersExactly('GetScheduler', byName, shown('v1.0.0')),
        ],
      },
      {
        says: 'keeps them when a client of v10 posts a new version',
        steps: [
          ...aScheduler({ extensions: { rollout, drain } }),
          ...postsTo('v1.1.0', { maxSurge: '20%' }),
          is({ maxSurge: '20%', extensions: { rollout, drain } }),
        ],
      },
      {
        says: 'takes those of a new version for all of them, so that empty ones clear',
        steps: [
          ...aScheduler({ extensions: { rollout, drain } }),
          ...postsTo('v1.1.0', { extensions: { drain } }),
          answersExactly('GetScheduler', byName, shown('v1.1.0', { drain })),
          ...postsTo('v1.2.0', { extensions: {} }),
          answersExactly('GetScheduler', byName, shown('v1.2.0')),
        ],
      },
      {
        says: 'keeps them with the version that they were said of',
        steps: [
          ...aScheduler({ extensions: { drain } }),
          ...patchesTo('v1.1.0', { extensions: { clear: ['extensions'] } }),
          ...switchesTo('v1.0.0'),
          is({ extensions: { drain } }),
        ],
      },
      {
        says: 'has defaults for the time zone of a window and the patience with a webhook',
        steps: [
          answers(
            'CreateScheduler',
            sample({
              extensions: {
                autoscaling: {
                  schedule: { windows: [{ cron: '0 0 * * *', durationSeconds: 60, min: 1 }] },
                  webhook: { url: 'http://forecast' },
                },
              },
            }),
            {
              scheduler: {
                extensions: {
                  autoscaling: {
                    schedule: {
                      windows: [{ cron: '0 0 * * *', timezone: 'UTC', durationSeconds: 60, min: 1, buffer: 0 }],
                    },
                    webhook: { url: 'http://forecast', timeoutMs: 1000, maxAnswerAgeSeconds: 300 },
                  },
                },
              },
            },
          ),
        ],
      },
    ],
  },
  {
    section: '2.3',
    title: 'Validation: extensions',
    cases: [
      {
        says: 'accepts the policies schedule, webhook and chain with their parameters',
        steps: [
          answers('CreateScheduler', sample({ autoscaling: chained, ...everything }), {
            scheduler: { autoscaling: { policy: { type: 'chain', parameters: {} } } },
          }),
        ],
      },
      {
        says: 'requires the parameters of a policy, which a new version may find among those that are kept',
        steps: [
          refuses(
            'CreateScheduler',
            sample({ autoscaling: chained }),
            'INVALID_ARGUMENT',
            `Validation Error:\n${chainMissing}`,
          ),
          ...aScheduler(everything),
          ...postsTo('v1.1.0', { autoscaling: chained }),
          refuses(
            'NewSchedulerVersion',
            sample({ autoscaling: chained, extensions: {} }),
            'INVALID_ARGUMENT',
            `Validation Error:\n${chainMissing}`,
          ),
          refuses(
            'PatchScheduler',
            { name: '{scheduler}', extensions: { clear: ['extensions.autoscaling'] } },
            'INVALID_ARGUMENT',
            `invalid patched scheduler: ${chainMissing}`,
          ),
        ],
      },
      {
        says: 'tells what is wrong with them by field, in the style of the other rules',
        steps: [
          refuses(
            'CreateScheduler',
            sample({
              extensions: {
                autoscaling: {
                  schedule: {
                    windows: [
                      { ...window, cron: '0 18 * *', min: 0, buffer: 0 },
                      { ...window, timezone: 'X' },
                    ],
                  },
                  webhook: { ...webhook, url: 'ftp://forecast', timeoutMs: 30_001 },
                  chain: { policies: [{ type: 'chain' }] },
                  scaleUpStabilizationSeconds: 3601,
                },
                rollout: { failureShare: 1.5, failureWindowSeconds: 0 },
                drain: { deadlineSeconds: 0 },
              },
            }),
            'INVALID_ARGUMENT',
            new RegExp(
              [
                '^Validation Error:',
                String.raw`Scheduler\.Extensions\.Autoscaling\.Schedule\.Windows\[0\]\.Cron: Cron .+`,
                String.raw`Scheduler\.Extensions\.Autoscaling\.Schedule\.Windows\[0\]\.Min: Min or Buffer must be greater than 0`,
                String.raw`Scheduler\.Extensions\.Autoscaling\.Schedule\.Windows\[1\]\.Timezone: Timezone must be the name of an IANA time zone`,
                String.raw`Scheduler\.Extensions\.Autoscaling\.Webhook\.Url: Url must be an http or https URL without user name and password`,
                String.raw`Scheduler\.Extensions\.Autoscaling\.Webhook\.TimeoutMs: TimeoutMs must be 30000 or less`,
                String.raw`Scheduler\.Extensions\.Autoscaling\.Chain\.Policies\[0\]\.Type: Type must be one of \[roomOccupancy fixedBuffer schedule webhook\]`,
                String.raw`Scheduler\.Extensions\.Autoscaling\.ScaleUpStabilizationSeconds: ScaleUpStabilizationSeconds must be 3600 or less`,
                String.raw`Scheduler\.Extensions\.Rollout\.FailureShare: FailureShare must be 1 or less`,
                String.raw`Scheduler\.Extensions\.Rollout\.FailureWindowSeconds: FailureWindowSeconds must be 1 or greater`,
                String.raw`Scheduler\.Extensions\.Drain\.DeadlineSeconds: DeadlineSeconds must be 1 or greater$`,
              ].join(String.raw`\n`),
            ),
          ),
        ],
      },
    ],
  },
  {
    section: '2.6',
    title: 'Patches: extensions',
    cases: [
      {
        says: 'keeps extensions that a patch does not name',
        steps: [
          ...aScheduler({ extensions: { rollout, drain } }),
          ...patchesTo('v1.1.0', { maxSurge: '20%' }),
          is({ maxSurge: '20%', extensions: { rollout, drain } }),
        ],
      },
      {
        says: 'replaces each part that a patch names as a whole, in a minor version',
        steps: [
          ...aScheduler({ extensions: { rollout, drain } }),
          ...patchesTo('v1.1.0', { extensions: { rollout: { failureShare: 0.1 } } }),
          answersExactly('GetScheduler', byName, shown('v1.1.0', { rollout: { failureShare: 0.1 }, drain })),
        ],
      },
      {
        says: 'refuses a name that it does not know, which else would empty the part that it stands in',
        restOnly: 'an rpc has numbers, and ignores those that it does not know',
        steps: [
          ...aScheduler({ extensions: { drain } }),
          {
            request: 'PATCH /schedulers/{scheduler}',
            body: '{"extensions":{"drain":{"deadlineSecond":5}}}',
            refuses: {
              code: 'INVALID_ARGUMENT',
              message:
                'malformed request: field "extensions.drain.deadlineSecond": unknown field, did you mean deadlineSeconds?',
            },
          },
          {
            request: 'PATCH /schedulers/{scheduler}',
            body: '{"extensions":{"drain":{"deadline_seconds":5}}}',
            answers: { operationId: patterns.uuid },
          },
          isActive('v1.1.0'),
          is({ extensions: { drain: { deadlineSeconds: 5 } } }),
        ],
      },
      {
        says: 'clears a part, or all of them',
        steps: [
          ...aScheduler(everything),
          ...patchesTo('v1.1.0', { extensions: { clear: ['extensions.autoscaling'], drain: {} } }),
          answersExactly('GetScheduler', byName, shown('v1.1.0', { rollout })),
          ...patchesTo('v1.2.0', { extensions: { clear: ['extensions'] } }),
          answersExactly('GetScheduler', byName, shown('v1.2.0')),
        ],
      },
      {
        says: 'takes empty extensions for no change',
        steps: [
          ...aScheduler({ extensions: { drain } }),
          refuses(
            'PatchScheduler',
            { name: '{scheduler}', extensions: {} },
            'ALREADY_EXISTS',
            'no change found to scheduler {scheduler}',
          ),
          isActive('v1.0.0'),
        ],
      },
    ],
  },
];
