import { SchedulerProtection } from './scheduler-protection';

describe('SchedulerProtection', () => {
  let protection: SchedulerProtection;

  beforeEach(() => {
    protection = new SchedulerProtection({
      releaseDelayMs: 10_000,
      budgetIntervalMs: 60_000,
      budgetRefreshMs: () => 90_000,
    });
  });

  const listed = (...ids: string[]) => {
    protection.listBegins();
    protection.listShows(ids.map((id) => ({ id, isProtected: true })));
  };
  /** All that is due is done, and succeeds. */
  const work = (nowMs: number, most = 100): string[] => {
    const ids = protection.take(most, nowMs);
    for (const id of ids) {
      if (protection.isProtected(id) === true) protection.released(id);
      else protection.protected(id);
    }
    protection.putDown(new Set(), nowMs);
    return ids;
  };

  it('knows nothing until it was listed once, and asks for that only when a room waits to be protected', () => {
    expect(protection.urgency(0)).toBeNull();
    protection.hear('room-1', true, 7);
    expect([protection.isListed, protection.urgency(9)]).toEqual([false, 7]);
    expect(protection.dueBudget(9)).toBe(1);
  });

  it('has a room wait once, however often it changes, since its first change', () => {
    listed();
    protection.hear('room-1', true, 1);
    protection.hear('room-1', true, 2);
    expect(protection.waiting(5)).toEqual({ count: 1, sinceMs: 1 });
    protection.hear('room-1', false, 3);
    expect(protection.waiting(5)).toEqual({ count: 0, sinceMs: null });
  });

  it('lets a release wait, since the first end of a match, and forgets it when the next one begins', () => {
    listed('room-1', 'room-2');
    protection.hear('room-1', false, 0);
    protection.hear('room-1', false, 5_000);
    protection.hear('room-2', false, 0);
    protection.hear('room-2', true, 1);
    expect(protection.take(100, 9_999)).toEqual([]);
    expect(protection.take(100, 10_000)).toEqual(['room-1']);
  });

  it('takes protections before releases, each in the order in which they came', () => {
    listed('old-1', 'old-2');
    for (const id of ['old-2', 'old-1']) protection.hear(id, false, 0);
    for (const id of ['new-2', 'new-1']) protection.hear(id, true, 10_000);
    expect(work(10_000, 3)).toEqual(['new-2', 'new-1', 'old-2']);
    expect(work(10_000, 3)).toEqual(['old-1']);
    expect(work(10_000, 3)).toEqual([]);
  });

  it('hears of a room in hand, and has it wait again afterwards where that says something else', () => {
    listed('room-1');
    protection.hear('room-1', false, 0);
    protection.take(100, 10_000);
    expect(protection.isOvertaken('room-1', false)).toBe(false);
    protection.hear('room-1', true, 10_001);
    expect(protection.isOvertaken('room-1', false)).toBe(true);
    protection.callBegins('room-1');
    protection.released('room-1');
    protection.putDown(new Set(), 10_002);
    expect(protection.take(100, 10_002)).toEqual(['room-1']);
  });

  it('has what failed wait as before, unless it ended meanwhile', () => {
    listed();
    for (const id of ['room-1', 'room-2']) protection.hear(id, true, 1);
    const failed = new Set(protection.take(100, 2));
    for (const id of failed) protection.callBegins(id);
    protection.hear('room-2', false, 3);
    protection.putDown(failed, 4);
    expect(protection.waiting(4)).toEqual({ count: 1, sinceMs: 1 });
    // Nobody knows whether the call had its effect: it is counted, and released in time.
    expect([protection.isProtected('room-2'), protection.countBeside([])]).toEqual([null, 2]);
    expect(protection.take(100, 10_004)).toEqual(['room-1', 'room-2']);
  });

  it('believes a list but for what was told since it was asked for', () => {
    listed('gone', 'released', 'kept');
    protection.listBegins();
    protection.hear('begun', true, 0);
    work(0);
    protection.callBegins('released');
    protection.released('released');
    protection.listShows(['released', 'kept', 'found'].map((id) => ({ id, isProtected: true })));
    const known = ['gone', 'released', 'kept', 'found', 'begun'].map((id) => protection.isProtected(id));
    expect(known).toEqual([false, false, true, true, true]);
  });

  it('lowers a budget once per interval, never below what is protected or waits to be, and makes sure of it after a list', () => {
    listed('room-1', 'room-2');
    expect(protection.isBudgetBelow(2, 0)).toBe(true);
    protection.budgetIs(5, 0);
    protection.hear('room-3', true, 1);
    expect([protection.isBudgetBelow(5, 1), protection.isBudgetBelow(6, 1)]).toEqual([false, true]);
    expect([protection.dueBudget(59_999), protection.dueBudget(60_000)]).toEqual([null, 3]);
    protection.budgetIs(3, 60_000);
    expect(protection.dueBudget(149_999)).toBeNull();
    listed('room-1', 'room-2');
    expect(protection.dueBudget(149_999)).toBe(3);
  });

  it('asks a runtime that takes no budget again after an interval', () => {
    listed('room-1');
    protection.budgetRefused(0);
    expect([protection.isBudgetBelow(9, 59_999), protection.isBudgetBelow(9, 60_000)]).toEqual([false, true]);
    expect([protection.dueBudget(59_999), protection.dueBudget(60_000)]).toEqual([null, 1]);
  });

  it('makes sure of a budget that keeps something now and then, and of none that keeps nothing', () => {
    listed('room-1');
    protection.budgetIs(1, 0);
    expect([89_999, 90_000].map((nowMs) => protection.dueBudget(nowMs))).toEqual([null, 1]);
    expect(protection.urgency(90_000)).toBe(Infinity);
    protection.released('room-1');
    protection.budgetIs(0, 100_000);
    expect(protection.dueBudget(10_000_000)).toBeNull();
  });

  it('looks at a room that is held when its time is over, though nothing is heard of it', () => {
    listed('room-1', 'room-2', 'room-3');
    protection.budgetIs(3, 0);
    protection.holdUntil('room-2', 30_000);
    protection.holdUntil('room-1', 20_000);
    protection.holdUntil('room-3', 20_000);
    protection.hear('room-3', true, 5);
    expect([19_999, 20_000].map((nowMs) => protection.urgency(nowMs))).toEqual([null, Infinity]);
    expect(protection.take(100, 20_000)).toEqual([]);
    expect(protection.urgency(29_999)).toBeNull();
    expect(work(30_000)).toEqual(['room-1']);
    expect(work(40_000)).toEqual(['room-2']);
    expect(protection.isProtected('room-3')).toBe(true);
  });

  it('rests longer and longer while calls fail, counts those that fail together once, and not after one that worked', () => {
    listed();
    protection.hear('room-1', true, 0);
    const rests: number[] = [];
    for (let nowMs = 0; rests.length < 9;) {
      protection.failed(nowMs);
      protection.failed(nowMs);
      let restMs = 0;
      while (protection.urgency(nowMs + restMs) === null) restMs += 500;
      rests.push(restMs);
      nowMs += restMs;
    }
    expect(rests).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    protection.worked();
    protection.failed(1_000_000);
    expect(protection.urgency(1_000_500)).not.toBeNull();
  });
});
