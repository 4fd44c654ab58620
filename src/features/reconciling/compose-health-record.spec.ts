import { emptyFleetCounts } from '../../domain/room/count-fleet';
import type { HealthFacts, HealthPlan } from '../../domain/room/health-plan';
import { aRoom } from '../../domain/room/room.fixture';
import { mostHealthRecordBytes, type HealthAction, type HealthRecord } from '../../ports/health-records';
import { composeHealthRecord } from './compose-health-record';

const nowMs = 1_000_000;
const facts: HealthFacts = {
  rooms: [],
  nowMs,
  hearingSinceMs: 0,
  rebuilding: false,
  scheduler: {
    version: 'v2.0.0',
    roomsReplicas: 5,
    matchAllocation: { maxMatches: 1 },
    maxSurge: '25%',
    autoscaling: { enabled: false, min: 1, max: 9, cooldown: 0, policy: { type: 'fixedBuffer', parameters: {} } },
  },
  replacedVersions: new Set(['v1.1.0', 'v1.0.0']),
  rollback: {
    toVersion: '',
    isAllowed: true,
    failed: 0,
    lastReason: '',
    failureShare: 0.5,
    failureWindowMs: 1,
    outdatedAtMs: null,
  },
  paused: null,
  lastDownscaleAtMs: null,
  earlyEnds: { count: 2, notCreated: 0, lastAtMs: null, lastReason: '', lostSince: 0 },
  webhookAnswers: new Map([['https://a.example.com', { desired: 3, atMs: 5 }]]),
  webhookSilences: new Map(),
  last: null,
  limits: {
    pingTimeoutMs: 1,
    initializationTimeoutMs: 1,
    deletionTimeoutMs: 1,
    drainConfirmMs: 1,
    drainDeadlineMs: null,
  },
  addLimit: 10,
  removeLimit: 10,
};
const plan: HealthPlan = {
  add: 0,
  claimIds: [],
  drainIds: [],
  released: [],
  expired: [],
  drained: [],
  rollback: null,
  rollout: { outdated: 3, leaving: 1, updated: 2, starting: 0, upper: 7, deadlineAtMs: null },
  desired: 5,
  available: 6,
  counts: { rooms: {}, instances: {}, runningMatches: 0 } as unknown as NonNullable<HealthPlan['counts']>,
  formula: 'roomsReplicas = 5',
  remembered: [{ atMs: 1, min: 1, max: 2 }],
  notes: ['a note'],
  blockedBy: [{ code: 'surge', detail: 'used up' }],
  startsHeldUntilMs: null,
  backsOff: false,
  nextLookAtMs: 1_000_500,
};
const drain: HealthAction = { action: 'drain', amount: 12, roomIds: [], reason: 'because' };

const compose = (changes: {
  facts?: Partial<HealthFacts>;
  plan?: Partial<HealthPlan>;
  actions?: HealthAction[];
  earlier?: HealthRecord | null;
}): HealthRecord =>
  composeHealthRecord({
    scheduler: { createdAt: new Date(500) },
    facts: { ...facts, ...changes.facts },
    plan: { ...plan, ...changes.plan },
    actions: changes.actions ?? [],
    earlier: changes.earlier ?? null,
  });

describe('the record of a look', () => {
  it('says what was seen, what came of it, and what the next look goes by', () => {
    expect(compose({ actions: [drain] })).toEqual({
      createdAtMs: 500,
      seenAtMs: nowMs,
      version: 'v2.0.0',
      inputs: {
        counts: emptyFleetCounts(),
        draining: 0,
        available: 6,
        roomsReplicas: 5,
        maxMatches: 1,
        maxSurge: '25%',
        min: null,
        max: null,
        replacedVersions: ['v1.0.0', 'v1.1.0'],
        lastDownscaleAtMs: null,
        earlyEnds: 2,
      },
      formula: 'roomsReplicas = 5',
      desired: 5,
      notes: ['a note'],
      actions: [drain],
      blockedBy: [{ code: 'surge', detail: 'used up' }],
      nextLookAtMs: 1_000_500,
      rollout: plan.rollout,
      memory: {
        remembered: plan.remembered,
        webhookAnswers: { 'https://a.example.com': { desired: 3, atMs: 5 } },
        rolloutSamples: [{ atMs: nowMs, left: 4 }],
        outdatedAtMs: nowMs,
      },
    });
  });

  it('counts all rooms, also those that are no capacity, and nothing where nobody knows', () => {
    const rooms = [
      aRoom({}),
      aRoom({ status: 'error' }),
      aRoom({ status: 'terminating' }),
      aRoom({ drainingSinceMs: 1, drainReason: 'scale_down' }),
      aRoom({ validation: true, drainingSinceMs: 1 }),
    ];
    const { counts, draining } = compose({ facts: { ...facts, rooms } }).inputs;
    expect(counts?.rooms).toMatchObject({ ready: 2, error: 1, terminating: 1 });
    expect(draining).toBe(1);
    const rebuilding = { ...facts, rooms, rebuilding: true };
    expect(compose({ facts: rebuilding }).inputs).toMatchObject({ counts: null, draining: null });
  });

  it('keeps when older rooms were left last, once they are not', () => {
    const done = {
      facts: { ...facts, rollback: { ...facts.rollback, outdatedAtMs: 7 } },
      plan: { ...plan, rollout: null },
    };
    expect(compose(done).memory.outdatedAtMs).toBe(7);
  });

  it('names the autoscaling’s limits where it is enabled', () => {
    const autoscaling = { ...facts.scheduler.autoscaling!, enabled: true };
    expect(compose({ facts: { scheduler: { ...facts.scheduler, autoscaling } } }).inputs).toMatchObject({
      min: 1,
      max: 9,
    });
  });

  it('names the first of many rooms', () => {
    const roomIds = Array.from({ length: 12 }, (_, place) => `room-${place}`);
    expect(compose({ actions: [{ ...drain, roomIds }] }).actions).toEqual([
      { ...drain, roomIds: roomIds.slice(0, 10) },
    ]);
  });

  it('is never too large, whatever others say in it', () => {
    const text = '\u0000'.repeat(100_000);
    const many = <T>(count: number, one: T): T[] => Array.from({ length: count }, () => one);
    const record = compose({
      facts: {
        replacedVersions: new Set(Array.from({ length: 10_000 }, (_, place) => `v${place}.0.0`)),
        webhookAnswers: new Map([[`https://a.example.com/${text}`, { desired: 3, atMs: 5 }]]),
      },
      plan: { notes: many(100, text), formula: text, blockedBy: many(14, { code: 'max' as const, detail: text }) },
      actions: many(20, { ...drain, roomIds: many(10_000, 'a'.repeat(100)), reason: text }),
    });
    expect(Buffer.byteLength(JSON.stringify(record))).toBeLessThanOrEqual(mostHealthRecordBytes);
    expect(record.memory.webhookAnswers).toEqual({});
    expect(record.actions[0]).toMatchObject({ action: 'drain', amount: 12 });
  });

  describe('notes how many rooms of replaced versions are left', () => {
    const after = (ms: number, earlier: HealthRecord, changes: Parameters<typeof compose>[0] = {}): HealthRecord =>
      compose({ ...changes, facts: { nowMs: earlier.seenAtMs + ms, ...changes.facts }, earlier });
    const samples = ({ memory }: HealthRecord) => memory.rolloutSamples;

    it('some seconds apart', () => {
      const first = compose({});
      const second = after(4_999, first);
      expect(samples(second)).toEqual(samples(first));
      const third = after(1, second, { plan: { rollout: { ...plan.rollout!, outdated: 1 } } });
      expect(samples(third)).toEqual([
        { atMs: nowMs, left: 4 },
        { atMs: nowMs + 5_000, left: 2 },
      ]);
    });

    it('the last sixty times', () => {
      let record = compose({});
      for (let looks = 0; looks < 100; looks++) record = after(60_000, record);
      expect(samples(record)).toHaveLength(60);
      expect(samples(record).at(-1)?.atMs).toBe(record.seenAtMs);
    });

    it('of this rollout only, and keeps them while nobody knows', () => {
      const record = compose({});
      expect(samples(after(60_000, record, { plan: { rollout: null } }))).toEqual([]);
      expect(samples(after(60_000, record, { plan: { rollout: null, counts: null } }))).toEqual(samples(record));
      const next = { ...facts.scheduler, version: 'v3.0.0' };
      expect(samples(after(60_000, record, { facts: { scheduler: next } }))).toHaveLength(1);
    });

    it('also when the clock was ahead before', () => {
      expect(samples(after(-600_000, compose({})))).toHaveLength(2);
    });
  });
});
