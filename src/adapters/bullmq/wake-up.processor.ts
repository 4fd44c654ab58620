import { InjectQueue, OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import { Injectable, type BeforeApplicationShutdown, type OnModuleDestroy, type Type } from '@nestjs/common';
import type { Job, Queue } from 'bullmq';
import { messageOf } from '../../domain/errors';
import { Logger } from '../../ports/logger';
import { WakeUpAnswers, type WakeUpKind } from '../../ports/wake-ups';
import { wakeUpQueues, type Ring, type WakeUpTimes } from './wake-up-queues';

/** A ring that a stopping worker took would be lost until the sweep: it stops listening before anything else stops. */
abstract class WakeUpProcessor extends WorkerHost implements OnModuleDestroy, BeforeApplicationShutdown {
  constructor(
    private readonly answers: WakeUpAnswers,
    private readonly logger: Logger,
    private readonly kind: WakeUpKind,
    private readonly isConnected: () => boolean,
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

  /** In order, BullMQ waits for the end of a connection that is just being made anew, and which then never ends. */
  async beforeApplicationShutdown(): Promise<void> {
    if (!this.isConnected()) await this.worker.close(true);
  }
}

/** Looks at the schedulers' health at once, in one worker: they wait for Postgres and Redis, not for the processor. */
const healthConcurrency = 50;

/**
 * One processor a queue. They are classes made to measure, because Nest reads a worker's options off its class. A worker takes
 * no more rings for operations than the schedulers that it runs side by side: what it could only keep waiting is for others.
 * `isConnected` tells whether Redis is there, when the process ends.
 */
export function wakeUpProcessors(
  { lockDurationMs, stalledIntervalMs }: WakeUpTimes,
  operationConcurrency: number,
  isConnected: () => boolean,
): Type<WorkerHost>[] {
  const workerOptions = {
    lockDuration: lockDurationMs,
    stalledInterval: stalledIntervalMs,
    maxStalledCount: 1_000_000,
  };

  @Processor(wakeUpQueues.operations, { ...workerOptions, concurrency: operationConcurrency })
  class OperationsWakeUpProcessor extends WakeUpProcessor {
    constructor(answers: WakeUpAnswers, logger: Logger) {
      super(answers, logger, 'operations', isConnected);
    }
  }

  @Processor(wakeUpQueues.health, { ...workerOptions, concurrency: healthConcurrency })
  class HealthWakeUpProcessor extends WakeUpProcessor {
    constructor(answers: WakeUpAnswers, logger: Logger) {
      super(answers, logger, 'health', isConnected);
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
