import { LoadCurve, type LoadPoint } from './load-curve';
import { around, type RandomSource } from './random-source';
import type { SimulatedClock } from './simulated-clock';
import type { SimulatedFleet } from './simulated-fleet';

/** How players come. Times in milliseconds. */
export interface PlayersModel {
  load: readonly LoadPoint[];
  /** How long a match takes on average; each one up to a half more or less. */
  matchLengthMs: number;
  /** How often it is looked whether fewer matches run than are wanted. */
  arrivalIntervalMs: number;
  /** Share of the matches that begin in a room although it is being taken away, where there is such a room. */
  unallocatedShare: number;
}

/** Told what became of the players. */
export interface PlayersObserver {
  /** So many matches were to begin at this moment, and so many of them found no room. `wanted` are to run now, by the curve. */
  arrived(counts: { asked: number; refused: number; wanted: number }): void;
}

/**
 * Sends matches to a fleet, so that as many run as a curve says. Who finds no room goes away, and comes back no sooner than the
 * match would have been over: so all fleets are asked for the same matches, whatever they have rooms for. Where the curve falls
 * faster than matches end, they end in their own time.
 */
export class LoadReplay {
  private readonly curve: LoadCurve;
  private playing = 0;

  /** @param random its own: then what it asks for does not hang on what the fleet draws. */
  constructor(
    private readonly model: PlayersModel,
    private readonly fleet: SimulatedFleet,
    private readonly clock: SimulatedClock,
    private readonly random: RandomSource,
    private readonly observer: PlayersObserver,
  ) {
    this.curve = new LoadCurve(model.load);
  }

  /** Brings the fleet to the beginning of the curve, with matches that are in the midst; from then on matches come. */
  begin(): void {
    const { clock, fleet, model, random } = this;
    const wanted = Math.round(this.curve.matchesAt(clock.nowMs));
    const leftMs = Array.from({ length: wanted }, () => around(model.matchLengthMs, 0.5, random) * random());
    const end = (): void => {
      this.playing -= 1;
    };
    this.playing = wanted;
    const placed = fleet.settle(wanted, (index) => fleet.startMatch(leftMs[index]!, () => end()));
    for (const lengthMs of leftMs.slice(placed)) clock.at(clock.nowMs + lengthMs, end);
    this.arrive();
  }

  private arrive(): void {
    const { clock, fleet, model, random } = this;
    const wanted = Math.round(this.curve.matchesAt(clock.nowMs));
    const asked = Math.max(0, wanted - this.playing);
    let refused = 0;
    const end = (): void => {
      this.playing -= 1;
    };
    for (let index = 0; index < asked; index += 1) {
      const lengthMs = around(model.matchLengthMs, 0.5, random);
      const isUnallocated = model.unallocatedShare > 0 && random() < model.unallocatedShare;
      // Each match has an end of its own, by which the fleet knows it.
      const onEnd = (): void => end();
      this.playing += 1;
      if (isUnallocated && fleet.startUnallocatedMatch(lengthMs, onEnd)) continue;
      if (fleet.startMatch(lengthMs, onEnd)) continue;
      refused += 1;
      clock.at(clock.nowMs + lengthMs, end);
    }
    this.observer.arrived({ asked, refused, wanted });
    clock.at(clock.nowMs + model.arrivalIntervalMs, () => this.arrive());
  }
}
