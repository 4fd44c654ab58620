import { WakeUps, type WakeUpKind } from '../../src/ports/wake-ups';

export interface RecordedRing {
  kind: WakeUpKind;
  scheduler: string;
  delayMs: number;
}

/** Remembers who was rung for; answers nobody, unless a test says how. */
export class RecordedWakeUps extends WakeUps {
  readonly rings: RecordedRing[] = [];
  /** Called with every ring, delayed ones at once. */
  onRing: ((ring: RecordedRing) => void) | null = null;
  periodic: { schedulers: string[]; intervalMs: number } | null = null;

  override async ring(kind: WakeUpKind, scheduler: string, { delayMs = 0 }: { delayMs?: number } = {}): Promise<void> {
    const ring = { kind, scheduler, delayMs };
    this.rings.push(ring);
    this.onRing?.(ring);
  }

  override async schedulePeriodicHealth(schedulers: string[], intervalMs: number): Promise<void> {
    this.periodic = { schedulers, intervalMs };
  }
}
