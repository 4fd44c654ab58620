import { instanceStatuses, roomStatuses, type FleetCounts } from '../../src/domain/room/room';
import {
  healthRecordFormat,
  mostHealthRecordBytes,
  type HealthRecord,
  type HealthRecords,
} from '../../src/ports/health-records';

export interface HealthRecordsUnderTest {
  records: HealthRecords;
  /** Those of another process. */
  others: HealthRecords;
  /** Puts a text in a record's place, as another release of Maestro does. */
  leave(scheduler: string, text: string): Promise<void>;
  /** The rooms of a scheduler are forgotten, as at its deletion. */
  deleteRooms(scheduler: string): Promise<void>;
  loseEverything(): Promise<void>;
  close(): Promise<void>;
}

const noCounts: FleetCounts = {
  rooms: Object.fromEntries(roomStatuses.map((status) => [status, 0])) as FleetCounts['rooms'],
  instances: Object.fromEntries(instanceStatuses.map((status) => [status, 0])) as FleetCounts['instances'],
  runningMatches: 0,
};

export function aHealthRecord(changes: Partial<HealthRecord> = {}): HealthRecord {
  return {
    createdAtMs: 1_699_000_000_000,
    seenAtMs: 1_700_000_000_000,
    version: 'v1.0.0',
    inputs: {
      counts: { ...noCounts, rooms: { ...noCounts.rooms, ready: 3 } },
      draining: 0,
      available: 3,
      roomsReplicas: 5,
      maxMatches: 1,
      maxSurge: '25%',
      min: null,
      max: null,
      replacedVersions: ['v0.9.0'],
      lastDownscaleAtMs: null,
      earlyEnds: 0,
    },
    formula: 'roomsReplicas = 5',
    desired: 5,
    notes: [],
    actions: [{ action: 'add', amount: 2, roomIds: [], reason: '3 rooms are available, 5 are wanted — “müde”' }],
    blockedBy: [{ code: 'surge', detail: 'The surge of 1 is used up.' }],
    nextLookAtMs: 1_700_000_010_000,
    rollout: { outdated: 1, leaving: 0, updated: 2, starting: 0, upper: 6, deadlineAtMs: null },
    memory: {
      remembered: [{ atMs: 1_699_999_000_000, min: 3, max: 5 }],
      webhookAnswers: { 'https://forecast.example.com/?game=a:b': { desired: 4, atMs: 1_699_999_999_000 } },
      rolloutSamples: [{ atMs: 1_699_999_990_000, left: 2 }],
      outdatedAtMs: null,
    },
    ...changes,
  };
}

/** Every implementation of `HealthRecords`, the fake included, keeps these promises. */
export function describeHealthRecords(name: string, open: () => Promise<HealthRecordsUnderTest>): void {
  describe(name, () => {
    let under: HealthRecordsUnderTest;
    beforeAll(async () => void (under = await open()));
    afterAll(() => under?.close());
    beforeEach(() => under.loseEverything());

    it('knows nothing of a scheduler that was never looked at', async () => {
      expect(await under.records.read('arena')).toBeNull();
    });

    it('answers what was written, whoever asks', async () => {
      await under.records.write('arena', aHealthRecord());
      expect(await under.records.read('arena')).toEqual(aHealthRecord());
      expect(await under.others.read('arena')).toEqual(aHealthRecord());
    });

    it('keeps the last one only', async () => {
      await under.records.write('arena', aHealthRecord());
      const last = aHealthRecord({ seenAtMs: 2, desired: null, rollout: null, actions: [] });
      await under.others.write('arena', last);
      expect(await under.records.read('arena')).toEqual(last);
    });

    it('keeps schedulers apart', async () => {
      const names = ['arena', 'arena:', 'a', '{p00}', 'ü b'];
      for (const [place, each] of names.entries()) await under.records.write(each, aHealthRecord({ seenAtMs: place }));
      const read = await Promise.all(names.map((each) => under.records.read(each)));
      expect(read.map((record) => record?.seenAtMs)).toEqual([0, 1, 2, 3, 4]);
    });

    it('forgets a scheduler whose rooms are forgotten, and no other', async () => {
      await under.records.write('arena', aHealthRecord());
      await under.records.write('other', aHealthRecord());
      await under.deleteRooms('arena');
      expect(await under.records.read('arena')).toBeNull();
      expect(await under.records.read('other')).not.toBeNull();
    });

    it('refuses what is too large, and keeps the one before', async () => {
      await under.records.write('arena', aHealthRecord());
      const large = aHealthRecord({ formula: 'x'.repeat(mostHealthRecordBytes) });
      await expect(under.records.write('arena', large)).rejects.toMatchObject({ code: 'health_record.too_large' });
      expect(await under.records.read('arena')).toEqual(aHealthRecord());
    });

    it.each(['{}', '[]', 'null', '', 'no JSON'])('takes %s for no record, and writes over it', async (text) => {
      await under.leave('arena', text);
      expect(await under.records.read('arena')).toBeNull();
      await under.records.write('arena', aHealthRecord());
      expect(await under.records.read('arena')).toEqual(aHealthRecord());
    });

    it.each([
      ['without a number', aHealthRecord()],
      ['of a release before', { format: healthRecordFormat - 1, record: aHealthRecord() }],
      ['of a release after', { format: healthRecordFormat + 1, record: aHealthRecord() }],
      ['that lacks something', { format: healthRecordFormat, record: { ...aHealthRecord(), memory: {} } }],
    ])('takes one %s for none', async (_, stored) => {
      await under.leave('arena', JSON.stringify(stored));
      expect(await under.records.read('arena')).toBeNull();
    });

    it('may lose everything, and goes on', async () => {
      await under.records.write('arena', aHealthRecord());
      await under.loseEverything();
      expect(await under.records.read('arena')).toBeNull();
      await under.records.write('arena', aHealthRecord());
      expect(await under.records.read('arena')).toEqual(aHealthRecord());
    });
  });
}
