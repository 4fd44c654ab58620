import { failureReason, type FailureReason } from '../../domain/room/failure-reason';
import type { Metrics } from '../../ports/metrics';
import type { RuntimeInstance } from '../../ports/runtime';
import { instanceKey } from './instance-key';

type Facts = Pick<RuntimeInstance, 'scheduler' | 'id' | 'status' | 'description' | 'placementProblem'>;

/** Counts instances that failed: each once for a reason, however often it says so. To be told of instances of known schedulers. */
export class FailureCounts {
  /** What was counted of instances that are there. */
  private counted = new Map<string, Set<FailureReason>>();

  constructor(private readonly metrics: Pick<Metrics, 'instanceFailed'>) {}

  /** `isNews`: false for what was known before this process began to watch: who watched then has counted it. */
  note(instance: Facts, { isNews }: { isNews: boolean }): void {
    const reason = failureReason(instance);
    if (reason === null) return;
    const reasons = this.counted.get(instanceKey(instance)) ?? new Set();
    this.counted.set(instanceKey(instance), reasons);
    if (isNews && !reasons.has(reason)) this.metrics.instanceFailed(instance.scheduler, reason);
    reasons.add(reason);
  }

  forget(instance: Facts): void {
    this.counted.delete(instanceKey(instance));
  }

  /** These are all that there are. */
  keepOnly(instances: readonly Facts[]): void {
    const kept = new Set(instances.map(instanceKey));
    for (const key of this.counted.keys()) if (!kept.has(key)) this.counted.delete(key);
  }
}
