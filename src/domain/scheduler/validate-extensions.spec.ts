import type {
  NestedPolicy,
  ScheduleParameters,
  SchedulerExtensions,
  ScheduleWindow,
  WebhookParameters,
} from './scheduler';
import { aDefinition, anAutoscaling, aWindow, fullExtensions } from './scheduler.fixture';
import { validateExtensions } from './validate-extensions';

const problemsOf = (extensions: SchedulerExtensions): string[] => validateExtensions(aDefinition({ extensions }));

const aWebhook = (changes: Partial<WebhookParameters> = {}): WebhookParameters => ({
  url: 'http://forecast',
  timeoutMs: 1000,
  maxAnswerAgeSeconds: 300,
  ...changes,
});
const buffered: NestedPolicy = { type: 'fixedBuffer', fixedBuffer: { amount: 1 } };
const scheduled = (changes: Partial<ScheduleParameters> = {}): NestedPolicy => ({
  type: 'schedule',
  schedule: { windows: [aWindow()], ...changes },
});

const withWindow = (changes: Partial<ScheduleWindow>): SchedulerExtensions => ({
  autoscaling: { schedule: { windows: [aWindow(changes)] } },
});
const withBase = (base: NestedPolicy): SchedulerExtensions => ({
  autoscaling: { schedule: { windows: [aWindow()], base } },
});
const longUrl = (length: number): string => 'http://forecast/'.padEnd(length, 'a');
const withWebhook = (changes: Partial<WebhookParameters>): SchedulerExtensions => ({
  autoscaling: { webhook: aWebhook(changes) },
});
const withChain = (...policies: NestedPolicy[]): SchedulerExtensions => ({ autoscaling: { chain: { policies } } });
const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

describe('validateExtensions', () => {
  test.each<[string, SchedulerExtensions]>([
    ['none', {}],
    ['everything at once', fullExtensions()],
    ['empty parts', { autoscaling: {}, rollout: {}, drain: {} }],
    ['a window of a second', withWindow({ durationSeconds: 1 })],
    ['a window of 31 days', withWindow({ durationSeconds: 2_678_400 })],
    ['a window that says a minimum only', withWindow({ min: 1, buffer: 0 })],
    ['a window that says a buffer only', withWindow({ min: 0, buffer: 1 })],
    ['100 windows', { autoscaling: { schedule: { windows: times(100, aWindow()) } } }],
    ['a webhook with a long URL', withWebhook({ url: longUrl(2_048) })],
    ['a webhook of a millisecond', withWebhook({ timeoutMs: 1 })],
    ['a webhook of 30 seconds', withWebhook({ timeoutMs: 30_000 })],
    ['a webhook whose answers do not last', withWebhook({ maxAnswerAgeSeconds: 0 })],
    ['a webhook under a schedule', withBase({ type: 'webhook', webhook: aWebhook() })],
    ['ten policies in a chain', withChain(...times(10, buffered))],
    ['a schedule with a base in a chain', withChain(scheduled({ base: buffered }))],
    [
      'an hour of stabilisation',
      { autoscaling: { scaleUpStabilizationSeconds: 3600, scaleDownStabilizationSeconds: 3600 } },
    ],
    ['a share of all rooms', { rollout: { failureShare: 1 } }],
    ['a second of failures', { rollout: { failureWindowSeconds: 1 } }],
    ['an hour of failures', { rollout: { failureWindowSeconds: 3600 } }],
    ['a drain of a second', { drain: { deadlineSeconds: 1 } }],
  ])('accepts %s', (_, extensions) => {
    expect(problemsOf(extensions)).toEqual([]);
  });

  const schedule = 'Autoscaling.Schedule';
  const window = `${schedule}.Windows[0]`;
  const webhook = 'Autoscaling.Webhook';
  const chain = 'Autoscaling.Chain';
  const badUrl = `${webhook}.Url: Url must be an http or https URL without user name and password`;
  const zeroOccupancy = { readyTarget: 0, downThreshold: 1 };

  test.each<[string, SchedulerExtensions, string[]]>([
    [
      'no windows',
      { autoscaling: { schedule: { windows: [] } } },
      [`${schedule}.Windows: Windows is a required field`],
    ],
    [
      '101 windows, and what is wrong with the first hundred',
      { autoscaling: { schedule: { windows: [aWindow({ min: -1 }), ...times(99, aWindow()), aWindow({ min: -1 })] } } },
      [`${schedule}.Windows: Windows must have 100 entries or less`, `${window}.Min: Min must be 0 or greater`],
    ],
    ['a window without a time', withWindow({ cron: '' }), [`${window}.Cron: Cron is a required field`]],
    [
      'a time zone that there is not',
      withWindow({ timezone: 'Mars/Olympus' }),
      [`${window}.Timezone: Timezone must be the name of an IANA time zone`],
    ],
    [
      'a time zone that there is not and a time that there is not, both at once',
      withWindow({ timezone: 'Mars/Olympus', cron: '60 18 * * 5' }),
      [
        expect.stringMatching(/^Scheduler\.Extensions\..*Windows\[0\]\.Cron: Cron ./) as string,
        `${window}.Timezone: Timezone must be the name of an IANA time zone`,
      ],
    ],
    [
      'a time zone without a name',
      withWindow({ timezone: '' }),
      [`${window}.Timezone: Timezone must be the name of an IANA time zone`],
    ],
    [
      'a window of no time',
      withWindow({ durationSeconds: 0 }),
      [`${window}.DurationSeconds: DurationSeconds must be 1 or greater`],
    ],
    [
      'a window of more than 31 days',
      withWindow({ durationSeconds: 2_678_401 }),
      [`${window}.DurationSeconds: DurationSeconds must be 2678400 or less`],
    ],
    ['a negative minimum', withWindow({ min: -1 }), [`${window}.Min: Min must be 0 or greater`]],
    ['a negative buffer', withWindow({ buffer: -1 }), [`${window}.Buffer: Buffer must be 0 or greater`]],
    [
      'a window that wants nothing',
      withWindow({ min: 0, buffer: 0 }),
      [`${window}.Min: Min or Buffer must be greater than 0`],
    ],
    [
      'a schedule under a schedule, whose parameters say nothing',
      withBase(scheduled({ windows: [] })),
      [`${schedule}.Base.Type: Type must be one of [roomOccupancy fixedBuffer webhook]`],
    ],
    [
      'a chain under a schedule',
      withBase({ type: 'chain' }),
      [`${schedule}.Base.Type: Type must be one of [roomOccupancy fixedBuffer webhook]`],
    ],
    [
      'a base without its parameters',
      withBase({ type: 'webhook', fixedBuffer: { amount: 1 } }),
      [`${schedule}.Base.Webhook: Webhook is a required field of the policy type webhook`],
    ],
    [
      'a base with impossible shares',
      withBase({ type: 'roomOccupancy', roomOccupancy: zeroOccupancy }),
      [
        `${schedule}.Base.RoomOccupancy.ReadyTarget: ReadyTarget must be greater than 0`,
        `${schedule}.Base.RoomOccupancy.DownThreshold: DownThreshold must be less than 1`,
      ],
    ],
    ['a webhook without an address', withWebhook({ url: '' }), [`${webhook}.Url: Url is a required field`]],
    ['a webhook at no URL', withWebhook({ url: 'forecast:80/x y' }), [badUrl]],
    ['a webhook at a path', withWebhook({ url: '/rooms' }), [badUrl]],
    ['a webhook by another protocol', withWebhook({ url: 'file:///etc/passwd' }), [badUrl]],
    ['a webhook with a password in its URL', withWebhook({ url: 'https://me:secret@forecast' }), [badUrl]],
    [
      'a webhook with too long a URL',
      withWebhook({ url: longUrl(2_049) }),
      [`${webhook}.Url: Url must have 2048 characters or less`],
    ],
    ['a webhook without time', withWebhook({ timeoutMs: 0 }), [`${webhook}.TimeoutMs: TimeoutMs must be 1 or greater`]],
    [
      'a webhook with more than 30 seconds',
      withWebhook({ timeoutMs: 30_001 }),
      [`${webhook}.TimeoutMs: TimeoutMs must be 30000 or less`],
    ],
    [
      'answers of a negative age',
      withWebhook({ maxAnswerAgeSeconds: -1 }),
      [`${webhook}.MaxAnswerAgeSeconds: MaxAnswerAgeSeconds must be 0 or greater`],
    ],
    ['a chain of nothing', withChain(), [`${chain}.Policies: Policies is a required field`]],
    [
      'a chain of eleven',
      withChain(...times(10, buffered), { type: 'x' }),
      [`${chain}.Policies: Policies must have 10 entries or less`],
    ],
    [
      'a chain in a chain',
      withChain(buffered, { type: 'chain' }),
      [`${chain}.Policies[1].Type: Type must be one of [roomOccupancy fixedBuffer schedule webhook]`],
    ],
    [
      'a policy without a type in a chain',
      withChain({ type: '' }),
      [`${chain}.Policies[0].Type: Type must be one of [roomOccupancy fixedBuffer schedule webhook]`],
    ],
    [
      'policies of a chain without their parameters',
      withChain({ type: 'schedule' }, { type: 'fixedBuffer' }),
      [
        `${chain}.Policies[0].Schedule: Schedule is a required field of the policy type schedule`,
        `${chain}.Policies[1].FixedBuffer: FixedBuffer is a required field of the policy type fixedBuffer`,
      ],
    ],
    [
      'a schedule in a chain, down to its base',
      withChain(scheduled({ windows: [aWindow({ buffer: -1 })], base: { ...buffered, fixedBuffer: { amount: 0 } } })),
      [
        `${chain}.Policies[0].Schedule.Windows[0].Buffer: Buffer must be 0 or greater`,
        `${chain}.Policies[0].Schedule.Base.FixedBuffer.Amount: Amount must be greater than 0`,
      ],
    ],
    [
      'a schedule under a schedule in a chain',
      withChain(scheduled({ base: scheduled() })),
      [`${chain}.Policies[0].Schedule.Base.Type: Type must be one of [roomOccupancy fixedBuffer webhook]`],
    ],
    [
      'negative stabilisation',
      { autoscaling: { scaleUpStabilizationSeconds: -1, scaleDownStabilizationSeconds: -1 } },
      [
        'Autoscaling.ScaleUpStabilizationSeconds: ScaleUpStabilizationSeconds must be 0 or greater',
        'Autoscaling.ScaleDownStabilizationSeconds: ScaleDownStabilizationSeconds must be 0 or greater',
      ],
    ],
    [
      'stabilisation of more than an hour',
      { autoscaling: { scaleUpStabilizationSeconds: 3601, scaleDownStabilizationSeconds: 3601 } },
      [
        'Autoscaling.ScaleUpStabilizationSeconds: ScaleUpStabilizationSeconds must be 3600 or less',
        'Autoscaling.ScaleDownStabilizationSeconds: ScaleDownStabilizationSeconds must be 3600 or less',
      ],
    ],
    ['a share of 0', { rollout: { failureShare: 0 } }, ['Rollout.FailureShare: FailureShare must be greater than 0']],
    ['a share above 1', { rollout: { failureShare: 1.1 } }, ['Rollout.FailureShare: FailureShare must be 1 or less']],
    [
      'a share that is no number',
      { rollout: { failureShare: NaN } },
      ['Rollout.FailureShare: FailureShare must be greater than 0'],
    ],
    [
      'failures of no time',
      { rollout: { failureWindowSeconds: 0 } },
      ['Rollout.FailureWindowSeconds: FailureWindowSeconds must be 1 or greater'],
    ],
    [
      'failures of more than an hour',
      { rollout: { failureWindowSeconds: 3601 } },
      ['Rollout.FailureWindowSeconds: FailureWindowSeconds must be 3600 or less'],
    ],
    [
      'a drain without time',
      { drain: { deadlineSeconds: 0 } },
      ['Drain.DeadlineSeconds: DeadlineSeconds must be 1 or greater'],
    ],
  ])('refuses %s', (_, extensions, problems) => {
    const lines = problems.map((problem) =>
      typeof problem === 'string' ? `Scheduler.Extensions.${problem}` : problem,
    );
    expect(problemsOf(extensions)).toEqual(lines);
  });

  test.each([
    ['four fields', '0 18 * *'],
    ['six fields', '0 0 18 * * 5'],
    ['a minute that there is not', '60 18 * * 5'],
    ['words', 'every friday evening now please'],
    ['a nickname', '@daily'],
  ])('refuses a time of %s', (_, cron) => {
    const [problem, ...more] = problemsOf(withWindow({ cron }));
    expect(problem).toMatch(/^Scheduler\.Extensions\.Autoscaling\.Schedule\.Windows\[0\]\.Cron: Cron ./);
    expect(more).toEqual([]);
  });

  test.each(['schedule', 'webhook', 'chain'])(
    'wants the parameters of the policy type %s, also while it is off',
    (type) => {
      const autoscaling = anAutoscaling({ policy: { type, parameters: {} } });
      const field = type.charAt(0).toUpperCase() + type.slice(1);
      const missing = `Scheduler.Extensions.Autoscaling.${field}: ${field} is a required field of the policy type ${type}`;
      expect(validateExtensions(aDefinition({ autoscaling }))).toEqual([missing]);
      expect(validateExtensions(aDefinition({ autoscaling, extensions: { rollout: {} } }))).toEqual([missing]);
      expect(validateExtensions(aDefinition({ autoscaling, extensions: fullExtensions() }))).toEqual([]);
    },
  );

  test('looks at parameters of policies that do not decide, as v10 does, and also without autoscaling', () => {
    const definition = aDefinition({ autoscaling: undefined, extensions: withWebhook({ url: '' }) });
    expect(validateExtensions(definition)).toEqual([
      'Scheduler.Extensions.Autoscaling.Webhook.Url: Url is a required field',
    ]);
  });
});
