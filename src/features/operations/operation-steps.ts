import { channel } from 'node:diagnostics_channel';
import type { Operation, OperationDefinition } from '../../domain/operation/operation';

/**
 * One boundary of a step, as the channel `maestro:operation-step` publishes it, in the tick in which it is reached. Unheard it
 * costs nothing.
 */
export interface OperationStep {
  definition: OperationDefinition;
  /** One of the executor's steps, or of `runnerSteps`. */
  step: string;
  /** `after` only when it succeeded. */
  edge: 'before' | 'after';
  scheduler: string;
  operationId: string;
  /** A listener that is to keep the operation at this boundary adds what it waits for. */
  holds: Promise<void>[];
}

/**
 * What the runner itself writes around an executor's steps: `claimed` (before: it is held and nothing says so yet; after: its
 * history does), `waiting`, `rolling back` (the decision to), and `ended`.
 */
export const runnerSteps = ['claimed', 'waiting', 'rolling back', 'ended'] as const;

const steps = channel('maestro:operation-step');

export async function publishStep(
  { definition, scheduler, id }: Operation,
  step: string,
  edge: OperationStep['edge'],
): Promise<void> {
  if (!steps.hasSubscribers) return;
  const holds: Promise<void>[] = [];
  steps.publish({ definition, step, edge, scheduler, operationId: id, holds } satisfies OperationStep);
  await Promise.all(holds);
}

/** The step between its two boundaries. */
export async function takeStep<T>(operation: Operation, step: string, work: () => Promise<T>): Promise<T> {
  await publishStep(operation, step, 'before');
  const answer = await work();
  await publishStep(operation, step, 'after');
  return answer;
}
