import { emptyFleetCounts } from '../room/count-fleet';
import type { FleetCounts, RoomStatus } from '../room/room';
import type { AutoscalingPolicy } from '../scheduler/scheduler';
import { canDownscale, cooldownEndsAtMs } from './can-downscale';
import type { FleetSettings } from './desired-rooms';

function counts(rooms: Partial<Record<RoomStatus, number>>, runningMatches = 0): FleetCounts {
  const empty = emptyFleetCounts();
  return { ...empty, rooms: { ...empty.rooms, ...rooms }, runningMatches };
}

function settings(policy: AutoscalingPolicy, maxMatches = 1, cooldown = 0): FleetSettings {
  const autoscaling = { enabled: true, min: 1, max: -1, cooldown, policy };
  return { roomsReplicas: 0, autoscaling, matchAllocation: { maxMatches } };
}

const occupancy = (readyTarget: number, downThreshold: number): AutoscalingPolicy => ({
  type: 'roomOccupancy',
  parameters: { roomOccupancy: { readyTarget, downThreshold } },
});
const buffer = (amount: number): AutoscalingPolicy => ({
  type: 'fixedBuffer',
  parameters: { fixedBuffer: { amount } },
});

describe('canDownscale with roomOccupancy', () => {
  interface Row {
    /** ready, active, occupied, allocated */
    rooms: [number, number, number, number];
    maxMatches: number;
    matches: number;
    target: number;
    threshold: number;
    allowed: 'yes' | 'no';
    /** What v10 answers, where that is another. */
    v10?: 'yes' | 'no';
    why: string;
  }
  // `rooms.md` 7.5; the rows that state free slots only are written as fleets that have them.
  const rows: Row[] = [
    {
      rooms: [120, 0, 80, 0],
      maxMatches: 1,
      matches: 80,
      target: 0.5,
      threshold: 0.6,
      allowed: 'no',
      why: '80/120 > 0.6',
    },
    {
      rooms: [100, 0, 70, 0],
      maxMatches: 1,
      matches: 70,
      target: 0.5,
      threshold: 0.7,
      allowed: 'yes',
      why: '70/100 = 0.7',
    },
    {
      rooms: [100, 0, 60, 0],
      maxMatches: 1,
      matches: 60,
      target: 0.5,
      threshold: 0.6,
      allowed: 'yes',
      why: '60/100 = 0.6',
    },
    {
      rooms: [75, 0, 50, 0],
      maxMatches: 1,
      matches: 50,
      target: 0.5,
      threshold: 0.99,
      allowed: 'yes',
      why: '50/75 < 0.99',
    },
    {
      rooms: [501, 0, 500, 0],
      maxMatches: 1,
      matches: 500,
      target: 0.5,
      threshold: 0.99,
      allowed: 'no',
      why: '500/501 > 0.99',
    },
    { rooms: [5, 0, 0, 5], maxMatches: 1, matches: 0, target: 0.5, threshold: 0.99, allowed: 'yes', why: '5/10' },
    { rooms: [2, 3, 1, 0], maxMatches: 3, matches: 7, target: 0.3, threshold: 0.9, allowed: 'yes', why: '4/11' },
    { rooms: [8, 4, 8, 0], maxMatches: 3, matches: 30, target: 0.25, threshold: 0.8, allowed: 'yes', why: '11/30' },
    {
      rooms: [0, 0, 10, 0],
      maxMatches: 1,
      matches: 10,
      target: 0.5,
      threshold: 0.99,
      allowed: 'no',
      why: 'no free slot',
    },
    {
      rooms: [0, 0, 0, 0],
      maxMatches: 1,
      matches: 0,
      target: 0.5,
      threshold: 0.99,
      allowed: 'no',
      why: 'no slot at all',
    },
    {
      rooms: [0, 0, 10, 0],
      maxMatches: 1,
      matches: 12,
      target: 0.5,
      threshold: 0.99,
      allowed: 'no',
      v10: 'yes',
      why: 'two matches too many; v10 takes a negative share for a small one (W27), and would shrink an overfull fleet',
    },
    {
      rooms: [205, 0, 0, 0],
      maxMatches: 2,
      matches: 160,
      target: 0.5,
      threshold: 0.6,
      allowed: 'no',
      why: '160/250 > 0.6',
    },
    {
      rooms: [160, 0, 0, 0],
      maxMatches: 2,
      matches: 120,
      target: 0.5,
      threshold: 0.6,
      allowed: 'yes',
      why: '120/200 = 0.6',
    },
    {
      rooms: [9, 0, 0, 0],
      maxMatches: 1,
      matches: 0,
      target: 0.5,
      threshold: 0.99,
      allowed: 'yes',
      why: 'nothing is wanted',
    },
  ];

  test.each(rows)(
    '$rooms (ready, active, occupied, allocated) with $matches matches of $maxMatches a room, target $target, threshold $threshold: $allowed, $why (v10: $v10)',
    ({ rooms: [ready, active, occupied, allocated], maxMatches, matches, target, threshold, allowed, v10 }) => {
      const slots = (ready + active + occupied + allocated) * maxMatches;
      const v10Rooms = Math.ceil(Math.ceil((matches + allocated) / (1 - target)) / maxMatches);
      const v10Share = Math.ceil(v10Rooms * maxMatches * target) / (slots - matches);
      expect(v10Share <= threshold ? 'yes' : 'no').toBe(v10 ?? allowed);

      const fleet = counts({ ready, active, occupied, allocated }, matches);
      expect(canDownscale(settings(occupancy(target, threshold), maxMatches), fleet).allowed).toBe(allowed === 'yes');
    },
  );

  test('compares exactly: in doubles 100 x 0.07 is more than 7, and 8 of 10 free slots would be too many', () => {
    expect(canDownscale(settings(occupancy(0.07, 0.7)), counts({ ready: 10, occupied: 93 }, 93))).toEqual({
      allowed: true,
      formula: 'roomOccupancy: 7 wanted free / 10 free <= 0.7 (downThreshold)',
    });
  });

  test('says how it decided', () => {
    expect(canDownscale(settings(occupancy(0.5, 0.6)), counts({ ready: 120, occupied: 80 }, 80)).formula).toBe(
      'roomOccupancy: 80 wanted free / 120 free > 0.6 (downThreshold)',
    );
  });
});

describe('canDownscale with fixedBuffer', () => {
  // `rooms.md` 7.6: a scale-down is decided exactly where the table has a negative difference.
  test.each([
    [100, 80, 50, false],
    [100, 50, 50, false],
    [100, 30, 50, true],
    [50, 40, 20, false],
    [50, 30, 20, false],
    [50, 10, 20, true],
    [10, 5, 10, false],
    [10, 0, 10, false],
    [10, 0, 5, true],
    [5, 5, 5, false],
    [1, 1, 3, false],
    [2, 2, 8, false],
  ])('%p rooms, %p occupied, buffer %p: %p', (total, occupied, amount, allowed) => {
    expect(canDownscale(settings(buffer(amount)), counts({ ready: total - occupied, occupied })).allowed).toBe(allowed);
  });

  test('counts active rooms as in use: v10 leaves them out (W27), and takes rooms from a fleet whose every room has players', () => {
    const fleet = counts({ active: 10 }, 20);
    expect(canDownscale(settings(buffer(5), 3), fleet)).toEqual({
      allowed: false,
      formula: 'fixedBuffer: 10 rooms <= 15 needed',
    });
  });

  test('leaves rooms that are going or failed out', () => {
    // 20 rooms in all: 17 living, of which 12 in use
    const fleet = counts({ ready: 5, occupied: 10, allocated: 2, terminating: 2, error: 1 });
    expect(canDownscale(settings(buffer(5)), fleet)).toEqual({
      allowed: false,
      formula: 'fixedBuffer: 17 rooms <= 17 needed',
    });
    expect(canDownscale(settings(buffer(4)), fleet).allowed).toBe(true);
  });
});

describe('canDownscale without autoscaling', () => {
  test('is always so', () => {
    expect(canDownscale({ roomsReplicas: 1, matchAllocation: { maxMatches: 1 } }, counts({})).allowed).toBe(true);
  });
});

describe('cooldownEndsAtMs', () => {
  test('is the last scale-down and the cooldown in seconds', () => {
    expect(cooldownEndsAtMs(settings(buffer(1), 1, 60), 5_000)).toBe(65_000);
  });

  test('is null before the first scale-down', () => {
    expect(cooldownEndsAtMs(settings(buffer(1), 1, 60), null)).toBeNull();
  });

  test('is null without autoscaling', () => {
    expect(cooldownEndsAtMs({ roomsReplicas: 1, matchAllocation: { maxMatches: 1 } }, 5_000)).toBeNull();
  });
});
