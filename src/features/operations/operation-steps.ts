import { channel } from 'node:diagnostics_channel';
import type { Operation, OperationDefinition } from '../../domain/operation/operation';

/** One boundary of a step, as the channel `maestro:operation-step` publishes it. Published in the same tick: it costs nothing unheard. */
export interface OperationStep {
  definition: OperationDefinition;
  /** One of the executor's steps, or of `runnerSteps`. */
  step: string;
  /** `after` only when it succeeded. */
  edge: 'before' | 'after';
  operationId: string;
}

/**
 * What the runner itself writes around an executor's steps: `claimed` (before: it is held and nothing says so yet; after: its
 * history does), `waiting`, `rolling back` (the decision to), and `ended`.
 */
export const runnerSteps = ['claimed', 'waiting', 'rolling back', 'ended'] as const;

const steps = channel('maestro:operation-step');

export function publishStep({ definition, id }: Operation, step: string, edge: OperationStep['edge']): void {
  if (steps.hasSubscribers) steps.publish({ definition, step, edge, operationId: id } satisfies OperationStep);
}

/** The step between its two boundaries. */
export async function takeStep<T>(operation: Operation, step: string, work: () => Promise<T>): Promise<T> {
  publishStep(operation, step, 'before');
  const answer = await work();
  publishStep(operation, step, 'after');
  return answer;
}
