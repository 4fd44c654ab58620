import { endReason, failureReason, restartReason, type FailureReason } from '../../domain/room/failure-reason';
import type { Metrics } from '../../ports/metrics';
import type { RuntimeInstance } from '../../ports/runtime';
import { instanceKey } from './instance-key';

type Key = Pick<RuntimeInstance, 'scheduler' | 'id'>;
type Facts = Key & Pick<RuntimeInstance, 'status' | 'description' | 'placementProblem' | 'restarts'>;

/** Counts instances that failed: each once for a reason, however often it says so. To be told of instances of known schedulers. */
export class FailureCounts {
  /** What was counted of instances that are there. */
  private counted = new Map<string, Set<FailureReason>>();

  constructor(private readonly metrics: Pick<Metrics, 'instanceFailed'>) {}

  /** `isNews`: false for what was known before this process began to watch: who watched then has counted it. */
  note(instance: Facts, { isNews }: { isNews: boolean }): void {
    this.count(instance, failureReason(instance), isNews);
    this.count(instance, restartReason(instance.restarts), isNews);
  }

  /** It is gone, which nobody here asked for. */
  noteUnaskedEnd(instance: Key, reason: string): void {
    this.count(instance, endReason(reason), true);
  }

  forget(instance: Key): void {
    this.counted.delete(instanceKey(instance));
  }

  /** These are all that there are. */
  keepOnly(instances: readonly Key[]): void {
    const kept = new Set(instances.map(instanceKey));
    for (const key of this.counted.keys()) if (!kept.has(key)) this.counted.delete(key);
  }

  private count(instance: Key, reason: FailureReason | null, isNews: boolean): void {
    if (reason === null) return;
    const reasons = this.counted.get(instanceKey(instance)) ?? new Set();
    this.counted.set(instanceKey(instance), reasons);
    if (isNews && !reasons.has(reason)) this.metrics.instanceFailed(instance.scheduler, reason);
    reasons.add(reason);
  }
}
