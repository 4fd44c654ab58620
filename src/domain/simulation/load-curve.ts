/** How many matches players want to have running at one moment. Between two points the number changes evenly. */
export interface LoadPoint {
  /** Milliseconds since the epoch. */
  atMs: number;
  matches: number;
}

/** Reads a curve forwards in time: cheap, however many points there are. */
export class LoadCurve {
  private place = 0;

  /** @param points in the order of time; at least one. */
  constructor(private readonly points: readonly LoadPoint[]) {}

  /** Before the first point it is as at the first, after the last as at the last. Times asked for never go back. */
  matchesAt(atMs: number): number {
    const { points } = this;
    while (this.place + 1 < points.length && points[this.place + 1]!.atMs <= atMs) this.place += 1;
    const [before, after] = [points[this.place]!, points[this.place + 1]];
    if (after === undefined || atMs <= before.atMs) return before.matches;
    const share = (atMs - before.atMs) / (after.atMs - before.atMs);
    return before.matches + share * (after.matches - before.matches);
  }
}
