interface Appointment {
  atMs: number;
  /** Of two at the same time, the one that was made first comes first: so the order never depends on the heap. */
  order: number;
  act: () => void;
}

/** Time that passes as fast as it can be computed: whatever was put off until a moment is done when that moment comes. */
export class SimulatedClock {
  /** A binary heap: each one comes before the two at twice its place. */
  private readonly heap: Appointment[] = [];
  private made = 0;

  constructor(private current: number) {}

  get nowMs(): number {
    return this.current;
  }

  /** When the next one is due; null when there is none. */
  get nextAtMs(): number | null {
    return this.heap[0]?.atMs ?? null;
  }

  /** A time that is over means now. */
  at(atMs: number, act: () => void): void {
    const { heap } = this;
    const added = { atMs: Math.max(atMs, this.current), order: this.made++, act };
    let place = heap.length;
    while (place > 0) {
      const above = (place - 1) >> 1;
      if (!isBefore(added, heap[above]!)) break;
      heap[place] = heap[above]!;
      place = above;
    }
    heap[place] = added;
  }

  /** Goes on to the next one that is due until `untilMs` and does it. False when there is none: then it is `untilMs`. */
  step(untilMs: number): boolean {
    const next = this.heap[0];
    if (next === undefined || next.atMs > untilMs) {
      this.current = Math.max(this.current, untilMs);
      return false;
    }
    this.takeFirst();
    this.current = next.atMs;
    next.act();
    return true;
  }

  private takeFirst(): void {
    const { heap } = this;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let place = 0;
    for (;;) {
      let below = 2 * place + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1]!, heap[below]!)) below += 1;
      if (!isBefore(heap[below]!, last)) break;
      heap[place] = heap[below]!;
      place = below;
    }
    heap[place] = last;
  }
}

function isBefore(one: Appointment, other: Appointment): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}
