import type { Operation } from '../../domain/operation/operation';
import type { HealthRecord } from '../../ports/health-records';
import { composeRolloutReport, type RolloutReportFacts } from './compose-rollout-report';

const nowMs = 1_000_000;
const surge = { code: 'surge', detail: 'The surge of 25 is used up: 10 rooms are starting.' } as const;
const paused = { since: new Date(0), by: 'api', reason: 'tea' };
const versionChange = { id: 'op-1', waiting: true } as Operation;

const record = (changes: Partial<HealthRecord> = {}): HealthRecord => ({
  createdAtMs: 0,
  seenAtMs: nowMs - 1_000,
  version: 'v2.0.0',
  inputs: {
    counts: { rooms: {}, instances: {}, runningMatches: 0 } as HealthRecord['inputs']['counts'],
    draining: 0,
    available: 100,
    roomsReplicas: 100,
    maxMatches: 1,
    maxSurge: '25%',
    min: null,
    max: null,
    replacedVersions: ['v1.0.0'],
    lastDownscaleAtMs: null,
    earlyEnds: 0,
  },
  formula: 'roomsReplicas = 100',
  desired: 100,
  notes: [],
  actions: [],
  blockedBy: [{ code: 'max', detail: 'More are wanted.' }, surge],
  nextLookAtMs: null,
  rollout: { outdated: 40, leaving: 10, updated: 50, starting: 25, upper: 125, deadlineAtMs: null },
  memory: {
    remembered: [],
    webhookAnswers: {},
    rolloutSamples: [100, 75, 60].map((left, index) => ({ atMs: nowMs - 60_000 + index * 10_000, left })),
    outdatedAtMs: null,
  },
  ...changes,
});

const noneReplaced = { ...record().inputs, replacedVersions: [] };
const lastOnes = { outdated: 0, leaving: 50, updated: 75, starting: 0, upper: 125, deadlineAtMs: nowMs + 5_000 };
const report = (changes: Partial<RolloutReportFacts> = {}) =>
  composeRolloutReport({ version: 'v2.0.0', record: record(), nowMs, paused: null, versionChange: null, ...changes });

describe('composeRolloutReport', () => {
  test('a rollout is told with its rooms, its share, what it waits for and its end', () => {
    expect(report()).toEqual({
      phase: 'replacing',
      version: 'v2.0.0',
      replacedVersions: ['v1.0.0'],
      rooms: { outdated: 40, leaving: 10, updated: 50, starting: 25, upper: 125, deadlineAtMs: null },
      progress: 0.5,
      waitsFor: [surge],
      // Half of the rooms went within a minute.
      endsAtMs: nowMs + 60_000,
      latestEndMs: null,
      seenAtMs: nowMs - 1_000,
      versionChange: null,
    });
  });

  test.each<[string, Partial<RolloutReportFacts>, Partial<ReturnType<typeof report>>]>([
    [
      'no room is to be replaced',
      { record: record({ rollout: null, inputs: noneReplaced }) },
      { phase: 'none', replacedVersions: [], seenAtMs: nowMs - 1_000 },
    ],
    [
      'rooms that are empty are on their way out',
      { record: record({ rollout: null }) },
      { phase: 'finishing', replacedVersions: ['v1.0.0'], rooms: null, progress: null, endsAtMs: null },
    ],
    ['a version is on its way', { record: record({ rollout: null }), versionChange }, { phase: 'preparing' }],
    [
      'the last that are left leave until a deadline',
      { record: record({ rollout: lastOnes }) },
      { phase: 'replacing', endsAtMs: nowMs + 5_000, latestEndMs: nowMs + 5_000 },
    ],
    [
      'others do not leave yet, and have all their time before them',
      { record: record({ rollout: { ...lastOnes, outdated: 1 } }) },
      { latestEndMs: null },
    ],
    [
      'a deadline ends nothing while it is paused',
      { record: record({ rollout: lastOnes }), paused },
      { endsAtMs: null, latestEndMs: null },
    ],
    ['another version is on its way', { versionChange }, { phase: 'replacing', versionChange }],
    ['nobody has looked', { record: null }, { phase: 'unknown', seenAtMs: null }],
    ['nobody has looked, and a version is on its way', { record: null, versionChange }, { phase: 'preparing' }],
    ['the last look was at another version', { version: 'v3.0.0' }, { phase: 'unknown', rooms: null, seenAtMs: null }],
    [
      'the rooms are not known',
      {
        record: record({
          desired: null,
          rollout: null,
          blockedBy: [{ code: 'rebuilding', detail: 'They are found again.' }],
        }),
      },
      { phase: 'unknown', waitsFor: [{ code: 'rebuilding', detail: 'They are found again.' }] },
    ],
    [
      'it was paused after the last look',
      { paused },
      {
        waitsFor: [{ code: 'paused', detail: 'The automation is paused since 1970-01-01T00:00:00.000Z by api: tea.' }],
        endsAtMs: null,
      },
    ],
    [
      'it was resumed after the last look',
      { record: record({ blockedBy: [{ code: 'paused', detail: 'It is paused.' }] }) },
      { waitsFor: [], endsAtMs: nowMs + 60_000 },
    ],
    [
      'it is paused, and the last look says so',
      { paused, record: record({ blockedBy: [{ code: 'paused', detail: 'It is paused.' }] }) },
      { waitsFor: [{ code: 'paused', detail: 'It is paused.' }], endsAtMs: null },
    ],
  ])('%s', (_, changes, expected) => {
    expect(report(changes)).toMatchObject(expected);
  });
});
