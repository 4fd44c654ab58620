import type { JobsOptions } from 'bullmq';
import type { WakeUpKind } from '../../ports/wake-ups';

export const wakeUpQueues: Record<WakeUpKind, string> = { operations: 'operations', health: 'health' };

/** In braces, so that all of BullMQ's keys share a slot of a Redis Cluster. */
export const bullPrefix = '{maestro-wake-ups}';

/** Rings are not records: none is kept once it was answered. */
export const ringOptions: JobsOptions = { removeOnComplete: true, removeOnFail: true, attempts: 1 };

/** How soon the ring of a killed worker is heard again: at most the sum. Milliseconds. */
export interface WakeUpTimes {
  lockDurationMs: number;
  stalledIntervalMs: number;
}

export interface Ring {
  scheduler: string;
}
