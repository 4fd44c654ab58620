import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { HealthRecords } from '../../ports/health-records';
import { WakeUps } from '../../ports/wake-ups';
import { SchedulerSettingsCache } from '../schedulers/scheduler-settings';

export class HealthRingsOptions {
  /** How soon again the bell is rung for the same scheduler. Milliseconds. */
  readonly intervalMs!: number;
}

/** `if sized by use`: only where how many rooms there should be, or which, depends on what happened. */
type Need = 'none' | 'if sized by use' | 'always';

interface Round {
  /** What happened since the bell was rung. */
  need: Need;
  timer: NodeJS.Timeout;
}

/** Processes that heard of the same change do not ring together: each waits up to so much longer, as a share of the interval. */
const jitter = 0.25;

/**
 * Rings for the health of schedulers whose rooms changed: the first change at once, and what happens then together, after the
 * interval. So a thousand rooms whose matches end together are a few rings, and none of them waits for long.
 */
@Injectable()
export class HealthRings implements OnModuleDestroy {
  /** Of schedulers that were rung for a moment ago. */
  private readonly rounds = new Map<string, Round>();

  constructor(
    private readonly wakeUps: WakeUps,
    private readonly settings: SchedulerSettingsCache,
    private readonly records: HealthRecords,
    private readonly options: HealthRingsOptions,
  ) {}

  /** A room is over, or may go: somebody has to act. */
  roomLeft(scheduler: string): void {
    this.note(scheduler, 'always');
  }

  /** A room came up, or is used more or less than before: by a match that it reports, or by one that is on its way. */
  useChanged(scheduler: string): void {
    this.note(scheduler, 'if sized by use');
  }

  onModuleDestroy(): void {
    for (const { timer } of this.rounds.values()) clearTimeout(timer);
    this.rounds.clear();
  }

  private note(scheduler: string, need: Exclude<Need, 'none'>): void {
    const round = this.rounds.get(scheduler);
    if (round === undefined) this.begin(scheduler, need);
    else if (round.need !== 'always') round.need = need;
  }

  private begin(scheduler: string, need: Need): void {
    // Not awaited: whoever was heard does not wait for the bell, and the bell does not fail.
    void this.ring(scheduler, need);
    const intervalMs = this.options.intervalMs * (1 + jitter * Math.random());
    const timer = setTimeout(() => this.end(scheduler), intervalMs);
    timer.unref();
    this.rounds.set(scheduler, { need: 'none', timer });
  }

  private end(scheduler: string): void {
    const need = this.rounds.get(scheduler)?.need ?? 'none';
    this.rounds.delete(scheduler);
    if (need !== 'none') this.begin(scheduler, need);
  }

  private async ring(scheduler: string, need: Need): Promise<void> {
    if (need === 'always' || (await this.isSizedByUse(scheduler))) await this.wakeUps.ring('health', scheduler);
  }

  /** Where nobody can say, it is not worth a ring: the periodic look comes. */
  private async isSizedByUse(scheduler: string): Promise<boolean> {
    try {
      if ((await this.settings.find(scheduler))?.isAutoscaled === true) return true;
      const record = await this.records.read(scheduler);
      if (record === null) return false;
      // The last look saw a rollout, which goes on when rooms come up or matches end, or more rooms than are wanted, all in use.
      return record.rollout !== null || record.blockedBy.some(({ code }) => code === 'no_removable_room');
    } catch {
      return false;
    }
  }
}
