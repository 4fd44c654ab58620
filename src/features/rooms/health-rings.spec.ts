import { RecordedWakeUps } from '../../../test/support/recorded-wake-ups';
import type { HealthRecords } from '../../ports/health-records';
import type { SchedulerSettingsCache } from '../schedulers/scheduler-settings';
import { HealthRings } from './health-rings';

const intervalMs = 1_000;
/** With the longest jitter. */
const longestMs = 1_250;

describe('the health of a scheduler', () => {
  let wakeUps: RecordedWakeUps;
  let autoscaled: Set<string>;
  /** Null: no rollout runs; undefined: it was never looked at. */
  let rollout: object | null | undefined | Error;
  let blockedBy: { code: string }[];
  let recordsRead: number;
  let rings: HealthRings;

  beforeEach(() => {
    jest.useFakeTimers();
    [wakeUps, autoscaled, rollout, recordsRead] = [new RecordedWakeUps(), new Set(['arena', 'other']), null, 0];
    blockedBy = [{ code: 'matches' }];
    const settings = {
      find: async (name: string) => (name === 'gone' ? null : { isAutoscaled: autoscaled.has(name) }),
    } as unknown as SchedulerSettingsCache;
    const records = {
      read: async () => {
        recordsRead += 1;
        if (rollout instanceof Error) throw rollout;
        return rollout === undefined ? null : { rollout, blockedBy };
      },
    } as unknown as HealthRecords;
    rings = new HealthRings(wakeUps, settings, records, { intervalMs });
  });
  afterEach(() => {
    rings.onModuleDestroy();
    jest.useRealTimers();
  });

  const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);
  const rung = () => wakeUps.rings.map(({ kind, scheduler, delayMs }) => `${kind} ${scheduler} ${delayMs}`);

  it('is rung for at once, and not again while nothing else changes', async () => {
    rings.useChanged('arena');
    await pass(0);
    expect(rung()).toEqual(['health arena 0']);
    await pass(10 * intervalMs);
    expect(rung()).toHaveLength(1);
  });

  it('is rung for a few times when a thousand rooms change together, the last of them included', async () => {
    for (let room = 0; room < 1_000; room++) {
      rings.useChanged('arena');
      if (room % 100 === 99) await pass(100);
    }
    expect(wakeUps.rings.length).toBeLessThanOrEqual(2);
    const before = wakeUps.rings.length;
    rings.useChanged('arena');
    await pass(longestMs);
    expect(wakeUps.rings.length).toBe(before + 1);
    await pass(10 * intervalMs);
    expect(wakeUps.rings.length).toBe(before + 1);
  });

  it('is rung for at once again when it was quiet for a while', async () => {
    rings.useChanged('arena');
    await pass(longestMs);
    rings.useChanged('arena');
    await pass(0);
    expect(rung()).toHaveLength(2);
  });

  it('waits for no other scheduler', async () => {
    rings.useChanged('arena');
    rings.useChanged('other');
    await pass(0);
    expect(rung()).toEqual(['health arena 0', 'health other 0']);
  });

  it('is not rung for where its size depends on nothing that changed', async () => {
    rings.useChanged('fixed');
    await pass(0);
    rollout = undefined;
    rings.useChanged('fixed');
    await pass(longestMs);
    expect(rung()).toEqual([]);
    expect(recordsRead).toBe(2);
  });

  it('is rung for while a rollout runs', async () => {
    rollout = { outdated: 1 };
    rings.useChanged('fixed');
    await pass(0);
    expect(rung()).toEqual(['health fixed 0']);
  });

  it('is rung for while it has more rooms than are wanted, all of them in use', async () => {
    blockedBy = [{ code: 'paused' }, { code: 'no_removable_room' }];
    rings.useChanged('fixed');
    await pass(0);
    expect(rung()).toEqual(['health fixed 0']);
  });

  it('is rung for in any case when a room left, also among changes that do not matter', async () => {
    rings.useChanged('fixed');
    rings.roomLeft('fixed');
    rings.useChanged('fixed');
    await pass(longestMs);
    expect(rung()).toEqual(['health fixed 0']);
  });

  it('is not rung for where nobody can say whether it matters', async () => {
    rollout = new Error('Redis is away');
    rings.useChanged('fixed');
    rings.useChanged('gone');
    await pass(longestMs);
    expect(rung()).toEqual([]);
  });

  it('is rung for no more once the process stops', async () => {
    rings.useChanged('arena');
    rings.useChanged('arena');
    await pass(0);
    rings.onModuleDestroy();
    await pass(10 * intervalMs);
    expect(rung()).toHaveLength(1);
  });
});
