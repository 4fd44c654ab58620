import { Injectable } from '@nestjs/common';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { OperationStore } from '../../ports/operation-store';
import { repeatUntilAborted } from '../repeat-until-aborted';
import { OperationRunner } from './operation-runner';
import { UnknownOperations } from './unknown-operations';

export class OperationSweepOptions {
  /** How long lost wake-ups and expired leases may go unnoticed. Milliseconds. */
  readonly intervalMs!: number;
}

const schedulersPerRound = 200;

/** Finds work that nobody does, straight from Postgres, so that no operation depends on a bell that was heard. */
@Injectable()
export class OperationSweep {
  constructor(
    private readonly operations: OperationStore,
    private readonly runner: OperationRunner,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: OperationSweepOptions,
  ) {}

  run(signal: AbortSignal): Promise<void> {
    const { metrics, logger } = this;
    const loop = { name: 'operation_sweep', intervalMs: this.options.intervalMs, metrics, logger };
    const unknown = new UnknownOperations(this.operations, metrics, logger);
    return repeatUntilAborted(loop, signal, async () => {
      for (const scheduler of await this.operations.findStalled(schedulersPerRound)) {
        // Not awaited: a long operation of one scheduler must not keep the others from being found.
        void this.runner.drainDue(scheduler);
      }
      await unknown.look();
    });
  }
}
