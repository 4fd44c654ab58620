import type { Scheduler } from '../../domain/scheduler/scheduler';
import type { HealthRecord } from '../../ports/health-records';

/**
 * The record, if it is of this scheduler; null where it is of one of the same name that was deleted: a look that waited for long,
 * for a webhook say, leaves its record after the rooms of its scheduler are forgotten.
 */
export function ownRecord(
  { createdAt }: Pick<Scheduler, 'createdAt'>,
  record: HealthRecord | null,
): HealthRecord | null {
  return record?.createdAtMs === createdAt.getTime() ? record : null;
}
