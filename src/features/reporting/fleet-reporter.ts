import { Injectable } from '@nestjs/common';
import type { Scheduler } from '../../domain/scheduler/scheduler';
import { Logger } from '../../ports/logger';
import { LoadRecords, type SchedulerLoad } from '../../ports/load-records';
import { LoopLeases } from '../../ports/loop-leases';
import { Metrics, type FleetGauges } from '../../ports/metrics';
import { RoomStore } from '../../ports/room-store';
import { SchedulerStore } from '../../ports/scheduler-store';
import { holdLoopLease } from '../hold-loop-lease';
import { repeatUntilAborted } from '../repeat-until-aborted';

export class FleetReporterOptions {
  readonly owner!: string;
  readonly leaseTtlMs!: number;
  /** Milliseconds; v10 10,000. */
  readonly intervalMs!: number;
}

/** Exports every scheduler's gauges from the one process that holds the loop, so that two replicas never count double. */
@Injectable()
export class FleetReporter {
  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly rooms: RoomStore,
    private readonly leases: LoopLeases,
    private readonly loads: LoadRecords,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: FleetReporterOptions,
  ) {}

  async run(signal: AbortSignal): Promise<void> {
    const { owner, leaseTtlMs: ttlMs, intervalMs } = this.options;
    const { metrics, logger } = this;
    await holdLoopLease(this.leases, { name: 'metrics-reporter', owner, ttlMs }, logger, signal, async (held) => {
      await repeatUntilAborted({ name: 'metrics_reporter', intervalMs, metrics, logger }, held, () => this.report());
      // Whoever holds the loop next reports from now on.
      metrics.fleetsReported([]);
    });
  }

  /** One read of the counters per scheduler. One that cannot be read keeps no stale series: it is left out of the round. */
  private async report(): Promise<void> {
    const schedulers = await this.schedulers.listSchedulers({});
    const read = await Promise.allSettled(schedulers.map((scheduler) => this.gaugesOf(scheduler)));
    const fleets = read.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    this.metrics.fleetsReported(fleets);
    await this.loads.append(Date.now(), fleets.map(loadOf));
    const failed = read.length - fleets.length;
    if (failed > 0) throw new Error(`the counters of ${failed} of ${read.length} schedulers could not be read`);
  }

  private async gaugesOf({ name, definition }: Scheduler): Promise<FleetGauges> {
    const { autoscaling, matchAllocation } = definition;
    const { type, parameters } = autoscaling?.policy ?? { type: '', parameters: {} };
    return {
      scheduler: name,
      game: definition.game,
      counts: await this.rooms.countFleet(name),
      maxMatches: matchAllocation.maxMatches,
      ...(type === 'roomOccupancy' && parameters.roomOccupancy
        ? { readyTarget: parameters.roomOccupancy.readyTarget }
        : {}),
      ...(type === 'fixedBuffer' && parameters.fixedBuffer ? { fixedBuffer: parameters.fixedBuffer.amount } : {}),
    };
  }
}

/** Matches that run, and those that are about to: rooms that were given out. */
function loadOf({ scheduler, counts }: FleetGauges): SchedulerLoad {
  return { scheduler, matches: counts.runningMatches + counts.rooms.allocated };
}
