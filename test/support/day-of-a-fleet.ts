/**
 * A program of its own: plays a day of a fleet of 5,000 rooms, checks every look at it, and prints what it saw (`DayOfAFleet`) as
 * JSON. Not in Jest, whose sandbox makes each use of a global like `Math` so slow that it takes four times as long.
 */
import { surgeRooms } from '../../src/domain/rollout/surge-rooms';
import type { HealthFacts, HealthPlan } from '../../src/domain/room/health-plan';
import { hasMatch, type Room } from '../../src/domain/room/room';
import { LoadReplay } from '../../src/domain/simulation/load-replay';
import { seededRandom } from '../../src/domain/simulation/random-source';
import { SimulatedClock } from '../../src/domain/simulation/simulated-clock';
import {
  SimulatedFleet,
  type FleetModel,
  type FleetObserver,
  type FleetTotals,
  type SimulatedRoom,
} from '../../src/domain/simulation/simulated-fleet';

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const beginsAtMs = Date.UTC(2026, 5, 1);
const seed = 20_260_601;

const max = 5_200;
/** Smaller than the buffer that is to stay free, so that a drain that minds only the surge takes it. */
const maxSurge = '8%';
const badVersion = 'v3.0.0';

const model: FleetModel = {
  scheduler: {
    roomsReplicas: 0,
    maxSurge,
    matchAllocation: { maxMatches: 1 },
    autoscaling: {
      enabled: true,
      min: 500,
      max,
      cooldown: 60,
      policy: {
        type: 'roomOccupancy',
        parameters: { roomOccupancy: { readyTarget: 0.1, downThreshold: 0.9 } },
      },
    },
  },
  version: 'v1.0.0',
  startDelayMs: 45 * secondMs,
  stopDelayMs: 20 * secondMs,
  pingIntervalMs: 10 * secondMs,
  lookIntervalMs: 45 * secondMs,
  reactionMs: 5 * secondMs,
  longestLookPauseMs: minuteMs,
  meanLifeMs: 7 * 24 * hourMs,
  silentDeathShare: 0.3,
  startFailureShare: (version) => (version === badVersion ? 1 : 0.005),
  limits: {
    pingTimeoutMs: 4 * minuteMs,
    initializationTimeoutMs: 2 * minuteMs,
    deletionTimeoutMs: 2 * minuteMs,
    drainConfirmMs: 10 * secondMs,
    drainDeadlineMs: null,
  },
  addLimit: 1_000,
  // Ten times the default: it must not be what keeps a plan from taking too much.
  removeLimit: 500,
  mostRooms: 20_000,
};

/** A day: 2,000 matches at 6:00, 4,600 at 20:00. */
const load = Array.from({ length: 24 * 12 + 1 }, (_, index) => ({
  atMs: beginsAtMs + index * 5 * minuteMs,
  matches: Math.round(3_300 - 1_300 * Math.cos((2 * Math.PI * (index / 12 - 8)) / 24)),
}));

const isGoing = ({ status }: Room): boolean => status === 'terminating' || status === 'terminated';
const isFree = ({ status, instance, drainingSinceMs }: Room): boolean =>
  status === 'ready' && instance.status === 'ready' && drainingSinceMs === null;

/** Holds every look to what the planner promises; what is wrong is told in sentences, the first ones only. */
class Invariants implements FleetObserver {
  readonly violations: string[] = [];
  readonly rolloutsEndedAtMs: number[] = [];
  readonly seen = {
    looks: 0,
    claims: 0,
    drains: 0,
    released: 0,
    rollbacks: 0,
    confirmed: 0,
    expired: 0,
    mostStanding: 0,
  };
  isRollingOut = false;
  private readonly removedIds = new Set<string>();

  planned(plan: HealthPlan, { rooms, nowMs }: HealthFacts): void {
    this.seen.looks += 1;
    this.seen.claims += plan.claimIds.length;
    this.seen.drains += plan.drainIds.length;
    this.seen.released += plan.released.length;
    this.seen.confirmed += plan.drained.length;
    this.seen.expired += plan.expired.length;
    this.seen.rollbacks += plan.rollback === null ? 0 : 1;
    if (this.isRollingOut && plan.rollout === null) this.rolloutsEndedAtMs.push(nowMs);
    this.isRollingOut = plan.rollout !== null;

    const taken = new Set([...plan.claimIds, ...plan.drainIds]);
    const claimed = new Set(plan.claimIds);
    const released = new Set(plan.released.map(({ id }) => id));
    const over = new Set([...plan.expired, ...plan.drained].map(({ id }) => id));
    let standing = 0;
    let inUse = 0;
    let free = 0;
    let freeAfter = 0;
    for (const room of rooms) {
      const { id } = room;
      if (this.removedIds.has(id) && !isGoing(room)) this.violate(`${id} was terminating and is ${room.status}`);
      if (isGoing(room)) {
        if (taken.has(id) || released.has(id)) this.violate(`${id} is terminating, and drains or is taken back`);
        continue;
      }
      if (claimed.has(id) && hasMatch(room)) this.violate(`${id} has a match, and is claimed for a scale-down`);
      if (over.has(id)) continue;
      if (room.status !== 'error' && (room.drainReason !== 'scale_down' || released.has(id))) {
        standing += 1;
        if (hasMatch(room)) inUse += 1;
      }
      if (isFree(room)) {
        free += 1;
        if (!taken.has(id)) freeAfter += 1;
      }
    }
    const base = plan.desired ?? 0;
    const upper = plan.rollout === null ? base : base + surgeRooms(maxSurge, base);
    this.seen.mostStanding = Math.max(this.seen.mostStanding, standing);
    if (plan.add > 0 && standing + plan.add > upper) {
      this.violate(`${standing} rooms stand and ${plan.add} are added, above ${upper}`);
    }
    if (standing > max + surgeRooms(maxSurge, max)) this.violate(`${standing} rooms stand`);
    if (freeAfter < Math.min(free, base - inUse)) {
      this.violate(`${freeAfter} of ${free} free rooms are left, with ${inUse} in use and ${base} wanted`);
    }
  }

  removed({ record, matches, isDead }: SimulatedRoom): void {
    if (matches > 0) this.violate(`${record.id} (${record.status}) is removed with a match`);
    if (!isDead && hasMatch(record)) this.violate(`${record.id} is removed, and its record tells of a match`);
    this.removedIds.add(record.id);
  }

  private violate(sentence: string): void {
    if (this.violations.length < 20) this.violations.push(`look ${this.seen.looks}: ${sentence}`);
  }
}

/** What became of the day. */
export interface DayOfAFleet {
  violations: string[];
  seen: Invariants['seen'];
  activeVersion: string;
  isRollingOut: boolean;
  /** After the day began, milliseconds. */
  switchesAtMs: number[];
  rolloutsEndedAtMs: number[];
  players: { asked: number; refused: number };
  totals: Readonly<FleetTotals>;
}

function playDay(): DayOfAFleet {
  const clock = new SimulatedClock(beginsAtMs);
  const invariants = new Invariants();
  const fleet = new SimulatedFleet(model, clock, seededRandom(seed), invariants);
  const players = { asked: 0, refused: 0 };
  const playersModel = { load, matchLengthMs: 20 * minuteMs, arrivalIntervalMs: 10 * secondMs, unallocatedShare: 0.02 };
  const replay = new LoadReplay(playersModel, fleet, clock, seededRandom(seed + 1), {
    arrived: ({ asked, refused }) => {
      players.asked += asked;
      players.refused += refused;
    },
  });
  const switches = [
    { afterMs: 9 * hourMs, version: 'v2.0.0' },
    { afterMs: 15 * hourMs, version: 'v2.1.0' },
    { afterMs: 20 * hourMs, version: badVersion },
  ];
  for (const { afterMs, version } of switches) clock.at(beginsAtMs + afterMs, () => fleet.switchVersion(version));
  replay.begin();
  fleet.beginMeasuring();
  while (clock.step(beginsAtMs + 24 * hourMs));
  return {
    violations: invariants.violations,
    seen: invariants.seen,
    activeVersion: fleet.activeVersion,
    isRollingOut: invariants.isRollingOut,
    switchesAtMs: switches.map(({ afterMs }) => afterMs),
    rolloutsEndedAtMs: invariants.rolloutsEndedAtMs.map((atMs) => atMs - beginsAtMs),
    players,
    totals: fleet.totals(),
  };
}

process.stdout.write(JSON.stringify(playDay()));
