import type { Autoscaling } from '../scheduler/scheduler';
import { Backtest, backtestModel, timelinePoints, type BacktestDefaults, type BacktestResult } from './backtest';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
/** Three flat hours, and in the middle one twice as many matches. */
const load = [
  { atMs: 0, matches: 20 },
  { atMs: hourMs, matches: 20 },
  { atMs: hourMs + 2 * minuteMs, matches: 40 },
  { atMs: 2 * hourMs, matches: 40 },
  { atMs: 2 * hourMs + 2 * minuteMs, matches: 20 },
  { atMs: 3 * hourMs, matches: 20 },
];

function buffered(amount: number, changes: Partial<Autoscaling> = {}): BacktestDefaults['scheduler'] {
  const policy = { type: 'fixedBuffer', parameters: { fixedBuffer: { amount } } };
  return {
    roomsReplicas: 0,
    maxSurge: '25%',
    matchAllocation: { maxMatches: 1 },
    autoscaling: { enabled: true, min: 1, max: 200, cooldown: 0, policy, ...changes },
  };
}

function replay(changes: Partial<BacktestDefaults> = {}): BacktestResult {
  const backtest = new Backtest(
    backtestModel({
      load,
      scheduler: buffered(5),
      startDelayMs: minuteMs,
      matchLengthMs: 10 * minuteMs,
      lookIntervalMs: 30_000,
      limits: {
        pingTimeoutMs: 4 * minuteMs,
        initializationTimeoutMs: 2 * minuteMs,
        deletionTimeoutMs: 2 * minuteMs,
        drainConfirmMs: 10_000,
        drainDeadlineMs: null,
      },
      addLimit: 1000,
      removeLimit: 50,
      mostRooms: 1000,
      seed: 1,
      ...changes,
    }),
  );
  while (backtest.step());
  return backtest.result();
}

describe('Backtest', () => {
  test('the same arguments give the same result, another seed another one', () => {
    expect(replay()).toEqual(replay());
    expect(replay({ seed: 2 })).not.toEqual(replay());
  });

  test('every policy is asked for the same matches', () => {
    const [few, many] = [replay({ scheduler: buffered(1) }), replay({ scheduler: buffered(30) })];
    expect(few.asked).toBe(many.asked);
    expect(few.refused).toBeGreaterThan(0);
    expect(many.refused).toBe(0);
    expect(many.served).toBe(1);
    expect(few.served).toBeCloseTo((few.asked - few.refused) / few.asked);
    expect(few.idleRoomHours).toBeLessThan(many.idleRoomHours);
  });

  test('about as many matches are asked for as fit into the curve', () => {
    // 20 for 2 h, 40 for 1 h, of 10 min each; those that run at the beginning were asked for before.
    expect(replay({ scheduler: buffered(30) }).asked).toBeGreaterThan(450);
    expect(replay({ scheduler: buffered(30) }).asked).toBeLessThan(510);
  });

  test('a flat load with a fixed number of rooms takes exactly these', () => {
    const result = replay({
      load: [
        { atMs: 0, matches: 10 },
        { atMs: 2 * hourMs, matches: 10 },
      ],
      scheduler: { roomsReplicas: 15, maxSurge: '1', matchAllocation: { maxMatches: 1 } },
    });
    expect(result).toMatchObject({
      refused: 0,
      roomHours: 30,
      started: 0,
      removed: 0,
      peakRooms: 15,
      spanMs: 2 * hourMs,
    });
    // A match's successor comes within ten seconds.
    expect(result.idleRoomHours).toBeGreaterThan(10);
    expect(result.idleRoomHours).toBeLessThan(10.5);
  });

  test('the fleet grows and shrinks with the load, and rooms that start slowly are missed', () => {
    const quick = replay({ startDelayMs: 5_000 });
    const slow = replay({ startDelayMs: 5 * minuteMs });
    expect(quick.peakRooms).toBeGreaterThan(40);
    expect(quick.started).toBeGreaterThanOrEqual(20);
    expect(quick.removed).toBeGreaterThanOrEqual(20);
    expect(quick.refused).toBeLessThan(slow.refused);
  });

  test('rooms of several matches are shared', () => {
    const scheduler = { ...buffered(5), matchAllocation: { maxMatches: 4 } };
    const result = replay({ scheduler });
    expect(result.refused).toBe(0);
    expect(result.peakRooms).toBeLessThan(30);
  });

  test('the timeline tells how it went', () => {
    const { timeline, refused } = replay({ scheduler: buffered(1) });
    expect(timeline.length).toBeLessThanOrEqual(timelinePoints);
    expect(timeline[0]).toMatchObject({ atMs: 0, wanted: 20 });
    expect(timeline.find(({ atMs }) => atMs === 1.5 * hourMs)).toMatchObject({ wanted: 40 });
    expect(timeline.reduce((sum, point) => sum + point.refused, 0)).toBe(refused);
  });

  test('a fleet without end is refused', () => {
    expect(() => replay({ scheduler: buffered(5, { min: 2000, max: -1 }) })).toThrow('more than 1000 rooms');
  });

  test('a moment is no curve, nor is one that goes back in time', () => {
    expect(() => replay({ load: [...load].reverse() })).toThrow('each later than the one before');
    expect(() => replay({ load: load.slice(0, 1) })).toThrow('at least two points');
  });
});
