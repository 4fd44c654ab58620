import { freeSlots } from '../room/free-slots';
import { hasMatch } from '../room/room';
import { seededRandom } from './random-source';
import { SimulatedClock } from './simulated-clock';
import { SimulatedFleet, type FleetModel, type FleetObserver } from './simulated-fleet';

const minuteMs = 60_000;

function aFleet(changes: Partial<FleetModel> = {}, observer: FleetObserver = {}) {
  const clock = new SimulatedClock(1_000_000);
  const model: FleetModel = {
    scheduler: { roomsReplicas: 10, maxSurge: '20%', matchAllocation: { maxMatches: 1 } },
    version: 'v1.0.0',
    startDelayMs: 30_000,
    stopDelayMs: 5_000,
    pingIntervalMs: 10_000,
    lookIntervalMs: 10_000,
    reactionMs: 2_000,
    longestLookPauseMs: minuteMs,
    meanLifeMs: null,
    silentDeathShare: 0,
    startFailureShare: () => 0,
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
    ...changes,
  };
  let versions = new Set<string>();
  const fleet = new SimulatedFleet(model, clock, seededRandom(3), {
    ...observer,
    planned: (plan, facts) => {
      versions = new Set(facts.rooms.map(({ version }) => version));
      observer.planned?.(plan, facts);
    },
  });
  const pass = (ms: number): void => {
    const untilMs = clock.nowMs + ms;
    while (clock.step(untilMs));
  };
  return { fleet, pass, versions: () => [...versions].sort() };
}
const noMatch = (): boolean => false;
const ended = (): void => undefined;

describe('SimulatedFleet', () => {
  test('settled, it needs nothing, and looks at itself every minute only', () => {
    const { fleet, pass } = aFleet();
    fleet.settle(0, noMatch);
    pass(60 * minuteMs);
    expect(fleet.size).toBe(10);
    expect(fleet.totals()).toMatchObject({ started: 0, removed: 0, looks: 61 });
  });

  test.each(['10%', '25%', '100%'])(
    'with a surge of %s a rollout takes nothing of the buffer, also when matches end',
    (maxSurge) => {
      const policy = { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 20 } } };
      const autoscaling = { enabled: true, min: 1, max: -1, cooldown: 60, policy };
      const scheduler = { roomsReplicas: 0, maxSurge, matchAllocation: { maxMatches: 1 }, autoscaling };
      const random = seededRandom(7);
      const lengthMs = () => 10 * minuteMs * (0.5 + random());
      let fewest = Infinity;
      let refused = 0;
      const observer: FleetObserver = {
        planned: (_, { rooms }) => {
          const inUse = rooms.filter(({ drainingSinceMs }) => drainingSinceMs === null);
          fewest = Math.min(
            fewest,
            inUse.reduce((sum, room) => sum + freeSlots(room, 1), 0),
          );
        },
      };
      const { fleet, pass, versions } = aFleet({ scheduler, removeLimit: 1_000, lookIntervalMs: 2_000 }, observer);
      const begin = (): void => {
        if (!fleet.startMatch(lengthMs(), begin)) refused += 1;
      };
      fleet.settle(200, () => fleet.startMatch(lengthMs() * random(), begin));
      pass(minuteMs);
      fleet.switchVersion('v2.0.0');
      pass(20 * minuteMs);
      expect(versions()).toEqual(['v2.0.0']);
      expect(refused).toBe(0);
      // A room that was found dead, or a match that began between two looks, is missing for as long as a room takes to start.
      expect(fewest).toBeGreaterThanOrEqual(17);
    },
  );

  test('a rollout replaces every room, one with a match when the match is over', () => {
    const { fleet, pass, versions } = aFleet();
    fleet.settle(1, () => fleet.startMatch(60 * minuteMs, ended));
    fleet.switchVersion('v2.0.0');
    pass(30 * minuteMs);
    expect(versions()).toEqual(['v1.0.0', 'v2.0.0']);
    expect(fleet.matchesRunning).toBe(1);
    pass(40 * minuteMs);
    expect(versions()).toEqual(['v2.0.0']);
    expect(fleet.size).toBe(10);
    expect(fleet.totals().lostMatches).toBe(0);
  });

  test('a minor version replaces none', () => {
    const { fleet, pass } = aFleet();
    fleet.settle(0, noMatch);
    fleet.switchVersion('v1.1.0');
    pass(30 * minuteMs);
    expect(fleet.totals().started).toBe(0);
  });

  test('a version whose rooms fail is rolled back, once', () => {
    const { fleet, pass, versions } = aFleet({ startFailureShare: (version) => (version === 'v2.0.0' ? 1 : 0) });
    fleet.settle(0, noMatch);
    fleet.switchVersion('v2.0.0');
    pass(30 * minuteMs);
    expect(fleet.activeVersion).toBe('v1.0.0');
    expect(versions()).toEqual(['v1.0.0']);
    expect(fleet.size).toBe(10);
  });

  test('rooms that die are replaced, silent ones when their pings have been missed', () => {
    const { fleet, pass } = aFleet({
      scheduler: { roomsReplicas: 30, maxSurge: '1', matchAllocation: { maxMatches: 1 } },
      meanLifeMs: 120 * minuteMs,
      silentDeathShare: 0.3,
    });
    fleet.settle(5, () => fleet.startMatch(600 * minuteMs, ended));
    pass(300 * minuteMs);
    const { died, started, lostMatches } = fleet.totals();
    expect(died).toBeGreaterThan(20);
    expect(lostMatches).toBe(5);
    expect(started).toBeGreaterThan(died - 8);
    expect(fleet.matchesRunning).toBe(0);
  });

  test('a room that is being taken away and gets a match all the same stays', () => {
    const scheduler = (roomsReplicas: number) => ({ roomsReplicas, maxSurge: '1', matchAllocation: { maxMatches: 1 } });
    const settings = scheduler(2);
    const removed: boolean[] = [];
    const { fleet, pass } = aFleet(
      { scheduler: settings },
      { removed: ({ record }) => removed.push(hasMatch(record)) },
    );
    fleet.settle(0, noMatch);
    settings.roomsReplicas = 1;
    pass(3_000);
    expect(fleet.startUnallocatedMatch(10 * minuteMs, ended)).toBe(true);
    pass(5 * minuteMs);
    // The other one is claimed instead: it is the one that nobody is in.
    expect(fleet.matchesRunning).toBe(1);
    expect(removed).toEqual([false]);
  });
});
