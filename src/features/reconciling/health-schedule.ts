import { Injectable } from '@nestjs/common';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { SchedulerStore } from '../../ports/scheduler-store';
import { WakeUps } from '../../ports/wake-ups';
import { repeatUntilAborted } from '../repeat-until-aborted';

export class HealthScheduleOptions {
  /** How often a scheduler's health is looked at when nothing rings for it. Milliseconds; v10 60,000. */
  readonly healthIntervalMs!: number;
  /** How often the list of schedulers is compared with what is scheduled. Milliseconds; v10 10,000. */
  readonly syncIntervalMs!: number;
}

/** Sees to it that every scheduler has its periodic health check, also after Redis lost everything. */
@Injectable()
export class HealthSchedule {
  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly wakeUps: WakeUps,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: HealthScheduleOptions,
  ) {}

  run(signal: AbortSignal): Promise<void> {
    const { metrics, logger } = this;
    let known = new Set<string>();
    const loop = { name: 'health_schedule', intervalMs: this.options.syncIntervalMs, metrics, logger };
    return repeatUntilAborted(loop, signal, async () => {
      const names = (await this.schedulers.listSettings()).map((each) => each.name);
      await this.wakeUps.schedulePeriodicHealth(names, this.options.healthIntervalMs);
      // Whichever worker deleted it: each one counted something of it.
      const current = new Set(names);
      for (const name of known) if (!current.has(name)) metrics.schedulerDeleted(name);
      known = current;
    });
  }
}
