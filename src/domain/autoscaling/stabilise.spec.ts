import fc from 'fast-check';
import type { FleetSettings } from './fleet-settings';
import {
  mostRemembered,
  stabilisationOf,
  stabilise,
  type Recommendation,
  type Stabilisation,
  type StabilisationFacts,
} from './stabilise';

const startMs = Date.parse('2026-11-27T18:00:00Z');
const seconds = (count: number) => startMs + count * 1000;

function windows(scaleUpSeconds: number, scaleDownSeconds: number, limits = { min: 0, max: -1 }): Stabilisation {
  return { scaleUpSeconds, scaleDownSeconds, ...limits };
}

/** Looks at the given seconds, with a fleet that has at once what was decided; answers what each look decided. */
function decide(stabilisation: Stabilisation, rooms: number, looks: [second: number, recommended: number][]): number[] {
  let available = rooms;
  let remembered: Recommendation[] = [];
  return looks.map(([second, recommended]) => {
    const nowMs = seconds(second);
    const answer = stabilise(stabilisation, { nowMs, recommended, available, lastDesired: available, remembered });
    remembered = answer.remembered;
    available = answer.desired;
    return answer.desired;
  });
}

describe('stabilise', () => {
  test.each<[string, Stabilisation, number, [number, number][], number[]]>([
    [
      'without windows follows at once',
      windows(0, 0),
      10,
      [
        [0, 50],
        [1, 5],
        [2, 20],
      ],
      [50, 5, 20],
    ],
    [
      'shrinks when it was wanted for the whole window',
      windows(0, 300),
      100,
      [
        [0, 100],
        [10, 60],
        [299, 60],
        [300, 60],
        [310, 60],
      ],
      [100, 100, 100, 60, 60],
    ],
    [
      'shrinks to the most of the window, not to the last',
      windows(0, 300),
      100,
      [
        [0, 100],
        [10, 60],
        [100, 80],
        [200, 60],
        [320, 60],
        [400, 60],
      ],
      [100, 100, 100, 100, 80, 60],
    ],
    [
      'a short rise begins the wait anew',
      windows(0, 300),
      100,
      [
        [0, 100],
        [100, 60],
        [200, 100],
        [400, 60],
        [499, 60],
        [500, 60],
      ],
      [100, 100, 100, 100, 100, 60],
    ],
    [
      'grows at once while only shrinking waits',
      windows(0, 300),
      100,
      [
        [0, 100],
        [1, 150],
      ],
      [100, 150],
    ],
    [
      'grows when it was wanted for the whole window, to the least of it',
      windows(60, 0),
      10,
      [
        [0, 10],
        [10, 50],
        [30, 30],
        [59, 50],
        [60, 50],
        [89, 50],
        [90, 50],
      ],
      [10, 10, 10, 10, 30, 30, 50],
    ],
    [
      'does not follow a peak that is shorter than the window',
      windows(60, 0),
      10,
      [
        [0, 10],
        [10, 50],
        [50, 10],
        [70, 50],
        [109, 50],
        [110, 50],
      ],
      [10, 10, 10, 10, 10, 50],
    ],
    [
      'stays as it is between the least and the most',
      windows(60, 60),
      20,
      [
        [0, 20],
        [10, 40],
        [20, 10],
        [59, 30],
        [70, 30],
        [80, 30],
      ],
      [20, 20, 20, 20, 20, 30],
    ],
    [
      'looks that come less often than the window is long hold nothing back',
      windows(30, 30),
      10,
      [
        [0, 10],
        [60, 50],
        [120, 5],
      ],
      [10, 50, 5],
    ],
  ])('%s', (_, stabilisation, rooms, looks, decided) => {
    expect(decide(stabilisation, rooms, looks)).toEqual(decided);
  });

  const facts: StabilisationFacts = {
    nowMs: startMs,
    recommended: 60,
    available: 100,
    lastDesired: 100,
    remembered: [
      { atMs: seconds(-200), min: 90, max: 100 },
      { atMs: seconds(-50), min: 70, max: 80 },
    ],
  };

  test('says what holds a scale-down back, and until when', () => {
    expect(stabilise(windows(0, 300), facts)).toEqual({
      desired: 100,
      heldBack: {
        direction: 'down',
        nextChangeAtMs: seconds(100),
        untilMs: seconds(250),
        detail:
          '60 rooms are wanted, but as many as 100 were within the last 300 s (scaleDownStabilizationSeconds); it stays at 100, or comes nearer, until 2026-11-27T18:04:10.000Z.',
      },
      remembered: [...facts.remembered, { atMs: startMs, min: 60, max: 60 }],
    });
  });

  test('says what holds a scale-up back, and until when', () => {
    const { desired, heldBack } = stabilise(windows(300, 0), {
      ...facts,
      recommended: 120,
      available: 75,
      lastDesired: 75,
    });
    expect({ desired, heldBack }).toEqual({
      desired: 75,
      heldBack: {
        direction: 'up',
        nextChangeAtMs: seconds(250),
        untilMs: seconds(250),
        detail:
          '120 rooms are wanted, but as few as 70 were within the last 300 s (scaleUpStabilizationSeconds); it stays at 75, or comes nearer, until 2026-11-27T18:04:10.000Z.',
      },
    });
  });

  test('holds nothing any more when it said so', () => {
    for (const nowMs of [seconds(249), seconds(250)]) {
      const { desired } = stabilise(windows(0, 300), { ...facts, nowMs });
      expect(desired).toBe(nowMs === seconds(250) ? 60 : 80);
    }
  });

  test('replaces a room that died while it holds the fleet', () => {
    const held = stabilise(windows(0, 300), { ...facts, available: 97, lastDesired: 100 });
    expect(held.desired).toBe(100);
  });

  test('takes no room away because growing waits', () => {
    // 100 rooms are there although 60 were wanted last (something blocked their removal), and now 90 are.
    const { desired } = stabilise(windows(300, 0), { ...facts, recommended: 90, available: 100, lastDesired: 60 });
    expect(desired).toBe(90);
  });

  test('with nothing remembered, counts the fleet as what was wanted', () => {
    const first = { ...facts, remembered: [], lastDesired: null };
    expect(stabilise(windows(0, 300), first)).toMatchObject({ desired: 100, heldBack: { untilMs: seconds(300) } });
    expect(stabilise(windows(300, 0), { ...first, recommended: 120 })).toMatchObject({ desired: 100 });
  });

  test('a new fleet has no size that it has got used to', () => {
    const none = { ...facts, available: 0, lastDesired: null, remembered: [] };
    const first = stabilise(windows(300, 300, { min: 1, max: -1 }), { ...none, recommended: 20 });
    expect(first).toMatchObject({ desired: 20, heldBack: null });
    // From then on it has.
    const { remembered } = first;
    const second = { ...none, nowMs: facts.nowMs + 1_000, recommended: 30, lastDesired: 20, remembered };
    expect(stabilise(windows(300, 300, { min: 1, max: -1 }), second)).toMatchObject({ desired: 20 });
  });

  test('never waits for min and max', () => {
    const first = { ...facts, remembered: [], lastDesired: null };
    expect(stabilise(windows(300, 300, { min: 5, max: -1 }), { ...first, available: 1, recommended: 20 }).desired).toBe(
      5,
    );
    expect(stabilise(windows(300, 300, { min: 1, max: 80 }), first).desired).toBe(80);
  });

  test('is not held for longer than the window by a clock that was ahead', () => {
    const ahead = [{ atMs: seconds(86_400), min: 100, max: 100 }];
    const { desired, heldBack, remembered } = stabilise(windows(0, 300), { ...facts, remembered: ahead });
    expect({ desired, untilMs: heldBack?.untilMs }).toEqual({ desired: 100, untilMs: seconds(300) });
    expect(remembered.every(({ atMs }) => atMs <= startMs)).toBe(true);
  });

  test('forgets everything when the windows are taken away', () => {
    expect(stabilise(windows(0, 0), facts)).toEqual({ desired: 60, heldBack: null, remembered: [] });
  });
});

describe('stabilise, beside one that remembers everything', () => {
  /** What is recommended, each so many hundredths of the longer window after the one before. */
  const looks = fc.array(fc.record({ afterShare: fc.nat({ max: 12 }), recommended: fc.nat({ max: 200 }) }), {
    minLength: 1,
    maxLength: 60,
    size: 'max',
  });

  test('is the same up to one stretch of time, in which it holds rather than follows', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 900 }),
        fc.nat({ max: 900 }),
        // A fleet without a room is a new one.
        fc.integer({ min: 1, max: 200 }),
        looks,
        (scaleUpSeconds, scaleDownSeconds, available, asked) => {
          const stabilisation = windows(scaleUpSeconds, scaleDownSeconds);
          const stretchMs = Math.ceil((Math.max(scaleUpSeconds, scaleDownSeconds) * 1000) / (mostRemembered - 2));
          const everything: { atMs: number; rooms: number }[] = [{ atMs: startMs, rooms: available }];
          let remembered: Recommendation[] = [];
          let nowMs = startMs;
          for (const [index, { afterShare, recommended }] of asked.entries()) {
            nowMs += index === 0 ? 0 : afterShare * 10 * Math.max(scaleUpSeconds, scaleDownSeconds);
            everything.push({ atMs: nowMs, rooms: recommended });
            const since = (windowMs: number) =>
              everything.filter(({ atMs }) => atMs > nowMs - windowMs).map(({ rooms }) => rooms);
            const least = (windowMs: number) => Math.min(recommended, ...since(windowMs));
            const most = (windowMs: number) => Math.max(recommended, ...since(windowMs));
            const clamp = (low: number, high: number) => Math.min(Math.max(available, low), high);
            const [upMs, downMs] = [scaleUpSeconds * 1000, scaleDownSeconds * 1000];
            const late = (windowMs: number) => (windowMs === 0 ? 0 : windowMs + stretchMs);

            const answer = stabilise(stabilisation, { nowMs, recommended, available, lastDesired: null, remembered });
            remembered = answer.remembered;
            expect(answer.desired).toBeGreaterThanOrEqual(clamp(least(late(upMs)), most(downMs)));
            expect(answer.desired).toBeLessThanOrEqual(clamp(least(upMs), most(late(downMs))));
            expect(remembered.length).toBeLessThanOrEqual(mostRemembered);
          }
        },
      ),
    );
  });

  test('never remembers more than it may, however often it is asked', () => {
    let remembered: Recommendation[] = [];
    for (let second = 0; second < 4_000; second += 1) {
      // The windows become longer, then shorter.
      const stabilisation = windows(second < 2_000 ? 600 : 300, second % 1_000 < 500 ? 3_600 : 60);
      const facts = { nowMs: seconds(second), recommended: second % 50, available: 20, lastDesired: 20, remembered };
      remembered = stabilise(stabilisation, facts).remembered;
      expect(remembered.length).toBeLessThanOrEqual(mostRemembered);
    }
  });

  test('comes to the recommendation when that stays, and not before it said', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 900 }),
        fc.integer({ min: 0, max: 900 }),
        fc.nat({ max: 200 }),
        looks,
        fc.nat({ max: 200 }),
        (scaleUpSeconds, scaleDownSeconds, available, asked, lasting) => {
          const stabilisation = windows(scaleUpSeconds, scaleDownSeconds);
          let [remembered, nowMs]: [Recommendation[], number] = [[], startMs];
          for (const { afterShare, recommended } of asked) {
            nowMs += afterShare * 10 * Math.max(scaleUpSeconds, scaleDownSeconds);
            ({ remembered } = stabilise(stabilisation, {
              nowMs,
              recommended,
              available,
              lastDesired: null,
              remembered,
            }));
          }
          const facts = { nowMs, recommended: lasting, available, lastDesired: null };
          for (let look = 0; ; look += 1) {
            const answer = stabilise(stabilisation, { ...facts, nowMs, remembered });
            if (!answer.heldBack) {
              expect(answer.desired).toBe(lasting);
              break;
            }
            const { nextChangeAtMs, untilMs } = answer.heldBack;
            expect(nextChangeAtMs).toBeGreaterThan(nowMs);
            expect(untilMs).toBeGreaterThanOrEqual(nextChangeAtMs);
            expect(untilMs).toBeLessThanOrEqual(nowMs + Math.max(scaleUpSeconds, scaleDownSeconds) * 1000);
            expect(look).toBeLessThanOrEqual(mostRemembered);
            remembered = answer.remembered;
            nowMs = nextChangeAtMs;
          }
        },
      ),
    );
  });
});

describe('stabilisationOf', () => {
  const settings: FleetSettings = {
    roomsReplicas: 3,
    matchAllocation: { maxMatches: 1 },
    autoscaling: {
      enabled: true,
      min: 2,
      max: 9,
      cooldown: 0,
      policy: { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 1 } } },
    },
  };

  test('is none where nothing is said', () => {
    expect(stabilisationOf(settings)).toEqual({ scaleUpSeconds: 0, scaleDownSeconds: 0, min: 2, max: 9 });
  });

  test('is what the extensions say', () => {
    const extensions = { autoscaling: { scaleUpStabilizationSeconds: 30, scaleDownStabilizationSeconds: 300 } };
    expect(stabilisationOf({ ...settings, extensions })).toMatchObject({ scaleUpSeconds: 30, scaleDownSeconds: 300 });
  });

  test('is none without autoscaling', () => {
    const extensions = { autoscaling: { scaleDownStabilizationSeconds: 300 } };
    expect(stabilisationOf({ ...settings, autoscaling: undefined, extensions })).toEqual({
      scaleUpSeconds: 0,
      scaleDownSeconds: 0,
      min: 0,
      max: -1,
    });
  });
});
