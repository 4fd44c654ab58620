import { Injectable } from '@nestjs/common';
import { messageOf } from '../../domain/errors';
import { Logger } from '../../ports/logger';
import { WakeUpAnswers, WakeUps, type WakeUpKind } from '../../ports/wake-ups';
import { HealthCycle } from '../reconciling/health-cycle';
import { OperationRunner } from './operation-runner';

/** A look that failed is repeated after this. Milliseconds. */
const retryLookMs = 2_000;

/** What a worker does when the bell rings. */
@Injectable()
export class WorkerWakeUpAnswers extends WakeUpAnswers {
  constructor(
    private readonly runner: OperationRunner,
    private readonly healthCycle: HealthCycle,
    private readonly wakeUps: WakeUps,
    private readonly logger: Logger,
  ) {
    super();
  }

  override async answer(kind: WakeUpKind, scheduler: string): Promise<void> {
    try {
      if (kind === 'operations') await this.runner.drain(scheduler);
      else await this.healthCycle.look(scheduler);
    } catch (error) {
      this.logger.warn({ scheduler_name: scheduler, wake_up: kind, err: messageOf(error) }, 'a wake-up failed');
      // Work is found by the sweep; a look that met an outage is due when that is over.
      if (kind === 'health') await this.wakeUps.ring('health', scheduler, { delayMs: retryLookMs });
    }
  }
}
