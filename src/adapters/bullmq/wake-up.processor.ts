import { InjectQueue, OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import { Injectable, type OnModuleDestroy, type Type } from '@nestjs/common';
import type { Job, Queue } from 'bullmq';
import { messageOf } from '../../domain/errors';
import { Logger } from '../../ports/logger';
import { WakeUpAnswers, type WakeUpKind } from '../../ports/wake-ups';
import { wakeUpQueues, type Ring, type WakeUpTimes } from './wake-up-queues';

/** A ring that a stopping worker took would be lost until the sweep: it stops listening before anything else stops. */
abstract class WakeUpProcessor extends WorkerHost implements OnModuleDestroy {
  constructor(
    private readonly answers: WakeUpAnswers,
    private readonly logger: Logger,
    private readonly kind: WakeUpKind,
  ) {
    super();
  }

  override process(job: Job<Ring>): Promise<void> {
    return this.answers.answer(this.kind, job.data.scheduler);
  }

  @OnWorkerEvent('error')
  onError(error: Error): void {
    this.logger.debug({ wake_up: this.kind, err: messageOf(error) }, 'a worker of the wake-ups lost its connection');
  }

  async onModuleDestroy(): Promise<void> {
    await this.worker.pause(true);
  }
}

/** One processor a queue. They are classes made to measure, because Nest reads a worker's options off its class. */
export function wakeUpProcessors({ lockDurationMs, stalledIntervalMs }: WakeUpTimes): Type<WorkerHost>[] {
  const workerOptions = {
    /** Rings wait for Postgres and the runtime, not for the processor; how many operations run at once is the runner's rule. */
    concurrency: 50,
    lockDuration: lockDurationMs,
    stalledInterval: stalledIntervalMs,
    maxStalledCount: 1_000_000,
  };

  @Processor(wakeUpQueues.operations, workerOptions)
  class OperationsWakeUpProcessor extends WakeUpProcessor {
    constructor(answers: WakeUpAnswers, logger: Logger) {
      super(answers, logger, 'operations');
    }
  }

  @Processor(wakeUpQueues.health, workerOptions)
  class HealthWakeUpProcessor extends WakeUpProcessor {
    constructor(answers: WakeUpAnswers, logger: Logger) {
      super(answers, logger, 'health');
    }
  }

  return [OperationsWakeUpProcessor, HealthWakeUpProcessor];
}

/** The queues that `@nestjs/bullmq` makes beside its workers: without a listener BullMQ writes their errors to stderr. */
@Injectable()
export class WakeUpQueueErrors {
  constructor(
    @InjectQueue(wakeUpQueues.operations) operations: Queue,
    @InjectQueue(wakeUpQueues.health) health: Queue,
    logger: Logger,
  ) {
    for (const queue of [operations, health]) {
      queue.on('error', (error) => logger.debug({ err: messageOf(error) }, 'a wake-up queue lost its connection'));
    }
  }
}
