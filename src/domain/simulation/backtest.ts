import { DomainError } from '../errors';
import type { LoadPoint } from './load-curve';
import { LoadReplay, type PlayersModel } from './load-replay';
import { seededRandom } from './random-source';
import { SimulatedClock } from './simulated-clock';
import { SimulatedFleet, type FleetModel } from './simulated-fleet';

export interface BacktestModel {
  fleet: FleetModel;
  players: PlayersModel;
  /** The same one gives the same result. */
  seed: number;
}

/** What a policy would have come to. */
export interface BacktestResult {
  /** How long the curve is. */
  spanMs: number;
  /** Matches that were to begin, and those of them that found no room. */
  asked: number;
  refused: number;
  /** Share of them that found one, 0 to 1; 1 where none was to begin. */
  served: number;
  roomHours: number;
  /** Of rooms without a match, those that start or go included. */
  idleRoomHours: number;
  started: number;
  removed: number;
  peakRooms: number;
  /** Matches that ended because their room did: by a drain deadline that the policy's scheduler states. */
  lostMatches: number;
  /** In the order of time, at most `timelinePoints`. */
  timeline: TimelinePoint[];
}

/** A stretch of time. */
export interface TimelinePoint {
  atMs: number;
  /** Means: matches wanted, matches running, rooms there. */
  wanted: number;
  running: number;
  rooms: number;
  /** How many matches found no room. */
  refused: number;
}

/** As many stretches as a plot has pixels to show. */
export const timelinePoints = 480;

const msPerHour = 3_600_000;

/**
 * Replays a curve through a fleet under one policy, from its first point to its last. To be gone on with in slices: nothing is
 * computed but in `step`.
 */
export class Backtest {
  private readonly clock: SimulatedClock;
  private readonly fleet: SimulatedFleet;
  private readonly replay: LoadReplay;
  private readonly beginsAtMs: number;
  private readonly endsAtMs: number;
  private hasBegun = false;
  private asked = 0;
  private refused = 0;
  private readonly stretches: (TimelinePoint & { samples: number })[] = [];

  /** @throws DomainError `backtest.load_invalid` for a curve of less than two points, or one that does not go forwards in time. */
  constructor(model: BacktestModel) {
    const { load } = model.players;
    const [first, last] = [load[0], load.at(-1)];
    const goesForwards = load.every(({ atMs }, index) => index === 0 || atMs > load[index - 1]!.atMs);
    if (first === undefined || last === undefined || last === first || !goesForwards) {
      throw new DomainError(
        'invalid_argument',
        'backtest.load_invalid',
        'A load curve needs at least two points, each later than the one before.',
      );
    }
    this.beginsAtMs = first.atMs;
    this.endsAtMs = last.atMs;
    this.clock = new SimulatedClock(first.atMs);
    this.fleet = new SimulatedFleet(model.fleet, this.clock, seededRandom(model.seed));
    this.replay = new LoadReplay(model.players, this.fleet, this.clock, seededRandom(model.seed + 1), {
      arrived: (counts) => this.note(counts),
    });
  }

  /** How much of the curve is done, 0 to 1. */
  get progress(): number {
    return (this.clock.nowMs - this.beginsAtMs) / (this.endsAtMs - this.beginsAtMs);
  }

  /** How many rooms were looked at until now, in all looks together: what it costs. */
  get roomsLookedAt(): number {
    return this.fleet.totals().roomsLookedAt;
  }

  /**
   * Goes on by one event; false when it is at the end.
   * @throws DomainError `simulation.too_many_rooms`.
   */
  step(): boolean {
    if (!this.hasBegun) {
      this.hasBegun = true;
      this.replay.begin();
      this.fleet.beginMeasuring();
      return true;
    }
    return this.clock.step(this.endsAtMs);
  }

  /** What it came to until now. */
  result(): BacktestResult {
    const totals = this.fleet.totals();
    return {
      spanMs: this.clock.nowMs - this.beginsAtMs,
      asked: this.asked,
      refused: this.refused,
      served: this.asked === 0 ? 1 : (this.asked - this.refused) / this.asked,
      roomHours: totals.roomMs / msPerHour,
      idleRoomHours: totals.idleRoomMs / msPerHour,
      started: totals.started,
      removed: totals.removed,
      peakRooms: totals.peakRooms,
      lostMatches: totals.lostMatches,
      timeline: this.stretches.map(({ samples, wanted, running, rooms, ...rest }) => ({
        ...rest,
        wanted: wanted / samples,
        running: running / samples,
        rooms: rooms / samples,
      })),
    };
  }

  private note({ asked, refused, wanted }: { asked: number; refused: number; wanted: number }): void {
    this.asked += asked;
    this.refused += refused;
    const lengthMs = (this.endsAtMs - this.beginsAtMs) / timelinePoints;
    const place = Math.min(timelinePoints - 1, Math.floor((this.clock.nowMs - this.beginsAtMs) / lengthMs));
    const atMs = this.beginsAtMs + place * lengthMs;
    let stretch = this.stretches.at(-1);
    if (stretch === undefined || stretch.atMs !== atMs) {
      stretch = { atMs, wanted: 0, running: 0, rooms: 0, refused: 0, samples: 0 };
      this.stretches.push(stretch);
    }
    stretch.samples += 1;
    stretch.wanted += wanted;
    stretch.running += this.fleet.matchesRunning;
    stretch.rooms += this.fleet.size;
    stretch.refused += refused;
  }
}

/** What a backtest takes where nobody says more. Times in milliseconds. */
export interface BacktestDefaults {
  load: readonly LoadPoint[];
  scheduler: FleetModel['scheduler'];
  startDelayMs: number;
  matchLengthMs: number;
  lookIntervalMs: number;
  limits: FleetModel['limits'];
  addLimit: number;
  removeLimit: number;
  mostRooms: number;
  seed: number;
}

/** A fleet in which nothing dies and no version changes, so that policies are compared and nothing else. */
export function backtestModel(facts: BacktestDefaults): BacktestModel {
  const { load, matchLengthMs, seed, ...fleet } = facts;
  return {
    fleet: {
      version: 'v1.0.0',
      stopDelayMs: 10_000,
      pingIntervalMs: 10_000,
      reactionMs: 2_000,
      longestLookPauseMs: 60_000,
      meanLifeMs: null,
      silentDeathShare: 0,
      startFailureShare: () => 0,
      ...fleet,
    },
    players: { load, matchLengthMs, arrivalIntervalMs: 10_000, unallocatedShare: 0 },
    seed,
  };
}
