import fc from 'fast-check';
import { DomainError } from '../errors';
import { emptyFleetCounts } from '../room/count-fleet';
import type { FleetCounts, RoomStatus } from '../room/room';
import type {
  Autoscaling,
  NestedPolicy,
  ScheduleParameters,
  ScheduleWindow,
  SchedulerExtensions,
  WebhookParameters,
} from '../scheduler/scheduler';
import type { AnyPolicy } from './apply-policy';
import { canDownscale } from './can-downscale';
import { desiredRooms } from './desired-rooms';
import type { FleetSettings } from './fleet-settings';
import type { PolicyFacts, WebhookAnswer, WebhookSilence } from './policy-facts';
import { webhooksOfPolicy } from './webhooks-of-policy';

function counts(rooms: Partial<Record<RoomStatus, number>>, runningMatches = 0): FleetCounts {
  const empty = emptyFleetCounts();
  return { ...empty, rooms: { ...empty.rooms, ...rooms }, runningMatches };
}

/** A scheduler with this policy, its parameters where the wire has them. */
function settings(
  { type, schedule, webhook, chain, ...v10 }: AnyPolicy,
  limits: Partial<Autoscaling> = {},
): FleetSettings {
  const own: SchedulerExtensions['autoscaling'] = {
    ...(schedule && { schedule }),
    ...(webhook && { webhook }),
    ...(chain && { chain }),
  };
  const autoscaling = { enabled: true, min: 1, max: -1, cooldown: 0, policy: { type, parameters: v10 }, ...limits };
  return { roomsReplicas: 3, matchAllocation: { maxMatches: 1 }, autoscaling, extensions: { autoscaling: own } };
}

const buffer = (amount: number): NestedPolicy => ({ type: 'fixedBuffer', fixedBuffer: { amount } });
const occupancy = (readyTarget: number, downThreshold = 0.99): NestedPolicy => ({
  type: 'roomOccupancy',
  roomOccupancy: { readyTarget, downThreshold },
});
const webhook = (changes: Partial<WebhookParameters> = {}): NestedPolicy => ({
  type: 'webhook',
  webhook: { url: 'https://scale.test/rooms?token=secret', timeoutMs: 500, maxAnswerAgeSeconds: 600, ...changes },
});
const schedule = (windows: ScheduleWindow[], base?: NestedPolicy): NestedPolicy => ({
  type: 'schedule',
  schedule: { windows, ...(base && { base }) } satisfies ScheduleParameters,
});
const chain = (...policies: NestedPolicy[]): AnyPolicy => ({ type: 'chain', chain: { policies } });

/** Fridays from 18:00 to 22:00 in Berlin. */
const evening = (wants: { min?: number; buffer?: number }): ScheduleWindow => ({
  cron: '0 18 * * 5',
  timezone: 'Europe/Berlin',
  durationSeconds: 4 * 3600,
  min: 0,
  buffer: 0,
  ...wants,
});

const before = Date.parse('2026-11-27T12:00:00Z');
const opens = Date.parse('2026-11-27T17:00:00Z');
const during = Date.parse('2026-11-27T18:00:00Z');
const ends = Date.parse('2026-11-27T21:00:00Z');

function facts(nowMs: number, answers: Record<string, WebhookAnswer> = {}): PolicyFacts {
  return { nowMs, webhookAnswers: new Map(Object.entries(answers)) };
}

const busy = counts({ ready: 20, occupied: 80 }, 80);

describe('desiredRooms with a schedule', () => {
  test.each([
    [
      'does not apply outside of its windows: the replicas hold',
      schedule([evening({ min: 100 })]),
      before,
      3,
      'schedule does not apply until 2026-11-27T17:00:00.000Z; roomsReplicas = 3',
    ],
    [
      'is its base outside of its windows',
      schedule([evening({ min: 100 })], buffer(5)),
      before,
      85,
      'schedule: no window until 2026-11-27T17:00:00.000Z; fixedBuffer: 80 in use + 5 = 85',
    ],
    [
      'has at least so many rooms within a window',
      schedule([evening({ min: 100 })]),
      during,
      100,
      'schedule: window 0 18 * * 5 (Europe/Berlin) until 2026-11-27T21:00:00.000Z wants min = 100',
    ],
    [
      'has at least so many free rooms within a window',
      schedule([evening({ buffer: 30 })]),
      during,
      110,
      'schedule: window 0 18 * * 5 (Europe/Berlin) until 2026-11-27T21:00:00.000Z wants 80 in use + 30 = 110',
    ],
    [
      'has the more of both',
      schedule([evening({ min: 100, buffer: 30 })]),
      during,
      110,
      'schedule: window 0 18 * * 5 (Europe/Berlin) until 2026-11-27T21:00:00.000Z wants max(100, 80 in use + 30) = 110',
    ],
    [
      'has no fewer rooms than its base',
      schedule([evening({ min: 100 })], occupancy(0.5)),
      during,
      160,
      'schedule: window 0 18 * * 5 (Europe/Berlin) until 2026-11-27T21:00:00.000Z wants min = 100; roomOccupancy: ceil(80 matches / (1 - 0.5)) = 160 slots, ceil(160 / 1) = 160; the most is 160',
    ],
    [
      'goes by the window that wants most',
      schedule([evening({ min: 100 }), evening({ min: 120 })]),
      during,
      120,
      'schedule: window 0 18 * * 5 (Europe/Berlin) until 2026-11-27T21:00:00.000Z wants min = 120, the most of 2 that are open',
    ],
    [
      'holds alone where its base says nothing',
      schedule([evening({ min: 100 })], webhook()),
      during,
      100,
      'schedule: window 0 18 * * 5 (Europe/Berlin) until 2026-11-27T21:00:00.000Z wants min = 100; webhook scale.test/rooms does not apply: it has not answered yet',
    ],
    [
      'does not apply where its base does not either',
      schedule([evening({ min: 100 })], webhook()),
      before,
      3,
      'schedule does not apply until 2026-11-27T17:00:00.000Z; webhook scale.test/rooms does not apply: it has not answered yet; roomsReplicas = 3',
    ],
  ])('%s', (_, policy, nowMs, desired, formula) => {
    expect(desiredRooms(settings(policy), busy, facts(nowMs))).toMatchObject({ desired, formula });
  });

  test('knows when it changes: a window opens, or ends', () => {
    const policy = settings(schedule([evening({ min: 100 }), { ...evening({ min: 9 }), cron: '0 19 * * 5' }]));
    expect(desiredRooms(policy, busy, facts(before)).nextChangeAtMs).toBe(opens);
    expect(desiredRooms(policy, busy, facts(opens)).nextChangeAtMs).toBe(Date.parse('2026-11-27T18:00:00Z'));
    expect(desiredRooms(policy, busy, facts(during)).nextChangeAtMs).toBe(ends);
  });

  test('is kept within min and max', () => {
    const policy = schedule([evening({ min: 100 })]);
    expect(desiredRooms(settings(policy, { max: 50 }), busy, facts(during))).toMatchObject({ desired: 50 });
    expect(desiredRooms(settings(policy, { min: 7 }), busy, facts(before))).toMatchObject({
      desired: 7,
      formula: expect.stringMatching(/roomsReplicas = 3, at least 7 \(min\)$/),
    });
  });
});

describe('desiredRooms with a webhook', () => {
  const url = 'https://scale.test/rooms?token=secret';

  test('is its last good answer', () => {
    expect(desiredRooms(settings(webhook()), busy, facts(during, { [url]: { desired: 42, atMs: during } }))).toEqual({
      desired: 42,
      formula: 'webhook scale.test/rooms: answered at 2026-11-27T18:00:00.000Z = 42',
      limitedBy: null,
      nextChangeAtMs: null,
      notes: [],
    });
  });

  test.each([
    [600, 42],
    [601, 3],
  ])('with an answer that is %p s old, of 600 s, is %p', (seconds, desired) => {
    const answers = { [url]: { desired: 42, atMs: during - seconds * 1000 } };
    expect(desiredRooms(settings(webhook()), busy, facts(during, answers)).desired).toBe(desired);
  });

  test('without one is the replicas, and says why', () => {
    const old = { [url]: { desired: 42, atMs: before } };
    expect(desiredRooms(settings(webhook()), busy, facts(during, old))).toMatchObject({
      desired: 3,
      notes: [
        'The webhook scale.test/rooms says nothing: its last answer, 42 at 2026-11-27T12:00:00.000Z, is older than 600 s.',
      ],
    });
  });

  test('that may not keep an answer goes by the one of this look only', () => {
    const strict = settings(webhook({ maxAnswerAgeSeconds: 0 }));
    expect(desiredRooms(strict, busy, facts(during, { [url]: { desired: 42, atMs: during } })).desired).toBe(42);
    expect(desiredRooms(strict, busy, facts(during, { [url]: { desired: 42, atMs: during - 1 } })).desired).toBe(3);
  });

  describe('that does not answer', () => {
    const failure = { detail: 'It answered with HTTP status 500, and 200 is an answer.', atMs: during - 2_000 };
    const failed: WebhookSilence = { failure, askedAtMs: null, askedAgainAtMs: during + 3_000 };
    const asked: WebhookSilence = { failure: null, askedAtMs: during - 1_000, askedAgainAtMs: null };
    const answeredAgo = (seconds: number): WebhookAnswer => ({ desired: 42, atMs: during - seconds * 1000 });
    const says = (silence: WebhookSilence, answer?: WebhookAnswer) =>
      desiredRooms(settings(webhook()), busy, {
        ...facts(during, answer && { [url]: answer }),
        webhookSilences: new Map([[url, silence]]),
      });

    test.each<
      [string, WebhookSilence, WebhookAnswer | undefined, { desired: number; next: number | null; note: string }]
    >([
      [
        'goes by its last answer, and is asked again',
        failed,
        answeredAgo(60),
        {
          desired: 42,
          next: during + 3_000,
          note: 'The webhook scale.test/rooms failed at 2026-11-27T17:59:58.000Z: It answered with HTTP status 500, and 200 is an answer. It is asked again at 2026-11-27T18:00:03.000Z. Its last answer, 42 at 2026-11-27T17:59:00.000Z, holds until 2026-11-27T18:09:00.000Z.',
        },
      ],
      [
        'looks when its last answer ends, where that is sooner',
        failed,
        answeredAgo(599),
        { desired: 42, next: during + 1_001, note: 'holds until 2026-11-27T18:00:01.000Z.' },
      ],
      [
        'goes by the replicas once its last answer is too old',
        failed,
        answeredAgo(601),
        {
          desired: 3,
          next: during + 3_000,
          note: 'is older than 600 s. It failed at 2026-11-27T17:59:58.000Z: It answered with HTTP status 500, and 200 is an answer. It is asked again at 2026-11-27T18:00:03.000Z.',
        },
      ],
      [
        'says why where it never answered',
        failed,
        undefined,
        {
          desired: 3,
          next: during + 3_000,
          note: 'The webhook scale.test/rooms says nothing: it has not answered yet. It failed at 2026-11-27T17:59:58.000Z: It answered with HTTP status 500, and 200 is an answer. It is asked again at 2026-11-27T18:00:03.000Z.',
        },
      ],
      [
        'is not waited for while a question is on its way',
        asked,
        answeredAgo(60),
        {
          desired: 42,
          next: during + 540_001,
          note: 'The webhook scale.test/rooms was asked at 2026-11-27T17:59:59.000Z, and this look goes on without it; another one follows when it answers. Its last answer, 42 at',
        },
      ],
      [
        'nor for its first answer',
        asked,
        undefined,
        {
          desired: 3,
          next: null,
          note: 'it has not answered yet. It was asked at 2026-11-27T17:59:59.000Z, and this look',
        },
      ],
      [
        'tells of both',
        { ...asked, failure },
        undefined,
        {
          desired: 3,
          next: null,
          note: 'It failed at 2026-11-27T17:59:58.000Z: It answered with HTTP status 500, and 200 is an answer. It was asked again at 2026-11-27T17:59:59.000Z, and this look',
        },
      ],
    ])('%s', (_, silence, answer, { desired, next, note }) => {
      expect(says(silence, answer)).toMatchObject({
        desired,
        nextChangeAtMs: next,
        notes: [expect.stringContaining(note)],
      });
    });

    test('is told of by a chain and by a schedule that come to it', () => {
      const silences = { webhookSilences: new Map([[url, failed]]) };
      for (const policy of [chain(webhook(), buffer(5)), schedule([], webhook())]) {
        const { notes, nextChangeAtMs } = desiredRooms(settings(policy), busy, { ...facts(during), ...silences });
        expect({ notes, nextChangeAtMs }).toEqual({
          notes: [expect.stringContaining('HTTP status 500')],
          nextChangeAtMs: during + 3_000,
        });
      }
    });
  });

  test('tells nobody the secret in its URL', () => {
    const answered: Record<string, WebhookAnswer> = { [url]: { desired: 42, atMs: during } };
    const failure = { detail: 'Nobody listens.', atMs: during };
    const webhookSilences = new Map([[url, { failure, askedAtMs: during, askedAgainAtMs: null }]]);
    for (const answers of [{}, answered]) {
      const said = desiredRooms(settings(webhook()), busy, { ...facts(during, answers), webhookSilences });
      expect(JSON.stringify(said)).not.toContain('secret');
    }
  });
});

describe('desiredRooms with a chain', () => {
  const policy = chain(schedule([evening({ min: 100 })]), webhook(), buffer(5));

  test('is the first policy that applies, and tells of those before it', () => {
    expect(desiredRooms(settings(policy), busy, facts(before))).toEqual({
      desired: 85,
      formula:
        'chain: schedule does not apply until 2026-11-27T17:00:00.000Z; webhook scale.test/rooms does not apply: it has not answered yet; fixedBuffer: 80 in use + 5 = 85',
      limitedBy: null,
      nextChangeAtMs: opens,
      notes: ['The webhook scale.test/rooms says nothing: it has not answered yet.'],
    });
  });

  test('does not go on after that', () => {
    const { desired, formula, notes } = desiredRooms(settings(policy), busy, facts(during));
    expect({ desired, notes }).toEqual({ desired: 100, notes: [] });
    expect(formula).not.toContain('webhook');
  });

  test('is the replicas where none applies', () => {
    expect(desiredRooms(settings(chain(webhook())), busy, facts(before)).desired).toBe(3);
  });
});

describe('canDownscale', () => {
  const url = 'https://scale.test/rooms?token=secret';
  const hundred = { [url]: { desired: 100, atMs: during } };

  test.each([
    [
      'a schedule goes by the rule of its base',
      schedule([evening({ min: 50 })], occupancy(0.5, 0.6)),
      during,
      counts({ ready: 120, occupied: 80 }, 80),
      false,
      'roomOccupancy: 80 wanted free / 120 free > 0.6 (downThreshold)',
    ],
    [
      'also outside of its windows',
      schedule([evening({ min: 50 })], buffer(5)),
      before,
      counts({ ready: 20, occupied: 80 }),
      true,
      'fixedBuffer: 100 rooms > 85 needed',
    ],
    [
      'a schedule without base wants fewer rooms than there are',
      schedule([evening({ min: 99 })]),
      during,
      busy,
      true,
      'schedule: 100 rooms > 99 wanted',
    ],
    ['or it does not', schedule([evening({ min: 100 })]), during, busy, false, 'schedule: 100 rooms <= 100 wanted'],
    [
      'outside of its windows it has no say',
      schedule([evening({ min: 100 })]),
      before,
      busy,
      true,
      'schedule does not apply until 2026-11-27T17:00:00.000Z',
    ],
    [
      'a webhook wants fewer rooms than there are; failed ones do not count',
      webhook(),
      during,
      counts({ ready: 101, error: 5 }),
      true,
      'webhook: 101 rooms > 100 wanted',
    ],
    ['or it does not', webhook(), during, counts({ ready: 100, error: 5 }), false, 'webhook: 100 rooms <= 100 wanted'],
    [
      'a chain goes by the rule of the policy that applies',
      chain(schedule([evening({ min: 1 })]), occupancy(0.5, 0.6)),
      before,
      counts({ ready: 120, occupied: 80 }, 80),
      false,
      'roomOccupancy: 80 wanted free / 120 free > 0.6 (downThreshold)',
    ],
  ])('%s', (_, policy, nowMs, fleet, allowed, formula) => {
    expect(canDownscale(settings(policy), fleet, facts(nowMs, hundred))).toEqual({ allowed, formula });
  });

  const asked: WebhookSilence = { failure: null, askedAtMs: during - 1_000, askedAgainAtMs: null };
  const failure = { detail: 'Nobody listens.', atMs: during - 5_000 };
  const old = { [url]: { desired: 100, atMs: before } };
  test.each<[string, WebhookSilence, Record<string, WebhookAnswer>, boolean]>([
    ['not while the first answer of a webhook is on its way', asked, {}, false],
    ['nor while one is on its way, and the last one is too old', asked, old, false],
    ['by the last one that holds', asked, hundred, true],
    ['when it failed, and is asked again just now', { ...asked, failure }, {}, true],
    ['when it failed', { failure, askedAtMs: null, askedAgainAtMs: during + 5_000 }, {}, true],
  ])('%s', (_, silence, answers, allowed) => {
    const told = { ...facts(during, answers), webhookSilences: new Map([[url, silence]]) };
    for (const policy of [webhook(), chain(webhook(), buffer(5))]) {
      const decision = canDownscale(settings(policy), counts({ ready: 200 }), told);
      expect(decision.allowed).toBe(allowed);
      expect(decision.formula).not.toContain('secret');
    }
  });
});

describe('policies that cannot be applied', () => {
  test.each<[string, AnyPolicy]>([
    ['a schedule without parameters', { type: 'schedule' }],
    ['a webhook without parameters', { type: 'webhook', schedule: { windows: [] } }],
    ['a chain without parameters', { type: 'chain' }],
    ['a chain with such a one', chain({ type: 'fixedBuffer' })],
    ['an unknown type within', chain({ type: 'guess' })],
  ])('%s is refused', (_, policy) => {
    for (const decide of [desiredRooms, canDownscale]) {
      expect(() => decide(settings(policy), busy, facts(during))).toThrow(
        expect.objectContaining({ code: 'autoscaling.policy_invalid' }) as DomainError,
      );
    }
  });

  test.each([['schedule', schedule([evening({ min: 1 })])] as const, ['webhook', webhook()] as const])(
    'a %s without facts is refused',
    (_, policy) => {
      expect(() => desiredRooms(settings(policy), busy)).toThrow(
        expect.objectContaining({ code: 'autoscaling.facts_missing' }) as DomainError,
      );
    },
  );
});

describe('webhooksOfPolicy', () => {
  const other = webhook({ url: 'https://other.test/' });

  test.each<[string, FleetSettings, string[]]>([
    ['none of v10 policies', settings(buffer(5)), []],
    ['the one of a webhook policy', settings(webhook({ url: 'a' })), ['a']],
    [
      'those of a chain',
      settings(chain(webhook({ url: 'a' }), buffer(1), schedule([], webhook({ url: 'b' })))),
      ['a', 'b'],
    ],
    ['the one under a schedule', settings(schedule([evening({ min: 1 })], other)), ['https://other.test/']],
    ['not of parameters whose policy does not decide', settings({ ...buffer(5), webhook: other.webhook }), []],
    ['none while autoscaling is disabled', settings(webhook(), { enabled: false }), []],
  ])('%s', (_, asked, urls) => {
    expect(webhooksOfPolicy(asked).map(({ url }) => url)).toEqual(urls);
  });

  test('asks a URL once, with the longest deadline', () => {
    const policy = chain(webhook({ timeoutMs: 100 }), webhook({ timeoutMs: 900 }), webhook({ timeoutMs: 500 }));
    expect(webhooksOfPolicy(settings(policy))).toMatchObject([{ timeoutMs: 900 }]);
  });
});

describe('any policy', () => {
  const urls = ['https://a.test/', 'https://b.test/'];
  const window = fc.record({
    cron: fc.constantFrom('0 18 * * 5', '*/30 * * * *', '0 0 1 * *'),
    timezone: fc.constantFrom('UTC', 'Europe/Berlin'),
    durationSeconds: fc.integer({ min: 1, max: 86_400 }),
    min: fc.nat({ max: 300 }),
    buffer: fc.nat({ max: 300 }),
  });
  const simple = fc.oneof(
    fc.integer({ min: 1, max: 999 }).map((perMille) => occupancy(perMille / 1000)),
    fc.integer({ min: 1, max: 300 }).map(buffer),
    fc.constantFrom(...urls).map((url) => webhook({ url })),
  );
  const scheduled = fc
    .tuple(fc.array(window, { minLength: 1, maxLength: 3 }), fc.option(simple, { nil: undefined }))
    .map(([windows, base]) => schedule(windows, base));
  const policy: fc.Arbitrary<AnyPolicy> = fc.oneof(
    simple,
    scheduled,
    fc.array(fc.oneof(simple, scheduled), { minLength: 1, maxLength: 4 }).map((policies) => chain(...policies)),
  );
  const asked = fc.record({
    policy,
    min: fc.integer({ min: 1, max: 200 }),
    above: fc.option(fc.nat({ max: 500 }), { nil: null }),
    maxMatches: fc.integer({ min: 1, max: 35 }),
    rooms: fc.record({
      ready: fc.nat(200),
      pending: fc.nat(20),
      occupied: fc.nat(200),
      active: fc.nat(200),
      allocated: fc.nat(20),
    }),
    matches: fc.nat({ max: 5_000 }),
    nowMs: fc.integer({ min: before, max: before + 31 * 86_400_000 }),
    answers: fc.dictionary(
      fc.constantFrom(...urls),
      fc.record({ desired: fc.nat(100_000), atMs: fc.integer({ min: before - 86_400_000, max: before }) }),
    ),
  });
  type Asked = typeof asked extends fc.Arbitrary<infer T> ? T : never;

  function look({ policy: chosen, min, above, maxMatches, rooms, matches, nowMs, answers }: Asked) {
    const max = above === null ? -1 : min + above;
    const scheduler = { ...settings(chosen, { min, max }), matchAllocation: { maxMatches } };
    return { max, scheduler, fleet: counts(rooms, matches), facts: facts(nowMs, answers) };
  }

  test('wants a whole number of rooms within min and max', () => {
    fc.assert(
      fc.property(asked, (row) => {
        const { max, scheduler, fleet, facts: known } = look(row);
        const { desired } = desiredRooms(scheduler, fleet, known);
        expect(Number.isSafeInteger(desired)).toBe(true);
        expect(desired).toBeGreaterThanOrEqual(row.min);
        if (max >= 0) expect(desired).toBeLessThanOrEqual(max);
      }),
    );
  });

  test('never wants fewer rooms because there are more matches, or more rooms in use', () => {
    fc.assert(
      fc.property(asked, fc.nat({ max: 50 }), fc.nat({ max: 50 }), (row, moreMatches, moreInUse) => {
        const { scheduler, fleet, facts: known } = look(row);
        const fuller = look({
          ...row,
          rooms: { ...row.rooms, occupied: row.rooms.occupied + moreInUse },
          matches: row.matches + moreMatches,
        }).fleet;
        const { desired } = desiredRooms(scheduler, fleet, known);
        expect(desiredRooms(scheduler, fuller, known).desired).toBeGreaterThanOrEqual(desired);
      }),
    );
  });

  test('says when it changes with time alone: not before that, with the same answers', () => {
    fc.assert(
      fc.property(asked, fc.double({ min: 0, max: 1, noNaN: true }), (row, share) => {
        // Answers that never become too old: the only thing that changes is the time.
        const { scheduler, fleet, facts: known } = look({ ...row, answers: {} });
        const now = desiredRooms(scheduler, fleet, known);
        const { nextChangeAtMs } = now;
        const untilMs = nextChangeAtMs ?? row.nowMs + 400 * 86_400_000;
        expect(untilMs).toBeGreaterThan(row.nowMs);
        const laterMs = row.nowMs + Math.floor((untilMs - 1 - row.nowMs) * share);
        expect(desiredRooms(scheduler, fleet, facts(laterMs)).desired).toBe(now.desired);
      }),
    );
  });

  test('is applied to what it is given, and changes nothing of it', () => {
    fc.assert(
      fc.property(asked, (row) => {
        const { scheduler, fleet, facts: known } = look(row);
        const earlier = structuredClone({ scheduler, fleet });
        const first = desiredRooms(scheduler, fleet, known);
        canDownscale(scheduler, fleet, known);
        expect(desiredRooms(scheduler, fleet, known)).toEqual(first);
        expect({ scheduler, fleet }).toEqual(earlier);
      }),
    );
  });
});
